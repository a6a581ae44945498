"""Pictures of a wrong answer, as numbers: pages and terminals draw them."""
from __future__ import annotations

import numpy as np

from tinyvision.grading.receptive import Field, in_planes, planes, written
from tinyvision.grading.verdict import DIGITS, Judgement, number, telling

PICTURE_SIDE = 16                       # rows and columns at most


def picture(answer, expected, judgement: Judgement, made_of: Field | None = None,
            last: bool = False) -> dict:
    """The plane of numbers around the first wrong one: expected, received, and which are wrong;
    and, where it is known, the part of an argument that this number is made of. ``last``: images
    have their channels at the end."""
    got, want = (part if part is None else planes(part, last) for part in (
        answer.parts[judgement.part], expected.parts[judgement.part]))
    index = in_planes(judgement.index or (0,) * want.ndim, last)
    windows, digits = {"expected": _window(want, index)}, DIGITS
    if got is not None and got.ndim:
        at = index if got.shape == want.shape else (0,) * got.ndim
        windows["received"] = _window(got, at)
    if judgement.wrong is not None:
        windows["wrong"] = _window(planes(judgement.wrong, last).astype(np.int64), index)
        digits = _telling(_window(got, index), windows["expected"], windows["wrong"])
    if made_of is not None:
        first, middle = np.zeros(want.shape, np.int64), np.argwhere(made_of.used).mean(axis=0)
        first[index] = 1
        windows["first"] = _window(first, index)
        windows["input"], windows["used"] = (_window(plane, tuple(middle.astype(int))) for plane in
                                             (made_of.plane, made_of.used.astype(np.int64)))
    found = {name: [[_cell(value, digits) for value in row] for row in window]
             for name, window in windows.items()}
    found |= {"argument": made_of.argument} if made_of is not None else {}
    part = f"answer {judgement.part + 1} " if expected.several else ""
    return found | {"title": f"{part}[{written(index[:-2], last, min(2, want.ndim))}]"}


def _telling(got, want, wrong) -> int:
    """Digits that show each difference: numbers that are written alike would have none."""
    wrong = wrong.astype(bool)
    return max(telling(*pair) for pair in zip(got[wrong], want[wrong]))


def _window(array: np.ndarray, index: tuple) -> np.ndarray:
    """The last two axes at ``index``, cut to a window around it; a vector is one row."""
    plane, at = array[index[:-2]] if array.ndim > 2 else array, index[-2:]
    while plane.ndim < 2:
        plane, at = plane[None], (0, *at)
    starts = [max(0, min(i - PICTURE_SIDE // 2, n - PICTURE_SIDE)) for i, n in zip(at, plane.shape)]
    return plane[tuple(slice(start, start + PICTURE_SIDE) for start in starts)]


def _cell(value, digits: int):
    """A number as JSON has it; what JSON has not, as a word."""
    if not np.isfinite(value):
        return number(value)
    return float(number(value.real, digits)) if value.dtype.kind in "fc" else int(value)
