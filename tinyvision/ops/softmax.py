"""softmax, log_softmax and the cross-entropy between class scores and labels.

Lecture: L1. The largest score is subtracted first, so that exp never overflows.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision.device import module_of
from tinyvision.engine import Op, Tensor, as_array
from tinyvision.ops.check import same_device
from tinyvision.ops.shape import normal_axes, sum, take


@dataclass(frozen=True)
class Softmax(Op):
    """e^a / sum e^a along an axis; its Jacobian is diag(y) - y y^T."""
    axis: int
    needs = "y",

    def forward(self, a):
        e = module_of(a).exp(a - a.max(self.axis, keepdims=True))
        return e / e.sum(self.axis, keepdims=True)

    def backward(self, g, y, a):
        weighted = g * y
        return weighted - y * sum(weighted, self.axis, keepdim=True),


@dataclass(frozen=True)
class LogSoftmax(Op):
    """a - log sum e^a along an axis; its Jacobian is I - 1 softmax^T."""
    axis: int
    needs = "y",

    def forward(self, a):
        a = a - a.max(self.axis, keepdims=True)
        return a - module_of(a).log(module_of(a).exp(a).sum(self.axis, keepdims=True))

    def backward(self, g, y, a):
        return g - y.exp() * sum(g, self.axis, keepdim=True),


def softmax(x, dim) -> Tensor:
    """Positive numbers along `dim` that sum to 1, in the proportions e^x."""
    axis, = normal_axes(dim, len(as_array(x).shape), "softmax")
    return Softmax(axis)(x)


def log_softmax(x, dim) -> Tensor:
    """The logarithm of softmax, without its overflow and underflow."""
    axis, = normal_axes(dim, len(as_array(x).shape), "log_softmax")
    return LogSoftmax(axis)(x)


def cross_entropy(input, target, weight=None, ignore_index=-1, reduction="mean",
                  label_smoothing=0.0) -> Tensor:
    """-log of the probability that softmax gives to the right class.

    Args:
        input: scores (N, C) or (N, C, H, W): axis 1 counts the classes.
        target: labels (N,) or (N, H, W), whole numbers from 0 to C - 1.
        weight: (C,), a factor for every class.
        ignore_index: a label that costs nothing (-1, where PyTorch has -100).
        reduction: "mean" (weighted by the classes' weights), "sum" or "none".
        label_smoothing: the share of the target that is spread evenly over all classes.

    Returns:
        A scalar, or with "none" the cost of every label. The mean over no labels is NaN.
        Like `torch.nn.functional.cross_entropy`.

    Raises:
        ValueError: shapes that do not fit, a label out of range, an unknown reduction.
    """
    same_device("cross_entropy", input=input, target=target, weight=weight)
    labels = _labels(input, target, ignore_index)
    C, xp = as_array(input).shape[1], module_of(as_array(input))
    classes = xp.ones(C, as_array(input).dtype) if weight is None else as_array(weight)
    if classes.shape != (C,):
        raise ValueError(f"cross_entropy: weight has shape {classes.shape}, expected ({C},)")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'cross_entropy: reduction is {reduction!r}, '
                         'expected "mean", "sum" or "none"')
    kept = labels != ignore_index
    labels = xp.where(kept, labels, 0)
    factor = classes[labels] * kept
    scores = log_softmax(input, 1)
    cost = -(_pick(scores, labels) * Tensor(factor))
    if label_smoothing:
        shape = (1, C) + (1,) * (scores.ndim - 2)
        even = -sum(scores * Tensor(classes.reshape(shape)), 1) * Tensor(kept.astype(scores.dtype))
        cost = (1 - label_smoothing) * cost + (label_smoothing / C) * even
    if reduction == "none":
        return cost
    total = sum(cost)
    if reduction == "sum":
        return total
    count = float(factor.sum())
    return total / count if count else total * float("nan")


def _labels(input, target, ignore_index):
    """`target` as an index array, checked against the shape and classes of `input`."""
    shape, labels = as_array(input).shape, as_array(target)
    if len(shape) < 2 or labels.shape != (shape[0], *shape[2:]):
        raise ValueError(f"cross_entropy: target has shape {labels.shape}, input {shape}; "
                         "expected input's shape without its class axis 1")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"cross_entropy: target is {labels.dtype}, expected whole-number labels")
    wrong = labels[((labels < 0) | (labels >= shape[1])) & (labels != ignore_index)]
    if wrong.size:
        raise ValueError(f"cross_entropy: target has the label {int(wrong[0])}, "
                         f"expected 0 to {shape[1] - 1} or ignore_index={ignore_index}")
    return labels.astype(np.int64)


def _pick(scores, labels):
    """scores[n, labels[n, ...], ...]."""
    xp, places = module_of(labels), module_of(labels).indices(labels.shape)
    n, *rest = (xp.asarray(p) for p in places)
    return take(scores, (n, labels, *rest))
