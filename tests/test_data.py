from dataclasses import replace

import numpy as np
import pytest

from tinyvision.data import CLASSES, describe, render, shapes
from tinyvision.data.outlines import OUTLINES
from tinyvision.data.shapes import Scene, Shape
from tinyvision.data.shapes_ground import plain

PLAIN = plain((0.9, 0.9, 0.9))
DIFFICULTIES = ("easy", "medium", "hard")


def same(a, b):
    return (np.array_equal(a.images, b.images) and np.array_equal(a.masks, b.masks)
            and all(map(np.array_equal, a.labels, b.labels))
            and all(map(np.array_equal, a.boxes, b.boxes)))


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_same_seed_gives_the_same_scenes_and_another_seed_others(difficulty):
    scenes = shapes(6, seed=3, difficulty=difficulty)
    assert same(scenes, shapes(6, seed=3, difficulty=difficulty))
    assert not same(scenes, shapes(6, seed=4, difficulty=difficulty))


def test_a_subset_is_the_same_as_the_part_of_the_whole():
    whole, part = shapes(20, seed=5), shapes(4, seed=5, start=16)
    np.testing.assert_array_equal(whole.images[16:], part.images)
    np.testing.assert_array_equal(whole.masks[16:], part.masks)
    np.testing.assert_array_equal(render(describe(5, 7))[0], whole.images[7])


def test_scenes_do_not_touch_the_global_random_state():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    shapes(2)
    np.testing.assert_array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_shapes_and_types(difficulty):
    scenes = shapes(5, size=48, difficulty=difficulty)
    assert scenes.images.shape == (5, 3, 48, 48) and scenes.images.dtype == np.float32
    assert 0 <= scenes.images.min() and scenes.images.max() <= 1
    assert scenes.masks.shape == (5, 48, 48) and scenes.masks.dtype == np.int64
    assert len(scenes) == 5 and len(scenes.names) == 5
    for labels, boxes in zip(scenes.labels, scenes.boxes):
        assert labels.dtype == np.int64 and boxes.dtype == np.float32
        assert boxes.shape == (len(labels), 4) and len(labels) > 0


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_a_box_is_the_tight_extent_of_the_visible_object(difficulty):
    scenes = shapes(40, seed=1, difficulty=difficulty)
    for scene, mask, labels, boxes in zip(scenes.scenes, scenes.masks, scenes.labels,
                                          scenes.boxes):
        visible = render(scene)[1]
        np.testing.assert_array_equal(visible > 0, mask > 0)
        for k, (label, box) in enumerate(zip(labels, boxes.astype(int))):
            x0, y0, x1, y1 = box
            own = visible == k + 1
            assert (mask[own] == label + 1).all()
            assert own.sum() == own[y0:y1, x0:x1].sum() > 0
            edges = own[y0, :], own[y1 - 1, :], own[:, x0], own[:, x1 - 1]
            assert all(edge.any() for edge in edges)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_no_object_is_hidden_by_the_others(difficulty):
    for scene in shapes(60, seed=2, difficulty=difficulty).scenes:
        visible = render(scene)[1]
        for k, shape in enumerate(scene.objects):
            alone = render(replace(scene, objects=(shape,)))[1]
            assert (visible == k + 1).sum() >= 0.5 * (alone == 1).sum()


def test_harder_scenes_hold_more_smaller_and_less_contrasting_objects():
    levels = [shapes(80, difficulty=d) for d in DIFFICULTIES]
    count = [np.mean([len(labels) for labels in s.labels]) for s in levels]
    radius = [np.mean([o.radius for scene in s.scenes for o in scene.objects]) for s in levels]
    noise = [np.abs(np.diff(s.images, axis=3)).mean() for s in levels]
    assert count == sorted(count) and noise == sorted(noise)
    assert radius == sorted(radius, reverse=True)
    assert all(o.angle == 0 for scene in levels[0].scenes for o in scene.objects)


def test_classes_are_balanced():
    counts = np.bincount(np.concatenate(shapes(600).labels))
    assert len(counts) == 5 and counts.min() > 0.8 * counts.max()


def test_classes_are_the_callers_choice_and_order():
    scenes = shapes(30, classes=("ring", "bar"))
    assert scenes.names == ("ring", "bar")
    assert {o.name for s in scenes.scenes for o in s.objects if o.label == 0} == {"ring"}


@pytest.mark.parametrize("name", CLASSES)
def test_an_outline_fits_the_unit_circle_and_its_window(name):
    v, u = np.mgrid[-2:2:401j, -2:2:401j]
    inside = OUTLINES[name](u, v) <= 0
    assert np.hypot(u, v)[inside].max() <= 1.02
    assert 0.3 < inside.sum() * 0.01 ** 2 < np.pi


@pytest.mark.parametrize("name", CLASSES)
def test_a_turned_outline_is_the_outline_of_the_turned_picture(name):
    upright, turned = (render(Scene(64, PLAIN, (
        Shape(0, name, (32, 32), 25, angle, (0, 0, 0), 0),)))[0] for angle in (0, np.pi / 2))
    # A quarter turn clockwise; pixels exactly on the border may fall on either side.
    assert np.abs(np.rot90(upright, -1, axes=(1, 2)) - turned).mean() < 0.01


def test_the_larger_order_lies_in_front():
    back = Shape(0, "circle", (30, 32), 15, 0, (1, 0, 0), 1)
    front = Shape(1, "circle", (34, 32), 15, 0, (0, 0, 1), 2)
    image, visible = render(Scene(64, PLAIN, (front, back)))
    assert visible[32, 32] == 1
    np.testing.assert_allclose(image[:, 32, 32], (0, 0, 1), atol=1e-6)


def test_no_scenes_are_scenes_too():
    scenes = shapes(0)
    assert scenes.images.shape == (0, 3, 64, 64) and scenes.masks.shape == (0, 64, 64)


@pytest.mark.parametrize("wrong, words", [
    (dict(n=-1), "n is the number of scenes, an integer of at least 0; got -1"),
    (dict(n=2.5), "got 2.5"),
    (dict(n=1, difficulty="brutal"), "easy, medium, hard; got 'brutal'"),
    (dict(n=1, size=8), "at least 16 pixels; got 8"),
    (dict(n=1, seed=-1), "at least 0; got -1"),
    (dict(n=1, classes=("circle", "cat")), "got ('circle', 'cat')"),
    (dict(n=1, classes="circle"), "got 'circle'"),
    (dict(n=1, classes=()), "got ()"),
])
def test_errors_say_what_came_and_what_was_expected(wrong, words):
    with pytest.raises(ValueError) as error:
        shapes(**wrong)
    assert words in str(error.value)
