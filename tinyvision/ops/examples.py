"""One or more examples of every operation, for gradcheck, the kernels' tests and the device.

All sizes of an example differ from each other (N, C, H, W, kernel, stride, ...), so that swapping
two of them cannot go unnoticed; data are random and stay away from ties and kinks. Whoever adds an
operation adds its examples here; the tests say so if not.
"""
from __future__ import annotations

import numpy as np

from tinyvision import ops
from tinyvision.ops import examples_losses, examples_sampling
from tinyvision.ops.example import Example, Random


def examples(rng=None, dtype="float64") -> list[Example]:
    """All examples, the same for the same generator (default: seed 0)."""
    children = (rng or np.random.default_rng(0)).spawn(len(GROUPS))
    return [e for group, child in zip(GROUPS, children) for e in group(Random(child, dtype))]


def arithmetic(r):
    """+, -, *, /, powers, exp, log, sqrt, cast."""
    a, b, column, above = r.normal(2, 3, 5), r.normal(2, 3, 5), r.normal(3, 1), r.positive(2, 3)
    for name in ("add", "sub", "mul"):
        f = getattr(ops, name)
        yield Example(name, "", f, (a, b), linear_in=(0, 1))
        yield Example(name, "broadcast", f, (column, b), linear_in=(0, 1))
        yield Example(name, "number on the right", lambda x, f=f: f(x, 1.7), (a,), linear_in=(0,))
        yield Example(name, "number on the left", lambda x, f=f: f(1.7, x), (a,), linear_in=(0,))
        yield Example(name, "with itself", lambda x, f=f: f(x, x), (a,))
    yield Example("div", "", ops.div, (a, r.positive(2, 3, 5)), linear_in=(0,))
    yield Example("div", "broadcast", ops.div, (a, r.positive(3, 1)), linear_in=(0,))
    yield Example("div", "by a number", lambda x: ops.div(x, 1.7), (a,), linear_in=(0,))
    yield Example("div", "of a number", lambda x: ops.div(1.7, x), (above,))
    yield Example("neg", "", ops.neg, (a,), linear_in=(0,))
    for n in (0, 1, 2, 3, -1, 0.5):
        yield Example("power", f"n = {n}", lambda x, n=n: ops.power(x, n), (above,))
    yield Example("power", "of a number", lambda x: ops.power(1.7, x), (a,))
    yield Example("exp", "", ops.exp, (a,))
    yield Example("log", "", ops.log, (above,))
    yield Example("sqrt", "", ops.sqrt, (above,))
    yield Example("cast", "", lambda x: ops.cast(x, x.dtype), (a,), linear_in=(0,))


def activations(r):
    """relu and its relatives, softmax and the losses made of it."""
    a, scores, labels = r.distinct(2, 3, 5), r.normal(4, 3, 2, 5), r.whole(3, 4, 2, 5)
    labels[0, 0, 0] = -1
    yield Example("relu", "", ops.relu, (a,), linear_in=(0,))
    yield Example("leaky_relu", "", lambda x: ops.leaky_relu(x, 0.2), (a,), linear_in=(0,))
    yield Example("leaky_relu", "falling", lambda x: ops.leaky_relu(x, -0.2), (a,), linear_in=(0,))
    large = r.distinct(17, 19, 13)                           # small ones are left to NumPy
    yield Example("relu", "large", ops.relu, (large,), linear_in=(0,))
    yield Example("leaky_relu", "large", lambda x: ops.leaky_relu(x, 0.2), (large,), linear_in=(0,))
    for name in ("exp", "tanh", "sigmoid"):
        yield Example(name, "large", getattr(ops, name), (large,))
        if name != "exp":
            yield Example(name, "", getattr(ops, name), (a,))
    yield Example("gelu", "", ops.gelu, (a,))
    yield Example("gelu", "tanh", lambda x: ops.gelu(x, "tanh"), (a,))
    for name in ("softmax", "log_softmax"):
        for dim in (0, 1, -1):
            yield Example(name, f"dim {dim}", lambda x, f=getattr(ops, name), d=dim: f(x, d), (a,))
    f = ops.cross_entropy
    yield Example("cross_entropy", "classes", f, (r.normal(5, 3), r.whole(3, 5)))
    yield Example("cross_entropy", "classes, smoothed", lambda x, t, w: f(
        x, t, w, ignore_index=1, label_smoothing=0.2),
        (r.normal(5, 3), r.whole(3, 5), r.positive(3)), wrt=(0,))
    yield Example("cross_entropy", "pixels, sum", lambda x, t: f(x, t, reduction="sum"),
                  (scores, labels))
    yield Example("cross_entropy", "weighted and smoothed", lambda x, t, w: f(
        x, t, w, label_smoothing=0.1), (scores, labels, r.positive(3)), wrt=(0,))
    yield Example("cross_entropy", "none", lambda x, t: f(x, t, reduction="none"), (scores, labels))


def attentions(r):
    """scaled_dot_product_attention, with every kind of mask."""
    q, k, v, f = r.normal(2, 3, 5), r.normal(2, 4, 5), r.normal(2, 4, 6), r.normal(3, 4)
    mask = np.arange(12).reshape(3, 4) % 5 != 1
    mask[2] = False                                          # a query that may look nowhere
    attention, linear = ops.scaled_dot_product_attention, {"linear_in": (2,)}
    for note, options in (("", {}), ("scale", {"scale": 0.7}), ("causal", {"is_causal": True}),
                          ("mask", {"attn_mask": mask})):
        yield Example("scaled_dot_product_attention", note,
                      lambda q, k, v, o=options: attention(q, k, v, **o), (q, k, v), **linear)
    yield Example("scaled_dot_product_attention", "added mask", attention, (q, k, v, f), **linear)
    yield Example("scaled_dot_product_attention", "one query for all", attention,
                  (r.normal(3, 5), k, v), **linear)


def shapes(r):
    """Moving, adding and repeating elements."""
    a, b, c = r.normal(2, 3, 5), r.normal(2, 4, 5), r.normal(2, 3, 5)
    linear = {"linear_in": (0,)}
    for dim in (None, 1, (0, -1)):
        yield Example("sum", f"dim {dim}", lambda x, d=dim: ops.sum(x, d), (a,), **linear)
        yield Example("mean", f"dim {dim}", lambda x, d=dim: ops.mean(x, d, True), (a,), **linear)
    yield Example("reshape", "", lambda x: ops.reshape(x, 5, -1), (a,), **linear)
    yield Example("flatten", "", lambda x: ops.flatten(x, 1), (a,), **linear)
    yield Example("permute", "", lambda x: ops.permute(x, 2, 0, 1), (a,), **linear)
    yield Example("transpose", "", lambda x: ops.transpose(x, 0, 2), (a,), **linear)
    yield Example("broadcast_to", "", lambda x: ops.broadcast_to(x, (4, 2, 3, 5)),
                  (r.normal(2, 1, 5),), **linear)
    yield Example("cat", "", lambda x, y: ops.cat([x, y], 1), (a, b), linear_in=(0, 1))
    yield Example("cat", "one tensor twice", lambda x, y: ops.cat([x, y, x], 1), (a, b),
                  linear_in=(0, 1))
    yield Example("stack", "", lambda x, y: ops.stack([x, y], -1), (a, c), linear_in=(0, 1))
    for note, padding, value in (("", (1, 2, 3, 0), 0.0), ("value", (1, 2), 0.7),
                                 ("crop", (-1, 2, 0, -1), 0.0)):
        yield Example("pad", note, lambda x, p=padding, v=value: ops.pad(x, p, value=v), (a,),
                      **linear)
    for mode in ("reflect", "replicate", "circular"):
        yield Example("pad", mode, lambda x, m=mode: ops.pad(x, (2, 1, 0, 2), m),
                      (r.normal(2, 3, 4, 5),), **linear)
    yield Example("pad", "reflect and crop", lambda x: ops.pad(x, (3, -1), "reflect"), (a,),
                  **linear)
    yield from takes(a)


def takes(a):
    """Everything that indexes."""
    rows, mask = np.array([2, 0, 2, 1]), np.arange(15).reshape(3, 5) % 4 == 1
    for note, index in (("slices", (slice(None), slice(None, None, 2), slice(1, -1))),
                        ("whole number", (..., 3)), ("new axis", (0, None)),
                        ("backwards", (slice(None), slice(None, None, -1))),
                        ("repeated", (slice(None), rows)), ("pairs", (0, rows, rows + 1)),
                        ("mask", (slice(None), mask))):
        yield Example("take", note, lambda x, i=index: ops.take(x, i), (a,), linear_in=(0,))
    yield Example("take", "overlapping slices are added",
                  lambda x: ops.take(x, (slice(None), slice(0, 2))) * ops.take(
                      x, (slice(None), slice(1, 3))), (a,))


def products(r):
    """matmul and linear."""
    for A, B in (((2, 3), (3, 5)), ((4, 2, 3), (3, 5)), ((2, 3), (4, 3, 5)),
                 ((6, 1, 2, 3), (4, 3, 5)), ((3,), (3, 5)), ((2, 3), (3,)), ((3,), (3,))):
        yield Example("matmul", f"{A} @ {B}", ops.matmul, (r.normal(*A), r.normal(*B)),
                      linear_in=(0, 1))
    arguments = r.normal(4, 2, 3), r.normal(5, 3), r.normal(5)
    yield Example("linear", "", ops.linear, arguments[:2], linear_in=(0, 1))
    yield Example("linear", "bias", ops.linear, arguments, linear_in=(0, 1, 2))


CONVOLUTIONS = (                           # note, N, C, O, (H, W), (I, J), arguments
    ("", 2, 3, 4, (7, 6), (5, 1), {}),
    ("padding", 2, 4, 5, (7, 6), (3, 1), {"padding": (1, 2)}),
    ("stride", 2, 3, 4, (9, 8), (5, 3), {"stride": (3, 2), "padding": (2, 1)}),
    ("dilation", 2, 3, 5, (8, 10), (2, 4), {"dilation": (3, 2), "padding": (1, 2)}),
    ("groups", 3, 4, 6, (5, 7), (2, 1), {"groups": 2, "padding": 1}),
    ("depthwise", 2, 3, 3, (6, 8), (1, 4), {"groups": 3, "stride": 2}),
    ("3 x 3", 2, 4, 5, (6, 7), (3, 3), {"padding": 1}),
    ("1 x 1", 2, 3, 5, (6, 7), (1, 1), {}),
    ("everything", 2, 4, 6, (11, 9), (3, 5),
     {"stride": (3, 4), "padding": (2, 5), "dilation": (4, 2), "groups": 2}))


def convolutions(r):
    """The convolution, its transpose and its matrix."""
    for note, N, C, O, (H, W), (I, J), options in CONVOLUTIONS:
        x, w = r.normal(N, C, H, W), r.normal(O, C // options.get("groups", 1), I, J)
        yield Example("conv2d", note, lambda x, w, b, k=options: ops.conv2d(x, w, b, **k),
                      (x, w, r.normal(O)), linear_in=(0, 1, 2))
    yield Example("conv2d", "no bias, one input that needs no gradient", ops.conv2d,
                  (r.normal(2, 3, 6, 5), r.normal(7, 3, 4, 2)), linear_in=(1,), wrt=(1,))
    x, w = r.normal(2, 4, 11), r.normal(6, 2, 3)
    yield Example("conv1d", "", lambda x, w, b: ops.conv1d(x, w, b, 2, 1, 3, 2),
                  (x, w, r.normal(6)), linear_in=(0, 1, 2))
    yield Example("conv_transpose1d", "", lambda y, w, b: ops.conv_transpose1d(
        y, w, b, 3, 1, 2, 2, 4), (r.normal(3, 4, 7), r.normal(4, 3, 2), r.normal(6)),
        linear_in=(0, 1, 2))
    yield Example("conv_matrix", "", lambda w: ops.conv_matrix(w, (4, 5), (1, 2), 1, (2, 1)),
                  (r.normal(2, 3),), wrt=())


def transposed_convolutions(r):
    """conv_transpose2d: every argument."""
    for note, N, C, O, (A, B), (I, J), options in (
            ("", 2, 3, 5, (4, 6), (3, 1), {}),
            ("stride", 2, 3, 5, (4, 3), (5, 2), {"stride": (2, 3), "padding": (1, 0)}),
            ("output padding", 2, 3, 4, (5, 3), (3, 2),
             {"stride": (3, 2), "padding": 1, "output_padding": (2, 1)}),
            ("groups", 2, 6, 4, (3, 5), (3, 1), {"groups": 2, "stride": 2}),
            ("dilation", 2, 3, 5, (4, 6), (2, 3), {"dilation": (3, 2), "padding": (0, 1)}),
            ("everything", 2, 4, 6, (5, 3), (3, 2), {
                "stride": (2, 4), "padding": (1, 2), "output_padding": (1, 3),
                "dilation": (3, 5), "groups": 2})):
        arguments = r.normal(N, C, A, B), r.normal(C, O // options.get("groups", 1), I, J)
        yield Example("conv_transpose2d", note,
                      lambda y, w, b, k=options: ops.conv_transpose2d(y, w, b, **k),
                      (*arguments, r.normal(O)), linear_in=(0, 1, 2))


def norms(r):
    """batch_norm, training and not; layer_norm, group_norm."""
    x, w, b = r.normal(5, 3, 2, 4), r.positive(3), r.normal(3)
    for note, x in (("training", x), ("training, (N, C)", r.normal(5, 3))):
        yield Example("batch_norm", note, lambda x, w, b: ops.batch_norm(
            x, None, None, w, b, training=True), (x, w, b), linear_in=(1, 2))
    yield Example("batch_norm", "running statistics", ops.batch_norm,
                  (x, r.normal(3), r.positive(3), w, b), linear_in=(0, 3, 4), wrt=(0, 3, 4))
    x = r.normal(19, 4, 3)
    for note, shape in (("", (3,)), ("two axes", (4, 3))):
        yield Example("layer_norm", note, lambda x, w, b, s=shape: ops.layer_norm(x, s, w, b),
                      (x, r.positive(*shape), r.normal(*shape)), linear_in=(1, 2))
    yield Example("layer_norm", "no parameters", lambda x: ops.layer_norm(x, 5), (r.normal(4, 5),))
    yield Example("group_norm", "", lambda x, w, b: ops.group_norm(x, 2, w, b),
                  (r.normal(3, 4, 2, 5), r.positive(4), r.normal(4)), linear_in=(1, 2))


POOLINGS = (("", {"kernel_size": 2}), ("gaps", {"kernel_size": 2, "stride": (3, 4)}),
            ("overlapping", {"kernel_size": (3, 4), "stride": (2, 1), "padding": (1, 2)}),
            ("ceil_mode", {"kernel_size": (4, 2), "stride": 3, "ceil_mode": True}))


def pools(r):
    """Maxima and means of windows, and the ways back."""
    x, linear = r.distinct(2, 3, 9, 7), {"linear_in": (0,)}
    for name in ("max_pool2d", "avg_pool2d"):
        for note, options in POOLINGS:
            yield Example(name, note, lambda x, f=getattr(ops, name), k=options: f(x, **k), (x,),
                          **linear)
    yield Example("max_pool2d", "dilation", lambda x: ops.max_pool2d(
        x, (3, 2), (2, 1), (1, 0), (2, 3)), (x,), **linear)
    yield Example("max_pool2d", "indices", lambda x: ops.max_pool2d(
        x, (3, 2), (2, 1), 1, return_indices=True), (x,), wrt=())
    yield Example("max_pool2d", "indices of ties", lambda x: ops.max_pool2d(
        x, (3, 2), (2, 1), 1, return_indices=True), (np.round(x),), wrt=())
    yield Example("avg_pool2d", "padding does not count", lambda x: ops.avg_pool2d(
        x, (3, 4), (2, 3), (1, 2), count_include_pad=False), (x,), **linear)
    yield Example("avg_pool2d", "another divisor", lambda x: ops.avg_pool2d(
        x, (3, 4), (2, 3), divisor_override=5), (x,), **linear)
    for name in ("adaptive_max_pool2d", "adaptive_avg_pool2d"):
        for size in ((4, 3), 1, (2, None), (11, 8)):
            yield Example(name, f"to {size}", lambda x, f=getattr(ops, name), s=size: f(x, s), (x,),
                          **linear)
    yield Example("adaptive_max_pool2d", "indices", lambda x: ops.adaptive_max_pool2d(
        x, (4, 3), return_indices=True), (x,), wrt=())
    yield from unpools(r)


def unpools(r):
    """max_unpool2d, with indices that max_pool2d chose."""
    for note, kernel, stride, padding in (("", (2, 3), (2, 3), (0, 1)),
                                          ("overlapping", (3, 4), (1, 2), (1, 0))):
        x = r.distinct(2, 3, 8, 11)
        y, places = ops.max_pool2d(x, kernel, stride, padding, return_indices=True)
        yield Example("max_unpool2d", note,
                      lambda y, i, a=(kernel, stride, padding): ops.max_unpool2d(
                          y, i, *a, output_size=(8, 11)),
                      (r.normal(*y.shape), places.data), linear_in=(0,))


def resizes(r):
    """interpolate and bed_of_nails."""
    x, linear = r.normal(2, 3, 5, 7), {"linear_in": (0,)}
    for note, options in (("size", {"size": (8, 4)}), ("scale", {"scale_factor": (2.4, 0.6)}),
                          ("twice", {"scale_factor": 2}), ("the same size", {"size": (5, 7)})):
        for mode in ({"mode": "nearest"}, {"mode": "bilinear", "align_corners": False},
                     {"mode": "bilinear", "align_corners": True}):
            yield Example("interpolate", f"{note}, {', '.join(map(str, mode.values()))}",
                          lambda x, k={**options, **mode}: ops.interpolate(x, **k), (x,), **linear)
    yield Example("bed_of_nails", "", lambda x: ops.bed_of_nails(x, (2, 3)), (x,), **linear)


def regions(r):
    """Operations on regions of interest, and the choosers of boxes."""
    x, rois, linear = r.distinct(2, 3, 11, 9), r.rois(5, 2, 11, 9), {"linear_in": (0,), "wrt": (0,)}
    scaled = np.array([1, 2, 2, 2, 2], r.dtype)              # the image's index is not scaled
    for note, size, scale, boxes in (("", (4, 2), 1.0, rois), ("scale", (2, 3), 0.5, rois * scaled),
                                     ("more bins than pixels", (7, 6), 0.25, rois)):
        yield Example("roi_pool", note, lambda x, b, s=size, k=scale: ops.roi_pool(x, b, s, k),
                      (x, boxes), **linear)
        for aligned, ratio in ((False, -1), (True, 2)):
            yield Example("roi_align", f"{note or 'plain'}, aligned={aligned}",
                          lambda x, b, s=size, k=scale, n=ratio, a=aligned: ops.roi_align(
                              x, b, s, k, n, a), (x, boxes), **linear)
    yield from choosers(r)


def choosers(r):
    """What chooses: arrays in, arrays out."""
    a, b, scores, classes = r.boxes(40, 9, 7), r.boxes(3, 9, 7), r.distinct(40), r.whole(3, 40)
    masks = r.whole(2, 4, 5, 3).astype(bool), r.whole(2, 2, 5, 3).astype(bool)

    def chooser(name, note, function, *tensors):
        return Example(name, note, function, tensors, wrt=())

    yield chooser("box_iou", "", ops.box_iou, a, b)
    yield chooser("box_area", "", ops.box_area, a)
    for source, target in (("xywh", "xyxy"), ("xyxy", "cxcywh"), ("cxcywh", "xywh")):
        yield chooser("box_convert", f"{source} to {target}",
                      lambda a, s=source, t=target: ops.box_convert(a, s, t), b)
    yield chooser("mask_iou", "", ops.mask_iou, *masks)
    yield chooser("nms", "", lambda a, s: ops.nms(a, s, 0.4), a, scores)
    yield chooser("nms", "ties", lambda a, s: ops.nms(a, s, 0.4), a, np.round(scores))
    yield chooser("batched_nms", "", lambda a, s, i: ops.batched_nms(a, s, i, 0.4), a, scores,
                  classes)
    for method in ("gaussian", "linear"):
        yield chooser("soft_nms", method, lambda a, s, m=method: ops.soft_nms(a, s, method=m),
                      a, abs(scores))


GROUPS = (arithmetic, activations, attentions, shapes, products, convolutions,
          transposed_convolutions, norms, pools, resizes, regions,
          *examples_losses.GROUPS, *examples_sampling.GROUPS)
