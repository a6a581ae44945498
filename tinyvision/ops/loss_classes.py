"""Losses of classes: likelihoods of labels, margins, soft Dice.

    nll     -log p[t]                                 kl_div         sum t (log t - input)
    dice    1 - 2 sum(y p) / (sum y^2 + sum p^2)      multi_margin   sum over c != t of
                                                                     max(0, margin - x_t + x_c)

Lectures: L1, L2, L6, L7; Weston & Watkins 1999 (margins); Milletari et al. 2016 (Dice).
"""
from __future__ import annotations

from dataclasses import dataclass

from tinyvision.device import module_of
from tinyvision.engine import Op, Tensor, as_array
from tinyvision.ops.activation import relu
from tinyvision.ops.arithmetic import exp, log
from tinyvision.ops.check import labels_of, same_device
from tinyvision.ops.loss_regression import REDUCTIONS, reduced, same_shape
from tinyvision.ops.select import where
from tinyvision.ops.shape import reshape, sum, take


def nll_loss(input, target, weight=None, ignore_index=-1, reduction="mean") -> Tensor:
    """Minus the log-probability of the right class; after `log_softmax` it is `cross_entropy`.

    Args:
        input: log-probabilities (N, C) or (N, C, H, W): axis 1 counts the classes.
        target: labels (N,) or (N, H, W), whole numbers from 0 to C - 1.
        weight: (C,), a factor for every class.
        ignore_index: a label that costs nothing (-1, where PyTorch has -100).
        reduction: "mean" (weighted by the classes' weights), "sum" or "none".

    Like `torch.nn.functional.nll_loss`.

    Raises:
        ValueError: shapes that do not fit, a label out of range, an unknown reduction.
    """
    name = "nll_loss"
    same_device(name, input=input, target=target, weight=weight)
    places, kept = right_places(name, input, target, ignore_index)
    share = _weights(name, weight, as_array(input), places[1]) * kept
    chosen = take(input, places)
    xp = module_of(share)
    chosen = chosen if kept.all() else _silent(chosen, kept)
    cost = -(chosen * Tensor(share.astype(chosen.dtype)))
    if reduction == "mean":
        return sum(cost) / float(xp.asarray(share).sum() or "nan")
    return reduced(name, cost, reduction)


def _silent(x, kept):
    """x, 0 where it does not count: also where it is infinite or NaN."""
    return where(kept, x, 0.0)


def right_places(name, input, target, ignore_index=None):
    """(the index of the right class's element at every place, whether the place counts).

    Labels that are ignored point at class 0.

    Raises:
        ValueError: shapes that do not fit, labels out of range or not whole.
    """
    shape, labels = labels_of(name, input, target)
    kept = labels == labels if ignore_index is None else labels != ignore_index
    wrong = labels[((labels < 0) | (labels >= shape[1])) & kept]
    if wrong.size:
        raise ValueError(f"{name}: target has the label {int(wrong[0])}, expected 0 to "
                         f"{shape[1] - 1}" + (f" or ignore_index={ignore_index}"
                                              if ignore_index is not None else ""))
    xp = module_of(labels)
    grid = [xp.arange(n).reshape((-1,) + (1,) * (labels.ndim - 1 - k))
            for k, n in enumerate(labels.shape)]
    return (grid[0], xp.where(kept, labels, 0), *grid[1:]), kept


def _weights(name, weight, scores, labels):
    """Every label's weight."""
    xp, C = module_of(scores), scores.shape[1]
    if weight is None:
        return xp.ones(labels.shape, scores.dtype)
    classes = as_array(weight)
    if classes.shape != (C,):
        raise ValueError(f"{name}: weight has shape {classes.shape}, expected ({C},)")
    return classes[labels]


# --- margins --------------------------------------------------------------------------------------
def multi_margin_loss(input, target, p=1, margin=1.0, weight=None, reduction="mean") -> Tensor:
    """The multi-class SVM's: 1/C sum over c != t of max(0, margin - x_t + x_c)^p, t the label.

    Args:
        input: scores (N, C).
        target: labels (N,), whole numbers from 0 to C - 1.
        p: 1 or 2.
        margin: by how much the right score should lead.
        weight: (C,), a factor for every right class.
        reduction: "mean" over the N images, "sum" or "none".

    Like `torch.nn.functional.multi_margin_loss`; lectures leave out the 1/C: see `hinge_loss`.

    Raises:
        ValueError: shapes that do not fit, a label out of range, another p or reduction.
    """
    return _margins("multi_margin_loss", input, target, p, margin, weight, reduction, True)


def hinge_loss(input, target, margin=1.0, reduction="mean") -> Tensor:
    """The lecture's SVM loss: sum over c != t of max(0, x_c - x_t + margin), t being the label.

    Arguments and errors are those of `multi_margin_loss`, which is this divided by C.
    """
    return _margins("hinge_loss", input, target, 1, margin, None, reduction, False)


def _margins(name, input, target, p, margin, weight, reduction, divided):
    same_device(name, input=input, target=target, weight=weight)
    scores = as_array(input)
    if scores.ndim != 2 or p not in (1, 2):
        raise ValueError(f"{name}: got scores of shape {scores.shape} and p={p}, expected (N, C) "
                         "and p of 1 or 2")
    places, _ = right_places(name, input, target)
    N, C = scores.shape
    others = module_of(scores).ones((N, C), scores.dtype)
    others[places] = 0
    own = _weights(name, weight, scores, places[1]).astype(scores.dtype).reshape(N, 1)
    lead = relu(float(margin) - reshape(take(input, places), N, 1) + input)
    cost = lead if p == 1 else lead * lead
    cost = sum(cost * Tensor(others * own), 1)
    return reduced(name, cost / C if divided else cost, reduction)


# --- distributions --------------------------------------------------------------------------------
@dataclass(frozen=True)
class XLogX(Op):
    """a log(a), 0 at 0."""
    needs = "a",

    def forward(self, a):
        xp = module_of(a)
        return a * xp.log(xp.where(a == 0, a.dtype.type(1), a))

    def backward(self, g, y, a):
        return g * (log(a) + 1.0),


def kl_div(input, target, reduction="mean", log_target=False) -> Tensor:
    """target (log target - input): the divergence of one distribution from another, in nats.

    Args:
        input: log-probabilities, any shape.
        target: probabilities of that shape, or with log_target their logarithms; 0 costs nothing.
        reduction: "mean" over all elements (PyTorch's default, and no divergence), "batchmean" for
            the sum over everything divided by the size of the first axis, "sum" or "none".

    Like `torch.nn.functional.kl_div`.

    Raises:
        ValueError: shapes that differ, an unknown reduction.
    """
    input, target = same_shape("kl_div", input=input, target=target)
    if log_target:
        cost = exp(target) * (target - input)
    else:
        cost = XLogX()(target) - target * input
    if reduction == "batchmean":
        return sum(cost) / (cost.shape[0] if cost.ndim and cost.shape[0] else float("nan"))
    return reduced("kl_div", cost, reduction, (*REDUCTIONS, "batchmean"))


def dice_loss(input, target, reduction="mean", eps=1e-6) -> Tensor:
    """1 - 2 sum(y p) / (sum y^2 + sum p^2): soft Dice, of every class.

    The sums run over the batch and the pixels. Unlike cross-entropy it does not care how rare a
    class is.

    Args:
        input: probabilities p (N, C, ...): after `softmax` or `sigmoid`.
        target: y, of that shape, 0 to 1; or whole-number labels (N, ...) from 0 to C - 1 (-1: the
            pixel does not count).
        reduction: "mean" over the classes, "sum", or "none" for (C,).
        eps: added above and below the line, so that a class that is neither there nor predicted
            costs 0.

    Raises:
        ValueError: shapes that do not fit, a label out of range, an unknown reduction.
    """
    name, p = "dice_loss", input if isinstance(input, Tensor) else Tensor(input)
    same_device(name, input=input, target=target)
    if p.ndim < 2:
        raise ValueError(f"{name}: input has shape {p.shape}, expected (N, C, ...)")
    if as_array(target).dtype.kind in "iu" and as_array(target).ndim == p.ndim - 1:
        p, y = _one_hot(name, p, target)
    else:
        p, y = same_shape(name, input=p, target=target)
    axes = (0, *range(2, p.ndim))
    both, squares = sum(p * y, axes), sum(p * p, axes) + sum(y * y, axes)
    return reduced(name, 1.0 - (2.0 * both + eps) / (squares + eps), reduction)


def _one_hot(name, p, labels):
    """(p without the pixels that do not count, the labels' 0 and 1 in p's shape)."""
    places, kept = right_places(name, p, labels, -1)
    y = module_of(p._data).zeros(p.shape, p.dtype)
    y[places] = kept.astype(p.dtype)
    return (p if kept.all() else _silent(p, kept[:, None])), Tensor(y)
