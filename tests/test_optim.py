"""Optimizers: step by step what PyTorch's do, in place, and noticed by the graph."""
import numpy as np
import pytest

import tinyvision as tv
from tinyvision.kernel import KERNELS
from tinyvision.optim.steps import SERIAL


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
    ("SGD", dict(lr=0.1, momentum=0.9, dampening=0.3)),
    ("SGD", dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.05)),
    ("AdamW", dict(lr=0.01)), ("AdamW", dict(lr=0.01, betas=(0.5, 0.9), weight_decay=0.1)),
    ("Adam", dict(lr=0.01)), ("Adam", dict(lr=0.01, betas=(0.5, 0.9), weight_decay=0.1)),
    ("RMSprop", dict(lr=0.01)), ("RMSprop", dict(lr=0.01, momentum=0.5, weight_decay=0.1)),
    ("RMSprop", dict(lr=0.01, centered=True, alpha=0.9))])
def test_a_hundred_steps_are_pytorchs(name, options):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(s) for s in ((3, 4), (5,))]
    gradients = [[rng.standard_normal(v.shape) for v in values] for _ in range(100)]
    ours = run(lambda p: getattr(tv.optim, name)(p, **options),
               [tv.Tensor(v.copy(), requires_grad=True) for v in values],
               [[tv.Tensor(g) for g in step] for step in gradients])
    theirs = run(lambda p: getattr(torch.optim, name)(p, **options),
                 [torch.tensor(v, requires_grad=True) for v in values],
                 [[torch.tensor(g) for g in step] for step in gradients])
    for a, b in zip(ours, theirs):
        assert all(np.allclose(x, y, rtol=1e-12, atol=1e-14) for x, y in zip(a, b))


@pytest.mark.parametrize("size", [SERIAL // 10, SERIAL + 10])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("kernel, arrays, options", [
    ("sgd_step", 2, (0.1, 0.0, 0.0, 0.05, False)),
    ("sgd_step", 2, (0.1, 0.9, 0.2, 0.05, False)),
    ("sgd_step", 2, (0.1, 0.9, 0.0, 0.0, True)),
    ("adam_step", 3, (0.9, 0.99, 0.01, 0.3, 1e-8, 0.05, 0.0)),
    ("adam_step", 3, (0.9, 0.99, 0.01, 0.3, 1e-8, 0.0, 0.02)),
    ("rmsprop_step", 4, (0.01, 0.9, 1e-8, 0.05, 0.5, False)),
    ("rmsprop_step", 4, (0.01, 0.9, 1e-8, 0.0, 0.0, False))])
def test_every_variant_of_a_step_agrees_with_the_reference(kernel, arrays, options, dtype, size):
    """On one core and on all; without momentum, nobody looks at the velocity."""
    rng, kernel = np.random.default_rng(0), KERNELS[kernel]
    g, state, p = (rng.uniform(0.5, 2, size).astype(dtype) for _ in range(3))
    if not options[1]:
        state[:] = np.nan

    def run(variant):
        own = [g, *(state.copy() for _ in range(arrays - 1)), *options, p.copy()]
        kernel.variants[variant](*own)
        return [own[1], own[-1]] if options[1] else [own[-1]]
    for variant in ("cpu", "gpu"):
        for a, b in zip(run(variant), run("reference"), strict=True):
            eps = np.finfo(dtype).eps
            np.testing.assert_allclose(a, b, 10 * eps, 4 * eps, err_msg=variant)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_parameters_and_gradients_of_any_layout(name):
    """Transposed, of another dtype, read-only, empty: as if they were plain."""
    rng = np.random.default_rng(0)
    value, g = rng.standard_normal((2, 5, 3)).astype("f4")
    frozen = g.astype("f8")
    frozen.flags.writeable = False
    given = [(value.T.copy().T, g), (value.copy(), g.T.copy().T), (value.copy(), frozen)]
    plain = tv.Tensor(value.copy(), True)
    odd = [tv.Tensor(p, True) for p, _ in given] + [tv.Tensor(np.zeros((0, 3), "f4"), True)]
    for p, grad in zip([plain, *odd], [g, *(grad for _, grad in given), np.zeros((0, 3), "f4")]):
        p.grad = tv.Tensor(grad)
        optimizer = getattr(tv.optim, name)([p], 0.1)
        optimizer.step()
        optimizer.step()
    for p in odd[:-1]:
        np.testing.assert_allclose(p.numpy(), plain.numpy(), rtol=1e-5)


def test_the_state_is_owned_and_of_the_parameters_dtype():
    p = tv.Tensor(np.ones((3, 2), "f4"), True)
    p.grad = tv.Tensor(np.ones((3, 2), "f4"))
    optimizer = tv.optim.SGD([p], 0.1, momentum=0.9)
    optimizer.step()
    velocity, = optimizer.state[p].values()
    assert velocity.dtype == "f4" and velocity.base is None and velocity is not p.grad.data


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
    (lambda p: tv.optim.SGD(p, 0.1, momentum=-1), "SGD: momentum is -1"),
    (lambda p: tv.optim.SGD(p, 0.1, nesterov=True), "SGD: nesterov with momentum=0.0"),
    (lambda p: tv.optim.AdamW(p, betas=(0.9, 1.0)), "AdamW: betas are")])
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call([tv.Tensor(np.ones(2), requires_grad=True)])
