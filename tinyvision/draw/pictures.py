"""Images, masks with a legend, and training curves."""
import numpy as np
from matplotlib.patches import Patch

from tinyvision.draw.board import DPI, Picture, to_array
from tinyvision.draw.palette import ACCENT, GREY, INK, LINE, category, rgb


def images(images, titles=None, columns=None, side=1.6):
    """Images in a grid. images (N, 3, H, W), (N, 1, H, W) or a list of (H, W), (3, H, W), all in
    [0, 1]; titles: one for each; columns: how many stand in a row (at most 8 unless told
    otherwise); side: the width of one, in inches."""
    pictures = [displayable(image) for image in images]
    columns = columns or min(8, len(pictures))
    rows = -(-len(pictures) // columns)
    figure, axes = panels(rows, columns, side, 0.28 if titles else 0.04)
    for k, image in enumerate(pictures):
        show(axes[k], image, titles[k] if titles else None)
    return figure


def image_rows(rows, side=1.3):
    """Rows of images below each other, each with its name at the left. rows: a dictionary of names
    and images as in `images`, as many in each; side: the width of one image, in inches."""
    pictures = [[displayable(image) for image in row] for row in rows.values()]
    counts = sorted({len(row) for row in pictures})
    if len(counts) != 1:
        raise ValueError(f"image_rows: rows have {counts} images; expected one number of them.")
    figure, axes = panels(len(pictures), counts[0], side, 0.04)
    for axis, image in zip(axes, [image for row in pictures for image in row]):
        show(axis, image)
    label_rows(axes[::counts[0]], rows)
    return figure


def displayable(image):
    """(H, W) or (H, W, 3) in [0, 1], of (H, W), (1, H, W) or (3, H, W)."""
    image = to_array(image)
    if image.ndim == 3 and image.shape[0] in (1, 3):
        image = image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0)
    elif image.ndim != 2:
        raise ValueError(f"images: an image is (H, W), (1, H, W) or (3, H, W); got {image.shape}.")
    return np.clip(image.astype(float), 0, 1)


def panels(rows, columns, side, above):
    """A figure of rows x columns square panels, empty and without axes, row by row."""
    figure = Picture(figsize=(columns * side, rows * (side + above)), dpi=DPI)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    figure.subplots_adjust(left=0, right=1, bottom=0, top=1 - above / (rows * (side + above)),
                           wspace=0.04, hspace=0.02 + above / side)
    for one in axes:
        one.axis("off")
    return figure, axes


def show(axes, image, title=None):
    """One image in one panel, in grey where it has one channel."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    if title is not None:
        axes.set_title(str(title), size=9, color=INK, pad=3)


def masks(images, masks, predictions=None, names=None, side=1.6,
          rows=("image", "truth", "predicted")):
    """Images above their maps of classes, above the predicted maps if there are any, with a
    legend. images (N, 3, H, W); masks and predictions (N, H, W) integers, 0 the background, -1
    ignored (grey); names: of the classes from 1 on; rows: what stands beside each row."""
    images, maps = to_array(images), [to_array(m) for m in (masks, predictions) if m is not None]
    n, classes = len(images), max(int(m.max(initial=0)) for m in maps)
    figure, axes = panels(1 + len(maps), n, side, 0.04)
    for axis, image in zip(axes, [displayable(image) for image in images]):
        show(axis, image)
    for axis, mask in zip(axes[n:], [mask for m in maps for mask in m]):
        axis.imshow(coloured(mask), interpolation="nearest")
    label_rows(axes[::n], rows)
    put_legend(figure, names or [f"class {k}" for k in range(1, classes + 1)])
    return figure


def coloured(mask):
    """(H, W, 3): the background nearly black, so that every class stands out."""
    picture = np.full((*mask.shape, 3), 0.13)
    for k in np.unique(mask):
        if k:
            picture[mask == k] = rgb(GREY) if k < 0 else rgb(category(k - 1))
    return picture


def label_rows(axes, labels):
    """A word at the left of the first panel of every row."""
    for one, label in zip(axes, labels):
        one.text(-0.06, 0.5, label, transform=one.transAxes, rotation=90, ha="right", va="center",
                 size=9, color=INK)


def put_legend(figure, names):
    """The classes and their colours, in one line below the panels."""
    patches = [Patch(color=category(k), label=name) for k, name in enumerate(names)]
    figure.legend(handles=patches, loc="upper center", bbox_to_anchor=(0.5, 0), frameon=False,
                  ncols=min(8, len(patches)), fontsize=9)


def curve(values, title=None, xlabel="step", ylabel="loss", floor=None, log=False):
    """A training curve. values: numbers, or a dictionary of names and numbers for several lines;
    floor: a value to reach, as a dashed line;
    log: a logarithmic axis of values."""
    lines = values if isinstance(values, dict) else {"": values}
    figure = Picture(figsize=(6, 2.8), dpi=DPI)
    axes = figure.add_subplot()
    for k, (name, line) in enumerate(lines.items()):
        axes.plot(to_array(line), color=category(k), linewidth=1.8, label=name or None)
    if floor is not None:
        axes.axhline(floor, color=ACCENT, linestyle="--", linewidth=1.2)
    axes.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log else "linear")
    axes.set_title(title or "", size=11, loc="left")
    if any(lines):
        axes.legend(frameon=False, fontsize=9)
    return plain(figure, axes)


def plain(figure, axes):
    """The figure, with no more lines around it than one reads values off."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=LINE, linewidth=0.6)
    return figure
