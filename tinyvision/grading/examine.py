"""One submission against one assignment: run every case, judge what comes back, make a record."""
from __future__ import annotations

from tinyvision.grading import sandbox, submissions
from tinyvision.grading.compile import Compiling
from tinyvision.grading.counterexample import counterexamples
from tinyvision.grading.store import plain
from tinyvision.grading.trials import Trials
from tinyvision.grading.verdict import Verdict
from tinyvision.grading.words import explain, remarks_of

READ_SECONDS = 5.0


class Stopped(Exception):
    """The grader was interrupted: what was in flight has no result."""


class Runner:
    """Runs requests in a sandbox, and in a new one where the last ended.

    Attributes:
        whole: whether all of the file runs, or of a notebook what its functions need.
    """

    def __init__(self, name: str, source: bytes, level: str, stopped, functions):
        self.new = lambda: sandbox.Session(name, source, level, functions=functions)
        self.whole = False
        self.session, self.stopped, self.spent = None, stopped, 0.0      # seconds, of all requests

    def ask(self, request: dict, blobs, seconds: float, cap: int, talk=None):
        """As `sandbox.Session.ask`; Stopped if the grader was interrupted meanwhile. A worker that
        ended as a whole, or whose fork was killed, gets a second chance: the machine may have been
        short of memory."""
        request = request | ({"whole": True} if self.whole else {})
        for _ in range(2):
            if self.session is None or not self.session.alive:
                self.session = self.new()
            header, answers = self.session.ask(request, blobs, seconds, cap, talk)
            self.spent += header["seconds"]
            if self.stopped():
                raise Stopped
            if header["status"] != "crashed-worker" and (
                    header["status"], header.get("message")) != ("crashed", "SIGKILL"):
                break
        return header, answers

    def close(self) -> None:
        """End the sandbox."""
        if self.session is not None:
            self.session.close()


def runner_of(submission, assignment, level: str, stopped=lambda: False):
    """What runs a submission's functions, or texts, which are compiled first."""
    suffix = ".ipynb" if submission.file.lower().endswith(".ipynb") else ".py"
    name = plain(submission.file.rsplit("/", 1)[-1], 80)
    graded = sorted({case.function for case in assignment.cases})
    runner = Runner(name if name.endswith(suffix) else "submission" + suffix, submission.source,
                    level, stopped, graded)
    exercise = assignment.exercise
    return Compiling(runner, exercise, level) if exercise.texts else runner


def examine(submission, assignment, level: str, repeat: bool = True, stopped=lambda: False,
            watch=lambda trials: None, deep: bool = False) -> tuple[dict, dict]:
    """(the record of one submission, the times its cases took).

    Arguments:
        submission: a `submissions.Submission` that could be read.
        level: the sandbox's level.
        repeat: run every case twice, to see whether the answers agree.
        stopped: says whether the grader was interrupted; then `Stopped` is raised.
        watch: called after every case with what is known so far, a `Trials`.
        deep: look for a smallest counter-example to what nobody knows, too: a second at most.
    """
    runner = runner_of(submission, assignment, level, stopped)
    try:
        head, _ = runner.ask({"do": "read"}, [], READ_SECONDS, 1 << 20)
        remarks = remarks_of(head) + _named_besides(submission, assignment)
        if head["status"] != "ok":
            verdict, message = explain(head, None, assignment)
            return whole(submission, assignment, level, verdict, message), {}
        trials = Trials(assignment, runner)
        trials.run_all(watch, quick=repeat)
        if trials.better_whole():
            other = Trials(assignment, runner, trials.end)
            other.run_all(watch, quick=repeat)
            runner.whole = other.right() > trials.right()
            trials = other if runner.whole else trials
        if repeat:
            trials.repeat_all()
        trials.diagnose()
        examples = counterexamples(trials, deep)
    finally:
        runner.close()
    found = trials.record(examples)
    verdict, message = overall(found["cases"])
    record = whole(submission, assignment, level, verdict, message) | found
    return record | {"remarks": remarks + trials.remarks} | (
        {"whole": True} if runner.whole else {}), trials.times


def unreadable(submission, level: str) -> dict | None:
    """The record of a notebook that is none, of which nobody can say which exercise it is of."""
    session = sandbox.Session("notebook.ipynb", submission.source, level)
    try:
        header, _ = session.ask({"do": "read"}, [], READ_SECONDS, 1 << 20)
    finally:
        session.close()
    if header["status"] != "unreadable":
        return None
    return whole(submission, None, level, *explain(header, None, None))


def _named_besides(submission, assignment) -> list[str]:
    """A remark where a file names further exercises, of which nothing is graded, or only others."""
    name = assignment.exercise.name
    if submission.exercise not in (None, name):
        return [f"names {plain(submission.exercise, 60)}, and is graded as {name}"]
    others = " and ".join(submissions.named_besides(submission.source, name))
    return [f"names {others}, too: graded as {name} only"] if others else []


def whole(submission, assignment, level: str, verdict: Verdict, message: str) -> dict:
    """A record without cases: for what could not be run, and to be filled for what could."""
    points = None if assignment is None else round(
        sum(case.points for case in assignment.cases), 4)
    fault = verdict is Verdict.GRADER_ERROR
    return {"student": plain(submission.student), "file": plain(submission.file),
            "exercise": assignment.exercise.name if assignment else None,
            "submission": submission.digest, "isolation": level,
            "seconds": assignment.in_all if assignment else None, "verdict": verdict.value,
            "message": message, "score": None if fault else 0.0, "points": points, "cases": [],
            "diagnoses": [], "remarks": []}


def overall(cases: list[dict]) -> tuple[Verdict, str]:
    """The verdict on a submission: OK, or the first that is not."""
    for case in cases:
        if case["verdict"] != "OK":
            where = f"{case['function']}, {case['name']}"
            return Verdict(case["verdict"]), f"{where}: {case['message']}"
    return Verdict.OK, ""
