"""Keypoints: one cell of a region's heatmap is the right one, and back.

He et al. 2017 (Mask R-CNN), section 5: "for each of the K keypoints of an instance, the training
target is a one-hot m x m binary mask". I2.
"""
from __future__ import annotations

import numpy as np

CUBIC = -0.75                          # the cubic kernel's slope, PyTorch's


def heatmap_cells(keypoints, boxes, size: int) -> tuple:
    """(cells int64 (R, K), valid bool (R, K)): the cell, row * size + column, in which each
    keypoint lies within its region's grid; only those that are there and inside the box are valid.

    keypoints: (R, K, 3), x, y, visibility (0: not there). boxes: (R, 4). size: cells along a side.
    A point exactly on the right or lower border belongs to the last cell.
    """
    low, sides = boxes[:, None, :2], np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)[:, None]
    place = (keypoints[..., :2] - low) / sides
    cell = np.minimum(np.floor(place * size), size - 1)
    valid = ((place >= 0) & (place <= 1)).all(-1) & (keypoints[..., 2] > 0)
    cells = np.where(valid, cell[..., 1] * size + cell[..., 0], 0)
    return cells.astype(np.int64), valid


def read_heatmaps(heatmaps, boxes) -> tuple:
    """(keypoints float32 (R, K, 3), scores (R, K)): where each heatmap (R, K, S, S) is highest.

    The map is first resized to its box's pixels (bicubic, Mask R-CNN's code and torchvision's), so
    that the answer is not bound to S cells. x and y are the middle of the best pixel, the third
    number is 1; the score is the resized map's value there, a logit.
    """
    points, scores = (np.zeros((*heatmaps.shape[:2], n), np.float32) for n in (3, 1))
    for r, box in enumerate(boxes):
        points[r], scores[r] = _read(heatmaps[r], box)
    return points, scores[..., 0]


def _read(maps, box):
    """The keypoints (K, 3) and scores (K, 1) of one region, maps (K, S, S)."""
    sides = np.maximum(box[2:] - box[:2], 1)
    width, height = np.ceil(sides).astype(int)
    large = cubic(maps.shape[1], height) @ maps @ cubic(maps.shape[2], width).T      # (K, h, w)
    flat = large.reshape(len(maps), -1)
    place = flat.argmax(1)
    y, x = np.divmod(place, width)
    x, y = ((v + 0.5) * side / count + low
            for v, side, count, low in zip((x, y), sides, (width, height), box[:2]))
    return np.stack((x, y, np.ones_like(x)), 1), np.take_along_axis(flat, place[:, None], 1)


def cubic(cells: int, size: int) -> np.ndarray:
    """The matrix (size, cells) of bicubic resizing along one axis (Keys 1981); float32.

    The four nearest cells count, the outermost are repeated beyond the border.
    """
    place = (np.arange(size) + 0.5) * cells / size - 0.5
    first = np.floor(place).astype(int) - 1
    matrix = np.zeros((size, cells), np.float32)
    for k in range(4):
        weight = keys(np.abs(place - (first + k)))
        np.add.at(matrix, (np.arange(size), np.clip(first + k, 0, cells - 1)), weight)
    return matrix


def keys(d) -> np.ndarray:
    """Keys' cubic kernel at distances d from 0 to 2."""
    a = CUBIC
    near, far = ((a + 2) * d - (a + 3)) * d * d + 1, a * (((d - 5) * d + 8) * d - 4)
    return np.where(d <= 1, near, far)
