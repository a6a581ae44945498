"""Max pooling and its adjoint, max unpooling: choose the places first, then move the values.

    places[n,c,a,b] = the flat position h W + v of the largest x[n,c,h,v] in window (a, b)
    y[n,c,a,b] = x[n,c,places[n,c,a,b]]                                  take: pooling
    x[n,c,p]   = the sum of the y[n,c,a,b] with places[n,c,a,b] = p      put: unpooling

With the places chosen both are linear, and each one's gradient is the other. Sizes: x (N, C, H, W),
y and places (N, C, A, B). Lectures: K4, K5; Zeiler & Fergus 2014 (the "switches").
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import contiguous, device_of, empty, module_of, to_device
from tinyvision.engine import Op, Tensor, as_array
from tinyvision.kernel import Kernel, prange, rehearsing
from tinyvision.ops import max_pool2d_fast
from tinyvision.ops.check import pair, rank, same_device
from tinyvision.ops.windows import (Windows, adaptive_windows, halving, on_device, pool_windows,
                                    window_arguments)


@dataclass(frozen=True, eq=False, repr=False)
class TakePlane(Op):
    """y[n,c,a,b] = x[n,c,places[n,c,a,b]], the plane counted row by row; linear in x.

    The places are an input without a gradient, not a field: they may be the very array that the
    caller was given, and the engine notices if it is changed before they are used.
    """
    rows: Windows
    columns: Windows
    needs = "places",

    def forward(self, x, places):
        (x,), (places,) = contiguous(x), contiguous(places)
        y = empty(places.shape, like=x)
        take_plane(x, places, y)
        return y

    def backward(self, g, y, x, places):
        return PutPlane(self.rows, self.columns)(g, places), None

    def __repr__(self):
        (A, H), (B, W) = ((len(t.spans), len(t.reach)) for t in (self.rows, self.columns))
        return f"{type(self).__name__}({H} x {W}, {A} x {B} places)"


@dataclass(frozen=True, eq=False, repr=False)
class PutPlane(TakePlane):
    """x[n,c,p] = the sum of the y[n,c,a,b] whose place is p."""

    def forward(self, y, places):
        (y,), (places,) = contiguous(y), contiguous(places)
        up, across = self.rows.reach, self.columns.reach
        x = empty((*y.shape[:2], len(up), len(across)), like=y)
        put_plane(y, places, up, across, x)
        return x

    def backward(self, g, x, y, places):
        return TakePlane(self.rows, self.columns)(g, places), None


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False,
               return_indices=False):
    """The largest value of every window; the first of equals, and NaN counts as the largest.

    Args:
        x: (N, C, H, W).
        kernel_size, stride, padding, dilation: an int, or one for each of (H, W). The stride is
            kernel_size unless given. Padding is with minus infinity, at most half the kernel.
        ceil_mode: also windows that reach over the lower right border, if they start before it.
        return_indices: also return where each maximum came from.

    Returns:
        (N, C, A, B), A = floor((H + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1; with
        return_indices also the flat positions in the H W plane, int64. Like
        `torch.nn.functional.max_pool2d`.

    Raises:
        ValueError: padding more than half the kernel, a kernel larger than the padded image, a
            window without a pixel (possible only with dilation).
    """
    rows, columns = pool_windows("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    return _max(x, rows, columns, pair("max_pool2d", "dilation", dilation, 1), return_indices)


def adaptive_max_pool2d(x, output_size, return_indices=False):
    """The largest value of each of output_size windows that together cover x (N, C, H, W).

    Arguments, windows and errors are those of `adaptive_avg_pool2d`; 1 is global max pooling.
    Returns (N, C, A, B), with return_indices also the places, as `max_pool2d` does.
    Like `torch.nn.functional.adaptive_max_pool2d`.
    """
    rows, columns = adaptive_windows("adaptive_max_pool2d", x, output_size)
    return _max(x, rows, columns, (1, 1), return_indices)


def _max(x, rows, columns, dilation, return_indices):
    """Choose and take in one pass; the op is only told what it would take."""
    array, = contiguous(as_array(x))
    if array.shape[2] * array.shape[3] >= 2**31:
        raise ValueError(f"max_pool2d: x is {array.shape}, expected fewer than 2**31 pixels a "
                         "plane; pool it in parts")
    shape = *array.shape[:2], len(rows.spans), len(columns.spans)
    places = module_of(array).empty(shape, np.int64 if return_indices else np.int32)
    y = empty(shape, like=array)
    max_places(array, rows.spans, columns.spans, *dilation, places, y)
    places = Tensor(places)
    y = TakePlane(rows, columns).known(y, x, places)
    return (y, places) if return_indices else y


def max_unpool2d(x, indices, kernel_size, stride=None, padding=0, output_size=None) -> Tensor:
    """Put every value back where its maximum was, zeros elsewhere; at one place they add up.

    Windows that overlap can have one maximum. Their values are summed, as the lecture has it, which
    makes this the adjoint of max pooling; PyTorch keeps any one of them.

    Args:
        x: (N, C, A, B).
        indices: the places that `max_pool2d` returned, of x's shape.
        kernel_size, stride, padding: those of the pooling; they say how large the result is.
        output_size: (H, W), or a whole shape; less than one stride away from the default.

    Returns:
        (N, C, H, W), H = (A - 1) stride - 2 padding + kernel_size unless given.

    Raises:
        TypeError: indices that are no integers.
        ValueError: indices of another shape or outside the result, an impossible output_size.
    """
    name = "max_unpool2d"
    X, = rank(name, x=(x, 4))
    same_device(name, x=x, indices=indices)
    kernel, stride, padding = window_arguments(name, kernel_size, stride, padding)
    size = _unpooled(name, X, kernel, stride, padding, output_size)
    places = _integers(name, indices, X)
    return PutPlane(*_measured(name, as_array(places), size))(x, places)


def _unpooled(name, X, kernel, stride, padding, wanted):
    """(H, W) of the result: `wanted`, if pooling could have come from there, or the default."""
    default = tuple((a - 1) * s - 2 * p + k
                    for a, k, s, p in zip(X[2:], kernel, stride, padding))
    wanted = wanted[-2:] if isinstance(wanted, (tuple, list)) else wanted
    size = default if wanted is None else pair(name, "output_size", wanted, 1)
    if any(abs(h - d) >= s for h, d, s in zip(size, default, stride)) or min(size) < 1:
        raise ValueError(f"{name}: output_size is {size}, expected at least 1 and less than one "
                         f"stride {stride} away from {default} (x is {X})")
    return size


def _integers(name, indices, X):
    """`indices` as they are, or in int64."""
    places = as_array(indices)
    if places.dtype.kind not in "iu":
        raise TypeError(f"{name}: indices have dtype {places.dtype}, expected int64")
    if places.shape != X:
        raise ValueError(f"{name}: indices have shape {places.shape}, expected that of x, {X}")
    return indices if places.dtype in (np.int32, np.int64) else places.astype(np.int64)


def _measured(name, places, size):
    """Windows of unpooling that hold the places, if these are in planes of `size`.

    They are as small as the places allow on the GPU, which looks for a pixel's values in them. The
    CPU only asks whether they are 2 x 2 without overlap.
    """
    (H, W), (A, B), device = size, places.shape[2:], device_of(places)
    if rehearsing() or device == "cpu" and max_pool2d_fast.in_their_halves(places, H, W):
        return halving(H), halving(W)
    unsigned = places.view(np.uint32 if places.dtype == np.int32 else np.uint64)
    if places.size and unsigned.max() >= H * W:              # negative ones are huge: one pass
        low, top = int(places.min()), int(places.max())
        raise ValueError(f"{name}: indices hold {low if low < 0 else top}, expected 0 to "
                         f"{H * W - 1} (the result is {H} x {W})")
    if device == "cpu" or not places.size:
        return [on_device(device, np.tile((0, h), (a, 1)), h) for h, a in ((H, A), (W, B))]
    return enclosing(places // W, (0, 1, 3), H), enclosing(places % W, (0, 1, 2), W)


def enclosing(h, others, H):
    """The smallest Windows that hold the pixels `h`, extremes taken over the axes `others`."""
    low, last = (to_device(extreme, "cpu") for extreme in (h.min(others), h.max(others)))
    low, last = np.minimum.accumulate(low[::-1])[::-1], np.maximum.accumulate(last)
    return on_device(device_of(h), np.stack([low, last + 1], 1), H)


# --- the kernels ----------------------------------------------------------------------------------
@Kernel
def max_places(x, rows, columns, D, E, places, y):
    """Choose places, take y. Window (a, b) is rows rows[a, 0] to rows[a, 1], D apart; E across."""
    N, C, A, B = places.shape
    for n, c, a, b in np.ndindex(N, C, A, B):
        (top, bottom), (left, right) = rows[a], columns[b]
        largest, place = x[n, c, top, left], top * x.shape[3] + left
        for h in range(top, bottom, D):
            for v in range(left, right, E):
                if x[n, c, h, v] > largest or np.isnan(x[n, c, h, v]):
                    largest, place = x[n, c, h, v], h * x.shape[3] + v
        places[n, c, a, b], y[n, c, a, b] = place, largest


@Kernel
def take_plane(x, places, y):
    """y[n, c, a, b] = x[n, c] at its place."""
    for n, c, a, b in np.ndindex(y.shape):
        h, v = divmod(places[n, c, a, b], x.shape[3])
        y[n, c, a, b] = x[n, c, h, v]


@Kernel
def put_plane(y, places, up, across, x):
    """up, across: the windows among which are all that hold a pixel (the GPU looks only there)."""
    x[...] = 0
    for n, c, a, b in np.ndindex(y.shape):
        h, v = divmod(places[n, c, a, b], x.shape[3])
        x[n, c, h, v] += y[n, c, a, b]


@max_places.variant("cpu_loops", parallel=True)              # a core owns one plane
def _(x, rows, columns, D, E, places, y):
    (N, C, A, B), W = places.shape, x.shape[3]
    for k in prange(N * C):
        n, c = np.int64(k) // C, np.int64(k) % C
        plane = x[n, c]
        for a in range(A):
            top, bottom = np.int64(rows[a, 0]), np.int64(rows[a, 1])
            for b in range(B):
                left, right = np.int64(columns[b, 0]), np.int64(columns[b, 1])
                largest, place = plane[top, left], top * W + left
                for h in range(top, bottom, D):
                    for v in range(left, right, E):
                        value = plane[h, v]
                        if value > largest or value != value:
                            largest, place = value, h * W + v
                places[n, c, a, b], y[n, c, a, b] = place, largest


def _fast(kernel, fast):
    """The cpu variant: `fast` on floating numbers, the readable loops on whole ones."""
    def variant(*arguments):
        floating = arguments[-1].dtype.char in "fd"
        (fast if floating else kernel.variants["cpu_loops"])(*arguments)
    kernel.python("cpu", variant)


_fast(max_places, max_pool2d_fast.max_places)


@take_plane.variant("cpu_loops", parallel=True)
def _(x, places, y):
    M, L = y.shape[0] * y.shape[1], y.shape[2] * y.shape[3]
    planes, chosen = x.reshape(M, x.shape[2] * x.shape[3]), places.reshape(M, L)
    values = y.reshape(M, L)
    for k in prange(M):
        plane, found, taken = planes[k], chosen[k], values[k]
        for j in range(L):
            taken[j] = plane[np.uint32(found[j])]            # unsigned: none counts from the end


_fast(take_plane, max_pool2d_fast.take_plane)


@put_plane.variant("cpu_loops", parallel=True)               # a core owns one plane: no race
def _(y, places, up, across, x):
    (N, C, A, B), H, W = y.shape, x.shape[2], x.shape[3]
    planes, chosen = x.reshape(N * C, H * W), places.reshape(N * C, A, B)
    values = y.reshape(N * C, A, B)
    for k in prange(N * C):
        plane, h = planes[k], np.int64(0)
        for a in range(A + 1):
            ready = h                                        # these rows are 0 already; the others
            while h < H and (a == A or up[h, 0] <= a):       # become so just before it is needed
                h += 1
            plane[ready * W:h * W] = 0
            for b in range(B if a < A else 0):
                plane[chosen[k, a, b]] += values[k, a, b]


_fast(put_plane, max_pool2d_fast.put_plane)


@max_places.gpu                                              # a thread owns one window
def _(x, rows, columns, D, E, places, y):
    (A, B), (H, W) = places.shape[2:], x.shape[2:]
    per_element(places, """
        int b = i % B, a = i / B % A, place = rows[2 * a] * W + columns[2 * b];
        const auto *plane = x + i / B / A * H * W;
        auto largest = plane[place];
        for (int h = rows[2 * a]; h < rows[2 * a + 1]; h += D)
            for (int v = columns[2 * b]; v < columns[2 * b + 1]; v += E) {
                auto value = plane[h * W + v];
                if (value > largest || value != value) { largest = value; place = h * W + v; }
            }
        out = place;""", x=x, rows=rows, columns=columns, A=A, B=B, H=H, W=W, D=D, E=E)
    take_plane.variants["gpu"](x, places, y)


@take_plane.gpu                                              # a thread owns one y[n, c, a, b]
def _(x, places, y):
    per_element(y, "out = x[i / L * K + places[i]];", x=x, places=places,
                K=x.shape[2] * x.shape[3], L=y.shape[2] * y.shape[3])


@put_plane.gpu                                               # a thread owns one pixel: it gathers
def _(y, places, up, across, x):
    (A, B), (H, W) = y.shape[2:], x.shape[2:]
    per_element(x, """
        int v = i % W, h = i / W % H, first = i / W / H * A * B;
        for (int a = up[2 * h]; a < up[2 * h + 1]; ++a)
            for (int b = across[2 * v]; b < across[2 * v + 1]; ++b) {
                int k = first + a * B + b;
                if (places[k] == h * W + v) out += y[k];
            }""", y=y, places=places, up=up, across=across, A=A, B=B, H=H, W=W)
