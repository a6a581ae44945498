"""Classification in recipes: its data, its measures and the picture of its answers."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision import data, metrics
from tinyvision.engine import Tensor, no_grad
from tinyvision.train.recipe import Splits
from tinyvision.train.scenes import GeneratedScenes, held_out_batches, nearest_in_pixels


@dataclass(frozen=True)
class ShapesToClassify(GeneratedScenes):
    """Generated pictures of one shape out of ten."""
    size: int = 32

    def __call__(self, limit: int | None = None) -> Splits:
        """Item k of a split is (image (3, H, W), label)."""
        scenes = self.scenes(limit, data.one_shape)
        pairs = [data.TensorDataset(s.images, np.concatenate(s.labels)) for s in scenes]
        return Splits(*pairs, scenes[0].names)


def measure(model, splits: Splits, batch: int = 100) -> dict[str, float]:
    """The shares of held out images whose class is the model's first choice, or in its first
    three."""
    labels, scores = answers(model, splits, batch)
    return {f"top_{k}": metrics.top_k_accuracy(labels, scores, k) for k in (1, 3)}


def answers(model, splits: Splits, batch: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) of the held out images, and the model's scores (N, classes)."""
    found = []
    with no_grad():
        for images, labels in held_out_batches(splits, batch):
            found.append((labels, model(Tensor(images)).numpy()))
    labels, scores = zip(*found)
    return np.concatenate(labels), np.concatenate(scores)


def compare(splits: Splits) -> dict[str, float]:
    """The top-1 of the nearest neighbour: the class of that training image whose pixels are closest
    to the image's. The shapes are moved, turned and scaled, so that pixels say little."""
    classes, labels = (np.array([label for _, label in split])
                       for split in (splits.train, splits.held_out))
    found = classes[nearest_in_pixels(splits)]
    return {"nearest neighbour in pixels": metrics.accuracy(labels, found)}


def picture(model, splits: Splits, n: int = 24, wrong: int = 8):
    """The first held out images with the model's answers; the last row is for mistakes, orange,
    with the truth, as far as there are any."""
    from tinyvision import draw
    from tinyvision.draw.palette import ACCENT
    labels, scores = answers(model, splits)
    chosen = first_and_wrong(labels == scores.argmax(1), n, wrong)
    said = [(splits.names[scores[k].argmax()], splits.names[labels[k]]) for k in chosen]
    titles = [a if a == truth else f"{a}\n(is {truth})" for a, truth in said]
    figure = draw.images([splits.held_out[k][0] for k in chosen], titles, columns=8, side=1.15)
    for axes, (a, truth) in zip(figure.axes, said):
        axes.title.set_color(axes.title.get_color() if a == truth else ACCENT)
    return figure


def first_and_wrong(right, n: int, wrong: int) -> list[int]:
    """`n` items: the first ones, then `wrong` more, mistakes if there are so many."""
    start = n - wrong
    later = sorted(range(start, len(right)), key=lambda k: right[k])[:wrong]
    return [*range(min(start, len(right))), *sorted(later)]
