"""Losses of boxes: 1 - IoU, and what to add where boxes do not overlap, and IoU is 0 all around.

    giou  + (C - U) / C          U: the area of the union, C: of the smallest box around both
    diou  + d^2 / c^2            d: the distance of the centres, c: the diagonal of that box
    ciou  + d^2 / c^2 + a v      v: how much the angles of the two diagonals differ, squared

Boxes are (x0, y0, x1, y1). Lecture: L3; Rezatofighi et al. 2019 (GIoU), Zheng et al. 2020 (DIoU,
CIoU). Like torchvision's functions of these names.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

from tinyvision.device import module_of
from tinyvision.engine import Op, Tensor, as_array
from tinyvision.ops.activation import relu
from tinyvision.ops.loss_regression import reduced, same_shape
from tinyvision.ops.select import maximum, minimum


@dataclass(frozen=True)
class Atan(Op):
    """The angle whose tangent is a."""
    needs = "a",

    def forward(self, a):
        return module_of(a).arctan(a)

    def backward(self, g, y, a):
        return g / (1.0 + a * a),


def box_iou_loss(boxes1, boxes2, reduction="none", eps=1e-7) -> Tensor:
    """1 - IoU of every box with its partner (Yu et al. 2016, UnitBox, has -log IoU).

    Args:
        boxes1, boxes2: (N, 4), x0 < x1 and y0 < y1; gradients reach both.
        reduction: "none" for (N,), "mean" or "sum".
        eps: added below fraction lines.

    Raises:
        ValueError: other shapes, an unknown reduction.
    """
    a, b = _boxes("box_iou_loss", boxes1, boxes2)
    return reduced("box_iou_loss", 1.0 - _iou(a, b, eps)[0], reduction)


def generalized_box_iou_loss(boxes1, boxes2, reduction="none", eps=1e-7) -> Tensor:
    """1 - IoU + the share of the box around both that neither covers; 0 to 2.

    Arguments and errors are those of `box_iou_loss`.
    """
    name = "generalized_box_iou_loss"
    a, b = _boxes(name, boxes1, boxes2)
    iou, union = _iou(a, b, eps)
    width, height = _around(a, b)
    area = width * height
    return reduced(name, 1.0 - iou + (area - union) / (area + eps), reduction)


def distance_box_iou_loss(boxes1, boxes2, reduction="none", eps=1e-7) -> Tensor:
    """1 - IoU + the squared distance of the centres, in diagonals of the box around both.

    Arguments and errors are those of `box_iou_loss`.
    """
    name = "distance_box_iou_loss"
    a, b = _boxes(name, boxes1, boxes2)
    return reduced(name, 1.0 - _iou(a, b, eps)[0] + _distance(a, b, eps), reduction)


def complete_box_iou_loss(boxes1, boxes2, reduction="none", eps=1e-7) -> Tensor:
    """`distance_box_iou_loss`, and a penalty for another aspect ratio.

    Its weight a = v / (1 - IoU + v) is a number, through which no gradient flows, as in the paper.
    Arguments and errors are those of `box_iou_loss`.
    """
    name = "complete_box_iou_loss"
    a, b = _boxes(name, boxes1, boxes2)
    iou, _ = _iou(a, b, eps)
    v = _aspect(a, b)
    share = v.detach() / (1.0 - iou.detach() + v.detach() + eps)
    return reduced(name, 1.0 - iou + _distance(a, b, eps) + share * v, reduction)


def _boxes(name, boxes1, boxes2):
    """Both as columns (x0, y0, x1, y1)."""
    pair = same_shape(name, boxes1=boxes1, boxes2=boxes2)
    if pair[0].ndim != 2 or pair[0].shape[1] != 4:
        raise ValueError(f"{name}: boxes1 has shape {as_array(boxes1).shape}, expected (N, 4)")
    return [[t[:, k] for k in range(4)] for t in pair]


def _iou(a, b, eps):
    """(IoU, area of the union)."""
    width = relu(minimum(a[2], b[2]) - maximum(a[0], b[0]))
    height = relu(minimum(a[3], b[3]) - maximum(a[1], b[1]))
    both = width * height
    areas = [(t[2] - t[0]) * (t[3] - t[1]) for t in (a, b)]
    union = areas[0] + areas[1] - both
    return both / (union + eps), union


def _around(a, b):
    """Width and height of the smallest box around both."""
    return (maximum(a[2], b[2]) - minimum(a[0], b[0]), maximum(a[3], b[3]) - minimum(a[1], b[1]))


def _distance(a, b, eps):
    """The squared distance of the centres, in squared diagonals of the box around both."""
    width, height = _around(a, b)
    across, down = (0.5 * (a[k] + a[k + 2] - b[k] - b[k + 2]) for k in (0, 1))
    return (across * across + down * down) / (width * width + height * height + eps)


def _aspect(a, b):
    """4 / pi^2 times the squared difference of the angles whose tangents are width / height."""
    angle, other = (Atan()((t[2] - t[0]) / (t[3] - t[1])) for t in (a, b))
    return (4 / math.pi ** 2) * (angle - other) * (angle - other)
