"""SegNet: its idea is in the code, its shapes are those of the comments, it learns."""
import numpy as np
import pytest

import tinyvision as tv
from tinyvision import data, metrics, models, tour


def test_scores_have_the_images_size_also_odd_ones():
    model = models.tiny_segnet(5)
    for size in ((64, 64), (37, 50)):
        scores = model(tv.Tensor(np.zeros((2, 3, *size), "f4")))
        assert scores.shape == (2, 5, *size)


def test_the_decoder_puts_values_where_the_encoder_found_them(monkeypatch):
    remembered, used = [], []
    pool, unpool = tv.ops.max_pool2d, tv.ops.max_unpool2d

    def watch_pool(*a, **k):
        y, switches = pool(*a, **k)
        remembered.append(switches)
        return y, switches

    def watch_unpool(x, switches, *a, **k):
        used.append(switches)
        return unpool(x, switches, *a, **k)
    monkeypatch.setattr(tv.ops, "max_pool2d", watch_pool)
    monkeypatch.setattr(tv.ops, "max_unpool2d", watch_unpool)
    model = models.tiny_segnet()
    model(tv.Tensor(np.random.default_rng(0).random((1, 3, 32, 32), np.float32)))
    assert len(used) == model.depth
    assert all(a is b for a, b in zip(used, reversed(remembered)))


def test_every_parameter_gets_a_gradient():
    model, scenes = models.tiny_segnet(6), data.shapes(4, size=32)
    loss = model.loss(tv.Tensor(scenes.images), scenes.masks)["cross_entropy"]
    loss.backward()
    assert all(p.grad is not None and np.abs(p.grad.numpy()).max() > 0
               for name, p in model.named_parameters())


def test_a_few_steps_lower_the_loss_and_repeat_exactly():
    scenes, runs = data.shapes(16, size=32), []
    for _ in range(2):
        tv.manual_seed(0)
        runs.append(tour.train_segmenter(models.tiny_segnet(6), scenes, epochs=15, batch=8,
                                         lr=5e-3))
    assert runs[0] == runs[1]
    assert np.mean(runs[0][-3:]) < 0.75 * np.mean(runs[0][:3])


@pytest.mark.slow
def test_it_learns_to_segment_held_out_scenes():
    assert tour._learn()["iou"] > 0.5


def test_mean_iou_by_hand():
    truth, answer = np.array([[0, 0, 1], [1, 2, -1]]), np.array([[0, 1, 1], [1, 2, 2]])
    assert metrics.mean_iou(truth, answer, 4) == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    assert np.isnan(metrics.mean_iou(np.array([-1]), np.array([0]), 2))


@pytest.mark.parametrize("truth, answer, words", [
    (np.zeros((2, 3), int), np.zeros((3, 2), int), "shape"),
    (np.array([0, 5]), np.array([0, 0]), "labels go from 0 to 5, expected 0 to 2")])
def test_confusion_matrix_refuses(truth, answer, words):
    with pytest.raises(ValueError, match=words):
        metrics.confusion_matrix(truth, answer, 3)
