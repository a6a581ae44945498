"""Losses as layers. Names, arguments and defaults are PyTorch's; each is one call of `ops`."""
from __future__ import annotations

from tinyvision import ops
from tinyvision.engine import as_array
from tinyvision.nn.module import Module


class _Loss(Module):
    """A loss function, and its arguments by name. Weights that are arrays are buffers."""

    def __init__(self, **options):
        self.names = []
        for name, value in options.items():
            self.names.append(name)
            if value is None or isinstance(value, (str, int, float, bool)):
                setattr(self, name, value)
            else:
                self.register_buffer(name, as_array(value))

    def forward(self, input, target):
        """A scalar, unless reduction is "none"."""
        return type(self).function(input, target, **{n: getattr(self, n) for n in self.names})

    def extra_repr(self):
        """The arguments."""
        return ", ".join(f"{n}={v if not hasattr(v, 'shape') else v.shape}" for n, v in
                         ((n, getattr(self, n)) for n in self.names) if v is not None)


class MSELoss(_Loss):
    """(input - target)^2."""
    function = staticmethod(ops.mse_loss)

    def __init__(self, reduction="mean"):
        super().__init__(reduction=reduction)


class L1Loss(MSELoss):
    """|input - target|."""
    function = staticmethod(ops.l1_loss)


class SmoothL1Loss(_Loss):
    """|input - target|, with a parabola where that is below beta."""
    function = staticmethod(ops.smooth_l1_loss)

    def __init__(self, reduction="mean", beta=1.0):
        super().__init__(reduction=reduction, beta=beta)


class HuberLoss(_Loss):
    """delta times the smooth L1 loss."""
    function = staticmethod(ops.huber_loss)

    def __init__(self, reduction="mean", delta=1.0):
        super().__init__(reduction=reduction, delta=delta)


class NLLLoss(_Loss):
    """Minus the log-probability (N, C, ...) of the labels (N, ...)."""
    function = staticmethod(ops.nll_loss)

    def __init__(self, weight=None, ignore_index=-1, reduction="mean"):
        super().__init__(weight=weight, ignore_index=ignore_index, reduction=reduction)


class BCELoss(_Loss):
    """Binary cross-entropy of probabilities."""
    function = staticmethod(ops.binary_cross_entropy)

    def __init__(self, weight=None, reduction="mean"):
        super().__init__(weight=weight, reduction=reduction)


class BCEWithLogitsLoss(_Loss):
    """Binary cross-entropy of logits."""
    function = staticmethod(ops.binary_cross_entropy_with_logits)

    def __init__(self, weight=None, reduction="mean", pos_weight=None):
        super().__init__(weight=weight, reduction=reduction, pos_weight=pos_weight)


class KLDivLoss(_Loss):
    """target (log target - input), input being log-probabilities."""
    function = staticmethod(ops.kl_div)

    def __init__(self, reduction="mean", log_target=False):
        super().__init__(reduction=reduction, log_target=log_target)


class MultiMarginLoss(_Loss):
    """The multi-class SVM's loss of scores (N, C) and labels (N,)."""
    function = staticmethod(ops.multi_margin_loss)

    def __init__(self, p=1, margin=1.0, weight=None, reduction="mean"):
        super().__init__(p=p, margin=margin, weight=weight, reduction=reduction)


class DiceLoss(_Loss):
    """Soft Dice of probabilities (N, C, ...)."""
    function = staticmethod(ops.dice_loss)

    def __init__(self, reduction="mean", eps=1e-6):
        super().__init__(reduction=reduction, eps=eps)
