"""Pictures of detection: what stands in them is what was found, and nothing hides a label."""
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib")

from matplotlib.patches import Rectangle  # noqa: E402

from tinyvision import draw  # noqa: E402
from tinyvision.draw.palette import COLOURS, category, rgb  # noqa: E402

RNG = np.random.default_rng(0)
IMAGE = RNG.random((3, 40, 60), np.float32)
FOUND = {"boxes": np.array([[5, 4, 25, 20], [30, 10, 50, 35], [0, 0, 9, 9]], np.float32),
         "labels": np.array([0, 2, 1]), "scores": np.array([0.9, 0.75, 0.2], np.float32)}
NAMES = ("circle", "square", "star")


def texts(axes):
    return [text.get_text() for text in axes.texts]


def outlines(axes):
    """{(x0, y0, x1, y1): colour} of the boxes, not of labels' grounds."""
    return {(*p.get_xy(), p.get_x() + p.get_width(), p.get_y() + p.get_height()):
            p.get_edgecolor()[:3] for p in axes.patches
            if isinstance(p, Rectangle) and not p.get_fill()}


def grounds(axes):
    """The labels' rectangles (x0, y0, x1, y1)."""
    return [(*p.get_xy(), p.get_x() + p.get_width(), p.get_y() + p.get_height())
            for p in axes.patches if isinstance(p, Rectangle) and p.get_fill()]


def apart(rectangles):
    return all(a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
               for k, a in enumerate(rectangles) for b in rectangles[:k])


class TestDetections:
    def test_draws_what_is_confident_in_its_class_colour(self):
        axes, = draw.detections(IMAGE, FOUND, NAMES).axes
        assert texts(axes) == ["circle 0.90", "star 0.75"]
        assert outlines(axes) == {(5, 4, 25, 20): rgb(category(0)), (30, 10, 50, 35):
                                  rgb(category(2))}

    def test_without_names_and_scores(self):
        found = {key: FOUND[key] for key in ("boxes", "labels")}
        axes, = draw.detections(IMAGE, found).axes
        assert texts(axes) == ["class 0", "class 2", "class 1"]

    def test_nothing_found_is_the_image(self):
        axes, = draw.detections(IMAGE, FOUND, NAMES, score=0.95).axes
        assert not axes.texts and not axes.patches and len(axes.images) == 1

    def test_labels_keep_clear_of_each_other_and_inside(self):
        boxes = np.array([[10, 10, 30, 30], [10, 10, 31, 30], [11, 9, 30, 31], [0, 0, 20, 20]],
                         np.float32)
        found = {"boxes": boxes, "labels": np.zeros(4, int), "scores": np.full(4, 0.6)}
        axes, = draw.detections(IMAGE, found, NAMES).axes
        labels = grounds(axes)
        assert len(labels) == 4 and apart(labels)
        assert all(0 <= x0 and 0 <= y0 and x1 <= 60 and y1 <= 40 for x0, y0, x1, y1 in labels)

    def test_tints_masks(self):
        mask = np.zeros((3, 40, 60), bool)
        mask[1, 12:30, 32:48] = True
        axes, = draw.detections(IMAGE, {**FOUND, "masks": mask}, NAMES).axes
        layers = [np.asarray(one.get_array()) for one in axes.images[1:]]
        assert (layers[0][..., 3] > 0).sum() == 18 * 16 and not layers[1][..., 3].any()
        assert np.allclose(layers[0][20, 40, :3], rgb(category(2)))

    def test_joins_the_keypoints_that_are_there(self):
        points = np.ones((3, 3, 3), np.float32) * 7
        points[:, 2, 2] = 0
        axes, = draw.detections(IMAGE, {**FOUND, "keypoints": points}, NAMES,
                                skeleton=((0, 1), (1, 2))).axes
        lines = [len(one.get_xdata()) for one in axes.lines]
        assert lines == [2, 1, 1] * 2

    def test_knows_the_skeleton_of_the_figure(self):
        points = np.ones((1, 7, 3), np.float32)
        found = {"boxes": FOUND["boxes"][:1], "labels": np.zeros(1, int), "keypoints": points}
        axes, = draw.detections(IMAGE, found).axes
        assert sum(len(one.get_xdata()) == 2 for one in axes.lines) == 6


class TestDetectionRows:
    TARGETS = [{"boxes": FOUND["boxes"][:2], "labels": np.array([0, 2]),
                "masks": np.ones((2, 40, 60), bool)},
               {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, int)}]

    def test_truth_above_answers_below_and_a_legend(self):
        empty = {key: value[:0] for key, value in FOUND.items()}
        figure = draw.detection_rows([IMAGE, IMAGE], self.TARGETS, [FOUND, empty], NAMES)
        assert [texts(axes) for axes in figure.axes] == [["truth"], [], ["0.90", "0.75", "found"],
                                                         []]
        assert [len(outlines(axes)) for axes in figure.axes] == [2, 0, 2, 0]
        assert [t.get_text() for t in figure.legends[0].get_texts()] == list(NAMES)
        assert len(figure.axes[0].images) == 1               # masks were not asked of the detector

    def test_masks_of_the_truth_where_the_answers_have_them(self):
        found = {**FOUND, "masks": np.ones((3, 40, 60), bool)}
        figure = draw.detection_rows([IMAGE], self.TARGETS[:1], [found], NAMES)
        assert len(figure.axes[0].images) == 3

    def test_more_classes_than_colours_are_written(self):
        names = [f"n{k}" for k in range(len(COLOURS) + 1)]
        figure = draw.detection_rows([IMAGE], self.TARGETS[:1], [FOUND], names)
        assert texts(figure.axes[0]) == ["n0", "n2", "truth"] and not figure.legends
        assert texts(figure.axes[1])[0] == "n0 0.90"

    def test_refuses_what_does_not_fit(self):
        with pytest.raises(ValueError, match="got 1 images, 2 targets and 1 answers"):
            draw.detection_rows([IMAGE], self.TARGETS, [FOUND], NAMES)
        with pytest.raises(ValueError, match="got 0 images"):
            draw.detection_rows([], [], [])
