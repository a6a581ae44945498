"""Data sets: anything with a length and numbered items. Here those made of arrays or of others.

An item is what a loader puts into batches, mostly (image, target). Its number alone decides what it
is: what is random belongs into transforms, which receive a generator.
"""
from __future__ import annotations

import numpy as np

from tinyvision import device


class TensorDataset:
    """Item k is (array[k] of every array); arrays, or lists, of one length. PyTorch's name."""

    def __init__(self, *tensors):
        lengths = [len(t) for t in tensors]
        if not tensors or len(set(lengths)) > 1:
            raise ValueError(f"TensorDataset: expected arrays of one length, got {lengths}")
        self.tensors = tensors

    def __len__(self):
        return len(self.tensors[0])

    def __getitem__(self, k):
        return tuple(t[k] for t in self.tensors)


class Subset:
    """The items `indices` of a data set, in that order."""

    def __init__(self, dataset, indices):
        self.dataset, self.indices = dataset, np.asarray(indices, np.int64).reshape(-1)
        if wrong := [k for k in self.indices.tolist() if not 0 <= k < len(dataset)]:
            raise ValueError(f"Subset: item {wrong[0]} of a data set of {len(dataset)} items")

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, k):
        return self.dataset[int(self.indices[k])]


def random_split(dataset, lengths, generator=None) -> list[Subset]:
    """A data set in random parts of these lengths, which add up to its own, or of these fractions.

    generator: a numpy Generator, `tv.manual_seed`'s if None.
    """
    total = len(dataset)
    if not any(isinstance(n, (int, np.integer)) for n in lengths) and np.isclose(sum(lengths), 1):
        ends = np.rint(np.cumsum(lengths) * total).astype(int).tolist()
        lengths = np.diff([0, *ends]).tolist()
    if sum(lengths) != total or min(lengths) < 0:
        raise ValueError(f"random_split: lengths {list(lengths)} do not add up to the {total} "
                         "items of the data set")
    order = (device.generator() if generator is None else generator).permutation(total)
    return [Subset(dataset, part) for part in np.split(order, np.cumsum(lengths)[:-1])]
