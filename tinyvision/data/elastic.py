"""Elastic deformation: images as if drawn on rubber, with all that is annotated on them.

Random displacements on a coarse grid, smooth in between (Ronneberger, Fischer & Brox 2015, "U-Net",
section 3.1: a 3 x 3 grid, 10 pixels of standard deviation in 512 x 512, bicubic interpolation).
The deformed image at p shows the original at p + d(p): images bilinear, masks and maps of the
nearest pixel, mirrored at the border. Boxes become tight around their deformed selves; a keypoint k
goes to where p + d(p) = k.
"""
from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from tinyvision.data import geometry
from tinyvision.data import target as targets
from tinyvision.data.target import MAPS
from tinyvision.data.transforms import Transform

STEPS = 30                 # of the search for a keypoint: halves its error at least, if not folded


@dataclass(frozen=True)
class ElasticTransform(Transform):
    """With probability p, an elastic deformation.

    Args:
        sigma: standard deviation of the displacements in pixels. More than a tenth of the grid's
            spacing may fold the image: 10 is for 512 x 512 pixels, 1.5 for 64 x 64.
        grid: so many displacements along each axis, from corner to corner.
        p: how often.
    """
    sigma: float = 10.0
    grid: int = 3
    p: float = 1.0

    def __post_init__(self):
        if self.sigma < 0 or self.grid < 2:
            raise ValueError("ElasticTransform: sigma is at least 0 and grid at least 2; "
                             f"got {self}")

    def apply(self, image, target, random):
        if random.random() >= self.p:
            return image, target
        coarse = random.normal(0, self.sigma, (2, self.grid, self.grid))
        return deform(image, target, smooth(coarse, image.shape[1:]))


def smooth(coarse, size) -> np.ndarray:
    """Displacements (2, H, W), float32, from those (2, A, B) of a coarse grid: bicubic."""
    down, across = (cubic_weights(length, knots) for length, knots in zip(size, coarse.shape[1:]))
    return (down @ coarse @ across.T).astype(np.float32)


@functools.lru_cache(maxsize=16)
def cubic_weights(length, knots) -> np.ndarray:
    """(length, knots) weights of cubic interpolation (Keys 1981, a = -1/2) from `knots` values, the
    first on the first pixel and the last on the last; beyond them the line goes straight on."""
    place = np.linspace(0, knots - 1, length)[:, None] - np.arange(-1, knots + 1)
    t = np.abs(place)
    weights = np.where(t < 1, 1.5 * t ** 3 - 2.5 * t ** 2 + 1,
                       np.where(t < 2, -0.5 * t ** 3 + 2.5 * t ** 2 - 4 * t + 2, 0))
    inner = weights[:, 1:-1].copy()
    inner[:, :2] += weights[:, :1] * (2, -1)                 # the value before the first is
    inner[:, -2:] += weights[:, -1:] * (-1, 2)               # 2 first - second; so at the end
    return inner


def deform(image, target, displacement):
    """The image (C, H, W) and its target, deformed; displacement (2, H, W): (dy, dx) in pixels."""
    size = image.shape[1:]
    y, x = (d + np.arange(n, dtype=np.float32).reshape(shape) for d, n, shape in
            zip(displacement, size, ((-1, 1), (1, -1))))     # centres are whole numbers here
    moved, nearest = dict(target), _nearest(y, x, size)
    for key in {"masks", *MAPS} & target.keys():
        *rows, height, width = target[key].shape
        moved[key] = target[key].reshape(*rows, height * width)[..., nearest]
    if "boxes" in target and "masks" not in target:
        moved["boxes"], stretched = _deformed_boxes(target["boxes"], y, x)
        if "area" in target:
            moved["area"] = target["area"] * stretched
    if "keypoints" in target:
        moved["keypoints"] = _deformed_points(target["keypoints"], displacement)
    return sample(image, y, x), geometry.clean(moved, size)


def _mirrored(place, length):
    """Places on a line of `length` pixels mirrored at its first and last centre, into it."""
    if length == 1:
        return np.zeros_like(place)
    period = 2 * (length - 1)
    place = np.abs(place) % period
    return np.minimum(place, period - place)


def _nearest(y, x, size):
    """The numbers of the pixels next to places (y, x)."""
    rows, columns = (np.rint(_mirrored(p, n)).astype(np.int64) for p, n in zip((y, x), size))
    return rows * size[1] + columns


def sample(image, y, x) -> np.ndarray:
    """The image (C, H, W) at places (y, x), each (A, B), between pixels bilinear: (C, A, B)."""
    (height, width), flat = image.shape[1:], image.reshape(len(image), -1)
    y, x = _mirrored(y, height), _mirrored(x, width)
    top, left = (np.minimum(p.astype(np.int64), max(0, n - 2)) for p, n in ((y, height),
                                                                          (x, width)))
    below, right = y - top.astype(np.float32), x - left.astype(np.float32)
    first = top * width + left
    step_down, step_right = (width if height > 1 else 0), (1 if width > 1 else 0)

    def row(start):
        start_values = flat.take(start, 1)
        return start_values + right * (flat.take(start + step_right, 1) - start_values)
    upper = row(first)
    return upper + below * (row(first + step_down) - upper)


def _deformed_boxes(boxes, y, x):
    """Tight boxes around the pixels that show something of each box, and how the area changed."""
    x0, y0, x1, y1 = (c[:, None, None] - np.float32(0.5) for c in boxes.T)
    inside = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    stretched = inside.sum((1, 2)) / np.maximum(targets.box_area(boxes), 1e-6)
    return targets.mask_boxes(inside), stretched.astype(np.float32)


def _deformed_points(points, displacement):
    """Keypoints (M, K, 3) where the deformed image shows them: p = k - d(p), step by step."""
    x, y = points[..., 0] - 0.5, points[..., 1] - 0.5        # from borders to centres
    flat = displacement.reshape(2, 1, *displacement.shape[1:])
    new_y, new_x = y, x
    for _ in range(STEPS):
        dy, dx = (_clamped(d, new_y, new_x) for d in flat)
        new_y, new_x = y - dy, x - dx
    moved = np.stack([new_x + 0.5, new_y + 0.5, points[..., 2]], -1)
    return np.where(points[..., 2:] > 0, moved, 0).astype(np.float32)


def _clamped(plane, y, x):
    """A displacement at places inside or outside: outside, that of the border."""
    height, width = plane.shape[1:]
    return sample(plane, np.clip(y, 0, height - 1).astype(np.float32),
                  np.clip(x, 0, width - 1).astype(np.float32))[0]
