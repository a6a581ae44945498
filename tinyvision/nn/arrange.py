"""Layers without parameters that pool to a given size, or move elements to other places."""
from __future__ import annotations

from tinyvision import ops
from tinyvision.nn.module import Module
from tinyvision.ops.check import at_least


class AdaptiveAvgPool2d(Module):
    """The means of output_size windows; 1 is global average pooling."""

    def __init__(self, output_size):
        self.output_size = output_size

    def forward(self, x):
        """(N, C, H, W) -> (N, C, A, B)."""
        return ops.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self):
        """A and B."""
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(AdaptiveAvgPool2d):
    """The largest values of output_size windows; 1 is global max pooling."""

    def __init__(self, output_size, return_indices=False):
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, x):
        """(N, C, H, W) -> (N, C, A, B), or a pair with the indices."""
        return ops.adaptive_max_pool2d(x, self.output_size, self.return_indices)


class Unflatten(Module):
    """One axis taken apart: the opposite of Flatten."""

    def __init__(self, dim, unflattened_size):
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, x):
        """(..., product of sizes, ...) -> (..., *sizes, ...)."""
        shape = tuple(x.shape)
        if not -len(shape) <= self.dim < len(shape):
            raise ValueError(f"Unflatten: dim is {self.dim}, but the input has shape {shape}")
        k = self.dim % len(shape)
        return ops.reshape(x, *shape[:k], *self._sizes(shape[k]), *shape[k + 1:])

    def _sizes(self, length):
        """The sizes, -1 worked out; they must make up `length`."""
        known = 1
        for n in self.unflattened_size:
            known *= n if n != -1 else 1
        free = self.unflattened_size.count(-1)
        if free > 1 or not known or length % known or not free and known != length:
            raise ValueError(f"Unflatten: an axis of {length} cannot be taken apart into "
                             f"{self.unflattened_size}")
        return [length // known if n == -1 else n for n in self.unflattened_size]

    def extra_repr(self):
        """Axis and sizes."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class PixelShuffle(Module):
    """(N, C r^2, H, W) -> (N, C, H r, W r)."""

    def __init__(self, upscale_factor):
        self.upscale_factor = at_least("PixelShuffle", "upscale_factor", upscale_factor, 1)

    def forward(self, x):
        """Channels to pixels."""
        return ops.pixel_shuffle(x, self.upscale_factor)

    def extra_repr(self):
        """r."""
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """(N, C, H r, W r) -> (N, C r^2, H, W)."""

    def __init__(self, downscale_factor):
        self.downscale_factor = at_least("PixelUnshuffle", "downscale_factor", downscale_factor, 1)

    def forward(self, x):
        """Pixels to channels."""
        return ops.pixel_unshuffle(x, self.downscale_factor)

    def extra_repr(self):
        """r."""
        return f"downscale_factor={self.downscale_factor}"
