"""What detection chooses, not learns: anchors, codes, matches, samples, levels, crops, heatmaps, on
cases small enough to check by eye, IoUs as fractions; then against definitions in plain loops."""
from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test_boxes import exact_iou
from tinyvision import boxes
from tinyvision.boxes import BELOW, BETWEEN
from tinyvision.boxes.keypoints import cubic
from tinyvision.models.detect.retinanet import NINE
from tinyvision.ops import box_iou

pytestmark = pytest.mark.filterwarnings("error")             # NumPy has nothing to complain of
quick = settings(max_examples=60, deadline=None)


def f4(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def whole_boxes(most, extent=8):
    """Lists of up to `most` boxes with whole corners and positive sides."""
    side, place = st.integers(1, extent), st.integers(0, extent)
    box = st.tuples(place, place, side, side).map(
        lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
    return st.lists(box, max_size=most).map(lambda found: f4(*found))


def random_boxes(count, seed=0, extent=60):
    rng = np.random.default_rng(seed)
    low, sides = rng.uniform(0, extent, (count, 2)), rng.uniform(1, extent / 2, (count, 2))
    return np.concatenate([low, low + sides], 1).astype(np.float32)


# --- anchors --------------------------------------------------------------------------------------
def test_anchors_of_a_place_keep_the_area_change_the_shape_and_are_rounded():
    assert boxes.cell_anchors((32,), (0.5, 1, 2)).tolist() == [
        [-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]]      # 45.25 x 22.63: rounded
    assert boxes.cell_anchors((10, 20), (1, 4)).tolist() == [            # ratios, in each the sizes
        [-5, -5, 5, 5], [-10, -10, 10, 10],
        [-2, -10, 2, 10], [-5, -20, 5, 20]]                              # 2.5 goes to the even 2


def test_retinanets_nine_anchors_are_a_third_of_an_octave_apart():
    assert NINE == ((32, 40, 50), (64, 80, 101), (128, 161, 203), (256, 322, 406),
                    (512, 645, 812))
    cell = boxes.cell_anchors(NINE[0], (0.5, 1, 2))
    assert cell.shape == (9, 4) and cell.dtype == np.float32
    assert cell[3:6].tolist() == [[-n, -n, n, n] for n in (16, 20, 25)]


def test_a_grid_goes_row_by_row_place_by_place_anchor_by_anchor():
    cell = f4((-1, -1, 1, 1), (-2, -1, 2, 1))
    found = boxes.grid_anchors((2, 3), (8, 4), cell)
    centres = [(0, 0), (4, 0), (8, 0), (0, 8), (4, 8), (8, 8)]           # x first
    assert found.tolist() == [[x + c[0], y + c[1], x + c[2], y + c[3]]
                              for x, y in centres for c in cell.tolist()]


def test_neighbouring_anchors_overlap_by_three_fifths():
    a = boxes.grid_anchors((1, 3), (4, 4), boxes.cell_anchors((16,), (1,)))
    overlaps = [exact_iou(a[0], other) for other in a]
    assert overlaps == [1, Fraction(3, 5), Fraction(1, 3)]               # 12/20 and 8/24
    np.testing.assert_array_equal(box_iou(a, a)[0], np.float32(overlaps))


def test_a_pyramid_has_its_own_sizes_on_every_map():
    generator = boxes.AnchorGenerator(((8,), (16,)), (1.0, 4.0))
    fine, coarse = generator((16, 32), [(4, 8), (2, 4)])
    assert generator.per_place == 2 and fine.shape == (64, 4) and coarse.shape == (16, 4)
    assert fine[2].tolist() == [4 - 4, -4, 4 + 4, 4]                     # stride 4
    assert coarse[9].tolist() == [-4, 8 - 16, 4, 8 + 16]                 # stride 8, second row


def test_strides_may_differ_down_and_across():
    found, = boxes.AnchorGenerator(((4,),), (1.0,))((16, 60), [(2, 3)])
    assert [(x + 2, y + 2) for x, y, _, _ in found.tolist()] == [
        (0, 0), (20, 0), (40, 0), (0, 8), (20, 8), (40, 8)]


def test_a_map_of_one_place_has_the_whole_image_as_its_stride():
    found, = boxes.AnchorGenerator(((4,),), (1.0,))((32, 48), [(1, 1)])
    assert found.tolist() == [[-2, -2, 2, 2]]


@pytest.mark.parametrize("sizes, maps, words", [
    (((8,), (16, 20)), [(1, 1)] * 2, r"has \[1, 2\] sizes on different maps"),
    (((8,), (16,)), [(1, 1)] * 3, "got 3 maps, expected 2")])
def test_anchors_that_do_not_fit_the_maps_are_refused(sizes, maps, words):
    with pytest.raises(ValueError, match=words):
        generator = boxes.AnchorGenerator(sizes)
        generator((32, 32), maps)
        generator.per_place


# --- coding ---------------------------------------------------------------------------------------
def test_a_code_by_hand():
    """The anchor is 10 x 20 around (5, 10); the box 20 x 10 around (15, 15)."""
    code = boxes.encode(f4((5, 10, 25, 20)), f4((0, 0, 10, 20)))
    np.testing.assert_allclose(code, [[1, 0.25, math.log(2), -math.log(2)]], rtol=1e-6)
    weighted = boxes.encode(f4((5, 10, 25, 20)), f4((0, 0, 10, 20)), (10, 10, 5, 5))
    np.testing.assert_allclose(weighted, code * (10, 10, 5, 5), rtol=1e-6)
    assert code.dtype == weighted.dtype == np.float32


def test_decoding_by_hand():
    anchor, code = f4((0, 0, 10, 20)), np.array([[0.5, -0.25, math.log(2), 0]], np.float32)
    np.testing.assert_allclose(boxes.decode(code, anchor), [[0, -5, 20, 15]], atol=1e-5)
    np.testing.assert_allclose(boxes.decode(code * (10, 10, 5, 5), anchor, (10, 10, 5, 5)),
                               [[0, -5, 20, 15]], atol=1e-5)
    assert boxes.decode(code, anchor).dtype == np.float32


@pytest.mark.parametrize("guess", [5, 88, 1000, 3e38, np.inf])
def test_a_wild_guess_grows_a_box_by_1000_16ths_at_most(guess):
    wild = boxes.decode(f4((0, 0, guess, 1)), f4((-8, -8, 8, 8)))
    assert wild[0, 2] - wild[0, 0] == pytest.approx(1000)
    assert wild[0, 3] - wild[0, 1] == pytest.approx(16 * math.e)


@pytest.mark.parametrize("code", [(np.nan,) * 4, (-np.inf,) * 4, (np.inf,) * 4, (3e38,) * 4,
                                  (-3e38, 3e38, -3e38, 3e38), (0, 0, np.nan, 0)])
def test_no_code_makes_decoding_complain_and_none_that_is_none_gives_a_proper_box(code):
    found = boxes.clip(boxes.decode(f4(code), f4((0, 0, 40, 40))), (64, 64))
    assert not boxes.proper(found).any()


@quick
@given(st.integers(0, 2**32 - 1), st.sampled_from([(1, 1, 1, 1), (10, 10, 5, 5)]),
       st.integers(0, 9), st.integers(1, 3))
def test_decoding_undoes_encoding(seed, weights, count, images):
    found, anchors = (random_boxes(count * images, seed + k).reshape(images, count, 4)
                      for k in (0, 1))
    code = boxes.encode(found, anchors, weights)
    assert code.shape == found.shape
    np.testing.assert_allclose(boxes.decode(code, anchors, weights), found, atol=2e-3)


# --- matching -------------------------------------------------------------------------------------
def table(objects, anchors):
    """IoUs (M, N) as fractions."""
    return [[exact_iou(o, a) for a in anchors] for o in objects]


def test_best_background_between_and_the_favourite():
    """Anchors of 4x4 that slide along an object of 4x4: IoU 1, 3/5, 1/3, 1/7, 0."""
    anchors = boxes.grid_anchors((1, 5), (1, 1), f4((0, 0, 4, 4)))
    assert table(f4((0, 0, 4, 4)), anchors) == [[1, Fraction(3, 5), Fraction(1, 3),
                                                 Fraction(1, 7), 0]]
    iou = box_iou(f4((0, 0, 4, 4)), anchors)
    assert boxes.match(iou, 0.5).tolist() == [0, 0, BELOW, BELOW, BELOW]
    assert boxes.match(iou, 0.7, 0.3).tolist() == [0, BETWEEN, BETWEEN, BELOW, BELOW]
    assert boxes.match(iou, 0.6, 0.3).tolist() == [0, 0, BETWEEN, BELOW, BELOW]      # 3/5 counts
    assert boxes.match(iou[:, 1:], 0.7, 0.3, force=True).tolist() == [0, BETWEEN, BELOW, BELOW]
    assert boxes.match(iou[:, 3:], 0.7, 0.3, force=True).tolist() == [0, BELOW]      # 1/7 is best
    assert boxes.match(iou, 0.5).dtype == np.int64


def test_of_two_equally_good_objects_the_first_counts():
    objects, anchor = f4((0, 0, 2, 4), (2, 0, 4, 4)), f4((0, 0, 4, 4))
    assert table(objects, anchor) == [[Fraction(1, 2)], [Fraction(1, 2)]]
    assert boxes.match(box_iou(objects, anchor), 0.5).tolist() == [0]


def test_all_equally_good_anchors_of_an_object_are_its_favourites():
    """An object between two anchors: 8/24 with each, and with a third nothing."""
    objects, anchors = f4((2, 0, 6, 4)), f4((0, 0, 4, 4), (4, 0, 8, 4), (20, 0, 24, 4))
    assert table(objects, anchors) == [[Fraction(1, 3), Fraction(1, 3), 0]]
    iou = box_iou(objects, anchors)
    assert boxes.favourites(iou).tolist() == [0, 1]
    assert boxes.match(iou, 0.7, 0.3, force=True).tolist() == [0, 0, BELOW]
    assert boxes.match(iou, 0.7, 0.3).tolist() == [BETWEEN, BETWEEN, BELOW]


def test_a_favourite_stands_for_its_own_best_object():
    """Object 1's best anchor overlaps object 0 more: it stands for object 0."""
    objects, anchors = f4((0, 0, 4, 4), (0, 0, 1, 4)), f4((0, 0, 5, 4), (50, 0, 54, 4))
    assert [row[0] for row in table(objects, anchors)] == [Fraction(4, 5), Fraction(1, 5)]
    assert boxes.match(box_iou(objects, anchors), 0.9, 0.3, force=True).tolist() == [0, BELOW]


def test_an_object_that_no_anchor_overlaps_forces_none():
    iou = box_iou(f4((90, 90, 99, 99)), f4((0, 0, 4, 4), (2, 0, 6, 4)))
    assert boxes.match(iou, 0.7, 0.3, force=True).tolist() == [BELOW, BELOW]
    assert boxes.favourites(iou).tolist() == []


@pytest.mark.parametrize("force", [False, True])
def test_without_objects_all_is_background_and_without_anchors_there_is_nothing(force):
    assert boxes.match(np.zeros((0, 3), np.float32), 0.7, 0.3, force).tolist() == [BELOW] * 3
    assert boxes.match(np.zeros((2, 0), np.float32), 0.7, 0.3, force).tolist() == []


def slow_match(iou, high, low, force):
    """The definition, on fractions."""
    chosen = []
    for n in range(len(iou[0])):
        column = [row[n] for row in iou]
        best = max(column)
        favourite = any(row[n] == max(row) > 0 for row in iou)
        chosen.append(column.index(best) if best >= high or (force and favourite)
                      else BELOW if best < low else BETWEEN)
    return chosen


@quick
@given(whole_boxes(4), whole_boxes(12), st.booleans(),
       st.sampled_from([("1/2", "2/5"), ("7/10", "3/10"), ("1/2", "1/2"), ("1/3", "1/7")]))
def test_matches_are_those_of_the_definition_in_fractions(objects, anchors, force, thresholds):
    high, low = map(Fraction, thresholds)
    found = boxes.match(box_iou(objects, anchors), float(high), float(low), force)
    if not len(objects) or not len(anchors):
        assert found.tolist() == [BELOW] * len(anchors)
        return
    exact = table(objects, anchors)
    assert found.tolist() == slow_match(exact, high, low, force)
    if force:                                                # no object is left without an anchor
        assert all(any(found[n] >= 0 and row[n] == max(row) for n in range(len(anchors)))
                   for row in exact if max(row) > 0)


# --- sampling -------------------------------------------------------------------------------------
MATCHED = np.array([2, -1, -1, 0, -2, -1, 0, -1, 1, -2])     # 4 positives, 4 negatives, 2 neither


@pytest.mark.parametrize("count, fraction, positives, negatives", [
    (4, 0.5, 2, 2), (4, 0.25, 1, 3), (100, 0.5, 4, 4), (6, 0.1, 0, 4), (5, 0.5, 2, 3),
    (0, 0.5, 0, 0), (7, 1.0, 4, 3)])
def test_a_sample_has_so_many_of_each(count, fraction, positives, negatives):
    p, n = boxes.sample(MATCHED, count, fraction, np.random.default_rng(0))
    assert (len(p), len(n)) == (positives, negatives)
    assert (MATCHED[p] >= 0).all() and (MATCHED[n] == BELOW).all()
    assert (np.diff(p) > 0).all() and (np.diff(n) > 0).all()


def test_a_sample_is_the_generators_choice_and_any_is_possible():
    def draw(seed):
        return [part.tolist() for part in boxes.sample(MATCHED, 4, 0.5,
                                                       np.random.default_rng(seed))]
    assert draw(1) == draw(1)
    seen = [draw(seed) for seed in range(40)]
    assert {n for p, _ in seen for n in p} == {0, 3, 6, 8}
    assert {n for _, p in seen for n in p} == {1, 2, 5, 7}


def test_there_may_be_nothing_to_sample():
    for matched, expected in (([], (0, 0)), ([-2, -2], (0, 0)), ([-1], (0, 1)), ([0], (1, 0))):
        found = boxes.sample(np.array(matched, int), 8, 0.5, np.random.default_rng(0))
        assert tuple(map(len, found)) == expected


# --- levels ---------------------------------------------------------------------------------------
def square(side):
    return (3.5, 7.25, 3.5 + side, 7.25 + side)


def test_levels_are_those_of_equation_1():
    sides = 56, 111, 112, 113, 223, 224, 447, 448, 900
    found = boxes.assign_levels(f4(*map(square, sides)), 0, 9)
    assert found.tolist() == [2, 2, 3, 3, 3, 4, 4, 5, 6] and found.dtype == np.int64
    assert found.tolist() == [math.floor(4 + math.log2(s / 224)) for s in sides]


def test_rounding_puts_no_box_a_level_too_low():
    box = f4((997.21, 0, 997.21 + 112, 112))
    assert box[0, 2] - box[0, 0] < 112                       # 111.99994 in float32
    assert boxes.assign_levels(box, 2, 5).tolist() == [3]


def test_levels_end_where_the_pyramid_ends_and_only_the_area_counts():
    assert boxes.assign_levels(f4(*map(square, (1, 100, 250, 5000))), 2, 5).tolist() == [2, 2, 4, 5]
    long = f4((0, 0, 56, 224), (0, 0, 448, 28), (0, 0, 448, 27))         # 112², 112², less
    assert boxes.assign_levels(long, 2, 5).tolist() == [3, 3, 2]
    assert boxes.assign_levels(f4((5, 5, 5, 9), (9, 9, 5, 5)), 2, 5).tolist() == [2, 2]
    assert boxes.assign_levels(f4(), 2, 5).shape == (0,)
    assert boxes.assign_levels(f4(*map(square, (16, 32, 64))), 2, 4, 32, 3).tolist() == [2, 3, 4]


# --- selection ------------------------------------------------------------------------------------
def test_clip_takes_x_by_the_width_and_y_by_the_height():
    assert boxes.clip(f4((-3, -3, 99, 99), (1, 2, 3, 4)), (10, 20)).tolist() == [
        [0, 0, 20, 10], [1, 2, 3, 4]]
    assert boxes.clip(f4(), (10, 20)).shape == (0, 4)


def test_what_is_proper():
    nan, inf = np.nan, np.inf
    found = boxes.proper(f4((0, 0, 1, 1), (0, 0, 0, 1), (2, 2, 1, 1), (nan, 0, 1, 1),
                            (0, 0, inf, 1), (-inf, 0, inf, 1), (0, 0, 1e-20, 1), (inf, 0, inf, 1),
                            (-3e38, 0, 3e38, 1)))
    assert found.tolist() == [True, False, False, False, False, False, True, False, True]
    assert boxes.proper(f4((0, 0, 2, 3), (0, 0, 2, 1.5)), 2).tolist() == [True, False]


def test_the_best_come_first_ties_by_index_nan_last():
    scores = np.array([0.3, 0.9, np.nan, 0.3, 0.5, -np.inf])
    assert boxes.best(scores, 3).tolist() == [1, 4, 0]
    assert boxes.best(scores, 99).tolist() == [1, 4, 0, 3, 5, 2]
    assert boxes.best(scores[:0], 3).tolist() == []


def test_the_best_of_each_group():
    scores = np.array([0.1, 0.2, 0.3, 0.9, 0.8, 0.5])
    assert boxes.best_of_groups(scores, [3, 0, 1, 2], 2).tolist() == [2, 1, 3, 4, 5]
    assert boxes.best_of_groups(scores[:0], [0, 0], 2).tolist() == []


def test_boxes_are_suppressed_by_their_own_kind_only():
    found = f4((0, 0, 4, 4), (1, 0, 5, 4), (1, 0, 5, 4), (9, 9, 12, 12))
    assert exact_iou(found[0], found[1]) == Fraction(3, 5)
    scores, kinds = np.array([0.5, 0.9, 0.8, 0.1]), np.array([0, 0, 1, 0])
    assert boxes.suppressed(found, scores, kinds, 0.5, 9).tolist() == [1, 2, 3]
    assert boxes.suppressed(found, scores, kinds, 0.6, 9).tolist() == [1, 2, 0, 3]
    assert boxes.suppressed(found, scores, kinds, 0.5, 2).tolist() == [1, 2]


def test_what_survives_is_inside_proper_and_not_suppressed():
    """What is no box takes nobody's place: the third comes in although only two may."""
    found = f4((30, 30, 40, 40), (-6, 0, 4, 10), (0, 0, 5, 10), (2, 3, 9, 9), (np.nan, 0, 4, 4))
    scores = np.array([0.9, 0.7, 0.8, 0.6, 1.0])
    kept, which = boxes.surviving(found, scores, np.zeros(5, int), (20, 20), 0.5, 2)
    assert exact_iou((0, 0, 4, 10), (0, 0, 5, 10)) == Fraction(4, 5)     # clipped; before, 4/11
    assert which.tolist() == [2, 3] and kept.tolist() == [[0, 0, 5, 10], [2, 3, 9, 9]]
    kept, which = boxes.surviving(f4(), scores[:0], np.zeros(0, int), (20, 20), 0.5, 2)
    assert kept.shape == (0, 4) and which.shape == (0,)


def test_a_box_may_be_a_confident_answer_of_several_classes():
    scores = np.array([[0.6, 0.5, 0.7], [0.1, np.nan, 0.2], [0, 0, 0.9]])
    rows, columns = boxes.confident(scores, 0.5)
    assert (rows.tolist(), columns.tolist()) == ([0, 0, 2], [0, 2, 2])


# --- masks ----------------------------------------------------------------------------------------
def test_a_cell_of_a_crop_is_the_part_that_is_covered():
    mask = np.zeros((1, 8, 8), bool)
    mask[0, 2:5, 2:6] = True                                 # three rows of four pixels
    found = boxes.crop_masks(mask, f4((2, 2, 6, 6)), 2)      # cells of 2x2 pixels
    assert found.tolist() == [[[1, 1], [0.5, 0.5]]] and found.dtype == np.float32
    assert boxes.crop_masks(mask, f4((1, 1, 5, 5)), 2).tolist() == [[[0.25, 0.5], [0.5, 1]]]
    assert boxes.crop_masks(mask, f4((0, 0, 8, 8)), 1).tolist() == [[[12 / 64]]]


def test_a_crop_between_pixels_by_hand():
    """Cells of 1.5 pixels, two samples along each: at 3/8, 9/8 | 15/8, 21/8 of three pixels whose
    centres are 1/2, 3/2, 5/2. The mask is the left column: 1, 1 - 5/8 | 0, 0."""
    mask = np.zeros((1, 3, 3), bool)
    mask[0, :, 0] = True
    left = Fraction(1, 2) * (1 + Fraction(3, 8))
    assert boxes.crop_masks(mask, f4((0, 0, 3, 3)), 2).tolist() == [[[float(left), 0]] * 2]


def test_each_box_crops_its_own_mask_and_there_may_be_none():
    masks = np.stack([np.ones((4, 4), bool), np.zeros((4, 4), bool)])
    found = boxes.crop_masks(masks, f4((0, 0, 4, 4), (0, 0, 4, 4)), 3)
    assert (found[0] == 1).all() and (found[1] == 0).all()
    assert boxes.crop_masks(np.zeros((0, 4, 4), bool), f4(), 3).shape == (0, 3, 3)


def test_a_mask_is_pasted_where_its_box_lies():
    mask = np.array([[[0.2, 0.9], [0.6, 1.0]]], np.float32)
    found = boxes.paste_masks(mask, f4((1, 2, 3, 4)), (5, 4))            # a pixel a cell
    expected = np.zeros((1, 5, 4), np.float32)
    expected[0, 2:4, 1:3] = mask
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32


def test_a_pasted_mask_fades_out_over_half_a_cell():
    """Cells of 4 pixels: across the border 1/8, 3/8, 5/8, 7/8, then 1."""
    line = boxes.paste_masks(np.ones((1, 2, 2), np.float32), f4((4, 4, 12, 12)), (16, 16))[0, 8]
    want = [0, 0, 1 / 8, 3 / 8, 5 / 8, 7 / 8, 1, 1]
    np.testing.assert_allclose(line, want + want[::-1], atol=1e-6)


def test_a_box_over_the_border_is_pasted_as_far_as_the_image_goes():
    mask = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    found = boxes.paste_masks(mask, f4((-2, -1, 2, 3)), (6, 5))
    np.testing.assert_allclose(found[0, :3, :2], mask[0, 1:, 2:], atol=1e-5)
    assert (found[0, 3:] == 0).all() and (found[0, :, 2:] == 0).all()


@pytest.mark.parametrize("side", [1, 14, 28])
def test_without_masks_nothing_is_pasted(side):
    found = boxes.paste_masks(np.zeros((0, side, side), np.float32), f4(), (5, 7))
    assert found.shape == (0, 5, 7)


@quick
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.sampled_from([1, 2]), st.integers(0, 3),
       st.integers(0, 3))
def test_masks_of_whole_cells_survive_cropping_and_pasting(seed, cells, pixels, x, y):
    inside = np.random.default_rng(seed).random((1, cells, cells)) < 0.5
    side = cells * pixels
    mask = np.zeros((1, y + side + 2, x + side + 1), bool)
    mask[:, y:y + side, x:x + side] = inside.repeat(pixels, 1).repeat(pixels, 2)
    box = f4((x, y, x + side, y + side))
    crop = boxes.crop_masks(mask, box, cells)
    np.testing.assert_allclose(crop, inside, atol=1e-6)
    np.testing.assert_array_equal(boxes.paste_masks(crop, box, mask.shape[1:]) >= 0.5, mask)


# --- keypoints ------------------------------------------------------------------------------------
@pytest.mark.parametrize("x, y, visibility, cell", [
    (10, 20, 2, 0), (11.9, 20, 1, 0), (12, 20, 2, 1), (10, 22, 2, 4), (13, 25, 2, 9),
    (18, 20, 2, 3), (10, 28, 2, 12), (18, 28, 2, 15),        # right and lower border: the last cell
    (18.01, 20, 2, None), (9.99, 20, 2, None), (13, 28.01, 2, None), (13, 19.9, 2, None),
    (13, 25, 0, None), (0, 0, 0, None), (np.nan, 25, 2, None), (np.inf, 25, 2, None)])
def test_the_cell_of_a_keypoint(x, y, visibility, cell):
    """The box is 8 x 8 at (10, 20), its cells 2 x 2."""
    cells, valid = boxes.heatmap_cells(np.array([[[x, y, visibility]]], np.float32),
                                       f4((10, 20, 18, 28)), 4)
    assert (cells.shape, cells.dtype) == ((1, 1), np.int64)
    assert valid.tolist() == [[cell is not None]] and cells.tolist() == [[cell or 0]]


def test_a_box_that_is_none_has_no_cells_but_its_corner():
    cells, valid = boxes.heatmap_cells(np.array([[[3, 4, 2], [3.5, 4, 2]]], np.float32),
                                       f4((3, 4, 3, 4)), 4)
    assert valid.tolist() == [[True, False]] and cells.tolist() == [[0, 0]]
    cells, valid = boxes.heatmap_cells(np.zeros((0, 5, 3), np.float32), f4(), 4)
    assert cells.shape == valid.shape == (0, 5)


def test_the_planted_maximum_is_found():
    """A pixel a cell: the answer is that pixel's middle; three pixels a cell: the middle one."""
    maps = np.zeros((2, 1, 4, 5), np.float32)
    maps[0, 0, 2, 1], maps[1, 0, 1, 3] = 3.0, 7.0
    points, scores = boxes.read_heatmaps(maps, f4((10, 20, 15, 24), (0.5, 0, 15.5, 12)))
    np.testing.assert_allclose(points, [[[11.5, 22.5, 1]], [[0.5 + 10.5, 4.5, 1]]], atol=1e-5)
    np.testing.assert_allclose(scores, [[3], [7]], rtol=1e-5)
    assert points.dtype == scores.dtype == np.float32


def test_a_box_smaller_than_a_pixel_is_read_and_there_may_be_none():
    maps = np.zeros((1, 2, 4, 4), np.float32)
    points, scores = boxes.read_heatmaps(maps, f4((3, 4, 3.5, 4.25)))
    assert np.isfinite(points).all() and scores.shape == (1, 2)
    points, scores = boxes.read_heatmaps(maps[:0], f4())
    assert points.shape == (0, 2, 3) and scores.shape == (0, 2)


@quick
@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.floats(8, 40), st.floats(8, 40))
def test_what_is_read_lies_in_the_cell_that_was_hot(seed, size, width, height):
    """Up to half a pixel of the resized map, which has a whole number of them."""
    sides, points = np.array((width, height)), np.ones((1, 3, 3), np.float32)
    box = f4((5, 6, 5 + width, 6 + height))
    points[..., :2] = box[:, :2] + np.random.default_rng(seed).random((3, 2)) * sides
    cells, valid = boxes.heatmap_cells(points, box, size)
    maps = (np.arange(size * size) == cells[..., None]).reshape(1, 3, size, size)
    found, _ = boxes.read_heatmaps(maps.astype(np.float32), box)
    middle = box[0, :2] + (np.stack((cells % size, cells // size), -1) + 0.5) * sides / size
    assert valid.all()
    assert (np.abs(found[..., :2] - middle) <= sides / size / 2 + 0.51).all()


def test_the_rows_of_a_cubic_resize_by_hand():
    np.testing.assert_array_equal(cubic(5, 5), np.eye(5))
    near, far = 1.25 / 64 - 2.25 / 16 + 1, 1.25 * 27 / 64 - 2.25 * 9 / 16 + 1    # at 1/4, 3/4
    beyond = [-0.75 * (d**3 - 5 * d**2 + 8 * d - 4) for d in (1.25, 1.75)]
    np.testing.assert_allclose(cubic(4, 8)[3], [beyond[0], near, far, beyond[1]], atol=1e-6)
    for cells, size in ((1, 7), (3, 10), (10, 3), (56, 81)):
        np.testing.assert_allclose(cubic(cells, size).sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("cells, size", [(4, 4), (4, 9), (7, 30), (9, 4), (1, 5), (5, 1),
                                         (56, 123)])
def test_cubic_resizing_is_pytorchs(cells, size):
    torch = pytest.importorskip("torch")
    maps = np.random.default_rng(0).standard_normal((2, cells, 6)).astype(np.float32)
    want = torch.nn.functional.interpolate(torch.tensor(maps)[None], (size, 11), mode="bicubic",
                                           align_corners=False)[0].numpy()
    np.testing.assert_allclose(cubic(cells, size) @ maps @ cubic(6, 11).T, want, atol=3e-5)


# --- targets --------------------------------------------------------------------------------------
def test_what_is_learned_from():
    nan, inf = np.nan, np.inf
    rows = [((1, 1, 5, 5), True), ((-3, -3, 4, 4), True), ((60, 30, 99, 99), True),
            ((0, 0, 64, 32), True), ((1, 1, 1, 5), False), ((5, 5, 1, 1), False),
            ((nan, 0, 4, 4), False), ((0, 0, inf, 4), False), ((70, 1, 80, 5), False),
            ((1, 32, 5, 40), False), ((-9, 0, 0, 4), False), ((1, 33, 5, 30), False)]
    found = [box for box, _ in rows]
    assert boxes.learnable({"boxes": found}, (32, 64)).tolist() == [good for _, good in rows]
    crowd = {"boxes": f4((1, 1, 5, 5), (2, 2, 6, 6)), "iscrowd": np.array([0, 1])}
    assert boxes.learnable(crowd, (32, 64)).tolist() == [True, False]
    for empty in ([], np.zeros((0, 4)), np.zeros(0)):
        assert boxes.learnable({"boxes": empty}, (32, 64)).shape == (0,)


def test_the_targets_of_anchors():
    anchors = f4((0, 0, 4, 4), (1, 0, 5, 4), (20, 20, 24, 24))
    objects = f4((2, 0, 6, 4), (1, 0, 5, 4))
    assert table(objects, anchors) == [[Fraction(1, 3), Fraction(3, 5), 0], [Fraction(3, 5), 1, 0]]
    matched, codes = boxes.anchor_targets(anchors, objects, 0.6, 0.3, False)
    assert matched.tolist() == [1, 1, BELOW]
    np.testing.assert_allclose(codes, [[0.25, 0, 0, 0], [0] * 4, [0] * 4], atol=1e-7)
    assert codes.dtype == np.float32
    matched, codes = boxes.anchor_targets(anchors, f4(), 0.6, 0.3, True)
    assert matched.tolist() == [BELOW] * 3 and not codes.any()


def test_regions_to_learn_from_hold_the_objects_themselves_and_objects_come_first():
    proposals, objects = f4((30, 30, 40, 40), (1, 0, 5, 4), (3, 0, 7, 4)), f4((0, 0, 4, 4))
    assert table(objects, proposals) == [[0, Fraction(3, 5), Fraction(1, 7)]]
    rng = np.random.default_rng(0)
    regions, matched = boxes.region_samples(proposals, objects, 9, 0.5, 0.5, rng)
    assert matched.tolist() == [0, 0, BELOW, BELOW]
    assert regions.tolist() == [[1, 0, 5, 4], [0, 0, 4, 4], [30, 30, 40, 40], [3, 0, 7, 4]]
    regions, matched = boxes.region_samples(proposals, objects, 4, 0.25, 0.5, rng)
    assert matched.tolist() == [0, BELOW, BELOW]


@pytest.mark.parametrize("proposals, objects, expected", [
    (f4((0, 0, 4, 4)), f4(), [BELOW]), (f4(), f4((0, 0, 4, 4)), [0]), (f4(), f4(), [])])
def test_there_may_be_no_objects_and_no_proposals(proposals, objects, expected):
    regions, matched = boxes.region_samples(proposals, objects, 8, 0.5, 0.5,
                                            np.random.default_rng(0))
    assert matched.tolist() == expected and regions.shape == (len(expected), 4)


def test_sizes_may_be_lists():
    assert boxes.AnchorGenerator([[8], [16]], [1]) == boxes.AnchorGenerator(((8,), (16,)), (1,))
    assert len({boxes.AnchorGenerator([[8]]), boxes.AnchorGenerator(((8,),))}) == 1
