"""Losses of point sets and meshes: chamfer distance, normals, edges.

    chamfer(x, y) = mean_n min_m |x_n - y_m|^2 + mean_m min_n |x_n - y_m|^2

Who is whose nearest is chosen first, on arrays; what remains are squared differences. Lecture: L7;
Fan et al. 2017; Gkioxari et al. 2019 (Mesh R-CNN, section 3.3). The function of a mesh's vertices
becomes one of its surface where points are sampled on it.
"""
from __future__ import annotations

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import contiguous, module_of
from tinyvision.engine import Tensor, as_array
from tinyvision.kernel import Kernel, prange
from tinyvision.ops.arithmetic import sqrt
from tinyvision.ops.check import same_device
from tinyvision.ops.select import Abs
from tinyvision.ops.shape import mean, reshape, sum, take


def nearest_points(x, y):
    """For every point of x the number of the nearest of y; the first of equals.

    Args:
        x: (N, D), or (B, N, D) for B sets.
        y: (M, D), or (B, M, D), M at least 1.

    Returns:
        An array int64 (N,) or (B, N).

    Raises:
        ValueError: shapes that do not fit, no points in y.
    """
    return _nearest("nearest_points", x, y)


def chamfer_distance(x, y, point_reduction="mean") -> Tensor:
    """How far the points of each set are from the nearest of the other, squared; both ways.

    Args:
        x: (N, D), or (B, N, D) for B sets.
        y: (M, D), or (B, M, D). Gradients reach both.
        point_reduction: "mean" over the points of a set (Mesh R-CNN), or "sum" (Fan et al.).

    Returns:
        A scalar, the mean over the B sets. Like pytorch3d's loss of this name.

    Raises:
        ValueError: shapes that do not fit, no points, an unknown reduction.
    """
    name = "chamfer_distance"
    if point_reduction not in ("mean", "sum"):
        raise ValueError(f'{name}: point_reduction is {point_reduction!r}, expected "mean" or '
                         '"sum"')
    total = 0.0
    for a, b in ((x, y), (y, x)):
        d = _as_sets(a) - _chosen(b, _nearest(name, a, b))
        squares = sum(d * d, 2)
        total = total + (mean(squares) if point_reduction == "mean" else mean(sum(squares, 1)))
    return total


def normal_loss(x, x_normals, y, y_normals) -> Tensor:
    """1 - |cos| of the angle between every point's normal and that of the nearest; both ways.

    Args:
        x, x_normals: (N, 3) or (B, N, 3): the points and their normals, of any length.
        y, y_normals: (M, 3) or (B, M, 3).

    Returns:
        A scalar, the mean over points and sets, from 0 (all parallel) to 2. Gradients reach the
        normals; who is nearest is a choice.

    Raises:
        ValueError: shapes that do not fit, no points.
    """
    name = "normal_loss"
    for argument, points, normals in (("x_normals", x, x_normals), ("y_normals", y, y_normals)):
        if as_array(points).shape != as_array(normals).shape:
            raise ValueError(f"{name}: {argument} has shape {as_array(normals).shape}, expected "
                             f"that of its points, {as_array(points).shape}")
    total = 0.0
    for a, normals, b, others in ((x, x_normals, y, y_normals), (y, y_normals, x, x_normals)):
        u, v = _as_sets(normals), _chosen(others, _nearest(name, a, b))
        lengths = sqrt(sum(u * u, 2) * sum(v * v, 2) + 1e-20)
        total = total + mean(1.0 - Abs()(sum(u * v, 2) / lengths))
    return total


def edge_loss(vertices, edges, target_length=0.0) -> Tensor:
    """The mean of (|v - v'| - target_length)^2 over the edges: keeps a mesh even.

    Args:
        vertices: (V, D).
        edges: (E, 2), whole numbers from 0 to V - 1.
        target_length: what an edge should measure.

    Returns:
        A scalar; 0 where there are no edges.

    Raises:
        ValueError: other shapes, a vertex that is not there.
    """
    ends, V = as_array(edges), as_array(vertices).shape
    if len(V) != 2 or ends.ndim != 2 or ends.shape[1] != 2 or ends.dtype.kind not in "iu":
        raise ValueError(f"edge_loss: got vertices {V} and edges {ends.shape} of {ends.dtype}, "
                         "expected (V, D) and whole numbers (E, 2)")
    if ends.size and not 0 <= int(ends.min()) <= int(ends.max()) < V[0]:
        raise ValueError(f"edge_loss: edges hold {int(ends.min())} to {int(ends.max())}, expected "
                         f"0 to {V[0] - 1}")
    d = take(vertices, (ends[:, 0],)) - take(vertices, (ends[:, 1],))
    squares = sum(d * d, 1)
    if target_length:
        off = sqrt(squares) - float(target_length)
        squares = off * off
    return sum(squares) / max(len(ends), 1)


def _as_sets(x):
    """(N, D) as (1, N, D)."""
    x = x if isinstance(x, Tensor) else Tensor(x)
    return x if x.ndim == 3 else reshape(x, 1, *x.shape)


def _chosen(y, places):
    """y's points at `places`, (B, N, D)."""
    places = places if places.ndim == 2 else places[None]
    sets = module_of(places).arange(len(places))[:, None]
    return take(_as_sets(y), (sets, places))


def _nearest(name, x, y):
    same_device(name, x=x, y=y)
    a, b = contiguous(as_array(x), as_array(y))
    fit = a.ndim == b.ndim and a.ndim in (2, 3) and a.shape[-1] == b.shape[-1]
    if not fit or a.ndim == 3 and len(a) != len(b) or not b.shape[-2] or not a.shape[-2]:
        raise ValueError(f"{name}: got points of shapes {a.shape} and {b.shape}, expected (N, D) "
                         "and (M, D), or (B, N, D) and (B, M, D), with N and M of at least 1")
    out = module_of(a).empty(a.shape[:-1], np.int64)
    A, B, places = (t if a.ndim == 3 else t[None] for t in (a, b, out))
    nearest_kernel(A, B, places)
    return out


# --- the kernel -----------------------------------------------------------------------------------
@Kernel
def nearest_kernel(x, y, out):
    """out[b, n] = the first m with the least |x[b, n] - y[b, m]|^2."""
    for b, n in np.ndindex(out.shape):
        out[b, n] = np.square(y[b] - x[b, n]).sum(1).argmin()


@nearest_kernel.cpu(parallel=True)                           # a core owns some points
def _(x, y, out):
    (B, N, D), M = x.shape, y.shape[1]
    for k in prange(B * N):
        b, n = np.int64(k) // N, np.int64(k) % N
        least, place = x.dtype.type(np.inf), 0
        for m in range(M):
            far = x.dtype.type(0)
            for d in range(D):
                far += (x[b, n, d] - y[b, m, d]) * (x[b, n, d] - y[b, m, d])
            if far < least:
                least, place = far, m
        out[b, n] = place


@nearest_kernel.gpu                                          # a thread owns one point
def _(x, y, out):
    (B, N, D), M = x.shape, y.shape[1]
    per_element(out, """
        const real *point = x + i * D, *others = y + i / N * M * D;
        real least = 0;
        for (int m = 0; m < M; ++m) {
            real far = 0;
            for (int d = 0; d < D; ++d) {
                real t = point[d] - others[m * D + d];
                far += t * t;
            }
            if (m == 0 || far < least) { least = far; out = m; }
        }
        """, x=x, y=y, N=N, M=M, D=D)
