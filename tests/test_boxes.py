"""Boxes: IoU, formats, mask IoU, and non-maximum suppression, on every variant of the kernels."""
from __future__ import annotations

import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinyvision as tv
from tinyvision.cuda import compiler
from tinyvision.kernel import KERNELS, use_variant
from tinyvision.ops.box_iou import (box_area, box_convert, box_iou, box_iou_kernel, mask_iou)
from tinyvision.ops.nms import batched_nms, nms, soft_nms

VARIANTS = "reference", "cpu_loops", "cpu", pytest.param("gpu", marks=pytest.mark.skipif(
    compiler() is None, reason="no C++ compiler to run the CUDA text on the host"))
DTYPES = np.float32, np.float64
WEIRD = [[0, 0, 0, 5], [5, 5, 1, 9], [5, 5, 1, 1], [2, 2, 2, 2], [np.nan, 0, 4, 4],
         [0, 0, np.nan, 4], [0, np.nan, 4, 4], [0, 0, np.inf, 4], [-np.inf, 0, np.inf, 4],
         [np.inf, np.inf, np.inf, np.inf], [-1e38, -1e38, 1e38, 1e38], [0, 0, 4, 4], [-0., 0, 4, 4]]


@pytest.fixture(params=VARIANTS)
def variant(request):
    with use_variant(request.param):
        yield request.param


class OnGpu:
    """Passes for a CuPy array, to see what mixed devices give without a GPU."""
    __cuda_array_interface__ = {}

    def __init__(self, array):
        self.shape, self.dtype, self.ndim, self.size = (array.shape, array.dtype, array.ndim,
                                                        array.size)

    def __len__(self):
        return self.shape[0]


def random_boxes(count, seed=0, dtype=np.float64, extent=50, whole=False):
    rng = np.random.default_rng(seed)
    low, sides = rng.uniform(0, extent, (count, 2)), rng.uniform(1, extent / 3, (count, 2))
    boxes = np.concatenate([low, low + sides], 1)
    return (np.round(boxes) if whole else boxes).astype(dtype)


def exact_iou(a, b):
    """IoU of two boxes of whole numbers, as a fraction."""
    a, b = [int(v) for v in a], [int(v) for v in b]
    areas = [max(x1 - x0, 0) * max(y1 - y0, 0) for x0, y0, x1, y1 in (a, b)]
    if not all(areas):
        return Fraction(0)
    inter = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    return Fraction(inter, sum(areas) - inter)


def greedy(boxes, scores, threshold, classes=None):
    """The definition: plain Python over `box_iou`."""
    iou = box_iou(boxes, boxes)
    limit, kept = iou.dtype.type(threshold), []
    key = [(-np.inf if np.isnan(s) else s) for s in scores]
    for n in sorted(range(len(boxes)), key=lambda n: (-key[n], n)):
        rivals = [m for m in kept if classes is None or classes[m] == classes[n]]
        if not any(iou[m, n] > limit for m in rivals):
            kept.append(n)
    return kept


# --- IoU ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
def test_iou_by_hand(variant, dtype):
    a = np.array([[0, 0, 2, 2], [1, 1, 3, 3]], dtype)
    b = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [1, 1, 3, 3], [2, 0, 4, 2]], dtype)
    want = np.array([[1, 2 / 6, 1 / 7, 0], [1 / 7, 2 / 6, 1, 1 / 7]], dtype)
    assert box_iou(a, b).dtype == dtype
    np.testing.assert_array_equal(box_iou(a, b), want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_variants_give_the_same_bits(variant, dtype):
    a = np.concatenate([random_boxes(37, 1, dtype), np.array(WEIRD, dtype)])
    b = np.concatenate([np.array(WEIRD, dtype), random_boxes(23, 2, dtype)])
    want = np.zeros((len(a), len(b)), dtype)
    box_iou_kernel.variants["reference"](a, b, want)
    np.testing.assert_array_equal(box_iou(a, b), want)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-9, 9)] * 4), min_size=1, max_size=6))
def test_iou_of_whole_boxes_is_the_exact_fraction(boxes):
    got = box_iou(np.array(boxes), np.array(boxes))
    want = [[float(exact_iou(a, b)) for b in boxes] for a in boxes]
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, want)


def test_degenerate_boxes_have_no_area_no_iou_and_give_no_warning(variant):
    boxes = np.array(WEIRD[:-2], np.float32)
    everything = np.concatenate([boxes, random_boxes(5, dtype=np.float32)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (box_iou(boxes, everything) == 0).all()
        assert (box_iou(everything, boxes) == 0).all()
        assert (box_area(boxes[:4]) == 0).all()


def test_iou_takes_lists_tensors_integers_and_nothing(variant):
    box = [[0, 0, 2, 2]]
    assert box_iou(box, tv.Tensor(box)).dtype == np.float32
    assert isinstance(box_iou(tv.Tensor(box), box), np.ndarray)
    assert box_iou(np.array(box), np.array(box, np.float32)).dtype == np.float64
    assert box_iou(np.array(box, np.float16), box).dtype == np.float32
    assert box_iou([], box).shape == (0, 1)
    assert box_iou(box, np.zeros((0, 4))).shape == (1, 0)
    assert box_area([]).shape == (0,)


def test_convert_there_and_back():
    boxes = random_boxes(7)
    np.testing.assert_array_equal(box_convert([[1, 2, 5, 8]], "xyxy", "xywh"), [[1, 2, 4, 6]])
    np.testing.assert_array_equal(box_convert([[1, 2, 5, 8]], "xyxy", "cxcywh"), [[3, 5, 4, 6]])
    np.testing.assert_array_equal(box_convert([[3, 5, 4, 6]], "cxcywh", "xywh"), [[1, 2, 4, 6]])
    np.testing.assert_array_equal(box_convert(np.array([[0, 0, 1, 3]]), "xyxy", "cxcywh"),
                                  [[.5, 1.5, 1, 3]])
    for there in ("xyxy", "xywh", "cxcywh"):
        same = box_convert(boxes, there, there)
        assert same is not boxes and (same == boxes).all()
        for back in ("xyxy", "xywh", "cxcywh"):
            returned = box_convert(box_convert(boxes, there, back), back, there)
            np.testing.assert_allclose(returned, boxes, rtol=1e-12)


def test_area():
    np.testing.assert_array_equal(box_area(np.array([[0, 1, 4, 3], [0, 0, -2, -3]])), [8, 0])


def test_mask_iou_counts_pixels():
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 5, 7)) < .4, rng.random((4, 5, 7)) < .6
    a[1] = b[2] = False
    want = [[(p & q).sum() / max((p | q).sum(), 1) for q in b] for p in a]
    np.testing.assert_array_equal(mask_iou(a, tv.Tensor(b)), want)
    assert mask_iou(a, b[:0]).shape == (3, 0)


# --- NMS ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threshold", [0, 0.3, 0.7, 1])
def test_nms_is_greedy(variant, dtype, threshold):
    boxes, scores = random_boxes(150, 3, dtype), np.random.default_rng(4).random(150).astype(dtype)
    got = nms(boxes, tv.Tensor(scores), threshold)
    assert got.dtype == np.int64 and got.tolist() == greedy(boxes, scores, threshold)


@pytest.mark.parametrize("name", ["cpu_loops", "cpu", VARIANTS[3]])
def test_nms_of_2000_boxes_with_ties(name):
    boxes = random_boxes(2000, 5, np.float32, extent=200, whole=True)
    scores = np.random.default_rng(6).integers(0, 40, 2000).astype(np.float32)
    with use_variant(name):
        got = nms(boxes, scores, 0.4)
    assert got.tolist() == greedy(boxes, scores, 0.4)


def scene(name, dtype, count=1500):
    """Boxes that are hard for a search by place and size."""
    rng = np.random.default_rng(len(name))
    size = {"one size": 20, "tiny and huge": np.exp(rng.uniform(-6, 9, (count, 1))),
            "long": np.exp(rng.normal(2, 2, (count, 2))), "grid": rng.integers(1, 9, (count, 2)),
            "one spot": 9 + rng.random((count, 2))}.get(name, 10 * rng.random((count, 2)) + 1)
    low = rng.uniform(0, 3 if name == "one spot" else 150, (count, 2))
    low = np.floor(low / 4) if name == "grid" else low
    boxes = np.concatenate([low, low + size], 1)
    boxes[::97] = boxes[3::97][:len(boxes[::97])]            # some occur twice
    factor, offset = {"far away": (1, 1e5), "microscopic": (2e-23, 0), "vast": (1e17, 0),
                      "below zero": (1, -150)}.get(name, (1, 0))
    boxes = (boxes * factor + offset).astype(dtype)
    if name == "an outlier":
        boxes[7], boxes[8] = [1e15, 1e15, 3e15, 3e15], [-1e30, 0, 1e6, 1e6]
    boxes[10:10 + len(WEIRD)] = WEIRD
    return boxes


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["one size", "tiny and huge", "long", "grid", "one spot",
                                  "far away", "microscopic", "vast", "below zero", "an outlier"])
def test_nms_finds_every_neighbour(name, dtype):
    """The pyramid leaves out only what cannot be; also where areas underflow."""
    boxes, kernel = scene(name, dtype), KERNELS["nms_kernel"].variants
    classes = np.random.default_rng(0).choice([-1, 0, 2**40, 2**40 + 2**32], len(boxes))
    for threshold in (0, 1e-4, .03, .25, 1 / 3, .5, .75, .99, 1):
        for labels in (classes, np.zeros_like(classes)):
            found = []
            for rung in ("cpu_loops", "cpu"):
                found.append(np.full(len(boxes), rung == "cpu"))
                kernel[rung](boxes, labels, dtype(threshold), found[-1])
            np.testing.assert_array_equal(*found, err_msg=f"threshold {threshold}")


@pytest.mark.parametrize("threshold", [.1, .3, .5, .7, .9])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("large_first", [False, True])
def test_nms_reaches_as_far_as_an_overlap_can(threshold, axis, large_first):
    """The farthest centres: a box and its first part, so much of it that IoU is just above."""
    rng, pairs = np.random.default_rng(1), 700
    low = np.stack([200. * np.arange(pairs), rng.uniform(0, 9, pairs)], 1)
    large = np.concatenate([low, low + rng.uniform(3, 90, (pairs, 2))], 1)
    small = large.copy()
    small[:, axis + 2] -= (1 - threshold * 1.0001) * (large - large[:, [0, 1, 0, 1]])[:, axis + 2]
    first, second = (large, small) if large_first else (small, large)
    kept = nms(np.concatenate([first, second]), -np.arange(2 * pairs), threshold)
    assert kept.tolist() == list(range(pairs))


def test_nms_where_areas_underflow():
    """All three areas are rounded to the smallest number there is: IoU 1, though half apart."""
    side, pairs = 4.5e-23, 600
    low = np.stack([1e-21 * np.arange(pairs), np.zeros(pairs)], 1)
    first = np.concatenate([low, low + side], 1)
    boxes = np.concatenate([first, first + [side / 2, 0, side / 2, 0]]).astype(np.float32)
    kept = nms(boxes, -np.arange(2 * pairs), .9)
    assert kept.tolist() == greedy(boxes, -np.arange(2 * pairs), .9) == list(range(pairs))


def test_equal_scores_go_by_index(variant):
    boxes = np.repeat([[0., 0, 4, 4], [9, 9, 12, 12]], 3, 0)
    assert nms(boxes, np.ones(6), 0.5).tolist() == [0, 3]
    assert nms(boxes, np.array([0, 1, 1, 2, 2, 3.]), 0.5).tolist() == [5, 1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_exactly_at_the_threshold_is_kept(variant, dtype):
    """Every fraction I / U up to 60: a product instead of the quotient gets some of them wrong."""
    for union in range(2, 61):
        for inter in range(1, union, 1 + union // 9):
            boxes = np.array([[0, 0, union, 1], [0, 0, inter, 1]], dtype)
            assert exact_iou(*boxes) == Fraction(inter, union)
            assert len(nms(boxes, [2., 1.], inter / union)) == 2
            assert len(nms(boxes, [2., 1.], inter / union * (1 - 1e-6))) == 1


def test_nan_scores_come_last_in_the_order_of_their_indices(variant):
    boxes = np.array([[k * 9., 0, k * 9 + 4, 4] for k in range(6)])
    scores = np.array([np.nan, 1, -np.inf, np.nan, np.inf, -2])
    assert nms(boxes, scores, 0.5).tolist() == [4, 1, 5, 0, 2, 3]
    assert nms(np.concatenate([boxes, boxes]), np.concatenate([scores, scores]), 0.5).tolist() == \
        [4, 1, 5, 0, 2, 3]


def test_degenerate_boxes_are_never_suppressed(variant):
    boxes = np.array(WEIRD[:10] + [[0, 0, 9, 9]], np.float32)
    assert nms(boxes, np.arange(11, dtype=np.float32), 0.).tolist() == list(range(10, -1, -1))


def test_no_box_and_one_box(variant):
    for function in (lambda b, s: nms(b, s, .5), lambda b, s: batched_nms(b, s, s.astype(int), .5),
                     lambda b, s: batched_nms(b, s, [7] * len(s), .5),
                     lambda b, s: soft_nms(b, s)[0]):
        assert function(np.zeros((0, 4)), np.zeros(0)).shape == (0,)
        assert function(np.zeros((0, 4)), np.zeros(0)).dtype == np.int64
        assert function(np.array([[0., 0, 1, 1]]), np.ones(1)).tolist() == [0]


def test_batched_nms_is_nms_per_class(variant):
    boxes, scores = random_boxes(130, 7, extent=20), np.random.default_rng(8).random(130)
    classes = np.random.default_rng(9).integers(-1, 3, 130)
    got = batched_nms(boxes, scores, classes, 0.3)
    assert got.tolist() == greedy(boxes, scores, 0.3, classes)
    parts = [np.flatnonzero(classes == c) for c in range(-1, 3)]
    each = np.concatenate([p[nms(boxes[p], scores[p], 0.3)] for p in parts])
    assert sorted(got) == sorted(each) and (np.diff(scores[got]) <= 0).all()


def test_batched_nms_does_not_lose_the_low_bits_of_large_coordinates(variant):
    """Shifted by class * (1e6 + 1) in float32, as torchvision does, they lose their shape."""
    boxes = np.array([[0, 0, .01, .01], [0, .0051, .01, .0151], [0, 0, 1e6, 1e6]], np.float32)
    kept = batched_nms(boxes, np.array([3., 2, 1]), np.array([90, 90, 0]), 0.3)
    assert kept.tolist() == [0, 2]


def test_nms_leaves_its_arguments_as_they_are(variant):
    boxes, scores = random_boxes(20, whole=True), np.arange(20.)
    before = boxes.copy(), scores.copy()
    nms(boxes, scores, .1), soft_nms(boxes, scores)
    assert (boxes == before[0]).all() and (scores == before[1]).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 6)] * 4, st.integers(0, 3), st.integers(0, 1)),
                max_size=70), st.sampled_from([0, 1 / 3, .5, 1]))
def test_nms_of_small_whole_boxes(rows, threshold):
    """Python's own fractions decide; all variants agree."""
    rows = np.array(rows, np.int64).reshape(-1, 6)
    boxes, scores, classes = rows[:, :4], rows[:, 4], rows[:, 5]
    limit, kept = Fraction(threshold).limit_denominator(9), []
    for n in sorted(range(len(rows)), key=lambda n: (-scores[n], n)):
        rivals = [m for m in kept if classes[m] == classes[n]]
        if not any(exact_iou(boxes[m], boxes[n]) > limit for m in rivals):
            kept.append(n)
    for name in ("reference", "cpu_loops", "cpu") + ("gpu",) * (compiler() is not None):
        with use_variant(name):
            assert batched_nms(boxes, scores, classes, threshold).tolist() == kept


def test_soft_nms_by_hand():
    boxes = np.array([[0, 0, 2, 2], [0, 0, 1, 2], [5, 5, 6, 6], [0, 0, 2, 2.]])
    scores = np.array([.9, .8, .5, .7])                      # IoU with the first: 1, 1/2, 0, 1
    taken, new = soft_nms(boxes, scores, sigma=0.5)
    first = .8 * np.exp(-.5), .7 * np.exp(-2)                # after box 0
    second = first[1] * np.exp(-.5)                          # box 3 after box 1
    assert taken.tolist() == [0, 2, 1, 3]
    np.testing.assert_allclose(new, [.9, .5, first[0], second], rtol=1e-12)
    taken, new = soft_nms(boxes, scores, method="linear", iou_threshold=.5)
    assert taken.tolist() == [0, 2, 1]                       # box 3: 0.7 (1 - 1) = 0 is dropped
    np.testing.assert_allclose(new, [.9, .5, .4])
    taken, new = soft_nms(boxes, scores, method="linear", iou_threshold=.51)
    assert taken.tolist() == [0, 1, 2]
    assert soft_nms(boxes, scores, score_threshold=.6)[0].tolist() == [0]
    scores[2] = np.nan
    assert 2 not in soft_nms(boxes, scores, score_threshold=-np.inf)[0]


def test_parity_with_torchvision():
    torch, vision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    boxes, scores = random_boxes(500, 1, np.float32), np.random.default_rng(2).random(500)
    scores = scores.astype(np.float32)
    b, s = torch.from_numpy(boxes), torch.from_numpy(scores)
    np.testing.assert_allclose(box_iou(boxes, boxes), vision.ops.box_iou(b, b).numpy(), rtol=1e-5)
    assert nms(boxes, scores, .45).tolist() == vision.ops.nms(b, s, .45).tolist()


# --- errors ---------------------------------------------------------------------------------------
BOXES, SCORES = random_boxes(3), np.ones(3)


@pytest.mark.parametrize("error, words, call", [
    (ValueError, r"box_iou: boxes2 has shape \(3,\), expected \(N, 4\)",
     lambda: box_iou(BOXES, SCORES)),
    (ValueError, r"box_area: boxes has shape \(3, 5\)", lambda: box_area(np.zeros((3, 5)))),
    (TypeError, "box_iou: boxes1 is complex128", lambda: box_iou(BOXES + 0j, BOXES)),
    (ValueError, "box_convert: out_fmt is 'yxyx', expected one of xyxy, xywh, cxcywh",
     lambda: box_convert(BOXES, "xyxy", "yxyx")),
    (ValueError, r"mask_iou: masks1 has shape \(1, 2, 3\) and masks2 \(1, 3, 2\)",
     lambda: mask_iou(np.zeros((1, 2, 3), bool), np.zeros((1, 3, 2), bool))),
    (TypeError, "mask_iou: masks1 is float64 and masks2 bool, expected bool",
     lambda: mask_iou(np.zeros((1, 2, 3)), np.zeros((1, 2, 3), bool))),
    (ValueError, r"nms: boxes has shape \(4,\)", lambda: nms(BOXES[0], SCORES, .5)),
    (ValueError, r"nms: scores has shape \(2,\), expected \(3,\)",
     lambda: nms(BOXES, SCORES[:2], .5)),
    (ValueError, "nms: iou_threshold is 1.5, expected 0 to 1", lambda: nms(BOXES, SCORES, 1.5)),
    (ValueError, "nms: iou_threshold is nan", lambda: nms(BOXES, SCORES, float("nan"))),
    (TypeError, "nms: scores is bool", lambda: nms(BOXES, SCORES > 0, .5)),
    (ValueError, r"batched_nms: idxs has shape \(2,\), expected \(3,\)",
     lambda: batched_nms(BOXES, SCORES, np.zeros(2, int), .5)),
    (TypeError, "batched_nms: idxs is float64, expected integers",
     lambda: batched_nms(BOXES, SCORES, SCORES, .5)),
    (ValueError, 'soft_nms: method is \'hard\', expected "gaussian" or "linear"',
     lambda: soft_nms(BOXES, SCORES, method="hard")),
    (ValueError, "soft_nms: sigma is 0", lambda: soft_nms(BOXES, SCORES, sigma=0)),
    (tv.DeviceError, "box_iou: boxes1 on cpu, boxes2 on gpu, expected one device",
     lambda: box_iou(BOXES, OnGpu(BOXES))),
    (tv.DeviceError, "nms: boxes on cpu, scores on gpu", lambda: nms(BOXES, OnGpu(SCORES), .5)),
    (tv.DeviceError, "mask_iou: masks1 on gpu",
     lambda: mask_iou(OnGpu(np.zeros((1, 2, 3), bool)), np.zeros((1, 2, 3), bool))),
])
def test_errors_say_what_came_and_what_was_expected(error, words, call):
    with pytest.raises(error, match=words):
        call()
