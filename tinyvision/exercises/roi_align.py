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

from tinyvision.exercises.exercise import Case, Exercise, Mistake


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


MISTAKES = (
    Mistake("roi_align", "half-pixel-forgotten", "With aligned=True pixel i's value stands at "
            "i + 0.5. Your points are half a pixel too far to the bottom right.", _never_aligned),
    Mistake("roi_align", "always-aligned", "You subtract half a pixel also where aligned is "
            "False.", _always_aligned),
    Mistake("roi_align", "scale-forgotten", "The boxes are given in image pixels. How large is "
            "the map?", _no_scale),
    Mistake("roi_align", "xy-swapped", "x and y are exchanged: x counts columns, and comes first "
            "in a box.", _swapped),
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
    Mistake("roi_align", "nearest-pixel", "You read the nearest pixel. Bilinear interpolation "
            "mixes four.", _nearest_pixel),
    Mistake("roi_align", "no-least-size", "With aligned=False no box is smaller than one pixel of "
            "the map.", _no_least_size),
    Mistake("roi_align", "sum", "You sum a bin's points; the formula takes their mean.", _sum),
    Mistake("roi_align_backward", "overlap-overwritten", "Where boxes overlap, only the last one's "
            "gradient reaches the map in your code.", _overwritten),
    Mistake("roi_align_backward", "not-divided", "Each point has a share of its bin's mean. How "
            "large is it?", _not_divided),
    Mistake("roi_align_backward", "scale-forgotten", "The boxes are given in image pixels. How "
            "large is the map?", _backward_no_scale),
    Mistake("roi_align_backward", "half-pixel-forgotten", "With aligned=True pixel i's value "
            "stands at i + 0.5, on the way back too.", _backward_never_aligned),
    Mistake("roi_align_backward", "xy-swapped", "x and y are exchanged: x counts columns, and "
            "comes first in a box.", _backward_swapped),
    Mistake("roi_align_backward", "first-image", "All gradients go to the first image. What is "
            "the first number of a box's row?", _backward_first_image),
    Mistake("roi_align_backward", "nearest-pixel", "The whole gradient of a point goes to the "
            "nearest pixel. Four pixels were read.", _backward_nearest),
)


# ---- cases ---------------------------------------------------------------------------------------

INSIDE = [(0.15, 0.1, 0.85, 0.7), (0.3, 0.2, 0.75, 0.95), (0.05, 0.4, 0.6, 0.8),
          (0.5, 0.35, 0.9, 0.9)]
OVER = [(-0.15, 0.45, 0.4, 1.08), (-0.8, -0.6, 1.7, 1.5)]
THIN = [(0.3, 0.2, 0.42, 0.26), (0.55, 0.6, 0.6, 0.9)]


def _rois(rng, shares, images, size, scale):
    """Boxes in image pixels, from shares of the map's width and height, a little moved."""
    H, W = size
    corners = (np.array(shares) + rng.uniform(-0.02, 0.02, (len(shares), 4))) * [W, H, W, H]
    return np.concatenate([(np.arange(len(shares)) % images)[::-1, None], corners / scale], axis=1)


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
        return rng.permutation(2.0 * np.arange(1, 1 + np.prod(shape))).reshape(shape)
    square, wide = np.array([[0.0, 0, 0, 2, 2]]), np.array([[0.0, 0, 0, 3, 2]])
    return [
        Case("roi_align", "two bins, one point each",
             (small(1, 1, 2, 2), square, (1, 2), 1.0, 1, True), 0.5),
        Case("roi_align", "points on the limits",
             (small(1, 1, 2, 3), np.array([[0.0, -3, 0, 5, 1]]), (1, 2), 1.0, 1, False), 0.5),
        _case(rng, "a box between pixels", 1, (1, 2, 5, 6), INSIDE[:1], ((3, 4), 1.0, 2, True)),
        _case(rng, "spatial scale one half", 1, (1, 2, 7, 6), INSIDE[:1],
              ((3, 4), 0.5, 2, True)),
        _case(rng, "not aligned, small boxes", 1, (1, 3, 6, 7), THIN, ((4, 5), 1.0, 2, False)),
        _case(rng, "boxes over the border", 1, (1, 3, 6, 7), OVER, ((4, 5), 1.0, 2, True)),
        _case(rng, "two images, scale one quarter", 1, (2, 3, 9, 8), INSIDE,
              ((5, 6), 0.25, 3, True)),
        Case("roi_align_backward", "backward, two bins",
             (small(1, 1, 1, 2), wide, (1, 1, 2, 3), (1, 2), 1.0, 1, True)),
        _case(rng, "backward, one box", 1, (1, 2, 5, 6), INSIDE[:1], ((3, 4), 1.0, 2, True),
              backward=True),
        _case(rng, "backward, boxes over the border", 1, (1, 3, 6, 7), OVER,
              ((4, 5), 0.5, 2, False), backward=True),
        _case(rng, "backward, two images", 1, (2, 3, 9, 8), INSIDE, ((5, 6), 0.25, 3, True),
              backward=True),
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


EXERCISE = Exercise(
    name="roi_align", title="RoI Align and its gradient",
    lecture="UW, Cropping Features: RoI Align", source="tinyvision/ops/roi_align.py",
    functions={"roi_align": roi_align, "roi_align_backward": roi_align_backward},
    cases=cases, mistakes=MISTAKES,
    magnitude={"roi_align": _magnitude, "roi_align_backward": _backward_magnitude},
    terms={"roi_align": _terms, "roi_align_backward": _backward_terms})
