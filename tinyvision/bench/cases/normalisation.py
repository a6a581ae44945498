"""batch_norm, layer_norm, cross_entropy."""
from __future__ import annotations

from dataclasses import dataclass

from tinyvision import ops
from tinyvision.bench.cases import Case, call_of, normal, round_by_torch, round_of
from tinyvision.engine import as_array

EPS = 1e-5
ALL = 0, 1, 2                # gradients of x, weight and bias: what a training step asks for


@dataclass(frozen=True)
class BatchNorm(Case):
    """x (N, C, H, W) by the batch's statistics, the running ones kept up."""
    operation = "batch_norm"
    halved = "N", "C", "H", "W"
    N: int
    C: int
    H: int
    W: int

    @property
    def size(self):
        """Such as "(8,64,56,56)"."""
        return f"({self.N},{self.C},{self.H},{self.W})"

    @property
    def elements(self):
        """Of x."""
        return self.N * self.C * self.H * self.W

    @property
    def operations(self):
        """Mean, variance, normalisation; going back two sums and the combination."""
        return (6 if self.part == "forward" else 9) * self.elements

    @property
    def moved(self):
        """x and y; for gradients x, the cotangent and the gradient, once each."""
        return (8 if self.part == "forward" else 12) * self.elements

    def inputs(self, rng):
        """x, weight, bias and, for gradients, the cotangent."""
        x = normal(rng, self.N, self.C, self.H, self.W)
        arrays = x, normal(rng, self.C), normal(rng, self.C)
        return arrays if self.part == "forward" else (*arrays, normal(rng, *x.shape))

    def ours(self, x, weight, bias, g=None):
        """tinyvision's."""
        mean, variance = as_array(weight) * 0, as_array(weight) * 0 + 1

        def norm(x, weight, bias):
            return ops.batch_norm(x, mean, variance, weight, bias, True, 0.1, EPS)
        return call_of(norm, (x, weight, bias), None if g is None else ALL, g)

    def torch(self, x, weight, bias, g=None):
        """PyTorch's."""
        import torch
        mean, variance = torch.zeros_like(weight), torch.ones_like(weight)
        if g is None:
            return lambda: torch.nn.functional.batch_norm(x, mean, variance, weight, bias, True,
                                                          0.1, EPS)
        _, m, r = torch.native_batch_norm(x, weight, bias, mean, variance, True, 0.1, EPS)
        return lambda: torch.ops.aten.native_batch_norm_backward(
            g, x, weight, mean, variance, m, r, True, EPS, [True] * 3)

    def channels_last(self, *tensors):
        """The same calls on other strides."""
        return self.torch(*tensors)


@dataclass(frozen=True)
class LayerNorm(Case):
    """x (N, L, D), every place normalised over its D numbers."""
    operation = "layer_norm"
    halved = "N", "L", "D"
    N: int
    L: int
    D: int

    @property
    def size(self):
        """Such as "(8,197,384)"."""
        return f"({self.N},{self.L},{self.D})"

    @property
    def operations(self):
        """As batch_norm's."""
        return (6 if self.part == "forward" else 9) * self.N * self.L * self.D

    @property
    def moved(self):
        """As batch_norm's."""
        return (8 if self.part == "forward" else 12) * self.N * self.L * self.D

    def inputs(self, rng):
        """x, weight, bias and, for gradients, the cotangent."""
        x = normal(rng, self.N, self.L, self.D)
        arrays = x, normal(rng, self.D), normal(rng, self.D)
        return arrays if self.part == "forward" else (*arrays, normal(rng, *x.shape))

    def ours(self, x, weight, bias, g=None):
        """tinyvision's."""
        return call_of(lambda x, w, b: ops.layer_norm(x, (self.D,), w, b, EPS), (x, weight, bias),
                       None if g is None else ALL, g)

    def torch(self, x, weight, bias, g=None):
        """PyTorch's."""
        import torch
        if g is None:
            return lambda: torch.nn.functional.layer_norm(x, (self.D,), weight, bias, EPS)
        _, m, r = torch.native_layer_norm(x, (self.D,), weight, bias, EPS)
        return lambda: torch.ops.aten.native_layer_norm_backward(
            g, x, [self.D], m, r, weight, bias, [True] * 3)


@dataclass(frozen=True)
class CrossEntropy(Case):
    """Scores (N, C, H, W) against labels (N, H, W)."""
    operation = "cross_entropy"
    halved = "N", "H", "W"
    N: int
    C: int
    H: int
    W: int

    @property
    def recorded(self):
        """The round records a graph."""
        return self.part != "forward"

    @property
    def size(self):
        """Such as "(8,21,128,128)"."""
        return f"({self.N},{self.C},{self.H},{self.W})"

    @property
    def operations(self):
        """Maximum, difference, exp (counted as one), sum; with the gradient three more."""
        return (4 if self.part == "forward" else 7) * self.N * self.C * self.H * self.W

    @property
    def moved(self):
        """Scores and labels are read; the gradient is written."""
        scores = self.N * self.C * self.H * self.W
        return (4 if self.part == "forward" else 8) * scores + 8 * scores // self.C

    def inputs(self, rng):
        """Scores and labels."""
        return (normal(rng, self.N, self.C, self.H, self.W),
                rng.integers(0, self.C, (self.N, self.H, self.W)))

    def ours(self, scores, labels):
        """tinyvision's."""
        def cost(scores):
            return ops.cross_entropy(scores, labels)
        return call_of(cost, (scores,)) if self.part == "forward" else round_of(cost, (scores,),
                                                                                (0,))

    def torch(self, scores, labels):
        """PyTorch's."""
        import torch

        def cost(scores):
            return torch.nn.functional.cross_entropy(scores, labels)
        return ((lambda: cost(scores)) if self.part == "forward" else
                round_by_torch(cost, (scores,), (0,)))


BACK, ROUND = "gradients", "forward and gradient"
CASES = [
    BatchNorm(8, 64, 56, 56, goal=0.3),
    BatchNorm(8, 64, 56, 56, part=BACK, goal=0.7),
    LayerNorm(8, 197, 384, goal=0.9),
    LayerNorm(8, 197, 384, part=BACK, goal=0.9),
    CrossEntropy(8, 21, 128, 128, goal=0.6),
    CrossEntropy(8, 21, 128, 128, part=ROUND, goal=0.6),
]
