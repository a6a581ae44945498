"""Targets: what is known about an image, as one plain dictionary for every task.

The keys are torchvision's, for M objects in an image of H x W pixels:

    boxes        float32 (M, 4), x0, y0, x1, y1 in continuous pixel coordinates, half open
    labels       int64 (M,), from 0
    masks        bool (M, H, W)
    keypoints    float32 (M, K, 3): x, y (continuous: the first pixel's centre is 0.5) and
                 visibility, 0 not there (then x = y = 0), 1 hidden, 2 visible
    area         float32 (M,), pixels
    iscrowd      bool (M,): many objects in one; not to be learned from, not to be counted
    image_id     int

and, beyond torchvision's,

    semantic     int64 (H, W): the class of every pixel, -1 ignored
    panoptic     int64 (H, W): the segment of every pixel, 0 none; `segment_ids` (M,) names them
    relations    int64 (R, 3): subject and object (positions among the objects) around a predicate
    captions     a tuple of sentences

Any other array is taken to have one row an object (VOC's `difficult`); anything else (a number, a
string, a tuple) belongs to the image and is carried along untouched.
"""
from __future__ import annotations

import numpy as np

from tinyvision.boxes import clip as clip_boxes
from tinyvision.data.files import DataError
from tinyvision.ops import box_area

MAPS = {"semantic": -1, "panoptic": 0}     # maps of pixels, and what stands outside the image
SLACK = 1.0                                # pixels that an annotated box may reach over the border


def of_objects(target) -> list[str]:
    """The keys whose values have one row an object."""
    return [key for key, value in target.items() if isinstance(value, np.ndarray) and value.ndim
            and key not in MAPS and key != "relations"]


def keep(target, which) -> dict:
    """The target with the objects `which`, a boolean array, alone, and the relations among them."""
    kept = {**target, **{key: target[key][which] for key in of_objects(target)}}
    if isinstance(target.get("relations"), np.ndarray):
        kept["relations"] = _renumbered(target["relations"], which)
    return kept


def _renumbered(relations, which):
    """Relations whose subject and object stay, by their new positions."""
    subject, predicate, other = relations[which[relations[:, ::2]].all(1)].T
    new = np.cumsum(which) - 1
    return np.stack([new[subject], predicate, new[other]], 1)


def count(target) -> int:
    """How many objects a target has.

    Raises:
        ValueError: its arrays disagree.
    """
    rows = {key: len(target[key]) for key in of_objects(target)}
    if len(set(rows.values())) > 1:
        raise ValueError(f"target: arrays of objects have as many rows, one an object; got {rows} "
                         "(what belongs to the image is a number, a string or a tuple)")
    return next(iter(rows.values()), 0)


def check(image, target) -> None:
    """Refuse an image that is not (C, H, W), and masks and maps of another size.

    Raises:
        ValueError: says which.
    """
    if getattr(image, "ndim", 0) != 3:
        raise ValueError(f"image: expected an array (C, H, W), got {np.shape(image)}")
    count(target)
    for key in ("masks", *MAPS):
        if key in target and np.shape(target[key])[-2:] != image.shape[-2:]:
            raise ValueError(f"target: {key} is {np.shape(target[key])}, but the image is "
                             f"{image.shape}")


# --- boxes ----------------------------------------------------------------------------------------
def mask_boxes(masks) -> np.ndarray:
    """The tight boxes float32 (M, 4) around masks (M, H, W); zeros around an empty one."""
    masks = np.asarray(masks, bool)
    boxes = np.zeros((len(masks), 4), np.float32)
    for axis, first in ((1, 0), (2, 1)):                     # columns give x, rows y
        line = masks.any(axis)
        boxes[:, first] = line.argmax(1) if line.size else 0
        boxes[:, first + 2] = line.shape[1] - line[:, ::-1].argmax(1) if line.size else 0
    boxes[~masks.any((1, 2))] = 0
    return boxes


def checked_boxes(boxes, size, where) -> np.ndarray:
    """Annotated boxes as float32 (M, 4), clipped to the image, over which they may reach a pixel.

    Args:
        boxes: numbers (M, 4).
        size: of the image, (H, W), or (M, 2), one for every box.
        where: called with k, names the file and its k-th annotation for the error.

    Raises:
        DataError: a box is empty, reaches outside the image, or is no number.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    (height, width), (x0, y0, x1, y1) = np.asarray(size).T, boxes.T
    inside = ((x0 >= -SLACK) & (y0 >= -SLACK) & (x1 <= width + SLACK) & (y1 <= height + SLACK)
              & (x0 < width) & (y0 < height) & (x1 > 0) & (y1 > 0))       # false for NaN too
    for wrong, what in (((x0 >= x1) | (y0 >= y1), "is empty"), (~inside, "reaches outside")):
        if wrong.any():
            k = int(wrong.argmax())
            height, width = np.broadcast_to(size, (len(boxes), 2))[k]
            box = ", ".join(f"{v:g}" for v in boxes[k])
            raise DataError(f"{where(k)}: the box ({box}) {what}; the image is "
                            f"{height} x {width} (H x W)")
    return clip_boxes(boxes, size).astype(np.float32)


def check_labels(labels, classes, path, ignored=None) -> None:
    """Refuse numbers of classes in the file `path` outside 0 to classes - 1 (but for `ignored`).

    Raises:
        DataError: names the file and the first such label.
    """
    labels = np.asarray(labels)
    wrong = (labels < 0) | (labels >= classes)
    if ignored is not None:
        wrong &= labels != ignored
    if wrong.any():
        raise DataError(f"{path}: the label {labels[wrong][0]} is out of range, there are "
                        f"{classes} classes, 0 to {classes - 1}"
                        + (f", and {ignored} for ignored" if ignored is not None else ""))
