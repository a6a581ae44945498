"""Exercises: a task, its solution, its cases and the mistakes people make, one file each.

    from tinyvision.exercises import load, names
    load("conv2d").cases(np.random.default_rng(0))

An exercise's module is imported when it is loaded, not before.
"""
from __future__ import annotations

import difflib
import importlib
from pathlib import Path

from tinyvision.exercises.exercise import Case, Exercise, Mistake

__all__ = ["Case", "Exercise", "Mistake", "load", "names", "nearest"]

_NAMES = (
    "conv2d", "dilated_conv2d", "depthwise_conv2d", "conv_matrix", "conv_transpose2d",
    "max_pool2d", "max_unpool2d", "bilinear_resize", "convolutionize", "batch_norm",
    "cross_entropy", "focal_loss", "soft_dice", "smooth_l1", "frru", "mean_iou",
    "box_iou", "nms", "soft_nms", "box_coding", "anchors", "anchor_matching", "kmeans_anchors",
    "hard_negative_mining", "yolo_loss", "corner_pooling", "rpn_proposals", "average_precision",
    "roi_pool", "roi_align", "ps_roi_pool", "panoptic_quality",
    "vae", "attention", "patch_embedding", "lstm_cell", "autograd", "gradcheck", "cuda_nms")


def names() -> tuple[str, ...]:
    """The exercises' names, in the order in which they are taught."""
    return _NAMES


def load(name: str) -> Exercise:
    """The exercise of that name, or the one of an assignment's file (``hw3.py``, or ``hw3`` where
    that file is here). ValueError names the known ones and the nearest, or the file's fault."""
    if name not in _NAMES:
        file = assignment_file(name)
        if file:
            from tinyvision.exercises.files import load_file
            return load_file(file)
        near = nearest(name) or nearest(name, 0.0)
        raise ValueError(f"there is no exercise {name!r}: did you mean {near!r}? "
                         f"'tinyvision exercises' lists all {len(_NAMES)}")
    return importlib.import_module(f"{__name__}.{name}").EXERCISE


def nearest(name, least: float = 0.75) -> str | None:
    """The exercise that a mistyped name may mean (``conv_2d``), or None where none is that like."""
    return next(iter(difflib.get_close_matches(str(name).lower(), _NAMES, 1, least)), None)


def assignment_file(name) -> Path | None:
    """The file that an assignment's name stands for, or None: a path that ends in ``.py``, or a
    word beside whose file, ``NAME.py``, the command is run."""
    path = Path(str(name))
    if path.suffix == ".py":
        return path
    beside = path.with_name(f"{path.name}.py") if path.name else path
    return beside if path.name and beside.is_file() else None
