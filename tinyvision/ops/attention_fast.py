'''Attention on the register tile (see `simd`): float32, the scores never leave the core's cache.

The scores of one head, T x S of them, are more numbers than q, k and v together; written to memory
and read again they cost more than the arithmetic. Here a task is a head: a block of queries at a
time is multiplied with all keys, softmax turns these scores into weights where they lie, and the
product with v uses them up. The way back computes the weights again from q and k, which is cheaper
than fetching them, and then, with g the gradient of y and R what dropout left of ones,

    dP = R g v^T,   dS = scale P (dP - sum P dP),   dq = dS k,   dk = dS^T q,   dv = (P R)^T g

Sums over queries are added block by block, in order: results are the same from run to run.
Flash attention (Dao et al. 2022) goes further and cuts the keys into blocks, too.
'''
from __future__ import annotations

import math

import numpy as np

from tinyvision.kernel import jit, prange, scratch, threads
from tinyvision.ops.matmul_fast import DEPTH, EDGE, machine_of, multiply_panels, pack
from tinyvision.ops.softmax import row_max
from tinyvision.ops.vector_math import exp_below
from tinyvision.simd import tiles

SCORES = 1 << 15                           # scores of a block of queries: 128 KB
NOTHING = np.zeros((1, 1, 1), np.float32)  # stands for no mask


def suits(q, k, v, mask) -> bool:
    """Whether `forward` takes these: float32 heads of one batch, as many as there are threads."""
    shape = (*q.shape[:-1], k.shape[-2])
    return ((mask is None or mask.dtype.char in "f?"
             and np.broadcast_shapes(mask.shape, shape) == shape)
            and q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
            and 0 not in q.shape + k.shape + v.shape
            and all(type(x) is np.ndarray and x.dtype == np.float32 for x in (q, k, v))
            and tiles() is not None and math.prod(q.shape[:-2]) >= threads())


def forward(q, k, v, scale, causal, mask, kept, y):
    """y (Z, T, F) = attention of q (Z, T, E), k (Z, S, E), v (Z, S, F).

    Args:
        mask: (Z or 1, T, S), added to the scores; or None.
        kept: (Z, T, S), by which weights are multiplied; or None.
    """
    t, rows, rooms, scores = _rooms(q, k, v)
    heads_forward(q, k, v, np.float32(scale), causal, *_given(mask), *_given(kept), rows, t.table,
                  machine_of(t), rooms, scores, y)


def backward(g, q, k, v, scale, causal, mask, kept, dq, dk, dv):
    """The gradients of q, k and v from g, that of y; the rest as in `forward`."""
    t, rows, rooms, scores = _rooms(q, k, v)
    heads_backward(g, q, k, v, np.float32(scale), causal, *_given(mask), *_given(kept), rows,
                   t.table, machine_of(t), rooms, scores, dq, dk, dv)


def _given(mask):
    return (False, NOTHING) if mask is None else (True, mask)


def _rooms(q, k, v):
    """(Tiles, the queries of a block, every thread's room, every thread's scores)."""
    t, workers, (_, T, E), (S, F) = tiles(), threads(), q.shape, v.shape[1:]
    width, E, F = (-(-n // t.lanes) * t.lanes for n in (S, E, F))
    rows = min(T, DEPTH, max(2 * t.rows[1], SCORES // width))
    room = EDGE * t.lanes + 2 * width * (E + F) + rows * (E + F)
    return (t, rows, scratch("heads", (workers, room)),
            scratch("scores", (workers, 2, rows, width)))


# --- products with packed panels of more than DEPTH rows ------------------------------------------
@jit
def pack_blocks(b, b_step, b_column, K, N, to, machine):
    """B (K, N) as panels, DEPTH of its rows after the other; returns the address behind them."""
    padded = (N + machine[2] - 1) // machine[2] * machine[2]
    for k in range(0, K, DEPTH):
        pack(b + 4 * k * b_step, b_step, b_column, min(DEPTH, K - k), N, to + 4 * k * padded,
             machine)
    return to + 4 * K * padded


@jit
def multiply_blocks(a, a_row, panels, N, c, K, until, table, machine, room):
    """c = A B of the first panels of a B (K, N) from pack_blocks; A[:, until:] is known to be 0."""
    padded = (N + machine[2] - 1) // machine[2] * machine[2]
    for k in range(0, until, DEPTH):
        multiply_panels(a + 4 * k, a_row, 1, panels + 4 * k * padded, c, k > 0, min(DEPTH, K - k),
                        table, machine, room)


# --- forward --------------------------------------------------------------------------------------
@jit(parallel=True)
def heads_forward(q, k, v, scale, causal, masked, mask, dropping, kept, rows, table, machine, rooms,
                  scores, y):
    """Deal the heads to the threads."""
    for worker in prange(len(rooms)):
        w = np.int64(worker)
        for z in range(w * len(q) // len(rooms), (w + 1) * len(q) // len(rooms)):
            head_forward(q[z], k[z], v[z], scale, causal, masked, mask[z % len(mask)], dropping,
                         kept[z % len(kept)], rows, table, machine, rooms[w], scores[w, 0], y[z])


@jit
def head_forward(q, k, v, scale, causal, masked, mask, dropping, kept, rows, table, machine, room,
                 scores, y):
    """One head."""
    (T, E), (S, F), L = q.shape, v.shape, machine[2]
    keys = room[EDGE * L:].ctypes.data
    values = pack_blocks(k.ctypes.data, 1, E, E, S, keys, machine)
    pack_blocks(v.ctypes.data, F, 1, S, F, values, machine)
    blocks = (T + rows - 1) // rows
    for block in range(blocks):
        t0, t1 = block * T // blocks, (block + 1) * T // blocks
        until = min(S, t1) if causal else S
        weigh(q, t0, t1, until, S, keys, scale, causal, masked, mask, table, machine, room,
              scores)
        if dropping:
            for t in range(t0, t1):
                drop(scores[t - t0], kept[t])
        multiply_blocks(scores.ctypes.data, scores.shape[1], values, F, y[t0:t1, :], S, until,
                        table, machine, room)


@jit
def weigh(q, t0, t1, until, S, keys, scale, causal, masked, mask, table, machine, room, scores):
    """scores = softmax of queries t0 to t1 times the first `until` of S packed keys."""
    (T, E), width, L = q.shape, scores.shape[1], machine[2]
    wide = min(width, (until + 2 * L - 1) // (2 * L) * 2 * L)
    multiply_blocks(q[t0].ctypes.data, E, keys, S, scores[:t1 - t0, :wide], E, E, table, machine,
                    room)
    for t in range(t0, t1):
        seen = min(until, t + 1) if causal else until
        if masked:
            add_mask(scores[t - t0, :seen], scale, mask[t])
        weights_row(scores[t - t0, :seen], np.float32(1) if masked else scale)
        scores[t - t0, seen:] = 0


@jit(fastmath=True)
def add_mask(row, scale, mask):
    """Scores, scaled and masked."""
    for s in range(row.size):
        row[s] = row[s] * scale + mask[s]


@jit(fastmath=True)
def weights_row(row, scale):
    """row = softmax(scale row); zeros where every score is -inf."""
    for s in range(row.size):
        row[s] = row[s] * scale
    top, total = row_max(row), np.float32(0)
    if top == -np.inf:
        row[:] = 0
        return
    for s in range(row.size):
        e = exp_below(row[s] - top)
        row[s] = e
        total += e
    total = np.float32(1) / total
    for s in range(row.size):
        row[s] *= total


@jit(fastmath=True)
def drop(row, kept):
    """What dropout leaves of a row that is longer, perhaps, than `kept`."""
    for s in range(kept.size):
        row[s] *= kept[s]


# --- backward -------------------------------------------------------------------------------------
@jit(parallel=True)
def heads_backward(g, q, k, v, scale, causal, masked, mask, dropping, kept, rows, table, machine,
                   rooms, scores, dq, dk, dv):
    """Deal the heads to the threads."""
    for worker in prange(len(rooms)):
        w = np.int64(worker)
        for z in range(w * len(q) // len(rooms), (w + 1) * len(q) // len(rooms)):
            head_backward(g[z], q[z], k[z], v[z], scale, causal, masked, mask[z % len(mask)],
                          dropping, kept[z % len(kept)], rows, table, machine, rooms[w],
                          scores[w, 0], scores[w, 1], dq[z], dk[z], dv[z])


@jit
def head_backward(g, q, k, v, scale, causal, masked, mask, dropping, kept, rows, table, machine,
                  room, P, D, dq, dk, dv):
    """One head."""
    (T, E), (S, F), L, width = q.shape, v.shape, machine[2], P.shape[1]
    keys = room[EDGE * L:].ctypes.data
    values = pack_blocks(k.ctypes.data, 1, E, E, S, keys, machine)
    upright = pack_blocks(v.ctypes.data, 1, F, F, S, values, machine)
    queries = pack_blocks(k.ctypes.data, E, 1, S, E, upright, machine)
    blocks = (T + rows - 1) // rows
    for block in range(blocks):
        t0, t1 = block * T // blocks, (block + 1) * T // blocks
        until = min(S, t1) if causal else S
        wide = min(width, (until + 2 * L - 1) // (2 * L) * 2 * L)
        weigh(q, t0, t1, until, S, keys, scale, causal, masked, mask, table, machine, room, P)
        multiply_blocks(g[t0].ctypes.data, F, values, S, D[:t1 - t0, :wide], F, F, table, machine,
                        room)
        for t in range(t0, t1):
            if dropping:
                drop(D[t - t0], kept[t])
            scores_gradient(P[t - t0, :until], D[t - t0, :until], scale)
            D[t - t0, until:] = 0
            if dropping:
                drop(P[t - t0], kept[t])
        multiply_blocks(D.ctypes.data, width, upright, E, dq[t0:t1, :], S, until, table, machine,
                        room)
        here = S if block == 0 else until                    # the first block writes all rows
        gradients = pack_blocks(q[t0].ctypes.data, E, 1, t1 - t0, E, queries, machine)
        pack_blocks(g[t0].ctypes.data, F, 1, t1 - t0, F, gradients, machine)
        multiply_panels(D.ctypes.data, 1, width, queries, dk[:here, :], block > 0, t1 - t0, table,
                        machine, room)
        multiply_panels(P.ctypes.data, 1, width, gradients, dv[:here, :], block > 0, t1 - t0, table,
                        machine, room)


@jit(fastmath=True)
def scores_gradient(p, d, scale):
    """d = scale p (d - sum p d): of the scores, from that of the weights."""
    total = np.float32(0)
    for s in range(p.size):
        total += p[s] * d[s]
    for s in range(p.size):
        d[s] = p[s] * (d[s] - total) * scale
