"""Where a number that is not finite came from, when a loss is infinite or not a number."""
from __future__ import annotations

import numpy as np

from tinyvision import device
from tinyvision.engine import Tensor, no_grad


class NonFiniteError(ValueError):
    """A loss is infinite or not a number; says which layer, parameter or image it came from."""


def explain(model, images, targets, random, where: str, items) -> NonFiniteError:
    """The error for a batch whose loss is not finite: the batch is run once more, and watched.

    Args:
        random: the state of `device.generator()` before the batch, so that dropout is the same.
        where: "step 17 of epoch 2", for the sentence.
        items: the number of every image in the data set.
    """
    device.generator().bit_generator.state = random
    for name, parameter in model.named_parameters():
        if bad := first_bad(parameter.numpy()):
            return NonFiniteError(f"{where}: parameter {name} has {bad}: a gradient was not finite "
                                  "in the step before; lower the learning rate, or clip gradients")
    for k, image in zip(items, images):
        if bad := first_bad(as_array(image)):
            return NonFiniteError(f"{where}: the image of item {k} has {bad}")
    found, losses = _watched(model, images, targets)
    for name, kind, given, bad in found:
        if given:
            return NonFiniteError(f"{where}: layer {name} ({kind}) was given {given}, while all "
                                  "layers before it gave finite numbers: it comes from what is "
                                  "computed between them")
        if bad:
            return NonFiniteError(f"{where}: layer {name} ({kind}) is the first whose output has "
                                  f"{bad}; its inputs were finite")
    for name, value in losses.items():
        if bad := first_bad(as_array(value)):
            return NonFiniteError(f"{where}: the loss {name!r} is {bad.split()[0]}, while all "
                                  "layers' outputs are finite")
    return NonFiniteError(f"{where}: the losses are finite one by one, but their sum is not")


def _watched(model, images, targets):
    """Every layer's (name, kind, what is not finite in its inputs, and in its outputs), in the
    order in which they ended; and the losses."""
    found = []
    hooks = [module.register_forward_hook(
        lambda module, inputs, y, name=name: found.append(
            (name, type(module).__name__, _of(inputs), _of(y))))
        for name, module in model.named_modules() if name]
    try:
        with no_grad():
            return found, model.loss(images, targets)
    finally:
        for hook in hooks:
            hook.remove()


def as_array(x):
    """The data of a Tensor, or an array itself."""
    return x.numpy() if isinstance(x, Tensor) else np.asarray(x)


def _of(y):
    parts = y if isinstance(y, (tuple, list)) else y.values() if isinstance(y, dict) else [y]
    tensors = [part.numpy() for part in parts if isinstance(part, Tensor)]
    return next(filter(None, map(first_bad, tensors)), None)


def first_bad(array):
    """"nan at (0, 3)" for the first number that is not finite; None where all are."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return None
    at = np.unravel_index(int(np.argmin(np.isfinite(array))), array.shape)
    return f"{array[at]} at {tuple(map(int, at))}"
