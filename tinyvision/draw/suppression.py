"""From many boxes to few: NMS round by round, proposals before and after it, and the maps of scores
that they come from.

    nms_rounds(boxes, scores, 0.5, image)
    proposals(image, {"before NMS": (boxes, scores), "after": (boxes[kept], scores[kept])})
    score_maps(image, scores, [(16, 16), (8, 8), (4, 4)])
"""
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex

from tinyvision.draw.board import to_array
from tinyvision.draw.palette import ACCENT, COLOURS, GREY, INK
from tinyvision.draw.plates import plates
from tinyvision.ops import box_iou

SCALE = "viridis"                        # of scores: dark is low


# --- NMS, round by round --------------------------------------------------------------------------
class Round(NamedTuple):
    """One round of NMS: the box that is kept, those that it drops, those that stay, and the IoU
    with the kept one, of both in this order."""
    kept: int
    dropped: np.ndarray
    left: np.ndarray
    iou: np.ndarray


def rounds(boxes, scores, threshold) -> list[Round]:
    """What `ops.nms` decides, round by round: keep the best, drop whoever overlaps it by more than
    the threshold, go on with the rest. A NaN score counts as minus infinity."""
    boxes, scores = to_array(boxes).reshape(-1, 4), to_array(scores)
    left = np.argsort(np.where(np.isnan(scores), np.inf, -scores), kind="stable")
    found = []
    while len(left):
        kept, left = int(left[0]), left[1:]
        iou = box_iou(boxes[kept:kept + 1], boxes[left])[0]
        drop = iou > iou.dtype.type(threshold)
        found.append(Round(kept, left[drop], left[~drop], np.concatenate((iou[drop], iou[~drop]))))
        left = left[~drop]
    return found


def nms_rounds(boxes, scores, threshold=0.5, image=None, columns=4, width=2.3):
    """Every round of NMS on a few boxes: the one that is kept, in orange, those that it drops,
    dashed, those that stay, both with their IoU with it (none is 0); at last what is left.

    Boxes are called A, B, C, ... by decreasing score.

    Args:
        boxes: (N, 4). scores: (N,).
        threshold: boxes with a larger IoU are dropped.
        image: what they lie on, (3, H, W) in [0, 1]; white paper if None.
    """
    boxes, scores = to_array(boxes).reshape(-1, 4), to_array(scores)
    steps = rounds(boxes, scores, threshold)
    names = called(scores)
    image = paper(boxes) if image is None else image
    titles = [f"{len(boxes)} boxes and their scores",
              *(round_title(k, step, names) for k, step in enumerate(steps, 1)),
              f"{len(steps)} are left"]
    figure, found = plates([image] * len(titles), min(columns, len(titles)), width, titles)
    put_boxes(found[0], boxes, range(len(boxes)), INK, [f"{names[k]} {scores[k]:.2f}"
                                                        for k in range(len(boxes))])
    for k, (plate, step) in enumerate(zip(found[1:], steps)):
        put_round(plate, boxes, step, [s.kept for s in steps[:k]], names)
    kept = [step.kept for step in steps]
    put_boxes(found[-1], boxes, kept, COLOURS[0], [f"{names[k]} {scores[k]:.2f}" for k in kept])
    return figure


def called(scores):
    """A letter for every box, by decreasing score; after Z come A1, B1, ..."""
    order = np.argsort(np.where(np.isnan(scores), np.inf, -scores), kind="stable")
    names = np.empty(len(scores), object)
    for rank, k in enumerate(order):
        names[k] = chr(65 + rank % 26) + (str(rank // 26) if rank >= 26 else "")
    return names


def paper(boxes):
    """A white image as large as the boxes need."""
    W, H = np.ceil(boxes[:, 2:].max(0, initial=1) * 1.08).astype(int)
    return np.ones((H, W))


def round_title(k, step, names):
    """What happens."""
    dropped = ", ".join(names[n] for n in step.dropped) or "nobody"
    return f"{k}. keep {names[step.kept]}, drop {dropped}"


def put_round(plate, boxes, step, before, names):
    """One round; before: those that were kept earlier."""
    plate.pale(0.35)
    for k in before:
        plate.box(boxes[k], COLOURS[0], 1.2, halo=False)
    words = [f"{names[n]} {iou:.2f}" if iou else names[n]
             for n, iou in zip((*step.dropped, *step.left), step.iou)]
    drops = len(step.dropped)
    put_boxes(plate, boxes, step.left, GREY, words[drops:], 1.2)
    put_boxes(plate, boxes, step.dropped, INK, words[:drops], 1.2, (0, (3, 2)))
    put_boxes(plate, boxes, [step.kept], ACCENT, [names[step.kept]], 2.4)


def put_boxes(plate, boxes, chosen, colour, words, line=1.6, style="-"):
    """Boxes, then their labels."""
    for k in chosen:
        plate.box(boxes[k], colour, line, style)
    for k, label in zip(chosen, words):
        plate.label(boxes[k], label, colour, 7)


# --- proposals ------------------------------------------------------------------------------------
def proposals(image, stages, best=6, width=3.0, score="score"):
    """Boxes before and after a selection, in the colour of their scores, the best with numbers.

    Args:
        image: (3, H, W), in [0, 1].
        stages: a dictionary of names and (boxes (P, 4), scores (P,)), the scores from 0 to 1.
        best: how many have their score written, in the last panel.
        score: what the scores are called.
    """
    stages = {name: [to_array(part) for part in stage] for name, stage in stages.items()}
    titles = [f"{len(boxes):,} {name}" for name, (boxes, _) in stages.items()]
    figure, found = plates([image] * len(stages), None, width, titles)
    for plate, (boxes, scores) in zip(found, stages.values()):
        plate.pale(0.4)
        put_scored(plate, boxes, scores)
    order = np.argsort(-scores, kind="stable")[:best]
    for k in order:
        found[-1].label(boxes[k], f"{scores[k]:.2f}", score_colour(scores[k]), 7)
    put_scale(figure, found[-1], score)
    return figure


def put_scored(plate, boxes, scores):
    """Boxes, the best on top and in the thickest lines; many in thinner ones."""
    thin = min(1, (300 / max(len(boxes), 1)) ** 0.5)
    for k in np.argsort(scores, kind="stable"):
        strength = float(scores[k])
        plate.box(boxes[k], score_colour(strength), thin * (0.5 + 1.3 * strength), halo=False,
                  alpha=0.15 + 0.85 * strength)


def score_colour(score):
    """As "#rrggbb"."""
    return to_hex(colormaps[SCALE](float(score)))


def put_scale(figure, plate, words):
    """The colours of scores, at the right of the last panel."""
    at = plate.axes.get_position()
    axes = figure.add_axes((at.x1 + 0.09 / figure.get_figwidth(), at.y0,
                            0.1 / figure.get_figwidth(), at.height))
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), SCALE), cax=axes)
    bar.set_label(words, size=9, color=INK)
    bar.ax.tick_params(labelsize=8, colors=INK)
    bar.outline.set_visible(False)


# --- maps of scores -------------------------------------------------------------------------------
def score_maps(image, scores, map_sizes, size=None, width=2.4, score="best anchor's score"):
    """Over an image, for every map, the best score of each place's anchors.

    Args:
        image: (3, H, W), in [0, 1].
        scores: (T,), from 0 to 1, of all anchors, in the order of `boxes.grid_anchors`.
        map_sizes: the (H, W) of every map.
        size: (H, W) of what the maps look at, if the image was padded to that.

    Raises:
        ValueError: the scores are not so many anchors of each place.
    """
    scores, image = to_array(scores), to_array(image)
    places = np.prod(map_sizes, 1)
    if len(scores) % places.sum():
        raise ValueError(f"score_maps: got {len(scores)} scores for maps of {map_sizes}, expected "
                         f"as many for each of their {places.sum()} places")
    each = np.split(scores.reshape(places.sum(), -1).max(1), np.cumsum(places)[:-1])
    H, W = size or image.shape[1:]
    titles = [f"{h} x {w}: {one.max():.2f} at most" for one, (h, w) in zip(each, map_sizes)]
    figure, found = plates([image] * (1 + len(each)), None, width, ["image", *titles])
    for plate, one, (h, w) in zip(found[1:], each, map_sizes):
        plate.axes.imshow(one.reshape(h, w), cmap=SCALE, vmin=0, vmax=1, alpha=0.75,
                          interpolation="nearest", extent=(0, W, H, 0))
        plate.axes.set(xlim=(0, image.shape[2]), ylim=(image.shape[1], 0))
    put_scale(figure, found[-1], score)
    return figure
