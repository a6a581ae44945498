"""Time limits that mean the same on a busy machine: of processor time, not of the clock on the wall.

Eight students' programs on two processors each take four times as long; a mark must not depend on
who else is graded. So when a limit is over on the wall, `Clock` looks at how much processor time
the student's process has had, and waits on for the rest. Who hardly works, as a program that sleeps
or waits for nothing, is ended by the clock on the wall; so is everybody where processes cannot be
seen (macOS, Windows, a /proc that hides them).
"""
from __future__ import annotations

import os
import threading
import time
from pathlib import Path

IDLE = 0.1                              # the share of work that is none
ENOUGH = 0.97                           # of its time: nobody waits for the rest
LONGEST = 10                            # times its limit: then it is over, whatever it did


def used(waited: float, worked: float | None) -> float:
    """The seconds that count: those of work, and those of waiting where there was hardly any."""
    return waited if worked is None or worked < IDLE * waited else worked


class Clock:
    """While it is open, ends what uses more than ``seconds``.

    Arguments:
        worked: says how many seconds of processor time it has had so far, or None.
        end: ends it; called at most once, from another thread.
    Attributes:
        expired: whether it was ended.
    """

    def __init__(self, seconds: float, worked, end):
        self.seconds, self.worked, self.end, self.expired = seconds, worked, end, False
        self.closed, self.thread = threading.Event(), threading.Thread(target=self._watch)

    def __enter__(self) -> Clock:
        self.begun = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.closed.set()
        self.thread.join()              # it may be about to end it: then `expired` says so

    def waited(self) -> float:
        """Seconds on the wall so far."""
        return time.monotonic() - self.begun

    def _watch(self) -> None:
        left = self.seconds
        while not self.closed.wait(left):
            left = self.seconds - used(self.waited(), self.worked())
            if left <= (1 - ENOUGH) * self.seconds or self.waited() >= LONGEST * self.seconds:
                self.expired = True
                return self.end()


def worked(root: int, inside: int | None = None) -> float | None:
    """Seconds of processor time of the youngest child of the youngest child ... of a process: that
    is where a student's code runs. None where it cannot be seen.

    Arguments:
        root: its number here.
        inside: start from that descendant instead which has this number in ``root``'s process table.
    """
    rows = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            rows[int(stat.parent.name)] = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue                    # it has ended meanwhile
    children: dict = {}
    for number, row in rows.items():
        children.setdefault(int(row[1]), []).append(number)
    if inside is not None:
        root = next((number for number in descendants(root, children)
                     if number_inside(number) == inside), -1)
    found = None
    while children.get(root):
        found = root = max(children[root], key=lambda number: int(rows[number][19]))
    ticks = rows[found][11:13] if found else ()
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK") if ticks else None


def descendants(root: int, children: dict) -> list[int]:
    """All processes below one."""
    below = [number for child in children.get(root, ()) for number in descendants(child, children)]
    return [*children.get(root, ()), *below]


def number_inside(number: int) -> int | None:
    """A process's number in the process table below ours."""
    try:
        lines = Path(f"/proc/{number}/status").read_text().splitlines()
    except OSError:
        return None
    numbers = next((line.split()[2:] for line in lines if line.startswith("NSpid:")), [])
    return int(numbers[0]) if numbers else None
