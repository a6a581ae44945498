"""Classification: the share of items whose class was found. Lecture: C rows, top-1 and top-5."""
from __future__ import annotations

import numpy as np


def accuracy(labels, predictions) -> float:
    """The share of items whose predicted class is the true one (top-1).

    Args:
        labels, predictions: integers (N,).

    Raises:
        ValueError: no items, or not as many predictions as labels.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.ndim != 1 or labels.shape != predictions.shape or not labels.size:
        raise ValueError(f"accuracy: labels have shape {labels.shape}, predictions "
                         f"{predictions.shape}; expected (N,) both, N at least 1; of scores take "
                         "the argmax, or use top_k_accuracy")
    return float((labels == predictions).mean())


def top_k_accuracy(labels, scores, k: int = 5) -> float:
    """The share of items whose true class is among the k with the highest scores (Russakovsky et
    al. 2015, 4.1: ILSVRC counted k = 5). Of equal scores the lower class comes first.

    Args:
        labels: integers (N,) from 0 to classes - 1.
        scores: (N, classes), logits or probabilities.

    Raises:
        ValueError: shapes that do not fit, a label or k out of range.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    if labels.ndim != 1 or scores.ndim != 2 or len(labels) != len(scores) or not labels.size:
        raise ValueError(f"top_k_accuracy: labels have shape {labels.shape}, scores {scores.shape}; "
                         "expected (N,) and (N, classes), N at least 1")
    classes = scores.shape[1]
    if not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"top_k_accuracy: labels go from {labels.min()} to {labels.max()}, "
                         f"expected 0 to {classes - 1}")
    if not 1 <= k <= classes:
        raise ValueError(f"top_k_accuracy: k is {k}, expected 1 to {classes}, the classes")
    first = np.argsort(-scores, 1, kind="stable")[:, :k]
    return float((first == labels[:, None]).any(1).mean())
