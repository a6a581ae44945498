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
def alike(spans, weights, period):
    """(first, end, step): the windows that repeat, window b + period being window b moved by `step`.

    Almost all do, except those that the borders cut. weights (B, K) must repeat, too; K may be 0.
    The range lies around the middle and is made of whole periods; it is empty where B is less than
    two periods. Looked up by the tables' contents: they come back with every call.
    """
    return _alike(spans.tobytes(), weights.tobytes(), weights.dtype.char, len(spans), period)


@functools.lru_cache(512)
def _alike(spans, weights, kind, B, period):
    middle = B // 2 - period
    if middle < 0:
        return B // 2, B // 2, 0
    spans = np.frombuffer(spans, np.int32).reshape(B, 2).astype(int)
    weights = np.frombuffer(weights, kind).reshape(B, -1)
    moved, step = spans[period:] - spans[:-period], spans[middle + period, 0] - spans[middle, 0]
    breaks = (moved != step).any(1) | (weights[period:] != weights[:-period]).any(1)
    before, after = np.flatnonzero(breaks[:middle]), np.flatnonzero(breaks[middle:])
    first = before[-1] + 1 if before.size else 0
    end = middle + after[0] + period if after.size else B
    return int(first), int(end - (end - first) % period), int(step)


def halving(H, device="cpu") -> Windows:
    """The Windows of two pixels each, side by side, on an axis of H pixels; the last may be left."""
    return _strided("halving", device, H, 2, 2, 0, 1, False)


def are_halves(spans) -> bool:
    """Whether window a is the pixels 2 a and 2 a + 1."""
    return spans.tobytes() == _bytes_of_halves(2 * len(spans))[0]


def reach_halves(reach) -> bool:
    """Whether pixel h is in window h // 2 and no other; a last one without its pair is in none."""
    return len(reach) > 1 and reach.tobytes() == _bytes_of_halves(len(reach))[1]


@functools.lru_cache(512)
def _bytes_of_halves(H):
    windows = halving(H)
    return windows.spans.tobytes(), windows.reach.tobytes()
