"""Multi-scale deformable attention: every query looks at a few points of every level.

Attention over all S pixels of all levels costs S^2. Here a query q has, for each of M heads, a
handful of points p on each level l, and a weight A for each (softmax over the L P points):

    y[q,m] = sum over l, p of  A[q,m,l,p] value_l[m] at the point (x, y)[q,m,l,p]

"At" is bilinear, with zeros outside, so gradients flow into the points. Deformable DETR, Eq. 3:
the queries say where to look, by linear layers (see `nn.MultiScaleDeformableAttention`).

All levels lie behind each other in one row of S pixels, so this is one `Blend` with 4 L P places a
query and head: each corner counts its bilinear weight times A. Lectures: K15; Zhu et al. 2021.
"""
from __future__ import annotations

import numpy as np

from tinyvision.device import module_of
from tinyvision.engine import Tensor, as_array
from tinyvision.ops.blend import Blend
from tinyvision.ops.check import at_least, same_device
from tinyvision.ops.grid_sample import PixelCoordinate, corner_places, corner_weights
from tinyvision.ops.shape import cat, permute, reshape


def multi_scale_deformable_attention(value, spatial_shapes, sampling_locations,
                                     attention_weights) -> Tensor:
    """The weighted sum of the values at every query's points.

    Args:
        value: (N, S, M, D), the pixels of all levels, one level behind the other; M heads.
        spatial_shapes: the L levels' (H, W); their pixels are S together.
        sampling_locations: (N, Q, M, L, P, 2), points (x, y): 0 is the left (upper) edge of a
            level, 1 the right (lower) one. Outside everything is 0.
        attention_weights: (N, Q, M, L, P).

    Returns:
        (N, Q, M D). Like `multi_scale_deformable_attn` of Deformable DETR and mmcv.

    Raises:
        ValueError: shapes that do not fit.
        DeviceError: tensors on two devices.
    """
    levels = _levels(spatial_shapes, value, sampling_locations, attention_weights)
    N, S, M, D = as_array(value).shape
    _, Q, _, L, P = as_array(attention_weights).shape
    points = permute(sampling_locations, 0, 2, 1, 3, 4, 5) * 2.0 - 1.0       # (N, M, Q, L, P, 2)
    places, corners = zip(*(_level(points[:, :, :, l], *level) for l, level in enumerate(levels)))
    counted = permute(attention_weights, 0, 2, 1, 3, 4)                      # (N, M, Q, L, P)
    weights = (reshape(cat(corners, 3), N, M, Q, L, P, 4) *
               reshape(counted, N, M, Q, L, P, 1))
    xp = module_of(places[0])
    chosen = xp.ascontiguousarray(xp.concatenate(places, 3).reshape(N * M, Q, L * P * 4))
    rows = reshape(permute(value, 0, 2, 1, 3), N * M, S, D)
    y = Blend(chosen)(rows, reshape(weights, N * M, Q, L * P * 4))
    return reshape(permute(reshape(y, N, M, Q, D), 0, 2, 1, 3), N, Q, M * D)


def _level(points, start, H, W):
    """(places (N, M, Q, P, 4) among all levels' pixels, their bilinear weights)."""
    u, v = (PixelCoordinate(size, "zeros", False)(points[..., k]) for k, size in ((0, W), (1, H)))
    places = corner_places(v._data, u._data, H, W)
    return module_of(places).where(places < 0, -1, places + np.int32(start)), corner_weights(v, u)


def _levels(spatial_shapes, value, locations, weights):
    """[(the first pixel, H, W)] of every level, all shapes checked."""
    name = "multi_scale_deformable_attention"
    same_device(name, value=value, sampling_locations=locations, attention_weights=weights)
    V, X, A = (as_array(a).shape for a in (value, locations, weights))
    if len(V) != 4 or len(A) != 5 or X != (*A, 2) or (V[0], V[2]) != (A[0], A[2]):
        raise ValueError(f"{name}: value is {V}, sampling_locations {X} and attention_weights {A}, "
                         "expected (N, S, M, D), (N, Q, M, L, P, 2) and (N, Q, M, L, P)")
    sizes = [tuple(at_least(name, "spatial_shapes", n, 1) for n in pair)
             for pair in (np.asarray(spatial_shapes).tolist() if len(spatial_shapes) else ())]
    starts = np.cumsum([0, *(H * W for H, W in sizes)]).tolist()
    if len(sizes) != A[3] or starts[-1] != V[1]:
        raise ValueError(f"{name}: spatial_shapes is {sizes}, {starts[-1]} pixels, expected "
                         f"{A[3]} levels (H, W) of together S = {V[1]} pixels")
    return [(start, *size) for start, size in zip(starts, sizes)]
