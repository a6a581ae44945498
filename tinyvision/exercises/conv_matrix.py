r"""# Convolution as a matrix

Write `conv_matrix` and its gradient `conv_matrix_backward`.

A convolution is linear in the image, so there is a matrix that does the same to the image written
as one long vector. In the lecture's example the kernel (x, y, z) moves over (a, b, c, d) with
stride 2 and padding 1:

$$X \vec a = \begin{bmatrix} x & y & z & 0 & 0 & 0 \\ 0 & 0 & x & y & z & 0 \end{bmatrix}
\begin{bmatrix} 0 \\ a \\ b \\ c \\ d \\ 0 \end{bmatrix} =
\begin{bmatrix} ay + bz \\ bx + cy + dz \end{bmatrix}$$

One row an answer, one column a pixel of the **padded** image; in each row the kernel stands where
its window is. The transposed matrix is the transposed convolution. Here the image has two axes;
both the answers and the pixels are counted row by row.

**By hand.** Kernel 2 x 2 on an image of 2 x 3, stride 1, no padding; the pixels are numbered
0 1 2 (first row), 3 4 5 (second row):

    kernel  1 2      pixel      0 1 2 3 4 5
            3 4      answer 0   1 2 0 3 4 0      its window holds the pixels 0 1 3 4
                     answer 1   0 1 2 0 3 4                                  1 2 4 5

**Backward.** A weight stands in every row of the matrix once, so given g = dL/dX its gradient is
the sum of g at all those places. That is what sharing weights means: a fully connected layer
would have a gradient for each element of X.

**Shapes.** weight (I, J), input_size (H, W) before padding, stride (S, T), padding (P, Q), each
(down, across). With A = floor((H + 2 P - I) / S) + 1 and B likewise: X is
(A B, (H + 2 P)(W + 2 Q)).
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.bounds import absolute
from tinyvision.exercises.draws import random, small
from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions


def conv_matrix(weight, input_size, stride, padding):
    """The matrix X with conv(image) = X image, acting on the padded image as one vector.

    Arguments:
        weight: (I, J) kernel.
        input_size: (H, W) of the image before padding.
        stride: (S, T), pixels that the window moves down and across.
        padding: (P, Q), rows above and below and columns on both sides.

    Returns:
        (A B, (H + 2 P)(W + 2 Q)), answers and pixels counted row by row.
    """
    ### BEGIN SOLUTION
    (I, J), (S, T) = weight.shape, stride
    H, W = input_size[0] + 2 * padding[0], input_size[1] + 2 * padding[1]
    A, B = (H - I) // S + 1, (W - J) // T + 1
    X = np.zeros((A * B, H * W))
    for a, b, i, j in np.ndindex(A, B, I, J):
        X[a * B + b, (a * S + i) * W + b * T + j] = weight[i, j]
    return X
    ### END SOLUTION


def conv_matrix_backward(g, weight, input_size, stride, padding):
    """Gradient of a loss with respect to the kernel from which `conv_matrix` made its matrix.

    Arguments:
        g: (A B, (H + 2 P)(W + 2 Q)) gradient with respect to the matrix.
        weight, input_size, stride, padding: what `conv_matrix` was called with.

    Returns:
        (I, J) gradient with respect to weight.
    """
    ### BEGIN SOLUTION
    (I, J), (S, T) = weight.shape, stride
    H, W = input_size[0] + 2 * padding[0], input_size[1] + 2 * padding[1]
    A, B = (H - I) // S + 1, (W - J) // T + 1
    gweight = np.zeros((I, J))
    for a, b, i, j in np.ndindex(A, B, I, J):
        gweight[i, j] += g[a * B + b, (a * S + i) * W + b * T + j]
    return gweight
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _sizes(weight, input_size, stride, padding):
    """((A, B), (H, W)): the sizes of the answer and of the padded image."""
    padded = tuple(n + 2 * p for n, p in zip(input_size, padding))
    return tuple((n - k) // s + 1 for n, k, s in zip(padded, weight.shape, stride)), padded


def _place(weight, input_size, stride, padding, place):
    """The matrix with weight[i, j] where place(a, b, i, j) -> (row, column) says, if there."""
    (A, B), (H, W) = _sizes(weight, input_size, stride, padding)
    X = np.zeros((A * B, H * W))
    for a, b, i, j in np.ndindex(A, B, *weight.shape):
        row, column = place(a, b, i, j)
        if row < A * B and column < H * W:
            X[row, column] = weight[i, j]
    return X


def _flipped(weight, *how):
    return conv_matrix(weight[::-1, ::-1], *how)


def _transposed(weight, *how):
    return conv_matrix(weight, *how).T.copy()


def _unpadded_width(weight, input_size, stride, padding):
    B, W = _sizes(weight, input_size, stride, padding)[0][1], input_size[1]
    return _place(weight, input_size, stride, padding, lambda a, b, i, j: (
        a * B + b, (a * stride[0] + i) * W + b * stride[1] + j))


def _without_padding(weight, input_size, stride, padding):
    return conv_matrix(weight, input_size, stride, (0, 0))


def _pixels_only(weight, input_size, stride, padding):
    (P, Q), (H, W) = padding, input_size
    sizes = _sizes(weight, input_size, stride, padding)[1]
    X = conv_matrix(weight, input_size, stride, padding).reshape(-1, *sizes)
    return X[:, P:P + H, Q:Q + W].reshape(len(X), -1)


def _kernel_in_one_piece(weight, input_size, stride, padding):
    (_, B), (_, W) = _sizes(weight, input_size, stride, padding)
    return _place(weight, input_size, stride, padding, lambda a, b, i, j: (
        a * B + b, a * stride[0] * W + b * stride[1] + i * weight.shape[1] + j))


def _one_long_signal(weight, input_size, stride, padding):
    (_, B), (_, W) = _sizes(weight, input_size, stride, padding)
    return _place(weight, input_size, stride, padding, lambda a, b, i, j: (
        a * B + b, (a * B + b) * stride[1] + i * W + j))


def _stride_in_size_only(weight, input_size, stride, padding):
    (_, B), (_, W) = _sizes(weight, input_size, stride, padding)
    return _place(weight, input_size, stride, padding, lambda a, b, i, j: (
        a * B + b, (a + i) * W + b + j))


def _pixels_by_column(weight, input_size, stride, padding):
    sizes = _sizes(weight, input_size, stride, padding)[1]
    X = conv_matrix(weight, input_size, stride, padding)
    return X.reshape(-1, *sizes).swapaxes(1, 2).reshape(X.shape)


def _answers_by_column(weight, input_size, stride, padding):
    sizes = _sizes(weight, input_size, stride, padding)[0]
    X = conv_matrix(weight, input_size, stride, padding)
    return X.reshape(*sizes, -1).swapaxes(0, 1).reshape(X.shape)


def _mean(g, weight, input_size, stride, padding):
    return conv_matrix_backward(g, weight, input_size, stride, padding) / len(g)


def _first_row(g, weight, input_size, stride, padding):
    return conv_matrix_backward(g * (np.arange(len(g)) == 0)[:, None], weight, input_size, stride,
                                padding)


def _last_row(g, weight, input_size, stride, padding):
    return conv_matrix_backward(g * (np.arange(len(g)) == len(g) - 1)[:, None], weight, input_size,
                                stride, padding)


def _backward_flipped(g, *rest):
    return conv_matrix_backward(g, *rest)[::-1, ::-1].copy()


def _stride_ignored(g, weight, input_size, stride, padding):
    wrong = _stride_in_size_only(np.arange(1.0, 1 + weight.size).reshape(weight.shape), input_size,
                                 stride, padding)
    return np.array([g[wrong == k + 1].sum() for k in range(weight.size)]).reshape(weight.shape)


def _times_weight(g, weight, *how):
    return conv_matrix_backward(g, weight, *how) * weight


# ---- versions: another rule for the place of weight[i, j] in the row of answer (a, b) ------------

def _rule(row=lambda a, b, A, B: a * B + b, column=lambda h, w, H, W: h * W + w,
          step=lambda stride: stride, edges=lambda padding: padding):
    """(weight, input_size, stride, padding) -> place(a, b, i, j), with rows, columns, strides and
    the padding that belongs to the width counted in another way."""
    def places(weight, input_size, stride, padding):
        sizes = _sizes(weight, input_size, stride, padding)[0]
        padded = [n + 2 * p for n, p in zip(input_size, edges(padding))]
        S, T = step(stride)
        return lambda a, b, i, j: (row(a, b, *sizes), column(a * S + i, b * T + j, *padded))
    return places


def _placed(rule):
    """The matrix with its weights where a rule says, where that is within the matrix."""
    return lambda weight, *how: _place(weight, *how, rule(weight, *how))


def _gathered(rule):
    """The gradient read where a rule says."""
    def back(g, weight, *how):
        gweight, place = np.zeros(weight.shape), rule(weight, *how)
        for a, b, i, j in np.ndindex(*_sizes(weight, *how)[0], *weight.shape):
            row, column = place(a, b, i, j)
            if row < g.shape[0] and column < g.shape[1]:
                gweight[i, j] += g[row, column]
        return gweight
    return back


def _by_height(first, second, height, width):
    return first * height + second


def _by_column(first, second, height, width):
    return second * height + first


def _in_one_piece(weight, input_size, stride, padding):
    (_, B), (_, W) = _sizes(weight, input_size, stride, padding)
    return lambda a, b, i, j: (a * B + b, a * stride[0] * W + b * stride[1]
                               + i * weight.shape[1] + j)


UNPADDED_WIDTH = _rule(edges=lambda padding: (0, 0))
STRIDED_DOWN, STRIDED_ACROSS = (_rule(step=step) for step in (lambda stride: (stride[0], 1),
                                                              lambda stride: (1, stride[1])))
HEIGHTS = [_rule(row=_by_height), _rule(column=_by_height), _rule(_by_height, _by_height)]


def _transposed_kernel(weight, *how):
    """weight[j, i]; where the kernel is not square, its numbers column by column."""
    return conv_matrix(weight.T.reshape(weight.shape), *how)


def _with_how(change):
    """`conv_matrix` with another (input_size, stride, padding); empty where the kernel is larger
    than the image."""
    def matrix(weight, *how):
        how = change(*how)
        fits = min(n - k for n, k in zip(_sizes(weight, *how)[1], weight.shape)) >= 0
        return conv_matrix(weight, *how) if fits else np.zeros((0, 0))
    return matrix


def _last_window(weight, input_size, stride, padding):
    (A, B), (H, W) = _sizes(weight, input_size, stride, padding)
    X = conv_matrix(weight, input_size, stride, padding).reshape(A, B, H * W)
    return X[:-1, :-1].reshape(-1, H * W)


def _backward_without_padding(g, weight, input_size, stride, padding):
    return _gathered(_rule())(g, weight, input_size, stride, (0, 0))


MISTAKES = (
    Mistake("conv_matrix", "kernel-flipped", "Your kernel is turned by 180 degrees. In the "
            "lecture's rows it stands as it is: x, y, z.", _flipped),
    Mistake("conv_matrix", "transposed", "Your matrix is the one of the transposed convolution: "
            "here a row belongs to an answer, a column to a pixel.", _transposed),
    Mistake("conv_matrix", "unpadded-width", "You count pixels in rows of the width before "
            "padding. How long is a row of the padded image?", _unpadded_width),
    Mistake("conv_matrix", "padding-ignored", "The image is never padded.", _without_padding),
    Mistake("conv_matrix", "no-columns-for-the-padding", "Your matrix acts on the image without "
            "its border. The lecture's matrix has columns for the zeros too.", _pixels_only),
    Mistake("conv_matrix", "kernel-in-one-piece", "The kernel's rows follow each other in your "
            "matrix. How far is it from a pixel to the one below?", _kernel_in_one_piece),
    Mistake("conv_matrix", "one-long-signal", "Each row of your matrix is the one above, moved by "
            "the stride. What happens at the end of an image row?", _one_long_signal),
    Mistake("conv_matrix", "stride-in-size-only", "The stride changes the number of rows, but in "
            "at least one direction the kernel still moves by one pixel.", _stride_in_size_only),
    Mistake("conv_matrix", "pixels-column-by-column", "You count the pixels column by column; "
            "they are counted row by row.", _pixels_by_column),
    Mistake("conv_matrix", "answers-column-by-column", "You count the answers column by column; "
            "they are counted row by row.", _answers_by_column),
    Mistake("conv_matrix_backward", "mean", "Your gradient is a mean over the rows. What arrives "
            "at one weight is summed.", _mean),
    Mistake("conv_matrix_backward", "first-row-only", "Only the first row's g counts in your "
            "gradient. In how many rows does a weight stand?", _first_row),
    Mistake("conv_matrix_backward", "overwritten", "Only the last row's g counts in your "
            "gradient: the ones before are overwritten.", _last_row),
    Mistake("conv_matrix_backward", "flipped", "Your gradient is turned by 180 degrees.",
            _backward_flipped),
    Mistake("conv_matrix_backward", "stride-ignored", "In at least one direction you read g "
            "where the kernel would stand with stride 1.", _stride_ignored),
    Mistake("conv_matrix_backward", "times-weight", "You multiply by the weight. An element of X "
            "is a weight itself: what is its derivative?", _times_weight),
    Mistake("conv_matrix", "kernel-transposed", "The kernel's height and width are exchanged: "
            "i goes down, j goes to the right.", _transposed_kernel),
    *(Mistake("conv_matrix", "height-for-width", "You count in rows as long as the height. The "
              "number of a place is row * width + column.", _placed(rule)) for rule in HEIGHTS),
    Mistake("conv_matrix", "padding-counted-once", "There is padding on two sides of each axis: by "
            "how much does the image grow?", _with_how(lambda size, stride, padding: (
                tuple(n + p for n, p in zip(size, padding)), stride, (0, 0)))),
    Mistake("conv_matrix", "stride-ignored", "The kernel moves by one pixel, whatever the stride, "
            "so that your matrix has too many rows.",
            _with_how(lambda size, stride, padding: (size, (1, 1), padding))),
    *(Mistake("conv_matrix", "stride-axes-exchanged", "The two strides are exchanged: the first "
              "moves the window down, the second across.", version)
      for version in (_with_how(lambda size, stride, padding: (size, stride[::-1], padding)),
                      _placed(_rule(step=lambda stride: stride[::-1])))),
    Mistake("conv_matrix", "padding-axes-exchanged", "The two paddings are exchanged: the first "
            "is rows above and below, the second columns on both sides.",
            _with_how(lambda size, stride, padding: (size, stride, padding[::-1]))),
    Mistake("conv_matrix", "last-window-forgotten", "Your matrix lacks the answers of the last row "
            "and column. How many windows of 1 pixel fit on 1 pixel?", _last_window),
    Mistake("conv_matrix_backward", "unpadded-width", "You count pixels in rows of the width "
            "before padding. How long is a row of the padded image?", _gathered(UNPADDED_WIDTH)),
    Mistake("conv_matrix_backward", "padding-ignored", "You read g in rows of another length than "
            "the padded image has.", _backward_without_padding),
    *(Mistake("conv_matrix_backward", "height-for-width", "You count in rows as long as the "
              "height. The number of a place is row * width + column.", _gathered(rule))
      for rule in HEIGHTS),
    *(Mistake("conv_matrix_backward", "column-by-column", "You count pixels or answers column by "
              "column; they are counted row by row.", _gathered(rule))
      for rule in (_rule(row=_by_column), _rule(column=_by_column))),
    Mistake("conv_matrix_backward", "kernel-in-one-piece", "You read g as if the kernel's rows "
            "followed each other. How far is it from a pixel to the one below?",
            _gathered(_in_one_piece)),
)

MISTAKES += versions(MISTAKES, {
    ("conv_matrix", "stride-in-size-only"): (_placed(STRIDED_DOWN), _placed(STRIDED_ACROSS)),
    ("conv_matrix", "pixels-column-by-column"): (_placed(_rule(_by_column, _by_column)),),
    ("conv_matrix_backward", "stride-ignored"): (
        _gathered(STRIDED_DOWN), _gathered(STRIDED_ACROSS)),
})


# ---- cases ---------------------------------------------------------------------------------------

def _case(rng, name, kernel, size, stride=(1, 1), padding=(0, 0), draw=small):
    """A case of `conv_matrix`."""
    return Case("conv_matrix", name, (*draw(rng, kernel), size, stride, padding))


def _backward(rng, name, kernel, size, stride=(1, 1), padding=(0, 0), draw=random):
    """A case of `conv_matrix_backward`."""
    weight, = draw(rng, kernel)
    (A, B), (H, W) = _sizes(weight, size, stride, padding)
    g, = draw(rng, (A * B, H * W))
    return Case("conv_matrix_backward", name, (g, weight, size, stride, padding))


def _alike(rng, *shapes):
    """Numbers of which one is 0 and two are equal: a weight is not found by its value."""
    drawn = random(rng, *shapes)
    for numbers in drawn:
        numbers.flat[rng.permutation(numbers.size)[:3]] = 0.0, 1.5, 1.5
    return drawn


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    return [
        _case(rng, "the lecture's row", (1, 3), (1, 4), (1, 2), (0, 1)),
        _case(rng, "a 2x2 kernel on 2x3 pixels", (2, 2), (2, 3)),
        _case(rng, "a 2x3 kernel on 4x5 pixels", (2, 3), (4, 5), draw=random),
        _case(rng, "stride (2, 1)", (3, 2), (7, 4), (2, 1), draw=random),
        _case(rng, "padding (1, 2)", (2, 4), (3, 5), padding=(1, 2), draw=random),
        _case(rng, "stride (2, 3), padding (2, 1)", (3, 2), (4, 7), (2, 3), (2, 1), draw=random),
        _backward(rng, "backward, the lecture's row", (1, 3), (1, 4), (1, 2), (0, 1), draw=small),
        _backward(rng, "backward, a 2x3 kernel on 4x6 pixels", (2, 3), (4, 6), draw=_alike),
        _backward(rng, "backward, stride (2, 1), padding (0, 1)", (3, 2), (7, 5), (2, 1), (0, 1)),
        _backward(rng, "backward, stride (2, 3), padding (2, 1)", (3, 2), (4, 7), (2, 3), (2, 1)),
    ]


EXERCISE = Exercise(
    name="conv_matrix", title="The matrix of a convolution",
    lecture="UW, Convolution as Matrix Multiplication", source="tinyvision/ops/conv2d.py",
    functions={"conv_matrix": conv_matrix, "conv_matrix_backward": conv_matrix_backward},
    cases=cases, mistakes=MISTAKES,
    magnitude={f.__name__: absolute(f) for f in (conv_matrix, conv_matrix_backward)},
    terms={"conv_matrix": lambda *args: 1, "conv_matrix_backward": lambda g, *rest: len(g)})
