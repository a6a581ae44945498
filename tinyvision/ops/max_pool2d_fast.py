"""The fast rung of `max_places`: down first, then across, 16 pixels at once.

Down: of every column the largest of the window's rows, with its place; that reads rows from end to
end. Across: of the columns the largest, windows in lockstep where they are regular (`alike`), one
by one where they are not. Places are carried along and decide between equals: the first of equals,
the last of several NaN, as if the window had been read row by row.

All planes are one tall image, and a task is a band of its rows: why, says `interpolate_fast`.
"""
import numpy as np

from tinyvision.kernel import jit, prange
from tinyvision.ops.interpolate_fast import bands
from tinyvision.ops.windows import alike


def max_places(x, rows, columns, D, E, places, y):
    """See `max_pool2d.max_places`. Windows of 2 x 2 without overlap have a kernel of their own."""
    if D == E == 1 and _halves(rows) and _halves(columns):
        _max_of_four(x, places, y)
    else:
        _max_places(x, rows, columns, D, E, places, y)


@jit
def _halves(spans):
    """Whether window a is the pixels 2 a and 2 a + 1."""
    for a in range(len(spans)):
        if spans[a, 0] != 2 * a or spans[a, 1] != 2 * a + 2:
            return False
    return True


@jit(parallel=True)
def _max_of_four(x, places, y):
    """All four pixels in registers, rows read once and in order, no branch."""
    (N, C, A, B), W = y.shape, np.int32(x.shape[3])
    for k in prange(N * C):
        n, c = np.int64(k) // C, np.int64(k) % C
        for a in range(A):
            upper, lower = x[n, c, 2 * a], x[n, c, 2 * a + 1]
            values, found, row = y[n, c, a], places[n, c, a], np.int32(2 * a) * W
            for b in range(B):
                place = row + np.int32(2 * b)
                best, at = upper[2 * b], place
                best, at = _later(upper[2 * b + 1], place + np.int32(1), best, at)
                best, at = _later(lower[2 * b], place + W, best, at)
                values[b], found[b] = _later(lower[2 * b + 1], place + W + np.int32(1), best, at)


@jit(inline=True)
def _later(value, place, best, at):
    """The better one of `best` and a `value` that comes after it."""
    larger = (value > best) | (value != value)
    return value if larger else best, place if larger else at


@jit(parallel=True, allocates=True)
def _max_places(x, rows, columns, D, E, places, y):
    (N, C, A, B), H, W = y.shape, x.shape[2], x.shape[3]
    lines, total = x.reshape(N * C * H, W), N * C * A
    found, values = places.reshape(total, B), y.reshape(total, B)
    regular = np.zeros(3, np.int64)
    alike(columns, np.empty((B, 0), np.int32), np.int64(1), regular)
    tasks = bands(total, 2 * W, x.size + y.size)
    for task in prange(tasks):
        k = np.int64(task)
        _band(lines, H, rows, columns, np.int64(D), np.int64(E), regular, found, values,
              total * k // tasks, total * (k + 1) // tasks)


@jit(allocates=True)
def _band(x, H, rows, columns, D, E, regular, places, y, start, end):
    """Rows start to end of y."""
    high = np.empty((end - start, x.shape[1]), x.dtype)
    where = np.empty((end - start, x.shape[1]), np.int32)
    first, last, step, zero = regular[0], regular[1], regular[2], np.int64(0)
    if step > 2 or step < 1:
        first, last = zero, zero
    _down(x, H, rows, D, start, end, high, where)
    _stepped(high, where, columns, E, first, last, step, places, y, start)
    _ragged(high, where, columns, E, zero, first, places, y, start)
    _ragged(high, where, columns, E, last, np.int64(len(columns)), places, y, start)


@jit
def _down(x, H, rows, D, start, end, high, where):
    """high[i, v] = the largest of column v in window start + i, found at where[i, v]."""
    A, W = np.int64(len(rows)), x.shape[1]
    for i in range(end - start):
        a, first = (start + i) % A, (start + i) // A * H
        top, bottom = np.int64(rows[a, 0]), np.int64(rows[a, 1])
        here = np.int32(top * W)
        for v in range(W):
            high[i, v] = x[first + top, v]
            where[i, v] = here + np.int32(v)
        for h in range(top + D, bottom, D):
            here = np.int32(h * W)
            for v in range(W):
                value, best = x[first + h, v], high[i, v]
                at, there = where[i, v], here + np.int32(v)
                larger = (value > best) | (value != value)
                high[i, v] = value if larger else best
                where[i, v] = there if larger else at


@jit(inline=True)
def _wins(u, at_u, v, at_v):
    """Whether u comes before v: larger, or the first of equals, or NaN and the last of these."""
    return ((u > v) | ((u == v) & (at_u < at_v)) | ((u != u) & ((v == v) | (at_u > at_v))))


@jit
def _stepped(high, where, columns, E, first, end, step, places, y, start):
    """Windows first to end, all of one width and `step` (1 or 2) apart."""
    if first < end:
        left, n, first = max(0, np.int64(columns[first, 0])), end - first, max(0, first)
        width = columns[first, 1] - columns[first, 0]
        for i in range(len(high)):
            a, v = start + i, left + (E if width > E else 0)
            if step == 1:
                for q in range(n):
                    _pair(high, where, i, left + q, v + q, places, y, a, first + q)
            else:
                for q in range(n):
                    _pair(high, where, i, left + 2 * q, v + 2 * q, places, y, a, first + q)
            for j in range(2 * E, width, E):
                if step == 1:
                    for q in range(n):
                        _one_more(high, where, i, left + j + q, places, y, a, first + q)
                else:
                    for q in range(n):
                        _one_more(high, where, i, left + j + 2 * q, places, y, a, first + q)


@jit(inline=True)
def _pair(high, where, i, u, v, places, y, a, b):
    """Window (a, b) so far: the better one of columns u and v."""
    best, at, other, there = high[i, u], where[i, u], high[i, v], where[i, v]
    wins = _wins(other, there, best, at)
    y[a, b] = other if wins else best
    places[a, b] = there if wins else at


@jit(inline=True)
def _one_more(high, where, i, v, places, y, a, b):
    """Window (a, b) so far, and column v."""
    best, at, other, there = y[a, b], np.int32(places[a, b]), high[i, v], where[i, v]
    wins = _wins(other, there, best, at)
    y[a, b] = other if wins else best
    places[a, b] = there if wins else at


@jit
def _ragged(high, where, columns, E, first, end, places, y, start):
    """Windows first to end, one by one."""
    for i in range(len(high)):
        for b in range(first, end):
            left = np.int64(columns[b, 0])
            best, at = high[i, left], where[i, left]
            for v in range(left + E, columns[b, 1], E):
                if _wins(high[i, v], where[i, v], best, at):
                    best, at = high[i, v], where[i, v]
            y[start + i, b], places[start + i, b] = best, at
