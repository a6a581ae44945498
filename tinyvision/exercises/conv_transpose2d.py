r"""# Transposed convolution

Write `conv_transpose2d` and its gradient `conv_transpose2d_backward`.

A learnable way to make maps larger: take each input pixel, multiply the kernel by it, and
"stamp" the result on the output. The stamps are S pixels apart; where they overlap they are
summed. Then P rows and columns are cut off on each side.

$$y_{n,o,\;hS+i-P,\;wS+j-P} \mathrel{+}= x_{n,c,h,w}\; k_{c,o,i,j} \qquad
\text{for all } c, h, w, i, j,\quad\text{then}\quad y_{n,o,a,b} \mathrel{+}= \beta_o$$

**By hand** (the lecture's example), stride 1:

    X = 120 150 120        K = 1 -1
        100  50 110            2 -2
         25  25  10

After X(0,0) and X(0,1) were stamped the upper rows are (120, -120+150, -150, 0) and
(240, -240+300, -300, 0); after all nine:

    120   30   -30  -120
    340   10     0  -350
    225 -100   105  -230
     50    0   -30   -20

In one dimension, kernel (x, y, z), stride 2, output_padding 1, on (a, b):
(a x, a y, a z + b x, b y, b z, 0), the transpose of the matrix of the convolution with stride 2.

**Output padding.** A convolution with stride 2 gives the same size for several image sizes;
output_padding chooses among them. It makes the canvas on which the stamps fall longer at the
bottom and the right, **before** P rows and columns are cut off; the bias is added there too.

**Backward.** Given g = dL/dy, return dL/dx, dL/dweight and dL/dbias: each product x * k that was
stamped on an output sends that output's g times k to the pixel, and g times x to the weight.

**Shapes.** x (N, C, H, W), weight **(C, O, I, J)** (input channels first), bias (O,);
y (N, O, A, B) with A = (H - 1) S - 2 P + I + output_padding, B likewise from W and J. Gradients
have their argument's shape.
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.bounds import absolute
from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions
from tinyvision.exercises.slips import around, given, only, part


def conv_transpose2d(x, weight, bias, stride, padding, output_padding):
    """Transposed convolution: every pixel stamps its multiple of the kernel on the output.

    Arguments:
        x: (N, C, H, W) maps.
        weight: (C, O, I, J) kernels, input channels first.
        bias: (O,) added to each output channel.
        stride: pixels from one stamp to the next, in both directions.
        padding: rows and columns cut off on each side.
        output_padding: rows and columns by which the canvas is longer at the bottom and right.

    Returns:
        (N, O, A, B), A = (H - 1) stride - 2 padding + I + output_padding, B likewise.
    """
    ### BEGIN SOLUTION
    (N, C, H, W), (_, O, I, J) = x.shape, weight.shape
    canvas = np.zeros((N, O, (H - 1) * stride + I + output_padding,
                       (W - 1) * stride + J + output_padding))
    for h in range(H):
        for w in range(W):
            stamp = np.einsum("nc,coij->noij", x[:, :, h, w], weight)
            canvas[:, :, h * stride:h * stride + I, w * stride:w * stride + J] += stamp
    A, B = canvas.shape[2] - 2 * padding, canvas.shape[3] - 2 * padding
    return canvas[:, :, padding:padding + A, padding:padding + B] + bias[:, None, None]
    ### END SOLUTION


def conv_transpose2d_backward(g, x, weight, bias, stride, padding, output_padding):
    """Gradients of a loss with respect to the arguments of `conv_transpose2d`.

    Arguments:
        g: (N, O, A, B) gradient with respect to the result.
        x, weight, bias, stride, padding, output_padding: what `conv_transpose2d` was called with.

    Returns:
        (gx, gweight, gbias) with the shapes of x, weight and bias.
    """
    ### BEGIN SOLUTION
    (H, W), (I, J) = x.shape[2:], weight.shape[2:]
    canvas = np.pad(g, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    gx, gweight = np.empty(x.shape), np.zeros(weight.shape)
    for h in range(H):
        for w in range(W):
            stamp = canvas[:, :, h * stride:h * stride + I, w * stride:w * stride + J]
            gx[:, :, h, w] = np.einsum("noij,coij->nc", stamp, weight)
            gweight += np.einsum("nc,noij->coij", x[:, :, h, w], stamp)
    return gx, gweight, g.sum(axis=(0, 2, 3))
    ### END SOLUTION


# ---- mistakes: forward ---------------------------------------------------------------------------

def _no_output_padding(x, weight, bias, stride, padding, output_padding):
    return conv_transpose2d(x, weight, bias, stride, padding, 0)


def _zeros_appended(x, weight, bias, stride, padding, output_padding):
    y = conv_transpose2d(x, weight, bias, stride, padding, 0)
    return np.pad(y, ((0, 0), (0, 0), (0, output_padding), (0, output_padding)))


def _overwritten(x, weight, bias, stride, padding, output_padding):
    y = conv_transpose2d(0 * x, weight, 0 * bias, stride, 0, output_padding)
    I, J = weight.shape[2:]
    for h, w in np.ndindex(x.shape[2:]):
        stamp = np.einsum("nc,coij->noij", x[:, :, h, w], weight)
        y[:, :, h * stride:h * stride + I, w * stride:w * stride + J] = stamp
    A, B = y.shape[2] - padding, y.shape[3] - padding
    return y[:, :, padding:A, padding:B] + bias[:, None, None]


def _flipped(x, weight, bias, stride, padding, output_padding):
    return conv_transpose2d(x, weight[:, :, ::-1, ::-1], bias, stride, padding, output_padding)


def _stride_in_size_only(x, weight, bias, stride, padding, output_padding):
    right = conv_transpose2d(x, weight, bias, stride, padding, output_padding)
    y = conv_transpose2d(x, weight, bias, 1, padding, 0)[:, :, :right.shape[2], :right.shape[3]]
    out = np.zeros(right.shape) + bias[:, None, None]
    out[:, :, :y.shape[2], :y.shape[3]] = y
    return out


def _padding_adds(x, weight, bias, stride, padding, output_padding):
    y = conv_transpose2d(x, weight, 0 * bias, stride, 0, output_padding)
    around = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    return np.pad(y, around) + bias[:, None, None]


def _channels_swapped(x, weight, bias, stride, padding, output_padding):
    C, O, I, J = weight.shape
    weight = weight.reshape(O, C, I, J).swapaxes(0, 1)
    return conv_transpose2d(x, weight, bias, stride, padding, output_padding)


def _kernel_transposed(x, weight, bias, stride, padding, output_padding):
    return conv_transpose2d(x, weight.swapaxes(2, 3), bias, stride, padding, output_padding)


def _no_bias(x, weight, bias, stride, padding, output_padding):
    return conv_transpose2d(x, weight, 0 * bias, stride, padding, output_padding)


def _bias_per_channel(x, weight, bias, stride, padding, output_padding):
    return conv_transpose2d(x, weight, x.shape[1] * bias, stride, padding, output_padding)


def _cut(change):
    """The canvas, longer by the output padding, cut at change(padding, size), plus the bias."""
    def conv(x, weight, bias, stride, padding, output_padding):
        canvas = conv_transpose2d(x, weight, 0 * bias, stride, 0, output_padding)
        rows, columns = (change(padding, n) for n in canvas.shape[2:])
        return canvas[:, :, rows, columns] + bias[:, None, None]
    return conv


def _lengthened(before, after):
    """The canvas longer by so many times the output padding, at the top and at the bottom."""
    def conv(x, weight, bias, stride, padding, output_padding):
        canvas = conv_transpose2d(x, weight, 0 * bias, stride, 0, 0)
        room = before * output_padding, after * output_padding
        canvas = around(canvas, room, room)
        rows, columns = (slice(padding, n - padding) for n in canvas.shape[2:])
        return canvas[:, :, rows, columns] + bias[:, None, None]
    return conv


def _zeros_appended_then_bias(x, weight, bias, stride, padding, output_padding):
    y = _zeros_appended(x, weight, 0 * bias, stride, padding, output_padding)
    return y + bias[:, None, None]


def _one_stamp_more(x, weight, bias, stride, padding, output_padding):
    canvas = conv_transpose2d(x, weight, 0 * bias, stride, 0, output_padding + stride)
    rows, columns = (slice(padding, n - padding) for n in canvas.shape[2:])
    return canvas[:, :, rows, columns] + bias[:, None, None]


def _forward_stride_ignored(x, weight, bias, stride, padding, output_padding):
    return conv_transpose2d(x, weight, bias, 1, padding, output_padding)


def _bias_per_stamp(x, weight, bias, stride, padding, output_padding):
    how = stride, padding, output_padding
    stamps = np.ones((1, *weight.shape[1:])) * bias[:, None, None]
    return conv_transpose2d(x, weight, 0 * bias, *how) + conv_transpose2d(
        np.ones_like(x[:, :1]), stamps, 0 * bias, *how)


def _written(taps_first, channels=np.s_[:]):
    """= for +=, stamp by stamp or kernel element by kernel element, of some channels."""
    def conv(x, weight, bias, stride, padding, output_padding):
        canvas = conv_transpose2d(0 * x, weight, 0 * bias, stride, 0, output_padding)
        IJ, HW = weight.shape[2:], x.shape[2:]
        for k in np.ndindex(*IJ, *HW) if taps_first else np.ndindex(*HW, *IJ):
            (i, j), (h, w) = (k[:2], k[2:]) if taps_first else (k[2:], k[:2])
            canvas[:, :, h * stride + i, w * stride + j] = (
                x[:, channels, h, w] @ weight[channels, :, i, j])
        rows, columns = (slice(padding, n - padding) for n in canvas.shape[2:])
        return canvas[:, :, rows, columns] + bias[:, None, None]
    return conv


def _last_channel(x, weight, *rest):
    return conv_transpose2d(x[:, -1:], weight[-1:], *rest)


# ---- mistakes: backward --------------------------------------------------------------------------

def _batch_mean(g, x, *rest):
    gx, gweight, gbias = conv_transpose2d_backward(g, x, *rest)
    return gx, gweight / len(x), gbias / len(x)


def _gx_flipped(g, x, weight, *rest):
    gx = conv_transpose2d_backward(g, x, weight[:, :, ::-1, ::-1], *rest)[0]
    return gx, *conv_transpose2d_backward(g, x, weight, *rest)[1:]


def _gweight_flipped(g, x, *rest):
    gx, gweight, gbias = conv_transpose2d_backward(g, x, *rest)
    return gx, gweight[:, :, ::-1, ::-1].copy(), gbias


def _gweight_channels(g, x, *rest):
    gx, gweight, gbias = conv_transpose2d_backward(g, x, *rest)
    return gx, gweight.swapaxes(0, 1).copy(), gbias


def _stride_ignored(g, x, weight, bias, stride, padding, output_padding):
    return conv_transpose2d_backward(g, x, weight, bias, 1, padding, output_padding)


def _crop_at_the_start(g, x, weight, bias, stride, padding, output_padding):
    g = np.pad(g, ((0, 0), (0, 0), (0, 2 * padding), (0, 2 * padding)))
    return conv_transpose2d_backward(g, x, weight, bias, stride, 0, output_padding)


def _gbias_per_image(g, *rest):
    return *conv_transpose2d_backward(g, *rest)[:2], g.sum(axis=(2, 3))


def _gbias_mean(g, *rest):
    return *conv_transpose2d_backward(g, *rest)[:2], g.mean(axis=(0, 2, 3))


def _all_means(g, x, *rest):
    return tuple(one / len(x) for one in conv_transpose2d_backward(g, x, *rest))


def _gx_of(share):
    """dL/dx from only a part of the weight."""
    return part(conv_transpose2d_backward, 0, lambda _, g, x, weight, *rest:
                conv_transpose2d_backward(g, x, only(share)(weight), *rest)[0])


def _gweight_of(share):
    """dL/dweight from only a part of x."""
    return part(conv_transpose2d_backward, 1, lambda _, g, x, *rest:
                conv_transpose2d_backward(g, only(share)(x), *rest)[1])


def _gbias(total):
    return part(conv_transpose2d_backward, 2, lambda _, g, *rest: total(g))


MISTAKES = (
    Mistake("conv_transpose2d", "output-padding-ignored", "output_padding does not change your "
            "result. Which side of the canvas does it lengthen?", _no_output_padding),
    Mistake("conv_transpose2d", "output-padding-zeros", "You append zeros after the cut. The "
            "canvas grows before it, so what the cut would have taken may become visible, and "
            "the bias is added there too.", _zeros_appended),
    Mistake("conv_transpose2d", "overlap-overwritten", "Where stamps overlap, the last one wins "
            "in your code. What does the lecture do with -120 and 150?", _overwritten),
    Mistake("conv_transpose2d", "kernel-flipped", "Your kernel is turned by 180 degrees. Each "
            "pixel stamps the kernel as it is.", _flipped),
    Mistake("conv_transpose2d", "stride-in-size-only", "The stride changes the size of your "
            "result, but the stamps are still one pixel apart.", _stride_in_size_only),
    Mistake("conv_transpose2d", "padding-adds", "You add rows and columns; here padding takes "
            "away what a convolution's padding had added.", _padding_adds),
    Mistake("conv_transpose2d", "channels-swapped", "The weight's first axis is the input "
            "channel, the second the output channel: the other way round than in a convolution.",
            _channels_swapped),
    Mistake("conv_transpose2d", "kernel-transposed", "The kernel's height and width are exchanged: "
            "i goes down, j goes to the right.", _kernel_transposed),
    Mistake("conv_transpose2d", "bias-forgotten", "The bias is missing.", _no_bias),
    Mistake("conv_transpose2d", "bias-per-channel", "The bias is added once for every input "
            "channel.", _bias_per_channel),
    Mistake("conv_transpose2d_backward", "batch-mean", "The weight's and bias's gradients are "
            "means over the batch; the images' shares are summed.", _batch_mean),
    Mistake("conv_transpose2d_backward", "gx-kernel-flipped", "In dL/dx the kernel is turned by "
            "180 degrees. A pixel gets its g back through the weights that it was multiplied by.",
            _gx_flipped),
    Mistake("conv_transpose2d_backward", "gweight-flipped", "dL/dweight is turned by 180 degrees.",
            _gweight_flipped),
    Mistake("conv_transpose2d_backward", "gweight-channels-swapped", "dL/dweight has its first "
            "two axes exchanged: input channels come first.", _gweight_channels),
    Mistake("conv_transpose2d_backward", "stride-ignored", "Your gradient comes from stamps that "
            "are one pixel apart, whatever the stride.", _stride_ignored),
    Mistake("conv_transpose2d_backward", "padding-ignored", "You read g as if nothing had been "
            "cut off at the top and left. Where on the canvas does g begin?", _crop_at_the_start),
    Mistake("conv_transpose2d_backward", "gbias-per-image", "dL/dbias still has a batch axis. One "
            "bias serves all images and all places.", _gbias_per_image),
    Mistake("conv_transpose2d_backward", "gbias-mean", "dL/dbias is a mean. What arrives at one "
            "place is summed.", _gbias_mean),
    *(Mistake("conv_transpose2d", "output-padding-at-the-top", "The output padding makes the "
              "canvas longer at the bottom and the right only.", _lengthened(*sides))
      for sides in ((1, 0), (1, 1))),
    Mistake("conv_transpose2d", "one-stamp-too-many", "Your result is too large. How many steps of "
            "the stride are there from the first stamp to the last?", _one_stamp_more),
    Mistake("conv_transpose2d", "stride-ignored", "Your stamps are one pixel apart, whatever the "
            "stride, so that the result is too small.", _forward_stride_ignored),
    Mistake("conv_transpose2d", "padding-ignored", "Nothing is cut off from your canvas. What does "
            "the padding do here?", _cut(lambda P, n: slice(n))),
    *(Mistake("conv_transpose2d", "cut-on-one-side", "You cut all rows and columns off on one "
              "side. As many belong to each side.", _cut(where))
      for where in (lambda P, n: slice(2 * P, n), lambda P, n: slice(n - 2 * P))),
    *(Mistake("conv_transpose2d", "padding-counted-once", "You cut rows and columns off on one "
              "side only. How many sides has an axis?", _cut(where))
      for where in (lambda P, n: slice(P, n), lambda P, n: slice(n - P))),
    Mistake("conv_transpose2d", "empty-crop", "Your slice is empty where the padding is 0: P:-P is "
            "0:0 then. Where does the result end?", _cut(lambda P, n: slice(P, -P))),
    Mistake("conv_transpose2d", "bias-per-stamp", "The bias is added with every stamp. How often "
            "does an output get it?", _bias_per_stamp),
    Mistake("conv_transpose2d", "last-channel-only", "Only the last input channel counts in your "
            "result: is there = where += was meant?", _last_channel),
    *(Mistake("conv_transpose2d_backward", "gx-sum-overwritten", "In dL/dx only the last term of "
              "the sum is left. A pixel gets back what all its products send.", _gx_of(share))
      for share in (np.s_[:, :, -1, -1], np.s_[:, -1], np.s_[:, -1, -1, -1])),
    *(Mistake("conv_transpose2d_backward", "gweight-overwritten", "In dL/dweight only the last "
              "pixel or the last image counts. What arrives at one place is summed.",
              _gweight_of(share))
      for share in (np.s_[:, :, -1, -1], np.s_[-1], np.s_[-1, :, -1, -1])),
    Mistake("conv_transpose2d_backward", "gbias-per-place", "dL/dbias still has the result's rows "
            "and columns. One bias serves all places.", _gbias(lambda g: g.sum(axis=0))),
    *(Mistake("conv_transpose2d_backward", "gbias-of-all-channels", "All output channels share one "
              "number in your dL/dbias. Each has a bias of its own.", _gbias(total))
      for total in (np.sum, lambda g: np.full(g.shape[1], g.sum()))),
)

MISTAKES += versions(MISTAKES, {
    ("conv_transpose2d", "output-padding-zeros"): (_zeros_appended_then_bias,),
    ("conv_transpose2d", "overlap-overwritten"): (
        _written(True), _written(True, np.s_[-1:]), _written(False, np.s_[-1:])),
    ("conv_transpose2d", "kernel-flipped"): (given(conv_transpose2d, 1, np.flip),),
    ("conv_transpose2d_backward", "batch-mean"): (_all_means,),
    ("conv_transpose2d_backward", "gbias-per-image"): (
        _gbias(lambda g: g.sum(axis=(1, 2, 3))),),
    ("conv_transpose2d_backward", "gbias-mean"): (
        _gbias(lambda g: g.mean(axis=(2, 3)).sum(axis=0)),),
})


# ---- cases ---------------------------------------------------------------------------------------

def _small(rng, *shapes):
    """Arrays of small integers, different and not 0, in a random order."""
    return [rng.permutation(np.arange(1.0, 1 + np.prod(s))).reshape(s) for s in shapes]


def _random(rng, *shapes):
    """Arrays with both signs whose sums are not near 0, where rounding would be all there is."""
    return [rng.standard_normal(s) + 0.5 for s in shapes]


def _case(rng, name, sizes, how=(1, 0, 0), backward=False, draw=_random):
    """A case of sizes N, C, H, W, O, I, J and (stride, padding, output_padding)."""
    N, C, H, W, O, I, J = sizes
    args = (*draw(rng, (N, C, H, W), (C, O, I, J), (O,)), *how)
    if not backward:
        return Case("conv_transpose2d", name, args)
    S, P, extra = how
    A, B = ((n - 1) * S - 2 * P + k + extra for n, k in ((H, I), (W, J)))
    return Case("conv_transpose2d_backward", name, (*draw(rng, (N, O, A, B)), *args))


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    return [
        _case(rng, "one pixel, one stamp", (1, 1, 1, 1, 1, 2, 3), draw=_small),
        _case(rng, "stamps that overlap", (1, 1, 3, 2, 1, 2, 2), draw=_small),
        _case(rng, "several channels", (1, 2, 6, 7, 3, 4, 5)),
        _case(rng, "stride 2", (1, 2, 4, 5, 3, 6, 7), (2, 0, 0)),
        _case(rng, "stride 3, padding 1, output padding 2", (1, 2, 5, 4, 3, 7, 6), (3, 1, 2)),
        _case(rng, "two images, stride 3, padding 2, output padding 1", (2, 3, 4, 6, 5, 7, 8),
              (3, 2, 1)),
        _case(rng, "backward, one pixel", (1, 1, 1, 1, 1, 2, 3), backward=True, draw=_small),
        _case(rng, "backward, several channels", (1, 2, 6, 7, 3, 4, 5), backward=True),
        _case(rng, "backward, stride 2", (1, 2, 4, 5, 3, 6, 7), (2, 0, 0), backward=True),
        _case(rng, "backward, two images, stride 3, padding 2, output padding 1",
              (2, 3, 4, 6, 5, 7, 8), (3, 2, 1), backward=True),
    ]


def _terms(x, weight, bias, stride, padding, output_padding):
    return weight[:, 0].size + 1


def _backward_terms(g, x, weight, bias, stride, padding, output_padding):
    return weight[0].size, x[:, 0].size, g[:, 0].size


EXERCISE = Exercise(
    name="conv_transpose2d", title="Transposed convolution and its gradient",
    lecture="Georgia Tech, Transposed Convolution Example",
    source="tinyvision/ops/conv2d.py",
    functions={"conv_transpose2d": conv_transpose2d,
               "conv_transpose2d_backward": conv_transpose2d_backward},
    cases=cases, mistakes=MISTAKES,
    magnitude={f.__name__: absolute(f) for f in (conv_transpose2d, conv_transpose2d_backward)},
    terms={"conv_transpose2d": _terms, "conv_transpose2d_backward": _backward_terms})
