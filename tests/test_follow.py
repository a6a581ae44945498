"""Follow-through: a gradient that is right for the student's own forward, which is wrong."""
import functools

import numpy as np
import pytest
from programs import changed, graded

from tinyvision import exercises
from tinyvision.exercises import homework, start, vary
from tinyvision.exercises.forwards import Forward, product, same_arguments, untied
from tinyvision.grading import follow
from tinyvision.grading.assignment import parts_of, run

RIGHT = start.solution_text(exercises.load("conv2d"))
FLIPPED = RIGHT.replace('"ncij,ocij->no", window, weight)',
                        '"ncij,ocij->no", window, weight[:, :, ::-1, ::-1])')
FOLLOWING = FLIPPED.replace("g[:, :, a, b], weight)", "g[:, :, a, b], weight[:, :, ::-1, ::-1])"
                            ).replace("padded[here])", "padded[here])[:, :, ::-1, ::-1]")
OTHERS = ("lstm_cell", "batch_norm", "bilinear_resize", "max_pool2d", "max_unpool2d", "ps_roi_pool",
          "roi_align")                  # their backward takes something else than g and the rest


def backwards(exercise):
    return [name for name in exercise.functions if exercise.forward(name)]


WITH_BACKWARD = [name for name in exercises.names() if backwards(exercises.load(name))]


# ---- the usual ones ------------------------------------------------------------------------------

def test_a_gradient_that_is_right_for_a_wrong_forward_costs_nothing():
    assert FLIPPED != RIGHT and FOLLOWING != FLIPPED
    record = graded("conv2d", FOLLOWING)
    backward = [case for case in record["cases"] if case["function"] == "conv2d_backward"]
    assert all(case["earned"] == case["points"] for case in backward)
    assert all("your own conv2d" in case["follow_through"] for case in backward)
    assert [found["name"] for found in record["diagnoses"]] == ["kernel-flipped"]
    assert record["score"] == 5 and record["verdict"] == "WRONG_VALUE"


def test_the_right_gradient_of_a_wrong_forward_is_right_too():
    record = graded("conv2d", FLIPPED)
    assert [case["verdict"] for case in record["cases"][-4:]] == ["OK"] * 4


def test_an_easy_forward_earns_no_easy_gradient():
    """A forward of zeros is no known mistake: its gradient of zeros is worth nothing."""
    record = graded("conv2d", """
import numpy as np
def conv2d(x, weight, bias, stride, padding):
    (N, _, H, W), (O, _, I, J), s, p = x.shape, weight.shape, stride, padding
    return np.zeros((N, O, (H + 2 * p - I) // s + 1, (W + 2 * p - J) // s + 1))
def conv2d_backward(g, x, weight, bias, stride, padding):
    return np.zeros(x.shape), np.zeros(weight.shape), np.zeros(bias.shape)
""")
    assert record["score"] == 0
    assert not any("follow_through" in case for case in record["cases"])


def test_every_backward_has_a_forward():
    """All 22 of the catalogue; what is no backward has none."""
    every = [(exercise, name) for exercise in map(exercises.load, exercises.names())
             for name in exercise.functions]
    backward = [(exercise, name) for exercise, name in every if name.endswith("_backward")]
    assert len(backward) == 22
    for exercise, name in every:
        forward = exercise.forward(name)
        assert (forward is not None) == name.endswith("_backward")
        assert not forward or forward.name == name.removesuffix("_backward")


ZERO = ("KL backward, variance 1", "KL backward, mean 0")       # one of the gradients is 0


@pytest.mark.parametrize("name", WITH_BACKWARD)
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_solutions_follow_their_own_forward(name, seed):
    """In the usual conventions and in others."""
    exercise = exercises.load(name)
    exercise = exercise if seed is None else vary.varied(exercise, seed)
    for case in exercise.cases(np.random.default_rng(3)):
        forward = None if case.driver else exercise.forward(case.function)
        if forward and case.name not in ZERO:
            right, _ = parts_of(run(exercise, case))
            own = functools.partial(follow.follows, case, forward, exercise.functions[forward.name])
            assert own(right) and own([part.astype("f4") for part in right])
            for worse in ([1.001 * part for part in right], [0 * part for part in right],
                          [np.full(part.shape, np.nan) for part in right], [None] * len(right),
                          [part[None] for part in right], right[:-1] + (0 * right[-1],), ()):
                assert not own(worse)


@pytest.mark.parametrize("seed", [None, 4])
def test_an_assignment_keeps_what_its_parts_say(seed):
    made = homework.homework("hw", ["conv2d", *OTHERS], vary=seed)
    assert len(backwards(made)) == 8
    for name in backwards(made):
        assert made.forward(name).name in made.functions


# ---- students of the others ----------------------------------------------------------------------

def program(name, *pairs):
    """The solution with some of its lines changed."""
    text = changed(name, *pairs[0])
    for old, new in pairs[1:]:
        assert old in text
        text = text.replace(old, new)
    return text


STUDENTS = {            # mistake -> the forward's wrong lines, the backward's that go with them
    ("lstm_cell", "not-squashed"): (
        [("return o * np.tanh(c), c", "return o * c, c")],
        [("shown = np.tanh(f * c + i * g)", "shown = f * c + i * g"),
         ("gh * o * (1 - shown ** 2)", "gh * o")]),
    ("lstm_cell", "order-i-g-f-o"): (
        [("i, f, g, o = np.split(before", "i, g, f, o = np.split(before")],
        [("gc * c * f * (1 - f),\n", "gc * i * (1 - g ** 2),\n"),
         ("    gc * i * (1 - g ** 2), gh", "    gc * c * f * (1 - f), gh")]),
    ("lstm_cell", "memory-squashed"): (
        [("    c = f * c + i * g\n    return o * np.tanh(c), c",
          "    c = np.tanh(f * c + i * g)\n    return o * c, c")],
        [("gc = gc + gh * o * (1 - shown ** 2)", "gc = (gc + gh * o) * (1 - shown ** 2)")]),
    ("batch_norm", "eps-forgotten"): (
        [("np.sqrt(var + eps)", "np.sqrt(var)")],
        [("np.sqrt(x.var(axes) + eps)", "np.sqrt(x.var(axes))")]),
    ("batch_norm", "mean-not-subtracted"): (
        [("    scale = weight", "    mean = mean * (not training)\n    scale = weight")],
        [("    normal = (x",
          "    centred, mean = x - mean[:, None, None], 0 * mean\n    normal = (x"),
         ("    common = (gbias[:, None, None] + normal *", "    common = (centred * scale[:, None, "
          "None] *")]),
    ("bilinear_resize", "never-align-corners"): (
        [("        if align_corners:\n", "        if False:\n")], []),
    ("bilinear_resize", "weights-exchanged"): (
        [("        weights[a] = np.maximum(0, 1 - np.abs(place - np.arange(before)))",
          "        low = int(place + 1e-9)\n        weights[a, low] += place - low\n"
          "        weights[a, min(low + 1, before - 1)] += 1 - place + low")], []),
    ("max_pool2d", "column-by-column"): (
        [("x[n, c, h, w], h * W + w", "x[n, c, h, w], w * H + h")],
        [("row, column = divmod(indices[n, c, a, b], input_shape[3])",
          "column, row = divmod(indices[n, c, a, b], input_shape[2])")]),
    ("max_unpool2d", "overlap-overwritten"): (
        [("y[n, c, row, column] += x", "y[n, c, row, column] = x")],
        [("    gx = np.empty(indices.shape)", "    gx, last = np.zeros(indices.shape), {}"),
         ("        gx[n, c, a, b] = g[n, c, row, column]\n",
          "        last[n, c, row, column] = a, b\n"
          "    for (n, c, row, column), (a, b) in last.items():\n"
          "        gx[n, c, a, b] = g[n, c, row, column]\n")]),
    ("max_unpool2d", "column-by-column"): (
        [("        row, column = divmod(indices[n, c, a, b], W)\n        y[",
          "        column, row = divmod(indices[n, c, a, b], H)\n        y[")],
        [("        row, column = divmod(indices[n, c, a, b], W)\n        gx[",
          "        column, row = divmod(indices[n, c, a, b], g.shape[2])\n        gx[")]),
    ("ps_roi_pool", "sum"): (
        [("region.mean()", "region.sum()")],
        [("g[k, c, p, q] / region.size", "g[k, c, p, q]")]),
    ("ps_roi_pool", "last-row-included"): (
        [("edge, 0), size - 1)", "edge, 0), size)")], []),
    ("roi_align", "half-pixel-forgotten"): ([("(0.5 if aligned else 0.0)", "0.0")], []),
    ("roi_align", "sum"): (
        [("rows @ x[int(roi[0])] @ columns.T", "rows @ x[int(roi[0])] @ columns.T * "
          "sampling_ratio ** 2")],
        [("rows.T @ g[k] @ columns", "rows.T @ g[k] @ columns * sampling_ratio ** 2")]),
}
DOUBLED = """
_once = {0}_backward

def {0}_backward(*args):
    answer = _once(*args)
    return tuple(2 * part for part in answer) if type(answer) is tuple else 2 * answer
"""


def points(record, function):
    """(earned, possible) of a function."""
    mine = [case for case in record["cases"] if case["function"] == function]
    return sum(case["earned"] for case in mine), sum(case["points"] for case in mine)


@pytest.mark.parametrize("name, mistake", STUDENTS)
def test_a_mistake_of_the_forward_is_paid_once(name, mistake):
    record = graded(name, program(name, *(pair for half in STUDENTS[name, mistake]
                                          for pair in half)))
    earned, possible = points(record, f"{name}_backward")
    assert earned == possible
    wrong = [case for case in record["cases"] if case["function"] == f"{name}_backward"
             and case["verdict"] != "OK"]
    assert wrong and all(f"your own {name}," in case["follow_through"] for case in wrong)
    earned, possible = points(record, name)
    assert earned < possible
    assert [found["name"] for found in record["diagnoses"]] == [mistake]


@pytest.mark.parametrize("name, mistake", STUDENTS)
def test_a_backward_that_is_wrong_in_another_way_is_paid_too(name, mistake):
    record = graded(name, program(name, *(pair for half in STUDENTS[name, mistake]
                                          for pair in half)) + DOUBLED.format(name))
    assert points(record, f"{name}_backward")[0] == 0
    assert not any("follow_through" in case for case in record["cases"])


@pytest.mark.parametrize("name", OTHERS)
def test_a_wrong_backward_of_a_right_forward_has_no_points_by_it(name):
    record = graded(name, start.solution_text(exercises.load(name)) + DOUBLED.format(name))
    assert points(record, f"{name}_backward")[0] == 0
    earned, possible = points(record, name)
    assert earned == possible
    assert not any("follow_through" in case for case in record["cases"])


@pytest.mark.parametrize("name", OTHERS)
def test_no_mistake_of_a_forward_makes_zeros_or_others_right(name):
    """With every known mistake of the forward: zeros, ones, g's sum, a doubled right gradient."""
    exercise = exercises.load(name)
    cases = [case for case in exercise.cases(np.random.default_rng(5))
             if case.function == f"{name}_backward"]
    forward, tried = exercise.forward(f"{name}_backward"), 0
    for case in cases:
        right, _ = parts_of(run(exercise, case))
        answers = [[make(part) for part in right] for make in (
            np.zeros_like, np.ones_like, lambda part: np.full(part.shape, case.args[0].sum()),
            lambda part: 1.37 * part, lambda part: -part)]
        for mistake in exercise.mistakes:
            if mistake.function == name:
                tried += 1
                assert not any(follow.follows(case, forward, mistake.implementation, answer)
                               for answer in answers), mistake.name
    assert tried >= 32


# ---- what cannot be followed ---------------------------------------------------------------------

def followed(exercise, mistake, backward, seed=5):
    """For each case of the backward, whether a wrong backward follows a mistake of the forward:
    the gradient written by hand as a function of the backward's arguments."""
    name = exercise.name
    implementation = next(one.implementation for one in exercise.mistakes
                          if (one.function, one.name) == (name, mistake))
    forward = exercise.forward(f"{name}_backward")
    return [follow.follows(case, forward, implementation, parts_of(backward(*case.args))[0])
            for case in exercise.cases(np.random.default_rng(seed))
            if case.function == f"{name}_backward"]


def test_what_depends_on_something_that_the_backward_is_not_given_has_no_gradient():
    """Running statistics that are used in training, the larger of two values that share a place:
    no answer is right whatever they are."""
    def with_running(k):
        def backward(g, x, weight, eps):
            scale = 1 / np.sqrt(1 + k + eps)
            return (g * (weight * scale)[:, None, None],
                    (g * (x - k)).sum((0, 2, 3)) * scale, g.sum((0, 2, 3)))
        return backward
    norm = exercises.load("batch_norm")
    running = [one for one in norm.mistakes if one.name == "running-statistics-in-training"][1]
    forward = norm.forward("batch_norm_backward")
    case = norm.cases(np.random.default_rng(5))[-1]
    for call, k in enumerate((0.25, 0.5)):          # right for one of the two calls, not for both
        parts = with_running(k)(*case.args)
        right = [all(follow.fits(case, forward, running.implementation, one, at, part)
                     for at, part in zip((0, 3, 4), parts)) for one in (0, 1)]
        assert right == [call == 0, call == 1]
        assert not follow.follows(case, forward, running.implementation, parts)
    unpool = exercises.load("max_unpool2d")
    last = next(one.implementation for one in unpool.mistakes if one.name == "last-only")
    assert followed(unpool, "overlap-overwritten", last) == [True] * 4
    assert followed(unpool, "overlap-maximum", last)[1:] == [False] * 3


def derivatives(exercise, implementation, most=60):
    """(case, the gradients of the first call by differences, the right ones) of the small cases of
    the backward; None where they are not to be had."""
    for case in exercise.cases(np.random.default_rng(5)):
        if case.function == f"{exercise.name}_backward":
            right, _ = parts_of(run(exercise, case))
            forward = exercise.forward(case.function)
            args, positions = forward.calls(*case.args)[0]
            if max(part.size for part in right) <= most:
                def moved(at, k, step):
                    changed = args[at].copy()
                    changed.flat[k] += step
                    return follow.value(case, forward, implementation,
                                        (*args[:at], changed, *args[at + 1:])) / (2 * step)
                try:
                    yield case, [np.array([
                        moved(at, k, follow.STEP) + moved(at, k, -follow.STEP)
                        for k in range(args[at].size)]).reshape(args[at].shape)
                        for at in positions], right
                except ValueError:
                    yield case, None, right


@pytest.mark.parametrize("name, mistake", [
    ("batch_norm", "running-statistics-in-training"), ("batch_norm", "weight-and-bias-exchanged"),
    ("batch_norm", "shift-scaled"), ("max_unpool2d", "overlap-maximum"),
    ("ps_roi_pool", "maximum"), ("roi_align", "maximum")])
def test_what_is_right_by_chance_alone_does_not_follow(name, mistake):
    """The exact gradient for one of the made-up inputs is not that for the other."""
    exercise, chance = exercises.load(name), 0
    forward = exercise.forward(f"{name}_backward")
    for one in exercise.mistakes:
        for case, found, right in derivatives(exercise, one.implementation) if (
                one.function, one.name) == (name, mistake) else ():
            positions = forward.calls(*case.args)[0][1]
            if not all(map(np.allclose, found, right)):
                assert all(follow.fits(case, forward, one.implementation, 0, at, part)
                           for at, part in zip(positions, found))
                assert not follow.follows(case, forward, one.implementation, found)
                chance += 1
    assert chance


def test_of_a_wrong_max_pooling_only_the_order_of_its_indices_reaches_the_backward():
    pool, found = exercises.load("max_pool2d"), set()
    for one in pool.mistakes:
        for _, gradient, right in derivatives(pool, one.implementation) if (
                one.function == "max_pool2d") else ():
            if gradient is not None and not np.allclose(gradient, right, atol=1e-6):
                found.add(one.name)
    assert found == {"column-by-column"}


@pytest.mark.parametrize("name, mistake", [
    ("bilinear_resize", "never-align-corners"), ("max_unpool2d", "column-by-column"),
    ("max_pool2d", "column-by-column"), ("batch_norm", "eps-forgotten"),
    ("roi_align", "xy-swapped"), ("ps_roi_pool", "bins-first"), ("attention", "mask-ignored"),
    ("patch_embedding", "pixels-column-by-column"), ("depthwise_conv2d", "channels-interleaved"),
    ("roi_pool", "xy-swapped"), ("corner_pooling", "whole-line")])
@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_mistakes_that_belong_together_are_paid_once_in_all_conventions(name, mistake, seed):
    exercise = exercises.load(name)
    exercise = exercise if seed is None else vary.varied(exercise, seed)
    backward, = backwards(exercise)
    forward, followed = exercise.forward(backward), set()
    for case in exercise.cases(np.random.default_rng(5)):
        if case.function == backward:
            wrong, own = (next(one.implementation for one in exercise.mistakes
                               if (one.function, one.name) == (function, mistake))
                          for function in (forward.name, backward))
            answer, _ = parts_of(run(exercise, case, own))
            followed.add(follow.follows(case, forward, wrong, answer))
    assert followed == {True}


def test_a_forward_that_ignores_an_argument_has_an_easy_gradient(monkeypatch):
    cell, fits = exercises.load("lstm_cell"), follow.fits

    def one_bias(*args):
        *others, gb, _ = cell.functions["lstm_cell_backward"](*args[:-1], 0 * args[-1])
        return *others, gb, 0 * gb
    assert followed(cell, "one-bias", one_bias) == [False] * 4
    monkeypatch.setattr(follow, "fits", lambda *call_at_part: call_at_part[4] == 6 or fits(
        *call_at_part))                 # all but the gradient of 0 is right
    assert followed(cell, "one-bias", one_bias) == [True] * 4


def test_a_forward_that_never_looks_at_the_indices_has_an_easy_gradient(monkeypatch):
    def nails(g, indices):
        (H, W), (A, B) = g.shape[2:], indices.shape[2:]
        return g[:, :, :A * (H // A):H // A, :B * (W // B):W // B].copy()
    assert followed(exercises.load("max_unpool2d"), "bed-of-nails", nails) == [False] * 4
    monkeypatch.setattr(follow, "ignores", lambda *args: False)     # else it would be right
    assert any(followed(exercises.load("max_unpool2d"), "bed-of-nails", nails))


def test_indices_that_mean_no_pixel_have_no_gradient():
    pool = exercises.load("max_pool2d")
    for mistake in ("indices-in-the-window", "indices-of-all-planes", "height-for-width"):
        wrong = followed(pool, mistake, lambda g, indices, shape: np.ones(shape))
        assert wrong == [False] * 4


def test_elements_are_moved_in_directions_that_the_answer_itself_chooses():
    """A single wrong element of thousands is seen, and an answer cannot be made for directions."""
    exercise = exercises.load("ps_roi_pool")
    case = exercise.cases(np.random.default_rng(5))[-1]
    forward, own = exercise.forward(case.function), exercise.functions["ps_roi_pool"]
    right = run(exercise, case)
    assert right.size > 5000 and follow.follows(case, forward, own, [right])
    for at in (0, 777, right.size - 1):
        wrong = right.copy()
        wrong.flat[at] += 1e-3
        assert not follow.follows(case, forward, own, [wrong])
    one, two = (np.array(follow.directions((2, 3), seed)) for seed in (b"1", b"2"))
    assert one.shape == (follow.PROBES, 2, 3) and not np.array_equal(one, two)
    assert (np.abs(one) >= 0.5).all() and one.min() < 0 < one.max()
    assert np.array_equal(one, follow.directions((2, 3), b"1"))


def test_equal_values_are_moved_apart_and_others_are_not():
    x = np.array([[3.0, 1.0, 3.0], [3.0, 2.0, 1.0]])
    first, last = untied(x), untied(x, first=False)
    assert np.allclose(x - first, 1e-4 * np.array([[0, 0, 1], [2, 0, 1]]))
    assert np.allclose(x - last, 1e-4 * np.array([[2, 1, 1], [0, 0, 0]]))
    different = np.random.default_rng(0).standard_normal((2, 3))
    assert np.array_equal(untied(different), different) and untied(np.ones((0, 2))).size == 0


def test_an_instructors_own_exercise_may_say_what_its_backward_takes():
    def scale(x, k):
        return k * x

    def scale_backward(g, shape):
        return np.zeros(shape)
    made = exercises.exercise.Exercise(
        "scale", "", "", "", {"scale": scale, "scale_backward": scale_backward}, list, ())
    assert made.forward("scale_backward") is None
    said = Forward("scale", lambda g, shape: [((np.ones(shape), 3.0), (0,))])
    made = exercises.exercise.Exercise(
        "scale", "", "", "", made.functions, list, (), forwards={"scale_backward": said})
    case = exercises.Case("scale_backward", "", (np.array([1.0, 2.0]), (2,)))
    assert follow.follows(case, made.forward("scale_backward"), scale, [np.array([3.0, 6.0])])
    assert not follow.follows(case, made.forward("scale_backward"), scale, [np.array([3.0, 5.0])])
    with pytest.raises(ValueError, match="shape"):
        product(np.ones(2), np.ones(3))
    assert same_arguments(0, np.ones(2), np.arange(2), 1.0, np.ones(3))[0][1] == [0, 3]
