"""Dropout: how often, how much, which numbers; nothing outside training."""
import re

import numpy as np
import pytest

import tinyvision as tv
from tinyvision import nn, ops


def ones(*shape):
    return tv.Tensor(np.ones(shape, "f4"), requires_grad=True)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_it_drops_its_share_and_keeps_the_mean(p):
    tv.manual_seed(0)
    x = ones(200, 300)
    y = ops.dropout(x, p)
    values = np.unique(y.numpy())
    assert len(values) == 2 and values[0] == 0 and np.isclose(values[1], 1 / (1 - p))
    assert abs((y.numpy() == 0).mean() - p) < 0.01 and abs(y.numpy().mean() - 1) < 0.02
    assert y.dtype == np.float32
    y.backward(np.ones(y.shape, "f4"))
    assert (x.grad.numpy() == y.numpy()).all()               # what is dropped hears nothing back


@pytest.mark.parametrize("function, shape", [
    (lambda x: ops.dropout2d(x, 0.4), (40, 50, 1, 1)),
    (lambda x: ops.stochastic_depth(x, 0.4, "row"), (40, 1, 1, 1)),
    (lambda x: ops.stochastic_depth(x, 0.4, "batch"), (1, 1, 1, 1))])
def test_what_belongs_together_is_dropped_together(function, shape):
    tv.manual_seed(0)
    y = function(ones(40, 50, 3, 2)).numpy()
    block = y[tuple(slice(n) for n in shape)]
    assert (y == block).all() and set(np.unique(np.round(block, 5))) <= {0, np.float32(1.66667)}
    if block.size > 1:
        assert 0.2 < (block == 0).mean() < 0.6


def test_the_same_seed_drops_the_same_numbers():
    draws = []
    for _ in range(2):
        tv.manual_seed(7)
        draws.append(ops.dropout(ones(50, 60), 0.3).numpy())
    assert (draws[0] == draws[1]).all()
    assert (ops.dropout(ones(50, 60), 0.3).numpy() != draws[0]).any()


def test_the_ends_and_inference():
    x = ones(3, 4)
    assert ops.dropout(x, 0.0) is x and ops.dropout(x, 0.5, training=False) is x
    assert (ops.dropout(x, 1.0).numpy() == 0).all()
    layer = nn.Dropout(0.5).eval()
    assert layer(x) is x and not (layer.train()(ones(100, 10)).numpy() == 1).any()
    depth = nn.StochasticDepth(0.5)
    assert set(np.unique(depth(ones(100, 10)).numpy())) == {0, 2} and depth.eval()(x) is x
    assert "p=0.5, mode=row" in repr(depth)


def test_nothing_is_dropped_from_nothing():
    assert ops.dropout(ones(0, 3), 0.5).shape == (0, 3)


@pytest.mark.parametrize("call, words", [
    (lambda: ops.dropout(np.ones(3), -0.1), "dropout: p is -0.1, expected a probability"),
    (lambda: ops.dropout(np.ones(3), float("nan")), "dropout: p is nan"),
    (lambda: ops.dropout2d(np.ones(3)), "dropout2d: input has shape (3,)"),
    (lambda: ops.stochastic_depth(np.ones(3), 0.5, "column"), "mode is 'column'")])
def test_bad_input_is_refused_in_one_sentence(call, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        call()


def test_whole_numbers_are_refused():
    with pytest.raises(TypeError, match="dropout: input is int64, expected a floating dtype"):
        ops.dropout(np.ones(3, int))
