"""PASCAL VOC: boxes from XML files, classes and objects of pixels from PNG palettes.

    ROOT/VOCdevkit/VOC2012/ImageSets/Main/train.txt          names, one a line
                           JPEGImages/2007_000027.jpg
                           Annotations/2007_000027.xml
                           SegmentationClass/2007_000027.png   0 background, 1 to 20, 255 border
                           SegmentationObject/2007_000027.png  0 background, 1, 2, ... objects

VOC counts pixels from 1 and its boxes include their last pixel: (xmin, ymin, xmax, ymax) becomes
(xmin - 1, ymin - 1, xmax, ymax). Everingham et al. 2010, "The PASCAL VOC challenge".
"""
from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import numpy as np

from tinyvision.data import files, target
from tinyvision.data.files import DataError

VOC_CLASSES = ("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
               "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant",
               "sheep", "sofa", "train", "tvmonitor")
BORDER = 255               # in the PNG files: pixels between objects, of no class


class _VOC(files.Files):
    """The files of one image set: all of them are there."""

    def __init__(self, root, year, image_set, task, names, folders):
        self.folder = files.existing(root, "folder") / "VOCdevkit" / f"VOC{year}"
        self.names, self.list = tuple(names), self._path("ImageSets", task, f"{image_set}.txt")
        self.ids = [line.split()[0] for line in files.read_lines(self.list)]
        for folder, ending in {"JPEGImages": ".jpg", **folders}.items():
            self._check_listed(folder, ending)

    def __len__(self):
        return len(self.ids)

    def _path(self, *parts):
        return self.folder.joinpath(*parts)

    def _check_listed(self, folder, ending):
        there = files.suffixes(self._path(folder), (ending,))
        if missing := [name for name in self.ids if name not in there]:
            raise DataError(f"{self._path(folder, missing[0] + ending)}: there is no such file, "
                            f"but {self.list} lists {missing[0]} ({len(missing)} such names)")

    def picture(self, k):
        """The file of picture number k."""
        return self._path("JPEGImages", self.ids[k] + ".jpg")


class VOCDetection(_VOC):
    """Images and boxes: item k is (image, target), see `tinyvision.data.target`.

    The target has boxes (converted, see above), labels (places in `names`), area, iscrowd (all
    False), difficult (bool (M,): hard to tell, not counted by VOC's metric) and image_id (k).

    Args:
        root: the folder in which VOCdevkit lies.
        year, image_set: choose ImageSets/Main/{image_set}.txt of VOC{year}.
        names: of the classes, in the order of their labels.

    Raises:
        DataError: a file is missing or damaged, a class is unknown, a box lies outside its image:
            when it is opened. When an item is read, or by `check()`: its picture is damaged or has
            another size.
    """

    def __init__(self, root, year="2012", image_set="train", names=VOC_CLASSES):
        super().__init__(root, year, image_set, "Main", names, {"Annotations": ".xml"})
        self.annotations = [read_annotation(self._path("Annotations", f"{name}.xml"), self.names)
                            for name in self.ids]

    def __getitem__(self, k):
        image = files.read_image(self.picture(k))
        self._check_size(k, image.shape[1:])
        return image, {**self.annotations[k].target(), "image_id": range(len(self))[k]}

    def check_item(self, k):
        """The size of the picture; its boxes were looked at when the data set was opened."""
        self._check_size(k, files.picture_size(self.picture(k)))

    def _check_size(self, k, size):
        annotation = self.annotations[k]
        files.check_same_size(self.picture(k), size, f"{annotation.path} says", annotation.size)


@dataclass(frozen=True)
class Annotation:
    """What an XML file says: size (H, W), boxes (M, 4) converted, labels (M,), difficult (M,)."""
    path: object
    size: tuple
    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray

    def target(self) -> dict:
        """A target of its own (nothing shared)."""
        return {"boxes": self.boxes.copy(), "labels": self.labels.copy(),
                "area": target.box_area(self.boxes), "difficult": self.difficult.copy(),
                "iscrowd": np.zeros(len(self.labels), bool)}


def read_annotation(path, names) -> Annotation:
    """One XML file of VOC, checked.

    Raises:
        DataError: missing, cut short, without what it must hold, an unknown class, a wrong box.
    """
    try:
        root = ElementTree.fromstring(files.read_bytes(path))
    except ElementTree.ParseError as error:
        raise DataError(f"{path}: damaged or cut short, no XML: {error}") from None
    size = tuple(int(_number(path, root, f"size/{side}")) for side in ("height", "width"))
    objects = root.findall("object")
    corners = [[_number(path, o, f"bndbox/{c}") for c in ("xmin", "ymin", "xmax", "ymax")]
               for o in objects]
    boxes = np.array(corners, np.float64).reshape(-1, 4) - (1, 1, 0, 0)
    return Annotation(
        path, size, target.checked_boxes(boxes, size, lambda k: f"{path}, object {k + 1}"),
        np.array([_label(path, o, names) for o in objects], np.int64),
        np.array([o.findtext("difficult", "0").strip() == "1" for o in objects], bool))


def _number(path, element, place):
    text = element.findtext(place)
    try:
        number = float(text)
        if not math.isfinite(number):
            raise ValueError
        return number
    except (TypeError, ValueError):
        raise DataError(f"{path}: <{element.tag}> needs a number in <{place}>, "
                        f"got {text!r}") from None


def _label(path, element, names):
    name = (element.findtext("name") or "").strip()
    if name not in names:
        raise DataError(f"{path}: the class {name!r} is none of {', '.join(names)}")
    return names.index(name)


class VOCSegmentation(_VOC):
    """Images, the class of every pixel, and the objects: item k is (image, target).

    The target has semantic (0 the background, 1 to 20 the classes: label + 1, -1 the border),
    masks, boxes around them and labels (places in `names`) of the objects, area, iscrowd (all
    False) and image_id (k).

    Args:
        root, year, names: as for `VOCDetection`.
        image_set: chooses ImageSets/Segmentation/{image_set}.txt.

    Raises:
        DataError: a file is missing: when it is opened. When an item is read, or by `check()`: it is
            damaged, a mask has another size than its image, a label is out of range, an object has
            two classes.
    """

    def __init__(self, root, year="2012", image_set="train", names=VOC_CLASSES):
        super().__init__(root, year, image_set, "Segmentation", names,
                         {"SegmentationClass": ".png", "SegmentationObject": ".png"})

    def __getitem__(self, k):
        image = files.read_image(self.picture(k))
        return image, {**self._truth(k, image.shape[1:]), "image_id": range(len(self))[k]}

    def check_item(self, k):
        """Both maps, and the size of their picture."""
        self._truth(k, files.picture_size(self.picture(k)))

    def _truth(self, k, size):
        """What the two maps say of a picture of that size."""
        classes, objects = (self._map(folder, k, size) for folder in
                            ("SegmentationClass", "SegmentationObject"))
        path = self._path("SegmentationClass", self.ids[k] + ".png")
        target.check_labels(classes, len(self.names) + 1, path, ignored=BORDER)
        marks = [mark for mark in np.unique(objects) if mark not in (0, BORDER)]
        masks = np.array([objects == mark for mark in marks], bool).reshape(-1, *objects.shape)
        labels = [self._class_of(path, classes[mask]) for mask in masks]
        return {"semantic": np.where(classes == BORDER, -1, classes), "masks": masks,
                "labels": np.array(labels, np.int64), "boxes": target.mask_boxes(masks),
                "area": masks.sum((1, 2), dtype=np.float32),
                "iscrowd": np.zeros(len(masks), bool)}

    def _map(self, folder, k, size):
        path = self._path(folder, self.ids[k] + ".png")
        pixels = files.read_map(path)
        files.check_same_size(path, pixels.shape, "its image is", size)
        return pixels

    def _class_of(self, path, classes):
        """The label of an object: the class of most of its pixels (some may be border)."""
        votes = np.bincount(classes[classes != BORDER], minlength=2)
        if 2 * votes[1:].max() <= votes.sum():
            raise DataError(f"{path}: an object of SegmentationObject has no class here, its "
                            f"pixels are {dict(enumerate(votes.tolist()))} (class: how many)")
        return votes[1:].argmax()
