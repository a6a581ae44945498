"""Average precision from verdicts: the precision-recall curve, and COCO's 101 points of it.

Go through the detections from the best score down. After each of them,

    precision = right / (right + wrong)        recall = right / all true objects

The curve saws up and down. Its envelope, the best precision at this recall or a higher one, does
not; AP is the envelope's mean over chosen recalls (its area, in effect). Lecture: M2; Everingham et
al. 2010, 4.2; Lin et al. 2014.
"""
from __future__ import annotations

import numpy as np

from tinyvision.metrics.coco_match import HIT, MISS

RECALLS = np.linspace(0, 1, 101)


def recall_and_precision(verdicts, positives):
    """Two float64 arrays (..., D), after every detection.

    Args:
        verdicts: (..., D), best scores first.
        positives: true objects, a number or an array (...); 0 is taken as 1 (nothing is right).
    """
    right, wrong = ((verdicts == kind).cumsum(-1) for kind in (HIT, MISS))
    recall = right / np.maximum(np.asarray(positives), 1)[..., None]
    return recall, right / np.maximum(right + wrong, 1)      # ignored ones may come first


def envelope(precision) -> np.ndarray:
    """The highest precision (..., D) at each place or later."""
    return np.maximum.accumulate(precision[..., ::-1], -1)[..., ::-1]


def interpolated(recall, precision, points=RECALLS) -> np.ndarray:
    """(..., R) the envelope at the recalls `points`: 0 beyond the highest recall reached.

    Args:
        recall, precision: (..., D), recall never falling.
    """
    ends = [(0, 0)] * (precision.ndim - 1) + [(0, 1)]
    heights = np.pad(envelope(precision), ends)
    values = np.empty((*precision.shape[:-1], len(points)))
    for row in np.ndindex(values.shape[:-1]):
        values[row] = heights[row][np.searchsorted(recall[row], points)]
    return values
