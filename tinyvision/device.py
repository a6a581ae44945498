"""Where an array lives (NumPy or CuPy), how to move it, and the one random generator.

This is the only module that imports CuPy, and it does so when a GPU is first asked for.
"""
from __future__ import annotations

import functools
import math

import numpy as np


class DeviceError(RuntimeError):
    """A device was asked for that is not there, or arrays of two devices were mixed."""


@functools.cache
def cupy():
    """The CuPy module.

    Raises:
        DeviceError: CuPy is not installed, or it finds no CUDA device.
    """
    try:
        import cupy
    except ImportError as error:
        raise DeviceError('device "gpu" needs CuPy, which is not installed: install '
                          'tinyvision[cuda13] or tinyvision[cuda12]') from error
    if not cupy.cuda.is_available():
        raise DeviceError('device "gpu" needs a CUDA device, and CuPy finds none: stay on "cpu"')
    return cupy


def gpu_available() -> bool:
    """Whether `Tensor.to("gpu")` would work here."""
    try:
        return cupy() is not None
    except DeviceError:
        return False


def device_of(array) -> str:
    """"cpu" for NumPy arrays, "gpu" for CuPy arrays."""
    if array.__class__ is np.ndarray:                        # the usual one, in a third of the time
        return "cpu"
    return "cpu" if isinstance(array, (np.ndarray, np.generic)) else "gpu"


def module_of(array):
    """numpy or cupy: the module whose functions work on `array`."""
    return np if device_of(array) == "cpu" else cupy()


def to_device(array, device: str):
    """`array` on `device`, itself if it is there already."""
    if device not in ("cpu", "gpu"):
        raise ValueError(f'device must be "cpu" or "gpu", got {device!r}')
    if device == device_of(array):
        return array
    return cupy().asarray(array) if device == "gpu" else cupy().asnumpy(array)


def zeros(shape, like):
    """Zeros of the dtype and on the device of `like`."""
    return module_of(like).zeros(shape, like.dtype)


def empty(shape, like):
    """An array of the dtype and on the device of `like`, to be written: it holds anything.

    Raises:
        MemoryError: there cannot be one; says how many bytes.
    """
    try:
        return module_of(like).empty(shape, like.dtype)
    except ValueError as error:                              # NumPy's, which does not say
        size = math.prod(shape) * like.dtype.itemsize
        raise MemoryError(f"an array of shape {tuple(shape)} needs {size:.3g} bytes") from error


def scatter_add(out, index, values) -> None:
    """out[index] += values, in place, where an index that occurs twice counts twice."""
    if device_of(out) != "cpu":
        cupy().add.at(out, index, values)
    elif _rows_once(index, len(out)):
        out[index] += values                                 # in a twentieth of add.at's time
    else:
        np.add.at(out, index, values)


def _rows_once(index, rows) -> bool:
    """Whether the index is a list of rows in which none occurs twice."""
    return (isinstance(index, np.ndarray) and index.ndim == 1 and index.dtype.kind in "iu"
            and len(np.unique(index % max(rows, 1))) == len(index))


def contiguous(*arrays):
    """The arrays, C-contiguous, of one dtype and writable: what every kernel expects.

    All are promoted to the common dtype of the floating ones; without any, each keeps its own.
    """
    dtype = arrays[0].dtype
    for a in arrays:               # np.require would cost more than a small kernel
        if type(a) is not np.ndarray or a.dtype != dtype or not a.flags.carray:
            break
    else:
        if dtype.char in "fd" and dtype.isnative:
            return arrays
    if strange := [a.dtype for a in arrays if a.dtype.kind == "c" or a.dtype == np.float16]:
        raise TypeError(f"kernels compute in float32 and float64, got {strange[0]}; use .astype()")
    floats = [a.dtype for a in arrays if a.dtype.kind == "f"]
    common = np.result_type(*floats) if floats else None
    return tuple(np.require(a, common, "CAW") if device_of(a) == "cpu" else
                 cupy().ascontiguousarray(a, common) for a in arrays)


_generator = np.random.default_rng(0)


def manual_seed(seed: int) -> None:
    """Restart the random generator that initialisations, dropout and shuffling draw from."""
    global _generator
    _generator = np.random.default_rng(seed)


def generator() -> np.random.Generator:
    """The generator that `manual_seed` restarts."""
    return _generator
