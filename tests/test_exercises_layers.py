"""Exercises on norms, losses, recurrent cells and attention: by hand, against PyTorch and the
library, by finite differences; and the losses' limits."""
import itertools

import numpy as np
import pytest

import tinyvision as tv
from tinyvision import ops
from tinyvision.exercises import load
from tinyvision.exercises.attention import attention_weights, scaled_dot_product_attention
from tinyvision.exercises.batch_norm import batch_norm, batch_norm_backward
from tinyvision.exercises.cross_entropy import cross_entropy, cross_entropy_backward
from tinyvision.exercises.focal_loss import sigmoid_focal_loss, sigmoid_focal_loss_backward
from tinyvision.exercises.frru import frru
from tinyvision.exercises.lstm_cell import lstm_cell
from tinyvision.exercises.smooth_l1 import smooth_l1_loss, smooth_l1_loss_backward
from tinyvision.exercises.soft_dice import dice_loss, dice_loss_backward
from tinyvision.exercises.vae import (kl_divergence, kl_divergence_backward, reparameterize,
                                      reparameterize_backward)
from tinyvision.exercises.yolo_loss import centred_iou, yolo_loss
from tinyvision.models.generate.vae import gaussian_kl

SEEDS = range(3)


def row(*values):
    return np.array([values], float)


def pixels(*values):
    return np.array(values, float).reshape(1, 1, 2, -1)


def cases_of(exercise, function, seed):
    found = load(exercise).cases(np.random.default_rng(seed))
    return [case for case in found if case.function == function]


def close(mine, theirs):
    """Two answers, arrays or tuples of them, are the same."""
    mine, theirs = (a if isinstance(a, tuple) else (a,) for a in (mine, theirs))
    return len(mine) == len(theirs) and all(
        np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-9, atol=1e-11)
        for a, b in zip(mine, theirs))


# ---- the tasks' examples, by hand ----------------------------------------------------------------

def test_batch_norm_by_hand():
    x, ones, zeros = pixels(1, 1, 3, 3), np.ones(1), np.zeros(1)
    y, mean, var = batch_norm(x, zeros, ones, 3 * ones, 10 * ones, True, 0.75, 0.0)
    assert np.array_equal(y, pixels(7, 7, 13, 13))
    assert mean == 1.5 and var == 1.25
    gx, gweight, gbias = batch_norm_backward(pixels(4, 0, 0, 0), x, 3 * ones, 0.0)
    assert np.array_equal(gx, pixels(6, -6, 0, 0)) and gweight == -4 and gbias == 4
    y, mean, var = batch_norm(x, ones, 4 * ones, 2 * ones, zeros, False, 0.75, 0.0)
    assert np.array_equal(y, x - 1) and mean == 1 and var == 4


def test_cross_entropy_by_hand():
    assert np.isclose(cross_entropy(row(0, 0, 0, 0), np.array([2]), -1), np.log(4))
    scores = np.repeat(row(1000, 0), 3, 0)
    assert cross_entropy(scores, np.array([0, 1, 7]), 7) == 500
    gx = cross_entropy_backward(6.0, scores, np.array([0, 1, 7]), 7)
    assert np.array_equal(gx, [[0, 0], [3, -3], [0, 0]])


def test_focal_loss_by_hand():
    x, t = np.zeros(2), np.array([1.0, 0])
    assert np.allclose(sigmoid_focal_loss(x, t, 0.25, 2.0), np.log(2) / 16 * np.array([1, 3]))
    assert np.allclose(sigmoid_focal_loss(x, t, -1, 0.0), np.log(2))
    sure = sigmoid_focal_loss(np.array([1000.0, -1000, -1000]), np.array([1.0, 0, 1]), 0.5, 2.0)
    assert np.array_equal(sure, [0, 0, 500])


def test_soft_dice_by_hand():
    y, p = pixels(1, 1, 0, 0), pixels(1, 0.5, 0.5, 0)
    assert np.allclose(dice_loss(p, y, 0.5), 1 / 8)
    assert np.allclose(dice_loss(y, y, 0.0), 0) and np.allclose(dice_loss(1 - y, y, 0.0), 1)
    assert np.array_equal(dice_loss(0 * y, 0 * y, 1e-6), [0])
    # above 3.5, below 4: 2 p 3.5 / 16 - 2 y / 4
    assert np.allclose(dice_loss_backward(np.array([16.0]), p, y, 0.5), pixels(-1, -4.5, 3.5, 0))


def test_smooth_l1_by_hand():
    x, zero = np.array([1.0, -3, 6]), np.zeros(3)
    assert np.array_equal(smooth_l1_loss(x, zero, 2.0), [0.25, 2, 5])
    gx, gt = smooth_l1_loss_backward(np.array([2.0, 1, 1]), x, zero, 2.0)
    assert np.array_equal(gx, [1, -1, 1]) and np.array_equal(gt, -gx)


def test_yolo_loss_by_hand():
    prediction = np.zeros((2, 2, 6))
    prediction[..., 4] = 0.1
    prediction[0, 1] = 0.5, 0.5, 0.25, 1, 0.75, 0.9
    sums = yolo_loss(prediction, row(0.75, 0.25, 0.25, 0.25), np.array([0]), 1, 5.0, 0.5)
    assert np.allclose(sums, [0, 1.25, 0.25, 0.015, 0.01])


def test_frru_by_hand():
    args = pixels(1, 2, 3, 4), np.array([2.0, 1]).reshape(1, 2, 1, 1), np.array([-1.0]), row(3)
    y, z = frru(np.ones((1, 1, 1, 1)), *args, np.ones(1), 2)
    assert y.item() == 5 and np.array_equal(z, pixels(17, 18, 19, 20))


def test_vae_by_hand():
    mu, logvar = row(1, -2), row(0, 0)
    assert np.array_equal(reparameterize(mu, logvar, row(3, 0.5)), row(4, -1.5))
    assert np.array_equal(kl_divergence(mu, logvar), [2.5])
    assert np.allclose(reparameterize(row(1), row(2 * np.log(3)), row(2)), 7)
    gmu, glogvar = reparameterize_backward(row(1), row(1), row(2 * np.log(3)), row(2))
    assert gmu == 1 and np.isclose(glogvar, 3)
    assert close(kl_divergence_backward(np.ones(1), mu, logvar), (mu, 0 * mu))


def test_attention_by_hand():
    query, key = np.ones((1, 1, 4)), np.array([[[0.0, 0, 0, 0], [1, 1, 0, 0]]])
    y = scaled_dot_product_attention(query, key, np.array([[[10.0], [20]]]), None)
    assert np.allclose(y, 10 + 10 / (1 + np.exp(-1)))
    assert np.array_equal(attention_weights(query, key, np.array([[True, False]])), [[[1, 0]]])
    assert np.array_equal(attention_weights(query, key, np.array([[False, False]])), [[[0, 0]]])


def test_lstm_cell_by_hand():
    still = np.zeros((4, 1)), np.zeros((4, 1)), np.zeros(4), np.zeros(4)
    h, c = lstm_cell(row(3), row(5), row(4), *still)
    assert c == 2 and np.isclose(h, 0.5 * np.tanh(2))
    open_gates = np.array([-99.0, 99, 0, 99]), np.zeros(4)
    assert np.allclose(lstm_cell(row(3), row(5), row(4), *still[:2], *open_gates)[1], 4)


# ---- the library and PyTorch ---------------------------------------------------------------------

def tensors(args, make):
    """The arrays of floats as tensors that want gradients, the rest as it is."""
    return [make(a) if isinstance(a, np.ndarray) and a.dtype == float else a for a in args]


def library_gradients(call, args, g, leaves):
    made = tensors(args, lambda a: tv.Tensor(a, requires_grad=True))
    y = call(*made)
    found = tv.grad(y, [made[i] for i in leaves], tv.Tensor(np.asarray(g)))
    return y.numpy(), tuple(d.numpy() for d in found)


def torch_gradients(torch, call, args, g, leaves):
    made = [torch.tensor(a) if isinstance(a, np.ndarray) and a.dtype != float else a for a in
            tensors(args, lambda a: torch.tensor(a, requires_grad=True))]
    y = call(*made)
    found = torch.autograd.grad(y, [made[i] for i in leaves], torch.tensor(g))
    return y.detach().numpy(), tuple(d.numpy() for d in found)


def one(gradients):
    return gradients if len(gradients) > 1 else gradients[0]


LIBRARY = {                             # function -> (exercise, call, arguments with gradients)
    "cross_entropy": ("cross_entropy", lambda x, t, i: ops.cross_entropy(x, t, ignore_index=i),
                      (0,)),
    "sigmoid_focal_loss": ("focal_loss", lambda x, t, a, c: ops.sigmoid_focal_loss(x, t, a, c),
                           (0,)),
    "dice_loss": ("soft_dice", lambda p, y, e: ops.dice_loss(p, y, "none", e), (0,)),
    "smooth_l1_loss": ("smooth_l1", lambda x, t, b: ops.smooth_l1_loss(x, t, "none", b), (0, 1)),
    "kl_divergence": ("vae", lambda m, v: ops.gaussian_kl(m, v, "none"), (0, 1)),
    "scaled_dot_product_attention": ("attention", ops.scaled_dot_product_attention, (0, 1, 2))}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("function", LIBRARY)
def test_forward_and_backward_equal_the_library(function, seed):
    exercise, call, leaves = LIBRARY[function]
    forward, backward = (load(exercise).functions[f] for f in (function, f"{function}_backward"))
    for case in cases_of(exercise, function, seed):
        assert close(forward(*case.args), call(*tensors(case.args, tv.Tensor)).numpy()), case.name
    for case in cases_of(exercise, f"{function}_backward", seed):
        g, *args = case.args
        y, gradients = library_gradients(call, args, g, leaves)
        assert close(forward(*args), y) and close(backward(*case.args), one(gradients)), case.name


@pytest.mark.parametrize("seed", SEEDS)
def test_the_models_kl_is_the_same(seed):
    for case in cases_of("vae", "kl_divergence", seed):
        assert close(kl_divergence(*case.args), gaussian_kl(*map(tv.Tensor, case.args)).numpy())


TINY = 1e-300                           # PyTorch wants an epsilon above 0


def run_batch_norm(module, make, case):
    """(y, and the running statistics afterwards) of a module's batch_norm, which moves them."""
    x, mean, var, *affine, training, momentum, eps = case.args
    x, mean, var, *affine = (make(a.copy()) for a in (x, mean, var, *affine))
    y = module.batch_norm(x, mean, var, *affine, training, momentum, eps or TINY)
    return y.numpy(), np.asarray(mean), np.asarray(var)


@pytest.mark.parametrize("seed", SEEDS)
def test_batch_norm_equals_the_library_and_torch(seed):
    torch = pytest.importorskip("torch")
    for case in cases_of("batch_norm", "batch_norm", seed):
        mine = batch_norm(*case.args)
        assert close(mine, run_batch_norm(torch.nn.functional, torch.tensor, case)), case.name
        assert close(mine, run_batch_norm(ops, lambda a: a, case)), case.name
    for case in cases_of("batch_norm", "batch_norm_backward", seed):
        g, x, weight, eps = case.args

        def of(module):
            return lambda x, w, b: module.batch_norm(x, None, None, w, b, True, 0.1, eps or TINY)
        args = x, weight, np.zeros_like(weight)
        own = library_gradients(of(ops), args, g, (0, 1, 2))[1]
        theirs = torch_gradients(torch, of(torch.nn.functional), args, g, (0, 1, 2))[1]
        assert close(batch_norm_backward(*case.args), own), case.name
        assert close(batch_norm_backward(*case.args), theirs), case.name


def torch_attention(torch):
    def call(q, k, v, mask):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return call


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("function", ("cross_entropy", "smooth_l1_loss",
                                      "scaled_dot_product_attention"))
def test_gradients_equal_torch(function, seed):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    call = {"cross_entropy": lambda x, t, i: F.cross_entropy(x, t, ignore_index=i),
            "smooth_l1_loss": lambda x, t, b: F.smooth_l1_loss(x, t, reduction="none", beta=b),
            "scaled_dot_product_attention": torch_attention(torch)}[function]
    exercise, _, leaves = LIBRARY[function]
    forward, backward = (load(exercise).functions[f] for f in (function, f"{function}_backward"))
    for case in cases_of(exercise, f"{function}_backward", seed):
        g, *args = case.args
        if function.startswith("scaled") and args[3] is not None:
            args[3] = args[3] | ~args[3].any(-1, keepdims=True)     # PyTorch: NaN for some versions
        y, gradients = torch_gradients(torch, call, args, g, leaves)
        assert close(forward(*args), y) and close(backward(g, *args), one(gradients)), case.name


@pytest.mark.parametrize("seed", SEEDS)
def test_lstm_cell_equals_torch_and_the_library(seed):
    torch = pytest.importorskip("torch")

    def steps(module, make, args):
        x, h, c, *weights = made = [make(a) for a in args]
        return made, module.lstm_cell(x, (h, c), *weights)
    forward, backward = load("lstm_cell").functions.values()
    for case in cases_of("lstm_cell", "lstm_cell_backward", seed):
        gh, gc, *args = case.args
        made, both = steps(torch, lambda a: torch.tensor(a, requires_grad=True), args)
        gradients = torch.autograd.grad(both, made, (torch.tensor(gh), torch.tensor(gc)))
        assert close(forward(*args), tuple(a.detach().numpy() for a in both)), case.name
        assert close(backward(*case.args), tuple(d.numpy() for d in gradients)), case.name
        made, (h, c) = steps(ops, lambda a: tv.Tensor(a, requires_grad=True), args)
        own = tv.grad(ops.sum(h * gh) + ops.sum(c * gc), made)
        assert close(backward(*case.args), tuple(d.numpy() for d in own)), case.name


# ---- finite differences --------------------------------------------------------------------------

BACKWARD = {                            # backward -> (exercise, arguments with gradients)
    "cross_entropy": ("cross_entropy", (0,)), "sigmoid_focal_loss": ("focal_loss", (0,)),
    "dice_loss": ("soft_dice", (0,)), "smooth_l1_loss": ("smooth_l1", (0, 1)),
    "reparameterize": ("vae", (0, 1)), "kl_divergence": ("vae", (0, 1)),
    "scaled_dot_product_attention": ("attention", (0, 1, 2)),
    "lstm_cell": ("lstm_cell", tuple(range(7)))}


def slopes(loss, args, which, step=1e-5):
    """Central differences of loss(*args) for every number of one argument."""
    found = np.zeros_like(args[which])
    for at in np.ndindex(found.shape):
        ends = []
        for side in (step, -step):
            moved = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
            moved[which][at] += side
            ends.append(loss(*moved))
        found[at] = (ends[0] - ends[1]) / (2 * step)
    return found


@pytest.mark.parametrize("function", BACKWARD)
def test_backward_is_the_slope(function):
    exercise, leaves = BACKWARD[function]
    forward, backward = (load(exercise).functions[f] for f in (function, f"{function}_backward"))
    for case in cases_of(exercise, f"{function}_backward", 7):
        if "large" in case.name or "beta 0" in case.name:
            continue                    # corners and numbers too large for a step of 1e-5
        count = len(case.args) - len(cases_of(exercise, function, 7)[0].args)
        gs, args = case.args[:count], case.args[count:]

        def loss(*args):
            y = forward(*args)
            return sum((g * part).sum() for g, part in zip(gs, y if count > 1 else (y,)))
        mine = backward(*case.args)
        for part, which in zip(mine if isinstance(mine, tuple) else (mine,), leaves):
            assert np.allclose(part, slopes(loss, args, which), rtol=1e-5, atol=1e-7), case.name


def test_batch_norm_backward_is_the_slope():
    for case in cases_of("batch_norm", "batch_norm_backward", 7):
        g, x, weight, eps = case.args

        def loss(x, weight, bias):
            zeros = np.zeros(len(weight))
            return (g * batch_norm(x, zeros, zeros, weight, bias, True, 0.1, eps)[0]).sum()
        mine, args = batch_norm_backward(*case.args), (x, weight, 0 * weight)
        for which, part in enumerate(mine):
            assert np.allclose(part, slopes(loss, args, which), rtol=1e-5, atol=1e-6), case.name


# ---- the definitions, number by number -----------------------------------------------------------

@pytest.mark.parametrize("seed", SEEDS)
def test_focal_loss_equals_torchvisions_formula(seed):
    torch = pytest.importorskip("torch")

    def published(inputs, targets, alpha, gamma):
        p = torch.sigmoid(inputs)
        cost = torch.nn.functional.binary_cross_entropy_with_logits(inputs, targets,
                                                                    reduction="none")
        p_t = p * targets + (1 - p) * (1 - targets)
        loss = cost * ((1 - p_t) ** gamma)
        return (alpha * targets + (1 - alpha) * (1 - targets)) * loss if alpha >= 0 else loss
    for case in cases_of("focal_loss", "sigmoid_focal_loss_backward", seed):
        g, *args = case.args
        y, gradients = torch_gradients(torch, published, args, g, (0,))
        assert close(sigmoid_focal_loss(*args), y), case.name
        if "gamma 0" not in case.name:
            assert close(sigmoid_focal_loss_backward(*case.args), one(gradients)), case.name


def yolo_by_definition(prediction, boxes, labels, B, lambda_coord, lambda_noobj):
    """Equation 3 of the paper, indicator by indicator, over all cells and boxes."""
    S, C, sums = len(prediction), prediction.shape[2] - 5 * B, np.zeros(5)
    for row, column in itertools.product(range(S), range(S)):
        cell = prediction[row, column]
        here = [k for k, box in enumerate(boxes)
                if column <= box[0] * S < column + 1 and row <= box[1] * S < row + 1]
        ious = [[iou_of_two((column + cell[5 * b]) / S, (row + cell[5 * b + 1]) / S,
                            *cell[5 * b + 2:5 * b + 4], *boxes[k]) for b in range(B)] for k in here]
        for b in range(B):
            x, y, w, h, c = cell[5 * b:5 * b + 5]
            if not here or ious[0].index(max(ious[0])) != b:
                sums[3] += lambda_noobj * c * c
                continue
            X, Y, W, H = boxes[here[0]]
            sums[0] += lambda_coord * ((x - (X * S) % 1) ** 2 + (y - (Y * S) % 1) ** 2)
            sums[1] += lambda_coord * ((w ** 0.5 - W ** 0.5) ** 2 + (h ** 0.5 - H ** 0.5) ** 2)
            sums[2] += (c - ious[0][b]) ** 2
        for k in here:
            sums[4] += sum((cell[5 * B + n] - (labels[k] == n)) ** 2 for n in range(C))
    return sums


def iou_of_two(x, y, w, h, X, Y, W, H):
    wide = min(x + w / 2, X + W / 2) - max(x - w / 2, X - W / 2)
    high = min(y + h / 2, Y + H / 2) - max(y - h / 2, Y - H / 2)
    both = wide * high if wide > 0 and high > 0 else 0.0
    return both / (w * h + W * H - both)


@pytest.mark.parametrize("seed", range(10))
def test_yolo_loss_equals_the_definition(seed):
    for case in cases_of("yolo_loss", "yolo_loss", seed):
        assert np.allclose(yolo_loss(*case.args), yolo_by_definition(*case.args)), case.name


@pytest.mark.parametrize("seed", range(20))
def test_the_responsible_box_is_clear(seed):
    for case in cases_of("yolo_loss", "yolo_loss", seed):
        prediction, boxes, _, B = case.args[:4]
        for box in boxes:
            column, row = (box[:2] * len(prediction)).astype(int)
            mine = prediction[row, column, :5 * B].reshape(B, 5)[:, :4].copy()
            mine[:, :2] = (mine[:, :2] + [column, row]) / len(prediction)
            ious = np.sort(centred_iou(mine, box))
            assert B == 1 or ious[-1] - ious[-2] > 1e-3 or not ious.any(), case.name


@pytest.mark.parametrize("seed", SEEDS)
def test_frru_equals_the_librarys_layers(seed):
    for case in cases_of("frru", "frru", seed):
        y, z, weight, bias, residual_weight, residual_bias, k = case.args
        pooled = ops.max_pool2d(tv.Tensor(z), k)
        padding = tuple(n // 2 for n in weight.shape[2:])
        out = ops.relu(ops.conv2d(ops.cat([tv.Tensor(y), pooled], 1), weight, bias, 1, padding))
        back = ops.conv2d(out, residual_weight[:, :, None, None], residual_bias)
        both = tv.Tensor(z) + ops.interpolate(back, scale_factor=k, mode="nearest")
        assert close(frru(*case.args), (out.numpy(), both.numpy())), case.name


def test_kl_divergence_is_the_mean_of_log_ratios():
    rng = np.random.default_rng(0)
    mu, logvar = row(0.5, -1), row(-0.4, 0.3)
    z = reparameterize(mu, logvar, rng.standard_normal((200_000, 2)))
    ratio = -0.5 * (logvar + (z - mu) ** 2 / np.exp(logvar)) + 0.5 * z ** 2
    assert np.isclose(ratio.sum(1).mean(), kl_divergence(mu, logvar)[0], rtol=0.01)
