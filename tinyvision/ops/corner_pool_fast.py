"""corner_pool's kernel as workers: lines across one by one, lines down all columns at once."""
from __future__ import annotations

from tinyvision.ops.nms_fast import ints
from tinyvision.worker import after, crew, longs, real_worker, share


def corner_places(x, vertical, ahead, places, y):
    """See `corner_pool.corner_places`: a thread owns some of the planes."""
    (N, C, H, W), count = x.shape, crew(x.size)
    (down if vertical else across)(count, x, places, y, int(ahead), N * C, H, W, count)


@real_worker
def down(job, k):
    """One thread's planes: every row is compared with the one before it, which has the maxima."""
    p = longs(job)
    x, places, y, ahead, H, W = reals(p[0]), ints(p[1]), reals(p[2]), p[3], p[5], p[6]
    first, end = share(p[4], k, p[7])
    for plane in range(first, end):
        for i in range(H):
            h = H - 1 - i if ahead else i
            start, before = (plane * H + h) * W, W if ahead else -W
            row, out, found = after(x, start), after(y, start), after(places, start)
            if i == 0:
                for w in range(W):
                    out[w], found[w] = row[w], h * W + w
            else:
                maxima, where = after(out, before), after(found, before)
                for w in range(W):
                    value, best = row[w], maxima[w]
                    larger = (value > best) | (value != value)
                    out[w] = value if larger else best
                    found[w] = h * W + w if larger else where[w]


@real_worker
def across(job, k):
    """One thread's planes, a running maximum along every row."""
    p = longs(job)
    x, places, y, ahead, H, W = reals(p[0]), ints(p[1]), reals(p[2]), p[3], p[5], p[6]
    first, end = share(p[4] * H, k, p[7])
    for line in range(first, end):
        start, h = line * W, line % H
        row, out, found = after(x, start), after(y, start), after(places, start)
        best = W - 1 if ahead else 0
        for i in range(W):
            w = W - 1 - i if ahead else i
            if row[w] > row[best] or row[w] != row[w]:
                best = w
            out[w], found[w] = row[best], h * W + best
