"""A board to draw number grids on: one cell is one unit, y grows downwards as in an image."""
import io

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image      # matplotlib needs it, too

from tinyvision.draw.palette import ACCENT, GREY, INK, LINE, PAPER, signed

CELL = 0.52     # inches
DPI = 96


class Picture(Figure):
    """A Figure that a notebook shows as a PNG without pyplot being imported."""

    def _repr_png_(self):
        """The PNG, in 256 colours: lectures are committed with their pictures, and a third of
        the size is as readable."""
        full, small = io.BytesIO(), io.BytesIO()
        self.savefig(full, format="png", dpi=self.dpi, bbox_inches="tight", pad_inches=0.08)
        Image.open(full).convert("RGB").quantize(256, kmeans=1).save(small, "PNG", optimize=True)
        return small.getvalue()


class Board:
    """Cells, words and frames at places (x, y); `figure()` fits the paper around them.

    longest: the longest text that a cell will hold; cells are as wide as it needs.
    """

    def __init__(self, longest=0):
        self.wide = min(1.8, max(1, longest / 5.2))     # width of a cell over its height
        self.picture = Picture(dpi=DPI)
        self.axes = self.picture.add_axes((0, 0, 1, 1))
        self.axes.axis("off")
        self.corners = []

    def reach(self, x, y):
        self.corners.append((x, y))

    def cell(self, x, y, words="", fill=PAPER, colour=INK, edge=LINE):
        self.axes.add_patch(Rectangle((x, y), 1, 1, facecolor=fill, edgecolor=edge, linewidth=0.8))
        self.words(x + 0.5, y + 0.5, words, size=self.fitting(words), colour=colour)
        self.reach(x, y)
        self.reach(x + 1, y + 1)

    def fitting(self, words):
        """The font size at which `words` fit into a cell."""
        return min(11, 48 * self.wide / max(1, len(words)))

    def words(self, x, y, words, size=11, colour=INK, align="center", weight="normal"):
        self.axes.text(x, y, words, size=size, color=colour, ha=align, va="center", weight=weight)
        half = 0.0096 * size * len(words) / 2 / CELL / self.wide
        shift = {"center": 0, "left": half, "right": -half}[align]
        self.reach(x + shift - half, y - 0.35)
        self.reach(x + shift + half, y + 0.35)

    def frame(self, x, y, width=1, height=1, colour=ACCENT, line=2.2, style="-"):
        self.axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=colour,
                                      linewidth=line, linestyle=style, joinstyle="miter", zorder=3))

    def grid(self, x, y, texts, fills=None, edge=LINE):
        """Rows of texts as cells, the upper left corner at (x, y); zeros are written in grey."""
        for (row, column), text in np.ndenumerate(np.asarray(texts, dtype=object)):
            fill = PAPER if fills is None else fills[row][column]
            colour = GREY if text in ("0", "") else INK
            self.cell(x + column, y + row, text, fill, colour, edge)

    def figure(self):
        corners = np.array(self.corners)
        low, high = corners.min(0) - 0.1, corners.max(0) + 0.1
        self.axes.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]))
        self.picture.set_size_inches(*(CELL * (high - low) * (self.wide, 1)))
        return self.picture


def to_array(x):
    """The NumPy array of a Tensor, of an array (also one on the GPU) or of nested lists."""
    numpy = getattr(x, "numpy", None)
    x = numpy() if callable(numpy) else x
    return np.asarray(x.get() if hasattr(x, "get") and hasattr(x, "dtype") else x)


def to_matrix(x, who):
    """As `to_array`, (H, W): leading axes of length 1 are dropped."""
    array = to_array(x)
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2:
        raise ValueError(f"{who}: expected one matrix (H, W), or (1, 1, H, W); got {array.shape}.")
    return array


def number(value):
    """A number as a person writes it: at most two decimals, no trailing zeros, no minus zero."""
    if isinstance(value, (str, bool, np.bool_)):
        return str(value)
    text = f"{float(value):.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def written(matrix):
    """The texts of a matrix, in nested lists."""
    return [[number(value) for value in row] for row in matrix]


def value_fills(matrix, largest=None):
    """The fill of each cell of a matrix by its value; texts stay white."""
    if matrix.dtype.kind not in "fiub":
        return None
    largest = np.abs(matrix).max(initial=0) if largest is None else largest
    return [[signed(value, largest) for value in row] for row in matrix.astype(float)]
