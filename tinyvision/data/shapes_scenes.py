"""`Scenes`: rendered pictures, and every annotation that can be read off them."""
from dataclasses import dataclass
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
    of object k. Everything else is made when it is asked for.
    """
    images: np.ndarray
    labels: list
    boxes: list
    masks: np.ndarray
    names: tuple
    scenes: tuple
    instances: np.ndarray

    def __len__(self):
        return len(self.images)

    def __getitem__(self, chosen):
        """The scenes of a slice or of an array of indices."""
        if isinstance(chosen, (int, np.integer)):
            raise TypeError(f"Scenes: take several scenes with a slice, scenes[{chosen}:"
                            f"{chosen + 1}], or read scenes.images[{chosen}]; got {chosen!r}.")
        some = np.arange(len(self))[chosen].tolist()
        labels, boxes, scenes = ([all_of[k] for k in some]
                                 for all_of in (self.labels, self.boxes, self.scenes))
        return Scenes(self.images[chosen], labels, boxes, self.masks[chosen], self.names,
                      tuple(scenes), self.instances[chosen])

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

    @property
    def situations(self):
        """What is going on in each scene: a list of `Situation`, or None for scenes without."""
        return [scene.situation for scene in self.scenes]


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
