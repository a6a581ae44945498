r"""# Depthwise convolution

Write `depthwise_conv2d` and its gradient `depthwise_conv2d_backward`.

An ordinary convolution looks at all input channels for every output channel. A depthwise one
looks at a single channel: each input channel has M kernels of its own (the channel multiplier)
and gives M output channels. MobileNet puts a 1x1 convolution behind it, which mixes the channels;
together they need about I J times fewer multiplications than an ordinary I x J convolution.

$$y_{n,o,a,b} = \beta_o + \sum_{i,j} w_{o,0,i,j}\;
x_{n,\,\lfloor o / M \rfloor,\;aS+i-P,\;bS+j-P}$$

where x is 0 outside the image. There is no sum over channels.

**By hand.** Two channels of one row, one kernel each (M = 1), stride 1, no padding, bias 0:

    channel 0    1 2 3    kernel  1 10    answer   1*1 + 2*10, 2*1 + 3*10  = 21 32
    channel 1    4 5 6    kernel  1 -1    answer   4 - 5, 5 - 6            = -1 -1

With M = 2 there are four kernels: output channels 0 and 1 read channel 0, 2 and 3 read channel 1.

**Backward.** Given g = dL/dy, return dL/dx, dL/dweight and dL/dbias. Each product w x that went
into an answer sends g x to its weight and g w to its pixel; what arrives at one place is
summed. A pixel takes part in up to M I J answers. For channel 0 above with g = (1, 2):

    dL/dx        (1, 10 + 2, 20)       =  (1, 12, 20)
    dL/dweight   (1 + 2*2, 2 + 2*3)    =  (5, 8)
    dL/dbias     1 + 2                 =  3

**Shapes.** x (N, C, H, W), weight (C M, 1, I, J), bias (C M,); y (N, C M, A, B) with
A = floor((H + 2 P - I) / S) + 1, B likewise from W and J. Gradients have their argument's shape.
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.bounds import absolute
from tinyvision.exercises.draws import random, small
from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions
from tinyvision.exercises.slips import LAST_TAP, around, given, only, part, then


def depthwise_conv2d(x, weight, bias, stride, padding):
    """Convolution in which every output channel reads one input channel.

    Arguments:
        x: (N, C, H, W) images.
        weight: (C M, 1, I, J) kernels; kernel o belongs to input channel o // M.
        bias: (C M,) added to each output channel.
        stride: pixels that the window moves, in both directions.
        padding: rows and columns of zeros around the image.

    Returns:
        (N, C M, A, B), A = floor((H + 2 padding - I) / stride) + 1, B likewise.
    """
    ### BEGIN SOLUTION
    (N, C, H, W), (O, _, I, J) = x.shape, weight.shape
    A, B = (H + 2 * padding - I) // stride + 1, (W + 2 * padding - J) // stride + 1
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    y, kernels = np.zeros((N, O, A, B)) + bias[:, None, None], weight.reshape(O, I, J)
    for o, a, b in np.ndindex(O, A, B):
        top, left = a * stride, b * stride
        window = padded[:, o // (O // C), top:top + I, left:left + J]
        y[:, o, a, b] += np.einsum("nij,ij->n", window, kernels[o])
    return y
    ### END SOLUTION


def depthwise_conv2d_backward(g, x, weight, bias, stride, padding):
    """Gradients of a loss with respect to the arguments of `depthwise_conv2d`.

    Arguments:
        g: (N, C M, A, B) gradient with respect to the result.
        x, weight, bias, stride, padding: what `depthwise_conv2d` was called with.

    Returns:
        (gx, gweight, gbias) with the shapes of x, weight and bias.
    """
    ### BEGIN SOLUTION
    (N, C, H, W), (O, _, I, J) = x.shape, weight.shape
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    gpadded, gweight = np.zeros(padded.shape), np.zeros(weight.shape)
    for n, o, a, b in np.ndindex(g.shape):
        top, left = a * stride, b * stride
        window = np.s_[n, o // (O // C), top:top + I, left:left + J]
        gpadded[window] += g[n, o, a, b] * weight[o].reshape(I, J)
        gweight[o] += g[n, o, a, b] * padded[window]
    gx = gpadded[:, :, padding:padding + H, padding:padding + W]
    return gx, gweight, np.einsum("noab->o", g)
    ### END SOLUTION


# ---- mistakes: forward ---------------------------------------------------------------------------

def _pad(x, padding):
    return np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))


def _order(x, weight):
    """Output channels counted kernel by kernel instead of channel by channel."""
    C = x.shape[1]
    return np.arange(len(weight)).reshape(C, -1).T.ravel()


def _modulo(x, weight, bias, stride, padding):
    back = _order(x, weight)
    wrong = np.argsort(back)
    y = depthwise_conv2d(x, weight[wrong], bias[wrong], stride, padding)
    return y[:, back]


def _all_channels(x, weight, bias, stride, padding):
    summed = np.repeat(x.sum(axis=1, keepdims=True), x.shape[1], axis=1)
    return depthwise_conv2d(summed, weight, bias, stride, padding)


def _first_channel(x, weight, bias, stride, padding):
    return depthwise_conv2d(np.repeat(x[:, :1], x.shape[1], axis=1), weight, bias, stride, padding)


def _first_kernel(x, weight, bias, stride, padding):
    first = np.arange(len(weight)) // (len(weight) // x.shape[1]) * (len(weight) // x.shape[1])
    return depthwise_conv2d(x, weight[first], bias, stride, padding)


def _multiplier_summed(x, weight, bias, stride, padding):
    y = depthwise_conv2d(x, weight, bias, stride, padding)
    N, O, A, B = y.shape
    return y.reshape(N, x.shape[1], -1, A, B).sum(axis=2)


def _flipped(x, weight, bias, stride, padding):
    return depthwise_conv2d(x, weight[:, :, ::-1, ::-1], bias, stride, padding)


def _stride_in_size_only(x, weight, bias, stride, padding):
    A, B = depthwise_conv2d(x, weight, bias, stride, padding).shape[2:]
    return depthwise_conv2d(x, weight, bias, 1, padding)[:, :, :A, :B]


def _no_padding(x, weight, bias, stride, padding):
    return depthwise_conv2d(x, weight, bias, stride, 0)


def _bias_of_the_channel(x, weight, bias, stride, padding):
    channel = np.arange(len(weight)) // (len(weight) // x.shape[1])
    return depthwise_conv2d(x, weight, bias[channel], stride, padding)


def _no_bias(x, weight, bias, stride, padding):
    return depthwise_conv2d(x, weight, 0 * bias, stride, padding)


def _interleaved(kernels, answers):
    """Kernels or answers counted kernel by kernel instead of channel by channel."""
    def conv(x, weight, bias, stride, padding):
        order = _order(x, weight)
        weight = weight[np.argsort(order)] if kernels else weight
        y = depthwise_conv2d(x, weight, 0 * bias, stride, padding)
        return (y[:, order] if answers else y) + bias[:, None, None]
    return conv


def _kernel_of_the_channel(x, weight, *rest):
    return depthwise_conv2d(x, weight[np.arange(len(weight)) // (len(weight) // x.shape[1])], *rest)


def _one_answer_a_channel(choose):
    """As many answers as channels: of kernels choose(C, M) -> (C,)."""
    def conv(x, weight, bias, stride, padding):
        kernels = choose(x.shape[1], len(weight) // x.shape[1])
        return depthwise_conv2d(x, weight[kernels], bias[:x.shape[1]], stride, padding)
    return conv


def _bias_per_tap(x, weight, bias, stride, padding):
    return depthwise_conv2d(x, weight, bias * weight[0].size, stride, padding)


def _forward_stride_ignored(x, weight, bias, stride, padding):
    return depthwise_conv2d(x, weight, bias, 1, padding)


def _strided(down, across):
    """The step of the window taken for 1 in one direction."""
    def conv(x, weight, bias, stride, padding):
        A, B = depthwise_conv2d(x, weight, bias, stride, padding).shape[2:]
        y = depthwise_conv2d(x, weight, bias, 1, padding)
        return y[:, :, ::stride if down else 1, ::stride if across else 1][:, :, :A, :B]
    return conv


def _padded_at_the_end(x, weight, bias, stride, padding):
    wide = around(x, (0, 2 * padding), (0, 2 * padding))
    return depthwise_conv2d(wide, weight, bias, stride, 0)


def _padded_once(x, weight, bias, stride, padding):
    A, B = ((n + padding - k) // stride + 1 for n, k in zip(x.shape[2:], weight.shape[2:]))
    return depthwise_conv2d(x, weight, bias, stride, padding)[:, :, :A, :B]


# ---- mistakes: backward --------------------------------------------------------------------------

def _batch_mean(g, x, *rest):
    gx, gweight, gbias = depthwise_conv2d_backward(g, x, *rest)
    return gx, gweight / len(x), gbias / len(x)


def _last_kernel(g, x, weight, bias, stride, padding):
    last = np.arange(1, len(weight) + 1) % (len(weight) // x.shape[1]) == 0
    gx = depthwise_conv2d_backward(g * last[:, None, None], x, weight, bias, stride, padding)[0]
    return gx, *depthwise_conv2d_backward(g, x, weight, bias, stride, padding)[1:]


def _not_cropped(g, x, weight, bias, stride, padding):
    return depthwise_conv2d_backward(g, _pad(x, padding), weight, bias, stride, 0)


def _gx_flipped(g, x, weight, *rest):
    gx = depthwise_conv2d_backward(g, x, weight[:, :, ::-1, ::-1], *rest)[0]
    return gx, *depthwise_conv2d_backward(g, x, weight, *rest)[1:]


def _gweight_shared(g, x, weight, *rest):
    gx, gweight, gbias = depthwise_conv2d_backward(g, x, weight, *rest)
    each = gweight.reshape(x.shape[1], -1, *gweight.shape[1:])
    return gx, np.broadcast_to(each.sum(axis=1, keepdims=True), each.shape).reshape(
        gweight.shape), gbias


def _backward_modulo(g, x, weight, bias, stride, padding):
    back = _order(x, weight)
    wrong = np.argsort(back)
    gx, gweight, gbias = depthwise_conv2d_backward(g[:, wrong], x, weight[wrong], bias[wrong],
                                                   stride, padding)
    return gx, gweight[back], gbias[back]


def _stride_ignored(g, x, weight, bias, stride, padding):
    return depthwise_conv2d_backward(g, x, weight, bias, 1, padding)


def _gx_overwritten(g, x, weight, bias, stride, padding):
    gpadded, (H, W), (I, J) = np.zeros(_pad(x, padding).shape), x.shape[2:], weight.shape[2:]
    for n, o, a, b in np.ndindex(g.shape):
        top, left = a * stride, b * stride
        here = np.s_[n, o * x.shape[1] // len(weight), top:top + I, left:left + J]
        gpadded[here] = g[n, o, a, b] * weight[o, 0]
    return (gpadded[:, :, padding:padding + H, padding:padding + W],
            *depthwise_conv2d_backward(g, x, weight, bias, stride, padding)[1:])


def _gbias_mean(g, *rest):
    return *depthwise_conv2d_backward(g, *rest)[:2], g.mean(axis=(0, 2, 3))


def _cropped(where):
    """The backward whose gradient of the padded image is cut at where(padding, size)."""
    def crop(gx, g, x, weight, bias, stride, padding):
        rows, columns = (where(padding, n) for n in x.shape[2:])
        return gx[:, :, rows, columns]
    return part(_not_cropped, 0, crop)


def _padding_behind(g, x, weight, bias, stride, padding):
    wide = around(x, (0, 2 * padding), (0, 2 * padding))
    gx, *others = depthwise_conv2d_backward(g, wide, weight, bias, stride, 0)
    return gx[:, :, :x.shape[2], :x.shape[3]], *others


def _backward_interleaved(g, x, weight, bias, stride, padding):
    """The backward of kernels in the wrong order and answers in the right one."""
    back = _order(x, weight)
    gx, gweight, _ = depthwise_conv2d_backward(g, x, weight[np.argsort(back)], bias, stride,
                                               padding)
    return gx, gweight[back], g.sum(axis=(0, 2, 3))


def _all_means(g, x, *rest):
    return tuple(one / len(x) for one in depthwise_conv2d_backward(g, x, *rest))


def _gx_written(taps_first, last):
    """dL/dx with = for +=, in another order, from all or only the last kernel of a channel."""
    def wrong(_, g, x, weight, bias, stride, padding):
        M = len(weight) // x.shape[1]
        gpadded, IJ, AB = np.zeros(_pad(x, padding).shape), weight.shape[2:], g.shape[2:]
        for k in np.ndindex(*IJ, *AB) if taps_first else np.ndindex(*AB, *IJ):
            (i, j), (a, b) = (k[:2], k[2:]) if taps_first else (k[2:], k[:2])
            each = (g[:, :, a, b] * weight[:, 0, i, j]).reshape(len(x), -1, M)
            gpadded[:, :, a * stride + i, b * stride + j] = (
                each[..., -1] if last else each.sum(axis=2))
        return gpadded[:, :, padding:padding + x.shape[2], padding:padding + x.shape[3]]
    return part(depthwise_conv2d_backward, 0, wrong)


def _gweight_of(share):
    """dL/dweight from only a part of g."""
    return part(depthwise_conv2d_backward, 1, lambda _, g, *rest: depthwise_conv2d_backward(
        only(share)(g), *rest)[1])


def _gbias(total):
    return part(depthwise_conv2d_backward, 2, lambda _, g, x, *rest: total(g, x))


def _gbias_of_the_channel(g, x):
    return g.reshape(len(g), x.shape[1], -1).sum(axis=(0, 2))


MISTAKES = (
    Mistake("depthwise_conv2d", "channels-interleaved", "With M kernels a channel, the first M "
            "output channels all read input channel 0. Yours take turns.", _modulo),
    Mistake("depthwise_conv2d", "channels-summed", "Your result sums over the input channels, as "
            "an ordinary convolution does. How many channels does one kernel see here?",
            _all_channels),
    Mistake("depthwise_conv2d", "first-channel-only", "All output channels read the first input "
            "channel in your code.", _first_channel),
    Mistake("depthwise_conv2d", "first-kernel-only", "All output channels of one input channel use "
            "the same kernel in your code. Which axis of the weight counts them?", _first_kernel),
    Mistake("depthwise_conv2d", "multiplier-summed", "You sum the M answers of an input channel. "
            "Each of them is an output channel.", _multiplier_summed),
    Mistake("depthwise_conv2d", "kernel-flipped", "Your kernel is turned by 180 degrees. Which "
            "kernel element meets the window's first pixel?", _flipped),
    Mistake("depthwise_conv2d", "stride-in-size-only", "The stride changes the size of your "
            "result, but in at least one direction the window still moves by one pixel.",
            _stride_in_size_only),
    Mistake("depthwise_conv2d", "padding-ignored", "The image is never padded.", _no_padding),
    Mistake("depthwise_conv2d", "bias-of-the-input-channel", "You look up the bias by the input "
            "channel. How many biases are there?", _bias_of_the_channel),
    Mistake("depthwise_conv2d", "bias-forgotten", "The bias is missing.", _no_bias),
    Mistake("depthwise_conv2d_backward", "batch-mean", "The weight's and bias's gradients are "
            "means over the batch; the images' shares are summed.", _batch_mean),
    Mistake("depthwise_conv2d_backward", "last-kernel-only", "A pixel went into M output channels. "
            "In your dL/dx only the last of them counts.", _last_kernel),
    Mistake("depthwise_conv2d_backward", "gx-overwritten", "A pixel takes part in several "
            "answers. Your dL/dx lacks some of them: is there = where += was meant?",
            _gx_overwritten),
    Mistake("depthwise_conv2d_backward", "gx-not-cropped", "Your dL/dx is the gradient of the "
            "padded image, whole or cut at the wrong place. Which part of it belongs to x?",
            _not_cropped),
    Mistake("depthwise_conv2d_backward", "gx-kernel-flipped", "In dL/dx the kernel is turned by "
            "180 degrees. A pixel gets its g back through the weight that it met.", _gx_flipped),
    Mistake("depthwise_conv2d_backward", "gweight-shared", "The M kernels of a channel all get the "
            "sum of their gradients. Each has an output channel of its own.", _gweight_shared),
    Mistake("depthwise_conv2d_backward", "channels-interleaved", "With M kernels a channel, output "
            "channels 0 to M - 1 belong to input channel 0, on the way back too.",
            _backward_modulo),
    Mistake("depthwise_conv2d_backward", "stride-ignored", "Your gradient comes from windows that "
            "move by one pixel, whatever the stride.", _stride_ignored),
    Mistake("depthwise_conv2d_backward", "gbias-mean", "dL/dbias is a mean. What arrives at one "
            "place is summed.", _gbias_mean),
    *(Mistake("depthwise_conv2d", "multiplier-ignored", "Your result has as many channels as the "
              "image. How many kernels does each of them have?", _one_answer_a_channel(choose))
      for choose in (lambda C, M: np.arange(C), lambda C, M: np.arange(C) * M,
                     lambda C, M: np.arange(C) * M + M - 1)),
    Mistake("depthwise_conv2d", "bias-per-product", "The bias is added once for every product. On "
            "which side of the sum does it stand in the formula?", _bias_per_tap),
    Mistake("depthwise_conv2d", "stride-ignored", "Your window moves by one pixel, whatever the "
            "stride, so that the result is too large.", _forward_stride_ignored),
    Mistake("depthwise_conv2d", "last-window-forgotten", "Your result lacks its last row and "
            "column. How many windows of 1 pixel fit on 1 pixel?",
            then(depthwise_conv2d, lambda y: y[:, :, :-1, :-1])),
    Mistake("depthwise_conv2d", "padded-at-the-end", "All the padding is below and to the right of "
            "the image. It belongs on all four sides.", _padded_at_the_end),
    Mistake("depthwise_conv2d", "padding-counted-once", "There is padding on two sides of each "
            "axis: by how much does the image grow?", _padded_once),
    Mistake("depthwise_conv2d", "sum-overwritten", "Of the sum only the last term is left in your "
            "result: is there = where += was meant?", given(depthwise_conv2d, 1, LAST_TAP)),
    Mistake("depthwise_conv2d_backward", "empty-crop", "Your slice is empty where the padding is "
            "0: P:-P is 0:0 then. Where does x end?", _cropped(lambda P, n: slice(P, -P))),
    Mistake("depthwise_conv2d_backward", "padding-ignored", "You look for a window's pixels "
            "without subtracting the padding. Where in the padded image does x begin?",
            _padding_behind),
    *(Mistake("depthwise_conv2d_backward", "gweight-overwritten", "In dL/dweight only the last "
              "window or the last image counts. What arrives at one place is summed.",
              _gweight_of(share))
      for share in (np.s_[:, :, -1, -1], np.s_[-1], np.s_[-1, :, -1, -1])),
    Mistake("depthwise_conv2d_backward", "gbias-per-image", "dL/dbias still has a batch axis. One "
            "bias serves all images and all places.", _gbias(lambda g, x: g.sum(axis=(2, 3)))),
    Mistake("depthwise_conv2d_backward", "gbias-per-place", "dL/dbias still has the result's rows "
            "and columns. One bias serves all places.", _gbias(lambda g, x: g.sum(axis=0))),
    *(Mistake("depthwise_conv2d_backward", "gbias-of-the-input-channel", "The M kernels of a "
              "channel share one number in your dL/dbias. Each has a bias of its own.",
              _gbias(total))
      for total in (_gbias_of_the_channel, lambda g, x: np.repeat(
          _gbias_of_the_channel(g, x), g.shape[1] // x.shape[1]))),
)

MISTAKES += versions(MISTAKES, {
    ("depthwise_conv2d", "channels-interleaved"): (
        _interleaved(True, False), _interleaved(False, True)),
    ("depthwise_conv2d", "first-kernel-only"): (_kernel_of_the_channel,),
    ("depthwise_conv2d", "kernel-flipped"): (given(depthwise_conv2d, 1, np.flip),),
    ("depthwise_conv2d", "stride-in-size-only"): (_strided(True, False), _strided(False, True)),
    ("depthwise_conv2d_backward", "batch-mean"): (_all_means,),
    ("depthwise_conv2d_backward", "channels-interleaved"): (_backward_interleaved,),
    ("depthwise_conv2d_backward", "gx-not-cropped"): (
        _cropped(lambda P, n: slice(n)), _cropped(lambda P, n: slice(2 * P, None))),
    ("depthwise_conv2d_backward", "gx-overwritten"): (
        _gx_written(True, True), _gx_written(True, False), _gx_written(False, False)),
    ("depthwise_conv2d_backward", "gbias-per-image"): (
        _gbias(lambda g, x: g.sum(axis=(1, 2, 3))),),
    ("depthwise_conv2d_backward", "gbias-mean"): (
        _gbias(lambda g, x: g.mean(axis=(2, 3)).sum(axis=0)),),
})


# ---- cases ---------------------------------------------------------------------------------------

def _case(rng, name, sizes, stride=1, padding=0, backward=False, draw=random):
    """A case of sizes N, C, H, W, M, I, J."""
    N, C, H, W, M, I, J = sizes
    args = (*draw(rng, (N, C, H, W), (C * M, 1, I, J), (C * M,)), stride, padding)
    if not backward:
        return Case("depthwise_conv2d", name, args)
    A, B = ((n + 2 * padding - k) // stride + 1 for n, k in ((H, I), (W, J)))
    return Case("depthwise_conv2d_backward", name, (*draw(rng, (N, C * M, A, B)), *args))


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    return [
        _case(rng, "two channels of one row", (1, 2, 1, 3, 1, 1, 2), draw=small),
        _case(rng, "channel multiplier 2", (1, 2, 2, 3, 2, 2, 2), draw=small),
        _case(rng, "five channels, multiplier 3", (1, 5, 7, 6, 3, 2, 4)),
        _case(rng, "stride 2", (1, 2, 9, 8, 3, 4, 5), stride=2),
        _case(rng, "padding 1", (1, 2, 5, 6, 3, 4, 3), padding=1),
        _case(rng, "two images, stride 3, padding 2", (2, 3, 8, 9, 2, 4, 5), 3, 2),
        _case(rng, "backward, two channels of one row", (1, 2, 1, 3, 1, 1, 2), backward=True,
              draw=small),
        _case(rng, "backward, two images, multiplier 3", (2, 5, 7, 6, 3, 2, 4), backward=True),
        _case(rng, "backward, stride 2", (1, 3, 9, 8, 2, 4, 5), stride=2, backward=True),
        _case(rng, "backward, two images, stride 2, padding 1", (2, 3, 7, 6, 2, 4, 5), 2, 1,
              backward=True),
    ]


def _terms(x, weight, bias, stride, padding):
    return weight[0].size + 1


def _backward_terms(g, x, weight, bias, stride, padding):
    return weight[:, 0].size // x.shape[1], g[:, 0].size, g[:, 0].size


EXERCISE = Exercise(
    name="depthwise_conv2d", title="Depthwise convolution and its gradient",
    lecture="UW, Efficient Networks: MobileNets", source="tinyvision/ops/conv2d.py",
    functions={"depthwise_conv2d": depthwise_conv2d,
               "depthwise_conv2d_backward": depthwise_conv2d_backward},
    cases=cases, mistakes=MISTAKES,
    magnitude={f.__name__: absolute(f) for f in (depthwise_conv2d, depthwise_conv2d_backward)},
    terms={"depthwise_conv2d": _terms, "depthwise_conv2d_backward": _backward_terms})
