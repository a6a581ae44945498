"""Sampling: a few of many anchors or proposals, so that the background does not drown the objects.

Girshick 2015 (Fast R-CNN), section 2.3: 128 regions, a quarter of them objects; Ren et al. 2015,
section 3.1.3: 256 anchors, up to half of them objects. Lecture: UW. D21.
"""
from __future__ import annotations

import numpy as np


def sample(matched, count: int, positive_fraction: float, random) -> tuple:
    """(positives, negatives): indices into `matched`, each in increasing order, drawn at random.

    Args:
        matched: (N,), see `matching.match`.
        count: how many are drawn; fewer where there are no more.
        positive_fraction: at most this part of them are positives; negatives fill the rest.
        random: a numpy Generator.
    """
    positives, negatives = np.flatnonzero(matched >= 0), np.flatnonzero(matched == -1)
    positives = some(positives, int(count * positive_fraction), random)
    return positives, some(negatives, count - len(positives), random)


def some(indices, count, random) -> np.ndarray:
    """At most `count` of the indices, drawn without repetition, in increasing order."""
    if len(indices) <= count:
        return indices
    return np.sort(random.choice(indices, count, replace=False))
