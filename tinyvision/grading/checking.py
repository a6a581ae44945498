"""`check`: what a student runs on their own work, from a terminal or from a notebook's cell.

The numbers are public, the code is the student's own on the student's own machine: it runs in a
child process with limits, not in a sandbox.
"""
from __future__ import annotations

import itertools
import json
import textwrap
from html import escape
from pathlib import Path

from tinyvision import exercises
from tinyvision.exercises.homework import from_parts_line
from tinyvision.grading import sandbox, submissions
from tinyvision.grading.assignment import prepare_public
from tinyvision.grading.examine import examine
from tinyvision.grading.inside import submitted

WIDTH = 96
PRINTED = 8                             # lines of what a failing case printed
GRID = 8                                # rows and columns of a picture in a terminal
STYLED = {'<div class="panels">': '<div style="display:flex;flex-wrap:wrap;gap:10px 22px">',
          "<span>": '<span style="display:block;font-weight:600;margin-bottom:4px">'}
EVERYTHING = 2                          # hints: which cases fail; the smallest call; the idea


class Checked(dict):
    """A record, as `grade` keeps it, that shows itself: as text, and as a page in a notebook."""

    def __str__(self):
        return text(self)

    __repr__ = __str__

    def _repr_html_(self):
        return html(self)


def check(path=None, exercise: str | None = None, hints: int | None = None) -> Checked:
    """Check a file, or the cells of the notebook in which this is called.

    Arguments:
        path: a ``.py`` or ``.ipynb`` file; in a notebook nothing: what its cells hold as they were
            run last, saved or not.
        exercise: its name; by default the file names it.
        hints: how much is said of a mistake: 0 which cases fail, 1 the smallest call too, 2 also
            what it looks like. By default everything, or nothing where the exercise is `stepwise`.
    Raises:
        ValueError: the file cannot be read or names no exercise.
    """
    one = _cells() if path is None else submissions.read(Path(path), Path(path).stem,
                                                         Path(path).name)
    if one.problem:
        raise ValueError(f"check: {path}: {one.problem}")
    if Path(one.file).suffix not in submissions.SUFFIXES:
        raise ValueError(f"check: {path} is neither a .py nor a .ipynb file")
    found = _exercise(one, exercise)
    assignment = prepare_public(found)
    level = "medium" if sandbox.worker.CAN_FORK else "none"
    record, _ = examine(one, assignment, level, repeat=sandbox.worker.CAN_FORK, deep=True)
    if hints is None:
        hints = 0 if found.stepwise else EVERYTHING
    others = submissions.named_besides(one.source, found.name)
    return Checked(record | {"hints": hints, "elsewhere": getattr(found, "elsewhere", {}),
                             "others": others})


def _exercise(one, wanted: str | None):
    stem = Path(one.file).stem
    name = wanted or one.exercise or (stem if stem in exercises.names() else None)
    made = from_parts_line(one.source, name) if name and not wanted else None
    if made is not None:
        return made
    if wanted is not None or name in exercises.names():
        return exercises.load(name)
    if one.file.endswith(".ipynb"):
        _readable(one)
    if name is not None:
        near = exercises.nearest(name)
        hint = f" (or did you mean {near}?)" if near else ""
        raise ValueError(f"check: {one.file} is for the assignment {name!r}{hint}, which only "
                         "your instructor can check; run the file to see its own examples")
    raise ValueError(f"check: {one.file} names no exercise; begin it with a line like "
                     f"'# tinyvision exercise: {exercises.names()[0]}'")


def _readable(one) -> None:
    """ValueError, in the words of `grade`, for a notebook that is none: it cannot name anything."""
    try:
        submitted.cells_of(one.file, one.source)
    except submitted.Unreadable as error:
        raise ValueError(f"check: {one.file} cannot be read: {error}; save it again, or export "
                         "your cells as a .py file") from None


def _cells():
    """The notebook in which this runs, as a submission: every cell that was run, in order."""
    try:
        ran = get_ipython().user_ns["In"][1:]           # noqa: F821: IPython's own builtin
    except NameError:
        raise ValueError("check: no file was given, and this is no notebook; "
                         "give a .py or .ipynb file") from None
    cells = [{"cell_type": "code", "source": source} for source in ran]
    source = json.dumps({"cells": cells}).encode()
    return submissions.Submission("you", "notebook.ipynb", source,
                                  submissions.named_exercise("\n".join(ran).encode(), ".ipynb"))


# ---- as text -------------------------------------------------------------------------------------

def text(record: dict) -> str:
    """What a student reads: for each function its points, a mark per case, and what is wrong."""
    lines = []
    for function, cases in itertools.groupby(record["cases"], lambda case: case["function"]):
        lines += _function_lines(function, list(cases), record)
    if not record["cases"]:
        lines += textwrap.wrap(f"{record['verdict']}: {record['message']}", WIDTH)
    lines += _score_lines(record) + _others_lines(record)
    hints = record.get("hints", EVERYTHING)
    if hints < EVERYTHING and record["verdict"] != "OK" and record["cases"]:
        lines.append(f"stuck? there are hints: --hint {hints + 1}, in a notebook "
                     f"check(hints={hints + 1})")
    return "\n".join(lines)


def _score_lines(record: dict) -> list[str]:
    """The points; of parts that stand in the instructor's file only, that nothing is known here."""
    score = f"{record['score']:g}" if record["score"] is not None else "not graded"
    if record["points"] is None:                        # a broken archive, say, is of no exercise
        return ["of no exercise: " + ("not graded" if record["score"] is None else
                                      "nothing in it gives points")]
    others = record.get("elsewhere") or {}
    lines = [f"{name:30} ? / {points:g}   only your instructor can check this part"
             for name, points in others.items()]
    right = ", everything is right" if record["verdict"] == "OK" else ""
    if not others:
        return [f"{record['exercise']}: {score} of {record['points']:g} points{right}"]
    whole = record["points"] + sum(others.values())
    right = ", everything that can be checked here is right" if right else ""
    return [*lines, f"{record['exercise']}: {score} of the {record['points']:g} points that can be "
            f"checked here (of {whole:g} in all){right}"]


def _others_lines(record: dict) -> list[str]:
    """What is said of a file that names further exercises."""
    others = record.get("others")
    how = "--exercise NAME, in a notebook check(exercise='NAME')"
    return textwrap.wrap(f"The file names {' and '.join(others)}, too, of which nothing was "
                         "checked: hand each exercise in as a file of its own, or see what it "
                         f"gives with {how}.", WIDTH) if others else []


def _function_lines(function: str, cases: list[dict], record: dict) -> list[str]:
    earned, points = (sum(case[key] for case in cases) for key in ("earned", "points"))
    marks = "   ".join(_unbroken(f"{_sign(case)} {case['name']}") for case in cases)
    lines = [f"{function:30} {earned:g} / {points:g}", *_indented(marks)]
    found = [one for one in record["diagnoses"] if one["function"] == function]
    failing = [case for case in cases if case["verdict"] != "OK"]
    lines += itertools.chain.from_iterable(map(_failure_lines, _alike(failing)))
    if record.get("hints", EVERYTHING) >= 1:
        for one in [*found, *failing]:
            lines += _example_lines(one.get("counterexample"))
    if record.get("hints", EVERYTHING) >= EVERYTHING:
        for one in found:
            title = one["name"].replace("-", " ")
            lines += _indented(f"It looks like: {title}. {one['hint']}" if title else one["hint"])
    return lines


def _sign(case: dict) -> str:
    if case["verdict"] == "OK":
        return "✓"
    return "→" if case.get("follow_through") else "~" if case["earned"] else "✗"


def _alike(failing: list[dict]) -> list[tuple[dict, int]]:
    """(a case, how many others) for each verdict; one with a picture where there is one."""
    groups: dict[tuple, list] = {}
    for case in failing:
        key = case["verdict"], case.get("follow_through")
        groups.setdefault(key, []).append(case)
    return [(min(same, key=lambda case: not case.get("picture")), len(same) - 1)
            for same in groups.values()]


def _failure_lines(found: tuple[dict, int]) -> list[str]:
    case, others = found
    more = f" (and {others} more)" if others else ""
    frame = f" [{case['frames'][-1]}]" if case.get("frames") else ""
    lines = _indented(f"{case['verdict'].replace('_', ' ').lower()}{more}: {case['name']}: "
                      f"{case['message']}{frame}")
    if case.get("follow_through"):
        return lines + _indented(case["follow_through"])
    printed = case.get("printed", "").rstrip().splitlines()
    if printed:
        lines += ["    printed:", *(f"        {line[:WIDTH - 8]}" for line in printed[:PRINTED])]
    return lines + grids(case.get("picture"))


def _example_lines(example: dict | None) -> list[str]:
    if not example:
        return []
    words = (f"smallest case: {example['call']}", f"yours {example['yours']}",
             f"expected {example['expected']}")
    return [line for at, part in enumerate(words) for line in _indented(part, 4 + 4 * bool(at))]


def grids(picture: dict | None) -> list[str]:
    """Expected, yours and difference side by side; nothing where they are too large for a line."""
    planes = {"expected": "expected", "received": "yours"}
    shown = {title: picture[key] for key, title in planes.items() if key in (picture or {})}
    if len(shown) < 2 or any(len(plane) > GRID or len(plane[0]) > GRID
                             for plane in shown.values() if plane):
        return []
    expected, yours = shown.values()
    if _size(expected) == _size(yours):
        shown["difference"] = [[_minus(b, a) for a, b in zip(*rows)]
                               for rows in zip(expected, yours)]
    blocks = [_block(title, plane) for title, plane in shown.items()]
    lines = ["    ".join(row).rstrip() for row in itertools.zip_longest(
        *(_padded(block, max(map(len, blocks))) for block in blocks))]
    return [f"        {line}" for line in lines] if max(map(len, lines)) < WIDTH else []


def _size(plane) -> tuple[int, int]:
    return len(plane), len(plane[0]) if plane else 0


def _minus(a, b):
    if isinstance(a, str) or isinstance(b, str):
        return "?"
    return a - b


def _block(title: str, plane) -> list[str]:
    cells = [[cell if isinstance(cell, str) else "." if title == "difference" and not cell
              else f"{cell:.4g}" for cell in row] for row in plane]
    width = max((len(cell) for row in cells for cell in row), default=0)
    return [title, *(" ".join(f"{cell:>{width}}" for cell in row) for row in cells)]


def _padded(block: list[str], rows: int) -> list[str]:
    width = max(map(len, block))
    return [f"{line:<{width}}" for line in block + [""] * (rows - len(block))]


def _unbroken(words: str) -> str:
    return words.replace(" ", "\N{NO-BREAK SPACE}")


def _indented(words: str, by: int = 4) -> list[str]:
    lines = textwrap.wrap(words, WIDTH, initial_indent=" " * by, subsequent_indent=" " * by)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


# ---- in a notebook -------------------------------------------------------------------------------

def html(record: dict) -> str:
    """The text, and under it the pictures of the smallest wrong cases. Styles stand in the
    elements: a notebook has no sheet of ours."""
    from tinyvision.grading.pages import pictures
    shown = "".join(pictures.figure(case["picture"], f"{case['name']}: "
                                    f"{case['picture'].get('title', '')}")
                    for case in record["cases"] if case.get("picture"))
    for plain, styled in STYLED.items():
        shown = shown.replace(plain, styled)
    return f'<pre style="font-family:monospace;line-height:1.3">{escape(text(record))}</pre>{shown}'
