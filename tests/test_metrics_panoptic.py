"""Panoptic quality: worked numbers, and the paper's rules again, segment after segment."""
import numpy as np
import pytest

from tinyvision import data, metrics
from tinyvision.data.shapes_ground import STUFF

NAMES, THINGS = ("circle", "square", "sky"), np.array([True, True, False])


def image(panoptic, labels, crowd=None):
    """A dictionary for a map whose segments are 1, 2, ..."""
    record = {"panoptic": np.array(panoptic), "labels": np.array(labels, np.int64),
              "segment_ids": np.arange(1, 1 + len(labels))}
    return record if crowd is None else {**record, "iscrowd": np.array(crowd, bool)}


def quality():
    return metrics.PanopticQuality(NAMES, THINGS)


class TestByHand:
    TRUE = image([[1, 1, 1, 1, 2, 2], [3, 3, 3, 3, 3, 0]], [0, 0, 2])

    def test_the_numbers(self):
        # Segment 1: 3 of 4 pixels. 2: not found. Sky: 5 of 6 (one more), the void pixel no matter.
        found = image([[1, 1, 1, 2, 2, 2], [2, 2, 2, 2, 2, 2]], [0, 2])
        scores = quality().add([self.TRUE], [found])
        assert scores.right.tolist() == [1, 0, 1] and scores.missed.tolist() == [1, 0, 0]
        assert scores.wrong.tolist() == [0, 0, 0]
        sky = 5 / 8                                          # 3 pixels too many, void not counted
        np.testing.assert_allclose(scores.pq(), [(3 / 4) / (3 / 2), np.nan, sky])
        np.testing.assert_allclose(scores.sq(), [3 / 4, np.nan, sky])
        np.testing.assert_allclose(scores.rq(), [2 / 3, np.nan, 1])
        figures = scores.summary()
        assert figures == pytest.approx({
            "PQ": (1 / 2 + sky) / 2, "SQ": (3 / 4 + sky) / 2, "RQ": (2 / 3 + 1) / 2,
            "PQ_things": 1 / 2, "SQ_things": 3 / 4, "RQ_things": 2 / 3,
            "PQ_stuff": sky, "SQ_stuff": sky, "RQ_stuff": 1})
        assert scores.per_class()["circle"] == pytest.approx(1 / 2)

    def test_half_an_iou_is_no_match(self):
        scores = quality().add([image([[1, 1, 0, 0]], [0])], [image([[1, 0, 0, 0]], [0])])
        assert (scores.right[0], scores.wrong[0], scores.missed[0]) == (0, 1, 1)
        assert scores.pq()[0] == scores.sq()[0] == 0

    def test_another_class_is_no_match(self):
        scores = quality().add([image([[1, 1]], [0])], [image([[1, 1]], [1])])
        assert scores.missed.tolist() == [1, 0, 0] and scores.wrong.tolist() == [0, 1, 0]

    @pytest.mark.parametrize("row, wrong", [([0, 0, 0, 1], 0), ([0, 0, 1, 1], 1)])
    def test_more_than_half_on_void_is_excused(self, row, wrong):
        scores = quality().add([image([row], [2])], [image([[1, 1, 1, 1]], [0])])
        assert scores.wrong.tolist() == [wrong, 0, 0] and scores.missed.tolist() == [0, 0, 1]

    @pytest.mark.parametrize("label, wrong", [(0, 0), (1, 1)])
    def test_a_crowd_of_its_class_excuses(self, label, wrong):
        true = image([[1, 1, 1, 2]], [0, 2], [True, False])
        scores = quality().add([true], [image([[1, 1, 1, 1]], [label])])
        assert scores.wrong[label] == wrong and scores.missed.tolist() == [0, 0, 1]

    def test_segments_labelled_minus_one_are_void(self):
        true, found = image([[1, 1, 1, 2]], [-1, 2]), image([[1, 1, 1, 2]], [0, 2])
        scores = quality().add([true], [found])
        assert scores.wrong.tolist() == [0, 0, 0] and scores.pq()[2] == 1


# --- the rules again, one segment after the other -------------------------------------------------
def slow_counts(true, found):
    """{class: [sum of IoU, TP, FP, FN]}, in sets of pixels."""
    counts = {k: [0., 0, 0, 0] for k in range(len(NAMES))}

    def pixels(record, number):
        return set(zip(*map(np.ndarray.tolist, np.nonzero(record["panoptic"] == number))))

    void, matched = pixels(true, 0), set()
    for g, label, crowd in zip(true["segment_ids"], true["labels"], true["iscrowd"]):
        hits = [(p, len(a & b) / len((a - void) | b)) for p, other in zip(
            found["segment_ids"], found["labels"]) if other == label and not crowd
            for a, b in [(pixels(found, p), pixels(true, g))]]
        hits = [(p, iou) for p, iou in hits if iou > 0.5]
        assert len(hits) < 2                                 # the paper's theorem
        for p, iou in hits:
            matched.add(p)
            counts[label][0] += iou
            counts[label][1] += 1
        counts[label][3] += not hits and not crowd
    for p, label in zip(found["segment_ids"], found["labels"]):
        crowds = [pixels(true, g) for g, other, crowd in zip(
            true["segment_ids"], true["labels"], true["iscrowd"]) if crowd and other == label]
        mine, free = pixels(found, p), void.union(*crowds)
        counts[label][2] += p not in matched and len(mine & free) <= len(mine) / 2
    return np.array([*counts.values()])


def random_map(rng, crowd):
    """Four or so segments with numbers of their own, some pixels of none."""
    count = rng.integers(0, 6)
    ids = rng.choice(np.arange(1, 99), count, replace=False)
    coarse = np.append(ids, 0)[rng.integers(0, count + 1, (3, 4))]
    ids = np.intersect1d(ids, coarse)
    record = {"panoptic": coarse.repeat(3, 0).repeat(2, 1), "segment_ids": rng.permutation(ids),
              "labels": rng.integers(0, 3, len(ids))}
    return {**record, "iscrowd": rng.random(len(ids)) < crowd}


def disturbed(rng, record):
    """A prediction: the same with noise, and with other numbers."""
    noise = random_map(rng, 0)
    where = rng.random(record["panoptic"].shape) < rng.choice([0.1, 0.3, 0.6])
    mixed = np.where(where, noise["panoptic"] + 100 * (noise["panoptic"] > 0), record["panoptic"])
    ids = np.concatenate([record["segment_ids"], noise["segment_ids"] + 100])
    labels = np.concatenate([record["labels"], noise["labels"]])
    there = np.isin(ids, mixed)
    return {"panoptic": mixed, "segment_ids": ids[there], "labels": labels[there]}


def test_the_paper_s_rules_on_random_maps():
    rng = np.random.default_rng(0)
    for _ in range(60):
        true = [random_map(rng, 0.25) for _ in range(3)]
        found = [disturbed(rng, one) for one in true]
        scores, expected = quality().add(true, found), sum(map(slow_counts, true, found))
        got = np.stack([scores.overlap, scores.right, scores.wrong, scores.missed], 1)
        np.testing.assert_allclose(got, expected, atol=1e-12)
        parts = [quality().add([a], [b]) for a, b in zip(true, found)]
        merged = parts[0].merge(parts[1]).merge(parts[2])
        np.testing.assert_allclose(merged.overlap, scores.overlap, atol=1e-12)
        assert (merged.wrong == scores.wrong).all()
        np.testing.assert_allclose(scores.pq(), scores.sq() * scores.rq())


def test_shapes_panoptic_pairs_are_taken():
    scenes = data.shapes(3, size=48, seed=1).carrying("panoptic")
    targets, names = [scenes.target(k) for k in range(3)], (*scenes.names, *STUFF)
    scores = metrics.PanopticQuality(names, np.arange(len(names)) < len(scenes.names))
    scores.add(targets, targets)
    counted = sum(segment.category >= 0 for one in targets for segment in one["panoptic"][1])
    assert scores.right.sum() == scores.overlap.sum() == counted > 3
    assert not scores.wrong.any() and not scores.missed.any()


class TestOddInput:
    def test_nothing_at_all_has_no_quality(self):
        empty = image(np.zeros((4, 5), int), [])
        for scores in (quality(), quality().add([], []), quality().add([empty], [empty])):
            assert all(np.isnan(v) for v in scores.summary().values())

    def test_an_empty_prediction_and_an_empty_truth(self):
        empty, full = image(np.zeros((1, 2), int), []), image([[1, 1]], [0])
        assert quality().add([full], [empty]).missed.tolist() == [1, 0, 0]
        assert quality().add([empty], [full]).wrong.tolist() == [0, 0, 0]      # all void

    @pytest.mark.parametrize("record, words", [
        (image([[1, 2]], [0]), "segment 2 is in only one"),
        (image([[1, 1]], [0, 1]), "segment 2 is in only one"),
        (image([[1, 1]], [3]), "labels go from 0 to 2, got 3"),
        (image([[1, 1]], [-1]), "labels go from 0 to 2, got -1"),
        (image([[1., 1.]], [0]), "float64, expected integers"),
        (image([1, 1], [0]), r"shape \(2,\)"),
        (image([[1, 1, 1]], [0]), r"map of \(1, 3\), expected that of its target, \(1, 2\)"),
        ({"panoptic": np.ones((1, 2), int)}, "has no 'segment_ids'"),
        ({**image([[1, 1]], [0]), "labels": np.zeros(2, int)}, r"labels has shape \(2,\)"),
        ({**image([[1, 1]], [0, 0]), "segment_ids": [1, 1]}, "different from each other")])
    def test_wrong_maps_are_refused_in_one_sentence(self, record, words):
        with pytest.raises(ValueError, match=words):
            quality().add([image([[1, 1]], [0])], [record])

    def test_wrong_lists_and_things(self):
        with pytest.raises(ValueError, match="got 1 targets and 0 predictions"):
            quality().add([image([[1]], [0])], [])
        with pytest.raises(ValueError, match="expected a bool for each of 3 classes"):
            metrics.PanopticQuality(NAMES, [1, 0])
        with pytest.raises(ValueError, match="of the classes"):
            quality().merge(metrics.PanopticQuality(("a",), [True]))
