"""Generated scenes: pictures, boxes, masks, keypoints, attributes, difficulty, determinism."""
import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from tinyvision.data import CLASSES, LEVELS, SPLITS, describe, one_shape, render, shapes
from tinyvision.data.outlines import LANDMARKS, OUTLINES, figure, limbs
from tinyvision.data.shapes import Scene, Shape
from tinyvision.data.shapes_colours import COLOURS, JITTER
from tinyvision.data.shapes_factors import FACTORS, random_codes, sprites
from tinyvision.data.shapes_ground import BELOW, STUFF, bands, plain, render_ground
from tinyvision.data.shapes_render import footprint

PLAIN = plain((0.9, 0.9, 0.9))
DIFFICULTIES = ("easy", "medium", "hard")
EVERYTHING = (*CLASSES, "figure")


def same(a, b):
    return (np.array_equal(a.images, b.images) and np.array_equal(a.masks, b.masks)
            and np.array_equal(a.instances, b.instances)
            and all(map(np.array_equal, a.labels, b.labels))
            and all(map(np.array_equal, a.boxes, b.boxes)))


def quiet(scene):
    """The scene without pixel noise."""
    return replace(scene, ground=replace(scene.ground, noise=0))


# Determinism

@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_same_seed_gives_the_same_scenes_and_another_seed_others(difficulty):
    scenes = shapes(6, seed=3, difficulty=difficulty)
    assert same(scenes, shapes(6, seed=3, difficulty=difficulty))
    assert not same(scenes, shapes(6, seed=4, difficulty=difficulty))


def test_a_subset_is_the_same_as_the_part_of_the_whole():
    whole, part = shapes(20, seed=5), shapes(4, seed=5, start=16)
    assert same(whole[16:], part)
    assert whole.captions[16:] == part.captions and whole.questions[16:] == part.questions
    np.testing.assert_array_equal(render(describe(5, 7))[0], whole.images[7])


def test_scenes_do_not_depend_on_threads_or_on_the_process():
    wanted = digest(shapes(12, seed=9, difficulty="hard"))
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda k: shapes(3, seed=9, difficulty="hard", start=3 * k),
                              range(4)))
    assert digest(*parts) == wanted
    code = ("import sys; sys.path.insert(0, 'tests'); from test_data import digest, shapes; "
            "print(digest(shapes(12, seed=9, difficulty='hard')))")
    for hashes in ("1", "2"):         # the order of Python's sets differs from process to process
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                               env={"PYTHONHASHSEED": hashes, "OMP_NUM_THREADS": "1"})
        assert found.stdout.strip() == wanted, found.stderr


def digest(*many):
    """A hash of pictures, boxes and words."""
    total = hashlib.sha256()
    for part in ("images", "instances", "masks"):
        total.update(np.concatenate([getattr(s, part) for s in many]).tobytes())
    words = [[list(getattr(s, name)) for s in many] for name in (
        "captions", "questions", "relations", "regions", "attributes")]
    total.update(repr([sum(parts, []) for parts in words]).encode())
    return total.hexdigest()


def test_scenes_do_not_touch_the_global_random_state():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    shapes(2).captions
    np.testing.assert_array_equal(before, np.random.get_state()[1])


def test_splits_have_different_scenes():
    seeds = [split["seed"] for split in SPLITS.values()]
    assert len(set(seeds)) == len(seeds) == 3
    assert [split["n"] for split in SPLITS.values()] == [2000, 500, 500]


# Pictures, boxes, masks

@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_shapes_and_types(difficulty):
    scenes = shapes(5, size=48, difficulty=difficulty)
    assert scenes.images.shape == (5, 3, 48, 48) and scenes.images.dtype == np.float32
    assert 0 <= scenes.images.min() and scenes.images.max() <= 1
    assert scenes.masks.shape == (5, 48, 48) and scenes.masks.dtype == np.int64
    assert scenes.instances.shape == (5, 48, 48) and scenes.instances.dtype == np.uint8
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
def test_the_picture_has_an_objects_colour_where_its_mask_is(difficulty):
    for scene in shapes(20, seed=6, difficulty=difficulty).scenes:
        image, visible = render(quiet(scene))
        for k, shape in enumerate(scene.objects):
            own = np.abs(image[:, visible == k + 1] - np.float32(shape.colour)[:, None]).max(0)
            assert np.median(own) < 1e-6 and (own < 0.02).mean() > 0.5
        empty = np.clip(render_ground(scene.ground, scene.size), 0, 1)
        changed = np.abs(image - empty).max(0) > 0.06
        nobody = ~np.any([footprint(replace(s, radius=s.radius + 1.5), scene.size)
                          for s in scene.objects], 0)
        assert not (changed & nobody).any()


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_no_object_is_hidden_by_the_others(difficulty):
    for scene in shapes(60, seed=2, difficulty=difficulty, classes=EVERYTHING).scenes:
        visible = render(scene)[1]
        for k, shape in enumerate(scene.objects):
            alone = render(replace(scene, objects=(shape,)))[1]
            assert (visible == k + 1).sum() >= 0.4 * (alone == 1).sum() > 0


def test_the_larger_order_lies_in_front():
    back = Shape(0, "circle", (30, 32), 15, 0, (1, 0, 0), 1)
    front = Shape(1, "circle", (34, 32), 15, 0, (0, 0, 1), 2)
    image, visible = render(Scene(64, PLAIN, (front, back)))
    assert visible[32, 32] == 1
    np.testing.assert_allclose(image[:, 32, 32], (0, 0, 1), atol=1e-6)


def test_a_shape_outside_the_picture_leaves_it_empty():
    away = Shape(0, "star", (-40, 90), 10, 0, (1, 0, 0), 0)
    image, visible = render(Scene(64, PLAIN, (away,)))
    assert not visible.any() and np.ptp(image) < 1e-6


# Difficulty

def test_harder_scenes_hold_more_smaller_and_less_contrasting_objects():
    levels = [shapes(80, difficulty=d) for d in DIFFICULTIES]
    count = [np.mean([len(labels) for labels in s.labels]) for s in levels]
    radius = [np.mean([o.radius for scene in s.scenes for o in scene.objects]) for s in levels]
    noise = [np.abs(np.diff(s.images, axis=3)).mean() for s in levels]
    hidden = [np.mean([t.hidden for one in s.attributes for t in one]) for s in levels]
    cut = [np.mean([t.cut for one in s.attributes for t in one]) for s in levels]
    assert count == sorted(count) and noise == sorted(noise) and hidden == sorted(hidden)
    assert radius == sorted(radius, reverse=True)
    assert hidden[0] == cut[0] == 0 and cut[1] < 0.01 < 0.1 < cut[2]
    assert all(o.angle == 0 for scene in levels[0].scenes for o in scene.objects)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_a_scene_keeps_what_its_level_says(difficulty):
    level, scenes = LEVELS[difficulty], shapes(80, difficulty=difficulty).scenes
    for scene in scenes:
        assert level.objects[0] <= len(scene.objects) <= level.objects[1]
        assert level.bands[0] <= len(scene.ground.stuff) <= level.bands[1]
        assert scene.ground.texture == level.texture and scene.ground.noise == level.noise
        for name, colour in zip(scene.ground.stuff, scene.ground.colours):
            assert np.abs(np.subtract(colour, STUFF[name])).max() <= level.tint
        for shape in scene.objects:
            gaps = np.linalg.norm(np.subtract(shape.colour, scene.ground.colours), axis=1)
            assert gaps.min() >= level.contrast - 3 ** 0.5 * JITTER
            assert abs(shape.angle) <= level.turn and shape.radius <= level.radius[1] * 64
    counts = [len(scene.objects) for scene in scenes]
    assert {min(counts), max(counts)} >= {level.objects[0]}
    assert np.mean([len(s.objects) for s in scenes]) >= 0.85 * np.mean(level.objects)


def test_a_scene_may_have_no_objects():
    none = shapes(3, difficulty=replace(LEVELS["easy"], objects=(0, 0)))
    assert [len(labels) for labels in none.labels] == [0, 0, 0]
    assert none.caption == ["nothing"] * 3
    image, target = none[1]
    assert target["boxes"].shape == (0, 4) and target["masks"].shape == (0, *image.shape[1:])
    assert not target["semantic"].any()


def test_a_level_of_your_own_and_exactly_three_objects():
    three = replace(LEVELS["hard"], objects=(3, 3))
    assert {len(labels) for labels in shapes(60, difficulty=three).labels} == {3}
    crowded = replace(LEVELS["easy"], objects=(9, 9), radius=(0.2, 0.24))
    assert {len(labels) for labels in shapes(5, difficulty=crowded).labels} == {9}


def test_classes_are_balanced():
    counts = np.bincount(np.concatenate(shapes(600).labels))
    assert len(counts) == 5 and counts.min() > 0.8 * counts.max()


def test_every_colour_and_every_stuff_occurs():
    scenes = shapes(300)
    colours = [thing.colour for one in scenes.attributes for thing in one]
    assert min(map(colours.count, COLOURS)) > 0.3 * len(colours) / len(COLOURS)
    stuff = [name for scene in scenes.scenes for name in scene.ground.stuff]
    assert min(map(stuff.count, STUFF)) > 50 and set(stuff) == set(STUFF)


def test_classes_are_the_callers_choice_and_order():
    scenes = shapes(30, classes=("ring", "bar"))
    assert scenes.names == ("ring", "bar")
    assert {o.name for s in scenes.scenes for o in s.objects if o.label == 0} == {"ring"}


def test_one_shape_is_one_large_shape_that_no_neighbour_in_pixels_gives_away():
    train, held_out = one_shape(500), one_shape(200, seed=1)
    assert {len(labels) for labels in train.labels} == {1} and train.names == CLASSES
    assert train.images.shape == (500, 3, 32, 32)
    x, y = (s.images.reshape(len(s), -1) for s in (train, held_out))
    nearest = ((y ** 2).sum(1)[:, None] + (x ** 2).sum(1) - 2 * y @ x.T).argmin(1)
    truth, labels = (np.concatenate(s.labels) for s in (held_out, train))
    assert (labels[nearest] == truth).mean() <= 0.5
    assert min(box[0, 2] - box[0, 0] for box in train.boxes) >= 4


# Outlines and keypoints

@pytest.mark.parametrize("name", EVERYTHING)
def test_an_outline_fits_the_unit_circle_and_its_window(name):
    v, u = np.mgrid[-2:2:401j, -2:2:401j]
    inside = OUTLINES[name](u, v) <= 0
    assert np.hypot(u, v)[inside].max() <= 1.02
    assert 0.3 < inside.sum() * 0.01 ** 2 < np.pi


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_turned_outline_is_the_outline_of_the_turned_picture(name):
    upright, turned = (render(Scene(64, PLAIN, (
        Shape(0, name, (32, 32), 25, angle, (0, 0, 0), 0),)))[0] for angle in (0, np.pi / 2))
    # A quarter turn clockwise; pixels exactly on the border may fall on either side.
    assert np.abs(np.rot90(upright, -1, axes=(1, 2)) - turned).mean() < 0.01


@pytest.mark.parametrize("name", EVERYTHING)
def test_landmarks_repeat_themselves_as_often_as_they_say(name):
    v, u = np.mgrid[-1.1:1.1:301j, -1.1:1.1:301j]
    known, step = LANDMARKS[name], 2 * np.pi / LANDMARKS[name].fold
    inside, turned, half = (OUTLINES[name](np.cos(a) * u + np.sin(a) * v,
                                           np.cos(a) * v - np.sin(a) * u) <= 0
                            for a in (0, step, step / 2))
    assert (inside == turned).mean() > 0.995
    assert not known.turns or (inside == half).mean() < 0.97
    assert len(known.names) == len(known.points) == len(set(known.names))


def test_the_figure_moves_its_limbs_where_its_pose_says():
    pose = (2.5, 0.4, 1.0, 0.1)
    for u, v in limbs(pose):
        assert figure(u, v, pose) < -0.05
    left_hand, right_hand, left_foot, right_foot = limbs(pose)
    assert left_hand[0] > 0 > right_hand[0] and left_hand[1] < right_hand[1]
    assert left_foot[0] > 0.5 and left_foot[1] < right_foot[1]
    assert figure(*left_hand, (0.4, 2.5, 1.0, 0.1)) > 0.15


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_keypoints_lie_in_their_masks_and_know_whether_they_are_seen(difficulty):
    scenes = shapes(60, seed=4, difficulty=difficulty, classes=EVERYTHING)
    states = []
    for scene, visible, found in zip(scenes.scenes, scenes.instances, scenes.keypoints):
        assert found.shape == (len(scene.objects), 7, 3) and found.dtype == np.float32
        for k, (shape, points) in enumerate(zip(scene.objects, found)):
            named = len(LANDMARKS[shape.name].points)
            assert not points[named:].any()
            whole = render(replace(scene, objects=(shape,)))[1] == 1
            for x, y, state in points[:named]:
                states.append(state)
                if state == 0:
                    assert x == y == 0
                    continue
                near = np.s_[max(0, int(y) - 1):int(y) + 2, max(0, int(x) - 1):int(x) + 2]
                assert whole[near].any()
                assert state == 1 or (visible[near] == k + 1).any()
                assert state == 2 or (visible[near] != k + 1).any()
    assert set(states) == {0, 1, 2} if difficulty == "hard" else set(states) <= {1, 2}


def test_keypoints_are_the_topmost_first_where_turned_copies_look_the_same():
    for name in EVERYTHING:
        known = LANDMARKS[name]
        for angle in np.linspace(-3, 3, 7):
            shape = Shape(0, name, (32, 32), 20, angle, (0, 0, 0), 0)
            scene = Scene(64, PLAIN, (shape,), (name,))
            copy = replace(scene, objects=(replace(
                shape, angle=angle + 2 * np.pi / known.fold),))
            first, second = (shapes_keypoints(s) for s in (scene, copy))
            np.testing.assert_allclose(first, second, atol=1e-4)
            if known.fold == len(known.points) or not known.turns:
                assert first[0, 0, 1] <= first[0, :, 1].min() + 1e-6


def shapes_keypoints(scene):
    from tinyvision.data.shapes_truth import keypoints
    return keypoints(scene, render(scene)[1])


# Stuff, panoptic maps, attributes, factors

@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_stuff_has_its_colour_in_the_picture_and_lies_in_order(difficulty):
    for scene in shapes(30, seed=8, difficulty=difficulty).scenes:
        image, visible = render(quiet(scene))
        below = bands(scene.ground, scene.size)
        assert (np.diff(below.astype(int), axis=0) >= 0).all()
        for k, (name, colour) in enumerate(zip(scene.ground.stuff, scene.ground.colours)):
            here = (below == k) & (visible == 0)
            if here.sum() > 50:
                assert np.abs(image[:, here].mean(1) - colour).max() < 0.2, name
        assert "sky" not in scene.ground.stuff[1:] and set(scene.ground.stuff[1:]) <= set(BELOW)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_a_panoptic_map_gives_every_pixel_one_segment(difficulty):
    scenes = shapes(20, seed=7, difficulty=difficulty)
    for k, (ids, segments) in enumerate(scenes.panoptic):
        assert set(np.unique(ids)) == {s.id for s in segments}
        assert sum(s.area for s in segments) == 64 * 64
        names = (*scenes.names, *STUFF)
        for s in segments:
            mask = ids == s.id
            x0, y0, x1, y1 = s.box
            assert mask.sum() == mask[y0:y1, x0:x1].sum() == s.area
            assert names[s.category] == s.name and s.thing == (s.category < 5)
            if s.thing:
                assert (scenes.masks[k][mask] == s.category + 1).all()
            else:
                assert (scenes.masks[k][mask] == 0).all()
                assert (scenes.stuff[k][mask] == s.category - 5 + 1).all()
        assert ((scenes.stuff[k] == 0) == (scenes.masks[k] > 0)).all()


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_attributes_are_what_the_pixels_show(difficulty):
    scenes = shapes(40, seed=10, difficulty=difficulty, classes=CLASSES)
    for scene, things, visible in zip(scenes.scenes, scenes.attributes, scenes.instances):
        image = render(quiet(scene))[0]
        below = bands(scene.ground, scene.size)
        for k, (thing, shape) in enumerate(zip(things, scene.objects)):
            mask = visible == k + 1
            rows, columns = np.nonzero(mask)
            assert thing.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert thing.area == mask.sum() and (thing.size == "large") == (
                mask.sum() >= 0.055 * mask.size)
            shown = np.median(image[:, mask], axis=1)
            assert thing.colour == min(COLOURS, key=lambda c: np.abs(shown - COLOURS[c]).sum())
            x, y = (columns.min() + columns.max() + 1) / 2, (rows.min() + rows.max() + 1) / 2
            assert ("left" in thing.place) == (x < 64 / 3)
            assert ("top" in thing.place) == (y < 64 / 3)
            assert ("right" in thing.place) == (x >= 128 / 3)
            assert ("bottom" in thing.place) == (y >= 128 / 3)
            share = [(below[mask] == b).mean() for b in range(len(scene.ground.stuff))]
            assert thing.ground == (scene.ground.stuff[int(np.argmax(share))]
                                    if max(share) >= 0.8 else None)
            alone = render(replace(scene, objects=(shape,)))[1] == 1
            assert thing.hidden == pytest.approx(1 - mask.sum() / alone.sum())
            canvas = np.pad(alone, 64)
            moved = replace(shape, centre=(shape.centre[0] + 64, shape.centre[1] + 64))
            beyond = (footprint(moved, 192) & ~canvas).any()
            assert thing.cut == beyond or abs(min(
                *shape.centre, 64 - shape.centre[0], 64 - shape.centre[1]) - shape.radius) < 8


def test_factors_make_the_same_picture_again():
    scenes = shapes(10, seed=11)
    for scene, rows in zip(scenes.scenes, scenes.factors):
        made = tuple(Shape(int(label), scene.names[int(label)], (x * 64, y * 64), radius * 64,
                           angle, tuple(colour), int(order))
                     for label, x, y, radius, angle, *colour, order in rows.astype(float))
        again, visible = render(replace(scene, objects=made))
        assert np.abs(again - render(scene)[0]).max() < 1e-3


# The protocol of data sets

def test_items_are_pictures_with_targets():
    scenes = shapes(4, seed=2).carrying("keypoints", "captions")
    image, target = scenes[1]
    np.testing.assert_array_equal(image, scenes.images[1])
    assert target["masks"].dtype == bool and target["masks"].shape[1:] == (64, 64)
    np.testing.assert_array_equal(target["area"], target["masks"].sum((1, 2)))
    np.testing.assert_array_equal(target["keypoints"], scenes.keypoints[1])
    assert target["captions"] == tuple(scenes.captions[1]) and target["image_id"] == 1
    assert scenes[-1][1]["image_id"] == 3 and len(list(scenes)) == 4
    with pytest.raises(IndexError):
        scenes[4]
    with pytest.raises(ValueError, match="got 'smell'"):
        scenes.carrying("smell")


def test_slices_and_indices_are_scenes_too():
    scenes = shapes(6, seed=2)
    assert same(scenes[2:4], shapes(2, seed=2, start=2))
    assert same(scenes[np.array([5, 0])][1:], scenes[:1])


def test_no_scenes_are_scenes_too():
    scenes = shapes(0)
    assert scenes.images.shape == (0, 3, 64, 64) and scenes.masks.shape == (0, 64, 64)
    assert scenes.captions == []


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
@pytest.mark.parametrize("make", [shapes, one_shape])
def test_errors_say_what_came_and_what_was_expected(make, wrong, words):
    with pytest.raises(ValueError) as error:
        make(**wrong)
    assert words in str(error.value)


# Sprites

def test_sprites_differ_in_every_factor_and_follow_from_their_codes():
    code = np.array([[1, 3, 5, 8, 8]])
    base = sprites(code)
    assert base.shape == (1, 1, 64, 64) and set(np.unique(base.round())) == {0, 1}
    for column, values in enumerate(FACTORS.values()):
        pictures = sprites(np.array([[*code[0, :column], k, *code[0, column + 1:]]
                                     for k in range(len(values))]))
        apart = np.abs(pictures[:, None] - pictures).sum((2, 3, 4))
        assert apart[~np.eye(len(values), dtype=bool)].min() > 5


def test_a_sprite_lies_where_its_code_says():
    codes = random_codes(30, seed=3, kind=2, angle=6)
    for (kind, radius, angle, x, y), picture in zip(codes, sprites(codes)[:, 0]):
        rows, columns = np.indices(picture.shape)
        centre = [(picture * (axis + 0.5)).sum() / picture.sum() for axis in (columns, rows)]
        wanted = 64 * FACTORS["x"][x], 64 * FACTORS["y"][y]
        np.testing.assert_allclose(centre, wanted, atol=0.3)
        area = 3 * 3 ** 0.5 / 4 * (64 * FACTORS["radius"][radius]) ** 2
        assert picture.sum() == pytest.approx(area, rel=0.1)


def test_random_codes_are_independent_and_repeat():
    codes = random_codes(3000)
    np.testing.assert_array_equal(codes[100:110], random_codes(10, start=100))
    counts = [len(values) for values in FACTORS.values()]
    assert (codes.min(0) == 0).all() and (codes.max(0) == np.array(counts) - 1).all()
    assert np.abs(np.corrcoef(codes.T) - np.eye(5)).max() < 0.07
    assert (random_codes(9, y=2)[:, 4] == 2).all()


@pytest.mark.parametrize("call, words", [
    (lambda: sprites([[0, 0, 0, 0, 16]]), "y goes from 0 to 15; got 16"),
    (lambda: sprites(np.zeros((2, 4), int)), r"shape \(N, 5\); got int64 \(2, 4\)"),
    (lambda: sprites(np.zeros((2, 5))), "integers of shape .*got float64"),
    (lambda: random_codes(3, colour=1), "got colour"),
    (lambda: random_codes(3, kind=5), "kind goes from 0 to 2; got 5"),
])
def test_codes_out_of_range_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
