"""How a detector came to its answers, for one image, as pictures: ``tinyvision detect --explain``.

Of any detector: its anchors, which of them stand for what was found, the maps of scores, and boxes
before and after NMS. Of one with two stages also: which map each proposal is read from, the bins
and samples of a region, and the targets of masks and keypoints.
"""
from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinyvision import boxes as choose
from tinyvision import draw, ops
from tinyvision.detect import prepared, save
from tinyvision.engine import no_grad
from tinyvision.models.detect.dense import anchored
from tinyvision.models.detect.faster_rcnn import levels
from tinyvision.ops import box_iou

EVERYTHING = 10**6                       # more boxes than there are
MANY = 12                                # proposals that are drawn one by one
FEW = 3                                  # objects whose targets are drawn
CELLS = 16                               # along a side of a region whose bins can still be read


class Seen(NamedTuple):
    """What one image went through; all boxes in the pixels of the batch.

    Attributes:
        image: (3, H, W), as the model saw it, without padding. whole: (H, W), with it.
        scale: (4,), the batch's pixels per pixel of the picture.
        maps: the pyramid's, arrays (1, C, H, W).
        generator, anchors: the `AnchorGenerator`, and all anchors (T, 4).
        scores: the best score of every anchor (T,), from 0 to 1.
        stages: {name: (boxes, scores)}, before and after NMS and at the end.
        rules: how anchors are matched, of `draw.assignments`.
        found: what was found.
    """
    image: np.ndarray
    whole: tuple
    scale: np.ndarray
    maps: list
    generator: object
    anchors: np.ndarray
    scores: np.ndarray
    stages: dict
    rules: dict
    found: dict

    def sizes(self) -> list:
        """(H, W) of the maps that have anchors."""
        return [m.shape[2:] for m in self.maps]

    def boxes(self) -> np.ndarray:
        """What was found."""
        return self.found["boxes"] * self.scale

    def region(self, k) -> np.ndarray:
        """The proposal that lies best on the k-th thing found."""
        proposals = self.stages["after NMS"][0]
        return proposals[box_iou(self.boxes()[k:k + 1], proposals)[0].argmax()]


def write(folder: Path, model, image, found, names) -> str:
    """All pictures into `folder`; a line for each of them."""
    folder.mkdir(parents=True, exist_ok=True)
    seen = look(model, image, found)
    figures = one_stage(seen) if not hasattr(model, "roi_heads") else {
        **one_stage(seen), **two_stages(seen, model.roi_heads, image)}
    lines = []
    for name, (figure, about) in figures.items():
        save(folder / f"{name}.png", figure)
        lines.append(f"{folder / name}.png: {about}")
    return "\n".join(lines)


# --- what the model went through ------------------------------------------------------------------
def look(model, image, found) -> Seen:
    """Once more through the model, this time step by step."""
    with no_grad():
        batch = model.transform([prepared(model, image)])
        parts = (_two_stages if hasattr(model, "roi_heads") else _one_stage)(model, batch, image)
    h, w = batch.sizes[0]
    mean, std = (np.float32(v)[:, None, None]
                 for v in (model.transform.mean, model.transform.std))
    colours = batch.images.numpy()[0, :, :h, :w] * std + mean
    final = found["boxes"] * batch.scale(0), found["scores"]
    parts["stages"]["detections"] = final
    return Seen(np.clip(colours, 0, 1), batch.images.shape[2:], batch.scale(0), found=found,
                **parts)


def _one_stage(model, batch, image) -> dict:
    """RetinaNet: every anchor answers with classes."""
    maps = model.backbone(batch.images)
    scores, _ = model.head(maps)
    anchors = anchored(model.anchors, batch.images, maps)
    return {"maps": [m.numpy() for m in maps], "generator": model.anchors, "anchors": anchors.boxes,
            "scores": ops.sigmoid(scores).numpy()[0].max(1), "rules": matching(model),
            "stages": {"before NMS": _answers(model, batch, image, 1.0),
                       "after NMS": _answers(model, batch, image, model.nms_thresh)}}


def _answers(model, batch, image, threshold):
    """Boxes and scores with another threshold of NMS, also of what is less likely."""
    other = copy.copy(model)
    other.nms_thresh, other.detections = threshold, EVERYTHING
    other.score_thresh = min(model.score_thresh, 0.05)
    found = other.predict([prepared(model, image)])[0]
    return found["boxes"] * batch.scale(0), found["scores"]


def _two_stages(model, batch, image) -> dict:
    """Faster R-CNN and its children: every anchor says how much it looks like an object."""
    maps, answers, _ = model(batch.images, batch.sizes)
    options = model.rpn.options
    loose = copy.copy(model.rpn)
    loose.options = replace(options, nms_thresh=1.0, after=EVERYTHING)
    (before, worth), = loose.propose(answers, batch.sizes)
    (after, value), = model.rpn.propose(answers, batch.sizes)
    return {"maps": [m.numpy() for m in maps], "generator": model.rpn.anchors,
            "anchors": answers[2].boxes, "scores": probability(answers[0].numpy()[0]),
            "rules": matching(options),
            "stages": {"before NMS": (before, probability(worth)),
                       "after NMS": (after, probability(value))}}


def matching(options) -> dict:
    """The rules by which a RetinaNet, or a `Proposing`, matches anchors."""
    return {"high": options.high, "low": options.low, "force": options.force}


def probability(logits) -> np.ndarray:
    """Of scores before the sigmoid."""
    return ops.sigmoid(logits).numpy()


# --- the pictures ---------------------------------------------------------------------------------
def one_stage(seen: Seen) -> dict:
    """{name: (Figure, what it shows)}."""
    return {
        "anchors": (draw.anchors(padded(seen), seen.generator, seen.sizes()),
                    "the anchors of one place on every map"),
        "assignments": (draw.assignments(seen.image, seen.anchors, seen.boxes(), **seen.rules),
                        "which anchors would be told that they stand for what was found"),
        "scores": (draw.score_maps(seen.image, seen.scores, seen.sizes(), seen.whole),
                   "the best score at every place"),
        "proposals": (draw.proposals(seen.image, seen.stages, score="score"),
                      "boxes before and after NMS, and what was found")}


def padded(seen: Seen) -> np.ndarray:
    """The image on the batch's ground, which the maps are of."""
    (H, W), (h, w) = seen.whole, seen.image.shape[1:]
    return np.pad(seen.image, ((0, 0), (0, H - h), (0, W - w)), constant_values=1)


def two_stages(seen: Seen, heads, image) -> dict:
    """The same for what is read from regions."""
    how = heads.options
    strides = [seen.whole[0] // m.shape[2] for m in seen.maps[:how.maps]]
    lowest, highest = levels(strides)
    regions = seen.stages["after NMS"][0][:MANY]
    figures = {"levels": (draw.pyramid_levels(seen.image, regions, lowest, highest, *how.canonical),
                          f"from which map the best {len(regions)} proposals are read")}
    if len(seen.found["boxes"]):
        figures.update(bins(seen, heads, strides, lowest, highest))
        figures.update(targets(seen, heads, image))
    return figures


def bins(seen: Seen, heads, strides, lowest, highest) -> dict:
    """The region with about a cell a bin, on its map, in the channel that tells most there, whose
    numbers are rounded to a tenth so that they can be read."""
    how, count = heads.options, len(seen.found["boxes"])
    regions = np.stack([seen.region(k) for k in range(count)])
    level = choose.assign_levels(regions, lowest, highest, *how.canonical) - lowest
    cells = (regions[:, 2:] - regions[:, :2]).max(1) / np.array(strides)[level]
    k = np.abs(cells - heads.size).argmin()
    if cells[k] > CELLS:
        return {}
    region, stride = regions[k], strides[level[k]]
    features = telling(seen.maps[level[k]][0], region / stride).round(1)
    return {
        "roi_bins": (draw.roi_bins(features, region, heads.size, 1 / stride, 2, how.aligned),
                     "the bins of one region, by RoI pool and by RoI Align"),
        "roi_sample": (draw.roi_sample(features, region, heads.size, 1 / stride, 2, how.aligned),
                       "one bin's samples, and the four weights of one")}


def telling(maps, box) -> np.ndarray:
    """Of maps (C, H, W) the one that differs most within a box, in cells."""
    x0, y0, x1, y1 = (int(v) for v in np.floor(box))
    return maps[maps[:, y0:y1 + 1, x0:x1 + 1].std((1, 2)).argmax()]


def targets(seen: Seen, heads, image) -> dict:
    """What the heads would be asked for if what was found were the truth."""
    found, figures = seen.found, {}
    few = range(min(FEW, len(found["boxes"])))
    regions = np.stack([seen.region(k) for k in few]) / seen.scale
    if "masks" in found:
        size = 2 * heads.mask_size
        figures["mask_targets"] = (
            draw.mask_targets(image, found["masks"][:len(few)], regions, (size, 2 * size)),
            "a region's mask, as the mask head is asked for it, and back")
    if "keypoints" in found:
        figures["keypoint_targets"] = (
            draw.keypoint_targets(image, found["keypoints"][0], regions[0],
                                  4 * heads.keypoint_size),
            "a region's keypoints, as the keypoint head is asked for them")
    return figures
