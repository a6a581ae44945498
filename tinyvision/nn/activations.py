"""Activations as layers. Names, arguments and state keys are PyTorch's; all take any shape."""
from __future__ import annotations

import numpy as np

from tinyvision import ops
from tinyvision.nn.init import parameter
from tinyvision.nn.module import Module
from tinyvision.ops.check import at_least


class _Activation(Module):
    """A function, and its hyper-parameters by name."""

    def __init__(self, **options):
        self.options = options

    def forward(self, x):
        """The same shape."""
        return type(self).function(x, **self.options)

    def extra_repr(self):
        """The hyper-parameters."""
        return ", ".join(f"{k}={v}" for k, v in self.options.items())


class LeakyReLU(_Activation):
    """x where positive, negative_slope x elsewhere."""
    function = staticmethod(ops.leaky_relu)

    def __init__(self, negative_slope=0.01):
        super().__init__(negative_slope=negative_slope)


class ELU(_Activation):
    """x where positive, alpha (e^x - 1) elsewhere."""
    function = staticmethod(ops.elu)

    def __init__(self, alpha=1.0):
        super().__init__(alpha=alpha)


class Softplus(_Activation):
    """log(1 + e^(beta x)) / beta."""
    function = staticmethod(ops.softplus)

    def __init__(self, beta=1.0, threshold=20.0):
        super().__init__(beta=beta, threshold=threshold)


class Hardtanh(_Activation):
    """min(max(x, min_val), max_val)."""
    function = staticmethod(ops.hardtanh)

    def __init__(self, min_val=-1.0, max_val=1.0):
        super().__init__(min_val=min_val, max_val=max_val)


class Sigmoid(_Activation):
    """1 / (1 + e^-x)."""
    function = staticmethod(ops.sigmoid)


class LogSigmoid(_Activation):
    """-log(1 + e^-x)."""
    function = staticmethod(ops.logsigmoid)


class Tanh(_Activation):
    """The hyperbolic tangent."""
    function = staticmethod(ops.tanh)


class SiLU(_Activation):
    """x sigmoid(x)."""
    function = staticmethod(ops.silu)


class Mish(_Activation):
    """x tanh(softplus(x))."""
    function = staticmethod(ops.mish)


class SELU(_Activation):
    """A scaled elu that keeps mean 0 and variance 1."""
    function = staticmethod(ops.selu)


class ReLU6(_Activation):
    """min(max(x, 0), 6)."""
    function = staticmethod(ops.relu6)


class Hardsigmoid(_Activation):
    """min(max(x + 3, 0), 6) / 6."""
    function = staticmethod(ops.hardsigmoid)


class Hardswish(_Activation):
    """x min(max(x + 3, 0), 6) / 6."""
    function = staticmethod(ops.hardswish)


class PReLU(Module):
    """A leaky relu whose slope is learned: one for all channels, or one each."""

    def __init__(self, num_parameters=1, init=0.25):
        at_least("PReLU", "num_parameters", num_parameters, 1)
        self.weight = parameter((num_parameters,), lambda shape: np.full(shape, init))

    def forward(self, x):
        """(N, C, ...) -> the same shape."""
        return ops.prelu(x, self.weight)

    def extra_repr(self):
        """How many slopes."""
        return f"num_parameters={self.weight.size}"


class Softmax(_Activation):
    """Positive numbers along `dim` that sum to 1."""
    function = staticmethod(ops.softmax)

    def __init__(self, dim):
        super().__init__(dim=dim)


class LogSoftmax(Softmax):
    """The logarithm of softmax."""
    function = staticmethod(ops.log_softmax)
