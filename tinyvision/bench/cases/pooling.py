"""Pooling: max_pool2d with its indices, max_unpool2d, avg_pool2d."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision import ops
from tinyvision.bench.cases import Case, call_of, normal


@dataclass(frozen=True)
class Pool(Case):
    """x (N, C, H, W) and windows of `kernel` x `kernel`, `stride` apart; y (N, C, A, B)."""
    halved = "N", "C", "H", "W"
    N: int
    C: int
    H: int
    W: int
    kernel: int
    stride: int
    padding: int = 0

    @property
    def size(self):
        """Such as "(8,64,112,112) 3x3 stride 2"."""
        return (f"({self.N},{self.C},{self.H},{self.W}) {self.kernel}x{self.kernel} "
                f"stride {self.stride}")

    @property
    def shape(self):
        """That of y."""
        return (self.N, self.C, *((size + 2 * self.padding - self.kernel) // self.stride + 1
                                  for size in (self.H, self.W)))

    @property
    def counts(self):
        """(elements of x, of y)."""
        return self.N * self.C * self.H * self.W, int(np.prod(self.shape))

    @property
    def arguments(self):
        """Kernel, stride and padding."""
        return self.kernel, self.stride, self.padding

    def inputs(self, rng):
        """x and, for the gradient, the cotangent of y."""
        x = normal(rng, self.N, self.C, self.H, self.W)
        return (x,) if self.part == "forward" else (x, normal(rng, *self.shape))

    def channels_last(self, *tensors):
        """The same calls on other strides."""
        return self.torch(*tensors)


@dataclass(frozen=True)
class MaxPool2d(Pool):
    """Values and indices; the gradient puts every cotangent back to its index."""
    operation = "max_pool2d"

    @property
    def operations(self):
        """A comparison for each of a window's pixels; going back, one addition a window."""
        return self.counts[1] * (self.kernel ** 2 if self.part == "forward" else 1)

    @property
    def moved(self):
        """x, y and the indices, int64 on both sides."""
        x, y = self.counts
        return 4 * x + 12 * y

    def ours(self, x, g=None):
        """tinyvision's."""
        def pool(x):
            return ops.max_pool2d(x, *self.arguments, return_indices=True)
        return call_of(pool, (x,), None if g is None else 0, g)

    def torch(self, x, g=None):
        """PyTorch's."""
        import torch

        def pool():
            return torch.nn.functional.max_pool2d(x, *self.arguments, return_indices=True)
        if g is None:
            return pool
        rest = *([a, a] for a in self.arguments), [1, 1], False, pool()[1]
        return lambda: torch.ops.aten.max_pool2d_with_indices_backward(g, x, *rest)


@dataclass(frozen=True)
class MaxUnpool2d(Pool):
    """y (N, C, A, B) and indices to x (N, C, H, W); windows that do not overlap."""
    operation = "max_unpool2d"

    @property
    def operations(self):
        """One move for each value."""
        return self.counts[1]

    @property
    def moved(self):
        """y, its indices, and x, which is mostly zeros."""
        x, y = self.counts
        return 4 * x + 12 * y

    def inputs(self, rng):
        """Values, and a random place for each in its own window."""
        (N, C, A, B), S = self.shape, self.kernel
        down, across = (rng.integers(0, S, self.shape) for _ in range(2))
        rows, columns = np.arange(A)[:, None] * self.stride, np.arange(B) * self.stride
        return normal(rng, N, C, A, B), (rows + down) * self.W + columns + across

    def ours(self, y, places):
        """tinyvision's."""
        return call_of(lambda y: ops.max_unpool2d(y, places, *self.arguments,
                                                  output_size=(self.H, self.W)), (y,))

    def torch(self, y, places):
        """PyTorch's."""
        import torch
        return lambda: torch.nn.functional.max_unpool2d(y, places, *self.arguments,
                                                        output_size=(self.H, self.W))


@dataclass(frozen=True)
class AvgPool2d(Pool):
    """The mean of every window."""
    operation = "avg_pool2d"

    @property
    def operations(self):
        """An addition for each of a window's pixels, in both directions."""
        return self.counts[1] * self.kernel ** 2

    @property
    def moved(self):
        """x and y."""
        return 4 * sum(self.counts)

    def ours(self, x, g=None):
        """tinyvision's."""
        return call_of(lambda x: ops.avg_pool2d(x, *self.arguments), (x,),
                       None if g is None else 0, g)

    def torch(self, x, g=None):
        """PyTorch's."""
        import torch
        if g is None:
            return lambda: torch.nn.functional.avg_pool2d(x, *self.arguments)
        sizes = [[a, a] for a in self.arguments]
        return lambda: torch.ops.aten.avg_pool2d_backward(g, x, *sizes, False, True, None)


BACK = "input gradient"
LAST = (("channels_last", 0.6),)
CASES = [
    MaxPool2d(8, 64, 112, 112, 2, 2, goal=0.1, goals=LAST),
    MaxPool2d(8, 64, 112, 112, 2, 2, part=BACK, goal=0.3),
    MaxPool2d(8, 64, 112, 112, 3, 2, 1, goal=0.8),
    MaxPool2d(8, 64, 112, 112, 3, 2, 1, part=BACK, goal=0.8),
    MaxUnpool2d(8, 64, 112, 112, 2, 2, goal=0.3),
    AvgPool2d(8, 64, 112, 112, 2, 2, goal=0.1),
    AvgPool2d(8, 64, 112, 112, 2, 2, part=BACK, goal=0.1),
]
