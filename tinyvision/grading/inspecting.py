"""Looking at results: one student's, one case again."""
from __future__ import annotations

import base64
import io
import shlex
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tinyvision import exercises
from tinyvision.grading import course, notebooks, overrides, sandbox, submissions, totals
from tinyvision.grading.assignment import Assignment, generator, prepare
from tinyvision.grading.examine import runner_of
from tinyvision.grading.inside import submitted
from tinyvision.grading.store import Store, plain, write
from tinyvision.grading.verdict import Answer

WIDE = 60                               # numbers of an array that is shown whole


# ---- show ----------------------------------------------------------------------------------------

def show(out: Path, student: str) -> str:
    """Everything about one student: per exercise the mark, the cases, what it looks like, and what
    lateness and marks by hand made of it. ValueError for an unknown student."""
    from tinyvision.grading.checking import text
    records, rules = Store(out).records(), course.read(out)
    student = totals.student(out, records, student)
    overrides.find(records, student)
    pieces = []
    for record in (r for r in records if r["student"] == student):
        score, notes = rules.score(record)
        lines = [f"{record['file']}   isolation {record['isolation']}", text(record)]
        failing = [number for number, case in overrides.numbered(record).items()
                   if case["verdict"] != "OK"]
        lines += [f"tinyvision replay {out} {shlex.quote(student)} {' | '.join(failing)}"
                  ] if failing else []
        lines += [f"    remark: {remark}" for remark in record["remarks"]]
        lines += notes
        if notes and rules.counts(record):
            lines.append("not graded" if score is None else f"counts: {score:g}")
        pieces.append("\n".join(lines))
    return "\n\n".join(pieces)


# ---- replay --------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Replay:
    """One case run again.

    Attributes:
        record, number, case, source: what was run; ``case`` the `exercises.Case`.
        verdict, message: of now; ``before`` is the verdict that the record has.
        answer, expected: arrays, as far as there are any.
        header: what the worker said (prints, traceback).
        exercise: the `exercises.Exercise`.
    """
    record: dict
    number: str
    case: object
    source: bytes
    verdict: str
    message: str
    before: str
    answer: Answer | None
    expected: tuple
    header: dict
    exercise: object

    def text(self) -> str:
        """What a teacher reads."""
        lines = [f"{self.record['student']} {self.number} {self.case.function}: {self.case.name}",
                 *(f"  {name}: {shown(arg)}" for name, arg in zip(self.names(), self.case.args)),
                 *(f"  expected: {shown(part)}" for part in self.expected),
                 *(f"  received: {shown(part)}" for part in (self.answer.parts if self.answer
                                                             else ())),
                 f"{self.verdict}: {self.message}".rstrip(": ")]
        if self.header.get("printed"):
            lines += ["printed:", plain(self.header["printed"], 2000)]
        if self.verdict != self.before:
            lines.append(f"The record says {self.before}: the answer is not the same every time, "
                         "or the case was judged together with others.")
        return "\n".join(lines)

    def names(self) -> list[str]:
        """What the case's arguments are called; numbers where the exercise does not say."""
        names = self.exercise.parameters(self.case)[:len(self.case.args)]
        return names + [f"argument_{i}" for i in range(len(names) + 1, len(self.case.args) + 1)]


def replay(out: Path, student: str, where: str, level: str | None = None) -> Replay:
    """Run one case of a student's again, with the bytes that were sent when it was graded.

    ValueError for an unknown student or case, a submission or assignment that OUT does not hold.
    """
    store = Store(out)
    records = store.records()
    record = overrides.find(records, totals.student(out, records, student))
    number, position = _position(record, where)
    source = store.source(record)
    if source is None:
        raise ValueError(f"replay: {store.out} does not hold the file of {student}; grade it again "
                         "with this version")
    assignment = assignment_of(store, record)
    _check_same(record, assignment, position)
    return _again(record, number, position, source, assignment, level or sandbox.probe()[0])


def _position(record: dict, where: str) -> tuple[str, int]:
    if not record["cases"]:
        raise ValueError(f"replay: there is no case of {record['student']} to run again: "
                         f"{record['file']} is {record['verdict']} ({record['message']})")
    function, case = overrides.place(record, where)
    for number, one in overrides.numbered(record).items():
        if one["function"] == function and case in ("", one["name"]):
            return number, record["cases"].index(one)
    raise ValueError(f"replay: {record['student']} has no case {where!r} ({record['verdict']}: "
                     f"{record['message']})")


def assignment_of(store: Store, record: dict) -> Assignment:
    """The assignment that a record was made with: the file kept in OUT, or the catalogue's."""
    name = record["exercise"]
    about = store.exercises().get(name, {})
    exercise = _from_text(name, about["assignment"]) if about.get("assignment") else (
        exercises.load(name))
    return prepare(exercise, generator(store.secret(None, make=False), name))


def _from_text(name: str, text: str):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.py"
        write(path, text)
        return exercises.load(str(path))


def _check_same(record: dict, assignment: Assignment, position: int) -> None:
    then = [(case["function"], case["name"]) for case in record["cases"]]
    now = [(case.function, case.name) for case in assignment.cases]
    if then != now:
        raise ValueError(f"replay: the cases of {record['exercise']} have changed since "
                         f"{record['student']} was graded; run 'tinyvision grade' again")


def _again(record, number, position, source, assignment, level) -> Replay:
    from tinyvision.grading.trials import Trials
    one = submissions.Submission(record["student"], record["file"], source)
    runner = runner_of(one, assignment, level)
    runner.whole = record.get("whole", False)
    try:
        trials = Trials(assignment, runner)
        header, blobs = trials.once(position)
        verdict, message = trials.settle(position, header, blobs)
    finally:
        runner.close()
    return Replay(record, number, assignment.cases[position], source, str(verdict.value), message,
                  record["cases"][position]["verdict"], trials.answers.get(position),
                  assignment.expected[position].parts, header, assignment.exercise)


def shown(value) -> str:
    """An argument or an answer on one line, or over several; of a large array its shape."""
    if not isinstance(value, np.ndarray):
        return plain(repr(value), 400)
    words = f"{value.dtype} {value.shape}"
    if value.size > WIDE:
        return f"{words}, from {value.min():.6g} to {value.max():.6g}"
    text = np.array2string(value, precision=6, separator=", ", max_line_width=90)
    return f"{words} {text}" if "\n" not in text else "\n    ".join([words, *text.split("\n")])


def replay_notebook(again: Replay, path: Path) -> Path:
    """Write a notebook with the student's code, the case's arguments byte for byte, the call, and
    the right answer beside it."""
    name = again.record["exercise"]
    codes = [code for _, code in submitted.cells_of(again.record["file"], again.source)]
    names = [f"the_{name}" for name in again.names()]       # not a name of the student's own
    arguments = [f"{n} = {_code(arg)}" for n, arg in zip(names, again.case.args)]
    texts = [f"{DECODER}\n\n" + "\n".join(arguments), *codes,
             f"{_call(again.exercise, again.case, names)}\nanswer",
             "expected = (" + "".join(f"{_code(np.asarray(p))}, " for p in again.expected)
             + ")\nexpected"]
    head = (f"# {again.record['student']}: {again.number} {again.case.function}, "
            f"{again.case.name}\n\n{again.verdict}: {again.message}\n\nThe cells below run the "
            "student's own code in this notebook, without a sandbox. Read it first.")
    cells = [notebooks.cell("head", "markdown", head, {})]
    goes_on = {"tags": ["raises-exception"]}    # "Run all" does not stop at a cell that fails
    cells += [notebooks.cell(f"cell_{i}", "code", text, goes_on if 1 < i <= 1 + len(codes) else {})
              for i, text in enumerate(texts, 1)]
    write(path, notebooks.notebook(cells, name))
    return path


def _call(exercise, case, names: list[str]) -> str:
    """The call as Python, through the exercise's driver where there is one."""
    given, before = case.function, ""
    if given in exercise.texts:
        kind = replace(exercise.texts[given], solution="")
        before = (f"from {type(kind).__module__} import CudaText\n"
                  f"library = {kind}.library({given})\n")
        given = "library"
    if not case.driver:
        return f"answer = {given}({', '.join(names)})"
    driver = getattr(exercise.driver, case.driver).__module__
    return (f"from {driver} import {case.driver}\n{before}"
            f"answer = {case.driver}({', '.join([given, *names])})")


DECODER = """\
import base64, io
import numpy as np

def array(text):
    return np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False)"""


def _code(value) -> str:
    """Python that gives the very value: numbers where they can be read, else bytes."""
    if not isinstance(value, np.ndarray):
        return repr(value)
    if 0 < value.size <= WIDE and value.flags.c_contiguous and np.isfinite(value).all():
        return f"np.array({value.tolist()}, np.{value.dtype.name})"
    data = io.BytesIO()
    np.save(data, value, allow_pickle=False)
    return f'array("{base64.b64encode(data.getvalue()).decode()}")'
