"""What COCO's JSON files must look like; what is wrong with an entry is said in one sentence."""
from __future__ import annotations

import math

import numpy as np

from tinyvision.data.files import DataError

ID = int, str                               # some write words for the numbers
KINDS = {"id": ID, "image_id": ID, "category_id": ID, "file_name": str, "name": str, "caption": str}


def table(path, content, name, keys) -> list:
    """The list under that name, every entry of which has these keys.

    Raises:
        DataError: there is none, an entry lacks a key, a name is no text, a number no number.
    """
    entries = content.get(name) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise DataError(f"{path}: expected a list under {name!r}, as COCO's files have")
    for k, entry in enumerate(entries):
        if not isinstance(entry, dict) or not entry.keys() >= set(keys):
            raise DataError(f"{path}: entry {k} of {name!r} needs {', '.join(keys)}; "
                            f"got {str(entry)[:80]}")
        for key in keys:
            if key in KINDS and not isinstance(entry[key], KINDS[key]):
                raise DataError(f"{path}: entry {k} of {name!r} has the {key} {entry[key]!r}, "
                                f"expected {'a text' if KINDS[key] is str else 'a whole number'}")
    return entries


def categories(path, entries) -> list:
    """The categories by their numbers.

    Raises:
        DataError: two have one number, or a skeleton is no list of pairs of numbers.
    """
    entries = sorted(entries, key=lambda c: (isinstance(c["id"], str), c["id"]))
    for one, other in zip(entries, entries[1:]):
        if one["id"] == other["id"]:
            raise DataError(f"{path}: two categories have the id {one['id']}, {one['name']!r} and "
                            f"{other['name']!r}")
    for entry in entries:
        for bone in entry.get("skeleton", ()):
            if not is_numbers(bone, 2):
                raise DataError(f"{path}: the category {entry['name']!r} has the bone {bone!r} in "
                                "its skeleton, expected two numbers of keypoints")
    return entries


def details(where, annotation, points) -> None:
    """Refuse an area, a mark of crowds or keypoints (of so many points) that make no sense.

    Raises:
        DataError: begins with `where` and names the value.
    """
    area, crowd = annotation.get("area", 0), annotation.get("iscrowd", 0)
    if not isinstance(area, (int, float)) or not 0 <= area < math.inf:
        raise DataError(f"{where}: the area is {area!r}, expected a number of at least 0")
    if crowd not in (0, 1):
        raise DataError(f"{where}: iscrowd is {crowd!r}, expected 0 or 1")
    numbers = annotation.get("keypoints", [0] * 3 * points)
    if points and not is_numbers(numbers, 3 * points):
        count = f"{len(numbers)} numbers, " if isinstance(numbers, list) else ""
        raise DataError(f"{where}: keypoints are {count}{str(numbers)[:80]}, expected x, y, v of "
                        f"{points} points, {3 * points} finite numbers")
    if points and not set(numbers[2::3]) <= {0, 1, 2}:
        raise DataError(f"{where}: a keypoint is visible {max(numbers[2::3])}, expected 0 (not "
                        "there), 1 (hidden) or 2 (visible)")


def is_numbers(values, count) -> bool:
    """Whether that is a list of so many finite numbers."""
    return isinstance(values, list) and len(values) == count and all(
        isinstance(v, (int, float)) for v in values) and bool(np.isfinite(values).all())
