"""Drawing a described scene: the picture, and which object is seen at every pixel."""
import functools

import numpy as np

from tinyvision.data.outlines import OUTLINES
from tinyvision.data.shapes_ground import render_ground


def render(scene, ground=None, noise=None):
    """The picture (3, size, size) float32 in [0, 1], and the map (size, size) int64 of visible
    objects: 0 is the ground, k + 1 is `scene.objects[k]`. Edges are antialiased; a pixel belongs
    to an object in the map when its centre does. ground: `render_ground`'s answer, where somebody
    has it already; noise: a seed for the pixel noise other than the ground's."""
    image = render_ground(scene.ground, scene.size) if ground is None else ground.copy()
    visible = np.zeros((scene.size, scene.size), np.int64)
    for k in sorted(range(len(scene.objects)), key=lambda k: scene.objects[k].order):
        paint(image, visible, scene.objects[k], k + 1)
    add_noise(image, scene.ground, noise)
    return np.clip(image, 0, 1, out=image), visible


def add_noise(image, ground, seed=None):
    """Adds the ground's pixel noise to an image, in place."""
    if ground.noise:
        # A stream of its own: the ground's own seed makes the grain of its sand.
        random = np.random.default_rng([ground.seed, 1 if seed is None else 2 + seed])
        image += ground.noise * random.standard_normal(image.shape, np.float32)


def paint(image, visible, shape, mark):
    """Paints one object over `image` and writes `mark` where it covers `visible`."""
    rows, columns = window(shape, len(visible))
    distance = window_distance(shape, rows, columns)
    coverage = np.clip(0.5 - distance, 0, 1).astype(np.float32)
    part = image[:, rows, columns]
    part += coverage * (np.array(shape.colour, np.float32)[:, None, None] - part)
    visible[rows, columns][distance <= 0] = mark


def window(shape, size):
    """The rows and columns around a shape's circle, as slices that stay inside the picture."""
    return tuple(slice(min(size, max(0, int(middle - shape.radius - 1))),
                       max(0, min(size, int(middle + shape.radius + 1) + 1)))
                 for middle in reversed(shape.centre))


def window_distance(shape, rows, columns):
    """The signed distance of the centres of the pixels in these rows and columns."""
    x, y = shape.centre
    return signed_distance(shape, np.arange(columns.start, columns.stop) + 0.5 - x,
                           np.arange(rows.start, rows.stop)[:, None] + 0.5 - y)


def signed_distance(shape, right, down):
    """About how many pixels a point lies outside the outline (negative: inside). right, down:
    the point as seen from the shape's centre, in pixels."""
    cos, sin = np.cos(shape.angle) / shape.radius, np.sin(shape.angle) / shape.radius
    return shape.radius * outline(shape)(cos * right + sin * down, cos * down - sin * right)


def outline(shape):
    """The function f(u, v) of a shape: its outline, in its pose if it has one."""
    plain = OUTLINES[shape.name]
    return functools.partial(plain, pose=shape.pose) if shape.pose else plain


def footprint(shape, size):
    """All pixels (size, size) that a shape would cover if nothing lay in front of it: bool."""
    covered = np.zeros((size, size), bool)
    rows, columns = window(shape, size)
    covered[rows, columns] = window_distance(shape, rows, columns) <= 0
    return covered


def to_picture(shape, points):
    """Where (K, 2) own coordinates (u, v) of a shape lie in the picture: (K, 2) pixels (x, y)."""
    cos, sin = np.cos(shape.angle), np.sin(shape.angle)
    return shape.radius * np.asarray(points) @ [[cos, sin], [-sin, cos]] + shape.centre
