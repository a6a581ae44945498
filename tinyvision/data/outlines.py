"""The outlines that shapes can have, and the landmarks on each.

An outline is a function f(u, v) of arrays in the shape's own coordinates (u right, v down, the
shape inside the unit circle). It is negative inside, positive outside and 0 on the border, and
near the border it grows by about 1 per unit: the renderer reads coverage of a pixel from it.
"""
from dataclasses import dataclass

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


# The figure: a little person that can move its limbs

STANDING = (0.5, 0.5, 0.25, 0.25)
HEAD, NECK, HIP = (0.0, -0.7), (0.0, -0.42), (0.0, 0.16)
HEAD_RADIUS, TORSO, LIMB, ARM, LEG = 0.25, 0.15, 0.1, 0.62, 0.7


def figure(u, v, pose=STANDING):
    """A person seen from the front. pose: the angles of the left and right arm and the left and
    right leg in radians, 0 hanging down, positive away from the body. It faces us: what is left
    to the figure lies on the right of the picture."""
    parts = [np.hypot(u - HEAD[0], v - HEAD[1]) - HEAD_RADIUS, capsule(u, v, NECK, HIP, TORSO)]
    starts, ends = (NECK, NECK, HIP, HIP), limbs(pose)
    parts += [capsule(u, v, start, end, LIMB) for start, end in zip(starts, ends)]
    return np.minimum.reduce(parts)


def limbs(pose):
    """Where the left hand, right hand, left foot and right foot of a pose are: four (u, v)."""
    sides, lengths, starts = (1, -1, 1, -1), (ARM, ARM, LEG, LEG), (NECK, NECK, HIP, HIP)
    return [(u + side * length * float(np.sin(angle)), v + length * float(np.cos(angle)))
            for side, length, (u, v), angle in zip(sides, lengths, starts, pose)]


def capsule(u, v, start, end, thickness):
    """All points closer to the segment from start to end than the thickness."""
    along, down = end[0] - start[0], end[1] - start[1]
    part = ((u - start[0]) * along + (v - start[1]) * down) / (along ** 2 + down ** 2)
    part = np.clip(part, 0, 1)
    return np.hypot(u - start[0] - part * along, v - start[1] - part * down) - thickness


OUTLINES = dict(circle=circle, square=square, triangle=triangle, star=star, cross=cross,
                ring=ring, crescent=crescent, bar=bar, arrow=arrow, hourglass=hourglass,
                figure=figure)


# Landmarks

@dataclass(frozen=True)
class Landmarks:
    """Named points of an outline, a little inside its border, clockwise where they go around.

    A star turned by a fifth is the same star, so that no picture tells its tips apart. Where an
    outline repeats itself `fold` times, the points are numbered from the topmost in the *picture*;
    where `turns` is false (a disc) they do not turn at all.
    """
    names: tuple
    points: tuple        # (u, v) of each
    fold: int = 1
    turns: bool = True


def around(names, radius, **options):
    """Landmarks on a circle, evenly, the first on top."""
    angles = 2 * np.pi * np.arange(len(names)) / len(names)
    points = tuple((radius * float(np.sin(a)), -radius * float(np.cos(a))) for a in angles)
    return Landmarks(names, points, **options)


SIDES = ("top", "right", "bottom", "left")
CORNERS = tuple(f"corner {k}" for k in (1, 2, 3, 4))
TIPS = tuple(f"tip {k}" for k in (1, 2, 3, 4, 5))
JOINTS = ("head", "neck", "hip", "left hand", "right hand", "left foot", "right foot")

LANDMARKS = dict(
    circle=around(SIDES, 0.8, turns=False),
    square=Landmarks(CORNERS, ((0.58, -0.58), (0.58, 0.58), (-0.58, 0.58), (-0.58, -0.58)), 4),
    triangle=around(CORNERS[:3], 0.76, fold=3),
    star=around(TIPS, 0.74, fold=5),
    cross=around(TIPS[:4], 0.8, fold=4),
    ring=around(SIDES, 0.72, turns=False),
    crescent=Landmarks(("horn 1", "back", "horn 2"), ((0.42, 0.82), (-0.62, 0), (0.42, -0.82))),
    bar=Landmarks(("end 1", "end 2"), ((0.8, 0), (-0.8, 0)), 2),
    arrow=Landmarks(("tip", "right barb", "tail", "left barb"),
                    ((0, -0.72), (0.68, -0.12), (0, 0.82), (-0.68, -0.12))),
    hourglass=Landmarks(CORNERS, ((0.5, -0.6), (0.5, 0.6), (-0.5, 0.6), (-0.5, -0.6)), 2),
    figure=Landmarks(JOINTS, (HEAD, NECK, HIP, *limbs(STANDING))),
)


def landmark_points(name, pose=()):
    """(K, 2) own coordinates of the landmarks of an outline, in a pose if it can have one."""
    points = LANDMARKS[name].points
    return np.array((*points[:3], *limbs(pose)) if pose else points)
