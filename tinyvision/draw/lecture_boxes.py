"""Pictures of the lecture on boxes: IoU counted in cells, the pyramid of maps, what is right and
wrong in an answer.

    overlaps([((0, 0, 4, 3), (2, 1, 5, 7))])
    pyramid(tv.models.tiny_retinanet(), (1, 3, 64, 64))
    mistakes_of_boxes(images, targets, found)
"""
import re
from math import gcd
from typing import NamedTuple

import numpy as np

from tinyvision.draw.board import Board
from tinyvision.draw.detection import confident
from tinyvision.draw.palette import ACCENT, COLOURS, GREY, INK, tint
from tinyvision.draw.plates import class_name, plates
from tinyvision.draw.segmentation import put_arrow, said
from tinyvision.draw.tiles import box, canvas, word
from tinyvision.metrics import mistakes

FIRST, SECOND, SHARED = COLOURS[0], COLOURS[1], COLOURS[2]


# --- IoU, counted ---------------------------------------------------------------------------------
def overlaps(pairs, titles=None):
    """Pairs of boxes on a grid, the cells that they share in green, and their IoU as a fraction.

    pairs: of boxes (x0, y0, x1, y1) in whole numbers; titles: one for each, above it.

    Raises:
        ValueError: a box that is not of whole numbers, or empty.
    """
    board, x, pairs = Board(), 0.0, np.array(pairs, float)
    tallest = int(max((pair[:, 3].max() - pair[:, 1].min() for pair in pairs), default=0))
    for k, pair in enumerate(pairs):
        if (pair % 1).any() or (pair[:, 2:] <= pair[:, :2]).any():
            raise ValueError(f"overlaps: pair {k} is {pair.tolist()}, expected two boxes "
                             "(x0, y0, x1, y1) of whole numbers, with x0 < x1 and y0 < y1")
        low, high = pair[:, :2].min(0), pair[:, 2:].max(0)
        lines = [titles[k]] if titles else []
        width = max(high[0] - low[0], 0.24 * max(map(len, (*lines, fraction(pair)))))
        put_pair(board, x + (width - high[0] + low[0]) / 2 - low[0], -low[1], pair)
        middle = x + width / 2
        if titles:
            board.words(middle, -0.6, titles[k], size=10)
        board.words(middle, tallest + 0.7, fraction(pair), size=11)
        x += width + 1.2
    return board.figure()


def put_pair(board, x, y, pair):
    """Both boxes, moved by (x, y), cell by cell."""
    low, high = pair[:, :2].min(0).astype(int), pair[:, 2:].max(0).astype(int)
    for column in range(low[0], high[0]):
        for row in range(low[1], high[1]):
            inside = ((pair[:, :2] <= (column, row)) & (pair[:, 2:] > (column, row))).all(1)
            if inside.any():
                fill = SHARED if inside.all() else FIRST if inside[0] else SECOND
                board.cell(x + column, y + row, fill=tint(fill, 0.6 if inside.all() else 0.3))
    for one, colour in zip(pair, (FIRST, SECOND)):
        board.frame(x + one[0], y + one[1], *(one[2:] - one[:2]), colour)


def fraction(pair):
    """"4/26 = 0.15", reduced."""
    sides = np.maximum(np.minimum(*pair[:, 2:]) - np.maximum(*pair[:, :2]), 0)
    shared = int(sides.prod())
    union = int((pair[:, 2:] - pair[:, :2]).prod(1).sum()) - shared
    d = gcd(shared, union)
    reduced = f" = {shared // d}/{union // d}" if 1 < d else ""
    return f"{shared}/{union}{reduced} = {shared / union:.2f}" if shared else f"0/{union} = 0"


# --- the pyramid ----------------------------------------------------------------------------------
LEVEL, TALL = 2.5, 2.0                   # from map to map; the side of the finest one
TRUNK, PYRAMID, HEADS = 3.6, 8.6, 11.2   # where the columns stand
FINISHED = r"backbone\.fpn\.(layer_blocks|extra_blocks)\.\w+"
SHAPES = r"backbone\.body\.layer\d", FINISHED, r".*\.cls_logits", r".*\.bbox_reg"


def pyramid(model, size):
    """A detector's trunk and feature pyramid as its paper draws them, the coarse maps above, the
    sizes of all maps, and what the heads answer on each. Nothing is computed.

    model: a `models.RetinaNet`; size: of its input, (N, 3, H, W).
    """
    trunk, maps, scores, codes = levels(model, size)
    heights = [LEVEL * (len(maps) - 1 - k) + 1.8 for k in range(len(maps))]
    figure, axes = canvas(15.2, heights[0] + 1.3, 0.42)
    for k, y in enumerate(heights):
        before = put_map(axes, TRUNK, y, trunk[k], trunk[0], COLOURS[0]) if k < len(trunk) else None
        there = put_map(axes, PYRAMID, y, maps[k], trunk[0], COLOURS[2])
        put_arrow(axes, there.right, (HEADS - 0.1, y), GREY)
        word(axes, HEADS, y, f"scores {said(scores[k])}\ncodes {said(codes[k])}", 8, "left")
        if before:
            put_arrow(axes, before.right, there.left, GREY)
            word(axes, (TRUNK + PYRAMID) / 2, y - 0.22, "conv 1x1", 8, "center", INK)
    put_steps(axes, trunk, maps, heights)
    word(axes, 1.1, heights[0], f"image\n{said(size)}", 8)
    put_arrow(axes, (1.9, heights[0]), (TRUNK - TALL / 2, heights[0]), GREY)
    for x, words in ((TRUNK, "trunk"), (PYRAMID, "pyramid"), (HEADS + 1.3, "the same two heads")):
        word(axes, x, 0.3, words, 9)
    return figure


def levels(model, size) -> list:
    """The shapes (N, C, H, W), finest first, of the trunk's maps that are used, of the pyramid's,
    and of the scores and codes on them."""
    from tinyvision.nn import summary
    rows = summary(model, size).rows
    found = [sorted((row.shape for row in rows if re.fullmatch(pattern, row.name)),
                    key=lambda shape: -shape[2]) for pattern in SHAPES]
    if not all(found):
        raise ValueError(f"pyramid: expected a models.RetinaNet, got a {type(model).__name__}.")
    found[0] = found[0][model.backbone.first:]
    return found


class Place(NamedTuple):
    """The middles of a map's sides, (x, y) each."""
    left: tuple
    right: tuple


def side(shape, finest):
    """How large a map is drawn: by the root of its size, so that the smallest can be seen."""
    return TALL * (shape[2] / finest[2]) ** 0.5


def put_map(axes, x, y, shape, finest, colour) -> Place:
    """A map around (x, y), its size in it, or beside it where it is small."""
    s = side(shape, finest)
    box(axes, x - s / 2, y - s / 2, s, s, tint(colour, 0.35))
    if s > 1.2:
        word(axes, x, y, said(shape), 7.5)
    else:
        word(axes, x - s / 2 - 0.1, y + 0.4, said(shape), 7.5, "right")
    return Place((x - s / 2, y), (x + s / 2, y))


def put_steps(axes, trunk, maps, heights):
    """From map to map: up the trunk, down the pyramid, up to the maps that the trunk lacks."""
    for k, (below, above) in enumerate(zip(heights, heights[1:])):
        if k + 1 < len(trunk):
            put_step(axes, TRUNK, below - side(trunk[k], trunk[0]) / 2,
                     above + side(trunk[k + 1], trunk[0]) / 2, COLOURS[0], "stride 2")
            put_step(axes, PYRAMID, above + side(maps[k + 1], trunk[0]) / 2,
                     below - side(maps[k], trunk[0]) / 2, COLOURS[2], "twice as large, add")
        else:
            put_step(axes, PYRAMID, below - side(maps[k], trunk[0]) / 2,
                     above + side(maps[k + 1], trunk[0]) / 2, COLOURS[2], "conv, stride 2")


def put_step(axes, x, start, end, colour, words):
    """An arrow up or down, its words at the right."""
    put_arrow(axes, (x, start), (x, end), colour)
    word(axes, x + 0.2, (start + end) / 2, words, 8, "left", colour)


# --- what is right, what is wrong -----------------------------------------------------------------
def mistakes_of_boxes(images, targets, found, names=None, iou=0.5, score=0.5, columns=None,
                      width=2.3):
    """Images with what was found in them: in blue what is right, in orange what is wrong, with a
    word for what is wrong in it; in dashed lines the true objects, in thick ones what was missed.

    Args:
        images: (N, 3, H, W), or a list of (3, H, W), in [0, 1].
        targets, found: a list of dictionaries, one for each image; see `metrics.mistakes.judge`.
        names: of the classes, by label.
        iou: from which a box is right.
        score: what has less is not drawn.
        columns: how many stand in a row; width: of one, in inches.
    """
    figure, every = plates(list(images), columns, width)
    for plate, target, one in zip(every, targets, found):
        chosen = confident(one, score)
        verdicts, missed = mistakes.judge(target, chosen, iou)
        plate.pale(0.25)
        for box, line in zip(target["boxes"], np.where(missed, 1.8, 0.8)):
            plate.box(box, INK, line, (0, (3, 2)))
        put_judged(plate, chosen, verdicts, names)
        for box in np.asarray(target["boxes"])[missed]:
            plate.label(box, "missed", INK, 7)
    return figure


def put_judged(plate, found, verdicts, names):
    """The boxes of an image, then their labels."""
    colours = [COLOURS[0] if word == mistakes.RIGHT else ACCENT for word in verdicts]
    for box, colour in zip(found["boxes"], colours):
        plate.box(box, colour)
    for k, (word, colour) in enumerate(zip(verdicts, colours)):
        words = f"{class_name(names, found['labels'][k])} {found['scores'][k]:.2f}"
        plate.label(found["boxes"][k], words if word == mistakes.RIGHT else f"{words}\n{word}",
                    colour, 7)
