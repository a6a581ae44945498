"""matmul: a @ b for matrices and batches of them, and linear layers.

Bilinear: <a @ b, y> = <a, y @ b^T> = <b, a^T @ y>. Large float32 products are ours (see
`matmul_fast`), the others NumPy's, which calls BLAS.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

from tinyvision.engine import Op, Tensor, as_array
from tinyvision.ops.check import same_device
from tinyvision.ops.matmul_fast import product, suits
from tinyvision.ops.shape import reshape, sum_to, transpose


@dataclass(frozen=True)
class MatMul(Op):
    """a (..., N, K) @ b (..., K, M); leading axes are broadcast."""
    needs = "a", "b"
    bilinear = True

    def forward(self, a, b):
        return product(a, b) if suits(a, b) else a @ b

    def backward(self, g, y, a, b):
        return (a.requires_grad and sum_to(self(g, transpose(b)), a.shape),
                b.requires_grad and sum_to(self(transpose(a), g), b.shape))


def matmul(a, b) -> Tensor:
    """The matrix product; vectors are rows on the left, columns on the right, as in NumPy.

    Args:
        a: (..., N, K) or (K,).
        b: (..., K, M) or (K,).

    Raises:
        ValueError: a scalar, or inner sizes that differ.
    """
    same_device("matmul", a=a, b=b)
    A, B = as_array(a).shape, as_array(b).shape
    if not A or not B:
        raise ValueError(f"matmul: shapes {A} and {B}, expected at least one axis each")
    if A[-1] != B[-2 if len(B) > 1 else 0]:
        raise ValueError(f"matmul: inner sizes differ: {A} @ {B}")
    if len(A) > 2 and len(B) == 2:                           # one tall matrix: b is packed once
        return reshape(MatMul()(reshape(a, math.prod(A[:-1]), A[-1]), b), *A[:-1], B[-1])
    a2 = reshape(a, 1, *A) if len(A) == 1 else a
    b2 = reshape(b, *B, 1) if len(B) == 1 else b
    y = MatMul()(a2, b2)
    if len(A) > 1 and len(B) > 1:
        return y
    shape = y.shape[:-2] + (() if len(A) == 1 else y.shape[-2:-1])
    return reshape(y, *shape, *(() if len(B) == 1 else y.shape[-1:]))


def linear(x, weight, bias=None) -> Tensor:
    """x (..., K) times weight (M, K) transposed, plus bias (M,): (..., M). Like torch's."""
    X, W = as_array(x).shape, as_array(weight).shape
    if len(W) != 2 or X[-1:] != W[1:]:
        raise ValueError(f"linear: weight has shape {W} and x {X}, expected (M, K) and (..., K)")
    same_device("linear", x=x, weight=weight, bias=bias)
    if bias is not None and as_array(bias).shape != W[:1]:
        raise ValueError(f"linear: bias has shape {as_array(bias).shape}, expected {W[:1]}")
    y = matmul(x, transpose(weight))
    return y if bias is None else y + bias
