"""The fast rungs of `resize`, as workers (see `worker`): the same two steps, in straight lines.

What the readable kernel spends its time on are the indices: looked up for every pixel, they keep
the compiler from computing 16 pixels at once. But most tables are regular, and of few kinds:

- one window that is everything, windows of two pixels side by side, and the adjoints of these, down
  and across (`fold`): global means, means of 2 x 2, doubling;
- window b + 1 is window b moved by one pixel or two: other poolings (`by_one`, `by_two`);
- window b + 2 is window b moved by one pixel: what else doubles (`paired`);
- none of these, but one pixel a window, or at most two: other enlargements (`single`, `few`).

The rest goes window by window, as do the few windows at the borders (`one_by_one`). Enlarging goes
across first, so that each row of x is stretched once however often it is used; shrinking goes down
first, so that only sums are shrunk. Between the two steps lies a row, or as many as a window is
tall, in the core's nearest cache. All planes are one tall image, whose rows the threads share.
"""
import functools

import numpy as np

from tinyvision.kernel import jit, scratch
from tinyvision.ops.windows import alike
from tinyvision.worker import after, crew, ints, longs, real_worker, record, share

WHOLE, HALF = 1, 2                         # the simplest tables
sizes = record("sizes", np.dtype([(name, np.int64) for name in (
    "x", "y", "rows", "down", "columns", "across", "room", "planes", "H", "W", "A", "B", "I", "J",
    "first", "end", "count")]))


def resize(x, rows, down, columns, across, y):
    """See `interpolate.resize`. What nearly every network does has workers of its own."""
    (N, C, H, W), (A, B), count = x.shape, y.shape[2:], crew(x.size + y.size)
    fold = fold_of(rows, down, H)
    if fold and fold == fold_of(columns, across, W):
        scale = down[:1, 0] * across[0, 0]
        FOLDS[fold](count, x, y, scale, N * C, H, W, A, B, count)
        return
    kind, first, end = kind_of(columns, across)
    lines, width = (1, W) if H >= A else (down.shape[1], B)
    room = scratch("resize", (count, 2 * (lines * width + B)))
    WORKERS[H < A, kind](count, x, y, rows, down, columns, across, room, N * C, H, W, A, B,
                         down.shape[1], across.shape[1], first, end, count)


# --- tables ---------------------------------------------------------------------------------------
def fold_of(spans, weights, H):
    """WHOLE, HALF, -WHOLE, -HALF (enlarging), or 0; looked up by the tables' contents."""
    return _fold_of(spans.tobytes(), weights.tobytes(), weights.dtype.char, len(spans), H)


@functools.lru_cache(512)
def _fold_of(spans, weights, kind, A, H):
    spans, a = np.frombuffer(spans, np.int32).reshape(A, 2), np.arange(A)
    weights = np.frombuffer(weights, kind).reshape(A, -1)
    if H >= A:
        fold, first, length = (WHOLE, a, H) if A == 1 else (HALF, 2 * a, 2)
    else:
        fold, first, length = (-WHOLE, 0 * a, 1) if H == 1 else (-HALF, a // 2, 1)
    fits = (spans[:, 0] == first).all() and (spans[:, 1] == first + length).all()
    fits = fits and (fold != -HALF or A == 2 * H)
    return fold if fits and weights.size and (weights == weights[0, 0]).all() else 0


def kind_of(columns, weights):
    """(which of the loops across, first and end of the windows that it is for)."""
    B = len(columns)
    first, end, step = alike(columns, weights, 1)
    if 4 * (end - first) >= 3 * B and step in (1, 2):
        return "by_one" if step == 1 else "by_two", first, end
    first, end, step = alike(columns, weights, 2)
    if 4 * (end - first) >= 3 * B and step == 1:
        return "paired", first, end
    if weights.shape[1] == 1 and (columns[:, 1] > columns[:, 0]).all():
        return "single", 0, B
    return ("few", 0, B) if weights.shape[1] <= 2 else ("nothing", 0, 0)


# --- the simplest tables --------------------------------------------------------------------------
@real_worker(fastmath=True)
def plane_sums(job, k):
    """y = scale times the sum of the plane."""
    p = longs(job)
    x, y, scale, L = reals(p[0]), reals(p[1]), reals(p[2])[0], p[4] * p[5]
    first, end = share(p[3], k, p[8])
    for m in range(first, end):
        plane, total = after(x, m * L), type(scale)(0)
        for i in range(L):
            total += plane[i]
        y[m] = scale * total


@real_worker
def fill_planes(job, k):
    """All of plane y = scale x."""
    p = longs(job)
    x, y, scale, L = reals(p[0]), reals(p[1]), reals(p[2])[0], p[6] * p[7]
    first, end = share(p[3], k, p[8])
    for m in range(first, end):
        plane, value = after(y, m * L), scale * x[m]
        for i in range(L):
            plane[i] = value


@real_worker(fastmath=True)
def sums_of_four(job, k):
    """y = scale times the sum of 2 x 2 pixels."""
    p = longs(job)
    x, y, scale, H, W, A, B = reals(p[0]), reals(p[1]), reals(p[2])[0], p[4], p[5], p[6], p[7]
    first, end = share(p[3] * A, k, p[8])
    for r in range(first, end):
        upper, out = after(x, (r // A * H + 2 * (r % A)) * W), after(y, r * B)
        lower = after(upper, W)
        for b in range(B):
            out[b] = scale * (upper[2 * b] + upper[2 * b + 1] + lower[2 * b] + lower[2 * b + 1])


@real_worker
def four_of_one(job, k):
    """2 x 2 pixels y = scale x."""
    p = longs(job)
    x, y, scale, H, W = reals(p[0]), reals(p[1]), reals(p[2])[0], p[4], p[5]
    first, end = share(p[3] * 2 * H, k, p[8])
    for r in range(first, end):
        row, out = after(x, (r // 2) * W), after(y, r * 2 * W)
        for w in range(W):
            value = scale * row[w]
            out[2 * w] = value
            out[2 * w + 1] = value


FOLDS = {WHOLE: plane_sums, -WHOLE: fill_planes, HALF: sums_of_four, -HALF: four_of_one}


# --- every other table: down ----------------------------------------------------------------------
@jit(inline=True)
def shrink(job, k, reals, loop):
    """One thread's rows of y: down into one line, then across."""
    p = sizes(job)
    x, y, down, across, rows = reals(p.x), reals(p.y), reals(p.down), reals(p.across), ints(p.rows)
    room = reals(p.room + 8 * k * (p.W + p.B))
    first, end = share(p.planes * p.A, k, p.count)
    for r in range(first, end):
        a = r % p.A
        top, n = rows[2 * a], rows[2 * a + 1] - rows[2 * a]
        add_rows(after(x, r // p.A * p.H * p.W), top, n, p.H, p.W, after(down, a * p.I), room)
        stretch(p, room, across, after(y, r * p.B), after(room, p.W), loop)


@jit(inline=True)
def enlarge(job, k, reals, loop):
    """One thread's rows of y: rows of x are stretched when first needed; a window's are kept."""
    p = sizes(job)
    x, y, down, across, rows = reals(p.x), reals(p.y), reals(p.down), reals(p.across), ints(p.rows)
    room, plane, done = reals(p.room + 8 * k * (p.I * p.B + p.B)), -1, 0
    first, end = share(p.planes * p.A, k, p.count)
    for r in range(first, end):
        a = r % p.A
        top, bottom = rows[2 * a], rows[2 * a + 1]
        if r // p.A != plane:
            plane, done = r // p.A, 0
        for h in range(max(done, top), bottom):
            stretch(p, after(x, (plane * p.H + h) * p.W), across, after(room, h % p.I * p.B),
                    after(room, p.I * p.B), loop)
        done = max(done, bottom)
        add_rows(room, top, bottom - top, p.I, p.B, after(down, a * p.I), after(y, r * p.B))


@jit(fastmath=True)
def add_rows(source, start, n, wrap, width, weights, out):
    """out = the sum of weights[j] times row (start + j) % wrap of `source`, for j < n.

    Two at a time: half the sums stored.
    """
    done, one = n % 2, after(source, start % wrap * width)
    two = after(source, (start + 1) % wrap * width)
    if n % 2:
        w = weights[0]
        for v in range(width):
            out[v] = w * one[v]
    elif n:
        w, u, done = weights[0], weights[1], 2
        for v in range(width):
            out[v] = w * one[v] + u * two[v]
    else:
        for v in range(width):
            out[v] = 0
    for j in range(done, n, 2):
        w, u = weights[j], weights[j + 1]
        one = after(source, (start + j) % wrap * width)
        two = after(source, (start + j + 1) % wrap * width)
        for v in range(width):
            out[v] += w * one[v] + u * two[v]


# --- every other table: across --------------------------------------------------------------------
@jit(inline=True)
def stretch(p, x, weights, out, room, loop):
    """out[b] = the sum of weights[b, j] x[columns[b, 0] + j]: the regular windows by `loop`."""
    loop(p, x, weights, out, room)
    one_by_one(p, 0, p.first, x, weights, out)
    one_by_one(p, p.end, p.B, x, weights, out)


@jit(inline=True)
def one_by_one(p, first, end, x, weights, out):
    """Windows first to end."""
    columns = ints(p.columns)
    for b in range(first, end):
        left, w, total = columns[2 * b], after(weights, b * p.J), type(x[0])(0)
        for j in range(columns[2 * b + 1] - left):
            total += w[j] * x[left + j]
        out[b] = total


@jit(inline=True)
def nothing(p, x, weights, out, room):
    """No window is regular."""


@jit(inline=True)
def by_one(p, x, weights, out, room):
    """Each window is the one before, moved by a pixel."""
    left, n = ints(p.columns)[2 * p.first], ints(p.columns)[2 * p.first + 1]
    moved_by_one(after(x, left), after(weights, p.first * p.J), n - left, p.end - p.first,
                 after(out, p.first))


@jit(fastmath=True)
def moved_by_one(x, weights, K, n, out):
    """out[q] = the sum of weights[j] x[q + j], for j < K."""
    for q in range(n if K == 0 else 0):
        out[q] = 0
    for j in range(K):
        w, column = weights[j], after(x, j)
        if j == 0:
            for q in range(n):
                out[q] = w * column[q]
        else:
            for q in range(n):
                out[q] += w * column[q]


@jit(inline=True, fastmath=True)
def by_two(p, x, weights, out, room):
    """Each window is the one before, moved by two pixels."""
    left, right = ints(p.columns)[2 * p.first], ints(p.columns)[2 * p.first + 1]
    n, line, w = p.end - p.first, after(out, p.first), after(weights, p.first * p.J)
    for q in range(n):
        line[q] = 0
    for j in range(right - left):
        u, column = w[j], after(x, left + j)
        for q in range(n):
            line[q] += u * column[2 * q]


@jit(inline=True)
def paired(p, x, weights, out, room):
    """Windows 0, 2, 4, ... by one and 1, 3, 5, ... by one, then interleaved."""
    columns, n = after(ints(p.columns), 2 * p.first), (p.end - p.first) // 2
    line, w, other = after(out, p.first), after(weights, p.first * p.J), after(room, n)
    moved_by_one(after(x, columns[0]), w, columns[1] - columns[0], n, room)
    moved_by_one(after(x, columns[2]), after(w, p.J), columns[3] - columns[2], n, other)
    for q in range(n):
        line[2 * q] = room[q]
        line[2 * q + 1] = other[q]


@jit(inline=True, fastmath=True)
def single(p, x, weights, out, room):
    """Windows of one pixel."""
    columns = ints(p.columns)
    for b in range(p.B):
        out[b] = weights[b] * x[columns[2 * b]]


@jit(inline=True, fastmath=True)
def few(p, x, weights, out, room):
    """Windows of at most two pixels; the second is looked at even if it is the first again."""
    columns, K, zero = ints(p.columns), p.J, type(x[0])(0)
    for b in range(p.B):
        left, last = columns[2 * b], max(columns[2 * b + 1] - 1, 0)
        w, u = weights[K * b], weights[K * b + K - 1]
        one, both = w * x[last], w * x[min(left, last)] + u * x[last]
        out[b] = both if left < last else one if left == last else zero


# --- every pair of the two ------------------------------------------------------------------------
@real_worker(fastmath=True)
def shrink_by_one(job, k):
    """Down, then across: windows that move by a pixel."""
    shrink(job, k, reals, by_one)


@real_worker(fastmath=True)
def shrink_by_two(job, k):
    """Down, then across: windows that move by two."""
    shrink(job, k, reals, by_two)


@real_worker(fastmath=True)
def shrink_paired(job, k):
    """Down, then across: pairs of windows that move by a pixel."""
    shrink(job, k, reals, paired)


@real_worker(fastmath=True)
def shrink_single(job, k):
    """Down, then across: windows of one pixel."""
    shrink(job, k, reals, single)


@real_worker(fastmath=True)
def shrink_few(job, k):
    """Down, then across: windows of at most two pixels."""
    shrink(job, k, reals, few)


@real_worker(fastmath=True)
def shrink_nothing(job, k):
    """Down, then across: windows that have nothing in common."""
    shrink(job, k, reals, nothing)


@real_worker(fastmath=True)
def enlarge_by_one(job, k):
    """Across, then down: windows that move by a pixel."""
    enlarge(job, k, reals, by_one)


@real_worker(fastmath=True)
def enlarge_by_two(job, k):
    """Across, then down: windows that move by two."""
    enlarge(job, k, reals, by_two)


@real_worker(fastmath=True)
def enlarge_paired(job, k):
    """Across, then down: pairs of windows that move by a pixel."""
    enlarge(job, k, reals, paired)


@real_worker(fastmath=True)
def enlarge_single(job, k):
    """Across, then down: windows of one pixel."""
    enlarge(job, k, reals, single)


@real_worker(fastmath=True)
def enlarge_few(job, k):
    """Across, then down: windows of at most two pixels."""
    enlarge(job, k, reals, few)


@real_worker(fastmath=True)
def enlarge_nothing(job, k):
    """Across, then down: windows that have nothing in common."""
    enlarge(job, k, reals, nothing)


WORKERS = {
    (False, "by_one"): shrink_by_one, (True, "by_one"): enlarge_by_one,
    (False, "by_two"): shrink_by_two, (True, "by_two"): enlarge_by_two,
    (False, "paired"): shrink_paired, (True, "paired"): enlarge_paired,
    (False, "single"): shrink_single, (True, "single"): enlarge_single,
    (False, "few"): shrink_few, (True, "few"): enlarge_few,
    (False, "nothing"): shrink_nothing, (True, "nothing"): enlarge_nothing}
