"""What the fast convolutions share: which part of the work a task is, and its padded copy.

`p` is a plan's record (see `conv2d_plan`), arrays are addresses of float32 numbers.
"""
from __future__ import annotations

from tinyvision.kernel import jit
from tinyvision.ops.conv2d_plan import SIZES
from tinyvision.simd import copy, gather, weave
from tinyvision.worker import floats, record

sizes_at = record("sizes_at", SIZES)


@jit
def task_of(p, k):
    """(group, first image, images, first row, last row) of a task."""
    g, share, band = k // p.bands // p.shares, k // p.bands % p.shares, k % p.bands
    n, end = share * p.N // p.shares, (share + 1) * p.N // p.shares
    return g, n, end - n, band * p.rows // p.bands, (band + 1) * p.rows // p.bands


@jit
def padded(p, x, images, a0, a1, room):
    """Where a task's images are: a padded copy, or where nothing is padded, they themselves."""
    if p.bare:
        return x + 4 * a0 * p.width
    copy_band(p, x, images, a0, a1, room)
    return room


@jit
def copy_band(p, x, images, a0, a1, room):
    """What rows a0 to a1 of the output meet in a group's images at `x`, zeros around them.

    Where tiles have a clip, which leaves out taps beyond the first and the last row of the image,
    there are no zeros above and below.
    """
    tall = (a1 - a0 - 1) * p.S + p.reach + 1
    lo, hi = inside(p.left, 1, p.W, p.comb * p.width)
    for layer in range(p.layers):
        top = a0 * p.S * p.skip + p.top + layer
        first, last = inside(top, p.skip, p.H, tall)
        source, to = x + 4 * (top * p.W + p.left), room + 4 * layer * p.parts * p.part
        begin, end = (first, last) if p.clips and not p.flat else (0, tall)
        source, to = source + 4 * begin * p.skip * p.W, to + 4 * begin * p.width
        first, last, rows = first - begin, last - begin, end - begin
        for n in range(images if rows > 0 else 0):
            for c in range(p.C):
                plane = source + 4 * (n * p.G * p.C + c) * p.H * p.W
                frame = to + 4 * (n * p.C + c) * p.plane
                if p.comb == 1:
                    copy(p.copy, (plane, p.skip * p.W, first, last, lo, hi, frame, p.width, rows,
                                  p.width))
                else:
                    gather(p.gather, (plane, p.skip * p.W, p.comb, first, last, lo, hi, frame,
                                      p.width, p.part, rows, p.width, p.parts))


@jit
def inside(start, step, size, count):
    """The k, from and below which 0 <= start + k step < size; at most `count`."""
    first = min(count, max(0, -(start // step)))
    return first, max(first, min(count, (size - 1 - start) // step + 1))


@jit
def in_turn(p, line, far, y):
    """y[b K + s] = line[s, b], for a row of y; `far` is between the lines."""
    if p.weave:
        weave(p.weave, (line, far, y, p.B))
        return
    to = floats(y)
    for s in range(p.K):
        source = floats(line + 4 * s * far)
        for b in range((p.B - s + p.K - 1) // p.K):
            to[b * p.K + s] = source[b]
