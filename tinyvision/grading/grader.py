"""Grading a folder, and checking one file."""
from __future__ import annotations

import collections
import functools
import os
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tinyvision import exercises
from tinyvision.grading import sandbox, submissions
from tinyvision.grading.assignment import PUBLIC_SEED, Assignment, generator, prepare
from tinyvision.grading.examine import Stopped, examine, whole
from tinyvision.grading.store import Store, plain
from tinyvision.grading.verdict import Verdict


class IsolationError(RuntimeError):
    """The isolation that was asked for, or that strangers' code needs, is not to be had here."""


@dataclass(frozen=True)
class Summary:
    """What became of a folder.

    Attributes:
        records: one for each submission that has been graded, in order.
        submitted: how many there are.
        reused: how many records were there already.
        interrupted: whether it was stopped; the next run goes on from here.
        isolation: the sandbox's level.
        seconds: how long it took.
        jobs: how many workers ran at a time.
        gradebook, report: the files written.
    """
    records: list
    submitted: int
    reused: int
    interrupted: bool
    isolation: str
    seconds: float
    jobs: int
    gradebook: Path
    report: Path

    def count(self) -> dict[str, int]:
        """How many submissions have each verdict, the most frequent first."""
        return dict(collections.Counter(r["verdict"] for r in self.records).most_common())

    def mean(self) -> float | None:
        """The mean share of the points, of those that have a score."""
        shares = [r["score"] / (r["points"] or 1) for r in self.records if r["score"] is not None]
        return sum(shares) / len(shares) if shares else None

    def mistakes(self) -> dict[tuple[str, str], int]:
        """(function, mistake) -> how many submissions show it, the most frequent first."""
        return dict(collections.Counter(
            (found["function"], found["name"]) for record in self.records
            for found in record["diagnoses"] if found["name"]).most_common())


def isolation_level(wanted: str | None) -> str:
    """The level to grade at. IsolationError where it is not to be had, or where code of strangers
    would run with no isolation and nobody said that it may."""
    best, why = sandbox.probe()
    if wanted is None and best == "none":
        raise IsolationError(f"grade: no isolation on this machine ({why}); "
                             "say --isolation none if you trust every submission")
    level = wanted or best
    if sandbox.LEVELS.index(level) < sandbox.LEVELS.index(best):
        raise IsolationError(f"grade: isolation {level} is not to be had here: {why}")
    return level


def grade(folder, out, exercise: str | None = None, isolation: str | None = None,
          jobs: int | None = None, seed: str | None = None, progress: bool = True) -> Summary:
    """Grade every submission of a folder; what OUT holds already is not graded again.

    Arguments:
        folder: ``ID.py``, ``ID.ipynb`` and ``ID/…/*.py`` files.
        out: a folder for records, gradebook and report.
        exercise: its name; by default each file's header names it, or the file's own name.
        isolation: ``strong``, ``medium`` or ``none``; by default the best there is.
        jobs: how many submissions at a time; by default one per processor.
        seed: the secret that the cases' numbers come from; by default random, kept in OUT.
        progress: show a bar on a terminal.
    Raises ValueError for no folder or no such exercise, IsolationError as `isolation_level` does.
    """
    start = time.perf_counter()
    level, store = isolation_level(isolation), Store(out)
    assignments = _Assignments(store.secret(seed), exercise)
    tasks = [_Task(submission, assignments, store, level) for submission in
             submissions.find(folder)]
    store.list_submissions([(task.submission.student, task.key) for task in tasks])
    todo = [task for task in tasks if not task.done()]
    jobs = jobs or os.cpu_count() or 1
    interrupted = _work(todo, jobs, progress)
    from tinyvision.grading.report import write_report      # needs matplotlib for its pictures
    records = store.records()
    return Summary(records, len(tasks), len(tasks) - len(todo), interrupted, level,
                   time.perf_counter() - start, jobs, store.write_gradebook(),
                   write_report(store.out, records))


class _Assignments:
    """Assignments by exercise, prepared when first needed."""

    def __init__(self, secret: bytes, only: str | None):
        self.secret, self.only = secret, only
        file = exercises.assignment_file(only) if only is not None else None
        if only is not None and file is None and only not in exercises.names():
            raise ValueError(f"grade: there is no exercise {only!r}; there are "
                             f"{', '.join(exercises.names())}")
        self.prepared = functools.cache(self._prepare)

    def _prepare(self, name: str) -> Assignment:
        exercise = exercises.load(name)             # a file's numbers do not depend on its path
        return prepare(exercise, generator(self.secret, exercise.name))

    def of(self, submission) -> Assignment | None:
        """The submission's assignment; None where it names none."""
        name = self.only or exercise_of(submission)
        return None if name is None else self.prepared(name)


def exercise_of(submission) -> str | None:
    """The exercise that a submission's header names, else its file's stem, if there is such one."""
    stem = Path(submission.file).stem
    named = submission.exercise or stem
    return named if named in exercises.names() else None


class _Task:
    """One submission on its way to a record."""

    def __init__(self, submission, assignments: _Assignments, store: Store, level: str):
        self.submission, self.store, self.level = submission, store, level
        self.assignment = self.fault = None
        try:
            self.assignment = None if submission.problem else assignments.of(submission)
        except Exception as error:      # an exercise that does not run is no student's fault
            self.fault = error
        self.key = store.key(submission, self.assignment.digest if self.assignment else "")

    def done(self) -> bool:
        """Whether its record is there already."""
        return self.store.load(self.submission.student, self.key) is not None

    def run(self, stopped) -> None:
        """Make and keep the record. A fault of ours is a record too, and never a zero."""
        start = time.perf_counter()
        try:
            record, times = self.record(stopped)
        except Stopped:
            return
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            message = plain(f"{type(error).__name__}: {error} "
                            f"({Path(last.filename).name}:{last.lineno})")
            record, times = whole(self.submission, self.assignment, self.level,
                                  Verdict.GRADER_ERROR, message), {}
        times["total"] = round(time.perf_counter() - start, 4)
        self.store.save(self.submission.student, self.key, record, times)

    def record(self, stopped) -> tuple[dict, dict]:
        """The record and its times."""
        one = self.submission
        if self.fault:
            raise self.fault
        if one.problem:
            return whole(one, None, self.level, one.verdict, one.problem), {}
        if self.assignment is None:
            named = f"names {one.exercise!r}, which is none" if one.exercise else "names none"
            return whole(one, None, self.level, Verdict.MISSING, plain(
                f"of which exercise? The file {named}; "
                "its first line should be '# tinyvision exercise: NAME'")), {}
        return examine(one, self.assignment, self.level, stopped=stopped)


def _work(todo: list[_Task], jobs: int, progress: bool) -> bool:
    """Run the tasks; True if that was interrupted: finished records stay, no other is made."""
    stop = threading.Event()
    bar = tqdm(total=len(todo), unit="file", disable=not (progress and sys.stderr.isatty()))
    with bar, ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(task.run, stop.is_set) for task in todo]
        try:
            for future in as_completed(futures):
                future.result()
                bar.update()
        except KeyboardInterrupt:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            sandbox.kill_all()
    return stop.is_set()


def check(path, exercise: str | None = None) -> dict:
    """Check a student's own file with the public numbers: its record, as `grade` keeps it.

    Raises ValueError where the file cannot be read or names no exercise.
    """
    path = Path(path)
    one = submissions.read(path, path.stem, path.name)
    if one.problem:
        raise ValueError(f"check: {path}: {one.problem}")
    if path.suffix not in submissions.SUFFIXES:
        raise ValueError(f"check: {path} is neither a .py nor a .ipynb file")
    name = exercise or exercise_of(one)
    if name not in exercises.names():
        raise ValueError(f"check: {path} names no exercise; begin it with a line like "
                         f"'# tinyvision exercise: {exercises.names()[0]}'")
    assignment = prepare(exercises.load(name), np.random.default_rng(PUBLIC_SEED))
    level = "medium" if sandbox.worker.CAN_FORK else "none"
    record, _ = examine(one, assignment, level, repeat=sandbox.worker.CAN_FORK)
    return record
