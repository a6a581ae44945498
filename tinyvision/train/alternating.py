"""Faster R-CNN's first way to be trained: one part at a time, in four steps.

Ren et al. 2015, section 3.2. The joint training, which replaced it, is `FasterRCNN.loss`.

    1  the RPN, with a trunk of its own
    2  the heads, with another trunk, on the proposals of step 1
    3  the RPN again, on the trunk of step 2, which is fixed from here on
    4  the heads again, on the proposals of step 3: now both stand on one trunk
"""
from __future__ import annotations

from tinyvision import optim
from tinyvision.engine import no_grad
from tinyvision.nn import Module
from tinyvision.train.fit import fit


class Part(Module):
    """A part of a FasterRCNN, for `fit`. trained: its modules that learn; the others stay fixed, in
    inference mode."""

    def __init__(self, model, *trained):
        self.model, self.trained = model, tuple(trained)     # a tuple's modules are no children

    def parameters(self):
        """Of what learns."""
        return (p for module in self.trained for p in module.parameters())

    def train(self, mode=True):
        """Of what learns."""
        super().train(False)
        for module in self.trained:
            module.train(mode)
        return self


class Proposing(Part):
    """The first stage alone."""

    def loss(self, images, targets) -> dict:
        """The RPN's two."""
        batch, ready = self.model.prepare(images, targets)
        maps = self.model.backbone(batch.images)
        return self.model.rpn.loss(self.model.rpn(batch.images, maps), ready)


class Looking(Part):
    """The second stage alone, on the proposals of `proposer`, which may be another FasterRCNN."""

    def __init__(self, model, proposer, *trained):
        super().__init__(model, *trained)
        self.proposer = proposer

    def loss(self, images, targets) -> dict:
        """Those of the heads."""
        batch, ready = self.model.prepare(images, targets)
        with no_grad():
            _, _, proposals = self.proposer(batch.images, batch.sizes)
        maps = self.model.backbone(batch.images)
        regions = self.model.roi_heads.sample(proposals, ready)
        return self.model.roi_heads.loss(batch.images, maps, regions)


def alternate(build, loader, epochs: int, lr: float, progress: bool = True):
    """Train a FasterRCNN in four steps of so many epochs, each with AdamW along one cycle.

    build: () -> a FasterRCNN. Returns (the model, the four Histories).
    """
    first, second = build(), build()
    histories = []
    for part in _steps(first, second):
        optimizer, schedule = _cycle(part, lr, epochs * len(loader))
        histories.append(fit(part, loader, optimizer, epochs, schedule=schedule, progress=progress))
    return second.eval(), histories


def _steps(first, second):
    yield Proposing(first, first.backbone, first.rpn)
    yield Looking(second, first, second.backbone, second.roi_heads)
    second.rpn.load_state_dict(first.rpn.state_dict())
    yield Proposing(second, second.rpn)
    yield Looking(second, second, second.roi_heads)


def _cycle(part, lr, steps):
    optimizer = optim.AdamW(part.parameters(), lr, weight_decay=1e-2)
    return optimizer, optim.lr_scheduler.OneCycleLR(optimizer, lr, steps + 1, cycle_momentum=False)
