"""What exactly is wrong with a detection: a number like AP does not say. Lecture: M2.

Hoiem, Chodpathumwan & Dai 2012, "Diagnosing error in object detectors"; duplicates are told apart
from badly placed boxes, as Bolya et al. 2020 (TIDE) have them.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinyvision.ops import box_iou

RIGHT, TWICE, OFF, WRONG_CLASS, NOTHING = "right", "twice", "off", "wrong class", "nothing there"
NEAR = 0.1                             # a box that overlaps less meant nothing in particular


class Judgement(NamedTuple):
    """words: (D,) one for every detection; missed: bool (M,), the true objects that none takes."""
    words: np.ndarray
    missed: np.ndarray


def judge(target, found, iou=0.5) -> Judgement:
    """What is right and what is wrong in the detections of one image.

    right          it takes a true object of its class: the best scores choose first, each the free
                   object that it overlaps most, if by at least the threshold (COCO's rule)
    twice          all objects of its class that it fits are taken
    wrong class    it fits an object of another class
    off            an object of its class is there, but IoU is below the threshold (at least 0.1)
    nothing there  none of these

    Args:
        target: `boxes` (M, 4) and `labels` (M,); crowds are not known here.
        found: `boxes` (D, 4), `labels` (D,), `scores` (D,).
        iou: the threshold, above 0.
    """
    overlaps = box_iou(found["boxes"], target["boxes"])
    same = np.equal.outer(found["labels"], target["labels"])
    alike, other = np.where(same, overlaps, 0), np.where(same, 0, overlaps)
    taken = choices(alike, found["scores"], iou)
    words = np.select(
        [taken >= 0, alike.max(1, initial=0) >= iou, other.max(1, initial=0) >= iou,
         alike.max(1, initial=0) >= NEAR], [RIGHT, TWICE, WRONG_CLASS, OFF], NOTHING)
    return Judgement(words, ~np.isin(np.arange(len(target["labels"])), taken))


def choices(overlaps, scores, iou) -> np.ndarray:
    """(D,) the object that each detection takes, -1 for none; overlaps: (D, M), 0 for no right."""
    taken, free = np.full(len(overlaps), -1), overlaps.copy()
    for d in np.argsort(-np.asarray(scores), kind="stable"):
        if free[d].max(initial=0) >= iou:
            taken[d] = free[d].argmax()
            free[:, taken[d]] = 0
    return taken
