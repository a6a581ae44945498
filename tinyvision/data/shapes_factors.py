"""Sprites: pictures that follow from five numbers, for generative models (as dSprites does).

`FACTORS` is a grid of independent factors of variation; `codes` (N, 5) are positions in it, and
`sprites(codes)` draws them. With the factors known exactly one can measure how far a model's latent
variables disentangle them.
"""
import numpy as np

from tinyvision.data.shapes import Scene, Shape
from tinyvision.data.shapes_ground import plain
from tinyvision.data.shapes_render import render

# Kinds are chosen, and angles limited, so that no two angles give the same picture.
KINDS = ("crescent", "arrow", "triangle")
FACTORS = {
    "kind": np.arange(len(KINDS)),
    "radius": np.linspace(0.14, 0.24, 6),                   # fractions of the side
    "angle": np.linspace(-np.pi / 3, np.pi / 3, 13)[:-1],   # radians, clockwise
    "x": np.linspace(0.25, 0.75, 16),                       # of the centre, fractions of the side
    "y": np.linspace(0.25, 0.75, 16),
}


def random_codes(n, seed=0, start=0, **fixed):
    """Codes (n, 5) int64, every factor drawn independently, row `start` onwards of `seed`; a factor
    given by name keeps that position: `random_codes(100, x=3)`."""
    unknown = set(fixed) - set(FACTORS)
    if unknown:
        raise ValueError(f"random_codes: factors are {', '.join(FACTORS)}; "
                         f"got {', '.join(sorted(unknown))}.")
    counts = [len(values) for values in FACTORS.values()]
    rows = [np.random.default_rng([seed, k, 4]).integers(counts) for k in range(start, start + n)]
    codes = np.array(rows, np.int64).reshape(-1, len(counts))
    for name, position in fixed.items():
        codes[:, list(FACTORS).index(name)] = position
    return checked_codes("random_codes", codes)


def sprites(codes, size=64):
    """Pictures (N, 1, size, size) float32, white on black, of codes (N, 5): for each factor of
    `FACTORS`, in order, a position in its values. No noise, and no two alike."""
    codes = checked_codes("sprites", np.asarray(codes))
    images = [render(sprite_scene(code, size))[0][:1] for code in codes]
    return np.array(images, np.float32).reshape(-1, 1, size, size)


def sprite_scene(code, size=64):
    """The `Scene` of one code."""
    kind, radius, angle, x, y = (values[k] for values, k in zip(FACTORS.values(), code))
    shape = Shape(int(kind), KINDS[kind], (float(x * size), float(y * size)), float(radius * size),
                  float(angle), (1.0, 1.0, 1.0), 0)
    return Scene(size, plain((0.0, 0.0, 0.0)), (shape,), KINDS)


def checked_codes(who, codes):
    """The codes, if each is a position in its factor's values."""
    counts = np.array([len(values) for values in FACTORS.values()])
    if codes.ndim != 2 or codes.shape[1] != len(counts) or codes.dtype.kind not in "iu":
        raise ValueError(f"{who}: codes are integers of shape (N, {len(counts)}); "
                         f"got {codes.dtype} {codes.shape}.")
    wrong = np.argwhere((codes < 0) | (codes >= counts))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(f"{who}: {list(FACTORS)[column]} goes from 0 to {counts[column] - 1}; "
                         f"got {codes[row, column]}.")
    return codes
