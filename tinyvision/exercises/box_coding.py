r"""# Box coding

Write `encode` and its inverse `decode`: a box as its difference from an anchor.

A detector does not predict boxes but "how to move an anchor so that it is closer to the target":
numbers of about the same size for small and large boxes. With centres (x, y) and sides w, h of the
box and x_a, y_a, w_a, h_a of its anchor:

$$d_x = m_x \frac{x - x_a}{w_a}, \quad d_y = m_y \frac{y - y_a}{h_a}, \quad
d_w = m_w \log\frac{w}{w_a}, \quad d_h = m_h \log\frac{h}{h_a}$$

The weights m make the four count alike in a loss (Faster R-CNN: 10, 10, 5, 5). SSD's "variances"
(0.1, 0.1, 0.2, 0.2) are 1 / m: dividing by them is the same.

**By hand.** Anchor (0, 0, 4, 8), box (2, 4, 10, 8), weights 1. Centres (2, 4) and (6, 6), sides
(4, 8) and (8, 4):

    d = ((6 - 2) / 4,  (6 - 4) / 8,  log(8 / 4),  log(4 / 8)) = (1, 0.25, 0.693, -0.693)

**Conventions.** A box is (x0, y0, x1, y1) in continuous coordinates: its width is x1 - x0, with
no "+1". All sides are positive; log is the natural logarithm. In `decode`, d_w / m_w and d_h / m_h
count at most log(1000 / 16) each (about 4.135): a wild guess must not overflow in exp.

**Shapes.** boxes, anchors and codes are (N, 4), row n of one belongs to row n of the other;
weights (4,).
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions


def encode(boxes, anchors, weights):
    """Where boxes lie, seen from their anchors.

    Arguments:
        boxes: (N, 4) boxes (x0, y0, x1, y1).
        anchors: (N, 4) the anchor of each box.
        weights: (4,) factors of the four differences.

    Returns:
        (N, 4) codes (dx, dy, dw, dh).
    """
    ### BEGIN SOLUTION
    sides, anchor_sides = boxes[:, 2:] - boxes[:, :2], anchors[:, 2:] - anchors[:, :2]
    centres, anchor_centres = boxes[:, :2] + sides / 2, anchors[:, :2] + anchor_sides / 2
    moves = (centres - anchor_centres) / anchor_sides
    return np.concatenate([moves, np.log(sides / anchor_sides)], axis=1) * weights
    ### END SOLUTION


def decode(codes, anchors, weights):
    """The boxes of which ``codes`` are the codes.

    Arguments:
        codes: (N, 4) codes (dx, dy, dw, dh).
        anchors: (N, 4) the anchor of each code.
        weights: (4,) the factors that `encode` used.

    Returns:
        (N, 4) boxes (x0, y0, x1, y1).
    """
    ### BEGIN SOLUTION
    codes, largest = codes / weights, float(np.log(1000 / 16))
    anchor_sides = anchors[:, 2:] - anchors[:, :2]
    centres = anchors[:, :2] + anchor_sides / 2 + codes[:, :2] * anchor_sides
    sides = anchor_sides * np.exp(np.minimum(codes[:, 2:], largest))
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

LARGEST = np.log(1000 / 16)


def _centred(boxes, extra=0.0, middle=0.5):
    """(centres, sides) of boxes."""
    sides = boxes[:, 2:] - boxes[:, :2] + extra
    return boxes[:, :2] + sides * middle, sides


def _half_differences(boxes, extra=0.0):
    """(half the sides, sides): a centre computed as (x1 - x0) / 2."""
    sides = boxes[:, 2:] - boxes[:, :2] + extra
    return sides / 2, sides


def _as_they_stand(boxes, extra=0.0):
    """Rows read as (centre, sides)."""
    return boxes[:, :2], boxes[:, 2:]


def _as_sizes(boxes, extra=0.0):
    """Rows read as (corner, sides)."""
    return boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]


def _corners(centres, sides):
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)


def _code(boxes, anchors, weights, extra=0.0, corner=False, moved_by=None, scale=np.log,
          centred=_centred, turn=1, differ=lambda w, w_a: w / w_a):
    """`encode` with one piece exchanged."""
    (centres, sides), (places, lengths) = centred(boxes, extra), centred(anchors, extra)
    move = turn * ((boxes[:, :2] - anchors[:, :2]) if corner else centres - places)
    move = move / {None: lengths, "box": sides, "none": 1.0, "other": lengths[:, ::-1],
                   "width": lengths[:, :1], "height": lengths[:, 1:]}[moved_by]
    with np.errstate(invalid="ignore", divide="ignore"):     # sides that are none
        return np.concatenate([move, scale(differ(sides, lengths))], axis=1) * weights


def _encode(**how):
    return lambda boxes, anchors, weights: _code(boxes, anchors, weights, **how)


def _weights_inside(boxes, anchors, weights):
    codes = encode(boxes, anchors, np.ones(4))
    return np.concatenate([codes[:, :2] * weights[:2], codes[:, 2:] + np.log(weights[2:])], axis=1)


def _box(codes, anchors, weights, extra=0.0, corner=False, largest=LARGEST, by=None,
         grow=np.exp, half=2, less=0.0, centred=_centred, ends=None, below=-np.inf):
    """`decode` with one piece exchanged."""
    codes, (places, lengths) = codes / weights, centred(anchors, extra)
    sides = lengths * grow(np.clip(codes[:, 2:], below, largest))
    centres = (anchors[:, :2] if corner else places) + codes[:, :2] * {
        None: lengths, "box": sides, "other": lengths[:, ::-1], "none": 1.0}[by]
    if ends == "corner":
        return np.concatenate([centres, centres + sides], axis=1)
    return np.concatenate([centres - sides / half, centres + sides / half - less], axis=1)


def _decode(**how):
    return lambda codes, anchors, weights: _box(codes, anchors, weights, **how)


def _sides_plus(codes, anchors, weights):
    codes, (places, lengths) = codes / weights, _centred(anchors)
    return _corners(places + codes[:, :2] * lengths, lengths + codes[:, 2:])


def _other_weights(f, order):
    """A function with the weights in another order, or some of them twice."""
    return lambda first, anchors, weights: f(first, anchors, weights[order])


def _sizes_answered(codes, anchors, weights):
    boxes = decode(codes, anchors, weights)
    return np.concatenate(_centred(boxes), axis=1)


def _corner_answered(codes, anchors, weights):
    boxes = decode(codes, anchors, weights)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _clamped_before(codes, anchors, weights):
    return _box(np.concatenate([codes[:, :2], np.minimum(codes[:, 2:], LARGEST)], axis=1), anchors,
                weights, largest=np.inf)


def _clamped_everywhere(codes, anchors, weights):
    return decode(np.minimum(codes / weights, LARGEST), anchors, np.ones(4))


def _clamped_both_ways(codes, anchors, weights):
    return decode(np.clip(codes / weights, -LARGEST, LARGEST), anchors, np.ones(4))


_PLUS_ONE = ("Coordinates are continuous: a box from 0 to 2 is 2 wide. Adding or subtracting 1 "
             "belongs to boxes that count whole pixels.")
_EXCHANGED = "The first two weights belong to the centre, the last two to the sides."
_SHARED = "Each of the four numbers has a weight of its own."
_OTHER_SIDES = "x is measured in widths of the anchor, y in its heights."
_HALF = "The middle of x0 and x1 is not half their difference: that is how far it is from x0."
_SIZES = "The last two numbers of a box are its other corner, not its width and height."

MISTAKES = (
    Mistake("encode", "weights-divided", "The weights m are factors; SSD's variances are the ones "
            "that one divides by.", lambda b, a, m: encode(b, a, 1 / m)),
    Mistake("encode", "weights-ignored", "The weights have no effect.",
            lambda b, a, m: encode(b, a, np.ones(4))),
    Mistake("encode", "from-the-box", "Box and anchor are exchanged, in the moves, in the "
            "logarithms or in both: from which of the two does one look at the other?",
            lambda b, a, m: encode(a, b, m)),
    Mistake("encode", "by-the-box", "The centre's move is divided by the box's sides. By whose "
            "sides does the formula divide?", _encode(moved_by="box")),
    Mistake("encode", "moves-in-pixels", "The centre's move is in pixels; it should be in sides of "
            "the anchor.", _encode(moved_by="none")),
    Mistake("encode", "corners", "The difference is taken between corners; x and y are "
            "centres.", _encode(corner=True)),
    Mistake("encode", "no-log", "d_w and d_h are plain ratios: equal sides should give 0.",
            _encode(scale=lambda ratio: ratio)),
    Mistake("encode", "log2", "log is the natural logarithm, not the one to base 2.",
            _encode(scale=np.log2)),
    Mistake("encode", "relative-sides", "d_w and d_h are relative differences of the sides. "
            "They are close to the logarithm only where the sides are alike.",
            _encode(scale=lambda ratio: ratio - 1)),
    Mistake("encode", "plus-one", _PLUS_ONE, _encode(extra=1.0)),
    Mistake("encode", "weights-exchanged", _EXCHANGED, _other_weights(encode, [2, 3, 0, 1])),
    Mistake("encode", "weights-shared", _SHARED, _other_weights(encode, [0, 0, 2, 2])),
    Mistake("encode", "weights-inside", "The weight is a factor of the logarithm, not of what the "
            "logarithm is taken of.", _weights_inside),
    Mistake("encode", "sides-exchanged", _OTHER_SIDES, _encode(moved_by="other")),
    Mistake("encode", "half-difference", _HALF, _encode(centred=_half_differences)),
    Mistake("encode", "read-as-sizes", _SIZES, _encode(centred=_as_they_stand)),
    Mistake("encode", "side-difference", "d_w and d_h are differences of sides. Which function of "
            "their ratio is asked for?", _encode(scale=lambda d: d, differ=np.subtract)),
    Mistake("encode", "log10", "log is the natural logarithm, not the one to base 10.",
            _encode(scale=np.log10)),
    Mistake("encode", "order", "The order is d_x, d_y, d_w, d_h.",
            lambda b, a, m: encode(b, a, m)[:, [0, 2, 1, 3]]),
    Mistake("decode", "order", "A box is (x0, y0, x1, y1), not (x0, x1, y0, y1).",
            lambda c, a, m: decode(c, a, m)[:, [0, 2, 1, 3]]),
    Mistake("decode", "weights-multiplied", "`encode` multiplied by the weights; what undoes that?",
            lambda c, a, m: decode(c, a, 1 / m)),
    Mistake("decode", "weights-ignored", "The weights have no effect.",
            lambda c, a, m: decode(c, a, np.ones(4))),
    Mistake("decode", "no-limit", "In your code d_w and d_h can be more than log(1000 / 16), the "
            "largest value.", _decode(largest=np.inf)),
    Mistake("decode", "limit-before-weights", "The largest value is meant for d_w / m_w and "
            "d_h / m_h, after the division.", _clamped_before),
    Mistake("decode", "limit-of-all", "The largest value is meant for the sides only; the centre "
            "may move as far as it likes.", _clamped_everywhere),
    Mistake("decode", "by-the-box", "The centre's move is multiplied by the new box's sides. In "
            "which unit did `encode` measure it?", _decode(by="box")),
    Mistake("decode", "corners", "The move starts at a corner of the anchor; d_x and d_y move "
            "its centre.", _decode(corner=True)),
    Mistake("decode", "whole-sides", "Your boxes are twice as wide and high: how far is a corner "
            "from the centre?", _decode(half=1)),
    Mistake("decode", "centres-and-sides", "The answer is (x, y, w, h); corners are asked for.",
            _sizes_answered),
    Mistake("decode", "corner-and-sides", "The answer is (x0, y0, w, h), COCO's format; corners "
            "are asked for.", _corner_answered),
    Mistake("decode", "no-exp", "The sides grow linearly. What undoes a logarithm?",
            _decode(grow=lambda d: 1 + d, largest=np.inf)),
    Mistake("decode", "plus-one", _PLUS_ONE, _decode(extra=1.0)),
    Mistake("decode", "weights-exchanged", _EXCHANGED, _other_weights(decode, [2, 3, 0, 1])),
    Mistake("decode", "weights-shared", _SHARED, _other_weights(decode, [0, 0, 2, 2])),
    Mistake("decode", "sides-exchanged", _OTHER_SIDES, _decode(by="other")),
    Mistake("decode", "moves-in-pixels", "The centre's move is in sides of the anchor, not in "
            "pixels.", _decode(by="none")),
    Mistake("decode", "half-difference", _HALF, _decode(centred=_half_differences)),
    Mistake("decode", "read-as-sizes", _SIZES, _decode(centred=_as_they_stand)),
    Mistake("decode", "from-the-centre", "Your boxes begin at their centre: it is in the middle "
            "between the corners.", _decode(ends="corner")),
    Mistake("decode", "limit-below-too", "Only large values are cut: a box may become as small as "
            "it likes.", _decode(below=-LARGEST)),
    Mistake("decode", "base-two", "What undoes the natural logarithm? Not a power of two.",
            _decode(grow=np.exp2)),
)

MISTAKES += versions(MISTAKES, {
    ("encode", "order"): (lambda b, a, m: encode(b, a, m)[:, [2, 3, 0, 1]],),
    ("encode", "weights-exchanged"): (_other_weights(encode, [0, 2, 1, 3]),),
    ("encode", "weights-shared"): (_other_weights(encode, [0, 0, 0, 0]),
                                   _other_weights(encode, [0, 0, 3, 3])),
    ("encode", "from-the-box"): (
        _encode(turn=-1), _encode(differ=lambda w, w_a: w_a / w),
        _encode(turn=-1, differ=lambda w, w_a: w_a / w)),
    ("encode", "sides-exchanged"): (_encode(moved_by="width"), _encode(moved_by="height")),
    ("encode", "corners"): (_encode(centred=lambda boxes, extra: _centred(boxes, middle=1)),),
    ("encode", "no-log"): (_encode(scale=lambda d: d, differ=lambda w, w_a: w_a / w),),
    ("encode", "relative-sides"): (
        _encode(scale=lambda d: d, differ=lambda w, w_a: (w - w_a) / w),),
    ("encode", "read-as-sizes"): (_encode(centred=_as_sizes),),
    ("decode", "weights-exchanged"): (_other_weights(decode, [0, 2, 1, 3]),),
    ("decode", "weights-shared"): (_other_weights(decode, [0, 0, 0, 0]),
                                   _other_weights(decode, [0, 0, 3, 3])),
    ("decode", "limit-of-all"): (_clamped_both_ways,),
    ("decode", "by-the-box"): (_decode(by="box", largest=np.inf),),
    ("decode", "corners"): (_decode(corner=True, ends="corner"),
                            _decode(centred=lambda boxes, extra: _centred(boxes, middle=1))),
    ("decode", "no-exp"): (
        _decode(grow=lambda d: 1 + d), _decode(grow=lambda d: d),
        _decode(grow=lambda d: d, largest=np.inf), _sides_plus),
    ("decode", "plus-one"): (_decode(extra=1.0, less=1.0), _decode(less=1.0)),
    ("decode", "read-as-sizes"): (_decode(centred=_as_sizes),),
    ("decode", "base-two"): (_decode(grow=np.exp2, largest=np.inf),),
})


# ---- cases ---------------------------------------------------------------------------------------

ONES, FASTER = np.ones(4), np.array([10.0, 10, 5, 5])


def _boxes(rng, count, far=3.0):
    centres, sides = rng.uniform(-far, far, (count, 2)), rng.uniform(0.5, 4, (count, 2))
    return _corners(centres, sides)


def _whole(rng, *boxes):
    """Boxes of small integers, moved by the same whole number of pixels."""
    dx, dy = rng.integers(0, 5, 2)
    return np.array(boxes, float) + [dx, dy, dx, dy]


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    weights = rng.permutation([0.5, 2.0, 3.0, 8.0])
    hand, moved = _whole(rng, (0, 0, 4, 8)), _whole(rng, (2, 4, 10, 8))
    near = _whole(rng, (0, 0, 4, 8), rng.integers([0, 0, 3, 3], [3, 3, 9, 9]))
    wild = rng.uniform(4.3, 6, (4, 4)) * [[1, 1, 1.7, 0.5], [1, -1, 1, 1], [-1, 1, -1, 1],
                                          [1, 1, 0.5, 0]]
    return [
        Case("encode", "by hand", (moved, hand, ONES)),
        Case("encode", "an anchor's own place, and another's", (
            near, near[[0, 0]], ONES), 0.5),
        Case("encode", "weights 10, 10, 5, 5", (_boxes(rng, 2), _boxes(rng, 2), FASTER), 1.5),
        Case("encode", "four weights, many boxes", (_boxes(rng, 7), _boxes(rng, 7), weights), 2),
        Case("decode", "a move, no growth",
             (np.array([[1, 0.25, 0, 0]]) * rng.choice([-1, 1, 2]), hand, ONES)),
        Case("decode", "growth", (rng.uniform(0.2, 1.2, (1, 4)) * [0, 0, 1, -1], hand, ONES)),
        Case("decode", "four weights, many codes",
             (rng.uniform(-1, 1, (7, 4)) * weights, _boxes(rng, 7), weights), 1.5),
        Case("decode", "wild codes", (wild * weights, _boxes(rng, 4), weights), 1.5),
    ]


def _scales(anchors):
    """(largest coordinates, sides) of anchors: what the roundings of a place are as large as."""
    return np.abs(anchors).max(axis=1, keepdims=True), anchors[:, 2:] - anchors[:, :2]


def _encode_magnitude(boxes, anchors, weights):
    (reach, sides), (far, lengths) = _scales(boxes), _scales(anchors)
    codes = np.abs(encode(boxes, anchors, weights))
    places = np.concatenate([(reach + far) / lengths * (1 + codes[:, :2] / weights[:2]),
                             reach / sides + far / lengths], axis=1)
    return codes + places * weights


def _decode_magnitude(codes, anchors, weights):
    (far, lengths), plain = _scales(anchors), np.abs(codes / weights)
    sides = np.diff(decode(codes, anchors, weights).reshape(-1, 2, 2), axis=1)[:, 0]
    error = far * (1 + plain[:, :2]) + plain[:, :2] * lengths + sides * (
        1 + plain[:, 2:] + far / lengths)
    return np.concatenate([error, error], axis=1)


def _proper(boxes, weights):
    return (boxes[:, :2] < boxes[:, 2:]).all() and (weights > 0).all()


EXERCISE = Exercise(
    name="box_coding", title="Boxes as differences from anchors, and back",
    lecture="DLCV, Object detection steps",
    source="tinyvision/boxes/coding.py", functions={"encode": encode, "decode": decode},
    cases=cases, mistakes=MISTAKES,
    magnitude={"encode": _encode_magnitude, "decode": _decode_magnitude},
    terms={"encode": lambda *args: 4, "decode": lambda *args: 4},
    domain={"encode": lambda boxes, anchors, weights: _proper(boxes, weights) and _proper(
        anchors, weights), "decode": lambda codes, anchors, weights: _proper(anchors, weights)})
