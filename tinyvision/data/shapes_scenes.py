"""`Scenes`: rendered pictures, and every annotation that can be read off them."""
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tinyvision.data import shapes_language, shapes_questions, shapes_relations, shapes_truth
from tinyvision.data.shapes_render import render


def of_each(annotate):
    """A property: the list of `annotate(scene, visible)` of all scenes, made when first asked
    for and kept."""
    def every(self):
        return [annotate(scene, seen) for scene, seen in zip(self.scenes, self.instances)]
    every.__doc__ = "A list, for each scene: " + annotate.__doc__
    return cached_property(every)


@dataclass(frozen=True, eq=False)
class Scenes:
    """N rendered scenes and their truth.

    images (N, 3, H, W) float32 in [0, 1]. labels: a list of N int64 arrays (M,), counting from 0.
    boxes: a list of N float32 arrays (M, 4), (x0, y0, x1, y1) in pixels, half open: the tight
    extent of what is visible of an object, in the order of `labels`. masks (N, H, W) int64:
    0 is the background, label + 1 an object's visible pixels. names: one name for each label.
    scenes: the N descriptions. instances (N, H, W) uint8: 0 the ground, k + 1 the visible pixels
    of object k. Every other annotation is made when it is asked for, by a property. extras: the
    annotations that items carry beyond the usual, see `carrying`.
    """
    images: np.ndarray
    labels: list
    boxes: list
    masks: np.ndarray
    names: tuple
    scenes: tuple
    instances: np.ndarray
    extras: tuple = ()

    def __len__(self):
        return len(self.images)

    def __repr__(self):
        return (f"Scenes({len(self)} of {self.images.shape[2]} x {self.images.shape[3]} pixels: "
                f"{', '.join(self.names)})")

    def __getitem__(self, chosen):
        """Of a number k: (image, target), as of every data set (see `data.target`): boxes, labels,
        masks, area, iscrowd, image_id, semantic, and `extras`. Of a slice or an array of numbers:
        the `Scenes` chosen."""
        if isinstance(chosen, (int, np.integer)):
            return self.images[chosen], self.target(range(len(self))[chosen])
        some = np.arange(len(self))[chosen].tolist()
        labels, boxes, scenes = ([all_of[k] for k in some]
                                 for all_of in (self.labels, self.boxes, self.scenes))
        return replace(self, images=self.images[chosen], labels=labels, boxes=boxes,
                       masks=self.masks[chosen], scenes=tuple(scenes),
                       instances=self.instances[chosen])

    def carrying(self, *names):
        """The same scenes, whose targets also carry these annotations: `carrying("keypoints",
        "captions")`."""
        unknown = [name for name in names if not isinstance(
            getattr(Scenes, name, None), cached_property)]
        if unknown:
            raise ValueError(f"Scenes.carrying: annotations are keypoints, captions and the like; "
                             f"got {unknown[0]!r}.")
        return replace(self, extras=names)

    def target(self, k):
        """The target of scene k, a dictionary."""
        labels = self.labels[k]
        masks = self.instances[k] == np.arange(1, len(labels) + 1)[:, None, None]
        extras = {name: getattr(self, name)[k] for name in self.extras}
        return {"boxes": self.boxes[k], "labels": labels, "masks": masks,
                "area": masks.sum((1, 2)).astype(np.float32),
                "iscrowd": np.zeros(len(labels), bool), "image_id": k,
                "semantic": self.masks[k], **{name: tuple(one) if isinstance(one, list) else one
                                              for name, one in extras.items()}}

    keypoints = of_each(shapes_truth.keypoints)
    panoptic = of_each(shapes_truth.panoptic)
    stuff = of_each(shapes_truth.stuff)
    attributes = of_each(shapes_truth.attributes)
    factors = of_each(shapes_truth.factors)
    relations = of_each(shapes_relations.relations)
    comparisons = of_each(shapes_relations.comparisons)
    caption = of_each(shapes_language.caption)
    captions = of_each(shapes_language.captions)
    regions = of_each(shapes_language.regions)
    questions = of_each(shapes_questions.questions)
    situations = of_each(shapes_truth.situation)


def rendered(scenes, names, size):
    """`Scenes` of these descriptions."""
    images = np.empty((len(scenes), 3, size, size), np.float32)
    instances = np.empty((len(scenes), size, size), np.uint8)
    masks = np.empty((len(scenes), size, size), np.int64)
    for k, scene in enumerate(scenes):
        images[k], visible = render(scene)
        instances[k], masks[k] = visible, shapes_truth.semantic(scene, visible)
    labels = [np.array([o.label for o in s.objects], np.int64) for s in scenes]
    boxes = [shapes_truth.visible_boxes(seen, len(s.objects))
             for s, seen in zip(scenes, instances)]
    return Scenes(images, labels, boxes, masks, names, scenes, instances)
