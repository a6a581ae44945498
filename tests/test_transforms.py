"""Transforms: what is annotated moves with the picture. Each object is painted into the image, so
that afterwards the picture itself says where it is."""
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyvision.data import (CenterCrop, ColorJitter, Compose, ElasticTransform, Normalize,
                             RandomApply, RandomCrop, RandomHorizontalFlip, RandomIoUCrop,
                             RandomResizedCrop, RandomZoomOut, Resize, ScaleJitter,
                             SimpleCopyPaste, geometry)
from tinyvision.data.colour import (adjust_brightness, adjust_contrast, adjust_hue,
                                    adjust_saturation)
from tinyvision.data.copy_paste import paste
from tinyvision.data.elastic import cubic_weights, deform, sample, smooth
from tinyvision.data.ssd_crop import part_iou
from tinyvision.data.target import check, count, keep, mask_boxes

SIZE = (24, 32)


def rng(seed=0):
    return np.random.default_rng(seed)


def scene(seed=0, size=SIZE, objects=3):
    """A picture (3, H, W) and its target. Object k is a rectangle in which channel 0 is k + 1."""
    random, (height, width) = rng(seed), size
    owner = np.zeros(size, np.int64)
    for k in range(objects):
        y, x = random.integers(0, height - 6), random.integers(0, width - 8)
        owner[y:y + random.integers(3, 7), x:x + random.integers(3, 9)] = k + 1
    seen = [k for k in range(objects) if (owner == k + 1).any()]
    masks = np.array([owner == k + 1 for k in seen], bool).reshape(-1, *size)
    boxes = mask_boxes(masks)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    points = np.stack([np.c_[middle, np.full(len(seen), 2)], np.zeros((len(seen), 3))], 1)
    image = np.stack([owner, *np.mgrid[:height, :width]]).astype(np.float32)
    return image, {
        "boxes": boxes, "masks": masks, "labels": np.array(seen, np.int64),
        "area": masks.sum((1, 2), dtype=np.float32), "iscrowd": np.zeros(len(seen), bool),
        "keypoints": points.astype(np.float32), "semantic": owner - (owner == 0),
        "panoptic": owner, "segment_ids": np.array(seen, np.int64) + 1, "image_id": seed}


def boxes_only(target):
    return {key: value for key, value in target.items() if key in ("boxes", "labels", "area")}


TYPES = {"boxes": np.float32, "masks": bool, "labels": np.int64, "area": np.float32,
         "iscrowd": bool, "keypoints": np.float32, "semantic": np.int64, "panoptic": np.int64,
         "segment_ids": np.int64}


def assert_types(image, target):
    """No transform changes a type."""
    assert image.dtype == np.float32 and image.flags.c_contiguous
    assert {key: target[key].dtype for key in TYPES} == TYPES


def assert_consistent(image, target, exact=True):
    """Everything in the target agrees with the rest; with `exact`, with the picture too."""
    check(image, target)
    masks = target["masks"]
    assert masks.any((1, 2)).all() and masks.dtype == bool
    np.testing.assert_array_equal(target["boxes"], mask_boxes(masks))
    np.testing.assert_array_equal(target["area"], masks.sum((1, 2)))
    for mask, label, segment in zip(masks, target["labels"], target["segment_ids"]):
        np.testing.assert_array_equal(mask, target["panoptic"] == segment)
        assert segment == label + 1
        if exact:
            np.testing.assert_array_equal(mask, image[0] == label + 1)


def same(target, other):
    return (target.keys() == other.keys()
            and all(np.array_equal(target[key], other[key]) for key in target))


MOVES = [RandomHorizontalFlip(1.0), RandomCrop((17, 19)), RandomCrop((40, 50)),
         CenterCrop((11, 32)), RandomZoomOut(0.0, (1.5, 2.5), 1.0), RandomIoUCrop(),
         Compose(RandomHorizontalFlip(), RandomCrop((20, 20)), RandomIoUCrop())]
RESAMPLED = [Resize((31, 17)), Resize(40, 50), ScaleJitter((30, 30), (0.5, 2.0)),
             RandomResizedCrop((16, 16), (0.3, 1.0)), ElasticTransform(1.5)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("move", MOVES, ids=repr)
def test_a_move_keeps_all_of_a_target_together(move, seed):
    image, target = move(*scene(seed), rng(seed))
    assert_types(image, target)
    assert_consistent(image, target)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("move", RESAMPLED, ids=repr)
def test_resampling_moves_masks_and_boxes_with_the_picture(move, seed):
    _, target = scene(seed, (48, 64))
    painted = np.zeros((3, 48, 64), np.float32)              # channel k shows object k alone
    painted[target["labels"]] = target["masks"]
    image, target = move(painted, target, rng(seed))
    check(image, target)
    assert_types(image, target)
    for mask, label, box, area in zip(*(target[k] for k in ("masks", "labels", "boxes", "area"))):
        assert mask[image[label] > 0.999].all() and (image[label][mask] > 0.001).all()
        sides = box[2:] - box[:2]
        assert abs(area - mask.sum()) <= sides.sum() + 2
        if mask.any():
            np.testing.assert_allclose(box, mask_boxes(mask[None])[0], atol=1.01)


@pytest.mark.parametrize("move", MOVES + RESAMPLED + [ColorJitter(0.5, 0.5, 0.5, 0.2), Normalize()],
                         ids=repr)
def test_a_transform_leaves_alone_what_it_was_given_and_follows_its_generator(move):
    image, target = scene(1)
    image /= image.max()
    before, (old_image, old) = (image.copy(), {k: np.copy(v) for k, v in target.items()}), \
        move(image, target, rng(5))
    np.testing.assert_array_equal(image, before[0])
    assert same(target, before[1])
    again, same_target = move(image, target, rng(5))
    np.testing.assert_array_equal(old_image, again)
    assert same(old, same_target)


@pytest.mark.parametrize("move", MOVES + RESAMPLED, ids=repr)
def test_no_objects_are_objects_too(move):
    image, target = scene(objects=0)
    image, target = move(image, target, rng())
    check(image, target)
    assert target["boxes"].shape == (0, 4) and target["masks"].shape == (0, *image.shape[1:])
    assert target["keypoints"].shape == (0, 2, 3)


@pytest.mark.parametrize("move", [m for m in MOVES + RESAMPLED if "IoU" not in repr(m)
                                  and not isinstance(m, Compose)], ids=repr)
def test_maps_and_labels_instead_of_dictionaries(move):
    image, target = scene(2)
    moved, semantic = move(image, target["semantic"], rng(3))
    assert semantic.shape == moved.shape[1:] and semantic.dtype == np.int64
    np.testing.assert_array_equal(semantic, move(image, target, rng(3))[1]["semantic"])
    assert move(image, 7, rng(3))[1] == 7 and move(image, None, rng(3))[1] is None
    np.testing.assert_array_equal(move(image, None, rng(3))[0], moved)


# --- geometry -------------------------------------------------------------------------------------
@given(seed=st.integers(0, 50))
def test_flipping_twice_changes_nothing(seed):
    image, target = scene(seed)
    twice, back = geometry.hflip(*geometry.hflip(image, target))
    np.testing.assert_array_equal(twice, image)
    assert same(back, target)


def test_a_mirrored_left_eye_is_a_right_eye():
    pairs = geometry.mirror_pairs(("nose", "left_eye", "right_eye"))
    assert pairs == (0, 2, 1)
    points = np.array([[[3, 1, 2], [2, 2, 2], [5, 2, 1]]], np.float32)
    _, target = RandomHorizontalFlip(1.0, pairs)(np.zeros((3, 8, 10), np.float32),
                                                 {"keypoints": points}, rng())
    np.testing.assert_array_equal(target["keypoints"], [[[7, 1, 2], [5, 2, 1], [8, 2, 2]]])


def test_keypoints_that_are_not_there_stay_at_0():
    points = np.array([[[0, 0, 0], [2, 2, 2]]], np.float32)
    image = np.zeros((3, 8, 10), np.float32)
    for moved in (geometry.hflip(image, {"keypoints": points}),
                  geometry.pad(image, {"keypoints": points}, (3, 3, 3, 3)),
                  geometry.crop(image, {"keypoints": points}, (1, 1, 5, 5)),
                  geometry.resize(image, {"keypoints": points}, (16, 16)),
                  deform(image, {"keypoints": points}, np.ones((2, 8, 10), np.float32))):
        assert not moved[1]["keypoints"][0, 0].any() and moved[1]["keypoints"][0, 1, 2] == 2
    outside = geometry.crop(image, {"keypoints": points}, (3, 3, 5, 5))[1]["keypoints"]
    assert not outside.any()


def test_a_crop_by_hand():
    target = {"boxes": np.array([[2, 3, 12, 8], [0, 0, 4, 4], [14, 2, 18, 6]], np.float32),
              "labels": np.array([5, 6, 7]), "area": np.array([40, 16, 16], np.float32),
              "difficult": np.array([True, False, True]), "image_id": 3}
    image, cropped = geometry.crop(np.zeros((3, 10, 20), np.float32), target, (4, 4, 14, 10))
    assert image.shape == (3, 6, 10) and cropped["image_id"] == 3
    np.testing.assert_array_equal(cropped["boxes"], [[0, 0, 8, 4]])      # the others are outside
    np.testing.assert_array_equal(cropped["labels"], [5])
    np.testing.assert_allclose(cropped["area"], 40 * 32 / 50)
    np.testing.assert_array_equal(cropped["difficult"], [True])


def test_padding_ignores_what_is_outside():
    image, target = scene()
    padded, target = geometry.pad(image, target, (1, 2, 3, 4), (7, 8, 9))
    assert padded.shape == (3, 30, 36) and (padded[:, 0, 0] == (7, 8, 9)).all()
    assert (target["semantic"][:2] == -1).all() and (target["panoptic"][-4:] == 0).all()
    assert not target["masks"][:, :, 0].any()


@settings(deadline=None, max_examples=400)
@given(old=st.tuples(st.integers(2, 40), st.integers(2, 40)),     # torch errs where a side is 1
       new=st.tuples(st.integers(2, 40), st.integers(2, 40)))
def test_resizing_equals_torch(old, new):
    torch = pytest.importorskip("torch")
    image = rng().random((2, *old), np.float32)
    functional = torch.nn.functional
    theirs = functional.interpolate(torch.tensor(image)[None], new, mode="bilinear", antialias=True)
    ours, target = geometry.resize(image, {"semantic": (image[0] * 9).astype(np.int64)}, new)
    np.testing.assert_allclose(ours, theirs[0].numpy(), atol=1e-5)
    nearest = functional.interpolate(torch.tensor((image[:1] * 9).astype(np.int64))[None].float(),
                                     new, mode="nearest-exact")[0, 0].numpy()
    # Where the place is exactly between two pixels, torch rounds as float32 happens to fall.
    rows, columns = ((2 * np.arange(n) + 1) * o % (2 * n) != 0 for n, o in zip(new, old))
    np.testing.assert_array_equal(target["semantic"][rows][:, columns], nearest[rows][:, columns])


def test_sizes_of_resize():
    def size(transform, old):
        return transform(np.zeros((1, *old), np.float32), None, rng())[0].shape[1:]
    assert size(Resize((5, 7)), (20, 30)) == (5, 7)
    assert size(Resize(10), (20, 30)) == (10, 15) and size(Resize(10), (30, 20)) == (15, 10)
    assert size(Resize(800, 1333), (480, 640)) == (800, 1067)
    assert size(Resize(800, 1333), (200, 600)) == (444, 1333)
    assert size(CenterCrop((4, 50)), (20, 30)) == (4, 50)


def test_scale_jitter_reaches_its_range_and_crops_its_size():
    image = np.zeros((1, 30, 60), np.float32)
    sides = [ScaleJitter((40, 40), (0.5, 2.0))(image, None, rng(k))[0].shape for k in range(200)]
    widths = [width for _, _, width in sides]
    assert min(widths) < 26 and max(widths) > 74 and all(abs(w - 2 * h) <= 1 for _, h, w in sides)
    large = Compose(ScaleJitter((40, 40), (0.1, 2.0)), RandomCrop((40, 40)))
    assert {large(image, None, rng(k))[0].shape for k in range(30)} == {(1, 40, 40)}


def test_random_resized_crop_keeps_area_and_shape_in_range():
    crop = RandomResizedCrop((8, 8), (0.2, 0.6), (0.5, 2.0))
    for seed in range(200):
        x0, y0, x1, y1 = crop._part(60, 100, rng(seed))
        assert 0 <= x0 < x1 <= 100 and 0 <= y0 < y1 <= 60
        assert 0.19 < (x1 - x0) * (y1 - y0) / 6000 < 0.61
        assert 0.48 < (x1 - x0) / (y1 - y0) < 2.08
    assert RandomResizedCrop((8, 8))._part(10, 1000, rng(0)) == (493, 0, 506, 10)    # no such part


def test_random_apply_and_compose():
    half = RandomApply(RandomHorizontalFlip(1.0), 0.5)
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    flipped = [half(image, None, rng(k))[0][0, 0, 0] != 0 for k in range(200)]
    assert 70 < sum(flipped) < 130
    np.testing.assert_array_equal(Compose()(image, None, rng())[0], image)


@pytest.mark.parametrize("image, target, words", [
    (np.zeros((4, 4)), {}, r"image: expected an array \(C, H, W\), got \(4, 4\)"),
    (np.zeros((3, 4, 4)), {"masks": np.zeros((2, 4, 5), bool)}, r"masks is \(2, 4, 5\), but the i"),
    (np.zeros((3, 4, 4)), np.zeros((4, 5), np.int64), r"semantic is \(4, 5\), but the image"),
    (np.zeros((3, 4, 4)), {"boxes": np.zeros((2, 4)), "labels": np.zeros(3)}, "as many rows"),
])
def test_images_and_targets_that_do_not_fit(image, target, words):
    with pytest.raises(ValueError, match=words):
        RandomHorizontalFlip()(image, target, rng())


def test_relations_follow_their_objects():
    target = {"labels": np.arange(4), "relations": np.array([[0, 7, 3], [1, 5, 0], [3, 6, 2]])}
    kept = keep(target, np.array([True, False, True, True]))
    np.testing.assert_array_equal(kept["relations"], [[0, 7, 2], [2, 6, 1]])
    assert keep(target, np.zeros(4, bool))["relations"].shape == (0, 3)
    check(np.zeros((3, 2, 2)), target)


def test_keep_and_count():
    target = {"boxes": np.zeros((3, 4)), "labels": np.arange(3), "captions": ("a", "b")}
    assert count(target) == 3 and count({}) == 0
    kept = keep(target, np.array([True, False, True]))
    assert kept["labels"].tolist() == [0, 2] and kept["captions"] == ("a", "b")


# --- SSD ------------------------------------------------------------------------------------------
def test_the_iou_of_a_part_by_hand():
    boxes = np.array([[0, 0, 4, 4], [2, 2, 6, 6], [8, 8, 9, 9]], np.float32)
    parts = np.array([[0, 0, 4, 4], [8, 8, 10, 9]])
    np.testing.assert_allclose(part_iou(boxes, parts), [[1, 4 / 28, 0], [0, 0, 1 / 2]])


@settings(max_examples=50)
@given(seed=st.integers(0, 10 ** 6), overlap=st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 0.9]))
def test_ssds_crop_overlaps_an_object_and_keeps_those_whose_centre_is_inside(seed, overlap):
    image, target = scene(seed, (60, 80))
    crop = RandomIoUCrop((overlap,))
    part, cropped = crop(image, boxes_only(target), rng(seed))
    x0, y0 = int(part[2, 0, 0]), int(part[1, 0, 0])          # channels 1 and 2 say where we are
    x1, y1 = x0 + part.shape[2], y0 + part.shape[1]
    if (x0, y0, x1, y1) == (0, 0, 80, 60):                   # no such part was found
        return
    boxes = target["boxes"]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((middle > (x0, y0)) & (middle < (x1, y1))).all(1)
    np.testing.assert_array_equal(cropped["labels"], target["labels"][inside])
    assert part_iou(boxes[inside], np.array([[x0, y0, x1, y1]])).max() >= overlap
    expected = np.clip(boxes[inside] - (x0, y0, x0, y0), 0, (x1 - x0, y1 - y0) * 2)
    np.testing.assert_allclose(cropped["boxes"], expected, atol=1e-5)
    shape = (x1 - x0) / (y1 - y0) * 60 / 80
    assert 0.45 < shape < 2.2 and (x1 - x0) >= 16 and (y1 - y0) >= 12


def test_ssds_crop_chooses_all_its_overlaps():
    image, target = np.zeros((3, 60, 80), np.float32), {"boxes": np.float32([[5, 8, 70, 52]])}
    shapes = [RandomIoUCrop()(image, target, rng(k))[0].shape for k in range(300)]
    whole = sum(shape == image.shape for shape in shapes)
    assert 300 / 7 * 0.6 < whole < 300 / 2, whole            # None, and overlaps not to be found
    with pytest.raises(ValueError, match="RandomIoUCrop: it chooses by boxes"):
        RandomIoUCrop()(image, {}, rng())


def test_zooming_out_puts_the_image_on_a_larger_canvas():
    image, target = scene(1)
    for seed in range(20):
        large, zoomed = RandomZoomOut((5, 6, 7), p=1.0)(image, target, rng(seed))
        (height, width), (h, w) = large.shape[1:], SIZE
        assert h <= height <= 4 * h and abs(height / h - width / w) < 0.1
        assert (large[0] == 5).sum() == height * width - h * w
    untouched, _ = RandomZoomOut(p=0.0)(image, target, rng())
    assert untouched is image


# --- colour ---------------------------------------------------------------------------------------
PURE = np.eye(3, dtype=np.float32)[:, None, :]               # a red, a green and a blue pixel


def test_worked_colours():
    grey = np.array((0.299, 0.587, 0.114), np.float32)
    np.testing.assert_allclose(adjust_brightness(PURE, 0.5), PURE / 2)
    np.testing.assert_allclose(adjust_brightness(PURE, 3), PURE)         # clipped
    np.testing.assert_allclose(adjust_contrast(PURE, 0), np.full((3, 1, 3), 1 / 3), atol=1e-6)
    np.testing.assert_allclose(adjust_saturation(PURE, 0), np.broadcast_to(grey, (3, 1, 3)))
    np.testing.assert_allclose(adjust_saturation(PURE, 0.5)[:, 0, 0],
                               (0.5 + 0.1495, 0.1495, 0.1495), atol=1e-6)
    np.testing.assert_allclose(adjust_hue(PURE, 1 / 3), np.roll(PURE, 1, 0), atol=1e-6)
    np.testing.assert_allclose(adjust_hue(PURE, -1 / 3), np.roll(PURE, -1, 0), atol=1e-6)
    np.testing.assert_allclose(adjust_hue(PURE, 0.5), 1 - PURE, atol=1e-6)


@given(seed=st.integers(0, 100), turn=st.floats(-0.5, 0.5))
def test_hue_is_pythons(seed, turn):
    import colorsys
    image = rng(seed).random((3, 2, 3), np.float32)
    image[:, 0, 0] = 0.25                                    # a grey has none
    turned = adjust_hue(image, turn)
    for y, x in np.ndindex(2, 3):
        h, s, v = colorsys.rgb_to_hsv(*image[:, y, x].tolist())
        np.testing.assert_allclose(turned[:, y, x], colorsys.hsv_to_rgb((h + turn) % 1, s, v),
                                   atol=2e-6)


@given(seed=st.integers(0, 100))
def test_jittered_images_stay_images(seed):
    image = rng(seed).random((3, 4, 5), np.float32)
    jittered, target = ColorJitter(0.8, 0.8, 0.8, 0.5)(image, 3, rng(seed))
    assert jittered.dtype == np.float32 and jittered.min() >= 0 and jittered.max() <= 1
    assert target == 3 and not np.array_equal(jittered, image)
    np.testing.assert_array_equal(ColorJitter()(image, 3, rng(seed))[0], image)
    grey = ColorJitter(0.5, 0.5, 0.5, 0.5)(image[:1], None, rng(seed))[0]
    assert grey.shape == (1, 4, 5) and grey.dtype == np.float32


def test_normalising():
    image = np.full((3, 2, 2), 0.5, np.float32)
    normal, _ = Normalize((0.5, 0.25, 0), (1, 0.25, 2))(image)
    np.testing.assert_allclose(normal[:, 0, 0], (0, 1, 0.25))
    assert normal.dtype == np.float32
    np.testing.assert_allclose(Normalize(0.5, 0.5)(image[:1])[0], 0)
    with pytest.raises(ValueError, match="Normalize: mean has 3 numbers for an image of 1 chan"):
        Normalize()(image[:1])
    with pytest.raises(ValueError, match="hue at most 0.5"):
        ColorJitter(hue=0.6)


# --- elastic deformation --------------------------------------------------------------------------
def test_cubic_weights_go_through_their_knots_and_lines_stay_lines():
    weights = cubic_weights(9, 3)
    np.testing.assert_allclose(weights[::4], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(weights @ (1, 3, 5), np.linspace(1, 5, 9), atol=1e-12)
    bump = weights @ (0, 1, 0)
    assert 0.5 < bump[2] < 1                                 # smooth, not a hat


def test_a_constant_displacement_is_a_shift():
    image, target = scene(4)
    shift = np.zeros((2, *SIZE), np.float32)
    shift[0], shift[1] = 2, -3                      # (y, x) shows what was at (y + 2, x - 3)
    moved, new = deform(image, target, shift)
    np.testing.assert_allclose(moved[:, :-2, 3:], image[:, 2:, :-3], atol=1e-5)
    for k, label in enumerate(new["labels"]):
        old = target["labels"].tolist().index(label)
        x0, y0, x1, y1 = target["boxes"][old]
        if x0 >= 3 and y0 >= 2 and x1 + 3 < SIZE[1] and y0 < SIZE[0] - 4 and x0 > 6:
            np.testing.assert_allclose(new["keypoints"][k, 0, :2],
                                       target["keypoints"][old, 0, :2] + (3, -2), atol=1e-4)


@given(seed=st.integers(0, 60), place=st.tuples(st.floats(4, 58), st.floats(4, 58)))
def test_a_keypoint_goes_where_the_deformed_image_shows_it(seed, place):
    x, y = place
    field = smooth(rng(seed).normal(0, 1.5, (2, 3, 3)), (64, 64))
    points = np.array([[[x, y, 2]]], np.float32)
    image = np.mgrid[:64, :64].astype(np.float32)            # says where each pixel came from
    moved, target = deform(image, {"keypoints": points}, field)
    new_x, new_y, seen = target["keypoints"][0, 0]
    if seen and 1 < new_x < 63 and 1 < new_y < 63:
        shown = sample(moved, np.float32([[new_y - 0.5]]), np.float32([[new_x - 0.5]]))[:, 0, 0]
        np.testing.assert_allclose(shown, (y - 0.5, x - 0.5), atol=0.05)


def test_boxes_without_masks_follow_as_with_them():
    for seed in range(10):
        image, target = scene(seed, (64, 64), objects=1)
        field = smooth(rng(seed).normal(0, 1.5, (2, 3, 3)), (64, 64))
        _, alone = deform(image, boxes_only(target), field)
        _, masked = deform(image, {**boxes_only(target), "masks": target["masks"]}, field)
        np.testing.assert_array_equal(alone["boxes"], masked["boxes"])
        np.testing.assert_allclose(alone["area"], masked["area"], rtol=1e-5)


def test_sampling_equals_torch():
    torch = pytest.importorskip("torch")
    image, places = rng().random((3, 7, 9), np.float32), rng(1).uniform(-9, 16, (2, 5, 6))
    y, x = places.astype(np.float32)
    grid = np.stack([2 * x / 8 - 1, 2 * y / 6 - 1], -1)
    theirs = torch.nn.functional.grid_sample(
        torch.tensor(image)[None], torch.tensor(grid)[None], padding_mode="reflection",
        align_corners=True)
    np.testing.assert_allclose(sample(image, y, x), theirs[0].numpy(), atol=2e-5)


@pytest.mark.parametrize("size", [(1, 9), (9, 1), (1, 1), (2, 2)])
def test_narrow_images_are_deformed_too(size):
    image = rng().random((1, *size), np.float32)
    moved, semantic = ElasticTransform(2.0)(image, np.zeros(size, np.int64), rng())
    assert moved.shape == image.shape and semantic.shape == size and np.isfinite(moved).all()


def test_elastic_arguments():
    image, target = scene()
    assert ElasticTransform(p=0.0)(image, target, rng())[0] is image
    np.testing.assert_allclose(ElasticTransform(0.0)(image, target, rng())[0], image, atol=1e-6)
    for wrong in (dict(sigma=-1), dict(grid=1)):
        with pytest.raises(ValueError, match="sigma is at least 0 and grid at least 2"):
            ElasticTransform(**wrong)


# --- copy-paste -----------------------------------------------------------------------------------
def numbered(seed, first):
    """A scene whose objects have labels, values and segments from `first` on."""
    image, target = scene(seed)
    image[0][image[0] > 0] += first
    target["labels"] = target["labels"] + first
    for key in ("panoptic", "segment_ids"):
        target[key] = np.where(target[key] > 0, target[key] + first, 0)
    target["semantic"] = np.where(target["semantic"] >= 0, target["semantic"] + first, -1)
    return image, target


@pytest.mark.parametrize("seed", range(10))
def test_what_is_pasted_hides_what_lies_below(seed):
    image, target = scene(seed)
    source, objects = numbered(seed + 100, 10)
    joined_image, joined = paste(image, target, source, objects)
    assert_types(joined_image, joined)
    over = objects["masks"].any(0)
    np.testing.assert_array_equal(joined_image, np.where(over, source, image))
    np.testing.assert_array_equal(joined["boxes"], mask_boxes(joined["masks"]))
    np.testing.assert_array_equal(joined["area"], joined["masks"].sum((1, 2)))
    assert joined["masks"].sum(0).max() == 1 and joined["masks"].any((1, 2)).all()
    assert set(objects["labels"]) <= set(joined["labels"]) and joined["image_id"] == seed
    for mask, label, segment in zip(*(joined[k] for k in ("masks", "labels", "segment_ids"))):
        np.testing.assert_array_equal(mask, joined_image[0] == label + 1)
        np.testing.assert_array_equal(mask, joined["panoptic"] == segment)
        assert (joined["semantic"][mask] == label + 1).all()


def test_an_object_is_dropped_when_too_little_of_it_is_left():
    image = np.zeros((3, 10, 10), np.float32)
    below, above = np.zeros((2, 1, 10, 10), bool)
    below[0, :, :5], above[0, :, 1:7] = True, True
    one, other = ({"masks": m, "boxes": mask_boxes(m), "labels": np.array([k])}
                  for k, m in enumerate((below, above)))
    assert paste(image, one, image, other)[1]["labels"].tolist() == [0, 1]
    np.testing.assert_array_equal(paste(image, one, image, other)[1]["boxes"][0], [0, 0, 1, 10])
    assert paste(image, one, image, other, least=0.2)[1]["labels"].tolist() == [1]


def test_covered_keypoints_are_hidden():
    image, masks = np.zeros((3, 10, 10), np.float32), np.ones((1, 10, 10), bool)
    points = np.array([[[2, 3, 2], [8.5, 8.5, 2], [0, 0, 0], [10, 10, 2]]], np.float32)
    above = np.zeros((1, 10, 10), bool)
    above[0, :4, :4] = True
    joined = paste(image, {"masks": masks, "keypoints": points}, image,
                   {"masks": above, "keypoints": np.zeros((1, 4, 3), np.float32)})[1]
    assert joined["keypoints"][0, :, 2].tolist() == [1, 2, 0, 2]
    np.testing.assert_array_equal(joined["keypoints"][0, :, :2], points[0, :, :2])


def test_boxes_of_untouched_objects_stay_as_annotated():
    image, masks = np.zeros((3, 10, 10), np.float32), np.zeros((1, 10, 10), bool)
    masks[0, 2:4, 2:4] = True
    target = {"masks": masks, "boxes": np.array([[1.5, 1.5, 4.5, 4.5]], np.float32)}
    nothing = keep(target, np.zeros(1, bool))
    np.testing.assert_array_equal(paste(image, target, image, nothing)[1]["boxes"], target["boxes"])


@pytest.mark.parametrize("size", [(10, 50), (40, 10), (40, 50), (24, 32)])
def test_pasting_from_an_image_of_another_size(size):
    image, target = scene(1)
    source, objects = scene(2, size)
    joined_image, joined = paste(image, target, source, objects)
    assert joined_image.shape == image.shape and joined["masks"].shape[1:] == SIZE
    np.testing.assert_array_equal(joined["boxes"], mask_boxes(joined["masks"]))


def test_copy_paste_over_a_batch():
    samples = [numbered(k, 10 * k) for k in range(4)]
    before = [(image.copy(), {k: np.copy(v) for k, v in t.items()}) for image, t in samples]
    made = SimpleCopyPaste()(samples, rng(1))
    for (image, target), (old_image, old) in zip(samples, before):
        np.testing.assert_array_equal(image, old_image)
        assert same(target, old)
    foreign = sum((t["labels"] // 10 != k).sum() for k, (_, t) in enumerate(made))
    assert foreign > 0
    again = SimpleCopyPaste()(samples, rng(1))
    assert all(same(a[1], b[1]) for a, b in zip(made, again))
    assert SimpleCopyPaste(p=0.0)(samples, rng(1))[0][0] is samples[0][0]
    assert SimpleCopyPaste()(samples[:1], rng(1))[0] is samples[0]


def test_crowds_are_not_pasted_and_masks_are_needed():
    samples = [numbered(k, 10 * k) for k in range(2)]
    for _, target in samples:
        target["iscrowd"][:] = True
    for seed in range(5):
        made = SimpleCopyPaste()(samples, rng(seed))
        assert [len(t["labels"]) for _, t in made] == [len(t["labels"]) for _, t in samples]
    del samples[0][1]["masks"]
    with pytest.raises(ValueError, match="SimpleCopyPaste: it cuts out along masks"):
        SimpleCopyPaste()(samples, rng())


def test_transforms_are_values():
    assert ElasticTransform(2.0) == ElasticTransform(2.0) != replace(ElasticTransform(2.0), grid=4)
