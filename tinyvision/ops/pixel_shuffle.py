"""Channels to pixels and back: reshape, swap axes, reshape.

    y[n, c, h r + i, v r + j] = x[n, c r^2 + i r + j, h, v]

Shi et al. 2016 (sub-pixel convolution).
"""
from __future__ import annotations

from tinyvision.engine import Tensor
from tinyvision.ops.check import at_least, rank
from tinyvision.ops.shape import permute, reshape


def pixel_shuffle(input, upscale_factor) -> Tensor:
    """(N, C r^2, H, W) -> (N, C, H r, W r), r being upscale_factor.

    Raises:
        ValueError: another number of axes, channels that r^2 does not divide.
    """
    (N, C, H, W), = rank("pixel_shuffle", input=(input, 4))
    r = at_least("pixel_shuffle", "upscale_factor", upscale_factor, 1)
    if C % (r * r):
        raise ValueError(f"pixel_shuffle: input has {C} channels, expected a multiple of "
                         f"upscale_factor^2 = {r * r}")
    C //= r * r
    parts = permute(reshape(input, N, C, r, r, H, W), 0, 1, 4, 2, 5, 3)
    return reshape(parts, N, C, H * r, W * r)


def pixel_unshuffle(input, downscale_factor) -> Tensor:
    """(N, C, H r, W r) -> (N, C r^2, H, W): the way back.

    Raises:
        ValueError: another number of axes, sides that r does not divide.
    """
    (N, C, H, W), = rank("pixel_unshuffle", input=(input, 4))
    r = at_least("pixel_unshuffle", "downscale_factor", downscale_factor, 1)
    if H % r or W % r:
        raise ValueError(f"pixel_unshuffle: input has {H} x {W} pixels, expected multiples of "
                         f"downscale_factor = {r}")
    H, W = H // r, W // r
    parts = permute(reshape(input, N, C, H, r, W, r), 0, 1, 3, 5, 2, 4)
    return reshape(parts, N, C * r * r, H, W)
