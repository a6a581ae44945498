"""What the graph keeps alive for backward: ours against PyTorch's, in bytes and in maps.

    tinyvision bench memory

Ours are counted by walking the graph, PyTorch's by `torch.autograd.graph.saved_tensors_hooks`;
each memory once, parameters not counted, the block's input counted on both sides. Blocks of 16
channels at 64x64, float32.
"""
import numpy as np

from tinyvision import ops
from tinyvision.engine import Leaf, Tensor

SHAPE, FILTER = (4, 16, 64, 64), (16, 16, 3, 3)


def conv_relu(F, x, w, norm):
    """conv - relu."""
    return F.relu(F.conv2d(x, w, padding=1))


def conv_norm_relu(F, x, w, norm):
    """conv - batch norm - relu."""
    return F.relu(norm(F.conv2d(x, w, padding=1)))


def four_of_them(F, x, w, norm):
    """conv - batch norm - relu, four times."""
    for _ in range(4):
        x = conv_norm_relu(F, x, w, norm)
    return x


def residual_plain(F, x, w, norm):
    """conv - relu - conv - add - relu."""
    return F.relu(F.conv2d(conv_relu(F, x, w, norm), w, padding=1) + x)


def residual(F, x, w, norm):
    """conv - norm - relu - conv - norm - add - relu."""
    return F.relu(norm(F.conv2d(conv_norm_relu(F, x, w, norm), w, padding=1)) + x)


def tanh_chain(F, x, w, norm):
    """tanh - sigmoid - exp - times 2 - plus x."""
    return 2.0 * F.sigmoid(F.tanh(x)).exp() + x


BLOCKS = conv_relu, residual_plain, conv_norm_relu, four_of_them, residual, tanh_chain


def owner(array):
    """The array whose memory `array` looks at."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def our_bytes(y) -> int:
    """Bytes of the arrays that the graph behind `y` keeps, parameters not counted."""
    seen, stack, found, parameters = {None}, [y._node], {}, set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        kept = [x for x in node.inputs or () if isinstance(x, Tensor)]
        parameters |= {id(owner(x.data)) for x in kept if isinstance(x._node, Leaf)}
        arrays = [x.data for x in kept] + ([node.output[0]] if node.output else [])
        fields = vars(node.op).values() if node.op else ()
        arrays += [v for v in fields if isinstance(v, np.ndarray)]
        found.update({id(owner(a)): owner(a).nbytes for a in arrays})
        stack += [x._node for x in node.inputs or ()]
    return sum(n for k, n in found.items() if k not in parameters)


def their_bytes(make, parameters) -> int:
    """Bytes that PyTorch saves for backward while `make()` runs, parameters not counted."""
    import torch
    found, own = {}, {p.untyped_storage().data_ptr() for p in parameters}

    def note(t):
        found[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        alive = make()                               # while it lives, no address is used twice
    del alive
    return sum(n for k, n in found.items() if k not in own)


def rows() -> list[tuple]:
    """(the block's words, ours in maps, PyTorch's) for every block."""
    import torch
    rng = np.random.default_rng(0)
    a, f = (rng.standard_normal(s).astype(np.float32) for s in (SHAPE, FILTER))
    C = SHAPE[1]
    ours = [Tensor(v, True) for v in (f, np.ones(C, np.float32), np.zeros(C, np.float32))]
    theirs = [torch.tensor(p.data, requires_grad=True) for p in ours]

    def our_norm(x):
        zeros, ones = np.zeros(C, np.float32), np.ones(C, np.float32)
        return ops.batch_norm(x, zeros, ones, ours[1], ours[2], True, 0.1, 1e-5)

    def their_norm(x):
        return torch.nn.functional.batch_norm(x, torch.zeros(C), torch.ones(C), *theirs[1:], True)

    def one(block):
        x, t = Tensor(a, True) * 1.0, torch.tensor(a, requires_grad=True) * 1.0
        F = torch if block is tanh_chain else torch.nn.functional
        return (block.__doc__, our_bytes(block(ops, x, ours[0], our_norm)) / a.nbytes,
                their_bytes(lambda: block(F, t, theirs[0], their_norm), theirs) / a.nbytes)
    return [one(block) for block in BLOCKS]


def text() -> str:
    """The table.

    Raises:
        RuntimeError: PyTorch is not installed.
    """
    from tinyvision.bench import peers, report
    if peers.PEERS["torch"].missing():
        raise RuntimeError("bench memory compares with PyTorch, which is not installed: "
                           "install tinyvision[peers]")
    lines = [(words, f"{ours:.2f}", f"{theirs:.2f}", f"{ours / theirs:.2f}")
             for words, ours, theirs in rows()]
    return report.table(lines, ("kept for backward, in maps of the input", "tinyvision", "PyTorch",
                                "ratio"))
