"""Average precision of detections: boxes, masks or keypoints, with COCO's figures. Lecture: M2.

    scores = DetectionAP(("circle", "square"))
    for images, targets in loader:
        scores.add(targets, model.predict(images))
    scores.summary()["AP50"]

An image is judged when it is added (`coco_match`): what is kept is the score of every detection and
the verdict on it, at each of ten thresholds and for objects of each size. Curves and their areas
(`coco_ap`) are computed from all of these when they are asked for. Everything equals pycocotools.
"""
from __future__ import annotations

import numpy as np

from tinyvision.metrics import coco_match, records
from tinyvision.metrics.coco_ap import interpolated, recall_and_precision
from tinyvision.metrics.coco_match import HIT, IGNORED, MISS, SIZES, THRESHOLDS
from tinyvision.metrics.segmentation import _mean
from tinyvision.metrics.verdicts import Detections

KINDS = {"boxes": coco_match.Boxes, "masks": coco_match.Masks, "keypoints": coco_match.Keypoints}


class DetectionAP(Detections):
    """COCO's figures for boxes, masks or keypoints. Adds up over batches.

    Args:
        names: of the classes, in the order of their labels.
        iou_type: what is compared, "boxes", "masks" or "keypoints".
        sigmas: of the keypoints, (K,); COCO's 17 unless told otherwise.
        max_detections: numbers of detections in an image and class (the best ones) that recall is
            given for; the largest one is what everything else is computed from. COCO's are
            (1, 10, 100), and (20,) for keypoints.

    Targets need boxes (or masks, or keypoints and boxes) and labels. `area` decides an object's
    size, if it is there: else its box's (or mask's) does. `iscrowd` is False, if it is not there.

    Raises:
        ValueError: another `iou_type`, no whole positive `max_detections`.
    """

    def __init__(self, names, iou_type="boxes", sigmas=None, max_detections=None):
        if iou_type not in KINDS:
            raise ValueError(f"DetectionAP: iou_type is {iou_type!r}, expected one of "
                             f"{', '.join(KINDS)}")
        self.iou_type = iou_type
        self.kind = KINDS[iou_type](sigmas) if iou_type == "keypoints" else KINDS[iou_type]()
        self.max_detections = _numbers(max_detections or self.kind.most)
        super().__init__(names, (self.kind.true_needs, self.kind.found_needs), self.kind.sizes,
                         THRESHOLDS, self.max_detections[-1])

    def setting(self):
        return self.names, self.iou_type, self.kind.sigmas, self.max_detections

    def _true(self, where, target):
        true = super()._true(where, target)
        self.kind.check(where, true)
        extras = [key for key in ("area", "iscrowd") if key in target]
        given = {key: records.column(where, key, target[key], len(true["labels"]))
                 for key in extras}
        crowd = np.zeros(len(true["labels"]), bool)
        return {"area": self.kind.true_areas(true), "iscrowd": crowd, **true, **given}

    def _found(self, where, prediction):
        found = super()._found(where, prediction)
        self.kind.check(where, found)
        return found

    def judge(self, true, found):
        """By COCO's rules, see `coco_match`."""
        ranges = [SIZES[size] for size in self.sizes]
        ignored = self.kind.uncounted(true) | coco_match.outside(true["area"], ranges)
        overlaps = np.zeros((len(found["scores"]), len(true["area"])))
        if overlaps.size:
            overlaps = self.kind.overlaps(found, true)
        verdicts = coco_match.match(overlaps, THRESHOLDS, ignored, true["iscrowd"])
        elsewhere = coco_match.outside(self.kind.areas(found), ranges)[:, None]
        verdicts[(verdicts == MISS) & elsewhere] = IGNORED
        return verdicts, (~ignored).sum(1)

    def average_precision(self) -> np.ndarray:
        """(K, A, T) for every class, size and threshold; NaN where there is no truth of it."""
        values = []
        for label, positives in enumerate(self.positives):
            curve = recall_and_precision(self.judged(label).verdicts, positives[:, None])
            values.append(interpolated(*curve).mean(-1))
        return self._where_true(values)

    def recall(self, most=None) -> np.ndarray:
        """(K, A, T) the share of the true objects found by an image's best `most` detections of
        their class; NaN where there is no truth."""
        values = []
        for label, positives in enumerate(self.positives):
            _, places, verdicts = self.judged(label)
            among = places < (most or self.most)
            hits = (verdicts[:, :, among] == HIT).sum(-1)
            values.append(hits / np.maximum(positives, 1)[:, None])
        return self._where_true(values)

    def _where_true(self, values):
        shape = len(self.names), len(self.sizes), len(self.thresholds)
        return np.where(self.positives[:, :, None] > 0, np.reshape(values, shape), np.nan)

    def per_class(self) -> dict[str, float]:
        """AP at the threshold 0.5 of every class by name; NaN where it has no truth."""
        return dict(zip(self.names, self.average_precision()[:, 0, 0].tolist()))

    def summary(self) -> dict[str, float]:
        """COCO's twelve figures (ten for keypoints), by name, means over the classes with truth.

        AP (the mean over the thresholds 0.5, 0.55, ..., 0.95), AP50, AP75, AP_small, AP_medium,
        AP_large; AR_1, AR_10, AR_100 (recall, mean over the thresholds, by `max_detections`),
        AR_small, AR_medium, AR_large; for keypoints AR, AR50, AR75 and no small ones. NaN (where
        pycocotools has -1) if there is no truth of the kind.
        """
        precision, recall = self.average_precision(), self.recall()
        tables = {**_by_threshold("AP", precision), **_by_size("AP", precision, self.sizes)}
        if self.iou_type == "keypoints":
            tables.update(_by_threshold("AR", recall))
        else:
            tables.update({f"AR_{n}": self.recall(n)[:, 0] for n in self.max_detections})
        tables.update(_by_size("AR", recall, self.sizes))
        return {name: _mean(table) for name, table in tables.items()}


def _by_threshold(name, table):
    """{name: a part of the table (K, A, T)} for all thresholds, 0.5 and 0.75."""
    return {name: table[:, 0], f"{name}50": table[:, 0, 0], f"{name}75": table[:, 0, 5]}


def _by_size(name, table, sizes):
    """{name: a part of the table} for every size but "all"."""
    return {f"{name}_{size}": table[:, a] for a, size in enumerate(sizes) if a}


def _numbers(given):
    numbers = tuple(sorted(np.atleast_1d(given).tolist()))
    if not all(isinstance(n, int) and n > 0 for n in numbers):
        raise ValueError(f"DetectionAP: max_detections are whole positive numbers, got {given}")
    return numbers
