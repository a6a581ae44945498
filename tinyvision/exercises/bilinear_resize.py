r"""# Bilinear resizing

Write `bilinear_resize` and its gradient `bilinear_resize_backward`.

Decoders make maps larger, often by bilinear interpolation: a pixel of the result looks at its
place in the old map and mixes the four pixels around it, the nearer ones more.

$$y_{a,b} = \sum_{i,j} x_{i,j}\; \max(0,\, 1 - |v - i|)\; \max(0,\, 1 - |u - j|)$$

(v, u) is the place of pixel (a, b) in the old map. There are two rules for it; along the rows,
from H to A pixels (the columns alike):

- align_corners=True: pixels are points, and the corners stay where they are:
  v = a (H - 1) / (A - 1), and v = 0 where A = 1.
- align_corners=False: pixels are squares with their value in the middle, and the outer edges stay
  where they are: v = (a + 1/2) H / A - 1/2, moved to 0 or to H - 1 where it is outside.

**By hand.** The row (10, 20), made 4 and made 3 pixels wide:

    False, 4:   u = -1/4 -> 0, 1/4, 3/4, 5/4 -> 1     10  12.5  17.5  20
    True,  3:   u = 0, 1/2, 1                         10  15  20

**Backward.** Given g = dL/dy: each old pixel gets back, from every new pixel that looked at it,
that pixel's g times the weight with which it was mixed. In the first example with g = (1, 2, 3, 4):
(1 + 2 * 0.75 + 3 * 0.25, 2 * 0.25 + 3 * 0.75 + 4) = (3.25, 6.75).

**Shapes.** x (N, C, H, W) and size = (A, B) give (N, C, A, B). The backward takes g (N, C, A, B)
and input_size = (H, W) and returns (N, C, H, W).
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.draws import random
from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions
from tinyvision.exercises.forwards import Forward, inputs


def axis_weights(before, after, align_corners):
    """How much each of `before` pixels counts in each of `after`, along one axis."""
    weights = np.zeros((after, before))
    for a in range(after):
        if align_corners:
            place = a * (before - 1) / max(after - 1, 1)
        else:
            place = min(max((a + 0.5) * before / after - 0.5, 0), before - 1)
        weights[a] = np.maximum(0, 1 - np.abs(place - np.arange(before)))
    return weights


def bilinear_resize(x, size, align_corners):
    """Maps of another size: every pixel mixes the four around its place in the old map.

    Arguments:
        x: (N, C, H, W) maps.
        size: (A, B), the new height and width.
        align_corners: whether the corner pixels' middles stay in place (else the outer edges).

    Returns:
        (N, C, A, B).
    """
    ### BEGIN SOLUTION
    (H, W), (A, B) = x.shape[2:], size
    rows, columns = axis_weights(H, A, align_corners), axis_weights(W, B, align_corners)
    return rows @ x @ columns.T
    ### END SOLUTION


def bilinear_resize_backward(g, input_size, align_corners):
    """Gradient of a loss with respect to the maps that `bilinear_resize` resized.

    Arguments:
        g: (N, C, A, B) gradient with respect to the result.
        input_size: (H, W) of the maps.
        align_corners: what `bilinear_resize` was called with.

    Returns:
        (N, C, H, W) gradient with respect to x.
    """
    ### BEGIN SOLUTION
    (H, W), (A, B) = input_size, g.shape[2:]
    rows, columns = axis_weights(H, A, align_corners), axis_weights(W, B, align_corners)
    return rows.T @ g @ columns
    ### END SOLUTION


# ---- mistakes: weights along one axis ------------------------------------------------------------

def _tents(place, before):
    return np.maximum(0, 1 - np.abs(np.asarray(place)[:, None] - np.arange(before)))


def _half_pixels(before, after, align_corners):
    return (np.arange(after) + 0.5) * before / after - 0.5


def _corners_always(before, after, align_corners):
    return axis_weights(before, after, True)


def _corners_never(before, after, align_corners):
    return axis_weights(before, after, False)


def _no_half_pixel(before, after, align_corners):
    if align_corners:
        return axis_weights(before, after, True)
    return _tents(np.minimum(np.arange(after) * before / after, before - 1), before)


def _zeros_outside(before, after, align_corners):
    if align_corners:
        return axis_weights(before, after, True)
    return _tents(_half_pixels(before, after, False), before)


def _extrapolated(before, after, align_corners):
    """The line through the first (or last) two pixels goes on outside of them."""
    if align_corners or before == 1:
        return axis_weights(before, after, align_corners)
    place, weights = _half_pixels(before, after, False), np.zeros((after, before))
    for a, p in enumerate(place):
        low = int(np.clip(np.floor(p), 0, before - 2))
        weights[a, low], weights[a, low + 1] = 1 - (p - low), p - low
    return weights


def _steps_of_the_size(before, after, align_corners):
    """align_corners with (before - 1) / after."""
    if not align_corners:
        return axis_weights(before, after, False)
    return _tents(np.arange(after) * (before - 1) / after, before)


def _nearest(before, after, align_corners):
    weights = axis_weights(before, after, align_corners)
    return np.eye(before)[weights.argmax(axis=1)]


def _area_mean(before, after, align_corners):
    """Each new pixel is the mean of the part of the old map that it covers."""
    edges = np.arange(after + 1) * before / after
    low = np.maximum(edges[:-1, None], np.arange(before))
    high = np.minimum(edges[1:, None], np.arange(before) + 1)
    return np.maximum(high - low, 0) * after / before


def _forward(weigh, across=None):
    """The forward with other weights down, and others again across."""
    def resize(x, size, align_corners):
        rows = weigh(x.shape[2], size[0], align_corners)
        columns = (across or weigh)(x.shape[3], size[1], align_corners)
        return rows @ x @ columns.T
    return resize


def _backward(weigh, finish=lambda weights: weights):
    """The backward with other weights, or with something done to the weights."""
    def back(g, input_size, align_corners):
        rows, columns = (finish(weigh(n, m, align_corners))
                         for n, m in zip(input_size, g.shape[2:]))
        return rows.T @ g @ columns
    return back


def _size_exchanged(x, size, align_corners):
    return bilinear_resize(x, size[::-1], align_corners)


def _resized_back(g, input_size, align_corners):
    return bilinear_resize(g, input_size, align_corners)


def _mean(weights):
    """Each old pixel's weights sum to 1."""
    total = weights.sum(axis=0)
    return weights / np.where(total > 0, total, 1)


def _count(weights):
    return weights / np.maximum((weights > 0).sum(axis=0), 1)


def _last_only(weights):
    """Of the new pixels that looked at an old one, only the last."""
    last = len(weights) - 1 - (weights[::-1] > 0).argmax(axis=0)
    return weights * (np.arange(len(weights))[:, None] == last)


def _whole(weights):
    return (weights > 0) * 1.0


# ---- versions: other weights along one axis, and gradients that are overwritten ------------------

def _mapped(place, corners=axis_weights, clip=(True, True)):
    """Weights at place(a, before, after) where align_corners is False, moved into the map at its
    beginning and its end; ``corners`` makes those of align_corners=True."""
    def weigh(before, after, align_corners):
        if align_corners:
            return corners(before, after, True)
        limits = (0 if clip[0] else -np.inf), (before - 1 if clip[1] else np.inf)
        return _tents(np.clip(place(np.arange(after), before, after), *limits), before)
    return weigh


def _cornered(place):
    """Weights at place(a, before, after), moved into the map, where align_corners is True."""
    return lambda before, after, align_corners: axis_weights(
        before, after, False) if not align_corners else _tents(
            np.clip(place(np.arange(after), before, after), 0, before - 1), before)


def _halves(a, before, after):
    return (a + 0.5) * before / after - 0.5


def _corner_steps(a, before, after):
    with np.errstate(invalid="ignore"):
        return a * (before - 1) / np.float64(after - 1)


def _place(before, after, align_corners):
    return axis_weights(before, after, align_corners) @ np.arange(before)


def _copied(choose):
    """The whole weight on pixel choose(place)."""
    return lambda before, after, align_corners: np.eye(before)[
        choose(_place(before, after, align_corners)).astype(int)]


def _steps_down(before, after, align_corners):
    return np.eye(before)[np.arange(after) * before // after]


def _mixed(weights):
    """Weights along one axis where pixel low gets weights(part)[0] and the next one [1], part
    being how far the place lies behind low; joined by = or += at the border."""
    def weigh(before, after, align_corners, join=np.add.at):
        place = _place(before, after, align_corners)
        low = np.floor(place + 1e-9).astype(int)
        table, rows, shares = np.zeros((after, before)), np.arange(after), weights(place - low)
        for pixel, share in zip((low, np.minimum(low + 1, before - 1)), shares):
            join(table, (rows, pixel), share)
        return table
    return weigh


def _set(table, where, share):
    table[where] = share


def _border_overwritten(before, after, align_corners):
    """weights[a, high] = part, which at the border wipes out weights[a, low] = 1 - part."""
    return _mixed(lambda part: (1 - part, part))(before, after, align_corners, _set)


def _wrapped(before, after, align_corners):
    """Row -1 is the last row; the pixel behind the last one is the last one."""
    if align_corners:
        return axis_weights(before, after, True)
    place = _half_pixels(before, after, False)
    low, table = np.floor(place).astype(int), np.zeros((after, before))
    np.add.at(table, (np.arange(after), low), 1 - place + low)
    np.add.at(table, (np.arange(after), np.minimum(low + 1, before - 1)), place - low)
    return table


def _one_sided(first):
    """Extrapolated only at the first pixel (int() of a negative place is 0), or at the last."""
    def weigh(before, after, align_corners):
        outside = _half_pixels(before, after, False) < 0
        rows = outside if first else ~outside
        return np.where(rows[:, None], _extrapolated(before, after, align_corners),
                        axis_weights(before, after, align_corners))
    return weigh


def _neighbours(before, after, align_corners):
    """(pixels, weights) of the lower neighbour and of the next one, (2, after) each."""
    place = _place(before, after, align_corners)
    low = np.floor(place + 1e-9).astype(int)
    return (low, np.minimum(low + 1, before - 1)), (1 - place + low, place - low)


def _four_written(added):
    """The gradient given to four neighbours with =, or with += of arrays of indices, which adds
    once where a pixel occurs several times."""
    def back(g, input_size, align_corners):
        (down, across), (A, B) = ([_neighbours(n, m, align_corners) for n, m in
                                   zip(input_size, g.shape[2:])], g.shape[2:])
        gx = np.zeros((*g.shape[:2], *input_size))
        for a, b, i, j in np.ndindex(A, B, 2, 2) if not added else ():
            share = g[:, :, a, b] * down[1][i][a] * across[1][j][b]
            gx[:, :, down[0][i][a], across[0][j][b]] = share
        for i, j in np.ndindex(2, 2) if added else ():
            share = g * down[1][i][:, None] * across[1][j]
            gx[:, :, down[0][i][:, None], across[0][j]] += share
        return gx
    return back


EITHER_WAY = {          # versions of weights, for the forward and the backward
    "half-pixel-forgotten": (_mapped(lambda a, before, after: a * before / after,
                                     clip=(True, False)),),
    "zeros-outside": (_mapped(_halves, clip=(True, False)), _mapped(_halves, clip=(False, True))),
    "extrapolated": (_one_sided(True), _one_sided(False)),
    "divided-by-the-size": (
        _cornered(lambda a, before, after: a * before / max(after - 1, 1)),
        _cornered(lambda a, before, after: a * before / after)),
    "nearest-pixel": (_copied(np.floor), _steps_down,
                      _copied(lambda place: np.floor(place + 0.5))),
}
AXIS_MISTAKES = (       # further mistakes of weights: name, hint, versions
    ("half-pixel-not-subtracted", "You add half a pixel in the new map, but do not subtract it in "
     "the old one. Where is the place of pixel a if the size stays the same?",
     (_mapped(lambda a, before, after: (a + 0.5) * before / after),
      _mapped(lambda a, before, after: (a + 0.5) * before / after, clip=(True, False)))),
    ("weights-exchanged", "The nearer pixel counts less in your code: the two weights along an "
     "axis are exchanged.", (_mixed(lambda part: (part, 1 - part)),)),
    ("border-weight-overwritten", "At the last pixel both neighbours are the same one, and its "
     "weights add up; yours is overwritten by 0.", (_border_overwritten,)),
    ("wrapped-around", "A place just before the first pixel reads the last one in your code: row "
     "-1 is the last row in NumPy.", (_wrapped,)),
    ("nan-for-one-pixel", "Where the new map is one pixel high you divide by 0.",
     (lambda before, after, align_corners: _tents(_corner_steps(
         np.arange(after), before, after), before) if align_corners else axis_weights(
             before, after, False),)),
    ("one-pixel-in-the-middle", "With align_corners=True a single pixel stands on the first old "
     "one, not in the middle.",
     (lambda before, after, align_corners: axis_weights(
         before, after, align_corners and after > 1),)),
    ("scale-inverted", "You multiply by the new size and divide by the old one. How far is it in "
     "the old map from one new pixel to the next?",
     (_mapped(lambda a, before, after: (a + 0.5) * after / before - 0.5,
              lambda before, after, align_corners: _tents(np.minimum(
                  np.arange(after) * (after - 1) / max(before - 1, 1), before - 1), before)),)),
)


MISTAKES = (
    Mistake("bilinear_resize", "always-align-corners", "Your places are those of "
            "align_corners=True also where it is False.", _forward(_corners_always)),
    Mistake("bilinear_resize", "never-align-corners", "Your places are those of "
            "align_corners=False also where it is True.", _forward(_corners_never)),
    Mistake("bilinear_resize", "half-pixel-forgotten", "With align_corners=False a pixel's value "
            "stands in its middle. Where is the middle of the first of four pixels?",
            _forward(_no_half_pixel)),
    Mistake("bilinear_resize", "zeros-outside", "A place just outside the old map reads too "
            "little: it is first moved to the nearest pixel.", _forward(_zeros_outside)),
    Mistake("bilinear_resize", "extrapolated", "Outside the old map's pixels you continue the "
            "line through the last two. The place is first moved to the nearest pixel.",
            _forward(_extrapolated)),
    Mistake("bilinear_resize", "divided-by-the-size", "With align_corners=True the last new pixel "
            "stands on the last old one. How many steps are there between A pixels?",
            _forward(_steps_of_the_size)),
    Mistake("bilinear_resize", "nearest-pixel", "You copy one pixel for each new one. "
            "Bilinear interpolation mixes four.", _forward(_nearest)),
    Mistake("bilinear_resize", "linear-in-one-direction", "In one direction you interpolate, "
            "in the other you copy the nearest pixel.", _forward(axis_weights, _nearest)),
    Mistake("bilinear_resize", "area-mean", "You average the area that a new pixel covers. Where "
            "the map gets smaller that is the better picture, but not this formula.",
            _forward(_area_mean)),
    Mistake("bilinear_resize", "size-exchanged", "The new height and width are exchanged: size is "
            "(rows, columns).", _size_exchanged),
    Mistake("bilinear_resize_backward", "resized-back", "You resize g to the old size. The "
            "gradient is the transposed map: each new pixel gives its g to those it looked at.",
            _resized_back),
    Mistake("bilinear_resize_backward", "mean", "Your gradient is a weighted mean of the g that "
            "arrive at a pixel. They are summed.", _backward(axis_weights, _mean)),
    Mistake("bilinear_resize_backward", "divided-by-the-count", "You divide by the number of new "
            "pixels that looked at an old one.", _backward(axis_weights, _count)),
    Mistake("bilinear_resize_backward", "overwritten", "Several new pixels look at one old pixel; "
            "only the last one's g counts in your code.", _backward(axis_weights, _last_only)),
    Mistake("bilinear_resize_backward", "weights-forgotten", "Each of the four pixels gets the "
            "whole g. With what weight was it mixed?", _backward(axis_weights, _whole)),
    Mistake("bilinear_resize_backward", "nearest-pixel", "The whole g goes to one pixel. Four were "
            "mixed.", _backward(_nearest)),
    Mistake("bilinear_resize_backward", "always-align-corners", "Your places are those of "
            "align_corners=True also where it is False.", _backward(_corners_always)),
    Mistake("bilinear_resize_backward", "never-align-corners", "Your places are those of "
            "align_corners=False also where it is True.", _backward(_corners_never)),
    Mistake("bilinear_resize_backward", "half-pixel-forgotten", "With align_corners=False a "
            "pixel's value stands in its middle, on the way back too.", _backward(_no_half_pixel)),
    *(Mistake("bilinear_resize", name, hint, _forward(version))
      for name, hint, several in AXIS_MISTAKES for version in several),
    *(Mistake("bilinear_resize_backward", name, hint, _backward(version))
      for name, hint, several in AXIS_MISTAKES for version in several),
    Mistake("bilinear_resize_backward", "zeros-outside", "A place just outside the old map gives "
            "back too little: it is first moved to the nearest pixel.", _backward(_zeros_outside)),
    Mistake("bilinear_resize_backward", "extrapolated", "Outside the old map's pixels you continue "
            "the line through the last two. The place is first moved to the nearest pixel.",
            _backward(_extrapolated)),
    Mistake("bilinear_resize_backward", "divided-by-the-size", "With align_corners=True the last "
            "new pixel stands on the last old one. How many steps are there between A pixels?",
            _backward(_steps_of_the_size)),
)

MISTAKES += versions(MISTAKES, {
    **{("bilinear_resize", name): tuple(map(_forward, several))
       for name, several in (EITHER_WAY | {"nearest-pixel": (
           *EITHER_WAY["nearest-pixel"], _copied(np.round))}).items()},
    **{("bilinear_resize_backward", name): tuple(map(_backward, several))
       for name, several in EITHER_WAY.items()},
    ("bilinear_resize", "linear-in-one-direction"): (_forward(_nearest, axis_weights),),
    ("bilinear_resize_backward", "weights-forgotten"): (
        _backward(_mixed(lambda part: (1.0, 1.0))),),
    ("bilinear_resize_backward", "overwritten"): (_four_written(False), _four_written(True)),
})


# ---- cases ---------------------------------------------------------------------------------------

def _few(rng, *shapes):
    """A few whole numbers up to 40, all different: easy to follow, and not known beforehand."""
    return [rng.permutation(np.arange(1.0, 41))[:np.prod(s)].reshape(s) for s in shapes]


def _case(rng, name, sizes, size, align_corners, draw=random):
    """A case of sizes N, C, H, W."""
    return Case("bilinear_resize", name, (*draw(rng, sizes), size, align_corners))


def _back(rng, name, sizes, size, align_corners, draw=random):
    """A case of the backward: from (A, B) = size to sizes N, C, H, W."""
    N, C, *input_size = sizes
    return Case("bilinear_resize_backward", name,
                (*draw(rng, (N, C, *size)), tuple(input_size), align_corners))


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    return [
        _case(rng, "two pixels to four", (1, 1, 1, 2), (1, 4), False, _few),
        _case(rng, "two pixels to three, align_corners", (1, 1, 1, 2), (1, 3), True, _few),
        _case(rng, "enlarged", (1, 2, 3, 5), (7, 8), False),
        _case(rng, "enlarged, align_corners", (1, 2, 3, 5), (7, 8), True),
        _case(rng, "two images, made smaller", (2, 3, 9, 8), (4, 5), False),
        _case(rng, "one row and two columns, align_corners", (1, 2, 5, 7), (1, 2), True),
        _back(rng, "backward, two pixels to four", (1, 1, 1, 2), (1, 4), False, _few),
        _back(rng, "backward, enlarged, align_corners", (1, 2, 3, 5), (7, 8), True),
        _back(rng, "backward, two images, lower and wider", (2, 3, 9, 5), (4, 8), False),
        _back(rng, "backward, one row and nine columns, align_corners", (1, 2, 6, 4), (1, 9), True),
    ]


# ---- error bounds --------------------------------------------------------------------------------
# Beside the sum's roundings there are those of a place: about four, each of them as large as the
# coordinates are, which move a little of its weight from one pixel to a neighbour.

TERMS, PLACE_ROUNDINGS = 6, 8


def _around(x, join):
    """Each pixel joined with its eight neighbours: where a rounded place may also have looked."""
    H, W = x.shape[2:]
    padded = np.pad(np.abs(x), ((0, 0), (0, 0), (1, 1), (1, 1)))
    return join([padded[:, :, i:i + H, j:j + W] for i, j in np.ndindex(3, 3)], axis=0)


def _magnitude(x, size, align_corners):
    share = PLACE_ROUNDINGS * max(x.shape[2:]) / TERMS
    return (bilinear_resize(np.abs(x), size, align_corners)
            + share * bilinear_resize(_around(x, np.max), size, align_corners))


def _backward_magnitude(g, input_size, align_corners):
    gx = bilinear_resize_backward(np.abs(g), input_size, align_corners)
    return gx + PLACE_ROUNDINGS * max(input_size) / TERMS * _around(gx, np.sum)


def _backward_terms(g, input_size, align_corners):
    looks = (axis_weights(n, m, align_corners) > 0 for n, m in zip(input_size, g.shape[2:]))
    return np.prod([weights.sum(axis=0).max() for weights in looks]) + TERMS


def _calls(g, input_size, align_corners):
    """Calls of the forward of a backward; see `forwards.Forward`."""
    return [((x, g.shape[2:], align_corners), (0,))
            for x in inputs((*g.shape[:2], *input_size))]


EXERCISE = Exercise(
    name="bilinear_resize", title="Bilinear resizing and its gradient",
    lecture="Kempten L 10.2, Bilinear Interpolation", source="tinyvision/ops/interpolate.py",
    functions={"bilinear_resize": bilinear_resize,
               "bilinear_resize_backward": bilinear_resize_backward},
    cases=cases, mistakes=MISTAKES,
    magnitude={"bilinear_resize": _magnitude, "bilinear_resize_backward": _backward_magnitude},
    terms={"bilinear_resize": lambda *args: TERMS, "bilinear_resize_backward": _backward_terms},
    forwards={"bilinear_resize_backward": Forward("bilinear_resize", _calls)})
