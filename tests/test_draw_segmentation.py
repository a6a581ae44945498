"""Pictures of the lecture on segmentation: what stands in them is computed."""
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib")

from matplotlib.patches import Rectangle  # noqa: E402

from tinyvision import draw, models, nn  # noqa: E402
from tinyvision.draw.palette import ACCENT, category, rgb  # noqa: E402

RNG = np.random.default_rng(0)
IMAGES = RNG.random((2, 3, 12, 16), np.float32)
MASKS = RNG.integers(-1, 3, (2, 12, 16))


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def shown(axes):
    picture, = axes.get_images()
    return np.asarray(picture.get_array())


class TestLabelGrids:
    TRUTH = np.array([[0, 1, 2], [0, -1, 2]])
    PREDICTED = np.array([[0, 1, 1], [1, 1, 2]])

    def test_writes_every_label_and_frames_what_differs_where_it_counts(self):
        figure = draw.label_grids([self.TRUTH, self.PREDICTED], ["truth", "said"],
                                  ["ground", "circle"])
        words = texts(figure)
        assert words[:6] == ["0", "1", "2", "0", "-1", "2"] and words[6] == "truth"
        assert words[7:13] == ["0", "1", "1", "1", "1", "2"] and words[13] == "said"
        assert words[14:] == ["-1", "ignored", "0", "ground", "1", "circle", "2", "class 2"]
        frames = [p for p in figure.axes[0].patches if not p.get_fill()]
        assert {(p.get_x() - 4.4, p.get_y()) for p in frames} == {(2, 0), (0, 1)}

    def test_refuses_maps_of_two_sizes(self):
        with pytest.raises(ValueError, match=r"map 1 has shape \(1, 3\), the first one \(2, 3\)"):
            draw.label_grids([self.TRUTH, self.PREDICTED[:1]])


class TestContexts:
    def test_cuts_the_windows_that_it_frames(self):
        figure = draw.contexts(IMAGES[0], (5, 9), [1, 4])
        frames = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
        assert [(p.get_x(), p.get_y(), p.get_width()) for p in frames] == [(8.5, 4.5, 1),
                                                                          (6.5, 2.5, 4)]
        whole = IMAGES[0].transpose(1, 2, 0)
        assert np.allclose(shown(figure.axes[1]), whole[5:6, 9:10])
        assert np.allclose(shown(figure.axes[2]), whole[3:7, 7:11])

    def test_repeats_the_edge(self):
        patch = shown(draw.contexts(IMAGES[0, 0], (0, 15), [6]).axes[1])
        assert patch.shape == (6, 6) and np.allclose(patch[:4, 3:], IMAGES[0, 0, 0, 15])

    def test_refuses_a_pixel_outside(self):
        with pytest.raises(ValueError, match=r"pixel \(12, 0\) is not in the image, 12 x 16"):
            draw.contexts(IMAGES[0], (12, 0), [3])


class TestMapRows:
    def test_has_a_row_for_every_map(self):
        figure = draw.map_rows(IMAGES, {"truth": MASKS, "none": 0 * MASKS}, ["a", "b"])
        assert texts(figure) == ["image", "truth", "none"] and len(figure.axes) == 6
        picture = shown(figure.axes[3])
        for k in (1, 2):
            assert np.allclose(picture[MASKS[1] == k], rgb(category(k - 1)))
        assert np.ptp(shown(figure.axes[4])) == 0
        assert [t.get_text() for t in figure.legends[0].get_texts()] == ["a", "b"]

    def test_refuses_another_size(self):
        with pytest.raises(ValueError, match=r"'x' has shape \(1, 12, 16\), expected \(2, "):
            draw.map_rows(IMAGES, {"x": MASKS[:1]})


class TestMistakes:
    def test_marks_exactly_what_is_wrong_and_judged(self):
        predicted = RNG.integers(0, 3, MASKS.shape)
        figure = draw.mistakes(IMAGES, MASKS, {"net": predicted})
        assert texts(figure) == ["image", "net, wrong"]
        for k in (0, 1):
            marked = np.isclose(shown(figure.axes[2 + k]), rgb(ACCENT)).all(2)
            assert (marked == ((predicted[k] != MASKS[k]) & (MASKS[k] >= 0))).all()

    def test_refuses_another_size(self):
        with pytest.raises(ValueError, match=r"'net' has shape \(2, 12\), expected that"):
            draw.mistakes(IMAGES, MASKS, {"net": MASKS[..., 0]})


class TestUShape:
    def test_says_the_papers_sizes(self):
        with nn.init.skip_init():
            words = texts(draw.u_shape(models.unet(), (1, 1, 572, 572)))
        stages = ["64 x 568²", "64 x 388²", "128 x 280²", "128 x 196²", "256 x 136²",
                  "256 x 100²", "512 x 64²", "512 x 52²", "1024 x 28²"]
        assert words[:9] == stages
        assert words[9:13] == [f"copy, cropped to {n}²" for n in (392, 200, 104, 56)]
        assert words[13:15] == ["image\n1 x 572²", "scores\n2 x 388²"]

    def test_of_the_small_one_nothing_is_cropped(self):
        words = texts(draw.u_shape(models.tiny_unet(4), (1, 3, 20, 28)))
        assert words.count("copy") == 2 and "scores\n4 x 20 x 28" in words
        assert "64 x 5 x 7" in words

    def test_refuses_another_network(self):
        with pytest.raises(ValueError, match="expected a models.UNet, got a Sequential"):
            draw.u_shape(nn.Sequential(nn.Conv2d(3, 4, 3)), (1, 3, 8, 8))
