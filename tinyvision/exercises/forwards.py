"""Which forward a gradient belongs to, and how to call it with what the backward was given.

Mostly that is plain: ``op_backward(g, ...)`` takes exactly what ``op`` takes. An exercise says it
for the others: those that take two gradients, only some of the arguments, or a size for an input.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np

from tinyvision.exercises.quiet import quiet

APART = 1e-4                            # more than differences move anything, less than matters


def product(answer, g, *others) -> float:
    """<answer, g>, whose gradients a backward returns; ValueError where their shapes differ."""
    if np.shape(answer) != np.shape(g):
        raise ValueError(f"the forward has shape {np.shape(answer)}, g {np.shape(g)}")
    return float((answer * g).sum())


@dataclass(frozen=True)
class Forward:
    """The forward of one backward.

    Attributes:
        name: the function's name.
        calls: ``calls(*arguments of the backward) -> [(arguments, positions), ...]``, calls of the
            forward; the gradients belong to the arguments at these positions, in their order.
            What the backward is not given is filled in, in each call otherwise: an answer has to
            be right for all of them, so a gradient that depends on it has no right answer.
        loss: ``loss(answer, *arguments of the backward)``, the number whose gradients are meant.
    """
    name: str
    calls: Callable
    loss: Callable = product


def same_arguments(g, *args):
    """The one call with what comes behind g; gradients belong to the first arrays of floats."""
    return [(args, [i for i, arg in enumerate(args)
                    if isinstance(arg, np.ndarray) and arg.dtype.kind == "f"])]


def resized(exercise, function: str, args: tuple, resize) -> tuple | None:
    """A backward's arguments with g as ``resize(g, shape)``, of the shape that its forward has for
    the others; other functions' arguments as they are. None where the forward refuses the others,
    or ``resize`` is None of what it is given."""
    forward = exercise.forward(function)
    if forward is None or forward.calls is not same_arguments:
        return args
    try:
        with quiet():
            shape = np.shape(exercise.functions[forward.name](*args[1:]))
    except Exception:                   # sizes that do not go together
        return None
    g = resize(args[0], shape)
    return None if g is None else (g, *args[1:])


def inputs(shape) -> tuple[np.ndarray, np.ndarray]:
    """Two inputs for a backward that knows only their shape. Their signs differ, and of any two
    elements the larger is the smaller in the other: a gradient through a maximum differs, too."""
    size = int(np.prod(shape))
    x = (np.random.default_rng(0).permutation(size) + 1.0).reshape(shape) / max(size, 1)
    return x, -x


def untied(x: np.ndarray, first: bool = True) -> np.ndarray:
    """The array with equal elements a little apart, the first of them the largest (or the last):
    where a choice among equals is agreed on, that gives it a derivative."""
    flat = x.ravel() if first else x.ravel()[::-1]
    order = np.argsort(flat, kind="stable")
    _, begins, group = np.unique(flat[order], return_index=True, return_inverse=True)
    place = np.empty(x.size)
    place[order] = np.arange(x.size) - begins[group]
    return x - APART * (place if first else place[::-1]).reshape(x.shape)
