"""Segmentation metrics: worked numbers, and the same by counting pixel after pixel."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyvision import metrics
from tinyvision.metrics import boundary

TRUTH = np.array([[0, 0, 1, 1], [0, 2, 2, -1]])
ANSWER = np.array([[0, 1, 1, 1], [0, 2, 0, 2]])


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12)


def test_the_numbers_by_hand():
    scores = metrics.Segmentation(4).add(TRUTH, ANSWER)
    assert scores.counts.tolist() == [[2, 1, 0, 0], [0, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    close(scores.iou(), [2 / 4, 2 / 3, 1 / 2, np.nan])
    close(scores.dice(), [4 / 6, 4 / 5, 2 / 3, np.nan])
    close(scores.class_accuracy(), [2 / 3, 1, 1 / 2, np.nan])
    close(scores.class_precision(), [2 / 3, 2 / 3, 1, np.nan])
    close(list(scores.summary().values()),
          [5 / 7, (2 / 3 + 1 + 1 / 2) / 3, (1 / 2 + 2 / 3 + 1 / 2) / 3,
           (3 * 1 / 2 + 2 * 2 / 3 + 2 * 1 / 2) / 7, (2 / 3 + 4 / 5 + 2 / 3) / 3])
    close(metrics.iou(TRUTH, ANSWER, 4), scores.iou())
    close(metrics.dice(TRUTH, ANSWER, 4), scores.dice())
    assert metrics.pixel_accuracy(TRUTH, ANSWER, 4) == 5 / 7
    assert metrics.mean_iou(TRUTH, ANSWER, 4) == scores.mean_iou()


def test_nothing_counted_has_no_score():
    assert all(np.isnan(v) for v in metrics.Segmentation(3).summary().values())


maps = st.integers(0, 2 ** 32).map(np.random.default_rng)


@settings(max_examples=40, deadline=None)
@given(maps, st.integers(1, 5), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))
def test_batches_add_up_and_pixels_are_counted_one_by_one(rng, k, n, h, w):
    truth, answer = rng.integers(-1, k, (n, h, w)), rng.integers(0, k, (n, h, w))
    scores = metrics.Segmentation(k)
    for a, b in zip(truth, answer):
        scores.add(a.astype(rng.choice(["i1", "i4", "i8"])), b)
    pairs = [(int(a), int(b)) for a, b in zip(truth.ravel(), answer.ravel()) if a >= 0]
    for c in range(k):
        either = [p for p in pairs if c in p]
        both = [p for p in either if p == (c, c)]
        assert scores.iou()[c] == len(both) / len(either) if either else np.isnan(scores.iou()[c])
        close(scores.dice()[c], 2 * len(both) / (len(either) + len(both)) if either else np.nan)
    if pairs:
        close(scores.pixel_accuracy(), sum(a == b for a, b in pairs) / len(pairs))
        weighted = sum(scores.iou()[a] for a, _ in pairs) / len(pairs)
        close(scores.frequency_weighted_iou(), weighted)
    close(scores.iou(), metrics.iou(truth, answer, k))


@settings(max_examples=40, deadline=None)
@given(maps, st.integers(1, 4), st.integers(1, 3), st.integers(1, 5))
def test_every_label_of_several_is_a_problem_of_its_own(rng, labels, n, side):
    truth, answer = (rng.random((2, n, labels, side, side)) < rng.random())
    scores = metrics.Multilabel(labels).add(truth[:1], answer[:1]).add(truth[1:], answer[1:])
    for k in range(labels):
        two = metrics.Segmentation(2).add(truth[:, k].astype(int), answer[:, k].astype(int))
        close(scores.iou()[k], two.iou()[1])
        close(scores.dice()[k], two.dice()[1])
        close(scores.pixel_accuracy()[k], two.pixel_accuracy())


@pytest.mark.parametrize("truth, answer, words", [
    (np.zeros((2, 1, 3), bool), np.zeros((2, 1, 4), bool), r"labels have shape \(2, 1, 3\)"),
    (np.zeros((2, 3, 3), bool), np.zeros((2, 3, 3), bool), r"expected \(N, 1, ...\)"),
    (np.zeros((2, 1, 3), bool), np.zeros((2, 1, 3)), "predictions are of dtype float64")])
def test_masks_that_are_none_are_refused(truth, answer, words):
    with pytest.raises(ValueError, match=words):
        metrics.Multilabel().add(truth, answer)


def test_scores_in_the_place_of_labels_are_refused():
    with pytest.raises(ValueError, match="predictions are of dtype float32, expected integers"):
        metrics.mean_iou(TRUTH, ANSWER.astype("f4"), 4)


# --- outlines -------------------------------------------------------------------------------------
def test_the_boundary_of_a_square():
    mask = np.zeros((5, 6), bool)
    mask[1:4, 1:5] = True
    expected = mask.copy()
    expected[2, 2:4] = False
    np.testing.assert_array_equal(boundary.boundary(mask), expected)
    assert boundary.boundary(np.ones((3, 3), bool)).sum() == 8


def slow_score(truth, answer, distance):
    """One class in one image, pixel by pixel."""
    def outline(mask):
        return [(y, x) for y, x in np.argwhere(mask).tolist()
                if any(not (0 <= y + i < mask.shape[0] and 0 <= x + j < mask.shape[1]
                            and mask[y + i, x + j]) for i, j in ((0, 1), (1, 0), (0, -1), (-1, 0)))]

    def share(some, others):
        near = [any((y - a) ** 2 + (x - b) ** 2 <= distance ** 2 for a, b in others)
                for y, x in some]
        return sum(near) / len(some) if some else 0.0
    a, b = outline(truth), outline(answer)
    precision, recall = share(b, a), share(a, b)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@settings(max_examples=30, deadline=None)
@given(maps, st.integers(2, 7), st.integers(2, 7), st.sampled_from([0, 1, 1.5, 2, 3]))
def test_boundary_scores_pixel_by_pixel(rng, h, w, distance):
    truth, answer = rng.integers(0, 3, (2, 2, h, w))
    got = metrics.boundary_f_score(truth, answer, 4, distance)
    for k in range(4):
        scores = [slow_score(a == k, b == k, distance) for a, b in zip(truth, answer)
                  if (a == k).any() or (b == k).any()]
        close(got[k], np.mean(scores) if scores else np.nan)


def test_a_shifted_square_fits_within_the_distance():
    truth, answer = np.zeros((2, 1, 200, 200), int)
    truth[0, 40:90, 40:90] = answer[0, 42:92, 40:90] = 1
    assert metrics.boundary_f_score(truth, answer, 2)[1] == 1          # 0.75 % of 283 is 2.1
    assert metrics.boundary_f_score(truth, answer, 2, 1)[1] < 0.8
    with pytest.raises(ValueError, match=r"expected the same \(N, H, W\)"):
        metrics.boundary_f_score(truth[0], answer[0], 2)


# --- classification -------------------------------------------------------------------------------
SCORES = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.4, 0.4, 0.2]])


@pytest.mark.parametrize("k, expected", [(1, 0.25), (2, 0.75), (3, 1.0)])
def test_top_k_by_hand(k, expected):
    """Ranks of the true classes: 1, 2, 3, 2 (of equal scores the lower class comes first)."""
    assert metrics.top_k_accuracy([1, 1, 1, 1], SCORES, k) == expected


def test_accuracy_is_top_1():
    labels = [1, 0, 1, 1]
    assert metrics.accuracy(labels, SCORES.argmax(1)) == 0.5
    assert metrics.accuracy(labels, SCORES.argmax(1)) == metrics.top_k_accuracy(labels, SCORES, 1)


@pytest.mark.parametrize("call, words", [
    (lambda: metrics.accuracy([0, 1], SCORES[:2]), r"labels have shape \(2,\), predictions \(2, 3"),
    (lambda: metrics.accuracy([], []), "N at least 1"),
    (lambda: metrics.top_k_accuracy([0, 1], SCORES), r"labels have shape \(2,\), scores \(4, 3\)"),
    (lambda: metrics.top_k_accuracy([0, 1, 3, 0], SCORES, 1), "labels go from 0 to 3, exp.* 0 to 2"),
    (lambda: metrics.top_k_accuracy([0, 1, 2, 0], SCORES), "k is 5, expected 1 to 3")])
def test_classification_refuses(call, words):
    with pytest.raises(ValueError, match=words):
        call()
