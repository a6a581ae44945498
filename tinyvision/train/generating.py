"""Generation in recipes: its data, its measures and the picture of its answers."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision import data
from tinyvision.engine import Tensor
from tinyvision.train.classifying import ShapesToClassify
from tinyvision.train.recipe import Splits, random_numbers
from tinyvision.train.scenes import held_out_batches


@dataclass(frozen=True)
class ShapesToGenerate(ShapesToClassify):
    """Generated pictures of one shape out of ten. Item k of a split is (image (3, H, W), label);
    the label is for pictures of codes."""


# On a plain ground, upright: what is texture and noise no code keeps. And four times as many: with
# few, a decoder learns them by heart. New pictures look better, and the task is easier.
EASY = ShapesToGenerate(train=8000, difficulty="easy")


def measure(model, splits: Splits, batch: int = 100) -> dict[str, float]:
    """The squared error of reconstructions of the held out images, over that of the mean image of
    the training's: 1 is a model that has learned nothing but the mean."""
    error = sum(((model.predict(Tensor(images)) - images) ** 2).sum()
                for images, _ in held_out_batches(splits, batch))
    return {"relative_error": float(error / ((images_of(splits.held_out)
                                              - images_of(splits.train).mean(0)) ** 2).sum())}


def images_of(split) -> np.ndarray:
    """(N, C, H, W)."""
    return np.stack([image for image, _ in split])


def compare(splits: Splits, latent: int = 32) -> dict[str, float]:
    """The relative error of principal components, the best linear code of as many numbers."""
    known, asked = (images_of(split).reshape(len(split), -1) for split in splits[:2])
    mean = known.mean(0)
    axes, asked = principal_axes(known - mean, latent), asked - mean     # (pixels, latent)
    error = ((asked - asked @ axes @ axes.T) ** 2).sum() / (asked ** 2).sum()
    return {f"{latent} principal components": float(error)}


def principal_axes(x, count: int, spare: int = 16, rounds: int = 8) -> np.ndarray:
    """(pixels, count): the directions in which x (N, pixels), of mean 0, varies most.

    Subspace iteration (Halko, Martinsson & Tropp 2011, algorithm 4.4): a few random directions,
    multiplied by the covariance again and again, turn into those; a decomposition of all takes a
    hundred times as long.
    """
    axes = np.random.default_rng(0).standard_normal((x.shape[1], min(count + spare, *x.shape)))
    axes = axes.astype(x.dtype)
    for _ in range(rounds):
        axes = np.linalg.qr(x.T @ (x @ axes))[0]
    return axes @ np.linalg.svd(x @ axes, full_matrices=False)[2].T[:, :count]


def picture(model, splits: Splits, n: int = 8):
    """Held out images, their reconstructions, and images decoded from draws of N(0, 1)."""
    from tinyvision import draw
    images = images_of([splits.held_out[k] for k in range(min(n, len(splits.held_out)))])
    with random_numbers(0):
        new = model.generate(2 * len(images))
    return draw.image_rows({"image": images, "again": model.predict(Tensor(images)),
                            "new": new[::2], "also new": new[1::2]})
