"""Products of matrices on the register tile: exact, in every layout, at every size."""
import numpy as np
import pytest

import tinyvision as tv
from tinyvision import ops
from tinyvision.ops import matmul_fast
from tinyvision.simd import use_lanes

SIZES = [(10, 32, 32), (8, 8, 8), (64, 197, 33), (31, 300, 17), (250, 40, 100), (9, 600, 70)]


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("f4")


def layouts(x):
    """`x` with its rows contiguous, with its columns contiguous, and as a part of something."""
    around = np.full((*x.shape[:-2], x.shape[-2] + 3, x.shape[-1] + 5), np.nan, "f4")
    around[..., 2:-1, 1:-4] = x
    return x, np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2), around[..., 2:-1, 1:-4]


def product(a, b):
    """`matmul_fast.product` over junk."""
    y = np.full((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]),
                np.nan, "f4")
    matmul_fast.product(a, b, None, y)
    return y


def check(a, b):
    """`product` against float64; at most four times the error of BLAS."""
    right = a.astype("f8") @ b.astype("f8")
    allowed = max(4 * abs(a @ b - right).max(), 4 * np.finfo("f4").eps * abs(right).max())
    assert abs(product(a, b) - right).max() <= allowed


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("M, K, N", SIZES)
def test_every_layout(lanes, M, K, N):
    with use_lanes(lanes):
        for a in layouts(numbers(M, K)):
            for b in layouts(numbers(K, N, seed=1)):
                check(a, b)


@pytest.mark.parametrize("M, K, N", [(600, 300, 70), (70, 513, 4200), (130, 257, 400)])
def test_blocks_stripes_and_bands(M, K, N):
    for a in layouts(numbers(M, K)):
        for b in layouts(numbers(K, N, seed=1)):
            check(a, b)


@pytest.mark.parametrize("A, B", [((5,), (5,)), ((3, 1), (1, 4)), ((), (6,)), ((2, 3), (3,)),
                                  ((64,), (64,))])
def test_batches_are_broadcast(A, B):
    for a in layouts(numbers(*A, 33, 40)):
        for b in layouts(numbers(*B, 40, 50, seed=1)):
            check(a, b)
    check(np.broadcast_to(numbers(33, 40), (4, 33, 40)), numbers(4, 40, 50))


@pytest.mark.parametrize("workers", [1, 3, 7])
def test_any_number_of_threads(workers, monkeypatch):
    monkeypatch.setattr(matmul_fast, "threads", lambda: workers)
    check(numbers(130, 300), numbers(300, 400))
    check(numbers(5, 61, 70), numbers(70, 150))


def test_the_same_from_run_to_run():
    a, b = numbers(300, 700), numbers(700, 500)
    first = product(a, b)
    assert all((product(a, b) == first).all() for _ in range(5))


def test_nan_and_infinities_stay_in_their_rows_and_columns():
    a, b = numbers(70, 80), numbers(80, 90)
    a[3, 5], b[7, 11], b[8, 89] = np.nan, np.inf, -np.inf
    y = product(a, b)
    np.testing.assert_allclose(y, a @ b, rtol=1e-4, atol=1e-4)


def test_what_suits():
    a, b = numbers(128, 128), numbers(128, 128)
    assert matmul_fast.suits(a, b) and matmul_fast.suits(a.T, b.T)
    for x in (a.astype("f8"), a[:, ::2], np.broadcast_to(a[:, :1], a.shape)[..., ::-1], a[:4]):
        assert not matmul_fast.suits(x, b)
    with use_lanes(0):
        assert not matmul_fast.suits(a, b)
    backwards = a[::-1, ::-1]                                # no axis contiguous: NumPy's
    np.testing.assert_allclose(ops.matmul(backwards, b).numpy(), backwards @ b, 1e-4, 1e-4)


@pytest.mark.parametrize("shape", [(64, 512), (8, 50, 96)])
def test_linear_and_its_gradients_are_pytorchs(shape):
    torch = pytest.importorskip("torch")
    x, w, b, g = numbers(*shape), numbers(200, shape[-1]), numbers(200), numbers(*shape[:-1], 200)
    ours = [tv.Tensor(a, True) for a in (x, w, b)]
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    y, z = ops.linear(*ours), torch.nn.functional.linear(*theirs)
    y.backward(g)
    z.backward(torch.tensor(g))
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-4, atol=1e-4)
    for a, t in zip(ours, theirs):
        np.testing.assert_allclose(a.grad.numpy(), t.grad.numpy(), rtol=1e-4, atol=1e-3)
