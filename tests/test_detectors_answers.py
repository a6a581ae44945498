"""What detectors answer, known by hand: their heads are replaced by planted ones, and everything
behind the heads (scores, thresholds, NMS, classes, codes, the way back into pixels) is the real
one. Then what stands around them: regions, levels, training in four steps, proposals' recall."""
from __future__ import annotations

import ast
import math
import pathlib
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

import tinyvision as tv
from tinyvision import data, nn, ops
from tinyvision.engine import Tensor
from tinyvision.models.detect import tiny_faster_rcnn, tiny_retinanet
from tinyvision.models.detect.dense import Anchored
from tinyvision.models.detect.faster_rcnn import TINY_READING, read_regions, tiny_rcnn
from tinyvision.models.detect.fpn import ConvLevels
from tinyvision.models.instance import MaskKeypointHeads, tiny_mask_rcnn
from tinyvision.models.language import tiny_show_and_tell
from tinyvision.models.language.words import END, SHAPES, START
from tinyvision.train import alternating
from tinyvision.train.detecting import covered, proposal_recall

pytestmark = pytest.mark.filterwarnings("error")             # NumPy has nothing to complain of
NEVER = 1e-12                                                # a probability
NONE = 0, 0, 0, 0                                            # the code of the box itself
MOVED = 0.5, 0, math.log(2), 0       # half a width to the right, twice as wide
ONE = [np.zeros((3, 64, 64), np.float32)]


def f4(x):
    return np.array(x, np.float32)


def same(found, boxes, labels, scores):
    """Whether one image's answer is this one, in this order, with the documented dtypes."""
    assert found["labels"].tolist() == list(labels)
    np.testing.assert_allclose(found["scores"], scores, rtol=1e-5)
    np.testing.assert_allclose(found["boxes"], f4(boxes).reshape(-1, 4), rtol=1e-5, atol=1e-4)
    assert (found["boxes"].dtype, found["labels"].dtype, found["scores"].dtype) == (
        np.float32, np.int64, np.float32)


def retinanet(anchors, probabilities, levels, codes=None, transform=None, **options):
    """A RetinaNet that gives each anchor (T, 4) these probabilities ((N,) T, K), whatever it sees.
    levels: anchors on each map."""
    p = np.clip(np.array(probabilities, np.float64), NEVER, None)
    p = p if p.ndim == 3 else p[None]
    codes = np.broadcast_to(f4(NONE if codes is None else codes), (*p.shape[:2], 4)).copy()
    with nn.skip_init():
        model = tiny_retinanet(p.shape[-1])
    for name, value in options.items():
        setattr(model, name, value)
    model.transform = transform or model.transform
    answer = Tensor(f4(np.log(p / (1 - p)))), Tensor(codes), Anchored(f4(anchors), list(levels))
    model.forward = lambda images: answer
    return model


def faster(monkeypatch, proposals, probabilities, codes=None, build=tiny_faster_rcnn,
           transform=None, **options):
    """A Faster R-CNN that proposes these boxes, a list of (P, 4), and gives all of them together
    these probabilities (K, classes), rows of which sum to 1, and codes (K, classes, 4)."""
    p = np.clip(f4(probabilities), NEVER, None)
    codes = np.zeros((*p.shape, 4), np.float32) if codes is None else f4(codes)
    model = build(p.shape[1]).eval()
    heads, model.transform = model.roi_heads, transform or model.transform
    heads.options = replace(heads.options, **options)
    found = [(f4(b).reshape(-1, 4), None) for b in proposals]
    monkeypatch.setattr(model.rpn, "propose", lambda answers, sizes: found)
    monkeypatch.setattr(heads, "forward", lambda *_: (Tensor(np.log(p) + 3), Tensor(codes)))
    return model                                             # a softmax does not see the 3


# --- which boxes, of which class, with which score ------------------------------------------------
A, B, C = (0, 0, 20, 20), (0, 0, 20, 18), (30, 30, 50, 60)   # A and B: IoU 0.9
PROBABILITIES = (0.9, 0.06, 0.04), (0.7, 0.8, 0), (0, 0, 0.3)


@pytest.mark.parametrize("options, count", [({}, 3), ({"score_thresh": 0.35}, 2),
                                            ({"score_thresh": 0.85}, 1), ({"detections": 2}, 2),
                                            ({"score_thresh": 0.95}, 0)])
def test_retinanet_answers_per_class_above_the_threshold_best_first(options, count):
    """B's class 0 falls to A's, A's class 1 to B's, and A's class 2 is below 0.05."""
    model = retinanet((A, B, C), PROBABILITIES, (2, 1), **options)
    found, = model.predict(ONE)
    same(found, (A, B, C)[:count], (0, 1, 2)[:count], (0.9, 0.8, 0.3)[:count])


def test_retinanet_keeps_what_overlaps_less_than_its_threshold():
    model = retinanet((A, B, C), PROBABILITIES, (2, 1), nms_thresh=0.95)
    same(model.predict(ONE)[0], (A, B, B, C, A), (0, 1, 0, 2, 1), (0.9, 0.8, 0.7, 0.3, 0.06))


APART = [(10 * k, 10 * k, 10 * k + 9, 10 * k + 8) for k in range(6)]


@pytest.mark.parametrize("candidates, kept", [(1, (4, 5)), (2, (4, 0, 5, 3)), (9, range(6))])
def test_retinanet_takes_so_many_candidates_of_each_map(candidates, kept):
    """The second best map's best are weaker than what the best map has to leave behind."""
    scores = f4([0.8, 0.5, 0.6, 0.55, 0.9, 0.7])             # maps: 0, 1, 2 and 4 | 3 and 5
    order = [0, 1, 2, 4, 3, 5]
    table = np.zeros((6, 3))
    table[np.arange(6), np.array(order) % 3] = scores[order]
    model = retinanet([APART[k] for k in order], table, (4, 2), candidates=candidates)
    best = sorted(kept, key=lambda k: -scores[k])
    same(model.predict(ONE)[0], [APART[k] for k in best], [k % 3 for k in best], scores[best])


def test_retinanet_decodes_the_codes_of_the_anchor_that_was_chosen():
    model = retinanet((A, (10, 10, 30, 30)), ((0, 0), (0, 0.8)), (1, 1), codes=(NONE, MOVED))
    same(model.predict(ONE)[0], (10, 10, 50, 30), (1,), (0.8,))


#        background, 0, 1, 2
ROWS = (0.1, 0.6, 0.3, 0), (0.1, 0.4, 0.5, 0), (0.7, 0.04, 0, 0.26)


@pytest.mark.parametrize("options, count", [({}, 3), ({"score_thresh": 0.35}, 2),
                                            ({"score_thresh": 0.55}, 1), ({"detections": 2}, 2),
                                            ({"score_thresh": 0.65}, 0)])
def test_faster_rcnn_answers_by_softmax_and_class_best_first(monkeypatch, options, count):
    """B's class 0 falls to A's, A's class 1 to B's, C's class 0 is below 0.05; background never
    is an answer."""
    model = faster(monkeypatch, [(A, B, C)], ROWS, **options)
    same(model.predict(ONE)[0], (A, B, C)[:count], (0, 1, 2)[:count], (0.6, 0.5, 0.26)[:count])


def test_faster_rcnn_keeps_what_overlaps_less_than_its_threshold(monkeypatch):
    model = faster(monkeypatch, [(A, B, C)], ROWS, nms_thresh=0.95)
    same(model.predict(ONE)[0], (A, B, B, A, C), (0, 1, 0, 1, 2), (0.6, 0.5, 0.4, 0.3, 0.26))


@pytest.mark.parametrize("label", range(3))
def test_faster_rcnn_decodes_its_classs_code_ten_and_five_times_as_large(monkeypatch, label):
    codes = np.zeros((1, 4, 4))
    codes[0, label + 1] = np.multiply(MOVED, (10, 10, 5, 5))
    codes[0, (label + 2) % 4] = 3                            # of another class: not to be read
    row = np.full(4, 0.01)
    row[label + 1] = 0.97
    model = faster(monkeypatch, [((10, 10, 30, 30),)], [row], codes)
    same(model.predict(ONE)[0], (10, 10, 50, 30), (label,), (0.97,))


def test_every_image_has_its_own_proposals_answers(monkeypatch):
    rows = (0.1, 0.9, 0), (0.2, 0, 0.8), (0.3, 0.7, 0)
    model = faster(monkeypatch, [(A,), (), (C, APART[1])], rows)
    first, none, last = model.predict(ONE * 3)
    same(first, A, (0,), (0.9,))
    same(none, (), (), ())
    same(last, (C, APART[1]), (1, 0), (0.8, 0.7))


# --- back in each image's own pixels --------------------------------------------------------------
# (36, 80) becomes (4, 10): 9 times less high and 8 times less wide; (18, 20) becomes (9, 10)
TWO = [np.zeros((3, 36, 80), np.float32), np.zeros((3, 18, 20), np.float32)]
SMALL = replace(tiny_retinanet().transform, min_size=1000, max_size=10)
SEEN = 2, 1, 8, 3
OWN = (16, 9, 64, 27), (4, 2, 16, 6)


def test_images_shrink_by_different_ratios():
    batch = SMALL(TWO)
    assert batch.sizes == [(4, 10), (9, 10)]
    np.testing.assert_allclose(batch.ratios, ((1 / 9, 1 / 8), (1 / 2, 1 / 2)))


def test_retinanet_answers_in_each_images_own_pixels():
    model = retinanet((SEEN,), (((0.9,),), ((0.8,),)), (1,), transform=SMALL)
    for found, box, score in zip(model.predict(TWO), OWN, (0.9, 0.8), strict=True):
        same(found, box, (0,), (score,))


def test_faster_rcnn_answers_in_each_images_own_pixels(monkeypatch):
    model = faster(monkeypatch, [(SEEN,)] * 2, ((0.1, 0.9), (0.2, 0.8)), transform=SMALL)
    for found, box, score in zip(model.predict(TWO), OWN, (0.9, 0.8), strict=True):
        same(found, box, (0,), (score,))


def test_detections_are_clipped_to_their_image_not_to_the_batch(monkeypatch):
    far = (-5, -5, 60, 60)
    for model in (retinanet((far,), (((0.9,),),) * 2, (1,), transform=SMALL),
                  faster(monkeypatch, [(far,)] * 2, ((0.1, 0.9),) * 2, transform=SMALL)):
        for found, image in zip(model.predict(TWO), TWO):
            same(found, (0, 0, image.shape[2], image.shape[1]), (0,), (0.9,))


def mask_and_points(monkeypatch, logits, heat):
    """What a model with all heads makes of these masks' logits (2, S, S) and heatmaps (2, K, S, S)
    for the box SEEN in each of TWO."""
    build = partial(tiny_rcnn, MaskKeypointHeads, num_keypoints=heat.shape[1], mask_size=2,
                    mask_layers=(4,), keypoint_size=2, keypoint_layers=(4,))
    model = faster(monkeypatch, [(SEEN,)] * 2, ((0.1, 0.9), (0.2, 0.8)), build=build,
                   transform=SMALL)
    monkeypatch.setattr(model.roi_heads, "masks", lambda *_: Tensor(logits))
    monkeypatch.setattr(model.roi_heads, "heatmaps", lambda *_: Tensor(heat))
    return model.predict(TWO)


def test_masks_are_where_it_is_more_likely_than_not(monkeypatch):
    """The left half of the box is certain, the right half has 0.3, in the second image 0.6."""
    logits = np.full((2, 6, 6), 20, np.float32)              # cells of 8 x 3 pixels, and of 2 x 2/3
    logits[:, :, 3:] = np.log(f4((0.3 / 0.7, 0.6 / 0.4)))[:, None, None]
    found = mask_and_points(monkeypatch, logits, np.zeros((2, 1, 6, 6), np.float32))
    mask, wide = (one["masks"][0] for one in found)
    assert mask.dtype == bool and mask.shape == (36, 80) and wide.shape == (18, 20)
    assert mask[11:25, 20:40].all()                          # all but its border
    rest = mask.copy()
    rest[9:27, 16:42] = False            # 1 to 0.3 within a cell: 0.5 is left of its last quarter
    assert not rest.any()
    assert wide[3:5, 6:14].all() and wide.sum() <= 4 * 12 and wide[2:6, 4:16].sum() == wide.sum()


def test_keypoints_are_back_in_their_images_pixels_axis_by_axis(monkeypatch):
    """A region of 6 x 2 pixels and heatmaps of 6 x 6 cells: a column a pixel, three rows a pixel,
    the middle one of which counts."""
    heat = np.zeros((2, 2, 6, 6), np.float32)
    heat[0, 0, 3:, 4] = heat[0, 1, :3, 1] = heat[1, 0, :3, 0] = heat[1, 1, 3:, 5] = 7
    found = mask_and_points(monkeypatch, np.zeros((2, 6, 6), np.float32), heat)
    seen = (((6.5, 2.5), (3.5, 1.5)), ((2.5, 1.5), (7.5, 2.5)))      # in the batch
    for one, points, factor in zip(found, seen, ((8, 9), (2, 2)), strict=True):
        assert one["keypoints"].shape == (1, 2, 3) and (one["keypoints"][..., 2] == 1).all()
        np.testing.assert_allclose(one["keypoints"][0, :, :2], np.multiply(points, factor), 1e-5)
        np.testing.assert_allclose(one["keypoints_scores"], [[7, 7]], 1e-5)


def test_the_mask_of_the_class_that_was_found_is_drawn(monkeypatch):
    heads = tiny_mask_rcnn(4).roi_heads
    table = np.broadcast_to(np.arange(4, dtype=np.float32)[:, None, None], (2, 4, 2, 2))
    monkeypatch.setattr(heads.mask_predictor, "forward", lambda x: Tensor(table))
    maps = [Tensor(np.zeros((1, 64, n, n), np.float32)) for n in (16, 8, 4)]
    logits = heads.masks(np.zeros((1, 3, 64, 64)), maps, f4([(0, *A), (0, *C)]), np.array([2, 0]))
    assert (logits.numpy() == f4([3, 1])[:, None, None]).all() and logits.shape == (2, 2, 2)


# --- regions and levels ---------------------------------------------------------------------------
@pytest.mark.parametrize("aligned", (False, True))
def test_regions_are_read_with_or_without_half_a_pixels_shift(aligned):
    """Sides 60, 10 and 33 belong to strides 8, 4 and 8: the answers stand in the regions' order."""
    rng = np.random.default_rng(0)
    maps = [Tensor(f4(rng.normal(size=(2, 3, n, n)))) for n in (16, 8, 4)]
    rois = f4([(0, 2, 3, 62, 63), (1, 5, 6, 15, 16), (1, 20, 21, 53, 54)])
    how = replace(TINY_READING, aligned=aligned)
    found = read_regions(Tensor(np.zeros((2, 3, 64, 64))), maps, rois, 5, how).numpy()
    for k, (level, stride) in enumerate(((1, 8), (0, 4), (1, 8))):
        wanted, other = (ops.roi_align(maps[level], rois[k:k + 1], 5, 1 / stride, 2, a).numpy()[0]
                         for a in (aligned, not aligned))
        np.testing.assert_allclose(found[k], wanted, 1e-5, 1e-6)
        assert not np.allclose(found[k], other, atol=0.05)


def test_the_last_of_retinanets_maps_is_read_from_what_is_positive():
    """p6 is 3 in its first channel and -1 in its second; p7 sums the channels' middle places."""
    levels = ConvLevels(2)
    levels.p6.weight.data, levels.p6.bias.data = np.zeros((2, 2, 3, 3), "f4"), f4((3, -1))
    weight = np.zeros((2, 2, 3, 3), np.float32)
    weight[:, :, 1, 1] = 1
    levels.p7.weight.data, levels.p7.bias.data = weight, f4((0, 10))
    coarse = Tensor(np.ones((1, 2, 4, 4), np.float32))
    p6, p7 = levels([None, coarse])
    assert p6.shape == (1, 2, 2, 2) and (p6.numpy() == f4((3, -1))[:, None, None]).all()
    assert p7.shape == (1, 2, 1, 1) and p7.numpy().ravel().tolist() == [3, 13]


# --- training in four steps, and what is measured -------------------------------------------------
def arrays(module):
    return {name: np.array(value) for name, value in module.state_dict().items()}


def changed(before, after):
    """The names of arrays of which a bit has changed."""
    return {name for name in before if before[name].tobytes() != after[name].tobytes()}


def within(model, *prefixes):
    """The names of all weights in these parts."""
    return {name for name, p in model.named_parameters()
            if name.startswith(prefixes) and name.endswith("weight")}


@pytest.fixture(scope="module")
def four_steps():
    """`alternate` on 16 scenes: the model, the histories, and of each step (part, arrays of both
    models before it, after it)."""
    steps, models, fit = [], [], alternating.fit

    def recording(part, *args, **options):
        before = [arrays(model) for model in models]
        history = fit(part, *args, **options)
        steps.append((part, before, [arrays(model) for model in models]))
        return history

    def build():
        models.append(tiny_faster_rcnn())
        return models[-1]

    tv.manual_seed(0)
    loader = data.DataLoader(data.shapes(16, seed=3, classes=data.CLASSES[:5]), 4, shuffle=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alternating, "fit", recording)
        model, histories = alternating.alternate(build, loader, 1, 1e-3, progress=False)
    return SimpleNamespace(model=model, histories=histories, steps=steps, models=models)


def test_each_of_four_steps_trains_its_parts_and_leaves_the_others_bit_for_bit(four_steps):
    """Parameters and running statistics: from the third step on the trunk stays as it is."""
    trains = (0, ("backbone.", "rpn.")), (1, ("backbone.", "roi_heads.")), (1, ("rpn.",)), (
        1, ("roi_heads.",))
    assert len(four_steps.steps) == 4
    for (_, before, after), (which, parts) in zip(four_steps.steps, trains):
        names = changed(before[which], after[which])
        assert within(four_steps.model, *parts) <= names
        assert all(name.startswith(parts) for name in names)
        assert not changed(before[1 - which], after[1 - which])
    moving = changed(*(four_steps.steps[1][k][1] for k in (1, 2)))
    assert any("running_mean" in name for name in moving)    # they would have shown it


def test_the_second_models_proposals_start_from_the_first_ones(four_steps):
    first, second = (arrays(model.rpn) for model in four_steps.models)
    begun = {name: value for name, value in four_steps.steps[2][1][1].items()
             if name.startswith("rpn.")}
    assert not changed({f"rpn.{name}": value for name, value in first.items()}, begun)
    assert changed(first, second)                            # and go on from there
    looks = four_steps.steps[1][0], four_steps.steps[3][0]
    assert [part.proposer for part in looks] == four_steps.models


def test_training_in_four_steps_learns_and_its_model_answers(four_steps):
    assert four_steps.model is four_steps.models[1] and not four_steps.model.training
    names = [{"loss_objectness", "loss_rpn_box_reg"}, {"loss_classifier", "loss_box_reg"}] * 2
    for history, named in zip(four_steps.histories, names, strict=True):
        assert named <= set(history.losses) and history.steps == 4
        assert np.isfinite(history.losses["loss"]).all()
    begun, ended = (four_steps.histories[k].losses["loss_classifier"] for k in (1, 3))
    assert np.mean(ended) < 0.8 * begun[0]
    found = four_steps.model.predict(data.shapes(2, seed=4).images)
    assert [set(one) for one in found] == [{"boxes", "labels", "scores"}] * 2


TRUTH = f4([(0, 0, 10, 10), (20, 20, 30, 30)])


@pytest.mark.parametrize("iou, hit", [(0.5, [True, True]), (0.51, [False, True]),
                                      (0.75, [False, True]), (0.76, [False, False])])
def test_an_object_is_covered_from_this_iou_on(iou, hit):
    """Half a box, a third of two; three quarters of a box."""
    boxes = f4([(0, 0, 10, 5), (5, 0, 15, 10), (20, 20, 30, 27.5)])
    assert covered(TRUTH, boxes, iou).tolist() == hit
    assert covered(TRUTH, boxes[:0], iou).tolist() == [False, False]
    assert covered(TRUTH[:0], boxes, iou).shape == (0,)


@pytest.mark.parametrize("proposals, iou, share", [(1, 0.7, 1 / 4), (2, 0.7, 2 / 4),
                                                   (3, 0.7, 3 / 4), (3, 0.4, 4 / 4)])
def test_recall_counts_objects_of_all_images_in_the_best_proposals(monkeypatch, proposals, iou,
                                                                   share):
    """One image has its three objects at places 1, 2 and 3, the other a half of its only one."""
    three = f4([A, C, (30, 0, 60, 20)])
    items = [(ONE[0], {"boxes": three}), (ONE[0], {"boxes": f4([A])})]
    found = iter((three, f4([(0, 0, 20, 10)])))
    model = tiny_faster_rcnn().eval()
    monkeypatch.setattr(model.rpn, "propose", lambda answers, sizes: [
        (next(found), None) for _ in sizes])
    splits = SimpleNamespace(held_out=items)
    assert proposal_recall(model, splits, proposals, iou, batch=1) == pytest.approx(share)


# --- captions -------------------------------------------------------------------------------------
@pytest.mark.parametrize("power, told", [(0.0, ["", "black"]), (1.0, ["red", "black"])])
def test_beams_scores_are_divided_by_this_power_of_the_length(monkeypatch, power, told):
    """Of the first image: silence has log p = -1 with one word, "red" -1.2 with two (-0.6 each)."""
    model = tiny_show_and_tell()
    red, black = (SHAPES.encode(word) for word in ("red", "black"))
    red, black = ([n for n in words if n not in (START, END)][0] for words in (red, black))

    def step(words, state):
        log_p = np.full((len(words), len(SHAPES)), -50.0)
        for row, (word, image) in enumerate(zip(words, state[0][:, 0])):
            log_p[row, END] = -0.6 if word != START else (-1, -9)[int(image)]
            log_p[row, (red, black)[int(image)]] = -0.6 if word == START else -50
        return log_p, state

    monkeypatch.setattr(model, "begin", lambda images: (np.array([[0], [1]]),))
    monkeypatch.setattr(model, "step", step)
    assert model.predict(ONE * 2, beam=3, power=power) == told


# --- how it is written ----------------------------------------------------------------------------
CODE = {
    "metrics": "detection verdicts coco_match coco_ap keypoints records voc_ap panoptic mistakes",
    "train": "detecting alternating", ".": "detect explain",
    "draw": "detection anchoring plates suppression regions region_bins region_targets curves "
            "lecture_boxes lecture_regions",
    "ops": "box_iou nms roi_align roi_pool"}


def lengths(path):
    """Lines of every function of a file, docstring and all."""
    return [node.end_lineno - node.lineno + 1 for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.FunctionDef)]


def test_all_of_detection_is_made_of_small_functions():
    root = pathlib.Path(tv.__file__).parent
    files = [path for folder in ("boxes", "models/detect", "models/instance")
             for path in (root / folder).glob("*.py")]
    files += [root / folder / f"{name}.py" for folder, names in CODE.items()
              for name in names.split()]
    lines = [n for path in files for n in lengths(path)]
    assert len(lines) > 400 and np.percentile(lines, 95) <= 25 and np.median(lines) <= 7


def test_the_longer_side_may_be_as_long_as_it_gets():
    from tinyvision.models.detect.images import ImageTransform
    batch = ImageTransform(min_size=16, divisor=4)([np.zeros((3, 8, 100), np.float32)])
    assert batch.sizes == [(16, 200)] and batch.images.shape == (1, 3, 16, 200)
