r"""# Smooth L1 loss

Write `smooth_l1_loss` and its gradient `smooth_l1_loss_backward`.

Box regression has few large errors and many small ones. The squared error lets one bad box rule
the gradient; the absolute error has a corner at 0. Smooth L1 is a parabola near 0 and straight
beyond. With d = input - target:

$$\ell(d) = \begin{cases} d^2 / (2 \beta) & |d| < \beta \\ |d| - \beta / 2 & \text{otherwise}
\end{cases}$$

**By hand**, with beta = 2 and target 0:

    input        1              -3             6
    |d| < 2      yes            no             no
    loss         1 / 4          3 - 1 = 2      6 - 1 = 5
    slope        1 / 2          -1             1

**Backward.** Given g = dL/dloss, one number for each element, return dL/dinput and dL/dtarget.
The slope is d / beta inside the parabola and the sign of d outside; the target stands behind a
minus.

**Conventions.** No mean and no sum is taken: the loss has the shape of its arguments (PyTorch's
`reduction="none"`). beta may be 0: then it is the absolute error, with slope 0 where d = 0, and no
NaN.

**Shapes.** input, target and g: any one shape, of at least one axis; so are the results.
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake


def smooth_l1_loss(input, target, beta):
    """Smooth L1 loss of every element.

    Arguments:
        input: predictions, any shape of at least one axis.
        target: what they should be, of that shape.
        beta: at least 0; where the parabola ends.

    Returns:
        The losses, of that shape.
    """
    ### BEGIN SOLUTION
    size = np.abs(input - target)
    loss = size - beta / 2
    near = size < beta
    loss[near] = size[near] ** 2 / (2 * beta)
    return loss
    ### END SOLUTION


def smooth_l1_loss_backward(g, input, target, beta):
    """Gradients of a loss with respect to the arguments of `smooth_l1_loss`.

    Arguments:
        g: gradient with respect to the result, of its shape.
        input, target, beta: what `smooth_l1_loss` was called with.

    Returns:
        (ginput, gtarget), of that shape.
    """
    ### BEGIN SOLUTION
    d = input - target
    slope = np.sign(d)
    near = np.abs(d) < beta
    slope[near] = d[near] / beta
    return g * slope, -g * slope
    ### END SOLUTION


# ---- mistakes: forward ---------------------------------------------------------------------------

def _pieces(input, target, beta, inside, outside):
    """Two formulas of |d|, chosen by |d| < beta."""
    size = np.abs(input - target)
    return np.where(size < beta, inside(size), outside(size))


def _beta_ignored(input, target, beta):
    return smooth_l1_loss(input, target, 1.0)


def _huber(input, target, beta):
    return beta * smooth_l1_loss(input, target, beta)


def _jump(input, target, beta):
    return _pieces(input, target, beta, lambda d: d * d / (2 * beta or 1), lambda d: d)


def _half_forgotten(input, target, beta):
    return _pieces(input, target, beta, lambda d: d * d / (beta or 1), lambda d: d - beta / 2)


def _straight(outside):
    """The right parabola, and another straight part."""
    def loss(input, target, beta):
        return _pieces(input, target, beta, lambda d: d * d / (2 * beta or 1),
                       lambda d: outside(d, beta))
    return loss


def _curved(inside):
    """The right straight part, and another parabola."""
    def loss(input, target, beta):
        return _pieces(input, target, beta, lambda d: inside(d, beta or 1), lambda d: d - beta / 2)
    return loss


def _parabola(d, beta):
    """d^2 / (2 beta); infinite or NaN for beta 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return d * d / np.float64(2 * beta)


def _guarded(wrong, right=smooth_l1_loss):
    """Right where beta is 0, which was thought of as a case of its own."""
    return lambda *args: (wrong if args[-1] else right)(*args)


def _beta_only_as_limit(input, target, beta):
    return _pieces(input, target, beta, lambda d: d * d / 2, lambda d: d - 0.5)


def _beta_not_inside(input, target, beta):
    return _pieces(input, target, beta, lambda d: d * d / 2, lambda d: d - beta / 2)


def _fixed_limit(input, target, beta):
    size = np.abs(input - target)
    return np.where(size < 1, _parabola(size, beta), size - beta / 2)


def _absolute(input, target, beta):
    return np.abs(input - target)


def _squared(input, target, beta):
    return _parabola(input - target, beta)


def _sign_kept(input, target, beta):
    d = input - target
    return np.where(d < beta, _parabola(d, beta), d - beta / 2)


def _sign_kept_outside(input, target, beta):
    d = input - target
    return np.where(np.abs(d) < beta, _parabola(d, beta), d - beta / 2)


def _exchanged(input, target, beta):
    size = np.abs(input - target)
    return np.where(size < beta, size - beta / 2, _parabola(size, beta))


def _mean(input, target, beta):
    return smooth_l1_loss(input, target, beta).mean()


def _sum(input, target, beta):
    return smooth_l1_loss(input, target, beta).sum()


def _by_masks(input, target, beta):
    """Both pieces, times 0 or 1."""
    size = np.abs(input - target)
    with np.errstate(invalid="ignore"):
        return (size < beta) * _parabola(size, beta) + (size >= beta) * (size - beta / 2)


def _nan(input, target, beta):
    return _pieces(input, target, np.nextafter(beta, 9), lambda d: d * d / (2 * beta or np.nan),
                   lambda d: d - beta / 2)


# ---- mistakes: backward --------------------------------------------------------------------------

def _slopes(g, slope):
    return g * slope, -g * slope


def _backward_beta_ignored(g, input, target, beta):
    return smooth_l1_loss_backward(g, input, target, 1.0)


def _beta_not_divided(g, input, target, beta):
    d = input - target
    return _slopes(g, np.where(np.abs(d) < beta, d, np.sign(d)))


def _clipped_to_beta(g, input, target, beta):
    return _slopes(g, np.clip(input - target, -beta, beta))


def _doubled(g, input, target, beta):
    d = input - target
    return _slopes(g, np.where(np.abs(d) < beta, 2 * d / (beta or 1), np.sign(d)))


def _sloped(slope):
    """The backward of another slope(d, beta)."""
    def backward(g, input, target, beta):
        with np.errstate(divide="ignore", invalid="ignore"):
            return _slopes(g, slope(input - target, np.float64(beta)))
    return backward


def _backward_by_masks(d, beta):
    return (np.abs(d) < beta) * (d / beta) + (np.abs(d) >= beta) * np.sign(d)


def _cornered(at_zero):
    """The sign of d by a comparison, which is not 0 at 0."""
    return _sloped(lambda d, beta: np.where(np.abs(d) < beta, d / beta,
                                            np.where(d == 0, at_zero, np.sign(d))))


def _targets_gradient(g, input, target, beta):
    return smooth_l1_loss_backward(-g, input, target, beta)


def _always_up(g, input, target, beta):
    d = input - target
    return _slopes(g, np.where(np.abs(d) < beta, d / (beta or 1), 1.0))


def _same_sign(g, input, target, beta):
    ginput = smooth_l1_loss_backward(g, input, target, beta)[0]
    return ginput, ginput.copy()


def _g_forgotten(g, input, target, beta):
    return smooth_l1_loss_backward(np.ones_like(g), input, target, beta)


def _backward_nan(g, input, target, beta):
    d = input - target
    near = np.abs(d) <= beta
    return _slopes(g, np.where(near, d / (beta or np.nan), np.sign(d)))


def _backward_mean(g, input, target, beta):
    return smooth_l1_loss_backward(g / g.size, input, target, beta)


MISTAKES = (
    Mistake("smooth_l1_loss", "beta-ignored", "Your answer is that of beta = 1, whatever beta is. "
            "Where does beta stand in the formula?", _beta_ignored),
    Mistake("smooth_l1_loss", "huber", "This is the Huber loss, which is beta times smooth L1. "
            "What slope should the straight part have?", _huber),
    Mistake("smooth_l1_loss", "jump", "Your loss jumps where the parabola ends: both pieces must "
            "give the same value at |d| = beta.", _jump),
    *(Mistake("smooth_l1_loss", "jump", "Your loss jumps where the parabola ends: both pieces must "
              "give the same value at |d| = beta.", loss)
      for loss in (_straight(lambda d, beta: d - 0.5), _straight(lambda d, beta: d - beta),
                   _curved(lambda d, beta: beta * d * d / 2),
                   _curved(lambda d, beta: (d / beta) ** 2 / 2))),
    Mistake("smooth_l1_loss", "half-forgotten", "Your parabola is twice too steep: what is its "
            "slope at |d| = beta?", _half_forgotten),
    Mistake("smooth_l1_loss", "beta-only-as-limit", "beta decides which piece is taken, but the "
            "pieces themselves are those of beta = 1.", _beta_only_as_limit),
    Mistake("smooth_l1_loss", "parabola-without-beta", "Your parabola does not depend on beta. "
            "What must it be at |d| = beta to meet the straight part?", _beta_not_inside),
    *(Mistake("smooth_l1_loss", "limit-is-1", "The parabola ends at 1 in your code, whatever beta "
              "is.", loss) for loss in (_fixed_limit, _guarded(_fixed_limit))),
    Mistake("smooth_l1_loss", "absolute", "This is the absolute error. What happens near 0?",
            _absolute),
    *(Mistake("smooth_l1_loss", "squared", "This is the parabola everywhere. Which errors should "
              "count less than their square?", loss) for loss in (_squared, _guarded(_squared))),
    *(Mistake("smooth_l1_loss", "sign-kept", "Large negative differences go wrong: compare and "
              "continue with the size of d, not with d.", loss)
      for loss in (_sign_kept, _guarded(_sign_kept), _sign_kept_outside)),
    *(Mistake("smooth_l1_loss", "pieces-exchanged", "The parabola belongs to the small "
              "differences, the straight part to the large ones.", loss)
      for loss in (_exchanged, _guarded(_exchanged))),
    Mistake("smooth_l1_loss", "mean", "You take the mean; here every element keeps its own "
            "loss.", _mean),
    Mistake("smooth_l1_loss", "sum", "You take the sum; here every element keeps its own loss.",
            _sum),
    Mistake("smooth_l1_loss", "nan-at-beta-0", "With beta = 0 no element lies inside the parabola, "
            "also not those with d = 0. What does your code divide there?", _nan),
    Mistake("smooth_l1_loss", "nan-at-beta-0", "With beta = 0 no element lies inside the parabola, "
            "also not those with d = 0. What does your code divide there?", _by_masks),
    Mistake("smooth_l1_loss_backward", "beta-ignored", "Your slope is that of beta = 1, "
            "whatever beta is.",
            _backward_beta_ignored),
    Mistake("smooth_l1_loss_backward", "not-divided-by-beta", "Inside the parabola the slope grows "
            "from 0 to 1 until |d| = beta. How far does yours grow?", _beta_not_divided),
    Mistake("smooth_l1_loss_backward", "huber", "This is the Huber loss's gradient: its straight "
            "part has the slope beta.", _clipped_to_beta),
    Mistake("smooth_l1_loss_backward", "doubled", "The slope of d^2 / (2 beta) is half of yours.",
            _doubled),
    Mistake("smooth_l1_loss_backward", "halved", "The slope of d^2 / (2 beta) is twice yours.",
            _sloped(lambda d, beta: np.where(np.abs(d) < beta, d / (2 * beta), np.sign(d)))),
    *(Mistake("smooth_l1_loss_backward", "always-up", "Left of the parabola the loss falls: the "
              "slope there is -1.", wrong)
      for wrong in (_always_up, _sloped(lambda d, beta: np.where(d < beta, d / beta, 1.0)),
                    _guarded(_sloped(lambda d, beta: np.where(d < beta, d / beta, 1.0)),
                             smooth_l1_loss_backward))),
    *(Mistake("smooth_l1_loss_backward", "slope-at-zero", "Where d = 0 and beta = 0 the slope is "
              "0, by the convention.", _cornered(at_zero)) for at_zero in (1, -1)),
    Mistake("smooth_l1_loss_backward", "absolute", "This is the absolute error's slope. What "
            "happens near 0?", _sloped(lambda d, beta: np.sign(d))),
    *(Mistake("smooth_l1_loss_backward", "squared", "This is the parabola's slope everywhere. "
              "Which errors should count less?", wrong)
      for wrong in (_sloped(lambda d, beta: d / beta),
                    _guarded(_sloped(lambda d, beta: d / beta), smooth_l1_loss_backward))),
    *(Mistake("smooth_l1_loss_backward", "limit-is-1", "The parabola ends at 1 in your code, "
              "whatever beta is.", wrong)
      for slope in (lambda d, beta: np.where(np.abs(d) < 1, d / beta, np.sign(d)),)
      for wrong in (_sloped(slope), _guarded(_sloped(slope), smooth_l1_loss_backward))),
    Mistake("smooth_l1_loss_backward", "target-same-sign", "Raising the target does the opposite "
            "of raising the input.", _same_sign),
    Mistake("smooth_l1_loss_backward", "input-and-target-exchanged", "d grows with the input and "
            "falls with the target: the two gradients are exchanged.", _targets_gradient),
    Mistake("smooth_l1_loss_backward", "g-forgotten", "Your slopes are right; where is the "
            "gradient g that comes from above?", _g_forgotten),
    Mistake("smooth_l1_loss_backward", "nan-at-beta-0", "With beta = 0 no element lies inside the "
            "parabola, also not those with d = 0. What does your code divide there?",
            _backward_nan),
    Mistake("smooth_l1_loss_backward", "nan-at-beta-0", "With beta = 0 no element lies inside the "
            "parabola, also not those with d = 0. What does your code divide there?",
            _sloped(_backward_by_masks)),
    Mistake("smooth_l1_loss_backward", "divided-by-count", "You divide by the number of elements, "
            "but the loss takes no mean.", _backward_mean),
)


# ---- cases ---------------------------------------------------------------------------------------

SPREAD = (0.3, 2.5, -0.6, -1.7, 0.0, 0.8, -3.0, 1.4)


def _pair(rng, shape, beta):
    """(input, target) whose differences are about SPREAD times beta (or 1), none near beta."""
    count = int(np.prod(shape))
    times = np.resize(SPREAD, count) + rng.uniform(-0.1, 0.1, count)
    target = rng.uniform(-2, 2, shape)
    return target + rng.permutation(times).reshape(shape) * (beta or 1.0), target


def _integers(rng, *differences):
    target = rng.integers(-4, 5, len(differences)).astype(float)
    return target + rng.permutation(np.array(differences, float)), target


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    def backward(name, args):
        g = rng.permutation(np.arange(1.0, 1 + args[0].size)).reshape(args[0].shape)
        return Case("smooth_l1_loss_backward", f"backward, {name}", (g, *args))
    equal = _integers(rng, 0, 3, -1), _integers(rng, 0, -2, 5, 0)
    return [
        Case("smooth_l1_loss", "beta 2, small integers", (*_integers(rng, 1, -3, 6), 2.0)),
        Case("smooth_l1_loss", "beta 1", (*_pair(rng, (2, 4), 1.0), 1.0)),
        Case("smooth_l1_loss", "beta 0", (*equal[0], 0.0)),
        Case("smooth_l1_loss", "beta 1/4", (*_pair(rng, (9,), 0.25), 0.25)),
        Case("smooth_l1_loss", "beta 3, three axes", (*_pair(rng, (2, 3, 4), 3.0), 3.0)),
        backward("beta 2, small integers", (*_integers(rng, 1, -3, 6), 2.0)),
        backward("beta 1", (*_pair(rng, (2, 4), 1.0), 1.0)),
        backward("beta 0", (*equal[1], 0.0)),
        backward("beta 1/4", (*_pair(rng, (9,), 0.25), 0.25)),
        backward("beta 3, three axes", (*_pair(rng, (2, 3, 4), 3.0), 3.0)),
    ]


def _magnitude(input, target, beta):
    """The difference's rounding error times the slope, and the losses' own."""
    slope = np.abs(smooth_l1_loss_backward(np.ones_like(input), input, target, beta)[0])
    return (slope * (np.abs(input) + np.abs(target))
            + smooth_l1_loss(input, target, beta) + beta * slope)


def _backward_magnitude(g, input, target, beta):
    near = np.abs(input - target) < 1.05 * beta
    error = np.divide(np.abs(input) + np.abs(target), beta, out=np.zeros_like(g), where=near)
    scale = np.abs(g) * (1 + error)
    return scale, scale


EXERCISE = Exercise(
    name="smooth_l1", title="Smooth L1 loss and its gradient",
    lecture="DLCV, Object detection steps (SSD/Retina like setting)",
    source="tinyvision/ops/loss_regression.py",
    functions={"smooth_l1_loss": smooth_l1_loss,
               "smooth_l1_loss_backward": smooth_l1_loss_backward},
    cases=cases, mistakes=MISTAKES,
    magnitude={"smooth_l1_loss": _magnitude, "smooth_l1_loss_backward": _backward_magnitude},
    terms={"smooth_l1_loss": lambda *args: 4, "smooth_l1_loss_backward": lambda *args: 4})
