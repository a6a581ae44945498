"""Layers that take the largest value or the mean of windows, and the way back."""
from __future__ import annotations

from tinyvision import ops
from tinyvision.nn.module import Module
from tinyvision.ops.check import pair


class _Pool(Module):
    """A layer without parameters: an operation and its arguments."""

    def __init__(self, kernel_size, stride=None, padding=0):
        name, stride = type(self).__name__, kernel_size if stride is None else stride
        for argument, value, least in (("kernel_size", kernel_size, 1), ("stride", stride, 1),
                                       ("padding", padding, 0)):
            pair(name, argument, value, least)
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def extra_repr(self):
        """Kernel, stride, padding."""
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding}"


def _unusual(layer, **usual):
    """", name=value" of the attributes that are not as usual."""
    return "".join(f", {name}={getattr(layer, name)}" for name, value in usual.items()
                   if getattr(layer, name) != value)


class MaxPool2d(_Pool):
    """`ops.max_pool2d`: the largest value of every window, and with return_indices where it stood.
    PyTorch's arguments."""

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, return_indices=False,
                 ceil_mode=False):
        super().__init__(kernel_size, stride, padding)
        pair("MaxPool2d", "dilation", dilation, 1)
        self.dilation, self.return_indices, self.ceil_mode = dilation, return_indices, ceil_mode

    def forward(self, x):
        """(N, C, H, W) -> (N, C, A, B), or a pair with the indices."""
        return ops.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation,
                              self.ceil_mode, self.return_indices)

    def extra_repr(self):
        """Kernel, stride, padding, and what else is not as usual."""
        return super().extra_repr() + _unusual(self, dilation=1, ceil_mode=False)


class MaxUnpool2d(_Pool):
    """Every value put back where its maximum stood, zeros elsewhere."""

    def forward(self, x, indices, output_size=None):
        """(N, C, A, B) and its indices -> (N, C, H, W)."""
        return ops.max_unpool2d(x, indices, self.kernel_size, self.stride, self.padding,
                                output_size)


class AvgPool2d(_Pool):
    """`ops.avg_pool2d`: the mean of every window. PyTorch's arguments."""

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False,
                 count_include_pad=True, divisor_override=None):
        super().__init__(kernel_size, stride, padding)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def forward(self, x):
        """(N, C, H, W) -> (N, C, A, B)."""
        return ops.avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode,
                              self.count_include_pad, self.divisor_override)

    def extra_repr(self):
        """Kernel, stride, padding, and what else is not as usual."""
        return super().extra_repr() + _unusual(self, ceil_mode=False, count_include_pad=True,
                                               divisor_override=None)
