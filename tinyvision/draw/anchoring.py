"""Anchors: where they stand, which object each stands for, and a box as seen from its anchor.

    anchors(image, model.anchors, [(16, 16), (8, 8), (4, 4)])
    assignments(image, anchors, boxes, high=0.5, low=0.4)
    box_code(anchor, box)
"""
import numpy as np

from tinyvision import boxes as choose
from tinyvision.draw.board import DPI, Picture, number, to_array
from tinyvision.draw.palette import ACCENT, COLOURS, GREY, INK, PAPER, category
from tinyvision.draw.plates import plates
from tinyvision.ops import box_iou

SHOWN = 3                                # anchors of an object whose IoU is written


def anchors(image, generator, map_sizes, place=None, width=2.8):
    """An image with the places of every map as dots, and around one place all its anchors; one
    colour and one number a size.

    Args:
        image: (3, H, W), in [0, 1].
        generator: a `boxes.AnchorGenerator`.
        map_sizes: the (H, W) of every map.
        place: (row, column) of the finest map; the middle if None. On the others the nearest.
    """
    image = to_array(image)
    every, size = generator(image.shape[1:], map_sizes), np.array(image.shape[1:])
    place = np.asarray(map_sizes[0]) // 2 if place is None else np.asarray(place)
    where = place / map_sizes[0]                             # as a part of the image
    titles = [f"{h} x {w} places, stride {size[0] // h}\n{generator.per_place} anchors each: "
              f"{len(one):,}" for (h, w), one in zip(map_sizes, every)]
    margin = _overhang(every, map_sizes, where, size, generator.per_place)
    figure, found = plates([image] * len(every), None, width, titles, margin)
    for plate, one, (h, w), sizes in zip(found, every, map_sizes, generator.sizes):
        plate.pale()
        grid = one.reshape(h, w, -1, 4)
        put_places(plate, grid)
        put_anchors(plate, grid[tuple((where * (h, w)).astype(int))], sizes)
    return figure


def _overhang(every, map_sizes, where, size, per_place):
    """How far the anchors to be drawn reach over the image's border, in pixels."""
    reach = 0
    for one, hw in zip(every, map_sizes):
        shown = one.reshape(*hw, per_place, 4)[tuple((where * hw).astype(int))]
        reach = max(reach, -shown.min(), (shown[:, 2:] - size[::-1]).max())
    return int(np.ceil(reach)) + 2


def put_places(plate, grid):
    """A dot at the places of anchors (H, W, A, 4); where they lie too close, every second or fourth
    in both directions."""
    places = centres(grid[:, :, 0])
    steps = [plate.every(np.ptp(places[..., k]) / max(places.shape[1 - k] - 1, 1)) for k in (1, 0)] \
        if places.size else (1, 1)
    x, y = places[::steps[0], ::steps[1]].reshape(-1, 2).T
    plate.axes.plot(x, y, ".", color=GREY, markersize=2.5 if len(x) < 300 else 1.2)


def put_anchors(plate, boxes, sizes):
    """All anchors (A, 4) of a place, and below the sizes, in their colours."""
    for k, box in enumerate(boxes):
        plate.box(box, category(k % len(sizes)), 1.4, halo=False)
    plate.dot(*centres(boxes[0]), ACCENT, 5)
    for k, size in enumerate(sizes):
        plate.axes.text((k + 0.5) / len(sizes), -0.05, f"■ {size:g}", color=category(k), size=9,
                        transform=plate.axes.transAxes, ha="center", va="top")


def centres(boxes):
    """(..., 2) of boxes (..., 4)."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def sides(boxes):
    """(..., 2), widths and heights, of boxes (..., 4)."""
    return boxes[..., 2:] - boxes[..., :2]


# --- which object an anchor stands for ------------------------------------------------------------
def assignments(image, anchors, boxes, high=0.5, low=0.4, force=False, width=2.6):
    """What `boxes.match` makes of anchors: those that stand for an object, in its colour, the best
    with their IoU; those in between, each in its best object's colour; the background's centres.

    Args:
        image: (3, H, W), in [0, 1].
        anchors: (T, 4). boxes: the objects' (M, 4).
        high, low, force: as in `boxes.match`.
    """
    anchors, boxes = to_array(anchors), to_array(boxes).reshape(-1, 4)
    iou = box_iou(boxes, anchors)
    matched = choose.match(iou, high, low, force)
    figure, found = plates([image] * 3, None, width, _counted(matched, high, low, force))
    for plate in found:
        plate.pale(0.3)
    for k in range(len(boxes)):
        put_best(found[0], anchors, np.flatnonzero(matched == k), iou[k], category(k), SHOWN)
        mine = (matched == choose.BETWEEN) & (iou.argmax(0) == k)
        put_best(found[1], anchors, np.flatnonzero(mine), iou[k], category(k), 1)
    x, y = centres(anchors[matched == choose.BELOW]).T
    found[2].axes.plot(x, y, ".", color=INK, markersize=2, alpha=0.5, clip_on=True)
    for plate in found:
        for k, box in enumerate(boxes):
            plate.box(box, category(k), 2.6)
    return figure


def _counted(matched, high, low, force):
    """The panels' titles."""
    low = high if low is None else low
    forced = ", or an object's best" if force else ""
    return [f"positive: {(matched >= 0).sum():,}\nIoU at least {high:g}{forced}",
            f"in between: {(matched == choose.BETWEEN).sum():,}\nIoU {low:g} to {high:g}",
            f"background: {(matched == choose.BELOW).sum():,}\nIoU under {low:g}"]


def put_best(plate, anchors, chosen, iou, colour, count):
    """The chosen anchors in thin lines, `count` of them in thicker ones with their IoU (T,)."""
    chosen = chosen[np.argsort(-iou[chosen], kind="stable")]
    for t in chosen:
        plate.box(anchors[t], colour, 0.7, halo=False, alpha=0.5)
    for t in chosen[:count]:
        plate.box(anchors[t], colour, 1.3, (0, (3, 1)), halo=False)
        plate.label(anchors[t], f"{iou[t]:.2f}", colour, 6.5)


# --- a box, seen from its anchor ------------------------------------------------------------------
def box_code(anchor, box, width=4.2):
    """An anchor, an object's box, and the four numbers that lead from one to the other: the shift
    of the centre in sides of the anchor, and the logarithms of the sides' ratios.

    anchor, box: (x0, y0, x1, y1).
    """
    pair = np.array((to_array(anchor), to_array(box)), np.float64)
    code = choose.encode(pair[1], pair[0])
    low, high = pair[:, :2].min(0), pair[:, 2:].max(0)
    room = 0.22 * max(high - low)
    tall = width * (high - low + 2 * room)[1] / (high - low + 2 * room)[0]
    figure = Picture(figsize=(width, tall), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(low[0] - room, high[0] + room), ylim=(high[1] + room, low[1] - room))
    axes.axis("off")
    for one, colour, style in zip(pair, (GREY, COLOURS[0]), ("--", "-")):
        axes.add_patch(_rectangle(one, colour, style))
        axes.plot(*centres(one), "o", color=colour, markersize=5)
    put_shift(axes, *centres(pair), code)
    put_sides(axes, pair, room)
    put_sums(axes, pair, code)
    return figure


def _rectangle(box, colour, style):
    from matplotlib.patches import Rectangle
    return Rectangle(box[:2], *sides(box), fill=False, edgecolor=colour, linewidth=2,
                     linestyle=style)


def arrow(axes, start, end, colour, style="-|>"):
    """An arrow from start to end."""
    axes.annotate("", end, start, arrowprops=dict(arrowstyle=style, color=colour, linewidth=1.6,
                                                  shrinkA=0, shrinkB=0))


def put_shift(axes, start, end, code):
    """From centre to centre: first across, then down."""
    corner = np.array((end[0], start[1]))
    for k, (a, b) in enumerate(((start, corner), (corner, end))):
        if np.abs(a - b).max() > 0:
            arrow(axes, a, b, ACCENT)
    down, right = end[1] >= start[1], end[0] >= start[0]
    how = dict(textcoords="offset points", color=ACCENT, size=9,
               bbox=dict(facecolor=PAPER, edgecolor="none", pad=1))
    axes.annotate(f"dx {number(code[0])}", (start + corner) / 2, (0, 6 if down else -6), **how,
                  ha="center", va="bottom" if down else "top")
    axes.annotate(f"dy {number(code[1])}", (corner + end) / 2, (6 if right else -6, 0), **how,
                  va="center", ha="left" if right else "right")


def put_sides(axes, pair, room):
    """How wide and how tall both are: the anchor's above and at the left, the box's below and at
    the right."""
    (ax0, ay0, ax1, ay1), (x0, y0, x1, y1) = pair
    top, left = pair[:, :2].min(0)[::-1] - 0.25 * room
    right, bottom = pair[:, 2:].max(0) + 0.25 * room
    for start, end, colour, words, where in (
            ((ax0, top), (ax1, top), GREY, f"w_a {number(ax1 - ax0)}", (0, 5)),
            ((left, ay0), (left, ay1), GREY, f"h_a {number(ay1 - ay0)}", (-5, 0)),
            ((x0, bottom), (x1, bottom), COLOURS[0], f"w {number(x1 - x0)}", (0, -5)),
            ((right, y0), (right, y1), COLOURS[0], f"h {number(y1 - y0)}", (5, 0))):
        arrow(axes, start, end, colour, "<|-|>")
        middle = (np.array(start) + end) / 2
        axes.annotate(words, middle, where, textcoords="offset points", color=colour, size=9,
                      rotation=90 if where[0] else 0,
                      ha={-5: "right", 0: "center", 5: "left"}[where[0]],
                      va={-5: "top", 0: "center", 5: "bottom"}[where[1]])


def put_sums(axes, pair, code):
    """The four numbers as they are reckoned, at the right."""
    (xa, ya), (x, y) = centres(pair)
    (wa, ha), (w, h) = sides(pair)
    texts = [number(v) for v in (x, xa, wa, y, ya, ha, w, h)]
    x, xa, wa, y, ya, ha, w, h = texts
    lines = (f"dx = (x - x_a) / w_a = ({x} - {xa}) / {wa} = {number(code[0])}",
             f"dy = (y - y_a) / h_a = ({y} - {ya}) / {ha} = {number(code[1])}",
             f"dw = log(w / w_a) = log({w} / {wa}) = {number(code[2])}",
             f"dh = log(h / h_a) = log({h} / {ha}) = {number(code[3])}")
    axes.text(1.03, 0.5, "\n".join(lines), transform=axes.transAxes, size=10, color=INK,
              va="center", ha="left", linespacing=1.9)
