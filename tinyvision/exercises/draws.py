"""Numbers for cases: small ones that a person can follow, random ones, and whole ones.

Each function takes a generator and shapes and returns one float64 array for each shape.
"""
from __future__ import annotations

import numpy as np


def small(rng: np.random.Generator, *shapes: tuple) -> list[np.ndarray]:
    """1, 2, 3, ... in a random order: small integers, all different, none of them 0."""
    return [rng.permutation(np.arange(1.0, 1 + np.prod(s))).reshape(s) for s in shapes]


def random(rng: np.random.Generator, *shapes: tuple) -> list[np.ndarray]:
    """Both signs, with sums that are not near 0, where rounding would be all there is."""
    return [rng.standard_normal(s) + 0.5 for s in shapes]


def whole(rng: np.random.Generator, *shapes: tuple) -> list[np.ndarray]:
    """Whole numbers of both signs, all different: exact in float32, so no maximum can flip."""
    return [rng.permutation(np.arange(np.prod(s)) - np.prod(s) // 2).reshape(s).astype(float)
            for s in shapes]
