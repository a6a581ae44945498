r"""# Region proposals

Write `rpn_proposals`: from what a region proposal network answers on one map to its proposals.

At each anchor the network says how much it looks like an object (a score) and how to correct it
(a code). "Sort the boxes by their objectness score, take the top 300 as our proposals", the lecture
says; in full (Ren et al. 2015, section 3.3, and the authors' code), in this order:

1. **Decode** the boxes. An anchor with centre (x_a, y_a) and sides w_a, h_a becomes a box with

$$\text{centre } (x_a + d_x w_a,\; y_a + d_y h_a), \qquad \text{sides } w_a e^{d_w},\; h_a e^{d_h}$$

2. **Clip** them to the image, 0 <= x <= W and 0 <= y <= H.
3. **Drop** those of which a side is now less than min_size.
4. Keep the `before` best by score.
5. **NMS**: best first, drop the boxes whose IoU with a kept one is greater than nms_threshold.
6. Keep the `after` best.

**By hand.** Image (H, W) = (10, 20), all codes 0, so that boxes are anchors; min_size 2, before 3,
nms_threshold 0.7, after 2:

    index   anchor            score
      0     (-1, 0, 1, 9)     0.9     clipped to (0, 0, 1, 9), 1 wide: dropped
      1     (4, 3, 8, 12)     0.8     clipped to (4, 3, 8, 10): kept
      2     (4, 3, 8, 8)      0.7     IoU with box 1 is 20 / 28 = 0.714: suppressed
      3     (12, 2, 16, 6)    0.6     kept: the answer is boxes 1 and 3
      4     (0, 5, 3, 9)      0.5     not one of the 3 best after step 3

**Conventions.** A box is (x0, y0, x1, y1) in continuous coordinates (no "+1"). A side of exactly
min_size is long enough. Of equal scores the lower index comes first. The codes have no weights, and
are small here: no limit on d_w and d_h is needed.

**Shapes.** codes (N, 4), scores (N,), anchors (N, 4) give the proposals (P, 4), best first, and
their indices among the N, int64 (P,).
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyvision.exercises.box_iou import borrowed
from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions
from tinyvision.exercises.ties import WHICH, not_stable, pairs


def decode(codes, anchors):
    """The boxes (N, 4) that codes (dx, dy, dw, dh) make of anchors."""
    sides = anchors[:, 2:] - anchors[:, :2]
    centres = anchors[:, :2] + sides / 2 + codes[:, :2] * sides
    halves = sides * np.exp(codes[:, 2:]) / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)


def iou(box, others):
    """IoU of one box (4,) with others (N, 4)."""
    size = np.maximum(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0)
    both = size[:, 0] * size[:, 1]
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    return both / ((box[2] - box[0]) * (box[3] - box[1]) + areas - both)


def nms(boxes, threshold):
    """The places of the boxes that no earlier one suppresses; boxes come best first."""
    left, kept = np.arange(len(boxes)), []
    while len(left):
        kept.append(left[0])
        left = left[1:][iou(boxes[left[0]], boxes[left[1:]]) <= threshold]
    return np.array(kept, np.int64)


def rpn_proposals(codes, scores, anchors, size, min_size, before, nms_threshold, after):
    """The proposals of one map of an image.

    Arguments:
        codes: (N, 4) corrections (dx, dy, dw, dh) of the anchors.
        scores: (N,) how much each anchor looks like an object.
        anchors: (N, 4) boxes (x0, y0, x1, y1).
        size: (H, W) of the image.
        min_size: boxes with a shorter side are dropped.
        before: how many boxes go into NMS, at most.
        nms_threshold: a box is suppressed where its IoU with a kept one is greater than this.
        after: how many boxes are returned, at most.

    Returns:
        (proposals, indices): (P, 4), best first, and int64 (P,), which of the N they are.
    """
    ### BEGIN SOLUTION
    boxes = decode(codes, anchors)
    boxes[:, ::2] = boxes[:, ::2].clip(0, size[1])
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, size[0])
    large = (boxes[:, 2:] - boxes[:, :2] >= min_size).all(axis=1)
    left = np.flatnonzero(large)
    left = left[np.argsort(-scores[left], kind="stable")][:before]
    left = left[nms(boxes[left], nms_threshold)][:after]
    return boxes[left], left
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _clipped(boxes, size):
    return np.clip(boxes, 0, np.array([size[1], size[0]] * 2))


def _best_first(scores):
    return np.argsort(-scores, kind="stable")


def _proposals(codes, scores, anchors, size, min_size, before, threshold, after, decode=decode,
               clip=_clipped, large=lambda sides, least: (sides >= least).all(axis=1),
               best=_best_first, nms=nms, early=False, cut_first=False, unclipped_sides=False,
               large_last=None, clip_last=False, again=lambda left, scores: left, answer=None):
    """`rpn_proposals` with one piece exchanged.

    early: `before` comes before the small boxes are dropped; large_last: they are dropped at the
    end, "before" or "after" the cut; again: the order of what goes into NMS; answer: the indices
    of (what went into NMS, the places kept).
    """
    whole = decode(codes, anchors)
    boxes = clip(whole, size)
    measured = whole if unclipped_sides or clip_last else boxes
    fine = large(measured[:, 2:] - measured[:, :2], min_size) | (large_last is not None)
    left = best(scores)
    left = left[:before][fine[left[:before]]] if early else left[fine[left]][:before]
    left = again(left, scores)
    if cut_first:
        left = left[:after]
    with np.errstate(invalid="ignore"):                      # of two empty boxes
        places = nms((whole if clip_last else boxes)[left], threshold)
    if large_last:
        places = places[:len(places) if large_last == "before" else after]
        ends = boxes[left[places]]
        places = places[large(ends[:, 2:] - ends[:, :2], min_size)]
    places = places[:after]
    return boxes[left[places]], (left[places] if answer is None else answer(left, places))


def _but(**how):
    return lambda *args: _proposals(*args, **how)


def _corner_moved(codes, anchors):
    sides = anchors[:, 2:] - anchors[:, :2]
    corner = anchors[:, :2] + codes[:, :2] * sides
    return np.concatenate([corner, corner + sides * np.exp(codes[:, 2:])], axis=1)


def _in_pixels(codes, anchors):
    sides = anchors[:, 2:] - anchors[:, :2]
    return decode(np.concatenate([codes[:, :2] / sides, codes[:, 2:]], axis=1), anchors)


def _no_exp(codes, anchors):
    return decode(np.concatenate([codes[:, :2], np.log1p(codes[:, 2:])], axis=1), anchors)


def _half_difference(codes, anchors):
    sides = anchors[:, 2:] - anchors[:, :2]
    centres, halves = sides / 2 + codes[:, :2] * sides, sides * np.exp(codes[:, 2:]) / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)


def _decoded(grow=np.exp, extra=0.0, half=0.5, moved=lambda sides, grown: sides):
    """`decode` with one piece exchanged."""
    def wrong(codes, anchors):
        sides = anchors[:, 2:] - anchors[:, :2] + extra
        grown = sides * grow(codes[:, 2:])
        centres = anchors[:, :2] + sides / 2 + codes[:, :2] * moved(sides, grown)
        return np.concatenate([centres - grown * half, centres + grown * half], axis=1)
    return wrong


def _clip_but(low=True, high=True, less=0):
    """Clips to only one end, or to the last pixel."""
    def wrong(boxes, size):
        boxes = np.maximum(boxes, 0) if low else boxes
        return np.minimum(boxes, np.array([size[1], size[0]] * 2) - less) if high else boxes
    return wrong


def _at_threshold(boxes, threshold):
    return nms(boxes, np.nextafter(threshold, 0))


def _table_nms(overlap, every=False):
    """NMS by a wrong IoU, or one in which every better box drops others."""
    def wrong(boxes, threshold):
        hit, kept = overlap(boxes, boxes) > threshold, []
        for j in range(len(boxes)):
            if not hit[range(j) if every else kept, j].any():
                kept.append(j)
        return np.array(kept, np.int64)
    return wrong


def _right_iou(boxes, others):
    return np.array([iou(box, others) for box in boxes]).reshape(len(boxes), len(others))


def _empty_kept(boxes, threshold):
    """NMS for which empty boxes overlap nothing."""
    return _table_nms(lambda a, b: np.nan_to_num(_right_iou(a, b)))(boxes, threshold)


def _sorted_by_index(*args):
    boxes, indices = rpn_proposals(*args)
    return boxes[np.argsort(indices)], np.sort(indices)


def _cut_after_nms(codes, scores, anchors, size, least, before, limit, after):
    return rpn_proposals(codes, scores, anchors, size, least, len(codes), limit,
                         min(before, after))


def _places_among_the_left(codes, scores, anchors, size, min_size, *rest):
    boxes, indices = rpn_proposals(codes, scores, anchors, size, min_size, *rest)
    fine = rpn_proposals(codes, scores, anchors, size, min_size, len(codes), 1.0, len(codes))[1]
    return boxes, np.searchsorted(np.sort(fine), indices)


MISTAKES = tuple(Mistake("rpn_proposals", name, hint, wrong) for name, hint, wrong in (
    ("not-clipped", "Your proposals may leave the image.", _but(clip=lambda boxes, size: boxes)),
    ("clipped-the-other-way", "The image's size is (H, W): which of them limits x?",
     _but(clip=lambda boxes, size: _clipped(boxes, size[::-1]))),
    ("outside-dropped", "Boxes that leave the image are clipped, not dropped.",
     lambda codes, scores, anchors, size, least, *rest: _proposals(
         codes, scores, anchors, size, least, *rest, clip=lambda boxes, size: np.where(
             (boxes == _clipped(boxes, size)).all(axis=1, keepdims=True), boxes, 0))),
    ("small-kept", "Small boxes are not dropped in your code.",
     _but(large=lambda sides, least: (sides > 0).all(axis=1))),
    ("small-before-clipping", "The sides are measured before the boxes are clipped; a large box "
     "may have a narrow part in the image.", _but(unclipped_sides=True)),
    ("exactly-min-size", "A side of exactly min_size is long enough.",
     _but(large=lambda sides, least: (sides > least).all(axis=1))),
    ("one-long-side", "A box with one short side stays in your code: both have to be long enough.",
     _but(large=lambda sides, least: (sides >= least).any(axis=1))),
    ("before-comes-first", "You take the `before` best first and then drop the small ones, so "
     "that small boxes take the places of good ones. Mind the order of the steps.",
     _but(early=True)),
    ("after-comes-first", "You take the `after` best before NMS: it then leaves fewer than asked "
     "for.", _but(cut_first=True)),
    ("before-ignored", "`before` has no effect.",
     lambda *args: rpn_proposals(*args[:5], len(args[0]), *args[6:])),
    ("after-ignored", "`after` has no effect.",
     lambda *args: rpn_proposals(*args[:7], len(args[0]))),
    ("no-nms", "Nothing is suppressed.", _but(nms=lambda boxes, limit: np.arange(len(boxes)))),
    ("at-the-threshold", "A box whose IoU is exactly the threshold stays.",
     _but(nms=_at_threshold)),
    ("worst-first", "The lowest scores come first: in which direction does argsort sort?",
     _but(best=lambda scores: np.argsort(scores, kind="stable"))),
    ("unsorted", "The boxes are not sorted by score.",
     _but(best=lambda scores: np.arange(len(scores)))),
    ("tie-order", "Of equal scores the lower index comes first. " + WHICH,
     _but(best=lambda scores: np.argsort(scores, kind="stable")[::-1])),
    ("corner-moved", "d_x and d_y move the anchor's centre; in your code its upper left corner "
     "moves and the box grows from there.", _but(decode=_corner_moved)),
    ("moved-by-pixels", "d_x and d_y are in sides of the anchor, not in pixels.",
     _but(decode=_in_pixels)),
    ("no-exp", "The sides grow linearly with d_w and d_h in your code.", _but(decode=_no_exp)),
    ("places-among-the-left", "The boxes are right; the indices are places in a list that "
     "some boxes have left, or that was sorted. They should count all N as they came.",
     _places_among_the_left),
    ("last-pixel", "The image ends at W and H: coordinates are continuous, no - 1.",
     _but(clip=_clip_but(less=1))),
    ("small-area", "Both sides are to be long enough, not the area.",
     _but(large=lambda sides, least: sides.prod(axis=1) >= least ** 2)),
    ("small-dropped-last", "The small boxes are dropped before NMS: after it they have suppressed "
     "others. Mind the order of the steps.", _but(large_last="before")),
    ("clipped-last", "The boxes are clipped before NMS: what lies outside the image counts in "
     "your IoUs. Mind the order of the steps.", _but(clip_last=True)),
    ("by-index", "The right proposals, sorted by index. They are ordered by score.",
     _sorted_by_index),
    ("dropped-boxes-drop", "A box that was itself dropped still drops others in your code.",
     _but(nms=_table_nms(_right_iou, every=True))),
    ("whole-sides", "Your boxes are twice as wide and high: how far is a corner from the centre?",
     _but(decode=_decoded(half=1.0))),
    ("half-difference", "The middle of x0 and x1 is not half their difference: that is how far it "
     "is from x0.", _but(decode=_half_difference)),
    ("sides-exchanged", "d_x is in widths of the anchor, d_y in its heights.",
     _but(decode=_decoded(moved=lambda sides, grown: sides[:, ::-1]))),
    ("by-the-box", "d_x and d_y are in sides of the anchor, not of the new box.",
     _but(decode=_decoded(moved=lambda sides, grown: grown))),
))

_BY_WRONG_OVERLAPS = tuple(
    replace(one, name="overlap-not-clipped") if one.name == "not-clipped" else one
    for one in borrowed("rpn_proposals", lambda overlap: _but(nms=_table_nms(overlap))))

# But of those that do not sort, or leave next to no box to be sorted.
_NOT_STABLE = not_stable([one for one in MISTAKES if one.name not in (
    "unsorted", "no-exp", "half-difference")], at=1)
MISTAKES += _BY_WRONG_OVERLAPS

MISTAKES += versions(MISTAKES, {("rpn_proposals", name): ways for name, ways in {
    "not-clipped": (_but(clip=_clip_but(low=False)), _but(clip=_clip_but(high=False))),
    "small-kept": (_but(large=lambda sides, least: sides[:, 0] > -np.inf),
                   _but(large=lambda sides, least: sides[:, 0] > -np.inf, nms=_empty_kept)),
    "small-area": (_but(large=lambda sides, least: sides.prod(axis=1) >= least),),
    "one-long-side": (_but(large=lambda sides, least: sides[:, 0] >= least),
                      _but(large=lambda sides, least: sides[:, 1] >= least)),
    "small-dropped-last": (_but(large_last="after"),),
    "before-ignored": (_cut_after_nms,),
    "worst-first": (
        _but(best=lambda scores: _best_first(scores)[::-1]),
        _but(best=lambda scores: np.argsort(scores, kind="stable"),
             again=lambda left, scores: left[_best_first(scores[left])]),
        _but(again=lambda left, scores: left[::-1])),
    "unsorted": (_but(again=lambda left, scores: np.sort(left)),),
    "plus-one": (_but(decode=_decoded(extra=1.0)),
                 _but(large=lambda sides, least: (sides + 1 >= least).all(axis=1))),
    "places-among-the-left": (_but(answer=lambda left, places: places),),
}.items()})

_STABLE = MISTAKES
MISTAKES += _NOT_STABLE


# ---- cases ---------------------------------------------------------------------------------------

def _still(rng, anchors, scores, *how, shuffle=True):
    """A case in which boxes are the anchors: in a random order, or else moved a little and perhaps
    left and right exchanged."""
    order = rng.permutation(len(anchors)) if shuffle else np.arange(len(anchors))
    moved = np.array(anchors, float) + (0 if shuffle else np.tile(rng.integers(0, 2, 2), 2))
    if not shuffle and rng.integers(2):
        moved[:, [0, 2]] = how[0][1] - moved[:, [2, 0]]
    return np.zeros((len(anchors), 4)), np.array(scores)[order], moved[order], *how


def _margin(args):
    """How far the nearest decision is from falling the other way."""
    codes, scores, anchors, size, least, before, limit, after = args
    boxes = _clipped(decode(codes, anchors), size)
    left = np.flatnonzero(np.prod(boxes[:, 2:] - boxes[:, :2] > 0, axis=1))
    return min(np.abs(boxes[:, 2:] - boxes[:, :2] - least).min(),
               *(np.abs(iou(boxes[k], boxes[left]) - limit).min() for k in left))


def _random(rng, count, *how, tell=()):
    """Random anchors and codes, drawn again while rounding might decide, or while not all of the
    mistakes in `tell` answer differently."""
    wrong = [rpn_proposals, *(one.implementation for one in _STABLE if one.name in tell)]
    while True:
        centres, sides = rng.uniform(-1, 13, (count, 2)), rng.uniform(2, 7, (count, 2))
        anchors = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
        args = (rng.uniform(-0.4, 0.4, (count, 4)), rng.permutation(np.linspace(-2, 2, count)),
                anchors, *how)
        if _margin(args) > 1e-3 and len({tuple(f(*args)[1]) for f in wrong}) == len(wrong):
            return args


def _heaps(rng, heaps, each, *how):
    """Random heaps of anchors, drawn again while rounding might decide, or while not all wrong
    IoUs answer differently."""
    wrong = [rpn_proposals, *(one.implementation for one in _BY_WRONG_OVERLAPS)]
    while True:
        corner = rng.uniform(0, 35, (heaps, 1, 2)) + rng.uniform(-1.3, 1.3, (heaps, each, 2))
        anchors = np.concatenate([corner, corner + rng.uniform(3, 7, (heaps, each, 2))], axis=-1)
        count = heaps * each
        args = (rng.uniform(-0.1, 0.1, (count, 4)), rng.permutation(np.linspace(-2, 2, count)),
                anchors.reshape(-1, 4), *how)
        if len({tuple(f(*args)[1]) for f in wrong}) == len(wrong) and _margin(args) > 1e-3:
            return args


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    hand = [(-1, 0, 1, 9), (4, 3, 8, 12), (4, 3, 8, 8), (12, 2, 16, 6), (0, 5, 3, 9)]
    over = [(-2, 3, 5, 9), (4, -3, 9, 4), (15, 2, 26, 6), (8, 6, 12, 14), (25, 2, 29, 6),
            (3, 12, 9, 15)]
    narrow = [(0, 0, 2, 5), (4, 0, 5, 7), (8, 0, 14, 1), (3, 8, 9, 14), (18.5, 1, 24, 5),
              (10, 5, 11.5, 5.75), (12, 5, 12.5, 9), (0, 6, 9, 6.5)]
    # Box 5 leaves the image and lies on 2; 8, 1, 6 are a chain; 3 is small and lies on 6.
    steps = [(13, 6, 17, 9), (2, 0, 8, 4), (15, 0, 20, 4), (4, 0, 10, 1.5), (1, 6, 5, 9),
             (14, 0, 32, 4), (4, 0, 10, 4), (7, 6, 11, 9), (0, 0, 6, 4), (10.5, 0, 13.5, 4)]
    halves = [(3, 0, 7, 4), (3, 0, 7, 2), (1, 3, 5, 7), (1, 3, 5, 5), (14, 5, 18, 9)]
    tiny = [(0.1, 0.2, 0.7, 0.5), (0.1, 0.3, 0.7, 0.6), (1.2, 0.9, 1.7, 1.5), (2.2, 1.6, 2.9, 2.4),
            (1.3, 0.9, 1.5, 1.7)]
    codes = rng.choice([0.25, -0.25, 0.5], (1, 4)) * [[1, -1, 0, 0], [0, 1, 1, 0], [1, 0, 0, -1]]
    apart = np.array([(2, 2, 6, 4), (10, 1, 12, 9), (2, 7, 8, 9)], float)
    decoded = codes, np.array([0.3, 0.2, 0.1]), apart
    best = (0.9, 0.8, 0.7, 0.6, 0.5)
    return [
        Case("rpn_proposals", "by hand", _still(rng, hand, best, (10, 20), 2, 3, 0.7, 2)),
        Case("rpn_proposals", "decoding", (*decoded, (30, 40), 0.1, 9, 0.7, 9), 1.5),
        Case("rpn_proposals", "clipping", _still(
            rng, over, (*best, 0.4), (10, 20), 0.5, 9, 0.7, 9)),
        Case("rpn_proposals", "small boxes", _still(
            rng, narrow, (*best, 0.95, 0.85, 0.75), (10, 20), 2, 9, 0.7, 9)),
        Case("rpn_proposals", "exactly at the threshold", _still(
            rng, halves, best, (10, 20), 1, 9, 0.5, 9, shuffle=False), 0.5),
        Case("rpn_proposals", "many equal scores", _still(
            rng, *pairs(rng, 32, (0.25, 0.5, 0.75, 1)), (40, 80), 1, 99, 0.5, 99), 0.5),
        Case("rpn_proposals", "the order of the steps", _still(
            rng, steps, (0.3, 0.7, 0.9, 0.97, 0.5, 0.95, 0.6, 0.4, 0.8, 0.2), (10, 20), 2, 6, 0.3,
            9, shuffle=False)),
        Case("rpn_proposals", "many boxes, few of them after", _random(
            rng, 20, (12, 13), 3.5, 15, 0.3, 3, tell=(
                "after-ignored", "after-comes-first", "small-dropped-last"))),
        Case("rpn_proposals", "many boxes, few of them before", _random(
            rng, 16, (11, 14), 3.0, 6, 0.3, 9, tell=("before-comes-first",))),
        Case("rpn_proposals", "heaps", _heaps(rng, 7, 5, (41, 43), 0.5, 99, 0.35, 99), 0.5),
        Case("rpn_proposals", "boxes smaller than 1", _still(
            rng, tiny, best, (2, 3), 0.25, 9, 0.25, 9)),
    ]


def _magnitude(codes, scores, anchors, *how):
    """Of the decoded coordinates that were chosen; clipping adds no error."""
    sides, chosen = anchors[:, 2:] - anchors[:, :2], rpn_proposals(codes, scores, anchors, *how)[1]
    error = np.abs(anchors).max(axis=1, keepdims=True) * (1 + np.abs(codes[:, :2])) + sides * (
        np.abs(codes[:, :2]) + np.exp(codes[:, 2:]) * (2 + np.abs(codes[:, 2:])))
    return np.concatenate([error, error], axis=1)[chosen], None


EXERCISE = Exercise(
    name="rpn_proposals", title="From anchors to proposals", lecture="UW, Region Proposal Network",
    source="tinyvision/models/detect/rpn.py", functions={"rpn_proposals": rpn_proposals},
    cases=cases, mistakes=MISTAKES, magnitude={"rpn_proposals": _magnitude},
    terms={"rpn_proposals": lambda *args: 8},
    domain={"rpn_proposals": lambda codes, scores, anchors, size, min_size, *others: (
        anchors[:, :2] < anchors[:, 2:]).all() and min_size > 0})
