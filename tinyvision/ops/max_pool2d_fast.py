"""The fast rungs of max pooling and unpooling, as workers (see `worker`).

Windows of 2 x 2 without overlap: a row of them is computed in one loop without a branch, and put
back in one that writes every pixel of a row, zeros included, in order.

Other windows: down first, then across. Down: of every column the largest of the window's rows, with
its place; that reads rows from end to end. Across: of the columns the largest, all regular windows
in lockstep (`alike`), the others one by one. Places are carried along and decide between equals:
the first of equals, the last of several NaN, as if the window had been read row by row.
"""
import functools

import numpy as np

from tinyvision.kernel import jit, scratch
from tinyvision.ops.windows import alike, are_halves, reach_halves
from tinyvision.worker import address, after, crew, ints, longs, real_worker, record, share, worker

NONE = np.empty((0, 0), np.float32)
sizes = record("sizes", np.dtype([(name, np.int64) for name in (
    "x", "y", "places", "rows", "columns", "room", "planes", "H", "W", "A", "B", "D", "E", "first",
    "end", "step", "count")]))


def max_places(x, rows, columns, D, E, places, y):
    """See `max_pool2d.max_places`."""
    (N, C, A, B), (H, W), count = y.shape, x.shape[2:], crew(x.size)
    halves = D == E == 1 and are_halves(rows) and are_halves(columns)
    first, end, step = (0, 0, 0) if halves else alike(columns, NONE, 1)
    first, end = (first, end) if step in (1, 2) else (0, 0)
    CHOOSE[halves, places.itemsize](
        count, x, y, places, rows, columns, scratch("max_places", (count, 4, W)), N * C, H, W, A, B,
        int(D), int(E), first, end, step, count)


def take_plane(x, places, y):
    """See `max_pool2d.take_plane`."""
    (N, C, A, B), (H, W), count = y.shape, x.shape[2:], crew(y.size)
    TAKE[places.itemsize](count, x, y, places, 0, 0, 0, N * C, H, W, A, B, 0, 0, 0, 0, 0, count)


def put_plane(y, places, up, across, x):
    """See `max_pool2d.put_plane`."""
    (N, C, A, B), (H, W), count = y.shape, x.shape[2:], crew(x.size)
    halves = reach_halves(up) and reach_halves(across)
    PUT[halves, places.itemsize](count, x, y, places, up, across, 0, N * C, H, W, A, B, 0, 0, 0, 0,
                                 0, count)


# --- 2 x 2 ----------------------------------------------------------------------------------------
@real_worker
def choose_halves(job, k):
    """`max_of_four` with places of 32 bits."""
    p = sizes(job)
    max_of_four(p, k, reals(p.x), reals(p.y), ints(p.places))


@real_worker
def choose_halves_long(job, k):
    """With places of 64 bits."""
    p = sizes(job)
    max_of_four(p, k, reals(p.x), reals(p.y), longs(p.places))


@jit(inline=True)
def max_of_four(p, k, x, y, places):
    """One thread's rows of windows: all four pixels in registers, rows read once and in order."""
    first, end = share(p.planes * p.A, k, p.count)
    for r in range(first, end):
        h = 2 * (r % p.A)
        upper, W, row = after(x, (r // p.A * p.H + h) * p.W), p.W, np.int32(h * p.W)
        lower, values, found = after(upper, W), after(y, r * p.B), after(places, r * p.B)
        for b in range(p.B):
            place = row + np.int32(2 * b)
            best, at = upper[2 * b], place
            best, at = later(upper[2 * b + 1], place + np.int32(1), best, at)
            best, at = later(lower[2 * b], place + np.int32(W), best, at)
            best, at = later(lower[2 * b + 1], place + np.int32(W + 1), best, at)
            values[b], found[b] = best, at


@jit
def later(value, place, best, at):
    """The better one of `best` and a `value` that comes after it."""
    larger = (value > best) | (value != value)
    return value if larger else best, place if larger else at


@real_worker
def put_halves(job, k):
    """`one_of_four` with places of 32 bits."""
    p = sizes(job)
    one_of_four(p, k, reals(p.x), reals(p.y), ints(p.places))


@real_worker
def put_halves_long(job, k):
    """With places of 64 bits."""
    p = sizes(job)
    one_of_four(p, k, reals(p.x), reals(p.y), longs(p.places))


@jit(inline=True)
def one_of_four(p, k, x, y, places):
    """One thread's rows of x: each value to one of its window's pixels, zeros to the others."""
    first, end = share(p.planes * p.H, k, p.count)
    for r in range(first, end):
        h, out, zero = r % p.H, after(x, r * p.W), type(x[0])(0)
        row, s = np.int32(h * p.W), (r // p.H * p.A + h // 2) * p.B
        values, found = after(y, s), after(places, s)
        windows = p.B if h < 2 * p.A else 0
        for b in range(windows):
            value, at = values[b], np.int32(found[b])
            out[2 * b] = value if at == row + np.int32(2 * b) else zero
            out[2 * b + 1] = value if at == row + np.int32(2 * b + 1) else zero
        for v in range(2 * windows, p.W):                    # an odd column, or a whole odd row
            out[v] = zero


# --- all other windows ----------------------------------------------------------------------------
@real_worker
def choose_windows(job, k):
    """`max_of_windows` with places of 32 bits."""
    p = sizes(job)
    max_of_windows(p, k, reals(p.x), reals(p.y), ints(p.places), reals(p.room + 16 * k * p.W))


@real_worker
def choose_windows_long(job, k):
    """With places of 64 bits."""
    p = sizes(job)
    max_of_windows(p, k, reals(p.x), reals(p.y), longs(p.places), reals(p.room + 16 * k * p.W))


@jit(inline=True)
def max_of_windows(p, k, x, y, places, high):
    """One thread's rows of windows: high[v] is the largest of column v, found at where[v]."""
    rows, columns, where = ints(p.rows), ints(p.columns), ints(p.room + 16 * k * p.W + 8 * p.W)
    first, end = share(p.planes * p.A, k, p.count)
    for r in range(first, end):
        top, bottom = rows[2 * (r % p.A)], rows[2 * (r % p.A) + 1]
        plane, values, found = r // p.A * p.H * p.W, after(y, r * p.B), after(places, r * p.B)
        for h in range(top, bottom, p.D):
            down(after(x, plane + h * p.W), h * p.W, p.W, h == top, high, where)
        if p.first < p.end:
            across(p, columns, high, where, values, found)
        one_by_one(p, columns, 0, p.first, high, where, values, found)
        one_by_one(p, columns, p.end, p.B, high, where, values, found)


@jit(inline=True)
def down(x, place, W, first, high, where):
    """A further row of the window; the `first` overwrites what stands there."""
    for v in range(W):
        value, best, at = x[v], high[v], where[v]
        larger = first | (value > best) | (value != value)
        high[v] = value if larger else best
        where[v] = np.int32(place + v) if larger else at


@jit
def wins(u, at_u, v, at_v):
    """Whether u comes before v: larger, or the first of equals, or NaN and the last of these."""
    return (u > v) | ((u == v) & (at_u < at_v)) | ((u != u) & ((v == v) | (at_u > at_v)))


@jit(inline=True)
def across(p, columns, high, where, y, places):
    """The regular windows, all of one width and one step (1 or 2) apart, column by column."""
    left, n, y, places = columns[2 * p.first], p.end - p.first, after(y, p.first), after(
        places, p.first)
    for v in range(left, columns[2 * p.first + 1], p.E):
        if p.step == 1:
            for q in range(n):
                take_better(high[v + q], where[v + q], v == left, q, y, places)
        else:
            for q in range(n):
                take_better(high[v + 2 * q], where[v + 2 * q], v == left, q, y, places)


@jit
def take_better(value, place, first, q, y, places):
    """Window q so far, and a further column's best; the `first` overwrites what stands there."""
    best, at = y[q], np.int32(places[q])
    better = first | wins(value, place, best, at)
    y[q] = value if better else best
    places[q] = place if better else at


@jit(inline=True)
def one_by_one(p, columns, first, end, high, where, y, places):
    """Windows first to end."""
    for b in range(first, end):
        left = columns[2 * b]
        best, at = high[left], where[left]
        for v in range(left + p.E, columns[2 * b + 1], p.E):
            if wins(high[v], where[v], best, at):
                best, at = high[v], where[v]
        y[b], places[b] = best, at


@real_worker
def put_windows(job, k):
    """`add_to_places` with places of 32 bits."""
    p = sizes(job)
    add_to_places(p, k, reals(p.x), reals(p.y), ints(p.places))


@real_worker
def put_windows_long(job, k):
    """With places of 64 bits."""
    p = sizes(job)
    add_to_places(p, k, reals(p.x), reals(p.y), longs(p.places))


@jit(inline=True)
def add_to_places(p, k, x, y, places):
    """One thread's planes: no other writes there, so none waits."""
    up, L = ints(p.rows), p.A * p.B
    first, end = share(p.planes, k, p.count)
    for m in range(first, end):
        plane, values, found, h = after(x, m * p.H * p.W), after(y, m * L), after(places, m * L), 0
        for a in range(p.A + 1):
            ready = h                                        # these rows are 0 already; the others
            while h < p.H and (a == p.A or up[2 * h] <= a):  # become so just before it is needed
                h += 1
            for i in range(ready * p.W, h * p.W):
                plane[i] = 0
            for i in range(a * p.B, a * p.B + p.B if a < p.A else 0):
                plane[found[i]] += values[i]


# --- taking ---------------------------------------------------------------------------------------
@real_worker
def take(job, k):
    """`take_from_places` with places of 32 bits."""
    p = sizes(job)
    take_from_places(p, k, reals(p.x), reals(p.y), ints(p.places))


@real_worker
def take_long(job, k):
    """With places of 64 bits."""
    p = sizes(job)
    take_from_places(p, k, reals(p.x), reals(p.y), longs(p.places))


@jit(inline=True)
def take_from_places(p, k, x, y, places):
    """One thread's planes."""
    L = p.A * p.B
    first, end = share(p.planes, k, p.count)
    for m in range(first, end):
        plane, values, found = after(x, m * p.H * p.W), after(y, m * L), after(places, m * L)
        for i in range(L):
            values[i] = plane[found[i]]


CHOOSE = {(True, 4): choose_halves, (True, 8): choose_halves_long,
          (False, 4): choose_windows, (False, 8): choose_windows_long}
PUT = {(True, 4): put_halves, (True, 8): put_halves_long,
       (False, 4): put_windows, (False, 8): put_windows_long}
TAKE = {4: take, 8: take_long}


# --- unpooling ------------------------------------------------------------------------------------
def in_their_halves(places, H, W) -> bool:
    """Whether every place of window (a, b) is in rows 2 a, 2 a + 1 and columns 2 b, 2 b + 1."""
    (N, C, A, B), count = places.shape, crew(places.size)
    if places.dtype != np.int64 or (A, B) != (H // 2, W // 2):
        return False
    places, corners = np.require(places, requirements="CA"), _corners(A, B, W)
    astray = np.zeros(count, np.int64)
    numbers = N * C, A * B, W, count
    count_astray(count, address(places), address(corners), address(astray), *numbers)
    return not astray.any()


@functools.lru_cache(16)
def _corners(A, B, W):
    """The places of the windows' upper left pixels."""
    return (2 * W * np.arange(A)[:, None] + 2 * np.arange(B)).ravel()


@worker
def count_astray(job, k):
    """How many of one thread's places are elsewhere: not 0, 1, W or W + 1 from the corner."""
    p = longs(job)
    corners, L, W, astray = longs(p[1]), p[4], p[5], 0
    first, end = share(p[3], k, p[6])
    for m in range(first, end):
        found = after(longs(p[0]), m * L)
        for i in range(L):
            at = found[i] - corners[i]
            astray += (at & -2 != 0) & (at - W & -2 != 0)
    longs(p[2])[k] = astray
