"""Reading annotations off a scene: boxes, masks, keypoints, attributes, factors.

Each function takes a `Scene` and the map (H, W) of visible objects that `render` returns: 0 is the
ground, k + 1 is `scene.objects[k]`.
"""
from dataclasses import dataclass

import numpy as np

from tinyvision.data.outlines import LANDMARKS, landmark_points
from tinyvision.data.shapes_colours import colour_name
from tinyvision.data.shapes_ground import STUFF, bands
from tinyvision.data.shapes_memory import once_a_scene
from tinyvision.data.shapes_render import footprint, signed_distance, to_picture

LARGE = 0.055        # a thing is large when it shows at least this part of the picture
ADULT = 0.19         # a figure is an adult from this radius on, in fractions of the side
MOSTLY = 0.8         # a thing lies on stuff when at least this part of it does


def semantic(scene, visible):
    """The map of classes (H, W) int64: 0 the background, label + 1 an object."""
    return np.array([0] + [o.label + 1 for o in scene.objects], np.int64)[visible]


def stuff(scene, visible):
    """The map (H, W) int64 of stuff: 0 where an object is seen, else 1 + its position in
    `STUFF`."""
    kinds = list(STUFF)
    code = np.array([1 + kinds.index(name) if name in STUFF else 0 for name in scene.ground.stuff])
    return np.where(visible > 0, 0, code[bands(scene.ground, scene.size)])


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


# Panoptic

@dataclass(frozen=True)
class Segment:
    """One piece of a panoptic map. `category` counts the classes of things first, then `STUFF`;
    `area` in pixels; `box` (x0, y0, x1, y1)."""
    id: int
    category: int
    name: str
    thing: bool
    area: int
    box: tuple


def panoptic(scene, visible):
    """(map, segments): every pixel has the id of one segment; a map (H, W) int64, and a list of
    `Segment`, the objects first, then the bands of stuff. Every segment is seen somewhere."""
    first = len(scene.objects) + 1
    ids = np.where(visible > 0, visible, first + bands(scene.ground, scene.size).astype(np.int64))
    named = [(o.name, o.label, True) for o in scene.objects]
    kinds = list(STUFF)
    named += [(name, len(scene.names) + kinds.index(name) if name in STUFF else -1, False)
              for name in scene.ground.stuff]
    segments = [segment(ids, k + 1, *what) for k, what in enumerate(named)]
    return ids, [one for one in segments if one.area]


def segment(ids, number, name, category, thing):
    """The `Segment` with this number in a map of ids."""
    mask = ids == number
    return Segment(number, category, name, thing, int(mask.sum()), to_numbers(tight_box(mask)))


def to_numbers(box):
    """A box as a tuple of Python's own integers."""
    return tuple(int(edge) for edge in box)


# Keypoints

def keypoints(scene, visible):
    """Keypoints (M, K, 3) float32 as in COCO: x and y in pixels, and v: 2 visible, 1 hidden behind
    another object, 0 outside the picture or not a keypoint of this class (then x = y = 0). K is
    the largest number of landmarks among the scene's classes; `outlines.LANDMARKS` names them."""
    most = max(len(LANDMARKS[name].points) for name in scene.names)
    found = np.zeros((len(scene.objects), most, 3), np.float32)
    for k, shape in enumerate(scene.objects):
        points = landmarks(shape)
        inside = ((points >= 0) & (points < scene.size)).all(1)
        state = np.where([is_hidden(scene, shape, point) for point in points], 1, 2)
        found[k, :len(points)] = np.column_stack([points, state]) * inside[:, None]
    return found


def landmarks(shape):
    """(K, 2) pixels of a shape's landmarks; where turned copies look the same, numbered from the
    topmost in the picture, of two equally high from the left one."""
    known = LANDMARKS[shape.name]
    points = landmark_points(shape.name, shape.pose)
    if not known.turns:
        return points * shape.radius + shape.centre
    points = to_picture(shape, points)
    shifts = [k * len(points) // known.fold for k in range(known.fold)]
    first = min(shifts, key=lambda k: (round(points[k, 1], 3), points[k, 0]))
    return np.roll(points, -first, axis=0)


def is_hidden(scene, shape, point):
    """Whether an object in front of `shape` covers a point (x, y)."""
    return any(other.order > shape.order and signed_distance(
        other, point[0] - other.centre[0], point[1] - other.centre[1]) <= 0
        for other in scene.objects)


# Attributes

PLACES = (("at the top left", "at the top", "at the top right"),
          ("on the left", "in the middle", "on the right"),
          ("at the bottom left", "at the bottom", "at the bottom right"))


@dataclass(frozen=True)
class Thing:
    """What can be said of one object by itself, all of it from its visible pixels.

    shape and colour: words. size: "large" or "small" (`LARGE`). place: which ninth of the picture
    the middle of its box is in (`PLACES`). ground: the stuff on which at least `MOSTLY` of it
    lies, or None. box (x0, y0, x1, y1) and area in pixels. hidden: the part of it that others
    cover. cut: whether the border of the picture cuts it off.
    """
    index: int
    shape: str
    colour: str
    size: str
    place: str
    ground: str | None
    box: tuple
    area: int
    hidden: float
    cut: bool

    @property
    def middle(self):
        """The middle (x, y) of the box."""
        x0, y0, x1, y1 = self.box
        return (x0 + x1) / 2, (y0 + y1) / 2


@once_a_scene
def attributes(scene, visible):
    """A `Thing` for each object: shape, colour, size, place, ground, box, area, hidden, cut."""
    below = bands(scene.ground, scene.size)
    return [thing(scene, k, visible == k + 1, below) for k in range(len(scene.objects))]


def thing(scene, k, mask, below):
    """The `Thing` of object k, whose visible pixels are `mask`."""
    shape, area, box = scene.objects[k], int(mask.sum()), to_numbers(tight_box(mask))
    size = "large" if area >= LARGE * scene.size ** 2 else "small"
    whole = footprint(shape, scene.size).sum()
    return Thing(k, shape.name, colour_name(shape.colour), size, place(box, scene.size),
                 main_stuff(scene.ground, below[mask]), box, area,
                 float(1 - area / whole) if whole else 0.0, is_cut(shape, scene.size))


def place(box, size):
    """Which of the nine `PLACES` the middle of a box lies in."""
    row, column = (min(2, int(3 * (box[k] + box[k + 2]) / (2 * size))) for k in (1, 0))
    return PLACES[row][column]


def main_stuff(ground, below):
    """The stuff that most of these pixels lie on: a name, or None where it is less than
    `MOSTLY`."""
    share = np.bincount(below, minlength=len(ground.stuff)) / max(1, len(below))
    return ground.stuff[share.argmax()] if share.max() >= MOSTLY else None


def is_cut(shape, size):
    """Whether a part of the outline lies beyond the border of the picture."""
    # It reaches out of the picture exactly when it reaches a line on which a border lies.
    reach = 2 * shape.radius
    line, (x, y) = np.arange(-reach, size + reach, 0.5), shape.centre
    distances = [signed_distance(shape, line - x, edge - y) for edge in (0, size)]
    distances += [signed_distance(shape, edge - x, line - y) for edge in (0, size)]
    return bool(min(distance.min() for distance in distances) < 0)


def factors(scene, visible):
    """What the scene was made from, (M, 9) float32: label, x, y and radius as fractions of the
    side, angle in radians, red, green, blue, order. See also `shapes_factors`."""
    rows = [(o.label, o.centre[0] / scene.size, o.centre[1] / scene.size, o.radius / scene.size,
             o.angle, *o.colour, o.order) for o in scene.objects]
    return np.array(rows, np.float32).reshape(-1, 9)


# Situations

@dataclass(frozen=True)
class Role:
    """Who plays a role: a noun, the object (a position in `scene.objects`) and the box
    (x0, y0, x1, y1) of what is seen of it. All three are None where nobody plays it; the place
    has no object. The noun of a figure is "adult" or "child", by its height."""
    name: str
    noun: str | None
    object: int | None
    box: tuple | None


def situation(scene, visible):
    """(verb, [`Role`]) of a scene of `situations`, the agent first and the place last; None for a
    scene in which nothing is going on."""
    if scene.situation is None:
        return None
    boxes = [to_numbers(tight_box(visible == k + 1)) for k in range(len(scene.objects))]
    roles = [Role(name, None, None, None) if k is None else
             Role(name, role_noun(scene.objects[k], scene.size), k, boxes[k])
             for name, k in scene.situation.parts]
    below = np.where(visible > 0, 255, bands(scene.ground, scene.size))
    box = to_numbers(tight_box(below == len(scene.ground.stuff) - 1))
    return scene.situation.verb, [*roles, Role("place", scene.ground.stuff[-1], None, box)]


def role_noun(shape, size):
    """The word for who plays a role."""
    if shape.name != "figure":
        return shape.name
    return "adult" if shape.radius >= ADULT * size else "child"
