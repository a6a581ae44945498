"""Cuboids and meshes: what is said about space is projected and compared with the pixels."""
import numpy as np
import pytest
from PIL import Image, ImageDraw

from tinyvision.data import cuboids, solids
from tinyvision.data.shapes_solids import CORNERS, QUADS, SOLIDS, normals, volume, voxels
from tinyvision.data.shapes_space import camera, rasterize, visible_solids
from tinyvision.data.shapes_worlds import CUBOIDS, DARKEST, MESHES, cuboid_around, turned
from dataclasses import replace

DIFFICULTIES = ("easy", "medium", "hard")
LARGER = 8            # silhouettes are drawn so much larger, to compare parts of pixels


@pytest.fixture(scope="module", params=DIFFICULTIES)
def boxes_in_space(request):
    return cuboids(40, seed=2, difficulty=request.param)


@pytest.fixture(scope="module", params=DIFFICULTIES)
def meshes(request):
    return solids(40, seed=2, difficulty=request.param)


def filled(polygons, size):
    """(size, size) bool: the pixels whose centres lie in one of these polygons, drawn by Pillow,
    larger."""
    picture = Image.new("1", (size * LARGER, size * LARGER))
    for polygon in polygons:
        ImageDraw.Draw(picture).polygon([tuple(p) for p in polygon * LARGER], fill=1)
    half = LARGER // 2
    return np.array(picture)[half::LARGER, half::LARGER]


def pinhole(cam, points):
    """Projection written once more, from the matrices, point by point."""
    x = [cam.intrinsics @ (cam.extrinsics @ np.append(p, 1)) for p in points]
    return np.array([p[:2] / p[2] for p in x])


def hull(points):
    """The convex hull of points (K, 2), in order (Andrew's monotone chain)."""
    order = sorted(map(tuple, points))

    def chain(points):
        kept = []
        for p in points:
            while len(kept) > 1 and np.cross((*np.subtract(kept[-1], kept[-2]), 0),
                                             (*np.subtract(p, kept[-1]), 0))[2] <= 0:
                kept.pop()
            kept.append(p)
        return kept[:-1]
    return np.array(chain(order) + chain(order[::-1]))


def near(mask):
    """A mask and all pixels next to it."""
    padded = np.pad(mask, 1)
    return np.any([padded[i:i + len(mask), j:j + len(mask)] for i in range(3) for j in range(3)], 0)


# Cuboids

def test_corners_reproject_onto_the_silhouette_within_a_pixel(boxes_in_space):
    for space, eye, corners in zip(boxes_in_space.scenes, boxes_in_space.cameras,
                                   boxes_in_space.corners):
        for k, eight in enumerate(corners):
            alone = visible_solids(replace(space, solids=(space.solids[k],))) == 1
            outline = filled([hull(pinhole(eye, eight))], space.size)
            assert not (alone & ~near(outline)).any() and not (outline & ~near(alone)).any()
            assert (alone & outline).sum() > 0.8 * (alone | outline).sum()


def test_a_cuboid_is_its_seven_numbers(boxes_in_space):
    labels = set()
    for spaces, seven, eight, kinds in zip(boxes_in_space.scenes, boxes_in_space.cuboids,
                                           boxes_in_space.corners, boxes_in_space.labels):
        for (x, y, z, w, h, l, yaw), corners, label in zip(seven, eight, kinds):
            labels.add(int(label))
            ahead, aside = np.array([np.sin(yaw), 0, np.cos(yaw)]), np.array(
                [np.cos(yaw), 0, -np.sin(yaw)])
            for corner, (i, j, k) in zip(corners, CORNERS):
                wanted = np.array([x, y, z]) + i * w / 2 * aside + k * l / 2 * ahead
                wanted[1] += j * h / 2
                np.testing.assert_allclose(corner, wanted, atol=1e-5)
            assert abs(y + h / 2) < 1e-5                       # it stands on the floor
            usual = CUBOIDS[boxes_in_space.names[label]]
            np.testing.assert_allclose((w, h, l), usual, rtol=0.121)
            assert -np.pi <= yaw <= np.pi
    assert labels == {0, 1, 2}


def test_boxes_and_masks_are_what_is_visible(boxes_in_space):
    for image, seen, boxes, labels in zip(boxes_in_space.images, boxes_in_space.instances,
                                          boxes_in_space.boxes, boxes_in_space.labels):
        assert set(np.unique(seen)) <= set(range(len(labels) + 1))
        for k, (x0, y0, x1, y1) in enumerate(boxes.astype(int)):
            own = seen == k + 1
            assert own.sum() == own[y0:y1, x0:x1].sum() >= 12
            assert own[y0].any() and own[y1 - 1].any() and own[:, x0].any() and own[:, x1 - 1].any()


def test_the_closer_cuboid_hides_the_farther_one():
    hidden = 0
    for space, seen in zip(*(getattr(cuboids(30, seed=5, difficulty="hard"), name)
                             for name in ("scenes", "instances"))):
        alone = [visible_solids(replace(space, solids=(s,))) == 1 for s in space.solids]
        for i, a in enumerate(space.solids):
            for j, b in enumerate(space.solids):
                both = alone[i] & alone[j]
                if a.centre[2] < b.centre[2] - 2 and both.any():     # a stands clearly closer
                    assert not (seen[both] == j + 1).any()
                    hidden += 1
    assert hidden > 5


def test_the_front_is_the_pale_end_of_the_length():
    shown = 0
    scenes = cuboids(60, seed=7, difficulty="easy")
    for space, image in zip(scenes.scenes, scenes.images):
        solid, = space.solids
        colour = np.maximum(DARKEST, solid.colours[0])
        facing = normals(solid.vertices, solid.faces)[2 * list(QUADS).index("front")]
        assert np.allclose(facing, (np.sin(solid.yaw), 0, np.cos(solid.yaw)), atol=1e-9)
        middle = np.array(solid.centre) + facing * solid.size[2] / 2
        if facing @ (space.camera.place - middle) > 1.5 and colour.mean() < 0.8:
            x, y = pinhole(space.camera, [middle])[0].astype(int)
            pixel = image[:, y, x] / image[:, y, x].max()
            assert np.ptp(pixel) < np.ptp(colour / colour.max()) + 0.1
            assert pixel.min() > 0.4
            shown += 1
    assert shown > 5


def test_the_floor_is_seen_where_it_is():
    eye = camera(64, 2.0, 0.3)
    floor = np.array([(x, 0, z) for x in (-1, 0, 2) for z in (3, 5, 9.0)])
    pixels = pinhole(eye, floor)
    rays = eye.rays(pixels)
    np.testing.assert_allclose(eye.place, (0, -2, 0), atol=1e-12)
    hits = eye.place + rays * (-eye.place[1] / rays[:, 1])[:, None]
    np.testing.assert_allclose(hits, floor, atol=1e-9)
    np.testing.assert_allclose(eye.project(floor), pixels)
    horizon = pinhole(eye, [(0, -2, 1e9)])[0, 1]
    assert horizon == pytest.approx(32 - eye.intrinsics[1, 1] * np.tan(0.3), abs=1e-6)
    assert (pixels[:, 1] > horizon).all()


def test_a_box_of_the_picture_is_a_frustum_in_space():
    eye = camera(64, 2.0, 0.3)
    eight = eye.frustum((10, 20, 30, 50), 2, 6)
    wanted = [(10, 20), (30, 20), (30, 50), (10, 50)] * 2
    np.testing.assert_allclose(pinhole(eye, eight), wanted, atol=1e-9)
    np.testing.assert_allclose(eye.seen(eight)[:, 2], [2] * 4 + [6] * 4)


# Meshes

def test_the_silhouette_of_a_mesh_is_its_mask(meshes):
    for space, eye, found, seen in zip(meshes.scenes, meshes.cameras, meshes.meshes,
                                       meshes.instances):
        for k, (vertices, faces) in enumerate(found):
            alone = visible_solids(replace(space, solids=(space.solids[k],))) == 1
            drawn = filled(pinhole(eye, vertices)[faces], space.size)
            assert (alone & drawn).sum() > 0.9 * (alone | drawn).sum()
            if len(found) == 1:
                np.testing.assert_array_equal(alone, seen == 1)


def test_the_picture_shows_a_mesh_where_its_mask_is(meshes):
    for space, image, seen in zip(meshes.scenes, meshes.images, meshes.instances):
        for k, solid in enumerate(space.solids):
            shown = image[:, seen == k + 1].mean(1)
            hue = solid.colours[0] / solid.colours[0].max()
            assert np.abs(shown / shown.max() - hue).max() < 0.25


def test_solids_stand_on_the_floor_and_cuboids_enclose_them(meshes):
    for space, seven in zip(meshes.scenes, meshes.cuboids):
        for solid, (x, y, z, w, h, l, yaw) in zip(space.solids, seven):
            assert solid.vertices[:, 1].max() == pytest.approx(0, abs=1e-9)
            own = (solid.vertices - (x, y, z)) @ turned(yaw)
            np.testing.assert_allclose(np.abs(own).max(0), np.array([w, h, l]) / 2, atol=1e-4)


@pytest.mark.parametrize("name", MESHES)
def test_a_mesh_is_closed_and_faces_outwards(name):
    vertices, faces = SOLIDS[name]
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    once = {tuple(edge) for edge in edges.tolist()}
    assert len(once) == len(edges) and {(b, a) for a, b in once} == once
    assert len(vertices) - len(edges) // 2 + len(faces) == (0 if name == "torus" else 2)
    assert set(faces.ravel().tolist()) == set(range(len(vertices)))
    assert np.abs(vertices).max() == pytest.approx(1) and vertices[:, 1].max() == pytest.approx(1)
    turns = np.linalg.norm(normals(vertices, faces), axis=1)
    np.testing.assert_allclose(turns, 1)


EXACT = dict(cube=8, ball=4 * np.pi / 3, cylinder=2 * np.pi, cone=2 * np.pi / 3, pyramid=8 / 3,
             torus=2 * np.pi ** 2 * 0.68 * 0.32 ** 2, prism=10 * 0.5 * np.sin(np.pi / 5))


@pytest.mark.parametrize("name", MESHES)
def test_volumes_and_voxels_agree_with_the_formula(name):
    vertices, faces = SOLIDS[name]
    assert volume(vertices, faces) == pytest.approx(EXACT[name], rel=0.06)
    cells = voxels(vertices, faces, 24, (-1.2,) * 3, (1.2,) * 3)
    assert cells.sum() * 0.1 ** 3 == pytest.approx(volume(vertices, faces), rel=0.03)


def test_voxels_lie_where_the_ball_is():
    vertices, faces = SOLIDS["ball"]
    cells = voxels(vertices * 0.8 + (0.3, -0.1, 0.2), faces, 20, (-1, -1, -1), (1.2, 1, 1))
    x, y, z = np.meshgrid(*((np.arange(20) + 0.5) / 20 * side - 1 for side in (2.2, 2, 2)),
                          indexing="ij")
    radius = np.sqrt((x - 0.3) ** 2 + (y + 0.1) ** 2 + (z - 0.2) ** 2)
    assert cells[radius < 0.76].all() and not cells[radius > 0.8].any()


def test_rasterize_by_hand():
    points = np.array([(0, 0), (4, 0), (0, 4), (4, 4), (-9, -9), (-8, -9), (-9, -8)], float)
    front, back = [(0, 1, 2)], [(0, 1, 2), (1, 3, 2), (4, 5, 6)]
    upper = np.add.outer(np.arange(4), np.arange(4)) + 1 <= 4
    np.testing.assert_array_equal(rasterize(points, np.ones(7), np.array(front), 4) == 0, upper)
    found = rasterize(points, np.array([1, 1, 1, 9, 1, 1, 1.0]), np.array(back), 4)
    assert set(found.ravel()) == {0, 1} and (found[~upper] == 1).all()
    assert rasterize(points, np.ones(7), np.array([(4, 5, 6)]), 4).max() == -1
    closer = rasterize(points[[0, 1, 2, 0, 1, 2]], np.array([1, 1, 1, 2, 2, 2.0]),
                       np.array([(3, 4, 5), (0, 1, 2)]), 4)
    assert (closer[upper] == 0).all()


def test_spaces_repeat_and_are_items():
    for make in (cuboids, solids):
        whole, part = make(5, seed=1, size=32), make(2, seed=1, size=32, start=3)
        np.testing.assert_array_equal(whole.images[3:], part.images)
        np.testing.assert_array_equal(whole.instances[3:], part.instances)
        image, target = whole[-1]
        assert image.shape == (3, 32, 32) and target["camera"] is whole.cameras[4]
        assert target["masks"].shape == (len(target["labels"]), 32, 32) and len(make(0)) == 0
        with pytest.raises(ValueError, match="easy, medium, hard; got 'brutal'"):
            make(1, difficulty="brutal")


def test_harder_spaces_hold_more_and_farther_objects():
    sets = [cuboids(40, seed=3, difficulty=d) for d in DIFFICULTIES]
    counts = [np.mean([len(x) for x in s.labels]) for s in sets]
    depths = [np.mean(np.concatenate(s.cuboids)[:, 2]) for s in sets]
    assert counts == sorted(counts) and depths == sorted(depths)
    corners = [(s.cameras[k].project(c), d) for s, d in zip(sets, DIFFICULTIES)
               for k, c in enumerate(s.corners)]
    assert all(0 <= c.min() and c.max() <= 64 for c, d in corners if d != "hard")
    assert any(c.min() < 0 or c.max() > 64 for c, d in corners if d == "hard")


def test_the_smallest_cuboid_around_points():
    centre, size = cuboid_around(CORNERS * (1, 2, 3) @ turned(0.7).T + (5, 6, 7), 0.7)
    np.testing.assert_allclose(centre, (5, 6, 7))
    np.testing.assert_allclose(size, (2, 4, 6))
