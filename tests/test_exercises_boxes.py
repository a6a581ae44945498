"""Exercises about boxes and scores: worked by hand, by another definition, and by the library."""
import itertools
import math

import numpy as np
import pytest

from tinyvision import boxes, metrics, ops
from tinyvision.exercises import load, names
from tinyvision.exercises.anchor_matching import match
from tinyvision.exercises.anchors import cell_anchors, grid_anchors
from tinyvision.exercises.average_precision import (all_point_ap, eleven_point_ap,
                                                    recall_and_precision)
from tinyvision.exercises.box_coding import decode, encode
from tinyvision.exercises.hard_negative_mining import hard_negatives, mined_loss
from tinyvision.exercises.kmeans_anchors import kmeans_anchors, shape_iou
from tinyvision.exercises.mean_iou import confusion_matrix, mean_iou
from tinyvision.exercises.panoptic_quality import count_segments, panoptic_quality
from tinyvision.exercises.rpn_proposals import rpn_proposals
from tinyvision.exercises.soft_nms import soft_nms, soft_nms_linear

seeds = pytest.mark.parametrize("seed", range(4))


def arguments(name, function, seed):
    found = load(name).cases(np.random.default_rng(seed))
    return [case.args for case in found if case.function == function]


def array(*rows):
    return np.array(rows, float)


def iou(p, q):
    """The definition, on numbers."""
    def area(x0, y0, x1, y1):
        return (x1 - x0) * (y1 - y0) if x1 > x0 and y1 > y0 else 0.0
    both = area(max(p[0], q[0]), max(p[1], q[1]), min(p[2], q[2]), min(p[3], q[3]))
    return both / (area(*p) + area(*q) - both)


# ---- what the tasks promise ----------------------------------------------------------------------

@pytest.mark.parametrize("name", names())
@seeds
def test_cases_keep_what_the_task_promises(name, seed):
    exercise = load(name)
    for case in exercise.cases(np.random.default_rng(seed)):
        assert exercise.allows(case.function, case.args), case.name


@pytest.mark.parametrize("name, function, args", [
    ("average_precision", "all_point_ap", (np.array([1.0, 0.5]), np.array([0.5, 0.5]))),
    ("average_precision", "eleven_point_ap", (np.array([0.0, 0]), np.array([0.0, 1]))),
    ("average_precision", "recall_and_precision", (np.ones(2), np.array([1, 1]), 1)),
    ("kmeans_anchors", "shape_iou", (np.zeros((1, 2)), np.ones((1, 2)))),
    ("soft_nms", "soft_nms", (np.ones((1, 4)), np.ones(1), 0.5, 0.1)),
    ("box_coding", "encode", (np.ones((1, 4)), np.ones((1, 4)), np.ones(4))),
    ("anchors", "cell_anchors", (np.array([3.0]), np.array([1.0]))),
    ("anchor_matching", "match", (np.full((1, 1), 2.0), 0.5, 0.25, False)),
    ("mean_iou", "mean_iou", (np.array([1]), np.array([2]), 2, -1)),
    ("yolo_loss", "yolo_loss", (np.zeros((1, 1, 5)), np.full((1, 4), 0.5), np.array([0]), 1, 5, 1)),
    ("panoptic_quality", "count_segments", (*(np.array([[2]]), np.array([0])) * 2, 1)),
    ("frru", "frru", (np.ones((1, 1, 1, 1)), np.ones((1, 1, 2, 2)), np.ones((1, 1, 1, 1)),
                      np.ones(1), np.ones((1, 1)), np.ones(1), 2)),
    ("panoptic_quality", "panoptic_quality", (np.array([[0.25, 1, 0, 0]]),))])
def test_what_no_task_asks(name, function, args):
    assert not load(name).allows(function, args)


# ---- by hand: the numbers of the tasks -----------------------------------------------------------

PAIR = array((0, 0, 4, 4), (0, 0, 4, 3), (6, 6, 8, 9))


def test_soft_nms_by_hand():
    indices, scores = soft_nms_linear(PAIR, np.array([0.8, 0.9, 0.3]), 0.5, 0.25)
    assert indices.dtype == np.int64 and indices.tolist() == [1, 2]
    assert np.allclose(scores, [0.9, 0.3])
    indices, scores = soft_nms(PAIR, np.array([0.8, 0.9, 0.3]), 0.5, 0.3)
    assert indices.tolist() == [1, 2] and np.allclose(scores, [0.9, 0.3])
    indices, scores = soft_nms(PAIR, np.array([0.8, 0.9, 0.3]), 0.5, 0.25)
    assert indices.tolist() == [1, 2, 0]
    assert np.allclose(scores, [0.9, 0.3, 0.8 * math.exp(-0.75 ** 2 / 0.5)])


def test_box_coding_by_hand():
    anchor, box = array((0, 0, 4, 8)), array((2, 4, 10, 8))
    code = encode(box, anchor, np.ones(4))
    assert np.allclose(code, [[1, 0.25, math.log(2), -math.log(2)]])
    assert np.allclose(decode(code, anchor, np.ones(4)), box)
    faster = np.array([10.0, 10, 5, 5])
    assert np.allclose(encode(box, anchor, faster), code * faster)
    huge = decode(array((0, 0, 100, 4.2)), anchor, np.ones(4))[0]
    assert np.allclose(huge[2:] - huge[:2], [4 * 62.5, 8 * 62.5])


def test_anchors_by_hand():
    cell = cell_anchors(np.array([8.0]), np.array([0.25, 1.0]))
    assert cell.tolist() == [[-8, -2, 8, 2], [-4, -4, 4, 4]]
    assert grid_anchors((1, 2), (32, 16), cell).tolist() == [
        [-8, -2, 8, 2], [-4, -4, 4, 4], [8, -2, 24, 2], [12, -4, 20, 4]]
    assert grid_anchors((2, 1), (32, 16), cell)[2].tolist() == [-8, 30, 8, 34]


def test_the_lectures_map_has_k_times_20_times_15_anchors():
    cell = cell_anchors(np.array([64.0, 128]), np.array([0.5, 1, 2]))
    assert grid_anchors((15, 20), (32, 32), cell).shape == (6 * 20 * 15, 4)   # 3 x 640 x 480


def test_anchor_matching_by_hand():
    table = array((0.8, 0.5, 0.1, 0), (0.1, 0.2, 0.3, 0))
    assert match(table, 0.75, 0.25, False).tolist() == [0, -2, -2, -1]
    assert match(table, 0.75, 0.25, True).tolist() == [0, -2, 1, -1]
    assert match(np.zeros((2, 3)), 0.75, 0.25, True).tolist() == [-1] * 3
    assert match(np.zeros((0, 3)), 0.75, 0.25, True).tolist() == [-1] * 3


def test_hard_negative_mining_by_hand():
    losses, labels = array((5, 1, 9, 2, 6)), np.array([[0, 7, 0, 0, 0]])
    assert hard_negatives(losses, labels, 2).tolist() == [[False, False, True, False, True]]
    assert mined_loss(losses, labels, 2) == 16
    assert mined_loss(losses, 0 * labels, 2) == 0
    assert not hard_negatives(losses, 0 * labels, 2).any()


def test_rpn_proposals_by_hand():
    anchors = array((-1, 0, 1, 9), (4, 3, 8, 12), (4, 3, 8, 8), (12, 2, 16, 6), (0, 5, 3, 9))
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    found, indices = rpn_proposals(np.zeros((5, 4)), scores, anchors, (10, 20), 2, 3, 0.7, 2)
    assert indices.tolist() == [1, 3] and found.tolist() == [[4, 3, 8, 10], [12, 2, 16, 6]]
    assert rpn_proposals(np.zeros((5, 4)), scores, anchors, (10, 20), 1, 3, 0.7, 2)[1].tolist() == [
        0, 1]


def test_kmeans_by_hand():
    sides, centres = array((2, 2), (4, 2), (8, 8)), array((2, 1), (8, 9))
    assert np.allclose(shape_iou(sides, centres), [[2 / 4, 4 / 72], [2 / 8, 8 / 72],
                                                   [2 / 64, 64 / 72]])
    assert kmeans_anchors(sides, centres, 1).tolist() == [[3, 2], [8, 8]]
    assert kmeans_anchors(sides, centres, 0).tolist() == centres.tolist()


def test_average_precision_by_hand():
    right = np.array([1, 0, 1, 1])
    recall, precision = recall_and_precision(np.array([0.9, 0.8, 0.7, 0.6]), right, 4)
    assert np.allclose(recall, [1 / 4, 1 / 4, 1 / 2, 3 / 4])
    assert np.allclose(precision, [1, 1 / 2, 2 / 3, 3 / 4])
    assert np.isclose(eleven_point_ap(recall, precision), 27 / 44)
    assert np.isclose(all_point_ap(recall, precision), 5 / 8)
    assert eleven_point_ap(np.zeros(0), np.zeros(0)) == all_point_ap(np.zeros(0), np.zeros(0)) == 0


def test_mean_iou_by_hand():
    labels, predictions = np.array([[0, 0, 1], [1, 2, -1]]), np.array([[0, 1, 1], [1, 1, 3]])
    counts = confusion_matrix(labels, predictions, 4, -1)
    assert counts.dtype == np.int64
    assert counts.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [0, 1, 0, 0], [0] * 4]
    assert np.isclose(mean_iou(labels, predictions, 4, -1), 1 / 3)


def test_panoptic_quality_by_hand():
    truth, prediction = np.array([[1, 1, 1, 2, 2, 2, 0, 0]]), np.array([[1, 1, 1, 1, 2, 3, 3, 3]])
    counts = count_segments(truth, np.array([0, 0]), prediction, np.array([0, 0, 1]), 2)
    assert counts.tolist() == [[0.75, 1, 1, 1], [0, 0, 0, 0]]
    assert np.allclose(panoptic_quality(counts), [0.375, 0.75, 0.5])


# ---- the library's own functions -----------------------------------------------------------------

@seeds
def test_soft_nms_equals_the_librarys(seed):
    for b, s, sigma, least in arguments("soft_nms", "soft_nms", seed):
        assert_pair(soft_nms(b, s, sigma, least), ops.soft_nms(b, s, sigma, least))
    for b, s, limit, least in arguments("soft_nms", "soft_nms_linear", seed):
        assert_pair(soft_nms_linear(b, s, limit, least), ops.soft_nms(
            b, s, score_threshold=least, method="linear", iou_threshold=limit))


def assert_pair(mine, theirs):
    assert np.array_equal(mine[0], theirs[0]) and np.allclose(mine[1], theirs[1], rtol=1e-6)


@seeds
def test_box_coding_equals_the_librarys(seed):
    for args in arguments("box_coding", "encode", seed):
        assert np.allclose(encode(*args), boxes.encode(*args), rtol=1e-5, atol=1e-6)
        assert np.allclose(decode(encode(*args), *args[1:]), args[0])
    for args in arguments("box_coding", "decode", seed):
        assert np.allclose(decode(*args), boxes.decode(*args), rtol=1e-5)


@seeds
def test_anchors_equal_the_librarys(seed):
    for args in arguments("anchors", "cell_anchors", seed):
        assert np.array_equal(cell_anchors(*args), boxes.cell_anchors(*args))
    for args in arguments("anchors", "grid_anchors", seed):
        assert np.array_equal(grid_anchors(*args), boxes.grid_anchors(*args))


@seeds
def test_matching_equals_the_librarys(seed):
    for args in arguments("anchor_matching", "match", seed):
        for force in (False, True):
            assert np.array_equal(match(*args[:3], force), boxes.match(*args[:3], force))


@seeds
def test_proposals_equal_the_librarys_steps(seed):
    for codes, scores, anchors, size, least, before, limit, after in arguments(
            "rpn_proposals", "rpn_proposals", seed):
        inside = boxes.clip(boxes.decode(codes, anchors), size)
        left = np.flatnonzero(boxes.proper(inside, least))
        left = left[boxes.best(scores[left], before)]
        left = left[boxes.suppressed(inside[left], scores[left], np.zeros(len(left), np.int64),
                                     limit, after)]
        found, indices = rpn_proposals(codes, scores, anchors, size, least, before, limit, after)
        assert np.array_equal(indices, left) and np.allclose(found, inside[left])


@seeds
def test_average_precision_equals_the_librarys(seed):
    for args in arguments("average_precision", "eleven_point_ap", seed):
        assert np.isclose(eleven_point_ap(*args), metrics.voc_ap(*args, eleven_point=True))
    for args in arguments("average_precision", "all_point_ap", seed):
        assert np.isclose(all_point_ap(*args), metrics.voc_ap(*args))


@seeds
def test_segmentation_equals_the_librarys(seed):
    for args in arguments("mean_iou", "confusion_matrix", seed):
        assert np.array_equal(confusion_matrix(*args), metrics.confusion_matrix(*args))
    for args in arguments("mean_iou", "mean_iou", seed):
        assert np.isclose(mean_iou(*args), metrics.mean_iou(*args))


@seeds
def test_panoptic_quality_equals_the_librarys(seed):
    for truth, labels, prediction, others, count in arguments("panoptic_quality", "count_segments",
                                                              seed):
        library = metrics.PanopticQuality(map(str, range(count)), [True] * count).add(
            *([{"panoptic": where, "segment_ids": np.arange(1, 1 + len(kinds)), "labels": kinds}]
              for where, kinds in ((truth, labels), (prediction, others))))
        counts = count_segments(truth, labels, prediction, others, count)
        assert np.allclose(counts, np.stack([library.overlap, library.right, library.wrong,
                                             library.missed], axis=1))
        summary = library.summary()
        assert np.allclose(panoptic_quality(counts), [summary[k] for k in ("PQ", "SQ", "RQ")])


# ---- other definitions, on numbers ---------------------------------------------------------------

@seeds
def test_soft_nms_is_a_greedy_search(seed):
    for b, s, sigma, least in arguments("soft_nms", "soft_nms", seed):
        left, taken = dict(enumerate(s)), []
        while left:
            best = min(left, key=lambda i: (-left[i], i))
            score = left.pop(best)
            if score < least:
                break
            taken.append((best, score))
            left = {i: v * math.exp(-iou(b[best], b[i]) ** 2 / sigma) for i, v in left.items()}
        assert_pair(soft_nms(b, s, sigma, least), (np.array([i for i, _ in taken], int),
                                                   np.array([v for _, v in taken])))


@seeds
def test_matching_is_a_table_of_rules(seed):
    for table, high, low, force in arguments("anchor_matching", "match", seed):
        for anchor, found in enumerate(match(table, high, low, force)):
            column = table[:, anchor].tolist()
            best = max(column, default=0.0)
            favourite = any(v == max(row) > 0 for v, row in zip(column, table.tolist()))
            if column and (best >= high or force and favourite):
                assert found == column.index(best)
            else:
                assert found == (-2 if column and best >= low else -1)


@seeds
def test_hard_negatives_by_rank(seed):
    for losses, labels, ratio in arguments("hard_negative_mining", "hard_negatives", seed):
        chosen = hard_negatives(losses, labels, ratio)
        for n, a in np.ndindex(labels.shape):
            harder = sum((-losses[n, b], b) < (-losses[n, a], a)
                         for b in range(labels.shape[1]) if labels[n, b] == 0)
            wanted = labels[n, a] == 0 and harder < ratio * sum(v > 0 for v in labels[n])
            assert chosen[n, a] == wanted


@seeds
def test_hard_negatives_as_torchvision_chooses_them(seed):
    """SSD.compute_loss of torchvision, line by line; its labels are never below 0."""
    for losses, labels, ratio in arguments("hard_negative_mining", "mined_loss", seed):
        labels = np.maximum(labels, 0)
        positive = labels > 0
        negative_loss = np.where(positive, -np.inf, losses)
        rank = np.argsort(np.argsort(-negative_loss, axis=1, kind="stable"), axis=1)
        background = (rank < ratio * positive.sum(axis=1, keepdims=True)) & ~positive
        total = (losses[positive].sum() + losses[background].sum()) / max(1, positive.sum())
        assert np.isclose(mined_loss(losses, labels, ratio), total)


@seeds
def test_shape_iou_is_that_of_aligned_boxes(seed):
    """With one corner in common, or with one centre: it is the same."""
    for sides, centres in arguments("kmeans_anchors", "shape_iou", seed):
        for place in (0.0, 0.5):
            first, second = (np.concatenate([-place * s, s - place * s], axis=1)
                             for s in (sides, centres))
            assert np.allclose(shape_iou(sides, centres), ops.box_iou(first, second))


@seeds
def test_kmeans_joins_and_moves(seed):
    for sides, centres, iterations in arguments("kmeans_anchors", "kmeans_anchors", seed):
        want = [tuple(c) for c in centres]
        for _ in range(iterations):
            groups = [[] for _ in want]
            for w, h in sides:
                near = [min(w, a) * min(h, b) / (w * h + a * b - min(w, a) * min(h, b))
                        for a, b in want]
                groups[near.index(max(near))].append((w, h))
            want = [tuple(sum(v) / len(group) for v in zip(*group)) if group else old
                    for group, old in zip(groups, want)]
        assert np.allclose(kmeans_anchors(sides, centres, iterations), want)


@seeds
def test_average_precision_from_its_definition(seed):
    for scores, right, positives in arguments("average_precision", "recall_and_precision", seed):
        recall, precision = recall_and_precision(scores, right, positives)
        order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
        found = list(itertools.accumulate(int(right[i]) for i in order))
        assert np.allclose(recall, [n / positives for n in found])
        assert np.allclose(precision, [n / k for k, n in enumerate(found, 1)])


@seeds
def test_all_point_ap_is_the_mean_over_many_recalls(seed):
    for recall, precision in arguments("average_precision", "all_point_ap", seed):
        places = (np.arange(20000) + 0.5) / 20000
        heights = np.max(np.where(recall >= places[:, None], precision, 0.0), axis=1, initial=0)
        assert np.isclose(all_point_ap(recall, precision), heights.mean(), atol=1e-3)


@seeds
def test_matched_segments_are_sets_of_pixels(seed):
    for truth, labels, prediction, others, count in arguments("panoptic_quality", "count_segments",
                                                              seed):
        pixels = [{k: {p for p in np.ndindex(m.shape) if m[p] == k} for k in range(len(kinds) + 1)}
                  for m, kinds in ((truth, labels), (prediction, others))]
        want = np.zeros((count, 4))
        want[:, 3] += np.bincount(labels, minlength=count)
        for p, kind in enumerate(others, 1):
            mine = pixels[1][p] - pixels[0][0]
            ious = [len(mine & pixels[0][g]) / len(mine | pixels[0][g])
                    for g in range(1, 1 + len(labels)) if labels[g - 1] == kind]
            if max(ious, default=0) > 0.5:
                want[kind] += [max(ious), 1, 0, -1]
            elif 2 * len(pixels[1][p] & pixels[0][0]) <= len(pixels[1][p]):
                want[kind, 2] += 1
        assert np.allclose(count_segments(truth, labels, prediction, others, count), want)
