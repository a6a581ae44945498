"""``tinyvision new``: the source of an assignment made of exercises of the catalogue.

What is written is the instructor's from then on: text, solutions and points are edited in the file.
"""
from __future__ import annotations

import inspect
import json
import keyword
import pprint
import re
import sys
import textwrap
from pathlib import Path

import numpy as np

from tinyvision.exercises import Exercise, load, names
from tinyvision.exercises.homework import TABLE_LINE, Homework, homework
from tinyvision.exercises.start import _pieces, _without_markers, task
from tinyvision.exercises.vary import BOXES, IMAGES, Variation, variations
from tinyvision.grading.store import write

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
MODULES = ("numpy", "tinyvision")       # that students' files import, beside Python's own
SMALL = 40                              # numbers of an example that a person reads
INTRODUCTION = """\
# {title}

Write the functions below in plain NumPy. Nothing else but the standard library is there when they
are graded. The tests in this file are examples; the grader has more, with other numbers and shapes.

{table}"""
TAIL = """\
# %%
### BEGIN HIDDEN TESTS
# The instructor's part, in no student's file. Build with: tinyvision build {name}.py
# Points of each exercise; a due date such as "2026-12-01 23:59 +01:00"; what lateness costs, such
# as late={{"free_hours": 1, "points_per_day": 2, "most_points": 10}}.
from tinyvision.exercises.homework import homework

EXERCISE = homework(
    "{name}", {parts}, globals(), title="{name}",
    points={points},
    due=None, late={{}}{vary})
### END HIDDEN TESTS
"""


def new(name: str, parts: list[str], folder=".", vary: int | None = None,
        force: bool = False) -> Path:
    """Write NAME.py; its path. FileExistsError where there is one and ``force`` is not given,
    ValueError for a name that cannot be one or is taken, or an exercise that there is not."""
    _check_name(name)
    path = Path(folder) / f"{name}.py"
    text = assignment_text(name, parts, vary)
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists already: choose another name, or write over it with "
                              "--force")
    write(path, text)
    return path


def _check_name(name: str) -> None:
    """ValueError for a name that the files of an assignment cannot have."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,60}", name):
        raise ValueError(f"new: {name!r} cannot be an assignment's name; use letters, digits and "
                         "_, such as hw3")
    why = ""
    if keyword.iskeyword(name):
        why = "is a word of Python's own, and no file of that name can be imported"
    elif name in sys.stdlib_module_names or name in MODULES:
        why = f"is a module: 'import {name}' beside the file {name}.py would import that instead"
    elif name in names():
        why = "is an exercise of the catalogue, and would be graded in its place"
    if why:
        raise ValueError(f"new: {name!r} cannot be an assignment's name: it {why}; choose another, "
                         "such as hw3")


def assignment_text(name: str, parts: list[str], vary: int | None = None) -> str:
    """The text of an assignment's source."""
    made, used = homework(name, parts, vary=vary), {}
    exercises, cases = [load(part) for part in parts], made.cases(np.random.default_rng(0))
    cells = [f"# tinyvision exercise: {name}",
             _markdown(INTRODUCTION.format(title=name, table=TABLE_LINE)),
             "# %%\nimport numpy as np"]
    for exercise in exercises:
        cells += _part(exercise, made, cases, vary, used)
    points = textwrap.fill(", ".join(f'"{e.name}": {e.points:g}' for e in exercises), 84)
    cells.append(TAIL.format(name=name, parts=json.dumps(list(parts)),
                             points="{" + points.replace("\n", "\n            ") + "}",
                             vary="" if vary is None else f", vary={vary}"))
    return "\n\n".join(cells)


def _part(exercise: Exercise, made: Homework, cases: list, vary: int | None,
          used: dict) -> list[str]:
    """The cells of one exercise: its task, what it needs, its functions, an example of each."""
    table = {} if vary is None or exercise.driver else variations(exercise, vary)
    said = [task(exercise)]
    if table:
        said.insert(1, "## The conventions here\n\nThey differ from those above; these hold.\n\n"
                    + "\n".join(v.text() for v in table.values()))
    cells = [_markdown("\n\n".join(said))]
    pieces = _renamed(exercise, [(n, _closed(t)) for n, t in _pieces(exercise)], used)
    if table:
        whole = "\n\n\n".join(_without_markers(text) for _, text in pieces)
        cells.append(f"# %%\n{BEGIN} NO PROMPT\n# In the usual conventions.\n{whole}\n{END}")
        pieces = [(v.name, _adapter(v, exercise)) for v in table.values()]
    written = {v.name for v in table.values()} or set(exercise.functions)
    for name, text in pieces:
        cells.append(f"# %%\n{text if name in written else _hidden(text)}")
        cells += [_example(made, cases, name)] if name in written else []
    return [cell for cell in cells if cell]


def _hidden(helper: str) -> str:
    """A function that the solution calls: a part of it, so nothing of it is the student's."""
    return f"{BEGIN} NO PROMPT\n{_without_markers(helper)}\n{END}"


def _markdown(text: str) -> str:
    lines = [f"# {line}".rstrip() for line in text.split("\n")]
    return "\n".join(["# %% [markdown]", *lines])


def _closed(text: str) -> str:
    """The text with its last END, a comment after the last line, which the parser leaves out."""
    if text.count(BEGIN) == text.count(END):
        return text
    line = next(line for line in reversed(text.split("\n")) if BEGIN in line)
    return f"{text}\n{line.replace(BEGIN, END)}"


def _renamed(exercise: Exercise, pieces: list, used: dict) -> list:
    """The pieces, without helpers that an earlier exercise has too; one of the same name that is
    another function gets the exercise's name behind its own."""
    for name, text in list(pieces):
        if name in exercise.functions or used.setdefault(name, text) == text and not any(
                name == n for n, t in pieces if used.get(n) != t):
            continue
        word = re.compile(rf"\b{name}\b")
        pieces = [(word.sub(f"{name}_{exercise.name}", n), word.sub(f"{name}_{exercise.name}", t))
                  for n, t in pieces]
    seen = used.setdefault(None, set())
    kept = [(n, t) for n, t in pieces if n not in seen]
    seen.update(n for n, _ in kept)
    return kept


# ---- functions in other conventions --------------------------------------------------------------

def _adapter(variation: Variation, exercise: Exercise) -> str:
    """A function of the varied conventions that calls the usual one, as source."""
    function = exercise.functions[variation.function]
    body = [_turned_in(p, kind) for p, kind in variation.turned.items()]
    call = f"{variation.function}({', '.join(variation.parameters)})"
    if not any(variation.answers):
        body.append(f"return {call}")
    elif len(variation.answers) == 1:
        body.append(f"return np.moveaxis({call}, 1, -1)")
    else:
        names = [f"answer{i}" for i in range(1, 1 + len(variation.answers))]
        body += [f"{', '.join(names)} = {call}", "return " + ", ".join(
            f"np.moveaxis({name}, 1, -1)" if kind else name
            for name, kind in zip(names, variation.answers))]
    doc = _varied_doc(variation, inspect.getdoc(function), exercise)
    lines = [f'"""{doc}\n"""', BEGIN, *body, END]
    return (f"def {variation.name}({', '.join(variation.order)}):\n"
            + textwrap.indent("\n".join(lines), "    "))


def _turned_in(parameter: str, kind: str) -> str:
    if kind == IMAGES:
        return f"{parameter} = np.moveaxis({parameter}, -1, 1)"
    return (f"{parameter} = np.concatenate([{parameter}[:, :-4], "
            f"{parameter}[:, [-3, -4, -1, -2]]], axis=1)")


def _varied_doc(variation: Variation, doc: str, exercise: Exercise) -> str:
    """The docstring with the names that the functions have here, and with shapes and coordinates in
    the order that holds here."""
    prefix = variation.name.removesuffix(variation.function)        # one for the whole exercise
    for name in exercise.functions:
        doc = doc.replace(f"`{name}`", f"`{prefix}{name}`")
    shape = re.compile(r"\((\w+), (\w+), (\w+), (\w+)\)")
    head, returns, rest = doc.partition("Returns:")
    for parameter, kind in variation.turned.items():
        if kind == IMAGES:
            head = re.sub(rf"(?m)^(\s+{parameter}: ){shape.pattern}", r"\1(\2, \4, \5, \3)", head)
    if variation.answers[0] == IMAGES:
        rest = shape.sub(r"(\1, \3, \4, \2)", rest, count=1)
    if BOXES in variation.turned.values():
        head, rest = (t.replace("x0, y0, x1, y1", "y0, x0, y1, x1") for t in (head, rest))
    return head + returns + rest


# ---- examples ------------------------------------------------------------------------------------

def _example(made: Homework, cases: list, function: str) -> str:
    """A test that students get: the function's smallest case with its answer; "" for none that is
    small enough to be read."""
    mine = [case for case in cases if case.function == function and not case.driver]
    for case in mine[:3]:
        answer = made.answer(case)
        parts = answer if isinstance(answer, tuple) else (answer,)
        values = [*case.args, *parts]
        if sum(np.size(value) for value in values) <= SMALL and all(map(_readable, values)):
            return _test(case, parts, isinstance(answer, tuple))
    return ""


def _readable(value) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_readable, value))
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.kind in "fiub" and bool(np.isfinite(value).all())
    return isinstance(value, (int, float, str, type(None)))


def _test(case, parts, several: bool) -> str:
    call = _wrapped(f"answer = {case.function}(", [_literal(arg) for arg in case.args], ")")
    lines = [f"# %% an example of {case.function}: {case.name}", call]
    for i, part in enumerate(parts):
        got = f"answer[{i}]" if several else "answer"
        lines.append(_wrapped(f"assert np.allclose({got},", [_literal(np.asarray(part))],
                              f"), {got}"))
    return "\n".join(lines)


def _wrapped(begin: str, items: list[str], end: str) -> str:
    line = begin + (" " if begin.endswith(",") else "") + ", ".join(items) + end
    if len(line) <= 96 and "\n" not in line:
        return line
    return begin + "\n" + ",\n".join(textwrap.indent(item, "    ") for item in items) + end


def _literal(value) -> str:
    if not isinstance(value, np.ndarray):
        return repr(value.item() if isinstance(value, np.generic) else value)
    if value.size == 0:
        return f"np.zeros({value.shape}, np.{value.dtype})"
    text = pprint.pformat(value.tolist(), width=84, compact=True)
    return f"np.array({text})".replace("\n", "\n         ")
