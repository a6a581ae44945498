'''Matrix products on the register tile (see `simd`): float32, both matrices in any layout.

    C[m, n] = sum over k of  A[m, k] B[k, n]

BLAS computes the same, with threads of its own; but those wait for work by spinning on the cores
that our kernels' threads then need. The plan is that of BLAS (Goto and van de Geijn 2008, "Anatomy
of high-performance matrix multiplication"):

- k is cut into blocks of at most `DEPTH`. Of B, a panel DEPTH x 2 vectors is packed, so that the
  vectors the tile reads one after the other lie one after the other: 32 KB, the first cache.
- The rows of A are cut into blocks of `HEIGHT`: HEIGHT x DEPTH, the second cache. All panels of B
  pass over one block before the next begins. A is read where it lies, one number at a time; only
  where its rows are not contiguous, and many panels pass, is it packed (transposed) too.
- A task is a band of rows and a stripe of columns of one product, so that several matrices, tall
  ones and wide ones all make work for every thread. Tasks are dealt in a fixed order and sums are
  added in a fixed order: results are the same from run to run.
'''
from __future__ import annotations

import functools
import math

import numpy as np

from tinyvision.kernel import jit, prange, scratch, threads
from tinyvision.simd import frame, multiply, tiles, turn

DEPTH = 256                                # terms of a sum in registers
HEIGHT = 240                               # rows of a block of A
STRIPE = 2048                              # columns of a task, at most: 2 MB of packed panels
EDGE = 24                                  # vectors of a thread's room: zeros, and a tile
PACKED = 4                                 # panels that must pass before A is worth packing
SMALL = 1 << 20                            # products of numbers; below, BLAS is faster
SERIAL = 1 << 21                           # below, one thread is faster than waking the others


def suits(a, b) -> bool:
    """Whether `product` takes these arrays, and is not slower than BLAS."""
    (M, K), N = a.shape[-2:], b.shape[-1]
    return (a.size * N >= SMALL and min(M, N, K) >= 8 and _readable(a) and _readable(b)
            and tiles() is not None)


def _readable(x):
    """Whether one of its last two axes is contiguous, and both move by whole numbers."""
    return (type(x) is np.ndarray and x.dtype == np.float32 and x.flags.aligned
            and 4 in x.strides[-2:] and not any(step % 4 for step in x.strides[-2:]))


def product(a, b):
    """a (..., M, K) @ b (..., K, N), leading axes broadcast: both as `suits` wants them."""
    t, batch = tiles(), np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    (M, K), N, Z = a.shape[-2:], b.shape[-1], math.prod(batch)
    workers = threads() if Z * M * N * K >= SERIAL else 1
    out = np.empty((*batch, M, N), np.float32)
    bands, stripes, room = plan(Z, M, K, N, t.lanes, workers)
    rooms = scratch("products", (workers, room))
    what = (_places(a, batch), *_steps(a), _places(b, batch), *_steps(b), out.reshape(Z, M, N), K,
            bands, stripes, t.table, machine_of(t))
    if workers > 1:
        products(*what, rooms)
    else:
        products_share(*what, rooms[0], 0, 1)
    return out


def machine_of(t):
    """What compiled code must know of Tiles, besides their table."""
    return t.turn, t.frame, t.lanes, *t.rows


def _steps(x):
    """How far the next row and the next column are."""
    return x.strides[-2] // 4, x.strides[-1] // 4


def _places(x, batch):
    """The addresses of the matrices of `x`, one for every place of the batch."""
    places, missing = np.array([x.ctypes.data], np.int64), len(batch) + 2 - x.ndim
    for n, size, step in zip(batch, (1,) * missing + x.shape, (0,) * missing + x.strides):
        places = (places[:, None] + np.arange(n) * (step if size > 1 else 0)).ravel()
    return places


@functools.lru_cache(4096)
def plan(Z, M, K, N, L, workers):
    """(bands of rows, stripes of columns, floats of a thread's room) of Z products."""
    vectors, bands, stripes = -(-N // L), 1, -(-N // STRIPE)

    def uneven():
        tasks = Z * bands * stripes
        return tasks % workers and tasks < 8 * workers
    while uneven() and vectors >= 8 * (stripes + 1):         # a stripe packs its own part of B
        stripes += 1
    while uneven() and M >= 16 * (bands + 1):                # a band packs the whole stripe again
        bands += 1
    depth, columns = min(K, DEPTH), -(-vectors // stripes) * L
    return bands, stripes, EDGE * L + HEIGHT * (DEPTH + 16) + columns * depth


@jit(parallel=True)
def products(a, a_row, a_step, b, b_step, b_column, c, K, bands, stripes, table, machine, rooms):
    """c[z] (M, N) = A[z] B[z], of which `a` and `b` are the addresses."""
    for worker in prange(len(rooms)):
        products_share(a, a_row, a_step, b, b_step, b_column, c, K, bands, stripes, table, machine,
                       rooms[worker], np.int64(worker), len(rooms))


@jit
def products_share(a, a_row, a_step, b, b_step, b_column, c, K, bands, stripes, table, machine,
                   room, worker, workers):
    """One thread's tasks."""
    (Z, M, N), L = c.shape, machine[2]
    tasks, vectors = Z * bands * stripes, (N + L - 1) // L
    for task in range(worker * tasks // workers, (worker + 1) * tasks // workers):
        z, band, stripe = task // stripes // bands, task // stripes % bands, task % stripes
        m0, m1 = band * M // bands, (band + 1) * M // bands
        n0 = stripe * vectors // stripes * L
        n1 = min(N, (stripe + 1) * vectors // stripes * L)
        one_product(a[z] + 4 * m0 * a_row, a_row, a_step, b[z] + 4 * n0 * b_column, b_step,
                    b_column, c[z, m0:m1, n0:n1], K, table, machine, room)


@jit
def one_product(a, a_row, a_step, b, b_step, b_column, c, K, table, machine, room):
    """c (M, N) = A B, of which `a` and `b` are the addresses: block by block."""
    (M, N), L = c.shape, machine[2]
    blocks, heights = (K + DEPTH - 1) // DEPTH, (M + HEIGHT - 1) // HEIGHT
    turned = room[EDGE * L:]
    panels = turned[HEIGHT * (DEPTH + 16):].ctypes.data
    packing = a_step != 1 and N > PACKED * 2 * L
    for block in range(blocks):
        k0, k1 = block * K // blocks, (block + 1) * K // blocks
        pack(b + 4 * k0 * b_step, b_step, b_column, k1 - k0, N, panels, machine)
        for height in range(heights):
            m0, m1 = height * M // heights, (height + 1) * M // heights
            rows, row, step = a + 4 * (m0 * a_row + k0 * a_step), a_row, a_step
            if packing:
                turn_rows(rows, a_step, m1 - m0, k1 - k0, turned.ctypes.data, machine)
                rows, row, step = turned.ctypes.data, DEPTH + 16, 1
            multiply_panels(rows, row, step, panels, c[m0:m1], block > 0, k1 - k0, table, machine,
                            room)


@jit
def pack(b, b_step, b_column, K, N, to, machine):
    """B (K, N) as panels: to[panel][k][lane], 2 L lanes a panel, in the last one L if they do.

    Lanes beyond N are 0, or where B is turned whatever `turn` writes there: 0 too.
    """
    turning, framing, L = machine[:3]
    for n in range(0, N, 2 * L):
        lanes, source, there = 2 * L if N - n > L else L, b + 4 * n * b_column, to + 4 * n * K
        if b_column == 1:
            frame(framing, (source, b_step, 0, K, 0, min(lanes, N - n), there, K, lanes))
        else:
            for half in range(0, lanes, L):
                for k in range(0, K, L):
                    turn(turning, (source + 4 * (half * b_column + k), b_column,
                                   min(L, N - n - half), min(L, K - k),
                                   there + 4 * (k * lanes + half), lanes, L))


@jit
def turn_rows(a, a_step, M, K, to, machine):
    """to[m][k] = A[m, k], whose columns are contiguous."""
    turning, L, row = machine[0], machine[2], DEPTH + 16
    for m in range(0, M, L):
        for k in range(0, K, L):
            turn(turning, (a + 4 * (k * a_step + m), a_step, min(L, K - k), min(L, M - m),
                           to + 4 * (m * row + k), row, min(L, K - k)))


@jit(allocates=True)
def multiply_panels(a, a_row, a_step, panels, c, adding, K, table, machine, room):
    """c (M, N) = A B, or c += A B, for packed panels of B and K numbers a sum."""
    (M, N), L = c.shape, machine[2]
    zeros, edge, c_row = room[:2 * L], room[2 * L:], c.strides[0] // 4
    there = np.arange(K) * a_step
    zeros[:] = 0
    for n in range(0, N, 2 * L):
        vectors = 2 if N - n > L else 1
        lanes, most, m = vectors * L, machine[2 + vectors], 0
        here, pieces, whole = np.arange(K) * lanes, (M + most - 1) // most, N - n >= lanes
        for piece in range(pieces):
            height = (M - m) // (pieces - piece)
            tile = c[m:m + height, n:n + lanes]
            to, row = (tile.ctypes.data, c_row) if whole else (edge.ctypes.data, lanes)
            start, start_row = (to, row) if whole and adding else (zeros.ctypes.data, 0)
            multiply(table[0, vectors - 1, height],
                     (a + 4 * m * a_row, a_row, 0, there.ctypes.data, panels + 4 * n * K, 0,
                      here.ctypes.data, 1, K, 1, start, start_row, to, row, lanes))
            if not whole:
                add_edge(edge, lanes, adding, tile)
            m += height


@jit
def add_edge(edge, lanes, adding, tile):
    """tile = edge, or tile += edge: the columns of the last panel that there are."""
    for m in range(tile.shape[0]):
        for n in range(tile.shape[1]):
            tile[m, n] = edge[m * lanes + n] + (tile[m, n] if adding else np.float32(0))
