"""Pictures of a training and of what came of it: curves, confusion matrix, scores of classes."""
import numpy as np

from tinyvision.draw.board import DPI, Picture, to_array
from tinyvision.draw.palette import ACCENT, COLOURS, GREY, INK, PAPER, category, tint
from tinyvision.draw.pictures import plain

WINDOW = 0.04              # of all steps: the smoothed curve is a mean over about so many


def training(history, title=None, floors=None, log=False):
    """The losses of a `train.History` at every step, smoothed and (pale) as they were, and beside
    them its metrics after every epoch.

    floors: by name of a metric, what it should reach, as a dashed line; log: a logarithmic axis of
    losses.
    """
    losses, metrics = shown_losses(history.losses), history.metrics
    figure = Picture(figsize=(9 if metrics else 5.4, 3.2), dpi=DPI, layout="constrained")
    axes = figure.subplots(1, 2 if metrics else 1, squeeze=False)[0]
    for k, (name, values) in enumerate(losses.items()):
        put_loss(axes[0], np.asarray(values, float), name, category(k))
    axes[0].set(xlabel="step", ylabel="loss", yscale="log" if log else "linear")
    limit_losses(axes[0], losses, log)
    if metrics:
        put_metrics(axes[1], metrics, floors or {})
    for one in axes:
        plain(figure, one)
        if len(one.get_legend_handles_labels()[1]) > 1:
            one.legend(frameon=False, fontsize=9)
    if title:
        figure.suptitle(title, size=11, color=INK, x=0.01, ha="left")
    return figure


def said(name):
    """"mean IoU" of "mean_iou"."""
    return name.replace("_", " ").replace("iou", "IoU")


def shown_losses(losses):
    """Without the sum, where it is a sum of one."""
    return {k: v for k, v in losses.items() if k != "loss"} if len(losses) == 2 else losses


def smoothed(values, window=None):
    """The mean of each value and its neighbours: `window` steps around it, fewer at the ends, and
    of those only the finite ones."""
    values = np.asarray(values, float)
    half = max(1, round(WINDOW * len(values) if window is None else window)) // 2
    finite = np.isfinite(values)
    sums, counts = (np.concatenate([[0], np.cumsum(part)])
                    for part in (np.where(finite, values, 0), finite))
    at = np.arange(len(values))
    first, last = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    with np.errstate(invalid="ignore"):
        return (sums[last] - sums[first]) / (counts[last] - counts[first])


def put_loss(axes, values, name, colour):
    """One loss: as it was, and smoothed."""
    steps = np.arange(1, len(values) + 1)
    axes.plot(steps, values, color=tint(colour, 0.3), linewidth=0.7)
    axes.plot(steps, smoothed(values), color=colour, linewidth=1.8, label=said(name))


def limit_losses(axes, losses, log):
    """The first steps, and single ones later, may be far above all others: they are cut off."""
    values = np.concatenate([np.asarray(v, float) for v in losses.values()] or [np.zeros(1)])
    values = values[np.isfinite(values)]
    if values.size and not log:
        high, low = 1.15 * np.quantile(values, 0.99), values.min()
        axes.set_ylim(min(0, 1.05 * low), high if high > 0 else None)


def put_metrics(axes, metrics, floors):
    """One line for every metric, its last value in the legend."""
    for k, (name, values) in enumerate(metrics.items()):
        epochs = np.arange(1, len(values) + 1)
        axes.plot(epochs, values, color=category(k), linewidth=1.8, marker="o", markersize=3.5,
                  label=f"{said(name)} {values[-1]:.3f}")
    for name, floor in floors.items():
        axes.axhline(floor, color=ACCENT, linestyle="--", linewidth=1.2,
                     label=f"{said(name)} to reach, {floor:g}")
    axes.set(xlabel="epoch", ylabel="held out")
    axes.xaxis.get_major_locator().set_params(integer=True)


def confusion(counts, names=None, title=None):
    """A confusion matrix: in every row the shares of a true class's items that went to each class.

    counts (K, K), rows true, columns predicted; what is right is blue, what is wrong orange; a row
    without items stays empty. names: of the K classes.
    """
    counts = to_array(counts).astype(float)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"confusion: counts are a square matrix, got shape {counts.shape}.")
    names = [str(k) for k in range(len(counts))] if names is None else list(names)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = 1.5 + 0.52 * len(counts)
    figure = Picture(figsize=(side + 0.6, side), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow([[share_fill(share, i == j) for j, share in enumerate(row)]
                 for i, row in enumerate(shares)], aspect="equal")
    for (i, j), share in np.ndenumerate(shares):
        axes.text(j, i, percent(share), ha="center", va="center", size=9,
                  color=PAPER if i == j and share > 0.6 else INK)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(title or "of 100 pixels or items of a class", size=10, color=INK, loc="left")
    axes.tick_params(length=0)
    axes.spines[:].set_color(GREY)
    return figure


def share_fill(share, right):
    """The fill of a cell; small mistakes, too, are to be seen: they grow with the root."""
    return tint(COLOURS[0], 0.95 * share) if right else tint(COLOURS[1], 0.9 * np.sqrt(share))


def percent(share):
    """A share in percent: nothing for none, a decimal below 10."""
    if share < 0.0005:
        return ""
    return f"{100 * share:.1f}" if share < 0.0995 else f"{100 * share:.0f}"


def scores(values, names, title=None, xlabel=""):
    """Bars of every class's score. values: (K,) numbers, or a dictionary of names and (K,) numbers
    for several bars a class; a class without a score (NaN) has none."""
    groups = values if isinstance(values, dict) else {"": values}
    figure = Picture(figsize=(5.4, 0.7 + 0.34 * len(names) * max(1, 0.6 * len(groups))), dpi=DPI,
                     layout="constrained")
    axes, thick = figure.add_subplot(), 0.76 / len(groups)
    for k, (label, row) in enumerate(groups.items()):
        at = np.arange(len(names)) - 0.38 + thick * (k + 0.5)
        row = to_array(row).astype(float)
        axes.barh(at, np.nan_to_num(row), thick * 0.92, color=category(k), label=label or None)
        for y, value in zip(at, row):
            text = "does not occur" if np.isnan(value) else f"{value:.2f}"
            axes.text(np.nan_to_num(value) + 0.01, y, text, va="center", size=8.5, color=INK)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(0, 1.08), xlabel=xlabel, xticks=np.linspace(0, 1, 6))
    axes.invert_yaxis()
    axes.set_title(title or "", size=10, color=INK, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    if any(groups):
        figure.legend(loc="outside lower center", ncols=len(groups), frameon=False, fontsize=9)
    return figure
