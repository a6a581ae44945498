"""Precision over recall: the sawtooth of one class and what its average precision is the area of,
and several classes in one picture. The numbers come from `tinyvision.metrics`.

    precision_recall(scores.precision_recall(label=0), title="circle")
    precision_recalls({name: scores.precision_recall(k) for k, name in enumerate(scores.names)})
"""
import numpy as np

from tinyvision.draw.board import DPI, Picture, to_array
from tinyvision.draw.palette import ACCENT, COLOURS, GREY, INK, category, tint
from tinyvision.draw.pictures import plain
from tinyvision.metrics.coco_ap import envelope, interpolated
from tinyvision.metrics.voc_ap import ELEVEN, voc_ap


def precision_recall(curve, eleven_point=False, title=None):
    """One class: precision after each detection, the envelope (the best at this recall or a higher
    one), and the area below it, shaded; or the eleven points whose mean is VOC 2007's.

    curve: (recall, precision, ...), each (D,), best scores first, from `DetectionAP` or `VocAP`.
    """
    recall, precision = read(curve, "precision_recall")
    figure, axes = empty_axes()
    x, y = stairs(recall, precision)
    if eleven_point:
        put_eleven(axes, recall, precision)
    else:
        axes.fill_between(x, y, step="pre", color=tint(COLOURS[0], 0.18), linewidth=0)
    axes.plot(x, y, drawstyle="steps-pre", color=COLOURS[0], linewidth=2, label="envelope")
    axes.plot(recall, precision, "o-", color=GREY, linewidth=1, markersize=3.5,
              label="after each detection")
    kind = "11 points" if eleven_point else "area"
    area = f"AP = {voc_ap(recall, precision, eleven_point):.3f} ({kind})"
    axes.set_title(f"{title}: {area}" if title else area, size=11, color=INK, loc="left")
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    return figure


def precision_recalls(curves, areas=None, title=None):
    """The envelopes of several classes, named with their average precision, the best one first.

    curves: a dictionary of names and (recall, precision, ...). areas: by name what to write, such
    as `DetectionAP.per_class()`; else the area below each.
    """
    lines = {name: read(curve, "precision_recalls") for name, curve in curves.items()}
    areas = {name: voc_ap(*line) for name, line in lines.items()} if areas is None else areas
    figure, axes = empty_axes()
    for name in sorted(lines, key=lambda name: -np.nan_to_num(areas[name], nan=-1)):
        says = "no truth" if np.isnan(areas[name]) else f"{areas[name]:.3f}"
        axes.plot(*stairs(*lines[name]), drawstyle="steps-pre", linewidth=1.8,
                  color=category(list(lines).index(name)), label=f"{name}  {says}")
    axes.set_title(title or "", size=11, color=INK, loc="left")
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5),
                title="average precision", title_fontsize=9, alignment="left")
    return figure


def read(curve, who):
    """(recall, precision), float arrays."""
    recall, precision = (to_array(values).astype(float) for values in curve[:2])
    if recall.ndim != 1 or recall.shape != precision.shape:
        raise ValueError(f"{who}: a curve is (recall, precision), (D,) each; got {recall.shape} "
                         f"and {precision.shape}.")
    return recall, precision


def empty_axes():
    """A figure with both axes from 0 to 1."""
    figure = Picture(figsize=(5, 3.4), dpi=DPI, layout="constrained")
    axes = figure.add_subplot(xlabel="recall", ylabel="precision", xlim=(0, 1.03), ylim=(0, 1.05))
    plain(figure, axes)
    return figure, axes


def stairs(recall, precision):
    """The corners of the envelope, from recall 0 to the highest one and down from there."""
    heights = envelope(precision)
    return (np.concatenate([[0], recall, recall[-1:]]),
            np.concatenate([heights[:1] if len(heights) else [0], heights, [0] * len(recall[-1:])]))


def put_eleven(axes, recall, precision):
    """The envelope at recalls 0, 0.1, ..., 1, as points on stems."""
    heights = interpolated(recall, precision, ELEVEN)
    axes.vlines(ELEVEN, 0, heights, color=tint(ACCENT, 0.5), linewidth=1.2)
    axes.plot(ELEVEN, heights, "o", color=ACCENT, markersize=6, label="the eleven points",
              clip_on=False, zorder=3)
