"""conv2d, its transpose, and its weight gradient: one trilinear form, read in three ways.

    <conv2d(x, w), y> = <x, conv_transpose2d(y, w)> = <w, conv2d_weight(x, y)>
      = sum over n, o, a, b, c, i, j of  y[n,o,a,b] w[o,c,i,j] x[n, c, a S + i D - P, b S + j D - P]

so each one's gradients are the other two, and derivatives of every order exist. (What deep
learning calls convolution is the cross-correlation: the kernel is not flipped.)

Sizes: x (N, C, H, W), w (O, C / G, I, J), y (N, O, A, B), with
A = floor((H + 2 P - D (I - 1) - 1) / S) + 1. Lectures: K2, K3; Dumoulin & Visin 2016.
"""
from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import DeviceError, contiguous, empty, zeros
from tinyvision.engine import Op, Tensor, as_array
from tinyvision.fast_math import get_fast_math
from tinyvision.kernel import Kernel, prange
from tinyvision.ops import conv2d_fast, conv2d_gemm, conv2d_weight_fast, conv2d_winograd
from tinyvision.ops.check import at_least, called, pair, rank, same_device, shape_of_rank
from tinyvision.ops.shape import reshape, sum
from tinyvision.simd import tiles


@dataclass(frozen=True)
class Conv2d(Op):
    """y[n,o,a,b] = bias[o] + sum w[o,c,i,j] x[n, c, a S + i D - P, b S + j D - P]."""
    stride: tuple = (1, 1)
    padding: tuple = (0, 0)
    dilation: tuple = (1, 1)
    groups: int = 1
    needs = "x", "w"
    bilinear = True

    def size(self, H, W, I, J):
        """(A, B), the size of the result."""
        (S, T), (P, Q), (D, E) = self.stride, self.padding, self.dilation
        return (H + 2 * P - D * (I - 1) - 1) // S + 1, (W + 2 * Q - E * (J - 1) - 1) // T + 1

    def forward(self, x, w, bias=None):
        x, w = contiguous(x, w)
        bias = _bias(bias, len(w), x)
        y = empty((len(x), len(w), *self.size(*x.shape[2:], *w.shape[2:])), like=x)
        conv2d_kernel(x, w, bias, *self.stride, *self.padding, *self.dilation, self.groups, y)
        return y

    def backward(self, g, y, x, w, bias=None):
        gradients = (x.requires_grad and self.transpose(x.shape[2:])(g, w),
                     w.requires_grad and self.weight(w.shape)(x, g))
        return gradients if bias is None else (*gradients, bias.requires_grad and sum(g, (0, 2, 3)))

    def transpose(self, size):
        """The transposed convolution onto images of `size` (H, W)."""
        return ConvTranspose2d(self, tuple(size))

    def weight(self, shape):
        """The weight gradient, of `shape`."""
        return Conv2dWeight(self, tuple(shape))


@dataclass(frozen=True)
class ConvTranspose2d(Op):
    """x[n,c,h,v] = bias[c] + sum w[o,c,i,j] y[n,o,a,b] over a S + i D - P = h, b S + j D - P = v.

    Every y[n,o,a,b] stamps one copy of w[o] onto x, S apart; where stamps overlap they add up.
    """
    conv: Conv2d
    image: tuple
    needs = "y", "w"
    bilinear = True

    def forward(self, y, w, bias=None):
        conv, channels = self.conv, w.shape[1] * self.conv.groups
        y, w = contiguous(y, w)
        bias = _bias(bias, channels, y)
        x = empty((len(y), channels, *self.image), like=y)
        conv_transpose2d_kernel(y, w, bias, *conv.stride, *conv.padding, *conv.dilation,
                                conv.groups, x)
        return x

    def backward(self, g, x, y, w, bias=None):
        A, B = y.shape[2:]            # output_padding beyond the stride: conv sees more positions
        gradients = (y.requires_grad and self.conv(g, w)[:, :, :A, :B],
                     w.requires_grad and self.conv.weight(w.shape)(g, y))
        return gradients if bias is None else (*gradients, bias.requires_grad and sum(g, (0, 2, 3)))


@dataclass(frozen=True)
class Conv2dWeight(Op):
    """w[o,c,i,j] = sum y[n,o,a,b] x[n, c, a S + i D - P, b S + j D - P]."""
    conv: Conv2d
    shape: tuple
    needs = "x", "y"
    bilinear = True

    def forward(self, x, y):
        x, y = contiguous(x, y)
        w, conv = empty(self.shape, like=x), self.conv
        conv2d_weight_kernel(x, y, *conv.stride, *conv.padding, *conv.dilation, conv.groups, w)
        return w

    def backward(self, g, w, x, y):
        return (x.requires_grad and self.conv.transpose(x.shape[2:])(y, g),
                y.requires_grad and self.conv(x, g))


def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
    """Slide `weight` over `x`; every position gives one dot product per filter.

    Args:
        x: images (N, C, H, W).
        weight: filters (O, C / groups, I, J).
        bias: (O,), added to every position.
        stride, padding, dilation: an int, or one for each of (H, W). Padding is with zeros, on
            both sides.
        groups: output channel block g sees input channel block g only; depthwise at groups = C.

    Returns:
        (N, O, A, B). Like `torch.nn.functional.conv2d`. Where an input or a cotangent is infinite,
        products with the padding's zeros may be NaN, and which are depends on the kernel chosen.

    Raises:
        ValueError: shapes that do not fit, or a kernel larger than the padded image.
    """
    W = as_array(weight).shape
    conv = _remembered(_conv2d, as_array(x).shape, W, stride, padding, dilation, groups)
    return _with_bias("conv2d", conv, x, weight, bias, W[0])


@functools.lru_cache(maxsize=4096, typed=True)
def _conv2d(X, W, *options):
    """The op for an image and filters of these shapes, checked."""
    conv = _checked("conv2d", X, W, *options)
    groups = conv.groups
    if X[1] != W[1] * groups:
        raise ValueError(f"conv2d: weight has {W[1]} input channels per group, x has "
                         f"{X[1] / groups:g} (x is {X}, groups={groups})")
    if W[0] % groups:
        raise ValueError(f"conv2d: weight has {W[0]} filters, "
                         f"which groups={groups} does not divide")
    if min(conv.size(*X[2:], *W[2:])) < 1:
        raise ValueError(f"conv2d: the kernel {W[2:]} with dilation {conv.dilation} is larger than "
                         f"the padded image (x is {X}, padding {conv.padding})")
    return conv


def conv_transpose2d(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1,
                     dilation=1) -> Tensor:
    """Stamp `weight` onto the result once for every element of `x`, `stride` apart, and add up.

    It multiplies by the transpose of the matrix that conv2d multiplies by (see `conv_matrix`), so
    it is conv2d's gradient with respect to the image; it does not undo it.

    Args:
        x: (N, C, A, B).
        weight: (C, O / groups, I, J).
        bias: (O,).
        stride, padding, dilation: those of the convolution that it transposes: padding crops.
        output_padding: rows and columns added at the lower right. A convolution with stride s maps
            s sizes to one; this says which of them is meant. Less than stride or dilation.
        groups: as in conv2d.

    Returns:
        (N, O, H, W), H = (A - 1) stride - 2 padding + dilation (I - 1) + 1 + output_padding.
        Like `torch.nn.functional.conv_transpose2d`.

    Raises:
        ValueError: shapes that do not fit, an output_padding too large, an empty result.
    """
    W = as_array(weight).shape
    op = _remembered(_conv_transpose2d, as_array(x).shape, W, output_padding, stride, padding,
                     dilation, groups)
    return _with_bias("conv_transpose2d", op, x, weight, bias, W[1] * groups)


@functools.lru_cache(maxsize=4096, typed=True)
def _conv_transpose2d(X, W, output_padding, *options):
    """The op for an image and filters of these shapes, checked."""
    name = "conv_transpose2d"
    conv, extra = _checked(name, X, W, *options), pair(name, "output_padding", output_padding, 0)
    groups = conv.groups
    if X[1] != W[0]:
        raise ValueError(f"{name}: weight has {W[0]} input channels, x has {X[1]} (x is {X})")
    if W[0] % groups:
        raise ValueError(f"{name}: x has {X[1]} channels, which groups={groups} does not divide")
    if any(e >= max(s, d) for e, s, d in zip(extra, conv.stride, conv.dilation)):
        raise ValueError(f"{name}: output_padding {extra} must be smaller than stride {conv.stride}"
                         f" or dilation {conv.dilation}")
    size = tuple((a - 1) * s - 2 * p + d * (k - 1) + 1 + e for a, s, p, d, k, e in
                 zip(X[2:], conv.stride, conv.padding, conv.dilation, W[2:], extra))
    if min(size) < 1:
        raise ValueError(f"{name}: padding {conv.padding} leaves an image of size {size} "
                         f"(x is {X}, weight {W})")
    return conv.transpose(size)


def _remembered(checks, *sizes):
    """checks(*sizes), once: they take as long as a small convolution."""
    try:
        return checks(*sizes)
    except TypeError:                     # a list cannot be remembered; what is wrong says so again
        return checks.__wrapped__(*sizes)


def _checked(name, X, W, stride, padding, dilation, groups):
    shape_of_rank(name, "x", X, 4)
    shape_of_rank(name, "weight", W, 4)
    at_least(name, "weight's smallest size", min(W), 1)
    at_least(name, "groups", groups, 1)
    return Conv2d(pair(name, "stride", stride, 1), pair(name, "padding", padding, 0),
                  pair(name, "dilation", dilation, 1), groups)


def _with_bias(name, op, x, weight, bias, channels):
    if bias is not None and as_array(bias).shape != (channels,):
        raise ValueError(f"{name}: bias has shape {as_array(bias).shape}, expected ({channels},)")
    try:
        return op(x, weight) if bias is None else op(x, weight, bias)
    except DeviceError:
        same_device(name, x=x, weight=weight, bias=bias)     # says which is where
        raise


def _bias(bias, channels, like):
    """What every channel begins with, in the dtype of `like`."""
    if bias is None:
        return _no_bias(channels, like.dtype) if type(like) is np.ndarray else zeros(channels, like)
    return contiguous(bias.astype(like.dtype))[0]


@functools.lru_cache(256)
def _no_bias(channels, dtype):
    return np.zeros(channels, dtype)


def conv1d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
    """conv2d on signals: x (N, C, W), weight (O, C / groups, J) -> (N, O, B)."""
    X, W = rank("conv1d", x=(x, 3), weight=(weight, 3))
    with called("conv1d"):
        y = conv2d(reshape(x, *X[:2], 1, X[2]), reshape(weight, *W[:2], 1, W[2]), bias,
                   (1, stride), (0, padding), (1, dilation), groups)
    return reshape(y, *y.shape[:2], y.shape[3])


def conv_transpose1d(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1,
                     dilation=1) -> Tensor:
    """conv_transpose2d on signals: x (N, C, B), weight (C, O / groups, J) -> (N, O, W)."""
    X, W = rank("conv_transpose1d", x=(x, 3), weight=(weight, 3))
    with called("conv_transpose1d"):
        y = conv_transpose2d(reshape(x, *X[:2], 1, X[2]), reshape(weight, *W[:2], 1, W[2]), bias,
                             (1, stride), (0, padding), (0, output_padding), groups, (1, dilation))
    return reshape(y, *y.shape[:2], y.shape[3])


def conv_matrix(weight, input_size, stride=1, padding=0, dilation=1):
    """The matrix X with conv(a) = X a, acting on the padded input: one row an output element.

    Args:
        weight: (J,) for signals or (I, J) for images; any dtype, objects (symbols) included.
        input_size: the length W, or (H, W), before padding.
        stride, padding, dilation: an int, or one an axis.

    Returns:
        An array (outputs, padded inputs), both counted row by row. Its transpose is the matrix of
        the transposed convolution onto the padded input. Lecture UW, "Convolution as matrix
        multiplication".
    """
    weight = np.asarray(weight._data if isinstance(weight, Tensor) else weight)
    sizes = (input_size,) if isinstance(input_size, int) else tuple(input_size)
    steps, margins, gaps = (
        [at_least("conv_matrix", name, v, least) for v in np.broadcast_to(value, len(sizes))]
        for name, value, least in (("stride", stride, 1), ("padding", padding, 0),
                                   ("dilation", dilation, 1)))
    if weight.ndim != len(sizes):
        raise ValueError(f"conv_matrix: weight has shape {weight.shape}, input_size {input_size}: "
                         "expected one size for every axis of the weight")
    padded = tuple(int(n + 2 * p) for n, p in zip(sizes, margins))
    outputs = tuple(int((n - d * (k - 1) - 1) // s + 1)
                    for n, k, s, d in zip(padded, weight.shape, steps, gaps))
    if min(outputs) < 1:
        raise ValueError(f"conv_matrix: the kernel {weight.shape} with dilation {tuple(gaps)} is "
                         f"larger than the padded input {padded}")
    X = np.zeros((*outputs, *padded), weight.dtype)
    for a in np.ndindex(outputs):
        for i in np.ndindex(weight.shape):
            X[(*a, *(p * s + k * d for p, s, k, d in zip(a, steps, i, gaps)))] = weight[i]
    return X.reshape(int(np.prod(outputs)), int(np.prod(padded)))


def fastest(kernel, on_tiles):
    """The rung to take: tiles for float32, else loops for groups of few channels, or BLAS.

    Winograd's method, where it was asked for (`tv.set_fast_math`) and pays.
    """
    def choose(*args):
        if get_fast_math().winograd and "cpu_winograd" in kernel.variants and (
                conv2d_winograd.pays(*args)):
            kernel.variants["cpu_winograd"](*args)
        elif on_tiles is not None and args[0].dtype.char == "f" and tiles():
            on_tiles(*args)
        else:
            groups, filters = args[-2], args[-1 if kernel is conv2d_weight_kernel else 1]
            rung = "cpu_loops" if groups > 1 and filters.shape[1] < 8 else "cpu_gemm"
            kernel.variants[rung](*args)
    return choose


# --- the kernels ----------------------------------------------------------------------------------
@Kernel
def conv2d_kernel(x, w, bias, S, T, P, Q, D, E, G, y):
    """Stride (S, T), padding (P, Q), dilation (D, E): down and across."""
    (N, O, A, B), (C, I, J), (H, W) = y.shape, w.shape[1:], x.shape[2:]
    y[...] = bias.reshape(-1, 1, 1)
    for n, o, a, b in np.ndindex(N, O, A, B):
        first = o // (O // G) * C                            # this group's first input channel
        for c, i, j in np.ndindex(C, I, J):
            h, v = a * S + i * D - P, b * T + j * E - Q
            if 0 <= h < H and 0 <= v < W:
                y[n, o, a, b] += w[o, c, i, j] * x[n, first + c, h, v]


@Kernel
def conv_transpose2d_kernel(y, w, bias, S, T, P, Q, D, E, G, x):
    """Every y[n, o, a, b] stamps one copy of w[o], S apart."""
    (N, O, A, B), (C, I, J), (H, W) = y.shape, w.shape[1:], x.shape[2:]
    x[...] = bias.reshape(-1, 1, 1)
    for n, o, a, b in np.ndindex(N, O, A, B):
        first = o // (O // G) * C
        for c, i, j in np.ndindex(C, I, J):
            h, v = a * S + i * D - P, b * T + j * E - Q
            if 0 <= h < H and 0 <= v < W:
                x[n, first + c, h, v] += w[o, c, i, j] * y[n, o, a, b]


@Kernel
def conv2d_weight_kernel(x, y, S, T, P, Q, D, E, G, w):
    """Every weight meets every position once."""
    (N, O, A, B), (C, I, J), (H, W) = y.shape, w.shape[1:], x.shape[2:]
    w[...] = 0
    for n, o, a, b in np.ndindex(N, O, A, B):
        first = o // (O // G) * C
        for c, i, j in np.ndindex(C, I, J):
            h, v = a * S + i * D - P, b * T + j * E - Q
            if 0 <= h < H and 0 <= v < W:
                w[o, c, i, j] += y[n, o, a, b] * x[n, first + c, h, v]


@conv2d_kernel.variant("cpu_loops", parallel=True, fastmath=True)    # a core owns one y[n, o]
def _(x, w, bias, S, T, P, Q, D, E, G, y):
    (N, O, A, B), (_, C, I, J), (_, _, H, W) = y.shape, w.shape, x.shape
    for k in prange(N * O):
        n, o = np.int64(k) // O, np.int64(k) % O
        y[n, o] = bias[o]
        for c in range(C):
            plane = x[n, o // (O // G) * C + c]
            for i in range(I):
                for j in range(J):
                    scale, shift = w[o, c, i, j], j * E - Q
                    lo = min(B, max(0, -(shift // T)))
                    hi = max(lo, min(B, (W - 1 - shift) // T + 1))
                    for a in range(A):
                        h = a * S + i * D - P
                        if 0 <= h < H:
                            if T == 1:                       # slices begin at 0: SIMD
                                row, out = plane[h, lo + shift:hi + shift], y[n, o, a, lo:hi]
                                for b in range(hi - lo):
                                    out[b] += scale * row[b]
                            else:
                                for b in range(lo, hi):
                                    y[n, o, a, b] += scale * plane[h, b * T + shift]


@conv_transpose2d_kernel.variant("cpu_loops", parallel=True, fastmath=True)    # owns one x[n, c]
def _(y, w, bias, S, T, P, Q, D, E, G, x):
    (N, O, A, B), (_, C, I, J), (_, _, H, W) = y.shape, w.shape, x.shape
    F = O // G
    for k in prange(N * C * G):
        n, c = np.int64(k) // (C * G), np.int64(k) % (C * G)
        x[n, c] = bias[c]
        for o in range(c // C * F, c // C * F + F):
            for i in range(I):
                for j in range(J):
                    scale, shift = w[o, c % C, i, j], j * E - Q
                    lo = min(B, max(0, -(shift // T)))
                    hi = max(lo, min(B, (W - 1 - shift) // T + 1))
                    for a in range(A):
                        h = a * S + i * D - P
                        if 0 <= h < H:
                            if T == 1:
                                row, out = y[n, o, a, lo:hi], x[n, c, h, lo + shift:hi + shift]
                                for b in range(hi - lo):
                                    out[b] += scale * row[b]
                            else:
                                for b in range(lo, hi):
                                    x[n, c, h, b * T + shift] += scale * y[n, o, a, b]


@conv2d_weight_kernel.variant("cpu_loops", parallel=True, fastmath=True)    # owns one w[o, c]
def _(x, y, S, T, P, Q, D, E, G, w):
    (N, O, A, B), (_, C, I, J), (_, _, H, W) = y.shape, w.shape, x.shape
    for k in prange(O * C):
        o, c = np.int64(k) // C, np.int64(k) % C
        w[o, c] = 0
        for n in range(N):
            plane = x[n, o // (O // G) * C + c]
            for i in range(I):
                for j in range(J):
                    shift, total = j * E - Q, w[o, c, i, j]
                    lo = min(B, max(0, -(shift // T)))
                    hi = max(lo, min(B, (W - 1 - shift) // T + 1))
                    for a in range(A):
                        h = a * S + i * D - P
                        if 0 <= h < H:
                            if T == 1:
                                row, out = plane[h, lo + shift:hi + shift], y[n, o, a, lo:hi]
                                for b in range(hi - lo):
                                    total += out[b] * row[b]
                            else:
                                for b in range(lo, hi):
                                    total += y[n, o, a, b] * plane[h, b * T + shift]
                    w[o, c, i, j] = total


for _kernel, _gemm, _fast in (
        (conv2d_kernel, conv2d_gemm.conv2d, conv2d_fast.conv2d),
        (conv_transpose2d_kernel, conv2d_gemm.conv_transpose2d, conv2d_fast.conv_transpose2d),
        (conv2d_weight_kernel, conv2d_gemm.conv2d_weight, conv2d_weight_fast.conv2d_weight)):
    _kernel.python("cpu_gemm", _gemm)
    _kernel.python("cpu", fastest(_kernel, _fast))
for _kernel, _winograd in ((conv2d_kernel, conv2d_winograd.conv2d),
                           (conv_transpose2d_kernel, conv2d_winograd.conv_transpose2d)):
    _usual = _kernel.variants["cpu"]
    _kernel.python("cpu_winograd", conv2d_winograd.where_it_applies(_winograd, _usual))


@conv2d_kernel.gpu                                           # a thread owns one y[n, o, a, b]
def _(x, w, bias, S, T, P, Q, D, E, G, y):
    (_, O, A, B), (_, C, I, J), (_, _, H, W) = y.shape, w.shape, x.shape
    per_element(y, """
        int b = i % B, a = i / B % A, o = i / B / A % O, n = i / B / A / O;
        const real *plane = x + (n * C * G + o / (O / G) * C) * H * W, *filter = w + o * C * I * J;
        out = bias[o];
        for (int c = 0; c < C; ++c, plane += H * W)
            for (int k = 0; k < I; ++k)
                for (int l = 0; l < J; ++l, ++filter) {
                    int h = a * S + k * D - P, v = b * U + l * E - Q;
                    if (0 <= h && h < H && 0 <= v && v < W) out += *filter * plane[h * W + v];
                }""", x=x, w=w, bias=bias, O=O, A=A, B=B, C=C, I=I, J=J, H=H,
                W=W, S=S, U=T, P=P, Q=Q, D=D, E=E, G=G)


@conv_transpose2d_kernel.gpu                                 # a thread owns one pixel: it gathers
def _(y, w, bias, S, T, P, Q, D, E, G, x):
    (_, O, A, B), (_, C, I, J), (_, _, H, W) = y.shape, w.shape, x.shape
    per_element(x, """
        int v = i % W, h = i / W % H, c = i / W / H % (C * G), n = i / W / H / C / G;
        int F = O / G, first = c / C * F;
        out = bias[c];
        for (int k = 0; k < I; ++k)
            for (int l = 0; l < J; ++l) {
                int p = h + P - k * D, q = v + Q - l * E;    // S times the a that reaches it
                if (p < 0 || q < 0 || p % S || q % U || p / S >= A || q / U >= B) continue;
                for (int o = first; o < first + F; ++o)
                    out += y[((n * O + o) * A + p / S) * B + q / U]
                         * w[((o * C + c % C) * I + k) * J + l];
            }""", y=y, w=w, bias=bias, O=O, A=A, B=B, C=C, I=I, J=J, H=H,
                W=W, S=S, U=T, P=P, Q=Q, D=D, E=E, G=G)


@conv2d_weight_kernel.gpu                                    # a thread owns one weight
def _(x, y, S, T, P, Q, D, E, G, w):
    (N, O, A, B), (_, C, I, J), (_, _, H, W) = y.shape, w.shape, x.shape
    per_element(w, """
        int l = i % J, k = i / J % I, c = i / J / I % C, o = i / J / I / C;
        for (int n = 0; n < N; ++n) {
            const real *plane = x + (n * C * G + o / (O / G) * C + c) * H * W;
            const real *cotangent = y + (n * O + o) * A * B;
            for (int a = 0; a < A; ++a) {
                int h = a * S + k * D - P;
                if (h < 0 || h >= H) continue;
                for (int b = 0; b < B; ++b) {
                    int v = b * U + l * E - Q;
                    if (0 <= v && v < W) out += cotangent[a * B + b] * plane[h * W + v];
                }
            }
        }""", x=x, y=y, N=N, O=O, A=A, B=B, C=C, I=I, J=J, H=H, W=W,
                S=S, U=T, P=P, Q=Q, D=D, E=E, G=G)
