"""What a network is made of: its layers' output shapes, parameters and multiply-adds.

The forward pass is rehearsed (`kernel.rehearse`): shapes are worked out, no kernel computes. So a
network built inside `nn.skip_init()` is counted in a moment, however large it is.

One multiply-add is one product added to a sum, as papers count them ("4 GFLOPs" of a ResNet-50 are
4 G multiply-adds); only convolutions, matrix products and attention are counted.
"""
from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass

import numpy as np

from tinyvision.device import generator
from tinyvision.engine import Tensor, no_grad
from tinyvision.kernel import rehearse


def _convolution(x, w, *rest):
    return math.prod(rest[-1]) * math.prod(w[1:])            # every output: one window


def _transposed(y, w, *rest):
    return math.prod(y) * math.prod(w[1:])                   # every input: one stamp


def _matmul(a, b):
    return math.prod(np.broadcast_shapes(a[:-2], b[:-2])) * a[-2] * a[-1] * b[-1]


def _scores(q, k, *v):
    batch, F = math.prod(q[:-2]), v[0][-1] if v else 0
    return batch * q[-2] * k[-2] * (q[-1] + F)


MULTIPLY_ADDS = {"conv2d_kernel": _convolution, "conv_transpose2d_kernel": _transposed,
                 "matmul": _matmul, "linear": lambda x, w: math.prod(x) * w[0],
                 "attention": _scores, "attention_weights": _scores}


@dataclass
class Row:
    """One call of a module.

    Attributes:
        name: dotted; depth: how deep it lies in the tree; kind: its class.
        shape: of its output, None if that is not a Tensor.
        parameters: numbers that are learned, its children's not included.
        multiply_adds: its children's not included.
        again: it was called before, so its parameters are counted there.
    """
    name: str
    depth: int
    kind: str
    shape: tuple | None = None
    parameters: int = 0
    multiply_adds: int = 0
    again: bool = False


@dataclass
class Summary:
    """The calls of a network's modules, in order; `print` shows the table.

    Attributes:
        rows: a Row for every call.
        parameters, trainable: numbers that are learned; without the frozen ones.
        multiply_adds: of one forward pass.
    """
    rows: list
    parameters: int
    trainable: int

    @property
    def multiply_adds(self) -> int:
        """Of one forward pass."""
        return sum(row.multiply_adds for row in self.rows)

    def __str__(self):
        lines = [("layer", "output", "parameters", "multiply-adds")]
        for row in self.rows:
            title = "  " * row.depth + (f"{row.name.rpartition('.')[2]}: " if row.name else "")
            lines.append((title + row.kind, "" if row.shape is None else _by(row.shape),
                          "again" if row.again else _number(row.parameters),
                          _number(row.multiply_adds)))
        lines.append(("total", "", f"{self.parameters:,}", f"{self.multiply_adds:,}"))
        widths = [max(map(len, column)) for column in zip(*lines)]
        texts = ["  ".join((a.ljust(widths[0]), b.ljust(widths[1]), c.rjust(widths[2]),
                            d.rjust(widths[3]))).rstrip() for a, b, c, d in lines]
        rule = "-" * (sum(widths) + 6)
        return "\n".join([texts[0], rule, *texts[1:-1], rule, texts[-1]])


def _by(shape):
    return " x ".join(map(str, shape)) or "scalar"


def _number(count):
    return f"{count:,}" if count else ""


def summary(module, *inputs) -> Summary:
    """Rehearse `module(*inputs)` and say what it is made of.

    Args:
        module: in the mode (train or eval) in which it is to be counted.
        inputs: Tensors or arrays, or shapes, such as (1, 3, 224, 224).

    Returns:
        A Summary: `print(nn.summary(model, (1, 3, 224, 224)))`.
    """
    inputs = [Tensor(np.zeros(x, np.float32)) if isinstance(x, (tuple, list)) else x for x in inputs]
    sizes = {id(p): (p.size, p.requires_grad) for p in module.parameters()}
    state = generator().bit_generator.state                  # dropout draws, and must not count
    with rehearse() as calls, np.errstate(all="ignore"), no_grad(), _watch(module, calls) as rows:
        module(*inputs)
    generator().bit_generator.state = state
    return Summary(rows, sum(size for size, _ in sizes.values()),
                   sum(size for size, trainable in sizes.values() if trainable))


@contextlib.contextmanager
def _watch(module, calls):
    """The rows of all modules' calls, added as they are made."""
    rows, open_rows, seen, counted = [], [], set(), [0]

    def settle():
        """Give the kernels called since the last time to the innermost module."""
        for name, shapes in calls[counted[0]:]:
            if open_rows and name in MULTIPLY_ADDS:
                open_rows[-1].multiply_adds += MULTIPLY_ADDS[name](*shapes)
        counted[0] = len(calls)

    def enter(name, one, inputs):
        settle()
        own = {id(vars(one)[p]): vars(one)[p].size for p in one._parameter_names
               if vars(one).get(p) is not None}
        row = Row(name, len(open_rows), type(one).__name__, again=id(one) in seen,
                  parameters=sum(size for key, size in own.items() if key not in seen))
        seen.update((id(one), *own))
        rows.append(row)
        open_rows.append(row)

    def leave(one, inputs, y):
        settle()
        open_rows.pop().shape = getattr(y, "shape", None)

    with contextlib.ExitStack() as stack:
        for name, one in module.named_modules():
            stack.enter_context(one.register_forward_pre_hook(
                lambda one, inputs, name=name: enter(name, one, inputs)))
            stack.enter_context(one.register_forward_hook(leave))
        yield rows
