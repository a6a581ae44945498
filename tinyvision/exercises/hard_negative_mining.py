r"""# Hard negative mining

Write `hard_negatives` and `mined_loss`, as in SSD (Liu et al. 2016, section 2.2).

Of the thousands of default boxes of an image a handful stand for an object. If all counted, the
network would learn to say "background" and little else. SSD keeps all positives of an image and,
of the negatives, only the hardest: those with the highest loss, at most `ratio` (3) for each
positive. The loss (equation 1) is then

$$L = \frac{1}{P} \sum_{\text{chosen}} \ell, \qquad P = \text{the number of positives in the batch},
\qquad L = 0 \text{ if } P = 0$$

**By hand.** One image, five boxes, ratio 2:

    labels     0    7    0    0    0        box 1 is of class 7, the others are background
    losses     5    1    9    2    6        1 positive: at most 2 negatives, those with 9 and 6
    negatives  no   no  yes   no  yes       those that `hard_negatives` returns
    chosen     no  yes  yes   no  yes       with the positive: L = (1 + 9 + 6) / 1 = 16

**Conventions.** A label above 0 is an object's class (positive), 0 is background (negative), and a
box with a label below 0 counts for nothing. Each image has its own budget of negatives: an image
without positives chooses none. Of equal losses the lower index is chosen first.

**Shapes.** losses (N, A) and labels (N, A), of N images with A boxes each, give bool (N, A), and
one number, a float (0.0 where P = 0).
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions
from tinyvision.exercises.ties import WHICH, negated, strict, turned


def hard_negatives(losses, labels, ratio):
    """The negatives that count: of each image the hardest, `ratio` for each of its positives.

    Arguments:
        losses: (N, A) of every box.
        labels: (N, A) integers: above 0 an object's class, 0 background, below 0 ignored.
        ratio: how many negatives are chosen for each positive, at most.

    Returns:
        bool (N, A): True for the negatives chosen (and for nothing else).
    """
    ### BEGIN SOLUTION
    chosen = np.full(labels.shape, False)
    for n in range(len(labels)):
        negatives = np.flatnonzero(labels[n] == 0)
        hardest_first = negatives[np.argsort(-losses[n, negatives], kind="stable")]
        budget = ratio * (labels[n] > 0).sum()
        chosen[n, hardest_first[:budget]] = True
    return chosen
    ### END SOLUTION


def mined_loss(losses, labels, ratio):
    """The sum of the losses of all positives and of the hard negatives, by positives.

    Arguments:
        losses, labels, ratio: as in `hard_negatives`.

    Returns:
        one number; 0 if there is no positive.
    """
    ### BEGIN SOLUTION
    chosen = (labels > 0) | hard_negatives(losses, labels, ratio)
    return losses[chosen].sum() / max(int((labels > 0).sum()), 1)
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _mined(losses, labels, ratio, rank=None, allowed=None, budget=None):
    """`hard_negatives` with another rank of boxes, other candidates or another budget."""
    rank = -losses if rank is None else rank
    allowed = labels == 0 if allowed is None else allowed
    budget = ratio * (labels > 0).sum(axis=1) if budget is None else budget
    order = np.argsort(np.where(allowed, rank, np.inf), axis=1, kind="stable")
    places = np.argsort(order, axis=1)
    return (places < np.asarray(budget)[:, None]) & allowed


def _easiest(losses, labels, ratio):
    return _mined(losses, labels, ratio, rank=losses)


def _over_the_batch(losses, labels, ratio):
    flat = _mined(losses.reshape(1, -1), labels.reshape(1, -1), ratio)
    return flat.reshape(losses.shape)


def _among_all(losses, labels, ratio):
    return _mined(losses, labels, ratio, allowed=labels < np.inf) & (labels == 0)


def _ignored_too(losses, labels, ratio):
    return _mined(losses, labels, ratio, allowed=labels <= 0)


def _ignored_are_positive(losses, labels, ratio):
    return _mined(losses, labels, ratio, budget=ratio * (labels != 0).sum(axis=1))


def _at_least_one(losses, labels, ratio):
    return _mined(losses, labels, ratio, budget=ratio * np.maximum((labels > 0).sum(axis=1), 1))


def _as_many(losses, labels, ratio):
    return _mined(losses, labels, ratio, budget=(labels > 0).sum(axis=1))


def _of_the_ratio(losses, labels, ratio):
    return _mined(losses, labels, ratio, budget=np.full(len(labels), ratio))


def _all_classes(losses, labels, ratio):
    return _mined(losses, labels, ratio, budget=ratio * np.maximum(labels, 0).sum(axis=1))


def _budget_of_the_batch(losses, labels, ratio):
    return _mined(losses, labels, ratio, budget=np.full(len(labels), ratio * (labels > 0).sum()))


def _one_more(losses, labels, ratio):
    return _mined(losses, labels, ratio, budget=ratio * (labels > 0).sum(axis=1) + 1)


def _positives_too(losses, labels, ratio):
    return hard_negatives(losses, labels, ratio) | (labels > 0)


def _later_of_equal(losses, labels, ratio):
    return _mined(losses[:, ::-1], labels[:, ::-1], ratio)[:, ::-1]


def _of_images_with_positives(losses, labels, ratio):
    return _mined(losses, labels, ratio, budget=ratio * (labels > 0).any(axis=1))


def _raw_sum_of_labels(losses, labels, ratio):
    return _mined(losses, labels, ratio, budget=ratio * labels.sum(axis=1))


def _positives_take_places(losses, labels, ratio):
    return _mined(losses, labels, ratio, allowed=labels >= 0) & (labels == 0)


def _ignored_take_places(losses, labels, ratio):
    return _mined(losses, labels, ratio, allowed=labels <= 0) & (labels == 0)


def _one_at_least(losses, labels, ratio):
    return _mined(losses, labels, ratio, budget=np.maximum(ratio * (labels > 0).sum(axis=1), 1))


def _one_less(losses, labels, ratio):
    return _mined(losses, labels, ratio, budget=ratio * (labels > 0).sum(axis=1) - 1)


def _always_three(losses, labels, ratio):
    return hard_negatives(losses, labels, 3)


def _from_the_end(losses, labels, ratio, turned=False):
    """The last `budget` of the negatives in ascending order: all of them if it is 0."""
    chosen = np.full(labels.shape, False)
    for n in range(len(labels)):
        negatives = np.flatnonzero(labels[n] == 0)
        order = np.argsort(-losses[n, negatives], kind="stable")[::-1] if turned else np.argsort(
            losses[n, negatives], kind="stable")
        chosen[n, negatives[order[-ratio * (labels[n] > 0).sum():]]] = True
    return chosen


def _turned_from_the_end(losses, labels, ratio):
    return _from_the_end(losses, labels, ratio, turned=True)


def _places_among_negatives(losses, labels, ratio):
    chosen = np.full(labels.shape, False)
    for n in range(len(labels)):
        order = np.argsort(-losses[n, labels[n] == 0], kind="stable")
        chosen[n, order[:ratio * (labels[n] > 0).sum()]] = True
    return chosen


def _as_hard_as_the_last(losses, labels, ratio):
    chosen = hard_negatives(losses, labels, ratio)
    limit = np.where(chosen, losses, np.inf).min(axis=1, keepdims=True)
    return (losses >= limit) & (labels == 0)


def _harder_than_the_next(losses, labels, ratio):
    """Losses over the first one that is left out."""
    left = (labels == 0) & ~hard_negatives(losses, labels, ratio)
    limit = np.where(left, losses, -np.inf).max(axis=1, keepdims=True)
    return (losses > limit) & (labels == 0)


def _not_stable(wrong, way, rows):
    """A choice by a sort that is not stable, of these ``rows`` (losses, labels): of the negatives
    alone, or of whole images."""
    def choose(losses, labels, ratio):
        ranks = np.zeros(losses.shape)
        for rank, loss, label in zip(ranks, losses, labels):
            places, keys = rows(loss, label == 0)
            rank[places] = strict(keys, way)
        return wrong(ranks, labels, ratio)
    return choose


def _alone(loss, negative):
    return negative, loss[negative]


def _others_last(loss, negative):
    return ..., np.where(negative, loss, -np.inf)


def _among_others(loss, negative):
    return ..., loss


def _positive(labels):
    return labels > 0


def _loss(choose=hard_negatives, positives=True, divisor=None, counted=_positive, summed=_positive):
    """A wrong `mined_loss`."""
    def wrong(losses, labels, ratio):
        negatives, positive = choose(losses, labels, ratio), counted(labels)
        count = positive.sum() if divisor is None else divisor(positive, negatives)
        return losses[negatives | summed(labels) & positives].sum() / max(count, 1)
    return wrong


def _of_images(together, with_positives=False):
    """The images' losses put together."""
    def wrong(losses, labels, ratio):
        found = [mined_loss(losses[n:n + 1], labels[n:n + 1], ratio) for n in range(len(losses))
                 if (labels[n] > 0).any() or not with_positives]
        return together(found) if found else np.float64(0)
    return wrong


def _two_means(losses, labels, ratio):
    return sum(losses[chosen].sum() / max(chosen.sum(), 1)
               for chosen in (labels > 0, hard_negatives(losses, labels, ratio)))


def _nan(losses, labels, ratio):
    count = (labels > 0).sum()
    return mined_loss(losses, labels, ratio) if count else np.float64(np.nan)


_CHOICES = (
    Mistake("hard_negatives", "easiest", "You keep the negatives with the lowest losses: which "
            "ones does the network still get wrong?", _easiest),
    Mistake("hard_negatives", "over-the-batch", "The budget is shared by the whole batch. Each "
            "image has its own.", _over_the_batch),
    Mistake("hard_negatives", "positives-take-places", "Boxes that are no negatives take part in "
            "the ranking and use up the places of negatives.", _among_all),
    Mistake("hard_negatives", "ignored-chosen", "Boxes with a label below 0 count for nothing: "
            "they are not background.", _ignored_too),
    Mistake("hard_negatives", "ignored-are-positive", "Boxes with a label below 0 are counted as "
            "positives.", _ignored_are_positive),
    Mistake("hard_negatives", "at-least-one-positive", "An image without positives chooses no "
            "negatives.", _at_least_one),
    Mistake("hard_negatives", "ratio-ignored", "There are as many negatives as positives, "
            "whatever the ratio.", _as_many),
    Mistake("hard_negatives", "positives-ignored", "The number of negatives does not depend on "
            "the number of positives.", _of_the_ratio),
    Mistake("hard_negatives", "sum-of-labels", "You sum the labels; the positives are to be "
            "counted.", _all_classes),
    Mistake("hard_negatives", "budget-of-the-batch", "Each image may choose as many negatives as "
            "the whole batch together. Count the positives of each image.", _budget_of_the_batch),
    Mistake("hard_negatives", "one-too-many", "There is one negative too many.", _one_more),
    Mistake("hard_negatives", "positives-too", "The positives are marked, too; only the chosen "
            "negatives are asked for.", _positives_too),
    Mistake("hard_negatives", "one-too-few", "There is one negative too few.", _one_less),
    Mistake("hard_negatives", "always-three", "The ratio is 3 whatever it should be.",
            _always_three),
    Mistake("hard_negatives", "minus-zero", "An image without positives chooses no negatives: "
            "which elements are the last 0, [-0:]?", _turned_from_the_end),
    Mistake("hard_negatives", "places-among-negatives", "Your indices count the negatives; they "
            "should count all boxes of the image.", _places_among_negatives),
    Mistake("hard_negatives", "all-of-equal", "Of equal losses only as many are chosen as the "
            "budget allows, the lower indices first.", _as_hard_as_the_last),
    Mistake("hard_negatives", "later-of-equal", "Of equal losses the lower index is chosen "
            "first. " + WHICH, _later_of_equal),
)

MISTAKES = _CHOICES + tuple(
    Mistake("mined_loss", one.name, one.hint, _loss(choose=one.implementation))
    for one in _CHOICES if one.name not in ("positives-too", "later-of-equal", "all-of-equal")) + (
    Mistake("mined_loss", "by-chosen", "You divide by the number of boxes chosen; equation 1 "
            "divides by the positives alone.",
            _loss(divisor=lambda positive, negatives: (positive | negatives).sum())),
    Mistake("mined_loss", "by-boxes", "You divide by the number of all boxes.",
            _loss(divisor=lambda positive, negatives: positive.size)),
    Mistake("mined_loss", "sum", "The sum is not divided by the number of positives.",
            _loss(divisor=lambda positive, negatives: 1)),
    Mistake("mined_loss", "by-images", "You divide by the number of images.",
            _loss(divisor=lambda positive, negatives: len(positive))),
    Mistake("mined_loss", "mean-of-images", "You divide the sum of each image by its own "
            "positives. There is one division: P is counted over the batch.",
            _of_images(np.mean)),
    Mistake("mined_loss", "by-negatives", "You divide by the number of hard negatives; equation 1 "
            "divides by the positives.",
            _loss(divisor=lambda positive, negatives: negatives.sum())),
    Mistake("mined_loss", "two-means", "You average the positives and the negatives apart. There "
            "is one sum, divided by the number of positives.", _two_means),
    Mistake("mined_loss", "nan", "Without positives the loss is 0: what is 0 / 0?", _nan),
    Mistake("mined_loss", "negatives-only", "The losses of the positives are missing.",
            _loss(positives=False)),
    Mistake("mined_loss", "no-negatives", "The losses of the hard negatives are missing.",
            _loss(choose=lambda losses, labels, ratio: labels > 0)),
    Mistake("mined_loss", "all-negatives", "All negatives count in your loss, not only the hard "
            "ones.", _loss(choose=lambda losses, labels, ratio: labels == 0)),
)

_ALONE = (negated, _alone), (turned, _alone)
_WAYS = _ALONE + tuple((way, rows) for way in (negated, turned)
                       for rows in (_others_last, _among_others))
_OF_NEGATIVES = {"ratio-ignored": _ALONE} | dict.fromkeys((
    "one-too-many", "one-too-few", "positives-too", "always-three", "at-least-one-positive",
    "easiest", "ignored-are-positive", "places-among-negatives", "minus-zero"), _WAYS)

_MORE_CHOICES = {
    "positives-take-places": (_positives_take_places, _ignored_take_places),
    "at-least-one-positive": (_one_at_least,),
    "positives-ignored": (_of_images_with_positives,),
    "sum-of-labels": (_raw_sum_of_labels,),
}

MISTAKES += versions(MISTAKES, {
    **{("hard_negatives", name): ways for name, ways in _MORE_CHOICES.items()},
    **{("mined_loss", name): tuple(_loss(choose=way) for way in ways)
       for name, ways in _MORE_CHOICES.items()},
    ("hard_negatives", "later-of-equal"): tuple(
        _not_stable(hard_negatives, *how) for how in _WAYS),
    ("hard_negatives", "minus-zero"): (_from_the_end,),
    ("hard_negatives", "all-of-equal"): (_harder_than_the_next,),
    ("mined_loss", "ignored-are-positive"): (
        _loss(_ignored_are_positive, counted=np.bool_, summed=np.bool_),
        _loss(_ignored_are_positive, counted=np.bool_), _loss(counted=np.bool_),
        _loss(counted=np.bool_, summed=np.bool_), _loss(summed=np.bool_)),
    ("mined_loss", "mean-of-images"): (_of_images(np.sum), _of_images(np.mean, True)),
    ("mined_loss", "all-negatives"): (_loss(choose=lambda losses, labels, ratio: labels <= 0),),
})
MISTAKES += tuple(replace(one, implementation=_not_stable(one.implementation, *how))
                  for one in _CHOICES for how in _OF_NEGATIVES.get(one.name, ()))


# ---- cases ---------------------------------------------------------------------------------------

def _shuffled(rng, losses, labels):
    """One image's boxes in a random order."""
    order = rng.permutation(len(losses))
    return np.array([losses], float)[:, order], np.array([labels])[:, order]


def _hand(rng, positives):
    """Seven boxes with whole losses, all different; so many are positive, of any class."""
    labels = [*rng.integers(2, 9, positives), *[0] * (7 - positives)]
    return _shuffled(rng, rng.permutation(np.arange(1, 40))[:7], labels)


def _tied(rng, boxes, positives):
    """Images of three losses; a third of the negatives have the lowest, which is 0, and some of
    these are chosen: of so many equals no sort that is not stable chooses the first ones by luck,
    on any processor, nor one among whose zeros are boxes that are no negatives."""
    losses = rng.permuted(np.tile(np.arange(boxes) % 3.0, (len(positives), 1)), axis=1)
    labels = np.zeros(losses.shape, np.int64)
    for row, count in zip(labels, positives):
        row[rng.permutation(boxes)[:count + 1]] = [-1, *rng.integers(2, 9, count)]
    return losses * rng.integers(1, 6), labels


def _batch(rng, images, boxes, positives, ignored=2):
    """Random losses, none nearly equal; so many positives in each image, of classes 1, 3, 1, ...;
    the highest losses are those of a box that is ignored and of the positive ones, the others are
    less than 1: they have no order as whole numbers."""
    losses = rng.permutation(np.linspace(0.05, 0.95, images * boxes)).reshape(images, boxes)
    labels = np.zeros((images, boxes), np.int64)
    for row, loss, count in zip(labels, losses, positives):
        places = rng.permutation(boxes)
        loss[places[count]] += 7
        loss[places[:count]] += 6
        row[places[:count]] = 1 + np.arange(count) % 2 * 2
        row[places[count:count + ignored]] = -1
    return losses + rng.uniform(0, 0.01), labels


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    label, other = rng.integers(2, 9, 2)
    return [
        Case("hard_negatives", "by hand", (*_hand(rng, rng.integers(1, 3)), 2)),
        Case("hard_negatives", "a hard positive", (*_shuffled(
            rng, (9.0, 8, 1, 7, 6, 5, 4, 3, 2), (3, 1, 2, -1, 0, 0, 0, 0, 0)), 1)),
        Case("hard_negatives", "many equal losses", (*_tied(rng, 100, (13, 14)), 5)),
        Case("hard_negatives", "fewer negatives than the budget", (*_shuffled(
            rng, (3.0, 8, 2, 6, 5, 4, 1, 7), (0, label, other, 0, -1, 3, 0, -2)), 3)),
        Case("hard_negatives", "images of their own", (*_batch(rng, 3, 12, (2, 0, 1)), 3), 1.5),
        Case("mined_loss", "loss, by hand", (*_hand(rng, 1), 2)),
        Case("mined_loss", "loss, no positives", (*_batch(rng, 2, 5, (0, 0)), 3), 0.25),
        Case("mined_loss", "loss, two images", (*_batch(rng, 2, 9, (1, 3)), 2), 1.75),
        Case("mined_loss", "loss, four images", (*_batch(rng, 4, 15, (2, 0, 4, 1)), 3), 1.5),
    ]


EXERCISE = Exercise(
    name="hard_negative_mining", title="Hard negative mining and SSD's loss",
    lecture="Kempten L 10.5, Single-Shot MultiBox Detector",
    source="tinyvision/boxes/sampling.py",
    functions={"hard_negatives": hard_negatives, "mined_loss": mined_loss}, cases=cases,
    mistakes=MISTAKES, magnitude={"mined_loss": mined_loss},
    terms={"mined_loss": lambda losses, labels, ratio: losses.size})
