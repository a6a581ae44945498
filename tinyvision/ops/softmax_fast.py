"""softmax's kernels as workers: a thread owns whole rows, or blocks of columns.

Where the axis is the last one a row is a task; otherwise a block of columns is, so narrow that its
C rows stay in the cache while m, s and the result are worked out.
"""
import numpy as np

from tinyvision.device import empty
from tinyvision.kernel import jit
from tinyvision.ops.vector_math import exp_below, fast_log, single
from tinyvision.worker import after, crew, longs, real_worker, share

CACHE = 8192               # elements of a block of columns


def softmax(x, logarithm, y):
    """See `softmax.softmax_kernel`."""
    (A, C, B), count = x.shape, crew(x.size)
    if B == 1:
        softmax_rows(count, x, y, A, C, int(logarithm), count)
    elif C:
        W = block_width(C, B)
        softmax_columns(count, x, y, empty((count, 2, W), x), A, C, B, W, int(logarithm), count)


def softmax_backward(g, y, logarithm, out):
    """See `softmax.softmax_backward`."""
    (A, C, B), count = y.shape, crew(y.size)
    if B == 1:
        backward_rows(count, g, y, out, A, C, int(logarithm), count)
    elif C:
        W = block_width(C, B)
        backward_columns(count, g, y, out, empty((count, W), y), A, C, B, W, int(logarithm), count)


def block_width(C, B):
    """How many of B columns of C elements are one task."""
    return min(B, max(64, CACHE // C))


@jit
def block_at(task, B, W):
    """(which A, first column, columns) of a task."""
    blocks = (B + W - 1) // W
    first = task % blocks * W
    return task // blocks, first, min(W, B - first)


# --- maxima ---------------------------------------------------------------------------------------
@jit(fastmath=True)
def row_max(row, C, least):
    """The maximum, of the type of `least`, -inf. Floats with a NaN among them cannot be compared in
    any order, so LLVM compares one by one; their bits, as whole numbers (those of negative floats
    turned round), it can."""
    T = type(least)
    if not single(least):
        for c in range(C):
            least = row[c] if row[c] > least else least
        return least
    top = np.int32(-2 ** 31)
    for c in range(C):
        key = turned(np.float32(row[c]).view(np.int32))
        top = key if key > top else top
    return T(turned(top).view(np.float32)) if C else least


@jit(inline=True)
def turned(bits):
    """The bits of a float as a whole number in the floats' order, and back."""
    return np.int32(bits ^ np.int32(np.int32(bits >> 31) & np.int32(2 ** 31 - 1)))


@jit(fastmath=True)
def column_max(x, C, B, W, m):
    """m: the maxima of the first W columns of x (C, B); rows in pairs, the last maybe twice."""
    for i in range(W):
        m[i] = x[i]
    for c in range(1, C, 2):
        a, b = after(x, c * B), after(x, min(c + 1, C - 1) * B)
        for i in range(W):
            larger = b[i] if b[i] > a[i] else a[i]
            m[i] = larger if larger > m[i] else m[i]


# --- forward --------------------------------------------------------------------------------------
@real_worker(fastmath=True)
def softmax_rows(job, k):
    """One thread's rows."""
    p = longs(job)
    x, y, A, C, logarithm = reals(p[0]), reals(p[1]), p[2], p[3], p[4]
    first, end = share(A, k, p[5])
    for a in range(first, end):
        softmax_row(after(x, a * C), C, logarithm, after(y, a * C))


@jit(fastmath=True)
def softmax_row(x, C, logarithm, y):
    """e^(x - m) / s, or (x - m) - log s."""
    T = type(x[0])
    m, s = row_max(x, C, T(-np.inf)), T(0)
    for c in range(C):
        shifted = x[c] - m
        e = exp_below(shifted)
        s += e
        y[c] = shifted if logarithm else e
    scale, shift = (T(1), fast_log(s)) if logarithm else (T(1) / s, T(0))
    for c in range(C):
        y[c] = y[c] * scale - shift


@real_worker(fastmath=True)
def softmax_columns(job, k):
    """One thread's blocks."""
    p = longs(job)
    x, y, A, C, B, W, logarithm = reals(p[0]), reals(p[1]), p[3], p[4], p[5], p[6], p[7]
    m = after(reals(p[2]), 2 * k * W)
    first, end = share(A * ((B + W - 1) // W), k, p[8])
    for task in range(first, end):
        a, column, width = block_at(task, B, W)
        place = a * C * B + column
        softmax_block(after(x, place), C, B, width, logarithm, m, after(m, W), after(y, place))


@jit(fastmath=True)
def softmax_block(x, C, B, W, logarithm, m, s, y):
    """The same of the first W columns of x (C, B)."""
    T = type(x[0])
    column_max(x, C, B, W, m)
    for i in range(W):
        s[i] = T(0)
    for c in range(C):
        row, out = after(x, c * B), after(y, c * B)
        for i in range(W):
            shifted = row[i] - m[i]
            e = exp_below(shifted)
            s[i] += e
            out[i] = shifted if logarithm else e
    for i in range(W):
        m[i] = T(1) if logarithm else T(1) / s[i]
        s[i] = fast_log(s[i]) if logarithm else T(0)
    for c in range(C):
        out = after(y, c * B)
        for i in range(W):
            out[i] = out[i] * m[i] - s[i]


# --- gradients ------------------------------------------------------------------------------------
@real_worker(fastmath=True)
def backward_rows(job, k):
    """One thread's rows."""
    p = longs(job)
    g, y, out, A, C, logarithm = reals(p[0]), reals(p[1]), reals(p[2]), p[3], p[4], p[5]
    first, end = share(A, k, p[6])
    for a in range(first, end):
        backward_row(after(g, a * C), after(y, a * C), C, logarithm, after(out, a * C))


@jit(fastmath=True)
def backward_row(g, y, C, logarithm, out):
    """y (g - sum g y), of the logarithm g - e^y sum g."""
    T = type(g[0])
    total = T(0)
    if logarithm:
        for c in range(C):
            total += g[c]
        for c in range(C):
            out[c] = g[c] - exp_below(y[c]) * total
    else:
        for c in range(C):
            total += g[c] * y[c]
        for c in range(C):
            out[c] = y[c] * (g[c] - total)


@real_worker(fastmath=True)
def backward_columns(job, k):
    """One thread's blocks."""
    p = longs(job)
    g, y, out, total = reals(p[0]), reals(p[1]), reals(p[2]), after(reals(p[3]), k * p[7])
    A, C, B, W, logarithm = p[4], p[5], p[6], p[7], p[8]
    first, end = share(A * ((B + W - 1) // W), k, p[9])
    for task in range(first, end):
        a, column, width = block_at(task, B, W)
        place = a * C * B + column
        backward_block(after(g, place), after(y, place), C, B, width, logarithm, total,
                       after(out, place))


@jit(fastmath=True)
def backward_block(g, y, C, B, W, logarithm, total, out):
    """The same of the first W columns."""
    for i in range(W):
        total[i] = 0
    for c in range(C):
        a, b = after(g, c * B), after(y, c * B)
        for i in range(W):
            total[i] += a[i] if logarithm else a[i] * b[i]
    for c in range(C):
        a, b, q = after(g, c * B), after(y, c * B), after(out, c * B)
        if logarithm:
            for i in range(W):
                q[i] = a[i] - exp_below(b[i]) * total[i]
        else:
            for i in range(W):
                q[i] = b[i] * (a[i] - total[i])
