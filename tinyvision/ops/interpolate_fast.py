"""The fast rung of `resize`: the same two steps as the readable one, in straight lines.

What the readable kernel spends its time on are the indices: looked up for every pixel, they keep
the compiler from computing 16 pixels at once. But most tables are regular, and of three kinds:

- window b + 1 is window b moved by one pixel or two: average pooling, halving (`_stepped`);
- window b + 2 is window b moved by one pixel: everything that doubles (`_paired`);
- none of these, but at most two pixels a window: every other enlargement (`_few`).

The rest goes window by window, as do the few windows at the borders (`_ragged`). Enlarging goes
across first, so that each row of x is stretched once however often it is used; shrinking goes down
first, so that only sums are shrunk.

All planes are one tall image here, x (N C H, W) and y (N C A, B), and a task is a band of its rows,
part of a large plane or many small ones, that lies in the core's cache between the two steps. The
functions take whole arrays and the place of their rows in them, and are called once a band: a slice
or a call for each row would count references to the array, and two threads that count on one array
wait for each other.
"""
import numpy as np

from tinyvision.kernel import jit, prange
from tinyvision.ops.windows import alike

STEPPED, PAIRED, FEW, RAGGED = range(4)    # tables
WHOLE, HALF = 1, 2                         # the simplest ones
BAND = 1 << 15                             # numbers between the two steps: 128 kB of float32
LEAST = 8                                  # tasks, where there is work for as many


# --- the simplest tables ------------------------------------------------------------------------
def resize(x, rows, down, columns, across, y):
    """See `interpolate.resize`. What nearly every network does has kernels of its own.

    They are global means, means of 2 x 2, doubling, and the adjoints of these. They compile in half
    a second each, the general kernel in four.
    """
    (N, C, H, W), (A, B) = x.shape, y.shape[2:]
    fold = _fold(rows, down, H) if H >= A else -_fold_back(rows, down, H)
    if fold != (_fold(columns, across, W) if W >= B else -_fold_back(columns, across, W)):
        fold = 0
    if fold == WHOLE:
        _plane_sums(x.reshape(N * C, H * W), down[0, 0] * across[0, 0], y.ravel())
    elif fold == -WHOLE:
        _fill_planes(x.ravel(), down[0, 0] * across[0, 0], y.reshape(N * C, A * B))
    elif fold == HALF:
        _sums_of_four(x, down[0, 0] * across[0, 0], y)
    elif fold == -HALF:
        _four_of_one(x, down[0, 0] * across[0, 0], y)
    else:
        _resize(x, rows, down, columns, across, y)


@jit
def _fold(spans, weights, H):
    """WHOLE if the only window is all H pixels, HALF if window a is 2 a and 2 a + 1, or 0.

    Only with equal weights.
    """
    fold = WHOLE if len(spans) == 1 and spans[0, 0] == 0 and spans[0, 1] == H else HALF
    for a in range(len(spans)):
        if fold == HALF and (spans[a, 0] != 2 * a or spans[a, 1] != 2 * a + 2):
            return 0
        for j in range(weights.shape[1]):
            if weights[a, j] != weights[0, 0]:
                return 0
    return fold


@jit
def _fold_back(spans, weights, H):
    """WHOLE if every window is the only pixel, HALF if windows 2 h and 2 h + 1 are pixel h, or 0.

    Only with equal weights, and without a pixel that is in no window.
    """
    if H != 1 and len(spans) != 2 * H:
        return 0
    fold = WHOLE if H == 1 else HALF
    for a in range(len(spans)):
        h = a // 2 if fold == HALF else 0
        if spans[a, 0] != h or spans[a, 1] != h + 1 or weights[a, 0] != weights[0, 0]:
            return 0
    return fold


@jit(parallel=True, fastmath=True)
def _plane_sums(x, scale, y):
    for k in prange(len(y)):
        total = type(scale)(0)
        for p in range(x.shape[1]):
            total += x[k, p]
        y[k] = scale * total


@jit(parallel=True)
def _fill_planes(x, scale, y):
    for k in prange(len(x)):
        value = scale * x[k]
        for p in range(y.shape[1]):
            y[k, p] = value


@jit(parallel=True, fastmath=True)
def _sums_of_four(x, scale, y):
    N, C, A, B = y.shape
    for k in prange(N * C):
        n, c = np.int64(k) // C, np.int64(k) % C
        for a in range(A):
            upper, lower, out = x[n, c, 2 * a], x[n, c, 2 * a + 1], y[n, c, a]
            for b in range(B):
                out[b] = scale * (upper[2 * b] + upper[2 * b + 1] + lower[2 * b] + lower[2 * b + 1])


@jit(parallel=True)
def _four_of_one(x, scale, y):
    N, C, H, W = x.shape
    for k in prange(N * C):
        n, c = np.int64(k) // C, np.int64(k) % C
        for h in range(H):
            row = x[n, c, h]
            for a in range(2 * h, 2 * h + 2):
                out = y[n, c, a]
                for v in range(W):
                    value = scale * row[v]
                    out[2 * v] = value
                    out[2 * v + 1] = value


# --- every other table ----------------------------------------------------------------------------
@jit(parallel=True, fastmath=True)
def _resize(x, rows, down, columns, across, y):
    (N, C, A, B), H, W = y.shape, x.shape[2], x.shape[3]
    lines, out, total = x.reshape(N * C * H, W), y.reshape(N * C * A, B), N * C * A
    regular = _regular(columns, across)
    tasks = bands(total, max(W, B), x.size + y.size)
    for task in prange(tasks):
        k = np.int64(task)
        _band(lines, H, rows, down, columns, across, regular, out,
              total * k // tasks, total * (k + 1) // tasks)


@jit
def bands(rows, width, work):
    """How many tasks: each at most BAND numbers large, and LEAST where there is work for them."""
    tasks = 1 + rows * width // BAND
    return tasks if work < BAND else min(rows, max(tasks, LEAST))


@jit(allocates=True)
def _regular(columns, weights):
    """(first, end, step, kind): which windows are regular, and how."""
    found, most = np.zeros(4, np.int64), 3 * len(columns)
    alike(columns, weights, np.int64(1), found)
    if 4 * (found[1] - found[0]) >= most and 1 <= found[2] <= 2:
        found[3] = STEPPED
    else:
        alike(columns, weights, np.int64(2), found)
        if 4 * (found[1] - found[0]) >= most and found[2] == 1:
            found[3] = PAIRED
        else:
            found[0], found[1] = 0, 0
            found[3] = FEW if weights.shape[1] <= 2 else RAGGED
    return found


@jit(allocates=True)
def _band(x, H, rows, down, columns, across, regular, y, start, end):
    """Rows start to end of y."""
    W, A, B, zero = x.shape[1], np.int64(len(rows)), y.shape[1], np.int64(0)
    if A > H and start < end:
        top = start // A * H + rows[start % A, 0]
        bottom = (end - 1) // A * H + rows[(end - 1) % A, 1]
        lines = np.empty((max(0, bottom - top), B), x.dtype)
        _across(x, top, len(lines), columns, across, regular, lines, zero)
        _down(lines, top, H, rows, down, start, end, y, start)
    elif start < end:
        lines = np.empty((end - start, W), x.dtype)
        _down(x, zero, H, rows, down, start, end, lines, zero)
        _across(lines, zero, end - start, columns, across, regular, y, start)


@jit(fastmath=True)
def _down(x, top, H, rows, weights, start, end, out, r):
    """out[r + i] = sum of weights[a, j] x[rows[a, 0] + j - top], a the window of row start + i."""
    A = np.int64(len(rows))
    for line in range(start, end):
        a, s = line % A, r + line - start
        h, K = line // A * H + rows[a, 0] - top, rows[a, 1] - rows[a, 0]
        if K % 2:
            w = weights[a, 0]
            for v in range(x.shape[1]):
                out[s, v] = w * x[h, v]
        elif K:                                              # two at a time: half the sums stored
            w, u = weights[a, 0], weights[a, 1]
            for v in range(x.shape[1]):
                out[s, v] = w * x[h, v] + u * x[h + 1, v]
        else:
            for v in range(x.shape[1]):
                out[s, v] = 0
        for j in range(2 - K % 2, K, 2):
            w, u = weights[a, j], weights[a, j + 1]
            for v in range(x.shape[1]):
                out[s, v] += w * x[h + j, v] + u * x[h + j + 1, v]


@jit
def _across(x, h, R, columns, weights, regular, out, r):
    """out[r + i, b] = sum of weights[b, j] x[h + i, columns[b, 0] + j] for i < R."""
    first, end, step, kind = regular[0], regular[1], regular[2], regular[3]
    zero, B = np.int64(0), np.int64(len(columns))
    if kind == FEW:
        _few(x, h, R, columns, weights, out, r)
    else:
        if kind == STEPPED:
            _stepped(x, h, R, columns, weights, first, step, end - first, out, r, first)
        elif kind == PAIRED:
            _paired(x, h, R, columns, weights, first, (end - first) // 2, out, r)
        _ragged(x, h, R, columns, weights, zero, first, out, r)
        _ragged(x, h, R, columns, weights, end, B, out, r)


@jit(fastmath=True)
def _stepped(x, h, R, columns, weights, b, step, n, out, r, start):
    """n windows like window b, each moved by one step; to out[m, r, start] and further."""
    left, K = max(0, np.int64(columns[b, 0])), np.int64(columns[b, 1] - columns[b, 0])
    start = max(0, start)                                    # the compiler needs to know
    for i in range(R):
        for q in range(n if K == 0 else 0):
            out[r + i, start + q] = 0
        for j in range(K):
            v, w = left + j, weights[b, j]
            if j == 0 and step == 1:
                for q in range(n):
                    out[r + i, start + q] = w * x[h + i, v + q]
            elif j == 0:
                for q in range(n):
                    out[r + i, start + q] = w * x[h + i, v + 2 * q]
            elif step == 1:
                for q in range(n):
                    out[r + i, start + q] += w * x[h + i, v + q]
            else:
                for q in range(n):
                    out[r + i, start + q] += w * x[h + i, v + 2 * q]


@jit(allocates=True)
def _paired(x, h, R, columns, weights, b, n, out, r):
    """n pairs of windows like b and b + 1: the two kinds apart, then interleaved."""
    zero, one, b = np.int64(0), np.int64(1), max(0, b)
    even, odd = np.empty((R, n), x.dtype), np.empty((R, n), x.dtype)
    _stepped(x, h, R, columns, weights, b, one, n, even, zero, zero)
    _stepped(x, h, R, columns, weights, b + 1, one, n, odd, zero, zero)
    for i in range(R):
        for q in range(n):
            out[r + i, b + 2 * q] = even[i, q]
            out[r + i, b + 2 * q + 1] = odd[i, q]


@jit(fastmath=True)
def _few(x, h, R, columns, weights, out, r):
    """Windows of at most two pixels; the second is looked at even if it is the first again."""
    K, zero = weights.shape[1], type(weights[0, 0])(0)
    plain = K == 1                                           # nearest: one pixel, one weight
    for b in range(len(columns)):
        plain &= columns[b, 1] - columns[b, 0] == 1 and weights[b, 0] == weights[0, 0]
    for i in range(R):
        for b in range(len(columns) if plain else 0):
            out[r + i, b] = weights[0, 0] * x[h + i, np.uint32(columns[b, 0])]
        for b in range(len(columns) if K == 1 and not plain else 0):
            left, last = columns[b, 0], max(0, np.int64(columns[b, 1]) - 1)
            value = weights[b, 0] * x[h + i, last]
            out[r + i, b] = value if left <= last else zero
        for b in range(len(columns) if K == 2 else 0):
            left, last = np.int64(columns[b, 0]), max(0, np.int64(columns[b, 1]) - 1)
            u, v = x[h + i, max(0, min(left, last))], x[h + i, last]
            both, one = weights[b, 0] * u + weights[b, 1] * v, weights[b, 0] * v
            one = one if left == last else zero
            out[r + i, b] = both if left < last else one


@jit(fastmath=True)
def _ragged(x, h, R, columns, weights, first, end, out, r):
    """Windows first to end, one by one."""
    for i in range(R):
        for b in range(first, end):
            left, total = np.int64(columns[b, 0]), type(weights[0, 0])(0)
            for j in range(columns[b, 1] - left):
                total += weights[b, j] * x[h + i, left + j]
            out[r + i, b] = total
