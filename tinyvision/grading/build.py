"""``tinyvision build``: from an assignment's source to what students, graders and Gradescope get.

Nothing is written before everything is proved: the solution gets every point in the sandbox, the
students' file none and holds no solution, and every known mistake is caught and named.
"""
from __future__ import annotations

import ast
import dataclasses
import json
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyvision.exercises import Exercise, load
from tinyvision.exercises.files import load_file, source_of
from tinyvision.exercises.homework import (
    TABLE_HEAD, TABLE_LINE, Homework, from_parts_line, parts_line, points_table)
from tinyvision.exercises.start import solution_text, stub
from tinyvision.grading import notebooks, sandbox, source, submissions, worker
from tinyvision.grading.assignment import PUBLIC_SEED, prepare, run
from tinyvision.grading.diagnosis import diagnose
from tinyvision.grading.examine import examine
from tinyvision.grading.store import write
from tinyvision.grading.verdict import Verdict, judge, received

SEEDS = (PUBLIC_SEED, 1, 2)             # of generators with which mistakes are tried
SHORT = 24                              # a line of so few letters tells nothing
CAP = 1 << 26                           # bytes of one answer of a mistake's


class BuildError(ValueError):
    """The assignment is not ready: each line of the message is one thing to put right."""


@dataclass(frozen=True)
class Built:
    """What was written, and how many known mistakes were tried."""
    folder: Path
    files: tuple[Path, ...]
    points: float
    mistakes: int


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
        problems = check_texts(exercise, cells, texts) + check_mistakes(exercise)
        if problems:
            raise BuildError("\n".join([f"{path} is not ready:", *(f"- {p}" for p in problems)]))
    folder = Path(out) if out else path.parent / "build" / exercise.name
    for name, text in texts.items():
        write(folder / name, text)
    write(folder / path.name, path.read_bytes())
    zipped = archive(path, exercise, folder, visibility)
    files = (*(folder / name for name in texts), zipped)
    return Built(folder, files, exercise.points, len(exercise.mistakes))


def _texts(exercise: Exercise, cells):
    """(folder, suffix, text) of each file."""
    parts = checkable(exercise)
    yield "student", "py", script(cells, exercise.name, source.student, parts)
    yield "student", "ipynb", notebooks.student_notebook(cells, exercise.name, worth(exercise),
                                                         parts)
    yield "solution", "py", script(cells, exercise.name, source.solution, parts)
    yield "solution", "ipynb", notebooks.solution_notebook(cells, exercise.name)


def description(exercise: Exercise) -> dict[str, str]:
    """What results keep of an assignment from a file: its source, and both of its scripts."""
    text = source_of(exercise)
    cells = cells_of(exercise, text)
    return {"assignment": text, "stub": script(cells, exercise.name, source.student),
            "solution": script(cells, exercise.name, source.solution)}


def cells_of(exercise: Exercise, text: str) -> list[source.Cell]:
    """The cells of an assignment's source, the table of points in its place."""
    return [dataclasses.replace(cell, text=cell.text.replace(TABLE_LINE, points_table(exercise)))
            if cell.kind == "markdown" else cell for cell in source.cells(text)]


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
            if judge(_answer(answer), expected).verdict is not Verdict.OK:
                return ""
        except Exception:               # the solution is another function: students cannot check
            return ""
    return line


def script(cells, name: str, view, parts: str = "") -> str:
    """The cells as a Python file. Tests run only where it is started by itself: imported, it
    defines, and an example that fails costs nothing."""
    pieces = ["\n".join(filter(None, [f"# tinyvision exercise: {name}", parts]))]
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


# ---- proofs --------------------------------------------------------------------------------------

def check_texts(exercise: Exercise, cells, texts: dict[str, str]) -> list[str]:
    """What is wrong with the files: the solution must get every point, the student's none."""
    problems = _check_cases(exercise) or _check_hidden(exercise, cells, texts)
    if problems:
        return problems
    assignment = prepare(exercise, np.random.default_rng(PUBLIC_SEED))
    filled = notebooks.student_notebook(cells, exercise.name, worth(exercise),
                                        checkable(exercise), source.solution)
    where = f"solution written into student/{exercise.name}.ipynb"
    for name, text in [*texts.items(), (where, filled)]:
        record = _graded(assignment, Path(name).name, text)
        if name.startswith("solution"):
            problems += [f"{name}: {case['function']}, {case['name']}: {case['verdict']}: "
                         f"{case['message']}" for case in record["cases"]
                         if case["verdict"] != "OK"]
            problems += [] if record["cases"] else [f"{name}: {record['message']}"]
        elif record["score"] != 0 or not record["cases"]:
            problems.append(f"{name}: gets {record['score']:g} points as it is handed out"
                            if record["cases"] else f"{name}: {record['message']}")
    return problems


def _check_cases(exercise: Exercise) -> list[str]:
    first, second = (exercise.cases(np.random.default_rng(seed)) for seed in (0, 1))
    problems = [f"case {case.name!r} calls {case.function}, which is no function of the exercise"
                for case in first if case.function not in exercise.functions]
    problems += [f"{f} has no cases, so nothing of it is graded" for f in exercise.functions
                 if all(case.function != f for case in first)]
    about = [[(case.function, case.name, case.points) for case in cases]
             for cases in (first, second)]
    if about[0] != about[1]:
        problems.append("cases(rng) must give the same names, points and order for every "
                        "generator; only the numbers may change")
    if min((case.points for case in first), default=0) <= 0:
        problems.append("every case needs points, more than 0")
    return problems


def _check_hidden(exercise: Exercise, cells, texts: dict[str, str]) -> list[str]:
    """What of the solution or of the hidden part stands in a student's file: a marker is missing
    or in the wrong place."""
    if not any(source.has(cell.text, "SOLUTION") for cell in cells if cell.kind == "code"):
        return ["no solution is marked; put ### BEGIN SOLUTION and ### END SOLUTION around what "
                "students are to write"]
    problems = [f"{name} holds EXERCISE: close the last part in ### BEGIN HIDDEN TESTS and ### "
                "END HIDDEN TESTS" for name, text in texts.items() if "EXERCISE" in text]
    hidden = secret_lines(exercise, cells)
    for name in [name for name in texts if name.startswith("student/")]:
        problems += [f"{name} shows {line!r}, a line of {owner}'s solution; put ### BEGIN SOLUTION "
                     "and ### END SOLUTION around it, or begin its cell with # %% given"
                     for line, owner in hidden.items() if line in _lines(texts[name])]
    return problems + _check_tables(exercise, cells)


def _check_tables(exercise: Exercise, cells) -> list[str]:
    """A table of points that says what they were once."""
    rows = getattr(exercise, "rows", ()) or ((exercise.title, exercise.points),)
    right = [points for _, points in rows]
    tables = [cell.text.split(TABLE_HEAD)[1].split("\n\n")[0] for cell in cells
              if cell.kind == "markdown" and TABLE_HEAD in cell.text]
    said = [[float(n) for n in re.findall(r"\|\s*([\d.]+)\s*\|\s*$", table, re.M)]
            for table in tables]
    return [f"the table of points says {' + '.join(f'{n:g}' for n in numbers)}, but the points are "
            f"{' + '.join(f'{n:g}' for n in right)}; put the line {TABLE_LINE} in its place"
            for numbers in said if numbers not in (right, [*right, sum(right)])]


def secret_lines(exercise: Exercise, cells) -> dict[str, str]:
    """Line -> whose it is, for the lines of solutions: of the file's own between the markers, and
    of the catalogue's exercises, their helpers included. Short ones, signatures and what stands in
    a cell that is given are none."""
    found, given = {}, set()
    for cell in (cell for cell in cells if cell.kind == "code"):
        given |= _lines(cell.text) if cell.title.startswith("given") else set()
        found |= dict.fromkeys(_lines(source.solution(cell.text)) - _lines(source.student(
            cell.text)), exercise.name)
    for part in map(load, exercise.catalogue if isinstance(exercise, Homework) else ()):
        found |= dict.fromkeys(_lines(solution_text(part)) - _lines(stub(part)), part.name)
    return {line: owner for line, owner in found.items() if line not in given}


def _lines(text: str) -> set[str]:
    """The lines of code of some length in a script or a notebook, without indents, comments,
    signatures and docstrings."""
    if text.startswith("{"):
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"]
                         if cell["cell_type"] == "code")
    said = {number for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            for number in range(node.lineno, node.end_lineno + 1)}
    lines = {line.strip() for number, line in enumerate(text.split("\n"), 1) if number not in said}
    return {line for line in lines
            if len(line) > SHORT and not line.startswith(("#", "def ", "class "))}


def _graded(assignment, name: str, text: str) -> dict:
    level = sandbox.probe()[0]
    one = submissions.Submission("build", name, text.encode(), assignment.exercise.name)
    return examine(one, assignment, level, repeat=False)[0]


def check_mistakes(exercise: Exercise) -> list[str]:
    """The known mistakes that no case catches, or that are taken for others, with any of several
    generators: students' numbers are others than these."""
    known = [m for m in exercise.mistakes if m.function in exercise.functions]
    problems = [f"mistake {m.name}: {m.function} is no function of the exercise"
                for m in exercise.mistakes if m not in known]
    if _check_cases(exercise):
        return problems                             # the cases are no good: said already
    for seed in SEEDS:
        assignment = prepare(exercise, np.random.default_rng(seed))
        problems += [problem for mistake in known
                     if (problem := _not_named(assignment, mistake))]
    return list(dict.fromkeys(problems))


def _not_named(assignment, mistake) -> str:
    """What is wrong with a mistake's outcome; "" where it is caught and named."""
    caught, names = outcome(assignment, mistake.function, mistake.implementation)
    if not caught:
        return (f"mistake {mistake.name} of {mistake.function}: every case passes it; add a case "
                "that tells it from the solution, with any numbers")
    if mistake.name not in names:
        return (f"mistake {mistake.name} of {mistake.function} is taken for "
                f"{' and '.join(names) or 'none'}; add a case that tells them apart")
    return ""


def outcome(assignment, function: str, implementation) -> tuple[int, list[str]]:
    """(how many cases a wrong function fails, what it is called), without a sandbox: it is the
    instructor's own."""
    answers, judgements, verdicts = {}, {}, {}
    for i, case in enumerate(assignment.cases):
        if case.function != function:
            verdicts[i] = Verdict.OK
            continue
        try:
            with np.errstate(all="ignore"):
                answers[i] = _answer(run(assignment.exercise, case, implementation))
        except Exception:               # raising is an answer, too: a case failed
            verdicts[i] = Verdict.EXCEPTION
            continue
        judgements[i] = judge(answers[i], assignment.expected[i])
        verdicts[i] = judgements[i].verdict
    found = diagnose(assignment, answers, verdicts, judgements)
    failed = sum(verdict is not Verdict.OK for verdict in verdicts.values())
    names = [one.name for one in found if one.function == function and one.name]
    if failed and not answers:
        names = ["nothing, as it raises in every case"]
    return failed, names


def _answer(returned):
    """What a function returned, as it would have come back from a sandbox; a number as an array,
    as the bank of mistakes has it."""
    several = type(returned) in (tuple, list)
    blobs: list = []
    about = [worker.describe(np.asarray(value), blobs, CAP)
             for value in (returned if several else (returned,))]
    header = {"answers": about, "inputs": len(blobs),
              "several": type(returned).__name__ if several else ""}
    return received(header, blobs)[0]
