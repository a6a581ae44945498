"""Resizing: every pixel of the result is a weighted sum of a few neighbours, down and across.

    y[n,c,a,b] = sum over h, v of down[a,h] across[b,v] x[n,c,h,v]

Nearest neighbour, bilinear, bed of nails and average pooling differ only in the matrices down
(A, H) and across (B, W), which have few entries a row: we store these (`Taps`). The adjoint is the
same operation with both matrices transposed. The fast kernel stands in `interpolate_fast`.
Sizes: x (N, C, H, W), y (N, C, A, B). Lectures: K6, K7.
"""
from __future__ import annotations

import functools
import math
import numbers
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import contiguous, device_of, empty, to_device
from tinyvision.engine import Op, Tensor, as_array
from tinyvision.kernel import Kernel, prange
from tinyvision.ops import interpolate_fast
from tinyvision.ops.check import pair, rank
from tinyvision.ops.windows import on_device


class Taps(NamedTuple):
    """A sparse matrix M (A, H), M[a, spans[a, 0] + k] = weights[a, k], and its transpose."""
    spans: object                       # (A, 2): row a is zero except from here to there, int32
    weights: object                     # (A, K)
    reach: object                       # (H, 2), the same of the transpose
    back: object                        # (H, L)

    @property
    def T(self):
        """The transpose."""
        return Taps(self.reach, self.back, self.spans, self.weights)


@dataclass(frozen=True, eq=False, repr=False)
class Resize(Op):
    """y = down x across^T on every plane."""
    rows: Taps
    columns: Taps

    def forward(self, x):
        x, down, across = contiguous(x, self.rows.weights, self.columns.weights)
        y = empty((*x.shape[:2], len(down), len(across)), like=x)
        resize(x, self.rows.spans, down, self.columns.spans, across, y)
        return y

    def backward(self, g, y, x):
        return Resize(self.rows.T, self.columns.T)(g),

    def __repr__(self):
        (A, H), (B, W) = ((len(t.spans), len(t.reach)) for t in (self.rows, self.columns))
        return f"{type(self).__name__}({H} x {W} -> {A} x {B})"


def interpolate(x, size=None, scale_factor=None, mode="nearest", align_corners=None) -> Tensor:
    """Images in another size, larger or smaller.

    Args:
        x: (N, C, H, W), floating.
        size: (A, B), or an int for both; or else
        scale_factor: a number, or two; A = floor(H scale_factor), and coordinates are divided by
            scale_factor, not by A / H.
        mode: "nearest" (the pixel at floor(a H / A)) or "bilinear" (between the four around; not
            blurred first, so shrinking by more than 2 skips pixels).
        align_corners: bilinear only. False (the default): pixels are squares, and the images'
            borders fall together, h = (a + 1/2) H / A - 1/2. True: pixels are points, and the
            centres of the corner pixels fall together, h = a (H - 1) / (A - 1).

    Returns:
        (N, C, A, B). Like `torch.nn.functional.interpolate`.

    Raises:
        TypeError: x is not floating.
        ValueError: both or neither of size and scale_factor, an unknown mode, align_corners with
            nearest, an empty image or result.
    """
    name = "interpolate"
    X, = rank(name, x=(x, 4))
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f'{name}: mode is {mode!r}, expected "nearest" or "bilinear"')
    if align_corners is not None and mode == "nearest":
        raise ValueError(f'{name}: align_corners is {align_corners}, expected None with mode '
                         '"nearest"')
    if (size is None) == (scale_factor is None):
        raise ValueError(f"{name}: size is {size} and scale_factor {scale_factor}, expected exactly"
                         " one of them")
    scales = (None, None) if scale_factor is None else _scales(name, scale_factor)
    size = (pair(name, "size", size, 1) if scale_factor is None else
            tuple(int(h * s) for h, s in zip(X[2:], scales)))
    if min(*size, *X[2:]) < 1:
        raise ValueError(f"{name}: x is {X} and the result {size}, expected no empty image")
    array = floating(name, x)
    kind = "corners" if align_corners else mode
    return Resize(*(_taps(kind, h, a, s, array.dtype.name, device_of(array))
                    for h, a, s in zip(X[2:], size, scales)))(x)


def floating(name, x):
    """The array of x.

    Raises:
        TypeError: integers, whose means would be cut off.
    """
    array = as_array(x)
    if array.dtype.kind != "f":
        raise TypeError(f"{name}: x has dtype {array.dtype}, expected float32 or float64")
    return array


def _scales(name, scale_factor):
    scales = (scale_factor if isinstance(scale_factor, (tuple, list)) else
              (scale_factor, scale_factor))
    if len(scales) != 2 or not all(isinstance(s, numbers.Real) and 0 < s < math.inf
                                   for s in scales):
        raise ValueError(f"{name}: scale_factor is {scale_factor!r}, expected a positive number or "
                         "a pair of them")
    return tuple(float(s) for s in scales)


def bed_of_nails(x, scale_factor) -> Tensor:
    """Every value in the upper left corner of a block of scale_factor, zeros elsewhere.

    Args:
        x: (N, C, H, W), floating.
        scale_factor: an int (S, T), or one for both.

    Returns:
        (N, C, S H, T W). Its adjoint takes every S-th row and T-th column. Lecture: K6.

    Raises:
        TypeError: x is not floating, or scale_factor no whole number.
        ValueError: an empty image, or scale_factor less than 1.
    """
    X, = rank("bed_of_nails", x=(x, 4))
    scales = pair("bed_of_nails", "scale_factor", scale_factor, 1)
    if min(X[2:]) < 1:
        raise ValueError(f"bed_of_nails: x is {X}, expected no empty image")
    array = floating("bed_of_nails", x)
    return Resize(*(_taps("nails", h, h * s, None, array.dtype.name, device_of(array))
                    for h, s in zip(X[2:], scales)))(x)


# --- where every pixel looks --------------------------------------------------------------------
@functools.lru_cache(512)
def _taps(kind, H, A, scale, dtype, device):
    """The Taps from H pixels to A; `scale` as the caller gave it, or None."""
    spans, weights = LOOK[kind](H, A, scale, np.dtype(dtype).type)
    windows = on_device("cpu", spans, H)
    spans, reach = windows.spans, windows.reach
    back = transposed(spans, weights, reach)
    tables = spans, weights, reach, back
    return Taps(*(to_device(np.ascontiguousarray(t), device) for t in tables))


def transposed(spans, weights, reach):
    """The weights of the transpose: back[h, k] = M[reach[h, 0] + k, h]."""
    back = np.zeros((len(reach), max(1, (reach[:, 1] - reach[:, 0]).max())), weights.dtype)
    for k in range(back.shape[1]):
        h, = np.nonzero(reach[:, 0] + k < reach[:, 1])
        a = reach[h, 0] + k
        back[h, k] = weights[a, h - spans[a, 0]]
    return back


def _nearest(H, A, scale, dtype):
    """Pixel floor(a H / A), in float32 and with PyTorch's two short cuts."""
    a = np.arange(A)
    step = np.float32(1 / scale) if scale else np.float32(H) / np.float32(A)
    h = a if A == H else a // 2 if A == 2 * H else np.floor(a.astype(np.float32) * step)
    h = np.minimum(h, H - 1).astype(np.int64)
    return np.stack([h, h + 1], 1), np.ones((A, 1), dtype)


def _between(h, H):
    """The pixels around the coordinates h, and their weights: 1 - distance."""
    low = np.minimum(np.floor(h).astype(np.int64), H - 1)
    part = np.clip(h - low.astype(h.dtype), 0, 1).astype(h.dtype)
    alone = low == H - 1                                 # the last pixel has no neighbour
    weights = np.stack([np.where(alone, 1, 1 - part), np.where(alone, 0, part)], 1)
    return np.stack([low, np.where(alone, low + 1, low + 2)], 1), weights.astype(h.dtype)


def _bilinear(H, A, scale, dtype):
    """h = (a + 1/2) H / A - 1/2: pixels are squares, and before the first centre it stays 0."""
    a, half = np.arange(A).astype(dtype), dtype(0.5)
    step = dtype(1 / scale) if scale else dtype(H) / dtype(A)
    return _between(a if A == H else np.maximum((a + half) * step - half, 0), H)


def _corners(H, A, scale, dtype):
    """h = a (H - 1) / (A - 1): pixels are points, and the corners stay where they are."""
    step = dtype(H - 1) / dtype(A - 1) if A > 1 else dtype(0)
    return _between(np.arange(A).astype(dtype) * step, H)


def _nails(H, A, scale, dtype):
    """Row a looks at pixel a / S where S divides a, at nothing elsewhere."""
    a, S = np.arange(A), A // H
    return np.stack([-(-a // S), a // S + 1], 1), np.ones((A, 1), dtype)


LOOK = {"nearest": _nearest, "bilinear": _bilinear, "corners": _corners, "nails": _nails}


# --- the kernel -----------------------------------------------------------------------------------
@Kernel
def resize(x, rows, down, columns, across, y):
    """y[a, b] = sum of down[a, i] across[b, j] x[rows[a, 0] + i, columns[b, 0] + j]."""
    y[...] = 0
    for n, c, a, b in np.ndindex(y.shape):
        (top, bottom), (left, right) = rows[a], columns[b]
        for h in range(top, bottom):
            for v in range(left, right):
                y[n, c, a, b] += down[a, h - top] * across[b, v - left] * x[n, c, h, v]


resize.python("cpu", interpolate_fast.resize)


@resize.variant("cpu_loops", parallel=True, fastmath=True, allocates=True)   # a core owns one plane
def _(x, rows, down, columns, across, y):
    (N, C, A, B), W = y.shape, x.shape[3]
    for k in prange(N * C):
        n, c = np.int64(k) // C, np.int64(k) % C
        line = np.empty(W, x.dtype)
        for a in range(A):
            line[:] = 0                                      # down first, into one row: SIMD
            for h in range(rows[a, 0], rows[a, 1]):
                scale, row = down[a, h - rows[a, 0]], x[n, c, h]
                for v in range(W):
                    line[v] += scale * row[v]
            for b in range(B):                               # then across
                total, left = line.dtype.type(0), columns[b, 0]
                for j in range(columns[b, 1] - left):
                    total += across[b, j] * line[left + j]
                y[n, c, a, b] = total


@resize.gpu                                                  # a thread owns one y[n, c, a, b]
def _(x, rows, down, columns, across, y):
    (A, B), (H, W), K, L = y.shape[2:], x.shape[2:], down.shape[1], across.shape[1]
    per_element(y, """
        int b = i % B, a = i / B % A, top = rows[2 * a], left = columns[2 * b];
        const real *plane = x + i / B / A * H * W;
        for (int h = top; h < rows[2 * a + 1]; ++h)
            for (int v = left; v < columns[2 * b + 1]; ++v)
                out += down[a * K + h - top] * across[b * L + v - left] * plane[h * W + v];
        """, x=x, rows=rows, down=down, columns=columns, across=across,
                A=A, B=B, H=H, W=W, K=K, L=L)
