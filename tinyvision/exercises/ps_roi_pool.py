r"""# Position-sensitive RoI pooling

Write `ps_roi_pool` and its gradient `ps_roi_pool_backward`.

In R-FCN nothing with parameters comes behind the pooling: the maps themselves know positions.
For every output channel there are P Q maps, one for each bin: one learns to fire on the upper left
part of a person, one on the upper middle part, and so on. Bin (p, q) reads only its own map and
takes the mean of its pixels:

$$y_{k,c,p,q} = \frac{1}{|\text{bin}(p, q)|} \sum_{(h, w) \in \text{bin}(p, q)}
x_{n_k,\;(c P + p) Q + q,\;h,\;w}$$

**Which pixels a bin holds**, along the rows (the columns alike), for a box from y0 to y1:

    start  = round(y0 spatial_scale)      end = round(y1 spatial_scale)
    length = max(end - start, 1)          the pixel at the end does not belong to the region
    bin p  = the pixels from  start + floor(p length / P)
             up to, without,  start + ceil((p + 1) length / P)

Halves are rounded away from zero (2.5 to 3). Pixels outside the map are left out, and so are those
of its last row and last column (torchvision's choice, which we follow). A bin without a pixel
gives 0.

**By hand.** One output channel in 1 x 2 bins, so two maps; the box (0, 0, 4, 1), scale 1:

    map 0   1 3 5 7 9     map 1   2 4 6 8 9     the left bin holds the first row's columns 0 and 1,
            0 0 0 0 0             0 0 0 0 0     the right bin its columns 2 and 3

    left bin, from map 0: (1 + 3) / 2 = 2       right bin, from map 1: (6 + 8) / 2 = 7

**Backward.** Given g = dL/dy: each pixel of a bin gets the bin's g divided by the number of its
pixels, in the map that the bin read; what arrives at one pixel is summed.

**Shapes.** x (N, C P Q, H, W), boxes (K, 5) with rows (image, x0, y0, x1, y1) in image pixels,
output_size (P, Q); the result is (K, C, P, Q). The backward returns input_shape = (N, C P Q, H, W).
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.bins import APART, a_pixel_longer, edges, floors, not_rounded, outwards
from tinyvision.exercises.draws import random, small
from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions
from tinyvision.exercises.forwards import Forward, inputs
from tinyvision.exercises.slips import given


def nearest(value):
    """The nearest whole number, halves away from zero."""
    return int(value + np.copysign(0.5, value))


def axis_bins(start, end, bins, size):
    """The pixels of each bin along one axis, as slices of 0 to size - 1."""
    length = max(nearest(end) - nearest(start), 1)
    edges = [(p * length // bins, -(-(p + 1) * length // bins)) for p in range(bins)]
    return [slice(*(min(max(nearest(start) + edge, 0), size - 1) for edge in pair))
            for pair in edges]


def regions(box, size, output_size, spatial_scale):
    """For each bin (p, q) of a box: p, q and the slices of its rows and columns."""
    x0, y0, x1, y1 = box[1:] * spatial_scale
    rows = axis_bins(y0, y1, output_size[0], size[0])
    columns = axis_bins(x0, x1, output_size[1], size[1])
    return [(p, q, rows[p], columns[q]) for p, q in np.ndindex(output_size)]


def ps_roi_pool(x, boxes, output_size, spatial_scale):
    """The mean of each of P x Q bins of every box, each bin in maps of its own.

    Arguments:
        x: (N, C P Q, H, W) feature maps.
        boxes: (K, 5) rows (image, x0, y0, x1, y1), corners in image pixels.
        output_size: (P, Q), how many bins a box is divided into.
        spatial_scale: map pixels per image pixel, such as 0.0625.

    Returns:
        (K, C, P, Q), 0 where a bin holds no pixel.
    """
    ### BEGIN SOLUTION
    (N, D, H, W), (P, Q) = x.shape, output_size
    maps = x.reshape(N, D // (P * Q), P, Q, H, W)
    y = np.zeros((len(boxes), D // (P * Q), P, Q))
    for k, box in enumerate(boxes):
        for p, q, rows, columns in regions(box, (H, W), output_size, spatial_scale):
            for c, region in enumerate(maps[int(box[0]), :, p, q, rows, columns]):
                if region.size:
                    y[k, c, p, q] = region.mean()
    return y
    ### END SOLUTION


def ps_roi_pool_backward(g, boxes, input_shape, output_size, spatial_scale):
    """Gradient of a loss with respect to the maps that `ps_roi_pool` read.

    Arguments:
        g: (K, C, P, Q) gradient with respect to the result.
        boxes: what `ps_roi_pool` was called with.
        input_shape: (N, C P Q, H, W), the shape of x.
        output_size, spatial_scale: what `ps_roi_pool` was called with.

    Returns:
        (N, C P Q, H, W) gradient with respect to x.
    """
    ### BEGIN SOLUTION
    (N, D, H, W), (P, Q) = input_shape, output_size
    gx = np.zeros(input_shape)
    gmaps = gx.reshape(N, D // (P * Q), P, Q, H, W)         # a view: what is added arrives in gx
    for k, box in enumerate(boxes):
        for p, q, rows, columns in regions(box, (H, W), output_size, spatial_scale):
            for c, region in enumerate(gmaps[int(box[0]), :, p, q, rows, columns]):
                if region.size:
                    region += g[k, c, p, q] / region.size
    return gx
    ### END SOLUTION


# ---- mistakes: which map a bin reads -------------------------------------------------------------

def _reordered(x, output_size, order):
    """x with its maps where a solution that reads them in another order would find them."""
    N, D, H, W = x.shape
    P, Q = output_size
    places = order(np.arange(D), D // (P * Q), P, Q)
    return x[:, places]


def _bin_first(d, C, P, Q):
    return d.reshape(P, Q, C).transpose(2, 0, 1).ravel()


def _columns_first(d, C, P, Q):
    return d.reshape(C, Q, P).transpose(0, 2, 1).ravel()


def _first_maps(d, C, P, Q):
    return np.repeat(d[:C], P * Q)


def _first_of_group(d, C, P, Q):
    return d // (P * Q) * (P * Q)


def _reads(order):
    def pool(x, boxes, output_size, spatial_scale):
        return ps_roi_pool(_reordered(x, output_size, order), boxes, output_size, spatial_scale)
    return pool


def _writes(order):
    def back(g, boxes, input_shape, output_size, spatial_scale):
        gx, right = np.zeros(input_shape), ps_roi_pool_backward(g, boxes, input_shape, output_size,
                                                                spatial_scale)
        places = order(np.arange(input_shape[1]), g.shape[1], *output_size)
        np.add.at(gx, (slice(None), places), right)
        return gx
    return back


# ---- mistakes: the bins --------------------------------------------------------------------------

def _rounded(round, end=0.0):
    """The pooling with another rounding, regions longer by `end`."""
    def pool(x, boxes, output_size, spatial_scale):
        whole = round(boxes[:, 1:] * spatial_scale) + [0, 0, end, end]
        boxes = np.concatenate([boxes[:, :1], whole / spatial_scale], axis=1)
        return ps_roi_pool(x, boxes, output_size, spatial_scale)
    return pool


def _half_away(value):
    return np.trunc(value + np.copysign(0.5, value))


def _halves_up(value):
    return np.floor(value + 0.5)


def _whole_map(x, boxes, output_size, spatial_scale):
    wide = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)))
    return ps_roi_pool(wide, boxes, output_size, spatial_scale)


def _joined(join):
    """The pooling with another value of a bin (array -> number)."""
    def pool(x, boxes, output_size, spatial_scale):
        (N, D, H, W), (P, Q) = x.shape, output_size
        maps = x.reshape(N, -1, P, Q, H, W)
        y = np.zeros((len(boxes), maps.shape[1], P, Q))
        for k, box in enumerate(boxes):
            for p, q, rows, columns in regions(box, (H, W), output_size, spatial_scale):
                for c, region in enumerate(maps[int(box[0]), :, p, q, rows, columns]):
                    y[k, c, p, q] = join(region)
        return y
    return pool


def _mean_of_any(region):
    with np.errstate(invalid="ignore"):
        return region.sum() / np.float64(region.size)


def _no_scale(x, boxes, output_size, spatial_scale):
    return ps_roi_pool(x, boxes, output_size, 1.0)


def _swapped(x, boxes, *how):
    return ps_roi_pool(x, boxes[:, [0, 2, 1, 4, 3]], *how)


def _backward_swapped(g, boxes, *how):
    return ps_roi_pool_backward(g, boxes[:, [0, 2, 1, 4, 3]], *how)


def _backward_first_image(g, boxes, *how):
    return ps_roi_pool_backward(g, boxes * [0, 1, 1, 1, 1], *how)


def _not_divided(g, boxes, input_shape, output_size, spatial_scale):
    (P, Q), gx = output_size, np.zeros(input_shape)
    gmaps = gx.reshape(len(gx), -1, P, Q, *input_shape[2:])
    for k, box in enumerate(boxes):
        for p, q, rows, columns in regions(box, input_shape[2:], output_size, spatial_scale):
            gmaps[int(box[0]), :, p, q, rows, columns] += g[k, :, p, q, None, None]
    return gx


def _overwritten(g, boxes, input_shape, *how):
    gx = np.zeros(input_shape)
    for k in range(len(boxes)):
        mine = ps_roi_pool_backward(g[k:k + 1], boxes[k:k + 1], input_shape, *how)
        gx = np.where(mine != 0, mine, gx)
    return gx


# ---- versions: other maps and other bins, forward and backward -----------------------------------

def _bins_column_first(d, C, P, Q):
    return d.reshape(Q, P, C).transpose(2, 1, 0).ravel()


def _height_for_width(d, C, P, Q):
    """(c P + p) Q + q with p P for p Q."""
    c, p, q = (d[:, None, None] for d in np.indices((C, P, Q)).reshape(3, -1))
    return ((c * P * Q + p * P + q) % d.size).ravel()


def _bins(args, round=_half_away, bins=edges, last=1, **how):
    """((k, p, q), (image, rows, columns), the bin's pixels on the map or not) of every bin, with
    other bins; args are (size of a map, boxes, output_size, spatial_scale)."""
    size, boxes, output_size, spatial_scale = args
    for k, box in enumerate(boxes):
        corners = round(box[1:] * spatial_scale)
        ends = [(corners[1 - i], corners[3 - i], output_size[i], size[i] - last) for i in (0, 1)]
        rows, columns = (bins(*end, **how) for end in ends)
        down, across = (np.diff(edges(*end, clip=False, **how)) for end in ends)
        for p, q in np.ndindex(output_size):
            yield ((k, p, q), (int(box[0]), slice(*rows[p]), slice(*columns[q])),
                   down[p, 0] * across[q, 0])


def _from_the_other_end(*ends, **how):
    """Bins that are not cut off before pixel 0."""
    return np.minimum(edges(*ends, clip=False, **how), ends[-1])


def _cut(count=lambda region, whole: region, extra=0, **how):
    """`ps_roi_pool` with other bins, or divided by count(number of pixels, pixels of the bin on
    the map or not)."""
    def pool(x, boxes, output_size, spatial_scale):
        maps = x.reshape(len(x), -1, *output_size, *x.shape[2:])
        y = np.zeros((len(boxes), maps.shape[1], *output_size))
        for (k, p, q), (image, rows, columns), whole in _bins(
                (x.shape[2:], boxes, output_size, spatial_scale), extra=extra, **how):
            region = maps[image, :, p, q, rows, columns]
            number = count(region[0].size, whole)
            y[k, :, p, q] = region.sum(axis=(1, 2)) / number if region.size else 0
        return y
    return pool


def _back(count=lambda region, whole: region, extra=0, **how):
    """The backward with other bins, or divided by another number."""
    def back(g, boxes, input_shape, output_size, spatial_scale):
        gx = np.zeros(input_shape)
        gmaps = gx.reshape(len(gx), -1, *output_size, *gx.shape[2:])
        for (k, p, q), (image, rows, columns), whole in _bins(
                (gx.shape[2:], boxes, output_size, spatial_scale), extra=extra, **how):
            region = gmaps[image, :, p, q, rows, columns]
            if region.size:
                region += g[k, :, p, q, None, None] / count(region[0].size, whole)
        return gx
    return back


def _as_sizes(boxes):
    """x1 and y1 read as the box's width and height."""
    return np.concatenate([boxes[:, :3], boxes[:, 1:3] + boxes[:, 3:]], axis=1)


def _from_zero(start, end, *rest, **how):
    return edges(0, end - start, *rest, **how)


BIN_MISTAKES = (        # name, hint, what is different
    ("bins-apart", "Your bins never overlap. Where the length is not divisible, a bin ends at the "
     "next whole pixel: one end is rounded down, the other up.",
     tuple(dict(edge=apart) for apart in (floors, *APART))),
    ("least-size-forgotten", "A region turned inside out, or empty, has a length of 1 pixel at "
     "least.", (dict(least=-np.inf),)),
    ("rounded-outwards", "You round the upper left corner down and the lower right one up. Both "
     "are rounded to the nearest whole number.", (dict(round=outwards),)),
    ("not-rounded", "You divide the region before its corners are rounded. Here they are rounded "
     "first.", (dict(round=lambda corners: corners, bins=not_rounded),)),
    ("bins-too-long", "Your bins hold a pixel too many: a bin's end does not belong to it.",
     (dict(edge=a_pixel_longer),)),
    ("start-forgotten", "Your bins are counted from the map's first pixel. Where does the region "
     "begin?", (dict(bins=_from_zero),)),
    ("negative-slices", "A slice that begins before pixel 0 counts from the map's other end in "
     "NumPy. What lies outside is left out.", (dict(bins=_from_the_other_end),)),
    ("divided-by-the-whole-bin", "You divide by a number that counts pixels outside of the map. "
     "How many pixels were added up?", (dict(count=lambda region, whole: max(whole, 1)),)),
)
BACKWARD_BINS = (       # the backward of mistakes whose forward is above
    ("end-pixel-included", "Your regions are a pixel too long: unlike in RoI pooling the pixel "
     "`end` does not belong to the region.", dict(extra=1)),
    ("rounded-down", "You cut corners off to whole numbers. They are rounded to the nearest one.",
     dict(round=np.floor)),
    ("last-row-included", "Your bins hold pixels of the map's last row or column, which this task "
     "leaves out.", dict(last=0)),
)


MISTAKES = (
    Mistake("ps_roi_pool", "bins-first", "You count the maps bin by bin, and within a bin channel "
            "by channel. The formula counts (c P + p) Q + q.", _reads(_bin_first)),
    Mistake("ps_roi_pool", "columns-of-bins-first", "Within a channel you count the bins' maps "
            "column by column: p and q are exchanged.", _reads(_columns_first)),
    Mistake("ps_roi_pool", "same-map-for-all-bins", "All bins of a channel read its first map. "
            "Then the maps do not know positions.", _reads(_first_of_group)),
    Mistake("ps_roi_pool", "first-maps", "You read the first C maps, as ordinary RoI pooling does. "
            "Which map belongs to bin (p, q)?", _reads(_first_maps)),
    Mistake("ps_roi_pool", "end-pixel-included", "Your regions are a pixel too long: unlike in RoI "
            "pooling the pixel `end` does not belong to the region.", _rounded(_half_away, 1.0)),
    Mistake("ps_roi_pool", "rounded-to-even", "A corner at 2.5 becomes 2 in your code. np.round "
            "goes to the even neighbour; here halves go away from zero.", _rounded(np.round)),
    Mistake("ps_roi_pool", "halves-up", "A corner at -0.5 becomes 0 in your code: floor(v + 1/2) "
            "rounds halves up. They go away from zero.", _rounded(_halves_up)),
    Mistake("ps_roi_pool", "rounded-down", "You cut corners off to whole numbers. They are rounded "
            "to the nearest one.", _rounded(np.floor)),
    Mistake("ps_roi_pool", "last-row-included", "Your bins hold pixels of the map's last row or "
            "column, which this task leaves out.", _whole_map),
    Mistake("ps_roi_pool", "maximum", "You take a bin's largest value. R-FCN takes the mean: all "
            "its pixels vote.", _joined(lambda region: region.max(initial=-np.inf)
                                        if region.size else 0.0)),
    Mistake("ps_roi_pool", "sum", "You sum a bin's pixels; the formula takes their mean.",
            _joined(np.sum)),
    Mistake("ps_roi_pool", "empty-bins-nan", "The mean of no pixel is NaN in your code; it should "
            "be 0.", _joined(_mean_of_any)),
    Mistake("ps_roi_pool", "scale-forgotten", "The boxes are given in image pixels. How large is "
            "the map?", _no_scale),
    Mistake("ps_roi_pool", "xy-swapped", "x and y are exchanged: x counts "
            "columns. Which of them comes first in a box here?", _swapped),
    Mistake("ps_roi_pool_backward", "not-divided", "Each pixel has a share of its bin's mean. How "
            "large is it?", _not_divided),
    Mistake("ps_roi_pool_backward", "overwritten", "Where boxes overlap, only the last one's "
            "gradient reaches the map in your code.", _overwritten),
    Mistake("ps_roi_pool_backward", "bins-first", "You count the maps bin by bin. The formula "
            "counts (c P + p) Q + q.", _writes(_bin_first)),
    Mistake("ps_roi_pool_backward", "same-map-for-all-bins", "All bins of a channel give their "
            "gradient to its first map. Each read a map of its own.", _writes(_first_of_group)),
    Mistake("ps_roi_pool_backward", "xy-swapped", "x and y are exchanged: x counts "
            "columns. Which of them comes first in a box here?", _backward_swapped),
    Mistake("ps_roi_pool_backward", "first-image", "All gradients go to the first image. What is "
            "the first number of a box's row?", _backward_first_image),
    *(Mistake("ps_roi_pool", name, hint, _cut(**how))
      for name, hint, several in BIN_MISTAKES for how in several),
    Mistake("ps_roi_pool", "first-image", "All boxes read the first image. What is the first "
            "number of a box's row?", given(ps_roi_pool, 1, lambda boxes: boxes * [0, 1, 1, 1, 1])),
    Mistake("ps_roi_pool", "corners-as-sizes", "You read x1 and y1 as a width and a height; they "
            "are the lower right corner.", given(ps_roi_pool, 1, _as_sizes)),
    *(Mistake(function.__name__, "corners-misread", "A row of boxes is the image's "
              "number and two corners, not two intervals.",
              given(function, 1, lambda boxes: boxes[:, [0, 1, 3, 2, 4]]))
      for function in (ps_roi_pool, ps_roi_pool_backward)),
    Mistake("ps_roi_pool", "height-for-width", "You count p P + q within a channel. How many bins "
            "has a row of bins?", _reads(_height_for_width)),
    *(Mistake("ps_roi_pool_backward", name, hint, _back(**how))
      for name, hint, several in BIN_MISTAKES for how in several),
    *(Mistake("ps_roi_pool_backward", name, hint, _back(**how))
      for name, hint, how in BACKWARD_BINS),
    Mistake("ps_roi_pool_backward", "columns-of-bins-first", "Within a channel you count the bins' "
            "maps column by column: p and q are exchanged.", _writes(_columns_first)),
    Mistake("ps_roi_pool_backward", "first-maps", "Your gradient goes to the first C maps. Which "
            "map did bin (p, q) read?", _writes(_first_maps)),
    *(Mistake("ps_roi_pool_backward", "scale-forgotten", "The boxes are given in image pixels. How "
              "large is the map?", given(ps_roi_pool_backward, 4, change))
      for change in (lambda scale: 1.0, lambda scale: 1 / scale)),
)

MISTAKES += versions(MISTAKES, {
    ("ps_roi_pool", "bins-first"): (_reads(_bins_column_first),),
    ("ps_roi_pool", "rounded-down"): (_cut(round=np.trunc),),
    ("ps_roi_pool", "scale-forgotten"): (given(ps_roi_pool, 3, lambda scale: 1 / scale),),
    ("ps_roi_pool_backward", "bins-first"): (_writes(_bins_column_first),),
})


# ---- cases ---------------------------------------------------------------------------------------
# Corners are whole numbers of map pixels, moved by three eighths or not at all: exact in float32,
# and every way to compute them rounds alike. Only the case about halves has halves.

INSIDE = ((0, 1, 0, 6, 5), (1, 0, 2, 3, 7), (0, 2, 1, 6, 4))
OVER = ((0, -3, -2, 2, 3), (0, 4, 3, 9, 8), (0, -5, -6, -3, -2), (0, 1, 8, 4, 11), (0, 6, 1, 12, 3))
ODD = ((1, 4, 3, 4, 3), (0, 5, 4, 2, 1), (1, 0, 1, 6, 7), (0, 1, 2, 5, 4), (1, 0, 3, 4, 7))
HALVES = ((0, 0.5, 1.5, 4.5, 2.5), (0, -0.5, 0.5, 2.5, 3.5), (0, 1.5, -1.5, 3.5, 4.5))


def _rois(rng, rows, scale, jitter):
    """Boxes in image pixels, from rows in map pixels, moved by 3/8 of a map pixel at most."""
    boxes = np.array(rows, float)
    boxes[:, 1:] += rng.integers(-1, 2, (len(boxes), 4)) * 0.375 * jitter
    boxes[:, 1:] /= scale
    return boxes


def _case(rng, name, sizes, rows, output_size, scale=1.0, backward=False, jitter=True):
    """A case of sizes N, C, H, W (C output channels)."""
    N, C, H, W = sizes
    shape = (N, C * output_size[0] * output_size[1], H, W)
    boxes = _rois(rng, rows, scale, jitter)
    if not backward:
        return Case("ps_roi_pool", name, (*random(rng, shape), boxes, output_size, scale))
    g, = random(rng, (len(rows), C, *output_size))
    return Case("ps_roi_pool_backward", name, (g, boxes, shape, output_size, scale))


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    wide = np.array([[0.0, 0, 0, 4, 1]])
    return [
        Case("ps_roi_pool", "one box in two bins",
             (2 * small(rng, (1, 2, 2, 5))[0], wide, (1, 2), 1.0)),
        _case(rng, "several channels", (2, 3, 8, 7), INSIDE, (2, 4)),
        _case(rng, "corners at halves, scale one half", (1, 2, 6, 7), HALVES, (2, 3), 0.5,
              jitter=False),
        _case(rng, "over the border and outside", (1, 2, 6, 7), OVER, (3, 2)),
        _case(rng, "more bins than pixels, boxes turned inside out", (2, 2, 8, 7), ODD, (5, 3)),
        _case(rng, "two images, scale one sixteenth", (2, 3, 9, 8), INSIDE + ODD, (3, 4), 0.0625),
        Case("ps_roi_pool_backward", "backward, one box in two bins",
             (2 * small(rng, (1, 1, 1, 8))[0][..., :2], wide, (1, 2, 2, 5), (1, 2), 1.0)),
        _case(rng, "backward, several channels", (2, 3, 8, 7), INSIDE, (2, 4), backward=True),
        _case(rng, "backward, over the border and outside", (1, 2, 6, 7), OVER, (3, 2), 0.5,
              backward=True),
        _case(rng, "backward, two images, scale one sixteenth", (2, 3, 9, 8), INSIDE + ODD, (3, 4),
              0.0625, backward=True),
    ]


def _magnitude(x, *how):
    return ps_roi_pool(np.abs(x), *how)


def _terms(x, *how):
    return x[0, 0].size + 1


def _backward_magnitude(g, *how):
    return ps_roi_pool_backward(np.abs(g), *how)


def _backward_terms(g, boxes, *how):
    return len(boxes) * g[0, 0].size + 1


def _calls(g, boxes, input_shape, *how):
    """Calls of the forward of a backward; see `forwards.Forward`."""
    return [((x, boxes, *how), (0,)) for x in inputs(input_shape)]


EXERCISE = Exercise(
    name="ps_roi_pool", title="Position-sensitive RoI pooling",
    lecture="UW, Object Detection: R-FCN", source="tinyvision/ops/ps_roi.py",
    functions={"ps_roi_pool": ps_roi_pool, "ps_roi_pool_backward": ps_roi_pool_backward},
    cases=cases, mistakes=MISTAKES,
    magnitude={"ps_roi_pool": _magnitude, "ps_roi_pool_backward": _backward_magnitude},
    terms={"ps_roi_pool": _terms, "ps_roi_pool_backward": _backward_terms},
    forwards={"ps_roi_pool_backward": Forward("ps_roi_pool", _calls)})
