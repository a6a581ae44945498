"""Pictures of anchors, proposals and regions: every number in them is what the code computes."""
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib")

from matplotlib.patches import Rectangle  # noqa: E402

from tinyvision import boxes as choose  # noqa: E402
from tinyvision import draw, ops  # noqa: E402
from tinyvision.draw.palette import ACCENT, COLOURS, category, rgb  # noqa: E402
from tinyvision.draw.region_bins import align_bins, corners, pool_bins, read, samples  # noqa: E402
from tinyvision.draw.suppression import rounds  # noqa: E402

RNG = np.random.default_rng(0)
IMAGE = RNG.random((3, 32, 48), np.float32)
ANCHORS = choose.AnchorGenerator(((8, 10), (16, 20)), (0.5, 1.0))
SIZES = [(8, 12), (4, 6)]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def outlines(axes, colour=None):
    """The boxes' rectangles (x, y, width, height), of one colour."""
    return [(*p.get_xy(), p.get_width(), p.get_height()) for p in axes.patches
            if isinstance(p, Rectangle) and not p.get_fill()
            and (colour is None or p.get_edgecolor()[:3] == rgb(colour))]


class TestAnchors:
    def test_shows_every_place_and_the_anchors_of_one(self):
        figure = draw.anchors(IMAGE, ANCHORS, SIZES, place=(2, 3))
        fine, coarse = figure.axes
        assert fine.get_title() == "8 x 12 places, stride 4\n4 anchors each: 384"
        assert coarse.get_title() == "4 x 6 places, stride 8\n4 anchors each: 96"
        expected = ANCHORS(IMAGE.shape[1:], SIZES)[0].reshape(8, 12, 4, 4)[2, 3]
        drawn = np.array([(x, y, x + w, y + h) for x, y, w, h in outlines(fine)])
        assert np.allclose(drawn, expected)
        assert len(fine.lines[0].get_xdata()) == 96 and texts(coarse) == ["■ 16", "■ 20"]

    def test_one_anchor_outside_of_the_image_is_seen_whole(self):
        axes = draw.anchors(IMAGE, ANCHORS, SIZES, place=(0, 0)).axes[1]
        assert axes.get_xlim()[0] < outlines(axes)[0][0]


class TestAssignments:
    BOXES = np.array([[4, 4, 20, 20], [22, 8, 46, 30]], np.float32)
    EVERY = np.concatenate(ANCHORS(IMAGE.shape[1:], SIZES))

    def counted(self, **how):
        figure = draw.assignments(IMAGE, self.EVERY, self.BOXES, **how)
        return figure, [int(axes.get_title().split(": ")[1].split()[0].replace(",", ""))
                        for axes in figure.axes]

    @pytest.mark.parametrize("how", [dict(), dict(high=0.7, low=0.3, force=True)])
    def test_counts_as_match_does(self, how):
        matched = choose.match(ops.box_iou(self.BOXES, self.EVERY),
                               **{"high": .5, "low": .4, **how})
        _, counts = self.counted(**how)
        assert counts == [(matched >= 0).sum(), (matched == choose.BETWEEN).sum(),
                          (matched == choose.BELOW).sum()]
        assert sum(counts) == len(self.EVERY)

    def test_writes_the_best_overlaps(self):
        figure, _ = self.counted()
        iou = ops.box_iou(self.BOXES, self.EVERY)
        best = [f"{v:.2f}" for k in range(2) for v in
                sorted(iou[k][choose.match(iou, 0.5, 0.4) == k])[::-1][:3]]
        assert texts(figure.axes[0]) == best

    def test_without_objects_all_is_background(self):
        figure = draw.assignments(IMAGE, self.EVERY, np.zeros((0, 4)))
        assert figure.axes[2].get_title() == f"background: {len(self.EVERY)}\nIoU under 0.4"


def test_box_code_writes_the_code():
    anchor, box = (10, 20, 34, 40), (18, 12, 50, 44)
    words = "\n".join(texts(draw.box_code(anchor, box).axes[0]))
    dx, dy, dw, dh = choose.encode(np.array(box, float), np.array(anchor, float))
    assert dx == 0.5 and "dx = (x - x_a) / w_a = (34 - 22) / 24 = 0.5" in words
    assert f"dw = log(w / w_a) = log(32 / 24) = {dw:.2f}" in words and "dy -0.1" in words


class TestRoundsOfNMS:
    @pytest.mark.parametrize("seed", range(20))
    def test_keeps_what_nms_keeps(self, seed):
        random = np.random.default_rng(seed)
        low = random.integers(0, 6, (14, 2))                 # whole numbers: IoUs on the threshold
        boxes = np.concatenate((low, low + random.integers(0, 5, (14, 2))), 1).astype(np.float32)
        scores = random.integers(0, 4, 14) / 4
        scores[random.integers(14)] = np.nan
        for threshold in (0.0, 1 / 3, 0.5, 1.0):
            steps = rounds(boxes, scores, threshold)
            kept = [step.kept for step in steps]
            assert kept == ops.nms(boxes, scores, threshold).tolist()
            assert sorted(kept + [n for s in steps for n in s.dropped]) == list(range(14))

    def test_shows_who_drops_whom_and_why(self):
        boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [0, 0, 10, 8]], np.float32)
        figure = draw.nms_rounds(boxes, [0.9, 0.7, 0.8], 0.5)
        assert [axes.get_title() for axes in figure.axes] == [
            "3 boxes and their scores", "1. keep A, drop B", "2. keep C, drop nobody", "2 are left"]
        assert texts(figure.axes[0]) == ["A 0.90", "C 0.70", "B 0.80"]
        assert texts(figure.axes[1]) == ["C", "B 0.80", "A"]
        assert len(outlines(figure.axes[1], ACCENT)) == 1
        assert outlines(figure.axes[3], COLOURS[0]) == [(0, 0, 10, 10), (20, 0, 10, 10)]

    def test_no_boxes(self):
        figure = draw.nms_rounds(np.zeros((0, 4), np.float32), np.zeros(0), 0.5)
        assert figure.axes[-1].get_title() == "0 are left"


def test_proposals_are_counted_and_the_best_numbered():
    boxes = np.array([[1, 1, 9, 9], [2, 2, 9, 9], [20, 5, 40, 30]], np.float32)
    scores = np.array([0.25, 0.5, 1.0])
    figure = draw.proposals(IMAGE, {"before": (boxes, scores), "after": (boxes[1:], scores[1:])},
                            best=1)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["3 before", "2 after"]
    assert not texts(figure.axes[0]) and texts(figure.axes[1]) == ["1.00"]
    assert outlines(figure.axes[0])[0] == (1, 1, 8, 8)       # the worst lies lowest


def test_score_maps_take_the_best_anchor_of_a_place():
    scores = RNG.random(8 * 12 * 3 + 4 * 6 * 3)
    figure = draw.score_maps(IMAGE, scores, SIZES)
    first = np.asarray(figure.axes[1].images[1].get_array())
    assert np.allclose(first, scores[:288].reshape(8, 12, 3).max(2))
    with pytest.raises(ValueError, match="score_maps: got 5 scores"):
        draw.score_maps(IMAGE, scores[:5], SIZES)


# --- regions --------------------------------------------------------------------------------------
def boxes_in(size, count, seed=0):
    random = np.random.default_rng(seed)
    low = random.uniform(0, size - 2, (count, 2))
    return np.concatenate((low, low + random.uniform(0.3, 1, (count, 2)) * (size - low)),
                          1).astype(np.float32)


def rois(boxes):
    return np.concatenate((np.zeros((len(boxes), 1), np.float32), boxes), 1)


class TestBins:
    """A map whose every cell says its own column tells which cells an operation read."""
    RAMP = np.broadcast_to(np.arange(24, dtype=np.float32), (1, 1, 24, 24))
    BOXES, SIZE, SCALE = boxes_in(96, 40), (3, 4), 1 / 4

    def test_pool_bins_are_what_roi_pool_reads(self):
        found = pool_bins(self.BOXES, self.SIZE, self.SCALE, (24, 24))
        for ramp, ends, axis in ((self.RAMP, found.cols[:, None], 0),
                                 (self.RAMP.swapaxes(2, 3), found.rows[:, :, None], 1)):
            ramp = np.ascontiguousarray(ramp) + 1            # an empty bin is 0
            high, low = (ops.roi_pool(sign * ramp, rois(self.BOXES), self.SIZE, self.SCALE).numpy()
                         for sign in (1, -1))
            full = high[:, 0] > 0
            assert full.mean() > 0.9
            assert (high[:, 0] == np.broadcast_to(ends[..., 1], full.shape))[full].all()
            assert (-low[:, 0] == np.broadcast_to(ends[..., 0] + 1, full.shape))[full].all()

    @pytest.mark.parametrize("aligned", [True, False])
    def test_align_bins_are_what_roi_align_reads(self, aligned):
        boxes = self.BOXES * 0.8 + 8                         # away from the border, where it clamps
        found = align_bins(boxes, self.SIZE, self.SCALE, aligned)
        values = ops.roi_align(np.ascontiguousarray(self.RAMP), rois(boxes), self.SIZE, self.SCALE,
                               2, aligned).numpy()[:, 0]
        assert np.allclose(values + 0.5, found.centres()[..., 0], atol=1e-4)

    def test_misalignment_is_measured_by_the_operations(self):
        boxes = self.BOXES * 0.8 + 8
        ramp = np.ascontiguousarray(self.RAMP)
        exact = ops.roi_align(ramp, rois(boxes), self.SIZE, self.SCALE, 2, True).numpy()[:, 0] + 0.5
        high, low = (sign * ops.roi_pool(sign * ramp, rois(boxes), self.SIZE,
                                         self.SCALE).numpy()[:, 0] for sign in (1, -1))
        off = ((high + 1 + low) / 2 - exact) / self.SCALE
        assert np.allclose(draw.misalignment(boxes, self.SIZE, self.SCALE)[..., 0], off, atol=1e-3)
        assert 0.5 < np.abs(off).mean() < 8

    def test_the_old_align_is_half_a_cell_off_and_the_new_one_right(self):
        assert np.allclose(draw.misalignment(self.BOXES, 7, 1 / 16, "align")[np.all(
            self.BOXES[:, 2:] - self.BOXES[:, :2] > 16, 1)], 8, atol=1e-3)
        assert not draw.misalignment(self.BOXES, 7, 1 / 16, "aligned").any()
        with pytest.raises(ValueError, match="how is 'pull'"):
            draw.misalignment(self.BOXES, 7, 1 / 16, "pull")

    @pytest.mark.parametrize("aligned", [True, False])
    @pytest.mark.parametrize("ratio", [2, 3, 0])
    def test_the_mean_of_the_samples_is_the_bin(self, aligned, ratio):
        features = RNG.random((9, 11)).astype(np.float32)
        for box in boxes_in(60, 12, seed=3) - 6:             # some reach outside
            found = align_bins(box, 2, 1 / 5, aligned)
            expected = ops.roi_align(features[None, None], rois(box[None]), 2, 1 / 5, ratio,
                                     aligned).numpy()[0, 0]
            for p, q in np.ndindex(2, 2):
                values = [read(features, y, x) for y in samples(*found.rows[0, p], ratio)
                          for x in samples(*found.cols[0, q], ratio)]
                assert np.isclose(np.mean(values), expected[p, q], atol=1e-4)

    def test_weights_add_up_to_one_or_nothing_is_read(self):
        for place in np.linspace(-3, 9, 49):
            found = corners(place, 6)
            assert (sum(w for _, w in found) == pytest.approx(1)) == (-0.5 <= place <= 6.5)
            assert all(0 <= cell < 6 and w >= 0 for cell, w in found)


class TestRoIPictures:
    FEATURES = np.arange(64, dtype=np.float32).reshape(8, 8) % 7
    BOX = (19, 12, 45, 41)

    def test_both_results_are_the_operations(self):
        words = texts(draw.roi_bins(self.FEATURES, self.BOX, 2, 1 / 8).axes[0])
        maps, roi = self.FEATURES[None, None], np.array([[0, *self.BOX]], np.float32)
        for result in (ops.roi_pool(maps, roi, 2, 1 / 8),
                       ops.roi_align(maps, roi, 2, 1 / 8, 2, True)):
            cells = [draw.board.number(v) for v in result.numpy().ravel()]
            assert any(words[k:k + 4] == cells for k in range(len(words)))
        off = np.linalg.norm(draw.misalignment(self.BOX, 2, 1 / 8), axis=-1)
        assert f"{off.mean():.1f} pixels of the image off on average" in words[-1]
        assert words[-2] == "the region: x 2.38 to 5.62, y 1.5 to 5.12"

    def test_a_sample_and_its_four_weights(self):
        words = texts(draw.roi_sample(self.FEATURES, self.BOX, 2, 1 / 8, bin=(1, 0),
                                      sample=(0, 1)).axes[0])
        found = align_bins(self.BOX, 2, 1 / 8)
        y, x = samples(*found.rows[0, 1], 2)[0], samples(*found.cols[0, 0], 2)[1]
        value = draw.board.number(read(self.FEATURES, y, x))
        assert f"the sample at x {draw.board.number(x)}, y {draw.board.number(y)}" in words
        assert words[words.index("=") + 1] == value
        bin_ = ops.roi_align(self.FEATURES[None, None], np.array([[0, *self.BOX]], np.float32), 2,
                             1 / 8, 2, True).numpy()[0, 0, 1, 0]
        assert words[-1].endswith(f"/ 4 = {draw.board.number(bin_)}")

    @pytest.mark.parametrize("box", [(-30, -30, -20, -20), (60, 60, 90, 90), (5, 5, 5, 5)])
    def test_regions_outside_and_empty_ones(self, box):
        assert draw.roi_bins(self.FEATURES, box, 2, 1 / 8)._repr_png_()
        assert draw.roi_sample(self.FEATURES, box, 2, 1 / 8, 0)._repr_png_()


class TestTargets:
    MASK = np.zeros((1, 32, 48), bool)
    MASK[0, 6:22, 10:30] = True

    def test_masks_there_and_back(self):
        box = np.array([[8, 4, 32, 26]], np.float32)
        figure = draw.mask_targets(IMAGE, self.MASK, box, sizes=(12, 24))
        grid = choose.crop_masks(self.MASK, box, 12)[0]
        shown = np.asarray(figure.axes[1].images[0].get_array())
        assert shown.shape == (12, 12, 3)
        assert np.allclose(shown[grid == 1], rgb(category(0))) and np.allclose(shown[grid == 0], 1)
        back = choose.paste_masks((grid >= .5).astype(np.float32)[None], box, (32, 48))[0] >= .5
        iou = (back & self.MASK[0]).sum() / (back | self.MASK[0]).sum()
        assert figure.axes[3].get_title() == f"back from 12 x 12: {iou:.2f}" and iou > 0.85

    def test_keypoints_and_their_cells(self):
        points = np.array([[12, 10, 2], [40, 30, 2], [0, 0, 0]], np.float32)
        figure = draw.keypoint_targets(IMAGE, points, (8, 6, 24, 22), 8, ("a", "b", "c"))
        titles = [axes.get_title() for axes in figure.axes]
        assert titles == ["keypoints and region", "a: 1.4 px off", "b: outside", "c: not there"]
        cell, = [p for p in figure.axes[1].patches if p.get_fill()]
        assert (*cell.get_xy(), cell.get_width()) == (12, 10, 2)

    def test_levels(self):
        boxes = np.array([[0, 0, 8, 8], [0, 0, 20, 20], [0, 0, 40, 30]], np.float32)
        figure = draw.pyramid_levels(IMAGE, boxes, 2, 4, 16, 3)
        assert [axes.get_title() for axes in figure.axes] == [
            "stride 4: sides under 16", "stride 8: sides 16 to 32", "stride 16: sides from 32"]
        assert [texts(axes) for axes in figure.axes] == [["8"], ["20"], ["35"]]
        assert choose.assign_levels(boxes, 2, 4, 16, 3).tolist() == [2, 3, 4]
