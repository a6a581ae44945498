"""The optimizers' steps, as kernels: one pass over every parameter.

A step reads every number once and writes it once, in place, without a temporary array: it costs
what moving the parameter, its gradient and its state through the memory costs. These kernels change
their last argument, the parameter, and their state, in place. `gpu` is arithmetic on whole arrays,
with temporary ones; NumPy's go through it if they are no one block.
"""
from __future__ import annotations

import functools

import numpy as np

from tinyvision.device import module_of
from tinyvision.kernel import Kernel, jit, prange

SERIAL = 65536             # elements: up to here one core is done before a second has started


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


@Kernel
def rmsprop_step(g, square, mean, velocity, lr, alpha, eps, weight_decay, momentum, centered, p):
    """One step of RMSprop. Unless centred, `mean` is not read; without momentum, `velocity` is not."""
    for i in np.ndindex(p.shape):
        d = g[i] + weight_decay * p[i]
        square[i] = alpha * square[i] + (1 - alpha) * d * d
        v = square[i]
        if centered:
            mean[i] += (1 - alpha) * (d - mean[i])
            v = v - mean[i] * mean[i]
        d = d / (np.sqrt(v) + eps)
        if momentum:
            velocity[i] = momentum * velocity[i] + d
            d = velocity[i]
        p[i] -= lr * d


@jit(inline=True)
def rmsprop_number(i, g, square, mean, velocity, lr, alpha, eps, weight_decay, momentum, centered, p):
    """The step of one number."""
    T = p.dtype.type
    d = g[i] + T(weight_decay) * p[i]
    s = T(alpha) * square[i] + T(1 - alpha) * d * d
    square[i] = s
    if centered:
        m = mean[i] + T(1 - alpha) * (d - mean[i])
        mean[i] = m
        s -= m * m
    d = d / (np.sqrt(s) + T(eps))
    if momentum != 0:
        d += T(momentum) * velocity[i]
        velocity[i] = d
    p[i] -= T(lr) * d


@jit(fastmath=True)
def rmsprop_serial(g, square, mean, velocity, lr, alpha, eps, weight_decay, momentum, centered, p):
    for i in range(p.size):
        rmsprop_number(i, g, square, mean, velocity, lr, alpha, eps, weight_decay, momentum, centered,
                       p)


@jit(parallel=True, fastmath=True)
def rmsprop_parallel(g, square, mean, velocity, lr, alpha, eps, weight_decay, momentum, centered, p):
    for i in prange(p.size):
        rmsprop_number(i, g, square, mean, velocity, lr, alpha, eps, weight_decay, momentum, centered,
                       p)


@rmsprop_step.gpu
def _(g, square, mean, velocity, lr, alpha, eps, weight_decay, momentum, centered, p):
    d = g + weight_decay * p if weight_decay else g
    square *= alpha
    square += (1 - alpha) * (d * d)
    v = square
    if centered:
        mean += (1 - alpha) * (d - mean)
        v = square - mean * mean
    d = d / (module_of(p).sqrt(v) + eps)
    if momentum:
        velocity *= momentum
        velocity += d
        d = velocity
    p -= lr * d


rmsprop_step.python("cpu", _if_one_block(
    functools.partial(_by_size, rmsprop_serial, rmsprop_parallel), rmsprop_step.variants["gpu"]))
