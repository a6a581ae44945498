"""Dropout: some of the activations are set to 0, the others scaled so that the mean stays.

    y = x keep / (1 - p),   keep = 1 with probability 1 - p, else 0

What is kept is drawn first, from the one generator that `tv.manual_seed` restarts, and on the CPU
whatever the device: the same seed drops the same numbers everywhere. What remains is linear, and
its own adjoint. Srivastava et al. 2014; Tompson et al. 2015 (channels); Huang et al. 2016 (depth).
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision.device import device_of, generator, module_of, to_device
from tinyvision.engine import Op, Tensor, as_array


@dataclass(frozen=True, eq=False, repr=False)
class Keep(Op):
    """scale a where `kept` is 1, 0 where it is 0; `kept` is broadcast."""
    kept: object                       # bool
    scale: float

    def forward(self, a):
        y = module_of(a).multiply(a, self.kept, dtype=a.dtype)
        y *= self.scale
        return y

    def backward(self, g, y, a):
        return self(g),

    def __repr__(self):
        return f"Keep(kept{self.kept.shape}, scale={self.scale:.4g})"


def dropout(input, p=0.5, training=True) -> Tensor:
    """Every element is 0 with probability p, and scaled by 1 / (1 - p) otherwise.

    Args:
        input: any shape, floating.
        p: from 0 to 1. With 1 everything is 0.
        training: without it the input comes back as it is.

    Like `torch.nn.functional.dropout`. Draws are taken from `tv.manual_seed`'s generator.

    Raises:
        ValueError: p is no probability.
        TypeError: an input that is not floating.
    """
    return _dropped("dropout", input, p, training, as_array(input).shape)


def dropout2d(input, p=0.5, training=True) -> Tensor:
    """Every channel (n, c) of input (N, C, H, W) is 0 as a whole with probability p.

    Neighbouring pixels say nearly the same; dropping single ones would hide nothing.
    """
    shape = as_array(input).shape
    if len(shape) < 3:
        raise ValueError(f"dropout2d: input has shape {shape}, expected (N, C, H, W)")
    return _dropped("dropout2d", input, p, training, shape[:2] + (1,) * (len(shape) - 2))


def stochastic_depth(input, p, mode, training=True) -> Tensor:
    """The output of a residual branch, 0 as a whole with probability p ("drop path").

    Args:
        input: (N, ...).
        p: from 0 to 1.
        mode: "row" draws for every image of the batch, "batch" once for all.
        training: without it the input comes back as it is.

    Like `torchvision.ops.stochastic_depth`.

    Raises:
        ValueError: p is no probability, an unknown mode.
    """
    shape = as_array(input).shape
    if mode not in ("row", "batch"):
        raise ValueError(f'stochastic_depth: mode is {mode!r}, expected "row" or "batch"')
    rows = shape[:1] if mode == "row" else (1,)
    return _dropped("stochastic_depth", input, p, training, rows + (1,) * (len(shape) - 1))


def _dropped(name, x, p, training, shape):
    """x, with one draw for each element of `shape`."""
    array = as_array(x)
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p is {p}, expected a probability from 0 to 1")
    if array.dtype.kind != "f":
        raise TypeError(f"{name}: input is {array.dtype}, expected a floating dtype")
    if not training or p == 0:
        return x if isinstance(x, Tensor) else Tensor(x)
    kept = generator().random(shape, np.float32) >= np.float32(p)
    return Keep(to_device(kept, device_of(array)), 1 / (1 - p) if p < 1 else 0.0)(x)
