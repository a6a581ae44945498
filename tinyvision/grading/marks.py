"""From a record to a mark: the one place where rules beside the results are applied.

A record says what a submission is worth by itself. What the course makes of it (days late, a mark
overridden by hand) stands in files beside the results and is applied here, whenever gradebook and
pages are made: records stay as they are.
"""
from __future__ import annotations

from dataclasses import dataclass, field

from tinyvision.grading import course, overrides


@dataclass(frozen=True)
class Mark:
    """What counts.

    Attributes:
        score: points; None where there is none, which is not a zero.
        points: how many there are; None where it does not count, or the exercise is not known and
            more than one was handed in.
        notes: why the score differs from the record's, a sentence each.
        counts: whether it is part of the student's total; of several versions one is.
        by_hand: function -> its points, where they or a case's were set by hand.
    """
    score: float | None
    points: float | None
    notes: tuple[str, ...] = ()
    counts: bool = True
    by_hand: dict[str, float] = field(default_factory=dict)

    @property
    def share(self) -> float | None:
        """The part of the points; None without a score, and for points of nobody knows how many."""
        if self.points:
            return None if self.score is None else self.score / self.points
        return None if self.score else self.score


def mark(record: dict, rules: course.Rules) -> Mark:
    """The mark for one record: a pure function of both."""
    score, notes = rules.score(record)
    counts = rules.counts(record)
    return Mark(score, rules.points(record) if counts else None, tuple(notes), counts,
                overrides.by_function(record, rules.given) if counts else {})
