"""Position-sensitive RoI pool and align: every bin of a region reads its own channel.

x has C P Q channels: P Q for every output channel, one for each bin, so a map learns to fire where,
say, the left half of a person is. Bin (p, q) of output channel c reads

    y[k,c,p,q] = sum over h, w of  rows[k,p,h] cols[k,q,w] x[batch[k], (c P + p) Q + q, h, w]

The weights are RoI Align's, or for pooling 1 / (pixels of the bin): two small tables that are
chosen from the boxes; the rest is linear in x. Nothing with parameters comes behind it, so a
thousand regions cost no more than their bins. Lectures: K10; Dai et al. 2016 (R-FCN).
"""
from __future__ import annotations

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import module_of
from tinyvision.engine import Tensor
from tinyvision.kernel import Kernel, prange
from tinyvision.ops import ps_roi_fast
from tinyvision.ops.check import at_least
from tinyvision.ops.regions import region_arguments
from tinyvision.ops.roi_align import RoIAlign, bilinear, tables
from tinyvision.ops.roi_pool import round_half_away


class PSRoI(RoIAlign):
    """y[k,c,p,q] = sum of rows[k,p,h] cols[k,q,w] x[batch[k],(c P + p) Q + q,h,w]."""

    def kernels(self):
        """What reads the bins, and what spreads them over the channels that they were read from."""
        return ps_roi_kernel, ps_roi_adjoint_kernel

    def channels(self, C, P, Q):
        """Of the bins, where x has C."""
        return C // (P * Q)


def ps_roi_pool(input, boxes, output_size, spatial_scale=1.0) -> Tensor:
    """The mean of each of P x Q bins, every bin in channels of its own.

    Args:
        input: feature maps (N, C P Q, H, W), float32 or float64.
        boxes: (K, 5), the index of the image and x0, y0, x1, y1; or a list of (L, 4), one for each
            image. They carry no gradient. Their corners are rounded to whole pixels, halves away
            from zero.
        output_size: P and Q, an int or a pair.
        spatial_scale: multiplies the boxes: feature pixels per image pixel.

    Returns:
        (K, C, P, Q), as `torchvision.ops.ps_roi_pool`. An empty bin is 0. As there, the last row
        and column of the map belong to no bin; (its backward forgets that, ours does not).

    Raises:
        ValueError: channels that are no multiple of P Q; shapes that do not fit, images that are
            not there, coordinates that are NaN, infinite or beyond 2^24.
        TypeError: an input that is not floating.
        DeviceError: input and boxes on two devices.
    """
    x, rois, size = _arguments("ps_roi_pool", input, boxes, output_size, spatial_scale)
    corners = round_half_away(rois[:, 1:] * x.dtype.type(spatial_scale))
    rows, cols = (means(corners[:, axis], corners[:, axis + 2], size[1 - axis], x.shape[3 - axis])
                  for axis in (1, 0))
    return PSRoI(tables(rois, rows, cols))(input)


def ps_roi_align(input, boxes, output_size, spatial_scale=1.0, sampling_ratio=-1) -> Tensor:
    """The mean of bilinear samples in each of P x Q bins, every bin in channels of its own.

    Args:
        input, boxes, output_size, spatial_scale: as in `ps_roi_pool`; nothing is rounded.
        sampling_ratio: samples a bin along each axis; 0 or less: one a pixel, ceil(size / bins).

    Returns:
        (K, C, P, Q), as `torchvision.ops.ps_roi_align`: `roi_align` with aligned=True, bin by bin.
        (A region turned inside out gives 0 where sampling_ratio is not positive, not NaN.)

    Raises:
        As `ps_roi_pool`; TypeError also for a sampling_ratio that is no whole number.
    """
    name = "ps_roi_align"
    x, rois, size = _arguments(name, input, boxes, output_size, spatial_scale)
    at_least(name, "sampling_ratio", sampling_ratio, -np.inf)
    return PSRoI(bilinear(x, rois, size, spatial_scale, sampling_ratio, True))(input)


def _arguments(name, input, boxes, output_size, spatial_scale):
    """`region_arguments`, and the channels fit the bins."""
    x, rois, (P, Q) = region_arguments(name, input, boxes, output_size, spatial_scale)
    if x.shape[1] % (P * Q):
        raise ValueError(f"{name}: input has {x.shape[1]} channels, expected a multiple of "
                         f"{P} x {Q} bins = {P * Q}")
    return x, rois, (P, Q)


def means(start, end, count, size):
    """(K, count, size): 1 / its pixels, in each of `count` bins between whole numbers."""
    xp, T = module_of(start), start.dtype.type
    p = xp.arange(count + 1, dtype=start.dtype)
    step = xp.maximum(end - start, 1)[:, None] / T(count)
    low, high = ((edge + start[:, None]).clip(0, max(size - 1, 0))[..., None]
                 for edge in (xp.floor(p[:-1] * step), xp.ceil(p[1:] * step)))
    h = xp.arange(size, dtype=start.dtype)
    return ((h >= low) & (h < high)) / xp.maximum(high - low, 1)


# --- the kernels ----------------------------------------------------------------------------------
@Kernel
def ps_roi_kernel(x, batch, rows, cols, tall, wide, y):
    """The double sum, each bin in its channel; where a weight is 0, nothing is looked at."""
    (_, _, P, Q), (H, W) = y.shape, x.shape[2:]
    y[...] = 0
    for k, c, p, q, h, w in np.ndindex(*y.shape, H, W):
        if rows[k, p, h] * cols[k, q, w] != 0:
            y[k, c, p, q] += rows[k, p, h] * cols[k, q, w] * x[batch[k], (c * P + p) * Q + q, h, w]


@ps_roi_kernel.variant("cpu_loops", parallel=True)           # a core owns one region
def _(x, batch, rows, cols, tall, wide, y):
    K, C, P, Q = y.shape
    for k in prange(K):
        for c in range(C):
            for p in range(P):
                for q in range(Q):
                    plane = x[batch[k], (c * P + p) * Q + q]
                    y[k, c, p, q] = 0
                    for h in range(tall[k, p, 0], tall[k, p, 1]):
                        for w in range(wide[k, q, 0], wide[k, q, 1]):
                            if rows[k, p, h] * cols[k, q, w] != 0:
                                y[k, c, p, q] += rows[k, p, h] * cols[k, q, w] * plane[h, w]


@Kernel
def ps_roi_adjoint_kernel(y, batch, rows, cols, tall, wide, x):
    """Every bin is spread over the pixels that it was read from."""
    (_, _, P, Q), (H, W) = y.shape, x.shape[2:]
    x[...] = 0
    for k, c, p, q, h, w in np.ndindex(*y.shape, H, W):
        if rows[k, p, h] * cols[k, q, w] != 0:
            x[batch[k], (c * P + p) * Q + q, h, w] += rows[k, p, h] * cols[k, q, w] * y[k, c, p, q]


@ps_roi_adjoint_kernel.variant("cpu_loops")                  # two regions may share pixels
def _(y, batch, rows, cols, tall, wide, x):
    K, C, P, Q = y.shape
    x[:] = 0
    for k in range(K):
        for c in range(C):
            for p in range(P):
                for q in range(Q):
                    plane = x[batch[k], (c * P + p) * Q + q]
                    for h in range(tall[k, p, 0], tall[k, p, 1]):
                        for w in range(wide[k, q, 0], wide[k, q, 1]):
                            if rows[k, p, h] * cols[k, q, w] != 0:
                                plane[h, w] += rows[k, p, h] * cols[k, q, w] * y[k, c, p, q]


ps_roi_kernel.python("cpu", ps_roi_fast.read)
ps_roi_adjoint_kernel.python("cpu", ps_roi_fast.spread)


@ps_roi_kernel.gpu                                           # a thread owns one bin
def _(x, batch, rows, cols, tall, wide, y):
    (_, C, P, Q), (_, D, H, W) = y.shape, x.shape
    per_element(y, """
        int q = i % Q, p = i / Q % P, k = i / Q / P / C;
        const real *plane = x + (batch[k] * D + i % D) * H * W;
        const real *row = rows + (k * P + p) * H, *col = cols + (k * Q + q) * W;
        const int *down = tall + 2 * (k * P + p), *across = wide + 2 * (k * Q + q);
        for (int h = down[0]; h < down[1]; ++h)
            for (int w = across[0]; w < across[1]; ++w)
                if (row[h] * col[w] != 0) out += row[h] * col[w] * plane[h * W + w];""",
                x=x, batch=batch, rows=rows, cols=cols, tall=tall, wide=wide,
                C=C, P=P, Q=Q, D=D, H=H, W=W)


@ps_roi_adjoint_kernel.gpu                 # a thread owns one pixel, and asks its channel's bins
def _(y, batch, rows, cols, tall, wide, x):
    (K, C, P, Q), (_, D, H, W) = y.shape, x.shape
    per_element(x, """
        int w = i % W, h = i / W % H, d = i / W / H % D, n = i / W / H / D;
        int q = d % Q, p = d / Q % P;
        for (int k = 0; k < K; ++k) {
            if (batch[k] != n) continue;
            real weight = rows[(k * P + p) * H + h] * cols[(k * Q + q) * W + w];
            if (weight != 0) out += weight * y[k * D + d];
        }""", y=y, batch=batch, rows=rows, cols=cols, K=K, P=P, Q=Q, D=D, H=H, W=W)
