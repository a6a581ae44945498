"""Targets: what the anchors and regions of one image are to answer.

Ren et al. 2015, section 3.1.2 and 3.1.3; Girshick 2015 (Fast R-CNN), section 2.3; Lin et al. 2017
(RetinaNet), section 4. D21.
"""
from __future__ import annotations

import numpy as np

from tinyvision.boxes.coding import encode
from tinyvision.boxes.matching import match
from tinyvision.boxes.sampling import sample
from tinyvision.boxes.selection import clip, proper
from tinyvision.ops import box_iou


def learnable(target, size) -> np.ndarray:
    """Which objects of a target (see `data.target`) are learned from: bool (M,).

    Not crowds, and none whose box is empty, not finite, or outside the image of (H, W).
    """
    boxes = np.asarray(target["boxes"], np.float32).reshape(-1, 4)
    crowd = np.asarray(target.get("iscrowd", np.zeros(len(boxes), bool)), bool)
    return proper(boxes) & proper(clip(boxes, size)) & ~crowd


def anchor_targets(anchors, boxes, high: float, low: float, force: bool) -> tuple:
    """(matched int64 (T,), see `match`; codes float32 (T, 4), 0 where nothing is matched) of the
    anchors (T, 4) and an image's objects' boxes (M, 4)."""
    matched = match(box_iou(boxes, anchors), high, low, force)
    codes, positive = np.zeros(anchors.shape, np.float32), np.flatnonzero(matched >= 0)
    codes[positive] = encode(boxes[matched[positive]], anchors[positive])
    return matched, codes


def region_samples(proposals, boxes, count: int, positive_fraction: float, overlap: float,
                   random) -> tuple:
    """Which regions of one image the heads learn from: (regions (R, 4), matched int64 (R,)).

    The objects' own boxes (M, 4) count as proposals too, so that there are good ones from the
    first step on. A region is an object from IoU `overlap` on, else background (-1); see `sample`.
    The positives come first.
    """
    regions = np.concatenate((proposals, boxes))
    matched = match(box_iou(boxes, regions), overlap)
    chosen = np.concatenate(sample(matched, count, positive_fraction, random))
    return regions[chosen], matched[chosen]
