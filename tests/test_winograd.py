"""Winograd's convolution: its matrices, its results beside the direct sum's, its switch."""
from fractions import Fraction

import numpy as np
import pytest

import tinyvision as tv
from tinyvision import ops, simd
from tinyvision.fast_math import FastMath
from tinyvision.kernel import use_variant
from tinyvision.ops import conv2d_winograd as winograd
from tinyvision.ops.conv2d import conv2d_kernel, conv_transpose2d_kernel

f4, f8 = np.float32, np.float64
LARGEST_ERROR = 1e-5                       # what `set_fast_math` promises, of the largest result

# N, C, O, H, W, P, Q: channels and maps that fill vectors and tiles, or just do not
SIZES = [(1, 1, 1, 3, 3, 0, 0), (2, 3, 5, 9, 7, 1, 1), (1, 17, 33, 14, 30, 1, 0),
         (2, 67, 70, 20, 21, 2, 4), (1, 32, 48, 5, 150, 1, 1), (3, 64, 40, 28, 28, 0, 3),
         (5, 16, 16, 4, 4, 1, 1), (1, 8, 8, 1, 40, 1, 1), (1, 2, 2, 1, 1, 6, 5)]


def random(rng, *shape):
    return rng.standard_normal(shape).astype(f4)


def computed(kernel, rung, x, w, bias, padding, size, dtype=f4, stride=(1, 1)):
    """The kernel's result by one rung; it begins with NaN."""
    y = np.full((len(x), len(bias), *size), np.nan, dtype)
    x, w, bias = (a.astype(dtype) for a in (x, w, bias))
    kernel.variants[rung](x, w, bias, *stride, *padding, 1, 1, 1, y)
    return y


def error(kernel, x, w, bias, padding, size):
    """The largest difference from the sums in float64, of the largest result."""
    right = computed(kernel, "cpu_gemm", x, w, bias, padding, size, f8)
    return abs(computed(kernel, "cpu_winograd", x, w, bias, padding, size) - right).max() / (
        abs(right).max())


# --- the matrices ---------------------------------------------------------------------------------
def test_the_matrices_compute_four_sums_of_three_exactly():
    """In whole fractions: A^T ((G g) * (B^T d)) = the correlation of d with g."""
    BT, _, AT = (np.vectorize(Fraction, [object])(M) for M in winograd.matrices())
    points = [Fraction(p) for p in winograd.POINTS]
    G = np.array([[p ** j / np.prod([p - q for q in points if q != p]) for j in range(3)]
                  for p in points] + [[0, 0, 1]])
    assert abs(G.astype(f8) - winograd.matrices()[1]).max() < 1e-15
    d, g = np.array([3, -1, 4, 1, -5, 9]), np.array([2, 7, -1])
    assert (AT @ ((G @ g) * (BT @ d))).tolist() == np.correlate(d, g, "valid").tolist()


def test_the_matrices_in_two_dimensions():
    BT, G, AT = winograd.matrices()
    rng = np.random.default_rng(0)
    d, g = rng.standard_normal((6, 6)), rng.standard_normal((3, 3))
    direct = ops.conv2d(d[None, None], g[None, None]).data[0, 0]
    assert np.allclose(AT @ ((G @ g @ G.T) * (BT @ d @ BT.T)) @ AT.T, direct, rtol=1e-12)


# --- its results ----------------------------------------------------------------------------------
@pytest.mark.parametrize("lanes", [16, 8, 4])
@pytest.mark.parametrize("N, C, O, H, W, P, Q", SIZES)
def test_results_for_every_width(N, C, O, H, W, P, Q, lanes):
    rng = np.random.default_rng(C)
    x, w, bias = random(rng, N, C, H, W), random(rng, O, C, 3, 3), random(rng, O)
    with simd.use_lanes(lanes):
        size = H + 2 * P - 2, W + 2 * Q - 2
        assert error(conv2d_kernel, x, w, bias, (P, Q), size) < LARGEST_ERROR
        size, back = (H - 2 * P + 2, W - 2 * Q + 2), w.transpose(1, 0, 2, 3).copy()
        if min(size) > 0:
            assert error(conv_transpose2d_kernel, x, back, bias, (P, Q), size) < LARGEST_ERROR


@pytest.mark.parametrize("C", [16, 128, 512])
def test_the_error_stays_below_what_is_promised(C):
    rng = np.random.default_rng(C)
    x, w = random(rng, 1, C, 28, 28), random(rng, 64, C, 3, 3)
    for images in (x, abs(x)):                               # also as after relu: sums that grow
        worst = error(conv2d_kernel, images, w, np.zeros(64, f4), (1, 1), (28, 28))
        assert worst < LARGEST_ERROR


def test_results_are_the_same_from_run_to_run():
    rng = np.random.default_rng(0)
    x, w, bias = random(rng, 3, 40, 30, 31), random(rng, 50, 40, 3, 3), random(rng, 50)
    one, two = (computed(conv2d_kernel, "cpu_winograd", x, w, bias, (1, 1), (30, 31))
                for _ in range(2))
    assert (one == two).all()


def test_nan_spoils_its_tiles_and_no_others():
    rng = np.random.default_rng(0)
    x, w = random(rng, 1, 16, 16, 16), random(rng, 16, 16, 3, 3)
    x[0, 3, 5, 6] = np.nan
    y = computed(conv2d_kernel, "cpu_winograd", x, w, np.zeros(16, f4), (1, 1), (16, 16))
    spoilt = np.isnan(y).any((0, 1))
    assert spoilt[4:7, 5:8].all() and not spoilt[8:].any() and not spoilt[:, 8:].any()


@pytest.mark.parametrize("case", ["stride", "window", "float64", "no images", "no channels"])
def test_where_it_does_not_apply_the_usual_rung_computes(case):
    rng = np.random.default_rng(0)
    x = random(rng, 0 if case == "no images" else 2, 0 if case == "no channels" else 4, 9, 9)
    w = random(rng, 5, x.shape[1], *((5, 3) if case == "window" else (3, 3)))
    stride = (2, 1) if case == "stride" else (1, 1)
    A = (9 - w.shape[2]) // stride[0] + 1
    dtype = f8 if case == "float64" else f4
    found, usual = (computed(conv2d_kernel, rung, x, w, np.ones(5, f4), (0, 0), (A, 7), dtype,
                             stride) for rung in ("cpu_winograd", "cpu"))
    assert (found == usual).all()


# --- the switch -----------------------------------------------------------------------------------
@pytest.fixture(autouse=True)
def as_before():
    with tv.use_fast_math():
        yield


def test_nothing_is_allowed_at_first():
    assert tv.get_fast_math() == FastMath(winograd=False)


def test_the_switch_and_its_block():
    tv.set_fast_math(winograd=True)
    with tv.use_fast_math(winograd=False):
        assert not tv.get_fast_math().winograd
    assert tv.get_fast_math().winograd
    tv.set_fast_math()
    assert tv.get_fast_math().winograd


def test_a_value_that_is_no_truth_is_refused():
    with pytest.raises(TypeError, match="set_fast_math: winograd is 'yes', expected True or False"):
        tv.set_fast_math(winograd="yes")
    assert not tv.get_fast_math().winograd


def runs(monkeypatch, x, w, **options):
    """How often forward and backward of conv2d come to Winograd's method."""
    seen, method = [], winograd._winograd
    monkeypatch.setattr(winograd, "_winograd", lambda *args: [seen.append(args[0]), method(*args)])
    x = tv.Tensor(x, requires_grad=True)
    ops.sum(ops.conv2d(x, w, **options)).backward()
    return seen


@pytest.mark.parametrize("asked, N, C, size, options, expected", [
    (True, 1, 32, 28, {"padding": 1}, [False, True]),        # forward, and the image's gradient
    (False, 1, 32, 28, {"padding": 1}, []),
    (True, 1, 32, 28, {"padding": 1, "stride": 2}, []),
    (True, 1, 32, 28, {"padding": 2, "dilation": 2}, []),
    (True, 1, 16, 28, {"padding": 1}, []),                   # few channels
    (True, 1, 32, 14, {"padding": 1}, []),                   # few tiles
    (True, 32, 32, 5, {"padding": 1}, [])])                  # tiles mostly beyond the map
def test_it_runs_where_it_was_asked_for_and_pays(monkeypatch, asked, N, C, size, options, expected):
    rng = np.random.default_rng(0)
    with tv.use_fast_math(winograd=asked):
        x, w = random(rng, N, C, size, size), random(rng, 32, C, 3, 3)
        assert runs(monkeypatch, x, w, **options) == expected


def test_gradients_agree_with_the_usual_ones():
    rng = np.random.default_rng(0)
    x, w = random(rng, 2, 32, 28, 28), random(rng, 32, 32, 3, 3)

    def gradients():
        a, b = tv.Tensor(x, requires_grad=True), tv.Tensor(w, requires_grad=True)
        y = ops.conv2d(a, b, padding=1)
        return tv.grad(ops.sum(ops.mul(y, y)), [a, b])
    usual = gradients()
    with tv.use_fast_math(winograd=True):
        fast = gradients()
    for a, b in zip(usual, fast, strict=True):
        assert abs(a.data - b.data).max() < LARGEST_ERROR * abs(a.data).max()


def test_a_forced_variant_comes_first():
    with use_variant("cpu_winograd"):
        y = ops.conv2d(np.ones((1, 1, 4, 4), f4), np.ones((1, 1, 3, 3), f4))
    assert np.allclose(y.data, 9, rtol=1e-5)
