"""Every public operation, layer and loss that PyTorch or torchvision has too, beside theirs.

The operations walk through their own examples (`tinyvision.ops.examples`). While this file is
tested, `ops` in the examples is `Either`: given PyTorch's tensors it calls PyTorch's function, as
`PEERS` has it. An operation that is in neither of the tables fails here; so does a layer.

    python tests/test_parity.py        the largest relative errors, as a table
"""
import functools
import inspect
import operator
import re

import numpy as np
import pytest
from test_layers import LAYERS

import tinyvision as tv
from tinyvision import nn, ops
from tinyvision.ops import examples as one, examples_losses as two, examples_sampling as three
from tinyvision.ops.example import Example

torch = pytest.importorskip("torch")
F = torch.nn.functional
TOLERANCE = {"f4": 1e-5, "f8": 1e-9}
EVERY_DTYPE = pytest.mark.parametrize("dtype", TOLERANCE)


def torchvision():
    """Its operations; the test is skipped where there are none."""
    try:
        import torchvision
        return torchvision.ops
    except (ImportError, RuntimeError) as error:             # RuntimeError: of another PyTorch
        pytest.skip(f"torchvision: {error}")


def vision(name):
    """torchvision's function of that name."""
    return lambda *arguments, **options: getattr(torchvision(), name)(*arguments, **options)


def reduced(function):
    """With `reduction` in the place where ours has it: after the target."""
    return lambda x, t, reduction="mean", **options: function(x, t, reduction=reduction, **options)


def weighed(function):
    """The losses of labels: ours ignore -1, PyTorch's -100, unless they are told."""
    return lambda x, t, weight=None, ignore_index=-1, **options: function(
        x, t, weight, ignore_index=ignore_index, **options)


def of_two(function):
    """Of a tensor and a number, too."""
    return lambda a, b: function(a, torch.as_tensor(b, dtype=a.dtype))


# --- the tables -----------------------------------------------------------------------------------
SAME = ("adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "batch_norm",
        "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "dropout", "dropout2d", "elu",
        "embedding", "group_norm", "hardsigmoid", "hardswish", "hardtanh",
        "interpolate", "leaky_relu", "linear", "log_softmax", "logsigmoid", "max_pool2d",
        "max_unpool2d", "mish", "pad", "pixel_shuffle", "pixel_unshuffle", "prelu", "relu", "relu6",
        "scaled_dot_product_attention", "selu", "silu", "softmax", "softplus")
TORCHS = ("abs", "broadcast_to", "cat", "clamp", "exp", "flatten", "gru_cell", "log", "lstm_cell",
          "matmul", "mean", "neg", "reshape", "rnn_relu_cell", "rnn_tanh_cell", "sigmoid", "sqrt",
          "stack", "sum", "tanh", "transpose", "where")
VISIONS = ("batched_nms", "box_area", "box_convert", "box_iou", "complete_box_iou_loss",
           "distance_box_iou_loss", "generalized_box_iou_loss", "nms", "ps_roi_align",
           "ps_roi_pool", "roi_align", "roi_pool", "sigmoid_focal_loss", "stochastic_depth")
PEERS = {
    **{name: getattr(F, name) for name in SAME}, **{name: getattr(torch, name) for name in TORCHS},
    **{name: vision(name) for name in VISIONS},
    **{name: reduced(getattr(F, name)) for name in (
        "huber_loss", "kl_div", "l1_loss", "mse_loss", "smooth_l1_loss")},
    **{name: weighed(getattr(F, name)) for name in ("cross_entropy", "nll_loss")},
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv,
    "power": operator.pow, "take": operator.getitem, "cast": torch.Tensor.to,
    "maximum": of_two(torch.maximum), "minimum": of_two(torch.minimum),
    "amax": lambda x, dim=None, keepdim=False: torch.amax(x, () if dim is None else dim, keepdim),
    "amin": lambda x, dim=None, keepdim=False: torch.amin(x, () if dim is None else dim, keepdim),
    "gelu": lambda x, approximate="none": F.gelu(x, approximate=approximate),
    "grid_sample": lambda x, grid, mode="bilinear", padding_mode="zeros", align_corners=False:
        F.grid_sample(x, grid, mode, padding_mode, align_corners),
    "affine_grid": lambda theta, size: F.affine_grid(theta, size, False),
    "permute": lambda x, *dims: x.permute(*dims), "reshape": lambda x, *shape: x.reshape(*shape),
    "layer_norm": lambda x, shape, *rest: F.layer_norm(x, np.atleast_1d(shape).tolist(), *rest),
    "binary_cross_entropy": lambda x, t, w=None, reduction="mean": F.binary_cross_entropy(
        x, t, w, reduction=reduction),
    "binary_cross_entropy_with_logits": lambda x, t, w=None, reduction="mean", pos_weight=None:
        F.binary_cross_entropy_with_logits(x, t, w, reduction=reduction, pos_weight=pos_weight),
    "multi_margin_loss": lambda x, t, p=1, margin=1.0, weight=None, reduction="mean":
        F.multi_margin_loss(x, t, p, margin, weight, reduction=reduction)}
WITHOUT = {"bed_of_nails", "border_weight_map", "box_iou_loss", "chamfer_distance", "conv_matrix",
           "corner_pool", "dice_loss", "distance_transform", "edge_loss", "gaussian_kl",
           "hinge_loss", "mask_iou", "multi_scale_deformable_attention", "nearest_points",
           "normal_loss", "pull_loss", "push_loss", "soft_nms"}
APART = {                                  # examples that PyTorch answers otherwise, and why
    ("max_unpool2d", "overlapping"): "ours adds what meets at one place, PyTorch keeps the last",
    ("take", "backwards"): "PyTorch has no slices with a negative step",
    **{(name, note): "another generator draws" for name, note in (
        ("dropout", ""), ("dropout2d", ""), ("stochastic_depth", "row"),
        ("stochastic_depth", "batch"))}}
WRT = {                                    # other gradients than the example's are compared
    ("complete_box_iou_loss", "a factor is no function"): (0, 1), ("embedding", "padding"): (0,),
    ("binary_cross_entropy", "weighted"): (0, 1),            # PyTorch has none of a weight
    ("binary_cross_entropy_with_logits", "weighted"): (0, 1)}


def more(r):
    """Of what draws, the ends; of what is fused, rows longer than any vector."""
    x, wide = r.normal(3, 4, 2, 5), r.normal(7, 6, 31, 17)
    for name in ("dropout", "dropout2d"):
        for p, training in ((0.4, False), (1.0, True), (0.0, True)):
            yield Example(name, f"p = {p}, training={training}", lambda x, n=name, p=p, t=training:
                          getattr(one.ops, n)(x, p, t), (x,))
    yield Example("stochastic_depth", "not training", lambda x: one.ops.stochastic_depth(
        x, 0.4, "row", False), (x,))
    for name, rest in (("softmax", (-1,)), ("log_softmax", (0,)), ("layer_norm", (17,)),
                       ("group_norm", (3,)), ("gelu", ()), ("elu", ())):
        yield Example(name, "wide", lambda x, n=name, a=rest: getattr(one.ops, n)(x, *a), (wide,))
    yield Example("matmul", "wide", lambda a, b: one.ops.matmul(a, b),
                  (r.normal(70, 130), r.normal(130, 90)))
    yield Example("conv2d", "wide", lambda x, w: one.ops.conv2d(x, w, None, 1, 1),
                  (r.normal(2, 19, 33, 35), r.normal(23, 19, 3, 3)))


# --- the operations -------------------------------------------------------------------------------
class Either:
    """`ops`, or PyTorch's functions where PyTorch's tensors are among the arguments."""

    def __getattr__(self, name):
        ours, theirs = getattr(ops, name), PEERS.get(name)

        def call(*arguments, **options):
            if any(torch.is_tensor(a) for a in flat([*arguments, *options.values()])):
                return theirs(*map(for_torch, arguments),
                              **{k: for_torch(v) for k, v in options.items()})
            return ours(*arguments, **options)
        return call


def for_torch(value):
    """Arrays as PyTorch's tensors; anything else as it is."""
    return torch.tensor(value) if isinstance(value, np.ndarray) else value


def flat(outputs):
    """The leaves of nested tuples and lists; None is left out."""
    if isinstance(outputs, (tuple, list)):
        return [leaf for part in outputs for leaf in flat(part)]
    return [] if outputs is None else [outputs]


@functools.cache
def all_examples(dtype):
    """All examples that have a peer."""
    found = one.examples(np.random.default_rng(7), dtype)
    found += more(one.Random(np.random.default_rng(8), dtype))
    return [e for e in found if e.name in PEERS and (e.name, e.note) not in APART]


def array(value):
    """As NumPy's, whoever's it is."""
    if torch.is_tensor(value):
        return value.detach().numpy()
    return value.numpy() if isinstance(value, tv.Tensor) else np.asarray(value)


def error(ours, theirs):
    """max|a - b| in parts of max|b|; NaN must stand where NaN stands."""
    a, b = array(ours), array(theirs)
    assert a.shape == b.shape and (np.isnan(a) == np.isnan(b)).all()
    apart = np.nan_to_num(np.abs(a.astype("f8") - b)).max(initial=0)
    return apart / max(np.nan_to_num(np.abs(b)).max(initial=0), 1e-30)


def errors(example, dtype):
    """Of the results, and of all gradients."""
    wrt = WRT.get((example.name, example.note), example.wrt)
    xs = [tv.Tensor(a, requires_grad=k in wrt) for k, a in enumerate(example.tensors)]
    ts = [torch.tensor(a, requires_grad=k in wrt) for k, a in enumerate(example.tensors)]
    ys, zs = flat(example.function(*xs)), flat(example.function(*ts))
    found = [error(y, z) for y, z in zip(ys, zs, strict=True)]
    if wrt:
        assert ys[0].dtype == dtype
        g = np.random.default_rng(3).standard_normal(ys[0].shape).astype(dtype)
        ys[0].backward(g)
        zs[0].backward(torch.tensor(g))
        found += [error(x.grad, t.grad) for x, t in zip(xs, ts) if t.requires_grad]
    return found


@pytest.fixture(scope="module", autouse=True)
def either():
    """In the examples, `ops` is both libraries."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (one, two, three):
            patch.setattr(module, "ops", Either())
        yield


def allowed(name, dtype):
    """The error that may be: PyTorch's 1/6 in hardsigmoid is a float32."""
    return max(TOLERANCE[dtype], 1e-7 * name.lower().startswith("hardsigmoid"))


@EVERY_DTYPE
@pytest.mark.parametrize("name", sorted(PEERS))
def test_operations_are_pytorchs(name, dtype):
    mine = [e for e in all_examples(dtype) if e.name == name]
    assert mine
    for example in mine:
        for wrong in errors(example, dtype):
            assert wrong <= allowed(name, dtype), str(example)


def public_operations():
    """The functions that `tinyvision.ops` offers."""
    return {name for name, value in vars(ops).items() if not name.startswith("_")
            and callable(value) and not inspect.isclass(value)}


def test_no_operation_is_left_out():
    assert public_operations() == PEERS.keys() | WITHOUT


def test_operations_without_a_peer_have_none():
    assert not [n for n in WITHOUT if any(hasattr(m, n) for m in (torch, F))]
    assert not [n for n in WITHOUT if hasattr(torchvision(), n)]


# --- layers and losses ----------------------------------------------------------------------------
def labels(dtype):
    return np.random.default_rng(4).integers(0, 4, (5, 3))


def shares(*shape):
    return lambda dtype: np.random.default_rng(5).uniform(0.1, 0.9, shape).astype(dtype)


def places(dtype):
    return np.arange(0, 48, 4).reshape(1, 1, 3, 4).repeat(4, 1).repeat(2, 0)


MORE = (                                   # expression, inputs: shapes, or functions of the dtype
    ("RNN(3, 5, nonlinearity='relu')", (7, 2, 3)), ("LSTM(3, 5, 2, bidirectional=True)", (7, 2, 3)),
    ("GRU(3, 5, 2, batch_first=True)", (2, 7, 3)), ("RNNCell(3, 5)", (4, 3)),
    ("LSTMCell(3, 5, False)", (4, 3)), ("GRUCell(3, 5)", (4, 3), (4, 5)),
    ("Embedding(9, 5, 2)", labels), ("MaxUnpool2d(2)", (2, 4, 3, 4), places),
    ("MultiheadAttention(8, 2)", (3, 2, 8), (5, 2, 8), (5, 2, 8)),
    ("TransformerEncoderLayer(8, 2, 12, 0.0, norm_first=True)", (5, 3, 8)),
    ("TransformerEncoder(TransformerEncoderLayer(8, 2, 12, 0.0, 'gelu'), 2)", (5, 3, 8)),
    ("TransformerDecoderLayer(8, 2, 12, 0.0)", (5, 3, 8), (4, 3, 8)),
    ("TransformerDecoder(TransformerDecoderLayer(8, 2, 12, 0.0), 2)", (5, 3, 8), (4, 3, 8)),
    ("Sequential(Linear(8, 3), Sequential(ReLU(), Linear(3, 4)))", (5, 8)),
    ("CrossEntropyLoss(ignore_index=-1, label_smoothing=0.1)", (5, 4, 3), labels),
    ("NLLLoss(ignore_index=2)", (5, 4, 3), labels), ("MSELoss()", (5, 4), (5, 4)),
    ("L1Loss(reduction='sum')", (5, 4), (5, 4)), ("SmoothL1Loss(beta=0.4)", (5, 4), (5, 4)),
    ("HuberLoss(delta=0.4)", (5, 4), (5, 4)), ("BCELoss()", shares(5, 4), shares(5, 4)),
    ("BCEWithLogitsLoss(reduction='none')", (5, 4), shares(5, 4)),
    ("KLDivLoss(reduction='batchmean')", (5, 4), shares(5, 4)),
    ("MultiMarginLoss(2, 0.7)", (5, 4), lambda dtype: labels(dtype)[:, 0]))
CONTAINERS = {"Module", "ModuleDict", "ModuleList"}         # they compute nothing
TABLE = [(text, shape) for text, shape in LAYERS] + list(MORE)


def inputs(row, dtype):
    """The arrays of a row of the table."""
    rng = np.random.default_rng(6)
    return [what(dtype) if callable(what) else rng.standard_normal(what).astype(dtype)
            for what in row[1:]]


def twins(text, dtype):
    """The layer from both libraries, with the same random parameters by the same names."""
    tv.manual_seed(0)
    rng = np.random.default_rng(2)
    ours, theirs = (eval(text, {}, dict(vars(library))) for library in (nn, torch.nn))
    theirs.to({"f4": torch.float32, "f8": torch.float64}[dtype])
    for name, p in ours.named_parameters():
        p.data = rng.uniform(-0.6, 0.6, p.shape).astype(dtype)
        p.requires_grad = False
        p.requires_grad = True                               # a leaf of the new dtype
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({k: torch.tensor(v) for k, v in ours.state_dict().items()})
    return ours, theirs


def layer_errors(row, dtype):
    """Of results, of the inputs' gradients, of the parameters' (in parts of the largest of them:
    where the right one is 0, as that of attention's key bias, rounding alone is compared)."""
    (ours, theirs), arrays = twins(row[0], dtype), inputs(row, dtype)
    floating = [a.dtype.kind == "f" for a in arrays]
    xs = [tv.Tensor(a, requires_grad=f) for a, f in zip(arrays, floating)]
    ts = [torch.tensor(a, requires_grad=f) for a, f in zip(arrays, floating)]
    ys, zs = flat(ours(*xs)), flat(theirs(*ts))
    found, rng = [error(y, z) for y, z in zip(ys, zs, strict=True)], np.random.default_rng(3)
    gs = [rng.standard_normal(y.shape).astype(dtype) for y in ys]
    sum((y * g).sum() for y, g in zip(ys, gs)).backward()
    sum((z * torch.tensor(g)).sum() for z, g in zip(zs, gs)).backward()
    found += [error(x.grad, t.grad) for x, t in zip(xs, ts) if t.requires_grad]
    right = {name: array(p.grad) for name, p in theirs.named_parameters()}
    scale = max((np.abs(g).max() for g in right.values()), default=1)
    return found + [np.abs(p.grad.numpy() - right[name]).max() / scale
                    for name, p in ours.named_parameters()]


@EVERY_DTYPE
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0].replace(" ", ""))
def test_layers_and_losses_are_pytorchs(row, dtype):
    for wrong in layer_errors(row, dtype):
        assert wrong <= allowed(row[0], dtype)


def test_no_layer_is_left_out():
    walked = set(re.findall(r"\w+(?=\()", " ".join(row[0] for row in TABLE)))
    layers = {name for name, value in vars(nn).items() if inspect.isclass(value)
              and issubclass(value, nn.Module) and hasattr(torch.nn, name)}
    assert layers - CONTAINERS <= walked


def main():
    """Print the largest errors."""
    for module in (one, two, three):
        module.ops = Either()
    for name in sorted(PEERS):
        try:
            worst = [max(w for e in all_examples(d) if e.name == name for w in errors(e, d))
                     for d in TOLERANCE]
            print(f"{name:50} {worst[0]:.1e} {worst[1]:.1e}")
        except pytest.skip.Exception as reason:
            print(f"{name:50} {reason}")
    for row in TABLE:
        worst = [max(layer_errors(row, d)) for d in TOLERANCE]
        print(f"{row[0][:50]:50} {worst[0]:.1e} {worst[1]:.1e}")


if __name__ == "__main__":
    main()
