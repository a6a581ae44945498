"""What a convolution on the register tile may know before it sees a number.

Sizes alone decide which kind of tile is fastest, how the work is cut into tasks, where in a task's
padded copy every tap of the window lies, and which taps fall on the image. All that is computed
here, in Python, once for every shape, and handed to the compiled code as a record of whole numbers
(`p.width`) and one table.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision.simd import DOTS, STEPS, tiles

BAND = 1 << 17                             # floats of a task's padded copy: half a megabyte
CHAIN = 256                                # terms of a sum before it is put aside
FLAT = 1 << 8                              # pixels of a map that 1 x 1 filters take as one row
LARGEST = 1 << 40                          # bytes of a task's padded copy that are worth a try
SERIAL = 1 << 19                           # products below which one thread is faster
TALL, WIDE = 0, 1                          # what a tile of conv2d is
ROLL, SLIDE = 2, 3                         # or what makes planes, see `conv2d_depthwise_fast`
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

    def on(self, image, outputs):
        """Only with the offsets by which some output pixel meets one of the image's.

        Of a 3 x 3 window with padding 1, a map of one row meets the middle row alone.

        Args:
            image: pixels of the image.
            outputs: per phase, the first of the outputs, and the one after the last.
        """
        S = self.stride
        kept = [[(o, k) for o, k in zip(offsets, windows)
                 if max(a, -(o // S)) <= min(end - 1, (image - 1 - o) // S)]
                for offsets, windows, (a, end) in zip(self.offsets, self.windows, outputs)]
        return Taps(self.phases, S, *(tuple(tuple(pair[side] for pair in phase) for phase in kept)
                                      for side in (0, 1)))

    def met(self, image, count):
        """How many of an image's pixels each of `count` outputs a phase meets, on average."""
        S, offsets = self.stride, [o for phase in self.offsets for o in phase]
        pairs = sum(max(0, min(count - 1, (image - 1 - o) // S) - max(0, -(o // S)) + 1)
                    for o in offsets)
        return pairs / (count * self.phases)


def forward_taps(K, S, P, D):
    """Of a convolution: output a meets a S + k D - P."""
    return Taps(1, S, (tuple(k * D - P for k in range(K)),), (tuple(range(K)),))


def transposed_taps(K, S, P, D, A):
    """Of its transpose: output a S + r meets a + (r + P - k D) / S, where that is a whole number.

    Of A outputs: where S is more, only a = 0 is there, and r < A.
    """
    phases = min(S, A)
    windows = tuple(tuple(k for k in range(K) if (r + P - k * D) % S == 0) for r in range(phases))
    offsets = tuple(tuple((r + P - k * D) // S for k in windows[r]) for r in range(phases))
    return Taps(phases, 1, offsets, windows)


def unstrided(stride, outputs):
    """The stride of each axis, 1 where it has a single output: there is no next one."""
    return tuple(1 if count == 1 else step for step, count in zip(stride, outputs))


# --- the plans ------------------------------------------------------------------------------------
class Plan:
    """Whole numbers and tables for the compiled code.

    Attributes:
        sizes: an array of one record of int64 numbers, among them where in the memory the tables
            begin (`p.places` ...) and the floats of scratch memory that each thread needs (`p.room`).
        rooms: the same of all threads.
        packed: floats of scratch memory for packed filters, or for a thread's sums.
        cycles: what it will take, as estimated.
        kind, how: what the tiles are.
    """

    def __init__(self, numbers, tables, packed, cycles=None):
        lengths = np.cumsum([0, *map(np.size, tables.values())])
        self.table = np.concatenate([np.ravel(t) for t in tables.values()]).astype(np.int64)
        begin = self.table.ctypes.data + 8 * lengths
        numbers = {**numbers, **dict(zip(tables, begin.tolist()))}
        self.sizes = np.array([tuple(numbers.get(name, 0) for name in SIZES.names)], SIZES)
        self.address, self.packed, self.cycles = self.sizes.ctypes.data, packed, cycles
        self.workers, self.rooms = numbers["workers"], numbers["workers"] * numbers["room"]
        self.kind, self.how = numbers.get("kind"), numbers.get("how")


SIZES = np.dtype([(name, np.int64) for name in """
    N G C F H W A B rows shares bands images workers S T skip comb layers parts deep part width plane
    top left reach room far bare most whole L turn copy gather weave tiles
    M K kind flat along direct blocks masks block start line pitch window taps starts transposed w_row w_step places
    windows lanes cuts clip clips
    I J how pixels sums shared length others a_row k_row other_k along_j turns here there runs
    down across dots""".split()])


def geometry(N, G, C, image, grid, down, across, apart, workers, band=BAND):
    """The padded copies: rows and columns of a task's images as its outputs need them.

    Output (a, b) of the grid meets, in the copy, the places  a S width + b T + place(tap). With
    `apart`, rows (and columns) that the stride does not reach from one another lie in planes of
    their own, so that neighbouring outputs read neighbouring floats: S and T become 1.

    Returns:
        (numbers, place): for the record, and the function from a tap's offsets to its place.
    """
    rows, columns = grid
    skip, comb = (axis.stride if one else 1 for axis, one in zip((down, across), apart))
    S, T = down.stride // skip, across.stride // comb
    layers, parts = min(skip, down.reach + 1), min(comb, across.reach + 1)
    width = (columns - 1) * T + across.reach // comb + 1
    shares, bands = _tasks(N, G, rows, C * layers * parts * width * S, workers, band)
    deep = (-(-rows // bands) - 1) * S + down.reach // skip + 1
    part = deep * width
    plane = spread(layers * parts * part)
    if 4 * C * plane > LARGEST:
        raise MemoryError(f"conv2d: a padded copy of {C} channels of {plane} numbers needs "
                          f"{4 * C * plane} bytes: the padding or the dilation is too large")
    numbers = dict(
        N=N, G=G, C=C, H=image[0], W=image[1], rows=rows, shares=shares, bands=bands,
        images=-(-N // shares), workers=min(workers, G * shares * bands), S=S, T=T, skip=skip,
        comb=comb, layers=layers, parts=parts, deep=deep, part=part, width=width,
        plane=plane, top=down.first, left=across.first,
        reach=down.reach // skip, bare=0, far=C * plane)

    def place(y, x):
        y, x = y - down.first, x - across.first
        return (y % skip * parts + x % comb) * part + y // skip * width + x // comb
    return numbers, place


def _tasks(N, G, rows, floats_a_row, workers, band):
    """(shares of the images, bands of an image): each fits the cache, and threads get as many."""
    bands = max(1, -(-rows * floats_a_row // band))
    shares = N if bands > 1 else -(-N // max(1, band // max(1, rows * floats_a_row)))
    while G * shares * bands % workers and shares < N:
        shares += 1
    while G * shares * bands % workers and bands < rows:
        bands += 1
    return shares, min(bands, rows)


def spread(floats):
    """At least `floats`, an odd number of cache lines: channels then fall on different lines."""
    return (-(-floats // 16) | 1) * 16


def machine(t, comb, lines=1):
    """Where the machine code is, for copies whose columns come from `comb` apart."""
    return dict(L=t.lanes, turn=t.turn, copy=t.copy, gather=t.gather(comb),
                weave=t.weaves.get(lines, 0))


def correlation(transposed, x, w, y, stride, padding, dilation, G, lanes, workers):
    """The Plan of conv2d, or of its transpose, for arrays of these shapes; of its own bias."""
    if (w[2:], stride, padding, x[2:]) == ((1, 1), (1, 1), (0, 0), y[2:]) and x[2] * x[3] <= FLAT:
        x, y = ((*shape[:2], 1, shape[2] * shape[3]) for shape in (x, y))    # a map is one row
    t, (N, O, A, B), C, window = tiles(), y, x[1] // G, w[2:]
    F, axes = O // G, tuple(zip(window, stride, padding, dilation))
    down, across = (transposed_taps(*a, size) if transposed else forward_taps(*a)
                    for a, size in zip(axes, (A, B)))
    M, K = down.phases, across.phases
    grid = -(-A // M), -(-B // K)
    down, across = (axis.on(size, [(0, count)] * axis.phases)
                    for axis, size, count in zip((down, across), x[2:], grid))
    workers = workers if N * O * A * B * C * window[0] * window[1] >= SERIAL * M * K else 1
    (kind, flat, along), cycles = shape_of_tiles(
        N, C, F, *grid, x[2], down, across, window[0] * window[1], t.lanes)
    apart = [axis.stride > 1 and (kind == WIDE or axis.reach == 0) for axis in (down, across)]
    numbers, place = geometry(N, G, C, x[2:], grid, down, across, apart, workers)
    cuts = [across.on(x[3], outputs) for outputs in cuts_of_row(kind, along, B, K, t.rows[1])]
    cut, clip, offsets, windows = clipped(down, cuts, place, window[1], grid[0], x[2], flat)
    L, most, size = t.lanes, t.rows[1], window[0] * window[1]
    block = 2 * L if kind == TALL else -(-F // -(-F // most))
    numbers.update(
        F=F, A=A, B=B, M=M, K=K, kind=kind, flat=flat, along=along, block=block, window=size,
        taps=len(offsets), clips=clip[0].size, whole=-(-F // L) * L, transposed=transposed,
        most=most,
        w_row=size * (1 if transposed else C), w_step=size * (F if transposed else 1),
        **machine(t, numbers["comb"], K))
    numbers.update(_lines(numbers, grid, _as_it_lies(x, grid, down, across)))
    tables = dict(places=offsets, windows=windows,
                  lanes=[w * L for w in windows] + [w * 2 * L for w in windows],
                  cuts=cut, clip=clip, tiles=t.table)
    return Plan(numbers, tables, G * numbers["whole"] * (1 + C * size), cycles * G * M * K)


def _lines(p, grid, as_it_lies):
    """What is written where: straight into y (`direct`), or into lines of the thread's own memory.

    Tiles may read and write beyond a run only in that memory; so only where they do not, images are
    read where they lie (`bare`).
    """
    L, rows = p["L"], p["rows"] // p["bands"]                # of a band, or one more
    shortest, longest = (((rows + more - 1) * p["width"] + grid[1] for more in (0, 1)) if p["flat"]
                         else (p["images"],) * 2 if p["along"] else grid[1:] * 2)
    counts = p["block"], (p["F"] - 1) % p["block"] + 1
    direct = p["K"] == 1 and not p["along"] and (p["kind"] == TALL or (
        not p["flat"] or p["width"] == p["B"]) and all(fits(shortest, n, L) for n in counts))
    bare = as_it_lies and (direct or p["kind"] == TALL)
    start = 0 if bare else spread(p["images"] * p["C"] * p["plane"] + 8 * L)
    line, pitch = start + 2 * L * max(p["most"], 4), spread(longest + 8 * L)
    lines = dict(direct=direct, start=start, line=line, pitch=pitch,
                 room=spread(line + p["block"] * p["K"] * pitch + 8 * L))
    if bare:
        lines.update(bare=1, plane=p["H"] * p["W"], far=p["G"] * p["C"] * p["H"] * p["W"])
    return lines


def _as_it_lies(x, grid, down, across):
    """Whether an image is its own padded copy: of a 1x1 convolution, where no tile reaches beyond."""
    return grid == x[2:] and (down.stride, across.stride, down.reach, across.reach, down.first,
                              across.first) == (1, 1, 0, 0, 0, 0)


def cuts_of_row(kind, along, B, K, most):
    """Per tile of a row, and phase: the first pixel that it makes, and the one after the last."""
    lengths = [(B - s + K - 1) // K for s in range(K)]
    if kind == WIDE:
        return [[(0, length) for length in lengths]]
    if along:                                                # tiles of one pixel of many images
        return [[(b, b + 1)] * K for b in range(lengths[0])]
    counts = [-(-length // most) for length in lengths]
    return [[(q * length // count, (q + 1) * length // count)
             for length, count in zip(lengths, counts)] for q in range(counts[0])]


def clipped(down, cuts, place, J, rows, H, flat):
    """The taps of every tile of a row that are on the image: with a dilation, often a part.

    Of rows in one run (`flat`) all taps are: the padded copy has zeros for them.

    Returns:
        (which of the clips each tile has, the different clips (see `_clip`), then for all of them
        together the place of each tap, and its position in the filter).
    """
    different, clips, places, windows = {cut.windows: cut for cut in cuts}, [], [], []
    for cut in different.values():
        first, here, positions = tables_of(down, cut, place, J)
        first = {phase: tap + len(places) for phase, tap in first.items()}
        clips.append(_clip(down, cut, first, 1 if flat else rows, H, flat))
        places, windows = places + here, windows + positions
    number = {taps: k for k, taps in enumerate(different)}
    return [number[cut.windows] for cut in cuts], np.array(clips), places, windows


def tables_of(down, across, place, J):
    """(the first tap of each phase, then per tap its place, and its position in the filter)."""
    first, places, windows = {}, [], []
    for r in range(down.phases):
        for s in range(across.phases):
            first[r, s] = len(places)
            for y, i in zip(down.offsets[r], down.windows[r]):
                for x, j in zip(across.offsets[s], across.windows[s]):
                    places.append(place(y, x))
                    windows.append(i * J + j)
    return first, places, windows


def _clip(down, across, first, rows, H, flat):
    """(rows, M, K, 2): of every row and phase the first tap on the image, and how many there are."""
    clip = np.zeros((rows, down.phases, across.phases, 2), np.int64)
    for (r, s), tap in first.items():
        offsets, columns = np.array(down.offsets[r], np.int64), len(across.offsets[s])
        hit = np.arange(rows)[:, None] * down.stride + offsets
        inside = (hit >= 0) & (hit < H) | bool(flat)         # one stretch of taps
        clip[:, r, s, 0] = tap + (inside.argmax(1) if len(offsets) else 0) * columns
        clip[:, r, s, 1] = inside.sum(1) * columns
    return clip


NEAR = 6144                # floats of filters that stay in the nearest cache; of more, each line of
FETCH = 2                  # 16 costs every wide run that many cycles
RELUCTANCE = 1.2           # tall tiles must save that much where a call takes less than it takes
LARGE = 1 << 28            # to compile them: below so many products; small networks need none then


def shape_of_tiles(N, C, F, A, B, H, down, across, window, L):
    """TALL or WIDE, flat, along: what keeps the vector unit busiest, by estimated cycles a phase.

    Of N images of H rows with C channels and F filters of `window` numbers a channel, maps of A x B
    pixels a phase. A tall tile has up to 10 pixels of a row, or images (`along`), and two vectors
    of filters, packed as it reads them; a wide one some filters, read where they lie, and vectors
    of pixels, of a row or of all rows together with what lies between them (`flat`).

    Returns:
        (those three, the cycles).
    """
    K, columns = across.phases, sum(map(len, across.offsets)) / across.phases
    lines = C * down.met(H, A)
    steps = lines * columns

    def tall(length, runs):
        pieces = -(-length // 10)
        return runs * pieces * sum(
            steps * cycles_of(length / pieces, vectors) + 35 * vectors + 2 * lines
            for vectors in (2 if F - f > L else 1 for f in range(0, F, 2 * L)))

    blocks = -(-F // 10)
    rows = -(-F // blocks)
    fetched = rows * C * window

    def wide(length, runs, steps, contiguous):
        cycles = sum(steps * cycles_of(rows, vectors, vectors) + 15 + rows * vectors
                     for vectors in pieces(length, rows, L))
        stored = 0 if contiguous and fits(length, rows, L) else 10 + 2 * rows * length / L
        return runs * blocks * (cycles + stored + (0 if fetched < NEAR else FETCH * fetched / 16))
    gap, parts = across.reach // across.stride, min(across.stride, across.reach + 1)
    width = B + gap
    gathered = N * C * A * min(down.stride, down.reach + 1) * parts * width * (
        0 if across.stride == 1 else 0.25 if across.stride <= STEPS[-1] else 1)
    costs = {(TALL, 0, 0): tall(B, A * N), (WIDE, 0, 0): wide(B, A * N, steps, K == 1) + gathered}
    if N > B:
        costs[TALL, 0, 1] = tall(N, A * B) + 2 * F * A * B * N
    if down.phases == 1 and gap < 8 * B + L:
        every = C * len(down.offsets[0]) * columns
        sorted_out = 0 if K == 1 and width == B else N * F * (15 + A * (3 + 2 * B / L))
        costs[WIDE, 1, 0] = wide((A - 1) * width + B, N, every, not sorted_out
                                 ) + gathered + sorted_out
    worth = 1 if N * F * A * B * steps * down.phases * K >= LARGE else RELUCTANCE
    best = min(costs, key=lambda shape: costs[shape] * (worth if shape[0] == TALL else 1))
    return best, costs[best]


def cycles_of(rows, vectors, uneven=0):
    """Of one step of a tile: sums wait for themselves; two are made in a cycle; two loads, too, but
    an `uneven` vector, which begins anywhere, lies in two lines of the cache."""
    return max(4.2, rows * vectors / 2, (rows + vectors + uneven) * 0.55)


def pieces(length, count, L):
    """The vectors of the wide tiles of `count` filters, one after the other, for a run of pixels."""
    done = 0
    while done < length:
        vectors = {1: 8, 2: 4}.get(count, 2)
        while vectors > 1 and length - done <= vectors // 2 * L:
            vectors //= 2
        yield vectors
        done += vectors * L


def fits(length, count, L):
    """Whether every tile may be moved back to end with the run."""
    return all(vectors * L <= length for vectors in pieces(length, count, L))


def weight_gradient(x, w, y, stride, padding, dilation, G, lanes, workers):
    """The Plan of the weight gradient for arrays of these shapes."""
    t, (N, _, A, B), C, F, (I, J) = tiles(), y, x[1] // G, y[1] // G, w[2:]
    axes = tuple(zip((I, J), stride, padding, dilation))
    down, across = (forward_taps(*a) for a in axes)
    L, E = t.lanes, dilation[1]
    workers = workers if N * F * G * C * A * B * I * J >= SERIAL else 1
    how = shape_of_sums(C, F, I, J, A, B, across.stride, L)
    apart = [axis.stride > 1 and (how == DOTTED or axis.reach == 0) for axis in (down, across)]
    numbers, place = geometry(N, G, C, x[2:], (A, B), down, across, apart, workers)
    T, width, plane = numbers["T"], numbers["width"], numbers["plane"]
    by_channel = how == BY_CHANNEL
    whole = -(-(C if by_channel else F) // L) * L
    room = spread(numbers["images"] * C * plane + 2 * L)
    sums, tiles_of_filters = I * J * whole * (F if by_channel else C), -(-F // (2 * L))
    fair = tiles_of_filters % workers == 0 if how == BY_FILTER else F >= t.rows[1] * workers
    shared = how != DOTTED and fair and sums > N * C * plane
    packed = numbers["images"] * whole * (plane if by_channel else -(-A // numbers["bands"]) * B)
    along_j = C < 4 and J > C and not apart[1]                  # the longer axis makes taller tiles
    numbers.update(
        F=F, A=A, B=B, I=I, J=J, how=how, most=t.rows[1], whole=whole, pixels=room,
        sums=sums, shared=shared, workers=workers if shared else numbers["workers"],
        block=max(1, CHAIN // B), length=J if along_j else C, others=C if along_j else J,
        a_row=E if along_j else plane, k_row=1 if along_j else I * J,
        other_k=I * J if along_j else 1, along_j=along_j, **machine(t, numbers["comb"]))
    step, pixels = (T, 1) if not by_channel else (1, T)
    runs = _runs(J, E, place, down, across)
    tables = dict(here=[b * m * pixels for m in (L, 2 * L) for b in range(B)],
                  there=[b * step for b in range(B)], runs=runs, down=[
                      place(o, across.first) for o in down.offsets[0]],
                  across=[place(down.first, o) for o in across.offsets[0]],
                  tiles=t.table, dots=t.dots)
    numbers.update(turns=len(runs), room=spread(room + packed + 2 * L))
    return Plan(numbers, tables, G * sums * (1 if shared else numbers["workers"]))


def _runs(J, E, place, down, across):
    """Columns of the window whose places are equally far apart, at most `DOTS`: see `dots`.

    Returns:
        Per run (the first column j, the step to the next, how many, the first place, the step).
    """
    runs, comb = [], across.stride
    where = [place(down.first, o) for o in across.offsets[0]]
    step = comb // np.gcd(E, comb)                           # columns j whose remainder is the same
    if len(where) > 1 and where[1] - where[0] == E:          # not apart: all of them
        step = 1
    for first in range(min(step, J)):
        for j in range(first, J, step * DOTS):
            count = min(DOTS, -(-(J - j) // step))
            far = where[j + step] - where[j] if count > 1 else 0
            runs.append((j, step, count, where[j], far))
    return runs


def shape_of_sums(C, F, I, J, rows, B, T, L):
    """BY_FILTER, BY_CHANNEL or DOTTED: estimated cycles for `rows` rows of B pixels."""
    length, others = (J, C) if C < 4 and J > C else (C, J)
    steps, plane = rows * B, rows * B * T

    def tiles(lanes, rows):
        vectors, groups = min(2, -(-lanes // L)), -(-rows // 10)
        high = rows / groups
        return -(-lanes // (2 * L)) * groups * (
            steps * cycles_of(high, vectors) + 60)
    cycles = {BY_FILTER: tiles(F, length) * others * I + F * steps / 4,
              BY_CHANNEL: tiles(C, F) * I * J + C * plane / 4,
              DOTTED: C * F * I * (rows * (-(-B // L) * (J + 1) + 3) + 8 * J + 20)
              + C * plane / 4 * (T > 1)}
    return min(cycles, key=cycles.get)
