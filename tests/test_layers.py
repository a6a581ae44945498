"""Every layer beside PyTorch's: state keys, output, gradients; and what they say to bad input."""
import re

import numpy as np
import pytest

import tinyvision as tv
from tinyvision import nn

IMAGE, SIGNAL, ROWS = (2, 4, 6, 8), (3, 4, 9), (5, 4)
LAYERS = (                                 # the same expression for both libraries, input
    ("Conv2d(4, 6, (3, 2), 2, 1, groups=2)", IMAGE),
    ("ConvTranspose2d(4, 6, 3, 2, 1, 1)", IMAGE), ("AvgPool2d(2)", IMAGE),
    ("AvgPool2d(3, 2, 1, True, False)", IMAGE), ("AvgPool2d((2, 3), divisor_override=5)", IMAGE),
    ("MaxPool2d(3, 2, 1)", IMAGE), ("MaxPool2d(2, 3, 1, 2, ceil_mode=True)", IMAGE),
    ("Upsample(scale_factor=2, mode='bilinear')", IMAGE),
    ("Linear(8, 3)", IMAGE), ("LayerNorm(8)", IMAGE), ("LayerNorm((6, 8), 1e-3, bias=False)", IMAGE),
    ("GroupNorm(2, 4)", IMAGE), ("GELU()", IMAGE), ("GELU('tanh')", IMAGE), ("ReLU()", IMAGE),
    ("Conv1d(4, 6, 3, 2, 1, 2, groups=2)", SIGNAL), ("Conv1d(4, 5, 1, bias=False)", SIGNAL),
    ("ConvTranspose1d(4, 6, 3, 2, 1, 1, 2, dilation=2)", SIGNAL),
    ("BatchNorm1d(4)", SIGNAL), ("BatchNorm1d(4, momentum=None)", ROWS),
    ("BatchNorm2d(4, 1e-3, affine=False)", IMAGE),
    ("BatchNorm2d(4, track_running_stats=False)", IMAGE),
    ("Flatten()", IMAGE), ("Flatten(1, 2)", IMAGE), ("Flatten(0, -2)", IMAGE),
    ("Unflatten(1, (2, 2))", IMAGE), ("Unflatten(-1, (2, -1))", IMAGE),
    ("PixelShuffle(2)", IMAGE), ("PixelUnshuffle(2)", IMAGE), ("Identity()", IMAGE),
    ("Identity(3, hidden=4)", IMAGE), ("Dropout(0.0)", IMAGE), ("Dropout(0.4).eval()", IMAGE),
    ("Dropout(1.0)", IMAGE), ("Dropout2d(0.3).eval()", IMAGE), ("Dropout2d(1.0)", IMAGE),
    ("AdaptiveAvgPool2d((3, 5))", IMAGE), ("AdaptiveAvgPool2d(1)", IMAGE),
    ("AdaptiveMaxPool2d((None, 3))", IMAGE), ("AdaptiveMaxPool2d(4)", IMAGE),
    ("Sigmoid()", IMAGE), ("LogSigmoid()", IMAGE), ("Tanh()", IMAGE), ("SiLU()", IMAGE),
    ("Mish()", IMAGE), ("SELU()", IMAGE), ("ReLU6()", IMAGE), ("Hardsigmoid()", IMAGE),
    ("Hardswish()", IMAGE), ("LeakyReLU()", IMAGE), ("LeakyReLU(0.2)", IMAGE), ("ELU()", IMAGE),
    ("ELU(0.7)", IMAGE), ("Softplus()", IMAGE), ("Softplus(2.0, 3.0)", IMAGE),
    ("Hardtanh()", IMAGE), ("Hardtanh(-0.5, 2.0)", IMAGE), ("PReLU()", IMAGE),
    ("PReLU(4, 0.1)", IMAGE), ("PReLU(4)", ROWS), ("PReLU()", (7,)), ("Softmax(1)", IMAGE),
    ("Softmax(dim=-1)", ROWS), ("LogSoftmax(0)", ROWS))


@pytest.mark.parametrize("dtype, tolerance", [("f4", 1e-5), ("f8", 1e-9)])
@pytest.mark.parametrize("text, shape", LAYERS, ids=lambda v: str(v).replace(" ", ""))
def test_layers_are_pytorchs(text, shape, dtype, tolerance):
    torch = pytest.importorskip("torch")
    if text == "Hardsigmoid()":
        tolerance = max(tolerance, 1e-7)                     # PyTorch's 1/6 is a float32
    tv.manual_seed(0)
    layer, other = (eval(text, {}, dict(vars(library))) for library in (nn, torch.nn))
    assert list(layer.state_dict()) == list(other.state_dict())
    other = other.double() if dtype == "f8" else other
    for name, parameter in layer.named_parameters():
        setattr(layer, name, nn.Parameter(parameter.data.astype(dtype)))
    other.load_state_dict({k: torch.tensor(v) for k, v in layer.state_dict().items()})
    rng = np.random.default_rng(0)
    x = (2 * rng.standard_normal(shape)).astype(dtype)
    ours, theirs = tv.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = layer(ours), other(theirs)
    assert y.dtype == x.dtype
    close(y.numpy(), z.detach().numpy(), tolerance)
    g = rng.standard_normal(y.shape).astype(dtype)
    y.backward(g)
    z.backward(torch.tensor(g))
    close(ours.grad.numpy(), theirs.grad.numpy(), tolerance)
    for (name, p), q in zip(layer.named_parameters(), other.parameters(), strict=True):
        close(p.grad.numpy(), q.grad.numpy(), tolerance)


def close(found, right, tolerance):
    """As the issue has it: max|a - b| at most that much of max|b|."""
    assert found.shape == right.shape
    assert abs(found - right).max() <= tolerance * max(abs(right).max(), 1e-30)


@pytest.mark.parametrize("text", sorted({text for text, _ in LAYERS}))
def test_layers_print_what_they_are(text):
    layer = eval(text, {}, dict(vars(nn)))
    assert repr(layer).startswith(text.split("(")[0] + "(") and "\n" not in repr(layer)


def test_modules_of_losses_know_their_weights():
    loss = nn.BCEWithLogitsLoss(pos_weight=np.array([1.0, 2.0], "f4"))
    assert list(loss.state_dict()) == ["pos_weight"] and "pos_weight=(2,)" in repr(loss)
    assert nn.MSELoss().state_dict() == {}


@pytest.mark.parametrize("call, words", [
    (lambda: nn.Conv1d(3, 4, 0), "Conv1d: kernel_size is 0, expected at least 1"),
    (lambda: nn.Conv1d(3, 4, 3, groups=2), "Conv1d: groups=2 does not divide in_channels=3"),
    (lambda: nn.ConvTranspose1d(3, 4, 3, stride=0), "ConvTranspose1d: stride is 0"),
    (lambda: nn.MaxPool2d(3, dilation=0), "MaxPool2d: dilation is 0, expected at least 1"),
    (lambda: nn.PReLU(0), "PReLU: num_parameters is 0"),
    (lambda: nn.PReLU(3)(np.ones((2, 4, 5, 5), "f4")), "prelu: weight has shape (3,), expected (1,)"),
    (lambda: nn.Dropout(1.5), "Dropout: p is 1.5, expected a probability"),
    (lambda: nn.StochasticDepth(0.1, "column"), "StochasticDepth: mode is 'column'"),
    (lambda: nn.Unflatten(1, (2, 3))(np.ones((2, 5), "f4")), "an axis of 5 cannot be taken apart"),
    (lambda: nn.Unflatten(3, (2, 3))(np.ones((2, 5), "f4")), "dim is 3, but the input has shape"),
    (lambda: nn.PixelShuffle(2)(np.ones((2, 5, 3, 3), "f4")), "has 5 channels, expected a multiple"),
    (lambda: nn.PixelUnshuffle(2)(np.ones((2, 5, 3, 4), "f4")), "3 x 4 pixels, expected multiples"),
])
def test_bad_input_is_refused_in_one_sentence(call, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        call()
