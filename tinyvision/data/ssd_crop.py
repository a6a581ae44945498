"""SSD's augmentations: a crop that keeps some object in sight, and zooming out."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision.data import geometry
from tinyvision.data import target as targets
from tinyvision.data.transforms import Transform


@dataclass(frozen=True)
class RandomIoUCrop(Transform):
    """SSD's random crop (Liu et al. 2016, section 2.2); torchvision's name.

    Chosen anew for every image: all of it, or a part that has an IoU of at least `overlap` with
    some object. The objects stay whose centre lies in the part. A part without such an overlap, or
    without an object, is tried again.

    Args:
        overlaps: one of them is chosen; None stands for the whole image, 0 for any part.
        scale: the side of the part as a fraction of the image's, before its shape changes.
        ratio: how much wider or higher than the image's shape the part may be.
        trials: with one overlap, before another is chosen (and that five times, then all stays).
    """
    overlaps: tuple = (None, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
    scale: tuple = (0.3, 1.0)
    ratio: tuple = (0.5, 2.0)
    trials: int = 40

    def apply(self, image, target, random):
        if "boxes" not in target:
            raise ValueError("RandomIoUCrop: it chooses by boxes, and the target has none")
        boxes = target["boxes"]
        for overlap in random.choice(np.array(self.overlaps, object), 5):
            if overlap is None or not len(boxes):
                break
            parts = self._parts(image.shape[1:], random)
            inside = _centre_inside(boxes, parts)
            good = (inside & (part_iou(boxes, parts) >= overlap)).any(1)
            if good.any():
                k = good.argmax()                            # the first
                return geometry.crop(image, targets.keep(target, inside[k]), parts[k].tolist())
        return image, target

    def _parts(self, size, random):
        """Random parts (trials, 4): of a random scale, and of such shapes as fit into it."""
        scale = random.uniform(*self.scale, self.trials)
        ratio = random.uniform(np.maximum(self.ratio[0], scale ** 2),
                               np.minimum(self.ratio[1], scale ** -2))
        sides = np.stack([scale * np.sqrt(ratio), scale / np.sqrt(ratio)], 1) * size[::-1]
        sides = np.maximum(1, sides.astype(np.int64))
        corner = random.integers(np.array(size[::-1]) - sides + 1)
        return np.concatenate([corner, corner + sides], 1)


def _centre_inside(boxes, parts):
    """(T, M): of which boxes (M, 4) the centre lies in which part (T, 4)."""
    centre, parts = (boxes[:, :2] + boxes[:, 2:]) / 2, parts[:, None]
    return ((centre > parts[..., :2]) & (centre < parts[..., 2:])).all(-1)


def part_iou(boxes, parts):
    """The IoU (T, M) of every part (T, 4) with every box (M, 4)."""
    parts = parts[:, None].astype(np.float32)
    sides = np.minimum(boxes[:, 2:], parts[..., 2:]) - np.maximum(boxes[:, :2], parts[..., :2])
    shared = np.maximum(sides, 0).prod(-1)
    return shared / (targets.box_area(boxes) + targets.box_area(parts[:, 0])[:, None] - shared)


@dataclass(frozen=True)
class RandomZoomOut(Transform):
    """With probability p, the image somewhere on a canvas up to `side_range` times its side: makes
    small objects (SSD, section 3.6). fill: the colour around, one number or one a channel."""
    fill: float | tuple = 0.0
    side_range: tuple = (1.0, 4.0)
    p: float = 0.5

    def apply(self, image, target, random):
        if random.random() >= self.p:
            return image, target
        scale, size = random.uniform(*self.side_range), image.shape[1:]
        more = [int(scale * side) - side for side in size]
        top, left = (int(random.integers(m + 1)) for m in more)
        border = left, top, more[1] - left, more[0] - top
        return geometry.pad(image, target, border, self.fill)
