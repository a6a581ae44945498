"""The tables of benchmarks: every operation at the sizes that its goal names.

A `Case` is one operation at one size. Its class says how to count operations and bytes, and how
each side runs it; the sizes are rows of a table at the end of each file. Adding a case is adding a
row.
"""
from __future__ import annotations

import dataclasses
import importlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyvision.engine import Tensor, grad

FILES = ("convolution", "products", "pooling", "resizing", "detection", "normalisation",
         "activation", "optimizer", "engine")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One operation, or one of its gradients, at one size.

    Subclasses define fields for the sizes and

        inputs(rng)       the arrays, float32 (and integers, where labels or indices are meant)
        ours(*arrays)     a call without arguments that returns the result
        torch(*tensors), channels_last, torchvision, jax, dezero
                          the same, for each peer; None if it cannot run this size
        size, operations, moved

    Attributes:
        operation: the name in `tinyvision.ops`, and on the command line.
        against: the peer that the goal speaks of.
        halved: the fields that `smaller` may halve.
        discrete: what is chosen depends on rounding, so the truth is computed in float32.
        recorded: the graph for backward is recorded on both sides while the clock runs.
        goal: time / time of `against` that we want; goals: the same for other peers.
    """
    operation: ClassVar[str]
    against: ClassVar[str] = "torch"
    halved: ClassVar[tuple[str, ...]] = ()
    discrete: ClassVar[bool] = False
    recorded: ClassVar[bool] = False
    part: str = "forward"
    goal: float | None = None
    goals: tuple = ()

    @property
    def size(self) -> str:
        """The sizes, as the tables show them."""
        raise NotImplementedError

    @property
    def operations(self) -> float:
        """Floating-point operations (or comparisons); a multiply-add counts two."""
        raise NotImplementedError

    @property
    def moved(self) -> float:
        """Bytes that must move at least once: inputs read, outputs written."""
        raise NotImplementedError

    def __str__(self):
        return f"{self.operation} {self.part} {self.size}"

    def goal_against(self, peer: str) -> float | None:
        """The goal for the ratio to that peer, if there is one."""
        return self.goal if peer == self.against else dict(self.goals).get(peer)

    def smaller(self, operations: float):
        """The same case, its largest sizes halved until so few operations remain."""
        case = self
        while case.operations > operations:
            name = max(case.halved, key=lambda name: getattr(case, name), default=None)
            if name is None or getattr(case, name) < 2:
                break
            case = dataclasses.replace(case, **{name: (getattr(case, name) + 1) // 2})
        return case


def normal(rng, *shape, scale=1.0):
    """Random float32 numbers."""
    return rng.standard_normal(shape, np.float32) * np.float32(scale)


def call_of(function, inputs, with_respect_to=None, cotangent=None):
    """What is timed on our side: the function, or gradients and nothing else.

    Of a function that is one operation, the gradients are what its backward gives, as on PyTorch's
    side; what the engines cost on the way there is `bench engine`. Of others, `tinyvision.grad`'s.

    Args:
        with_respect_to: None for the function itself, or the place of an input (the result is its
            gradient), or several places (a tuple of gradients).
    """
    if with_respect_to is None:
        xs = [Tensor(x) for x in inputs]
        return lambda: function(*xs)
    one = isinstance(with_respect_to, int)
    wanted = (with_respect_to,) if one else with_respect_to
    xs = [Tensor(x, requires_grad=k in wanted) for k, x in enumerate(inputs)]
    leaves, y, g = [xs[k] for k in wanted], function(*xs), Tensor(cotangent)
    y = y[0] if isinstance(y, tuple) else y
    backward, inputs = y.op.backward, y._node.inputs
    places = [k for x in leaves for k, i in enumerate(inputs) if i._node is x._node]

    def gradients():
        if len(places) != len(leaves):                       # more than one operation
            return grad(y, leaves, g, retain_graph=True)
        found = backward(g, y, *inputs)
        return tuple(found[k] for k in places)
    return (lambda: gradients()[0]) if one else gradients


def round_of(function, inputs, wanted, cotangent=None):
    """A call that runs the function and then the gradients of the inputs at the places `wanted`:
    a training step's share. Its case is `recorded`."""
    xs = [Tensor(x, requires_grad=k in wanted) for k, x in enumerate(inputs)]
    leaves = [xs[k] for k in wanted]
    return lambda: grad(function(*xs), leaves, cotangent)


def round_by_torch(function, inputs, wanted, cotangent=None):
    """`round_of` on PyTorch's side."""
    import torch
    leaves = [inputs[k].requires_grad_() for k in wanted]
    return lambda: torch.autograd.grad(function(*inputs), leaves, cotangent)


def every() -> list[Case]:
    """All cases, in the order of the tables."""
    modules = [importlib.import_module(f"{__name__}.{name}") for name in FILES]
    return [case for module in modules for case in module.CASES]


def named(names=()) -> list[Case]:
    """The cases of these operations; of all where none is named.

    Raises:
        ValueError: an operation without benchmarks.
    """
    cases = every()
    known = list(dict.fromkeys(case.operation for case in cases))
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no benchmark of {unknown[0]!r}; there are {', '.join(known)}")
    return [case for case in cases if not names or case.operation in names]
