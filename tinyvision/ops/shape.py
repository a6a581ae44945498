"""Moving and adding elements: linear operations, each of which is its partner's adjoint.

    reshape <-> reshape        transpose <-> inverse transpose      sum <-> broadcast
    take (indexing) <-> put    concatenate <-> slices               pad <-> crop
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinyvision.device import module_of, scatter_add
from tinyvision.engine import Op, Tensor, as_array


@dataclass(frozen=True)
class Reshape(Op):
    """The same elements in another shape."""
    shape: tuple
    view = True

    def forward(self, a):
        return a.reshape(self.shape)

    def backward(self, g, y, a):
        return Reshape(a.shape)(g),


@dataclass(frozen=True)
class Transpose(Op):
    """The axes in another order."""
    axes: tuple
    view = True

    def forward(self, a):
        return a.transpose(self.axes)

    def backward(self, g, y, a):
        return Transpose(tuple(int(i) for i in np.argsort(self.axes)))(g),


@dataclass(frozen=True)
class Sum(Op):
    """The sum over `axes`, which stay as axes of size 1."""
    axes: tuple

    def forward(self, a):
        return a.sum(self.axes, keepdims=True)

    def backward(self, g, y, a):
        return Broadcast(a.shape)(g),


@dataclass(frozen=True)
class Broadcast(Op):
    """Axes of size 1, and new leading ones, repeated."""
    shape: tuple
    view = True

    def forward(self, a):
        return module_of(a).broadcast_to(a, self.shape)

    def backward(self, g, y, a):
        return sum_to(g, a.shape),


@dataclass(frozen=True, eq=False, repr=False)
class Take(Op):
    """a[index]. The gradients of several slices of one tensor are added into one buffer."""
    index: object
    view = True

    def forward(self, a):
        return a[self.index]

    def backward(self, g, y, a):
        return Put(self.index, a.shape)(g),

    def into(self, buffer, g):
        """buffer[index] += g, where an index that occurs twice counts twice."""
        add_at(buffer, self.index, g)

    def __repr__(self):
        return f"Take({describe_index(self.index)})"


@dataclass(frozen=True, eq=False, repr=False)
class Put(Op):
    """Zeros of `shape` with `a` added at `index`: the adjoint of Take."""
    index: object
    shape: tuple

    def forward(self, a):
        out = module_of(a).zeros(self.shape, a.dtype)
        add_at(out, self.index, a)
        return out

    def backward(self, g, y, a):
        return Take(self.index)(g),

    def __repr__(self):
        return f"Put({describe_index(self.index)}, shape={self.shape})"


@dataclass(frozen=True)
class Concatenate(Op):
    """The inputs, of the given `sizes` along `axis`, one after the other."""
    axis: int
    sizes: tuple

    def forward(self, *arrays):
        return module_of(arrays[0]).concatenate(arrays, self.axis)

    def backward(self, g, y, *inputs):
        before = (slice(None),) * self.axis
        ends = np.cumsum(self.sizes).tolist()
        return tuple(x.requires_grad and g[(*before, slice(end - size, end))]
                     for x, size, end in zip(inputs, self.sizes, ends))


def add_at(out, index, values):
    """out[index] += values, where an index that occurs twice counts twice."""
    if _is_basic(index):
        out[index] += values
    else:
        scatter_add(out, index, values)


def _is_basic(index):
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, (int, slice, np.integer)) for p in parts)


def describe_index(index) -> str:
    """Short text for an index: arrays by their shape."""
    parts = index if isinstance(index, tuple) else (index,)
    return ", ".join(f"array{p.shape}" if hasattr(p, "shape") and p.shape else
                     _describe_slice(p) if isinstance(p, slice) else
                     "..." if p is Ellipsis else str(p) for p in parts)


def _describe_slice(s):
    ends = ":".join("" if v is None else str(v) for v in (s.start, s.stop))
    return ends if s.step is None else f"{ends}:{s.step}"


def normal_axes(axis, ndim, caller) -> tuple:
    """`axis` (None, an int or several) as a sorted tuple of axes from 0.

    Raises:
        ValueError: an axis that the tensor does not have, or one named twice.
    """
    axes = range(ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    for a in axes:
        if not -ndim <= a < ndim:
            raise ValueError(f"{caller}: dim {a} is out of range for a tensor with {ndim} axes")
    normal = tuple(sorted({a % ndim for a in axes}))
    if len(normal) != len(tuple(axes)):
        raise ValueError(f"{caller}: dims {tuple(axes)} name one axis twice")
    return normal


def sum_to(g, shape) -> Tensor:
    """`g` summed over the axes along which `shape` was broadcast: the adjoint of Broadcast."""
    if g._data.shape == shape:
        return g
    lead = len(g.shape) - len(shape)
    axes = (*range(lead), *(i + lead for i, n in enumerate(shape) if n == 1 != g.shape[i + lead]))
    total = Sum(axes)(g) if axes else g
    return Reshape(shape)(total) if lead else total


def sum(a, dim=None, keepdim=False) -> Tensor:
    """The sum over `dim` (an int, several, or None for all).

    Like `torch.sum`. float32 is summed in float32, pairwise (as NumPy does).
    """
    shape = as_array(a).shape
    axes = normal_axes(dim, len(shape), "sum")
    total = Sum(axes)(a)
    if keepdim:
        return total
    return Reshape(tuple(n for i, n in enumerate(shape) if i not in axes))(total)


def mean(a, dim=None, keepdim=False) -> Tensor:
    """The mean over `dim` (an int, several, or None for all)."""
    shape = as_array(a).shape
    count = math.prod(shape[i] for i in normal_axes(dim, len(shape), "mean"))
    return sum(a, dim, keepdim) / count


def reshape(a, *shape) -> Tensor:
    """The same elements in another shape; one size may be -1."""
    shape = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    size = math.prod(as_array(a).shape)
    known = math.prod(n for n in shape if n != -1)
    if shape.count(-1) > 1 or (size % known if -1 in shape and known else size != known):
        raise ValueError(f"reshape: {as_array(a).shape} ({size} elements) does not fit {shape}")
    if -1 in shape and not known:
        raise ValueError(f"reshape: -1 in {shape} could be any size, for there are no elements; "
                         "say which")
    if -1 in shape:
        shape = tuple(size // known if n == -1 else n for n in shape)
    return Reshape(shape)(a)


def flatten(a, start_dim=0, end_dim=-1) -> Tensor:
    """Axes start_dim to end_dim as one."""
    shape = as_array(a).shape
    start, end = start_dim % len(shape), end_dim % len(shape)
    return reshape(a, *shape[:start], math.prod(shape[start:end + 1]), *shape[end + 1:])


def permute(a, *dims) -> Tensor:
    """The axes in the order `dims`."""
    dims = tuple(dims[0]) if len(dims) == 1 and not isinstance(dims[0], int) else dims
    ndim = len(as_array(a).shape)
    if normal_axes(dims, ndim, "permute") != tuple(range(ndim)):
        raise ValueError(f"permute: dims {dims} are no order of the {ndim} axes")
    return Transpose(tuple(d % ndim for d in dims))(a)


def transpose(a, dim0=-2, dim1=-1) -> Tensor:
    """Two axes swapped (the last two, unless said otherwise)."""
    axes = list(range(len(as_array(a).shape)))
    for dim in (dim0, dim1):
        normal_axes(dim, len(axes), "transpose")
    axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
    return Transpose(tuple(axes))(a)


def broadcast_to(a, shape) -> Tensor:
    """`a` repeated along axes of size 1 until it has `shape`."""
    return Broadcast(tuple(shape))(a)


def take(a, index) -> Tensor:
    """a[index], for everything NumPy can index with; index tensors are unwrapped."""
    parts = index if isinstance(index, tuple) else (index,)
    parts = tuple(p._data if isinstance(p, Tensor) else p for p in parts)
    return Take(parts if isinstance(index, tuple) else parts[0])(a)


def cat(tensors, dim=0) -> Tensor:
    """The tensors one after the other along `dim`. Like `torch.cat`.

    Raises:
        ValueError: none given, or shapes that differ elsewhere than along `dim`.
    """
    shapes = [as_array(t).shape for t in tensors]
    if not shapes:
        raise ValueError("cat: got no tensors, expected at least one")
    axis, = normal_axes(dim, len(shapes[0]), "cat")
    if len({(*s[:axis], *s[axis + 1:]) for s in shapes}) > 1:
        raise ValueError(f"cat: shapes {shapes} differ elsewhere than along dim {dim}")
    return Concatenate(axis, tuple(s[axis] for s in shapes))(*tensors)


def stack(tensors, dim=0) -> Tensor:
    """The tensors, all of one shape, along a new axis `dim`."""
    shapes = {as_array(t).shape for t in tensors}
    if len(shapes) != 1:
        raise ValueError(f"stack: got shapes {sorted(shapes)}, expected one shape for all")
    shape = list(shapes.pop())
    shape.insert(dim if dim >= 0 else len(shape) + 1 + dim, 1)
    return cat([reshape(t, *shape) for t in tensors], dim)
