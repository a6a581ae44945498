"""A look at the data before the first step, so that no training time is lost to a bad item.

Data sets in memory (`TensorDataset`, and subsets of one) are looked at as a whole. Those in files
read all their annotations once (`check()`); of others, `fit` says which items a batch had that went
wrong.
"""
from __future__ import annotations

import numpy as np

from tinyvision import device
from tinyvision.data import DataError, Subset, TensorDataset, default_collate
from tinyvision.data.files import Files
from tinyvision.data.loader import order
from tinyvision.engine import Tensor, no_grad
from tinyvision.train.nonfinite import first_bad

PARTS = ("image", "target")
IGNORED = -1


def look(model, loader) -> None:
    """Refuse a data set in memory in which an item is not finite, or has another shape than the
    first, or a label that the model has no class for; and files that contradict each other.

    Raises:
        DataError: names item and value.
    """
    dataset, job = loader.dataset, loader.job
    if not in_memory(dataset):
        return check_files(dataset)
    same = job.collate is default_collate and job.transforms is None
    first = [np.shape(part) for part in dataset[0]]
    extremes = {}
    for k in range(len(dataset)):
        for name, part, shape in zip(PARTS, dataset[k], first):
            _check(k, name, part, shape if same else None)
        _note_labels(extremes, k, dataset[k])
    if same and job.batch_transforms is None:
        _try_labels(model, dataset, extremes)


def check_files(dataset) -> None:
    """Let a data set that lies in files, or a subset of one, look through them."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    if isinstance(dataset, Files):
        dataset.check()


def in_memory(dataset) -> bool:
    """Whether an item costs nothing to look at."""
    return isinstance(dataset, TensorDataset) or (
        isinstance(dataset, Subset) and in_memory(dataset.dataset))


def _check(k, name, part, shape):
    part = part.numpy() if isinstance(part, Tensor) else part
    if not isinstance(part, (np.ndarray, np.generic, float)):
        return
    if bad := first_bad(np.asarray(part)):
        raise DataError(f"item {k} of the data set: its {name} has {bad}")
    if shape is not None and np.shape(part) != shape:
        raise DataError(f"item {k} of the data set: its {name} has shape {np.shape(part)}, that of "
                        f"item 0 {shape}; bring them to one size by transforms")


def _note_labels(extremes, k, item):
    """Keep the first items with the smallest and the largest label."""
    labels = np.asarray(item[1]) if len(item) > 1 and not isinstance(item[1], Tensor) else None
    if labels is None or labels.dtype.kind not in "iu":
        return
    labels = labels[labels != IGNORED]
    for pick, beyond in ((min, np.less), (max, np.greater)):
        if labels.size and (pick not in extremes
                            or beyond(pick(labels.min(), labels.max()), extremes[pick][0])):
            extremes[pick] = pick(labels.min(), labels.max()), k


# --- labels ---------------------------------------------------------------------------------------
def _try_labels(model, dataset, extremes):
    """Only the model knows its classes. An item whose loss it refuses, while it takes that of the
    item at the other end, has a label out of range."""
    refused = {k: _refusal(model, dataset[k]) for _, k in extremes.values()}
    bad = [(k, why) for k, why in refused.items() if why]
    if len(bad) == 1 and len(refused) > 1:
        raise DataError(f"item {bad[0][0]} of the data set: {bad[0][1]}")


def _refusal(model, item):
    """What the model says against a batch of this item; None if nothing. Leaves no trace."""
    random, training = device.generator().bit_generator.state, model.training
    try:
        with no_grad():
            images, targets = default_collate([item])
            model.eval().loss(Tensor(images), targets)
    except ValueError as error:
        return str(error)
    except Exception:                                        # the first step will say it better
        return None
    finally:
        device.generator().bit_generator.state = random
        model.train(training)


# --- which items ----------------------------------------------------------------------------------
def items_of_batch(loader) -> list[int]:
    """The items of the batch that the loader handed out last."""
    size = loader.job.batch_size
    first = (loader.batch - 1) * size
    return order(len(loader.dataset), loader.job.shuffle, loader.seed,
                 loader.epoch)[first:first + size].tolist()
