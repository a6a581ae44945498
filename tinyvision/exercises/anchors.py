r"""# Anchors

Write `cell_anchors` and `grid_anchors`: boxes of fixed sizes and shapes at every place of a map.

A region proposal network does not invent boxes: at each point of the feature map it looks at K
anchor boxes of different sizes and shapes, asks of each whether it is an object, and corrects it.

An anchor of size s and aspect ratio r is r times as high as wide and has the area s^2:

$$w = \frac{s}{\sqrt r}, \qquad h = s \sqrt r$$

**By hand.** Size 8, aspect ratios 0.25 and 1: w = 8 / 0.5 = 16 and h = 8 * 0.5 = 4, then 8 and 8.
Centred at (0, 0) they are (-8, -2, 8, 2) and (-4, -4, 4, 4). On a map of 1 x 2 places with stride
(32, 16) the second place stands 16 image pixels to the right of the first:

    place (0, 0)     (-8, -2,  8, 2)   (-4, -4,  4, 4)
    place (0, 1)     ( 8, -2, 24, 2)   (12, -4, 20, 4)

**Conventions** (torchvision's).

- `cell_anchors`: all sizes of the first ratio, then all sizes of the second, and so on; centred at
  (0, 0); each coordinate is rounded to a whole pixel.
- `grid_anchors`: row by row, place by place from left to right, all anchors of a place together.
  The first place stands at the image's corner (0, 0), not at the middle of its cell.

**Shapes.** sizes (S,) and aspect_ratios (R,) give the cell (R S, 4), rows (x0, y0, x1, y1); with a
map of size (H, W) and a stride (vertical, horizontal) in image pixels, a cell (A, 4) gives
(H W A, 4).
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions


def cell_anchors(sizes, aspect_ratios):
    """The anchors of one place, centred at (0, 0).

    Arguments:
        sizes: (S,) square roots of the areas, in image pixels.
        aspect_ratios: (R,) height / width.

    Returns:
        (R S, 4) floats (x0, y0, x1, y1), whole numbers: all sizes of one ratio, then the next.
    """
    ### BEGIN SOLUTION
    anchors = []
    for ratio in aspect_ratios:
        for size in sizes:
            width, height = size / np.sqrt(ratio), size * np.sqrt(ratio)
            anchors.append((-width / 2, -height / 2, width / 2, height / 2))
    return np.round(np.array(anchors))
    ### END SOLUTION


def grid_anchors(size, stride, cell):
    """The anchors of a whole map.

    Arguments:
        size: (H, W) of the map.
        stride: image pixels from place to place, (vertical, horizontal).
        cell: (A, 4) the anchors of one place, centred at (0, 0).

    Returns:
        (H W A, 4) boxes: row by row, place by place, all anchors of one place together.
    """
    ### BEGIN SOLUTION
    anchors = []
    for i in range(size[0]):
        for j in range(size[1]):
            x, y = j * stride[1], i * stride[0]
            anchors.append(cell + np.array([x, y, x, y]))
    return np.concatenate(anchors)
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _cell(sizes, ratios, root=np.sqrt, half=2.0, rounded=np.round):
    """`cell_anchors` with one piece exchanged."""
    stretch = root(ratios)[:, None]
    w, h = (sizes / stretch).ravel() / half, (sizes * stretch).ravel() / half
    return rounded(np.stack([-w, -h, w, h], axis=1))


def _wrong_cell(**how):
    return lambda sizes, ratios: _cell(sizes, ratios, **how)


def _sizes_outside(sizes, ratios):
    cell = cell_anchors(sizes, ratios).reshape(len(ratios), len(sizes), 4)
    return cell.swapaxes(0, 1).reshape(-1, 4)


def _from_the_corner(sizes, ratios):
    cell = _cell(sizes, ratios, half=1.0)
    return np.maximum(cell, 0)


def _centre_and_sides(sizes, ratios):
    cell = _cell(sizes, ratios)
    return np.concatenate([np.zeros((len(cell), 2)), cell[:, 2:] - cell[:, :2]], axis=1)


def _sides_rounded(sizes, ratios):
    stretch = np.sqrt(ratios)[:, None]
    w, h = (np.round(side.ravel()) / 2 for side in (sizes / stretch, sizes * stretch))
    return np.stack([-w, -h, w, h], axis=1)


def _one_by_one(sizes, ratios):
    count = min(len(sizes), len(ratios))
    return np.concatenate([cell_anchors(sizes[k:k + 1], ratios[k:k + 1]) for k in range(count)])


def _grid(size, stride, cell, offset=0.0, axes=(0, 1, 2)):
    """`grid_anchors` with an offset in strides, or in another order of places and anchors."""
    y, x = ((np.arange(n) + offset) * s for n, s in zip(size, stride))
    places = np.stack(np.broadcast_arrays(x, y[:, None], x, y[:, None]), axis=-1)
    anchors = places[:, :, None] + cell
    return anchors.transpose(*axes, 3).reshape(-1, 4)


def _wrong_grid(**how):
    return lambda size, stride, cell: _grid(size, stride, cell, **how)


def _axes_exchanged(size, stride, cell):
    swapped = grid_anchors(size, stride, cell[:, [1, 0, 3, 2]])
    return swapped[:, [1, 0, 3, 2]]


def _first_corner_only(size, stride, cell):
    moved = grid_anchors(size, stride, np.zeros((1, 4)))
    return (moved * [1, 1, 0, 0] + cell[:, None].repeat(len(moved), 1)).swapaxes(0, 1).reshape(
        -1, 4)


def _shaped(width, height, rounded=np.round, less=0.0):
    """`cell_anchors` with other sides of (size, ratio)."""
    def wrong(sizes, ratios):
        w, h = ((side(sizes, ratios[:, None]) * np.ones((len(ratios), len(sizes))) - less).ravel()
                / 2 for side in (width, height))
        return rounded(np.stack([-w, -h, w, h], axis=1))
    return wrong


def _size(s, r):
    return s


def _walked(size, stride, cell, x_counts=1, x_stride=1, rows=True):
    """Places whose x counts columns (1) or rows (0) by the horizontal (1) or the vertical stride
    (0), visited row by row or column by column."""
    x = np.arange(size[x_counts]) * stride[x_stride]
    y = np.arange(size[1 - x_counts]) * stride[1 - x_stride]
    x, y = np.meshgrid(x, y, indexing="xy" if rows else "ij")
    anchors = np.stack([x, y, x, y], axis=-1)[:, :, None] + cell
    return anchors.reshape(-1, 4)


def _walk(**how):
    return lambda size, stride, cell: _walked(size, stride, cell, **how)


def _moved_by(*columns):
    """The places' (x, y) added to the four coordinates in a wrong way."""
    def wrong(size, stride, cell):
        places = grid_anchors(size, stride, np.zeros((1, 4)))[:, None]
        return (places[..., list(columns)] + cell).reshape(-1, 4)
    return wrong


def _last_corner_only(size, stride, cell):
    places = grid_anchors(size, stride, np.zeros((1, 4)))[:, None]
    return (places * [0, 0, 1, 1] + cell).reshape(-1, 4)


MISTAKES = (
    Mistake("cell_anchors", "width-by-height", "The aspect ratio is height / width: a ratio of 2 "
            "is a person standing, not a car.", lambda s, r: cell_anchors(s, 1 / r)),
    Mistake("cell_anchors", "no-root", "A side takes the ratio itself where its root belongs. "
            "Take r = 4: is h / w = r, and is w h = s^2?",
            _wrong_cell(root=lambda ratio: ratio)),
    Mistake("cell_anchors", "area-not-kept", "Only one of the two sides changes with the ratio, "
            "and the area with it. Which area has an anchor of size s?",
            lambda s, r: np.round(np.stack(np.broadcast_arrays(
                -s / 2, -s * r[:, None] / 2, s / 2, s * r[:, None] / 2), -1).reshape(-1, 4))),
    Mistake("cell_anchors", "sizes-outside", "All sizes of the first ratio come first, not all "
            "ratios of the first size.", _sizes_outside),
    Mistake("cell_anchors", "whole-sides", "Your anchors are twice as wide and high: how far is a "
            "corner from the centre?", _wrong_cell(half=1.0)),
    Mistake("cell_anchors", "from-the-corner", "Your anchors begin at (0, 0); that is where their "
            "centre belongs.", _from_the_corner),
    Mistake("cell_anchors", "centre-and-sides", "A row is (x0, y0, x1, y1), not a centre and two "
            "sides.", _centre_and_sides),
    Mistake("cell_anchors", "not-rounded", "The coordinates should be whole pixels.",
            _wrong_cell(rounded=np.asarray)),
    Mistake("cell_anchors", "cut-off", "Coordinates are rounded to the nearest whole number, "
            "not towards zero.", _wrong_cell(rounded=np.trunc)),
    Mistake("cell_anchors", "rounded-down", "Coordinates are rounded to the nearest whole number, "
            "not down.", _wrong_cell(rounded=np.floor)),
    Mistake("cell_anchors", "sides-rounded", "You make the sides whole numbers; the coordinates "
            "are to be rounded, after halving.", _sides_rounded),
    Mistake("cell_anchors", "one-by-one", "Every size occurs with every ratio, not only with the "
            "one at the same position.", _one_by_one),
    Mistake("grid_anchors", "middle-of-cells", "Your anchors stand at the middle of each cell; "
            "here the first place stands at (0, 0).", _wrong_grid(offset=0.5)),
    Mistake("grid_anchors", "column-by-column", "Places are visited row by row: which index runs "
            "fastest?", _wrong_grid(axes=(1, 0, 2))),
    Mistake("grid_anchors", "anchors-outside", "All anchors of one place stand together; you list "
            "all places of the first anchor first.", _wrong_grid(axes=(2, 0, 1))),
    Mistake("grid_anchors", "strides-exchanged", "The first stride is the vertical one.",
            lambda size, stride, cell: grid_anchors(size, stride[::-1], cell)),
    Mistake("grid_anchors", "sizes-exchanged", "The map's size is (H, W): rows first.",
            lambda size, stride, cell: grid_anchors(size[::-1], stride, cell)),
    Mistake("grid_anchors", "axes-exchanged", "Rows move the anchors to the right and columns "
            "down. Which of x and y grows with the column?", _axes_exchanged),
    Mistake("grid_anchors", "stride-ignored", "The anchors are in pixels of the image, where "
            "places are a stride apart.",
            lambda size, stride, cell: grid_anchors(size, (1, 1), cell)),
    Mistake("grid_anchors", "one-stride", "The horizontal stride may differ from the vertical one.",
            lambda size, stride, cell: grid_anchors(size, (stride[0],) * 2, cell)),
    Mistake("grid_anchors", "one-corner-only", "Only one corner of a box moves with the place, so "
            "that the box changes its size.", _first_corner_only),
    Mistake("cell_anchors", "size-is-area", "A size is the root of the area: an anchor of size 8 "
            "and ratio 1 is 8 wide.", lambda s, r: cell_anchors(np.sqrt(s), r)),
    Mistake("cell_anchors", "rounded-up", "Coordinates are rounded to the nearest whole number, "
            "not up.", _wrong_cell(rounded=np.ceil)),
    Mistake("cell_anchors", "minus-one", "Coordinates are continuous: no - 1 for the last pixel.",
            _shaped(lambda s, r: s / np.sqrt(r), lambda s, r: s * np.sqrt(r), less=1.0)),
    Mistake("grid_anchors", "one-place-late", "The first place stands at (0, 0), not a stride "
            "away from it.", _wrong_grid(offset=1.0)),
    Mistake("grid_anchors", "x-x-y-y", "A box is (x0, y0, x1, y1): which two of its coordinates "
            "move to the right?", _moved_by(0, 0, 1, 1)),
    Mistake("grid_anchors", "not-flat", "The answer has one row for each anchor: (H W A, 4).",
            lambda size, stride, cell: grid_anchors(size, stride, cell).reshape(
                *size, len(cell), 4)),
)

MISTAKES += versions(MISTAKES, {
    ("cell_anchors", "no-root"): (
        _shaped(lambda s, r: s * r, lambda s, r: s / r),
        _shaped(lambda s, r: s / np.sqrt(r), lambda s, r: s * r),
        _shaped(lambda s, r: s / r, lambda s, r: s * np.sqrt(r))),
    ("cell_anchors", "area-not-kept"): (
        _shaped(lambda s, r: s / r, _size), _shaped(lambda s, r: s * r, _size),
        _shaped(_size, lambda s, r: s * np.sqrt(r)), _shaped(lambda s, r: s / np.sqrt(r), _size),
        _shaped(_size, lambda s, r: s / r)),
    ("cell_anchors", "size-is-area"): (lambda s, r: cell_anchors(np.sqrt(s), 1 / r),),
    ("cell_anchors", "sides-rounded"): (
        lambda s, r: np.round(_sides_rounded(s, r)),
        _shaped(lambda s, r: np.round(s / np.sqrt(r)),
                lambda s, r: np.round(np.round(s / np.sqrt(r)) * r), np.asarray),
        _shaped(lambda s, r: np.trunc(s / np.sqrt(r)), lambda s, r: np.trunc(s * np.sqrt(r)),
                np.asarray)),
    ("grid_anchors", "column-by-column"): (_wrong_grid(axes=(2, 1, 0)),),
    ("grid_anchors", "strides-exchanged"): (_walk(x_stride=0, rows=False),),
    ("grid_anchors", "sizes-exchanged"): (_walk(x_counts=0, rows=False),),
    ("grid_anchors", "axes-exchanged"): (_walk(x_counts=0, x_stride=0),),
    ("grid_anchors", "one-stride"): (
        lambda size, stride, cell: grid_anchors(size, (stride[1],) * 2, cell),),
    ("grid_anchors", "one-corner-only"): (_last_corner_only,),
    ("grid_anchors", "not-flat"): (
        lambda size, stride, cell: grid_anchors(size, stride, cell).reshape(-1, len(cell), 4),),
})


# ---- cases ---------------------------------------------------------------------------------------

def _shapes(rng, count, ratios):
    """Sizes and ratios, drawn again while a coordinate is nearly half a pixel."""
    ratios = np.array(ratios)
    while True:
        sizes = rng.uniform(9, 60, count)
        if np.abs(np.abs(_cell(sizes, ratios, rounded=np.asarray) % 1) - 0.5).min() > 0.01:
            return sizes, ratios


def _anchors(rng, count):
    """A cell of boxes of whole numbers, no two alike."""
    sides = rng.permutation(np.arange(2.0, 8 + 2 * count))[:2 * count].reshape(count, 2)
    return np.concatenate([-sides, sides], axis=1)


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    even = 4 * rng.permutation(np.arange(2.0, 9))
    return [
        Case("cell_anchors", "one size, two ratios", (even[:1], np.array([0.25, 1.0]))),
        Case("cell_anchors", "two sizes, one ratio", (even[1:3], np.array([4.0]))),
        Case("cell_anchors", "two sizes, three ratios", (even[3:5], np.array([1.0, 4, 0.25]))),
        Case("cell_anchors", "rounding", _shapes(rng, 1, [0.5, 2.0])),
        Case("cell_anchors", "three sizes, three ratios", _shapes(rng, 3, [0.5, 1.0, 3.0])),
        Case("grid_anchors", "one row", ((1, 2), (32, 16), _anchors(rng, 2))),
        Case("grid_anchors", "one column", ((3, 1), (8, 4), _anchors(rng, 1))),
        Case("grid_anchors", "one anchor a place", ((2, 3), (16, 16), _anchors(rng, 1))),
        Case("grid_anchors", "three anchors a place", ((4, 5), (10, 12), _anchors(rng, 3)), 2),
    ]


def _clear(sizes, ratios):
    """Whether all are positive and no coordinate stands at half a pixel."""
    return min(sizes.min(), ratios.min()) > 0 and (np.abs(
        np.abs(_cell(sizes, ratios, rounded=np.asarray) % 1) - 0.5) > 1e-3).all()


EXERCISE = Exercise(
    name="anchors", title="Anchor boxes over a feature map", lecture="UW, Region Proposal Network",
    source="tinyvision/boxes/anchors.py",
    functions={"cell_anchors": cell_anchors, "grid_anchors": grid_anchors}, cases=cases,
    mistakes=MISTAKES, domain={"cell_anchors": _clear})
