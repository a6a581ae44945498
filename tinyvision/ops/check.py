"""The checks that operations share: one sentence that names function, argument, got, expected."""
from __future__ import annotations

from contextlib import contextmanager

import numpy as np

from tinyvision.device import DeviceError, device_of
from tinyvision.engine import as_array


@contextmanager
def called(name):
    """Errors raised inside say that `name` was the function called, with images of height 1."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise type(error)(f"{name}, as images of height 1: {error}") from None


def rank(name, **arguments):
    """The shapes of the arguments, each given as argument=(tensor, number of axes).

    Raises:
        ValueError: a tensor with another number of axes.
    """
    shapes = []
    for argument, (tensor, axes) in arguments.items():
        shapes.append(as_array(tensor).shape)
        shape_of_rank(name, argument, shapes[-1], axes)
    return shapes


def shape_of_rank(name, argument, shape, axes):
    """Check that a shape has so many axes.

    Raises:
        ValueError: it has not.
    """
    if len(shape) != axes:
        raise ValueError(f"{name}: {argument} has shape {shape}, expected {axes} axes")


def at_least(name, argument, value, least):
    """`value`, an int of at least `least`.

    Raises:
        TypeError: no whole number.
        ValueError: too small.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: {argument} is {value!r}, expected a whole number")
    if value < least:
        raise ValueError(f"{name}: {argument} is {value}, expected at least {least}")
    return int(value)


def pair(name, argument, value, least):
    """`value` for (H, W): an int for both, or two ints, each at least `least`."""
    values = (value, value) if isinstance(value, (int, np.integer)) else value
    if not isinstance(values, (tuple, list)) or len(values) != 2:
        raise TypeError(f"{name}: {argument} is {value!r}, expected an int or a pair of ints")
    return tuple(at_least(name, argument, v, least) for v in values)


def same_device(name, **arrays):
    """Check that the arrays or Tensors (None counts as absent) live on one device.

    Raises:
        DeviceError: they do not.
    """
    if len({as_array(a).__class__ for a in arrays.values() if a is not None}) < 2:
        return
    places = {argument: device_of(as_array(a)) for argument, a in arrays.items() if a is not None}
    if len(set(places.values())) > 1:
        found = ", ".join(f"{argument} on {place}" for argument, place in places.items())
        raise DeviceError(f"{name}: {found}, expected one device; "
                          'move them with .to("gpu") or .to("cpu")')


def labels_of(name, input, target):
    """(input's shape (N, C, ...), the labels (N, ...)): whole numbers, one for each place.

    Raises:
        ValueError: shapes that do not fit, or labels that are not whole.
    """
    shape, labels = as_array(input).shape, as_array(target)
    if len(shape) < 2 or labels.shape != (shape[0], *shape[2:]):
        raise ValueError(f"{name}: target has shape {labels.shape}, input {shape}; expected "
                         "input's shape without its class axis 1")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{name}: target is {labels.dtype}, expected whole-number labels")
    return shape, labels
