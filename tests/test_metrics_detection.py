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
