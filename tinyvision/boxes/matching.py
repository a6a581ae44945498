"""Matching: which object each anchor stands for, if any.

    IoU with the best object  >= high          that object          (positive)
                              <  low           BELOW                (background)
                              between          BETWEEN              (counts for nothing)

Ren et al. 2015, section 3.1.2 (0.7 and 0.3, and each object's best anchors whatever their IoU); Lin
et al. 2017 (RetinaNet), section 4 (0.5 and 0.4). Lecture: DLCV ("match above 0.5 to 0.6"). D21.
"""
from __future__ import annotations

import numpy as np

BELOW, BETWEEN = -1, -2


def match(iou, high: float, low: float | None = None, force: bool = False) -> np.ndarray:
    """The object of every anchor: int64 (N,), its index, or BELOW, or BETWEEN.

    Args:
        iou: (M, N), of M objects with N anchors; of several best objects the first counts.
        high: from this IoU on an anchor is positive.
        low: under this it is background; `high` if None: nothing lies between.
        force: anchors with the highest IoU that any anchor has with some object are positive too
            (for their own best object), so that no object is left without an anchor.
    """
    if not len(iou):
        return np.full(iou.shape[1], BELOW, np.int64)
    object_, best = iou.argmax(0), iou.max(0)
    chosen = np.where(best >= high, object_, BETWEEN)
    chosen[best < (high if low is None else low)] = BELOW
    if force:
        needed = favourites(iou)
        chosen[needed] = object_[needed]
    return chosen


def favourites(iou) -> np.ndarray:
    """The anchors that are the best, or as good as it, for some object they overlap: indices.

    An object that no anchor overlaps has none (torchvision would give it all anchors).
    """
    highest = iou.max(1, keepdims=True, initial=0)
    return np.flatnonzero(((iou == highest) & (highest > 0)).any(0))
