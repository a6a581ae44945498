"""A label for every pixel: maps beside each other, what a pixel sees, where a network errs, and
the U of a U-Net.

    label_grids([truth, predicted], ["truth", "predicted"])
    map_rows(images, {"truth": masks, "predicted": predicted})
    contexts(image, (row, column), [16, 28, 44])
    mistakes(images, masks, {"U-Net": predicted})
    u_shape(tv.models.unet(), (1, 1, 572, 572))
"""
import re

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyArrowPatch, Rectangle

from tinyvision.draw.board import Board, to_array, to_matrix
from tinyvision.draw.maps import class_fill, class_name
from tinyvision.draw.palette import ACCENT, COLOURS, GREY, INK, category, tint
from tinyvision.draw.pictures import (coloured, displayable, label_rows, panels, put_legend,
                                         show)
from tinyvision.draw.tiles import box, canvas, word


# --- maps of numbers ------------------------------------------------------------------------------
def label_grids(maps, titles=None, names=None):
    """Maps (H, W) of labels beside each other, as numbers, with one legend; where a map differs
    from the first one, the cell is framed.

    0 is the background, white; -1 is ignored, grey. names: of the classes from 0 on.
    """
    maps = [to_matrix(one, "label_grids") for one in maps]
    board, x = Board(), 0
    for k, one in enumerate(maps):
        if one.shape != maps[0].shape:
            raise ValueError(f"label_grids: map {k} has shape {one.shape}, the first one "
                             f"{maps[0].shape}; expected the same.")
        put_labels(board, x, one, titles[k] if titles else None)
        for row, column in np.argwhere((one != maps[0]) & (maps[0] >= 0)):
            board.frame(x + column, row)
        x += one.shape[1] + 1.4
    for k, value in enumerate(np.unique(maps).tolist()):
        board.cell(x, k * 1.2, str(value), class_fill(value))
        board.words(x + 1.3, k * 1.2 + 0.5, class_name(value, names), align="left", size=10)
    return board.figure()


def put_labels(board, x, labels, title):
    """One map with its left side at x, its title above."""
    board.grid(x, 0, [[str(v) for v in row] for row in labels],
               [[class_fill(v) for v in row] for row in labels])
    if title:
        board.words(x + labels.shape[1] / 2, -0.5, title, weight="bold", size=10)


# --- maps below their images ----------------------------------------------------------------------
def map_rows(images, maps, names=None, side=1.3):
    """Images above any number of maps of classes, one row each, with a legend.

    images (N, 3, H, W) in [0, 1]; maps: a dictionary of names and (N, H, W) integers, 0 the
    background, -1 ignored (grey); names: of the classes from 1 on.
    """
    pictures, maps = [displayable(image) for image in to_array(images)], dict(maps)
    n, highest = len(pictures), 0
    figure, axes = panels(1 + len(maps), n, side, 0.04)
    for axis, image in zip(axes, pictures):
        show(axis, image)
    for r, (name, rows) in enumerate(maps.items(), 1):
        rows = to_array(rows)
        expected = (n, *pictures[0].shape[:2])
        if rows.shape != expected:
            raise ValueError(f"map_rows: {name!r} has shape {rows.shape}, expected {expected}.")
        highest = max(highest, int(rows.max(initial=0)))
        for axis, one in zip(axes[r * n:], rows):
            axis.imshow(coloured(one), interpolation="nearest")
    label_rows(axes[::n], ["image", *maps])
    put_legend(figure, names or [f"class {k}" for k in range(1, highest + 1)])
    return figure


# --- what a pixel sees ----------------------------------------------------------------------------
def contexts(image, pixel, sizes, titles=None, side=1.9):
    """An image (3, H, W) with square windows around one pixel, and what is in each of them.

    pixel: (row, column). A window of n pixels begins n // 2 before it; what lies beyond the
    image's edge repeats the edge. titles: one for each window.
    """
    image, (row, column) = displayable(image), pixel
    if not (0 <= row < image.shape[0] and 0 <= column < image.shape[1]):
        raise ValueError(f"contexts: pixel {tuple(pixel)} is not in the image, "
                         f"{image.shape[0]} x {image.shape[1]}.")
    figure, axes = panels(1, 1 + len(sizes), side, 0.28)
    show(axes[0], image, "image")
    margin = max(sizes)
    padded = np.pad(image, [(margin, margin)] * 2 + [(0, 0)] * (image.ndim - 2), mode="edge")
    for k, n in enumerate(sizes):
        top, left = row - n // 2, column - n // 2
        axes[0].add_patch(Rectangle((left - 0.5, top - 0.5), n, n, fill=False, linewidth=2,
                                    edgecolor=category(k + 1)))
        patch = padded[margin + top:margin + top + n, margin + left:margin + left + n]
        show(axes[k + 1], patch, titles[k] if titles else f"{n} x {n}")
        axes[k + 1].add_patch(Rectangle((-0.5, -0.5), n, n, fill=False, linewidth=5,
                                        edgecolor=category(k + 1)))
    return figure


# --- where a network errs -------------------------------------------------------------------------
def mistakes(images, masks, predictions, side=1.6):
    """Images, and below them, pale, the same with all pixels marked that are wrong.

    images (N, 3, H, W) in [0, 1]; masks (N, H, W) integers, -1 is not judged; predictions: a
    dictionary of names and (N, H, W), one row each.
    """
    pictures, masks = [displayable(image) for image in to_array(images)], to_array(masks)
    figure, axes = panels(1 + len(predictions), len(pictures), side, 0.04)
    for axis, image in zip(axes, pictures):
        show(axis, image)
    for r, (name, predicted) in enumerate(predictions.items(), 1):
        predicted = to_array(predicted)
        if predicted.shape != masks.shape:
            raise ValueError(f"mistakes: {name!r} has shape {predicted.shape}, expected that of "
                             f"the masks, {masks.shape}.")
        for k, image in enumerate(pictures):
            wrong = (predicted[k] != masks[k]) & (masks[k] >= 0)
            show(axes[r * len(pictures) + k], marked_wrong(image, wrong))
    label_rows(axes[::len(pictures)], ["image", *(f"{name}, wrong" for name in predictions)])
    return figure


def marked_wrong(image, wrong):
    """(H, W, 3): grey and pale, so that the wrong pixels stand out."""
    grey = image if image.ndim == 2 else image.mean(2)
    pale = np.repeat((0.55 + 0.4 * grey)[..., None], 3, 2)
    pale[wrong] = to_rgb(ACCENT)
    return pale


# --- the U ----------------------------------------------------------------------------------------
GAP, COLUMN, TALL = 1.15, 2.15, 2.6      # between levels, from stage to stage, the finest box
ARROWS = {"max-pool": COLOURS[0], "transposed convolution": COLOURS[2], "copy": GREY}


def u_shape(model, size):
    """A U-Net as its paper draws it: a box for every stage, with its maps and their size, and
    arrows for what is handed on. Nothing is computed.

    model: a `models.UNet`; size: the shape of its input, (N, C, H, W).
    """
    shapes = stages(model, size)
    depth, top, tops = model.depth, 1.2, []
    for k in range(depth):
        tops.append(top)
        top += tall(shapes, f"down{k}") + GAP
    figure, axes = canvas(2.4 + COLUMN * (2 * depth - 1), top - 0.2, 0.42)
    places = {}
    for k in range(depth):
        places[f"down{k}"] = put_stage(axes, k, tops[k], shapes, f"down{k}")
        if k < depth - 1:
            places[f"merge{k}"] = put_stage(axes, 2 * depth - 2 - k, tops[k], shapes, f"merge{k}")
    put_arrows(axes, places, shapes, depth)
    first, last = places["down0"], places["merge0"]
    word(axes, first[0] - 0.55, first[1] + first[3] / 2, f"image\n{said(size)}", 8, "right")
    word(axes, last[0] + last[2] + 0.25, last[1] + last[3] / 2,
         f"scores\n{said(shapes['classifier'])}", 8, "left")
    for k, (words, colour) in enumerate(ARROWS.items()):
        word(axes, 0.3, top - 1.9 + 0.5 * k, f"■ {words}", 8, "left", colour)
    return figure


def stages(model, size):
    """{name: shape} of the outputs of a U-Net's stages."""
    from tinyvision.nn import summary
    rows = {row.name: row.shape for row in summary(model, size).rows}
    found = {n: s for n, s in rows.items() if re.fullmatch(r"(down|up|merge)\d+|classifier", n)}
    if not hasattr(model, "depth") or len(found) != 3 * model.depth - 1:
        raise ValueError(f"u_shape: expected a models.UNet, got a {type(model).__name__}.")
    return found


def said(shape):
    """"64 x 568²": the channels, and the size."""
    C, H, W = shape[1:]
    return f"{C} x {H}²" if H == W else f"{C} x {H} x {W}"


def tall(shapes, name):
    """The height of a box: the root of the size, so that the smallest can be seen."""
    return TALL * (shapes[name][2] / shapes["down0"][2]) ** 0.5


def put_stage(axes, column, level, shapes, name):
    """One box, (x, y, width, height): as wide as it has maps (the root, again)."""
    height, width = tall(shapes, name), 0.04 * shapes[name][1] ** 0.5
    x, y = 2 + COLUMN * column, level + (tall(shapes, name.replace("merge", "down")) - height) / 2
    box(axes, x, y, width, height, tint(COLOURS[0 if name.startswith("down") else 2], 0.35))
    word(axes, x + width / 2, y - 0.3, said(shapes[name]), 8)
    return x, y, width, height


def put_arrows(axes, places, shapes, depth):
    """Down by pooling, up by transposed convolution, across as a copy."""
    for k in range(depth - 1):
        below = places[f"merge{k + 1}" if k < depth - 2 else f"down{depth - 1}"]
        left, right, down = places[f"down{k}"], places[f"merge{k}"], places[f"down{k + 1}"]
        put_arrow(axes, (left[0] + left[2] / 2, left[1] + left[3]),
                  (down[0], down[1] + down[3] / 2), COLOURS[0], "angle,angleA=-90,angleB=180")
        put_arrow(axes, (below[0] + below[2], below[1] + below[3] / 2),
                  (right[0] + right[2] / 2, right[1] + right[3]), COLOURS[2],
                  "angle,angleA=180,angleB=90")
        y = left[1] + left[3] / 2
        put_arrow(axes, (left[0] + left[2], y), (right[0], y), GREY)
        word(axes, (left[0] + left[2] + right[0]) / 2, y - 0.22, copied(shapes, k), 8, "center",
             INK)


def copied(shapes, k):
    """What crosses over at level k: all of the map, or its middle."""
    before, after = shapes[f"down{k}"], shapes[f"up{k}"]
    cropped = min(before[2] - after[2], before[3] - after[3]) > 1
    return f"copy, cropped to {after[2]}²" if cropped else "copy"


def put_arrow(axes, start, end, colour, style="arc3"):
    """An arrow that stops a little before what it points to."""
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=10, linewidth=1.4,
                                   color=colour, connectionstyle=style, shrinkA=1, shrinkB=1,
                                   zorder=0))
