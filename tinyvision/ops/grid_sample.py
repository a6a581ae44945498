"""Grid sampling: the value of an image at any points, differentiable in the points as well.

A grid says, for every pixel (a, b) of the result, where in x to look: gx from -1 (the left border)
to 1 (the right one), gy alike down. In pixels, with W of them,

    u = ((gx + 1) W - 1) / 2,    or (gx + 1) (W - 1) / 2 where align_corners

and with low = floor(u), f = u - low, the value there is bilinear: the four pixels around (u, v)
weighted by (1 - f, f) across times (1 - e, e) down. Which pixels these are is chosen first; that
is a `Blend`. The weights are written in differentiable operations, so gradients flow into the grid:
it can be learned (Spatial Transformers), or come from boxes (DenseCap), cameras, optical flow.
Lectures: K17; Jaderberg et al. 2015.
"""
from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from tinyvision.device import module_of
from tinyvision.engine import Op, Tensor, as_array
from tinyvision.ops.blend import Blend
from tinyvision.ops.check import rank, same_device
from tinyvision.ops.matmul import matmul
from tinyvision.ops.shape import permute, reshape, stack, transpose

PADDINGS = "zeros", "border", "reflection"


@dataclass(frozen=True)
class PixelCoordinate(Op):
    """Where in an image of `size` pixels the grid's numbers g from -1 to 1 are, in pixels.

    Piecewise linear: borders stop it and mirrors turn it around. NaN counts as -1.
    """
    size: int
    padding: str
    align_corners: bool
    needs = "g",

    def forward(self, g):
        return self.pixels(g)[0]

    def backward(self, h, u, g):
        return h * Tensor(self.pixels(g._data)[1]),

    def pixels(self, g):
        """(coordinates, their slopes), arrays."""
        xp, T, size = module_of(g), g.dtype.type, self.size
        known = xp.where(xp.isnan(g), T(-1), g)
        u = ((known + 1) * T((size - 1) / 2) if self.align_corners else
             ((known + 1) * T(size) - 1) / T(2))
        slope = xp.where(xp.isnan(g), T(0), T((size - self.align_corners) / 2))
        if self.padding == "reflection":
            u, sign = mirrored(u, *((0, size - 1) if self.align_corners else (-0.5, size - 0.5)))
            slope = slope * sign
        low, high = (-2, size + 1) if self.padding == "zeros" else (0, size - 1)
        return xp.clip(u, low, high), xp.where((u > low) & (u < high), slope, T(0))


def mirrored(u, low, high):
    """(u between two mirrors at low and high, the sign of its slope)."""
    xp, T, length = module_of(u), u.dtype.type, u.dtype.type(high - low)
    if length <= 0:
        return xp.zeros_like(u), xp.zeros_like(u)
    finite = xp.where(xp.isfinite(u), u, T(low)) - T(low)
    times, rest = xp.divmod(abs(finite), length)
    back = times % 2 == 1
    return xp.where(back, length - rest, rest) + T(low), xp.where(back, -1, 1) * xp.where(
        finite < 0, T(-1), T(1))


def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None) -> Tensor:
    """input at the points of a grid.

    Args:
        input: (N, C, H, W), float32 or float64.
        grid: (N, A, B, 2), (x, y) from -1 to 1 inside the image; NaN counts as -1.
        mode: "bilinear", or "nearest" (halves to the even pixel), which has no gradient in the
            grid.
        padding_mode: what lies outside: "zeros"; "border", the nearest pixel; "reflection".
        align_corners: -1 and 1 are the centres of the corner pixels; otherwise (also None) their
            outer edges.

    Returns:
        (N, C, A, B), as `torch.nn.functional.grid_sample` does for images.

    Raises:
        ValueError: shapes that do not fit, another mode, an input without pixels.
        TypeError: an input or a grid that is not floating.
        DeviceError: input and grid on two devices.
    """
    x, points = _checked(input, grid, mode, padding_mode)
    (N, C, H, W), (_, A, B, _) = x.shape, points.shape
    grid = grid if isinstance(grid, Tensor) else Tensor(points)
    if points.dtype != x.dtype:
        grid = grid.astype(x.dtype)
    u, v = (reshape(PixelCoordinate(size, padding_mode, bool(align_corners))(grid[..., k]),
                    N, A * B) for k, size in ((0, W), (1, H)))
    rows = transpose(reshape(input, N, C, H * W))
    if mode == "nearest":
        places = pixel_places(*(module_of(x).rint(t._data) for t in (v, u)), H, W)[..., None]
        y = Blend(places)(rows, Tensor(module_of(x).ones(places.shape, x.dtype)))
    else:
        y = Blend(corner_places(v._data, u._data, H, W))(rows, corner_weights(v, u))
    return reshape(transpose(y), N, C, A, B)


def _checked(input, grid, mode, padding_mode):
    """Both as arrays."""
    x, points = as_array(input), as_array(grid)
    name, (X, G) = "grid_sample", rank("grid_sample", input=(x, 4), grid=(points, 4))
    same_device(name, input=x, grid=points)
    if G[0] != X[0] or G[3] != 2:
        raise ValueError(f"{name}: grid has shape {G}, expected ({X[0]}, A, B, 2): for each of "
                         "input's images, points (x, y)")
    for argument, a in (("input", x), ("grid", points)):
        if a.dtype not in (np.float32, np.float64):
            raise TypeError(f"{name}: {argument} is {a.dtype}, expected float32 or float64")
    for argument, value, known in (("mode", mode, ("bilinear", "nearest")),
                                   ("padding_mode", padding_mode, PADDINGS)):
        if value not in known:
            raise ValueError(f"{name}: {argument} is {value!r}, expected one of {known}")
    if 0 in X[2:]:
        raise ValueError(f"{name}: input has shape {X}, expected at least one pixel")
    return x, points


def pixel_places(h, w, H, W):
    """h W + w, int32, of whole numbers h and w; -1 outside of the image."""
    inside = (h >= 0) & (h < H) & (w >= 0) & (w < W)
    return module_of(h).where(inside, h * W + w, -1).astype(np.int32)


def corner_places(v, u, H, W):
    """(..., 4) int32: the pixels around (v, u): upper left and right, lower left and right."""
    xp = module_of(v)
    top, left = (xp.floor(t).astype(np.int32) for t in (v, u))
    return xp.stack([pixel_places(top + i, left + j, H, W) for i in (0, 1) for j in (0, 1)], -1)


def corner_weights(v, u) -> Tensor:
    """(..., 4): what each of these counts; differentiable in v and u."""
    (e, top), (f, left) = ((t, 1.0 - t) for t in map(_fraction, (v, u)))
    return stack([top * left, top * f, e * left, e * f], -1)


def _fraction(t):
    """What lies behind the point; its derivative is 1."""
    return t - Tensor(module_of(t._data).floor(t._data))


def affine_grid(theta, size, align_corners=None) -> Tensor:
    """The grid that an affine map makes of a regular one: gx, gy = theta (x, y, 1).

    Args:
        theta: (N, 2, 3).
        size: (N, C, A, B) of the image that `grid_sample` is to give.
        align_corners: as there.

    Returns:
        (N, A, B, 2), as `torch.nn.functional.affine_grid` does.

    Raises:
        ValueError: theta of another shape, a size that is not theirs.
    """
    T, = rank("affine_grid", theta=(theta, 3))
    if len(size) != 4 or T != (size[0], 2, 3):
        raise ValueError(f"affine_grid: theta has shape {T} and size is {tuple(size)}, expected "
                         "(N, 2, 3) and (N, C, A, B)")
    (N, _, A, B), like = size, as_array(theta)
    y, x = (_regular(n, bool(align_corners)) for n in (A, B))
    points = np.stack([np.broadcast_to(x, (A, B)), np.broadcast_to(y[:, None], (A, B)),
                       np.ones((A, B))], -1).reshape(1, A * B, 3)
    points = Tensor(module_of(like).asarray(points, like.dtype))
    return reshape(matmul(points, permute(theta, 0, 2, 1)), N, A, B, 2)


@functools.lru_cache(64)
def _regular(n, align_corners):
    """n numbers from -1 to 1, in the middles of n equal parts unless align_corners."""
    if n <= 1:
        return np.zeros(n)
    return np.linspace(-1, 1, n) * (1 if align_corners else (n - 1) / n)
