r"""# Max unpooling

Write `max_unpool2d` and its gradient `max_unpool2d_backward`.

Max pooling remembers where each maximum was. Unpooling, in the decoder, puts values back to those
places and leaves zero everywhere else:

$$y_{n,c}[\,p\,] = \sum_{a,b\,:\; \text{indices}_{n,c,a,b} = p} x_{n,c,a,b}$$

where p counts the pixels of one plane of H x W row by row: pixel (h, w) is p = h W + w.

**By hand** (the lecture's example). A 2x2 max pool with stride 1 of

    120 150 120
    100  50 110     gives    150 150     found at pixels    1 1
     25  25  10              100 110                        3 5

Both upper windows found the same maximum. Unpooling

    300 450                        0  750    0
    100 250     to 3x3 gives     100    0  250
                                   0    0    0

because values that share a place are **summed** (300 + 450 = 750). Libraries differ here:
PyTorch keeps one of them.

**Backward.** Given g = dL/dy: each x went to one place, with weight 1. What comes back from there?

**Shapes.** x and indices (N, C, A, B), indices int64; output_size = (H, W); y (N, C, H, W).
The backward takes g (N, C, H, W) and indices, and returns (N, C, A, B).
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.bounds import absolute
from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions
from tinyvision.exercises.forwards import Forward, inputs


def max_unpool2d(x, indices, output_size):
    """Put values back to where the maxima were; values that share a place are summed.

    Arguments:
        x: (N, C, A, B) values.
        indices: (N, C, A, B) int64, each value's place in its plane: row * W + column.
        output_size: (H, W).

    Returns:
        (N, C, H, W), zero where no value was put.
    """
    ### BEGIN SOLUTION
    N, C = x.shape[:2]
    H, W = output_size
    y = np.zeros((N, C, H, W))
    for n, c, a, b in np.ndindex(x.shape):
        row, column = divmod(indices[n, c, a, b], W)
        y[n, c, row, column] += x[n, c, a, b]
    return y
    ### END SOLUTION


def max_unpool2d_backward(g, indices):
    """Gradient of a loss with respect to the values that `max_unpool2d` put back.

    Arguments:
        g: (N, C, H, W) gradient with respect to the result.
        indices: (N, C, A, B) int64, what `max_unpool2d` was called with.

    Returns:
        (N, C, A, B) gradient with respect to x.
    """
    ### BEGIN SOLUTION
    W = g.shape[3]
    gx = np.empty(indices.shape)
    for n, c, a, b in np.ndindex(indices.shape):
        row, column = divmod(indices[n, c, a, b], W)
        gx[n, c, a, b] = g[n, c, row, column]
    return gx
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _put(x, indices, output_size, join):
    """Unpool with another rule for a place that already holds something: join(old, new)."""
    N, C = x.shape[:2]
    y, taken = np.zeros((N, C, output_size[0] * output_size[1])), set()
    for n, c, a, b in np.ndindex(x.shape):
        place = (n, c, indices[n, c, a, b])
        y[place] = join(y[place], x[n, c, a, b]) if place in taken else x[n, c, a, b]
        taken.add(place)
    return y.reshape(N, C, *output_size)


def _overwritten(x, indices, output_size):
    return _put(x, indices, output_size, lambda old, new: new)


def _first_wins(x, indices, output_size):
    return _put(x, indices, output_size, lambda old, new: old)


def _maximum(x, indices, output_size):
    return _put(x, indices, output_size, max)


def _mean(x, indices, output_size):
    count = max_unpool2d(np.ones(x.shape), indices, output_size)
    return max_unpool2d(x, indices, output_size) / np.maximum(count, 1)


def _column_by_column(x, indices, output_size):
    H, W = output_size
    return max_unpool2d(x, indices, (W, H)).swapaxes(2, 3).copy()


def _first_channel_indices(x, indices, output_size):
    return max_unpool2d(x, np.broadcast_to(indices[:, :1], x.shape), output_size)


def _across_channels(x, indices, output_size):
    y = np.zeros((*x.shape[:2], *output_size))
    for n in range(len(x)):
        np.add.at(y[n].reshape(-1), indices[n].ravel(), x[n].ravel())
    return y


def _bed_of_nails(x, indices, output_size):
    (A, B), (H, W) = x.shape[2:], output_size
    y = np.zeros((*x.shape[:2], H, W))
    y[:, :, :A * (H // A):H // A, :B * (W // B):W // B] = x
    return y


def _shared_equally(g, indices):
    count = max_unpool2d(np.ones(indices.shape), indices, g.shape[2:])
    return max_unpool2d_backward(g / np.maximum(count, 1), indices)


def _last_only(g, indices):
    order = np.arange(indices.size, dtype=float).reshape(indices.shape) + 1
    last = max_unpool2d_backward(_overwritten(order, indices, g.shape[2:]), indices)
    return max_unpool2d_backward(g, indices) * (last == order)


def _backward_column_by_column(g, indices):
    return max_unpool2d_backward(g.swapaxes(2, 3).copy(), indices)


def _backward_first_channel(g, indices):
    return max_unpool2d_backward(g, np.broadcast_to(indices[:, :1], indices.shape))


def _summed_over_shared(g, indices):
    count = max_unpool2d(np.ones(indices.shape), indices, g.shape[2:])
    return max_unpool2d_backward(g * count, indices)


def _at(indices, width, size):
    """(place, row, column) of each index taken apart with a width, where that is in the plane."""
    for place in np.ndindex(indices.shape):
        row, column = divmod(int(indices[place]), width)
        if row < size[0] and column < size[1]:
            yield place, row, column


def _taken_apart(width):
    """Unpool with the width width(x, output_size) for the index."""
    def unpool(x, indices, output_size):
        y = np.zeros((*x.shape[:2], *output_size))
        for place, row, column in _at(indices, width(x, output_size), output_size):
            y[*place[:2], row, column] += x[place]
        return y
    return unpool


def _backward_taken_apart(width):
    """The backward with the width width(indices, size) for the index."""
    def back(g, indices):
        gx = np.zeros(indices.shape)
        for place, row, column in _at(indices, width(indices, g.shape[2:]), g.shape[2:]):
            gx[place] = g[*place[:2], row, column]
        return gx
    return back


def _above_zero(x, indices, output_size):
    return _put(np.maximum(x, 0), indices, output_size, max)


def _everywhere(x, indices, output_size):
    y = np.zeros((*x.shape[:2], *output_size))
    np.add.at(y.reshape(-1), indices.ravel(), x.ravel())
    return y


def _first_image_indices(x, indices, output_size):
    return max_unpool2d(x, np.broadcast_to(indices[:1], x.shape), output_size)


def _size_exchanged(x, indices, output_size):
    return max_unpool2d(x, indices, output_size).reshape(*x.shape[:2], *output_size[::-1])


def _backward_first_image(g, indices):
    return max_unpool2d_backward(g, np.broadcast_to(indices[:1], indices.shape))


def _from_first_plane(g, indices):
    return max_unpool2d_backward(np.repeat(g[:, :1], g.shape[1], axis=1), indices)


def _from_first_image(g, indices):
    return g.ravel()[indices]


MISTAKES = (
    Mistake("max_unpool2d", "overlap-overwritten", "Where two values have the same place, the last "
            "one wins in your code. What does the lecture do with 300 and 450? (y[places] += x "
            "adds only once at a place that occurs twice.)", _overwritten),
    Mistake("max_unpool2d", "overlap-first-wins", "Where two values have the same place, only the "
            "first one counts in your code.", _first_wins),
    Mistake("max_unpool2d", "overlap-maximum", "Where two values have the same place, you keep the "
            "larger. The maximum belongs to the pooling.", _maximum),
    Mistake("max_unpool2d", "overlap-mean", "Where two values have the same place, you take their "
            "mean.", _mean),
    Mistake("max_unpool2d", "column-by-column", "You count the pixels of a plane column by column; "
            "they are counted row by row.", _column_by_column),
    Mistake("max_unpool2d", "first-channel-indices", "The first channel's indices are used for all "
            "channels. Each channel found its own maxima.", _first_channel_indices),
    Mistake("max_unpool2d", "across-channels", "An index counts within its own plane; in your "
            "result all channels fall into the first one.", _across_channels),
    Mistake("max_unpool2d", "bed-of-nails", "You put each value into its window's first pixel, as "
            "the bed of nails does, and never look at the indices.", _bed_of_nails),
    Mistake("max_unpool2d_backward", "shared-equally", "Values that share a place share its "
            "gradient in your code. How does the sum change when one of them grows by 1?",
            _shared_equally),
    Mistake("max_unpool2d_backward", "last-only", "Of values that share a place only the last gets "
            "a gradient in your code. Did the others not go into the sum?", _last_only),
    Mistake("max_unpool2d_backward", "column-by-column", "You count the pixels of a plane column "
            "by column; they are counted row by row.", _backward_column_by_column),
    Mistake("max_unpool2d_backward", "first-channel-indices", "The first channel's indices are "
            "used for all channels.", _backward_first_channel),
    Mistake("max_unpool2d_backward", "shared-multiplied", "Where values share a place, your "
            "gradient is multiplied by their number.", _summed_over_shared),
    Mistake("max_unpool2d", "first-image-indices", "The first image's indices are used for all "
            "images. Each found its own maxima.", _first_image_indices),
    Mistake("max_unpool2d", "height-for-width", "You take an index apart with the height. How many "
            "pixels has a row?", _taken_apart(lambda x, size: size[0])),
    Mistake("max_unpool2d", "width-of-x", "You take an index apart with the width of x. In which "
            "plane does it count?", _taken_apart(lambda x, size: x.shape[3])),
    Mistake("max_unpool2d", "size-exchanged", "The new height and width are exchanged: output_size "
            "is (rows, columns).", _size_exchanged),
    *(Mistake("max_unpool2d_backward", "across-channels", "An index counts within its own plane; "
              "you read all of them in the first one.", version)
      for version in (_from_first_plane, _from_first_image)),
    Mistake("max_unpool2d_backward", "first-image-indices", "The first image's indices are used "
            "for all images.", _backward_first_image),
    Mistake("max_unpool2d_backward", "height-for-width", "You take an index apart with the height. "
            "How many pixels has a row?", _backward_taken_apart(lambda indices, size: size[0])),
    Mistake("max_unpool2d_backward", "width-of-x", "You take an index apart with the width of the "
            "indices. In which plane do they count?",
            _backward_taken_apart(lambda indices, size: indices.shape[3])),
)

MISTAKES += versions(MISTAKES, {
    ("max_unpool2d", "overlap-maximum"): (_above_zero,),
    ("max_unpool2d", "across-channels"): (_everywhere,),
})


# ---- cases ---------------------------------------------------------------------------------------

def _windows(rng, N, C, size, kernel, stride):
    """Places of the maxima of random planes, with one peak at a pixel of several windows (if
    windows overlap): the indices of a max pool."""
    H, W = size
    planes = rng.permuted(np.tile(np.arange(H * W), (N, C, 1)), axis=2).reshape(N, C, H, W)
    planes[:, :, stride, stride] = H * W
    A, B = ((n - k) // stride + 1 for n, k in zip(size, kernel))
    indices = np.zeros((N, C, A, B), np.int64)
    for n, c, a, b in np.ndindex(indices.shape):
        top, left = a * stride, b * stride
        window = planes[n, c, top:top + kernel[0], left:left + kernel[1]]
        row, column = np.unravel_index(window.argmax(), window.shape)
        indices[n, c, a, b] = (top + row) * W + left + column
    return indices


def _case(rng, name, sizes, kernel, stride, backward=False):
    """A case of sizes N, C, H, W: the unpooling of such a max pool."""
    N, C, *size = sizes
    indices = _windows(rng, N, C, size, kernel, stride)
    if backward:
        return Case("max_unpool2d_backward", name, (rng.standard_normal(sizes), indices))
    return Case("max_unpool2d", name, (rng.standard_normal(indices.shape), indices, tuple(size)))


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    def small(*shape):
        return rng.permutation(np.arange(1.0, 8 + np.prod(shape)))[:np.prod(shape)].reshape(shape)
    lecture = np.array([[[[1, 1], [3, 5]]]])
    values = rng.permutation([300.0, 450.0, 100.0, 250.0]).reshape(1, 1, 2, 2)
    return [
        Case("max_unpool2d", "one row", (small(1, 1, 1, 2), np.array([[[[1, 3]]]]), (2, 3))),
        Case("max_unpool2d", "the lecture's places", (values, lecture, (3, 3))),
        _case(rng, "windows side by side", (1, 2, 4, 6), (2, 2), 2),
        _case(rng, "windows that overlap", (1, 2, 5, 4), (3, 2), 1),
        _case(rng, "pixels that no window covers", (1, 3, 7, 5), (2, 2), 2),
        _case(rng, "two images, several channels", (2, 3, 7, 8), (4, 5), 1),
        Case("max_unpool2d_backward", "backward, one row",
             (small(1, 1, 2, 3), np.array([[[[1, 3]]]]))),
        Case("max_unpool2d_backward", "backward, the lecture's places",
             (small(1, 1, 3, 3), lecture.copy())),
        _case(rng, "backward, windows that overlap", (1, 2, 5, 4), (3, 2), 1, backward=True),
        _case(rng, "backward, two images", (2, 3, 7, 8), (4, 5), 1, backward=True),
    ]


def _terms(x, indices, output_size):
    return max_unpool2d(np.ones(x.shape), indices, output_size).max()


def _calls(g, indices):
    """Calls of the forward of a backward; see `forwards.Forward`."""
    return [((x, indices, g.shape[2:]), (0,)) for x in inputs(indices.shape)]


EXERCISE = Exercise(
    name="max_unpool2d", title="Max unpooling and its gradient",
    lecture="Georgia Tech, Max Unpooling", source="tinyvision/ops/max_pool2d.py",
    functions={"max_unpool2d": max_unpool2d, "max_unpool2d_backward": max_unpool2d_backward},
    cases=cases, mistakes=MISTAKES,
    magnitude={f.__name__: absolute(f) for f in (max_unpool2d, max_unpool2d_backward)},
    terms={"max_unpool2d": _terms, "max_unpool2d_backward": lambda g, indices: 1},
    forwards={"max_unpool2d_backward": Forward("max_unpool2d", _calls)})
