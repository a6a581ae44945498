"""interpolate, bilinear and nearest, twice as large."""
from __future__ import annotations

from dataclasses import dataclass

from tinyvision import ops
from tinyvision.bench.cases import Case, call_of, normal


@dataclass(frozen=True)
class Interpolate(Case):
    """x (N, C, H, W) to y (N, C, 2 H, 2 W)."""
    operation = "interpolate"
    halved = "N", "C", "H", "W"
    mode: str
    N: int
    C: int
    H: int
    W: int

    @property
    def size(self):
        """Such as "bilinear (8,64,56,56) to (112,112)"."""
        return (f"{self.mode} ({self.N},{self.C},{self.H},{self.W}) "
                f"to ({2 * self.H},{2 * self.W})")

    @property
    def operations(self):
        """Four multiply-adds for each pixel of y, or one move."""
        return (8 if self.mode == "bilinear" else 1) * self.N * self.C * self.H * self.W * 4

    @property
    def moved(self):
        """x, and y, which is four times as large."""
        return 4 * self.N * self.C * self.H * self.W * 5

    def inputs(self, rng):
        """x and, for the gradient, the cotangent of y."""
        x = normal(rng, self.N, self.C, self.H, self.W)
        if self.part == "forward":
            return x,
        return x, normal(rng, self.N, self.C, 2 * self.H, 2 * self.W)

    def ours(self, x, g=None):
        """tinyvision's."""
        return call_of(lambda x: ops.interpolate(x, scale_factor=2, mode=self.mode), (x,),
                       None if g is None else 0, g)

    def torch(self, x, g=None):
        """PyTorch's."""
        import torch
        if g is None:
            return lambda: torch.nn.functional.interpolate(x, scale_factor=2, mode=self.mode)
        sizes = list(g.shape[2:]), list(x.shape)
        if self.mode == "nearest":
            return lambda: torch.ops.aten.upsample_nearest2d_backward(g, *sizes, 2.0, 2.0)
        return lambda: torch.ops.aten.upsample_bilinear2d_backward(g, *sizes, False, 2.0, 2.0)

    def channels_last(self, *tensors):
        """The same calls on other strides."""
        return self.torch(*tensors)


CASES = [Interpolate(mode, 8, 64, 56, 56, part=part, goal=0.4)
         for mode in ("bilinear", "nearest") for part in ("forward", "input gradient")]
