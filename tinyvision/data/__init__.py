"""Data that needs no download: generated scenes, and (later) readers of the real formats."""
from tinyvision.data.shapes import CLASSES, LEVELS, SPLITS, Scene, Shape, describe, one_shape, shapes
from tinyvision.data.shapes_render import render
from tinyvision.data.shapes_scenes import Scenes

__all__ = ["CLASSES", "LEVELS", "SPLITS", "Scene", "Scenes", "Shape", "describe", "one_shape",
           "render", "shapes"]
