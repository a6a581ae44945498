"""Losses: PyTorch's and torchvision's values and gradients, worked numbers, bad input."""
import importlib.util
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyvision as tv
from tinyvision import nn, ops
from tinyvision.gradcheck import gradcheck

RNG = np.random.default_rng(0)
TOLERANCE = {"f4": 1e-5, "f8": 1e-9}
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


def close(found, right, tolerance):
    """As the issue has it: max|a - b| at most that much of max|b|; NaN where NaN is."""
    found, right = np.asarray(found), np.asarray(right)
    assert found.shape == right.shape and (np.isnan(found) == np.isnan(right)).all()
    wrong, size = (np.nan_to_num(abs(a)).max(initial=0) for a in (found - right, right))
    assert wrong <= tolerance * size


def check(ours, theirs, dtype, *arrays):
    """The same value and the same gradients of all floating arrays."""
    torch = pytest.importorskip("torch")
    floating = [a.dtype.kind == "f" for a in arrays]
    a = [tv.Tensor(x, requires_grad=f) for x, f in zip(arrays, floating)]
    b = [torch.tensor(x, requires_grad=f) for x, f in zip(arrays, floating)]
    y, z = ours(*a), theirs(*b)
    assert y.dtype == dtype
    close(y.numpy(), z.detach().numpy(), TOLERANCE[dtype])
    g = np.random.default_rng(1).standard_normal(y.shape).astype(dtype)
    y.backward(g)
    z.backward(torch.tensor(g))
    for s, t in zip(a, b):
        if s.requires_grad and t.grad is not None:
            close(s.grad.numpy(), t.grad.numpy(), TOLERANCE[dtype])


def beside(name, dtype, *arrays, **options):
    """`ops` and `torch.nn.functional` have it under one name."""
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn.functional, name)
    check(lambda *a: getattr(ops, name)(*a, **options), lambda *a: theirs(*a, **options), dtype,
          *arrays)


def normal(dtype, *shape):
    return RNG.standard_normal(shape).astype(dtype)


# --- numbers --------------------------------------------------------------------------------------
@every_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name, options", [
    ("mse_loss", {}), ("l1_loss", {}), ("smooth_l1_loss", {}), ("smooth_l1_loss", {"beta": 0.3}),
    ("smooth_l1_loss", {"beta": 0.0}), ("huber_loss", {}), ("huber_loss", {"delta": 0.4})])
@pytest.mark.parametrize("shape", [(3, 4, 5), (7,), ()])
def test_regression_is_pytorchs(name, options, reduction, shape, dtype):
    beside(name, dtype, normal(dtype, *shape), normal(dtype, *shape), reduction=reduction,
           **options)


def test_regression_at_its_joints_is_pytorchs():
    d = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
    for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
        beside(name, "f8", d, np.zeros(7), reduction="none")


def test_smooth_l1_of_the_lecture():
    cost = ops.smooth_l1_loss(np.array([0.5, 2.0, -3.0]), np.zeros(3), "none")
    assert cost.numpy().tolist() == [0.125, 1.5, 2.5]


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_the_mean_of_nothing_is_nan(name):
    beside(name, "f8", np.zeros((0, 3)), np.zeros((0, 3)))


def test_gaussian_kl_is_the_integral():
    m, s = 0.7, 0.6
    z = np.linspace(-12, 12, 200001)
    p = np.exp(-(z - m) ** 2 / (2 * s * s)) / (s * math.sqrt(2 * math.pi))
    logs = -(z - m) ** 2 / (2 * s * s) - math.log(s) + z * z / 2
    right = (p * logs).sum() * (z[1] - z[0])
    found = ops.gaussian_kl(np.array([[m, 0.0]]), np.array([[2 * math.log(s), 0.0]]), "none")
    assert found.shape == (1,) and abs(found.item() - right) < 1e-9


@every_dtype
def test_gaussian_kl_is_pytorchs(dtype):
    torch = pytest.importorskip("torch")
    from torch.distributions import Normal, kl_divergence
    check(ops.gaussian_kl, lambda m, v: kl_divergence(
        Normal(m, (0.5 * v).exp()), Normal(torch.zeros_like(m), torch.ones_like(m))).sum(1).mean(),
        dtype, normal(dtype, 5, 7), normal(dtype, 5, 7))


# --- classes --------------------------------------------------------------------------------------
@every_dtype
@pytest.mark.parametrize("options", [{}, {"reduction": "sum"}, {"reduction": "none"},
                                     {"weight": True}, {"weight": True, "reduction": "none"}])
@pytest.mark.parametrize("shape", [(7, 5), (2, 5, 3, 4)])
def test_nll_loss_is_pytorchs(options, shape, dtype):
    torch = pytest.importorskip("torch")
    x, t = normal(dtype, *shape), RNG.integers(-1, 5, (shape[0], *shape[2:]))
    options = dict(options)
    weight = RNG.uniform(0.5, 2, 5).astype(dtype) if options.pop("weight", False) else None
    theirs = None if weight is None else torch.tensor(weight)
    check(lambda x, t: ops.nll_loss(x, t, weight, **options),
          lambda x, t: torch.nn.functional.nll_loss(x, t, theirs, ignore_index=-1, **options),
          dtype, x, t)


def test_nll_after_log_softmax_is_cross_entropy():
    x, t = normal("f8", 6, 5, 3), RNG.integers(-1, 5, (6, 3))
    w = RNG.uniform(0.5, 2, 5)
    for weight in (None, w):
        close(ops.nll_loss(ops.log_softmax(x, 1), t, weight).numpy(),
              ops.cross_entropy(x, t, weight).numpy(), 1e-14)
    assert np.isnan(ops.nll_loss(x, np.full((6, 3), -1)).item())


def test_an_ignored_place_may_hold_anything():
    x = tv.Tensor(np.array([[-np.inf, np.nan], [-1.0, -2.0]]), requires_grad=True)
    cost = ops.nll_loss(x, np.array([-1, 1]))
    cost.backward()
    assert cost.item() == 2 and x.grad.numpy().tolist() == [[0, 0], [0, -1]]


@every_dtype
@pytest.mark.parametrize("options", [{}, {"p": 2}, {"margin": 0.3, "reduction": "sum"},
                                     {"reduction": "none", "weight": True},
                                     {"p": 2, "weight": True}])
def test_multi_margin_loss_is_pytorchs(options, dtype):
    torch = pytest.importorskip("torch")
    options = dict(options)
    weight = RNG.uniform(0.5, 2, 5).astype(dtype) if options.pop("weight", False) else None
    theirs = None if weight is None else torch.tensor(weight)
    check(lambda x, t: ops.multi_margin_loss(x, t, weight=weight, **options),
          lambda x, t: torch.nn.functional.multi_margin_loss(x, t, weight=theirs, **options),
          dtype, normal(dtype, 7, 5), RNG.integers(0, 5, 7))


def test_the_lectures_svm():
    """CS231n's cat, car, frog: 2.9, 0, 12.9."""
    scores = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
    costs = ops.hinge_loss(scores, np.array([0, 1, 2]), reduction="none").numpy()
    np.testing.assert_allclose(costs, [2.9, 0, 12.9], atol=1e-12)
    close(ops.multi_margin_loss(scores, np.array([0, 1, 2]), reduction="none").numpy(), costs / 3,
          1e-14)


@every_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum", "none", "batchmean"])
@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div_is_pytorchs(log_target, reduction, dtype):
    p = RNG.dirichlet(np.ones(5), 4).astype(dtype)
    t = np.log(p) if log_target else p
    beside("kl_div", dtype, normal(dtype, 4, 5), t, reduction=reduction, log_target=log_target)


def test_kl_div_of_an_impossible_class_is_pytorchs():
    torch = pytest.importorskip("torch")
    t = torch.tensor([[0.0, 1.0], [0.5, 0.5]], dtype=torch.float64)
    check(lambda x: ops.kl_div(x, t.numpy()), lambda x: torch.nn.functional.kl_div(x, t), "f8",
          normal("f8", 2, 2))


def test_dice_of_the_map():
    p, y = np.array([[[0.8, 0.3]]]), np.array([[[1.0, 0.0]]])
    right = 1 - 2 * 0.8 / (1 + 0.64 + 0.09)
    assert abs(ops.dice_loss(p, y).item() - right) < 1e-6
    assert ops.dice_loss(y, y).item() == 0 == ops.dice_loss(0 * y, 0 * y).item()


def test_dice_of_labels_leaves_ignored_pixels_out():
    p, t = RNG.random((2, 3, 4, 5)), RNG.integers(0, 3, (2, 4, 5))
    y = np.eye(3)[t].transpose(0, 3, 1, 2)
    per_class = ops.dice_loss(p, t, "none").numpy()
    right = 1 - 2 * (p * y).sum((0, 2, 3)) / ((y + p * p).sum((0, 2, 3)))
    np.testing.assert_allclose(per_class, right, atol=1e-6)
    assert ops.dice_loss(p, t).item() == per_class.mean()
    ignored = t.copy()
    ignored[0] = -1
    p[0] = np.nan
    np.testing.assert_allclose(ops.dice_loss(p, ignored, "none").numpy(),
                               ops.dice_loss(p[1:], t[1:], "none").numpy(), atol=1e-12)


# --- yes or no ------------------------------------------------------------------------------------
@every_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_cross_entropy_is_pytorchs(weighted, reduction, dtype):
    torch = pytest.importorskip("torch")
    p, t = RNG.random((2, 4, 5)).astype(dtype)
    w = RNG.random(5).astype(dtype) if weighted else None
    check(lambda p, t: ops.binary_cross_entropy(p, t, w, reduction),
          lambda p, t: torch.nn.functional.binary_cross_entropy(
              p, t, None if w is None else torch.tensor(w), reduction=reduction), dtype, p, t)


def test_certain_answers_are_pytorchs():
    torch, dtype = pytest.importorskip("torch"), "f4"        # its 1e-12 is a float32
    p = np.array([0, 0, 1, 1, 0.25, 1e-7], dtype)
    t = np.array([0, 1, 0, 1, 1, 0.5], dtype)
    check(lambda p: ops.binary_cross_entropy(p, t, reduction="none"),
          lambda p: torch.nn.functional.binary_cross_entropy(p, torch.tensor(t), reduction="none"),
          dtype, p)


@every_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_cross_entropy_with_logits_is_pytorchs(weighted, reduction, dtype):
    torch = pytest.importorskip("torch")
    x, t = 5 * normal(dtype, 4, 5), RNG.random((4, 5)).astype(dtype)
    w, v = (RNG.random(s).astype(dtype) + 0.5 if weighted else None for s in ((4, 1), (5,)))
    check(lambda x, t: ops.binary_cross_entropy_with_logits(x, t, w, reduction, v),
          lambda x, t: torch.nn.functional.binary_cross_entropy_with_logits(
              x, t, None if w is None else torch.tensor(w), reduction=reduction,
              pos_weight=None if v is None else torch.tensor(v)), dtype, x, t)


def test_logits_far_out_cost_what_they_should():
    x = tv.Tensor(np.array([1e4, -1e4, 1e4, -1e4, -40.0], "f4"), requires_grad=True)
    with np.errstate(over="raise", invalid="raise"):
        cost = ops.binary_cross_entropy_with_logits(x, np.array([1, 0, 0, 1, 0], "f4"),
                                                    reduction="none")
        cost.backward(np.ones(5, "f4"))
    assert cost.numpy()[:4].tolist() == [0, 0, 1e4, 1e4]
    assert np.isclose(cost.numpy()[4], math.exp(-40), rtol=1e-5, atol=0)      # nothing cancelled
    assert x.grad.numpy()[:4].tolist() == [0, 0, 1, -1]


@every_dtype
@pytest.mark.parametrize("alpha, gamma", [(0.25, 2), (-1, 2), (0.6, 0), (0.25, 1.5)])
def test_focal_loss_is_the_papers(alpha, gamma, dtype):
    torch = pytest.importorskip("torch")
    f = torch.nn.functional

    def theirs(x, t):                                        # torchvision's text
        p = torch.sigmoid(x)
        ce = f.binary_cross_entropy_with_logits(x, t, reduction="none")
        p_t = p * t + (1 - p) * (1 - t)
        loss = ce * ((1 - p_t) ** gamma)
        return (alpha * t + (1 - alpha) * (1 - t)) * loss if alpha >= 0 else loss
    t = RNG.integers(0, 2, (4, 5)).astype(dtype)
    check(lambda x: ops.sigmoid_focal_loss(x, t, alpha, gamma),
          lambda x: theirs(x, torch.tensor(t)), dtype, 3 * normal(dtype, 4, 5))


def test_the_papers_examples_of_the_focal_loss():
    """Lin et al.: with gamma = 2, what has p_t = 0.9 costs 100 times less, p_t = 0.968 1000."""
    p = np.array([0.9, 0.968])
    x = np.log(p / (1 - p))
    ratio = -np.log(p) / ops.sigmoid_focal_loss(x, np.ones(2), -1, 2).numpy()
    np.testing.assert_allclose(ratio, [100, 976.6], rtol=1e-3)


# --- boxes ----------------------------------------------------------------------------------------
def torchvisions(kind, a, b, eps=1e-7):
    """torchvision.ops.*_box_iou_loss, written with torch."""
    import torch
    (x1, y1, x2, y2), (u1, v1, u2, v2) = a.unbind(-1), b.unbind(-1)
    w = (torch.min(x2, u2) - torch.max(x1, u1)).clamp(min=0)
    h = (torch.min(y2, v2) - torch.max(y1, v1)).clamp(min=0)
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - w * h
    iou = w * h / (union + eps)
    W, H = torch.max(x2, u2) - torch.min(x1, u1), torch.max(y2, v2) - torch.min(y1, v1)
    if kind == "generalized":
        return 1 - (iou - (W * H - union) / (W * H + eps))
    if kind == "":
        return 1 - iou
    d = ((x1 + x2 - u1 - u2) / 2) ** 2 + ((y1 + y2 - v1 - v2) / 2) ** 2
    loss = 1 - iou + d / (W ** 2 + H ** 2 + eps)
    if kind == "distance":
        return loss
    v = 4 / math.pi ** 2 * (torch.atan((u2 - u1) / (v2 - v1)) - torch.atan((x2 - x1) / (y2 - y1))) ** 2
    with torch.no_grad():
        alpha = v / (1 - iou + v + eps)
    return loss + alpha * v


def pairs(dtype, count=40):
    low, size = RNG.uniform(0, 10, (2, count, 2)), RNG.uniform(0.5, 8, (2, count, 2))
    return [np.concatenate([a, a + b], 1).astype(dtype) for a, b in zip(low, size)]


@every_dtype
@pytest.mark.parametrize("kind", ["", "generalized", "distance", "complete"])
def test_box_losses_are_torchvisions(kind, dtype):
    pytest.importorskip("torch")
    name = "_".join(filter(None, [kind, "box_iou_loss"]))
    check(getattr(ops, name), lambda a, b: torchvisions(kind, a, b), dtype, *pairs(dtype))
    if kind and importlib.util.find_spec("torchvision"):
        import torchvision
        check(getattr(ops, name), getattr(torchvision.ops, name), dtype, *pairs(dtype))


def test_the_ious_are_those_of_box_iou():
    a, b = pairs("f8")
    close(1 - ops.box_iou_loss(a, b, eps=0).numpy(), np.diagonal(ops.box_iou(a, b)), 1e-14)


def test_box_losses_of_worked_boxes():
    a, b = np.array([[0, 0, 2, 2.0]]), np.array([[1, 0, 3, 2.0]])          # IoU 1/3, around 3 x 2
    far = np.array([[4, 0, 6, 2.0]])                                       # around 6 x 2
    assert np.isclose(ops.box_iou_loss(a, b).item(), 2 / 3)
    assert np.isclose(ops.generalized_box_iou_loss(a, b).item(), 2 / 3)
    assert np.isclose(ops.generalized_box_iou_loss(a, far).item(), 1 + 4 / 12)
    assert np.isclose(ops.distance_box_iou_loss(a, far).item(), 1 + 16 / 40)
    assert np.isclose(ops.complete_box_iou_loss(a, far).item(), 1 + 16 / 40)
    for name in ("generalized", "distance", "complete"):
        assert abs(getattr(ops, f"{name}_box_iou_loss")(a, a).item()) < 1e-6


def test_complete_iou_is_differentiated_with_its_factor_held():
    a, b = pairs("f8", 5)
    d = ops.distance_box_iou_loss
    iou, v = 1 - ops.box_iou_loss(a, b).numpy(), None
    from tinyvision.ops.loss_boxes import _aspect, _boxes
    v = _aspect(*_boxes("", a, b)).numpy()
    share = tv.Tensor(v / (1 - iou + v + 1e-7))
    assert gradcheck(lambda a, b: d(a, b) + share * _aspect(*_boxes("", a, b)), [a, b]) < 1e-6
    close(ops.complete_box_iou_loss(a, b).numpy(), (d(a, b).numpy() + share.numpy() * v), 1e-14)


# --- points and embeddings ------------------------------------------------------------------------
@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_nearest_points_and_chamfer(B, N, M, D):
    x, y = normal("f8", B, N, D), normal("f8", B, M, D)
    squares = np.square(x[:, :, None] - y[:, None]).sum(3)
    assert (ops.nearest_points(x, y) == squares.argmin(2)).all()
    right = squares.min(2).mean() + squares.min(1).mean()
    close(ops.chamfer_distance(x, y).numpy(), right, 1e-12)
    right = (squares.min(2).sum(1) + squares.min(1).sum(1)).mean()
    close(ops.chamfer_distance(x, y, "sum").numpy(), right, 1e-12)
    close(ops.chamfer_distance(x[0], y[0]).numpy(), ops.chamfer_distance(x[:1], y[:1]).numpy(), 0)


@every_dtype
def test_chamfer_gradients_are_pytorchs(dtype):
    torch = pytest.importorskip("torch")

    def theirs(x, y):
        squares = torch.square(x[:, :, None] - y[:, None]).sum(3)
        return squares.amin(2).mean() + squares.amin(1).mean()
    check(ops.chamfer_distance, theirs, dtype, normal(dtype, 2, 30, 3), normal(dtype, 2, 20, 3))


def test_chamfer_by_hand():
    x, y = np.array([[0, 0], [4, 0.0]]), np.array([[0, 3], [4, 1.0], [4, 0]])
    assert (ops.nearest_points(x, y) == [0, 2]).all() and (ops.nearest_points(y, x) == [0, 1, 1]).all()
    assert np.isclose(ops.chamfer_distance(x, y).item(), 9 / 2 + 10 / 3)
    assert ops.chamfer_distance(x, y, "sum").item() == 19


def test_normals_and_edges_by_hand():
    x = np.array([[0, 0, 0], [1, 0, 0.0]])
    up, side, slant = np.array([[0, 0, 2.0]] * 2), np.array([[1, 0, 0.0]] * 2), np.array(
        [[0, 3, -3.0]] * 2)
    assert abs(ops.normal_loss(x, up, x, up).item()) < 1e-12
    assert abs(ops.normal_loss(x, up, x, -up).item()) < 1e-12
    assert np.isclose(ops.normal_loss(x, up, x, side).item(), 2)
    assert np.isclose(ops.normal_loss(x, up, x, slant).item(), 2 * (1 - math.sqrt(0.5)))
    v = np.array([[0, 0], [3, 4], [3, 0.0]])
    assert ops.edge_loss(v, np.array([[0, 1], [1, 2]])).item() == (25 + 16) / 2
    assert ops.edge_loss(v, np.array([[0, 1], [1, 2]]), 3.0).item() == (4 + 1) / 2
    assert ops.edge_loss(v, np.zeros((0, 2), int)).item() == 0


def test_pull_and_push_by_hand():
    a, b = np.array([1.0, 2.0, 5.0]), np.array([2.0, 2.0, 5.0])     # means 1.5, 2, 5
    assert np.isclose(ops.pull_loss(a, b).item(), 2 * 0.25 / 3)
    assert np.isclose(ops.push_loss(a, b).item(), 2 * 0.5 / 6)
    assert np.isclose(ops.push_loss(a, b, 4.0).item(), 2 * (3.5 + 0.5 + 1) / 6)
    assert np.isclose(ops.push_loss(a[:, None], b[:, None]).item(), 2 * 0.5 / 6)
    for n in (0, 1):
        assert ops.push_loss(a[:n], b[:n]).item() == 0
    assert ops.pull_loss(a[:0], b[:0]).item() == 0


# --- layers and bad input -------------------------------------------------------------------------
@pytest.mark.parametrize("text", [
    "MSELoss()", "MSELoss('sum')", "L1Loss('none')", "SmoothL1Loss(beta=0.5)", "HuberLoss(delta=2.0)",
    "BCEWithLogitsLoss()", "KLDivLoss('batchmean', True)"])
def test_loss_layers_are_pytorchs(text):
    torch = pytest.importorskip("torch")
    if text.startswith("KLDiv"):
        text = "KLDivLoss(reduction='batchmean', log_target=True)"
    if text == "MSELoss('sum')" or text == "L1Loss('none')":
        text = text.replace("('", "(reduction='")
    ours, theirs = (eval(text, {}, dict(vars(m))) for m in (nn, torch.nn))
    check(ours, theirs, "f8", normal("f8", 4, 5), RNG.random((4, 5)))


def test_loss_layers_with_labels_and_weights():
    torch = pytest.importorskip("torch")
    w, x, t = RNG.random(5) + 0.5, normal("f8", 7, 5), RNG.integers(0, 5, 7)
    for name in ("NLLLoss", "MultiMarginLoss"):
        check(getattr(nn, name)(weight=w), getattr(torch.nn, name)(weight=torch.tensor(w)), "f8",
              x, t)
    check(nn.BCEWithLogitsLoss(pos_weight=w), torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(w)),
          "f8", x, RNG.random((7, 5)))
    check(nn.BCELoss(w), torch.nn.BCELoss(torch.tensor(w)), "f8", *RNG.random((2, 7, 5)))
    p = RNG.random((2, 3, 4))
    assert nn.DiceLoss()(p, p > 0.5).item() == ops.dice_loss(p, p > 0.5).item()


ONES = np.ones((2, 3))


@pytest.mark.parametrize("call, words", [
    (lambda: ops.mse_loss(ONES, np.ones(3)),
     "mse_loss: target has shape (3,), expected that of input, (2, 3)"),
    (lambda: ops.l1_loss(ONES, ONES, "avg"), "l1_loss: reduction is 'avg', expected one of"),
    (lambda: ops.smooth_l1_loss(ONES, ONES, beta=-1), "smooth_l1_loss: beta is -1"),
    (lambda: ops.huber_loss(ONES, ONES, delta=0), "huber_loss: delta is 0, expected more than 0"),
    (lambda: ops.gaussian_kl(ONES, np.ones(3)), "log_variance has shape (3,)"),
    (lambda: ops.nll_loss(ONES, np.array([0, 3])), "nll_loss: target has the label 3, expected 0 to 2"),
    (lambda: ops.nll_loss(ONES, np.array([0, 1.0])), "expected whole-number labels"),
    (lambda: ops.nll_loss(ONES, np.zeros(3, int)), "nll_loss: target has shape (3,), input (2, 3)"),
    (lambda: ops.nll_loss(ONES, np.zeros(2, int), np.ones(2)), "weight has shape (2,), expected (3,)"),
    (lambda: ops.nll_loss(ONES, np.zeros(2, int), reduction="avg"), "reduction is 'avg'"),
    (lambda: ops.hinge_loss(ONES, np.array([0, -1])), "hinge_loss: target has the label -1"),
    (lambda: ops.multi_margin_loss(ONES, np.zeros(2, int), p=3), "p=3, expected (N, C) and p of 1 or 2"),
    (lambda: ops.kl_div(ONES, ONES, "avg"), '"batchmean"'),
    (lambda: ops.dice_loss(np.ones(3), np.ones(3)), "input has shape (3,), expected (N, C, ...)"),
    (lambda: ops.dice_loss(np.ones((2, 3, 4)), np.full((2, 4), 5)), "dice_loss: target has the label 5"),
    (lambda: ops.binary_cross_entropy(2 * ONES, ONES), "input holds 2 to 2, expected probabilities"),
    (lambda: ops.binary_cross_entropy(np.nan * ONES, ONES), "input holds nan to nan"),
    (lambda: ops.binary_cross_entropy_with_logits(ONES, ONES, np.ones((4, 2, 3))),
     "weight has shape (4, 2, 3), expected one that is broadcast to input's, (2, 3)"),
    (lambda: ops.binary_cross_entropy_with_logits(ONES, ONES, pos_weight=np.ones(2)),
     "pos_weight has shape (2,)"),
    (lambda: ops.sigmoid_focal_loss(ONES, ONES, alpha=2), "alpha is 2"),
    (lambda: ops.box_iou_loss(ONES, ONES), "boxes1 has shape (2, 3), expected (N, 4)"),
    (lambda: ops.chamfer_distance(ONES, np.ones((2, 2))), "points of shapes (2, 3) and (2, 2)"),
    (lambda: ops.chamfer_distance(ONES, np.ones((0, 3))), "N and M of at least 1"),
    (lambda: ops.chamfer_distance(ONES, ONES, "max"), "point_reduction is 'max'"),
    (lambda: ops.normal_loss(ONES, ONES[:1], ONES, ONES), "x_normals has shape (1, 3)"),
    (lambda: ops.edge_loss(ONES, np.array([[0, 2]])), "edges hold 0 to 2, expected 0 to 1"),
    (lambda: ops.edge_loss(ONES, np.array([0, 1])), "expected (V, D) and whole numbers (E, 2)"),
    (lambda: ops.pull_loss(ONES, np.ones(3)), "second has shape (3,)"),
])
def test_bad_input_is_refused_in_one_sentence(call, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        call()


def test_whole_numbers_are_refused_where_gradients_are_meant():
    with pytest.raises(TypeError, match="mse_loss: input is int64, expected a floating dtype"):
        ops.mse_loss(np.ones(3, int), np.ones(3, int))
