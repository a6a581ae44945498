"""Notebooks of an assignment, with nbgrader's metadata (schema version 3).

A release notebook made here is what ``nbgrader generate_assignment`` would make: solution cells,
test cells worth points, the rest read-only, each with the checksum that nbgrader compares.
"""
from __future__ import annotations

import hashlib
import json

from tinyvision.exercises.start import CHECK
from tinyvision.grading import source
from tinyvision.grading.source import Cell

SCHEMA = 3


def metadata(kind: str, grade_id: str, text: str, cell_type: str, points: float = 0.0) -> dict:
    """A cell's metadata.

    Arguments:
        kind: ``"solution"``, ``"tests"`` or ``"read-only"``.
        grade_id: unique in the notebook: letters, digits, ``_`` and ``-``.
        text: the cell's source.
        points: of tests.
    """
    grade, solution = kind == "tests", kind == "solution"
    about = {"schema_version": SCHEMA, "grade": grade, "solution": solution,
             "locked": not solution, "task": False, "grade_id": grade_id, "cell_type": cell_type,
             "checksum": checksum(text, cell_type, grade, solution, not solution, grade_id,
                                  points)}
    if grade:
        about["points"] = points
    locks = {} if solution else {"deletable": False, "editable": False}
    return {**({"deletable": False} if solution else locks), "nbgrader": about}


def checksum(text: str, cell_type: str, grade: bool, solution: bool, locked: bool, grade_id: str,
             points: float = 0.0) -> str:
    """nbgrader's MD5 of a cell: it says whether a student changed what is locked."""
    words = [text, cell_type, str(grade), str(solution), str(locked), grade_id]
    words += [str(float(points))] if grade else []
    return hashlib.md5("".join(words).encode()).hexdigest()


def notebook(cells: list[dict], name: str) -> str:
    """The text of a notebook (nbformat 4.5)."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return json.dumps({"cells": cells, "metadata": {
        "kernelspec": kernel, "language_info": {"name": "python"},
        "tinyvision": {"exercise": name}}, "nbformat": 4, "nbformat_minor": 5},
        indent=1, ensure_ascii=False) + "\n"


def cell(grade_id: str, kind: str, text: str, about: dict) -> dict:
    """One cell of a notebook."""
    made = {"cell_type": kind, "id": grade_id.replace("_", "-")[:64], "metadata": about,
            "source": text.splitlines(keepends=True)}
    return made if kind == "markdown" else {**made, "execution_count": None, "outputs": []}


def student_notebook(cells: list[Cell], name: str, points: dict[str, float],
                     parts: str = "", view=source.student) -> str:
    """The notebook that students get, which is nbgrader's release version.

    Arguments:
        cells: of the source.
        points: function -> what it is worth; each has one cell of tests, an empty one if need be.
        parts: see `build.checkable`; with it there is a last cell that checks.
        view: of a cell of code; `source.solution` makes the notebook of a student who is right.
    """
    made, left = [], dict(points)
    head = "".join(f"{line}\n" for line in (f"# tinyvision exercise: {name}", parts) if line)
    for number, one in enumerate(cells, 1):
        text = view(one.text) if one.kind == "code" else one.text
        if text and not _bare(text, one.kind):
            first = one.kind == "code" and head
            made.append(_student_cell(one, head + text if first else text, number, left))
            head = "" if first else head
    for function, worth in left.items():
        text = f"# The tests of {function} run when it is graded."
        made.append(_made(f"test_{function}", "tests", text, "code", worth))
    made += [_made("check", "read-only", CHECK, "code")] if parts else []
    return notebook(made, name)


def _bare(text: str, kind: str) -> bool:
    """Whether a cell says nothing but which exercise this is: that stands in the metadata."""
    return kind == "code" and all(line.startswith("# tinyvision ") for line in text.split("\n"))


def _student_cell(one: Cell, text: str, number: int, left: dict) -> dict:
    if one.kind == "markdown":
        return _made(f"text_{number}", "read-only", text, "markdown")
    if source.has(one.text, "SOLUTION") and not source.is_test(one.text):
        names = source.names(one.text)
        return _made(names[0] if names else f"answer_{number}", "solution", text, "code")
    if source.is_test(one.text):
        function = tested(text, left)
        if function:
            return _made(f"test_{function}", "tests", text, "code", left.pop(function))
    return _made(f"cell_{number}", "read-only", text, "code")


def tested(text: str, functions) -> str | None:
    """The function that a cell of tests is about: of those left, the first one that it calls; the
    longest name first, as op_backward holds op."""
    found = [f for f in sorted(functions, key=len, reverse=True) if f"{f}(" in text]
    return min(found, key=lambda f: text.index(f"{f}(")) if found else None


def _made(grade_id: str, kind: str, text: str, cell_type: str, points: float = 0.0) -> dict:
    return cell(grade_id, cell_type, text, metadata(kind, grade_id, text, cell_type, points))


def solution_notebook(cells: list[Cell], name: str) -> str:
    """The notebook with the solutions, to be given out afterwards."""
    made = []
    for number, one in enumerate(cells, 1):
        text = source.solution(one.text) if one.kind == "code" else one.text
        if text and not _bare(text, one.kind):
            made.append(cell(f"cell_{number}", one.kind, text, {}))
    return notebook(made, name)
