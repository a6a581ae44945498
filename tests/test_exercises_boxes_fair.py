"""Exercises about boxes: other right ways to write them pass, in float32 and in float64."""
import numpy as np
import pytest

from mutations import verdict
from tinyvision.exercises import load
from tinyvision.grading.assignment import prepare
from tinyvision.grading.verdict import Verdict

WAYS = {}


def way(exercise):
    """Register a right answer to a function of an exercise by the function's name."""
    def keep(function):
        WAYS[exercise, function.__name__] = function
        return function
    return keep


def overlaps(boxes):
    """(N, N) IoU by way of widths and heights."""
    x0, y0, x1, y1 = boxes.T
    width = (np.minimum(x1[:, None], x1) - np.maximum(x0[:, None], x0)).clip(0)
    height = (np.minimum(y1[:, None], y1) - np.maximum(y0[:, None], y0)).clip(0)
    area = (x1 - x0) * (y1 - y0)
    return width * height / (area[:, None] + area - width * height)


def marked_as_taken(boxes, scores, least, factor):
    """Soft-NMS without a list of what is left: those taken get the score -1 in a copy."""
    scores, kept, table = scores.copy(), [], overlaps(boxes)
    while len(scores) and scores.max() >= least:
        best = int(np.argmax(scores))
        kept.append((best, scores[best]))
        scores = scores * factor(table[best])
        scores[[i for i, _ in kept]] = -1
    return (np.array([i for i, _ in kept], np.int32),
            np.array([v for _, v in kept], scores.dtype))


@way("soft_nms")
def soft_nms(boxes, scores, sigma, score_threshold):
    return marked_as_taken(boxes, scores, score_threshold, lambda o: np.exp(-(o * o) / sigma))


@way("soft_nms")
def soft_nms_linear(boxes, scores, iou_threshold, score_threshold):
    return marked_as_taken(boxes, scores, score_threshold,
                           lambda o: 1 - o * (o >= iou_threshold))


@way("box_coding")
def encode(boxes, anchors, weights):
    (x0, y0, x1, y1), (a0, b0, a1, b1) = boxes.T, anchors.T
    w, h = a1 - a0, b1 - b0
    return np.stack([((x0 + x1) / 2 - (a0 + a1) / 2) / w * weights[0],
                     ((y0 + y1) / 2 - (b0 + b1) / 2) / h * weights[1],
                     (np.log(x1 - x0) - np.log(w)) * weights[2],
                     (np.log(y1 - y0) - np.log(h)) * weights[3]], axis=1)


@way("box_coding")
def decode(codes, anchors, weights):
    (dx, dy, dw, dh), (a0, b0, a1, b1) = (codes * (1 / weights)).T, anchors.T
    w, h = np.minimum(np.exp(dw), 62.5) * (a1 - a0), np.minimum(np.exp(dh), 62.5) * (b1 - b0)
    x, y = dx * (a1 - a0) + 0.5 * (a0 + a1), dy * (b1 - b0) + 0.5 * (b0 + b1)
    return np.stack([x - 0.5 * w, y - 0.5 * h, x + 0.5 * w, y + 0.5 * h], axis=1)


@way("anchors")
def cell_anchors(sizes, aspect_ratios):
    width = np.sqrt(sizes ** 2 / aspect_ratios[:, None]).ravel()
    height = width * np.repeat(aspect_ratios, len(sizes))
    return np.rint(np.stack([-width, -height, width, height], axis=1) / 2)


@way("anchors")
def grid_anchors(size, stride, cell):
    y, x = np.mgrid[:size[0], :size[1]]
    moves = np.stack([x * stride[1], y * stride[0]] * 2, axis=-1).reshape(-1, 1, 4)
    return (moves.astype(cell.dtype) + cell).reshape(-1, 4)


@way("anchor_matching")
def match(iou, high, low, force):
    if iou.shape[0] == 0:
        return -np.ones(iou.shape[1], np.int32)
    found = np.digitize(iou.max(axis=0), [low, high]) - 1    # -1, 0, 1
    found = np.select([found < 0, found == 0], [-1, -2], iou.argmax(axis=0))
    for row in iou if force else ():
        for a in np.flatnonzero(row == row.max()) if row.any() else ():
            found[a] = iou[:, a].argmax()
    return found


@way("hard_negative_mining")
def hard_negatives(losses, labels, ratio):
    order = np.argsort(np.where(labels == 0, -losses, np.inf), axis=1, kind="stable")
    rank = np.argsort(order, axis=1)
    return (rank < ratio * (labels > 0).sum(axis=1, keepdims=True)) & (labels == 0)


@way("hard_negative_mining")
def mined_loss(losses, labels, ratio):
    positive = labels > 0
    if not positive.any():
        return losses.dtype.type(0)
    total = (losses * positive).sum() + (losses * hard_negatives(losses, labels, ratio)).sum()
    return total / losses.dtype.type(positive.sum())


@way("rpn_proposals")
def rpn_proposals(codes, scores, anchors, size, min_size, before, nms_threshold, after):
    x0, y0, x1, y1 = decode(codes, anchors, np.ones(4, codes.dtype)).T
    boxes = np.stack([x0.clip(0, size[1]), y0.clip(0, size[0]), x1.clip(0, size[1]),
                      y1.clip(0, size[0])], axis=1)
    wide, high = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    left = [i for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i))
            if wide[i] >= min_size and high[i] >= min_size][:before]
    kept = []
    with np.errstate(invalid="ignore"):
        table = overlaps(boxes)
    for i in left:
        if len(kept) < after and all(table[i, j] <= nms_threshold for j in kept):
            kept.append(i)
    return boxes[kept], np.array(kept)


@way("kmeans_anchors")
def shape_iou(sides, centres):
    width, height = (np.minimum.outer(sides[:, k], centres[:, k]) for k in (0, 1))
    return width * height / (np.add.outer(sides.prod(1), centres.prod(1)) - width * height)


@way("kmeans_anchors")
def kmeans_anchors(sides, centres, iterations):
    for _ in range(iterations):
        joined = np.argmin(1 - shape_iou(sides, centres), axis=1)[:, None] == np.arange(
            len(centres))
        count = joined.sum(axis=0)[:, None].astype(sides.dtype)
        centres = np.where(count > 0, joined.T.astype(sides.dtype) @ sides / np.maximum(count, 1),
                           centres)
    return centres


@way("average_precision")
def recall_and_precision(scores, right, positives):
    hits = right[np.argsort(-scores, kind="stable")].astype(scores.dtype)
    found, wrong = np.cumsum(hits), np.cumsum(1 - hits)
    return found * scores.dtype.type(1 / positives), found / (found + wrong)


@way("average_precision")
def eleven_point_ap(recall, precision):
    total = 0.0
    for place in np.arange(0, 1.1, 0.1):                     # the third is a little over 0.3
        total += np.max(precision[recall >= place]) / 11 if (recall >= place).any() else 0.0
    return precision.dtype.type(total)


@way("average_precision")
def all_point_ap(recall, precision):
    """As in VOC's development kit: sentinels, then where recall changes."""
    recall = np.concatenate([[0.0], recall, [1.0]]).astype(recall.dtype)
    precision = np.concatenate([[0.0], precision, [0.0]]).astype(precision.dtype)
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    change = np.where(recall[1:] != recall[:-1])[0]
    return np.sum((recall[change + 1] - recall[change]) * precision[change + 1])


@way("mean_iou")
def confusion_matrix(labels, predictions, num_classes, ignore_index):
    kept = labels != ignore_index
    pairs = num_classes * labels[kept] + predictions[kept]
    return np.bincount(pairs, minlength=num_classes ** 2).reshape(num_classes, num_classes)


@way("mean_iou")
def mean_iou(labels, predictions, num_classes, ignore_index):
    found, kept = [], labels != ignore_index
    for k in range(num_classes):
        both, either = ((f(labels == k, predictions == k) & kept).sum() for f in
                        (np.logical_and, np.logical_or))
        found += [np.float32(both) / np.float32(either)] if either else []
    return np.mean(found)


@way("panoptic_quality")
def count_segments(truth, truth_labels, prediction, prediction_labels, num_classes):
    counts, left = np.zeros((num_classes, 4), np.float32), set(range(len(truth_labels)))
    for p, label in enumerate(prediction_labels):
        under = truth[prediction == p + 1]
        best = np.bincount(under[under > 0], minlength=1).argmax() - 1
        both, area = (under == best + 1).sum(), (under > 0).sum()
        if best >= 0 and truth_labels[best] == label and 2 * both > area + (
                truth == best + 1).sum() - both:
            counts[label] += [both / (area + (truth == best + 1).sum() - both), 1, 0, 0]
            left.discard(best)
        elif not np.mean(under == 0) > 0.5:
            counts[label, 2] += 1
    for g in left:
        counts[truth_labels[g], 3] += 1
    return counts


@way("panoptic_quality")
def panoptic_quality(counts):
    rows = [row for row in counts if row[1:].sum() > 0]
    pq = [row[0] / (row[1] + 0.5 * row[2] + 0.5 * row[3]) for row in rows]
    rq = [row[1] / (row[1] + 0.5 * row[2] + 0.5 * row[3]) for row in rows]
    sq = [row[0] / row[1] if row[1] else counts.dtype.type(0) for row in rows]
    return np.array([np.mean(pq), np.mean(sq), np.mean(rq)])


def narrow(value):
    wide = isinstance(value, np.ndarray) and value.dtype == np.float64
    return value.astype(np.float32) if wide else value


@pytest.mark.parametrize("exercise", dict.fromkeys(name for name, _ in WAYS))
@pytest.mark.parametrize("seed", range(6))
def test_other_ways_pass_in_both_precisions(exercise, seed):
    assignment = prepare(load(exercise), np.random.default_rng(seed))
    for case, right in zip(assignment.cases, assignment.expected):
        function = WAYS[exercise, case.function]
        for other in (function, lambda *args: function(*map(narrow, args))):
            assert verdict(assignment, other, case, right) is Verdict.OK, case.name


def test_all_functions_have_another_way():
    exercises = {name for name, _ in WAYS}
    assert {(name, function) for name in exercises for function in load(name).functions} == {*WAYS}
