r"""# Corner pooling

Write `top_left_pool`, `bottom_right_pool` and the gradient `top_left_pool_backward`.

CornerNet finds a box by its two corners. But a corner has nothing of the object in it: the object's
topmost part lies somewhere to the right of the upper left corner, its leftmost part somewhere
below. So a pixel asks whether there is such evidence anywhere to its right, and anywhere below,
and adds the two answers:

$$t_{i,j} = \max(f_{i,j},\, t_{i+1,j}) \qquad l_{i,j} = \max(h_{i,j},\, l_{i,j+1}) \qquad
y = t + l$$

with t = f in the last row and l = h in the last column: t is the largest value of the map `top`
(f) from the pixel down to the lower edge, l the largest value of the map `left` (h) from the pixel
to the right edge. For lower right corners everything is the other way round: `bottom` looks up to
the upper edge, `right` looks to the left edge.

**By hand** (the paper's Figure 6): the row 2 1 3 0 2 of `left` gives l = 3 3 3 2 2; the column
0 3 1 2 0 of `top` gives t = 3 3 2 2 0.

**Backward.** Given g = dL/dy: the pixel of `top` whose value was t gets g, and so does the pixel of
`left` whose value was l; what arrives at one pixel is summed. **Of equal values the farthest
counts** (a running maximum from the edge keeps what it has met first). For the row above with
g = 1 2 3 4 5: the 3 gets 1 + 2 + 3 = 6, the last 2 gets 4 + 5 = 9, the others 0.

**Shapes.** All maps are (N, C, H, W).
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.bounds import absolute
from tinyvision.exercises.draws import random, small, whole
from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions
from tinyvision.exercises.forwards import Forward, untied


def top_left_pool(top, left):
    """Evidence for upper left corners: the largest value below plus the largest to the right.

    Arguments:
        top: (N, C, H, W) map of objects' upper edges.
        left: (N, C, H, W) map of objects' left edges.

    Returns:
        (N, C, H, W).
    """
    ### BEGIN SOLUTION
    t, l = top.copy(), left.copy()
    H, W = top.shape[2:]
    for i in reversed(range(H - 1)):
        t[:, :, i] = np.maximum(t[:, :, i], t[:, :, i + 1])
    for j in reversed(range(W - 1)):
        l[..., j] = np.maximum(l[..., j], l[..., j + 1])
    return t + l
    ### END SOLUTION


def bottom_right_pool(bottom, right):
    """Evidence for lower right corners: the largest value above plus the largest to the left.

    Arguments:
        bottom: (N, C, H, W) map of objects' lower edges.
        right: (N, C, H, W) map of objects' right edges.

    Returns:
        (N, C, H, W).
    """
    ### BEGIN SOLUTION
    return top_left_pool(bottom[:, :, ::-1, ::-1], right[:, :, ::-1, ::-1])[:, :, ::-1, ::-1]
    ### END SOLUTION


def top_left_pool_backward(g, top, left):
    """Gradients of a loss with respect to the maps of `top_left_pool`.

    Arguments:
        g: (N, C, H, W) gradient with respect to the result.
        top, left: what `top_left_pool` was called with.

    Returns:
        (gtop, gleft) with the shapes of top and left; of equal values the farthest is credited.
    """
    ### BEGIN SOLUTION
    gtop = np.zeros(g.shape)
    gleft = np.zeros(g.shape)
    H, W = g.shape[2:]
    for n, c, i, j in np.ndindex(g.shape):
        below, beside = top[n, c, i:, j], left[n, c, i, j:]
        gtop[n, c, H - 1 - below[::-1].argmax(), j] += g[n, c, i, j]
        gleft[n, c, i, W - 1 - beside[::-1].argmax()] += g[n, c, i, j]
    return gtop, gleft
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _run(x, axis, ahead):
    """Running maxima along an axis, from its end (ahead) or from its beginning."""
    x = np.flip(x, axis) if ahead else x
    y = np.maximum.accumulate(x, axis)
    return np.flip(y, axis) if ahead else y


def _turned(function):
    """A function of maps on maps turned by 180 degrees: top left becomes bottom right."""
    return lambda *maps: function(*(m[:, :, ::-1, ::-1] for m in maps))[:, :, ::-1, ::-1]


def _other_corner(top, left):
    return bottom_right_pool(top, left)


def _maps_exchanged(top, left):
    return top_left_pool(left, top)


def _maximum(top, left):
    return np.maximum(_run(top, 2, True), _run(left, 3, True))


def _product(top, left):
    return _run(top, 2, True) * _run(left, 3, True)


def _one_neighbour(top, left):
    t, l = top.copy(), left.copy()
    t[:, :, :-1] = np.maximum(top[:, :, :-1], top[:, :, 1:])
    l[..., :-1] = np.maximum(left[..., :-1], left[..., 1:])
    return t + l


def _whole_line(top, left):
    return 0 * top + top.max(axis=2, keepdims=True) + left.max(axis=3, keepdims=True)


def _without_itself(top, left):
    """Strictly below and strictly to the right; 0 where nothing is left."""
    t, l = np.zeros(top.shape), np.zeros(left.shape)
    t[:, :, :-1], l[..., :-1] = _run(top, 2, True)[:, :, 1:], _run(left, 3, True)[..., 1:]
    return t + l


def _one_after_the_other(top, left):
    return _run(_run(top + left, 2, True), 3, True)


def _only_the_first(top, left):
    return _run(top, 2, True)


def _upper_corner(bottom, right):
    return top_left_pool(bottom, right)


def _half_turned(bottom, right):
    return _run(bottom, 2, False) + _run(right, 3, True)


def _with(top_axis=2, top_ahead=True, left_axis=3, left_ahead=True):
    """Running maxima of both maps, along other axes or the other way."""
    return lambda top, left: _run(top, top_axis, top_ahead) + _run(left, left_axis, left_ahead)


def _sums(top, left):
    return np.flip(np.cumsum(np.flip(top, 2), 2), 2) + np.flip(np.cumsum(np.flip(left, 3), 3), 3)


def _without_itself_but_at_the_edge(top, left):
    t, l = top.copy(), left.copy()
    t[:, :, :-1], l[..., :-1] = _run(top, 2, True)[:, :, 1:], _run(left, 3, True)[..., 1:]
    return t + l


def _down_then_right(top, left):
    return _run(_run(top, 2, True) + left, 3, True)


def _edge_left_out(down, across):
    """Maxima that never see the last row, or the last column."""
    def pool(top, left):
        t, l = _run(top, 2, True), _run(left, 3, True)
        if down:
            t = np.concatenate([_run(top[:, :, :-1], 2, True), top[:, :, -1:]], axis=2)
        if across:
            l = np.concatenate([_run(left[..., :-1], 3, True), left[..., -1:]], axis=3)
        return t + l
    return pool


def _smallest(top, left):
    return -top_left_pool(-top, -left)


def _turned_one_way(bottom, right):
    """Each map turned along its own axis, their sum turned back along both."""
    return top_left_pool(bottom[:, :, ::-1], right[..., ::-1])[:, :, ::-1, ::-1]


def _not_turned_back(bottom, right):
    return top_left_pool(bottom[:, :, ::-1, ::-1], right[:, :, ::-1, ::-1])


def _turned_afterwards(bottom, right):
    return top_left_pool(bottom, right)[:, :, ::-1, ::-1]


# ---- mistakes: backward --------------------------------------------------------------------------

def _moved(g, top, left, place=lambda line: len(line) - 1 - line[::-1].argmax()):
    """The backward with another choice among the values from a pixel on (line -> index)."""
    gtop, gleft = np.zeros(g.shape), np.zeros(g.shape)
    for n, c, i, j in np.ndindex(g.shape):
        gtop[n, c, i + place(top[n, c, i:, j]), j] += g[n, c, i, j]
        gleft[n, c, i, j + place(left[n, c, i, j:])] += g[n, c, i, j]
    return gtop, gleft


def _nearest_of_equals(*args):
    return _moved(*args, place=np.argmax)


def _to_itself(g, top, left):
    return g.copy(), g.copy()


def _end_of_line(*args):
    return _moved(*args, place=lambda line: len(line) - 1)


def _overwritten(g, top, left):
    gtop, gleft = np.zeros(g.shape), np.zeros(g.shape)
    for n, c, i, j in np.ndindex(g.shape):
        below, beside = top[n, c, i:, j][::-1], left[n, c, i, j:][::-1]
        gtop[n, c, i + len(below) - 1 - below.argmax(), j] = g[n, c, i, j]
        gleft[n, c, i, j + len(beside) - 1 - beside.argmax()] = g[n, c, i, j]
    return gtop, gleft


def _only_where_it_is(g, top, left):
    """g only where the pixel itself is the largest."""
    return g * (_run(top, 2, True) == top), g * (_run(left, 3, True) == left)


def _halves(g, top, left):
    return tuple(part / 2 for part in top_left_pool_backward(g, top, left))


def _results_exchanged(g, top, left):
    return top_left_pool_backward(g, top, left)[::-1]


def _backward_other_corner(g, top, left):
    turned = (a[:, :, ::-1, ::-1] for a in (g, top, left))
    return tuple(part[:, :, ::-1, ::-1] for part in top_left_pool_backward(*turned))


def _offset_forgotten(place):
    """place(line) counted from the map's first row or column."""
    def back(g, top, left):
        gtop, gleft = np.zeros(g.shape), np.zeros(g.shape)
        for n, c, i, j in np.ndindex(g.shape):
            gtop[n, c, place(top[n, c, i:, j]), j] += g[n, c, i, j]
            gleft[n, c, i, place(left[n, c, i, j:])] += g[n, c, i, j]
        return gtop, gleft
    return back


def _farthest(line):
    return len(line) - 1 - line[::-1].argmax()


def _equals(shared):
    """g to all pixels that equal the maximum, whole or in equal shares."""
    def back(g, top, left):
        gtop, gleft = np.zeros(g.shape), np.zeros(g.shape)
        for n, c, i, j in np.ndindex(g.shape):
            for into, line in ((gtop[n, c, i:, j], top[n, c, i:, j]),
                               (gleft[n, c, i, j:], left[n, c, i, j:])):
                best = line == line.max()
                into += g[n, c, i, j] * best / (best.sum() if shared else 1)
        return gtop, gleft
    return back


def _overwritten_from_the_edge(g, top, left):
    """= for += in loops that begin at the far edges: the first pixel's g stays."""
    gtop, gleft = np.zeros(g.shape), np.zeros(g.shape)
    for n, c, i, j in reversed([*np.ndindex(g.shape)]):
        gtop[n, c, i + _farthest(top[n, c, i:, j]), j] = g[n, c, i, j]
        gleft[n, c, i, j + _farthest(left[n, c, i, j:])] = g[n, c, i, j]
    return gtop, gleft


def _whole_lines(g, top, left):
    gtop, gleft = np.zeros(g.shape), np.zeros(g.shape)
    for n, c, i, j in np.ndindex(g.shape):
        gtop[n, c, _farthest(top[n, c, :, j]), j] += g[n, c, i, j]
        gleft[n, c, i, _farthest(left[n, c, i])] += g[n, c, i, j]
    return gtop, gleft


MISTAKES = (
    Mistake("top_left_pool", "other-corner", "Your maxima look up and to the left: that is the "
            "pooling for lower right corners. Where is the object, seen from its upper left "
            "corner?", _other_corner),
    Mistake("top_left_pool", "maps-exchanged", "The two maps are exchanged: `top` is looked "
            "at downwards, `left` to the right.", _maps_exchanged),
    Mistake("top_left_pool", "maximum-of-both", "You take the larger of t and l; they are added.",
            _maximum),
    Mistake("top_left_pool", "multiplied", "You multiply t and l; they are added.", _product),
    Mistake("top_left_pool", "one-neighbour", "Your maximum sees only the next pixel. It should "
            "reach to the edge: t is on both sides of its formula.", _one_neighbour),
    Mistake("top_left_pool", "whole-line", "Your maxima are those of whole columns and rows. A "
            "pixel sees only what lies ahead of it.", _whole_line),
    Mistake("top_left_pool", "without-itself", "A pixel's own value is left out of its maximum.",
            _without_itself),
    Mistake("top_left_pool", "one-after-the-other", "You pool down and then to the right, which "
            "looks at a whole quarter of the map. The two directions are pooled apart.",
            _one_after_the_other),
    Mistake("top_left_pool", "only-top", "The map `left` is missing in your result.",
            _only_the_first),
    Mistake("bottom_right_pool", "other-corner", "Your maxima look down and to the right: that is "
            "the pooling for upper left corners.", _upper_corner),
    Mistake("bottom_right_pool", "right-not-turned", "`bottom` looks up, as it should, but `right` "
            "still looks to the right.", _half_turned),
    Mistake("bottom_right_pool", "maps-exchanged", "The two maps are exchanged: `bottom` is "
            "looked at upwards, `right` to the left.", _turned(_maps_exchanged)),
    Mistake("bottom_right_pool", "maximum-of-both", "You take the larger of both maxima; they are "
            "added.", _turned(_maximum)),
    Mistake("bottom_right_pool", "multiplied", "You multiply both maxima; they are added.",
            _turned(_product)),
    Mistake("top_left_pool_backward", "nearest-of-equals", "Of equal values the nearest one gets "
            "the gradient in your code. The task credits the farthest.", _nearest_of_equals),
    Mistake("top_left_pool_backward", "to-itself", "Every pixel gets its own g. Whose value was "
            "the maximum?", _to_itself),
    Mistake("top_left_pool_backward", "end-of-the-line", "All gradients go to the edge of the map. "
            "Where on the way was the maximum?", _end_of_line),
    Mistake("top_left_pool_backward", "overwritten", "One pixel can be the maximum of many; in "
            "your code only the last one's g counts.", _overwritten),
    Mistake("top_left_pool_backward", "own-maxima-only", "A pixel gets its g only where it is the "
            "largest itself, and the g of all other pixels is lost.", _only_where_it_is),
    Mistake("top_left_pool_backward", "halved", "Each map gets half of g. What is the derivative "
            "of t + l?", _halves),
    Mistake("top_left_pool_backward", "results-exchanged", "The two gradients are exchanged.",
            _results_exchanged),
    Mistake("top_left_pool_backward", "other-corner", "Your gradients are those of the pooling for "
            "lower right corners.", _backward_other_corner),
    *(Mistake("top_left_pool", "one-direction-turned", "One of your two maxima looks the other "
              "way. Where is the object, seen from its upper left corner?", version)
      for version in (_with(top_ahead=False), _with(left_ahead=False))),
    *(Mistake("top_left_pool", "only-left", "The map `top` is missing in your result.", version)
      for version in (lambda top, left: _run(left, 3, True),
                      lambda top, left: _run(left, 2, True) + _run(left, 3, True))),
    *(Mistake("top_left_pool", "edge-left-out", "Your loop leaves out the map's last row or "
              "column. Where does the running maximum begin?", _edge_left_out(*which))
      for which in ((True, True), (True, False), (False, True))),
    Mistake("top_left_pool", "minimum", "You take the smallest values; the largest are asked for.",
            _smallest),
    Mistake("top_left_pool", "running-sums", "You add up what lies ahead; the largest value is "
            "asked for.", _sums),
    *(Mistake("bottom_right_pool", "not-turned-back", "You turn the maps or the result, but not "
              "both: what was turned has to be turned back.", version)
      for version in (_not_turned_back, _turned_afterwards, _turned_one_way,
                      lambda bottom, right: top_left_pool(bottom[:, :, ::-1], right[..., ::-1]))),
    *(Mistake("bottom_right_pool", "edge-left-out", "Your loop leaves out the map's first row or "
              "column. Where does the running maximum begin?", _turned(_edge_left_out(*which)))
      for which in ((True, True), (True, False), (False, True))),
    Mistake("bottom_right_pool", "minimum", "You take the smallest values; the largest are asked "
            "for.", _turned(_smallest)),
    Mistake("bottom_right_pool", "one-neighbour", "Your maximum sees only the next pixel. It "
            "should reach to the edge.", _turned(_one_neighbour)),
    Mistake("bottom_right_pool", "bottom-not-turned", "`right` looks to the left, as it should, "
            "but `bottom` still looks down.", _with(left_ahead=False)),
    Mistake("bottom_right_pool", "whole-line", "Your maxima are those of whole columns and rows. "
            "A pixel sees only what lies on one side of it.", _whole_line),
    Mistake("bottom_right_pool", "one-after-the-other", "You pool up and then to the left, which "
            "looks at a whole quarter of the map. The two directions are pooled apart.",
            _turned(_one_after_the_other)),
    *(Mistake("bottom_right_pool", "only-one-map", "One of the two maps is missing in your "
              "result.", version)
      for version in (lambda bottom, right: _run(bottom, 2, False),
                      lambda bottom, right: _run(right, 3, False),
                      lambda bottom, right: _run(bottom, 2, False) + _run(bottom, 3, False))),
    *(Mistake("bottom_right_pool", "without-itself", "A pixel's own value is left out of its "
              "maximum.", _turned(version))
      for version in (_without_itself, _without_itself_but_at_the_edge)),
    *(Mistake("top_left_pool_backward", "counted-from-the-other-end", "You mirror the place of the "
              "maximum: argmax of a line turned round counts from its end, argmax of the line "
              "itself from its beginning.", lambda *args, place=place: _moved(*args, place=place))
      for place in (lambda line: len(line) - 1 - line.argmax(),
                    lambda line: line[::-1].argmax())),
    *(Mistake("top_left_pool_backward", "offset-forgotten", "argmax of a part of a line counts "
              "from the part's beginning. Where in the map is that?", _offset_forgotten(place))
      for place in (_farthest, np.argmax)),
    *(Mistake("top_left_pool_backward", "to-all-equals", "All values that equal the maximum get a "
              "gradient. The task credits only the farthest.", _equals(shared))
      for shared in (False, True)),
    Mistake("top_left_pool_backward", "whole-line", "You look for the maximum of the whole column "
            "or row. A pixel sees only what lies ahead of it.", _whole_lines),
    Mistake("top_left_pool_backward", "maps-exchanged", "The two maps are exchanged: `top` is "
            "looked at downwards, `left` to the right.",
            lambda g, top, left: top_left_pool_backward(g, left, top)),
    Mistake("top_left_pool_backward", "one-neighbour", "You choose between a pixel and the next "
            "one only. The maximum reaches to the edge.", lambda *args: _moved(
                *args, place=lambda line: int(len(line) > 1 and line[1] >= line[0]))),
)

MISTAKES += versions(MISTAKES, {
    ("top_left_pool", "without-itself"): (_without_itself_but_at_the_edge,),
    ("top_left_pool", "one-after-the-other"): (_down_then_right,),
    ("top_left_pool", "only-top"): (
        lambda top, left: _run(top, 2, True) + _run(top, 3, True),),
    ("top_left_pool_backward", "overwritten"): (_overwritten_from_the_edge,),
})


# ---- cases ---------------------------------------------------------------------------------------

TIES = ((1, 3, 0, 3, 2), (2, 3, 2, 1, 1), (1, 0, 2, 1, 2), (2, 1, 0, 1, 1))


def _ties(rng):
    """Two maps of fixed small integers with equal ones in rows and columns, moved by a number."""
    maps = np.array(TIES, float)[None, None]
    return maps + float(rng.integers(0, 9)), maps[:, :, ::-1] + float(rng.integers(0, 9))


def _case(rng, function, name, shape, draw=random):
    return Case(function, name, tuple(draw(rng, shape, shape)))


def _backward(rng, name, shape):
    return Case("top_left_pool_backward", name, (*random(rng, shape), *whole(rng, shape, shape)))


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    return [
        _case(rng, "top_left_pool", "one row", (1, 1, 1, 4), small),
        _case(rng, "top_left_pool", "3x4 pixels", (1, 1, 3, 4), small),
        _case(rng, "top_left_pool", "several channels", (1, 3, 5, 7)),
        _case(rng, "top_left_pool", "two images, negative values", (2, 3, 6, 4), whole),
        _case(rng, "bottom_right_pool", "bottom right, 3x4 pixels", (1, 1, 3, 4), small),
        _case(rng, "bottom_right_pool", "bottom right, two images", (2, 3, 6, 5)),
        Case("top_left_pool_backward", "backward, one row",
             (*small(rng, (1, 1, 1, 5)), *small(rng, (1, 1, 1, 5), (1, 1, 1, 5)))),
        Case("top_left_pool_backward", "backward, equal values",
             (*small(rng, (1, 1, 4, 5)), *_ties(rng))),
        _backward(rng, "backward, several channels", (1, 3, 5, 7)),
        _backward(rng, "backward, two images", (2, 3, 6, 4)),
    ]


def _magnitude(g, top, left):
    return top_left_pool_backward(np.abs(g), top, left)


def _calls(g, *maps):
    """The call of the forward of a backward; see `forwards.Forward`."""
    return [(tuple(untied(one, first=False) for one in maps), (0, 1))]


EXERCISE = Exercise(
    name="corner_pooling", title="Corner pooling and its gradient",
    lecture="Kempten L 10.5, Alternative Method: CornerNet", source="tinyvision/ops/corner_pool.py",
    functions={f.__name__: f for f in (top_left_pool, bottom_right_pool, top_left_pool_backward)},
    cases=cases, mistakes=MISTAKES,
    magnitude={"top_left_pool": absolute(top_left_pool),
               "bottom_right_pool": absolute(bottom_right_pool),
               "top_left_pool_backward": _magnitude},
    terms={"top_left_pool": lambda *maps: 2, "bottom_right_pool": lambda *maps: 2,
           "top_left_pool_backward": lambda g, *maps: max(g.shape[2:])},
    forwards={"top_left_pool_backward": Forward("top_left_pool", _calls)})
