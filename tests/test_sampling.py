"""Grid sampling, deformable attention, position-sensitive RoIs, corner pooling."""
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyvision as tv
from tinyvision import ops
from tinyvision.cuda import compiler
from tinyvision.kernel import KERNELS, use_variant
from tinyvision.ops.blend import Blend, BlendAdjoint, BlendWeights

VARIANTS = "reference", "cpu", pytest.param("gpu", marks=pytest.mark.skipif(
    compiler() is None, reason="no C++ compiler to run the CUDA text on the host"))
CLOSE = {"f4": 1e-5, "f8": 1e-9}


@pytest.fixture(params=VARIANTS)
def variant(request):
    with use_variant(request.param):
        yield request.param


def largest(a, b):
    return np.abs(a - b).max(initial=0) / max(np.abs(b).max(initial=0), 1e-30)


def both(ours, theirs, arrays, dtype):
    """Results and gradients of our function and of PyTorch's are the same."""
    torch, arrays = pytest.importorskip("torch"), [a.astype(dtype) for a in arrays]
    xs = [tv.Tensor(a, requires_grad=True) for a in arrays]
    ts = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = ours(*xs), theirs(*ts)
    g = np.random.default_rng(7).standard_normal(y.shape).astype(dtype)
    y.backward(g)
    z.backward(torch.tensor(g))
    assert y.dtype == dtype and largest(y.numpy(), z.detach().numpy()) <= CLOSE[dtype]
    for x, t in zip(xs, ts):
        found = np.zeros(x.shape) if x.grad is None else x.grad.numpy()
        assert largest(found, t.grad.numpy()) <= CLOSE[dtype]


# --- blend: one trilinear form --------------------------------------------------------------------
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 7), st.integers(0, 40), st.integers(0, 6),
       st.integers(0, 5), st.sampled_from(["f4", "f8"]), st.integers(0, 99))
def test_blend_is_one_form_seen_from_three_sides(N, P, C, L, K, dtype, seed):
    """<blend(x, w), y> = <x, adjoint(y, w)> = <w, weights(x, y)>."""
    rng = np.random.default_rng(seed)
    places = rng.integers(-1, P, (N, L, K)).astype("i4")
    x, w, y = (rng.standard_normal(s).astype(dtype) for s in ((N, P, C), (N, L, K), (N, L, C)))
    found = [(Blend(places)(tv.Tensor(x), tv.Tensor(w)), y),
             (BlendAdjoint(places, P)(tv.Tensor(y), tv.Tensor(w)), x),
             (BlendWeights(places)(tv.Tensor(x), tv.Tensor(y)), w)]
    a, b, c = (np.vdot(t.numpy().astype("f8"), u) for t, u in found)
    close = dict(rtol=1e-4, atol=1e-3) if dtype == "f4" else dict(rtol=1e-9, atol=1e-9)
    assert np.isclose(a, b, **close) and np.isclose(a, c, **close)


@pytest.mark.parametrize("name", ["blend_kernel", "blend_adjoint_kernel", "blend_weights_kernel"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("N, P, C, L, K", [(3, 50, 67, 90, 5), (1, 900, 16, 700, 4),
                                           (2, 31, 1, 2000, 3), (5, 7, 130, 11, 8)])
def test_large_blends_on_all_cores(name, dtype, N, P, C, L, K):
    rng = np.random.default_rng(0)
    places = rng.integers(-1, P, (N, L, K)).astype("i4")
    x, w, y = (rng.standard_normal(s).astype(dtype) for s in ((N, P, C), (N, L, K), (N, L, C)))
    arguments = {"blend_kernel": (x, places, w, y), "blend_adjoint_kernel": (y, places, w, x),
                 "blend_weights_kernel": (x, y, places, w)}[name]
    found = []
    for rung in ("reference", "cpu"):
        out = np.full_like(arguments[-1], np.nan)
        KERNELS[name].variants[rung](*arguments[:-1], out)
        found.append(out)
    assert largest(*found[::-1]) < (1e-5 if dtype == "f4" else 1e-13)


def test_what_lies_nowhere_is_not_looked_at(variant):
    """Not even where pixels are infinite or weights are not numbers."""
    x, w = np.full((1, 2, 3), np.inf), np.array([[[np.nan, np.nan]]])
    places = np.full((1, 1, 2), -1, "i4")
    assert (Blend(places)(tv.Tensor(x), tv.Tensor(w)).numpy() == 0).all()
    assert (BlendAdjoint(places, 2)(tv.Tensor(x[:, :1]), tv.Tensor(w)).numpy() == 0).all()
    assert (BlendWeights(places)(tv.Tensor(x), tv.Tensor(x[:, :1])).numpy() == 0).all()


# --- grid sampling --------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_grid_sample_is_pytorchs(mode, padding, corners, dtype):
    torch, rng = pytest.importorskip("torch"), np.random.default_rng(0)
    both(lambda x, g: ops.grid_sample(x, g, mode, padding, corners),
         lambda x, g: torch.nn.functional.grid_sample(x, g, mode, padding, corners),
         [rng.standard_normal((2, 3, 6, 5)), rng.uniform(-3.3, 3.3, (2, 4, 7, 2))], dtype)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 4), st.booleans(),
       st.sampled_from(["zeros", "border", "reflection"]), st.integers(0, 99))
def test_grid_sample_of_any_size_is_pytorchs(H, W, A, corners, padding, seed):
    torch, rng = pytest.importorskip("torch"), np.random.default_rng(seed)
    both(lambda x, g: ops.grid_sample(x, g, "bilinear", padding, corners),
         lambda x, g: torch.nn.functional.grid_sample(x, g, "bilinear", padding, corners),
         [rng.standard_normal((2, 3, H, W)), rng.uniform(-2, 2, (2, A, 3, 2))], "f8")


def test_grid_sample_by_hand():
    """The middle of four pixels; a quarter of the way between two; half over the border."""
    x = np.array([[1., 2], [3, 4]]).reshape(1, 1, 2, 2)
    grid = np.array([[0, 0], [-0.25, -0.5], [-1, -0.5]]).reshape(1, 1, 3, 2)
    assert np.allclose(ops.grid_sample(x, grid).numpy(), [2.5, 1.25, 0.5])
    assert np.allclose(ops.grid_sample(x, grid, padding_mode="border").numpy(), [2.5, 1.25, 1])


def test_numbers_that_are_none_and_infinities(variant):
    """NaN counts as -1; what is infinitely far away is outside, or at the border."""
    x = np.arange(1., 7).reshape(1, 1, 2, 3)
    grid = np.array([[np.nan, np.nan], [np.inf, 0], [0, -np.inf]]).reshape(1, 1, 3, 2)
    for padding, wanted in (("zeros", [1, 0, 0]), ("border", [1, 4.5, 2])):
        t = tv.Tensor(grid, requires_grad=True)
        y = ops.grid_sample(x, t, "bilinear", padding, True)
        y.sum().backward()
        assert np.allclose(y.numpy(), wanted) and np.isfinite(t.grad.numpy()).all()


def test_a_whole_grid_is_the_bilinear_resize():
    x, rng = np.random.default_rng(0).standard_normal((2, 3, 5, 7)), np.random.default_rng(1)
    for corners in (True, False):
        grid = ops.affine_grid(np.tile(np.eye(2, 3), (2, 1, 1)), (2, 3, 11, 4), corners)
        y = ops.grid_sample(x, grid, padding_mode="border", align_corners=corners)
        z = ops.interpolate(x, (11, 4), mode="bilinear", align_corners=corners)
        assert np.allclose(y.numpy(), z.numpy(), atol=1e-12)


@pytest.mark.filterwarnings("ignore:Since version 1.3.0")
@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 1, 1, 6)])
def test_affine_grid_is_pytorchs(corners, size):
    torch = pytest.importorskip("torch")
    both(lambda t: ops.affine_grid(t, size, corners),
         lambda t: torch.nn.functional.affine_grid(t, size, corners),
         [np.random.default_rng(0).standard_normal((2, 2, 3))], "f8")


def test_a_box_finds_its_object_by_gradients_alone():
    """DenseCap's claim: gradients reach coordinates. A crop is moved until it shows a blob."""
    h, w = np.mgrid[:32, :32]
    image = np.exp(-((h - 20)**2 + (w - 11)**2) / 60)[None, None]
    shift = tv.Tensor(np.zeros((1, 2, 1)), requires_grad=True)
    optimizer = tv.optim.Adam([shift], lr=0.02)
    for _ in range(150):
        theta = ops.cat([np.eye(2)[None] * 0.3, shift], 2)
        loss = -ops.grid_sample(image, ops.affine_grid(theta, (1, 1, 8, 8))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert np.allclose(shift.numpy().ravel(), [(11 + .5) / 16 - 1, (20 + .5) / 16 - 1], atol=0.01)


# --- deformable attention -------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_deformable_attention_is_grid_samples_added_up(dtype):
    torch, (N, M, D, Q, P) = pytest.importorskip("torch"), (2, 3, 4, 5, 2)
    sizes, rng = [(6, 5), (3, 2), (1, 4)], np.random.default_rng(0)

    def theirs(value, where, weights):
        total, parts = 0, value.split([h * w for h, w in sizes], 1)
        for l, (part, (h, w)) in enumerate(zip(parts, sizes)):
            image = part.permute(0, 2, 3, 1).reshape(N * M, D, h, w)
            grid = (2 * where[:, :, :, l] - 1).transpose(1, 2).reshape(N * M, Q, P, 2)
            seen = torch.nn.functional.grid_sample(image, grid, align_corners=False)
            counted = weights[:, :, :, l].transpose(1, 2).reshape(N * M, 1, Q, P)
            total = total + (seen * counted).sum(-1)         # (N M, D, Q)
        return total.reshape(N, M * D, Q).transpose(1, 2)
    both(lambda v, x, a: ops.multi_scale_deformable_attention(v, sizes, x, a), theirs,
         [rng.standard_normal((N, 40, M, D)), rng.uniform(-.2, 1.2, (N, Q, M, 3, P, 2)),
          rng.uniform(0, 1, (N, Q, M, 3, P))], dtype)


# --- position-sensitive regions -------------------------------------------------------------------
def c_round(v):
    return int(math.copysign(math.floor(abs(v) + 0.5), v))


def torchvision_ps_pool(x, rois, P, Q, scale):
    """torchvision's loops, one statement after another."""
    C, (H, W) = x.shape[1] // (P * Q), x.shape[2:]
    y = np.zeros((len(rois), C, P, Q))
    for k, (n, *box) in enumerate(rois):
        x0, y0, x1, y1 = (c_round(v * scale) for v in box)
        tall, wide = max(y1 - y0, 1) / P, max(x1 - x0, 1) / Q
        for c, p, q in np.ndindex(C, P, Q):
            top, bottom = (min(max(v + y0, 0), H - 1) for v in (
                math.floor(p * tall), math.ceil((p + 1) * tall)))
            left, right = (min(max(v + x0, 0), W - 1) for v in (
                math.floor(q * wide), math.ceil((q + 1) * wide)))
            if bottom > top and right > left:
                plane = x[int(n), (c * P + p) * Q + q]
                y[k, c, p, q] = plane[top:bottom, left:right].mean()
    return y


def some_regions():
    """x (2, 24, 9, 11), and regions inside, at the edge, outside, empty, inverted."""
    rng = np.random.default_rng(0)
    boxes = [[0, 0, 0, 11, 9], [1, 1.3, .4, 6.2, 7.9], [1, -3, -2.5, 4, 3.5], [0, 6, 4, 15, 12],
             [0, 20, 20, 30, 30], [1, 2, 3, 2, 3], [0, 2.5, .5, 4.5, 1.5], [1, -9, -9, -5, -4],
             [1, 5, 5, 2, 1], [0, *rng.uniform(-2, 9, 2), 9.7, 10.1]]
    return rng.standard_normal((2, 24, 9, 11)), np.array(boxes)


@pytest.mark.parametrize("P, Q, scale", [(3, 4, 1.0), (2, 3, 0.7), (4, 1, 1.6)])
def test_ps_roi_pool_is_torchvisions(variant, P, Q, scale):
    x, rois = some_regions()
    wanted = torchvision_ps_pool(x, rois, P, Q, scale)
    assert np.allclose(ops.ps_roi_pool(x, rois, (P, Q), scale).numpy(), wanted, atol=1e-14)


@pytest.mark.parametrize("P, Q, scale, ratio", [(3, 4, 1.0, -1), (2, 3, 0.7, 2), (4, 1, 1.6, 3)])
def test_ps_roi_align_takes_every_bin_of_roi_align_from_its_channel(variant, P, Q, scale, ratio):
    x, rois = some_regions()
    y = ops.ps_roi_align(x, rois, (P, Q), scale, ratio).numpy()
    every = ops.roi_align(x, rois, (P, Q), scale, ratio, True).numpy()
    for c, p, q in np.ndindex(y.shape[1:]):
        assert np.allclose(y[:, c, p, q], every[:, (c * P + p) * Q + q, p, q], atol=1e-14)


def test_a_map_of_parts_answers_where_a_region_holds_the_whole():
    """R-FCN, Figure 3: channel (p, q) fires on that part; only the right box sums to 1."""
    x = np.zeros((1, 9, 12, 12))
    for p, q in np.ndindex(3, 3):
        x[0, 3 * p + q, 3 + 2 * p:5 + 2 * p, 3 + 2 * q:5 + 2 * q] = 1
    y = ops.ps_roi_pool(x, np.array([[0, 3, 3, 9, 9.], [0, 5, 3, 11, 9]]), 3).numpy()
    assert y[0].mean() == 1 and y[1].mean() == 0


def test_no_regions_and_lists_of_boxes():
    x, rois = some_regions()
    assert ops.ps_roi_align(x, np.zeros((0, 5)), 2).shape == (0, 6, 2, 2)
    y = ops.ps_roi_pool(x, [rois[:1, 1:], rois[1:3, 1:]], 2).numpy()
    assert np.array_equal(y, ops.ps_roi_pool(x, rois[:3], 2).numpy())


@pytest.mark.parametrize("function", [ops.ps_roi_pool, ops.ps_roi_align])
def test_large_maps_on_all_cores(function):
    rng = np.random.default_rng(0)
    x, corner = rng.standard_normal((2, 98, 40, 30)), rng.uniform(0, 20, (60, 2))
    rois = np.concatenate([rng.integers(0, 2, (60, 1)), corner, corner + 12.3], 1)
    found = []
    for rung in ("gpu" if compiler() else None, None):
        with use_variant(rung):
            t = tv.Tensor(x, requires_grad=True)
            y = function(t, rois, 7)
            y.backward(np.sin(np.arange(y.size)).reshape(y.shape))
            found.append((y.numpy(), t.grad.numpy()))
    assert all(largest(a, b) < 1e-13 for a, b in zip(*found))


# --- corner pooling -------------------------------------------------------------------------------
def test_corner_pool_by_hand():
    """CornerNet, Figure 6: the row 2 1 3 0 2 and the column 0 3 1 2 0, from their far ends."""
    row, column = (np.array(v, float) for v in ([2, 1, 3, 0, 2], [0, 3, 1, 2, 0]))
    left = ops.corner_pool(row.reshape(1, 1, 1, 5), "left").numpy().ravel()
    top = ops.corner_pool(column.reshape(1, 1, 5, 1), "top").numpy().ravel()
    assert left.tolist() == [3, 3, 3, 2, 2] and top.tolist() == [3, 3, 2, 2, 0]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(0, 6), st.integers(0, 6), st.integers(0, 99))
def test_corner_pool_is_a_running_maximum(N, H, W, seed):
    x = np.random.default_rng(seed).permutation(N * 2 * H * W).reshape(N, 2, H, W).astype("f8")
    for direction, axis in (("top", 2), ("bottom", 2), ("left", 3), ("right", 3)):
        ahead = direction in ("top", "left")
        flipped = np.flip(x, axis) if ahead else x
        wanted = np.maximum.accumulate(flipped, axis) if x.size else flipped
        wanted = np.flip(wanted, axis) if ahead else wanted
        assert np.array_equal(ops.corner_pool(x, direction).numpy(), wanted)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("direction, axis, ahead", [("top", 2, True), ("bottom", 2, False),
                                                    ("left", 3, True), ("right", 3, False)])
def test_corner_pools_gradients_are_those_of_cummax(direction, axis, ahead, dtype):
    pytest.importorskip("torch")

    def theirs(x):
        y = (x.flip(axis) if ahead else x).cummax(axis)[0]
        return y.flip(axis) if ahead else y
    x = np.random.default_rng(0).standard_normal((3, 16, 31, 37))            # on all cores
    both(lambda x: ops.corner_pool(x, direction), theirs, [x], dtype)


def test_the_first_that_is_met_wins_and_nan_is_the_largest(variant):
    x = tv.Tensor(np.array([1., 1, np.nan, 2, 1, 1]).reshape(1, 1, 1, 6), requires_grad=True)
    y = ops.corner_pool(x, "left")
    assert np.array_equal(y.numpy().ravel(), [np.nan, np.nan, np.nan, 2, 1, 1], equal_nan=True)
    y.sum().backward()
    assert x.grad.numpy().ravel().tolist() == [0, 0, 3, 1, 0, 2]


# --- bad input ------------------------------------------------------------------------------------
X, GRID, ROIS = np.ones((2, 6, 4, 5)), np.zeros((2, 3, 3, 2)), np.zeros((1, 5))
VALUE, WHERE, WEIGHTS = np.ones((1, 6, 2, 3)), np.ones((1, 4, 2, 1, 3, 2)), np.ones((1, 4, 2, 1, 3))
attend = ops.multi_scale_deformable_attention
BAD = [
    (lambda: ops.grid_sample(X, GRID[:1]), "grid has shape (1, 3, 3, 2), expected (2, A, B, 2)"),
    (lambda: ops.grid_sample(X[0], GRID), "input has shape (6, 4, 5), expected 4 axes"),
    (lambda: ops.grid_sample(X, GRID, "cubic"), "grid_sample: mode is 'cubic', expected one of"),
    (lambda: ops.grid_sample(X, GRID, padding_mode="wrap"), "padding_mode is 'wrap', expected one"),
    (lambda: ops.grid_sample(X, GRID.astype(int)), "grid_sample: grid is int64, expected float32"),
    (lambda: ops.grid_sample(X[:, :, :0], GRID), "expected at least one pixel"),
    (lambda: ops.affine_grid(np.ones((1, 2, 3)), (2, 3, 4, 5)), "theta has shape (1, 2, 3) and"),
    (lambda: attend(VALUE, [(2, 2)], WHERE, WEIGHTS), "spatial_shapes is [(2, 2)], 4 pixels, ex"),
    (lambda: attend(VALUE, [(2, 3)], WHERE[:, :3], WEIGHTS), "expected (N, S, M, D), (N, Q, M, L"),
    (lambda: attend(VALUE, [(2, 3), (0, 1)], WHERE, WEIGHTS), "spatial_shapes is 0, expected at l"),
    (lambda: ops.ps_roi_pool(X, ROIS, 4), "ps_roi_pool: input has 6 channels, expected a multip"),
    (lambda: ops.ps_roi_align(X, ROIS, (2, 3), sampling_ratio=1.5), "sampling_ratio is 1.5, expec"),
    (lambda: ops.ps_roi_align(X, ROIS + 7, (2, 3)), "ps_roi_align: boxes names image 7, expected"),
    (lambda: ops.ps_roi_pool(X, ROIS * np.nan, (2, 3)), "expected finite numbers below 2^24"),
    (lambda: ops.corner_pool(X, "up"), "corner_pool: direction is 'up', expected one of ('top',"),
    (lambda: ops.corner_pool(X[0], "top"), "corner_pool: x has shape (6, 4, 5), expected 4 axes"),
    (lambda: ops.corner_pool(X.astype(int), "top"), "corner_pool: x is int64, expected float32"),
]


@pytest.mark.parametrize("call, words", BAD, ids=[words[:40] for _, words in BAD])
def test_errors_say_what_came_and_what_was_expected(call, words):
    with pytest.raises((ValueError, TypeError), match=re.escape(words)):
        call()
