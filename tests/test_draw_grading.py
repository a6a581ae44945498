"""Pictures of marks and of rounding errors: what they say, read off the figures."""
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib")

from tinyvision import draw  # noqa: E402


def record(score, *found, points=10):
    return {"score": score, "points": points,
            "diagnoses": [{"function": f, "name": name} for f, name in found]}


def test_marks_are_counted_by_their_share_and_mistakes_by_how_often():
    records = [record(10), record(5, points=5), record(2.5, ("conv2d", "kernel-flipped")),
               record(0, ("conv2d", "kernel-flipped"), ("nms", "")), record(None)]
    left, right = draw.marks(records).axes
    assert [bar.get_height() for bar in left.patches] == [1, 0, 1, 0, 0, 0, 0, 0, 0, 2]
    assert [bar.get_width() for bar in right.patches] == [2]
    assert [text.get_text() for text in right.get_yticklabels()] == ["conv2d: kernel flipped"]


def test_a_class_without_mistakes_has_a_picture():
    assert draw.marks([record(10)])._repr_png_().startswith(b"\x89PNG")
    assert draw.marks([])._repr_png_().startswith(b"\x89PNG")


def test_rounding_shows_every_error_the_bound_and_what_is_wrong():
    errors = np.array([0.0, 1e-7, 3e-7, 3e-7])
    axes, = draw.rounding(errors, 1e-6, {"a dropped term": 0.1}).axes
    assert sum(bar.get_height() for bar in axes.patches) == 4
    assert [line.get_xdata()[0] for line in axes.lines] == [1e-6, 0.1]
    words = [text.get_text().strip() for text in axes.texts]
    assert words == ["bound", "a dropped term"] and axes.get_xscale() == "log"
