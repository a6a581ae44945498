"""Recipes: how every small model of the zoo is built, trained and measured, in a few minutes.

One recipe is used by `tinyvision train NAME`, by `tv.zoo.get(NAME)` and by the tests. To add a
model, add a `Recipe` to `RECIPES`.
"""
from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import json
import pathlib
from dataclasses import dataclass, replace
from typing import Callable, NamedTuple

import numpy as np

from tinyvision import device, metrics, models, optim
from tinyvision.engine import Tensor, no_grad
from tinyvision.train.fit import History, fit


class Splits(NamedTuple):
    """Data to learn from, data to measure with (data sets of pairs), the names of the classes."""
    train: object
    held_out: object
    names: tuple


@dataclass(frozen=True)
class Recipe:
    """A model, its data and its training.

    Attributes:
        build: () -> the Module, its weights drawn from `device.generator()`.
        data: by name ("shapes"), (limit=None) -> Splits, of the first `limit` items only if given;
            its repr says what is in them.
        measure: (model, held out data) -> named numbers, in inference mode.
        picture: (model, splits) -> a Figure of some of its answers.
        headline: the name of the number that counts; floor: what it must reach.
        epochs, batch_size, lr, weight_decay, seed: AdamW, along one cycle of the learning rate.
    """
    name: str
    build: Callable
    data: dict
    measure: Callable
    picture: Callable
    headline: str
    floor: float
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float = 1e-4
    seed: int = 0

    def splits(self, data: str | None = None, limit: int | None = None) -> Splits:
        """The data of that name (the recipe's first if None), or its first items."""
        return self.source(data)(limit)

    def source(self, data: str | None = None) -> Callable:
        """What makes the data of that name.

        Raises:
            ValueError: the recipe has no such data.
        """
        data = next(iter(self.data)) if data is None else data
        if data not in self.data:
            raise ValueError(f"{self.name}: there is no recipe for the data {data!r}, only for "
                             f"{', '.join(self.data)}")
        return self.data[data]

    def settings(self) -> dict:
        """The numbers, as JSON has them."""
        return {k: v for k, v in vars(self).items() if isinstance(v, (str, int, float))}


class Trained(NamedTuple):
    """A model, in inference mode, what happened, and what it was measured to be worth."""
    model: object
    history: History
    score: dict


def recipe(name: str, **changes) -> Recipe:
    """The recipe of that name, with other epochs or the like where they are given.

    Raises:
        ValueError: there is none, or fewer than one epoch is asked for.
    """
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    found = replace(RECIPES[name], **{k: v for k, v in changes.items() if v is not None})
    if found.epochs < 1:
        raise ValueError(f"{name}: epochs is at least 1, got {found.epochs}")
    return found


def train(chosen: Recipe, splits: Splits, checkpoint=None, progress: bool = True) -> Trained:
    """Follow a recipe, from its checkpoint on if that is there. Same recipe, same numbers.

    The caller's random numbers stay as they were. Errors: `fit`.
    """
    from tinyvision.data import DataLoader
    with random_numbers(chosen.seed):
        model = chosen.build()
        loader = DataLoader(splits.train, chosen.batch_size, shuffle=True, drop_last=True)
        optimizer = optim.AdamW(model.parameters(), chosen.lr, weight_decay=chosen.weight_decay)
        steps = chosen.epochs * len(loader)
        schedule = optim.lr_scheduler.OneCycleLR(optimizer, chosen.lr, steps + 1)
        history = fit(model, loader, optimizer, chosen.epochs, schedule=schedule,
                      metric=lambda model: chosen.measure(model, splits.held_out),
                      checkpoint=checkpoint, progress=progress)
        score = {name: values[-1] for name, values in history.metrics.items()}
        return Trained(model.eval(), history, score)


@contextlib.contextmanager
def random_numbers(seed):
    """Inside the block random numbers begin with `seed`; after it they go on as if nothing was."""
    before = device.generator()
    device.manual_seed(seed)
    try:
        yield
    finally:
        device._generator = before


# --- what a training depends on -------------------------------------------------------------------
SOURCES = ("nn", "optim", "train/fit.py", "train/recipes.py", "data/loader.py")
LOOKED_AT = 8              # items of each split that are hashed


def key(chosen: Recipe, data: str | None = None) -> str:
    """A hash of what the trained weights depend on: the recipe's numbers, the model's layers, the
    data (their description and the first few), the code of the model, of layers and of training.

    Kernels are not part of it: they may become faster, but compute the same.
    """
    from tinyvision import nn
    splits = chosen.splits(data, LOOKED_AT)
    with nn.init.skip_init():
        model = chosen.build()
    about = [chosen.settings(), repr(chosen.source(data)), splits.names, repr(model)]
    total = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for split in splits[:2]:
        total.update(_digest_of_items(split))
    total.update(_digest_of_code(type(model)))
    return total.hexdigest()[:16]


def _digest_of_items(split):
    total = hashlib.sha256()
    for k in range(len(split)):
        for part in split[k]:
            total.update(np.ascontiguousarray(part).tobytes())
    return total.digest()


@functools.cache
def _digest_of_code(model_class):
    here = pathlib.Path(__file__).parent.parent
    files = [f for name in SOURCES for f in (here / name, *sorted((here / name).glob("*.py")))]
    files = [f for f in files if f.is_file()] + [pathlib.Path(inspect.getfile(model_class))]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).digest()


# --- segmentation ---------------------------------------------------------------------------------
@dataclass(frozen=True)
class ShapesToSegment:
    """Generated scenes and their maps of classes: so many to learn from, so many held out."""
    train: int = 2000
    held_out: int = 500
    size: int = 64
    difficulty: str = "medium"

    def __call__(self, limit: int | None = None) -> Splits:
        """Item k of a split is (image (3, H, W), labels (H, W)), 0 the background."""
        from tinyvision import data
        scenes = [data.shapes(min(n, limit or n), self.size, data.SPLITS[split]["seed"],
                              self.difficulty)
                  for split, n in (("train", self.train), ("held_out", self.held_out))]
        pairs = [data.TensorDataset(s.images, s.masks) for s in scenes]
        return Splits(*pairs, ("background", *scenes[0].names))


def segmentation(model, held_out, batch: int = 50) -> dict[str, float]:
    """`metrics.Segmentation` of the model's predictions, in inference mode."""
    scores = confusion(model, held_out, batch)
    return {name: value for name, value in scores.summary().items() if name != "mean_accuracy"}


def confusion(model, held_out, batch: int = 50) -> metrics.Segmentation:
    """The counts behind it."""
    from tinyvision.data import DataLoader
    scores = None
    with no_grad():
        for images, masks in DataLoader(held_out, batch, generator=np.random.default_rng(0)):
            if scores is None:
                scores = metrics.Segmentation(model(Tensor(images[:1])).shape[1])
            scores.add(masks, model.predict(Tensor(images)))
    return scores


def segmented(model, splits: Splits, n: int = 6):
    """A picture of the first held out images, the truth and the predictions."""
    from tinyvision import draw
    images, masks = (np.stack(part) for part in zip(*(splits.held_out[k] for k in range(n))))
    with no_grad():
        predicted = model.predict(Tensor(images))
    return draw.masks(images, masks, predicted, splits.names[1:])


RECIPES = {
    "tiny_segnet": Recipe(
        "tiny_segnet", models.tiny_segnet, {"shapes": ShapesToSegment()}, segmentation, segmented,
        headline="mean_iou", floor=0.80, epochs=12, batch_size=16, lr=1e-2),
}
