"""Initial values. Names and formulas are those of `torch.nn.init`; all work in place.

The numbers come from the one generator that `tv.manual_seed` restarts. Inside `skip_init()` modules
are built without any: their parameters have shapes, but no memory.
"""
from __future__ import annotations

import contextlib
import math
import threading

import numpy as np

from tinyvision.device import generator, to_device
from tinyvision.engine import Tensor
from tinyvision.nn.module import Parameter

_local = threading.local()


@contextlib.contextmanager
def skip_init():
    """Modules built inside the block have parameters of the right shapes that take no memory.

    For networks that are only counted (`nn.summary`), or whose weights are loaded at once
    (`load_state_dict` gives them memory). Their numbers read as 0 and cannot be written to.
    """
    before, _local.skipping = getattr(_local, "skipping", False), True
    try:
        yield
    finally:
        _local.skipping = before


def parameter(shape, fill) -> Tensor:
    """A float32 parameter with the numbers of `fill(shape)`; with none inside `skip_init`."""
    shape = tuple(shape)
    if getattr(_local, "skipping", False):
        return Parameter(np.broadcast_to(np.float32(0), shape))
    return Parameter(np.asarray(fill(shape), np.float32))


def is_placeholder(tensor) -> bool:
    """Whether it was made inside `skip_init` and has not been loaded since."""
    return tensor.size > 1 and not any(getattr(tensor.data, "strides", (1,)))


# --- in place -------------------------------------------------------------------------------------
def _fill(tensor, draw):
    if not is_placeholder(tensor):
        tensor.data = to_device(np.asarray(draw(tensor.shape), tensor.dtype), tensor.device)
    return tensor


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Uniform in [a, b)."""
    return _fill(tensor, lambda shape: generator().uniform(a, b, shape))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Normal."""
    return _fill(tensor, lambda shape: generator().normal(mean, std, shape))


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0,
                  b: float = 2.0) -> Tensor:
    """Normal, drawn again where it falls outside [a, b]."""
    def draw(shape):
        x = generator().normal(mean, std, shape)
        while (outside := (x < a) | (x > b)).any():
            x[outside] = generator().normal(mean, std, outside.sum())
        return x
    if not a < b or b < mean - 4 * std or a > mean + 4 * std:
        raise ValueError(f"trunc_normal_: [{a}, {b}] is empty, or 4 standard deviations ({std}) "
                         f"away from the mean {mean}")
    return _fill(tensor, draw)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """All the same."""
    return _fill(tensor, lambda shape: np.full(shape, val))


def ones_(tensor: Tensor) -> Tensor:
    """All 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """All 0."""
    return constant_(tensor, 0.0)


def fans(shape) -> tuple[int, int]:
    """(inputs of an output, outputs of an input) of a weight (out, in, *window)."""
    if len(shape) < 2:
        raise ValueError(f"fan in and fan out need a weight of at least two axes, got {shape}")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By what the nonlinearity shrinks a standard deviation; `param`: leaky_relu's slope (0.01)."""
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in GAINS:
        raise ValueError(f"calculate_gain: unknown nonlinearity {nonlinearity!r}, expected one of "
                         f"{', '.join(sorted([*GAINS, 'leaky_relu']))}")
    return GAINS[nonlinearity]


def _kaiming(tensor, a, mode, nonlinearity):
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'kaiming: mode is {mode!r}, expected "fan_in" or "fan_out"')
    fan = fans(tensor.shape)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def kaiming_normal_(tensor: Tensor, a: float = 0, mode: str = "fan_in",
                    nonlinearity: str = "leaky_relu") -> Tensor:
    """Normal with std gain / sqrt(fan): the variance stays the same through relus (He 2015)."""
    return normal_(tensor, 0.0, _kaiming(tensor, a, mode, nonlinearity))


def kaiming_uniform_(tensor: Tensor, a: float = 0, mode: str = "fan_in",
                     nonlinearity: str = "leaky_relu") -> Tensor:
    """The same standard deviation, uniform."""
    bound = math.sqrt(3) * _kaiming(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Normal with std gain sqrt(2 / (fan in + fan out)) (Glorot 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / max(sum(fans(tensor.shape)), 1)))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """The same standard deviation, uniform."""
    bound = gain * math.sqrt(6 / max(sum(fans(tensor.shape)), 1))
    return uniform_(tensor, -bound, bound)


def orthogonal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Rows (or columns, where there are fewer) at right angles, of length gain (Saxe 2013)."""
    def draw(shape):
        rows, columns = shape[0], math.prod(shape[1:])
        q, r = np.linalg.qr(generator().normal(size=(max(rows, columns), min(rows, columns))))
        q = q * np.sign(np.diagonal(r))
        return gain * (q if rows >= columns else q.T).reshape(shape)
    fans(tensor.shape)
    return _fill(tensor, draw)
