"""A student's own page: what was right, what was not, why, and what it looks like.

Nobody else's work is on it, nor what is for the teacher only: remarks on the source, similarity.
"""
from __future__ import annotations

import itertools
import re
from html import escape

from tinyvision.grading.pages import parts, pictures
from tinyvision.grading.pages.parts import number, tag

_FRAME = re.compile(r"(.*:\d+ in .*?): (.*)", re.S)
NEWLINE = "\n"
PRINTED = 800                           # characters of what a student's code printed
TITLE = "<title>Graded work: "          # what a page of ours is known by
SECRET = "A hidden test about: {}. Its numbers stay with your teacher."


def student_page(name: str, items: list, numbers: bool = True) -> str:
    """The page on one student.

    Arguments:
        name: the student's.
        items: `data.Item` of everything that the student handed in, in order.
        numbers: False shows of each case what it is about, but nothing of its numbers: no picture,
            no message, nothing printed. So are cases shown that their record calls ``hidden``.
    """
    cards = "".join(_card(item, numbers) for item in items)
    earned, points = _total(items)
    of = f"of {number(points)} points" if points else "points"
    total = (f'<div class="score">{number(earned)} <small>{of}</small></div>'
             if earned is not None else "")
    bar = parts.meter(min(1.0, earned / points), "good") if points else ""
    body = (f'<p class="eyebrow">graded work</p><div class="head"><h1>{escape(name)}</h1>{total}'
            f"</div>{bar}{cards}{_foot(items)}")
    return parts.page(f"Graded work: {name}", body)


def _total(items: list) -> tuple[float | None, float]:
    """(points earned, of how many): what belongs to no exercise adds none to those of one."""
    scored = [item for item in items if item.mark.counts and item.mark.score is not None]
    known = [item for item in scored if item.record["exercise"]] or scored
    return (sum(item.mark.score for item in scored) if scored else None,
            sum(item.mark.points or 0 for item in known))


def _card(item, numbers: bool) -> str:
    """One submission."""
    record, mark = item.record, item.mark
    score = _score(mark)
    of = f" <small>/ {number(mark.points)}</small>" if mark.points is not None else ""
    notes = "".join(f'<p class="hint">{escape(note)}</p>' for note in mark.notes)
    message = f"<p>{escape(record['message'])}</p>" if not record["cases"] else ""
    groups = itertools.groupby(record["cases"], lambda case: case["function"])
    functions = "".join(_function(record, name, list(cases), numbers, mark.by_hand.get(name))
                        for name, cases in groups)
    return (f'<article class="card"><div class="head"><div><h2>{escape(item.title)}</h2>'
            f'<p class="soft small">{escape(record["file"])} &nbsp;{tag(record["verdict"])}</p>'
            f'</div><div class="score">{score}{of}</div></div>{notes}{message}{_lines(record)}'
            f"{functions}</article>")


def _score(mark) -> str:
    if not mark.counts:
        return "not counted"
    return "not graded" if mark.score is None else number(mark.score)


def _function(record: dict, name: str, cases: list[dict], numbers: bool,
              by_hand: float | None = None) -> str:
    """What became of one function: points, a mark per case, findings, the failed cases."""
    earned, points = (sum(case[key] for case in cases) for key in ("earned", "points"))
    said = "" if by_hand is None else '<span class="soft small">by hand</span> '
    counted = earned if by_hand is None else by_hand
    chips = "".join(f'<li class="{_tone(case)}">{escape(case["name"])}</li>' for case in cases)
    findings = "".join(_finding(found) for found in record["diagnoses"]
                       if found["function"] == name)
    cases = cases if numbers else [case | {"hidden": True} for case in cases]
    failed = "".join(_hidden(*one) if one[0].get("hidden") else _case(*one) for one in alike(cases))
    return (f'<div class="function"><div class="head"><h3><code>{escape(name)}</code></h3>'
            f'<span class="num">{said}{number(counted)} '
            f'<span class="soft">/ {number(points)}</span>'
            f'</span></div><ul class="chips">{chips}</ul>{findings}{failed}</div>')


def _tone(case: dict) -> str:
    """How a case is marked: what earned something although it is not right is neither."""
    if case["verdict"] != "OK" and case["earned"]:
        return "fair"
    return parts.TONES.get(case["verdict"], "bad")


def alike(cases: list[dict]) -> list[tuple[dict, int]]:
    """(a failed case, how many more end with the same words): said once, shown with its picture."""
    found: dict[tuple, list[dict]] = {}
    for case in cases:
        if case["verdict"] != "OK":
            frames = tuple(case.get("frames", ()))
            if case.get("hidden"):      # its words may tell its numbers: cases alike in them, too
                key = (case["verdict"], frames or case["name"])
            else:
                key = (case["verdict"], case["message"], frames, case["name"] * bool(
                    _pictures(case)))
            found.setdefault(key, []).append(case)
    return [(same[0], len(same) - 1) for same in found.values()]


def _pictures(case: dict) -> list[dict]:
    return case.get("pictures") or ([case["picture"]] if case.get("picture") else [])


def _caption(picture: dict) -> str:
    place = pictures.place(picture)
    at = " at" if place.endswith("]") else " of"
    return f"the numbers{at} {place}" if place else "the numbers"


def _case(case: dict, more: int) -> str:
    """One failed case: what happened, the line that raised, counter-example, pictures."""
    images = "".join(pictures.figure(picture, _caption(picture)) for picture in _pictures(case))
    printed = case.get("printed", "")[:PRINTED]
    printed = f'<p class="soft small">printed</p><pre>{escape(printed)}</pre>' if printed else ""
    return (f'<div class="case">{_title(case, more)}<p class="soft">{escape(case["message"])}</p>'
            f'{_text(case.get("follow_through"))}{_lines(case)}'
            f'{parts.example(case.get("counterexample"))}{images}{printed}</div>')


def _hidden(case: dict, more: int) -> str:
    """A failed case whose numbers are not shown. An exception's words may hold them; the student's
    own line does not."""
    return (f'<div class="case">{_title(case, more)}<p class="soft">'
            f'{SECRET.format(escape(case["name"]))}</p>{_text(case.get("follow_through"))}'
            f"{_lines(case)}</div>")


def _title(case: dict, more: int) -> str:
    others = f' <span class="soft">and {parts.counted(more, "more case")}</span>' if more else ""
    return f'<p>{tag(case["verdict"], _tone(case))} <b>{escape(case["name"])}</b>{others}</p>'


def _finding(found: dict) -> str:
    title = f"It looks like: {parts.named(found['name'])}" if found["name"] else "Not recognised"
    return (f'<div class="hint"><b>{title}</b>{escape(found["hint"])}</div>'
            f'{parts.example(found.get("counterexample"))}')


def _lines(holder: dict) -> str:
    """The student's own lines in a traceback; the last one raised."""
    lines = []
    for i, frame in enumerate(holder.get("frames", ()), 1):
        found = _FRAME.fullmatch(frame)
        where, text = found.groups() if found else ("", frame)
        last = ' class="line"' if i == len(holder["frames"]) else ""
        lines += [f'<span class="soft">{escape(where)}</span>',
                  f"<span{last}>{escape(text)}</span>"]
    return f"<pre>{NEWLINE.join(lines)}</pre>" if lines else ""


def _text(value) -> str:
    return f'<p class="soft">{escape(value)}</p>' if isinstance(value, str) and value else ""


def _foot(items: list) -> str:
    """How it was graded, so that a question about it can be answered."""
    hashes = ", ".join(f"{escape(item.record['file'])} "
                       f"<code>{item.record['submission'][:12]}</code>" for item in items)
    return ("<footer><p>Each case was run twice with numbers of its own, in a sandbox, and judged "
            "outside of it; an answer within the rounding error of its own precision is right. In "
            "the pictures the wrong numbers are outlined; a frame shows the first of them and the "
            "numbers that it comes from. Ask about a mark with these hashes of what you handed in: "
            f"{hashes}.</p></footer>")
