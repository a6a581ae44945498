"""Maps of classes: as grids of labels, laid over images, and counted."""
import numpy as np
from matplotlib.colors import to_rgb

from tinyvision.draw.board import DPI, Board, Picture, to_array, to_matrix
from tinyvision.draw.palette import GREY, INK, LINE, PAPER, category, tint
from tinyvision.draw.pictures import displayable, panels, plain, put_legend, show


def label_grid(labels, names=None, title=None):
    """A map (H, W) of integers as the numbers that it is, a colour for each class and a legend.

    0 is the background, white; -1 is ignored, grey. names: of the classes from 0 on.
    """
    labels = to_matrix(labels, "label_grid")
    board = Board()
    board.grid(0, 0, [[str(v) for v in row] for row in labels],
               [[class_fill(v) for v in row] for row in labels])
    if title:
        board.words(labels.shape[1] / 2, -0.5, title, weight="bold", size=10)
    for k, value in enumerate(np.unique(labels).tolist()):
        y = k * 1.25
        board.cell(labels.shape[1] + 0.8, y, str(value), class_fill(value))
        board.words(labels.shape[1] + 2.1, y + 0.5, class_name(value, names), align="left", size=10)
    return board.figure()


def class_fill(value):
    """The fill of a cell of that class, pale enough to read on."""
    if value == 0:
        return PAPER
    return tint(GREY if value < 0 else category(value - 1), 0.55)


def class_name(value, names):
    """The name of a class of a map."""
    if value < 0:
        return "ignored"
    if names is not None and value < len(names):
        return names[value]
    return "background" if value == 0 else f"class {value}"


def overlays(images, masks, names=None, titles=None, side=1.6, strength=0.5):
    """Images with their classes laid over them, in colour, and outlined.

    images (N, 3, H, W) in [0, 1]; masks (N, H, W) integers, 0 the background, -1 ignored (grey);
    names: of the classes from 1 on; strength: of the colour, 0 none, 1 opaque.
    """
    images, masks = [displayable(image) for image in to_array(images)], to_array(masks)
    if masks.shape != (len(images), *images[0].shape[:2]):
        raise ValueError(f"overlays: masks have shape {masks.shape}, expected "
                         f"{(len(images), *images[0].shape[:2])}.")
    columns = min(8, len(images))
    figure, axes = panels(-(-len(images) // columns), columns, side, 0.28 if titles else 0.04)
    for k, (image, mask) in enumerate(zip(images, masks)):
        show(axes[k], overlaid(image, mask, strength), titles[k] if titles else None)
    classes = int(masks.max(initial=0))
    put_legend(figure, names or [f"class {k}" for k in range(1, classes + 1)])
    return figure


def overlaid(image, mask, strength):
    """(H, W, 3): tinted where a class is, in full colour along the inside of its edge."""
    image = np.repeat(image[..., None], 3, 2) if image.ndim == 2 else image.copy()
    for k in np.unique(mask[mask != 0]):
        there = mask == k
        padded = np.pad(there, 1, mode="edge")
        inside = padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]
        colour = np.array(to_rgb(GREY if k < 0 else category(int(k) - 1)))
        amount = np.where(there & ~inside, 0.95, strength)[there][:, None]
        image[there] = (1 - amount) * image[there] + amount * colour
    return image


def histogram(labels, names, title=None):
    """How often each class occurs: the share of the pixels of maps, or of the labels of items.

    labels: integers of any shape, -1 is not counted; names: of the classes from 0 on.
    """
    labels = to_array(labels).ravel()
    counts = np.bincount(labels[labels >= 0], minlength=len(names))
    shares = counts / max(1, counts.sum())
    figure = Picture(figsize=(1.2 + 0.75 * len(names), 2.6), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    ground = names[0] == "background"
    axes.bar(range(len(names)), shares, 0.7,
             color=[category(k - ground) if k >= ground else LINE for k in range(len(names))])
    for k, share in enumerate(shares):
        axes.text(k, share, f"{100 * share:.3g} %", ha="center", va="bottom", size=9, color=INK)
    axes.set_xticks(range(len(names)), names, rotation=25 if len(names) > 4 else 0)
    axes.set(yticks=[], ylim=(0, 1.15 * shares.max(initial=0.01)))
    axes.set_title(title or "", size=10, color=INK, loc="left")
    plain(figure, axes).axes[0].spines["left"].set_visible(False)
    return figure
