"""The recipes: every small model that the zoo has. To add a model, add a `Recipe` to `ALL`."""
from __future__ import annotations

from dataclasses import replace

from tinyvision import models
from tinyvision.train import captioning, classifying, detecting, generating, segmenting
from tinyvision.train.recipe import Recipe

BOXES, MASKS = detecting.Measure(), detecting.Measure("masks")
POSES = detecting.Measure("keypoints", detecting.FIGURE_SIGMAS)
FIGURES = detecting.ShapesToDetect(classes=("figure",), keypoints=True)

ALL = (
    Recipe("tiny_resnet", "classification",
           lambda: models.tiny_resnet(10), {"shapes": classifying.ShapesToClassify()},
           classifying.measure, classifying.picture, classifying.compare,
           headline="top_1", floor=0.95, minutes=3, epochs=15, batch_size=32, lr=1e-2),
    Recipe("tiny_segnet", "segmentation", models.tiny_segnet,
           {"shapes": segmenting.ShapesToSegment()},
           segmenting.measure, segmenting.picture, segmenting.compare,
           headline="mean_iou", floor=0.80, minutes=4, epochs=12, batch_size=16, lr=1e-2),
    Recipe("tiny_unet", "segmentation", models.tiny_unet,
           {"shapes": segmenting.ShapesToSegment()},
           segmenting.measure, segmenting.picture, segmenting.compare,
           headline="mean_iou", floor=0.80, minutes=4, epochs=12, batch_size=16, lr=1e-2),
    Recipe("tiny_retinanet", "detection", models.tiny_retinanet,
           {"shapes": detecting.ShapesToDetect()}, BOXES, detecting.picture, BOXES.compare,
           headline="AP50", floor=0.80, minutes=6, epochs=16, batch_size=16, lr=3e-3),
    Recipe("tiny_faster_rcnn", "detection", models.tiny_faster_rcnn,
           {"shapes": detecting.ShapesToDetect()}, BOXES, detecting.picture, BOXES.compare,
           headline="AP50", floor=0.80, minutes=6, epochs=16, batch_size=16, lr=3e-3),
    Recipe("tiny_mask_rcnn", "instance segmentation", models.tiny_mask_rcnn,
           {"shapes": detecting.ShapesToDetect()}, MASKS, detecting.picture, MASKS.compare,
           headline="AP50", floor=0.75, minutes=6, epochs=16, batch_size=16, lr=3e-3),
    Recipe("tiny_keypoint_rcnn", "pose", models.tiny_keypoint_rcnn,
           {"shapes": FIGURES}, POSES, detecting.picture, POSES.compare,
           headline="AP50", floor=0.70, minutes=6, epochs=16, batch_size=16, lr=3e-3),
    Recipe("tiny_vae", "generation", models.tiny_vae,
           {"shapes": generating.ShapesToGenerate(), "easy": generating.EASY},
           generating.measure, generating.picture, generating.compare,
           headline="relative_error", floor=0.25, minutes=4, epochs=80, batch_size=64,
           lr=3e-3, lower=True),
    Recipe("tiny_show_and_tell", "captioning", models.tiny_show_and_tell,
           {"shapes": captioning.ShapesToCaption()},
           captioning.measure, captioning.picture, captioning.compare,
           headline="exact", floor=0.80, minutes=6, epochs=48, batch_size=64, lr=3e-3,
           weight_decay=2e-2, transforms=captioning.RandomMirror()),
)
RECIPES = {one.name: one for one in ALL}


def recipe(name: str, **changes) -> Recipe:
    """The recipe of that name, with other epochs or the like where they are given.

    Raises:
        ValueError: there is none, or fewer than one epoch or a negative seed is asked for.
    """
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    found = replace(RECIPES[name], **{k: v for k, v in changes.items() if v is not None})
    if found.epochs < 1:
        raise ValueError(f"{name}: epochs is at least 1, got {found.epochs}")
    if found.seed < 0:
        raise ValueError(f"{name}: seed is at least 0, got {found.seed}")
    return found
