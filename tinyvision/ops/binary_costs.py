"""Kernels of costs of yes or no: binary cross-entropy of logits and the focal loss, in one pass.

For a logit x, an answer t from 0 to 1, and the probability s = sigmoid x:

    cost = a w^gamma c,    c = t softplus(-x) + (1 - t) softplus(x)     the cross-entropy
                           w = t (1 - s) + (1 - t) s                    how wrong it is
                           a = t yes + (1 - t) no
    d cost / d x = a w^gamma c' + a gamma w^(gamma - 1) w' c
                           c' = s - t,   w' = (1 - 2 t) s (1 - s)

gamma 0 is the cross-entropy. Everything is made of e = e^-|x|, which neither overflows nor cancels.
"""
from __future__ import annotations

import math

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.kernel import Kernel, jit, prange
from tinyvision.ops.elementwise import SERIAL, on_lines
from tinyvision.ops.elementwise_curves import log_of_one_and
from tinyvision.ops.vector_math import exp_below


@Kernel
def binary_costs(x, t, yes, no, gamma, out):
    """The cost of every logit x with the answer t."""
    for i in np.ndindex(x.shape):
        c, _, w, _ = parts(x[i], t[i])
        out[i] = (t[i] * yes + (1 - t[i]) * no) * w ** gamma * c


@Kernel
def binary_costs_backward(g, x, t, yes, no, gamma, out):
    """g times the slope of every logit's cost."""
    for i in np.ndindex(x.shape):
        c, slope, w, turn = parts(x[i], t[i])
        slope = w ** gamma * slope + (gamma * w ** (gamma - 1) * turn * c if gamma else 0)
        out[i] = g[i] * (t[i] * yes + (1 - t[i]) * no) * slope


def parts(x, t):
    """c, c', w and w'."""
    e = np.exp(-abs(x))
    right, left = (1, e) if x > 0 else (e, 1)                # times 1 / (1 + e): s and 1 - s
    s, opposite = right / (1 + e), left / (1 + e)
    c = ((1 - t) * x if x > 0 else -t * x) + np.log1p(e)
    return c, (1 - t) * s - t * opposite, t * opposite + (1 - t) * s, (1 - 2 * t) * s * opposite


# --- on the CPU -----------------------------------------------------------------------------------
@jit
def slow_parts(x, t):
    """`parts`, by the C library."""
    e = math.exp(-abs(x))
    s = (1 if x > 0 else e) / (1 + e)
    opposite = (e if x > 0 else 1) / (1 + e)
    c = ((1 - t) * x if x > 0 else -t * x) + math.log1p(e)
    return c, (1 - t) * s - t * opposite, t * opposite + (1 - t) * s, (1 - 2 * t) * s * opposite


@jit(parallel=True)
def loops(x, t, yes, no, gamma, out):
    """Of any gamma."""
    for i in prange(x.size):
        c, _, w, _ = slow_parts(x[i], t[i])
        out[i] = (t[i] * yes + (1 - t[i]) * no) * w ** gamma * c


@jit(parallel=True)
def loops_backward(g, x, t, yes, no, gamma, out):
    """Of any gamma."""
    for i in prange(x.size):
        c, slope, w, turn = slow_parts(x[i], t[i])
        slope *= w ** gamma
        if gamma != 0:
            slope += gamma * w ** (gamma - 1) * turn * c
        out[i] = g[i] * (t[i] * yes + (1 - t[i]) * no) * slope


@jit(inline=True)
def fast_parts(x, t):
    """`parts`, in x's type, 8 or 16 at a time."""
    T = type(x)
    e = exp_below(-abs(x))
    half = T(1) / (T(1) + e)
    s = half if x > T(0) else e * half
    opposite = e * half if x > T(0) else half
    yet = T(1) - t
    c = (yet * x if x > T(0) else -t * x) + log_of_one_and(e)
    return c, yet * s - t * opposite, t * opposite + yet * s, (yet - t) * s * opposite


@jit(inline=True)
def cost(x, t, yes, no, focal):
    """Of gamma 0, or 2 if `focal`."""
    T = type(x)
    c, _, w, _ = fast_parts(x, t)
    return (t * yes + (T(1) - t) * no) * (w * w if focal else T(1)) * c


@jit(inline=True)
def cost_slope(x, t, yes, no, focal):
    """The slope of `cost`."""
    T = type(x)
    c, slope, w, turn = fast_parts(x, t)
    slope = w * (w * slope + T(2) * turn * c) if focal else slope
    return (t * yes + (T(1) - t) * no) * slope


@jit(parallel=True, fastmath=True)
def line(x, t, yes, no, focal, out):
    """One loop for one core, one for all."""
    yes, no = x.dtype.type(yes), x.dtype.type(no)
    if x.size <= SERIAL:
        for i in range(x.size):
            out[i] = cost(x[i], t[i], yes, no, focal)
    else:
        for i in prange(x.size):
            out[i] = cost(x[i], t[i], yes, no, focal)


@jit(parallel=True, fastmath=True)
def line_backward(g, x, t, yes, no, focal, out):
    """One loop for one core, one for all."""
    yes, no = x.dtype.type(yes), x.dtype.type(no)
    if x.size <= SERIAL:
        for i in range(x.size):
            out[i] = g[i] * cost_slope(x[i], t[i], yes, no, focal)
    else:
        for i in prange(x.size):
            out[i] = g[i] * cost_slope(x[i], t[i], yes, no, focal)


def chosen(fast, slow):
    """The variant: the fast loop for gamma 0 and 2, which is every gamma in use."""
    def variant(*arguments):
        *arrays, yes, no, gamma, out = arguments
        if gamma in (0, 2):
            fast(*arrays, yes, no, gamma == 2, out)
        else:
            slow(*arrays, yes, no, gamma, out)
    return variant


for kernel, fast, slow in ((binary_costs, line, loops),
                           (binary_costs_backward, line_backward, loops_backward)):
    kernel.python("cpu_loops", on_lines(slow))
    kernel.python("cpu", chosen(on_lines(fast), on_lines(slow)))


# --- on the GPU: a thread owns one logit ----------------------------------------------------------
GPU = """
    real e = exp(-fabs(x[i])), s = (x[i] > 0 ? 1 : e) / (1 + e), o = (x[i] > 0 ? e : 1) / (1 + e);
    real yet = 1 - t[i], c = (x[i] > 0 ? yet * x[i] : -t[i] * x[i]) + log1p(e);
    real w = t[i] * o + yet * s, a = t[i] * yes + yet * no;
    """


@binary_costs.gpu
def _(x, t, yes, no, gamma, out):
    power = "pow(w, real(gamma))" if gamma else "1"
    per_element(out, GPU + f"out = a * {power} * c;", x=x, t=t, yes=float(yes), no=float(no),
                gamma=float(gamma))


@binary_costs_backward.gpu
def _(g, x, t, yes, no, gamma, out):
    slope = "yet * s - t[i] * o"
    if gamma:
        slope = f"""pow(w, real(gamma)) * ({slope})
                    + gamma * pow(w, real(gamma - 1)) * (yet - t[i]) * s * o * c"""
    per_element(out, GPU + f"out = g[i] * a * ({slope});", g=g, x=x, t=t, yes=float(yes),
                no=float(no), gamma=float(gamma))
