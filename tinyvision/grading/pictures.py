"""Pictures of a wrong answer, as numbers: pages and terminals draw them."""
from __future__ import annotations

import numpy as np

from tinyvision.grading.verdict import Judgement, number

PICTURE_SIDE = 16                       # rows and columns at most


def picture(answer, expected, judgement: Judgement) -> dict | None:
    """The plane of numbers around the first wrong one: expected, received, and which are wrong."""
    got, want = answer.parts[judgement.part], expected.parts[judgement.part]
    index = judgement.index or (0,) * want.ndim
    planes = {"expected": _plane(want, index)}
    if got is not None and got.ndim:
        planes["received"] = _plane(got, index if got.shape == want.shape else (0,) * got.ndim)
    if judgement.wrong is not None:
        planes["wrong"] = _plane(judgement.wrong.astype(np.int64), index)
    leading = [str(i) for i in index[:-2]] + [":"] * min(2, want.ndim)
    part = f"answer {judgement.part + 1} " if expected.several else ""
    return planes | {"title": f"{part}[{', '.join(leading)}]"}


def _plane(array: np.ndarray, index: tuple) -> list[list]:
    """The last two axes at ``index``, cut to a window around it; a vector is one row."""
    plane, at = array[index[:-2]] if array.ndim > 2 else array, index[-2:]
    while plane.ndim < 2:
        plane, at = plane[None], (0, *at)
    starts = [max(0, min(i - PICTURE_SIDE // 2, n - PICTURE_SIDE)) for i, n in zip(at, plane.shape)]
    window = plane[tuple(slice(start, start + PICTURE_SIDE) for start in starts)]
    return [[_cell(value) for value in row] for row in window]


def _cell(value):
    """A number as JSON has it; what JSON has not, as a word."""
    if not np.isfinite(value):
        return number(value)
    return float(number(value.real)) if value.dtype.kind in "fc" else int(value)
