"""Exercises: a task, its solution, its cases and the mistakes people make, one file each.

    from tinyvision.exercises import load, names
    load("conv2d").cases(np.random.default_rng(0))

An exercise's module is imported when it is loaded, not before.
"""
from __future__ import annotations

import difflib
import importlib

from tinyvision.exercises.exercise import Case, Exercise, Mistake

__all__ = ["Case", "Exercise", "Mistake", "load", "names"]

_NAMES = ("box_iou", "nms", "conv2d", "conv_transpose2d", "max_unpool2d", "roi_align")


def names() -> tuple[str, ...]:
    """The exercises' names, in the order in which they are taught."""
    return _NAMES


def load(name: str) -> Exercise:
    """The exercise of that name; ValueError names the known ones and the nearest."""
    if name not in _NAMES:
        near = difflib.get_close_matches(str(name).lower(), _NAMES, 1, 0.0)[0]
        raise ValueError(f"there is no exercise {name!r}: did you mean {near!r}, of the exercises "
                         f"{', '.join(_NAMES)}?")
    return importlib.import_module(f"{__name__}.{name}").EXERCISE
