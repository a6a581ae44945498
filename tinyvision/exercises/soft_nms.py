r"""# Soft-NMS

Write `soft_nms` and `soft_nms_linear`: a box that overlaps a better one loses score, not its life.

Non-maximum suppression drops every box whose IoU with a better one is over a threshold; where two
objects stand close together, the second one's box goes, too. Soft-NMS (Bodla et al. 2017) only
lowers the scores:

1. Take the box with the highest score among those that are left. If that score is **less than**
   score_threshold, stop.
2. Multiply the score of each box that is left by a factor that falls with its IoU o with the box
   taken:

$$\text{Gaussian (Eq. 3):}\quad f(o) = e^{-o^2 / \sigma} \qquad\qquad
\text{linear (Eq. 2):}\quad f(o) = \begin{cases} 1 - o & o \ge \text{threshold} \\ 1 & \text{else}
\end{cases}$$

3. Repeat until no box is left.

**By hand.** Linear, threshold 0.5, score_threshold 0.25:

    index   box              score
      0     (0, 0, 4, 4)     0.8       after box 1 (IoU 12 / 16 = 0.75): 0.8 * 0.25 = 0.2
      1     (0, 0, 4, 3)     0.9       the best: taken
      2     (6, 6, 8, 9)     0.3       far away: taken with 0.3; then 0.2 < 0.25: stop
                                       answer [1, 2] and [0.9, 0.3]

**Conventions.** A box is (x0, y0, x1, y1) in continuous coordinates (no "+1"). Of equal scores the
lower index is taken first. A box keeps the score with which it was taken.

**Shapes.** boxes (N, 4) and scores (N,) give the indices taken, int64 (L,), in the order in which
they were taken, and their new scores (L,).
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyvision.exercises.box_iou import borrowed
from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions
from tinyvision.exercises.ties import WHICH, negated, turned


def iou(box, others):
    """IoU of one box (4,) with others (N, 4)."""
    size = np.maximum(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0)
    both = size[:, 0] * size[:, 1]
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    return both / ((box[2] - box[0]) * (box[3] - box[1]) + areas - both)


def take(boxes, scores, score_threshold, factor):
    """Soft-NMS with scores multiplied by ``factor`` of their IoU with the box taken."""
    scores, left, taken = scores.copy(), np.arange(len(boxes)), []
    while len(left):
        best = left[scores[left].argmax()]
        if scores[best] < score_threshold:
            break
        taken.append(best)
        left = left[left != best]
        scores[left] *= factor(iou(boxes[best], boxes[left]))
    taken = np.array(taken, np.int64)
    return taken, scores[taken]


def soft_nms(boxes, scores, sigma, score_threshold):
    """Soft-NMS with the Gaussian factor exp(-IoU^2 / sigma).

    Arguments:
        boxes: (N, 4) boxes (x0, y0, x1, y1).
        scores: (N,) their scores.
        sigma: how slowly the factor falls.
        score_threshold: it ends when no score is at least this.

    Returns:
        (indices, new scores): int64 (L,) in the order in which they were taken, and (L,).
    """
    ### BEGIN SOLUTION
    return take(boxes, scores, score_threshold, lambda o: np.exp(-o ** 2 / sigma))
    ### END SOLUTION


def soft_nms_linear(boxes, scores, iou_threshold, score_threshold):
    """Soft-NMS with the linear factor: 1 - IoU where the IoU is at least the threshold.

    Arguments:
        boxes, scores, score_threshold: as in `soft_nms`.
        iou_threshold: a smaller overlap costs nothing.

    Returns:
        as `soft_nms`.
    """
    ### BEGIN SOLUTION
    return take(boxes, scores, score_threshold, lambda o: np.where(o >= iou_threshold, 1 - o, 1))
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _gaussian(take, factor):
    """A wrong `soft_nms` from a wrong way to take boxes or a wrong factor of (IoU, sigma)."""
    return lambda boxes, scores, sigma, least: take(boxes, scores, least,
                                                    lambda o: factor(o, sigma))


def _linear(take, factor):
    return lambda boxes, scores, limit, least: take(boxes, scores, least,
                                                    lambda o: factor(o, limit))


def _bell(o, sigma):
    return np.exp(-o ** 2 / sigma)


def _ramp(o, limit):
    return np.where(o >= limit, 1 - o, 1)


def _best_first(scores):
    return np.argsort(-scores, kind="stable")


def _sorted_once(boxes, scores, least, factor, sort=_best_first):
    order, scores = sort(scores), scores.copy()
    for k, best in enumerate(order):
        scores[order[k + 1:]] *= factor(iou(boxes[best], boxes[order[k + 1:]]))
    kept = order[scores[order] >= least]
    return kept, scores[kept]


def _old_scores(boxes, scores, least, factor):
    taken, _ = take(boxes, scores, least, factor)
    return taken, scores[taken]


def _by_index(boxes, scores, least, factor):
    taken, new = take(boxes, scores, least, factor)
    return np.sort(taken), new[np.argsort(taken)]


def _at_the_end(boxes, scores, least, factor):
    taken, new = take(boxes, scores, np.nextafter(least, 1), factor)
    return taken, new


def _filtered_before(boxes, scores, least, factor):
    enough = np.flatnonzero(scores >= least)
    taken, new = take(boxes[enough], scores[enough], -1, factor)
    return enough[taken], new


def _never_ends(boxes, scores, least, factor):
    return take(boxes, scores, -1, factor)


def _by(overlap):
    """A way to take boxes by a wrong IoU of two sets of boxes."""
    def wrong(boxes, scores, least, factor):
        table = overlap(boxes, boxes)
        return _taking(scores, least, lambda best, left: factor(table[best, left]))
    return wrong


def _taking(scores, least, factor, best_of=np.argmax, itself=False, earlier=False,
            together=lambda old, new, lower: new * lower):
    """`take` by factors of (box taken, others), with one piece exchanged: the box taken, or those
    taken earlier, lose as well; ``together``: what comes of (old score, score now, factor)."""
    new, left, taken = scores.copy(), list(range(len(scores))), []
    while left:
        best = left[best_of(new[left])]
        if new[best] < least:
            break
        left.remove(best)
        losers = left + [best] * itself + taken * earlier
        new[losers] = together(scores[losers], new[losers], factor(best, losers))
        taken.append(best)
    taken = np.array(taken, np.int64)
    return taken, new[taken]


def _taking_but(**how):
    def wrong(boxes, scores, least, factor):
        return _taking(scores, least, lambda best, others: factor(iou(boxes[best], boxes[others])),
                       **how)
    return wrong


def _last_best(scores):
    return len(scores) - 1 - scores[::-1].argmax()


def _sorted_but(stop=False, skip=False, again=False, sort=_best_first):
    """Sorted once; stopped at the first low score, or low boxes skipped, or sorted at the end."""
    def wrong(boxes, scores, least, factor):
        order, scores, kept = sort(scores), scores.copy(), []
        for k, best in enumerate(order):
            if scores[best] < least and stop:
                break
            if scores[best] >= least or not skip:
                scores[order[k + 1:]] *= factor(iou(boxes[best], boxes[order[k + 1:]]))
            kept += [best] if scores[best] >= least else []
        kept = np.array(kept, np.int64)
        kept = kept[sort(scores[kept])] if again else kept
        return kept, scores[kept]
    return wrong


def _order_of_places(boxes, scores, least, factor):
    order = _best_first(scores)
    return take(boxes[order], scores[order], least, factor)


_WAYS = (
    ("sorted-once", "The boxes are sorted once, by their first scores. After a score has been "
     "lowered, is the next one in your list still the best?", _sorted_once),
    ("old-scores", "The right boxes with their old scores: the new ones are asked for.",
     _old_scores),
    ("by-index", "The answer is sorted by index. It is wanted in the order in which the boxes "
     "were taken.", _by_index),
    ("at-the-threshold", "A box whose score is exactly score_threshold is still taken.",
     _at_the_end),
    ("filtered-before", "score_threshold is applied to the old scores only. A score that was "
     "lowered under it ends the search, too.", _filtered_before),
    ("largest-overlap-only", "Only the largest overlap counts in your code. Every box that is "
     "taken multiplies the scores that are left.",
     _taking_but(together=lambda old, new, lower: np.minimum(new, old * lower))),
    ("taken-boxes-lose", "A box keeps the score with which it was taken; in your code it is "
     "lowered further, by itself or by the boxes taken later.", _taking_but(earlier=True)),
    ("tie-order", "Of equal scores the lower index is taken first. " + WHICH,
     _taking_but(best_of=_last_best)),
    ("places-in-the-order", "Your indices count the boxes as they were sorted. The answer counts "
     "them as they came.", _order_of_places),
    ("never-ends", "score_threshold has no effect: all boxes are returned.", _never_ends),
    ("last-factor-only", "A box that overlaps two better ones is multiplied by both factors; in "
     "your code the last one replaces the first.",
     _taking_but(together=lambda old, new, lower: old * lower)),
)

MISTAKES = (
    *(Mistake("soft_nms", name, hint, _gaussian(way, _bell)) for name, hint, way in _WAYS),
    Mistake("soft_nms", "not-squared", "The exponent has the IoU itself; the Gaussian has its "
            "square.", _gaussian(take, lambda o, sigma: np.exp(-o / sigma))),
    Mistake("soft_nms", "sigma-squared", "You divide by sigma squared. That is how a Gaussian's "
            "sigma is used elsewhere; look at Eq. 3.",
            _gaussian(take, lambda o, sigma: np.exp(-o ** 2 / sigma ** 2))),
    Mistake("soft_nms", "twice-sigma-squared", "You divide by 2 sigma^2, the normal "
            "distribution's denominator; look at Eq. 3.",
            _gaussian(take, lambda o, sigma: np.exp(-o ** 2 / (2 * sigma ** 2)))),
    Mistake("soft_nms", "sigma-ignored", "Your factor does not depend on sigma.",
            _gaussian(take, lambda o, sigma: np.exp(-o ** 2))),
    Mistake("soft_nms", "half", "The exponent is halved; look at Eq. 3.",
            _gaussian(take, lambda o, sigma: np.exp(-o ** 2 / (2 * sigma)))),
    Mistake("soft_nms", "times-sigma", "You multiply by sigma: a larger sigma should make the "
            "factor fall more slowly.", _gaussian(take, lambda o, sigma: np.exp(-o ** 2 * sigma))),
    Mistake("soft_nms", "distance", "Boxes that overlap little lose most in your code. Which "
            "factor has a box that does not overlap at all?",
            _gaussian(take, lambda o, sigma: np.exp(-(1 - o) ** 2 / sigma))),
    Mistake("soft_nms", "one-minus", "You multiply by 1 - f. A box that does not overlap should "
            "keep its score.", _gaussian(take, lambda o, sigma: 1 - _bell(o, sigma))),
    Mistake("soft_nms", "linear", "That is the linear factor, 1 - o.",
            _gaussian(take, lambda o, sigma: 1 - o)),
    *(Mistake("soft_nms_linear", name, hint, _linear(way, _ramp)) for name, hint, way in _WAYS),
    Mistake("soft_nms_linear", "over-the-threshold", "An IoU of exactly the threshold already "
            "costs score.", _linear(take, lambda o, limit: np.where(o > limit, 1 - o, 1))),
    Mistake("soft_nms_linear", "always-lowered", "Overlaps under the threshold cost score, too, "
            "in your code.", _linear(take, lambda o, limit: 1 - o)),
    Mistake("soft_nms_linear", "under-the-threshold", "Overlaps under the threshold cost score in "
            "your code, and those over it do not.",
            _linear(take, lambda o, limit: np.where(o < limit, 1 - o, 1))),
    Mistake("soft_nms_linear", "times-iou", "The scores are multiplied by the IoU: the boxes that "
            "overlap most would lose least.",
            _linear(take, lambda o, limit: np.where(o >= limit, o, 1))),
    Mistake("soft_nms_linear", "dropped", "Boxes over the threshold are dropped, as in ordinary "
            "NMS. Here they only lose score.",
            _linear(take, lambda o, limit: np.where(o >= limit, -1, 1))),
)

_SORTED = (_sorted_but(stop=True), _sorted_but(skip=True), _sorted_but(again=True),
           _sorted_but(skip=True, again=True))

_MORE = {
    "sorted-once": (*_SORTED, *(_sorted_but(**how, sort=sort) for sort in (negated, turned)
                                for how in ({}, {"stop": True}, {"again": True}))),
    "tie-order": tuple(_taking_but(best_of=lambda scores, sort=sort: sort(scores)[0])
                       for sort in (negated, turned)),
    "taken-boxes-lose": (_taking_but(itself=True),),
}

_THE_BEST_ALONE = "Only the best box is left in your code: all other scores fall to 0, or below. " \
                  "Which factor has a box that does not overlap?"
MISTAKES += tuple(
    replace(one, name="the-best-alone", hint=_THE_BEST_ALONE)
    if one.name == "min-and-max-exchanged" else one       # too large to be told from other factors
    for one in borrowed("soft_nms", lambda wrong: _gaussian(_by(wrong), _bell)))
MISTAKES += borrowed("soft_nms_linear", lambda wrong: _linear(_by(wrong), _ramp))
MISTAKES += versions(MISTAKES, {
    **{("soft_nms", name): tuple(_gaussian(way, _bell) for way in ways)
       for name, ways in _MORE.items()},
    **{("soft_nms_linear", name): tuple(_linear(way, _ramp) for way in ways)
       for name, ways in _MORE.items()},
    ("soft_nms", "taken-boxes-lose"): (_gaussian(_taking_but(itself=True, earlier=True), _bell),),
    ("soft_nms_linear", "last-factor-only"): (_linear(_taking_but(
        together=lambda old, new, lower: np.where(lower < 1, old * lower, new)), _ramp),),
    ("soft_nms_linear", "times-iou"): (_linear(take, lambda o, limit: o),),
    ("soft_nms_linear", "dropped"): (
        _linear(take, lambda o, limit: np.where(o > limit, -1, 1)),),
})


# ---- cases ---------------------------------------------------------------------------------------

def _placed(rng, boxes, scores):
    """Boxes of small integers, all moved by the same whole number of pixels, and their scores, in
    a random order: no answer is known beforehand."""
    (dx, dy), order = rng.integers(0, 5, 2), rng.permutation(len(boxes))
    return (np.array(boxes, float) + [dx, dy, dx, dy])[order], np.array(scores, float)[order]


def _apart(rng, scores):
    """Boxes that overlap nothing, one on each place, with many equal scores: no sort that is not
    stable has their order by luck, on any processor."""
    corners = np.indices((8, len(scores) // 8)).reshape(2, -1).T * 5 - 20
    return _placed(rng, np.hstack([corners, corners + 4]), rng.permutation(scores))


def _margin(boxes, scores, least, factor, limit):
    """How far the nearest decision is from falling the other way."""
    seen = [1.0]

    def watched(overlaps):
        seen.append(np.abs(overlaps - limit).min(initial=1.0))
        return factor(overlaps)
    order, scores = take(boxes, scores, -1, watched)         # decreasing; each was the best there
    return min(*seen, np.abs(scores - least).min(), np.abs(np.diff(scores)).min())


def _told_apart(*args):
    """Whether all ways to sort only once, and all wrong IoUs, answer differently; but of boxes
    that are apart, of which there are few in a heap."""
    overlaps = [wrong.implementation for wrong in borrowed("soft_nms", _by)
                if wrong.name != "not-clipped"]
    answers = [way(*args) for way in (take, _sorted_once, *_SORTED, *overlaps)]
    return len({(*taken, *new.round(3)) for taken, new in answers}) == len(answers)


def _heaps(rng, count, least, factor, limit=2.0):
    """Random boxes that overlap, drawn again while rounding might decide, or while it makes no
    difference how often they are sorted or what they are divided by."""
    while True:
        corner = rng.uniform(0, 1.2, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(0.6, 1.4, (count, 2))], axis=1)
        scores = rng.uniform(0.3, 0.99, count)
        few = take(boxes, scores, least, factor)[0]
        if 3 < len(few) < count - 1 and _told_apart(boxes, scores, least, factor) and (
                _margin(boxes, scores, least, factor, limit) > 1e-3):
            return boxes, scores


def _about(rng, boxes, scores, *decisions):
    """A few boxes with scores of two decimals near those given, drawn again while rounding might
    decide."""
    while True:
        drawn = np.round(scores + rng.uniform(-0.05, 0.05, len(scores)), 2)
        args = _placed(rng, boxes, drawn)
        if _margin(*args, *decisions) > 1e-3:
            return args


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    pair, apart = [(0, 0, 4, 4), (0, 0, 4, 3), (6, 6, 8, 9)], [(9, 0, 11, 3), (0, 9, 3, 11)]
    halves = [(0, 0, 2, 2), (0, 0, 2, 1), (5, 5, 7, 9), (5, 5, 7, 6)]
    crowd = [(0, 0, 6, 4), (2, 0, 8, 4), (4, 1, 10, 4), (0, 1, 6, 5), (20, 0, 26, 5)]
    hand, low = (0.75, 0.9, 0.35), (0.3, 0.9, 0.25, 0.5, 0.1)
    high, other = rng.permutation(np.arange(9, 16))[:2] / 16      # exact in float32 as well
    three = np.repeat([0.75, 0.5, 0.125], (32, 24, 8))
    many = _heaps(rng, 10, 0.1, lambda o: _bell(o, 0.7))
    lines = _heaps(rng, 10, 0.1, lambda o: _ramp(o, 0.3), 0.3)
    return [
        Case("soft_nms", "two boxes for one object", (*_about(
            rng, pair, hand, 0.25, lambda o: _bell(o, 0.5), 2.0), 0.5, 0.25)),
        Case("soft_nms", "exactly score_threshold", (*_placed(
            rng, apart + pair[1:] + crowd[4:], (0.5, high, other, 0.25, 0.125)), 0.5, 0.25), 0.5),
        Case("soft_nms", "many equal scores", (*_apart(rng, three), 0.5, 0.25), 0.5),
        Case("soft_nms", "a crowd", (*_about(
            rng, crowd, low, 0.2, lambda o: _bell(o, 0.25), 2.0), 0.25, 0.2)),
        Case("soft_nms", "no boxes", (np.zeros((0, 4)), np.zeros(0), 0.5, 0.001), 0.25),
        Case("soft_nms", "many boxes", (*many, 0.7, 0.1), 1.75),
        Case("soft_nms_linear", "linear, by hand", (*_about(
            rng, pair, hand, 0.25, lambda o: _ramp(o, 0.5), 0.5), 0.5, 0.25)),
        Case("soft_nms_linear", "linear, exactly at the IoU threshold", (*_placed(
            rng, halves + apart[:1], (high, 0.5, 0.375, other, 0.125)), 0.5, 0.25)),
        Case("soft_nms_linear", "linear, many equal scores", (*_apart(
            rng, three), 0.5, 0.25), 0.5),
        Case("soft_nms_linear", "linear, a crowd", (*_about(
            rng, crowd, low, 0.05, lambda o: _ramp(o, 0.25), 0.25), 0.25, 0.05), 1.25),
        Case("soft_nms_linear", "linear, many boxes", (*lines, 0.3, 0.1), 1.25),
    ]


def _score_error(boxes, scores, steepness, taken):
    """Roundings of a score: of its factors, and of IoUs from rounded coordinates."""
    reach = np.abs(boxes).max(initial=1.0) / np.diff(boxes.reshape(-1, 2, 2), axis=1).min(
        initial=1.0)
    return None, taken[1] * (1 + 4 * reach * steepness)


def _magnitude(boxes, scores, sigma, least):
    return _score_error(boxes, scores, 1 / sigma, soft_nms(boxes, scores, sigma, least))


def _linear_magnitude(boxes, scores, limit, least):
    return _score_error(boxes, scores, 4, soft_nms_linear(boxes, scores, limit, least))


def _terms(boxes, scores, how, least):
    """Of a factor, and one for each factor: boxes that do not overlap have the factor 1."""
    return 8 + max(((iou(box, boxes) > 0).sum() for box in boxes), default=0)


def _proper(boxes, *others):
    return (boxes[:, :2] < boxes[:, 2:]).all()


EXERCISE = Exercise(
    name="soft_nms", title="Soft-NMS", lecture="Kempten L 10.5, Non Maximum Suppression",
    source="tinyvision/ops/nms.py",
    functions={"soft_nms": soft_nms, "soft_nms_linear": soft_nms_linear}, cases=cases,
    mistakes=MISTAKES,
    magnitude={"soft_nms": _magnitude, "soft_nms_linear": _linear_magnitude},
    terms={"soft_nms": _terms, "soft_nms_linear": _terms},
    domain={"soft_nms": _proper, "soft_nms_linear": _proper})
