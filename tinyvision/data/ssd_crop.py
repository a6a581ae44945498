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
            for part in self._parts(image.shape[1:], random):
                inside = _centre_inside(boxes, part)
                if inside.any() and part_iou(boxes[inside], part).max() >= overlap:
                    return geometry.crop(image, targets.keep(target, inside), part)
        return image, target

    def _parts(self, size, random):
        """Random parts (x0, y0, x1, y1): of a random scale, and of what shapes fit into it."""
        height, width = size
        for _ in range(self.trials):
            scale = random.uniform(*self.scale)
            shape = np.sqrt(random.uniform(max(self.ratio[0], scale ** 2),
                                           min(self.ratio[1], scale ** -2)))
            w, h = max(1, int(width * scale * shape)), max(1, int(height * scale / shape))
            x, y = random.integers(width - w + 1), random.integers(height - h + 1)
            yield int(x), int(y), int(x) + w, int(y) + h


def _centre_inside(boxes, part):
    """Which boxes (M, 4) have their centre in the part (x0, y0, x1, y1)."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    return ((centre > part[:2]) & (centre < part[2:])).all(1)


def part_iou(boxes, part):
    """The IoU (M,) of boxes (M, 4) with one part (x0, y0, x1, y1)."""
    part = np.array(part, np.float32)
    shared = np.concatenate([np.maximum(boxes[:, :2], part[:2]),
                             np.minimum(boxes[:, 2:], part[2:])], 1)
    shared = targets.box_area(shared)
    return shared / (targets.box_area(boxes) + targets.box_area(part[None]) - shared)


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
