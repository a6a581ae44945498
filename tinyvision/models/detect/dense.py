"""What dense detectors share (RPN, RetinaNet): heads that answer for every anchor of every map, and
the anchors' targets of a batch. Sizes: N images, T anchors in all, A of them at a place."""
from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from tinyvision import boxes, ops
from tinyvision.nn import Conv2d, init


class Anchored(NamedTuple):
    """Anchors (T, 4), float32, level after level, and how many each level has."""
    boxes: np.ndarray
    levels: list


def anchored(generator, images, maps) -> Anchored:
    """The anchors of a batch's maps."""
    return _anchored(generator, images.shape[2:], tuple(m.shape[2:] for m in maps))


@functools.lru_cache(maxsize=8)
def _anchored(generator, image_size, map_sizes):
    """The same ones, batch after batch, as long as the sizes stay: nobody may write into them."""
    levels = generator(image_size, map_sizes)
    found = np.concatenate(levels)
    found.flags.writeable = False
    return Anchored(found, [len(level) for level in levels])


def per_anchor(maps, numbers: int):
    """Head outputs [(N, A numbers, H, W)], one a map, as one (N, T, numbers), in the order of
    `boxes.grid_anchors`."""
    lines = [ops.permute(m, (0, 2, 3, 1)).reshape(m.shape[0], -1, numbers) for m in maps]
    return ops.cat(lines, 1)                                 # each was (N, H, W, A numbers)


def batch_targets(anchors, targets, high, low, force) -> tuple:
    """(matched (N, T), labels (N, T), codes (N, T, 4)): `boxes.anchor_targets` of every image; the
    label of what is not positive is -1."""
    matched, labels, codes = [], [], []
    for target in targets:
        m, c = boxes.anchor_targets(anchors, target["boxes"], high, low, force)
        names = np.append(target["labels"], -1)              # so that an image may have no objects
        matched.append(m)
        labels.append(np.where(m >= 0, names[np.maximum(m, -1)], -1))
        codes.append(c)
    return np.stack(matched), np.stack(labels), np.stack(codes)


def begin_small(module) -> None:
    """For `Module.apply`: convolutions begin with small weights and no bias (RetinaNet, section
    4.1; Faster R-CNN, section 3.1.3)."""
    if isinstance(module, Conv2d):
        init.normal_(module.weight, std=0.01)
        init.zeros_(module.bias)
