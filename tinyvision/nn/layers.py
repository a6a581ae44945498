"""The layers: parameters, their initial values, and one call of an operation each."""
from __future__ import annotations

import math

import numpy as np

from tinyvision import ops
from tinyvision.device import generator
from tinyvision.kernel import rehearsed
from tinyvision.nn.init import parameter
from tinyvision.nn.module import Module
from tinyvision.ops.check import at_least, pair


def uniform(shape, fan_in):
    """Uniform in +-1/sqrt(fan_in): PyTorch's default for weights and biases (He et al. 2015)."""
    bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
    return parameter(shape, lambda shape: generator().uniform(-bound, bound, shape))


class _Convolution(Module):
    """What conv2d's and conv_transpose2d's layers share: hyper-parameters, weight, bias."""

    def __init__(self, name, shape, fan_in, out_channels, bias, options):
        for argument in ("stride", "padding", "dilation"):
            pair(name, argument, options[argument], 0 if argument == "padding" else 1)
        self.options = options
        self.weight = uniform(shape, fan_in)
        self.bias = uniform((out_channels,), fan_in) if bias else None

    def extra_repr(self):
        """The weight's shape and the hyper-parameters."""
        return ", ".join([str(self.weight.shape), *(f"{k}={v}" for k, v in self.options.items())])


class Conv2d(_Convolution):
    """`ops.conv2d` with weight (out, in / groups, I, J) and bias (out,). PyTorch's arguments."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1,
                 groups=1, bias=True):
        kernel = pair("Conv2d", "kernel_size", kernel_size, 1)
        check_groups("Conv2d", in_channels, out_channels, groups)
        shape = (out_channels, in_channels // groups, *kernel)
        super().__init__("Conv2d", shape, math.prod(shape[1:]), out_channels, bias,
                         dict(stride=stride, padding=padding, dilation=dilation, groups=groups))

    def forward(self, x):
        """(N, in, H, W) -> (N, out, A, B)."""
        return ops.conv2d(x, self.weight, self.bias, **self.options)


class ConvTranspose2d(_Convolution):
    """`ops.conv_transpose2d` with weight (in, out / groups, I, J). PyTorch's arguments."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0,
                 output_padding=0, groups=1, bias=True, dilation=1):
        kernel = pair("ConvTranspose2d", "kernel_size", kernel_size, 1)
        check_groups("ConvTranspose2d", in_channels, out_channels, groups)
        shape = (in_channels, out_channels // groups, *kernel)
        super().__init__("ConvTranspose2d", shape, math.prod(shape[1:]), out_channels, bias,
                         dict(stride=stride, padding=padding, output_padding=output_padding,
                              groups=groups, dilation=dilation))

    def forward(self, x):
        """(N, in, A, B) -> (N, out, H, W)."""
        return ops.conv_transpose2d(x, self.weight, self.bias, **self.options)


def check_groups(name, in_channels, out_channels, groups):
    """Refuse channels that are no counts, or that the groups do not divide."""
    for argument, value in (("in_channels", in_channels), ("out_channels", out_channels),
                            ("groups", groups)):
        at_least(name, argument, value, 1)
    if in_channels % groups or out_channels % groups:
        raise ValueError(f"{name}: groups={groups} does not divide in_channels={in_channels} "
                         f"and out_channels={out_channels}")


class Linear(Module):
    """x weight^T + bias, weight (out, in)."""

    def __init__(self, in_features, out_features, bias=True):
        at_least("Linear", "in_features", in_features, 1)
        at_least("Linear", "out_features", out_features, 1)
        self.weight = uniform((out_features, in_features), in_features)
        self.bias = uniform((out_features,), in_features) if bias else None

    def forward(self, x):
        """(..., in) -> (..., out)."""
        return ops.linear(x, self.weight, self.bias)

    def extra_repr(self):
        """in and out."""
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}"


class _BatchNorm(Module):
    """`ops.batch_norm` with its running statistics; weight 1 and bias 0 at first.

    Args:
        num_features: the channels C.
        eps: added to the variance.
        momentum: the new batch's share in the running statistics; None for the mean of all batches.
        affine: whether there are weight and bias.
        track_running_stats: without it, the batch's own statistics are used always.
    """
    axes: tuple

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True,
                 track_running_stats=True):
        C = at_least(type(self).__name__, "num_features", num_features, 1)
        self.num_features, self.eps, self.momentum = C, eps, momentum
        self.weight = self.bias = self.running_mean = self.running_var = None
        if affine:
            self.weight, self.bias = parameter((C,), np.ones), parameter((C,), np.zeros)
        if track_running_stats:
            self.register_buffer("running_mean", np.zeros(C, np.float32))
            self.register_buffer("running_var", np.ones(C, np.float32))
            self.register_buffer("num_batches_tracked", np.zeros((), np.int64))

    def forward(self, x):
        """The same shape."""
        if len(x.shape) not in self.axes:
            raise ValueError(f"{type(self).__name__}: input has shape {tuple(x.shape)}, expected "
                             f"{' or '.join(map(str, self.axes))} axes")
        return ops.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias,
                              self.training, self._share(), self.eps)

    def _share(self):
        """The new batch's share in the running statistics, which counts the batch."""
        if not self.training or self.running_mean is None or rehearsed("num_batches_tracked"):
            return 0.0
        self.num_batches_tracked.data += 1
        return 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum

    def extra_repr(self):
        """The channels."""
        return str(self.num_features)


class BatchNorm1d(_BatchNorm):
    """Batch norm of (N, C) or (N, C, L)."""
    axes = 2, 3


class BatchNorm2d(_BatchNorm):
    """Batch norm of (N, C, H, W)."""
    axes = 4,


class FrozenBatchNorm2d(Module):
    """Batch norm of (N, C, H, W) with statistics, weight and bias that are given, not learned.

    Detectors have it in a trunk trained beforehand: their batches are too small for statistics.
    Torchvision's name and keys.
    """

    def __init__(self, num_features, eps=1e-5):
        C = at_least("FrozenBatchNorm2d", "num_features", num_features, 1)
        self.num_features, self.eps = C, eps
        for name, fill in (("weight", np.ones), ("bias", np.zeros), ("running_mean", np.zeros),
                           ("running_var", np.ones)):
            self.register_buffer(name, fill(C, np.float32))

    def forward(self, x):
        """The same shape."""
        return ops.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias,
                              False, 0.0, self.eps)

    def extra_repr(self):
        """The channels."""
        return str(self.num_features)


class LayerNorm(Module):
    """`ops.layer_norm` over the last axes; weight 1 and bias 0 at first."""

    def __init__(self, normalized_shape, eps=1e-5, elementwise_affine=True, bias=True):
        sizes = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (
            normalized_shape,)
        self.normalized_shape = tuple(at_least("LayerNorm", "normalized_shape", n, 1)
                                      for n in sizes)
        self.eps = eps
        self.weight = self.bias = None
        if elementwise_affine:
            self.weight = parameter(self.normalized_shape, np.ones)
        if elementwise_affine and bias:
            self.bias = parameter(self.normalized_shape, np.zeros)

    def forward(self, x):
        """(..., *normalized_shape) -> the same shape."""
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self):
        """The last sizes."""
        return str(self.normalized_shape)


class GroupNorm(Module):
    """`ops.group_norm`; weight 1 and bias 0 at first."""

    def __init__(self, num_groups, num_channels, eps=1e-5, affine=True):
        at_least("GroupNorm", "num_channels", num_channels, 1)
        if num_channels % at_least("GroupNorm", "num_groups", num_groups, 1):
            raise ValueError(f"GroupNorm: num_groups={num_groups} does not divide "
                             f"num_channels={num_channels}")
        self.num_groups, self.eps = num_groups, eps
        self.weight = parameter((num_channels,), np.ones) if affine else None
        self.bias = parameter((num_channels,), np.zeros) if affine else None

    def forward(self, x):
        """(N, C, ...) -> the same shape."""
        return ops.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class GELU(Module):
    """`ops.gelu`."""

    def __init__(self, approximate="none"):
        if approximate not in ("none", "tanh"):
            raise ValueError(f'GELU: approximate is {approximate!r}, expected "none" or "tanh"')
        self.approximate = approximate

    def forward(self, x):
        """Any shape."""
        return ops.gelu(x, self.approximate)


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x):
        """Any shape."""
        return ops.relu(x)


class Flatten(Module):
    """Axes start_dim to end_dim as one: every image's features as one row."""

    def __init__(self, start_dim=1, end_dim=-1):
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x):
        """(N, ...) -> (N, features)."""
        return ops.flatten(x, self.start_dim, self.end_dim)


class Upsample(Module):
    """`ops.interpolate`."""

    def __init__(self, size=None, scale_factor=None, mode="nearest", align_corners=None):
        self.options = dict(size=size, scale_factor=scale_factor, mode=mode,
                            align_corners=align_corners)

    def forward(self, x):
        """(N, C, H, W) -> (N, C, H', W')."""
        return ops.interpolate(x, **self.options)


class CrossEntropyLoss(Module):
    """`ops.cross_entropy` of scores (N, C, ...) and labels (N, ...)."""

    def __init__(self, weight=None, ignore_index=-1, reduction="mean", label_smoothing=0.0):
        self.options = dict(weight=weight, ignore_index=ignore_index, reduction=reduction,
                            label_smoothing=label_smoothing)

    def forward(self, input, target):
        """A scalar, unless reduction is "none"."""
        return ops.cross_entropy(input, target, **self.options)
