"""Optimizers: SGD with momentum, and Adam. Step by step what PyTorch's do."""
from __future__ import annotations

import math

from tinyvision.device import module_of, zeros


class Optimizer:
    """Keeps the parameters and what it remembers of each; subclasses define `update`.

    Args:
        params: Tensors that require gradients.
        lr: the learning rate; may be changed between steps.

    Raises:
        ValueError: no parameters, or a learning rate that is negative or no number.
    """

    def __init__(self, params, lr):
        self.params, self.lr, self.state = list(params), lr, {}
        if not self.params:
            raise ValueError(f"{type(self).__name__}: got no parameters, expected at least one")
        _not_negative(self, lr=lr)

    def step(self) -> None:
        """Change every parameter that has a gradient, in place."""
        for parameter in self.params:
            if parameter.grad is not None:
                memory = self.state.setdefault(parameter, {})
                data = parameter.data
                self.update(data, parameter.grad.data, memory)
                parameter.data = data                        # the same array: counted as a write

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.params:
            parameter.grad = None

    def update(self, p, g, memory: dict) -> None:
        """Change the array `p` in place, given its gradient `g`."""
        raise NotImplementedError(f"{type(self).__name__}.update")


class SGD(Optimizer):
    """v = momentum v + g;  p = p - lr v  (v starts as the first g). Arguments as in PyTorch."""

    def __init__(self, params, lr=1e-3, momentum=0.0, weight_decay=0.0):
        super().__init__(params, lr)
        _not_negative(self, momentum=momentum, weight_decay=weight_decay)
        self.momentum, self.weight_decay = momentum, weight_decay

    def update(self, p, g, memory):
        """One step on one parameter."""
        if self.weight_decay:
            g = g + self.weight_decay * p
        if self.momentum:
            if "velocity" not in memory:
                memory["velocity"] = g.copy()
            else:
                memory["velocity"] *= self.momentum
                memory["velocity"] += g
            g = memory["velocity"]
        p -= self.lr * g


class Adam(Optimizer):
    """Steps scaled by running means of g and g^2, corrected for their start at 0.

    Kingma & Ba 2015, algorithm 1. Arguments as in PyTorch.
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(params, lr)
        _not_negative(self, eps=eps, weight_decay=weight_decay)
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"Adam: betas are {betas}, expected both in [0, 1)")
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay

    def update(self, p, g, memory):
        """One step on one parameter."""
        if not memory:
            memory.update(step=0, mean=zeros(p.shape, p), square=zeros(p.shape, p))
        if self.weight_decay:
            g = g + self.weight_decay * p
        memory["step"] += 1
        first, second = self.betas
        memory["mean"] += (1 - first) * (g - memory["mean"])
        memory["square"] += (1 - second) * (g * g - memory["square"])
        correction = math.sqrt(1 - second ** memory["step"])
        spread = module_of(p).sqrt(memory["square"]) / correction + self.eps
        p -= (self.lr / (1 - first ** memory["step"])) * memory["mean"] / spread


def _not_negative(optimizer, **values):
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{type(optimizer).__name__}: {name} is {value}, "
                             "expected a number of at least 0")
