"""A recipe: how a small model of the zoo is built, trained and measured, in a few minutes.

One recipe is used by `tinyvision train NAME`, by `tv.zoo.get(NAME)` and by the tests. The recipes
themselves are in `recipes`, what belongs to a task in `classifying`, `segmenting`, `generating`.
"""
from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import json
import pathlib
import sys
from dataclasses import dataclass
from typing import Callable, NamedTuple

import numpy as np

from tinyvision import device, optim
from tinyvision.train.fit import fit


class Splits(NamedTuple):
    """Data to learn from, data to measure with (data sets of pairs), the names of the classes."""
    train: object
    held_out: object
    names: tuple


@dataclass(frozen=True)
class Recipe:
    """A model, its data and its training.

    Attributes:
        task: "classification" or the like.
        build: () -> the Module, its weights drawn from `device.generator()`.
        data: by name ("shapes"), (limit=None) -> Splits, of the first `limit` items only if given;
            a dataclass, whose fields say what is in them.
        measure: (model, splits) -> named numbers, of the held out items, in inference mode.
        picture: (model, splits) -> a Figure of some of its answers.
        compare: splits -> named values of the headline number that need no network: what the
            model's is to be compared with.
        headline: the name of the number that counts.
        floor: what it must reach: be at least, or at most where `lower` is better.
        minutes: in which it must reach it, on two cores.
        epochs, batch_size, lr, weight_decay, seed: AdamW, along one cycle of the learning rate.
        transforms: of the training's items, as a `DataLoader` takes them; a dataclass.
    """
    name: str
    task: str
    build: Callable
    data: dict
    measure: Callable
    picture: Callable
    compare: Callable
    headline: str
    floor: float
    minutes: float
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float = 1e-2
    seed: int = 0
    lower: bool = False
    transforms: Callable | None = None

    def splits(self, data: str | None = None, limit: int | None = None) -> Splits:
        """The data of that name (the recipe's first if None), or its first items."""
        return self.source(data)(limit)

    def source(self, data: str | None = None) -> Callable:
        """What makes the data of that name.

        Raises:
            ValueError: the recipe has no such data.
        """
        data = self.source_name(data)
        if data not in self.data:
            raise ValueError(f"{self.name}: there is no recipe for the data {data!r}, only for "
                             f"{', '.join(self.data)}")
        return self.data[data]

    def source_name(self, data: str | None = None) -> str:
        """The name, or the first one if None."""
        return next(iter(self.data)) if data is None else data

    def reached(self, score: float) -> bool:
        """Whether that is as good as the floor."""
        return score <= self.floor if self.lower else score >= self.floor

    def settings(self) -> dict:
        """The numbers, as JSON has them."""
        return {k: v for k, v in vars(self).items() if isinstance(v, (str, int, float))}


class Trained(NamedTuple):
    """A model, in inference mode, what happened, and what it was measured to be worth."""
    model: object
    history: object
    score: dict


def train(chosen: Recipe, splits: Splits, checkpoint=None, progress: bool = True) -> Trained:
    """Follow a recipe, from its checkpoint on if that is there. Same recipe, same numbers.

    The caller's random numbers stay as they were. Errors: `fit`.
    """
    from tinyvision.data import DataLoader
    with random_numbers(chosen.seed):
        model = chosen.build()
        loader = DataLoader(splits.train, chosen.batch_size, shuffle=True, drop_last=True,
                            transforms=chosen.transforms)
        optimizer = optim.AdamW(model.parameters(), chosen.lr, weight_decay=chosen.weight_decay)
        steps = chosen.epochs * len(loader)
        schedule = optim.lr_scheduler.OneCycleLR(optimizer, chosen.lr, steps + 1,
                                                   cycle_momentum=False)
        history = fit(model, loader, optimizer, chosen.epochs, schedule=schedule,
                      metric=lambda model: chosen.measure(model, splits),
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
SOURCES = ("nn", "optim", "train/fit.py", "train/recipe.py", "data/loader.py")
DRAWN_ON = "tinyvision.models.", "tinyvision.boxes"
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
    about = [chosen.settings(), repr(chosen.source(data)), splits.names, repr(model),
             *([repr(chosen.transforms)] if chosen.transforms else [])]
    total = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for split in splits[:2]:
        total.update(_digest_of_items(split))
    parts = [*model.modules(), *([chosen.transforms] if chosen.transforms else [])]
    total.update(_digest_of_code(tuple(homes({type(part).__module__ for part in parts}))))
    return total.hexdigest()[:16]


def homes(modules) -> list[str]:
    """The files of these modules, and of those of `tinyvision.models` and `.boxes` they draw on."""
    found, left = set(), set(modules)
    while left:
        name = left.pop()
        found.add(name)
        used = {value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", None)
                for value in vars(sys.modules[name]).values()}
        left |= {one for one in used if str(one).startswith(DRAWN_ON)} - found
    return sorted(inspect.getfile(sys.modules[name]) for name in found)


def _digest_of_items(split):
    total = hashlib.sha256()
    for k in range(len(split)):
        for part in split[k]:
            total.update(_bytes(part))
    return total.digest()


def _bytes(part):
    """Of an image or a target."""
    if isinstance(part, dict):
        return b"".join(name.encode() + _bytes(part[name]) for name in sorted(part))
    return np.ascontiguousarray(part).tobytes()


@functools.cache
def _digest_of_code(homes):
    """Of the files that a model's modules are defined in, and of SOURCES."""
    here = pathlib.Path(__file__).parent.parent
    files = [f for name in SOURCES for f in (here / name, *sorted((here / name).glob("*.py")))]
    files = [f for f in files if f.is_file()] + [pathlib.Path(home) for home in homes]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).digest()
