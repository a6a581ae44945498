"""The kernels of elementwise functions and of their slopes: one pass over memory, on all cores.

There are two families: `rectify` (relu, leaky relu) and `smooth`, whose argument `kind` is one of
KINDS; on the CPU each kind is a loop of its own, so that only those in use are compiled. Slopes are
taken from what is cheapest to keep: the result y for relu, exp, tanh and sigmoid, the argument x
for gelu.
"""
from __future__ import annotations

import math

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import contiguous, empty
from tinyvision.kernel import Kernel, jit, prange
from tinyvision.ops.vector_math import fast_exp, fast_sigmoid, fast_tanh, normal

KINDS = EXPONENTIAL, TANH, SIGMOID, GELU, GELU_TANH = range(5)
SMALL = 4096              # elements: up to here NumPy is done before a kernel has started
SERIAL = 65536            # elements: up to here one core is done before a second has started
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


def on_lines(compiled):
    """The variant that shows `compiled` every array as one line: compiled once for all shapes."""
    def variant(*arguments):
        compiled(*[a.reshape(-1) if type(a) is np.ndarray else a for a in arguments])
    return variant


# --- relu and leaky relu --------------------------------------------------------------------------
@Kernel
def rectify(x, slope, y):
    """x where it is positive, slope * x elsewhere; for slope 0 that is 0 also at -inf."""
    for i in np.ndindex(x.shape):
        y[i] = x[i] if x[i] > 0 or np.isnan(x[i]) else slope * x[i] if slope else 0


@jit(parallel=True, fastmath=True)
def rectify_line(x, slope, y):
    """One loop for one core, one for all."""
    s = x.dtype.type(slope)
    if x.size <= SERIAL:
        for i in range(x.size):
            y[i] = rectified(x[i], s)
    else:
        for i in prange(x.size):
            y[i] = rectified(x[i], s)


@jit(inline=True)
def rectified(x, s):
    """Selections, no branch. NaN compares false, and stays."""
    return x if not x <= 0 else s * x if s != 0 else s


rectify.python("cpu", on_lines(rectify_line))


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


@jit(parallel=True, fastmath=True)
def rectify_backward_line(g, y, slope, out):
    """One loop for one core, one for all."""
    s = g.dtype.type(slope)
    if g.size <= SERIAL:
        for i in range(g.size):
            out[i] = rectified_backward(g[i], y[i], s)
    else:
        for i in prange(g.size):
            out[i] = rectified_backward(g[i], y[i], s)


@jit(inline=True)
def rectified_backward(g, y, s):
    """Selections, no branch."""
    keep = (y > 0) | ((y != y) & (s == 0))
    return g if keep else s * g if s != 0 else s


rectify_backward.python("cpu", on_lines(rectify_backward_line))


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


@jit
def value(x, kind):
    """The function number `kind` of one number, by the C library."""
    if kind == EXPONENTIAL:
        return math.exp(x)
    if kind == TANH:
        return math.tanh(x)
    if kind == SIGMOID:
        return 1 / (1 + math.exp(-x))
    if kind == GELU:
        return x * 0.5 * math.erfc(-x / math.sqrt(2))
    return 0.5 * x * (1 + math.tanh(ROOT * (x + CUBIC * x ** 3)))


@jit(parallel=True)
def value_line(x, kind, y):
    """The loop of every kind; those below are faster by their `fast_exp` alone."""
    for i in prange(x.size):
        y[i] = value(x[i], kind)


smooth.python("cpu_loops", on_lines(value_line))


@jit(parallel=True, fastmath=True)
def exp_line(x, y):
    """e^x."""
    for i in prange(x.size):
        y[i] = fast_exp(x[i])


@jit(parallel=True, fastmath=True)
def tanh_line(x, y):
    """The hyperbolic tangent."""
    for i in prange(x.size):
        y[i] = fast_tanh(x[i])


@jit(parallel=True, fastmath=True)
def sigmoid_line(x, y):
    """1 / (1 + e^-x)."""
    for i in prange(x.size):
        y[i] = fast_sigmoid(x[i])


@jit(parallel=True, fastmath=True)
def gelu_line(x, y):
    """x Phi(x)."""
    for i in prange(x.size):
        y[i] = x[i] * normal(x[i])[0]


@jit(parallel=True, fastmath=True)
def gelu_tanh_line(x, y):
    """x / 2 (1 + tanh u); 1 + tanh(u) = 2 sigmoid(2 u)."""
    for i in prange(x.size):
        y[i] = x[i] * fast_sigmoid(twice_inner(x[i]))


@jit(inline=True)
def twice_inner(x):
    """2 sqrt(2/pi) (x + CUBIC x^3), in x's type."""
    T = type(x)
    return T(2 * ROOT) * x * (T(1) + T(CUBIC) * x * x)


LINES = [on_lines(f) for f in (exp_line, tanh_line, sigmoid_line, gelu_line, gelu_tanh_line)]
smooth.python("cpu", lambda x, kind, y: LINES[kind](x, y))


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


@jit
def slope(s, kind):
    """The slope of function number `kind`, from its result or argument s."""
    if kind == EXPONENTIAL:
        return s
    if kind == TANH:
        return 1 - s * s
    if kind == SIGMOID:
        return s * (1 - s)
    if kind == GELU:
        density = math.exp(-s * s / 2) / math.sqrt(2 * math.pi)
        return 0.5 * math.erfc(-s / math.sqrt(2)) + s * density
    t = math.tanh(ROOT * (s + CUBIC * s ** 3))
    return 0.5 * (1 + t) + 0.5 * s * (1 - t * t) * ROOT * (1 + 3 * CUBIC * s * s)


@jit(parallel=True)
def slope_line(g, s, kind, out):
    """The loop of every kind."""
    for i in prange(g.size):
        out[i] = g[i] * slope(s[i], kind)


smooth_backward.python("cpu_loops", on_lines(slope_line))


@jit(parallel=True, fastmath=True)
def exp_slope_line(g, y, out):
    """e^x = y."""
    for i in prange(g.size):
        out[i] = g[i] * y[i]


@jit(parallel=True, fastmath=True)
def tanh_slope_line(g, y, out):
    """1 - y^2."""
    for i in prange(g.size):
        out[i] = g[i] * (g.dtype.type(1) - y[i] * y[i])


@jit(parallel=True, fastmath=True)
def sigmoid_slope_line(g, y, out):
    """y (1 - y)."""
    for i in prange(g.size):
        out[i] = g[i] * (y[i] * (g.dtype.type(1) - y[i]))


@jit(parallel=True, fastmath=True)
def gelu_slope_line(g, x, out):
    """Phi(x) + x phi(x)."""
    for i in prange(g.size):
        cdf, density = normal(x[i])
        out[i] = g[i] * (cdf + x[i] * density)


@jit(parallel=True, fastmath=True)
def gelu_tanh_slope_line(g, x, out):
    """See `gelu_tanh_slope`."""
    for i in prange(g.size):
        out[i] = g[i] * gelu_tanh_slope(x[i])


@jit(inline=True)
def gelu_tanh_slope(x):
    """The derivative of x p, p = sigmoid(2 u): p + x p (1 - p) 2 u'."""
    T = type(x)
    p = fast_sigmoid(twice_inner(x))
    return p + x * p * (T(1) - p) * T(2 * ROOT) * (T(1) + T(3 * CUBIC) * x * x)


SLOPE_LINES = [on_lines(f) for f in (exp_slope_line, tanh_slope_line, sigmoid_slope_line,
                                     gelu_slope_line, gelu_tanh_slope_line)]
smooth_backward.python("cpu", lambda g, s, kind, out: SLOPE_LINES[kind](g, s, out))


GPU_BACKWARD = (
    "out = g[i] * s[i];", "out = g[i] * (1 - s[i] * s[i]);", "out = g[i] * s[i] * (1 - s[i]);",
    "out = g[i] * (real(0.5) * erfc(s[i] * real(-0.7071067811865476))"
    " + s[i] * exp(real(-0.5) * s[i] * s[i]) * real(0.3989422804014327));",
    GPU_INNER + " real t = tanh(u); out = g[i] * (real(0.5) * (1 + t) + real(0.5) * s[i]"
    " * (1 - t * t) * real(0.7978845608028654) * (1 + real(0.134145) * s[i] * s[i]));")


@smooth_backward.gpu
def _(g, s, kind, out):
    per_element(out, GPU_BACKWARD[kind], g=g, s=s)
