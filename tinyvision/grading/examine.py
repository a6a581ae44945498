"""One submission against one assignment: run every case, judge what comes back, make a record."""
from __future__ import annotations

import time
from dataclasses import asdict

import numpy as np

from tinyvision.grading import sandbox
from tinyvision.grading.assignment import LEAST_SECONDS, TIMES_REFERENCE, request
from tinyvision.grading.diagnosis import diagnose
from tinyvision.grading.store import plain
from tinyvision.grading.verdict import CREDIT, Judgement, Verdict, judge, number, received

READ_SECONDS = 5.0
PICTURES, PICTURE_SIDE = 3, 16          # pictures per submission, and their rows and columns
# No measured time stands in a record: regrading would give other bytes.
TIMED_OUT = (f"did not finish in {LEAST_SECONDS:g} s, or {TIMES_REFERENCE:g} times what the "
             "solution "
             "takes where that is longer")
LATE = "did not finish in the time that was left after an earlier case's time-out"
KEPT_OUTPUT = 2000                      # characters of what a student printed
STATUS = {"unreadable": Verdict.UNREADABLE, "syntax": Verdict.SYNTAX, "memory": Verdict.MEMORY,
          "exited": Verdict.EXITED, "exception": Verdict.EXCEPTION, "timeout": Verdict.TIMEOUT,
          "no_function": Verdict.NO_FUNCTION, "crashed": Verdict.CRASHED,
          "crashed-worker": Verdict.CRASHED, "garbled": Verdict.BAD_RESULT}


class Stopped(Exception):
    """The grader was interrupted: what was in flight has no result."""


class Runner:
    """Runs requests in a sandbox, and in a new one where the last ended."""

    def __init__(self, name: str, source: bytes, level: str, stopped):
        self.new = lambda: sandbox.Session(name, source, level)
        self.session, self.stopped = None, stopped

    def ask(self, request: dict, blobs, seconds: float, cap: int):
        """As `sandbox.Session.ask`; Stopped if the grader was interrupted meanwhile. A worker that
        ended as a whole gets a second chance: the machine may have been short of memory."""
        for _ in range(2):
            if self.session is None or not self.session.alive:
                self.session = self.new()
            header, answers = self.session.ask(request, blobs, seconds, cap)
            if self.stopped():
                raise Stopped
            if header["status"] != "crashed-worker":
                break
        return header, answers

    def close(self) -> None:
        """End the sandbox."""
        if self.session is not None:
            self.session.close()


def examine(submission, assignment, level: str, repeat: bool = True,
            stopped=lambda: False, watch=lambda trials: None) -> tuple[dict, dict]:
    """(the record of one submission, the times its cases took).

    Arguments:
        submission: a `submissions.Submission` that could be read.
        level: the sandbox's level.
        repeat: run every case twice, to see whether the answers agree.
        stopped: says whether the grader was interrupted; then `Stopped` is raised.
        watch: called after every case with what is known so far, a `_Trials`.
    """
    suffix = ".ipynb" if submission.file.endswith(".ipynb") else ".py"
    name = plain(submission.file.rsplit("/", 1)[-1], 80)
    runner = Runner(name if name.endswith(suffix) else "submission" + suffix,
                    submission.source, level, stopped)
    try:
        head, _ = runner.ask({"do": "read"}, [], READ_SECONDS, 1 << 20)
        remarks = _remarks(head)
        if head["status"] != "ok":
            verdict, message = explain(head, None, assignment)
            return whole(submission, assignment, level, verdict, message), {}
        trials = _Trials(assignment, runner)
        trials.run_all(watch)
        if repeat:
            trials.repeat_all()
    finally:
        runner.close()
    record = trials.record(submission, level)
    record["remarks"] = remarks
    return record, trials.times


class _Trials:
    """The cases of one submission and what became of them."""

    def __init__(self, assignment, runner: Runner):
        self.assignment, self.runner = assignment, runner
        self.left = None                # seconds, shared, once a case has timed out
        self.verdicts, self.messages, self.answers, self.judgements = {}, {}, {}, {}
        self.headers, self.times = {}, {}

    def run_all(self, watch=lambda trials: None) -> None:
        """Every case once."""
        for i, case in enumerate(self.assignment.cases):
            start = time.perf_counter()
            header, blobs = self.once(i)
            took = time.perf_counter() - start
            self.times[f"{i} {case.function} {case.name}"] = round(took, 4)
            if self.left is not None:
                self.left -= took
            if header["status"] == "timeout":
                header = {"status": "timeout", "shared": self.left is not None}
                self.left = self.assignment.seconds[i] if self.left is None else self.left
            self.headers[i] = header
            self.verdicts[i], self.messages[i] = self.settle(i, header, blobs)
            watch(self)

    def once(self, i: int):
        """Run one case: the worker's answer."""
        case, right = self.assignment.cases[i], self.assignment.expected[i]
        seconds = self.assignment.seconds[i]
        if self.left is not None:
            seconds = min(seconds, self.left)
            if seconds <= 0.01:
                return {"status": "timeout"}, []
        each = (1 << 16) + 4 * max(part.nbytes for part in right.parts)
        header, blobs = request(self.assignment.exercise, case, each)
        cap = (1 << 20) + 16 * each + sum(map(len, blobs))
        return self.runner.ask(header, blobs, seconds, cap)

    def settle(self, i: int, header: dict, blobs) -> tuple[Verdict, str]:
        """The verdict on one answer of the worker's."""
        if header["status"] != "ok":
            return explain(header, self.assignment.cases[i], self.assignment)
        try:
            answer, inputs = received(header, blobs)
            changed = mutated(self.assignment.cases[i].args, inputs)
            names = self.assignment.exercise.parameters(self.assignment.cases[i])
        except (ValueError, OverflowError) as error:
            return Verdict.BAD_RESULT, f"the answer is no array: {plain(error, 200)}"
        judgement = judge(answer, self.assignment.expected[i])
        self.answers[i], self.judgements[i] = answer, judgement
        if judgement.verdict is Verdict.OK and changed:
            return Verdict.MUTATED_INPUT, "the answer is right, but the call changed its input " \
                + " and ".join(names[k] for k in changed)
        return judgement.verdict, plain(judgement.message)

    def repeat_all(self) -> None:
        """Every case that was answered once more; another answer is told, not judged."""
        for i in sorted(self.answers) if self.left is None else ():
            header, blobs = self.once(i)
            if not self.agrees(i, header, blobs):
                self.verdicts[i] = Verdict.NONDETERMINISTIC
                self.messages[i] = "a second call with the same input gave another answer"

    def agrees(self, i: int, header: dict, blobs) -> bool:
        """Whether a second run has the same verdict and, where that is not OK, the same numbers."""
        first, judgement = self.answers[i], self.judgements[i]
        try:
            second, _ = received(header, blobs)
        except ValueError:
            return False
        if judge(second, self.assignment.expected[i]).verdict is not judgement.verdict:
            return False
        return judgement.verdict is Verdict.OK or first.types == second.types and all(
            a is b or np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
            for a, b in zip(first.parts, second.parts))

    def record(self, submission, level: str) -> dict:
        """Everything that is kept of this submission."""
        diagnoses = diagnose(self.assignment, self.answers, self.verdicts, self.judgements)
        cases = [self.case_record(i) for i in range(len(self.assignment.cases))]
        pictured = [i for i in self.judgements if self.verdicts[i] in (
            Verdict.WRONG_VALUE, Verdict.NONFINITE, Verdict.WRONG_SHAPE)]
        for i in smallest(pictured, self.assignment)[:PICTURES]:
            cases[i]["picture"] = picture(self.answers[i], self.assignment.expected[i],
                                          self.judgements[i])
        verdict, message = overall(cases)
        record = whole(submission, self.assignment, level, verdict, message)
        score = sum(case["earned"] for case in cases)
        return record | {"score": round(score, 4), "cases": cases,
                         "diagnoses": [asdict(found) for found in diagnoses]}

    def case_record(self, i: int) -> dict:
        """What is kept of one case."""
        case, verdict, header = self.assignment.cases[i], self.verdicts[i], self.headers[i]
        record = {"function": case.function, "name": case.name, "points": case.points,
                  "earned": round(case.points * CREDIT.get(verdict, 0.0), 4),
                  "verdict": verdict.value, "message": self.messages[i]}
        frames = _frames(header)
        printed = plain(header.get("printed", ""), KEPT_OUTPUT)
        return record | ({"frames": frames} if frames else {}) | (
            {"printed": printed} if printed else {})


def whole(submission, assignment, level: str, verdict: Verdict, message: str) -> dict:
    """A record without cases: for what could not be run, and to be filled for what could."""
    points = None if assignment is None else sum(case.points for case in assignment.cases)
    fault = verdict is Verdict.GRADER_ERROR
    return {"student": plain(submission.student), "file": plain(submission.file),
            "exercise": assignment.exercise.name if assignment else None,
            "submission": submission.digest, "isolation": level, "verdict": verdict.value,
            "message": message, "score": None if fault else 0.0, "points": points, "cases": [],
            "diagnoses": [], "remarks": []}


def overall(cases: list[dict]) -> tuple[Verdict, str]:
    """The verdict on a submission: OK, or the first that is not."""
    for case in cases:
        if case["verdict"] != "OK":
            where = f"{case['function']}, {case['name']}"
            return Verdict(case["verdict"]), f"{where}: {case['message']}"
    return Verdict.OK, ""


def smallest(numbers, assignment) -> list[int]:
    """Cases by the size of their inputs: the first is the easiest to work by hand."""
    def size(i):
        return sum(np.size(arg) for arg in assignment.cases[i].args)
    return sorted(numbers, key=lambda i: (size(i), i))


def mutated(args, inputs: list[bytes]) -> list[int]:
    """The positions of the array arguments that a call changed; ValueError if forged."""
    arrays = [(i, arg) for i, arg in enumerate(args) if isinstance(arg, np.ndarray)]
    if len(arrays) != len(inputs):
        raise ValueError(f"{len(inputs)} inputs came back, {len(arrays)} were sent")
    return [i for (i, arg), after in zip(arrays, inputs) if arg.tobytes() != after]


# ---- words ---------------------------------------------------------------------------------------

def explain(header: dict, case, assignment) -> tuple[Verdict, str]:
    """(verdict, sentence) for a request that brought no answer. The header may be forged."""
    verdict = STATUS.get(header["status"], Verdict.BAD_RESULT)
    error = header.get("error") if isinstance(header.get("error"), dict) else {}
    said = plain(header.get("message", ""), 300)
    if verdict is Verdict.EXCEPTION:
        return _exception(header, error, case, assignment)
    if verdict is Verdict.SYNTAX:
        return verdict, plain(f"{error.get('where')} line {error.get('line')}: "
                              f"{error.get('message')}: {error.get('text')}", 400)
    if verdict is Verdict.NO_FUNCTION:
        return verdict, _no_function(header, case)
    if verdict is Verdict.TIMEOUT:
        return verdict, LATE if header.get("shared") else TIMED_OUT
    words = {Verdict.MEMORY: "asked for more memory than there is: ",
             Verdict.CRASHED: "the process crashed: ",
             Verdict.BAD_RESULT: "what came back was no answer: "}
    return verdict, words.get(verdict, "") + said


def _exception(header: dict, error: dict, case, assignment) -> tuple[Verdict, str]:
    name, message = plain(error.get("type"), 80), plain(error.get("message"), 300)
    printed = header.get("printed_bytes")
    if error.get("no_space") and isinstance(printed, int) and (
            printed >= sandbox.Limits().file - (1 << 16)):
        return Verdict.OUTPUT_LIMIT, f"printed more than {sandbox.Limits().file >> 20} MB"
    if error.get("signature") and case is not None:
        names = ", ".join(assignment.exercise.parameters(case))
        return Verdict.EXCEPTION, f"{case.function} {message}: ({names})"
    if name == "ModuleNotFoundError":
        message += " (only numpy and the standard library are available here)"
    if name == "EOFError":
        message += " (input() is not available here)"
    return Verdict.EXCEPTION, f"{name}: {message}" if message else name


def _no_function(header: dict, case) -> str:
    similar = header.get("similar")
    names = [plain(name, 60) for name in similar] if isinstance(similar, list) else []
    hint = f"; did you mean {' or '.join(names)}?" if names else ""
    if header.get("code_cells") == 0:
        hint = "; the notebook has no code cells"
    return f"there is no function {case.function}{hint}"


def _frames(header: dict) -> list[str]:
    """The student's lines in a traceback, one string each."""
    error = header.get("error") if isinstance(header.get("error"), dict) else {}
    frames = error.get("frames") if isinstance(error.get("frames"), list) else []
    return [plain(f"{frame.get('where')}:{frame.get('line')} in {frame.get('function')}: "
                  f"{frame.get('text')}", 300) for frame in frames[:8] if isinstance(frame, dict)]


def _remarks(header: dict) -> list[str]:
    remarks = header.get("remarks") if isinstance(header.get("remarks"), list) else []
    return [plain(f"{remark.get('where')} {remark.get('text')}", 160)
            for remark in remarks[:20] if isinstance(remark, dict)]


# ---- pictures ------------------------------------------------------------------------------------

def picture(answer, expected, judgement: Judgement) -> dict | None:
    """The plane of numbers around the first wrong one: expected, received, and which are wrong."""
    got, want = answer.parts[judgement.part], expected.parts[judgement.part]
    index = judgement.index or (0,) * want.ndim
    planes = {"expected": _plane(want, index)}
    if got is not None and got.ndim:
        planes["received"] = _plane(got, index if got.shape == want.shape else (0,) * got.ndim)
    if judgement.wrong is not None:
        planes["wrong"] = _plane(judgement.wrong.astype(np.int64), index)
    leading = [str(i) for i in index[:-2]] + [":"] * min(2, want.ndim)
    part = f"answer {judgement.part + 1} " if expected.several else ""
    return planes | {"title": f"{part}[{', '.join(leading)}]"}


def _plane(array: np.ndarray, index: tuple) -> list[list]:
    """The last two axes at ``index``, cut to a window around it; a vector is one row."""
    plane, at = array[index[:-2]] if array.ndim > 2 else array, index[-2:]
    while plane.ndim < 2:
        plane, at = plane[None], (0, *at)
    starts = [max(0, min(i - PICTURE_SIDE // 2, n - PICTURE_SIDE)) for i, n in zip(at, plane.shape)]
    window = plane[tuple(slice(start, start + PICTURE_SIDE) for start in starts)]
    return [[_cell(value) for value in row] for row in window]


def _cell(value):
    """A number as JSON has it; what JSON has not, as a word."""
    if not np.isfinite(value):
        return number(value)
    return float(number(value.real)) if value.dtype.kind in "fc" else int(value)
