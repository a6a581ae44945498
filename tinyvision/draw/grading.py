"""How a class did, and what separates a rounding error from a mistake.

    marks(summary.records)
    rounding(errors, bound, {"a dropped term": 0.3})
"""
import collections

import numpy as np

from tinyvision.draw.board import DPI, Picture, to_array
from tinyvision.draw.palette import ACCENT, COLOURS, INK
from tinyvision.draw.pictures import plain

MOST = 8                                # mistakes that are listed
EDGES = np.linspace(0, 1, 11)           # of the shares of the points


def marks(records, most=MOST):
    """Left, how many submissions have which share of the points; right, the most common mistakes.

    records: what `tinyvision.grading.grade` keeps of each submission. Those without a score (a
    fault of the grader's) are left out.
    """
    shares = [record["score"] / record["points"] for record in records
              if record["score"] is not None and record["points"]]
    counts = collections.Counter(f"{found['function']}: {found['name'].replace('-', ' ')}"
                                 for record in records for found in record["diagnoses"]
                                 if found["name"])
    common = counts.most_common(most)
    figure = Picture(figsize=(8.5, max(2.4, 0.6 + 0.32 * len(common))), dpi=DPI,
                     layout="constrained")
    left, right = figure.subplots(1, 2)
    left.hist(shares, EDGES, color=COLOURS[0], rwidth=0.9)
    left.set_xlabel("share of the points")
    left.set_ylabel("submissions")
    left.yaxis.get_major_locator().set_params(integer=True)
    places = np.arange(len(common))[::-1]
    right.barh(places, [n for _, n in common], color=ACCENT, height=0.7)
    right.set_yticks(places, [words for words, _ in common], fontsize=9)
    right.xaxis.get_major_locator().set_params(integer=True)
    right.set_xlabel("submissions with this mistake")
    for axes in (left, right):
        plain(figure, axes)
    right.grid(visible=False)
    return figure


def rounding(errors, bound, wrong=None):
    """Errors of right answers that differ in their order of summation, beside the bound, and errors
    of wrong answers, on a logarithmic scale.

    errors: (n,) absolute errors; those that are 0 are drawn at the left end. bound: the largest
    that counts as rounding. wrong: what is wrong -> its error.
    """
    errors, wrong = np.abs(to_array(errors).astype(float)), wrong or {}
    least = errors[errors > 0].min(initial=bound) / 2
    figure = Picture(figsize=(8, 2.6), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    largest = 3 * max([bound, *map(abs, wrong.values())])
    axes.hist(np.maximum(errors, least), np.geomspace(least, largest, 60), color=COLOURS[0])
    axes.axvline(bound, color=INK, linewidth=1.5)
    axes.annotate("bound ", (bound, 0.95), xycoords=("data", "axes fraction"), ha="right",
                  va="top", color=INK, size=10)
    for k, (words, error) in enumerate(wrong.items()):
        axes.axvline(abs(error), color=ACCENT, linewidth=1.5)
        axes.annotate(f" {words} ", (abs(error), 0.95 - 0.14 * k), va="top", color=ACCENT, size=9,
                      xycoords=("data", "axes fraction"),
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
                      ha="left" if abs(error) < np.sqrt(least * largest) else "right")
    axes.set_xscale("log")
    axes.set_xlabel("absolute error")
    axes.set_ylabel("orders of summation")
    return plain(figure, axes)
