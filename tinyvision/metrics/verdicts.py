"""Verdicts on detections, kept class by class, and the curves of precision over recall they make.

Whoever judges (COCO's rules in `detection`, VOC's in `voc_ap`), the bookkeeping is the same.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinyvision.metrics import records
from tinyvision.metrics.coco_ap import recall_and_precision
from tinyvision.metrics.coco_match import IGNORED


class Judged(NamedTuple):
    """Detections of one class: scores (D,), their places in their image's order of scores (D,), and
    verdicts (A, T, D) for A ranges of sizes and T thresholds."""
    scores: np.ndarray
    places: np.ndarray
    verdicts: np.ndarray


class Curve(NamedTuple):
    """recall, precision and scores, each (D,): after each detection, best scores first."""
    recall: np.ndarray
    precision: np.ndarray
    scores: np.ndarray


class Detections:
    """Verdicts on detections, class by class; they add up over images. `judge` is a subclass's.

    Args:
        names: of the classes, in the order of their labels.
        needs: keys that are read of the targets, and of the predictions.
        sizes, thresholds: for which there are verdicts.
        most: detections that count in an image and class, from the best one on; None for all.
    """

    def __init__(self, names, needs, sizes, thresholds, most=None):
        self.names, self.needs, self.most = tuple(names), needs, most
        self.sizes, self.thresholds = sizes, np.asarray(thresholds, np.float64)
        self.positives = np.zeros((len(self.names), len(sizes)), np.int64)
        self._judged = [[] for _ in self.names]

    def add(self, targets, predictions):
        """Judge the predictions for some images; returns itself.

        Args:
            targets: a list of dictionaries, one an image; see `tinyvision.data.target`.
            predictions: as many: labels int64 (D,) from 0, scores (D,), boxes (D, 4), or masks
                bool (D, H, W), or keypoints (D, K, 3), whichever is looked at.

        Raises:
            ValueError: a key is missing, a shape is wrong, a label out of range, a score NaN.
        """
        who = f"{type(self).__name__}.add"
        checked = [(self._true(f"{who}: targets[{k}]", true),
                    self._found(f"{who}: predictions[{k}]", found))
                   for k, (true, found) in enumerate(records.pairs(who, targets, predictions))]
        for true, found in checked:
            for label in np.union1d(true["labels"], found["labels"]).tolist():
                self._count(label, records.of_class(true, label), records.of_class(found, label))
        return self

    def _true(self, where, target):
        return records.read(where, target, ("labels", *self.needs[0]), len(self.names))

    def _found(self, where, prediction):
        return records.read(where, prediction, ("labels", "scores", *self.needs[1]),
                            len(self.names))

    def _count(self, label, true, found):
        found = records.best_first(found, self.most)
        verdicts, positives = self.judge(true, found)
        self.positives[label] += positives
        self._judged[label].append(Judged(found["scores"], np.arange(len(found["scores"])),
                                          verdicts))

    def judge(self, true, found):
        """(verdicts (A, T, D), positives (A,)) for the objects of one class in one image; `found`
        has its best scores first."""
        raise NotImplementedError(f"{type(self).__name__}.judge")

    def merge(self, other):
        """Add what another one has counted, after one's own; returns itself.

        Raises:
            ValueError: it counts other classes, or otherwise.
        """
        if type(other) is not type(self) or other.setting() != self.setting():
            raise ValueError(f"{type(self).__name__}.merge: expected another one with the same "
                             f"classes and settings, {self.setting()}; got {other!r}")
        self.positives += other.positives
        for mine, theirs in zip(self._judged, other._judged):
            mine += theirs
        return self

    def setting(self) -> tuple:
        """What two of them must agree on to be merged."""
        return self.names, tuple(self.thresholds.tolist())

    def __repr__(self):
        return f"{type(self).__name__}{self.setting()}"

    def judged(self, label) -> Judged:
        """All detections of a class so far, best scores first."""
        parts = self._judged[label] or [self._none()]
        scores, places, verdicts = (np.concatenate(part, -1) for part in zip(*parts))
        order = records.by_score(scores)
        return Judged(scores[order], places[order], verdicts[:, :, order])

    def _none(self):
        shape = len(self.sizes), len(self.thresholds), 0
        return Judged(np.zeros(0), np.zeros(0, np.int64), np.zeros(shape, np.int8))

    def precision_recall(self, label, iou=0.5) -> Curve:
        """The curve of a class at one threshold, objects of all sizes; (0,) arrays without
        detections; recall is NaN without truth.

        Raises:
            ValueError: no such class, or a threshold that was not counted.
        """
        self._check_label(label)
        judged, positives = self.judged(label), self.positives[label, 0]
        verdicts = judged.verdicts[0, self._place(iou)]
        counted = verdicts != IGNORED
        recall, precision = recall_and_precision(verdicts[counted], positives)
        return Curve(np.where(positives, recall, np.nan), precision, judged.scores[counted])

    def _check_label(self, label):
        if not 0 <= label < len(self.names):
            raise ValueError(f"{type(self).__name__}: labels go from 0 to {len(self.names) - 1}, "
                             f"got {label}")

    def _place(self, iou):
        near = np.flatnonzero(np.abs(self.thresholds - iou) < 1e-6)
        if not near.size:
            raise ValueError(f"{type(self).__name__}: iou is {iou}, expected one of "
                             f"{', '.join(f'{t:g}' for t in self.thresholds)}")
        return near[0]
