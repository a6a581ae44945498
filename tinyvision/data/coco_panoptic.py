"""COCO's panoptic annotations: a PNG whose colours are numbers of segments, and a JSON file.

    PNG: segment = R + 256 G + 65536 B; 0 is no segment.
    JSON: {"images": ..., "annotations": [{"image_id", "file_name" of the PNG, "segments_info":
           [{"id", "category_id", "area", "bbox", "iscrowd"}, ...]}, ...],
           "categories": [{"id", "name", "isthing"}, ...]}

Kirillov et al. 2019, "Panoptic segmentation".
"""
from __future__ import annotations

import numpy as np

from tinyvision.data import coco_check, files, target
from tinyvision.data.coco import _Coco
from tinyvision.data.files import DataError


class CocoPanoptic(_Coco):
    """Images and their segments, things and stuff: item k is (image, target).

    The target has panoptic (H, W), and for every segment segment_ids, labels (places in `names`),
    isthing, iscrowd, masks, boxes around them and area; image_id (COCO's).

    Args:
        root: the folder of the pictures.
        annFile: such as panoptic_val2017.json.
        segment_root: the folder of the PNG files; by default beside the JSON file, named as it is.

    Raises:
        DataError: a file is missing or damaged, an image has no annotation or two, a category is
            unknown: when it is opened. When an item is read, or by `check()`: a PNG has another size
            than its picture, or other segments than the JSON file says.
    """
    needs = ("image_id", "file_name", "segments_info")

    def __init__(self, root, annFile, segment_root=None):
        super().__init__(root, annFile)
        self.segment_root = files.existing(segment_root or str(annFile).removesuffix(".json"),
                                           "folder")
        categories = self._table(self.content, "categories", ("id", "name", "isthing"))
        categories = coco_check.categories(self.path, categories)
        self.category_ids = tuple(c["id"] for c in categories)
        self.names = tuple(c["name"] for c in categories)
        self.isthing = np.array([c["isthing"] for c in categories], bool)
        self._label = {number: label for label, number in enumerate(self.category_ids)}
        del self.content
        for k in range(len(self)):
            self._check(k)

    def _where(self, annotation):
        return f"{self.path}: the annotation {annotation['file_name']!r}"

    def _check(self, k):
        if len(self.annotations[k]) != 1:
            raise DataError(f"{self.path}: image {self.images[k]['id']!r} has "
                            f"{len(self.annotations[k])} annotations, expected one")
        annotation, = self.annotations[k]
        for segment in annotation["segments_info"]:
            if "id" not in segment or segment.get("category_id") not in self._label:
                raise DataError(f"{self._where(annotation)}: segment {segment.get('id')} is of "
                                f"category {segment.get('category_id')!r}, out of range: there "
                                f"are {self.category_ids}")
        files.existing(self.segment_root / annotation["file_name"])

    def truth(self, k):
        """The target of image k."""
        annotation, = self.annotations[k]
        path = self.segment_root / annotation["file_name"]
        panoptic = read_segments(path)
        files.check_same_size(path, panoptic.shape, "its image is", self.size(k))
        info = annotation["segments_info"]
        ids = np.array([s["id"] for s in info], np.int64)
        self._check_segments(path, panoptic, ids)
        masks = panoptic == ids[:, None, None]
        labels = np.array([self._label[s["category_id"]] for s in info], np.int64)
        return {"panoptic": panoptic, "segment_ids": ids, "labels": labels, "masks": masks,
                "isthing": self.isthing[labels], "boxes": target.mask_boxes(masks),
                "iscrowd": np.array([s.get("iscrowd", 0) for s in info], bool),
                "area": masks.sum((1, 2), dtype=np.float32), "image_id": self.images[k]["id"]}

    def _check_segments(self, path, panoptic, ids):
        drawn = np.unique(panoptic)
        if wrong := sorted(set(drawn[drawn != 0].tolist()) ^ set(ids.tolist())):
            raise DataError(f"{path}: segment {wrong[0]} is in only one of the two, the PNG and "
                            f"{self.path} ({len(wrong)} such segments)")


def read_segments(path) -> np.ndarray:
    """The map of segments, int64 (H, W), of a panoptic PNG: R + 256 G + 65536 B."""
    with files.open_picture(path) as picture:
        if picture.mode not in ("RGB", "RGBA"):
            raise DataError(f"{path}: a panoptic PNG is in colours (RGB), this is {picture.mode}")
    colours = np.rint(files.read_image(path) * 255).astype(np.int64)
    return colours[0] + 256 * colours[1] + 65536 * colours[2]


def segment_colours(panoptic) -> np.ndarray:
    """The picture, uint8 (H, W, 3), that stands for a map of segments (H, W)."""
    return (np.asarray(panoptic)[..., None] >> (0, 8, 16) & 255).astype(np.uint8)
