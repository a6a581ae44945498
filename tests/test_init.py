"""Initial values: PyTorch's formulas, and modules without weights."""
import math

import numpy as np
import pytest

import tinyvision as tv
from tinyvision import nn
from tinyvision.nn import init

SHAPE = 64, 48, 3, 3


def weight(shape=SHAPE):
    tv.manual_seed(1)
    return nn.Parameter(np.full(shape, np.nan, np.float32))


@pytest.mark.parametrize("name, options, std", [
    ("kaiming_normal_", {}, math.sqrt(2 / (48 * 9))),
    ("kaiming_normal_", dict(mode="fan_out", nonlinearity="relu"), math.sqrt(2 / (64 * 9))),
    ("kaiming_uniform_", dict(a=1), math.sqrt(1 / (48 * 9))),
    ("xavier_normal_", {}, math.sqrt(2 / (112 * 9))),
    ("xavier_uniform_", dict(gain=2), 2 * math.sqrt(2 / (112 * 9))),
    ("normal_", dict(std=0.3), 0.3), ("uniform_", dict(a=-1, b=1), 1 / math.sqrt(3)),
    ("trunc_normal_", dict(std=0.02), 0.02)])
def test_the_spread_is_that_of_the_formula(name, options, std):
    w = getattr(init, name)(weight(), **options).numpy()
    assert w.dtype == np.float32 and abs(w.std() / std - 1) < 0.02 and abs(w.mean()) < 0.03 * std


@pytest.mark.parametrize("name, options", [
    ("kaiming_uniform_", dict(a=math.sqrt(5))), ("xavier_uniform_", {}),
    ("kaiming_normal_", dict(mode="fan_out")), ("xavier_normal_", dict(gain=3))])
def test_the_spread_is_pytorchs(name, options):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn.init, name)(torch.empty(SHAPE), **options).numpy()
    ours = getattr(init, name)(weight(), **options).numpy()
    assert abs(ours.std() / theirs.std() - 1) < 0.03
    if "uniform" in name:
        assert abs(np.abs(ours).max() / np.abs(theirs).max() - 1) < 0.01


def test_truncated_normals_stay_inside():
    w = init.trunc_normal_(weight(), 0.1, 1.0, -0.5, 0.25).numpy()
    assert w.min() >= -0.5 and w.max() <= 0.25


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (4, 2, 3, 3)])
def test_orthogonal_rows_or_columns(shape):
    w = init.orthogonal_(weight(shape), 2.0).numpy().reshape(shape[0], -1)
    square = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(square, 4 * np.eye(len(square)), atol=1e-5)


@pytest.mark.parametrize("call, message", [
    (lambda: init.kaiming_normal_(weight((3,))), r"at least two axes, got \(3,\)"),
    (lambda: init.kaiming_normal_(weight(), mode="in"), "mode is 'in'"),
    (lambda: init.calculate_gain("swish"), "unknown nonlinearity 'swish'"),
    (lambda: init.trunc_normal_(weight(), 0, 1, 9, 10), "4 standard deviations")])
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_modules_without_weights_have_shapes_and_no_memory():
    with nn.skip_init():
        big = nn.Linear(1 << 20, 1 << 15)                    # 128 GB, if it were drawn
    assert big.weight.shape == (1 << 15, 1 << 20) and init.is_placeholder(big.weight)
    assert not init.is_placeholder(nn.Linear(3, 2).weight)


def test_loading_gives_them_memory():
    tv.manual_seed(0)
    full = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    with nn.skip_init():
        empty = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    init.normal_(empty[0].weight)                            # leaves it as it is
    empty.load_state_dict(full.state_dict())
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 5), np.float32)
    np.testing.assert_array_equal(empty(tv.Tensor(x)).numpy(), full(tv.Tensor(x)).numpy())
