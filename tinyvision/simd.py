'''The register tile: the one piece of machine code on which the fast convolutions stand.

A processor core multiplies and adds whole vectors: with AVX-512, 16 floats at once, two such
instructions a cycle. To keep both units busy, every cycle must find two vectors to add to whose
last sum is finished (a sum takes four cycles), and nothing that has to be fetched from far away.
The tile does that:

    C[m, n] = start[m, n] + sum over k of  A[m, k] B[k, n]        m < rows,  n < 2 vectors

Its rows x 2 sums stay in registers from the first k to the last. A step of k loads two vectors of
B, then for every row one number of A, copied to all lanes, and makes two fused multiply-adds: for
10 rows 12 loads feed 20 instructions of 32 operations each.

**Why 10 x 32.** AVX-512 has 32 registers. The sums of r rows take 2 r, the two vectors of B take 2,
and the compiler fetches all r numbers of A ahead: 2 r + 2 + r <= 32 gives r = 10. Fewer than 4 rows
leave the units waiting for their own sums; more than 10 push sums out to memory, and the speed
falls to a third. Any height from 4 to 10 runs at the peak, so a row of 14 pixels is done as 7 + 7.
The same count gives 15 rows of one vector (for few output channels).

**What the compiler was not doing.** Given the three loops of a matrix product, LLVM vectorises the
innermost one and keeps its sums in memory: it loads and stores C at every k. That is 15 to 25 times
slower. So the tile is written in LLVM's own language, which names every register, runs on every
processor, and leaves to LLVM only what it is good at: numbering registers and encoding.

**Where k leads.** A and B are walked by tables: k runs over `steps` (the channels of an image; A
and B move on by `a_step` and `b_step` elements) and, inside, over `taps` (the positions in the
window; A is read at `a_taps[t]`, B at `b_taps[t]`). A convolution is then read from the padded
image where it lies: no matrix of windows is ever built.

The machine code is made once (half a second), kept in the cache folder, and loaded in a
millisecond. Compiled Numba code calls it by address (`multiply`, `turn`).
'''
from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import threading
from dataclasses import dataclass

import numpy as np

from tinyvision.kernel import cache_folder
from tinyvision.worker import caller


@dataclass(frozen=True)
class Width:
    """A vector unit: `lanes` floats a vector; the tile's most rows with 1, 2, 4 and 8 vectors."""
    lanes: int
    rows: tuple

    def heights(self, vectors):
        """The heights of the tiles that are this many vectors wide."""
        return range(1, self.rows[vectors.bit_length() - 1] + 1)


AVX512, AVX2, NEON = Width(16, (15, 10, 2, 1)), Width(8, (7, 6, 2, 1)), Width(4, (15, 10, 2, 1))
WIDTHS = {width.lanes: width for width in (AVX512, AVX2, NEON)}
ROWS, COLUMNS = 0, 1                       # how a tile is stored: as it is, or transposed
STEPS = 2, 3, 4                            # that `gather` and `weave` have code of their own for
DOTS = 7                                   # the most dot products that `dots` makes at once
HEIGHTS = 16                               # of a tile, 0 included


class Tiles:
    """The machine code for one width.

    Attributes:
        lanes: floats in a vector; a full tile has 2 `lanes` columns.
        rows: the largest height of a tile of 1, 2, 4 and 8 vectors.
        table: addresses, int64 [how it is stored, log2 vectors, height]; see `multiply`. Transposed
            there are 1 and 2 vectors; 4 and 8 are for tiles of 2 and of 1 row.
        turn, copy: addresses of the functions of those names; see there.
        gathers: addresses by step; see `gather`, `Tiles.gather`.
        weaves: addresses by the number of lines; see `weave`.
        dots: addresses, int64 [number of taps]; see `dots`.
    """

    def __init__(self, width: Width):
        self.lanes, self.rows = width.lanes, width.rows
        self._engine = _load(program(width), f"simd{width.lanes}")
        self.table = np.zeros((2, 4, HEIGHTS), np.int64)
        for how, vectors, height in _tiles(width):
            self.table[how, vectors.bit_length() - 1, height] = self._address(
                _name(how, vectors, height))
        for name in ("turn", "copy"):
            setattr(self, name, self._address(name))
        self.gathers = {step: self._address(f"gather_{step}") for step in (*STEPS, "any")}
        self.weaves = {step: self._address(f"weave_{step}") for step in STEPS}
        self.dots = np.array([0] + [self._address(f"dots_{n}") for n in range(1, DOTS + 1)])

    def gather(self, step):
        """The address of `gather` for columns that are so far apart."""
        return self.gathers.get(step, self.gathers["any"])

    def _address(self, name):
        return self._engine.get_function_address(name)


class _Forced(threading.local):
    lanes = None


_forced = _Forced()


def tiles() -> Tiles | None:
    """The tiles for this processor's vector unit; None where none is known (or "0" is forced).

    The environment variable TINYVISION_LANES (16, 8, 4 or 0) chooses another width.
    """
    lanes = _forced.lanes
    return _tiles_of(native_lanes() if lanes is None else lanes)


@contextlib.contextmanager
def use_lanes(lanes: int):
    """Compute with that many lanes inside the block and in this thread; 0: without tiles.

    Every width runs on every machine: LLVM makes do with what there is.

    Raises:
        ValueError: a width that is not known.
    """
    before = _forced.lanes
    if lanes not in (0, *WIDTHS):
        raise ValueError(f"use_lanes: got {lanes!r}, expected 0 or one of {sorted(WIDTHS)}")
    _forced.lanes = lanes
    try:
        yield
    finally:
        _forced.lanes = before


@functools.cache
def native_lanes() -> int:
    """The lanes of this processor's vector unit, 0 if it has none that we know."""
    if forced := os.environ.get("TINYVISION_LANES"):
        if forced not in ("0", *map(str, WIDTHS)):
            raise ValueError(f"TINYVISION_LANES is {forced!r}, expected 0, 4, 8 or 16")
        return int(forced)
    import llvmlite.binding as llvm
    has = llvm.get_host_cpu_features()
    if has.get("avx512f"):
        return AVX512.lanes
    if has.get("avx2") and has.get("fma"):
        return AVX2.lanes
    return NEON.lanes if has.get("neon") else 0


@functools.cache
def _tiles_of(lanes):
    return Tiles(WIDTHS[lanes]) if lanes else None


def _tiles(width):
    return ((how, vectors, height) for how in (ROWS, COLUMNS)
            for vectors in (1, 2, 4, 8)[:2 if how == COLUMNS else len(width.rows)]
            for height in width.heights(vectors))


def _name(how, vectors, height):
    return f"{('rows', 'columns')[how]}_{vectors}_{height}"


# --- the text, in LLVM's language -----------------------------------------------------------------
def program(width: Width) -> str:
    """All tiles of a width, and what moves numbers for them, as LLVM assembly."""
    L = width.lanes
    V, mask = f"<{L} x float>", f"<{L} x i1>"
    return "\n".join([*(tile(L, *one) for one in _tiles(width)), turn_text(L), copy_text(L),
                      *(gather_text(L, step) for step in STEPS), gather_any_text(L),
                      *(weave_text(L, step) for step in STEPS),
                      *(dots_text(L, taps) for taps in range(1, DOTS + 1)),
                      f"declare {V} @llvm.fma.v{L}f32({V}, {V}, {V})",
                      f"declare float @llvm.vector.reduce.fadd.v{L}f32(float, {V})",
                      f"declare {V} @llvm.masked.load.v{L}f32.p0(ptr, {mask}, {V})",
                      f"declare {V} @llvm.masked.gather.v{L}f32.v{L}p0(<{L} x ptr>, {mask}, {V})",
                      f"declare void @llvm.masked.store.v{L}f32.p0({V}, ptr, {mask})", ""])


def tile(L, how, vectors, rows) -> str:
    """The function C = start + A B for `rows` rows of `vectors` vectors of `L` lanes.

    Its arguments are those of `multiply`. The sums (`%sum`) are registers: LLVM's phi says where a
    value comes from when a loop begins and when it goes round. A sum of thousands of terms, one
    after the other, loses digits; so after every `%block` steps it is put aside (`%aside`) and
    begun anew.
    """
    V = f"<{L} x float>"
    cells = [f"{m}_{v}" for m in range(rows) for v in range(vectors)]
    lines = [f"define void @{_name(how, vectors, rows)}(ptr %a, i64 %a_row, i64 %a_step, "
             "ptr %a_taps, ptr %b, i64 %b_step, ptr %b_taps, i64 %steps, i64 %taps, i64 %block, "
             "ptr %start, i64 %start_row, ptr %c, i64 %c_row, i64 %columns) {", "entry:",
             f"  %nowhere = alloca {V}", *(f"  %aside{x} = alloca {V}" for x in cells)]
    lines += [f"  %a_row{m} = mul i64 %a_row, {m}" for m in range(rows)]
    lines += ["  %some.steps = icmp sgt i64 %steps, 0", "  %some.taps = icmp sgt i64 %taps, 0",
              "  %some = and i1 %some.steps, %some.taps",
              "  %long = icmp sgt i64 %steps, %block",
              "  br i1 %some, label %prepare, label %done",
              "prepare:", "  br i1 %long, label %clear, label %step",
              "clear:", *(f"  store {V} zeroinitializer, ptr %aside{x}" for x in cells),
              "  br label %step",
              "step:                                    ; one channel"]
    around = "[{0}, %prepare], [{0}, %clear], [{1}, %again], [{2}, %put.aside]"
    lines += [f"  %{name} = phi {kind} {around.format(first, then, later)}"
              for name, kind, first, then, later in (
                  ("k", "i64", "0", "%k.next", "%k.next"),
                  ("left", "i64", "%block", "%left.next", "%block"),
                  ("a.k", "ptr", "%a", "%a.next", "%a.next"),
                  ("b.k", "ptr", "%b", "%b.next", "%b.next"),
                  *((f"old{x}", V, "zeroinitializer", f"%new{x}", "zeroinitializer") for x in cells))]
    lines += ["  br label %tap",
              "tap:                                     ; one position in the window",
              "  %t = phi i64 [0, %step], [%t.next, %tap]"]
    lines += [f"  %sum{x} = phi {V} [%old{x}, %step], [%new{x}, %tap]" for x in cells]
    for side in "ab":
        lines += [f"  %{side}.tap = getelementptr i64, ptr %{side}_taps, i64 %t",
                  f"  %{side}.far = load i64, ptr %{side}.tap",
                  f"  %{side}.t = getelementptr float, ptr %{side}.k, i64 %{side}.far"]
    for v in range(vectors):
        lines += [f"  %b.at{v} = getelementptr float, ptr %b.t, i64 {v * L}",
                  f"  %b{v} = load {V}, ptr %b.at{v}, align 4"]
    for m in range(rows):
        lines += [f"  %a.at{m} = getelementptr float, ptr %a.t, i64 %a_row{m}",
                  f"  %a.one{m} = load float, ptr %a.at{m}, align 4",
                  f"  %a.first{m} = insertelement {V} poison, float %a.one{m}, i32 0",
                  f"  %a{m} = shufflevector {V} %a.first{m}, {V} poison, <{L} x i32> zeroinitializer"]
        lines += [f"  %new{m}_{v} = call {V} @llvm.fma.v{L}f32({V} %a{m}, {V} %b{v}, "
                  f"{V} %sum{m}_{v})" for v in range(vectors)]
    lines += ["  %t.next = add i64 %t, 1",
              "  %t.more = icmp slt i64 %t.next, %taps",
              "  br i1 %t.more, label %tap, label %end",
              "end:",
              "  %k.next = add i64 %k, 1",
              "  %a.next = getelementptr float, ptr %a.k, i64 %a_step",
              "  %b.next = getelementptr float, ptr %b.k, i64 %b_step",
              "  %k.more = icmp slt i64 %k.next, %steps",
              "  br i1 %k.more, label %again, label %last",
              "again:",
              "  %left.next = sub i64 %left, 1",
              "  %full = icmp sle i64 %left.next, 0",
              "  br i1 %full, label %put.aside, label %step",
              "put.aside:", *_aside(V, cells, "put"),
              *(f"  store {V} %put{x}, ptr %aside{x}" for x in cells),
              "  br label %step",
              "last:",
              "  br i1 %long, label %join, label %done",
              "join:", *_aside(V, cells, "joined"), "  br label %done",
              "done:"]
    lines += [f"  %total{x} = phi {V} [zeroinitializer, %entry], [%new{x}, %last], "
              f"[%joined{x}, %join]" for x in cells]
    for m in range(rows):
        lines += [f"  %s_row{m} = mul i64 %start_row, {m}"]
        for v in range(vectors):
            lines += [f"  %s_at{m}_{v} = add i64 %s_row{m}, {v * L}",
                      f"  %s{m}_{v} = getelementptr float, ptr %start, i64 %s_at{m}_{v}",
                      f"  %start{m}_{v} = load {V}, ptr %s{m}_{v}, align 4",
                      f"  %all{m}_{v} = fadd {V} %start{m}_{v}, %total{m}_{v}"]
    store = _store_columns if how == COLUMNS else _store_rows
    return "\n".join([*lines, *store(L, vectors, rows), "  ret void", "}"])


def _aside(V, cells, name):
    """What was put aside, plus the sums of this block."""
    for x in cells:
        yield f"  %{name}.old{x} = load {V}, ptr %aside{x}"
        yield f"  %{name}{x} = fadd {V} %{name}.old{x}, %new{x}"


def _store_rows(L, vectors, rows):
    """C[m, n] at c + m c_row + n: as the sums lie in the registers."""
    for m in range(rows):
        yield f"  %c_row{m} = mul i64 %c_row, {m}"
        for v in range(vectors):
            yield f"  %c_at{m}_{v} = add i64 %c_row{m}, {v * L}"
            yield f"  %c{m}_{v} = getelementptr float, ptr %c, i64 %c_at{m}_{v}"
            yield f"  store <{L} x float> %all{m}_{v}, ptr %c{m}_{v}, align 4"


def _store_columns(L, vectors, rows):
    """C[m, n] at c + n c_row + m, for n < columns: transposed, L x L at a time, in registers.

    What lies beyond `columns` goes nowhere: the same stores, to a place that nobody reads.
    """
    V = f"<{L} x float>"
    for v in range(vectors):
        for top in range(0, rows, L):
            here = min(L, rows - top)
            group = [f"%all{top + q}_{v}" if q < here else "zeroinitializer" for q in range(L)]
            lines, columns = _transposed(L, group, f"turn{v}_{top}_")
            yield from lines
            mask = ", ".join(f"i1 {int(q < here)}" for q in range(L))
            for lane, column in enumerate(columns):
                u, n = f"{v}_{top}_{lane}", v * L + lane
                yield f"  %far{u} = mul i64 %c_row, {n}"
                yield f"  %at{u} = add i64 %far{u}, {top}"
                yield f"  %there{u} = getelementptr float, ptr %c, i64 %at{u}"
                yield f"  %wanted{u} = icmp sgt i64 %columns, {n}"
                yield f"  %to{u} = select i1 %wanted{u}, ptr %there{u}, ptr %nowhere"
                yield (f"  store {V} {column}, ptr %to{u}, align 4" if here == L else
                       f"  call void @llvm.masked.store.v{L}f32.p0({V} {column}, "
                       f"ptr align 4 %to{u}, <{L} x i1> <{mask}>)")


def _transposed(L, rows, prefix):
    """(lines, the names of the columns) of `L` rows: log2(L) rounds of exchanges.

    In the round of distance d, rows q and q + d swap a block: lanes whose bit d is set go up.
    """
    lines, d = [], 1
    while d < L:
        after = list(rows)
        for q in (q for q in range(L) if not q & d):
            upper = [lane if not lane & d else L + lane - d for lane in range(L)]
            lower = [lane + d if not lane & d else L + lane for lane in range(L)]
            for place, lanes in ((q, upper), (q + d, lower)):
                after[place] = f"%{prefix}{d}_{place}"
                picks = ", ".join(f"i32 {lane}" for lane in lanes)
                lines.append(f"  {after[place]} = shufflevector <{L} x float> {rows[q]}, "
                             f"<{L} x float> {rows[q + d]}, <{L} x i32> <{picks}>")
        rows, d = after, 2 * d
    return lines, rows


def turn_text(L) -> str:
    """The function to[n, m] = from[m, n] for n < columns and m < width, 0 from m = rows on."""
    V = f"<{L} x float>"
    lines = ["define void @turn(ptr %from, i64 %from_row, i64 %rows, i64 %columns, "
             "ptr %to, i64 %to_row, i64 %width) {", f"  %nowhere = alloca {V}",
             f"  %zeros = alloca {V}", f"  store {V} zeroinitializer, ptr %zeros"]
    for count in ("columns", "width"):
        lines += [f"  %{count}.1 = insertelement <{L} x i64> poison, i64 %{count}, i32 0",
                  f"  %{count}.{L} = shufflevector <{L} x i64> %{count}.1, <{L} x i64> poison, "
                  f"<{L} x i32> zeroinitializer",
                  f"  %{count}.mask = icmp sgt <{L} x i64> %{count}.{L}, "
                  f"<{', '.join(f'i64 {n}' for n in range(L))}>"]
    for m in range(L):
        lines += [f"  %r{m} = mul i64 %from_row, {m}",
                  f"  %p{m} = getelementptr float, ptr %from, i64 %r{m}",
                  f"  %is{m} = icmp sgt i64 %rows, {m}",
                  f"  %q{m} = select i1 %is{m}, ptr %p{m}, ptr %zeros",
                  f"  %x{m} = call {V} @llvm.masked.load.v{L}f32.p0(ptr align 4 %q{m}, "
                  f"<{L} x i1> %columns.mask, {V} zeroinitializer)"]
    exchanges, columns = _transposed(L, [f"%x{m}" for m in range(L)], "y")
    lines += exchanges
    for n, column in enumerate(columns):
        lines += [f"  %c{n} = mul i64 %to_row, {n}",
                  f"  %t{n} = getelementptr float, ptr %to, i64 %c{n}",
                  f"  %in{n} = icmp sgt i64 %columns, {n}",
                  f"  %u{n} = select i1 %in{n}, ptr %t{n}, ptr %nowhere",
                  f"  call void @llvm.masked.store.v{L}f32.p0({V} {column}, ptr align 4 %u{n}, "
                  f"<{L} x i1> %width.mask)"]
    return "\n".join([*lines, "  ret void", "}"])


def copy_text(L) -> str:
    """The padded copy of a plane; see `copy`.

    A row is three stretches: zeros, numbers, zeros; or one vector under a mask, if that is enough.
    """
    V = f"<{L} x float>"
    ends = {"zero": "%width", "before": "%lo", "middle": "%between", "after": "%beyond"}
    lines = ["define void @copy(ptr %from, i64 %from_row, i64 %first, i64 %last, i64 %lo, i64 %hi, "
             "ptr %to, i64 %to_row, i64 %rows, i64 %width) {", "entry:",
             "  %between = sub i64 %hi, %lo", "  %beyond = sub i64 %width, %hi",
             *(line for name, count in ends.items() for line in _parts_of(L, name, count)),
             *lanes_between(L, "in", "%lo", "%hi"), *lanes_between(L, "to.width", "0", "%width"),
             *_rows_of(L),
             "short:",
             f"  %x.short = call {V} @llvm.masked.load.v{L}f32.p0(ptr align 4 %row.from, "
             f"<{L} x i1> %in, {V} zeroinitializer)", *_store_short(L, "%x.short"),
             *_stretch(L, "before", None, "%target", "middle"),
             *_stretch(L, "middle", "%source", "%target.lo", "after"),
             *_stretch(L, "after", None, "%target.hi", "row.end"),
             *_stretch(L, "zero", None, "%target", "row.end"), *_ROW_END]
    return "\n".join(lines)


def _parts_of(L, name, count):
    """Of `count` numbers: how many are in whole vectors, and the mask of the rest."""
    yield f"  %{name}.rest = srem i64 {count}, {L}"
    yield f"  %{name}.even = sub i64 {count}, %{name}.rest"
    yield f"  %{name}.some = icmp sgt i64 %{name}.even, 0"
    yield f"  %{name}.odd = icmp sgt i64 %{name}.rest, 0"
    yield from lanes_between(L, f"{name}.mask", "0", f"%{name}.rest")


def lanes_between(L, name, lo, hi):
    """%{name}: the lanes whose number is at least lo and below hi."""
    I, lanes = f"<{L} x i64>", ", ".join(f"i64 {n}" for n in range(L))
    for side, count, test in (("lo", lo, "sle"), ("hi", hi, "sgt")):
        yield f"  %{name}.{side}1 = insertelement {I} poison, i64 {count}, i32 0"
        yield (f"  %{name}.{side}s = shufflevector {I} %{name}.{side}1, {I} poison, "
               f"<{L} x i32> zeroinitializer")
        yield f"  %{name}.{side} = icmp {test} {I} %{name}.{side}s, <{lanes}>"
    yield f"  %{name} = and <{L} x i1> %{name}.lo, %{name}.hi"


def _stretch(L, name, source, target, then):
    """One stretch of a row, numbers of `source` or (None) zeros: whole vectors, then the rest."""
    V = f"<{L} x float>"

    def load(part, place, masked):
        at = f"  %{name}.p{part} = getelementptr float, ptr {source}, i64 {place}"
        return [at, f"  %{name}.x{part} = call {V} @llvm.masked.load.v{L}f32.p0(ptr align 4 "
                f"%{name}.p{part}, <{L} x i1> %{name}.mask, {V} zeroinitializer)" if masked else
                f"  %{name}.x{part} = load {V}, ptr %{name}.p{part}, align 4"] if source else []
    value = f"%{name}.x" if source else None
    return [f"{name}:", f"  br i1 %{name}.some, label %{name}.loop, label %{name}.end",
            f"{name}.loop:", f"  %{name}.v = phi i64 [0, %{name}], [%{name}.next, %{name}.loop]",
            *load(0, f"%{name}.v", False),
            f"  %{name}.q0 = getelementptr float, ptr {target}, i64 %{name}.v",
            f"  store {V} {value + '0' if value else 'zeroinitializer'}, ptr %{name}.q0, align 4",
            f"  %{name}.next = add i64 %{name}.v, {L}",
            f"  %{name}.more = icmp slt i64 %{name}.next, %{name}.even",
            f"  br i1 %{name}.more, label %{name}.loop, label %{name}.end",
            f"{name}.end:", f"  br i1 %{name}.odd, label %{name}.last, label %{then}",
            f"{name}.last:", *load(1, f"%{name}.even", True),
            f"  %{name}.q1 = getelementptr float, ptr {target}, i64 %{name}.even",
            f"  call void @llvm.masked.store.v{L}f32.p0({V} "
            f"{value + '1' if value else 'zeroinitializer'}, ptr align 4 %{name}.q1, "
            f"<{L} x i1> %{name}.mask)", f"  br label %{then}"]


def gather_text(L, step) -> str:
    """The padded copy of a plane, columns that are `step` apart side by side; see `gather`.

    `step` vectors of a row are read, and the lanes dealt to as many parts. Only where a row begins
    or ends does it take masks. A part that nobody wants is written where the first will be.
    """
    V = f"<{L} x float>"
    lines = [f"define void @gather_{step}({_GATHER}) {{", "entry:"]
    for p in range(step):
        lines += [f"  %far{p} = mul i64 %to_part, {p}", f"  %is{p} = icmp sgt i64 %parts, {p}",
                  f"  %there{p} = select i1 %is{p}, i64 %far{p}, i64 0"]
    lines += [*_GATHER_ROW, "  br label %block",
              "block:", "  %v = phi i64 [0, %row], [%v.next, %next]", f"  %u = mul i64 %v, {step}",
              "  %begun = icmp sge i64 %u, %lo", f"  %u.end = add i64 %u, {step * L}",
              "  %open = icmp sle i64 %u.end, %here", "  %left = sub i64 %width, %v",
              f"  %full = icmp sge i64 %left, {L}", "  %in = and i1 %begun, %open",
              "  %plain = and i1 %in, %full", "  %x = getelementptr float, ptr %row.from, i64 %u",
              "  br i1 %plain, label %whole, label %edge"]
    for name in ("whole", "edge"):
        lines.append(f"{name}:")
        if name == "edge":
            lines += [*_lanes_below(L, "to.mask", "0", "%left"),
                      "  %skipped = sub i64 %u, %lo", "  %some = sub i64 %here, %lo"]
        for q in range(step):
            at, value = f"%{name}.at{q}", f"%{name}.x{q}"
            lines.append(f"  {at} = getelementptr float, ptr %x, i64 {q * L}")
            if name == "whole":
                lines.append(f"  {value} = load {V}, ptr {at}, align 4")
            else:
                lines += [*_lanes_below(L, f"mask{q}", "%skipped", "%some", q * L),
                          f"  {value} = call {V} @llvm.masked.load.v{L}f32.p0(ptr align 4 {at}, "
                          f"<{L} x i1> %mask{q}, {V} zeroinitializer)"]
        for p in reversed(range(step)):
            dealt, value = _every(L, step, p, f"%{name}.x", f"%{name}.y{p}_")
            to = f"%{name}.to{p}"
            lines += [*dealt, f"  {to}.v = add i64 %there{p}, %v",
                      f"  {to} = getelementptr float, ptr %target, i64 {to}.v",
                      f"  store {V} {value}, ptr {to}, align 4" if name == "whole" else
                      f"  call void @llvm.masked.store.v{L}f32.p0({V} {value}, ptr align 4 {to}, "
                      f"<{L} x i1> %to.mask)"]
        lines.append("  br label %next")
    return "\n".join([*lines, "next:", f"  %v.next = add i64 %v, {L}",
                      "  %v.more = icmp slt i64 %v.next, %width",
                      "  br i1 %v.more, label %block, label %row.end", *_ROW_END])


def gather_any_text(L) -> str:
    """`gather_text` for any step: a lane at a time, as far as the processor is concerned."""
    V, I = f"<{L} x float>", f"<{L} x i64>"
    every = f"<{L} x i32> zeroinitializer"
    lanes = f"<{', '.join(f'i64 {n}' for n in range(L))}>"
    lines = [f"define void @gather_any({_GATHER}) {{", "entry:",
             f"  %step.1 = insertelement {I} poison, i64 %step, i32 0",
             f"  %step.all = shufflevector {I} %step.1, {I} poison, {every}",
             f"  %apart = mul {I} %step.all, {lanes}", *_GATHER_ROW, "  br label %part",
             "part:", "  %p = phi i64 [0, %row], [%p.next, %part.end]",
             "  %far = mul i64 %p, %to_part", "  br label %block",
             "block:", "  %v = phi i64 [0, %part], [%v.next, %block]",
             "  %v.far = mul i64 %v, %step",
             "  %u = add i64 %v.far, %p", f"  %u.1 = insertelement {I} poison, i64 %u, i32 0",
             f"  %u.all = shufflevector {I} %u.1, {I} poison, {every}",
             f"  %at = add {I} %u.all, %apart", "  %left = sub i64 %width, %v",
             *_lanes_below(L, "to.mask", "0", "%left")]
    for side, test in (("lo", "sge"), ("here", "slt")):
        lines += [f"  %{side}.1 = insertelement {I} poison, i64 %{side}, i32 0",
                  f"  %{side}.all = shufflevector {I} %{side}.1, {I} poison, {every}",
                  f"  %{side}.in = icmp {test} {I} %at, %{side}.all"]
    lines += [f"  %in = and <{L} x i1> %lo.in, %here.in", f"  %mask = and <{L} x i1> %in, %to.mask",
              f"  %from.at = getelementptr float, ptr %row.from, {I} %at",
              f"  %x = call {V} @llvm.masked.gather.v{L}f32.v{L}p0(<{L} x ptr> align 4 %from.at, "
              f"<{L} x i1> %mask, {V} zeroinitializer)",
              "  %to.v = add i64 %far, %v",
              "  %to.at = getelementptr float, ptr %target, i64 %to.v",
              f"  call void @llvm.masked.store.v{L}f32.p0({V} %x, ptr align 4 %to.at, "
              f"<{L} x i1> %to.mask)",
              f"  %v.next = add i64 %v, {L}", "  %v.more = icmp slt i64 %v.next, %width",
              "  br i1 %v.more, label %block, label %part.end",
              "part.end:", "  %p.next = add i64 %p, 1", "  %p.more = icmp slt i64 %p.next, %parts",
              "  br i1 %p.more, label %part, label %row.end", *_ROW_END]
    return "\n".join(lines)


_GATHER = ("ptr %from, i64 %from_row, i64 %step, i64 %first, i64 %last, i64 %lo, i64 %hi, ptr %to, "
           "i64 %to_row, i64 %to_part, i64 %rows, i64 %width, i64 %parts")
_GATHER_ROW = [                            # %here: before which column there are numbers
    "  %any = icmp sgt i64 %rows, 0", "  br i1 %any, label %row, label %done",
    "row:", "  %r = phi i64 [0, %entry], [%r.next, %row.end]",
    "  %below = icmp sge i64 %r, %first", "  %above = icmp slt i64 %r, %last",
    "  %inside = and i1 %below, %above", "  %here = select i1 %inside, i64 %hi, i64 %lo",
    "  %r.in = select i1 %inside, i64 %r, i64 %first", "  %f = mul i64 %r.in, %from_row",
    "  %row.from = getelementptr float, ptr %from, i64 %f", "  %t = mul i64 %r, %to_row",
    "  %target = getelementptr float, ptr %to, i64 %t"]


def _lanes_below(L, name, first, count, lane=0):
    """%{name}: the lanes k with 0 <= first + lane + k < count; as 32-bit numbers, for speed."""
    I = f"<{L} x i32>"
    for side, number in (("first", first), ("count", count)):
        yield f"  %{name}.{side} = trunc i64 {number} to i32"
        yield f"  %{name}.{side}1 = insertelement {I} poison, i32 %{name}.{side}, i32 0"
        yield (f"  %{name}.{side}s = shufflevector {I} %{name}.{side}1, {I} poison, "
               f"<{L} x i32> zeroinitializer")
    yield (f"  %{name}.k = add {I} %{name}.firsts, "
           f"<{', '.join(f'i32 {lane + k}' for k in range(L))}>")
    yield f"  %{name} = icmp ult {I} %{name}.k, %{name}.counts"  # unsigned: negative ones are large


def _every(L, step, part, vectors, name):
    """(lines, name): lane k is number k step + part of the vectors {vectors}0, {vectors}1, ..."""
    lines, value = [], f"{vectors}0"
    wanted = [divmod(k * step + part, L) for k in range(L)]  # (vector, lane)
    for q in range(1, step):
        picks = [k if q > 1 and v < q else lane if v < q else L + lane if v == q else None
                 for k, (v, lane) in enumerate(wanted)]
        text = ", ".join("i32 poison" if pick is None else f"i32 {pick}" for pick in picks)
        lines.append(f"  {name}{q} = shufflevector <{L} x float> {value}, <{L} x float> "
                     f"{vectors}{q}, <{L} x i32> <{text}>")
        value = f"{name}{q}"
    return lines, value


def _rows_of(L):
    """The loop over rows: where %source and %target are, and whether there is anything to copy."""
    return ["  %any = icmp sgt i64 %rows, 0", f"  %narrow = icmp sle i64 %width, {L}",
            "  br i1 %any, label %row, label %done",
            "row:", "  %r = phi i64 [0, %entry], [%r.next, %row.end]",
            "  %below = icmp sge i64 %r, %first", "  %above = icmp slt i64 %r, %last",
            "  %inside = and i1 %below, %above", "  %f = mul i64 %r, %from_row",
            "  %row.from = getelementptr float, ptr %from, i64 %f",
            "  %source = getelementptr float, ptr %row.from, i64 %lo",
            "  %t = mul i64 %r, %to_row", "  %target = getelementptr float, ptr %to, i64 %t",
            "  %target.lo = getelementptr float, ptr %target, i64 %lo",
            "  %target.hi = getelementptr float, ptr %target, i64 %hi",
            "  br i1 %inside, label %there, label %zero",
            "there:", "  br i1 %narrow, label %short, label %before"]


def _store_short(L, value):
    """All of a row that is not wider than a vector."""
    yield (f"  call void @llvm.masked.store.v{L}f32.p0(<{L} x float> {value}, ptr align 4 %target, "
           f"<{L} x i1> %to.width)")
    yield "  br label %row.end"


_ROW_END = ["row.end:", "  %r.next = add i64 %r, 1", "  %r.more = icmp slt i64 %r.next, %rows",
            "  br i1 %r.more, label %row, label %done", "done:", "  ret void", "}"]


def weave_text(L, step) -> str:
    """Numbers of `step` lines in turn; see `weave`.

    A vector of each line makes `step` vectors, each put together line by line.
    """
    V, I = f"<{L} x float>", f"<{L} x i64>"
    lines = [f"define void @weave_{step}(ptr %from, i64 %far, ptr %to, i64 %count) {{", "entry:",
             f"  %count.1 = insertelement {I} poison, i64 %count, i32 0",
             f"  %count.all = shufflevector {I} %count.1, {I} poison, <{L} x i32> zeroinitializer",
             *(f"  %line{q} = mul i64 %far, {q}" for q in range(step)),
             "  %any = icmp sgt i64 %count, 0", "  br i1 %any, label %block, label %done",
             "block:", "  %v = phi i64 [0, %entry], [%v.next, %block]", f"  %n = mul i64 %v, {step}",
             f"  %n.1 = insertelement {I} poison, i64 %n, i32 0",
             f"  %n.all = shufflevector {I} %n.1, {I} poison, <{L} x i32> zeroinitializer"]
    for q in range(step):
        lines += [f"  %at{q} = add i64 %line{q}, %v",
                  f"  %from{q} = getelementptr float, ptr %from, i64 %at{q}",
                  f"  %x{q} = load {V}, ptr %from{q}, align 4"]
    for part in range(step):
        places = [divmod(part * L + lane, step) for lane in range(L)]    # (number, of which line)
        done = "%x0"
        for q in range(1, step):
            picks = ", ".join(f"i32 {L + n if line == q else n if q == 1 else lane}"
                              for lane, (n, line) in enumerate(places))
            lines.append(f"  %y{part}.{q} = shufflevector {V} {done}, {V} %x{q}, "
                         f"<{L} x i32> <{picks}>")
            done = f"%y{part}.{q}"
        lanes = ", ".join(f"i64 {part * L + lane}" for lane in range(L))
        lines += [f"  %k{part} = add {I} %n.all, <{lanes}>",
                  f"  %in{part} = icmp slt {I} %k{part}, %count.all",
                  f"  %far{part} = add i64 %n, {part * L}",
                  f"  %to{part} = getelementptr float, ptr %to, i64 %far{part}",
                  f"  call void @llvm.masked.store.v{L}f32.p0({V} {done}, ptr align 4 %to{part}, "
                  f"<{L} x i1> %in{part})"]
    return "\n".join([*lines, f"  %v.next = add i64 %v, {L}",
                      f"  %n.next = mul i64 %v.next, {step}",
                      "  %more = icmp slt i64 %n.next, %count",
                      "  br i1 %more, label %block, label %done", "done:", "  ret void", "}"])


def dots_text(L, taps) -> str:
    """Dot products of one plane with `taps` shifts of another; see `dots`.

    Both planes are read along their rows, a vector of each at a time, and what is left of a row
    under a mask. The lanes are added up only at the end.
    """
    V, I = f"<{L} x float>", f"<{L} x i64>"
    lanes = f"<{', '.join(f'i64 {n}' for n in range(L))}>"
    every = range(taps)

    def products(name, load):
        """One vector of y times one of x for every tap, added to %{name}.old."""
        yield f"  %{name}.y = {load('%y.at.' + name)}"
        for t in every:
            yield f"  %{name}.x{t} = {load(f'%x.at.{name}{t}')}"
            yield (f"  %{name}{t} = call {V} @llvm.fma.v{L}f32({V} %{name}.y, {V} %{name}.x{t}, "
                   f"{V} %{name}.old{t})")

    def places(name, column):
        yield f"  %y.at.{name} = getelementptr float, ptr %y.row, i64 {column}"
        yield f"  %x.at.{name} = getelementptr float, ptr %x.row, i64 {column}"
        for t in every:
            yield f"  %x.at.{name}{t} = getelementptr float, ptr %x.at.{name}, i64 %far{t}"

    def plain(place):
        return f"load {V}, ptr {place}, align 4"

    def masked(place):
        return (f"call {V} @llvm.masked.load.v{L}f32.p0(ptr align 4 {place}, <{L} x i1> %mask, "
                f"{V} zeroinitializer)")

    lines = [f"define void @dots_{taps}(ptr %x, i64 %x_row, i64 %x_tap, ptr %y, i64 %y_row, "
             "i64 %rows, i64 %columns, ptr %out, i64 %out_tap) {", "entry:",
             *(f"  %far{t} = mul i64 %x_tap, {t}" for t in every),
             f"  %rest = srem i64 %columns, {L}", "  %even = sub i64 %columns, %rest",
             "  %some = icmp sgt i64 %even, 0",
             f"  %rest.1 = insertelement {I} poison, i64 %rest, i32 0",
             f"  %rest.all = shufflevector {I} %rest.1, {I} poison, <{L} x i32> zeroinitializer",
             f"  %mask = icmp sgt {I} %rest.all, {lanes}",
             "  br label %row", "row:", "  %r = phi i64 [0, %entry], [%r.next, %end]",
             *(f"  %sum{t} = phi {V} [zeroinitializer, %entry], [%last{t}, %end]" for t in every),
             "  %x.far = mul i64 %r, %x_row", "  %x.row = getelementptr float, ptr %x, i64 %x.far",
             "  %y.far = mul i64 %r, %y_row", "  %y.row = getelementptr float, ptr %y, i64 %y.far",
             "  br i1 %some, label %part, label %tail",
             "part:", "  %b = phi i64 [0, %row], [%b.next, %part]",
             *(f"  %part.old{t} = phi {V} [%sum{t}, %row], [%part{t}, %part]" for t in every),
             *places("part", "%b"), *products("part", plain),
             f"  %b.next = add i64 %b, {L}", "  %b.more = icmp slt i64 %b.next, %even",
             "  br i1 %b.more, label %part, label %tail",
             "tail:",
             *(f"  %last.old{t} = phi {V} [%sum{t}, %row], [%part{t}, %part]" for t in every),
             *places("last", "%even"), *products("last", masked),
             "  br label %end",
             "end:", "  %r.next = add i64 %r, 1", "  %r.more = icmp slt i64 %r.next, %rows",
             "  br i1 %r.more, label %row, label %done", "done:"]
    for t in every:
        lines += [f"  %all{t} = call reassoc float @llvm.vector.reduce.fadd.v{L}f32(float 0.0, "
                  f"{V} %last{t})", f"  %out.far{t} = mul i64 %out_tap, {t}",
                  f"  %out{t} = getelementptr float, ptr %out, i64 %out.far{t}",
                  f"  %before{t} = load float, ptr %out{t}",
                  f"  %after{t} = fadd float %before{t}, %all{t}",
                  f"  store float %after{t}, ptr %out{t}"]
    return "\n".join([*lines, "  ret void", "}"])


# --- from text to machine code --------------------------------------------------------------------
def _load(text, name):
    """An engine that holds the machine code of `text`, from the cache or from LLVM."""
    import llvmlite.binding as llvm
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu, features=features, opt=3, codemodel="jitdefault", jit=True)
    key = "\n".join((text, cpu, features, llvm.llvm_version_info.__repr__()))
    file = cache_folder() / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.o"
    code = _kept(file)
    if code is None:
        code = _compiled(llvm, machine, text)
        _keep(file, code)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine


def _kept(file):
    """The code in a file, behind its hash; None where there is none, or a part, or another's."""
    try:
        data = file.read_bytes()
    except OSError:
        return None
    code = data[32:]
    return code if code and data[:32] == hashlib.sha256(code).digest() else None


def _keep(file, code):
    """Write it in one motion; where that fails (a full disk), the next process compiles again."""
    made = file.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
    with contextlib.suppress(OSError):
        made.write_bytes(hashlib.sha256(code).digest() + code)
        os.replace(made, file)


def _compiled(llvm, machine, text):
    """The object code of LLVM assembly: common terms joined, loops left as they are written."""
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    passes = llvm.create_pass_builder(machine, options).getModulePassManager()
    passes.run(module, llvm.create_pass_builder(machine, options))
    return machine.emit_object(module)


# --- calling it from Numba ------------------------------------------------------------------------
multiply = caller("multiply", 15, """multiply(address, (a, a_row, a_step, a_taps, b, b_step, b_taps,
    steps, taps, block, start, start_row, c, c_row, columns)): C = start + A B.

    Addresses of float32 numbers (`array.ctypes.data`), of the tables `a_taps` and `b_taps`, and
    distances in elements, all int64. With start = c the product is added to C; with start_row = 0
    every row starts with the same vectors (a bias).
    """)
turn = caller("turn", 7, """turn(address, (from, from_row, rows, columns, to, to_row, width)):
    to[n, m] = from[m, n] for n < columns and m < width, with 0 where m >= rows.

    At most `lanes` rows, columns and width; only the numbers named are read and written.
    """)
copy = caller("copy", 10, """copy(address, (from, from_row, first, last, lo, hi, to, to_row, rows,
    width)): to[r, v] = from[r, v] for first <= r < last and lo <= v < hi, else 0; r < rows,
    v < width.

    Reads only what it copies, so `from` may point before the plane; writes nothing else.
    """)
gather = caller("gather", 13, """gather(address, (from, from_row, step, first, last, lo, hi, to,
    to_row, to_part, rows, width, parts)): as `copy`, columns that are `step` apart side by side:
    to[p to_part + r to_row + v] = from[r, v step + p], where first <= r < last and
    lo <= v step + p < hi, else 0; p < parts <= step.
    """)
weave = caller("weave", 4, """weave(address, (from, far, to, count)): to[k n + q] = from[q far + n] for
    the k lines that the address stands for, `count` numbers in all.

    May read a vector beyond the end of each line.
    """)
dots = caller("dots", 9, """dots(address, (x, x_row, x_tap, y, y_row, rows, columns, out, out_tap)):
    out[t] += sum over r < rows, b < columns of  y[r, b] x[r, b + t x_tap], for as many t as the
    address stands for; rows is at least 1.
    """)
