"""Selection: of many scored boxes the few that are handed on: proposals, detections.

Ren et al. 2015, section 3.3 (proposals: the best by score, NMS at 0.7, the best again); Girshick et
al. 2014, section 2.2 (detections: NMS within each class). Lectures: DSI, UW. D9, D21.
"""
from __future__ import annotations

import numpy as np

from tinyvision.ops import batched_nms


def clip(boxes, size) -> np.ndarray:
    """The parts of boxes (..., 4) inside an image of (H, W), or of one size (M, 2) a box."""
    height, width = np.asarray(size, boxes.dtype).T
    return np.clip(boxes, 0, np.stack((width, height, width, height), -1))


def proper(boxes, least: float = 0.0) -> np.ndarray:
    """Which boxes (..., 4) have finite corners, and sides longer than 0 and of at least `least`."""
    with np.errstate(over="ignore", invalid="ignore"):       # corners may be anything
        sides = boxes[..., 2:] - boxes[..., :2]
    return ((sides > 0) & (sides >= least)).all(-1) & np.isfinite(boxes).all(-1)


def best(scores, count: int) -> np.ndarray:
    """The indices of the `count` highest scores (fewer where there are no more), highest first,
    ties by lower index."""
    return np.argsort(-scores, kind="stable")[:count]


def best_of_groups(scores, sizes, count: int) -> np.ndarray:
    """Indices of the `count` best of each group; groups follow each other, `sizes` long."""
    starts = np.cumsum([0, *sizes[:-1]])
    return np.concatenate([start + best(scores[start:start + size], count)
                           for start, size in zip(starts, sizes)])


def suppressed(boxes, scores, groups, threshold: float, count: int) -> np.ndarray:
    """The boxes that NMS within each group keeps, the `count` best of them, as indices."""
    return batched_nms(boxes, scores, groups, threshold)[:count]


def surviving(boxes, scores, groups, size, threshold: float, count: int) -> tuple:
    """What is left of boxes (N, 4) in an image of (H, W): they are clipped to it, those that are
    not proper then dropped, see `suppressed` for the rest.

    Returns:
        (boxes (K, 4), their indices among the N), best first.
    """
    inside = clip(boxes, size)
    left = np.flatnonzero(proper(inside))
    left = left[suppressed(inside[left], scores[left], groups[left], threshold, count)]
    return inside[left], left


def confident(scores, threshold: float) -> tuple:
    """(rows, columns) of scores (R, C) above the threshold, row by row: one box may be a detection
    of several classes."""
    return np.nonzero(scores > threshold)
