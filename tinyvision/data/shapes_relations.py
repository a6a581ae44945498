"""Which object is left of, above, in front of, or larger than which: each predicate is geometry.

All of it can be recomputed from the annotated boxes and masks: directions compare the middles of
the visible boxes, sizes the visible areas, and one object is in front of another where it covers
some of it.
"""
from dataclasses import dataclass

import numpy as np

from tinyvision.data.shapes_memory import once_a_scene
from tinyvision.data.shapes_render import footprint
from tinyvision.data.shapes_truth import attributes

COVERS = 0.03        # in front: covers at least this part of what the other would show
LARGER = 1.5         # larger: shows at least this times as many pixels


@dataclass(frozen=True)
class Relation:
    """A triple: subject and object are positions in `scene.objects`, predicate is a word."""
    subject: int
    predicate: str
    object: int


def offset(a, b):
    """(across, down): how far the middle of b's box lies right of and below the middle of a's."""
    return b.middle[0] - a.middle[0], b.middle[1] - a.middle[1]


def left_of(a, b):
    """b lies to the right of a, and more across than down."""
    across, down = offset(a, b)
    return across > abs(down)


def above(a, b):
    """b lies below a, and more down than across."""
    across, down = offset(a, b)
    return down > abs(across)


def larger(a, b):
    """a shows at least `LARGER` times as many pixels as b."""
    return a.area >= LARGER * b.area


# Every predicate is a function of two `Thing`s and of `covers`: covers[i, j] says that object i
# hides part of object j.
SPATIAL = {
    "left of": lambda a, b, covers: left_of(a, b),
    "right of": lambda a, b, covers: left_of(b, a),
    "above": lambda a, b, covers: above(a, b),
    "below": lambda a, b, covers: above(b, a),
    "in front of": lambda a, b, covers: bool(covers[a.index, b.index]),
    "behind": lambda a, b, covers: bool(covers[b.index, a.index]),
}
COMPARING = {
    "larger than": lambda a, b, covers: larger(a, b),
    "smaller than": lambda a, b, covers: larger(b, a),
    "the same colour as": lambda a, b, covers: a.colour == b.colour,
    "the same shape as": lambda a, b, covers: a.shape == b.shape,
}
PREDICATES = tuple(SPATIAL)


@once_a_scene
def relations(scene, visible):
    """All spatial `Relation`s, sorted by subject and object: "left of", "right of", "above",
    "below" (one direction a pair at most), "in front of" and "behind"."""
    return holding(SPATIAL, attributes(scene, visible), coverings(scene))


@once_a_scene
def comparisons(scene, visible):
    """All `Relation`s that compare: "larger than", "smaller than", "the same colour as", "the
    same shape as"."""
    return holding(COMPARING, attributes(scene, visible), coverings(scene))


def holding(predicates, things, covers):
    """The triples that hold among these things."""
    return [Relation(a.index, word, b.index) for a in things for b in things if a is not b
            for word, holds in predicates.items() if holds(a, b, covers)]


@once_a_scene
def coverings(scene):
    """(M, M) bool: whether object i lies in front of object j and over `COVERS` of it."""
    whole = [footprint(shape, scene.size) for shape in scene.objects]
    covers = np.zeros((len(whole), len(whole)), bool)
    for i, front in enumerate(scene.objects):
        for j, back in enumerate(scene.objects):
            if front.order > back.order:
                covers[i, j] = (whole[i] & whole[j]).sum() >= max(1, COVERS * whole[j].sum())
    return covers
