"""embedding's kernel as a worker: a thread owns some features of all rows, so none collide."""
from __future__ import annotations

from tinyvision.ops.nms_fast import ints
from tinyvision.worker import after, crew, longs, real_worker, share


def put_rows(y, ids, weight):
    """See `embedding.put_rows`."""
    (V, D), count = weight.shape, crew(weight.size + y.size)
    put_share(count, y, ids, weight, len(ids), V, D, count)


@real_worker
def put_share(job, k):
    """One thread's features."""
    p = longs(job)
    y, ids, weight, I, V, D = reals(p[0]), ints(p[1]), reals(p[2]), p[3], p[4], p[5]
    first, end = share(D, k, p[6])
    for v in range(V):
        row = after(weight, v * D)
        for d in range(first, end):
            row[d] = 0
    for i in range(I):
        if ids[i] >= 0:
            row, value = after(weight, ids[i] * D), after(y, i * D)
            for d in range(first, end):
                row[d] += value[d]
