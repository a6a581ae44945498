"""softmax and log_softmax along any axis, one pass over memory each.

    softmax_c = e^(x_c - m) / s,    log_softmax_c = x_c - m - log s,
    m = max_c x_c,    s = sum_c e^(x_c - m)

The largest score is subtracted first, so that exp never overflows. Sizes: x (A, C, B), the axis in
the middle; the compiled kernels are in `softmax_fast`. Lecture: L1.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import contiguous, empty
from tinyvision.engine import Op, Tensor, as_array
from tinyvision.kernel import Kernel, prange
from tinyvision.ops import softmax_fast
from tinyvision.ops.composed import composed_backward
from tinyvision.ops.shape import normal_axes, sum


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


# --- the kernels ----------------------------------------------------------------------------------
@Kernel
def softmax_kernel(x, logarithm, y):
    """Along the middle axis of x (A, C, B): softmax, or its logarithm."""
    with np.errstate(invalid="ignore", divide="ignore"):
        for a, b in np.ndindex(x.shape[0], x.shape[2]):
            shifted = x[a, :, b] - x[a, :, b].max(initial=-np.inf)
            total = np.exp(shifted).sum()
            y[a, :, b] = shifted - np.log(total) if logarithm else np.exp(shifted) / total


@softmax_kernel.variant("cpu_loops", parallel=True)          # a core owns one a
def _(x, logarithm, y):
    A, C, B = x.shape
    for a in prange(A):
        for b in range(B):
            m, s = -np.inf, 0.0
            for c in range(C):
                m = max(m, x[a, c, b])
            for c in range(C):
                s += math.exp(x[a, c, b] - m)
            for c in range(C):
                shifted = x[a, c, b] - m
                y[a, c, b] = shifted - math.log(s) if logarithm else math.exp(shifted) / s


softmax_kernel.python("cpu", softmax_fast.softmax)


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


@softmax_backward.variant("cpu_loops", parallel=True)        # a core owns one a
def _(g, y, logarithm, out):
    A, C, B = y.shape
    for a in prange(A):
        for b in range(B):
            total = 0.0
            for c in range(C):
                total += g[a, c, b] if logarithm else g[a, c, b] * y[a, c, b]
            for c in range(C):
                out[a, c, b] = (g[a, c, b] - math.exp(y[a, c, b]) * total if logarithm else
                                y[a, c, b] * (g[a, c, b] - total))


softmax_backward.python("cpu", softmax_fast.softmax_backward)


@softmax_backward.gpu                                        # a thread owns one out[a, c, b]
def _(g, y, logarithm, out):
    per_element(out, """
        int first = i / B / C * C * B + i % B;
        real total = 0;
        for (int k = first; k < first + C * B; k += B) total += logarithm ? g[k] : g[k] * y[k];
        out = logarithm ? g[i] - exp(y[i]) * total : y[i] * (g[i] - total);
        """, g=g, y=y, logarithm=int(logarithm), C=y.shape[1], B=y.shape[2])
