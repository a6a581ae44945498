"""`cuboids` and `solids`: scenes in space, seen by a camera that is known.

Cuboids are what monocular 3D detection looks for, solids are what Mesh R-CNN reconstructs.
"""
from dataclasses import dataclass

import numpy as np

from tinyvision.data.shapes import LEVELS, checked_level, number_of_scenes
from tinyvision.data.shapes_colours import random_colour
from tinyvision.data.shapes_ground import STUFF
from tinyvision.data.shapes_solids import CORNERS, QUADS, SOLIDS
from tinyvision.data.shapes_space import Solid, Space, camera, render_space
from tinyvision.data.shapes_truth import visible_boxes

CUBOIDS = {                    # name: width, height, length in metres
    "crate": (1.1, 1.1, 1.1), "pillar": (0.7, 2.2, 0.7), "wagon": (1.2, 1.1, 2.6)}
MESHES = tuple(SOLIDS)
VARIED = 0.12                  # every length differs from the usual one by this part at most
DARKEST = 0.16                 # of a colour: light and shade show on what is not quite black


@dataclass(frozen=True)
class Depth:
    """How hard scenes in space are."""
    objects: tuple       # fewest and most
    away: tuple          # smallest and largest distance from the camera, in metres
    hidden: float        # largest part of an object's box that another object's box may cover
    cut: bool            # whether the border of the picture may cut objects off
    tilt: float = 0.0    # largest tilt to either side, in radians


OF_CUBOIDS = {
    "easy": Depth((1, 1), (3.5, 5.5), 0.0, False),
    "medium": Depth((1, 3), (3.5, 7.0), 0.2, False),
    "hard": Depth((2, 5), (3.5, 9.0), 0.45, True)}
OF_SOLIDS = {
    "easy": Depth((1, 1), (3.6, 4.2), 0.0, False),
    "medium": Depth((1, 1), (3.4, 4.6), 0.0, False, 0.35),
    "hard": Depth((1, 2), (3.6, 5.5), 0.3, False, 0.9)}


@dataclass(frozen=True, eq=False)
class Spaces:
    """N rendered scenes in space and their truth.

    images (N, 3, H, W) float32. instances (N, H, W) uint8: 0 the floor and the sky, k + 1 the
    visible pixels of object k. labels: a list of N int64 arrays (M,). boxes: a list of N float32
    arrays (M, 4) around what is visible. cuboids: a list of N float32 arrays (M, 7): centre
    x, y, z, then width, height, length in metres, and yaw in radians, all in world coordinates (see
    `shapes_space`). corners: a list of N float32 arrays (M, 8, 3), in the world. cameras: N
    `Camera`s. meshes: a list of N lists of (vertices (V, 3), faces (F, 3)), in the world. names:
    of the classes. scenes: the descriptions.
    """
    images: np.ndarray
    instances: np.ndarray
    labels: list
    boxes: list
    cuboids: list
    corners: list
    cameras: list
    meshes: list
    names: tuple
    scenes: tuple

    def __len__(self):
        return len(self.images)

    def __getitem__(self, k):
        """(image, target) number k: boxes, labels, masks, cuboids, corners, camera, meshes."""
        k = range(len(self))[k]
        numbers = np.arange(1, len(self.labels[k]) + 1)
        return self.images[k], {
            "boxes": self.boxes[k], "labels": self.labels[k], "image_id": k,
            "masks": self.instances[k] == numbers[:, None, None], "cuboids": self.cuboids[k],
            "corners": self.corners[k], "camera": self.cameras[k], "meshes": tuple(self.meshes[k])}


def cuboids(n, size=64, seed=0, difficulty="medium", start=0):
    """Scenes `start` to `start + n - 1` of `seed` with crates, pillars and wagons that stand on a
    floor; see `Spaces`. The front of a cuboid, where its length ends, is paler than the
    rest (of white ones darker)."""
    return spaces(n, size, seed, difficulty, start, describe_cuboids, tuple(CUBOIDS))


def solids(n, size=64, seed=0, difficulty="medium", start=0):
    """Scenes `start` to `start + n - 1` of `seed` with a solid (hard: or two), turned and tilted:
    its mesh is in `Spaces.meshes`. The classes are `MESHES`."""
    return spaces(n, size, seed, difficulty, start, describe_solids, MESHES)


def spaces(n, size, seed, difficulty, start, describe, names):
    """`Spaces` of these descriptions."""
    made = tuple(describe(seed, k, size, difficulty)
                 for k in range(start, start + number_of_scenes(n)))
    images = np.empty((n, 3, size, size), np.float32)
    instances = np.empty((n, size, size), np.uint8)
    for k, space in enumerate(made):
        images[k], instances[k] = render_space(space)
    boxes = [visible_boxes(seen, len(space.solids)) for space, seen in zip(made, instances)]
    return Spaces(images, instances, per_solid(made, lambda s: s.label, np.int64), boxes,
                  per_solid(made, lambda s: (*s.centre, *s.size, s.yaw), np.float32),
                  per_solid(made, lambda s: corners(s.centre, s.size, s.yaw), np.float32),
                  [space.camera for space in made],
                  [[(s.vertices, s.faces) for s in space.solids] for space in made], names, made)


def per_solid(spaces, read, dtype):
    """A list of arrays: for each space what `read` gives of each of its solids."""
    return [np.array([read(solid) for solid in space.solids], dtype) for space in spaces]


# Describing

def describe_cuboids(seed, index, size=64, difficulty="medium"):
    """Scene number `index` of `seed` of `cuboids`; nothing is drawn yet."""
    return describe_space(seed, index, size, difficulty, OF_CUBOIDS, random_cuboid)


def describe_solids(seed, index, size=64, difficulty="medium"):
    """Scene number `index` of `seed` of `solids`; nothing is drawn yet."""
    return describe_space(seed, index, size, difficulty, OF_SOLIDS, random_solid)


def describe_space(seed, index, size, difficulty, depths, make):
    """A `Space` with objects that `make(random, depth, colour)` makes."""
    if difficulty not in depths:
        raise ValueError(f"shapes: difficulty is one of {', '.join(LEVELS)}; got {difficulty!r}.")
    level = checked_level(seed, index, size, difficulty, ("circle",))
    random = np.random.default_rng([seed, index, 3])
    eye = camera(size, random.uniform(1.7, 2.3), random.uniform(0.22, 0.34))
    floor, sky = (tuple((STUFF[name] + random.uniform(-level.tint, level.tint, 3)).tolist())
                  for name in (("grass", "sand")[random.integers(2)], "sky"))
    objects = arrange(random, depths[difficulty], eye, size, lambda: make(
        random, depths[difficulty], random_colour(random, (floor, sky), level.contrast)))
    return Space(size, eye, objects, floor, sky, level.texture / 2, level.noise / 2,
                 int(random.integers(2 ** 31)))


def arrange(random, depth, eye, size, make):
    """Objects that find a place on the floor where each is seen; at least one."""
    count, placed, boxes = random.integers(depth.objects[0], depth.objects[1] + 1), [], []
    for attempt in range(1000):
        solid = make()
        box = outer_box(eye.project(solid.vertices))
        if in_view(box, size, depth.cut) and all(
                overlap(box, other) <= depth.hidden for other in boxes) and all(
                stand_apart(solid, other) for other in placed):
            placed, boxes = placed + [solid], boxes + [box]
        if len(placed) == count or attempt >= 60 and placed:
            break
    return tuple(placed)


def outer_box(points):
    """The box (x0, y0, x1, y1) around points (K, 2)."""
    return np.concatenate([points.min(0), points.max(0)])


def in_view(box, size, cut):
    """Whether a box lies inside the picture, or, where it may be cut, its middle does."""
    if cut:
        return bool((0.1 * size < (box[:2] + box[2:]) / 2).all()
                    and ((box[:2] + box[2:]) / 2 < 0.9 * size).all())
    return bool(box.min() >= 1 and box.max() <= size - 1)


def overlap(a, b):
    """The overlap of two boxes as a part of the smaller one."""
    sides = np.maximum(0, np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]))
    return sides.prod() / min((one[2:] - one[:2]).prod() for one in (a, b))


def stand_apart(a, b):
    """Whether the circles around two footprints on the floor do not touch."""
    reach = sum(np.hypot(one.size[0], one.size[2]) / 2 for one in (a, b))
    return np.hypot(a.centre[0] - b.centre[0], a.centre[2] - b.centre[2]) > reach


def random_cuboid(random, depth, colour):
    """A crate, pillar or wagon somewhere on the floor."""
    label = int(random.integers(len(CUBOIDS)))
    name = list(CUBOIDS)[label]
    vertices, faces = SOLIDS["cube"]
    vertices = vertices * varied_lengths(random, CUBOIDS[name]) / 2
    colour = np.maximum(colour, DARKEST)
    colours = np.tile(colour, (len(faces), 1))
    front = 2 * list(QUADS).index("front")
    colours[front:front + 2] = front_colour(colour)
    return stood(random, depth, label, name, vertices, faces, colours)


def front_colour(colour):
    """The colour of a cuboid's front: paler than the rest, or darker where the rest is white."""
    return 0.35 * colour + 0.65 if colour.mean() < 0.8 else 0.45 * colour


def random_solid(random, depth, colour):
    """One of `MESHES`, tilted, somewhere on the floor."""
    label = int(random.integers(len(MESHES)))
    vertices, faces = SOLIDS[MESHES[label]]
    vertices = vertices * varied_lengths(random, (0.8, 0.8, 0.8))
    vertices = vertices @ tilted(*random.uniform(-depth.tilt, depth.tilt, 2)).T
    return stood(random, depth, label, MESHES[label], vertices, faces,
                 np.tile(np.maximum(colour, DARKEST), (len(faces), 1)))


def varied_lengths(random, usual):
    """Three lengths close to the usual ones."""
    return usual * random.uniform(1 - VARIED, 1 + VARIED, 3)


def stood(random, depth, label, name, vertices, faces, colours):
    """A `Solid` of vertices around the origin, turned and moved to a place on the floor."""
    yaw = float(random.uniform(-np.pi, np.pi))
    away, aside = random.uniform(*depth.away), random.uniform(-0.45, 0.45)
    vertices = vertices @ turned(yaw).T
    vertices = vertices + (away * aside, -vertices[:, 1].max(), away)
    return Solid(label, name, vertices, faces, colours, *cuboid_around(vertices, yaw), yaw)


# Geometry

def turned(yaw):
    """The rotation (3, 3) about the vertical that turns z towards x."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


def tilted(forward, aside):
    """The rotation (3, 3) about x, then about z."""
    c, s, d, t = np.cos(forward), np.sin(forward), np.cos(aside), np.sin(aside)
    return np.array([[d, -t, 0], [t, d, 0], [0, 0, 1]]) @ [[1, 0, 0], [0, c, -s], [0, s, c]]


def cuboid_around(vertices, yaw):
    """(centre, size): the smallest cuboid of this yaw around points (V, 3)."""
    own = vertices @ turned(yaw)
    low, high = own.min(0), own.max(0)
    return tuple((turned(yaw) @ (low + high) / 2).tolist()), tuple((high - low).tolist())


def corners(centre, size, yaw):
    """The eight corners (8, 3) of a cuboid, in the order of `shapes_solids.CORNERS`."""
    return CORNERS * np.array(size) / 2 @ turned(yaw).T + centre
