r"""# RoI Align

Write `roi_align` and its gradient `roi_align_backward`.

A detector's head wants features of one size from boxes of any size. RoI Align divides the box
into PH x PW equal bins, reads S x S regularly spaced points in each bin by bilinear interpolation,
without rounding anything, and takes their mean:

$$f(y, x) = \sum_{i,j} f_{i,j}\, \max(0, 1 - |y - i|)\, \max(0, 1 - |x - j|)$$

$$\text{bin}_{a,b} = \frac{1}{S^2} \sum_{s,t=0}^{S-1}
f\Big(y_0 + \big(a + \tfrac{s + 1/2}{S}\big) \tfrac{h}{P_H},\;
x_0 + \big(b + \tfrac{t + 1/2}{S}\big) \tfrac{w}{P_W}\Big)$$

**By hand.** The map, the box (0, 0, 2, 2), one image pixel a map pixel, 1 x 2 bins, S = 1:

    1 3       with aligned=True the two points are y = 0.5, x = 0 and y = 0.5, x = 1:
    2 8       the bins are (1 + 2) / 2 = 1.5 and (3 + 8) / 2 = 5.5

**Conventions** (torchvision's):

- A row of boxes is (image, x0, y0, x1, y1), the corners in pixels of the *image*: multiply them
  by spatial_scale to get to the map.
- aligned=True: then subtract 0.5, because the value of pixel i stands at its middle, i + 0.5, and
  not at its corner.
- aligned=False: do not subtract; a box narrower or lower than 1 (on the map) is given size 1
  from its corner (x0, y0) on.
- A point with y < -1, y > H, x < -1 or x > W reads 0. Any other point outside is first moved to
  the nearest pixel of the map.

**Backward.** Given g = dL/dy: every pixel gets back, from each point that read it, the bin's g
times the weight with which it was read; boxes that overlap add up.

**Shapes.** x (N, C, H, W), boxes (K, 5), output_size (PH, PW), S = sampling_ratio > 0; the result
is (K, C, PH, PW). The backward returns input_shape = (N, C, H, W).
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions
from tinyvision.exercises.forwards import Forward, inputs
from tinyvision.exercises.slips import given, then


def axis_weights(start, length, bins, samples, size):
    """How much each of ``size`` pixels counts in each bin, along one axis: (bins, size)."""
    weights = np.zeros((bins, size))
    for k in range(bins):
        for s in range(samples):
            place = start + (k + (s + 0.5) / samples) * length / bins
            if -1 <= place <= size:
                place = min(max(place, 0), size - 1)
                low = int(place)
                weights[k, low] += (1 - (place - low)) / samples
                weights[k, min(low + 1, size - 1)] += (place - low) / samples
    return weights


def box_weights(box, size, output_size, spatial_scale, sampling_ratio, aligned):
    """`axis_weights` of a box's rows (PH, H) and columns (PW, W)."""
    x0, y0, x1, y1 = box * spatial_scale - (0.5 if aligned else 0.0)
    height, width = y1 - y0, x1 - x0
    if not aligned:
        height, width = max(height, 1.0), max(width, 1.0)
    return (axis_weights(y0, height, output_size[0], sampling_ratio, size[0]),
            axis_weights(x0, width, output_size[1], sampling_ratio, size[1]))


def roi_align(x, boxes, output_size, spatial_scale, sampling_ratio, aligned):
    """Features of one size from boxes of any size, read by bilinear interpolation.

    Arguments:
        x: (N, C, H, W) feature maps.
        boxes: (K, 5) rows (image, x0, y0, x1, y1), corners in image pixels.
        output_size: (PH, PW), how many bins a box is divided into.
        spatial_scale: map pixels per image pixel, such as 0.25.
        sampling_ratio: points in each bin in each direction, greater than 0.
        aligned: whether pixel values stand at pixels' middles (half a pixel is subtracted).

    Returns:
        (K, C, PH, PW), the mean of each bin's points.
    """
    ### BEGIN SOLUTION
    y = np.empty((len(boxes), x.shape[1], *output_size))
    for k, roi in enumerate(boxes):
        rows, columns = box_weights(roi[1:], x.shape[2:], output_size, spatial_scale,
                                    sampling_ratio, aligned)
        y[k] = rows @ x[int(roi[0])] @ columns.T
    return y
    ### END SOLUTION


def roi_align_backward(g, boxes, input_shape, output_size, spatial_scale, sampling_ratio, aligned):
    """Gradient of a loss with respect to the maps that `roi_align` read.

    Arguments:
        g: (K, C, PH, PW) gradient with respect to the result.
        input_shape: (N, C, H, W), the shape of x.
        boxes, output_size, spatial_scale, sampling_ratio, aligned: as `roi_align` was called with.

    Returns:
        (N, C, H, W) gradient with respect to x.
    """
    ### BEGIN SOLUTION
    gx = np.zeros(input_shape)
    for k, roi in enumerate(boxes):
        rows, columns = box_weights(roi[1:], input_shape[2:], output_size, spatial_scale,
                                    sampling_ratio, aligned)
        gx[int(roi[0])] += rows.T @ g[k] @ columns
    return gx
    ### END SOLUTION


# ---- mistakes: forward ---------------------------------------------------------------------------

def _align(x, boxes, output_size, spatial_scale, sampling_ratio, aligned, axis, least=1.0):
    """`roi_align` with other weights along the axes or another least size."""
    y = np.empty((len(boxes), x.shape[1], *output_size))
    for k, roi in enumerate(boxes):
        corners = roi[1:] * spatial_scale - 0.5 * aligned
        size = corners[2:] - corners[:2] if aligned else np.maximum(corners[2:] - corners[:2],
                                                                    least)
        rows, columns = (axis(corners[1 - i], size[1 - i], output_size[i], sampling_ratio,
                              x.shape[2 + i]) for i in (0, 1))
        y[k] = rows @ x[int(roi[0])] @ columns.T
    return y


def _axis(weigh):
    """Weights along an axis made from each point's: weigh(place, size) -> (size,)."""
    def axis(start, length, bins, samples, size):
        at = start + (np.arange(bins * samples) + 0.5) * length / (bins * samples)
        return np.stack([weigh(p, size) for p in at]).reshape(bins, samples, size).mean(axis=1)
    return axis


def _tent(place, size):
    return np.maximum(0, 1 - np.abs(place - np.arange(size)))


def _nearest(place, size):
    inside = -1 <= place <= size
    return np.eye(size)[int(np.clip(np.floor(place + 0.5), 0, size - 1))] * inside


def _never_aligned(x, boxes, output_size, scale, samples, aligned):
    return roi_align(x, boxes, output_size, scale, samples, False)


def _always_aligned(x, boxes, output_size, scale, samples, aligned):
    return roi_align(x, boxes, output_size, scale, samples, True)


def _no_scale(x, boxes, output_size, scale, samples, aligned):
    return roi_align(x, boxes, output_size, 1.0, samples, aligned)


def _swapped(x, boxes, output_size, scale, samples, aligned):
    return roi_align(x, boxes[:, [0, 2, 1, 4, 3]], output_size, scale, samples, aligned)


def _rounded(x, boxes, output_size, scale, samples, aligned):
    corners = np.floor(boxes[:, 1:] * scale + 0.5)
    boxes = np.concatenate([boxes[:, :1], corners], axis=1)
    return roi_align(x, boxes, output_size, 1.0, samples, aligned)


def _one_point(x, boxes, output_size, scale, samples, aligned):
    return roi_align(x, boxes, output_size, scale, 1, aligned)


def _maximum(x, boxes, output_size, scale, samples, aligned):
    PH, PW = output_size
    points = roi_align(x, boxes, (PH * samples, PW * samples), scale, 1, aligned)
    return points.reshape(len(boxes), x.shape[1], PH, samples, PW, samples).max(axis=(3, 5))


def _first_image(x, boxes, output_size, scale, samples, aligned):
    return roi_align(x, boxes * [0, 1, 1, 1, 1], output_size, scale, samples, aligned)


def _zeros_outside(*args):
    return _align(*args, axis=_axis(_tent))


def _clamped(*args):
    return _align(*args, axis=_axis(lambda p, size: _tent(np.clip(p, 0, size - 1), size)))


def _nearest_pixel(*args):
    return _align(*args, axis=_axis(_nearest))


def _no_least_size(*args):
    return _align(*args, axis=axis_weights, least=-np.inf)


def _sum(x, boxes, output_size, scale, samples, aligned):
    return roi_align(x, boxes, output_size, scale, samples, aligned) * samples ** 2


# ---- mistakes: backward --------------------------------------------------------------------------

def _overwritten(g, boxes, input_shape, *how):
    gx = np.zeros(input_shape)
    for k, roi in enumerate(boxes):
        mine = roi_align_backward(g[k:k + 1], boxes[k:k + 1], input_shape, *how)
        gx = np.where(mine != 0, mine, gx)
    return gx


def _not_divided(g, boxes, input_shape, output_size, scale, samples, aligned):
    return roi_align_backward(g * samples ** 2, boxes, input_shape, output_size, scale, samples,
                              aligned)


def _backward_no_scale(g, boxes, input_shape, output_size, scale, samples, aligned):
    return roi_align_backward(g, boxes, input_shape, output_size, 1.0, samples, aligned)


def _backward_never_aligned(g, boxes, input_shape, output_size, scale, samples, aligned):
    return roi_align_backward(g, boxes, input_shape, output_size, scale, samples, False)


def _backward_swapped(g, boxes, *how):
    return roi_align_backward(g, boxes[:, [0, 2, 1, 4, 3]], *how)


def _backward_first_image(g, boxes, *how):
    return roi_align_backward(g, boxes * [0, 1, 1, 1, 1], *how)


def _backward_nearest(g, boxes, input_shape, output_size, scale, samples, aligned):
    gx = np.zeros(input_shape)
    for k, roi in enumerate(boxes):
        basis = np.eye(input_shape[2] * input_shape[3]).reshape(-1, 1, *input_shape[2:])
        all_of_them = np.repeat(roi[None] * [0, 1, 1, 1, 1], len(basis), axis=0)
        all_of_them[:, 0] = np.arange(len(basis))
        read = _nearest_pixel(basis, all_of_them, output_size, scale, samples, aligned)
        gx[int(roi[0])] += np.einsum("cab,pab->cp", g[k], read[:, 0]).reshape(input_shape[1:])
    return gx


# ---- versions: other points or weights, forward and backward -------------------------------------

def _region(box, scale, aligned, half=0.5, least=1.0):
    """(x0, y0) and (width, height) on the map."""
    corners = box * scale - half * aligned
    size = corners[2:] - corners[:2]
    return corners[:2], size if aligned else np.maximum(size, least)


def _tables(box, size, output_size, scale, samples, aligned, region=_region, axis=axis_weights):
    """`box_weights` with another region or other weights along an axis."""
    start, lengths = region(box, scale, aligned)
    return [axis(start[1 - i], lengths[1 - i], output_size[i], samples, size[i]) for i in (0, 1)]


def _read(**how):
    """`roi_align` with other weights."""
    def align(x, boxes, output_size, *rest):
        y = np.empty((len(boxes), x.shape[1], *output_size))
        for k, roi in enumerate(boxes):
            rows, columns = _tables(roi[1:], x.shape[2:], output_size, *rest, **how)
            y[k] = rows @ x[int(roi[0])] @ columns.T
        return y
    return align


def _back(**how):
    """`roi_align_backward` with other weights."""
    def back(g, boxes, input_shape, *rest):
        gx = np.zeros(input_shape)
        for k, roi in enumerate(boxes):
            rows, columns = _tables(roi[1:], input_shape[2:], *rest, **how)
            gx[int(roi[0])] += rows.T @ g[k] @ columns
        return gx
    return back


def _before_the_scale(box, scale, aligned):
    return _region((box - 0.5 * aligned) * scale, 1.0, aligned, half=0.0)


def _one_corner(box, scale, aligned):
    """Half a pixel less at the upper left corner only."""
    start, size = _region(box, scale, aligned)
    return start, size + 0.5 * aligned


def _half_always(box, scale, aligned):
    """Half a pixel less also where aligned is False, which keeps the least size."""
    start, size = _region(box, scale, aligned)
    return start - 0.5 * (not aligned), size


def _never_small(box, scale, aligned):
    start, size = _region(box, scale, aligned)
    return start, np.maximum(size, 1)


def _least_exchanged(box, scale, aligned):
    """The least size where aligned is True, and only there."""
    start, size = _region(box, scale, aligned, least=-np.inf)
    return start, np.maximum(size, 1) if aligned else size


def _end_included(box, scale, aligned):
    return _region(box + np.array([0, 0, 1, 1]) / scale, scale, aligned)


def _rounded_by(round):
    return lambda box, scale, aligned: _region(round(box * scale), 1.0, aligned)


def _points(offsets):
    """Weights of points at offsets(samples) of a bin's length."""
    def axis(start, length, bins, samples, size):
        steps = (np.arange(bins)[:, None] + offsets(samples)).ravel() / bins
        return _joined(start + steps * length, bins, size)
    return axis


def _joined(places, bins, size, weigh=None):
    """The means of each bin's points' weights."""
    weigh = weigh or (lambda p, size: axis_weights(p, 0.0, 1, 1, size)[0])
    return np.stack([weigh(p, size) for p in places]).reshape(bins, -1, size).mean(axis=1)


def _inside(first, behind):
    """A point reads 0 where it is before first, or behind(size); else it is moved to a pixel."""
    return _axis(lambda p, size: _tent(np.clip(p, 0, size - 1), size) * (
        first <= p <= behind(size)))


def _two(low, share):
    """Weights of pixel low(place) and of the next one, share(part) and the rest."""
    def weigh(place, size):
        table = np.zeros(size)
        if -1 <= place <= size:
            at = low(place, size)
            part = share(min(place, size - 1) - at)
            table[at] += 1 - part
            table[min(at + 1, size - 1)] += part
        return table
    return _axis(weigh)


def _picked(choose):
    """The whole weight on pixel choose(place)."""
    return _axis(lambda p, size: np.eye(size)[int(np.clip(choose(p), 0, size - 1))] * (
        -1 <= p <= size))


def _written(g, boxes, input_shape, output_size, scale, samples, aligned):
    """= for +=, point by point."""
    gx = np.zeros(input_shape)
    for k, roi in enumerate(boxes):
        fine = [n * samples for n in output_size]
        rows, columns = _tables(roi[1:], input_shape[2:], fine, scale, 1, aligned)
        for a, b in np.ndindex(*fine):
            share = g[k, :, a // samples, b // samples, None] / samples ** 2
            for h, w in np.argwhere(np.outer(rows[a], columns[b])):
                gx[int(roi[0]), :, h, w] = share[:, 0] * rows[a, h] * columns[b, w]
    return gx


def _as_sizes(boxes):
    """x1 and y1 read as the box's width and height."""
    return np.concatenate([boxes[:, :3], boxes[:, 1:3] + boxes[:, 3:]], axis=1)


def _bins_exchanged(x, boxes, output_size, *rest):
    return roi_align(x, boxes, output_size[::-1], *rest)


EITHER_WAY = {          # versions that the forward and the backward share
    "half-pixel-forgotten": (dict(region=lambda *args: _region(*args, half=0.0)),),
    "no-least-size": (dict(region=_least_exchanged),),
    "rounded": (dict(region=_rounded_by(np.floor)),),
    "zeros-outside": (dict(axis=_inside(0, lambda size: size - 1)),
                      dict(axis=_inside(0, lambda size: size))),
    "nearest-pixel": (dict(axis=_picked(np.floor)),),
}
FURTHER = (             # name, hint, versions
    ("half-pixel-added", "Your points are half a pixel too far to the bottom right, and more: half "
     "a pixel is subtracted.", (dict(region=lambda *args: _region(*args, half=-0.5)),)),
    ("half-pixel-before-the-scale", "Half a pixel of the map is subtracted, not of the image: "
     "after the multiplication by the scale.", (dict(region=_before_the_scale),)),
    ("half-pixel-at-one-corner", "Half a pixel is subtracted from both corners; in your code the "
     "box becomes larger.", (dict(region=_one_corner),)),
    ("end-pixel-included", "Your regions are a pixel too large: a box is as wide as x1 - x0.",
     (dict(region=_end_included),)),
    ("points-not-in-the-middle", "Your points lie elsewhere in the bin: each stands in the middle "
     "of one of S equal parts.",
     (dict(axis=_points(lambda samples: np.arange(samples) / samples)),
      dict(axis=_points(lambda samples: np.arange(1, samples + 1) / (samples + 1))),
      dict(axis=_points(lambda samples: np.linspace(0, 1, samples))))),
    ("weights-exchanged", "The nearer pixel counts less in your code: the two weights along an "
     "axis are exchanged.",
     (dict(axis=_two(lambda p, size: int(np.clip(p, 0, size - 1)),
                     lambda part: 1 - max(part, 0))),)),
    ("extrapolated", "Just before the first pixel your weights are more than 1 and less than 0: a "
     "point outside is first moved to the nearest pixel.",
     (dict(axis=_two(lambda p, size: max(int(min(p, size - 1)), 0), lambda part: part)),)),
    ("limits-read-0", "A point with y = -1 or y = H, x = -1 or x = W is moved to the map, too: "
     "only beyond them it reads 0.", (dict(axis=_axis(
         lambda p, size: _tent(np.clip(p, 0, size - 1), size) * (-1 < p < size))),)),
    ("least-size-always", "Only with aligned=False a box is at least one pixel of the map wide and "
     "high.", (dict(region=_never_small),)),
    ("wrapped-around", "A point just before the first pixel reads the last one in your code: row "
     "-1 is the last row in NumPy.",
     (dict(axis=_two(lambda p, size: int(np.floor(min(p, size - 1))), lambda part: part)),)),
)
BACKWARD = (            # the backward of mistakes whose forward is above
    ("always-aligned", "You subtract half a pixel also where aligned is False.",
     (dict(region=lambda box, scale, aligned: _region(box, scale, True)),
      dict(region=_half_always))),
    ("rounded", "You round the box to whole pixels, as RoI Pool does.",
     (dict(region=_rounded_by(lambda corners: np.floor(corners + 0.5))),)),
    ("one-point-a-bin", "Only the middle of each bin gives back its gradient. What does the "
     "sampling ratio say?", (dict(axis=_points(lambda samples: np.full(1, 0.5))),)),
    ("zeros-outside", "A point just outside the map gives back too little: it is first moved to "
     "the nearest pixel.", (dict(axis=_axis(_tent)),)),
    ("never-zero", "A point more than one pixel outside has read nothing: the border gets no "
     "gradient from it.", (dict(axis=_axis(
         lambda p, size: _tent(np.clip(p, 0, size - 1), size))),)),
    ("no-least-size", "With aligned=False no box is smaller than one pixel of the map.",
     (dict(region=lambda *args: _region(*args, least=-np.inf)),)),
)


MISTAKES = (
    Mistake("roi_align", "half-pixel-forgotten", "With aligned=True pixel i's value stands at "
            "i + 0.5. Your points are half a pixel too far to the bottom right.", _never_aligned),
    Mistake("roi_align", "always-aligned", "You subtract half a pixel also where aligned is "
            "False.", _always_aligned),
    Mistake("roi_align", "scale-forgotten", "The boxes are given in image pixels. How large is "
            "the map?", _no_scale),
    Mistake("roi_align", "xy-swapped", "x and y are exchanged: x counts "
            "columns. Which of them comes first in a box here?", _swapped),
    Mistake("roi_align", "rounded", "You round the box to whole pixels, as RoI Pool does. Not "
            "doing so is the point of RoI Align.", _rounded),
    Mistake("roi_align", "one-point-a-bin", "You read only the middle of each bin. What does the "
            "sampling ratio say?", _one_point),
    Mistake("roi_align", "maximum", "You take the largest of a bin's points instead of their "
            "mean.", _maximum),
    Mistake("roi_align", "first-image", "All boxes read the first image. What is the first number "
            "of a box's row?", _first_image),
    Mistake("roi_align", "zeros-outside", "A point just outside the map reads too little: it is "
            "first moved to the nearest pixel.", _zeros_outside),
    Mistake("roi_align", "never-zero", "A point more than one pixel outside reads 0, not the "
            "border.", _clamped),
    Mistake("roi_align", "nearest-pixel", "Each point reads one pixel in your code. Bilinear "
            "interpolation mixes four.", _nearest_pixel),
    Mistake("roi_align", "no-least-size", "With aligned=False no box is smaller than one pixel of "
            "the map.", _no_least_size),
    Mistake("roi_align", "sum", "Your bins grow with the number of their points. The formula takes "
            "the points' mean: what is their sum divided by?", _sum),
    Mistake("roi_align_backward", "overlap-overwritten", "Where boxes overlap, only the last one's "
            "gradient reaches the map in your code.", _overwritten),
    Mistake("roi_align_backward", "not-divided", "Each point has a share of its bin's mean. How "
            "large is it?", _not_divided),
    Mistake("roi_align_backward", "scale-forgotten", "The boxes are given in image pixels. How "
            "large is the map?", _backward_no_scale),
    Mistake("roi_align_backward", "half-pixel-forgotten", "With aligned=True pixel i's value "
            "stands at i + 0.5, on the way back too.", _backward_never_aligned),
    Mistake("roi_align_backward", "xy-swapped", "x and y are exchanged: x counts "
            "columns. Which of them comes first in a box here?", _backward_swapped),
    Mistake("roi_align_backward", "first-image", "All gradients go to the first image. What is "
            "the first number of a box's row?", _backward_first_image),
    Mistake("roi_align_backward", "nearest-pixel", "The whole gradient of a point goes to one "
            "pixel. Four pixels were read.", _backward_nearest),
    *(Mistake("roi_align", name, hint, _read(**how))
      for name, hint, several in FURTHER for how in several),
    *(Mistake("roi_align", "bins-exchanged", "The numbers of bins are exchanged: output_size is "
              "(down, across).", version)
      for version in (_bins_exchanged, then(_bins_exchanged, lambda y: y.swapaxes(2, 3)))),
    *(Mistake(function.__name__, "corners-misread", "A row of boxes is the image's "
              "number and two corners, not two intervals.",
              given(function, 1, lambda boxes: boxes[:, [0, 1, 3, 2, 4]]))
      for function in (roi_align, roi_align_backward)),
    Mistake("roi_align", "corners-as-sizes", "You read x1 and y1 as a width and a height; they are "
            "the lower right corner.", given(roi_align, 1, _as_sizes)),
    *(Mistake("roi_align_backward", name, hint, _back(**how))
      for name, hint, several in (*BACKWARD, *FURTHER) for how in several),
)

MISTAKES += versions(MISTAKES, {
    **{("roi_align", name): tuple(_read(**how) for how in several)
       for name, several in EITHER_WAY.items()},
    **{("roi_align_backward", name): tuple(_back(**how) for how in several)
       for name, several in EITHER_WAY.items()},
    ("roi_align", "always-aligned"): (_read(region=_half_always),),
    ("roi_align", "scale-forgotten"): (given(roi_align, 3, lambda scale: 1 / scale),),
    ("roi_align", "sum"): (lambda *args: roi_align(*args) * args[4],),
    ("roi_align_backward", "scale-forgotten"): (
        given(roi_align_backward, 4, lambda scale: 1 / scale),),
    ("roi_align_backward", "not-divided"): (lambda *args: roi_align_backward(*args) * args[5],),
    ("roi_align_backward", "overlap-overwritten"): (_written,),
})


# ---- cases ---------------------------------------------------------------------------------------

INSIDE = [(0.15, 0.1, 0.85, 0.7), (0.3, 0.2, 0.75, 0.95), (0.05, 0.4, 0.6, 0.8),
          (0.5, 0.35, 0.9, 0.9)]
OVER = [(-0.15, 0.45, 0.4, 1.08), (-0.8, -0.6, 1.7, 1.5)]
THIN = [(0.3, 0.2, 0.42, 0.26), (0.55, 0.6, 0.6, 0.9)]


def _rois(rng, shares, images, size, scale):
    """Boxes in image pixels, from shares of the map's width and height, a little moved; the first
    ones are of the last image, and so on: an image's boxes lie together."""
    H, W = size
    corners = (np.array(shares) + rng.uniform(-0.02, 0.02, (len(shares), 4))) * [W, H, W, H]
    return np.concatenate([(np.arange(len(shares)) * images // len(shares))[::-1, None],
                           corners / scale], axis=1)


def _clear(boxes, size, output_size, scale, samples, aligned):
    """Whether no point is so near to a limit that float32 might decide otherwise."""
    for i, n in enumerate(size):
        start, end = (boxes[:, [2 - i, 4 - i]] * scale - 0.5 * aligned).T
        length = end - start if aligned else np.maximum(end - start, 1)
        steps = (np.arange(output_size[i] * samples) + 0.5) / (output_size[i] * samples)
        at = start[:, None] + steps * length[:, None]
        if min(np.abs(at + 1).min(), np.abs(at - n).min()) < 1e-3:
            return False
    return True


def _case(rng, name, points, sizes, shares, how, backward=False):
    """A case of sizes N, C, H, W and (output_size, spatial_scale, sampling_ratio, aligned)."""
    N, C, H, W = sizes
    boxes = _rois(rng, shares, N, (H, W), how[1])
    while not _clear(boxes, (H, W), *how):
        boxes = _rois(rng, shares, N, (H, W), how[1])
    if backward:
        g = rng.standard_normal((len(boxes), C, *how[0]))
        return Case("roi_align_backward", name, (g, boxes, sizes, *how), points)
    return Case("roi_align", name, (rng.standard_normal(sizes), boxes, *how), points)


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    def small(*shape):
        numbers = rng.permutation(2.0 * np.arange(1, 8 + np.prod(shape)))
        return numbers[:np.prod(shape)].reshape(shape)
    square, limits = np.array([[0.0, 0, 0, 2, 2]]), np.array([[0.0, -3, 0, 5, 1]])
    wide = np.array([[0.0, 0, 0, 3, 2], [0, -2, 0, 4, 1], [0, -1, 0, 5, 1]])    # to the limits
    return [
        Case("roi_align", "two bins, one point each",
             (small(1, 1, 2, 2), square, (1, 2), 1.0, 1, True), 0.5),
        Case("roi_align", "points on the limits",
             (small(1, 1, 2, 3), limits, (1, 2), 1.0, 1, False), 0.5),
        _case(rng, "a box between pixels", 1, (1, 2, 5, 6), INSIDE[:1], ((3, 4), 1.0, 2, True)),
        _case(rng, "spatial scale one half", 1, (1, 2, 7, 6), INSIDE[:1],
              ((3, 4), 0.5, 2, True)),
        _case(rng, "not aligned, small boxes", 1, (1, 3, 6, 7), THIN, ((4, 5), 1.0, 2, False)),
        _case(rng, "boxes over the border", 1, (1, 3, 6, 7), OVER, ((4, 5), 1.0, 2, True)),
        _case(rng, "two images, scale one quarter", 1, (2, 3, 9, 8), INSIDE + THIN[:1],
              ((5, 6), 0.25, 3, True)),
        Case("roi_align_backward", "backward, two bins",
             (small(3, 1, 1, 2), wide, (1, 1, 2, 3), (1, 2), 1.0, 1, True)),
        _case(rng, "backward, one box", 1, (1, 2, 5, 6), INSIDE[:1], ((3, 4), 1.0, 2, True),
              backward=True),
        _case(rng, "backward, small boxes and boxes over the border", 1, (1, 3, 6, 7), OVER + THIN,
              ((4, 5), 0.5, 2, False), backward=True),
        _case(rng, "backward, two images", 1, (2, 3, 9, 8), INSIDE + THIN[:1],
              ((5, 6), 0.25, 3, True), backward=True),
    ]


# ---- error bounds --------------------------------------------------------------------------------
# Beside the sum's roundings there are those of a point's place: about 16, each of them as large as
# the coordinates are, which move a little of its weight from one pixel to a neighbour.

POINT_ROUNDINGS = 16


def _around(x, join):
    """Each pixel joined with its eight neighbours: where a rounded point may also have read."""
    H, W = x.shape[2:]
    padded = np.pad(np.abs(x), ((0, 0), (0, 0), (1, 1), (1, 1)))
    return join([padded[:, :, i:i + H, j:j + W] for i, j in np.ndindex(3, 3)], axis=0)


def _share(boxes, spatial_scale, terms):
    """The places' roundings, in units of the sum's."""
    reach = 1 + np.abs(boxes[:, 1:]).max() * spatial_scale
    return POINT_ROUNDINGS * reach / terms


def _terms(x, boxes, output_size, spatial_scale, sampling_ratio, aligned):
    return 4 * sampling_ratio ** 2 + 2


def _backward_terms(g, boxes, input_shape, output_size, spatial_scale, sampling_ratio, aligned):
    ones = roi_align_backward(np.ones_like(g[:, :1]), boxes, (input_shape[0], 1, *input_shape[2:]),
                              output_size, spatial_scale, sampling_ratio, aligned)
    return 2 * np.ceil(_around(ones, np.sum).max()) * sampling_ratio ** 2 + 2


def _magnitude(x, *how):
    share = _share(how[0], how[2], _terms(x, *how))
    return roi_align(np.abs(x), *how) + share * roi_align(_around(x, np.max), *how)


def _backward_magnitude(g, *how):
    share = _share(how[0], how[3], _backward_terms(g, *how))
    gx = roi_align_backward(np.abs(g), *how)
    return gx + share * _around(gx, np.sum)


def _calls(g, boxes, input_shape, *how):
    """Calls of the forward of a backward; see `forwards.Forward`."""
    return [((x, boxes, *how), (0,)) for x in inputs(input_shape)]


EXERCISE = Exercise(
    name="roi_align", title="RoI Align and its gradient",
    lecture="UW, Cropping Features: RoI Align", source="tinyvision/ops/roi_align.py",
    functions={"roi_align": roi_align, "roi_align_backward": roi_align_backward},
    cases=cases, mistakes=MISTAKES,
    magnitude={"roi_align": _magnitude, "roi_align_backward": _backward_magnitude},
    terms={"roi_align": _terms, "roi_align_backward": _backward_terms},
    forwards={"roi_align_backward": Forward("roi_align", _calls)})
