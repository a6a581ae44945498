"""The smallest counter-example: a failing case made smaller for as long as it still fails.

Arrays lose rows and columns, options are replaced by simpler ones, numbers become small integers
and then zeros, one step at a time, until no step is left that keeps the answer wrong (the greedy
reduction of delta debugging, Zeller & Hildebrandt 2002). What may be changed is read from the
exercise's own cases: only an axis that differs between them may be cut, axes that are always
equally long (or several times as long) are cut together, and an option takes only values that
another case has.
"""
from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from tinyvision.exercises.forwards import resized

MOST = 160                              # answers asked of a student's function
MOST_DRIVEN = 40                        # of a driver, each of which is many calls, or launches
SHORT = 12                              # rows up to which every length, and each row left out,
                                        # is tried
SHOWN = 24                              # elements of an array up to which single ones are cleared


def shrink(exercise, cases, case, fails, most: int = MOST):
    """The smallest case found that still fails.

    Arguments:
        exercise: the `Exercise` of the cases.
        cases: all of them, from which is learned what may vary.
        case: the one that fails.
        fails: of a case, whether it fails in the same way; False for one that makes no sense.
        most: how many cases may be tried.
    """
    if case.driver and case.driver not in exercise.simpler:
        return case                     # the numbers of a driver are a program: all of them matter
    alike = [other for other in cases if (other.function, other.driver) == (case.function, "")]
    left = itertools.count(min(most, MOST_DRIVEN) if case.driver else most, -1)
    progress = True
    while progress:
        progress = False
        for smaller in steps(exercise, alike, case):
            if next(left) <= 0:
                return case
            if fails(smaller):
                case, progress = smaller, True
                break
    return case


def steps(exercise, alike, case):
    """Simpler cases, the boldest steps first; such as the task promises, where this one is."""
    if case.driver:
        yield from exercise.simpler[case.driver](case)
        return
    free = not exercise.allows(case.function, case.args)
    for args in itertools.chain(cuts(alike, case.args), options(alike, case.args),
                                rounded(case.args), cleared(case.args)):
        fitted = resized(exercise, case.function, args, cut_to)
        if fitted is not None and (free or exercise.allows(case.function, fitted)):
            yield replace(case, args=fitted)


# ---- smaller arrays ------------------------------------------------------------------------------

def cuts(alike, args):
    """Arguments with one group of axes cut to one, to half, to every other length if it is short;
    then without one of their rows."""
    for group in joined(alike):
        axes = [one for one in group if present(args, *one[:2])]
        length = args[axes[0][0]].shape[axes[0][1]] if axes else 0
        lengths = (1, length // 2, *range(2, length)) if length <= SHORT else (
            1, length // 2, length - 1)
        kept = [range(shorter) for shorter in dict.fromkeys(lengths) if 1 <= shorter < length]
        if 1 < length <= SHORT:
            kept += [[k for k in range(length) if k != without] for without in range(length - 1)]
        for rows in kept:
            yield tuple(cut(arg, [one[1:] for one in axes if one[0] == i], rows, length)
                        for i, arg in enumerate(args))


def present(args, at: int, axis: int) -> bool:
    """Whether an argument is an array here and has this axis (an optional one may be None)."""
    return isinstance(args[at], np.ndarray) and args[at].ndim > axis


def cut(arg, axes, rows, length: int):
    """Some rows of an array, along each of some axes: of each block of so many the same."""
    for axis, blocks in axes:
        arg = arg.take([block * length + row for block in range(blocks) for row in rows], axis)
    return arg


def joined(alike) -> list[list[tuple[int, int, int]]]:
    """The groups of `tied` as (argument, axis, blocks). An axis that is always as long as several
    blocks of another's length, such as the rows of four gates, is cut with it, alike in each block;
    in two cases that may be by chance."""
    found: dict[tuple, list] = {}
    groups = {tuple(length_of(case.args, *axes[0]) for case in alike): axes for axes in tied(alike)}
    for lengths in sorted(groups, key=lambda lengths: sum(filter(None, lengths))):
        shorter, blocks = next(((other, times(lengths, other)) for other in found
                                if len(alike) > 2 and times(lengths, other)), (lengths, 1))
        found.setdefault(shorter, []).extend((*one, blocks) for one in groups[lengths])
    return list(found.values())


def times(longer, shorter) -> int:
    """How many times the one lengths are the others, in every case; else 0."""
    found = {a // b if a and b and a % b == 0 else 0 for a, b in zip(longer, shorter)}
    return found.pop() if len(found) == 1 else 0


def tied(alike) -> list[list[tuple[int, int]]]:
    """Groups of (argument, axis) that are equally long in every case, and not always the same. An
    optional argument belongs to the only group that it agrees with wherever it is there."""
    groups: dict[tuple, list] = {}
    for at in range(len(alike[0].args)):
        there = [case.args[at].ndim for case in alike
                 if at < len(case.args) and isinstance(case.args[at], np.ndarray)]
        for axis in range(max(there, default=0)):
            lengths = tuple(length_of(case.args, at, axis) for case in alike)
            if len(set(lengths) - {None}) > (None not in lengths):
                groups.setdefault(lengths, []).append((at, axis))
    for lengths in [lengths for lengths in groups if None in lengths]:
        agreeing = [other for other in groups if None not in other and all(
            a in (None, b) for a, b in zip(lengths, other))]
        if len(agreeing) == 1:
            groups[agreeing[0]] += groups.pop(lengths)
    return list(groups.values())


def length_of(args, at: int, axis: int) -> int | None:
    """An axis's length; None where there is no such argument."""
    arg = args[at] if at < len(args) else None
    return arg.shape[axis] if isinstance(arg, np.ndarray) and arg.ndim > axis else None


# ---- simpler options and numbers -----------------------------------------------------------------

def options(alike, args):
    """Arguments with one option replaced by a simpler one of another case."""
    for at, arg in enumerate(args):
        if isinstance(arg, np.ndarray):
            continue
        others = {repr(case.args[at]): case.args[at] for case in alike if at < len(case.args)
                  and not isinstance(case.args[at], np.ndarray)}
        for other in sorted(others.values(), key=weight):
            if weight(other) < weight(arg):
                yield (*args[:at], other, *args[at + 1:])


def weight(option) -> float:
    """How complicated an option is: None, 1, 0, 2, (1, 1), (2, 1) ..."""
    if isinstance(option, (tuple, list)):
        return 10 + sum(map(weight, option))
    if option is None or isinstance(option, (bool, str)):
        return -1 if option is None else float(bool(option))
    return 0.5 if option == 0 else abs(option) + 3 * (float(option) != int(option))


def rounded(args):
    """Arguments with small integers for numbers: counted from 1, else rounded at some scale."""
    if all(whole(arg) for arg in args):
        return
    yield tuple(counted(arg) for arg in args)
    for scale in (1, 4, 10):
        yield tuple(arg if whole(arg) else np.round(arg * scale) for arg in args)
    for at, arg in enumerate(args):
        if not whole(arg):
            yield (*args[:at], np.round(arg * 4), *args[at + 1:])


def whole(arg) -> bool:
    """Whether an argument needs no rounding."""
    return not (isinstance(arg, np.ndarray) and arg.dtype.kind == "f") or (
        bool(np.isfinite(arg).all()) and np.array_equal(arg, np.round(arg)) and
        np.abs(arg).max(initial=0) < 100)


def counted(arg):
    """1, 2, 3 ... 9, 1 ... in place of an array's numbers."""
    if whole(arg):
        return arg
    return (np.arange(arg.size) % 9 + 1).reshape(arg.shape).astype(arg.dtype)


def cleared(args):
    """Arguments with one number zero, or one, where it is not yet."""
    for at, arg in enumerate(args):
        if not isinstance(arg, np.ndarray) or arg.dtype.kind != "f" or arg.size > SHOWN:
            continue
        for value in (0.0, 1.0):
            for i in np.flatnonzero(~np.isin(arg, (0.0, value))):
                other = arg.copy()
                other.flat[i] = value
                yield (*args[:at], other, *args[at + 1:])


# ---- gradients -----------------------------------------------------------------------------------

def cut_to(g, shape):
    """The first elements of g along each axis; None where there are too few."""
    if len(shape) != g.ndim or any(not 1 <= n <= m for n, m in zip(shape, g.shape)):
        return None
    return g[tuple(slice(n) for n in shape)].copy()


# ---- in words ------------------------------------------------------------------------------------

def call_text(function: str, names, args) -> str:
    """A call as a student would type it: ``conv2d(x=[[1, 2]], stride=2)``."""
    return f"{function}({', '.join(f'{n}={text(a)}' for n, a in zip(names, args))})"


def text(value, digits: int = 4) -> str:
    """Numbers as a person writes them: 3 for 3.0, brackets for arrays."""
    if isinstance(value, np.ndarray):
        return text(value.tolist(), digits) if value.size else f"zeros{value.shape}"
    if isinstance(value, (list, tuple)):
        comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
        inner = ", ".join(text(one, digits) for one in value) + comma
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if isinstance(value, float) and np.isfinite(value):
        return f"{value + 0.0:.{digits}g}"      # -0 is 0
    return repr(value) if isinstance(value, str) else str(value)
