"""ps_roi's kernels as workers: a bin looks only at the pixels that its tables reach."""
from __future__ import annotations

from tinyvision.ops.nms_fast import ints
from tinyvision.worker import after, crew, longs, real_worker, share


def read(x, batch, rows, cols, tall, wide, y):
    """See `ps_roi.ps_roi_kernel`: a thread owns some of the regions."""
    (K, C, P, Q), (_, D, H, W) = y.shape, x.shape
    count = crew(16 * y.size)
    read_regions(count, x, batch, rows, cols, tall, wide, y, K, P, Q, D, H, W, count)


@real_worker(fastmath=True)
def read_regions(job, k):
    """One thread's regions, bin by bin: channel d of D belongs to bin d mod P Q."""
    j = longs(job)
    x, batch, rows, cols, tall, wide, y = (reals(j[0]), ints(j[1]), reals(j[2]), reals(j[3]),
                                           ints(j[4]), ints(j[5]), reals(j[6]))
    K, P, Q, D, H, W = j[7], j[8], j[9], j[10], j[11], j[12]
    first, end = share(K, k, j[13])
    for r in range(first, end):
        for d in range(D):
            p, q = r * P + d // Q % P, r * Q + d % Q
            plane, row, col = after(x, (batch[r] * D + d) * H * W), after(rows, p * H), after(
                cols, q * W)
            y[r * D + d] = 0
            total = y[r * D + d]
            for h in range(tall[2 * p], tall[2 * p + 1]):
                for w in range(wide[2 * q], wide[2 * q + 1]):
                    if row[h] * col[w] != 0:
                        total += row[h] * col[w] * plane[h * W + w]
            y[r * D + d] = total


def spread(y, batch, rows, cols, tall, wide, x):
    """See `ps_roi.ps_roi_adjoint_kernel`: a thread owns some of the planes."""
    (K, C, P, Q), (N, D, H, W) = y.shape, x.shape
    count = crew(x.size + 16 * y.size)
    spread_planes(count, y, batch, rows, cols, tall, wide, x, K, P, Q, N, D, H, W, count)


@real_worker(fastmath=True)
def spread_planes(job, k):
    """One thread's planes; each takes what all regions' bins of its channel hold."""
    j = longs(job)
    y, batch, rows, cols, tall, wide, x = (reals(j[0]), ints(j[1]), reals(j[2]), reals(j[3]),
                                           ints(j[4]), ints(j[5]), reals(j[6]))
    K, P, Q, N, D, H, W = j[7], j[8], j[9], j[10], j[11], j[12], j[13]
    first, end = share(N * D, k, j[14])
    for i in range(first, end):
        plane, d = after(x, i * H * W), i % D
        for e in range(H * W):
            plane[e] = 0
        for r in range(K):
            if batch[r] == i // D:
                p, q = r * P + d // Q % P, r * Q + d % Q
                value, row, col = y[r * D + d], after(rows, p * H), after(cols, q * W)
                for h in range(tall[2 * p], tall[2 * p + 1]):
                    for w in range(wide[2 * q], wide[2 * q + 1]):
                        if row[h] * col[w] != 0:
                            plane[h * W + w] += row[h] * col[w] * value
