"""RetinaNet: one stage, every anchor of every map a candidate, and a loss that is not drowned by
the easy ones.

Lin, Goyal, Girshick, He & Dollar 2017, "Focal loss for dense object detection", figure 3; lectures
DLCV, KE, UW. On every map of a feature pyramid the same two heads:

    class head  [conv 3x3 - relu] x 4, conv 3x3 to A K scores      sigmoid, focal loss
    box head    [conv 3x3 - relu] x 4, conv 3x3 to 4 A codes       L1 (the paper: smooth L1)

    FL(p_t) = -alpha_t (1 - p_t)^gamma log p_t,     alpha 0.25, gamma 2

Of about 100,000 anchors a handful are objects. (1 - p_t)^gamma is next to nothing where the answer
is already right, and the scores begin at pi = 0.01, so that the many do not shout in the first
step. There is no background class: an anchor without an object has no label. Names are
torchvision's, so that its weights load; as there, the loss of boxes is L1, and P6 is made of P5 (in
the paper, of C5).
"""
from __future__ import annotations

import math

import numpy as np

from tinyvision import boxes, ops
from tinyvision.models.classify.resnet import BLOCKS, BasicBlock, Bottleneck, ResNet
from tinyvision.models.detect.dense import anchored, batch_targets, begin_small, per_anchor
from tinyvision.models.detect.detector import Detector
from tinyvision.models.detect.fpn import BackboneWithFPN, ConvLevels
from tinyvision.models.detect.images import Batch, ImageTransform
from tinyvision.nn import Conv2d, FrozenBatchNorm2d, Module, ReLU, Sequential, init
from tinyvision.ops.move import beside

PRIOR = 0.01                           # what every score is at first
NINE = tuple((x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3))) for x in (32, 64, 128, 256, 512))


class Tower(Module):
    """[conv 3x3 - relu] x depth."""

    def __init__(self, channels, depth):
        self.conv = Sequential(*(Sequential(Conv2d(channels, channels, 3, padding=1), ReLU())
                                 for _ in range(depth)))


class ClassificationHead(Tower):
    """Scores, K an anchor."""

    def __init__(self, channels, anchors, num_classes, depth=4):
        super().__init__(channels, depth)
        self.num_classes = num_classes
        self.cls_logits = Conv2d(channels, anchors * num_classes, 3, padding=1)
        self.apply(begin_small)
        init.constant_(self.cls_logits.bias, -math.log((1 - PRIOR) / PRIOR))

    def forward(self, maps):
        """[(N, C, H, W)] -> (N, T, K)."""
        return per_anchor([self.cls_logits(self.conv(m)) for m in maps], self.num_classes)


class RegressionHead(Tower):
    """Codes, 4 an anchor, the same for all classes."""

    def __init__(self, channels, anchors, depth=4):
        super().__init__(channels, depth)
        self.bbox_reg = Conv2d(channels, anchors * 4, 3, padding=1)
        self.apply(begin_small)

    def forward(self, maps):
        """[(N, C, H, W)] -> (N, T, 4)."""
        return per_anchor([self.bbox_reg(self.conv(m)) for m in maps], 4)


class Heads(Module):
    """Both heads: torchvision's names."""

    def __init__(self, channels, anchors, num_classes, depth):
        self.classification_head = ClassificationHead(channels, anchors, num_classes, depth)
        self.regression_head = RegressionHead(channels, anchors, depth)

    def forward(self, maps):
        """[(N, C, H, W)] -> scores (N, T, K) and codes (N, T, 4)."""
        return self.classification_head(maps), self.regression_head(maps)


class RetinaNet(Detector):
    """Boxes, classes and scores.

    Args:
        backbone: images to a list of maps, with `out_channels`.
        num_classes: the classes K; labels count from 0, and there is no background among them.
        anchors: a `boxes.AnchorGenerator` for these maps.
        depth: of the heads.
        transform: how images become a batch.
        high, low: IoU from which an anchor is positive, under which it is background.
        force: each object's best anchor is positive whatever its IoU, as torchvision has it; not so
            in the paper.
        score_thresh, nms_thresh, candidates, detections: at inference, a score above this is a
            candidate, at most so many a map; NMS within each class; at most so many an image.
    """

    def __init__(self, backbone, num_classes, anchors, depth=4, *, transform=ImageTransform(),
                 high=0.5, low=0.4, force=False, score_thresh=0.05, nms_thresh=0.5, candidates=1000,
                 detections=300):
        self.backbone, self.labels = backbone, num_classes
        self.anchors, self.transform = anchors, transform
        self.high, self.low, self.force = high, low, force
        self.score_thresh, self.nms_thresh = score_thresh, nms_thresh
        self.candidates, self.detections = candidates, detections
        self.head = Heads(backbone.out_channels, anchors.per_place, num_classes, depth)

    def forward(self, images):
        """A batch (N, 3, H, W) to scores (N, T, K), codes (N, T, 4), and the `Anchored`."""
        maps = self.backbone(images)                         # [(N, C, H / s, W / s)]
        return (*self.head(maps), anchored(self.anchors, images, maps))

    def loss(self, images, targets) -> dict:
        """Named losses, each the mean over the images of its sum per positive anchor.

        targets: a list of dictionaries with `boxes` (M, 4) and `labels` (M,), M may be 0; crowds
        and degenerate boxes are left out. See `data.target`.

        Raises:
            ValueError: images or targets that do not fit, a label out of range.
        """
        batch, ready = self.prepare(images, targets)
        scores, codes, anchors = self(batch.images)          # (N, T, K), (N, T, 4)
        matched, labels, wanted = batch_targets(anchors.boxes, ready, self.high, self.low,
                                                self.force)
        share = 1 / (len(ready) * np.maximum((matched >= 0).sum(1, keepdims=True), 1))   # (N, 1)
        return {"classification": self._class_loss(scores, matched, labels, share),
                "bbox_regression": _box_loss(codes, matched, wanted, share)}

    def _class_loss(self, scores, matched, labels, share):
        """The focal loss of all anchors but those between positive and background."""
        counts = (matched != boxes.BETWEEN) * share          # (N, T)
        truth = (labels[..., None] == np.arange(self.labels)).astype(np.float32)
        losses = ops.sigmoid_focal_loss(scores, beside(scores, truth))       # (N, T, K)
        return ops.sum(losses * beside(scores, counts[..., None]))

    def predict(self, images) -> list[dict]:
        """What is in each image: `boxes` (D, 4) in its own pixels, `labels` (D,) int64 and `scores`
        (D,), best first, of the weights' dtype; D may be 0."""
        batch = self.transform(images)
        scores, codes, anchors = self(batch.images)
        probabilities, codes = ops.sigmoid(scores).numpy(), codes.numpy()
        return [self._detections(p, c, anchors, batch, n)
                for n, (p, c) in enumerate(zip(probabilities, codes))]

    def _detections(self, probabilities, codes, anchors, batch: Batch, n):
        """Of image n: scores (T, K) and codes (T, 4) of its anchors to what is found."""
        t, label = self._candidates(probabilities, anchors.levels)
        found, score = boxes.decode(codes[t], anchors.boxes[t]), probabilities[t, label]
        found, kept = boxes.surviving(found, score, label, batch.sizes[n], self.nms_thresh,
                                      self.detections)
        return {"boxes": found / batch.scale(n), "labels": label[kept], "scores": score[kept]}

    def _candidates(self, probabilities, levels):
        """(anchors, labels) of the best scores above the threshold, map by map."""
        t, label = boxes.confident(probabilities, self.score_thresh)
        ends = np.searchsorted(t, np.cumsum(levels))         # t is sorted: levels stay together
        best = boxes.best_of_groups(probabilities[t, label], np.diff(ends, prepend=0),
                                    self.candidates)
        return t[best], label[best]


def _box_loss(codes, matched, wanted, share):
    """L1 of the positive anchors' codes."""
    n, t = np.nonzero(matched >= 0)
    each = ops.l1_loss(codes[n, t], beside(codes, wanted[n, t]), reduction="none")   # (P, 4)
    return ops.sum(each * beside(codes, share[n]))


def retinanet_resnet50_fpn(num_classes: int = 91) -> RetinaNet:
    """ResNet-50, maps of strides 8 to 128, 256 channels: 34,014,999 parameters."""
    body = ResNet(Bottleneck, BLOCKS[50], None, norm=FrozenBatchNorm2d)
    backbone = BackboneWithFPN(body, 256, first=1, extra_blocks=ConvLevels(256))
    return RetinaNet(backbone, num_classes, boxes.AnchorGenerator(NINE), force=True,
                     transform=ImageTransform(800, 1333))


TINY_ANCHORS = ((10, 13, 16), (20, 25, 32), (40, 50, 64))
# both sides 32 at least: the norms of the coarsest map need more than one place of it to learn from
TINY_TRANSFORM = ImageTransform(divisor=32, mean=(0.5,) * 3, std=(0.25,) * 3)


def tiny_backbone() -> BackboneWithFPN:
    """Six basic blocks of 32 to 128 channels, maps of strides 4 to 16 with 64 channels."""
    return BackboneWithFPN(ResNet(BasicBlock, (1, 1, 1), None, width=32), 64)


def tiny_retinanet(num_classes: int = 5) -> RetinaNet:
    """For images of 64x64: three maps, nine anchors of 10 to 64 pixels a location."""
    return RetinaNet(tiny_backbone(), num_classes, boxes.AnchorGenerator(TINY_ANCHORS), depth=2,
                     transform=TINY_TRANSFORM, detections=100)
