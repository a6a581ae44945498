"""Generated scenes: coloured shapes on textured grounds, with the truth known exactly.

A scene is *described* first (which objects, where, how large, how turned, what colour) and
*rendered* from its description. Annotations are read off the description or off the rendered map
of visible objects, so a new kind of annotation is one more function and changes no picture.

Scene number `index` of `seed` depends on these two numbers (and size, difficulty, classes) alone:
`shapes(10, start=90)` are the last ten of `shapes(100)`.
"""
from dataclasses import dataclass

import numpy as np

from tinyvision.data.outlines import OUTLINES

CLASSES = tuple(OUTLINES)


@dataclass(frozen=True)
class Level:
    """How hard scenes are; lengths are fractions of the image side."""
    objects: tuple       # fewest and most objects in a scene
    radius: tuple        # smallest and largest radius
    turn: float          # largest rotation to either side, in radians
    apart: float         # centres are at least this times the sum of the radii apart
    inside: float        # centres are at least this times the radius from the border
    contrast: float      # smallest colour distance from the ground, of at most sqrt(3)
    texture: float       # amplitude of the soft blotches and stripes of the ground
    noise: float         # standard deviation of the pixel noise


LEVELS = {
    "easy": Level((1, 2), (0.16, 0.24), 0.0, 1.1, 1.0, 0.7, 0.05, 0.02),
    "medium": Level((1, 4), (0.12, 0.22), np.pi, 0.85, 1.0, 0.5, 0.15, 0.05),
    "hard": Level((3, 7), (0.09, 0.22), np.pi, 0.65, 0.6, 0.35, 0.25, 0.10),
}


@dataclass(frozen=True)
class Shape:
    """One object. `centre` is (x, y) and `radius` a length, in pixels; `angle` in radians,
    clockwise as the picture is seen; `colour` is (r, g, b) in [0, 1]; `label` counts from 0;
    of two objects the one with the larger `order` lies in front."""
    label: int
    name: str
    centre: tuple
    radius: float
    angle: float
    colour: tuple
    order: int


@dataclass(frozen=True)
class Ground:
    """What lies behind the objects: a colour, soft blotches (3, 4, 4), stripes (wave vector in
    radians a pixel, phase), amplitude of both, and pixel noise with a seed of its own."""
    colour: tuple
    blotches: np.ndarray
    stripes: tuple
    texture: float
    noise: float
    seed: int


@dataclass(frozen=True)
class Scene:
    """A description: everything a picture of `size` x `size` pixels and its truth follow from."""
    size: int
    ground: Ground
    objects: tuple


@dataclass(frozen=True)
class Scenes:
    """N rendered scenes and their truth.

    images (N, 3, H, W) float32 in [0, 1]. labels: a list of N int64 arrays (M,), counting from 0.
    boxes: a list of N float32 arrays (M, 4), (x0, y0, x1, y1) in pixels, half open: the tight
    extent of what is visible of an object, in the order of `labels`. masks (N, H, W) int64:
    0 is the background, label + 1 an object's visible pixels. names: one name for each label.
    scenes: the N descriptions.
    """
    images: np.ndarray
    labels: list
    boxes: list
    masks: np.ndarray
    names: tuple
    scenes: tuple

    def __len__(self):
        return len(self.images)


def shapes(n, size=64, seed=0, difficulty="medium", classes=CLASSES[:5], start=0):
    """Scenes `start` to `start + n - 1` of `seed`, rendered at (size, size) pixels; see `Scenes`.

    difficulty: "easy" (upright, apart, plain), "medium" (turned, touching, textured) or "hard"
    (many, small, overlapping, cut off by the border, noisy). classes: names out of `CLASSES`
    (there are ten; the first five by default); a label is a position in this tuple.
    """
    indices = range(start, start + number_of_scenes(n))
    scenes = tuple(describe(seed, index, size, difficulty, classes) for index in indices)
    pictures = [render(scene) for scene in scenes]
    images = np.array([p[0] for p in pictures], np.float32).reshape(-1, 3, size, size)
    masks = np.array([semantic(s, p[1]) for s, p in zip(scenes, pictures)], np.int64)
    labels = [np.array([o.label for o in s.objects], np.int64) for s in scenes]
    boxes = [visible_boxes(p[1], len(s.objects)) for s, p in zip(scenes, pictures)]
    return Scenes(images, labels, boxes, masks.reshape(-1, size, size), tuple(classes), scenes)


def number_of_scenes(n):
    """`n`, checked to be a number of scenes: an integer of at least 0."""
    if not isinstance(n, (int, np.integer)) or n < 0:
        raise ValueError(f"shapes: n is the number of scenes, an integer of at least 0; got {n!r}.")
    return n


# Describing

def describe(seed, index, size=64, difficulty="medium", classes=CLASSES[:5]):
    """Scene number `index` of `seed`, as a description; nothing is drawn yet."""
    level = checked_level(seed, index, size, difficulty, classes)
    random = np.random.default_rng([seed, index])
    ground = random_ground(random, level)
    places = random_places(random, level, size)
    return Scene(size, ground, tuple(
        random_shape(random, level, ground, classes, order, place)
        for order, place in enumerate(places)))


def checked_level(seed, index, size, difficulty, classes):
    """The `Level` of that difficulty; refuses arguments of `shapes` that make no scene."""
    if difficulty not in LEVELS:
        raise ValueError(f"shapes: difficulty is one of {', '.join(LEVELS)}; got {difficulty!r}.")
    if seed < 0 or index < 0:
        raise ValueError(f"shapes: seed and start are at least 0; got {seed} and {index}.")
    if not isinstance(size, (int, np.integer)) or size < 16:
        raise ValueError(f"shapes: size is an integer of at least 16 pixels; got {size!r}.")
    unknown = [name for name in classes if name not in OUTLINES]
    if isinstance(classes, str) or not classes or unknown:
        raise ValueError(f"shapes: classes are names out of {', '.join(CLASSES)}; got {classes!r}.")
    return LEVELS[difficulty]


def random_ground(random, level):
    """A ground of random colour, with the blotches, stripes and noise of the level."""
    direction, cycles = random.uniform(0, np.pi), random.uniform(0.2, 1.2)
    wave = (cycles * np.cos(direction), cycles * np.sin(direction), random.uniform(0, 2 * np.pi))
    return Ground(tuple(random.uniform(0.15, 0.85, 3)), random.uniform(-1, 1, (3, 4, 4)), wave,
                  level.texture, level.noise, int(random.integers(2 ** 31)))


def random_places(random, level, size):
    """(x, y, radius) of each object, largest first: what is small lies in front, where it stays
    visible. A place that does not keep its distance is tried again; a full scene keeps fewer."""
    count = random.integers(level.objects[0], level.objects[1] + 1)
    radii = np.sort(random.uniform(*level.radius, count))[::-1] * size
    places = []
    for radius in radii:
        margin = level.inside * radius
        for x, y in random.uniform(margin, size - margin, (20, 2)):
            if all(np.hypot(x - a, y - b) >= level.apart * (radius + r) for a, b, r in places):
                places.append((x, y, radius))
                break
    return places


def random_shape(random, level, ground, classes, order, place):
    """A shape of random class, turn and colour at a place (x, y, radius)."""
    x, y, radius = place
    label = int(random.integers(len(classes)))
    angle = random.uniform(-1, 1) * level.turn
    colour = random_colour(random, ground.colour, level.contrast)
    return Shape(label, classes[label], (float(x), float(y)), float(radius), float(angle), colour,
                 order)


def random_colour(random, ground, contrast):
    """The first of sixteen random colours that differs enough from the ground, or the one that
    differs most."""
    colours = random.uniform(0, 1, (16, 3))
    distance = np.linalg.norm(colours - ground, axis=1)
    enough = distance >= contrast
    return tuple(colours[enough.argmax() if enough.any() else distance.argmax()])


# Rendering

def render(scene):
    """The picture (3, size, size) float32 in [0, 1], and the map (size, size) int64 of visible
    objects: 0 is the ground, k + 1 is `scene.objects[k]`. Edges are antialiased; a pixel belongs
    to an object in the map when its centre does."""
    image = render_ground(scene.ground, scene.size)
    visible = np.zeros((scene.size, scene.size), np.int64)
    for k in sorted(range(len(scene.objects)), key=lambda k: scene.objects[k].order):
        paint(image, visible, scene.objects[k], k + 1)
    noise = np.random.default_rng(scene.ground.seed).standard_normal(image.shape, np.float32)
    image += scene.ground.noise * noise
    return np.clip(image, 0, 1, out=image), visible


def render_ground(ground, size):
    """The ground alone, (3, size, size), float32, not yet clipped to [0, 1]."""
    across, down, phase = ground.stripes
    pixels = np.arange(size, dtype=np.float32)
    stripes = np.sin(across * pixels + (down * pixels + phase)[:, None])
    smooth = hat_weights(size, ground.blotches.shape[-1])
    blotches = smooth @ ground.blotches.astype(np.float32) @ smooth.T
    texture = ground.texture * (blotches + 0.3 * stripes.astype(np.float32))
    return np.array(ground.colour, np.float32)[:, None, None] + texture


def hat_weights(size, knots):
    """(size, knots) weights of linear interpolation from `knots` values to `size` pixels."""
    place = np.linspace(0, knots - 1, size, dtype=np.float32)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(knots, dtype=np.float32)))


def paint(image, visible, shape, mark):
    """Paints one object over `image` and writes `mark` where it covers `visible`; only the
    window around its circle is touched."""
    size, (x, y), reach = len(visible), shape.centre, shape.radius + 1
    rows = slice(max(0, int(y - reach)), min(size, int(y + reach) + 1))
    columns = slice(max(0, int(x - reach)), min(size, int(x + reach) + 1))
    distance = signed_distance(shape, np.arange(columns.start, columns.stop) + 0.5 - x,
                               np.arange(rows.start, rows.stop)[:, None] + 0.5 - y)
    coverage = np.clip(0.5 - distance, 0, 1).astype(np.float32)
    window = image[:, rows, columns]
    window += coverage * (np.array(shape.colour, np.float32)[:, None, None] - window)
    visible[rows, columns][distance <= 0] = mark


def signed_distance(shape, right, down):
    """About how many pixels a point lies outside the outline (negative: inside)."""
    cos, sin = np.cos(shape.angle) / shape.radius, np.sin(shape.angle) / shape.radius
    return shape.radius * OUTLINES[shape.name](cos * right + sin * down, cos * down - sin * right)


# Reading off annotations

def semantic(scene, visible):
    """The map of classes (H, W), 0 the background and label + 1 an object, from the map of
    visible objects."""
    return np.array([0] + [o.label + 1 for o in scene.objects], np.int64)[visible]


def visible_boxes(visible, count):
    """The tight box (x0, y0, x1, y1), half open, around the visible pixels of each object; an
    object without any gets (0, 0, 0, 0), which the placement rules out (a test asserts it)."""
    return np.array([tight_box(visible == k + 1) for k in range(count)], np.float32).reshape(-1, 4)


def tight_box(mask):
    """(x0, y0, x1, y1), half open, around the true pixels of a mask (H, W); zeros where none is."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0, 0, 0, 0
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
