"""layer_norm: every row moved to mean 0 and variance 1, then scaled and shifted; group_norm.

    y = (x - m) / sqrt(v + eps) * weight + bias,   m, v over one row

The graph keeps x and weight: a row fits into the cache, so backward works m and v out again while
it is there. With x^ = (x - m) / sqrt(v + eps) and u = g weight,

    dx = (u - mean(u) - x^ mean(u x^)) / sqrt(v + eps),
    dweight = sum g x^,    dbias = sum g    over the rows.

All three come out of one pass over g and x, so they are one array: the rows of dx, and below them
dweight and dbias. Sizes: x (R, D); the compiled kernels are in `layer_norm_fast`. Ba, Kiros &
Hinton 2016; Wu & He 2018 (groups).
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import contiguous, empty, module_of, zeros
from tinyvision.engine import Op, Tensor, as_array
from tinyvision.kernel import Kernel, prange
from tinyvision.ops import layer_norm_fast
from tinyvision.ops.arithmetic import sqrt
from tinyvision.ops.batch_norm import BatchNorm, statistics
from tinyvision.ops.check import at_least, same_device
from tinyvision.ops.composed import composed_backward, pieces
from tinyvision.ops.shape import cat, mean, reshape, sum


@dataclass(frozen=True)
class LayerNorm(Op):
    """Normalisation of x over its last axes, those of weight and bias."""
    eps: float
    needs = "x", "weight"

    def forward(self, x, weight, bias):
        x, weight, bias = contiguous(x, weight, bias)
        y = empty(x.shape, x)
        layer_norm_kernel(as_rows(x, weight), weight.ravel(), bias.ravel(), self.eps,
                          as_rows(y, weight))
        return y

    def backward(self, g, y, x, weight, bias):
        return pieces(LayerNormBackward(self.eps)(g, x, weight), x, weight, bias)


def as_rows(x, weight):
    """x as (R, D), D the elements of weight."""
    return x.reshape(math.prod(x.shape[:x.ndim - weight.ndim]), weight.size)


@dataclass(frozen=True)
class LayerNormBackward(Op):
    """The rows of dx, dweight and dbias, in one row."""
    eps: float
    needs = "g", "x", "weight"

    def forward(self, g, x, weight):
        g, x, weight = contiguous(g, x, weight)
        g, x = as_rows(g, weight), as_rows(x, weight)
        out = empty((len(x) + 2, weight.size), x)
        layer_norm_backward(g, x, weight.ravel(), self.eps, out)
        return out.ravel()

    def backward(self, h, out, g, x, weight):
        return composed_backward(self.composed, h, g, x, weight)

    def composed(self, g, x, weight):
        """The same in plain operations."""
        D = weight.size
        g, x, weight = (reshape(t, math.prod(t.shape) // D, D) for t in (g, x, weight))
        centred = x - mean(x, 1, keepdim=True)
        deviation = sqrt(mean(centred * centred, 1, keepdim=True) + self.eps)
        normal, u = centred / deviation, g * weight
        gx = (u - mean(u, 1, keepdim=True) - normal * mean(u * normal, 1, keepdim=True)) / deviation
        return cat([reshape(gx, math.prod(gx.shape)), sum(g * normal, 0), sum(g, 0)])


def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5) -> Tensor:
    """Normalise over the last axes, as a vision transformer does each token's features.

    Args:
        x: (..., *normalized_shape), floating.
        normalized_shape: an int or several: the last sizes of x.
        weight, bias: of normalized_shape, 1 and 0 if None.
        eps: added to the variance.

    Like `torch.nn.functional.layer_norm`.

    Raises:
        ValueError: x does not end in normalized_shape, or a parameter of another shape.
    """
    X = as_array(x)
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    same_device("layer_norm", x=x, weight=weight, bias=bias)
    if not shape or X.shape[-len(shape):] != shape:
        raise ValueError(f"layer_norm: x has shape {X.shape}, "
                         f"expected it to end in normalized_shape={shape}")
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None and as_array(value).shape != shape:
            raise ValueError(f"layer_norm: {name} has shape {as_array(value).shape}, "
                             f"expected normalized_shape={shape}")
    weight = module_of(X).ones(shape, X.dtype) if weight is None else weight
    bias = zeros(shape, like=X) if bias is None else bias
    return LayerNorm(float(eps))(x, weight, bias)


def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5) -> Tensor:
    """Normalise over the channels of a group and all places, image by image.

    Args:
        x: (N, C, ...), floating.
        num_groups: how many groups the channels make; C of them is instance normalisation.
        weight, bias: (C,), 1 and 0 if None.
        eps: added to the variance.

    A batch norm of one image with N * num_groups channels, and one that only scales and shifts.
    Like `torch.nn.functional.group_norm`.

    Raises:
        ValueError: the groups do not divide the channels, or a parameter of another size.
    """
    X, G = as_array(x), at_least("group_norm", "num_groups", num_groups, 1)
    same_device("group_norm", x=x, weight=weight, bias=bias)
    if X.ndim < 2 or X.shape[1] % G:
        raise ValueError(f"group_norm: x has shape {X.shape}, expected (N, C, ...) with C "
                         f"divisible by num_groups={G}")
    N, C, places = X.shape[0], X.shape[1], math.prod(X.shape[2:])
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None and as_array(value).shape != (C,):
            raise ValueError(f"group_norm: {name} has shape {as_array(value).shape}, "
                             f"expected ({C},) for x {X.shape}")
    groups = reshape(x, 1, N * G, C // G * places)
    ones, none = module_of(X).ones(N * G, X.dtype), zeros(N * G, like=X)
    y = reshape(BatchNorm(statistics(groups._data), float(eps))(groups, ones, none), *X.shape)
    if weight is None and bias is None:
        return y
    weight = module_of(X).ones(C, X.dtype) if weight is None else weight
    unit = module_of(X).stack([zeros(C, like=X), module_of(X).ones(C, X.dtype)])
    return BatchNorm(unit, 0.0, True)(y, weight, zeros(C, like=X) if bias is None else bias)


# --- the kernels ----------------------------------------------------------------------------------
@Kernel
def layer_norm_kernel(x, weight, bias, eps, y):
    """Every row of x (R, D), normalised, times weight (D,), plus bias (D,)."""
    for r, row in enumerate(x):
        m, v = row.mean(), row.var()
        y[r] = (row - m) / np.sqrt(v + eps) * weight + bias


@layer_norm_kernel.variant("cpu_loops", parallel=True)       # a core owns one row
def _(x, weight, bias, eps, y):
    R, D = x.shape
    for r in prange(R):
        m, v = 0.0, 0.0
        for d in range(D):
            m += x[r, d] / D
        for d in range(D):
            v += (x[r, d] - m) ** 2 / D
        for d in range(D):
            y[r, d] = (x[r, d] - m) / math.sqrt(v + eps) * weight[d] + bias[d]


layer_norm_kernel.python("cpu", layer_norm_fast.layer_norm_kernel)


MOMENTS = """
__device__ real moments(const real *row, int D, real eps, real *mean) {
    double m = 0, v = 0;
    for (int d = 0; d < D; ++d) m += row[d];
    m /= D;
    for (int d = 0; d < D; ++d) v += (row[d] - m) * (row[d] - m);
    *mean = m;
    return 1 / sqrt(v / D + eps);
}
"""


@layer_norm_kernel.gpu                                       # a thread owns one y[r, d]
def _(x, weight, bias, eps, y):
    per_element(y, """
        int d = i % D;
        real m, scale = moments(x + i - d, D, eps, &m);
        out = (x[i] - m) * scale * weight[d] + bias[d];
        """, MOMENTS, x=x, weight=weight, bias=bias, eps=float(eps), D=x.shape[1])


@Kernel
def layer_norm_backward(g, x, weight, eps, out):
    """out (R + 2, D): the rows of dx, then sum g x^ and sum g over the rows."""
    out[-2:] = 0
    for r, row in enumerate(x):
        deviation = np.sqrt(row.var() + eps)
        normal, u = (row - row.mean()) / deviation, g[r] * weight
        out[r] = (u - u.mean() - normal * (u * normal).mean()) / deviation
        out[-2] += g[r] * normal
        out[-1] += g[r]


@layer_norm_backward.variant("cpu_loops")                    # all rows add to the last two
def _(g, x, weight, eps, out):
    R, D = x.shape
    out[R:] = 0
    for r in range(R):
        m, v, level, slope = 0.0, 0.0, 0.0, 0.0
        for d in range(D):
            m += x[r, d] / D
        for d in range(D):
            v += (x[r, d] - m) ** 2 / D
        for d in range(D):
            level += g[r, d] * weight[d] / D
            slope += g[r, d] * weight[d] * (x[r, d] - m) / math.sqrt(v + eps) / D
        for d in range(D):
            normal = (x[r, d] - m) / math.sqrt(v + eps)
            out[r, d] = (g[r, d] * weight[d] - level - normal * slope) / math.sqrt(v + eps)
            out[R, d] += g[r, d] * normal
            out[R + 1, d] += g[r, d]


layer_norm_backward.python("cpu", layer_norm_fast.layer_norm_backward)


@layer_norm_backward.gpu                                     # a thread owns one out[r, d]
def _(g, x, weight, eps, out):
    R, D = x.shape
    per_element(out, """
        int r = i / D, d = i % D;
        real m;
        if (r >= R) {
            double total = 0;
            for (int k = 0; k < R; ++k) {
                real scale = r > R ? 1 : moments(x + k * D, D, eps, &m);
                total += r > R ? g[k * D + d] : g[k * D + d] * ((x[k * D + d] - m) * scale);
            }
            out = total;
        } else {
            real scale = moments(x + r * D, D, eps, &m);
            double total = 0, weighted = 0;
            for (int k = 0; k < D; ++k) {
                real u = g[r * D + k] * weight[k];
                total += u;
                weighted += u * ((x[r * D + k] - m) * scale);
            }
            out = (g[i] * weight[d] - total / D - (x[i] - m) * scale * (weighted / D)) * scale;
        }
        """, MOMENTS, g=g, x=x, weight=weight, eps=float(eps), R=R, D=D)
