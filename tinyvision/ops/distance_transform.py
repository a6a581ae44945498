"""The distance of every pixel from the background, exactly, and U-Net's weights of borders.

    squares[h,v] = min over (i,j) not in the mask of (h - i)^2 + (v - j)^2
                 = min_j (v - j)^2 + g[h,j]^2,    g[h,j] = min_i |h - i|: the same within a column

so first the columns are walked down and up; then, along a row, the parabolas (v - j)^2 + g[h,j]^2
have a lower envelope that is found in one walk and read in another (Meijster et al. 2000). Choosers:
arrays in, arrays out. Lecture: L1; Ronneberger et al. 2015, equation 2.
"""
from __future__ import annotations

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import contiguous, module_of
from tinyvision.engine import as_array
from tinyvision.kernel import Kernel, jit, prange, threads

NOWHERE = 2**31 - 1                        # the squared distance where all is mask
SIDE = 32000                               # pixels: squares of longer distances overflow int32
TOGETHER = 16                              # masks at a time


def distance_transform(mask):
    """The Euclidean distance from every pixel of the mask to the nearest one that is not in it.

    Args:
        mask: bool (H, W), or (N, H, W) for N masks.

    Returns:
        An array float32 of the mask's shape, in pixels: 0 outside the mask, at least 1 inside,
        infinite where there is nothing outside. Like `scipy.ndimage.distance_transform_edt`.

    Raises:
        TypeError: a mask that is not boolean.
        ValueError: another number of axes, a side above 32,000 pixels.
    """
    array = as_array(mask)
    if array.dtype != bool:
        raise TypeError(f"distance_transform: mask is {array.dtype}, expected bool")
    if array.ndim not in (2, 3) or max(array.shape[-2:]) > SIDE:
        raise ValueError(f"distance_transform: mask has shape {array.shape}, expected (H, W) or "
                         f"(N, H, W), with sides of at most {SIDE}")
    masks, = contiguous(array if array.ndim == 3 else array[None])
    out = module_of(masks).empty(masks.shape, np.int32)
    squared_distances(masks, out)
    far = module_of(out).sqrt(out.astype(np.float32))
    far[out == NOWHERE] = np.inf
    return far.reshape(array.shape)


def border_weight_map(labels, w0=10.0, sigma=5.0, class_weights=None):
    """U-Net's weights of pixels: heavy where the background between two cells is thin.

        w = w_class + w0 exp(-(d1 + d2)^2 / (2 sigma^2)) on the background

    with d1 and d2 the distances to the nearest and the second nearest cell. To be multiplied with
    `cross_entropy(..., reduction="none")`.

    Args:
        labels: whole numbers (H, W): 0 the background, every other number one cell.
        w0, sigma: how heavy a border can be, and how wide, in pixels.
        class_weights: (background, cell); None balances their pixels, so that both weigh the same
            in total and the mean of w_class is 1.

    Returns:
        An array float32 (H, W).

    Raises:
        ValueError: labels of another shape, or below 0; a sigma that is not positive.
        TypeError: labels that are not whole numbers.
    """
    cells, name = as_array(labels), "border_weight_map"
    if cells.dtype.kind not in "iu":
        raise TypeError(f"{name}: labels are {cells.dtype}, expected whole numbers")
    if cells.ndim != 2 or cells.size and cells.min() < 0 or not sigma > 0:
        raise ValueError(f"{name}: got labels of shape {cells.shape}, the lowest "
                         f"{cells.min() if cells.size else 'none'}, and sigma={sigma}; expected "
                         "(H, W), labels from 0, and a positive sigma")
    xp = module_of(cells)
    inside = cells != 0
    first, second = _two_nearest(xp, cells)
    border = w0 * xp.exp(-(first + second) ** 2 / (2 * sigma ** 2)) * ~inside
    background, cell = _balance(inside) if class_weights is None else class_weights
    return (xp.where(inside, cell, background) + border).astype(np.float32)


def _balance(inside):
    """(background, cell) weights that make both weigh half of all pixels."""
    share = float(inside.mean()) if inside.size else 0.5
    return (0.5 / (1 - share), 0.5 / share) if 0 < share < 1 else (1.0, 1.0)


def _two_nearest(xp, cells):
    """Every pixel's distances to the nearest and the second nearest cell, infinite without."""
    nearest = xp.full((2, *cells.shape), np.inf, np.float32)
    names = xp.unique(cells)
    names = names[names != 0]
    for k in range(0, len(names), TOGETHER):
        outside = cells != names[k:k + TOGETHER, None, None]
        nearest = xp.concatenate([nearest, distance_transform(outside)])
        nearest = xp.partition(nearest, 1, 0)[:2]
    return nearest


# --- the kernel -----------------------------------------------------------------------------------
@Kernel
def squared_distances(mask, out):
    """out int32 (N, H, W): to the nearest pixel of the plane that is not in the mask."""
    for n, h, v in np.ndindex(mask.shape):
        outside = np.argwhere(~mask[n])
        out[n, h, v] = np.square(outside - (h, v)).sum(1).min(initial=NOWHERE)


@jit(parallel=True)
def distance_planes(mask, scratch, out):
    """A thread owns some planes, and three lines of `scratch`."""
    N, count = len(mask), len(scratch)
    for k in prange(count):
        k = np.int64(k)
        for n in range(k * N // count, (k + 1) * N // count):
            columns(mask[n], out[n])
            for h in range(mask.shape[1]):
                row(out[n, h], scratch[k], mask.shape[1] + mask.shape[2])


@jit
def columns(mask, g):
    """g[h, v]: how far the nearest pixel of column v is that is not in the mask; or H + W."""
    H, W = mask.shape
    for h in range(H):
        for v in range(W):
            above = g[h - 1, v] + 1 if h else H + W
            g[h, v] = min(above, H + W) if mask[h, v] else 0
    for h in range(H - 2, -1, -1):
        for v in range(W):
            g[h, v] = min(g[h, v], g[h + 1, v] + 1)


@jit
def row(g, scratch, infinite):
    """One row's distances within columns become squared distances, in place.

    Parabola q of the envelope stands at place[q], is square[q] high there, and the lowest one from
    pixel start[q] on.
    """
    W = len(g)
    place, start, square = scratch[0], scratch[1], scratch[2]
    q = np.int64(-1)
    for u in range(W):
        new = np.int64(g[u]) * np.int64(g[u])
        while q >= 0 and (start[q] - place[q]) ** 2 + square[q] > (start[q] - u) ** 2 + new:
            q -= 1
        first = np.int64(0)
        if q >= 0:
            meet = u * u - place[q] * place[q] + new - square[q]
            first = 1 + meet // (2 * (u - place[q]))
        if first < W:
            q += 1
            place[q], start[q], square[q] = u, first, new
    for u in range(W - 1, -1, -1):
        found = (u - place[q]) ** 2 + square[q]
        g[u] = NOWHERE if found >= infinite * infinite else found
        if u == start[q]:
            q -= 1


def _planes(mask, out):
    H, W = mask.shape[1:]
    if out.size:
        count = min(threads(), len(mask))
        distance_planes(mask, np.empty((count, 3, W), np.int64), out)


squared_distances.python("cpu", _planes)


@squared_distances.gpu                                       # a thread owns one pixel, twice
def _(mask, out):
    N, H, W = mask.shape
    g = module_of(mask).empty(mask.shape, np.int32)
    per_element(g, """
        int h = i / W % H, far = 0;
        while (far < H && (h - far < 0 || mask[i - far * W])
               && (h + far >= H || mask[i + far * W])) ++far;
        out = far < H ? far : H + W;
        """, mask=mask, H=H, W=W)
    per_element(out, """
        int v = i % W, least = nowhere;
        for (int u = 0; u < W; ++u)
            if (g[i - v + u] < H) {
                int far = (u - v) * (u - v) + g[i - v + u] * g[i - v + u];
                least = far < least ? far : least;
            }
        out = least;
        """, g=g, H=H, W=W, nowhere=NOWHERE)
