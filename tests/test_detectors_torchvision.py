"""The papers' detectors beside torchvision's, where it can be imported: same weights, same answers,
same losses."""
from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

import tinyvision as tv
from test_detectors import PAPERS, images, target


def frozen(torch, module):
    """The module with frozen norms, as the published weights have them."""
    from torchvision.ops.misc import FrozenBatchNorm2d
    for name, child in module.named_children():
        if isinstance(child, torch.nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features))
        frozen(torch, child)
    return module


def give_weights(torch, model):
    """Of such a size that something is found."""
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if p.ndim > 1:
                std = (1.6 / p[0].numel()) ** 0.5 * (0.2 if "bbox" in key else 1)
                p.normal_(0, std, generator=g)
            elif "cls_" in key:
                p.zero_()
            else:
                p.normal_(0, 0.05, generator=g)
        for key, b in model.named_buffers():
            if key.endswith("running_var"):
                b.fill_(3.0)


@pytest.fixture(scope="module", params=PAPERS)
def models(request):
    """(letter, torch, theirs, ours), for images of about 150 pixels; skips without torchvision."""
    torch = pytest.importorskip("torch")
    build = PAPERS[request.param][0]
    try:
        from torchvision.models import detection
    except (ImportError, RuntimeError) as error:             # not here, or built for another torch
        pytest.skip(f"torchvision: {error}")
    theirs = getattr(detection, build.__name__)(weights=None, weights_backbone=None)
    give_weights(torch, frozen(torch, theirs))
    with tv.nn.skip_init():
        ours = build()
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    theirs.transform.min_size, theirs.transform.max_size = (128,), 200
    ours.transform = replace(ours.transform, min_size=128, max_size=200)
    return request.param, torch, theirs, ours


def called(torch, theirs, x, *targets):
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return theirs([torch.from_numpy(one) for one in x], *targets)


def test_answers_are_torchvisions(models):
    letter, torch, theirs, ours = models
    x = images((120, 160), (150, 100))
    small = []                                               # masks, before they are pasted
    if letter == "M":
        theirs.roi_heads.register_forward_hook(
            lambda module, inputs, found: small.extend(one["masks"][:, 0].numpy()
                                                       for one in found[0] if "masks" in one))
    expected = called(torch, theirs.eval(), x)
    with tv.no_grad():
        found = ours.eval().predict(x)
    offset = 0 if letter == "R" else 1                       # theirs count the background
    for n, (a, b) in enumerate(zip(found, expected)):
        b = {key: value.numpy() for key, value in b.items()}
        k = min(len(a["boxes"]), len(b["boxes"]), 50)        # the best: far down ties may swap
        assert k > 5 and abs(len(a["boxes"]) - len(b["boxes"])) <= 2
        np.testing.assert_array_equal(a["labels"][:k], b["labels"][:k] - offset)
        np.testing.assert_allclose(a["boxes"][:k], b["boxes"][:k], atol=2e-3)
        np.testing.assert_allclose(a["scores"][:k], b["scores"][:k], atol=1e-5)
        if letter == "K":                                    # a heatmap's ties may swap pixels
            assert np.median(np.abs(a["keypoints"] - b["keypoints"])[:k]) < 1e-3
            np.testing.assert_allclose(a["keypoints_scores"][:k], b["keypoints_scores"][:k],
                                       atol=1e-3)
        if letter == "M":
            np.testing.assert_allclose(a["mask_probabilities"][:k], small[n][:k], atol=1e-4)
            theirs_pasted = b["masks"][:k, 0] >= 0.5         # on whole pixels
            assert (theirs_pasted != a["masks"][:k]).mean() < 0.05


def take_all(theirs, ours):
    """Both learn from every anchor and every region: nothing is left to chance."""
    count = 10 ** 6
    theirs.rpn.fg_bg_sampler.batch_size_per_image = count
    theirs.roi_heads.fg_bg_sampler.batch_size_per_image = count
    ours.rpn.options = replace(ours.rpn.options, sampled=count)
    ours.roi_heads.options = replace(ours.roi_heads.options, sampled=count)


def test_losses_are_torchvisions(models):
    """Masks fill the image: torchvision crops them half a pixel beside, and does not round."""
    letter, torch, theirs, ours = models
    sizes = (128, 160), (150, 128)
    targets = [target((10, 20, 90, 100), (50.5, 30, 120, 80), size=sizes[0], labels=[0, 0]),
               target((15, 25, 115, 140), size=sizes[1], labels=[0])]
    for one in targets:
        one["masks"][:] = True
        one["keypoints"] = np.resize(one["keypoints"], (len(one["boxes"]), 17, 3))
    if letter != "R":
        take_all(theirs, ours)
    torchs = [{key: torch.tensor(value.astype("u1") if value.dtype == bool else value)
               for key, value in one.items()} for one in targets]
    for one in torchs:
        one["labels"] += letter != "R"                       # theirs count the background
    x = images(*sizes)
    expected = called(torch, theirs.train(), x, torchs)
    found = ours.train().loss(x, targets)
    assert set(found) == set(expected)
    for name, value in found.items():
        assert value.item() == pytest.approx(expected[name].item(), rel=1e-3), name
