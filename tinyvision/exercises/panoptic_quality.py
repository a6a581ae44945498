r"""# Panoptic quality

Write `count_segments` and `panoptic_quality`.

In a panoptic segmentation every pixel belongs to one segment: a car, another car, the sky. Its
measure (Kirillov et al. 2019, section 4) first matches: a predicted segment p and a true one g of
the same class belong together (TP) if their IoU is **greater than** 1/2. Segments do not overlap,
so none can have two partners. A predicted segment without one is an FP, a true one an FN. Then, for
every class,

$$PQ = \frac{\sum_{TP} \text{IoU}(p, g)}{|TP| + \frac12 |FP| + \frac12 |FN|}
= \underbrace{\frac{\sum_{TP} \text{IoU}(p, g)}{|TP|}}_{SQ} \cdot
\underbrace{\frac{|TP|}{|TP| + \frac12 |FP| + \frac12 |FN|}}_{RQ}$$

**Void.** Pixels without a true segment (0 in the map) are nobody's fault: they are taken out of
every p before its IoU, and an unmatched p of which **more than half** lies on void is no FP.

**By hand.** One row of pixels; the true segments 1, 2 are of class 0, the predicted ones 1, 2 of
class 0, 3 of class 1:

    truth          1  1  1  2  2  2  0  0
    prediction     1  1  1  1  2  3  3  3       IoU(1, 1) = 3 / 4: TP.  IoU(2, 2) = 1 / 3: no match
                                                segment 3 lies on void by 2 of 3: no FP
    class 0        sum of IoU 0.75, 1 TP, 1 FP, 1 FN:   PQ = 0.75 / 2 = 0.375, SQ = 0.75, RQ = 0.5
    class 1        nothing is counted: it does not occur

**Conventions.** Segments are numbered from 1; segment k of a map has the class labels[k - 1]; each
has at least one pixel. 0 in a predicted map is a pixel where nothing was predicted. SQ of a class
without TP is 0. `panoptic_quality` averages each of PQ, SQ and RQ over the classes that occur,
those with at least one TP, FP or FN; there is at least one.

**Shapes.** truth and prediction (H, W), truth_labels (M,) and prediction_labels (L,), integers,
give (K, 4), row k the sum of IoU, TP, FP and FN of class k; these give (3,).
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions


def count_segments(truth, truth_labels, prediction, prediction_labels, num_classes):
    """What is matched, predicted in vain and missed, for every class.

    Arguments:
        truth: (H, W) the number of each pixel's true segment, from 1; 0 is void.
        truth_labels: (M,) the classes of segments 1 to M.
        prediction: (H, W) the number of each pixel's predicted segment; 0 is none.
        prediction_labels: (L,) their classes.
        num_classes: K; classes are 0 to K - 1.

    Returns:
        (K, 4) floats: for each class the sum of the matches' IoU, TP, FP, FN.
    """
    ### BEGIN SOLUTION
    counts = np.zeros((num_classes, 4))
    matched = []
    for g, label in enumerate(truth_labels):
        true = truth == g + 1
        missed = 1
        for p, other in enumerate(prediction_labels):
            mine = (prediction == p + 1) & (truth > 0)
            iou = (mine & true).sum() / (mine | true).sum()
            if label == other and iou > 0.5:
                counts[label] += np.array([iou, 1, 0, 0])
                matched.append(p)
                missed = 0
        counts[label, 3] += missed
    for p, label in enumerate(prediction_labels):
        mine = prediction == p + 1
        if p not in matched and (mine & (truth == 0)).sum() <= mine.sum() / 2:
            counts[label, 2] += 1
    return counts
    ### END SOLUTION


def panoptic_quality(counts):
    """PQ, SQ and RQ, means over the classes that occur.

    Arguments:
        counts: (K, 4) for each class the sum of the matches' IoU, TP, FP, FN.

    Returns:
        (3,): PQ, SQ, RQ.
    """
    ### BEGIN SOLUTION
    occurs = counts.any(axis=1)
    overlap, right = counts[occurs, :2].T
    faults = counts[occurs, 2:].sum(axis=1)
    rq = right / (right + faults / 2)
    sq = overlap / np.maximum(right, 1)
    return np.array([(sq * rq).mean(), sq.mean(), rq.mean()])
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _iou(both, mine, true):
    return both / (mine + true - both)


def _count(truth, truth_labels, prediction, prediction_labels, num_classes, keep_void=False,
           any_class=False, excused=lambda void, area: void > area / 2, fits=lambda iou: iou > 0.5,
           score=_iou, overlap=None, gaps=False, of_prediction=False, best=False, in_vain=None):
    """`count_segments` with one piece exchanged.

    score: what is matched by; overlap: what is summed, if it is another; gaps: pixels without a
    prediction are taken out of true segments; of_prediction: a match counts for the predicted
    class; best: only the best partner of each true segment; in_vain: FP of (matched, excused).
    """
    M, L = len(truth_labels), len(prediction_labels)
    shared = np.bincount((truth * (L + 1) + prediction).ravel(), minlength=(M + 1) * (L + 1))
    shared = shared.reshape(M + 1, L + 1)
    both, area, void = shared[1:, 1:], shared[:, 1:].sum(axis=0), shared[0, 1:]
    true = shared[1:].sum(axis=1)[:, None] - gaps * shared[1:, :1]
    scores = score(both, area - void * (not keep_void), true)
    alike = any_class | (truth_labels[:, None] == prediction_labels)
    matched = fits(scores) & alike
    if best:
        matched &= scores * alike == (scores * alike).max(axis=1, initial=0, keepdims=True)
    summed = scores if overlap is None else overlap(both, area - void, true)
    counts = np.zeros((num_classes, 4))
    classes = np.where(of_prediction, prediction_labels, truth_labels[:, None])
    np.add.at(counts, classes, np.stack([summed * matched, matched, 0 * summed, 0 * summed], -1))
    np.add.at(counts[:, 3], truth_labels, ~matched.any(1))
    wrong = ~matched.any(0) if in_vain is None else in_vain(matched.any(0))
    np.add.at(counts[:, 2], prediction_labels, wrong & ~excused(void, area))
    return counts


def _but(**how):
    return lambda *args: _count(*args, **how)


def _exchanged(*args):
    return count_segments(*args)[:, [0, 1, 3, 2]]


def _means_of_iou(*args):
    counts = count_segments(*args)
    return np.concatenate([counts[:, :1] / np.maximum(counts[:, 1:2], 1), counts[:, 1:]], axis=1)


def _of_pixels(truth, truth_labels, prediction, prediction_labels, num_classes):
    """All segments of a class taken together, as in a semantic segmentation."""
    args = []
    for where, labels in ((truth, truth_labels), (prediction, prediction_labels)):
        kinds = np.unique(labels)
        args += [np.append(0, 1 + np.searchsorted(kinds, labels))[where], kinds]
    return count_segments(*args, num_classes)


def _quality(ratio):
    """A wrong `panoptic_quality`: ``ratio`` of (sum of IoU, TP, FP, FN) of the classes that occur
    gives PQ, SQ and RQ."""
    def wrong(counts):
        with np.errstate(invalid="ignore"):
            return np.array([np.mean(part) for part in ratio(*counts[counts.any(axis=1)].T)])
    return wrong


def _parts(overlap, right, wrong, missed):
    rq = right / (right + wrong / 2 + missed / 2)
    return overlap / np.maximum(right, 1) * rq, overlap / np.maximum(right, 1), rq


def _product(counts):
    _, sq, rq = panoptic_quality(counts)
    return np.array([sq * rq, sq, rq])


def _all_classes(counts):
    return panoptic_quality(counts) * counts[:, 1:].any(axis=1).mean()


def _over(classes):
    """The means over other classes; of (sum of IoU, TP, FP, FN)."""
    def wrong(counts):
        mine = counts[classes(*counts.T)]
        return panoptic_quality(mine) if len(mine) else np.full(3, np.nan)
    return wrong


def _divided_by_all(counts):
    with np.errstate(invalid="ignore"):
        return np.array([part.mean() for part in _whole(*counts.T, half=0.5)])


def _together(counts):
    return panoptic_quality(counts.sum(axis=0, keepdims=True))


def _whole(overlap, right, wrong, missed, half=1.0, other=None):
    """FP counted `half`, FN `other` (or `half`, too)."""
    rq = right / (right + half * wrong + (half if other is None else other) * missed)
    return overlap / np.maximum(right, 1) * rq, overlap / np.maximum(right, 1), rq


def _whole_in_rq(overlap, right, wrong, missed):
    pq, sq, _ = _parts(overlap, right, wrong, missed)
    return pq, sq, _whole(overlap, right, wrong, missed)[2]


def _nan_sq(overlap, right, wrong, missed):
    pq, sq, rq = _parts(overlap, right, wrong, missed)
    return pq, np.where(right > 0, sq, np.nan), rq


def _nan_sq_and_pq(overlap, right, wrong, missed):
    pq, sq, rq = _parts(overlap, right, wrong, missed)
    return np.where(right > 0, pq, np.nan), np.where(right > 0, sq, np.nan), rq


def _found_only(overlap, right, wrong, missed):
    pq, sq, rq = _parts(overlap, right, wrong, missed)
    return pq[right > 0], sq[right > 0], rq


def _sum_of_iou(overlap, right, wrong, missed):
    pq, _, rq = _parts(overlap, right, wrong, missed)
    return pq, overlap, rq


def _product_of_sum(overlap, right, wrong, missed):
    _, _, rq = _parts(overlap, right, wrong, missed)
    return overlap * rq, overlap, rq


def _sq_of_found(overlap, right, wrong, missed):
    pq, sq, rq = _parts(overlap, right, wrong, missed)
    return pq, sq[right > 0], rq


MISTAKES = (
    Mistake("count_segments", "at-one-half", "An IoU of exactly 1/2 is no match: greater, or "
            "greater or equal?", _but(fits=lambda iou: iou >= 0.5)),
    Mistake("count_segments", "void-kept", "Void pixels are taken out of a predicted segment "
            "before its IoU.", _but(keep_void=True)),
    Mistake("count_segments", "void-not-excused", "A predicted segment that lies mostly on void "
            "is no FP.", _but(excused=lambda void, area: void < 0)),
    Mistake("count_segments", "void-ignored", "Void is a part of segments, and no excuse, in your "
            "code. Two rules speak of pixels without a true segment.",
            _but(keep_void=True, excused=lambda void, area: void < 0)),
    Mistake("count_segments", "half-void-excused", "A segment of which exactly half lies on void "
            "is an FP: more than half, or at least half?",
            _but(excused=lambda void, area: void >= area / 2)),
    Mistake("count_segments", "any-void-excuses", "A little void does not excuse a predicted "
            "segment.", _but(excused=lambda void, area: void > 0)),
    Mistake("count_segments", "any-class", "Only segments of the same class can match.",
            _but(any_class=True)),
    Mistake("count_segments", "dice", "You match by twice the intersection over the sum of both "
            "areas, the Dice coefficient.",
            _but(score=lambda both, mine, true: 2 * both / (mine + true))),
    Mistake("count_segments", "of-the-truth", "You divide by the true segment's area instead of "
            "the union.", _but(score=lambda both, mine, true: both / true)),
    Mistake("count_segments", "fp-and-fn-exchanged", "FP and FN are exchanged: which of them is "
            "an object that nobody found?", _exchanged),
    Mistake("count_segments", "mean-of-iou", "The first column is the sum of the IoUs, not their "
            "mean.", _means_of_iou),
    Mistake("count_segments", "of-pixels", "You compare classes instead of segments: two cars are "
            "two segments.", _of_pixels),
    Mistake("panoptic_quality", "product-of-means", "PQ is the mean of the classes' PQ, which is "
            "not the product of the mean SQ and the mean RQ.", _product),
    Mistake("panoptic_quality", "absent-are-zero", "Classes that do not occur count as 0 in your "
            "means; they should not count.", _all_classes),
    Mistake("panoptic_quality", "over-all-classes", "You add up the classes first. Each class has "
            "a PQ of its own, and the mean is taken of these.", _together),
    Mistake("panoptic_quality", "no-halves", "FP and FN count half each in the denominator.",
            _quality(_whole)),
    Mistake("panoptic_quality", "sq-of-found-classes", "A class without TP has SQ 0; it is not "
            "left out of the mean.", _quality(_sq_of_found)),
    Mistake("panoptic_quality", "order", "The order is PQ, SQ, RQ.",
            lambda counts: panoptic_quality(counts)[[0, 2, 1]]),
    Mistake("count_segments", "of-the-prediction", "You divide by the predicted segment's area "
            "instead of the union.", _but(score=lambda both, mine, true: both / np.maximum(mine,
                                                                                           1))),
    Mistake("count_segments", "union-counts-twice", "No segment finds a partner in your code, "
            "not even one that is predicted to the pixel. Does your union count the shared pixels "
            "twice?", _but(score=lambda both, mine, true: both / (mine + true))),
    Mistake("count_segments", "any-overlap", "Segments that overlap a little are no match: their "
            "IoU has to be greater than 1/2.", _but(fits=lambda iou: iou > 0)),
    Mistake("count_segments", "gaps-left-out", "A pixel where nothing was predicted is still a "
            "part of its true segment.", _but(gaps=True)),
    Mistake("count_segments", "all-are-in-vain", "A predicted segment that has a partner is no "
            "FP.", _but(in_vain=lambda matched: matched | True)),
    Mistake("count_segments", "only-void-excuses", "How much of a predicted segment has to lie on "
            "void, so that it is no FP? More than half is enough.",
            _but(excused=lambda void, area: void == area)),
    Mistake("panoptic_quality", "nan", "What is the SQ of a class without TP? 0 / 0 is nothing "
            "that one can average.", _quality(_nan_sq)),
    Mistake("panoptic_quality", "absent-are-nan", "What is 0 / 0? A class that does not occur "
            "should not count.", _divided_by_all),
    Mistake("panoptic_quality", "true-classes-only", "A class that was only predicted in vain "
            "occurs, too.", _over(lambda overlap, right, wrong, missed: right + missed > 0)),
    Mistake("panoptic_quality", "found-classes-only", "A class without TP occurs, too, if it has "
            "an FP or an FN.", _over(lambda overlap, right, wrong, missed: right > 0)),
    Mistake("panoptic_quality", "sum-of-iou", "SQ is the mean IoU of the matches, not their sum.",
            _quality(_sum_of_iou)),
)

MISTAKES += versions(MISTAKES, {
    ("count_segments", "any-class"): (_but(any_class=True, of_prediction=True),),
    ("count_segments", "dice"): (
        _but(score=lambda both, mine, true: 2 * both / (mine + true), overlap=_iou),
        _but(overlap=lambda both, mine, true: 2 * both / (mine + true))),
    ("count_segments", "of-the-truth"): (
        _but(score=lambda both, mine, true: both / true, overlap=_iou),),
    ("count_segments", "any-overlap"): (_but(fits=lambda iou: iou > 0, best=True),),
    ("count_segments", "only-void-excuses"): (
        _but(excused=lambda void, area: void >= 2 * (area - void)),),
    ("count_segments", "void-kept"): (_but(keep_void=True, overlap=_iou),),
    ("panoptic_quality", "nan"): (_quality(_nan_sq_and_pq),),
    ("panoptic_quality", "no-halves"): (
        _quality(lambda *counts: _whole(*counts, half=1.0, other=0.5)),
        _quality(lambda *counts: _whole(*counts, half=0.5, other=1.0)), _quality(_whole_in_rq)),
    ("panoptic_quality", "sq-of-found-classes"): (_quality(_found_only),),
    ("panoptic_quality", "sum-of-iou"): (_quality(_product_of_sum),),
})


# ---- cases ---------------------------------------------------------------------------------------

def _renumbered(rng, segments, labels):
    """The same segments with other numbers."""
    order = rng.permutation(len(labels))
    return np.append(0, 1 + np.argsort(order))[np.array(segments)], np.array(labels)[order]


def _pair(rng, truth, truth_labels, prediction, prediction_labels, num_classes):
    """Arguments with classes and segments renumbered and columns in a random order."""
    columns, classes = rng.permutation(len(truth[0])), rng.permutation(num_classes)
    truth, prediction = np.array(truth)[:, columns], np.array(prediction)[:, columns]
    return (*_renumbered(rng, truth, classes[truth_labels]),
            *_renumbered(rng, prediction, classes[prediction_labels]), num_classes)


def _one_more(rng, truth, truth_labels, prediction, prediction_labels, num_classes):
    """The same, with seven more pixels and a segment of one class on them in each map. Three to
    seven are in both: whether they match, and how well, is chance."""
    shared, label = rng.integers(3, 8), rng.integers(num_classes)
    at, end = np.arange(7), rng.integers(shared, 8)         # the true one's; the other ends at 7
    true = np.append(truth, (at < end) * (1 + len(truth_labels)))
    mine = np.append(prediction, (at >= end - shared) * (1 + len(prediction_labels)))
    return _pair(rng, true[None], [*truth_labels, label], mine[None], [*prediction_labels, label],
                 num_classes)


def _random(rng, shape, labels, num_classes):
    """Stripes with noise, as many segments predicted as there are, one of another class."""
    segments = 1 + np.arange(shape[1]) * len(labels) // shape[1] + np.zeros(shape, np.int64)
    moved = np.where(rng.random(shape) < 0.25, rng.permutation(segments.ravel()).reshape(shape),
                     segments)
    other = np.array(labels)
    other[-1] = (other[-1] + 1) % num_classes
    moved[rng.random(shape) < 0.1] = 0
    segments[rng.random(shape) < 0.1] = 0
    return _pair(rng, segments, labels, moved, other, num_classes)


def _counts(rng, overlap, right, wrong, missed):
    """Counts of classes in a random order; overlap: the mean IoU of the matches."""
    counts = np.array([right, right, wrong, missed], float)
    counts[0] *= np.array(overlap) + rng.uniform(0, 0.05, len(right))
    return (counts.T[rng.permutation(len(right))],)


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    hand = ([[1, 1, 1, 2, 2, 2, 0, 0]], [0, 0], [[1, 1, 1, 1, 2, 3, 3, 3]], [0, 0, 1], 3)
    half = ([[1, 1, 2]], [1, 0], [[1, 0, 2]], [1, 0], 4)
    other = ([[1, 1, 1, 2, 2, 2, 2, 3, 3]], [1, 0, 1], [[1, 1, 0, 2, 2, 2, 3, 4, 4]], [1, 2, 0, 1],
             4)
    void = ([[0, 0, 0, 1, 1, 1, 0, 2, 2, 0, 3, 3, 0, 3, 0, 0, 4, 4, 4] + [0] * 3 + [5] * 5],
            [2, 0, 0, 1, 1],
            [[1, 1, 1, 1, 1, 0, 2, 2, 3, 4, 4, 4, 5, 5, 6, 6, 6, 6, 6] + [7] * 5 + [0] * 3],
            [2, 0, 0, 2, 1, 2, 1], 3)
    apart = ([[1] * 5 + [2] * 2 + [3] * 7 + [0] * 2], [2, 2, 0],
             [[1, 1, 1, 0, 0, 2, 2, 1, 1, 2, 2, 2, 2, 2, 3, 3]], [2, 2, 0], 3)
    return [
        Case("count_segments", "by hand", _one_more(rng, *hand)),
        Case("count_segments", "exactly one half", _one_more(rng, *half), 0.5),
        Case("count_segments", "another class", _one_more(rng, *other), 0.5),
        Case("count_segments", "void", _one_more(rng, *void)),
        Case("count_segments", "small overlaps, all on void", _one_more(rng, *apart), 0.5),
        Case("count_segments", "nothing predicted", _pair(
            rng, [[1, 0, 2], [3, 2, 2]], rng.integers(0, 4, 3), np.zeros((2, 3), np.int64),
            np.zeros(0, np.int64), 5), 0.5),
        Case("count_segments", "many segments", _random(rng, (9, 30), [0, 1, 3, 1, 1, 0], 5), 1.5),
        Case("panoptic_quality", "one class", _counts(rng, [0.75], [1], [1], [2])),
        Case("panoptic_quality", "a class that does not occur", _counts(
            rng, [0.6, 0], [3, 0], [1, 0], [4, 0]), 0.5),
        Case("panoptic_quality", "only missed, only in vain", _counts(
            rng, [0.7, 0, 0], [2, 0, 0], [0, 0, 3], [0, 1, 0])),
        Case("panoptic_quality", "many classes", _counts(
            rng, [0.55, 0.9, 0.7, 0, 0.8, 0], [2, 5, 1, 0, 3, 0], [1, 0, 4, 1, 2, 0],
            [3, 2, 0, 2, 1, 0]), 2),
    ]


def _complete(truth, truth_labels, prediction, prediction_labels, num_classes):
    """Whether all segments have pixels, and classes that there are."""
    return all(set(range(1, 1 + len(labels))) <= set(where.ravel()) <= set(range(1 + len(labels)))
               and labels.max(initial=0) < num_classes
               for where, labels in ((truth, truth_labels), (prediction, prediction_labels)))


def _countable(counts):
    overlap, right = counts[:, :2].T
    return counts.any() and (2 * overlap >= right).all() and (overlap <= right).all()


EXERCISE = Exercise(
    name="panoptic_quality", title="Panoptic quality: PQ, SQ and RQ",
    lecture="Kempten L 10.X, Instance Segmentation (Panoptic Segmentation)",
    source="tinyvision/metrics/panoptic.py",
    functions={"count_segments": count_segments, "panoptic_quality": panoptic_quality},
    cases=cases, mistakes=MISTAKES,
    magnitude={"count_segments": count_segments, "panoptic_quality": panoptic_quality},
    terms={"count_segments": lambda *args: 2 + len(args[1]),
           "panoptic_quality": lambda counts: 4 + len(counts)},
    domain={"count_segments": _complete, "panoptic_quality": _countable})
