"""What is wrong with a detection: cases to check by eye, and COCO's count of the right ones."""
import numpy as np
import pytest

from tinyvision.metrics import DetectionAP
from tinyvision.metrics.coco_match import HIT
from tinyvision.metrics.mistakes import judge

TRUE = {"boxes": np.array([(0, 0, 4, 4), (10, 0, 14, 4), (20, 0, 24, 4)], np.float32),
        "labels": np.array([0, 0, 1])}


def found(*rows):
    """Rows of (box, label, score)."""
    boxes, labels, scores = zip(*rows)
    return {"boxes": np.array(boxes, np.float32), "labels": np.array(labels),
            "scores": np.array(scores)}


def test_has_a_word_for_every_case():
    words, missed = judge(TRUE, found(
        ((0, 0, 4, 3), 0, 0.6),             # 3/4, but taken by the next
        ((0, 0, 4, 4), 0, 0.9),
        ((12, 0, 16, 4), 0, 0.8),           # 1/3 of the second object
        ((20, 0, 24, 4), 0, 0.7),           # where the third is, but that is of class 1
        ((40, 0, 44, 4), 1, 0.5)))          # there is nothing
    assert words.tolist() == ["twice", "right", "off", "wrong class", "nothing there"]
    assert missed.tolist() == [False, True, True]


def test_an_overlap_of_exactly_the_threshold_is_right():
    half = found(((0, 0, 4, 2), 0, 0.5))
    assert judge(TRUE, half).words == ["right"]
    assert judge(TRUE, half, 0.51).words == ["off"]


def test_the_second_best_object_will_do_if_the_best_is_taken():
    true = {"boxes": np.array([(0, 0, 4, 4), (0, 1, 4, 5)], np.float32), "labels": np.array([0, 0])}
    words, missed = judge(true, found(((0, 0, 4, 4), 0, 0.9), ((0, 0, 4, 4), 0, 0.8)))
    assert words.tolist() == ["right", "right"] and not missed.any()     # the second: 12 / 20


@pytest.mark.parametrize("objects, answers", [(0, 3), (2, 0), (0, 0)])
def test_nothing_is_judged_too(objects, answers):
    true = {key: value[:objects] for key, value in TRUE.items()}
    given = {"boxes": np.ones((answers, 4), np.float32), "labels": np.zeros(answers, int),
             "scores": np.ones(answers)}
    words, missed = judge(true, given)
    assert words.tolist() == ["nothing there"] * answers and missed.tolist() == [True] * objects


def test_is_right_as_often_as_coco_says():
    rng, total = np.random.default_rng(0), 0
    for _ in range(30):
        true = {"boxes": np.cumsum(1 + rng.random((5, 2, 2)) * 8, 1).reshape(5, 4),
                "labels": rng.integers(0, 2, 5)}
        near = rng.integers(0, 5, 12)
        given = {"boxes": true["boxes"][near] + rng.normal(size=(12, 4)),
                 "labels": true["labels"][near], "scores": rng.permutation(12) / 12}
        scores = DetectionAP(("a", "b")).add([true], [given])
        hits = sum((scores.judged(k).verdicts[0, 0] == HIT).sum() for k in (0, 1))
        words, missed = judge(true, given)
        assert (words == "right").sum() == hits == 5 - missed.sum()
        total += hits
    assert 60 < total < 140
