"""Data: generated scenes that need no download, readers of the real formats, transforms, a loader.

Item k of a data set is (image float32 (C, H, W) in [0, 1], target); targets are described in
`tinyvision.data.target`.
"""
from tinyvision.data.cifar import CIFAR10, CIFAR10_CLASSES
from tinyvision.data.coco import CocoCaptions, CocoDetection
from tinyvision.data.coco_panoptic import CocoPanoptic, read_segments, segment_colours
from tinyvision.data.colour import IMAGENET_MEAN, IMAGENET_STD, ColorJitter, Normalize
from tinyvision.data.copy_paste import SimpleCopyPaste
from tinyvision.data.dataset import Subset, TensorDataset, random_split
from tinyvision.data.elastic import ElasticTransform
from tinyvision.data.files import DataError, read_image, read_map
from tinyvision.data.folders import ImageFolder, ImageMaskFolder
from tinyvision.data.idx import MNIST, read_idx
from tinyvision.data.loader import DataLoader, default_collate, list_collate
from tinyvision.data.rle import polygons_to_mask, rle_area, rle_decode, rle_encode
from tinyvision.data.shapes import (CLASSES, LEVELS, SPLITS, Scene, Shape, describe, one_shape,
                                    shapes)
from tinyvision.data.shapes_clips import Clips, clips
from tinyvision.data.shapes_factors import FACTORS, random_codes, sprites
from tinyvision.data.shapes_render import render
from tinyvision.data.shapes_scenes import Scenes
from tinyvision.data.shapes_situations import situations
from tinyvision.data.shapes_worlds import Spaces, cuboids, solids
from tinyvision.data.ssd_crop import RandomIoUCrop, RandomZoomOut
from tinyvision.data.tiff import TiffStack, read_tiff
from tinyvision.data.transforms import (CenterCrop, Compose, RandomApply, RandomCrop,
                                        RandomHorizontalFlip, RandomResizedCrop, Resize,
                                        ScaleJitter, Transform)
from tinyvision.data.visual_genome import VisualGenomeRegions, VisualGenomeRelationships
from tinyvision.data.voc import VOC_CLASSES, VOCDetection, VOCSegmentation
from tinyvision.data.workers import ItemError

__all__ = [
    "CIFAR10", "CIFAR10_CLASSES", "CLASSES", "CenterCrop", "Clips", "CocoCaptions",
    "CocoDetection", "CocoPanoptic", "ColorJitter", "Compose", "DataError", "DataLoader",
    "ElasticTransform", "FACTORS", "IMAGENET_MEAN", "IMAGENET_STD", "ImageFolder",
    "ImageMaskFolder", "ItemError", "LEVELS", "MNIST", "Normalize", "RandomApply", "RandomCrop",
    "RandomHorizontalFlip", "RandomIoUCrop", "RandomResizedCrop", "RandomZoomOut", "Resize",
    "SPLITS", "ScaleJitter", "Scene", "Scenes", "Shape", "SimpleCopyPaste", "Spaces", "Subset",
    "TensorDataset", "TiffStack", "Transform", "VOCDetection", "VOCSegmentation", "VOC_CLASSES",
    "VisualGenomeRegions", "VisualGenomeRelationships", "clips", "cuboids", "default_collate",
    "describe", "list_collate", "one_shape", "polygons_to_mask", "random_codes", "random_split",
    "read_idx", "read_image", "read_map", "read_segments", "read_tiff", "render", "rle_area",
    "rle_decode", "rle_encode", "segment_colours", "shapes", "situations", "solids", "sprites"]
