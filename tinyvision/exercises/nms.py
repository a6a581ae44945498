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
Beware: `np.array(kept)` of an empty list is an array of floats; `np.array(kept, dtype=np.int64)` is
one of integers, empty or not.
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.box_iou import borrowed
from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions
from tinyvision.exercises.ties import WHICH, not_stable, pairs


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

def _iou(boxes):
    """(N, N) IoUs of boxes with one another; NaN for two empty ones."""
    size = np.maximum(np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
                      - np.maximum(boxes[:, None, :2], boxes[None, :, :2]), 0)
    both, area = size[..., 0] * size[..., 1], np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    with np.errstate(invalid="ignore"):                      # of two empty boxes
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


def _any_overlap(boxes, scores, iou_threshold):
    return nms(boxes, scores, 0.0)


def _by(overlap):
    """`nms` by a wrong IoU of two sets of boxes."""
    return lambda boxes, scores, iou_threshold: _greedy(
        _best_first(scores), overlap(boxes, boxes) > iou_threshold)


def _hitting(hit):
    """`nms` in which ``hit(IoU, threshold)`` says who drops whom."""
    return lambda boxes, scores, iou_threshold: _greedy(
        _best_first(scores), hit(_iou(boxes), iou_threshold))


def _ordered(order, answer=lambda kept, scores: kept):
    """`nms` in a wrong order, with its answer in the same or in another one."""
    return lambda boxes, scores, iou_threshold: answer(
        _greedy(order(scores), _iou(boxes) > iou_threshold), scores)


def _by_score(kept, scores):
    return kept[np.argsort(-scores[kept], kind="stable")]


def _order_of_places(boxes, scores, iou_threshold):
    order = _best_first(scores)
    return nms(boxes[order], -np.arange(len(order)), iou_threshold)


def _better_drop(boxes, scores, iou_threshold):
    order, hit = _best_first(scores), _iou(boxes) > iou_threshold
    return np.array([j for j in order if not hit[scores > scores[j], j].any()], np.int64)


def _with_the_last_kept(boxes, scores, iou_threshold):
    hit, keep = _iou(boxes) > iou_threshold, []
    for j in _best_first(scores):
        if not keep or not hit[keep[-1], j]:
            keep.append(j)
    return np.array(keep, np.int64)


def _with_the_one_before(boxes, scores, iou_threshold):
    order, hit = _best_first(scores), _iou(boxes) > iou_threshold
    return np.array([j for k, j in enumerate(order) if not k or not hit[order[k - 1], j]], np.int64)


def _removed_while_walking(boxes, scores, iou_threshold):
    left, hit, keep = list(_best_first(scores)), _iou(boxes) > iou_threshold, []
    while left:
        keep.append(left.pop(0))
        for j in left:
            if hit[keep[-1], j]:
                left.remove(j)
    return np.array(keep, np.int64)


def _not_clipped(boxes):
    """(products of overlaps' sides, unions) where negative sides are left as they are."""
    size = (np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
            - np.maximum(boxes[:, None, :2], boxes[None, :, :2]))
    both, area = size.prod(axis=-1), (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return both, area[:, None] + area - both


def _not_clipped_at_all(boxes, scores, iou_threshold):
    both, union = _not_clipped(boxes)
    return _greedy(_best_first(scores), both / np.where(union > 0, union, 1) > iou_threshold)


def _not_clipped_and_nan(boxes, scores, iou_threshold):
    both, union = _not_clipped(boxes)
    with np.errstate(invalid="ignore", divide="ignore"):
        return _greedy(_best_first(scores), ~(both / union <= iou_threshold))


def _turned_positive(boxes, scores, iou_threshold):
    """Negative sides lose their sign; unions are at least next to nothing."""
    size = np.abs(np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
                  - np.maximum(boxes[:, None, :2], boxes[None, :, :2]))
    both, area = size.prod(axis=-1), (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return _greedy(_best_first(scores),
                   both > iou_threshold * np.maximum(area[:, None] + area - both, 1e-30))


def _one_more_where_they_meet(boxes, scores, iou_threshold):
    """Sides count one more pixel, those of boxes that do not overlap stay 0."""
    size = (np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
            - np.maximum(boxes[:, None, :2], boxes[None, :, :2]))
    both = np.where((size > 0).all(axis=-1), (size + 1).prod(axis=-1), 0)
    area = (boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1)
    return _greedy(_best_first(scores), both / (area[:, None] + area - both) > iou_threshold)


def _kept_in(answer):
    """The right boxes in another form: ``answer(kept, boxes, scores)``."""
    return lambda boxes, scores, iou_threshold: answer(nms(boxes, scores, iou_threshold), boxes,
                                                       scores)


def _marked(kept, boxes, scores):
    return np.isin(np.arange(len(boxes)), kept)


def _marked_in_order(kept, boxes, scores):
    return np.isin(_best_first(scores), kept)


MISTAKES = (
    Mistake("nms", "at-the-threshold", "A box whose IoU is exactly the threshold stays: greater, "
            "or greater or equal?", _at_threshold),
    Mistake("nms", "unsorted", "The boxes are visited in the order in which they came. Which one "
            "should be selected first?", _unsorted),
    Mistake("nms", "worst-first", "The lowest score is selected first: in which direction does "
            "argsort sort?", _worst_first),
    Mistake("nms", "ascending-indices", "The right boxes, sorted by index. The answer is ordered "
            "by score.", _ascending),
    Mistake("nms", "tie-order", "Of equal scores the lower index comes first, not so in your "
            "order. " + WHICH,
            _tie_order),
    Mistake("nms", "best-only", "Only the very best box drops others. What happens after it has "
            "been kept?", _best_only),
    Mistake("nms", "dropped-boxes-drop", "A box that was itself dropped still drops others in "
            "your code.", _dead_drop),
    Mistake("nms", "any-overlap", "Every box that overlaps a kept one is dropped, however "
            "little. What is the threshold for?", _any_overlap),
    Mistake("nms", "nan", "Two empty boxes have an empty union: what is 0 / 0, and is it less than "
            "a threshold?", _hitting(lambda iou, limit: ~(iou <= limit))),
    Mistake("nms", "far-boxes-dropped", "You drop the boxes that overlap little, and keep the "
            "others.", _hitting(lambda iou, limit: iou <= limit)),
    Mistake("nms", "nothing-dropped", "All boxes are kept, in the right order. When is one "
            "dropped?",
            _hitting(lambda iou, limit: iou < 0)),
    Mistake("nms", "places-in-the-order", "Your indices count the boxes as they were sorted. The "
            "answer counts them as they came.", _order_of_places),
    Mistake("nms", "neighbours-only", "A box stays in your code although one that was kept "
            "before overlaps it. How many of those that are left may a kept box drop?",
            _with_the_last_kept),
    Mistake("nms", "removed-while-walking", "You remove boxes from the list that you walk through: "
            "the one after a box removed is skipped.", _removed_while_walking),
    *(Mistake("nms", "mask-for-indices", "You return one truth for each box. The answer is the "
              "indices of the boxes kept (np.flatnonzero of a mask), the best first.",
              _kept_in(form)) for form in (_marked, _marked_in_order)),
    Mistake("nms", "boxes-for-indices", "You return the boxes kept. The answer is their indices.",
            _kept_in(lambda kept, boxes, scores: np.array([boxes[i] for i in kept]))),
)

_BY_WRONG_OVERLAPS = borrowed("nms", _by)
MISTAKES += _BY_WRONG_OVERLAPS
MISTAKES += not_stable([one for one in MISTAKES
                        if one.name not in ("unsorted", "far-boxes-dropped")], at=1)

MISTAKES += versions(MISTAKES, {
    ("nms", "not-clipped"): (_not_clipped_at_all, _not_clipped_and_nan, _turned_positive),
    ("nms", "plus-one"): (_one_more_where_they_meet,),
    ("nms", "at-the-threshold"): (_hitting(lambda iou, limit: ~(iou < limit)),),
    ("nms", "unsorted"): (
        _ordered(lambda scores: np.arange(len(scores)), _by_score),
        _ordered(lambda scores: np.arange(len(scores))[::-1]),
        _ordered(lambda scores: np.arange(len(scores))[::-1], _by_score)),
    ("nms", "worst-first"): (
        _ordered(lambda scores: _best_first(scores)[::-1]),
        _ordered(lambda scores: np.argsort(scores, kind="stable"), _by_score)),
    ("nms", "ascending-indices"): (_ordered(_best_first, lambda kept, scores: kept[::-1]),),
    ("nms", "dropped-boxes-drop"): (_better_drop,),
    ("nms", "far-boxes-dropped"): (_hitting(lambda iou, limit: ~(iou > limit)),),
    ("nms", "neighbours-only"): (_with_the_one_before,),
})


# ---- cases ---------------------------------------------------------------------------------------

def _placed(rng, boxes, scores, last=0, scale=1.0):
    """The boxes moved by whole pixels, scaled, and, but for so many last ones, in a random order:
    no answer is known beforehand."""
    dx, dy = rng.integers(0, 5, 2)
    first = len(boxes) - last
    order = [*rng.permutation(first), *range(first, len(boxes))]
    boxes = (np.array(boxes, float) + [dx, dy, dx, dy]) * scale
    return boxes[order], np.array(scores, float)[order]


def _told_apart(*args):
    """Whether every wrong IoU makes another answer of these boxes, and a list that shrinks while
    it is walked, too."""
    answers = [tuple(mistake.implementation(*args)) for mistake in _BY_WRONG_OVERLAPS]
    answers.append(tuple(_removed_while_walking(*args)))
    return len({tuple(nms(*args)), *answers}) == 1 + len(answers)


def _heaps(rng, heaps, each, threshold):
    """Random heaps of boxes; drawn again while an IoU is so near the threshold that float32
    might decide otherwise, or while a wrong IoU or walk makes no difference."""
    while True:
        corner = rng.uniform(0, 35, (heaps, 1, 2)) + rng.uniform(-1.3, 1.3, (heaps, each, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(3, 7, (heaps, each, 2))], axis=-1)
        scores = rng.permutation(np.linspace(0.05, 0.95, heaps * each))
        args = boxes.reshape(-1, 4), scores, threshold
        if np.abs(_iou(args[0]) - threshold).min() > 1e-3 and _told_apart(*args):
            return args


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    chain = [(0, 0, 6, 4), (2, 0, 8, 4), (4, 0, 10, 4), (6, 0, 12, 4), (20, 0, 26, 5),
             (0, 9, 6, 12)]
    third = [*chain, (23, 0, 29, 5)]                # a third of one box, which is little above 0.3
    nested = [(0, 0, 10, 10), (1, 1, 5, 4), (6, 5, 9, 9), (0, 1, 10, 10), (2, 2, 4, 3),
              (1, 1, 5, 4)]
    one, other = (0, 0, 4, 4), (0, 0, 4, 3)
    far = [(6, 6, 8, 9), (9, 0, 12, 2), (0, 9, 3, 11), (9, 9, 13, 10)]
    halves = [(0, 0, 2, 2), (0, 0, 2, 1), (0, 5, 3, 7), (5, 5, 8, 8), (5, 5, 8, 7), (2, 6, 4, 8)]
    empty = [(3, 3, 3, 3), (3, 3, 3, 3), (0, 0, 0.5, 0.5), (5, 5, 5.5, 5.5), (9, 0, 9.5, 0.5)]
    args = [
        ("two boxes for one object", 1, (*_placed(
            rng, [one, other, *far[:3]], (0.6, 0.9, 0.3, 0.5, 0.7)), 0.5)),
        ("no boxes", 0.25, (np.zeros((0, 4)), np.zeros(0), 0.5)),
        ("the best comes last", 1, (*_placed(
            rng, [*far, one, other], (0.3, -0.1, -0.2, 0.1, 0.0, 0.8), last=1), 0.5)),
        ("exactly at the threshold", 1, (*_placed(
            rng, halves, (0.7, 0.8, 0.9, 0.6, 0.5, 0.4)), 0.5)),
        ("many equal scores", 1, (*_placed(rng, *pairs(rng, 32, (0.25, 0.5, 0.75, 1))), 0.5)),
        ("a chain", 1, (*_placed(rng, third, (0.9, 0.8, 0.7, 0.6, 0.95, 0.5, 0.4)), 0.3)),
        ("one inside the other", 1, (*_placed(rng, nested, (0.9, 0.8, 0.3, 0.7, 0.2, 0.1)), 0.5)),
        ("boxes smaller than 1", 1, (*_placed(rng, chain, (0.4, 0.9, 0.1, 0.6, 0.5, 0.2),
                                              scale=0.03), 0.49)),
        ("empty boxes, and far ones", 1, (*_placed(rng, empty, (0.9, 0.8, 0.7, 0.6, 0.5)), 0.3)),
        ("many boxes", 1.75, _heaps(rng, 7, 5, 0.35)),
    ]
    return [Case("nms", name, arguments, points) for name, points, arguments in args]


EXERCISE = Exercise(
    name="nms", title="Non-maximum suppression", lecture="Kempten L 10.5, Non Maximum Suppression",
    source="tinyvision/ops/nms.py", functions={"nms": nms}, cases=cases, mistakes=MISTAKES)
