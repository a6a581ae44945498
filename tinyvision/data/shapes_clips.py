"""Clips: shapes that move, and the events in them, as in dense video captioning (Krishna, 2017).

A clip is a script: each object rests and acts by turns, and an act is an `Event` with a start, an
end and a sentence. The state of every object in every frame follows from the script.
"""
from dataclasses import dataclass, replace

import numpy as np

from tinyvision.data.outlines import LANDMARKS
from tinyvision.data.shapes import CLASSES, Scene, checked_level, describe, number_of_scenes
from tinyvision.data.shapes_ground import render_ground
from tinyvision.data.shapes_language import a, noun, the
from tinyvision.data.shapes_render import render
from tinyvision.data.shapes_truth import attributes, visible_boxes

TRACKS = {"easy": (1, 1), "medium": (1, 2), "hard": (2, 3)}     # how many objects move
SHORTEST, LONGEST = 4, 8     # frames that an event lasts
PAUSE = (2, 8)               # frames of rest before an event, the second number excluded
RADIUS = (0.09, 0.15)        # in the first frame, fractions of the side: there is room to move
SMALLEST, LARGEST = 0.075, 0.25       # radii in any frame
TURN = 0.3                   # radians a frame: so few that a star does not seem to turn backwards
WHAT = {"left": "moves left", "right": "moves right", "up": "moves up", "down": "moves down",
        "grows": "grows", "shrinks": "shrinks", "turns": "turns", "jumps": "jumps",
        "meets": "moves to"}
TOWARDS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


@dataclass(frozen=True)
class Event:
    """What object `subject` does in the frames `start` to `end` - 1: a key of `WHAT`; to object
    `other`, where it meets one."""
    what: str
    subject: int
    start: int
    end: int
    other: int | None = None


@dataclass(frozen=True)
class Clip:
    """A description: the scene of the first frame, the script, and states (T, M, 4): x, y, radius
    (pixels) and angle (radians) of every object in every frame."""
    scene: Scene
    events: tuple
    states: np.ndarray


@dataclass(frozen=True, eq=False)
class Clips:
    """N clips of T frames and their truth.

    images (N, T, 3, H, W) float32. instances (N, T, H, W) uint8: 0 the ground, k + 1 object k.
    boxes: a list of N float32 arrays (T, M, 4). events: a list of N lists of `Event`, by start.
    captions: a list of N lists of sentences, one for each event; each knows those before it ("then
    it grows"). names: of the classes. clips: the descriptions.
    """
    images: np.ndarray
    instances: np.ndarray
    boxes: list
    events: list
    captions: list
    names: tuple
    clips: tuple

    def __len__(self):
        return len(self.images)

    def __getitem__(self, k):
        """(images (T, 3, H, W), target) number k: events and captions, as tuples."""
        k = range(len(self))[k]
        return self.images[k], {"events": tuple(self.events[k]), "image_id": k,
                                "captions": tuple(self.captions[k])}


def clips(n, frames=24, size=64, seed=0, difficulty="medium", classes=CLASSES[:5], start=0):
    """Clips `start` to `start + n - 1` of `seed`, of so many frames (at least 12); see `Clips`.
    Other arguments as in `shapes`."""
    if frames < 12:
        raise ValueError(f"clips: frames is at least 12, so that something can happen; "
                         f"got {frames!r}.")
    made = tuple(describe_clip(seed, k, frames, size, difficulty, classes)
                 for k in range(start, start + number_of_scenes(n)))
    images = np.empty((n, frames, 3, size, size), np.float32)
    instances = np.empty((n, frames, size, size), np.uint8)
    for k, clip in enumerate(made):
        render_clip(clip, images[k], instances[k])
    boxes = [np.array([visible_boxes(seen, len(clip.scene.objects)) for seen in film])
             for clip, film in zip(made, instances)]
    told = [tell(clip, film[0]) for clip, film in zip(made, instances)]
    return Clips(images, instances, boxes, [list(c.events) for c in made], told, tuple(classes),
                 made)


# Describing

def describe_clip(seed, index, frames=24, size=64, difficulty="medium", classes=CLASSES[:5]):
    """Clip number `index` of `seed`; nothing is drawn yet."""
    level = checked_level(seed, index, size, difficulty, classes)
    moving = TRACKS.get(difficulty, TRACKS["medium"])
    level = replace(level, objects=moving, radius=RADIUS, apart=1.1, inside=1.0)
    scene = describe(seed, index, size, level, classes)
    random = np.random.default_rng([seed, index, 2])
    first = [(*o.centre, o.radius, o.angle) for o in scene.objects]
    states = np.tile(np.array(first), (frames, 1, 1))
    events = []
    for k, shape in enumerate(scene.objects):
        script(random, states, events, k, shape.name, size)
    return Clip(scene, tuple(sorted(events, key=lambda e: (e.start, e.subject))), states)


def script(random, states, events, k, name, size):
    """Lets object k, of this class, act as long as there are frames left; adds its `Event`s and
    changes `states`."""
    now = int(random.integers(*PAUSE))
    while now + SHORTEST < len(states):
        end = min(len(states), now + int(random.integers(SHORTEST, LONGEST + 1)))
        if not is_awaited(events, k, now):
            events += improvise(random, states, k, name, now, end, size)
        now = end + int(random.integers(*PAUSE))


def is_awaited(events, k, start):
    """Whether somebody moves to object k in this frame or later, so that it has to stay."""
    return any(e.other == k and start < e.end for e in events)


def improvise(random, states, k, name, start, end, size):
    """The first act, in random order, that object k has room for in these frames: a list of one
    `Event`, with `states` changed; or none."""
    for what, other in acts(random, states, name, k, start, end):
        path = states[:, k].copy()
        path[start:] = act(random, what, states, k, start, end, other)
        if fits(path, states, k, size) and shows(path, what, start, end):
            states[:, k] = path
            return [Event(what, k, start, end, other)]
    return []


def acts(random, states, name, k, start, end):
    """[(what, other)] that object k, of this class, may try, in random order. It moves to others
    while they rest."""
    choices = [(what, None) for what in WHAT if what != "meets"
               and (what != "turns" or LANDMARKS[name].turns)]
    choices += [("meets", j) for j in range(states.shape[1]) if j != k
                and (states[start - 1:end, j] == states[end - 1, j]).all()]
    return [choices[pick] for pick in random.permutation(len(choices))]


def act(random, what, states, k, start, end, other):
    """The states (frames from start on, 4) of object k that does this until the frame `end` - 1,
    the last one of the act, and then rests."""
    now = states[start - 1, k]
    t = np.minimum(1, np.arange(1, len(states) - start + 1) / (end - start))
    path, radius = np.tile(now, (len(t), 1)), now[2]
    if what in TOWARDS:
        path[:, :2] += t[:, None] * np.multiply(TOWARDS[what], radius * random.uniform(1.3, 2.5))
    elif what == "meets":
        towards = states[start - 1, other, :2] - now[:2]
        gap = 1 - 1.05 * (radius + states[start - 1, other, 2]) / np.hypot(*towards)
        path[:, :2] += t[:, None] * gap * towards
    elif what in ("grows", "shrinks"):
        path[:, 2] *= 1 + t * (0.5 if what == "grows" else -0.35)
    elif what == "turns":
        path[:, 3] += TURN * (end - start) * t
    else:
        path[:, 1] -= 4 * t * (1 - t) * 1.4 * radius
    return path


def fits(path, states, k, size):
    """Whether a path stays inside the picture, of reasonable size, and apart from all others at
    any time."""
    x, y, radius = path[:, 0], path[:, 1], path[:, 2]
    inside = ((x >= radius) & (x <= size - radius) & (y >= radius) & (y <= size - radius)).all()
    away = [np.hypot(x - states[:, j, 0], y - states[:, j, 1]) >= radius + states[:, j, 2]
            for j in range(states.shape[1]) if j != k]
    return inside and np.all(away) and SMALLEST * size <= radius.min() and (
        radius.max() <= LARGEST * size)


def shows(path, what, start, end):
    """Whether one sees it: what moves to somebody has some way to go."""
    way = np.hypot(*(path[end - 1, :2] - path[start - 1, :2]))
    return what != "meets" or way >= path[start, 2]


# Drawing and telling

def frame(clip, t):
    """The `Scene` of frame t of a clip."""
    objects = tuple(replace(o, centre=(x, y), radius=radius, angle=angle) for o, (
        x, y, radius, angle) in zip(clip.scene.objects, clip.states[t].tolist()))
    return replace(clip.scene, objects=objects)


def render_clip(clip, images, instances):
    """Draws all frames into images (T, 3, H, W) and instances (T, H, W). The noise changes from
    frame to frame, the ground does not."""
    ground = render_ground(clip.scene.ground, clip.scene.size)
    for t in range(len(images)):
        images[t], instances[t] = render(frame(clip, t), ground, noise=t)


def tell(clip, visible):
    """A sentence for each event. An object that acts again is "it", where nobody else acted since:
    "the red star moves left", "then it grows"."""
    things = attributes(clip.scene, visible)
    names = [the(t, things) or a(noun(t, "size", "colour")) for t in things]
    told, last = [], None
    for event in clip.events:
        subject = "then it" if event.subject == last else names[event.subject]
        target = "" if event.other is None else " " + names[event.other]
        told.append(f"{subject} {WHAT[event.what]}{target}")
        last = event.subject
    return told
