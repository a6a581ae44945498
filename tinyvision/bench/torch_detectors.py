"""The detectors that `bench train` trains, written with PyTorch: the same layers under our names,
so that our weights load, and the same losses. Importing this file imports PyTorch.

What is chosen (matching, sampling, proposals, NMS, what the masks' cells hold) is chosen by our own
`boxes` on both sides: PyTorch alone has no NMS, and torchvision need not be there. RoI Align reads
all regions of all maps by one `embedding_bag`, the fastest formulation of those tried: for 512
regions of 5x5 bins, forward and backward, batched products with the separable weights took 1.4 to
1.6 times as long, with the full weights 1.2 times, `grid_sample` twice as long.
"""
from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tinyvision import boxes
from tinyvision.bench.torch_layers import Backbone, convolution, tower
from tinyvision.engine import Tensor
from tinyvision.models.detect.dense import anchored, batch_targets
from tinyvision.models.detect.faster_rcnn import CODE_WEIGHTS
from tinyvision.models.detect.rpn import BETA, sampled
from tinyvision.models.instance.mask_rcnn import mask_targets

SAMPLES = 2                            # of RoI Align, a bin along each axis
STRIDES = 4, 8, 16                     # of the maps


def model(ours, channels_last: bool):
    """The PyTorch twin of one of our detectors, with its weights."""
    twin = (RetinaNet if hasattr(ours, "head") else MaskRCNN)(ours)
    twin.load_state_dict({key: torch.tensor(np.asarray(w)) for key, w in ours.state_dict().items()})
    return twin.to(memory_format=torch.channels_last) if channels_last else twin


class Detector(nn.Module):
    """What both have: our model, whose choices are made here too."""

    def __init__(self, ours):
        super().__init__()
        self.ours, self.backbone = ours, Backbone()

    def read(self, images, targets):
        """(maps, the batch, the targets in its pixels)."""
        batch, ready = self.ours.prepare(images, targets)
        x = torch.from_numpy(batch.images.numpy())
        if self.backbone.body.conv1.weight.is_contiguous(memory_format=torch.channels_last):
            x = x.contiguous(memory_format=torch.channels_last)
        return self.backbone(x), batch, ready


def per_anchor(maps, numbers):
    """[(N, A numbers, H, W)] -> (N, T, numbers)."""
    return torch.cat([m.permute(0, 2, 3, 1).reshape(len(m), -1, numbers) for m in maps], 1)


# --- RetinaNet ------------------------------------------------------------------------------------
class Head(nn.Module):
    """A tower and a convolution of the given name."""

    def __init__(self, last, channels, outputs, depth):
        super().__init__()
        self.conv = tower(channels, depth)
        setattr(self, last, convolution(channels, outputs))
        self.last = last

    def forward(self, maps):
        """One output a map."""
        return [getattr(self, self.last)(self.conv(m)) for m in maps]


class RetinaNet(Detector):
    """`models.tiny_retinanet`."""

    def __init__(self, ours):
        super().__init__(ours)
        A, K, depth = ours.anchors.per_place, ours.labels, len(ours.head.classification_head.conv)
        self.head = nn.ModuleDict({"classification_head": Head("cls_logits", 64, A * K, depth),
                                   "regression_head": Head("bbox_reg", 64, 4 * A, depth)})

    def loss(self, images, targets):
        """Named losses."""
        ours, (maps, batch, ready) = self.ours, self.read(images, targets)
        scores = per_anchor(self.head["classification_head"](maps), ours.labels)
        codes = per_anchor(self.head["regression_head"](maps), 4)
        anchors = anchored(ours.anchors, batch.images, maps).boxes
        matched, labels, wanted = batch_targets(anchors, ready, ours.high, ours.low, False)
        share = 1 / (len(ready) * np.maximum((matched >= 0).sum(1, keepdims=True), 1))
        n, t = np.nonzero(matched >= 0)
        counts = ((matched != boxes.BETWEEN) * share).astype(np.float32)
        apart = (codes[n, t] - torch.from_numpy(wanted[n, t])).abs_().sum(1)
        return {"classification": focal_loss(scores, labels, torch.from_numpy(counts)),
                "bbox_regression": apart @ torch.from_numpy(share[n, 0].astype(np.float32))}


def focal_loss(scores, labels, counts, alpha=0.25):
    """The focal loss (gamma 2) of scores (N, T, K), labels (N, T), weighted by counts (N, T).

    With z = x, and -x where the answer is yes: alpha_t sigmoid(z)^2 softplus(z), which are half as
    many passes as torchvision's function makes.
    """
    truth = torch.from_numpy(labels[..., None] == np.arange(scores.shape[-1]))
    z = torch.where(truth, -scores, scores)
    weight = torch.where(truth, alpha, 1 - alpha) * counts[..., None]
    return (z.sigmoid().square() * F.softplus(z) * weight).sum()


# --- Mask R-CNN -----------------------------------------------------------------------------------
class RPNHead(nn.Module):
    """Scores and codes of the anchors."""

    def __init__(self, channels, anchors):
        super().__init__()
        self.conv = nn.Sequential(tower(channels, 1)[0])
        self.cls_logits = convolution(channels, anchors, 1)
        self.bbox_pred = convolution(channels, 4 * anchors, 1)

    def forward(self, maps):
        """(N, T), (N, T, 4)."""
        maps = [self.conv(m) for m in maps]
        return (per_anchor([self.cls_logits(m) for m in maps], 1)[..., 0],
                per_anchor([self.bbox_pred(m) for m in maps], 4))


class MaskRCNN(Detector):
    """`models.tiny_mask_rcnn`."""

    def __init__(self, ours):
        super().__init__(ours)
        heads, channels = ours.roi_heads, ours.backbone.out_channels
        width, classes = heads.box_head.fc7.weight.shape[0], heads.num_classes
        self.rpn = nn.ModuleDict({"head": RPNHead(channels, ours.rpn.anchors.per_place)})
        self.roi_heads = nn.ModuleDict({
            "box_head": nn.ModuleDict({"fc6": nn.Linear(channels * heads.size ** 2, width),
                                       "fc7": nn.Linear(width, width)}),
            "box_predictor": nn.ModuleDict({"cls_score": nn.Linear(width, classes),
                                            "bbox_pred": nn.Linear(width, 4 * classes)}),
            "mask_head": tower(channels, len(heads.mask_head)),
            "mask_predictor": nn.ModuleDict({
                "conv5_mask": nn.ConvTranspose2d(channels, channels, 2, 2),
                "mask_fcn_logits": convolution(channels, classes, 1)})})

    def loss(self, images, targets):
        """Named losses."""
        ours, (maps, batch, ready) = self.ours, self.read(images, targets)
        scores, codes = self.rpn["head"](maps)
        anchors = anchored(ours.rpn.anchors, batch.images, maps)
        answers = Tensor(scores.detach().numpy()), Tensor(codes.detach().numpy()), anchors
        proposals = [found for found, _ in ours.rpn.propose(answers, batch.sizes)]
        regions = ours.roi_heads.sample(proposals, ready)
        return {**self._rpn_loss(scores, codes, anchors.boxes, ready),
                **self._box_loss(maps, regions), **self._mask_loss(maps, regions.positive())}

    def _rpn_loss(self, scores, codes, anchors, ready):
        how = self.ours.rpn.options
        matched, _, wanted = batch_targets(anchors, ready, how.high, how.low, True)
        positives, negatives = sampled(matched, how.sampled, how.positive_fraction)
        chosen = tuple(map(np.concatenate, zip(positives, negatives)))
        truth = (np.arange(len(chosen[0])) < len(positives[0])).astype(np.float32)
        wanted = torch.from_numpy(wanted[positives])
        where = F.smooth_l1_loss(codes[positives], wanted, reduction="sum", beta=BETA)
        return {"loss_objectness": F.binary_cross_entropy_with_logits(
                    scores[chosen], torch.from_numpy(truth)),
                "loss_rpn_box_reg": where / len(truth)}

    def _box_loss(self, maps, regions):
        head, predict = self.roi_heads["box_head"], self.roi_heads["box_predictor"]
        heads = self.ours.roi_heads
        x = read_regions(maps, regions.rois, heads.size, heads.options).flatten(1)
        x = F.relu(head["fc7"](F.relu(head["fc6"](x), inplace=True)), inplace=True)
        classes, positive = regions.labels() + 1, regions.positive()
        wanted = boxes.encode(positive.of_objects("boxes", (0, 4)), positive.rois[:, 1:],
                              CODE_WEIGHTS)
        at = np.flatnonzero(classes)
        codes = predict["bbox_pred"](x).reshape(len(x), -1, 4)[at, classes[at]]
        where = F.smooth_l1_loss(codes, torch.from_numpy(wanted), reduction="sum", beta=BETA)
        return {"loss_classifier": F.cross_entropy(predict["cls_score"](x),
                                                   torch.from_numpy(classes)),
                "loss_box_reg": where / len(classes)}

    def _mask_loss(self, maps, objects):
        predict, heads = self.roi_heads["mask_predictor"], self.ours.roi_heads
        x = read_regions(maps, objects.rois, heads.mask_size, heads.options)
        x = F.relu(predict["conv5_mask"](self.roi_heads["mask_head"](x)), inplace=True)
        x = predict["mask_fcn_logits"](x)[np.arange(len(x)), objects.labels() + 1]
        wanted = torch.from_numpy(mask_targets(objects, 2 * heads.mask_size))
        return {"loss_mask": F.binary_cross_entropy_with_logits(x, wanted)}


# --- RoI Align ------------------------------------------------------------------------------------
def read_regions(maps, rois, size, how):
    """RoI Align (aligned) of rois (K, 5) from the map that fits each: (K, C, size, size).

    Of all maps' pixels, one under the other, every bin is a weighted sum of 16: four samples
    between four pixels.
    """
    pixels = torch.cat([m.permute(0, 2, 3, 1).reshape(-1, m.shape[1]) for m in maps])
    sides = torch.tensor([m.shape[2] for m in maps])         # maps and images are square
    level = torch.from_numpy(level_of(rois, how))
    first = (len(maps[0]) * sides ** 2).cumsum(0) - len(maps[0]) * sides ** 2
    side, rois, stride = sides[level], torch.from_numpy(rois), torch.tensor(STRIDES)[level]
    (x, across), (y, down) = (taps(rois[:, axis] / stride, rois[:, axis + 2] / stride, side, size)
                              for axis in (1, 2))
    y += (rois[:, :1].long() * side[:, None])[..., None]
    pixel = first[level].reshape(-1, 1, 1, 1, 1) + (
        y[:, :, None, :, None] * side.reshape(-1, 1, 1, 1, 1) + x[:, None, :, None])
    weight = down[:, :, None, :, None] * across[:, None, :, None]
    out = F.embedding_bag(pixel.reshape(-1, 4 * SAMPLES ** 2), pixels, mode="sum",
                          per_sample_weights=weight.reshape(-1, 4 * SAMPLES ** 2))
    return out.reshape(len(rois), size, size, -1).permute(0, 3, 1, 2)


def level_of(rois, how):
    """Which of the maps each region is read from."""
    lowest, highest = (int(np.log2(stride)) for stride in (STRIDES[0], STRIDES[-1]))
    return boxes.assign_levels(rois[:, 1:], lowest, highest, *how.canonical) - lowest


def taps(start, end, side, size):
    """(pixels, weights) (K, size, 2 SAMPLES) that bins between start and end read along an axis,
    in maps with `side` pixels."""
    step = (torch.arange(size * SAMPLES) + 0.5) / (size * SAMPLES)
    place = start[:, None] + (end - start)[:, None] * step - 0.5
    place = torch.minimum(place.clamp_(min=0), side[:, None] - 1)
    low = torch.minimum(place.floor(), side[:, None] - 2)
    part = (place - low) / SAMPLES
    pixels = torch.stack((low, low + 1), -1).long()
    weights = torch.stack((1 / SAMPLES - part, part), -1)
    return (t.reshape(len(start), size, 2 * SAMPLES) for t in (pixels, weights))
