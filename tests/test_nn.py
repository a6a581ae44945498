"""Modules, layers, losses, batch norm: names, states, parity with PyTorch, bad input."""
import re

import numpy as np
import pytest

import tinyvision as tv
from tinyvision import nn, ops


def small_network():
    tv.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 3 * 4, 5))


def test_the_state_has_pytorchs_names():
    assert list(small_network().state_dict()) == [
        "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var",
        "1.num_batches_tracked", "5.weight", "5.bias"]


def test_a_state_survives_the_round_trip():
    rng = np.random.default_rng(0)
    a, b = small_network(), small_network()
    for parameter in a.parameters():
        parameter.data = rng.standard_normal(parameter.shape).astype("f4")
    b.load_state_dict(a.state_dict())
    x = tv.Tensor(rng.standard_normal((2, 3, 6, 8)).astype("f4"))
    assert np.array_equal(a.eval()(x).numpy(), b.eval()(x).numpy())


def test_a_state_is_a_copy():
    network = small_network()
    state = network.state_dict()
    state["0.weight"][:] = 7
    assert not (network[0].weight.numpy() == 7).any()


def test_a_state_that_does_not_fit_changes_nothing():
    network = small_network()
    before, state = network.state_dict(), network.state_dict()
    state["5.bias"] = np.zeros(6, "f4")
    state["0.weight"] = state["0.weight"] + 1
    with pytest.raises(ValueError, match=re.escape("5.bias has shape (6,), expected (5,)")):
        network.load_state_dict(state)
    assert np.array_equal(network.state_dict()["0.weight"], before["0.weight"])
    del state["5.bias"]
    with pytest.raises(KeyError, match="5.bias"):
        network.load_state_dict(state)


def test_parts_of_containers():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.BatchNorm1d(4))
    assert list(net.children()) == list(net) and [n for n, _ in net.named_children()] == [*"012"]
    assert isinstance(net[:2], nn.Sequential) and net[:2][0] is net[0] and net[-1] is net[2]
    assert list(nn.ModuleList(net)[1:].extend([net[0]])) == [net[1], net[2], net[0]]
    assert [b.shape for b in net.buffers()] == [(4,), (4,), ()]
    named = nn.ModuleDict({"a": net[0]})
    named["b"] = net[1]
    assert list(named) == ["a", "b"] and len(named) == 2 and "b" in named and "c" not in named
    assert list(named.values()) == [net[0], net[1]] and list(named.state_dict()) == ["a.weight",
                                                                                     "a.bias"]


def test_train_and_eval_reach_every_module():
    network = small_network()
    assert all(not m.training for m in network.eval().modules())
    assert all(m.training for m in network.train().modules())


def test_same_seed_same_weights():
    states = [small_network().state_dict() for _ in range(2)]
    assert all(np.array_equal(states[0][k], states[1][k]) for k in states[0])


def test_running_statistics_follow_the_batches():
    rng, norm = np.random.default_rng(0), nn.BatchNorm2d(3)
    for _ in range(200):
        norm(tv.Tensor((2 + 3 * rng.standard_normal((8, 3, 5, 4))).astype("f4")))
    assert np.allclose(norm.running_mean.numpy(), 2, atol=0.3)
    assert np.allclose(norm.running_var.numpy(), 9, rtol=0.1)


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("make, shape", [("BatchNorm1d", (6, 3)), ("BatchNorm1d", (4, 3, 5)),
                                         ("BatchNorm2d", (4, 3, 5, 2))])
def test_batch_norm_layers_count_their_batches(make, shape, momentum):
    torch, rng = pytest.importorskip("torch"), np.random.default_rng(0)
    ours = getattr(nn, make)(3, momentum=momentum)
    theirs = getattr(torch.nn, make)(3, momentum=momentum)
    for k in range(5):
        x = (k + rng.standard_normal(shape)).astype("f4")
        y, z = ours(tv.Tensor(x)), theirs(torch.tensor(x))
        assert np.allclose(y.numpy(), z.detach().numpy(), atol=1e-5)
    for (name, a), (other, b) in zip(ours.state_dict().items(), theirs.state_dict().items(),
                                     strict=True):
        assert name == other and a.dtype == b.numpy().dtype and a.shape == tuple(b.shape)
        assert np.allclose(a, b.numpy(), rtol=1e-5, atol=1e-6), name
    assert ours.num_batches_tracked.item() == 5
    x = rng.standard_normal(shape).astype("f4")
    y, z = ours.eval()(tv.Tensor(x)), theirs.eval()(torch.tensor(x))
    assert np.allclose(y.numpy(), z.detach().numpy(), atol=1e-5)
    assert ours.num_batches_tracked.item() == 5


def test_the_mean_of_all_batches():
    norm = nn.BatchNorm1d(1, momentum=None)
    for value in (1.0, 3.0, 8.0):
        norm(np.full((2, 1), value, "f4") + np.array([[-1], [1]], "f4"))
    assert norm.running_mean.item() == 4 and np.isclose(norm.running_var.item(), 2)


def test_a_summary_does_not_count_as_a_batch():
    norm = nn.BatchNorm2d(3)
    nn.summary(norm, (2, 3, 4, 5))
    assert norm.num_batches_tracked.item() == 0 and (norm.running_mean.numpy() == 0).all()


def test_batch_norm_without_statistics_or_parameters():
    norm = nn.BatchNorm2d(3, affine=False, track_running_stats=False)
    assert not norm.state_dict()
    x = np.random.default_rng(0).standard_normal((4, 3, 5, 2)).astype("f4")
    assert (norm(x).numpy() == norm.eval()(x).numpy()).all()
    assert abs(norm(x).numpy().mean((0, 2, 3))).max() < 1e-6


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_batch_norm_is_pytorchs(training, dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3, 5, 6)).astype(dtype)
    w, b, m = (rng.standard_normal(3).astype(dtype) for _ in range(3))
    v, g = rng.uniform(1, 2, 3).astype(dtype), rng.standard_normal(x.shape).astype(dtype)
    ours = [tv.Tensor(a.copy(), requires_grad=True) for a in (x, w, b)]
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    means, variances = m.copy(), v.copy()
    mean, variance = torch.tensor(m), torch.tensor(v)
    y = ops.batch_norm(ours[0], means, variances, *ours[1:], training=training)
    z = torch.nn.functional.batch_norm(theirs[0], mean, variance, *theirs[1:], training=training)
    y.backward(g)
    z.backward(torch.tensor(g))
    close = dict(rtol=1e-4, atol=1e-5) if dtype == "f4" else dict(rtol=1e-12, atol=1e-12)
    assert y.dtype == x.dtype and np.allclose(y.numpy(), z.detach().numpy(), **close)
    for a, t in zip(ours, theirs):
        assert np.allclose(a.grad.numpy(), t.grad.numpy(), **close)
    assert np.allclose(means, mean.numpy(), **close)
    assert np.allclose(variances, variance.numpy(), **close)


@pytest.mark.parametrize("options", [
    {}, {"reduction": "sum"}, {"reduction": "none"}, {"weight": True}, {"label_smoothing": 0.2},
    {"weight": True, "ignored": True}, {"ignored": True, "reduction": "none"}])
@pytest.mark.parametrize("shape", [(7, 5), (2, 5, 3, 4)])
def test_cross_entropy_is_pytorchs(options, shape):
    torch = pytest.importorskip("torch")
    rng, options = np.random.default_rng(0), dict(options)
    x, t = rng.standard_normal(shape), rng.integers(0, 5, (shape[0], *shape[2:]))
    if options.pop("ignored", False):
        t[0] = -1
    weight = rng.uniform(0.5, 2, 5) if options.pop("weight", False) else None
    ours, theirs = tv.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y = ops.cross_entropy(ours, t, weight=weight, **options)
    z = torch.nn.functional.cross_entropy(
        theirs, torch.tensor(t), None if weight is None else torch.tensor(weight),
        ignore_index=-1, **options)
    assert np.allclose(y.numpy(), z.detach().numpy(), rtol=1e-12)
    g = rng.standard_normal(y.shape)
    y.backward(g)
    z.backward(torch.tensor(g))
    assert np.allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-10, atol=1e-14)


def test_scores_far_apart_do_not_overflow():
    with np.errstate(all="raise", under="ignore"):
        cost = ops.cross_entropy(tv.Tensor([[1e4, -1e4], [1e4, -1e4]]), np.array([0, 1]))
    assert cost.item() == 1e4


@pytest.mark.parametrize("call, words", [
    (lambda: ops.cross_entropy(np.zeros((2, 3)), np.array([0, 3])), "label 3, expected 0 to 2"),
    (lambda: ops.cross_entropy(np.zeros((2, 3)), np.array([0, -2])), "label -2, expected 0 to 2"),
    (lambda: ops.cross_entropy(np.zeros((2, 3)), np.zeros(3, int)), "target has shape (3,)"),
    (lambda: ops.cross_entropy(np.zeros((2, 3)), np.zeros(2)), "expected whole-number labels"),
    (lambda: ops.cross_entropy(np.zeros((2, 3)), np.zeros(2, int), reduction="avg"), "'avg'"),
    (lambda: ops.batch_norm(np.zeros((1, 3, 1, 1)), None, None, training=True),
     "at least 2 values a channel"),
    (lambda: ops.batch_norm(np.zeros((2, 3)), None, None, weight=np.ones(4)),
     "weight has shape (4,), expected (3,)"),
    (lambda: nn.Conv2d(3, 4, 0), "Conv2d: kernel_size is 0, expected at least 1"),
    (lambda: nn.Conv2d(3, 4, 3, groups=2), "groups=2 does not divide in_channels=3"),
    (lambda: nn.BatchNorm2d(3)(np.ones((2, 3), "f4")),
     "BatchNorm2d: input has shape (2, 3), expected 4 axes"),
    (lambda: nn.BatchNorm1d(3)(np.ones((2, 3, 4, 5), "f4")), "expected 2 or 3 axes"),
    (lambda: nn.Linear(0, 4), "Linear: in_features is 0, expected at least 1"),
])
def test_bad_input_is_refused_in_one_sentence(call, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        call()
