"""Gradient clipping. Names and results are those of `torch.nn.utils`."""
from __future__ import annotations

import math

from tinyvision.device import module_of


def clip_grad_norm_(parameters, max_norm: float) -> float:
    """Shrink all gradients, in place and by one factor, so that together their norm is max_norm.

    Args:
        parameters: Tensors; those without a gradient are passed over.
        max_norm: the largest length of all gradients taken as one vector (Pascanu 2013).

    Returns:
        The norm before; inf or nan if a gradient is, and then nothing is changed.
    """
    gradients = _gradients(parameters)
    norm = math.sqrt(sum(float(module_of(g).vdot(g, g)) if g.dtype.itemsize > 4 else
                         float((g.astype("f8") ** 2).sum()) for g in gradients))
    factor = max_norm / (norm + 1e-6)
    if factor < 1 and math.isfinite(norm):
        for g in gradients:
            g *= g.dtype.type(factor)
    return norm


def clip_grad_value_(parameters, clip_value: float) -> None:
    """Cut every number of every gradient off at +-clip_value, in place."""
    for g in _gradients(parameters):
        module_of(g).clip(g, -clip_value, clip_value, out=g)


def _gradients(parameters):
    return [p.grad.data for p in parameters if p.grad is not None]
