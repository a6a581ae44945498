"""RoI pooling: regions of any size become maps of one size, the maximum of each bin.

Torchvision's rounding, which this follows exactly, in the dtype of the input (along y; x alike):

    start = round(y0 scale),  end = round(y1 scale)        halves away from zero
    size  = max(end - start + 1, 1)                        the "+1": both end pixels belong to it
    bin p = [floor(p size / P), ceil((p + 1) size / P)) + start,   clipped to the image

Bins overlap where size / P is no whole number; a bin outside of the image is empty and gives 0.
What is discrete is chosen first: bins, then the place of each maximum. The op that remains is
linear: it takes those pixels, and its adjoint puts values back there.
Lectures: K8; Girshick 2015 (Fast R-CNN).
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import contiguous, empty, module_of
from tinyvision.engine import Op, Tensor
from tinyvision.kernel import Kernel, prange
from tinyvision.ops import roi_pool_fast
from tinyvision.ops.regions import region_arguments
from tinyvision.ops.regions_fast import turning_pays


@dataclass(frozen=True, eq=False, repr=False)
class RoITake(Op):
    """y[k,c,p,q] = x[batch[k], c] at the pixel index[k,c,p,q] = h W + w; 0 where that is -1."""
    index: object                                            # (K, C, P, Q) int32
    batch: object                                            # (K,) int32
    rows: object                                             # (K, P, 2) int32: the bins, for put
    cols: object                                             # (K, Q, 2) int32

    def forward(self, x):
        x, = contiguous(x)
        y = empty(self.index.shape, like=x)
        roi_take_kernel(x, self.index, self.batch, y)
        return y

    def backward(self, g, y, x):
        return RoIPut(self, x.shape)(g),

    def __repr__(self):
        return f"RoITake({self.index.shape})"


@dataclass(frozen=True, eq=False, repr=False)
class RoIPut(Op):
    """x[n,c,h,w] = sum of the y[k,c,p,q] that were taken from there: the adjoint of RoITake."""
    take: RoITake
    shape: tuple

    def forward(self, y):
        y, = contiguous(y)
        x, t = empty(self.shape, like=y), self.take
        roi_put_kernel(y, t.index, t.batch, t.rows, t.cols, x)
        return x

    def backward(self, g, x, y):
        return self.take(g),

    def __repr__(self):
        return f"RoIPut({self.shape})"


def roi_pool(input, boxes, output_size, spatial_scale=1.0) -> Tensor:
    """The maximum of each of P x Q bins, for every region of interest.

    Args:
        input: feature maps (N, C, H, W), float32 or float64.
        boxes: (K, 5), the index of the image and x0, y0, x1, y1; or a list of (L, 4), one for each
            image. They carry no gradient.
        output_size: P and Q, an int or a pair.
        spatial_scale: multiplies the boxes: feature pixels per image pixel.

    Returns:
        (K, C, P, Q), as `torchvision.ops.roi_pool`. Empty bins are 0 and have no gradient. The
        first of equal maxima is taken; a NaN wins its bin (torchvision passes over it).

    Raises:
        ValueError: shapes that do not fit, images that are not there, coordinates that are NaN,
            infinite or beyond 2^24.
        TypeError: an input that is not floating.
        DeviceError: input and boxes on two devices.
    """
    x, rois, size = region_arguments("roi_pool", input, boxes, output_size, spatial_scale)
    corners = round_half_away(rois[:, 1:] * x.dtype.type(spatial_scale))
    batch = rois[:, 0].astype(np.int32)
    rows = bins(corners[:, 1], corners[:, 3], size[0], x.shape[2])
    cols = bins(corners[:, 0], corners[:, 2], size[1], x.shape[3])
    index = module_of(x).empty((len(rois), x.shape[1], *size), np.int32)
    roi_max_kernel(*contiguous(x), batch, rows, cols, index)
    return RoITake(index, batch, rows, cols)(input)


def round_half_away(a):
    """C's round: to the nearest whole number, halves away from zero (NumPy's go to even)."""
    xp = module_of(a)
    whole = xp.trunc(a)
    return whole + xp.sign(a) * (abs(a - whole) >= 0.5)


def bins(start, end, count, limit):
    """[low, high) of each of `count` bins from pixel `start` to pixel `end`: int32 (K, count, 2).

    Clipped to [0, limit] while still floating, so that no coordinate can overflow.
    """
    xp, p = module_of(start), module_of(start).arange(count + 1, dtype=start.dtype)
    step = xp.maximum(end - start + 1, 1)[:, None] / start.dtype.type(count)
    edges = xp.stack([xp.floor(p[:-1] * step), xp.ceil(p[1:] * step)], -1)
    return (edges + start[:, None, None]).clip(0, limit).astype(np.int32)


# --- the kernels ----------------------------------------------------------------------------------
@Kernel
def roi_max_kernel(x, batch, rows, cols, index):
    """index[k,c,p,q] = h W + w of the largest x in bin (p, q) of RoI k; -1 where it is empty."""
    for k, c, p, q in np.ndindex(index.shape):
        (top, bottom), (left, right) = rows[k, p], cols[k, q]
        region = x[batch[k], c, top:bottom, left:right]
        index[k, c, p, q] = -1
        if region.size:
            h, w = divmod(int(region.argmax()), region.shape[1])
            index[k, c, p, q] = (top + h) * x.shape[3] + left + w


@Kernel
def roi_take_kernel(x, index, batch, y):
    """Read the chosen pixels; 0 where there is none."""
    y[...] = 0
    for k, c, p, q in np.ndindex(y.shape):
        if index[k, c, p, q] >= 0:
            y[k, c, p, q] = x[batch[k], c].flat[index[k, c, p, q]]


@Kernel
def roi_put_kernel(y, index, batch, rows, cols, x):
    """Add every value to the pixel it was taken from."""
    x[...] = 0
    for k, c, p, q in np.ndindex(y.shape):
        if index[k, c, p, q] >= 0:
            x[batch[k], c].flat[index[k, c, p, q]] += y[k, c, p, q]


@roi_max_kernel.variant("cpu_loops", parallel=True)          # a core owns one RoI
def _(x, batch, rows, cols, index):
    (K, C, P, Q), W = index.shape, x.shape[3]
    for k in prange(K):
        for c in range(C):
            plane = x[batch[k], c]
            for p in range(P):
                for q in range(Q):
                    best, largest, nan = -1, -np.inf, False
                    for h in range(rows[k, p, 0], rows[k, p, 1]):
                        for w in range(cols[k, q, 0], cols[k, q, 1]):
                            v = plane[h, w]
                            if best < 0 or v > largest or (v != v and not nan):
                                best, largest, nan = h * W + w, v, v != v
                    index[k, c, p, q] = best


def _max(x, batch, rows, cols, index):
    """Turn the maps where that pays."""
    fast = turning_pays(x.shape, len(index) * index.shape[2] * index.shape[3])
    (roi_pool_fast.roi_max if fast else roi_max_kernel.variants["cpu_loops"])(
        x, batch, rows, cols, index)


roi_max_kernel.python("cpu", _max)


@roi_take_kernel.cpu(parallel=True)
def _(x, index, batch, y):
    (K, C, P, Q), (N, _, H, W) = y.shape, x.shape
    planes = x.reshape(N, C, H * W)
    chosen, out = index.reshape(K, C, P * Q), y.reshape(K, C, P * Q)
    for k in prange(K):
        for c in range(C):
            plane = planes[batch[k], c]
            for b in range(P * Q):
                place = chosen[k, c, b]
                out[k, c, b] = plane[place] if place >= 0 else 0


@roi_put_kernel.cpu(parallel=True)         # a core owns some planes; y is read as it lies
def _(y, index, batch, rows, cols, x):
    (K, C, P, Q), (N, _, H, W) = y.shape, x.shape
    planes = x.reshape(N * C, H * W)
    values, chosen = y.reshape(K, C, P * Q), index.reshape(K, C, P * Q)
    D = max(1, min(C, 2**17 // max(H * W, 1)))               # planes that a core's cache holds
    while D > 8 and N * -(-C // D) < 8:                      # enough pieces for all cores
        D //= 2
    B = -(-C // D)
    for i in prange(N * B):
        n, first = int(i) // B, int(i) % B * D
        planes[n * C + first:n * C + min(C, first + D)] = 0
        for k in range(K):
            if batch[k] == n:
                for c in range(first, min(C, first + D)):
                    plane = planes[n * C + c]
                    for b in range(P * Q):
                        place = chosen[k, c, b]
                        if place >= 0:
                            plane[place] += values[k, c, b]


@roi_max_kernel.gpu                                          # a thread owns one bin
def _(x, batch, rows, cols, index):
    (_, C, P, Q), (_, _, H, W) = index.shape, x.shape
    per_element(index, """
        int q = i % Q, p = i / Q % P, c = i / Q / P % C, k = i / Q / P / C;
        const real *plane = x + (batch[k] * C + c) * H * W;
        const int *row = rows + 2 * (k * P + p), *col = cols + 2 * (k * Q + q);
        int best = -1;
        real largest = 0;
        for (int h = row[0]; h < row[1]; ++h)
            for (int w = col[0]; w < col[1]; ++w) {
                real v = plane[h * W + w];
                if (best < 0 || v > largest || (v != v && largest == largest)) {
                    best = h * W + w;
                    largest = v;
                }
            }
        out = best;""", x=x, batch=batch, rows=rows, cols=cols, C=C, P=P, Q=Q, H=H, W=W)


@roi_take_kernel.gpu
def _(x, index, batch, y):
    (_, C, P, Q), (_, _, H, W) = y.shape, x.shape
    per_element(y, """
        int c = i / Q / P % C, k = i / Q / P / C;
        if (index[i] >= 0) out = x[(batch[k] * C + c) * H * W + index[i]];""",
                x=x, index=index, batch=batch, C=C, P=P, Q=Q, H=H, W=W)


@roi_put_kernel.gpu                        # a thread owns one pixel, and asks the bins that hold it
def _(y, index, batch, rows, cols, x):
    (K, C, P, Q), (_, _, H, W) = y.shape, x.shape
    per_element(x, """
        int w = i % W, h = i / W % H, c = i / W / H % C, n = i / W / H / C;
        for (int k = 0; k < K; ++k) {
            if (batch[k] != n) continue;
            for (int p = 0; p < P; ++p) {
                const int *row = rows + 2 * (k * P + p);
                if (h < row[0] || h >= row[1]) continue;
                for (int q = 0; q < Q; ++q) {
                    const int *col = cols + 2 * (k * Q + q);
                    if (w < col[0] || w >= col[1]) continue;
                    int bin = ((k * C + c) * P + p) * Q + q;
                    if (index[bin] == h * W + w) out += y[bin];
                }
            }
        }""", y=y, index=index, batch=batch, rows=rows, cols=cols,
                K=K, C=C, P=P, Q=Q, H=H, W=W)
