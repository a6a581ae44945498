'''Attention on the register tile (see `simd`): float32, the scores never leave the core's cache.

The scores of one head, T x S of them, are more numbers than q, k and v together; written to memory
and read again they cost more than the arithmetic. Here a task is a head: a block of queries at a
time is multiplied with all keys, softmax turns these scores into weights where they lie, and the
product with v uses them up. The way back computes the weights again from q and k, which is cheaper
than fetching them, and then, with g the gradient of y and R what dropout left of ones,

    dP = R g v^T,   dS = scale P (dP - sum P dP),   dq = dS k,   dk = dS^T q,   dv = (P R)^T g

Sums over queries are added block by block, in order: results are the same from run to run.
The calls of a head are a program (see `program`), made once for every shape. Flash attention (Dao
et al. 2022) goes further and cuts the keys into blocks, too.
'''
from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from tinyvision.kernel import jit, threads
from tinyvision.ops.matmul_fast import DEPTH, OWN, cut, multiply_panels, pack, tools
from tinyvision.ops.program import ROOM, Program, arrays, step
from tinyvision.ops.vector_math import exp_below
from tinyvision.simd import Tiles, tiles
from tinyvision.worker import floats

SCORES = 1 << 15                           # scores of a block of queries: 128 KB
SERIAL = 1 << 18                           # products below which one thread is faster


def suits(q, k, v, mask) -> bool:
    """Whether `Attention` takes these: heads of one batch, in float32 as many as there are threads.

    (float64 takes the same way without the tile, so that gradients are checked where they are used.)
    """
    Q, K, V = q.shape, k.shape, v.shape
    return (q.dtype == k.dtype == v.dtype and Q[:-2] == K[:-2] == V[:-2]
            and type(q) is type(k) is type(v) is np.ndarray and 0 not in Q + K + V
            and (mask is None or mask.dtype in (bool, q.dtype)
                 and np.broadcast_shapes(mask.shape, (*Q[:-1], K[-2])) == (*Q[:-1], K[-2]))
            and (q.dtype == np.float64 or q.dtype == np.float32
                 and tiles() is not None and math.prod(Q[:-2]) >= threads()))


def forward(q, k, v, scale, causal, mask, kept, y):
    """See `attention.attention_kernel`: all of it contiguous float32."""
    _run(head_forward, q, k, v, scale, causal, mask, kept, y)


def backward(g, q, k, v, scale, causal, mask, kept, d):
    """See `attention.attention_backward_kernel`."""
    _run(head_backward, q, k, v, scale, causal, mask, kept, g, d, d, d)


def _run(head, q, k, v, scale, causal, mask, kept, *more):
    given = [q if x is None else x for x in (mask, kept)]    # where there is none, none is read
    program(head, math.prod(q.shape[:-2]), *q.shape[-2:], *v.shape[-2:], scale, causal,
            0 if mask is None else mask.size, kept is not None, tiles(), threads())(
        q, k, v, *given, *more)


@functools.lru_cache(64)
def program(head, Z, T, E, S, F, scale, causal, masked, dropping, t, workers):
    """The program of Z heads, each of which is a part of the work; `masked` numbers of masks."""
    h, z = Head(T, E, S, F, scale, causal, masked > 0, dropping, t), np.arange(Z)
    offsets = [E * T * z, E * S * z, F * S * z, T * S * z * (masked > T * S), T * S * z * dropping,
               F * T * z]                                    # of q, k, v, mask, kept, y or g
    if head is head_backward:                                # dq, dk, dv
        offsets += [offsets[0], Z * E * T + offsets[1], Z * E * (T + S) + offsets[2]]
    return Program([list(head(h))], [4 * far for far in offsets],
                   workers if Z * T * S * (E + F) >= SERIAL else 1, (h.room()[-1] - ROOM) // 4)


class Head(NamedTuple):
    """What a head's calls depend on: q (T, E), k (S, E), v (S, F); see `forward`."""
    T: int
    E: int
    S: int
    F: int
    scale: float
    causal: bool
    masked: bool
    dropping: bool
    t: Tiles

    def whole(self, n):
        """n numbers in whole vectors."""
        return -(-n // self.t.lanes) * self.t.lanes

    @property
    def width(self):
        """Floats of a row of scores."""
        return self.whole(self.S)

    @property
    def blocks(self):
        """The blocks of queries, (first, number), whose scores stay in the cache."""
        rows = min(self.T, DEPTH, max(2 * self.t.rows[1], SCORES // self.width))
        return cut(self.T, -(-self.T // rows))

    def room(self):
        """Addresses in `ROOM`: of scores, of their gradients, of packed k, v, k, q, g; the end."""
        rows, E, F = self.blocks[-1][1], self.whole(self.E), self.whole(self.F)
        sizes = (OWN, rows * self.width, rows * self.width, self.width * E, self.width * F,
                 self.width * E, rows * E, rows * F)
        return [ROOM + 4 * int(end) for end in np.cumsum(sizes)]


# --- products with packed panels of more than DEPTH rows ------------------------------------------
def pack_blocks(b, b_row, b_step, K, N, to, t):
    """`pack` of B (K, N), DEPTH of its rows after the other."""
    for k in range(0, K, DEPTH):
        yield pack(b + 4 * k * b_row, b_row, b_step, min(DEPTH, K - k), N,
                   to + 4 * k * -(-N // t.lanes) * t.lanes, t)


def multiply_blocks(a, a_row, panels, padded, c, c_row, M, N, K, until, t):
    """C (M, N) = A B for B (K, padded) from pack_blocks; A[:, until:] is known to be 0."""
    for k in range(0, until, DEPTH):
        yield multiply_panels(a + 4 * k, a_row, 1, panels + 4 * k * padded, *_start(k, c, c_row),
                              c, c_row, M, N, min(DEPTH, K - k), tools(t), ROOM)


def _start(k, c, c_row):
    """What a product is added to: block k of a sum to the sum so far, the first one to nothing."""
    return (c, c_row) if k else (0, 0)


# --- a head's calls -------------------------------------------------------------------------------
def head_forward(h):
    """y = P v, block by block of queries."""
    (q, k, v, mask, kept, y), (scores, _, keys, values, *_) = arrays(6), h.room()
    yield from pack_blocks(k, 1, h.E, h.E, h.S, keys, h.t)
    yield from pack_blocks(v, h.F, 1, h.S, h.F, values, h.t)
    for first, count in h.blocks:
        until = min(h.S, first + count) if h.causal else h.S
        yield from weigh(h, q, mask, first, count, until, keys, scores)
        if h.dropping:
            yield drop(scores, h.width, kept + 4 * first * h.S, h.S, count)
        yield from multiply_blocks(scores, h.width, values, h.whole(h.F), y + 4 * first * h.F, h.F,
                                   count, h.F, h.S, until, h.t)


def weigh(h, q, mask, first, count, until, keys, scores):
    """scores = softmax of `count` queries times the first `until` packed keys, then zeros."""
    wide, scale = min(h.width, -(-until // (2 * h.t.lanes)) * 2 * h.t.lanes), h.scale
    yield from multiply_blocks(q + 4 * first * h.E, h.E, keys, h.width, scores, h.width, count,
                               wide, h.E, h.E, h.t)
    if h.masked:
        yield add_mask(scores, h.width, mask + 4 * first * h.S, h.S, count, bits(scale))
        scale = 1.0
    seen, more = (first + 1, 1) if h.causal else (h.S, 0)
    yield softmax_rows(scores, h.width, count, h.S, seen, more, bits(scale))


def head_backward(h):
    """dq block by block of queries; dk and dv are sums over the blocks."""
    q, k, v, mask, kept, g, dq, dk, dv = arrays(9)
    P, D, keys, values, upright, queries, gradients, _ = h.room()
    yield from pack_blocks(k, 1, h.E, h.E, h.S, keys, h.t)
    yield from pack_blocks(v, 1, h.F, h.F, h.S, values, h.t)
    yield from pack_blocks(k, h.E, 1, h.S, h.E, upright, h.t)
    for first, count in h.blocks:
        until, here = min(h.S, first + count) if h.causal else h.S, 4 * first
        wide = min(h.width, -(-until // (2 * h.t.lanes)) * 2 * h.t.lanes)
        yield from weigh(h, q, mask, first, count, until, keys, P)
        yield from multiply_blocks(g + here * h.F, h.F, values, h.width, D, h.width, count, wide,
                                   h.F, h.F, h.t)
        if h.dropping:
            yield drop(D, h.width, kept + here * h.S, h.S, count)
        yield scores_gradient(P, D, h.width, count, until, h.S, bits(h.scale))
        if h.dropping:
            yield drop(P, h.width, kept + here * h.S, h.S, count)
        yield from multiply_blocks(D, h.width, upright, h.whole(h.E), dq + here * h.E, h.E, count,
                                   h.E, h.S, until, h.t)
        rows = h.S if first == 0 else until                  # the first block writes all rows
        for scores, x, size, packed, out in ((D, q, h.E, queries, dk), (P, g, h.F, gradients, dv)):
            yield pack(x + here * size, size, 1, count, size, packed, h.t)
            yield multiply_panels(scores, 1, h.width, packed, *_start(first, out, size), out, size,
                                  rows, size, count, tools(h.t), ROOM)


def bits(number):
    """Those of a float32, as steps take whole numbers only; `single` reads them."""
    return int(np.float32(number).view(np.int32))


# --- the steps: every row of scores (count, width) ------------------------------------------------
@jit
def single(bits):
    """The float32 with these bits."""
    return np.int32(bits).view(np.float32)


@step(fastmath=True)
def add_mask(scores, width, mask, S, count, scale):
    """Scores, scaled and masked."""
    for t in range(count):
        row, hidden = floats(scores + 4 * t * width), floats(mask + 4 * t * S)
        for s in range(S):
            row[s] = row[s] * single(scale) + hidden[s]


@step(fastmath=True)
def softmax_rows(scores, width, count, S, seen, more, scale):
    """softmax(scale row) of the first `seen` scores, of `more` in the next row, and so on; zeros
    behind them, and where every score is -inf.

    The maximum is found among the bits, as in `softmax_fast.row_max`, because of NaNs.
    """
    for t in range(count):
        row, n = floats(scores + 4 * t * width), min(seen + t * more, S)
        top, total = np.int32(-2**31), np.float32(0)
        for s in range(n):
            row[s] *= single(scale)
            key = in_order(np.float32(row[s]).view(np.int32))
            top = key if key > top else top
        largest = single(in_order(top))
        n = n if largest > -np.inf else 0
        for s in range(n):
            e = exp_below(row[s] - largest)
            row[s] = e
            total += e
        total = np.float32(1) / total
        for s in range(n):
            row[s] *= total
        for s in range(n, S):
            row[s] = 0


@jit
def in_order(bits):
    """Whole numbers in the order of the floats with these bits, and the other way round."""
    return np.int32(bits ^ np.int32(np.int32(bits >> 31) & np.int32(2**31 - 1)))


@step(fastmath=True)
def drop(scores, width, kept, S, count):
    """What dropout leaves."""
    for t in range(count):
        row, part = floats(scores + 4 * t * width), floats(kept + 4 * t * S)
        for s in range(S):
            row[s] *= part[s]


@step(fastmath=True)
def scores_gradient(P, D, width, count, until, S, scale):
    """D = scale P (D - sum P D): of the scores, from that of the weights; then zeros."""
    for t in range(count):
        p, d, total = floats(P + 4 * t * width), floats(D + 4 * t * width), np.float32(0)
        for s in range(until):
            total += p[s] * d[s]
        for s in range(until):
            d[s] = p[s] * (d[s] - total) * single(scale)
        for s in range(until, S):
            d[s] = 0
