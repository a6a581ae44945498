r"""# Batch normalisation

Write `batch_norm` and, for training, its gradient `batch_norm_backward`.

Deep networks train faster when every channel's values keep about the same size. Batch norm moves
each channel to mean 0 and variance 1, then lets the network choose another scale and shift:

$$\hat x = \frac{x - m}{\sqrt{v + \epsilon}}, \qquad y = w\, \hat x + \beta$$

In training, m and v are the channel's mean and variance over all images and pixels of the batch;
v divides by their number M. The running statistics follow them:

$$r \leftarrow (1 - \mu)\, r + \mu\, s$$

with momentum mu, where s is m for the mean and M / (M - 1) * v (the unbiased variance) for the
variance. Otherwise m and v are the running statistics, which stay as they are.

**By hand**: one channel, x = (1, 1, 3, 3), w = 3, beta = 10, epsilon 0, momentum 3/4, running mean
0 and variance 1:

    m = 2, v = 1          x^ = (-1, -1, 1, 1)       y = (7, 7, 13, 13)
    running mean          1/4 * 0 + 3/4 * 2   = 3/2
    running variance      1/4 * 1 + 3/4 * 4/3 = 5/4

**Backward** (training). Given g = dL/dy, return dL/dx, dL/dw = sum g x^ and dL/dbeta = sum g.
Every pixel moves m and v, so it reaches all of y:

$$\frac{dL}{dx} = \frac{w}{\sqrt{v + \epsilon}} \left(g - \frac{1}{M} \frac{dL}{d\beta}
- \frac{1}{M}\, \hat x\, \frac{dL}{dw}\right)$$

For the example with g = (4, 0, 0, 0): dL/dbeta = 4, dL/dw = -4, dL/dx = (6, -6, 0, 0).

**Shapes.** x, y, g and dL/dx: (N, C, H, W); everything else (C,). Do not change the running
statistics that you are given: return new ones.
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake
from tinyvision.exercises.forwards import Forward, product


def batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps):
    """Normalise every channel, by the batch (training) or by the running statistics.

    Arguments:
        x: (N, C, H, W).
        running_mean, running_var: (C,).
        weight, bias: (C,).
        training: whether to use the batch's statistics, and to move the running ones.
        momentum: the new batch's share in the running statistics.
        eps: added to the variance.

    Returns:
        (y, running_mean, running_var): (N, C, H, W), and the running statistics afterwards, (C,).
    """
    ### BEGIN SOLUTION
    if training:
        axes, count = (0, 2, 3), x.size // x.shape[1]
        mean, var = x.mean(axes), x.var(axes)
        unbiased = var * count / (count - 1)
        running_mean = (1 - momentum) * running_mean + momentum * mean
        running_var = (1 - momentum) * running_var + momentum * unbiased
    else:
        mean, var = running_mean, running_var
    scale = weight / np.sqrt(var + eps)
    y = (x - mean[:, None, None]) * scale[:, None, None] + bias[:, None, None]
    return y, running_mean, running_var
    ### END SOLUTION


def batch_norm_backward(g, x, weight, eps):
    """Gradients of a loss with respect to the arguments of `batch_norm` in training.

    Arguments:
        g: (N, C, H, W) gradient with respect to y.
        x: (N, C, H, W), weight: (C,), eps: what `batch_norm` was called with.

    Returns:
        (gx, gweight, gbias): (N, C, H, W), (C,), (C,).
    """
    ### BEGIN SOLUTION
    axes, count = (0, 2, 3), x.size // x.shape[1]
    mean, scale = x.mean(axes), 1 / np.sqrt(x.var(axes) + eps)
    normal = (x - mean[:, None, None]) * scale[:, None, None]
    gbias, gweight = g.sum(axes), (g * normal).sum(axes)
    common = (gbias[:, None, None] + normal * gweight[:, None, None]) / count
    gx = (weight * scale)[:, None, None] * (g - common)
    return gx, gweight, gbias
    ### END SOLUTION


# ---- mistakes: forward ---------------------------------------------------------------------------

AXES = (0, 2, 3)


def _normalised(x, mean, var, weight, bias, eps):
    """y by any statistics, (C,) or (N, C)."""
    mean, var = mean[..., None, None], var[..., None, None]
    return (x - mean) / np.sqrt(var + eps) * weight[:, None, None] + bias[:, None, None]


def _with_running(y, x, *args):
    return y, *batch_norm(x, *args)[1:]


def _only(training, wrong):
    """Wrong in training alone, or in inference alone: the formula was written twice."""
    def one(x, running_mean, running_var, weight, bias, now, momentum, eps):
        function = wrong if now == training else batch_norm
        return function(x, running_mean, running_var, weight, bias, now, momentum, eps)
    return one


def _statistics(mean_of, var_of):
    """The batch norm with other statistics of the batch, (C,) or (N, C); the running right."""
    def wrong(x, running_mean, running_var, weight, bias, training, momentum, eps):
        args = running_mean, running_var, weight, bias, training, momentum, eps
        if not training:
            return batch_norm(x, *args)
        return _with_running(_normalised(x, mean_of(x), var_of(x), weight, bias, eps), x, *args)
    return wrong


def _moved(step):
    """The batch norm with another step(r, s, momentum) of the running statistics; s is (mean,
    unbiased variance) of the batch x."""
    def wrong(x, running_mean, running_var, weight, bias, training, momentum, eps):
        y, *kept = batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
        if training:
            kept = step(running_mean, x.mean(AXES), momentum, x), step(
                running_var, x.var(AXES, ddof=1), momentum, x)
        return y, *kept
    return wrong


def _counted(factor):
    """The running variance that follows v times a factor of M and of the shape of x."""
    def wrong(x, running_mean, running_var, weight, bias, training, momentum, eps):
        y, mean, var = batch_norm(x, running_mean, running_var, weight, bias, training, momentum,
                                  eps)
        if training:
            sizes = map(np.float64, (x.size // x.shape[1], *x.shape))
            with np.errstate(divide="ignore", invalid="ignore"):
                spread = x.var(AXES) * factor(*sizes)
            var = (1 - momentum) * running_var + momentum * spread
        return y, mean, var
    return wrong


def _replaced_biased(x, running_mean, running_var, weight, bias, training, momentum, eps):
    args = running_mean, running_var, weight, bias, training
    return _running_biased(x, *args, 1.0, eps)


def _all_unbiased(x, *args):
    y, mean, _ = _unbiased(x, *args)
    return y, mean, _counted(lambda M, *shape: (M / (M - 1)) ** 2)(x, *args)[2]


def _always_running(x, running_mean, running_var, weight, bias, training, momentum, eps):
    args = running_mean, running_var, weight, bias
    y = batch_norm(x, *args, False, momentum, eps)[0]
    return _with_running(y, x, *args, training, momentum, eps)


def _moved_in_inference(x, running_mean, running_var, weight, bias, training, momentum, eps):
    args = running_mean, running_var, weight, bias
    y = batch_norm(x, *args, training, momentum, eps)[0]
    return _with_running(y, x, *args, True, momentum, eps)


def _moved_before_inference(x, running_mean, running_var, weight, bias, training, momentum, eps):
    moved = batch_norm(x, running_mean, running_var, weight, bias, True, momentum, eps)
    return moved if training else batch_norm(x, *moved[1:], weight, bias, False, momentum, eps)


def _all_per_image(spread):
    """Per image, and the running variance follows the mean of the images' variances."""
    def wrong(x, running_mean, running_var, weight, bias, training, momentum, eps):
        args = running_mean, running_var, weight, bias, training, momentum, eps
        y, mean, var = _per_image(x, *args)
        if training:
            var = (1 - momentum) * running_var + momentum * spread(x)
        return y, mean, var
    return wrong


def _channels_together(x, running_mean, running_var, weight, bias, training, momentum, eps):
    args = running_mean, running_var, weight, bias, training, momentum, eps
    if not training:
        return batch_norm(x, *args)
    ones = np.ones(x.shape[1])
    y = _normalised(x, x.mean() * ones, x.var() * ones, weight, bias, eps)
    return (y, (1 - momentum) * running_mean + momentum * x.mean(),
            (1 - momentum) * running_var + momentum * x.var(ddof=1))


def _deviation(x, *args):
    """The deviation instead of the variance; the running variance follows it, too."""
    y = _statistics(lambda x: x.mean(AXES), lambda x: x.std(AXES))(x, *args)[0]
    return y, *_moved_deviation(x, *args)[1:]


def _moved_deviation(x, running_mean, running_var, weight, bias, training, momentum, eps):
    return _counted(lambda M, *shape: M / (M - 1) / np.maximum(x.std(AXES), 1e-300))(
        x, running_mean, running_var, weight, bias, training, momentum, eps)


def _affine(change):
    """The batch norm with (weight, bias) changed, or exchanged."""
    def wrong(x, running_mean, running_var, weight, bias, *how):
        return batch_norm(x, running_mean, running_var, *change(weight, bias), *how)
    return wrong


def _shift_scaled(x, running_mean, running_var, weight, bias, *how):
    return batch_norm(x, running_mean, running_var, weight, weight * bias, *how)


def _momentum_reversed(x, running_mean, running_var, weight, bias, training, momentum, eps):
    return batch_norm(x, running_mean, running_var, weight, bias, training, 1 - momentum, eps)


def _running_biased(x, running_mean, running_var, weight, bias, training, momentum, eps):
    y, mean, var = batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    if training:
        var = (1 - momentum) * running_var + momentum * x.var(AXES)
    return y, mean, var


def _unbiased(x, running_mean, running_var, weight, bias, training, momentum, eps):
    args = running_mean, running_var, weight, bias, training, momentum, eps
    if not training:
        return batch_norm(x, *args)
    y = _normalised(x, x.mean(AXES), x.var(AXES, ddof=1), weight, bias, eps)
    return _with_running(y, x, *args)


def _always_training(x, running_mean, running_var, weight, bias, training, momentum, eps):
    return batch_norm(x, running_mean, running_var, weight, bias, True, momentum, eps)


def _batch_in_inference(x, running_mean, running_var, weight, bias, training, momentum, eps):
    args = running_mean, running_var, weight, bias
    return _with_running(batch_norm(x, *args, True, momentum, eps)[0], x, *args, training,
                         momentum, eps)


def _running_in_training(x, running_mean, running_var, weight, bias, training, momentum, eps):
    args = running_mean, running_var, weight, bias
    moved = batch_norm(x, *args, training, momentum, eps)[1:]
    return batch_norm(x, *moved, weight, bias, False, momentum, eps)[0], *moved


def _per_image(x, running_mean, running_var, weight, bias, training, momentum, eps):
    args = running_mean, running_var, weight, bias, training, momentum, eps
    if not training:
        return batch_norm(x, *args)
    y = _normalised(x, x.mean((2, 3)), x.var((2, 3)), weight, bias, eps)
    return _with_running(y, x, *args)


def _eps_outside(x, running_mean, running_var, weight, bias, training, momentum, eps):
    args = running_mean, running_var, weight, bias, training, momentum, eps
    mean, var = (x.mean(AXES), x.var(AXES)) if training else (running_mean, running_var)
    deviation = np.sqrt(var) + eps
    return _with_running(_normalised(x, mean, deviation ** 2, weight, bias, 0.0), x, *args)


def _eps_forgotten(x, running_mean, running_var, weight, bias, training, momentum, eps):
    return batch_norm(x, running_mean, running_var, weight, bias, training, momentum, 0.0)


def _no_root(x, running_mean, running_var, weight, bias, training, momentum, eps):
    args = running_mean, running_var, weight, bias, training, momentum, eps
    mean, var = (x.mean(AXES), x.var(AXES)) if training else (running_mean, running_var)
    return _with_running(_normalised(x, mean, (var + eps) ** 2, weight, bias, 0.0), x, *args)


def _no_scale(x, running_mean, running_var, weight, bias, *how):
    return batch_norm(x, running_mean, running_var, np.ones_like(weight), np.zeros_like(bias),
                      *how)


def _running_kept(x, running_mean, running_var, *args):
    return batch_norm(x, running_mean, running_var, *args)[0], running_mean, running_var


# ---- mistakes: backward --------------------------------------------------------------------------

def _parts(g, x, eps):
    """(x^, 1 / sqrt(v + eps)), to be put together wrongly."""
    ones = np.ones(x.shape[1])
    normal = _normalised(x, x.mean(AXES), x.var(AXES), ones, 0 * ones, eps)
    return normal, 1 / np.sqrt(x.var(AXES) + eps)


def _changed_gx(bracket):
    """The backward whose gx is weight / sqrt(v + eps) times a bracket of (g, x^)."""
    def backward(g, x, weight, eps):
        normal, scale = _parts(g, x, eps)
        gx = (weight * scale)[:, None, None] * bracket(g, normal)
        return gx, *batch_norm_backward(g, x, weight, eps)[1:]
    return backward


def _average(a):
    return a.mean(AXES)[:, None, None]


_fixed_statistics = _changed_gx(lambda g, normal: g)
_var_constant = _changed_gx(lambda g, normal: g - _average(g))
_mean_constant = _changed_gx(lambda g, normal: g - normal * _average(g * normal))


def _not_divided_by_count(g, x, weight, eps):
    count = x.size // x.shape[1]
    return _changed_gx(lambda g, normal: g - count * _average(g)
                       - count * normal * _average(g * normal))(g, x, weight, eps)


def _weight_forgotten(g, x, weight, eps):
    return batch_norm_backward(g, x, np.ones_like(weight), eps)


def _deviation_forgotten(g, x, weight, eps):
    gx, gweight, gbias = batch_norm_backward(g, x, weight, eps)
    return gx * np.sqrt(x.var(AXES) + eps)[:, None, None], gweight, gbias


def _exchanged(g, x, weight, eps):
    gx, gweight, gbias = batch_norm_backward(g, x, weight, eps)
    return gx, gbias, gweight


def _gweight_of_x(g, x, weight, eps):
    gx, _, gbias = batch_norm_backward(g, x, weight, eps)
    return gx, (g * x).sum(AXES), gbias


def _means(g, x, weight, eps):
    gx, gweight, gbias = batch_norm_backward(g, x, weight, eps)
    count = x.size // x.shape[1]
    return gx, gweight / count, gbias / count


def _weight_twice(g, x, weight, eps):
    gx, gweight, gbias = batch_norm_backward(g, x, weight, eps)
    return gx * weight[:, None, None], gweight, gbias


def _weight_in_part(g, x, weight, eps):
    """dL/dx^ is weight g, but the two sums are those of g."""
    normal, scale = _parts(g, x, eps)
    gx = weight[:, None, None] * g - _average(g) - normal * _average(g * normal)
    return gx * scale[:, None, None], *batch_norm_backward(g, x, weight, eps)[1:]


def _times_count(of):
    """The backward whose two means are of * M times what they should be."""
    def backward(g, x, weight, eps):
        count = np.array(of(*x.shape)) * np.ones(2)
        return _changed_gx(lambda g, normal: g - count[0] * _average(g)
                           - count[1] * normal * _average(g * normal))(g, x, weight, eps)
    return backward


def _all_times_count(g, x, weight, eps):
    gx, gweight, gbias = batch_norm_backward(g, x, weight, eps)
    return gx * (x.size // x.shape[1]), gweight, gbias


def _not_normalised(powers):
    """x - m where x^ should be, in one place of the variance's part or in both."""
    def backward(g, x, weight, eps):
        back = (x.var(AXES) + eps)[:, None, None] ** (powers / 2)
        return _changed_gx(lambda g, normal: g - _average(g) - back * normal * _average(
            g * normal))(g, x, weight, eps)
    return backward


def _backward_no_root(g, x, weight, eps):
    gx, gweight, gbias = batch_norm_backward(g, x, weight, eps)
    return gx / np.sqrt(x.var(AXES) + eps)[:, None, None], gweight, gbias


def _with_variance(other):
    """The backward of a normalisation by another variance(x, eps), which holds eps."""
    def backward(g, x, weight, eps):
        ones, var = np.ones(x.shape[1]), other(x, eps)
        normal, scale = _normalised(x, x.mean(AXES), var, ones, 0 * ones, 0.0), 1 / np.sqrt(var)
        gx = (weight * scale)[:, None, None] * (
            g - _average(g) - normal * _average(g * normal))
        return gx, (g * normal).sum(AXES), g.sum(AXES)
    return backward


def _gweight_of_centred(g, x, weight, eps):
    gx, gweight, gbias = batch_norm_backward(g, x, weight, eps)
    return gx, gweight * np.sqrt(x.var(AXES) + eps), gbias


def _means_of_images(g, x, weight, eps):
    gx, gweight, gbias = batch_norm_backward(g, x, weight, eps)
    return gx, gweight / len(x), gbias / len(x)


def _backward_eps_forgotten(g, x, weight, eps):
    return batch_norm_backward(g, x, weight, 0.0)


def _backward_per_image(g, x, weight, eps):
    each = [batch_norm_backward(g[n:n + 1], x[n:n + 1], weight, eps) for n in range(len(x))]
    gx, gweight, gbias = zip(*each)
    return np.concatenate(gx), sum(gweight), sum(gbias)


MISTAKES = (
    Mistake("batch_norm", "momentum-reversed", "The momentum is the new batch's share, as in "
            "PyTorch; yours is the old statistics' share.", _momentum_reversed),
    Mistake("batch_norm", "running-variance-biased", "The batch's variance goes into the running "
            "one in its unbiased form: what is divided by M - 1?", _running_biased),
    Mistake("batch_norm", "other-count", "M counts the numbers of one channel: its pixels in all "
            "images.", _counted(lambda M, N, C, H, W: H * W / (H * W - 1))),
    Mistake("batch_norm", "other-count", "M counts the numbers of one channel: its pixels in all "
            "images.", _counted(lambda M, N, C, H, W: C * M / (C * M - 1))),
    Mistake("batch_norm", "unbiased-reversed", "Dividing by M - 1 instead of M makes a variance "
            "larger.", _counted(lambda M, *shape: (M - 1) / M)),
    Mistake("batch_norm", "normalised-by-unbiased", "The batch is normalised by the variance that "
            "divides by M; M - 1 is for the running variance.", _unbiased),
    Mistake("batch_norm", "normalised-by-unbiased", "The batch is normalised by the variance that "
            "divides by M; M - 1 is for the running variance.", _all_unbiased),
    Mistake("batch_norm", "always-training", "training=False changes nothing in your code.",
            _always_training),
    Mistake("batch_norm", "moved-in-inference", "Without training the running statistics stay as "
            "they are.", _moved_in_inference),
    Mistake("batch_norm", "moved-in-inference", "Without training the running statistics stay as "
            "they are.", _moved_before_inference),
    Mistake("batch_norm", "batch-statistics-in-inference", "Without training one image's answer "
            "must not depend on the others of its batch. Which statistics are left?",
            _batch_in_inference),
    Mistake("batch_norm", "running-statistics-in-training", "In training the batch's own "
            "statistics normalise; the running ones only follow.", _running_in_training),
    Mistake("batch_norm", "running-statistics-in-training", "In training the batch's own "
            "statistics normalise; the running ones only follow.", _always_running),
    *(Mistake("batch_norm", "per-image", "Your statistics belong to one image and one channel "
              "(that is instance norm). Batch norm takes all images together.", wrong)
      for wrong in (_per_image, _all_per_image(lambda x: x.var((2, 3)).mean(0)),
                    _all_per_image(lambda x: x.var((2, 3), ddof=1).mean(0)))),
    Mistake("batch_norm", "channels-together", "Your statistics are those of all channels "
            "together; each channel has its own.", _channels_together),
    *(Mistake("batch_norm", "eps-outside-the-root", "epsilon is added to the variance, under the "
              "root.", wrong) for wrong in (_eps_outside, _only(True, _eps_outside),
                                            _only(False, _eps_outside))),
    *(Mistake("batch_norm", "eps-forgotten", "epsilon is not added to the variance.", wrong)
      for wrong in (_eps_forgotten, _only(True, _eps_forgotten), _only(False, _eps_forgotten))),
    *(Mistake("batch_norm", "no-root", "You divide by the variance. Which power of x has the unit "
              "of x?", wrong) for wrong in (_no_root, _only(True, _no_root),
                                            _only(False, _no_root))),
    *(Mistake("batch_norm", "two-roots", "The standard deviation is the root of the variance "
              "already: under the formula's root belongs the variance.", wrong)
      for wrong in (_statistics(lambda x: x.mean(AXES), lambda x: x.std(AXES)), _deviation)),
    Mistake("batch_norm", "running-deviation", "The running variance follows the batch's variance, "
            "not its standard deviation.", _moved_deviation),
    Mistake("batch_norm", "mean-not-subtracted", "x^ has the mean 0. What is missing?",
            _statistics(lambda x: 0 * x.mean(AXES), lambda x: x.var(AXES))),
    Mistake("batch_norm", "mean-of-squares", "The variance is the mean squared distance from the "
            "mean, not from 0.", _statistics(lambda x: x.mean(AXES), lambda x: (x * x).mean(AXES))),
    *(Mistake("batch_norm", "no-scale-and-shift", "weight and bias are not used.", wrong)
      for wrong in (_no_scale, _only(True, _no_scale), _only(False, _no_scale))),
    Mistake("batch_norm", "no-scale", "The weight is not used.",
            _affine(lambda weight, bias: (np.ones_like(weight), bias))),
    Mistake("batch_norm", "no-shift", "The bias is not used.",
            _affine(lambda weight, bias: (weight, 0 * bias))),
    Mistake("batch_norm", "weight-and-bias-exchanged", "The weight multiplies x^, the bias is "
            "added.", _affine(lambda weight, bias: (bias, weight))),
    Mistake("batch_norm", "shift-scaled", "The bias is added after the weight has multiplied.",
            _shift_scaled),
    Mistake("batch_norm", "running-not-moved", "The running statistics come back as they were; "
            "in training they take a step towards the batch's.", _running_kept),
    *(Mistake("batch_norm", "running-replaced", "The running statistics take a small step towards "
              "the batch's; yours jump there.", wrong)
      for wrong in (_moved(lambda r, s, momentum, x: s), _replaced_biased)),
    Mistake("batch_norm", "running-not-decayed", "The running statistics are a weighted mean of "
            "the old and the new: how much of the old ones is kept?",
            _moved(lambda r, s, momentum, x: r + momentum * s)),
    Mistake("batch_norm_backward", "statistics-constant", "Your gradient treats mean and variance "
            "as constants. Every pixel moves both.", _fixed_statistics),
    Mistake("batch_norm_backward", "variance-constant", "A pixel also changes the variance; "
            "nothing of that reaches your gradient.", _var_constant),
    Mistake("batch_norm_backward", "mean-constant", "A pixel also changes the mean; nothing of "
            "that reaches your gradient.", _mean_constant),
    *(Mistake("batch_norm_backward", "not-divided-by-count", "A pixel is one of M: what is its "
              "share in the mean and in the variance?", wrong)
      for wrong in (_not_divided_by_count, _all_times_count,
                    _times_count(lambda N, C, H, W: (N * H * W, 1)),
                    _times_count(lambda N, C, H, W: (1, N * H * W)))),
    *(Mistake("batch_norm_backward", "other-count", "M counts the numbers of one channel: its "
              "pixels in all images.", _times_count(of))
      for of in (lambda N, C, H, W: N, lambda N, C, H, W: H * W, lambda N, C, H, W: 1 / C)),
    *(Mistake("batch_norm_backward", "sign-of-a-part", "What reaches x through the mean and the "
              "variance is subtracted.", _times_count(lambda *shape, signs=signs: signs))
      for signs in ((-1, 1), (1, -1), (-1, -1))),
    *(Mistake("batch_norm_backward", "variance-factor", "In the variance's part the 1/2 of the "
              "root and the 2 of the square cancel.", _times_count(lambda *shape, k=k: (1, k)))
      for k in (2, 0.5)),
    *(Mistake("batch_norm_backward", "not-normalised", "In the variance's part x^ stands twice; "
              "yours has x - m.", _not_normalised(powers)) for powers in (1, 2)),
    *(Mistake("batch_norm_backward", "weight-forgotten", "x^ is multiplied by the weight on the "
              "way forward, and so is the gradient on the way back.", wrong)
      for wrong in (_weight_forgotten, _weight_in_part)),
    Mistake("batch_norm_backward", "weight-twice", "The weight is a factor of dL/dx once.",
            _weight_twice),
    Mistake("batch_norm_backward", "deviation-forgotten", "x is divided by the root of v + epsilon "
            "on the way forward, and so is the gradient on the way back.", _deviation_forgotten),
    *(Mistake("batch_norm_backward", "no-root", "You divide by the variance. Which power of x has "
              "the unit of x?", wrong)
      for wrong in (_backward_no_root, _with_variance(lambda x, eps: (x.var(AXES) + eps) ** 2))),
    Mistake("batch_norm_backward", "unbiased", "The batch was normalised by the variance that "
            "divides by M; M - 1 is for the running variance.",
            _with_variance(lambda x, eps: x.var(AXES, ddof=1) + eps)),
    Mistake("batch_norm_backward", "eps-outside-the-root", "epsilon is added to the variance, "
            "under the root.", _with_variance(lambda x, eps: (x.std(AXES) + eps) ** 2)),
    Mistake("batch_norm_backward", "weight-and-bias-exchanged", "The gradients of weight and bias "
            "are exchanged.", _exchanged),
    *(Mistake("batch_norm_backward", "gweight-of-x", "The weight multiplies x^: not x, and not "
              "x - m.", wrong) for wrong in (_gweight_of_x, _gweight_of_centred)),
    *(Mistake("batch_norm_backward", "means", "The weight's and bias's gradients are sums over "
              "all places that they serve, not means.", wrong)
      for wrong in (_means, _means_of_images)),
    Mistake("batch_norm_backward", "eps-forgotten", "epsilon is missing in your gradient.",
            _backward_eps_forgotten),
    Mistake("batch_norm_backward", "per-image", "Your gradient is that of statistics of single "
            "images.", _backward_per_image),
)


# ---- cases ---------------------------------------------------------------------------------------

def _small(rng, shape):
    return rng.permutation(2.0 * np.arange(1, 1 + np.prod(shape))).reshape(shape)


def _random(rng, shape):
    return rng.standard_normal(shape) * rng.uniform(0.5, 2, (shape[1], 1, 1)) + 0.5


def _case(rng, name, shape, training, momentum, eps, draw=_random):
    C = shape[1]
    running = rng.uniform(-1, 1, C), rng.uniform(0.5, 2, C)
    affine = rng.uniform(0.5, 2, C), rng.uniform(-1, 1, C)
    if draw is _small:
        running, affine = (np.zeros(C), np.ones(C)), (np.full(C, 3.0), np.full(C, 10.0))
    return Case("batch_norm", name, (draw(rng, shape), *running, *affine, training, momentum, eps))


def _backward_case(rng, name, shape, eps, draw=_random):
    x, weight = draw(rng, shape), rng.uniform(0.5, 2, shape[1])
    g = rng.standard_normal(shape) + 0.5 + 0.5 * x          # no sum is near 0
    if draw is _small:                  # powers of two: in no order is sum g x^ equal to 0
        g = rng.permutation(2.0 ** np.arange(g.size)).reshape(shape)
    return Case("batch_norm_backward", f"backward, {name}", (g, x, weight, eps))


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    return [
        _case(rng, "training, one channel", (1, 1, 2, 2), True, 0.5, 0.0, _small),
        _case(rng, "training, three channels", (1, 3, 4, 5), True, 0.1, 1e-5),
        _case(rng, "training, a large epsilon", (2, 3, 5, 4), True, 0.25, 0.5),
        _case(rng, "training, several images", (4, 2, 3, 5), True, 0.1, 1e-3),
        _case(rng, "inference, one channel", (1, 1, 2, 2), False, 0.5, 0.0, _small),
        _case(rng, "inference, several images", (2, 3, 4, 5), False, 0.1, 0.01),
        _backward_case(rng, "one channel", (1, 1, 2, 2), 0.0, _small),
        _backward_case(rng, "three channels", (1, 3, 4, 5), 1e-5),
        _backward_case(rng, "a large epsilon", (2, 3, 5, 4), 0.5),
        _backward_case(rng, "several images", (4, 2, 3, 5), 1e-3),
    ]


# ---- error bounds --------------------------------------------------------------------------------
# The variance may be computed as the mean of squares minus the square of the mean: its error is
# that of the mean of squares.

def _reach(x, mean, var, spread, eps):
    """(scale of the error of x^, relative one of 1 / sqrt(v + eps)), to be broadcast."""
    scale = 1 / np.sqrt(var + eps)[:, None, None]
    relative = 1 + 0.5 * spread[:, None, None] * scale ** 2
    centred = np.abs(x - mean[:, None, None])
    added = np.abs(x) + np.abs(x).mean(AXES)[:, None, None] + np.abs(mean)[:, None, None]
    return (added + centred * relative) * scale, relative


def _magnitude(x, running_mean, running_var, weight, bias, training, momentum, eps):
    mean, var, spread = running_mean, running_var, running_var
    moved = np.abs(running_mean), running_var
    if training:
        mean, var, spread = x.mean(AXES), x.var(AXES), (x ** 2).mean(AXES)
        moved = tuple((1 - momentum) * old + 2 * momentum * new for old, new in
                      zip(moved, (np.abs(x).mean(AXES), spread)))
    reach, _ = _reach(x, mean, var, spread, eps)
    return reach * np.abs(weight)[:, None, None] + np.abs(bias)[:, None, None], *moved


def _backward_magnitude(g, x, weight, eps):
    size, (normal, scale) = np.abs(g), _parts(g, x, eps)
    reach, relative = _reach(x, x.mean(AXES), x.var(AXES), (x ** 2).mean(AXES), eps)
    bracket = size + _average(size) + np.abs(normal) * _average(size * reach) + (
        reach * _average(np.abs(g * normal)))
    gx = batch_norm_backward(g, x, weight, eps)[0]
    return (np.abs(weight * scale)[:, None, None] * bracket + relative * np.abs(gx),
            (size * reach).sum(AXES), size.sum(AXES))


def _terms(x, *args):
    return x[:, 0].size + 8


def _backward_terms(g, *args):
    return _terms(g)


# ---- the forward of the backward -----------------------------------------------------------------

def _calls(g, x, weight, eps):
    """In training, with other running statistics, bias and momentum in each call: the backward is
    not told them."""
    ones = np.ones_like(weight)
    return [((x, k * ones, (1 + k) * ones, weight, (1 - k) * ones, True, 0.25 + k / 2, eps),
             (0, 3, 4)) for k in (0.25, 0.5)]


def _loss(answer, g, *others):
    return product(answer[0], g)


EXERCISE = Exercise(
    name="batch_norm", title="Batch normalisation and its gradient",
    lecture="UW, Improving ResNets", source="tinyvision/ops/batch_norm.py",
    functions={"batch_norm": batch_norm, "batch_norm_backward": batch_norm_backward},
    cases=cases, mistakes=MISTAKES,
    magnitude={"batch_norm": _magnitude, "batch_norm_backward": _backward_magnitude},
    terms={"batch_norm": _terms, "batch_norm_backward": _backward_terms},
    forwards={"batch_norm_backward": Forward("batch_norm", _calls, _loss)})
