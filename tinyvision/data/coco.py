"""COCO: boxes, masks (polygons and RLE), keypoints and captions from one JSON file.

    {"images": [{"id", "file_name", "height", "width"}, ...],
     "annotations": [{"id", "image_id", "category_id", "bbox": [x, y, w, h], "area", "iscrowd",
                      "segmentation": polygons or RLE, "keypoints": [x, y, v, ...]}, ...],
     "categories": [{"id", "name", "keypoints": [names], "skeleton": [[from, to], ...]}, ...]}

Boxes (x, y, w, h) become (x, y, x + w, y + h). Numbers of categories have gaps (1 to 90 for 80
classes); labels have none: label l is `names[l]`, the category `category_ids[l]`. COCO's keypoints
are numbers of pixels, counted from 0; 0.5 is added, because we mean continuous coordinates. Lin et
al. 2014, "Microsoft COCO: common objects in context". Masks: see `tinyvision.data.rle`.
"""
from __future__ import annotations

import numpy as np

from tinyvision.data import coco_check, files, target
from tinyvision.data.files import DataError
from tinyvision.data.rle import polygons_to_mask, rle_decode


class _Coco(files.Files):
    """The images of an annotation file, and what is annotated on each."""
    needs = ("id", "image_id")

    def __init__(self, root, annFile):
        self.root, self.path = files.existing(root, "folder"), annFile
        content = files.read_json(annFile)
        self.images = self._table(content, "images", ("id", "file_name", "height", "width"))
        if not self.images:
            raise DataError(f"{annFile}: lists no images")
        self._check_images()
        self._sort(self._table(content, "annotations", self.needs))
        self.content = content

    def _table(self, content, name, keys):
        """The list under that name, every entry of which has these keys."""
        return coco_check.table(self.path, content, name, keys)

    def _check_images(self):
        there = {file.name for file in self.root.iterdir()}
        for image in self.images:
            name, size = image["file_name"], (image["height"], image["width"])
            if not all(isinstance(side, int) and side > 0 for side in size):
                raise DataError(f"{self.path}: image {image['id']!r} has the size {size} (height, "
                                "width), expected two whole numbers")
            if name not in there and not (self.root / name).is_file():
                raise DataError(f"{self.root / name}: there is no such file, but {self.path} "
                                "lists it")

    def _sort(self, annotations):
        """Annotations by image."""
        place = {}
        for k, image in enumerate(self.images):
            if place.setdefault(image["id"], k) != k:
                raise DataError(f"{self.path}: two images have the id {image['id']!r}")
        self.annotations = [[] for _ in self.images]
        for a in annotations:
            if a["image_id"] not in place:
                raise DataError(f"{self._where(a)} is of image {a['image_id']!r}, which is not "
                                "listed")
            self.annotations[place[a["image_id"]]].append(a)

    def _where(self, annotation):
        return f"{self.path}: annotation {annotation['id']}"

    def __len__(self):
        return len(self.images)

    def size(self, k):
        """(H, W) of image k, as the file says."""
        return self.images[k]["height"], self.images[k]["width"]

    def picture(self, k):
        """The file of picture number k."""
        return self.root / self.images[k]["file_name"]

    def __getitem__(self, k):
        image = files.read_image(self.picture(k))
        self._check_size(k, image.shape[1:])
        return image, self.truth(k)

    def check_item(self, k):
        """The annotations, and the size of the picture."""
        self._check_size(k, files.picture_size(self.picture(k)))
        self.truth(k)

    def _check_size(self, k, size):
        files.check_same_size(self.picture(k), size, f"{self.path} says", self.size(k))

    def truth(self, k) -> dict:
        """The target of image k."""
        raise NotImplementedError(f"{type(self).__name__}.truth")


class CocoCaptions(_Coco):
    """Images and sentences: item k is (image, {"captions": a tuple of strings, "image_id"}).

    Args and errors as for `CocoDetection`.
    """
    needs = ("id", "image_id", "caption")

    def truth(self, k):
        """The sentences of image k."""
        captions = tuple(a["caption"].strip() for a in self.annotations[k])
        return {"captions": captions, "image_id": self.images[k]["id"]}


class CocoDetection(_Coco):
    """Images and objects: item k is (image, target), see `tinyvision.data.target`.

    The target has boxes, labels (places in `names`), area (of the mask, as annotated), iscrowd,
    image_id (COCO's); masks, if asked for; keypoints (of `keypoint_names`), if there are any.
    Objects whose box has no width or no height (COCO has two or three) are left out.

    Args:
        root: the folder of the pictures.
        annFile: such as instances_val2017.json or person_keypoints_val2017.json.
        masks: whether to decode the masks.

    Raises:
        DataError: a file is missing or damaged, an annotation of an image or category that is not
            listed, a box outside its image, keypoints that are none: when it is opened. When an item
            is read, or by `check()`: its picture is damaged or has another size, or a mask is
            damaged.
    """
    needs = ("id", "image_id", "category_id", "bbox")

    def __init__(self, root, annFile, masks=True):
        super().__init__(root, annFile)
        self.masks = masks
        self._categories(self._table(self.content, "categories", ("id", "name")))
        del self.content                                     # its parts are kept
        self._check_annotations()

    def _categories(self, categories):
        categories = coco_check.categories(self.path, categories)
        self.category_ids = tuple(c["id"] for c in categories)
        self.names = tuple(c["name"] for c in categories)
        self._label = {number: label for label, number in enumerate(self.category_ids)}
        named = [c for c in categories if c.get("keypoints")]
        self.keypoint_names = tuple(named[0]["keypoints"]) if named else ()
        self.skeleton = tuple((a - 1, b - 1) for a, b in named[0].get("skeleton", ())) \
            if named else ()

    def _check_annotations(self):
        """Labels and boxes, all at once; keeps the objects whose box is not empty."""
        flat = [(k, a) for k, annotations in enumerate(self.annotations) for a in annotations]
        for _, a in flat:
            if a["category_id"] not in self._label:
                raise DataError(f"{self._where(a)} is of category {a['category_id']!r}, "
                                f"out of range: there are {self.category_ids}")
            coco_check.details(self._where(a), a, len(self.keypoint_names))
        boxes = self._corners([a for _, a in flat])
        real = ~((boxes[:, 0] == boxes[:, 2]) | (boxes[:, 1] == boxes[:, 3]))
        flat = [pair for pair, is_real in zip(flat, real) if is_real]
        sizes = np.array([self.size(k) for k, _ in flat], np.int64).reshape(-1, 2)
        boxes = target.checked_boxes(boxes[real], sizes, lambda j: self._where(flat[j][1]))
        self.annotations = [[] for _ in self.images]
        for k, a in flat:
            self.annotations[k].append(a)
        ends = np.cumsum([len(annotations) for annotations in self.annotations])
        self.boxes = np.split(boxes, ends[:-1])

    def _corners(self, annotations):
        """The boxes of annotations as corners, float64 (M, 4), not yet checked."""
        for a in annotations:
            if not coco_check.is_numbers(a["bbox"], 4):
                raise DataError(f"{self._where(a)}: bbox is four finite numbers x, y, w, h; "
                                f"got {str(a['bbox'])[:80]}")
        boxes = np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return boxes

    def truth(self, k):
        """The target of image k."""
        annotations, boxes = self.annotations[k], self.boxes[k]
        found = {"boxes": boxes.copy(),
                 "labels": np.array([self._label[a["category_id"]] for a in annotations], np.int64),
                 "area": np.array([a.get("area", area) for a, area in
                                   zip(annotations, target.box_area(boxes))], np.float32),
                 "iscrowd": np.array([a.get("iscrowd", 0) for a in annotations], bool),
                 "image_id": self.images[k]["id"]}
        if self.masks:
            found["masks"] = self._masks(annotations, self.size(k))
        if self.keypoint_names:
            found["keypoints"] = self._keypoints(annotations)
        return found

    def _masks(self, annotations, size):
        masks = np.zeros((len(annotations), *size), bool)
        for mask, a in zip(masks, annotations):
            try:
                mask[:] = segmentation_mask(a.get("segmentation"), size)
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{self._where(a)}: segmentation: {error}") from None
        return masks

    def _keypoints(self, annotations):
        K = len(self.keypoint_names)
        points = np.zeros((len(annotations), K, 3), np.float32)
        for row, a in zip(points, annotations):
            row[:] = np.reshape(a.get("keypoints", [0] * 3 * K), (K, 3))
        points[..., :2] += 0.5
        points[points[..., 2] == 0] = 0
        return points


def segmentation_mask(segmentation, size) -> np.ndarray:
    """The mask, bool (H, W), of a "segmentation": a list of polygons, or an RLE of either kind.

    Raises:
        DataError: it is damaged, or an RLE of another size than (H, W).
    """
    if isinstance(segmentation, list):
        return polygons_to_mask(segmentation, *size)
    if not isinstance(segmentation, dict) or not segmentation.keys() >= {"size", "counts"}:
        raise DataError(f"expected polygons or an RLE (size, counts), got {str(segmentation)[:80]}")
    if tuple(segmentation["size"]) != tuple(size):
        raise DataError(f"the RLE's size {tuple(segmentation['size'])} is not the image's {size}")
    return rle_decode(segmentation)
