"""Pictures of the lecture on boxes: what stands in them is computed."""
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib")

from matplotlib.colors import to_hex  # noqa: E402

from tinyvision import models, nn  # noqa: E402
from tinyvision.draw import lecture_boxes  # noqa: E402
from tinyvision.draw.palette import ACCENT, COLOURS, INK, tint  # noqa: E402


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


class TestOverlaps:
    def test_fills_the_cells_of_both_and_writes_the_fraction(self):
        figure = lecture_boxes.overlaps([((0, 0, 4, 3), (2, 1, 5, 7))], ["two"])
        fills = [tuple(p.get_facecolor()[:3]) for p in figure.axes[0].patches if p.get_fill()]
        first, second = (tint(c, 0.3) for c in COLOURS[:2])
        shared = tint(COLOURS[2], 0.6)
        counts = [sum(np.allclose(fill, colour) for fill in fills)
                  for colour in (first, second, shared)]
        assert counts == [12 - 4, 18 - 4, 4]
        assert [word for word in texts(figure) if word] == ["two", "4/26 = 2/13 = 0.15"]

    def test_frames_both_boxes_where_they_lie(self):
        figure = lecture_boxes.overlaps([((5, 5, 15, 25), (10, 5, 25, 25))])
        frames = [p.get_bbox().bounds for p in figure.axes[0].patches if not p.get_fill()]
        assert frames == [(0, 0, 10, 20), (5, 0, 15, 20)]

    def test_says_what_does_not_meet(self):
        words = texts(lecture_boxes.overlaps([((0, 0, 2, 2), (2, 0, 4, 2))]))
        assert [word for word in words if word] == ["0/8 = 0"]

    @pytest.mark.parametrize("box", [(0, 0, 1.5, 2), (0, 0, 0, 2)])
    def test_refuses_what_cannot_be_counted(self, box):
        with pytest.raises(ValueError, match="pair 1 is .*, expected two boxes .* whole numbers"):
            lecture_boxes.overlaps([((0, 0, 2, 2), (0, 0, 2, 2)), ((0, 0, 2, 2), box)])


class TestPyramid:
    def test_has_the_size_of_every_map_and_of_every_answer(self):
        with nn.init.skip_init():
            words = texts(lecture_boxes.pyramid(models.tiny_retinanet(), (1, 3, 64, 64)))
        for expected in ("image\n3 x 64²", "32 x 16²", "64 x 8²", "128 x 4²", "64 x 16²",
                         "64 x 4²", "scores 45 x 16²\ncodes 36 x 16²",
                         "scores 45 x 4²\ncodes 36 x 4²"):
            assert expected in words
        assert words.count("64 x 8²") == 2 and words.count("twice as large, add") == 2

    def test_has_the_maps_that_the_trunk_lacks(self):
        with nn.init.skip_init():
            words = texts(lecture_boxes.pyramid(models.retinanet_resnet50_fpn(), (1, 3, 320, 320)))
        assert words.count("conv, stride 2") == 2 and words.count("conv 1x1") == 3
        assert "scores 819 x 3²\ncodes 36 x 3²" in words and "256 x 3²" in words

    def test_refuses_another_network(self):
        with pytest.raises(ValueError, match="expected a models.RetinaNet, got a Linear"):
            lecture_boxes.pyramid(nn.Linear(3, 2), (1, 3))


class TestMistakes:
    TRUE = {"boxes": np.array([(0, 0, 8, 8), (16, 16, 28, 28)], np.float32),
            "labels": np.array([0, 1])}
    FOUND = {"boxes": np.array([(0, 0, 8, 7), (1, 0, 9, 8), (20, 0, 30, 8), (0, 20, 9, 30)],
                               np.float32),
             "labels": np.array([0, 0, 1, 1]), "scores": np.array([0.9, 0.8, 0.7, 0.3])}

    def test_names_what_is_wrong_and_what_was_missed(self):
        figure = lecture_boxes.mistakes_of_boxes([np.ones((3, 32, 32))], [self.TRUE], [self.FOUND],
                                                 ("circle", "square"))
        # a label of two lines is two texts
        assert texts(figure) == ["circle 0.90", "circle 0.80", "twice", "square 0.70",
                                 "nothing there", "missed"]
        frames = [p for p in figure.axes[0].patches if not p.get_fill()]
        lines = [(to_hex(p.get_edgecolor()), p.get_linewidth()) for p in frames]
        assert lines == [(INK, 0.8), (INK, 1.8), (COLOURS[0], 1.6), (ACCENT, 1.6), (ACCENT, 1.6)]
