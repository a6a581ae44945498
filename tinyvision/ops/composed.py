"""What fused operations share: gradients that come in one array, and the way back through them.

A fused op's first backward is an op with a kernel of its own. Second and higher gradients are rare,
so nobody writes a kernel for them: the op says in plain operations what it computes, and the graph
of these is differentiated.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

from tinyvision.engine import Op, Tensor, grad, is_grad_enabled, recording
from tinyvision.ops.shape import Put, Reshape


def composed_backward(f, h, *inputs):
    """The gradients of f(*inputs) for the cotangent `h`; None where none is wanted.

    `f` is written in differentiable operations. Its inputs are given to it under new names, so that
    the gradients are partial: one input may well have been computed from another.
    """
    again = is_grad_enabled()                                # the gradients' own graph is wanted
    with recording(True):
        xs = [Reshape(x.shape)(x) if again else Tensor(x._data, x.requires_grad) for x in inputs]
        wanted = [x for x, given in zip(xs, inputs) if given.requires_grad]
        found = iter(grad(f(*xs), wanted, h, create_graph=again, allow_unused=True))
    return tuple(next(found) if x.requires_grad else None for x in inputs)


@dataclass(frozen=True)
class Piece(Op):
    """The elements of a flat array from `first` on, as many as `shape` has, in that shape."""
    first: int
    shape: tuple
    view = True

    def forward(self, a):
        return a[self.first:self.first + math.prod(self.shape)].reshape(self.shape)

    def backward(self, g, y, a):
        size = math.prod(self.shape)
        return Put(slice(self.first, self.first + size), a.shape)(Reshape((size,))(g)),


def pieces(gradients, *inputs) -> tuple:
    """The gradients of `inputs`, which lie one behind the other in a flat tensor, taken apart."""
    found, first, recorded = [], 0, gradients._node is not None
    for x in inputs:
        piece = Piece(first, x.shape)
        found.append(x.requires_grad and (piece(gradients) if recorded else
                                          Tensor(piece.forward(gradients._data))))
        first += math.prod(x.shape)
    return tuple(found)
