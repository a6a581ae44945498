"""The stage on which `shapes_situations` sets its scenes, and how to put things next to limbs."""
from dataclasses import replace
from functools import cache

import numpy as np

from tinyvision.data.outlines import LIMB, OUTLINES, limbs
from tinyvision.data.shapes import CLASSES, Shape
from tinyvision.data.shapes_colours import random_colour
from tinyvision.data.shapes_render import to_picture

NAMES = ("figure", *CLASSES[:5])
ADULT, CHILD = (0.215, 0.25), (0.15, 0.175)      # radii of figures, fractions of the side


class Stage:
    """A scene being set up: where the floor is, which side is acted on, and who is there."""

    def __init__(self, random, ground, size, contrast):
        self.random, self.ground, self.size, self.contrast = random, ground, size, contrast
        self.floor = random.uniform(0.8, 0.9) * size
        self.side = 1 if random.integers(2) else -1
        self.objects = []

    def add(self, name, x, y, radius, pose=()):
        """Puts a shape there, upright, in a colour that nobody else has; its position."""
        colour = random_colour(self.random, self.ground.colours + self.colours(), self.contrast)
        order = len(self.objects)
        self.objects.append(Shape(NAMES.index(name), name, (float(x), float(y)), float(radius), 0.0,
                                  colour, order, pose))
        return order

    def colours(self):
        """The colours of everybody on the stage."""
        return tuple(shape.colour for shape in self.objects)

    def agent(self, verb, lift=0.0):
        """Puts a figure in the verb's pose, its lowest foot `lift` above the floor."""
        radius = self.size * self.random.uniform(*(ADULT, CHILD)[self.random.integers(2)])
        pose = tuple((np.array(verb.pose) + self.random.uniform(-0.07, 0.07, 4)).tolist())
        pose = pose if self.side == 1 else (pose[1], pose[0], pose[3], pose[2])
        lowest = max(v for _, v in limbs(pose)[2:]) + LIMB
        x = self.size * (0.5 - self.side * self.random.uniform(0.08, 0.2))
        return self.add("figure", x, self.floor - lift - lowest * radius, radius, pose)

    def thing(self, x, low, high, names=NAMES[1:]):
        """Puts a random shape of a radius between low and high on the floor at x."""
        name = names[self.random.integers(len(names))]
        radius = self.random.uniform(low, high)
        return self.add(name, x, self.floor - radius * lowest(name), radius)

    def move(self, k, x=None, y=None):
        """Moves object k to another x or y."""
        old = self.objects[k].centre
        centre = (old[0] if x is None else float(x), old[1] if y is None else float(y))
        self.objects[k] = replace(self.objects[k], centre=centre)

    def limb(self, k):
        """Where hand or foot k (0 and 1 the hands, 2 and 3 the feet, the acting side first) of the
        agent, the first object, is in the picture."""
        shape = self.objects[0]
        k = k if self.side == 1 else k ^ 1
        return to_picture(shape, limbs(shape.pose))[k]

    def far(self):
        """An x towards the edge of the picture on the acting side."""
        return self.size * (0.5 + self.side * 0.38)

    def bystander(self):
        """Puts something small where it is far from everybody, behind the agent if need be; or
        nothing, where there is no room."""
        radius = self.size * self.random.uniform(0.06, 0.08)
        behind = self.objects[0].centre[0] - self.side * self.size * self.random.uniform(0.1, 0.4)
        height = self.size * self.random.uniform(0.1, 0.9)
        inside = radius < behind < self.size - radius and radius < height < self.size - radius
        apart = all(np.hypot(behind - o.centre[0], height - o.centre[1]) > 1.1 * (radius + o.radius)
                    for o in self.objects)
        if inside and apart:
            self.add(NAMES[1 + self.random.integers(len(NAMES) - 1)], behind, height, radius)


@cache
def rim(name):
    """(P, 2) points (u, v) along the inside of the border of an upright outline."""
    v, u = np.mgrid[-1.1:1.1:111j, -1.1:1.1:111j]
    inside = OUTLINES[name](u, v) <= 0
    inner = np.logical_and.reduce([np.roll(inside, step, axis) for step in (-1, 1)
                                   for axis in (0, 1)])
    return np.column_stack([u[inside & ~inner], v[inside & ~inner]])


def lowest(name):
    """How far an upright outline of radius 1 reaches down."""
    return float(rim(name)[:, 1].max())


def slide(shape, point, direction, gap):
    """The centre closest to `point`, seen from it in `direction`, at which a shape keeps `gap`
    pixels away from the point."""
    steps = np.linspace(0, 1.5 * shape.radius + gap, 120)
    edge = steps[:, None, None] * np.array(direction) + shape.radius * rim(shape.name)
    near = np.flatnonzero(np.hypot(edge[..., 0], edge[..., 1]).min(1) <= gap)
    step = steps[near[-1]] if len(near) else 0
    return point[0] + step * direction[0], point[1] + step * direction[1]


def touching(shape, point, side, gap):
    """The x farthest to a side at which a shape, moved along, is `gap` pixels from the point."""
    steps = np.linspace(0, 2 * shape.radius, 200)
    edge = shape.radius * rim(shape.name) + np.subtract(shape.centre, point)
    apart = np.hypot(edge[:, 0] + side * steps[:, None], edge[:, 1]).min(1)
    near = np.flatnonzero(apart <= gap)
    return shape.centre[0] + side * steps[near[-1] if len(near) else 0]
