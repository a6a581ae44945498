"""RoI pooling, fast: the maxima of 64 channels at a time (see `regions_fast`).

Putting values back is bound by memory (eight bytes are read for one addition), so all that can be
done is to read them in the order in which they lie: a core takes as many planes at once as its
cache holds, not one after the other.
"""
from __future__ import annotations

import numpy as np

from tinyvision.kernel import jit, prange
from tinyvision.ops.regions_fast import LANES, blocks, turn


def roi_max(x, batch, rows, cols, index):
    """The rung `cpu` of roi_max_kernel."""
    N, C, H, W = x.shape
    turned = np.empty((N * blocks(C), H * W, LANES), x.dtype)
    turn(x, turned)
    peaks(turned, blocks(C), W, batch, rows, cols, index)


@jit(parallel=True, allocates=True)
def peaks(turned, B, W, batch, rows, cols, index):
    """Find every bin's maxima; a core owns one RoI in 64 channels."""
    K, C, P, Q = index.shape
    out = index.reshape(K, C, P * Q)
    for i in prange(B * K):
        k, block = int(i) % K, int(i) // K
        pixels, start = turned[batch[k] * B + block], block * LANES
        places, largest = np.empty((P * Q, LANES), np.int32), np.empty(LANES, turned.dtype)
        for p in range(P):
            for q in range(Q):
                peak(pixels, rows[k, p], cols[k, q], W, largest, places[p * Q + q])
        for c in range(min(LANES, C - start)):
            for b in range(P * Q):
                out[k, start + c, b] = places[b, c]


@jit(inline=True)
def peak(pixels, row, col, W, largest, place):
    """place[c] = where the bin row x col has channel c's first maximum, or first NaN."""
    place[:] = -1
    for h in range(row[0], row[1]):
        for w in range(col[0], col[1]):
            here = np.int32(h * W + w)
            if h == row[0] and w == col[0]:
                for c in range(LANES):
                    largest[c], place[c] = pixels[here, c], here
            else:
                for c in range(LANES):
                    v, best = pixels[here, c], largest[c]
                    better = (v > best) | ((v != v) & (best == best))
                    largest[c] = v if better else best
                    place[c] = here if better else place[c]
