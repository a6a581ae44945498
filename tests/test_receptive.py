"""What a number of an answer is made of: what the formula says, of every kind of operation."""
from __future__ import annotations

import numpy as np
import pytest

from tinyvision import exercises
from tinyvision.exercises import vary
from tinyvision.grading import assignment, receptive, verdict
from tinyvision.grading.pictures import picture

NAMES = [e.name for e in map(exercises.load, exercises.names()) if not e.driver]


@pytest.fixture(scope="module")
def made():
    """An exercise with its public numbers, made once."""
    kept = {}
    return lambda name: kept.setdefault(name, assignment.prepare_public(exercises.load(name)))


def cases_of(made, function):
    return [(i, case) for i, case in enumerate(made.cases) if case.function == function]


def test_of_a_convolution_it_is_the_window_where_the_weight_is_not_0(made):
    seen = 0
    for i, case in cases_of(made("conv2d"), "conv2d"):
        x, weight, _, stride, padding = case.args
        for index in np.ndindex(made("conv2d").expected[i].parts[0].shape):
            n, o, row, column = index
            padded = np.zeros((x.shape[2] + 2 * padding, x.shape[3] + 2 * padding), bool)
            window = np.s_[row * stride:row * stride + weight.shape[2],
                           column * stride:column * stride + weight.shape[3]]
            padded[window] = weight[o, 0] != 0
            used = padded[padding:padding + x.shape[2], padding:padding + x.shape[3]]
            if n or o or row > 1 or column > 2 or not used.any() or used.all():
                continue
            found = receptive.receptive_field(made("conv2d"), i, 0, index)
            assert found.argument == "x[0, 0, :, :]"
            np.testing.assert_array_equal(found.plane, x[0, 0])
            np.testing.assert_array_equal(found.used, used)
            seen += 1
    assert seen > 12


def test_with_channels_last_it_is_a_window_of_rows_and_columns_too(made):
    """As in the usual conventions, and so is the picture."""
    usual, other = made("conv2d"), assignment.prepare_public(vary.varied(
        exercises.load("conv2d"), 3))
    for i, case in cases_of(usual, "conv2d"):
        index = (0, 1 % case.args[1].shape[0], 0, 1)
        mine, theirs = (receptive.receptive_field(one, i, 0, at) for one, at in (
            (usual, index), (other, (0, *index[2:], index[1]))))
        if mine is None:                # as of one pixel
            assert theirs is None
            continue
        assert theirs.argument == "x[0, :, :, 0]"
        np.testing.assert_array_equal(theirs.used, mine.used)
        np.testing.assert_array_equal(theirs.plane, mine.plane)
        pictures = []
        for one, place, last in ((usual, index, False), (other, (0, *index[2:], index[1]), True)):
            right = one.expected[i]
            wrong = np.array(right.parts[0])
            wrong[place] += 1
            answer = verdict.Answer((wrong,), ("ndarray of",), "", (wrong.shape,))
            pictures.append(picture(answer, right, verdict.judge(answer, right), None, last))
        titles = [one.pop("title") for one in pictures]
        assert pictures[0] == pictures[1] and titles[1] == f"[0, :, :, {index[1]}]"
        assert titles[0] == f"[0, {index[1]}, :, :]"


def test_of_a_maximum_it_is_the_whole_window_though_one_number_decides(made):
    i, case = next((i, case) for i, case in cases_of(made("max_pool2d"), "max_pool2d")
                   if case.name == "the lecture's image")
    found = receptive.receptive_field(made("max_pool2d"), i, 0, (0, 0, 0, 0))
    np.testing.assert_array_equal(np.argwhere(found.used), [[0, 0], [0, 1], [1, 0], [1, 1]])


def test_of_a_gradient_it_is_the_gradient_that_comes_from_above(made):
    i, case = next((i, case) for i, case in cases_of(made("conv2d"), "conv2d_backward")
                   if case.args[0].shape[2] * case.args[0].shape[3] > 4)
    g, x, weight, _, stride, padding = case.args
    found = receptive.receptive_field(made("conv2d"), i, 0, (0, 0, 0, 0))
    assert found.argument == "g[0, 0, :, :]" and found.used[0, 0] and not found.used.all()


def test_of_an_overlap_it_is_one_box(made):
    i, case = cases_of(made("box_iou"), "box_iou")[-1]
    found = receptive.receptive_field(made("box_iou"), i, 0, (2, 1))
    assert found.argument == "boxes1"
    third = np.arange(len(found.plane)) == 2
    np.testing.assert_array_equal(found.used, np.repeat(third[:, None], 4, axis=1))


def test_what_takes_everything_or_nothing_has_none(made):
    i, _ = cases_of(made("anchors"), made("anchors").cases[0].function)[0]
    assert receptive.receptive_field(made("anchors"), i, 0, (0, 0)) is None
    i, case = cases_of(made("batch_norm"), made("batch_norm").cases[0].function)[0]
    rank = made("batch_norm").expected[i].parts[0].ndim
    assert receptive.receptive_field(made("batch_norm"), i, 0, (0,) * rank) is None


@pytest.mark.parametrize("name", NAMES)
def test_every_exercise_is_asked_without_harm(made, name):
    """A field takes some numbers of a plane and leaves others; the cases stay as they are."""
    one = made(name)
    for i, case in enumerate(one.cases):
        before = [np.array(arg) for arg in case.args if isinstance(arg, np.ndarray)]
        for part, right in enumerate(one.expected[i].parts):
            if right.size and right.ndim:
                found = receptive.receptive_field(one, i, part, (0,) * right.ndim)
                assert found is None or 0 < found.used.sum() < found.used.size
                assert found is None or found.plane.shape == found.used.shape
        after = [arg for arg in case.args if isinstance(arg, np.ndarray)]
        assert all(map(np.array_equal, before, after))
