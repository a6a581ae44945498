"""Faster R-CNN: propose regions, then look at each: what is it, and where exactly.

Ren, He, Girshick & Sun 2015, figure 2; on a feature pyramid: Lin et al. 2017, section 4; lectures
DSI, GT, DLCV, KE, UW.

    image -> trunk, pyramid -> maps -> RPN -> about 1000 proposals
    maps, proposals -> RoI Align 7x7 -> fc - relu - fc - relu -> class scores (K),  codes (4K)

Four losses, all at once: object or not and where (RPN), which class and where (the heads). Class 0
is the background, a class like any other to the box head, and never an answer: label l of a target,
and of a detection, is class l + 1. (torchvision's labels count the background: its 1 is our 0.)
Names are torchvision's, so that its weights load.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinyvision import boxes, ops
from tinyvision.device import generator
from tinyvision.engine import Tensor
from tinyvision.models.classify.resnet import BLOCKS, Bottleneck, ResNet
from tinyvision.models.detect.detector import Detector
from tinyvision.models.detect.fpn import BackboneWithFPN, PoolLevel
from tinyvision.models.detect.images import ImageTransform
from tinyvision.models.detect.retinanet import TINY_TRANSFORM, tiny_backbone
from tinyvision.models.detect.rpn import Proposing, RegionProposalNetwork, box_loss
from tinyvision.nn import FrozenBatchNorm2d, Linear, Module
from tinyvision.ops.move import beside

CODE_WEIGHTS = 10, 10, 5, 5            # regions are good already: their codes are small


@dataclass(frozen=True)
class Reading:
    """Where and how regions are read, and which.

    Attributes:
        maps: how many of the pyramid's maps regions are read from, the finest ones.
        canonical: (side of a region, its level): see `boxes.assign_levels`.
        aligned: RoI Align without half a pixel's shift; torchvision's models were trained with it.
        sampled, positive_fraction, overlap: regions an image that the heads learn from, and the
            IoU that makes one an object; see `boxes.region_samples`.
        score_thresh, nms_thresh, detections: of the answers, an image.
    """
    maps: int = 4
    canonical: tuple = (224, 4)
    aligned: bool = False
    sampled: int = 512
    positive_fraction: float = 0.25
    overlap: float = 0.5
    score_thresh: float = 0.05
    nms_thresh: float = 0.5
    detections: int = 100


TINY_READING = Reading(maps=3, canonical=(32, 3), aligned=True, sampled=32)
TINY_PROPOSING = Proposing(sampled=64, before=200, after=50, before_training=200,
                           after_training=100)


class Regions(NamedTuple):
    """The regions of a batch that the heads learn from.

    rois: (K, 5), the image's number and the box. matched: for each the object of its image, -1 for
    background. targets: of the images, as `images.prepared` leaves them.
    """
    rois: np.ndarray
    matched: np.ndarray
    targets: list

    def positive(self) -> Regions:
        """Those that are objects."""
        chosen = self.matched >= 0
        return self._replace(rois=self.rois[chosen], matched=self.matched[chosen])

    def of_objects(self, key, empty) -> np.ndarray:
        """For every region its object's entry of the targets' `key`; all regions are objects.
        `empty`: the shape of no entries."""
        found = [self.targets[int(n)][key][m] for n, m in zip(self.rois[:, 0], self.matched)]
        return np.stack(found) if found else np.zeros(empty, np.float32)

    def labels(self) -> np.ndarray:
        """The label of each, -1 for background."""
        return np.array([self.targets[int(n)]["labels"][m] if m >= 0 else -1
                         for n, m in zip(self.rois[:, 0], self.matched)], np.int64)


def numbered(each) -> np.ndarray:
    """A list of boxes (L, 4), one for every image, as RoIs (K, 5)."""
    numbers = np.repeat(np.arange(len(each)), [len(b) for b in each]).astype(np.float32)
    return np.concatenate((numbers[:, None], np.concatenate(each).astype(np.float32)), 1)


def levels(strides) -> tuple[int, int]:
    """The lowest and the highest level of maps with these strides: their logarithms."""
    return int(np.log2(strides[0])), int(np.log2(strides[-1]))


def read_regions(images, maps, rois, size, how) -> Tensor:
    """RoI Align from the map that fits each region: (K, C, size, size).

    images: the batch, for the maps' strides. rois: (K, 5). how: a `Reading`.
    """
    maps = maps[:how.maps]
    strides = [images.shape[2] // m.shape[2] for m in maps]
    lowest, highest = levels(strides)
    level = boxes.assign_levels(rois[:, 1:], lowest, highest, *how.canonical) - lowest
    parts = [ops.roi_align(m, beside(m, rois[level == k]), size, 1 / stride, 2,
                           how.aligned) for k, (m, stride) in enumerate(zip(maps, strides))]
    return ops.cat(parts, 0)[np.argsort(np.argsort(level, kind="stable"))]


class TwoMLPHead(Module):
    """Two fully connected layers, each with a relu."""

    def __init__(self, in_channels, width):
        self.fc6, self.fc7 = Linear(in_channels, width), Linear(width, width)

    def forward(self, x):
        """(K, C, P, P) -> (K, width)."""
        x = ops.relu(self.fc6(x.flatten(1)))                 # (K, width)
        return ops.relu(self.fc7(x))                         # (K, width)


class FastRCNNPredictor(Module):
    """Class scores, and for each class a code."""

    def __init__(self, width, num_classes):
        self.cls_score = Linear(width, num_classes)
        self.bbox_pred = Linear(width, 4 * num_classes)

    def forward(self, x):
        """(K, width) -> (K, classes), (K, classes, 4)."""
        scores, codes = self.cls_score(x), self.bbox_pred(x)
        return scores, codes.reshape(*scores.shape, 4)       # there may be no regions: no -1 here


class RoIHeads(Module):
    """What is in a region, and where exactly. Further heads are subclasses: see `mask_rcnn`.

    Args:
        channels: of the maps.
        num_classes: with the background, class 0.
        options: a `Reading`.
        size: of the grid that the box head reads.
        width: of the box head.

    Attributes:
        needs: what targets have to hold besides boxes and labels.
    """
    needs = ()

    def __init__(self, channels, num_classes, options=Reading(), size=7, width=1024):
        self.options, self.size, self.num_classes = options, size, num_classes
        self.box_head = TwoMLPHead(channels * size * size, width)
        self.box_predictor = FastRCNNPredictor(width, num_classes)

    def forward(self, images, maps, rois):
        """The batch, its maps and regions (K, 5) to scores (K, classes), codes (K, classes, 4)."""
        x = read_regions(images, maps, rois, self.size, self.options)        # (K, C, P, P)
        return self.box_predictor(self.box_head(x))          # (K, classes), (K, classes, 4)

    def sample(self, proposals, targets) -> Regions:
        """The regions to learn from, of every image's proposals (P, 4)."""
        how = self.options
        each = [boxes.region_samples(p, t["boxes"], how.sampled, how.positive_fraction, how.overlap,
                                     generator()) for p, t in zip(proposals, targets)]
        regions, matched = zip(*each)
        return Regions(numbered(regions), np.concatenate(matched), targets)

    def loss(self, images, maps, regions: Regions) -> dict:
        """Which class (cross-entropy), and where (smooth L1 of the right class's code): means over
        the regions."""
        scores, codes = self(images, maps, regions.rois)
        classes = regions.labels() + 1
        cost = ops.cross_entropy(scores, beside(scores, classes), reduction="sum")
        return {"loss_classifier": cost / max(len(classes), 1),
                "loss_box_reg": _box_loss(codes, classes, regions)}

    def predict(self, images, maps, proposals, sizes) -> list[dict]:
        """What is in the proposals: for every image `boxes`, `labels`, `scores`, best first, in the
        batch's pixels."""
        scores, codes = self(images, maps, numbered(proposals))
        scores, codes = ops.softmax(scores, 1).numpy(), codes.numpy()
        ends = np.cumsum([len(p) for p in proposals])[:-1]
        return [self._detections(*one) for one in
                zip(proposals, np.split(scores, ends), np.split(codes, ends), sizes)]

    def _detections(self, proposals, scores, codes, size):
        """Of one image: proposals (P, 4), scores (P, classes), codes (P, classes, 4)."""
        how = self.options
        row, label = boxes.confident(scores[:, 1:], how.score_thresh)
        score = scores[row, label + 1]
        found = boxes.decode(codes[row, label + 1], proposals[row], CODE_WEIGHTS)
        found, kept = boxes.surviving(found, score, label, size, how.nms_thresh, how.detections)
        return {"boxes": found, "labels": label[kept], "scores": score[kept]}

    def back(self, found, scale, size) -> dict:
        """What was found in one image, in its own pixels; scale: (4,), size: (H, W)."""
        return {**found, "boxes": found["boxes"] / scale}


def _box_loss(codes, classes, regions):
    """Smooth L1 of the positives' codes."""
    positive, at = regions.positive(), np.flatnonzero(classes)
    truth = positive.of_objects("boxes", (0, 4))
    wanted = boxes.encode(truth, positive.rois[:, 1:], CODE_WEIGHTS)
    return box_loss(codes[at, classes[at]], wanted) / max(len(classes), 1)


class FasterRCNN(Detector):
    """Boxes, classes and scores, in two stages.

    Args:
        backbone: images to a list of maps, with `out_channels`.
        rpn: a `RegionProposalNetwork` for these maps.
        roi_heads: `RoIHeads` for these maps.
        transform: how images become a batch.
    """

    def __init__(self, backbone, rpn, roi_heads, transform=ImageTransform()):
        self.backbone, self.rpn, self.roi_heads = backbone, rpn, roi_heads
        self.transform, self.labels = transform, roi_heads.num_classes - 1
        self.needs = roi_heads.needs

    def forward(self, images, sizes):
        """A batch and the images' sizes in it to its maps, the RPN's answers, and its proposals."""
        maps = self.backbone(images)                         # [(N, C, H / s, W / s)]
        answers = self.rpn(images, maps)                     # (N, T), (N, T, 4), the anchors
        return maps, answers, [found for found, _ in self.rpn.propose(answers, sizes)]

    def loss(self, images, targets) -> dict:
        """The named losses of both stages.

        targets: a list of dictionaries with `boxes` (M, 4) and `labels` (M,), M may be 0, and what
        further heads ask for; crowds and degenerate boxes are left out. See `data.target`.

        Raises:
            ValueError: images or targets that do not fit, a label out of range.
        """
        batch, ready = self.prepare(images, targets)
        maps, answers, proposals = self(batch.images, batch.sizes)
        regions = self.roi_heads.sample(proposals, ready)
        return {**self.rpn.loss(answers, ready),
                **self.roi_heads.loss(batch.images, maps, regions)}

    def predict(self, images) -> list[dict]:
        """What is in each image: `boxes` (D, 4) in its own pixels, `labels` (D,) int64 and `scores`
        (D,), best first, of the weights' dtype, and what further heads add; D may be 0."""
        batch = self.transform(images)
        maps, _, proposals = self(batch.images, batch.sizes)
        found = self.roi_heads.predict(batch.images, maps, proposals, batch.sizes)
        return [self.roi_heads.back(one, batch.scale(n), np.shape(images[n])[1:])
                for n, one in enumerate(found)]


def resnet50_rcnn(heads, num_classes: int, **options) -> FasterRCNN:
    """On ResNet-50 with frozen norms, maps of strides 4 to 64 with 256 channels, three anchors a
    place. heads: `RoIHeads` or a subclass, to which the options go."""
    body = ResNet(Bottleneck, BLOCKS[50], None, norm=FrozenBatchNorm2d)
    anchors = boxes.AnchorGenerator(((32,), (64,), (128,), (256,), (512,)))
    return FasterRCNN(BackboneWithFPN(body, 256, extra_blocks=PoolLevel()),
                      RegionProposalNetwork(256, anchors), heads(256, num_classes, **options),
                      ImageTransform(800, 1333))


def tiny_rcnn(heads, num_classes: int, **options) -> FasterRCNN:
    """The same for images of 64x64: maps of strides 4 to 16 with 64 channels, six anchors of 12 to
    64 pixels a place."""
    anchors = boxes.AnchorGenerator(((12, 16), (24, 32), (48, 64)))
    return FasterRCNN(tiny_backbone(), RegionProposalNetwork(64, anchors, TINY_PROPOSING),
                      heads(64, num_classes, TINY_READING, size=5, width=128, **options),
                      TINY_TRANSFORM)


def fasterrcnn_resnet50_fpn(num_classes: int = 91) -> FasterRCNN:
    """41,755,286 parameters. num_classes: with the background."""
    return resnet50_rcnn(RoIHeads, num_classes)


def tiny_faster_rcnn(num_classes: int = 6) -> FasterRCNN:
    """For images of 64x64. num_classes: with the background."""
    return tiny_rcnn(RoIHeads, num_classes)
