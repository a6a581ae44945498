"""How fast: the roofline of one case, and the register tile's speed by its height."""
import numpy as np

from tinyvision import simd
from tinyvision.draw.board import DPI, Picture
from tinyvision.draw.palette import ACCENT, GREY, INK, LINE, PAPER, category

CLOSE = 0.055           # two labels stand at least this part of the axis apart


def roofline(result, guesses=None):
    """One case's rungs under the measured roof, each with its name: operations a byte against
    operations a second. Williams, Waterman & Patterson 2009.

    result: a `tinyvision.bench.ladder.Result`. guesses: {rung: seconds} that a reader expected, as
    crosses. Dashed lines are lower ceilings: one core alone, and one core without vectors.
    """
    figure, case = Picture(figsize=(7.2, 4.6), dpi=DPI), result.case
    axes = figure.add_subplot()
    marks = [(m.operations / m.moved, m.operations / m.seconds / 1e9) for m in result.rungs]
    crosses = {name: (case.operations / case.moved, case.operations / seconds / 1e9)
               for name, seconds in (guesses or {}).items()}
    x, y = np.array([*marks, *crosses.values()]).T
    put_roof(axes, result.machine, x)
    put_rungs(axes, result.rungs)
    for name, place in crosses.items():
        axes.plot(*place, "x", color=INK)
        axes.annotate(f"guess: {name}", place, (-10, 0), textcoords="offset points", ha="right",
                      va="center", fontsize=8)
    axes.set(xlabel="operations a byte (each byte once)", ylabel="GFLOP/s", title=str(case),
             ylim=(min(y) / 3, 6 * max(result.machine.peak / 1e9, max(y))))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=LINE, linewidth=0.4)
    spread_labels(axes)
    return figure


def put_roof(axes, machine, x):
    """The roof, from the left of the marks `x` to their right, and the ceilings below it."""
    ridge = machine.peak / machine.bandwidth
    at = np.geomspace(min(*x, ridge) / 4, max(*x, ridge) * 30, 200)
    for name, peak in ceilings(machine).items():
        colour, width, line = (GREY, 0.9, "--") if name else (INK, 1.7, "-")
        axes.loglog(at, np.minimum(peak, at * machine.bandwidth) / 1e9, color=colour,
                    linewidth=width, linestyle=line)
        axes.annotate(name or f"peak {peak / 1e9:.0f} GFLOP/s", (at[-1], peak / 1e9),
                      (0, -3 if name else 3), textcoords="offset points", ha="right",
                      va="top" if name else "bottom", fontsize=8, color=colour)
    axes.annotate(f"copy {machine.bandwidth / 1e9:.0f} GB/s",
                  (at[0], at[0] * machine.bandwidth / 1e9), (10, -2), textcoords="offset points",
                  va="top", fontsize=8, color=INK)
    axes.set_xlim(at[0], at[-1])


def ceilings(machine):
    """{name: operations a second}: the peak, and what is left of it without cores or vectors."""
    lanes, found = simd.native_lanes(), {"": machine.peak}
    if machine.threads > 1:
        found["one core"] = machine.peak / machine.threads
    if lanes:
        found["one core, no vectors"] = machine.peak / machine.threads / lanes
    return found


def put_rungs(axes, rungs):
    """A mark and a name for every rung; what ran on a smaller case has a hollow mark."""
    for k, m in enumerate(rungs):
        x, y, small = m.operations / m.moved, m.operations / m.seconds / 1e9, bool(m.size)
        colour = ACCENT if m.name in ("cpu", "gpu") else category(k if k != 1 else 6)
        axes.plot(x, y, "o", color=colour, markerfacecolor="none" if small else colour, zorder=3)
        axes.annotate(f"{m.label}, a smaller layer" if small else m.label, (x, y), (12, 0),
                      textcoords="offset points", va="center", fontsize=9, color=colour,
                      gid="rung", bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1})


def spread_labels(axes):
    """Move the names of rungs apart where they would overlap, the lowest staying where it is."""
    low, high = np.log(axes.get_ylim())
    height = axes.bbox.height * 72 / axes.figure.dpi         # in points, as the offsets are
    labels = sorted((t for t in axes.texts if t.get_gid() == "rung"), key=lambda t: t.xy[1])
    last = -np.inf
    for label in labels:
        place = (np.log(label.xy[1]) - low) / (high - low)
        last = max(place, last + CLOSE)
        label.xyann = (12, (last - place) * height)


def tile_heights(rates, largest):
    """Operations a second of tiles by their height. rates: {rows: operations a second};
    largest: the highest tile that the registers hold; higher ones are drawn in orange."""
    figure = Picture(figsize=(6.4, 2.8), dpi=DPI)
    axes = figure.add_subplot()
    heights, values = list(rates), [rate / 1e9 for rate in rates.values()]
    colours = [category(0) if h <= largest else ACCENT for h in heights]
    bars = axes.bar(heights, values, color=colours)
    axes.bar_label(bars, [f"{value:.0f}" for value in values], fontsize=8, color=INK)
    axes.set(xlabel="rows of the tile", ylabel="GFLOP/s, one core", xticks=heights)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(0, 1.2 * max(values))
    axes.set_title("orange: more than the registers hold", size=9, color=ACCENT, loc="right")
    return figure
