"""Smooth activations: silu, mish, softplus, logsigmoid, elu, selu.

    silu x = x sigmoid x              softplus x = log(1 + e^x)        logsigmoid x = -softplus(-x)
    mish x = x tanh softplus x        elu x = x, below 0 e^x - 1       selu x = scale elu x
"""
from __future__ import annotations

from dataclasses import dataclass

from tinyvision.device import module_of
from tinyvision.engine import Op, Tensor
from tinyvision.ops.activation import sigmoid, tanh
from tinyvision.ops.arithmetic import exp
from tinyvision.ops.composed import composed_backward
from tinyvision.ops.elementwise import run, small
from tinyvision.ops.elementwise_curves import MISH, SILU, SOFTPLUS, curve, curve_backward
from tinyvision.ops.select import Clamp, Where

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


@dataclass(frozen=True)
class SiLU(Op):
    """a sigmoid(a). The graph keeps a alone, also of the two below."""
    kind = SILU
    needs = "a",

    def forward(self, a):
        return self.few(a, module_of(a)) if small(a) else run(curve, (a,), self.kind)

    def backward(self, g, y, a):
        return CurveBackward(self.kind)(g, a),

    def few(self, a, xp):
        """The same for few elements, by NumPy."""
        return a * (0.5 + 0.5 * xp.tanh(0.5 * a))


@dataclass(frozen=True)
class Softplus(SiLU):
    """log(1 + e^a) = max(a, 0) + log(1 + e^-|a|): its slope is the sigmoid."""
    kind = SOFTPLUS

    def few(self, a, xp):
        return xp.maximum(a, 0) + xp.log1p(xp.exp(-xp.abs(a)))


@dataclass(frozen=True)
class Mish(SiLU):
    """a tanh(softplus(a))."""
    kind = MISH

    def few(self, a, xp):
        return a * xp.tanh(xp.maximum(a, 0) + xp.log1p(xp.exp(-xp.abs(a))))


@dataclass(frozen=True)
class CurveBackward(Op):
    """g times the slope at x of the function of that number."""
    kind: int
    needs = "g", "x"

    def forward(self, g, x):
        return run(curve_backward, (g, x), self.kind)

    def backward(self, h, out, g, x):
        return composed_backward(self.composed, h, g, x)

    def composed(self, g, x):
        """The same in plain operations."""
        s = sigmoid(x)
        if self.kind == SILU:
            s = s * (1.0 + x * (1.0 - s))
        elif self.kind == MISH:
            t = tanh(Softplus()(x))
            s = t + x * s * (1.0 - t * t)
        return g * s


@dataclass(frozen=True)
class ELU(Op):
    """a where positive, alpha (e^a - 1) elsewhere."""
    alpha: float
    needs = "a",

    def forward(self, a):
        xp = module_of(a)
        return xp.where(a > 0, a, a.dtype.type(self.alpha) * xp.expm1(xp.minimum(a, 0)))

    def backward(self, g, y, a):
        slope = self.alpha * exp(Clamp(None, 0.0)(a))        # what is not chosen must not overflow
        return Where(a._data > 0)(g, g * slope),


def silu(input) -> Tensor:
    """x sigmoid(x), also called swish (Elfwing 2017, Ramachandran 2017)."""
    return SiLU()(input)


def mish(input) -> Tensor:
    """x tanh(log(1 + e^x)) (Misra 2019)."""
    return Mish()(input)


def softplus(input, beta=1.0, threshold=20.0) -> Tensor:
    """log(1 + e^(beta x)) / beta: a relu with a round corner.

    Args:
        input: any shape, floating.
        beta: the larger, the sharper the corner.
        threshold: x itself where beta x is above it. PyTorch's, against overflow, which ours does
            not need.

    Raises:
        ValueError: a beta of 0.
    """
    if beta == 0:
        raise ValueError("softplus: beta is 0, expected another number")
    x = _tensor(input)
    y = Softplus()(x) if beta == 1 else Softplus()(x * float(beta)) / float(beta)
    far = x.data * float(beta) > threshold
    return Where(far)(x, y) if far.any() else y


def logsigmoid(input) -> Tensor:
    """log sigmoid(x) = -log(1 + e^-x), without overflow."""
    return -Softplus()(-_tensor(input))


def elu(input, alpha=1.0) -> Tensor:
    """x where positive, alpha (e^x - 1) elsewhere (Clevert 2015)."""
    return ELU(float(alpha))(input)


def selu(input) -> Tensor:
    """elu scaled so that activations of mean 0 and variance 1 stay so (Klambauer 2017)."""
    return SELU_SCALE * elu(input, SELU_ALPHA)


def _tensor(x):
    return x if isinstance(x, Tensor) else Tensor(x)
