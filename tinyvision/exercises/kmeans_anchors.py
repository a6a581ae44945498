r"""# Anchors from k-means

Write `shape_iou` and `kmeans_anchors`: let the data choose the anchors' sizes, as YOLOv2 does.

Anchors picked by hand fit some data sets badly. YOLOv2 (Redmon and Farhadi 2017, section 2,
"Dimension Clusters") runs k-means on the sides (w, h) of the training boxes. Euclidean distance
would let large boxes make larger errors than small ones; what counts is the overlap:

$$d(\text{box}, \text{centre}) = 1 - \text{IoU}(\text{box}, \text{centre})$$

where both boxes stand with the same corner at the same place. In every iteration

1. each box joins the centre with the smallest d,
2. each centre moves to the mean of the sides of its boxes.

**By hand.** Boxes (2, 2), (4, 2), (8, 8) and centres (2, 1), (8, 9). IoUs with the centres:

    (2, 2)    2 / 4 = 0.5     4 / 72 = 0.06       joins the first
    (4, 2)    2 / 8 = 0.25    8 / 72 = 0.11       joins the first
    (8, 8)    2 / 64 = 0.03  64 / 72 = 0.89       joins the second

After one iteration the centres are ((2 + 4) / 2, (2 + 2) / 2) = (3, 2) and (8, 8).

**Conventions.** All sides are positive. A box that is equally near to several centres joins the
first of them. All boxes join before any centre moves. A centre that no box joins stays where it is.
The centres keep their order.

**Shapes.** sides (N, 2) and centres (K, 2), rows (w, h), give IoUs (N, K), and new centres (K, 2).
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions


def shape_iou(sides, centres):
    """IoU of boxes that stand with the same corner at the same place.

    Arguments:
        sides: (N, 2) rows (w, h).
        centres: (K, 2) rows (w, h).

    Returns:
        (N, K) numbers from 0 to 1.
    """
    ### BEGIN SOLUTION
    common = np.minimum(sides[:, None], centres[None])
    both = common[..., 0] * common[..., 1]
    areas, others = sides[:, 0] * sides[:, 1], centres[:, 0] * centres[:, 1]
    return both / (areas[:, None] + others[None] - both)
    ### END SOLUTION


def kmeans_anchors(sides, centres, iterations):
    """k-means with the distance 1 - IoU.

    Arguments:
        sides: (N, 2) rows (w, h) of the training boxes.
        centres: (K, 2) where to begin.
        iterations: how often boxes join and centres move.

    Returns:
        (K, 2) the centres after that.
    """
    ### BEGIN SOLUTION
    centres = centres.copy()
    for _ in range(iterations):
        nearest = shape_iou(sides, centres).argmax(axis=1)
        for k in range(len(centres)):
            if (nearest == k).any():
                centres[k] = sides[nearest == k].mean(axis=0)
    return centres
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _ratio(sides, centres, overlap=np.minimum, union=None, extra=0.0, around=0.0, times=1):
    """`shape_iou` with one piece exchanged; extra: added to the sides; around: to the areas' sides
    only."""
    sides, centres = sides[:, None] + extra, centres[None] + extra
    both = times * overlap(sides, centres).prod(axis=-1)
    first, second = ((a + around).prod(axis=-1) for a in (sides, centres))
    return both / (first + second - both if union is None else union(first, second))


def _iou_but(**how):
    return lambda sides, centres: _ratio(sides, centres, **how)


def _of_areas(sides, centres):
    first, second = sides.prod(axis=1)[:, None], centres.prod(axis=1)
    return np.minimum(first, second) / np.maximum(first, second)


def _by_enclosing(sides, centres):
    common = np.minimum(sides[:, None], centres), np.maximum(sides[:, None], centres)
    return common[0].prod(axis=-1) / common[1].prod(axis=-1)


def _columns_first(sides, centres):
    return shape_iou(centres, sides).reshape(len(sides), len(centres))


def _by(overlap):
    """`kmeans_anchors` by a wrong `shape_iou`."""
    return _but(nearest=lambda sides, centres: overlap(sides, centres).argmax(axis=1))


def _area_apart(sides, centres):
    return np.abs(sides.prod(axis=1)[:, None] - centres.prod(axis=1)).argmin(axis=1)


def _city_blocks(sides, centres):
    return np.abs(sides[:, None] - centres).sum(axis=-1).argmin(axis=1)


def _in_logarithms(sides, centres):
    return _euclidean(np.log(sides), np.log(centres))


def _lost_dropped(sides, centres, iterations):
    for _ in range(iterations):
        joined = _nearest(sides, centres)
        centres = np.array([sides[joined == k].mean(axis=0) for k in np.unique(joined)])
    return centres


def _old_centre_counts(sides, centres, iterations):
    for _ in range(iterations):
        joined = _nearest(sides, centres)
        centres = np.array([np.mean([old, *sides[joined == k]], axis=0)
                            for k, old in enumerate(centres)])
    return centres


def _until_nothing_changes(sides, centres, iterations):
    return kmeans_anchors(sides, centres, 100)


def _nearest(sides, centres):
    return shape_iou(sides, centres).argmax(axis=1)


def _euclidean(sides, centres):
    return ((sides[:, None] - centres) ** 2).sum(axis=-1).argmin(axis=1)


def _last_of_equal(sides, centres):
    return len(centres) - 1 - shape_iou(sides, centres[::-1]).argmax(axis=1)


def _kmeans(sides, centres, iterations, nearest=_nearest, middle=lambda rows: rows.mean(axis=0),
            lost=lambda old: old):
    """`kmeans_anchors` with another distance, another middle, or other lost centres."""
    for _ in range(iterations):
        joined = nearest(sides, centres)
        members = [sides[joined == k] for k in range(len(centres))]
        centres = np.array([middle(rows) if len(rows) else lost(old)
                            for rows, old in zip(members, centres)])
    return centres


def _but(**how):
    return lambda sides, centres, iterations: _kmeans(sides, centres, iterations, **how)


def _one_after_the_other(sides, centres, iterations):
    centres = centres.copy()
    for _ in range(iterations):
        for k in range(len(centres)):
            mine = _nearest(sides, centres) == k
            centres[k] = sides[mine].mean(axis=0) if mine.any() else centres[k]
    return centres


def _box_by_box(first=1, anew=False):
    """A centre moves at once; it counts as so many boxes at first, or before every iteration."""
    def wrong(sides, centres, iterations):
        centres, counts = centres.copy(), np.full(len(centres), first)
        for _ in range(iterations):
            counts = np.full(len(centres), first) if anew else counts
            for side in sides:
                k = _nearest(side[None], centres)[0]
                counts[k] += 1
                centres[k] += (side - centres[k]) / counts[k]
        return centres
    return wrong


def _sorted(key):
    def wrong(sides, centres, iterations):
        found = kmeans_anchors(sides, centres, iterations)
        return found[np.argsort(key(found), kind="stable")]
    return wrong


MISTAKES = (
    Mistake("shape_iou", "one-minus", "That is the distance; the IoU itself is asked for here.",
            lambda sides, centres: 1 - shape_iou(sides, centres)),
    Mistake("shape_iou", "union-counts-twice", "The sum of both areas counts the part that they "
            "share twice.", _iou_but(union=lambda first, second: first + second)),
    Mistake("shape_iou", "larger-area", "You divide by the larger area. What does a union of two "
            "boxes hold that stand across each other?", _iou_but(union=np.maximum)),
    Mistake("shape_iou", "smaller-area", "You divide by the smaller area: a box inside another "
            "would always get 1.", _iou_but(union=np.minimum)),
    Mistake("shape_iou", "of-areas", "You compare areas only: a wide and a high box may have the "
            "same area and overlap little.", _of_areas),
    Mistake("shape_iou", "larger-sides", "The intersection has the larger of the two widths in "
            "your code.", _iou_but(overlap=np.maximum)),
    Mistake("shape_iou", "plus-one", "Sides are continuous: no + 1.", _iou_but(extra=1.0)),
    Mistake("shape_iou", "transposed", "The boxes belong to the rows, the centres to the columns.",
            lambda sides, centres: shape_iou(centres, sides)),
    Mistake("kmeans_anchors", "euclidean", "Each box joins the centre whose sides are most like "
            "its own. What counts is how much the two overlap: which distance is that?",
            _but(nearest=_euclidean)),
    Mistake("kmeans_anchors", "farthest", "Each box joins the centre that it overlaps least. "
            "Which distance belongs to a large IoU?",
            _but(nearest=lambda sides, centres: shape_iou(sides, centres).argmin(axis=1))),
    Mistake("kmeans_anchors", "by-area", "The boxes join the centre with the nearest area, "
            "whatever its shape.",
            _but(nearest=lambda sides, centres: _of_areas(sides, centres).argmax(axis=1))),
    Mistake("kmeans_anchors", "last-of-equal", "A box that is equally near to several centres "
            "joins the first of them.", _but(nearest=_last_of_equal)),
    Mistake("kmeans_anchors", "median", "Your centres are medians. That is k-medians, which some "
            "programs use; k-means has means.", _but(middle=lambda rows: np.median(rows, axis=0))),
    Mistake("kmeans_anchors", "lost-centres-are-zero", "A centre without boxes becomes 0. It "
            "should stay where it is.", _but(lost=lambda old: 0 * old)),
    Mistake("kmeans_anchors", "lost-centres-are-nan", "What is the mean of no boxes?",
            _but(lost=lambda old: old * np.nan)),
    Mistake("kmeans_anchors", "one-after-the-other", "A centre moves before the boxes have been "
            "compared with the next one. All boxes join first.", _one_after_the_other),
    Mistake("kmeans_anchors", "box-by-box", "The centre moves after every single box. All boxes "
            "join before any centre moves.", _box_by_box()),
    Mistake("kmeans_anchors", "once", "There is one iteration only, whatever `iterations` is.",
            lambda sides, centres, iterations: kmeans_anchors(sides, centres, 1)),
    Mistake("kmeans_anchors", "one-more", "There is one iteration too many.",
            lambda sides, centres, iterations: kmeans_anchors(sides, centres, iterations + 1)),
    Mistake("kmeans_anchors", "one-less", "There is one iteration too few.",
            lambda sides, centres, iterations: kmeans_anchors(sides, centres, iterations - 1)),
    Mistake("kmeans_anchors", "sorted", "Your centres are sorted; they should keep their order.",
            _sorted(lambda rows: rows.prod(axis=1))),
    Mistake("shape_iou", "dice", "Twice the intersection over the sum of areas is the Dice "
            "coefficient, a relative of the IoU.",
            _iou_but(times=2, union=lambda first, second: first + second)),
    Mistake("shape_iou", "enclosing-box", "You divide by the smallest box around both. A union has "
            "no more than what is in one of them.", _by_enclosing),
    Mistake("shape_iou", "of-one-box", "You divide by the area of one of the two boxes.",
            _iou_but(union=lambda first, second: first)),
    Mistake("kmeans_anchors", "lost-centres-dropped", "A centre without boxes is missing in your "
            "answer. It should stay where it is.", _lost_dropped),
    Mistake("kmeans_anchors", "old-centre-counts", "The old centre takes part in the mean. A "
            "centre is the mean of its boxes alone.", _old_centre_counts),
    Mistake("kmeans_anchors", "mean-of-both-sides", "Your centres are squares: widths and heights "
            "have a mean each.", _but(middle=lambda rows: np.full(2, rows.mean()))),
    Mistake("kmeans_anchors", "until-nothing-changes", "You go on until nothing changes; "
            "`iterations` says how often boxes join.", _until_nothing_changes),
)

_WRONG_OVERLAPS = {name: [one for one in MISTAKES if one.name == name][0] for name in (
    "larger-area", "smaller-area", "plus-one", "enclosing-box", "of-one-box")}

_ONE_AREA = "Which centre is best does not depend on both areas in your code. What is divided by " \
            "is the area of the union of both boxes."
MISTAKES += tuple(Mistake("kmeans_anchors", name, _ONE_AREA if name == "of-one-box" else one.hint,
                          _by(one.implementation)) for name, one in _WRONG_OVERLAPS.items())

MISTAKES += versions(MISTAKES, {
    ("shape_iou", "plus-one"): (_iou_but(around=1.0), _iou_but(
        overlap=lambda a, b: np.minimum(a, b) + 1)),
    ("shape_iou", "of-one-box"): (_iou_but(union=lambda first, second: second + 0 * first),),
    ("shape_iou", "transposed"): (_columns_first,),
    ("kmeans_anchors", "euclidean"): (_but(nearest=_city_blocks), _but(nearest=_in_logarithms)),
    ("kmeans_anchors", "by-area"): (_but(nearest=_area_apart),),
    ("kmeans_anchors", "box-by-box"): (_box_by_box(0), _box_by_box(0, True), _box_by_box(1, True)),
    ("kmeans_anchors", "sorted"): (_sorted(lambda rows: -rows.prod(axis=1)),
                                   _sorted(lambda rows: rows[:, 0])),
    ("kmeans_anchors", "of-one-box"): (_by(_iou_but(union=lambda first, second: second
                                                    + 0 * first)),),
})


# ---- cases ---------------------------------------------------------------------------------------

def _margin(sides, centres, iterations):
    """By how much, at least, a box prefers its centre to the next one."""
    least = 1.0
    for _ in range(iterations):
        overlaps = np.sort(shape_iou(sides, centres), axis=1)
        least = min(least, (overlaps[:, -1] - overlaps[:, -2]).min())
        centres = kmeans_anchors(sides, centres, 1)
    return least


def _told_apart(*args):
    """Whether every wrong distance, hasty move and other order ends at other centres."""
    wrong = [one.implementation for one in MISTAKES if one.function == "kmeans_anchors"
             and one.name in ("euclidean", "by-area", "box-by-box", "sorted", *_WRONG_OVERLAPS)]
    ends = {tuple(f(*args).ravel().round(3)) for f in (kmeans_anchors, *wrong)}
    return len(ends) == 1 + len(wrong)


def _random(rng, count, clusters, iterations, tell=False):
    """Random sides and centres, drawn again while rounding might decide, or while the last
    iteration, or one or two more, would change nothing; tell: or no wrong distance, either."""
    while True:
        sides, centres = rng.uniform(0.3, 6, (count, 2)), rng.uniform(0.5, 6, (clusters, 2))
        ends = [kmeans_anchors(sides, centres, iterations + k) for k in (-1, 0, 1, 2)]
        if _margin(sides, centres, iterations) > 1e-3 and all(
                np.abs(a - b).max() > 0.05 for a, b in zip(ends, ends[1:])) and (
                not tell or _told_apart(sides, centres, iterations)):
            return sides, centres, iterations


def _whole(rng, low, high):
    """Random whole sides, from one table to another."""
    return rng.integers(low, np.array(high) + 1).astype(float)


def _nearly_there(rng, count, clusters):
    """Centres that move by less than a hundredth, which is not nothing."""
    while True:
        sides, centres = rng.uniform(0.3, 6, (count, 2)), rng.uniform(0.5, 6, (clusters, 2))
        ends = kmeans_anchors(sides, centres, 50)
        begin = ends + rng.choice([-1, 1], ends.shape) / 256
        if _margin(sides, begin, 1) > 1e-3 and np.allclose(kmeans_anchors(sides, begin, 1), ends):
            return sides, begin, 1


def _two_small_one_large(rng):
    """Three boxes, and in a random order the two centres that they join."""
    return (_whole(rng, [(2, 2), (2, 2), (8, 8)], [(4, 4), (4, 4), (12, 12)]),
            rng.permutation(np.array([[3.0, 2], [10, 9]])))


def _across(rng):
    """A high box, and centres: the box lying down, one in between, and one that is as large."""
    (w, h), (more, less) = _whole(rng, (2, 6), (4, 9)), _whole(rng, (1, 1), (2, 2))
    return np.array([[w, h]]), np.array([[h, w], [w + more, h - less], [w, h]])


def _tie(rng):
    """A square, which is equally near to a high centre and to that centre lying down; each of them
    has a box of its own."""
    (w, h), (side, far, near) = _whole(rng, (1, 4), (2, 6)), _whole(rng, (2, 8, 1), (3, 12, 3))
    return np.array([[side, side], [near, far], [far + 1, near]]), rng.permutation(
        np.array([[w, h], [h, w]]))


def _lost(rng):
    """Two more centres, far too large for all boxes, so that there are more centres than boxes; of
    the two that boxes join one is the last."""
    sides, (one, other) = _two_small_one_large(rng)
    lost = _whole(rng, [(40, 50), (80, 30)], [(60, 70), (90, 38)])
    return sides, np.concatenate([rng.permutation([*lost, one]), [other]])


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    return [
        Case("shape_iou", "one box, two centres", (
            _whole(rng, [(2, 2)], [(7, 7)]), _whole(rng, [(1, 1), (5, 5)], [(5, 5), (9, 9)]))),
        Case("shape_iou", "across each other", _across(rng)),
        Case("shape_iou", "many boxes", (rng.uniform(0.2, 5, (7, 2)), rng.uniform(0.2, 5, (4, 2)))),
        Case("kmeans_anchors", "by hand", (*_two_small_one_large(rng), 1)),
        Case("kmeans_anchors", "equally near", (*_tie(rng), 1)),
        Case("kmeans_anchors", "a centre that no box joins", (*_lost(rng), 1)),
        Case("kmeans_anchors", "one iteration", _nearly_there(rng, 15, 3)),
        Case("kmeans_anchors", "two iterations", _random(rng, 20, 4, 2), 1.5),
        Case("kmeans_anchors", "three iterations", _random(rng, 25, 5, 3, tell=True), 1.5),
    ]


def _positive(sides, centres, *others):
    return min(sides.min(), centres.min()) > 0


EXERCISE = Exercise(
    name="kmeans_anchors", title="Anchor sizes from k-means with 1 - IoU",
    lecture="DLCV, One Stage vs Two Stage Detection (YOLO v2)",
    source="tinyvision/ops/box_iou.py",
    functions={"shape_iou": shape_iou, "kmeans_anchors": kmeans_anchors}, cases=cases,
    mistakes=MISTAKES,
    magnitude={"shape_iou": lambda sides, centres: 2 * shape_iou(sides, centres),
               "kmeans_anchors": kmeans_anchors},
    terms={"shape_iou": lambda sides, centres: 8,
           "kmeans_anchors": lambda sides, centres, iterations: len(sides)},
    domain={"shape_iou": _positive, "kmeans_anchors": _positive})
