"""The convolutions on the register tile (see `simd`): the rung `cpu` for float32.

All three are read straight from the padded image; no matrix of windows is built.

- **conv2d** y[n, o, a, b] = sum over (c, i, j): C of the tile is 10 pixels of a row x 32 filters, k
  runs over channels (steps) and window (taps). The filters are packed once per call so that 32 of
  them lie side by side; the tile is stored transposed, for y has its pixels side by side. With few
  filters the roles change: the tile is 10 filters x 32 pixels, and nothing is packed or transposed.
- **conv_transpose2d** is conv2d with the filters turned round. With stride S, output pixel h is met
  by those rows i of the filter for which (h + P - i D) is a multiple of S: the pixels of one
  remainder h mod S form an image of their own, and each of the S x S images is a stride-1
  convolution with its share of the filter ("phase").
- **the weight gradient** w[o, c, i, j] = sum over pixels: the tile is 10 channels x 32 filters, k
  runs over rows (steps) and columns (taps) of y.

A task is a band of rows of one image: its padded copy, a few hundred kilobytes, stays in the
core's own cache while all filters pass over it. Tasks are dealt to the threads in a fixed order,
so the result is the same from run to run.
"""
from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from tinyvision.kernel import jit, prange, scratch, threads
from tinyvision.simd import frame, multiply, tiles, turn

BAND = 1 << 17                             # floats of a band: half a megabyte
CHAIN = 256                                # terms of a sum before it is put aside
TALLEST = 10                               # the rows of the largest tile of any width


# --- which input pixels an output pixel meets -----------------------------------------------------
@dataclass(frozen=True, eq=False)
class Taps:
    """Along one axis: output pixel a M + r meets the input pixels a S + offset, for each phase r.

    Attributes:
        phases: M, the phases.
        stride: S.
        offsets: per phase, the offsets; windows: which position of the filter each belongs to.
        first, reach: the smallest offset, and how far the largest is from it.
    """
    phases: int
    stride: int
    offsets: tuple
    windows: tuple

    @property
    def first(self):
        return min((o for phase in self.offsets for o in phase), default=0)

    @property
    def reach(self):
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
    """What of a convolution depends on sizes alone: bands, tables of taps, the room they take."""
    bands: int                             # bands of an image
    rows: int                              # rows of the output grid (phase 0) in all bands
    width: int                             # of the padded copy
    plane: int                             # distance of two channels in it
    origin: tuple                          # the input pixel that its first element is
    reach: int                             # rows of it beyond the band's own
    phases: np.ndarray                     # (M, M', 2): first tap and number of taps
    places: np.ndarray                     # of every tap, its distance in the padded copy
    windows: np.ndarray                    # ... and its position i J + j in the filter


@functools.lru_cache(4096)
def plan(transposed, images, C, sizes, window, stride, padding, dilation, workers):
    """The Plan of a convolution with outputs of `sizes` for `images` x groups images."""
    kind = transposed_taps if transposed else forward_taps
    down, across = (kind(*one) for one in zip(window, stride, padding, dilation))
    rows, columns = (-(-n // axis.phases) for n, axis in zip(sizes, (down, across)))
    width = (columns - 1) * across.stride + across.reach + 1
    bands = _bands(images, rows, C * width * down.stride, workers)
    tall = (-(-rows // bands) - 1) * down.stride + down.reach + 1
    phases, places, windows = np.zeros((down.phases, across.phases, 2), np.int64), [], []
    for r, s in np.ndindex(phases.shape[:2]):
        phases[r, s, 0] = len(places)
        for y, i in zip(down.offsets[r], down.windows[r]):
            for x, j in zip(across.offsets[s], across.windows[s]):
                places.append((y - down.first) * width + x - across.first)
                windows.append(i * window[1] + j)
        phases[r, s, 1] = len(places) - phases[r, s, 0]
    return Plan(bands, rows, width, _spread(tall * width), (down.first, across.first),
                down.reach, phases, np.array(places, np.int64), np.array(windows, np.int64))


def _bands(images, rows, floats_a_row, workers):
    """Bands of an image: few enough rows to fit the cache, and the tasks shared out evenly."""
    least = max(1, -(-rows * floats_a_row // BAND))
    even = (k for k in range(least, least + workers) if images * k % workers == 0)
    return min(rows, next(even))


def _spread(floats):
    """At least `floats`, an odd number of cache lines: channels then fall on different lines."""
    return (-(-floats // 16) | 1) * 16


# --- the three convolutions -----------------------------------------------------------------------
def conv2d(x, w, bias, S, T, P, Q, D, E, G, y):
    """conv2d_kernel on tiles."""
    _correlate(False, x, w, bias, (S, T), (P, Q), (D, E), G, y)


def conv_transpose2d(y, w, bias, S, T, P, Q, D, E, G, x):
    """conv_transpose2d_kernel on tiles."""
    _correlate(True, y, w, bias, (S, T), (P, Q), (D, E), G, x)


def _correlate(transposed, x, w, bias, stride, padding, dilation, G, y):
    """y = bias + x * w, or with w transposed; groups are images of their own."""
    (N, C, H, W), (_, F, A, B), T, workers = x.shape, y.shape, tiles(), threads()
    C, F = C // G, F // G
    p = plan(transposed, N * G, C, (A, B), w.shape[2:], stride, padding, dilation, workers)
    L, window, across = T.lanes, w.shape[2] * w.shape[3], 1 if transposed else stride[1]
    phases = p.phases.shape[1]
    wide = F <= L // 2 and across == 1 and B // phases >= L
    room = p.plane * C + 2 * L * TALLEST + max(F, 2 * L) * phases * -(-B // phases)
    bands = scratch("bands", (workers, _spread(room)))
    filters = w if wide else scratch("filters", (G, C * window * -(-F // L) * L))
    correlate(x.reshape(N * G, C, H, W), w.reshape(G, -1), bias.reshape(G, F),
              y.reshape(N * G, F, A, B), transposed, wide, 1 if transposed else stride[0], p.bands, p.rows, p.width, p.plane, *p.origin, p.reach, p.phases, p.places, p.windows,
              window, across, T.table, T.turn, T.frame, L, filters.reshape(G, -1), bands)


@jit(parallel=True)
def correlate(x, w, bias, y, transposed, wide, S, bands, rows, width, plane, top, left, reach,
              phases, places, windows, window, T, table, turning, framing, L, filters, rooms):
    """Pack the filters, then share the bands of all images out to the threads."""
    blocks = 0 if wide else len(w) * (-(-y.shape[1] // L))
    for k in prange(blocks):
        pack(w, filters, k, x.shape[1], y.shape[1], window, transposed, turning, L)
    for k in prange(len(rooms)):
        work(x, w, bias, y, transposed, wide, S, bands, rows, width, plane, top, left, reach,
             phases, places, windows, window, T, table, framing, L, filters, rooms, k)


@jit
def work(x, w, bias, y, transposed, wide, S, bands, rows, width, plane, top, left, reach, phases,
         places, windows, window, T, table, framing, L, filters, rooms, k):
    """One thread's share: of every band of its own, a padded copy, then the tiles."""
    worker, workers, tasks = np.int64(k), len(rooms), len(x) * bands
    room = rooms[worker]
    for task in range(worker * tasks // workers, (worker + 1) * tasks // workers):
        n, band = task // bands, task % bands
        g, a0, a1 = n % len(w), band * rows // bands, (band + 1) * rows // bands
        if a0 < a1:
            tall = (a1 - a0 - 1) * S + reach + 1
            copy_band(x[n], a0 * S + top, left, tall, width, plane, framing, room)
            if wide:
                wide_tiles(room, filters[g], bias[g], y[n], transposed, a0, a1, S, width, plane,
                           phases, places, windows, window, table, L, x.shape[1])
            else:
                tall_tiles(room, filters[g], bias[g], y[n], a0, a1, S, T, width, plane, phases,
                           places, windows, window, table, L, x.shape[1])


@jit
def copy_band(x, top, left, tall, width, plane, framing, room):
    """Rows top ... of the image x (C, H, W), from column `left` on, with zeros outside it."""
    C, H, W = x.shape
    first, last = min(tall, max(0, -top)), max(0, min(tall, H - top))
    lo, hi, from_row = min(width, max(0, -left)), max(0, min(width, W - left)), W
    if lo == 0 and hi == W and width == W and first == 0 and last == tall:    # nothing to pad
        hi, width, tall, last = tall * W, tall * W, 1, 1
    for c in range(C):
        frame(framing, (x.ctypes.data + 4 * ((c * H + top) * W + left), from_row, first, last, lo,
                        hi, room.ctypes.data + 4 * c * plane, tall, width))


@jit
def pack(w, filters, k, C, F, window, transposed, turning, L):
    """L filters of a group side by side: filters[tile][c, i, j][lane], a tile being 2 L lanes.

    w is (F, C, window), and (C, F, window) of a transposed convolution. The last tile has L lanes
    where that is enough.
    """
    g, block = np.int64(k) % len(w), np.int64(k) // len(w)
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
def tall_tiles(room, filters, bias, y, a0, a1, S, T, width, plane, phases, places, windows, window,
               table, L, C):
    """One band of y (F, H, W): tiles of pixels x filters, stored transposed."""
    (F, H, W), (M, K, _) = y.shape, phases.shape
    tallest = 1
    while tallest + 1 < table.shape[2] and table[1, 1, tallest + 1]:
        tallest += 1
    start, line = room[plane * C:plane * C + 2 * L], room[plane * C + 2 * L:]
    near = np.empty(len(windows), np.int64)
    pitch = -(-W // K)
    for first in range(0, F, 2 * L):
        count = min(2 * L, F - first)
        vectors = 2 if count > L else 1
        lanes = vectors * L
        for t in range(len(windows)):
            near[t] = windows[t] * lanes
        start[:] = 0
        start[:count] = bias[first:first + count]
        packed = filters.ctypes.data + 4 * first * C * window
        for a in range(a0, a1):
            for r in range(M):
                h = a * M + r
                if h >= H:
                    continue
                for s in range(K):
                    pixels, tap, taps = (W - s + K - 1) // K, phases[r, s, 0], phases[r, s, 1]
                    if K == 1:
                        to, far = y.ctypes.data + 4 * ((first * H + h) * W), H * W
                    else:
                        to, far = line.ctypes.data + 4 * s * 2 * L * pitch, pitch
                    pieces, b = -(-pixels // tallest), 0
                    for piece in range(pieces):
                        height = (pixels - b) // (pieces - piece)
                        multiply(table[1, vectors - 1, height],
                                 (room.ctypes.data + 4 * ((a - a0) * S * width + b * T), T, plane,
                                  places.ctypes.data + 8 * tap, packed, window * lanes,
                                  near.ctypes.data + 8 * tap, C, taps, max(1, CHAIN // max(taps, 1)),
                                  start.ctypes.data, 0, to + 4 * b, far, count))
                        b += height
                if K > 1:
                    interleave(line, pitch, K, 2 * L, y[first:first + count, h])


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
def wide_tiles(room, w, bias, y, transposed, a0, a1, S, width, plane, phases, places, windows,
               window, table, L, C):
    """One band of y (F, H, W): tiles of filters x pixels, straight from the filters as they lie."""
    (F, H, W), (M, K, _) = y.shape, phases.shape
    start, line = room[plane * C:], room[plane * C + 2 * L * TALLEST:]
    pitch, groups = -(-W // K), -(-F // TALLEST)
    w_row, w_step = (window, F * window) if transposed else (C * window, window)
    for group in range(groups):
        first, last = group * F // groups, (group + 1) * F // groups
        for f in range(first, last):
            start[(f - first) * 2 * L:(f - first + 1) * 2 * L] = bias[f]
        for a in range(a0, a1):
            for r in range(M):
                h = a * M + r
                if h >= H:
                    continue
                for s in range(K):
                    pixels, tap, taps = (W - s + K - 1) // K, phases[r, s, 0], phases[r, s, 1]
                    if K == 1:
                        to, far = y.ctypes.data + 4 * ((first * H + h) * W), H * W
                    else:
                        to, far = line.ctypes.data + 4 * s * F * pitch, pitch
                    b = 0
                    while b < pixels:
                        vectors = 2 if pixels - b > L and pixels >= 2 * L else 1
                        b = min(b, pixels - vectors * L)     # the last one overlaps
                        multiply(table[0, vectors - 1, last - first],
                                 (w.ctypes.data + 4 * first * w_row, w_row, w_step,
                                  windows.ctypes.data + 8 * tap,
                                  room.ctypes.data + 4 * ((a - a0) * S * width + b), plane,
                                  places.ctypes.data + 8 * tap, C, taps, max(1, CHAIN // max(taps, 1)),
                                  start.ctypes.data, 2 * L, to + 4 * b, far, vectors * L))
                        b += vectors * L
                if K > 1:
                    interleave(line, pitch, K, F, y[first:last, h])
