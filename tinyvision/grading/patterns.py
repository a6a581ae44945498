"""What relates a wrong answer to the right one, element by element: a sign, a factor, an axis.

Each pattern is a function of an answer, the right one and how far apart equals may be; it returns
(slug, sentence), or None. The first that explains every wrong answer is told; if none does, whether
all numbers are nearly right.
"""
from __future__ import annotations

import numpy as np

from tinyvision.grading.verdict import number

NEARLY = 1e-4                           # relative difference: what is written alike, or almost
SLACK = 8.0                             # times the bound, which was made for the right answer


def pattern(wrong) -> tuple[str, str] | None:
    """(slug, sentence) of the first pattern that explains every wrong answer."""
    pairs = []
    for answer, expected, judgement in wrong:
        got, want = answer.parts[judgement.part], expected.parts[judgement.part]
        if got is None or got.dtype.kind not in "fiu" or want.size == 0:
            return None
        scale = max(1.0, float(np.max(np.abs(want[np.isfinite(want)]), initial=0.0)))
        error = np.max(expected.tolerance(judgement.part, got.dtype), initial=0.0)
        pairs.append((got, want, max(SLACK * error, 1e-12 * scale)))
    for test in PATTERNS:
        found = [test(*pair) for pair in pairs]
        if all(found):
            return found[0]
    return nearly(pairs)


def _close(a, b, tolerance) -> bool:
    return a.shape == b.shape and a.size > 0 and bool((np.abs(a - b) <= tolerance).all())


def empty(got, want, tolerance):
    """No element."""
    if not got.size:
        return "empty", "Your result has no element."


def zero(got, want, tolerance):
    """All zeros."""
    if got.size and not got.any() and want.any():
        return "all-zero", "Every number of your result is zero: was it ever filled in?"


def sign(got, want, tolerance):
    """The negative."""
    if _close(got, -want, tolerance):
        return "sign", "Your result is the right one with the opposite sign."


def transposed(got, want, tolerance):
    """Two axes exchanged."""
    for a in range(want.ndim):
        for b in range(a):
            if _close(got, want.swapaxes(a, b), tolerance):
                return "transposed", f"Your result is right but for axes {b} and {a} exchanged."


def reversed_axis(got, want, tolerance):
    """One axis backwards."""
    for axis in range(want.ndim):
        if _close(got, np.flip(want, axis), tolerance):
            return "reversed", f"Your result is the right one with axis {axis} backwards."


def factor(got, want, tolerance):
    """A constant multiple."""
    if got.shape == want.shape and want.size > 1 and want.any():
        scale = float((got * want).sum() / (want * want).sum())
        told, slack = number(scale), tolerance * max(1, abs(scale))
        if abs(scale) > 1e-6 and told != "1" and _close(got, scale * want, slack):
            return "factor", f"Your result is {told} times the right one."


def offset(got, want, tolerance):
    """A constant added."""
    if got.shape == want.shape and want.size > 2:
        shift = float(np.mean(got - want))
        if _close(got, want + shift, tolerance):
            return "offset", f"Your result is the right one plus {number(shift)} everywhere."


def shifted(got, want, tolerance):
    """Moved by one element along a spatial axis."""
    if got.shape != want.shape:
        return None
    for axis in range(max(0, want.ndim - 2), want.ndim):
        if want.shape[axis] < 3:
            continue
        a, b = np.moveaxis(got, axis, 0), np.moveaxis(want, axis, 0)
        for direction, (c, d) in {"later": (a[1:], b[:-1]), "earlier": (a[:-1], b[1:])}.items():
            if _close(c, d, tolerance):
                return "shifted", (f"Your result is the right one, one element {direction} along "
                                   f"axis {axis}.")


def border(got, want, tolerance):
    """Right inside, wrong at the border."""
    if got.shape == want.shape and want.ndim >= 3 and min(want.shape[-2:]) >= 3 and (
            np.isfinite(got).all()):
        inner = (..., slice(1, -1), slice(1, -1))
        if _close(got[inner], want[inner], tolerance):
            return "border", "Your result is right inside and wrong only at the border."


def channel(got, want, tolerance):
    """One index of the first two axes only."""
    if got.shape != want.shape:
        return None
    for axis in range(min(2, want.ndim - 1)):
        others = tuple(i for i in range(want.ndim) if i != axis)
        wrong = (np.abs(got - want) > tolerance).any(axis=others)
        for which, mask in (("only right", ~wrong), ("only wrong", wrong)):
            if wrong.size > 2 and mask.sum() == 1:
                what = ("sample", "channel")[axis] if want.ndim == 4 else f"axis {axis}, index"
                return "one-index", f"Your result is {which} in {what} {int(mask.argmax())}."


def nearly(pairs) -> tuple[str, str] | None:
    """Every number of every answer has the right first digits."""
    worst = 0.0
    for got, want, tolerance in pairs:
        if got.shape != want.shape or {got.dtype.kind, want.dtype.kind} != {"f"}:
            return None
        with np.errstate(invalid="ignore"):             # infinity less itself: nothing is near
            error = np.abs(got.astype(np.float64) - want)
        if not (error <= NEARLY * np.abs(want)).all():
            return None
        worst = max(worst, float(np.max(error[want != 0] / np.abs(want[want != 0]), initial=0.0)))
    if worst:
        return "nearly-right", (
            f"Your numbers are right to about {int(-np.log10(worst))} digits: is something small "
            "added, such as to a denominator, or is something rounded, such as a constant, or all "
            "numbers to float32 or float16 on the way?")


PATTERNS = (empty, zero, sign, transposed, reversed_axis, factor, offset, shifted, border, channel)
