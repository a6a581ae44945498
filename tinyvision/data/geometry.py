"""Moving an image and what is annotated on it: mirrored, cropped, padded, resized.

Each takes an image (C, H, W) and a target (see `tinyvision.data.target`) and returns new ones.
Boxes are clipped at the border, and an object of which nothing is left disappears from every key.
Where there are masks, boxes are tight around what a crop leaves of them.
"""
from __future__ import annotations

import numpy as np

from tinyvision.data import target as targets
from tinyvision.data.target import MAPS


def mirror_pairs(names) -> tuple:
    """For every keypoint the one on the other side, from names such as left_eye and right_eye."""
    other = {"left": "right", "right": "left"}
    swapped = ["_".join(other.get(word, word) for word in name.split("_")) for name in names]
    return tuple(names.index(name) for name in swapped)


def hflip(image, target, pairs=None):
    """Left to right. pairs: for every keypoint the one on the other side, see `mirror_pairs`."""
    width, flipped = image.shape[2], dict(target)
    for key in {"masks", *MAPS} & target.keys():
        flipped[key] = target[key][..., ::-1].copy()
    if "boxes" in target:
        boxes = flipped["boxes"] = target["boxes"].copy()
        boxes[:, [0, 2]] = width - target["boxes"][:, [2, 0]]
    if "keypoints" in target:
        points = target["keypoints"][:, list(pairs)] if pairs else target["keypoints"].copy()
        points[..., 0] = width - points[..., 0]
        points[points[..., 2] == 0] = 0
        flipped["keypoints"] = points
    return image[..., ::-1].copy(), flipped


def crop(image, target, box):
    """The part (x0, y0, x1, y1), whole numbers, inside the image. Objects outside disappear."""
    x0, y0, x1, y1 = box
    part, cropped = (slice(y0, y1), slice(x0, x1)), dict(target)
    for key in {"masks", *MAPS} & target.keys():
        cropped[key] = target[key][(..., *part)].copy()
    shift = np.array((x0, y0), np.float32)
    if "boxes" in target:
        cropped["boxes"] = target["boxes"] - np.tile(shift, 2)
    if "keypoints" in target:
        cropped["keypoints"] = target["keypoints"] - (*shift, np.float32(0))
    return image[(..., *part)].copy(), clean(cropped, (y1 - y0, x1 - x0))


def pad(image, target, border, fill=0.0):
    """A border of (left, top, right, bottom) pixels around, of the value `fill` (one, or one for
    every channel). Outside, classes are -1 (ignored) and nothing is annotated."""
    left, top, right, bottom = border
    around, padded = ((top, bottom), (left, right)), dict(target)
    shape = (len(image), image.shape[1] + top + bottom, image.shape[2] + left + right)
    canvas = np.empty(shape, image.dtype)
    canvas[:] = np.reshape(np.asarray(fill, image.dtype), (-1, 1, 1))
    canvas[:, top:shape[1] - bottom, left:shape[2] - right] = image
    for key in MAPS.keys() & target.keys():
        padded[key] = np.pad(target[key], around, constant_values=MAPS[key])
    if "masks" in target:
        padded["masks"] = np.pad(target["masks"], ((0, 0), *around))
    if "boxes" in target:
        padded["boxes"] = target["boxes"] + np.array((left, top, left, top), np.float32)
    if "keypoints" in target:
        points = padded["keypoints"] = target["keypoints"].copy()
        points[points[..., 2] > 0] += np.array((left, top, 0), np.float32)
    return canvas, padded


def resize(image, target, size):
    """To (H, W): the image by area-aware bilinear interpolation, masks and maps to the nearest."""
    (height, width), old = size, image.shape[1:]
    if (height, width) == old:
        return image, target
    scale = np.array((width / old[1], height / old[0]), np.float32)
    resized = dict(target)
    rows, columns = ((2 * np.arange(new) + 1) * was // (2 * new) for new, was in zip(size, old))
    for key in {"masks", *MAPS} & target.keys():
        resized[key] = target[key][..., rows[:, None], columns]
    if "boxes" in target:
        resized["boxes"] = target["boxes"] * np.tile(scale, 2)
    if "keypoints" in target:
        resized["keypoints"] = target["keypoints"] * (*scale, np.float32(1))
    if "area" in target:
        resized["area"] = target["area"] * scale.prod()
    return resize_image(image, size), resized


def resize_image(image, size):
    """Bilinear, averaging over the pixels that fall together when it gets smaller; Pillow's."""
    from PIL import Image
    planes = [Image.fromarray(np.ascontiguousarray(plane, np.float32)).resize(
        size[::-1], Image.Resampling.BILINEAR) for plane in image]
    return np.stack([np.asarray(plane) for plane in planes])


def clean(target, size):
    """A target whose objects may reach out of an image of (H, W), made right: boxes are clipped
    (where there are masks, made tight), areas follow, keypoints outside are no longer there, and
    objects of which nothing is left are dropped."""
    target = dict(target)
    if "keypoints" in target:
        points = target["keypoints"]
        inside = ((points[..., :2] >= 0) & (points[..., :2] < size[::-1])).all(-1)
        target["keypoints"] = points * (inside & (points[..., 2] > 0))[..., None]
    if "masks" in target:
        return _clean_masks(target)
    return _clean_boxes(target, size) if "boxes" in target else target


def _clean_masks(target):
    if "boxes" in target:
        target["boxes"] = targets.mask_boxes(target["masks"])
    if "area" in target:
        target["area"] = target["masks"].sum((1, 2), dtype=np.float32)
    return targets.keep(target, target["masks"].any((1, 2)))


def _clean_boxes(target, size):
    full, clipped = targets.box_area(target["boxes"]), targets.clip_boxes(target["boxes"], size)
    target["boxes"], left = clipped, targets.box_area(clipped)
    target = targets.keep(target, left > 0)
    if "area" in target:                                     # what is cut off counts evenly
        target["area"] = target["area"] * (left / full)[left > 0]
    return target
