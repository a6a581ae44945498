"""Average pooling: the mean of every window, one more resizing with a matrix of its own.

    y[n,c,a,b] = sum over h, v of down[a,h] across[b,v] x[n,c,h,v]

with down[a,h] = 1 / (the pixels of window a) where h lies in it, 0 elsewhere, and across alike. Its
adjoint spreads every value evenly over its window. The kernel is that of `interpolate`.
Sizes: x (N, C, H, W), y (N, C, A, B). Lecture: K4.
"""
from __future__ import annotations

import functools

import numpy as np

from tinyvision.device import device_of, to_device
from tinyvision.engine import Tensor, as_array
from tinyvision.ops.check import at_least
from tinyvision.ops.interpolate import Resize, Taps, floating, transposed
from tinyvision.ops.windows import adaptive_windows, pool_windows, window_arguments


class AvgPool2d(Resize):
    """y = down x across^T on every plane, each row of the matrices a mean."""


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
    windows = pool_windows(name, x, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override is not None:
        return _mean(name, x, windows, at_least(name, "divisor_override", divisor_override, 1), 1)
    if not count_include_pad:
        return _mean(name, x, windows, None, None)
    axes = zip(as_array(x).shape[2:], *window_arguments(name, kernel_size, stride, padding))
    return _mean(name, x, windows, *axes)


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
    name = "adaptive_avg_pool2d"
    return _mean(name, x, adaptive_windows(name, x, output_size), None, None)


def _mean(name, x, windows, *counted):
    dtype = floating(name, x).dtype.name
    return AvgPool2d(*(_taps(w, c, dtype) for w, c in zip(windows, counted)))(x)


@functools.lru_cache(512)
def _taps(windows, counted, dtype):
    """The Taps of a mean; counted: what to divide by, None for the pixels, or (H, I, S, P)."""
    spans, reach = (to_device(t, "cpu") for t in (windows.spans, windows.reach))
    width = spans[:, 1] - spans[:, 0]
    counts = (width if counted is None else _padded_counts(len(spans), *counted)
              if isinstance(counted, tuple) else np.full(len(spans), counted))
    inside = np.arange(width.max()) < width[:, None]
    weights = np.where(inside, 1 / counts[:, None], 0).astype(dtype)
    tables = spans, weights, reach, transposed(spans, weights, reach)
    return Taps(*(to_device(np.ascontiguousarray(t), device_of(windows.spans)) for t in tables))


def _padded_counts(A, H, I, S, P):
    """How many pixels of the padded image lie in each of the A windows."""
    first = np.arange(A) * S - P
    return np.minimum(first + I, H + P) - first
