"""Follow-through: a gradient that is right for the student's own forward, which is wrong.

A mistake in ``op`` should cost its points once. Where a student's ``op`` answers every case as a
known mistake does, that mistake's function is the student's own, and its derivative is had by
central differences, here, without running anything of the student's again. An ``op_backward`` that
equals it is right for what it belongs to. A forward that nobody recognises earns nothing in this
way: one that is made to have an easy gradient would. How the forward is called with what a backward
was given is said by `tinyvision.exercises.forwards`.
"""
from __future__ import annotations

import copy
import functools
import hashlib

import numpy as np

STEP = 1e-5                             # of arguments of size 1: its error STEP^2, rounding 1e-11
ERROR = 1e-6                            # of the largest slope
ORDERS = 4                              # of indices: two may give the same sum by chance
PROBES = 6                              # directions in which all elements are moved together


def follows(case, forward, implementation, parts) -> bool:
    """Whether a backward's answer is the gradient of this forward.

    Arguments:
        case: of the backward.
        forward: how its forward is called, an `exercises.forwards.Forward`.
        implementation: the student's forward, NumPy arrays in float64.
        parts: the answer's arrays.
    """
    try:
        calls = forward.calls(*case.args)
        if not parts or any(len(positions) < len(parts) or ignores(
                case, forward, implementation, args) for args, positions in calls):
            return False
        return all(fits(case, forward, implementation, k, at, part)
                   for k, (_, positions) in enumerate(calls)
                   for at, part in zip(positions, parts))
    except Exception:                   # a mistake may refuse what the right function takes
        return False


def ignores(case, forward, implementation, args) -> bool:
    """Whether some array of indices or labels may be in any order: a forward that never looks at
    it has an easy gradient."""
    def loss(at, arg):
        return value(case, forward, implementation, (*args[:at], arg, *args[at + 1:]))
    for at, arg in enumerate(args):
        if isinstance(arg, np.ndarray) and arg.dtype.kind in "iu":
            orders = [np.roll(arg, k) for k in range(1, min(arg.size, ORDERS + 1))]
            others = [one for one in orders if not np.array_equal(one, arg)]
            if others and all(loss(at, one) == loss(at, arg) for one in others):
                return True
    return False


def fits(case, forward, implementation, call: int, at: int, part) -> bool:
    """Whether an array is the gradient for argument ``at`` of a call. Not where that is 0: a
    forward that ignores an argument has an easy gradient.

    All elements are moved together, in directions drawn from the answer itself, which nobody can
    know before it is written: a wrong answer has the right slope in one of them by chance only."""
    if part is None or part.dtype.kind != "f" or not np.isfinite(part).all():
        return False
    if part.shape != forward.calls(*case.args)[call][0][at].shape:
        return False
    seed = hashlib.sha256(part.tobytes()).digest()
    want = slopes(case, forward, implementation, call, at, seed)
    got = np.array([(one * part).sum() for one in directions(part.shape, seed)])
    return bool(want.any()) and close(got, want, part.dtype)


def directions(shape, seed: bytes):
    """Arrays of both signs, none of whose elements is near 0."""
    rng = np.random.default_rng(int.from_bytes(seed, "little"))
    return [rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape) for _ in range(PROBES)]


@functools.lru_cache(maxsize=4096)      # a class makes the same mistakes
def slopes(case, forward, implementation, call: int, at: int, seed: bytes) -> np.ndarray:
    """Of the loss, when argument ``at`` moves in each of the directions: central differences."""
    args, _ = forward.calls(*case.args)[call]

    def moved(step):
        return value(case, forward, implementation, (*args[:at], args[at] + step, *args[at + 1:]))
    return np.array([(moved(STEP * one) - moved(-STEP * one)) / (2 * STEP)
                     for one in directions(args[at].shape, seed)])


def value(case, forward, implementation, args) -> float:
    """The loss where the forward is called with these arguments; ours stay as they are."""
    with np.errstate(all="ignore"):
        return forward.loss(implementation(*copy.deepcopy(args)), *case.args)


def close(got, want, dtype) -> bool:
    """Equal but for the differences' own error, and rounding in the student's precision."""
    scale = max(1.0, float(np.abs(want).max(initial=0)))
    return bool((np.abs(got - want) <= max(ERROR, 64 * np.finfo(dtype).eps) * scale).all())
