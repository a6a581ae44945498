"""Reading files of data sets: what is wrong with one is said in one sentence that names it."""
from __future__ import annotations

import json
import pathlib

import numpy as np


class DataError(ValueError):
    """A file of a data set is missing, damaged, or contradicts another; the text says which."""


def existing(path, what="file") -> pathlib.Path:
    """`path`, if such a file (or, for what="folder", a folder) is there.

    Raises:
        DataError: it is not.
    """
    path = pathlib.Path(path)
    if not (path.is_dir() if what == "folder" else path.is_file()):
        raise DataError(f"{path}: there is no such {what}")
    return path


def read_bytes(path) -> bytes:
    """All of a file.

    Raises:
        DataError: it is missing or cannot be read.
    """
    try:
        return existing(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def read_json(path):
    """The content of a JSON file.

    Raises:
        DataError: it is missing, cut short or no JSON; the text names the line.
    """
    try:
        return json.loads(read_bytes(path))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: damaged or cut short, no JSON: {error}") from None


def read_lines(path) -> list[str]:
    """The lines of a text file that are not empty, without the blanks around them.

    Raises:
        DataError: it is missing, no text, or holds no line.
    """
    try:
        lines = [line.strip() for line in read_bytes(path).decode().splitlines()]
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: no text: {error}") from None
    if not any(lines):
        raise DataError(f"{path}: is empty, expected one name a line")
    return [line for line in lines if line]


def suffixes(folder, endings) -> dict[str, pathlib.Path]:
    """The files of a folder with one of the endings (lower case), sorted: by name without ending.

    Raises:
        DataError: the folder is missing or has no such file.
    """
    files = [f for f in existing(folder, "folder").iterdir() if f.suffix.lower() in endings]
    if not files:
        raise DataError(f"{folder}: the folder holds no file that ends in {' or '.join(endings)}")
    return {file.stem: file for file in sorted(files)}


class Files:
    """A data set that lies in files; subclasses say what item k's annotation is made of."""

    def check(self) -> None:
        """Read every annotation and the header of every picture, once, so that whatever is wrong is
        said now and not in the middle of a training.

        Raises:
            DataError: the first mistake; names the file and the value.
        """
        for k in range(len(self)):
            self.check_item(k)

    def check_item(self, k) -> None:
        """All of item k but its pixels."""
        raise NotImplementedError(f"{type(self).__name__}.check_item")


# --- pictures -------------------------------------------------------------------------------------
def open_picture(path):
    """The Pillow image, not yet decoded.

    Raises:
        DataError: there is none, or it is no picture.
    """
    from PIL import Image
    existing(path)
    try:
        return Image.open(path)
    except Exception as error:                               # Pillow's formats raise all kinds
        raise DataError(f"{path}: no picture that Pillow can read: {error}") from None


def picture_size(path) -> tuple[int, int]:
    """(H, W), from the header alone."""
    with open_picture(path) as picture:
        return picture.height, picture.width


def _decoded(path, convert):
    with open_picture(path) as picture:
        try:
            return np.array(convert(picture))
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"{path}: the picture is damaged or cut short: {error}") from None


def read_image(path, mode="RGB", upright=False) -> np.ndarray:
    """A picture as float32 in [0, 1], (3, H, W), or (1, H, W) for mode "L"; palettes are resolved.

    upright: turn it as its camera says it was held (EXIF). Data sets are annotated as it is stored.

    Raises:
        DataError: the file is missing, no picture, damaged or cut short.
    """
    def convert(picture):
        from PIL import ImageOps
        return (ImageOps.exif_transpose(picture) if upright else picture).convert(mode)
    pixels = _decoded(path, convert)
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return pixels.astype(np.float32, order="C") * np.float32(1 / 255)


def read_map(path) -> np.ndarray:
    """A picture whose pixels are numbers, as int64 (H, W): grey values or places in the palette.

    Raises:
        DataError: missing, damaged, or a picture of colours.
    """
    def numbers(picture):
        if picture.mode not in ("1", "L", "P", "I;16", "I"):
            raise DataError(f"{path}: a map holds one number a pixel (grey or palette), "
                            f"this picture is {picture.mode}")
        return picture
    return _decoded(path, numbers).astype(np.int64)


def check_finite(path, array) -> None:
    """Refuse numbers of a file that are infinite or not a number.

    Raises:
        DataError: names the file, the first such number and its place.
    """
    if array.dtype.kind == "f" and not (fine := np.isfinite(array)).all():
        place = tuple(int(k[0]) for k in np.nonzero(~fine))
        raise DataError(f"{path}: has {array[place]} at {place}, expected finite numbers")


def check_same_size(path, size, other, expected) -> None:
    """Refuse a picture at `path` of `size` (H, W) where `other` has or says `expected`."""
    if tuple(size) != tuple(expected):
        raise DataError(f"{path}: is {size[0]} x {size[1]} (H x W), but {other} "
                        f"{expected[0]} x {expected[1]}")
