"""DataLoader: a data set in batches, in random order, prepared by processes in the background.

    for images, targets in DataLoader(dataset, 32, shuffle=True, num_workers=2):
        ...

Which items form batch b of epoch e, and what is random in them, follows from the seed, e and b
alone. So the batches are the same whatever the number of workers, and three numbers (`state_dict`)
are the position from which a training that was killed goes on.
"""
from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from tinyvision import device
from tinyvision.data.workers import ItemError, Workers

AHEAD = 2                  # batches that each worker prepares before they are asked for
ORDER, ITEM, BATCH = range(3)                # what random numbers are for: each has its own


def default_collate(items):
    """A batch of items: arrays of one shape are stacked, numbers become an array, tuples are
    collated place by place; dictionaries, strings and None stay in a list.

    So (image, label) gives (images (N, C, H, W), labels (N,)), and (image, target) of detection
    gives (images, a list of N targets).

    Raises:
        ValueError: arrays of several shapes.
    """
    first = items[0]
    if isinstance(first, tuple):
        return tuple(default_collate(list(column)) for column in zip(*items, strict=True))
    if isinstance(first, (np.ndarray, np.generic)):
        return _stacked(items)
    if isinstance(first, (bool, int, float)):
        return np.array(items, np.float32 if isinstance(first, float) else None)
    return items


def _stacked(arrays):
    for k, array in enumerate(arrays):
        if np.shape(array) != np.shape(arrays[0]):
            raise ValueError(f"item {k} of the batch has shape {np.shape(array)}, the first "
                             f"{np.shape(arrays[0])}: bring them to one size by transforms, or "
                             "pass collate_fn=list_collate")
    return np.stack(arrays)


def list_collate(items):
    """A batch of images of several sizes: ([images], [targets]), as torchvision's detectors do."""
    return tuple(list(column) for column in zip(*items, strict=True))


class DataLoader:
    """The batches of a data set; iterating it once is one epoch. PyTorch's name and arguments.

    Args:
        dataset: has a length and items, see `tinyvision.data.dataset`.
        batch_size: items in a batch; the last one may have fewer.
        shuffle: in a new random order every epoch.
        num_workers: processes in the background; 0 prepares each batch when it is asked for.
        collate_fn: makes a batch of a list of items.
        drop_last: leave out a last batch that is not full.
        generator: a numpy Generator from which the seed is drawn once; `tv.manual_seed`'s if None.
        transforms: called with (image, target, random) of every item, see `data.transforms`.
        batch_transforms: called with (list of items, random), see `SimpleCopyPaste`.

    The workers start with the first batch, stay for all epochs, and end with `close()`, with the
    loader, or with Python, however it ends. They import the script that was started: what it does
    must stand under `if __name__ == "__main__":`. What a notebook defines they cannot see.

    Raises:
        ValueError: the data set is empty, or batch_size or num_workers is out of range.
        ItemError: when a batch is asked for: an item could not be made; says which.
    """

    def __init__(self, dataset, batch_size=1, shuffle=False, *, num_workers=0,
                 collate_fn=default_collate, drop_last=False, generator=None, transforms=None,
                 batch_transforms=None):
        _check(dataset, batch_size, num_workers, drop_last)
        self.dataset, self.num_workers, self._workers = dataset, num_workers, None
        self.job = Job(dataset, batch_size, shuffle, transforms, batch_transforms, collate_fn)
        self._length = (len(dataset) + (0 if drop_last else batch_size - 1)) // batch_size
        random = device.generator() if generator is None else generator
        self.seed, self.epoch, self.batch = int(random.integers(2 ** 63)), 0, 0
        self._begun, self._turn = False, 0

    def __len__(self):
        """Batches in an epoch."""
        return self._length

    def state_dict(self) -> dict:
        """Where it stands: the seed, the epoch, and how many of its batches were handed out; and of
        what it is a position: the number of items and the size of a batch."""
        return {"seed": self.seed, "epoch": self.epoch, "batch": self.batch,
                "items": len(self.dataset), "batch_size": self.job.batch_size}

    def load_state_dict(self, state) -> None:
        """Go on from there: the next epoch begun is the rest of that one.

        Raises:
            ValueError: no such position, or one that this data set does not have.
        """
        own = self.state_dict()
        if not isinstance(state, dict) or state.keys() != own.keys():
            raise ValueError(f"DataLoader.load_state_dict: expected {', '.join(own)}; "
                             f"got {state!r}")
        for key in ("items", "batch_size"):
            if state[key] != own[key]:
                raise ValueError(f"DataLoader.load_state_dict: the position is that of another "
                                 f"loader, its {key} is {state[key]}, here it is {own[key]}")
        if state["epoch"] < 0 or not 0 <= state["batch"] <= len(self):
            raise ValueError(f"DataLoader.load_state_dict: got batch {state['batch']} of epoch "
                             f"{state['epoch']}, but an epoch has {len(self)} batches")
        self.seed, self.epoch, self.batch = (int(state[k]) for k in ("seed", "epoch", "batch"))
        self._begun, self._turn = False, self._turn + 1

    def restart(self) -> None:
        """Leave an epoch that was begun: the next loop is a whole one."""
        if self._begun or self.batch:
            self.epoch, self.batch, self._begun = self.epoch + 1, 0, False

    def __iter__(self):
        """The batches of the next epoch, or the rest of the one that `load_state_dict` named."""
        if self._begun:                                      # an epoch, and left before its end
            self.epoch, self.batch = self.epoch + 1, 0
        self._begun, self._turn = True, self._turn + 1
        return self._rest(self._turn)

    def _rest(self, turn):
        tasks = [(self.seed, self.epoch, b) for b in range(self.batch, len(self))]
        for batch in self._in_background(tasks) if self.num_workers else map(self.job, tasks):
            self._check_turn(turn)
            self.batch += 1
            yield batch
            self._check_turn(turn)
        self.epoch, self.batch, self._begun = self.epoch + 1, 0, False

    def _check_turn(self, turn):
        if turn != self._turn:
            raise RuntimeError("DataLoader: a newer loop over this loader has begun, or its "
                               "position was changed; two loops at a time need two loaders")

    def _in_background(self, tasks):
        if self._workers is None or self._workers.closed:
            self._workers = Workers(self.job, self.num_workers)
        return self._workers.map(tasks, AHEAD)

    def close(self) -> None:
        """End the workers; the next loop starts new ones."""
        if self._workers is not None:
            self._workers.close()


def _check(dataset, batch_size, num_workers, drop_last):
    for name, value, least in (("batch_size", batch_size, 1), ("num_workers", num_workers, 0)):
        if not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"DataLoader: {name} is a whole number of at least {least}, "
                             f"got {value!r}")
    if len(dataset) < (batch_size if drop_last else 1):
        raise ValueError(f"DataLoader: the data set has {len(dataset)} items, too few for a batch")


# --- one batch ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Job:
    """Makes batches: called with (seed, epoch, number of the batch), here or in a worker."""
    dataset: object
    batch_size: int
    shuffle: bool
    transforms: object
    batch_transforms: object
    collate: object

    def __call__(self, task):
        seed, epoch, b = task
        first = b * self.batch_size
        chosen = order(len(self.dataset), self.shuffle, seed, epoch)[first:first + self.batch_size]
        items = [self._item(k, (seed, epoch, ITEM, k)) for k in chosen.tolist()]
        try:
            if self.batch_transforms is not None:
                items = self.batch_transforms(items, np.random.default_rng((seed, epoch, BATCH, b)))
            return self.collate(items)
        except Exception as error:
            raise ItemError(f"DataLoader: batch {b}, items {_some(chosen)}: "
                            f"{_text(error)}") from error

    def _item(self, k, key):
        try:
            item = self.dataset[k]
            if self.transforms is None:
                return item
            if not isinstance(item, tuple) or len(item) != 2:
                raise TypeError(f"transforms need items (image, target), got {type(item).__name__}")
            return self.transforms(*item, np.random.default_rng(key))
        except Exception as error:
            raise ItemError(f"DataLoader: item {k}: {_text(error)}") from error


@functools.lru_cache(maxsize=2)
def order(length, shuffle, seed, epoch) -> np.ndarray:
    """The items of an epoch in their order, int64 (length,)."""
    if not shuffle:
        return np.arange(length)
    return np.random.default_rng((seed, epoch, ORDER)).permutation(length)


def _text(error):
    """The sentences of ValueErrors are for readers; what else goes wrong needs its kind."""
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _some(chosen):
    return str(chosen.tolist() if len(chosen) <= 8 else [*chosen[:7].tolist(), "..."])
