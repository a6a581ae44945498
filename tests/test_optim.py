"""Optimizers: step by step what PyTorch's do, in place, and noticed by the graph."""
import numpy as np
import pytest

import tinyvision as tv


def run(optimizer_of, parameters, gradients):
    """The parameters' values after a step with each of the gradients."""
    optimizer, path = optimizer_of(parameters), []
    for step in gradients:
        for p, g in zip(parameters, step):
            p.grad = g
        optimizer.step()
        path.append([np.array(p.detach().numpy()) for p in parameters])
    return path


@pytest.mark.parametrize("name, options", [
    ("SGD", dict(lr=0.1)), ("SGD", dict(lr=0.1, momentum=0.9)),
    ("SGD", dict(lr=0.1, momentum=0.9, weight_decay=0.05)),
    ("Adam", dict(lr=0.01)), ("Adam", dict(lr=0.01, betas=(0.5, 0.9), weight_decay=0.1))])
def test_ten_steps_are_pytorchs(name, options):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(s) for s in ((3, 4), (5,))]
    gradients = [[rng.standard_normal(v.shape) for v in values] for _ in range(10)]
    ours = run(lambda p: getattr(tv.optim, name)(p, **options),
               [tv.Tensor(v.copy(), requires_grad=True) for v in values],
               [[tv.Tensor(g) for g in step] for step in gradients])
    theirs = run(lambda p: getattr(torch.optim, name)(p, **options),
                 [torch.tensor(v, requires_grad=True) for v in values],
                 [[torch.tensor(g) for g in step] for step in gradients])
    for a, b in zip(ours, theirs):
        assert all(np.allclose(x, y, rtol=1e-12, atol=1e-14) for x, y in zip(a, b))


def test_a_step_is_in_place_and_keeps_float32():
    p = tv.Tensor(np.ones(3, "f4"), requires_grad=True)
    data = p.data
    for optimizer in (tv.optim.SGD([p], 0.1, momentum=0.9), tv.optim.Adam([p], 0.1)):
        (p * p).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        assert p.data is data and p.dtype == np.float32 and p.grad is None
    assert (p.numpy() < 1).all()


def test_a_graph_notices_a_step():
    p = tv.Tensor(np.ones(3), requires_grad=True)
    loss = (p * p).sum()
    p.grad = tv.Tensor(np.ones(3))
    tv.optim.SGD([p], 0.1).step()
    with pytest.raises(tv.GraphError, match="changed in place"):
        loss.backward()


def test_a_parameter_without_gradient_stays():
    p, q = (tv.Tensor(np.ones(2), requires_grad=True) for _ in range(2))
    (p * 2.0).sum().backward()
    tv.optim.Adam([p, q], 0.1).step()
    assert (q.numpy() == 1).all() and (p.numpy() != 1).all()


@pytest.mark.parametrize("call, words", [
    (lambda p: tv.optim.SGD([], 0.1), "SGD: got no parameters"),
    (lambda p: tv.optim.SGD(p, -0.1), "SGD: lr is -0.1"),
    (lambda p: tv.optim.Adam(p, float("nan")), "Adam: lr is nan"),
    (lambda p: tv.optim.Adam(p, betas=(0.9, 1.0)), "betas are"),
    (lambda p: tv.optim.SGD(p, 0.1, momentum=-1), "SGD: momentum is -1")])
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call([tv.Tensor(np.ones(2), requires_grad=True)])
