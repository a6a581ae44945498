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
results, vectors of filters, are turned back. The calls of a task are a program (see `program`);
tasks are dealt in a fixed order, so results are the same from run to run.

**Where it does not pay** (`pays`). Time by that of the plain tile, two AVX-512 cores:

    images, channels, map, filters        ratio   images, channels, map, filters        ratio
    8, 64, 56 x 56, 64                    0.41    1, 64, 16 x 16, 64 (16 tiles)         0.7
    8, 128, 28 x 28, 128                  0.35    1, 32, 14 x 14, 32 (16 tiles)         1.0
    1, 64, 56 x 56, 64                    0.4     4, 512, 8 x 8, 512 (16 tiles)         1.2
    8, 256, 14 x 14, 256                  0.45    6, 64, 9 x 9, 64 (half the tiles)     0.9
    1, 512, 28 x 28, 512                  0.55    8, 16, 32 x 32, 16                    1.0
    8, 64, 32 x 32, 16                    0.73    8, 3, 56 x 56, 64                     1.4

So: 48 tiles or more have to share the filters' transform, their outputs have to lie mostly on the
map, and there have to be at least 16 channels, 16 filters, and 1,024 pairs of them.
"""
from __future__ import annotations

import functools

import numpy as np

from tinyvision.kernel import as_usual, jit, scratch, threads
from tinyvision.ops.matmul_fast import DEPTH, OWN, cut, multiply_panels, tools
from tinyvision.ops.program import ROOM, Program, arrays, step
from tinyvision.ops.conv2d_plan import spread
from tinyvision.simd import _load, copy, tiles, turn
from tinyvision.worker import address, caller

POINTS = 0, 5 / 8, -5 / 8, 3 / 2, -3 / 2   # and infinity
SIDE, PRODUCTS = 4, 36                     # outputs along a tile's side; products for a tile
CACHE = 1 << 18                            # floats of V and M of a task: a megabyte
LEAST = 56                                 # tiles of a task, or the filters' values come too often
ZEROS = np.zeros(16, np.float32)           # a vector, on any machine


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
sandwich = caller("sandwich", 7, """Y = start + M X M^T, in every lane.

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
    def rung(*args):
        if applies(*args):
            return method(*args)
        as_usual()
        usual(*args)
    return rung


def conv2d(x, w, bias, S, T, P, Q, D, E, G, y):
    """conv2d_kernel: output a of a row meets the inputs a - Q to a - Q + 2."""
    _winograd(False, x, w, bias, -P, -Q, y)


def conv_transpose2d(y, w, bias, S, T, P, Q, D, E, G, x):
    """conv_transpose2d_kernel: conv2d with the filter turned round; v meets v + Q - 2 to v + Q."""
    _winograd(True, y, w, bias, P - 2, Q - 2, x)


def _winograd(transposed, x, w, bias, top, left, y):
    filters, images, size = plan(transposed, x.shape, y.shape, top, left, tiles(), threads())
    values = scratch("values", (size,))
    filters(w, values)
    images(x, values, bias, y)


@functools.lru_cache(64)
def plan(transposed, x, y, top, left, t, workers):
    """(program of the filters, of the images, floats of the filters' values) for these shapes.

    values[e][block of channels][2 L filters, in the end perhaps L][c][lane], as `multiply_panels`
    wants the factor on the right.
    """
    (N, C, _, _), (_, F, A, B), L = x, y, t.lanes
    down, across, Z, O = -(-A // SIDE), -(-B // SIDE), -(-C // L) * L, -(-F // L) * L
    strips, tasks, most = _tasks(N, down, across, PRODUCTS * (Z + O), workers)
    lines = [(n, row, first, count) for n in range(N) for first, count in cut(across, strips)
             for row in range(down)]
    width, v_far, m_far = SIDE * -(-across // strips) + 2, spread(most * Z), spread(most * O)
    room = 6 * width * Z + PRODUCTS * (v_far + m_far) + max(OWN, (SIDE * width + 3) * L)
    parts = [list(image_calls(lines[first:first + count], x, y, top, left, width, v_far, m_far, t))
             for first, count in cut(len(lines), tasks)]
    filters = [list(filter_calls(transposed, first, C, F, t)) for first in range(0, F, L)]
    return (Program(filters, [0] * 2, workers, 9 * L), Program(parts, [0] * 4, workers, room),
            PRODUCTS * spread(C * O))


def filter_calls(transposed, first, C, F, t):
    """values = G g G^T, for the filters from `first` on, L side by side."""
    (w, values), L = arrays(2), t.lanes
    O, panel, G = -(-F // L) * L, first // (2 * L) * 2 * L, transforms(L)[0][1]
    lanes, (row, channel) = min(2 * L, O - panel), (9, 9 * F) if transposed else (9 * C, 9)
    for c, depth in cut(C, -(-C // DEPTH)):
        yield filter_values(w + 4 * (first * row + c * channel), row, channel, depth,
                            min(L, F - first), transposed,
                            values + 4 * (c * O + panel * depth + first - panel), spread(C * O),
                            lanes, G, address(ZEROS), t.turn, L, ROOM)


def image_calls(lines, x_shape, y_shape, top, left, width, v_far, m_far, t):
    """All of a task: its lines are (image, row of tiles, first tile, number of tiles).

    V[e][tile][c] = B^T d B, M[e][tile][f] = sum over c of V[e][tile][c] values[e][c][f].
    """
    (x, values, bias, y), (_, C, H, W), (_, F, A, B), L = arrays(4), x_shape, y_shape, t.lanes
    Z, O, (BT, _, AT) = -(-C // L) * L, -(-F // L) * L, transforms(L)[0]
    V = ROOM + 4 * 6 * width * Z
    M, rest, held = V + 4 * PRODUCTS * v_far, V + 4 * PRODUCTS * (v_far + m_far), 0
    for k, (n, row, first, count) in enumerate(lines):
        i, j, long = top + SIDE * row, left + SIDE * first, SIDE * count + 2
        lo, hi = min(long, max(0, -j)), max(0, min(long, W - j))
        yield turn_band(x + 4 * ((n * C * H + i) * W + j), H * W, W, C, -i, H - i, lo, hi, long,
                        k > 0 and row > 0, ROOM, t.turn, t.copy, L)
        yield image_values(ROOM, long * Z, V + 4 * held * Z, v_far, count, Z, BT, address(ZEROS), L)
        held += count
    for e in range(PRODUCTS):
        for c, depth in cut(C, -(-C // DEPTH)):
            to, factor = M + 4 * e * m_far, values + 4 * (e * spread(C * O) + c * O)
            start, start_row = (to, O) if c else (0, 0)
            yield multiply_panels(V + 4 * (e * v_far + c), Z, 1, factor, start, start_row, to, O,
                                  held, O, depth, tools(t), rest)
    held = 0
    for n, row, first, count in lines:
        there = y + 4 * ((n * F * A + SIDE * row) * B + SIDE * first)
        yield results(M + 4 * held * O, m_far, bias, F, there, A * B, B, min(SIDE, A - SIDE * row),
                      min(SIDE * count, B - SIDE * first), AT, t.turn, t.copy, L, rest)
        held += count


def _tasks(N, down, across, floats, workers):
    """(strips of an image, tasks, the most tiles in a task) if a tile takes so many floats."""
    most = max(LEAST, CACHE // floats)
    strips = -(-across // most)
    wide, lines = -(-across // strips), N * strips * down
    tasks = -(-lines // max(1, most // wide))
    tasks = min(lines, -(-tasks // workers) * workers)       # every thread gets as many
    return strips, tasks, -(-lines // tasks) * wide


# --- the steps ------------------------------------------------------------------------------------
@step
def filter_values(w, row, channel, C, F, turned, to, far, lanes, G, zeros, turning, L, own):
    """to[e][c][lane] = G g G^T, for F filters, `row` numbers apart, of C channels."""
    first, tap = (8 * L, -L) if turned else (0, L)           # the filter turned round
    for c in range(C):
        for k in range(0, 9, L):
            turn(turning, (w + 4 * (c * channel + k), row, F, min(L, 9 - k), own + 4 * k * L, L, L))
        sandwich(G, (own + 4 * first, 3 * tap, tap, to + 4 * c * lanes, 6 * far, far, zeros))


@step
def turn_band(x, plane, W, C, top, bottom, lo, hi, width, follows, band, turning, copying, L):
    """band[r, q][c] = x[c, r, q] for 6 rows of `width` pixels; 0 outside of top <= r < bottom and
    lo <= q < hi. Where it follows on the band above, two rows are there already.
    """
    Z = (C + L - 1) // L * L
    row = 4 * width * Z
    if follows:
        copy(copying, (band + 4 * row, 0, 0, 1, 0, row // 2, band, 0, 1, row // 2))
    for r in range(2 if follows else 0, 6):
        to, last = band + r * row, hi if top <= r < bottom else lo
        clear(to, lo * Z, copying)
        clear(to + 4 * last * Z, (width - last) * Z, copying)
        for c in range(0, C, L):
            for q in range(lo, last, L):
                turn(turning, (x + 4 * (c * plane + r * W + q), plane, min(L, C - c),
                               min(L, last - q), to + 4 * (q * Z + c), Z, L))


@jit
def clear(to, count, copying):
    """So many zeros."""
    copy(copying, (to, 0, 0, 0, 0, 0, to, 0, 1, count))


@step
def image_values(band, row, V, far, count, Z, BT, zeros, L):
    """V[e][tile][c] = B^T d B of `count` neighbouring tiles."""
    for t in range(count):
        for c in range(0, Z, L):
            sandwich(BT, (band + 4 * (4 * t * Z + c), row, Z, V + 4 * (t * Z + c), 6 * far, far,
                          zeros))


@step
def results(M, far, bias, F, y, plane, B, rows, pixels, AT, turning, copying, L, own):
    """y[f, i, 4 t + j] = bias[f] + (A^T M A)[i, j], for so many rows i and `pixels` of a row."""
    line, wide, O = own + 4 * L, (pixels + 3) // 4 * 4, (F + L - 1) // L * L
    for f in range(0, F, L):
        copy(copying, (bias + 4 * f, 0, 0, 1, 0, min(L, F - f), own, 0, 1, L))
        for q in range(0, wide, 4):
            sandwich(AT, (M + 4 * (q // 4 * O + f), 6 * far, far, line + 4 * q * L, wide * L, L,
                          own))
        for i in range(rows):
            for q in range(0, pixels, L):
                turn(turning, (line + 4 * (i * wide + q) * L, L, min(L, wide - q), min(L, F - f),
                               y + 4 * (f * plane + i * B + q), plane, min(L, pixels - q)))
