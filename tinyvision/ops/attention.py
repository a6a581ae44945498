"""scaled_dot_product_attention: every query takes the mean of the values, weighted by its keys.

    P = softmax(scale q k^T + mask),    y = P v

Two batched matrix products with a softmax between them; so is the way back. With g the gradient of
y, and dP = g v^T,

    dv = P^T g,    dS = P (dP - sum P dP),    dq = scale dS k,    dk = scale dS^T q

The graph keeps q, k, v and P. All products are `MatMul`s. Vaswani et al. 2017, section 3.2.1.

Where the register tile is to be had, float32 takes another way: `Attention` does it all in one
pass, keeps no P, and computes it again on the way back. Sizes: q (Z, T, E), k (Z, S, E),
v (Z, S, F), Z heads; the compiled kernels are in `attention_fast`.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinyvision.device import contiguous, device_of, empty, generator, module_of, to_device
from tinyvision.engine import Op, Tensor, as_array
from tinyvision.kernel import Kernel, jit, prange, rehearsed
from tinyvision.ops import attention_fast, attention_gemm
from tinyvision.ops.attention_gemm import parts
from tinyvision.ops.check import same_device
from tinyvision.ops.composed import composed_backward
from tinyvision.ops.matmul import matmul
from tinyvision.ops.shape import cat, reshape, sum, sum_to, transpose
from tinyvision.ops.softmax import SoftmaxBackward, softmax_kernel
from tinyvision.simd import tiles


@dataclass(frozen=True, eq=False, repr=False)
class AttentionWeights(Op):
    """softmax(q k^T + mask) along the keys, without those that `hidden` (..., T, S) hides."""
    hidden: object = None                # True where a query must not look; None: everywhere it may
    needs = "y", "q", "k"

    def forward(self, q, k, mask=None):
        if rehearsed("attention_weights", q, k):
            return np.empty((*q.shape[:-1], k.shape[-2]), q.dtype)
        scores, copyto = q @ k.swapaxes(-1, -2), module_of(q).copyto
        if self.hidden is not None:
            copyto(scores, -math.inf, where=self.hidden)
        if mask is not None:
            scores = scores + mask
        rows, S = math.prod(scores.shape[:-1]), scores.shape[-1]
        y = empty(scores.shape, scores)
        softmax_kernel(scores.reshape(rows, S, 1), False, y.reshape(rows, S, 1))
        if self.hidden is not None or mask is not None:      # who may look nowhere gets nothing
            copyto(y, 0, where=(scores == -math.inf).all(-1, keepdims=True))
        return y

    def backward(self, g, y, q, k, *mask):
        ds = SoftmaxBackward(y.ndim - 1, False)(g, y)
        return (q.requires_grad and sum_to(matmul(ds, k), q.shape),
                k.requires_grad and sum_to(matmul(transpose(ds), q), k.shape),
                *(m.requires_grad and sum_to(ds, m.shape) for m in mask))

    def __repr__(self):
        return f"AttentionWeights({'' if self.hidden is None else f'mask{self.hidden.shape}'})"


@dataclass(frozen=True, eq=False, repr=False)
class Attention(Op):
    """The whole of it in one kernel: q (..., T, E), k (..., S, E), v (..., S, F)."""
    scale: float
    causal: bool
    mask: object                         # an array, boolean or floating, as given; None
    kept: object                         # (..., T, S), what dropout multiplies weights by; None
    needs = "q", "k", "v"

    def forward(self, q, k, v):
        q, k, v = contiguous(q, k, v)
        y = empty((*q.shape[:-1], v.shape[-1]), q)
        if rehearsed("attention", q, k, v):
            return y
        attention_kernel(*map(_heads, (q, k, v)), *self._chosen(q, k), _heads(y))
        return y

    def backward(self, g, y, q, k, v):
        Q, K = math.prod(q.shape), math.prod(k.shape)
        d = AttentionBackward(self.scale, self.causal, self.mask, self.kept)(g, q, k, v)
        return (q.requires_grad and reshape(d[:Q], *q.shape),
                k.requires_grad and reshape(d[Q:Q + K], *k.shape),
                v.requires_grad and reshape(d[Q + K:], *v.shape))

    def _chosen(self, q, k):
        """(scale, causal, mask, kept) as the kernels want them."""
        shape, mask = (*q.shape[:-1], k.shape[-2]), self.mask
        if mask is not None:
            if mask.dtype.kind == "b":
                mask = np.where(mask, q.dtype.type(0), q.dtype.type(-np.inf))
            one = math.prod(mask.shape[:-2]) == 1
            mask = mask.reshape(mask.shape[-2:]) if one else mask
            mask, = contiguous(np.broadcast_to(mask, shape[-2:] if one else shape))
        return self.scale, self.causal, *(a if a is None else _heads(a) for a in (mask, self.kept))

    def __repr__(self):
        chosen = "causal" if self.causal else "" if self.mask is None else f"mask{self.mask.shape}"
        return f"{type(self).__name__}({chosen})"


@dataclass(frozen=True, eq=False, repr=False)
class AttentionBackward(Attention):
    """(dq, dk, dv), one behind the other in one row of numbers."""
    needs = "g", "q", "k", "v"

    def forward(self, g, q, k, v):
        g, q, k, v = contiguous(g, q, k, v)
        d = empty((q.size + k.size + v.size,), q)
        attention_backward_kernel(*map(_heads, (g, q, k, v)), *self._chosen(q, k), d)
        return d

    def backward(self, h, d, g, q, k, v):
        return composed_backward(self.composed, h, g, q, k, v)

    def composed(self, g, q, k, v):
        """The same in plain operations."""
        T, S = q.shape[-2], k.shape[-2]
        weights = _weights(q * self.scale, k, _causal(T, S, q) if self.causal else self.mask)
        kept = 1 if self.kept is None else Tensor(self.kept)
        weighted = weights * matmul(g, transpose(v)) * kept
        ds = (weighted - weights * sum(weighted, -1, keepdim=True)) * self.scale
        found = matmul(ds, k), matmul(transpose(ds), q), matmul(transpose(weights * kept), g)
        return cat([reshape(x, -1) for x in found])


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
    scale = 1 / math.sqrt(Q[-1]) if scale is None else float(scale)
    if _fused(query, key, value, attn_mask):
        kept = _kept((*Q[:-1], K[-2]), dropout_p, as_array(query)) if dropout_p else None
        mask = None if attn_mask is None else as_array(attn_mask)
        return Attention(scale, bool(is_causal), mask, kept)(query, key, value)
    mask = _causal(Q[-2], K[-2], query) if is_causal else attn_mask
    weights = _weights(_tensor(query) * scale, key, mask)
    if dropout_p:
        weights = weights * Tensor(_kept(weights.shape, dropout_p, as_array(weights)))
    return matmul(weights, value)


def _fused(query, key, value, mask):
    """Whether `Attention` computes it: it has no gradient for the mask."""
    constant = not (isinstance(mask, Tensor) and mask.requires_grad)
    return constant and attention_fast.suits(*map(as_array, (query, key, value)),
                                             None if mask is None else as_array(mask))


def _heads(x):
    """x (..., T, E) as (Z, T, E)."""
    return x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])


def _tensor(x):
    return x if isinstance(x, Tensor) else Tensor(x)


def _weights(q, k, mask):
    if mask is None:
        return AttentionWeights()(q, k)
    if as_array(mask).dtype.kind == "b":
        return AttentionWeights(~as_array(mask))(q, k)
    return AttentionWeights()(q, k, mask)


def _causal(T, S, like):
    """(T, S), True where key s is not behind query t."""
    xp = module_of(as_array(like))
    return xp.arange(S) <= xp.arange(T)[:, None]


def _kept(shape, p, like):
    """0 with probability p, otherwise 1 / (1 - p)."""
    kept = (generator().random(shape) >= p).astype(like.dtype)
    kept /= like.dtype.type(1 - p)
    return to_device(kept, device_of(like))


# --- the kernels ----------------------------------------------------------------------------------
def weights_of(q, k, scale, causal, mask, z, t):
    """(S,): the weights that query t of head z gives; zeros if it may look nowhere."""
    scores = scale * k[z] @ q[z, t]
    if mask is not None:
        scores += mask[z % len(mask), t]
    if causal:
        scores[t + 1:] = -np.inf
    largest = scores.max()
    e = np.exp(scores - largest) if largest != -np.inf else np.zeros_like(scores)
    return e / max(e.sum(), 1e-30)


@Kernel
def attention_kernel(q, k, v, scale, causal, mask, kept, y):
    """y (Z, T, F), query by query: the values, weighted.

    mask: (Z or 1, T, S), added to the scores; kept: (Z, T, S), by which weights are multiplied; or
    None.
    """
    for z, t in np.ndindex(y.shape[:2]):
        p = weights_of(q, k, scale, causal, mask, z, t)
        y[z, t] = (p if kept is None else p * kept[z, t]) @ v[z]


@jit(fastmath=True)
def weigh(q, k, scale, causal, mask, z, t, p):
    """p (S,) = `weights_of` the query."""
    S, largest, total = k.shape[1], -np.inf, 0.0
    seen = min(t + 1, S) if causal else S
    for s in range(seen):
        p[s] = 0
        for e in range(q.shape[2]):
            p[s] += scale * q[z, t, e] * k[z, s, e]
        if mask is not None:
            p[s] += mask[z % len(mask), t, s]
        largest = max(largest, p[s])
    for s in range(S):
        p[s] = 0 if s >= seen or p[s] == -np.inf else math.exp(p[s] - largest)
        total += p[s]
    for s in range(S):
        p[s] /= total if total != 0 else 1


@attention_kernel.variant("cpu_loops", parallel=True, fastmath=True, allocates=True)
def _(q, k, v, scale, causal, mask, kept, y):                # a core owns one head
    for z in prange(len(q)):
        p = np.empty(k.shape[1], q.dtype)
        for t in range(q.shape[1]):
            weigh(q, k, scale, causal, mask, int(z), t, p)
            y[z, t] = 0
            for s in range(len(p)):
                part = p[s] if kept is None else p[s] * kept[z, t, s]
                for f in range(v.shape[2]):
                    y[z, t, f] += part * v[z, s, f]


def _tiled(fast, other):
    """`fast` where there is a register tile."""
    return lambda *args: (fast if args[0].dtype == np.float32 and tiles() else other)(*args)


attention_kernel.python("cpu_gemm", attention_gemm.forward)
attention_kernel.python("cpu", _tiled(attention_fast.forward, attention_gemm.forward))
attention_kernel.python("gpu", attention_gemm.forward)


@Kernel
def attention_backward_kernel(g, q, k, v, scale, causal, mask, kept, d):
    """d: the gradients of q, k and v, one behind the other, from g, that of y."""
    dq, dk, dv = parts(d, q, k, v)
    dk[...], dv[...] = 0, 0
    for z, t in np.ndindex(g.shape[:2]):
        p = weights_of(q, k, scale, causal, mask, z, t)
        r = 1 if kept is None else kept[z, t]
        dp = r * (v[z] @ g[z, t])
        ds = scale * p * (dp - p @ dp)
        dq[z, t] = ds @ k[z]
        dk[z] += np.outer(ds, q[z, t])
        dv[z] += np.outer(p * r, g[z, t])


@jit(parallel=True, fastmath=True, allocates=True)           # a core owns one head
def backward_loops(g, q, k, v, scale, causal, mask, kept, dq, dk, dv):
    """The three gradients."""
    for z in prange(len(q)):
        p, dp = np.empty(k.shape[1], q.dtype), np.empty(k.shape[1], q.dtype)
        dq[z], dk[z], dv[z] = 0, 0, 0
        for t in range(q.shape[1]):
            weigh(q, k, scale, causal, mask, int(z), t, p)
            mean = 0.0
            for s in range(len(p)):
                r, dp[s] = 1 if kept is None else kept[z, t, s], 0
                for f in range(v.shape[2]):
                    dp[s] += r * g[z, t, f] * v[z, s, f]
                    dv[z, s, f] += r * p[s] * g[z, t, f]
                mean += p[s] * dp[s]
            for s in range(len(p)):
                ds = scale * p[s] * (dp[s] - mean)
                for e in range(q.shape[2]):
                    dq[z, t, e] += ds * k[z, s, e]
                    dk[z, s, e] += ds * q[z, t, e]


def _backward_loops(g, q, k, v, *chosen_and_d):
    *chosen, d = chosen_and_d
    backward_loops(g, q, k, v, *chosen, *parts(d, q, k, v))


attention_backward_kernel.python("cpu_loops", _backward_loops)
attention_backward_kernel.python("cpu_gemm", attention_gemm.backward)
attention_backward_kernel.python("cpu", _tiled(attention_fast.backward, attention_gemm.backward))
attention_backward_kernel.python("gpu", attention_gemm.backward)
