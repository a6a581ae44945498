"""TIFF files of many pages: stacks of slices, as the ISBI challenge's electron microscopy.

    train-volume.tif   30 pages of 512 x 512 grey pixels
    train-labels.tif   as many: 0 membrane, 255 cell

Arganda-Carreras et al. 2015, "Crowdsourcing the creation of image segmentation algorithms for
connectomics"; the data of U-Net.
"""
from __future__ import annotations

import warnings

import numpy as np

from tinyvision.data import files
from tinyvision.data.files import DataError

FULL = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535, np.dtype(bool): 1}


def read_tiff(path) -> np.ndarray:
    """All pages of a TIFF file, (N, H, W) of the file's own type (grey: bool, uint8, uint16, int32,
    float32).

    Raises:
        DataError: missing, damaged, cut short, pages of several sizes, or in colours, a number that
            is not finite.
    """
    with warnings.catch_warnings():
        # Pillow only warns of a page's description that ends in the middle.
        warnings.filterwarnings("error", "Corrupt EXIF data|Truncated", UserWarning)
        with files.open_picture(path) as picture:
            pages = [_page(path, picture, k) for k in range(_pages(path, picture))]
    for k, page in enumerate(pages):
        if page.shape != pages[0].shape or page.dtype != pages[0].dtype:
            raise DataError(f"{path}: page {k} is {page.dtype} {page.shape}, the first "
                            f"{pages[0].dtype} {pages[0].shape}")
    volume = np.array(pages)
    files.check_finite(path, volume)
    return volume


def _pages(path, picture):
    try:
        return getattr(picture, "n_frames", 1)
    except Exception as error:                               # the chain of pages is walked here
        raise DataError(f"{path}: the list of pages is damaged or cut short: {error}") from None


def _page(path, picture, k):
    try:
        picture.seek(k)
        pixels = np.array(picture)
    except Exception as error:
        raise DataError(f"{path}: page {k} is damaged or cut short: {error}") from None
    if pixels.ndim != 2:
        raise DataError(f"{path}: page {k} is in colours ({picture.mode}), expected grey")
    return pixels


class TiffStack:
    """Slices and the classes of their pixels: item k is (image float32 (1, H, W), semantic int64).

    `images` (N, H, W) and `labels` (N, H, W), from 0, or None, are all of them. Whole numbers are
    brought to [0, 1] by their type's largest; float32 stays what it is.

    Args:
        volume: the file of the slices.
        labels: the file of their labels; without one, items are (image, None).
        values: what stands for class 0, 1, ... in that file.

    Raises:
        DataError: a file is missing, damaged or cut short, the two have other sizes, or a label is
            none of `values`.
    """

    def __init__(self, volume, labels=None, values=(0, 255)):
        self.images = read_tiff(volume)
        if self.images.dtype.kind not in "f" and self.images.dtype not in FULL:
            raise DataError(f"{volume}: its pixels are {self.images.dtype}, expected uint8, uint16 "
                            "or float32")
        self.labels = None if labels is None else self._classes(volume, labels, values)

    def _classes(self, volume, path, values):
        found = read_tiff(path)
        if found.shape != self.images.shape:
            raise DataError(f"{path}: is {found.shape} (slices, H, W), but {volume} is "
                            f"{self.images.shape}")
        if strange := set(np.unique(found).tolist()) - set(values):
            raise DataError(f"{path}: the label {min(strange)} is out of range, expected one of "
                            f"{tuple(values)}")
        labels = np.zeros(found.shape, np.int64)
        for label, value in enumerate(values):
            labels[found == value] = label
        return labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, k):
        image = self.images[k][None].astype(np.float32)
        image *= np.float32(1 / FULL.get(self.images.dtype, 1))
        return image, None if self.labels is None else self.labels[k].copy()
