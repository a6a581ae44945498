"""Right numbers in a form that nobody asked for: added up, not yet added up, rows for indices.

Such an answer has another shape or type than the right one, so no element can be compared; what is
compared is what the right answer becomes when it is summed, averaged or looked up.
"""
from __future__ import annotations

import numpy as np

from tinyvision.grading.patterns import SLACK, agreed


def form(wrong) -> tuple[str, str] | None:
    """(slug, sentence) of the first form that explains every wrong answer.

    Arguments:
        wrong: for each wrong case (answer, expected, judgement, its arrays by argument).
    """
    seen = []
    for answer, expected, judgement, arrays in wrong:
        if len(answer.parts) != len(expected.parts) or bool(answer.several) != expected.several:
            return None
        got, want = answer.parts[judgement.part], expected.parts[judgement.part]
        if got is None or got.dtype.kind not in "biuf":
            return None
        tolerance = expected.tolerance(judgement.part, got.dtype)
        seen.append((got, want, np.broadcast_to(tolerance, want.shape), arrays))
    with np.errstate(invalid="ignore", over="ignore"):
        return next(filter(None, (test(seen) for test in FORMS)), None) if seen else None


# ---- sums and means ------------------------------------------------------------------------------

def added_up(seen):
    """The sum or the mean of the right numbers, of all or along one axis."""
    found = agreed([_reductions(want, got, error, 0.0) for got, want, error, _ in seen])
    if found:
        how, axis = found
        slug, words = {"mean": ("averaged", "mean"), "sum": ("summed", "sum")}[how]
        return slug, (f"Your result is the {words} of the right one"
                      f"{_along(axis)}: {_shape_of(seen)}.")


def not_added_up(seen):
    """The numbers whose sum or mean is right."""
    found = agreed([_reductions(got, want, 0.0, error) for got, want, error, _ in seen])
    if found:
        how, axis = found
        slug, words = {"mean": ("not-averaged", "mean"), "sum": ("not-summed", "sum")}[how]
        return slug, (f"Your result is the right one before the last step: its {words}"
                      f"{_along(axis)} is asked for.")


def _reductions(many, few, error_of_many=0.0, error_of_few=0.0) -> dict:
    """(sum or mean, axis) that make ``few`` of ``many`` -> whether that is more than chance: of
    several numbers that are not 0. The axis is None for all numbers, -1 for the last one, which
    may be another in every case."""
    found: dict = {}
    if many.dtype.kind != "f" or few.dtype.kind not in "fiu" or many.ndim == 0:
        return found
    for axis in (None, *range(many.ndim), -1):
        total, size = many.sum(axis, keepdims=True), np.abs(many).sum(axis, keepdims=True)
        if few.shape not in (total.shape, many.sum(axis).shape):
            continue
        count = max(1, many.size // max(1, total.size))
        error = np.broadcast_to(error_of_many, many.shape).sum(axis, keepdims=True)
        for how, terms in (("mean", count), ("sum", 1)):
            bound = (error + count * _eps(many, few) * size) / terms
            bound = SLACK * (bound + np.reshape(np.broadcast_to(error_of_few, few.shape),
                                                total.shape))
            if (np.abs(few.reshape(total.shape) - total / terms) <= bound).all():
                found[how, axis] = count > 1 and np.count_nonzero(many) > 1 and bool(few.any())
    return found


def _eps(*arrays) -> float:
    """The coarsest rounding of the arrays."""
    return max(np.finfo(one.dtype).eps for one in arrays if one.dtype.kind == "f")


def _along(axis: int | None) -> str:
    return {None: "", -1: " along the last axis"}.get(axis, f" along axis {axis}")


def _shape_of(seen) -> str:
    shape = next(want.shape for _, want, *_ in seen if want.size > 1)
    return f"each number should stay by itself, here shape {shape}"


# ---- rows and indices ----------------------------------------------------------------------------

def rows_for_indices(seen):
    """What the right indices point at."""
    name = agreed([{name: want.size > 0 for name, array in arrays.items()
                    if _indexes(want, array) and _equal(got, array[want], want.size)}
                    for got, want, _, arrays in seen])
    if name:
        return "rows-for-indices", (f"You return the chosen rows of {name} themselves. The answer "
                                    "is their indices.")


def indices_for_rows(seen):
    """Indices of what is asked for."""
    name = agreed([{name: got.size > 0 for name, array in arrays.items()
                    if _indexes(got, array) and _equal(array[got], want, want.size)}
                    for got, want, _, arrays in seen])
    if name:
        return "indices-for-rows", (f"You return indices. The answer is the rows of {name} that "
                                    "they point at.")


def mask_for_indices(seen):
    """A truth for each row, true where the right indices point at."""
    name = agreed([{name: want.size > 0 for name, array in arrays.items()
                    if _indexes(want, array) and got.dtype == bool and got.shape == array.shape[:1]
                    and np.array_equal(np.flatnonzero(got), np.sort(want))}
                    for got, want, _, arrays in seen])
    if name:
        return "mask-for-indices", (f"You return one truth for each row of {name}. The answer is "
                                    "the indices of the rows that are chosen.")


def _indexes(numbers, array) -> bool:
    """Whether numbers could be indices of an array's rows."""
    return numbers.ndim == 1 and numbers.dtype.kind in "iu" and array.ndim > 0 and (
        numbers.size == 0 or 0 <= numbers.min() and numbers.max() < len(array))


def _equal(a, b, count: int) -> bool:
    """Equal, in the precision of the first; of no rows only the number of them matters."""
    return a.size == b.size == 0 if count == 0 else np.array_equal(a, b.astype(a.dtype))


FORMS = (added_up, not_added_up, rows_for_indices, indices_for_rows, mask_for_indices)
