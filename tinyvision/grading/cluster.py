"""Grading on many machines: the workers of a Dask cluster examine, records are kept here.

A task carries the submission's bytes and what its assignment is made from (name or file, secret);
the worker makes the assignment once, tries what isolation its machine has, examines in a sandbox
of its own, and sends the record back. Nothing is kept there: a worker that dies takes along only
what it was at, which another one does again. The secret and the submissions travel to scheduler
and workers: use a network that you trust, or Dask's TLS (a ``tls://`` address).
"""
from __future__ import annotations

import functools
import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path

from tinyvision import exercises
from tinyvision.grading import engines, grader, scratch, store

AHEAD = 2                               # tasks sent for every thread of the cluster
ANSWER, WAIT = 10, 60                   # seconds for the scheduler, and for the first worker


@dataclass(frozen=True)
class Order:
    """One submission to examine elsewhere.

    Attributes:
        submission: a `submissions.Submission`.
        exercise: the name of its exercise, or that of the assignment's file.
        file: the assignment's file as bytes, or None.
        secret: what the numbers are made from.
        digest: of the assignment as the client made it: the worker's must be the same.
        isolation: the level asked for, or None for the best that the worker has.
        seconds: how long it may take in all, or None for what is usual.
        version: of the grader.
    """
    submission: object
    exercise: str
    file: bytes | None
    secret: bytes
    digest: str
    isolation: str | None
    seconds: float | None = None
    version: str = store.VERSION


# ---- on a worker ---------------------------------------------------------------------------------

def perform(order: Order) -> tuple[dict, dict]:
    """(record, times) of one submission. RuntimeError where this machine's tinyvision would give
    other marks, IsolationError where its isolation is not what was asked for."""
    level = engines.isolation_level(order.isolation)
    assignment = _assignment(order.secret, order.exercise, order.file, order.seconds)
    if (assignment.digest, store.VERSION) != (order.digest, order.version):
        raise RuntimeError("the worker has another version of the grader or the exercise than the "
                           "client: install the same tinyvision and numpy on both")
    return grader.examined(order.submission, assignment, level)


@functools.lru_cache(maxsize=64)
def _assignment(secret: bytes, exercise: str, file: bytes | None, seconds: float | None):
    if file is not None:
        exercise = str(_unpacked(exercise, file))
    return grader.Assignments(secret, exercise, seconds).prepared(exercise)


@functools.cache
def _folder() -> scratch.Folder:
    return scratch.folder()


def _unpacked(name: str, file: bytes) -> Path:
    """The assignment's file on this machine, under its own name."""
    home = Path(_folder().name, hashlib.sha256(file).hexdigest()[:16])
    path = home / Path(name).name
    store.write(path, file)
    return path


def probe(isolation: str | None) -> str:
    """The level at which this worker grades, or why it does not: for `Cluster`."""
    try:
        return engines.isolation_level(isolation)
    except engines.IsolationError as error:
        return f"! {error}"


# ---- on the client -------------------------------------------------------------------------------

class Cluster:
    """Runs tasks on the workers of a Dask scheduler.

    Arguments:
        address: ``tcp://host:port``.
        isolation: the level asked for; by default the best that each worker has.
    Raises ValueError where there is no scheduler or no worker, or no ``distributed``;
    IsolationError where a worker is not isolated as asked for.
    """

    def __init__(self, address: str, isolation: str | None):
        self.isolation, self.interrupted = isolation, False
        self.client = _connected(address)
        levels = self.client.run(probe, isolation)
        for worker, level in sorted(levels.items()):
            if level.startswith("!"):
                self.client.close()
                raise engines.IsolationError(f"worker {worker}: {level[2:]}")
        self.level = ", ".join(sorted(set(levels.values())))
        self.jobs = sum(self.client.nthreads().values())

    def results(self, todo: list):
        """(task, (record, times)) as they come, in no order; see `engines.Threads.results`."""
        from distributed import as_completed
        here = [task for task in todo if not task.runs]
        yield from ((task, task.make(lambda: False)) for task in here)
        left, running, coming = iter([task for task in todo if task.runs]), {}, as_completed()
        try:
            self._send(left, max(1, AHEAD * self.jobs), running, coming)
            for future in coming:
                task = running.pop(future)
                self._send(left, 1, running, coming)
                yield task, self._received(task, future)
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            self.client.cancel(list(running))
            self.client.close()

    def _send(self, left, count: int, running: dict, coming) -> None:
        """Send the next tasks: a few more than there are threads, so that none waits and a folder
        of any size fits into the cluster's memory."""
        for task in itertools.islice(left, count):
            future = self.client.submit(perform, self._order(task), key=f"grade-{task.key}",
                                        pure=False)
            running[future] = task
            coming.add(future)

    def _order(self, task) -> Order:
        only, secret = task.assignments.only, task.assignments.secret
        file = exercises.assignment_file(only) if only else None
        name = str(file or only or task.assignment.exercise.name)
        return Order(task.submission, name, file.read_bytes() if file else None, secret,
                     task.assignment.digest, self.isolation, task.assignment.wanted)

    def _received(self, task, future) -> tuple[dict, dict]:
        """What came back; a fault on the way, or on the worker, is ours and no student's."""
        try:
            return future.result()
        except Exception as error:
            return task.failed(error), {}


def _connected(address: str):
    try:
        from distributed import Client
    except ImportError:
        raise ValueError("grade: --dask needs the package distributed; install "
                         "tinyvision[cluster]") from None
    try:
        client = Client(address, timeout=ANSWER)
        client.wait_for_workers(1, timeout=WAIT)
    except (OSError, ValueError, TimeoutError) as error:
        raise ValueError(f"grade: no Dask scheduler with workers answers at {address} ({error}); "
                         "start 'dask scheduler' and 'dask worker tcp://HOST:8786'") from None
    return client
