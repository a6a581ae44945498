"""Masks: from the image into a region's small grid, to learn from, and back, to be drawn.

He et al. 2017 (Mask R-CNN), section 3: the target is what an RoI and its object's mask have in
common; an answer is resized to the RoI's size and cut at 0.5. I1.
"""
from __future__ import annotations

import numpy as np

from tinyvision.ops import roi_align


def crop_masks(masks, boxes, size: int) -> np.ndarray:
    """What each box (K, 4) holds of its mask (K, H, W): float32 (K, size, size), from 0 to 1.

    Each cell is the mean of bilinear samples (RoI Align, aligned), one a pixel: the part of the
    cell that the mask covers.
    """
    rois = np.concatenate((np.arange(len(boxes), dtype=np.float32)[:, None], boxes), 1)
    maps = np.asarray(masks, np.float32)[:, None]
    return roi_align(maps, rois, size, aligned=True).numpy()[:, 0]


def paste_masks(masks, boxes, size) -> np.ndarray:
    """Masks (K, P, P) of probabilities, drawn into their boxes (K, 4): float32 (K, H, W), 0 around.

    size: the image's (H, W). Cell centres lie as in `crop_masks`; between them the values are
    interpolated, beyond the outermost they fade out, as if framed by zeros. A pixel is asked at
    its centre. (torchvision rounds the box to whole pixels and resizes to it.)
    """
    columns = tents(boxes[:, 0], boxes[:, 2], size[1], masks.shape[2])
    rows = tents(boxes[:, 1], boxes[:, 3], size[0], masks.shape[1])
    return rows @ masks.astype(np.float32) @ columns.transpose(0, 2, 1)


def tents(start, end, size: int, cells: int) -> np.ndarray:
    """(K, size, cells): how much each pixel along an axis takes from each cell of [start, end]:
    max(0, 1 - distance), in cells."""
    pixel = np.arange(size, dtype=np.float32) + 0.5
    side = np.maximum(end - start, 1e-6)[:, None]
    place = (pixel - start[:, None]) / side * cells - 0.5
    return np.maximum(0, 1 - np.abs(place[:, :, None] - np.arange(cells, dtype=np.float32)))
