"""Deformable attention as a layer: linear layers say where a query looks, and what counts."""
from __future__ import annotations

import math

import numpy as np

from tinyvision import ops
from tinyvision.device import module_of
from tinyvision.engine import Tensor, as_array
from tinyvision.nn import init
from tinyvision.nn.layers import Linear
from tinyvision.nn.module import Module
from tinyvision.ops.check import at_least


class MultiScaleDeformableAttention(Module):
    """Queries say where to look, on every level, and what counts. Zhu et al. 2021, Eq. 3.

    The state's names are Deformable DETR's: sampling_offsets, attention_weights, value_proj,
    output_proj. At first each head looks in a direction of its own, its points 1, 2, ... pixels
    away, all with the same weight.

    Args:
        embed_dim: E; a multiple of num_heads.
        num_levels, num_heads, num_points: L, M and P of Eq. 3.
    """

    def __init__(self, embed_dim=256, num_levels=4, num_heads=8, num_points=4):
        name, E = "MultiScaleDeformableAttention", embed_dim
        for argument, value in (("embed_dim", E), ("num_levels", num_levels),
                                ("num_heads", num_heads), ("num_points", num_points)):
            setattr(self, argument, at_least(name, argument, value, 1))
        if E % num_heads:
            raise ValueError(f"{name}: num_heads={num_heads} does not divide embed_dim={E}")
        looked = num_heads * num_levels * num_points
        self.sampling_offsets = Linear(E, 2 * looked)
        self.attention_weights = Linear(E, looked)
        self.value_proj, self.output_proj = Linear(E, E), Linear(E, E)
        self._begin()

    def _begin(self):
        """Initial values: see the class."""
        for layer in (self.sampling_offsets, self.attention_weights):
            init.zeros_(layer.weight)
            init.zeros_(layer.bias)
        for layer in (self.value_proj, self.output_proj):
            init.xavier_uniform_(layer.weight)
            init.zeros_(layer.bias)
        if not init.is_placeholder(self.sampling_offsets.bias):
            self.sampling_offsets.bias.data = self._star()

    def _star(self):
        """(M L P 2,): rays around the clock, the largest coordinate of each 1, times 1, 2, ..."""
        angle = np.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        ray = np.stack([np.cos(angle), np.sin(angle)], -1)
        ray = (ray / abs(ray).max(-1, keepdims=True))[:, None, None]
        away = np.arange(1, self.num_points + 1)[:, None]
        return np.tile(ray * away, (1, self.num_levels, 1, 1)).reshape(-1).astype(np.float32)

    def forward(self, query, reference_points, input_flatten, input_spatial_shapes,
                input_padding_mask=None):
        """Let every query look around its reference points.

        Args:
            query: (N, Q, E).
            reference_points: (N, Q, L, 2), (x, y) from 0 to 1; or (N, Q, L, 4), centre and size of
                a box: then the offsets count in halves of the size, divided by P.
            input_flatten: (N, S, E), the pixels of all levels, one level behind the other.
            input_spatial_shapes: the L levels' (H, W).
            input_padding_mask: (N, S), True where a pixel is only padding.

        Returns:
            (N, Q, E).

        Raises:
            ValueError: shapes that do not fit.
        """
        query, value = (a if isinstance(a, Tensor) else Tensor(a) for a in (query, input_flatten))
        (N, Q, _), M, L, P = query.shape, self.num_heads, self.num_levels, self.num_points
        value = self.value_proj(value)
        if input_padding_mask is not None:
            kept = ~as_array(input_padding_mask)[..., None]
            value = value * Tensor(kept.astype(value.dtype))
        value = value.reshape(N, -1, M, self.embed_dim // M)
        weights = ops.softmax(self.attention_weights(query).reshape(N, Q, M, L * P), -1)
        places = self._places(self.sampling_offsets(query).reshape(N, Q, M, L, P, 2),
                              reference_points, input_spatial_shapes)
        y = ops.multi_scale_deformable_attention(value, input_spatial_shapes, places,
                                                 weights.reshape(N, Q, M, L, P))
        return self.output_proj(y)

    def _places(self, offsets, points, spatial_shapes):
        """Where to look, (N, Q, M, L, P, 2): offsets from the reference points."""
        N, Q, M, L, P, _ = offsets.shape
        points = points if isinstance(points, Tensor) else Tensor(points)
        if points.shape not in ((N, Q, L, 2), (N, Q, L, 4)):
            raise ValueError("MultiScaleDeformableAttention: reference_points has shape "
                             f"{points.shape}, expected {(N, Q, L, 2)} or {(N, Q, L, 4)}")
        centre = points[..., :2].reshape(N, Q, 1, L, 1, 2)
        if points.shape[-1] == 4:
            return centre + offsets * points[..., 2:].reshape(N, Q, 1, L, 1, 2) * (0.5 / P)
        sizes = np.asarray(spatial_shapes)[:, ::-1].reshape(L, 1, 2)
        xp = module_of(offsets.data)
        return centre + offsets * Tensor(xp.asarray(1 / sizes, offsets.dtype))
