"""Embedding: a table of vectors, one for each word, and the rows that a text asks for.

    y[i] = weight[ids[i]]                                          rows are taken
    weight[v] = sum of the y[i] with ids[i] = v                    the adjoint: gradients are put

It is the product of a one-hot matrix and the table, without the zeros. Lectures: K16.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import contiguous, empty, module_of
from tinyvision.engine import Op, Tensor, as_array
from tinyvision.kernel import Kernel
from tinyvision.ops import embedding_fast
from tinyvision.ops.check import rank, same_device


@dataclass(frozen=True, eq=False, repr=False)
class TakeRows(Op):
    """y[i] = weight[ids[i]]."""
    ids: object                          # (I,) int32
    learned: object                      # (I,) int32, -1 where the row gets no gradient

    def forward(self, weight):
        return weight[self.ids]

    def backward(self, g, y, weight):
        return PutRows(self.learned, weight.shape[0])(g),

    def __repr__(self):
        return f"TakeRows({len(self.ids)} rows)"


@dataclass(frozen=True, eq=False, repr=False)
class PutRows(Op):
    """weight[v] = sum of the y[i] with ids[i] = v; -1 is no row."""
    ids: object                          # (I,) int32
    size: int

    def forward(self, y):
        y, = contiguous(y)
        weight = empty((self.size, y.shape[1]), like=y)
        put_rows(y, self.ids, weight)
        return weight

    def backward(self, g, weight, y):
        taken = TakeRows(self.ids, self.ids)(g)
        absent = self.ids < 0
        return taken * Tensor((~absent[:, None]).astype(g.dtype)) if absent.any() else taken,

    def __repr__(self):
        return f"PutRows({len(self.ids)} rows of {self.size})"


def embedding(input, weight, padding_idx=None) -> Tensor:
    """The rows of `weight` that `input` names.

    Args:
        input: whole numbers from 0, of any shape.
        weight: (V, D).
        padding_idx: this row (negative: counted from the end) is read and gets no gradient.

    Returns:
        (*input's shape, D). Like `torch.nn.functional.embedding`.

    Raises:
        TypeError: an input that is not integers.
        ValueError: a number that names no row.
        DeviceError: input and weight on two devices.
    """
    ids, (shape,) = _ids(input), rank("embedding", weight=(weight, 2))
    same_device("embedding", input=ids, weight=weight)
    V, D = shape
    if ids.size and not 0 <= (low := int(ids.min())) <= (high := int(ids.max())) < V:
        raise ValueError(f"embedding: input names row {low if low < 0 else high}, expected 0 to "
                         f"{V - 1}: weight has {V} rows")
    flat = learned = ids.reshape(-1).astype(np.int32)
    if padding_idx is not None:
        if not -V <= padding_idx < V:
            raise ValueError(f"embedding: padding_idx is {padding_idx}, expected {-V} to {V - 1}")
        learned = module_of(flat).where(flat == padding_idx % V, -1, flat).astype(np.int32)
    y = TakeRows(flat, learned)(weight if isinstance(weight, Tensor) else Tensor(weight))
    return y if ids.ndim == 1 else y.reshape(*ids.shape, D)


def _ids(input):
    """As an array; lists of Python's ints stay whole."""
    ids = np.asarray(input) if isinstance(input, (list, tuple, int)) else as_array(input)
    if ids.dtype.kind not in "iu" and ids.size:
        raise TypeError(f"embedding: input is {ids.dtype}, expected integers")
    return ids


# --- the kernel -----------------------------------------------------------------------------------
@Kernel
def put_rows(y, ids, weight):
    """Every row of y is added to the row that it was taken from."""
    weight[...] = 0
    for i in range(len(ids)):
        if ids[i] >= 0:
            weight[ids[i]] += y[i]


@put_rows.variant("cpu_loops")                               # two i may have the same row
def _(y, ids, weight):
    weight[:] = 0
    for i in range(len(ids)):
        if ids[i] >= 0:
            for d in range(y.shape[1]):
                weight[ids[i], d] += y[i, d]


put_rows.python("cpu", embedding_fast.put_rows)


@put_rows.gpu                              # a thread owns one weight: its row's readers are listed
def _(y, ids, weight):
    xp, (V, D) = module_of(ids), weight.shape
    readers = xp.argsort(ids, kind="stable")
    starts = xp.searchsorted(ids[readers], xp.arange(V + 1)).astype(np.int32)
    per_element(weight, """
        for (int r = starts[i / D]; r < starts[i / D + 1]; ++r)
            out += y[readers[r] * D + i % D];""",
                y=y, readers=readers.astype(np.int32), starts=starts, D=D)
