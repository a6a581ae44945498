"""Corner pooling: every pixel learns the largest value that lies in one direction from it.

    top     y[h, w] = max over i >= h of x[i, w]        looking down, for an object's top edge
    bottom  y[h, w] = max over i <= h of x[i, w]        looking up
    left    y[h, w] = max over j >= w of x[h, j]        looking right, for its left edge
    right   y[h, w] = max over j <= w of x[h, j]        looking left

A corner of a box has nothing of the object in it: its evidence are the topmost pixel somewhere to
its right and the leftmost one somewhere below. So CornerNet adds "top" to "left" for upper left
corners. One running maximum a line gives values and places; with the places chosen it is a
`TakePlane`, and its gradient the `PutPlane` of max pooling. Lectures: K13; Law & Deng 2018.
"""
from __future__ import annotations

import functools

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import contiguous, device_of, empty, module_of
from tinyvision.engine import Tensor, as_array
from tinyvision.kernel import Kernel, prange
from tinyvision.ops import corner_pool_fast
from tinyvision.ops.check import rank
from tinyvision.ops.max_pool2d import TakePlane
from tinyvision.ops.windows import on_device

DIRECTIONS = "top", "bottom", "left", "right"


def corner_pool(x, direction) -> Tensor:
    """The largest value from each pixel on in one direction; the nearest to the end of equals.

    Args:
        x: (N, C, H, W).
        direction: "top" (looks down), "bottom" (up), "left" (right) or "right" (left).

    Returns:
        (N, C, H, W). NaN counts as the largest.

    Raises:
        ValueError: another direction, another number of axes.
        TypeError: an x that is not floating.
    """
    rank("corner_pool", x=(x, 4))
    if as_array(x).dtype not in (np.float32, np.float64):
        raise TypeError(f"corner_pool: x is {as_array(x).dtype}, expected float32 or float64")
    if direction not in DIRECTIONS:
        raise ValueError(f"corner_pool: direction is {direction!r}, expected one of {DIRECTIONS}")
    array, = contiguous(as_array(x))
    vertical, ahead = direction in ("top", "bottom"), direction in ("top", "left")
    places, y = module_of(array).empty(array.shape, np.int32), empty(array.shape, like=array)
    corner_places(array, vertical, ahead, places, y)
    sides = [_sight(device_of(array), size, ahead if mine else None)
             for size, mine in zip(array.shape[2:], (vertical, not vertical))]
    return TakePlane(*sides).known(y, x, Tensor(places))


@functools.lru_cache(512)
def _sight(device, size, ahead):
    """The Windows of what a pixel sees along an axis: all ahead, all behind, only itself (None)."""
    a = np.arange(size)
    low, high = (a, a + 1) if ahead is None else (a, a * 0 + size) if ahead else (a * 0, a + 1)
    return on_device(device, np.stack([low, high], 1), size)


# --- the kernel -----------------------------------------------------------------------------------
@Kernel
def corner_places(x, vertical, ahead, places, y):
    """Choose places (flat in the plane) and take y: running maxima, from the far end."""
    N, C, H, W = x.shape
    for n, c, line in np.ndindex(N, C, W if vertical else H):
        best = None
        for i in range(H if vertical else W)[::-1 if ahead else 1]:
            h, w = (i, line) if vertical else (line, i)
            if best is None or x[n, c, h, w] > x[n, c][best] or np.isnan(x[n, c, h, w]):
                best = h, w
            places[n, c, h, w], y[n, c, h, w] = best[0] * W + best[1], x[n, c][best]


@corner_places.variant("cpu_loops", parallel=True)           # a core owns one image
def _(x, vertical, ahead, places, y):
    N, C, H, W = x.shape
    size, lines = (H, W) if vertical else (W, H)
    for n in prange(N):
        for c in range(C):
            for line in range(lines):
                best, largest = -1, -np.inf
                for k in range(size):
                    i = size - 1 - k if ahead else k
                    h, w = (i, line) if vertical else (line, i)
                    v = x[n, c, h, w]
                    if best < 0 or v > largest or v != v:
                        best, largest = h * W + w, v
                    places[n, c, h, w], y[n, c, h, w] = best, largest


corner_places.python("cpu", corner_pool_fast.corner_places)


@corner_places.gpu                         # a thread owns one pixel and looks at all that it sees
def _(x, vertical, ahead, places, y):
    H, W = x.shape[2:]
    per_element(places, """
        int h = i / W % H, w = i % W, plane = i / W / H * H * W;
        int step = vertical ? W : 1, left = vertical ? h : w, size = vertical ? H : W;
        int far = i + (ahead ? (size - 1 - left) * step : -left * step);
        int best = far;
        for (int k = far; k != i; ) {
            k += ahead ? -step : step;
            if (x[k] > x[best] || x[k] != x[k]) best = k;
        }
        out = best - plane;""", x=x, vertical=int(vertical), ahead=int(ahead), H=H, W=W)
    per_element(y, "out = x[i / L * L + places[i]];", x=x, places=places, L=H * W)
