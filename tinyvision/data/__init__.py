"""Data that needs no download: generated scenes, and (later) readers of the real formats."""
from tinyvision.data.shapes import CLASSES, Scene, Scenes, Shape, describe, render, shapes

__all__ = ["CLASSES", "Scene", "Scenes", "Shape", "describe", "render", "shapes"]
