"""Activations of straight (or parabolic) pieces: relu6, hardtanh, hardsigmoid, hardswish, prelu.

They imitate smooth ones at the price of a comparison. On the pieces calculus is a line; at the
joints the gradients are PyTorch's.
"""
from __future__ import annotations

from tinyvision.engine import Tensor, as_array
from tinyvision.ops.check import same_device
from tinyvision.ops.select import Clamp, Where
from tinyvision.ops.shape import reshape


def hardtanh(input, min_val=-1.0, max_val=1.0) -> Tensor:
    """Every element moved into [min_val, max_val]; no gradient at the two ends themselves.

    Raises:
        ValueError: min_val not below max_val.
    """
    if not min_val < max_val:
        raise ValueError(f"hardtanh: min_val is {min_val} and max_val is {max_val}, expected "
                         "min_val below max_val")
    return Clamp(float(min_val), float(max_val), ends=False)(input)


def relu6(input) -> Tensor:
    """min(max(x, 0), 6): a relu for short numbers (Krizhevsky 2010; MobileNet)."""
    return hardtanh(input, 0.0, 6.0)


def hardsigmoid(input) -> Tensor:
    """min(max(x + 3, 0), 6) / 6: a sigmoid of three straight pieces."""
    return relu6(_tensor(input) + 3.0) / 6.0


def hardswish(input) -> Tensor:
    """x min(max(x + 3, 0), 6) / 6: silu with the hard sigmoid (MobileNet v3, Howard 2019)."""
    x = _tensor(input)
    return x * hardsigmoid(x)


def prelu(input, weight) -> Tensor:
    """x where it is positive, weight times x elsewhere, the weight being learned (He 2015).

    Args:
        input: (N, C, ...), or any shape where the weight is one number.
        weight: (C,) or (1,).

    Raises:
        ValueError: a weight of another shape.
    """
    same_device("prelu", input=input, weight=weight)
    x, shape = _tensor(input), as_array(weight).shape
    C = x.shape[1] if x.ndim > 1 else 1
    if shape not in ((1,), (C,)):
        raise ValueError(f"prelu: weight has shape {shape}, expected (1,) or ({C},) for an input "
                         f"of shape {x.shape}")
    if shape != (1,):
        weight = reshape(weight, 1, C, *(1,) * (x.ndim - 2))
    return Where(x.data > 0)(x, x * weight)


def _tensor(x):
    return x if isinstance(x, Tensor) else Tensor(x)
