"""Boxes: everything in detection that is chosen, not learned, in pure functions of arrays.

Boxes are (x0, y0, x1, y1) in continuous pixel coordinates, half open.
"""
from tinyvision.boxes.anchors import AnchorGenerator, cell_anchors, grid_anchors
from tinyvision.boxes.coding import decode, encode
from tinyvision.boxes.keypoints import heatmap_cells, read_heatmaps
from tinyvision.boxes.levels import assign_levels
from tinyvision.boxes.masks import crop_masks, paste_masks
from tinyvision.boxes.matching import BELOW, BETWEEN, favourites, match
from tinyvision.boxes.sampling import sample
from tinyvision.boxes.selection import (best, best_of_groups, clip, confident, proper,
                                        suppressed, surviving)
from tinyvision.boxes.targets import anchor_targets, learnable, region_samples
