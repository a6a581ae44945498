"""A picture of the lecture on regions: how far from their place RoI pool's bins begin and end.

    edge_errors(boxes, strides=(4, 8, 16))
"""
import numpy as np

from tinyvision.draw.board import DPI, Picture
from tinyvision.draw.palette import COLOURS, INK, tint
from tinyvision.draw.pictures import plain
from tinyvision.draw.region_bins import read_and_exact

BARS = 33                                # of a histogram
FIRST, LAST = COLOURS[0], COLOURS[1]     # edges


def edges_off(boxes, output_size, stride, how="pool") -> np.ndarray:
    """How far the edges of bins lie from where they should, in pixels of the image, positive to the
    right and down: (K, P + Q, 2), rows' then columns' bins, first and last edge.

    boxes: (K, 4). stride: of the map. how: as in `draw.misalignment`.

    Raises:
        ValueError: another `how`.
    """
    read, exact = read_and_exact("edges_off", boxes, output_size, 1 / stride, how)
    return stride * (np.concatenate(read, 1) - np.concatenate(exact, 1))


def edge_errors(boxes, strides=(4, 8, 16), output_size=7, width=2.9):
    """For maps of some strides, the distribution over all bins of all boxes of how far off RoI pool
    begins and ends to read; the lines are RoI Align, aligned (0) and not aligned (half a cell).

    boxes: (K, 4), one or more, in image pixels. output_size: bins along a side. width: of one
    panel, in inches.
    """
    figure = Picture(figsize=(width * len(strides), 2.7), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, len(strides), squeeze=False)[0]
    for axes, stride in zip(panels, strides):
        put_errors(axes, edges_off(boxes, output_size, stride), stride)
        plain(figure, axes)
    lines, words = panels[0].get_legend_handles_labels()
    figure.legend(lines, words, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def put_errors(axes, off, stride):
    """One panel: edges (K, B, 2) that lie so far off, in pixels."""
    limit = np.abs(off).max() or 1.0
    edges = np.linspace(-limit, limit, BARS + 1)
    for k, colour, words in ((0, FIRST, "RoI pool: left and top"),
                             (1, LAST, "RoI pool: right and bottom")):
        values = off[..., k].ravel()
        axes.hist(values, edges, weights=np.full(values.size, 100 / values.size), label=words,
                  histtype="stepfilled", facecolor=(*tint(colour, 0.5), 0.6), edgecolor=colour)
    axes.axvline(0, color=INK, linewidth=1.6, label="RoI Align, aligned")
    axes.axvline(stride / 2, color=INK, linewidth=1.2, linestyle="--", label="not aligned")
    axes.set_title(f"stride {stride}: {np.abs(off).mean():.1f} pixels off on average", size=9.5,
                   color=INK, loc="left")
    axes.set(xlabel="pixels of the image", ylabel="of 100 edges")
