"""Lateness as data: when work was due, when it came, what that costs. No clock is ever read.

A policy is a dict in the assignment's file, all of it optional:

====================  ==============================================================================
free_hours            hours after the due date that cost nothing
points_per_day        points for each day begun after that
percent_per_day       percent of all points for each day begun after that
most_points           the most that lateness can cost
most_percent          the same in percent of all points
closed_after_hours    what comes later than this after the due date is worth nothing
====================  ==============================================================================

A time is ``2026-12-01 23:59 +01:00``, ``2026-12-01T22:59Z`` or ``2026-12-01 23:59 Europe/Berlin``.
"""
from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Mapping
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class Lateness:
    """How late something came and what that costs; ``why`` is a sentence for the student."""
    hours: float
    taken: float
    why: str


@dataclass(frozen=True)
class Policy:
    """What lateness costs; see the module's docstring."""
    due: datetime | None = None
    free_hours: float = 0.0
    points_per_day: float = 0.0
    percent_per_day: float = 0.0
    most_points: float = math.inf
    most_percent: float = 100.0
    closed_after_hours: float = math.inf

    @classmethod
    def of(cls, due: str | None, late: Mapping | None) -> "Policy":
        """A policy from an assignment's data; ValueError names a rule that there is not."""
        known = [item.name for item in dataclasses.fields(cls) if item.name != "due"]
        if late is not None and not isinstance(late, Mapping):
            raise ValueError(f"late policy: {late!r} is no table of rules; write it like "
                             '{"free_hours": 1, "points_per_day": 2}, or {} for none')
        for key, value in (late or {}).items():
            if key not in known:
                raise ValueError(f"late policy: there is no rule {key!r}; there are "
                                 f"{', '.join(known)}")
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
                raise ValueError(f"late policy: {key} is {value!r}; give a number, 0 or more")
        if late and not due:
            raise ValueError("late policy: there is no due date; give due='2026-12-01 23:59 +01:00'"
                             " or leave the policy out")
        return cls(due=time(due) if due else None, **(late or {}))

    def lateness(self, handed_in: datetime | None, points: float, score: float,
                 extra_hours: float = 0.0) -> Lateness | None:
        """What is taken off a score, or None where nothing was late.

        Arguments:
            handed_in: when it came; None where that is not known: then nothing is taken off.
            points: what the assignment is worth.
            score: before lateness; no more than this is taken.
            extra_hours: this student's own extension.
        """
        if self.due is None or handed_in is None:
            return None
        hours = (handed_in - self.due - timedelta(hours=extra_hours)) / timedelta(hours=1)
        if hours <= 0:
            return None
        taken, why = self._cost(hours, points)
        taken = round(min(taken, score), 4)
        return Lateness(round(hours, 2), taken, f"{duration(hours)} late: {why}")

    def _cost(self, hours: float, points: float) -> tuple[float, str]:
        if hours > self.closed_after_hours:
            return math.inf, f"not accepted after {duration(self.closed_after_hours)}"
        if hours <= self.free_hours:
            return 0.0, f"nothing is taken off before {duration(self.free_hours)}"
        days = math.ceil((hours - self.free_hours) / 24)
        taken = days * (self.points_per_day + points * self.percent_per_day / 100)
        most = min(self.most_points, points * self.most_percent / 100)
        return min(taken, most), (f"{_counted(min(taken, most), 'point')} taken off "
                                   f"for {_counted(days, 'day')}")


def duration(hours: float) -> str:
    """``"3 hours"``, ``"2.5 days"``: a time as a person says it."""
    for size, word in ((48, "day"), (1, "hour")):
        if hours >= size:
            return _counted(hours / (24 if word == "day" else 1), word)
    return _counted(max(1, round(hours * 60)), "minute")


def _counted(n: float, word: str) -> str:
    return f"{n:.3g} {word}{'' if n == 1 else 's'}"


def time(text: str) -> datetime:
    """A time with its zone from text; ValueError where it is none, or has no zone."""
    words = str(text).strip()
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?\d*)\s*(\S.*)?",
                         words)
    try:
        moment, zone = datetime.fromisoformat(found[1]), found[2]
        if zone is None:
            raise ValueError(f"{words!r} has no time zone; add one, such as +01:00 or "
                             "Europe/Berlin")
        return moment.replace(tzinfo=_zone(zone)).astimezone(timezone.utc)
    except (TypeError, KeyError, OSError):
        raise ValueError(f"{words!r} is no time; write it like 2026-12-01 23:59 +01:00") from None


def _zone(word: str):
    if word in ("Z", "UTC", "GMT"):
        return timezone.utc
    offset = re.fullmatch(r"([+-])(\d\d):?(\d\d)", word)
    if offset:
        size = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(size if offset[1] == "+" else -size)
    try:
        return ZoneInfo(word)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{word!r} is no time zone; write +01:00 or Europe/Berlin") from None
