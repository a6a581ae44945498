"""The convolutions on the register tile (see `simd`): the rung `cpu` for float32.

conv2d and its transpose are one loop (the weight gradient is in `conv2d_weight_fast`). Both are
read straight from the padded image; no matrix of windows is built.

- **conv2d** y[n, o, a, b] = sum over (c, i, j): C of the tile is 10 pixels of a row x 32 filters, k
  runs over channels (steps) and window (taps). The filters are packed once per call so that 32 of
  them lie side by side; the tile is stored transposed, for y has its pixels side by side ("tall").
  With few filters the roles change: the tile is 10 filters x 32 pixels, or 1 x 128, and nothing is
  packed or transposed ("wide"). Where maps are small, the rows of a wide tile are one run of floats
  in the padded copy: what lies between two rows is computed too, and not kept ("flat"). The rows of
  a tall tile are then images ("along"). Maps narrower than a vector, and higher than wide, are
  turned sideways first where the estimate says that it pays.
- **conv_transpose2d** is conv2d with the filters turned round. With stride S, output pixel h is met
  by those rows i of the filter for which h + P - i D is a multiple of S: the pixels of one
  remainder h mod S form an image of their own, and each of the S x S images is a stride-1
  convolution with its share of the filter (a "phase").

A task is a band of rows of one image, or a few whole small images: their padded copy, half a
megabyte at most, stays in the core's own cache while all filters pass over it. Tasks are dealt to
the threads in a fixed order, so results are the same from run to run.

In the compiled code `p` is the plan's record (see `conv2d_plan`), and arrays are addresses of
float32 numbers.
"""
from __future__ import annotations

import functools
import math

import numpy as np

from tinyvision.kernel import jit, scratch_address, threads
from tinyvision.ops import conv2d_plan
from tinyvision.ops.conv2d_depthwise_fast import depthwise
from tinyvision.ops.conv2d_depthwise_fast import plan as depthwise_plan
from tinyvision.ops.conv2d_plan import CHAIN, TALL
from tinyvision.ops.conv2d_tasks import in_turn, padded, sizes_at, task_of
from tinyvision.simd import copy, multiply, tiles, turn
from tinyvision.worker import address, crew, floats, longs, share, worker

TURNING = 30_000, 1                        # cycles to turn images sideways: a call, each number


def conv2d(x, w, bias, S, T, P, Q, D, E, G, y):
    """conv2d_kernel on tiles."""
    function, plan = way(False, x.shape, w.shape, y.shape, (S, T), (P, Q), (D, E), G,
                         tiles().lanes, threads())
    function(plan, x, w, bias, y)


def conv_transpose2d(y, w, bias, S, T, P, Q, D, E, G, x):
    """conv_transpose2d_kernel on tiles."""
    function, plan = way(True, y.shape, w.shape, x.shape, (S, T), (P, Q), (D, E), G,
                         tiles().lanes, threads())
    function(plan, y, w, bias, x)


@functools.lru_cache(4096)
def way(transposed, x, w, y, stride, padding, dilation, G, lanes, workers):
    """(function, plan) for arrays of these shapes: function(plan, x, w, bias, y) computes y."""
    stride = conv2d_plan.unstrided(stride, (x if transposed else y)[2:])
    options = stride, padding, dilation, G
    if 0 in x or 0 in y:
        return _bias_alone, None
    if x[1] == G and (plan := depthwise_plan(transposed, x, w, y, *options, lanes, workers)):
        return depthwise, plan
    plan = conv2d_plan.correlation(transposed, x, w, y, *options, lanes, workers)
    if y[3] < min(lanes, y[2]):                              # a vector is wider than a row
        turned = stride[::-1], padding[::-1], dilation[::-1], G
        shapes = [(*shape[:2], shape[3], shape[2]) for shape in (x, w, y)]
        other = conv2d_plan.correlation(transposed, *shapes, *turned, lanes, workers)
        call, each = TURNING
        if other.cycles + call + each * sum(map(math.prod, shapes)) < plan.cycles:
            return _turned, (_tall if other.kind == TALL else _wide, other)
    return _tall if plan.kind == TALL else _wide, plan


def _bias_alone(_, x, w, bias, y):
    y[...] = bias.reshape(-1, 1, 1)


def _turned(way, x, w, bias, y):
    function, plan = way
    made = np.empty((*y.shape[:2], y.shape[3], y.shape[2]), y.dtype)
    function(plan, sideways(x), sideways(w), bias, made)
    sideways(made, y)


def _tall(p, x, w, bias, y):
    filters, room = scratch_address("filters", p.packed), scratch_address("rooms", p.rooms)
    pack_filters(p.workers, p.address, address(w), address(bias), filters)
    tall_share(p.workers, p.address, address(x), filters, address(y), room)


def _wide(p, x, w, bias, y):
    room = scratch_address("rooms", p.rooms)
    wide_share(p.workers, p.address, address(x), address(w), address(bias), address(y), room)


def sideways(a, to=None):
    """Maps with rows and columns swapped, in `to` or a new array."""
    N, C, H, W = a.shape
    to, t = np.empty((N, C, W, H), a.dtype) if to is None else to, tiles()
    turn_maps(crew(a.size), address(a), address(to), N * C, H, W, t.turn, t.lanes, crew(a.size))
    return to


@worker
def turn_maps(job, k):
    """A share of maps (H, W), turned sideways."""
    p = longs(job)
    maps, H, W, turning, L, workers = p[2], p[3], p[4], p[5], p[6], p[7]
    first, end = share(maps, k, workers)
    for n in range(first, end):
        source, to = p[0] + 4 * n * H * W, p[1] + 4 * n * H * W
        if H * W <= 2 * L:                                   # a filter: sooner done than turned
            turn_few(floats(source), H, W, floats(to))
            continue
        for a in range(0, H, L):
            for b in range(0, W, L):
                rows = min(L, H - a)
                turn(turning, (source + 4 * (a * W + b), W, rows, min(L, W - b),
                               to + 4 * (b * H + a), H, rows))


@jit
def turn_few(source, H, W, to):
    """to[b, a] = source[a, b]."""
    for b in range(W):
        for a in range(H):
            to[b * H + a] = source[a * W + b]


@worker
def pack_filters(job, k):
    """Blocks of L filters of a group: their biases, and they side by side, 0 beyond the last."""
    job = longs(job)
    p, w, bias, filters = sizes_at(job[0]), job[1], floats(job[2]), floats(job[3])
    size, blocks = p.C * p.window, p.G * p.whole // p.L
    for block in range(k * blocks // p.workers, (k + 1) * blocks // p.workers):
        g, first = block * p.L // p.whole, block * p.L % p.whole
        starts, here = g * p.whole * (1 + size), min(p.L, p.F - first)
        for f in range(p.L):
            filters[starts + first + f] = bias[g * p.F + first + f] if f < here else np.float32(0)
        at, to = w + 4 * g * p.F * size, job[3] + 4 * (starts + p.whole)
        if p.transposed and p.window == 1:
            pack_rows(p, at, first, to)
        else:
            pack(p.turn, p.L, at, first, p.C, p.F, p.window, p.transposed, to)


@jit
def pack_rows(p, w, first, to):
    """`pack` for 1 x 1 filters (C, F) of a transposed convolution, which lie side by side."""
    tile, here = first // (2 * p.L) * 2 * p.L, min(p.L, p.F - first)
    lanes = 2 * p.L if p.F - tile > p.L else p.L
    copy(p.copy, (w + 4 * first, p.F, 0, p.C, 0, here, to + 4 * (tile * p.C + first - tile), lanes,
                  p.C, p.L))


@jit
def pack(turning, L, w, first, C, F, window, transposed, to):
    """L filters of a group side by side: to[tile][c, i, j][lane], a tile being 2 L lanes.

    w is (F, C, window), and (C, F, window) of a transposed convolution. The last tile has L lanes
    where that is enough.
    """
    tile = first // (2 * L) * 2 * L
    lanes, here = 2 * L if F - tile > L else L, min(L, F - first)
    to += 4 * (tile * C * window + first - tile)
    row, planes, step, count = C * window, 1, 0, C * window
    if transposed:
        row, planes, step, count = window, C, F * window, window
    for c in range(planes):
        source = w + 4 * (first * row + c * step)
        for k in range(0, count, L):
            turn(turning, (source + 4 * k, row, here, min(L, count - k),
                           to + 4 * (c * count + k) * lanes, lanes, L))


# --- tall tiles: pixels x filters, stored transposed ----------------------------------------------
@worker
def tall_share(job, k):
    """One thread's tasks."""
    job = longs(job)
    p, x, filters, y = sizes_at(job[0]), job[1], job[2], job[3]
    tasks, room = p.G * p.shares * p.bands, job[4] + 4 * k * p.room
    for task in range(k * tasks // p.workers, (k + 1) * tasks // p.workers):
        g, n, images, a0, a1 = task_of(p, task)
        at = padded(p, x + 4 * (n * p.G + g) * p.C * p.H * p.W, images, a0, a1, room)
        tall_tiles(p, at, room, filters + 4 * g * p.whole * (1 + p.C * p.window),
                   y + 4 * (n * p.G + g) * p.F * p.A * p.B, images, a0, a1)


@jit
def tall_tiles(p, at, room, filters, y, images, a0, a1):
    """A task's rows of y."""
    along = p.along
    for first in range(0, p.F, p.block):
        count = min(p.block, p.F - first)
        vectors = 2 if count > p.L else 1
        start, packed = filters + 4 * first, filters + 4 * (p.whole + first * p.C * p.window)
        for n in range(1 if along else images):
            for a in range(a0, a1):
                source = at + 4 * (n * p.far + (a - a0) * p.S * p.width)
                for h in range(a * p.M, min(p.A, a * p.M + p.M)):
                    row = y + 4 * (((n * p.G * p.F + first) * p.A + h) * p.B)
                    for s in range(p.K):
                        clip, pixels = p.clip + 16 * (h * p.K + s), (p.B - s + p.K - 1) // p.K
                        line, far = room + 4 * (p.line + s * p.block * p.pitch), p.pitch
                        if p.direct:
                            line, far = row, p.A * p.B
                        for b in range(pixels if along else 1):
                            tall_run(p, source + 4 * b * p.T, packed, start, count, vectors, clip,
                                     b, images if along else pixels, line, far)
                            if along:
                                scatter(p, line, row + 4 * (b * p.K + s), count, images)
                    if not p.direct and not along:
                        interleave(p, room, row, count)


@jit
def tall_run(p, source, packed, start, count, vectors, clip, b, length, to, far):
    """A run of pixels, or of pixel b of images, of a block of filters."""
    pieces, step, cuts = -(-length // p.most), p.far if p.along else p.T, longs(p.cuts)
    tile, near = longs(p.tiles), p.lanes + 8 * (vectors - 1) * p.taps
    for piece in range(pieces):
        done, end = piece * length // pieces, (piece + 1) * length // pieces
        taps = longs(clip + 8 * p.clips * cuts[b if p.along else piece])    # the first, how many
        multiply(tile[64 + (vectors - 1) * 16 + end - done],
                 (source + 4 * done * step, step, p.plane, p.places + 8 * taps[0], packed,
                  p.window * vectors * p.L, near + 8 * taps[0], p.C, taps[1],
                  max(1, CHAIN // max(taps[1], 1)), start, 0, to + 4 * done, far, count))


@jit
def scatter(p, line, y, count, images):
    """y[n, f] = line[f, n], for one pixel."""
    source, to = floats(line), floats(y)
    for f in range(count):
        for n in range(images):
            to[(n * p.G * p.F + f) * p.A * p.B] = source[f * p.pitch + n]


# --- wide tiles: filters x pixels -----------------------------------------------------------------
@worker
def wide_share(job, k):
    """One thread's tasks."""
    job = longs(job)
    p, x, w, bias, y = sizes_at(job[0]), job[1], job[2], job[3], job[4]
    tasks, room = p.G * p.shares * p.bands, job[5] + 4 * k * p.room
    for task in range(k * tasks // p.workers, (k + 1) * tasks // p.workers):
        g, n, images, a0, a1 = task_of(p, task)
        at = padded(p, x + 4 * (n * p.G + g) * p.C * p.H * p.W, images, a0, a1, room)
        wide_tiles(p, at, room, w + 4 * g * p.F * p.C * p.window, bias + 4 * g * p.F,
                   y + 4 * (n * p.G + g) * p.F * p.A * p.B, images, a0, a1)


@jit
def wide_tiles(p, at, room, w, bias, y, images, a0, a1):
    """A task's rows of y."""
    biases = floats(bias)
    for first in range(0, p.F, p.block):
        count = min(p.block, p.F - first)
        vectors = 8 if count == 1 else 4 if count == 2 else 2
        for f in range(count):
            start, value = floats(room + 4 * (p.start + f * vectors * p.L)), biases[first + f]
            for lane in range(vectors * p.L):
                start[lane] = value
        for n in range(images):
            source = at + 4 * n * p.far
            to = y + 4 * (n * p.G * p.F + first) * p.A * p.B
            if p.flat:
                wide_flat(p, room, source, w + 4 * first * p.w_row, count, vectors,
                          to + 4 * a0 * p.B, a1 - a0)
            else:
                wide_rows(p, room, source, w + 4 * first * p.w_row, count, vectors, to, a0, a1)


@jit
def wide_flat(p, room, source, filters, count, vectors, y, rows):
    """The rows of an image in one run for each phase of the columns, and what lies between them."""
    line, far, clip = room + 4 * p.line, p.pitch, longs(p.clip)
    if p.direct:
        line, far = y, p.A * p.B
    for s in range(p.K):
        wide_run(p, room, source, filters, count, vectors, clip[2 * s], clip[2 * s + 1],
                 (rows - 1) * p.width + (p.B - s + p.K - 1) // p.K, line + 4 * s * p.block * far, far)
    if p.direct:
        return
    if p.K == 1 and p.width == p.B:                          # nothing lies between the rows
        copy(p.copy, (line, far, 0, count, 0, rows * p.B, y, p.A * p.B, count, rows * p.B))
        return
    for f in range(count):
        here, to = line + 4 * f * far, y + 4 * f * p.A * p.B
        if p.K == 1:
            copy(p.copy, (here, p.width, 0, rows, 0, p.B, to, p.B, rows, p.B))
        for a in range(0 if p.K == 1 else rows):
            in_turn(p, here + 4 * a * p.width, p.block * far, to + 4 * a * p.B)


@jit
def wide_rows(p, room, source, filters, count, vectors, y, a0, a1):
    """The rows of an image, one by one, each phase's pixels in a run."""
    clip = longs(p.clip)
    for a in range(a0, a1):
        for h in range(a * p.M, min(p.A, a * p.M + p.M)):
            row = y + 4 * h * p.B
            for s in range(p.K):
                at, pixels = (h * p.K + s) * 2, (p.B - s + p.K - 1) // p.K
                line, far = room + 4 * (p.line + s * p.block * p.pitch), p.pitch
                if p.direct:
                    line, far = row, p.A * p.B
                wide_run(p, room, source + 4 * (a - a0) * p.S * p.width, filters, count, vectors,
                         clip[at], clip[at + 1], pixels, line, far)
            if not p.direct:
                interleave(p, room, row, count)


@jit
def wide_run(p, room, source, filters, count, widest, tap, taps, length, to, far):
    """A run of pixels of some filters. The last tile ends with it, or in a line reaches beyond."""
    done, tile = 0, longs(p.tiles)
    while done < length:
        vectors, group = widest, 3 if widest == 8 else 2 if widest == 4 else 1
        while vectors > 1 and length - done <= vectors // 2 * p.L:
            vectors, group = vectors // 2, group - 1
        if p.direct:
            done = min(done, length - vectors * p.L)
        multiply(tile[group * 16 + count],
                 (filters, p.w_row, p.w_step, p.windows + 8 * tap, source + 4 * done, p.plane,
                  p.places + 8 * tap, p.C, taps, max(1, CHAIN // max(taps, 1)), room + 4 * p.start,
                  widest * p.L, to + 4 * done, far, vectors * p.L))
        done += vectors * p.L


@jit
def interleave(p, room, y, count):
    """y[f, b K + s] = line[s, f, b], for a row of y."""
    line, far = room + 4 * p.line, p.A * p.B
    if p.K == 1:
        copy(p.copy, (line, p.pitch, 0, count, 0, p.B, y, far, count, p.B))
    else:
        for f in range(count):
            in_turn(p, line + 4 * f * p.pitch, p.block * p.pitch, y + 4 * f * far)
