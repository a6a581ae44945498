"""Distances to the background, against all pairs of pixels; U-Net's border weights."""
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tinyvision import ops
from tinyvision.cuda import compiler
from tinyvision.kernel import use_variant

gpu = pytest.param("gpu", marks=pytest.mark.skipif(
    compiler() is None, reason="no C++ compiler: the CUDA text cannot be run on the host"))
MASKS = st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda shape: arrays(bool, shape))


def by_all_pairs(mask):
    outside = np.argwhere(~mask)
    if not len(outside):
        return np.full(mask.shape, np.inf)
    here = np.stack(np.indices(mask.shape), -1)[..., None, :]
    return np.sqrt(np.square(here - outside).sum(-1).min(-1))


@settings(max_examples=200, deadline=None)
@given(MASKS)
def test_it_is_the_least_distance(masks):
    found = ops.distance_transform(masks)
    assert found.dtype == np.float32
    for mask, plane in zip(masks, found):
        np.testing.assert_allclose(plane, by_all_pairs(mask), rtol=1e-6)


@pytest.mark.parametrize("variant", ["reference", gpu])
def test_other_variants(variant):
    masks = np.random.default_rng(0).random((3, 9, 11)) < 0.9
    masks[1] = True
    with use_variant(variant) as ran:
        found = ops.distance_transform(masks)
    assert ran == {"squared_distances"} and np.isinf(found[1]).all()
    np.testing.assert_array_equal(found, ops.distance_transform(masks))


def test_a_disc_and_a_large_image():
    h, v = np.indices((300, 401))
    r = np.hypot(h - 150, v - 200)
    found = ops.distance_transform(r < 100)
    assert found[150, 200] == 100 and abs(found - np.maximum(100 - r, 0)).max() < 1.5
    one = np.ones((300, 401), bool)
    one[7, 390] = False
    np.testing.assert_allclose(ops.distance_transform(one), np.hypot(h - 7, v - 390), rtol=1e-6)


def test_nothing_gives_nothing():
    assert ops.distance_transform(np.ones((0, 3, 4), bool)).shape == (0, 3, 4)
    assert ops.distance_transform(np.ones((2, 0, 4), bool)).shape == (2, 0, 4)


def test_the_border_between_two_cells_by_hand():
    labels = np.zeros((3, 9), int)
    labels[:, :3], labels[:, 6:] = 1, 2                      # three pixels of background
    w = ops.border_weight_map(labels, 10, 5, class_weights=(1, 2))
    assert w.dtype == np.float32 and w.shape == labels.shape
    right = 1 + 10 * math.exp(-(1 + 3) ** 2 / 50)            # from 3: 1 to the left, 3 to the right
    np.testing.assert_allclose(w[1, 3:6], [right, 1 + 10 * math.exp(-16 / 50), right], rtol=1e-6)
    assert (w[:, :3] == 2).all() and (w[:, 6:] == 2).all()


def test_classes_are_balanced_and_thin_borders_are_heavy():
    labels = np.zeros((40, 60), int)
    labels[5:20, 5:25], labels[5:20, 26:50], labels[30:35, 5:10] = 3, 9, 4
    w = ops.border_weight_map(labels)
    cells = labels > 0
    assert np.isclose(w[cells].sum(), labels.size / 2, rtol=1e-4)
    assert w[10, 25] == w[~cells].max() and w[10, 25] > w[38, 58] + 5


def test_many_cells_are_as_few_at_a_time():
    rng = np.random.default_rng(0)
    labels = np.zeros((30, 40), int)
    for k, (h, v) in enumerate(rng.integers(0, (30, 40), (45, 2)) + 0):
        labels[h, v] = 3 * k + 1
    names = np.unique(labels)[1:]
    every = np.sort([by_all_pairs(labels != k) for k in names], 0)
    right = np.exp(-(every[0] + every[1]) ** 2 / 8) * (labels == 0)
    w = ops.border_weight_map(labels, 1, 2, (0, 0))
    np.testing.assert_allclose(w, right, atol=1e-6)


@pytest.mark.parametrize("fill, weight", [(0, 1), (4, 1)])
def test_an_image_of_one_kind_has_no_borders(fill, weight):
    assert (ops.border_weight_map(np.full((4, 5), fill)) == weight).all()


@pytest.mark.parametrize("error, call, words", [
    (TypeError, lambda: ops.distance_transform(np.ones((3, 4))), "mask is float64, expected bool"),
    (ValueError, lambda: ops.distance_transform(np.ones(3, bool)), "mask has shape (3,), expected"),
    (ValueError, lambda: ops.distance_transform(np.ones((1, 40000), bool)), "at most 32000"),
    (TypeError, lambda: ops.border_weight_map(np.ones((3, 4))), "labels are float64"),
    (ValueError, lambda: ops.border_weight_map(np.full((3, 4), -1)), "the lowest -1"),
    (ValueError, lambda: ops.border_weight_map(np.ones((3, 4), int), sigma=0), "sigma=0")])
def test_bad_input_is_refused_in_one_sentence(error, call, words):
    with pytest.raises(error, match=re.escape(words)):
        call()
