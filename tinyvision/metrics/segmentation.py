"""Segmentation: counts of right and wrong pixels, and what is computed from them. Lecture: M1.

Everything follows from the confusion matrix, counts[t, p] pixels of class t predicted as p. With
o = counts[k, k] (overlap), t and p the pixels that are, and that are predicted to be, of class k:

    IoU  = o / (t + p - o)        Dice = 2 o / (t + p)        class accuracy = o / t

Counts add up over batches; ratios do not. Segmentation of several labels at a time (multilabel: a
pixel may have all of them or none) is one two-class problem for every label.
"""
from __future__ import annotations

import numpy as np


def confusion_matrix(labels, predictions, num_classes: int, ignore_index: int = -1) -> np.ndarray:
    """(num_classes, num_classes) counts: row the true class, column the predicted one.

    Args:
        labels, predictions: integer arrays of one shape; ignored labels are not counted.

    Raises:
        ValueError: shapes that differ, or a class out of range.
    """
    labels, predictions = _two(labels, predictions, "confusion_matrix")
    kept = labels != ignore_index
    pairs = labels[kept].astype(np.int64), predictions[kept].astype(np.int64)
    for name, values in zip(("labels", "predictions"), pairs):
        if values.size and not 0 <= values.min() <= values.max() < num_classes:
            raise ValueError(f"confusion_matrix: {name} go from {values.min()} to {values.max()}, "
                             f"expected 0 to {num_classes - 1}")
    counts = np.bincount(pairs[0] * num_classes + pairs[1], minlength=num_classes ** 2)
    return counts.reshape(num_classes, num_classes)


def _two(labels, predictions, who, kinds="iub"):
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape:
        raise ValueError(f"{who}: labels have shape {labels.shape}, "
                         f"predictions {predictions.shape}; expected the same")
    for name, array in (("labels", labels), ("predictions", predictions)):
        if array.dtype.kind not in kinds:
            raise ValueError(f"{who}: {name} are of dtype {array.dtype}, expected "
                             f"{'integers' if 'i' in kinds else 'booleans'}; threshold scores, or "
                             "take their argmax, before")
    return labels, predictions


def _ratio(a, b) -> np.ndarray:
    """a / b, NaN where both are 0: a class that does not occur has no score."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(a, np.float64) / b


def _mean(values) -> float:
    """The mean of those that are there."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float("nan")


class _Overlaps:
    """Scores of every class from three counts: `overlap`, `true` and `predicted` pixels."""

    def iou(self) -> np.ndarray:
        """Overlap over union of every class (the Jaccard index); NaN where it does not occur."""
        return _ratio(self.overlap, self.true + self.predicted - self.overlap)

    def dice(self) -> np.ndarray:
        """Twice the overlap over the sum of both (the pixels' F1); NaN where it does not occur."""
        return _ratio(2 * self.overlap, self.true + self.predicted)

    def class_accuracy(self) -> np.ndarray:
        """The share of every class's true pixels that were found (recall)."""
        return _ratio(self.overlap, self.true)

    def class_precision(self) -> np.ndarray:
        """The share of the pixels predicted as a class that are of it."""
        return _ratio(self.overlap, self.predicted)

    def mean_iou(self) -> float:
        """The mean over the classes that occur, in the truth or in the predictions."""
        return _mean(self.iou())

    def mean_dice(self) -> float:
        """The mean over the classes that occur."""
        return _mean(self.dice())

    def mean_accuracy(self) -> float:
        """The mean of the classes' accuracies, over the classes that truly occur."""
        return _mean(self.class_accuracy())


class Segmentation(_Overlaps):
    """Multiclass (two classes included): one label for every pixel. Adds up over batches.

        scores = Segmentation(6)
        for images, masks in loader:
            scores.add(masks, model.predict(images))
        scores.mean_iou()

    Args:
        num_classes: the background included, if there is one.
        ignore_index: true labels that are not counted.

    Attributes:
        counts: the confusion matrix so far, (num_classes, num_classes) int64.
    """

    def __init__(self, num_classes: int, ignore_index: int = -1):
        self.ignore_index = ignore_index
        self.counts = np.zeros((num_classes, num_classes), np.int64)

    def add(self, labels, predictions) -> Segmentation:
        """Count integer arrays of one shape, any; returns itself. Errors: `confusion_matrix`."""
        self.counts += confusion_matrix(labels, predictions, len(self.counts), self.ignore_index)
        return self

    @property
    def overlap(self):
        """(num_classes,) pixels that are right."""
        return np.diag(self.counts)

    @property
    def true(self):
        """(num_classes,) pixels of every class."""
        return self.counts.sum(1)

    @property
    def predicted(self):
        """(num_classes,) pixels predicted as every class."""
        return self.counts.sum(0)

    def pixel_accuracy(self) -> float:
        """The share of pixels that are right."""
        return float(_ratio(self.overlap.sum(), self.counts.sum()))

    def frequency_weighted_iou(self) -> float:
        """The mean of the classes' IoU, weighted by their true pixels (Long et al. 2015, 5)."""
        seen = self.true > 0
        return float(_ratio((self.true[seen] * self.iou()[seen]).sum(), self.true.sum()))

    def summary(self) -> dict[str, float]:
        """The five numbers of a table, by name."""
        return {name: getattr(self, name)() for name in
                ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou",
                 "mean_dice")}


class Multilabel(_Overlaps):
    """Masks of several labels, each pixel having any of them; num_labels 1 is binary segmentation.

    Attributes:
        overlap, true, predicted: (num_labels,) pixels so far; pixels: all that were looked at.
    """

    def __init__(self, num_labels: int = 1):
        self.overlap, self.true, self.predicted = np.zeros((3, num_labels), np.int64)
        self.pixels = 0

    def add(self, labels, predictions) -> Multilabel:
        """Count masks, (N, num_labels, ...) booleans; returns itself.

        Raises:
            ValueError: shapes that differ or have another number of labels, or no booleans.
        """
        labels, predictions = _two(labels, predictions, "Multilabel.add", "b")
        if labels.ndim < 2 or labels.shape[1] != len(self.true):
            raise ValueError(f"Multilabel.add: masks have shape {labels.shape}, expected "
                             f"(N, {len(self.true)}, ...)")
        axes = (0, *range(2, labels.ndim))
        self.overlap += (labels & predictions).sum(axes)
        self.true += labels.sum(axes)
        self.predicted += predictions.sum(axes)
        self.pixels += labels[:, 0].size
        return self

    def pixel_accuracy(self) -> np.ndarray:
        """(num_labels,) the share of pixels that are right about each label."""
        wrong = self.true + self.predicted - 2 * self.overlap
        return 1 - _ratio(wrong, self.pixels)


# --- in one call ----------------------------------------------------------------------------------
def pixel_accuracy(labels, predictions, num_classes: int, ignore_index: int = -1) -> float:
    """The share of pixels that are right."""
    return Segmentation(num_classes, ignore_index).add(labels, predictions).pixel_accuracy()


def iou(labels, predictions, num_classes: int, ignore_index: int = -1) -> np.ndarray:
    """(num_classes,) overlap / union; NaN where a class does not occur."""
    return Segmentation(num_classes, ignore_index).add(labels, predictions).iou()


def mean_iou(labels, predictions, num_classes: int, ignore_index: int = -1) -> float:
    """The mean, over classes that occur, of overlap / union; NaN where none occurs."""
    return Segmentation(num_classes, ignore_index).add(labels, predictions).mean_iou()


def dice(labels, predictions, num_classes: int, ignore_index: int = -1) -> np.ndarray:
    """(num_classes,) 2 overlap / (true + predicted); NaN where a class does not occur."""
    return Segmentation(num_classes, ignore_index).add(labels, predictions).dice()
