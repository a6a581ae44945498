"""conv2d and conv_transpose2d: forward, input gradient, weight gradient."""
from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tinyvision import ops
from tinyvision.bench.cases import Case, call_of, normal
from tinyvision.ops.conv2d import Conv2d as Op

PARTS = {"forward": None, "input gradient": 0, "weight gradient": 1}


@dataclass(frozen=True)
class Convolution(Case):
    """x (N, C, H, W) and O filters of `kernel`; what conv2d and its transpose share."""
    N: int
    C: int
    H: int
    W: int
    O: int
    kernel: tuple
    stride: tuple = (1, 1)
    padding: tuple = (0, 0)
    dilation: tuple = (1, 1)
    groups: int = 1

    @property
    def size(self):
        """Such as "(8,64,56,56) 64 of 3x3 stride 2"."""
        extra = [f" {name} {short(getattr(self, name))}" for name in ("stride", "dilation")
                 if getattr(self, name) != (1, 1)]
        extra += [f" groups {self.groups}"] * (self.groups > 1)
        I, J = self.kernel
        return f"({self.N},{self.C},{self.H},{self.W}) {self.O} of {I}x{J}{''.join(extra)}"

    @property
    def halved(self):
        """Channels must stay what the groups divide."""
        return ("N", "C", "O") if self.groups == 1 else ("N",)

    def smaller(self, operations):
        """Smaller maps first, but none smaller than 8 and what the kernel reaches."""
        case, least = self, [max(8, d * (k - 1) + 1) for k, d in zip(self.kernel, self.dilation)]
        while case.operations > operations and (case.H, case.W) != (
                size := tuple(max(h // 2, min(h, low)) for h, low in zip((case.H, case.W), least))):
            case = replace(case, H=size[0], W=size[1])
        return super(Convolution, case).smaller(operations)

    @property
    def wanted(self):
        """The place of the input whose gradient is wanted; None is forward."""
        return PARTS[self.part]

    @property
    def mask(self):
        """For `aten.convolution_backward`: compute that one gradient alone."""
        return [self.wanted == 0, self.wanted == 1, False]

    def inputs(self, rng):
        """x, w and, for a gradient, the cotangent of y."""
        x, w, y = self.shapes
        scale = (w[1] * w[2] * w[3]) ** -0.5
        cotangent = () if self.wanted is None else (normal(rng, *y),)
        return (normal(rng, *x), normal(rng, *w, scale=scale), *cotangent)

    @property
    def moved(self):
        """Two of x, w, y are read and the third is written."""
        return 4 * sum(map(math.prod, self.shapes))

    def ours(self, x, w, g=None):
        """Through the public operation."""
        return call_of(self.function, (x, w), self.wanted, g)

    def gradient_by_torch(self, g, x, w, transposed):
        """Through aten, so that only one gradient is computed."""
        import torch
        arguments = (g, x, w, None, self.stride, self.padding, self.dilation, transposed, (0, 0),
                     self.groups, self.mask)
        return lambda: torch.ops.aten.convolution_backward(*arguments)[self.wanted]

    def channels_last(self, *tensors):
        """The same calls on other strides."""
        return self.torch(*tensors)


@dataclass(frozen=True)
class Conv2d(Convolution):
    """x (N, C, H, W), w (O, C / groups, I, J)."""
    operation = "conv2d"

    @property
    def shapes(self):
        """Those of x, w and y."""
        A, B = Op(self.stride, self.padding, self.dilation).size(self.H, self.W, *self.kernel)
        return ((self.N, self.C, self.H, self.W), (self.O, self.C // self.groups, *self.kernel),
                (self.N, self.O, A, B))

    @property
    def operations(self):
        """Every weight meets every position of its image once, in all three parts alike."""
        _, w, y = self.shapes
        return 2 * math.prod(w) * y[0] * y[2] * y[3]

    def function(self, x, w):
        """tinyvision's."""
        return ops.conv2d(x, w, None, self.stride, self.padding, self.dilation, self.groups)

    def torch(self, x, w, g=None):
        """PyTorch's."""
        import torch
        if g is not None:
            return self.gradient_by_torch(g, x, w, False)
        conv, rest = torch.nn.functional.conv2d, (self.stride, self.padding, self.dilation,
                                                  self.groups)
        return lambda: conv(x, w, None, *rest)

    def jax(self, x, w, g=None):
        """JAX's, compiled."""
        import jax

        def conv(x, w):
            return jax.lax.conv_general_dilated(
                x, w, self.stride, [(p, p) for p in self.padding], rhs_dilation=self.dilation,
                feature_group_count=self.groups)
        if g is None:
            run = jax.jit(conv)
            return lambda: run(x, w).block_until_ready()
        fixed = (lambda x: conv(x, w)) if self.wanted == 0 else (lambda w: conv(x, w))
        run = jax.jit(lambda at, g: jax.vjp(fixed, at)[1](g)[0])
        return lambda: run((x, w)[self.wanted], g).block_until_ready()

    def dezero(self, x, w, g=None):
        """DeZero's, forward; it has neither dilation nor groups."""
        import dezero.functions as F
        if g is not None or self.dilation != (1, 1) or self.groups > 1:
            return None
        return lambda: F.conv2d(x, w, None, self.stride, self.padding)


@dataclass(frozen=True)
class ConvTranspose2d(Convolution):
    """x (N, C, H, W) stamped with w (C, O / groups, I, J) onto y (N, O, A, B)."""
    operation = "conv_transpose2d"

    @property
    def shapes(self):
        """Those of x, w and y."""
        A, B = ((h - 1) * s - 2 * p + d * (k - 1) + 1 for h, s, p, d, k in
                zip((self.H, self.W), self.stride, self.padding, self.dilation, self.kernel))
        return ((self.N, self.C, self.H, self.W), (self.C, self.O // self.groups, *self.kernel),
                (self.N, self.O, A, B))

    @property
    def operations(self):
        """Every weight meets every position of x once, in all three parts alike."""
        x, w, _ = self.shapes
        return 2 * math.prod(w) * x[0] * x[2] * x[3]

    def function(self, x, w):
        """tinyvision's."""
        return ops.conv_transpose2d(x, w, None, self.stride, self.padding, 0, self.groups,
                                    self.dilation)

    def torch(self, x, w, g=None):
        """PyTorch's."""
        import torch
        if g is not None:
            return self.gradient_by_torch(g, x, w, True)
        conv, rest = torch.nn.functional.conv_transpose2d, (self.stride, self.padding, 0,
                                                            self.groups, self.dilation)
        return lambda: conv(x, w, None, *rest)


# --- the table ------------------------------------------------------------------------------------
def row(kind, N, C, H, W, O, kernel, goals, stride=1, padding=0, dilation=1, groups=1, last=()):
    """Three cases: goals (forward, input gradient, weight gradient) against PyTorch; `last` is
    the goal for forward against channels last."""
    both = [value if isinstance(value, tuple) else (value, value)
            for value in (kernel, stride, padding, dilation)]
    return [kind(N, C, H, W, O, *both, groups, part=part, goal=goal,
                 goals=tuple(("channels_last", g) for g in last) if part == "forward" else ())
            for part, goal in zip(PARTS, goals)]


def short(pair):
    """3 for (3, 3), 1x7 for (1, 7)."""
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


CASES = [
    *row(Conv2d, 8, 64, 56, 56, 64, 3, (1.0, 1.0, 1.0), padding=1),
    *row(Conv2d, 8, 256, 14, 14, 256, 3, (1.0, 1.0, 1.0), padding=1),
    *row(Conv2d, 1, 64, 56, 56, 64, 3, (1.0, 1.0, 1.0), padding=1),
    *row(Conv2d, 16, 16, 32, 32, 32, 3, (1.0, 1.0, 1.0), padding=1),
    *row(Conv2d, 8, 3, 224, 224, 64, 7, (1.1, 0.75, 1.1), stride=2, padding=3),
    *row(Conv2d, 8, 256, 56, 56, 64, 1, (1.0, 1.0, 1.0)),
    *row(Conv2d, 8, 64, 56, 56, 128, 3, (1.1, 1.1, 1.1), stride=2, padding=1),
    *row(Conv2d, 8, 64, 56, 56, 64, 3, (1.1, 1.1, 1.1), padding=2, dilation=2),
    *row(Conv2d, 8, 64, 56, 56, 64, 3, (0.4, 0.4, 0.4), padding=1, groups=64, last=(1.0,)),
    *row(Conv2d, 8, 128, 28, 28, 128, 3, (0.8, 0.8, 0.8), padding=1, groups=32, last=(1.0,)),
    *row(ConvTranspose2d, 8, 64, 28, 28, 64, 4, (0.8, 1.0, 1.0), stride=2, padding=1),
    *row(ConvTranspose2d, 8, 128, 28, 28, 64, 2, (0.8, 1.0, 1.0), stride=2),
    *row(ConvTranspose2d, 8, 64, 56, 56, 64, 3, (0.8, 1.0, 1.0), padding=1),
]
