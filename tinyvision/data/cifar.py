"""CIFAR-10: 32 x 32 pictures of ten classes, from its binary files or its Python batches.

    cifar-10-batches-bin/data_batch_1.bin ... data_batch_5.bin, test_batch.bin, batches.meta.txt
        10,000 rows of one byte for the label and 3072 for the picture, red, green, blue
    cifar-10-batches-py/data_batch_1 ... data_batch_5, test_batch, batches.meta
        pickles of {b"data": uint8 (10000, 3072), b"labels": [10000 numbers], ...}

A pickle is a program; a stranger's could do anything. Ours is run with nothing it could call but
the five names that an array of bytes needs, and these are stand-ins that only take notes.
Krizhevsky 2009, "Learning multiple layers of features from tiny images".
"""
from __future__ import annotations

import io
import pathlib
import pickle

import numpy as np

from tinyvision.data import files, target
from tinyvision.data.files import DataError

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
                   "truck")
PICTURE = (3, 32, 32)
ROW = 3 * 32 * 32


class CIFAR10:
    """Small pictures: item k is (image float32 (3, 32, 32) in [0, 1], label).

    `images` (N, 3, 32, 32) uint8 and `labels` (N,) int64 are all of them.

    Args:
        root: the folder of the files, or the one in which cifar-10-batches-py or -bin lies.
        train: the 50,000 for training, or the 10,000 of the test.

    Raises:
        DataError: a file is missing, damaged or cut short, or a label is out of range.
    """
    names = CIFAR10_CLASSES

    def __init__(self, root, train=True):
        folder = _folder(root)
        stems = [f"data_batch_{k}" for k in range(1, 6)] if train else ["test_batch"]
        ending = ".bin" if any(folder.glob("*.bin")) else ""
        read = read_binary if ending else read_python
        batches = [read(folder / (stem + ending)) for stem in stems]
        self.images, self.labels = (np.concatenate(parts) for parts in zip(*batches))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, k):
        return self.images[k] * np.float32(1 / 255), int(self.labels[k])


def _folder(root):
    root = files.existing(root, "folder")
    inside = [root / f"cifar-10-batches-{kind}" for kind in ("py", "bin")]
    return next((folder for folder in inside if folder.is_dir()), pathlib.Path(root))


def read_binary(path):
    """(images uint8 (N, 3, 32, 32), labels int64 (N,)) of a .bin file.

    Raises:
        DataError: missing, empty, cut short, or a label out of range.
    """
    raw = np.frombuffer(files.read_bytes(path), np.uint8)
    if not len(raw) or len(raw) % (ROW + 1):
        raise DataError(f"{path}: has {len(raw)} bytes, expected whole rows of {ROW + 1}")
    rows = raw.reshape(-1, ROW + 1)
    return _checked(path, rows[:, 1:], rows[:, 0])


def read_python(path):
    """(images uint8 (N, 3, 32, 32), labels int64 (N,)) of a Python batch; nothing is executed.

    Raises:
        DataError: missing, damaged, cut short, with anything in it but arrays of bytes, lists,
            strings and numbers, or a label out of range.
    """
    try:
        batch = _Notes(io.BytesIO(files.read_bytes(path)), encoding="bytes").load()
        batch = {_text(key): value for key, value in batch.items()}
        images, labels = batch["data"].array(), np.array(batch["labels"], np.int64)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except Exception as error:                               # a damaged pickle raises all kinds
        raise DataError(f"{path}: damaged or cut short, no CIFAR-10 batch: "
                        f"{type(error).__name__}: {error}") from None
    return _checked(path, images, labels)


def _checked(path, images, labels):
    if images.ndim != 2 or images.shape[1] != ROW or labels.shape != images.shape[:1]:
        raise DataError(f"{path}: holds pictures {images.shape} and labels {labels.shape}, "
                        f"expected (N, {ROW}) and (N,)")
    labels = labels.astype(np.int64)
    target.check_labels(labels, len(CIFAR10_CLASSES), path)
    return images.reshape(-1, *PICTURE), labels


def _text(key):
    return key.decode("ascii") if isinstance(key, bytes) else key


# --- a pickle that executes nothing ---------------------------------------------------------------
class _Type:
    """Stands for a numpy.dtype: its code."""

    def __init__(self, code, *_):
        self.code = _text(code)

    def __setstate__(self, state):                           # byte order: bytes have none
        pass


class _Array:
    """Stands for a numpy.ndarray: what its pickle says of it."""

    def __setstate__(self, state):
        _, self.shape, self.type, self.fortran, self.raw = state

    def array(self):
        """The array, if it is one of bytes."""
        if self.type.code != "u1" or self.fortran or not isinstance(self.raw, bytes):
            raise DataError(f"the pictures are an array of {self.type.code}, expected u1")
        return np.frombuffer(self.raw, np.uint8).reshape(self.shape)


STAND_INS = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): lambda kind, shape, code: _Array(),
    ("numpy._core.multiarray", "_reconstruct"): lambda kind, shape, code: _Array(),
    ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),
}


class _Notes(pickle.Unpickler):
    """An unpickler for which no names exist but those of STAND_INS."""

    def find_class(self, module, name):
        """The stand-in."""
        if (module, name) not in STAND_INS:
            raise DataError(f"the pickle asks for {module}.{name}, which a CIFAR-10 batch does not "
                            "need; it was not called")
        return STAND_INS[module, name]
