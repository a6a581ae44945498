"""Time limits that mean the same on a busy machine: time spent waiting for a processor is no one's.

Eight students' programs on two processors each take four times as long; a mark must not depend on
who else is graded. So when a limit is over on the wall, `Clock` asks the system how long the
student's process was ready to run and had no processor, and waits on for as long. What it worked
and what it slept counts, the work and the waiting of all its threads together. Where the system
does not say that, processor time counts, and of who hardly works the time on the wall; where
processes cannot be seen at all (macOS, Windows, a /proc that hides them) everybody has the wall's.

A program that talks with the grader (`talking`) also waits for its answers, which is not its own
affair, and cannot be told from sleep: there processor time counts, or a quarter of the wall's.
"""
from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from tinyvision.grading.inside.patience import counted

IDLE = 0.1                              # the share of work that is none
TALKS = 0.25                            # the share of the wall's time that counts in a conversation
ENOUGH = 0.97                           # of its time: nobody waits for the rest
LONGEST = 10                            # times its limit: then it is over, whatever it did


def used(waited: float, worked: float | None, talks: bool = False) -> float:
    """The seconds that count where nothing better is known (`patience.counted`)."""
    if worked is None:
        return waited
    return max(worked, TALKS * waited) if talks else counted(waited, worked, IDLE)


class Clock:
    """While it is open, ends what uses more than ``seconds``.

    Arguments:
        seen: says (seconds of processor time that it has had, seconds that it waited for a
            processor, or None), or None.
        end: ends it; called at most once, from another thread.
        talks: whether it waits for answers of ours.
    Attributes:
        expired: whether it was ended.
    """

    def __init__(self, seconds: float, seen, end, talks: bool = False):
        self.seconds, self.seen, self.end, self.expired = seconds, seen, end, False
        self.talks, self.closed = talks, threading.Event()
        self.thread = threading.Thread(target=self._watch)

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

    def used(self) -> float:
        """Seconds that count so far."""
        worked, delayed = self.seen() or (None, None)
        if delayed is None or self.talks:
            return used(self.waited(), worked, self.talks)
        return max(worked, self.waited() - delayed)

    def _watch(self) -> None:
        left = self.seconds
        while not self.closed.wait(left):
            left = self.seconds - self.used()
            if left <= (1 - ENOUGH) * self.seconds or self.waited() >= LONGEST * self.seconds:
                self.expired = True
                return self.end()


def seen(root: int, inside: int | None = None) -> tuple[float, float | None] | None:
    """(seconds of processor time, seconds of waiting for a processor or None) of the youngest child
    of the youngest child ... of a process: that is where a student's code runs. None where it
    cannot be seen.

    Arguments:
        root: its number here.
        inside: start from the descendant that has this number in ``root``'s process table; it
            counts itself where it has no child.
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
                     if number_inside(number) == inside), None)
    found = None if inside is None else root
    while children.get(root):
        found = root = max(children[root], key=lambda number: int(rows[number][19]))
    if found is None:
        return None
    return sum(map(int, rows[found][11:13])) / os.sysconf("SC_CLK_TCK"), delayed(found)


def delayed(number: int) -> float | None:
    """Seconds for which a process's threads were ready and had no processor; None where the system
    does not count them."""
    waited = []
    for path in Path(f"/proc/{number}/task").glob("*/schedstat"):
        try:
            worked, delay, _ = map(int, path.read_text().split())
        except (OSError, ValueError):
            continue                    # the thread has ended meanwhile
        waited += [delay / 1e9] if worked else []
    return sum(waited) if waited else None


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
