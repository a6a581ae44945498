"""Simple copy-paste: objects cut out of one image and pasted onto another.

Ghiasi et al. 2021, "Simple copy-paste is a strong data augmentation method for instance
segmentation". Their recipe: every image through `RandomHorizontalFlip`, `ScaleJitter` from 0.1 to
2 and `RandomCrop` (so all have one size), then pasted without blending.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision.data import geometry
from tinyvision.data import target as targets


@dataclass(frozen=True)
class SimpleCopyPaste:
    """A change of a whole batch, for `DataLoader(batch_transforms=...)`.

    Each sample receives, with probability p, a random subset of the objects of another one (crowds
    excepted). What lies under them loses those pixels from its mask, its box is made tight again,
    and an object of which nothing is left, or no more than the fraction `least`, is dropped. Images
    of other sizes are padded or cut off right and below.
    """
    p: float = 1.0
    least: float = 0.0

    def __call__(self, samples, random) -> list:
        """The samples [(image, target), ...], changed; from each is pasted what it was before."""
        return [self._one(samples, k, random) for k in range(len(samples))]

    def _one(self, samples, k, random):
        if len(samples) < 2 or random.random() >= self.p:
            return samples[k]
        other = (k + 1 + random.integers(len(samples) - 1)) % len(samples)
        source, target = samples[other]
        chosen = random.random(len(_masks(target))) < random.random()
        if "iscrowd" in target:
            chosen &= ~target["iscrowd"]
        return paste(*samples[k], source, targets.keep(target, chosen), self.least)


def paste(image, target, source, objects, least=0.0):
    """(image, target) with the objects of the target `objects` cut out of the image `source`.

    Maps of classes and of segments are pasted too. What only one of the two targets says of its
    objects is dropped.
    """
    source, objects = _of_size(source, objects, image.shape[1:])
    over = _masks(objects).any(0)
    below = _hidden(target, over, least)
    joined = _joined(below, objects)
    if "semantic" in below and "semantic" in objects:
        joined["semantic"] = np.where(over, objects["semantic"], below["semantic"])
    if "panoptic" in below and "panoptic" in objects:
        new = int(below["panoptic"].max(initial=0))          # the pasted segments need numbers
        joined["panoptic"] = np.where(over, objects["panoptic"] + new, below["panoptic"])
        joined["segment_ids"][len(below["segment_ids"]):] += new
    return np.where(over, source, image), joined


def _masks(target):
    if "masks" not in target:
        raise ValueError("SimpleCopyPaste: it cuts out along masks, and the target has none")
    return target["masks"]


def _of_size(image, target, size):
    """Padded or cut off, right and below, to (H, W)."""
    height, width = size
    border = 0, 0, max(0, width - image.shape[2]), max(0, height - image.shape[1])
    if any(border):
        image, target = geometry.pad(image, target, border)
    if image.shape[1:] != size:
        image, target = geometry.crop(image, target, (0, 0, width, height))
    return image, target


def _hidden(target, over, least):
    """The target of an image that is painted over where `over` (H, W) is true."""
    masks = _masks(target) & ~over
    before, after = (m.sum((1, 2), dtype=np.float32) for m in (target["masks"], masks))
    hidden, changed = {**target, "masks": masks}, after < before
    if "boxes" in target:
        hidden["boxes"] = np.where(changed[:, None], targets.mask_boxes(masks), target["boxes"])
    if "area" in target:
        hidden["area"] = np.where(changed, after, target["area"])
    if "keypoints" in target:
        hidden["keypoints"] = _covered(target["keypoints"], over)
    return targets.keep(hidden, ~changed | (after > least * before))


def _covered(points, over):
    """Keypoints (M, K, 3): those under what is pasted are there, but hidden (1, not 2)."""
    x, y = (np.clip(points[..., k].astype(np.int64), 0, side - 1)
            for k, side in enumerate(over.shape[::-1]))
    hidden = points.copy()
    hidden[..., 2] = np.where(over[y, x], np.minimum(points[..., 2], 1), points[..., 2])
    return hidden


def _joined(below, above):
    """The objects of both, and what belongs to the image of `below`."""
    mine, other = targets.of_objects(below), targets.of_objects(above)
    joined = {key: value for key, value in below.items() if key not in mine}
    return {**joined, **{key: np.concatenate([below[key], above[key]])
                         for key in mine if key in other}}
