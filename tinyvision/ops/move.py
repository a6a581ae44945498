"""Moving between devices: linear, and the way back is the adjoint."""
from __future__ import annotations

from dataclasses import dataclass

from tinyvision.device import to_device
from tinyvision.engine import Op, Tensor


@dataclass(frozen=True)
class Move(Op):
    """The same numbers on "cpu" or "gpu"; the gradient travels back."""
    device: str

    def forward(self, a):
        return to_device(a, self.device)

    def backward(self, g, y, a):
        return Move("cpu" if self.device == "gpu" else "gpu")(g),


def beside(tensor, array) -> Tensor:
    """An array that was chosen on the CPU, as a Tensor on the tensor's device, and of its dtype if
    it is floating."""
    array = array.astype(tensor.dtype) if array.dtype.kind == "f" else array
    return Tensor(array).to(tensor.device)
