"""The windows of every pooling: along each axis a table of where they begin and end.

Window a is the pixels spans[a, 0] to spans[a, 1]; the table's other half says the reverse, which
windows hold a pixel. Strided, dilated, padded, ceiled and adaptive pooling differ only in tables,
so a kernel needs to know none of these words.
"""
from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from tinyvision.device import device_of, to_device
from tinyvision.engine import as_array
from tinyvision.kernel import jit
from tinyvision.ops.check import pair, rank


@dataclass(frozen=True, eq=False, repr=False)
class Windows:
    """The windows along one axis, as tables of (first, end), int32; hashed by identity."""
    spans: object                       # (A, 2): the pixels between which window a lies
    reach: object                       # (H, 2): the windows among which are all that hold pixel h


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


# --- for the fast kernels: where the windows are regular ------------------------------------------
@jit
def alike(spans, weights, period, found):
    """Find the windows that repeat: window b + period is window b moved by `step` pixels.

    Almost all do, except those that the borders cut. weights (B, K) must repeat, too; K may be 0.
    found: (first, end, step) of a range around the middle, of whole periods; empty where B is less
    than two periods.
    """
    B = np.int64(len(spans))
    end = B // 2
    first, step = end, np.int64(0)
    if period <= end:
        first = end - period
        step = np.int64(spans[end, 0]) - spans[first, 0]
        while first > 0 and _repeats(spans, weights, first - 1, period, step):
            first -= 1
        while end < B and _repeats(spans, weights, end - period, period, step):
            end += 1
        end -= (end - first) % period
    found[0], found[1], found[2] = first, end, step


@jit
def _repeats(spans, weights, b, period, step):
    same = (spans[b + period, 0] - spans[b, 0] == step and
            spans[b + period, 1] - spans[b, 1] == step)
    for j in range(weights.shape[1]):
        same &= weights[b + period, j] == weights[b, j]
    return same
