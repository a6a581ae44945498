"""RoI Align: regions of any size become maps of one size, without rounding a coordinate.

Each of P x Q bins is the mean of S x T regularly spaced samples; a sample at (y, x) is read by
bilinear interpolation,

    f = sum over i, j of  f_ij max(0, 1 - |x - x_i|) max(0, 1 - |y - y_j|)

The weights are a product of a row's and a column's, and so is their mean over a bin's samples:

    y[k,c,p,q] = sum over h, w of  rows[k,p,h] cols[k,q,w] x[n,c,h,w],  n = batch[k]
    rows[k,p,h] = mean over s of  max(0, 1 - |y_s - h|),   y_s = start + p step + (s + 1/2) step / S

So the boxes become two small tables (what is chosen); the rest is linear in x, and its adjoint uses
the same weights. As in torchvision, y_s outside [-1, H] counts 0, else is clamped to [0, H - 1].
Lectures: K9; He et al. 2017 (Mask R-CNN).
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import contiguous, empty, module_of
from tinyvision.engine import Op, Tensor
from tinyvision.kernel import Kernel, prange
from tinyvision.ops import roi_align_fast
from tinyvision.ops.check import at_least
from tinyvision.ops.regions import region_arguments
from tinyvision.ops.regions_fast import turning_pays


@dataclass(frozen=True, eq=False, repr=False)
class RoIAlign(Op):
    """y[k,c,p,q] = sum of rows[k,p,h] cols[k,q,w] x[batch[k],c,h,w]."""
    tables: tuple    # batch (K,), rows (K, P, H), cols (K, Q, W), and the `reach` of those two

    def kernels(self):
        """What reads the bins, and what spreads them: its adjoint."""
        return roi_align_kernel, roi_align_adjoint_kernel

    def channels(self, C, P, Q):
        """Of the bins, where x has C."""
        return C

    def forward(self, x):
        x, = contiguous(x)
        (K, P, _), Q = self.tables[1].shape, self.tables[2].shape[1]
        y = empty((K, self.channels(x.shape[1], P, Q), P, Q), like=x)
        self.kernels()[0](x, *self.tables, y)
        return y

    def backward(self, g, y, x):
        return RoIAlignAdjoint(self, x.shape)(g),

    def __repr__(self):
        return f"{type(self).__name__}({len(self.tables[0])} RoIs)"


@dataclass(frozen=True, eq=False, repr=False)
class RoIAlignAdjoint(Op):
    """x[n,c,h,w] = sum of rows[k,p,h] cols[k,q,w] y[k,c,p,q] over the RoIs k of image n."""
    align: RoIAlign
    shape: tuple

    def forward(self, y):
        y, = contiguous(y)
        x = empty(self.shape, like=y)
        self.align.kernels()[1](y, *self.align.tables, x)
        return x

    def backward(self, g, x, y):
        return self.align(g),

    def __repr__(self):
        return f"{type(self.align).__name__}Adjoint({self.shape})"


def roi_align(input, boxes, output_size, spatial_scale=1.0, sampling_ratio=-1,
              aligned=False) -> Tensor:
    """The mean of bilinear samples in each of P x Q bins, for every region of interest.

    Args:
        input: feature maps (N, C, H, W), float32 or float64.
        boxes: (K, 5), the index of the image and x0, y0, x1, y1; or a list of (L, 4), one for each
            image. They carry no gradient.
        output_size: P and Q, an int or a pair.
        spatial_scale: multiplies the boxes: feature pixels per image pixel.
        sampling_ratio: samples a bin along each axis; 0 or less: one a pixel, ceil(size / bins).
        aligned: pixel (h, w) has its centre at (h + 0.5, w + 0.5). False is the older convention:
            half a pixel off, and regions are at least 1 x 1.

    Returns:
        (K, C, P, Q), as `torchvision.ops.roi_align`. With the box (0, 0, W, H), aligned and one
        sample a bin it is the bilinear resize with align_corners=False.

    Raises:
        ValueError, DeviceError: as in `roi_pool`.
        TypeError: an input that is not floating; a sampling_ratio that is no whole number.
    """
    x, rois, size = region_arguments("roi_align", input, boxes, output_size, spatial_scale)
    at_least("roi_align", "sampling_ratio", sampling_ratio, -np.inf)
    return RoIAlign(bilinear(x, rois, size, spatial_scale, sampling_ratio, aligned))(input)


def bilinear(x, rois, size, spatial_scale, sampling_ratio, aligned):
    """The tables of bins that are means of bilinear samples of x."""
    kind = x.dtype.type
    corners = rois[:, 1:] * kind(spatial_scale) - kind(0.5 if aligned else 0)
    return tables(rois, *(
        weights(corners[:, axis], corners[:, axis + 2], size[1 - axis], x.shape[3 - axis],
                sampling_ratio, not aligned) for axis in (1, 0)))


def tables(rois, rows, cols):
    """What the ops hold: whose image, the weights, and where they are not zero."""
    return rois[:, 0].astype(np.int32), rows, cols, reach(rows), reach(cols)


def weights(start, end, count, size, sampling_ratio, grow):
    """(K, count, size): each pixel's share in each bin from start to end (1 apart, if `grow`)."""
    xp, length = module_of(start), end - start
    step = (xp.maximum(length, 1) if grow else length) / start.dtype.type(count)
    samples = (xp.full(len(step), sampling_ratio) if sampling_ratio > 0 else
               xp.ceil(step).clip(0, 2**24)).astype(np.int32)
    out = xp.empty((len(start), count, size), start.dtype)
    roi_weights_kernel(*contiguous(start, step), samples, out)
    return out


def reach(table):
    """[first, last + 1) of the weights that are not zero, along the last axis: int32 (K, P, 2)."""
    out = module_of(table).empty((*table.shape[:2], 2), np.int32)
    reach_kernel(table, out)
    return out


# --- the kernels ----------------------------------------------------------------------------------
@Kernel
def roi_weights_kernel(start, step, samples, out):
    """out[k,p,h] = mean over bin p's samples y of max(0, 1 - |y - h|)."""
    T, H = out.dtype.type, out.shape[2]
    out[...] = 0
    for k, p, h in np.ndindex(out.shape):
        S = T(samples[k])
        for s in range(samples[k]):
            y = start[k] + T(p) * step[k] + T(s + 0.5) * step[k] / S
            if -1 <= y <= H:
                y = min(max(y, T(0)), T(H - 1))
                out[k, p, h] += max(T(0), 1 - abs(y - T(h))) / S


@Kernel
def reach_kernel(table, out):
    """out[k,p] = the first weight that is not zero, and one past the last; 0, 0 without any."""
    for k, p in np.ndindex(table.shape[:2]):
        there = np.flatnonzero(table[k, p])
        out[k, p] = (there[0], there[-1] + 1) if there.size else 0


@Kernel
def roi_align_kernel(x, batch, rows, cols, tall, wide, y):
    """The double sum; a weight of 0 means that the pixel is not looked at."""
    H, W = x.shape[2:]
    y[...] = 0
    for k, c, p, q, h, w in np.ndindex(*y.shape, H, W):
        if rows[k, p, h] * cols[k, q, w] != 0:
            y[k, c, p, q] += rows[k, p, h] * cols[k, q, w] * x[batch[k], c, h, w]


@Kernel
def roi_align_adjoint_kernel(y, batch, rows, cols, tall, wide, x):
    """Every bin is spread over the pixels that it was read from."""
    H, W = x.shape[2:]
    x[...] = 0
    for k, c, p, q, h, w in np.ndindex(*y.shape, H, W):
        if rows[k, p, h] * cols[k, q, w] != 0:
            x[batch[k], c, h, w] += rows[k, p, h] * cols[k, q, w] * y[k, c, p, q]


@roi_weights_kernel.cpu()                                    # a sample lies between two pixels
def _(start, step, samples, out):
    T, (K, P, H) = out.dtype.type, out.shape
    out[:] = 0
    for k in range(K):
        S = T(samples[k])
        for p in range(P):
            for s in range(samples[k]):
                y = start[k] + T(p) * step[k] + T(s + 0.5) * step[k] / S
                if -1 <= y <= H and H > 0:
                    y = min(max(y, T(0)), T(H - 1))
                    low = int(y)
                    out[k, p, low] += (T(1) - (y - T(low))) / S
                    if low + 1 < H:
                        out[k, p, low + 1] += (y - T(low)) / S


@reach_kernel.cpu()
def _(table, out):
    K, P, H = table.shape
    for k in range(K):
        for p in range(P):
            first, last = 0, H
            while first < H and table[k, p, first] == 0:
                first += 1
            while last > first and table[k, p, last - 1] == 0:
                last -= 1
            out[k, p, 0], out[k, p, 1] = (first, last) if first < last else (0, 0)


@roi_align_kernel.variant("cpu_loops", parallel=True, fastmath=True, allocates=True)     # a core owns one RoI
def _(x, batch, rows, cols, tall, wide, y):
    (K, C, P, Q), W = y.shape, x.shape[3]
    for k in prange(K):
        left, right = wide[k, :, 0].min(), wide[k, :, 1].max()
        line = np.empty(W, x.dtype)
        for c in range(C):
            plane = x[batch[k], c]
            for p in range(P):
                line[left:right] = 0
                for h in range(tall[k, p, 0], tall[k, p, 1]):
                    if rows[k, p, h] != 0:
                        for w in range(left, right):
                            line[w] += rows[k, p, h] * plane[h, w]
                for q in range(Q):
                    y[k, c, p, q] = 0
                    for w in range(wide[k, q, 0], wide[k, q, 1]):
                        if cols[k, q, w] != 0:
                            y[k, c, p, q] += cols[k, q, w] * line[w]


@roi_align_adjoint_kernel.variant("cpu_loops", parallel=True, fastmath=True, allocates=True)   # one plane: no race
def _(y, batch, rows, cols, tall, wide, x):
    (K, C, P, Q), (N, _, H, W) = y.shape, x.shape
    for k in prange(N * C):
        n, c = np.int64(k) // C, np.int64(k) % C
        plane, line = x[n, c], np.empty(W, x.dtype)
        plane[:] = 0
        for r in range(K):
            if batch[r] == n:
                left, right = wide[r, :, 0].min(), wide[r, :, 1].max()
                for p in range(P):
                    line[left:right] = 0
                    for q in range(Q):
                        for w in range(wide[r, q, 0], wide[r, q, 1]):
                            if cols[r, q, w] != 0:
                                line[w] += cols[r, q, w] * y[r, c, p, q]
                    for h in range(tall[r, p, 0], tall[r, p, 1]):
                        if rows[r, p, h] != 0:
                            for w in range(left, right):
                                plane[h, w] += rows[r, p, h] * line[w]


def _align(x, batch, rows, cols, tall, wide, y):
    """Turn the maps where that pays."""
    fast = turning_pays(x.shape, len(y) * y.shape[2] * y.shape[3])
    (roi_align_fast.roi_align if fast else roi_align_kernel.variants["cpu_loops"])(
        x, batch, rows, cols, tall, wide, y)


def _adjoint(y, batch, rows, cols, tall, wide, x):
    fast = turning_pays(x.shape, len(y) * y.shape[2] * y.shape[3])
    (roi_align_fast.roi_align_adjoint if fast else roi_align_adjoint_kernel.variants["cpu_loops"])(
        y, batch, rows, cols, tall, wide, x)


roi_align_kernel.python("cpu", _align)
roi_align_adjoint_kernel.python("cpu", _adjoint)


@roi_weights_kernel.gpu                                      # a thread owns one weight
def _(start, step, samples, out):
    _, P, H = out.shape
    per_element(out, """
        int h = i % H, p = i / H % P, k = i / P / H, S = samples[k];
        for (int s = 0; s < S; ++s) {
            real y = start[k] + real(p) * step[k] + (real(s) + real(0.5)) * step[k] / real(S);
            if (!(y >= -1 && y <= H)) continue;
            y = min(max(y, real(0)), real(H - 1));
            out += max(real(0), real(1) - abs(y - real(h))) / real(S);
        }""", start=start, step=step, samples=samples, P=P, H=H)


@reach_kernel.gpu                                            # a thread owns one end
def _(table, out):
    per_element(out, """
        const real *row = table + i / 2 * H;
        int first = 0, last = H;
        while (first < H && row[first] == 0) ++first;
        while (last > first && row[last - 1] == 0) --last;
        out = first == last ? 0 : i % 2 ? last : first;""", table=table, H=table.shape[2])


@roi_align_kernel.gpu                                        # a thread owns one bin
def _(x, batch, rows, cols, tall, wide, y):
    (_, C, P, Q), (_, _, H, W) = y.shape, x.shape
    per_element(y, """
        int q = i % Q, p = i / Q % P, c = i / Q / P % C, k = i / Q / P / C;
        const real *plane = x + (batch[k] * C + c) * H * W;
        const real *row = rows + (k * P + p) * H, *col = cols + (k * Q + q) * W;
        const int *down = tall + 2 * (k * P + p), *across = wide + 2 * (k * Q + q);
        for (int h = down[0]; h < down[1]; ++h)
            for (int w = across[0]; w < across[1]; ++w)
                if (row[h] * col[w] != 0) out += row[h] * col[w] * plane[h * W + w];""",
                x=x, batch=batch, rows=rows, cols=cols, tall=tall, wide=wide,
                C=C, P=P, Q=Q, H=H, W=W)


@roi_align_adjoint_kernel.gpu              # a thread owns one pixel and asks the bins that reach it
def _(y, batch, rows, cols, tall, wide, x):
    (K, C, P, Q), (_, _, H, W) = y.shape, x.shape
    per_element(x, """
        int w = i % W, h = i / W % H, c = i / W / H % C, n = i / W / H / C;
        for (int k = 0; k < K; ++k) {
            if (batch[k] != n) continue;
            for (int p = 0; p < P; ++p) {
                real row = rows[(k * P + p) * H + h];
                for (int q = 0; row != 0 && q < Q; ++q) {
                    real col = cols[(k * Q + q) * W + w];
                    if (col != 0) out += row * col * y[((k * C + c) * P + p) * Q + q];
                }
            }
        }""", y=y, batch=batch, rows=rows, cols=cols, K=K, C=C, P=P, Q=Q, H=H, W=W)
