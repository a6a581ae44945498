"""relu and gelu."""
from __future__ import annotations

import math
from dataclasses import dataclass

from tinyvision import ops
from tinyvision.bench.cases import Case, call_of, normal


@dataclass(frozen=True)
class Activation(Case):
    """One function on every element of x."""
    halved = "count",
    count: int
    shape: tuple = ()

    @property
    def size(self):
        """Such as "(8,64,56,56)"."""
        return f"({','.join(map(str, self.shape))})" if self.whole else f"({self.count})"

    @property
    def whole(self):
        """Whether this is the case of the table, not a smaller one."""
        return math.prod(self.shape) == self.count

    @property
    def moved(self):
        """x and y, and for the gradient the cotangent."""
        return (8 if self.part == "forward" else 12) * self.count

    def inputs(self, rng):
        """x and, for the gradient, the cotangent."""
        shape = self.shape if self.whole else (self.count,)
        x = normal(rng, *shape)
        return (x,) if self.part == "forward" else (x, normal(rng, *shape))

    def ours(self, x, g=None):
        """tinyvision's."""
        return call_of(getattr(ops, self.operation), (x,), None if g is None else 0, g)

    def jax(self, x, g=None):
        """JAX's, compiled."""
        import jax
        if g is not None:
            return None
        run = jax.jit(getattr(jax.nn, self.operation), **self.options_of_jax)
        return lambda: run(x, **self.settings_of_jax).block_until_ready()


@dataclass(frozen=True)
class ReLU(Activation):
    """max(x, 0)."""
    operation = "relu"
    options_of_jax, settings_of_jax = {}, {}

    @property
    def operations(self):
        """One comparison."""
        return self.count

    def torch(self, x, g=None):
        """PyTorch's."""
        import torch
        if g is None:
            return lambda: torch.relu(x)
        return lambda: torch.ops.aten.threshold_backward(g, x, 0)

    def dezero(self, x, g=None):
        """DeZero's."""
        import dezero.functions as F
        return None if g is not None else lambda: F.relu(x)


@dataclass(frozen=True)
class GELU(Activation):
    """x Phi(x), exact."""
    operation = "gelu"
    options_of_jax, settings_of_jax = {"static_argnames": "approximate"}, {"approximate": False}

    @property
    def operations(self):
        """Two products and erf, counted as one, as exp is."""
        return (3 if self.part == "forward" else 6) * self.count

    def torch(self, x, g=None):
        """PyTorch's."""
        import torch
        if g is None:
            return lambda: torch.nn.functional.gelu(x)
        return lambda: torch.ops.aten.gelu_backward(g, x)


def row(kind, shape, goal):
    """Forward and gradient."""
    return [kind(math.prod(shape), shape, part=part, goal=goal)
            for part in ("forward", "input gradient")]


CASES = [*row(ReLU, (8, 64, 56, 56), 1.0), *row(GELU, (8, 197, 1536), 1.2)]
