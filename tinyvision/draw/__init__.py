"""Every picture. Arrays (or Tensors) in, a matplotlib Figure out, which a notebook shows.

Importing this package does not import matplotlib; the first use of one of the names below does.
"""
from importlib import import_module

HOMES = {
    "graph": "graphs", "graph_text": "graphs",
    "numbers": "matrices", "numbers_row": "matrices",
    "stamps": "upsampling", "switches": "upsampling", "conv_matrix": "upsampling",
    "images": "pictures", "image_rows": "pictures", "masks": "pictures", "curve": "pictures",
    "roofline": "speed", "tile_heights": "speed",
    "training": "progress", "confusion": "progress", "scores": "progress",
    "label_grid": "maps", "overlays": "maps", "histogram": "maps",
    "label_grids": "segmentation", "contexts": "segmentation", "mistakes": "segmentation",
    "map_rows": "segmentation", "u_shape": "segmentation",
    "precision_recall": "curves", "precision_recalls": "curves",
    "register_tile": "tiles", "shared_tile": "tiles", "warp_reads": "tiles",
    "detections": "detection", "detection_rows": "detection",
    "anchors": "anchoring", "assignments": "anchoring", "box_code": "anchoring",
    "nms_rounds": "suppression", "proposals": "suppression", "score_maps": "suppression",
    "roi_bins": "regions", "roi_sample": "regions", "misalignment": "region_bins",
    "mask_targets": "region_targets", "keypoint_targets": "region_targets",
    "pyramid_levels": "region_targets",
    "overlaps": "lecture_boxes", "pyramid": "lecture_boxes",
    "mistakes_of_boxes": "lecture_boxes", "edge_errors": "lecture_regions",
    "tape": "autograd", "plane": "autograd",
    "slides": "convolution", "windows": "convolution", "groups": "convolution",
    "marks": "grading", "rounding": "grading",
    "captions": "sentences", "beam_tree": "sentences",
    "receptive_field": "convolution", "signed": "convolution", "filters": "convolution",
}
__all__ = list(HOMES)


def __getattr__(name):
    if name not in HOMES:
        raise AttributeError(f"tinyvision.draw has no {name!r}; it has {', '.join(HOMES)}.")
    found = getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__():
    return sorted(HOMES)
