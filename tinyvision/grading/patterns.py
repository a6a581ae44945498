"""What relates a wrong answer to the right one, element by element: a sign, a factor, an axis.

Each pattern is a function of an answer, the right one and how far apart equals may be. It returns
what it may say, as pairs (slug, sentence), and of each whether the case is evidence for it: whether
numbers that have nothing to do with it would probably look otherwise. Three equal numbers are also
three equal numbers moved by one. What fits every wrong answer and has evidence is told, the first
of it; where there is none, whether all numbers are nearly right.
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyvision.grading.inside.worker import STAIN
from tinyvision.grading.verdict import differs, number

NEARLY = 1e-4                           # relative difference: what is written alike, or almost
SLACK = 8.0                             # times the bound, which was made for the right answer
SOME = 3                                # different numbers that are where they are not by chance
NAN = ("0 / 0 is, and the mean of nothing, infinity less infinity, and the logarithm or root of a "
       "negative number.")
NEVER_WRITTEN = ("There are numbers in your result that no line of yours has written: np.empty, "
                 "and a ufunc with where= but without out=, give memory as it lies about.")
EACH = {"factor": "Your result is a multiple of the right one, in each case another.",
        "offset": "Your result is the right one plus a number, in each case another."}


def pattern(wrong) -> tuple[str, str] | None:
    """(slug, sentence) of the first pattern that explains every wrong answer."""
    pairs = []
    if any(stained(answer.parts[judgement.part]) for answer, _, judgement in wrong):
        return "never-written", NEVER_WRITTEN
    for answer, expected, judgement in wrong:
        got, want = answer.parts[judgement.part], expected.parts[judgement.part]
        if got is None or got.dtype.kind not in "fiu" or want.size == 0 or never_written(got):
            return None
        scale = max(1.0, float(np.max(np.abs(want[np.isfinite(want)]), initial=0.0)))
        error = np.max(expected.tolerance(judgement.part, got.dtype), initial=0.0)
        pairs.append((got, want, max(SLACK * error, 1e-12 * scale)))
    if any(_close(*pair) for pair in pairs):
        return nearly(pairs)            # what is so near the right one is near its double, too
    tests = [test for test in PATTERNS if test is not channel or len(pairs) > 1]
    with np.errstate(invalid="ignore", over="ignore"):
        return next(filter(None, (_told([test(*pair) for pair in pairs]) for test in tests)),
                    None) or nearly(pairs)


def of_arrays(test, wrong) -> tuple[str, str] | None:
    """What `pattern`, or another test of the same arguments, says of wrong answers. It sees the
    first wrong array of each: of tuples it is said which arrays are wrong that way."""
    found = test(wrong)
    if not found:
        return None
    parts = {judgement.part for _, _, judgement, *_ in wrong}
    count = max(len(right.parts) for _, right, *_ in wrong)
    for part in set(range(count)) - parts:
        alone = [(answer, right, replace(judgement, part=part), *others)
                 for answer, right, judgement, *others in wrong if _differs(answer, right, part)]
        if alone and test(alone) == found:
            parts.add(part)
    return found[0], _placed(found[1], parts, count)


def _differs(answer, right, part: int) -> bool:
    got, want = (one.parts[part] if part < len(one.parts) else None for one in (answer, right))
    return got is None or want is None or got.shape != want.shape or bool(
        differs(got, want, right.tolerance(part, got.dtype)).any())


def _placed(sentence: str, parts: set, count: int) -> str:
    """A sentence with the arrays of a tuple that it is about, unless it is about all of them."""
    if len(parts) == count:
        return sentence
    *others, last = (str(part + 1) for part in sorted(parts))
    which = f"answers {', '.join(others)} and {last}" if others else f"answer {last}"
    return f"In {which} of {count} {sentence[0].lower()}{sentence[1:]}"


def agreed(found: list[dict]):
    """What all cases agree on, of dictionaries hypothesis -> whether the case is evidence for it
    or only does not contradict; None where there is no evidence."""
    common = [one for one in found[0] if all(one in others for others in found)]
    return next((one for one in common if any(others[one] for others in found)), None)


def _told(found: list[dict]) -> tuple[str, str] | None:
    """What all cases agree on; a factor may be another in each of them."""
    return agreed(found) or agreed([{(slug, EACH[slug]): evidence for (slug, _), evidence in
                                     one.items() if slug in EACH} for one in found])


def never_written(got) -> bool:
    """Whether there are numbers as they lie about in memory: next to nothing, but not nothing."""
    return got.dtype.kind == "f" and bool(
        ((got != 0) & (np.abs(got) < np.finfo(got.dtype).tiny)).any())


def stained(got) -> bool:
    """Whether there are numbers with which a worker fills memory beforehand (`worker.stain`)."""
    if got is None or got.dtype.kind not in "fiu" or got.dtype.itemsize < 4:
        return False
    return bool((got == np.frombuffer(bytes([STAIN]) * got.dtype.itemsize, got.dtype)[0]).any())


def unchanging(seen) -> tuple[str, str] | None:
    """(slug, sentence) where a function answers the same number everywhere, in every case that has
    something to answer. Whatever that number is, it comes of many reasons: it is no evidence for
    any of them.

    Arguments:
        seen: (answer, right answer) of each case that was answered.
    """
    seen = [(answer.parts, right.parts) for answer, right in seen
            if any(part.size for part in right.parts)]
    if not seen or any(part is None for mine, _ in seen for part in mine):
        return None
    if not any(part.size for mine, _ in seen for part in mine):
        return "empty", "Your result has no element."
    values, wrong = [], set()
    for k in range(max(len(mine) for mine, _ in seen)):
        column = [mine[k].ravel() for mine, _ in seen if k < len(mine)]
        found = np.unique(np.concatenate(column))       # NumPy takes all NaN for one number here
        if len(found) > 1:
            return None
        if len(found) and not all(np.array_equal(*both) for both in zip(column, (
                right[k].ravel() for mine, right in seen if k < min(len(mine), len(right))))):
            values.append(str(found[0]) if found.dtype == bool else number(found[0]))
            wrong.add(k)
    said = _always(sorted(set(values)), len(seen))
    return said and (said[0], _placed(said[1], wrong, max(len(right) for _, right in seen)))


def _always(values: list[str], cases: int) -> tuple[str, str] | None:
    """What is said of answers in which there are only these numbers, one in each array."""
    if values == ["nan"]:
        return "not-a-number", f"Every number of your result is NaN, in every case. {NAN}"
    if values and {*values} <= {"0", "-0"}:
        return "all-zero", "Every number of your result is zero: was it ever filled in?"
    if values and cases > 1:
        return "constant", (f"You answer {' and '.join(values)} in every case: does your answer "
                            "depend on the arguments at all?")
    return None


def _close(a, b, tolerance) -> bool:
    return a.shape == b.shape and a.size > 0 and bool((np.abs(a - b) <= tolerance).all())


def _various(numbers, least: int = SOME) -> bool:
    """Whether there are so many different numbers."""
    return np.unique(numbers).size >= least


def empty(got, want, tolerance):
    """No element."""
    return {} if got.size else {("empty", "Your result has no element."): True}


def not_a_number(got, want, tolerance):
    """All NaN."""
    if got.size and got.dtype.kind == "f" and np.isnan(got).all():
        return {("not-a-number", f"Every number of your result is NaN. {NAN}"): True}
    return {}


def zero(got, want, tolerance):
    """All zeros."""
    if got.size and not got.any() and want.any():
        return {("all-zero", "Every number of your result is zero where it is wrong."): True}
    return {}


def sign(got, want, tolerance):
    """The negative."""
    if _close(got, -want, tolerance):
        return {("sign", "Your result is the right one with the opposite sign."): True}
    return {}


def transposed(got, want, tolerance):
    """Two axes exchanged."""
    return {("transposed", f"Your result is right but for axes {b} and {a} exchanged."):
            want.size > 1 for a in range(want.ndim) for b in range(a)
            if _close(got, want.swapaxes(a, b), tolerance)}


def reversed_axis(got, want, tolerance):
    """One axis backwards. Of two numbers an exchange is as good a reason."""
    return {("reversed", f"Your result is the right one with axis {axis} backwards."):
            _various(want) for axis in range(want.ndim)
            if _close(got, np.flip(want, axis), tolerance)}


def factor(got, want, tolerance):
    """A constant multiple. Of equal numbers a sum is as good a reason."""
    if got.shape == want.shape and want.size > 1 and want.any():
        scale = float((got * want).sum() / (want * want).sum())
        told, slack = number(scale), tolerance * max(1, abs(scale))
        if abs(scale) > 1e-6 and told != "1" and _close(got, scale * want, slack):
            return {("factor", f"Your result is {told} times the right one."):
                    _various(want[want != 0], 2)}
    return {}


def offset(got, want, tolerance):
    """A constant added. To equal numbers a factor is as good a reason."""
    if got.shape == want.shape and want.size > 2:
        shift = float(np.mean(got - want))
        if _close(got, want + shift, tolerance):
            return {("offset", f"Your result is the right one plus {number(shift)} everywhere."):
                    _various(want, 2)}
    return {}


def shifted(got, want, tolerance):
    """Moved by one element along a spatial axis."""
    found = {}
    if got.shape != want.shape:
        return found
    for axis in range(max(0, want.ndim - 2), want.ndim):
        if want.shape[axis] < 3:
            continue
        a, b = np.moveaxis(got, axis, 0), np.moveaxis(want, axis, 0)
        for direction, (c, d) in {"later": (a[1:], b[:-1]), "earlier": (a[:-1], b[1:])}.items():
            if _close(c, d, tolerance):
                found["shifted", f"Your result is the right one, one element {direction} along "
                      f"axis {axis}."] = _various(d)
    return found


def border(got, want, tolerance):
    """Right inside, wrong at the border."""
    if got.shape == want.shape and want.ndim == 4 and min(want.shape[-2:]) >= 3 and (
            np.isfinite(got).all()):
        inner = (..., slice(1, -1), slice(1, -1))
        if _close(got[inner], want[inner], tolerance):
            return {("border", "Your result is right inside and wrong only at the border."):
                    _various(want[inner])}
    return {}


def channel(got, want, tolerance):
    """One index of the first two axes only. A number here and there may be wrong, or right, by
    chance: of those that are not 0 most have to be, and in more than one case (see `pattern`)."""
    found = {}
    if got.shape != want.shape:
        return found
    for axis in range(min(2, want.ndim - 1)):
        wrong, filled = (np.moveaxis(mask, axis, 0).reshape(want.shape[axis], -1) for mask in
                         (~(np.abs(got - want) <= tolerance), (got != 0) | (want != 0)))
        some, most = wrong.any(axis=1), 2 * wrong.sum(axis=1) > filled.sum(axis=1)
        what = ("sample", "channel")[axis] if want.ndim == 4 else f"axis {axis}, index"
        for which, mask in (("only right", ~some), ("only wrong", some)):
            if some.size > 2 and mask.sum() == 1 and (most == some).all():
                place = int(mask.argmax())
                found["one-index", f"Your result is {which} in {what} {place}."] = True
                if place == some.size - 1:              # which number that is depends on the case
                    found["one-index", f"Your result is {which} in {what} -1, the last."] = True
    return found


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


PATTERNS = (empty, not_a_number, zero, sign, transposed, reversed_axis, factor, offset, shifted,
            border, channel)
