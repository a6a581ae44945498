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

WHICH = ("Which sorts are stable (argsort's is not, unless asked for by its kind; with few numbers "
         "it may look so), and what does turning one around do to ties?")


def negated(scores):
    """Best first, as most people write it."""
    return np.argsort(-scores)


def turned(scores):
    """Best first, as the others write it."""
    return np.argsort(scores)[::-1]


def pairs(rng, places: int, scores) -> tuple[np.ndarray, np.ndarray]:
    """Two boxes (or anchors) on each of many places, one of which drops the other, and these scores
    at random: of so many equals no sort that is not stable has the right order by luck, on any
    processor."""
    corners = np.repeat(np.indices((8, places // 8)).reshape(2, -1).T * 9, 2, axis=0)
    sides = np.tile([(6, 4), (6, 5)], (places, 1))
    return np.hstack([corners, corners + sides]), rng.choice(scores, 2 * places)


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
