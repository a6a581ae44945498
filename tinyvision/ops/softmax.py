"""softmax and log_softmax along any axis, one pass over memory each.

    softmax_c = e^(x_c - m) / s,    log_softmax_c = x_c - m - log s,
    m = max_c x_c,    s = sum_c e^(x_c - m)

The largest score is subtracted first, so that exp never overflows. Sizes: x (A, C, B), the axis in
the middle. Where it is the last one (B = 1) a row is a task; otherwise a block of columns is, so
narrow that its C rows stay in the cache while m, s and the result are worked out. Lecture: L1.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import contiguous, empty
from tinyvision.engine import Op, Tensor, as_array
from tinyvision.kernel import Kernel, jit, prange
from tinyvision.ops.composed import composed_backward
from tinyvision.ops.shape import normal_axes, sum
from tinyvision.ops.vector_math import exp_below, fast_log, single

CACHE = 8192               # elements of a block of columns


@dataclass(frozen=True)
class Softmax(Op):
    """e^a / sum e^a along an axis; its Jacobian is diag(y) - y y^T."""
    axis: int
    logarithm = False
    needs = "y",

    def forward(self, a):
        a, = contiguous(a)
        y = empty(a.shape, a)
        softmax_kernel(_three(a, self.axis), self.logarithm, _three(y, self.axis))
        return y

    def backward(self, g, y, a):
        return SoftmaxBackward(self.axis, self.logarithm)(g, y),


@dataclass(frozen=True)
class LogSoftmax(Softmax):
    """a - log sum e^a along an axis; its Jacobian is I - 1 softmax^T."""
    logarithm = True


@dataclass(frozen=True)
class SoftmaxBackward(Op):
    """y (g - sum g y), of the logarithm g - e^y sum g; the sums along an axis."""
    axis: int
    logarithm: bool
    needs = "g", "y"

    def forward(self, g, y):
        g, y = contiguous(g, y)
        out = empty(y.shape, y)
        softmax_backward(_three(g, self.axis), _three(y, self.axis), self.logarithm,
                         _three(out, self.axis))
        return out

    def backward(self, h, out, g, y):
        return composed_backward(self.composed, h, g, y)

    def composed(self, g, y):
        """The same in plain operations."""
        if self.logarithm:
            return g - y.exp() * sum(g, self.axis, keepdim=True)
        weighted = g * y
        return weighted - y * sum(weighted, self.axis, keepdim=True)


def softmax(x, dim) -> Tensor:
    """Positive numbers along `dim` that sum to 1, in the proportions e^x."""
    axis, = normal_axes(dim, len(as_array(x).shape), "softmax")
    return Softmax(axis)(x)


def log_softmax(x, dim) -> Tensor:
    """The logarithm of softmax, without its overflow and underflow."""
    axis, = normal_axes(dim, len(as_array(x).shape), "log_softmax")
    return LogSoftmax(axis)(x)


def _three(a, axis):
    """The array with one axis before, and one behind, the `axis` in question."""
    return a.reshape(math.prod(a.shape[:axis]), a.shape[axis], math.prod(a.shape[axis + 1:]))


# --- one row, or a block of columns: its maximum and the sum of e^(x - maximum) -------------------
@jit(inline=True)
def block_width(C, B):
    """How many of B columns of C elements are one task."""
    return 1 if B == 1 else min(B, max(64, CACHE // max(C, 1)))


@jit(fastmath=True)
def row_peak(row):
    """(max, sum of e^(x - max)); with a NaN in the row, the sum is NaN."""
    m, s = row_max(row), row.dtype.type(0)
    for c in range(row.size):
        s += exp_below(row[c] - m)
    return m, s


@jit(fastmath=True)
def row_max(row):
    """The maximum. Floats with a NaN among them cannot be compared in any order, so LLVM compares
    one by one; their bits, as whole numbers (those of negative floats turned round), it can."""
    T = row.dtype.type
    if single(T(0)):
        bits, top = row.view(np.int32), np.int32(-2 ** 31)
        for c in range(bits.size):
            key = np.int32(bits[c] ^ np.int32(np.int32(bits[c] >> 31) & np.int32(2 ** 31 - 1)))
            top = key if key > top else top
        top = np.int32(top ^ np.int32(np.int32(top >> 31) & np.int32(2 ** 31 - 1)))
        return T(top.view(np.float32)) if row.size else T(-np.inf)
    m = T(-np.inf)
    for c in range(row.size):
        m = row[c] if row[c] > m else m
    return m


@jit(fastmath=True)
def column_peaks(x, first, m, s):
    """The same of the columns of x (C, B) from `first` on, as many as m and s have room for."""
    m[:] = -np.inf
    s[:] = 0
    for c in range(x.shape[0]):
        row = x[c, first:first + m.size]
        for i in range(m.size):
            m[i] = row[i] if row[i] > m[i] else m[i]
    for c in range(x.shape[0]):
        row = x[c, first:first + m.size]
        for i in range(m.size):
            s[i] += exp_below(row[i] - m[i])


# --- softmax --------------------------------------------------------------------------------------
@Kernel
def softmax_kernel(x, logarithm, y):
    """Along the middle axis of x (A, C, B): softmax, or its logarithm."""
    with np.errstate(invalid="ignore", divide="ignore"):
        for a, b in np.ndindex(x.shape[0], x.shape[2]):
            shifted = x[a, :, b] - x[a, :, b].max(initial=-np.inf)
            total = np.exp(shifted).sum()
            y[a, :, b] = shifted - np.log(total) if logarithm else np.exp(shifted) / total


@softmax_kernel.cpu(parallel=True, fastmath=True)
def _(x, logarithm, y):
    A, C, B = x.shape
    W = block_width(C, B)
    blocks, rows, results = (B + W - 1) // W, x.reshape(A, C * B), y.reshape(A, C * B)
    for k in prange(A * blocks):
        a, first = np.int64(k) // blocks, np.int64(k) % blocks * W
        if B == 1:
            softmax_row(rows[a], logarithm, results[a])
        else:
            softmax_columns(x[a], first, min(W, B - first), logarithm, y[a])


@jit(fastmath=True)
def softmax_row(row, logarithm, out):
    """One row."""
    m, s = row_peak(row)
    if logarithm:
        log_s = row.dtype.type(math.log(s))
        for c in range(row.size):
            out[c] = row[c] - m - log_s
    else:
        scale = row.dtype.type(1) / s
        for c in range(row.size):
            out[c] = exp_below(row[c] - m) * scale


@jit(fastmath=True, allocates=True)
def softmax_columns(x, first, W, logarithm, y):
    """W columns from `first` on."""
    m, s = np.empty(W, x.dtype), np.empty(W, x.dtype)
    column_peaks(x, first, m, s)
    for i in range(W):
        s[i] = fast_log(s[i]) if logarithm else x.dtype.type(1) / s[i]
    for c in range(x.shape[0]):
        row, out = x[c, first:first + W], y[c, first:first + W]
        if logarithm:
            for i in range(W):
                out[i] = row[i] - m[i] - s[i]
        else:
            for i in range(W):
                out[i] = exp_below(row[i] - m[i]) * s[i]


@softmax_kernel.gpu                                          # a thread owns one y[a, c, b]
def _(x, logarithm, y):
    per_element(y, """
        const real *column = x + i / B / C * C * B + i % B;
        real m = column[0], s = 0;
        for (int c = 1; c < C; ++c) m = column[c * B] > m ? column[c * B] : m;
        for (int c = 0; c < C; ++c) s += exp(column[c * B] - m);
        out = logarithm ? x[i] - m - log(s) : exp(x[i] - m) / s;
        """, x=x, logarithm=int(logarithm), C=x.shape[1], B=x.shape[2])


@Kernel
def softmax_backward(g, y, logarithm, out):
    """Along the middle axis: y (g - sum g y); of the logarithm g - e^y sum g."""
    if logarithm:
        out[...] = g - np.exp(y) * g.sum(1, keepdims=True)
    else:
        out[...] = y * (g - (g * y).sum(1, keepdims=True))


@softmax_backward.cpu(parallel=True, fastmath=True)
def _(g, y, logarithm, out):
    A, C, B = y.shape
    W = block_width(C, B)
    blocks, results = (B + W - 1) // W, out.reshape(A, C * B)
    gradients, rows = g.reshape(A, C * B), y.reshape(A, C * B)
    for k in prange(A * blocks):
        a, first = np.int64(k) // blocks, np.int64(k) % blocks * W
        if B == 1:
            row_gradient(gradients[a], rows[a], logarithm, results[a])
        else:
            column_gradients(g[a], y[a], first, min(W, B - first), logarithm, out[a])


@jit(fastmath=True)
def row_gradient(g, y, logarithm, out):
    """One row."""
    total = y.dtype.type(0)
    if logarithm:
        for c in range(y.size):
            total += g[c]
        for c in range(y.size):
            out[c] = g[c] - exp_below(y[c]) * total
    else:
        for c in range(y.size):
            total += g[c] * y[c]
        for c in range(y.size):
            out[c] = y[c] * (g[c] - total)


@jit(fastmath=True, allocates=True)
def column_gradients(g, y, first, W, logarithm, out):
    """W columns from `first` on."""
    total = np.zeros(W, y.dtype)
    for c in range(y.shape[0]):
        a, b = g[c, first:first + W], y[c, first:first + W]
        for i in range(W):
            total[i] += a[i] if logarithm else a[i] * b[i]
    for c in range(y.shape[0]):
        a, b, q = g[c, first:first + W], y[c, first:first + W], out[c, first:first + W]
        if logarithm:
            for i in range(W):
                q[i] = a[i] - exp_below(b[i]) * total[i]
        else:
            for i in range(W):
                q[i] = b[i] * (a[i] - total[i])


@softmax_backward.gpu                                        # a thread owns one out[a, c, b]
def _(g, y, logarithm, out):
    per_element(out, """
        int first = i / B / C * C * B + i % B;
        real total = 0;
        for (int k = first; k < first + C * B; k += B) total += logarithm ? g[k] : g[k] * y[k];
        out = logarithm ? g[i] - exp(y[i]) * total : y[i] * (g[i] - total);
        """, g=g, y=y, logarithm=int(logarithm), C=y.shape[1], B=y.shape[2])
