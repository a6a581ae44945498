"""blend's kernels as workers: a row's features lie side by side, 16 of them an instruction."""
from __future__ import annotations

from tinyvision.ops.nms_fast import ints
from tinyvision.worker import after, crew, longs, real_worker, share

BLOCK = 16                                 # features that one thread adds to: a line of the cache


def blend(x, places, weights, y):
    """See `blend.blend_kernel`: a thread owns some of the y."""
    (_, P, C), (N, L, K) = x.shape, places.shape
    count = crew(y.size * K)
    sum_rows(count, x, places, weights, y, N, P, C, L, K, count)


@real_worker(fastmath=True)
def sum_rows(job, k):
    """One thread's rows of y."""
    p = longs(job)
    x, places, weights, y = reals(p[0]), ints(p[1]), reals(p[2]), reals(p[3])
    N, P, C, L, K = p[4], p[5], p[6], p[7], p[8]
    first, end = share(N * L, k, p[9])
    for l in range(first, end):
        out = after(y, l * C)
        for c in range(C):
            out[c] = 0
        for j in range(l * K, l * K + K):
            if places[j] >= 0:
                row, w = after(x, (l // L * P + places[j]) * C), weights[j]
                for c in range(C):
                    out[c] += w * row[c]


def blend_adjoint(y, places, weights, x):
    """See `blend.blend_adjoint_kernel`: a thread owns some features of all rows; none collide."""
    (_, P, C), (N, L, K) = x.shape, places.shape
    count = min(crew(x.size + y.size * K), N * -(-C // BLOCK))
    spread_rows(count, y, places, weights, x, N, P, C, L, K, count)


@real_worker(fastmath=True)
def spread_rows(job, k):
    """One thread's features, BLOCK by BLOCK of every image."""
    p = longs(job)
    y, places, weights, x = reals(p[0]), ints(p[1]), reals(p[2]), reals(p[3])
    N, P, C, L, K = p[4], p[5], p[6], p[7], p[8]
    B = (C + BLOCK - 1) // BLOCK
    first, end = share(N * B, k, p[9])
    while first < end:
        n, start = first // B, first % B * BLOCK
        size = min(C - start, (end - first) * BLOCK)         # neighbours of one image at once
        first += (size + BLOCK - 1) // BLOCK
        for r in range(n * P, n * P + P):
            row = after(x, r * C + start)
            for c in range(size):
                row[c] = 0
        for l in range(n * L, n * L + L):
            value = after(y, l * C + start)
            for j in range(l * K, l * K + K):
                if places[j] >= 0:
                    row, w = after(x, (n * P + places[j]) * C + start), weights[j]
                    for c in range(size):
                        row[c] += w * value[c]


def blend_weights(x, y, places, weights):
    """See `blend.blend_weights_kernel`: a thread owns some of the weights."""
    (_, P, C), (N, L, K) = x.shape, places.shape
    count = crew(y.size * K)
    compare_rows(count, x, y, places, weights, N, P, C, L, K, count)


@real_worker(fastmath=True)
def compare_rows(job, k):
    """One thread's inner products."""
    p = longs(job)
    x, y, places, weights = reals(p[0]), reals(p[1]), ints(p[2]), reals(p[3])
    N, P, C, L, K = p[4], p[5], p[6], p[7], p[8]
    first, end = share(N * L, k, p[9])
    for l in range(first, end):
        value = after(y, l * C)
        for j in range(l * K, l * K + K):
            weights[j] = 0
            total = weights[j]
            if places[j] >= 0:
                row = after(x, (l // L * P + places[j]) * C)
                for c in range(C):
                    total += row[c] * value[c]
            weights[j] = total
