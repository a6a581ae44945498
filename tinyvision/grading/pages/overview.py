"""The class page: how it went, what to teach again, whom to talk to. For the teacher only."""
from __future__ import annotations

import collections
from html import escape
from urllib.parse import quote

from tinyvision.grading.pages import data, parts
from tinyvision.grading.pages.parts import number, percent, tag

MISTAKES, NAMES = 6, 12                 # shown per function, and names per mistake
BRIEF = 160                             # characters of an example that the class page shows
TENTHS = ["0+", *(f"{10 * i}+" for i in range(1, 10)), "100 %"]
TONES = ["bad", *[""] * 9, "good"]


def class_page(items: list, groups: list, missing: list[str], notes: list[str],
               absent: list = ()) -> str:
    """The page on the class.

    Arguments:
        items: `data.Item` of everything that is graded.
        groups: `similarity.Group`, the most alike first.
        missing: sentences on what is not graded yet or is damaged.
        notes: sentences on the roster.
        absent: `data.Item` of those on the roster who handed in nothing; they have no page.
    """
    everything, items = items, [item for item in items if item.mark.counts]
    exercises = data.by_exercise(items)
    each = {name: data.parts(name, found) for name, found in exercises.items()}
    hardest = sorted((part for found in each.values() for part in found),
                     key=lambda part: data.mean(part.shares) or 0.0)
    students = data.by_student(everything)
    levels = "; ".join(sorted({_isolation(item.record) for item in items
                               if item.record["cases"]})) or "–"
    body = (f'<p class="eyebrow">class report</p><h1>{_title(exercises, items)}</h1>'
            f'<p class="soft">{parts.counted(len(everything), "submission")} of '
            f'{parts.counted(len(students), "student")} · isolation {escape(levels)}</p>'
            f"{_tiles(items, groups, missing)}{_marks(items)}{_exercises(exercises, each)}"
            f"{_mistakes(hardest)}{_cases(hardest)}{_similar(groups)}"
            f"{_look(everything, [*missing, *notes])}"
            f"{_everybody(students, list(exercises), exercises, absent)}")
    return parts.page("Class report", body)


def _title(exercises: dict, items: list) -> str:
    if len(exercises) == 1:
        return escape(next(iter(exercises.values()))[0].title)
    if exercises:
        return f"{len(exercises)} exercises"
    return "Nothing that could be graded" if items else "Nothing graded yet"


def _isolation(record: dict) -> str:
    layers = f" ({', '.join(record['layers'])})" if record.get("layers") else ""
    return record["isolation"] + layers


def link(item, text: str = "") -> str:
    """A link to the student's page."""
    return f'<a href="students/{quote(item.home)}.html">{escape(text or item.student)}</a>'


def _tiles(items, groups, missing) -> str:
    shares = data.shares(items)
    right = sum(share >= 1 for share in shares)
    named = sum(any(found["name"] for found in item.record["diagnoses"]) for item in items)
    open_ = len(missing) + sum(item.mark.score is None for item in items)
    return parts.tiles([
        (percent(data.mean(shares)), "mean"), (percent(data.median(shares)), "median"),
        (str(right), "full marks"), (str(named), "with a mistake that has a name"),
        (str(len(groups)), "similar groups"), (str(open_), "not graded")])


def _marks(items) -> str:
    """Distribution and verdicts, side by side; nothing of nobody."""
    if not items:
        return ""
    counts = collections.Counter(item.record["verdict"] for item in items).most_common()
    rows = "".join(f'<tr><td>{tag(verdict)}</td><td>{parts.meter(n / len(items), "")}</td>'
                   f'<td class="num">{n}</td></tr>' for verdict, n in counts)
    chart = parts.bars(data.histogram(data.shares(items)), TENTHS, tones=TONES)
    return parts.section("Marks", (
        f'<div class="two"><div class="card"><h3>Submissions by their share of the points</h3>'
        f'{chart}</div>'
        f'<div class="card"><h3>How submissions ended</h3><table>{rows}</table></div></div>'))


def _exercises(exercises: dict, each: dict) -> str:
    """A row for each exercise; below an assignment's one for each of its parts."""
    rows = []
    for name, items in exercises.items():
        found = each[name]
        whole = found[0] if len(found) == 1 else data.Part(name, items[0].title, "", None, items)
        rows += [_row(whole), *(_row(part, "part") for part in found if part is not whole)]
    head = ('<tr><th>exercise</th><th class="num">submissions</th><th class="num">mean</th>'
            '<th class="num">median</th><th>from 0 to 100 %</th></tr>')
    table = rows and f'<div class="card scroll"><table>{head}{"".join(rows)}</table></div>'
    return parts.section("Exercises", table or "")


def _row(part: data.Part, kind: str = "") -> str:
    shares = part.shares
    spark = parts.bars(data.histogram(shares), TENTHS, "spark", TONES)
    said = " · ".join(filter(None, [f"<code>{escape(part.name)}</code>", escape(part.lecture)]))
    return (f'<tr><td class="about {kind}"><b>{escape(part.title)}</b><br>'
            f'<span class="soft small">{said}</span></td>'
            f'<td class="num">{len(part.items)}</td><td class="num">{percent(data.mean(shares))}'
            f'</td><td class="num">{percent(data.median(shares))}</td><td>{spark}</td></tr>')


def _mistakes(hardest: list) -> str:
    cards = []
    for part in hardest:
        found = data.mistakes(part)
        known = [common for common in found if common.name]
        unknown = len({id(item) for common in found if not common.name for item in common.items})
        rest = f'<p class="who">{parts.counted(unknown, "submission")} with something that was ' \
               "not recognised</p>" if unknown else ""
        if known or unknown:
            again = f'<p class="soft small">to teach again: <b>{escape(part.lecture)}</b></p>' \
                if known and part.lecture else ""
            cards.append(f'<div class="card"><h3>{escape(part.title)}</h3>{again}'
                         f"{_by_function(known, part.items)}{rest}</div>")
    return parts.section("Most common mistakes",
                         cards and f'<div class="grid">{"".join(cards)}</div>',
                         "The exercise with the lowest mean comes first.", "mistakes")


def _by_function(known: list, items: list) -> str:
    """The mistakes of each function by themselves, in the order in which they are written."""
    order = list(dict.fromkeys(case["function"] for item in items for case in item.record["cases"]))
    lists: dict[str, list] = {}
    for one in sorted(known, key=lambda one: one.function in order and order.index(one.function)):
        lists.setdefault(one.function, []).append(one)
    return "".join(f'<h3 class="of"><code>{escape(function)}</code></h3>'
                   f'{"".join(_mistake(one, len(items)) for one in those[:MISTAKES])}'
                   f"{_rest(those[MISTAKES:])}" for function, those in lists.items())


def _rest(cut: list) -> str:
    """What a long list leaves out, so that nobody takes it for all."""
    names = ", ".join(f"{parts.named(one.name)} {len(one.items)}" for one in cut)
    return f'<p class="who">and {len(cut)} more: {names}</p>' if cut else ""


def _mistake(common, of: int) -> str:
    names = " · ".join(link(item) for item in common.items[:NAMES])     # a name may hold a comma
    more = len(common.items) - NAMES
    names += f" and {more} more" if more > 0 else ""
    share = len(common.items) / of
    return (f'<div class="mistake"><div><div class="count">{len(common.items)}</div>'
            f'<span class="soft small">{percent(share)}</span></div><div>'
            f"<b>{parts.named(common.name)}</b>"
            f'{parts.meter(share, "fair")}<p class="small">{escape(common.hint)}</p>'
            f'{_call(common.example)}<p class="who">{names}</p></div></div>')


def _call(example: dict | None) -> str:
    """The smallest call that shows a mistake, in one line for the blackboard."""
    if not isinstance(example, dict):
        return ""
    words = [str(example.get(key, "")) for key in ("call", "yours", "expected")]
    if sum(map(len, words)) > BRIEF:
        return ""
    call, yours, expected = map(escape, words)
    return (f'<p class="small"><code>{call}</code> <span class="soft">gives</span> '
            f'<code>{yours}</code><span class="soft">, not</span> <code>{expected}</code></p>')


def _cases(hardest: list) -> str:
    """For each exercise its cases; red where less than half of the points were earned."""
    cards = []
    for part in hardest:
        found = data.difficulty(part)
        several = len({function for function, *_ in found}) > 1
        rows = "".join(_difficulty(*one, several) for one in found)
        if rows:
            cards.append(f'<div class="card"><h3>{escape(part.title)}</h3>'
                         f'<table class="cases">{rows}</table></div>')
    return parts.section("Difficulty", cards and f'<div class="grid">{"".join(cards)}</div>',
                         "The share of a case's points that the class earned.", "difficulty")


def _difficulty(function: str, case: str, share: float, several: bool) -> str:
    of = f' <code class="soft">{escape(function)}</code>' if several else ""
    return (f"<tr><td>{escape(case)}{of}</td><td>{parts.meter(share, 'bad' * (share < 0.5))}</td>"
            f'<td class="num">{percent(share)}</td></tr>')


def _similar(groups) -> str:
    rows = "".join(
        f'<tr><td>{escape(group.exercise)}</td><td>{_members(group)}</td>'
        f'<td class="num">{percent(group.share)}</td><td>{escape(group.why)}</td></tr>'
        for group in groups)
    head = ('<tr><th>exercise</th><th>who</th><th class="num">in common</th><th></th></tr>')
    note = ("Of the shorter file's fingerprints, without those of the file to start from and those "
            "that much of the class shares. A reason to read both, never a mark: "
            '<a href="similar.html">side by side</a>.')
    return parts.section("Similar submissions", rows and (
        f'<div class="card scroll"><table>{head}{rows}</table></div>'), note, "similar")


def _members(group) -> str:
    names = [f'<a href="students/{quote(one.home)}.html">{escape(one.label)}</a>' if one.home
             else f"<b>{escape(one.label)}</b>" for one in group.members]
    return " + ".join(names)


def _look(items, sentences: list[str]) -> str:
    rows = "".join(
        f'<tr><td>{link(item)}<br><span class="soft small">{escape(item.record["file"])}</span>'
        f'</td><td>{tag(item.record["verdict"])}</td><td class="small">{escape(why)}</td></tr>'
        for item, why in data.to_look_at(items))
    rows += "".join(f'<tr><td colspan="3" class="small">{escape(sentence)}</td></tr>'
                    for sentence in sentences)
    return parts.section("Look at these", rows and (
        f'<div class="card scroll"><table>{rows}</table></div>'),
        "Remarks come from reading the source; they change no mark.", "look")


def _everybody(students: dict, names: list[str], exercises: dict, absent: list) -> str:
    head = "".join(f'<th title="{escape(exercises[name][0].title)}">{escape(name)}</th>'
                   for name in names)
    shown = [*((link(items[0]), items) for items in students.values()),
             *((escape(item.student), [item]) for item in absent)]
    others = [_others(items, names) for _, items in shown]
    rows = "".join(f"<tr><td>{who}</td>{''.join(_cell(items, n) for n in names)}"
                   f'<td class="small">{texts}</td></tr>'
                   for (who, items), texts in zip(shown, others))
    other = "of no exercise" if any(others) else ""
    return parts.section("Everybody", rows and (
        f'<div class="card scroll"><table class="matrix"><tr><th>student</th>{head}'
        f"<th>{other}</th></tr>{rows}</table></div>"), name="everybody")


def _cell(items: list, name: str) -> str:
    """A student's marks for one exercise; of several versions the one that counts."""
    found = [item for item in items if item.record["exercise"] == name and item.mark.counts]
    if not found:
        return "<td></td>"
    texts = " · ".join("?" if item.share is None else number(item.mark.score) for item in found)
    best = max((item.share for item in found if item.share is not None), default=None)
    return f'<td class="cell {_grade(best)}">{texts}</td>'


def _others(items: list, names: list[str]) -> str:
    """What a student handed in for no known exercise, with its points: 0 as in the gradebook, or
    what it has by hand. And that nothing was handed in: such a one has no page."""
    texts = []
    for item in items:
        known, points = item.record["exercise"] in names, item.mark.score
        if not known or not item.home:
            texts.append(tag(item.record["verdict"])
                         + f" {number(points)}" * (not known and points is not None))
    return " ".join(texts)


def _grade(share: float | None) -> str:
    if share is None:
        return "ours"
    return "full" if share >= 1 else "zero" if share == 0 else "high" if share >= 0.5 else "low"
