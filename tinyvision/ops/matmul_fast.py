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

All that is a program (see `program`), made once for every shape.
'''
from __future__ import annotations

import functools
import math

import numpy as np

from tinyvision.kernel import jit, threads
from tinyvision.ops.program import ROOM, Program, arrays, step
from tinyvision.simd import ROWS, copy, multiply, tiles, turn
from tinyvision.worker import address, floats, longs

DEPTH = 256                                # terms of a sum in registers
HEIGHT = 240                               # rows of a block of A
STRIPE = 2048                              # columns of a task, at most: 2 MB of packed panels
PACKED = 4                                 # panels that must pass before A is worth packing
SMALL = 1 << 20                            # products of numbers; below, BLAS is faster
SERIAL = 1 << 21                           # below, one thread is faster than waking the others
TURNED = DEPTH + 16                        # floats from one row of a packed A to the next
OWN = 2 * DEPTH + 24 * 16                  # floats of a thread's room: a table, a tile's results


def suits(a, b) -> bool:
    """Whether `product` takes these arrays, and is not slower than BLAS."""
    (M, K), N = a.shape[-2:], b.shape[-1]
    return (a.size * N >= SMALL and min(M, N, K) >= 8 and _readable(a) and _readable(b)
            and tiles() is not None)


def _readable(x):
    """Whether one of its last two axes is contiguous, and both move by whole numbers."""
    return (type(x) is np.ndarray and x.dtype == np.float32 and x.flags.aligned
            and 4 in x.strides[-2:] and not any(step % 4 for step in x.strides[-2:]))


def product(a, b, bias, y):
    """y = a (..., M, K) @ b (..., K, N), leading axes broadcast: both as `suits` wants them.

    bias: (N,), float32, is added to every row; or None.
    """
    bias = None if bias is None else np.ascontiguousarray(bias)
    program = plan(a.shape, a.strides, b.shape, b.strides, bias is not None, tiles(), threads())
    program(a, b, y, a if bias is None else bias)


# --- the plan -------------------------------------------------------------------------------------
@functools.lru_cache(256)
def plan(A, a_steps, B, b_steps, biased, t, workers):
    """The program of matrices of these shapes, so many bytes apart."""
    batch, (M, K), N = np.broadcast_shapes(A[:-2], B[:-2]), A[-2:], B[-1]
    Z, (a, b, c, bias) = math.prod(batch), arrays(4)
    workers = workers if Z * M * N * K >= SERIAL else 1
    bands, stripes = tasks(Z, M, N, t.lanes, workers)
    (a_row, a_step), (b_row, b_step) = (
        [step // 4 for step in steps[-2:]] for steps in (a_steps, b_steps))
    parts = [list(block_products(a + 4 * m * a_row, a_row, a_step,
                                 b + 4 * n * b_step, b_row, b_step, c + 4 * (m * N + n), N,
                                 (bias + 4 * n) * biased, height, K, width, t))
             for m, height in bands for n, width in stripes]
    offsets = _offsets(A, a_steps, batch), _offsets(B, b_steps, batch), 4 * M * N * np.arange(Z), 0
    room = OWN + HEIGHT * TURNED + min(K, DEPTH) * (max(width for _, width in stripes) + t.lanes)
    return Program(parts, offsets, workers, room)


def _offsets(shape, steps, batch):
    """How many bytes behind the first matrix each of a batch lies, broadcast."""
    places = np.zeros((), np.int64)
    for size, step in zip(shape[:-2], steps):
        places = places[..., None] + step * np.arange(size)
    return np.broadcast_to(places, batch).ravel()


def tasks(Z, M, N, L, workers):
    """(bands of rows, stripes of columns), each (first, number), of Z products."""
    vectors, bands, stripes = -(-N // L), 1, -(-N // STRIPE)

    def uneven():
        tasks = Z * bands * stripes
        return tasks % workers and tasks < 8 * workers
    while uneven() and vectors >= 8 * (stripes + 1):         # a stripe packs its own part of B
        stripes += 1
    while uneven() and M >= 16 * (bands + 1):                # a band packs the whole stripe again
        bands += 1
    return cut(M, bands), [(n * L, min(N - n * L, width * L)) for n, width in cut(vectors, stripes)]


def cut(size, pieces):
    """(first, number) of each of so many even pieces."""
    ends = [k * size // pieces for k in range(pieces + 1)]
    return [(first, last - first) for first, last in zip(ends, ends[1:])]


def block_products(a, a_row, a_step, b, b_row, b_step, c, c_row, bias, M, K, N, t):
    """The calls that make C (M, N) = bias + A B, block by block; bias (N,) or 0."""
    turned, panels = ROOM + 4 * OWN, ROOM + 4 * (OWN + HEIGHT * TURNED)
    packing = a_step != 1 and N > PACKED * 2 * t.lanes
    for k, depth in cut(K, -(-K // DEPTH)):
        yield pack(b + 4 * k * b_row, b_row, b_step, depth, N, panels, t)
        for m, height in cut(M, -(-M // HEIGHT)):
            rows, row, step = a + 4 * (m * a_row + k * a_step), a_row, a_step
            if packing:
                yield turn_rows(rows, a_step, height, depth, turned, t.turn, t.lanes)
                rows, row, step = turned, TURNED, 1
            to = c + 4 * m * c_row
            start, start_row = (to, c_row) if k else (bias, 0)
            yield multiply_panels(rows, row, step, panels, start, start_row, to, c_row, height, N,
                                  depth, tools(t), ROOM)


def pack(b, b_row, b_step, K, N, to, t):
    """The call that packs B (K, N) as panels: to[panel][k][lane], 2 L lanes a panel, in the last
    one L if they do. Lanes beyond N are 0."""
    if b_step == 1:
        return pack_rows(b, b_row, K, N, to, t.copy, t.lanes)
    return pack_columns(b, b_step, K, N, to, t.turn, t.lanes)


@functools.cache
def tools(t):
    """The address of what `multiply_panels` must know of Tiles: their lanes; the most rows of a
    tile of 1, of 2 vectors; the addresses of zeros, of 0, 1, 2 ... times the lanes of 1, of 2
    vectors; from [16] on those of the tiles of 1 vector, by height; from [32] on of 2."""
    lanes, zeros = np.arange(DEPTH) * t.lanes * [[1], [2]], np.zeros(2 * t.lanes, np.float32)
    table = np.zeros((3, 16), np.int64)
    table[0, :6] = t.lanes, *t.rows[:2], *map(address, (zeros, *lanes))
    table[1:, :t.table.shape[2]] = t.table[ROWS, :2]
    _kept.append((table, lanes, zeros))
    return address(table)


_kept = []                                                   # arrays whose addresses `tools` gave


# --- the steps ------------------------------------------------------------------------------------
@step
def pack_rows(b, b_row, K, N, to, copying, L):
    """`pack` where the numbers of B's rows lie side by side."""
    for n in range(0, N, 2 * L):
        lanes = 2 * L if N - n > L else L
        copy(copying, (b + 4 * n, b_row, 0, K, 0, min(lanes, N - n), to + 4 * n * K, lanes, K,
                       lanes))


@step
def pack_columns(b, b_step, K, N, to, turning, L):
    """`pack` where those of its columns do."""
    for n in range(0, N, L):
        panel = n // (2 * L) * 2 * L
        lanes = 2 * L if N - panel > L else L
        for k in range(0, K, L):
            turn(turning, (b + 4 * (n * b_step + k), b_step, min(L, N - n), min(L, K - k),
                           to + 4 * (panel * K + k * lanes + n - panel), lanes, L))


@step
def turn_rows(a, a_step, M, K, to, turning, L):
    """to[m][k] = A[m, k], whose columns' numbers lie side by side."""
    for m in range(0, M, L):
        for k in range(0, K, L):
            turn(turning, (a + 4 * (k * a_step + m), a_step, min(L, K - k), min(L, M - m),
                           to + 4 * (m * TURNED + k), TURNED, min(L, K - k)))


@step
def multiply_panels(a, a_row, a_step, panels, start, start_row, c, c_row, M, N, K, tools, own):
    """C (M, N) = start + A B, for packed panels of B and at most DEPTH numbers a sum.

    start may be C itself, one row for all (start_row 0), or nothing (0). tools: see there; own: OWN
    floats.
    """
    t, there, edge = longs(tools), longs(own), own + 8 * DEPTH
    L, zeros = t[0], t[3]
    for k in range(K):
        there[k] = k * a_step
    for n in range(0, N, 2 * L):
        vectors = 2 if N - n > L else 1
        lanes, most, m = vectors * L, t[vectors], 0
        pieces, whole = (M + most - 1) // most, N - n >= lanes
        for piece in range(pieces):
            height = (M - m) // (pieces - piece)
            begin = start + 4 * (m * start_row + n) if start else 0
            to, row = (c + 4 * (m * c_row + n), c_row) if whole else (edge, lanes)
            multiply(t[16 * vectors + height],
                     (a + 4 * m * a_row, a_row, 0, own, panels + 4 * n * K, 0, t[3 + vectors], 1, K,
                      1, begin if begin and whole else zeros, start_row if whole else 0, to, row,
                      lanes))
            if not whole:
                add_edge(edge, lanes, begin, start_row, c + 4 * (m * c_row + n), c_row, height,
                         N - n)
            m += height


@jit
def add_edge(edge, lanes, start, start_row, c, c_row, M, N):
    """C (M, N) = start + edge: the columns of the last panel that there are."""
    for m in range(M):
        x, y = floats(edge + 4 * m * lanes), floats(c + 4 * m * c_row)
        begin = floats(start + 4 * m * start_row)
        for n in range(N):
            y[n] = x[n] + (begin[n] if start else np.float32(0))
