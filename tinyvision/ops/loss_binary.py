"""Losses of yes or no: binary cross-entropy, of probabilities or of logits, and the focal loss.

    -(t log p + (1 - t) log(1 - p)),    p = sigmoid x:  t softplus(-x) + (1 - t) softplus(x)

The second form neither overflows nor cancels. Lectures: L1, L4; Lin et al. 2017 (focal loss).
"""
from __future__ import annotations

from dataclasses import dataclass

from tinyvision.device import module_of
from tinyvision.engine import Op, Tensor, as_array
from tinyvision.ops.activation import sigmoid
from tinyvision.ops.activation_smooth import softplus
from tinyvision.ops.arithmetic import log, power
from tinyvision.ops.binary_costs import binary_costs, binary_costs_backward
from tinyvision.ops.check import same_device
from tinyvision.ops.composed import composed_backward
from tinyvision.ops.elementwise import run
from tinyvision.ops.loss_regression import reduced, same_shape
from tinyvision.ops.select import Clamp

LEAST_LOG, LEAST_SLOPE = -100.0, 1e-12     # PyTorch's: a certain mistake costs 100, not infinity


@dataclass(frozen=True)
class BinaryCost(Op):
    """-(t log p + (1 - t) log(1 - p)), the logarithms at least -100."""
    needs = "p", "t"

    def forward(self, p, t):
        xp = module_of(p)
        yes, no = (xp.log(xp.maximum(a, a.dtype.type(1e-44))) for a in (p, 1 - p))
        yes, no = xp.maximum(yes, LEAST_LOG), xp.maximum(no, LEAST_LOG)
        return -(t * yes + (1 - t) * no)

    def backward(self, g, y, p, t):
        return (p.requires_grad and g * (p - t) / Clamp(LEAST_SLOPE, None)(p * (1.0 - p)),
                t.requires_grad and g * (_log(1.0 - p) - _log(p)))


def _log(p):
    return Clamp(LEAST_LOG, None)(log(Clamp(1e-44, None)(p)))


def binary_cross_entropy(input, target, weight=None, reduction="mean") -> Tensor:
    """Minus the log-probability of what is true, for every element a question of its own.

    Args:
        input: probabilities from 0 to 1, any shape.
        target: of that shape, from 0 (no) to 1 (yes).
        weight: a factor for every element, broadcast.
        reduction: "mean", "sum" or "none".

    Like `torch.nn.functional.binary_cross_entropy`: logarithms are at least -100.

    Raises:
        ValueError: shapes that differ, inputs outside 0 to 1, an unknown reduction.
    """
    name = "binary_cross_entropy"
    input, target = same_shape(name, input=input, target=target)
    p = input._data
    if p.size and not (0 <= p.min() and p.max() <= 1):
        raise ValueError(f"{name}: input holds {float(p.min()):.4g} to {float(p.max()):.4g}, "
                         "expected probabilities from 0 to 1; for logits use "
                         "binary_cross_entropy_with_logits")
    return reduced(name, _weighted(name, BinaryCost()(input, target), weight=weight), reduction)


@dataclass(frozen=True)
class LogitCost(Op):
    """The cost of logits x with answers t, see `binary_costs`: fused, forward and backward."""
    yes: float = 1.0
    no: float = 1.0
    gamma: float = 0.0
    needs = "x", "t"

    def forward(self, x, t):
        return run(binary_costs, (x, t), self.yes, self.no, self.gamma)

    def backward(self, g, y, x, t):
        return (x.requires_grad and LogitCostBackward(self)(g, x, t),
                t.requires_grad and composed_backward(self.composed, g, x, t)[1])

    def composed(self, x, t):
        """The same in plain operations."""
        c, wrong = self.parts(x, t)
        return (self.yes * t + self.no * (1.0 - t)) * (power(wrong, self.gamma) * c
                                                       if self.gamma else c)

    def parts(self, x, t):
        """c and w: the cross-entropy, and 1 - p_t without its rounding."""
        return (t * softplus(-x) + (1.0 - t) * softplus(x),
                t * sigmoid(-x) + (1.0 - t) * sigmoid(x))


@dataclass(frozen=True)
class LogitCostBackward(Op):
    """The gradient of the logits x, given those of the costs."""
    costs: LogitCost
    needs = "g", "x", "t"

    def forward(self, g, x, t):
        op = self.costs
        return run(binary_costs_backward, (g, x, t), op.yes, op.no, op.gamma)

    def backward(self, h, out, g, x, t):
        return composed_backward(self.composed, h, g, x, t)

    def composed(self, g, x, t):
        """The same in plain operations."""
        op, (c, wrong), s = self.costs, self.costs.parts(x, t), sigmoid(x)
        slope = s - t
        if op.gamma:
            turn = (1.0 - 2.0 * t) * s * (1.0 - s)           # the slope of w
            slope = power(wrong, op.gamma) * slope + op.gamma * power(
                wrong, op.gamma - 1) * turn * c
        return g * (op.yes * t + op.no * (1.0 - t)) * slope


def binary_cross_entropy_with_logits(input, target, weight=None, reduction="mean",
                                     pos_weight=None) -> Tensor:
    """`binary_cross_entropy` of sigmoid(input), without its rounding.

    Args:
        input: logits, any shape.
        target: of that shape, from 0 (no) to 1 (yes).
        weight: a factor for every element, broadcast.
        reduction: "mean", "sum" or "none".
        pos_weight: a factor for what is true, broadcast: above 1 it favours recall.

    Like `torch.nn.functional.binary_cross_entropy_with_logits`.

    Raises:
        ValueError: shapes that do not fit, an unknown reduction.
    """
    name = "binary_cross_entropy_with_logits"
    x, t = same_shape(name, input=input, target=target)
    if pos_weight is None:
        cost = LogitCost()(x, t)
    else:
        cost = _weighted(name, t, pos_weight=pos_weight) * softplus(-x) + (1.0 - t) * softplus(x)
    return reduced(name, _weighted(name, cost, weight=weight), reduction)


def _weighted(name, cost, **named):
    """The cost times its weight (None is 1), which must not make it larger."""
    (argument, weight), = named.items()
    if weight is None:
        return cost
    same_device(name, input=cost, **named)
    shape = as_array(weight).shape
    if len(shape) > cost.ndim or any(n not in (1, m) for n, m in
                                     zip(shape[::-1], cost.shape[::-1])):
        raise ValueError(f"{name}: {argument} has shape {shape}, expected one that is broadcast to "
                         f"input's, {cost.shape}")
    return cost * weight


def sigmoid_focal_loss(inputs, targets, alpha=0.25, gamma=2.0, reduction="none") -> Tensor:
    """(1 - p_t)^gamma times the binary cross-entropy: what is easy hardly counts.

    p_t is the probability given to what is true.

    Args:
        inputs: logits, any shape.
        targets: of that shape, 0 or 1.
        alpha: the weight of the positives, 1 - alpha that of the negatives; negative for none.
        gamma: how little the easy ones count; 0 is plain cross-entropy.
        reduction: "none" (as torchvision has it), "mean" or "sum".

    Like `torchvision.ops.sigmoid_focal_loss`.

    Raises:
        ValueError: shapes that differ, alpha above 1, an unknown reduction.
    """
    name = "sigmoid_focal_loss"
    x, t = same_shape(name, inputs=inputs, targets=targets)
    if alpha > 1:
        raise ValueError(f"{name}: alpha is {alpha}, expected 0 to 1, or below 0 for none")
    yes, no = (float(alpha), float(1 - alpha)) if alpha >= 0 else (1.0, 1.0)
    return reduced(name, LogitCost(yes, no, float(gamma))(x, t), reduction)
