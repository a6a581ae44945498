"""Max, average and adaptive pooling, and unpooling: the lecture's numbers, PyTorch, adjoints."""
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tinyvision as tv
from tinyvision import ops
from tinyvision.cuda import compiler
from tinyvision.kernel import use_variant
from tinyvision.ops.interpolate import Resize
from tinyvision.ops.max_pool2d import PutPlane, TakePlane, enclosing, put_plane
from tinyvision.ops.windows import pool_windows

DTYPES = np.float32, np.float64
LECTURE = np.array([[[[120, 150, 120], [100, 50, 110], [25, 25, 10]]]], np.float32)
gpu = pytest.param("gpu", marks=pytest.mark.skipif(
    compiler() is None, reason="no C++ compiler: the CUDA text cannot be run on the host"))
every_variant = pytest.mark.parametrize("variant", ["reference", "cpu_loops", "cpu", gpu])


def close(a, b, dtype=np.float64):
    """Equal up to rounding."""
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), tolerance, tolerance)


def dot(a, b):
    """<a, b>, in float64."""
    return float((np.asarray(a, np.float64) * np.asarray(b, np.float64)).sum())


def adjoint(forward, x, backward, y):
    """<A x, y> = <x, A* y>."""
    np.testing.assert_allclose(dot(forward(x), y), dot(x, backward(y)), 1e-10, 1e-10)


def second_order(function, x, rng):
    """The gradient of the gradient's projection, against finite differences of the first."""
    t = tv.Tensor(x, requires_grad=True)
    weights, direction = rng.normal(size=function(t).shape), rng.normal(size=x.shape)

    def first(t, create_graph):
        y = function(t)                                      # squared, so that it is not linear
        return tv.grad((y * y * tv.Tensor(weights)).sum(), t, create_graph=create_graph)[0]

    second, = tv.grad((first(t, True) * tv.Tensor(direction)).sum(), t)
    step, probe = 1e-6, rng.normal(size=x.shape)
    plus, minus = (dot(first(tv.Tensor(x + s * step * probe, True), False), direction)
                   for s in (1, -1))
    np.testing.assert_allclose(dot(second, probe), (plus - minus) / (2 * step), 1e-6, 1e-6)


# --- the lecture ----------------------------------------------------------------------------------
@every_variant
def test_lecture_max_pool(variant):
    with use_variant(variant) as ran:
        y, places = ops.max_pool2d(LECTURE, 2, stride=1, return_indices=True)
    assert y.numpy().tolist() == [[[[150, 150], [100, 110]]]]
    assert places.numpy().tolist() == [[[[1, 1], [3, 5]]]]   # both upper windows: the same place
    assert places.dtype == np.int64 and ran == {"max_places"}


@every_variant
def test_lecture_max_unpool(variant):
    values = np.array([[[[300, 450], [100, 250]]]], np.float32)
    with use_variant(variant):
        _, places = ops.max_pool2d(LECTURE, 2, stride=1, return_indices=True)
        x = ops.max_unpool2d(values, places, 2, stride=1)
    assert x.numpy().tolist() == [[[[0, 750, 0], [100, 0, 250], [0, 0, 0]]]]   # 300 + 450


def test_lecture_gradient_of_max_pool_is_unpooling():
    x = tv.Tensor(LECTURE, requires_grad=True)
    ops.max_pool2d(x, 2, 1).backward(tv.Tensor([[[[300, 450], [100, 250]]]]))
    assert x.grad.numpy().tolist() == [[[[0, 750, 0], [100, 0, 250], [0, 0, 0]]]]


@every_variant
def test_ties_nan_and_minus_infinity(variant):
    nan, low = np.nan, -np.inf
    x = np.array([[[[nan, 1, nan, nan], [2, 2, 0, 0], [2, low, low, low], [1, low, low, low]]]])
    with use_variant(variant):
        y, places = ops.max_pool2d(x, 2, 1, return_indices=True)
        _, ceiled = ops.max_pool2d(x, 3, 2, ceil_mode=True, return_indices=True)
    np.testing.assert_equal(y.numpy(), [[[[nan, nan, nan], [2, 2, 0], [2, low, low]]]])
    assert places.numpy().tolist() == [[[[0, 2, 3],          # of several NaN the last, as PyTorch
                                         [4, 5, 6],          # the first of equals
                                         [8, 9, 10]]]]       # a pixel even if all are -inf
    assert ceiled.numpy().tolist() == [[[[2, 3], [8, 10]]]]


@every_variant
def test_average_and_global_pooling_by_hand(variant):
    with use_variant(variant):
        assert ops.avg_pool2d(LECTURE, 2, 1).numpy().tolist() == [[[[105, 107.5], [50, 48.75]]]]
        assert ops.adaptive_max_pool2d(LECTURE, 1).numpy().tolist() == [[[[150]]]]
        close(ops.adaptive_avg_pool2d(LECTURE, 1), [[[[710 / 9]]]], np.float32)
        padded = ops.avg_pool2d(LECTURE, 3, 2, 1).numpy()
        excluded = ops.avg_pool2d(LECTURE, 3, 2, 1, count_include_pad=False).numpy()
        close(padded[0, 0, 0, 0], 420 / 9, np.float32)       # 120 + 150 + 100 + 50 and five zeros
        close(excluded[0, 0, 0, 0], 420 / 4, np.float32)
        close(ops.avg_pool2d(LECTURE, 2, 1, divisor_override=1), [[[[420, 430], [200, 195]]]])


# --- variants and adjoints ------------------------------------------------------------------------
CASES = {
    "max": lambda x: ops.max_pool2d(x, (3, 2), (2, 1), (1, 0), (2, 3)),
    "max places": lambda x: ops.max_pool2d(x, (3, 2), (2, 1), (1, 0), (2, 3), False, True)[1],
    "max ceil": lambda x: ops.max_pool2d(x, (3, 2), (2, 3), (1, 1), ceil_mode=True),
    "adaptive max": lambda x: ops.adaptive_max_pool2d(x, (4, 3)),
    "avg": lambda x: ops.avg_pool2d(x, (3, 4), (2, 3), (1, 2), True),
    "avg inside": lambda x: ops.avg_pool2d(x, (3, 4), (2, 3), (1, 2), True, False),
    "adaptive avg": lambda x: ops.adaptive_avg_pool2d(x, (4, None)),
}


def value_and_gradient(function, x):
    """The result, and the gradient for a cotangent that tells its elements apart."""
    t = tv.Tensor(x, requires_grad=True)
    y = function(t)
    if y.op is None:                                         # places have no gradient
        return y.numpy(), x
    y.backward(tv.Tensor(np.cos(np.arange(y.size)).reshape(y.shape).astype(x.dtype)))
    return y.numpy(), t.grad.numpy()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
@every_variant
def test_variants_agree(variant, case, dtype):
    x = np.random.default_rng(0).normal(size=(2, 3, 7, 9)).astype(dtype)
    with use_variant("reference"):
        expected = value_and_gradient(CASES[case], x)
    with use_variant(variant):
        got = value_and_gradient(CASES[case], x)
    for a, b in zip(got, expected):
        assert a.dtype == b.dtype
        close(a, b, dtype)


@every_variant
@pytest.mark.parametrize("case", [c for c in CASES if c != "max places"])
def test_adjoint_identity(variant, case):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 3, 7, 9))
    with use_variant(variant):
        y = CASES[case](tv.Tensor(x, requires_grad=True))
        op, chosen = y.op, y._node.inputs[1:]                # the places, or nothing
        partner = (PutPlane(op.rows, op.columns) if isinstance(op, TakePlane) else
                   Resize(op.rows.T, op.columns.T))
        np.testing.assert_array_equal(op(x, *chosen).numpy(), y.numpy())
        adjoint(lambda x: op(x, *chosen), x, lambda y: partner(y, *chosen),
                rng.normal(size=y.shape))


@pytest.mark.parametrize("case", [c for c in CASES if c != "max places"])
def test_second_order(case):
    rng = np.random.default_rng(2)
    x = rng.permutation(2 * 2 * 7 * 9).reshape(2, 2, 7, 9) / 50     # no two values are near
    second_order(CASES[case], x, rng)


def test_second_order_of_unpooling():
    rng = np.random.default_rng(3)
    _, places = ops.max_pool2d(rng.normal(size=(2, 3, 6, 8)), 3, 1, return_indices=True)
    second_order(lambda y: ops.max_unpool2d(y, places, 3, 1), rng.normal(size=places.shape), rng)


def test_the_gpu_windows_of_unpooling_are_enough_and_small():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2, 3, 17, 19))
    _, places = ops.max_pool2d(x, 3, 2, 1, return_indices=True)
    places, y = places.numpy(), rng.normal(size=places.shape)
    rows, columns = enclosing(places // 19, (0, 1, 3), 17), enclosing(places % 19, (0, 1, 2), 19)
    known, _ = pool_windows("test", x, 3, 2, 1, 1, False)
    assert (rows.reach[:, 0] >= known.reach[:, 0]).all()
    assert (rows.reach[:, 1] <= known.reach[:, 1]).all()
    expected = ops.max_unpool2d(y, places, 3, 2, 1, (17, 19)).numpy()
    for variant in ("reference", "cpu") + ("gpu",) * (compiler() is not None):
        out = np.zeros((2, 3, 17, 19))
        with use_variant(variant):
            put_plane(y, places, rows.reach, columns.reach, out)
        close(out, expected)


@every_variant
@pytest.mark.parametrize("dtype", DTYPES)
def test_unpooling_any_places(variant, dtype):
    rng = np.random.default_rng(5)
    y, places = rng.normal(size=(2, 3, 4, 5)).astype(dtype), rng.integers(0, 80, (2, 3, 4, 5))
    expected = np.zeros((2, 3, 80), dtype)
    n, c = np.ogrid[:2, :3]
    np.add.at(expected, (n[..., None, None], c[..., None, None], places), y)
    with use_variant(variant):
        close(ops.max_unpool2d(y, places, 2), expected.reshape(2, 3, 8, 10), dtype)


def test_places_changed_before_they_are_used_are_noticed():
    x = tv.Tensor(LECTURE, requires_grad=True)
    y, places = ops.max_pool2d(x, 2, 1, return_indices=True)
    back = ops.max_unpool2d(y, places, 2, 1)
    places[...] = 0
    for result in (y, back):
        with pytest.raises(tv.engine.GraphError, match="TakePlane|PutPlane"):
            result.sum().backward(retain_graph=True)


@every_variant
def test_empty_batch(variant):
    x = np.zeros((0, 3, 5, 7), np.float32)
    with use_variant(variant):
        for function in CASES.values():
            assert function(x).shape[:2] == (0, 3)
        y, places = ops.max_pool2d(x, 2, return_indices=True)
        assert ops.max_unpool2d(y, places, 2, output_size=(5, 7)).shape == (0, 3, 5, 7)


def test_inputs_of_every_kind():
    assert ops.max_pool2d([[[[1, 2], [3, 4]]]], 2).numpy().tolist() == [[[[4]]]]
    integers = np.arange(16).reshape(1, 1, 4, 4)
    assert ops.max_pool2d(integers, 2).numpy().tolist() == [[[[5, 7], [13, 15]]]]
    x = np.random.default_rng(6).normal(size=(5, 6, 2, 3))
    turned = x.transpose(2, 3, 0, 1)                         # not contiguous
    close(ops.max_pool2d(turned, 2), ops.max_pool2d(turned.copy(), 2))
    close(ops.avg_pool2d(turned, 2), ops.avg_pool2d(turned.copy(), 2))
    op = ops.max_pool2d(tv.Tensor(x, True), 2).op
    assert repr(op) == "TakePlane(2 x 3, 1 x 1 places)"
    assert repr(ops.avg_pool2d(tv.Tensor(x, True), 2).op) == "AvgPool2d(2 x 3 -> 1 x 1)"


# --- what the fast kernels tell apart -------------------------------------------------------------
LARGE = {
    "2 x 2": lambda x: ops.max_pool2d(x, 2),
    "2 x 2, ceil_mode": lambda x: ops.max_pool2d(x, 2, ceil_mode=True),
    "3 x 3": lambda x: ops.max_pool2d(x, 3, 2, 1),
    "3 x 3, stride 1": lambda x: ops.max_pool2d(x, 3, 1, 1),
    "stride 3": lambda x: ops.max_pool2d(x, (2, 4), 3),
    "dilation": lambda x: ops.max_pool2d(x, 3, 2, 1, 2),
    "global max": lambda x: ops.adaptive_max_pool2d(x, 1),
    "one column": lambda x: ops.adaptive_max_pool2d(x, (7, 1)),
    "mean of 2 x 2": lambda x: ops.avg_pool2d(x, 2),
    "mean of 3 x 3": lambda x: ops.avg_pool2d(x, 3, 2, 1),
    "mean, stride 3": lambda x: ops.avg_pool2d(x, (4, 2), 3),
    "global mean": lambda x: ops.adaptive_avg_pool2d(x, 1),
    "adaptive mean": lambda x: ops.adaptive_avg_pool2d(x, (6, 5)),
    "mean of everything near": lambda x: ops.avg_pool2d(x, 31, 1, 15),
}


@pytest.mark.parametrize("shape", [(1, 1, 203, 190), (3, 4, 64, 33), (1, 2, 1, 40), (2, 1, 40, 1)])
@pytest.mark.parametrize("case", LARGE)
def test_bands_and_regular_windows(case, shape):
    """Planes of several bands, few planes, few rows: the fast kernels against the loops."""
    x = np.random.default_rng(11).normal(size=shape)
    x[..., ::3] = np.round(x[..., ::3])                      # ties
    try:
        with use_variant("cpu_loops"):
            expected = value_and_gradient(LARGE[case], x)
    except ValueError as error:
        assert "larger than the padded" in str(error) or "padding only" in str(error)
        return
    for a, b in zip(value_and_gradient(LARGE[case], x), expected):
        close(a, b)


def test_the_places_do_not_depend_on_the_path():
    x = np.random.default_rng(12).integers(0, 3, (2, 3, 40, 50)).astype(np.float32)
    x[x == 2] = np.nan
    for arguments in ((2,), (3, 2, 1), (3, 1, 1), (5, 2, 2), (4, 3)):
        y, places = ops.max_pool2d(x, *arguments, return_indices=True)
        with use_variant("cpu_loops"):
            z, expected = ops.max_pool2d(x, *arguments, return_indices=True)
        np.testing.assert_array_equal(places.numpy(), expected.numpy())
        np.testing.assert_array_equal(y.numpy(), z.numpy())


def test_pooling_allocates_its_results_and_no_more():
    x = tv.Tensor(np.random.default_rng(13).normal(size=(4, 8, 64, 64)).astype(np.float32), True)
    for function, result in ((lambda: ops.max_pool2d(x, 2), 4 + 4),
                             (lambda: ops.max_pool2d(x, 2, return_indices=True), 4 + 8),
                             (lambda: ops.avg_pool2d(x, 2), 4)):
        function()                                           # compiled, tables made
        tracemalloc.start()
        kept = function()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1.02 * result * 4 * 8 * 32 * 32 + 40_000, kept


# --- PyTorch --------------------------------------------------------------------------------------
def against_torch(ours, theirs, x, dtype=np.float64):
    """Values and gradients."""
    torch = pytest.importorskip("torch")
    t, u = tv.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(t), theirs(u)
    g = np.random.default_rng(7).normal(size=y.shape).astype(x.dtype)
    close(y, z.detach(), dtype)
    y.backward(tv.Tensor(g))
    z.backward(torch.tensor(g))
    close(t.grad, u.grad, dtype)


@st.composite
def poolings(draw, dilated):
    """An image size and the arguments of a pooling of it."""
    kernel = draw(st.tuples(*[st.integers(1, 4)] * 2))
    return draw(st.tuples(*[st.integers(1, 9)] * 2)), dict(
        kernel_size=kernel, stride=draw(st.none() | st.tuples(*[st.integers(1, 4)] * 2)),
        padding=tuple(draw(st.integers(0, k // 2)) for k in kernel), ceil_mode=draw(st.booleans()),
        **({"dilation": draw(st.tuples(*[st.integers(1, 3)] * 2))} if dilated else {}))


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=150, deadline=None)
@given(pooling=poolings(True), levels=st.sampled_from([2, 5, 1000]), nans=st.booleans())
def test_max_pool_is_torchs(dtype, pooling, levels, nans):
    torch = pytest.importorskip("torch")
    size, arguments = pooling
    rng = np.random.default_rng(levels)
    x = rng.integers(0, levels, (2, 3, *size)).astype(dtype)         # few levels: many ties
    if nans:
        x[rng.random(x.shape) < 0.2] = np.nan
        x[rng.random(x.shape) < 0.3] = -np.inf
    try:
        y, places = ops.max_pool2d(x, **arguments, return_indices=True)
    except ValueError as error:
        if "padding only" not in str(error):
            with pytest.raises(RuntimeError):
                torch.nn.functional.max_pool2d(torch.tensor(x), **arguments)
        return
    z, expected = torch.nn.functional.max_pool2d(torch.tensor(x), **arguments, return_indices=True)
    np.testing.assert_array_equal(places.numpy(), expected.numpy())
    np.testing.assert_array_equal(y.numpy(), z.numpy())
    if not nans:
        against_torch(lambda t: ops.max_pool2d(t, **arguments),
                      lambda t: torch.nn.functional.max_pool2d(t, **arguments), x, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=150, deadline=None)
@given(pooling=poolings(False), include=st.booleans(), divisor=st.none() | st.integers(1, 5))
def test_avg_pool_is_torchs(dtype, pooling, include, divisor):
    torch = pytest.importorskip("torch")
    size, arguments = pooling
    arguments |= dict(count_include_pad=include, divisor_override=divisor)
    x = np.random.default_rng(8).normal(size=(2, 3, *size)).astype(dtype)
    try:
        ops.avg_pool2d(x, **arguments)
    except ValueError:
        with pytest.raises(RuntimeError):
            torch.nn.functional.avg_pool2d(torch.tensor(x), **arguments)
        return
    against_torch(lambda t: ops.avg_pool2d(t, **arguments),
                  lambda t: torch.nn.functional.avg_pool2d(t, **arguments), x, dtype)


@settings(max_examples=100, deadline=None)
@given(size=st.tuples(*[st.integers(1, 9)] * 2),
       out=st.integers(1, 9) | st.tuples(*[st.none() | st.integers(1, 9)] * 2))
def test_adaptive_pools_are_torchs(size, out):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(9).normal(size=(2, 3, *size))
    for name in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
        against_torch(lambda t: getattr(ops, name)(t, out),
                      lambda t: getattr(torch.nn.functional, name)(t, out), x)
    _, places = ops.adaptive_max_pool2d(x, out, return_indices=True)
    _, expected = torch.nn.functional.adaptive_max_pool2d(torch.tensor(x), out, True)
    np.testing.assert_array_equal(places.numpy(), expected.numpy())


@settings(max_examples=100, deadline=None)
@given(size=st.tuples(*[st.integers(4, 9)] * 2), kernel=st.integers(1, 4), gap=st.integers(0, 2),
       padding=st.integers(0, 2), whole=st.sampled_from([None, "size", "shape"]))
def test_max_unpool_is_torchs_where_windows_do_not_overlap(size, kernel, gap, padding, whole):
    torch = pytest.importorskip("torch")
    assume(2 * padding <= kernel)
    F, window = torch.nn.functional, (kernel, kernel + gap, padding)
    x = np.random.default_rng(10).normal(size=(2, 3, *size))
    y, places = ops.max_pool2d(x, *window, return_indices=True)
    default = [(a - 1) * window[1] - 2 * padding + kernel for a in y.shape[2:]]
    assume(min(default) > 0)                                 # torch would return an empty image
    output_size = {None: None, "size": size, "shape": x.shape}[whole]
    try:
        theirs = F.max_unpool2d(torch.tensor(y.numpy()), torch.tensor(places.numpy()), *window,
                                output_size)
    except (RuntimeError, ValueError):                       # torch: places outside the default
        with pytest.raises(ValueError):
            ops.max_unpool2d(y, places, *window, output_size)
        return
    close(ops.max_unpool2d(y, places, *window, output_size), theirs)
    against_torch(lambda t: ops.max_unpool2d(t, places, *window, output_size),
                  lambda t: F.max_unpool2d(t, torch.tensor(places.numpy()), *window, output_size),
                  y.numpy())


# --- bad inputs -----------------------------------------------------------------------------------
X = np.zeros((1, 2, 4, 6), np.float32)
PLACES = np.zeros(X.shape, np.int64)
BAD = [
    (lambda: ops.max_pool2d(X[0], 2), ValueError, "max_pool2d: x has shape (2, 4, 6), expected 4"),
    (lambda: ops.max_pool2d(X, 0), ValueError, "max_pool2d: kernel_size is 0, expected at least 1"),
    (lambda: ops.max_pool2d(X, 2, 0), ValueError, "max_pool2d: stride is 0, expected at least 1"),
    (lambda: ops.max_pool2d(X, 2, padding=-1), ValueError,
     "max_pool2d: padding is -1, expected at least 0"),
    (lambda: ops.max_pool2d(X, 2, dilation=0), ValueError,
     "max_pool2d: dilation is 0, expected at least 1"),
    (lambda: ops.max_pool2d(X, 2.0), TypeError, "max_pool2d: kernel_size is 2.0, expected an int"),
    (lambda: ops.max_pool2d(X, 3, padding=2), ValueError,
     "max_pool2d: padding is (2, 2), expected at most half the kernel (3, 3)"),
    (lambda: ops.max_pool2d(X, 5), ValueError,
     "max_pool2d: the kernel 5 with dilation 1 is larger than the padded image (size 4, "),
    (lambda: ops.max_pool2d(X[:, :, :2], (2, 1), 1, (1, 0), (3, 1)), ValueError,
     "max_pool2d: a window lies on padding only (size 2, kernel 2, padding 1, dilation 3), "),
    (lambda: ops.max_pool2d(X[:, :, :0], 1), ValueError, "max_pool2d: the kernel 1"),
    (lambda: ops.adaptive_max_pool2d(X, 0), ValueError,
     "adaptive_max_pool2d: output_size is 0, expected at least 1"),
    (lambda: ops.adaptive_max_pool2d(X, (1, 2, 3)), TypeError,
     "adaptive_max_pool2d: output_size is (1, 2, 3), expected an int or a pair"),
    (lambda: ops.adaptive_avg_pool2d(X[:, :, :0], 1), ValueError,
     "adaptive_avg_pool2d: x has a size of 0, expected at least 1"),
    (lambda: ops.avg_pool2d(X[0, 0], 2), ValueError, "avg_pool2d: x has shape (4, 6), expected 4"),
    (lambda: ops.avg_pool2d(X.astype(int), 2), TypeError,
     "avg_pool2d: x has dtype int64, expected float32 or float64"),
    (lambda: ops.avg_pool2d(X, 2, padding=2), ValueError,
     "avg_pool2d: padding is (2, 2), expected at most half the kernel (2, 2)"),
    (lambda: ops.avg_pool2d(X, 7), ValueError, "avg_pool2d: the kernel 7"),
    (lambda: ops.avg_pool2d(X, 2, divisor_override=0), ValueError,
     "avg_pool2d: divisor_override is 0, expected at least 1"),
    (lambda: ops.max_unpool2d(X, PLACES[:, :1], 2), ValueError,
     "max_unpool2d: indices have shape (1, 1, 4, 6), expected that of x, (1, 2, 4, 6)"),
    (lambda: ops.max_unpool2d(X, PLACES.astype(float), 2), TypeError,
     "max_unpool2d: indices have dtype float64, expected int64"),
    (lambda: ops.max_unpool2d(X, PLACES - 1, 2), ValueError,
     "max_unpool2d: indices hold -1, expected 0 to 95 (the result is 8 x 12)"),
    (lambda: ops.max_unpool2d(X, PLACES + 96, 2), ValueError,
     "max_unpool2d: indices hold 96, expected 0 to 95 (the result is 8 x 12)"),
    (lambda: ops.max_unpool2d(X, PLACES, 2, output_size=(10, 12)), ValueError,
     "max_unpool2d: output_size is (10, 12), expected at least 1 and less than one stride (2, 2) "
     "away from (8, 12)"),
]


@pytest.mark.parametrize("call, kind, message", BAD, ids=[message for *_, message in BAD])
def test_bad_inputs(call, kind, message):
    with pytest.raises(kind) as error:
        call()
    assert str(error.value).startswith(message)
