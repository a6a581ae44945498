"""Non-maximum suppression, fast: a box is compared with the kept ones near it, 16 at a time.

**Near.** Two boxes' IoU is at most that of their shadows on the x axis. So where it exceeds the
threshold t, shadows of widths w and w', their centres dx apart, overlap by more than
t (w + w') / (1 + t), and by at most (w + w') / 2 - |dx|; and w' < w / t. Therefore

    |dx| < f w,   f = (1 - t) / 2t;   y alike;   t < area' / area < 1 / t

So each level of a pyramid takes the boxes of one size, 4^l <= area < 4^(l+1), in cells of about
4 f 2^l: huge boxes cost no more than small ones. What is looked at are a few cells on a few levels.
A cell is the piece of an array that its hash (with the box's class) names, as long as all its boxes
need; strangers that share it are compared too, which does no harm.

**Exact.** The equation of `box_iou` alone decides, in its own rounding; the pyramid only
leaves out what cannot be. Its bounds are 1e-5 wide of the equation's rounding errors. Where these
are unbounded (areas that underflow), where t is nearly 0, where the cells are too many or the kept
few, all the kept are compared.

A box meets the kept ones until one suppresses it: pairs that the plain loops compare too, so that
no scene makes this slower than those.
"""
from __future__ import annotations

import numpy as np

from tinyvision.kernel import jit
from tinyvision.ops.box_iou import area_of
from tinyvision.worker import after, doubles, longs, pointer, real_worker, record

LEVELS = 512                               # from 4^-512 to 4^512: all areas there are
SIDES = 2.0**np.clip(np.arange(-LEVELS, LEVELS), -500, 500)
LEAST = 1e-3                               # thresholds below it have no pyramid
BLOCK = 64                                 # boxes between two looks whether there was a hit
CROWD = 256                                # so many kept boxes are worth a pyramid
WORTH = 16                                 # kept boxes that are compared in the time of one cell

ints = pointer("ints", lambda types: types.CPointer(types.int32), "The int32 numbers there.")
truths = pointer("truths", lambda types: types.CPointer(types.uint8), "The bytes there, 0 or 1.")
job_at = record("job_at", np.dtype([(name, np.int64) for name in (
    "boxes", "N", "names", "threshold", "keep", "every", "every_names", "areas", "done", "crowd",
    "kept", "kept_names", "home", "buckets", "begin", "fill", "cells")]))


def nms(boxes, classes, threshold, keep):
    """The rung `cpu` of nms_kernel."""
    N, dtype, names = len(boxes), boxes.dtype, classes.astype(np.int32)      # half the memory
    if (names != classes).any():
        names = np.unique(classes, return_inverse=True)[1].astype(np.int32)
    areas, done = np.empty(N, dtype), np.zeros(2, np.int64)
    job = (boxes, N, names, np.array([threshold]), keep, np.empty((5, N), dtype),
           np.empty(N, np.int32), areas, done, CROWD if threshold >= LEAST else N)
    sweep(1, *job)
    if done[0] < N:
        buckets, largest = 1 << N.bit_length(), float(abs(boxes[areas > 0]).max())
        go_on(1, *job, np.empty((5, N), dtype), np.empty(N, np.int32), np.empty(N, np.int64),
              buckets, np.zeros(buckets + 1, np.int64), np.empty(buckets, np.int64),
              pyramid(largest, float(threshold) * (1 - 1e-5), 1e4 * float(np.finfo(dtype).tiny)))


def pyramid(largest, t, smallest):
    """Float64 numbers: 1 / the size of the cells, on every level; from [2 LEVELS] on what the
    centres lack; how far two centres can be apart, in widths; t and 1 / t, between two areas;
    the smallest area, times t, for which rounding errors have bounds.

    Cells are no smaller than 2^-40 of the largest coordinate, so that their numbers fit and a
    centre's rounding error, 2^-53 of it, is nothing beside them.
    """
    far = (1 - t) / (2 * t)
    sides = np.maximum(max(4 * far, 0.25) * SIDES, largest * 2.0**-40)
    return np.append(1 / sides, (largest * 2.0**-50, far * (1 + 1e-9), t, 1 / t, smallest))


# --- the walk -------------------------------------------------------------------------------------
@real_worker
def sweep(job, k):
    """Walk down the sorted boxes; each looks for a kept one that suppresses it.

    every (5, N) are corners and areas of the kept boxes, as they come; done: (boxes, kept boxes)
    when the walk ends, which it does when `crowd` are kept.
    """
    j = job_at(job)
    boxes, areas, names, keep = reals(j.boxes), reals(j.areas), ints(j.names), truths(j.keep)
    every, every_names, done = reals(j.every), ints(j.every_names), longs(j.done)
    for n in range(j.N):
        areas[n] = area_of(after(boxes, 4 * n))
    n = count = none = np.int64(0)                           # `meets` would be compiled for 0, too
    while n < j.N and count < j.crowd:
        box, sane = after(boxes, 4 * n), areas[n] > 0
        keep[n] = not (sane and meets(every, j.N, every_names, none, count, box, areas[n], names[n],
                                      reals(j.threshold)[0]))
        if sane and keep[n]:
            store(every, j.N, every_names, count, box, areas[n], names[n])
            count += 1
        n += 1
    done[0], done[1] = n, count


@real_worker
def go_on(job, k):
    """The walk from there on, the kept being too many to compare all; kept (5, N): by cells."""
    j = job_at(job)
    boxes, areas, names, keep = reals(j.boxes), reals(j.areas), ints(j.names), truths(j.keep)
    every, every_names, threshold = reals(j.every), ints(j.every_names), reals(j.threshold)[0]
    kept, kept_names, cells = reals(j.kept), ints(j.kept_names), doubles(j.cells)
    begin, fill, home, count = longs(j.begin), longs(j.fill), longs(j.home), longs(j.done)[1]
    places(boxes, areas, names, j.N, cells, begin, j.buckets, home)
    for b in range(j.buckets):
        fill[b] = begin[b]
    for n in range(j.N):
        box, area, name, sane = after(boxes, 4 * n), areas[n], names[n], areas[n] > 0
        if n >= longs(j.done)[0]:
            few = area * threshold >= cells[2 * LEVELS + 4] and \
                WORTH * cells_near(box, area, cells) <= count
            keep[n] = not (sane and (
                meets_near(kept, j.N, kept_names, begin, fill, j.buckets, box, area, name,
                           threshold, cells)
                if few else
                meets(every, j.N, every_names, np.int64(0), count, box, area, name, threshold)))
            if sane and keep[n]:
                store(every, j.N, every_names, count, box, area, name)
                count += 1
        if sane and keep[n]:
            store(kept, j.N, kept_names, fill[home[n]], box, area, name)
            fill[home[n]] += 1


@jit
def store(table, N, names, place, box, area, name):
    """Write a box down."""
    for k in range(4):
        table[k * N + place] = box[k]
    table[4 * N + place], names[place] = area, name


@jit
def meets(table, N, names, first, last, box, area, name, threshold):
    """Whether one of the boxes first <= k < last of that class suppresses this one."""
    x0, y0, x1, y1, zero = box[0], box[1], box[2], box[3], type(area)(0)
    left, top, right, bottom, areas = (table, after(table, N), after(table, 2 * N),
                                       after(table, 3 * N), after(table, 4 * N))
    for start in range(first, last, BLOCK):
        hit = False
        for k in range(np.uint64(start), np.uint64(min(start + BLOCK, last))):   # never negative
            w = min(x1, right[k]) - max(x0, left[k])
            h = min(y1, bottom[k]) - max(y0, top[k])
            inter = w * h
            ratio = inter / (areas[k] + area - inter)
            hit |= (w > zero) & (h > zero) & (ratio > threshold) & (names[k] == name)
        if hit:
            return True
    return False


# --- the pyramid ----------------------------------------------------------------------------------
@jit
def level_of(area):
    """l with 4^l <= area < 4^(l+1), from the exponent of the float64."""
    return ((np.float64(area).view(np.int64) >> 52) - 1023) >> 1


@jit
def centre(low, high):
    """In float64, where half of each cannot overflow."""
    return 0.5 * low + 0.5 * high


@jit
def bucket(name, level, x, y, count):
    """One of `count` (a power of two) places for a cell."""
    mixed = (((name * 31 + level) * 0x3779B97F4A7C15 + x) * 0x2545F4914F6CDD1D + y) * 0x9E3779B97F4B
    return (mixed ^ mixed >> 31) & count - 1


@jit
def places(boxes, areas, names, N, cells, begin, buckets, home):
    """Where each bucket begins in an array of all boxes, and each box's bucket."""
    for n in range(N):
        if areas[n] > 0:
            level, box = level_of(areas[n]), after(boxes, 4 * n)
            x = np.int64(np.floor(centre(box[0], box[2]) * cells[level + LEVELS]))
            y = np.int64(np.floor(centre(box[1], box[3]) * cells[level + LEVELS]))
            home[n] = bucket(np.int64(names[n]), level, x, y, buckets)
            begin[home[n] + 1] += 1
    for b in range(buckets):
        begin[b + 1] += begin[b]


@jit
def levels_near(area, cells):
    """The lowest and the highest level of boxes that this one may meet."""
    t, inverse = cells[2 * LEVELS + 2], cells[2 * LEVELS + 3]
    return level_of(area * t), level_of(min(area * inverse, 1e308))


@jit
def span(low, high, cells, level):
    """The first and the last cell along one axis."""
    far = (np.float64(high) - np.float64(low)) * cells[2 * LEVELS + 1] + cells[2 * LEVELS]
    x, inverse = centre(low, high), cells[level + LEVELS]
    return np.int64(np.floor((x - far) * inverse)), np.int64(np.floor((x + far) * inverse))


@jit
def cells_near(box, area, cells):
    """How many cells a box has to look at."""
    total, (low, high) = 0.0, levels_near(area, cells)
    for level in range(low, high + 1):
        left, right = span(box[0], box[2], cells, level)
        top, bottom = span(box[1], box[3], cells, level)
        total += (right - left + 1.0) * (bottom - top + 1.0)
    return total


@jit
def meets_near(kept, N, names, begin, fill, buckets, box, area, name, threshold, cells):
    """Whether a kept box suppresses this one, looking only where it could be."""
    low, high = levels_near(area, cells)
    for level in range(low, high + 1):
        left, right = span(box[0], box[2], cells, level)
        top, bottom = span(box[1], box[3], cells, level)
        for x in range(left, right + 1):
            for y in range(top, bottom + 1):
                b = bucket(np.int64(name), level, x, y, buckets)
                if fill[b] > begin[b] and meets(kept, N, names, begin[b], fill[b], box, area, name,
                                                threshold):
                    return True
    return False
