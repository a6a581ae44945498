"""Panoptic quality: every pixel has one segment, of a thing or of stuff. Lecture: M3; Kirillov et
al. 2019, "Panoptic segmentation", section 4.

    PQ = sum of IoU(p, g) over matched / (TP + FP / 2 + FN / 2) = SQ x RQ
    SQ = sum of IoU(p, g) over matched / TP          how well what was found fits
    RQ = TP / (TP + FP / 2 + FN / 2)                 the F1 of finding

A predicted segment p and a true one g of one class match if their IoU exceeds 1/2. Segments do not
overlap, so that none can have two matches: nothing has to be assigned, and no score is needed.

Void pixels of the truth (no segment, or one of label -1) are taken out of every p before its IoU.
A crowd is never matched nor missed. An unmatched p of which more than half lies on void and crowds
of its class is not counted as wrong.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinyvision.metrics import records
from tinyvision.metrics.segmentation import _mean, _ratio


class Segments(NamedTuple):
    """What is known of an image: places (H, W), 0 where there is no segment, k + 1 on segment k;
    labels (M,) and crowd (M,)."""
    places: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray


class PanopticQuality:
    """PQ, SQ and RQ of every class, and their means. Adds up over batches.

    Args:
        names: of the classes, in the order of their labels.
        things: a bool for every class: whether it is one of things, or of stuff.

    Attributes:
        overlap: (K,) the sum of the matched segments' IoU so far; right, wrong, missed: (K,)
            segments matched, predicted in vain, and not found.
    """

    def __init__(self, names, things):
        self.names, self.things = tuple(names), np.asarray(things)
        if self.things.dtype != bool or self.things.shape != (len(self.names),):
            raise ValueError(f"PanopticQuality: things has shape {self.things.shape} and dtype "
                             f"{self.things.dtype}, expected a bool for each of {len(self.names)} "
                             "classes")
        self.overlap = np.zeros(len(self.names))
        self.right, self.wrong, self.missed = np.zeros((3, len(self.names)), np.int64)

    def add(self, targets, predictions) -> PanopticQuality:
        """Count the segments of some images; returns itself.

        Args:
            targets, predictions: lists of dictionaries, one an image: panoptic int64 (H, W), the
                segment of every pixel, 0 none; segment_ids (M,), all that occur; labels (M,), and
                in targets, if there are any, iscrowd (M,). Or panoptic is the pair (map, segments)
                of the shapes.

        Raises:
            ValueError: a key is missing, shapes differ, a segment of the map is not listed or one
                that is listed has no pixel, or a label is out of range.
        """
        who = "PanopticQuality.add"
        checked = [(self._read(f"{who}: targets[{k}]", true, -1),
                    self._read(f"{who}: predictions[{k}]", found, 0))
                   for k, (true, found) in enumerate(records.pairs(who, targets, predictions))]
        for k, (true, found) in enumerate(checked):
            if true.places.shape != found.places.shape:
                raise ValueError(f"{who}: predictions[{k}] has a map of {found.places.shape}, "
                                 f"expected that of its target, {true.places.shape}")
        for true, found in checked:
            self._count(true, found)
        return self

    def _read(self, where, record, lowest):
        segments = read_segments(where, record)
        wrong = segments.labels[(segments.labels < lowest) | (segments.labels >= len(self.names))]
        if wrong.size:
            raise ValueError(f"{where}: labels go from {lowest} to {len(self.names) - 1}, got "
                             f"{wrong[0]}")
        return segments

    def _count(self, true, found):
        """The paper's 4.1 and 4.2 on a table of pixels."""
        true = without_void(true)
        shared = shared_pixels(true, found)
        void, inside, areas = shared[0, 1:], shared[1:, 1:], shared[:, 1:].sum(0)
        same = true.labels[:, None] == found.labels
        crowd = true.crowd[:, None]
        union = areas - void + shared[1:].sum(1, keepdims=True) - inside
        iou = inside / union
        matched = same & ~crowd & (iou > 0.5)
        excused = void + (inside * (same & crowd)).sum(0)
        np.add.at(self.overlap, true.labels, (iou * matched).sum(1))
        np.add.at(self.right, true.labels, matched.any(1))
        np.add.at(self.missed, true.labels, ~matched.any(1) & ~true.crowd)
        np.add.at(self.wrong, found.labels, ~matched.any(0) & (excused <= areas / 2))

    def merge(self, other) -> PanopticQuality:
        """Add what another one has counted; returns itself.

        Raises:
            ValueError: it counts other classes.
        """
        if type(other) is not type(self) or other.names != self.names:
            raise ValueError(f"PanopticQuality.merge: expected another one of the classes "
                             f"{self.names}, got {getattr(other, 'names', other)!r}")
        for name in ("overlap", "right", "wrong", "missed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    def pq(self) -> np.ndarray:
        """(K,) panoptic quality; NaN for a class that is neither in the truth nor predicted."""
        return self._of_segments(self.overlap)

    def rq(self) -> np.ndarray:
        """(K,) recognition quality."""
        return self._of_segments(self.right)

    def sq(self) -> np.ndarray:
        """(K,) segmentation quality; 0 where nothing matched, as in the authors' code."""
        return np.where(self.right > 0, self.overlap / np.maximum(self.right, 1), self.rq())

    def _of_segments(self, found):
        return _ratio(found, self.right + (self.wrong + self.missed) / 2)

    def per_class(self) -> dict[str, float]:
        """PQ of every class by name; NaN where it does not occur."""
        return dict(zip(self.names, self.pq().tolist()))

    def summary(self) -> dict[str, float]:
        """PQ, SQ and RQ, then PQ_things, ..., PQ_stuff, ...: means over the classes that occur (so
        that PQ is not the product of the means); NaN where none does."""
        figures = {"PQ": self.pq(), "SQ": self.sq(), "RQ": self.rq()}
        groups = {"": self.things | True, "_things": self.things, "_stuff": ~self.things}
        return {name + group: _mean(values[which]) for group, which in groups.items()
                for name, values in figures.items()}


# --- an image -------------------------------------------------------------------------------------
def read_segments(where, record) -> Segments:
    """The segments of a dictionary, checked; see `PanopticQuality.add`."""
    if isinstance(record.get("panoptic"), tuple):
        record = from_pair(*record["panoptic"])
    if missing := [k for k in ("panoptic", "segment_ids", "labels") if k not in record]:
        raise ValueError(f"{where} has no {missing[0]!r}, expected panoptic, segment_ids and "
                         "labels")
    ids = np.asarray(record["segment_ids"], np.int64)
    labels, crowd = (records.column(where, key, record.get(key, np.zeros(len(ids))), len(ids))
                     for key in ("labels", "iscrowd"))
    return Segments(places_of(where, np.asarray(record["panoptic"]), ids), labels, crowd)


def from_pair(panoptic, segments) -> dict:
    """The dictionary for a map and its list of `shapes_truth.Segment`."""
    return {"panoptic": panoptic, "segment_ids": [one.id for one in segments],
            "labels": np.array([one.category for one in segments], np.int64)}


def places_of(where, panoptic, ids) -> np.ndarray:
    """(H, W): the place in `ids`, counted from 1, of every pixel's segment; 0 where there is none.

    Raises:
        ValueError: the map is not integers (H, W), or has other segments than `ids` names.
    """
    if panoptic.ndim != 2 or panoptic.dtype.kind not in "iu":
        raise ValueError(f"{where}: panoptic has shape {panoptic.shape} and dtype "
                         f"{panoptic.dtype}, expected integers (H, W)")
    drawn, places = np.unique(panoptic, return_inverse=True)
    drawn = drawn.tolist()
    place = {0: 0, **{one: k for k, one in enumerate(ids.tolist(), 1)}}
    if wrong := sorted(set(drawn) - {0} ^ set(ids.tolist())):
        raise ValueError(f"{where}: segment {wrong[0]} is in only one of the two, panoptic and "
                         f"segment_ids ({len(wrong)} such segments)")
    if len(place) != 1 + len(ids):
        raise ValueError(f"{where}: segment_ids are different from each other and from 0, got "
                         f"{ids.tolist()}")
    return np.array([place[one] for one in drawn], np.int64)[places].reshape(panoptic.shape)


def without_void(segments) -> Segments:
    """The segments of a class alone; pixels of those with the label -1 become void."""
    real = segments.labels >= 0
    place = np.concatenate([[0], np.where(real, np.cumsum(real), 0)])
    return Segments(place[segments.places], segments.labels[real], segments.crowd[real])


def shared_pixels(true, found) -> np.ndarray:
    """(1 + G, 1 + D): how many pixels each true and each found segment have in common; row 0 is
    void, column 0 where nothing was predicted."""
    shape = 1 + len(true.labels), 1 + len(found.labels)
    pairs = true.places * shape[1] + found.places
    return np.bincount(pairs.ravel(), minlength=shape[0] * shape[1]).reshape(shape)
