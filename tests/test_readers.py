"""Readers: small files of exactly the real formats, written by independent means, and damaged."""
import gzip
import json
import pickle
import re
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from tinyvision import nn, optim
from tinyvision.data import (CIFAR10, MNIST, VOC_CLASSES, CocoCaptions, CocoDetection,
                             CocoPanoptic, DataError, DataLoader, ImageFolder, ImageMaskFolder,
                             Subset, TiffStack, VisualGenomeRegions, VisualGenomeRelationships,
                             VOCDetection, VOCSegmentation, polygons_to_mask, read_idx, read_image,
                             read_map, read_segments, read_tiff, rle_area, rle_decode, rle_encode,
                             segment_colours)
from tinyvision.train import fit

RED, GREY = (255, 0, 51), (128, 128, 128)


def picture(path, size=(20, 30), colour=RED):
    """A picture of one colour; size (H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1], colour).save(path)
    return path


def grey_picture(path, pixels, palette=False):
    """A PNG of these numbers, (H, W) uint8, grey or as places in a palette, as VOC's are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    if palette:
        image.putpalette([v for k in range(256) for v in (k, 255 - k, 7 * k % 256)])
    image.save(path)
    return path


def cut(path, keep=0.5):
    """The file, cut short."""
    raw = path.read_bytes()
    path.write_bytes(raw[:int(keep * len(raw))])


def raises(*words):
    """One sentence, a DataError, in which all the words occur."""
    return pytest.raises(DataError, match="(?s)" + ".*".join(re.escape(str(w)) for w in words))


# --- pictures -------------------------------------------------------------------------------------
def test_an_image_is_channels_first_and_between_0_and_1(tmp_path):
    image = read_image(picture(tmp_path / "a.png"))
    assert image.shape == (3, 20, 30) and image.dtype == np.float32 and image.flags.c_contiguous
    np.testing.assert_allclose(image[:, 3, 4], (1, 0, 0.2), atol=1e-7)
    assert read_image(tmp_path / "a.png", "L").shape == (1, 20, 30)


def test_a_map_has_the_numbers_and_not_the_colours_of_a_palette(tmp_path):
    pixels = np.arange(12).reshape(3, 4)
    for palette in (False, True):
        path = grey_picture(tmp_path / f"{palette}.png", pixels, palette)
        np.testing.assert_array_equal(read_map(path), pixels)
    np.testing.assert_allclose(read_image(path)[:, 1, 1], np.array((5, 250, 35)) / 255, atol=1e-7)
    with raises("a.png", "grey or palette", "RGB"):
        read_map(picture(tmp_path / "a.png"))


@pytest.mark.parametrize("name, size", [("a.jpg", (300, 300)), ("a.png", (300, 300)),
                                        ("a.bmp", (30, 30))])
def test_damaged_pictures(tmp_path, name, size):
    path = tmp_path / name
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)).save(path)
    cut(path)
    with raises(path, "damaged or cut short"):
        read_image(path)
    path.write_bytes(b"not a picture")
    with raises(path, "no picture that Pillow can read"):
        read_image(path)
    path.unlink()
    with raises(path, "there is no such file"):
        read_image(path)


# --- VOC ------------------------------------------------------------------------------------------
VOC_XML = """<annotation>
    <folder>VOC2012</folder><filename>{name}.jpg</filename>
    <source><database>The VOC2008 Database</database></source>
    <size><width>30</width><height>20</height><depth>3</depth></size>
    <segmented>0</segmented>{objects}
</annotation>"""
VOC_OBJECT = """
    <object><name>{name}</name><pose>Unspecified</pose><truncated>0</truncated>
        <difficult>{difficult}</difficult>
        <bndbox><xmax>{box[2]}</xmax><xmin>{box[0]}</xmin><ymax>{box[3]}</ymax>
            <ymin>{box[1]}</ymin></bndbox>
        <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>
            </bndbox></part></object>"""


def voc_objects(*objects):
    return "".join(VOC_OBJECT.format(name=n, box=box, difficult=d) for n, box, d in objects)


@pytest.fixture
def voc(tmp_path):
    """A devkit of two pictures and a third that no list names."""
    base = tmp_path / "VOCdevkit" / "VOC2012"
    for name in ("2007_000027", "2007_000032", "2009_000001"):
        picture(base / "JPEGImages" / f"{name}.jpg")
    objects = {"2007_000027": voc_objects(("person", (1, 1, 30, 20), 0), ("cat", (5, 3, 5, 3), 1)),
               "2007_000032": voc_objects(("aeroplane", ("2.5", 3, "10.25", 7), 0)),
               "2009_000001": ""}
    (base / "Annotations").mkdir()
    for name, text in objects.items():
        (base / "Annotations" / f"{name}.xml").write_text(VOC_XML.format(name=name, objects=text))
    classes, instances = np.zeros((20, 30)), np.zeros((20, 30))
    classes[2:10, 3:12], instances[2:10, 3:12] = 15, 1
    classes[2:10, 12:15], instances[2:10, 12:15] = 8, 2
    classes[2, 3:15] = instances[2, 3:15] = 255
    for name in ("2007_000027", "2007_000032"):
        grey_picture(base / "SegmentationClass" / f"{name}.png", classes, palette=True)
        grey_picture(base / "SegmentationObject" / f"{name}.png", instances, palette=True)
    for task in ("Main", "Segmentation"):
        (base / "ImageSets" / task).mkdir(parents=True)
        (base / "ImageSets" / task / "train.txt").write_text("2007_000027\n2007_000032\n")
    (base / "ImageSets" / "Main" / "cat_train.txt").write_text("2007_000027  1\n2007_000032 -1\n")
    return tmp_path


def test_voc_boxes_lose_their_plus_one(voc):
    image, target = VOCDetection(voc)[0]
    assert image.shape == (3, 20, 30) and target["boxes"].dtype == np.float32
    np.testing.assert_array_equal(target["boxes"], [[0, 0, 30, 20], [4, 2, 5, 3]])
    assert [VOC_CLASSES[k] for k in target["labels"]] == ["person", "cat"]
    np.testing.assert_array_equal(target["difficult"], [False, True])
    np.testing.assert_array_equal(target["area"], [600, 1])
    assert target["image_id"] == 0 and not target["iscrowd"].any()
    np.testing.assert_array_equal(VOCDetection(voc)[1][1]["boxes"], [[1.5, 2, 10.25, 7]])


def test_voc_lists_choose_the_pictures(voc):
    assert len(VOCDetection(voc)) == 2
    assert VOCDetection(voc, image_set="cat_train").ids == ["2007_000027", "2007_000032"]
    with pytest.raises(IndexError):
        VOCDetection(voc)[2]


def test_voc_segmentation(voc):
    image, target = VOCSegmentation(voc)[0]
    semantic, masks = target["semantic"], target["masks"]
    assert semantic.shape == (20, 30) and semantic.dtype == np.int64 and masks.dtype == bool
    assert set(np.unique(semantic)) == {-1, 0, 8, 15}
    np.testing.assert_array_equal(target["labels"], [14, 7])
    np.testing.assert_array_equal(target["boxes"], [[3, 3, 12, 10], [12, 3, 15, 10]])
    np.testing.assert_array_equal(target["area"], [63, 21])
    for mask, label in zip(masks, target["labels"]):
        assert (semantic[mask] == label + 1).all()


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("old, new, words", [
    ("<xmax>30<", "<xmax>32<", "object 1: the box (0, 0, 32, 20) reaches outside; the image is 20"),
    ("<xmin>5<", "<xmin>6<", "object 2: the box (5, 2, 5, 3) is empty; the image is 20 x 30"),
    ("<name>cat<", "<name>unicorn<", "the class 'unicorn' is none of aeroplane"),
    ("<xmax>30<", "<xmax>wide<", "<object> needs a number in <bndbox/xmax>, got 'wide'"),
    ("<xmax>30<", "<xmax>nan<", "got 'nan'"),
    ("<xmax>30</xmax>", "", "<bndbox/xmax>, got None"),
    ("<width>30</width>", "", "<annotation> needs a number in <size/width>, got None"),
    ("</annotation>", "", "damaged or cut short, no XML"),
])
def test_wrong_voc_annotations_are_found_when_opened(voc, old, new, words):
    path = voc / "VOCdevkit/VOC2012/Annotations/2007_000027.xml"
    edit(path, old, new)
    with raises(path, words):
        VOCDetection(voc)


def test_missing_files_of_voc(voc):
    base = voc / "VOCdevkit" / "VOC2012"
    with raises(base / "ImageSets/Main/val.txt", "there is no such file"):
        VOCDetection(voc, image_set="val")
    with raises("nowhere", "there is no such folder"):
        VOCDetection(voc / "nowhere")
    (base / "Annotations" / "2007_000032.xml").unlink()
    with raises(base / "Annotations/2007_000032.xml", "there is no such file", "lists 2007_000032"):
        VOCDetection(voc)
    (base / "ImageSets/Main/train.txt").write_text("\n")
    with raises("train.txt", "is empty"):
        VOCDetection(voc)
    for file in (base / "JPEGImages").iterdir():
        file.unlink()
    with raises(base / "JPEGImages", "the folder holds no file that ends in .jpg"):
        VOCSegmentation(voc)


def test_voc_pictures_of_another_size(voc):
    base = voc / "VOCdevkit" / "VOC2012"
    picture(base / "JPEGImages/2007_000027.jpg", (20, 31))
    with raises("2007_000027.jpg: is 20 x 31 (H x W), but", "2007_000027.xml says 20 x 30"):
        VOCDetection(voc)[0]
    with raises("SegmentationClass/2007_000027.png: is 20 x 30", "its image is 20 x 31"):
        VOCSegmentation(voc)[0]


def test_wrong_voc_masks(voc):
    path = voc / "VOCdevkit/VOC2012/SegmentationClass/2007_000027.png"
    grey_picture(path, np.full((20, 30), 21), palette=True)
    with raises(path, "label 21 is out of range, there are 21 classes, 0 to 20, and 255"):
        VOCSegmentation(voc)[0]
    grey_picture(path, np.zeros((20, 30)), palette=True)
    with raises(path, "an object of SegmentationObject has no class here", "{0: 63"):
        VOCSegmentation(voc)[0]


# --- COCO -----------------------------------------------------------------------------------------
def annotation(number, image, category, bbox, segmentation, **more):
    return {"id": number, "image_id": image, "category_id": category, "bbox": bbox,
            "area": bbox[2] * bbox[3], "iscrowd": 0, "segmentation": segmentation, **more}


@pytest.fixture
def coco(tmp_path):
    """(folder, path of the JSON file, its content): 20 x 30 pictures, categories 1, 18 and 44."""
    picture(tmp_path / "images" / "000000000139.jpg")
    picture(tmp_path / "images" / "000000000285.jpg")
    crowd = np.zeros((20, 30), bool)
    crowd[5:9, 20:29] = True
    people = [2, 3, 2, 0, 0, 0, 9.5, 4, 1]
    content = {
        "info": {"year": 2017}, "licenses": [],
        "images": [{"id": 285, "file_name": "000000000285.jpg", "height": 20, "width": 30},
                   {"id": 139, "file_name": "000000000139.jpg", "height": 20, "width": 30}],
        "annotations": [
            annotation(1, 139, 18, [2, 3, 10, 5.5], [[2, 3, 12, 3, 12, 8.5, 2, 8.5]]),
            annotation(2, 139, 1, [1, 1, 12, 7], [[1, 1, 5, 1, 5, 5, 1, 5], [9, 4, 13, 4, 13, 8]],
                       keypoints=people, num_keypoints=2),
            annotation(3, 139, 1, [20, 5, 9, 4],
                       {"size": [20, 30], "counts": columns_of(crowd)}, iscrowd=1),
            annotation(4, 139, 44, [20, 5, 9, 0], [[20, 5, 29, 5, 29, 5]])],
        "categories": [{"id": 44, "name": "bottle"}, {"id": 18, "name": "dog"},
                       {"id": 1, "name": "person", "keypoints": ["nose", "left_eye", "right_eye"],
                        "skeleton": [[1, 2], [1, 3]]}]}
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    return tmp_path / "images", path, content


def columns_of(mask):
    """Run lengths, column by column, counted one pixel after the other."""
    counts, value = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            counts, value = counts + [0], pixel
        counts[-1] += 1
    return counts


def test_coco_detection(coco):
    data = CocoDetection(*coco[:2])
    assert len(data) == 2 and data.names == ("person", "dog", "bottle")
    assert data.category_ids == (1, 18, 44)
    image, target = data[1]
    assert image.shape == (3, 20, 30) and target["image_id"] == 139
    np.testing.assert_array_equal(target["boxes"],
                                  [[2, 3, 12, 8.5], [1, 1, 13, 8], [20, 5, 29, 9]])
    np.testing.assert_array_equal(target["labels"], [1, 0, 0])           # one box has no height
    np.testing.assert_array_equal(target["area"], [55, 84, 36])
    np.testing.assert_array_equal(target["iscrowd"], [False, False, True])
    masks = target["masks"]
    assert masks.dtype == bool and masks.shape == (3, 20, 30)
    assert masks[0, 3:8, 2:12].all() and masks[0].sum() in (50, 60)
    assert masks[1, 1:5, 1:5].all() and masks[1, 4, 12] and not masks[1, 6, 9]
    assert masks[2, 5:9, 20:29].all() and masks[2].sum() == 36


def test_coco_images_without_annotations_have_empty_targets(coco):
    target = CocoDetection(*coco[:2])[0][1]
    shapes = {key: value.shape for key, value in target.items() if key != "image_id"}
    assert shapes == {"boxes": (0, 4), "labels": (0,), "area": (0,), "iscrowd": (0,),
                      "masks": (0, 20, 30), "keypoints": (0, 3, 3)}


def test_coco_keypoints_are_centres_of_pixels(coco):
    data = CocoDetection(*coco[:2], masks=False)
    assert data.keypoint_names == ("nose", "left_eye", "right_eye")
    assert data.skeleton == ((0, 1), (0, 2))
    target = data[1][1]
    assert "masks" not in target
    np.testing.assert_array_equal(target["keypoints"][1], [[2.5, 3.5, 2], [0, 0, 0], [10, 4.5, 1]])
    assert not target["keypoints"][0].any()


def rewrite(coco, change):
    """The JSON file again, after change(content)."""
    _, path, content = coco
    change(content)
    path.write_text(json.dumps(content))


def put(place, key, value):
    """A change: content[name][k][key] = value, place being (name, k)."""
    return lambda content: content[place[0]][place[1]].__setitem__(key, value)


BOX, IMAGE = ("annotations", 0), ("images", 0)


@pytest.mark.parametrize("change, words", [
    (put(BOX, "image_id", 7), "annotation 1 is of image 7, which is not listed"),
    (put(BOX, "category_id", 2), "annotation 1 is of category 2, out of range: there are (1, 18"),
    (put(BOX, "bbox", [2, 3, 40, 5]), "annotation 1: the box (2, 3, 42, 8) reaches outside; the"),
    (put(BOX, "bbox", [2, 3, -1, 5]), "annotation 1: the box (2, 3, 1, 8) is empty"),
    (put(BOX, "bbox", [float("nan")] * 4), "bbox is four finite numbers x, y, w, h; got [nan,"),
    (put(BOX, "bbox", [2, 3, 4]), "annotation 1: bbox is four finite numbers x, y, w, h; got"),
    (put(BOX, "bbox", "large"), "annotation 1: bbox is four finite numbers x, y, w, h; got large"),
    (put(BOX, "area", None), "annotation 1: the area is None, expected a number of at least 0"),
    (put(BOX, "area", float("nan")), "annotation 1: the area is nan, expected a number"),
    (put(BOX, "iscrowd", "no"), "annotation 1: iscrowd is 'no', expected 0 or 1"),
    (put(BOX, "keypoints", None), "annotation 1: keypoints are None, expected x, y, v of 3 points"),
    (put(BOX, "keypoints", [1, "x", 2] * 3), "keypoints are 9 numbers, [1, 'x', 2"),
    (put(BOX, "keypoints", [float("nan"), 2, 2] * 3), "keypoints are 9 numbers, [nan, 2, 2"),
    (put(BOX, "keypoints", [1, 2, 3] * 3), "annotation 1: a keypoint is visible 3, expected"),
    (put(BOX, "category_id", [1]), "entry 0 of 'annotations' has the category_id [1], expected a"),
    (put(IMAGE, "file_name", 3), "entry 0 of 'images' has the file_name 3, expected a text"),
    (put(("categories", 0), "skeleton", [[1]]), "has the bone [1] in its skeleton, expected two"),
    (put(("categories", 0), "id", 18), "two categories have the id 18"),
    (put(IMAGE, "height", "tall"), "image 285 has the size ('tall', 30)"),
    (put(IMAGE, "id", 139), "two images have the id 139"),
    (lambda c: c["annotations"][0].pop("bbox"), "entry 0 of 'annotations' needs id, image_id"),
    (lambda c: c.pop("annotations"), "expected a list under 'annotations'"),
    (lambda c: c["images"].clear(), "lists no images"),
])
def test_wrong_coco_annotations_are_found_when_opened(coco, change, words):
    rewrite(coco, change)
    with raises(coco[1], words):
        CocoDetection(*coco[:2])


def test_missing_and_damaged_files_of_coco(coco):
    root, path, _ = coco
    with raises(root / "nowhere", "there is no such folder"):
        CocoDetection(root / "nowhere", path)
    with raises(root / "a.json", "there is no such file"):
        CocoDetection(root, root / "a.json")
    picture(root / "000000000139.jpg", (21, 30))
    with raises("000000000139.jpg: is 21 x 30 (H x W), but", "instances.json says 20 x 30"):
        CocoDetection(root, path)[1]
    (root / "000000000139.jpg").unlink()
    with raises(root / "000000000139.jpg", "there is no such file, but", "instances.json lists it"):
        CocoDetection(root, path)
    cut(path)
    with raises(path, "damaged or cut short, no JSON", "line 1"):
        CocoDetection(root, path)


@pytest.mark.parametrize("segmentation, words", [
    ([[1, 2, 3, 4]], "polygon: expected at least three pairs of numbers x, y, got [1, 2, 3, 4]"),
    ([[1, 2, 3, 4, 5, "six"]], "could not convert string to float: 'six'"),
    ({"size": [20, 31], "counts": [620]}, "the RLE's size (20, 31) is not the image's (20, 30)"),
    ({"size": [20, 30], "counts": [5, 9]}, "counts cover 14 pixels, expected the 20 x 30 = 600"),
    ({"size": [20, 30], "counts": [610, -10]}, "a run of -10 pixels"),
    ({"size": [20, 30], "counts": "abc\x7f"}, "compressed counts are damaged or cut short"),
    ({"size": [20, 30], "counts": "PPPPPPPPPPPPPPPP0"}, "damaged or cut short"),
    (None, "expected polygons or an RLE (size, counts), got None"),
    ({"counts": [600]}, "expected polygons or an RLE (size, counts), got {'counts': [600]}"),
])
def test_damaged_masks_name_their_annotation(coco, segmentation, words):
    rewrite(coco, put(BOX, "segmentation", segmentation))
    with raises("instances.json: annotation 1: segmentation: ", words):
        CocoDetection(*coco[:2])[1]


def test_wrong_keypoints_name_their_annotation(coco):
    rewrite(coco, put(("annotations", 1), "keypoints", [1, 2, 2]))
    with raises("annotation 2: keypoints are 3 numbers, [1, 2, 2], expected x, y, v of 3 points"):
        CocoDetection(*coco[:2])


def test_coco_captions(coco):
    def change(content):
        content["annotations"] = [{"id": 1, "image_id": 139, "caption": " A red picture. "},
                                  {"id": 2, "image_id": 139, "caption": "Red."}]
    rewrite(coco, change)
    data = CocoCaptions(*coco[:2])
    assert data[1][1] == {"captions": ("A red picture.", "Red."), "image_id": 139}
    assert data[0][1]["captions"] == ()
    rewrite(coco, lambda content: content["annotations"][0].pop("caption"))
    with raises("needs id, image_id, caption"):
        CocoCaptions(*coco[:2])


# Panoptic

@pytest.fixture
def panoptic(coco):
    """(folder, JSON file): one picture of three segments, one with a number over 65536."""
    root, path, content = coco
    segments = np.zeros((20, 30), np.int64)
    segments[:10, :12], segments[:10, 12:], segments[12:, 3:9] = 70000, 300, 5
    folder = path.parent / "panoptic"
    folder.mkdir()
    colours = np.stack([segments % 256, segments // 256 % 256, segments // 65536], -1)
    Image.fromarray(colours.astype(np.uint8)).save(folder / "000000000139.png")
    info = [{"id": 70000, "category_id": 18, "area": 120, "bbox": [0, 0, 12, 10], "iscrowd": 0},
            {"id": 300, "category_id": 200, "area": 180, "bbox": [12, 0, 18, 10], "iscrowd": 0},
            {"id": 5, "category_id": 18, "area": 48, "bbox": [3, 12, 6, 8], "iscrowd": 1}]
    content = {"images": content["images"][1:],
               "annotations": [{"image_id": 139, "file_name": "000000000139.png",
                                "segments_info": info}],
               "categories": [{"id": 200, "name": "rug", "isthing": 0},
                              {"id": 18, "name": "dog", "isthing": 1}]}
    path = path.parent / "panoptic.json"
    path.write_text(json.dumps(content))
    return root, path, content, segments


def test_coco_panoptic(panoptic):
    root, path, _, segments = panoptic
    data = CocoPanoptic(root, path)
    image, target = data[0]
    assert data.names == ("dog", "rug") and image.shape == (3, 20, 30)
    np.testing.assert_array_equal(target["panoptic"], segments)
    np.testing.assert_array_equal(target["segment_ids"], [70000, 300, 5])
    np.testing.assert_array_equal(target["labels"], [0, 1, 0])
    np.testing.assert_array_equal(target["isthing"], [True, False, True])
    np.testing.assert_array_equal(target["iscrowd"], [False, False, True])
    np.testing.assert_array_equal(target["boxes"],
                                  [[0, 0, 12, 10], [12, 0, 30, 10], [3, 12, 9, 20]])
    np.testing.assert_array_equal(target["area"], [120, 180, 48])
    np.testing.assert_array_equal(target["masks"].sum(0), segments > 0)


@pytest.mark.parametrize("change, words", [
    (lambda c: c["annotations"][0]["segments_info"].pop(), "segment 5 is in only one of the two"),
    (lambda c: c["annotations"][0]["segments_info"][0].update(id=1), "segment 1 is in only one"),
    (lambda c: c["annotations"][0]["segments_info"][0].update(category_id=3), "category 3, out"),
    (lambda c: c["annotations"].clear(), "image 139 has 0 annotations, expected one"),
    (lambda c: c["annotations"][0].update(file_name="a.png"), "a.png: there is no such file"),
    (lambda c: c["annotations"][0]["segments_info"][0].pop("id"), "segment"),
])
def test_wrong_panoptic_annotations(panoptic, change, words):
    root, path, content, _ = panoptic
    change(content)
    path.write_text(json.dumps(content))
    with raises(words):
        CocoPanoptic(root, path)[0]


def test_a_panoptic_png_of_another_size_or_without_colours(panoptic):
    root, path, _, segments = panoptic
    file = path.parent / "panoptic" / "000000000139.png"
    Image.new("RGB", (30, 21)).save(file)
    with raises(file, "is 21 x 30 (H x W), but its image is 20 x 30"):
        CocoPanoptic(root, path)[0]
    Image.new("L", (30, 20)).save(file)
    with raises(file, "a panoptic PNG is in colours (RGB), this is L"):
        CocoPanoptic(root, path)[0]


@given(arrays.arrays(np.int64, (3, 4), elements=st.integers(0, 2 ** 24 - 1)))
def test_segments_become_colours_and_come_back(tmp_path_factory, segments):
    path = tmp_path_factory.getbasetemp() / "segments.png"
    Image.fromarray(segment_colours(segments)).save(path)
    np.testing.assert_array_equal(read_segments(path), segments)


# --- RLE and polygons, beside pycocotools ---------------------------------------------------------
MASKS = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12))


@given(MASKS)
def test_rle_and_back(mask):
    rle = rle_encode(mask)
    np.testing.assert_array_equal(rle_decode(rle), mask)
    np.testing.assert_array_equal(rle_decode({**rle, "counts": columns_of(mask)}), mask)
    assert rle_area(rle) == mask.sum() and rle["size"] == list(mask.shape)


def test_a_worked_rle():
    mask = np.array([[0, 1, 1], [0, 1, 0]])                  # columns 00 11 10: runs 2 3 1
    assert rle_encode(mask) == {"size": [2, 3], "counts": "231"}
    # The third count, 1, is written as it is; a fourth as its difference to the second.
    assert rle_encode([[0, 1, 0, 1]])["counts"] == "1110"
    long = np.zeros((1, 1000))
    long[0, 900:] = 1            # 900 = 4 + 32 * 28 + 1024 * 0: without a third group, 28 is -4
    characters = [4 + 32, 28 + 32, 0, 4 + 32, 3]             # the second count: 100 = 4 + 32 * 3
    assert rle_encode(long)["counts"] == "".join(chr(48 + c) for c in characters)


@given(MASKS)
def test_rle_equals_pycocotools(mask):
    peer = pytest.importorskip("pycocotools.mask")
    theirs, ours = peer.encode(np.asfortranarray(mask.astype(np.uint8))), rle_encode(mask)
    assert ours["counts"].encode() == theirs["counts"] and ours["size"] == theirs["size"]
    np.testing.assert_array_equal(rle_decode(theirs), mask)
    assert rle_area(ours) == peer.area(theirs)


def test_rle_of_long_and_many_runs_equals_pycocotools():
    peer = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for density in (0, 0.0001, 0.01, 0.5, 0.9999, 1):
        mask = rng.random((480, 640)) < density
        theirs = peer.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert rle_encode(mask)["counts"].encode() == theirs["counts"]
        np.testing.assert_array_equal(rle_decode(theirs), mask)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")    # pycocotools
@settings(max_examples=200)
@given(points=st.lists(st.tuples(st.floats(-5, 45), st.floats(-5, 35)), min_size=3, max_size=9),
       step=st.sampled_from([0, 0.5, 1]), size=st.tuples(st.integers(1, 30), st.integers(1, 40)))
def test_polygons_equal_pycocotools(points, step, size):
    peer = pytest.importorskip("pycocotools.mask")
    polygon = np.ravel(points)
    if step:
        polygon = np.round(polygon / step) * step
    theirs = peer.decode(peer.frPyObjects([polygon.tolist()], *size))[..., 0]
    np.testing.assert_array_equal(polygons_to_mask([polygon], *size), theirs)


def test_several_polygons_are_one_mask():
    squares = [1, 1, 4, 1, 4, 4, 1, 4], [3, 3, 8, 3, 8, 8, 3, 8]
    both = polygons_to_mask(squares, 10, 10)
    one, other = (polygons_to_mask([square], 10, 10) for square in squares)
    np.testing.assert_array_equal(both, one | other)
    assert both[1:4, 1:4].all() and not both[0].any()


# --- Visual Genome --------------------------------------------------------------------------------
def thing(number, name, x, y, w, h, key="name"):
    return {"object_id": number, key: name if key == "name" else [name], "x": x, "y": y, "w": w,
            "h": h, "synsets": []}


@pytest.fixture
def genome(tmp_path):
    """(folder, contents by file): two pictures in the two folders."""
    picture(tmp_path / "VG_100K" / "61512.jpg")
    picture(tmp_path / "VG_100K_2" / "2407890.jpg")
    man, dog, leash = (thing(1, "Man", 2, 3, 9, 12), thing(2, "dog", 15, 8, 40, 8, "names"),
                       thing(3, "leash", 50, 50, 4, 4))
    contents = {
        "image_data": [{"image_id": n, "width": 30, "height": 20, "url": "", "coco_id": None}
                       for n in (61512, 2407890)],
        "region_descriptions": [{"id": 61512, "regions": [
            {"region_id": 7, "image_id": 61512, "phrase": " a man with a dog ", "x": -1, "y": 2,
             "width": 25, "height": 10},
            {"region_id": 8, "image_id": 61512, "phrase": "elsewhere", "x": 90, "y": 2, "width": 2,
             "height": 3}]}],
        "relationships": [
            {"image_id": 2407890, "relationships": [
                {"relationship_id": 1, "predicate": "ON", "synsets": [], "subject": leash,
                 "object": dog},
                {"relationship_id": 2, "predicate": "walks", "synsets": [], "subject": man,
                 "object": dog},
                {"relationship_id": 3, "predicate": "on", "synsets": [], "subject": dog,
                 "object": man}]},
            {"image_id": 61512, "relationships": []}]}
    write_genome(tmp_path, contents)
    return tmp_path, contents


def write_genome(root, contents):
    for name, content in contents.items():
        (root / f"{name}.json").write_text(json.dumps(content))


def test_regions_of_visual_genome(genome):
    data = VisualGenomeRegions(genome[0])
    image, target = data[0]
    assert len(data) == 1 and image.shape == (3, 20, 30) and target["image_id"] == 61512
    np.testing.assert_array_equal(target["boxes"], [[0, 2, 24, 12]])     # clipped; one is outside
    assert target["phrases"].tolist() == ["a man with a dog"]


def test_relationships_of_visual_genome(genome):
    data = VisualGenomeRelationships(genome[0])
    assert data.names == ("dog", "man", "leash") and data.predicates == ("on", "walks")
    target = data[0][1]
    np.testing.assert_array_equal(target["boxes"], [[15, 8, 30, 16], [2, 3, 11, 15]])
    assert [data.names[k] for k in target["labels"]] == ["dog", "man"]
    np.testing.assert_array_equal(target["relations"], [[1, 1, 0], [0, 0, 1]])
    assert data[1][1]["relations"].shape == (0, 3) and data[1][1]["boxes"].shape == (0, 4)
    few = VisualGenomeRelationships(genome[0], ("man", "dog"), ("walks",))
    np.testing.assert_array_equal(few[0][1]["relations"], [[1, 0, 0]])
    np.testing.assert_array_equal(few[0][1]["labels"], [1, 0])


@pytest.mark.parametrize("change, words", [
    (lambda c: c["image_data"].pop(), "relationships.json: image 2407890 is not listed in image_d"),
    (lambda c: c["image_data"][1].pop("width"), "image_data.json: image 2407890 has the size (20"),
    (lambda c: c["image_data"][1].update(height=21), "is 20 x 30 (H x W), but image_data.json"),
    (lambda c: c["relationships"][0].pop("relationships"), "has no list 'relationships'"),
    (lambda c: c["relationships"][0].pop("image_id"), "an entry has no image_id"),
    (lambda c: c["relationships"].clear(), "lists no images"),
    (lambda c: c["relationships"][0]["relationships"][1].pop("predicate"), "needs predicate, and"),
    (lambda c: c["relationships"][0]["relationships"][1]["subject"].pop("name"), "2407890: a re"),
    (lambda c: c["relationships"][0]["relationships"][1]["subject"].pop("w"), "a box needs num"),
    (lambda c: c["image_data"].append({"image_id": 5, "width": 3, "height": 3}) or
     c["relationships"].append({"image_id": 5, "relationships": []}), "5.jpg: there is no such"),
])
def test_damaged_files_of_visual_genome(genome, change, words):
    root, contents = genome
    change(contents)
    write_genome(root, contents)
    with raises(words):
        VisualGenomeRelationships(root)[0]


# --- MNIST ----------------------------------------------------------------------------------------
def idx(array, code=8):
    """The bytes of an IDX file."""
    return (struct.pack(">BBBB", 0, 0, code, array.ndim) + struct.pack(f">{array.ndim}I",
                                                                      *array.shape)
            + array.astype(array.dtype.newbyteorder(">")).tobytes())


@pytest.fixture
def mnist(tmp_path):
    rng = np.random.default_rng(0)
    for part, count in (("train", 7), ("t10k", 3)):
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        labels = (np.arange(count) % 10).astype(np.uint8)
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    return tmp_path


def test_mnist(mnist):
    data = MNIST(mnist)
    image, label = data[6]
    assert len(data) == 7 and len(MNIST(mnist, train=False)) == 3
    assert image.shape == (1, 28, 28) and image.dtype == np.float32 and label == 6
    raw = (mnist / "train-images-idx3-ubyte").read_bytes()
    np.testing.assert_array_equal(np.rint(image * 255).astype(np.uint8).tobytes(),
                                  raw[16 + 6 * 784:])


def test_mnist_where_torchvision_puts_it(mnist, tmp_path_factory):
    root = tmp_path_factory.mktemp("torchvision")
    (root / "MNIST").mkdir()
    mnist.rename(root / "MNIST" / "raw")
    assert len(MNIST(root)) == 7


@pytest.mark.parametrize("dtype, code", [(np.uint8, 8), (np.int8, 9), (np.int16, 11),
                                         (np.int32, 12), (np.float32, 13), (np.float64, 14)])
def test_idx_of_every_type(tmp_path, dtype, code):
    array = (np.arange(24).reshape(2, 3, 4) - 3).astype(dtype)
    (tmp_path / "a").write_bytes(idx(array, code))
    read = read_idx(tmp_path / "a")
    np.testing.assert_array_equal(read, array)
    assert read.dtype == dtype and read.dtype.isnative


def test_damaged_idx_files(mnist):
    path = mnist / "train-images-idx3-ubyte"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with raises(path, "has 5404 bytes, but its header promises 5504, an array (7, 28, 28)"):
        MNIST(mnist)
    path.write_bytes(b"\x89PNG" + whole)
    with raises(path, "no IDX file, it begins with b'\\x89PNG'"):
        MNIST(mnist)
    path.write_bytes(whole[:9])
    with raises(path, "has 9 bytes"):
        MNIST(mnist)
    path.write_bytes(b"")
    with raises(path, "no IDX file"):
        MNIST(mnist)
    path.unlink()
    with raises(path, "there is no such file, nor with .gz"):
        MNIST(mnist)


def test_wrong_labels_of_mnist(mnist):
    path = mnist / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.arange(6, dtype=np.uint8))))
    with raises(path, "labels (6,) for images (7, 28, 28)"):
        MNIST(mnist)
    path.write_bytes(gzip.compress(idx(np.arange(4, 11, dtype=np.uint8))))
    with raises(path, "the label 10 is out of range, there are 10 classes, 0 to 9"):
        MNIST(mnist)
    cut(path)
    with raises(path, "the compressed file is damaged or cut short"):
        MNIST(mnist)


# --- CIFAR-10 -------------------------------------------------------------------------------------
def cifar_rows(count, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 3072), np.uint8), rng.integers(0, 10, count)


def cifar_names():
    return [(f"data_batch_{k}", k) for k in range(1, 6)] + [("test_batch", 6)]


def cifar_binary(folder):
    folder.mkdir()
    for name, seed in cifar_names():
        rows = b"".join(bytes([label]) + row.tobytes() for row, label in zip(*cifar_rows(4, seed)))
        (folder / f"{name}.bin").write_bytes(rows)
    (folder / "batches.meta.txt").write_text("airplane\n")


def python2_pickle(images, labels, name):
    """What Python 2 wrote: protocol 2, byte strings as str, numpy.core."""
    def string(text):
        return b"U" + bytes([len(text)]) + text if len(text) < 256 else \
            b"T" + struct.pack("<i", len(text)) + text
    return (b"\x80\x02}q\x01(" + string(b"data") + b"cnumpy.core.multiarray\n_reconstruct\n"
            + b"cnumpy\nndarray\nK\x00\x85" + string(b"b") + b"\x87R(K\x01"
            + b"M" + struct.pack("<H", len(images)) + b"M" + struct.pack("<H", 3072) + b"\x86"
            + b"cnumpy\ndtype\n" + string(b"u1") + b"K\x00K\x01\x87R(K\x03" + string(b"|")
            + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89" + string(images.tobytes()) + b"tb"
            + string(b"labels") + b"](" + b"".join(b"K" + bytes([k]) for k in labels) + b"e"
            + string(b"batch_label") + string(name.encode()) + b"u.")


def python3_pickle(images, labels, name):
    return pickle.dumps({b"data": images, b"labels": [int(k) for k in labels],
                         b"batch_label": name.encode(), b"filenames": [b"a.png"] * len(labels)}, 2)


def cifar_python(folder, write=python2_pickle):
    folder.mkdir()
    for name, seed in cifar_names():
        (folder / name).write_bytes(write(*cifar_rows(4, seed), name))


def test_the_hand_made_pickle_is_one():
    images, labels = cifar_rows(4, 1)
    batch = pickle.loads(python2_pickle(images, labels, "training batch 1 of 5"), encoding="bytes")
    np.testing.assert_array_equal(batch[b"data"], images)
    assert batch[b"labels"] == labels.tolist()


@pytest.mark.parametrize("make", [
    lambda root: cifar_binary(root / "cifar-10-batches-bin"),
    lambda root: cifar_python(root / "cifar-10-batches-py"),
    lambda root: cifar_python(root / "cifar-10-batches-py", python3_pickle)])
def test_cifar10_of_all_kinds_is_the_same(tmp_path, make):
    make(tmp_path)
    train, test = CIFAR10(tmp_path), CIFAR10(tmp_path, train=False)
    assert len(train) == 20 and len(test) == 4
    images, labels = cifar_rows(4, 3)
    for k in range(4):
        image, label = train[8 + k]
        assert image.shape == (3, 32, 32) and image.dtype == np.float32 and label == labels[k]
        np.testing.assert_allclose(image, images[k].reshape(3, 32, 32) / 255, atol=1e-7)
    folder, = tmp_path.iterdir()
    np.testing.assert_array_equal(CIFAR10(folder).labels, train.labels)


def test_damaged_cifar10(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    cifar_binary(folder)
    path = folder / "data_batch_2.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with raises(path, "has 12291 bytes, expected whole rows of 3073"):
        CIFAR10(tmp_path)
    path.write_bytes(b"\x0a" + whole[1:])
    with raises(path, "the label 10 is out of range"):
        CIFAR10(tmp_path)
    path.unlink()
    with raises(path, "there is no such file"):
        CIFAR10(tmp_path)
    with raises("nowhere", "there is no such folder"):
        CIFAR10(tmp_path / "nowhere")


class Evil:
    """Unpickled, it would leave a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("change, words", [
    (lambda raw: raw[:5000], "damaged or cut short, no CIFAR-10 batch"),
    (lambda raw: b"", "no CIFAR-10 batch"),
    (lambda raw: pickle.dumps({b"data": np.zeros((2, 3072), np.uint8)}), "KeyError: 'labels'"),
    (lambda raw: pickle.dumps({b"data": np.zeros((2, 3072)), b"labels": [1, 2]}), "of f8, expe"),
    (lambda raw: pickle.dumps({b"data": np.zeros((2, 9), np.uint8), b"labels": [1, 2]}), "(2, 9)"),
    (lambda raw: pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [1, 2]}), "(2,)"),
    (lambda raw: pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [-1]}), "-1"),
    (lambda raw: pickle.dumps([1, 2]), "AttributeError"),
])
def test_damaged_python_batches(tmp_path, change, words):
    cifar_python(tmp_path / "cifar-10-batches-py")
    path = tmp_path / "cifar-10-batches-py" / "data_batch_4"
    path.write_bytes(change(path.read_bytes()))
    with raises(path, words):
        CIFAR10(tmp_path)


def test_a_strangers_pickle_is_not_executed(tmp_path):
    cifar_python(tmp_path / "cifar-10-batches-py")
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(pickle.dumps({b"data": Evil(tmp_path / "left"), b"labels": []}))
    with raises(path, "the pickle asks for", "open", "it was not called"):
        CIFAR10(tmp_path, train=False)
    assert not (tmp_path / "left").exists()


# --- folders --------------------------------------------------------------------------------------
def test_image_folder(tmp_path):
    picture(tmp_path / "dog" / "b.JPG")
    picture(tmp_path / "dog" / "puppies" / "a.png")
    picture(tmp_path / "cat" / "c.png", (10, 12), GREY)
    (tmp_path / "dog" / "notes.txt").write_text("no picture")
    (tmp_path / "readme.txt").write_text("no class")
    data = ImageFolder(tmp_path)
    assert data.classes == ("cat", "dog") and len(data) == 3
    assert [label for _, label in data.samples] == [0, 1, 1] == data.targets.tolist()
    image, label = data[0]
    assert image.shape == (3, 10, 12) and label == 0
    assert ImageFolder(tmp_path, mode="L")[0][0].shape == (1, 10, 12)


def test_empty_folders(tmp_path):
    with raises(tmp_path / "nowhere", "there is no such folder"):
        ImageFolder(tmp_path / "nowhere")
    with raises(tmp_path, "the folder holds no folders"):
        ImageFolder(tmp_path)
    picture(tmp_path / "cat" / "a.png")
    (tmp_path / "dog").mkdir()
    with raises(tmp_path / "dog", "the folder of this class holds no picture"):
        ImageFolder(tmp_path)


@pytest.fixture
def pairs(tmp_path):
    for name in ("a", "b"):
        picture(tmp_path / "images" / f"{name}.jpg")
        grey_picture(tmp_path / "masks" / f"{name}.png", np.full((20, 30), 2))
    labels = np.zeros((20, 30))
    labels[3:5], labels[7] = 1, 255
    grey_picture(tmp_path / "masks" / "a.png", labels)
    return tmp_path / "images", tmp_path / "masks"


def test_pictures_beside_masks(pairs):
    data = ImageMaskFolder(*pairs, num_classes=3)
    image, labels = data[0]
    assert len(data) == 2 and image.shape == (3, 20, 30) and labels.dtype == np.int64
    assert (labels[3:5] == 1).all() and (labels[7] == -1).all() and (data[1][1] == 2).all()


def test_wrong_pictures_beside_masks(pairs):
    images, masks = pairs
    with raises(masks / "b.png", "label 2 is out of range, there are 2 classes, 0 to 1, and 255"):
        ImageMaskFolder(*pairs, num_classes=2)[1]
    grey_picture(masks / "a.png", np.zeros((30, 20)))
    with raises(masks / "a.png", "is 30 x 20 (H x W), but", "a.jpg is 20 x 30"):
        ImageMaskFolder(*pairs, num_classes=3)
    (masks / "a.png").unlink()
    with raises(f"{masks}: has no file for 'a' in {images} (1 such names)"):
        ImageMaskFolder(*pairs, num_classes=3)
    (images / "a.jpg").unlink()
    (images / "b.jpg").unlink()
    with raises(images, "the folder holds no file that ends in .jpg"):
        ImageMaskFolder(*pairs, num_classes=3)


# --- TIFF -----------------------------------------------------------------------------------------
def tiff(path, pages, **options):
    first, *rest = [Image.fromarray(page) for page in pages]
    first.save(path, save_all=True, append_images=rest, **options)
    return path


def plain_tiff(path, pages):
    """A stack of uint8 pages, uncompressed, written tag by tag as the format's document says."""
    out, links = bytearray(b"II*\0\0\0\0\0"), 4
    for page in pages:
        place = len(out)
        out += page.tobytes()
        out += b"\0" * (len(out) % 2)
        out[links:links + 4] = struct.pack("<I", len(out))
        tags = [(256, 4, page.shape[1]), (257, 4, page.shape[0]), (258, 3, 8), (259, 3, 1),
                (262, 3, 1), (273, 4, place), (277, 3, 1), (278, 4, page.shape[0]),
                (279, 4, page.size)]
        out += struct.pack("<H", len(tags))
        for tag, kind, value in tags:
            out += struct.pack("<HHII", tag, kind, 1, value)
        links = len(out)
        out += b"\0\0\0\0"
    path.write_bytes(out)
    return path


@pytest.fixture
def isbi(tmp_path):
    rng = np.random.default_rng(0)
    slices = rng.integers(0, 256, (5, 16, 24), np.uint8)
    labels = (rng.integers(0, 2, (5, 16, 24)) * 255).astype(np.uint8)
    return (plain_tiff(tmp_path / "train-volume.tif", slices),
            plain_tiff(tmp_path / "train-labels.tif", labels), slices, labels)


def test_a_stack_of_slices(isbi):
    volume, labels, slices, values = isbi
    data = TiffStack(volume, labels)
    image, classes = data[3]
    assert len(data) == 5 and image.shape == (1, 16, 24) and image.dtype == np.float32
    np.testing.assert_allclose(image[0], slices[3] / 255, atol=1e-7)
    np.testing.assert_array_equal(classes, values[3] // 255)
    assert classes.dtype == np.int64 and TiffStack(volume)[0][1] is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, bool])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate"])
def test_pages_of_every_type(tmp_path, dtype, compression):
    pages = (np.arange(2 * 6 * 7).reshape(2, 6, 7) % (2 if dtype is bool else 200)).astype(dtype)
    read = read_tiff(tiff(tmp_path / "a.tif", pages, compression=compression))
    np.testing.assert_array_equal(read, pages)
    assert read.dtype == dtype


def test_whole_numbers_are_brought_to_1_and_float32_stays(tmp_path):
    high = tiff(tmp_path / "a.tif", np.full((1, 4, 4), 65535, np.uint16))
    real = tiff(tmp_path / "b.tif", np.full((1, 4, 4), -2.5, np.float32))
    assert TiffStack(high)[0][0].max() == 1 and TiffStack(real)[0][0].min() == -2.5
    with raises("its pixels are int32, expected uint8, uint16 or float32"):
        TiffStack(tiff(tmp_path / "c.tif", np.zeros((1, 4, 4), np.int32)))


def test_wrong_stacks(isbi, tmp_path):
    volume, labels, slices, values = isbi
    with raises(labels, "is (4, 16, 24) (slices, H, W), but", volume, "is (5, 16, 24)"):
        TiffStack(volume, plain_tiff(labels, values[:4]))
    plain_tiff(labels, np.where(values == 0, 7, values).astype(np.uint8))
    with raises(labels, "the label 7 is out of range, expected one of (0, 255)"):
        TiffStack(volume, labels)
    with raises("page 1 is uint8 (6, 7), the first uint8 (5, 7)"):
        read_tiff(tiff(tmp_path / "a.tif", [np.zeros((n, 7), np.uint8) for n in (5, 6)]))
    with raises("page 0 is in colours (RGB), expected grey"):
        read_tiff(tiff(tmp_path / "b.tif", np.zeros((1, 4, 4, 3), np.uint8)))


@pytest.mark.parametrize("keep", [0.001, 0.1, 0.3, 0.55, 0.9, 0.99])
def test_stacks_that_are_cut_short(isbi, keep):
    cut(isbi[0], keep)
    with raises(isbi[0], ""):
        TiffStack(isbi[0])


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_numbers_that_are_not_finite_are_named(tmp_path, value):
    numbers = np.ones((3, 4), np.float32)
    numbers[1, 2] = value
    (tmp_path / "a.idx").write_bytes(b"\0\0\x0d\x02" + struct.pack(">II", 3, 4)
                                     + numbers.astype(">f4").tobytes())
    with raises(tmp_path / "a.idx", f"has {value} at (1, 2), expected finite numbers"):
        read_idx(tmp_path / "a.idx")
    with raises(f"a.tif: has {value} at (0, 1, 2), expected finite numbers"):
        TiffStack(tiff(tmp_path / "a.tif", [numbers]))


# --- all of a data set at once --------------------------------------------------------------------
def test_a_data_set_without_mistakes_passes(coco, voc, genome, panoptic):
    root, path, _, _ = panoptic
    for data in (CocoDetection(*coco[:2]), VOCDetection(voc), VOCSegmentation(voc),
                 CocoPanoptic(root, path), VisualGenomeRegions(genome[0]),
                 VisualGenomeRelationships(genome[0])):
        assert data.check() is None


def test_a_check_of_coco_finds_what_reading_would(coco):
    root, path, _ = coco
    rewrite(coco, put(BOX, "segmentation", None))
    with raises("instances.json: annotation 1: segmentation: expected polygons"):
        CocoDetection(root, path).check()
    picture(root / "000000000139.jpg", (21, 30))
    with raises("000000000139.jpg: is 21 x 30 (H x W), but", "instances.json says 20 x 30"):
        CocoDetection(root, path, masks=False).check()


def test_a_check_of_panoptic_maps(panoptic):
    root, path, _, _ = panoptic
    Image.new("RGB", (30, 21)).save(path.parent / "panoptic" / "000000000139.png")
    with raises("000000000139.png", "is 21 x 30 (H x W), but its image is 20 x 30"):
        CocoPanoptic(root, path).check()


def test_a_check_of_voc(voc):
    base = voc / "VOCdevkit" / "VOC2012"
    grey_picture(base / "SegmentationClass/2007_000027.png", np.full((20, 30), 21), palette=True)
    with raises("2007_000027.png: the label 21 is out of range"):
        VOCSegmentation(voc).check()
    picture(base / "JPEGImages/2007_000027.jpg", (20, 31))
    with raises("2007_000027.jpg: is 20 x 31 (H x W), but"):
        VOCDetection(voc).check()


def test_a_check_of_folders(pairs, tmp_path):
    assert ImageMaskFolder(*pairs, num_classes=3).check() is None
    with raises(pairs[1] / "b.png", "label 2 is out of range"):
        ImageMaskFolder(*pairs, num_classes=2).check()
    picture(tmp_path / "classes" / "cat" / "a.png").write_bytes(b"")
    with raises("a.png: no picture that Pillow can read"):
        ImageFolder(tmp_path / "classes").check()


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: Subset(data, [1])])
def test_a_training_does_not_begin_with_files_that_are_wrong(pairs, wrap):
    """The second file's label is found before the first step, whatever comes first."""
    def loss(images, targets):
        raise AssertionError("a step was made")
    model = nn.Sequential(nn.Conv2d(3, 2, 1))
    model.loss = loss
    loader = DataLoader(wrap(ImageMaskFolder(*pairs, num_classes=2)))
    with raises(pairs[1] / "b.png", "label 2 is out of range"):
        fit(model, loader, optim.SGD(model.parameters()), 1, progress=False)
