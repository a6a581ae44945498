"""Average precision: worked numbers, and the same as pycocotools on random detections."""
import contextlib
import io

import numpy as np
import pytest

from tinyvision import metrics

NAMES = ("circle", "square", "triangle")
TWELVE = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR_1", "AR_10", "AR_100",
          "AR_small", "AR_medium", "AR_large")
TEN = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium",
       "AR_large")


# --- random truth and detections, and what pycocotools says ---------------------------------------
def random_boxes(rng, count, size):
    """Boxes with whole corners: many IoUs are exactly a threshold, many scores are equal."""
    low = rng.integers(0, size - 2, (count, 2))
    side = np.minimum(rng.choice([4, 10, 20, 40, 100, 150], (count, 2)), size - low)
    return np.concatenate([low, low + side], 1).astype(np.float32)


def near(rng, boxes, size):
    """The boxes, moved a little, and some more; corners stay in order."""
    moved = boxes + rng.choice([-4, -1, 0, 0, 1, 2], boxes.shape)
    found = np.concatenate([moved, moved[:2] + 1, random_boxes(rng, rng.integers(0, 4), size)])
    found = np.clip(found, 0, size)
    found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
    return found.astype(np.float32)


def filled(boxes, size):
    """Ellipses in boxes, bool (M, size, size)."""
    y, x = np.mgrid[:size, :size] + 0.5
    x0, y0, x1, y1 = boxes.T[:, :, None, None]
    return ((2 * x - x0 - x1) / (x1 - x0)) ** 2 + ((2 * y - y0 - y1) / (y1 - y0)) ** 2 <= 1


def random_points(rng, boxes, K):
    spots = boxes[:, None, :2] + rng.random((len(boxes), K, 2)) * (boxes[:, 2:] - boxes[:, :2]
                                                                   )[:, None]
    return np.concatenate([spots, rng.integers(0, 3, (len(boxes), K, 1))], 2).astype(np.float32)


def random_images(seed, iou_type, images=6, size=200, K=17):
    rng = np.random.default_rng(seed)
    size = 120 if iou_type == "masks" else size
    return zip(*(random_image(rng, iou_type, size, K) for _ in range(images)))


def random_image(rng, iou_type, size, K):
    count = rng.integers(0, 7)
    boxes, labels = random_boxes(rng, count, size), rng.integers(0, 2 + rng.integers(2), count)
    found = near(rng, boxes, size)
    said = np.where(rng.random(len(found)) < 0.8, np.resize(labels if count else 0, len(found)),
                    rng.integers(0, 3, len(found)))
    true = {"boxes": boxes, "labels": labels, "iscrowd": rng.random(count) < 0.2,
            "area": (boxes[:, 2:] - boxes[:, :2]).prod(1) * rng.choice([0.5, 1], count)}
    prediction = {"boxes": found, "labels": said,
                  "scores": rng.integers(0, 12, len(found)).astype(np.float32) / 12}
    if iou_type == "masks":
        true["masks"], prediction["masks"] = filled(boxes, size), filled(found, size)
    if iou_type == "keypoints":
        true["keypoints"] = random_points(rng, boxes, K) * (rng.random((count, 1, 1)) < 0.8)
        first = true["keypoints"][:len(found)]
        prediction["keypoints"] = random_points(rng, found, K)
        prediction["keypoints"][:len(first), :, :2] = first[..., :2] + rng.normal(
            0, 4, first[..., :2].shape)
    return true, prediction


def coco_entry(record, k, row, number, iou_type):
    """One annotation or result in COCO's format."""
    from pycocotools import mask
    x0, y0, x1, y1 = record["boxes"][row].tolist()
    entry = {"id": number, "image_id": k + 1, "category_id": int(record["labels"][row]) + 1}
    if "scores" in record:
        entry["score"] = float(record["scores"][row])
    else:
        entry.update(area=float(record["area"][row]), iscrowd=int(record["iscrowd"][row]))
    if iou_type != "keypoints" or "scores" not in record:
        entry["bbox"] = [x0, y0, x1 - x0, y1 - y0]
    if iou_type == "masks":
        entry["segmentation"] = mask.encode(np.asfortranarray(record["masks"][row], np.uint8))
        entry.pop("bbox")
    if iou_type == "keypoints":
        points = record["keypoints"][row].astype(np.float64) - [0.5, 0.5, 0]
        entry.update(keypoints=points.ravel().tolist(),
                     num_keypoints=int((points[:, 2] > 0).sum()))
    return entry


def entries(records, iou_type):
    rows = [(one, k, row) for k, one in enumerate(records) for row in range(len(one["labels"]))]
    return [coco_entry(*row, number, iou_type) for number, row in enumerate(rows, 1)]


def peer(truth, found, iou_type, sigmas=None):
    """pycocotools' COCOeval, run."""
    coco, evaluation = (pytest.importorskip(f"pycocotools.{name}", reason="needs pycocotools")
                        for name in ("coco", "cocoeval"))
    with contextlib.redirect_stdout(io.StringIO()):
        api = coco.COCO()
        images = [{"id": k + 1, "height": 120, "width": 120} for k in range(len(truth))]
        api.dataset = {"images": images, "info": {},
                       "annotations": entries(truth, iou_type),
                       "categories": [{"id": k + 1, "name": n} for k, n in enumerate(NAMES)]}
        api.createIndex()
        results = api.loadRes(entries(found, iou_type))
        kind = {"boxes": "bbox", "masks": "segm"}.get(iou_type, iou_type)
        judge = evaluation.COCOeval(api, results, kind)
        if sigmas is not None:
            judge.params.kpt_oks_sigmas = np.asarray(sigmas)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge


def values(figures):
    return np.array([-1 if np.isnan(v) else v for v in figures.values()])


@pytest.mark.parametrize("iou_type", ["boxes", "masks", "keypoints"])
@pytest.mark.parametrize("seed", range(8))
def test_the_figures_are_pycocotools(iou_type, seed):
    truth, found = random_images(seed, iou_type)
    scores = metrics.DetectionAP(NAMES, iou_type).add(truth, found)
    judge = peer(truth, found, iou_type)
    figures = scores.summary()
    assert tuple(figures) == (TEN if iou_type == "keypoints" else TWELVE)
    np.testing.assert_allclose(values(figures), judge.stats, atol=1e-12)
    classes = judge.eval["precision"][0, :, :, 0, -1].mean(0)
    np.testing.assert_allclose(values(scores.per_class()), classes, atol=1e-12)


def test_of_each_object_s_own_size_and_keypoints_of_another_number():
    """Without `area` and `iscrowd`, and with five keypoints."""
    sigmas = np.array([0.03, 0.05, 0.1, 0.08, 0.06])
    truth, found = random_images(3, "keypoints", K=5)
    for one in truth:
        one.update(area=(one["boxes"][:, 2:] - one["boxes"][:, :2]).prod(1),
                   iscrowd=np.zeros(len(one["labels"]), bool))
    judge = peer(truth, found, "keypoints", sigmas)
    bare = [{k: v for k, v in one.items() if k not in ("area", "iscrowd")} for one in truth]
    scores = metrics.DetectionAP(NAMES, "keypoints", sigmas=sigmas).add(bare, found)
    np.testing.assert_allclose(values(scores.summary()), judge.stats, atol=1e-12)
    truth, found = random_images(3, "masks")
    for one in truth:
        one.update(area=one["masks"].sum((1, 2)), iscrowd=np.zeros(len(one["labels"]), bool))
    bare = [{k: one[k] for k in ("masks", "labels")} for one in truth]
    scores = metrics.DetectionAP(NAMES, "masks").add(bare, found)
    np.testing.assert_allclose(values(scores.summary()), peer(truth, found, "masks").stats,
                               atol=1e-12)


def test_more_detections_than_count():
    """A hundred and thirty boxes of one class in an image, and the limit at another number."""
    rng = np.random.default_rng(0)
    true = {"boxes": random_boxes(rng, 30, 200), "labels": np.zeros(30, int),
            "iscrowd": np.zeros(30, bool), "area": np.full(30, 500.)}
    boxes = np.concatenate([true["boxes"], random_boxes(rng, 100, 200)])
    found = {"boxes": boxes, "labels": np.zeros(130, int), "scores": rng.random(130)}
    figures = metrics.DetectionAP(NAMES).add([true], [found]).summary()
    np.testing.assert_allclose(values(figures), peer([true], [found], "boxes").stats, atol=1e-12)
    limited = metrics.DetectionAP(NAMES, max_detections=(7, 1)).add([true], [found])
    best = {k: v[np.argsort(-found["scores"])[:7]] for k, v in found.items()}
    alone = metrics.DetectionAP(NAMES).add([true], [best])
    assert limited.summary()["AP"] == alone.summary()["AP"]
    assert [name for name in limited.summary() if "AR_" in name][:2] == ["AR_1", "AR_7"]


def test_of_two_equal_overlaps_the_last_one_is_taken():
    """The first detection lies midway between both objects, the second one only on the last."""
    boxes = np.array([[0, 0, 10, 10], [2, 0, 12, 10]], np.float32)
    true = {"boxes": boxes, "labels": np.zeros(2, int), "iscrowd": np.zeros(2, bool),
            "area": np.full(2, 100.)}
    found = {"boxes": np.array([[1, 0, 11, 10], [4, 0, 14, 10]], np.float32),
             "labels": np.zeros(2, int), "scores": np.array([2, 1])}
    figures = metrics.DetectionAP(NAMES).add([true], [found]).summary()
    np.testing.assert_allclose(values(figures), peer([true], [found], "boxes").stats, atol=1e-12)
    assert figures["AR_100"] == pytest.approx(7 / 10 / 2)    # IoU 9/11: 0.5 to 0.8; half of them


def test_an_object_on_the_border_of_two_sizes_is_of_both():
    boxes = np.array([[0, 0, 32, 32], [50, 0, 146, 96]], np.float32)
    true = {"boxes": boxes, "labels": np.zeros(2, int), "iscrowd": np.zeros(2, bool),
            "area": np.array([32. ** 2, 96. ** 2])}
    found = {"boxes": boxes[:1], "labels": np.zeros(1, int), "scores": np.ones(1)}
    figures = metrics.DetectionAP(NAMES).add([true], [found]).summary()
    np.testing.assert_allclose(values(figures), peer([true], [found], "boxes").stats, atol=1e-12)
    assert [figures[f"AR_{size}"] for size in ("small", "medium", "large")] == [1, 1 / 2, 0]


def test_batches_and_merged_parts_add_up():
    truth, found = random_images(5, "boxes", images=9)
    whole, pieces = metrics.DetectionAP(NAMES).add(truth, found), metrics.DetectionAP(NAMES)
    for k in range(9):
        pieces.add(truth[k:k + 1], found[k:k + 1])
    first, last = (metrics.DetectionAP(NAMES).add(truth[part], found[part])
                   for part in (slice(4), slice(4, 9)))
    for other in (pieces, first.merge(last)):
        np.testing.assert_equal(other.summary(), whole.summary())
    with pytest.raises(ValueError, match="same classes and settings"):
        whole.merge(metrics.DetectionAP(NAMES, "masks"))


# --- by hand --------------------------------------------------------------------------------------
def one_class(hits, objects=4):
    """(targets, predictions): an image with objects in a row, and a detection for every entry of
    `hits`: the object that it is exactly on, or None."""
    boxes = np.array([[20 * k, 0, 20 * k + 10, 10] for k in range(objects)], np.float32)
    spots = [boxes[hit] if hit is not None else [0, 50 + k, 10, 55 + k]
             for k, hit in enumerate(hits)]
    found = {"boxes": np.array(spots, np.float32).reshape(-1, 4),
             "labels": np.zeros(len(hits), int), "scores": -np.arange(len(hits))}
    return [{"boxes": boxes.reshape(-1, 4), "labels": np.zeros(objects, int)}], [found]


RIGHT = [0, None, 1, 2, None]            # right, wrong, right, right, wrong; one is not found


class TestByHand:
    def test_the_curve(self):
        curve = metrics.DetectionAP(["it"]).add(*one_class(RIGHT)).precision_recall(0)
        np.testing.assert_allclose(curve.recall, [1 / 4, 1 / 4, 2 / 4, 3 / 4, 3 / 4])
        np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3, 3 / 4, 3 / 5])
        assert curve.scores.tolist() == [0, -1, -2, -3, -4]

    def test_eleven_points_the_area_and_101_points(self):
        """The envelope is 1 up to recall 1/4 and 3/4 up to 3/4."""
        recall, precision, _ = metrics.VocAP(["it"]).add(*one_class(RIGHT)).precision_recall(0)
        assert metrics.voc_ap(recall, precision) == 1 / 4 * 1 + 1 / 2 * 3 / 4
        assert metrics.voc_ap(recall, precision, True) == pytest.approx((3 * 1 + 5 * 3 / 4) / 11)
        coco = metrics.DetectionAP(["it"]).add(*one_class(RIGHT))
        assert coco.per_class() == {"it": pytest.approx((26 * 1 + 50 * 3 / 4) / 101)}

    def test_eleven_points_count_a_recall_of_exactly_three_tenths(self):
        assert metrics.voc_ap([1 / 10, 2 / 10, 3 / 10], [1, 1, 1], True) == pytest.approx(4 / 11)

    def test_boxes_of_low_iou_are_wrong_and_not_dropped(self):
        """The lecture drops them before the curve; then AP would be 1 here."""
        for scores in (metrics.DetectionAP(["it"]), metrics.VocAP(["it"])):
            scores.add(*one_class([None, 0], objects=1))
            assert scores.per_class()["it"] == 1 / 2

    def test_a_threshold_is_reached_by_its_own_iou(self):
        """IoU 1/2: 10 of 20 pixels."""
        true, found = ([{"boxes": [box], "labels": [0], "scores": [1]}]
                       for box in ([0, 0, 10, 2], [0, 0, 10, 1]))
        for scores in (metrics.DetectionAP(["it"]), metrics.VocAP(["it"])):
            assert scores.add(true, found).per_class()["it"] == 1
        assert metrics.VocAP(["it"], iou=0.51).add(true, found).summary() == {"mAP": 0}

    def test_a_second_box_on_one_object_is_wrong_even_where_coco_gives_it_another(self):
        true = {"boxes": [[0, 0, 10, 10], [0, 0, 10, 9]], "labels": [0, 0]}
        found = {"boxes": [[0, 0, 10, 10]] * 2, "labels": [0, 0], "scores": [2, 1]}
        assert metrics.DetectionAP(["it"]).add([true], [found]).per_class()["it"] == 1
        assert metrics.VocAP(["it"]).add([true], [found]).per_class()["it"] == 1 / 2

    def test_oks_of_one_keypoint(self):
        """Distance 3, area 90, sigma 1/2: exp(-9 / (2 * 90 * 1))."""
        true, found = np.array([[[5, 5, 2.]]]), np.array([[[5, 8, 1.]]])
        similar = metrics.oks(found, true, np.array([90.]), np.zeros((1, 4)), np.array([0.5]))
        np.testing.assert_allclose(similar, [[np.exp(-1 / 20)]])


    def test_oks_of_an_object_without_keypoints_is_of_its_box_made_three_times_as_wide(self):
        """The box from -10 to 20; x 23.5 is the middle of COCO's pixel 23: exp(-9 / 180)."""
        found, true = np.array([[[23.5, 5, 2.], [-10, 20, 2]]]), np.zeros((1, 2, 3))
        similar = metrics.oks(found, true, np.array([90.]), np.array([[0, 0, 10, 10.]]),
                              np.array([0.5, 0.5]))
        np.testing.assert_allclose(similar, [[(np.exp(-1 / 20) + np.exp(-1 / 720)) / 2]])


# --- VOC ------------------------------------------------------------------------------------------
def devkit(truth, found, label, iou):
    """VOCevaldet, detection after detection: recall and precision of one class."""
    every = [(score, k, box) for k, one in enumerate(found) for box, score, name in zip(
        one["boxes"], one["scores"], one["labels"]) if name == label]
    every.sort(key=lambda one: -one[0])
    taken, rights, wrongs = set(), [], []
    for _, k, box in every:
        there = [j for j, name in enumerate(truth[k]["labels"]) if name == label]
        overlaps = [slow_iou(box, truth[k]["boxes"][j]) for j in there]
        j = there[int(np.argmax(overlaps))] if there else None
        near = j is not None and max(overlaps) >= iou
        if near and truth[k]["difficult"][j]:
            continue
        rights.append(near and (k, j) not in taken)
        wrongs.append(not rights[-1])
        taken |= {(k, j)} if near else set()
    count = sum(int((~one["difficult"][one["labels"] == label]).sum()) for one in truth)
    right, wrong = np.cumsum(rights), np.cumsum(wrongs)
    return right / count, right / np.maximum(right + wrong, 1), count


def slow_iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    area = [float(x1 - x0) * float(y1 - y0) for x0, y0, x1, y1 in (a, b)]
    both = float(w) * float(h) if w > 0 and h > 0 else 0
    return both / (sum(area) - both)


@pytest.mark.parametrize("seed", range(6))
def test_voc_s_rules_detection_after_detection(seed):
    truth, found = random_images(seed, "boxes")
    for one in truth:
        one["difficult"] = one["iscrowd"]
    for eleven in (False, True):
        scores = metrics.VocAP(NAMES, 0.5, eleven).add(truth, found)
        for label, name in enumerate(NAMES):
            if not scores.positives[label]:
                assert np.isnan(scores.per_class()[name])
                continue
            recall, precision, count = devkit(truth, found, label, 0.5)
            curve = scores.precision_recall(label)
            np.testing.assert_allclose(curve.recall, recall)
            np.testing.assert_allclose(curve.precision, precision)
            heights = [max([p for r, p in zip(recall, precision) if r >= t / 10], default=0)
                       for t in range(11)]
            edges, area = [0, *recall], 0
            for k, r in enumerate(recall):
                area += (r - edges[k]) * max(precision[k:])
            assert scores.per_class()[name] == pytest.approx(np.mean(heights) if eleven else area)
            assert count == scores.positives[label, 0]


def test_voc_s_objects_are_difficult_only_where_it_is_said():
    targets, predictions = one_class([0, 1, 2])
    assert metrics.VocAP(["it"]).add(targets, predictions).per_class() == {"it": 3 / 4}
    targets[0]["difficult"] = np.array([True, False, False, True])
    assert metrics.VocAP(["it"]).add(targets, predictions).per_class() == {"it": 1}


# --- odd input ------------------------------------------------------------------------------------
NOTHING = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
KINDS = {"boxes": {}, "masks": {"masks": np.zeros((0, 8, 8), bool)},
         "keypoints": {"keypoints": np.zeros((0, 17, 3), np.float32)}}


@pytest.mark.parametrize("iou_type", KINDS)
def test_no_detections_and_no_truth(iou_type):
    nothing = {**NOTHING, **KINDS[iou_type], "scores": np.zeros(0, np.float32)}
    unseen, said = metrics.DetectionAP(NAMES, iou_type), metrics.DetectionAP(NAMES, iou_type)
    for scores in (unseen, unseen.add([], []), unseen.add([nothing], [nothing])):
        assert all(np.isnan(v) for v in scores.summary().values())
        assert all(len(values) == 0 for values in scores.precision_recall(1))
    (true, *_), (found, *_) = random_images(1, iou_type)
    true["iscrowd"][:] = False
    said.add([true], [nothing])
    here = [NAMES[k] for k in np.unique(true["labels"])]
    assert said.summary()["AP"] == 0
    assert {name for name, ap in said.per_class().items() if ap == 0} <= set(here)
    alone = metrics.DetectionAP(NAMES, iou_type).add([nothing], [found])
    assert all(np.isnan(v) for v in alone.summary().values())
    assert np.isnan(alone.precision_recall(int(found["labels"][0])).recall).all()


def test_lists_and_tensors_are_taken_as_arrays_are():
    from tinyvision import Tensor
    targets, predictions = one_class(RIGHT)
    expected = metrics.DetectionAP(["it"]).add(targets, predictions).summary()
    for kind in (np.ndarray.tolist, Tensor):
        given = {k: kind(v) if k != "labels" else v for k, v in predictions[0].items()}
        assert values(metrics.DetectionAP(["it"]).add(targets, [given]).summary()).tolist() == \
            values(expected).tolist()


@pytest.mark.parametrize("box", [[0, 0, 0, 0], [5, 5, 1, 1], [np.nan] * 4, [0, 0, np.inf, np.inf],
                                 [-np.inf, 0, np.inf, 9], [0, 0, 3e38, 3e38]])
def test_boxes_that_are_none_are_wrong(box):
    targets, predictions = one_class([0], objects=1)
    found = {"boxes": np.array([box, [0, 0, 10, 10]], np.float32), "labels": np.zeros(2, int),
             "scores": np.array([2, 1], np.float32)}
    for scores in (metrics.DetectionAP(["it"]), metrics.VocAP(["it"])):
        assert scores.add(targets, [found]).per_class()["it"] in (1 / 2, 1)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 3e38])
def test_keypoints_that_are_none_are_wrong(wrong):
    true = {"boxes": [[0, 0, 10, 10]], "labels": [0], "keypoints": np.full((1, 17, 3), 2.)}
    found = {"labels": [0, 0], "scores": [2, 1], "keypoints": np.full((2, 17, 3), 2.)}
    found["keypoints"][0, 3:] = wrong
    scores = metrics.DetectionAP(["it"], "keypoints").add([true], [found])
    assert scores.per_class()["it"] in (1 / 2, 1)            # 1 where it is of no size at all


@pytest.mark.parametrize("change, words", [
    ({"boxes": np.zeros((2, 3))}, r"predictions\[0\]: boxes has shape \(2, 3\), expected \(2, 4\)"),
    ({"boxes": np.zeros((3, 4))}, r"expected \(2, 4\)"),
    ({"scores": np.zeros((2, 1))}, r"scores has shape \(2, 1\), expected \(2,\)"),
    ({"scores": np.array([0.5, np.nan])}, "scores has NaN"),
    ({"labels": np.array([0, 3])}, "labels go from 0 to 2, got 3"),
    ({"labels": np.array([-1, 0])}, "labels go from 0 to 2, got -1")])
def test_wrong_predictions_are_refused_in_one_sentence(change, words):
    targets, predictions = one_class([0, 1])
    scores = metrics.DetectionAP(NAMES)
    with pytest.raises(ValueError, match=words):
        scores.add(targets, [{**predictions[0], **change}])
    assert not scores.positives.any()                        # nothing of it was counted


def test_other_wrong_arguments():
    targets, predictions = one_class([0, 1])
    new = metrics.DetectionAP
    points, rough = {"keypoints": np.zeros((2, 5, 3))}, {"masks": np.zeros((2, 4, 4))}
    seen = {"labels": np.zeros(2, int), "scores": np.ones(2)}
    for call, words in (
            (lambda: new(NAMES, "mask"), "expected one of boxes, masks, keypoints"),
            (lambda: new(NAMES, max_detections=(0, 10)), "whole positive numbers"),
            (lambda: new(NAMES).add(targets, []), "got 1 targets and 0 predictions"),
            (lambda: new(NAMES).add(targets[0], predictions[0]), "got a dict targets"),
            (lambda: new(NAMES).add(targets, targets), "has no 'scores', expected labels, scores"),
            (lambda: new(NAMES, "masks").add(targets, predictions), "has no 'masks'"),
            (lambda: new(NAMES, "masks").add([{**NOTHING, **KINDS["masks"]}],
                                             [{**predictions[0], **rough}]), "expected bool"),
            (lambda: new(NAMES, "keypoints").add([{**NOTHING, **KINDS["keypoints"]}],
                                                 [{**predictions[0], **points}]), "17 sigmas"),
            (lambda: new(NAMES).precision_recall(3), "labels go from 0 to 2, got 3"),
            (lambda: new(NAMES).precision_recall(0, 0.52), "iou is 0.52, expected one of 0.5,"),
            (lambda: new(NAMES, "keypoints", sigmas=[0.1, 0]), "sigmas are positive numbers"),
            (lambda: new(NAMES, "masks").add([{**seen, "masks": np.ones((2, 4, 5), bool)}],
                                             [{**seen, "masks": np.ones((2, 4, 4), bool)}]),
             r"masks of \(4, 4\) were predicted, expected the size of the target's, \(4, 5\)"),
            (lambda: metrics.voc_ap([0.5, 0.1], [1, 1]), "never falls"),
            (lambda: metrics.voc_ap([0.5], [1, 1]), r"\(1,\) and precision \(2,\)")):
        with pytest.raises(ValueError, match=words):
            call()


# --- pictures -------------------------------------------------------------------------------------
class TestPictures:
    CURVE = [1 / 4, 1 / 4, 2 / 4, 3 / 4, 3 / 4], [1, 1 / 2, 2 / 3, 3 / 4, 3 / 5]

    @pytest.fixture(autouse=True)
    def draw(self):
        pytest.importorskip("matplotlib", reason="pictures need matplotlib")
        from tinyvision import draw
        return draw

    def test_the_envelope_and_the_area(self, draw):
        axes, = draw.precision_recall(self.CURVE, title="circle").axes
        envelope, saw = axes.get_lines()
        assert axes.get_title(loc="left") == "circle: AP = 0.625 (area)"
        assert envelope.get_xdata().tolist() == [0, *self.CURVE[0], 0.75]
        assert envelope.get_ydata().tolist() == [1, 1, 0.75, 0.75, 0.75, 0.6, 0]
        assert saw.get_ydata().tolist() == self.CURVE[1] and len(axes.collections) == 1

    def test_the_eleven_points(self, draw):
        axes, = draw.precision_recall(self.CURVE, eleven_point=True).axes
        points = axes.get_lines()[0]
        assert points.get_ydata().tolist() == [1] * 3 + [0.75] * 5 + [0] * 3
        assert axes.get_title(loc="left") == "AP = 0.614 (11 points)"

    def test_several_classes_best_first(self, draw):
        curves = {"worse": self.CURVE, "never": ([], []), "absent": ([np.nan], [0]),
                  "best": ([0.5, 1], [1, 1])}
        axes, = draw.precision_recalls(curves).axes
        names = [text.get_text() for text in axes.get_legend().get_texts()]
        assert names == ["best  1.000", "worse  0.625", "never  0.000", "absent  no truth"]
        with pytest.raises(ValueError, match="a curve is"):
            draw.precision_recalls({"a": ([1], [1, 2])})
