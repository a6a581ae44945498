r"""# RoI pooling

Write `roi_pool` and its gradient `roi_pool_backward`.

Fast R-CNN computes the features of an image once and cuts each proposal (region of interest) out
of them. Proposals have any size, the classifier behind them wants one: the region is divided into
P x Q roughly equal bins, and of each bin the largest value is kept, channel by channel.

$$y_{k,c,p,q} = \max_{(h, w) \in \text{bin}(p, q)} x_{n_k,\,c,\,h,\,w}$$

**Which pixels a bin holds**, along the rows (the columns alike), for a box from y0 to y1:

    start  = round(y0 spatial_scale)      end = round(y1 spatial_scale)
    length = max(end - start + 1, 1)      both end pixels belong to the region
    bin p  = the pixels from  start + floor(p length / P)
             up to, without,  start + ceil((p + 1) length / P)

so bins overlap where P does not divide the length. `round` is to the nearest whole number, also of
negative ones, and halves go away from zero, in both functions: 2.5 to 3, -0.5 to -1, -1.2 to -1.
(NumPy's and Python's `round` go to even numbers, `int` cuts towards zero.) Pixels outside the map
are left out; a bin without a pixel gives 0.

**By hand.** The box (0, 0, 3, 1) on this map, spatial_scale 1, in 1 x 3 bins: the region is 4
pixels wide, the bins are its columns 0 to 1, 1 to 2, 2 to 3 (from floor(4 q / 3) to
ceil(4 (q + 1) / 3)):

    1 7 2 3
    4 5 6 8      gives   7 7 8

**Backward.** Given g = dL/dy: the pixel that was a bin's largest (of equals the first, row by row)
gets that bin's g; what arrives at one pixel is summed. With g = (1, 2, 3) the 7 gets 3, the 8
gets 3.

**Shapes.** x (N, C, H, W), boxes (K, 5) with rows (image, x0, y0, x1, y1) in image pixels,
output_size (P, Q); the result is (K, C, P, Q).
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.bins import APART, a_pixel_longer, edges, floors, not_rounded, outwards
from tinyvision.exercises.draws import random, small, whole
from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions
from tinyvision.exercises.forwards import Forward, untied
from tinyvision.exercises.slips import given, then


def nearest(value):
    """The nearest whole number, halves away from zero."""
    return int(value + np.copysign(0.5, value))


def axis_bins(start, end, bins):
    """The pixels of each bin along one axis, as slices; none is before pixel 0."""
    length = max(nearest(end) - nearest(start) + 1, 1)
    edges = [(p * length // bins, -(-(p + 1) * length // bins)) for p in range(bins)]
    return [slice(*(max(nearest(start) + edge, 0) for edge in pair)) for pair in edges]


def regions(box, output_size, spatial_scale):
    """For each bin (p, q) of a box: p, q and the slices of its rows and columns."""
    x0, y0, x1, y1 = box[1:] * spatial_scale
    rows, columns = axis_bins(y0, y1, output_size[0]), axis_bins(x0, x1, output_size[1])
    return [(p, q, rows[p], columns[q]) for p, q in np.ndindex(output_size)]


def roi_pool(x, boxes, output_size, spatial_scale):
    """The largest value of each of P x Q bins of every box.

    Arguments:
        x: (N, C, H, W) feature maps.
        boxes: (K, 5) rows (image, x0, y0, x1, y1), corners in image pixels.
        output_size: (P, Q), how many bins a box is divided into.
        spatial_scale: map pixels per image pixel, such as 0.0625.

    Returns:
        (K, C, P, Q), 0 where a bin holds no pixel of the map.
    """
    ### BEGIN SOLUTION
    y = np.zeros((len(boxes), x.shape[1], *output_size))
    for k, box in enumerate(boxes):
        for p, q, rows, columns in regions(box, output_size, spatial_scale):
            for c, region in enumerate(x[int(box[0]), :, rows, columns]):
                if region.size:
                    y[k, c, p, q] = region.max()
    return y
    ### END SOLUTION


def roi_pool_backward(g, x, boxes, output_size, spatial_scale):
    """Gradient of a loss with respect to the maps that `roi_pool` read.

    Arguments:
        g: (K, C, P, Q) gradient with respect to the result.
        x, boxes, output_size, spatial_scale: what `roi_pool` was called with.

    Returns:
        (N, C, H, W) gradient with respect to x.
    """
    ### BEGIN SOLUTION
    gx = np.zeros(x.shape)
    for k, box in enumerate(boxes):
        image = int(box[0])
        for p, q, rows, columns in regions(box, output_size, spatial_scale):
            for c, region in enumerate(x[image, :, rows, columns]):
                if region.size:
                    row, column = divmod(region.argmax(), region.shape[1])
                    gx[image, c, rows.start + row, columns.start + column] += g[k, c, p, q]
    return gx
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _half_away(value):
    return np.trunc(value + np.copysign(0.5, value))


def _bins(start, end, bins, size, extra=1, ceil=True):
    """`axis_bins` of corners that are whole already, clipped; another length, other ends."""
    length = max(end - start + extra, 1)
    low = [start + np.floor(p * length / bins) for p in range(bins)]
    high = [start + (np.ceil if ceil else np.floor)((p + 1) * length / bins) for p in range(bins)]
    return np.clip(np.array([low, high]).T, 0, size).astype(int)


def _pool(x, boxes, output_size, spatial_scale, round=_half_away, join=np.max, empty=0.0,
          **how):
    """`roi_pool` with another rounding, another value of a bin (array -> number), other bins."""
    y = np.full((len(boxes), x.shape[1], *output_size), empty)
    for k, box in enumerate(boxes):
        corners = round(box[1:] * spatial_scale)
        rows, columns = (_bins(corners[1 - i], corners[3 - i], output_size[i], x.shape[2 + i],
                               **how) for i in (0, 1))
        for c, p, q in np.ndindex(y.shape[1:]):
            region = x[int(box[0]), c, slice(*rows[p]), slice(*columns[q])]
            if region.size:
                y[k, c, p, q] = join(region)
    return y


def _without_last_pixel(*args):
    return _pool(*args, extra=0)


def _rounded_to_even(*args):
    return _pool(*args, round=np.round)


def _halves_up(*args):
    return _pool(*args, round=lambda corners: np.floor(corners + 0.5))


def _rounded_down(*args):
    return _pool(*args, round=np.floor)


def _apart(*args):
    return _pool(*args, ceil=False)


def _mean(*args):
    return _pool(*args, join=np.mean)


def _empty_infinite(*args):
    return _pool(*args, empty=-np.inf)


def _never_negative(*args):
    return np.maximum(roi_pool(*args), 0)


def _no_scale(x, boxes, output_size, spatial_scale):
    return roi_pool(x, boxes, output_size, 1.0)


def _swapped(x, boxes, *how):
    return roi_pool(x, boxes[:, [0, 2, 1, 4, 3]], *how)


def _first_image(x, boxes, *how):
    return roi_pool(x, boxes * [0, 1, 1, 1, 1], *how)


def _spread(g, x, boxes, output_size, spatial_scale, share=lambda region: 1.0):
    """Every pixel of a bin gets g times a share."""
    gx = np.zeros(x.shape)
    for k, box in enumerate(boxes):
        for p, q, rows, columns in regions(box, output_size, spatial_scale):
            region = gx[int(box[0]), :, rows, columns]
            region += g[k, :, p, q, None, None] * share(region[0])
    return gx


def _to_all(*args):
    return _spread(*args)


def _shared(*args):
    return _spread(*args, share=lambda region: 1 / max(region.size, 1))


def _overwritten(g, x, boxes, output_size, spatial_scale):
    gx = np.zeros(x.shape)
    for k, p, q in np.ndindex(len(boxes), *output_size):
        alone = np.zeros(g.shape)
        alone[k, :, p, q] = g[k, :, p, q]
        mine = roi_pool_backward(alone, x, boxes, output_size, spatial_scale)
        gx = np.where(mine != 0, mine, gx)
    return gx


def _turned(g, x, *how):
    """Of equals the last: first of the map turned by 180 degrees."""
    steps = np.arange(x.size).reshape(x.shape) / (4.0 * x.size)
    return roi_pool_backward(g, x + steps, *how)


def _backward_first_image(g, x, boxes, *how):
    return roi_pool_backward(g, x, boxes * [0, 1, 1, 1, 1], *how)


def _backward_swapped(g, x, boxes, *how):
    return roi_pool_backward(g, x, boxes[:, [0, 2, 1, 4, 3]], *how)


def _backward_no_scale(g, x, boxes, output_size, spatial_scale):
    return roi_pool_backward(g, x, boxes, output_size, 1.0)


# ---- versions: other bins, forward and backward --------------------------------------------------

def _largest(region):
    return {divmod(int(region.argmax()), region.shape[1]): 1.0}


def _read(cut, round=_half_away, bins=edges, **how):
    """((k, p, q), (image, rows, columns)) of every bin, with other bins; `cut` is (x, boxes,
    output_size, spatial_scale)."""
    array, boxes, output_size, spatial_scale = cut
    for k, box in enumerate(boxes):
        corners = round(box[1:] * spatial_scale)
        rows, columns = (bins(corners[1 - i], corners[3 - i], output_size[i], array.shape[2 + i],
                              **how) for i in (0, 1))
        for p, q in np.ndindex(output_size):
            where = int(box[0]), slice(*rows[p]), slice(*columns[q])
            yield (k, p, q), where


def _cut(**how):
    """`roi_pool` with other bins."""
    def pool(*args):
        x, boxes, output_size, _ = args
        y = np.zeros((len(boxes), x.shape[1], *output_size))
        for (k, p, q), (image, rows, columns) in _read(args, **how):
            region = x[image, :, rows, columns]
            y[k, :, p, q] = region.max(axis=(1, 2)) if region.size else 0
        return y
    return pool


def _back(credit=_largest, place=lambda row, column, rows, columns: (
        rows.start + row, columns.start + column), **how):
    """`roi_pool_backward` with other bins, credit(region) -> {(row, column): share of g}, or
    another place of what was found at (row, column) of the region."""
    def back(g, *args):
        x, gx = args[0], np.zeros(args[0].shape)
        for (k, p, q), (image, rows, columns) in _read(args, **how):
            for c, region in enumerate(x[image, :, rows, columns]):
                for found, share in (credit(region) if region.size else {}).items():
                    h, w = place(*found, rows, columns)
                    if h < x.shape[2] and w < x.shape[3]:
                        gx[image, c, h, w] += share * g[k, c, p, q]
        return gx
    return back


def _equals(shared):
    def credit(region):
        best = np.argwhere(region == region.max())
        return {tuple(found): 1 / len(best) if shared else 1.0 for found in best}
    return credit


def _by_the_maps_width(g, x, *rest):
    """argmax taken apart with the width of the map."""
    def credit(region):
        return {divmod(int(region.argmax()), x.shape[3]): 1.0}
    return _back(credit)(g, x, *rest)


def _transposed_bins(x, boxes, output_size, spatial_scale):
    return roi_pool(x, boxes, output_size[::-1], spatial_scale)


def _as_sizes(boxes):
    """x1 and y1 read as the box's width and height."""
    return np.concatenate([boxes[:, :3], boxes[:, 1:3] + boxes[:, 3:]], axis=1)


def _slices_exchanged(function, boxes_at, size_at, *answers):
    """Rows read with the slices of columns: x and y are exchanged, the bins are not."""
    def wrong(*args):
        args = [a.swapaxes(2, 3) if i in answers else a for i, a in enumerate(args)]
        args[boxes_at] = args[boxes_at][:, [0, 2, 1, 4, 3]]
        args[size_at] = args[size_at][::-1]
        y = function(*args)
        return y if answers else y.swapaxes(2, 3)
    return wrong


def _from_zero(start, end, *rest, **how):
    return edges(0, end - start, *rest, **how)


def _by_the_bins_height(region):
    row, column = divmod(int(region.argmax()), region.shape[0])
    return {(row, column): 1.0}


EITHER_WAY = {          # versions that the forward and the backward share: other bins
    "rounded-down": (dict(round=np.trunc),),
    "bins-apart": tuple(dict(edge=apart) for apart in APART),
}
BIN_MISTAKES = (        # further ones: name, hint, what is different
    ("least-size-forgotten", "A region turned inside out has a length of 1 pixel at least.",
     (dict(least=-np.inf),)),
    ("rounded-outwards", "You round the upper left corner down and the lower right one up. Both "
     "are rounded to the nearest whole number.", (dict(round=outwards),)),
    ("not-rounded", "You divide the region before its corners are rounded, as later methods do. "
     "RoI pooling rounds first.",
     tuple(dict(round=lambda corners: corners, bins=not_rounded, extra=k) for k in (0, 1))),
    ("negative-corners-cut", "Corners before pixel 0 go wrong: int(v + 1/2) cuts towards zero, so "
     "-1.2 becomes 0. The nearest whole number is -1.",
     (dict(round=lambda corners: np.trunc(corners + 0.5)),)),
    ("bins-too-long", "Your bins hold a pixel too many: a bin's end does not belong to it.",
     (dict(edge=a_pixel_longer),)),
    ("start-forgotten", "Your bins are counted from the map's first pixel. Where does the region "
     "begin?", (dict(bins=_from_zero),)),
    ("negative-slices", "A slice that begins before pixel 0 counts from the map's other end in "
     "NumPy. What lies outside is left out.", (dict(clip=False),)),
)
FORWARD_BINS = (        # the backward of mistakes whose forward is above
    ("last-pixel-left-out", "Your regions are a pixel too short: the pixels `start` and `end` both "
     "belong to the region.", dict(extra=0)),
    ("rounded-to-even", "A corner at 2.5 becomes 2 in your code. np.round goes to the even "
     "neighbour; here halves go away from zero, as in the forward.", dict(round=np.round)),
    ("halves-up", "A corner at -0.5 becomes 0 in your code: floor(v + 1/2) rounds halves up. They "
     "go away from zero, as in the forward.",
     dict(round=lambda corners: np.floor(corners + 0.5))),
    ("rounded-down", "You cut corners off to whole numbers. They are rounded to the nearest one.",
     dict(round=np.floor)),
    ("bins-apart", "Your bins never overlap. Where the length is not divisible, a bin ends at the "
     "next whole pixel.", dict(edge=floors)),
)


MISTAKES = (
    Mistake("roi_pool", "last-pixel-left-out", "Your regions are a pixel too short: the pixels "
            "`start` and `end` both belong to the region.", _without_last_pixel),
    Mistake("roi_pool", "rounded-to-even", "A corner at 2.5 becomes 2 in your code. np.round goes "
            "to the even neighbour; here halves go away from zero.", _rounded_to_even),
    Mistake("roi_pool", "halves-up", "A corner at -0.5 becomes 0 in your code: floor(v + 1/2) "
            "rounds halves up. They go away from zero.", _halves_up),
    Mistake("roi_pool", "rounded-down", "You cut corners off to whole numbers. They are rounded to "
            "the nearest one.", _rounded_down),
    Mistake("roi_pool", "bins-apart", "Your bins never overlap. Where the length is not divisible, "
            "a bin ends at the next whole pixel: one end is rounded down, the other up.", _apart),
    Mistake("roi_pool", "mean", "You take a bin's mean; RoI pooling takes its largest value.",
            _mean),
    Mistake("roi_pool", "empty-bins-infinite", "A bin without a pixel gives minus infinity in your "
            "code. It should give 0.", _empty_infinite),
    Mistake("roi_pool", "never-negative", "Where all of a bin's values are negative you answer 0. "
            "With what does your maximum begin?", _never_negative),
    Mistake("roi_pool", "scale-forgotten", "The boxes are given in image pixels. How large is the "
            "map?", _no_scale),
    Mistake("roi_pool", "xy-swapped", "x and y are exchanged: x counts "
            "columns. Which of them comes first in a box here?", _swapped),
    Mistake("roi_pool", "first-image", "All boxes read the first image. What is the first number "
            "of a box's row?", _first_image),
    Mistake("roi_pool_backward", "to-all-pixels", "Every pixel of a bin gets its g. Which of them "
            "would change the answer if it grew a little?", _to_all),
    Mistake("roi_pool_backward", "shared-equally", "You share a bin's g among its pixels: that is "
            "the gradient of a mean.", _shared),
    Mistake("roi_pool_backward", "overwritten", "A pixel can be the largest of several bins and "
            "boxes. In your code only the last one's g counts.", _overwritten),
    Mistake("roi_pool_backward", "last-of-equals", "Of equal values the last one gets the gradient "
            "in your code; the first one was taken.", _turned),
    Mistake("roi_pool_backward", "first-image", "All gradients go to the first image. What is the "
            "first number of a box's row?", _backward_first_image),
    Mistake("roi_pool_backward", "xy-swapped", "x and y are exchanged: x counts "
            "columns. Which of them comes first in a box here?", _backward_swapped),
    Mistake("roi_pool_backward", "scale-forgotten", "The boxes are given in image pixels. How "
            "large is the map?", _backward_no_scale),
    *(Mistake("roi_pool", name, hint, _cut(**how))
      for name, hint, several in BIN_MISTAKES for how in several),
    *(Mistake("roi_pool", "bins-exchanged", "The numbers of bins are exchanged: output_size is "
              "(down, across).", version)
      for version in (_transposed_bins, then(_transposed_bins, lambda y: y.swapaxes(2, 3)))),
    Mistake("roi_pool", "corners-as-sizes", "You read x1 and y1 as a width and a height; they are "
            "the lower right corner.", given(roi_pool, 1, _as_sizes)),
    *(Mistake("roi_pool_backward", name, hint, _back(**how)) for name, hint, how in FORWARD_BINS),
    *(Mistake("roi_pool_backward", name, hint, _back(**how))
      for name, hint, several in BIN_MISTAKES for how in several),
    *(Mistake("roi_pool_backward", "to-all-equals", "All values that equal a bin's largest get its "
              "g. Only the first one was taken.", _back(_equals(shared)))
      for shared in (False, True)),
    Mistake("roi_pool_backward", "offset-forgotten", "argmax counts from the beginning of the bin. "
            "Where in the map is that?",
            _back(place=lambda row, column, *where: (row, column))),
    *(Mistake(function.__name__, "corners-misread", "A row of boxes is the image's "
              "number and two corners, not two intervals.",
              given(function, at, lambda boxes: boxes[:, [0, 1, 3, 2, 4]]))
      for function, at in ((roi_pool, 1), (roi_pool_backward, 2))),
    Mistake("roi_pool_backward", "height-for-width", "You take an index of the bin apart with its "
            "height. How many pixels has a row of the bin?", _back(_by_the_bins_height)),
    Mistake("roi_pool_backward", "width-of-the-map", "You take an index of the bin apart with the "
            "width of the map. How wide is the bin?", _by_the_maps_width),
)

MISTAKES += versions(MISTAKES, {
    ("roi_pool", "xy-swapped"): (_slices_exchanged(roi_pool, 1, 2),),
    ("roi_pool_backward", "xy-swapped"): (_slices_exchanged(roi_pool_backward, 2, 3, 0),),
    ("roi_pool", "scale-forgotten"): (given(roi_pool, 3, lambda scale: 1 / scale),),
    ("roi_pool_backward", "scale-forgotten"): (
        given(roi_pool_backward, 4, lambda scale: 1 / scale),),
    **{("roi_pool", name): tuple(_cut(**how) for how in several)
       for name, several in EITHER_WAY.items()},
    **{("roi_pool_backward", name): tuple(_back(**how) for how in several)
       for name, several in EITHER_WAY.items()},
})


# ---- cases ---------------------------------------------------------------------------------------
# Corners are whole numbers of map pixels, moved by three eighths or not at all: exact in float32,
# and every way to compute them rounds alike. Only the cases about halves have halves; of four
# channels, because a bin that is a pixel shorter often has the same largest value.

INSIDE = ((0, 1, 0, 5, 5), (1, 0, 2, 3, 6), (0, 2, 1, 6, 4))
OVER = ((0, -3, -2, 2, 3), (0, 4, 3, 9, 8), (0, -5, -6, -3, -2), (0, 1, 8, 4, 11), (0, 6, 1, 12, 3))
ODD = ((1, 4, 3, 4, 3), (0, 5, 4, 2, 1), (1, 0, 1, 6, 7), (0, 1, 2, 5, 4), (1, 0, 3, 4, 7))
HALVES = ((0, 0.5, 1.5, 4.5, 2.5), (0, -0.5, 0.5, 2.5, 3.5), (0, 1.5, -1.5, 3.5, 4.5))


def _rois(rng, rows, scale, jitter=True):
    """Boxes in image pixels, from rows in map pixels, moved by 3/8 of a map pixel at most."""
    boxes = np.array(rows, float)
    boxes[:, 1:] += rng.integers(-1, 2, (len(boxes), 4)) * 0.375 * jitter
    boxes[:, 1:] /= scale
    return boxes


def _case(rng, name, sizes, rows, output_size, scale=1.0, below=0, backward=False, jitter=True,
          points=1.0):
    """A case of sizes N, C, H, W, of whole numbers that begin `below` 0."""
    x, = whole(rng, sizes)
    args = (x - below, _rois(rng, rows, scale, jitter), output_size, scale)
    if not backward:
        return Case("roi_pool", name, args, points)
    g, = random(rng, (len(rows), sizes[1], *output_size))
    return Case("roi_pool_backward", name, (g, *args), points)


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    wide, ties = np.array([[0.0, 0, 0, 3, 1]]), np.array([[2, 5, 5, 1], [5, 2, 3, 5]])
    same = ties[None, None] + float(rng.integers(0, 9))
    return [
        Case("roi_pool", "one box in three bins",
             (*small(rng, (1, 1, 2, 4)), wide, (1, 3), 1.0)),
        _case(rng, "bins of several channels", (2, 3, 8, 7), INSIDE, (2, 4)),
        _case(rng, "corners at halves, scale one half", (1, 4, 6, 7), HALVES, (2, 3), 0.5,
              jitter=False),
        _case(rng, "over the border and outside, negative values", (1, 2, 6, 7), OVER, (3, 2),
              below=60),
        _case(rng, "more bins than pixels, boxes turned inside out", (2, 2, 8, 7), ODD, (5, 3)),
        _case(rng, "two images, scale one sixteenth", (2, 3, 9, 8), INSIDE + ODD, (3, 4), 0.0625),
        Case("roi_pool_backward", "backward, one box, equal values",
             (*small(rng, (1, 1, 1, 3)), same, wide, (1, 3), 1.0), 0.5),
        _case(rng, "backward, bins of several channels", (2, 3, 8, 7), INSIDE, (2, 4),
              backward=True),
        _case(rng, "backward, corners at halves, scale one half", (1, 4, 6, 7), HALVES, (2, 3), 0.5,
              backward=True, jitter=False, points=0.5),
        _case(rng, "backward, over the border and outside", (1, 2, 6, 7), OVER, (3, 2), 0.5,
              backward=True),
        _case(rng, "backward, two images, scale one sixteenth", (2, 3, 9, 8), INSIDE + ODD, (3, 4),
              0.0625, backward=True),
    ]


def _magnitude(g, x, *how):
    return roi_pool_backward(np.abs(g), x, *how)


def _terms(g, x, *how):
    return roi_pool_backward(np.ones(g.shape), x, *how).max()


def _calls(g, x, *how):
    """The call of the forward of a backward; see `forwards.Forward`."""
    return [((untied(x), *how), (0,))]


EXERCISE = Exercise(
    name="roi_pool", title="RoI pooling and its gradient",
    lecture="UW, Cropping Features: RoI Pool", source="tinyvision/ops/roi_pool.py",
    functions={"roi_pool": roi_pool, "roi_pool_backward": roi_pool_backward},
    cases=cases, mistakes=MISTAKES, magnitude={"roi_pool_backward": _magnitude},
    terms={"roi_pool_backward": _terms},
    forwards={"roi_pool_backward": Forward("roi_pool", _calls)})
