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
def field(assignment, i: int, part: int, index: tuple) -> Field | None:
    """What the number at ``index`` of a part of the right answer to case ``i`` is made of, worked
    out once for everybody: of the first image or matrix among the arguments, the first plane that
    it takes some numbers of and leaves others. None where it takes none, or all."""
    case = assignment.cases[i]
    names = () if case.driver else assignment.exercise.parameters(case)
    for k, (name, array) in enumerate(zip(names, case.args)):
        if not _is_image(array):
            continue
        depends = functools.partial(_depends, assignment, i, k, part, index)
        at = next((at for at in np.ndindex(array.shape[:-2]) if depends((*at, ...))), None)
        if at is None:
            continue
        used = np.array([[depends((*at, row, column)) for column in range(array.shape[-1])]
                         for row in range(array.shape[-2])])
        if used.any() and not used.all():
            place = ", ".join([*map(str, at), ":", ":"])
            return Field(f"{name}[{place}]" if at else name, array[at], used)
    return None


def _is_image(value) -> bool:
    return (isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim >= 2
            and value.size > 0 and math.prod(value.shape[-2:]) <= NUMBERS
            and math.prod(value.shape[:-2]) <= PLANES)


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
