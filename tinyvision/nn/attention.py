"""Attention layers and the transformer's blocks. Names, arguments and state keys are PyTorch's."""
from __future__ import annotations

import math

import numpy as np

from tinyvision import ops
from tinyvision.device import generator, module_of
from tinyvision.engine import Tensor, as_array
from tinyvision.nn import init
from tinyvision.nn.init import parameter
from tinyvision.nn.layers import Linear
from tinyvision.nn.module import Module
from tinyvision.ops.attention import AttentionWeights
from tinyvision.ops.check import at_least, rank


class Embedding(Module):
    """`ops.embedding` with weight (num_embeddings, embedding_dim), normal at first."""

    def __init__(self, num_embeddings, embedding_dim, padding_idx=None):
        V = at_least("Embedding", "num_embeddings", num_embeddings, 1)
        D = at_least("Embedding", "embedding_dim", embedding_dim, 1)
        if padding_idx is not None and not -V <= padding_idx < V:
            raise ValueError(f"Embedding: padding_idx is {padding_idx}, expected {-V} to {V - 1}")
        self.padding_idx = None if padding_idx is None else padding_idx % V

        def draw(shape):
            table = generator().normal(size=shape)
            table[slice(0) if padding_idx is None else padding_idx] = 0
            return table
        self.weight = parameter((V, D), draw)

    def forward(self, input):
        """Whole numbers of any shape -> (*shape, embedding_dim)."""
        return ops.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self):
        """Words, features."""
        return ", ".join(map(str, self.weight.shape))


def probability(name, p):
    """p, which dropout takes.

    Raises:
        ValueError: outside [0, 1).
    """
    if not 0 <= p < 1:
        raise ValueError(f"{name}: dropout is {p}, expected a probability below 1")
    return p


class MultiheadAttention(Module):
    """Attention in num_heads subspaces at once, projected in and out. Vaswani et al. 2017, 3.2.2.

    Args:
        embed_dim: E, of queries and results; a multiple of num_heads.
        dropout: with this probability weights are dropped while training.
        add_bias_kv: one more key and value, learned, behind all others.
        add_zero_attn: one more key and value of zeros: who looks there, looks at nothing.
        kdim, vdim: features of keys and values, E unless given.
        batch_first: sequences are (N, L, E), not (L, N, E).
    """

    def __init__(self, embed_dim, num_heads, dropout=0.0, bias=True, add_bias_kv=False,
                 add_zero_attn=False, kdim=None, vdim=None, batch_first=False):
        name, E = "MultiheadAttention", at_least("MultiheadAttention", "embed_dim", embed_dim, 1)
        if E % at_least(name, "num_heads", num_heads, 1):
            raise ValueError(f"{name}: num_heads={num_heads} does not divide embed_dim={E}")
        self.embed_dim, self.num_heads, self.dropout = E, num_heads, probability(name, dropout)
        self.batch_first, self.add_zero_attn = batch_first, add_zero_attn
        sizes = [E if d is None else at_least(name, a, d, 1)
                 for a, d in (("kdim", kdim), ("vdim", vdim))]
        self.together = sizes == [E, E]
        shapes = {"in_proj_weight": (3 * E, E)} if self.together else dict(
            q_proj_weight=(E, E), k_proj_weight=(E, sizes[0]), v_proj_weight=(E, sizes[1]))
        for key, shape in shapes.items():
            setattr(self, key, init.xavier_uniform_(parameter(shape, np.zeros)))
        self.in_proj_bias = parameter((3 * E,), np.zeros) if bias else None
        self.out_proj = Linear(E, E, bias)
        if bias:
            init.zeros_(self.out_proj.bias)
        self.bias_k, self.bias_v = (init.xavier_normal_(parameter((1, 1, E), np.zeros))
                                    if add_bias_kv else None for _ in "kv")

    def forward(self, query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None,
                average_attn_weights=True, is_causal=False):
        """Let every query look at the keys.

        Args:
            query: (L, N, E), or (N, L, E) if batch_first; (L, E) without a batch. key (S, N, kdim)
                and value (S, N, vdim) alike.
            key_padding_mask: (N, S), True where a key is only padding; or floating, added.
            need_weights: give the weights, too; without, attention is one fused kernel.
            attn_mask: (L, S) or (N num_heads, L, S), True where a query must not look (the
                opposite of `ops.scaled_dot_product_attention`); or floating, added to the scores.
            average_attn_weights: the mean over the heads.
            is_causal: query i looks at keys 0 to i only; attn_mask need not be given.

        Returns:
            (result, of query's shape; weights (N, L, S), or (N, num_heads, L, S), or None). A
            query that may look nowhere gets zeros (before out_proj) where PyTorch has NaN.

        Raises:
            ValueError: shapes that do not fit.
        """
        alone = as_array(query).ndim == 2
        q, k, v = (self._batched(a, alone) for a in (query, key, value))
        self._check(q, k, v)
        (N, L, E), M = q.shape, self.num_heads
        q, k, v = self._projected(q, k, v)
        mask = self._mask(key_padding_mask, attn_mask, is_causal, N, L, k.shape[1], q)
        k, v, mask = self._extended(k, v, mask)
        q, k, v = (a.reshape(N, -1, M, E // M).permute(0, 2, 1, 3) for a in (q, k, v))
        y, weights = self._attend(q, k, v, mask, need_weights)
        y = self.out_proj(y.permute(0, 2, 1, 3).reshape(N, L, E))
        y = y[0] if alone else y if self.batch_first else y.transpose(0, 1)
        if weights is not None:
            weights = ops.mean(weights, 1) if average_attn_weights else weights
            weights = weights[0] if alone else weights
        return y, weights

    def _batched(self, a, alone):
        """(N, L, E)."""
        a = a if isinstance(a, Tensor) else Tensor(a)
        rank("MultiheadAttention", input=(a, 2 if alone else 3))
        if alone:
            return a.reshape(1, *a.shape)
        return a if self.batch_first else a.transpose(0, 1)

    def _check(self, q, k, v):
        K, V = ((self.embed_dim,) * 2 if self.together else
                (self.k_proj_weight.shape[1], self.v_proj_weight.shape[1]))
        if (q.shape[2] != self.embed_dim or k.shape != (len(q), k.shape[1], K)
                or v.shape != (*k.shape[:2], V)):
            raise ValueError(f"MultiheadAttention: query, key and value are {q.shape}, {k.shape} "
                             f"and {v.shape} (batch first), expected (N, L, {self.embed_dim}), "
                             f"(N, S, {K}) and (N, S, {V})")

    def _projected(self, q, k, v):
        """All three (N, L or S, E)."""
        E, bias = self.embed_dim, self.in_proj_bias
        if self.together and q is k is v:                    # one product for all three
            y = ops.linear(q, self.in_proj_weight, bias)
            return [y[..., i * E:(i + 1) * E] for i in range(3)]
        weights = ([self.in_proj_weight[i * E:(i + 1) * E] for i in range(3)] if self.together else
                   (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight))
        biases = [bias[i * E:(i + 1) * E] if bias is not None else None for i in range(3)]
        return [ops.linear(*three) for three in zip((q, k, v), weights, biases)]

    def _mask(self, padding, mask, is_causal, N, L, S, like):
        """What is added to the scores, four axes that broadcast; None where all is open."""
        if is_causal and mask is None:
            mask = np.arange(S) > np.arange(L)[:, None]
        name, many = "MultiheadAttention: attn_mask", (N * self.num_heads, L, S)
        parts = []
        if mask is not None and as_array(mask).shape == many:
            parts.append(added(name, mask, many, like).reshape(N, -1, L, S))
        elif mask is not None:
            parts.append(added(name, mask, (L, S), like, many).reshape(1, 1, L, S))
        if padding is not None:
            name = "MultiheadAttention: key_padding_mask"
            parts.append(added(name, padding, (N, S), like).reshape(N, 1, 1, S))
        return parts[0] + parts[1] if len(parts) == 2 else parts[0] if parts else None

    def _extended(self, k, v, mask):
        """Keys and values with those that are always there."""
        (N, S, E), xp = k.shape, module_of(k.data)
        if self.bias_k is not None:
            k, v = (ops.cat([a, ops.broadcast_to(b, (N, 1, E))], 1)
                    for a, b in ((k, self.bias_k), (v, self.bias_v)))
        if self.add_zero_attn:
            zero = Tensor(xp.zeros((N, 1, E), k.dtype))
            k, v = ops.cat([k, zero], 1), ops.cat([v, zero], 1)
        return k, v, mask if mask is None else ops.pad(mask, (0, k.shape[1] - S))

    def _attend(self, q, k, v, mask, need_weights):
        """(result, weights or None), with heads."""
        p = self.dropout if self.training else 0.0
        if not need_weights:
            return ops.scaled_dot_product_attention(q, k, v, mask, p), None
        weights = AttentionWeights()(q * (1 / math.sqrt(q.shape[-1])), k,
                                     *(() if mask is None else (mask,)))
        weights = ops.dropout(weights, p) if p else weights
        return ops.matmul(weights, v), weights

    def extra_repr(self):
        """Features, heads."""
        return f"{self.embed_dim}, {self.num_heads}"


def added(name, mask, shape, like, other=None) -> Tensor:
    """A mask of `shape` as what is added to scores: -inf where a boolean one says True."""
    a = as_array(mask)
    if a.shape != shape:
        raise ValueError(f"{name} has shape {a.shape}, expected {shape}"
                         + (f" or {other}" if other else ""))
    if a.dtype.kind == "b":
        xp = module_of(like.data)
        return Tensor(xp.where(xp.asarray(a), -math.inf, 0.0).astype(like.dtype))
    if a.dtype.kind != "f":
        raise TypeError(f"{name} is {a.dtype}, expected boolean or floating")
    mask = mask if isinstance(mask, Tensor) else Tensor(a)
    return mask if a.dtype == like.dtype else mask.astype(like.dtype)
