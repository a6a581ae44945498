r"""# Average precision

Write `recall_and_precision`, `eleven_point_ap` and `all_point_ap`.

A detector answers with boxes and scores; for each it is known whether it is right (it found an
object, IoU at least 0.5, that no better one had found). Go through the detections of a class from
the best score down. After each of them

$$\text{precision} = \frac{\text{right so far}}{\text{detections so far}}, \qquad
\text{recall} = \frac{\text{right so far}}{\text{all true objects}}$$

Precision saws up and down; its envelope, the best precision at this recall **or a higher one**,
only falls. Average precision is

$$\text{VOC 2007:}\quad \frac{1}{11} \sum_{r \in \{0, 0.1, \dots, 1\}}
\max_{\tilde r \ge r} p(\tilde r) \qquad\qquad
\text{from 2010 on:}\quad \sum_k (r_k - r_{k-1}) \max_{l \ge k} p_l, \quad r_{-1} = 0$$

**By hand.** Four detections, best first: right, wrong, right, right; 4 true objects.

    recall       1/4   1/4   1/2   3/4
    precision     1    1/2   2/3   3/4
    envelope      1    3/4   3/4   3/4

    2007: 1 at recalls 0, 0.1, 0.2; 3/4 at 0.3 to 0.7; 0 beyond     (3 + 5 * 3/4) / 11 = 27/44
    2010: (1/4 - 0) * 1  +  0  +  (1/2 - 1/4) * 3/4  +  (3/4 - 1/2) * 3/4  =  5/8

**Conventions.** Of equal scores the lower index comes first. A recall that is never reached has
precision 0. Without detections both averages are 0. There is at least one true object. (Whether a
recall of 3/10 reaches 0.3 is decided by rounding: `np.arange(0, 1.1, 0.1)` holds
0.30000000000000004. Nothing here depends on it.)

**Shapes.** scores (D,) and right (D,) (1 or 0) give recall (D,) and precision (D,); these give one
number.
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions
from tinyvision.exercises.ties import WHICH, not_stable


def recall_and_precision(scores, right, positives):
    """Recall and precision after each detection, best scores first.

    Arguments:
        scores: (D,) of the detections, in any order.
        right: (D,) integers, 1 where the detection is right, else 0.
        positives: the number of true objects.

    Returns:
        (recall, precision), (D,) each.
    """
    ### BEGIN SOLUTION
    recall = np.empty(len(scores))
    precision = np.empty(len(scores))
    found = 0
    for place, best in enumerate(np.argsort(-scores, kind="stable")):
        found += right[best]
        recall[place] = found / positives
        precision[place] = found / (place + 1)
    return recall, precision
    ### END SOLUTION


def eleven_point_ap(recall, precision):
    """The mean of the envelope at recalls 0, 0.1, ..., 1 (VOC 2007).

    Arguments:
        recall, precision: (D,) after each detection; recall never falls.

    Returns:
        one number.
    """
    ### BEGIN SOLUTION
    heights = np.empty(11)
    for k in range(11):
        heights[k] = precision[recall >= k / 10].max(initial=0)
    return heights.mean()
    ### END SOLUTION


def all_point_ap(recall, precision):
    """The area under the envelope (VOC from 2010 on).

    Arguments:
        recall, precision: (D,) after each detection; recall never falls.

    Returns:
        one number.
    """
    ### BEGIN SOLUTION
    areas, before = np.empty(len(recall)), 0
    for k in range(len(recall)):
        areas[k] = (recall[k] - before) * precision[k:].max()
        before = recall[k]
    return areas.sum()
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _counted(scores, right, order=None):
    """(right so far, detections so far), best first or in another order."""
    order = np.argsort(-scores, kind="stable") if order is None else order
    return np.cumsum(right[order]), np.arange(1, len(scores) + 1)


def _curve(order):
    """`recall_and_precision` in a wrong order."""
    def wrong(scores, right, positives):
        found, seen = _counted(scores, right, order(scores))
        return found / positives, found / seen
    return wrong


def _of_what_was_found(scores, right, positives):
    found, seen = _counted(scores, right)
    return found / max(right.sum(), 1), found / seen


def _of_detections(scores, right, positives):
    found, seen = _counted(scores, right)
    return found / len(scores), found / seen


def _by_all_detections(scores, right, positives):
    return _counted(scores, right)[0] / positives, _counted(scores, right)[0] / len(scores)


def _one_detection_late(scores, right, positives):
    found, seen = _counted(scores, right)
    return found / positives, found / np.maximum(seen - 1, 1)


def _not_summed(scores, right, positives):
    order = np.argsort(-scores, kind="stable")
    return right[order] / positives, right[order] / np.arange(1, len(scores) + 1)


def _envelope(precision):
    return np.maximum.accumulate(precision[::-1])[::-1]


def _points(places, over=np.greater_equal, reached_only=False, envelope=_envelope):
    """The mean over points of recall, wrongly."""
    def wrong(recall, precision):
        heights = []
        for place in places:
            beyond = envelope(precision)[over(recall, place)]
            heights += [beyond[0] if len(beyond) else 0.0] * (len(beyond) > 0 or not reached_only)
        return np.mean(heights) if heights else np.float64(0)
    return wrong


def _as_it_is(precision):
    return precision


def _interpolated(envelope=_as_it_is, right=0.0, start=None):
    """Straight lines, after the last point at a height of `right`; from (0, start) if not None."""
    def wrong(recall, precision):
        if not len(recall):
            return np.float64(0)
        heights = envelope(precision)
        if start is not None:
            recall, heights = np.append(0, recall), np.append(start, heights)
        return np.interp(TENTHS, recall, heights, right=right).mean()
    return wrong


def _last_up_to(envelope=_as_it_is, reached=True):
    """The precision of the last detection whose recall is at most r; 0 beyond the last recall if
    `reached`."""
    def wrong(recall, precision):
        heights = envelope(precision)
        found = [heights[recall <= r][-1:].sum() * (not reached or (recall >= r).any())
                 for r in TENTHS]
        return np.mean(found)
    return wrong


def _best_up_to(recall, precision):
    return np.mean([precision[recall <= r].max(initial=0) for r in TENTHS])


def _nearest(recall, precision):
    if not len(recall):
        return np.float64(0)
    return precision[np.abs(recall - TENTHS[:, None]).argmin(axis=1)].mean()


def _rest_as_the_last(recall, precision):
    return eleven_point_ap(np.append(recall, 1.0), np.append(precision, precision[-1:].sum()))


def _area(envelope=_envelope, trapezoids=False, first=0.0, start=None):
    """The area under the curve, wrongly; trapezoids: from a height of `start`, or of the first
    precision where it is None."""
    def wrong(recall, precision):
        heights = envelope(precision)
        if trapezoids:
            before = heights[:1] if start is None else [start] * min(len(heights), 1)
            heights = (heights + np.concatenate([before, heights[:-1]])) / 2
        return np.sum(np.diff(recall, prepend=recall[:1] if first is None else first) * heights)
    return wrong


def _closed(start):
    """Trapezoids under the saw from (0, start) to (1, 0)."""
    return lambda recall, precision: _area(_as_it_is, True, start=start)(
        np.append(recall, 1.0), np.append(precision, 0.0))


def _height_before(start=None):
    """The area under the saw with the height at the beginning of each step."""
    def wrong(recall, precision):
        heights = np.append(np.zeros(0) if start is None else start, precision)
        steps = np.diff(recall, prepend=np.zeros(0) if start is None else 0)
        return np.sum(steps * heights[:len(steps)])
    return wrong


def _at_right_ones(envelope=_as_it_is):
    def wrong(recall, precision):
        steps = np.diff(recall, prepend=0) > 0
        return envelope(precision)[steps].mean() if steps.any() else np.float64(0)
    return wrong


def _of_all_detections(envelope=_as_it_is):
    return lambda recall, precision: envelope(precision).sum() / max(len(precision), 1)


def _as_they_came(scores, right, positives):
    """The right numbers, where the detections stood before they were sorted."""
    answers = np.empty((2, len(scores)))
    answers[:, np.argsort(-scores, kind="stable")] = recall_and_precision(scores, right, positives)
    return tuple(answers)


def _counted_afterwards(scores, right, positives, late=0):
    found, seen = _counted(scores, right)
    before = np.append(0, found[:-1])
    return before / positives, before / np.maximum(seen - late, 1)


def _with_a_start(precision):
    """One more point, at a recall of 0."""
    def wrong(*args):
        recall, rest = recall_and_precision(*args)
        return np.append(0.0, recall), np.append(precision, rest)
    return wrong


def _rest_too(recall, precision):
    return all_point_ap(np.append(recall, 1.0), np.append(precision, precision[-1:].sum()))


TENTHS = np.arange(11) / 10

MISTAKES = (
    Mistake("recall_and_precision", "unsorted", "The detections are taken in the order in which "
            "they came. Which one comes first?", _curve(lambda s: np.arange(len(s)))),
    Mistake("recall_and_precision", "worst-first", "The lowest scores come first: in which "
            "direction does argsort sort?", _curve(lambda s: np.argsort(s, kind="stable"))),
    Mistake("recall_and_precision", "tie-order", "Of equal scores the lower index comes first. "
            + WHICH,
            _curve(lambda s: np.argsort(s, kind="stable")[::-1])),
    Mistake("recall_and_precision", "of-what-was-found", "Recall is the share of all true objects, "
            "also of those that no detection found.", _of_what_was_found),
    Mistake("recall_and_precision", "recall-of-detections", "Recall is divided by the number of "
            "detections; which objects should be recalled?", _of_detections),
    Mistake("recall_and_precision", "by-all-detections", "Precision counts the detections so far, "
            "not all of them.", _by_all_detections),
    Mistake("recall_and_precision", "one-detection-late", "After the first detection there is one "
            "detection, not none.", _one_detection_late),
    Mistake("recall_and_precision", "not-summed", "The right ones are to be counted up: so far, "
            "not only this one.", _not_summed),
    Mistake("recall_and_precision", "exchanged", "Recall comes first, then precision.",
            lambda *args: recall_and_precision(*args)[::-1]),
    Mistake("eleven_point_ap", "no-envelope", "You read the precision of one detection for each "
            "recall. A higher recall may have a better precision.",
            _points(TENTHS, envelope=lambda precision: precision)),
    Mistake("eleven_point_ap", "over", "A recall of exactly r counts for r.",
            _points(TENTHS, over=np.greater)),
    Mistake("eleven_point_ap", "ten-points", "The first of the eleven recalls is 0.",
            _points(TENTHS[1:])),
    Mistake("eleven_point_ap", "not-to-one", "The last of the eleven recalls is 1.",
            _points(TENTHS[:-1])),
    Mistake("eleven_point_ap", "reached-only", "Recalls that are never reached count with "
            "precision 0; there are always eleven.", _points(TENTHS, reached_only=True)),
    Mistake("eleven_point_ap", "interpolated", "You draw straight lines between the points. The "
            "envelope is made of steps: the best precision to the right.", _interpolated()),
    Mistake("eleven_point_ap", "all-points", "That is the area under the envelope, VOC's rule "
            "from 2010 on.", all_point_ap),
    Mistake("eleven_point_ap", "hundred-and-one", "That is the mean at 101 recalls, COCO's rule.",
            _points(np.arange(101) / 100)),
    Mistake("all_point_ap", "no-envelope", "That is the area under the saw. A higher recall may "
            "have a better precision.", _area(envelope=lambda precision: precision)),
    Mistake("all_point_ap", "trapezoids", "Trapezoids are not the area under the envelope, which "
            "is made of steps.", _area(envelope=lambda precision: precision, trapezoids=True)),
    Mistake("all_point_ap", "best-so-far", "Your envelope is the best precision at this recall or "
            "a lower one.", _area(envelope=np.maximum.accumulate)),
    Mistake("all_point_ap", "first-step-missing", "The recall rises from 0 to the first one, too.",
            _area(first=None)),
    Mistake("all_point_ap", "mean-precision", "You average the precisions of the right "
            "detections. How much recall does each of them stand for?", _at_right_ones()),
    Mistake("all_point_ap", "up-to-one", "Recalls that are never reached have precision 0, not the "
            "last one.", _rest_too),
    Mistake("all_point_ap", "eleven-points", "That is the mean at eleven recalls, the rule of "
            "2007.", eleven_point_ap),
    Mistake("recall_and_precision", "as-they-came", "The answer begins with the best detection; "
            "yours is in the order in which the detections came.", _as_they_came),
    Mistake("recall_and_precision", "counted-afterwards", "The numbers after a detection count "
            "this detection, too.", _counted_afterwards),
    Mistake("recall_and_precision", "one-point-more", "There is one point for each detection, and "
            "none before the first.", _with_a_start(1.0)),
    Mistake("eleven_point_ap", "best-so-far", "You take the best precision at this recall or a "
            "lower one.", _best_up_to),
    Mistake("eleven_point_ap", "up-to-one", "Recalls that are never reached have precision 0, not "
            "the last one.", _rest_as_the_last),
    Mistake("eleven_point_ap", "by-ten", "There are eleven recalls: 0, too.",
            lambda recall, precision: eleven_point_ap(recall, precision) * 1.1),
    Mistake("all_point_ap", "hundred-and-one", "That is the mean at 101 recalls, COCO's rule.",
            _points(np.arange(101) / 100)),
    Mistake("all_point_ap", "mean-of-detections", "You average over the detections. How much "
            "recall does each of them stand for?", _of_all_detections()),
)

MISTAKES += not_stable([one for one in MISTAKES if one.function == "recall_and_precision"
                        and one.name != "unsorted"], at=0)
MISTAKES += versions(MISTAKES, {
    ("recall_and_precision", "worst-first"): (
        _curve(lambda s: np.argsort(-s, kind="stable")[::-1]),),
    ("recall_and_precision", "counted-afterwards"): (
        lambda *args: _counted_afterwards(*args, late=1),),
    ("recall_and_precision", "one-point-more"): (_with_a_start(0.0),),
    ("eleven_point_ap", "no-envelope"): (_last_up_to(), _last_up_to(reached=False), _nearest,
                                         _points(TENTHS, over=np.greater, envelope=_as_it_is)),
    ("eleven_point_ap", "best-so-far"): (
        _points(TENTHS, envelope=np.maximum.accumulate),
        _last_up_to(envelope=np.maximum.accumulate)),
    ("eleven_point_ap", "ten-points"): (
        lambda recall, precision: _points(TENTHS[1:])(recall, precision) * 10 / 11,),
    ("eleven_point_ap", "not-to-one"): (
        lambda recall, precision: _points(TENTHS[:-1])(recall, precision) * 10 / 11,),
    ("eleven_point_ap", "interpolated"): (
        _interpolated(right=None), _interpolated(start=0.0), _interpolated(right=None, start=0.0),
        _interpolated(_envelope, start=0.0), _interpolated(_envelope, right=None, start=0.0)),
    # From the envelope, trapezoids and steps of the height before are right: it never falls where
    # recall rises.
    ("all_point_ap", "no-envelope"): (_height_before(1.0), _height_before(), _area(
        first=None, envelope=_as_it_is)),
    ("all_point_ap", "trapezoids"): (
        _area(_as_it_is, True, None), _area(_as_it_is, True, start=0.0),
        _area(_envelope, True, start=0.0), _closed(0.0), _closed(None)),
    ("all_point_ap", "mean-precision"): (_at_right_ones(_envelope),),
    ("all_point_ap", "mean-of-detections"): (_of_all_detections(_envelope),),
})


# ---- cases ---------------------------------------------------------------------------------------
# No recall is a multiple of 0.1 but 0.5 and 1: 3 * 0.1 is a little more than 0.3.

def _ranked(hits, positives):
    """The curve of detections, best first."""
    hits = np.array(hits)
    return recall_and_precision(-np.arange(float(len(hits))), hits, positives)


def _random(rng, count, positives, found):
    """The curve of so many random detections, some of them right."""
    return _ranked(rng.permutation(np.arange(count) < found).astype(np.int64), positives)


def _scored(rng, hits, scores=None):
    """Detections in a random order."""
    hits, order = np.array(hits), rng.permutation(len(hits))
    scores = np.sort(rng.uniform(0.05, 1, len(hits)))[::-1] if scores is None else scores
    return np.array(scores)[order], hits[order]


def _tied(rng, count):
    """Detections of four scores, half of them right: of so many equals no sort that is not stable
    has the right order by luck, on any processor."""
    scores, right = rng.integers(1, 5, count) / 4, rng.permutation(np.arange(count) % 2)
    return scores + rng.integers(0, 3), right


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    hand = (1, *rng.permutation([1, 1, 0, 0, 0, rng.integers(2)]))
    first = rng.integers(3)
    half = np.isin(np.arange(12), [first, rng.integers(2 * first + 2, 12)]).astype(np.int64)
    slow = (1, 1, 0, *rng.permutation([1] * 5 + [0] * 4))
    sawing = (1, 0, *rng.permutation([1] * 5 + [0] * 3 + [rng.integers(2)]), 0)
    return [
        Case("recall_and_precision", "by hand", (*_scored(rng, hand), 4)),
        Case("recall_and_precision", "many equal scores", (*_tied(rng, 80), 50)),
        Case("recall_and_precision", "many detections", (*_scored(
            rng, rng.permutation(np.arange(17) < 6).astype(np.int64)), 9), 1.5),
        Case("eleven_point_ap", "2007, by hand", _ranked(hand, 8), 0.5),
        Case("eleven_point_ap", "2007, half of them found", _ranked(half, 4), 0.5),
        Case("eleven_point_ap", "2007, all found", _ranked(slow, 7), 0.5),
        Case("eleven_point_ap", "2007, many detections", _random(rng, 19, 13, 8), 1.5),
        Case("all_point_ap", "2010, by hand", _ranked(hand, 8), 0.75),
        Case("all_point_ap", "2010, a saw", _ranked(sawing, 9)),
        Case("all_point_ap", "2010, no detections", (np.zeros(0), np.zeros(0)), 0.25),
        Case("all_point_ap", "2010, many detections", _random(rng, 19, 13, 8), 1.5),
    ]


def _all_magnitude(recall, precision):
    return ((recall + np.append(0, recall[:-1])[:len(recall)]) * _envelope(precision)).sum()


def _real(recall, precision):
    """Whether there can be such a curve: where recall stands still, precision falls."""
    steps, rises = np.diff(recall, prepend=0), np.diff(precision, prepend=0)
    return (0 <= steps).all() and max(recall.max(initial=0), precision.max(initial=0)) <= 1 and (
        (steps > 0) | (rises < 0) | (precision == 0)).all() and (precision[recall > 0] > 0).all()


EXERCISE = Exercise(
    name="average_precision", title="Average precision, VOC 2007 and 2010",
    lecture="Georgia Tech, Evaluation - Mean Average Precision (mAP)",
    source="tinyvision/metrics/voc_ap.py",
    functions={f.__name__: f for f in (recall_and_precision, eleven_point_ap, all_point_ap)},
    cases=cases, mistakes=MISTAKES,
    magnitude={"recall_and_precision": recall_and_precision, "eleven_point_ap": eleven_point_ap,
               "all_point_ap": _all_magnitude},
    terms={"recall_and_precision": lambda *args: 2, "eleven_point_ap": lambda *args: 11,
           "all_point_ap": lambda recall, precision: 2 + len(recall)},
    domain={"recall_and_precision": lambda scores, right, positives: right.sum() <= positives,
            "eleven_point_ap": _real, "all_point_ap": _real})
