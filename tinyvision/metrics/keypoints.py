"""Object keypoint similarity (OKS): how near the points of a pose are to the true ones.

    OKS = mean over the keypoints i that are there of exp(-d_i² / (2 s² k_i²)),   k_i = 2 sigma_i

d_i is the distance, s² the area of the object, and sigma_i the spread of people who marked this
keypoint (an eye is marked to a pixel, a hip is not). It stands where IoU stands for boxes. Lecture:
I2; https://cocodataset.org/#keypoints-eval.
"""
from __future__ import annotations

import numpy as np

COCO_SIGMAS = np.array([.26, .25, .25, .35, .35, .79, .79, .72, .72, .62, .62, 1.07, 1.07, .87,
                        .87, .89, .89]) / 10
PIXEL = 0.5                # COCO counts pixels; our coordinate of the first one's centre is 0.5


@np.errstate(invalid="ignore", over="ignore")                # points of a diverged training
def oks(found, true, areas, boxes, sigmas) -> np.ndarray:
    """The similarity (D, G) of D found poses with G true ones.

    Args:
        found, true: (D, K, 3) and (G, K, 3): x, y, and (looked at in the true ones) visibility.
        areas: (G,) of the true objects, in pixels.
        boxes: (G, 4), which serve where no keypoint is there: the distance is then the one to the
            box, made three times as wide and high, and every keypoint counts.
        sigmas: (K,).
    """
    there = true[:, :, 2] > 0                                                   # (G, K)
    bare = ~there.any(1)
    apart = ((found[:, None, :, :2] - true[None, :, :, :2]) ** 2).sum(-1)       # (D, G, K)
    if bare.any():
        apart[:, bare] = apart_from_boxes(found[:, :, :2] - PIXEL, boxes[bare])
        there[bare] = True
    spread = 2 * (2 * sigmas) ** 2 * (areas[:, None] + np.spacing(1))
    return (np.exp(-apart / spread) * there).sum(-1) / there.sum(1)


def apart_from_boxes(points, boxes) -> np.ndarray:
    """Squared distances (D, G, K) of points (D, K, 2) from boxes (G, 4) three times their size."""
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    side = high - low
    points = points[:, None]
    beyond = np.maximum(low - side - points, 0) + np.maximum(points - high - side, 0)
    return (beyond ** 2).sum(-1)
