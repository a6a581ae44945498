"""batch_norm's kernels as workers: a thread owns whole channels, or whole planes.

A channel of g and x fits into a core's cache, so it comes from memory once for its sums and its
gradient. The way back through it starts with the plane that was read last, which is nearest.
"""
import math

import numpy as np

from tinyvision.kernel import jit
from tinyvision.worker import after, crew, longs, real_worker, share

BLOCK = 2048               # elements of a channel that are summed in x's dtype; then in float64


# --- moments --------------------------------------------------------------------------------------
def channel_moments(x, out):
    """See `batch_norm.channel_moments`."""
    count = crew(x.size)
    moments_share(count, x, out, *x.shape, count)


@real_worker(fastmath=True)
def moments_share(job, k):
    """One thread's channels."""
    p = longs(job)
    x, out, N, C, L = reals(p[0]), reals(p[1]), p[2], p[3], p[4]
    first, end = share(C, k, p[5])
    for c in range(first, end):
        out[c], out[C + c] = moments_of_channel(after(x, c * L), C * L, N, L)


@jit(fastmath=True)
def moments_of_channel(x, step, N, L):
    """Each block's mean and squares about it, while it is in the cache; joined as Chan has it.

    That is as exact as two passes over memory, and reads x once. Planes are `step` apart.
    """
    count, m, squares = 0.0, 0.0, 0.0
    for n in range(N):
        for k in range(0, L, BLOCK):
            size = min(L - k, BLOCK)
            mean_here, squares_here = moments_of_block(after(x, n * step + k), size)
            part = size / (count + size)
            change = mean_here - m
            squares += squares_here + change * change * count * part
            m += change * part
            count += size
    return m, squares / count


@jit(fastmath=True)
def moments_of_block(x, size):
    """(mean, sum of the squared distances from it)."""
    T = type(x[0])
    total = T(0)
    for i in range(size):
        total += x[i]
    m = total / T(size)
    total = T(0)
    for i in range(size):
        total += (x[i] - m) * (x[i] - m)
    return m, total


# --- normalisation --------------------------------------------------------------------------------
def normalise(x, means, scale, bias, y):
    """See `batch_norm.normalise`."""
    count = crew(x.size)
    normalise_share(count, x, means, scale, bias, y, *x.shape, count)


@real_worker(fastmath=True)
def normalise_share(job, k):
    """One thread's planes."""
    p = longs(job)
    x, means, scale, bias, y = reals(p[0]), reals(p[1]), reals(p[2]), reals(p[3]), reals(p[4])
    N, C, L = p[5], p[6], p[7]
    first, end = share(N * C, k, p[8])
    for plane in range(first, end):
        c = plane % C
        a, b, m, s, shift = after(x, plane * L), after(y, plane * L), means[c], scale[c], bias[c]
        for i in range(L):
            b[i] = (a[i] - m) * s + shift


# --- gradients ------------------------------------------------------------------------------------
def channel_sums(g, x, moments, eps, out):
    """See `batch_norm.channel_sums`."""
    count = crew(x.size)
    sums_share(count, g, x, moments, out, *x.shape, count)
    out[1] /= np.sqrt(moments[1] + x.dtype.type(eps))


@real_worker(fastmath=True)
def sums_share(job, k):
    """One thread's channels: sum g, sum g (x - m)."""
    p = longs(job)
    g, x, means, out = reals(p[0]), reals(p[1]), reals(p[2]), reals(p[3])
    N, C, L = p[4], p[5], p[6]
    first, end = share(C, k, p[7])
    for c in range(first, end):
        a, b = after(g, c * L), after(x, c * L)
        out[c], out[C + c] = sums_of_channel(a, b, means[c], C * L, N, L)


@jit(fastmath=True)
def sums_of_channel(g, x, m, step, N, L):
    """(sum g, sum g (x - m)): blocks in x's dtype, their sum in float64."""
    T = type(m)
    total, weighted = 0.0, 0.0
    for n in range(N):
        for k in range(0, L, BLOCK):
            a, b, s, t = after(g, n * step + k), after(x, n * step + k), T(0), T(0)
            for i in range(min(L - k, BLOCK)):
                s += a[i]
                t += a[i] * (b[i] - m)
            total += s
            weighted += t
    return total, weighted


def batch_norm_backward(g, x, weight, moments, eps, fixed, out):
    """See `batch_norm.batch_norm_backward`."""
    N, C, L = x.shape
    count, options = crew(x.size), np.array([eps, np.inf if fixed else N * L], x.dtype)
    backward_share(count, g, x, weight, moments, options, out, N, C, L, count)


@real_worker(fastmath=True)
def backward_share(job, k):
    """One thread's channels."""
    p = longs(job)
    g, x, weight, moments, out = reals(p[0]), reals(p[1]), reals(p[2]), reals(p[3]), reals(p[5])
    N, C, L = p[6], p[7], p[8]
    eps, M = reals(p[4])[0], reals(p[4])[1]
    first, end = share(C, k, p[9])
    for c in range(first, end):
        a, b, dx, m = after(g, c * L), after(x, c * L), after(out, c * L), moments[c]
        sums = N * C * L
        total, weighted = sums_of_channel(a, b, m, C * L, N, L)
        T = type(m)
        r = T(1) / T(math.sqrt(moments[C + c] + eps))
        out[sums + c], out[sums + C + c] = T(weighted) * r, total
        level, slope = T(total) / M, T(weighted) / M * r * r
        for n in range(N):
            far = (N - 1 - n) * C * L
            gradient_of_plane(after(a, far), after(b, far), L, m, weight[c] * r, level, slope,
                              after(dx, far))


@jit(fastmath=True)
def gradient_of_plane(g, x, L, m, scale, level, slope, out):
    """scale * (g - level - (x - m) * slope)."""
    for i in range(L):
        out[i] = scale * ((g[i] - level) - (x[i] - m) * slope)
