"""Non-maximum suppression, fast: a box is compared with the kept ones near it, 16 at a time.

**Near.** Two boxes' IoU is at most that of their shadows on the x axis. So where it exceeds the
threshold t, shadows of widths w and w', their centres dx apart, overlap by more than
t (w + w') / (1 + t), and by at most (w + w') / 2 - |dx|; and w' < w / t. Therefore

    |dx| < f w,   f = (1 - t) / 2t;   y alike;   t < area' / area < 1 / t

So each level of a pyramid takes the boxes of one size, 4^l <= area < 4^(l+1), in cells of about
4 f 2^l: huge boxes cost no more than small ones. What is looked at are a few cells on a few levels.
A cell is the piece of an array that its hash (with the box's class) names, as long as all its boxes
need; strangers that share it are compared too, which does no harm.

**Exact.** The equation of `overlap_ratio` alone decides, in its own rounding; the pyramid only
leaves out what cannot be. Its bounds are 1e-5 wide of the equation's rounding errors. Where these
are unbounded (areas that underflow), where t is nearly 0, where the cells are too many or the kept
few, all the kept are compared.

A box meets the kept ones until one suppresses it: pairs that the plain loops compare too, so that
no scene makes this slower than those.
"""
from __future__ import annotations

import math

import numpy as np

from tinyvision.kernel import jit
from tinyvision.ops.box_iou import measure

LEVELS = 1100                              # from 2^-1100 to 2^1100: all areas there are
LEAST = 1e-3                               # thresholds below it have no pyramid
BLOCK = 64                                 # boxes between two looks whether there was a hit
CROWD = 256                                # so many kept boxes are worth a pyramid
WORTH = 16                                 # kept boxes that are compared in the time of one cell


def nms(boxes, classes, threshold, keep):
    """The rung `cpu` of nms_kernel."""
    names = classes.astype(np.int32)                         # half the memory to compare
    if (names != classes).any():
        names = np.unique(classes, return_inverse=True)[1].astype(np.int32)
    smallest = boxes.dtype.type(1e4) * np.finfo(boxes.dtype).tiny
    sweep(boxes, names, threshold, smallest, keep)


@jit(allocates=True)
def sweep(boxes, names, threshold, smallest, keep):
    """Walk down the sorted boxes; each looks for a kept one that suppresses it."""
    N, areas = len(boxes), measure(boxes)
    every, every_names = np.empty((5, N), boxes.dtype), np.empty(N, np.int32)
    crowd = CROWD if threshold >= LEAST else N
    n, count = 0, 0
    while n < N and count < crowd:
        keep[n] = not (areas[n] > 0 and meets(every, every_names, 0, count, boxes[n], areas[n],
                                              names[n], threshold))
        if keep[n] and areas[n] > 0:
            store(every, every_names, count, boxes[n], areas[n], names[n])
            count += 1
        n += 1
    if n < N:
        go_on(n, count, boxes, areas, names, threshold, smallest, every, every_names, keep)


@jit(allocates=True)
def go_on(first, count, boxes, areas, names, threshold, smallest, every, every_names, keep):
    """The walk from box `first` on, the `count` kept so far being too many to compare all.

    every, kept (5, N) hold corners and areas of the kept boxes: as they come, and by cells.
    """
    N, t = len(boxes), float(threshold) * (1 - 1e-5)
    inverse = pyramid(boxes, areas, t)
    begin, home = places(boxes, areas, names, inverse)
    fill, kept, kept_names = begin.copy(), np.empty_like(every), np.empty(N, np.int32)
    for n in range(N):
        box, area, name = boxes[n], areas[n], names[n]
        if n >= first:
            few = area * threshold >= smallest and \
                WORTH * cells_near(box, area, t, inverse) <= count
            keep[n] = not (area > 0 and (
                meets_near(kept, kept_names, begin, fill, box, area, name, threshold, t, inverse)
                if few else meets(every, every_names, 0, count, box, area, name, threshold)))
            if keep[n] and area > 0:
                store(every, every_names, count, box, area, name)
                count += 1
        if keep[n] and area > 0:
            store(kept, kept_names, fill[home[n]], box, area, name)
            fill[home[n]] += 1


@jit
def store(table, names, place, box, area, name):
    """Write a box down."""
    table[0, place], table[1, place], table[2, place], table[3, place] = box
    table[4, place], names[place] = area, name


@jit
def meets(table, names, first, last, box, area, name, threshold):
    """Whether one of the boxes first <= k < last of that class suppresses this one."""
    x0, y0, x1, y1, zero = box[0], box[1], box[2], box[3], table.dtype.type(0)
    for start in range(first, last, BLOCK):
        hit = False
        for k in range(np.uint64(start), np.uint64(min(start + BLOCK, last))):   # never negative
            w = min(x1, table[2, k]) - max(x0, table[0, k])
            h = min(y1, table[3, k]) - max(y0, table[1, k])
            inter = w * h
            ratio = inter / (table[4, k] + area - inter)
            hit |= (w > zero) & (h > zero) & (ratio > threshold) & (names[k] == name)
        if hit:
            return True
    return False


# --- the pyramid ----------------------------------------------------------------------------------
@jit
def level_of(area):
    """l with 4^l <= area < 4^(l+1)."""
    return (math.frexp(area)[1] - 1) // 2


@jit
def radius(t):
    """f: how far two centres can be apart, in widths."""
    return (1 - t) / (2 * t)


@jit(allocates=True)
def pyramid(boxes, areas, t):
    """1 / the size of the cells, on every level; [LEVELS] is level 0, [-1] what the centres lack.

    Cells are no smaller than 2^-40 of the largest coordinate, so that their numbers fit and a
    centre's rounding error, 2^-53 of it, is nothing beside them.
    """
    largest, out = 0.0, np.empty(2 * LEVELS + 1, np.float64)
    for n in range(len(boxes)):
        if areas[n] > 0:
            for k in range(4):
                largest = max(largest, abs(float(boxes[n, k])))
    for level in range(-LEVELS, LEVELS):
        side = max(4 * radius(max(t, LEAST / 2)), 0.25) * 2.0**min(max(level, -500), 500)
        out[level + LEVELS] = 1 / max(side, largest * 2.0**-40)
    out[-1] = largest * 2.0**-50
    return out


@jit
def centre(low, high):
    """In float64, where half of each cannot overflow."""
    return 0.5 * float(low) + 0.5 * float(high)


@jit
def bucket(name, level, x, y, count):
    """One of `count` (a power of two) places for a cell."""
    mixed = (((name * 31 + level) * 0x3779B97F4A7C15 + x) * 0x2545F4914F6CDD1D + y) * 0x9E3779B97F4B
    return (mixed ^ mixed >> 31) & count - 1


@jit(allocates=True)
def places(boxes, areas, names, inverse):
    """(where each bucket begins in an array of all boxes, each box's bucket)."""
    N, count = len(boxes), 1
    while count < N:
        count *= 2
    begin, home = np.zeros(count + 1, np.int64), np.zeros(N, np.int64)
    for n in range(N):
        if areas[n] > 0:
            level = level_of(float(areas[n]))
            x = math.floor(centre(boxes[n, 0], boxes[n, 2]) * inverse[level + LEVELS])
            y = math.floor(centre(boxes[n, 1], boxes[n, 3]) * inverse[level + LEVELS])
            home[n] = bucket(np.int64(names[n]), level, np.int64(x), np.int64(y), count)
            begin[home[n] + 1] += 1
    for k in range(count):
        begin[k + 1] += begin[k]
    return begin, home


@jit
def levels_near(area, t):
    """The lowest and the highest level of boxes that this one may meet."""
    return level_of(float(area) * t), level_of(min(float(area) / t, 1e308))


@jit
def span(low, high, t, inverse, level):
    """The first and the last cell along one axis, as float64."""
    x = centre(low, high)
    far = (float(high) - float(low)) * radius(t) * (1 + 1e-9) + inverse[-1]
    return (math.floor((x - far) * inverse[level + LEVELS]),
            math.floor((x + far) * inverse[level + LEVELS]))


@jit
def cells_near(box, area, t, inverse):
    """How many cells a box has to look at."""
    total, (low, high) = 0.0, levels_near(area, t)
    for level in range(low, high + 1):
        left, right = span(box[0], box[2], t, inverse, level)
        top, bottom = span(box[1], box[3], t, inverse, level)
        total += (right - left + 1.0) * (bottom - top + 1.0)
    return total


@jit
def meets_near(kept, names, begin, fill, box, area, name, threshold, t, inverse):
    """Whether a kept box suppresses this one, looking only where it could be."""
    low, high = levels_near(area, t)
    for level in range(low, high + 1):
        left, right = span(box[0], box[2], t, inverse, level)
        top, bottom = span(box[1], box[3], t, inverse, level)
        for x in range(np.int64(left), np.int64(right) + 1):
            for y in range(np.int64(top), np.int64(bottom) + 1):
                k = bucket(np.int64(name), level, x, y, len(begin) - 1)
                if fill[k] > begin[k] and meets(kept, names, begin[k], fill[k], box, area, name,
                                                threshold):
                    return True
    return False
