"""Known mistakes by a sort that is not stable: what it makes of equals is its own affair.

A program that says ``np.argsort(-scores)``, without ``kind="stable"``, answers what NumPy's plain
sort makes of equals on this processor, whatever else is wrong with it. So the bank holds its
mistakes in these orders, too: the bank's answers are made where the students' are.
"""
from __future__ import annotations

from dataclasses import replace
from typing import Callable, Sequence

import numpy as np

from tinyvision.exercises.exercise import Mistake


def negated(scores):
    """Best first, as most people write it."""
    return np.argsort(-scores)


def turned(scores):
    """Best first, as the others write it."""
    return np.argsort(scores)[::-1]


def strict(scores: np.ndarray, order: Callable) -> np.ndarray:
    """Other scores, all different, whose only order is the one that ``order`` gives to these."""
    ranks = np.empty(len(scores))
    ranks[order(scores)] = -np.arange(float(len(scores)))
    return ranks


def not_stable(mistakes: Sequence[Mistake], at: int,
               ways: Sequence[Callable] = (negated, turned)) -> tuple[Mistake, ...]:
    """Versions of mistakes in which argument number ``at``, the scores, is sorted in other ways.
    Only the order of the scores may matter to them, not how high these are."""
    def sorted_by(wrong, way):
        return lambda *args: wrong(*args[:at], strict(args[at], way), *args[at + 1:])
    return tuple(replace(one, implementation=sorted_by(one.implementation, way))
                 for one in mistakes for way in ways)
