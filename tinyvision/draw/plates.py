"""Images with things drawn over them, in their own pixel coordinates: the base of all pictures of
detection. Coordinates are continuous: pixel (h, w) is the square from (w, h) to (w + 1, h + 1)."""
import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke
from matplotlib.textpath import TextPath

from tinyvision.draw.board import DPI, Picture
from tinyvision.draw.palette import INK, PAPER, category, rgb
from tinyvision.draw.pictures import displayable

POINTS = 72                              # of an inch
GAP = 0.08                               # inches between panels
APART = 4                                # points between dots or lines, at least


class Plate:
    """One image in one panel, and labels on it that keep clear of each other.

    width: of the panel, in inches. margin: pixels of paper around the image, for boxes that reach
    over its border.
    """

    def __init__(self, axes, image, width, title=None, margin=0):
        self.axes, self.image, self.margin = axes, displayable(image), margin
        H, W = self.image.shape[:2]
        self.size, self.point = (H, W), (W + 2 * margin) / (width * POINTS)  # a point, in pixels
        axes.imshow(self.image, cmap="gray", vmin=0, vmax=1, interpolation="nearest",
                    extent=(0, W, H, 0))
        axes.set(xlim=(-margin, W + margin), ylim=(H + margin, -margin))
        axes.axis("off")
        if title is not None:
            axes.set_title(title, size=9, color=INK, pad=3)
        self.taken, self.boxes = np.zeros((0, 4)), np.zeros((0, 4))

    def every(self, step):
        """Of things `step` pixels apart the how-manieth are drawn, so that they can be told apart:
        1, 2, 4, ..."""
        count = 1
        while count * step < APART * self.point:
            count *= 2
        return count

    def pale(self, amount=0.6):
        """The image so much whiter, for what is drawn over it."""
        picture = self.axes.images[0]
        picture.set_data(amount + (1 - amount) * np.asarray(picture.get_array()))

    def zoom(self, box, around=0.3):
        """Show a square around a box alone, `around` of its longer side wider to each side."""
        x0, y0, x1, y1 = np.asarray(box, float)
        half = (0.5 + around) * max(x1 - x0, y1 - y0, 1)
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        self.axes.set(xlim=(x - half, x + half), ylim=(y + half, y - half))

    def box(self, box, colour, line=1.6, style="-", halo=True, **how):
        """The outline of a box (x0, y0, x1, y1)."""
        x0, y0, x1, y1 = np.asarray(box, float)
        self.axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour,
                                      linewidth=line, linestyle=style, joinstyle="miter",
                                      path_effects=_halo(line) if halo else None, **how))
        self.boxes = np.concatenate((self.boxes, [(x0, y0, x1, y1)]))

    def mask(self, mask, colour, strength=0.45):
        """A mask (H, W), tinted and outlined."""
        layer = np.zeros((*self.size, 4))
        layer[mask] = (*rgb(colour), strength)
        H, W = self.size
        self.axes.imshow(layer, interpolation="nearest", extent=(0, W, H, 0))
        framed = np.pad(np.asarray(mask, float), 1)
        if mask.any():
            self.axes.contour(np.arange(W + 2) - 0.5, np.arange(H + 2) - 0.5, framed, [0.5],
                              colors=[colour], linewidths=1.3)

    def line(self, xs, ys, colour, width=1.6):
        """A line through points."""
        self.axes.plot(xs, ys, color=colour, linewidth=width, path_effects=_halo(width),
                       solid_capstyle="round")

    def dot(self, x, y, colour, size=3.4):
        """A point."""
        self.axes.plot([x], [y], "o", color=colour, markersize=size, markeredgecolor=PAPER,
                       markeredgewidth=0.7)

    def extent(self, words, size):
        """(width, height) of words on a ground, in pixels."""
        across = max(TextPath((0, 0), line, size=size).get_extents().width
                     for line in words.split("\n"))
        return np.array((across + 0.7 * size, (1.2 * words.count("\n") + 1.35) * size)) * self.point

    def label(self, box, words, colour, size=8):
        """Words for a box, outside it, above, where that is free; else near that place."""
        width, height = self.extent(words, size)
        x, y = self._free(np.asarray(box, float), width, height)
        self.axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor=PAPER,
                                      linewidth=0.5, zorder=4, clip_on=False))
        first = y + 1.02 * size * self.point                 # the first line's baseline
        for k, line in enumerate(words.split("\n")):
            self.axes.text(x + width / 2, first + 1.2 * k * size * self.point, line, size=size,
                           color=readable(colour), ha="center", va="baseline", zorder=5)
        self.taken = np.concatenate((self.taken, [(x, y, x + width, y + height)]))

    def _free(self, box, width, height):
        """The corner for a label: no other label there, inside the image, few boxes covered, and
        near the box's upper left corner."""
        (H, W), m = self.size, self.margin
        xs = np.concatenate(([box[0]], np.linspace(box[0] - width, box[2], 15)))
        ys = np.concatenate(([box[1] - height], np.linspace(box[1] - height, box[3], 15)))
        places = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)
        places = np.clip(places, -m, np.maximum((W + m - width, H + m - height), -m))
        labels = np.concatenate((places, places + (width, height)), 1)
        away = np.linalg.norm(places - (box[0], box[1] - height), axis=1)
        cost = (30 * covered(labels, self.taken) + covered(labels, self.boxes)
                + 0.6 * covered(labels, box[None]) + away / (3 * height))
        return places[cost.argmin()]


def _halo(line):
    return [Stroke(linewidth=line + 1.6, foreground=PAPER, alpha=0.75), Normal()]


def covered(labels, boxes):
    """(L,): how much of each label (L, 4) lies on the boxes (M, 4), in areas of the label."""
    low = np.maximum(labels[:, None, :2], boxes[None, :, :2])
    high = np.minimum(labels[:, None, 2:], boxes[None, :, 2:])
    area = np.prod(np.maximum(high - low, 0), -1).sum(1)
    return area / np.prod(labels[:, 2:] - labels[:, :2], axis=1)


def readable(colour):
    """White or ink, whichever is read better on the colour."""
    red, green, blue = rgb(colour)
    return INK if 0.3 * red + 0.59 * green + 0.11 * blue > 0.55 else PAPER


def plates(images, columns=None, width=2.4, titles=None, margin=0):
    """(figure, [Plate]): images (3, H, W), (1, H, W) or (H, W) in rows of `columns` panels, each as
    wide as `width` inches and as tall as the tallest image is then.

    titles: one for each, of one or two lines. margin: see `Plate`.
    """
    images = [displayable(image) for image in images]
    columns = columns or len(images)
    rows = -(-len(images) // columns)
    tall = width * max((i.shape[0] + 2 * margin) / (i.shape[1] + 2 * margin) for i in images)
    above = 0.24 + 0.15 * max(t.count("\n") for t in titles) if titles else 0.0
    full = np.array((columns * (width + GAP) - GAP, rows * (tall + above + GAP) - GAP))
    figure, found = Picture(figsize=full, dpi=DPI), []
    for k, image in enumerate(images):
        row, column = divmod(k, columns)
        corner = column * (width + GAP), full[1] - (row + 1) * (tall + above + GAP) + GAP
        axes = figure.add_axes((*corner / full, width / full[0], tall / full[1]))
        axes.set_anchor("N")
        found.append(Plate(axes, _channels_first(image), width, titles[k] if titles else None,
                           margin))
    return figure, found


def _channels_first(image):
    return image if image.ndim == 2 else image.transpose(2, 0, 1)


def class_name(names, label):
    """The name of a label, or "class 3"."""
    label = int(label)
    known = names is not None and 0 <= label < len(names) and names[label]
    return str(names[label]) if known else f"class {label}"


def class_colour(label):
    """Of a label, as in every legend."""
    return category(int(label))
