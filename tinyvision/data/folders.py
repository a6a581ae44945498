"""Folders of pictures: one for each class, or pictures beside maps of the same names."""
from __future__ import annotations

import numpy as np

from tinyvision.data import files, target
from tinyvision.data.files import DataError

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")


class ImageFolder(files.Files):
    """One folder a class: item k is (image float32 (3, H, W) in [0, 1], label).

        ROOT/cat/any name.jpg
        ROOT/dog/any name.png

    Like torchvision's: `classes` are the folders, sorted, a label is a place in them; `samples` are
    all (path, label), folders within folders too.

    Args:
        root: the folder of the folders.
        mode: "RGB", or "L" for grey images (1, H, W).

    Raises:
        DataError: there is no such folder, no class in it, or a class without pictures; when an
            item is read: its picture is damaged.
    """

    def __init__(self, root, mode="RGB"):
        root = files.existing(root, "folder")
        self.mode = mode
        self.classes = self.names = tuple(sorted(f.name for f in root.iterdir() if f.is_dir()))
        if not self.classes:
            raise DataError(f"{root}: the folder holds no folders, expected one for each class")
        self.samples = [(path, label) for label, name in enumerate(self.classes)
                        for path in _pictures(root / name)]
        self.targets = np.array([label for _, label in self.samples], np.int64)

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, k):
        path, label = self.samples[k]
        return files.read_image(path, self.mode), label

    def check_item(self, k):
        """Whether the picture is one."""
        files.picture_size(self.samples[k][0])


def _pictures(folder):
    found = sorted(f for f in folder.rglob("*") if f.suffix.lower() in PICTURES and f.is_file())
    if not found:
        raise DataError(f"{folder}: the folder of this class holds no picture "
                        f"({', '.join(PICTURES)})")
    return found


class ImageMaskFolder(files.Files):
    """Pictures and maps of the classes of their pixels: item k is (image, semantic int64 (H, W)).

        IMAGES/any name.jpg
        MASKS/any name.png      grey values or places in a palette: 0, 1, 2, ...

    Args:
        images, masks: the two folders; files belong together whose names are alike but for the
            ending.
        num_classes: the labels are 0 to num_classes - 1.
        ignored: the value in the files that stands for no class; -1 in ours.
        mode: "RGB", or "L" for grey images (1, H, W).

    Raises:
        DataError: a folder is missing or empty, a picture has no map or a map no picture, or one of
            another size. When an item is read, or by `check()`: a damaged file, a label out of
            range.
    """

    def __init__(self, images, masks, num_classes, ignored=255, mode="RGB"):
        self.images, self.masks = (files.suffixes(folder, PICTURES) for folder in (images, masks))
        if alone := sorted(self.images.keys() ^ self.masks.keys()):
            there, missing = (images, masks) if alone[0] in self.images else (masks, images)
            raise DataError(f"{missing}: has no file for {alone[0]!r} in {there} "
                            f"({len(alone)} such names)")
        self.ids = list(self.images)
        self.num_classes, self.ignored, self.mode = num_classes, ignored, mode
        for name in self.ids:
            self._check_size(name, *(files.picture_size(folder[name])
                                     for folder in (self.images, self.masks)))

    def _check_size(self, name, image, mask):
        files.check_same_size(self.masks[name], mask, f"{self.images[name]} is", image)

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, k):
        image = files.read_image(self.images[self.ids[k]], self.mode)
        return image, self._labels(k, image.shape[1:])

    def check_item(self, k):
        """The map, and the size of its picture."""
        self._labels(k, files.picture_size(self.images[self.ids[k]]))

    def _labels(self, k, size):
        """Map number k, as large as its picture."""
        name, labels = self.ids[k], files.read_map(self.masks[self.ids[k]])
        self._check_size(name, size, labels.shape)
        target.check_labels(labels, self.num_classes, self.masks[name], self.ignored)
        return np.where(labels == self.ignored, -1, labels)
