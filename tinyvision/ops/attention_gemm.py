"""Attention by products of whole arrays: all scores are written to memory, and read again.

A rung of attention's ladder (what the fast one saves is this traffic), the way of float64, and
CuPy's.
"""
from __future__ import annotations

import numpy as np

from tinyvision.device import module_of
from tinyvision.ops.softmax import softmax_kernel


def weights(q, k, scale, causal, mask):
    """P (Z, T, S): every query's `weights_of`."""
    xp, scores = module_of(q), q.dtype.type(scale) * (q @ k.swapaxes(-1, -2))
    Z, T, S = scores.shape
    if mask is not None:
        scores += mask
    if causal:
        xp.copyto(scores, -np.inf, where=xp.triu(xp.ones((T, S), bool), 1))
    p = xp.empty_like(scores)
    softmax_kernel(scores.reshape(Z * T, S, 1), False, p.reshape(Z * T, S, 1))
    xp.copyto(p, 0, where=(scores == -np.inf).all(-1, keepdims=True))
    return p


def forward(q, k, v, scale, causal, mask, kept, y):
    """See `attention.attention_kernel`."""
    p = weights(q, k, scale, causal, mask)
    module_of(y).matmul(p if kept is None else p * kept, v, out=y)


def backward(g, q, k, v, scale, causal, mask, kept, d):
    """See `attention.attention_backward_kernel`."""
    dq, dk, dv = parts(d, q, k, v)
    p, matmul = weights(q, k, scale, causal, mask), module_of(d).matmul
    left = p if kept is None else p * kept
    weighted = left * (g @ v.swapaxes(-1, -2))
    ds = q.dtype.type(scale) * (weighted - p * weighted.sum(-1, keepdims=True))
    matmul(ds, k, out=dq)
    matmul(ds.swapaxes(-1, -2), q, out=dk)
    matmul(left.swapaxes(-1, -2), g, out=dv)


def parts(d, *arrays):
    """d, cut into the shapes of the arrays."""
    ends = np.cumsum([0, *(a.size for a in arrays)])
    return [d[a:b].reshape(x.shape) for a, b, x in zip(ends, ends[1:], arrays)]
