"""Average precision as PASCAL VOC has it: eleven points (2007), or the area (from 2010 on).

A detection is right if the true box of its class that it overlaps most has an IoU with it of at
least 0.5 and was not found before: the second box on one object is wrong. Objects marked
`difficult` need not be found, and nobody is punished for finding them. Lecture: M2; Everingham et
al. 2010, "The PASCAL VOC challenge", 4.2; the devkit's VOCevaldet and VOCap.

Beside COCO's rules (`coco_match`): there, a detection whose best object is taken may still choose
another one, and objects differ by size.
"""
from __future__ import annotations

import numpy as np

from tinyvision.metrics import records
from tinyvision.metrics.coco_ap import envelope, interpolated
from tinyvision.metrics.coco_match import HIT, IGNORED, MISS
from tinyvision.metrics.segmentation import _mean
from tinyvision.metrics.verdicts import Detections
from tinyvision.ops import box_iou

ELEVEN = np.arange(11) / 10      # 3 / 10 is exactly a recall of 3 in 10; 3 * 0.1 is more


def voc_ap(recall, precision, eleven_point: bool = False) -> float:
    """The average precision of one class from its curve; 0 without detections, NaN without truth.

    Args:
        recall, precision: (D,) after each detection, best scores first.
        eleven_point: the mean of the envelope at recalls 0, 0.1, ..., 1 (VOC 2007), in place of its
            area (from 2010 on).

    Raises:
        ValueError: not two sequences of one length, or a recall that falls.
    """
    recall, precision = (np.asarray(values, np.float64) for values in (recall, precision))
    if recall.ndim != 1 or recall.shape != precision.shape or (np.diff(recall) < 0).any():
        raise ValueError(f"voc_ap: recall has shape {recall.shape} and precision "
                         f"{precision.shape}, expected (D,) each, and a recall that never falls")
    if np.isnan(recall).any():
        return float("nan")
    if eleven_point:
        return float(interpolated(recall, precision, ELEVEN).mean())
    return float(np.diff(recall, prepend=0) @ envelope(precision))


class VocAP(Detections):
    """Mean average precision by VOC's rules. Adds up over batches.

    Args:
        names: of the classes, in the order of their labels.
        iou: a detection that overlaps a true box by so much has found it.
        eleven_point: as in `voc_ap`.

    Targets have boxes, labels and (False if not there) difficult.
    """

    def __init__(self, names, iou: float = 0.5, eleven_point: bool = False):
        super().__init__(names, (("boxes",), ("boxes",)), ("all",), (iou,))
        self.eleven_point = eleven_point

    def setting(self):
        return *super().setting(), self.eleven_point

    def _true(self, where, target):
        true, rows = super()._true(where, target), len(target["labels"])
        difficult = target.get("difficult", np.zeros(rows, bool))
        return {**true, "difficult": records.column(where, "difficult", difficult, rows)}

    def judge(self, true, found):
        """By VOC's rules, see above."""
        verdicts, difficult = np.full(len(found["scores"]), MISS, np.int8), true["difficult"]
        if len(verdicts) and len(difficult):
            overlaps = box_iou(found["boxes"], true["boxes"])
            nearest, near = overlaps.argmax(1), overlaps.max(1) >= self.thresholds[0]
            verdicts[near & difficult[nearest]] = IGNORED
            right = np.flatnonzero(near & ~difficult[nearest])
            verdicts[right[np.unique(nearest[right], return_index=True)[1]]] = HIT
        return verdicts[None, None], (~difficult).sum()

    def precision_recall(self, label, iou=None):
        """The curve of a class, as in `DetectionAP.precision_recall`, at the one threshold."""
        return super().precision_recall(label, self.thresholds[0] if iou is None else iou)

    def per_class(self) -> dict[str, float]:
        """Average precision of every class by name; NaN where it has no truth."""
        curves = [self.precision_recall(label) for label in range(len(self.names))]
        values = [voc_ap(curve.recall, curve.precision, self.eleven_point) for curve in curves]
        there = self.positives[:, 0] > 0
        return dict(zip(self.names, np.where(there, values, np.nan).tolist()))

    def summary(self) -> dict[str, float]:
        """{"mAP": the mean over the classes with truth}; NaN where none has."""
        return {"mAP": _mean(np.array([*self.per_class().values()]))}
