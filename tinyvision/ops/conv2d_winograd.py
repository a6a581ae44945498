"""Convolution with 3 x 3 filters by Winograd's method: 36 multiplications stand for 144.

**The idea** (Toom & Cook 1963; Winograd 1980; Lavin & Gray 2016). Multiplying two polynomials is a
convolution of their coefficients, and a polynomial of degree 5 is known by its values at 6 points.
So: take both factors' values at 6 points, multiply the 6 pairs, and find the polynomial that has
these values. With 3 and 4 coefficients that is 6 multiplications in place of 12. Read backwards
(transposed), the same trick gives 4 neighbouring outputs of a filter of 3 from 6 inputs:

    y = A^T ((G g) * (B^T d))             d: 6 inputs, g: 3 weights, y: 4 outputs; * elementwise

In two dimensions it is done along columns, then along rows: Y = A^T ((G g G^T) * (B^T d B)) A makes
a tile of 4 x 4 outputs of 6 x 6 inputs, with 6 x 6 = 36 multiplications for 4 x 4 x 9 = 144.

**Why that pays.** B^T, G and A^T cost arithmetic, too. But an input's transform serves all filters,
a filter's transform all tiles, and the sum over channels is taken before A^T. Between them lies

    M[e, tile, o] = sum over c of  V[e, tile, c] U[e, c, o],               e = 0 ... 35:

36 matrix products, done by the register tile (see `simd`). For C channels and O filters a tile
takes 36 C O multiply-adds there and 264 C + 180 O in the transforms: at C = O = 64 a fifth.

**Why the error grows.** V, U and M hold values at points, which differ in size, and A^T subtracts
large ones from each other: the values cancel, their rounding stays. The farther apart the powers of
the points lie, the worse. Of the largest of 128-channel results, the usual points 0, 1, -1, 2, -2
lose 1e-5; ours, 0, 5/8, -5/8, 3/2, -3/2, lose 2e-6; direct sums lose 5e-7. (The sixth point is
infinity: there a polynomial's "value" is its highest coefficient. On the choice of points see
Barabasz, Anderson, Soodhalter & Gregg 2020.)

**How the work is dealt.** A line is a row of tiles of one image (or of a strip of it, if it is
wide), a task a few lines: as many as keep V and M in the core's own cache. A line's 6 rows of input
are turned so that channels lie side by side, and a transform does a vector of channels at once; the
results, vectors of filters, are turned back. Tasks are dealt in a fixed order, so results are the
same from run to run.

**Where it does not pay** (`pays`). Time by that of the plain tile, two AVX-512 cores:

    images, channels, map, filters        ratio   images, channels, map, filters        ratio
    8, 64, 56 x 56, 64                    0.43    1, 64, 16 x 16, 64 (16 tiles)         1.0
    8, 128, 28 x 28, 128                  0.42    1, 256, 14 x 14, 256 (16 tiles)       1.4
    1, 64, 56 x 56, 64                    0.55    8, 512, 7 x 7, 512 (32 tiles)         2.2
    8, 256, 14 x 14, 256                  0.66    6, 64, 9 x 9, 64 (half the tiles)     1.5
    1, 512, 28 x 28, 512                  0.58    8, 16, 32 x 32, 16                    1.0
    8, 64, 32 x 32, 16                    0.83    8, 3, 56 x 56, 64                     1.8

So: 48 tiles or more have to share the filters' transform, their outputs have to lie mostly on the
map, and there have to be at least 16 channels, 16 filters, and 1,024 pairs of them.
"""
from __future__ import annotations

import functools

import numpy as np

from tinyvision.kernel import jit, prange, scratch, threads
from tinyvision.ops.conv2d_fast import pack
from tinyvision.simd import _Call, _load, multiply, tiles, turn

POINTS = 0, 5 / 8, -5 / 8, 3 / 2, -3 / 2   # and infinity
SIDE, PRODUCTS = 4, 36                     # outputs along a tile's side; products for a tile
ROOM = 1 << 18                             # floats of V and M of a task: a megabyte
LEAST = 56                                 # tiles of a task, or the filters' values come too often


# --- the matrices ---------------------------------------------------------------------------------
@functools.cache
def matrices():
    """(B^T, G, A^T): (6, 6), (6, 3), (4, 6) with A^T ((G g) * (B^T d)) = the 4 sums d[i:i+3] g.

    G takes the values at the points of a polynomial with coefficients g, A^T those of one with 4
    coefficients, transposed. B^T is the transpose of finding a polynomial from its values: row k
    has the coefficients of the polynomial that is zero at all points but the k-th (Lagrange); its
    value there is divided out of G's row instead.
    """
    points = np.array(POINTS)
    others = [np.delete(points, k) for k in range(len(points))]
    sizes = np.array([np.prod(p - rest) for p, rest in zip(points, others)])
    infinity = np.eye(6)[-1:]
    G = np.vstack([np.vander(points, 3, increasing=True) / sizes[:, None], infinity[:, -3:]])
    AT = np.vstack([np.vander(points, 4, increasing=True), infinity[:, -4:]]).T
    BT = np.vstack([*(np.append(np.poly(rest)[::-1], 0) for rest in others),
                    np.poly(points)[::-1]])
    return BT, G, AT


# --- M X M^T for a vector of matrices X, in LLVM's language (see `simd`) --------------------------
sandwich = _Call("sandwich", 7, """Y = start + M X M^T, in every lane.

    sandwich(address, (x, x_row, x_column, y, y_row, y_column, start)), distances in elements:
    X[i, j] is a vector at x + i x_row + j x_column, Y[i, j] one at y + ..., start is one vector.
    """)


@functools.cache
def transforms(lanes):
    """(addresses of the sandwiches with B^T, G, A^T, what keeps them alive)."""
    names = "image", "filter", "result"
    text = "\n".join([*map(functools.partial(sandwich_text, lanes), names, matrices()),
                      f"declare <{lanes} x float> @llvm.fma.v{lanes}f32"
                      f"({', '.join([f'<{lanes} x float>'] * 3)})", ""])
    engine = _load(text, f"winograd{lanes}")
    return tuple(engine.get_function_address(name) for name in names), engine


def sandwich_text(L, name, M) -> str:
    """The function `name` for the matrix M: columns first, then rows."""
    (rows, columns), V = M.shape, f"<{L} x float>"
    lines = [f"define void @{name}(ptr %x, i64 %x_row, i64 %x_column, ptr %y, i64 %y_row, "
             "i64 %y_column, ptr %start) {", f"  %s = load {V}, ptr %start, align 4"]
    for j in range(columns):
        lines += [line for i in range(columns) for line in _place("x", i, j)]
        lines += [f"  %x{i}_{j} = load {V}, ptr %x.at{i}_{j}, align 4" for i in range(columns)]
        for r in range(rows):
            lines += _combination(L, f"%z{r}_{j}", M[r], [f"%x{i}_{j}" for i in range(columns)])
    for r in range(rows):
        for c in range(rows):
            lines += _combination(L, f"%sum{r}_{c}", M[c], [f"%z{r}_{j}" for j in range(columns)])
            lines += [*_place("y", r, c), f"  %y{r}_{c} = fadd {V} %sum{r}_{c}, %s",
                      f"  store {V} %y{r}_{c}, ptr %y.at{r}_{c}, align 4"]
    return "\n".join([*lines, "  ret void", "}"])


def _place(name, i, j):
    """The address of element i, j of the matrix x or y."""
    u = f"{i}_{j}"
    return [f"  %{name}.i{u} = mul i64 %{name}_row, {i}",
            f"  %{name}.j{u} = mul i64 %{name}_column, {j}",
            f"  %{name}.far{u} = add i64 %{name}.i{u}, %{name}.j{u}",
            f"  %{name}.at{u} = getelementptr float, ptr %{name}, i64 %{name}.far{u}"]


def _combination(L, name, numbers, vectors):
    """`name` = sum of numbers[k] vectors[k], by fused multiply-adds; zeros are left out."""
    V, terms = f"<{L} x float>", [(n, v) for n, v in zip(numbers, vectors) if n]
    before = "zeroinitializer"
    for k, (number, vector) in enumerate(terms):
        after = name if k == len(terms) - 1 else f"{name}.{k}"
        yield (f"  {after} = call {V} @llvm.fma.v{L}f32({V} {vector}, {V} {_constant(L, number)}, "
               f"{V} {before})")
        before = after


def _constant(L, number):
    """A vector of equal numbers; LLVM wants a float's bits as those of the equal double."""
    bits = np.float64(np.float32(number)).view(np.uint64)
    return "<" + ", ".join([f"float 0x{bits:016X}"] * L) + ">"


# --- when, and how it is dealt --------------------------------------------------------------------
def applies(x, w, bias, S, T, P, Q, D, E, G, y) -> bool:
    """Whether the method computes this convolution, or its transpose, at all."""
    return (w.shape[2:] == (3, 3) and (S, T, D, E, G) == (1, 1, 1, 1, 1) and x.dtype == np.float32
            and min(x.size, w.size, y.size) > 0 and tiles() is not None)


def pays(*args) -> bool:
    """Whether it is faster than the plain tile: see the figures above."""
    if not applies(*args):
        return False
    x, (O, C), (A, B) = args[0], args[1].shape[:2], args[-1].shape[2:]
    tiles_of_an_image = -(-A // SIDE) * -(-B // SIDE)
    return (min(O, C) >= 16 and O * C >= 1024 and len(x) * tiles_of_an_image >= 48
            and A * B >= 10 * tiles_of_an_image)


def where_it_applies(method, usual):
    """The rung `cpu_winograd`: `method`, and where that does not apply the `usual` rung."""
    return lambda *args: (method if applies(*args) else usual)(*args)


def conv2d(x, w, bias, S, T, P, Q, D, E, G, y):
    """conv2d_kernel: output a of a row meets the inputs a - Q to a - Q + 2."""
    _winograd(False, x, w, bias, -P, -Q, y)


def conv_transpose2d(y, w, bias, S, T, P, Q, D, E, G, x):
    """conv_transpose2d_kernel: conv2d with the filter turned round; v meets v + Q - 2 to v + Q."""
    _winograd(True, y, w, bias, P - 2, Q - 2, x)


def _winograd(transposed, x, w, bias, top, left, y):
    (N, C, _, _), (_, F, A, B) = x.shape, y.shape
    t, workers, down, across = tiles(), threads(), -(-A // SIDE), -(-B // SIDE)
    L, address = t.lanes, transforms(t.lanes)[0]
    Z, O = -(-C // L) * L, -(-F // L) * L                    # channels, filters in whole vectors
    strips, tasks, most = _tasks(N, down, across, PRODUCTS * (Z + O), workers)
    width = SIDE * -(-across // strips) + 2
    sizes = strips, tasks, width, _spread(most * Z), _spread(most * O), _divisor(C)
    room = 6 * width * Z + PRODUCTS * (sizes[3] + sizes[4]) + (SIDE * width + 3) * L + O
    winograd(x, w.reshape(-1), bias, y, transposed, top, left, sizes, t.table,
             (t.turn, *address, L), scratch("filters", (9 * C * O,)),
             scratch("values", (PRODUCTS * C * O,)), scratch("rooms", (workers, _spread(room))))


def _tasks(N, down, across, floats, workers):
    """(strips of an image, tasks, the most tiles in a task) if a tile takes so many floats."""
    most = max(LEAST, ROOM // floats)
    strips = -(-across // most)
    wide, lines = -(-across // strips), N * strips * down
    tasks = -(-lines // max(1, most // wide))
    tasks = min(lines, -(-tasks // workers) * workers)       # every thread gets as many
    return strips, tasks, -(-lines // tasks) * wide


def _spread(floats):
    """At least `floats`, an odd number of cache lines: see conv2d_fast."""
    return (-(-floats // 16) | 1) * 16


def _divisor(C):
    """How many channels the tile takes as its inner loop: the largest divisor of C up to 64."""
    return max(k for k in range(1, 65) if C % k == 0)


# --- the compiled code ----------------------------------------------------------------------------
@jit(parallel=True)
def winograd(x, w, bias, y, transposed, top, left, sizes, table, machine, filters, values, rooms):
    """Transform the filters, then deal the tasks to the threads.

    `machine`: addresses of `turn` and of the sandwiches with B^T, G and A^T; the lanes.
    """
    L = machine[-1]
    for k in prange((y.shape[1] + L - 1) // L):
        filter_values(w, filters, values, np.int64(k), x.shape[1], y.shape[1], transposed, machine)
    for k in prange(len(rooms)):
        winograd_share(x, bias, y, top, left, sizes, table, machine, values, rooms[k],
                       np.int64(k), len(rooms))


@jit(allocates=True)
def filter_values(w, filters, values, k, C, F, transposed, machine):
    """values[tile of 2 L filters][e][c][lane] = G g G^T, for L filters side by side."""
    turning, _, G, _, L = machine
    pack(turning, L, w.ctypes.data, k * L, C, F, 9, transposed, filters.ctypes.data)
    tile, lane = k // 2 * 2 * L, k % 2 * L
    lanes = 2 * L if F - tile > L else L
    zeros = np.zeros(L, np.float32)
    first, step = (8, -lanes) if transposed else (0, lanes)  # the filter turned round
    for c in range(C):
        sandwich(G, (filters.ctypes.data + 4 * (9 * tile * C + (9 * c + first) * lanes + lane),
                     3 * step, step,
                     values.ctypes.data + 4 * (PRODUCTS * tile * C + c * lanes + lane),
                     6 * C * lanes, C * lanes, zeros.ctypes.data))


@jit
def winograd_share(x, bias, y, top, left, sizes, table, machine, values, room, worker, workers):
    """One thread's tasks."""
    (N, C, _, _), (_, F, A, B), L = x.shape, y.shape, machine[-1]
    strips, tasks, width, v_far, m_far, _ = sizes
    down, across = (A + 3) // 4, (B + 3) // 4
    Z, O = (C + L - 1) // L * L, (F + L - 1) // L * L
    lines = N * strips * down
    band, V = room, room[6 * width * Z:]
    M = V[PRODUCTS * v_far:]
    rest = M[PRODUCTS * m_far:]
    for task in range(worker * tasks // workers, (worker + 1) * tasks // workers):
        first, last, held = task * lines // tasks, (task + 1) * lines // tasks, 0
        for line in range(first, last):
            n, row, t0, t1 = place(line, down, across, strips)
            turn_band(x[n], top + 4 * row, left + 4 * t0, 4 * (t1 - t0) + 2,
                      line > first and row > 0, band, machine)
            image_values(band, V[held * Z:], v_far, t1 - t0, Z, machine)
            held += t1 - t0
        products(V, values, M, rest, held, C, F, sizes, table, L)
        held = 0
        for line in range(first, last):
            n, row, t0, t1 = place(line, down, across, strips)
            results(M[held * O:], m_far, bias, y[n], row, t0, t1, rest, machine)
            held += t1 - t0


@jit
def place(line, down, across, strips):
    """(image, row of tiles, first tile, last tile + 1) of a line."""
    n, strip, row = line // down // strips, line // down % strips, line % down
    return n, row, strip * across // strips, (strip + 1) * across // strips


@jit
def turn_band(x, top, left, width, follows, band, machine):
    """band[r, q][c] = x[c, top + r, left + q] (C, H, W), 0 outside, for 6 rows of `width` pixels.

    Where it follows on the band above, two rows are there already.
    """
    (C, H, W), turning, L = x.shape, machine[0], machine[-1]
    Z = (C + L - 1) // L * L
    row = width * Z
    lo, hi = min(width, max(0, -left)), max(0, min(width, W - left))
    if follows:
        for k in range(2 * row):
            band[k] = band[k + 4 * row]
    for r in range(2 if follows else 0, 6):
        if lo >= hi or not 0 <= top + r < H:
            band[r * row:(r + 1) * row] = 0
            continue
        band[r * row:r * row + lo * Z] = 0
        band[r * row + hi * Z:(r + 1) * row] = 0
        for c in range(0, C, L):
            for q in range(lo, hi, L):
                turn(turning, (x[c, top + r].ctypes.data + 4 * (left + q), H * W, min(L, C - c),
                               min(L, hi - q), band.ctypes.data + 4 * (r * row + q * Z + c), Z, L))


@jit(allocates=True)
def image_values(band, V, far, count, Z, machine):
    """V[e][tile][c] = B^T d B of `count` neighbouring tiles."""
    BT, L, row = machine[1], machine[-1], (4 * count + 2) * Z
    zeros = np.zeros(L, np.float32)
    for t in range(count):
        for c in range(0, Z, L):
            sandwich(BT, (band.ctypes.data + 4 * (4 * t * Z + c), row, Z,
                          V.ctypes.data + 4 * (t * Z + c), 6 * far, far, zeros.ctypes.data))


@jit
def tallest(table, how, vectors):
    """The rows of the largest tile."""
    rows = 1
    while rows < table.shape[2] - 1 and table[how, vectors - 1, rows + 1]:
        rows += 1
    return min(rows, 10)


@jit(allocates=True)
def products(V, values, M, zeros, count, C, F, sizes, table, L):
    """M[e][tile][f] = sum over c of V[e][tile][c] values[e][c][f], for `count` tiles."""
    _, _, _, v_far, m_far, taps = sizes
    Z, O, block = (C + L - 1) // L * L, (F + L - 1) // L * L, max(1, 256 // taps)
    zeros[:2 * L] = 0
    there, here = np.arange(taps), np.empty(taps, np.int64)
    for tile in range(0, F, 2 * L):
        vectors = 2 if F - tile > L else 1
        lanes, most = vectors * L, tallest(table, 0, vectors)
        pieces = (count + most - 1) // most
        for k in range(taps):
            here[k] = k * lanes
        for e in range(PRODUCTS):
            for piece in range(pieces):
                t0, t1 = piece * count // pieces, (piece + 1) * count // pieces
                to = M[e * m_far + t0 * O + tile:].ctypes.data
                multiply(table[0, vectors - 1, t1 - t0],
                         (V[e * v_far + t0 * Z:].ctypes.data, Z, taps, there.ctypes.data,
                          values.ctypes.data + 4 * C * (PRODUCTS * tile + e * lanes), taps * lanes,
                          here.ctypes.data, C // taps, taps, block,
                          zeros.ctypes.data, 0, to, O, lanes))


@jit
def results(M, far, bias, y, row, t0, t1, rest, machine):
    """y[f, 4 row + i, 4 t + j] = bias[f] + (A^T M A)[i, j], t from t0 to t1; y is (F, A, B)."""
    (F, A, B), (turning, _, _, AT, L) = y.shape, machine
    O, pixels = (F + L - 1) // L * L, 4 * (t1 - t0)
    there = min(pixels, B - 4 * t0)
    start, line = rest[:L], rest[L:]
    for f in range(0, F, L):
        here = min(L, F - f)
        for lane in range(L):
            start[lane] = bias[f + lane] if lane < here else 0
        for t in range(t1 - t0):
            sandwich(AT, (M[t * O + f:].ctypes.data, 6 * far, far, line[4 * t * L:].ctypes.data,
                          pixels * L, L, start.ctypes.data))
        for i in range(min(4, A - 4 * row)):
            for q in range(0, there, L):
                turn(turning, (line[(i * pixels + q) * L:].ctypes.data, L, min(L, pixels - q), here,
                               y[f, 4 * row + i].ctypes.data + 4 * (4 * t0 + q), A * B,
                               min(L, there - q)))
