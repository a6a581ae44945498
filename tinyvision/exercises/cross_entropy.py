r"""# Cross-entropy of scores

Write `cross_entropy` and its gradient `cross_entropy_backward`.

A classifier gives every class a score, softmax turns the scores into probabilities, and the cost
is minus the logarithm of the right class's. In segmentation each pixel is classified so; pixels
that nobody could label (a border, usually 255) count for nothing. With scores x and label t:

$$p_c = \frac{e^{x_c}}{\sum_k e^{x_k}}, \qquad \ell = -\log p_t = \log \sum_k e^{x_k} - x_t$$

The result is the mean of the costs over the labels that are not ignored.

**By hand**: scores (0, 0, 0, 0) give every class 1/4, so each label costs log 4 = 1.386. Scores
(1000, 0) cost 0 if the label is 0, and 1000 if it is 1. But e^1000 is too large for a computer:
subtract the largest score first. It changes no probability, and no exponential is above 1. And do
not take the logarithm of a probability that has become 0.

**Backward.** Given the number g = dL/d(mean), return dL/dx. At a place that counts it is

$$\frac{g}{K} (p_c - [c = t])$$

with K labels that count; where the label is ignored it is 0.

**Shapes.** input (N, C) and target (N,), or input (N, C, H, W) and target (N, H, W): axis 1 counts
the classes. The loss is one number, dL/dx has the shape of the scores. ignore_index can be any
whole number, also that of a class. At least one label counts.
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake


def cross_entropy(input, target, ignore_index):
    """Mean of -log softmax(input) at the right classes.

    Arguments:
        input: (N, C) or (N, C, H, W) scores.
        target: (N,) or (N, H, W) labels from 0 to C - 1, or ignore_index.
        ignore_index: the label of what does not count.

    Returns:
        A number.
    """
    ### BEGIN SOLUTION
    kept = target != ignore_index
    scores, labels = np.moveaxis(input, 1, -1)[kept], target[kept]      # (K, C) and (K,)
    scores = scores - scores.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(scores).sum(axis=1))
    return (log_sum - scores[np.arange(len(labels)), labels]).mean()
    ### END SOLUTION


def cross_entropy_backward(g, input, target, ignore_index):
    """Gradient of a loss with respect to the scores of `cross_entropy`.

    Arguments:
        g: a number, the gradient with respect to the result.
        input, target, ignore_index: what `cross_entropy` was called with.

    Returns:
        (N, C) or (N, C, H, W), as input.
    """
    ### BEGIN SOLUTION
    kept = target != ignore_index
    scores, labels = np.moveaxis(input, 1, -1)[kept], target[kept]      # (K, C) and (K,)
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    gx = np.zeros(input.shape)
    np.moveaxis(gx, 1, -1)[kept] = g / len(labels) * p      # a view of gx, the classes last
    return gx
    ### END SOLUTION


# ---- mistakes: forward ---------------------------------------------------------------------------

def _softmax(x, axis=1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _chosen(p, target):
    """p at the labels, (N, ...); as NumPy reads them: -1 is the last class."""
    return np.take_along_axis(p, target[:, None] % p.shape[1], 1)[:, 0]


def _costs(input, target, ignore_index, minus_log=None):
    """The cost of every label, ignored ones at class 0; and which count."""
    kept = target != ignore_index
    p = _chosen(_softmax(input), np.where(kept, target, 0))
    with np.errstate(divide="ignore"):
        return -np.log(p) if minus_log is None else minus_log(p), kept


def _log_softmax(x, axis=1):
    x = x - x.max(axis, keepdims=True)
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


def _hot(input, target):
    """The classes' 0 and 1, of the shape of input; all 0 where a label is no class."""
    classes = np.arange(input.shape[1]).reshape(-1, *(1,) * (input.ndim - 2))
    return (classes == target[:, None]).astype(float)


def _over(share):
    """The loss divided by more: by share(number of labels, of those that count, input)."""
    def loss(input, target, ignore_index):
        kept = (target != ignore_index).sum()
        return _sum(input, target, ignore_index) / share(target.size, kept, input)
    return loss


def _divided_by_all(input, target, ignore_index):
    kept = (target != ignore_index).mean()
    return cross_entropy(input, target, ignore_index) * kept


def _sum(input, target, ignore_index):
    return cross_entropy(input, target, ignore_index) * (target != ignore_index).sum()


def _overflow(input, target, ignore_index):
    kept = target != ignore_index
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        e = np.exp(np.moveaxis(input, 1, -1)[kept])
        p = e / e.sum(1, keepdims=True)
        return -np.log(p[np.arange(len(p)), target[kept]]).mean()


def _log_of_zero(input, target, ignore_index):
    costs, kept = _costs(input, target, ignore_index)
    return costs[kept].mean()


def _floored(least):
    """The loss that adds a least probability before the logarithm."""
    def loss(input, target, ignore_index):
        costs, kept = _costs(input, target, ignore_index, lambda p: -np.log(p + least))
        return costs[kept].mean()
    return loss


def _zero_times_infinity(input, target, ignore_index):
    """The sum over all classes of label times logarithm."""
    kept = target != ignore_index
    with np.errstate(divide="ignore", invalid="ignore"):
        costs = -(_hot(input, target) * np.log(_softmax(input))).sum(1)
    return costs[kept].mean()


def _one_maximum(fraction):
    """The largest of all scores is subtracted; with a quotient, or as a logarithm of a sum."""
    def loss(input, target, ignore_index):
        kept = target != ignore_index
        scores = np.moveaxis(input, 1, -1)[kept]
        scores = scores - scores.max()
        right = scores[np.arange(len(scores)), target[kept]]
        with np.errstate(divide="ignore", invalid="ignore"):
            e = np.exp(scores).sum(1)
            return np.mean(-np.log(np.exp(right) / e) if fraction else np.log(e) - right)
    return loss


def _nothing_ignored(input, target, ignore_index):
    return -_chosen(_log_softmax(input), target).mean()


def _nothing_ignored_hot(input, target, ignore_index):
    return -(_hot(input, target) * _log_softmax(input)).sum(1).mean()


def _fixed_ignored(ignored):
    """What is ignored does not depend on ignore_index; other labels that are no class are the
    last class, or none."""
    def as_last(input, target, ignore_index):
        kept = ~ignored(target)
        return -_chosen(_log_softmax(input), target)[kept].mean()

    def as_none(input, target, ignore_index):
        kept = ~ignored(target)
        return -(_hot(input, target) * _log_softmax(input)).sum(1)[kept].mean()
    return as_last, as_none


def _negative(target):
    return target < 0


def _white(target):
    return target == 255


def _first_axis(input, target, ignore_index):
    kept = target != ignore_index
    return -_chosen(_log_softmax(input, 0), np.where(kept, target, 0))[kept].mean()


def _all_scores(input, target, ignore_index):
    kept = target != ignore_index
    costs = -_chosen(_log_softmax(input, tuple(range(input.ndim))), np.where(kept, target, 0))
    return costs[kept].mean()


def _of_probability(cost):
    """The loss that makes a cost of each label's probability."""
    def loss(input, target, ignore_index):
        costs, kept = _costs(input, target, ignore_index, cost)
        return costs[kept].mean()
    return loss


def _score_as_probability(input, target, ignore_index):
    kept = target != ignore_index
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.log(_chosen(input, np.where(kept, target, 0)))[kept].mean()


def _binary(input, target, ignore_index):
    """Every class is asked: yes or no?"""
    kept, p = target != ignore_index, _softmax(input)
    with np.errstate(divide="ignore"):
        costs = -np.log(np.where(_hot(input, target) > 0, p, 1 - p)).sum(1)
    return costs[kept].mean()


def _forward_turned(input, target, ignore_index):
    return -cross_entropy(input, target, ignore_index)


def _mean_with_empty_images(input, target, ignore_index):
    used = sum((labels != ignore_index).any() for labels in target)
    return _mean_of_images(input, target, ignore_index) * used / len(input)


def _lifted(least):
    """The loss whose probabilities are at least so large."""
    def loss(input, target, ignore_index):
        costs, kept = _costs(input, target, ignore_index, lambda p: -np.log(np.maximum(p, least)))
        return costs[kept].mean()
    return loss


def _wrong_axis(input, target, ignore_index):
    kept = target != ignore_index
    scores = input - input.max(-1, keepdims=True)
    costs = np.log(np.exp(scores).sum(-1, keepdims=True)) - scores
    return _chosen(costs, np.where(kept, target, 0))[kept].mean()


def _softmax_twice(input, target, ignore_index):
    return cross_entropy(_softmax(input), target, ignore_index)


def _no_softmax(input, target, ignore_index):
    kept = target != ignore_index
    return -_chosen(input, np.where(kept, target, 0))[kept].mean()


def _mean_of_images(input, target, ignore_index):
    each = [cross_entropy(input[n:n + 1], target[n:n + 1], ignore_index)
            for n in range(len(input)) if (target[n] != ignore_index).any()]
    return np.mean(each)


def _per_batch(input, target, ignore_index):
    return _sum(input, target, ignore_index) / len(input)


def _base(number):
    """The loss with the logarithm to another base."""
    def loss(input, target, ignore_index):
        return cross_entropy(input, target, ignore_index) / np.log(number)
    return loss


# ---- mistakes: backward --------------------------------------------------------------------------

def _places(target, ignore_index):
    return (target != ignore_index).sum()


def _not_divided(g, input, target, ignore_index):
    return cross_entropy_backward(g * _places(target, ignore_index), input, target, ignore_index)


def _backward_divided_by_all(g, input, target, ignore_index):
    share = (target != ignore_index).mean()
    return cross_entropy_backward(g * share, input, target, ignore_index)


def _backward_per_batch(g, input, target, ignore_index):
    share = _places(target, ignore_index) / len(input)
    return cross_entropy_backward(g * share, input, target, ignore_index)


def _g_forgotten(g, input, target, ignore_index):
    return cross_entropy_backward(1.0, input, target, ignore_index)


def _softmax_only(g, input, target, ignore_index):
    kept = (target != ignore_index)[:, None]
    return g / kept.sum() * _softmax(input) * kept


def _ignored_has_gradient(g, input, target, ignore_index):
    kept = (target != ignore_index)[:, None]
    own = cross_entropy_backward(g, input, target, ignore_index)
    return own + g / kept.sum() * _softmax(input) * ~kept


def _backward_nothing_ignored(g, input, target, ignore_index):
    return cross_entropy_backward(g, input, target % input.shape[1], -1)


def _backward_of(p_of=_softmax, hot_of=_hot, kept_of=lambda target, ignored: target != ignored,
                 counted_of=lambda target, kept: kept.sum(), bracket=lambda p, hot: p - hot):
    """The backward with some of its parts changed."""
    def backward(g, input, target, ignore_index):
        kept = kept_of(target, ignore_index)
        with np.errstate(all="ignore"):
            gx = bracket(p_of(input), hot_of(input, target))
        return g / counted_of(target, kept) * np.where(kept[:, None], gx, 0)
    return backward


def _hot_last(input, target):
    """A label that is no class counts from the end, as NumPy's indices do."""
    return _hot(input, target % input.shape[1])


def _all_labels(target, *others):
    return np.ones(target.shape, bool)


def _vanishing(input):
    """exp(x - log(sum of the exponentials)), with nothing subtracted."""
    return np.exp(input - np.log(np.exp(input).sum(1, keepdims=True)))


def _one_maximum_softmax(input):
    e = np.exp(input - input.max())
    return e / e.sum(1, keepdims=True)


def _backward_ignored_as_last(g, input, target, ignore_index):
    kept = (target != ignore_index).sum()
    return g / kept * (_softmax(input) - _hot_last(input, target))


def _backward_mean_of_means(g, input, target, ignore_index):
    used = [(labels != ignore_index).sum() for labels in target]
    share = np.array([count and sum(used) / count / len(used) for count in used])
    return cross_entropy_backward(g, input, target, ignore_index) * share.reshape(
        -1, *(1,) * (input.ndim - 1))


def _backward_divided_by_classes(g, input, target, ignore_index):
    return cross_entropy_backward(g / input.shape[1], input, target, ignore_index)


def _turned(g, input, target, ignore_index):
    return -cross_entropy_backward(g, input, target, ignore_index)


def _backward_overflow(g, input, target, ignore_index):
    kept = (target != ignore_index)[:, None]
    hot = np.arange(input.shape[1]).reshape(-1, *(1,) * (input.ndim - 2)) == target[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        e = np.exp(input)
        return np.where(kept, g / kept.sum() * (e / e.sum(1, keepdims=True) - hot), 0)


MISTAKES = (
    Mistake("cross_entropy", "divided-by-all", "You divide by the number of all labels. How many "
            "of them count?", _divided_by_all),
    Mistake("cross_entropy", "sum", "You sum the costs; the result is their mean.", _sum),
    Mistake("cross_entropy", "overflow", "With large scores your exponentials are infinite. What "
            "can be subtracted from all scores without changing a probability?", _overflow),
    Mistake("cross_entropy", "log-of-zero", "A probability that is too small for a computer "
            "becomes 0, and its logarithm infinite. Write log(e^a / s) without the quotient.",
            _log_of_zero),
    Mistake("cross_entropy", "0-times-infinity", "A probability that is too small for a computer "
            "becomes 0, its logarithm infinite, and 0 times infinity NaN. Write log(e^a / s) "
            "without the quotient.", _zero_times_infinity),
    *(Mistake("cross_entropy", "one-maximum", "You subtract the largest of all scores, so the "
              "exponentials of a label with small scores are all 0. Each label has its own "
              "largest.", _one_maximum(fraction)) for fraction in (True, False)),
    *(Mistake("cross_entropy", f"floor-of-10-to-minus-{n}", "A small number added to the "
              "probability, or put in its place, keeps the logarithm finite, but wrong: a certain "
              "mistake costs as much as the scores are apart. Write log(e^a / s) without the "
              "quotient.", loss) for n in (5, 6, 7, 8, 9, 10, 12, 15, 16, 20)
      for loss in (_floored(10.0 ** -n), _lifted(10.0 ** -n))[n > 12:]),
    Mistake("cross_entropy", "nothing-ignored", "Labels equal to ignore_index cost something in "
            "your code.", _nothing_ignored),
    Mistake("cross_entropy", "nothing-ignored", "Labels equal to ignore_index cost something in "
            "your code.", _nothing_ignored_hot),
    *(Mistake("cross_entropy", "ignore-index-fixed", "Which label is ignored is an argument of "
              "the function.", loss)
      for ignored in (_negative, _white) for loss in _fixed_ignored(ignored)),
    Mistake("cross_entropy", "softmax-along-last-axis", "Your softmax runs over the last axis. "
            "Which axis counts the classes in a map of scores?", _wrong_axis),
    Mistake("cross_entropy", "softmax-along-first-axis", "Your softmax runs over the images. "
            "Which axis counts the classes?", _first_axis),
    Mistake("cross_entropy", "softmax-of-all-scores", "Your softmax runs over all scores together; "
            "the probabilities of each label sum to 1.", _all_scores),
    Mistake("cross_entropy", "softmax-twice", "softmax is applied twice: what goes into the "
            "exponential are the scores themselves.", _softmax_twice),
    Mistake("cross_entropy", "no-softmax", "You take the right class's score as if it were a "
            "logarithm of a probability.", _no_softmax),
    Mistake("cross_entropy", "score-as-probability", "You take the logarithm of a score. What "
            "makes probabilities of scores?", _score_as_probability),
    *(Mistake("cross_entropy", "no-logarithm", "The cost is minus the logarithm of the right "
              "class's probability.", _of_probability(cost))
      for cost in (lambda p: -p, lambda p: 1 - p, lambda p: p)),
    Mistake("cross_entropy", "binary", "The other classes' probabilities have no cost of their "
            "own: they sum to 1 with the right one's.", _binary),
    Mistake("cross_entropy", "sign", "The logarithm of a probability is negative, a cost is not.",
            _forward_turned),
    *(Mistake("cross_entropy", "divided-by-classes", "You also divide by the number of classes; "
              "each label is one cost.", _over(share))
      for share in (lambda all, kept, input: all * input.shape[1],
                    lambda all, kept, input: kept * input.shape[1])),
    Mistake("cross_entropy", "mean-of-means", "You take the mean of each image first. Images with "
            "few labels then count too much.", _mean_of_images),
    Mistake("cross_entropy", "mean-of-means", "You take the mean of each image first. Images with "
            "few labels then count too much.", _mean_with_empty_images),
    Mistake("cross_entropy", "divided-by-images", "You divide by the number of images; every label "
            "that counts is one cost.", _per_batch),
    Mistake("cross_entropy", "base-2", "The logarithm is the natural one.", _base(2)),
    Mistake("cross_entropy", "base-10", "The logarithm is the natural one.", _base(10)),
    Mistake("cross_entropy_backward", "not-divided", "The loss is a mean: what is the share of one "
            "of K costs?", _not_divided),
    Mistake("cross_entropy_backward", "divided-by-all", "You divide by the number of all labels. "
            "How many of them count?", _backward_divided_by_all),
    Mistake("cross_entropy_backward", "divided-by-images", "You divide by the number of images; "
            "the mean runs over all labels that count.", _backward_per_batch),
    Mistake("cross_entropy_backward", "divided-by-classes", "You also divide by the number of "
            "classes; each label is one cost.", _backward_divided_by_classes),
    Mistake("cross_entropy_backward", "mean-of-means", "You divide by each image's own number of "
            "labels and then by that of the images; the mean runs over all labels that count.",
            _backward_mean_of_means),
    Mistake("cross_entropy_backward", "g-forgotten", "The gradient g that comes from above is "
            "missing.", _g_forgotten),
    Mistake("cross_entropy_backward", "softmax-only", "The right class's probability should grow: "
            "what is subtracted from p there?", _softmax_only),
    Mistake("cross_entropy_backward", "labels-only", "The other scores matter, too: the more "
            "probable their class, the more they cost.", _backward_of(bracket=lambda p, hot: -hot)),
    Mistake("cross_entropy_backward", "by-probability", "This is the gradient with respect to the "
            "probabilities. Go on through the softmax to the scores.",
            _backward_of(bracket=lambda p, hot: np.where(hot > 0, -1 / p, 0))),
    Mistake("cross_entropy_backward", "softmax-along-last-axis", "Your softmax runs over the last "
            "axis. Which axis counts the classes in a map of scores?",
            _backward_of(p_of=lambda x: _softmax(x, -1))),
    Mistake("cross_entropy_backward", "softmax-along-first-axis", "Your softmax runs over the "
            "images. Which axis counts the classes?",
            _backward_of(p_of=lambda x: _softmax(x, 0))),
    Mistake("cross_entropy_backward", "one-maximum", "You subtract the largest of all scores, so "
            "the exponentials of a label with small scores are all 0. Each label has its own "
            "largest.", _backward_of(p_of=_one_maximum_softmax)),
    Mistake("cross_entropy_backward", "ignored-has-gradient", "The scores of a place with an "
            "ignored label change no cost, so their gradient is 0.", _ignored_has_gradient),
    Mistake("cross_entropy_backward", "ignored-has-gradient", "The scores of a place with an "
            "ignored label change no cost, so their gradient is 0.", _backward_ignored_as_last),
    *(Mistake("cross_entropy_backward", "nothing-ignored", "Labels equal to ignore_index count in "
              "your gradient.", wrong)
      for wrong in (_backward_nothing_ignored, _backward_of(kept_of=_all_labels))),
    Mistake("cross_entropy_backward", "ignore-index-fixed", "Which label is ignored is an "
            "argument of the function.", _backward_of(kept_of=lambda target, _: target >= 0)),
    Mistake("cross_entropy_backward", "sign", "Your gradient points the other way: raising the "
            "right class's score lowers the cost.", _turned),
    Mistake("cross_entropy_backward", "overflow", "With large scores your exponentials are "
            "infinite. What can be subtracted from all scores without changing a probability?",
            _backward_overflow),
    Mistake("cross_entropy_backward", "overflow", "With large scores your exponentials are "
            "infinite. What can be subtracted from all scores without changing a probability?",
            _backward_of(p_of=_vanishing)),
)


# ---- cases ---------------------------------------------------------------------------------------

def _labels(rng, shape, classes, ignore_index):
    """Labels (N, H, W); in every row of pixels another number is ignored, as in every image."""
    others = np.setdiff1d(np.arange(classes), [ignore_index])
    rows = rng.permutation(np.resize(others, np.prod(shape))).reshape(-1, shape[-1])
    for number, row in enumerate(rows):
        row[:number % len(row)] = ignore_index
    return rows.reshape(shape)


def _plain(rng, N, C):
    """Scores that are small integers, and labels of which none is the best class."""
    scores = np.stack([rng.permutation(10)[:C] for _ in range(N)]).astype(float)
    return scores, (scores.argmax(1) + rng.integers(1, C, N)) % C


def _large(rng):
    """Three sets of scores; the second's exponentials overflow, the last's vanish."""
    low = rng.integers(1, 9, 3)
    scores = np.array([[low[0], 2, 3, 1], [1000, 400 - low[1], 995, 997],
                       [-2000 - low[2], -800, -805, -803]], float)
    order = rng.permutation(4)
    return scores[:, order], np.argsort(order)[[2, 1, 0]]


def _apart(rng):
    """Scores so far apart that probabilities vanish, though no exponential does: the first label is
    the best class of its scores, and the last one's scores are far below those of the first."""
    order = rng.permutation(3)
    scores = np.array([[300, -600, -598], [200, -298, -300], [-450, -452, -451]])
    scores[1:] -= rng.integers(0, 9, (2, 3))
    return scores[:, order].astype(float), np.argsort(order)[[0, 1, rng.integers(3)]]


def _map(rng, shape, ignore_index):
    N, C, H, W = shape
    return 2 * rng.standard_normal(shape), _labels(rng, (N, H, W), C, ignore_index), ignore_index


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    def ignoring(N, C, ignore_index):
        labels = rng.permutation(np.arange(N) % C)
        labels[:2] = ignore_index
        return 2 * rng.standard_normal((N, C)), labels, ignore_index

    def backward(name, *args):
        g = np.array(rng.uniform(2, 5))
        return Case("cross_entropy_backward", f"backward, {name}", (g, *args))
    return [
        Case("cross_entropy", "two classes", (*_plain(rng, 1, 2), -1), 0.5),
        Case("cross_entropy", "three sets of scores", (*_plain(rng, 3, 4), 255)),
        Case("cross_entropy", "scores far apart", (*_apart(rng), -1), 0.5),
        Case("cross_entropy", "large scores", (*_large(rng), -1)),
        Case("cross_entropy", "ignored labels", ignoring(7, 4, -1)),
        Case("cross_entropy", "a map, 255 ignored", _map(rng, (3, 5, 2, 7), 255)),
        Case("cross_entropy", "a map, class 1 ignored", _map(rng, (2, 3, 4, 5), 1)),
        backward("three sets of scores", *_plain(rng, 3, 4), -1),
        backward("large scores", *_large(rng), -1),
        backward("ignored labels", *ignoring(7, 4, 1)),
        backward("a map, -1 ignored", *_map(rng, (2, 3, 4, 5), -1)),
    ]


# ---- error bounds --------------------------------------------------------------------------------

def _reach(input):
    """The error of log softmax, (N, 1, ...), in roundings: those of the scores, and its own."""
    p, largest = _softmax(input), np.abs(input.max(1, keepdims=True))
    return (p * (np.abs(input) + largest)).sum(1, keepdims=True) + np.log(input.shape[1]) + 1


def _magnitude(input, target, ignore_index):
    kept = target != ignore_index
    labels = np.where(kept, target, 0)
    largest = np.abs(input).max(1, keepdims=True)
    own = np.abs(_chosen(input, labels)) + _reach(input)[:, 0] + largest[:, 0]
    return own[kept].mean()


def _backward_magnitude(g, input, target, ignore_index):
    kept = (target != ignore_index)[:, None]
    p, reach = _softmax(input), _reach(input) + np.abs(input) + np.abs(input.max(1, keepdims=True))
    hot = np.abs(cross_entropy_backward(1.0, input, target, ignore_index)) * kept.sum()
    return np.abs(g) / kept.sum() * (p * reach + hot) * kept


EXERCISE = Exercise(
    name="cross_entropy", title="Softmax cross-entropy and its gradient",
    lecture="Kempten L 10.2, Recap: Loss Functions - Segmentation",
    source="tinyvision/ops/cross_entropy.py",
    functions={"cross_entropy": cross_entropy, "cross_entropy_backward": cross_entropy_backward},
    cases=cases, mistakes=MISTAKES,
    domain={"cross_entropy": lambda input, target, ignore_index: (target != ignore_index).any(),
            "cross_entropy_backward": lambda g, input, target, ignore_index: (
                target != ignore_index).any()},
    magnitude={"cross_entropy": _magnitude, "cross_entropy_backward": _backward_magnitude},
    terms={"cross_entropy": lambda input, target, ignore_index: input.shape[1] + target.size + 4,
           "cross_entropy_backward": lambda g, input, *how: input.shape[1] + 6})
