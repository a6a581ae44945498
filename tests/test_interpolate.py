"""Nearest, bilinear and bed-of-nails resizing: the lecture's tables, PyTorch, adjoints."""
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tinyvision as tv
from tinyvision import ops
from tinyvision.cuda import compiler
from tinyvision.kernel import use_variant
from tinyvision.ops.interpolate import LOOK, Resize, _taps, resize

DTYPES = np.float32, np.float64
SMALL = np.array([[[[1, 2], [3, 4]]]], np.float32)
gpu = pytest.param("gpu", marks=pytest.mark.skipif(
    compiler() is None, reason="no C++ compiler: the CUDA text cannot be run on the host"))
every_variant = pytest.mark.parametrize("variant", ["reference", "cpu_loops", "cpu", gpu])


def close(a, b, dtype=np.float64):
    """Equal up to rounding."""
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), tolerance, tolerance)


# --- the lecture ----------------------------------------------------------------------------------
@every_variant
def test_lecture_nearest(variant):
    with use_variant(variant) as ran:
        y = ops.interpolate(SMALL, scale_factor=2)
    assert y.numpy().tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]]]
    assert ran == {"resize"}


@every_variant
def test_lecture_bed_of_nails(variant):
    with use_variant(variant):
        y = ops.bed_of_nails(SMALL, 2)
    assert y.numpy().tolist() == [[[[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]]]


@every_variant
def test_bilinear_by_hand(variant):
    with use_variant(variant):
        borders = ops.interpolate(SMALL, 4, mode="bilinear").numpy()[0, 0]
        corners = ops.interpolate(SMALL, 4, mode="bilinear", align_corners=True).numpy()[0, 0]
    assert borders[0].tolist() == [1, 1.25, 1.75, 2]         # at -0.25 (so 0), 0.25, 0.75, 1.25
    assert borders[:, 0].tolist() == [1, 1.5, 2.5, 3]
    close(corners[0], [1, 4 / 3, 5 / 3, 2], np.float32)      # at 0, 1/3, 2/3, 1
    close(corners[:, 0], [1, 5 / 3, 7 / 3, 3], np.float32)


def test_adjoints_by_hand():
    g = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    x = tv.Tensor(SMALL, requires_grad=True)
    taken, = tv.grad(ops.bed_of_nails(x, 2), x, tv.Tensor(g))
    assert taken.numpy().tolist() == [[[[0, 2], [8, 10]]]]   # every second row and column
    summed, = tv.grad(ops.interpolate(x, scale_factor=2), x, tv.Tensor(g))
    assert summed.numpy().tolist() == [[[[0 + 1 + 4 + 5, 2 + 3 + 6 + 7],
                                         [8 + 9 + 12 + 13, 10 + 11 + 14 + 15]]]]


@every_variant
def test_nails_do_not_spread_infinities(variant):
    x = np.array([[[[np.inf, 1], [np.nan, 2]]]], np.float32)
    with use_variant(variant):
        y = ops.bed_of_nails(x, (2, 3)).numpy()
    assert np.array_equal(y[:, :, ::2, ::3], x, equal_nan=True)
    assert np.isfinite(y).sum() == y.size - 2 and np.count_nonzero(y) == 4


# --- variants, adjoints, orders -------------------------------------------------------------------
CASES = {
    "nearest up": lambda x: ops.interpolate(x, (13, 16)),
    "nearest down": lambda x: ops.interpolate(x, (3, 4)),
    "borders up": lambda x: ops.interpolate(x, (13, 16), mode="bilinear"),
    "borders down": lambda x: ops.interpolate(x, (2, 3), mode="bilinear"),
    "corners up": lambda x: ops.interpolate(x, (13, 16), mode="bilinear", align_corners=True),
    "corners down": lambda x: ops.interpolate(x, (1, 4), mode="bilinear", align_corners=True),
    "scaled": lambda x: ops.interpolate(x, scale_factor=(1.7, 0.6), mode="bilinear"),
    "nails": lambda x: ops.bed_of_nails(x, (2, 3)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
@every_variant
def test_variants_agree(variant, case, dtype):
    x = tv.Tensor(np.random.default_rng(0).normal(size=(2, 3, 5, 7)).astype(dtype), True)
    results = []
    for name in ("reference", variant):
        with use_variant(name):
            y = CASES[case](x)
            g = np.cos(np.arange(y.size)).reshape(y.shape).astype(dtype)
            results.append((y.numpy(), tv.grad(y, x, tv.Tensor(g))[0].numpy()))
    for a, b in zip(*results):
        assert a.dtype == b.dtype == dtype
        close(a, b, dtype)


@every_variant
@pytest.mark.parametrize("case", CASES)
def test_adjoint_identity(variant, case):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 3, 5, 7))
    with use_variant(variant):
        A = CASES[case](tv.Tensor(x, requires_grad=True)).op
        y = rng.normal(size=A(x).shape)
        partner = Resize(A.rows.T, A.columns.T)
        np.testing.assert_allclose((A(x).numpy() * y).sum(), (x * partner(y).numpy()).sum(), 1e-10)
        close(Resize(partner.rows.T, partner.columns.T)(x), A(x))


@pytest.mark.parametrize("case", CASES)
def test_second_order(case):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2, 3, 5, 7))
    shape = CASES[case](x).shape
    weights, direction, probe = (rng.normal(size=s) for s in (shape, x.shape, x.shape))

    def first(t, create_graph):
        y = CASES[case](t)                                   # squared, so that it is not linear
        return tv.grad((y * y * tv.Tensor(weights)).sum(), t, create_graph=create_graph)[0]

    t = tv.Tensor(x, requires_grad=True)
    second, = tv.grad((first(t, True) * tv.Tensor(direction)).sum(), t)
    plus, minus = ((first(tv.Tensor(x + s * probe, True), False).numpy() * direction).sum()
                   for s in (1e-6, -1e-6))
    np.testing.assert_allclose((second.numpy() * probe).sum(), (plus - minus) / 2e-6, 1e-6, 1e-6)


LARGE = {
    "nearest, twice": lambda x: ops.interpolate(x, scale_factor=2),
    "nearest, 7 / 5": lambda x: ops.interpolate(x, scale_factor=1.4),
    "nearest, half": lambda x: ops.interpolate(x, scale_factor=0.5),
    "nearest, a fifth": lambda x: ops.interpolate(x, scale_factor=0.2),
    "bilinear, twice": lambda x: ops.interpolate(x, scale_factor=2, mode="bilinear"),
    "bilinear, 7 / 5": lambda x: ops.interpolate(x, scale_factor=1.4, mode="bilinear"),
    "bilinear, half": lambda x: ops.interpolate(x, scale_factor=0.5, mode="bilinear"),
    "bilinear, 3 times, corners": lambda x: ops.interpolate(
        x, scale_factor=3, mode="bilinear", align_corners=True),
    "higher and narrower": lambda x: ops.interpolate(
        x, (2 * x.shape[2], -(-x.shape[3] // 2)), mode="bilinear"),
    "nails": lambda x: ops.bed_of_nails(x, 2),
    "far nails": lambda x: ops.bed_of_nails(x, (3, 5)),
}


@pytest.mark.parametrize("shape", [(1, 1, 153, 140), (3, 4, 48, 33), (1, 2, 7, 40), (2, 1, 40, 5)])
@pytest.mark.parametrize("case", LARGE)
def test_bands_and_regular_tables(case, shape):
    """Planes of several bands, few planes, few rows: the fast kernel against the loops."""
    x = np.random.default_rng(3).normal(size=shape)
    results = []
    for variant in ("cpu_loops", "cpu"):
        t = tv.Tensor(x, True)
        with use_variant(variant):
            y = LARGE[case](t)
            y.backward(tv.Tensor(np.cos(np.arange(y.size)).reshape(y.shape)))
        results.append((y, t.grad))
    for a, b in zip(*results):
        close(a, b)


@settings(max_examples=300, deadline=None)
@given(kinds=st.tuples(*[st.sampled_from(list(LOOK))] * 2), planes=st.integers(1, 9),
       sizes=st.tuples(*[st.integers(1, 11)] * 2), scales=st.tuples(*[st.floats(0.3, 3.5)] * 2),
       turned=st.tuples(*[st.booleans()] * 2))
def test_any_pair_of_tables_and_nothing_beside(kinds, planes, sizes, scales, turned):
    """The fast kernel is two matrix products for any two tables, and writes nowhere else."""
    def table(kind, H, scale, turn):
        A = H * math.ceil(scale) if kind == "nails" else max(1, int(H * scale))
        taps = _taps(kind, H, A, None if A == 1 else scale, "float64", "cpu")
        return taps.T if turn else taps

    def matrix(taps):
        M = np.zeros((len(taps.spans), len(taps.reach)))
        for row, (first, end), weights in zip(M, taps.spans, taps.weights):
            row[first:end] = weights[:end - first]
        return M

    rows, columns = map(table, kinds, sizes, scales, turned)
    down, across = matrix(rows), matrix(columns)
    x = np.random.default_rng(7).normal(size=(1, planes, down.shape[1], across.shape[1]))
    size, beside = planes * len(down) * len(across), 500
    memory = np.full(size + 2 * beside, 7.5)
    y = memory[beside:-beside].reshape(1, planes, len(down), len(across))
    y[...] = np.nan
    resize(x, rows.spans, rows.weights, columns.spans, columns.weights, y)
    close(y, down @ x @ across.T)
    assert (memory[:beside] == 7.5).all() and (memory[-beside:] == 7.5).all()


@every_variant
def test_one_pixel_from_and_to(variant):
    x = np.random.default_rng(6).normal(size=(2, 3, 1, 1)).astype(np.float32)
    with use_variant(variant):
        for mode in ("nearest", "bilinear"):
            np.testing.assert_array_equal(ops.interpolate(x, (4, 5), mode=mode).numpy(),
                                          np.broadcast_to(x, (2, 3, 4, 5)))
        assert ops.bed_of_nails(x, 2).numpy().sum() == x.sum()
        assert ops.interpolate(x, 1).numpy().tolist() == x.tolist()


def test_empty_batches_lists_and_repr():
    assert ops.interpolate(np.zeros((0, 3, 5, 7)), 4).shape == (0, 3, 4, 4)
    assert ops.bed_of_nails(np.zeros((0, 3, 5, 7)), 2).shape == (0, 3, 10, 14)
    assert ops.interpolate([[[[1, 2]]]], (1, 4)).numpy().tolist() == [[[[1, 1, 2, 2]]]]
    assert repr(ops.interpolate(tv.Tensor(SMALL, True), (4, 6)).op) == "Resize(2 x 2 -> 4 x 6)"
    turned = np.random.default_rng(3).normal(size=(5, 6, 2, 3)).transpose(2, 3, 0, 1)
    close(ops.interpolate(turned, 4), ops.interpolate(turned.copy(), 4))


# --- PyTorch --------------------------------------------------------------------------------------
MODES = st.sampled_from([dict(mode="nearest"), dict(mode="bilinear"),
                         dict(mode="bilinear", align_corners=False),
                         dict(mode="bilinear", align_corners=True)])
TARGETS = st.one_of(
    st.builds(dict, size=st.integers(1, 20) | st.tuples(*[st.integers(1, 20)] * 2)),
    st.builds(dict, scale_factor=st.floats(0.3, 3.5) | st.sampled_from([0.5, 1, 2, 3, 1.05, 2.1]) |
              st.tuples(*[st.floats(0.3, 3.5)] * 2)))


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=200, deadline=None)
@given(size=st.tuples(*[st.integers(1, 11)] * 2), mode=MODES, target=TARGETS)
def test_interpolate_is_torchs(dtype, size, mode, target):
    torch = pytest.importorskip("torch")
    scale = target.get("scale_factor", 1)
    assume(all(h * s >= 1 for h, s in zip(size, np.broadcast_to(scale, 2))))
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2, 3, *size)).astype(dtype)
    t, u = tv.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y = ops.interpolate(t, **target, **mode)
    z = torch.nn.functional.interpolate(u, **target, **mode)
    close(y, z.detach(), dtype)
    g = rng.normal(size=y.shape).astype(dtype)
    y.backward(tv.Tensor(g))
    z.backward(torch.tensor(g))
    close(t.grad, u.grad, dtype)


def test_nearest_is_torchs_at_every_size():
    """Which pixel float32 arithmetic picks: every size up to 60 from every size up to 30."""
    torch = pytest.importorskip("torch")
    for H in range(1, 31):
        x = np.arange(H, dtype=np.float64).reshape(1, 1, H, 1)
        for A in range(1, 61):
            expected = torch.nn.functional.interpolate(torch.tensor(x), (A, 1)).numpy()
            np.testing.assert_array_equal(ops.interpolate(x, (A, 1)).numpy(), expected)


@settings(max_examples=50, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 5)] * 4), scale=st.tuples(*[st.integers(1, 4)] * 2))
def test_bed_of_nails(shape, scale):
    x = np.random.default_rng(5).normal(size=shape)
    y = np.zeros((*shape[:2], shape[2] * scale[0], shape[3] * scale[1]))
    y[:, :, ::scale[0], ::scale[1]] = x
    np.testing.assert_array_equal(ops.bed_of_nails(x, scale).numpy(), y)


# --- bad inputs -----------------------------------------------------------------------------------
X = np.zeros((1, 2, 4, 6), np.float32)
BAD = [
    (lambda: ops.interpolate(X[0], 2), ValueError, "interpolate: x has shape (2, 4, 6), "),
    (lambda: ops.interpolate(X), ValueError,
     "interpolate: size is None and scale_factor None, expected exactly one of them"),
    (lambda: ops.interpolate(X, 2, 2), ValueError,
     "interpolate: size is 2 and scale_factor 2, expected exactly one of them"),
    (lambda: ops.interpolate(X, 2, mode="cubic"), ValueError,
     'interpolate: mode is \'cubic\', expected "nearest" or "bilinear"'),
    (lambda: ops.interpolate(X, 2, align_corners=True), ValueError,
     'interpolate: align_corners is True, expected None with mode "nearest"'),
    (lambda: ops.interpolate(X, 0), ValueError, "interpolate: size is 0, expected at least 1"),
    (lambda: ops.interpolate(X, 2.5), TypeError, "interpolate: size is 2.5, expected an int"),
    (lambda: ops.interpolate(X, scale_factor=0), ValueError,
     "interpolate: scale_factor is 0, expected a positive number or a pair"),
    (lambda: ops.interpolate(X, scale_factor=(1, 2, 3)), ValueError,
     "interpolate: scale_factor is (1, 2, 3), expected a positive number or a pair"),
    (lambda: ops.interpolate(X, scale_factor=float("nan")), ValueError,
     "interpolate: scale_factor is nan, expected a positive number"),
    (lambda: ops.interpolate(X, scale_factor=0.2), ValueError,
     "interpolate: x is (1, 2, 4, 6) and the result (0, 1), expected no empty image"),
    (lambda: ops.interpolate(X.astype(int), 2), TypeError,
     "interpolate: x has dtype int64, expected float32 or float64"),
    (lambda: ops.bed_of_nails(X[0, 0], 2), ValueError, "bed_of_nails: x has shape (4, 6), "),
    (lambda: ops.bed_of_nails(X, 0), ValueError, "bed_of_nails: scale_factor is 0, expected"),
    (lambda: ops.bed_of_nails(X, 1.5), TypeError, "bed_of_nails: scale_factor is 1.5, "),
    (lambda: ops.bed_of_nails(X[:, :, :0], 2), ValueError, "bed_of_nails: x is (1, 2, 0, 6), "),
]


@pytest.mark.parametrize("call, kind, message", BAD, ids=[message for *_, message in BAD])
def test_bad_inputs(call, kind, message):
    with pytest.raises(kind) as error:
        call()
    assert str(error.value).startswith(message)
