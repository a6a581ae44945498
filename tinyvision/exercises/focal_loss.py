r"""# Focal loss

Write `sigmoid_focal_loss` and its gradient `sigmoid_focal_loss_backward`.

A one-stage detector asks a hundred thousand anchors; a few of them hold an object, and the many
easy "no" drown the rest. The focal loss makes an answer count less the surer it is. For a logit x
and a target t of 1 (yes) or 0 (no), with p = sigmoid(x):

$$\ell = -\alpha_t\, (1 - p_t)^\gamma \log p_t, \qquad
p_t = \begin{cases} p & t = 1 \\ 1 - p & t = 0 \end{cases}, \qquad
\alpha_t = \begin{cases} \alpha & t = 1 \\ 1 - \alpha & t = 0 \end{cases}$$

**By hand**, x = 0: then p = 1/2 and -log p_t = 0.693. With gamma 2 and alpha 1/4:

    t = 1    1/4 * (1/2)^2 * 0.693 = 0.0433
    t = 0    3/4 * (1/2)^2 * 0.693 = 0.1300

**Conventions** (torchvision's). A negative alpha means no alpha_t at all (a factor of 1). gamma = 0
leaves the cross-entropy. The loss keeps the shape of its arguments: no mean is taken. Logits may
be as large as 1000: then e^1000 must not be computed, and log 0 neither. Two forms help:
-log p_t is softplus(-z) = log(1 + e^(-z)), which `np.logaddexp(0, -z)` computes safely, where z is
x for t = 1 and -x for t = 0; and 1 - p_t is sigmoid(-z).

**Backward.** Given g = dL/dloss, return dL/dx. Both factors depend on x.

**Shapes.** inputs (x), targets (t) and g: any one shape; so are the results.
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake


def sigmoid_focal_loss(inputs, targets, alpha, gamma):
    """Focal loss of every logit.

    Arguments:
        inputs: logits, any shape.
        targets: 0 or 1, of that shape.
        alpha: the weight of the positives, 1 - alpha that of the negatives; negative for none.
        gamma: at least 0; how little the easy ones count.

    Returns:
        The losses, of that shape.
    """
    ### BEGIN SOLUTION
    z = (2 * targets - 1) * inputs      # the logit of what is true: p_t = sigmoid(z)
    cost = np.logaddexp(0, -z)          # -log p_t
    wrong = np.exp(-np.logaddexp(0, z))                     # 1 - p_t = sigmoid(-z)
    weight = alpha * targets + (1 - alpha) * (1 - targets) if alpha >= 0 else 1
    return weight * wrong ** gamma * cost
    ### END SOLUTION


def sigmoid_focal_loss_backward(g, inputs, targets, alpha, gamma):
    """Gradient of a loss with respect to the logits of `sigmoid_focal_loss`.

    Arguments:
        g: gradient with respect to the result, of its shape.
        inputs, targets, alpha, gamma: what `sigmoid_focal_loss` was called with.

    Returns:
        dL/dinputs, of that shape.
    """
    ### BEGIN SOLUTION
    side = 2 * targets - 1
    cost = np.logaddexp(0, -side * inputs)                  # -log p_t
    wrong = np.exp(-np.logaddexp(0, side * inputs))         # 1 - p_t
    weight = alpha * targets + (1 - alpha) * (1 - targets) if alpha >= 0 else 1
    # with z = side x: d cost / dz = -wrong, and d wrong / dz = -wrong (1 - wrong)
    slope = -wrong ** gamma * (wrong + gamma * (1 - wrong) * cost)
    return g * weight * side * slope
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _parts(inputs, targets):
    """(p_t, 1 - p_t, -log p_t), without an overflow."""
    z = (2 * targets - 1) * inputs
    return np.exp(-np.logaddexp(0, -z)), np.exp(-np.logaddexp(0, z)), np.logaddexp(0, -z)


def _weights(targets, alpha):
    return alpha * targets + (1 - alpha) * (1 - targets) if alpha >= 0 else 1.0 + 0 * targets


def _alpha_exchanged(inputs, targets, alpha, gamma):
    return sigmoid_focal_loss(inputs, targets, 1 - alpha if alpha >= 0 else alpha, gamma)


def _alpha_for_all(inputs, targets, alpha, gamma):
    return (alpha if alpha >= 0 else 1) * sigmoid_focal_loss(inputs, targets, -1, gamma)


def _alpha_for_positives(inputs, targets, alpha, gamma):
    weight = np.where(targets == 1, alpha, 1.0) if alpha >= 0 else 1.0
    return weight * sigmoid_focal_loss(inputs, targets, -1, gamma)


def _no_alpha(inputs, targets, alpha, gamma):
    return sigmoid_focal_loss(inputs, targets, -1, gamma)


def _negative_alpha_used(inputs, targets, alpha, gamma):
    weight = alpha * targets + (1 - alpha) * (1 - targets)
    return weight * sigmoid_focal_loss(inputs, targets, -1, gamma)


def _zero_alpha_is_none(inputs, targets, alpha, gamma):
    return sigmoid_focal_loss(inputs, targets, alpha or -1, gamma)


def _true_alpha(inputs, targets, alpha, gamma):
    """``if alpha:`` is false for 0 alone."""
    which = _negative_alpha_used if alpha else _no_alpha
    return which(inputs, targets, alpha, gamma)


def _no_gamma(inputs, targets, alpha, gamma):
    return sigmoid_focal_loss(inputs, targets, alpha, 0.0)


def _power_inside(inputs, targets, alpha, gamma):
    sure, _, cost = _parts(inputs, targets)
    return _weights(targets, alpha) * (1 - sure ** gamma) * cost


def _other_side(inputs, targets, alpha, gamma):
    """The probability of what is not true."""
    return _weights(targets, alpha) * sigmoid_focal_loss(inputs, 1 - targets, -1, gamma)


def _log_p(factor):
    """-log p for all, with the factor (1 - p_t)^gamma or (1 - p)^gamma."""
    def loss(inputs, targets, alpha, gamma):
        wrong = np.exp(-np.logaddexp(0, factor(targets) * inputs))
        return _weights(targets, alpha) * wrong ** gamma * np.logaddexp(0, -inputs)
    return loss


def _no_sigmoid(inputs, targets, alpha, gamma):
    pt = inputs * targets + (1 - inputs) * (1 - targets)
    with np.errstate(all="ignore"):
        return -_weights(targets, alpha) * (1 - pt) ** gamma * np.log(pt)


def _easy_count(inputs, targets, alpha, gamma):
    sure, _, cost = _parts(inputs, targets)
    return _weights(targets, alpha) * sure ** gamma * cost


def _p_for_pt(inputs, targets, alpha, gamma):
    cost = _parts(inputs, targets)[2]
    return _weights(targets, alpha) * np.exp(-np.logaddexp(0, inputs)) ** gamma * cost


def _positives_only(inputs, targets, alpha, gamma):
    return targets * sigmoid_focal_loss(inputs, targets, alpha, gamma)


def _gamma_times(inputs, targets, alpha, gamma):
    _, wrong, cost = _parts(inputs, targets)
    return _weights(targets, alpha) * gamma * wrong * cost


def _fixed_gamma(inputs, targets, alpha, gamma):
    return sigmoid_focal_loss(inputs, targets, alpha, 2.0)


def _overflow(inputs, targets, alpha, gamma):
    with np.errstate(all="ignore"):
        p = 1 / (1 + np.exp(-inputs))
        pt = p * targets + (1 - p) * (1 - targets)
        return -_weights(targets, alpha) * (1 - pt) ** gamma * np.log(pt)


def _quotient_of_infinities(inputs, targets, alpha, gamma):
    """sigmoid(x) = e^x / (1 + e^x)."""
    with np.errstate(all="ignore"):
        p = np.exp(inputs) / (1 + np.exp(inputs))
        pt = np.where(targets == 1, p, 1 - p)
        return -_weights(targets, alpha) * (1 - pt) ** gamma * np.log(pt)


def _nothing_times_infinity(inputs, targets, alpha, gamma):
    with np.errstate(all="ignore"):
        p = 1 / (1 + np.exp(-inputs))
        cost = -(targets * np.log(p) + (1 - targets) * np.log(1 - p))
        pt = p * targets + (1 - p) * (1 - targets)
        return _weights(targets, alpha) * (1 - pt) ** gamma * cost


def _clipped(least):
    """The loss whose p_t is kept away from 0 and 1."""
    def loss(inputs, targets, alpha, gamma):
        pt = np.clip(_parts(inputs, targets)[0], least, 1 - least)
        return -_weights(targets, alpha) * (1 - pt) ** gamma * np.log(pt)
    return loss


def _floored(least):
    """The loss that adds a least probability before the logarithm."""
    def loss(inputs, targets, alpha, gamma):
        sure, wrong, _ = _parts(inputs, targets)
        return -_weights(targets, alpha) * wrong ** gamma * np.log(sure + least)
    return loss


def _lifted(least):
    """The loss whose logarithm alone is that of a clipped p_t."""
    def loss(inputs, targets, alpha, gamma):
        sure, wrong, _ = _parts(inputs, targets)
        return -_weights(targets, alpha) * wrong ** gamma * np.log(np.clip(sure, least, 1 - least))
    return loss


def _mean(inputs, targets, alpha, gamma):
    return sigmoid_focal_loss(inputs, targets, alpha, gamma).mean()


def _sum(inputs, targets, alpha, gamma):
    return sigmoid_focal_loss(inputs, targets, alpha, gamma).sum()


def _of_positives(inputs, targets, alpha, gamma):
    return _sum(inputs, targets, alpha, gamma) / targets.sum()


def _turned(inputs, targets, alpha, gamma):
    return -sigmoid_focal_loss(inputs, targets, alpha, gamma)


def _factor_constant(g, inputs, targets, alpha, gamma):
    _, wrong, _ = _parts(inputs, targets)
    return -g * _weights(targets, alpha) * (2 * targets - 1) * wrong ** (gamma + 1)


def _cost_constant(g, inputs, targets, alpha, gamma):
    sure, wrong, cost = _parts(inputs, targets)
    slope = -gamma * wrong ** gamma * sure * cost
    return g * _weights(targets, alpha) * (2 * targets - 1) * slope


def _by_probability(g, inputs, targets, alpha, gamma):
    sure, wrong, _ = _parts(inputs, targets)
    with np.errstate(all="ignore"):
        return sigmoid_focal_loss_backward(g, inputs, targets, alpha, gamma) / (sure * wrong)


def _side_forgotten(g, inputs, targets, alpha, gamma):
    return sigmoid_focal_loss_backward(g, inputs, targets, alpha, gamma) * (2 * targets - 1)


def _g_forgotten(g, inputs, targets, alpha, gamma):
    return sigmoid_focal_loss_backward(np.ones_like(g), inputs, targets, alpha, gamma)


def _backward_no_alpha(g, inputs, targets, alpha, gamma):
    return sigmoid_focal_loss_backward(g, inputs, targets, -1, gamma)


def _backward_alpha_exchanged(g, inputs, targets, alpha, gamma):
    alpha = 1 - alpha if alpha >= 0 else alpha
    return sigmoid_focal_loss_backward(g, inputs, targets, alpha, gamma)


def _weighted(weights):
    """The backward with other weights(targets, alpha)."""
    def backward(g, inputs, targets, alpha, gamma):
        own = weights(targets, alpha) * np.ones_like(targets)
        return sigmoid_focal_loss_backward(g * own, inputs, targets, -1, gamma)
    return backward


def _sloped(slope):
    """The backward with another slope(p_t, 1 - p_t, -log p_t, gamma) of p_t's logit."""
    def backward(g, inputs, targets, alpha, gamma):
        with np.errstate(all="ignore"):
            by_logit = slope(*_parts(inputs, targets), gamma)
        return g * _weights(targets, alpha) * (2 * targets - 1) * by_logit
    return backward


def _chain_forgotten(least):
    """The exponent gamma - 1 as it is, or never negative."""
    return _sloped(lambda p, q, cost, gamma: (
        -q ** (gamma + 1) - gamma * q ** max(gamma - 1, least) * cost))


def _backward_turned(g, inputs, targets, alpha, gamma):
    return -sigmoid_focal_loss_backward(g, inputs, targets, alpha, gamma)


def _backward_positives_only(g, inputs, targets, alpha, gamma):
    return sigmoid_focal_loss_backward(g * targets, inputs, targets, alpha, gamma)


def _backward_of_mean(g, inputs, targets, alpha, gamma):
    return sigmoid_focal_loss_backward(g / g.size, inputs, targets, alpha, gamma)


def _backward_no_gamma(g, inputs, targets, alpha, gamma):
    return sigmoid_focal_loss_backward(g, inputs, targets, alpha, 0.0)


def _side_by_side(g, inputs, targets, alpha, gamma):
    """Both sides' gradients, of which the targets choose by multiplication."""
    def of(p):
        return (1 - p) ** gamma * (gamma * p * np.log(p) + p - 1)
    with np.errstate(all="ignore"):
        p, q = 1 / (1 + np.exp(-inputs)), 1 / (1 + np.exp(inputs))
        slope = targets * of(p) - (1 - targets) * of(q)
    return g * _weights(targets, alpha) * slope


def _backward_clipped(least):
    """The backward whose p_t is kept away from 0 and 1."""
    def slope(sure, wrong, cost, gamma):
        sure = np.clip(sure, least, 1 - least)
        return (1 - sure) ** gamma * (gamma * sure * np.log(sure) + sure - 1)
    return _sloped(slope)


def _backward_overflow(g, inputs, targets, alpha, gamma):
    with np.errstate(all="ignore"):
        pt = 1 / (1 + np.exp(-(2 * targets - 1) * inputs))
        slope = (1 - pt) ** gamma * (gamma * pt * np.log(pt) + pt - 1)
        return g * _weights(targets, alpha) * (2 * targets - 1) * slope


MISTAKES = (
    Mistake("sigmoid_focal_loss", "alpha-exchanged", "alpha weighs the positives and 1 - alpha the "
            "negatives; yours are exchanged.", _alpha_exchanged),
    Mistake("sigmoid_focal_loss", "alpha-for-all", "alpha multiplies positives and negatives "
            "alike. What weighs the negatives?", _alpha_for_all),
    Mistake("sigmoid_focal_loss", "alpha-for-positives-only", "The negatives have a weight, too.",
            _alpha_for_positives),
    Mistake("sigmoid_focal_loss", "no-alpha", "alpha is not used.", _no_alpha),
    Mistake("sigmoid_focal_loss", "negative-alpha-used", "A negative alpha means that there is "
            "none; it is not a weight.", _negative_alpha_used),
    Mistake("sigmoid_focal_loss", "alpha-0-is-none", "alpha = 0 is a weight as any other; only a "
            "negative one means none.", _zero_alpha_is_none),
    Mistake("sigmoid_focal_loss", "alpha-0-is-none", "alpha = 0 is a weight as any other; only a "
            "negative one means none.", _true_alpha),
    Mistake("sigmoid_focal_loss", "easy-ones-count", "Your loss counts the easy ones and leaves "
            "out the hard ones: which of p_t and 1 - p_t is small for a sure, right answer?",
            _easy_count),
    Mistake("sigmoid_focal_loss", "p-instead-of-pt", "For a negative the probability of what is "
            "true is 1 - p. Your factor takes p there.", _p_for_pt),
    Mistake("sigmoid_focal_loss", "positives-only", "A negative costs something, too: its p_t is "
            "1 - p.", _positives_only),
    *(Mistake("sigmoid_focal_loss", "log-p", "For a negative the probability of what is true is "
              "1 - p. You take the logarithm of p there.", _log_p(factor))
      for factor in (lambda targets: 2 * targets - 1, lambda targets: 1)),
    Mistake("sigmoid_focal_loss", "other-side", "p_t is the probability of what is true; yours is "
            "that of what is not.", _other_side),
    Mistake("sigmoid_focal_loss", "logits-as-probabilities", "The inputs are logits. What makes "
            "probabilities of them?", _no_sigmoid),
    Mistake("sigmoid_focal_loss", "no-gamma", "This is the cross-entropy: gamma is not used.",
            _no_gamma),
    Mistake("sigmoid_focal_loss", "power-inside", "The power is that of 1 - p_t, not of p_t.",
            _power_inside),
    Mistake("sigmoid_focal_loss", "gamma-times", "gamma is an exponent.", _gamma_times),
    Mistake("sigmoid_focal_loss", "gamma-2", "Your answer is right only for gamma = 2.",
            _fixed_gamma),
    Mistake("sigmoid_focal_loss", "overflow", "With large logits p_t becomes 0 and its logarithm "
            "infinite. Which form of -log p_t needs no quotient?", _overflow),
    Mistake("sigmoid_focal_loss", "overflow", "With large logits p_t becomes 0 and its logarithm "
            "infinite. Which form of -log p_t needs no quotient?", _quotient_of_infinities),
    Mistake("sigmoid_focal_loss", "0-times-infinity", "With large logits one of your two "
            "logarithms is infinite, and 0 times infinity is NaN. Which form of -log p_t needs no "
            "quotient?", _nothing_times_infinity),
    *(Mistake("sigmoid_focal_loss", f"clipped-at-10-to-minus-{n}", "A probability kept away from 0 "
              "gives a finite loss, but a wrong one: a certain mistake costs as much as its logit "
              "is large. Which form of -log p_t needs no quotient?", loss)
      for n in (5, 6, 7, 8, 9, 10, 12, 15, 16, 20)
      for loss in (_clipped(10.0 ** -n), _floored(10.0 ** -n), _lifted(10.0 ** -n))[
          0 if n < 15 else 2:]),
    Mistake("sigmoid_focal_loss", "mean", "You take the mean; here every element keeps its own "
            "loss.", _mean),
    Mistake("sigmoid_focal_loss", "sum", "You take the sum; here every element keeps its own "
            "loss.", _sum),
    Mistake("sigmoid_focal_loss", "normalised", "The paper divides the sum by the number of "
            "positives; here every element keeps its own loss.", _of_positives),
    Mistake("sigmoid_focal_loss", "sign", "The logarithm of a probability is negative, a cost is "
            "not.", _turned),
    Mistake("sigmoid_focal_loss_backward", "factor-constant", "Your gradient treats "
            "(1 - p_t)^gamma as a constant; it depends on x, too.", _factor_constant),
    Mistake("sigmoid_focal_loss_backward", "cost-constant", "Your gradient treats -log p_t as a "
            "constant; it depends on x, too.", _cost_constant),
    Mistake("sigmoid_focal_loss_backward", "by-probability", "This is the gradient with respect to "
            "the probability. What is the derivative of the sigmoid?", _by_probability),
    *(Mistake("sigmoid_focal_loss_backward", "inner-derivative", "The derivative of "
              "(1 - p_t)^gamma has an inner one: that of p_t with respect to the logit.",
              _chain_forgotten(least)) for least in (-1, 0)),
    Mistake("sigmoid_focal_loss_backward", "sign-of-one-part", "Both factors fall as p_t grows, so "
            "both parts of the gradient have the same sign.",
            _sloped(lambda p, q, cost, gamma: -q ** gamma * (q - gamma * p * cost))),
    Mistake("sigmoid_focal_loss_backward", "gamma-factor", "The derivative of a power has its "
            "exponent as a factor.", _sloped(lambda p, q, cost, gamma: -q ** gamma * (
                q + p * cost))),
    Mistake("sigmoid_focal_loss_backward", "exponent", "The derivative of a power has an exponent "
            "that is smaller by 1.", _sloped(lambda p, q, cost, gamma: -q ** (gamma + 1) * (
                1 + gamma * p * cost))),
    Mistake("sigmoid_focal_loss_backward", "no-gamma", "This is the cross-entropy's gradient: "
            "gamma is not used.", _backward_no_gamma),
    Mistake("sigmoid_focal_loss_backward", "sign", "Your gradient points the other way: raising "
            "the logit of a positive lowers its cost.", _backward_turned),
    Mistake("sigmoid_focal_loss_backward", "positives-only", "A negative has a gradient, too: its "
            "p_t is 1 - p.", _backward_positives_only),
    Mistake("sigmoid_focal_loss_backward", "mean", "You divide by the number of elements, but the "
            "loss takes no mean.", _backward_of_mean),
    Mistake("sigmoid_focal_loss_backward", "side-forgotten", "Raising the logit helps a positive "
            "and harms a negative: the two gradients have different signs.", _side_forgotten),
    Mistake("sigmoid_focal_loss_backward", "overflow", "With large logits p_t becomes 0, and 0 "
            "times its logarithm NaN. Which form of -log p_t needs no quotient?",
            _backward_overflow),
    Mistake("sigmoid_focal_loss_backward", "overflow", "With large logits p_t becomes 0, and 0 "
            "times its logarithm NaN. Which form of -log p_t needs no quotient?", _side_by_side),
    *(Mistake("sigmoid_focal_loss_backward", f"clipped-at-10-to-minus-{n}", "A probability kept "
              "away from 0 and 1 gives another gradient. Which form of -log p_t needs no "
              "quotient?", _backward_clipped(10.0 ** -n)) for n in (3, 4, 5)),
    Mistake("sigmoid_focal_loss_backward", "g-forgotten", "The gradient g that comes from above is "
            "missing.", _g_forgotten),
    Mistake("sigmoid_focal_loss_backward", "no-alpha", "alpha is not used.", _backward_no_alpha),
    Mistake("sigmoid_focal_loss_backward", "alpha-exchanged", "alpha weighs the positives and "
            "1 - alpha the negatives; yours are exchanged.", _backward_alpha_exchanged),
    Mistake("sigmoid_focal_loss_backward", "alpha-for-all", "alpha multiplies positives and "
            "negatives alike. What weighs the negatives?",
            _weighted(lambda targets, alpha: alpha if alpha >= 0 else 1)),
    Mistake("sigmoid_focal_loss_backward", "alpha-for-positives-only", "The negatives have a "
            "weight, too.", _weighted(lambda targets, alpha: np.where(targets == 1, alpha, 1)
                                      if alpha >= 0 else 1)),
    Mistake("sigmoid_focal_loss_backward", "negative-alpha-used", "A negative alpha means that "
            "there is none; it is not a weight.", _weighted(
                lambda targets, alpha: alpha * targets + (1 - alpha) * (1 - targets))),
    *(Mistake("sigmoid_focal_loss_backward", "alpha-0-is-none", "alpha = 0 is a weight as any "
              "other; only a negative one means none.", _weighted(weights)) for weights in (
                  lambda targets, alpha: _weights(targets, alpha or -1),
                  lambda targets, alpha: alpha * targets + (1 - alpha) * (1 - targets)
                  if alpha else 1)),
)


# ---- cases ---------------------------------------------------------------------------------------

def _draw(rng, shape):
    """Logits of both sides, and targets of both kinds that fit them as often as not."""
    count = int(np.prod(shape))
    targets = rng.permutation(np.arange(count) % 2).astype(float)
    return 1.5 * rng.standard_normal(shape) + 0.3, targets.reshape(shape)


def _large(rng):
    far = rng.integers(800, 1000, 4) * np.array([1.0, -1, 1, -1])
    logits = np.concatenate([far, [2.0, -1]])
    order = rng.permutation(6)
    return logits[order], np.array([1.0, 0, 0, 1, 1, 0])[order]


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    def small():
        order = rng.permutation(4)
        return np.array([0.0, 0, 2, -1])[order], np.array([1.0, 0, 1, 1])[order]

    def backward(name, args):
        return Case("sigmoid_focal_loss_backward", f"backward, {name}",
                    (rng.permutation(1.0 + np.arange(args[0].size)).reshape(args[0].shape), *args))
    maps = [(*_draw(rng, (2, 3, 4)), 0.3, gamma) for gamma in (3.0, 0.5)]
    return [
        Case("sigmoid_focal_loss", "gamma 2", (*small(), 0.25, 2.0)),
        Case("sigmoid_focal_loss", "gamma 0", (*_draw(rng, (6,)), 0.25, 0.0)),
        Case("sigmoid_focal_loss", "no alpha", (*_draw(rng, (2, 4)), -1.0, 1.5)),
        Case("sigmoid_focal_loss", "alpha 0", (*_draw(rng, (5,)), 0.0, 1.0)),
        Case("sigmoid_focal_loss", "large logits", (*_large(rng), 0.75, 2.0)),
        Case("sigmoid_focal_loss", "three axes", maps[0]),
        backward("gamma 2", (*small(), 0.25, 2.0)),
        backward("no alpha, gamma 0", (*_draw(rng, (2, 4)), -1.0, 0.0)),
        backward("alpha 0, large logits", (*_large(rng), 0.0, 1.5)),
        backward("three axes", maps[1]),
    ]


# ---- error bounds --------------------------------------------------------------------------------
# p_t and 1 - p_t may each be 1 minus the other, or an exponential of something as large as x.

def _errors(inputs, targets, gamma):
    """Scales of the errors of 1 - p_t, of its power, and of -log p_t."""
    _, wrong, cost = _parts(inputs, targets)
    of_wrong = 1 + wrong * np.abs(np.log(np.maximum(wrong, 1e-300)))
    power = wrong ** gamma + gamma * np.maximum(wrong, 1e-300) ** (gamma - 1) * of_wrong
    return of_wrong, power, cost + 1 + wrong * np.abs(inputs)


def _magnitude(inputs, targets, alpha, gamma):
    _, wrong, cost = _parts(inputs, targets)
    _, power, of_cost = _errors(inputs, targets, gamma)
    return _weights(targets, alpha) * (power * cost + wrong ** gamma * of_cost)


def _backward_magnitude(g, inputs, targets, alpha, gamma):
    sure, wrong, cost = _parts(inputs, targets)
    of_wrong, power, of_cost = _errors(inputs, targets, gamma)
    inner = wrong + gamma * sure * cost
    of_inner = of_wrong + gamma * (of_wrong * cost + sure * of_cost)
    return np.abs(g) * _weights(targets, alpha) * (power * inner + wrong ** gamma * of_inner)


EXERCISE = Exercise(
    name="focal_loss", title="Focal loss and its gradient", lecture="DLCV, Focal Loss",
    source="tinyvision/ops/loss_binary.py",
    functions={"sigmoid_focal_loss": sigmoid_focal_loss,
               "sigmoid_focal_loss_backward": sigmoid_focal_loss_backward},
    cases=cases, mistakes=MISTAKES,
    magnitude={"sigmoid_focal_loss": _magnitude,
               "sigmoid_focal_loss_backward": _backward_magnitude},
    terms={"sigmoid_focal_loss": lambda *args: 8,
           "sigmoid_focal_loss_backward": lambda *args: 8})
