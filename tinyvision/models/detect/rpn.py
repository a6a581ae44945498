"""RPN: a small network that slides over the maps and proposes where objects are.

Ren, He, Girshick & Sun 2015, "Faster R-CNN", figure 3 and section 3.1; lectures DSI, GT, DLCV, KE,
UW. At every place A anchors:

    conv 3x3 - relu  ->  conv 1x1 to A scores (object or not)
                     ->  conv 1x1 to 4A codes (where exactly)

What it proposes are the best boxes, their doubles suppressed. Names are torchvision's.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision import boxes, ops
from tinyvision.device import generator
from tinyvision.models.detect.dense import anchored, batch_targets, begin_small, per_anchor
from tinyvision.nn import Conv2d, Module, ReLU, Sequential
from tinyvision.ops.move import beside

BETA = 1 / 9                           # where smooth L1 turns from a square into a line


@dataclass(frozen=True)
class Proposing:
    """The numbers of section 3.1 and 3.3; how many proposals, as torchvision has it (the paper: 300
    at inference).

    Attributes:
        high, low: IoU from which an anchor is positive, under which it is background.
        force: an object's best anchors are positive whatever their IoU.
        sampled, positive_fraction: anchors an image that the loss is taken over.
        before, after: proposals a map before NMS, and an image after it, at inference.
        before_training, after_training: the same in training.
        nms_thresh: of NMS, map by map.
    """
    high: float = 0.7
    low: float = 0.3
    force: bool = True
    sampled: int = 256
    positive_fraction: float = 0.5
    before: int = 1000
    after: int = 1000
    before_training: int = 2000
    after_training: int = 2000
    nms_thresh: float = 0.7


class RPNHead(Module):
    """Scores and codes of A anchors at every place."""

    def __init__(self, channels, anchors):
        self.conv = Sequential(Sequential(Conv2d(channels, channels, 3, padding=1), ReLU()))
        self.cls_logits = Conv2d(channels, anchors, 1)
        self.bbox_pred = Conv2d(channels, 4 * anchors, 1)
        self.apply(begin_small)

    def forward(self, maps):
        """[(N, C, H, W)] -> scores (N, T), codes (N, T, 4)."""
        maps = [self.conv(m) for m in maps]                  # [(N, C, H, W)]
        scores = per_anchor([self.cls_logits(m) for m in maps], 1)           # (N, T, 1)
        codes = per_anchor([self.bbox_pred(m) for m in maps], 4)             # (N, T, 4)
        return scores.reshape(*scores.shape[:2]), codes


class RegionProposalNetwork(Module):
    """Maps to proposals.

    Args:
        channels: of the maps.
        anchors: a `boxes.AnchorGenerator` for them.
        options: a `Proposing`.
    """

    def __init__(self, channels, anchors, options=Proposing()):
        self.anchors, self.options = anchors, options
        self.head = RPNHead(channels, anchors.per_place)

    def forward(self, images, maps):
        """The batch (N, 3, H, W) and its maps to scores (N, T), codes (N, T, 4), `Anchored`."""
        return (*self.head(maps), anchored(self.anchors, images, maps))

    def propose(self, answers, sizes) -> list:
        """For every image its proposals (P, 4), best first, and their scores (P,), arrays.

        answers: what `forward` gave. sizes: the images' (H, W), to which boxes are clipped.
        """
        scores, codes, anchors = answers
        found = boxes.decode(codes.numpy(), anchors.boxes)   # (N, T, 4)
        return [self._best(b, s, size, anchors.levels)
                for b, s, size in zip(found, scores.numpy(), sizes)]

    def _best(self, found, scores, size, levels):
        """Of one image, all boxes (T, 4) to the proposals."""
        how, training = self.options, self.training
        before, after = ((how.before_training, how.after_training) if training
                         else (how.before, how.after))
        candidates = boxes.best_of_groups(scores, levels, before)
        scores, level = scores[candidates], np.repeat(range(len(levels)), levels)[candidates]
        found, kept = boxes.surviving(found[candidates], scores, level, size, how.nms_thresh, after)
        return found, scores[kept]

    def loss(self, answers, targets) -> dict:
        """Whether (binary cross-entropy) and where (smooth L1), both the mean over the sampled
        anchors; targets as `images.prepared` leaves them."""
        how, (scores, codes, anchors) = self.options, answers
        matched, _, wanted = batch_targets(anchors.boxes, targets, how.high, how.low,
                                           how.force)
        positives, negatives = sampled(matched, how.sampled, how.positive_fraction)
        total = len(positives[0]) + len(negatives[0])
        chosen = tuple(map(np.concatenate, zip(positives, negatives)))
        return {"loss_objectness": _objectness(scores[chosen], len(positives[0])),
                "loss_rpn_box_reg": box_loss(codes[positives], wanted[positives]) / total}


def sampled(matched, count, positive_fraction) -> tuple:
    """Of every image's row of (N, T) a sample: ((images, anchors) of the positives, the same of the
    negatives)."""
    rows = [boxes.sample(row, count, positive_fraction, generator()) for row in matched]
    return tuple((np.repeat(range(len(rows)), list(map(len, kind))), np.concatenate(kind))
                 for kind in zip(*rows))


def _objectness(scores, positives):
    """Binary cross-entropy of scores (S,), of which the first are objects."""
    truth = (np.arange(scores.shape[0]) < positives).astype(np.float32)
    return ops.binary_cross_entropy_with_logits(scores, beside(scores, truth))


def box_loss(codes, wanted):
    """Smooth L1 of codes (S, 4), summed."""
    return ops.smooth_l1_loss(codes, beside(codes, wanted), "sum", BETA)
