"""roi_align, roi_pool, nms, box_iou."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision import ops
from tinyvision.bench.cases import Case, call_of, normal

BINS, SAMPLES, SCALE, THRESHOLD = 7, 2, 1 / 16, 0.5


def boxes(rng, count: int, dense: bool = False):
    """Random boxes: of 8 to 88 in a scene of 1000, or, dense, of 8 to 128 in one of 300."""
    scene, side = (300, 120) if dense else (1000, 80)
    centres, sides = rng.random((count, 2)) * scene, rng.random((count, 2)) * side + 8
    return np.concatenate([centres - sides / 2, centres + sides / 2], 1).astype(np.float32)


@dataclass(frozen=True)
class Regions(Case):
    """K regions of x (N, C, H, W), each to 7 x 7 bins; coordinates are 16 times the map's."""
    against = "torchvision"
    halved = "C", "H", "W", "K"
    N: int
    C: int
    H: int
    W: int
    K: int

    @property
    def size(self):
        """Such as "1000 RoIs of (1,256,50,50)"."""
        return f"{self.K} RoIs of ({self.N},{self.C},{self.H},{self.W})"

    @property
    def outputs(self):
        """Elements of y."""
        return self.K * self.C * BINS ** 2

    @property
    def moved(self):
        """x, the boxes and y."""
        return 4 * (self.N * self.C * self.H * self.W + 5 * self.K + self.outputs)

    def inputs(self, rng):
        """x, the boxes (K, 5) and, for the gradient, the cotangent."""
        corners = boxes(rng, self.K).clip(0, 16 * self.H - 1)
        rois = np.column_stack([rng.integers(0, self.N, self.K), corners]).astype(np.float32)
        x = normal(rng, self.N, self.C, self.H, self.W)
        if self.part == "forward":
            return x, rois
        return x, rois, normal(rng, self.K, self.C, BINS, BINS)

    def ours(self, x, rois, g=None):
        """tinyvision's."""
        return call_of(lambda x: self.function(x, rois), (x,), None if g is None else 0, g)


@dataclass(frozen=True)
class RoIAlign(Regions):
    """2 x 2 bilinear samples a bin, aligned."""
    operation = "roi_align"

    @property
    def operations(self):
        """Four multiply-adds a sample."""
        return 8 * SAMPLES ** 2 * self.outputs

    def function(self, x, rois):
        """tinyvision's operation."""
        return ops.roi_align(x, rois, BINS, SCALE, SAMPLES, True)

    def torchvision(self, x, rois, g=None):
        """torchvision's operator."""
        import torch
        calls = torch.ops.torchvision
        if g is None:
            return lambda: calls.roi_align(x, rois, SCALE, BINS, BINS, SAMPLES, True)
        return lambda: calls._roi_align_backward(g, rois, SCALE, BINS, BINS, *x.shape, SAMPLES,
                                                 True)


@dataclass(frozen=True)
class RoIPool(Regions):
    """The maximum of every bin."""
    operation = "roi_pool"
    discrete = True

    @property
    def operations(self):
        """A comparison a pixel: bins of about 0.5 x 0.5 pixels are rounded up to 2 x 2."""
        return 4 * self.outputs

    def function(self, x, rois):
        """tinyvision's operation."""
        return ops.roi_pool(x, rois, BINS, SCALE)

    def torchvision(self, x, rois, g=None):
        """torchvision's operator."""
        import torch
        calls = torch.ops.torchvision
        if g is None:
            return lambda: calls.roi_pool(x, rois, SCALE, BINS, BINS)[0]
        chosen = calls.roi_pool(x, rois, SCALE, BINS, BINS)[1]
        return lambda: calls._roi_pool_backward(g, rois, chosen, SCALE, BINS, BINS, *x.shape)


@dataclass(frozen=True)
class NMS(Case):
    """N boxes, those dropped that overlap a better one by more than half."""
    operation = "nms"
    against = "torchvision"
    halved = "N",
    discrete = True
    N: int
    scene: str

    @property
    def size(self):
        """Such as "10000 boxes, dense"."""
        return f"{self.N} boxes, {self.scene}"

    @property
    def operations(self):
        """12 for each of N (N - 1) / 2 pairs: all that can be asked for. To skip pairs is the
        art, so there is no meaning in more than all of the peak."""
        return 6 * self.N * (self.N - 1)

    @property
    def moved(self):
        """Boxes, scores and the indices of the kept."""
        return 28 * self.N

    def inputs(self, rng):
        """Boxes and scores."""
        return boxes(rng, self.N, self.scene == "dense"), rng.random(self.N, np.float32)

    def ours(self, boxes, scores):
        """tinyvision's."""
        return lambda: ops.nms(boxes, scores, THRESHOLD)

    def torchvision(self, boxes, scores):
        """torchvision's operator."""
        import torch
        return lambda: torch.ops.torchvision.nms(boxes, scores, THRESHOLD)


@dataclass(frozen=True)
class BoxIoU(Case):
    """Every one of N boxes with every one of M."""
    operation = "box_iou"
    halved = "N", "M"
    N: int
    M: int

    @property
    def size(self):
        """Such as "10000 x 1000"."""
        return f"{self.N} x {self.M}"

    @property
    def operations(self):
        """Four comparisons, two subtractions and clips, two products, two sums, one division."""
        return 12 * self.N * self.M

    @property
    def moved(self):
        """The boxes and the table."""
        return 4 * (4 * (self.N + self.M) + self.N * self.M)

    def inputs(self, rng):
        """Two sets of boxes."""
        return boxes(rng, self.N), boxes(rng, self.M)

    def ours(self, a, b):
        """tinyvision's."""
        return lambda: ops.box_iou(a, b)

    def torch(self, a, b):
        """PyTorch, vectorised: what torchvision's box_iou does."""
        def area(boxes):
            return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])

        def iou():
            low = a[:, None, :2].maximum(b[:, :2])
            high = a[:, None, 2:].minimum(b[:, 2:])
            sides = (high - low).clamp(min=0)
            both = sides[..., 0] * sides[..., 1]
            return both / (area(a)[:, None] + area(b) - both)
        return iou


BACK = "input gradient"
CASES = [
    RoIAlign(1, 256, 50, 50, 1000, goal=0.15),
    RoIAlign(1, 256, 50, 50, 1000, part=BACK, goal=0.05),
    RoIPool(1, 256, 50, 50, 1000, goal=0.3),
    RoIPool(1, 256, 50, 50, 1000, part=BACK, goal=0.3),
    NMS(10_000, "sparse", goal=0.15),
    NMS(10_000, "dense", goal=0.15),
    NMS(100_000, "sparse", goal=0.05),
    NMS(100_000, "dense", goal=0.05),
    BoxIoU(10_000, 1_000, goal=0.07),
]
