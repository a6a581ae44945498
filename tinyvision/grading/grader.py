"""Grading a folder of submissions."""
from __future__ import annotations

import contextlib
import functools
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

from tinyvision import exercises
from tinyvision.exercises.files import source_of
from tinyvision.grading import course, doctor, marks, sandbox, selection, submissions
from tinyvision.grading.assignment import Assignment, generator, prepare
from tinyvision.grading.engines import IsolationError, Threads
from tinyvision.grading.examine import Stopped, examine, unreadable, whole
from tinyvision.grading.live import Live
from tinyvision.grading.store import Store, one_line, plain, read_record
from tinyvision.grading.summary import Summary
from tinyvision.grading.verdict import Verdict


def grade(folder, out, exercise: str | None = None, isolation: str | None = None,
          jobs: int | None = None, seed: str | None = None, progress: bool = True, *,
          shard: str | None = None, only=(), rerun=(), dask: str | None = None,
          pattern: str | None = None, fork_server: bool = False,
          seconds: float | None = None) -> Summary:
    """Grade every submission of a folder; what OUT holds already is not graded again.

    Arguments:
        folder: ``ID.py``, ``ID.ipynb`` and ``ID/…/*.py`` files.
        out: a folder for records, gradebook and pages.
        exercise: its name; by default each file's header names it, or the file's own name.
        isolation: ``strong``, ``medium`` or ``none``; by default the best there is.
        jobs: how many submissions at a time; by default two more than processors.
        seed: the secret that the cases' numbers come from; by default random. Kept in OUT.
        progress: show what is done.
        shard: ``"3/16"`` grades the third of sixteen parts; the folders OUT of all parts, copied
            into one, are the whole.
        only: names of students; the others are left as they are.
        rerun: verdicts; what ended so is graded again.
        dask: address of a Dask scheduler whose workers do the work.
        pattern: a regular expression for paths; see `submissions.find`.
        fork_server: fork sandboxes from one interpreter instead of starting one for each.
        seconds: how long one submission may take in all; by default a second a case, at least 30.
    Raises ValueError for no such exercise or a file that holds none, no folder, OUT inside it, no
    submissions, no such student; IsolationError as `isolation_level` does; OSError where OUT cannot
    be written at all.
    """
    start = time.perf_counter()
    if exercise is not None:
        exercises.load(exercise)        # a file that is none is nobody's submission: said at once
    if Path(out).resolve().is_relative_to(Path(folder).resolve()):
        raise ValueError(f"grade: {out} lies in the folder of submissions and would be taken for a "
                         "student's; give a folder beside it")
    found = submissions.find(folder, pattern)
    if not found:
        raise ValueError(f"grade: {folder} holds no submissions; give the folder with the files "
                         "ID.py, ID.ipynb or the folders ID/")
    found, passed_over = _of(found, exercise, folder, pattern)
    engine = _cluster(dask, isolation) if dask else Threads(isolation, jobs)
    store = Store(out)
    warnings = _taken_over(store, found, seed)
    assignments = Assignments(store.secret(seed, make=shard is None), exercise, seconds)
    tasks = [Task(submission, assignments, store, engine.level) for submission in found]
    store.list_submissions([(task.submission.student, task.key) for task in tasks])
    for warning in [*warnings, *course.keep_times(store.out, folder, found)]:
        print(f"grade: {warning}", file=sys.stderr)
    assignments.keep_all(store, tasks)
    chosen = selection.choose(tasks, shard, only)
    todo = [task for task in chosen if not task.done(rerun)]
    with (Live(exercise or Path(folder).name, len(todo), progress) as live,
          _sandboxes(engine.level, fork_server, dask)):
        interrupted, lost = _run(engine, todo, live)
    return replace(_summary(store, engine, chosen, len(todo), interrupted, lost, start),
                   passed_over=passed_over)


def _taken_over(store: Store, found: list, seed: str | None) -> list[str]:
    """What was in OUT before and does not go on, a sentence each."""
    try:
        before = {entry.student for entry in store.entries()}
    except ValueError:                  # an empty folder, or a list that is written again
        return []
    gone, lines = before - {one.student for one in found}, []
    if gone:
        lines.append(f"{store.out} held results of {len(gone)} student{'s' * (len(gone) != 1)} "
                     f"who handed in nothing here ({one_line(min(gone))}, ...): they leave "
                     "gradebook and pages; give another -o to keep both")
    if seed is None and not (store.out / "secret").exists():
        lines.append(f"{store.out / 'secret'} is gone: other numbers are made, and everything is "
                     "graded again; put a copy back to keep the records")
    return lines


def _of(found: list, exercise: str | None, folder, pattern: str | None) -> tuple[list, dict]:
    """(what is graded, what is not by the title that it is told under)."""
    others = []
    if exercise:
        found, others = selection.of_assignment(found, Path(exercise).stem, folder)
    strange = [one_line(name) for name in submissions.not_understood(folder, pattern)]
    return found, {"left out": [one_line(words) for words in selection.left_out(found, others)],
                   "not understood": strange}


def _sandboxes(level: str, fork_server: bool, dask: str | None):
    """Where strong sandboxes come from while grading."""
    if not fork_server:
        return contextlib.nullcontext()
    if level != "strong" or dask:
        raise IsolationError("grade: the fork server needs isolation strong, on this machine: "
                             "leave --fork-server away")
    return sandbox.fork_server()


def _cluster(address: str, isolation: str | None):
    from tinyvision.grading.cluster import Cluster          # needs dask's distributed
    return Cluster(address, isolation)


def _run(engine, todo: list, live: Live) -> tuple[bool, list]:
    """(whether it was interrupted, what could not be written) of running the tasks."""
    unwritten, results = [], engine.results(todo)
    try:
        for task, made in results:
            if task.keep(*made):
                unwritten.append((task, made))
            live.add(made[0])
    except KeyboardInterrupt:           # while writing; while waiting the engine takes it
        engine.interrupted = True
        results.close()
    lost = [(one_line(task.submission.file), problem) for task, made in unwritten
            if (problem := task.keep(*made))]               # there may be room again
    return engine.interrupted, lost


def _summary(store: Store, engine, chosen: list, ran: int, interrupted: bool, lost: list,
             start: float) -> Summary:
    """Gradebook and pages, and what is told at the end."""
    from tinyvision.grading.report import write_report
    try:
        report = write_report(store.out)
        files = report.gradebook, report.page, report.groups
    except OSError as error:
        said = f"{error.strerror} ({error.filename})" if error.filename else str(error)
        lost = [*lost, ("gradebook and pages", said)]
        files = None, None, []
    records = [record for task in chosen if (record := task.kept()) is not None]
    rules = course.read(store.out)      # of all that is there: which version counts for how much
    found = [marks.mark(record, rules) for record in records]
    return Summary(records, found, len(chosen), len(chosen) - ran, interrupted, engine.level,
                   time.perf_counter() - start, engine.jobs, *files[:2], lost, files[2])


class Assignments:
    """Assignments by exercise, prepared when first needed."""

    def __init__(self, secret: bytes, only: str | None, seconds: float | None = None):
        self.secret, self.only, self.seconds = secret, only, seconds
        self.prepared, self.noted = functools.cache(self._prepare), set()

    def _prepare(self, name: str) -> Assignment:
        exercise = exercises.load(name)             # a file's numbers do not depend on its path
        return prepare(exercise, generator(self.secret, exercise.name), self.seconds)

    def of(self, submission) -> Assignment | None:
        """The submission's assignment; None where it names none."""
        name = self.only or exercise_of(submission)
        return None if name is None else self.prepared(name)

    def keep_all(self, store: Store, tasks: list) -> None:
        """Note what belongs to the tasks: a due date may have changed since they were graded."""
        for task in tasks:
            if task.assignment is not None:
                try:
                    self.keep(store, task.assignment)
                except OSError:         # `Task.keep` tries again, and says what it cannot write
                    return

    def keep(self, store: Store, assignment: Assignment) -> None:
        """Note once in OUT what there is to know of an exercise."""
        if assignment.digest not in self.noted:
            store.keep_exercise(describe(assignment.exercise))
            self.noted.add(assignment.digest)


def exercise_of(submission) -> str | None:
    """The exercise that a submission's header names, else its file's stem, if there is such one."""
    stem = Path(submission.file).stem
    named = submission.exercise or stem
    return named if named in exercises.names() else None


def describe(exercise) -> dict:
    """What pages and comparisons need to know of an exercise, as JSON has it."""
    from tinyvision.exercises import start
    from tinyvision.exercises.homework import parts_of
    texts = {}
    for name, make in (("stub", start.stub), ("solution", start.solution_text)):
        try:
            texts[name] = make(exercise)
        except Exception:               # no text to be had: then nothing is compared with it
            texts[name] = ""
    if source_of(exercise):
        from tinyvision.grading.build import description
        texts = description(exercise)
    return {"name": exercise.name, "title": exercise.title, "lecture": exercise.lecture,
            "source": exercise.source, "due": getattr(exercise, "due", None),
            "late": getattr(exercise, "late", {}), "parts": [
                {"name": part.name, "title": part.title, "lecture": part.lecture,
                 "functions": list(part.functions)} for part in parts_of(exercise)]} | texts


def examined(submission, assignment: Assignment, level: str,
             stopped=lambda: False) -> tuple[dict, dict]:
    """(record, times) of a program, with the layers of isolation that were around it here. A
    sandbox that does not start on a busy machine gets a second chance."""
    try:
        record, times = examine(submission, assignment, level, stopped=stopped)
    except sandbox.SandboxError:
        record, times = examine(submission, assignment, level, stopped=stopped)
    return record | {"layers": doctor.reached(level)}, times


class Task:
    """One submission on its way to a record."""

    def __init__(self, submission, assignments: Assignments, store: Store, level: str):
        self.submission, self.assignments, self.store = submission, assignments, store
        self.level, self.assignment, self.fault = level, None, None
        try:
            self.assignment = None if submission.problem else assignments.of(submission)
        except Exception as error:      # an exercise that does not run is no student's fault
            self.fault = error
        self.key = store.key(submission, self.assignment.digest if self.assignment else "")

    @property
    def runs(self) -> bool:
        """Whether there is a program to run."""
        return not (self.fault or self.submission.problem or self.assignment is None)

    def kept(self) -> dict | None:
        """The record that is there, even if it is our own fault's."""
        return read_record(self.store.path(self.submission.student, self.key))

    def done(self, rerun=()) -> bool:
        """Whether its record is there already and need not be made again."""
        record = self.store.load(self.submission.student, self.key)
        return record is not None and not selection.again(record, rerun)

    def make(self, stopped) -> tuple[dict, dict] | None:
        """The record and its times; None where the run was stopped. A fault of ours is a record
        too, and never a zero."""
        start = time.perf_counter()
        try:
            record, times = self.unrun() or examined(self.submission, self.assignment, self.level,
                                                     stopped)
        except Stopped:
            return None
        except Exception as error:
            record, times = self.failed(error), {}
        return record, times | {"total": round(time.perf_counter() - start, 4)}

    def unrun(self) -> tuple[dict, dict] | None:
        """The record of what is no program of any exercise; None of what is to be run."""
        one = self.submission
        if self.fault:
            raise self.fault
        if one.problem:
            return whole(one, None, self.level, one.verdict, one.problem), {}
        if self.assignment is None:
            record = one.file.lower().endswith(".ipynb") and unreadable(one, self.level)
            if record:
                return record, {}
            near = one.exercise and exercises.nearest(one.exercise)
            named = f"names {one.exercise!r}, which is none" if one.exercise else "names none"
            named += f" (did you mean {near}?)" if near else ""
            return whole(one, None, self.level, Verdict.MISSING, plain(
                f"of which exercise? The file {named}; "
                "its first line should be '# tinyvision exercise: NAME'")), {}
        return None

    def failed(self, error: BaseException) -> dict:
        """The record of a fault of ours."""
        frames = traceback.extract_tb(error.__traceback__)
        where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
        return whole(self.submission, self.assignment, self.level, Verdict.GRADER_ERROR,
                     plain(f"{type(error).__name__}: {error}{where}"))

    def keep(self, record: dict, times: dict) -> str:
        """Write the record and what belongs to it; why that failed, or ""."""
        try:
            if self.assignment is not None:
                self.assignments.keep(self.store, self.assignment)
            self.store.keep_source(self.submission)
            self.store.save(self.submission.student, self.key, record, times)
        except OSError as error:
            return error.strerror or str(error)
        return ""
