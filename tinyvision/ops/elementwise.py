"""The kernels of elementwise functions and of their slopes: one pass over memory, on all cores.

Functions come in two families, so that few kernels have to be compiled: `rectify` (relu, leaky relu)
and `smooth`, whose argument `kind` says which of KINDS. Their slopes are taken from what is
cheapest to keep: the result y for relu, exp, tanh and sigmoid, the argument x for gelu.
"""
from __future__ import annotations

import math

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import contiguous, empty
from tinyvision.kernel import Kernel, jit, prange
from tinyvision.ops.vector_math import fast_exp, fast_sigmoid, fast_tanh, normal

KINDS = EXPONENTIAL, TANH, SIGMOID, GELU, GELU_TANH = range(5)
SMALL = 4096              # elements: up to here NumPy is done before threads have started
CHUNK = 8192              # elements: what a thread takes at a time stays in its first-level cache
CUBIC = 0.044715          # gelu's tanh approximation: x/2 (1 + tanh(sqrt(2/pi) (x + CUBIC x^3)))
ROOT = math.sqrt(2 / math.pi)


def small(a) -> bool:
    """Whether NumPy's (CuPy's) own functions should do it: few elements, or no kernel's dtype."""
    return a.size <= SMALL or a.dtype.char not in "fd"


def run(kernel, arrays, *options):
    """The kernel's result, of the shape of the arrays, which are made ready for it first."""
    arrays = contiguous(*arrays)
    out = empty(arrays[0].shape, arrays[0])
    kernel(*arrays, *options, out)
    return out


# --- relu and leaky relu --------------------------------------------------------------------------
@Kernel
def rectify(x, slope, y):
    """x where it is positive, slope * x elsewhere; for slope 0 that is 0 also at -inf."""
    for i in np.ndindex(x.shape):
        y[i] = x[i] if x[i] > 0 or np.isnan(x[i]) else slope * x[i] if slope else 0


@rectify.cpu(parallel=True, fastmath=True)
def _(x, slope, y):
    a, b, s = x.reshape(-1), y.reshape(-1), x.dtype.type(slope)
    for k in prange((a.size + CHUNK - 1) // CHUNK):
        k = np.int64(k) * CHUNK
        rectify_chunk(a[k:k + CHUNK], s, b[k:k + CHUNK])


@jit(fastmath=True)
def rectify_chunk(a, s, b):
    """One thread's share."""
    zero = a.dtype.type(0)
    if s == zero:
        for i in range(a.size):
            b[i] = zero if a[i] <= zero else a[i]            # NaN compares false, and stays
    else:
        for i in range(a.size):
            b[i] = a[i] if a[i] > zero else s * a[i]


@rectify.gpu
def _(x, slope, y):
    per_element(y, "out = x[i] > 0 || x[i] != x[i] ? x[i] : slope != 0 ? slope * x[i] : real(0);",
                x=x, slope=float(slope))


@Kernel
def rectify_backward(g, y, slope, out):
    """g where y is positive, slope * g elsewhere; for slope 0 that is 0, whatever g is.

    Where y is NaN, PyTorch has g for relu and slope * g for leaky_relu; so do we.
    """
    for i in np.ndindex(g.shape):
        out[i] = (g[i] if y[i] > 0 else slope * g[i]) if slope else 0 if y[i] <= 0 else g[i]


@rectify_backward.cpu(parallel=True, fastmath=True)
def _(g, y, slope, out):
    a, c, b, s = g.reshape(-1), y.reshape(-1), out.reshape(-1), g.dtype.type(slope)
    for k in prange((a.size + CHUNK - 1) // CHUNK):
        k = np.int64(k) * CHUNK
        rectify_backward_chunk(a[k:k + CHUNK], c[k:k + CHUNK], s, b[k:k + CHUNK])


@jit(fastmath=True)
def rectify_backward_chunk(a, c, s, b):
    """One thread's share."""
    zero = a.dtype.type(0)
    if s == zero:
        for i in range(a.size):
            b[i] = zero if c[i] <= zero else a[i]
    else:
        for i in range(a.size):
            b[i] = a[i] if c[i] > zero else s * a[i]


@rectify_backward.gpu
def _(g, y, slope, out):
    per_element(out, """
        out = slope != 0 ? (y[i] > 0 ? g[i] : slope * g[i]) : y[i] <= 0 ? real(0) : g[i];
        """, g=g, y=y, slope=float(slope))


# --- exp, tanh, sigmoid, gelu ---------------------------------------------------------------------
def _cdf(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


REFERENCES = (np.exp, np.tanh, lambda x: 1 / (1 + np.exp(-x)), lambda x: x * _cdf(x),
              lambda x: 0.5 * x * (1 + np.tanh(ROOT * (x + CUBIC * x ** 3))))


def _gelu_slope(x):
    return _cdf(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _gelu_tanh_slope(x):
    t = np.tanh(ROOT * (x + CUBIC * x ** 3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * ROOT * (1 + 3 * CUBIC * x * x)


SLOPES = lambda y: y, lambda y: 1 - y * y, lambda y: y * (1 - y), _gelu_slope, _gelu_tanh_slope


@Kernel
def smooth(x, kind, y):
    """The function number `kind` of x."""
    with np.errstate(over="ignore", invalid="ignore"):
        for i in np.ndindex(x.shape):
            y[i] = REFERENCES[kind](x[i])


@smooth.cpu(parallel=True, fastmath=True)
def _(x, kind, y):
    a, b = x.reshape(-1), y.reshape(-1)
    for k in prange((a.size + CHUNK - 1) // CHUNK):
        k = np.int64(k) * CHUNK
        smooth_chunk(a[k:k + CHUNK], kind, b[k:k + CHUNK])


@jit(fastmath=True)
def smooth_chunk(a, kind, b):
    """One thread's share."""
    if kind == EXPONENTIAL:
        for i in range(a.size):
            b[i] = fast_exp(a[i])
    elif kind == TANH:
        for i in range(a.size):
            b[i] = fast_tanh(a[i])
    elif kind == SIGMOID:
        for i in range(a.size):
            b[i] = fast_sigmoid(a[i])
    elif kind == GELU:
        for i in range(a.size):
            b[i] = a[i] * normal(a[i])[0]
    else:
        for i in range(a.size):                              # 1 + tanh(u) = 2 sigmoid(2 u)
            b[i] = a[i] * fast_sigmoid(twice_inner(a[i]))


@jit(inline=True)
def twice_inner(x):
    """2 sqrt(2/pi) (x + CUBIC x^3), in x's type."""
    T = type(x)
    return T(2 * ROOT) * x * (T(1) + T(CUBIC) * x * x)


GPU_INNER = "real u = real(0.7978845608028654) * (s[i] + real(0.044715) * s[i] * s[i] * s[i]);"
GPU = ("out = exp(s[i]);", "out = tanh(s[i]);", "out = 1 / (1 + exp(-s[i]));",
       "out = s[i] * real(0.5) * erfc(s[i] * real(-0.7071067811865476));",
       GPU_INNER + " out = real(0.5) * s[i] * (1 + tanh(u));")


@smooth.gpu
def _(x, kind, y):
    per_element(y, GPU[kind], s=x)


@Kernel
def smooth_backward(g, s, kind, out):
    """g times the slope of function number `kind`, from its result or argument s."""
    with np.errstate(over="ignore", invalid="ignore"):
        for i in np.ndindex(g.shape):
            out[i] = g[i] * SLOPES[kind](s[i])


@smooth_backward.cpu(parallel=True, fastmath=True)
def _(g, s, kind, out):
    a, c, b = g.reshape(-1), s.reshape(-1), out.reshape(-1)
    for k in prange((a.size + CHUNK - 1) // CHUNK):
        k = np.int64(k) * CHUNK
        smooth_backward_chunk(a[k:k + CHUNK], c[k:k + CHUNK], kind, b[k:k + CHUNK])


@jit(fastmath=True)
def smooth_backward_chunk(a, c, kind, b):
    """One thread's share."""
    one = a.dtype.type(1)
    if kind == EXPONENTIAL:
        for i in range(a.size):
            b[i] = a[i] * c[i]
    elif kind == TANH:
        for i in range(a.size):
            b[i] = a[i] * (one - c[i] * c[i])
    elif kind == SIGMOID:
        for i in range(a.size):
            b[i] = a[i] * (c[i] * (one - c[i]))
    elif kind == GELU:
        for i in range(a.size):
            cdf, density = normal(c[i])
            b[i] = a[i] * (cdf + c[i] * density)
    else:
        for i in range(a.size):
            b[i] = a[i] * gelu_tanh_slope(c[i])


@jit(inline=True)
def gelu_tanh_slope(x):
    """The derivative of x p, p = sigmoid(2 u): p + x p (1 - p) 2 u'."""
    T = type(x)
    p = fast_sigmoid(twice_inner(x))
    return p + x * p * (T(1) - p) * T(2 * ROOT) * (T(1) + T(3 * CUBIC) * x * x)


GPU_BACKWARD = (
    "out = g[i] * s[i];", "out = g[i] * (1 - s[i] * s[i]);", "out = g[i] * s[i] * (1 - s[i]);",
    "out = g[i] * (real(0.5) * erfc(s[i] * real(-0.7071067811865476))"
    " + s[i] * exp(real(-0.5) * s[i] * s[i]) * real(0.3989422804014327));",
    GPU_INNER + " real t = tanh(u); out = g[i] * (real(0.5) * (1 + t) + real(0.5) * s[i]"
    " * (1 - t * t) * real(0.7978845608028654) * (1 + real(0.134145) * s[i] * s[i]));")


@smooth_backward.gpu
def _(g, s, kind, out):
    per_element(out, GPU_BACKWARD[kind], g=g, s=s)
