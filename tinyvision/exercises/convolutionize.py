r"""# Convolutionize

Write `convolutionize` and `slide_classifier`.

A classifier ends with a fully connected layer, which needs an image of one size. But a fully
connected layer is a convolution whose kernel is as large as its input: the same products, the same
sum. Written as a convolution it accepts a larger image, and moves over it: the answer is a map of
the classifier's answers at every place, a coarse segmentation (the fully convolutional network).

$$y_o = \beta_o + \sum_{k} w_{o,k}\; x_k \qquad\longrightarrow\qquad
y_{o,a,b} = \beta_o + \sum_{c,u,v} w_{o,\,(c U + u) V + v}\; x_{c,\;a+u,\;b+v}$$

where the dense layer saw maps of C x U x V as one vector: channel by channel, row by row.

**By hand.** The dense weights (1, 2, 3, 4) belong to one channel of 2 x 2:

    kernel  1 2     slid over   1 0 2     gives  1*1 + 2*0 + 3*0 + 4*1 =  5
            3 4                 0 1 3     and    1*0 + 2*2 + 3*1 + 4*3 = 19

**The classifier** of `slide_classifier` is the lecture's: a convolution (stride S, no padding, no
bias), a ReLU, a fully connected layer. It was trained on images of size (h, w), on which the
convolution gives maps of U x V, U = floor((h - I) / S) + 1. With a 3 x 3 kernel, stride 1, and
(h, w) = (5, 5) the dense layer sees 3 x 3; a 7 x 7 image then gives 3 x 3 answers. The answer at
(a, b) is the classifier's answer to the crop of size (h, w) that begins at pixel (a S, b S).

**Shapes.** weight (O, C U V), input_shape (C, U, V): kernels (O, C, U, V). x (N, D, H, W),
kernel (C, D, I, J), bias (O,), input_size (h, w): the answers are (N, O, A, B) with
A = (floor((H - I) / S) + 1) - U + 1, B likewise.
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.bounds import absolute
from tinyvision.exercises.draws import random, small
from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions
from tinyvision.exercises.slips import given, then


def convolutionize(weight, input_shape):
    """A fully connected layer's weights as a convolution's kernels.

    Arguments:
        weight: (O, C U V), one row of weights for each answer.
        input_shape: (C, U, V), the maps that the layer saw as one vector, channel by channel.

    Returns:
        (O, C, U, V) kernels.
    """
    ### BEGIN SOLUTION
    return weight.reshape(len(weight), *input_shape)
    ### END SOLUTION


def slide_classifier(x, kernel, weight, bias, stride, input_size):
    """The answers of a classifier (convolution, ReLU, fully connected) at every place of an image.

    Arguments:
        x: (N, D, H, W) images, at least as large as input_size.
        kernel: (C, D, I, J) of the convolution, which has neither padding nor bias.
        weight: (O, C U V) of the fully connected layer.
        bias: (O,) of the fully connected layer.
        stride: of the convolution, in both directions.
        input_size: (h, w), the size of image for which the classifier was made.

    Returns:
        (N, O, A, B), A = (floor((H - I) / stride) + 1) - U + 1, B likewise.
    """
    ### BEGIN SOLUTION
    def slide(x, kernel, stride):
        (N, _, H, W), (O, _, I, J) = x.shape, kernel.shape
        y = np.zeros((N, O, (H - I) // stride + 1, (W - J) // stride + 1))
        for a, b in np.ndindex(y.shape[2:]):
            window = x[:, :, a * stride:a * stride + I, b * stride:b * stride + J]
            y[:, :, a, b] = np.einsum("ncij,ocij->no", window, kernel)
        return y

    C, _, I, J = kernel.shape
    U, V = (input_size[0] - I) // stride + 1, (input_size[1] - J) // stride + 1
    maps = np.maximum(slide(x, kernel, stride), 0)
    return slide(maps, convolutionize(weight, (C, U, V)), 1) + bias[:, None, None]
    ### END SOLUTION


# ---- mistakes: the weights -----------------------------------------------------------------------

def _channels_last(weight, input_shape):
    C, U, V = input_shape
    return weight.reshape(-1, U, V, C).transpose(0, 3, 1, 2)


def _inputs_first(weight, input_shape):
    return np.moveaxis(weight.reshape(*input_shape, -1), -1, 0)


def _flipped(weight, input_shape):
    return convolutionize(weight, input_shape)[:, :, ::-1, ::-1]


def _column_by_column(weight, input_shape):
    C, U, V = input_shape
    return convolutionize(weight, (C, V, U)).swapaxes(2, 3)


def _size_exchanged(weight, input_shape):
    C, U, V = input_shape
    return convolutionize(weight, (C, V, U))


def _channels_after_outputs(weight, input_shape):
    return convolutionize(weight, input_shape).swapaxes(0, 1)


def _columns_then_channels(weight, input_shape):
    C, U, V = input_shape
    return weight.reshape(-1, V, U, C).transpose(0, 3, 2, 1)


def _axes_as_read(order):
    """The weight, transposed or not, in axes of the sizes of another order of O, C, U, V."""
    def kernels(weight, input_shape, transposed=False):
        sizes = len(weight), *input_shape
        return (weight.T if transposed else weight).reshape([sizes[k] for k in order])
    return kernels


def _of_the_transpose(kernels):
    return lambda weight, input_shape: kernels(weight, input_shape, True)


# ---- mistakes: the classifier --------------------------------------------------------------------

def _maps(x, kernel, stride):
    """The convolution without its ReLU."""
    I, J = kernel.shape[2:]
    A, B = (x.shape[2] - I) // stride + 1, (x.shape[3] - J) // stride + 1
    y = np.zeros((len(x), len(kernel), A, B))
    for a, b in np.ndindex(A, B):
        window = x[:, :, a * stride:a * stride + I, b * stride:b * stride + J]
        y[:, :, a, b] = np.einsum("ncij,ocij->no", window, kernel)
    return y


def _answers(x, kernel, weight, bias, stride, input_size, relu=lambda maps: np.maximum(maps, 0),
             order=convolutionize):
    """`slide_classifier` with another ReLU or another order of the weights."""
    sizes = ((n - k) // stride + 1 for n, k in zip(input_size, kernel.shape[2:]))
    dense = order(weight, (len(kernel), *sizes))
    return _maps(relu(_maps(x, kernel, stride)), dense, 1) + bias[:, None, None]


def _no_relu(*args):
    return _answers(*args, relu=lambda maps: maps)


def _relu_at_the_end(*args):
    return np.maximum(_answers(*args, relu=lambda maps: maps), 0)


def _dense_channels_last(*args):
    return _answers(*args, order=_channels_last)


def _dense_flipped(*args):
    return _answers(*args, order=_flipped)


def _one_answer(*args):
    return slide_classifier(*args)[:, :, :1, :1]


def _strided_again(x, kernel, weight, bias, stride, input_size):
    return slide_classifier(x, kernel, weight, bias, stride, input_size)[:, :, ::stride, ::stride]


def _side_by_side(x, kernel, weight, bias, stride, input_size):
    U, V = ((n - k) // stride + 1 for n, k in zip(input_size, kernel.shape[2:]))
    return slide_classifier(x, kernel, weight, bias, stride, input_size)[:, :, ::U, ::V]


def _no_bias(x, kernel, weight, bias, stride, input_size):
    return slide_classifier(x, kernel, weight, 0 * bias, stride, input_size)


def _mean_of_answers(*args):
    return slide_classifier(*args).mean(axis=(2, 3), keepdims=True)


def _stride_in_size_only(x, kernel, weight, bias, stride, input_size):
    right = slide_classifier(x, kernel, weight, bias, stride, input_size)
    U, V = ((n - k) // stride + 1 for n, k in zip(input_size, kernel.shape[2:]))
    crop = tuple(n - 1 + k for n, k in zip((U, V), kernel.shape[2:]))
    return slide_classifier(x, kernel, weight, bias, 1, crop)[:, :, :right.shape[2],
                                                              :right.shape[3]]


def _relu_twice(*args):
    return np.maximum(slide_classifier(*args), 0)


def _ordered(order):
    """The classifier whose dense weights are read in another order."""
    return lambda *args: _answers(*args, order=order)


def _crops_a_pixel_apart(everywhere):
    """The classifier on crops that begin at pixel (a, b); on as many as asked for, or all."""
    def slide(x, kernel, weight, bias, stride, input_size):
        h, w = input_size
        A, B = (x.shape[2] - h + 1, x.shape[3] - w + 1) if everywhere else slide_classifier(
            x, kernel, weight, bias, stride, input_size).shape[2:]
        y = np.zeros((len(x), len(weight), A, B))
        for a, b in np.ndindex(A, B):
            crop = x[:, :, a:a + h, b:b + w]
            y[:, :, a, b] = slide_classifier(crop, kernel, weight, bias, stride,
                                             input_size)[:, :, 0, 0]
        return y
    return slide


def _both_flipped(x, kernel, *rest):
    return _answers(x, kernel[:, :, ::-1, ::-1], *rest, order=_flipped)


MISTAKES = (
    Mistake("convolutionize", "channels-last", "You take the vector as pixel by pixel with the "
            "channels inside. It is channel by channel, each row by row.", _channels_last),
    Mistake("convolutionize", "columns-then-channels", "You take the vector column by column, with "
            "the channels inside. It is channel by channel, each row by row.",
            _columns_then_channels),
    Mistake("convolutionize", "inputs-first", "You take the weight's first axis for the inputs. A "
            "row of the weight belongs to one answer.", _inputs_first),
    Mistake("convolutionize", "flipped", "Your kernels are turned by 180 degrees. The convolution "
            "of deep learning does not flip, so nothing needs to be undone.", _flipped),
    Mistake("convolutionize", "column-by-column", "Within a channel you count column by column; "
            "the vector counts row by row.", _column_by_column),
    Mistake("convolutionize", "size-exchanged", "Your kernels have height and width exchanged: "
            "input_shape is (channels, rows, columns).", _size_exchanged),
    Mistake("convolutionize", "channels-before-answers", "A kernel tensor's first axis are the "
            "answers, its second the channels.", _channels_after_outputs),
    Mistake("slide_classifier", "relu-forgotten", "The ReLU between the layers is missing. Without "
            "it two linear layers are one.", _no_relu),
    Mistake("slide_classifier", "relu-at-the-end", "The ReLU stands after the fully connected "
            "layer in your code. Scores may be negative; the maps may not.", _relu_at_the_end),
    Mistake("slide_classifier", "channels-last", "Your dense weights meet the wrong elements: "
            "the maps were a vector channel by channel, each row by row.", _dense_channels_last),
    Mistake("slide_classifier", "flipped", "The dense layer's kernels are turned by 180 degrees.",
            _dense_flipped),
    Mistake("slide_classifier", "one-answer", "You give the answer for the first crop only. The "
            "kernel moves over the whole map.", _one_answer),
    Mistake("slide_classifier", "strided-again", "The dense layer's kernel moves by the stride "
            "of the first layer. How far apart are neighbouring crops already?", _strided_again),
    Mistake("slide_classifier", "crops-side-by-side", "Your crops do not overlap. The kernel moves "
            "by one element of the map.", _side_by_side),
    Mistake("slide_classifier", "bias-forgotten", "The bias is missing.", _no_bias),
    Mistake("slide_classifier", "mean-of-answers", "You average the answers of all places. They "
            "are the map that is asked for.", _mean_of_answers),
    Mistake("slide_classifier", "stride-in-size-only", "The stride changes the size of your maps, "
            "but the first layer's window moves by one pixel.", _stride_in_size_only),
    Mistake("slide_classifier", "relu-before", "The ReLU stands before the first layer in your "
            "code. It belongs between the two.",
            lambda x, *rest: _answers(np.maximum(x, 0), *rest, relu=lambda maps: maps)),
    Mistake("slide_classifier", "kernel-flipped", "The first layer's kernels are turned by 180 "
            "degrees.", given(slide_classifier, 1, lambda kernel: kernel[:, :, ::-1, ::-1])),
    Mistake("slide_classifier", "inputs-first", "You take the weight's first axis for the inputs. "
            "A row of the weight belongs to one answer.", _ordered(_inputs_first)),
    Mistake("slide_classifier", "column-by-column", "Within a channel you count the dense weights "
            "column by column; the vector counts row by row.", _ordered(_column_by_column)),
    Mistake("slide_classifier", "size-exchanged", "The dense layer's kernels have height and width "
            "exchanged.", _ordered(_size_exchanged)),
    Mistake("slide_classifier", "last-place-forgotten", "Your result lacks its last row and "
            "column. How many kernels of 1 element fit on a map of 1?",
            then(slide_classifier, lambda y: y[:, :, :-1, :-1])),
    *(Mistake("slide_classifier", "crops-a-pixel-apart", "Your crops begin at neighbouring pixels. "
              "How far apart are they where the first layer has a stride?",
              _crops_a_pixel_apart(everywhere)) for everywhere in (False, True)),
    Mistake("slide_classifier", "channels-crossed", "Every channel of the first layer's kernel "
            "meets every channel of the image. Which one belongs to which?",
            given(slide_classifier, 0, lambda x: np.broadcast_to(x.sum(axis=1, keepdims=True),
                                                                 x.shape))),
)

MISTAKES += versions(MISTAKES, {
    ("convolutionize", "channels-last"): (_axes_as_read((0, 2, 3, 1)),),
    ("convolutionize", "inputs-first"): (
        _of_the_transpose(_axes_as_read((0, 1, 2, 3))), _axes_as_read((1, 2, 3, 0)),
        _of_the_transpose(_axes_as_read((1, 2, 3, 0)))),
    ("convolutionize", "flipped"): (then(convolutionize, lambda k: k[:, ::-1, ::-1, ::-1]),),
    ("convolutionize", "channels-before-answers"): (_axes_as_read((1, 0, 2, 3)),),
    ("slide_classifier", "relu-at-the-end"): (_relu_twice,),
    ("slide_classifier", "channels-last"): (_ordered(_columns_then_channels),),
    ("slide_classifier", "inputs-first"): (
        _ordered(_of_the_transpose(_axes_as_read((0, 1, 2, 3)))),),
    ("slide_classifier", "flipped"): (_both_flipped,),
    ("slide_classifier", "one-answer"): (then(slide_classifier, lambda y: y[:, :, 0, 0]),),
    ("slide_classifier", "mean-of-answers"): (
        then(slide_classifier, lambda y: y.mean(axis=(2, 3))),),
})


# ---- cases ---------------------------------------------------------------------------------------

def _weights(rng, name, outputs, input_shape, draw=random):
    """A case of `convolutionize`: worth little, for all that happens is that a shape changes."""
    weight, = draw(rng, (outputs, int(np.prod(input_shape))))
    return Case("convolutionize", name, (weight, input_shape), 0.25)


def _signed(rng, *shapes):
    """Both signs alike: maps and scores are now positive, now negative."""
    return [rng.standard_normal(shape) for shape in shapes]


def _slide(rng, name, sizes, kernel, outputs, input_size, stride=1, draw=_signed, points=1.0):
    """A case of sizes N, D, H, W and kernel (C, I, J)."""
    (N, D, H, W), (C, I, J) = sizes, kernel
    U, V = ((n - k) // stride + 1 for n, k in zip(input_size, (I, J)))
    arrays = draw(rng, (N, D, H, W), (C, D, I, J), (outputs, C * U * V), (outputs,))
    return Case("slide_classifier", name, (*arrays, stride, input_size), points)


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    return [
        _weights(rng, "one channel of 2x2", 1, (1, 2, 2), small),
        _weights(rng, "two answers, 2x3", 2, (1, 2, 3), small),
        _weights(rng, "several channels", 5, (3, 2, 4)),
        _weights(rng, "one pixel: a 1x1 convolution", 4, (3, 1, 1)),
        _slide(rng, "the size that it was made for", (1, 1, 2, 3), (1, 1, 2), 2, (2, 3),
               draw=small),
        _slide(rng, "3x3, then 3x3: from 5x5 to 7x7", (1, 2, 7, 7), (3, 3, 3), 4, (5, 5), points=2),
        _slide(rng, "a larger image", (1, 2, 8, 7), (4, 3, 2), 5, (6, 4), points=2),
        _slide(rng, "stride 2", (1, 2, 12, 13), (3, 4, 3), 5, (8, 9), stride=2, points=2),
        _slide(rng, "two images, stride 3", (2, 3, 17, 14), (4, 2, 5), 6, (9, 8), stride=3,
               points=2),
    ]


def _terms(x, kernel, weight, bias, stride, input_size):
    return kernel[0].size + weight[0].size + 2


EXERCISE = Exercise(
    name="convolutionize", title="A dense layer as a convolution",
    lecture="Georgia Tech, Converting FC Layers to Conv Layers", source="tinyvision/ops/conv2d.py",
    functions={"convolutionize": convolutionize, "slide_classifier": slide_classifier},
    cases=cases, mistakes=MISTAKES,
    magnitude={f.__name__: absolute(f) for f in (convolutionize, slide_classifier)},
    terms={"convolutionize": lambda *args: 1, "slide_classifier": _terms})
