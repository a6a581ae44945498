"""What one number of an answer is made of: its receptive field, asked of the solution.

Each number of an argument is replaced by one above all of them, then by one below. Where the
answer's number changes, it is made of that one, whatever the operation is: a sum, a maximum, a
comparison.
"""
from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np

from tinyvision.exercises.quiet import quiet
from tinyvision.grading.assignment import parts_of, run

PLANES, NUMBERS = 64, 256               # of an argument, and of one of its planes, that are tried
ROUNDING = 1e-9                         # of a number: a change of less is none


@dataclass(frozen=True, eq=False)
class Field:
    """A part of an argument.

    Attributes:
        argument: its name and which plane it is, as in ``x[0, 1, :, :]``.
        plane: the numbers of its last two axes.
        used: which of them the answer's number is made of.
    """
    argument: str
    plane: np.ndarray
    used: np.ndarray


@functools.cache
def receptive_field(assignment, i: int, part: int, index: tuple) -> Field | None:
    """What the number at ``index`` of a part of the right answer to case ``i`` is made of, worked
    out once for everybody: of the first image or matrix among the arguments, the first plane that
    it takes some numbers of and leaves others. None where it takes none, or all."""
    case, exercise = assignment.cases[i], assignment.exercise
    names = () if case.driver else exercise.parameters(case)
    for k, (name, array) in enumerate(zip(names, case.args)):
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.ndim < 2:
            continue
        last = (case.function, name) in exercise.channels_last
        image = planes(array, last)
        if not _is_small(image):
            continue
        depends = functools.partial(_depends, assignment, i, k, part, index)
        at = next((at for at in np.ndindex(image.shape[:-2])
                   if depends(place(at, np.s_[:, :], last))), None)
        if at is None:
            continue
        used = np.array([[depends(place(at, (row, column), last))
                          for column in range(image.shape[-1])] for row in range(image.shape[-2])])
        if used.any() and not used.all():
            return Field(name + (f"[{written(at, last)}]" if at else ""), image[at], used)
    return None


def planes(array: np.ndarray, last: bool) -> np.ndarray:
    """The array with rows and columns of its planes at the end; ``last``: channels are there."""
    return np.moveaxis(array, -1, 1) if last and array.ndim == 4 else array


def in_planes(index: tuple, last: bool) -> tuple:
    """An index of the array as one of its `planes`."""
    return (index[0], index[3], *index[1:3]) if last and len(index) == 4 else index


def place(at: tuple, inside: tuple, last: bool) -> tuple:
    """The index of what stands ``inside`` plane ``at`` of `planes`, in the array itself."""
    return (at[0], *inside, at[1]) if last and len(at) == 2 else (*at, *inside)


def written(at: tuple, last: bool, axes: int = 2) -> str:
    """Which plane it is, as a person would index the array."""
    return ", ".join(map(str, place(at, (":",) * axes, last)))


def _is_small(image) -> bool:
    return (image.size > 0 and math.prod(image.shape[-2:]) <= NUMBERS
            and math.prod(image.shape[:-2]) <= PLANES)


def _depends(assignment, i: int, k: int, part: int, index: tuple, where: tuple) -> bool:
    """Whether the answer's number changes with what stands at ``where`` in argument ``k``."""
    exercise, case = assignment.exercise, assignment.cases[i]
    right, array = assignment.expected[i].parts[part], case.args[k]
    finite = array[np.isfinite(array)]
    several = np.random.default_rng(0).random(np.shape(array[where]))   # a sum of weights may be 0
    for value in (finite.max(initial=0) + 1 + several, finite.min(initial=0) - 1 - several):
        other = array.copy()
        other[where] = value
        try:
            with quiet():
                answer = run(exercise, replace(case, args=(*case.args[:k], other,
                                                           *case.args[k + 1:])))
        except Exception:               # the solution refuses it: this tells nothing
            continue
        new = parts_of(answer)[0][part]
        if new.shape == right.shape and not np.isclose(
                new[index], right[index], ROUNDING, ROUNDING, equal_nan=True):
            return True
    return False
