"""Parameter groups, states, schedules and clipping: what PyTorch's do."""
import numpy as np
import pytest

import tinyvision as tv
from tinyvision.optim import lr_scheduler as ours

SCHEDULES = [
    ("StepLR", (7,), dict(gamma=0.3)), ("MultiStepLR", ([3, 20, 50],), dict(gamma=0.5)),
    ("LinearLR", (), dict(start_factor=0.1, total_iters=20)),
    ("CosineAnnealingLR", (40,), dict(eta_min=0.001)), ("CosineAnnealingLR", (100,), {}),
    ("LambdaLR", (lambda t: 1 / (1 + t),), {}),
    ("OneCycleLR", ([0.5, 0.05], 101), {}),
    ("OneCycleLR", (0.5, None, 3, 50, 0.2, "linear"), dict(three_phase=True)),
    ("OneCycleLR", (0.5, 120), dict(base_momentum=0.5, max_momentum=[0.9, 0.8], three_phase=True)),
    ("OneCycleLR", (0.5, 130), dict(cycle_momentum=False)),
    ("OneCycleLR", (), dict(max_lr=0.5, total_steps=150, pct_start=0.2, anneal_strategy="linear",
                            div_factor=10, final_div_factor=100))]


def two_groups():
    rng = np.random.default_rng(0)
    return [rng.standard_normal(s) for s in ((3, 4), (5,), (2, 2))]


def pair(torch, name="SGD", **options):
    """The same two groups in both libraries."""
    values = two_groups()
    a = [tv.Tensor(v.copy(), requires_grad=True) for v in values]
    b = [torch.tensor(v, requires_grad=True) for v in values]
    groups = [lambda p: [{"params": p[:2]}, {"params": p[2:], "lr": 0.01}]] * 2
    return (a, getattr(tv.optim, name)(groups[0](a), lr=0.1, **options),
            b, getattr(torch.optim, name)(groups[1](b), lr=0.1, **options))


@pytest.mark.parametrize("name, positional, options", SCHEDULES)
def test_rates_over_a_hundred_steps_are_pytorchs(name, positional, options):
    torch = pytest.importorskip("torch")
    a, mine, b, theirs = pair(torch, "SGD", momentum=0.9)
    one = getattr(ours, name)(mine, *positional, **options)
    other = getattr(torch.optim.lr_scheduler, name)(theirs, *positional, **options)
    rng = np.random.default_rng(1)
    for _ in range(100):
        np.testing.assert_allclose(one.get_last_lr(), other.get_last_lr(), rtol=1e-10, atol=1e-16)
        np.testing.assert_allclose(momenta(mine), momenta(theirs), rtol=1e-12)
        for p, q in zip(a, b):
            g = rng.standard_normal(p.shape)
            p.grad, q.grad = tv.Tensor(g), torch.tensor(g)
        mine.step(), theirs.step(), one.step(), other.step()
    for p, q in zip(a, b):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-9, atol=1e-12)


def momenta(optimizer):
    return [group["momentum"] for group in optimizer.param_groups]


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_one_cycle_changes_adams_first_beta(name):
    torch = pytest.importorskip("torch")
    a, mine, b, theirs = pair(torch, name)
    one = ours.OneCycleLR(mine, 0.1, 100)
    other = torch.optim.lr_scheduler.OneCycleLR(theirs, 0.1, 100)
    rng = np.random.default_rng(4)
    for _ in range(99):
        for p, q in zip(a, b):
            g = rng.standard_normal(p.shape)
            p.grad, q.grad = tv.Tensor(g), torch.tensor(g)
        mine.step(), theirs.step(), one.step(), other.step()
        assert mine.param_groups[1]["betas"] == pytest.approx(theirs.param_groups[1]["betas"])
    for p, q in zip(a, b):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_warm_up_then_cosine_is_pytorchs():
    torch = pytest.importorskip("torch")
    _, mine, _, theirs = pair(torch)
    their = torch.optim.lr_scheduler
    other = their.SequentialLR(theirs, [their.LinearLR(theirs, 0.1, total_iters=10),
                                        their.CosineAnnealingLR(theirs, 90)], [10])
    one = ours.SequentialLR(mine, [ours.LinearLR(mine, 0.1, total_iters=10),
                                   ours.CosineAnnealingLR(two_equal(mine), 90)], [10])
    for _ in range(100):
        np.testing.assert_allclose(one.get_last_lr(), other.get_last_lr(), rtol=1e-9, atol=1e-16)
        theirs.step(), one.step(), other.step()


def two_equal(optimizer):
    """Only its groups' first rates are read, from the optimizer as it was given."""
    optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = 0.1, 0.01
    return optimizer


@pytest.mark.parametrize("name, options", [
    ("SGD", dict(momentum=0.9)), ("Adam", {}), ("AdamW", {}),
    ("RMSprop", dict(momentum=0.5, centered=True))])
def test_a_state_goes_on_where_it_was(name, options):
    rng = np.random.default_rng(2)
    steps = [[rng.standard_normal(v.shape) for v in two_groups()] for _ in range(9)]

    def run(params, optimizer, some):
        for step in some:
            for p, g in zip(params, step):
                p.grad = tv.Tensor(g)
            optimizer.step()

    def fresh(values):
        params = [tv.Tensor(v.copy(), requires_grad=True) for v in values]
        return params, getattr(tv.optim, name)(
            [{"params": params[:2]}, {"params": params[2:], "lr": 0.03}], lr=0.1, **options)
    whole, optimizer = fresh(two_groups())
    run(whole, optimizer, steps)
    half, optimizer = fresh(two_groups())
    run(half, optimizer, steps[:4])
    state = optimizer.state_dict()
    again, other = fresh([p.numpy() for p in half])
    run(half, optimizer, steps[4:])                          # the state is a copy
    other.load_state_dict(state)
    run(again, other, steps[4:])
    assert other.param_groups[1]["lr"] == 0.03
    for a, b, c in zip(whole, again, half):
        assert np.array_equal(a.numpy(), b.numpy()) and np.array_equal(a.numpy(), c.numpy())


def test_a_schedule_goes_on_where_it_was():
    p = tv.Tensor(np.ones(2), requires_grad=True)
    a = ours.StepLR(tv.optim.SGD([p], 0.4), 3)
    for _ in range(5):
        a.step()
    b = ours.StepLR(tv.optim.SGD([p], 7.0), 3)
    b.load_state_dict(a.state_dict())
    assert b.get_last_lr() == a.get_last_lr() == [pytest.approx(0.04)]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("most", [0.5, 1e6])
def test_clipping_by_norm_and_value_is_pytorchs(dtype, most):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    grads = [rng.standard_normal(s).astype(dtype) for s in ((3, 4), (5,))]
    a = [tv.Tensor(np.zeros_like(g), requires_grad=True) for g in grads]
    b = [torch.zeros(g.shape, dtype=getattr(torch, {"f4": "float32", "f8": "float64"}[dtype]),
                     requires_grad=True) for g in grads]
    for p, q, g in zip(a, b, grads):
        p.grad, q.grad = tv.Tensor(g.copy()), torch.tensor(g)
    norm = tv.optim.clip_grad_norm_(a + [tv.Tensor(np.zeros(2), True)], most)
    assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(b, most)), rel=1e-6)
    for p, q in zip(a, b):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-6)
    tv.optim.clip_grad_value_(a, 0.1)
    torch.nn.utils.clip_grad_value_(b, 0.1)
    for p, q in zip(a, b):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-6)


def test_an_infinite_norm_changes_nothing():
    p = tv.Tensor(np.zeros(3), requires_grad=True)
    p.grad = tv.Tensor(np.array([1.0, np.inf, 2.0]))
    assert tv.optim.clip_grad_norm_([p], 1.0) == np.inf
    assert p.grad.numpy().tolist() == [1.0, np.inf, 2.0]


P = tv.Tensor(np.ones(2), requires_grad=True)


@pytest.mark.parametrize("call, words", [
    (lambda: tv.optim.SGD([{"params": [P]}, {"params": [P]}]), "in two groups"),
    (lambda: tv.optim.SGD([{"params": [P], "rate": 1}]), "unknown option 'rate'"),
    (lambda: tv.optim.SGD([{"params": [P], "lr": -1}]), "lr is -1"),
    (lambda: tv.optim.SGD([P]).load_state_dict({"state": {}, "param_groups": []}), r"groups of \[\]"),
    (lambda: tv.optim.SGD([P]).load_state_dict(
        {"state": {0: {"velocity": np.zeros(3)}}, "param_groups": [{"params": [0], "lr": 1}]}),
     r"'velocity' of parameter 0 has shape \(3,\), expected \(2,\)"),
    (lambda: tv.optim.RMSprop([P], alpha=-1), "RMSprop: alpha is -1"),
    (lambda: ours.LinearLR(tv.optim.SGD([P]), 0), "start_factor=0"),
    (lambda: ours.OneCycleLR(tv.optim.SGD([P]), 1, 10, anneal_strategy="sin"), "'sin'"),
    (lambda: ours.OneCycleLR(tv.optim.SGD([P]), 1), "total_steps is None, expected"),
    (lambda: ours.OneCycleLR(tv.optim.Optimizer([P], lr=1, weight_decay=0), 1, 9), "no momentum"),
    (lambda: ours.SequentialLR(tv.optim.SGD([P]), [], []), "0 schedulers and 0")])
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
