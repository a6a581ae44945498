"""``tinyvision build``: from an assignment's source to what students, graders and Gradescope get.

Nothing is written before everything is proved: the solution gets every point in the sandbox, the
students' file none and holds no solution, and every known mistake is caught and named.
"""
from __future__ import annotations

import ast
import dataclasses
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyvision.exercises import Exercise
from tinyvision.exercises.files import load_file, source_of
from tinyvision.exercises.homework import (
    TABLE_LINE, Homework, from_parts_line, parts_line, points_table)
from tinyvision.grading import notebooks, proofs, source
from tinyvision.grading.assignment import PUBLIC_SEED, as_received, prepare, run
from tinyvision.grading.store import write
from tinyvision.grading.verdict import Verdict, judge


class BuildError(ValueError):
    """The assignment is not ready: each line of the message is one thing to put right."""


@dataclass(frozen=True)
class Built:
    """What was written, how many known mistakes were tried, and what to think about."""
    folder: Path
    files: tuple[Path, ...]
    points: float
    mistakes: int
    notes: tuple[str, ...] = ()


def build(path, out=None, check: bool = True, visibility: str = "visible") -> Built:
    """Build an assignment.

    Arguments:
        path: its source, ``hw3.py``.
        out: the folder to write; by default ``build/hw3`` beside the source.
        check: False leaves the proofs out, as when only a text was changed.
        visibility: of the tests on Gradescope, one of `exports.gradescope.VISIBILITIES`.

    `BuildError` lists everything that is wrong; then nothing is written. ValueError where the
    source cannot be read.
    """
    from tinyvision.grading.autograder import archive
    path = Path(path)
    exercise = load_file(path)
    cells = cells_of(exercise, source.read(path))
    texts = {f"{kind}/{exercise.name}.{suffix}": text
             for kind, suffix, text in _texts(exercise, cells)}
    if check:
        problems = (proofs.check_texts(exercise, cells, texts | filled_in(exercise, cells))
                    + proofs.check_mistakes(exercise))
        if problems:
            raise BuildError("\n".join([f"{path} is not ready:", *(f"- {p}" for p in problems)]))
    notes = proofs.exact_floats(exercise) if check else []
    folder = Path(out) if out else path.parent / "build" / exercise.name
    for name, text in texts.items():
        write(folder / name, text)
    write(folder / path.name, path.read_bytes())
    zipped = archive(path, exercise, folder, visibility)
    files = (*(folder / name for name in texts), zipped, folder / path.name, folder / "secret")
    return Built(folder, files, exercise.points, len(exercise.mistakes), tuple(notes))


def _texts(exercise: Exercise, cells):
    """(folder, suffix, text) of each file."""
    parts = checkable(exercise)
    yield "student", "py", script(cells, exercise.name, source.student, parts)
    yield "student", "ipynb", notebooks.student_notebook(cells, exercise.name, worth(exercise),
                                                         parts)
    yield "solution", "py", script(cells, exercise.name, source.solution, parts)
    yield "solution", "ipynb", notebooks.solution_notebook(cells, exercise.name)


def filled_in(exercise: Exercise, cells) -> dict[str, str]:
    """The students' notebook into which the solution was written: one that must be right, too."""
    text = notebooks.student_notebook(cells, exercise.name, worth(exercise), checkable(exercise),
                                      source.solution)
    return {f"solution written into student/{exercise.name}.ipynb": text}


def description(exercise: Exercise) -> dict[str, str]:
    """What results keep of an assignment from a file: its source, and both of its scripts."""
    text = source_of(exercise)
    cells = cells_of(exercise, text)
    return {"assignment": text, "stub": script(cells, exercise.name, source.student),
            "solution": script(cells, exercise.name, source.solution)}


def cells_of(exercise: Exercise, text: str) -> list[source.Cell]:
    """The cells of an assignment's source, the table of points in its place."""
    return [dataclasses.replace(cell, text=_with_table(cell.text, points_table(exercise)))
            if cell.kind == "markdown" and TABLE_LINE in cell.text else cell
            for cell in source.cells(text)]


def _with_table(text: str, table: str) -> str:
    """A text with the table in its place, between blank lines: a line right below a table is
    taken for one more row."""
    around = (piece.strip("\n") for piece in text.split(TABLE_LINE))
    return f"\n\n{table}\n\n".join(around).strip("\n")


def worth(exercise: Exercise) -> dict[str, float]:
    """Function -> the points of its cases."""
    points = dict.fromkeys(exercise.functions, 0.0)
    for case in exercise.cases(np.random.default_rng(PUBLIC_SEED)):
        points[case.function] = points.get(case.function, 0.0) + case.points
    return {function: round(n, 4) for function, n in points.items()}


def checkable(exercise: Exercise) -> str:
    """The line by which students can check their file themselves: "" where the assignment is none
    of the catalogue's, or where its own solution would not pass, as its conventions are others."""
    line = parts_line(exercise) if isinstance(exercise, Homework) else ""
    if not line:
        return ""
    public = from_parts_line(line.encode(), exercise.name)
    assignment = prepare(public, np.random.default_rng(PUBLIC_SEED))
    for case, expected in zip(assignment.cases, assignment.expected):
        try:
            answer = run(exercise, case, exercise.functions[case.function])
            if judge(as_received(answer), expected).verdict is not Verdict.OK:
                return ""
        except Exception:               # the solution is another function: students cannot check
            return ""
    return line


def script(cells, name: str, view, parts: str = "") -> str:
    """The cells as a Python file. Tests run only where it is started by itself: imported, it
    defines, and an example that fails costs nothing."""
    head = f"# tinyvision exercise: {name}"         # Python reads "coding: 10" in the first two
    pieces = [f"{head}\n#\n{parts}" if parts else head]   # lines as an encoding (PEP 263)
    for cell in cells:
        text = cell.text if cell.kind == "markdown" else view(cell.text)
        if not text or text.startswith("# tinyvision exercise:"):
            continue
        if cell.kind == "markdown":
            lines = [f"# {line}".rstrip() for line in text.split("\n")]
            pieces.append("\n".join(["# %% [markdown]", *lines]))
        else:
            tests = source.is_test(cell.text)
            pieces.append(f"# %% {cell.title}".rstrip() + "\n" + (_guarded(text, cell)
                                                                 if tests else text))
    return "\n\n".join(pieces) + "\n"


def _guarded(text: str, cell) -> str:
    """Tests that run where the file is started, and are left out where a function is not written
    yet: those of the others still run."""
    line, title = cell.line, cell.title or "tests"
    whole = (f'if __name__ == "__main__":\n    try:\n{textwrap.indent(text, " " * 8)}\n'
             "    except NotImplementedError:\n"
             f"        print({f'{title}: not run, a function of it is not written yet'!r})")
    inner = ast.parse(whole).body[0].body[0].body
    if [ast.dump(node) for node in inner] != [ast.dump(node) for node in ast.parse(text).body]:
        raise BuildError(f"the tests that begin on line {line} hold a string of several lines at "
                         "their top; put it into a function")
    return whole
