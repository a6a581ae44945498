"""Module: a function with parameters, and the tree of modules that a network is."""
from __future__ import annotations

from typing import Iterator

import numpy as np

from tinyvision.engine import Tensor, as_array


def Parameter(data) -> Tensor:
    """A Tensor that a Module lists among its parameters: a leaf that requires gradients."""
    return Tensor(data, requires_grad=True)


class Module:
    """The base of every layer and network, used as PyTorch's.

    Attributes that are Tensors requiring gradients are parameters; attributes that are Modules
    are children. Arrays that belong to the state without being learned (running statistics) are
    announced by `register_buffer`. Subclasses define `forward`; calling the module calls it.
    """
    training = True
    _buffer_names: tuple[str, ...] = ()

    def forward(self, *inputs):
        """The computation; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def __call__(self, *inputs, **options):
        return self.forward(*inputs, **options)

    def register_buffer(self, name: str, value) -> None:
        """Keep `value` as attribute `name`: saved and moved with the module, not learned."""
        self._buffer_names = (*self._buffer_names, name)
        setattr(self, name, Tensor(value))

    def children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of every direct child, in the order in which they were assigned."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        yield self
        for _, child in self.children():
            yield from child.modules()

    def _named(self, chosen, prefix="") -> Iterator[tuple[str, Tensor]]:
        for name, value in vars(self).items():
            if isinstance(value, Tensor) and chosen(self, name, value):
                yield prefix + name, value
        for name, child in self.children():
            yield from child._named(chosen, f"{prefix}{name}.")

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, Tensor) of everything that is learned."""
        return self._named(lambda module, name, value: value.requires_grad)

    def parameters(self) -> Iterator[Tensor]:
        """Everything that is learned."""
        return (value for _, value in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, Tensor) of the state that is not learned."""
        return self._named(lambda module, name, value: name in module._buffer_names)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of parameters and buffers by dotted name, as NumPy arrays; PyTorch's keys."""
        state = self._named(lambda m, name, value: value.requires_grad or name in m._buffer_names)
        return {name: np.array(value.numpy(), order="C") for name, value in state}

    def load_state_dict(self, state) -> None:
        """Copy the arrays of `state` into parameters and buffers of the same names and shapes.

        Raises:
            KeyError: names that are missing or that the module does not have.
            ValueError: an array of another shape.
        """
        own = dict(self._named(lambda m, name, value: value.requires_grad
                               or name in m._buffer_names))
        if missing := sorted(own.keys() ^ state.keys()):
            raise KeyError(f"load_state_dict: {missing[0]!r} is in only one of the two, the state "
                           f"given and {type(self).__name__} ({len(missing)} such names)")
        for name, tensor in own.items():
            array = np.asarray(as_array(state[name]))
            if array.shape != tensor.shape:
                raise ValueError(f"load_state_dict: {name} has shape {array.shape}, "
                                 f"expected {tensor.shape}")
        for name, tensor in own.items():
            tensor.data = Tensor(np.array(as_array(state[name]), tensor.dtype)).to(tensor.device)

    def train(self, mode: bool = True) -> Module:
        """Switch to training behaviour (batch statistics, dropout); returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switch to inference behaviour; returns the module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self, device: str) -> Module:
        """Move parameters and buffers to "cpu" or "gpu", in place; returns the module."""
        for _, tensor in (*self.named_parameters(), *self.named_buffers()):
            tensor.data = tensor.detach().to(device)
        return self

    def __repr__(self):
        lines = [f"({name}): " + repr(child).replace("\n", "\n  ")
                 for name, child in self.children()]
        head = f"{type(self).__name__}({self.extra_repr()}"
        return head + ("\n  " + "\n  ".join(lines) + "\n)" if lines else ")")

    def extra_repr(self) -> str:
        """The hyper-parameters, for repr."""
        return ""


class Sequential(Module):
    """Modules applied one after the other; children are named 0, 1, 2, ..."""

    def __init__(self, *modules):
        for k, module in enumerate(modules):
            setattr(self, str(k), module)

    def forward(self, x):
        """x through every module in turn."""
        for _, module in self.children():
            x = module(x)
        return x

    def __len__(self):
        return len(list(self.children()))

    def __getitem__(self, k):
        return list(self.children())[k][1]
