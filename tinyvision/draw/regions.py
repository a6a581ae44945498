"""Regions of interest on the grid of a feature map: what RoI pool and RoI Align read, to a cell.

    roi_bins(features, box, output_size=2, spatial_scale=1 / 8)
    roi_sample(features, box, output_size=2, spatial_scale=1 / 8)

Cell (h, w) is the square from (w, h) to (w + 1, h + 1), so that the box (x0, y0, x1, y1) of the
image lies on the map at exactly `spatial_scale` times these numbers.
"""
import numpy as np
from matplotlib.patheffects import Normal, Stroke

from tinyvision import ops
from tinyvision.draw.board import CELL, Board, number, to_array, to_matrix
from tinyvision.draw.palette import ACCENT, GREY, INK, PAPER, category, tint
from tinyvision.draw.region_bins import (Bins, align_bins, corners, misalignment, pair, pool_bins,
                                         read, samples)

EDGE = 1                                 # cells that are shown around a region
SHRINK = 0.07                            # so that the frames of neighbouring bins can be told apart


# --- both, side by side ---------------------------------------------------------------------------
def roi_bins(features, box, output_size=2, spatial_scale=1.0, sampling_ratio=2, aligned=True):
    """RoI pool's rounded bins beside RoI Align's exact ones with its samples, on the numbers of a
    map, with what both make of it; below, how far off RoI pool reads.

    Args:
        features: one channel of a map, (H, W).
        box: (x0, y0, x1, y1), in image pixels.
        output_size, spatial_scale, sampling_ratio, aligned: as in `ops.roi_align`.
    """
    grid = Grid(features, box, spatial_scale)
    x, maps, roi = grid.features, grid.features[None, None], np.array([[0, *grid.box]], np.float32)
    size = pair(output_size)
    pooled = pool_bins(grid.box, size, spatial_scale, x.shape)
    exact = align_bins(grid.box, size, spatial_scale, aligned)
    results = (ops.roi_pool(maps, roi, size, spatial_scale).numpy()[0, 0],
               ops.roi_align(maps, roi, size, spatial_scale, sampling_ratio, aligned).numpy()[0, 0])
    grid.reaching(pooled, exact)
    board, left = Board(grid.longest()), 0
    below = max(grid.height, size[0]) + 0.9
    titles = ("RoI pool: whole cells, their maximum",
              f"RoI Align: {'exact bins' if aligned else 'half a cell on'}, the mean of samples")
    for title, found, result in zip(titles, (pooled, exact), results):
        grid.put(board, left, title)
        _put_bins(board, grid, left, found)
        if found is pooled:
            _put_maxima(board, grid, left, found)
        else:
            _put_samples(board, grid, left, found, sampling_ratio)
        right = _put_result(board, grid, left, result)
        left = max(right, left + 0.0108 * 10 * len(title) / CELL / board.wide) + 1.4
    for k, words in enumerate(said_shift(grid, size, spatial_scale)):
        board.words(0, below + 0.45 * k, words, 10, align="left")
    return board.figure()


class Grid:
    """The part of a feature map around a region, on a board: cells with their numbers.

    Attributes:
        features: (H, W), float32. box: (4,), in image pixels. region: the same in cells.
    """

    def __init__(self, features, box, scale):
        self.features = np.ascontiguousarray(to_matrix(features, "roi_bins"), np.float32)
        self.box = to_array(box).astype(np.float32).reshape(4)
        self.region = self.box * np.float32(scale)
        self.reaching()

    def reaching(self, *found):
        """Show as much as the region and the bins need."""
        lows = np.array([self.region[1::-1], *((b.rows.min(), b.cols.min()) for b in found)])
        highs = np.array([self.region[3:1:-1], *((b.rows.max(), b.cols.max()) for b in found)])
        limit = np.array(self.features.shape)
        low = np.clip(np.floor(lows.min(0)).astype(int) - EDGE, 0, limit - 1)
        high = np.clip(np.ceil(highs.max(0)).astype(int) + EDGE, low + 1, limit)
        (self.top, self.left), (self.height, self.width) = low, high - low

    def shown(self):
        """The cells' numbers."""
        return self.features[self.top:self.top + self.height, self.left:self.left + self.width]

    def longest(self):
        """The longest text of a cell."""
        return max(len(number(v)) for v in self.shown().ravel())

    def put(self, board, x, title):
        """The cells with the left side at x, their rows' and columns' numbers, the true region."""
        board.grid(x, 0, np.full((self.height, self.width), ""))
        for (h, w), value in np.ndenumerate(self.shown()):
            put_number(board, x + w, h, value)
        for k in range(self.width):
            board.words(x + k + 0.5, -0.3, str(self.left + k), 7, GREY)
        for k in range(self.height):
            board.words(x - 0.3, k + 0.5, str(self.top + k), 7, GREY)
        board.words(x, -0.95, title, 10, align="left", weight="bold")
        x0, y0, x1, y1 = self.region
        board.frame(x + x0 - self.left, y0 - self.top, x1 - x0, y1 - y0, ACCENT, 2.4, "--")

    def at(self, x, column, row):
        """A place of the map on the board."""
        return x + column - self.left, row - self.top


def put_number(board, x, y, value, weight="normal"):
    """The number of a cell, in its upper left corner, above all lines."""
    board.axes.text(x + 0.12, y + 0.3, number(value), size=9, va="center", zorder=6, color=INK,
                    weight=weight, path_effects=[Stroke(linewidth=2.5, foreground=PAPER), Normal()])


def _put_bins(board, grid, x, found):
    """Every bin as a frame of its colour."""
    for p, (top, bottom) in enumerate(found.rows[0]):
        for q, (left, right) in enumerate(found.cols[0]):
            at = grid.at(x, left + SHRINK, top + SHRINK)
            board.frame(*at, max(right - left - 2 * SHRINK, 0), max(bottom - top - 2 * SHRINK, 0),
                        bin_colour(p, q, found), 2)


def bin_colour(p, q, found):
    """Of bin (p, q), so that neighbours differ."""
    return category(p * found.cols.shape[1] + q)


def _put_maxima(board, grid, x, found):
    """The cell that each bin takes, tinted."""
    for p, (top, bottom) in enumerate(found.rows[0]):
        for q, (left, right) in enumerate(found.cols[0]):
            part = grid.features[top:bottom, left:right]
            if part.size:
                row, column = np.unravel_index(part.argmax(), part.shape)
                at = grid.at(x, left + column, top + row)
                board.cell(*at, "", tint(bin_colour(p, q, found), 0.45))
                put_number(board, *at, part.max(), "bold")


def _put_samples(board, grid, x, found, ratio):
    """A dot for every sample."""
    for p, row in enumerate(found.rows[0]):
        for q, column in enumerate(found.cols[0]):
            for v in samples(*row, ratio):
                for u in samples(*column, ratio):
                    board.axes.plot(*([w] for w in grid.at(x, u, v)), "o", markersize=4.5,
                                    color=bin_colour(p, q, found), markeredgecolor=PAPER,
                                    markeredgewidth=0.6, zorder=4)


def _put_result(board, grid, x, result):
    """What comes of it, right of the map, in the bins' colours; the right side of it."""
    x, y = x + grid.width + 0.7, max(0, (grid.height - len(result)) / 2)
    found = Bins(np.zeros((1, len(result), 2)), np.zeros((1, result.shape[1], 2)))
    board.grid(x, y, [[number(v) for v in row] for row in result],
               [[tint(bin_colour(p, q, found), 0.3) for q in range(result.shape[1])]
                for p in range(len(result))])
    return x + result.shape[1]


def said_shift(grid, size, scale):
    """Two lines: where RoI pool begins and ends, and how far off it reads, on average and most."""
    pooled = pool_bins(grid.box, size, scale)
    x0, y0, x1, y1 = grid.region
    off = np.linalg.norm(misalignment(grid.box, size, scale), axis=-1)
    return (f"the region: x {number(x0)} to {number(x1)}, y {number(y0)} to {number(y1)}",
            f"RoI pool reads x {pooled.cols.min()} to {pooled.cols.max()}, "
            f"y {pooled.rows.min()} to {pooled.rows.max()}: the middles of its bins are "
            f"{off.mean():.1f} pixels of the image off on average, {off.max():.1f} at most")


# --- one bin, sample by sample --------------------------------------------------------------------
def roi_sample(features, box, output_size=2, spatial_scale=1.0, sampling_ratio=2, aligned=True,
               bin=(0, 0), sample=(0, 0)):
    """One bin of RoI Align: its samples on the map, the four weights of one of them, and the mean.

    Args:
        features, box, output_size, spatial_scale, sampling_ratio, aligned: as in `roi_bins`.
        bin: (p, q), its row and column.
        sample: (s, t), the row and column of the sample whose weights are shown.
    """
    grid = Grid(features, box, spatial_scale)
    found = align_bins(grid.box, output_size, spatial_scale, aligned)
    row, column = found.rows[0, bin[0]], found.cols[0, bin[1]]
    ys, xs = (samples(*ends, sampling_ratio) for ends in (row, column))
    cut = Bins(row[None, None], column[None, None])
    grid.region = np.array((column[0], row[0], column[1], row[1]))
    grid.reaching(cut)
    board = Board(grid.longest())
    grid.put(board, 0, f"bin ({bin[0]}, {bin[1]}) and its samples")
    _put_samples(board, grid, 0, cut, sampling_ratio)
    y, x = ys[sample[0]], xs[sample[1]]
    board.axes.plot(*([w] for w in grid.at(0, x, y)), "o", markersize=9, markerfacecolor="none",
                    color=ACCENT, markeredgewidth=1.8, zorder=5)
    _put_weights(board, grid, grid.width + 1.5, y, x)
    values = [read(grid.features, v, u) for v in ys for u in xs]
    _put_mean(board, grid.height + 0.9, values)
    return board.figure()


def _put_weights(board, grid, x, y, u):
    """The four cells around a sample, their weights, and the sum of the products."""
    rows, cols = (corners(v, n) for v, n in zip((y, u), grid.features.shape))
    wide, top = max(len(cols), 1), 0.4
    board.words(x, -0.95, f"the sample at x {number(u)}, y {number(y)}", 10, ACCENT, "left", "bold")
    board.grid(x, top, [[number(grid.features[h, w]) for w, _ in cols] for h, _ in rows])
    board.words(x + wide + 0.4, top + 1, "·", 14)
    board.grid(x + wide + 0.8, top, [[number(a * b) for _, b in cols] for _, a in rows],
               [[tint(category(4), 0.15 + 0.6 * a * b) for _, b in cols] for _, a in rows])
    board.words(x + 2 * wide + 1.2, top + 1, "=", 12)
    board.cell(x + 2 * wide + 1.6, top + 0.5, number(read(grid.features, y, u)), edge=ACCENT)
    board.words(x + wide / 2, top + 2.35, "four cells", 8)
    board.words(x + 1.5 * wide + 0.8, top + 2.35, "weights", 8)
    for (h, _), (w, _) in ((a, b) for a in rows for b in cols):
        board.frame(*grid.at(0, w, h), 1, 1, INK, 1.4)


def _put_mean(board, y, values):
    """The bin is the mean of its samples."""
    terms = " + ".join(number(v) for v in values[:9]) + (" + ..." if len(values) > 9 else "")
    board.words(0, y, f"bin = ({terms}) / {len(values)} = {number(np.mean(values))}", 10,
                align="left")
