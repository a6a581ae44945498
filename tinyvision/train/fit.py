"""fit: the loop that trains every model here.

    for every batch:  losses = model.loss(images, targets);  backward;  step

with a bar that shows losses, metric and time left; checkpoints from which a training that was
killed at any moment goes on to the very same numbers; and a stop, with the layer's name, when a
loss is not finite.
"""
from __future__ import annotations

import math
import pathlib
import time
import warnings
from dataclasses import dataclass, field

import numpy as np

from tinyvision import device, optim
from tinyvision.data import DataLoader
from tinyvision.engine import Tensor
from tinyvision.train import checkpoint as files
from tinyvision.train.checkpoint import CheckpointError
from tinyvision.train.look import items_of_batch, look
from tinyvision.train.nonfinite import explain

SECONDS = 30.0             # between two checkpoints, in the middle of an epoch
SMOOTH = 0.05              # the newest loss's share in what the bar shows


@dataclass
class History:
    """What happened in a training.

    Attributes:
        losses: by name, the value of every step; "loss" is their sum.
        rates: the first group's learning rate in every step.
        metrics: by name, the value after every epoch.
        seconds: how long it has taken, earlier runs of the same training included.
    """
    losses: dict = field(default_factory=dict)
    rates: list = field(default_factory=list)
    metrics: dict = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def steps(self) -> int:
        """The steps made."""
        return len(self.rates)

    def add(self, losses: dict, rate: float) -> None:
        """One step more."""
        for name, value in losses.items():
            self.losses.setdefault(name, []).append(value)
        self.rates.append(rate)

    def tree(self) -> dict:
        """As a checkpoint keeps it."""
        return {"losses": {k: np.array(v) for k, v in self.losses.items()},
                "rates": np.array(self.rates, np.float64), "seconds": self.seconds,
                "metrics": {k: list(v) for k, v in self.metrics.items()}}

    @classmethod
    def of_tree(cls, tree) -> History:
        """From a checkpoint."""
        return cls({k: v.tolist() for k, v in tree["losses"].items()}, tree["rates"].tolist(),
                   tree["metrics"], tree["seconds"])


def fit(model, data, optimizer, epochs: int, *, schedule=None, metric=None, clip_norm=None,
        checkpoint=None, every: float = SECONDS, progress: bool = True) -> History:
    """Train `model` on `data` for so many epochs.

    Args:
        model: a Module with `loss(images, targets)`, a dict of named losses, whose sum is
            minimised.
        data: a DataLoader of batches (images, targets).
        epochs: how often all of it is gone through, from here on, or, where there is a checkpoint,
            from where that training began.
        optimizer: of the model's parameters.
        schedule: an `optim.lr_scheduler`; its `step()` is called after every step.
        metric: a function of the model, called in inference mode after every epoch; gives a number
            or a dict of named numbers.
        clip_norm: the largest norm of all gradients together; None: they are left as they are.
        checkpoint: a file. If it is there, the training goes on from it; it is written every
            `every` seconds and after every epoch.
        progress: show a bar.

    Returns:
        The History, that of the earlier runs included.

    Raises:
        NonFiniteError: a loss is infinite or not a number; says where that began.
        CheckpointError: the checkpoint is damaged, or of another model, optimizer or data set.
        DataError: the data set, in memory, has an item that is not finite, of another shape, or
            with a label out of range; says which, before the first step.
        TypeError, ValueError: `data` is no DataLoader, the model has no such loss, the optimizer
            none of its parameters, epochs is less than 1; the model refuses a batch; says which.
    """
    _check(model, data, optimizer, epochs)
    run = Run(model, data, optimizer, schedule, checkpoint)
    history = run.resume()
    look(model, data)
    bar = _bar(epochs * len(data), history.steps, progress)
    began, saved = time.perf_counter() - history.seconds, time.perf_counter()
    while data.epoch < run.first + epochs:
        model.train()
        for images, targets in data:
            history.add(_step(run, images, targets, clip_norm), optimizer.lr)
            if schedule is not None:
                schedule.step()
            history.seconds = time.perf_counter() - began
            if checkpoint and time.perf_counter() - saved > every and data.batch < len(data):
                run.save(history)
                saved = time.perf_counter()
            bar.show(history)
        if metric is not None:
            _measure(model, metric, history)
            bar.show(history, steps=0)
        history.seconds = time.perf_counter() - began
        run.save(history)
    bar.close()
    return history


def _check(model, data, optimizer, epochs):
    """Refuse what would train nothing, or fail far from here."""
    if not isinstance(data, DataLoader):
        raise TypeError(f"fit: data is a {type(data).__name__}, expected a DataLoader of it, as in "
                        "DataLoader(data, batch_size=32, shuffle=True)")
    if not callable(getattr(model, "loss", None)):
        raise TypeError(f"fit: {type(model).__name__} has no method loss(images, targets) that gives "
                        'a dict of losses, such as {"cross_entropy": ...}')
    if not isinstance(epochs, (int, np.integer)) or epochs < 1:
        raise ValueError(f"fit: epochs is {epochs!r}, expected a whole number of at least 1")
    own = {id(p) for p in model.parameters()}
    if not any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
        raise ValueError("fit: the optimizer has none of the model's parameters; make it with "
                         "model.parameters()")


def _named_losses(model, losses):
    """The dict that a model's loss gave."""
    if not isinstance(losses, dict) or not losses:
        raise TypeError(f"fit: {type(model).__name__}.loss gave {type(losses).__name__}, expected a "
                        'dict of named losses, such as {"cross_entropy": ...}')
    for name, loss in losses.items():
        if not isinstance(loss, Tensor) or loss.size != 1:
            what = f"shape {loss.shape}" if isinstance(loss, Tensor) else type(loss).__name__
            raise TypeError(f"fit: the loss {name!r} is of {what}, expected a Tensor of one number")
    return losses


def _step(run, images, targets, clip_norm):
    """One step; the losses' values."""
    random = device.generator().bit_generator.state
    images = images if isinstance(images, (Tensor, list)) else Tensor(images)
    run.optimizer.zero_grad()
    losses = run.losses(images, targets)
    total = sum(losses.values())
    values = {"loss": total.item(), **{name: loss.item() for name, loss in losses.items()}}
    if not math.isfinite(values["loss"]):
        raise explain(run.model, images, targets, random, run.where(), items_of_batch(run.data))
    total.backward()
    if clip_norm is not None:
        optim.clip_grad_norm_(run.model.parameters(), clip_norm)
    run.optimizer.step()
    return values


def _measure(model, metric, history):
    """Ask the metric, in inference mode and without a trace in the random numbers."""
    random = device.generator().bit_generator.state
    model.eval()
    values = metric(model)
    device.generator().bit_generator.state = random
    for name, value in (values if isinstance(values, dict) else {"metric": values}).items():
        history.metrics.setdefault(name, []).append(float(value))


@dataclass
class Run:
    """All that changes in a training, and the file that it is kept in."""
    model: object
    data: object
    optimizer: object
    schedule: object
    path: object
    first: int = 0             # the epoch of the data in which the training began

    def losses(self, images, targets) -> dict:
        """The model's; a batch that it refuses is named."""
        try:
            return _named_losses(self.model, self.model.loss(images, targets))
        except ValueError as error:
            items = ", ".join(map(str, items_of_batch(self.data)))
            raise ValueError(f"{self.where()}, items {items}: {error}") from error

    def where(self) -> str:
        """The step, for sentences."""
        return f"step {self.data.batch} of epoch {self.data.epoch - self.first + 1}"

    def save(self, history) -> None:
        """Write the checkpoint, if there is to be one."""
        if self.path:
            files.save(self.path, {
                "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule and self.schedule.state_dict(),
                "data": self.data.state_dict(), "random": device.generator().bit_generator.state,
                "history": history.tree(), "first": self.first})

    def resume(self) -> History:
        """Go on from the checkpoint, if it is there; the history so far."""
        if not self.path or not pathlib.Path(self.path).exists():
            self.data.restart()
            self.first = self.data.epoch
            return History()
        tree = files.load(self.path)
        try:
            self.model.load_state_dict(tree["model"])
            self.optimizer.load_state_dict(tree["optimizer"])
            if (self.schedule is None) != (tree["schedule"] is None):
                raise ValueError("one of the two trainings has a schedule, the other has none")
            if self.schedule is not None:
                self.schedule.load_state_dict(tree["schedule"])
            self.data.load_state_dict(tree["data"])
            self.first = tree["first"]
            device.generator().bit_generator.state = tree["random"]
            return History.of_tree(tree["history"])
        except (KeyError, ValueError) as error:
            said = error.args[0] if error.args else error
            raise CheckpointError(f"{self.path}: a checkpoint of another training: {said}; delete "
                                  "it to begin anew, or give another file") from error


# --- the bar --------------------------------------------------------------------------------------
class _bar:
    """tqdm's bar, in terminals and notebooks: smoothed losses, the latest metrics, time left."""

    def __init__(self, total, done, shown):
        from tqdm import TqdmWarning
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TqdmWarning)     # a notebook without widgets
            from tqdm.auto import tqdm
        self.tqdm = tqdm(total=total, initial=done, unit="step", disable=not shown)
        self.smooth = {}

    def show(self, history, steps=1):
        """The newest values."""
        for name, values in history.losses.items():
            before = self.smooth.get(name, values[-1])
            self.smooth[name] = before + SMOOTH * (values[-1] - before)
        shown = self.smooth if len(self.smooth) > 2 else {"loss": self.smooth["loss"]}
        latest = {name: values[-1] for name, values in history.metrics.items()}
        both = {k: f"{v:.3g}" for k, v in {**shown, **latest}.items()}
        self.tqdm.set_postfix(both, refresh=False)
        self.tqdm.update(steps)

    def close(self):
        """Leave it as it stands."""
        self.tqdm.close()
