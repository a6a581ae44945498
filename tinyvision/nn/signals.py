"""Convolutions of signals (N, C, L). Names, arguments and state keys are PyTorch's."""
from __future__ import annotations

from tinyvision import ops
from tinyvision.nn.layers import check_groups, uniform
from tinyvision.nn.module import Module
from tinyvision.ops.check import at_least


class _Convolution1d(Module):
    """Hyper-parameters, weight, bias."""

    def __init__(self, shape, fan_in, out_channels, bias, **options):
        name = type(self).__name__
        for argument, least in (("stride", 1), ("padding", 0), ("dilation", 1)):
            at_least(name, argument, options[argument], least)
        self.options = options
        self.weight = uniform(shape, fan_in)
        self.bias = uniform((out_channels,), fan_in) if bias else None

    def extra_repr(self):
        """The weight's shape and the hyper-parameters."""
        return ", ".join([str(self.weight.shape), *(f"{k}={v}" for k, v in self.options.items())])


class Conv1d(_Convolution1d):
    """`ops.conv1d` with weight (out, in / groups, J) and bias (out,)."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1,
                 groups=1, bias=True):
        check_groups("Conv1d", in_channels, out_channels, groups)
        J = at_least("Conv1d", "kernel_size", kernel_size, 1)
        super().__init__((out_channels, in_channels // groups, J), in_channels // groups * J,
                         out_channels, bias, stride=stride, padding=padding, dilation=dilation,
                         groups=groups)

    def forward(self, x):
        """(N, in, W) -> (N, out, B)."""
        return ops.conv1d(x, self.weight, self.bias, **self.options)


class ConvTranspose1d(_Convolution1d):
    """`ops.conv_transpose1d` with weight (in, out / groups, J) and bias (out,)."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0,
                 output_padding=0, groups=1, bias=True, dilation=1):
        check_groups("ConvTranspose1d", in_channels, out_channels, groups)
        J = at_least("ConvTranspose1d", "kernel_size", kernel_size, 1)
        at_least("ConvTranspose1d", "output_padding", output_padding, 0)
        super().__init__((in_channels, out_channels // groups, J), out_channels // groups * J,
                         out_channels, bias, stride=stride, padding=padding,
                         output_padding=output_padding, groups=groups, dilation=dilation)

    def forward(self, x):
        """(N, in, B) -> (N, out, W)."""
        return ops.conv_transpose1d(x, self.weight, self.bias, **self.options)
