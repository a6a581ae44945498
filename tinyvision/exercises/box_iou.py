r"""# Intersection over union of boxes

Write `box_iou`: how well each box of one set fits each box of another.

$$\text{IoU} = \frac{\text{area of intersection}}{\text{area of union}}$$

It is 1 for equal boxes, 0 for boxes that do not overlap. Detectors use it to match predictions
to the truth ("above 0.5 is a good match") and to drop duplicates.

**By hand.** The boxes (0, 0, 4, 3) and (2, 1, 5, 7) overlap from x = 2 to 4 and from y = 1 to 3:

    area of intersection    2 * 2          =  4
    area of union           12 + 18 - 4    = 26       IoU = 4 / 26 = 0.1538

**Conventions.** A box is (x0, y0, x1, y1) in continuous coordinates: its width is x1 - x0, with
no "+1". A box with x1 <= x0 or y1 <= y0 is empty, its area is 0; the IoU with an empty box is 0
(also of two empty boxes: never NaN).

**Shapes.** boxes1 (N, 4) and boxes2 (M, 4) give (N, M).
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions


def box_iou(boxes1, boxes2):
    """IoU of every box of one set with every box of another.

    Arguments:
        boxes1: (N, 4) boxes (x0, y0, x1, y1).
        boxes2: (M, 4) boxes.

    Returns:
        (N, M) numbers from 0 to 1.
    """
    ### BEGIN SOLUTION
    def area(boxes):
        size = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
        return size[..., 0] * size[..., 1]

    first, second = boxes1[:, None], boxes2[None]
    overlap = np.concatenate([np.maximum(first[..., :2], second[..., :2]),
                              np.minimum(first[..., 2:], second[..., 2:])], axis=-1)
    intersection = area(overlap)
    union = area(first) + area(second) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _parts(boxes1, boxes2, extra=0.0, clip=0.0):
    """(area of intersection, areas of boxes1, areas of boxes2), to be put together wrongly."""
    def area(boxes):
        size = np.maximum(boxes[..., 2:] - boxes[..., :2] + extra, clip)
        return size[..., 0] * size[..., 1]
    first, second = boxes1[:, None], boxes2[None]
    overlap = np.concatenate([np.maximum(first[..., :2], second[..., :2]),
                              np.minimum(first[..., 2:], second[..., 2:])], axis=-1)
    return area(overlap), area(first), area(second)


def _ratio(a, b):
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape)), where=b != 0)


def _plus_one(boxes1, boxes2):
    both, first, second = _parts(boxes1, boxes2, extra=1.0)
    return _ratio(both, first + second - both)


def _not_clipped(boxes1, boxes2):
    both, first, second = _parts(boxes1, boxes2, clip=-np.inf)
    return _ratio(both, first + second - both)


def _twice_counted(boxes1, boxes2):
    both, first, second = _parts(boxes1, boxes2)
    return _ratio(both, first + second)


def _smaller_area(boxes1, boxes2):
    both, first, second = _parts(boxes1, boxes2)
    return _ratio(both, np.minimum(first, second))


def _dice(boxes1, boxes2):
    both, first, second = _parts(boxes1, boxes2)
    return _ratio(2 * both, first + second)


def _read_as_sizes(boxes1, boxes2):
    corners = [np.concatenate([b[:, :2], b[:, :2] + b[:, 2:]], axis=1) for b in (boxes1, boxes2)]
    return box_iou(*corners)


def _transposed(boxes1, boxes2):
    return box_iou(boxes2, boxes1)


def _nan(boxes1, boxes2):
    both, first, second = _parts(boxes1, boxes2)
    with np.errstate(invalid="ignore"):
        return both / (first + second - both)


def _plainly_divided(clip_sides, clip_areas):
    """0 / 0 wherever the union is empty, with sides or areas that may be negative."""
    def wrong(boxes1, boxes2):
        both = np.maximum(_sides(boxes1, boxes2), clip_sides).prod(axis=-1)
        first, second = (_areas(boxes, clip=clip_areas) for boxes in (boxes1, boxes2))
        with np.errstate(invalid="ignore", divide="ignore"):
            return both / (first[:, None] + second - both)
    return wrong


def _pairs_only(boxes1, boxes2):
    count = min(len(boxes1), len(boxes2))
    return np.diagonal(box_iou(boxes1[:count], boxes2[:count])).copy()


def _sides(boxes1, boxes2):
    """(N, M, 2) widths and heights of the overlaps, negative where boxes are apart."""
    return np.minimum(boxes1[:, None, 2:], boxes2[None, :, 2:]) - np.maximum(
        boxes1[:, None, :2], boxes2[None, :, :2])


def _areas(boxes, extra=0.0, clip=0.0):
    """Areas of boxes (N, 4)."""
    return np.maximum(boxes[:, 2:] - boxes[:, :2] + extra, clip).prod(axis=1)


def _put_together(both, first, second, positive=True):
    """The ratio where the union is positive, or where it is not zero; else 0."""
    union = first[:, None] + second - both
    return _ratio(both, np.where(union > 0, union, 0) if positive else union)


def _overlap_but(sides, clip=0.0, positive=False):
    """`box_iou` whose intersections are a function of the overlaps' sides."""
    return lambda a, b: _put_together(sides(_sides(a, b)), _areas(a, clip=clip),
                                      _areas(b, clip=clip), positive)


def _plus_one_in(both, areas, positive=True):
    """The + 1 in only one of the two places."""
    return lambda a, b: _put_together(np.maximum(_sides(a, b) + both, 0).prod(axis=-1),
                                      _areas(a, areas), _areas(b, areas), positive)


def _unless_empty(wrong):
    """A wrong `box_iou` that looks for empty boxes first."""
    def guarded(boxes1, boxes2):
        full = [(b[:, :2] < b[:, 2:]).all(axis=1) for b in (boxes1, boxes2)]
        return np.where(full[0][:, None] & full[1], wrong(boxes1, boxes2), 0.0)
    return guarded


def _area_clipped(sides):
    return np.maximum(sides.prod(axis=-1), 0)


def _unless_both_negative(sides):
    return np.where((sides <= 0).all(axis=-1), 0, sides.prod(axis=-1))


def _x_clipped(sides):
    return np.maximum(sides[..., 0], 0) * sides[..., 1]


def _y_clipped(sides):
    return sides[..., 0] * np.maximum(sides[..., 1], 0)


def _turned_positive(sides):
    return np.abs(sides).prod(axis=-1)


def _enclosing(boxes1, boxes2):
    """Areas of the smallest boxes around each two."""
    return (np.maximum(boxes1[:, None, 2:], boxes2[None, :, 2:]) - np.minimum(
        boxes1[:, None, :2], boxes2[None, :, :2])).prod(axis=-1)


def _by_enclosing(boxes1, boxes2):
    return _ratio(_parts(boxes1, boxes2)[0], _enclosing(boxes1, boxes2))


def _enclosing_shared(boxes1, boxes2):
    _, first, second = _parts(boxes1, boxes2)
    both = _enclosing(boxes1, boxes2)
    return _ratio(both, first + second - both)


def _over(union):
    """Wrong unions: a function of (intersection, areas of boxes1, areas of boxes2)."""
    def wrong(boxes1, boxes2):
        both, first, second = np.broadcast_arrays(*_parts(boxes1, boxes2))
        return _ratio(both, union(both, first, second))
    return wrong


def _endless(boxes1, boxes2):
    both, first, second = _parts(boxes1, boxes2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return both / (first + second - 2 * both)


def _sizes_in(areas, overlap):
    """Rows read as (x, y, w, h) for the areas, for the overlap, or for both."""
    def corners(boxes, where):
        x, sizes = boxes[:, :2], boxes[:, 2:]
        low, high = {"corner": (x, x + sizes), "middle": (x - sizes / 2, x + sizes / 2),
                     "right": (x, sizes)}[where]
        return np.concatenate([low, high], axis=1)

    def wrong(boxes1, boxes2):
        both = np.maximum(_sides(corners(boxes1, overlap), corners(boxes2, overlap)), 0)
        return _put_together(both.prod(axis=-1), *(_areas(corners(b, areas))
                                                   for b in (boxes1, boxes2)))
    return wrong


def _empty_alike(boxes1, boxes2):
    both, first, second = _parts(boxes1, boxes2)
    return np.where(first + second - both > 0, box_iou(boxes1, boxes2), 1.0)


def _columns_first(boxes1, boxes2):
    return box_iou(boxes2, boxes1).reshape(len(boxes1), len(boxes2))


MISTAKES = (
    Mistake("box_iou", "plus-one", "Coordinates are continuous: a box from 0 to 2 is 2 wide. "
            "The + 1 belongs to boxes that count whole pixels.", _plus_one),
    Mistake("box_iou", "not-clipped", "Where two boxes are apart, the overlap's width or height is "
            "negative. What should each of them be before they are multiplied?", _not_clipped),
    Mistake("box_iou", "union-counts-twice", "The sum of both areas counts the part that they "
            "share twice.", _twice_counted),
    Mistake("box_iou", "smaller-area", "You divide by the smaller box, so a box inside another "
            "always gets 1. What does a union of two sets hold?", _smaller_area),
    Mistake("box_iou", "dice", "Twice the intersection over the sum of areas is the Dice "
            "coefficient, a relative of the IoU.", _dice),
    Mistake("box_iou", "read-as-sizes", "The last two numbers of a box are its other corner, "
            "not its width and height.", _read_as_sizes),
    Mistake("box_iou", "transposed", "`boxes1` belongs to the rows of the result, `boxes2` to the "
            "columns.", _transposed),
    Mistake("box_iou", "nan", "Two empty boxes have an empty union: what is 0 / 0, and what should "
            "it be here?", _nan),
    Mistake("box_iou", "pairs-only", "Every box of `boxes1` is compared with every box of "
            "`boxes2`, not only with the one at the same position.", _pairs_only),
    Mistake("box_iou", "larger-area", "You divide by the larger box. What does a union of two "
            "boxes hold that stand across each other?",
            _over(lambda both, first, second: np.maximum(first, second))),
    Mistake("box_iou", "of-one-box", "Your union leaves out one of the two boxes, or a part of "
            "it: the answer would change if they changed places.",
            _over(lambda both, first, second: first)),
    Mistake("box_iou", "shared-part-lost", "You subtract the shared part twice: what belongs to "
            "both boxes belongs to their union.",
            _over(lambda both, first, second: first + second - 2 * both)),
    Mistake("box_iou", "enclosing-box", "You divide by the smallest box around both. A union has "
            "no more than what is in one of them.", _by_enclosing),
    Mistake("box_iou", "min-and-max-exchanged", "Your overlap begins at the smaller of the two "
            "left edges, and so encloses both boxes.", _enclosing_shared),
    Mistake("box_iou", "empty-boxes-alike", "Two empty boxes share nothing: their IoU is 0 here.",
            _empty_alike),
)

MISTAKES += versions(MISTAKES, {
    ("box_iou", "plus-one"): (
        _plus_one_in(1, 0), _plus_one_in(0, 1), _plus_one_in(1, 0, positive=False),
        _unless_empty(_plus_one), _unless_empty(_plus_one_in(1, 0))),
    ("box_iou", "not-clipped"): (
        *(_overlap_but(sides) for sides in (_area_clipped, _x_clipped, _y_clipped,
                                            _turned_positive)),
        _overlap_but(lambda sides: sides.prod(axis=-1)),
        _overlap_but(lambda sides: sides.prod(axis=-1), clip=-np.inf, positive=True),
        _overlap_but(lambda sides: sides.prod(axis=-1), positive=True),
        *(_overlap_but(_unless_both_negative, clip=clip, positive=True) for clip in (0.0, -np.inf)),
        _overlap_but(_area_clipped, clip=-np.inf),
        *(_unless_empty(_overlap_but(sides)) for sides in (
            _area_clipped, _x_clipped, _y_clipped, _turned_positive)),
        _unless_empty(_overlap_but(lambda sides: sides.prod(axis=-1), positive=True)),
        _unless_empty(_not_clipped), _plainly_divided(-np.inf, -np.inf),
        _plainly_divided(-np.inf, 0.0)),
    ("box_iou", "nan"): (_plainly_divided(0.0, -np.inf),),
    ("box_iou", "of-one-box"): (_over(lambda both, first, second: second),),
    ("box_iou", "shared-part-lost"): (_endless,),
    ("box_iou", "read-as-sizes"): (
        _sizes_in("right", "corner"), _sizes_in("corner", "right"),
        _sizes_in("middle", "middle")),
    ("box_iou", "transposed"): (_columns_first,),
})

# Those that differ where no box is empty, for exercises that choose boxes by their IoU.
_WITHOUT_EMPTY = {
    "plus-one": (_plus_one, _plus_one_in(1, 0), _plus_one_in(0, 1)),
    "not-clipped": (_not_clipped, _overlap_but(_turned_positive)),
    "union-counts-twice": (_twice_counted,),
    "smaller-area": (_smaller_area,),
    "larger-area": (_over(lambda both, first, second: np.maximum(first, second)),),
    "of-one-box": (_over(lambda both, first, second: first),
                   _over(lambda both, first, second: second)),
    "dice": (_dice,),
    "read-as-sizes": (_read_as_sizes, _sizes_in("right", "corner"), _sizes_in("middle", "middle")),
    "enclosing-box": (_by_enclosing,),
    "min-and-max-exchanged": (_enclosing_shared,),
}


def borrowed(function, choose):
    """Mistakes of an exercise that chooses by an IoU: ``choose`` makes the wrong function of a
    wrong `box_iou`."""
    hints = {mistake.name: mistake.hint for mistake in MISTAKES}
    return tuple(Mistake(function, name, hints[name], choose(wrong))
                 for name, several in _WITHOUT_EMPTY.items() for wrong in several)


# ---- cases ---------------------------------------------------------------------------------------

def _boxes(rng, count):
    """Random boxes of about a third to all of the unit square: most of them overlap."""
    corner, size = rng.uniform(-0.2, 0.4, (count, 2)), rng.uniform(0.3, 0.8, (count, 2))
    return np.concatenate([corner, corner + size], axis=1)


def _moved(rng, *sets):
    """Lists of boxes of small integers, all moved by the same whole number of pixels; and, far from
    them, one more in each that overlap by chance: no answer is known beforehand."""
    dx, dy = rng.integers(0, 5, 2)
    pair = rng.integers([30, 30, 33, 33], [33, 33, 37, 37], (len(sets), 4))
    return tuple(np.array([*boxes, one], float) + [dx, dy, dx, dy]
                 for boxes, one in zip(sets, pair))


def _overlap(rng):
    """One box of small integers in each list, as in the example; how much they share is chance."""
    width, height, *more = rng.integers(3, 7, 4)
    return np.array([[0.0, 0, width, height]]), np.array([[2.0, 1, *more]]) + [0, 0, 1, 1]


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    args = [
        ("one overlap", 1, _overlap(rng)),
        ("the same box", 1, _moved(rng, [(1, 1, 3, 4)], [(1, 1, 3, 4), (1, 1, 4, 3)])),
        ("one inside the other", 1, _moved(rng, [(0, 0, 5, 4)], [(1, 1, 3, 2), (-1, -2, 6, 7)])),
        ("side by side, one below the other", 1,
         _moved(rng, [(0, 0, 2, 3)], [(2, 0, 5, 3), (3, 0, 6, 3), (1, 5, 3, 7)])),
        ("apart in both directions", 1,
         _moved(rng, [(0, 0, 2, 3)], [(4, 5, 7, 9), (-3, 4, -1, 6)])),
        ("degenerate boxes", 1, _moved(rng, [(1, 1, 1, 1), (0, 2, 4, 2)],
                                       [(1, 1, 1, 1), (0, 0, 3, 4), (2, 0, 2, 5)])),
        ("inverted boxes", 1, _moved(rng, [(3, 0, 1, 4), (0, 0, 4, 5)],
                                     [(4, 5, 0, 0), (1, 3, 3, 1), (2, 1, 6, 4)])),
        ("fractions", 1, (_boxes(rng, 3), _boxes(rng, 3))),
        ("many boxes", 2, (_boxes(rng, 7), _boxes(rng, 5))),
    ]
    return [Case("box_iou", name, arrays, points) for name, points, arrays in args]


def _magnitude(boxes1, boxes2):
    """First-order error of the ratio when each coordinate has an error of its own size."""
    def error(boxes, area):
        return reach * np.maximum(boxes[..., 2:] - boxes[..., :2], 0).sum(-1) + area
    both, first, second = _parts(boxes1, boxes2)
    reach = max(np.abs(boxes1).max(), np.abs(boxes2).max())
    errors = error(boxes1[:, None], first) + error(boxes2[None], second)
    return _ratio(errors * (1 + box_iou(boxes1, boxes2)), first + second - both)


EXERCISE = Exercise(
    name="box_iou", title="Intersection over union of boxes",
    lecture="Kempten L 10.5, Evaluating Boxes", source="tinyvision/ops/box_iou.py",
    functions={"box_iou": box_iou}, cases=cases, mistakes=MISTAKES,
    magnitude={"box_iou": _magnitude}, terms={"box_iou": lambda boxes1, boxes2: 8})
