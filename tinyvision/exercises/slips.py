"""Slips that are alike in several exercises: a right function with something else on its way in
or out. They make the versions of known mistakes."""
from __future__ import annotations

from typing import Callable

import numpy as np


def given(function: Callable, position: int, change: Callable) -> Callable:
    """The function of other arguments: number ``position`` is change(of it)."""
    return lambda *args: function(*args[:position], change(args[position]), *args[position + 1:])


def then(function: Callable, change: Callable) -> Callable:
    """change(the function's answer)."""
    return lambda *args: change(function(*args))


def part(function: Callable, position: int, change: Callable) -> Callable:
    """The function with one part of its answer changed: change(part, *args)."""
    def changed(*args):
        answer = list(function(*args))
        answer[position] = change(answer[position], *args)
        return tuple(answer)
    return changed


def only(share: tuple) -> Callable:
    """An array of which only a share is left, 0 elsewhere: where = was written for +=."""
    def kept(array):
        left = np.zeros(array.shape)
        left[share] = array[share]
        return left
    return kept


def around(x: np.ndarray, rows: tuple, columns: tuple, mode: str = "constant") -> np.ndarray:
    """Images with (before, after) more rows and columns."""
    return np.pad(x, ((0, 0), (0, 0), rows, columns), mode=mode)


LAST_CHANNEL, LAST_TAP = only(np.s_[:, -1:]), only(np.s_[:, :, -1, -1])
LAST_TERM = only(np.s_[:, -1, -1, -1])
