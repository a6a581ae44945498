"""Losses of numbers: squared, absolute, smooth L1, Huber; the KL divergence to a standard normal.

    mse d^2        l1 |d|        d = input - target
    smooth_l1  d^2 / (2 beta) where |d| < beta, |d| - beta / 2 elsewhere    huber = beta times it

Lectures: L3, L6; Girshick 2015 (smooth L1); Kingma & Welling 2014, appendix B (KL).
"""
from __future__ import annotations

from dataclasses import dataclass

from tinyvision.device import module_of
from tinyvision.engine import Op, Tensor, as_array
from tinyvision.ops.arithmetic import exp, operands
from tinyvision.ops.check import same_device
from tinyvision.ops.select import Abs, Clamp
from tinyvision.ops.shape import mean, sum

REDUCTIONS = "none", "mean", "sum"


@dataclass(frozen=True)
class Rounded(Op):
    """|d| with a parabola d^2 / (2 beta) around 0: its slope is d / beta, between -1 and 1."""
    beta: float
    needs = "d",

    def forward(self, d):
        xp, beta = module_of(d), d.dtype.type(self.beta)
        size = xp.abs(d)
        return xp.where(size < beta, d * d * (d.dtype.type(0.5) / beta), size - beta / 2)

    def backward(self, g, y, d):
        return g * Clamp(-1.0, 1.0)(d / self.beta),


def mse_loss(input, target, reduction="mean") -> Tensor:
    """(input - target)^2.

    Args:
        input, target: of one shape, floating; gradients reach both.
        reduction: "mean" over all elements, "sum", or "none".

    Like `torch.nn.functional.mse_loss`, which only warns where shapes differ.

    Raises:
        ValueError: shapes that differ, an unknown reduction.
    """
    d = _difference("mse_loss", input, target)
    return reduced("mse_loss", d * d, reduction)


def l1_loss(input, target, reduction="mean") -> Tensor:
    """|input - target|; arguments and errors are those of `mse_loss`. The gradient at 0 is 0."""
    return reduced("l1_loss", Abs()(_difference("l1_loss", input, target)), reduction)


def smooth_l1_loss(input, target, reduction="mean", beta=1.0) -> Tensor:
    """d^2 / (2 beta) for |d| < beta, |d| - beta / 2 beyond: absolute, but smooth at 0.

    Arguments and errors are those of `mse_loss`, and beta of at least 0 (0 is `l1_loss`).
    """
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta is {beta}, expected at least 0")
    d = _difference("smooth_l1_loss", input, target)
    return reduced("smooth_l1_loss", Rounded(float(beta))(d) if beta else Abs()(d), reduction)


def huber_loss(input, target, reduction="mean", delta=1.0) -> Tensor:
    """d^2 / 2 for |d| < delta, delta (|d| - delta / 2) beyond: delta times the smooth L1 loss.

    Arguments and errors are those of `mse_loss`, and delta above 0 (Huber 1964).
    """
    if not delta > 0:
        raise ValueError(f"huber_loss: delta is {delta}, expected more than 0")
    cost = Rounded(float(delta))(_difference("huber_loss", input, target)) * float(delta)
    return reduced("huber_loss", cost, reduction)


def gaussian_kl(mean, log_variance, reduction="mean") -> Tensor:
    """The KL divergence of normal distributions N(mean, e^log_variance) from N(0, 1).

        1/2 sum_j (mean_j^2 + e^log_variance_j - 1 - log_variance_j)

    Args:
        mean, log_variance: (N, ...), the coordinates of each of N codes.
        reduction: "mean" over the N codes, "sum", or "none" for (N,).

    Returns:
        The divergence in nats; 0 only where every mean is 0 and every variance 1. The ELBO of a
        VAE is the likelihood's logarithm minus this, times beta in a beta-VAE.

    Raises:
        ValueError: shapes that differ or without an axis of codes, an unknown reduction.
    """
    m, v = same_shape("gaussian_kl", mean=mean, log_variance=log_variance)
    if not m.ndim:
        raise ValueError("gaussian_kl: mean has no axes, expected (N, ...)")
    cost = 0.5 * (m * m + exp(v) - v - 1.0)
    return reduced("gaussian_kl", sum(cost, tuple(range(1, m.ndim))), reduction)


# --- what losses share ----------------------------------------------------------------------------
def same_shape(name, **tensors):
    """The arguments as tensors on one device, of one shape and dtype, the first being floating.

    Raises:
        ValueError: shapes that differ; TypeError: an input that is not floating.
    """
    same_device(name, **tensors)
    (one, a), (other, b) = ((k, as_array(t)) for k, t in tensors.items())
    if a.shape != b.shape:
        raise ValueError(f"{name}: {other} has shape {b.shape}, expected that of {one}, {a.shape}")
    if a.dtype.kind != "f":
        raise TypeError(f"{name}: {one} is {a.dtype}, expected a floating dtype")
    return operands(*tensors.values())


def _difference(name, input, target):
    input, target = same_shape(name, input=input, target=target)
    return input - target


def reduced(name, cost, reduction, among=REDUCTIONS) -> Tensor:
    """The costs' mean or sum, or themselves.

    Raises:
        ValueError: another reduction.
    """
    if reduction not in among:
        raise ValueError(f"{name}: reduction is {reduction!r}, expected one of "
                         + ", ".join(f'"{r}"' for r in among))
    return cost if reduction == "none" else sum(cost) if reduction == "sum" else _mean(cost)


def _mean(cost):
    """NaN for nothing, as PyTorch has it."""
    return mean(cost) if cost.size else sum(cost) * float("nan")
