"""From a record to a mark: the one place where rules beside the results are applied.

A record says what a submission is worth by itself. What the course makes of it (days late, a mark
overridden by hand) stands in files beside the results and is applied here, whenever gradebook and
pages are made: records stay as they are.
"""
from __future__ import annotations

from dataclasses import dataclass

from tinyvision.grading import course


@dataclass(frozen=True)
class Mark:
    """What counts.

    Attributes:
        score: points; None where there is none, which is not a zero.
        points: how many there are; None where the exercise is not known, or it does not count.
        notes: why the score differs from the record's, a sentence each.
        counts: whether it is part of the student's total; of several versions one is.
    """
    score: float | None
    points: float | None
    notes: tuple[str, ...] = ()
    counts: bool = True


def mark(record: dict, rules: course.Rules) -> Mark:
    """The mark for one record: a pure function of both."""
    score, notes = rules.score(record)
    counts = rules.counts(record)
    return Mark(score, record["points"] if counts else None, tuple(notes), counts)
