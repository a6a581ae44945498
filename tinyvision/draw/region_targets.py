"""What the heads of Mask R-CNN are asked for, region by region, and which map each is read from.

    mask_targets(image, masks, proposals)
    keypoint_targets(image, keypoints, proposal)
    pyramid_levels(image, boxes, lowest=2, highest=5)
"""
import numpy as np

from tinyvision import boxes as choose
from tinyvision.draw.board import to_array
from tinyvision.draw.detection import KEYPOINTS
from tinyvision.draw.palette import ACCENT, GREY, INK, PAPER, category, rgb
from tinyvision.draw.plates import plates
from tinyvision.ops import box_area

LIKELY = 0.5                             # from here on a cell, or a pixel, is the object's


# --- masks ----------------------------------------------------------------------------------------
def mask_targets(image, masks, proposals, sizes=(14, 28), width=1.9):
    """A row for every region: its object's mask, what the region holds of it as a grid of each size
    (the cells of at least 0.5, which the head is to answer with 1, in blue), and each grid drawn
    back into the image, with the IoU of that and the mask inside the region.

    Args:
        image: (3, H, W), in [0, 1].
        masks: (K, H, W), the object of every region. proposals: the regions' boxes (K, 4).
        sizes: cells along a side of the grids.
    """
    masks, proposals = to_array(masks).astype(bool), to_array(proposals).astype(np.float32)
    grids = [choose.crop_masks(masks, proposals, size) for size in sizes]
    backs = [choose.paste_masks((grid >= LIKELY).astype(np.float32), proposals, masks.shape[1:])
             >= LIKELY for grid in grids]
    pictures, titles = [], []
    for k, box in enumerate(proposals):
        held = inside(masks[k], box)
        pictures += [image, *(two_tone(grid[k]) for grid in grids), *[image] * len(sizes)]
        titles += ["mask and region", *(f"{size} x {size}" for size in sizes),
                   *(f"back from {size} x {size}: {overlap(back[k], held):.2f}"
                     for size, back in zip(sizes, backs))]
    across = 1 + 2 * len(sizes)
    figure, found = plates(pictures, across, width, titles)
    for k, box in enumerate(proposals):
        row = found[k * across:(k + 1) * across]
        drawn = [masks[k], *(None for _ in sizes), *(back[k] for back in backs)]
        for plate, mask, shape in zip(row, drawn, [0, *sizes, *(0 for _ in sizes)]):
            put_mask(plate, mask, (0, 0, shape, shape) if shape else box)
    return figure


def put_mask(plate, mask, box):
    """The region's frame; around it the image with the mask, where that is one."""
    plate.box(box, ACCENT, clip_on=False)
    if mask is not None:
        plate.mask(mask, category(0))
        plate.zoom(box)


def two_tone(grid):
    """A grid (S, S) from 0 to 1 as a picture (3, S, S): blue from 0.5 on, else grey."""
    colour = np.where(grid[..., None] >= LIKELY, rgb(category(0)), rgb(GREY))
    return (1 - grid[..., None] * (1 - colour)).transpose(2, 0, 1)


def inside(mask, box):
    """The pixels of a mask whose centres lie in the box."""
    H, W = mask.shape
    y, x = np.mgrid[:H, :W] + 0.5
    x0, y0, x1, y1 = box
    return mask & (x >= x0) & (x < x1) & (y >= y0) & (y < y1)


def overlap(a, b):
    """The IoU of two masks (H, W); 1 if both are empty."""
    union = (a | b).sum()
    return (a & b).sum() / union if union else 1.0


# --- keypoints ------------------------------------------------------------------------------------
def keypoint_targets(image, keypoints, proposal, size=56, names=None, width=1.7):
    """An object's keypoints and a region; for each keypoint the region's grid with the one cell
    that is the right answer, and how far its middle lies from the keypoint, in pixels.

    Args:
        image: (3, H, W), in [0, 1].
        keypoints: (K, 3), x, y, visibility. proposal: the region's box (4,).
        size: cells along a side of the grid.
        names: of the keypoints; the figure's and COCO's are known.
    """
    image, points = to_array(image), to_array(keypoints).astype(np.float32)
    box = to_array(proposal).astype(np.float32).reshape(4)
    cells, valid = (part[0] for part in choose.heatmap_cells(points[None], box[None], size))
    middles = cell_middles(cells, box, size)
    away = np.linalg.norm(middles - points[:, :2], axis=1)
    names = names or KEYPOINTS.get(len(points)) or [str(k) for k in range(len(points))]
    titles = ["keypoints and region", *(
        f"{name}: {f'{far:.1f} px off' if there else 'outside' if seen else 'not there'}"
        for name, far, there, seen in zip(names, away, valid, points[:, 2]))]
    figure, found = plates([image] * len(titles), min(4, len(titles)), width, titles)
    found[0].box(box, ACCENT)
    for k, (x, y, there) in enumerate(points):
        if there:
            found[0].dot(x, y, category(k), 5)
    for k, plate in enumerate(found[1:]):
        put_cell(plate, box, size, cells[k] if valid[k] else None, points[k], category(k))
    return figure


def cell_middles(cells, box, size):
    """(K, 2): where in the image the middles of the cells, row * size + column, lie."""
    row, column = np.divmod(cells, size)
    return box[:2] + (np.stack((column, row), -1) + 0.5) / size * (box[2:] - box[:2])


def put_cell(plate, box, size, cell, point, colour):
    """The region alone, its grid, the right cell and the keypoint."""
    x0, y0, x1, y1 = box
    plate.pale(0.45)
    plate.axes.set(xlim=(x0, x1), ylim=(y1, y0))
    side = (x1 - x0) / size, (y1 - y0) / size
    if cell is not None:
        row, column = divmod(int(cell), size)
        low = x0 + column * side[0], y0 + row * side[1]
        plate.axes.add_patch(_square(low, side, colour))
        plate.axes.plot(*point[:2], "o", markersize=12, markerfacecolor="none", color=INK,
                        markeredgewidth=1.2)
    for k in range(size + 1):
        plate.axes.axvline(x0 + k * side[0], color=PAPER, linewidth=0.35)
        plate.axes.axhline(y0 + k * side[1], color=PAPER, linewidth=0.35)


def _square(low, side, colour):
    from matplotlib.patches import Rectangle
    return Rectangle(low, *side, facecolor=colour, edgecolor=INK, linewidth=0.8, zorder=3)


# --- levels ---------------------------------------------------------------------------------------
def pyramid_levels(image, boxes, lowest, highest, size=choose.levels.CANONICAL_SIZE,
                   level=choose.levels.CANONICAL_LEVEL, width=2.6):
    """Which map of a pyramid each region is read from: one panel a map, with its cells, and the
    regions that belong to it, with the root of their area.

    Args:
        image: (3, H, W), in [0, 1]. boxes: (K, 4).
        lowest, highest, size, level: as in `boxes.assign_levels`.
    """
    boxes = to_array(boxes).astype(np.float32).reshape(-1, 4)
    levels = choose.assign_levels(boxes, lowest, highest, size, level)
    every = range(lowest, highest + 1)
    titles = [f"stride {2 ** k}: {said_sides(k, lowest, highest, size, level)}" for k in every]
    figure, found = plates([image] * len(every), min(4, len(every)), width, titles)
    for plate, k in zip(found, every):
        plate.pale(0.3)
        put_lines(plate, 2 ** k)
        mine = boxes[levels == k]
        for box in mine:
            plate.box(box, category(k - lowest), 1.6)
        for box in mine:
            plate.label(box, f"{np.sqrt(box_area(box[None])[0]):.0f}", category(k - lowest), 7.5)
    return figure


def said_sides(k, lowest, highest, size, level):
    """Which sides of regions level k is for."""
    low, high = size * 2.0 ** (k - level), size * 2.0 ** (k + 1 - level)
    if lowest == highest:
        return "all"
    return (f"sides under {high:g}" if k == lowest else f"sides from {low:g}" if k == highest
            else f"sides {low:g} to {high:g}")


def put_lines(plate, stride):
    """The cells of a map; where they are too small, two by two, or four by four."""
    (H, W), stride = plate.size, stride * plate.every(stride)
    for x in np.arange(0, W + 1, stride):
        plate.axes.plot([x, x], [0, H], color=GREY, linewidth=0.5)
    for y in np.arange(0, H + 1, stride):
        plate.axes.plot([0, W], [y, y], color=GREY, linewidth=0.5)
