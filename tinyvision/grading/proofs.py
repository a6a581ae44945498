"""What `build` proves of an assignment before anything of it is written: the solution gets every
point in the sandbox, the students' files none and hold no line of it, and every known mistake is
caught and named.
"""
from __future__ import annotations

import ast
import collections
import json
import re
from pathlib import Path

import numpy as np

from tinyvision.exercises import Exercise, load
from tinyvision.exercises.homework import TABLE_HEAD, TABLE_LINE, Homework, parts_of
from tinyvision.exercises.start import solution_text, stub
from tinyvision.grading import sandbox, source, submissions
from tinyvision.grading.assignment import PUBLIC_SEED, attempt, expect, prepare
from tinyvision.grading.diagnosis import diagnose
from tinyvision.grading.examine import examine
from tinyvision.grading.inside import messages
from tinyvision.grading.verdict import Verdict, judge

SEEDS = (PUBLIC_SEED, 1, 2)             # of generators with which mistakes are tried
SHORT = 24                              # a line of so few letters tells nothing


# ---- files ---------------------------------------------------------------------------------------

def check_texts(exercise: Exercise, cells, texts: dict[str, str]) -> list[str]:
    """What is wrong with the files: those whose names begin with ``solution`` must get every point,
    the student's none."""
    problems = (_check_cases(exercise) or _check_written(exercise, cells)
                or _check_hidden(exercise, cells, texts))
    if problems:
        return problems
    assignment = prepare(exercise, np.random.default_rng(PUBLIC_SEED))
    for name, text in texts.items():
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


def _check_written(exercise: Exercise, cells) -> list[str]:
    """The parts whose functions are counted and do not stand in the file: a line for each."""
    catalogue = exercise.catalogue if isinstance(exercise, Homework) else ()
    seed = getattr(exercise, "vary", None)
    vary = "" if seed is None else f" --vary {seed}"
    there, problems = _defined(cells), []
    for part in parts_of(exercise):
        missing = [function for function in part.functions if function not in there]
        if missing:
            copy = (f"copy its cells from 'tinyvision new other --from {part.name}{vary}'"
                    if part.name in catalogue else "write it there")
            problems.append(f"{part.name!r} is counted but {exercise.name}.py has no function "
                            f"{' and no '.join(missing)}; {copy}, or take it out of EXERCISE")
    return problems


def _defined(cells) -> set[str]:
    """The names that the solution defines or imports, wherever in it."""
    names = set()
    for cell in (cell for cell in cells if cell.kind == "code"):
        for node in ast.walk(ast.parse(source.solution(cell.text))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                names |= {(one.asname or one.name).split(".")[0] for one in node.names}
    return names


def exact_floats(exercise: Exercise) -> list[str]:
    """The functions of the instructor's own parts whose floats are compared exactly, a sentence
    each. Some are meant so (a maximum is one of its arguments), so this is no refusal."""
    catalogue = exercise.catalogue if isinstance(exercise, Homework) else ()
    found = {}
    for part in (part for part in parts_of(exercise) if part.name not in catalogue):
        for case in part.cases(np.random.default_rng(PUBLIC_SEED)):
            if case.function not in part.magnitude and any(
                    one.dtype.kind == "f" for one in expect(part, case).parts):
                found[case.function] = (
                    f"{case.function} returns floats and has no magnitude, so they are compared "
                    "exactly and who sums in another order is wrong: give magnitude="
                    f'{{"{case.function}": absolute({case.function})}} and terms, the number of '
                    "products that it sums, or a magnitude of 0 if it only chooses")
    return list(found.values())


def _check_cases(exercise: Exercise) -> list[str]:
    first, second = (exercise.cases(np.random.default_rng(seed)) for seed in (0, 1))
    problems = [f"case {case.name!r} calls {case.function}, which is no function of the exercise"
                for case in first if case.function not in exercise.functions]
    problems += [f"{f} has no cases, so nothing of it is graded" for f in exercise.functions
                 if all(case.function != f for case in first)]
    named = collections.Counter((case.function, case.name) for case in first)
    problems += [f"{count} cases of {function} are called {name!r}; give each a name of its own"
                 for (function, name), count in named.items() if count > 1]
    about = [[(case.function, case.name, case.points) for case in cases]
             for cases in (first, second)]
    if about[0] != about[1]:
        problems.append("cases(rng) must give the same names, points and order for every "
                        "generator; only the numbers may change")
    if min((case.points for case in first), default=0) <= 0:
        problems.append("every case needs points, more than 0")
    return problems or _check_generator(exercise)


def _check_generator(exercise: Exercise) -> list[str]:
    """The first case that has other arguments when it is made again from the same seed: `replay`,
    and the graders of other shards, would get other numbers than the mark was made with."""
    first, again = (exercise.cases(np.random.default_rng(PUBLIC_SEED)) for _ in range(2))
    other = [one for one, two in zip(first, again) if _arguments(one) != _arguments(two)]
    return [f"case {one.name!r} of {one.function} has other arguments each time it is made from "
            "the same seed; draw all of its numbers from the rng that cases(rng) is given"
            for one in other[:1]]


def _arguments(case) -> tuple[str, list[bytes]]:
    blobs: list = []
    code = messages.encode(tuple(case.args), blobs)
    return repr(code), blobs            # as text, since a NaN equals nothing


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


# ---- known mistakes ------------------------------------------------------------------------------

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
        answer, verdicts[i] = attempt(assignment.exercise, implementation, case), Verdict.EXCEPTION
        if answer is not None:
            answers[i], judgements[i] = answer, judge(answer, assignment.expected[i])
            verdicts[i] = judgements[i].verdict
    found = diagnose(assignment, answers, verdicts, judgements)
    failed = sum(verdict is not Verdict.OK for verdict in verdicts.values())
    names = [one.name for one in found if one.function == function and one.name]
    if failed and not answers:
        names = ["nothing, as it raises in every case"]
    return failed, names
