"""The kernels of silu, softplus and mish and of their slopes, all from the argument x.

Which of them is meant is told by `kind`, one of KINDS; on the CPU each kind is a loop of its own,
so that only those in use are compiled, as in `elementwise`.
"""
from __future__ import annotations

import math

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.kernel import Kernel, jit, prange
from tinyvision.ops.elementwise import on_lines
from tinyvision.ops.vector_math import fast_exp, fast_sigmoid, single

KINDS = SILU, SOFTPLUS, MISH = range(3)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))


def _mish_slope(x):
    t = np.tanh(_softplus(x))
    return t + x * _sigmoid(x) * (1 - t * t)


REFERENCES = lambda x: x * _sigmoid(x), _softplus, lambda x: x * np.tanh(_softplus(x))
SLOPES = lambda x: _sigmoid(x) * (1 + x * (1 - _sigmoid(x))), _sigmoid, _mish_slope


@Kernel
def curve(x, kind, y):
    """The function number `kind` of x."""
    with np.errstate(over="ignore", invalid="ignore"):
        for i in np.ndindex(x.shape):
            y[i] = REFERENCES[kind](x[i])


@jit
def value(x, kind):
    """The function number `kind` of one number, by the C library."""
    if kind == SILU:
        return x / (1 + math.exp(-x))
    softplus = max(x, 0) + math.log1p(math.exp(-abs(x)))
    return softplus if kind == SOFTPLUS else x * math.tanh(softplus)


@jit(parallel=True)
def value_line(x, kind, y):
    """The loop of every kind; those below are faster by their `fast_exp` alone."""
    for i in prange(x.size):
        y[i] = value(x[i], kind)


curve.python("cpu_loops", on_lines(value_line))


@jit(parallel=True, fastmath=True)
def silu_line(x, y):
    """x sigmoid(x)."""
    for i in prange(x.size):
        y[i] = x[i] * fast_sigmoid(x[i])


@jit(parallel=True, fastmath=True)
def softplus_line(x, y):
    """max(x, 0) + log(1 + e^-|x|)."""
    for i in prange(x.size):
        T = x.dtype.type
        y[i] = max(x[i], T(0)) + log_of_one_and(fast_exp(-abs(x[i])))


@jit(parallel=True, fastmath=True)
def mish_line(x, y):
    """x tanh(softplus(x))."""
    for i in prange(x.size):
        y[i] = x[i] * tanh_softplus(x[i])


@jit(inline=True)
def log_of_one_and(e):
    """log(1 + e), 0 <= e <= 1: 2 artanh(s), s = e / (2 + e) <= 1/3; no digit of a small e is lost.

    The series 2 s (1 + s^2 / 3 + s^4 / 5 + ...), to s^14 / 15, is exact to 2e-9.
    """
    T = type(e)
    if not single(e):
        return T(math.log1p(e))
    s = e / (T(2) + e)
    q = s * s
    p = T(1 / 9) + q * (T(1 / 11) + q * (T(1 / 13) + q * T(1 / 15)))
    p = T(1) + q * (T(1 / 3) + q * (T(1 / 5) + q * (T(1 / 7) + q * p)))
    return (s + s) * p


@jit(inline=True)
def tanh_softplus(x):
    """tanh(log(1 + n)) = n (n + 2) / (n (n + 2) + 2), n = e^x; 1 where that overflows."""
    T = type(x)
    n = fast_exp(x)
    m = n * (n + T(2))
    return T(1) if x > T(20) else m / (m + T(2))


LINES = [on_lines(f) for f in (silu_line, softplus_line, mish_line)]
curve.python("cpu", lambda x, kind, y: LINES[kind](x, y))

GPU_SOFTPLUS = "real p = (s[i] > 0 ? s[i] : real(0)) + log1p(exp(-fabs(s[i])));"
GPU = ("out = s[i] / (1 + exp(-s[i]));", "out = s[i] != s[i] ? s[i] : p;", "out = s[i] * tanh(p);")


@curve.gpu
def _(x, kind, y):
    per_element(y, (GPU_SOFTPLUS if kind != SILU else "") + GPU[kind], s=x)


@Kernel
def curve_backward(g, x, kind, out):
    """g times the slope of function number `kind` at x."""
    with np.errstate(over="ignore", invalid="ignore"):
        for i in np.ndindex(g.shape):
            out[i] = g[i] * SLOPES[kind](x[i])


@jit
def slope(x, kind):
    """The slope of function number `kind` at x."""
    p = 1 / (1 + math.exp(-x))
    if kind == SILU:
        return p * (1 + x * (1 - p))
    t = math.tanh(value(x, SOFTPLUS))
    return p if kind == SOFTPLUS else t + x * p * (1 - t * t)


@jit(parallel=True)
def slope_line(g, x, kind, out):
    """The loop of every kind."""
    for i in prange(g.size):
        out[i] = g[i] * slope(x[i], kind)


curve_backward.python("cpu_loops", on_lines(slope_line))


@jit(parallel=True, fastmath=True)
def silu_slope_line(g, x, out):
    """p (1 + x (1 - p)), p = sigmoid(x)."""
    for i in prange(g.size):
        one, p = g.dtype.type(1), fast_sigmoid(x[i])
        out[i] = g[i] * (p * (one + x[i] * (one - p)))


@jit(parallel=True, fastmath=True)
def softplus_slope_line(g, x, out):
    """sigmoid(x)."""
    for i in prange(g.size):
        out[i] = g[i] * fast_sigmoid(x[i])


@jit(parallel=True, fastmath=True)
def mish_slope_line(g, x, out):
    """t + x sigmoid(x) (1 - t^2), t = tanh(softplus(x))."""
    for i in prange(g.size):
        one, t = g.dtype.type(1), tanh_softplus(x[i])
        out[i] = g[i] * (t + x[i] * fast_sigmoid(x[i]) * (one - t * t))


SLOPE_LINES = [on_lines(f) for f in (silu_slope_line, softplus_slope_line, mish_slope_line)]
curve_backward.python("cpu", lambda g, x, kind, out: SLOPE_LINES[kind](g, x, out))

GPU_BACKWARD = ("out = g[i] * (q * (1 + s[i] * (1 - q)));", "out = g[i] * q;",
                GPU_SOFTPLUS + " real t = tanh(p); out = g[i] * (t + s[i] * q * (1 - t * t));")


@curve_backward.gpu
def _(g, x, kind, out):
    per_element(out, "real q = 1 / (1 + exp(-s[i]));" + GPU_BACKWARD[kind], g=g, s=x)
