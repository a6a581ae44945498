"""The convolution's weight gradient on the register tile: the rung `cpu` for float32.

    w[o, c, i, j] = sum over pixels (n, a, b) of  y[n, o, a, b] x[n, c, a S + i D - P, ...]

The tile is 10 channels x 32 filters ("by filter"): k runs over rows (steps) and columns (taps) of
y, of which 32 filters are packed side by side, once for every task. With few filters it is 10
filters x 32 channels, and x is packed ("by channel"); with few of both it is plain dot products of
rows ("dotted").

Tasks are bands of rows as in `conv2d_fast`. Every thread sums over its own tasks; the threads' sums
are added in a fixed order, so results are the same from run to run. Where there are more weights
than pixels, sums of their own would cost the threads more than the images do: there each makes its
share of the filters, from all tasks ("shared").
"""
from __future__ import annotations

import functools

from tinyvision.kernel import jit, scratch_address, threads
from tinyvision.ops import conv2d_plan
from tinyvision.ops.conv2d_depthwise_fast import depthwise_weight, weight_plan
from tinyvision.ops.conv2d_plan import BY_CHANNEL, BY_FILTER, DOTTED
from tinyvision.ops.conv2d_tasks import copy_band, sizes_at, task_of
from tinyvision.simd import dots, multiply, tiles, turn
from tinyvision.worker import address, floats, longs, worker


def conv2d_weight(x, y, S, T, P, Q, D, E, G, w):
    """conv2d_weight_kernel on tiles."""
    function, plan = way(x.shape, w.shape, y.shape, (S, T), (P, Q), (D, E), G, tiles().lanes,
                         threads())
    function(plan, x, y, w)


@functools.lru_cache(4096)
def way(x, w, y, stride, padding, dilation, G, lanes, workers):
    """(function, plan) for arrays of these shapes: function(plan, x, y, w) computes w."""
    stride = conv2d_plan.unstrided(stride, y[2:])
    shapes_and_options = x, w, y, stride, padding, dilation, G, lanes, workers
    if 0 in x or 0 in y:
        return _nothing, None
    if x[1] == G and (plan := weight_plan(*shapes_and_options)):
        return depthwise_weight, plan
    return _summed, conv2d_plan.weight_gradient(*shapes_and_options)


def _nothing(_, x, y, w):
    w[...] = 0


def _summed(p, x, y, w):
    room, sums = scratch_address("rooms", p.rooms), scratch_address("sums", p.packed)
    SHARES[p.how](p.workers, p.address, address(x), address(y), room, sums)
    add_shares(p.workers, p.address, address(w), sums)


@jit
def clear(p, sums, first, last):
    """Columns of a thread's sums, set to 0."""
    for k in range(p.G * p.sums // p.whole):
        row = floats(sums + 4 * k * p.whole)
        for column in range(first, last):
            row[column] = 0


# --- by filter: tiles of channels x filters -------------------------------------------------------
@worker
def filter_share(job, k):
    """One thread's tasks, or its filters of all tasks: sums[c, i, j][f]."""
    job = longs(job)
    p, x, y, room, sums = sizes_at(job[0]), job[1], job[2], job[3], job[4]
    tasks, tiles, room = tasks_of(p), -(-p.F // (2 * p.L)), room + 4 * k * p.room
    if p.shared:
        begin, end, first = 0, tasks, k * tiles // p.workers * 2 * p.L
        last = min(p.F, (k + 1) * tiles // p.workers * 2 * p.L)
    else:
        begin, end, first, last = k * tasks // p.workers, (k + 1) * tasks // p.workers, 0, p.F
        sums += 4 * k * p.G * p.sums
    clear(p, sums, first, -(-last // p.L) * p.L)
    for task in range(begin, end):
        g, n, images, a0, a1 = task_of(p, task)
        here = y + 4 * (((n * p.G + g) * p.F + first) * p.A + a0) * p.B
        copy_band(p, x + 4 * (n * p.G + g) * p.C * p.H * p.W, images, a0, a1, room)
        pack_pixels(p, here, images, last - first, (a1 - a0) * p.B, p.A * p.B,
                    p.G * p.F * p.A * p.B, room + 4 * p.pixels)
        multiply_filters(p, room, room + 4 * p.pixels, sums + 4 * (g * p.sums + first),
                         last - first, images, a1 - a0)


@jit
def tasks_of(p):
    """How many tasks there are."""
    return p.G * p.shares * p.bands


@jit
def pack_pixels(p, source, images, C, pixels, far, image, to):
    """Channels side by side: to[n][tile][pixel][lane], a tile being 2 L lanes, or L at the end.

    Channel c of image n begins at source + n image + c far.
    """
    for n in range(images):
        for first in range(0, C, p.L):
            tile = first // (2 * p.L) * 2 * p.L
            lanes, here = 2 * p.L if C - tile > p.L else p.L, min(p.L, C - first)
            base = to + 4 * ((n * p.whole + tile) * pixels + first - tile)
            for k in range(0, pixels, p.L):
                turn(p.turn, (source + 4 * (n * image + first * far + k), far, here,
                              min(p.L, pixels - k), base + 4 * k * lanes, lanes, p.L))


@jit
def multiply_filters(p, room, packed, sums, filters, images, rows):
    """The products of one task; rows of the tile are channels, or columns j of the window."""
    tile, down, across = longs(p.tiles), longs(p.down), longs(p.across)
    groups = -(-p.length // p.most)
    for lane in range(0, filters, 2 * p.L):
        vectors = 2 if filters - lane > p.L else 1
        lanes, here = vectors * p.L, p.here + 8 * (vectors - 1) * p.B
        for group in range(groups):
            first, last = group * p.length // groups, (group + 1) * p.length // groups
            for other in range(p.others):
                place = other * p.plane + across[first] if p.along_j else (
                    first * p.plane + across[other])
                for i in range(p.I):
                    to = sums + 4 * ((first * p.k_row + other * p.other_k + i * p.J) * p.whole + lane)
                    for n in range(images):
                        multiply(tile[(vectors - 1) * 16 + last - first],
                                 (room + 4 * (n * p.C * p.plane + place + down[i]), p.a_row,
                                  p.S * p.width, p.there,
                                  packed + 4 * (n * p.whole + lane) * rows * p.B, p.B * lanes, here,
                                  rows, p.B, p.block, to, p.k_row * p.whole, to, p.k_row * p.whole,
                                  lanes))


# --- by channel: tiles of filters x channels ------------------------------------------------------
@worker
def channel_share(job, k):
    """One thread's tasks, or its filters of all tasks: sums[i, j][f][c]."""
    job = longs(job)
    p, x, y = sizes_at(job[0]), job[1], job[2]
    room, sums, tasks = job[3] + 4 * k * p.room, job[4], tasks_of(p)
    if p.shared:
        begin, end, f0, f1 = 0, tasks, k * p.F // p.workers, (k + 1) * p.F // p.workers
    else:
        begin, end, f0, f1 = k * tasks // p.workers, (k + 1) * tasks // p.workers, 0, p.F
        sums += 4 * k * p.G * p.sums
    clear_filters(p, sums, f0, f1)
    for task in range(begin, end):
        g, n, images, a0, a1 = task_of(p, task)
        copy_band(p, x + 4 * (n * p.G + g) * p.C * p.H * p.W, images, a0, a1, room)
        pack_pixels(p, room, images, p.C, p.plane, p.plane, p.C * p.plane, room + 4 * p.pixels)
        multiply_channels(p, room + 4 * p.pixels, y + 4 * ((n * p.G + g) * p.F * p.A + a0) * p.B,
                          sums + 4 * g * p.sums, f0, f1, images, a1 - a0)


@jit
def clear_filters(p, sums, first, last):
    """Rows of some filters' sums, set to 0."""
    for window in range(p.G * p.I * p.J):
        row = floats(sums + 4 * (window * p.F + first) * p.whole)
        for k in range((last - first) * p.whole):
            row[k] = 0


@jit
def multiply_channels(p, packed, y, sums, f0, f1, images, rows):
    """The products of one task with filters f0 to f1."""
    tile, down, across = longs(p.tiles), longs(p.down), longs(p.across)
    groups = -(-(f1 - f0) // p.most)
    for lane in range(0, p.C, 2 * p.L):
        vectors = 2 if p.C - lane > p.L else 1
        lanes, there = vectors * p.L, p.here + 8 * (vectors - 1) * p.B
        for group in range(groups):
            first, last = f0 + group * (f1 - f0) // groups, f0 + (group + 1) * (f1 - f0) // groups
            for i in range(p.I):
                for j in range(p.J):
                    to = sums + 4 * (((i * p.J + j) * p.F + first) * p.whole + lane)
                    place = (down[i] + across[j]) * lanes
                    for n in range(images):
                        multiply(tile[(vectors - 1) * 16 + last - first],
                                 (y + 4 * (n * p.G * p.F + first) * p.A * p.B, p.A * p.B, p.B,
                                  p.there, packed + 4 * ((n * p.whole + lane) * p.plane + place),
                                  p.S * p.width * lanes, there, rows, p.B, p.block, to, p.whole, to,
                                  p.whole, lanes))


# --- dotted: dot products of rows -----------------------------------------------------------------
@worker
def dotted_share(job, k):
    """One thread's tasks: sums[c, i, j][f]."""
    job = longs(job)
    p, x, y = sizes_at(job[0]), job[1], job[2]
    room, sums, tasks = job[3] + 4 * k * p.room, job[4] + 4 * k * p.G * p.sums, tasks_of(p)
    clear(p, sums, 0, p.whole)
    for task in range(k * tasks // p.workers, (k + 1) * tasks // p.workers):
        g, n, images, a0, a1 = task_of(p, task)
        copy_band(p, x + 4 * (n * p.G + g) * p.C * p.H * p.W, images, a0, a1, room)
        for m in range(images):
            for f in range(p.F):
                dot_planes(p, room + 4 * m * p.C * p.plane,
                           y + 4 * ((((n + m) * p.G + g) * p.F + f) * p.A + a0) * p.B,
                           sums + 4 * (g * p.sums + f), a1 - a0)


@jit
def dot_planes(p, room, y, sums, rows):
    """The products of one filter's plane with all shifts of all channels of an image."""
    dot, down, runs = longs(p.dots), longs(p.down), longs(p.runs)
    for c in range(p.C):
        for i in range(p.I):
            source, to = room + 4 * (c * p.plane + down[i]), (c * p.I + i) * p.J
            for run in range(0, 5 * p.turns, 5):             # j, the next, how many, place, the next
                dots(dot[runs[run + 2]],
                     (source + 4 * runs[run + 3], p.S * p.width, runs[run + 4], y, p.B, rows, p.B,
                      sums + 4 * (to + runs[run]) * p.whole, runs[run + 1] * p.whole))


SHARES = {BY_FILTER: filter_share, BY_CHANNEL: channel_share, DOTTED: dotted_share}


# --- the sum of the sums --------------------------------------------------------------------------
@worker
def add_shares(job, k):
    """A share of the filters w[g, f, (c, i, j)]: the threads' sums added, and turned into place."""
    job = longs(job)
    p, w, sums = sizes_at(job[0]), job[1], job[2]
    size, filters = p.C * p.I * p.J, p.G * p.F
    for filter in range(k * filters // p.workers, (k + 1) * filters // p.workers):
        g, f = filter // p.F, filter % p.F
        if p.how == BY_CHANNEL:
            turn_channels(p, sums + 4 * g * p.sums, f, w + 4 * filter * size)
        elif f % p.L == 0:                                   # L filters at a time
            turn_filters(p, sums + 4 * (g * p.sums + f), min(p.L, p.F - f), w + 4 * filter * size)


@jit
def turn_channels(p, sums, f, w):
    """Filter f from sums[i, j][f][c]."""
    window, far = p.I * p.J, p.F * p.whole
    for q in range(window):
        add(p, sums + 4 * (q * p.F + f) * p.whole, p.whole)
    for c in range(0, p.C, p.L):
        for q in range(0, window, p.L):
            turn(p.turn, (sums + 4 * ((q * p.F + f) * p.whole + c), far, min(p.L, window - q),
                          min(p.L, p.C - c), w + 4 * (c * window + q), window, min(p.L, window - q)))


@jit
def turn_filters(p, sums, filters, w):
    """Some filters from sums[c, i, j][f]."""
    size = p.C * p.I * p.J
    for q in range(size):
        add(p, sums + 4 * q * p.whole, p.L)
    for q in range(0, size, p.L):
        turn(p.turn, (sums + 4 * q * p.whole, p.whole, min(p.L, size - q), filters, w + 4 * q, size,
                      min(p.L, size - q)))


@jit
def add(p, sums, count):
    """What the other threads have at a place, added to what the first has."""
    here = floats(sums)
    for worker in range(1, 1 if p.shared else p.workers):
        far = worker * p.G * p.sums
        for k in range(count):
            here[k] += here[far + k]
