"""The compiled kernels of norms, softmax and cross_entropy at sizes that the examples do not reach:
several blocks, threads, groups of rows; and the same bits on any number of threads."""
import numpy as np
import pytest

import tinyvision as tv
from tinyvision import kernel
from tinyvision.kernel import KERNELS
from tinyvision.ops import cross_entropy_fast, layer_norm_fast

TOLERANCE = {"f4": 2e-6, "f8": 1e-13}
RNG = np.random.default_rng(0)


def numbers(dtype, *shape):
    return (RNG.standard_normal(shape) + 0.5).astype(dtype)


def result(name, variant, arguments, shape, dtype):
    """What a kernel's variant writes over junk."""
    out = np.full(shape, np.nan, dtype)
    KERNELS[name].variants[variant](*arguments, out)
    return out


def check(name, dtype, shape, *arguments):
    """The compiled kernels are the reference, the fast one also
    the same in one thread as in all."""
    right = result(name, "reference", arguments, shape, dtype)
    found = result(name, "cpu", arguments, shape, dtype)
    loops = result(name, "cpu_loops", arguments, shape, dtype)
    most = TOLERANCE[dtype] * max(1, abs(right).max(initial=0))
    assert max(abs(found - right).max(initial=0), abs(loops - right).max(initial=0)) <= most
    before = kernel.threads()
    tv.set_num_threads(1)
    try:
        alone = result(name, "cpu", arguments, shape, dtype)
    finally:
        tv.set_num_threads(before)
    assert alone.tobytes() == found.tobytes()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("N, C, L", [(3, 5, 5001), (7, 9, 700), (1000, 33, 1), (2, 3, 1)])
def test_batch_norm(N, C, L, dtype):
    x, g, weight = numbers(dtype, N, C, L), numbers(dtype, N, C, L), numbers(dtype, C)
    check("channel_moments", dtype, (2, C), x)
    moments = result("channel_moments", "reference", (x,), (2, C), dtype)
    check("normalise", dtype, x.shape, x, *moments, weight)
    check("channel_sums", dtype, (2, C), g, x, moments, 1e-3)
    for fixed in (False, True):
        check("batch_norm_backward", dtype, x.size + 2 * C, g, x, weight, moments, 1e-3, fixed)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("R, D", [(layer_norm_fast.SHARES * (2 * layer_norm_fast.GROUP + 1), 301),
                                  (5, 7), (1, 3), (333, 16), (0, 4)])
def test_layer_norm(R, D, dtype):
    x, g, weight, bias = (numbers(dtype, *s) for s in ((R, D), (R, D), (D,), (D,)))
    check("layer_norm_kernel", dtype, (R, D), x, weight, bias, 1e-3)
    check("layer_norm_backward", dtype, (R + 2, D), g, x, weight, 1e-3)


SCORES = [(2 * cross_entropy_fast.BLOCK + 3, 17, 1), (7, 5, 300), (2, 21, 4001), (40, 1000, 1),
          (1, 1, 9)]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("logarithm", [False, True])
@pytest.mark.parametrize("shape", SCORES)
def test_softmax(shape, logarithm, dtype):
    x, g = numbers(dtype, *shape), numbers(dtype, *shape)
    check("softmax_kernel", dtype, shape, x, logarithm)
    y = result("softmax_kernel", "reference", (x, logarithm), shape, dtype)
    check("softmax_backward", dtype, shape, g, y, logarithm)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("N, C, L", SCORES)
def test_cross_entropy(N, C, L, smoothing, dtype):
    x, g, weight = numbers(dtype, N, C, L), numbers(dtype, N, L), abs(numbers(dtype, C))
    labels, ignored = RNG.integers(-1, C, (N, L)), -1
    check("peaks_kernel", dtype, (2, N, L), x)
    peaks = result("peaks_kernel", "reference", (x,), (2, N, L), dtype)
    rest = x, peaks, labels, weight, ignored, smoothing
    check("label_costs", dtype, (N, L), *rest)
    check("label_costs_backward", dtype, (N, C, L), g, *rest)


@pytest.mark.parametrize("shape", [(3, 40, 1), (3, 40, 70)])
def test_ignored_labels_cost_nothing_whatever_their_scores(shape):
    x, N, L = numbers("f4", *shape), shape[0], shape[2]
    x[1] = np.nan
    labels = np.zeros((N, L), np.int64)
    labels[1] = 77
    peaks = result("peaks_kernel", "cpu", (x,), (2, N, L), "f4")
    for smoothing in (0.0, 0.3):
        rest = x, peaks, labels, np.ones(shape[1], "f4"), 77, smoothing
        cost = result("label_costs", "cpu", rest, (N, L), "f4")
        assert (cost[1] == 0).all() and (cost[[0, 2]] > 0).all()
