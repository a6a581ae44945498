r"""# Non-maximum suppression

Write `nms`: a detector answers with many boxes for one object; keep the best of each heap.

1. Select the box with the highest score among those that are left; keep it.
2. Drop every box that is left whose IoU with it is **greater than** the threshold.
3. Repeat until no box is left.

$$\text{IoU} = \frac{\text{area of intersection}}{\text{area of union}}$$

**By hand.** Threshold 0.5:

    index   box              score
      0     (0, 0, 4, 4)     0.6       IoU with box 1 is 12 / 16 = 0.75: dropped
      1     (0, 0, 4, 3)     0.9       the best: kept
      2     (6, 6, 8, 9)     0.3       far away: kept               answer [1, 2]

**Conventions.** A box is (x0, y0, x1, y1) in continuous coordinates (no "+1"). A box whose IoU is
exactly the threshold stays. Of equal scores the lower index comes first. A box that was dropped
drops nothing itself. An empty box overlaps nothing: its IoU is 0, also with its like, never NaN.
No boxes give an empty array of integers.

**Shapes.** boxes (N, 4) and scores (N,) give the indices that were kept, int64, by decreasing
score.
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake


def nms(boxes, scores, iou_threshold):
    """Indices of the boxes that no better box suppresses.

    Arguments:
        boxes: (N, 4) boxes (x0, y0, x1, y1).
        scores: (N,) their scores.
        iou_threshold: a box is dropped where its IoU with a kept one is greater than this.

    Returns:
        int64 indices of the boxes kept, by decreasing score; equal scores by increasing index.
    """
    ### BEGIN SOLUTION
    def iou(box, others):
        size = np.maximum(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]),
                          0)
        intersection = size[:, 0] * size[:, 1]
        union = np.prod(box[2:] - box[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1) \
            - intersection
        return intersection / np.where(union > 0, union, 1)

    left, keep = np.argsort(-scores, kind="stable"), []
    while len(left):
        best, left = left[0], left[1:]
        keep.append(best)
        left = left[iou(boxes[best], boxes[left]) <= iou_threshold]
    return np.array(keep, np.int64)
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _iou(boxes, extra=0.0, smaller=False):
    """(N, N) IoUs of boxes with one another, with what can go wrong in them."""
    size = np.maximum(np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
                      - np.maximum(boxes[:, None, :2], boxes[None, :, :2]) + extra, 0)
    both, area = size[..., 0] * size[..., 1], np.prod(boxes[:, 2:] - boxes[:, :2] + extra, axis=1)
    if smaller:
        return both / np.minimum(area[:, None], area)
    return both / (area[:, None] + area - both)


def _greedy(order, hit):
    """Walk through the boxes in that order; ``hit[i, j]``: box i, if kept, drops box j."""
    keep = []
    for j in order:
        if not any(hit[i, j] for i in keep):
            keep.append(j)
    return np.array(keep, np.int64)


def _best_first(scores):
    return np.argsort(-scores, kind="stable")


def _at_threshold(boxes, scores, iou_threshold):
    return _greedy(_best_first(scores), _iou(boxes) >= iou_threshold)


def _plus_one(boxes, scores, iou_threshold):
    return _greedy(_best_first(scores), _iou(boxes, extra=1.0) > iou_threshold)


def _smaller_area(boxes, scores, iou_threshold):
    return _greedy(_best_first(scores), _iou(boxes, smaller=True) > iou_threshold)


def _unsorted(boxes, scores, iou_threshold):
    return _greedy(range(len(boxes)), _iou(boxes) > iou_threshold)


def _worst_first(boxes, scores, iou_threshold):
    return _greedy(np.argsort(scores, kind="stable"), _iou(boxes) > iou_threshold)


def _ascending(boxes, scores, iou_threshold):
    return np.sort(nms(boxes, scores, iou_threshold))


def _tie_order(boxes, scores, iou_threshold):
    return _greedy(np.argsort(scores, kind="stable")[::-1], _iou(boxes) > iou_threshold)


def _best_only(boxes, scores, iou_threshold):
    order = _best_first(scores)
    hit = _iou(boxes) > iou_threshold
    return np.array([j for j in order if j == order[0] or not hit[order[0], j]], np.int64)


def _dead_drop(boxes, scores, iou_threshold):
    order = _best_first(scores)
    hit = _iou(boxes) > iou_threshold
    return np.array([j for k, j in enumerate(order) if not hit[order[:k], j].any()], np.int64)


def _read_as_sizes(boxes, scores, iou_threshold):
    return nms(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1), scores,
               iou_threshold)


def _any_overlap(boxes, scores, iou_threshold):
    return nms(boxes, scores, 0.0)


MISTAKES = (
    Mistake("nms", "at-the-threshold", "A box whose IoU is exactly the threshold stays: greater, "
            "or greater or equal?", _at_threshold),
    Mistake("nms", "plus-one", "Coordinates are continuous: a box from 0 to 2 is 2 wide. The + 1 "
            "belongs to boxes that count whole pixels.", _plus_one),
    Mistake("nms", "smaller-area", "You divide the intersection by the smaller box. What does "
            "the U in IoU stand for?", _smaller_area),
    Mistake("nms", "unsorted", "The boxes are visited in the order in which they came. Which one "
            "should be selected first?", _unsorted),
    Mistake("nms", "worst-first", "The lowest score is selected first: in which direction does "
            "argsort sort?", _worst_first),
    Mistake("nms", "ascending-indices", "The right boxes, sorted by index. The answer is ordered "
            "by score.", _ascending),
    Mistake("nms", "tie-order", "Of equal scores the higher index comes first in your order. "
            "Which sorts are stable, and what does turning one around do to ties?", _tie_order),
    Mistake("nms", "best-only", "Only the very best box drops others. What happens after it has "
            "been kept?", _best_only),
    Mistake("nms", "dropped-boxes-drop", "A box that was itself dropped still drops others in "
            "your code.", _dead_drop),
    Mistake("nms", "read-as-sizes", "The last two numbers of a box are its other corner, not its "
            "width and height.", _read_as_sizes),
    Mistake("nms", "any-overlap", "Every box that overlaps a kept one is dropped, however "
            "little. What is the threshold for?", _any_overlap),
)


# ---- cases ---------------------------------------------------------------------------------------

def _placed(rng, boxes, scores, shuffle=True, scale=1.0):
    """The boxes moved by whole pixels, scaled, and in a random order."""
    dx, dy = rng.integers(0, 5, 2)
    order = rng.permutation(len(boxes)) if shuffle else np.arange(len(boxes))
    boxes = (np.array(boxes, float) + [dx, dy, dx, dy]) * scale
    return boxes[order], np.array(scores, float)[order]


def _heaps(rng, heaps, each, threshold):
    """Random heaps of boxes; drawn again while an IoU is so near the threshold that float32
    might decide otherwise."""
    while True:
        corner = rng.uniform(0, 3, (heaps, 1, 2)) + rng.uniform(-0.25, 0.25, (heaps, each, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(0.6, 1.2, (heaps, each, 2))], axis=-1)
        boxes = boxes.reshape(-1, 4)
        if np.abs(_iou(boxes) - threshold).min() > 1e-3:
            return boxes, rng.permutation(np.linspace(0.05, 0.95, len(boxes)))


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    chain = [(0, 0, 6, 4), (2, 0, 8, 4), (4, 0, 10, 4), (6, 0, 12, 4), (20, 0, 26, 5)]
    nested = [(0, 0, 10, 10), (1, 1, 5, 4), (6, 5, 9, 9)]
    tied = [(0, 0, 4, 5), (0, 1, 4, 6), (9, 9, 12, 12), (9, 8, 12, 11), (30, 30, 34, 32)]
    pair = [(0, 0, 4, 4), (0, 0, 4, 3), (6, 6, 8, 9)]
    args = [
        ("two boxes for one object", 1, (*_placed(rng, pair, (0.6, 0.9, 0.3)), 0.5)),
        ("no boxes", 0.5, (np.zeros((0, 4)), np.zeros(0), 0.5)),
        ("the best comes last", 1, (*_placed(rng, pair, (-0.2, 0.0, 0.8), shuffle=False), 0.5)),
        ("exactly at the threshold", 1,
         (*_placed(rng, [(0, 0, 2, 2), (0, 0, 2, 1), (0, 5, 3, 7)], (0.7, 0.8, 0.9)), 0.5)),
        ("ties", 1, (*_placed(rng, tied, (0.5, 0.5, 0.7, 0.7, 0.5), shuffle=False), 0.4)),
        ("a chain", 1, (*_placed(rng, chain, (0.9, 0.8, 0.7, 0.6, 0.95)), 0.3)),
        ("one inside the other", 1, (*_placed(rng, nested, (0.9, 0.8, 0.3)), 0.5)),
        ("boxes smaller than 1", 1, (*_placed(rng, chain, (0.4, 0.9, 0.1, 0.6, 0.5), scale=0.03),
                                     0.45)),
        ("empty boxes, and far ones", 1,
         (*_placed(rng, [(3, 3, 3, 3), (3, 3, 3, 3), (0, 0, 0.5, 0.5), (5, 5, 5.5, 5.5)],
                   (0.9, 0.8, 0.7, 0.6)), 0.3)),
        ("many boxes", 1.5, (*_heaps(rng, 4, 5, 0.35), 0.35)),
    ]
    return [Case("nms", name, arguments, points) for name, points, arguments in args]


EXERCISE = Exercise(
    name="nms", title="Non-maximum suppression", lecture="Kempten L 10.5, Non Maximum Suppression",
    source="tinyvision/ops/nms.py", functions={"nms": nms}, cases=cases, mistakes=MISTAKES)
