"""ResNet, U-Net, VAE: the papers' numbers, what makes them what they are; of all models, the shapes
in their comments."""
import importlib.util
from pathlib import Path

import numpy as np
import pytest

import tinyvision as tv
from shape_comments import Watch
from tinyvision import models, nn, ops
from tinyvision.models.detect import tiny_retinanet
from tinyvision.models.detect.fpn import ConvLevels
from tinyvision.models.generate import gaussian_kl
from tinyvision.models.instance import tiny_keypoint_rcnn, tiny_mask_rcnn
from tinyvision.models.segment.unet import fitted

rng = np.random.default_rng(0)


def images(*shape):
    return tv.Tensor(rng.random(shape, np.float32))


def counted(name, shape):
    with nn.skip_init():
        return nn.summary(getattr(models, name)().eval(), shape)


# --- ResNet ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("name, parameters, multiply_adds", [
    ("resnet18", 11_689_512, 1_814_073_344), ("resnet34", 21_797_672, 3_663_761_408),
    ("resnet50", 25_557_032, 4_089_184_256), ("resnet101", 44_549_160, 7_801_405_440),
    ("resnet152", 60_192_808, 11_513_626_624)])
def test_resnets_have_the_published_sizes(name, parameters, multiply_adds):
    s = counted(name, (1, 3, 224, 224))
    assert (s.parameters, s.multiply_adds) == (parameters, multiply_adds)


def test_resnet50_has_torchvisions_names_in_their_order():
    with nn.skip_init():
        names = [name for name, _ in models.resnet50().named_parameters()]
    block = [f"layer1.0.{n}" for n in ("conv1.weight", "bn1.weight", "bn1.bias", "conv2.weight",
                                       "bn2.weight", "bn2.bias", "conv3.weight", "bn3.weight",
                                       "bn3.bias", "downsample.0.weight", "downsample.1.weight",
                                       "downsample.1.bias")]
    assert names[:15] == ["conv1.weight", "bn1.weight", "bn1.bias", *block]
    assert names[-2:] == ["fc.weight", "fc.bias"] and len(names) == 161


def test_the_stages_halve_the_size_and_double_the_channels():
    model = models.resnet18(10)
    assert [y.shape for y in model.features(images(1, 3, 64, 96))] == [
        (1, 64, 16, 24), (1, 128, 8, 12), (1, 256, 4, 6), (1, 512, 2, 3)]
    assert models.tiny_resnet()(images(2, 3, 32, 32)).shape == (2, 6)


@pytest.mark.parametrize("block", ["BasicBlock", "Bottleneck"])
def test_a_block_whose_branch_is_silent_hands_its_input_on(block):
    from tinyvision.models.classify import resnet
    layer = getattr(resnet, block)(16 if block == "BasicBlock" else 64, 16)
    assert layer.downsample is None
    last = layer.bn2 if block == "BasicBlock" else layer.bn3
    last.weight.data = np.zeros_like(last.weight.data)       # the branch gives nothing
    x = images(2, layer.conv1.weight.shape[1], 5, 6)
    np.testing.assert_array_equal(layer(x).numpy(), x.numpy())


def test_resnet_equals_the_same_network_in_pytorch():
    """The bottleneck's stride is in its 3x3 convolution; weights go over by name."""
    torch = pytest.importorskip("torch")
    model = models.ResNet(models.classify.resnet.Bottleneck, (1, 2), 7, width=8).eval()
    for _, buffer in model.named_buffers():
        buffer.data = rng.uniform(0.5, 1.5, buffer.shape).astype(buffer.dtype)
    w = {name: torch.tensor(array) for name, array in model.state_dict().items()}
    f = torch.nn.functional

    def conv_bn(x, conv, bn, **options):
        x = f.conv2d(x, w[f"{conv}.weight"], **options)
        return f.batch_norm(x, *(w[f"{bn}.{n}"] for n in ("running_mean", "running_var", "weight",
                                                          "bias")))
    x = images(2, 3, 48, 64)
    y = f.max_pool2d(torch.relu(conv_bn(torch.tensor(x.numpy()), "conv1", "bn1", stride=2,
                                        padding=3)), 3, 2, 1)
    for name, stride in (("layer1.0", 1), ("layer2.0", 2), ("layer2.1", 1)):
        z = torch.relu(conv_bn(y, f"{name}.conv1", f"{name}.bn1"))
        z = torch.relu(conv_bn(z, f"{name}.conv2", f"{name}.bn2", stride=stride, padding=1))
        z = conv_bn(z, f"{name}.conv3", f"{name}.bn3")
        if f"{name}.downsample.0.weight" in w:
            y = conv_bn(y, f"{name}.downsample.0", f"{name}.downsample.1", stride=stride)
        y = torch.relu(y + z)
    y = f.linear(y.mean((2, 3)), w["fc.weight"], w["fc.bias"])
    tolerance = 2e-5 * float(y.abs().max())
    np.testing.assert_allclose(model(x).numpy(), y.numpy(), rtol=0, atol=tolerance)


# --- U-Net ----------------------------------------------------------------------------------------
def test_unet_has_the_papers_size_and_the_papers_border():
    s = counted("unet", (1, 1, 572, 572))
    assert s.parameters == 31_030_658 and s.rows[0].shape == (1, 2, 388, 388)
    maps = [row.shape for row in s.rows if row.name.startswith("down") and row.kind == "Sequential"]
    assert [shape[1:] for shape in maps] == [(64, 568, 568), (128, 280, 280), (256, 136, 136),
                                             (512, 64, 64), (1024, 28, 28)]       # figure 1


@pytest.mark.parametrize("size", [(64, 64), (37, 50), (9, 8)])
def test_tiny_unet_gives_a_score_for_every_pixel(size):
    assert models.tiny_unet(5)(images(2, 3, *size)).shape == (2, 5, *size)


def test_what_is_handed_across_is_cropped_at_its_middle():
    handed = tv.Tensor(np.arange(36.0).reshape(1, 1, 6, 6))
    crop, x = fitted(handed, tv.Tensor(np.zeros((1, 1, 2, 2))))
    assert crop.numpy().tolist() == [[[[14, 15], [20, 21]]]] and x.shape == (1, 1, 2, 2)


def test_fine_maps_cross_over():
    """What only the encoder's finest stage has seen reaches the output past the bottom."""
    model = models.UNet((16, 32), 2, 1, padding=1)           # wide: some units live wherever drawn
    for p in model.up0.parameters():
        p.data = np.zeros_like(p.data)                       # nothing comes from below
    a = images(1, 1, 8, 16)
    b = tv.Tensor(a.numpy().copy())
    b[0, 0, 3, 8] = 5.0
    changed = (model(a).numpy() != model(b).numpy()).any((0, 1))
    assert changed[:, 4:13].any()                            # four convolutions reach 4 pixels far
    assert not changed[:, :4].any() and not changed[:, 13:].any()


def test_every_parameter_of_the_three_gets_a_gradient():
    for model, x, target in ((models.tiny_resnet(), images(4, 3, 32, 32), np.arange(4)),
                             (models.tiny_unet(), images(2, 3, 32, 32), np.ones((2, 32, 32), int)),
                             (models.tiny_vae(), images(4, 3, 32, 32), None)):
        sum(model.loss(x, target).values()).backward()
        missing = [name for name, p in model.named_parameters()
                   if p.grad is None or not np.abs(p.grad.numpy()).max() > 0]
        assert not missing, (type(model).__name__, missing)


# --- VAE ------------------------------------------------------------------------------------------
def test_the_kl_in_closed_form_is_what_sampling_gives():
    mu, log_var = np.array([[0.5, -1.0]]), np.array([[0.3, -0.8]])
    z = mu + np.exp(log_var / 2) * rng.standard_normal((400_000, 2))
    log_q = -0.5 * (log_var + (z - mu) ** 2 / np.exp(log_var))
    sampled = (log_q + 0.5 * z ** 2).sum(1).mean()
    assert gaussian_kl(tv.Tensor(mu), tv.Tensor(log_var)).item() == pytest.approx(sampled, abs=0.01)


def test_the_gradient_passes_the_noise():
    """dz/dmu = 1 and dz/dlog sigma^2 = sigma eps / 2: the draw is no part of the graph."""
    model, mu = models.tiny_vae(3), tv.Tensor(np.zeros((2, 3), "f4"), True)
    log_var = tv.Tensor(np.full((2, 3), 0.7, "f4"), True)
    tv.manual_seed(4)
    z = model.sample(mu, log_var)
    d_mu, d_log_var = tv.grad(ops.sum(z), [mu, log_var])
    assert (d_mu.numpy() == 1).all()
    np.testing.assert_allclose(d_log_var.numpy(), z.numpy() / 2, rtol=1e-5)
    assert (model.eval().sample(mu, log_var).numpy() == 0).all()


def test_a_few_steps_make_reconstructions_better():
    tv.manual_seed(0)
    model, x = models.tiny_vae(), images(8, 3, 32, 32)
    optimizer = tv.optim.Adam(model.parameters(), 3e-3)
    before = ((model.predict(x) - x.numpy()) ** 2).mean()
    for _ in range(40):
        optimizer.zero_grad()
        sum(model.loss(x).values()).backward()
        optimizer.step()
    assert ((model.predict(x) - x.numpy()) ** 2).mean() < before
    new = model.generate(5)
    assert new.shape == (5, 3, 32, 32) and 0 <= new.min() <= new.max() <= 1 and model.training


@pytest.mark.parametrize("call, words", [
    (lambda: models.VAE(30), "size is 30, expected a multiple of 8"),
    (lambda: models.ResNet(None, (), stem="cifar"), "stem is 'cifar'")])
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_models_by_name():
    assert {"resnet50", "tiny_resnet"} <= set(models.list_models("classify")) < set(
        models.list_models())
    assert isinstance(models.get_model("tiny_unet", num_classes=3), models.UNet)
    assert {"retinanet_resnet50_fpn", "tiny_faster_rcnn"} <= set(models.list_models("detect"))
    assert {"maskrcnn_resnet50_fpn", "tiny_keypoint_rcnn"} <= set(models.list_models("instance"))
    with pytest.raises(ValueError, match="there is no model 'resnet51'; there are .*, resnet101, "):
        models.get_model("resnet51")
    with pytest.raises(ValueError, match="task is 'sing', expected one of classify"):
        models.list_models("sing")


def test_torchvisions_resnet50_loads_and_gives_the_same_numbers(tmp_path):
    torch = pytest.importorskip("torch")
    try:
        from torchvision.models import resnet50
    except (ImportError, RuntimeError) as error:             # not here, or built for another torch
        pytest.skip(f"torchvision: {error}")
    torch.manual_seed(0)
    theirs, x = resnet50(weights=None), images(2, 3, 96, 96)
    with torch.no_grad():
        theirs(torch.randn(4, 3, 64, 64))                    # statistics other than 0 and 1
        torch.save(theirs.eval().state_dict(), tmp_path / "resnet50.pth")
        expected = theirs(torch.tensor(x.numpy())).numpy()
    ours = models.resnet50().eval()
    tv.weights.load_weights(ours, tmp_path / "resnet50.pth")
    np.testing.assert_allclose(ours(x).numpy(), expected, rtol=0, atol=1e-5 * abs(expected).max())


# --- the shapes that stand beside the lines -------------------------------------------------------
def detect(model):
    """All that a detector does, with everything let through."""
    target = {"boxes": np.array([[4, 6, 20, 25]], "f4"), "labels": np.array([0]),
              "masks": np.ones((1, 32, 64), bool), "keypoints": np.full((1, 7, 3), 15, "f4")}
    x = list(rng.random((2, 3, 32, 64), np.float32))
    model.loss(x, [target, target])
    if heads := getattr(model, "roi_heads", None):
        heads.options = heads.options.__class__(**{**vars(heads.options), "score_thresh": 0.0})
    model.eval().predict(x)


FAMILIES = {
    "classify": lambda: models.resnet18(10)(images(1, 3, 64, 96)),
    "segment": lambda: [build(5).loss(images(2, 3, 32, 48), np.ones((2, 32, 48), int))
                        for build in (models.tiny_unet, models.tiny_segnet)],
    "generate": lambda: models.tiny_vae().loss(images(2, 3, 32, 32)),
    "detect": lambda: (detect(tiny_retinanet()), detect(tiny_mask_rcnn()),
                       ConvLevels(4)([images(1, 4, 8, 6)])),
    "instance": lambda: (detect(tiny_mask_rcnn()), detect(tiny_keypoint_rcnn()))}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_shapes_in_the_comments_are_those_of_the_arrays(family):
    files = sorted((Path(models.__file__).parent / family).glob("*.py"))
    with Watch(files) as seen:
        FAMILIES[family]()
    assert not seen.wrong and not seen.unseen
    assert len(seen.checked) >= 3 and seen.axes > 3 * len(seen.checked)


@pytest.mark.parametrize("comment, right", [
    ("(N, C, H, W)", True), ("(N, 3, 8, 6)", True), ("(N, C, 4 P, W)", True), ("(N, ..., W)", True),
    ("(N, C + 0, 2 H / 2, W^1)", True), ("(N, channels k, H, ...)", True),
    ("(N, C, H)", False), ("(N, C, W, H)", False), ("(N, 4, H, W)", False),
    ("(N, C, H / 2, W)", False), ("(N, k, H, W)", False), ("(N, C, 3 P, W)", False),
    ("[(N, C, H, W)]", False), ("(M, M, H, W)", False)])
def test_a_wrong_shape_in_a_comment_is_noticed(comment, right, tmp_path):
    file = tmp_path / "model.py"
    file.write_text("def forward(x):\n"
                    '    """(N, C, H, W) -> (N, C, H, W)."""\n'
                    "    k = 2\n"
                    f"    y = x + k - k    # {comment}\n"
                    "    return y.sum((2,\n"
                    "                  3)), [y, y[:, :, 1:]]    # (N, C), [(N, C, h, W)]\n")
    spec = importlib.util.spec_from_file_location("model", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with Watch([file]) as seen:
        module.forward(np.zeros((2, 3, 8, 6)))
    assert bool(seen.wrong) != right and not seen.unseen and len(seen.checked) == 2
