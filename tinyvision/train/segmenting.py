"""Segmentation in recipes: its data, its measures and the picture of its answers."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision import data, metrics
from tinyvision.engine import Tensor, no_grad
from tinyvision.train.recipe import Splits
from tinyvision.train.scenes import GeneratedScenes, held_out_batches


@dataclass(frozen=True)
class ShapesToSegment(GeneratedScenes):
    """Generated scenes and their maps of classes."""

    def __call__(self, limit: int | None = None) -> Splits:
        """Item k of a split is (image (3, H, W), labels (H, W)), 0 the background."""
        scenes = self.scenes(limit)
        pairs = [data.TensorDataset(s.images, s.masks) for s in scenes]
        return Splits(*pairs, ("background", *scenes[0].names))


def measure(model, splits: Splits, batch: int = 50) -> dict[str, float]:
    """`metrics.Segmentation` of the model's predictions, in inference mode."""
    return _chosen(confusion(model, splits, batch))


def confusion(model, splits: Splits, batch: int = 50) -> metrics.Segmentation:
    """The counts behind it."""
    scores = metrics.Segmentation(len(splits.names))
    with no_grad():
        for images, masks in held_out_batches(splits, batch):
            scores.add(masks, model.predict(Tensor(images)))
    return scores


def _chosen(scores):
    return {name: value for name, value in scores.summary().items() if name != "mean_accuracy"}


def compare(splits: Splits) -> dict[str, float]:
    """The mean IoU of "all is background"."""
    scores = metrics.Segmentation(len(splits.names))
    for _, mask in splits.held_out:
        scores.add(mask, np.zeros_like(mask))
    return {"background everywhere": scores.mean_iou()}


def picture(model, splits: Splits, n: int = 6):
    """The first held out images, the truth and the predictions."""
    from tinyvision import draw
    n = min(n, len(splits.held_out))
    images, masks = (np.stack(part) for part in zip(*(splits.held_out[k] for k in range(n))))
    with no_grad():
        predicted = model.predict(Tensor(images))
    return draw.masks(images, masks, predicted, splits.names[1:])
