r"""# Convolution

Write `conv2d` and its gradient `conv2d_backward`.

A window as large as the kernel moves over the padded image; each answer is the dot product of
the kernel and the window, plus a bias. With stride S and padding P:

$$y_{n,o,a,b} = \beta_o + \sum_{c,i,j} w_{o,c,i,j}\; x_{n,\,c,\;aS+i-P,\;bS+j-P}$$

where x is 0 outside the image. The kernel is **not** flipped (deep learning's convolution is the
cross-correlation).

**By hand**, in one dimension (the lecture's example): kernel (x, y, z), stride 2, padding 1, on
(a, b, c, d):

    padded      0 a b c d 0
    windows     0 a b   and   b c d
    answer      (a y + b z,  b x + c y + d z)

    for kernel (1, 2, 3) and image (4, 5, 6, 7):
                (4*2 + 5*3,  5*1 + 6*2 + 7*3) = (23, 38)

**Backward.** Given g = dL/dy, return dL/dx, dL/dweight and dL/dbias: every product
`w[o,c,i,j] * x[...]` that went into `y[n,o,a,b]` sends `g[n,o,a,b] * x[...]` to its weight and
`g[n,o,a,b] * w[o,c,i,j]` to its pixel; what arrives at one place is summed. For the example with
g = (1, 10): dL/dx = (y, z + 10 x, 10 y, 10 z) = (2, 13, 20, 30), and for the kernel
(0 + 10 b, a + 10 c, b + 10 d) = (50, 64, 75).

**Shapes.** x (N, C, H, W), weight (O, C, I, J), bias (O,); y (N, O, A, B) with
A = floor((H + 2 P - I) / S) + 1, B likewise from W and J. Gradients have their argument's shape.
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.bounds import absolute
from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions


def conv2d(x, weight, bias, stride, padding):
    """Convolution of images with kernels.

    Arguments:
        x: (N, C, H, W) images.
        weight: (O, C, I, J) kernels.
        bias: (O,) added to each output channel.
        stride: pixels that the window moves, in both directions.
        padding: rows and columns of zeros around the image.

    Returns:
        (N, O, A, B), A = floor((H + 2 padding - I) / stride) + 1, B likewise.
    """
    ### BEGIN SOLUTION
    (N, C, H, W), (O, _, I, J) = x.shape, weight.shape
    A, B = (H + 2 * padding - I) // stride + 1, (W + 2 * padding - J) // stride + 1
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    y = np.empty((N, O, A, B))
    for a in range(A):
        for b in range(B):
            window = padded[:, :, a * stride:a * stride + I, b * stride:b * stride + J]
            y[:, :, a, b] = np.einsum("ncij,ocij->no", window, weight) + bias
    return y
    ### END SOLUTION


def conv2d_backward(g, x, weight, bias, stride, padding):
    """Gradients of a loss with respect to the arguments of `conv2d`.

    Arguments:
        g: (N, O, A, B) gradient with respect to the result.
        x, weight, bias, stride, padding: what `conv2d` was called with.

    Returns:
        (gx, gweight, gbias) with the shapes of x, weight and bias.
    """
    ### BEGIN SOLUTION
    (H, W), (I, J), (A, B) = x.shape[2:], weight.shape[2:], g.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    gpadded, gweight = np.zeros(padded.shape), np.zeros(weight.shape)
    for a in range(A):
        for b in range(B):
            here = np.s_[:, :, a * stride:a * stride + I, b * stride:b * stride + J]
            gpadded[here] += np.einsum("no,ocij->ncij", g[:, :, a, b], weight)
            gweight += np.einsum("no,ncij->ocij", g[:, :, a, b], padded[here])
    gx = gpadded[:, :, padding:padding + H, padding:padding + W]
    return gx, gweight, g.sum(axis=(0, 2, 3))
    ### END SOLUTION


# ---- mistakes: forward ---------------------------------------------------------------------------

def _pad(x, padding, mode="constant"):
    return np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), mode=mode)


def _flipped(x, weight, bias, stride, padding):
    return conv2d(x, weight[:, :, ::-1, ::-1], bias, stride, padding)


def _first_image(x, weight, bias, stride, padding):
    y = conv2d(x, weight, bias, stride, padding)
    y[1:] = 0
    return y


def _no_bias(x, weight, bias, stride, padding):
    return conv2d(x, weight, 0 * bias, stride, padding)


def _bias_per_channel(x, weight, bias, stride, padding):
    return conv2d(x, weight, x.shape[1] * bias, stride, padding)


def _edge_padding(x, weight, bias, stride, padding):
    return conv2d(_pad(x, padding, "edge"), weight, bias, stride, 0)


def _stride_in_size_only(x, weight, bias, stride, padding):
    A, B = conv2d(x, weight, bias, stride, padding).shape[2:]
    return conv2d(x, weight, bias, 1, padding)[:, :, :A, :B]


def _kernel_transposed(x, weight, bias, stride, padding):
    return conv2d(x, weight.swapaxes(2, 3), bias, stride, padding)


def _first_channel(x, weight, bias, stride, padding):
    return conv2d(x[:, :1], weight[:, :1], bias, stride, padding)


def _no_padding(x, weight, bias, stride, padding):
    return conv2d(x, weight, bias, stride, 0)


def _padded_at_the_end(x, weight, bias, stride, padding):
    after = ((0, 0), (0, 0), (0, 2 * padding), (0, 2 * padding))
    return conv2d(np.pad(x, after), weight, bias, stride, 0)


def _channel_mean(x, weight, bias, stride, padding):
    return conv2d(x, weight / x.shape[1], bias, stride, padding)


def _with_weight(change):
    """`conv2d` with another weight, made by a function of it."""
    return lambda x, weight, *rest: conv2d(x, change(weight), *rest)


def _with_image(change):
    """`conv2d` of an image that change(x, padding) has padded in another way."""
    return lambda x, weight, bias, stride, padding: conv2d(change(x, padding), weight, bias,
                                                           stride, 0)


def _around(x, before, after, mode="constant"):
    return np.pad(x, ((0, 0), (0, 0), (before, after), (before, after)), mode=mode)


def _last_channel(weight):
    return weight * (np.arange(weight.shape[1]) == weight.shape[1] - 1)[:, None, None]


def _last_tap(weight):
    only = np.zeros(weight.shape)
    only[:, :, -1, -1] = weight[:, :, -1, -1]
    return only


def _bias_per_tap(x, weight, bias, stride, padding):
    return conv2d(x, weight, bias * weight[0, 0].size, stride, padding)


def _bias_per_product(x, weight, bias, stride, padding):
    return conv2d(x, weight, bias * weight[0].size, stride, padding)


def _negative_wraps(x, padding):
    return _around(_around(x, padding, 0, "wrap"), 0, padding)


def _forward_stride_ignored(x, weight, bias, stride, padding):
    return conv2d(x, weight, bias, 1, padding)


def _strided_down_only(x, weight, bias, stride, padding):
    B = conv2d(x, weight, bias, stride, padding).shape[3]
    return conv2d(x, weight, bias, 1, padding)[:, :, ::stride, :B]


def _strided_across_only(x, weight, bias, stride, padding):
    A = conv2d(x, weight, bias, stride, padding).shape[2]
    return conv2d(x, weight, bias, 1, padding)[:, :, :A, ::stride]


def _last_window(*args):
    return conv2d(*args)[:, :, :-1, :-1]


def _padding_once_in_size(x, weight, bias, stride, padding):
    A, B = ((n + padding - k) // stride + 1 for n, k in zip(x.shape[2:], weight.shape[2:]))
    return conv2d(x, weight, bias, stride, padding)[:, :, :A, :B]


def _channels_crossed(x, weight, *rest):
    return conv2d(x.sum(axis=1, keepdims=True), weight.sum(axis=1, keepdims=True), *rest)


# ---- mistakes: backward --------------------------------------------------------------------------

def _batch_mean(g, x, weight, bias, stride, padding):
    gx, gweight, gbias = conv2d_backward(g, x, weight, bias, stride, padding)
    return gx, gweight / len(x), gbias / len(x)


def _not_cropped(g, x, weight, bias, stride, padding):
    return conv2d_backward(g, _pad(x, padding), weight, bias, stride, 0)


def _gx_flipped(g, x, weight, bias, stride, padding):
    gx = conv2d_backward(g, x, weight[:, :, ::-1, ::-1], bias, stride, padding)[0]
    return gx, *conv2d_backward(g, x, weight, bias, stride, padding)[1:]


def _gweight_flipped(g, x, weight, bias, stride, padding):
    gx, gweight, gbias = conv2d_backward(g, x, weight, bias, stride, padding)
    return gx, gweight[:, :, ::-1, ::-1].copy(), gbias


def _gbias_per_image(g, x, weight, bias, stride, padding):
    return *conv2d_backward(g, x, weight, bias, stride, padding)[:2], g.sum(axis=(2, 3))


def _gbias_mean(g, x, weight, bias, stride, padding):
    return *conv2d_backward(g, x, weight, bias, stride, padding)[:2], g.mean(axis=(0, 2, 3))


def _gx_overwritten(g, x, weight, bias, stride, padding):
    gpadded = np.zeros(_pad(x, padding).shape)
    I, J = weight.shape[2:]
    for a, b in np.ndindex(g.shape[2:]):
        here = np.s_[:, :, a * stride:a * stride + I, b * stride:b * stride + J]
        gpadded[here] = np.einsum("no,ocij->ncij", g[:, :, a, b], weight)
    gx = gpadded[:, :, padding:padding + x.shape[2], padding:padding + x.shape[3]]
    return gx, *conv2d_backward(g, x, weight, bias, stride, padding)[1:]


def _stride_ignored(g, x, weight, bias, stride, padding):
    return conv2d_backward(g, x, weight, bias, 1, padding)


def _all_means(g, x, *rest):
    return tuple(part / len(x) for part in conv2d_backward(g, x, *rest))


def _cropped(where):
    """The backward whose gradient of the padded image is cut at where(padding, size)."""
    def back(g, x, weight, bias, stride, padding):
        gx, *others = _not_cropped(g, x, weight, bias, stride, padding)
        rows, columns = (where(padding, n) for n in x.shape[2:])
        return gx[:, :, rows, columns], *others
    return back


def _padding_behind(g, x, weight, bias, stride, padding):
    gx, *others = conv2d_backward(g, _around(x, 0, 2 * padding), weight, bias, stride, 0)
    return gx[:, :, :x.shape[2], :x.shape[3]], *others


def _gx_written(order, outputs=np.s_[:]):
    """dL/dx with = for +=, window by window or ("taps") kernel element by kernel element."""
    def back(g, x, weight, bias, stride, padding):
        gpadded, (H, W) = np.zeros(_pad(x, padding).shape), x.shape[2:]
        sizes = (*weight.shape[2:], *g.shape[2:])
        for k in np.ndindex(sizes if order == "taps" else sizes[2:] + sizes[:2]):
            (i, j), (a, b) = (k[:2], k[2:]) if order == "taps" else (k[2:], k[:2])
            gpadded[:, :, a * stride + i, b * stride + j] = (
                g[:, outputs, a, b] @ weight[outputs, :, i, j])
        gx = gpadded[:, :, padding:padding + H, padding:padding + W]
        return gx, *conv2d_backward(g, x, weight, bias, stride, padding)[1:]
    return back


def _last_output(g, x, weight, *rest):
    gx = conv2d_backward(g[:, -1:], x, weight[-1:], *rest)[0]
    return gx, *conv2d_backward(g, x, weight, *rest)[1:]


def _gweight_of(share):
    """dL/dweight from only a part of g."""
    def back(g, *rest):
        only = np.zeros(g.shape)
        only[share] = g[share]
        gx, _, gbias = conv2d_backward(g, *rest)
        return gx, conv2d_backward(only, *rest)[1], gbias
    return back


def _in_order(*places):
    """The right gradients, in another order."""
    def back(*args):
        right = conv2d_backward(*args)
        return tuple(right[place] for place in places)
    return back


def _gbias(total):
    return lambda g, *rest: (*conv2d_backward(g, *rest)[:2], total(g))


MISTAKES = (
    Mistake("conv2d", "kernel-flipped", "Your kernel is turned by 180 degrees: that is the "
            "convolution of mathematics. Which kernel element meets the window's first pixel "
            "here?", _flipped),
    Mistake("conv2d", "bias-forgotten", "The bias is missing.", _no_bias),
    Mistake("conv2d", "bias-subtracted", "The bias is subtracted; it is added.",
            lambda x, weight, bias, *window: conv2d(x, weight, -bias, *window)),
    Mistake("conv2d", "first-image-only", "Only the first image of the batch has a result in your "
            "code.", _first_image),
    Mistake("conv2d", "bias-per-channel", "The bias is added once for every input channel. On "
            "which side of the sum does it stand in the formula?", _bias_per_channel),
    Mistake("conv2d", "edge-padding", "You repeat the border's pixels; the formula takes x to be "
            "0 outside the image.", _edge_padding),
    Mistake("conv2d", "stride-in-size-only", "The stride changes the size of your result, but "
            "in at least one direction the window still moves by one pixel.", _stride_in_size_only),
    Mistake("conv2d", "kernel-transposed", "The kernel's height and width are exchanged: i goes "
            "down, j goes to the right.", _kernel_transposed),
    Mistake("conv2d", "first-channel-only", "Only the first input channel counts in your result. "
            "What does the formula sum over?", _first_channel),
    Mistake("conv2d", "padding-ignored", "The image is never padded.", _no_padding),
    Mistake("conv2d", "padded-at-the-end", "All the padding is below and to the right of the "
            "image. It belongs on all four sides.", _padded_at_the_end),
    Mistake("conv2d", "channel-mean", "The channels are averaged; the formula sums them.",
            _channel_mean),
    Mistake("conv2d_backward", "batch-mean", "The weight's and bias's gradients are means over "
            "the batch. The mean is the loss's affair; here the images' shares are summed.",
            _batch_mean),
    Mistake("conv2d_backward", "gx-not-cropped", "Your dL/dx is the gradient of the padded image, "
            "whole or cut at the wrong place. Which part of it belongs to x?", _not_cropped),
    Mistake("conv2d_backward", "gx-kernel-flipped", "In dL/dx the kernel is turned by 180 degrees. "
            "Which weight did a pixel meet on the way forward? It is the same one on the way "
            "back.", _gx_flipped),
    Mistake("conv2d_backward", "gweight-flipped", "dL/dweight is turned by 180 degrees.",
            _gweight_flipped),
    Mistake("conv2d_backward", "gbias-per-image", "dL/dbias still has a batch axis. One bias "
            "serves all images and all places.", _gbias_per_image),
    Mistake("conv2d_backward", "gbias-mean", "dL/dbias is a mean. What arrives at one place "
            "is summed.", _gbias_mean),
    Mistake("conv2d_backward", "gx-overwritten", "A pixel takes part in the answers of several "
            "windows and of all output channels. Your dL/dx lacks some of them: is there = where "
            "+= was meant?", _gx_overwritten),
    Mistake("conv2d_backward", "stride-ignored", "Your gradient comes from windows that move by "
            "one pixel, whatever the stride.", _stride_ignored),
    *(Mistake("conv2d", "kernel-mirrored", "Your kernel is upside down or mirrored. Nothing in "
              "the formula turns it.", _with_weight(turn))
      for turn in (lambda weight: weight[:, :, ::-1], lambda weight: weight[..., ::-1])),
    *(Mistake("conv2d", "bias-per-product", "The bias is added once for every product. On which "
              "side of the sum does it stand in the formula?", version)
      for version in (_bias_per_tap, _bias_per_product)),
    *(Mistake("conv2d", "wrapped-around", "Beyond one border you read the pixels of the opposite "
              "one (row -1 is the last row in NumPy). The formula takes x to be 0 there.",
              _with_image(change))
      for change in (lambda x, padding: _pad(x, padding, "wrap"), _negative_wraps)),
    Mistake("conv2d", "stride-ignored", "Your window moves by one pixel, whatever the stride, so "
            "that the result is too large.", _forward_stride_ignored),
    Mistake("conv2d", "last-window-forgotten", "Your result lacks its last row and column. How "
            "many windows of 1 pixel fit on 1 pixel?", _last_window),
    *(Mistake("conv2d", "padding-counted-once", "There is padding on two sides of each axis: by "
              "how much does the image grow?", version)
      for version in (_padding_once_in_size,
                      _with_image(lambda x, padding: _around(x, 0, padding)))),
    Mistake("conv2d", "padding-added", "You add the padding to a pixel's place. With padding 1, "
            "which row does the first window begin with: -1 or 1?",
            _with_image(lambda x, padding: _around(x, 0, 3 * padding)[:, :, padding:, padding:])),
    *(Mistake("conv2d", "sum-overwritten", "Of the sum only the last term is left in your result: "
              "is there = where += was meant?", _with_weight(change))
      for change in (_last_channel, _last_tap, lambda weight: _last_channel(_last_tap(weight)))),
    Mistake("conv2d", "channels-crossed", "In your result every channel of the kernel meets every "
            "channel of the image. Which one belongs to which?", _channels_crossed),
    *(Mistake("conv2d", "mean-of-products", "You average the products of a window; the formula "
              "sums them.", _with_weight(change))
      for change in (lambda weight: weight / weight[0].size,
                     lambda weight: weight / weight[0, 0].size)),
    Mistake("conv2d_backward", "empty-crop", "Your slice is empty where the padding is 0: P:-P is "
            "0:0 then. Where does x end?", _cropped(lambda P, n: slice(P, -P))),
    Mistake("conv2d_backward", "padding-ignored", "You look for a window's pixels without "
            "subtracting the padding. Where in the padded image does x begin?", _padding_behind),
    *(Mistake("conv2d_backward", "gweight-overwritten", "In dL/dweight only the last window or "
              "the last image counts. What arrives at one place is summed.", _gweight_of(share))
      for share in (np.s_[:, :, -1, -1], np.s_[-1], np.s_[-1, :, -1, -1])),
    Mistake("conv2d_backward", "gbias-per-place", "dL/dbias still has the result's rows and "
            "columns. One bias serves all places.", _gbias(lambda g: g.sum(axis=0))),
    *(Mistake("conv2d_backward", "gbias-of-all-channels", "All output channels share one number "
              "in your dL/dbias. Each has a bias of its own.", _gbias(total))
      for total in (np.sum, lambda g: np.full(g.shape[1], g.sum()))),
    *(Mistake("conv2d_backward", "results-exchanged", "Your gradients come in another order. "
              "Return that of x first, then those of weight and bias.", _in_order(*places))
      for places in ((1, 0, 2), (1, 2, 0), (2, 1, 0), (0, 2, 1), (2, 0, 1))),
)

MISTAKES += versions(MISTAKES, {
    ("conv2d", "kernel-flipped"): (_with_weight(np.flip),),
    ("conv2d", "stride-in-size-only"): (_strided_down_only, _strided_across_only),
    ("conv2d_backward", "batch-mean"): (_all_means,),
    ("conv2d_backward", "gx-not-cropped"): (
        _cropped(lambda P, n: slice(n)), _cropped(lambda P, n: slice(2 * P, None))),
    ("conv2d_backward", "gbias-per-image"): (_gbias(lambda g: g.sum(axis=(1, 2, 3))),),
    ("conv2d_backward", "gbias-mean"): (_gbias(lambda g: g.mean(axis=(2, 3)).sum(axis=0)),),
    ("conv2d_backward", "gx-overwritten"): (
        _gx_written("windows", np.s_[-1:]), _gx_written("taps"), _gx_written("taps", np.s_[-1:]),
        _last_output),
})


# ---- cases ---------------------------------------------------------------------------------------

def _small(rng, *shapes):
    """Arrays of small integers, different and not 0, in a random order."""
    return [rng.permutation(np.arange(1.0, 1 + np.prod(s))).reshape(s) for s in shapes]


def _random(rng, *shapes):
    """Arrays with both signs whose sums are not near 0, where rounding would be all there is."""
    return [rng.standard_normal(s) + 0.5 for s in shapes]


def _case(rng, name, points, sizes, stride=1, padding=0, backward=False,
          draw=_random):
    """A case of sizes N, C, H, W, O, I, J."""
    N, C, H, W, O, I, J = sizes
    args = (*draw(rng, (N, C, H, W), (O, C, I, J), (O,)), stride, padding)
    if not backward:
        return Case("conv2d", name, args, points)
    A, B = ((n + 2 * padding - k) // stride + 1 for n, k in ((H, I), (W, J)))
    return Case("conv2d_backward", name, (*draw(rng, (N, O, A, B)), *args), points)


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    return [
        _case(rng, "1x1 kernel", 1, (1, 1, 2, 2, 1, 1, 1), draw=_small),
        _case(rng, "2x3 kernel", 1, (1, 1, 3, 4, 1, 2, 3), draw=_small),
        _case(rng, "several channels", 1, (1, 2, 7, 6, 3, 4, 5)),
        _case(rng, "stride 2", 1, (1, 2, 9, 8, 3, 4, 5), stride=2),
        _case(rng, "padding 1", 1, (1, 2, 7, 6, 3, 4, 5), padding=1),
        _case(rng, "two images, stride 3, padding 2", 1, (2, 3, 8, 9, 4, 5, 6), 3, 2),
        _case(rng, "backward, 1x2 kernel", 1, (1, 1, 2, 3, 1, 1, 2), backward=True, draw=_small),
        _case(rng, "backward, several channels", 1, (1, 2, 7, 6, 3, 4, 5), backward=True),
        _case(rng, "backward, stride 2", 1, (1, 2, 9, 8, 3, 4, 5), stride=2, backward=True),
        _case(rng, "backward, two images, stride 2, padding 1", 1, (2, 3, 8, 9, 4, 5, 6), 2, 1,
              backward=True),
    ]


def _terms(x, weight, bias, stride, padding):
    return weight[0].size + 1


def _backward_terms(g, x, weight, bias, stride, padding):
    return weight[:, 0].size, g[:, 0].size, g[:, 0].size


EXERCISE = Exercise(
    name="conv2d", title="Convolution and its gradient",
    lecture="UW, Convolution as Matrix Multiplication (1D Example)",
    source="tinyvision/ops/conv2d.py",
    functions={"conv2d": conv2d, "conv2d_backward": conv2d_backward}, cases=cases,
    mistakes=MISTAKES,
    magnitude={f.__name__: absolute(f) for f in (conv2d, conv2d_backward)},
    terms={"conv2d": _terms, "conv2d_backward": _backward_terms})
