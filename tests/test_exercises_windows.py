"""Exercises on windows and regions: worked by hand, equal to the library, adjoints, float32."""
import functools
import itertools
import math

import numpy as np
import pytest

import tinyvision as tv
from tinyvision import ops
from tinyvision.exercises import load
from tinyvision.exercises.bilinear_resize import bilinear_resize, bilinear_resize_backward
from tinyvision.exercises.conv_matrix import conv_matrix, conv_matrix_backward
from tinyvision.exercises.convolutionize import convolutionize, slide_classifier
from tinyvision.exercises.corner_pooling import (bottom_right_pool, top_left_pool,
                                                 top_left_pool_backward)
from tinyvision.exercises.depthwise_conv2d import depthwise_conv2d, depthwise_conv2d_backward
from tinyvision.exercises.dilated_conv2d import dilated_conv2d, dilated_conv2d_backward
from tinyvision.exercises.max_pool2d import max_pool2d, max_pool2d_backward
from tinyvision.exercises.patch_embedding import (patch_embedding, patch_embedding_backward,
                                                  patchify)
from tinyvision.exercises.ps_roi_pool import ps_roi_pool, ps_roi_pool_backward
from tinyvision.exercises.roi_pool import axis_bins, roi_pool, roi_pool_backward
from tinyvision.grading.assignment import as_received, prepare
from tinyvision.grading.diagnosis import diagnose, known
from tinyvision.grading.verdict import Answer, Verdict, judge

seeds = pytest.mark.parametrize("seed", range(3))


def image(*planes):
    """(1, C, H, W) of planes given as rows."""
    return np.array([planes], float)


def cases_of(name, function, seed=0):
    found = load(name).cases(np.random.default_rng(seed))
    return [case for case in found if case.function == function]


def inner(a, b):
    return float((a * b).sum())


def library(function, arrays, g):
    """(result, gradients) of a function of the library's; one array where there is one input."""
    tensors = [tv.Tensor(a, requires_grad=True) for a in arrays]
    y = function(*tensors)
    y.backward(g)
    return y.numpy(), [t.grad.numpy() for t in tensors]


def agree(mine, theirs):
    """All arrays of two lists are equal but for rounding, and nothing has been broadcast."""
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs):
        assert a.shape == b.shape and np.allclose(a, b, rtol=1e-10, atol=1e-10)


# ---- by hand -------------------------------------------------------------------------------------

def test_depthwise_by_hand():
    x, bias = image([[1, 2, 3]], [[4, 5, 6]]), np.zeros(2)
    weight = np.array([[[[1.0, 10]]], [[[1, -1]]]])
    y = depthwise_conv2d(x, weight, bias, 1, 0)
    assert np.array_equal(y, image([[21, 32]], [[-1, -1]]))
    gx, gweight, gbias = depthwise_conv2d_backward(image([[1, 2]], [[0, 0]]), x, weight, bias, 1, 0)
    assert np.array_equal(gx, image([[1, 12, 20]], [[0, 0, 0]]))
    assert np.array_equal(gweight[0], [[[5, 8]]]) and np.array_equal(gbias, [3, 0])


def test_dilated_by_hand():
    x, weight = image([[1, 2, 3, 4]]), image([[1, 10, 100]])
    how = (1, 1), (0, 1), (1, 2)
    assert np.array_equal(dilated_conv2d(x, weight, *how), image([[420, 31]]))
    gx, gweight = dilated_conv2d_backward(image([[1, 2]]), x, weight, *how)
    assert np.array_equal(gx, image([[2, 10, 20, 100]]))
    assert np.array_equal(gweight, image([[2, 8, 4]]))


def test_washington_the_matrix_of_a_convolution():
    x, y, z, a, b, c, d = 1, 2, 3, 4, 5, 6, 7
    X = conv_matrix(np.array([[x, y, z]], float), (1, 4), (1, 2), (0, 1))
    assert np.array_equal(X, [[x, y, z, 0, 0, 0], [0, 0, x, y, z, 0]])
    assert np.array_equal(X @ [0, a, b, c, d, 0], [a * y + b * z, b * x + c * y + d * z])
    assert np.array_equal(X.T @ [a, b], [a * x, a * y, a * z + b * x, b * y, b * z, 0])


def test_the_matrix_of_a_square_kernel():
    X = conv_matrix(np.array([[1.0, 2], [3, 4]]), (2, 3), (1, 1), (0, 0))
    assert np.array_equal(X, [[1, 2, 0, 3, 4, 0], [0, 1, 2, 0, 3, 4]])


def test_georgia_tech_max_pooling():
    x = image([[120, 150, 120], [100, 50, 110], [25, 25, 10]])
    y, places = max_pool2d(x, (2, 2), (1, 1), (0, 0))
    assert np.array_equal(y, image([[150, 150], [100, 110]]))
    assert places.dtype == np.int64 and places.tolist() == [[[[1, 1], [3, 5]]]]
    gx = max_pool2d_backward(image([[1, 2], [3, 4]]), places, x.shape)
    assert np.array_equal(gx, image([[0, 3, 0], [3, 0, 4], [0, 0, 0]]))


def test_the_first_maximum_wins_and_padding_never_does():
    y, places = max_pool2d(image([[-5, -5], [-5, -5]]), (3, 2), (1, 2), (1, 1))
    assert np.array_equal(y, image([[-5, -5], [-5, -5]]))
    assert places.tolist() == [[[[0, 1], [0, 1]]]]


def test_bilinear_by_hand():
    row = image([[10, 20]])
    assert np.array_equal(bilinear_resize(row, (1, 4), False), image([[10, 12.5, 17.5, 20]]))
    assert np.array_equal(bilinear_resize(row, (1, 3), True), image([[10, 15, 20]]))
    gx = bilinear_resize_backward(image([[1, 2, 3, 4]]), (1, 2), False)
    assert np.array_equal(gx, image([[3.25, 6.75]]))


def test_roi_pool_by_hand():
    x, boxes = image([[1, 7, 2, 3], [4, 5, 6, 8]]), np.array([[0.0, 0, 0, 3, 1]])
    assert np.array_equal(roi_pool(x, boxes, (1, 3), 1.0), image([[7, 7, 8]]))
    gx = roi_pool_backward(image([[1, 2, 3]]), x, boxes, (1, 3), 1.0)
    assert np.array_equal(gx, image([[0, 3, 0, 0], [0, 0, 0, 3]]))


def test_washington_roi_pool_of_a_whole_feature_map():
    """512 x 20 x 15 to 512 x 2 x 2 (fewer channels here): roughly equal subregions."""
    x = np.random.default_rng(0).standard_normal((1, 3, 20, 15))
    y = roi_pool(x, np.array([[0.0, 0, 0, 14, 19]]), (2, 2), 1.0)[0]
    halves = (slice(0, 10), slice(10, 20)), (slice(0, 8), slice(7, 15))
    for p, q in itertools.product(range(2), range(2)):
        assert np.array_equal(y[:, p, q], x[0, :, halves[0][p], halves[1][q]].max(axis=(1, 2)))


def test_ps_roi_pool_by_hand():
    x = image([[1, 3, 5, 7, 9], [0] * 5], [[2, 4, 6, 8, 9], [0] * 5])
    box = np.array([[0.0, 0, 0, 4, 1]])
    assert np.array_equal(ps_roi_pool(x, box, (1, 2), 1.0), image([[2, 7]]))
    gx = ps_roi_pool_backward(image([[2, 4]]), box, x.shape, (1, 2), 1.0)
    assert np.array_equal(gx[0, :, 0], [[1, 1, 0, 0, 0], [0, 0, 2, 2, 0]])


def test_convolutionize_by_hand():
    dense = np.array([[1.0, 2, 3, 4]])
    assert np.array_equal(convolutionize(dense, (1, 2, 2)), image([[1, 2], [3, 4]]))
    one = image([[1]])                                       # a first layer that changes nothing
    y = slide_classifier(image([[1, 0, 2], [0, 1, 3]]), one, dense, np.zeros(1), 1, (2, 2))
    assert np.array_equal(y, image([[5, 19]]))


def test_georgia_tech_sizes():
    """A 3x3 convolution, then a dense layer on 3x3: 5x5 gives one answer, 7x7 gives 3x3."""
    rng = np.random.default_rng(0)
    kernel, weight, bias = rng.random((2, 1, 3, 3)), rng.random((4, 18)), rng.random(4)
    for size, answers in ((5, 1), (7, 3)):
        y = slide_classifier(rng.random((1, 1, size, size)), kernel, weight, bias, 1, (5, 5))
        assert y.shape == (1, 4, answers, answers)


def test_corner_pool_by_hand():
    """CornerNet, Figure 6."""
    row, column = image([[2, 1, 3, 0, 2]]), image([[0], [3], [1], [2], [0]])
    assert np.array_equal(top_left_pool(0 * row, row), image([[3, 3, 3, 2, 2]]))
    assert np.array_equal(top_left_pool(column, 0 * column), image([[3], [3], [2], [2], [0]]))
    assert np.array_equal(bottom_right_pool(0 * row, row), image([[2, 2, 3, 3, 3]]))
    g = image([[1, 2, 3, 4, 5]])
    assert np.array_equal(top_left_pool_backward(g, row, row)[1], image([[0, 0, 6, 0, 9]]))
    assert np.array_equal(top_left_pool_backward(g, row, row)[0], g)     # one row: only itself
    same = image([[1, 1, 0, 1]])
    assert np.array_equal(top_left_pool_backward(g[..., :4], same, same)[1], image([[0, 0, 0, 10]]))


def test_patch_embedding_by_hand():
    x = image([[1, 2, 5, 6], [3, 4, 7, 8]])
    assert np.array_equal(patchify(x, (2, 2)), [[[1, 2, 3, 4], [5, 6, 7, 8]]])
    args = (np.array([[1.0, 0, 0, 10]]), np.array([50.0]), np.array([7.0]),
            np.array([[100.0], [200], [300]]), (2, 2))
    assert np.array_equal(patch_embedding(x, *args), [[[107], [291], [435]]])
    g = np.array([[[1.0], [2], [3]]])
    gx, gweight, gbias, gclass, gpositions = patch_embedding_backward(g, x, *args)
    assert np.array_equal(gx, image([[2, 0, 3, 0], [0, 20, 0, 30]]))
    assert np.array_equal(gweight, [[17, 22, 27, 32]])
    assert (gbias, gclass) == (5, 1) and np.array_equal(gpositions, g[0])


# ---- the library's own operations ----------------------------------------------------------------

@seeds
def test_depthwise_equals_the_library(seed):
    for case in cases_of("depthwise_conv2d", "depthwise_conv2d_backward", seed):
        g, *arrays, stride, padding = case.args
        y, gradients = library(lambda x, w, b: ops.conv2d(
            x, w, b, stride, padding, groups=x.shape[1]), arrays, g)
        agree([depthwise_conv2d(*case.args[1:])], [y])
        agree(depthwise_conv2d_backward(*case.args), gradients)


@seeds
def test_dilated_equals_the_library(seed):
    for case in cases_of("dilated_conv2d", "dilated_conv2d_backward", seed):
        g, x, weight, *how = case.args
        y, gradients = library(lambda x, w: ops.conv2d(x, w, None, *how), (x, weight), g)
        agree([dilated_conv2d(*case.args[1:])], [y])
        agree(dilated_conv2d_backward(*case.args), gradients)


@seeds
def test_conv_matrix_equals_the_library(seed):
    for case in cases_of("conv_matrix", "conv_matrix", seed):
        assert np.array_equal(conv_matrix(*case.args), ops.conv_matrix(*case.args))
        weight, size, stride, padding = case.args
        x = np.random.default_rng(seed).standard_normal((1, 1, *size))
        padded = np.pad(x[0, 0], [(p, p) for p in padding])
        y = ops.conv2d(x, weight[None, None], None, stride, padding).numpy()
        assert np.allclose(conv_matrix(*case.args) @ padded.ravel(), y.ravel())


@seeds
def test_max_pool_equals_the_library(seed):
    for case in cases_of("max_pool2d", "max_pool2d", seed):
        y, places = ops.max_pool2d(*case.args, return_indices=True)
        mine = max_pool2d(*case.args)
        assert np.array_equal(mine[0], y.numpy()) and np.array_equal(mine[1], places.numpy())
        g = np.random.default_rng(seed).standard_normal(y.shape)
        _, (gx,) = library(lambda x: ops.max_pool2d(x, *case.args[1:]), case.args[:1], g)
        agree([max_pool2d_backward(g, mine[1], case.args[0].shape)], [gx])


@seeds
def test_bilinear_equals_the_library(seed):
    sizes = (1, 1, 5, 2), (3, 4, 7, 1), (1, 3, 2, 9)
    for (H, A, W, B), corners in itertools.product(itertools.product(*sizes, (6,)), (False, True)):
        rng = np.random.default_rng(seed)
        x, g = rng.standard_normal((2, 2, H, W)), rng.standard_normal((2, 2, A, B))
        y, (gx,) = library(lambda x: ops.interpolate(x, (A, B), mode="bilinear",
                                                     align_corners=corners), (x,), g)
        agree([bilinear_resize(x, (A, B), corners)], [y])
        agree([bilinear_resize_backward(g, (H, W), corners)], [gx])


def _boxes(rng, count, images, size, scale):
    """Random boxes, also over the border and turned; no corner is near a half."""
    corners = rng.integers(-4, max(size) + 4, (count, 4)) + rng.uniform(-0.4, 0.4, (count, 4))
    return np.concatenate([rng.integers(0, images, (count, 1)), corners / scale], axis=1)


@seeds
def test_roi_pool_equals_the_library(seed):
    rng = np.random.default_rng(seed)
    calls = [case.args for case in cases_of("roi_pool", "roi_pool_backward", seed)]
    x = rng.standard_normal((2, 2, 7, 6))
    calls.append((rng.standard_normal((40, 2, 2, 4)), x, _boxes(rng, 40, 2, (7, 6), 0.25), (2, 4),
                  0.25))
    for g, x, *how in calls:
        y, (gx,) = library(lambda x: ops.roi_pool(x, *how), (x,), g)
        assert np.array_equal(roi_pool(x, *how), y)
        agree([roi_pool_backward(g, x, *how)], [gx])


@seeds
def test_ps_roi_pool_equals_the_library(seed):
    rng = np.random.default_rng(seed)
    calls = [case.args for case in cases_of("ps_roi_pool", "ps_roi_pool_backward", seed)]
    calls.append((rng.standard_normal((40, 2, 2, 4)), _boxes(rng, 40, 2, (7, 6), 0.25),
                  (2, 16, 7, 6), (2, 4), 0.25))
    for g, boxes, shape, *how in calls:
        x = rng.standard_normal(shape)
        y, (gx,) = library(lambda x: ops.ps_roi_pool(x, boxes, *how), (x,), g)
        agree([ps_roi_pool(x, boxes, *how)], [y])
        agree([ps_roi_pool_backward(g, boxes, shape, *how)], [gx])


@seeds
def test_halves_equal_the_library(seed):
    halves = [case.args for case in cases_of("roi_pool", "roi_pool_backward", seed)
              if "halves" in case.name]
    for g, x, *how in halves:
        _, (gx,) = library(lambda x: ops.roi_pool(x, *how), (x,), g)
        agree([roi_pool_backward(g, x, *how)], [gx])
    assert halves
    for name, pool in (("roi_pool", ops.roi_pool), ("ps_roi_pool", ops.ps_roi_pool)):
        for case in cases_of(name, name, seed):
            agree([load(name).functions[name](*case.args)], [pool(*case.args).numpy()])


@seeds
def test_corner_pooling_equals_the_library(seed):
    for case in cases_of("corner_pooling", "top_left_pool_backward", seed):
        g, *maps = case.args
        y, gradients = library(
            lambda t, l: ops.corner_pool(t, "top") + ops.corner_pool(l, "left"), maps, g)
        agree([top_left_pool(*maps)], [y])
        agree(top_left_pool_backward(*case.args), gradients)
        y = ops.corner_pool(maps[0], "bottom") + ops.corner_pool(maps[1], "right")
        agree([bottom_right_pool(*maps)], [y.numpy()])


@seeds
def test_convolutionize_equals_two_convolutions_and_the_crops(seed):
    for case in cases_of("convolutionize", "slide_classifier", seed):
        x, kernel, weight, bias, stride, (h, w) = case.args
        answers = slide_classifier(*case.args)
        C, _, I, J = kernel.shape
        dense = convolutionize(weight, (C, (h - I) // stride + 1, (w - J) // stride + 1))
        maps = ops.relu(ops.conv2d(x, kernel, None, stride))
        agree([answers], [ops.conv2d(maps, dense, bias).numpy()])
        for a, b in np.ndindex(answers.shape[2:]):
            crop = x[:, :, a * stride:a * stride + h, b * stride:b * stride + w]
            seen = ops.relu(ops.conv2d(crop, kernel, None, stride)).numpy().reshape(len(x), -1)
            agree([answers[:, :, a, b]], [seen @ weight.T + bias])


@seeds
def test_patch_embedding_is_a_convolution(seed):
    for case in cases_of("patch_embedding", "patch_embedding_backward", seed):
        g, x, weight, bias, token, positions, (I, J) = case.args
        D, (N, C), T = len(weight), x.shape[:2], g.shape[1] - 1

        def embed(x, weight, bias, token, positions):
            y = ops.conv2d(x, weight.reshape(D, C, I, J), bias, (I, J))
            tokens = y.reshape(N, D, T).transpose(1, 2)
            front = token.reshape(1, 1, D) + np.zeros((N, 1, D))
            return ops.cat([front, tokens], 1) + positions
        y, gradients = library(embed, (x, weight, bias, token, positions), g)
        agree([patch_embedding(*case.args[1:])], [y])
        agree(patch_embedding_backward(*case.args), gradients)


# ---- adjoints: <A x, g> = <x, A* g> --------------------------------------------------------------

@pytest.mark.parametrize("forward, backward", [
    (depthwise_conv2d, depthwise_conv2d_backward), (dilated_conv2d, dilated_conv2d_backward)])
def test_convolutions_adjoint(forward, backward):
    for case in cases_of(forward.__name__, backward.__name__, 5):
        g, x, weight, *rest = case.args
        gx, gweight, *gbias = backward(*case.args)
        linear = [0 * a if isinstance(a, np.ndarray) else a for a in rest]
        form = inner(forward(x, weight, *linear), g)
        assert np.isclose(form, inner(x, gx)) and np.isclose(form, inner(weight, gweight))
        if gbias:
            assert np.isclose(inner(forward(0 * x, weight, *rest), g), inner(rest[0], gbias[0]))


def test_conv_matrix_adjoint():
    for g, weight, *how in (c.args for c in cases_of("conv_matrix", "conv_matrix_backward", 5)):
        assert np.isclose(inner(conv_matrix(weight, *how), g),
                          inner(weight, conv_matrix_backward(g, weight, *how)))


def test_pooling_adjoints():
    """With the places chosen the forward is linear: <y, g> = <x, gx>."""
    for case in cases_of("max_pool2d", "max_pool2d", 5):
        y, places = max_pool2d(*case.args)
        g = np.random.default_rng(1).standard_normal(y.shape)
        assert np.isclose(inner(y, g), inner(case.args[0],
                                             max_pool2d_backward(g, places, case.args[0].shape)))
    for case in cases_of("roi_pool", "roi_pool_backward", 5):
        g, x, *how = case.args
        assert np.isclose(inner(roi_pool(x, *how), g),
                          inner(x, roi_pool_backward(g, x, *how)))
    for g, *maps in (c.args for c in cases_of("corner_pooling", "top_left_pool_backward", 5)):
        gradients = top_left_pool_backward(g, *maps)
        assert np.isclose(inner(top_left_pool(*maps), g), sum(map(inner, maps, gradients)))


def test_bilinear_adjoint():
    for g, size, corners in (c.args for c in cases_of("bilinear_resize",
                                                      "bilinear_resize_backward", 5)):
        x = np.random.default_rng(1).standard_normal((*g.shape[:2], *size))
        assert np.isclose(inner(bilinear_resize(x, g.shape[2:], corners), g),
                          inner(x, bilinear_resize_backward(g, size, corners)))


def test_ps_roi_pool_adjoint():
    for g, boxes, shape, *how in (c.args for c in cases_of("ps_roi_pool", "ps_roi_pool_backward",
                                                           5)):
        x = np.random.default_rng(1).standard_normal(shape)
        assert np.isclose(inner(ps_roi_pool(x, boxes, *how), g),
                          inner(x, ps_roi_pool_backward(g, boxes, shape, *how)))


def test_patch_embedding_adjoint():
    """The embedding is affine in each argument; with the others at zero it is linear."""
    for g, *arrays, size in (c.args for c in cases_of("patch_embedding",
                                                      "patch_embedding_backward", 5)):
        gx, gweight, *sums = patch_embedding_backward(g, *arrays, size)
        zeros = [0 * a for a in arrays]
        form = inner(patch_embedding(*arrays[:2], *zeros[2:], size), g)
        assert np.isclose(form, inner(arrays[0], gx))
        assert np.isclose(form, inner(arrays[1], gweight))
        for i, gradient in enumerate(sums, 2):
            alone = [*zeros[:i], arrays[i], *zeros[i + 1:]]
            assert np.isclose(inner(patch_embedding(*alone, size), g), inner(arrays[i], gradient))


# ---- numbers that a fair grader must accept ------------------------------------------------------

@pytest.mark.parametrize("dtype", (np.float32, np.float64))
@pytest.mark.parametrize("name, extra", (("roi_pool", 1), ("ps_roi_pool", 0)))
def test_bins_are_the_same_however_they_are_computed(name, extra, dtype):
    """floor(p (length / P)) and floor(p length / P) agree in floating point for all cases."""
    for case in load(name).cases(np.random.default_rng(1)):
        boxes = next(a for a in case.args if isinstance(a, np.ndarray) and a.shape[1:] == (5,))
        (P, Q), scale = case.args[-2:]
        corners = boxes[:, 1:] * scale
        whole = np.trunc(corners + np.copysign(0.5, corners))
        for (low, high), count in itertools.product(((0, 2), (1, 3)), (P, Q)):
            for length in np.maximum(whole[:, high] - whole[:, low] + extra, 1).astype(int):
                step, p = dtype(length) / dtype(count), np.arange(count)
                assert np.array_equal(np.floor(p.astype(dtype) * step), p * length // count)
                assert np.array_equal(np.ceil((p + 1).astype(dtype) * step),
                                      -(-(p + 1) * length // count))


@pytest.mark.parametrize("value", (-2.5, -0.5, 0.5, 1.5, 2.5))
def test_halves_go_away_from_zero(value):
    start = int(np.copysign(abs(value) + 0.5, value))
    assert axis_bins(value, value, 1) == [slice(max(start, 0), max(start + 1, 0))]


@pytest.mark.parametrize("function", ("roi_pool", "roi_pool_backward"))
@pytest.mark.parametrize("name, rounded", (
    ("rounded-to-even", round), ("halves-up", lambda value: math.floor(value + 0.5)),
    ("negative-corners-cut", lambda value: int(value + 0.5)), ("rounded-down", math.floor)))
def test_every_way_to_round_is_caught_and_named_in_both_functions(monkeypatch, function, name,
                                                                  rounded):
    for seed in range(40):
        monkeypatch.undo()
        made = prepare_roi_pool(seed)
        monkeypatch.setattr("tinyvision.exercises.roi_pool.nearest", rounded)
        answers = {i: as_received(made.exercise.answer(case)) for i, case in enumerate(made.cases)
                   if case.function == function}
        judged = {i: judge(answer, made.expected[i]) for i, answer in answers.items()}
        assert any(one.verdict is Verdict.WRONG_VALUE for one in judged.values()), seed
    verdicts = {i: one.verdict for i, one in judged.items()}
    found = known(made, list(answers), answers)
    assert found and found.name == name and found.function == function
    verdicts |= {i: Verdict.OK for i in range(len(made.cases)) if i not in verdicts}
    assert [one.name for one in diagnose(made, answers, verdicts, judged)] == [name]


@functools.cache
def prepare_roi_pool(seed):
    return prepare(load("roi_pool"), np.random.default_rng(seed))


@seeds
def test_bilinear_in_float32_passes(seed):
    """The library in float32 rounds its places too: within the bound; a thousandth is not."""
    assignment = prepare(load("bilinear_resize"), np.random.default_rng(seed))
    for case, right in zip(assignment.cases, assignment.expected):
        array, size, corners = case.args
        x = array.astype("f4") if case.function == "bilinear_resize" else np.zeros(
            (*array.shape[:2], *size), "f4")
        t = tv.Tensor(x, requires_grad=True)
        y = ops.interpolate(t, size if case.function == "bilinear_resize" else array.shape[2:],
                            mode="bilinear", align_corners=corners)
        if case.function == "bilinear_resize_backward":
            y.backward(array.astype("f4"))
            y = t.grad
        for factor, verdict in ((1, Verdict.OK), (1.001, Verdict.WRONG_VALUE)):
            got = (y.numpy() * factor).astype("f4")
            answer = Answer((got,), ("ndarray of float32",), "", (got.shape,))
            assert judge(answer, right).verdict is verdict
