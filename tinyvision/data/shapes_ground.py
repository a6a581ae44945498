"""What lies behind the shapes: bands of sky, grass, sand and water.

In the words of panoptic segmentation (Kirillov et al., 2019) the shapes are *things*, which one can
count, and the bands are *stuff*, which one cannot. Stuff is known by its colour and its pattern.
"""
from dataclasses import dataclass

import numpy as np

STUFF = {                      # name: its usual colour
    "sky": (0.64, 0.79, 0.93),
    "grass": (0.40, 0.58, 0.27),
    "sand": (0.83, 0.73, 0.52),
    "water": (0.19, 0.45, 0.58),
}
BELOW = ("grass", "sand", "water")      # what can lie below the sky, and alone
SOFT_SPOTS = 4                          # the soft light is given on this many points a side


@dataclass(frozen=True)
class Ground:
    """A ground, in fractions of the image side wherever lengths occur.

    stuff: names, from the top of the picture to the bottom. colours: an (r, g, b) for each.
    borders: between two bands, (height, slope, sway, phase): see `border_rows`.
    light (4, 4): soft brightness in [-1, 1]. texture: the amplitude of the patterns and of the
    light. noise: the standard deviation of the pixel noise. seed: of grain and noise.
    """
    stuff: tuple
    colours: tuple
    borders: tuple
    light: np.ndarray
    texture: float
    noise: float
    seed: int


def plain(colour):
    """A ground of one colour, without texture and noise."""
    return Ground(("plain",), (tuple(colour),), (), np.zeros((SOFT_SPOTS, SOFT_SPOTS)), 0, 0, 0)


# Describing

def random_ground(random, level):
    """A ground with as many bands, as varied in colour and as textured as the level says."""
    count = int(random.integers(level.bands[0], level.bands[1] + 1))
    stuff = random_stuff(random, count)
    tints = random.uniform(-level.tint, level.tint, (count, 3))
    colours = tuple(tuple(np.add(STUFF[name], tint).tolist()) for name, tint in zip(stuff, tints))
    light = random.uniform(-1, 1, (SOFT_SPOTS, SOFT_SPOTS))
    return Ground(stuff, colours, random_borders(random, count), light, level.texture, level.noise,
                  int(random.integers(2 ** 31)))


def random_stuff(random, count):
    """`count` kinds, top to bottom: one alone, or the sky and what lies below it."""
    below = [BELOW[k] for k in random.permutation(len(BELOW))]
    return tuple(below[:1] if count == 1 else ["sky", *below[:count - 1]])


def random_borders(random, count):
    """The borders between `count` bands: none is thinner than a sixth of the picture."""
    heights = {1: (), 2: ((0.3, 0.6),), 3: ((0.22, 0.36), (0.56, 0.72))}[count]
    return tuple((float(random.uniform(*height)), float(random.uniform(-0.06, 0.06)),
                  float(random.uniform(0, 0.02)), float(random.uniform(0, 2 * np.pi)))
                 for height in heights)


# Drawing

def bands(ground, size):
    """Which band each pixel belongs to: (size, size) uint8, positions in `ground.stuff`."""
    rows = np.arange(size, dtype=np.float32)[:, None] + 0.5
    below = np.zeros((size, size), np.uint8)
    for border in ground.borders:
        below += rows > border_rows(border, size)
    return below


def border_rows(border, size):
    """The height of a border in every column, in pixels: a slanted line that sways a little."""
    height, slope, sway, phase = border
    across = (np.arange(size, dtype=np.float32) + 0.5) / size
    return size * (height + slope * (across - 0.5) + sway * np.sin(9 * across + phase))


def render_ground(ground, size):
    """The ground alone, (3, size, size) float32, not yet clipped to [0, 1] and without noise."""
    which = bands(ground, size)
    colours = np.array(ground.colours, np.float32)
    image = np.ascontiguousarray(colours[which].transpose(2, 0, 1))
    if ground.texture:
        image += ground.texture * (soft_light(ground.light, size) + patterns(ground, which))
    return image


def soft_light(light, size):
    """Brightness that changes softly, (size, size): `light`, interpolated."""
    weights = hat_weights(size, len(light))
    # Sums of few products, not a matrix product: BLAS may add in another order on other machines.
    down = sum(weights[:, k, None] * light[k].astype(np.float32) for k in range(len(light)))
    return sum(down[:, k, None] * weights[:, k] for k in range(len(light)))


def hat_weights(size, knots):
    """(size, knots) weights of linear interpolation from `knots` values to `size` pixels."""
    place = np.linspace(0, knots - 1, size, dtype=np.float32)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(knots, dtype=np.float32)))


def patterns(ground, which):
    """The pattern of every pixel's stuff, (size, size), about in [-1, 1]."""
    size = len(which)
    grain = np.random.default_rng(ground.seed).standard_normal((size, size), np.float32)
    pixels = (np.arange(size, dtype=np.float32) + 0.5) / size
    picture = np.zeros((size, size), np.float32)
    for k, name in enumerate(ground.stuff):
        here = which == k
        picture[here] = PATTERNS[name](pixels, pixels[:, None], grain)[here]
    return picture


def sky(across, down, grain):
    """Brighter towards the horizon."""
    return np.broadcast_to(1.8 * down - 0.7, grain.shape)


def water(across, down, grain):
    """Waves, closer together towards the top."""
    rows = 9 * np.sqrt(down + 0.1) + 0.1 * np.sin(11 * across + 14 * down)
    return np.sin(2 * np.pi * rows)


def sand(across, down, grain):
    """Grains, some of them dark."""
    return 0.35 * grain - 1.2 * (grain < -1.6)


def grass(across, down, grain):
    """Blades: a few values down a column are the same, in steps that differ from column to
    column."""
    size = len(grain)
    length = max(2, size // 16)
    start = (np.arange(size) * 5) % length
    rows = (np.arange(size)[:, None] + start) // length
    return 0.8 * grain[rows % size, np.arange(size)]


def no_pattern(across, down, grain):
    """Nothing, for plain grounds."""
    return np.zeros_like(grain)


PATTERNS = dict(sky=sky, grass=grass, sand=sand, water=water, plain=no_pattern)
