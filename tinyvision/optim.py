"""Optimizers: SGD with momentum, Adam and AdamW. Step by step what PyTorch's do.

A step reads every number once and writes it once, in place, without a temporary array: it costs
what moving the parameter, its gradient and its state through the memory costs.
"""
from __future__ import annotations

import functools
import math

import numpy as np

from tinyvision.device import device_of, module_of, zeros
from tinyvision.kernel import Kernel, jit, prange

SERIAL = 65536             # elements: up to here one core is done before a second has started


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
                self.update(data, _fitting(parameter.grad.data, data), memory)
                parameter.data = data                        # the same array: counted as a write

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.params:
            parameter.grad = None

    def update(self, p, g, memory: dict) -> None:
        """Change the array `p` in place, given its gradient `g`."""
        raise NotImplementedError(f"{type(self).__name__}.update")


class SGD(Optimizer):
    """v = momentum v + (1 - dampening) g;  p = p - lr v  (v starts as the first g).

    With nesterov, p = p - lr (g + momentum v). Arguments as in PyTorch.

    Raises:
        ValueError: a number below 0, or nesterov without momentum or with dampening.
    """

    def __init__(self, params, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0,
                 nesterov=False):
        super().__init__(params, lr)
        _not_negative(self, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError(f"SGD: nesterov with momentum={momentum} and dampening={dampening}, "
                             "expected a momentum above 0 and no dampening")
        self.momentum, self.dampening = momentum, dampening
        self.weight_decay, self.nesterov = weight_decay, nesterov

    def update(self, p, g, memory):
        """One step on one parameter."""
        dampening = self.dampening if memory else 0          # the first velocity is the gradient
        if self.momentum and not memory:
            memory["velocity"] = zeros(p.shape, p)
        sgd_step(g, memory.get("velocity", g), float(self.lr), float(self.momentum),
                 float(dampening), float(self.weight_decay), bool(self.nesterov), p)


class Adam(Optimizer):
    """Steps scaled by running means of g and g^2, corrected for their start at 0.

    Kingma & Ba 2015, algorithm 1. Arguments as in PyTorch.
    """
    decoupled = False

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(params, lr)
        _not_negative(self, eps=eps, weight_decay=weight_decay)
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"{type(self).__name__}: betas are {betas}, expected both in [0, 1)")
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay

    def update(self, p, g, memory):
        """One step on one parameter."""
        if not memory:
            memory.update(step=0, mean=zeros(p.shape, p), square=zeros(p.shape, p))
        memory["step"] += 1
        first, second = self.betas
        size = self.lr / (1 - first ** memory["step"])
        correction = math.sqrt(1 - second ** memory["step"])
        shrink, decay = (self.lr * self.weight_decay, 0.0) if self.decoupled else (
            0.0, self.weight_decay)
        adam_step(g, memory["mean"], memory["square"], float(first), float(second), float(size),
                  float(correction), float(self.eps), float(decay), float(shrink), p)


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter itself, by lr * weight_decay a step.

    Loshchilov & Hutter 2019. Arguments as in PyTorch.
    """
    decoupled = True

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(params, lr, betas, eps, weight_decay)


def _fitting(g, p):
    """The gradient as a contiguous array of the parameter's dtype."""
    if device_of(g) != "cpu":
        return g
    return g if g.dtype == p.dtype and g.flags.carray else np.require(g, p.dtype, "CAW")


def _not_negative(optimizer, **values):
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{type(optimizer).__name__}: {name} is {value}, "
                             "expected a number of at least 0")


# --- the steps ------------------------------------------------------------------------------------
# These kernels change their last argument, the parameter, and their state, in place. `gpu` is
# arithmetic on whole arrays, with temporary ones; NumPy's go through it if they are no one block.
def _by_size(serial, parallel, *arguments):
    """One core for small parameters, all for large ones, every array as one line.

    They are two functions, since a model of small parameters need never compile the second.
    """
    lines = [a.reshape(-1) if type(a) is np.ndarray and a.ndim != 1 else a for a in arguments]
    (serial if arguments[-1].size <= SERIAL else parallel)(*lines)


def _if_one_block(step, whole):
    """The cpu variant: `step` on a parameter that is one block of memory, `whole` on others."""
    return lambda *arguments: (step if arguments[-1].flags.carray else whole)(*arguments)


@Kernel
def sgd_step(g, velocity, lr, momentum, dampening, weight_decay, nesterov, p):
    """One step of SGD. Without momentum, velocity is neither read nor written."""
    for i in np.ndindex(p.shape):
        d = g[i] + weight_decay * p[i]
        if momentum:
            velocity[i] = momentum * velocity[i] + (1 - dampening) * d
            d = d + momentum * velocity[i] if nesterov else velocity[i]
        p[i] -= lr * d


@jit(inline=True)
def plain_number(i, g, lr, weight_decay, p):
    """The step of one number without momentum."""
    T = p.dtype.type
    p[i] -= T(lr) * (g[i] + T(weight_decay) * p[i])


@jit(inline=True)
def heavy_number(i, g, velocity, lr, momentum, dampening, weight_decay, nesterov, p):
    """The step of one number with momentum."""
    T = p.dtype.type
    d = g[i] + T(weight_decay) * p[i]
    v = T(momentum) * velocity[i] + T(1 - dampening) * d
    velocity[i] = v
    p[i] -= T(lr) * (d + T(momentum) * v if nesterov else v)


@jit(fastmath=True)
def plain_serial(g, lr, weight_decay, p):
    for i in range(p.size):
        plain_number(i, g, lr, weight_decay, p)


@jit(parallel=True, fastmath=True)
def plain_parallel(g, lr, weight_decay, p):
    for i in prange(p.size):
        plain_number(i, g, lr, weight_decay, p)


@jit(fastmath=True)
def heavy_serial(g, velocity, lr, momentum, dampening, weight_decay, nesterov, p):
    for i in range(p.size):
        heavy_number(i, g, velocity, lr, momentum, dampening, weight_decay, nesterov, p)


@jit(parallel=True, fastmath=True)
def heavy_parallel(g, velocity, lr, momentum, dampening, weight_decay, nesterov, p):
    for i in prange(p.size):
        heavy_number(i, g, velocity, lr, momentum, dampening, weight_decay, nesterov, p)


@sgd_step.gpu
def _(g, velocity, lr, momentum, dampening, weight_decay, nesterov, p):
    d = g + weight_decay * p if weight_decay else g
    if momentum:
        velocity[...] = momentum * velocity + (1 - dampening) * d
        d = d + momentum * velocity if nesterov else velocity
    p -= lr * d


def _sgd(g, velocity, lr, momentum, dampening, weight_decay, nesterov, p):
    if momentum:
        _by_size(heavy_serial, heavy_parallel, g, velocity, lr, momentum, dampening, weight_decay,
                 nesterov, p)
    else:
        _by_size(plain_serial, plain_parallel, g, lr, weight_decay, p)


sgd_step.python("cpu", _if_one_block(_sgd, sgd_step.variants["gpu"]))


@Kernel
def adam_step(g, mean, square, beta1, beta2, size, correction, eps, weight_decay, shrink, p):
    """One step of Adam: `size` and `correction` are the learning rate and the root, corrected."""
    for i in np.ndindex(p.shape):
        d = g[i] + weight_decay * p[i]
        mean[i] += (1 - beta1) * (d - mean[i])
        square[i] += (1 - beta2) * (d * d - square[i])
        p[i] -= shrink * p[i] + size * mean[i] / (np.sqrt(square[i]) / correction + eps)


@jit(inline=True)
def adam_number(i, g, mean, square, beta1, beta2, size, correction, eps, weight_decay, shrink, p):
    """The step of one number."""
    T = p.dtype.type
    d = g[i] + T(weight_decay) * p[i]
    m = mean[i] + T(1 - beta1) * (d - mean[i])
    v = square[i] + T(1 - beta2) * (d * d - square[i])
    mean[i], square[i] = m, v
    p[i] -= T(shrink) * p[i] + T(size) * m / (np.sqrt(v) * T(1 / correction) + T(eps))


@jit(fastmath=True)
def adam_serial(g, mean, square, beta1, beta2, size, correction, eps, weight_decay, shrink, p):
    for i in range(p.size):
        adam_number(i, g, mean, square, beta1, beta2, size, correction, eps, weight_decay, shrink,
                    p)


@jit(parallel=True, fastmath=True)
def adam_parallel(g, mean, square, beta1, beta2, size, correction, eps, weight_decay, shrink, p):
    for i in prange(p.size):
        adam_number(i, g, mean, square, beta1, beta2, size, correction, eps, weight_decay, shrink,
                    p)


@adam_step.gpu
def _(g, mean, square, beta1, beta2, size, correction, eps, weight_decay, shrink, p):
    d = g + weight_decay * p if weight_decay else g
    mean += (1 - beta1) * (d - mean)
    square += (1 - beta2) * (d * d - square)
    p *= 1 - shrink
    p -= size * mean / (module_of(p).sqrt(square) / correction + eps)


adam_step.python("cpu", _if_one_block(functools.partial(_by_size, adam_serial, adam_parallel),
                                      adam_step.variants["gpu"]))
