"""Losses of embeddings: what belongs together is pulled together, what does not is pushed apart.

    pull = 1/K sum_k |a_k - e_k|^2 + |b_k - e_k|^2,    e_k = (a_k + b_k) / 2
    push = 1/(K (K - 1)) sum over j != k of max(0, margin - |e_j - e_k|)

a_k and b_k are the embeddings of the two corners of object k. Lecture: L7; Newell et al. 2017, Law
& Deng 2018 (CornerNet, equations 4 and 5).
"""
from __future__ import annotations

from tinyvision.device import module_of
from tinyvision.engine import Tensor
from tinyvision.ops.activation import relu
from tinyvision.ops.loss_regression import same_shape
from tinyvision.ops.select import Abs
from tinyvision.ops.shape import reshape, sum


def pull_loss(first, second) -> Tensor:
    """How far the two corners of each object are from their mean, squared; the mean over objects.

    Args:
        first, second: (K,) or (K, D), the embeddings of the two corners of K objects of one image.

    Returns:
        A scalar; 0 for no objects.

    Raises:
        ValueError: shapes that differ.
    """
    a, b = _embeddings("pull_loss", first, second)
    d = a - b
    return sum(d * d) * (0.5 / max(len(a), 1))               # both lie |a - b| / 2 from the mean


def push_loss(first, second, margin=1.0) -> Tensor:
    """By how much the means of different objects are closer than `margin`; the mean over pairs.

    The distance is the absolute difference, summed over D. Arguments and errors are those of
    `pull_loss`; 0 for fewer than two objects.
    """
    a, b = _embeddings("push_loss", first, second)
    e, K = 0.5 * (a + b), len(a)
    apart = sum(Abs()(reshape(e, K, 1, -1) - reshape(e, 1, K, -1)), 2) if K else sum(e)
    others = 1 - module_of(e._data).eye(K, dtype=e.dtype)
    return sum(relu(float(margin) - apart) * Tensor(others)) / max(K * (K - 1), 1)


def _embeddings(name, first, second):
    """Both as (K, D)."""
    a, b = same_shape(name, first=first, second=second)
    if a.ndim not in (1, 2):
        raise ValueError(f"{name}: first has shape {a.shape}, expected (K,) or (K, D)")
    D = a.shape[1] if a.ndim == 2 else 1
    return reshape(a, a.shape[0], D), reshape(b, a.shape[0], D)
