"""COCO's masks: run lengths, their compressed strings, and polygons. Equal to pycocotools'.

A mask is read column by column; `counts` are the lengths of its runs, the first of zeros (and 0
long if the mask begins with a one). The compressed string writes each count as its difference to
the one two before (runs of one value in neighbouring columns are alike), in groups of five bits,
low ones first, each a character from "0" on; the sixth bit says that more follow, and the highest
bit of the last group is the sign. Source: maskApi.c of the COCO API.
"""
from __future__ import annotations

import numpy as np

from tinyvision.data.files import DataError

GROUPS = 12                # of five bits: more than any run length needs
GRID = 5                   # polygons are traced on a grid so much finer than the pixels


def rle_encode(mask) -> dict:
    """{"size": [H, W], "counts": string} of a mask (H, W); anything but zero is one."""
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f"rle_encode: mask is (H, W), got {mask.shape}")
    return {"size": list(mask.shape), "counts": counts_to_string(mask_to_counts(mask))}


def rle_decode(rle) -> np.ndarray:
    """The mask, bool (H, W), of an RLE; its counts are numbers or a compressed string (or bytes).

    Raises:
        DataError: a damaged string, or counts that are not those of a mask of that size.
    """
    return counts_to_mask(rle_counts(rle), *rle["size"])


def rle_area(rle) -> int:
    """How many pixels are one."""
    return int(rle_counts(rle)[1::2].sum())


def rle_counts(rle) -> np.ndarray:
    """The run lengths, int64, from an RLE of either kind."""
    counts = rle["counts"]
    if isinstance(counts, (str, bytes)):
        return string_to_counts(counts)
    return np.asarray(counts, np.int64)


# --- masks and run lengths ------------------------------------------------------------------------
def mask_to_counts(mask) -> np.ndarray:
    """The run lengths of a mask (H, W), int64."""
    column_wise = np.asarray(mask, bool).T.ravel()
    changes = np.flatnonzero(column_wise[1:] != column_wise[:-1]) + 1
    starts = [0] * (2 if column_wise[:1].any() else 1)       # a first run of no zeros
    return np.diff(np.concatenate([starts, changes, [column_wise.size]]))


def counts_to_mask(counts, height, width) -> np.ndarray:
    """The mask, bool (H, W), of its run lengths.

    Raises:
        DataError: a negative one, or their sum is not H W.
    """
    if counts.min(initial=0) < 0:
        raise DataError(f"RLE: a run of {counts.min()} pixels")
    if counts.sum() != height * width:
        raise DataError(f"RLE: the counts cover {counts.sum()} pixels, expected the {height} x "
                        f"{width} = {height * width} of the mask")
    ones = np.arange(len(counts)) % 2 == 1
    return np.ascontiguousarray(np.repeat(ones, counts).reshape(width, height).T)


# --- compressed strings ---------------------------------------------------------------------------
def counts_to_string(counts) -> str:
    """The compressed string of run lengths."""
    values = counts.astype(np.int64)
    values[3:] -= counts[1:-2]                               # from the fourth on, the differences
    place = np.arange(GROUPS)
    groups = values[:, None] >> 5 * place
    # A number of 5 g bits with sign is all 0 or all -1 beyond its bit 5 g - 1.
    rest = values[:, None] >> 5 * place[1:] - 1
    last = ((rest != 0) & (rest != -1)).sum(1, keepdims=True)
    characters = (groups & 31) + 32 * (place < last) + 48
    return characters[place <= last].astype(np.uint8).tobytes().decode("ascii")


def string_to_counts(string) -> np.ndarray:
    """The run lengths of a compressed string (str or bytes), int64.

    Raises:
        DataError: characters that no such string has, or an end in the middle of a number.
    """
    text = string.encode("latin1", "replace") if isinstance(string, str) else string
    bits = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not len(bits):
        return bits
    ends = np.flatnonzero(bits & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if bits.min() < 0 or bits.max() > 63 or bits[-1] & 32 or (ends - starts).max() >= GROUPS:
        raise DataError(f"RLE: the compressed counts are damaged or cut short: ...{text[-20:]!r}")
    place = np.arange(len(bits)) - np.repeat(starts, ends - starts + 1)
    values = np.add.reduceat((bits & 31) << 5 * place, starts)
    values -= (bits[ends] >> 4 & 1) << 5 * (ends - starts + 1)            # the sign
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


# --- polygons -------------------------------------------------------------------------------------
def polygons_to_mask(polygons, height, width) -> np.ndarray:
    """The mask, bool (H, W), of all pixels in any of the polygons [x, y, x, y, ...].

    Raises:
        DataError: a polygon that is not at least three pairs of numbers.
    """
    mask = np.zeros((height, width), bool)
    for polygon in polygons:
        mask |= counts_to_mask(polygon_to_counts(polygon, height, width), height, width)
    return mask


def polygon_to_counts(polygon, height, width) -> np.ndarray:
    """The run lengths of one polygon: it is inside after an odd number of borders."""
    points = np.asarray(polygon, np.float64)
    if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
        raise DataError(f"polygon: expected at least three pairs of numbers x, y, "
                        f"got {str(polygon)[:80]}")
    borders, times = np.unique(_borders(points, height, width), return_counts=True)
    borders = borders[(times % 2 == 1) & (borders < height * width)]
    return np.diff(np.concatenate([[0], borders, [height * width]]))


def _borders(points, height, width):
    """Where, counted column by column, the outline crosses from one pixel to the next."""
    u, v = _outline(points)
    crossing = np.flatnonzero(u[1:] != u[:-1]) + 1
    left, top = (np.minimum(c[crossing], c[crossing - 1]) for c in (u, v))
    column, row = (left - GRID // 2) // GRID, (top + GRID // 2) // GRID
    middle = (left % GRID == GRID // 2) & (column >= 0) & (column < width)
    return column[middle] * height + np.clip(row[middle], 0, height)


def _outline(points):
    """Points (u, v) of the fine grid along the closed outline, one step in the longer direction
    after the other."""
    corner = (GRID * points.reshape(-1, 2) + 0.5).astype(np.int64)        # towards 0, as in C
    corner = np.concatenate([corner, corner[:1]])
    start, end = corner[:-1], corner[1:]
    length = np.abs(end - start)
    flat = length[:, 0] >= length[:, 1]                      # x is the longer direction
    back = np.where(flat, start[:, 0] > end[:, 0], start[:, 1] > end[:, 1])
    first, last = (np.where(back[:, None], *pair) for pair in ((end, start), (start, end)))
    steps = length.max(1)
    long = np.where(flat, 0, 1)
    edge = np.arange(len(steps))
    short = (last - first)[edge, 1 - long]
    slope = short / np.maximum(steps, 1)
    e = np.repeat(edge, steps + 1)
    t = np.arange(len(e)) - np.repeat(np.cumsum(steps + 1) - steps - 1, steps + 1)
    t = np.where(back[e], steps[e] - t, t)
    along = t + first[e, long[e]]
    across = (first[e, 1 - long[e]] + slope[e] * t + 0.5).astype(np.int64)
    return np.where(flat[e], along, across), np.where(flat[e], across, along)
