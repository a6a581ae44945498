r"""# Mean IoU of a segmentation

Write `confusion_matrix` and `mean_iou`: how well every pixel's class was predicted.

The share of right pixels says little where most pixels are road and sky. Mean IoU counts every
class alike, however small it is. Everything follows from the confusion matrix, in which n(t, p)
pixels of the true class t were predicted as p:

$$\text{IoU}_k = \frac{n_{kk}}{\sum_p n_{kp} + \sum_t n_{tk} - n_{kk}}, \qquad
\text{mean IoU} = \text{the mean over the classes that occur}$$

**By hand.** Four classes, ignore_index -1 (a pixel that nobody could label):

    labels         predictions      confusion matrix       IoU
     0  0  1         0  1  1          1  1  0  0         1 / (2 + 1 - 1) = 1/2
     1  2 -1         1  1  3          0  2  0  0         2 / (2 + 4 - 2) = 1/2
                                      0  1  0  0         0 / (1 + 0 - 0) = 0
                                      0  0  0  0         class 3 does not occur

    mean IoU = (1/2 + 1/2 + 0) / 3 = 1/3

**Conventions.** Rows are true classes, columns predicted ones. A pixel with the label ignore_index
is not counted at all, whatever was predicted there. A class occurs if it is the label of, or was
predicted for, a pixel that counts; at least one pixel counts. Pixels of all images are counted
together.

**Shapes.** labels and predictions are integers of one shape, such as (N, H, W); they give int64
(K, K), and one number, where K = num_classes.
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions


def confusion_matrix(labels, predictions, num_classes, ignore_index):
    """How many pixels of each class were predicted as each class.

    Arguments:
        labels: integers of any shape, the true classes.
        predictions: integers of that shape.
        num_classes: K; classes are 0 to K - 1.
        ignore_index: a label that is not counted.

    Returns:
        int64 (K, K): row the true class, column the predicted one.
    """
    ### BEGIN SOLUTION
    counts = np.zeros((num_classes, num_classes), np.int64)
    for label, prediction in zip(labels.ravel(), predictions.ravel()):
        if label != ignore_index:
            counts[label, prediction] += 1
    return counts
    ### END SOLUTION


def mean_iou(labels, predictions, num_classes, ignore_index):
    """The mean IoU over the classes that occur.

    Arguments:
        labels, predictions, num_classes, ignore_index: as in `confusion_matrix`.

    Returns:
        one number from 0 to 1.
    """
    ### BEGIN SOLUTION
    counts = confusion_matrix(labels, predictions, num_classes, ignore_index)
    overlap = np.diag(counts)
    union = counts.sum(axis=0) + counts.sum(axis=1) - overlap
    ious = np.zeros(num_classes)
    ious[union > 0] = overlap[union > 0] / union[union > 0]
    return ious[union > 0].mean()
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _transposed(*args):
    return confusion_matrix(*args).T.copy()


def _nothing_ignored(labels, predictions, num_classes, ignore_index):
    """As when -1 is taken for the last class, the way NumPy counts from the end."""
    return confusion_matrix(labels % num_classes, predictions, num_classes, num_classes)


def _ignored_by_prediction(labels, predictions, num_classes, ignore_index):
    return confusion_matrix(np.where(predictions == ignore_index, -7, labels) % num_classes,
                            predictions, num_classes, num_classes)


def _ignored_row_only(labels, predictions, num_classes, ignore_index):
    kept = (labels != ignore_index) & (predictions != ignore_index)
    return confusion_matrix(labels[kept], predictions[kept], num_classes, num_classes)


def _pairs_once(*args):
    return np.minimum(confusion_matrix(*args), 1)


def _right_only(*args):
    return np.diag(np.diag(confusion_matrix(*args)))


def _without_background(*args):
    counts = confusion_matrix(*args)
    counts[0] = 0
    return counts


def _from(ratio, matrix=confusion_matrix):
    """A wrong mean: ``ratio`` of (right pixels, true pixels, predicted pixels) of each class."""
    def wrong(*args):
        counts = matrix(*args)
        return np.float64(ratio(np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)))
    return wrong


def _divide(a, b, empty=0.0):
    return np.divide(a, b, out=np.full(len(a), empty), where=b != 0)


def _mean(a, b, occurs):
    return _divide(a, b)[occurs].mean() if occurs.any() else np.nan


def _known_labels(labels, predictions, num_classes, ignore_index):
    """Leaves out only labels that are no class, such as -1 and 255."""
    kept = (labels >= 0) & (labels < num_classes)
    return confusion_matrix(labels[kept], predictions[kept], num_classes, num_classes)


def _row_cleared(labels, predictions, num_classes, ignore_index):
    """Counts all and then clears row ignore_index; -1 is the last one."""
    counts = _nothing_ignored(labels, predictions, num_classes, ignore_index)
    if ignore_index < num_classes:
        counts[ignore_index] = 0
    return counts


def _row_and_column_cleared(*args):
    counts = _row_cleared(*args)
    if args[-1] < len(counts):
        counts[:, args[-1]] = 0
    return counts


def _of_objects_only(*args):
    counts = _without_background(*args)
    counts[:, 0] = 0
    return counts


def _of_classes(right, true, predicted):
    return _mean(right, true + predicted - right, true + predicted > 0)


def _per_image(images):
    """The mean over ``images`` of labels or predictions; those where no pixel counts left out."""
    def wrong(labels, predictions, *how):
        pairs = zip(images(labels), images(predictions))
        return np.mean([mean_iou(a, b, *how) for a, b in pairs if (a != how[1]).any()])
    return wrong


def _planes(labels):
    return labels.reshape(-1, *labels.shape[-2:])


def _per_class_and_image(labels, predictions, num_classes, ignore_index):
    """Each class's mean over the images in which it occurs, then the mean of these."""
    ious = []
    for pair in zip(_planes(labels), _planes(predictions)):
        counts = confusion_matrix(*pair, num_classes, ignore_index)
        right, union = np.diag(counts), counts.sum(axis=0) + counts.sum(axis=1) - np.diag(counts)
        ious.append(_divide(right, union, np.nan))
    seen = ~np.isnan(ious)
    return _mean(np.nansum(ious, axis=0), seen.sum(axis=0), seen.any(axis=0))


def _all_pixels_right(labels, predictions, num_classes, ignore_index):
    return np.mean(labels == predictions)


def _unmasked(labels, predictions, num_classes, ignore_index):
    """Class by class, without a look at ignore_index."""
    pairs = [(labels == k, predictions == k) for k in range(num_classes)]
    return np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs if (a | b).any()])


def _predicted_at_ignored(labels, predictions, num_classes, ignore_index):
    counts = confusion_matrix(labels, predictions, num_classes, ignore_index)
    overlap, true = np.diag(counts), counts.sum(axis=1)
    union = true + np.bincount(predictions.ravel(), minlength=num_classes) - overlap
    return _mean(overlap, union, union > 0)


MISTAKES = (
    Mistake("confusion_matrix", "transposed", "Rows are the true classes, columns the predicted "
            "ones.", _transposed),
    Mistake("confusion_matrix", "nothing-ignored", "Pixels with the label ignore_index are "
            "counted. (Index -1 of an array is its last element.)", _nothing_ignored),
    Mistake("confusion_matrix", "ignored-by-prediction", "You leave pixels out by what was "
            "predicted. What counts is what is true there.", _ignored_by_prediction),
    Mistake("confusion_matrix", "ignored-in-both", "A pixel that was predicted as ignore_index "
            "but is of another class counts as a wrong one.", _ignored_row_only),
    Mistake("confusion_matrix", "pairs-once", "Every pair is counted once. With arrays as indices "
            "NumPy's += adds only once to each place.", _pairs_once),
    Mistake("confusion_matrix", "right-only", "Only the right pixels are counted: the wrong ones "
            "belong beside the diagonal.", _right_only),
    Mistake("confusion_matrix", "without-background", "Class 0 is a class like the others.",
            _without_background),
    Mistake("mean_iou", "absent-are-zero", "A class that does not occur counts as 0 in your mean; "
            "it should not count.", _from(lambda o, t, p: _divide(o, t + p - o).mean())),
    Mistake("mean_iou", "absent-are-one", "A class that does not occur counts as 1 in your mean; "
            "it should not count.", _from(lambda o, t, p: _divide(o, t + p - o, 1.0).mean())),
    Mistake("mean_iou", "true-classes-only", "A class that was predicted but is nowhere true "
            "occurs, too: its IoU is 0.", _from(lambda o, t, p: _mean(o, t + p - o, t > 0))),
    Mistake("mean_iou", "class-accuracy", "That is the mean class accuracy: pixels predicted as a "
            "class by mistake cost nothing.", _from(lambda o, t, p: _mean(o, t, t > 0))),
    Mistake("mean_iou", "pixel-accuracy", "That is the share of right pixels. Mean IoU counts "
            "every class alike.", _from(lambda o, t, p: o.sum() / t.sum())),
    Mistake("mean_iou", "over-all-classes", "You divide the sum of intersections by the sum of "
            "unions. The mean is taken of the ratios.",
            _from(lambda o, t, p: o.sum() / (t + p - o).sum())),
    Mistake("mean_iou", "dice", "Twice the intersection over the sum of both is the Dice "
            "coefficient.", _from(lambda o, t, p: _mean(2 * o, t + p, t + p > 0))),
    Mistake("mean_iou", "union-counts-twice", "Your union counts the right pixels twice.",
            _from(lambda o, t, p: _mean(o, t + p, t + p > 0))),
    Mistake("mean_iou", "weighted", "The classes are weighted by their pixels. That is the "
            "frequency weighted IoU.",
            _from(lambda o, t, p: (t * _divide(o, t + p - o)).sum() / t.sum())),
    Mistake("mean_iou", "without-background", "Class 0 is a class like the others.",
            _from(lambda o, t, p: _mean(o[1:], (t + p - o)[1:], (t + p)[1:] > 0))),
    Mistake("mean_iou", "mean-of-images", "You average the images' mean IoUs. Count the pixels of "
            "all images together first.", _per_image(_planes)),
    Mistake("mean_iou", "nothing-ignored", "Pixels with the label ignore_index are counted.",
            _from(_of_classes, _nothing_ignored)),
    Mistake("mean_iou", "predicted-at-ignored", "What was predicted at ignored pixels is in your "
            "union.", _predicted_at_ignored),
    Mistake("mean_iou", "never-masked", "Ignored pixels are in your union, what they are as well "
            "as what was predicted there.", _unmasked),
    Mistake("confusion_matrix", "row-cleared", "You count all pixels and clear row ignore_index "
            "afterwards; row -1 of an array is that of its last class.", _row_cleared),
    Mistake("mean_iou", "absent-are-nan", "What is 0 / 0? A class that does not occur should not "
            "count.", _from(lambda o, t, p: _divide(o, t + p - o, np.nan).mean())),
    Mistake("mean_iou", "predicted-classes-only", "A class that is true somewhere but was never "
            "predicted occurs, too: its IoU is 0.", _from(lambda o, t, p: _mean(o, t + p - o,
                                                                                p > 0))),
    Mistake("mean_iou", "found-classes-only", "A class of which no pixel is right has IoU 0; it "
            "counts where it occurs.", _from(lambda o, t, p: _mean(o, t + p - o, o > 0))),
    Mistake("mean_iou", "of-the-predicted", "You divide by the predicted pixels alone: true ones "
            "that were missed cost nothing.", _from(lambda o, t, p: _mean(o, p, p > 0))),
    Mistake("mean_iou", "shared-part-lost", "You subtract the right pixels twice: they belong to "
            "the union.", _from(lambda o, t, p: _mean(o, t + p - 2 * o, t + p > 0))),
)

MISTAKES += tuple(Mistake("mean_iou", one.name, one.hint, _from(_of_classes, one.implementation))
                  for one in MISTAKES if one.name in (
                      "ignored-by-prediction", "ignored-in-both", "pairs-once", "row-cleared"))

MISTAKES += versions(MISTAKES, {
    ("confusion_matrix", "nothing-ignored"): (_known_labels,),
    ("confusion_matrix", "row-cleared"): (_row_and_column_cleared,),
    ("mean_iou", "row-cleared"): (_from(_of_classes, _row_and_column_cleared),),
    ("confusion_matrix", "without-background"): (_of_objects_only,),
    ("mean_iou", "nothing-ignored"): (_from(_of_classes, _known_labels),),
    ("mean_iou", "without-background"): (_from(_of_classes, _without_background),
                                         _from(_of_classes, _of_objects_only)),
    ("mean_iou", "class-accuracy"): (_from(lambda o, t, p: _mean(o, t, t + p > 0)),
                                     _from(lambda o, t, p: _divide(o, t).mean())),
    ("mean_iou", "of-the-predicted"): (_from(lambda o, t, p: _mean(o, p, t + p > 0)),
                                       _from(lambda o, t, p: _divide(o, p).mean())),
    ("mean_iou", "pixel-accuracy"): (_all_pixels_right,),
    ("mean_iou", "mean-of-images"): (_per_image(list), _per_class_and_image),
    ("mean_iou", "dice"): (_from(lambda o, t, p: _divide(2 * o, t + p).mean()),),
    ("mean_iou", "union-counts-twice"): (_from(lambda o, t, p: _divide(o, t + p).mean()),),
})


# ---- cases ---------------------------------------------------------------------------------------

def _few(rng, classes, labels, predictions, guesses):
    """Few pixels in two rows, in a random order: numbers that stand for ``classes``. What was
    predicted at the last ones, for which ``predictions`` has no more, is one of ``guesses``."""
    order, rest = rng.permutation(len(labels)), len(labels) - len(predictions)
    predictions = [*predictions, *rng.choice(guesses, rest)]
    return tuple(classes[np.array(where)[order]].reshape(2, -1) for where in (labels, predictions))


def _hand(rng):
    """As in the example: class 2 is never predicted, class 3 only where nothing counts."""
    return _few(rng, np.append(rng.permutation(3), [3, -1]), [-1, 2, 0, 1, *rng.integers(0, 2, 4)],
                [3, 1, 0], [0, 1])


def _maps(rng, shape, classes, absent=(), ignore=-1):
    """Random labels, ten of them ignored, and predictions of which about half are right; one pixel
    that counts was predicted as the ignored class, if there is one."""
    there = [k for k in range(classes) if k not in absent]
    labels = rng.choice(there, shape)
    predictions = np.where(rng.random(shape) < 0.5, labels, rng.choice(there, shape))
    places = rng.permutation(labels.size)
    labels.ravel()[places[:10]] = ignore
    labels.ravel()[places[10]], predictions.ravel()[places[10]] = 0, max(ignore, 0)
    return labels, predictions


def _in_one_image(labels, predictions, k):
    """The same maps, with class k in the first image only; in the others it becomes 0."""
    for where in (labels, predictions):
        where[1:][where[1:] == k] = 0
    return labels, predictions


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    hand = _hand(rng)
    return [
        Case("confusion_matrix", "by hand", (*hand, 4, -1)),
        Case("confusion_matrix", "two classes, nothing ignored", (*_few(
            rng, np.arange(2), [0, 1, *rng.integers(0, 2, 6)], [], [0, 1]), 2, -1), 0.5),
        Case("confusion_matrix", "class 1 ignored", (*_maps(rng, (7, 5), 4, (), 1), 4, 1)),
        Case("confusion_matrix", "three images", (*_maps(rng, (3, 30, 31), 4), 5, -1)),
        Case("mean_iou", "mean, by hand", (*hand, 4, -1)),
        Case("mean_iou", "mean, a class predicted but nowhere true", (*_few(
            rng, rng.permutation(7), [0, 0, 1, 1, 2, 2, *rng.integers(0, 3, 4)], [3, 0, 0, 1, 2],
            [0, 1, 2]), 7, 255)),
        Case("mean_iou", "mean, every class occurs", (*_few(
            rng, rng.permutation(3), [0, 0, 1, 1, 2, 2, *rng.integers(0, 3, 4)], [0, 1, 1, 2],
            [0, 1, 2]), 3, -1), 0.5),
        Case("mean_iou", "mean, a class predicted only where nothing counts", (*_few(
            rng, np.append(1 + rng.permutation(6), 0), [-1, -1, 0, 1, 2, *rng.integers(0, 3, 5)],
            [3, 3, 0, 1], [0, 1, 2]), 7, 0)),
        Case("mean_iou", "mean, class 2 ignored", (*_maps(rng, (2, 7, 5), 6, (4,), 2), 6, 2)),
        Case("mean_iou", "mean, three images", (
            *_in_one_image(*_maps(rng, (3, 6, 7), 7, (3, 5)), 6), 7, -1), 2),
    ]


def _classes(labels, predictions, num_classes, ignore_index):
    """Whether all classes are known and a pixel counts."""
    known = (labels == ignore_index) | (labels >= 0) & (labels < num_classes)
    return known.all() and (0 <= predictions).all() and (predictions < num_classes).all() and (
        labels != ignore_index).any()


EXERCISE = Exercise(
    name="mean_iou", title="Confusion matrix and mean IoU",
    lecture="Kempten L 10.5, Evaluating Boxes (Jaccard index)",
    source="tinyvision/metrics/segmentation.py",
    functions={"confusion_matrix": confusion_matrix, "mean_iou": mean_iou}, cases=cases,
    mistakes=MISTAKES, magnitude={"mean_iou": mean_iou},
    terms={"mean_iou": lambda labels, predictions, num_classes, ignore_index: num_classes},
    domain={"confusion_matrix": _classes, "mean_iou": _classes})
