"""RoI Align, fast: 64 channels at a time, first along one axis, then along the other.

The weights of a bin are a product, so a bin of s x t pixels needs s + t sums instead of s t:

    line[w] = sum over h of rows[p,h] x[h,w]          shared by all bins of the row p
    y[p,q]  = sum over w of cols[q,w] line[w]

every number being a row of 64 channels (see `regions_fast`). The adjoint goes the same way back:
it first adds up what the bins send to a row of pixels, then spreads that along the row.

A core owns 64 channels of one image (and a band of rows, if cores outnumber such blocks), so no
two ever write to the same place: no atomics, and a pixel's sum always has the order of the RoIs.
"""
from __future__ import annotations

import numpy as np

from tinyvision.kernel import jit, prange, threads
from tinyvision.ops.regions_fast import LANES, blocks, columns_used, turn, turn_back


def roi_align(x, batch, rows, cols, tall, wide, y):
    """The rung `cpu` of roi_align_kernel."""
    N, C, H, W = x.shape
    turned = np.empty((N * blocks(C), H * W, LANES), x.dtype)
    turn(x, turned)
    gather(turned, blocks(C), batch, rows, cols, tall, wide, y)


def roi_align_adjoint(y, batch, rows, cols, tall, wide, x):
    """The rung `cpu` of roi_align_adjoint_kernel."""
    N, C, H, W = x.shape
    turned = np.empty((N * blocks(C), H * W, LANES), x.dtype)
    bands = min(H, -(-threads() // (N * blocks(C))))
    spread(y, batch, rows, cols, tall, wide, blocks(C), bands, turned)
    turn_back(turned, x)


@jit(parallel=True, fastmath=True, allocates=True)
def gather(turned, B, batch, rows, cols, tall, wide, y):
    """Read every bin; a core owns one RoI in 64 channels, and all RoIs of a block come together.

    It is one function because only then the compiler sees that `line` and `bins` are not `turned`:
    cut in three it took 1.7 times as long.
    """
    (K, C, P, Q), W = y.shape, cols.shape[2]
    out = y.reshape(K, C, P * Q)
    for i in prange(B * K):
        k, block = int(i) % K, int(i) // K
        pixels, start = turned[batch[k] * B + block], block * LANES
        used, spans = np.empty(W, np.int64), np.empty((Q, 2), np.int64)
        line, bins = np.empty((W, LANES), y.dtype), np.empty((P * Q, LANES), y.dtype)
        count = columns_used(cols[k], wide[k], used, spans)
        for p in range(P):
            for j in range(count):
                for c in range(LANES):
                    line[j, c] = 0
            for h in range(tall[k, p, 0], tall[k, p, 1]):
                weight = rows[k, p, h]
                if weight != 0:                              # what has none is not looked at
                    for j in range(count):
                        pixel = h * W + used[j]
                        for c in range(LANES):
                            line[j, c] += weight * pixels[pixel, c]
            for q in range(Q):
                b = p * Q + q
                for c in range(LANES):
                    bins[b, c] = 0
                for j in range(spans[q, 0], spans[q, 1]):
                    weight = cols[k, q, used[j]]
                    if weight != 0:
                        for c in range(LANES):
                            bins[b, c] += weight * line[j, c]
        for c in range(min(LANES, C - start)):
            for b in range(P * Q):
                out[k, start + c, b] = bins[b, c]


@jit(parallel=True, fastmath=True, allocates=True)
def spread(y, batch, rows, cols, tall, wide, B, bands, turned):
    """Add every bin to its pixels; a core owns 64 channels of an image, in a band of rows."""
    (K, C, P, Q), W = y.shape, cols.shape[2]
    values, H = y.reshape(K, C, P * Q), rows.shape[2]
    for i in prange(len(turned) * bands):
        block, band = int(i) // bands, int(i) % bands
        start, first, last = block % B * LANES, band * H // bands, (band + 1) * H // bands
        pixels, used, spans = turned[block], np.empty(W, np.int64), np.empty((Q, 2), np.int64)
        pixels[first * W:last * W] = 0
        bins, line = np.zeros((P * Q, LANES), y.dtype), np.empty((Q, LANES), y.dtype)
        for k in range(K):
            top, bottom = max(tall[k, :, 0].min(), first), min(tall[k, :, 1].max(), last)
            if batch[k] == block // B and top < bottom:
                columns_used(cols[k], wide[k], used, spans)
                for c in range(min(LANES, C - start)):
                    for b in range(P * Q):
                        bins[b, c] = values[k, start + c, b]
                for h in range(top, bottom):
                    if collect(bins, rows[k, :, h], line):
                        scatter(line, cols[k], used, spans, pixels[h * W:h * W + W])


@jit(fastmath=True)
def collect(bins, weights, line):
    """line[q] = the sum over p of weights[p] bins[p, q]; whether there is a weight at all."""
    line[:] = 0
    there = False
    for p in range(len(weights)):
        if weights[p] != 0:
            there = True
            for q in range(len(line)):
                for c in range(LANES):
                    line[q, c] += weights[p] * bins[p * len(line) + q, c]
    return there


@jit(fastmath=True)
def scatter(line, cols, used, spans, pixels):
    """pixels[w] += the sum over q of cols[q, w] line[q]."""
    for q in range(len(line)):
        for j in range(spans[q, 0], spans[q, 1]):
            weight = cols[q, used[j]]
            if weight != 0:
                for c in range(LANES):
                    pixels[used[j], c] += weight * line[q, c]
