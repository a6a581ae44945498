"""Generated scenes: coloured shapes on textured grounds, with the truth known exactly.

A scene is *described* first (which objects, where, how large, how turned, what colour) and
*rendered* from its description. Annotations are read off the description or off the rendered map
of visible objects, so a new kind of annotation is one more function and changes no picture.

Scene number `index` of `seed` depends on these two numbers (and size, difficulty, classes) alone:
`shapes(10, start=90)` are the last ten of `shapes(100)`. `SPLITS` are the seeds and counts that
every figure of the documentation refers to.
"""
from dataclasses import dataclass, replace

import numpy as np

from tinyvision.data.outlines import OUTLINES
from tinyvision.data.shapes_colours import random_colour
from tinyvision.data.shapes_ground import Ground, random_ground
from tinyvision.data.shapes_scenes import rendered

CLASSES = tuple(name for name in OUTLINES if name != "figure")
SPLITS = {"train": dict(seed=0, n=2000), "held_out": dict(seed=1, n=500),
          "test": dict(seed=2, n=500)}


@dataclass(frozen=True)
class Level:
    """How hard scenes are; lengths are fractions of the image side."""
    objects: tuple       # fewest and most objects in a scene
    radius: tuple        # smallest and largest radius
    turn: float          # largest rotation to either side, in radians
    apart: float         # centres are at least this times the sum of the radii apart
    inside: float        # centres are at least this times the radius from the border
    contrast: float      # smallest colour distance from the ground, of at most sqrt(3)
    bands: tuple         # fewest and most bands of stuff that make up the ground
    tint: float          # each channel of a band is this far from its usual colour at most
    texture: float       # amplitude of the patterns and the soft light of the ground
    noise: float         # standard deviation of the pixel noise


LEVELS = {
    "easy": Level((1, 2), (0.16, 0.24), 0.0, 1.1, 1.0, 0.6, (1, 1), 0.03, 0.04, 0.02),
    "medium": Level((1, 4), (0.12, 0.22), np.pi, 0.85, 1.0, 0.5, (1, 2), 0.07, 0.08, 0.05),
    "hard": Level((3, 7), (0.09, 0.22), np.pi, 0.65, 0.6, 0.42, (2, 3), 0.10, 0.15, 0.10),
}
ALONE = {"easy": (0.26, 0.36), "medium": (0.22, 0.40), "hard": (0.18, 0.44)}   # radii in one_shape


@dataclass(frozen=True)
class Shape:
    """One object. `centre` is (x, y) and `radius` a length, in pixels; `angle` in radians,
    clockwise as the picture is seen; `colour` is (r, g, b) in [0, 1]; `label` counts from 0;
    of two objects the one with the larger `order` lies in front. `pose`: of a figure, see
    `outlines.figure`."""
    label: int
    name: str
    centre: tuple
    radius: float
    angle: float
    colour: tuple
    order: int
    pose: tuple = ()


@dataclass(frozen=True)
class Scene:
    """A description: everything a picture of `size` x `size` pixels and its truth follow from.
    names: the classes that the scene was drawn from, also those that do not occur. situation:
    what is going on, where the scene is one of `situations`."""
    size: int
    ground: Ground
    objects: tuple
    names: tuple = CLASSES[:5]
    situation: object = None


def shapes(n, size=64, seed=0, difficulty="medium", classes=CLASSES[:5], start=0):
    """Scenes `start` to `start + n - 1` of `seed`, rendered at (size, size) pixels; see `Scenes`.

    difficulty: "easy" (upright, apart, plain), "medium" (turned, touching, textured) or "hard"
    (many, small, overlapping, cut off by the border, noisy), or a `Level` of your own. classes:
    names out of `CLASSES` (there are ten; the first five by default) or "figure", a person with
    moving limbs; a label is a position in this tuple.
    """
    indices = range(start, start + number_of_scenes(n))
    scenes = tuple(describe(seed, index, size, difficulty, classes) for index in indices)
    return rendered(scenes, tuple(classes), size)


def one_shape(n, size=32, seed=0, difficulty="medium", classes=CLASSES, start=0):
    """Pictures of a single, large shape: `Scenes` for classification and localization. Their
    label is `scenes.labels[k][0]`. Arguments as in `shapes`; ten classes by default."""
    level = replace(checked_level(seed, start, size, difficulty, classes), objects=(1, 1))
    if difficulty in ALONE:
        level = replace(level, radius=ALONE[difficulty])
    return shapes(n, size, seed, level, classes, start)


def number_of_scenes(n):
    """`n`, checked to be a number of scenes: an integer of at least 0."""
    if not isinstance(n, (int, np.integer)) or n < 0:
        raise ValueError(f"shapes: n is the number of scenes, an integer of at least 0; got {n!r}.")
    return n


def describe(seed, index, size=64, difficulty="medium", classes=CLASSES[:5]):
    """Scene number `index` of `seed`, as a description; nothing is drawn yet."""
    level = checked_level(seed, index, size, difficulty, classes)
    random = np.random.default_rng([seed, index])
    ground = random_ground(random, level)
    places = random_places(random, level, size)
    return Scene(size, ground, tuple(
        random_shape(random, level, ground, classes, order, place)
        for order, place in enumerate(places)), tuple(classes))


def checked_level(seed, index, size, difficulty, classes):
    """The `Level` of that difficulty; refuses arguments of `shapes` that make no scene."""
    level = difficulty if isinstance(difficulty, Level) else LEVELS.get(difficulty)
    if level is None:
        raise ValueError(f"shapes: difficulty is one of {', '.join(LEVELS)}; got {difficulty!r}.")
    if seed < 0 or index < 0:
        raise ValueError(f"shapes: seed and start are at least 0; got {seed} and {index}.")
    if not isinstance(size, (int, np.integer)) or size < 16:
        raise ValueError(f"shapes: size is an integer of at least 16 pixels; got {size!r}.")
    unknown = [name for name in classes if name not in OUTLINES]
    if isinstance(classes, str) or not classes or unknown:
        raise ValueError(f"shapes: classes are names out of {', '.join(OUTLINES)}; "
                         f"got {classes!r}.")
    return level


def random_places(random, level, size):
    """(x, y, radius) of each object, largest first: what is small lies in front, where it stays
    visible. A scene that gets too full for the fewest objects begins again with smaller ones."""
    count = random.integers(level.objects[0], level.objects[1] + 1)
    radii = np.sort(random.uniform(*level.radius, count))[::-1] * size
    places = spread(random, level, size, radii)
    while len(places) < level.objects[0]:
        radii = 0.9 * radii
        places = spread(random, level, size, radii)
    return places


def spread(random, level, size, radii):
    """(x, y, radius) for radii that found a place; each tries twenty times to keep its distance."""
    places = []
    for radius in radii.tolist():
        margin = level.inside * radius
        for x, y in random.uniform(margin, size - margin, (20, 2)).tolist():
            if all(np.hypot(x - a, y - b) >= level.apart * (radius + r) for a, b, r in places):
                places.append((x, y, radius))
                break
    return places


def random_shape(random, level, ground, classes, order, place):
    """A shape of random class, turn, colour and pose at a place (x, y, radius)."""
    x, y, radius = place
    label = int(random.integers(len(classes)))
    angle = float(random.uniform(-1, 1) * level.turn)
    colour = random_colour(random, ground.colours, level.contrast)
    pose = random_pose(random) if classes[label] == "figure" else ()
    return Shape(label, classes[label], (x, y), radius, angle, colour, order, pose)


def random_pose(random):
    """Angles of a figure's two arms (anything from down to up) and two legs."""
    return (*random.uniform(0.3, 2.6, 2).tolist(), *random.uniform(0.1, 0.8, 2).tolist())
