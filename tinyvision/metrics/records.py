"""Targets and predictions, one dictionary an image, as the metrics of detection take them."""
from __future__ import annotations

import numpy as np

from tinyvision.device import to_device
from tinyvision.engine import as_array

SHAPES = {"labels": ("M",), "scores": ("M",), "area": ("M",), "iscrowd": ("M",),
          "difficult": ("M",), "boxes": ("M", 4), "masks": ("M", "H", "W"),
          "keypoints": ("M", "K", 3)}
KINDS = {"labels": np.int64, "iscrowd": bool, "difficult": bool, "masks": bool}


def pairs(who, targets, predictions) -> list[tuple]:
    """(target, prediction) of every image.

    Raises:
        ValueError: two numbers of images, or one dictionary where a list of them is expected.
    """
    lists = isinstance(targets, (list, tuple)) and isinstance(predictions, (list, tuple))
    if not lists or len(targets) != len(predictions):
        counts = [len(given) if isinstance(given, (list, tuple)) else f"a {type(given).__name__}"
                  for given in (targets, predictions)]
        raise ValueError(f"{who}: expected two lists of dictionaries, one an image; got "
                         f"{counts[0]} targets and {counts[1]} predictions")
    return list(zip(targets, predictions))


def read(where, record, needs, classes) -> dict:
    """These keys of a dictionary as NumPy arrays of one length: boxes, scores and keypoints
    float64, labels int64, masks and marks bool.

    Raises:
        ValueError: a key is missing, a shape is wrong, a label is not 0 to classes - 1, masks are
            not bool, or scores NaN.
    """
    if missing := [key for key in needs if key not in record]:
        raise ValueError(f"{where} has no {missing[0]!r}, expected {', '.join(needs)}; it has "
                         f"{', '.join(map(str, record)) or 'nothing'}")
    count = len(record["labels"])
    arrays = {key: column(where, key, record[key], count) for key in needs}
    labels = arrays["labels"]
    if wrong := labels[(labels < 0) | (labels >= classes)].tolist():
        raise ValueError(f"{where}: labels go from 0 to {classes - 1}, got {wrong[0]}")
    if "scores" in arrays and np.isnan(arrays["scores"]).any():
        raise ValueError(f"{where}: scores has NaN, and detections cannot be put in order; look at "
                         "the loss of the training they come from")
    return arrays


def column(where, key, values, count) -> np.ndarray:
    """One array with `count` rows, checked; an empty list will do for no rows."""
    array = to_device(as_array(values), "cpu")
    shape = (count, *SHAPES[key][1:])
    if array.shape == (0,) == (count,):
        array = array.reshape([side if isinstance(side, int) else 1 for side in shape])
    known = [k for k, side in enumerate(shape) if isinstance(side, int)]
    if array.ndim != len(shape) or any(array.shape[k] != shape[k] for k in known):
        sides = ", ".join(map(str, shape)) + "," * (len(shape) == 1)
        raise ValueError(f"{where}: {key} has shape {array.shape}, expected ({sides}), one row for "
                         "every label")
    if key == "masks" and array.dtype != bool and count:
        raise ValueError(f"{where}: masks are {array.dtype}, expected bool; threshold scores first")
    return array.astype(KINDS.get(key, np.float64), copy=False)


def of_class(record, label) -> dict:
    """The rows of one class."""
    rows = record["labels"] == label
    return {key: values[rows] for key, values in record.items()}


def best_first(record, most=None) -> dict:
    """The rows in the order of their scores, at most so many; equal ones stay in their order."""
    order = by_score(record["scores"])[:most]
    return {key: values[order] for key, values in record.items()}


def by_score(scores) -> np.ndarray:
    """The order of scores (D,), highest first; equal ones stay in their order."""
    return np.argsort(-scores, kind="stable")
