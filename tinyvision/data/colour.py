"""Colours: transforms of an image that move nothing. Images are float32 in [0, 1]."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision.data.transforms import Transform

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GREY = np.array((0.299, 0.587, 0.114), np.float32)           # how bright red, green, blue look


@dataclass(frozen=True)
class Normalize(Transform):
    """(image - mean) / std in every channel; one number each, or one for every channel."""
    mean: tuple | float = IMAGENET_MEAN
    std: tuple | float = IMAGENET_STD

    def apply(self, image, target, random):
        mean, std = (np.reshape(np.asarray(v, np.float32), (-1, 1, 1)) for v in (self.mean,
                                                                                self.std))
        for name, value in (("mean", mean), ("std", std)):
            if len(value) not in (1, len(image)):
                raise ValueError(f"Normalize: {name} has {len(value)} numbers for an image of "
                                 f"{len(image)} channels")
        return (image - mean) / std, target


@dataclass(frozen=True)
class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue, changed by random amounts in random order.

    brightness, contrast, saturation: f stands for a factor from [max(0, 1 - f), 1 + f]. hue: h for
    a turn of the colour circle from [-h, h], at most half of it. As in torchvision. Images of one
    channel have neither saturation nor hue.
    """
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self):
        if min(self.brightness, self.contrast, self.saturation) < 0 or not 0 <= self.hue <= 0.5:
            raise ValueError(f"ColorJitter: amounts are at least 0 and hue at most 0.5; got {self}")

    def apply(self, image, target, random):
        steps = [(adjust, random.uniform(max(0, 1 - amount), 1 + amount))
                 for adjust, amount in ((adjust_brightness, self.brightness),
                                        (adjust_contrast, self.contrast),
                                        (adjust_saturation, self.saturation)) if amount]
        if self.hue:
            steps.append((adjust_hue, random.uniform(-self.hue, self.hue)))
        for k in random.permutation(len(steps)):
            adjust, amount = steps[k]
            image = adjust(image, amount)
        return image, target


def grey(image) -> np.ndarray:
    """How bright an image (3, H, W) or (1, H, W) looks, (1, H, W)."""
    return image if len(image) == 1 else np.tensordot(GREY, image, 1)[None]


def _mixed(image, other, factor):
    """factor parts of the image, 1 - factor of another."""
    factor = np.float32(factor)
    return np.clip(factor * image + (1 - factor) * other, 0, 1)


def adjust_brightness(image, factor):
    """Mixed with black: 0 is black, 1 the image."""
    return np.clip(image * np.float32(factor), 0, 1)


def adjust_contrast(image, factor):
    """Mixed with its mean grey: 0 is grey, 1 the image."""
    return _mixed(image, grey(image).mean(dtype=np.float32), factor)


def adjust_saturation(image, factor):
    """Mixed with its grey picture: 0 is grey, 1 the image."""
    return image if len(image) == 1 else _mixed(image, grey(image), factor)


def adjust_hue(image, turn):
    """Colours turned on their circle: 1/3 makes red green; brightest and darkest channel stay."""
    if len(image) == 1:
        return image
    value, low = image.max(0), image.min(0)
    hue = _hue(image, value, value - low) + 6 * turn
    # Each channel falls from the highest to the lowest value over one sixth of the circle, twice.
    k = (np.array((5, 3, 1), np.float32)[:, None, None] + hue.astype(np.float32)) % 6
    return value - (value - low) * np.clip(np.minimum(k, 4 - k), 0, 1)


def _hue(image, value, spread):
    """In sixths of the circle: red 0, green 2, blue 4; 0 for greys."""
    red, green, blue = image
    spread = np.where(spread == 0, 1, spread)
    return np.where(value == red, (green - blue) / spread,
                    np.where(value == green, 2 + (blue - red) / spread, 4 + (red - green) / spread))
