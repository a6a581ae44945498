"""What `bench train` trains: the tasks, and for every side a call that makes one step."""
from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np

from tinyvision import device
from tinyvision.bench import torch_models
from tinyvision.data import shapes


@dataclass(frozen=True)
class Task:
    """What is trained, on what, the goals against PyTorch and its channels-last mode, and the
    memory that a step may take, in PyTorch's. `dense`: labels of pixels; `detects`: scenes with their
    targets, and the model says what it loses."""
    name: str
    title: str
    batch: tuple
    classes: int
    dense: bool = False
    detects: bool = False
    goals: dict = field(default_factory=dict)
    frugal: float = 1.0

    def data(self):
        """A batch, images and labels: random ones, or scenes."""
        N, _, H, W = self.batch
        if self.detects:
            scenes = shapes(N, H)
            return scenes.images, [scenes.target(n) for n in range(N)]
        rng = np.random.default_rng(0)
        shape = (N, H, W) if self.dense else (N,)
        return (rng.standard_normal(self.batch, np.float32),
                rng.integers(0, self.classes, shape))


TASKS = {task.name: task for task in (
    Task("cnn", "small CNN, (32,3,64,64)", (32, 3, 64, 64), 10,
         goals={"torch": 0.75, "channels_last": 1.0}),
    Task("segnet", "tiny SegNet, (10,3,64,64)", (10, 3, 64, 64), 6, dense=True),
    Task("resnet", "tiny ResNet, (32,3,32,32)", (32, 3, 32, 32), 10, goals={"torch": 1.0},
         frugal=1.1),
    Task("unet", "tiny U-Net, (16,3,64,64)", (16, 3, 64, 64), 6, dense=True, goals={"torch": 1.0},
         frugal=1.1),
    Task("retinanet", "tiny RetinaNet, (16,3,64,64)", (16, 3, 64, 64), 5, detects=True,
         goals={"torch": 1.0}, frugal=1.1),
    Task("mask_rcnn", "tiny Mask R-CNN, (16,3,64,64)", (16, 3, 64, 64), 6, detects=True,
         goals={"torch": 1.0}, frugal=1.1))}
WIDTHS = 3, 16, 32, 64                   # of the small CNN: conv - bn - relu - pool, three times


# --- ours -----------------------------------------------------------------------------------------
def our_model(name: str):
    """The model, from a fixed seed."""
    from tinyvision import models, nn
    device.manual_seed(0)
    return _cnn(nn) if name == "cnn" else getattr(models, f"tiny_{name}")(TASKS[name].classes)


def our_step(model, images, labels):
    """A call that makes one step and returns the loss before it."""
    from tinyvision import ops, optim
    from tinyvision.engine import Tensor
    optimizer, x = optim.SGD(model.parameters(), lr=0.01, momentum=0.9), Tensor(images)

    def step():
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()
    return step


def _cnn(nn):
    """The small CNN; `nn` is tinyvision's or PyTorch's."""
    layers = []
    for before, after in zip(WIDTHS, WIDTHS[1:]):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after),
                   nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 8 * 8, 10))


# --- PyTorch's ------------------------------------------------------------------------------------
def torch_model(name: str, weights: dict, channels_last: bool):
    """The same model with the same weights."""
    import torch
    model = (_cnn(torch.nn) if name == "cnn" else
             getattr(torch_models, name)(TASKS[name].classes))
    model.load_state_dict({key: torch.tensor(np.asarray(w)) for key, w in weights.items()},
                          strict=False)
    return model.to(memory_format=torch.channels_last) if channels_last else model


def torch_step(model, images, labels, channels_last: bool):
    """A call that makes one step and returns the loss before it."""
    import torch
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, target = torch.tensor(images), torch.tensor(labels)
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss.item()
    return step


def detector_step(side: str, model, images, targets):
    """A call that makes one step and returns the named losses before it: one side's, by AdamW.

    Every step has a seed of its own, so that both sides draw the same samples of regions.
    """
    if side == "ours":
        from tinyvision import optim
    else:
        from torch import optim

        from tinyvision.bench import torch_detectors
        model = torch_detectors.model(model, side == "channels_last")
    optimizer, seed = optim.AdamW(model.parameters(), lr=1e-3), itertools.count()

    def step():
        device.manual_seed(next(seed))
        optimizer.zero_grad()
        losses = model.loss(images, targets)
        sum(losses.values()).backward()
        optimizer.step()
        return [loss.item() for loss in losses.values()]
    return step


def step_of(side: str, task: Task, images, labels):
    """One side's step."""
    model = our_model(task.name)
    if task.detects:
        return detector_step(side, model, images, labels)
    if side == "ours":
        return our_step(model, images, labels)
    last = side == "channels_last"
    weights = {key: value.copy() for key, value in model.state_dict().items()}
    return torch_step(torch_model(task.name, weights, last), images, labels, last)
