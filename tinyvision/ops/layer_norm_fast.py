"""layer_norm's kernels as workers: a thread owns whole rows, each in its cache for all passes."""
import math

import numpy as np

from tinyvision.device import empty
from tinyvision.kernel import jit
from tinyvision.worker import after, crew, longs, real_worker, share

SHARES = 16          # rows are summed in so many shares, on any number of cores: the same result
GROUP = 4            # rows of a share that are added to its sums at once: stored less often


# --- forward --------------------------------------------------------------------------------------
def layer_norm_kernel(x, weight, bias, eps, y):
    """See `layer_norm.layer_norm_kernel`."""
    count = crew(x.size)
    rows_share(count, x, weight, bias, np.array([eps], x.dtype), y, *x.shape, count)


@real_worker(fastmath=True)
def rows_share(job, k):
    """One thread's rows."""
    p = longs(job)
    x, weight, bias, eps, y = reals(p[0]), reals(p[1]), reals(p[2]), reals(p[3])[0], reals(p[4])
    R, D = p[5], p[6]
    first, end = share(R, k, p[7])
    for r in range(first, end):
        row, out = after(x, r * D), after(y, r * D)
        m, scale = row_moments(row, D, eps)
        for i in range(D):
            out[i] = (row[i] - m) * scale * weight[i] + bias[i]


@jit(fastmath=True)
def row_moments(row, D, eps):
    """(mean, 1 / sqrt(variance + eps))."""
    T = type(eps)
    m, squares = row_mean(row, D, eps), T(0)
    for i in range(D):
        squares += (row[i] - m) * (row[i] - m)
    return m, T(1) / T(math.sqrt(squares / T(D) + eps))


@jit(fastmath=True)
def row_mean(row, D, like):
    """The mean, of the type of `like`."""
    T = type(like)
    total = T(0)
    for i in range(D):
        total += row[i]
    return total / T(D)


# --- gradients ------------------------------------------------------------------------------------
def layer_norm_backward(g, x, weight, eps, out):
    """See `layer_norm.layer_norm_backward`."""
    (R, D), count = x.shape, crew(x.size)
    sums, moments = empty((SHARES, 2, D), x), empty((SHARES, GROUP, 2), x)
    backward_share(count, g, x, weight, np.array([eps], x.dtype), sums, moments, out, R, D, count)
    np.add.reduce(sums, 0, out=out[R:])


@real_worker(fastmath=True)
def backward_share(job, k):
    """One thread's shares: dx, and the sums of each; there is room for a GROUP's moments."""
    p = longs(job)
    g, x, weight, eps = reals(p[0]), reals(p[1]), reals(p[2]), reals(p[3])[0]
    sums, moments, out, R, D = reals(p[4]), reals(p[5]), reals(p[6]), p[7], p[8]
    first, end = share(SHARES, k, p[9])
    for s in range(first, end):
        mine, room = after(sums, s * 2 * D), after(moments, s * 2 * GROUP)
        for i in range(2 * D):
            mine[i] = 0
        rows, stop = share(R, s, SHARES)
        for r in range(rows, stop, GROUP):
            size = min(GROUP, stop - r)
            for n in range(size):
                far = (r + n) * D
                room[2 * n], room[2 * n + 1] = row_backward(after(g, far), after(x, far), weight, D,
                                                            eps, after(out, far))
            add_rows(after(g, r * D), after(x, r * D), size, D, room, mine)


@jit(fastmath=True)
def row_backward(g, x, weight, D, eps, out):
    """dx of one row; returns its moments. All sums but the mean's are made in one loop."""
    T = type(eps)
    squares, total, weighted = T(0), T(0), T(0)
    m = row_mean(x, D, eps)
    for i in range(D):
        u, centred = g[i] * weight[i], x[i] - m
        squares += centred * centred
        total += u
        weighted += u * centred
    scale = T(1) / T(math.sqrt(squares / T(D) + eps))
    level, slope = total / T(D), weighted / T(D) * scale * scale
    for i in range(D):
        out[i] = (g[i] * weight[i] - level - (x[i] - m) * slope) * scale
    return m, scale


@jit(fastmath=True)
def add_rows(g, x, size, D, moments, sums):
    """What a GROUP of rows, or the last ones one by one, adds to dweight and, behind it, dbias."""
    if size == GROUP:
        add_four(g, after(g, D), after(g, 2 * D), after(g, 3 * D),
                 x, after(x, D), after(x, 2 * D), after(x, 3 * D), D, moments, sums)
        return
    for r in range(size):
        a, b, m, scale = after(g, r * D), after(x, r * D), moments[2 * r], moments[2 * r + 1]
        for i in range(D):
            sums[i] += a[i] * ((b[i] - m) * scale)
            sums[D + i] += a[i]


@jit(fastmath=True)
def add_four(g0, g1, g2, g3, x0, x1, x2, x3, D, moments, sums):
    """The same of four rows."""
    m0, m1, m2, m3 = moments[0], moments[2], moments[4], moments[6]
    s0, s1, s2, s3 = moments[1], moments[3], moments[5], moments[7]
    for i in range(D):
        sums[i] += ((g0[i] * ((x0[i] - m0) * s0) + g1[i] * ((x1[i] - m1) * s1))
                    + (g2[i] * ((x2[i] - m2) * s2) + g3[i] * ((x3[i] - m3) * s3)))
        sums[D + i] += (g0[i] + g1[i]) + (g2[i] + g3[i])
