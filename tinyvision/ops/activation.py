"""Activations, elementwise: relu, leaky_relu, sigmoid, tanh, gelu. Backward reads the cheapest.

Their kernels are in `elementwise`; small arrays are left to NumPy, which has no threads to start.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision.device import module_of
from tinyvision.engine import Op, Tensor
from tinyvision.ops import elementwise
from tinyvision.ops.arithmetic import exp, neg
from tinyvision.ops.elementwise import CUBIC, GELU, GELU_TANH, ROOT, SIGMOID, TANH, run, small


@dataclass(frozen=True)
class ReLU(Op):
    """max(a, 0), its slope chosen from the result: relu(-inf) is 0, the gradient at 0 is 0."""
    needs = "y",

    def forward(self, a):
        return module_of(a).maximum(a, 0) if small(a) else run(elementwise.rectify, (a,), 0.0)

    def backward(self, g, y, a):
        return RectifierBackward(0.0)(g, y),


@dataclass(frozen=True)
class LeakyReLU(Op):
    """`a` where it is positive, slope * a elsewhere; the slope is positive, so y has a's sign."""
    slope: float
    needs = "y",

    def forward(self, a):
        if small(a):
            return module_of(a).where(a > 0, a, a.dtype.type(self.slope) * a)
        return run(elementwise.rectify, (a,), self.slope)

    def backward(self, g, y, a):
        return RectifierBackward(self.slope)(g, y),


@dataclass(frozen=True)
class RectifierBackward(Op):
    """g, and slope * g where y is not positive (with slope 0 that is 0, also if g is infinite)."""
    slope: float
    needs = "y",

    def forward(self, g, y):
        if small(g) and self.slope:
            return module_of(g).where(y > 0, g, g.dtype.type(self.slope) * g)
        if small(g):
            return module_of(g).where(y <= 0, g.dtype.type(0), g)
        return run(elementwise.rectify_backward, (g, y), self.slope)

    def backward(self, h, out, g, y):
        return g.requires_grad and self(h, y), None


@dataclass(frozen=True)
class Tanh(Op):
    """The hyperbolic tangent, with derivative 1 - y^2."""
    needs = "y",

    def forward(self, a):
        return module_of(a).tanh(a) if small(a) else run(elementwise.smooth, (a,), TANH)

    def backward(self, g, y, a):
        return TanhBackward()(g, y),


@dataclass(frozen=True)
class TanhBackward(Op):
    """g (1 - y^2)."""
    needs = "g", "y"

    def forward(self, g, y):
        return g * (1 - y * y) if small(g) else run(elementwise.smooth_backward, (g, y), TANH)

    def backward(self, h, out, g, y):
        return g.requires_grad and self(h, y), y.requires_grad and h * g * (-2.0 * y)


@dataclass(frozen=True)
class Sigmoid(Op):
    """1 / (1 + exp(-a)); small arrays as (1 + tanh(a / 2)) / 2, which never overflows."""
    needs = "y",

    def forward(self, a):
        if small(a):
            return module_of(a).tanh(a * 0.5) * 0.5 + 0.5
        return run(elementwise.smooth, (a,), SIGMOID)

    def backward(self, g, y, a):
        return SigmoidBackward()(g, y),


@dataclass(frozen=True)
class SigmoidBackward(Op):
    """g y (1 - y)."""
    needs = "g", "y"

    def forward(self, g, y):
        return g * (y * (1 - y)) if small(g) else run(elementwise.smooth_backward, (g, y), SIGMOID)

    def backward(self, h, out, g, y):
        return g.requires_grad and self(h, y), y.requires_grad and h * g * (1.0 - 2.0 * y)


@dataclass(frozen=True)
class Gelu(Op):
    """a Phi(a), Phi the normal distribution function, or its approximation by tanh."""
    kind: int
    needs = "a",

    def forward(self, a):
        return run(elementwise.smooth, (a,), self.kind)

    def backward(self, g, y, a):
        return GELUBackward(self.kind)(g, a),

    def __repr__(self):
        return "GELU(tanh)" if self.kind == GELU_TANH else "GELU()"


@dataclass(frozen=True)
class GELUBackward(Op):
    """g times gelu's slope at x."""
    kind: int
    needs = "g", "x"

    def forward(self, g, x):
        return run(elementwise.smooth_backward, (g, x), self.kind)

    def backward(self, h, out, g, x):
        curve = curve_of_gelu_tanh if self.kind == GELU_TANH else curve_of_gelu
        return g.requires_grad and self(h, x), x.requires_grad and h * g * curve(x)


def curve_of_gelu(x):
    """gelu's second derivative, phi(x) (2 - x^2)."""
    return exp(-0.5 * (x * x)) * (2.0 - x * x) * (1 / np.sqrt(2 * np.pi))


def curve_of_gelu_tanh(x):
    """The same of x/2 (1 + t), t = tanh(u): t' + x/2 t'', t' = (1 - t^2) u'."""
    t = tanh(ROOT * (x + CUBIC * (x * x * x)))
    u1, u2 = ROOT * (1.0 + 3 * CUBIC * (x * x)), (6 * CUBIC * ROOT) * x
    return (1.0 - t * t) * (u1 + 0.5 * x * (u2 - 2.0 * t * (u1 * u1)))


def relu(a) -> Tensor:
    """max(a, 0). NaN stays NaN."""
    return ReLU()(a)


def leaky_relu(a, negative_slope=0.01) -> Tensor:
    """a where positive, negative_slope times a elsewhere."""
    if negative_slope > 0:
        return LeakyReLU(float(negative_slope))(a)
    return relu(a) - negative_slope * relu(neg(a))


def tanh(a) -> Tensor:
    """The hyperbolic tangent."""
    return Tanh()(a)


def sigmoid(a) -> Tensor:
    """1 / (1 + exp(-a)); 0 and 1 far out, without overflow."""
    return Sigmoid()(a)


def gelu(x, approximate="none") -> Tensor:
    """x Phi(x): every x weighted by the probability that a normal number lies below it.

    Args:
        x: any shape, floating.
        approximate: "none", or "tanh" for x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).

    Hendrycks & Gimpel 2016. Like `torch.nn.functional.gelu`.

    Raises:
        ValueError: an unknown approximation.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f'gelu: approximate is {approximate!r}, expected "none" or "tanh"')
    return Gelu(GELU if approximate == "none" else GELU_TANH)(x)
