"""The picture of the lecture on regions: its numbers, by hand, and that it can be drawn."""
import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib", reason="pictures need matplotlib")
from tinyvision import draw, ops                             # noqa: E402
from tinyvision.draw.lecture_regions import edges_off        # noqa: E402

BOX = np.array([[10.0, 8.0, 42.0, 40.0]], np.float32)        # at stride 8: x 1.25-5.25, y 1-5


class TestEdgesOff:
    def test_one_bin_by_hand(self):
        # x: from round(1.25) = 1 to round(5.25) + 1 = 6 cells, so 2 pixels too early, 6 too late
        off = edges_off(BOX, 1, 8)
        assert off.tolist() == [[[0.0, 8.0], [-2.0, 6.0]]]

    def test_two_bins_by_hand(self):
        # y: 5 cells from 1 on, [1, 4) and [3, 6); should be [1, 3) and [3, 5)
        assert edges_off(BOX, 2, 8)[0, :2].tolist() == [[0.0, 8.0], [0.0, 8.0]]

    def test_roi_align_is_half_a_cell_off_or_not_at_all(self):
        assert (edges_off(BOX, 3, 8, "align") == 4.0).all()
        assert (edges_off(BOX, 3, 8, "aligned") == 0.0).all()

    def test_pool_reads_what_the_edges_say(self):
        x = np.random.default_rng(0).random((1, 1, 9, 9), np.float32)
        off = edges_off(BOX, 1, 8)[0] / 8
        top, bottom = (off[0] + (1, 5)).astype(int)
        left, right = (off[1] + (1.25, 5.25)).astype(int)
        roi = np.array([[0, *BOX[0]]], np.float32)
        assert ops.roi_pool(x, roi, 1, 1 / 8).item() == x[0, 0, top:bottom, left:right].max()

    def test_another_way_is_refused(self):
        with pytest.raises(ValueError, match="how is 'crop'"):
            edges_off(BOX, 2, 8, "crop")


class TestEdgeErrors:
    def test_panels_and_means(self):
        boxes = np.random.default_rng(0).uniform(0, 30, (40, 4)).astype(np.float32)
        boxes[:, 2:] += boxes[:, :2]
        figure = draw.edge_errors(boxes, (4, 16), 5)
        titles = [axes.get_title(loc="left") for axes in figure.axes]
        wanted = [np.abs(edges_off(boxes, 5, stride)).mean() for stride in (4, 16)]
        assert titles == [f"stride {s}: {w:.1f} pixels off on average"
                          for s, w in zip((4, 16), wanted)]
        assert figure._repr_png_().startswith(b"\x89PNG")

    def test_nothing_off_is_drawn(self):
        draw.edge_errors(np.array([[0.0, 0.0, 12.0, 12.0]]), (4,), 1)._repr_png_()
