"""MNIST and all that is written in its IDX format.

    2 zero bytes, one for the type (8 is uint8), one for the number of axes, their lengths
    (big-endian uint32), the numbers (big-endian); often compressed by gzip.

LeCun, Cortes & Burges, "The MNIST database of handwritten digits".
"""
from __future__ import annotations

import gzip
import math
import pathlib
import zlib

import numpy as np

from tinyvision.data import files, target
from tinyvision.data.files import DataError

TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path) -> np.ndarray:
    """The array in an IDX file (compressed or not), in this machine's byte order.

    Raises:
        DataError: missing, no IDX file, cut short, with bytes left over, or with a number that is
            not finite.
    """
    raw = _uncompressed(path)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in TYPES:
        raise DataError(f"{path}: no IDX file, it begins with {raw[:4]!r}")
    dtype, start = np.dtype(TYPES[raw[2]]), 4 + 4 * raw[3]
    shape = tuple(int.from_bytes(raw[k:k + 4], "big") for k in range(4, start, 4))
    expected = start + math.prod(shape) * dtype.itemsize
    if len(raw) != expected:
        raise DataError(f"{path}: has {len(raw)} bytes, but its header promises {expected}, "
                        f"an array {shape}")
    found = np.frombuffer(raw, dtype, offset=start).astype(dtype.newbyteorder("=")).reshape(shape)
    files.check_finite(path, found)
    return found


def _uncompressed(path):
    raw = files.read_bytes(path)
    try:
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path}: the compressed file is damaged or cut short: {error}") from None


class MNIST:
    """Handwritten digits: item k is (image float32 (1, 28, 28) in [0, 1], label).

    `images` (N, 28, 28) uint8 and `labels` (N,) int64 are all of them. Also for Fashion-MNIST and
    whatever has the same files: train-images-idx3-ubyte and so on, with .gz or without, in `root`
    or, where torchvision puts them, in root/MNIST/raw.

    Args:
        root: their folder.
        train: the 60,000 for training, or the 10,000 of the test.
        classes: how many labels there may be.

    Raises:
        DataError: a file is missing, damaged or cut short, there are more images than labels or
            fewer, or a label is out of range.
    """

    def __init__(self, root, train=True, classes=10):
        part = "train" if train else "t10k"
        images, labels = (_find(root, f"{part}-{what}-ubyte") for what in
                          ("images-idx3", "labels-idx1"))
        self.images, self.labels = read_idx(images), read_idx(labels).astype(np.int64)
        if self.images.ndim != 3 or self.labels.shape != self.images.shape[:1]:
            raise DataError(f"{labels}: holds labels {self.labels.shape} for images "
                            f"{self.images.shape} in {images}, expected (N,) for (N, H, W)")
        target.check_labels(self.labels, classes, labels)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, k):
        return self.images[k][None] * np.float32(1 / 255), int(self.labels[k])


def _find(root, name):
    folders = files.existing(root, "folder"), pathlib.Path(root) / "MNIST" / "raw"
    for path in (folder / (name + end) for folder in folders for end in ("", ".gz")):
        if path.is_file():
            return path
    raise DataError(f"{folders[0] / name}: there is no such file, nor with .gz, nor in MNIST/raw")
