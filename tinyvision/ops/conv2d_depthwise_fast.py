"""Depthwise convolutions: every channel has filters of its own, and nothing is summed over channels.

There is too little arithmetic for the register tile (see `simd`): one pass over the image has to do.
So a function of machine code makes all rows of a plane, some vectors of columns at a time:

- **roll**, for 3x3, 5x5 and 7x7 with stride 1, reads the image where it lies, once. An input row
  meets K output rows, each with its row of the filter: K rows of sums are kept in registers, and
  after every input row one of them is finished, stored, and begun anew:

      sums[i] = sums[i - 1] + (row i of the filter) * (this row of the image)

  Rows beyond the image are left out. Columns beyond it are left out by masks, of which only the
  first and the last vector of a run have need.
- **match** makes the gradient of 3x3 and 5x5 weights the same way: K rows of y are kept instead,
  and a vector of sums for every weight.
- **slide**, for all other windows, strides and dilations, is one sum of all taps after the other,
  read from a padded copy that stays in the nearest cache; of narrow maps, all rows are one run. A
  transposed convolution with stride S makes the S x S images of `conv2d_fast`, one by one.
"""
from __future__ import annotations

from tinyvision.kernel import jit, scratch_address
from tinyvision.ops.conv2d_plan import (ROLL, SERIAL, SLIDE, Plan, forward_taps, geometry, machine,
                                        spread, tables_of, transposed_taps)
from tinyvision.ops.conv2d_tasks import copy_band, in_turn, sizes_at, task_of
from tinyvision.simd import copy, tiles
from tinyvision.simd_planes import match, planes, roll, slide
from tinyvision.worker import address, floats, longs, worker

NEAR = 1 << 13                             # floats of a padded plane: the nearest cache has more
EACH = 4                                   # bands for a thread, so that none waits long for others
TOGETHER = 4                               # vectors that `slide` makes at a time where it can
APART = 12                                 # sums of vectors in whose time a row is copied
FILTERS = 4                                # of a channel, beyond which the tile slides faster


def depthwise(p, x, w, bias, y):
    """y = bias + x * w, or with w transposed, by a `plan`."""
    run, room = roll_share if p.kind == ROLL else slide_share, scratch_address("rooms", p.rooms)
    run(p.workers, p.address, address(x), address(w), address(bias), address(y), room)


def depthwise_weight(p, x, y, w):
    """w = sum of y and the shifts of x, by a `weight_plan`."""
    match_share(p.workers, p.address, address(x), address(y), address(w))


# --- the plans ------------------------------------------------------------------------------------
def plan(transposed, x, w, y, stride, padding, dilation, G, lanes, workers):
    """The Plan for arrays of these shapes; None where the tile is better."""
    axes = tuple(zip(w[2:], stride, padding, dilation))
    down, across = (transposed_taps(*a, size) if transposed else forward_taps(*a)
                    for a, size in zip(axes, y[2:]))
    sizes = _sizes(x, w, y, G, lanes, transposed=transposed)
    kind = "roll", w[2]
    if rolls(kind, x, w, y, down, across, lanes):
        return _rolling(kind, sizes, down, across, _busy(sizes, workers))
    return _sliding(sizes, down, across, _busy(sizes, workers)) if sizes["F"] <= FILTERS else None


def weight_plan(x, w, y, stride, padding, dilation, G, lanes, workers):
    """The Plan of the weight gradient; None where `match` cannot."""
    axes = tuple(zip(w[2:], stride, padding, dilation))
    down, across = (forward_taps(*a) for a in axes)
    sizes, kind = _sizes(x, w, y, G, lanes), ("match", w[2])
    workers = _busy(sizes, workers)
    if w[0] < workers or not rolls(kind, x, w, y, down, across, lanes):
        return None
    return _rolling(kind, sizes, down, across, workers)


def _sizes(x, w, y, G, L, **more):
    return dict(N=x[0], G=G, F=y[1] // G, H=x[2], W=x[3], A=y[2], B=y[3], I=w[2], J=w[3],
                window=w[2] * w[3], L=L, **more)


def _busy(p, workers):
    """One thread is faster where there is little to do."""
    return workers if p["N"] * p["G"] * p["F"] * p["A"] * p["B"] * p["window"] >= SERIAL else 1


def _rolling(kind, p, down, across, workers):
    """The Plan of `roll` and `match`."""
    most, B, tasks = planes().most[kind] * p["L"], p["B"], p["N"] * p["G"]
    bands = min(p["A"], -(-EACH * workers // tasks))
    masks = [masks_of(across, b, min(most, B - b), p["W"], p["L"], kind) for b in range(0, B, most)]
    numbers = {**p, "kind": ROLL, "top": down.first, "left": across.first, "bands": bands,
               "blocks": len(masks), "workers": min(workers, tasks * bands), "room": 0, "most": most}
    return Plan(numbers, dict(masks=masks, tiles=planes().tables[kind]), 0)


def _sliding(p, down, across, workers):
    """The Plan of `slide`: the copy, the taps of each phase, and lines for its columns."""
    (M, K), L = (down.phases, across.phases), p["L"]
    grid = -(-p["A"] // M), -(-p["B"] // K)
    flat = in_one_run(grid[1], across, p["window"] // (M * K), M * K, L)
    apart = [axis.stride > 1 and (flat or axis is across or axis.reach == 0)
             for axis in (down, across)]
    sizes, place = geometry(p["N"], p["G"], 1, (p["H"], p["W"]), grid, down, across, apart, workers,
                            NEAR)
    first, offsets, windows = tables_of(down, across, place, p["J"])
    direct = K == 1 and (not flat or M == 1 and sizes["width"] == p["B"])
    line, rows = spread(sizes["plane"] + 8 * L), -(-grid[0] // sizes["bands"])
    pitch = sizes["width"] if flat else spread(grid[1] + 2 * L)
    numbers = {**p, **sizes, **machine(tiles(), sizes["comb"], K), "kind": SLIDE, "M": M, "K": K,
               "line": line, "pitch": pitch, "most": planes().most["slide", 1] * L, "flat": flat,
               "direct": direct, "room": spread(line + (not direct) * K * rows * pitch + 2 * L)}
    return Plan(numbers, dict(
        places=offsets, windows=windows, starts=[*first.values(), len(offsets)],
        tiles=[planes().tables["slide", 1], planes().tables["slide", TOGETHER]]), 0)


def in_one_run(columns, across, taps, phases, L):
    """Whether all rows are better made as one run of floats, with what lies between them.

    Rows of 17 columns are 2 vectors of 16 lanes each; in one run they are little more than 1. Then
    they are copied to where they belong; but where nothing lies between, they are there already.
    """
    width = columns + across.reach // across.stride
    there = width == columns and phases == 1
    return taps * (-(-columns // L) - width / L) > (0 if there else APART)


def rolls(kind, x, w, y, down, across, L):
    """Whether there is code for it: no stride or dilation, and masks for outer vectors will do."""
    K, most = w[2], planes().most.get(kind, 0) * L
    if not most or (down.stride, across.stride, down.phases, across.phases) != (1, 1, 1, 1) or (
            down.reach, across.reach, w[3]) != (K - 1, K - 1, K):
        return False
    return all(inner_is_inside(across, b, min(most, y[3] - b), x[3], L)
               for b in range(0, y[3], most))


def inner_is_inside(across, b, count, W, L):
    """Whether all vectors of a run but the first and the last find their columns on the image."""
    inner, first = (-(-count // L) - 2) * L, b + L + across.first
    return inner <= 0 or (first >= 0 and first + inner - 1 + across.reach < W)


def masks_of(across, b, count, W, L, kind):
    """Which lanes of a run's first and last vector are on the image, by the tap's column."""
    def bits(begin, lanes, j):
        return sum(1 << k for k in range(lanes) if 0 <= b + begin + across.first + j + k < W)
    last, lanes = (count - 1) // L * L, (count - 1) % L + 1
    if kind[0] == "roll":                                    # the last vector ends with the run
        last, lanes = max(0, count - L), L
    return [[bits(begin, here, j) for j in range(across.reach + 1)]
            for begin, here in ((0, L if last else lanes), (last, lanes))]


# --- what threads do ------------------------------------------------------------------------------
@worker
def roll_share(job, k):
    """One thread's bands of planes."""
    job = longs(job)
    p = sizes_at(job[0])
    tasks = p.N * p.G * p.bands
    for task in range(k * tasks // p.workers, (k + 1) * tasks // p.workers):
        plane, band = task // p.bands, task % p.bands
        a0, a1 = band * p.A // p.bands, (band + 1) * p.A // p.bands
        source = job[1] + 4 * ((plane * p.H + a0 + p.top) * p.W + p.left)
        for f in range(p.F):
            one, to = plane % p.G * p.F + f, plane * p.F + f
            roll_plane(p, source, a0 + p.top, job[2] + 4 * one * p.window, job[3] + 4 * one,
                       job[4] + 4 * (to * p.A + a0) * p.B, a1 - a0)


@jit
def roll_plane(p, source, top, w, bias, y, rows):
    """Rows of one plane of y, a run of columns after the other."""
    functions, start = longs(p.tiles), w + 4 * (p.window - 1 if p.transposed else 0)
    for block in range(p.blocks):
        b = block * p.most
        count = min(p.most, p.B - b)
        roll(functions[(count - 1) // p.L],
             (source + 4 * b, p.W, max(0, -top), p.H - top, start, -1 if p.transposed else 1,
              y + 4 * b, p.B, rows, count, bias, p.masks + 16 * p.J * block))


@worker
def match_share(job, k):
    """One thread's filters, each the sum over all images."""
    job = longs(job)
    p = sizes_at(job[0])
    functions, filters = longs(p.tiles), p.G * p.F
    for f in range(k * filters // p.workers, (k + 1) * filters // p.workers):
        w = job[3] + 4 * f * p.window
        for q in range(p.window):
            floats(w)[q] = 0
        for n in range(p.N):
            x = job[1] + 4 * (((n * p.G + f // p.F) * p.H + p.top) * p.W + p.left)
            y = job[2] + 4 * (n * filters + f) * p.A * p.B
            for block in range(p.blocks):
                b = block * p.most
                count = min(p.most, p.B - b)
                match(functions[(count - 1) // p.L],
                      (x + 4 * b, p.W, max(0, -p.top), p.H - p.top, y + 4 * b, p.B, p.A, count, w,
                       p.masks + 16 * p.J * block))


@worker
def slide_share(job, k):
    """One thread's bands of planes."""
    job = longs(job)
    p = sizes_at(job[0])
    tasks, room = p.G * p.shares * p.bands, job[5] + 4 * k * p.room
    for task in range(k * tasks // p.workers, (k + 1) * tasks // p.workers):
        g, first, images, a0, a1 = task_of(p, task)
        for n in range(first, first + images):
            copy_band(p, job[1] + 4 * (n * p.G + g) * p.H * p.W, 1, a0, a1, room)
            for f in range(g * p.F, (g + 1) * p.F):
                to = job[4] + 4 * ((n * p.G * p.F + f) * p.A + a0 * p.M) * p.B
                for r in range(p.M):                         # the rows a M + r of y
                    rows = (min(p.A, a1 * p.M) - a0 * p.M - r + p.M - 1) // p.M
                    slide_phase(p, room, r, job[2] + 4 * f * p.window, job[3] + 4 * f,
                                to + 4 * r * p.B, rows)


@jit
def slide_phase(p, room, r, w, bias, y, rows):
    """Every M-th row of one plane of y: straight into y, or each of K remainders into lines."""
    starts, line = longs(p.starts), room + 4 * p.line
    for s in range(p.K):
        tap, pixels = starts[r * p.K + s], (p.B - s + p.K - 1) // p.K
        taps, to, far = starts[r * p.K + s + 1] - tap, line + 4 * s * rows * p.pitch, p.pitch
        if p.direct:
            to, far = y, p.M * p.B
        if p.flat:
            slide_flat(p, room, tap, taps, w, bias, to, (rows - 1) * p.width + pixels)
        else:
            slide_runs(p, room, p.S * p.width, tap, taps, w, bias, to, far, rows, pixels)
    if p.K > 1:
        for a in range(rows):
            in_turn(p, line + 4 * a * p.pitch, rows * p.pitch, y + 4 * a * p.M * p.B)
    elif not p.direct:
        copy(p.copy, (line, p.pitch, 0, rows, 0, p.B, y, p.M * p.B, rows, p.B))


@jit
def slide_flat(p, room, tap, taps, w, bias, y, run):
    """All rows in one run: as rows of the most columns, and what is left."""
    rows, done = run // p.most, run // p.most * p.most
    slide_runs(p, room, p.most, tap, taps, w, bias, y, p.most, rows, p.most if rows else 0)
    slide_runs(p, room + 4 * done, 0, tap, taps, w, bias, y + 4 * done, 0, 1, run - done)


@jit
def slide_runs(p, x, x_row, tap, taps, w, bias, y, y_row, rows, columns):
    """Rows of y, a run of columns after the other."""
    functions, kinds = longs(p.tiles), p.most // p.L
    for b in range(0, columns, p.most):
        count = min(p.most, columns - b)
        vectors = (count + p.L - 1) // p.L
        slide(functions[vectors - 1 + (kinds if rows >= TOGETHER // vectors else 0)],
              (x + 4 * b * p.T, x_row, w, p.windows + 8 * tap, p.places + 8 * tap, taps,
               y + 4 * b, y_row, rows, count, bias))
