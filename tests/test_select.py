"""Choices and the newer activations beside PyTorch: values, gradients, ties, ends, NaN."""
import re

import numpy as np
import pytest

import tinyvision as tv
from tinyvision import ops

SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 3.0, -3.0, 6.0, 1e-3, -1e-3, 20.5, -20.5,
           90.0, -90.0, 1000.0, -1000.0]
UNARY = ("silu", "mish", "softplus", "logsigmoid", "elu", "selu", "hardswish", "hardsigmoid",
         "hardtanh", "relu6", "abs")
TOLERANCE = {"f4": 1e-5, "f8": 1e-9}
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


def close(found, right, tolerance):
    """Finite ones close, the others the same."""
    finite = np.isfinite(right)
    assert found.shape == right.shape and (np.isfinite(found) == finite).all()
    np.testing.assert_array_equal(found[~finite], right[~finite])
    np.testing.assert_allclose(found[finite], right[finite], tolerance, tolerance)


def check(ours, theirs, *arrays, tolerance):
    torch = pytest.importorskip("torch")
    a = [tv.Tensor(x, requires_grad=True) for x in arrays]
    b = [torch.tensor(x, requires_grad=True) for x in arrays]
    with np.errstate(all="ignore"):
        y, z = ours(*a), theirs(*b)
        close(y.numpy(), z.detach().numpy(), tolerance)
        g = np.random.default_rng(1).standard_normal(y.shape).astype(arrays[0].dtype)
        y.backward(g)
    z.backward(torch.tensor(g))
    for s, t in zip(a, b):
        close(s.grad.numpy(), t.grad.numpy(), tolerance)


def theirs(name):
    torch = pytest.importorskip("torch")
    return getattr(torch.nn.functional, name, None) or getattr(torch, name)


@every_dtype
@pytest.mark.parametrize("size", [1, 5000, 70000])
@pytest.mark.parametrize("name", UNARY)
def test_activations_are_pytorchs(name, size, dtype):
    x = (4 * np.random.default_rng(0).standard_normal(size)).astype(dtype)
    tolerance = 1e-7 if (name, dtype) == ("hardsigmoid", "f8") else TOLERANCE[dtype]
    check(getattr(ops, name), theirs(name), x, tolerance=tolerance)


@every_dtype
@pytest.mark.parametrize("repeats", [1, 500])
@pytest.mark.parametrize("name", UNARY)
def test_activations_of_special_numbers_are_pytorchs(name, repeats, dtype):
    """Also far out, where naive formulas overflow. (Beyond them the gradient may differ at NaN.)"""
    torch = pytest.importorskip("torch")
    x = np.tile(np.array(SPECIAL, dtype), repeats)
    with np.errstate(all="ignore"):
        found = getattr(ops, name)(x).numpy()
    right = theirs(name)(torch.tensor(x)).numpy()
    close(found, right, 1e-7 if name == "hardsigmoid" else TOLERANCE[dtype])
    finite = x[np.isfinite(x)]
    check(getattr(ops, name), theirs(name), finite,
          tolerance=1e-7 if name == "hardsigmoid" else TOLERANCE[dtype])


@every_dtype
@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_ties_share_evenly(name, dtype):
    torch = pytest.importorskip("torch")
    a, b = np.array([1, 2, 3, np.nan, 0], dtype), np.array([[2], [3], [3]], dtype)
    with np.errstate(all="ignore"):
        close(getattr(ops, name)(a, b).numpy(),
              getattr(torch, name)(torch.tensor(a), torch.tensor(b)).numpy(), 0)
    check(getattr(ops, name), theirs(name), a[:3], b, tolerance=1e-6)


@pytest.mark.parametrize("dim", [0, 1, (0, 1), -1])
@pytest.mark.parametrize("name", ["amax", "amin"])
def test_extremes_share_evenly(name, dim):
    x = np.array([[1, 3, 3, 0], [3, 0, 0, 0.0]])
    torch = pytest.importorskip("torch")
    check(lambda x: getattr(ops, name)(x, dim), lambda x: getattr(torch, name)(x, dim), x,
          tolerance=1e-12)
    assert getattr(ops, name)(x, dim, True).ndim == 2
    assert getattr(ops, name)(x).item() == (3 if name == "amax" else 0)


@pytest.mark.parametrize("bounds", [(-1, 1), (None, 1), (-1, None), (1, 1)])
def test_clamp_is_pytorchs(bounds):
    torch = pytest.importorskip("torch")
    x = np.array([-2, -1, 0, 1, 2, 0.5])
    check(lambda x: ops.clamp(x, *bounds), lambda x: torch.clamp(x, *bounds), x, tolerance=0)


def test_where_hides_infinite_gradients():
    x = tv.Tensor(np.array([0.0, 4.0]), requires_grad=True)
    ops.where(x.data > 0, ops.sqrt(ops.clamp(x, 1e-300)), 1.0).sum().backward()
    assert x.grad.numpy().tolist() == [0, 0.25]


def test_where_broadcasts_and_takes_numbers():
    torch = pytest.importorskip("torch")
    mask = np.array([[True, False, True]])
    a, b = np.arange(2.0)[:, None], np.arange(12.0).reshape(4, 1, 3)
    check(lambda a, b: ops.where(mask, a, b),
          lambda a, b: torch.where(torch.tensor(mask), a, b), a, b, tolerance=0)
    y = ops.where(mask, np.ones(3, "f4"), 2)
    assert y.dtype == np.float32 and y.numpy().tolist() == [[1, 2, 1]]
    assert ops.maximum(np.array([-1, 1], "f4"), 0).dtype == np.float32


def test_pixel_shuffle_of_the_paper():
    x = np.arange(8.0).reshape(1, 8, 1, 1)
    y = ops.pixel_shuffle(x, 2)
    assert y.numpy().tolist() == [[[[0, 1], [2, 3]], [[4, 5], [6, 7]]]]
    assert (ops.pixel_unshuffle(y, 2).numpy() == x).all()


@pytest.mark.parametrize("error, call, words", [
    (TypeError, lambda: ops.where(np.ones(3), np.ones(3), 0), "condition is float64, expected bool"),
    (TypeError, lambda: ops.where(np.ones(3, bool), 1, 0), "where: got the numbers 1 and 0"),
    (ValueError, lambda: ops.clamp(np.ones(3)), "clamp: min is None and max is None"),
    (ValueError, lambda: ops.clamp(np.ones(3), 2, 1), "min not above max"),
    (ValueError, lambda: ops.amax(np.ones((0, 3)), 0), "amax: input has shape (0, 3)"),
    (ValueError, lambda: ops.amax(np.ones(3), 1), "amax: dim 1 is out of range"),
    (ValueError, lambda: ops.hardtanh(np.ones(3), 1, 1), "hardtanh: min_val is 1 and max_val is 1"),
    (ValueError, lambda: ops.softplus(np.ones(3), 0), "softplus: beta is 0"),
    (ValueError, lambda: ops.prelu(np.ones((2, 3)), np.ones(2)), "weight has shape (2,)")])
def test_bad_input_is_refused_in_one_sentence(error, call, words):
    with pytest.raises(error, match=re.escape(words)):
        call()
