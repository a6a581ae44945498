"""Activations, elementwise: relu, leaky_relu, sigmoid, tanh. Backward reads what is cheapest."""
from __future__ import annotations

from dataclasses import dataclass

from tinyvision.device import module_of
from tinyvision.engine import Op, Tensor
from tinyvision.ops.arithmetic import neg


@dataclass(frozen=True)
class ReLU(Op):
    """max(a, 0), its slope chosen from the result: relu(-inf) is 0, the gradient at 0 is 0."""
    needs = "y",

    def forward(self, a):
        return module_of(a).maximum(a, 0)

    def backward(self, g, y, a):
        return Gate(y._data > 0)(g),


@dataclass(frozen=True, eq=False, repr=False)
class Gate(Op):
    """`a` where the mask is true, 0 elsewhere (also where `a` is infinite): its own adjoint."""
    mask: object

    def forward(self, a):
        return module_of(a).where(self.mask, a, a.dtype.type(0))

    def backward(self, g, y, a):
        return self(g),

    def __repr__(self):
        return f"Gate(mask{self.mask.shape})"


@dataclass(frozen=True)
class Tanh(Op):
    """The hyperbolic tangent, with derivative 1 - y^2."""
    needs = "y",

    def forward(self, a):
        return module_of(a).tanh(a)

    def backward(self, g, y, a):
        return g * (1.0 - y * y),


@dataclass(frozen=True)
class Sigmoid(Op):
    """1 / (1 + exp(-a)), as (1 + tanh(a / 2)) / 2, which never overflows."""
    needs = "y",

    def forward(self, a):
        return module_of(a).tanh(a * 0.5) * 0.5 + 0.5

    def backward(self, g, y, a):
        return g * (y * (1.0 - y)),


def relu(a) -> Tensor:
    """max(a, 0). NaN stays NaN."""
    return ReLU()(a)


def leaky_relu(a, negative_slope=0.01) -> Tensor:
    """a where positive, negative_slope times a elsewhere."""
    return relu(a) - negative_slope * relu(neg(a))


def tanh(a) -> Tensor:
    """The hyperbolic tangent."""
    return Tanh()(a)


def sigmoid(a) -> Tensor:
    """1 / (1 + exp(-a)); 0 and 1 far out, without overflow."""
    return Sigmoid()(a)
