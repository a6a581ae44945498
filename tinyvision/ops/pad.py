"""Margins around an image: of one value, mirrored, repeated, or from the other side."""
from __future__ import annotations

import numpy as np

from tinyvision.engine import Tensor, as_array
from tinyvision.ops.shape import Put, Take, take

PLACES = {                                 # of place k, possibly outside 0 to n - 1
    "reflect": lambda k, n: n - 1 - abs(n - 1 - abs(k)),
    "replicate": lambda k, n: np.clip(k, 0, n - 1),
    "circular": lambda k, n: k % n}


def pad(a, padding, mode="constant", value=0.0) -> Tensor:
    """Margins: padding is (left, right, top, bottom, ...), last axis first; negative ones crop.

    Args:
        a: of any shape (..., H, W).
        mode: "constant", "reflect" (the edge is not repeated; U-Net's mirrored borders),
            "replicate" (the edge, again and again) or "circular".
        value: of the margins, for "constant".

    Like `torch.nn.functional.pad`, which knows the other modes for the last axes only.

    Raises:
        ValueError: padding is no pairs, crops all there is, or reaches further than the mode can.
    """
    shape = as_array(a).shape
    if not isinstance(padding, (tuple, list)) or len(padding) % 2 or len(padding) > 2 * len(shape):
        raise ValueError(f"pad: padding must be pairs for at most {len(shape)} axes, got {padding}")
    margins = [(0, 0)] * (len(shape) - len(padding) // 2)
    margins += [tuple(padding[i:i + 2]) for i in range(len(padding) - 2, -1, -2)]
    if any(n + lo + hi < 0 for n, (lo, hi) in zip(shape, margins)):
        raise ValueError(f"pad: padding {padding} crops more than there is (a is {shape})")
    return _constant(a, shape, margins, value) if mode == "constant" else _taken(
        a, shape, margins, mode)


def _constant(a, shape, margins, value):
    """What is left in a frame of one value."""
    crop = tuple(slice(max(-lo, 0), n - max(-hi, 0)) for n, (lo, hi) in zip(shape, margins))
    inner = tuple(slice(max(lo, 0), max(lo, 0) + s.stop - s.start)
                  for s, (lo, _) in zip(crop, margins))
    outer = tuple(n + lo + hi for n, (lo, hi) in zip(shape, margins))
    padded = Put(inner, outer)(Take(crop)(a))
    if value == 0.0:
        return padded
    frame = np.full(outer, value, as_array(a).dtype)
    frame[inner] = 0.0
    return padded + frame


def _taken(a, shape, margins, mode):
    """Every place of the margins is one of a's, one axis after the other."""
    if mode not in PLACES:
        raise ValueError(f"pad: mode is {mode!r}, expected constant, {', '.join(PLACES)}")
    for axis, (n, (lo, hi)) in enumerate(zip(shape, margins)):
        reach = {"reflect": n - 1, "circular": n}.get(mode, np.inf if n else 0)
        if max(lo, hi) > reach:
            raise ValueError(f"pad: mode {mode!r} reaches {reach} places beyond an axis of {n}, "
                             f"got padding {max(lo, hi)}")
        if lo or hi:
            a = take(a, (slice(None),) * axis + (PLACES[mode](np.arange(-lo, n + hi), n),))
    return a if isinstance(a, Tensor) else Tensor(a)
