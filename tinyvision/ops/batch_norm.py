"""batch_norm: every channel moved to mean 0 and variance 1 over the batch, then scaled and shifted.

    y = (x - m) / sqrt(v + eps) * weight + bias,   m, v over (N, H, W)

The graph keeps x, and m and v of every channel. With x^ = (x - m) / sqrt(v + eps),

    dweight = sum g x^,    dbias = sum g,
    dx = weight / sqrt(v + eps) * (g - dbias / M - x^ dweight / M),    M = N H W.

All three come out of one kernel: a channel of g and x is still in the cache when its sums are
known. So they are one array: dx, and behind it dweight and dbias. With fixed m and v (the running
ones) dx is weight / sqrt(v + eps) * g alone. Sizes: x (N, C, L), L = H W; the compiled kernels are
in `batch_norm_fast`. Ioffe & Szegedy 2015, section 3.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import contiguous, empty, module_of, zeros
from tinyvision.engine import Op, Tensor, as_array
from tinyvision.kernel import Kernel, jit, prange, rehearsed
from tinyvision.ops import batch_norm_fast
from tinyvision.ops.arithmetic import sqrt
from tinyvision.ops.check import same_device
from tinyvision.ops.composed import composed_backward, pieces
from tinyvision.ops.shape import cat, mean, reshape, sum


@dataclass(frozen=True, eq=False)
class BatchNorm(Op):
    """Normalisation of x (N, C, ...) by `moments` (2, C), means and variances; weight, bias (C,).

    The moments are x's own, worked out before (the running ones need them too), or fixed.
    """
    moments: object
    eps: float
    fixed: bool = False
    needs = "x", "weight"

    def forward(self, x, weight, bias):
        x, weight, bias, (m, v) = *contiguous(x, weight, bias), self.moments
        y, scale = empty(x.shape, x), weight / module_of(v).sqrt(v + v.dtype.type(self.eps))
        x, m, scale, bias = contiguous(x, m, scale, bias)
        normalise(as_planes(x), m, scale, bias, as_planes(y))
        return y

    def backward(self, g, y, x, weight, bias):
        every = BatchNormBackward(self.moments, self.eps, self.fixed)(g, x, weight)
        return pieces(every, x, weight, bias)

    def __repr__(self):
        return f"BatchNorm(eps={self.eps}{', fixed' * self.fixed})"


@dataclass(frozen=True, eq=False, repr=False)
class BatchNormBackward(Op):
    """dx, dweight and dbias, in one row."""
    moments: object
    eps: float
    fixed: bool
    needs = "g", "x", "weight"

    def forward(self, g, x, weight):
        g, x, weight, moments = contiguous(g, x, weight, self.moments)
        out = empty((x.size + 2 * len(weight),), x)
        batch_norm_backward(as_planes(g), as_planes(x), weight, moments, self.eps, self.fixed, out)
        return out

    def backward(self, h, out, g, x, weight):
        return composed_backward(self.composed, h, g, x, weight)

    def composed(self, g, x, weight):
        """The same in plain operations."""
        axes, column = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)
        if self.fixed:
            m, v = (Tensor(a.reshape(column)) for a in self.moments)
        else:
            m = mean(x, axes, keepdim=True)
            v = mean((x - m) * (x - m), axes, keepdim=True)
        deviation = sqrt(v + self.eps)
        normal = (x - m) / deviation
        gx, gweight = g, sum(g * normal, axes)
        if not self.fixed:
            gx = g - mean(g, axes, keepdim=True) - normal * mean(g * normal, axes, keepdim=True)
        gx = reshape(weight, *column) / deviation * gx
        return cat([reshape(gx, x.size), gweight, sum(g, axes)])


def batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1,
               eps=1e-5) -> Tensor:
    """Normalise every channel, by the batch (training) or by the running statistics.

    Args:
        x: (N, C) or (N, C, H, W).
        running_mean, running_var: (C,) arrays or Tensors, updated in place when training; None to
            use the batch's statistics always.
        weight, bias: (C,), 1 and 0 if None.
        momentum: the new batch's share in the running statistics.
        eps: added to the variance.

    Like `torch.nn.functional.batch_norm`: the running variance is the unbiased one.

    Raises:
        ValueError: fewer than two values a channel when training, or a parameter of another size.
    """
    X = as_array(x)
    same_device("batch_norm", x=x, weight=weight, bias=bias, running_mean=running_mean,
                running_var=running_var)
    if X.ndim < 2 or eps < 0 or (running_mean is None) != (running_var is None):
        raise ValueError(f"batch_norm: got x of shape {X.shape}, eps={eps}, running_mean "
                         f"{'None' if running_mean is None else 'given'} and running_var "
                         f"{'None' if running_var is None else 'given'}; expected (N, C, ...), "
                         "eps of at least 0, and both statistics or neither")
    C = X.shape[1]
    weight = module_of(X).ones(C, X.dtype) if weight is None else weight
    bias = zeros(C, like=X) if bias is None else bias
    for name, value in (("weight", weight), ("bias", bias), ("running_mean", running_mean),
                        ("running_var", running_var)):
        if value is not None and as_array(value).shape != (C,):
            raise ValueError(f"batch_norm: {name} has shape {as_array(value).shape}, "
                             f"expected ({C},) for x {X.shape}")
    if not training and running_mean is not None:
        moments = module_of(X).stack([as_array(running_mean), as_array(running_var)])
        return BatchNorm(moments, float(eps), True)(x, weight, bias)
    if training and X.size // max(C, 1) < 2:
        raise ValueError(f"batch_norm: training needs at least 2 values a channel, x is {X.shape}")
    moments = statistics(X)
    if training and running_mean is not None and not rehearsed("running statistics"):
        _update(X, moments, as_array(running_mean), as_array(running_var), momentum)
    return BatchNorm(moments, float(eps))(x, weight, bias)


def _update(x, moments, running_mean, running_var, momentum):
    m, v = moments
    count = x.size // x.shape[1]
    running_mean += momentum * (m - running_mean)
    running_var += momentum * (v * (count / (count - 1)) - running_var)


def statistics(x):
    """(2, C): mean and (biased) variance of every channel of the array x (N, C, ...)."""
    x, = contiguous(x)
    out = empty((2, x.shape[1]), x)
    channel_moments(as_planes(x), out)
    return out


def as_planes(x):
    """x (N, C, ...) as (N, C, L)."""
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))


# --- the kernels ----------------------------------------------------------------------------------
@Kernel
def channel_moments(x, out):
    """out (2, C): the mean and the (biased) variance of every channel of x (N, C, L)."""
    for c in range(x.shape[1]):
        out[0, c] = x[:, c].mean()
        out[1, c] = np.square(x[:, c] - out[0, c]).mean()


@channel_moments.variant("cpu_loops", parallel=True)         # a core owns one channel
def _(x, out):
    N, C, L = x.shape
    for c in prange(C):
        m, v = 0.0, 0.0
        for n in range(N):
            for k in range(L):
                m += x[n, c, k] / (N * L)
        for n in range(N):
            for k in range(L):
                v += (x[n, c, k] - m) ** 2 / (N * L)
        out[0, c], out[1, c] = m, v


channel_moments.python("cpu", batch_norm_fast.channel_moments)


@channel_moments.gpu                                         # a thread owns out[which, c]
def _(x, out):
    N, C, L = x.shape
    per_element(out, """
        int c = i % C;
        double m = 0, v = 0;
        for (int n = 0; n < N; ++n)
            for (int k = 0; k < L; ++k) m += x[(n * C + c) * L + k];
        m /= N * L;
        for (int n = 0; n < N && i >= C; ++n)
            for (int k = 0; k < L; ++k) {
                double d = x[(n * C + c) * L + k] - m;
                v += d * d;
            }
        out = i < C ? m : v / (N * L);
        """, x=x, N=N, C=C, L=L)


@Kernel
def normalise(x, means, scale, bias, y):
    """y = (x - means[c]) * scale[c] + bias[c]."""
    for c in range(x.shape[1]):
        y[:, c] = (x[:, c] - means[c]) * scale[c] + bias[c]


@normalise.variant("cpu_loops", parallel=True)
def _(x, means, scale, bias, y):
    N, C, L = x.shape
    for c in prange(C):
        for n in range(N):
            for k in range(L):
                y[n, c, k] = (x[n, c, k] - means[c]) * scale[c] + bias[c]


normalise.python("cpu", batch_norm_fast.normalise)


@normalise.gpu
def _(x, means, scale, bias, y):
    per_element(y, "int c = i / L % C; out = (x[i] - means[c]) * scale[c] + bias[c];",
                x=x, means=means, scale=scale, bias=bias, C=x.shape[1], L=x.shape[2])


@Kernel
def channel_sums(g, x, moments, eps, out):
    """out (2, C): the sums of g and of g x^ over every channel of x (N, C, L)."""
    for c, (m, v) in enumerate(moments.T):
        out[0, c] = g[:, c].sum()
        out[1, c] = (g[:, c] * (x[:, c] - m)).sum() / np.sqrt(v + eps)


@channel_sums.variant("cpu_loops", parallel=True)
def _(g, x, moments, eps, out):
    N, C, L = x.shape
    for c in prange(C):
        total, weighted = 0.0, 0.0
        for n in range(N):
            for k in range(L):
                total += g[n, c, k]
                weighted += g[n, c, k] * (x[n, c, k] - moments[0, c])
        out[0, c], out[1, c] = total, weighted / math.sqrt(moments[1, c] + eps)


channel_sums.python("cpu", batch_norm_fast.channel_sums)


@channel_sums.gpu                                            # a thread owns out[which, c]
def _(g, x, moments, eps, out):
    N, C, L = x.shape
    per_element(out, """
        int c = i % C;
        double total = 0;
        real m = moments[c], r = 1 / sqrt(moments[C + c] + eps);
        for (int n = 0; n < N; ++n)
            for (int k = (n * C + c) * L; k < (n * C + c + 1) * L; ++k)
                total += i < C ? g[k] : g[k] * ((x[k] - m) * r);
        out = total;
        """, g=g, x=x, moments=moments, eps=float(eps), N=N, C=C, L=L)


@Kernel
def batch_norm_backward(g, x, weight, moments, eps, fixed, out):
    """out: dx = weight / sqrt(v + eps) * (g - dbias / M - x^ dweight / M), dweight, dbias.

    With `fixed` moments the two means in dx are left out.
    """
    dx, sums, M = _parts(x, out, g, moments, eps)
    for c, (m, v) in enumerate(moments.T):
        r = 1 / np.sqrt(v + eps)
        dx[:, c] = weight[c] * r * g[:, c]
        if not fixed:
            dx[:, c] -= weight[c] * r * (sums[0, c] / M + (x[:, c] - m) * r * (sums[1, c] / M))


def _parts(x, out, g, moments, eps):
    """The sums, written to the end of `out`; (dx, which is its beginning, the sums, M)."""
    sums, C = empty(moments.shape, x), x.shape[1]
    channel_sums(g, x, moments, eps, sums)
    out[x.size:x.size + C], out[x.size + C:] = sums[1], sums[0]
    return out[:x.size].reshape(x.shape), sums, x.shape[0] * x.shape[2]


@jit(parallel=True)
def dx_loops(g, x, weight, moments, sums, eps, fixed, dx):
    """dx, the sums being known."""
    N, C, L = x.shape
    for c in prange(C):
        m, r, M = moments[0, c], 1 / math.sqrt(moments[1, c] + eps), N * L
        for n in range(N):
            for k in range(L):
                mean = sums[0, c] / M + (x[n, c, k] - m) * r * sums[1, c] / M
                dx[n, c, k] = weight[c] * r * (g[n, c, k] - (0 if fixed else mean))


def _loops(g, x, weight, moments, eps, fixed, out):
    dx, sums, _ = _parts(x, out, g, moments, eps)
    dx_loops(g, x, weight, moments, sums, eps, fixed, dx)


batch_norm_backward.python("cpu_loops", _loops)


batch_norm_backward.python("cpu", batch_norm_fast.batch_norm_backward)


@batch_norm_backward.gpu                                     # a thread owns one dx[n, c, l]
def _(g, x, weight, moments, eps, fixed, out):
    dx, sums, M = _parts(x, out, g, moments, eps)
    per_element(dx, """
        int c = i / L % C;
        real r = 1 / sqrt(moments[C + c] + eps), normal = (x[i] - moments[c]) * r;
        out = weight[c] * r * (fixed ? g[i] : g[i] - sums[c] / M - normal * (sums[C + c] / M));
        """, g=g, x=x, weight=weight, moments=moments, sums=sums, eps=float(eps), fixed=int(fixed),
                C=x.shape[1], L=x.shape[2], M=float(M))
