"""How well outlines fit: the boundary F-score. Csurka, Larlus & Perronnin 2013, section 3.

Pixels inside a large object are easy, and IoU counts little else. Here only outlines count: which
share of the predicted one lies within a distance of the true one (precision), and of the true one
within that distance of the predicted one (recall).
"""
from __future__ import annotations

import math

import numpy as np

DIAGONAL = 0.0075          # the paper's distance, as a part of the image's diagonal


def boundary(mask) -> np.ndarray:
    """The pixels of masks (..., H, W) that have a neighbour (4, or the image's border) outside."""
    padded = np.pad(mask, [(0, 0)] * (mask.ndim - 2) + [(1, 1), (1, 1)])
    inside = (padded[..., 2:, 1:-1] & padded[..., :-2, 1:-1]
              & padded[..., 1:-1, 2:] & padded[..., 1:-1, :-2])
    return mask & ~inside


def grown(mask, distance: float) -> np.ndarray:
    """The pixels of (..., H, W) that lie within `distance` pixels of one that is set."""
    reach = math.floor(distance)
    height, width = mask.shape[-2:]
    padded = np.pad(mask, [(0, 0)] * (mask.ndim - 2) + [(reach, reach), (reach, reach)])
    found = np.zeros_like(mask)
    for i in range(2 * reach + 1):
        for j in range(2 * reach + 1):
            if (i - reach) ** 2 + (j - reach) ** 2 <= distance ** 2:
                found |= padded[..., i:i + height, j:j + width]
    return found


def boundary_f_score(labels, predictions, num_classes: int, distance=None) -> np.ndarray:
    """(num_classes,) the mean over the images in which a class occurs, NaN where it never does.

    Args:
        labels, predictions: (N, H, W) integers.
        distance: in pixels, as the crow flies; None is 0.75 % of the diagonal, and at least 1.

    Raises:
        ValueError: shapes that differ, or are not (N, H, W).
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.ndim != 3:
        raise ValueError(f"boundary_f_score: labels have shape {labels.shape}, predictions "
                         f"{predictions.shape}; expected the same (N, H, W)")
    distance = max(1, DIAGONAL * math.hypot(*labels.shape[1:])) if distance is None else distance
    return np.array([_of_class(labels == k, predictions == k, distance)
                     for k in range(num_classes)])


def _of_class(true, predicted, distance):
    true, predicted = boundary(true), boundary(predicted)
    hits = (predicted & grown(true, distance)).sum((1, 2))
    found = (true & grown(predicted, distance)).sum((1, 2))
    counts = true.sum((1, 2)), predicted.sum((1, 2))
    there = (counts[0] + counts[1]) > 0
    if not there.any():
        return float("nan")
    recall, precision = (a[there] / np.maximum(b[there], 1) for a, b in zip((found, hits), counts))
    return float((2 * precision * recall / np.maximum(precision + recall, 1e-12)).mean())
