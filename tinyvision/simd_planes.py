"""Machine code for depthwise convolutions: a whole plane, up to 4 vectors of columns at a time.

See `ops.conv2d_depthwise_fast` for the idea, `simd` for why this is written in LLVM's language.
The last vector of a run ends with the run and overlaps the one before, so some numbers are made
twice (not by `match`, which would count them twice). A run of less than a vector has a mask.
"""
from __future__ import annotations

import functools

import numpy as np

from tinyvision import simd
from tinyvision.worker import caller

ROLL, MATCH, SLIDE = "roll", "match", "slide"
MOST = {(ROLL, 3): 4, (ROLL, 5): 2, (ROLL, 7): 2, (MATCH, 3): 4, (MATCH, 5): 1, (SLIDE, 1): 4,
        (SLIDE, 4): 4}
FEW = {(ROLL, 3): 2, (ROLL, 5): 1, (ROLL, 7): 1, (MATCH, 3): 1, (MATCH, 5): 1, (SLIDE, 1): 4,
       (SLIDE, 4): 4}


class Planes:
    """The functions for one width.

    Attributes:
        most: the vectors of the longest run, by (ROLL or MATCH, the filter's size) or (SLIDE, the
            vectors that it makes at a time): those whose sums fit 32 registers, or 16.
        tables: addresses, by the same, int64 [vectors - 1].
    """

    def __init__(self, width: simd.Width):
        self.most = FEW if width is simd.AVX2 else MOST
        engine = simd._load(program(width.lanes, self.most), f"planes{width.lanes}")
        self.tables = {kind: np.array([engine.get_function_address(_name(kind, vectors))
                                       for vectors in range(1, most + 1)])
                       for kind, most in self.most.items()}
        self._engine = engine


def planes() -> Planes:
    """The functions for the vector unit that `simd.tiles` has chosen."""
    return _planes_of(simd.tiles().lanes)


@functools.cache
def _planes_of(lanes):
    return Planes(simd.WIDTHS[lanes])


def _name(kind, vectors):
    return "_".join(map(str, (*kind, vectors)))


# --- the text, in LLVM's language -----------------------------------------------------------------
def program(L: int, most: dict) -> str:
    """All functions of a width, as LLVM assembly."""
    V, mask = f"<{L} x float>", f"<{L} x i1>"
    write = {ROLL: roll_text, MATCH: match_text, SLIDE: slide_text}
    texts = [write[what](L, K, vectors)
             for (what, K), count in most.items() for vectors in range(1, count + 1)]
    return "\n".join([*texts, f"declare {V} @llvm.fma.v{L}f32({V}, {V}, {V})",
                      f"declare {V} @llvm.masked.load.v{L}f32.p0(ptr, {mask}, {V})",
                      f"declare float @llvm.vector.reduce.fadd.v{L}f32(float, {V})",
                      f"declare void @llvm.masked.store.v{L}f32.p0({V}, ptr, {mask})", ""])


def roll_text(L, K, vectors) -> str:
    """K x K taps with stride 1, from the image itself; see `roll`.

    `%old{i}_{v}` is vector v of the output row that has met i rows of the filter; the next input
    row brings `%new{i}_{v}`, which has met i + 1.
    """
    V, every = f"<{L} x float>", range(vectors)
    lines = [f"define void @{_name((ROLL, K), vectors)}(ptr %x, i64 %x_row, i64 %first, i64 %last, ptr %w, "
             "i64 %w_step, ptr %y, i64 %y_row, i64 %rows, i64 %columns, ptr %bias, ptr %masks) {",
             "entry:", f"  %end = sub i64 %columns, {L}", *_everywhere(L, "bias", "%bias")]
    for k in range(K * K):
        lines += [f"  %w.far{k} = mul i64 %w_step, {k}",
                  f"  %w.at{k} = getelementptr float, ptr %w, i64 %w.far{k}",
                  *_everywhere(L, f"w{k}", f"%w.at{k}")]
    lines += [*_edge_masks(L, K, vectors), *simd.lanes_between(L, "mask", "0", "%columns"), f"  %turns = add i64 %rows, {K - 1}",
              "  %any = icmp sgt i64 %rows, 0", "  br i1 %any, label %row, label %done",
              "row:                                     ; one row of the image",
              "  %q = phi i64 [0, %entry], [%q.next, %next]"]
    lines += [f"  %old{i}_{v} = phi {V} [%bias.all, %entry], [%got{i - 1}_{v}, %next]"
              for i in range(1, K) for v in every]
    lines += ["  %below = icmp sge i64 %q, %first", "  %above = icmp slt i64 %q, %last",
              "  %inside = and i1 %below, %above", "  br i1 %inside, label %sums, label %got",
              "sums:", "  %x.far = mul i64 %q, %x_row",
              "  %x.row = getelementptr float, ptr %x, i64 %x.far"]
    for v in every:
        for j in range(K):
            lines += _load(L, f"x{v}_{j}", "%x.row", _begin(L, v, vectors), j, _mask(v, vectors, j))
        for i in range(K):
            total = f"%old{i}_{v}" if i else "%bias.all"
            for j in range(K):
                name = f"%sum{i}_{v}_{j}" if j < K - 1 else f"%new{i}_{v}"
                lines.append(f"  {name} = call {V} @llvm.fma.v{L}f32({V} %w{i * K + j}.all, "
                             f"{V} %x{v}_{j}, {V} {total})")
                total = name
    lines += ["  br label %got", "got:"]
    lines += [f"  %got{i}_{v} = phi {V} [{f'%old{i}_{v}' if i else '%bias.all'}, %row], "
              f"[%new{i}_{v}, %sums]" for i in range(K) for v in every]
    lines += [f"  %r = sub i64 %q, {K - 1}", "  %whole = icmp sge i64 %r, 0",
              "  br i1 %whole, label %store, label %next",
              "store:", *_store(L, vectors, f"%got{K - 1}_", "%r"), "  br label %next",
              "next:", "  %q.next = add i64 %q, 1", "  %more = icmp slt i64 %q.next, %turns",
              "  br i1 %more, label %row, label %done", "done:", "  ret void", "}"]
    return "\n".join(lines)


def match_text(L, K, vectors) -> str:
    """The gradient of K x K weights with stride 1, from the images themselves; see `match`.

    A row of x meets K rows of y: the newest, `%y0_{v}`, and those before it. There is a vector of
    sums for each weight; its lanes are added up at the end.
    """
    V, every, taps = f"<{L} x float>", range(vectors), [(i, j) for i in range(K) for j in range(K)]
    lines = [f"define void @{_name((MATCH, K), vectors)}(ptr %x, i64 %x_row, i64 %first, i64 %last, ptr %y, "
             "i64 %y_row, i64 %rows, i64 %columns, ptr %out, ptr %masks) {", "entry:",
             f"  %rest = sub i64 %columns, {(vectors - 1) * L}", *simd.lanes_between(L, "mask", "0", "%rest"),
             *_edge_masks(L, K, vectors), f"  %turns = add i64 %rows, {K - 1}",
             "  %any = icmp sgt i64 %rows, 0", "  br i1 %any, label %row, label %done",
             "row:                                     ; one row of x",
             "  %q = phi i64 [0, %entry], [%q.next, %next]"]
    lines += [f"  %y{i}_{v} = phi {V} [zeroinitializer, %entry], [%y{i - 1}_{v}, %next]"
              for i in range(1, K) for v in every]
    lines += [f"  %old{i}_{j} = phi {V} [zeroinitializer, %entry], [%sum{i}_{j}, %next]"
              for i, j in taps]
    lines += ["  %new = icmp slt i64 %q, %rows", "  br i1 %new, label %fresh, label %begin",
              "fresh:", "  %y.far = mul i64 %q, %y_row",
              "  %y.row = getelementptr float, ptr %y, i64 %y.far"]
    for v in every:
        lines += _load(L, f"y.new{v}", "%y.row", v * L, 0, "%mask" if v == vectors - 1 else None)
    lines += ["  br label %begin", "begin:",
              *(f"  %y0_{v} = phi {V} [zeroinitializer, %row], [%y.new{v}, %fresh]" for v in every),
              "  %below = icmp sge i64 %q, %first", "  %above = icmp slt i64 %q, %last",
              "  %inside = and i1 %below, %above", "  br i1 %inside, label %loads, label %next",
              "loads:", "  %x.far = mul i64 %q, %x_row",
              "  %x.row = getelementptr float, ptr %x, i64 %x.far"]
    for v in every:
        for j in range(K):
            lines += _load(L, f"x{v}_{j}", "%x.row", v * L, j, _mask(v, vectors, j))
    lines.append("  br label %try0")

    def got(i):
        return [f"  %got{i}_{j} = phi {V} [%old{i}_{j}, %try{i}], "
                f"[%part{i}_{j}_{vectors - 1}, %add{i}]" for j in range(K)]
    for i in range(K):                                       # only with rows of y that are there
        lines += [f"try{i}:", *(got(i - 1) if i else ()), f"  %r{i} = sub i64 %q, {i}",
                  f"  %in{i} = icmp ult i64 %r{i}, %rows",
                  f"  br i1 %in{i}, label %add{i}, label %try{i + 1}", f"add{i}:"]
        for j in range(K):
            for v in every:
                before = f"%part{i}_{j}_{v - 1}" if v else f"%old{i}_{j}"
                lines.append(f"  %part{i}_{j}_{v} = call {V} @llvm.fma.v{L}f32({V} %y{i}_{v}, "
                             f"{V} %x{v}_{j}, {V} {before})")
        lines.append(f"  br label %try{i + 1}")
    lines += [f"try{K}:", *got(K - 1)]
    lines += ["  br label %next", "next:",
              *(f"  %sum{i}_{j} = phi {V} [%old{i}_{j}, %begin], [%got{i}_{j}, %try{K}]"
                for i, j in taps),
              "  %q.next = add i64 %q, 1", "  %more = icmp slt i64 %q.next, %turns",
              "  br i1 %more, label %row, label %add", "add:"]
    for k, (i, j) in enumerate(taps):
        lines += [f"  %all{k} = call reassoc float @llvm.vector.reduce.fadd.v{L}f32(float 0.0, "
                  f"{V} %sum{i}_{j})", f"  %out{k} = getelementptr float, ptr %out, i64 {k}",
                  f"  %before{k} = load float, ptr %out{k}",
                  f"  %after{k} = fadd float %before{k}, %all{k}",
                  f"  store float %after{k}, ptr %out{k}"]
    return "\n".join([*lines, "  br label %done", "done:", "  ret void", "}"])


def slide_text(L, together, vectors) -> str:
    """All taps of some rows of y after the other, from a padded copy; see `slide`.

    Short runs are made with as many rows at a time as give `together` vectors: a sum waits four
    cycles for the one before it. The last rows end with the plane and overlap those before.
    """
    V, R = f"<{L} x float>", max(1, together // vectors)
    cells = [(r, v) for r in range(R) for v in range(vectors)]
    lines = [f"define void @{_name((SLIDE, together), vectors)}(ptr %x, i64 %x_row, ptr %w, "
             "ptr %windows, ptr %places, i64 %taps, ptr %y, i64 %y_row, i64 %rows, i64 %columns, "
             "ptr %bias) {", "entry:",
             f"  %end = sub i64 %columns, {L}", f"  %bottom = sub i64 %rows, {R}",
             *_everywhere(L, "bias", "%bias"), *simd.lanes_between(L, "mask", "0", "%columns"),
             "  %some = icmp sgt i64 %taps, 0", "  %any = icmp sgt i64 %rows, 0",
             "  br i1 %any, label %row, label %done",
             "row:", "  %q = phi i64 [0, %entry], [%q.next, %store]",
             *(f"  %q{r} = add i64 %q, {r}" for r in range(R)),
             *(f"  %x.far{r} = mul i64 %q{r}, %x_row" for r in range(R)),
             *(f"  %x.row{r} = getelementptr float, ptr %x, i64 %x.far{r}" for r in range(R)),
             "  br i1 %some, label %tap, label %store",
             "tap:", "  %t = phi i64 [0, %row], [%t.next, %tap]",
             *(f"  %sum{r}_{v} = phi {V} [%bias.all, %row], [%new{r}_{v}, %tap]" for r, v in cells),
             "  %p.at = getelementptr i64, ptr %places, i64 %t", "  %p = load i64, ptr %p.at",
             "  %n.at = getelementptr i64, ptr %windows, i64 %t", "  %n = load i64, ptr %n.at",
             "  %w.at = getelementptr float, ptr %w, i64 %n", *_everywhere(L, "w", "%w.at"),
             *(f"  %x.tap{r} = getelementptr float, ptr %x.row{r}, i64 %p" for r in range(R))]
    for r, v in cells:
        lines += [*_load(L, f"x{r}_{v}", f"%x.tap{r}", _begin(L, v, vectors), 0),
                  f"  %new{r}_{v} = call {V} @llvm.fma.v{L}f32({V} %w.all, {V} %x{r}_{v}, "
                  f"{V} %sum{r}_{v})"]
    lines += ["  %t.next = add i64 %t, 1", "  %t.more = icmp slt i64 %t.next, %taps",
              "  br i1 %t.more, label %tap, label %store", "store:",
              *(f"  %all{r}_{v} = phi {V} [%bias.all, %row], [%new{r}_{v}, %tap]" for r, v in cells)]
    for r in range(R):
        lines += _store(L, vectors, f"%all{r}_", f"%q{r}")
    lines += [f"  %q.far = add i64 %q, {R}", "  %q.over = icmp sgt i64 %q.far, %bottom",
              "  %q.next = select i1 %q.over, i64 %bottom, i64 %q.far",
              "  %more = icmp slt i64 %q, %bottom",
              "  br i1 %more, label %row, label %done", "done:", "  ret void", "}"]
    return "\n".join(lines)


def _begin(L, v, vectors):
    """Where vector v of a run begins: the last one ends with the run."""
    return "%end" if v and v == vectors - 1 else v * L


def _everywhere(L, name, place):
    """%{name}.all: the number at `place` in all lanes."""
    V = f"<{L} x float>"
    yield f"  %{name}.one = load float, ptr {place}"
    yield f"  %{name}.1 = insertelement {V} poison, float %{name}.one, i32 0"
    yield f"  %{name}.all = shufflevector {V} %{name}.1, {V} poison, <{L} x i32> zeroinitializer"


def _edge_masks(L, K, vectors):
    """From %masks: which lanes of the first and the last vector are on the image, for each j."""
    for e, edge in enumerate(["first"] if vectors == 1 else ["first", "last"]):
        for j in range(K):
            yield f"  %{edge}.at{j} = getelementptr i64, ptr %masks, i64 {e * K + j}"
            yield f"  %{edge}.bits{j} = load i64, ptr %{edge}.at{j}"
            yield f"  %{edge}.few{j} = trunc i64 %{edge}.bits{j} to i{L}"
            yield f"  %{edge}.mask{j} = bitcast i{L} %{edge}.few{j} to <{L} x i1>"


def _mask(v, vectors, j):
    return f"%first.mask{j}" if v == 0 else f"%last.mask{j}" if v == vectors - 1 else None


def _load(L, name, row, begin, j, mask=None):
    """%{name}: the vector at `row` + begin + j, of those lanes that the mask has."""
    V = f"<{L} x float>"
    yield f"  %{name}.far = add i64 {begin}, {j}"
    yield f"  %{name}.at = getelementptr float, ptr {row}, i64 %{name}.far"
    yield (f"  %{name} = load {V}, ptr %{name}.at, align 4" if mask is None else
           f"  %{name} = call {V} @llvm.masked.load.v{L}f32.p0(ptr align 4 %{name}.at, "
           f"<{L} x i1> {mask}, {V} zeroinitializer)")


def _store(L, vectors, name, row):
    """A row of y."""
    V, y = f"<{L} x float>", f"%y.{row[1:]}"
    yield f"  {y}.far = mul i64 {row}, %y_row"
    yield f"  {y}.at = getelementptr float, ptr %y, i64 {y}.far"
    for v in range(vectors):
        yield f"  {y}.at{v} = getelementptr float, ptr {y}.at, i64 {_begin(L, v, vectors)}"
        yield (f"  store {V} {name}{v}, ptr {y}.at{v}, align 4" if vectors > 1 else
               f"  call void @llvm.masked.store.v{L}f32.p0({V} {name}{v}, ptr align 4 {y}.at{v}, "
               f"<{L} x i1> %mask)")


# --- calling it from Numba ------------------------------------------------------------------------
roll = caller("roll", 12, """roll(address, (x, x_row, first, last, w, w_step, y, y_row, rows, columns,
    bias, masks)): y[r, b] = bias + sum over i, j of  w[(i K + j) w_step] x[r + i, b + j].

    Of the rows of x those from `first` to before `last` are there; `masks` has, for the first and
    then for the last vector of the run, K whole numbers whose bits say which lanes of x are there
    for each j; all between must be. Nothing else is read or written.
    """)
match = caller("match", 10, """match(address, (x, x_row, first, last, y, y_row, rows, columns, out,
    masks)): out[i K + j] += sum over r, b of  y[r, b] x[r + i, b + j].

    As `roll`; the vectors of a run do not overlap, and `masks` leaves out what is beyond it.
    """)
slide = caller("slide", 11, """slide(address, (x, x_row, w, windows, places, taps, y, y_row, rows,
    columns, bias)): y[r, b] = bias + sum over t of  w[windows[t]] x[r x_row + b + places[t]].

    There are at least as many rows as it makes at a time. May read up to a vector beyond a run of
    less than one.
    """)
