"""Detection, masks and poses in recipes: their data, their measures and the picture of answers."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision import data, metrics
from tinyvision.engine import no_grad
from tinyvision.ops import box_iou
from tinyvision.train.recipe import Splits
from tinyvision.train.scenes import GeneratedScenes, held_out_batches, nearest_in_pixels

# of a figure's head, neck, hip, hands and feet: COCO's for nose, shoulder, hip, wrist and ankle
FIGURE_SIGMAS = 0.026, 0.079, 0.107, 0.062, 0.062, 0.089, 0.089


@dataclass(frozen=True)
class ShapesToDetect(GeneratedScenes):
    """Generated scenes and all that is known of their objects. classes: of `data.shapes`;
    keypoints: whether targets carry them."""
    classes: tuple = data.CLASSES[:5]
    keypoints: bool = False

    def __call__(self, limit: int | None = None) -> Splits:
        """Item k of a split is (image (3, H, W), target), see `data.target`."""
        scenes = self.scenes(limit, classes=self.classes)
        if self.keypoints:
            scenes = [one.carrying("keypoints") for one in scenes]
        return Splits(*scenes, scenes[0].names)


@dataclass(frozen=True)
class Measure:
    """COCO's AP of a model's answers, at IoU (or OKS) 0.5 and its mean from 0.5 to 0.95.

    kind: "boxes", "masks" or "keypoints"; of the last two, boxes are measured besides.
    sigmas: of the keypoints.
    """
    kind: str = "boxes"
    sigmas: tuple | None = None

    def __call__(self, model, splits: Splits) -> dict[str, float]:
        """Of the held out items, in inference mode."""
        return self.scores(*answers(model, splits), splits.names)

    def scores(self, targets, found, names) -> dict[str, float]:
        """Of these answers."""
        own = metrics.DetectionAP(names, self.kind, self.sigmas).add(targets, found).summary()
        figures = {"AP50": own["AP50"], "AP": own["AP"]}
        if self.kind != "boxes":
            figures["box_AP50"] = metrics.DetectionAP(names).add(targets, found).summary()["AP50"]
        return figures

    def compare(self, splits: Splits) -> dict[str, float]:
        """Of "the same as in that training image whose pixels are closest"."""
        found = [splits.train[k][1] for k in nearest_in_pixels(splits)]
        found = [{**one, "scores": np.ones(len(one["labels"]), np.float32)} for one in found]
        targets = [target for _, target in splits.held_out]
        return {"nearest neighbour in pixels": self.scores(targets, found, splits.names)["AP50"]}


def answers(model, splits: Splits, batch: int = 50) -> tuple[list, list]:
    """(targets, predictions) of all held out items."""
    targets, found = [], []
    with no_grad():
        for images, true in held_out_batches(splits, batch):
            targets += true
            found += model.predict(images)
    return targets, found


def proposal_recall(model, splits: Splits, proposals: int = 50, iou: float = 0.7,
                    batch: int = 50) -> float:
    """The share of the held out objects that one of an RPN's best `proposals` overlaps enough; NaN
    if there are no objects."""
    hits = [np.zeros(0, bool)]
    with no_grad():
        for images, targets in held_out_batches(splits, batch):
            prepared = model.transform(images)
            _, _, found = model(prepared.images, prepared.sizes)
            hits += [covered(target["boxes"] * prepared.scale(k), boxes[:proposals], iou)
                     for k, (target, boxes) in enumerate(zip(targets, found))]
    hits = np.concatenate(hits)
    return float(hits.mean()) if len(hits) else float("nan")


def covered(truth, boxes, iou: float) -> np.ndarray:
    """Which true boxes (M, 4) have an IoU of at least `iou` with one of the boxes (P, 4)."""
    return box_iou(truth, boxes).max(1, initial=0) >= iou


def picture(model, splits: Splits, n: int = 6):
    """The first held out images, the truth and what was found with a score above a half."""
    from tinyvision import draw
    items = [splits.held_out[k] for k in range(min(n, len(splits.held_out)))]
    images, targets = np.stack([image for image, _ in items]), [target for _, target in items]
    with no_grad():
        found = model.predict(images)
    return draw.detection_rows(images, targets, found, splits.names)
