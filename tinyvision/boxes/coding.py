"""Box coding: a box as its difference from an anchor, in numbers of about the same size for all.

    dx = (x - x_a) / w_a,   dy = (y - y_a) / h_a,   dw = log(w / w_a),   dh = log(h / h_a)

x, y the centres, w, h the sides. Girshick et al. 2014 (R-CNN), appendix C; Ren et al. 2015,
section 3.1.2. Lectures: DLCV ("offsets"), DSI, GT. D21.
"""
from __future__ import annotations

import math

import numpy as np

LARGEST = math.log(1000 / 16)      # dw, dh at most: a wild guess must not overflow in exp


def centred(boxes) -> tuple:
    """(centres (..., 2), sides (..., 2)) of boxes (..., 4)."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + sides / 2, sides


def encode(boxes, anchors, weights=(1, 1, 1, 1)) -> np.ndarray:
    """Where boxes (..., 4) lie, seen from their anchors (..., 4): (dx, dy, dw, dh), float32.

    weights: factors of the four, by which a loss values them. Sides must be positive.
    """
    (centre, sides), (from_centre, from_sides) = centred(boxes), centred(anchors)
    code = np.concatenate(((centre - from_centre) / from_sides, np.log(sides / from_sides)), -1)
    return (code * np.asarray(weights)).astype(np.float32)


def decode(code, anchors, weights=(1, 1, 1, 1)) -> np.ndarray:
    """The boxes (..., 4) of which `code` is the `encode`d; dw and dh count at most log(1000 / 16).

    Codes that are not finite, or too large for floats, give boxes that are not `proper` once they
    are clipped.
    """
    from_centre, from_sides = centred(anchors)
    code = code / np.asarray(weights, code.dtype)
    with np.errstate(over="ignore", invalid="ignore"):       # of a network that went astray
        centre = code[..., :2] * from_sides + from_centre
    half = np.exp(np.minimum(code[..., 2:], code.dtype.type(LARGEST))) * from_sides / 2
    return np.concatenate((centre - half, centre + half), -1)
