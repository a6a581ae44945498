"""Average pooling and its adjoint: sums over windows.

    y[n,c,a,b] = the sum of x[n,c,h,v] over window (a, b) / divisor[a,b]
    x[n,c,h,v] = the sum of y[n,c,a,b] / divisor[a,b] over the windows that hold (h, v)

The second is the first's adjoint, and it is a sum over windows too: those of the output that one
pixel reaches. So one kernel serves both. The windows of every pooling are here, too.
Sizes: x (N, C, H, W), y (N, C, A, B). Lecture: K4.
"""
from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import contiguous, device_of, module_of, to_device, zeros
from tinyvision.engine import Op, Tensor, as_array
from tinyvision.kernel import Kernel, prange
from tinyvision.ops.check import at_least, pair, rank


class Windows(NamedTuple):
    """The windows along one axis, as tables of (first, end), int32."""
    spans: object                       # (A, 2): the pixels between which window a lies
    reach: object                       # (H, 2): the windows among which are all that hold pixel h


@dataclass(frozen=True, eq=False, repr=False)
class AvgPool2d(Op):
    """y[n,c,a,b] = the sum of x[n,c,h,v] over window (a, b) / divisor[a,b]."""
    rows: Windows
    columns: Windows
    divisor: object                     # (A, B), of x's dtype

    def forward(self, x):
        x, = contiguous(x)
        y = zeros((*x.shape[:2], *self.divisor.shape), like=x)
        window_sum(x, self.rows.spans, self.columns.spans, y)
        y /= self.divisor
        return y

    def backward(self, g, y, x):
        return AvgPool2dTranspose(self)(g),

    def __repr__(self):
        (A, B), H, W = self.divisor.shape, len(self.rows.reach), len(self.columns.reach)
        return f"AvgPool2d({H} x {W} -> {A} x {B})"


@dataclass(frozen=True)
class AvgPool2dTranspose(Op):
    """x[n,c,h,v] = the sum of y[n,c,a,b] / divisor[a,b] over the windows that hold (h, v)."""
    pool: AvgPool2d

    def forward(self, y):
        y, = contiguous(y / self.pool.divisor)
        up, across = self.pool.rows.reach, self.pool.columns.reach
        x = zeros((*y.shape[:2], len(up), len(across)), like=y)
        window_sum(y, up, across, x)
        return x

    def backward(self, g, x, y):
        return self.pool(g),


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
               divisor_override=None) -> Tensor:
    """The mean of every window.

    Args:
        x: (N, C, H, W), floating.
        kernel_size, stride, padding: an int, or one for each of (H, W). The stride is kernel_size
            unless given. Padding is with zeros, at most half the kernel.
        ceil_mode: also windows that reach over the lower right border, if they start before it.
        count_include_pad: zeros of the padding count in the mean (what ceil_mode adds never does).
        divisor_override: divide every sum by this instead.

    Returns:
        (N, C, A, B), A = floor((H + 2 padding - kernel_size) / stride) + 1. Like
        `torch.nn.functional.avg_pool2d`.

    Raises:
        TypeError: x is not floating.
        ValueError: padding more than half the kernel, a kernel larger than the padded image.
    """
    name = "avg_pool2d"
    rows, columns = pool_windows(name, x, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override is not None:
        divisor = at_least(name, "divisor_override", divisor_override, 1)
        counts = [np.array([divisor]), np.array([1])]
    elif count_include_pad:
        windows = zip(as_array(x).shape[2:], *window_arguments(name, kernel_size, stride, padding))
        counts = [_padded_counts(len(w.spans), *axis) for w, axis in zip((rows, columns), windows)]
    else:
        counts = [_counts(rows), _counts(columns)]
    return _mean(name, x, rows, columns, counts)


def adaptive_avg_pool2d(x, output_size) -> Tensor:
    """The mean of each of output_size windows that together cover the image.

    Args:
        x: (N, C, H, W), floating.
        output_size: (A, B) or an int for both; None keeps that size. 1 is global average pooling.
            Window a is rows floor(a H / A) to ceil((a + 1) H / A).

    Returns:
        (N, C, A, B). Like `torch.nn.functional.adaptive_avg_pool2d`.

    Raises:
        TypeError: x is not floating, or output_size no whole number.
        ValueError: output_size less than 1.
    """
    windows = adaptive_windows("adaptive_avg_pool2d", x, output_size)
    return _mean("adaptive_avg_pool2d", x, *windows, [_counts(w) for w in windows])


def _counts(windows):
    return windows.spans[:, 1] - windows.spans[:, 0]


def _padded_counts(A, H, I, S, P):
    """How many pixels of the padded image lie in each of the A windows."""
    first = np.arange(A) * S - P
    return np.minimum(first + I, H + P) - first


def _mean(name, x, rows, columns, counts):
    array = floating(name, x)
    module, (down, across) = module_of(array), (to_device(c, device_of(array)) for c in counts)
    divisor = module.empty((len(rows.spans), len(columns.spans)), array.dtype)
    divisor[:] = down[:, None] * across
    return AvgPool2d(rows, columns, divisor)(x)


def floating(name, x):
    """The array of x.

    Raises:
        TypeError: integers, whose means would be cut off.
    """
    array = as_array(x)
    if array.dtype.kind != "f":
        raise TypeError(f"{name}: x has dtype {array.dtype}, expected float32 or float64")
    return array


# --- the windows ----------------------------------------------------------------------------------
def window_arguments(name, kernel_size, stride, padding):
    """(kernel, stride, padding), each a pair for (H, W), checked."""
    kernel = pair(name, "kernel_size", kernel_size, 1)
    stride = kernel if stride is None else pair(name, "stride", stride, 1)
    padding = pair(name, "padding", padding, 0)
    if any(2 * p > k for p, k in zip(padding, kernel)):
        raise ValueError(f"{name}: padding is {padding}, expected at most half the kernel {kernel}")
    return kernel, stride, padding


def pool_windows(name, x, kernel_size, stride, padding, dilation, ceil_mode):
    """The Windows of a pooling of `x`, down and across, arguments checked."""
    X, = rank(name, x=(x, 4))
    windows = window_arguments(name, kernel_size, stride, padding)
    windows = zip(X[2:], *windows, pair(name, "dilation", dilation, 1))
    device = device_of(as_array(x))
    return [_strided(name, device, *axis, bool(ceil_mode)) for axis in windows]


def adaptive_windows(name, x, output_size):
    """The Windows of an adaptive pooling of `x`, down and across, arguments checked."""
    X, = rank(name, x=(x, 4))
    size = output_size if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    size = [h if a is None else a for h, a in zip(X[2:], size)] if len(size) == 2 else output_size
    device = device_of(as_array(x))
    return [_adaptive(name, device, h, a)
            for h, a in zip(X[2:], pair(name, "output_size", size, 1))]


@functools.lru_cache(512)
def _strided(name, device, H, I, S, P, D, ceil_mode):
    A = (H + 2 * P - D * (I - 1) - 1 + (S - 1) * ceil_mode) // S + 1
    A -= ceil_mode and (A - 1) * S >= H + P              # the last window starts inside the image
    if A < 1 or H < 1:
        raise ValueError(f"{name}: the kernel {I} with dilation {D} is larger than the padded "
                         f"image (size {H}, padding {P})")
    first = np.arange(A) * S - P
    spans = np.stack([np.where(first < 0, first % D, first),
                      np.minimum(first + D * (I - 1) + 1, H)], 1)
    if (spans[:, 0] >= spans[:, 1]).any():
        raise ValueError(f"{name}: a window lies on padding only (size {H}, kernel {I}, "
                         f"padding {P}, dilation {D}), expected a smaller dilation or padding")
    return on_device(device, spans, H)


@functools.lru_cache(512)
def _adaptive(name, device, H, A):
    if H < 1:
        raise ValueError(f"{name}: x has a size of {H}, expected at least 1")
    a = np.arange(A)
    return on_device(device, np.stack([a * H // A, -(-(a + 1) * H // A)], 1), H)


def on_device(device, spans, H):
    """The Windows of `spans`, whose two columns never fall, on an axis of H pixels.

    What they reach: pixel h is in the windows from the first that ends after it, up to and without
    the first that starts after it.
    """
    h = np.arange(H)
    reach = np.stack([np.searchsorted(spans[:, i], h, "right") for i in (1, 0)], 1)
    return Windows(*(to_device(np.ascontiguousarray(t, np.int32), device) for t in (spans, reach)))


# --- the kernel -----------------------------------------------------------------------------------
@Kernel
def window_sum(x, rows, columns, y):
    """Window (a, b) is rows rows[a, 0] to rows[a, 1] and columns columns[b, 0] to columns[b, 1]."""
    for n, c, a, b in np.ndindex(y.shape):
        for h in range(*rows[a]):
            for v in range(*columns[b]):
                y[n, c, a, b] += x[n, c, h, v]


@window_sum.cpu(parallel=True, fastmath=True)                # a core owns one plane
def _(x, rows, columns, y):
    (N, C, A, B), W = y.shape, x.shape[3]
    for k in prange(N * C):
        n, c = np.int64(k) // C, np.int64(k) % C
        line = np.empty(W, x.dtype)
        for a in range(A):
            line[:] = 0                                      # down first, into one row: SIMD
            for h in range(rows[a, 0], rows[a, 1]):
                row = x[n, c, h]
                for v in range(W):
                    line[v] += row[v]
            out = y[n, c, a]
            for b in range(B):                               # then across
                for v in range(columns[b, 0], columns[b, 1]):
                    out[b] += line[v]


@window_sum.gpu                                              # a thread owns one y[n, c, a, b]
def _(x, rows, columns, y):
    (A, B), (H, W) = y.shape[2:], x.shape[2:]
    per_element(y, """
        int b = i % B, a = i / B % A;
        const real *plane = x + i / (A * B) * H * W;
        for (int h = rows[2 * a]; h < rows[2 * a + 1]; ++h)
            for (int v = columns[2 * b]; v < columns[2 * b + 1]; ++v) out += plane[h * W + v];
        """, x=x, rows=rows, columns=columns, A=A, B=B, H=H, W=W)
