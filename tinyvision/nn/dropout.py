"""Layers that do something in training only, and the one that never does anything."""
from __future__ import annotations

from tinyvision import ops
from tinyvision.engine import Tensor
from tinyvision.nn.module import Module


class Identity(Module):
    """What came; takes any arguments, so that it can stand in for any layer."""

    def __init__(self, *arguments, **options):
        pass

    def forward(self, x):
        """The same tensor."""
        return x if isinstance(x, Tensor) else Tensor(x)


class Dropout(Module):
    """Training: every element is 0 with probability p, else scaled by 1 / (1 - p)."""
    function = staticmethod(ops.dropout)

    def __init__(self, p=0.5):
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p is {p}, expected a probability from 0 to 1")
        self.p = p

    def forward(self, x):
        """The same shape."""
        return type(self).function(x, self.p, self.training)

    def extra_repr(self):
        """The probability."""
        return f"p={self.p}"


class Dropout2d(Dropout):
    """Training: every channel of (N, C, H, W) is 0 as a whole with probability p."""
    function = staticmethod(ops.dropout2d)


class StochasticDepth(Dropout):
    """Training: a residual branch is 0 as a whole with probability p, for a "row" or a "batch"."""

    def __init__(self, p, mode="row"):
        super().__init__(p)
        if mode not in ("row", "batch"):
            raise ValueError(f'StochasticDepth: mode is {mode!r}, expected "row" or "batch"')
        self.mode = mode

    def forward(self, x):
        """The same shape."""
        return ops.stochastic_depth(x, self.p, self.mode, self.training)

    def extra_repr(self):
        """The probability and what is drawn for."""
        return f"p={self.p}, mode={self.mode}"
