"""What the engine itself costs: tiny tensors, so that nothing but bookkeeping is measured.

A chain of 50 steps `t = t * b + b` on 8 numbers, with all checks on: versions, shapes, dtypes.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision.bench.cases import Case
from tinyvision.engine import Tensor

STEPS = 50


@dataclass(frozen=True)
class Chain(Case):
    """2 `STEPS` operations on 8 numbers, recorded; both sides run the same lines."""
    operation = "engine"
    recorded = True

    @property
    def size(self):
        """Fixed."""
        return f"{2 * STEPS} operations on 8 numbers"

    @property
    def operations(self):
        """Forward; backward about three times that."""
        return 8 * 2 * STEPS * (1 if self.part == "forward" else 4)

    @property
    def moved(self):
        """Next to nothing."""
        return 3 * 32

    def inputs(self, rng):
        """The start, the number that is multiplied and added, and the cotangent."""
        return np.ones(8, np.float32), np.full(8, 0.5, np.float32), np.ones(8, np.float32)

    def ours(self, start, step, one):
        """tinyvision's."""
        return self.program([Tensor(start, True), Tensor(step, True)], Tensor(one))

    def torch(self, start, step, one):
        """PyTorch's."""
        return self.program([start.requires_grad_(), step.requires_grad_()], one)

    def program(self, leaves, one):
        """The lines that are timed."""
        def both():
            for p in leaves:
                p.grad = None
            chain(*leaves).backward(one)
            return leaves[0].grad, leaves[1].grad
        return (lambda: chain(*leaves)) if self.part == "forward" else both


def chain(t, b):
    """50 multiplications and 50 additions."""
    for _ in range(STEPS):
        t = t * b + b
    return t


CASES = [Chain(goal=0.6), Chain(part="forward and backward", goal=0.8)]
