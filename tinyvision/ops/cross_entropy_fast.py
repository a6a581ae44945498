"""cross_entropy's kernels as workers.

Scores (N, C) are rows, maps (N, C, L) are columns; these come in blocks so narrow that their C rows
stay in the cache. Each layout has kernels of its own, and so have smoothed labels, so that only
what is met is compiled.
"""
import numpy as np

from tinyvision.device import empty
from tinyvision.kernel import jit
from tinyvision.ops.softmax_fast import block_at, block_width, column_max, row_max
from tinyvision.ops.vector_math import exp_below, fast_log
from tinyvision.worker import after, crew, longs, real_worker, share

BLOCK = 1024               # labels whose costs are in the cache


# --- maxima and sums ------------------------------------------------------------------------------
def peaks(x, out):
    """See `cross_entropy.peaks_kernel`."""
    (N, C, L), count = x.shape, crew(x.size)
    if L == 1:
        peaks_of_rows(count, x, out, N, C, count)
    else:
        peaks_of_columns(count, x, out, N, C, L, block_width(C, L), count)


@real_worker(fastmath=True)
def peaks_of_rows(job, k):
    """One thread's rows; with a NaN in the row, the sum is NaN."""
    p = longs(job)
    x, out, N, C = reals(p[0]), reals(p[1]), p[2], p[3]
    T = type(x[0])
    first, end = share(N, k, p[4])
    for n in range(first, end):
        row = after(x, n * C)
        m, s = row_max(row, C, T(-np.inf)), T(0)
        for c in range(C):
            s += exp_below(row[c] - m)
        out[n], out[N + n] = m, s


@real_worker(fastmath=True)
def peaks_of_columns(job, k):
    """One thread's blocks."""
    p = longs(job)
    x, out, N, C, L, W = reals(p[0]), reals(p[1]), p[2], p[3], p[4], p[5]
    first, end = share(N * ((L + W - 1) // W), k, p[6])
    for task in range(first, end):
        n, column, width = block_at(task, L, W)
        m, s = after(out, n * L + column), after(out, (N + n) * L + column)
        peaks_of_block(after(x, n * C * L + column), C, L, width, m, s)


@jit(fastmath=True)
def peaks_of_block(x, C, L, W, m, s):
    """Of the first W columns of x (C, L)."""
    column_max(x, C, L, W, m)
    for i in range(W):
        s[i] = 0
    for c in range(C):
        row = after(x, c * L)
        for i in range(W):
            s[i] += exp_below(row[i] - m[i])


# --- costs ----------------------------------------------------------------------------------------
def costs(x, peaks, labels, weight, ignored, smoothing, out):
    """See `cross_entropy.label_costs`."""
    (N, C, L), count = x.shape, crew(8 * labels.size)              # gathers are slow
    hard_costs(count, x, peaks, labels, weight, out, N, C, L, ignored, count)
    if smoothing and L == 1:
        smooth_rows(crew(x.size), x, peaks, labels, weight, shares_of(weight, smoothing), out, N, C,
                    ignored, crew(x.size))
    elif smoothing:
        smooth_columns(crew(x.size), x, peaks, labels, weight, shares_of(weight, smoothing), out,
                       N, C, L, block_width(C, L), ignored, crew(x.size))


def shares_of(weight, smoothing):
    """The shares in a cost: of its own label, of every label, and the latter's weights summed."""
    even = smoothing / len(weight)
    return np.array([1 - smoothing, even, even * weight.sum() if smoothing else 0], weight.dtype)


@real_worker(fastmath=True)
def hard_costs(job, k):
    """One thread's labels, BLOCK by BLOCK: weight * -log softmax, nothing for ignored ones."""
    p = longs(job)
    x, peaks, weight, out = reals(p[0]), reals(p[1]), reals(p[3]), reals(p[4])
    N, C, L, ignored, T = p[5], p[6], p[7], p[8], type(x[0])
    first, end = share(N * L, k, p[9])
    for place in range(first, end, BLOCK):
        labels, size, cost = after(longs(p[2]), place), min(BLOCK, end - place), after(out, place)
        m, s = after(peaks, place), after(peaks, N * L + place)
        scores_of_labels(x, labels, ignored, place, size, C, L, cost)
        for i in range(size):
            cost[i] = fast_log(s[i]) - (cost[i] - m[i])
        for i in range(size):                                # gathers only: nothing to compute
            cost[i] = T(0) if labels[i] == ignored else weight[labels[i]] * cost[i]


@jit
def scores_of_labels(x, labels, ignored, place, size, C, L, out):
    """The scores that some places give to their labels (to class 0 where these are ignored)."""
    i = 0
    while i < size:                                          # one image after the other
        n, column = (place + i) // L, (place + i) % L
        stop = min(size, i + L - column)
        for j in range(i, stop):
            label = 0 if labels[j] == ignored else labels[j]
            out[j] = x[(n * C + label) * L + column + j - i]
        i = stop


@real_worker(fastmath=True)
def smooth_rows(job, k):
    """One thread's costs, shared with all classes."""
    p = longs(job)
    x, peaks, labels, weight = reals(p[0]), reals(p[1]), longs(p[2]), reals(p[3])
    shares, out, N, C, ignored = reals(p[4]), reals(p[5]), p[6], p[7], p[8]
    T = type(x[0])
    first, end = share(N, k, p[9])
    for n in range(first, end):
        if labels[n] != ignored:
            row, m, total = after(x, n * C), peaks[n], T(0)
            for c in range(C):
                total += weight[c] * (m - row[c])
            out[n] = shares[0] * out[n] + shares[1] * total + shares[2] * fast_log(peaks[N + n])


@real_worker(fastmath=True)
def smooth_columns(job, k):
    """One thread's blocks."""
    p = longs(job)
    x, peaks, labels, out = reals(p[0]), reals(p[1]), longs(p[2]), reals(p[5])
    N, C, L, W, ignored = p[6], p[7], p[8], p[9], p[10]
    first, end = share(N * ((L + W - 1) // W), k, p[11])
    for task in range(first, end):
        n, column, width = block_at(task, L, W)
        place = n * L + column
        smooth_block(after(x, (n * C * L) + column), C, L, width, after(peaks, place),
                     after(peaks, N * L + place), after(labels, place), ignored, reals(p[3]),
                     reals(p[4]), after(out, place))


@jit(fastmath=True)
def smooth_block(x, C, L, W, m, s, labels, ignored, weight, shares, out):
    """The first W columns of x (C, L)."""
    T = type(x[0])
    own, even, all_even = shares[0], shares[1], shares[2]
    for i in range(W):
        out[i] = own * out[i] + all_even * fast_log(s[i])
    for c in range(C):
        row, share = after(x, c * L), even * weight[c]
        for i in range(W):
            out[i] += share * (m[i] - row[i])
    for i in range(W):
        out[i] = T(0) if labels[i] == ignored else out[i]


# --- gradients ------------------------------------------------------------------------------------
def gradients(g, x, peaks, labels, weight, ignored, smoothing, out):
    """See `cross_entropy.label_costs_backward`."""
    (N, C, L), count, shares = x.shape, crew(x.size), shares_of(weight, smoothing)
    if L == 1:
        gradients_of_rows(count, g, x, peaks, labels, weight, shares, out, N, C, ignored, count)
    else:
        W = block_width(C, L)
        gradients_of_columns(count, g, x, peaks, labels, weight, shares, out,
                             empty((count, 3, W), x), N, C, L, W, ignored, count)


@real_worker(fastmath=True)
def gradients_of_rows(job, k):
    """One thread's rows: g (K softmax - targets)."""
    p = longs(job)
    x, out, N, C = reals(p[1]), reals(p[6]), p[7], p[8]
    first, end = share(N, k, p[10])
    for n in range(first, end):
        gradient_of_row(reals(p[0])[n], after(x, n * C), C, reals(p[2])[n], reals(p[2])[N + n],
                        longs(p[3])[n], p[9], reals(p[4]), reals(p[5]), after(out, n * C))


@jit(fastmath=True)
def gradient_of_row(g, row, C, m, s, label, ignored, weight, shares, out):
    """One row; zeros where the label is ignored."""
    if label == ignored:
        g, label = type(g)(0), 0
    own = shares[0] * weight[label]
    scale, level = g * (own + shares[2]) / s, g * shares[1]
    for c in range(C):
        out[c] = exp_below(row[c] - m) * scale - level * weight[c]
    out[label] -= g * own


@real_worker(fastmath=True)
def gradients_of_columns(job, k):
    """One thread's blocks."""
    p = longs(job)
    g, x, peaks, labels, out = reals(p[0]), reals(p[1]), reals(p[2]), longs(p[3]), reals(p[6])
    N, C, L, W, ignored = p[8], p[9], p[10], p[11], p[12]
    room = after(reals(p[7]), 3 * k * W)
    first, end = share(N * ((L + W - 1) // W), k, p[13])
    for task in range(first, end):
        n, column, width = block_at(task, L, W)
        place, corner = n * L + column, n * C * L + column
        factors(after(g, place), after(peaks, N * L + place), after(labels, place), ignored,
                reals(p[4]), reals(p[5]), width, room, after(room, W), after(room, 2 * W))
        gradients_of_block(after(x, corner), C, L, width, after(peaks, place), reals(p[4]),
                           room, after(room, W), after(out, corner))
        for i in range(width):
            label = 0 if labels[place + i] == ignored else labels[place + i]
            out[corner + label * L + i] -= room[2 * W + i]


@jit(fastmath=True)
def factors(g, s, labels, ignored, weight, shares, W, scale, level, own):
    """Of every column what softmax and what the weights are multiplied by; what its label gets."""
    T = type(s[0])
    for i in range(W):                                       # gathers only: nothing to compute
        own[i] = weight[0 if labels[i] == ignored else labels[i]]
        level[i] = T(0) if labels[i] == ignored else g[i]
    for i in range(W):
        here = level[i]
        own[i] *= shares[0] * here
        scale[i], level[i] = (own[i] + shares[2] * here) / s[i], shares[1] * here


@jit(fastmath=True)
def gradients_of_block(x, C, L, W, m, weight, scale, level, out):
    """The first W columns of x (C, L), but for what their labels get."""
    for c in range(C):
        row, q, w = after(x, c * L), after(out, c * L), weight[c]
        for i in range(W):
            q[i] = exp_below(row[i] - m[i]) * scale[i] - level[i] * w
