"""Examples of losses, of the activations they are made of, of dropout and of choices."""
from __future__ import annotations

import numpy as np

from tinyvision import device, ops
from tinyvision.ops.example import Example


def choices(r):
    """where, maximum, minimum, clamp, abs, amax, amin, pixel_shuffle."""
    a, b, c = r.distinct(2, 3, 5), r.distinct(3, 1) + 0.05, r.normal(4, 12, 3, 5)
    b = b.astype(a.dtype)
    for name in ("maximum", "minimum"):
        f = getattr(ops, name)
        yield Example(name, "broadcast", f, (a, b))
        yield Example(name, "with a number", lambda x, f=f: f(x, 0.13), (a,))
    yield Example("where", "", ops.where, (np.arange(15).reshape(3, 5) % 4 == 1, a, b),
                  linear_in=(1, 2))
    yield Example("where", "a number", lambda x: ops.where(np.arange(5) < 3, 0.7, x), (a,),
                  linear_in=(0,))
    for bounds in ((-0.55, 0.85), (None, 0.85), (-0.55, None)):
        yield Example("clamp", f"{bounds}", lambda x, b=bounds: ops.clamp(x, *b), (a,))
    yield Example("abs", "", ops.abs, (a,), linear_in=(0,))
    for dim in (None, 1, (0, -1)):
        yield Example("amax", f"dim {dim}", lambda x, d=dim: ops.amax(x, d), (a,), linear_in=(0,))
        yield Example("amin", f"dim {dim}", lambda x, d=dim: ops.amin(x, d, True), (a,),
                      linear_in=(0,))
    yield Example("pixel_shuffle", "", lambda x: ops.pixel_shuffle(x, 2), (c,), linear_in=(0,))
    yield Example("pixel_unshuffle", "", lambda x: ops.pixel_unshuffle(x, 3),
                  (r.normal(2, 4, 9, 6),), linear_in=(0,))


def curves(r):
    """The activations beyond relu and sigmoid."""
    a, wide = r.distinct(2, 3, 5), 3 * r.distinct(2, 3, 7)
    for name in ("silu", "mish", "softplus", "logsigmoid", "elu", "selu", "hardswish",
                 "hardsigmoid", "hardtanh", "relu6"):
        yield Example(name, "", getattr(ops, name), (wide,))
    for name in ("silu", "mish", "softplus"):                # small ones are left to NumPy
        yield Example(name, "large", getattr(ops, name), (3 * r.distinct(17, 19, 13),))
    yield Example("softplus", "beta", lambda x: ops.softplus(x, 2.5), (a,))
    yield Example("elu", "alpha", lambda x: ops.elu(x, 1.7), (a,))
    yield Example("hardtanh", "bounds", lambda x: ops.hardtanh(x, -0.45, 1.25), (a,))
    yield Example("prelu", "a weight a channel", ops.prelu, (a, r.normal(3)), linear_in=(1,))
    yield Example("prelu", "one weight", ops.prelu, (a, r.normal(1)), linear_in=(1,))


def same_draw(function):
    """`function`, drawing the same numbers at every call, and leaving the generator alone."""
    def again(x):
        before = device.generator().bit_generator.state
        device.manual_seed(3)
        try:
            return function(x)
        finally:
            device.generator().bit_generator.state = before
    return again


def dropouts(r):
    """dropout, dropout2d, stochastic_depth."""
    x, linear = r.normal(3, 4, 2, 5), {"linear_in": (0,)}
    yield Example("dropout", "", same_draw(lambda x: ops.dropout(x, 0.4)), (x,), **linear)
    yield Example("dropout", "not training", lambda x: ops.dropout(x, 0.4, False), (x,), **linear)
    yield Example("dropout2d", "", same_draw(lambda x: ops.dropout2d(x, 0.4)), (x,), **linear)
    for mode in ("row", "batch"):
        yield Example("stochastic_depth", mode, same_draw(
            lambda x, m=mode: ops.stochastic_depth(x, 0.3, m)), (x,), **linear)


REDUCTIONS = "mean", "sum", "none"


def regressions(r):
    """Losses of numbers."""
    d, t = r.distinct(4, 3, 2), r.normal(4, 3, 2)
    x = d + t
    for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
        for reduction in REDUCTIONS:
            yield Example(name, reduction, lambda x, t, f=getattr(ops, name), k=reduction: f(
                x, t, k), (x, t))
    yield Example("smooth_l1_loss", "beta", lambda x, t: ops.smooth_l1_loss(x, t, beta=0.63),
                  (x, t))
    yield Example("huber_loss", "delta", lambda x, t: ops.huber_loss(x, t, delta=0.63), (x, t))
    for reduction in REDUCTIONS:
        yield Example("gaussian_kl", reduction, lambda m, v, k=reduction: ops.gaussian_kl(m, v, k),
                      (x, t))


def likelihoods(r):
    """Losses of classes."""
    scores, labels = r.normal(4, 3, 2, 5), r.whole(3, 4, 2, 5)
    x, t, w = r.distinct(5, 4), r.whole(4, 5), r.positive(4)
    labels[0, 0, 0] = -1
    p, y = abs(scores) / 5, r.positive(4, 3, 2, 5) / 2
    f = ops.nll_loss
    yield Example("nll_loss", "classes, weighted", f, (x, t, w), wrt=(0,), linear_in=(0,))
    for k in REDUCTIONS:
        yield Example("nll_loss", f"pixels, {k}", lambda x, t, k=k: f(x, t, reduction=k),
                      (scores, labels), linear_in=(0,))
    for k in REDUCTIONS:
        yield Example("multi_margin_loss", k, lambda x, t, k=k: ops.multi_margin_loss(
            x, t, margin=0.63, reduction=k), (x, t))
    yield Example("multi_margin_loss", "squared, weighted", lambda x, t, w: ops.multi_margin_loss(
        x, t, 2, 0.63, w), (x, t, w), wrt=(0,))
    yield Example("hinge_loss", "", lambda x, t: ops.hinge_loss(x, t, 0.63), (x, t))
    for k in (*REDUCTIONS, "batchmean"):
        yield Example("kl_div", k, lambda x, t, k=k: ops.kl_div(x, t, k), (scores, y),
                      linear_in=(0,))
    yield Example("kl_div", "log_target", lambda x, t: ops.kl_div(x, t, log_target=True),
                  (scores, -y), linear_in=(0,))
    yield Example("dice_loss", "", ops.dice_loss, (p, y))
    yield Example("dice_loss", "labels", lambda x, t: ops.dice_loss(x, t, "none"), (p, labels))


def questions(r):
    """Losses of yes or no."""
    x, t, w = 3 * r.normal(4, 3, 5), r.positive(4, 3, 5) / 2, r.positive(3, 1)
    p = (r.positive(4, 3, 5) / 2.1).astype(x.dtype)
    for k in REDUCTIONS:
        yield Example("binary_cross_entropy", k, lambda x, t, k=k: ops.binary_cross_entropy(
            x, t, reduction=k), (p, t), linear_in=(1,))
        yield Example("binary_cross_entropy_with_logits", k,
                      lambda x, t, k=k: ops.binary_cross_entropy_with_logits(x, t, reduction=k),
                      (x, t), linear_in=(1,))
        yield Example("sigmoid_focal_loss", k, lambda x, t, k=k: ops.sigmoid_focal_loss(
            x, t, reduction=k), (x, t))
    yield Example("binary_cross_entropy", "weighted", ops.binary_cross_entropy, (p, t, w))
    yield Example("binary_cross_entropy_with_logits", "weighted", lambda x, t, w, p:
                  ops.binary_cross_entropy_with_logits(x, t, w, pos_weight=p),
                  (x, t, w, r.positive(5)))
    for gamma in (0, 1.5):
        yield Example("sigmoid_focal_loss", f"gamma {gamma}", lambda x, t, gamma=gamma:
                      ops.sigmoid_focal_loss(x, t, alpha=-1, gamma=gamma), (x, t),
                      linear_in=(1,) * (not gamma))


def corners(r):
    """Losses of boxes."""
    a = r.boxes(7, 9, 11)
    b = (a + r.distinct(7, 4) * 0.7).astype(r.dtype)
    b[0] += 30                                               # far away
    for name in ("box_iou_loss", "generalized_box_iou_loss", "distance_box_iou_loss"):
        for k in REDUCTIONS:
            yield Example(name, k, lambda a, b, f=getattr(ops, name), k=k: f(a, b, k), (a, b))
    yield Example("complete_box_iou_loss", "a factor is no function", ops.complete_box_iou_loss,
                  (a, b), wrt=())


def sets(r):
    """Losses of points, meshes and embeddings."""
    x, y = r.normal(2, 5, 3), r.normal(2, 7, 3)
    yield Example("nearest_points", "", ops.nearest_points, (x, y), wrt=())
    for k in ("mean", "sum"):
        yield Example("chamfer_distance", k, lambda x, y, k=k: ops.chamfer_distance(x, y, k),
                      (x, y))
    yield Example("chamfer_distance", "one set", ops.chamfer_distance, (x[0], y[1]))
    yield Example("normal_loss", "", lambda u, v: ops.normal_loss(x, u, y, v),
                  (r.normal(2, 5, 3), r.normal(2, 7, 3)))
    edges = np.array([[0, 1], [1, 2], [2, 0], [3, 4], [0, 4], [4, 1]])
    yield Example("edge_loss", "", lambda v: ops.edge_loss(v, edges), (r.normal(5, 3),))
    yield Example("edge_loss", "length", lambda v: ops.edge_loss(v, edges, 0.8), (r.normal(5, 3),))
    for name in ("pull_loss", "push_loss"):
        f = getattr(ops, name)
        yield Example(name, "", f, (r.distinct(5), r.distinct(5) * r.dtype.type(0.7)))
        yield Example(name, "vectors", f, (r.normal(4, 3), r.normal(4, 3)))


def borders(r):
    """The distance transform, and U-Net's weights."""
    masks = r.rng.random((3, 7, 5)) < 0.85
    labels = np.zeros((9, 8), int)
    labels[1:4, 1:3], labels[2:5, 5:8], labels[7:, 2:6] = 1, 2, 7
    yield Example("distance_transform", "", ops.distance_transform, (masks,), wrt=())
    yield Example("border_weight_map", "", lambda t: ops.border_weight_map(t, 10, 2.5), (labels,),
                  wrt=())


GROUPS = (choices, curves, dropouts, regressions, likelihoods, questions, corners, sets, borders)
