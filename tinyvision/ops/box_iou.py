"""Boxes as arrays: area, formats, and IoU = area of overlap / area of union, also of masks.

    w = max(0, min(x1, x1') - max(x0, x0')),  h alike
    IoU = w h / (area + area' - w h)

Boxes are (x0, y0, x1, y1), continuous and half open, without "+1". These are choosers: they take
Tensors or arrays and return arrays, without gradients. A box whose area is not a positive finite
number (empty, inverted, NaN) has IoU 0 with every box, itself included.
Every variant computes the same bits: the products are never fused into the sums that follow.
Lectures: K12; Everingham et al. 2010.
"""
from __future__ import annotations

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import contiguous, module_of
from tinyvision.engine import as_array
from tinyvision.kernel import Kernel, jit, prange
from tinyvision.ops.check import same_device
from tinyvision.worker import after, crew, longs, real_worker, share

FORMATS = "xyxy", "xywh", "cxcywh"


def box_iou(boxes1, boxes2):
    """IoU of every box of one set with every box of another.

    Args:
        boxes1: (N, 4).
        boxes2: (M, 4).

    Returns:
        An array (N, M), float32 or float64: the dtype of the boxes; integers become float64.
        Like `torchvision.ops.box_iou`, but 0 where that gives NaN.

    Raises:
        ValueError: another shape.
        TypeError: boxes that are not real numbers.
        DeviceError: arrays of two devices.
    """
    a, b = as_boxes("box_iou", boxes1=boxes1, boxes2=boxes2)
    out = module_of(a).empty((len(a), len(b)), a.dtype)
    box_iou_kernel(a, b, out)
    return out


def box_area(boxes):
    """(x1 - x0) (y1 - y0) of boxes (N, 4), as an array (N,); 0 for empty and inverted boxes.

    The dtype is that of `box_iou`. torchvision's lets two negative sides make a positive area.
    """
    b, = as_boxes("box_area", boxes=boxes)
    sides = b[:, 2:] - b[:, :2]
    return sides[:, 0] * sides[:, 1] * (sides > 0).all(1)


def box_convert(boxes, in_fmt, out_fmt):
    """The same boxes (N, 4), written in another format, as a new array.

    Args:
        boxes: (N, 4); integers become float64.
        in_fmt, out_fmt: "xyxy" (two corners), "xywh" (corner and size) or "cxcywh" (centre and
            size).

    Raises:
        ValueError: another format or shape. Like `torchvision.ops.box_convert`.
    """
    for argument, value in (("in_fmt", in_fmt), ("out_fmt", out_fmt)):
        if value not in FORMATS:
            raise ValueError(f"box_convert: {argument} is {value!r}, "
                             f"expected one of {', '.join(FORMATS)}")
    b, = as_boxes("box_convert", boxes=boxes)
    if in_fmt == out_fmt:
        return b.copy()
    return _from_corners(_to_corners(b[:, :2], b[:, 2:], in_fmt), out_fmt)


def _to_corners(first, second, in_fmt):
    """(low, high) corners of boxes whose two columns mean what `in_fmt` says."""
    if in_fmt == "xyxy":
        return first, second
    low = first - second / 2 if in_fmt == "cxcywh" else first
    return low, low + second


def _from_corners(corners, out_fmt):
    low, high = corners
    place = (low + high) / 2 if out_fmt == "cxcywh" else low
    return module_of(low).concatenate([place, high if out_fmt == "xyxy" else high - low], 1)


def mask_iou(masks1, masks2):
    """IoU of every mask of one set with every mask of another: pixels in both / pixels in either.

    Args:
        masks1: bool (N, H, W).
        masks2: bool (M, H, W).

    Returns:
        A float64 array (N, M); 0 where both masks are empty.

    Raises:
        ValueError: shapes that do not fit.
        TypeError: masks that are not bool (threshold scores first).
    """
    a, b = as_array(masks1), as_array(masks2)
    same_device("mask_iou", masks1=a, masks2=b)
    if a.ndim != 3 or b.ndim != 3 or a.shape[1:] != b.shape[1:]:
        raise ValueError(f"mask_iou: masks1 has shape {a.shape} and masks2 {b.shape}, "
                         "expected (N, H, W) and (M, H, W)")
    if a.dtype != bool or b.dtype != bool:
        raise TypeError(f"mask_iou: masks1 is {a.dtype} and masks2 {b.dtype}, expected bool")
    pixels = a.shape[1] * a.shape[2]
    exact = np.float32 if pixels <= 2**24 else np.float64      # float32 counts exactly up to there
    a, b = (m.reshape(len(m), pixels).astype(exact) for m in (a, b))
    inter = (a @ b.T).astype(np.float64)
    union = a.sum(1, dtype=np.float64)[:, None] + b.sum(1, dtype=np.float64) - inter
    return inter / module_of(inter).maximum(union, 1)


# --- checks that the functions on boxes share -----------------------------------------------------
def as_boxes(name, **arguments):
    """The arguments as contiguous arrays (N, 4) of one dtype, float32 or float64.

    Raises:
        ValueError: another shape (an empty list counts as no boxes).
        TypeError: not real numbers.
        DeviceError: arrays of two devices.
    """
    arrays = {argument: as_array(value) for argument, value in arguments.items()}
    same_device(name, **arrays)
    for argument, a in arrays.items():
        if a.shape != (0,) and (a.ndim != 2 or a.shape[1] != 4):
            raise ValueError(f"{name}: {argument} has shape {a.shape}, expected (N, 4)")
        if a.dtype.kind not in "fiu":
            raise TypeError(f"{name}: {argument} is {a.dtype}, expected real numbers")
    kind = np.result_type(np.float32, *(a.dtype for a in arrays.values()))
    kind = kind if kind == np.float32 and all(a.dtype.kind == "f" for a in arrays.values()) \
        else np.float64
    return contiguous(*(a.reshape(-1, 4).astype(kind, copy=False) for a in arrays.values()))


# --- the kernels ----------------------------------------------------------------------------------
@np.errstate(all="ignore")
def iou(a, b):
    """IoU of two boxes of four numbers: the equation, in plain Python."""
    areas = [(x1 - x0) * (y1 - y0) if x1 > x0 and y1 > y0 else 0 for x0, y0, x1, y1 in (a, b)]
    if not all(0 < area < np.inf for area in areas):
        return 0
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = w * h if w > 0 and h > 0 else 0
    return inter / (areas[0] + areas[1] - inter)


@Kernel
def box_iou_kernel(a, b, out):
    """out[n, m] = IoU of a[n] and b[m]."""
    for n, m in np.ndindex(out.shape):
        out[n, m] = iou(a[n], b[m])


@jit
def pair_iou(a, b):
    """`iou`, compiled; the type of the boxes is kept throughout. Most pairs do not meet."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    first, second = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    inter = w * h
    if w > 0 and h > 0 and 0 < first < np.inf and 0 < second < np.inf:
        return inter / (first + second - inter)
    return a.dtype.type(0)


@box_iou_kernel.variant("cpu_loops", parallel=True)          # a core owns one row
def _(a, b, out):
    for n in prange(len(a)):
        for m in range(len(b)):
            out[n, m] = pair_iou(a[n], b[m])


def box_iou_cpu(a, b, out):
    """The rung `cpu`: each corner's numbers lie in a row, 16 boxes are compared at a time."""
    workers = crew(out.size)
    rows_of_iou(workers, a, b, out, *out.shape, np.empty((workers, 5, len(b)), b.dtype), workers)


box_iou_kernel.python("cpu", box_iou_cpu)


@real_worker
def rows_of_iou(job, k):
    """Thread k's rows of out (N, M)."""
    job = longs(job)
    a, b, out, M = reals(job[0]), reals(job[1]), reals(job[2]), job[4]
    x0 = after(reals(job[5]), 5 * M * k)
    y0, x1, y1, areas = after(x0, M), after(x0, 2 * M), after(x0, 3 * M), after(x0, 4 * M)
    for m in range(M):
        box = after(b, 4 * m)
        x0[m], y0[m], x1[m], y1[m], areas[m] = box[0], box[1], box[2], box[3], area_of(box)
    first, end = share(job[3], k, job[6])
    for n in range(first, end):
        row, box, area = after(out, n * M), after(a, 4 * n), area_of(after(a, 4 * n))
        left, top, right, bottom, zero = box[0], box[1], box[2], box[3], type(area)(0)
        for m in range(M):
            w, h = min(right, x1[m]) - max(left, x0[m]), min(bottom, y1[m]) - max(top, y0[m])
            inter = w * h
            ratio = inter / (area + areas[m] - inter)
            row[m] = ratio if (area > zero) & (w > zero) & (h > zero) & (areas[m] > zero) else zero


@jit
def area_of(box):
    """Its area, -1 where that is not a positive finite number."""
    w, h = box[2] - box[0], box[3] - box[1]
    return w * h if w > 0 and h > 0 and w * h < np.inf else type(w)(-1)


# `times` is a product that the GPU's compiler may not fuse with a sum (the host is told not to).
IOU = """
#ifdef __CUDA_ARCH__
__device__ float times(float a, float b) { return __fmul_rn(a, b); }
__device__ double times(double a, double b) { return __dmul_rn(a, b); }
#else
real times(real a, real b) { return a * b; }
#endif
__device__ bool positive(real area) { return area > 0 && area - area == 0; }   // and finite
__device__ real area(const real *a) {
    real w = a[2] - a[0], h = a[3] - a[1];
    return w > 0 && h > 0 ? times(w, h) : 0;
}
__device__ real iou(const real *a, const real *b) {
    real first = area(a), second = area(b);
    if (!positive(first) || !positive(second)) return 0;
    real w = min(a[2], b[2]) - max(a[0], b[0]), h = min(a[3], b[3]) - max(a[1], b[1]);
    if (!(w > 0 && h > 0)) return 0;
    real inter = times(w, h);
    return inter / (first + second - inter);
}
"""


@box_iou_kernel.gpu                                          # a thread owns one pair
def _(a, b, out):
    per_element(out, "out = iou(a + i / M * 4, b + i % M * 4);", IOU, a=a, b=b, M=len(b))
