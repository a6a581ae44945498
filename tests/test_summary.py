"""nn.summary: counted by hand, and against PyTorch's own counter; hooks."""
import time

import numpy as np
import pytest

import tinyvision as tv
from tinyvision import nn, ops


class Small(nn.Module):
    """A convolution, a product outside any layer, a layer used twice."""

    def __init__(self):
        self.conv = nn.Conv2d(3, 8, 3, padding=1, groups=1, bias=False)
        self.again = nn.Linear(6, 6)

    def forward(self, x):
        x = ops.mean(self.conv(x), 1)                        # (N, H, W)
        return self.again(self.again(ops.matmul(x, x)))


def test_counted_by_hand():
    s = nn.summary(Small(), (2, 3, 6, 6))
    assert [(r.kind, r.depth, r.shape, r.parameters, r.multiply_adds, r.again) for r in s.rows] == [
        ("Small", 0, (2, 6, 6), 0, 2 * 6 * 6 * 6, False),
        ("Conv2d", 1, (2, 8, 6, 6), 216, 2 * 8 * 36 * 27, False),
        ("Linear", 1, (2, 6, 6), 42, 2 * 36 * 6, False),
        ("Linear", 1, (2, 6, 6), 0, 2 * 36 * 6, True)]
    assert s.parameters == s.trainable == 258
    assert s.multiply_adds == 432 + 15552 + 864


def test_the_table_can_be_read():
    text = str(Small().summary((1, 3, 6, 6)))
    assert text.splitlines()[0].split() == ["layer", "output", "parameters", "multiply-adds"]
    assert "  conv: Conv2d" in text and "1 x 8 x 6 x 6" in text and "again" in text
    assert text.splitlines()[-1].split() == ["total", "258", f"{216 + 7776 + 432:,}"]


@pytest.mark.parametrize("build", [tv.models.tiny_segnet, tv.models.tiny_unet, tv.models.tiny_resnet,
                                   tv.models.tiny_vae])
def test_every_small_model_has_a_summary(build):
    model = build()
    size = 64 if model.__class__.__name__ in ("SegNet", "UNet") else 32
    assert nn.summary(model, (1, 3, size, size)).parameters == sum(
        p.size for p in model.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_computed_and_nothing_remains(training):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.0), nn.ReLU(),
                          nn.MaxPool2d(2)).train(training)
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8), np.float32)
    before, state = model(tv.Tensor(x)).numpy(), model.state_dict()
    model[1].momentum = 0.5
    nn.summary(model, x)
    model[1].momentum = 0.0
    assert all((model.state_dict()[name] == state[name]).all() for name in state)
    np.testing.assert_array_equal(model(tv.Tensor(x)).numpy(), before)
    assert not any(m._hooks or m._pre_hooks for m in model.modules())


def test_frozen_parameters_are_not_trainable():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5))
    model[0].requires_grad_(False)
    s = nn.summary(model, (1, 3))
    assert (s.parameters, s.trainable) == (41, 25)
    assert len(model.state_dict()) == 4


def test_a_network_too_large_to_build_is_counted_at_once():
    start = time.perf_counter()
    with nn.skip_init():
        layers = [layer for _ in range(32) for layer in (
            nn.Linear(1280, 3840), nn.Linear(3840, 1280), nn.Linear(1280, 5120),
            nn.GELU(), nn.Linear(5120, 1280))]
        s = nn.summary(nn.Sequential(*layers), (1, 257, 1280))
    assert s.parameters == 32 * (2 * 1280 * 3840 + 2 * 1280 * 5120 + 3840 + 1280 + 5120 + 1280)
    assert s.multiply_adds == 257 * 32 * (2 * 1280 * 3840 + 2 * 1280 * 5120)
    assert time.perf_counter() - start < 5                   # drawing them would take 20 seconds


def test_multiply_adds_are_pytorchs():
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(6, 8, 3, 2, 1, groups=2), torch.nn.ConvTranspose2d(8, 6, 4, 2, 1),
        torch.nn.Conv2d(6, 4, (1, 3), dilation=2), torch.nn.Flatten(), torch.nn.Linear(4 * 16 * 12, 5))
    ours = nn.Sequential(
        nn.Conv2d(6, 8, 3, 2, 1, groups=2), nn.ConvTranspose2d(8, 6, 4, 2, 1),
        nn.Conv2d(6, 4, (1, 3), dilation=2), nn.Flatten(), nn.Linear(4 * 16 * 12, 5))
    with FlopCounterMode(display=False) as counter:
        theirs(torch.zeros(2, 6, 16, 16))
    assert 2 * nn.summary(ours, (2, 6, 16, 16)).multiply_adds == counter.get_total_flops()


def test_a_hook_sees_and_may_change_the_output():
    model, seen = nn.Sequential(nn.ReLU(), nn.ReLU()), []
    with model[0].register_forward_hook(lambda m, inputs, y: seen.append(y.shape)):
        model(tv.Tensor([1.0, -1.0]))
    handle = model[1].register_forward_hook(lambda m, inputs, y: y * 2)
    assert seen == [(2,)] and model(tv.Tensor([1.0, -1.0])).numpy().tolist() == [2, 0]
    handle.remove()
    assert model(tv.Tensor([1.0, -1.0])).numpy().tolist() == [1, 0] and len(seen) == 1
