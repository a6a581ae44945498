"""Pictures of trainings and of maps of classes: what they say, read off the figures."""
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib")

from tinyvision import draw  # noqa: E402
from tinyvision.data import shapes  # noqa: E402
from tinyvision.draw.progress import smoothed  # noqa: E402
from tinyvision.train import History  # noqa: E402


def history(steps=20, **metrics):
    made = History(metrics=metrics)
    for t in range(steps):
        made.add({"loss": 2 - t / 20, "a": 1.0, "b": 1 - t / 20}, 0.1)
    return made


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_training_shows_losses_and_metrics():
    figure = draw.training(history(mean_iou=[0.2, 0.55]), "title", {"mean_iou": 0.8})
    losses, metrics = figure.axes
    assert legend(losses) == ["loss", "a", "b"]
    assert legend(metrics) == ["mean IoU 0.550", "mean IoU to reach, 0.8"]
    np.testing.assert_allclose(losses.lines[0].get_ydata(), 2 - np.arange(20) / 20)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert len(draw.training(history()).axes) == 1


def test_a_sum_of_one_loss_is_not_shown_twice_and_nothing_is_drawn_of_nothing():
    one = History()
    one.add({"loss": 1.0, "a": 1.0}, 0.1)
    assert len(draw.training(one).axes[0].lines) == 2
    draw.training(History())._repr_png_()


def test_smoothed_is_the_mean_around():
    np.testing.assert_allclose(smoothed([1, 2, 6, 2, 1], 3), [1.5, 3, 10 / 3, 3, 1.5])
    np.testing.assert_allclose(smoothed([1, np.nan, 3], 3), [1, 2, 3])
    assert smoothed([]).shape == (0,)


def test_confusion_writes_percent():
    figure = draw.confusion([[9, 1, 0], [0, 200, 1], [0, 0, 0]], ["a", "b", "c"])
    assert [t.get_text() for t in figure.axes[0].texts] == ["90", "10", "", "", "100", "0.5",
                                                            "", "", ""]
    with pytest.raises(ValueError, match=r"square matrix, got shape \(2, 3\)"):
        draw.confusion(np.zeros((2, 3)))


def test_scores_say_what_does_not_occur():
    figure = draw.scores({"IoU": [0.5, np.nan], "Dice": [2 / 3, np.nan]}, ["a", "b"])
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words == ["0.50", "does not occur", "0.67", "does not occur"]


def test_label_grid_has_numbers_and_a_legend():
    figure = draw.label_grid([[0, 1], [-1, 1]], ["background", "circle"])
    assert [text.get_text() for text in figure.axes[0].texts] == [
        "0", "1", "-1", "1", "-1", "ignored", "0", "background", "1", "circle"]


def test_overlays_leave_the_background_and_refuse_other_sizes():
    scenes = shapes(3, 32)
    figure = draw.overlays(scenes.images, scenes.masks, scenes.names)
    shown = figure.axes[0].images[0].get_array()
    ground = scenes.masks[0] == 0
    image = scenes.images[0].transpose(1, 2, 0)
    np.testing.assert_allclose(shown[ground], image[ground], atol=1e-6)
    assert np.abs(shown - image)[~ground].mean() > 0.1
    with pytest.raises(ValueError, match=r"masks have shape \(3, 16, 32\), expected \(3, 32, 32\)"):
        draw.overlays(scenes.images, scenes.masks[:, ::2])


def test_histogram_counts_shares():
    figure = draw.histogram([0, 0, 0, 2, -1], ["background", "a", "b"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["75 %", "0 %", "25 %"]


def test_rows_of_images_lie_below_each_other_with_their_names():
    images = np.random.default_rng(0).random((2, 3, 8, 8))
    figure = draw.image_rows({"before": images, "after": images[:, :1]})
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["before", "after"]
    shown = [axes.images[0].get_array().shape for axes in figure.axes]
    assert shown == [(8, 8, 3), (8, 8, 3), (8, 8), (8, 8)]
    with pytest.raises(ValueError, match=r"rows have \[1, 2\] images; expected one number"):
        draw.image_rows({"before": images, "after": images[:1]})
