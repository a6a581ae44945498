"""One step of SGD with momentum, Adam and AdamW."""
from __future__ import annotations

from dataclasses import dataclass

from tinyvision import optim
from tinyvision.bench.cases import Case, normal
from tinyvision.engine import Tensor

KINDS = {"SGD": dict(lr=1e-2, momentum=0.9), "Adam": dict(lr=1e-3), "AdamW": dict(lr=1e-3)}
FLOATS = {"SGD": 5, "Adam": 7, "AdamW": 7}         # numbers read and written a parameter
OPERATIONS = {"SGD": 4, "Adam": 12, "AdamW": 14}   # a parameter; a root or a division is one


@dataclass(frozen=True)
class Step(Case):
    """One step on `count` parameters, tensors of (size, size, 3, 3); in place on both sides."""
    operation = "optimizer"
    halved = "channels", "count"
    kind: str
    count: int
    channels: int

    @property
    def size(self):
        """Such as "Adam, 16 of (128,128,3,3)"."""
        return f"{self.kind}, {self.count} of ({self.channels},{self.channels},3,3)"

    @property
    def size(self):
        """Such as "Adam, 16 of (128,128,3,3)"."""
        return f"{self.kind}, {self.count} of ({self.channels},{self.channels},3,3)"

    @property
    def absent(self):
        """The optimizer's name if there is none."""
        return "" if hasattr(optim, self.kind) else f"optim.{self.kind}"

    @property
    def elements(self):
        """Of all parameters."""
        return self.count * self.channels ** 2 * 9

    @property
    def operations(self):
        """See OPERATIONS."""
        return OPERATIONS[self.kind] * self.elements

    @property
    def moved(self):
        """Parameter, gradient and what the optimizer remembers."""
        return 4 * FLOATS[self.kind] * self.elements

    def inputs(self, rng):
        """Parameters, then their gradients."""
        shape = self.channels, self.channels, 3, 3
        return [normal(rng, *shape) for _ in range(2 * self.count)]

    def ours(self, *arrays):
        """tinyvision's."""
        parameters = [Tensor(a.copy(), requires_grad=True) for a in arrays[:self.count]]
        for parameter, gradient in zip(parameters, arrays[self.count:]):
            parameter.grad = gradient
        return stepping(getattr(optim, self.kind)(parameters, **KINDS[self.kind]), parameters)

    def torch(self, *tensors, **options):
        """PyTorch's."""
        import torch
        parameters = [t.clone().requires_grad_() for t in tensors[:self.count]]
        for parameter, gradient in zip(parameters, tensors[self.count:]):
            parameter.grad = gradient
        kind = getattr(torch.optim, self.kind)
        return stepping(kind(parameters, **KINDS[self.kind], **options), parameters)

    def fused(self, *tensors):
        """PyTorch's fused kernels, which are not its default."""
        return self.torch(*tensors, fused=True)


def stepping(optimizer, parameters):
    """A call that makes one step and returns the parameters."""
    def step():
        optimizer.step()
        return parameters
    return step


CASES = [Step(kind, 16, 128, part="step", goal=1.0) for kind in KINDS]
