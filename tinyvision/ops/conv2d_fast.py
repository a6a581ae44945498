"""The convolutions on the register tile (see `simd`): the rung `cpu` for float32.

All three are read straight from the padded image; no matrix of windows is built.

- **conv2d** y[n, o, a, b] = sum over (c, i, j): C of the tile is 10 pixels of a row x 32 filters, k
  runs over channels (steps) and window (taps). The filters are packed once per call so that 32 of
  them lie side by side; the tile is stored transposed, for y has its pixels side by side ("tall").
  With few filters the roles change: the tile is 10 filters x 32 pixels, and nothing is packed or
  transposed ("wide"). With one filter only (depthwise) the rows of the tile are rows of pixels
  ("stacked").
- **conv_transpose2d** is conv2d with the filters turned round. With stride S, output pixel h is met
  by those rows i of the filter for which h + P - i D is a multiple of S: the pixels of one
  remainder h mod S form an image of their own, and each of the S x S images is a stride-1
  convolution with its share of the filter (a "phase").
- **the weight gradient** w[o, c, i, j] = sum over pixels: the tile is 10 channels x 32 filters, k
  runs over rows (steps) and columns (taps) of y, of which 32 channels are packed side by side.
  With few filters it is 10 filters x 32 channels, and x is packed; with few of both it is plain
  dot products of rows.

A task is a band of rows of one image, or a few whole small images: their padded copy, half a
megabyte at most, stays in the core's own cache while all filters pass over it. Tasks are dealt to
the threads in a fixed order, so results are the same from run to run.
"""
from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from tinyvision.kernel import jit, prange, scratch, threads
from tinyvision.simd import DOTS, dots, frame, multiply, tiles, turn

BAND = 1 << 17                             # floats of a task's padded copy: half a megabyte
CHAIN = 256                                # terms of a sum before it is put aside
TALLEST = 10                               # the rows of the largest tile of any width
STACK = 4                                  # rows of pixels in a stacked tile
TALL, WIDE, STACKED = 0, 1, 2              # what a tile of conv2d is
BY_FILTER, BY_CHANNEL, DOTTED = 0, 1, 2    # what a tile of the weight gradient is


# --- which input pixels an output pixel meets -----------------------------------------------------
@dataclass(frozen=True, eq=False)
class Taps:
    """Along one axis: output pixel a M + r meets the input pixels a S + offset, for each phase r.

    Attributes:
        phases: M, the phases.
        stride: S.
        offsets: per phase, the offsets.
        windows: per phase, the position in the filter that each belongs to.
    """
    phases: int
    stride: int
    offsets: tuple
    windows: tuple

    @property
    def first(self):
        """The smallest offset."""
        return min((o for phase in self.offsets for o in phase), default=0)

    @property
    def reach(self):
        """How far the largest offset is from the smallest."""
        return max((o for phase in self.offsets for o in phase), default=0) - self.first


def forward_taps(K, S, P, D):
    """Of a convolution: output a meets a S + k D - P."""
    return Taps(1, S, (tuple(k * D - P for k in range(K)),), (tuple(range(K)),))


def transposed_taps(K, S, P, D):
    """Of its transpose: output a S + r meets a + (r + P - k D) / S, where that is a whole number."""
    windows = tuple(tuple(k for k in range(K) if (r + P - k * D) % S == 0) for r in range(S))
    offsets = tuple(tuple((r + P - k * D) // S for k in windows[r]) for r in range(S))
    return Taps(S, 1, offsets, windows)


@dataclass(frozen=True, eq=False)
class Plan:
    """What of a convolution depends on sizes alone.

    Attributes:
        geometry: int64 numbers for the compiled code, in the order of `plan`.
        shares, bands: tasks of a group: images are dealt in `shares`, each one's rows in `bands`.
        room: floats of a task's padded copies.
        phases: (M, M', 2), of every phase the first tap and the number of taps.
        places: of every tap, its distance in the padded copy.
        windows: of every tap, its position i J + j in the filter.
    """
    geometry: tuple
    shares: int
    bands: int
    room: int
    phases: np.ndarray
    places: np.ndarray
    windows: np.ndarray


@functools.lru_cache(4096)
def plan(transposed, N, C, G, sizes, window, stride, padding, dilation, workers):
    """The Plan of a convolution of N images of G groups of C channels, with outputs of `sizes`."""
    kind = transposed_taps if transposed else forward_taps
    down, across = (kind(*one) for one in zip(window, stride, padding, dilation))
    rows, columns = (-(-n // axis.phases) for n, axis in zip(sizes, (down, across)))
    width = (columns - 1) * across.stride + across.reach + 1
    shares, bands = _tasks(N, G, rows, C * width * down.stride, workers)
    tall = (-(-rows // bands) - 1) * down.stride + down.reach + 1
    plane = _spread(tall * width)
    phases, places, windows = np.zeros((down.phases, across.phases, 2), np.int64), [], []
    for r, s in np.ndindex(phases.shape[:2]):
        phases[r, s, 0] = len(places)
        for y, i in zip(down.offsets[r], down.windows[r]):
            for x, j in zip(across.offsets[s], across.windows[s]):
                places.append((y - down.first) * width + x - across.first)
                windows.append(i * window[1] + j)
        phases[r, s, 1] = len(places) - phases[r, s, 0]
    geometry = (rows, width, plane, down.first, across.first, down.reach, down.stride,
                across.stride)
    return Plan(geometry, shares, bands, C * plane * -(-N // shares), phases,
                np.array(places, np.int64), np.array(windows, np.int64))


def _tasks(N, G, rows, floats_a_row, workers):
    """(shares of the images, bands of an image): each fits the cache, and threads get as many."""
    bands = max(1, -(-rows * floats_a_row // BAND))
    shares = N if bands > 1 else -(-N // max(1, BAND // max(1, rows * floats_a_row)))
    while G * shares * bands % workers and shares < N:
        shares += 1
    while G * shares * bands % workers and bands < rows:
        bands += 1
    return shares, min(bands, rows)


@functools.lru_cache(4096)
def shape_of_tiles(F, pixels, across, single, L):
    """TALL, WIDE or STACKED: which keeps the vector unit busiest for F filters and rows of pixels.

    Wide tiles need pixels that lie side by side in x, and stacked ones (`single`) moreover filters
    without gaps from row to row. Estimates, from the tile's speed at each height and width.
    """
    if across > 1 or pixels < L:
        return TALL
    if F == 1 and single:
        return STACKED
    vectors = 2 if pixels >= 2 * L else 1
    pieces = -(-pixels // L)
    wide = pixels / (pieces * L) * min(1, -(-F // -(-F // TALLEST)) * vectors / 8)
    tall = F / (-(-F // L) * L) * (0.95 if F > L else 0.7)
    return WIDE if wide * (1 if vectors == 2 else 0.75) > tall else TALL


def _spread(floats):
    """At least `floats`, an odd number of cache lines: channels then fall on different lines."""
    return (-(-floats // 16) | 1) * 16


# --- conv2d and its transpose ---------------------------------------------------------------------
def conv2d(x, w, bias, S, T, P, Q, D, E, G, y):
    """conv2d_kernel on tiles."""
    _correlate(False, x, w, bias, (S, T), (P, Q), (D, E), G, y)


def conv_transpose2d(y, w, bias, S, T, P, Q, D, E, G, x):
    """conv_transpose2d_kernel on tiles."""
    _correlate(True, y, w, bias, (S, T), (P, Q), (D, E), G, x)


def _correlate(transposed, x, w, bias, stride, padding, dilation, G, y):
    """y = bias + x * w, or with w transposed."""
    if not x.size or not y.size:
        y[...] = bias.reshape(-1, 1, 1)
        return
    (N, _, H, W), (_, _, A, B), t, workers = x.shape, y.shape, tiles(), threads()
    C, F, L, window = x.shape[1] // G, y.shape[1] // G, t.lanes, w.shape[2] * w.shape[3]
    p = plan(transposed, N, C, G, (A, B), w.shape[2:], stride, padding, dilation, workers)
    phases, across = p.phases.shape[1], p.geometry[-1]
    single = p.phases.shape[:2] == (1, 1) and dilation[0] == 1
    kind = shape_of_tiles(F, B // phases, across, single, L)
    line = 2 * L * TALLEST + max(F, 2 * L) * phases * -(-B // phases)
    stack = C * w.shape[3] * (w.shape[2] + 2 * STACK * stride[0])
    rooms = scratch("rooms", (workers, _spread(p.room + line + stack)))
    filters = w if kind != TALL else scratch("filters", (G, C * window * -(-F // L) * L))
    correlate(x.reshape(N, G, C, H, W), w.reshape(G, -1), bias.reshape(G, F),
              y.reshape(N, G, F, A, B), transposed, kind, p.shares, p.bands, p.geometry, p.phases,
              p.places, p.windows, window, t.table, (t.turn, t.frame, L), filters.reshape(G, -1),
              rooms)


@jit(parallel=True)
def correlate(x, w, bias, y, transposed, kind, shares, bands, geometry, phases, places, windows,
              window, table, machine, filters, rooms):
    """Pack the filters, then deal the tasks to the threads."""
    blocks = 0 if kind != TALL else len(w) * (-(-y.shape[2] // machine[2]))
    for k in prange(blocks):
        pack(w, filters, np.int64(k), x.shape[2], y.shape[2], window, transposed, machine)
    for k in prange(len(rooms)):
        correlate_share(x, bias, y, transposed, kind, shares, bands, geometry, phases, places,
                        windows, window, table, machine, filters, rooms, np.int64(k))


@jit
def pack(w, filters, k, C, F, window, transposed, machine):
    """L filters of a group side by side: filters[tile][c, i, j][lane], a tile being 2 L lanes.

    w is (F, C, window), and (C, F, window) of a transposed convolution. The last tile has L lanes
    where that is enough.
    """
    turning, _, L = machine
    g, block = k % len(w), k // len(w)
    first, tile = block * L, block // 2
    lanes = 2 * L if F - tile * 2 * L > L else L
    here, source = min(L, F - first), w[g].ctypes.data
    base = filters[g].ctypes.data + 4 * (tile * 2 * L * C * window + first - tile * 2 * L)
    if not transposed:
        for k in range(0, C * window, L):
            turn(turning, (source + 4 * (first * C * window + k), C * window, here,
                           min(L, C * window - k), base + 4 * k * lanes, lanes, L))
    else:
        for c in range(C):
            for k in range(0, window, L):
                turn(turning, (source + 4 * ((c * F + first) * window + k), window, here,
                               min(L, window - k), base + 4 * (c * window + k) * lanes, lanes, L))


@jit
def correlate_share(x, bias, y, transposed, kind, shares, bands, geometry, phases, places, windows,
                    window, table, machine, filters, rooms, worker):
    """One thread's tasks."""
    (N, G, C, _, _), rows, plane = x.shape, geometry[0], geometry[2]
    workers, tasks = len(rooms), G * shares * bands
    for task in range(worker * tasks // workers, (worker + 1) * tasks // workers):
        g, share, band = task // bands // shares, task // bands % shares, task % bands
        n0, n1 = share * N // shares, (share + 1) * N // shares
        a0, a1 = band * rows // bands, (band + 1) * rows // bands
        copy_band(x[n0:n1, g], a0, a1, geometry, machine, rooms[worker])
        rest = rooms[worker, (n1 - n0) * C * plane:]
        if kind == STACKED:
            stacked_tiles(rooms[worker], rest, filters[g], bias[g], y[n0:n1, g], a0, a1, geometry,
                          places, windows, window, table, machine[2], C)
        elif kind == WIDE:
            wide_tiles(rooms[worker], rest, filters[g], bias[g], y[n0:n1, g], transposed, a0, a1,
                       x.shape[3], geometry, phases, places, windows, window, table, machine[2], C)
        else:
            tall_tiles(rooms[worker], rest, filters[g], bias[g], y[n0:n1, g], a0, a1, x.shape[3],
                       geometry, phases, places, windows, window, table, machine[2], C)


@jit
def copy_band(x, a0, a1, geometry, machine, room):
    """What rows a0 to a1 of the output meet in the images x (N, C, H, W), zeros around them."""
    (N, C, H, W), (_, width, plane, top, left, reach, S, _) = x.shape, geometry
    tall, top = (a1 - a0 - 1) * S + reach + 1, a0 * S + top
    first, last = min(tall, max(0, -top)), max(0, min(tall, H - top))
    lo, hi = min(width, max(0, -left)), max(0, min(width, W - left))
    if lo == 0 and hi == W and width == W and first == 0 and last == tall:    # nothing to pad
        hi, width, tall, last = tall * W, tall * W, 1, 1
    for n in range(N):
        for c in range(C):
            frame(machine[1], (x[n, c].ctypes.data + 4 * (top * W + left), W, first, last, lo, hi,
                               room.ctypes.data + 4 * (n * C + c) * plane, tall, width))


@jit
def tallest(table, how, vectors):
    """The rows of the largest tile."""
    rows = 1
    while rows < table.shape[2] - 1 and table[how, vectors - 1, rows + 1]:
        rows += 1
    return min(rows, TALLEST)


@jit
def taps_inside(phase, places, a, height, geometry):
    """(first, number) of a phase's taps, without rows of the window above or below the image."""
    first, last, width = phase[0], phase[0] + phase[1], geometry[1]
    top = a * geometry[6] + geometry[3]
    falling = first < last and places[last - 1] < places[first]       # a transposed filter's order
    while first < last:
        near, far = top + places[first] // width, top + places[last - 1] // width
        if falling:
            near, far = far, near
        if near >= 0 and far < height:
            break
        if (near < 0) != falling:
            first += 1
        else:
            last -= 1
    return first, last - first


@jit(allocates=True)
def tall_tiles(room, rest, filters, bias, y, a0, a1, height, geometry, phases, places, windows,
               window, table, L, C):
    """One task's part of y (N, F, H, W): tiles of pixels x filters, stored transposed."""
    (N, F, H, W), (M, K, _), width, plane = y.shape, phases.shape, geometry[1], geometry[2]
    S, T, most = geometry[6], geometry[7], tallest(table, 1, 2)
    start, line, pitch = rest[:2 * L], rest[2 * L:], -(-W // K)
    near = np.empty(len(windows), np.int64)
    for first in range(0, F, 2 * L):
        count = min(2 * L, F - first)
        vectors = 2 if count > L else 1
        lanes = vectors * L
        for t in range(len(windows)):
            near[t] = windows[t] * lanes
        start[:] = 0
        start[:count] = bias[first:first + count]
        packed = filters.ctypes.data + 4 * first * C * window
        for n in range(N):
            for a in range(a0, a1):
                source = room.ctypes.data + 4 * (n * C * plane + (a - a0) * S * width)
                for h in range(a * M, min(H, a * M + M)):
                    to, far = y[n, first, h].ctypes.data, H * W
                    for s in range(K):
                        tap, taps = taps_inside(phases[h - a * M, s], places, a, height, geometry)
                        if K > 1:
                            to, far = line[s * 2 * L * pitch:].ctypes.data, pitch
                        pixels, b = (W - s + K - 1) // K, 0
                        pieces = -(-pixels // most)
                        for piece in range(pieces):
                            rows = (pixels - b) // (pieces - piece)
                            multiply(table[1, vectors - 1, rows],
                                     (source + 4 * b * T, T, plane, places.ctypes.data + 8 * tap,
                                      packed, window * lanes, near.ctypes.data + 8 * tap,
                                      C, taps, max(1, CHAIN // max(taps, 1)),
                                      start.ctypes.data, 0, to + 4 * b, far, count))
                            b += rows
                    if K > 1:
                        interleave(line, pitch, K, 2 * L, y[n, first:first + count, h])


@jit
def interleave(line, pitch, K, far, rows):
    """rows[f, b K + s] = line[s, f, b]: the phases of a row of pixels back into their places."""
    F, W = rows.shape
    for f in range(F):
        out = rows[f]
        for s in range(K):
            source = line[(s * far + f) * pitch:]
            for b in range((W - s + K - 1) // K):
                out[b * K + s] = source[b]


@jit
def wide_tiles(room, rest, w, bias, y, transposed, a0, a1, height, geometry, phases, places,
               windows, window, table, L, C):
    """One task's part of y (N, F, H, W): tiles of filters x pixels, filters read as they lie."""
    (N, F, H, W), (M, K, _), width, plane = y.shape, phases.shape, geometry[1], geometry[2]
    S, most = geometry[6], tallest(table, 0, 2)
    start, line, pitch = rest[:2 * L * TALLEST], rest[2 * L * TALLEST:], -(-W // K)
    groups = -(-F // most)
    w_row, w_step = (window, F * window) if transposed else (C * window, window)
    for group in range(groups):
        first, last = group * F // groups, (group + 1) * F // groups
        for f in range(first, last):
            start[(f - first) * 2 * L:(f - first + 1) * 2 * L] = bias[f]
        for n in range(N):
            for a in range(a0, a1):
                source = room.ctypes.data + 4 * (n * C * plane + (a - a0) * S * width)
                for h in range(a * M, min(H, a * M + M)):
                    to, far = y[n, first, h].ctypes.data, H * W
                    for s in range(K):
                        tap, taps = taps_inside(phases[h - a * M, s], places, a, height, geometry)
                        if K > 1:
                            to, far = line[s * F * pitch:].ctypes.data, pitch
                        pixels, b = (W - s + K - 1) // K, 0
                        while b < pixels:
                            vectors = 2 if pixels - b > L and pixels >= 2 * L else 1
                            b = min(b, pixels - vectors * L)     # the last one overlaps
                            multiply(table[0, vectors - 1, last - first],
                                     (w.ctypes.data + 4 * first * w_row, w_row, w_step,
                                      windows.ctypes.data + 8 * tap, source + 4 * b, plane,
                                      places.ctypes.data + 8 * tap, C, taps,
                                      max(1, CHAIN // max(taps, 1)),
                                      start.ctypes.data, 2 * L, to + 4 * b, far, vectors * L))
                            b += vectors * L
                    if K > 1:
                        interleave(line, pitch, K, F, y[n, first:last, h])


@jit(allocates=True)
def stacked_tiles(room, rest, w, bias, y, a0, a1, geometry, places, windows, window, table, L, C):
    """One task's part of y (N, 1, A, B): tiles of a few rows of pixels x pixels.

    Output row m of a tile meets input row i' with row i' - m S of the filter. The filter with zeros
    above and below, read from m S rows further up, is that: zeros are multiplied, which costs less
    than a tile of one row.
    """
    (N, _, A, B), width, plane, S = y.shape, geometry[1], geometry[2], geometry[6]
    reach = geometry[5]
    J = len(places) // (reach + 1)
    above = (STACK - 1) * S
    start, near, pitch = rest[:2 * L], rest[2 * L:], J * (reach + 1 + 2 * above)
    start[:] = bias[0]
    near[:C * pitch] = 0
    first = np.empty(J, np.int64)
    for t in range(len(places)):
        i = places[t] // width
        for c in range(C):
            near[c * pitch + (above + i) * J + rank(places, t, width)] = w[c * window + windows[t]]
        if i == 0:
            first[rank(places, t, width)] = places[t]
    tall = above + reach + 1
    here, there = np.empty(tall * J, np.int64), np.empty(tall * J, np.int64)
    for i in range(tall):
        for j in range(J):
            here[i * J + j], there[i * J + j] = i * J + j, i * width + first[j]
    for n in range(N):
        for a in range(a0, a1, STACK):
            rows = min(STACK, a1 - a)
            taps = ((rows - 1) * S + reach + 1) * J
            b = 0
            while b < B:
                vectors = 2 if B - b > L and B >= 2 * L else 1
                b = min(b, B - vectors * L)                  # the last one overlaps
                multiply(table[0, vectors - 1, rows],
                         (near[above * J:].ctypes.data, -S * J, pitch, here.ctypes.data,
                          room.ctypes.data + 4 * (n * C * plane + (a - a0) * S * width + b), plane,
                          there.ctypes.data, C, taps, max(1, CHAIN // taps), start.ctypes.data, 0,
                          y[n, 0, a, b:].ctypes.data, B, vectors * L))
                b += vectors * L


@jit
def rank(places, t, width):
    """How many taps lie left of tap t in its row."""
    left = 0
    for other in places:
        if other // width == places[t] // width and other < places[t]:
            left += 1
    return left


# --- the weight gradient --------------------------------------------------------------------------
def conv2d_weight(x, y, S, T, P, Q, D, E, G, w):
    """conv2d_weight_kernel on tiles."""
    if not x.size or not y.size:
        w[...] = 0
        return
    (N, _, H, W), (_, _, A, B), t, workers = x.shape, y.shape, tiles(), threads()
    C, F, L, (I, J) = w.shape[1], len(w) // G, t.lanes, w.shape[2:]
    p = plan(False, N, C, G, (A, B), (I, J), (S, T), (P, Q), (D, E), workers)
    images, rows, plane = -(-N // p.shares), -(-A // p.bands), p.geometry[2]
    how = shape_of_sums(C, F, I, J, rows, B, plane, T, L)
    lanes = whole(C if how == BY_CHANNEL else F, L)
    packed = images * lanes * (plane if how == BY_CHANNEL else rows * B)
    rooms = scratch("rooms", (workers, _spread(p.room + 2 * L) + packed))
    sums = scratch("sums", (workers, G, I * J * lanes * (F if how == BY_CHANNEL else C)))
    weight_gradient(x.reshape(N, G, C, H, W), y.reshape(N, G, F, A, B), w.reshape(G, F, C * I * J),
                    how, I, J, D, E, p.shares, p.bands, p.geometry, t.table, t.dots,
                    (t.turn, t.frame, L), rooms, sums)


@functools.lru_cache(4096)
def shape_of_sums(C, F, I, J, rows, B, plane, T, L):
    """BY_FILTER, BY_CHANNEL or DOTTED: estimated cycles for a band of `rows` rows of B pixels."""
    length, others = (J, C) if C < 4 and J > C else (C, J)
    steps = rows * B

    def tiles(lanes, rows):
        vectors = min(2, -(-lanes // L))
        calls = -(-lanes // (2 * L)) * -(-rows // TALLEST)
        return calls * (steps * max(4, min(rows, TALLEST) * vectors / 2) + 60)
    cycles = {BY_FILTER: tiles(F, length) * others * I + F * steps / 4,
              BY_CHANNEL: tiles(C, F) * I * J + C * plane / 4}
    if T == 1:
        cycles[DOTTED] = C * F * I * (rows * (-(-B // L) * (J + 1) + 3) + 8 * J + 20)
    return min(cycles, key=cycles.get)


@jit(parallel=True)
def weight_gradient(x, y, w, how, I, J, D, E, shares, bands, geometry, table, dotting, machine,
                    rooms, sums):
    """Every thread sums over its own tasks; then the threads' sums are added, in order."""
    for k in prange(len(rooms)):
        weight_share(x, y, how, I, J, D, E, shares, bands, geometry, table, dotting, machine,
                     rooms[k], sums[k], np.int64(k), len(rooms))
    for k in prange(w.shape[0] * w.shape[1]):
        add_shares(sums, w, how, I * J, np.int64(k), machine)


@jit
def weight_share(x, y, how, I, J, D, E, shares, bands, geometry, table, dotting, machine, room,
                 sums, worker, workers):
    """One thread's tasks."""
    (N, G, C, _, _), (rows, width, plane), L = x.shape, geometry[:3], machine[2]
    tasks = G * shares * bands
    sums[:] = 0
    for task in range(worker * tasks // workers, (worker + 1) * tasks // workers):
        g, share, band = task // bands // shares, task // bands % shares, task % bands
        n0, n1 = share * N // shares, (share + 1) * N // shares
        a0, a1 = band * rows // bands, (band + 1) * rows // bands
        copy_band(x[n0:n1, g], a0, a1, geometry, machine, room)
        packed, here = room[next_line((n1 - n0) * C * plane + L):], y[n0:n1, g]
        if how == DOTTED:
            weight_dots(room, sums[g], here, a0, a1, I, J, D, E, geometry, dotting, C, L)
        elif how == BY_CHANNEL:
            pack_pixels(room.ctypes.data, n1 - n0, C, plane, plane, C * plane, machine, packed)
            weight_by_channel(packed, sums[g], here, a0, a1, I, J, D, E, geometry, table, L, C)
        else:
            F, A, B = here.shape[1:]
            pack_pixels(here[0, 0, a0].ctypes.data, n1 - n0, F, (a1 - a0) * B, A * B, G * F * A * B,
                        machine, packed)
            weight_by_filter(room, packed, sums[g], n1 - n0, F, B, a1 - a0, I, J, D, E, geometry,
                             table, L, C)


@jit
def next_line(floats):
    """The next beginning of a cache line."""
    return (floats + 15) // 16 * 16


@jit
def pack_pixels(source, N, C, pixels, far, image, machine, packed):
    """Channels side by side: packed[n][tile][pixel][lane]; see `pack`.

    Channel c of image n begins at source + n image + c far.
    """
    turning, _, L = machine
    for n in range(N):
        for first in range(0, C, L):
            tile = first // (2 * L) * 2 * L
            lanes, here = 2 * L if C - tile > L else L, min(L, C - first)
            base = packed.ctypes.data + 4 * ((n * whole(C, L) + tile) * pixels + first - tile)
            for p in range(0, pixels, L):
                turn(turning, (source + 4 * (n * image + first * far + p), far, here,
                               min(L, pixels - p), base + 4 * p * lanes, lanes, L))


@jit
def whole(F, L):
    """F, rounded up to a multiple of L."""
    return (F + L - 1) // L * L


@jit(allocates=True)
def weight_by_filter(room, packed, sums, N, F, B, rows, I, J, D, E, geometry, table, L, C):
    """sums[c, i, j][f] += the products of one task: tiles of channels (or columns j) x filters."""
    width, plane, S, T = geometry[1], geometry[2], geometry[6], geometry[7]
    most, padded, block = tallest(table, 0, 2), whole(F, L), max(1, CHAIN // B)
    there, here = np.arange(B) * T, np.empty(B, np.int64)
    along_j = C < 4 and J > C                                # the longer axis makes taller tiles
    length, others = (J, C) if along_j else (C, J)
    a_row, k_row = (E, 1) if along_j else (plane, I * J)
    other_far, other_k = (plane, I * J) if along_j else (E, 1)
    groups = -(-length // most)
    for tile in range(0, F, 2 * L):
        vectors = 2 if F - tile > L else 1
        lanes = vectors * L
        for b in range(B):
            here[b] = b * lanes
        for group in range(groups):
            first, last = group * length // groups, (group + 1) * length // groups
            for other in range(others):
                for i in range(I):
                    k = first * k_row + other * other_k + i * J
                    to = sums[k * padded + tile:].ctypes.data
                    source = room.ctypes.data + 4 * (first * a_row + other * other_far
                                                     + i * D * width)
                    for n in range(N):
                        multiply(table[0, vectors - 1, last - first],
                                 (source + 4 * n * C * plane, a_row, S * width, there.ctypes.data,
                                  packed.ctypes.data + 4 * (n * padded + tile) * rows * B,
                                  B * lanes, here.ctypes.data, rows, B, block,
                                  to, k_row * padded, to, k_row * padded, lanes))


@jit(allocates=True)
def weight_by_channel(packed, sums, y, a0, a1, I, J, D, E, geometry, table, L, C):
    """sums[i, j][f][c] += the products of one task: tiles of filters x channels."""
    (N, F, A, B), width, plane, S, T = y.shape, geometry[1], geometry[2], geometry[6], geometry[7]
    most, padded, block = tallest(table, 0, 2), whole(C, L), max(1, CHAIN // B)
    here, there, groups = np.arange(B), np.empty(B, np.int64), -(-F // most)
    for tile in range(0, C, 2 * L):
        vectors = 2 if C - tile > L else 1
        lanes = vectors * L
        for b in range(B):
            there[b] = b * T * lanes
        for group in range(groups):
            first, last = group * F // groups, (group + 1) * F // groups
            for i in range(I):
                for j in range(J):
                    to = sums[((i * J + j) * F + first) * padded + tile:].ctypes.data
                    for n in range(N):
                        source = (n * padded + tile) * plane + (i * D * width + j * E) * lanes
                        multiply(table[0, vectors - 1, last - first],
                                 (y[n, first, a0].ctypes.data, A * B, B, here.ctypes.data,
                                  packed.ctypes.data + 4 * source, S * width * lanes,
                                  there.ctypes.data, a1 - a0, B, block, to, padded, to, padded,
                                  lanes))


@jit
def weight_dots(room, sums, y, a0, a1, I, J, D, E, geometry, dotting, C, L):
    """sums[c, i, j][f] += the products of one task: dot products of rows of x and y."""
    (N, F, A, B), width, plane, S = y.shape, geometry[1], geometry[2], geometry[6]
    padded = whole(F, L)
    for n in range(N):
        for f in range(F):
            for c in range(C):
                for i in range(I):
                    for j in range(0, J, DOTS):
                        source = n * C * plane + c * plane + i * D * width + j * E
                        dots(dotting[min(DOTS, J - j)],
                             (room.ctypes.data + 4 * source, S * width, E,
                              y[n, f, a0].ctypes.data, B, a1 - a0, B,
                              sums[((c * I + i) * J + j) * padded + f:].ctypes.data, padded))


@jit(allocates=True)
def add_shares(sums, w, how, window, k, machine):
    """One filter w[g, f, (c, i, j)]: the threads' sums added, and turned into place."""
    (workers, _, _), (turning, _, L), (_, F, K) = sums.shape, machine, w.shape
    g, f = k // F, k % F
    C, filter = K // window, w[g, f]
    if how == BY_CHANNEL:                                    # sums[i, j][f][c]
        padded = whole(C, L)
        for worker in range(1, workers):
            for q in range(window):
                at = (q * F + f) * padded
                sums[0, g, at:at + padded] += sums[worker, g, at:at + padded]
        for c in range(0, C, L):
            for q in range(0, window, L):
                turn(turning, (sums[0, g, (q * F + f) * padded + c:].ctypes.data, F * padded,
                               min(L, window - q), min(L, C - c), filter[c * window + q:].ctypes.data,
                               window, min(L, window - q)))
    elif f % L == 0:                                         # sums[c, i, j][f], L filters at a time
        padded = whole(F, L)
        for worker in range(1, workers):
            for q in range(K):
                at = q * padded + f
                sums[0, g, at:at + L] += sums[worker, g, at:at + L]
        for q in range(0, K, L):
            turn(turning, (sums[0, g, q * padded + f:].ctypes.data, padded, min(L, K - q),
                           min(L, F - f), filter[q:].ctypes.data, K, min(L, K - q)))
