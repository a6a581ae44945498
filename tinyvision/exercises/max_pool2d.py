r"""# Max pooling

Write `max_pool2d`, which also returns where each maximum was found, and its gradient
`max_pool2d_backward`.

A window moves over the image; of each window only the largest value is kept, so that a map gets
smaller and what was found matters more than where exactly.

$$y_{n,c,a,b} = \max_{i,j}\; x_{n,\,c,\;aS+i-P,\;bT+j-Q}$$

The places are needed twice: by the backward and by max unpooling in a decoder. A place counts the
pixels of one plane of H x W row by row, without the padding: pixel (h, w) is h W + w.

**By hand** (the lecture's example), a 2x2 window with stride 1:

    120 150 120
    100  50 110     gives    150 150     found at pixels    1 1
     25  25  10              100 110                        3 5

**Conventions.**

- The padding never wins: it counts as minus infinity, not as 0. It is at most half the kernel.
- Of equal values in a window the first one is taken, row by row.

**Backward.** Given g = dL/dy and the indices: the pixel that was taken gets the answer's g, the
others get nothing. A pixel that was taken by several windows gets the sum. In the example with
g = (1, 2; 3, 4): the 150 gets 1 + 2 = 3, the 100 gets 3, the 110 gets 4.

**Shapes.** x (N, C, H, W), kernel_size (I, J), stride (S, T), padding (P, Q), each (down, across);
y and indices (int64) are (N, C, A, B) with A = floor((H + 2 P - I) / S) + 1, B likewise.
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.draws import random, small, whole
from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions
from tinyvision.exercises.forwards import Forward
from tinyvision.exercises.slips import given


def max_pool2d(x, kernel_size, stride, padding):
    """The largest value of every window, and where it was found.

    Arguments:
        x: (N, C, H, W) maps.
        kernel_size: (I, J), the size of a window.
        stride: (S, T), pixels that the window moves down and across.
        padding: (P, Q), rows above and below and columns on both sides that never win.

    Returns:
        (y, indices), both (N, C, A, B), A = floor((H + 2 P - I) / S) + 1, B likewise; indices are
        int64, row * W + column of the plane without padding, the first of equal values.
    """
    ### BEGIN SOLUTION
    (N, C, H, W), (I, J), (S, T), (P, Q) = x.shape, kernel_size, stride, padding
    A, B = (H + 2 * P - I) // S + 1, (W + 2 * Q - J) // T + 1
    y, indices = np.full((N, C, A, B), -np.inf), np.full((N, C, A, B), 0)
    for n, c, a, b, i, j in np.ndindex(N, C, A, B, I, J):
        h, w = a * S + i - P, b * T + j - Q
        if 0 <= h < H and 0 <= w < W and x[n, c, h, w] > y[n, c, a, b]:
            y[n, c, a, b], indices[n, c, a, b] = x[n, c, h, w], h * W + w
    return y, indices
    ### END SOLUTION


def max_pool2d_backward(g, indices, input_shape):
    """Gradient of a loss with respect to the maps that `max_pool2d` pooled.

    Arguments:
        g: (N, C, A, B) gradient with respect to y.
        indices: (N, C, A, B) int64, where `max_pool2d` found each y.
        input_shape: (N, C, H, W), the shape of x.

    Returns:
        (N, C, H, W) gradient with respect to x.
    """
    ### BEGIN SOLUTION
    gx = np.zeros(input_shape)
    for n, c, a, b in np.ndindex(g.shape):
        row, column = divmod(indices[n, c, a, b], input_shape[3])
        gx[n, c, row, column] += g[n, c, a, b]
    return gx
    ### END SOLUTION


# ---- mistakes: forward ---------------------------------------------------------------------------

def _padded(x, padding, fill=-np.inf):
    return np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)), constant_values=fill)


def _pool(x, kernel, stride, padding, fill=-np.inf, step=None, choose=np.argmax,
          index=lambda h, w, W, window: h * W + w):
    """`max_pool2d` with another padding, step of the window, choice in the window, or index."""
    (N, C, H, W), (I, J), (S, T) = x.shape, kernel, step or stride
    A, B = ((n + 2 * p - k) // s + 1 for n, k, s, p in zip((H, W), kernel, stride, padding))
    y, indices = np.zeros((N, C, A, B)), np.zeros((N, C, A, B), np.int64)
    planes = _padded(x, padding, fill)
    for n, c, a, b in np.ndindex(y.shape):
        window = planes[n, c, a * S:a * S + I, b * T:b * T + J]
        row, column = divmod(int(choose(window)), window.shape[1])
        y[n, c, a, b] = window[row, column]
        indices[n, c, a, b] = index(a * S + row - padding[0], b * T + column - padding[1], W,
                                    row * J + column)
    return y, indices


def _zeros_around(*args):
    return _pool(*args, fill=0.0)


def _last_of_equals(*args):
    return _pool(*args, choose=lambda window: window.size - 1 - window.ravel()[::-1].argmax())


def _no_padding(x, kernel, stride, padding):
    return max_pool2d(x, kernel, stride, (0, 0))


def _stride_is_kernel(x, kernel, stride, padding):
    return max_pool2d(x, kernel, kernel, padding)


def _stride_in_size_only(*args):
    return _pool(*args, step=(1, 1))


def _axes_exchanged(x, kernel, stride, padding):
    (I, J), room = kernel, ((0, 0), (0, 0), (0, max(kernel)), (0, max(kernel)))
    wide = np.pad(_padded(x, padding), room, constant_values=-np.inf)
    y, places = max_pool2d(wide, (J, I), stride, (0, 0))
    A, B = max_pool2d(x, kernel, stride, padding)[0].shape[2:]
    row, column = divmod(places[:, :, :A, :B], wide.shape[3])
    return y[:, :, :A, :B], (row - padding[0]) * x.shape[3] + column - padding[1]


def _mean(x, kernel, stride, padding):
    y, indices = max_pool2d(x, kernel, stride, padding)
    planes = _padded(x, padding, 0.0)
    for a, b in np.ndindex(y.shape[2:]):
        top, left = a * stride[0], b * stride[1]
        y[:, :, a, b] = planes[:, :, top:top + kernel[0], left:left + kernel[1]].mean(axis=(2, 3))
    return y, indices


def _padded_plane(x, kernel, stride, padding):
    P, Q = padding
    return _pool(x, kernel, stride, padding,
                 index=lambda h, w, W, window: (h + P) * (W + 2 * Q) + w + Q)


def _in_the_window(*args):
    return _pool(*args, index=lambda h, w, W, window: window)


def _column_by_column(x, *how):
    return _pool(x, *how, index=lambda h, w, W, window: w * x.shape[2] + h)


def _low_but_not_lowest(x, *how):
    return _pool(x, *how, fill=x.min())


def _starts_at_zero(*args):
    y, indices = max_pool2d(*args)
    return np.maximum(y, 0), indices * (y > 0)


def _columns_first(window):
    """The place of the first maximum, column by column."""
    column, row = divmod(int(window.T.argmax()), window.shape[0])
    return row * window.shape[1] + column


def _wide(x, kernel, stride, padding, rows, columns):
    """`max_pool2d` of maps with (before, after) more rows and columns that never win; the places
    are those of the map itself."""
    room = ((0, 0), (0, 0), rows, columns)
    wide = np.pad(x, room, constant_values=-np.inf)
    y, places = max_pool2d(wide, kernel, stride, (0, 0))
    row, column = np.divmod(places, wide.shape[3])
    return y, (row - rows[0]) * x.shape[3] + column - columns[0]


def _padded_at_the_end(x, kernel, stride, padding):
    return _wide(x, kernel, stride, padding, *((0, 2 * p) for p in padding))


def _end_of_padding_only(x, kernel, stride, padding):
    """The same; of a window without pixels the first place is taken."""
    room = ((0, 0), (0, 0), *((0, 2 * p) for p in padding))
    return _pool(np.pad(x, room, constant_values=-np.inf), kernel, stride, (0, 0),
                 index=lambda h, w, W, window: h * x.shape[3] + w)


def _size_rounded_up(x, kernel, stride, padding):
    room = [(p, p + -(n + 2 * p - k) % s) for n, k, s, p in
            zip(x.shape[2:], kernel, stride, padding)]
    return _wide(x, kernel, stride, padding, *room)


def _step(choose):
    """The size that belongs to the stride, and windows that move by choose(stride)."""
    return lambda x, kernel, stride, padding: _pool(x, kernel, stride, padding,
                                                    step=choose(*stride))


def _indexed(index, **how):
    """Indices by another formula (h, w, H, W, P, Q) of the pixel."""
    return lambda x, kernel, stride, padding: _pool(
        x, kernel, stride, padding, index=lambda h, w, W, window: index(
            h, w, x.shape[2], W, *padding), **how)


def _in_the_part(x, kernel, stride, padding):
    """Indices in what of a window lies on the map."""
    y, indices = max_pool2d(x, kernel, stride, padding)
    for n, c, a, b in np.ndindex(y.shape):
        top, left = (max(k * s - p, 0) for k, s, p in zip((a, b), stride, padding))
        width = min(b * stride[1] - padding[1] + kernel[1], x.shape[3]) - left
        h, w = divmod(int(indices[n, c, a, b]), x.shape[3])
        indices[n, c, a, b] = (h - top) * width + w - left
    return y, indices


def _of_all_planes(x, *how):
    y, indices = max_pool2d(x, *how)
    return y, indices + np.arange(x[:, :, 0, 0].size).reshape(*x.shape[:2], 1, 1) * x[0, 0].size


def _mean_of_pixels(x, kernel, stride, padding):
    y, indices = _mean(x, kernel, stride, padding)
    return y / _mean(np.ones(x.shape), kernel, stride, padding)[0], indices


# ---- mistakes: backward --------------------------------------------------------------------------

def _overwritten(g, indices, shape):
    gx = np.zeros((*shape[:2], shape[2] * shape[3]))
    for n, c, a, b in np.ndindex(g.shape):
        gx[n, c, indices[n, c, a, b]] = g[n, c, a, b]
    return gx.reshape(shape)


def _shared(g, indices, shape):
    count = max_pool2d_backward(np.ones(g.shape), indices, shape)
    return max_pool2d_backward(g, indices, shape) / np.maximum(count, 1)


def _columns(g, indices, shape):
    N, C, H, W = shape
    return max_pool2d_backward(g, indices, (N, C, W, H)).swapaxes(2, 3).copy()


def _first_channel(g, indices, shape):
    return max_pool2d_backward(g, np.broadcast_to(indices[:, :1], indices.shape), shape)


def _across_channels(g, indices, shape):
    gx = np.zeros(shape)
    for n in range(len(g)):
        np.add.at(gx[n].reshape(-1), indices[n].ravel(), g[n].ravel())
    return gx


def _width_of_the_result(g, indices, shape):
    N, C, H, W = shape
    gx = np.zeros(shape)
    for n, c, a, b in np.ndindex(g.shape):
        row, column = divmod(int(indices[n, c, a, b]), g.shape[3])
        if row < H and column < W:
            gx[n, c, row, column] += g[n, c, a, b]
    return gx


def _everywhere(g, indices, shape):
    gx = np.zeros(shape)
    np.add.at(gx.reshape(-1), indices.ravel(), g.ravel())
    return gx


def _first_image(g, indices, shape):
    return max_pool2d_backward(g, np.broadcast_to(indices[:1], indices.shape), shape)


def _divided_by_height(g, indices, shape):
    gx = np.zeros(shape)
    for n, c, a, b in np.ndindex(g.shape):
        row, column = divmod(int(indices[n, c, a, b]), shape[2])
        if row < shape[2] and column < shape[3]:
            gx[n, c, row, column] += g[n, c, a, b]
    return gx


def _row_and_column_exchanged(g, indices, shape):
    gx = np.zeros(shape)
    for n, c, a, b in np.ndindex(g.shape):
        column, row = divmod(int(indices[n, c, a, b]), shape[3])
        if row < shape[2] and column < shape[3]:
            gx[n, c, row, column] += g[n, c, a, b]
    return gx


def _counted(g, indices, shape):
    return max_pool2d_backward(np.ones(g.shape), indices, shape)


def _marked(g, indices, shape):
    return np.minimum(_counted(g, indices, shape), 1)


MISTAKES = (
    Mistake("max_pool2d", "zero-padding", "Where all pixels of a window are negative, the 0 of "
            "your padding wins. The padding must never win.", _zeros_around),
    Mistake("max_pool2d", "last-of-equals", "Of equal values you take the last one; the first one "
            "is asked for. Does > or >= replace a maximum by its equal?", _last_of_equals),
    Mistake("max_pool2d", "padding-ignored", "The image is never padded.", _no_padding),
    Mistake("max_pool2d", "stride-is-the-kernel-size", "Your windows lie side by side. The stride "
            "need not be as large as the window.", _stride_is_kernel),
    Mistake("max_pool2d", "stride-in-size-only", "The stride changes the size of your result, but "
            "in at least one direction the window still moves by one pixel.", _stride_in_size_only),
    Mistake("max_pool2d", "kernel-axes-exchanged", "The window's height and width are exchanged: "
            "kernel_size is (rows, columns).", _axes_exchanged),
    Mistake("max_pool2d", "mean", "Your values are the windows' means: that is average pooling.",
            _mean),
    Mistake("max_pool2d", "indices-of-the-padded-plane", "Your indices count the pixels of the "
            "padded plane. Pixel 0 is the first pixel of the image itself.", _padded_plane),
    Mistake("max_pool2d", "indices-in-the-window", "Your indices count inside the window; they "
            "should count in the whole plane.", _in_the_window),
    Mistake("max_pool2d", "column-by-column", "Your indices count the pixels column by column; "
            "they are counted row by row.", _column_by_column),
    Mistake("max_pool2d_backward", "overlap-overwritten", "Where two windows took the same pixel, "
            "the last g wins in your code. What arrives at one place is summed.", _overwritten),
    Mistake("max_pool2d_backward", "overlap-mean", "Where several windows took the same pixel, you "
            "take the mean of their g.", _shared),
    Mistake("max_pool2d_backward", "column-by-column", "You count the pixels of a plane column by "
            "column; they are counted row by row.", _columns),
    Mistake("max_pool2d_backward", "first-channel-indices", "The first channel's indices are used "
            "for all channels. Each channel found its own maxima.", _first_channel),
    Mistake("max_pool2d_backward", "across-channels", "An index counts within its own plane; in "
            "your result all channels' gradients fall into the first one.", _across_channels),
    Mistake("max_pool2d_backward", "width-of-the-result", "You take an index apart with the width "
            "of y. In which plane does it count?", _width_of_the_result),
    Mistake("max_pool2d", "starts-at-zero", "Where all pixels of a window are negative you answer "
            "0. With what does your maximum begin?", _starts_at_zero),
    Mistake("max_pool2d", "padding-wins", "Where the pixels of a window are low, your padding "
            "wins, or is as high as they are. Which number never wins?",
            lambda *args: _pool(*args, fill=-1e3)),
    Mistake("max_pool2d", "ties-column-by-column", "Of equal values you take the first one column "
            "by column; the first one row by row is asked for.",
            lambda *args: _pool(*args, choose=_columns_first)),
    Mistake("max_pool2d", "padded-at-the-end", "All the padding is below and to the right of the "
            "map. It belongs on all four sides.", _padded_at_the_end),
    Mistake("max_pool2d", "size-rounded-up", "Your last windows reach over the padded map. A size "
            "is rounded down.", _size_rounded_up),
    Mistake("max_pool2d", "last-window-forgotten", "Your result lacks its last row and column. How "
            "many windows of 1 pixel fit on 1 pixel?",
            lambda *args: tuple(one[:, :, :-1, :-1] for one in max_pool2d(*args))),
    Mistake("max_pool2d", "stride-ignored", "Your window moves by one pixel, whatever the stride, "
            "so that the result is too large.",
            given(max_pool2d, 2, lambda stride: (1, 1))),
    Mistake("max_pool2d", "stride-axes-exchanged", "The two strides are exchanged: the first moves "
            "the window down, the second across.",
            given(max_pool2d, 2, lambda stride: stride[::-1])),
    Mistake("max_pool2d", "padding-axes-exchanged", "The two paddings are exchanged: the first is "
            "rows above and below, the second columns on both sides.",
            given(max_pool2d, 3, lambda padding: padding[::-1])),
    Mistake("max_pool2d", "height-for-width", "You multiply the row by the height. How many pixels "
            "has a row?", _indexed(lambda h, w, H, W, P, Q: h * H + w)),
    Mistake("max_pool2d", "indices-of-all-planes", "Your indices count through all channels and "
            "images; they begin again in each plane.", _of_all_planes),
    Mistake("max_pool2d_backward", "first-image-indices", "The first image's indices are used for "
            "all images. Each found its own maxima.", _first_image),
    Mistake("max_pool2d_backward", "height-for-width", "You take an index apart with the height. "
            "How many pixels has a row?", _divided_by_height),
    *(Mistake("max_pool2d_backward", "g-forgotten", "You mark the pixels that were taken. How much "
              "does each of them get?", version) for version in (_marked, _counted)),
)

MISTAKES += versions(MISTAKES, {
    ("max_pool2d", "zero-padding"): (
        _indexed(lambda h, w, H, W, P, Q: (h + P) * (W + 2 * Q) + w + Q, fill=0.0),),
    ("max_pool2d", "padded-at-the-end"): (_end_of_padding_only,),
    ("max_pool2d", "padding-wins"): (_low_but_not_lowest,),
    ("max_pool2d", "starts-at-zero"): (
        lambda *args: (np.maximum(max_pool2d(*args)[0], 0), max_pool2d(*args)[1]),),
    ("max_pool2d", "stride-in-size-only"): (
        _step(lambda S, T: (S, 1)), _step(lambda S, T: (1, T))),
    ("max_pool2d", "kernel-axes-exchanged"): (given(max_pool2d, 1, lambda kernel: kernel[::-1]),),
    ("max_pool2d", "mean"): (_mean_of_pixels,),
    ("max_pool2d", "indices-of-the-padded-plane"): (
        _indexed(lambda h, w, H, W, P, Q: h * (W + 2 * Q) + w),
        _indexed(lambda h, w, H, W, P, Q: (h + P) * W + w + Q)),
    ("max_pool2d", "indices-in-the-window"): (_in_the_part,),
    ("max_pool2d_backward", "across-channels"): (_everywhere,),
    ("max_pool2d_backward", "column-by-column"): (_row_and_column_exchanged,),
})


# ---- cases ---------------------------------------------------------------------------------------

LECTURE = ((120, 150, 120), (100, 50, 110), (25, 25, 10))
TIES = ((3, 1, 2, 2, 0), (1, 3, 1, 2, 3), (3, 0, 3, 1, 3), (3, 3, 2, 3, 1))


def _image(rows, shift):
    """A plane of fixed values, all moved by the same whole number."""
    return np.array(rows, float)[None, None] + float(shift)


def _case(rng, name, sizes, kernel, stride, padding=(0, 0), below=0):
    """A case of sizes N, C, H, W, of whole numbers that begin `below` 0."""
    x, = whole(rng, sizes)
    return Case("max_pool2d", name, (x - below, kernel, stride, padding))


def _low(*args):
    """A case whose first windows see nothing but the lowest number of all."""
    case = _case(*args)
    case.args[0][:, :, 0, :2] = case.args[0].min()
    return case


def _backward(rng, name, sizes, kernel, stride, padding=(0, 0), draw=random):
    """A case of the backward, at the places of such a pooling with one high pixel a plane."""
    x, = whole(rng, sizes)
    x[:, :, sizes[2] // 2, sizes[3] // 2] = x.size
    indices = max_pool2d(x, kernel, stride, padding)[1]
    return Case("max_pool2d_backward", name, (*draw(rng, indices.shape), indices, sizes))


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    lecture = np.array([[[[1, 1], [3, 5]]]])
    return [
        Case("max_pool2d", "the lecture's image",
             (_image(LECTURE, 5 * rng.integers(-3, 20)), (2, 2), (1, 1), (0, 0))),
        Case("max_pool2d", "equal values",
             (_image(TIES, rng.integers(0, 9)), (2, 2), (1, 1), (0, 0))),
        _case(rng, "windows side by side", (1, 2, 4, 6), (2, 3), (2, 3)),
        _case(rng, "windows that overlap, stride (2, 1)", (1, 2, 7, 6), (4, 3), (2, 1)),
        _low(rng, "padding (1, 2), negative values", (1, 3, 5, 6), (2, 4), (1, 1), (1, 2),
             10 ** 6),
        _case(rng, "two images, stride (2, 3), padding (1, 2)", (2, 3, 8, 9), (3, 5), (2, 3),
              (1, 2)),
        Case("max_pool2d_backward", "backward, the lecture's places",
             (*small(rng, (1, 1, 2, 2)), lecture, (1, 1, 3, 3))),
        _backward(rng, "backward, windows side by side", (1, 2, 4, 6), (2, 3), (2, 3)),
        _backward(rng, "backward, windows that overlap", (1, 2, 5, 4), (3, 2), (1, 1)),
        _backward(rng, "backward, two images, stride (2, 1), padding (1, 2)", (2, 3, 7, 8), (3, 5),
                  (2, 1), (1, 2)),
    ]


def _allowed(x, kernel_size, stride, padding):
    """What the task promises of the padding."""
    return all(2 * p <= k for p, k in zip(padding, kernel_size))


def _magnitude(g, indices, input_shape):
    return max_pool2d_backward(np.abs(g), indices, input_shape)


def _terms(g, indices, input_shape):
    return max_pool2d_backward(np.ones(g.shape), indices, input_shape).max()


# ---- the forward of the backward -----------------------------------------------------------------
# It is given the right indices, whatever the student's forward finds, so only one thing of that
# forward matters to it: which index means which pixel. Windows of one pixel tell.

def _calls(g, indices, input_shape):
    x = 1.0 + np.arange(np.prod(input_shape)).reshape(input_shape)
    return [((x / x.size, (1, 1), (1, 1), (0, 0)), (0,))]


def _loss(answer, g, indices, input_shape):
    """g times the pixels of these indices; ValueError where one is none's, or several pixels'."""
    y, places = (part.reshape(*input_shape[:2], -1, 1) for part in answer)
    wanted, g = (part.reshape(*input_shape[:2], 1, -1) for part in (indices, g))
    meant = places == wanted
    if (meant.sum(axis=2) != 1).any():
        raise ValueError("an index that is not one pixel's")
    return float((meant * y * g).sum())


EXERCISE = Exercise(
    name="max_pool2d", title="Max pooling and its gradient",
    lecture="Georgia Tech, Max Unpooling", source="tinyvision/ops/max_pool2d.py",
    functions={"max_pool2d": max_pool2d, "max_pool2d_backward": max_pool2d_backward},
    cases=cases, mistakes=MISTAKES, magnitude={"max_pool2d_backward": _magnitude},
    terms={"max_pool2d_backward": _terms}, domain={"max_pool2d": _allowed},
    forwards={"max_pool2d_backward": Forward("max_pool2d", _calls, _loss)})
