"""Anchors: boxes of fixed sizes and shapes at every place of every map, to which objects are
compared and from which boxes are predicted.

Ren et al. 2015 (Faster R-CNN), section 3.1.1; Lin et al. 2017 (RetinaNet), section 4: three sizes
in three shapes, nine a location. Lectures: DSI, DLCV, KE, UW. D21.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def cell_anchors(sizes, aspect_ratios) -> np.ndarray:
    """The anchors of one place, centred at (0, 0): float32 (A, 4), A = ratios x sizes, in that
    order, rounded to whole pixels as torchvision does.

    sizes: square roots of the areas, in pixels. aspect_ratios: height / width.
    """
    stretch = np.sqrt(np.asarray(aspect_ratios, np.float32))[:, None]
    sizes = np.asarray(sizes, np.float32)
    half_width, half_height = (sizes / stretch).ravel() / 2, (sizes * stretch).ravel() / 2
    return np.stack((-half_width, -half_height, half_width, half_height), 1).round()


def grid_anchors(size, stride, cell) -> np.ndarray:
    """The anchors of a whole map, (H W A, 4): row by row, place by place, all A of one together.

    size: the map's (H, W). stride: image pixels from place to place, (vertical, horizontal).
    cell: `cell_anchors`. The first place stands at the image's corner (0, 0), as torchvision's.
    """
    y, x = (np.arange(n, dtype=np.float32) * s for n, s in zip(size, stride))
    places = np.stack(np.broadcast_arrays(x, y[:, None], x, y[:, None]), -1)         # (H, W, 4)
    return (places[:, :, None] + cell).reshape(-1, 4)


@dataclass(frozen=True)
class AnchorGenerator:
    """The anchors of a pyramid of maps.

    Attributes:
        sizes: for every map, the sizes there, e.g. ((32,), (64,), (128,)).
        aspect_ratios: height / width, the same on every map.
    """
    sizes: tuple
    aspect_ratios: tuple = (0.5, 1.0, 2.0)

    def __post_init__(self):
        object.__setattr__(self, "sizes", tuple(map(tuple, self.sizes)))     # lists are welcome
        object.__setattr__(self, "aspect_ratios", tuple(self.aspect_ratios))

    @property
    def per_place(self) -> int:
        """How many anchors a place has, A.

        Raises:
            ValueError: not as many on every map: then no head can serve them all.
        """
        counts = {len(sizes) for sizes in self.sizes}
        if len(counts) != 1:
            raise ValueError(f"AnchorGenerator: sizes has {sorted(counts)} sizes on different "
                             "maps, expected as many on each")
        return counts.pop() * len(self.aspect_ratios)

    def __call__(self, image_size, map_sizes) -> list[np.ndarray]:
        """A list of (H W A, 4), one for each map. image_size: (H, W) of the batch, in pixels.

        Raises:
            ValueError: another number of maps than there are sizes for.
        """
        if len(map_sizes) != len(self.sizes):
            raise ValueError(f"AnchorGenerator: got {len(map_sizes)} maps, expected "
                             f"{len(self.sizes)}, one for each of the sizes {self.sizes}")
        return [grid_anchors(size, (image_size[0] // size[0], image_size[1] // size[1]),
                             cell_anchors(sizes, self.aspect_ratios))
                for size, sizes in zip(map_sizes, self.sizes)]
