r"""# Is this gradient right?

Write `gradcheck`: it tells whether somebody's gradient of a function is right, by moving each
element of the input a little to both sides. It is how every backward function of a library is
tested, this one's, too. Yours is judged by whether it catches wrong gradients and lets right ones
pass.

$$\frac{\partial f}{\partial x_i} \approx \frac{f(x + h e_i) - f(x - h e_i)}{2h}$$

The error of this *central* difference falls with $h^2$; that of $(f(x + h e_i) - f(x)) / h$ only
with $h$. A very small h is no better: both values of f are rounded, and their difference is all
rounding. $h = 10^{-5} \max(1, |x_i|)$ is a good choice in float64, and none in float32.

**By hand.** f(x) = x0 * x1 at (2, 3), h = 0.1:

    (2.1 * 3 - 1.9 * 3) / 0.2 = 3,    (2 * 3.1 - 2 * 2.9) / 0.2 = 2

so (3, 2) is right, (2, 3) wrong, and (6, 4) wrong, too.

**Conventions.**

- f takes a float array of x's shape and returns one number. The gradient is right if it has the
  shape of x and no element differs from the numerical gradient by more than $10^{-4}$ times the
  numerical gradient's largest absolute value. So it does not matter whether f is a billion times
  larger or smaller.
- A gradient with NaN in it is wrong.
- x may be float32: compute in float64. Afterwards x is, bit for bit, what it was.
"""
from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from tinyvision.exercises.drivers import gradcheck as driver
from tinyvision.exercises.exercise import Case, Exercise, Mistake


def gradcheck(f, x, gradient):
    """Whether an array is the gradient of a function.

    Arguments:
        f: takes an array of the shape of x, returns a number.
        x: float array, where.
        gradient: what is claimed to be the gradient of f at x.

    Returns:
        True or False.
    """
    ### BEGIN SOLUTION
    x, numerical = np.array(x, np.float64), np.zeros(x.shape)
    if gradient.shape != x.shape:
        return False
    for i in np.ndindex(x.shape):
        kept, h = x[i], 1e-5 * max(1, abs(x[i]))
        x[i] = kept + h
        above = f(x)
        x[i] = kept - h
        below = f(x)
        x[i] = kept
        numerical[i] = (above - below) / (2 * h)
    return bool(np.abs(gradient - numerical).max() <= 1e-4 * np.abs(numerical).max())
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _numerical(f, x, forward=False, step=lambda v: 1e-5 * max(1, abs(v)), width=2):
    """The numerical gradient, with what can go wrong in it; in the precision of x."""
    x, numerical = np.array(x), np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        kept, h = x[i], step(x[i])
        x[i] = kept + h
        above = f(x)
        x[i] = kept if forward else kept - h
        numerical[i] = (above - f(x)) / ((1 if forward else width) * h)
        x[i] = kept
    return numerical


def _error(numerical, gradient, tolerance=1e-4):
    return np.abs(gradient - numerical).max() <= tolerance * np.abs(numerical).max()


def _comparing(compare, **how):
    """A gradcheck that compares in its own way, or differentiates in its own way."""
    def wrong(f, x, gradient):
        if gradient.shape != x.shape:
            return False
        with np.errstate(divide="ignore", invalid="ignore"):
            return bool(compare(_numerical(f, x.astype(np.float64), **how), gradient))
    return wrong


def _lengths(numerical, gradient):
    """Whether two gradients are about as long."""
    return _error(np.linalg.norm(numerical), np.linalg.norm(gradient))


def _same_size(f, x, gradient):
    """Compares row by row of numbers, so any shape of as many will do."""
    return gradient.size == x.size and gradcheck(f, x, gradient.reshape(x.shape))


def _all_at_once(f, x, gradient):
    """Moves all elements together."""
    if gradient.shape != x.shape:
        return False
    x = x.astype(np.float64)
    h = 1e-5 * np.maximum(1, np.abs(x))
    return bool(_error((f(x + h) - f(x - h)) / (2 * h), gradient))


def _in_place(back):
    """Steps forth and back in the array that was given; ``back``: of the step, what is undone of
    it afterwards."""
    def moved(f, x, gradient):
        if gradient.shape != x.shape:
            return False
        if x.dtype == np.float32:
            x = x.astype(np.float64)
        numerical = np.zeros(x.shape)
        for i in np.ndindex(x.shape):
            h = 1e-5 * max(1, abs(x[i]))
            x[i] += h
            above = f(x)
            x[i] -= 2 * h
            numerical[i] = (above - f(x)) / (2 * h)
            x[i] += back * h
        return bool(_error(numerical, gradient))
    return moved


_left_moved, _not_restored = _in_place(0), _in_place(1)     # the second but for its rounding


def _never_back(f, x, gradient):
    """Leaves the elements of a copy where its steps end, so that the next ones start elsewhere."""
    return _left_moved(f, x.astype(np.float64), gradient)


def _copied(f, x, gradient):
    """Moves the elements of a copy that f never sees."""
    if gradient.shape != x.shape:
        return False
    return bool(_error(np.zeros(x.shape), gradient))


def _direction(numerical, gradient):
    cosine = (numerical * gradient).sum() / np.linalg.norm(numerical) / np.linalg.norm(gradient)
    return cosine > 1 - 1e-6


def _any_shape(f, x, gradient):
    return bool(_error(_numerical(f, x.astype(np.float64)), gradient))


def _in_float32(f, x, gradient):
    return gradient.shape == x.shape and bool(_error(_numerical(f, x), gradient))


def _flattened(f, x, gradient):
    """Moves the elements of x.ravel(), which is a copy where x is not contiguous."""
    if gradient.shape != x.shape:
        return False
    x = x.astype(np.float64)
    flat, numerical = x.ravel(), []
    for i, kept in enumerate(flat.copy()):
        h = 1e-5 * max(1, abs(kept))
        flat[i] = kept + h
        above = f(x)
        flat[i] = kept - h
        numerical.append((above - f(x)) / (2 * h))
        flat[i] = kept
    return bool(_error(np.reshape(numerical, x.shape), gradient))


MISTAKES = tuple(Mistake("gradcheck", name, hint, wrong) for name, hint, wrong in (
    ("forward-difference", "(f(x + h) - f(x)) / h is off by h f''/2. Where the gradient is small "
     "and the curvature is not, that is more than the tolerance. Step to both sides.",
     _comparing(_error, forward=True)),
    ("width-forgotten", "From x - h to x + h is a step of how much?", _comparing(_error, width=1)),
    ("not-divided", "A derivative is the change of f divided by the step.",
     _comparing(lambda n, g: _error(n * 2e-5, g))),
    ("step-of-a-tenth", "Your step is too large: the error of the central difference grows with "
     "its square. A tenth is good for working by hand.",
     _comparing(_error, step=lambda v: 0.1 * max(1, abs(v)))),
    *(("step-too-small", "Your step is lost in rounding: it is too small for the precision in "
       "which f is computed. How small is it, and is x float64 there?",
       _comparing(_error, step=step))
      for step in (lambda v: 1e-15 * max(1, abs(v)), lambda v: 1e-12 * max(1, abs(v)),
                   lambda v: 1e-12)),
    ("all-at-once", "A derivative is that by one element, while the others stay.", _all_at_once),
    ("fixed-step", "At x = 1e12 a step of 1e-5, or a smaller one, changes nothing: the next "
     "number is further away.",
     _comparing(_error, step=lambda v: 1e-5)),
    ("relative-step-only", "Where x is 0, a step that is a fraction of x is 0, too.",
     _comparing(_error, step=lambda v: 1e-5 * abs(v))),
    ("zero-over-zero", "For a constant function the largest derivative is 0: an error of 0 is "
     "not more than 1e-4 times 0 (but not less either, and 0 / 0 is no number).",
     _comparing(lambda n, g: np.abs(g - n).max() / np.abs(n).max() < 1e-4)),
    ("each-by-itself", "What you allow depends on the small elements of the gradient. Rounding "
     "makes the numerical one as wrong in a small element as in a large one: compare with the "
     "largest.", _comparing(lambda n, g: (np.abs(g - n) <= 1e-4 * np.abs(n)).all())),
    ("absolute-tolerance", "Whether an error of 1e-4 is large depends on how large the gradient "
     "is.", _comparing(lambda n, g: np.abs(n - g).max() <= 1e-4)),
    *(("small-errors-pass", "An error that is small by itself passes in your code, however small "
       "the gradient is. What becomes of a gradient of 1e-9? (np.allclose has such a tolerance, "
       "atol, and max(1, ...) is one.)", _comparing(compare)) for compare in (
        lambda n, g: np.allclose(g, n),
        lambda n, g: np.abs(n - g).max() <= 1e-4 * max(1, np.abs(n).max()))),
    ("epsilon-below", "A small number added to the largest derivative hides how wrong the gradient "
     "of a small function is.",
     _comparing(lambda n, g: np.abs(g - n).max() / (np.abs(n).max() + 1e-8) <= 1e-4)),
    *(("too-strict", "You allow less than the task does, and a numerical gradient is not exact: by "
       "how much may a right one differ from it?", _comparing(compare)) for compare in (
        lambda n, g: _error(n, g, 1e-15), lambda n, g: _error(n, g, 1e-6))),
    ("everything-passes", "Every gradient of the right shape passes: what do you compare it with?",
     _comparing(lambda n, g: True)),
    ("everything-passes", "Every gradient of the right shape passes: what do you compare it with?",
     _comparing(lambda n, g: not np.isnan(g).any())),
    ("any-element", "The gradient is right if all its elements are, not if one is.",
     _comparing(lambda n, g: (np.abs(g - n) <= 1e-4 * np.abs(n).max()).any())),
    ("error-with-sign", "An error below 0 is an error, too: compare its size.",
     _comparing(lambda n, g: (g - n).max() <= 1e-4 * np.abs(n).max())),
    ("error-with-sign", "An error below 0 is an error, too: compare its size.",
     _comparing(lambda n, g: (n - g).max() <= 1e-4 * np.abs(n).max())),
    ("largest-with-sign", "The largest absolute value of derivatives is not the absolute value of "
     "the largest, or the largest: all may be negative.",
     _comparing(lambda n, g: np.abs(n - g).max() <= 1e-4 * n.max())),
    ("lengths-only", "Two gradients may be as long as one another and point elsewhere.",
     _comparing(_lengths)),
    *(("too-loose", "You allow more than the task does: gradients pass that are wrong by more than "
       "1e-4 of the largest derivative.", _comparing(compare)) for compare in (
        lambda n, g: _error(n, g, 0.1), lambda n, g: _error(n, g, 0.01))),
    ("sums-only", "The sums of two arrays can agree where the arrays do not.",
     _comparing(lambda n, g: _error(n.sum(), g.sum()))),
    ("first-only", "Every element of x has its own derivative, not only the first.",
     _comparing(lambda n, g: _error(n.flat[0], g.flat[0]))),
    ("last-only", "Every element of x has its own derivative, not only the last.",
     _comparing(lambda n, g: _error(n.flat[-1], g.flat[-1]))),
    ("direction-only", "The angle between two gradients says nothing about their lengths.",
     _comparing(_direction)),
    ("unsigned", "You compare absolute values: a gradient that points uphill instead of downhill "
     "passes.", _comparing(lambda n, g: _error(np.abs(n), np.abs(g)))),
    *(("nan-accepted", "A gradient with NaN in it passes in your code. Every comparison with NaN "
       "is False, also error > tolerance, and some maxima leave NaN out. What is True only of "
       "numbers?", _comparing(compare)) for compare in (
        lambda n, g: not np.abs(n - g).max() > 1e-4 * np.abs(n).max(),
        lambda n, g: not (np.abs(n - g) > 1e-4 * np.abs(n).max()).any(),
        lambda n, g: max(np.abs(n - g).flat) <= 1e-4 * np.abs(n).max())),
    ("any-shape", "An array that only broadcasts to the shape of x is no gradient of x.",
     _any_shape),
    ("same-size", "An array of as many numbers but another shape is no gradient of x.",
     _same_size),
    ("in-float32", "In float32 a step of 1e-5 is lost in rounding: make x float64 first.",
     _in_float32),
    *(("not-restored", "An element that you moved is not afterwards what it was: (x + h) - h is "
       "not always x. Keep the number, and put it back.", wrong)
      for wrong in (_not_restored, _left_moved, _never_back)),
    ("flattened-copy", "x.ravel() is a copy where x does not lie row by row in memory: f then "
     "never sees what you change.", _flattened),
    ("copy-moved", "Your numerical gradient is always 0: does f see both x + h and x - h? "
     "(x.flatten() is a copy; what it changes f never sees.)", _copied),
))


# ---- small calls ---------------------------------------------------------------------------------

def _small(linear, x, *claims, square=None, waves=None, scale=1.0):
    """A function that can be worked out by hand, a place, and what may be claimed there."""
    n, floats = len(x), functools.partial(np.array, dtype=np.float64)
    return (floats(linear), np.zeros((n, n)) if square is None else floats(square),
            floats(waves or [0] * n), scale, 1.0, floats(x), floats(claims))


SMALL = {                               # by driver; the simplest first
    "verdicts": (
        _small([3], [1], [3], [-3], [0], [6]),
        _small([2, 3], [1, 1], [2, 3], [3, 2], [2, 0], [0, 3], [2, 4], [1, 3], [4, 6], [5, 5],
               [-2, -3]),
        _small([-2, -3], [1, 1], [-2, -3], [-2, -4], [-2, -2]),
        _small([0], [3], [6], [7], [3], [12], square=[[1]]),
        _small([0], [0], [0], [1], square=[[1]]),
        _small([0, 0], [2, 3], [3, 2], [2, 3], square=[[0, 1], [0, 0]]),
        _small([0], [1], [0], [1]),
        _small([0], [0], [3], [-3], waves=[3]),
        _small([3], [1], [3e-9], [6e-9], [0], [-3e-9], scale=1e-9),
        _small([3], [1], [3e-14], [6e-14], [0], scale=1e-14),
        _small([3], [1], [3e20], [6e20], scale=1e20),
        _small([100], [1], [101], [99], [110]),
        _small([1000], [1], [1001], [999]),
        _small([100000, 100000], [1, 1], [100012, 100000], [100008, 100000]),
        _small([100], [-49], [2], [0], square=[[1]]),
        _small([100000], [1], [100002], [99998]),
        _small([3], [10 ** 12], [3], [0]),
        _small([1000, 1e-9], [1, 1], [1000, 1e-9]),
        _small([0, 0], [1e-5, 1e-5], [1e-5, 1e-5], [1e-5, 0], square=[[0, 1], [0, 0]])),
    "single": (_small([3], [1], [3], [4]), _small([2, 3], [1, 2], [2, 3], [3, 2])),
    "with_nan": (_small([2, 3], [1, 1], [2, 3]),),
    "shapes": (_small([3, 3], [1, 1], [3, 3]),)}
COLUMNS = _small([1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4], [1, 3, 2, 4])
SMALL["columns"] = ((*COLUMNS[:5], COLUMNS[5].reshape(2, 2), COLUMNS[6].reshape(2, 2, 2)),)


def _simpler(case):
    """Small calls of several claims, or of this case's function; then of one claim each. A case
    without a name is on its way to be small."""
    *function, gradients = case.args
    if case.name:
        for driver in dict.fromkeys(("verdicts", case.driver, "columns")):
            yield from (Case(case.function, "", args, driver=driver) for args in SMALL[driver])
    if len(gradients) > 1:
        for claim in np.unique(gradients, axis=0):
            yield replace(case, name="", args=(*function, claim[None]))


# ---- cases ---------------------------------------------------------------------------------------

def _gradient(linear, square, waves, scale, unit, x):
    """The exact gradient of the driver's formula."""
    u = x.reshape(-1) / unit
    slope = linear + (square + square.T) @ u + waves * np.cos(u)
    return (scale / unit * slope).reshape(x.shape)


def _random(rng, shape, scale=1.0, unit=1.0):
    """A random function and a place; numbers that float32 has, too; no derivative near 0."""
    n = int(np.prod(shape))
    while True:
        linear, waves, square, x = (np.round(64 * rng.uniform(0.25, 2, size)) / 64
                                    * rng.choice([-1, 1], size)
                                    for size in (n, n, (n, n), shape))
        found = linear, square, waves, scale, unit, x * unit
        slopes = np.abs(_gradient(*found))
        if slopes.min() > 0.1 * slopes.max() and len(set(slopes.flat)) == n:
            return found


def _claims(rng, right, *wrong):
    """Right and wrong gradients, each of them twice, in a random order: there are as many orders as
    it takes to make a guess worthless."""
    claims = np.stack([right, *wrong] * 2)
    return claims[rng.permutation(len(claims))]


def _changed(gradient, *elements):
    """A gradient with some elements (numbers in reading order) a fifth larger."""
    wrong = gradient.copy()
    wrong.flat[list(elements)] *= 1.2
    return wrong


def _swapped(gradient):
    """Its first two elements exchanged: the sum is right."""
    wrong = gradient.copy()
    wrong.flat[[0, 1]] = wrong.flat[[1, 0]]
    return wrong


def _line(rng):
    linear, x = -rng.permutation([1.0, 2, 3, 4])[:3], rng.permutation([1.0, 2, 3, 4])[:3]
    function = linear, np.zeros((3, 3)), np.zeros(3), 1.0, 1.0, x
    return *function, _claims(rng, linear, -linear, 2 * linear, _swapped(linear))


def _not_symmetric(rng):
    linear, x = rng.permutation([1.0, 2, 3]), np.array([2.0, 0, -1])
    square = rng.permutation(np.arange(1.0, 10)).reshape(3, 3)
    right = _gradient(linear, square, np.zeros(3), 1.0, 1.0, x)
    return linear, square, np.zeros(3), 1.0, 1.0, x, _claims(
        rng, right, linear + 2 * square @ x, linear + square @ x, right - linear)


def _one_number(rng):
    """f(x) = w sin x at 0: a step as small as you like is good, and an exact answer impossible."""
    nothing, waves = np.zeros(1), rng.integers(2, 9, 1) * 1.0
    return nothing, np.zeros((1, 1)), waves, 1.0, 1.0, nothing, _claims(rng, waves, -waves,
                                                                        0 * waves)


def _minimum(rng):
    """So near that a step leads from one slope to another, also to that by another element. One
    claim is right where every element before is left a step back."""
    steep, x = rng.integers(2, 6, 3) * 1.0, rng.permutation([1.0, -2, 8]) / 65536
    function = np.zeros(3), np.triu(np.ones((3, 3)), 1) + np.diag(steep), np.zeros(3), 1.0, 1.0, x
    right = _gradient(*function)
    return *function, _claims(rng, right, right - 1e-5 * np.arange(3), 0 * right,
                              2e-5 * right, right.sum() + 0 * right)


def _one_small(rng):
    """One derivative is some 1e-12, the others about 1: rounding decides its numerical one."""
    linear, square, waves, scale, unit, x = _random(rng, (3,))
    linear[1] -= _gradient(linear, square, waves, scale, unit, x)[1] - 1e-12
    right = _gradient(linear, square, waves, scale, unit, x)
    return linear, square, waves, scale, unit, x, _claims(rng, right, _changed(right, 0),
                                                          _changed(right, 2))


def _constant(rng):
    """A function that does not change, and gradients that say it does."""
    nothing, x = np.zeros(3), rng.permutation([1.0, -2, 3])
    function = nothing, np.zeros((3, 3)), nothing, 1.0, 1.0, x
    return *function, _claims(rng, nothing, x / 1000, -x)


def _equal_slopes(rng):
    linear, x = np.full(3, float(rng.integers(2, 6))), rng.permutation([1.0, 2, 3])
    return linear, np.zeros((3, 3)), np.zeros(3), 1.0, 1.0, x, _claims(
        rng, linear, -linear, 2 * linear)


def _random_case(rng, shape, wrong, scale=1.0, unit=1.0, near=1.0):
    """``near``: how near the right gradient is to the exact one."""
    function = _random(rng, shape, scale, unit)
    right = _gradient(*function)
    return *function, _claims(rng, near * right, *(make(right) for make in wrong))


def _nudged(gradient):
    """Wrong by twenty times what is allowed, in one of thirty elements: not on average."""
    other = gradient.copy()
    other.flat[gradient.size // 2] += 2e-3 * np.abs(gradient).max()
    return other


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    large = [lambda g: _changed(g, int(np.abs(g).argmax())), lambda g: 1.02 * g, lambda g: 0.98 * g]
    sign = [lambda g: -g, lambda g: 0 * g]
    last = [lambda g: _changed(g, 0), lambda g: _changed(g, g.size - 1), _swapped, _nudged]
    few = [lambda g: _changed(g, 1), lambda g: g.mean() + 0 * g]
    rows = [
        ("a line", 0.5, "verdicts", _line(rng)),
        ("a constant", 0.5, "verdicts", _constant(rng)),
        ("one number", 0.5, "verdicts", _one_number(rng)),
        ("not symmetric", 0.5, "verdicts", _not_symmetric(rng)),
        ("one element of a matrix", 1, "verdicts", _random_case(rng, (5, 6), last)),
        ("two in a hundred", 0.5, "verdicts", _random_case(
            rng, (4,), large, scale=1e-10, near=1.00002)),
        ("near a minimum", 1, "verdicts", _minimum(rng)),
        ("one small derivative", 0.5, "verdicts", _one_small(rng)),
        ("a tiny gradient", 1, "verdicts", _random_case(rng, (3,), sign, scale=1e-14)),
        ("large numbers", 1, "verdicts", _random_case(rng, (3,), few, scale=1e20, unit=2.0 ** 40)),
        ("not a number", 1, "with_nan", _random_case(rng, (3,), few)),
        ("float32", 1, "single", _random_case(rng, (3,), few)),
        ("columns side by side, and x afterwards", 0.5, "columns",
         _random_case(rng, (4, 3), few)),
        ("other shapes", 0.5, "shapes", _equal_slopes(rng))]
    return [Case("gradcheck", name, args, points, used) for name, points, used, args in rows]


EXERCISE = Exercise(
    name="gradcheck", title="Is this gradient right?", lecture="Kempten L 10.X, Recap Gradient "
    "Descent", source="tinyvision/gradcheck.py", functions={"gradcheck": gradcheck}, cases=cases,
    mistakes=MISTAKES, driver=driver, simpler=dict.fromkeys(SMALL, _simpler))
