"""RetinaNet, Faster, Mask and keypoint R-CNN: sizes are the papers', names torchvision's, losses
those of slow references, every parameter learns, bad input has its documented result."""
from __future__ import annotations

import ast
import gc
import math
import pathlib
import tracemalloc
import weakref
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import tinyvision as tv
from tinyvision import boxes, nn
from tinyvision.models.classify.resnet import BasicBlock, ResNet
from tinyvision.models.detect import (fasterrcnn_resnet50_fpn, retinanet_resnet50_fpn,
                                      tiny_faster_rcnn, tiny_retinanet)
from tinyvision.models.detect.dense import Anchored, batch_targets, per_anchor
from tinyvision.models.detect.faster_rcnn import (FasterRCNN, Regions, RoIHeads, numbered,
                                                  read_regions, tiny_rcnn)
from tinyvision.models.detect.fpn import FeaturePyramidNetwork, PoolLevel
from tinyvision.models.detect.images import ImageTransform, prepared
from tinyvision.models.detect.rpn import RegionProposalNetwork, sampled
from tinyvision.models.instance import (MaskKeypointHeads, keypointrcnn_resnet50_fpn,
                                        maskrcnn_resnet50_fpn, tiny_keypoint_rcnn, tiny_mask_rcnn)
from tinyvision.models.instance.mask_rcnn import mask_targets, with_rows

pytestmark = pytest.mark.filterwarnings("error")             # NumPy has nothing to complain of
HERE = pathlib.Path(__file__).parent
POINTS = 5


def tiny_both():
    """One model with every head: what holds for it holds for its parents' code."""
    return tiny_rcnn(MaskKeypointHeads, 6, mask_size=4, mask_layers=(16,), num_keypoints=POINTS,
                     keypoint_size=4, keypoint_layers=(16,))


TINY = {"retinanet": tiny_retinanet, "both": tiny_both}
FOUR = {"retinanet": tiny_retinanet, "faster": tiny_faster_rcnn, "mask": tiny_mask_rcnn,
        "keypoint": lambda: tiny_keypoint_rcnn(6, POINTS)}
every_model = pytest.mark.parametrize("build", TINY.values(), ids=TINY)
two_stages = pytest.mark.parametrize("build", [tiny_both], ids=["both"])


def images(*sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.random((3, *size), np.float32) for size in sizes]


def target(*found, size=(32, 32), labels=None, seed=0):
    """Objects with these boxes, elliptic masks and keypoints within."""
    b, rng = np.array(found, np.float32).reshape(-1, 4), np.random.default_rng(seed)
    y, x = np.mgrid[:size[0], :size[1]] + 0.5
    centre, sides = (b[:, :2] + b[:, 2:]) / 2, np.maximum(np.nan_to_num(b[:, 2:] - b[:, :2]), 1)
    masks = [((x - cx) / w) ** 2 + ((y - cy) / h) ** 2 <= 0.25
             for (cx, cy), (w, h) in zip(centre, sides)]
    points = np.full((len(b), POINTS, 3), 2, np.float32)
    points[..., :2] = b[:, None, :2] + rng.random((len(b), POINTS, 2)) * sides[:, None]
    points[:, 0, 2] = 0                                      # one is never there
    return {"boxes": b, "labels": np.arange(len(b)) % 5 if labels is None else np.array(labels),
            "masks": np.array(masks, bool).reshape(len(b), *size), "keypoints": points}


OBJECTS = (3, 4, 15, 18), (14, 10, 30, 27)


def pair():
    """Two images and their targets: two objects, and one."""
    return images((32, 32), (32, 32)), [target(*OBJECTS), target((5, 5, 26, 30), labels=[3])]


def total(losses):
    return sum(losses.values())


def step(model, optimizer, x, targets):
    optimizer.zero_grad()
    losses = model.loss(x, targets)
    total(losses).backward()
    optimizer.step()
    return {name: value.item() for name, value in losses.items()}


def trained(model, x, targets, steps=3):
    """The losses of every step."""
    tv.manual_seed(1)
    optimizer = tv.optim.SGD(model.parameters(), 1e-3)
    return [step(model, optimizer, x, targets) for _ in range(steps)]


def finite(history):
    return all(math.isfinite(value) for losses in history for value in losses.values())


# --- the papers' configurations -------------------------------------------------------------------
PAPERS = {"R": (retinanet_resnet50_fpn, 34_014_999), "F": (fasterrcnn_resnet50_fpn, 41_755_286),
          "M": (maskrcnn_resnet50_fpn, 44_401_393), "K": (keypointrcnn_resnet50_fpn, 59_137_258)}


def torchvisions_arrays(letter):
    """{name: shape} of a model's state dict, from the list that was written down beside this."""
    arrays = {}
    for line in (HERE / "torchvision_detectors.txt").read_text().splitlines():
        if not line.startswith("#"):
            models, names, shape = line.split()
            head, last = names.rsplit(".", 1)
            if letter in models:
                arrays |= {f"{head}.{name}": tuple(map(int, shape.split("x")))
                           for name in last.split(",")}
    return arrays


@pytest.mark.parametrize("letter", PAPERS)
def test_the_papers_models_have_their_sizes_and_torchvisions_names(letter):
    build, parameters = PAPERS[letter]
    with nn.skip_init():
        model = build()
    # torchvision counts frozen norms as buffers, as we do
    assert sum(math.prod(p.shape) for p in model.parameters()) == parameters
    state = {name: array.shape for name, array in model.state_dict().items()}
    assert state == torchvisions_arrays(letter)


# --- shapes and places ----------------------------------------------------------------------------
def test_answers_stand_in_the_order_of_the_anchors():
    """A map whose channel a * numbers + k says (a, k) at (y, x) comes out at anchor (y, x, a)."""
    A, numbers, H, W = 3, 2, 4, 5
    parts = [n.reshape(s) for n, s in ((np.arange(A), (A, 1, 1, 1)),
                                       (np.arange(numbers), (1, numbers, 1, 1)),
                                       (np.arange(H), (1, 1, H, 1)), (np.arange(W), (1, 1, 1, W)))]
    one = parts[0] * 1000 + parts[1] * 100 + parts[2] * 10 + parts[3]
    maps = [tv.Tensor(one.reshape(1, A * numbers, H, W).astype(np.float32)),
            tv.Tensor(np.full((1, A * numbers, 1, 1), 7, np.float32))]
    found = per_anchor(maps, numbers).numpy()
    assert found.shape == (1, H * W * A + A, numbers) and (found[0, H * W * A:] == 7).all()
    assert found[0, :H * W * A].tolist() == [
        [a * 1000 + k * 100 + y * 10 + x for k in range(numbers)]
        for y in range(H) for x in range(W) for a in range(A)]


@every_model
def test_every_anchor_has_an_answer_at_its_place(build):
    model = build().eval()
    batch = model.transform(images((32, 64), (20, 41)))
    assert batch.images.shape == (2, 3, 32, 64)
    if isinstance(model, FasterRCNN):
        scores, codes, anchors = model.rpn(batch.images, model.backbone(batch.images))
        assert scores.shape == (2, len(anchors.boxes))
    else:
        scores, codes, anchors = model(batch.images)
        assert scores.shape == (2, len(anchors.boxes), 5)
    per_place = (model.rpn if isinstance(model, FasterRCNN) else model).anchors.per_place
    assert anchors.levels == [n * per_place for n in (8 * 16, 4 * 8, 2 * 4)]
    assert codes.shape == (2, len(anchors.boxes), 4) and sum(anchors.levels) == len(anchors.boxes)


def test_a_region_is_read_from_its_level_and_stays_in_its_row():
    model = tiny_faster_rcnn().eval()
    batch = model.transform(images((64, 64), (64, 64)))
    maps, how = model.backbone(batch.images), model.roi_heads.options
    rois = np.array([[1, 0, 0, 60, 60], [0, 2, 2, 10, 9], [1, 5, 5, 30, 37], [0, 0, 0, 64, 64],
                     [1, 8, 8, 12, 12]], np.float32)
    levels = boxes.assign_levels(rois[:, 1:], 2, 4, *how.canonical)
    assert levels.tolist() == [3, 2, 2, 4, 2]
    found = read_regions(batch.images, maps, rois, 3, how).numpy()
    for roi, level, one in zip(rois, levels, found):
        alone = tv.ops.roi_align(maps[level - 2], roi[None], 3, 2.0 ** -level, 2, how.aligned)
        np.testing.assert_array_equal(alone.numpy()[0], one)
    assert read_regions(batch.images, maps, rois[:0], 3, how).shape == (0, 64, 3, 3)


def test_a_pyramid_adds_what_is_above_to_what_is_beside():
    """With a 1x1 convolution that copies and a 3x3 one that copies: sums of repeated pixels."""
    fpn = FeaturePyramidNetwork((1, 1, 1), 1, PoolLevel())
    for name, p in fpn.named_parameters():
        p.data = np.zeros_like(p.data)
        if name.endswith("weight"):
            p.data[0, 0, p.shape[2] // 2, p.shape[3] // 2] = 1
    maps = [np.random.default_rng(k).random((1, 1, 8 >> k, 8 >> k), np.float32) for k in range(3)]
    p2, p3, p4, p5 = (p.numpy() for p in fpn([tv.Tensor(m) for m in maps]))
    m3 = maps[1] + maps[2].repeat(2, 2).repeat(2, 3)
    np.testing.assert_allclose(p2, maps[0] + m3.repeat(2, 2).repeat(2, 3), rtol=1e-6)
    np.testing.assert_allclose(p3, m3, rtol=1e-6)
    np.testing.assert_array_equal(p4, maps[2])
    np.testing.assert_array_equal(p5, maps[2][:, :, ::2, ::2])


def test_a_pyramid_stands_also_where_sizes_are_odd():
    body = ResNet(BasicBlock, (1, 1, 1), None, width=8)
    fpn = FeaturePyramidNetwork(body.channels, 4)
    found = fpn(body.features(tv.Tensor(np.zeros((1, 3, 37, 50), np.float32))))
    assert [p.shape for p in found] == [(1, 4, 10, 13), (1, 4, 5, 7), (1, 4, 3, 4)]


def test_images_of_all_sizes_become_a_batch_and_targets_go_with_them():
    transform = ImageTransform(64, 100, 16, (0.5,) * 3, (0.25,) * 3)
    x = [np.full((3, 32, 16), 0.75, np.float32), np.full((3, 20, 50), 0.5, np.float32)]
    batch = transform(x)
    assert batch.sizes == [(100, 50), (40, 100)]             # the longer side may have 100
    assert batch.images.shape == (2, 3, 112, 112)
    found = batch.images.numpy()
    assert (found[0, :, :100, :50] == 1).all() and found[0].sum() == 3 * 100 * 50
    assert (found[1] == 0).all()
    assert batch.scale(0).tolist() == [50 / 16, 100 / 32] * 2
    one, other = prepared([target((1, 2, 9, 30), size=(32, 16)), target(size=(20, 50))], batch,
                          ("masks", "keypoints"))
    np.testing.assert_allclose(one["boxes"], [[3.125, 6.25, 28.125, 93.75]])
    assert other["boxes"].shape == (0, 4) and other["labels"].shape == (0,)
    assert other["masks"].shape == (0, 20, 50) and other["keypoints"].shape == (0, POINTS, 3)
    np.testing.assert_allclose(one["keypoints"][..., :2],
                               target((1, 2, 9, 30))["keypoints"][..., :2] * 3.125, rtol=1e-6)
    assert (one["keypoints"][..., 2] == [0, 2, 2, 2, 2]).all()


def open_wide(model):
    """Let everything through: untrained models are sure of nothing."""
    if isinstance(model, FasterRCNN):
        model.roi_heads.options = replace(model.roi_heads.options, score_thresh=0.0)
    else:
        model.score_thresh = 0.0
    return model.eval()


@every_model
def test_answers_are_in_each_images_own_pixels(build):
    """An image that the transform makes twice as large, and the large one itself."""
    tv.manual_seed(0)
    model, x = open_wide(build()), images((32, 64))[0]
    plain = replace(model.transform, mean=(0.0,) * 3, std=(1.0,) * 3)    # to the last bit
    model.transform = replace(plain, min_size=64, max_size=128)
    found, = model.predict([x])
    model.transform = plain
    twice = tv.ops.interpolate(x[None], size=(64, 128), mode="bilinear").numpy()
    large, = model.predict(twice)
    assert len(found["boxes"]) > 5
    np.testing.assert_array_equal(found["scores"], large["scores"])
    np.testing.assert_array_equal(found["boxes"] * 2, large["boxes"])
    if "keypoints" in found:
        np.testing.assert_array_equal(found["keypoints"] * (2, 2, 1), large["keypoints"])
        assert found["masks"].shape[1:] == (32, 64) and large["masks"].shape[1:] == (64, 128)
        assert found["masks"].sum() == pytest.approx(large["masks"].sum() / 4, rel=0.3)


@every_model
def test_answers_have_their_plain_format(build):
    sizes = (32, 32), (24, 40)
    for found, (h, w) in zip(open_wide(build()).predict(images(*sizes)), sizes):
        D = len(found["boxes"])
        assert 0 < D <= 100
        assert found["boxes"].shape == (D, 4) and found["boxes"].dtype == np.float32
        assert found["labels"].shape == (D,) and found["labels"].dtype == np.int64
        assert found["scores"].shape == (D,) and found["scores"].dtype == np.float32
        assert (np.diff(found["scores"]) <= 0).all() and set(found["labels"]) <= set(range(5))
        assert (found["boxes"][:, :2] < found["boxes"][:, 2:]).all()
        assert (found["boxes"] >= 0).all() and (found["boxes"] <= (w, h, w, h)).all()
        if "masks" in found:
            assert found["masks"].shape == (D, h, w) and found["masks"].dtype == bool
            assert found["keypoints"].shape == (D, POINTS, 3)
            assert (found["keypoints"][..., 2] == 1).all()
            assert found["keypoints_scores"].shape == (D, POINTS)
            low, high = np.split(found["boxes"][:, None], 2, 2)          # a pixel at least is read
            points = found["keypoints"][..., :2]
            assert ((low <= points) & (points <= np.maximum(high, low + 1))).all()


# --- losses against slow references ---------------------------------------------------------------
def slow_iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = max(w, 0) * max(h, 0)
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def slow_code(box, anchor, weights=(1, 1, 1, 1)):
    (x, y, w, h), (xa, ya, wa, ha) = (
        ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2, b[2] - b[0], b[3] - b[1]) for b in (box, anchor))
    t = (x - xa) / wa, (y - ya) / ha, math.log(w / wa), math.log(h / ha)
    return [v * factor for v, factor in zip(t, weights)]


def slow_smooth_l1(a, b, beta=1 / 9):
    return sum(0.5 * d * d / beta if d < beta else d - beta / 2
               for d in (abs(p - q) for p, q in zip(a, b)))


def slow_bce(x, t):
    """-t log s(x) - (1 - t) log(1 - s(x))."""
    return math.log1p(math.exp(-abs(x))) + max(x, 0) - x * t


def slow_focal(x, t, alpha=0.25, gamma=2):
    """Equation 5 of Lin et al. 2017."""
    p = 1 / (1 + math.exp(-x))
    p_t, alpha_t = (p, alpha) if t else (1 - p, 1 - alpha)
    return -alpha_t * (1 - p_t) ** gamma * math.log(p_t)


def slow_match(anchors, objects, high, low, force):
    table = [[slow_iou(o, a) for a in anchors] for o in objects]
    found = []
    for n in range(len(anchors)):
        column = [row[n] for row in table]
        best = max(column, default=0.0)
        needed = force and any(row[n] == max(row) > 0 for row in table)
        found.append(column.index(best) if column and (best >= high or needed)
                     else -1 if best < low else -2)
    return found


def double(array):
    return np.asarray(getattr(array, "data", array), np.float64)


def test_the_focal_loss_of_nothing_but_background_is_the_formula():
    """Every score begins at 0.01: the sum over anchors and classes of -3/4 0.01^2 log(0.99)."""
    model = tiny_retinanet()
    model.head.classification_head.cls_logits.weight.data[:] = 0
    losses = model.loss(images((32, 32), (32, 32)), [target(), target()])
    T = 9 * (8 * 8 + 4 * 4 + 2 * 2)
    each = -0.75 * 0.01 ** 2 * math.log(0.99)
    assert losses["classification"].item() == pytest.approx(T * 5 * each, rel=1e-4)
    assert losses["bbox_regression"].item() == 0


def test_retinanets_losses_are_the_papers():
    model, (x, targets) = tiny_retinanet(), pair()
    model.head.regression_head.bbox_reg.weight.data *= 30    # codes away from 0
    model.high, model.low = 0.5, 0.3                         # all three cases occur
    losses = model.loss(x, targets)
    scores, codes, anchors = model(model.transform(x).images)
    scores, codes, cases = double(scores), double(codes), Counter()
    classification, regression = [], []
    for n, t in enumerate(targets):
        matched = slow_match(double(anchors.boxes), double(t["boxes"]), 0.5, 0.3, False)
        positives = max(1, sum(m >= 0 for m in matched))
        cases.update(np.minimum(matched, 0))
        classification.append(sum(
            slow_focal(scores[n, a, k], m >= 0 and t["labels"][m] == k)
            for a, m in enumerate(matched) if m != -2 for k in range(5)) / positives)
        regression.append(sum(
            np.abs(codes[n, a] - slow_code(double(t["boxes"][m]), double(anchors.boxes[a]))).sum()
            for a, m in enumerate(matched) if m >= 0) / positives)
    assert min(cases[0], cases[-1], cases[-2]) > 5
    assert losses["classification"].item() == pytest.approx(np.mean(classification), rel=1e-4)
    assert losses["bbox_regression"].item() == pytest.approx(np.mean(regression), rel=1e-4)


def ready_to_compare(build, **rpn):
    """A two-stage model that learns from all anchors and all regions, its batch and its targets."""
    tv.manual_seed(0)
    model, (x, targets) = build(), pair()
    everything = 10 ** 6
    model.rpn.options = replace(model.rpn.options, sampled=everything, **rpn)
    model.roi_heads.options = replace(model.roi_heads.options, sampled=everything,
                                      positive_fraction=0.5)
    model.rpn.head.bbox_pred.weight.data *= 10
    batch, ready = model.prepare(x, targets)
    return model, batch, ready, model.backbone(batch.images)


def test_the_rpns_losses_are_the_papers():
    model, batch, ready, maps = ready_to_compare(tiny_faster_rcnn)
    answers = model.rpn(batch.images, maps)
    losses = model.rpn.loss(answers, ready)
    scores, codes, anchors = double(answers[0]), double(answers[1]), double(answers[2].boxes)
    objectness, where, forced = [], 0, 0
    for n, t in enumerate(ready):
        matched = slow_match(anchors, double(t["boxes"]), 0.7, 0.3, True)
        forced += sum(m >= 0 and slow_iou(t["boxes"][m], a) < 0.7
                      for m, a in zip(matched, anchors))
        objectness += [slow_bce(scores[n, a], m >= 0) for a, m in enumerate(matched) if m != -2]
        where += sum(slow_smooth_l1(codes[n, a], slow_code(double(t["boxes"][m]), anchors[a]))
                     for a, m in enumerate(matched) if m >= 0)
    assert forced > 0
    assert losses["loss_objectness"].item() == pytest.approx(np.mean(objectness), rel=1e-4)
    assert losses["loss_rpn_box_reg"].item() == pytest.approx(where / len(objectness), rel=1e-4)


def slow_log_softmax(x):
    x = double(x) - np.max(x)
    return x - math.log(np.exp(x).sum())


def slow_crop(mask, box, size):
    """Of every cell the mean of bilinear samples, one a pixel."""
    H, W = mask.shape

    def at(y, x):
        y, x = min(max(y - 0.5, 0), H - 1), min(max(x - 0.5, 0), W - 1)
        t, l = min(int(y), H - 2), min(int(x), W - 2)
        return sum(mask[t + i, l + j] * (1 - abs(y - t - i)) * (1 - abs(x - l - j))
                   for i in (0, 1) for j in (0, 1))
    (w, h), cell = (box[2] - box[0], box[3] - box[1]), np.zeros((size, size))
    n, m = math.ceil(h / size), math.ceil(w / size)
    for r, c in np.ndindex(size, size):
        cell[r, c] = np.mean([at(box[1] + (r + (i + 0.5) / n) * h / size,
                                 box[0] + (c + (j + 0.5) / m) * w / size)
                              for i in range(n) for j in range(m)])
    return cell


def regions_of(model, batch, ready, maps):
    """All regions that the heads would learn from, as the model chooses them."""
    answers = model.rpn(batch.images, maps)
    proposals = [found for found, _ in model.rpn.propose(answers, batch.sizes)]
    # some more, near the objects, so that there are objects of every quality
    near = [np.concatenate([p, t["boxes"] + 1.3, t["boxes"] - (2.2, 0.3, 0, 1)])
            for p, t in zip(proposals, ready)]
    return model.roi_heads.sample([boxes.clip(n.astype(np.float32), (32, 32)) for n in near], ready)


def test_the_heads_losses_are_the_papers():
    model, batch, ready, maps = ready_to_compare(tiny_both)
    heads = model.roi_heads
    for p in (heads.box_predictor.bbox_pred.weight, heads.box_predictor.cls_score.weight):
        p.data *= 5
    regions = regions_of(model, batch, ready, maps)
    losses = heads.loss(batch.images, maps, regions)
    scores, codes = heads(batch.images, maps, regions.rois)
    classify, where, masks, points = [], 0, [], []
    for k, roi in enumerate(double(regions.rois)):
        t = ready[int(roi[0])]
        m, = slow_match([roi[1:]], double(t["boxes"]), 0.5, 0.5, False)
        label = t["labels"][m] + 1 if m >= 0 else 0          # class 0 is the background
        classify.append(-slow_log_softmax(scores.numpy()[k])[label])
        if label:
            wanted = slow_code(double(t["boxes"][m]), roi[1:], (10, 10, 5, 5))
            where += slow_smooth_l1(double(codes)[k, label], wanted)
            here = regions.rois[k:k + 1]
            logits = double(heads.masks(batch.images, maps, here, np.array([label - 1])))[0]
            truth = slow_crop(t["masks"][m], roi[1:], len(logits)) >= 0.5
            masks += [slow_bce(v, s) for v, s in zip(logits.ravel(), truth.ravel())]
            heat = double(heads.heatmaps(batch.images, maps, here))[0]
            points += slow_keypoints(heat, double(t["keypoints"][m]), roi[1:])
    assert len(classify) == len(regions.matched) > len(masks) / 64 >= 9
    assert losses["loss_classifier"].item() == pytest.approx(np.mean(classify), rel=1e-4)
    assert losses["loss_box_reg"].item() == pytest.approx(where / len(classify), rel=1e-4)
    assert losses["loss_mask"].item() == pytest.approx(np.mean(masks), rel=1e-4)
    assert losses["loss_keypoint"].item() == pytest.approx(np.mean(points), rel=1e-4)


def slow_keypoints(heat, keypoints, box):
    """For every keypoint that is in the box minus the logarithm of its cell's share."""
    size, found = heat.shape[1], []
    for one, (x, y, seen) in zip(heat, keypoints):
        if seen and box[0] <= x <= box[2] and box[1] <= y <= box[3]:
            c, r = (min(int((v - low) / (high - low) * size), size - 1)
                    for v, low, high in ((x, box[0], box[2]), (y, box[1], box[3])))
            found.append(-slow_log_softmax(one.ravel())[r * size + c])
    return found


def test_mask_targets_lie_where_the_mask_lies_also_in_a_batch_of_another_scale():
    one = {**target((4, 4, 20, 20)), "scale": np.array((2, 2, 2, 2), np.float32)}
    one["boxes"] = one["boxes"] * 2                          # as `prepared` leaves it
    rois = np.array([[0, 8, 8, 40, 40], [0, 8, 8, 24, 24]], np.float32)
    found = mask_targets(Regions(rois, np.array([0, 0]), [one]), 8)
    mask = one["masks"][0]
    pixels = mask[4:20, 4:20].reshape(8, 2, 8, 2).mean((1, 3)) >= 0.5
    np.testing.assert_array_equal(found[0], pixels)
    np.testing.assert_array_equal(found[1], mask[4:12, 4:12])
    assert mask_targets(Regions(rois[:0], np.zeros(0, int), [one]), 8).shape == (0, 8, 8)


def test_regions_remember_their_objects():
    targets = [{"labels": np.array([4, 2]), "boxes": np.ones((2, 4))}, {"labels": np.array([1])}]
    rois = numbered([np.zeros((2, 4)), np.ones((1, 4)), np.zeros((0, 4))])
    assert rois.dtype == np.float32 and rois[:, 0].tolist() == [0, 0, 1]
    regions = Regions(rois, np.array([1, -1, 0]), targets)
    assert regions.labels().tolist() == [2, -1, 1]
    assert regions.positive().labels().tolist() == [2, 1]
    assert regions.positive().of_objects("labels", (0,)).tolist() == [2, 1]
    nothing = Regions(rois[:0], np.zeros(0, int), targets)
    assert nothing.of_objects("boxes", (0, 4)).shape == (0, 4)
    assert nothing.labels().dtype == np.int64


def test_every_image_is_sampled_by_itself():
    matched = np.array([[-1, 0, -1, 1], [-1, -1, -1, -1], [-2, -2, 0, -2]])
    (n, t), (m, s) = sampled(matched, 4, 0.5)
    assert list(zip(n, t)) == [(0, 1), (0, 3), (2, 2)]
    assert list(zip(m, s)) == [(0, 0), (0, 2), (1, 0), (1, 1), (1, 2), (1, 3)]


def test_targets_of_a_batch():
    anchors = np.array([[0, 0, 4, 4], [10, 10, 14, 14]], np.float32)
    targets = [{"boxes": anchors[:1], "labels": np.array([3])},
               {"boxes": anchors[:0], "labels": np.zeros(0, int)}]
    matched, labels, codes = batch_targets(anchors, targets, 0.5, 0.4, False)
    assert matched.tolist() == [[0, -1], [-1, -1]] and labels.tolist() == [[3, -1], [-1, -1]]
    assert codes.shape == (2, 2, 4) and not codes.any()


def test_rows_are_handed_out():
    found = [{"boxes": np.zeros((n, 4))} for n in (2, 0, 1)]
    parts = with_rows(found, a=np.arange(3), b=np.arange(6).reshape(3, 2))
    assert [p["a"].tolist() for p in parts] == [[0, 1], [], [2]]
    assert parts[1]["b"].shape == (0, 2) and "a" not in found[0]


# --- proposals ------------------------------------------------------------------------------------
def planted(scores, found, levels, training=False, **options):
    """What a RPN proposes whose anchors are these boxes, with codes 0."""
    rpn = RegionProposalNetwork(4, boxes.AnchorGenerator(((8,),)))
    rpn.options = replace(rpn.options, **options)
    rpn.train(training)
    found = np.array(found, np.float32)
    answers = (tv.Tensor(np.array([scores], np.float32)),
               tv.Tensor(np.zeros((1, *found.shape), np.float32)), Anchored(found, levels))
    return rpn.propose(answers, [(32, 32)])[0]


def test_proposals_are_the_best_of_each_map_without_their_doubles():
    found = [(0, 0, 10, 10), (0, 0, 10, 9), (20, 20, 30, 30), (0, 0, 10, 10), (40, 2, 50, 9)]
    kept, scores = planted([1, 3, 2, 0, 9], found, [3, 2])
    # the first overlaps the second by 9/10 of it; the fourth is of another map; the last outside
    assert kept.tolist() == [list(map(float, found[k])) for k in (1, 2, 3)]
    assert scores.tolist() == [3, 2, 0]
    kept, _ = planted([1, 3, 2, 0, 9], found, [3, 2], nms_thresh=0.95)
    assert len(kept) == 4
    kept, scores = planted([1, 3, 2, 0, 9], found, [3, 2], before=1)
    assert scores.tolist() == [3]                            # the other map's best is outside
    assert len(planted([1, 3, 2, 0, 9], found, [3, 2], after=2)[0]) == 2
    few = dict(before=1, after=1, before_training=9, after_training=9)
    assert len(planted([1, 3, 2, 0, 9], found, [3, 2], True, **few)[0]) == 3


# --- learning -------------------------------------------------------------------------------------
@pytest.mark.parametrize("build", FOUR.values(), ids=FOUR)
def test_a_step_changes_every_parameter(build):
    tv.manual_seed(0)
    model, (x, targets) = build(), pair()
    before = {name: p.numpy().copy() for name, p in model.named_parameters()}
    optimizer = tv.optim.SGD(model.parameters(), 1.0)
    losses = step(model, optimizer, x, targets)
    assert finite([losses]) and all(value > 0 for value in losses.values())
    still = [name for name, p in model.named_parameters() if (p.numpy() == before[name]).all()]
    assert not still


def test_losses_have_their_names():
    x, targets = pair()
    rpn = {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg"}
    assert set(tiny_retinanet().loss(x, targets)) == {"classification", "bbox_regression"}
    assert set(tiny_faster_rcnn().loss(x, targets)) == rpn
    assert set(tiny_both().loss(x, targets)) == rpn | {"loss_mask", "loss_keypoint"}


@every_model
def test_the_same_seed_gives_the_same_losses_and_answers(build):
    runs = []
    for _ in range(2):
        tv.manual_seed(3)
        model = build()
        runs.append((trained(model, *pair(), steps=2), open_wide(model).predict(pair()[0]),
                     model.predict(pair()[0])))
    assert runs[0][0] == runs[1][0] and runs[0][0][0] != runs[0][0][1]
    for _, first, second in runs:
        for a, b, c in zip(first, second, runs[0][1]):
            assert all(np.array_equal(a[key], one[key]) for one in (b, c) for key in a)


@every_model
def test_a_few_steps_lower_the_loss(build):
    tv.manual_seed(0)
    model, (x, targets) = build(), pair()
    optimizer = tv.optim.Adam(model.parameters(), 1e-3)
    values = [sum(step(model, optimizer, x, targets).values()) for _ in range(12)]
    assert np.mean(values[-3:]) < 0.7 * np.mean(values[:2])


@every_model
def test_a_graph_is_freed_by_reference_counting_alone(build):
    model, (x, targets), maps = build(), pair(), []
    model.backbone.register_forward_hook(
        lambda module, inputs, found: maps.extend(weakref.ref(m.data) for m in found))
    trained(model, x, targets, 1)
    gc.collect()
    gc.disable()
    try:
        losses = model.loss(x, targets)
        assert any(m() is not None for m in maps)
        total(losses).backward()
        del losses
        assert all(m() is None for m in maps)
        model.loss(x, targets)                               # and without backward
        assert all(m() is None for m in maps) and len(maps) >= 9
    finally:
        gc.enable()


@every_model
def test_a_training_loop_needs_no_more_memory_at_step_60_than_at_step_10(build):
    tv.manual_seed(0)
    model, x, targets = build(), images((32, 32)), [target(*OBJECTS)]
    optimizer, held, peaks = tv.optim.SGD(model.parameters(), 1e-4), {}, []
    trained(model, x, targets)
    tracemalloc.start()
    try:
        for k in range(1, 61):
            tracemalloc.reset_peak()
            step(model, optimizer, x, targets)
            peaks.append(tracemalloc.get_traced_memory()[1])
            if k in (10, 60):
                gc.collect()                                 # ctypes' array types are in cycles
                held[k] = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held[60] < held[10] + 200_000                     # a map of 64 channels a step: 800,000
    assert max(peaks[50:]) < 1.1 * max(peaks[:10]) + 200_000


# --- bad input ------------------------------------------------------------------------------------
def emptied(found, size):
    """Nothing was found in an image of this size, in the documented shapes and dtypes."""
    expected = {"boxes": ((0, 4), "f4"), "labels": ((0,), "i8"), "scores": ((0,), "f4"),
                "masks": ((0, *size), bool), "keypoints": ((0, POINTS, 3), "f4"),
                "keypoints_scores": ((0, POINTS), "f4")}
    for key in ("boxes", "labels", "scores", *(set(expected) & set(found))):
        shape, dtype = expected[key]
        assert found[key].shape == shape and found[key].dtype == dtype, key


NOTHING = target()
DEGENERATE = target((5, 5, 5, 20), (20, 20, 10, 10), (np.nan, 0, 9, 9), (0, 0, np.inf, 9),
                    (-np.inf, 3, 9, 9), (7, 7, 7, 7))
OUTSIDE = target((40, 40, 60, 60), (-20, 3, -5, 9), (3, 32, 9, 50), (-9, -9, 0, 0))
CROWD = {**target(*OBJECTS), "iscrowd": np.ones(2, bool)}


@every_model
@pytest.mark.parametrize("none", [NOTHING, DEGENERATE, OUTSIDE, CROWD],
                         ids=["nothing", "degenerate", "outside", "crowd"])
def test_what_is_no_object_is_background(build, none):
    """Whatever is not learned from leaves the losses of an image without objects."""
    x, losses = images((32, 32), (32, 32)), []
    for targets in ([none, none], [NOTHING, NOTHING]):
        tv.manual_seed(0)
        losses.append(trained(build(), x, targets))
    assert losses[0] == losses[1] and finite(losses[0])
    where = {"bbox_regression", "loss_rpn_box_reg", "loss_box_reg", "loss_mask", "loss_keypoint"}
    assert all(value == 0 for one in losses[0] for name, value in one.items() if name in where)


@every_model
def test_objects_and_what_is_none_stand_beside_each_other(build):
    x = images((32, 32), (32, 32))
    good, mixed = target(*OBJECTS), target(OBJECTS[0], (9, 9, 9, 9), OBJECTS[1], labels=[0, 4, 1])
    mixed["keypoints"][[0, 2]] = good["keypoints"]
    runs = []
    for one in (good, mixed):
        tv.manual_seed(0)
        runs.append(trained(build(), x, [one, NOTHING]))
    assert runs[0] == runs[1] and finite(runs[0])


@every_model
def test_a_box_over_the_border_counts_for_its_part_inside(build):
    runs = []
    for box in ((-10, 12, 20, 45), (0, 12, 20, 32)):
        tv.manual_seed(0)
        one = target((0, 12, 20, 32))
        runs.append(trained(build(), images((32, 32)), [{**one, "boxes": np.array([box])}]))
    assert runs[0] == runs[1] and finite(runs[0])


@every_model
def test_thousands_of_boxes_on_one_image(build):
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 30, (3000, 2))
    many = np.concatenate([low, np.minimum(low + rng.uniform(0.5, 20, (3000, 2)), 32)], 1)
    assert finite(trained(build(), images((32, 32)), [target(*many)], 2))


@every_model
@pytest.mark.parametrize("sides", [1e-3, 1e-12, 1e-21])
def test_a_box_as_small_as_can_be(build, sides):
    tiny = target((16, 16, 16 + sides, 16 + sides), (0, 0, sides, sides))
    assert finite(trained(build(), images((32, 32)), [tiny]))


@every_model
def test_a_class_without_examples(build):
    model, x = build(), images((32, 32), (32, 32))
    history = trained(model, x, [target(*OBJECTS, labels=[4, 4]), target(OBJECTS[0], labels=[4])])
    assert finite(history)
    open_wide(model).predict(x)


@every_model
@pytest.mark.parametrize("sizes", [[(1, 1)], [(3, 5)], [(3, 5), (40, 17), (1, 1)], [(1, 70)]])
def test_images_smaller_than_the_stride_and_of_different_sizes(build, sizes):
    model, x = build(), images(*sizes)
    targets = [target((0, 0, w, h), size=(h, w)) for h, w in sizes]
    assert finite(trained(model, x, targets))
    for found, size in zip(open_wide(model).predict(x), sizes):
        assert (found["boxes"] <= (size * 2)[::-1]).all()
        assert "masks" not in found or found["masks"].shape[1:] == size
    model.transform = replace(model.transform, min_size=24, max_size=48)
    assert finite(trained(model.train(), x, targets, 1))
    assert len(model.eval().predict(x)) == len(sizes)


def doomed(model, where, value):
    """The model with a bias that makes these answers hopeless."""
    if isinstance(model, FasterRCNN):
        parts = {"boxes": model.rpn.head.bbox_pred, "scores": model.rpn.head.cls_logits,
                 "classes": model.roi_heads.box_predictor.cls_score}
    else:
        parts = {"boxes": model.head.regression_head.bbox_reg,
                 "scores": model.head.classification_head.cls_logits}
    parts[where].bias.data[:] = value
    return model


@every_model
@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf, 3e38, -3e38])
def test_no_box_survives(build, value):
    model, sizes = doomed(build(), "boxes", value), [(32, 32), (20, 27)]
    for found, size in zip(open_wide(model).predict(images(*sizes)), sizes):
        emptied(found, size)
    losses = {name: one.item() for name, one in
              model.train().loss(images((32, 32)), [NOTHING]).items()}
    assert finite([losses])                                  # no object, no region: nothing to say


@two_stages
def test_without_proposals_the_objects_themselves_are_learned_from(build):
    model = doomed(build(), "boxes", -np.inf)
    losses = {name: one.item() for name, one in model.loss(*pair()).items()}
    heads = {name: losses[name] for name in losses if name != "loss_rpn_box_reg"}
    assert finite([heads]) and all(heads.values()) and losses["loss_rpn_box_reg"] == np.inf


@every_model
@pytest.mark.parametrize("value", [-1e4, np.nan, -np.inf])
def test_nothing_is_likely(build, value):
    model = build()
    model = doomed(model, "classes" if isinstance(model, FasterRCNN) else "scores", value).eval()
    if isinstance(model, FasterRCNN) and not np.isnan(value):
        model.roi_heads.box_predictor.cls_score.bias.data[0] = 0         # all is background
    sizes = (32, 32), (20, 27)
    for found, size in zip(model.predict(images(*sizes)), sizes):
        emptied(found, size)


@two_stages
@pytest.mark.parametrize("value", [-1e4, np.nan, -np.inf])
def test_proposals_need_not_be_likely(build, value):
    """The best are proposed whatever their score is; the heads decide."""
    model = open_wide(doomed(build(), "scores", value))
    assert len(model.predict(images((32, 32)))[0]["boxes"]) > 0


@every_model
def test_images_are_a_list_an_array_or_a_tensor_and_targets_lists_or_arrays(build):
    x, targets = pair()
    lists = [{key: value.tolist() if key in ("boxes", "labels") else value
              for key, value in one.items()} for one in targets]
    losses, answers = [], []
    array = np.stack(x)
    for images_, targets_ in ((x, targets), (array, lists), (tv.Tensor(array), targets)):
        tv.manual_seed(0)
        model = build()
        losses.append({name: one.item() for name, one in model.loss(images_, targets_).items()})
        answers.append(open_wide(model).predict(images_))
    assert losses[0] == losses[1] == losses[2]
    for first, *others in zip(*answers):
        assert all(np.array_equal(first[key], one[key]) for one in others for key in first)


@every_model
@pytest.mark.parametrize("far, like", [(3e38, target((0, 0, 32, 32))), (1e300, NOTHING)])
def test_a_box_may_reach_as_far_as_float32_does(build, far, like):
    """It counts for its part inside, the whole image; beyond float32 it counts as infinite."""
    runs, box = [], np.array([[-far, -far, far, far]])
    for one in (like, {**target((0, 0, 32, 32)), "boxes": box}):
        tv.manual_seed(0)
        runs.append(trained(build(), images((32, 32)), [one]))
    assert runs[0] == runs[1] and finite(runs[0])


@two_stages
def test_objects_without_a_keypoint_that_can_be_seen(build):
    hidden = target(*OBJECTS)
    hidden["keypoints"][..., 2] = 0
    history = trained(build(), images((32, 32)), [hidden])
    assert finite(history) and all(one["loss_keypoint"] == 0 for one in history)


def without(key):
    return {name: value for name, value in target(*OBJECTS).items() if name != key}


@pytest.mark.parametrize("targets, words", [
    ([target(*OBJECTS, labels=[0, 5])], r"targets\[0\]: has the label 5, but there are 5 classes, "
     "0 to 4"),
    ([NOTHING, target(OBJECTS[0], labels=[-1])], r"targets\[1\]: has the label -1"),
    ([without("boxes")], r"targets\[0\]: has no 'boxes'"),
    ([NOTHING, without("labels")], r"targets\[1\]: has no 'labels'"),
    ([{**target(*OBJECTS), "labels": np.array([1])}],
     r"targets\[0\]: has 2 boxes, but 1 labels"),
    ([{**target(*OBJECTS), "boxes": np.zeros((2, 5))}], r"targets\[0\]: boxes has shape \(2, 5\), "
     r"expected \(M, 4\)"),
    ([NOTHING] * 3, "targets: got 3, expected")])
@every_model
def test_targets_that_do_not_fit_are_refused(build, targets, words):
    x = images(*[(32, 32)] * min(len(targets), 2))
    with pytest.raises(ValueError, match=words):
        build().loss(x, targets)


@pytest.mark.parametrize("one, words", [
    (without("masks"), r"targets\[0\]: has no 'masks'"),
    (without("keypoints"), r"targets\[0\]: has no 'keypoints'"),
    ({**target(*OBJECTS), "masks": np.ones((2, 30, 32), bool)},
     r"targets\[0\]: masks are of \(30, 32\), but the image of \(32, 32\)"),
    ({**target(*OBJECTS), "masks": np.ones((1, 32, 32), bool)}, "has 2 boxes, but 1 masks"),
    ({**target(*OBJECTS), "keypoints": np.ones((3, POINTS, 3))}, "has 2 boxes, but 3 keypoints"),
    ({**target(*OBJECTS), "keypoints": np.ones((2, 9, 3))},
     rf"keypoints of an object have shape \(9, 3\), expected \({POINTS}, 3\)")])
def test_heads_that_lack_their_targets_say_so(one, words):
    with pytest.raises(ValueError, match=words):
        tiny_both().loss(images((32, 32)), [one])


def test_only_what_a_model_learns_from_is_asked_for():
    x = images((32, 32))
    for build, key in ((tiny_faster_rcnn, "masks"), (tiny_mask_rcnn, "keypoints"),
                       (lambda: tiny_keypoint_rcnn(6, POINTS), "masks")):
        build().loss(x, [without(key)])


@every_model
@pytest.mark.parametrize("x", [[], [np.zeros((32, 32), "f4")], [np.zeros((1, 8, 8), "f4")],
                               [np.zeros((3, 0, 8), "f4")]])
def test_images_that_are_none_are_refused(build, x):
    model = build()
    for call in (model.predict, lambda x: model.loss(x, [NOTHING] * len(x))):
        with pytest.raises(ValueError, match=r"images: got shapes .*, expected one or more of \(3"):
            call(x)


# --- how it is written ----------------------------------------------------------------------------
def functions(path):
    """(lines, name) of every function of a file, docstring and all."""
    return [(node.end_lineno - node.lineno + 1, f"{path.parent.name}/{path.name}: {node.name}")
            for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]


def test_the_detection_code_is_made_of_small_functions():
    root = pathlib.Path(tv.__file__).parent
    files = [path for folder in ("boxes", "models/detect", "models/instance")
             for path in sorted((root / folder).glob("*.py"))]
    found = sorted(one for path in files for one in functions(path))
    lines = [n for n, _ in found]
    assert len(lines) > 100 and np.percentile(lines, 95) <= 25 and np.median(lines) <= 7, found[-9:]
    assert found[-1][0] <= 30, found[-1]
    assert max(len(path.read_text().splitlines()) for path in files) <= 300
