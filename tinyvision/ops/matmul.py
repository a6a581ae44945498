"""matmul: a @ b for matrices and batches of them, and linear layers.

    y[m, n] = sum over k of  a[m, k] b[k, n]

Bilinear: <a @ b, y> = <a, y @ b^T> = <b, a^T @ y>. Large float32 products are ours (see
`matmul_fast`), the others NumPy's, which calls BLAS.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import contiguous, module_of
from tinyvision.engine import Op, Tensor, as_array, binary
from tinyvision.kernel import Kernel, jit, prange, rehearsed
from tinyvision.ops.check import same_device
from tinyvision.ops.matmul_fast import product, suits
from tinyvision.ops.shape import reshape, sum, sum_to, transpose


@dataclass(frozen=True)
class MatMul(Op):
    """a (..., N, K) @ b (..., K, M); leading axes are broadcast."""
    needs = "a", "b"
    bilinear = True

    def forward(self, a, b):
        batch, other = a.shape[:-2], b.shape[:-2]
        batch = batch if batch == other else np.broadcast_shapes(batch, other)
        dtype = a.dtype if a.dtype == b.dtype else np.result_type(a, b)
        y = module_of(a).empty((*batch, a.shape[-2], b.shape[-1]), dtype)
        if not rehearsed("matmul", a, b):
            matmul_kernel(a, b, None, y)
        return y

    def backward(self, g, y, a, b):
        return (a.requires_grad and sum_to(_matmul(g, transpose(b)), a.shape),
                b.requires_grad and sum_to(_matmul(transpose(a), g), b.shape))


@dataclass(frozen=True)
class Linear(Op):
    """x (N, K) @ weight (M, K)^T, plus bias (M,) if there is one."""
    needs = "x", "weight"
    bilinear = True

    def forward(self, x, weight, bias=None):
        y = module_of(x).empty((len(x), len(weight)), x.dtype)
        if not rehearsed("linear", x, weight):
            matmul_kernel(x, weight.T, bias, y)
        return y

    def backward(self, g, y, x, weight, *bias):
        return (x.requires_grad and _matmul(g, weight),
                weight.requires_grad and _matmul(transpose(g), x),
                *(b.requires_grad and sum(g, 0) for b in bias))


_linear, _matmul = Linear(), binary(MatMul(), MatMul())


def matmul(a, b) -> Tensor:
    """The matrix product; vectors are rows on the left, columns on the right, as in NumPy.

    Args:
        a: (..., N, K) or (K,).
        b: (..., K, M) or (K,).

    Raises:
        ValueError: a scalar, or inner sizes that differ.
    """
    x, y = as_array(a), as_array(b)
    if type(x) is not np.ndarray or type(y) is not np.ndarray:
        same_device("matmul", a=a, b=b)
    A, B = x.shape, y.shape
    if not A or not B:
        raise ValueError(f"matmul: shapes {A} and {B}, expected at least one axis each")
    if A[-1] != B[-2 if len(B) > 1 else 0]:
        raise ValueError(f"matmul: inner sizes differ: {A} @ {B}")
    if len(A) > 2 == len(B):                                 # one tall matrix: b is packed once
        return reshape(_matmul(reshape(a, math.prod(A[:-1]), A[-1]), b), *A[:-1], B[-1])
    if len(A) > 1 < len(B):
        return _matmul(a, b)
    a2 = reshape(a, 1, *A) if len(A) == 1 else a
    b2 = reshape(b, *B, 1) if len(B) == 1 else b
    y = _matmul(a2, b2)
    shape = y.shape[:-2] + (() if len(A) == 1 else y.shape[-2:-1])
    return reshape(y, *shape, *(() if len(B) == 1 else y.shape[-1:]))


def linear(x, weight, bias=None) -> Tensor:
    """x (..., K) times weight (M, K) transposed, plus bias (M,): (..., M). Like torch's."""
    inputs = (x, weight) if bias is None else (x, weight, bias)
    arrays = [as_array(a) for a in inputs]
    X, W = arrays[0].shape, arrays[1].shape
    if len(W) != 2 or X[-1:] != W[1:]:
        raise ValueError(f"linear: weight has shape {W} and x {X}, expected (M, K) and (..., K)")
    if any(type(a) is not np.ndarray for a in arrays):
        same_device("linear", x=x, weight=weight, bias=bias)
    if arrays[2:] and arrays[2].shape != W[:1]:
        raise ValueError(f"linear: bias has shape {arrays[2].shape}, expected {W[:1]}")
    if len(X) != 2:                                          # one tall matrix
        return reshape(linear(reshape(x, math.prod(X[:-1]), X[-1]), weight, bias), *X[:-1], W[0])
    if arrays[0].dtype == arrays[1].dtype == arrays[-1].dtype:
        return _linear(*inputs)
    y = _linear(x, weight)
    return y if bias is None else y + bias


# --- the kernel -----------------------------------------------------------------------------------
@Kernel
def matmul_kernel(a, b, bias, y):
    """y = a @ b + bias: a (..., M, K), b (..., K, N) in any layout; bias (N,) or None."""
    a, b = _matrices(a, b, y)
    for z in np.ndindex(y.shape[:-2]):
        for m, n in np.ndindex(y.shape[-2:]):
            y[z][m, n] = 0 if bias is None else bias[n]
            for k in range(a.shape[-1]):
                y[z][m, n] += a[z][m, k] * b[z][k, n]


def _matrices(a, b, y):
    """a and b, one matrix for each of y."""
    xp, batch = module_of(y), y.shape[:-2]
    return (xp.broadcast_to(a, batch + a.shape[-2:]), xp.broadcast_to(b, batch + b.shape[-2:]))


@jit(parallel=True, fastmath=True)                           # a core owns one row
def product_loops(a, b, y):
    """y = a @ b for matrices. The last loop runs along rows of b and y: neighbours in memory."""
    for m in prange(y.shape[0]):
        y[m] = 0
        for k in range(b.shape[0]):
            for n in range(b.shape[1]):
                y[m, n] += a[m, k] * b[k, n]


def _loops(a, b, bias, y):
    a, b = _matrices(a, b, y)
    for z in np.ndindex(y.shape[:-2]):
        product_loops(*contiguous(a[z], b[z]), y[z])
    if bias is not None:
        y += bias


def _library(a, b, bias, y):
    """BLAS, which NumPy and CuPy call."""
    module_of(y).matmul(a, b, out=y)
    if bias is not None:
        y += bias


def _fast(a, b, bias, y):
    (product if suits(a, b) else _library)(a, b, bias, y)


matmul_kernel.python("cpu_loops", _loops)
matmul_kernel.python("cpu_gemm", _library)
matmul_kernel.python("cpu", _fast)
matmul_kernel.python("gpu", _library)


def _naive(a, b, bias, y):                                   # a thread owns one y[z, m, n]
    (M, N), K = y.shape[-2:], a.shape[-1]
    a, b = contiguous(*_matrices(a, b, y))
    per_element(y, """
        const real *row = a + i / N * K, *column = b + i / (M * N) * K * N + i % N;
        for (int k = 0; k < K; ++k) out += row[k] * column[k * N];
        """, a=a, b=b, M=M, N=N, K=K)
    if bias is not None:
        y += bias


matmul_kernel.python("gpu_naive", _naive)
