"""Weighted sums of chosen rows: what every kind of sampling is, once the places are chosen.

    y[n,l] = sum over k of  weights[n,l,k] x[n, places[n,l,k]]           blend
    x[n,p] = sum of the weights[n,l,k] y[n,l] with places[n,l,k] = p     its adjoint in x
    weights[n,l,k] = <x[n, places[n,l,k]], y[n,l]>                       its adjoint in the weights

One trilinear form seen from three sides, as convolution is: each gradient is the two others. A
place of -1 is nowhere and counts 0, whatever its weight. Sizes: x (N, P, C), P rows of C features
side by side; places and weights (N, L, K); y (N, L, C). Grid sampling (K = 4 corners of a pixel)
and deformable attention (4 corners of every point that a query looks at) are made of it.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import contiguous, empty, module_of
from tinyvision.engine import Op
from tinyvision.kernel import Kernel, prange
from tinyvision.ops import blend_fast


@dataclass(frozen=True, eq=False, repr=False)
class Blend(Op):
    """y[n,l] = sum over k of weights[n,l,k] x[n, places[n,l,k]]; bilinear."""
    places: object                       # (N, L, K) int32, -1 for nowhere
    needs = "x", "weights"
    bilinear = True

    def forward(self, x, weights):
        x, weights = contiguous(x, weights)
        y = empty((*weights.shape[:2], x.shape[2]), like=x)
        blend_kernel(x, self.places, weights, y)
        return y

    def backward(self, g, y, x, weights):
        return (x.requires_grad and BlendAdjoint(self.places, x.shape[1])(g, weights),
                weights.requires_grad and BlendWeights(self.places)(x, g))

    def __repr__(self):
        return f"{type(self).__name__}({self.places.shape} places)"


@dataclass(frozen=True, eq=False, repr=False)
class BlendAdjoint(Blend):
    """x[n,p] = sum of weights[n,l,k] y[n,l] over the places that are p."""
    size: int                            # P
    needs = "y", "weights"

    def forward(self, y, weights):
        y, weights = contiguous(y, weights)
        x = empty((len(y), self.size, y.shape[2]), like=y)
        blend_adjoint_kernel(y, self.places, weights, x)
        return x

    def backward(self, g, x, y, weights):
        return (y.requires_grad and Blend(self.places)(g, weights),
                weights.requires_grad and BlendWeights(self.places)(g, y))


@dataclass(frozen=True, eq=False, repr=False)
class BlendWeights(Blend):
    """weights[n,l,k] = <x[n, places[n,l,k]], y[n,l]>."""
    needs = "x", "y"

    def forward(self, x, y):
        x, y = contiguous(x, y)
        weights = empty(self.places.shape, like=x)
        blend_weights_kernel(x, y, self.places, weights)
        return weights

    def backward(self, g, weights, x, y):
        return (x.requires_grad and BlendAdjoint(self.places, x.shape[1])(y, g),
                y.requires_grad and Blend(self.places)(x, g))


# --- the kernels ----------------------------------------------------------------------------------
@Kernel
def blend_kernel(x, places, weights, y):
    """The sum of weighted rows."""
    y[...] = 0
    for n, l, k in np.ndindex(places.shape):
        if places[n, l, k] >= 0:
            y[n, l] += weights[n, l, k] * x[n, places[n, l, k]]


@blend_kernel.variant("cpu_loops", parallel=True)            # a core owns one image
def _(x, places, weights, y):
    N, L, K = places.shape
    for n in prange(N):
        for l in range(L):
            y[n, l] = 0
            for k in range(K):
                if places[n, l, k] >= 0:
                    for c in range(y.shape[2]):
                        y[n, l, c] += weights[n, l, k] * x[n, places[n, l, k], c]


@Kernel
def blend_adjoint_kernel(y, places, weights, x):
    """Every y is added, weighted, to the rows that it was read from."""
    x[...] = 0
    for n, l, k in np.ndindex(places.shape):
        if places[n, l, k] >= 0:
            x[n, places[n, l, k]] += weights[n, l, k] * y[n, l]


@blend_adjoint_kernel.variant("cpu_loops", parallel=True)
def _(y, places, weights, x):
    N, L, K = places.shape
    for n in prange(N):
        x[n] = 0
        for l in range(L):
            for k in range(K):
                if places[n, l, k] >= 0:
                    for c in range(y.shape[2]):
                        x[n, places[n, l, k], c] += weights[n, l, k] * y[n, l, c]


@Kernel
def blend_weights_kernel(x, y, places, weights):
    """How alike each chosen row and its y are: their inner product."""
    weights[...] = 0
    for n, l, k in np.ndindex(places.shape):
        if places[n, l, k] >= 0:
            weights[n, l, k] = (x[n, places[n, l, k]] * y[n, l]).sum()


@blend_weights_kernel.variant("cpu_loops", parallel=True)
def _(x, y, places, weights):
    N, L, K = places.shape
    for n in prange(N):
        for l in range(L):
            for k in range(K):
                weights[n, l, k] = 0
                if places[n, l, k] >= 0:
                    for c in range(y.shape[2]):
                        weights[n, l, k] += x[n, places[n, l, k], c] * y[n, l, c]


blend_kernel.python("cpu", blend_fast.blend)
blend_adjoint_kernel.python("cpu", blend_fast.blend_adjoint)
blend_weights_kernel.python("cpu", blend_fast.blend_weights)


@blend_kernel.gpu                                            # a thread owns one y[n, l, c]
def _(x, places, weights, y):
    (_, P, C), (_, L, K) = x.shape, places.shape
    per_element(y, """
        int c = i % C, first = i / C * K, n = i / C / L;
        for (int k = first; k < first + K; ++k)
            if (places[k] >= 0) out += weights[k] * x[(n * P + places[k]) * C + c];""",
                x=x, places=places, weights=weights, P=P, C=C, L=L, K=K)


@blend_adjoint_kernel.gpu                  # a thread owns one x[n, p, c]: it asks who read row p
def _(y, places, weights, x):
    (_, P, C), (_, L, K) = x.shape, places.shape
    readers, starts = who_reads(places, P)
    per_element(x, """
        int c = i % C, p = i / C;
        for (int r = starts[p]; r < starts[p + 1]; ++r)
            out += weights[readers[r]] * y[readers[r] / K * C + c];""",
                y=y, weights=weights, readers=readers, starts=starts, C=C, K=K)


@blend_weights_kernel.gpu                                    # a thread owns one weights[n, l, k]
def _(x, y, places, weights):
    (_, P, C), (_, L, K) = x.shape, places.shape
    per_element(weights, """
        const real *row = x + (i / K / L * P + places[i]) * C, *other = y + i / K * C;
        for (int c = 0; places[i] >= 0 && c < C; ++c) out += row[c] * other[c];""",
                x=x, y=y, places=places, P=P, C=C, L=L, K=K)


def who_reads(places, size):
    """(readers, starts): row p of all N `size` rows is read by readers[starts[p]:starts[p + 1]].

    Readers are flat indices of `places`, in order, so that sums come out the same every time.
    """
    xp = module_of(places)
    rows = places + xp.arange(len(places), dtype=np.int64).reshape(-1, 1, 1) * size
    rows = xp.where(places < 0, -1, rows).reshape(-1)
    readers = xp.argsort(rows, kind="stable")
    starts = xp.searchsorted(rows[readers], xp.arange(len(places) * size + 1))
    return readers.astype(np.int32), starts.astype(np.int32)
