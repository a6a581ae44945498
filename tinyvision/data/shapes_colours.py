"""The colours that shapes can have: eight that everybody names alike, a little varied."""
import numpy as np

COLOURS = {
    "red": (0.86, 0.12, 0.12), "orange": (0.98, 0.52, 0.05), "yellow": (0.97, 0.88, 0.12),
    "green": (0.08, 0.60, 0.20), "blue": (0.12, 0.25, 0.86), "purple": (0.55, 0.15, 0.68),
    "white": (0.96, 0.96, 0.96), "black": (0.08, 0.08, 0.08),
}
JITTER = 0.05        # each channel is this far from the named colour at most


def random_colour(random, grounds, contrast):
    """One of `COLOURS`, a little varied: the first, in random order, that differs enough from
    every colour of the ground, or the one that differs most."""
    colours = random.permutation(list(COLOURS.values()))
    distance = np.linalg.norm(colours[:, None] - np.array(grounds), axis=2).min(1)
    enough = distance >= contrast
    return varied(random, colours[enough.argmax() if enough.any() else distance.argmax()])


def varied(random, colour):
    """An (r, g, b) close to `colour`, in [0, 1]."""
    return tuple((colour + random.uniform(-JITTER, JITTER, 3)).clip(0, 1).tolist())


def colour_name(colour):
    """The word in `COLOURS` that is closest to an (r, g, b)."""
    return min(COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(COLOURS[name], colour)))
