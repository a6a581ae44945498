"""Module: a function with parameters, and the tree of modules that a network is."""
from __future__ import annotations

from typing import Callable, Iterator, NamedTuple

import numpy as np

from tinyvision.engine import Tensor, as_array


def Parameter(data) -> Tensor:
    """A Tensor that a Module lists among its parameters: a leaf that requires gradients."""
    return Tensor(data, requires_grad=True)


class Hook:
    """What a module calls besides itself; `remove()` ends that."""

    def __init__(self, hooks, function):
        self._hooks, self._function = hooks, function
        hooks.append(function)

    def remove(self) -> None:
        """Do not call it any more."""
        if self._function in self._hooks:
            self._hooks.remove(self._function)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.remove()


class Loaded(NamedTuple):
    """The names that a state and a module did not share."""
    missing_keys: list
    unexpected_keys: list


class Module:
    """The base of every layer and network, used as PyTorch's.

    Tensors that require gradients when they are assigned to an attribute are parameters (and stay
    such when they are frozen); attributes that are Modules are children. Arrays that belong to the
    state without being learned (running statistics) are announced by `register_buffer`. Subclasses
    define `forward`; calling the module calls it.
    """
    training = True
    _buffer_names: tuple[str, ...] = ()
    _parameter_names: tuple[str, ...] = ()
    _hooks: tuple | list = ()
    _pre_hooks: tuple | list = ()

    def __setattr__(self, name, value):
        if isinstance(value, Tensor) and value.requires_grad and name not in self._parameter_names:
            object.__setattr__(self, "_parameter_names", (*self._parameter_names, name))
        object.__setattr__(self, name, value)

    def forward(self, *inputs):
        """The computation; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def __call__(self, *inputs, **options):
        for hook in tuple(self._pre_hooks):
            hook(self, inputs)
        y = self.forward(*inputs, **options)
        for hook in tuple(self._hooks):
            changed = hook(self, inputs, y)
            y = y if changed is None else changed
        return y

    def register_forward_hook(self, hook: Callable) -> Hook:
        """Call `hook(module, inputs, output)` after every forward; what it returns, unless None,
        takes the output's place. To look inside a network, for pictures.

        Returns:
            A handle; its `remove()`, or the end of a `with` block around it, ends the calls.
        """
        self._hooks = self._hooks or []
        return Hook(self._hooks, hook)

    def register_forward_pre_hook(self, hook: Callable) -> Hook:
        """Call `hook(module, inputs)` before every forward; see `register_forward_hook`."""
        self._pre_hooks = self._pre_hooks or []
        return Hook(self._pre_hooks, hook)

    def summary(self, *inputs):
        """A table of the layers: output shapes, parameters, multiply-adds; see `nn.summary`."""
        from tinyvision.nn.summary import summary
        return summary(self, *inputs)

    def register_buffer(self, name: str, value) -> None:
        """Keep `value` as attribute `name`: saved and moved with the module, not learned."""
        self._buffer_names = (*self._buffer_names, name)
        setattr(self, name, Tensor(value))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of every direct child, in the order in which they were assigned."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def children(self) -> Iterator[Module]:
        """Every direct child."""
        return (child for _, child in self.named_children())

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        yield self
        for child in self.children():
            yield from child.modules()

    def _named(self, chosen, prefix="") -> Iterator[tuple[str, Tensor]]:
        for name, value in vars(self).items():
            if isinstance(value, Tensor) and chosen(self, name, value):
                yield prefix + name, value
        for name, child in self.named_children():
            yield from child._named(chosen, f"{prefix}{name}.")

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, Tensor) of everything that is learned, frozen or not."""
        return self._named(lambda module, name, value: name in module._parameter_names)

    def parameters(self) -> Iterator[Tensor]:
        """Everything that is learned."""
        return (value for _, value in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, Tensor) of the state that is not learned."""
        return self._named(lambda module, name, value: name in module._buffer_names)

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(dotted name, module) of this module, named `prefix`, and of all below it."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def buffers(self) -> Iterator[Tensor]:
        """The state that is not learned."""
        return (value for _, value in self.named_buffers())

    def _state(self):
        return self._named(lambda module, name, value: name in module._parameter_names
                           or name in module._buffer_names)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of parameters and buffers by dotted name, as NumPy arrays; PyTorch's keys."""
        return {name: np.array(value.numpy(), order="C") for name, value in self._state()}

    def load_state_dict(self, state, strict: bool = True) -> Loaded:
        """Copy the arrays of `state` into parameters and buffers of the same names and shapes.

        Args:
            state: arrays by dotted name.
            strict: refuse names that only one of the two has; otherwise they are left alone.

        Returns:
            The names that were missing, and those that were not expected.

        Raises:
            KeyError: names that are missing, or that the module does not have.
            ValueError: an array of another shape. Nothing was changed then.
        """
        own = dict(self._state())
        loaded = Loaded(*([name for name in one if name not in other]
                          for one, other in ((own, state), (state, own))))
        if strict and (names := [*loaded.missing_keys, *loaded.unexpected_keys]):
            raise KeyError(f"load_state_dict: {names[0]!r} is in only one of the two, the state "
                           f"given and {type(self).__name__} ({len(names)} such names)")
        shared = {name: np.asarray(as_array(state[name])) for name in own if name in state}
        if wrong := [name for name, array in shared.items() if array.shape != own[name].shape]:
            raise ValueError(f"load_state_dict: {wrong[0]} has shape {shared[wrong[0]].shape}, "
                             f"expected {own[wrong[0]].shape} ({len(wrong)} such arrays)")
        for name, array in shared.items():
            tensor = own[name]
            tensor.data = Tensor(np.array(array, tensor.dtype)).to(tensor.device)
        return loaded

    def train(self, mode: bool = True) -> Module:
        """Switch to training behaviour (batch statistics, dropout); returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switch to inference behaviour; returns the module."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Freeze (False) or thaw all parameters; returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def apply(self, function) -> Module:
        """Call `function` with every module, children first; returns the module."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            if parameter.requires_grad:
                parameter.grad = None

    def to(self, device: str) -> Module:
        """Move parameters and buffers to "cpu" or "gpu", in place; returns the module."""
        for _, tensor in (*self.named_parameters(), *self.named_buffers()):
            tensor.data = tensor.detach().to(device)
        return self

    def __repr__(self):
        lines = [f"({name}): " + repr(child).replace("\n", "\n  ")
                 for name, child in self.named_children()]
        head = f"{type(self).__name__}({self.extra_repr()}"
        return head + ("\n  " + "\n  ".join(lines) + "\n)" if lines else ")")

    def extra_repr(self) -> str:
        """The hyper-parameters, for repr."""
        return ""
