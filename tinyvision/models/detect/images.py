"""Images of any size, as one batch; what is found in it, back in each image's own pixels.

As in torchvision's detectors: colours are normalised, each image is scaled until its shorter side
has `min_size` pixels, or its longer one `max_size`, and all are padded with zeros, below and to the
right, to one size that the coarsest map divides.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinyvision import boxes, ops
from tinyvision.device import module_of
from tinyvision.engine import Tensor, as_array

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Batch(NamedTuple):
    """What a detector looks at.

    images: a Tensor (N, 3, H, W). sizes: of every image in it, before the padding, (h, w).
    ratios: how much larger it is there than it came, (vertical, horizontal).
    """
    images: Tensor
    sizes: list
    ratios: list

    def scale(self, k):
        """Image k's ratios for boxes: (x, y, x, y)."""
        return np.array((self.ratios[k][::-1] * 2), np.float32)

    def original(self, k):
        """The (H, W) with which image k came."""
        return tuple(round(side / ratio) for side, ratio in zip(self.sizes[k], self.ratios[k]))


@dataclass(frozen=True)
class ImageTransform:
    """How images become a `Batch`.

    Attributes:
        min_size, max_size: of the shorter and the longer side. min_size None: images keep their
            size; max_size None: the longer side may be as long as it gets.
        divisor: of both sides of the batch.
        mean, std: of every colour, in images from 0 to 1.
    """
    min_size: int | None = None
    max_size: int | None = None
    divisor: int = 32
    mean: tuple = IMAGENET_MEAN
    std: tuple = IMAGENET_STD

    def __call__(self, images) -> Batch:
        """images: (N, 3, H, W), or a list of (3, H, W), with values from 0 to 1.

        Raises:
            ValueError: no images, or something else.
            TypeError: whole numbers, from 0 to 255 presumably.
        """
        arrays = [as_array(image) for image in images]
        if wrong := [a.dtype for a in arrays if a.dtype.kind != "f"]:
            raise TypeError(f"images: are {wrong[0]}, expected floats from 0 to 1; divide bytes by "
                            "255")
        if not arrays or any(a.ndim != 3 or a.shape[0] != 3 or 0 in a.shape for a in arrays):
            raise ValueError(f"images: got shapes {[a.shape for a in arrays]}, expected one or "
                             "more of (3, H, W), or an array (N, 3, H, W)")
        scaled = [self._scaled(a) for a in arrays]
        sizes = [a.shape[1:] for a in scaled]
        ratios = [tuple(m / n for m, n in zip(size, a.shape[1:]))
                  for size, a in zip(sizes, arrays)]
        return Batch(Tensor(self._padded(scaled, sizes)), sizes, ratios)

    def _scaled(self, image):
        """Normalised, and as large as it has to be."""
        xp = module_of(image)
        mean, std = (xp.asarray(v, np.float32)[:, None, None] for v in (self.mean, self.std))
        image = (image.astype(np.float32) - mean) / std
        if self.min_size is None:
            return image
        sides = sorted(image.shape[1:])
        factor = min(self.min_size / sides[0], (self.max_size or np.inf) / sides[1])
        size = tuple(max(1, int(n * factor)) for n in image.shape[1:])
        return ops.interpolate(image[None], size=size, mode="bilinear")._data[0]

    def _padded(self, images, sizes):
        H, W = (-(-max(side) // self.divisor) * self.divisor for side in zip(*sizes))
        batch = module_of(images[0]).zeros((len(images), 3, H, W), np.float32)
        for n, (image, (h, w)) in enumerate(zip(images, sizes)):
            batch[n, :, :h, :w] = image
        return batch


def prepared(targets, batch: Batch, needs=()) -> list[dict]:
    """The targets as a loss uses them: only `boxes.learnable` objects, boxes and keypoints in the
    batch's pixels. Masks stay as they are; `scale` (4,) leads from their pixels to the batch's.

    needs: what is learned from besides boxes and labels: "masks", "keypoints".

    Raises:
        ValueError: not one target for each image; see `check_target`.
    """
    if len(targets) != len(batch.sizes):
        raise ValueError(f"targets: got {len(targets)}, expected {len(batch.sizes)}, one for each "
                         "image")
    for k, target in enumerate(targets):
        check_target(target, f"targets[{k}]", needs, batch.original(k))
    return [_prepared(target, needs, batch.sizes[k], batch.scale(k))
            for k, target in enumerate(targets)]


@np.errstate(over="ignore")            # what is beyond float32 is infinite, and not learned from
def _prepared(target, needs, size, scale):
    moved = np.asarray(target["boxes"], np.float32).reshape(-1, 4) * scale
    chosen = boxes.learnable({**target, "boxes": moved}, size)
    ready = {"boxes": boxes.clip(moved[chosen], size), "scale": scale,
             "labels": np.asarray(target["labels"], np.int64)[chosen]}
    if "masks" in needs:
        ready["masks"] = np.asarray(target["masks"])[chosen]
    if "keypoints" in needs:
        factor = np.append(scale[:2], np.float32(1))
        points = np.asarray(target["keypoints"], np.float32)
        ready["keypoints"] = points[chosen] * factor if points.size else points
    return ready


def check_target(target, name, needs, size) -> None:
    """Refuse a target from which cannot be learned what is needed.

    Raises:
        ValueError: something is missing, there are more of one than of another, boxes that are not
            (M, 4), masks that are not of the image's `size` (H, W).
    """
    keys = "boxes", "labels", *needs
    if not isinstance(target, dict):
        raise ValueError(f"{name}: is a {type(target).__name__}, expected a dictionary with "
                         f"{', '.join(keys)}")
    if missing := [key for key in keys if key not in target]:
        raise ValueError(f"{name}: has no {missing[0]!r}, expected {', '.join(keys)}")
    shape = np.shape(target["boxes"])
    if shape[1:] != (4,) and shape != (0,):
        raise ValueError(f"{name}: boxes has shape {shape}, expected (M, 4)")
    for key in (*keys, *(["iscrowd"] if "iscrowd" in target else [])):
        if len(target[key]) != shape[0]:
            raise ValueError(f"{name}: has {shape[0]} boxes, but {len(target[key])} {key}, "
                             "expected one for each")
    if shape[0] and np.asarray(target["labels"]).dtype.kind not in "iu":
        raise ValueError(f"{name}: labels are {np.asarray(target['labels']).dtype}, expected whole "
                         "numbers")
    if "masks" in needs and shape[0] and np.shape(target["masks"])[1:] != size:
        raise ValueError(f"{name}: masks are of {np.shape(target['masks'])[1:]}, but the image of "
                         f"{size}, expected the same")


def check_labels(targets, classes: int) -> None:
    """Refuse labels for which there is no score.

    Raises:
        ValueError: names the first.
    """
    for k, target in enumerate(targets):
        labels = target["labels"]
        if wrong := labels[(labels < 0) | (labels >= classes)].tolist():
            raise ValueError(f"targets[{k}]: has the label {wrong[0]}, but there are {classes} "
                             f"classes, 0 to {classes - 1}")
