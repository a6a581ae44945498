"""Where RoI pool and RoI Align read a map, by the rules of the operations themselves.

Cell (h, w) is the square from (w, h) to (w + 1, h + 1), so that the box (x0, y0, x1, y1) of the
image lies on the map at exactly `spatial_scale` times these numbers.
"""
import math
from typing import NamedTuple

import numpy as np

from tinyvision.draw.board import to_array
from tinyvision.ops.roi_pool import bins, round_half_away


class Bins(NamedTuple):
    """Where the bins of K regions begin and end, in cells: rows (K, P, 2), cols (K, Q, 2)."""
    rows: np.ndarray
    cols: np.ndarray

    def centres(self) -> np.ndarray:
        """(K, P, Q, 2): x and y of the middle of every bin."""
        y, x = self.rows.mean(-1)[:, :, None], self.cols.mean(-1)[:, None]
        return np.stack(np.broadcast_arrays(x, y), -1)


def pool_bins(boxes, output_size, spatial_scale, size=(2**20, 2**20)) -> Bins:
    """The cells that `ops.roi_pool` takes the maximum of: whole ones, by its own rounding.

    boxes: (K, 4), in image pixels. size: of the map, to which bins are clipped.
    """
    corners = round_half_away(_scaled(boxes, spatial_scale))
    P, Q = pair(output_size)
    return Bins(bins(corners[:, 1], corners[:, 3], P, size[0]),
                bins(corners[:, 0], corners[:, 2], Q, size[1]))


def align_bins(boxes, output_size, spatial_scale, aligned=True) -> Bins:
    """The bins of `ops.roi_align`: the exact parts of the box if aligned; else half a cell further
    right and down, and at least one cell in all."""
    corners = _scaled(boxes, spatial_scale) + np.float32(0 if aligned else 0.5)
    return Bins(*(_even(corners[:, k], corners[:, k + 2], count, not aligned)
                  for k, count in zip((1, 0), pair(output_size))))


def _even(start, end, count, grow):
    length = np.maximum(end - start, 1) if grow else end - start
    edges = start[:, None] + length[:, None] / count * np.arange(count + 1)
    return np.stack((edges[:, :-1], edges[:, 1:]), -1)


def _scaled(boxes, scale):
    return to_array(boxes).reshape(-1, 4).astype(np.float32) * np.float32(scale)


def pair(size):
    """(P, Q) of one number or two."""
    return (size, size) if np.ndim(size) == 0 else tuple(size)


def misalignment(boxes, output_size, spatial_scale, how="pool") -> np.ndarray:
    """How far off a bin is read: the distance of its middle from where it should be, in pixels of
    the image, (K, P, Q, 2), x and y.

    Args:
        boxes: (K, 4).
        output_size, spatial_scale: as in `ops.roi_pool`.
        how: "pool" (RoI pool rounds), "align" (RoI Align with aligned=False: half a cell) or
            "aligned" (RoI Align with aligned=True: nothing).

    Raises:
        ValueError: another `how`.
    """
    read, exact = read_and_exact("misalignment", boxes, output_size, spatial_scale, how)
    return (read.centres() - exact.centres()) / spatial_scale


def read_and_exact(name, boxes, output_size, spatial_scale, how):
    """The bins that are read, and those that should be.

    Raises:
        ValueError: another `how`; names the function `name`.
    """
    if how not in ("pool", "align", "aligned"):
        raise ValueError(f'{name}: how is {how!r}, expected "pool", "align" or "aligned"')
    exact = align_bins(boxes, output_size, spatial_scale)
    if how == "pool":
        return pool_bins(boxes, output_size, spatial_scale), exact
    return align_bins(boxes, output_size, spatial_scale, how == "aligned"), exact


def samples(low, high, count):
    """Where `count` regular samples of [low, high) stand; one a cell if count is 0 or less."""
    count = count if count > 0 else max(1, math.ceil(high - low))
    return low + (np.arange(count) + 0.5) * (high - low) / count


def corners(place, size):
    """(cell, weight) pairs that a sample at `place` is read from along an axis of `size` cells:
    the two nearest centres. Empty where `ops.roi_align` counts 0: more than a cell outside."""
    at = place - 0.5                                         # cell h has its centre at h + 0.5
    if not -1 <= at <= size:
        return []
    at = min(max(at, 0), size - 1)
    low = int(at)
    both = (low, 1 - (at - low)), (low + 1, at - low)
    return [(cell, weight) for cell, weight in both if cell < size]


def read(features, y, x):
    """A bilinear sample, as `ops.roi_align` reads it, at a place in cells."""
    H, W = features.shape
    return sum((wy * wx * float(features[h, w])
                for h, wy in corners(y, H) for w, wx in corners(x, W)), 0.0)
