"""RoI pooling and RoI Align: torchvision's formulas, adjoints, second order, every variant."""
from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyvision as tv
from tinyvision.cuda import compiler
from tinyvision.kernel import KERNELS, use_variant
from tinyvision.ops.roi_align import RoIAlign, RoIAlignAdjoint, roi_align
from tinyvision.ops.roi_pool import RoIPut, RoITake, roi_pool, round_half_away

VARIANTS = "reference", "cpu_loops", "cpu", pytest.param("gpu", marks=pytest.mark.skipif(
    compiler() is None, reason="no C++ compiler to run the CUDA text on the host"))
DTYPES = np.float32, np.float64
HERE = ["reference", "cpu_loops", "cpu"] + ["gpu"] * (compiler() is not None)
POOL = "pool", {}
ALIGN = [("align", dict(sampling_ratio=s, aligned=a)) for s in (-1, 1, 2, 3) for a in (False, True)]


@pytest.fixture(params=VARIANTS)
def variant(request):
    with use_variant(request.param):
        yield request.param


def call(kind, *args, **options):
    return (roi_pool if kind == "pool" else roi_align)(*args, **options)


def example(dtype=np.float64, seed=0):
    """x (2, 3, 7, 9), without ties, and 12 RoIs: inside, at the edge, outside, empty, inverted."""
    rng = np.random.default_rng(seed)
    x = (rng.permutation(2 * 3 * 7 * 9).reshape(2, 3, 7, 9) / 50 - 3).astype(dtype)
    boxes = [[0, 0, 0, 9, 7], [1, 1.3, .4, 5.2, 6.9], [1, -3, -2.5, 4, 3.5], [0, 6, 4, 14, 12],
             [0, 20, 20, 30, 30], [1, 2, 3, 2, 3], [1, 5, 5, 2, 1], [0, 2.5, .5, 4.5, 1.5],
             [1, -.5, -.5, 8.5, 6.5], [0, 3.1, 2.2, 3.4, 2.3], [1, -9, -9, -5, -4]]
    rng_box = rng.uniform(-2, 9, 4)
    return x, np.array(boxes + [[1, *rng_box]], dtype)


# --- torchvision's loops (roi_pool_kernel.cpp, roi_align_kernel.cpp), one C statement after another
def c_round(v):
    return int(math.copysign(math.floor(abs(float(v))), v)) if abs(v) % 1 < .5 else \
        int(math.copysign(math.floor(abs(float(v))) + 1, v))


def torchvision_pool(x, rois, size, scale=1.0):
    T, (_, C, H, W), (P, Q) = x.dtype.type, x.shape, size
    y = np.zeros((len(rois), C, P, Q), x.dtype)
    for k, roi in enumerate(rois.astype(x.dtype)):
        n = int(roi[0])
        x0, y0, x1, y1 = (c_round(v * T(scale)) for v in roi[1:])
        w, h = max(x1 - x0 + 1, 1), max(y1 - y0 + 1, 1)
        step_h, step_w = T(h) / T(P), T(w) / T(Q)
        for p in range(P):
            for q in range(Q):
                top = min(max(int(np.floor(T(p) * step_h)) + y0, 0), H)
                bottom = min(max(int(np.ceil(T(p + 1) * step_h)) + y0, 0), H)
                left = min(max(int(np.floor(T(q) * step_w)) + x0, 0), W)
                right = min(max(int(np.ceil(T(q + 1) * step_w)) + x0, 0), W)
                if bottom > top and right > left:
                    y[k, :, p, q] = x[n, :, top:bottom, left:right].max((1, 2))
    return y


def torchvision_align(x, rois, size, scale=1.0, sampling_ratio=-1, aligned=False):
    T, (_, C, H, W), (P, Q) = x.dtype.type, x.shape, size
    y = np.zeros((len(rois), C, P, Q), x.dtype)
    for k, roi in enumerate(rois.astype(x.dtype)):
        n, offset = int(roi[0]), T(.5 if aligned else 0)
        x0, y0, x1, y1 = (v * T(scale) - offset for v in roi[1:])
        w, h = x1 - x0, y1 - y0
        if not aligned:
            w, h = max(w, T(1)), max(h, T(1))
        step_h, step_w = h / T(P), w / T(Q)
        grid_h, grid_w = ((sampling_ratio, sampling_ratio) if sampling_ratio > 0 else
                          (math.ceil(h / T(P)), math.ceil(w / T(Q))))
        count = max(grid_h * grid_w, 1)
        for p in range(P):
            for q in range(Q):
                for i in range(grid_h):
                    v = y0 + T(p) * step_h + T(i + .5) * step_h / T(grid_h)
                    for j in range(grid_w):
                        u = x0 + T(q) * step_w + T(j + .5) * step_w / T(grid_w)
                        y[k, :, p, q] += bilinear(x[n], v, u) / T(count)
    return y


def bilinear(f, v, u):
    """torchvision's bilinear_interpolate: four corners."""
    H, W = f.shape[1:]
    if v < -1 or v > H or u < -1 or u > W:
        return 0
    v, u = max(v, 0), max(u, 0)
    top, left = int(v), int(u)
    if top >= H - 1:
        top = bottom = v = H - 1
    else:
        bottom = top + 1
    if left >= W - 1:
        left = right = u = W - 1
    else:
        right = left + 1
    a, b = v - top, u - left
    return ((1 - a) * (1 - b) * f[:, top, left] + (1 - a) * b * f[:, top, right]
            + a * (1 - b) * f[:, bottom, left] + a * b * f[:, bottom, right])


ORACLES = {"pool": torchvision_pool, "align": torchvision_align}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind, options", [POOL, *ALIGN])
def test_as_torchvision_computes_it(variant, kind, options, dtype):
    x, rois = example(dtype)
    for size, scale in (((2, 3), 1.0), ((7, 1), .75), ((4, 5), .5)):
        got = call(kind, x, rois, size, scale, **options)
        want = ORACLES[kind](x, rois, size, scale, **options)
        assert got.dtype == dtype and np.abs(want).sum() > 1
        tolerance = 0 if kind == "pool" else 1e-5 if dtype == np.float32 else 1e-12
        np.testing.assert_allclose(got.data, want, rtol=tolerance, atol=tolerance)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.tuples(*[st.integers(1, 6)] * 4), st.sampled_from([POOL, *ALIGN]),
       st.sampled_from([1.0, .5, .37]), st.booleans())
def test_any_shape_and_any_box(seed, sizes, which, scale, halves):
    """Also boxes whose corners fall exactly on halves, where rounding and sampling have edges."""
    (H, W, P, Q), (kind, options), rng = sizes, which, np.random.default_rng(seed)
    x = rng.standard_normal((2, 2, H, W)).astype(np.float32)
    rois = np.concatenate([rng.integers(0, 2, (5, 1)), rng.uniform(-4, 14, (5, 4))], 1)
    rois = (np.round(2 * rois) / 2 if halves else rois).astype(np.float32)
    rois[:, 0] = rois[:, 0].round()
    want = ORACLES[kind](x, rois, (P, Q), scale, **options)
    for name in HERE:
        with use_variant(name):
            got = call(kind, x, rois, (P, Q), scale, **options).data
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


def test_round_half_away_from_zero():
    values = [-2.5, -1.5, -.5, -.49, 0, .5, 1.5, 2.5, 2.4, 2.6, np.float64(.5) - 2**-54]
    want = [-3, -2, -1, 0, 0, 1, 2, 3, 2, 3, 0]
    np.testing.assert_array_equal(round_half_away(np.array(values)), want)
    np.testing.assert_array_equal([c_round(v) for v in values], want)


# --- facts from the lectures ----------------------------------------------------------------------
@pytest.mark.parametrize("size", [2, 7])
def test_a_region_of_512x20x15_becomes_512_maps(size):
    x = np.random.default_rng(0).standard_normal((1, 512, 30, 40)).astype(np.float32)
    box = np.array([[0, 10, 5, 24, 24]], np.float32)         # columns 10..24, rows 5..24: 20 x 15
    y = roi_pool(x, box, size)
    assert y.shape == (1, 512, size, size)
    assert (y.data.max((2, 3)) == x[:, :, 5:25, 10:25].max((2, 3))).all()
    if size == 2:                                            # 15 columns: bins of 8 that share one
        np.testing.assert_array_equal(y.data[0, :, 0, 0], x[0, :, 5:15, 10:18].max((1, 2)))
        np.testing.assert_array_equal(y.data[0, :, 1, 1], x[0, :, 15:25, 17:25].max((1, 2)))


def test_roi_align_by_hand(variant):
    """One sample in the middle of four pixels is their mean; at a pixel's centre, the pixel."""
    x = np.arange(12.).reshape(1, 1, 3, 4)
    box = np.array([[0, 1, 1, 3, 3]])                        # its middle (2, 2): between 4 centres
    assert roi_align(x, box, 1, sampling_ratio=1, aligned=True).item() == (5 + 6 + 9 + 10) / 4
    assert roi_align(x, box, 1, sampling_ratio=1, aligned=False).item() == x[0, 0, 2, 2]
    quarter = np.array([[0, .25, .5, 1.25, 1.5]])            # its middle: x = 0.75, y = 1
    got = roi_align(x, quarter, 1, sampling_ratio=1, aligned=True).item()
    np.testing.assert_allclose(got, .75 * .5 * (0 + 4) + .25 * .5 * (1 + 5))


@pytest.mark.parametrize("size", [(3, 4), (5, 7), (11, 13), (10, 14), (1, 20)])
@pytest.mark.parametrize("module", ["tinyvision", "torch"])
def test_the_whole_image_with_one_sample_a_bin_is_bilinear_resize(size, module):
    x = np.random.default_rng(1).standard_normal((2, 3, 5, 7))
    whole = np.array([[0, 0, 0, 7, 5], [1, 0, 0, 7, 5]])
    got = roi_align(x, whole, size, sampling_ratio=1, aligned=True).data
    if module == "torch":
        torch = pytest.importorskip("torch")
        want = torch.nn.functional.interpolate(torch.from_numpy(x), size, mode="bilinear").numpy()
    else:
        want = tv.ops.interpolate(x, size, mode="bilinear").data
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_empty_bins_are_zero_and_have_no_gradient(variant):
    x = tv.Tensor(-np.ones((1, 1, 4, 4)), requires_grad=True)
    y = roi_pool(x, np.array([[0, 2, 2, 5, 5], [0, 8, 8, 9, 9]]), 2)
    np.testing.assert_array_equal(y.data, [[[[-1, 0], [0, 0]]], [[[0, 0], [0, 0]]]])
    gradient, = tv.grad(y, x, np.ones(y.shape))
    want = np.zeros((1, 1, 4, 4))
    want[0, 0, 2, 2] = 1                                     # the first of equal maxima
    np.testing.assert_array_equal(gradient.data, want)


def test_nan_wins_its_bin_and_infinity_is_a_value(variant):
    x = np.arange(32.).reshape(1, 2, 4, 4)
    x[0, 0, 1, 1], x[0, 1] = np.nan, -np.inf
    y = roi_pool(x, np.array([[0, 0, 0, 3, 3]]), 2).data
    np.testing.assert_array_equal(y, [[[[np.nan, 7], [13, 15]], [[-np.inf] * 2] * 2]])
    x[0, 1] = 1
    y = roi_align(x, np.array([[0, 2, 2, 4, 4.]]), 2, aligned=True, sampling_ratio=1).data
    assert np.isfinite(y).all()                              # a pixel of weight 0 is not looked at


# --- linear algebra -------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind, options", [POOL, *ALIGN])
def test_adjoint(variant, kind, options, dtype):
    """<A x, y> = <x, A* y>, with x random: the op is linear once the boxes are chosen."""
    x, rois = example(dtype)
    rng, t = np.random.default_rng(3), tv.Tensor(x, requires_grad=True)
    op = call(kind, t, rois, (3, 4), .8, **options).op
    u = rng.standard_normal(x.shape).astype(dtype)
    y = rng.standard_normal((len(rois), 3, 3, 4)).astype(dtype)
    adjoint = (RoIPut if kind == "pool" else RoIAlignAdjoint)(op, x.shape)
    left = np.vdot(op(u).data.astype(float), y)
    right = np.vdot(u.astype(float), adjoint(y).data)
    np.testing.assert_allclose(left, right, rtol=1e-4 if dtype == np.float32 else 1e-12)
    gradient, = tv.grad(op(t), t, y)
    np.testing.assert_array_equal(gradient.data, adjoint(y).data)
    assert gradient.dtype == dtype


@pytest.mark.parametrize("kind, options", [POOL, *ALIGN])
def test_second_order(kind, options):
    """The gradient's directional derivative, by double backward and by central differences."""
    x, rois = example()
    rng = np.random.default_rng(5)
    u, v = rng.standard_normal((len(rois), 3, 2, 3)), rng.standard_normal(x.shape)

    def gradient(data, create_graph=False):
        t = tv.Tensor(data, requires_grad=True)
        y = call(kind, t, rois, (2, 3), .9, **options)
        return t, tv.grad((y * y * y * u).sum(), t, create_graph=create_graph)[0]

    t, g = gradient(x, create_graph=True)
    h, = tv.grad((g * v).sum(), t)
    step = 1e-5
    want = (gradient(x + step * v)[1].data - gradient(x - step * v)[1].data) / (2 * step)
    np.testing.assert_allclose(h.data, want, rtol=1e-6, atol=1e-6)
    assert np.abs(want).max() > 1


def test_the_backward_of_the_adjoint_is_the_op():
    x, rois = example()
    t = tv.Tensor(x, requires_grad=True)
    for y, forward, adjoint in ((roi_pool(t, rois, 2), RoITake, RoIPut),
                                (roi_align(t, rois, 2), RoIAlign, RoIAlignAdjoint)):
        u = tv.Tensor(np.random.default_rng(0).standard_normal(y.shape), requires_grad=True)
        g, = tv.grad(y, t, u, create_graph=True)
        assert isinstance(y.op, forward) and isinstance(g.op, adjoint)
        again, = tv.grad(g, u, x)
        np.testing.assert_array_equal(again.data, y.data)
        assert "array" not in repr(y.op) + repr(g.op)


@pytest.mark.parametrize("kind", ["pool", "align"])
def test_parity_with_torchvision(kind):
    torch, vision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    x, rois = example(np.float32)
    t, mine = torch.from_numpy(x).requires_grad_(), tv.Tensor(x, requires_grad=True)
    want = getattr(vision.ops, "roi_" + kind)(t, torch.from_numpy(rois), (3, 4), .75)
    got = call(kind, mine, rois, (3, 4), .75)
    u = np.random.default_rng(0).standard_normal(got.shape).astype(np.float32)
    want.backward(torch.from_numpy(u))
    got.backward(u)
    np.testing.assert_allclose(got.data, want.detach().numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(mine.grad.data, t.grad.numpy(), rtol=1e-5, atol=1e-5)


# --- many channels: the fast rungs turn the maps around -------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("C", [17, 70, 128])
@pytest.mark.parametrize("kind, options", [POOL, ("align", {}), ("align", dict(sampling_ratio=1))])
def test_blocks_of_channels(kind, options, C, dtype):
    """Less than a block of 64, one, two; NaN, infinity; `out` is full of rubbish."""
    rng, (_, rois) = np.random.default_rng(C), example(dtype)
    x = rng.standard_normal((2, C, 7, 9)).astype(dtype)
    x[0, 3, 2:4, 2:4], x[1, C - 1, 6, 8], x[1, 0] = np.nan, np.inf, 1
    op = call(kind, tv.Tensor(x, requires_grad=True), rois, (5, 4), .9, **options).op
    u = rng.standard_normal((len(rois), C, 5, 4)).astype(dtype)
    for (_, want), (name, got) in zip(*(list(rungs(op, kind, x, u, rung)) for rung in
                                        ("cpu_loops", "cpu")), strict=True):
        tolerance = 0 if kind == "pool" else 1e-5 if dtype == np.float32 else 1e-12
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, err_msg=name)


def rungs(op, kind, x, u, rung):
    """(kernel, result) of the kernels behind an op, on one rung."""
    if kind == "pool":
        tables = op.batch, op.rows, op.cols
        jobs = [("roi_max_kernel", (x, *tables), np.full_like(op.index, -77))]
    else:
        jobs = [("roi_align_kernel", (x, *op.tables), np.full_like(u, np.nan)),
                ("roi_align_adjoint_kernel", (u, *op.tables), np.full_like(x, np.nan))]
    for name, args, out in jobs:
        KERNELS[name].variants[rung](*args, out)
        yield name, out


def test_the_gradient_is_the_same_for_any_number_of_threads():
    """A pixel's sum has the order of the RoIs, whoever owns the pixel."""
    numba, rng, (_, rois) = pytest.importorskip("numba"), np.random.default_rng(0), example()
    op = roi_align(tv.Tensor(np.ones((2, 20, 7, 9)), requires_grad=True), rois, 4).op
    u, before, found = rng.standard_normal((len(rois), 20, 4, 4)), numba.get_num_threads(), []
    try:
        for count in range(1, numba.config.NUMBA_NUM_THREADS + 1):
            numba.set_num_threads(count)
            found.append(RoIAlignAdjoint(op, (2, 20, 7, 9))(u).data)
    finally:
        numba.set_num_threads(before)
    assert all((x == found[0]).all() for x in found)


# --- arguments ------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["pool", "align"])
def test_a_list_of_boxes_is_the_array_with_image_numbers(kind):
    x, rois = example()
    rois = rois[np.argsort(rois[:, 0], kind="stable")]
    each = [tv.Tensor(rois[rois[:, 0] == n, 1:]) for n in range(2)]
    want = call(kind, x, rois, 2).data
    np.testing.assert_array_equal(call(kind, tv.Tensor(x), each, (2, 2)).data, want)
    np.testing.assert_array_equal(call(kind, x, [[], each[1]], 2).data,
                                  want[rois[:, 0] == 1])
    whole = np.array([[1, 0, 1, 5, 6]])
    np.testing.assert_array_equal(call(kind, x, whole, 2).data,
                                  call(kind, x, whole.astype(float), 2).data)


@pytest.mark.parametrize("kind", ["pool", "align"])
def test_nothing_in_gives_nothing_of_the_right_shape(variant, kind):
    x = tv.Tensor(np.ones((2, 3, 4, 5), np.float32), requires_grad=True)
    for boxes in (np.zeros((0, 5)), [[], np.zeros((0, 4))]):
        y = call(kind, x, boxes, (2, 7))
        assert y.shape == (0, 3, 2, 7) and y.dtype == np.float32
        assert not tv.grad(y, x, np.zeros(y.shape, np.float32))[0].data.any()
    assert call(kind, np.ones((0, 3, 4, 5)), [], 2).shape == (0, 3, 2, 2)
    assert call(kind, np.ones((2, 0, 4, 5)), np.ones((3, 5)), 2).shape == (3, 0, 2, 2)
    assert not call(kind, np.ones((2, 1, 0, 5)), np.ones((3, 5)), 2).data.any()


def test_any_layout(variant):
    x, rois = example()
    moved = x.transpose(2, 3, 0, 1).copy().transpose(2, 3, 0, 1)
    moved.flags.writeable = False
    for kind in ("pool", "align"):
        np.testing.assert_array_equal(call(kind, moved, rois[::2], 2).data,
                                      call(kind, x, rois[::2].copy(), 2).data)


class OnGpu:
    """Passes for a CuPy array, to see what mixed devices give without a GPU."""
    __cuda_array_interface__ = {}
    shape, dtype, ndim, size = (1, 5), np.dtype(np.float32), 2, 5


X = np.zeros((2, 3, 4, 5), np.float32)
BOX = np.zeros((1, 5))


@pytest.mark.parametrize("kind", ["pool", "align"])
@pytest.mark.parametrize("error, words, args", [
    (ValueError, r"input has shape \(3, 4, 5\), expected 4 axes", (X[0], BOX, 2)),
    (TypeError, "input is int64, expected float32 or float64", (X.astype(np.int64), BOX, 2)),
    (ValueError, r"boxes has shape \(1, 4\), expected \(K, 5\)", (X, BOX[:, 1:], 2)),
    (ValueError, r"boxes\[1\] has shape \(1, 5\), expected \(L, 4\)", (X, [[], BOX], 2)),
    (ValueError, "boxes is a list of 1, expected one array", (X, [BOX[:, 1:]], 2)),
    (ValueError, "boxes names image 2, expected a whole number below 2", (X, BOX + 2, 2)),
    (ValueError, "boxes names image -1", (X, BOX - 1, 2)),
    (ValueError, "boxes names image 0.5", (X, BOX + .5, 2)),
    (ValueError, "boxes has coordinates up to nan, expected finite", (X, BOX * np.nan, 2)),
    (ValueError, r"boxes\[0\] has coordinates up to inf", (X, [BOX[:, 1:] + np.inf, []], 2)),
    (TypeError, "boxes is complex128, expected real numbers", (X, BOX + 0j, 2)),
    (ValueError, "output_size is 0, expected at least 1", (X, BOX, 0)),
    (TypeError, "output_size is 2.0, expected an int or a pair", (X, BOX, 2.0)),
    (ValueError, "spatial_scale is 0, expected more than 0", (X, BOX, 2, 0)),
    (tv.DeviceError, "input on cpu, boxes on gpu, expected one device", (X, OnGpu(), 2)),
])
def test_errors_say_what_came_and_what_was_expected(kind, error, words, args):
    with pytest.raises(error, match=f"roi_{kind}: {words}"):
        call(kind, *args)


def test_sampling_ratio_is_a_whole_number():
    with pytest.raises(TypeError, match="roi_align: sampling_ratio is 2.0, expected a whole"):
        roi_align(X, BOX, 2, sampling_ratio=2.0)
