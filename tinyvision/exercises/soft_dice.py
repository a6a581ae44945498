r"""# Soft Dice loss

Write `dice_loss` and its gradient `dice_loss_backward`.

An object of a few pixels hardly counts in a mean over all pixels. The Dice coefficient compares
two masks whatever their size; with probabilities in the place of a mask it can be learned from.
For each class (the lecture's formula, with a small epsilon above and below):

$$\ell_c = 1 - \frac{2 \sum y\, p + \epsilon}{\sum y^2 + \sum p^2 + \epsilon}$$

where p is the prediction, y the truth, and the sums run over the images and their pixels. It is 0
for a perfect mask and 1 for one that misses everything. Thanks to epsilon a class that is neither
there nor predicted costs 0 instead of 0 / 0.

**By hand**, four pixels of one class, epsilon 1/2:

    y = (1, 1, 0, 0)      p = (1, 1/2, 1/2, 0)
    sum y p = 3/2         sum y^2 + sum p^2 = 2 + 3/2
    loss = 1 - (3 + 1/2) / (7/2 + 1/2) = 1/8

**Backward.** Given g = dL/dloss, one number for each class, return dL/dp (the truth needs no
gradient). p stands above and below the line.

**Shapes.** input (p) and target (y): (N, C, H, W); loss and g: (C,); dL/dp: (N, C, H, W).
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake


def dice_loss(input, target, eps):
    """Soft Dice loss of every class.

    Arguments:
        input: (N, C, H, W) probabilities.
        target: (N, C, H, W) the truth, from 0 to 1.
        eps: added above and below the line.

    Returns:
        (C,) losses; 0 where a class is predicted perfectly.
    """
    ### BEGIN SOLUTION
    axes = (0, 2, 3)
    both, squares = (input * target).sum(axes), (input ** 2 + target ** 2).sum(axes)
    return 1 - (2 * both + eps) / (squares + eps)
    ### END SOLUTION


def dice_loss_backward(g, input, target, eps):
    """Gradient of a loss with respect to the probabilities of `dice_loss`.

    Arguments:
        g: (C,) gradient with respect to the result.
        input, target, eps: what `dice_loss` was called with.

    Returns:
        (N, C, H, W).
    """
    ### BEGIN SOLUTION
    axes = (0, 2, 3)
    above = (2 * (input * target).sum(axes) + eps)[:, None, None]
    below = ((input ** 2 + target ** 2).sum(axes) + eps)[:, None, None]
    return g[:, None, None] * (2 * input * above / below ** 2 - 2 * target / below)
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

AXES = (0, 2, 3)


def _sums(input, target, axes=AXES):
    """(sum y p, sum p^2 + sum y^2)."""
    return (input * target).sum(axes), (input ** 2 + target ** 2).sum(axes)


def _below(sum_below):
    """The loss with another sum(p, y) below the line."""
    def loss(input, target, eps):
        both, _ = _sums(input, target)
        return 1 - (2 * both + eps) / (sum_below(input, target) + eps)
    return loss


_not_squared = _below(lambda p, y: (p + y).sum(AXES))


def _jaccard(input, target, eps):
    both, squares = _sums(input, target)
    return 1 - (both + eps) / (squares - both + eps)


def _jaccard_not_squared(input, target, eps):
    both, _ = _sums(input, target)
    return 1 - (both + eps) / ((input + target).sum(AXES) - both + eps)


def _each_image(input, target, eps):
    both, squares = _sums(input, target, (2, 3))
    return 1 - (2 * both + eps) / (squares + eps)


def _per_image(input, target, eps):
    return _each_image(input, target, eps).mean(0)


def _means(input, target, eps):
    return dice_loss(input, target, eps * input[:, 0].size)


def _smaller(input, target, eps):
    both, squares = np.minimum(input, target).sum(AXES), _sums(input, target)[1]
    return 1 - (2 * both + eps) / (squares + eps)


def _classes_together(input, target, eps):
    both, squares = _sums(input, target, (0, 1, 2, 3))
    return 1 - (2 * both + eps) / (squares + eps)


def _class_mean(input, target, eps):
    return dice_loss(input, target, eps).mean()


def _below_only(input, target, eps):
    both, squares = _sums(input, target)
    return 1 - 2 * both / (squares + eps)


def _above_only(input, target, eps):
    both, squares = _sums(input, target)
    with np.errstate(divide="ignore"):
        return 1 - (2 * both + eps) / squares


def _two_forgotten(input, target, eps):
    both, squares = _sums(input, target)
    return 1 - (both + eps) / (squares + eps)


def _two_around_eps(input, target, eps):
    both, squares = _sums(input, target)
    return 1 - 2 * (both + eps) / (squares + eps)


def _two_around_both(input, target, eps):
    both, squares = _sums(input, target)
    return 1 - 2 * (both + eps) / (squares + 2 * eps)


def _eps_twice_below(input, target, eps):
    both, squares = _sums(input, target)
    return 1 - (2 * both + eps) / (squares + 2 * eps)


def _coefficient(input, target, eps):
    return 1 - dice_loss(input, target, eps)


def _minus_coefficient(input, target, eps):
    return dice_loss(input, target, eps) - 1


def _no_eps(input, target, eps):
    both, squares = _sums(input, target)
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - 2 * both / squares


def _no_eps_but_zero(input, target, eps):
    both, squares = _sums(input, target)
    return 1 - 2 * both / np.where(squares > 0, squares, 1)


def _thresholded(input, target, eps):
    return dice_loss((input > 0.5).astype(float), target, eps)


def _thresholded_at_half(input, target, eps):
    return dice_loss((input >= 0.5).astype(float), target, eps)


def _fraction(input, target, eps):
    """(what stands above, what stands below), for each class, to be broadcast."""
    both, squares = _sums(input, target)
    return (2 * both + eps)[:, None, None], (squares + eps)[:, None, None]


def _below_constant(g, input, target, eps):
    return -g[:, None, None] * 2 * target / _fraction(input, target, eps)[1]


def _above_constant(g, input, target, eps):
    above, below = _fraction(input, target, eps)
    return g[:, None, None] * 2 * input * above / below ** 2


def _square_not_doubled(g, input, target, eps):
    above, below = _fraction(input, target, eps)
    return g[:, None, None] * (input * above / below ** 2 - 2 * target / below)


def _below_not_squared(g, input, target, eps):
    above, below = _fraction(input, target, eps)
    return g[:, None, None] * (2 * input * above / below - 2 * target / below)


def _divided_once(g, input, target, eps):
    above, below = _fraction(input, target, eps)
    return g[:, None, None] * (2 * input * above - 2 * target * below) / below


def _of_the_coefficient(g, input, target, eps):
    return -dice_loss_backward(g, input, target, eps)


def _g_forgotten(g, input, target, eps):
    return dice_loss_backward(np.ones_like(g), input, target, eps)


def _divided_by_classes(g, input, target, eps):
    return dice_loss_backward(g / len(g), input, target, eps)


def _backward_no_eps(g, input, target, eps):
    with np.errstate(invalid="ignore", divide="ignore"):
        return dice_loss_backward(g, input, target, 0.0)


def _quotient(above=2.0, below=2.0, eps_above=1, eps_below=1, axes=AXES, power=2):
    """The backward with other factors: of y, of p^power's derivative, of epsilon; other sums."""
    def backward(g, input, target, eps):
        top = 2 * (input * target).sum(axes, keepdims=True) + eps_above * eps
        bottom = (input ** power + target ** power).sum(axes, keepdims=True) + eps_below * eps
        with np.errstate(invalid="ignore", divide="ignore"):
            gx = below * input ** (power - 1) * top / bottom ** 2 - above * target / bottom
        return g[:, None, None] * gx
    return backward


def _backward_means(g, input, target, eps):
    return dice_loss_backward(g, input, target, eps * input[:, 0].size)


def _each_image_backward(g, input, target, eps):
    return _backward_per_image(g, input, target, eps) * len(input)


def _backward_per_image(g, input, target, eps):
    each = [dice_loss_backward(g / len(input), input[n:n + 1], target[n:n + 1], eps)
            for n in range(len(input))]
    return np.concatenate(each)


MISTAKES = (
    Mistake("dice_loss", "not-squared", "Below the line you sum p and y themselves; the slide's "
            "formula sums their squares.", _not_squared),
    *(Mistake("dice_loss", "one-not-squared", "Below the line you square one of p and y; the "
              "slide's formula squares both.", _below(sums))
      for sums in (lambda p, y: (p * p + y).sum(AXES), lambda p, y: (p + y * y).sum(AXES))),
    *(Mistake("dice_loss", "square-of-sums", "The sum of the squares is not the square of the "
              "sum.", _below(sums))
      for sums in (lambda p, y: p.sum(AXES) ** 2 + y.sum(AXES) ** 2,
                   lambda p, y: ((p + y) ** 2).sum(AXES),
                   lambda p, y: (p + y).sum(AXES) ** 2)),
    *(Mistake("dice_loss", "jaccard", "This is the soft IoU (Jaccard) loss. In Dice's denominator "
              "the intersection is counted twice.", loss)
      for loss in (_jaccard, _jaccard_not_squared)),
    *(Mistake("dice_loss", "per-image", "You compute a loss for each image. The sums of the "
              "formula run over all images.", loss) for loss in (_per_image, _each_image)),
    Mistake("dice_loss", "means", "You take means where the formula has sums. epsilon then counts "
            "more.", _means),
    Mistake("dice_loss", "minimum", "The slide's formula multiplies p and y; it does not take the "
            "smaller.", _smaller),
    Mistake("dice_loss", "classes-together", "Your sums also run over the classes, so a frequent "
            "class drowns a rare one. Each class has its own fraction.", _classes_together),
    Mistake("dice_loss", "class-mean", "You take the mean over the classes; return one loss for "
            "each.", _class_mean),
    Mistake("dice_loss", "eps-below-only", "A class that is neither there nor predicted should "
            "cost 0. What is your fraction then?", _below_only),
    Mistake("dice_loss", "eps-above-only", "What is your fraction where a class is neither there "
            "nor predicted?", _above_only),
    Mistake("dice_loss", "two-forgotten", "Your loss is not 0 for a perfect mask: there both sums "
            "below the line are as large as the one above.", _two_forgotten),
    *(Mistake("dice_loss", "two-times-eps", "The 2 belongs to the sum, not to epsilon.", loss)
      for loss in (_two_around_eps, _two_around_both)),
    Mistake("dice_loss", "eps-twice-below", "epsilon is added once below the line, as above it.",
            _eps_twice_below),
    Mistake("dice_loss", "coefficient", "This is the coefficient, which is 1 for a perfect mask. "
            "A loss is smallest there.", _coefficient),
    Mistake("dice_loss", "minus-coefficient", "This is minus the coefficient. What does a perfect "
            "mask cost?", _minus_coefficient),
    *(Mistake("dice_loss", "no-eps", "epsilon is missing: what is 0 / 0 where a class is neither "
              "there nor predicted?", loss) for loss in (_no_eps, _no_eps_but_zero)),
    *(Mistake("dice_loss", "thresholded", "You turn the probabilities into a mask first. Its "
              "gradient is 0 everywhere; soft Dice uses the probabilities.", loss)
      for loss in (_thresholded, _thresholded_at_half)),
    Mistake("dice_loss_backward", "below-constant", "p stands below the line, too: your gradient "
            "treats the denominator as a constant.", _below_constant),
    Mistake("dice_loss_backward", "above-constant", "Your gradient treats the numerator as a "
            "constant. Where else does p stand?", _above_constant),
    Mistake("dice_loss_backward", "square-not-doubled", "What is the derivative of p^2?",
            _square_not_doubled),
    Mistake("dice_loss_backward", "two-forgotten", "Above the line the sum has the factor 2, and "
            "so has its derivative.", _quotient(above=1)),
    Mistake("dice_loss_backward", "signs", "The quotient rule subtracts one part from the other: "
            "predicting more of what is there lowers the loss.", _quotient(above=-2)),
    Mistake("dice_loss_backward", "not-squared", "Below the line p stands squared.",
            _quotient(below=1, power=1)),
    Mistake("dice_loss_backward", "classes-together", "Your sums also run over the classes; each "
            "class has its own fraction.", _quotient(axes=(0, 1, 2, 3))),
    Mistake("dice_loss_backward", "means", "You take means where the formula has sums.",
            _backward_means),
    Mistake("dice_loss_backward", "quotient-rule", "In the quotient rule the part that comes from "
            "the denominator is divided by its square.", _below_not_squared),
    Mistake("dice_loss_backward", "divided-once", "The quotient rule divides by the square of what "
            "stands below the line.", _divided_once),
    Mistake("dice_loss_backward", "of-the-coefficient", "This is the coefficient's gradient. The "
            "loss is 1 minus the coefficient.", _of_the_coefficient),
    Mistake("dice_loss_backward", "g-forgotten", "Each class's gradient is multiplied by what "
            "comes from above, g of that class.", _g_forgotten),
    Mistake("dice_loss_backward", "divided-by-classes", "You divide by the number of classes, but "
            "the loss takes no mean.", _divided_by_classes),
    *(Mistake("dice_loss_backward", "no-eps", "epsilon is missing in your gradient, or in a part "
              "of it: it stands above the line and below.", wrong)
      for wrong in (_backward_no_eps, _quotient(eps_above=0), _quotient(eps_below=0))),
    *(Mistake("dice_loss_backward", "per-image", "Your sums run over each image by itself; one "
              "fraction of a class holds all images.", wrong)
      for wrong in (_backward_per_image, _each_image_backward)),
)


# ---- cases ---------------------------------------------------------------------------------------

def _masks(rng, shape, absent=()):
    """(probabilities, truth of 0 and 1); absent classes are neither there nor predicted."""
    target = (rng.random(shape) < 0.4).astype(float)
    input = np.clip(0.6 * target + rng.uniform(0.05, 0.35, shape), 0, 1)
    for c in absent:
        input[:, c], target[:, c] = 0, 0
    return input, target


def _quarters(rng):
    """Four pixels whose probabilities are quarters, in a random order; one of them is a half."""
    at, (right, wrong, less) = rng.permutation(4), rng.integers([1, 1, 0], [5, 5, 3]) / 4
    return tuple(np.array(row)[at].reshape(1, 1, 2, 2) for row in ([right, 0.5, wrong, less],
                                                                   [1.0, 1, 0, 0]))


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    def backward(name, args):
        g = rng.permutation(np.arange(1.0, 1 + args[0].shape[1]) * 2)
        return Case("dice_loss_backward", f"backward, {name}", (g, *args))
    soft = rng.random((2, 3, 5, 4)), rng.random((2, 3, 5, 4))
    return [
        Case("dice_loss", "four pixels", (*_quarters(rng), 0.5)),
        Case("dice_loss", "three classes", (*_masks(rng, (1, 3, 4, 5)), 1e-6)),
        Case("dice_loss", "an absent class", (*_masks(rng, (1, 3, 5, 4), [1]), 0.01)),
        Case("dice_loss", "two images", (*_masks(rng, (2, 3, 4, 5)), 1.0)),
        Case("dice_loss", "a soft truth", (*soft, 0.1)),
        backward("four pixels", (*_quarters(rng), 0.5)),
        backward("three classes", (*_masks(rng, (1, 3, 4, 5)), 1e-6)),
        backward("an absent class", (*_masks(rng, (1, 3, 5, 4), [1]), 0.01)),
        backward("two images", (*_masks(rng, (2, 3, 4, 5)), 1.0)),
        backward("a soft truth", (*soft, 0.1)),
    ]


def _terms(input, target, eps):
    return 2 * input[:, 0].size + 4


def _backward_terms(g, input, target, eps):
    return 4 * input[:, 0].size + 8


def _magnitude(input, target, eps):
    return 1 + np.divide(*_fraction(input, target, eps))[:, 0, 0]


def _backward_magnitude(g, input, target, eps):
    above, below = _fraction(input, target, eps)
    return np.abs(g)[:, None, None] * (2 * input * above / below ** 2 + 2 * target / below)


EXERCISE = Exercise(
    name="soft_dice", title="Soft Dice loss and its gradient",
    lecture="DLCV, Soft Dice coefficient", source="tinyvision/ops/loss_classes.py",
    functions={"dice_loss": dice_loss, "dice_loss_backward": dice_loss_backward},
    cases=cases, mistakes=MISTAKES,
    magnitude={"dice_loss": _magnitude, "dice_loss_backward": _backward_magnitude},
    terms={"dice_loss": _terms, "dice_loss_backward": _backward_terms})
