"""batch_norm: every channel moved to mean 0 and variance 1 over the batch, then scaled and shifted.

    y = (x - m) / sqrt(v + eps) * weight + bias,   m, v over (N, H, W)

The graph keeps x alone: backward works the statistics out again. With x^ = (x - m) / sqrt(v + eps),

    dx = weight / sqrt(v + eps) * (g - mean(g) - x^ mean(g x^)),
    dweight = sum g x^,    dbias = sum g.

Ioffe & Szegedy 2015, section 3.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision.device import module_of, zeros
from tinyvision.engine import Op, Tensor, as_array, no_grad
from tinyvision.ops.arithmetic import sqrt
from tinyvision.ops.check import same_device
from tinyvision.ops.shape import mean, reshape, sum


@dataclass(frozen=True)
class BatchNorm(Op):
    """Normalisation by the batch's own statistics; x (N, C, ...), weight and bias (C,)."""
    eps: float
    needs = "x", "weight"

    def forward(self, x, weight, bias):
        m, v = statistics(x)
        scale = _column(weight, x) / module_of(x).sqrt(v + x.dtype.type(self.eps))
        y = x - m
        y *= scale
        y += _column(bias, x)
        return y

    def backward(self, g, y, x, weight, bias):
        axes = _others(x)
        shape = (1, -1) + (1,) * (len(x.shape) - 2)
        centred = x - mean(x, axes, keepdim=True)
        deviation = sqrt(mean(centred * centred, axes, keepdim=True) + self.eps)
        normal = centred / deviation
        weighted = g * normal
        gx = x.requires_grad and reshape(weight, shape) / deviation * (
            g - mean(g, axes, keepdim=True) - normal * mean(weighted, axes, keepdim=True))
        return (gx, weight.requires_grad and sum(weighted, axes),
                bias.requires_grad and sum(g, axes))


def batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1,
               eps=1e-5) -> Tensor:
    """Normalise every channel, by the batch (training) or by the running statistics.

    Args:
        x: (N, C) or (N, C, H, W).
        running_mean, running_var: (C,) arrays or Tensors, updated in place when training; None to
            use the batch's statistics always.
        weight, bias: (C,), 1 and 0 if None.
        momentum: the new batch's share in the running statistics.
        eps: added to the variance.

    Like `torch.nn.functional.batch_norm`: the running variance is the unbiased one.

    Raises:
        ValueError: fewer than two values a channel when training, or a parameter of another size.
    """
    X = as_array(x)
    same_device("batch_norm", x=x, weight=weight, bias=bias, running_mean=running_mean,
                running_var=running_var)
    if X.ndim < 2 or eps < 0 or (running_mean is None) != (running_var is None):
        raise ValueError(f"batch_norm: got x of shape {X.shape}, eps={eps}, running_mean "
                         f"{'None' if running_mean is None else 'given'} and running_var "
                         f"{'None' if running_var is None else 'given'}; expected (N, C, ...), "
                         "eps of at least 0, and both statistics or neither")
    C = X.shape[1]
    weight = module_of(X).ones(C, X.dtype) if weight is None else weight
    bias = zeros(C, like=X) if bias is None else bias
    for name, value in (("weight", weight), ("bias", bias), ("running_mean", running_mean),
                        ("running_var", running_var)):
        if value is not None and as_array(value).shape != (C,):
            raise ValueError(f"batch_norm: {name} has shape {as_array(value).shape}, "
                             f"expected ({C},) for x {X.shape}")
    if not training and running_mean is not None:
        return _by_running_statistics(x, running_mean, running_var, weight, bias, eps)
    if training and X.size // max(C, 1) < 2:
        raise ValueError(f"batch_norm: training needs at least 2 values a channel, x is {X.shape}")
    if training and running_mean is not None:
        _update(X, as_array(running_mean), as_array(running_var), momentum)
    return BatchNorm(eps)(x, weight, bias)


def _by_running_statistics(x, running_mean, running_var, weight, bias, eps):
    shape = (1, -1) + (1,) * (as_array(x).ndim - 2)
    with no_grad():
        deviation = sqrt(Tensor(as_array(running_var)) + eps)
    scale = (weight if isinstance(weight, Tensor) else Tensor(weight)) / deviation
    shift = bias - scale * Tensor(as_array(running_mean))
    return x * reshape(scale, shape) + reshape(shift, shape)


def _update(x, running_mean, running_var, momentum):
    m, v = statistics(x)
    count = x.size // x.shape[1]
    running_mean += momentum * (m.ravel() - running_mean)
    running_var += momentum * (v.ravel() * (count / (count - 1)) - running_var)


def statistics(x):
    """Mean and (biased) variance of every channel of the array x (N, C, ...), axes kept."""
    axes = _others(x)
    m = x.mean(axes, keepdims=True)
    return m, np.square(x - m).mean(axes, keepdims=True)


def _others(x):
    return (0, *range(2, len(x.shape)))


def _column(v, x):
    return v.reshape((1, -1) + (1,) * (x.ndim - 2))
