"""Visual Genome: regions with a sentence each, and objects with relations between them.

    ROOT/VG_100K/2407890.jpg, ROOT/VG_100K_2/...            the pictures
    ROOT/image_data.json            [{"image_id", "width", "height"}, ...]
    ROOT/region_descriptions.json   [{"id" of the image, "regions": [{"region_id", "phrase",
                                      "x", "y", "width", "height"}, ...]}, ...]
    ROOT/relationships.json         [{"image_id", "relationships": [{"predicate", "subject":
                                      {"object_id", "name" or "names", "x", "y", "w", "h"},
                                      "object": the same}, ...]}, ...]

Crowds of people drew these boxes, and here and there one reaches over the border: boxes are clipped
to the image, and what lies outside altogether is left out. Words are in lower case. Krishna et al.
2017, "Visual Genome".
"""
from __future__ import annotations

from collections import Counter

import numpy as np

from tinyvision.data import files, target
from tinyvision.data.files import DataError

FOLDERS = ("VG_100K", "VG_100K_2")


class _VisualGenome(files.Files):
    """The pictures that a file of annotations speaks of, and those annotations."""

    def __init__(self, root, name, key):
        root = files.existing(root, "folder")
        self.path = root / name
        self.sizes = dict(_size(root / "image_data.json", image)
                          for image in _entries(root / "image_data.json"))
        self.entries = [(_image_id(self.path, entry), _list(self.path, entry, key))
                        for entry in _entries(self.path)]
        self.pictures = {}
        for folder in FOLDERS:
            if (root / folder).is_dir():
                self.pictures.update(files.suffixes(root / folder, (".jpg",)))
        for number, _ in self.entries:
            self._check(root, number)

    def _check(self, root, number):
        if number not in self.sizes:
            raise DataError(f"{self.path}: image {number!r} is not listed in image_data.json")
        if str(number) not in self.pictures:
            raise DataError(f"{root / FOLDERS[0] / f'{number}.jpg'}: there is no such file, nor in "
                            f"{FOLDERS[1]}, but {self.path} lists it")

    def __len__(self):
        return len(self.entries)

    def size(self, k):
        """(H, W) of image k, as image_data.json says."""
        return self.sizes[self.entries[k][0]]

    def __getitem__(self, k):
        path = self.picture(k)
        image = files.read_image(path)
        files.check_same_size(path, image.shape[1:], "image_data.json says", self.size(k))
        return image, self.truth(k)

    def check_item(self, k):
        """The annotation, and the size of the picture."""
        path = self.picture(k)
        files.check_same_size(path, files.picture_size(path), "image_data.json says", self.size(k))
        self.truth(k)

    def picture(self, k):
        """The file of picture number k."""
        return self.pictures[str(self.entries[k][0])]

    def _boxes(self, k, places, width, height):
        """Boxes (M, 4), not yet clipped, from dictionaries with x, y and these keys."""
        try:
            boxes = [(p["x"], p["y"], p["x"] + p[width], p["y"] + p[height]) for p in places]
            if not np.isfinite(boxes).all():
                raise ValueError(f"got {str(boxes)[:80]}")
            return np.array(boxes, np.float32).reshape(-1, 4)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{self.path}: image {self.entries[k][0]}: a box needs numbers x, y, "
                            f"{width}, {height}: {type(error).__name__}: {error}") from None

    def _inside(self, k, found):
        """The target, its boxes clipped, without what lies outside the image."""
        found = {**found, "boxes": target.clip_boxes(found["boxes"], self.size(k))}
        return target.keep(found, target.box_area(found["boxes"]) > 0)


class VisualGenomeRegions(_VisualGenome):
    """Images and described regions: item k is (image, target).

    The target has boxes, phrases (M,) (an array of strings), and image_id.

    Args:
        root: the folder of the files.

    Raises:
        DataError: a file is missing or damaged, or speaks of an image that is not there: when it is
            opened. When an item is read, or by `check()`: a damaged picture or box.
    """

    def __init__(self, root):
        super().__init__(root, "region_descriptions.json", "regions")

    def truth(self, k):
        """The target of image k."""
        number, regions = self.entries[k]
        phrases = [str(region.get("phrase", "")).strip() for region in regions]
        return self._inside(k, {
            "boxes": self._boxes(k, regions, "width", "height"),
            "phrases": np.array(phrases, np.str_), "image_id": number})


class VisualGenomeRelationships(_VisualGenome):
    """Images, objects and their relations: item k is (image, target).

    The target has boxes, labels (places in `names`), relations int64 (R, 3), each the subject (a
    position among the objects), the predicate (a place in `predicates`) and the object, and
    image_id.

    Args:
        root: the folder of the files.
        names, predicates: those to read, in the order of their labels; by default all that occur,
            the most frequent first. Objects of other names are left out, and their relations.

    Raises:
        DataError: as `VisualGenomeRegions`, and a relation that lacks a part.
    """

    def __init__(self, root, names=None, predicates=None):
        super().__init__(root, "relationships.json", "relationships")
        for number, relations in self.entries:
            for relation in relations:
                self._check_relation(number, relation)
        every = [relation for _, relations in self.entries for relation in relations]
        self.names = tuple(names or _frequent(
            _name(relation[role]) for relation in every for role in ("subject", "object")))
        self.predicates = tuple(predicates or _frequent(r["predicate"].lower() for r in every))
        self._label = {name: k for k, name in enumerate(self.names)}
        self._predicate = {name: k for k, name in enumerate(self.predicates)}

    def _check_relation(self, number, relation):
        parts = [relation.get(role) for role in ("subject", "object")]
        if not isinstance(relation.get("predicate"), str) or not all(
                isinstance(p, dict) and "object_id" in p and _name(p) for p in parts):
            raise DataError(f"{self.path}: image {number}: a relationship needs predicate, and "
                            "subject and object with object_id and name; "
                            f"got {str(relation)[:80]}")

    def truth(self, k):
        """The target of image k."""
        number, relations = self.entries[k]
        things = {r[role]["object_id"]: r[role] for r in relations for role in ("subject", "object")
                  if _name(r[role]) in self._label}
        place = {thing: position for position, thing in enumerate(things)}
        triples = [(place[r["subject"]["object_id"]], self._predicate[r["predicate"].lower()],
                    place[r["object"]["object_id"]]) for r in relations
                   if r["predicate"].lower() in self._predicate
                   and {r["subject"]["object_id"], r["object"]["object_id"]} <= place.keys()]
        labels = [self._label[_name(thing)] for thing in things.values()]
        return self._inside(k, {
            "boxes": self._boxes(k, things.values(), "w", "h"),
            "labels": np.array(labels, np.int64),
            "relations": np.array(triples, np.int64).reshape(-1, 3), "image_id": number})


def _entries(path):
    entries = files.read_json(path)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path}: expected a list of objects, one an image")
    if not entries:
        raise DataError(f"{path}: lists no images")
    return entries


def _image_id(path, entry):
    number = entry.get("image_id", entry.get("id"))          # the file of regions has "id"
    if number is None:
        raise DataError(f"{path}: an entry has no image_id: {str(entry)[:80]}")
    return number


def _size(path, entry):
    """(number, (H, W)) of an image."""
    size = entry.get("height"), entry.get("width")
    if not all(isinstance(side, int) and side > 0 for side in size):
        raise DataError(f"{path}: image {_image_id(path, entry)} has the size {size} (height, "
                        "width), expected two whole numbers")
    return _image_id(path, entry), size


def _list(path, entry, key):
    if not isinstance(entry.get(key), list):
        raise DataError(f"{path}: image {_image_id(path, entry)} has no list {key!r}")
    return entry[key]


def _name(thing):
    """What an object is called: versions of the data differ in how they say it."""
    return str(thing.get("name") or next(iter(thing.get("names") or ()), "")).strip().lower()


def _frequent(words):
    """Each word once, the most frequent first, then by the alphabet."""
    return sorted((counts := Counter(words)), key=lambda word: (-counts[word], word))
