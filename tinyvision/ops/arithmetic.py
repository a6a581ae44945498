"""Elementwise arithmetic, with broadcasting: +, -, *, /, powers, exp, log, sqrt, casts.

Each op is one line of calculus. A Python number is a hyper-parameter of its op (`Scale`, `Shift`,
`Pow`), never an array, so float32 stays float32 under NumPy 2's rules.
"""
from __future__ import annotations

import operator
from dataclasses import dataclass
from numbers import Number

import numpy as np

from tinyvision.device import module_of
from tinyvision.engine import Op, Tensor, as_array, binary
from tinyvision.ops.elementwise import EXPONENTIAL, run, small, smooth, smooth_backward
from tinyvision.ops.shape import sum_to


class Elementwise(Op):
    """An op that broadcasts its inputs; the engine has their gradients summed back."""

    def fit(self, g, shape):
        """`g` summed over the axes along which an input of `shape` was repeated."""
        return sum_to(g, shape)


@dataclass(frozen=True)
class Add(Elementwise):
    """a + b."""

    forward = staticmethod(operator.add)

    def backward(self, g, y, a, b):
        return g, g


@dataclass(frozen=True)
class Sub(Elementwise):
    """a - b."""

    forward = staticmethod(operator.sub)

    def backward(self, g, y, a, b):
        return g, b.requires_grad and -g


@dataclass(frozen=True)
class Mul(Elementwise):
    """a * b: bilinear, each gradient is the cotangent times the other."""
    needs = "a", "b"
    bilinear = True

    forward = staticmethod(operator.mul)

    def backward(self, g, y, a, b):
        return a.requires_grad and g * b, b.requires_grad and g * a


@dataclass(frozen=True)
class Div(Elementwise):
    """a / b."""
    needs = "y", "b"

    def forward(self, a, b):
        return a / b

    def backward(self, g, y, a, b):
        return a.requires_grad and g / b, b.requires_grad and -(g * y / b)


@dataclass(frozen=True)
class Scale(Op):
    """c * a, for a number c: linear, its own adjoint."""
    c: float

    def forward(self, a):
        return a * self.c

    def backward(self, g, y, a):
        return self(g),


@dataclass(frozen=True)
class Shift(Op):
    """a + c, for a number c."""
    c: float

    def forward(self, a):
        return a + self.c

    def backward(self, g, y, a):
        return g,


@dataclass(frozen=True)
class Pow(Op):
    """a ** n, for a number n."""
    n: float
    needs = "a",

    def forward(self, a):
        return a ** self.n

    def backward(self, g, y, a):
        if self.n == 0:
            return g * 0.0,
        return g * (self.n * Pow(self.n - 1)(a)),


@dataclass(frozen=True)
class Exp(Op):
    """e ** a: its own derivative."""
    needs = "y",

    def forward(self, a):
        return module_of(a).exp(a) if small(a) else run(smooth, (a,), EXPONENTIAL)

    def backward(self, g, y, a):
        return ExpBackward()(g, y),


@dataclass(frozen=True)
class ExpBackward(Op):
    """g y, for a y as large as g: on all cores."""
    needs = "g", "y"

    def forward(self, g, y):
        return g * y if small(g) else run(smooth_backward, (g, y), EXPONENTIAL)

    def backward(self, h, out, g, y):
        return g.requires_grad and self(h, y), y.requires_grad and self(h, g)


@dataclass(frozen=True)
class Log(Op):
    """The natural logarithm."""
    needs = "a",

    def forward(self, a):
        return module_of(a).log(a)

    def backward(self, g, y, a):
        return g / a,


@dataclass(frozen=True)
class Sqrt(Op):
    """The square root; its derivative 1 / (2 y) reads the result."""
    needs = "y",

    def forward(self, a):
        return module_of(a).sqrt(a)

    def backward(self, g, y, a):
        return g / (2.0 * y),


@dataclass(frozen=True)
class Cast(Op):
    """The same numbers in another floating dtype."""
    dtype: np.dtype

    def forward(self, a):
        return a.astype(self.dtype)

    def backward(self, g, y, a):
        return Cast(a.dtype)(g),


@dataclass(frozen=True)
class Over(Op):
    """a / c, for a number c (one rounding, where a * (1 / c) has two)."""
    c: float

    def forward(self, a):
        return a / self.c

    def backward(self, g, y, a):
        return self(g),


@dataclass(frozen=True)
class Under(Op):
    """c / a, for a number c."""
    c: float
    needs = "y", "a"

    def forward(self, a):
        return self.c / a

    def backward(self, g, y, a):
        return -(g * y / a),


ADD, SUB, MUL, DIV, EXP, LOG, SQRT = Add(), Sub(), Mul(), Div(), Exp(), Log(), Sqrt()


def is_number(x) -> bool:
    """Python's and NumPy's scalars: they take the other operand's dtype and device."""
    return isinstance(x, (Number, np.generic))


def _plain(x):
    return x.item() if isinstance(x, np.generic) else x


def operands(a, b):
    """Both as tensors; masks and counts beside a floating tensor take its dtype."""
    a, b = (x if isinstance(x, Tensor) else Tensor(x) for x in (a, b))
    if a.dtype.kind != b.dtype.kind:
        if a.dtype.kind == "f" and not b.requires_grad:
            b = Tensor(b._data.astype(a.dtype))
        elif b.dtype.kind == "f" and not a.requires_grad:
            a = Tensor(a._data.astype(b.dtype))
    return a, b


def _add(a, b):
    if is_number(b):
        return Shift(_plain(b))(a)
    return Shift(_plain(a))(b) if is_number(a) else ADD(*operands(a, b))


def _sub(a, b):
    if is_number(b):
        return Shift(-_plain(b))(a)
    return Shift(_plain(a))(neg(b)) if is_number(a) else SUB(*operands(a, b))


def _mul(a, b):
    if is_number(b):
        return Scale(_plain(b))(a)
    return Scale(_plain(a))(b) if is_number(a) else MUL(*operands(a, b))


add, sub, mul = binary(ADD, _add), binary(SUB, _sub), binary(MUL, _mul)
add.__doc__ = "a + b, broadcast as NumPy does."
sub.__doc__ = "a - b, broadcast as NumPy does."
mul.__doc__ = "a * b, broadcast as NumPy does."


def div(a, b) -> Tensor:
    """a / b, broadcast as NumPy does."""
    if is_number(b):
        return Over(_plain(b))(a)
    return Under(_plain(a))(b) if is_number(a) else DIV(*operands(a, b))


def neg(a) -> Tensor:
    """-a."""
    return Scale(-1.0 if as_array(a).dtype.kind == "f" else -1)(a)


def power(a, n) -> Tensor:
    """a ** n, where one of the two is a number.

    Raises:
        TypeError: both are tensors; write exp(n * log(a)), which needs a > 0.
    """
    if is_number(n):
        return Pow(_plain(n))(a)
    if is_number(a):
        return exp(n * float(np.log(a)))
    raise TypeError("power: got two tensors, expected one of them to be a number; "
                    "write exp(n * log(a)), which needs a > 0")


def exp(a) -> Tensor:
    """e ** a."""
    return EXP(a)


def log(a) -> Tensor:
    """The natural logarithm; -inf at 0."""
    return LOG(a)


def sqrt(a) -> Tensor:
    """The square root; its gradient at 0 is infinite."""
    return SQRT(a)


def cast(a, dtype) -> Tensor:
    """`a` in another dtype; differentiable between floating ones."""
    return Cast(np.dtype(dtype))(a)
