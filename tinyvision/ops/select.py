"""Choosing element by element: where, maximum, minimum, clamp, abs, the largest along an axis.

What is chosen is chosen on arrays, forward; the gradient goes where the value came from. Where two
are equal, `maximum`, `minimum`, `amax` and `amin` share it out evenly, as PyTorch does.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision.device import module_of
from tinyvision.engine import Op, Tensor, as_array
from tinyvision.ops.arithmetic import Elementwise, is_number, operands
from tinyvision.ops.check import same_device
from tinyvision.ops.shape import Reshape, normal_axes


@dataclass(frozen=True, eq=False, repr=False)
class Where(Elementwise):
    """a where the mask says so, b elsewhere: linear in each."""
    mask: object

    def forward(self, a, b):
        return module_of(self.mask).where(self.mask, a, b)

    def backward(self, g, y, a, b):
        zero = Tensor(module_of(self.mask).zeros((), g.dtype))
        return (a.requires_grad and Where(self.mask)(g, zero),
                b.requires_grad and Where(self.mask)(zero, g))

    def __repr__(self):
        return f"Where(mask{self.mask.shape})"


@dataclass(frozen=True)
class Maximum(Elementwise):
    """The larger of a and b."""
    sign = 1
    needs = "a", "b"

    def forward(self, a, b):
        return module_of(a).maximum(a, b)

    def backward(self, g, y, a, b):
        share = _share(self.sign * a._data, self.sign * b._data)
        return a.requires_grad and g * Tensor(share), b.requires_grad and g * Tensor(1 - share)


@dataclass(frozen=True)
class Minimum(Maximum):
    """The smaller of a and b."""
    sign = -1

    def forward(self, a, b):
        return module_of(a).minimum(a, b)


def _share(a, b):
    """a's part in the larger of both: 1, 0, or a half where they are equal."""
    half = a.dtype.type(0.5)
    return (a > b) * half + (a >= b) * half


@dataclass(frozen=True)
class Clamp(Op):
    """a, moved between low and high; with `ends` the gradient still passes at these themselves."""
    low: float | None
    high: float | None
    ends: bool = True
    needs = "a",

    def forward(self, a):
        return module_of(a).clip(a, self.low, self.high)

    def backward(self, g, y, a):
        return g * Tensor(self._inside(a._data).astype(a.dtype)),

    def _inside(self, a):
        inside = a == a
        if self.low is not None:
            inside &= a >= self.low if self.ends else a > self.low
        if self.high is not None:
            inside &= a <= self.high if self.ends else a < self.high
        return inside


@dataclass(frozen=True)
class Abs(Op):
    """|a|; the gradient at 0 is 0."""
    needs = "a",

    def forward(self, a):
        return module_of(a).abs(a)

    def backward(self, g, y, a):
        return g * Tensor(module_of(a._data).sign(a._data)),


@dataclass(frozen=True)
class Extreme(Op):
    """The largest along `axes`, or the smallest; these stay as axes of size 1."""
    axes: tuple
    largest: bool
    needs = "y", "a"

    def forward(self, a):
        return (a.max if self.largest else a.min)(self.axes, keepdims=True)

    def backward(self, g, y, a):
        same = a._data == y._data
        return g * Tensor(same / same.sum(self.axes, keepdims=True).astype(a.dtype)),


def where(condition, input, other) -> Tensor:
    """`input` where the condition holds, `other` elsewhere; all three are broadcast.

    Like `torch.where`. The condition is boolean; where it does not choose an element, no gradient
    reaches it, not even of an element whose own gradient would be infinite.

    Raises:
        TypeError: a condition that is not boolean, or two numbers without a tensor.
    """
    mask = as_array(condition)
    same_device("where", condition=mask, **{
        k: v for k, v in (("input", input), ("other", other)) if not is_number(v)})
    if mask.dtype != bool:
        raise TypeError(f"where: condition is {mask.dtype}, expected bool; compare with something")
    return Where(mask)(*_pair("where", input, other))


def _pair(name, a, b):
    """Both as tensors of one dtype; a number takes the other's."""
    if is_number(a) and is_number(b):
        raise TypeError(f"{name}: got the numbers {a} and {b}, expected at least one tensor")
    if is_number(a) or is_number(b):
        like = as_array(b if is_number(a) else a)
        a, b = (module_of(like).asarray(x, like.dtype) if is_number(x) else x for x in (a, b))
    return operands(a, b)


def maximum(input, other) -> Tensor:
    """The larger of both, elementwise; NaN counts as the largest. Either may be a number."""
    return Maximum()(*_pair("maximum", input, other))


def minimum(input, other) -> Tensor:
    """The smaller of both, elementwise; NaN counts as the smallest. Either may be a number."""
    return Minimum()(*_pair("minimum", input, other))


def clamp(input, min=None, max=None) -> Tensor:
    """Every element moved into [min, max]; None is no bound. Like `torch.clamp`.

    Raises:
        ValueError: neither bound, or min above max.
    """
    if min is None and max is None or None not in (min, max) and min > max:
        raise ValueError(f"clamp: min is {min} and max is {max}, expected at least one number, "
                         "and min not above max")
    return Clamp(*(None if bound is None else float(bound) for bound in (min, max)))(input)


def abs(input) -> Tensor:
    """The absolute values. The gradient at 0 is 0."""
    return Abs()(input)


def amax(input, dim=None, keepdim=False) -> Tensor:
    """The largest along `dim` (an int, several, or None for all); NaN counts as the largest.

    Like `torch.amax`: equal ones share the gradient evenly.
    """
    return _extreme("amax", input, dim, keepdim, True)


def amin(input, dim=None, keepdim=False) -> Tensor:
    """The smallest along `dim`; see `amax`."""
    return _extreme("amin", input, dim, keepdim, False)


def _extreme(name, x, dim, keepdim, largest):
    shape = as_array(x).shape
    axes = normal_axes(dim, len(shape), name)
    if any(shape[i] == 0 for i in axes):
        raise ValueError(f"{name}: input has shape {shape}, expected at least one element along "
                         f"dim {dim}")
    y = Extreme(axes, largest)(x)
    return y if keepdim else Reshape(tuple(n for i, n in enumerate(shape) if i not in axes))(y)
