"""What the recipes share: generated scenes to learn from and held out, their batches, and the
neighbour without a network that a model is compared with."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision import data
from tinyvision.train.recipe import Splits


@dataclass(frozen=True)
class GeneratedScenes:
    """So many scenes to learn from, so many held out. Subclasses make `Splits` of them."""
    train: int = 2000
    held_out: int = 500
    size: int = 64
    difficulty: str = "medium"

    def scenes(self, limit: int | None = None, make=data.shapes, **options) -> list[data.Scenes]:
        """Both, or the first `limit` of both, made by `make` with the options."""
        return [make(min(n, limit or n), self.size, data.SPLITS[split]["seed"], self.difficulty,
                     **options)
                for split, n in (("train", self.train), ("held_out", self.held_out))]


def held_out_batches(splits: Splits, batch: int) -> data.DataLoader:
    """The held out items in their order; no random number is drawn."""
    return data.DataLoader(splits.held_out, batch, generator=np.random.default_rng(0))


def nearest_in_pixels(splits: Splits) -> np.ndarray:
    """For every held out image the training image whose pixels are closest, its number."""
    known, asked = (np.stack([image.ravel() for image, _ in split])
                    for split in (splits.train, splits.held_out))
    # |a - b|^2 = |a|^2 - 2 ab + |b|^2, of which |a|^2 is the same for all neighbours of a
    return ((known ** 2).sum(1) - 2 * asked @ known.T).argmin(1)
