"""Situations: somebody doing something, as in grounded situation recognition (Pratt et al., 2020).

A verb has roles, a role is played by an object of the scene (or by nobody), and the place is the
stuff around the feet. Each verb is geometry: where the limbs are, and what they touch.
"""
from dataclasses import dataclass, replace

import numpy as np

from tinyvision.data.outlines import LIMB
from tinyvision.data.shapes import Scene, checked_level, number_of_scenes
from tinyvision.data.shapes_ground import random_ground
from tinyvision.data.shapes_scenes import rendered
from tinyvision.data.shapes_stage import NAMES, Stage, rim, slide, touching

OTHERS = {"easy": 0, "medium": 1, "hard": 2}     # most objects that have no role


@dataclass(frozen=True)
class Verb:
    """pose: the arms (the one on the acting side first) and legs; reach: smallest and largest gap
    between the limb and the thing acted on, in radii of the agent; role: what that thing is
    called; optional: the role that may be played by nobody."""
    pose: tuple
    role: str = ""
    reach: tuple = (0, 0)
    target: bool = False
    optional: str = ""

    @property
    def roles(self):
        """The names of the roles, agent first and place last."""
        middle = [self.role] * bool(self.role) + ["target"] * self.target
        return ("agent", *middle, "place")


VERBS = {
    "waving": Verb((2.3, 0.5, 0.25, 0.25)),
    "pointing": Verb((1.55, 0.5, 0.2, 0.2), "target", (0.9, 1.6)),
    "holding": Verb((1.25, 0.5, 0.2, 0.2), "item"),
    "lifting": Verb((2.75, 2.75, 0.3, 0.3), "item"),
    "pushing": Verb((0.85, -0.6, 0.1, 0.7), "item"),
    "kicking": Verb((0.9, 1.3, 1.15, 0.05), "item", (0.05, 0.3), True, "target"),
    "throwing": Verb((2.15, 0.8, 0.45, 0.45), "item", (0.15, 0.45), True, "target"),
    "jumping": Verb((1.9, 1.9, 0.95, 0.95), "obstacle", (0.08, 0.3), False, "obstacle"),
    "climbing": Verb((1.3, 1.3, 0.3, 0.3), "support"),
}


@dataclass(frozen=True)
class Situation:
    """What is going on: a verb, and for each role except the place (role, object), where object
    is a position in `scene.objects`, or None for a role that nobody plays."""
    verb: str
    parts: tuple


def situations(n, size=64, seed=0, difficulty="medium", start=0):
    """`Scenes` in which somebody does something; `scenes.situations` says what. Their classes are
    `NAMES`; arguments as in `shapes`."""
    indices = range(start, start + number_of_scenes(n))
    scenes = tuple(describe_situation(seed, k, size, difficulty) for k in indices)
    return rendered(scenes, NAMES, size)


def describe_situation(seed, index, size=64, difficulty="medium"):
    """Situation number `index` of `seed`, as a `Scene`; nothing is drawn yet."""
    level = replace(checked_level(seed, index, size, difficulty, NAMES), bands=(2, 2))
    random = np.random.default_rng([seed, index, 1])
    ground = random_ground(random, level)
    stage = Stage(random, ground, size, level.contrast)
    verb = list(VERBS)[random.integers(len(VERBS))]
    parts = ACTS.get(verb, act)(stage, VERBS[verb])
    for _ in range(random.integers(OTHERS.get(difficulty, 1) + 1)):
        stage.bystander()
    return Scene(size, ground, tuple(stage.objects), NAMES, Situation(verb, parts))


# Acting: each puts everybody on the stage and returns who plays which role.

def act(stage, verb):
    """Nothing but the agent."""
    return (("agent", stage.agent(verb)),)


def act_pointing(stage, verb):
    """A straight arm towards something some way off, on the floor."""
    me = stage.agent(verb)
    radius = stage.objects[me].radius
    x = stage.limb(0)[0] + stage.side * stage.random.uniform(*verb.reach) * radius
    low, high = 0.09 * stage.size, 0.12 * stage.size
    x = np.clip(x, high, stage.size - high)
    return (("agent", me), ("target", stage.thing(x, low, high)))


def act_on(stage, verb, point, direction, low, high, names=NAMES[1:]):
    """Something that a limb touches, or has just left; it need not be on the floor."""
    radius = stage.objects[0].radius
    k = stage.thing(0, low * radius, high * radius, names)
    gap = LIMB * radius + stage.random.uniform(*verb.reach) * radius
    stage.move(k, *slide(stage.objects[k], point, direction, gap))
    return k


def act_holding(stage, verb):
    """Something on one hand."""
    me = stage.agent(verb)
    return (("agent", me), ("item", act_on(stage, verb, stage.limb(0), (0, -1), 0.4, 0.55)))


def act_lifting(stage, verb):
    """Something on both hands, above the head."""
    me = stage.agent(verb)
    hands = (stage.limb(0) + stage.limb(1)) / 2
    return (("agent", me), ("item", act_on(stage, verb, hands, (0, -1), 0.5, 0.65)))


def act_pushing(stage, verb):
    """Something large on the floor that both hands touch."""
    me = stage.agent(verb)
    radius = stage.objects[me].radius
    k = stage.thing(0, 0.75 * radius, 0.85 * radius, ("circle", "square", "cross"))
    shape, hand = stage.objects[k], stage.limb(0)
    # Along the floor, not straight from the hand.
    level = replace(shape, centre=(hand[0], shape.centre[1]))
    stage.move(k, x=touching(level, hand, stage.side, LIMB * radius))
    return (("agent", me), ("item", k))


def act_kicking(stage, verb):
    """Something that leaves the foot, perhaps towards a target."""
    me = stage.agent(verb)
    item = act_on(stage, verb, stage.limb(2), (stage.side, 0), 0.3, 0.45)
    return (("agent", me), ("item", item), ("target", perhaps_target(stage, item)))


def act_throwing(stage, verb):
    """Something that leaves the raised hand, perhaps towards a target."""
    me = stage.agent(verb)
    item = act_on(stage, verb, stage.limb(0), (0.8 * stage.side, -0.6), 0.3, 0.45)
    return (("agent", me), ("item", item), ("target", perhaps_target(stage, item)))


def perhaps_target(stage, item):
    """A target on the floor, beyond the item and apart from it; or nobody."""
    if stage.random.integers(2):
        return None
    thing = stage.objects[item]
    k = stage.thing(stage.far(), 0.07 * stage.size, 0.1 * stage.size)
    shape = stage.objects[k]
    if np.hypot(shape.centre[0] - thing.centre[0], shape.centre[1] - thing.centre[1]) < 1.1 * (
            shape.radius + thing.radius):
        stage.objects.pop()
        return None
    return k


def act_jumping(stage, verb):
    """In the air, perhaps over something."""
    if stage.random.integers(2):
        return (("agent", stage.agent(verb, 0.1 * stage.size)), ("obstacle", None))
    return on_top(stage, verb, stage.random.uniform(*verb.reach))


def act_climbing(stage, verb):
    """On top of something."""
    return on_top(stage, verb, 0)


def on_top(stage, verb, gap):
    """The agent above something on the floor; between them `gap` radii of the agent."""
    me = stage.agent(verb)
    agent = stage.objects[me]
    k = stage.thing(agent.centre[0], 0.6 * agent.radius, 0.8 * agent.radius, ("circle", "square"))
    below = stage.objects[k]
    top = below.centre[1] + rim(below.name)[:, 1].min() * below.radius
    stage.move(me, y=agent.centre[1] - (stage.floor - top) - gap * agent.radius)
    return (("agent", me), (verb.role, k))


ACTS = dict(pointing=act_pointing, holding=act_holding, lifting=act_lifting, pushing=act_pushing,
            kicking=act_kicking, throwing=act_throwing, jumping=act_jumping,
            climbing=act_climbing)
