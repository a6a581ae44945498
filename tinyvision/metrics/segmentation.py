"""Segmentation: the confusion matrix, and from it the mean IoU. Lecture: M1."""
from __future__ import annotations

import numpy as np


def confusion_matrix(labels, predictions, num_classes: int, ignore_index: int = -1) -> np.ndarray:
    """(num_classes, num_classes) counts: row the true class, column the predicted one.

    Args:
        labels, predictions: integer arrays of one shape; ignored labels are not counted.

    Raises:
        ValueError: shapes that differ, or a class out of range.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape:
        raise ValueError(f"confusion_matrix: labels have shape {labels.shape}, "
                         f"predictions {predictions.shape}; expected the same")
    kept = labels != ignore_index
    pairs = labels[kept], predictions[kept]
    for name, values in zip(("labels", "predictions"), pairs):
        if values.size and not 0 <= values.min() <= values.max() < num_classes:
            raise ValueError(f"confusion_matrix: {name} go from {values.min()} to {values.max()}, "
                             f"expected 0 to {num_classes - 1}")
    counts = np.bincount(pairs[0] * num_classes + pairs[1], minlength=num_classes ** 2)
    return counts.reshape(num_classes, num_classes)


def mean_iou(labels, predictions, num_classes: int, ignore_index: int = -1) -> float:
    """The mean, over classes that occur, of overlap / union; NaN where none occurs."""
    counts = confusion_matrix(labels, predictions, num_classes, ignore_index)
    overlap = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - overlap
    return float((overlap[union > 0] / union[union > 0]).mean()) if union.any() else float("nan")
