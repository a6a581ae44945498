"""Optimizers: SGD with momentum, Adam, AdamW, RMSprop. Step by step what PyTorch's do."""
from __future__ import annotations

import math

import numpy as np

from tinyvision.device import device_of, to_device, zeros
from tinyvision.engine import Tensor
from tinyvision.optim.steps import adam_step, rmsprop_step, sgd_step


class Optimizer:
    """Keeps the parameters, in groups, and what it remembers of each; subclasses define `update`.

    Args:
        params: Tensors that require gradients, or groups of them: dicts with "params" and whatever
            options are to differ from the others' ({"params": head.parameters(), "lr": 0.1}).
        defaults: the options of all groups that do not say otherwise.

    Attributes:
        param_groups: a dict for every group, with its "params" and options; options may be changed
            between steps.
        state: what is remembered of each parameter.

    Raises:
        ValueError: no parameters, a parameter in two groups, an unknown option, or one that is
            negative or no number.
    """

    def __init__(self, params, **defaults):
        groups = list(params)
        if not groups or not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        self.defaults, self.param_groups, self.state = defaults, [], {}
        for group in groups:
            self.add_param_group(group)
        if not self.params:
            raise ValueError(f"{type(self).__name__}: got no parameters, expected at least one")

    def add_param_group(self, group: dict) -> None:
        """Also change these parameters from now on; see `params`."""
        name, group = type(self).__name__, {**self.defaults, **group}
        params = group["params"] = ([group["params"]] if isinstance(group["params"], Tensor)
                                    else list(group["params"]))
        if unknown := group.keys() - self.defaults.keys() - {"params"}:
            raise ValueError(f"{name}: a group has the unknown option {min(unknown)!r}, expected "
                             f"some of {', '.join(self.defaults)}")
        if len({*map(id, params), *map(id, self.params)}) < len(params) + len(self.params):
            raise ValueError(f"{name}: a parameter is in two groups, or twice in one")
        self.check(group)
        self.param_groups.append(group)

    def check(self, group: dict) -> None:
        """Refuse options that make no sense; subclasses check their own, too."""
        self._not_negative(group, "lr", "weight_decay")

    def _not_negative(self, group, *names):
        for name in names:
            if not 0 <= group[name] < math.inf:
                raise ValueError(f"{type(self).__name__}: {name} is {group[name]}, expected a number "
                                 "of at least 0")

    @property
    def params(self) -> list:
        """The parameters of all groups."""
        return [parameter for group in self.param_groups for parameter in group["params"]]

    @property
    def lr(self) -> float:
        """The first group's learning rate; setting it sets all groups'."""
        return self.param_groups[0]["lr"]

    @lr.setter
    def lr(self, value):
        for group in self.param_groups:
            group["lr"] = value

    def step(self) -> None:
        """Change every parameter that has a gradient, in place."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    memory = self.state.setdefault(parameter, {})
                    data = parameter.data
                    self.update(data, _fitting(parameter.grad.data, data), memory, group)
                    parameter.data = data                    # the same array: counted as a write

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.params:
            if parameter.requires_grad:
                parameter.grad = None

    def update(self, p, g, memory: dict, group: dict) -> None:
        """Change the array `p` in place, given its gradient `g` and its group's options."""
        raise NotImplementedError(f"{type(self).__name__}.update")

    def state_dict(self) -> dict:
        """Copies of the state by the parameters' numbers, and the groups' options: as PyTorch's."""
        params = self.params
        number = {parameter: k for k, parameter in enumerate(params)}
        state = {number[p]: {name: _copy(value) for name, value in memory.items()}
                 for p, memory in self.state.items()}
        groups = [{**group, "params": [number[p] for p in group["params"]]}
                  for group in self.param_groups]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on from a `state_dict` of an optimizer of the same parameters, in the same order.

        Raises:
            ValueError: groups of other sizes, or state of another shape than its parameter.
        """
        name, groups = type(self).__name__, state_dict["param_groups"]
        sizes = [[len(group["params"]) for group in some] for some in (groups, self.param_groups)]
        if sizes[0] != sizes[1]:
            raise ValueError(f"{name}.load_state_dict: the state has groups of {sizes[0]} "
                             f"parameters, expected {sizes[1]}")
        params = self.params
        for k, memory in state_dict["state"].items():
            for key, value in memory.items():
                if np.ndim(value) and value.shape != params[k].shape:
                    raise ValueError(f"{name}.load_state_dict: {key!r} of parameter {k} has shape "
                                     f"{value.shape}, expected {params[k].shape}")
        for own, group in zip(self.param_groups, groups):
            own.update({key: value for key, value in group.items() if key != "params"})
        self.state = {params[k]: {key: to_device(_copy(value), params[k].device)
                                  if np.ndim(value) else value for key, value in memory.items()}
                      for k, memory in state_dict["state"].items()}


def _copy(value):
    return value.copy() if hasattr(value, "copy") else value


def _fitting(g, p):
    """The gradient as a contiguous array of the parameter's dtype."""
    if device_of(g) != "cpu":
        return g
    return g if g.dtype == p.dtype and g.flags.carray else np.require(g, p.dtype, "CAW")


class SGD(Optimizer):
    """v = momentum v + (1 - dampening) g;  p = p - lr v  (v starts as the first g).

    With nesterov, p = p - lr (g + momentum v). Arguments as in PyTorch.

    Raises:
        ValueError: a number below 0, or nesterov without momentum or with dampening.
    """

    def __init__(self, params, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0,
                 nesterov=False):
        super().__init__(params, lr=lr, momentum=momentum, dampening=dampening,
                         weight_decay=weight_decay, nesterov=nesterov)

    def check(self, group):
        """Numbers of at least 0; nesterov with momentum and without dampening."""
        super().check(group)
        self._not_negative(group, "momentum")
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError(f"SGD: nesterov with momentum={group['momentum']} and "
                             f"dampening={group['dampening']}, expected a momentum above 0 and no "
                             "dampening")

    def update(self, p, g, memory, group):
        """One step on one parameter."""
        dampening = group["dampening"] if memory else 0      # the first velocity is the gradient
        if group["momentum"] and not memory:
            memory["velocity"] = zeros(p.shape, p)
        sgd_step(g, memory.get("velocity", g), float(group["lr"]), float(group["momentum"]),
                 float(dampening), float(group["weight_decay"]), bool(group["nesterov"]), p)


class Adam(Optimizer):
    """Steps scaled by running means of g and g^2, corrected for their start at 0.

    Kingma & Ba 2015, algorithm 1. Arguments as in PyTorch.
    """
    decoupled = False

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def check(self, group):
        """Numbers of at least 0; both betas in [0, 1)."""
        super().check(group)
        self._not_negative(group, "eps")
        if not all(0 <= beta < 1 for beta in group["betas"]):
            raise ValueError(f"{type(self).__name__}: betas are {group['betas']}, expected both in "
                             "[0, 1)")

    def update(self, p, g, memory, group):
        """One step on one parameter."""
        if not memory:
            memory.update(step=0, mean=zeros(p.shape, p), square=zeros(p.shape, p))
        memory["step"] += 1
        (first, second), lr, decay = group["betas"], group["lr"], group["weight_decay"]
        size = lr / (1 - first ** memory["step"])
        correction = math.sqrt(1 - second ** memory["step"])
        shrink, decay = (lr * decay, 0.0) if self.decoupled else (0.0, decay)
        adam_step(g, memory["mean"], memory["square"], float(first), float(second), float(size),
                  float(correction), float(group["eps"]), float(decay), float(shrink), p)


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter itself, by lr * weight_decay a step.

    Loshchilov & Hutter 2019. Arguments as in PyTorch.
    """
    decoupled = True

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(params, lr, betas, eps, weight_decay)


class RMSprop(Optimizer):
    """Steps divided by the root of a running mean of g^2.

    Hinton's lecture 6e of "Neural networks for machine learning"; centered (the mean's square taken
    off) as Graves 2013 has it. Arguments as in PyTorch.
    """

    def __init__(self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0,
                 centered=False):
        super().__init__(params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay,
                         momentum=momentum, centered=centered)

    def check(self, group):
        """Numbers of at least 0."""
        super().check(group)
        self._not_negative(group, "alpha", "eps", "momentum")

    def update(self, p, g, memory, group):
        """One step on one parameter."""
        if not memory:
            memory["square"] = zeros(p.shape, p)
            if group["momentum"]:
                memory["velocity"] = zeros(p.shape, p)
            if group["centered"]:
                memory["mean"] = zeros(p.shape, p)
        square = memory["square"]
        rmsprop_step(g, square, memory.get("mean", square), memory.get("velocity", square),
                     float(group["lr"]), float(group["alpha"]), float(group["eps"]),
                     float(group["weight_decay"]), float(group["momentum"]),
                     bool(group["centered"]), p)
