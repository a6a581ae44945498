"""The convolutions as matrix products: unfold the windows into columns, and let BLAS multiply.

With columns[(c, i, j), (a, b)] = x[c, a S + i D - P, b S + j D - P] for one image,

    conv2d            y = w columns              w as (O, C I J)
    conv_transpose2d  x = fold(w^T y)            fold adds every column back where it came from
    weight gradient   w = sum over images of y columns^T

It takes a scratch matrix of C I J A B numbers (one image's), and is many times faster than loops.
Each image, and each group of channels, is one product.
"""
from __future__ import annotations

import numpy as np

from tinyvision.kernel import jit, prange


def conv2d(x, w, bias, S, T, P, Q, D, E, G, y):
    """The rung `cpu_gemm` of conv2d_kernel."""
    (N, O, A, B), (C, I, J) = y.shape, w.shape[1:]
    columns, F = np.empty((C * I * J, A * B), x.dtype), O // G
    for n in range(N):
        for g in range(G):
            unfold(x[n, g * C:g * C + C], I, J, S, T, P, Q, D, E, A, B, columns)
            np.matmul(w[g * F:g * F + F].reshape(F, -1), columns,
                      out=y[n, g * F:g * F + F].reshape(F, A * B))
    if bias.any():
        y += bias.reshape(-1, 1, 1)


def conv_transpose2d(y, w, bias, S, T, P, Q, D, E, G, x):
    """The rung `cpu_gemm` of conv_transpose2d_kernel."""
    (N, O, A, B), (C, I, J) = y.shape, w.shape[1:]
    columns, F = np.empty((C * I * J, A * B), y.dtype), O // G
    x[...] = bias.reshape(-1, 1, 1)
    for n in range(N):
        for g in range(G):
            np.matmul(w[g * F:g * F + F].reshape(F, -1).T,
                      y[n, g * F:g * F + F].reshape(F, A * B), out=columns)
            fold(columns, I, J, S, T, P, Q, D, E, A, B, x[n, g * C:g * C + C])


def conv2d_weight(x, y, S, T, P, Q, D, E, G, w):
    """The rung `cpu_gemm` of conv2d_weight_kernel."""
    (N, O, A, B), (C, I, J) = y.shape, w.shape[1:]
    columns, F = np.empty((C * I * J, A * B), x.dtype), O // G
    w[...] = 0
    for n in range(N):
        for g in range(G):
            unfold(x[n, g * C:g * C + C], I, J, S, T, P, Q, D, E, A, B, columns)
            rows = y[n, g * F:g * F + F].reshape(F, A * B)
            w[g * F:g * F + F] += (rows @ columns.T).reshape(F, C, I, J)


@jit(parallel=True)
def unfold(x, I, J, S, T, P, Q, D, E, A, B, columns):
    """columns[(c, i, j), (a, b)] = x[c, a S + i D - P, b T + j E - Q], 0 outside."""
    C, H, W = x.shape
    for k in prange(C * I * J):
        c, i, j = np.int64(k) // (I * J), np.int64(k) // J % I, np.int64(k) % J
        shift, row = j * E - Q, columns[k]
        lo = min(B, max(0, -(shift // T)))
        hi = max(lo, min(B, (W - 1 - shift) // T + 1))
        for a in range(A):
            h, out = a * S + i * D - P, row[a * B:a * B + B]
            if h < 0 or h >= H:
                out[:] = 0
                continue
            out[:lo] = 0
            out[hi:] = 0
            line = x[c, h]
            if T == 1:                                       # its own loop: contiguous, so SIMD
                for b in range(lo, hi):
                    out[b] = line[b + shift]
            else:
                for b in range(lo, hi):
                    out[b] = line[b * T + shift]


@jit(parallel=True)
def fold(columns, I, J, S, T, P, Q, D, E, A, B, x):
    """x[c, a S + i D - P, b T + j E - Q] += columns[(c, i, j), (a, b)]; a core owns one c."""
    C, H, W = x.shape
    for c in prange(C):
        for i in range(I):
            for j in range(J):
                shift, row = j * E - Q, columns[(c * I + i) * J + j]
                lo = min(B, max(0, -(shift // T)))
                hi = max(lo, min(B, (W - 1 - shift) // T + 1))
                for a in range(A):
                    h = a * S + i * D - P
                    if 0 <= h < H:
                        line, values = x[c, h], row[a * B:a * B + B]
                        if T == 1:
                            for b in range(lo, hi):
                                line[b + shift] += values[b]
                        else:
                            for b in range(lo, hi):
                                line[b * T + shift] += values[b]
