"""The backward pass of a fused backward pass, from the same function written in plain operations.

A fused op's first backward is an op with a kernel of its own. Second and higher gradients are rare,
so nobody writes a kernel for them: the op says in plain operations what it computes, and the graph
of these is differentiated.
"""
from __future__ import annotations

from tinyvision.engine import Tensor, grad, is_grad_enabled, recording
from tinyvision.ops.shape import Reshape


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
