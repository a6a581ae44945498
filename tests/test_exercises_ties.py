"""Where equal numbers decide: the same marks on every processor.

``np.argsort`` without ``kind="stable"`` keeps the order of up to 16 equal numbers on one processor
and not on another, that of many on none. So what it does with few must neither win nor lose a
point, and many equals must catch it everywhere.
"""
import functools
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from mutations import verdict
from tinyvision.exercises import load
from tinyvision.grading.assignment import as_received, parts_of, prepare, run
from tinyvision.grading.diagnosis import diagnose
from tinyvision.grading.verdict import Verdict, judge

FEW = 16                                # up to here NumPy's plain sort inserts, which is stable
PLAIN = "AVX2 AVX512_SKX AVX512_ICL AVX512_SPR X86_V3 X86_V4"


# ---- what processors do with equals --------------------------------------------------------------

def by(key):
    """An argsort that sorts equals by ``key(how many)``; along one axis."""
    def argsort(numbers, axis=-1):
        return np.apply_along_axis(lambda row: np.lexsort((key(len(row)), row)), axis, numbers)
    return argsort


def heaped(numbers, axis=-1):
    """Heapsort, as in every book."""
    def sort(row):
        heap, count = list(range(len(row))), len(row)

        def sink(at, end):
            while (child := 2 * at + 1) < end:
                child += child + 1 < end and row[heap[child + 1]] > row[heap[child]]
                if row[heap[at]] >= row[heap[child]]:
                    return
                heap[at], heap[child], at = heap[child], heap[at], child
        for at in reversed(range(count // 2)):
            sink(at, count)
        for end in reversed(range(1, count)):
            heap[0], heap[end] = heap[end], heap[0]
            sink(0, end)
        return np.array(heap, np.int64)
    return np.apply_along_axis(sort, axis, numbers) if np.size(numbers) else np.argsort(numbers)


def but_few(argsort):
    """The same, but stable where there are few."""
    def other(numbers, axis=-1):
        return (stable if numbers.shape[axis] <= FEW else argsort)(numbers, axis)
    return other


stable = by(np.arange)
backwards = by(lambda count: -np.arange(count))
UNSTABLE = {"NumPy's own": np.argsort, "heapsort": heaped, "backwards": backwards,
            "by chance": by(np.random.default_rng(1).permutation),
            "otherwise by chance": by(np.random.default_rng(2).permutation)}
UNSTABLE |= {f"{name}, but few": but_few(argsort) for name, argsort in UNSTABLE.items()}


# ---- programs that sort --------------------------------------------------------------------------
# Each is right where ``argsort`` is stable.

def suppressing(argsort):
    def nms(boxes, scores, iou_threshold):
        left, kept = argsort(-scores), []
        while len(left):
            kept.append(left[0])
            left = left[1:][overlap(boxes[left[0]], boxes[left[1:]]) <= iou_threshold]
        return np.array(kept, np.int64)
    return {"nms": nms}


def overlap(box, others):
    size = np.maximum(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0)
    both, area = size.prod(axis=1), (others[:, 2:] - others[:, :2]).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + area - both
    return both / np.where(union > 0, union, 1)


def counting(argsort):
    others = load("average_precision").functions          # which sort nothing

    def recall_and_precision(scores, right, positives):
        found = np.cumsum(right[argsort(-scores)])
        return found / positives, found / np.arange(1, len(found) + 1)
    return others | {"recall_and_precision": recall_and_precision}


def mining_rows(argsort):
    """All boxes of an image are sorted, those that are no negatives to the end."""
    def hard_negatives(losses, labels, ratio):
        order = argsort(np.where(labels == 0, -losses, np.inf), axis=1)
        ranks = np.argsort(order, axis=1)
        return (ranks < ratio * (labels > 0).sum(axis=1, keepdims=True)) & (labels == 0)
    return mined(hard_negatives)


def mining_negatives(argsort):
    def hard_negatives(losses, labels, ratio):
        chosen = np.zeros(labels.shape, bool)
        for row, loss, label in zip(chosen, losses, labels):
            negatives = np.flatnonzero(label == 0)
            row[negatives[argsort(-loss[negatives])[:ratio * (label > 0).sum()]]] = True
        return chosen
    return mined(hard_negatives)


def mined(hard_negatives):
    def mined_loss(losses, labels, ratio):
        chosen = hard_negatives(losses, labels, ratio) | (labels > 0)
        return losses[chosen].sum() / max((labels > 0).sum(), 1)
    return {"hard_negatives": hard_negatives, "mined_loss": mined_loss}


def softly(argsort):
    """Sorted again for every box that is taken."""
    def take(boxes, scores, least, factor):
        scores, left, taken = scores.copy(), np.arange(len(boxes)), []
        while len(left):
            best, *others = left[argsort(-scores[left])]
            if scores[best] < least:
                break
            taken.append(best)
            left = np.sort(others).astype(np.int64)
            scores[left] *= factor(overlap(boxes[best], boxes[left]))
        return np.array(taken, np.int64), scores[np.array(taken, np.int64)]
    return {"soft_nms": lambda boxes, scores, sigma, least: take(
                boxes, scores, least, lambda o: np.exp(-o * o / sigma)),
            "soft_nms_linear": lambda boxes, scores, limit, least: take(
                boxes, scores, least, lambda o: np.where(o >= limit, 1 - o, 1))}


def proposing(argsort):
    nms = suppressing(stable)["nms"]

    def rpn_proposals(codes, scores, anchors, size, min_size, before, nms_threshold, after):
        sides = anchors[:, 2:] - anchors[:, :2]
        centres = anchors[:, :2] + (0.5 + codes[:, :2]) * sides
        halves = sides * np.exp(codes[:, 2:]) / 2
        boxes = np.hstack([centres - halves, centres + halves]).clip(0, [*size[::-1]] * 2)
        left = argsort(-scores)
        left = left[(boxes[left, 2:] - boxes[left, :2] >= min_size).all(axis=1)][:before]
        left = left[nms(boxes[left], -np.arange(len(left)), nms_threshold)][:after]
        return boxes[left], left
    return {"rpn_proposals": rpn_proposals}


PROGRAMS = (("nms", suppressing), ("average_precision", counting),
            ("hard_negative_mining", mining_rows), ("hard_negative_mining", mining_negatives),
            ("soft_nms", softly), ("rpn_proposals", proposing))
LOST = {"nms": 1, "average_precision": 1, "hard_negative_mining": 1, "soft_nms": 1,
        "rpn_proposals": 0.5}
each = pytest.mark.parametrize("exercise, program", PROGRAMS)


@functools.cache
def prepared(exercise, seed):
    return prepare(load(exercise), np.random.default_rng(seed))


def lost(exercise, functions, seed):
    """The points that wrong functions lose."""
    assignment = prepared(exercise, seed)
    return sum(case.points for case, right in zip(assignment.cases, assignment.expected)
               if verdict(assignment, functions[case.function], case, right) is not Verdict.OK)


@each
@pytest.mark.parametrize("seed", range(3))
def test_a_stable_sort_is_right(exercise, program, seed):
    assert lost(exercise, program(stable), seed) == 0


@each
@pytest.mark.parametrize("order", UNSTABLE)
def test_any_other_sort_loses_the_same_points(exercise, program, order):
    found = {lost(exercise, program(UNSTABLE[order]), seed) for seed in range(5)}
    assert found == {LOST[exercise]}


@each
def test_a_sort_turned_around_loses_the_same_points(exercise, program):
    """``argsort(scores)[::-1]``: even if it is stable, it has equals the wrong way round."""
    orders = [argsort for name, argsort in UNSTABLE.items() if "backwards" not in name]
    for argsort in (stable, *orders):
        turned = program(lambda keys, axis=-1: np.flip(argsort(-keys, axis=axis), axis))
        assert lost(exercise, turned, 0) == LOST[exercise]


@each
def test_elsewhere_equals_decide_nothing(exercise, program):
    """But in the case about them, no order of equals makes another answer."""
    for case in prepared(exercise, 0).cases:
        if "many equal" not in case.name:
            answers = [parts_of(program(argsort)[case.function](*case.args))[0]
                       for argsort in (stable, backwards)]
            assert all(map(np.array_equal, *answers)), case.name


# ---- names ---------------------------------------------------------------------------------------

def diagnosed(exercise, functions, seed=0):
    """The names that the grader gives to wrong functions."""
    assignment, answers, verdicts, judgements = prepared(exercise, seed), {}, {}, {}
    for i, (case, right) in enumerate(zip(assignment.cases, assignment.expected)):
        answers[i] = as_received(run(assignment.exercise, case, functions[case.function]))
        judgements[i] = judge(answers[i], right)
        verdicts[i] = judgements[i].verdict
    return {found.name for found in diagnose(assignment, answers, verdicts, judgements)}


def around(keys, axis=-1):
    return np.flip(np.argsort(-keys, axis=axis), axis)


NAMED = [(exercise, program, "later-of-equal" if "mining" in exercise else "tie-order")
         for exercise, program in PROGRAMS]


@pytest.mark.parametrize("exercise, program, name", NAMED)
@pytest.mark.parametrize("argsort", (np.argsort, around, by(lambda n: -np.arange(n))))
def test_a_sort_that_is_not_stable_is_named(exercise, program, name, argsort):
    assert diagnosed(exercise, program(argsort)) == {name}


@pytest.mark.parametrize("argsort", (stable, np.argsort, around))
def test_another_mistake_is_named_whatever_the_sort(argsort):
    def at_the_threshold(boxes, scores, threshold):
        return suppressing(argsort)["nms"](boxes, scores, np.nextafter(threshold, 0))

    def exchanged(*args):
        recall, precision = counting(argsort)["recall_and_precision"](*args)
        return precision, recall

    def positives_too(losses, labels, ratio):
        return mining_rows(argsort)["hard_negatives"](losses, labels, ratio) | (labels > 0)
    assert diagnosed("nms", {"nms": at_the_threshold}) == {"at-the-threshold"}
    assert diagnosed("average_precision", counting(argsort) | {
        "recall_and_precision": exchanged}) == {"exchanged"}
    assert diagnosed("hard_negative_mining", mining_rows(argsort) | {
        "hard_negatives": positives_too}) == {"positives-too"}


# ---- another processor ---------------------------------------------------------------------------

def marks():
    """What programs that use np.argsort lose on this processor."""
    return [[lost(exercise, program(np.argsort), seed) for seed in range(3)]
            for exercise, program in PROGRAMS]


def test_a_processor_without_wide_registers_gives_the_same_marks():
    code = ("import sys; sys.path.insert(0, sys.argv[1]); import json, test_exercises_ties as t; "
            "print(json.dumps(t.marks()))")
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, os.path.dirname(__file__)], check=True,
        capture_output=True, text=True, env=os.environ | {"NPY_DISABLE_CPU_FEATURES": PLAIN})
    assert json.loads(told.stdout) == marks() == [[LOST[exercise]] * 3 for exercise, _ in PROGRAMS]
