"""Transforms: images and what is annotated on them change together.

A transform is called with an image (C, H, W), float32, its target, and a random generator, and
returns a new image and target; what it was given stays as it was.

    crop = Compose(RandomHorizontalFlip(), RandomCrop((224, 224)))
    image, target = crop(image, target, np.random.default_rng(0))

The target is a dictionary (see `tinyvision.data.target`), or a map of classes (H, W), or anything
else, such as a label, which no transform here changes. How it moves: `tinyvision.data.geometry`.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision import device
from tinyvision.data import geometry
from tinyvision.data import target as targets


class Transform:
    """The base: subclasses define `apply(image, target, random)`, target a dictionary."""

    def __call__(self, image, target=None, random=None):
        """(image, target), changed. `random` is a numpy Generator, `manual_seed`'s if None."""
        random = device.generator() if random is None else random
        if isinstance(target, dict):
            given = target
        else:
            given = {"semantic": target} if getattr(target, "ndim", 0) == 2 else {}
        targets.check(image, given)
        image, changed = self.apply(image, given, random)
        if isinstance(target, dict):
            return image, changed
        return image, changed.get("semantic", target)

    def apply(self, image, target: dict, random):
        """The change itself."""
        raise NotImplementedError(f"{type(self).__name__}.apply")


class Compose(Transform):
    """One after the other."""

    def __init__(self, *transforms):
        self.transforms = transforms

    def __repr__(self):
        return f"Compose({', '.join(map(repr, self.transforms))})"

    def apply(self, image, target, random):
        for transform in self.transforms:
            image, target = transform(image, target, random)
        return image, target


@dataclass(frozen=True)
class RandomApply(Transform):
    """`transform` with probability p."""
    transform: Transform
    p: float = 0.5

    def apply(self, image, target, random):
        if random.random() >= self.p:
            return image, target
        return self.transform(image, target, random)


# --- geometry -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class RandomHorizontalFlip(Transform):
    """Left to right with probability p.

    `pairs`: for keypoints, the one on the other side for each, see `geometry.mirror_pairs`; the
    left eye of a mirrored person is the right eye of the picture.
    """
    p: float = 0.5
    pairs: tuple | None = None

    def apply(self, image, target, random):
        if random.random() >= self.p:
            return image, target
        return geometry.hflip(image, target, self.pairs)


@dataclass(frozen=True)
class Resize(Transform):
    """To `size`: (H, W), or an int for the shorter side, the longer at most `max_size`."""
    size: int | tuple
    max_size: int | None = None

    def apply(self, image, target, random):
        return geometry.resize(image, target, self._size(image.shape[1:]))

    def _size(self, old):
        if isinstance(self.size, tuple):
            return self.size
        scale = self.size / min(old)
        if self.max_size is not None:
            scale = min(scale, self.max_size / max(old))
        return tuple(max(1, round(scale * side)) for side in old)


@dataclass(frozen=True)
class RandomCrop(Transform):
    """A part of `size` (H, W) from a random place; smaller images are padded right and below.

    With `ScaleJitter` before it, this is the large scale jittering of Ghiasi et al. 2021.
    """
    size: tuple
    fill: float | tuple = 0.0

    def apply(self, image, target, random):
        return _cut(image, target, self.size, self.fill, lambda free: random.integers(free + 1))


@dataclass(frozen=True)
class CenterCrop(Transform):
    """The middle of `size` (H, W); smaller images are padded right and below."""
    size: tuple
    fill: float | tuple = 0.0

    def apply(self, image, target, random):
        return _cut(image, target, self.size, self.fill, lambda free: (free + 1) // 2)


def _cut(image, target, size, fill, place):
    """`size` of an image; place(pixels that are too many) says where it begins."""
    missing = [max(0, new - old) for new, old in zip(size, image.shape[1:])]
    if any(missing):
        image, target = geometry.pad(image, target, (0, 0, missing[1], missing[0]), fill)
    y, x = (int(place(old - new)) for new, old in zip(size, image.shape[1:]))
    return geometry.crop(image, target, (x, y, x + size[1], y + size[0]))


@dataclass(frozen=True)
class ScaleJitter(Transform):
    """Resized, keeping its shape, to fit into `scale` times `target_size` (H, W), scale random.

    torchvision's name; (0.1, 2) is the large jitter of Ghiasi et al. 2021, (0.8, 1.25) the usual.
    """
    target_size: tuple
    scale_range: tuple = (0.1, 2.0)

    def apply(self, image, target, random):
        old = image.shape[1:]
        fit = min(new / was for new, was in zip(self.target_size, old))
        scale = fit * random.uniform(*self.scale_range)
        return geometry.resize(image, target, tuple(max(1, round(scale * side)) for side in old))


@dataclass(frozen=True)
class RandomResizedCrop(Transform):
    """A part of random area and shape, resized to `size` (H, W): the usual one for ImageNet.

    scale: its area, as a fraction of the image's. ratio: width / height, logarithmically uniform.
    Ten tries, then the largest part in the middle of an allowed shape, as in torchvision.
    """
    size: tuple
    scale: tuple = (0.08, 1.0)
    ratio: tuple = (3 / 4, 4 / 3)

    def apply(self, image, target, random):
        image, target = geometry.crop(image, target, self._part(*image.shape[1:], random))
        return geometry.resize(image, target, self.size)

    def _part(self, height, width, random):
        for _ in range(10):
            area = height * width * random.uniform(*self.scale)
            ratio = np.exp(random.uniform(*np.log(self.ratio)))
            w, h = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                x, y = random.integers(width - w + 1), random.integers(height - h + 1)
                return x, y, x + w, y + h
        w = round(min(width, height * self.ratio[1]))
        h = round(min(height, width / self.ratio[0]))
        x, y = (width - w) // 2, (height - h) // 2
        return x, y, x + w, y + h
