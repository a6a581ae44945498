"""Automatic differentiation: all of it.

A `Tensor` is an array and, where gradients are wanted, the `Node` of the graph that made it. An
`Op` is one differentiable function: its forward sees arrays, its backward sees Tensors and is
itself written in differentiable operations, so gradients of every order exist.

The graph points backwards only (tensor -> node -> inputs), so reference counting frees it. A node
keeps an input's data only where its op says that backward reads them; of the others it keeps the
node alone, which knows the shape. Nodes are numbered as they are made, so the order of the
backward pass is a sort, not a recursion.
"""
from __future__ import annotations

import inspect
import itertools
import operator
import threading
from contextlib import contextmanager

import numpy as np

from tinyvision.device import DeviceError, device_of, module_of, to_device

clock = itertools.count(1).__next__        # numbers nodes and in-place writes, in order of time
FLOAT64 = np.dtype(np.float64)
ndarray, new, number = np.ndarray, object.__new__, operator.attrgetter("number")


class GraphError(RuntimeError):
    """A backward pass that cannot be right: the graph was freed, or a value in it was changed."""


class _State(threading.local):
    recording = True


_state = _State()


@contextmanager
def recording(on: bool):
    """Record operations in the graph, or do not, inside the block and in this thread."""
    before, _state.recording = _state.recording, on
    try:
        yield
    finally:
        _state.recording = before


def no_grad():
    """A block in which operations are computed and not recorded (per thread)."""
    return recording(False)


def is_grad_enabled() -> bool:
    """Whether operations are being recorded in this thread."""
    return _state.recording


# --- the graph ------------------------------------------------------------------------------------
class Node:
    """One application of an op: what its backward will need, and from where its inputs came.

    A node also stands in for a tensor whose data backward does not read: it has its shape.
    """
    __slots__ = ("op", "inputs", "output", "number", "shape", "dtype")
    requires_grad, _version = True, None
    _node = property(lambda self: self)


class Leaf(Node):
    """The node of a tensor that was not computed; its gradient is kept here."""
    __slots__ = ("grad", "owned", "__weakref__")


class _Constant:
    """Stands for an input that needs no gradient and whose data backward does not read."""
    requires_grad, _node, _version = False, None, None

    def __init__(self, shape, dtype):
        self.shape, self.dtype = shape, dtype


class _Unwanted:
    """An input of known shape whose gradient nobody asked `grad` for."""
    requires_grad, _version = False, None

    def __init__(self, node):
        self._node, self.shape, self.dtype = node, node.shape, node.dtype


CONSTANT = _Constant(None, None)            # where not even the shape is read
STAND_INS = Node, _Constant, _Unwanted     # for inputs whose data backward does not read
UNREAD = "a backward reads data that its op's `needs` does not name (a tensor of shape {})"


class Tensor:
    """An array that remembers how it was computed.

    Args:
        data: an array (kept, not copied, with its dtype), or numbers and lists of numbers, which
            become float32.
        requires_grad: whether gradients with respect to it will be asked for.

    Raises:
        TypeError: gradients asked for integers, or data that are not numbers.

    Lecture: K1. Like `torch.Tensor`; `.grad` is a Tensor, None before the first backward. Tensors
    hash by identity, `==` compares elementwise. Changes in place are noticed when they are made
    by `t.data = ...`, `t.data += ...` or `t[...] = ...`; a write into the array behind
    `t.data[...]` is not (as with PyTorch's `.data`).
    """
    __slots__ = ("_data", "_node", "_version", "__weakref__")
    __array_ufunc__ = None                     # array * tensor is left to Tensor.__rmul__

    def __init__(self, data, requires_grad: bool = False):
        self._data = as_array(data)
        self._node = self._version = None
        if requires_grad:
            self.requires_grad = True

    shape = property(operator.attrgetter("_data.shape"), doc="The sizes, a tuple.")
    dtype = property(operator.attrgetter("_data.dtype"), doc="NumPy's dtype.")
    ndim = property(operator.attrgetter("_data.ndim"), doc="The number of axes.")
    size = property(operator.attrgetter("_data.size"), doc="The number of elements.")
    device = property(lambda self: device_of(self._data), doc='"cpu" or "gpu".')
    is_leaf = property(lambda self: self._node is None or self._node.op is None,
                       doc="Whether it was given, not computed.")
    op = property(lambda self: self._node and self._node.op, doc="The op that made it, or None.")

    @property
    def data(self):
        """The array. Assigning to it is a change in place, which an open graph will notice."""
        return self._data

    @data.setter
    def data(self, value):
        value = as_array(value)
        if self._node is not None and value.shape != self.shape:
            raise ValueError(f"Tensor.data: got shape {value.shape}, expected {self.shape}")
        self._data = value
        if self._node is not None and self._node.op is None:
            self._node.dtype = value.dtype                   # its gradient's, too
        self._touch()

    def _touch(self):
        if self._version is None:
            self._version = [0]
        self._version[0] = clock()

    @property
    def requires_grad(self) -> bool:
        """Whether operations on it are recorded."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, value):
        if not self.is_leaf:
            raise RuntimeError("requires_grad: this tensor was computed; "
                               "use detach() to cut it off")
        if value and self._data.dtype.kind != "f":
            raise TypeError("requires_grad: gradients need a floating dtype, "
                            f"this tensor is {self._data.dtype}")
        self._node = (self._node or _leaf(self._data)) if value else None

    @property
    def grad(self):
        """The gradient summed by `backward` so far: a Tensor on leaves, None elsewhere."""
        return self._node.grad if isinstance(self._node, Leaf) else None

    @grad.setter
    def grad(self, value):
        if not isinstance(self._node, Leaf):
            raise RuntimeError("grad: only leaves that require gradients have one")
        value = Tensor(value) if value is not None and not isinstance(value, Tensor) else value
        if value is not None and value.shape != self.shape:
            raise ValueError(f"grad: got shape {value.shape}, expected {self.shape}")
        self._node.grad, self._node.owned = value, False

    def numpy(self):
        """The data as a NumPy array, copied from the GPU if it lives there."""
        return to_device(self._data, "cpu")

    def item(self):
        """The only element, as a Python number."""
        return self._data.item()

    def detach(self) -> Tensor:
        """The same data, outside the graph."""
        if self._version is None:
            self._version = [0]
        return _tensor(self._data, None, self._version)

    def __len__(self):
        return len(self._data)

    def __bool__(self):
        return bool(self._data)

    def __float__(self):
        return float(self._data)

    __hash__ = object.__hash__

    def __array__(self, dtype=None, copy=None):
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __repr__(self):
        body = np.array2string(self.numpy(), separator=", ", prefix="Tensor(", precision=4)
        tail = f", op={self.op!r}" if self.op else ", requires_grad=True" * self.requires_grad
        return f"Tensor({body}{tail}{', device=gpu' * (self.device == 'gpu')})"

    def __setitem__(self, index, value):
        if self._node is not None and _state.recording:
            raise GraphError("Tensor[...] = value: in place under a graph; use no_grad()")
        self._data[_arrays(index)] = _arrays(value)
        self._touch()

    def backward(self, gradient=None, retain_graph=None, create_graph=False) -> None:
        """Add d(self)/d(leaf), weighted by `gradient`, to the `.grad` of every leaf.

        Args:
            gradient: the cotangent, of this tensor's shape; 1 for a single element.
            retain_graph: keep the graph for another pass (default: the value of create_graph).
            create_graph: make the gradients differentiable. Leaf and gradient then refer to each
                other, the one cycle that waits for the garbage collector: prefer `tinyvision.grad`.

        Raises:
            RuntimeError: no leaf requires a gradient, or this is no single element.
            GraphError: the graph was freed, or a value it needs was changed in place.
        """
        keep = create_graph if retain_graph is None else retain_graph
        _run(_roots([self], [gradient], "backward"), None, create_graph, keep)


def as_array(data):
    """Arrays as they are (in this machine's byte order); a Tensor's array; numbers and lists as a
    float32 array."""
    if data.__class__ is Tensor:                             # the usual one
        return data._data
    if isinstance(data, ndarray):
        return data if data.dtype.isnative else data.astype(data.dtype.newbyteorder("="))
    if isinstance(data, Tensor):
        return data._data
    if isinstance(data, np.generic):
        return np.asarray(data)
    if hasattr(data, "__cuda_array_interface__"):
        return data
    if data is None:                                         # NumPy takes it for a NaN
        raise TypeError("Tensor: data must be numbers, got None (did a function not return any?)")
    try:
        return np.asarray(data, np.float32)
    except (TypeError, ValueError) as error:
        if isinstance(data, STAND_INS):
            raise TypeError(UNREAD.format(getattr(data, "shape", "unknown"))) from error
        raise TypeError(f"Tensor: data must be numbers, got {type(data).__name__}") from error


def _arrays(value):
    """Tensors unwrapped, also inside a tuple."""
    if isinstance(value, tuple):
        return tuple(_arrays(v) for v in value)
    return value._data if isinstance(value, Tensor) else value


def _tensor(data, node=None, version=None):
    t = new(Tensor)
    t._data, t._node, t._version = data, node, version
    return t


def _leaf(data):
    leaf = new(Leaf)
    leaf.op, leaf.inputs, leaf.output, leaf.grad, leaf.owned = None, (), None, None, False
    leaf.number, leaf.shape, leaf.dtype = clock(), data.shape, data.dtype
    return leaf


# --- operations -----------------------------------------------------------------------------------
class Op:
    """One differentiable function; subclasses are frozen dataclasses.

    Fields are hyper-parameters, or what was chosen beforehand (indices, masks). Subclasses define
    `forward(*arrays) -> array`, `backward(g, y, *inputs) -> one gradient per input` (None, or
    anything false, where there is none) and `needs`: the names, among backward's arguments, of
    the tensors whose data backward reads. Of the others it may read the shape and requires_grad.

    Attributes:
        view: the result shares its input's memory (so it shares its version, too).
        bilinear: each of the first two inputs is read only for the other one's gradient, so it is
            kept only if the other one needs a gradient (a mask, a frozen weight does not).
        into: `into(buffer, g)`, if defined, adds the input's gradient to an array in place.
    """
    needs: tuple[str, ...] = ()
    view, bilinear, into = False, False, None
    _keep_output, _keep = False, ()

    def __init_subclass__(cls):
        if "backward" not in cls.__dict__:
            return
        names = list(inspect.signature(cls.backward).parameters)[2:]
        if unknown := set(cls.needs) - set(names):
            raise TypeError(f"{cls.__name__}.needs names {sorted(unknown)}, "
                            f"which are no arguments of its backward ({', '.join(names)})")
        cls._keep_output = names[0] in cls.needs
        cls._keep = tuple(name in cls.needs for name in names[1:])

    def __call__(self, *inputs) -> Tensor:
        try:
            y = self.forward(*[x._data for x in inputs])
            nodes = [x._node for x in inputs] if _state.recording else ()
        except (AttributeError, TypeError, ValueError, IndexError, DeviceError):
            return self._again(inputs)
        t = new(Tensor)
        t._data = y = y if y.__class__ is ndarray else as_array(y)
        t._version = _shared_version(inputs[0]) if self.view else None
        untracked = nodes.count(None) == len(nodes)
        t._node = None if untracked else self._record(t, y, inputs, nodes)
        return t

    def known(self, y, *inputs) -> Tensor:
        """What `self(*inputs)` gives, where the array `y` is its value: nothing is computed."""
        inputs = [x if isinstance(x, Tensor) else Tensor(x) for x in inputs]
        nodes, t = [x._node for x in inputs], _tensor(y)
        if _state.recording and any(node is not None for node in nodes):
            t._node = self._record(t, y, inputs, nodes)
        return t

    def _record(self, t, y, inputs, nodes):
        node = new(Node)
        node.op = self
        keeps = self._keep + self._keep[-1:] * (len(inputs) - len(self._keep))      # *inputs
        if self.bilinear:
            keeps = nodes[1] is not None, nodes[0] is not None, *keeps[2:]
        node.inputs = tuple(x if keep else n or _Constant(x.shape, x.dtype)
                            for x, n, keep in zip(inputs, nodes, keeps))
        node.output = self._saved_output(t) if self._keep_output else None
        node.number, node.shape, node.dtype = clock(), y.shape, y.dtype
        return node

    def _again(self, inputs):
        """The slow path: make tensors of what is none, or say what is wrong."""
        name = type(self).__name__
        if kept := [x for x in inputs if isinstance(x, STAND_INS)]:
            raise TypeError(f"{name}: " + UNREAD.format(getattr(kept[0], "shape", "unknown")))
        if all(isinstance(x, Tensor) for x in inputs):
            devices = {x.device for x in inputs}
            if len(devices) > 1:
                raise DeviceError(f"{name}: tensors on both cpu and gpu, expected one device; "
                                  'move them with .to("gpu") or .to("cpu")')
            self._refuse(inputs)
        return self(*[x if isinstance(x, Tensor) else Tensor(x) for x in inputs])

    def _refuse(self, inputs):
        """Raise forward's own error, with the op's name and what came where it says neither."""
        try:
            self.forward(*[x._data for x in inputs])
        except (TypeError, ValueError, IndexError) as error:
            came = ", ".join(f"{x.shape} {x.dtype}" for x in inputs)
            raise type(error)(f"{self!r}: {error} (got {came})") from error

    def _saved_output(self, t):
        t._version = t._version or [0]
        return t._data, t._version

    def fit(self, g, shape) -> Tensor:
        """A gradient that backward returned for an input of another `shape`: a mistake, unless
        the op broadcasts its inputs and says here how to sum the gradient back."""
        raise GraphError(f"backward: {self!r} gave a gradient of shape {g.shape} "
                         f"for an input of shape {shape}")

    def forward(self, *arrays):
        """The function, on arrays."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def backward(self, g, y, *inputs):
        """The gradients of the inputs, as Tensors, from the cotangent `g` of the output `y`."""
        raise NotImplementedError(f"{type(self).__name__}.backward")


def binary(op, otherwise):
    """`op` (of two inputs, bilinear or reading neither) as a function: Op.__call__, written out.

    The arithmetic of small tensors spends its time here, so there is one call and no loop.
    `otherwise(a, b)` takes what are not two Tensors.
    """
    forward, bilinear = op.forward, op.bilinear

    def apply(a, b):
        if a.__class__ is not Tensor or b.__class__ is not Tensor:
            return otherwise(a, b)
        try:
            y = forward(a._data, b._data)
        except (TypeError, ValueError):
            return op._again((a, b))
        y = y if y.__class__ is ndarray else as_array(y)
        dtype = y.dtype
        if dtype is FLOAT64 and a._data.dtype.kind != b._data.dtype.kind:
            return otherwise(a, b)                           # counts take the other's dtype
        t = new(Tensor)
        t._data, t._version = y, None
        left, right = a._node, b._node
        if (left is None and right is None) or not _state.recording:
            t._node = None
            return t
        t._node = node = new(Node)
        node.op, node.output = op, None
        node.number = clock()
        if bilinear:
            node.inputs = left if right is None else a, right if left is None else b
        else:
            node.inputs = left or CONSTANT, right or CONSTANT
        node.shape, node.dtype = y.shape, dtype
        return t
    return apply


def _shared_version(x):
    if x._version is None:
        x._version = [0]
    return x._version


# --- backward -------------------------------------------------------------------------------------
def grad(outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False,
         allow_unused=False) -> tuple[Tensor, ...]:
    """The gradients of `outputs` (summed, weighted by `grad_outputs`) with respect to `inputs`.

    Args:
        outputs, inputs: a Tensor or several; inputs may be anywhere in the graph.
        grad_outputs: cotangents, of the outputs' shapes; 1 for an output of a single element.
        retain_graph: keep the graph for another pass (default: the value of create_graph).
        create_graph: record the backward pass, so that its results can be differentiated again.
        allow_unused: give None for an input that the outputs do not depend on.

    Raises:
        RuntimeError: an input is not in the graph, or the outputs do not depend on it.
        GraphError: the graph was freed, or a value it needs was changed in place.
    """
    outputs, inputs, cotangents = _several(outputs), _several(inputs), _several(grad_outputs)
    if not outputs or not inputs:
        raise ValueError(f"grad: got {len(outputs)} outputs and {len(inputs)} inputs, "
                         "expected at least one of each")
    if lost := [x.shape for x in inputs if x._node is None]:
        raise RuntimeError(f"grad: an input of shape {lost[0]} does not require a gradient")
    keep = create_graph if retain_graph is None else retain_graph
    cotangents = cotangents if grad_outputs is not None else [None] * len(outputs)
    wanted = {x._node: None for x in inputs}
    _run(_roots(outputs, cotangents, "grad"), wanted, create_graph, keep)
    found = tuple(wanted[x._node] for x in inputs)
    if not allow_unused and any(g is None for g in found):
        raise RuntimeError("grad: the outputs do not depend on one of the inputs; "
                           "pass allow_unused=True to get None for it")
    return found


def _several(x):
    return list(x) if isinstance(x, (list, tuple)) else [x]


def _roots(outputs, cotangents, caller):
    """[(node, cotangent)] to start from, checked."""
    roots = []
    for y, g in zip(outputs, cotangents, strict=True):
        if y._node is None:
            raise RuntimeError(f"{caller}: the output does not require a gradient: "
                               "no tensor in its graph does")
        if g is None and y.size != 1:
            raise RuntimeError(f"{caller}: the output has shape {y.shape}; "
                               "pass its cotangent, or sum it to one element")
        g = _tensor(module_of(y._data).ones_like(y._data)) if g is None else g
        roots.append((y._node, _cotangent(g, y, caller)))
    return roots


def _cotangent(g, y, caller):
    g = g if isinstance(g, Tensor) else Tensor(g)
    if g.device != y.device:
        raise DeviceError(f"{caller}: the cotangent is on {g.device}, the output on {y.device}; "
                          f'move it with .to("{y.device}")')
    if g.shape != y.shape:
        raise ValueError(f"{caller}: the cotangent has shape {g.shape}, the output {y.shape}")
    return g if g.dtype == y.dtype else g.astype(y.dtype)


def _run(roots, wanted, create_graph, keep):
    """The backward pass from `roots`; into leaves, or into the dict `wanted` where one is given."""
    nodes = _reachable([node for node, _ in roots])
    useful = nodes if wanted is None else _leading_to(wanted, nodes)
    order = sorted(useful, key=number)
    del nodes
    useful = None if wanted is None else set(useful)
    gradients = Gradients(create_graph)
    for node, g in roots:
        gradients.add(node, g)
    del roots, g
    with recording(create_graph):
        while order:
            node = order.pop()
            g = gradients.sums.pop(node, None)
            if g is None:
                continue
            if wanted is not None and node in wanted:
                wanted[node] = g
            if node.op is not None and (wanted is None or _goes_on(node, useful)):
                _step(node, g, gradients, useful, keep)
            elif wanted is None:
                _accumulate(node, g, create_graph)


def _step(node, g, gradients, useful, keep):
    """One node: check that its values are still those of the forward pass, and go back through."""
    inputs, op, y = node.inputs, node.op, node
    if inputs is None:
        raise GraphError(f"backward: the graph was freed by an earlier pass ({op!r}); "
                         "pass retain_graph=True to the first")
    for x in inputs:
        version = x._version
        if version is not None and version[0] > node.number:
            _changed(node, "an input")
    if node.output is not None:
        data, version = node.output
        if version[0] > node.number:
            _changed(node, "the output")
        y = _tensor(data, node, version)
    if useful is not None:
        inputs = [_if_useful(x, useful) for x in inputs]
    if op.into is not None and not gradients.create_graph:
        op.into(gradients.buffer(inputs[0]._node, g), g._data)
    else:
        found = op.backward(g, y, *inputs)
        if useful is not None and gradients.create_graph:
            _rejoin(inputs)
        if len(found) != len(inputs):
            raise GraphError(f"backward: {op!r} gave {len(found)} gradients "
                             f"for {len(inputs)} inputs")
        for x, gx in zip(inputs, found):
            if gx is None or gx is False or (behind := x._node) is None:
                continue
            data = gx._data
            if data.shape != behind.shape:
                gx = op.fit(gx, behind.shape)
            if data.dtype is not behind.dtype and data.dtype != behind.dtype:
                gx = gx.astype(behind.dtype)
            if behind in gradients.sums:
                gradients.add(behind, gx)
            else:
                gradients.sums[behind] = gx
    if not keep:
        node.inputs = node.output = None


def _changed(node, what):
    raise GraphError(f"backward: {what} of {node.op!r} was changed in place after the forward "
                     "pass; make a new tensor instead, or change it after backward")


def _if_useful(x, useful):
    """`x`, or where its gradient is not wanted a stand-in that says so and stays in the graph."""
    if x._node is None or x._node in useful:
        return x
    if isinstance(x, Tensor):
        stand_in = new(_Bystander)
        stand_in._data, stand_in._node, stand_in._version = x._data, x._node, x._version
        return stand_in
    return _Unwanted(x)


class _Bystander(Tensor):
    """A tensor of the graph whose gradient nobody asked `grad` for."""
    __slots__ = ()
    requires_grad = False


def _rejoin(inputs):
    """Bystanders may be part of the gradients' own graph now, where one may ask for theirs, too."""
    for x in inputs:
        if x.__class__ is _Bystander:
            x.__class__ = Tensor


class Gradients:
    """The cotangents on their way back; sums are made in place only in buffers made here."""
    __slots__ = ("create_graph", "sums", "owned")

    def __init__(self, create_graph):
        self.create_graph, self.sums, self.owned = create_graph, {}, set()

    def add(self, node, g):
        """Add `g` to the sum for `node`."""
        before = self.sums.get(node)
        if before is None:
            self.sums[node] = g
        elif self.create_graph:
            self.sums[node] = before + g
        elif node in self.owned:
            before._data += g._data
        else:
            self.sums[node] = _tensor(as_array(before._data + g._data))
            self.owned.add(node)

    def buffer(self, node, like):
        """An array of zeros, or of the sum so far, for `node`, to be added to in place."""
        if node not in self.owned:
            data = module_of(like._data).zeros(node.shape, node.dtype)
            if node in self.sums:
                data += self.sums[node]._data
            self.sums[node] = _tensor(data)
            self.owned.add(node)
        return self.sums[node]._data


def _accumulate(leaf, g, create_graph):
    """Add to `.grad`, which is always an owned, writable, contiguous array of the leaf's dtype."""
    if create_graph:
        leaf.grad, leaf.owned = g if leaf.grad is None else leaf.grad + g, False
    elif leaf.grad is None:
        own = module_of(g._data).array(g._data, copy=True, order="C")
        leaf.grad, leaf.owned = _tensor(own), True
    elif leaf.owned:
        leaf.grad._data += g._data
        leaf.grad._touch()
    else:
        leaf.grad, leaf.owned = _tensor(as_array(leaf.grad._data + g._data)), True


def _reachable(nodes):
    """The nodes behind `nodes`, themselves among them."""
    seen, stack = set(nodes), list(nodes)
    while stack:
        for x in stack.pop().inputs or ():
            node = x._node
            if node is not None and node not in seen:
                seen.add(node)
                stack.append(node)
    return seen


def _goes_on(node, useful):
    """Whether a useful gradient lies behind the node; of a freed one nobody knows."""
    return node.inputs is None or any(x._node in useful for x in node.inputs)


def _leading_to(wanted, nodes):
    """Those of `nodes` that depend on a wanted one."""
    useful = set()
    for node in sorted(nodes, key=number):
        if node in wanted or _goes_on(node, useful):
            useful.add(node)
    return useful
