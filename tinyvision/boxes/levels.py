"""Levels: which map of a pyramid a region is read from: large ones from coarse maps.

    k = floor(k0 + log2(sqrt(w h) / 224)),   k0 = 4

A region as large as an ImageNet picture belongs to the map with stride 2^4. Lin et al. 2017 (FPN),
equation 1. D11.
"""
from __future__ import annotations

import numpy as np

from tinyvision.ops import box_area

CANONICAL_SIZE, CANONICAL_LEVEL = 224, 4
SLACK = 1e-6                           # rounding must not put a box of exactly 112 a level too low


def assign_levels(boxes, lowest: int, highest: int, size: float = CANONICAL_SIZE,
                  level: int = CANONICAL_LEVEL) -> np.ndarray:
    """The levels k of boxes (K, 4), int64 (K,), between `lowest` and `highest`, which are those of
    maps with strides 2^lowest to 2^highest. A box with side `size` belongs to `level`."""
    side = np.maximum(np.sqrt(box_area(boxes)), SLACK)
    wanted = np.floor(level + np.log2(side / size) + SLACK)
    return np.clip(wanted, lowest, highest).astype(np.int64)
