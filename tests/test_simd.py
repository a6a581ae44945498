"""The register tile in every width, and the convolutions on it."""
import ctypes
import itertools
import mmap
import os
import pathlib
import subprocess
import sys
import threading

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyvision as tv
from tinyvision import simd
from tinyvision.kernel import jit
from tinyvision.ops import conv2d_depthwise_fast as depthwise
from tinyvision.ops import conv2d_fast, conv2d_plan, conv2d_weight_fast
from tinyvision.ops.conv2d import Conv2d, conv2d_kernel
from tinyvision.simd import copy, dots, gather, multiply, turn, weave

LANES = sorted(simd.WIDTHS)
rng = np.random.default_rng(3)


def numbers(*shape):
    return rng.standard_normal(shape, dtype=np.float32)


def at(array):
    return array.ctypes.data


@jit
def call_multiply(address, arguments):
    multiply(address, arguments)


@jit
def call_turn(address, arguments):
    turn(address, arguments)


@jit
def call_copy(address, arguments):
    copy(address, arguments)


@jit
def call_gather(address, arguments):
    gather(address, arguments)


@jit
def call_weave(address, arguments):
    weave(address, arguments)


@jit
def call_dots(address, arguments):
    dots(address, arguments)


@pytest.fixture(params=LANES)
def tiles(request):
    with simd.use_lanes(request.param):
        yield simd.tiles()


# --- the tile itself ------------------------------------------------------------------------------
@pytest.mark.parametrize("steps, taps, block", [(1, 1, 9), (7, 3, 2), (6, 4, 3), (3, 5, 100)])
def test_every_tile_is_a_matrix_product(tiles, steps, taps, block):
    for how, vectors, height in simd._tiles(simd.WIDTHS[tiles.lanes]):
        n = vectors * tiles.lanes
        a, b, start = numbers(steps, 60), numbers(steps, taps, n), numbers(height, n)
        places = rng.permutation(20)[:taps].astype(np.int64)
        c = np.full((height, n) if how == simd.ROWS else (n, height), np.nan, np.float32)
        here = np.arange(taps) * n
        call_multiply(tiles.table[how, vectors.bit_length() - 1, height],
                      (at(a), 2, 60, at(places), at(b), taps * n, at(here), steps, taps, block,
                       at(start), n, at(c), c.shape[1], n))
        windows = np.stack([a[:, places + 2 * m] for m in range(height)]).reshape(height, -1)
        expected = start + windows.astype("f8") @ b.reshape(steps * taps, n)
        got = c if how == simd.ROWS else c.T
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_columns_beyond_those_wanted_are_not_written(tiles):
    n, height = 2 * tiles.lanes, tiles.rows[1]
    a, b, zero, table = numbers(1, height), numbers(1, n), np.zeros(n, "f4"), np.zeros(1, np.int64)
    for columns in (1, tiles.lanes, n - 1):
        c = np.full((n, height + 3), 7, np.float32)
        call_multiply(tiles.table[simd.COLUMNS, 1, height],
                      (at(a), 1, 0, at(table), at(b), 0, at(table), 1, 1, 1, at(zero), 0, at(c),
                       height + 3, columns))
        np.testing.assert_allclose(c[:columns, :height], b[0, :columns, None] * a[0], rtol=1e-6)
        assert (c[columns:] == 7).all() and (c[:, height:] == 7).all()


@pytest.mark.parametrize("steps, taps", [(0, 3), (3, 0)])
def test_a_product_over_nothing_is_the_start(tiles, steps, taps):
    n, zero = tiles.lanes, np.zeros(5, np.int64)
    start, c, x = numbers(3, n), np.full((3, n), np.nan, "f4"), numbers(9)
    call_multiply(tiles.table[simd.ROWS, 0, 3],
                  (at(x), 1, 1, at(zero), at(x), 1, at(zero), steps, taps, 1, at(start), n, at(c),
                   n, n))
    assert (c == start).all()


def test_turn_transposes_and_writes_only_what_is_named(tiles):
    L = tiles.lanes
    for rows, columns, width in ((1, 1, 1), (L, L, L), (L - 1, 2, L), (2, L - 1, 2), (0, L, L)):
        a, to = numbers(L, L + 5), np.full((L + 1, L + 1), 7, np.float32)
        call_turn(tiles.turn, (at(a), L + 5, rows, columns, at(to), L + 1, width))
        expected = np.full((L + 1, L + 1), 7, np.float32)
        expected[:columns, :width] = 0
        expected[:columns, :rows] = a[:rows, :columns].T
        assert (to == expected).all()


EDGES = ((0, 3, 0, 5), (1, 3, 2, 67), (2, 2, 0, 4), (0, 2, 3, 3), (0, 2, 16, 48), (1, 2, 3, 4),
         (0, 3, 5, 200))                   # first, last, lo, hi


@pytest.mark.parametrize("width", [1, 4, 5, 19, 70])
def test_copy_pads_and_writes_only_what_is_named(tiles, width):
    for first, last, lo, hi in EDGES:
        a, to = numbers(3, 80), np.full((3, width + 2), np.nan, np.float32)
        lo, hi = min(lo, width), min(hi, width)
        call_copy(tiles.copy, (at(a), 80, first, last, lo, hi, at(to), width + 2, 3, width))
        expected = np.zeros((3, width), np.float32)
        expected[first:last, lo:hi] = a[first:last, lo:hi]
        assert (to[:, :width] == expected).all() and np.isnan(to[:, width:]).all()


@pytest.mark.parametrize("step", [2, 3, 4, 7])
@pytest.mark.parametrize("width", [1, 4, 19, 35])
def test_gather_deals_columns_to_parts_and_writes_only_what_is_named(tiles, step, width):
    for (first, last, lo, hi), parts in itertools.product(EDGES, (1, step - 1, step)):
        a, to = numbers(3, 300), np.full((parts, 3, width + 2), np.nan, np.float32)
        lo, hi = min(lo, width * step), min(hi, width * step)
        call_gather(tiles.gather(step), (at(a), 300, step, first, last, lo, hi, at(to), width + 2,
                                         3 * (width + 2), 3, width, parts))
        expected = np.zeros((3, width * step), np.float32)
        expected[first:last, lo:hi] = a[first:last, lo:hi]
        expected = expected.reshape(3, width, step).transpose(2, 0, 1)[:parts]
        assert (to[..., :width] == expected).all() and np.isnan(to[..., width:]).all()


@pytest.mark.parametrize("step", simd.STEPS)
def test_weave_takes_from_lines_in_turn(tiles, step):
    L = tiles.lanes
    for count in (1, 2, step * L - 1, step * L, 2 * step * L + 3):
        lines, to = numbers(step, 3 * L + 2), np.full(count + 3, np.nan, np.float32)
        call_weave(tiles.weaves[step], (at(lines), lines.shape[1], at(to), count))
        expected = lines.T.ravel()[:count]
        assert (to[:count] == expected).all() and np.isnan(to[count:]).all()


def test_dots_are_dot_products_of_shifts(tiles):
    L = tiles.lanes
    for taps in range(1, simd.DOTS + 1):
        for columns in (1, L, 2 * L + 3):
            x, y = numbers(4, columns + 3 * taps), numbers(4, columns)
            out = numbers(taps, 2)
            expected = out.astype("f8")
            expected[:, 0] += [(y * x[:, 3 * t:3 * t + columns].astype("f8")).sum()
                               for t in range(taps)]
            call_dots(tiles.dots[taps], (at(x), x.shape[1], 3, at(y), columns, 4, columns, at(out), 2))
            np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


# --- which width ----------------------------------------------------------------------------------
def test_the_widths_of_processors(monkeypatch):
    import llvmlite.binding as llvm
    for features, lanes in (({"avx512f": True, "avx2": True, "fma": True}, 16),
                            ({"avx2": True, "fma": True}, 8), ({"avx2": True}, 0),
                            ({"neon": True}, 4), ({}, 0)):
        monkeypatch.setattr(llvm, "get_host_cpu_features", lambda f=features: f)
        assert simd.native_lanes.__wrapped__() == lanes


def test_a_width_is_forced_in_one_thread_only():
    usual, seen = simd.tiles(), []
    with simd.use_lanes(4):
        thread = threading.Thread(target=lambda: seen.append(simd.tiles()))
        thread.start()
        thread.join()
        assert simd.tiles().lanes == 4 and seen == [usual]
    assert simd.tiles() is usual
    with simd.use_lanes(0):
        assert simd.tiles() is None
    with pytest.raises(ValueError, match="got 5, expected 0 or one of"):
        simd.use_lanes(5).__enter__()


def test_an_unknown_width_in_the_environment_is_refused():
    done = subprocess.run([sys.executable, "-c", "from tinyvision import simd; simd.tiles()"],
                          env={**os.environ, "TINYVISION_LANES": "3"}, capture_output=True, text=True)
    assert done.returncode and "TINYVISION_LANES is '3', expected 0, 4, 8 or 16" in done.stderr


# --- the convolutions on it -----------------------------------------------------------------------
def three(op, x, w, y):
    """The convolution's three faces, of arrays."""
    return (op.forward(x, w, np.arange(len(w), dtype=x.dtype)),
            op.transpose(x.shape[2:]).forward(y, w), op.weight(w.shape).forward(x, y))


def check(N, C, F, G, size, window, stride, padding, dilation):
    """float32 on tiles against float64 by matrix products."""
    op = Conv2d(stride, padding, dilation, G)
    A, B = op.size(*size, *window)
    if min(A, B) < 1:
        return
    x, w, y = numbers(N, C * G, *size), numbers(F * G, C, *window), numbers(N, F * G, A, B)
    double = three(op, *(v.astype("f8") for v in (x, w, y)))
    for got, expected in zip(three(op, x, w, y), double):
        assert got.dtype == "f4"
        scale = max(1, abs(expected).max(initial=0))
        np.testing.assert_allclose(got, expected, rtol=0, atol=3e-6 * scale)


TUNED_FOR = {                              # every path: tall, wide, stacked, dots, phases, bands
    "tall": (2, 5, 64, 1, (9, 20), (3, 3), (1, 1), (1, 1), (1, 1)),
    "tall, one vector": (1, 7, 48, 1, (8, 9), (3, 3), (1, 1), (1, 1), (1, 1)),
    "strided": (2, 20, 33, 1, (13, 27), (3, 3), (2, 3), (1, 2), (1, 1)),
    "dilated": (1, 4, 35, 1, (15, 16), (3, 2), (1, 1), (2, 2), (2, 3)),
    "wide": (2, 3, 5, 1, (7, 45), (3, 3), (1, 1), (1, 1), (1, 1)),
    "wide, in phases": (2, 6, 3, 1, (9, 81), (3, 3), (2, 2), (1, 1), (1, 1)),
    "depthwise": (2, 1, 1, 5, (11, 39), (3, 3), (1, 1), (1, 1), (1, 1)),
    "depthwise, strided down": (2, 1, 1, 3, (11, 39), (5, 3), (2, 1), (2, 1), (1, 2)),
    "groups": (3, 4, 4, 3, (9, 33), (3, 3), (1, 1), (1, 1), (1, 1)),
    "1 x 1": (2, 37, 41, 1, (6, 7), (1, 1), (1, 1), (0, 0), (1, 1)),
    "1 x 1, strided": (2, 5, 34, 1, (7, 7), (1, 1), (2, 2), (0, 0), (1, 1)),
    "7 x 1": (1, 3, 4, 1, (20, 30), (7, 1), (1, 1), (3, 0), (1, 1)),
    "1 x 7": (1, 3, 4, 1, (20, 40), (1, 7), (1, 1), (0, 3), (1, 1)),
    "long rows of taps": (1, 1, 2, 1, (5, 60), (2, 17), (1, 1), (0, 8), (1, 1)),
    "padding beyond the filter": (1, 2, 3, 1, (4, 5), (2, 2), (1, 1), (4, 3), (1, 1)),
    "depthwise, strided": (2, 1, 1, 3, (11, 39), (3, 3), (2, 2), (1, 1), (1, 1)),
    "depthwise, strides 3 and 2": (2, 1, 1, 3, (11, 39), (3, 5), (3, 2), (1, 1), (2, 3)),
    "depthwise, 5 x 5, two filters": (2, 1, 2, 3, (9, 70), (5, 5), (1, 1), (2, 2), (1, 1)),
    "depthwise, 7 x 7": (1, 1, 1, 2, (9, 150), (7, 7), (1, 1), (3, 3), (1, 1)),
    "depthwise, less than a vector": (2, 1, 1, 3, (6, 3), (3, 3), (1, 1), (1, 1), (1, 1)),
    "depthwise, one more than a vector": (2, 1, 1, 3, (6, 17), (5, 5), (1, 1), (2, 2), (1, 1)),
    "depthwise, one large map": (1, 1, 1, 1, (130, 140), (3, 3), (1, 1), (1, 1), (1, 1)),
    "depthwise, padding beyond the filter": (1, 1, 1, 2, (4, 20), (3, 3), (1, 1), (5, 4), (1, 1)),
    "depthwise, dilated, wide": (1, 1, 1, 2, (9, 140), (3, 3), (1, 1), (2, 2), (2, 2)),
    "one channel, six filters": (2, 1, 6, 1, (9, 20), (4, 4), (1, 1), (1, 1), (1, 1)),
    "few classes, small maps": (3, 6, 3, 2, (6, 7), (3, 3), (1, 1), (1, 1), (1, 1)),
    "many images of few pixels": (21, 9, 33, 1, (3, 2), (3, 2), (1, 1), (0, 0), (1, 1)),
    "many images": (9, 3, 17, 1, (2, 3), (2, 2), (1, 1), (1, 1), (1, 1)),
    "bands": (1, 64, 16, 1, (80, 90), (3, 3), (1, 1), (1, 1), (1, 1)),
    "few classes": (2, 40, 3, 1, (9, 20), (3, 3), (1, 1), (1, 1), (1, 1)),
    "few classes, strided": (3, 20, 11, 2, (9, 20), (3, 2), (2, 2), (1, 1), (1, 2)),
    "a column": (2, 6, 5, 1, (40, 1), (3, 1), (1, 1), (1, 0), (1, 1)),
    "columns, in phases": (2, 6, 5, 2, (40, 2), (4, 3), (2, 2), (1, 1), (1, 1)),
    "smaller than the stride": (2, 3, 5, 1, (2, 3), (2, 2), (5, 4), (0, 0), (1, 1)),
    "one pixel": (4, 3, 5, 1, (1, 1), (1, 1), (1, 1), (0, 0), (1, 1)),
    "more weights than pixels, by channel": (1, 31, 256, 1, (2, 57), (6, 3), (1, 3), (5, 2), (2, 2)),
    "more weights than pixels, by filter": (1, 65, 128, 1, (5, 5), (3, 3), (1, 1), (1, 1), (1, 1)),
    "columns in three phases": (2, 6, 11, 1, (9, 50), (3, 4), (1, 3), (1, 1), (1, 1)),
    "columns in four phases": (1, 5, 3, 1, (9, 150), (3, 5), (2, 4), (1, 1), (1, 1)),
    "columns in five phases": (1, 5, 3, 1, (9, 50), (3, 5), (1, 5), (1, 1), (1, 1)),
    "small maps, columns in phases": (3, 20, 5, 1, (12, 7), (3, 3), (1, 2), (1, 1), (1, 3)),
    "small maps, columns in three phases": (2, 7, 13, 2, (9, 14), (2, 5), (1, 3), (0, 2), (2, 1)),
    "narrow maps, turned": (2, 64, 16, 2, (150, 5), (5, 4), (1, 1), (1, 1), (2, 1)),
    "narrow maps, turned, in phases": (2, 64, 17, 1, (151, 9), (3, 4), (3, 1), (2, 1), (1, 1)),
    "one row and column of outputs": (2, 20, 33, 1, (2, 3), (2, 2), (2, 3), (0, 0), (1, 1)),
    "a column, strided": (3, 33, 9, 1, (30, 2), (1, 1), (1, 2), (0, 0), (1, 1)),
    "rows beyond the image": (3, 33, 40, 1, (2, 20), (7, 3), (1, 2), (6, 1), (2, 2)),
    "small maps in one run, without gaps": (5, 1, 40, 1, (8, 2), (7, 1), (1, 1), (2, 0), (1, 1)),
    "depthwise, nothing between rows": (2, 1, 1, 3, (40, 19), (6, 3), (2, 3), (7, 1), (3, 1)),
}


@pytest.mark.parametrize("case", TUNED_FOR.values(), ids=TUNED_FOR)
def test_the_three_convolutions_on_tiles(tiles, case):
    check(*case)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_convolutions_of_any_shape(data):
    whole = lambda lo, hi: data.draw(st.integers(lo, hi))  # noqa: E731
    two = lambda lo, hi: (whole(lo, hi), whole(lo, hi))  # noqa: E731
    with simd.use_lanes(data.draw(st.sampled_from(LANES))):
        check(whole(1, 3), whole(1, 9), whole(1, 20), whole(1, 3), two(1, 40), two(1, 5), two(1, 3),
              two(0, 4), two(1, 3))


def test_the_shapes_reach_every_kind_of_tile(monkeypatch):
    kinds, choose, sums = set(), conv2d_plan.shape_of_tiles, conv2d_plan.shape_of_sums

    def seen(function, *arguments):
        found = function(*arguments)
        kinds.add(found[0] if function is choose else found)
        return found
    monkeypatch.setattr(conv2d_plan, "shape_of_tiles", lambda *a: seen(choose, *a))
    monkeypatch.setattr(conv2d_plan, "shape_of_sums", lambda *a: seen(sums, *a))
    for way in (conv2d_fast.way, conv2d_weight_fast.way):
        way.cache_clear()
    with simd.use_lanes(16):
        for case in TUNED_FOR.values():
            check(*case)
    assert kinds == {(conv2d_plan.TALL, 0, 0), (conv2d_plan.TALL, 0, 1), (conv2d_plan.WIDE, 0, 0),
                     (conv2d_plan.WIDE, 1, 0), conv2d_plan.BY_FILTER, conv2d_plan.BY_CHANNEL,
                     conv2d_plan.DOTTED}


def test_the_shapes_reach_every_way_to_share_sums():
    plans = [conv2d_weight_fast.way(*shapes_of(case), 16, 2)[1] for case in TUNED_FOR.values()]
    shared = {(p.how, int(p.sizes["shared"][0])) for p in plans if p.how is not None}
    assert shared == {*itertools.product((conv2d_plan.BY_FILTER, conv2d_plan.BY_CHANNEL), (0, 1)),
                      (conv2d_plan.DOTTED, 0)}


def test_the_shapes_reach_all_code_for_planes():
    plans = [(depthwise.plan(False, x, w, y, *options, 16, 2),
              depthwise.weight_plan(x, w, y, *options, 16, 2))
             for x, w, y, *options in map(shapes_of, TUNED_FOR.values()) if x[1] == options[-1]]
    rolled = [forward for forward, _ in plans if forward and forward.kind == conv2d_plan.ROLL]
    assert {int(p.sizes["J"][0]) for p in rolled} == {3, 5, 7}
    assert max(p.sizes["blocks"][0] for p in rolled) > 1 < max(p.sizes["bands"][0] for p in rolled)
    assert any(p and p.kind == conv2d_plan.SLIDE for p, _ in plans)
    assert {p is None for _, p in plans} == {p is None for p, _ in plans} == {True, False}


def shapes_of(case):
    """The shapes of x, w and y, and what a plan is asked with."""
    N, C, F, G, size, window, stride, padding, dilation = case
    A, B = Conv2d(stride, padding, dilation, G).size(*size, *window)
    return ((N, C * G, *size), (F * G, C, *window), (N, F * G, A, B), stride, padding, dilation, G)


def test_what_is_not_finite_stays_in_its_windows():
    """What is computed beside the map, or of another row, must not come near it."""
    for C, F, G in ((3, 33, 1), (3, 4, 1), (1, 1, 3), (1, 2, 2)):
        x, w = numbers(1, C * G, 9, 40), numbers(F * G, C, 3, 3)
        x[0, 0, 4, 20] = np.inf
        y = Conv2d((1, 1), (1, 1), (1, 1), G).forward(x, w)
        bad = ~np.isfinite(y).all((0, 1))
        expected = np.zeros((9, 40), bool)
        expected[3:6, 19:22] = True
        assert (bad == expected).all()


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("C, H, F, G", [
    (8, 2, 4, 1), (64, 3, 8, 1), (16, 5, 3, 1), (5, 16, 7, 1), (3, 12, 40, 1), (4, 8, 4, 4),
    (4, 21, 8, 4)])
def test_nothing_beyond_the_images_is_read(lanes, C, H, F, G):
    """The image ends where its memory does: the page behind it must not be touched."""
    page = mmap.PAGESIZE
    size = -(-C * H * H * 4 // page) * page
    memory = mmap.mmap(-1, size + page)
    last = ctypes.addressof(ctypes.c_char.from_buffer(memory, size))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(last), ctypes.c_size_t(page), 0) == 0
    x = np.frombuffer(memory, np.float32, C * H * H, size - C * H * H * 4).reshape(1, C, H, H)
    x[...] = numbers(*x.shape)
    with simd.use_lanes(lanes):
        for K, padding, S in ((1, 0, 1), (3, 1, 1), (3, 1, 2), (5, 2, 1)):
            if K <= H:
                op = Conv2d((S, S), (padding, padding), (1, 1), G)
                w, back = numbers(F, C // G, K, K), numbers(C, F // G, K, K)
                y = op.forward(x, w)
                np.testing.assert_array_equal(y, op.forward(x.copy(), w))
                op.transpose(((H - 1) * S + 1,) * 2).forward(x, back)
                op.weight(w.shape).forward(x, y)
    assert libc.mprotect(ctypes.c_void_p(last), ctypes.c_size_t(page), 3) == 0


def test_a_damaged_file_of_machine_code_is_made_again(tmp_path):
    """Cut short, empty, or another's: compiled again, without a word and without a crash."""
    text = "import numpy as np; from tinyvision import ops, kernel; print(kernel.cache_folder()); " \
           "ops.conv2d(np.ones((1, 2, 9, 9), 'f4'), np.ones((3, 2, 3, 3), 'f4'))"
    environment = {**os.environ, "TINYVISION_CACHE": str(tmp_path)}

    def run():
        done = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True,
                              text=True, check=True)
        return next(pathlib.Path(done.stdout.strip()).glob("simd*.o"))
    file = run()
    whole = file.read_bytes()
    for damaged in (b"", whole[:1000], whole[:-1], b"x" + whole[1:]):
        file.write_bytes(damaged)
        assert run().read_bytes() == whole


def test_a_window_wider_than_memory_is_an_error_at_once():
    x, w = np.ones((1, 1, 8, 8), "f4"), np.ones((1, 1, 3, 3), "f4")
    with pytest.raises((MemoryError, ValueError), match="conv2d: .* bytes"):
        Conv2d((1, 1), (1 << 40, 1 << 40), (1 << 40, 1 << 40)).forward(x, w)


def test_a_result_larger_than_memory_names_its_bytes():
    x, w = np.ones((1, 1, 4, 4), "f4"), np.ones((1, 1, 3, 3), "f4")
    with pytest.raises(MemoryError, match=r"2000000002\) needs 1.6e\+19 bytes"):
        tv.ops.conv2d(x, w, padding=10 ** 9)


@pytest.mark.parametrize("stride", [7, 1000, 1 << 40])
def test_a_stride_beyond_the_image_takes_no_time(stride):
    x, w = tv.Tensor(numbers(1, 2, 5, 5), True), numbers(3, 2, 3, 3)
    y = tv.ops.conv2d(x, w, stride=stride)
    y.sum().backward()
    expected = np.zeros((1, 2, 5, 5))
    expected[0, :, :3, :3] = w.sum(0)
    assert y.shape == (1, 3, 1, 1)
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_the_same_from_run_to_run():
    x, w, y = numbers(3, 16, 30, 31), numbers(40, 16, 3, 3), numbers(3, 40, 28, 29)
    op = Conv2d((1, 1), (0, 0), (1, 1), 1)
    for first, second in zip(three(op, x, w, y), three(op, x, w, y)):
        assert (first == second).all()


def test_without_tiles_the_portable_rung_runs():
    x, w = numbers(1, 3, 9, 9), numbers(4, 3, 3, 3)
    expected = Conv2d().forward(x, w)
    with simd.use_lanes(0):
        np.testing.assert_allclose(Conv2d().forward(x, w), expected, rtol=1e-4, atol=1e-5)


def test_everything_is_written():
    x, w, y = numbers(2, 3, 9, 40), numbers(3, 3, 3, 3), np.full((2, 3, 4, 38), np.nan, np.float32)
    conv2d_kernel.variants["cpu"](x, w, np.zeros(3, "f4"), 2, 1, 0, 0, 1, 1, 1, y)
    assert np.isfinite(y).all()


# --- threads --------------------------------------------------------------------------------------
def test_the_number_of_threads():
    usual = tv.get_num_threads()
    x, w = numbers(3, 4, 20, 20), numbers(5, 4, 3, 3)
    expected = Conv2d().forward(x, w)
    try:
        tv.set_num_threads(1)
        assert tv.get_num_threads() == 1
        assert all(pool["num_threads"] == 1 for pool in threadpoolctl.threadpool_info()
                   if pool["user_api"] == "blas")
        np.testing.assert_allclose(Conv2d().forward(x, w), expected, rtol=1e-5, atol=1e-5)
    finally:
        tv.set_num_threads(usual)
    for wrong in (0, 10**6, 1.5, True):
        with pytest.raises(ValueError, match="set_num_threads: got .*, expected a whole number"):
            tv.set_num_threads(wrong)
