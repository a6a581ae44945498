r"""# Full-resolution residual unit

Write `frru`, the unit that FRRN is made of.

A segmentation network must see far (and pools) and be exact at borders (and must not pool). FRRN
keeps two streams: z at full resolution, which units only add to, as in a residual network; and y,
pooled and rich in channels. Each unit lets the two streams talk:

$$y' = \text{ReLU}\big(w * [\,y,\ \text{pool}(z)\,] + b\big), \qquad
z' = z + \text{up}\big(v * y' + d\big)$$

- pool is the maximum over blocks of k x k pixels, so that z has the size of y;
- [ , ] puts channels one behind the other, those of y first;
- w is a convolution of odd size I x J, stride 1, padded with I // 2 and J // 2 zeros, so that the
  size stays (the paper has two of 3x3, each with batch norm);
- v is a 1x1 convolution to the channels of z, without a ReLU;
- up repeats every pixel k x k times (nearest neighbour).

**By hand**: one channel each, k = 2, y = (1), z = (1 2 / 3 4), w = (2, 1), b = -1, v = 3, d = 1:

    pool(z) = 4      y' = ReLU(2 * 1 + 1 * 4 - 1) = 5
    3 * 5 + 1 = 16   z' = (17 18 / 19 20)

**Shapes.** y (N, C, H, W); z (N, D, k H, k W); weight w (O, C + D, I, J), bias b (O,);
residual_weight v (D, O), residual_bias d (D,); the result y' (N, O, H, W) and z' (N, D, k H, k W).
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.bounds import absolute
from tinyvision.exercises.exercise import Case, Exercise, Mistake


def frru(y, z, weight, bias, residual_weight, residual_bias, factor):
    """One full-resolution residual unit.

    Arguments:
        y: (N, C, H, W) the pooling stream.
        z: (N, D, factor H, factor W) the residual stream.
        weight: (O, C + D, I, J) kernels of odd sizes; bias: (O,).
        residual_weight: (D, O), a 1x1 convolution; residual_bias: (D,).
        factor: how many times larger z is than y.

    Returns:
        (y, z) afterwards: (N, O, H, W) and (N, D, factor H, factor W).
    """
    ### BEGIN SOLUTION
    (N, D), (H, W), (I, J) = z.shape[:2], y.shape[2:], weight.shape[2:]
    pooled = z.reshape(N, D, H, factor, W, factor).max(axis=5).max(axis=3)
    both = np.concatenate([y, pooled], axis=1)
    padded = np.pad(both, ((0, 0), (0, 0), (I // 2, I // 2), (J // 2, J // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (I, J), axis=(2, 3))
    y = np.einsum("ocij,nchwij->nohw", weight, windows) + bias[:, None, None]
    y = np.maximum(y, 0)
    residual = np.einsum("do,nohw->ndhw", residual_weight, y) + residual_bias[:, None, None]
    return y, z + residual.repeat(factor, axis=2).repeat(factor, axis=3)
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _max_pool(z, factor):
    N, D, H, W = z.shape
    return z.reshape(N, D, H // factor, factor, W // factor, factor).max((3, 5))


def _average_pool(z, factor):
    N, D, H, W = z.shape
    return z.reshape(N, D, H // factor, factor, W // factor, factor).mean((3, 5))


def _pool_of_strides(z, factor):
    """The maximum over pixels that lie H (or W) apart: the two axes of a reshape exchanged."""
    N, D, H, W = z.shape
    return z.reshape(N, D, factor, H // factor, factor, W // factor).max((2, 4))


def _min_pool(z, factor):
    return -_max_pool(-z, factor)


def _nearest(a, factor):
    return a.repeat(factor, 2).repeat(factor, 3)


def _join(y, pooled):
    return np.concatenate([y, pooled], 1)


def _relu(a):
    return np.maximum(a, 0)


def _both_sides(I, J):
    return (I // 2, I // 2), (J // 2, J // 2)


def _unit(pool=_max_pool, up=_nearest, join=_join, act=_relu, pad="constant", shown=lambda a: a,
          residual=lambda a: a, add=lambda z, a: z + a, sides=_both_sides):
    """The unit with some of its parts changed."""
    def unit(y, z, weight, bias, residual_weight, residual_bias, factor):
        both, (I, J) = join(y, pool(z, factor)), weight.shape[2:]
        padded = np.pad(both, ((0, 0), (0, 0), *sides(I, J)), mode=pad)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (I, J), axis=(2, 3))
        y = act(np.einsum("nchwij,ocij->nohw", windows, weight) + bias[:, None, None])
        a = np.einsum("do,nohw->ndhw", residual_weight, y) + residual_bias[:, None, None]
        return shown(y), add(z, up(residual(a), factor))
    return unit


def _nails(a, factor):
    out = np.zeros((*a.shape[:2], factor * a.shape[2], factor * a.shape[3]))
    out[:, :, ::factor, ::factor] = a
    return out


def _corners(a, factor):
    """Nails in the last pixel of each block."""
    return _nails(a[:, :, ::-1, ::-1], factor)[:, :, ::-1, ::-1]


def _z_pooled(y, z, *others):
    """z' is made of the pooled z."""
    factor = others[-1]
    y, new = frru(y, z, *others)
    return y, new - z + _nearest(_max_pool(z, factor), factor)


def _y_only(y, z, weight, bias, *others):
    weight = weight * (np.arange(weight.shape[1]) < y.shape[1])[:, None, None]
    return frru(y, z, weight, bias, *others)


def _kernel_flipped(y, z, weight, *others):
    return frru(y, z, weight[:, :, ::-1, ::-1], *others)


def _no_bias(y, z, weight, bias, residual_weight, residual_bias, factor):
    return frru(y, z, weight, bias, residual_weight, 0 * residual_bias, factor)


def _no_biases(y, z, weight, bias, *others):
    return _no_bias(y, z, weight, 0 * bias, *others)


def _relu_before(y, z, *others):
    """The ReLU stands before the convolution."""
    unit = _unit(act=lambda a: a, join=lambda y, pooled: _relu(_join(y, pooled)))
    return unit(y, z, *others)


def _no_first_bias(y, z, weight, bias, *others):
    return frru(y, z, weight, 0 * bias, *others)


MISTAKES = (
    Mistake("frru", "average-pool", "Your pooling takes the mean of a block; the unit takes its "
            "maximum.", _unit(pool=_average_pool)),
    Mistake("frru", "min-pool", "Your pooling takes the minimum of a block; the unit takes its "
            "maximum.", _unit(pool=_min_pool)),
    Mistake("frru", "blocks-of-strides", "The pixels of your blocks are not neighbours. Into which "
            "two axes is H divided, and which of them runs within a block?",
            _unit(pool=_pool_of_strides)),
    *(Mistake("frru", "one-pixel-of-a-block", "You take one pixel of each block; the others may "
              "hold the maximum.", _unit(pool=pool))
      for pool in (lambda z, k: z[:, :, ::k, ::k],
                   lambda z, k: z[:, :, k // 2::k, k // 2::k])),
    Mistake("frru", "z-not-seen", "The pooled residual stream does not reach y' in your code. What "
            "is put together before the convolution?", _y_only),
    Mistake("frru", "z-first", "The channels of y come first, then those of the pooled z.",
            _unit(join=lambda y, pooled: np.concatenate([pooled, y], 1))),
    Mistake("frru", "no-relu", "The ReLU is missing: y' is never negative.",
            _unit(act=lambda a: a)),
    Mistake("frru", "relu-before-the-convolution", "The ReLU stands behind the first convolution: "
            "y' is never negative.", _relu_before),
    Mistake("frru", "residual-before-relu", "The residual is made of y' as it is after the ReLU.",
            _unit(act=lambda a: a, shown=_relu)),
    Mistake("frru", "relu-of-the-residual", "The residual passes through a ReLU in your code, so "
            "it can never take anything away.", _unit(residual=_relu)),
    Mistake("frru", "relu-of-the-sum", "You cut z' at 0. The residual stream is a clean path: "
            "units only add to it.", _unit(add=lambda z, a: _relu(z + a))),
    Mistake("frru", "not-added", "Your z' is the residual alone; it is added to z.",
            _unit(add=lambda z, a: a)),
    Mistake("frru", "subtracted", "The residual is added to z.", _unit(add=lambda z, a: z - a)),
    Mistake("frru", "z-pooled", "Your z' is made of the pooled z. The residual stream keeps every "
            "pixel.", _z_pooled),
    *(Mistake("frru", "tiled", "You repeat the whole map. Enlarging repeats each pixel, beside "
              "itself.", _unit(up=up))
      for up in (lambda a, k: np.tile(a, (1, 1, k, k)),
                 lambda a, k: np.tile(a, (1, 1, k, 1)).repeat(k, 3),
                 lambda a, k: np.tile(a, (1, 1, 1, k)).repeat(k, 2))),
    *(Mistake("frru", "bed-of-nails", "Three of four pixels of a block get nothing (for factor 2). "
              "Nearest neighbour fills the block.", _unit(up=up)) for up in (_nails, _corners)),
    Mistake("frru", "edge-padding", "You repeat the border's pixels; the padding is 0.",
            _unit(pad="edge")),
    Mistake("frru", "wrapped-padding", "Your map goes on at its other side; the padding is 0.",
            _unit(pad="wrap")),
    *(Mistake("frru", "padding-on-one-side", "The zeros stand on both sides, so that a kernel's "
              "middle lies on its pixel.", _unit(sides=sides))
      for sides in (lambda I, J: ((I - 1, 0), (J - 1, 0)), lambda I, J: ((0, I - 1), (0, J - 1)))),
    Mistake("frru", "kernel-flipped", "Your kernel is turned by 180 degrees.", _kernel_flipped),
    Mistake("frru", "residual-bias-forgotten", "The bias of the 1x1 convolution is missing.",
            _no_bias),
    Mistake("frru", "bias-forgotten", "The bias of the first convolution is missing.",
            _no_first_bias),
    Mistake("frru", "no-biases", "Both biases are missing.", _no_biases),
)


# ---- cases ---------------------------------------------------------------------------------------

def _case(rng, name, sizes, kernel=(1, 1), factor=2, points=1.0):
    """A case of sizes N, C, D, O, H, W; half of y' is about 0."""
    N, C, D, O, H, W = sizes
    shapes = ((N, C, H, W), (N, D, factor * H, factor * W), (O, C + D, *kernel), (O,), (D, O),
              (D,))
    return Case("frru", name, (*(rng.standard_normal(s) + 0.2 for s in shapes), factor), points)


def _plain(rng, bias):
    """y of one pixel, z of 2x2, one channel each, small integers."""
    y, w = rng.integers(1, 5, (1, 1, 1, 1)) * 1.0, rng.permutation([1.0, 2, 3])
    z = rng.permutation(np.arange(1.0, 5)).reshape(1, 1, 2, 2)
    return (y, z, w[:2].reshape(1, 2, 1, 1), np.array([bias]), w[2:].reshape(1, 1),
            rng.permutation([-2.0, 1])[:1], 2)


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    return [
        Case("frru", "one pixel", _plain(rng, -1.0)),
        Case("frru", "one pixel, below zero", _plain(rng, -40.0)),
        _case(rng, "several channels", (1, 2, 3, 4, 2, 3)),
        _case(rng, "factor 3", (1, 3, 2, 2, 2, 3), factor=3),
        _case(rng, "3x3 kernel", (1, 1, 1, 2, 2, 3), (3, 3), points=2.0),
        _case(rng, "1x3 kernel", (1, 3, 2, 4, 3, 4), (1, 3)),
        _case(rng, "5x7 kernel, factor 1", (1, 2, 3, 4, 4, 3), (5, 7), factor=1),
        _case(rng, "two images, factor 4", (2, 3, 2, 5, 3, 2), (3, 3), factor=4, points=2.0),
    ]


def _fitting(y, z, weight, bias, residual_weight, residual_bias, factor):
    """What the task promises of the shapes."""
    (N, C, H, W), (O, inputs, I, J), D = y.shape, weight.shape, z.shape[1]
    return (z.shape == (N, D, factor * H, factor * W) and inputs == C + D and I % 2 == J % 2 == 1
            and bias.shape == (O,) and residual_weight.shape == (D, O)
            and residual_bias.shape == (D,))


def _terms(y, z, weight, *others):
    return weight[0].size + len(weight) + 4


EXERCISE = Exercise(
    name="frru", title="Full-resolution residual unit (FRRN)", lecture="DLCV, FRRN",
    source="tinyvision/models/segment/unet.py", functions={"frru": frru}, cases=cases,
    mistakes=MISTAKES, magnitude={"frru": absolute(frru)}, terms={"frru": _terms},
    domain={"frru": _fitting})
