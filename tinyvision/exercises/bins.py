"""How people divide a region into bins: right ways and wrong ones, for the mistakes of RoI pooling.

The first functions give the (low, high) of each bin along one axis, counted from the region's
first pixel; a bin ends before `high`.
"""
from __future__ import annotations

import numpy as np


def usual(length, bins):
    """The right bins: one end rounded down, the other up."""
    p = np.arange(bins)
    return np.floor(p * length / bins), np.ceil((p + 1) * length / bins)


def edges(start, end, bins, size, edge=usual, extra=1, least=1, clip=True):
    """The (first, last + 1) pixel of each bin between whole corners, an array (bins, 2), from
    edge(length, bins) -> (low, high) of each bin, counted from `start`; within 0 to size."""
    length = max(end - start + extra, least)
    pairs = np.array(edge(length, bins)).T + start
    return (np.clip(pairs, 0, size) if clip else pairs).astype(int)


def apart_by(width):
    """Bins of one whole width, side by side."""
    return lambda length, bins: tuple((np.arange(bins) + k) * width(length / bins)
                                      for k in (0, 1))


def floors(length, bins):
    """Both ends rounded down."""
    edges = np.floor(np.arange(bins + 1) * length / bins)
    return edges[:-1], edges[1:]


def edges_rounded(length, bins):
    """Both ends rounded to the nearest whole number."""
    edges = np.floor(np.arange(bins + 1) * length / bins + 0.5)
    return edges[:-1], edges[1:]


def split(length, bins):
    """As np.array_split: the first bins are a pixel longer."""
    edges = np.cumsum([0, *(length // bins + (p < length % bins) for p in range(bins))])
    return edges[:-1], edges[1:]


def a_pixel_longer(length, bins):
    """Bins that hold the pixel at their end as well."""
    low, high = usual(length, bins)
    return low, high + 1


def outwards(corners):
    """(x0, y0, x1, y1), the first two rounded down and the others up."""
    return np.concatenate([np.floor(corners[:2]), np.ceil(corners[2:])])


def not_rounded(start, end, bins, size, extra=0):
    """`edges` of corners that are not whole."""
    places = start + np.arange(bins + 1) * max(end - start + extra, 1) / bins
    pairs = np.array([np.floor(places[:-1]), np.ceil(places[1:])]).T
    return np.clip(pairs, 0, size).astype(int)


APART = (apart_by(np.floor), apart_by(np.ceil), edges_rounded, split)
