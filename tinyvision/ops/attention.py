"""scaled_dot_product_attention: every query takes the mean of the values, weighted by its keys.

    P = softmax(scale q k^T + mask),    y = P v

Two batched matrix products with a softmax between them; so is the way back. With g the gradient of
y, and dP = g v^T,

    dv = P^T g,    dS = P (dP - sum P dP),    dq = scale dS k,    dk = scale dS^T q

The graph keeps q, k, v and P. All products are `MatMul`s. Vaswani et al. 2017, section 3.2.1.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

from tinyvision.device import device_of, empty, generator, module_of, to_device
from tinyvision.engine import Op, Tensor, as_array
from tinyvision.ops.check import same_device
from tinyvision.ops.matmul import matmul
from tinyvision.ops.shape import sum_to, transpose
from tinyvision.ops.softmax import SoftmaxBackward, softmax, softmax_kernel


@dataclass(frozen=True, eq=False, repr=False)
class AttentionWeights(Op):
    """softmax(q k^T) along the keys, without those that `hidden` (..., T, S) hides."""
    hidden: object = None                # True where a query must not look; None: everywhere it may
    needs = "y", "q", "k"

    def forward(self, q, k):
        scores = q @ k.swapaxes(-1, -2)
        if self.hidden is not None:
            module_of(scores).copyto(scores, -math.inf, where=self.hidden)
        rows, S = math.prod(scores.shape[:-1]), scores.shape[-1]
        y = empty(scores.shape, scores)
        softmax_kernel(scores.reshape(rows, S, 1), False, y.reshape(rows, S, 1))
        if self.hidden is not None:                          # who may look nowhere gets nothing
            module_of(y).copyto(y, 0, where=self.hidden.all(-1, keepdims=True))
        return y

    def backward(self, g, y, q, k):
        ds = SoftmaxBackward(y.ndim - 1, False)(g, y)
        return (q.requires_grad and sum_to(matmul(ds, k), q.shape),
                k.requires_grad and sum_to(matmul(transpose(ds), q), k.shape))

    def __repr__(self):
        return f"AttentionWeights({'' if self.hidden is None else f'mask{self.hidden.shape}'})"


def scaled_dot_product_attention(query, key, value, attn_mask=None, dropout_p=0.0,
                                 is_causal=False, scale=None) -> Tensor:
    """softmax(scale query key^T + mask) value.

    Args:
        query: (..., T, E).
        key: (..., S, E).
        value: (..., S, F).
        attn_mask: what broadcasts to (..., T, S): boolean, True where a query may look; or
            floating, added to the scores.
        dropout_p: the probability with which every weight is dropped (always: as in PyTorch, pass
            0 when not training); the others are divided by 1 - dropout_p.
        is_causal: query i sees the keys 0 to i only.
        scale: 1 / sqrt(E) if None.

    Returns:
        (..., T, F). A query that may look nowhere gets zeros. Like
        `torch.nn.functional.scaled_dot_product_attention`.

    Raises:
        ValueError: sizes that do not fit, a mask besides is_causal, a probability out of [0, 1).
    """
    same_device("scaled_dot_product_attention", query=query, key=key, value=value,
                attn_mask=attn_mask)
    Q, K, V = (as_array(a).shape for a in (query, key, value))
    if min(map(len, (Q, K, V))) < 2 or Q[-1] != K[-1] or K[-2] != V[-2]:
        raise ValueError(f"scaled_dot_product_attention: query {Q}, key {K} and value {V}, "
                         "expected (..., T, E), (..., S, E) and (..., S, F)")
    if not 0 <= dropout_p < 1 or is_causal and attn_mask is not None:
        raise ValueError(f"scaled_dot_product_attention: dropout_p={dropout_p}, is_causal="
                         f"{is_causal}, attn_mask {'None' if attn_mask is None else 'given'}; "
                         "expected a probability below 1, and is_causal or a mask, not both")
    scaled = _tensor(query) * (1 / math.sqrt(Q[-1]) if scale is None else float(scale))
    weights = _weights(scaled, key, _causal(Q[-2], K[-2], query) if is_causal else attn_mask)
    if dropout_p:
        weights = weights * Tensor(_kept(as_array(weights), dropout_p))
    return matmul(weights, value)


def _tensor(x):
    return x if isinstance(x, Tensor) else Tensor(x)


def _weights(q, k, mask):
    if mask is None:
        return AttentionWeights()(q, k)
    if as_array(mask).dtype.kind == "b":
        return AttentionWeights(~as_array(mask))(q, k)
    return softmax(matmul(q, transpose(k)) + mask, -1)


def _causal(T, S, like):
    """(T, S), True where key s is not behind query t."""
    xp = module_of(as_array(like))
    return xp.arange(S) <= xp.arange(T)[:, None]


def _kept(weights, p):
    """0 with probability p, otherwise 1 / (1 - p)."""
    kept = (generator().random(weights.shape) >= p).astype(weights.dtype)
    kept /= weights.dtype.type(1 - p)
    return to_device(kept, device_of(weights))
