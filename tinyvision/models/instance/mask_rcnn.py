"""Mask R-CNN: Faster R-CNN with one more head, which draws each object's mask, or its pose.

He, Gkioxari, Dollar & Girshick 2017, figures 1 and 4, right; lectures DSI, GT, DLCV, KE, UW.

    mask      RoI Align 14x14 -> [conv 3x3 - relu] x 4 -> transposed conv 2x2, stride 2 -> relu
              -> conv 1x1 to one 28x28 mask a class;  binary cross-entropy of the right class's
    keypoint  RoI Align 14x14 -> [conv 3x3 - relu] x 8 -> transposed conv 4x4, stride 2
              -> bilinear x 2 -> one 56x56 heatmap a keypoint;  softmax over its 3136 cells

A mask for every class, each cell answered by itself: which class it is has been said by the box
head, and the classes do not compete (table 2b). Both heads read the regions of objects alone, and
at inference the boxes that were found. Names are torchvision's, so that its weights load.
"""
from __future__ import annotations

import numpy as np

from tinyvision import boxes, ops
from tinyvision.models.detect.faster_rcnn import (FasterRCNN, Reading, Regions, RoIHeads, numbered,
                                                  read_regions, resnet50_rcnn, tiny_rcnn)
from tinyvision.nn import Conv2d, ConvTranspose2d, Module, ReLU, Sequential, init
from tinyvision.ops.move import beside

LIKELY = 0.5                           # from this probability on, a pixel belongs to the object


class MaskPredictor(Module):
    """Twice as large, and a mask for every class."""

    def __init__(self, channels, width, num_classes):
        self.conv5_mask = ConvTranspose2d(channels, width, 2, stride=2)
        self.mask_fcn_logits = Conv2d(width, num_classes, 1)

    def forward(self, x):
        """(K, C, P, P) -> (K, classes, 2 P, 2 P)."""
        x = ops.relu(self.conv5_mask(x))                     # (K, width, 2 P, 2 P)
        return self.mask_fcn_logits(x)                       # (K, classes, 2 P, 2 P)


class KeypointPredictor(Module):
    """Four times as large, a heatmap for every keypoint."""

    def __init__(self, channels, num_keypoints):
        self.kps_score_lowres = ConvTranspose2d(channels, num_keypoints, 4, stride=2, padding=1)

    def forward(self, x):
        """(K, C, P, P) -> (K, keypoints, 4 P, 4 P)."""
        x = self.kps_score_lowres(x)                         # (K, keypoints, 2 P, 2 P)
        return ops.interpolate(x, scale_factor=2, mode="bilinear")           # (..., 4 P, 4 P)


def _relu_init(module):
    """He et al. 2015, by the outputs."""
    if isinstance(module, (Conv2d, ConvTranspose2d)):
        init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        init.zeros_(module.bias)


class MaskHeads(RoIHeads):
    """Box heads and a mask head.

    Args:
        channels, num_classes, options, size, width: as in `RoIHeads`.
        mask_size: of the grid that the mask head reads, half as large as its masks.
        mask_layers: the channels of its convolutions.
    """
    needs = "masks",

    def __init__(self, channels, num_classes, options=Reading(), size=7, width=1024, *,
                 mask_size=14, mask_layers=(256,) * 4, **others):
        super().__init__(channels, num_classes, options, size, width, **others)
        self.mask_size = mask_size
        before = (channels, *mask_layers)
        self.mask_head = Sequential(*(Sequential(Conv2d(a, b, 3, padding=1), ReLU())
                                      for a, b in zip(before, mask_layers)))
        self.mask_predictor = MaskPredictor(before[-1], before[-1], num_classes)
        for part in (self.mask_head, self.mask_predictor):
            part.apply(_relu_init)

    def masks(self, images, maps, rois, labels):
        """Of regions (K, 5) with labels (K,), the right class's mask: logits (K, 2 P, 2 P)."""
        x = read_regions(images, maps, rois, self.mask_size, self.options)   # (K, C, P, P)
        x = self.mask_predictor(self.mask_head(x))           # (K, classes, 2 P, 2 P)
        return x[np.arange(len(labels)), labels + 1]         # (K, 2 P, 2 P)

    def loss(self, images, maps, regions: Regions) -> dict:
        """Those of the box head and "loss_mask", the mean over the cells of objects' regions."""
        losses, objects = super().loss(images, maps, regions), regions.positive()
        logits = self.masks(images, maps, objects.rois, objects.labels())
        truth = beside(logits, mask_targets(objects, 2 * self.mask_size))
        cost = ops.binary_cross_entropy_with_logits(logits, truth, reduction="sum")
        return {**losses, "loss_mask": cost / max(logits.size, 1)}

    def predict(self, images, maps, proposals, sizes) -> list[dict]:
        """Those of the box head, with `mask_probabilities` (D, 2 P, 2 P)."""
        found = super().predict(images, maps, proposals, sizes)
        rois, labels = numbered([one["boxes"] for one in found]), [one["labels"] for one in found]
        logits = self.masks(images, maps, rois, np.concatenate(labels))
        return with_rows(found, mask_probabilities=ops.sigmoid(logits).numpy())

    def back(self, found, scale, size) -> dict:
        """In the image's own pixels, the masks as `masks` bool (D, H, W)."""
        found = super().back(found, scale, size)
        small = found["mask_probabilities"]
        return {**found, "masks": boxes.paste_masks(small, found["boxes"], size) >= LIKELY}


def mask_targets(objects: Regions, size: int) -> np.ndarray:
    """What each region holds of its object's mask: float32 (K, size, size), 0 or 1.

    Masks are in their image's own pixels: the regions are brought there.
    """
    parts = [np.zeros((0, size, size), np.float32)]
    for n, target in enumerate(objects.targets):
        mine = objects.rois[:, 0] == n
        regions = objects.rois[mine, 1:] / target["scale"]
        if len(regions):
            parts.append(boxes.crop_masks(target["masks"][objects.matched[mine]], regions, size))
    return (np.concatenate(parts) >= LIKELY).astype(np.float32)


def with_rows(found, **arrays) -> list[dict]:
    """The arrays, which have a row for every detection of all images, handed out to them."""
    ends = np.cumsum([len(one["boxes"]) for one in found])[:-1]
    for name, array in arrays.items():
        found = [{**one, name: rows} for one, rows in zip(found, np.split(array, ends))]
    return found


class KeypointHeads(RoIHeads):
    """Box heads and a keypoint head.

    Args:
        channels, num_classes, options, size, width: as in `RoIHeads`.
        num_keypoints: of an object.
        keypoint_size: of the grid that the head reads, a quarter as large as its heatmaps.
        keypoint_layers: the channels of its convolutions.
    """
    needs = "keypoints",

    def __init__(self, channels, num_classes, options=Reading(), size=7, width=1024, *,
                 num_keypoints=17, keypoint_size=14, keypoint_layers=(512,) * 8, **others):
        super().__init__(channels, num_classes, options, size, width, **others)
        self.keypoint_size = keypoint_size
        layers = []
        for a, b in zip((channels, *keypoint_layers), keypoint_layers):
            layers += [Conv2d(a, b, 3, padding=1), ReLU()]
        self.keypoint_head = Sequential(*layers)
        self.keypoint_predictor = KeypointPredictor(keypoint_layers[-1], num_keypoints)
        for part in (self.keypoint_head, self.keypoint_predictor):
            part.apply(_relu_init)

    def heatmaps(self, images, maps, rois):
        """Of regions (K, 5): logits (K, keypoints, 4 P, 4 P)."""
        x = read_regions(images, maps, rois, self.keypoint_size, self.options)       # (K, C, P, P)
        return self.keypoint_predictor(self.keypoint_head(x))        # (K, keypoints, 4 P, 4 P)

    def loss(self, images, maps, regions: Regions) -> dict:
        """Those of the box head and "loss_keypoint", the mean over the keypoints that are there."""
        losses, objects = super().loss(images, maps, regions), regions.positive()
        x = self.heatmaps(images, maps, objects.rois)
        K, N, S = x.shape[:3]
        check_keypoints(objects.targets, N)
        points = objects.of_objects("keypoints", (0, N, 3))
        cells, there = boxes.heatmap_cells(points, objects.rois[:, 1:], S)
        targets = np.where(there, cells, -1).reshape(-1)
        cost = ops.cross_entropy(x.reshape(K * N, S * S), beside(x, targets), reduction="sum")
        return {**losses, "loss_keypoint": cost / max(int(there.sum()), 1)}

    def predict(self, images, maps, proposals, sizes) -> list[dict]:
        """Those of the box head, with `keypoints` (D, keypoints, 3), whose last number is 1, and
        `keypoints_scores` (D, keypoints), logits."""
        found = super().predict(images, maps, proposals, sizes)
        rois = numbered([one["boxes"] for one in found])
        logits = self.heatmaps(images, maps, rois).numpy()
        points, scores = boxes.read_heatmaps(logits, rois[:, 1:])
        return with_rows(found, keypoints=points, keypoints_scores=scores)

    def back(self, found, scale, size) -> dict:
        """In the image's own pixels."""
        factor = np.append(scale[:2], np.float32(1))
        return {**super().back(found, scale, size), "keypoints": found["keypoints"] / factor}


def check_keypoints(targets, count: int) -> None:
    """Refuse objects with another number of keypoints.

    Raises:
        ValueError: names the first.
    """
    for k, target in enumerate(targets):
        shape = target["keypoints"].shape[1:]
        if len(target["keypoints"]) and shape != (count, 3):
            raise ValueError(f"targets[{k}]: the keypoints of an object have shape {shape}, "
                             f"expected ({count}, 3)")


class MaskKeypointHeads(MaskHeads, KeypointHeads):
    """Box, mask and keypoint heads together (section 5, "multi-task": figure 7)."""
    needs = MaskHeads.needs + KeypointHeads.needs


def maskrcnn_resnet50_fpn(num_classes: int = 91) -> FasterRCNN:
    """44,401,393 parameters. num_classes: with the background."""
    return resnet50_rcnn(MaskHeads, num_classes)


def keypointrcnn_resnet50_fpn(num_classes: int = 2, num_keypoints: int = 17) -> FasterRCNN:
    """59,137,258 parameters. num_classes: with the background."""
    return resnet50_rcnn(KeypointHeads, num_classes, num_keypoints=num_keypoints)


def tiny_mask_rcnn(num_classes: int = 6) -> FasterRCNN:
    """For images of 64x64; masks of 14x14. num_classes: with the background."""
    return tiny_rcnn(MaskHeads, num_classes, mask_size=7, mask_layers=(64, 64))


def tiny_keypoint_rcnn(num_classes: int = 2, num_keypoints: int = 7) -> FasterRCNN:
    """For images of 64x64; heatmaps of 28x28. num_classes: with the background."""
    return tiny_rcnn(KeypointHeads, num_classes, num_keypoints=num_keypoints, keypoint_size=7,
                     keypoint_layers=(64,) * 3)
