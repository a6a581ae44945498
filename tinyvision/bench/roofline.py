"""The roofline: operations a byte against operations a second, one mark a rung and case.

What is under the slope waits for memory, what is under the flat roof computes. Williams, Waterman
& Patterson 2009.
"""
from __future__ import annotations

import numpy as np

from tinyvision.bench import peers
from tinyvision.draw.board import Picture
from tinyvision.draw.palette import ACCENT, COLOURS, GREY, INK, LINE


def picture(results):
    """A Figure of the results, one panel for every part (forward, input gradient, ...)."""
    parts = list(dict.fromkeys(result.case.part for result in results))
    figure = Picture(figsize=(4.6 * len(parts) + 0.8, 4.8), dpi=110, layout="constrained")
    for axes, part in zip(figure.subplots(1, len(parts), sharey=True, squeeze=False)[0], parts):
        _panel(axes, part, [result for result in results if result.case.part == part])
    figure.axes[0].set_ylabel("GFLOP/s")
    handles = {h.get_label(): h for axes in figure.axes for h in axes.lines
               if not h.get_label().startswith("_")}
    figure.legend(handles.values(), handles, loc="outside lower center", frameon=False,
                  ncols=min(len(handles), 7), fontsize=9)
    return figure


def _panel(axes, part, results) -> None:
    machine = results[0].machine
    every = [m for result in results for m in result.rungs]
    low, high = (f(m.operations / m.moved for m in every) for f in (min, max))
    ridge = machine.peak / machine.bandwidth
    x = np.geomspace(min(low, ridge) / 3, max(high, ridge) * 30, 200)    # words on the right
    axes.loglog(x, np.minimum(machine.peak, x * machine.bandwidth) / 1e9, color=INK, linewidth=1.6)
    axes.annotate(f"peak {machine.peak / 1e9:.0f} GFLOP/s", (x[-1], machine.peak / 1e9),
                  (0, 4), textcoords="offset points", ha="right", fontsize=8, color=INK)
    axes.annotate(f"copy {machine.bandwidth / 1e9:.0f} GB/s",
                  (x[0], x[0] * machine.bandwidth / 1e9),
                  (-2, 12), textcoords="offset points", fontsize=8, color=INK, rotation=32,
                  rotation_mode="anchor")
    for m in every:
        colour, marker, filled = style(m)
        axes.plot(m.operations / m.moved, m.operations / m.seconds / 1e9, marker, label=m.label,
                  color=colour, markerfacecolor=colour if filled else "none", markersize=6,
                  alpha=0.9, linestyle="none")
    for result in results:
        _stem(axes, result)
    axes.set(title=f"{results[0].case.operation}, {part}" if _alike(results) else part,
             xlabel="operations a byte",
             ylim=(None, 3 * max(machine.peak, *(m.operations / m.seconds for m in every)) / 1e9))
    axes.grid(color=LINE, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def _alike(results) -> bool:
    return len({result.case.operation for result in results}) == 1


def _stem(axes, result) -> None:
    """A thin line through the rungs of one case, so that it reads as a ladder."""
    rates = [m.operations / m.seconds / 1e9 for m in result.rungs if not m.size]
    if rates:
        x = result.case.operations / result.case.moved
        axes.plot([x, x], [min(rates), max(rates)], color=GREY, linewidth=0.6, zorder=0,
                  label="_")


def style(m) -> tuple:
    """(colour, marker, filled): ours are round and filled, peers are hollow."""
    if m.name in ("cpu", "gpu"):
        return ACCENT, "o", True
    if m.peer:
        k = list(peers.PEERS).index(m.name)
        return COLOURS[k % len(COLOURS)], "sDhv^<"[k % 6], False
    names = ("reference", "cpu_loops", "cpu_gemm", "gpu_naive")
    k = names.index(m.name) if m.name in names else len(names)
    return (COLOURS[3], COLOURS[4], COLOURS[2], COLOURS[4], COLOURS[6])[k], "o", True
