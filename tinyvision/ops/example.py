"""What an example of an operation is, and the random numbers that examples are made of."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Example:
    """A call of one operation.

    Attributes:
        name: of the operation, in `tinyvision.ops`.
        note: what is special about this example.
        function: takes the tensors; gives a Tensor, for choosers one or several arrays.
        tensors: its arguments, arrays.
        linear_in: the arguments in each of which it is linear (a constant may be added), or at
            least f(c x) = c f(x) for c > 0, as in max pooling: the adjoint identity then holds.
        wrt: the arguments with gradients; those of floating dtype unless given.
    """
    name: str
    note: str
    function: Callable
    tensors: tuple
    linear_in: tuple = ()
    wrt: tuple | None = None

    def __post_init__(self):
        if self.wrt is None:
            floating = tuple(k for k, a in enumerate(self.tensors) if a.dtype.kind == "f")
            object.__setattr__(self, "wrt", floating)

    def of_wrt(self, *xs):
        """The function of the arguments with gradients alone; the others stay as they are."""
        every = list(self.tensors)
        for k, x in zip(self.wrt, xs, strict=True):
            every[k] = x
        return self.function(*every)

    def __str__(self):
        return f"{self.name} ({self.note})" if self.note else self.name


class Random:
    """Random arrays of one dtype."""

    def __init__(self, rng, dtype):
        self.rng, self.dtype = rng, np.dtype(dtype)

    def normal(self, *shape):
        """Normally distributed."""
        return self.rng.standard_normal(shape).astype(self.dtype)

    def positive(self, *shape):
        """Between 0.5 and 2."""
        return self.rng.uniform(0.5, 2.0, shape).astype(self.dtype)

    def distinct(self, *shape):
        """Between -2 and 2; no two are close to each other, none to 0."""
        size = int(np.prod(shape))
        steps = self.rng.permutation(size) - size // 2 + 0.4
        return (steps * (4.0 / size)).reshape(shape).astype(self.dtype)

    def whole(self, high, *shape):
        """Whole numbers from 0, below `high`."""
        return self.rng.integers(0, high, shape)

    def boxes(self, count, H, W):
        """Boxes (x0, y0, x1, y1), some over the border; their edges lie nowhere special."""
        x0, y0 = self.rng.uniform(-0.2, 0.6, (2, count)) * [[W], [H]]
        x1, y1 = [x0, y0] + self.rng.uniform(0.3, 0.7, (2, count)) * [[W], [H]]
        return np.stack([x0, y0, x1, y1], 1).astype(self.dtype)

    def rois(self, count, N, H, W):
        """RoIs (batch index, x0, y0, x1, y1)."""
        image = self.whole(N, count, 1).astype(self.dtype)
        return np.concatenate([image, self.boxes(count, H, W)], 1)
