"""The ten outlines that shapes can have.

An outline is a function f(u, v) of arrays in the shape's own coordinates (u right, v down, the
shape inside the unit circle). It is negative inside, positive outside and 0 on the border, and
near the border it grows by about 1 per unit: the renderer reads coverage of a pixel from it.
"""
import numpy as np


def box(u, v, half_width, half_height):
    """An upright rectangle around the origin."""
    return np.maximum(np.abs(u) - half_width, np.abs(v) - half_height)


def circle(u, v):
    """A disc of radius 0.95."""
    return np.hypot(u, v) - 0.95


def square(u, v):
    """A square of side 1.4."""
    return box(u, v, 0.7, 0.7)


def triangle(u, v):
    """An equilateral triangle, point up."""
    # Half planes: the base below, and one slanted side, mirrored by abs(u).
    return np.maximum(v - 0.5, 0.8660254 * np.abs(u) - 0.5 * v - 0.5)


def star(u, v):
    """A star of five points, one up."""
    # Fold the plane onto one half of one of the five points, where the border is one line.
    step = 2 * np.pi / 5
    angle = np.arctan2(u, -v)
    folded = np.abs(angle - step * np.round(angle / step))
    radius = np.hypot(u, v)
    return 0.4387 * radius * np.cos(folded) + 0.8987 * radius * np.sin(folded) - 0.4387


def cross(u, v):
    """A plus sign with arms of width 0.6."""
    return np.minimum(box(u, v, 0.94, 0.3), box(u, v, 0.3, 0.94))


def ring(u, v):
    """A ring between the radii 0.49 and 0.95."""
    return np.abs(np.hypot(u, v) - 0.72) - 0.23


def crescent(u, v):
    """A disc without another disc to its right."""
    return np.maximum(np.hypot(u, v) - 0.98, 0.8 - np.hypot(u - 0.5, v))


def bar(u, v):
    """A wide, flat rectangle."""
    return box(u, v, 0.95, 0.28)


def arrow(u, v):
    """An arrow pointing up: a triangle on a shaft."""
    head = np.maximum(v - 0.0, 0.7071068 * (np.abs(u) - v - 0.95))
    return np.minimum(head, box(u, v - 0.45, 0.26, 0.5))


def hourglass(u, v):
    """Two triangles that meet in their points."""
    return np.maximum(np.abs(v) - 0.7, 0.7071068 * (np.abs(u) - np.abs(v)))


OUTLINES = dict(circle=circle, square=square, triangle=triangle, star=star, cross=cross,
                ring=ring, crescent=crescent, bar=bar, arrow=arrow, hourglass=hourglass)
