"""Follow-through: a gradient that is right for the student's own forward, which is wrong.

A mistake in ``op`` should cost its points once. Where a student's ``op`` answers every case as a
known mistake does, that mistake's function is the student's own, and its derivative is had by
central differences, here, without running anything of the student's again. An ``op_backward`` that
equals it is right for what it belongs to. A forward that nobody recognises earns nothing in this
way: one that is made to have an easy gradient would.
"""
from __future__ import annotations

import copy
import functools
import inspect

import numpy as np

STEP = 1e-5                             # of arguments of size 1: the error is STEP^2, rounding 1e-11
ERROR = 1e-6                            # of the largest element


def forward_of(exercise, function: str) -> str | None:
    """The name of the forward function of ``op_backward(g, ...)``, which takes the rest."""
    forward = function.removesuffix("_backward")
    if forward == function or forward not in exercise.functions:
        return None
    names = [list(inspect.signature(exercise.functions[f]).parameters)
             for f in (function, forward)]
    return forward if names[0] == ["g", *names[1]] else None


def follows(case, implementation, parts) -> bool:
    """Whether a backward's answer is the gradient of this forward.

    Arguments:
        case: of the backward: g, then the forward's arguments.
        implementation: the forward, NumPy arrays in float64.
        parts: the answer's arrays: gradients of the first float arguments, in their order.
    """
    wanted = gradients(case, implementation, len(parts))
    return bool(wanted) and all(part is not None and part.shape == want.shape and close(part, want)
                                for part, want in zip(parts, wanted))


@functools.lru_cache(maxsize=1024)      # a class makes the same mistakes
def gradients(case, implementation, count: int) -> tuple:
    """Of the forward's first ``count`` float arguments; () where they are not to be had, or one
    is 0: a forward that ignores an argument has an easy gradient."""
    g, *args = case.args
    floats = [i for i, arg in enumerate(args)
              if isinstance(arg, np.ndarray) and arg.dtype.kind == "f"]
    try:
        found = [gradient(implementation, args, i, g) for i in floats[:count]]
    except Exception:                   # a mistake may refuse what the right function takes
        return ()
    return tuple(found) if len(found) == count and all(one.any() for one in found) else ()


def gradient(function, args, at: int, g):
    """Of <function(*args), g> with respect to one argument, by central differences."""
    def value(k, change):
        moved = list(copy.deepcopy(args))
        moved[at].flat[k] += change
        y = function(*moved)
        if np.shape(y) != g.shape:
            raise ValueError(f"the forward has shape {np.shape(y)}, g {g.shape}")
        return float((y * g).sum())
    found = [(value(k, STEP) - value(k, -STEP)) / (2 * STEP) for k in range(args[at].size)]
    return np.array(found).reshape(args[at].shape)


def close(got, want) -> bool:
    """Equal but for the differences' own error, and rounding in the student's precision."""
    if got.dtype.kind != "f" or not np.isfinite(got).all():
        return False
    scale = max(1.0, float(np.abs(want).max(initial=0)))
    return bool((np.abs(got - want) <= max(ERROR, 64 * np.finfo(got.dtype).eps) * scale).all())
