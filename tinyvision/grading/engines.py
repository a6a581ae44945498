"""What runs the tasks of a grading: threads of this machine, each with one sandbox at a time. The
other engine is `cluster.Cluster`."""
from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tinyvision.grading import sandbox


class IsolationError(RuntimeError):
    """The isolation that was asked for, or that strangers' code needs, is not to be had here."""


IDLE = 2                                # workers beside one a processor: some wait for programs
                                        # that sleep or never end, or for a sandbox to start


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


def processors() -> int:
    """How many processors this process may use: fewer than there are in a container."""
    try:
        own = len(os.sched_getaffinity(0))
    except AttributeError:              # macOS, Windows
        own = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(own, round(int(quota) / int(period))))
    except (OSError, ValueError):       # no such limit, or "max"
        return own


class Threads:
    """Runs tasks on this machine, each submission in a sandbox of its own."""

    def __init__(self, isolation: str | None, jobs: int | None):
        self.level, self.jobs = isolation_level(isolation), jobs or processors() + IDLE
        self.interrupted = False

    def results(self, todo: list):
        """(task, (record, times)) as they are made. Where that is interrupted, finished records
        stay and no other is made."""
        stop = threading.Event()
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = {pool.submit(task.make, stop.is_set): task for task in todo}
            try:
                for future in as_completed(futures):
                    if future.result() is not None:
                        yield futures[future], future.result()
            except KeyboardInterrupt:
                self.interrupted = True
            finally:
                if self.interrupted or not all(future.done() for future in futures):
                    stop.set()
                    pool.shutdown(wait=False, cancel_futures=True)
                    sandbox.kill_all()
