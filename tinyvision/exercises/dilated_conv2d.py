r"""# Dilated convolution

Write `dilated_conv2d` and its gradient `dilated_conv2d_backward`.

A dilated (or atrous, "with holes") convolution spreads its kernel: D - 1 pixels lie between two
of its rows, E - 1 between two of its columns. It sees more of the image with the same number of
weights, and needs no stride for it, so a segmentation network can keep its resolution.

$$y_{n,o,a,b} = \sum_{c,i,j} w_{o,c,i,j}\; x_{n,\,c,\;aS+iD-P,\;bT+jE-Q}$$

where x is 0 outside the image. Dilation (1, 1) is the ordinary convolution.

**By hand**, in one dimension: kernel (1, 10, 100), dilation 2, stride 1, padding 1, on
(1, 2, 3, 4):

    padded                      0 1 2 3 4 0
    pixels 0, 2, 4 of it        0   2   4       0*1 + 2*10 + 4*100 = 420
    pixels 1, 3, 5                1   3   0     1*1 + 3*10 + 0*100 =  31

The kernel of 3 covers 2 * 2 + 1 = 5 pixels, so 6 padded pixels give two answers.

**Backward.** Given g = dL/dy, return dL/dx and dL/dweight: every product w * x that went into an
answer sends that answer's g times x to its weight and g times w to its pixel; what arrives at one
place is summed. For the example with g = (1, 2):

    dL/dx        (2*1, 10, 2*10, 100)        =  (2, 10, 20, 100)
    dL/dweight   (0 + 2*1, 2 + 2*3, 4 + 0)   =  (2, 8, 4)

**Shapes.** x (N, C, H, W), weight (O, C, I, J), stride (S, T), padding (P, Q), dilation (D, E),
each (down, across); y (N, O, A, B) with A = floor((H + 2 P - D (I - 1) - 1) / S) + 1, B likewise.
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.bounds import absolute
from tinyvision.exercises.draws import random, small
from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions
from tinyvision.exercises.slips import LAST_CHANNEL, LAST_TAP, LAST_TERM, around, given, only, part


def dilated_conv2d(x, weight, stride, padding, dilation):
    """Convolution with a kernel whose elements lie apart.

    Arguments:
        x: (N, C, H, W) images.
        weight: (O, C, I, J) kernels.
        stride: (S, T), pixels that the window moves down and across.
        padding: (P, Q), rows above and below and columns on both sides, of zeros.
        dilation: (D, E), pixels from one kernel element to the next, down and across.

    Returns:
        (N, O, A, B), A = floor((H + 2 P - D (I - 1) - 1) / S) + 1, B likewise.
    """
    ### BEGIN SOLUTION
    (N, C, H, W), (O, _, I, J) = x.shape, weight.shape
    (S, T), (P, Q), (D, E) = stride, padding, dilation
    A, B = (H + 2 * P - D * (I - 1) - 1) // S + 1, (W + 2 * Q - E * (J - 1) - 1) // T + 1
    padded = np.pad(x, ((0, 0), (0, 0), (P, P), (Q, Q)))
    y = np.zeros((N, O, A, B))
    for a, b, i, j in np.ndindex(A, B, I, J):
        pixel = padded[:, :, a * S + i * D, b * T + j * E]
        y[:, :, a, b] += pixel @ weight[:, :, i, j].T
    return y
    ### END SOLUTION


def dilated_conv2d_backward(g, x, weight, stride, padding, dilation):
    """Gradients of a loss with respect to the images and kernels of `dilated_conv2d`.

    Arguments:
        g: (N, O, A, B) gradient with respect to the result.
        x, weight, stride, padding, dilation: what `dilated_conv2d` was called with.

    Returns:
        (gx, gweight) with the shapes of x and weight.
    """
    ### BEGIN SOLUTION
    (H, W), (I, J), (A, B) = x.shape[2:], weight.shape[2:], g.shape[2:]
    (S, T), (P, Q), (D, E) = stride, padding, dilation
    padded = np.pad(x, ((0, 0), (0, 0), (P, P), (Q, Q)))
    gpadded, gweight = np.zeros(padded.shape), np.zeros(weight.shape)
    for a, b, i, j in np.ndindex(A, B, I, J):
        h, w = a * S + i * D, b * T + j * E
        gpadded[:, :, h, w] += g[:, :, a, b] @ weight[:, :, i, j]
        gweight[:, :, i, j] += g[:, :, a, b].T @ padded[:, :, h, w]
    return gpadded[:, :, P:P + H, Q:Q + W], gweight
    ### END SOLUTION


# ---- mistakes: forward ---------------------------------------------------------------------------

def _pad(x, padding):
    return np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))


def _not_dilated(x, weight, stride, padding, dilation):
    return dilated_conv2d(x, weight, stride, padding, (1, 1))


def _dilated_in_size_only(x, weight, stride, padding, dilation):
    A, B = dilated_conv2d(x, weight, stride, padding, dilation).shape[2:]
    return dilated_conv2d(x, weight, stride, padding, (1, 1))[:, :, :A, :B]


def _holes(x, weight, stride, padding, dilation):
    """Dilation read as the number of holes: one pixel more from element to element."""
    I, J = weight.shape[2:]
    after = ((0, 0), (0, 0), (0, I - 1), (0, J - 1))
    return dilated_conv2d(np.pad(_pad(x, padding), after), weight, stride, (0, 0),
                          (dilation[0] + 1, dilation[1] + 1))


def _image_dilated(x, weight, stride, padding, dilation):
    """The stride taken between kernel elements and the dilation between windows."""
    A, B = dilated_conv2d(x, weight, stride, padding, dilation).shape[2:]
    far = [max(0, (n - 1) * d + (k - 1) * s) for n, k, s, d in
           zip((A, B), weight.shape[2:], stride, dilation)]
    room = np.pad(_pad(x, padding), ((0, 0), (0, 0), (0, far[0]), (0, far[1])))
    return dilated_conv2d(room, weight, dilation, (0, 0), stride)[:, :, :A, :B]


def _axes_exchanged(x, weight, stride, padding, dilation):
    A, B = dilated_conv2d(x, weight, stride, padding, dilation).shape[2:]
    (D, E), (I, J) = dilation, weight.shape[2:]
    room = np.pad(_pad(x, padding), ((0, 0), (0, 0), (0, E * I), (0, D * J)))
    return dilated_conv2d(room, weight, stride, (0, 0), (E, D))[:, :, :A, :B]


def _flipped(x, weight, stride, padding, dilation):
    return dilated_conv2d(x, weight[:, :, ::-1, ::-1], stride, padding, dilation)


def _no_padding(x, weight, stride, padding, dilation):
    return dilated_conv2d(x, weight, stride, (0, 0), dilation)


def _stride_in_size_only(x, weight, stride, padding, dilation):
    A, B = dilated_conv2d(x, weight, stride, padding, dilation).shape[2:]
    return dilated_conv2d(x, weight, (1, 1), padding, dilation)[:, :, :A, :B]


def _first_channel(x, weight, stride, padding, dilation):
    return dilated_conv2d(x[:, :1], weight[:, :1], stride, padding, dilation)


def _fits(x, weight, stride, padding, dilation, size=lambda n, k, d: n - d * (k - 1) - 1):
    """The number of windows down and across by another formula, never less than 0."""
    return [max(0, size(n + 2 * p, k, d) // s + 1) for n, k, s, p, d in
            zip(x.shape[2:], weight.shape[2:], stride, padding, dilation)]


def _reading(how, size=_fits):
    """The convolution with other strides and dilations, zeros beyond the padded image, where the
    number of windows comes from size(x, weight, stride, padding, dilation)."""
    def conv(x, weight, stride, padding, dilation):
        A, B = size(x, weight, stride, padding, dilation)
        (S, T), (D, E) = how(stride, dilation)
        room = [(p, p + n * s + k * d) for p, n, s, k, d in
                zip(padding, (A, B), (S, T), weight.shape[2:], (D, E))]
        return dilated_conv2d(around(x, *room), weight, (S, T), (0, 0), (D, E))[:, :, :A, :B]
    return conv


def _sizes_with(formula):
    return lambda *args: _fits(*args, size=formula)


def _sizes_of(how):
    """The sizes that belong to other strides and dilations."""
    return lambda x, weight, stride, padding, dilation: _fits(
        x, weight, how(stride, dilation)[0], padding, how(stride, dilation)[1])


def _consistently(how):
    return _reading(how, _sizes_of(how))


def _exchanged(stride, dilation):
    return dilation, stride


def _more_holes(stride, dilation):
    return stride, (dilation[0] + 1, dilation[1] + 1)


def _padded_once(x, weight, stride, padding, dilation):
    A, B = _fits(x, weight, stride, [p / 2 for p in padding], dilation)
    return dilated_conv2d(x, weight, stride, padding, dilation)[:, :, :int(A), :int(B)]


def _padded_at_the_end(x, weight, stride, padding, dilation):
    wide = around(x, *((0, 2 * p) for p in padding))
    return dilated_conv2d(wide, weight, stride, (0, 0), dilation)


def _padding_exchanged(x, weight, stride, padding, dilation):
    room = around(x, *((p, 2 * max(padding)) for p in padding[::-1]))
    A, B = _fits(x, weight, stride, padding[::-1], dilation)
    return dilated_conv2d(room, weight, stride, (0, 0), dilation)[:, :, :A, :B]


# ---- mistakes: backward --------------------------------------------------------------------------

def _backward_not_dilated(g, x, weight, stride, padding, dilation):
    return dilated_conv2d_backward(g, x, weight, stride, padding, (1, 1))


def _gweight_not_dilated(g, x, weight, stride, padding, dilation):
    gx, _ = dilated_conv2d_backward(g, x, weight, stride, padding, dilation)
    return gx, dilated_conv2d_backward(g, x, weight, stride, padding, (1, 1))[1]


def _stride_ignored(g, x, weight, stride, padding, dilation):
    return dilated_conv2d_backward(g, x, weight, (1, 1), padding, dilation)


def _not_cropped(g, x, weight, stride, padding, dilation):
    return dilated_conv2d_backward(g, _pad(x, padding), weight, stride, (0, 0), dilation)


def _gx_flipped(g, x, weight, *how):
    gx = dilated_conv2d_backward(g, x, weight[:, :, ::-1, ::-1], *how)[0]
    return gx, dilated_conv2d_backward(g, x, weight, *how)[1]


def _gweight_flipped(g, x, weight, *how):
    gx, gweight = dilated_conv2d_backward(g, x, weight, *how)
    return gx, gweight[:, :, ::-1, ::-1].copy()


def _gweight_mean(g, x, weight, *how):
    gx, gweight = dilated_conv2d_backward(g, x, weight, *how)
    return gx, gweight / len(x)


def _gx_overwritten(g, x, weight, stride, padding, dilation):
    gpadded = np.zeros(_pad(x, padding).shape)
    for a, b, i, j in np.ndindex(*g.shape[2:], *weight.shape[2:]):
        h, w = a * stride[0] + i * dilation[0], b * stride[1] + j * dilation[1]
        gpadded[:, :, h, w] = g[:, :, a, b] @ weight[:, :, i, j]
    (P, Q), (H, W) = padding, x.shape[2:]
    return gpadded[:, :, P:P + H, Q:Q + W], dilated_conv2d_backward(
        g, x, weight, stride, padding, dilation)[1]


def _cropped(where):
    """The backward whose gradient of the padded image is cut at where(padding, size)."""
    def crop(gx, g, x, weight, stride, padding, dilation):
        rows, columns = map(where, padding, x.shape[2:])
        return gx[:, :, rows, columns]
    return part(_not_cropped, 0, crop)


def _backward_reading(how):
    """The backward with other strides and dilations, with room beyond the padded image."""
    def back(g, x, weight, stride, padding, dilation):
        (S, T), (D, E) = how(stride, dilation)
        room = [(p, p + n * s + k * d) for p, n, s, k, d in
                zip(padding, g.shape[2:], (S, T), weight.shape[2:], (D, E))]
        gx, gweight = dilated_conv2d_backward(g, around(x, *room), weight, (S, T), (0, 0), (D, E))
        (P, Q), (H, W) = padding, x.shape[2:]
        return gx[:, :, P:P + H, Q:Q + W], gweight
    return back


def _padding_behind(g, x, weight, stride, padding, dilation):
    wide = around(x, *((0, 2 * p) for p in padding))
    gx, gweight = dilated_conv2d_backward(g, wide, weight, stride, (0, 0), dilation)
    return gx[:, :, :x.shape[2], :x.shape[3]], gweight


def _gx_written(taps_first, outputs=np.s_[:]):
    """dL/dx with = for +=, in another order or only from some output channels."""
    def wrong(_, g, x, weight, stride, padding, dilation):
        gpadded, IJ, AB = np.zeros(_pad(x, padding).shape), weight.shape[2:], g.shape[2:]
        for k in np.ndindex(*IJ, *AB) if taps_first else np.ndindex(*AB, *IJ):
            (i, j), (a, b) = (k[:2], k[2:]) if taps_first else (k[2:], k[:2])
            h, w = a * stride[0] + i * dilation[0], b * stride[1] + j * dilation[1]
            gpadded[:, :, h, w] = g[:, outputs, a, b] @ weight[outputs, :, i, j]
        (P, Q), (H, W) = padding, x.shape[2:]
        return gpadded[:, :, P:P + H, Q:Q + W]
    return part(dilated_conv2d_backward, 0, wrong)


def _last_output(_, g, x, weight, *how):
    return dilated_conv2d_backward(g[:, -1:], x, weight[-1:], *how)[0]


def _gweight_of(share):
    """dL/dweight from only a part of g."""
    return part(dilated_conv2d_backward, 1, lambda _, g, *rest: dilated_conv2d_backward(
        only(share)(g), *rest)[1])


MISTAKES = (
    Mistake("dilated_conv2d", "not-dilated", "Your result is that of an ordinary convolution: the "
            "dilation is never used.", _not_dilated),
    Mistake("dilated_conv2d", "dilated-in-size-only", "The dilation changes the size of your "
            "result, but in at least one direction the kernel still reads neighbouring pixels.",
            _dilated_in_size_only),
    Mistake("dilated_conv2d", "dilation-counts-the-holes", "You leave out as many pixels as the "
            "dilation says. Dilation 1 is the ordinary convolution: how many lie between then?",
            _holes),
    Mistake("dilated_conv2d", "stride-and-dilation-exchanged", "The window moves by the dilation "
            "and the kernel's elements lie a stride apart. It is the other way round.",
            _image_dilated),
    Mistake("dilated_conv2d", "dilation-axes-exchanged", "The two dilations are exchanged: the "
            "first is between rows, the second between columns.", _axes_exchanged),
    Mistake("dilated_conv2d", "kernel-flipped", "Your kernel is turned by 180 degrees. Which "
            "kernel element meets the window's first pixel?", _flipped),
    Mistake("dilated_conv2d", "padding-ignored", "The image is never padded.", _no_padding),
    Mistake("dilated_conv2d", "stride-in-size-only", "The stride changes the size of your result, "
            "but in at least one direction the window still moves by one pixel.",
            _stride_in_size_only),
    Mistake("dilated_conv2d", "first-channel-only", "Only the first input channel counts in your "
            "result. What does the formula sum over?", _first_channel),
    Mistake("dilated_conv2d_backward", "not-dilated", "In at least one direction your gradients "
            "are those of an ordinary convolution. Where did each weight meet its pixel?",
            _backward_not_dilated),
    Mistake("dilated_conv2d_backward", "gweight-not-dilated", "dL/dx is right, but dL/dweight "
            "reads neighbouring pixels as if there were no holes.", _gweight_not_dilated),
    Mistake("dilated_conv2d_backward", "stride-ignored", "Your gradient comes from windows that "
            "move by one pixel, whatever the stride.", _stride_ignored),
    Mistake("dilated_conv2d_backward", "gx-not-cropped", "Your dL/dx is the gradient of the "
            "padded image, whole or cut at the wrong place. Which part of it belongs to x?",
            _not_cropped),
    Mistake("dilated_conv2d_backward", "gx-kernel-flipped", "In dL/dx the kernel is turned by 180 "
            "degrees. A pixel gets its g back through the weight that it met.", _gx_flipped),
    Mistake("dilated_conv2d_backward", "gweight-flipped", "dL/dweight is turned by 180 degrees.",
            _gweight_flipped),
    Mistake("dilated_conv2d_backward", "gweight-mean", "dL/dweight is a mean over the batch; the "
            "images' shares are summed.", _gweight_mean),
    Mistake("dilated_conv2d_backward", "gx-overwritten", "A pixel takes part in the answers of "
            "several windows and of all output channels. Your dL/dx lacks some of them: is there "
            "= where += was meant?", _gx_overwritten),
    Mistake("dilated_conv2d", "size-without-dilation", "Your result is as large as that of an "
            "ordinary convolution. How many pixels does the spread kernel cover?",
            _reading(lambda *how: how, _sizes_with(lambda n, k, d: n - k))),
    Mistake("dilated_conv2d", "one-hole-too-many", "Your result is too small: you count a hole "
            "behind the kernel's last element too.",
            _reading(lambda *how: how, _sizes_with(lambda n, k, d: n - d * k))),
    *(Mistake("dilated_conv2d", "stride-axes-exchanged", "The two strides are exchanged: the first "
              "moves the window down, the second across.", version)
      for version in (_reading(lambda stride, dilation: (stride[::-1], dilation)),
                      _consistently(lambda stride, dilation: (stride[::-1], dilation)))),
    Mistake("dilated_conv2d", "padding-axes-exchanged", "The two paddings are exchanged: the first "
            "is rows above and below, the second columns on both sides.", _padding_exchanged),
    Mistake("dilated_conv2d", "padded-at-the-end", "All the padding is below and to the right of "
            "the image. It belongs on all four sides.", _padded_at_the_end),
    Mistake("dilated_conv2d", "padding-counted-once", "There is padding on two sides of each axis: "
            "by how much does the image grow?", _padded_once),
    Mistake("dilated_conv2d", "stride-ignored", "Your window moves by one pixel, whatever the "
            "stride, so that the result is too large.",
            _consistently(lambda stride, dilation: ((1, 1), dilation))),
    *(Mistake("dilated_conv2d", "sum-overwritten", "Of the sum only the last term is left in your "
              "result: is there = where += was meant?", given(dilated_conv2d, 1, change))
      for change in (LAST_TAP, LAST_CHANNEL, LAST_TERM)),
    Mistake("dilated_conv2d_backward", "empty-crop", "Your slice is empty where the padding is 0: "
            "P:-P is 0:0 then. Where does x end?", _cropped(lambda P, n: slice(P, -P))),
    Mistake("dilated_conv2d_backward", "padding-ignored", "You look for a window's pixels without "
            "subtracting the padding. Where in the padded image does x begin?", _padding_behind),
    Mistake("dilated_conv2d_backward", "dilation-axes-exchanged", "The two dilations are "
            "exchanged: the first is between rows, the second between columns.",
            _backward_reading(lambda stride, dilation: (stride, dilation[::-1]))),
    Mistake("dilated_conv2d_backward", "stride-and-dilation-exchanged", "The window moves by the "
            "dilation and the kernel's elements lie a stride apart. It is the other way round.",
            _backward_reading(_exchanged)),
    *(Mistake("dilated_conv2d_backward", "gweight-overwritten", "In dL/dweight only the last "
              "window or the last image counts. What arrives at one place is summed.",
              _gweight_of(share))
      for share in (np.s_[:, :, -1, -1], np.s_[-1], np.s_[-1, :, -1, -1])),
)

MISTAKES += versions(MISTAKES, {
    ("dilated_conv2d", "dilated-in-size-only"): (
        _reading(lambda stride, dilation: (stride, (dilation[0], 1))),
        _reading(lambda stride, dilation: (stride, (1, dilation[1])))),
    ("dilated_conv2d", "dilation-counts-the-holes"): (_consistently(_more_holes),),
    ("dilated_conv2d", "stride-and-dilation-exchanged"): (_consistently(_exchanged),),
    ("dilated_conv2d", "dilation-axes-exchanged"): (
        _consistently(lambda stride, dilation: (stride, dilation[::-1])),),
    ("dilated_conv2d", "kernel-flipped"): (given(dilated_conv2d, 1, np.flip),),
    ("dilated_conv2d", "stride-in-size-only"): (
        _reading(lambda stride, dilation: ((stride[0], 1), dilation)),
        _reading(lambda stride, dilation: ((1, stride[1]), dilation))),
    ("dilated_conv2d_backward", "not-dilated"): (
        _backward_reading(lambda stride, dilation: (stride, (dilation[0], 1))),
        _backward_reading(lambda stride, dilation: (stride, (1, dilation[1])))),
    ("dilated_conv2d_backward", "gx-not-cropped"): (
        _cropped(lambda P, n: slice(n)), _cropped(lambda P, n: slice(2 * P, None))),
    ("dilated_conv2d_backward", "gx-overwritten"): (
        _gx_written(True), _gx_written(True, np.s_[-1:]), _gx_written(False, np.s_[-1:]),
        part(dilated_conv2d_backward, 0, _last_output)),
})


# ---- cases ---------------------------------------------------------------------------------------

def _case(rng, name, sizes, stride=(1, 1), padding=(0, 0), dilation=(1, 1), backward=False,
          draw=random):
    """A case of sizes N, C, H, W, O, I, J."""
    N, C, H, W, O, I, J = sizes
    args = (*draw(rng, (N, C, H, W), (O, C, I, J)), stride, padding, dilation)
    if not backward:
        return Case("dilated_conv2d", name, args)
    A, B = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in
            zip((H, W), (I, J), stride, padding, dilation))
    return Case("dilated_conv2d_backward", name, (*draw(rng, (N, O, A, B)), *args))


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    row = dict(padding=(0, 1), dilation=(1, 2), draw=small)
    return [
        _case(rng, "one row, dilation 2", (1, 1, 1, 4, 1, 1, 3), **row),
        _case(rng, "one column, dilation 3", (1, 1, 5, 1, 1, 2, 1), dilation=(3, 1), draw=small),
        _case(rng, "several channels, dilation (2, 3)", (1, 2, 7, 11, 5, 3, 4), dilation=(2, 3)),
        _case(rng, "stride (2, 1), dilation (1, 2)", (1, 3, 7, 8, 2, 4, 3), (2, 1),
              dilation=(1, 2)),
        _case(rng, "padding (1, 2), dilation (3, 2)", (1, 3, 6, 5, 4, 2, 3), padding=(1, 2),
              dilation=(3, 2)),
        _case(rng, "two images, stride (3, 2), padding (2, 1), dilation (2, 3)",
              (2, 3, 9, 8, 5, 4, 3), (3, 2), (2, 1), (2, 3)),
        _case(rng, "backward, one row, dilation 2", (1, 1, 1, 4, 1, 1, 3), backward=True, **row),
        _case(rng, "backward, several channels, dilation (2, 3)", (1, 2, 7, 11, 5, 3, 4),
              dilation=(2, 3), backward=True),
        _case(rng, "backward, stride (2, 1), padding (0, 1), dilation (1, 2)",
              (1, 3, 7, 8, 2, 4, 3), (2, 1), (0, 1), (1, 2), backward=True),
        _case(rng, "backward, two images, stride (1, 2), padding (2, 1), dilation (2, 3)",
              (2, 3, 6, 8, 5, 4, 3), (1, 2), (2, 1), (2, 3), backward=True),
    ]


def _terms(x, weight, stride, padding, dilation):
    return weight[0].size


def _backward_terms(g, x, weight, stride, padding, dilation):
    return weight[:, 0].size, g[:, 0].size


EXERCISE = Exercise(
    name="dilated_conv2d", title="Dilated convolution and its gradient",
    lecture="Kempten L 10.2, Dilated/Atrous Convolution", source="tinyvision/ops/conv2d.py",
    functions={"dilated_conv2d": dilated_conv2d,
               "dilated_conv2d_backward": dilated_conv2d_backward},
    cases=cases, mistakes=MISTAKES,
    magnitude={f.__name__: absolute(f) for f in (dilated_conv2d, dilated_conv2d_backward)},
    terms={"dilated_conv2d": _terms, "dilated_conv2d_backward": _backward_terms})
