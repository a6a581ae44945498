"""Which detections of one class in one image are right: COCO's rules. Lecture: M2; Lin et al. 2014.

Detections choose in the order of their scores; each takes the free true object that it overlaps
most, if by at least the threshold. Some truth is not to be counted: crowds (any number of
detections may choose the same one, and only the detection's own area is divided by), and objects
whose size is outside the range one asks about. A detection that finds only such truth, or none and
is itself of another size, is neither right nor wrong.
"""
from __future__ import annotations

import numpy as np

from tinyvision.kernel import jit
from tinyvision.metrics.keypoints import COCO_SIGMAS, oks

MISS, HIT, IGNORED = 0, 1, 2
THRESHOLDS = np.linspace(0.5, 0.95, 10)
SIZES = {"all": (0, 1e10), "small": (0, 32 ** 2), "medium": (32 ** 2, 96 ** 2),
         "large": (96 ** 2, 1e10)}                           # areas in pixels, both ends included


def outside(areas, ranges) -> np.ndarray:
    """(A, N) whether each of N areas lies outside each of the A ranges (low, high)."""
    low, high = np.array(ranges, np.float64).T[:, :, None]
    return (areas < low) | (areas > high)


# --- matching -------------------------------------------------------------------------------------
def match(overlaps, thresholds, ignored, crowd) -> np.ndarray:
    """The verdicts, int8 (A, T, D): MISS, HIT or IGNORED, on D detections, best scores first.

    Args:
        overlaps: (D, G) with the true objects.
        thresholds: (T,).
        ignored: bool (A, G), true objects that are not counted, once for every range of areas.
        crowd: bool (G,), those which any number of detections may choose.
    """
    verdicts = np.zeros((len(ignored), len(thresholds), len(overlaps)), np.int8)
    taken = np.zeros((*verdicts.shape[:2], len(crowd)), bool)
    match_all(overlaps, np.minimum(thresholds, 1 - 1e-10), ignored, crowd, taken, verdicts)
    return verdicts


@jit
def match_all(overlaps, thresholds, ignored, crowd, taken, verdicts):
    """Fill verdicts (A, T, D) and taken (A, T, G). Truth that counts is preferred."""
    for a in range(len(ignored)):
        for t in range(len(thresholds)):
            for d in range(len(overlaps)):
                free = overlaps[d], thresholds[t], taken[a, t], crowd, ignored[a]
                g = best(*free, False)
                if g < 0:
                    g = best(*free, True)
                if g >= 0:
                    taken[a, t, g] = True
                    verdicts[a, t, d] = IGNORED if ignored[a, g] else HIT


@jit
def best(row, least, taken, crowd, ignored, kind):
    """The last of the largest overlaps >= `least` in a row, with free truth that is of the kind
    `ignored == kind`; -1 where there is none."""
    found = -1
    for g in range(len(row)):
        if ignored[g] == kind and (crowd[g] or not taken[g]) and row[g] >= least:
            found, least = g, row[g]
    return found


# --- overlaps -------------------------------------------------------------------------------------
@np.errstate(invalid="ignore", over="ignore", divide="ignore")     # boxes of a diverged training
def ratios(shared, found_areas, true_areas, crowd) -> np.ndarray:
    """(D, G): shared / union; with a crowd, shared / the detection's area; 0 where nothing is
    shared."""
    union = found_areas[:, None] + np.where(crowd, 0, true_areas - shared)
    return np.where(shared > 0, shared / union, 0)


@np.errstate(invalid="ignore", over="ignore")
def shared_by_boxes(found, true) -> np.ndarray:
    """(D, G) the areas that boxes (D, 4) and (G, 4) have in common."""
    sides = np.minimum(found[:, None, 2:], true[:, 2:]) - np.maximum(found[:, None, :2],
                                                                     true[:, :2])
    return np.maximum(sides, 0).prod(-1)


def shared_by_masks(found, true) -> np.ndarray:
    """(D, G) how many pixels masks (D, H, W) and (G, H, W) have in common."""
    if found.shape[1:] != true.shape[1:]:
        raise ValueError(f"DetectionAP.add: masks of {found.shape[1:]} were predicted, expected "
                         f"the size of the target's, {true.shape[1:]}")
    pixels = found[0].size
    exact = np.float32 if pixels <= 2 ** 24 else np.float64  # float32 counts exactly up to there
    found, true = (masks.reshape(len(masks), pixels).astype(exact) for masks in (found, true))
    return (found @ true.T).astype(np.float64)


@np.errstate(invalid="ignore", over="ignore")
def box_areas(boxes) -> np.ndarray:
    """(N,) width times height of boxes (N, 4)."""
    return (boxes[:, 2:] - boxes[:, :2]).prod(-1)


class Boxes:
    """Detections compared by their boxes.

    Of every kind: `found_needs` and `true_needs`, the keys it looks at; `sizes`, names of the
    ranges of areas; `most`, how many detections an image may have, from the best on.
    """
    found_needs = true_needs = ("boxes",)
    sizes = tuple(SIZES)
    most, sigmas = (1, 10, 100), ()

    def check(self, where, record):
        """Refuse, with a ValueError, what is not of this kind."""

    def areas(self, found):
        """(D,) of what was found: this decides which sizes it belongs to."""
        return box_areas(found["boxes"])

    true_areas = areas              # where the truth does not say; of keypoints' boxes, too

    def overlaps(self, found, true):
        """(D, G) of what was found with the truth; there is at least one of each."""
        found, crowd, true = found["boxes"], true["iscrowd"], true["boxes"]
        return ratios(shared_by_boxes(found, true), box_areas(found), box_areas(true), crowd)

    def uncounted(self, true):
        """(G,) true objects that are not counted, whatever their size."""
        return true["iscrowd"]


class Masks(Boxes):
    """Detections compared by their masks."""
    found_needs = true_needs = ("masks",)

    def areas(self, found):
        """(D,) pixels."""
        return found["masks"].sum((1, 2), dtype=np.float64)

    true_areas = areas

    def overlaps(self, found, true):
        """(D, G) of masks."""
        shared = shared_by_masks(found["masks"], true["masks"])
        return ratios(shared, self.areas(found), self.areas(true), true["iscrowd"])


class Keypoints(Boxes):
    """Detections compared by their keypoints; small objects have none in COCO."""
    found_needs, true_needs = ("keypoints",), ("keypoints", "boxes")
    sizes = "all", "medium", "large"
    most = (20,)

    def __init__(self, sigmas=None):
        self.sigmas = tuple(np.ravel(COCO_SIGMAS if sigmas is None else sigmas).tolist())
        if not all(0 < sigma < np.inf for sigma in self.sigmas):
            raise ValueError(f"DetectionAP: sigmas are positive numbers, got {self.sigmas}")

    def check(self, where, record):
        """As many keypoints as sigmas."""
        K = record["keypoints"].shape[1]
        if len(record["keypoints"]) and K != len(self.sigmas):
            raise ValueError(f"{where}: objects have {K} keypoints, but there are "
                             f"{len(self.sigmas)} sigmas; DetectionAP takes `sigmas`, one for each")

    @np.errstate(invalid="ignore", over="ignore")
    def areas(self, found):
        """(D,) of the boxes around all keypoints."""
        return np.ptp(found["keypoints"][:, :, :2], axis=1).prod(-1)

    def overlaps(self, found, true):
        """(D, G) similarities."""
        return oks(found["keypoints"], true["keypoints"], true["area"], true["boxes"],
                   np.array(self.sigmas))

    def uncounted(self, true):
        """Crowds, and objects without a keypoint."""
        return true["iscrowd"] | ~(true["keypoints"][:, :, 2] > 0).any(1)
