"""What a detector found: boxes with class and score, masks, keypoints.

    detections(image, model.predict([image])[0], names)
    detection_rows(images, targets, model.predict(images), names)

Found things and targets are dictionaries as `predict` gives them and data sets have them: `boxes`
(D, 4), `labels` (D,), and, where there are some, `scores` (D,), `masks` bool (D, H, W), `keypoints`
(D, K, 3), whose third number is 0 for a point that is not there.
"""
import numpy as np

from tinyvision.data.outlines import JOINTS
from tinyvision.draw.board import to_array
from tinyvision.draw.palette import COLOURS
from tinyvision.draw.pictures import label_rows, put_legend
from tinyvision.draw.plates import class_colour, class_name, plates

KEYPOINTS = {                            # names, by their number: the figure's, COCO's
    7: JOINTS,
    17: ("nose", *(f"{side} {part}" for part in ("eye", "ear", "shoulder", "elbow", "wrist", "hip",
                                                 "knee", "ankle") for side in ("left", "right"))),
}
SKELETONS = {                            # which keypoints are joined, by their number
    7: ((0, 1), (1, 2), (1, 3), (1, 4), (2, 5), (2, 6)),
    17: ((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7),
         (6, 8), (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
}


def detections(image, found, names=None, score=0.5, skeleton=None, width=4.0, title=None):
    """One image and what was found in it, each thing with its class and score.

    Args:
        image: (3, H, W) or (1, H, W), in [0, 1].
        found: a dictionary, see above.
        names: of the classes, by label.
        score: what has less is not drawn.
        skeleton: pairs of keypoints to join with lines; those of seven or seventeen keypoints
            (the figure's, COCO's) are known.
        width: of the picture, in inches.
    """
    figure, (plate,) = plates([image], width=width, titles=title and [title])
    chosen = confident(found, score)
    put_things(plate, chosen, skeleton)
    for k in range(len(chosen["boxes"])):
        label = chosen["labels"][k]
        plate.label(chosen["boxes"][k], said(chosen, k, names), class_colour(label))
    return figure


def detection_rows(images, targets, found, names=None, score=0.5, skeleton=None, width=1.6):
    """Images with the truth, and below each what was found, in the colours of the classes, with
    scores and a legend (with names and scores where there are more classes than colours). Masks and
    keypoints are shown where the answers have them.

    Args:
        images: (N, 3, H, W), or a list of (3, H, W), in [0, 1].
        targets, found: a list of dictionaries, one for each image; see above.
        names, score, skeleton: as in `detections`.
        width: of one image, in inches.

    Raises:
        ValueError: not one target and one answer for each image, or no images.
    """
    if not len(images) or not len(images) == len(targets) == len(found):
        raise ValueError(f"detection_rows: got {len(images)} images, {len(targets)} targets and "
                         f"{len(found)} answers, expected as many of each, one or more")
    figure, both = plates([*images, *images], len(images), width)
    legend = class_names(names, (*targets, *found))
    for plate, one in zip(both, (*(answered(t, found[0]) for t in targets), *found)):
        one = confident(one, score)
        put_things(plate, one, skeleton)
        put_scores(plate, one, () if len(legend) <= len(COLOURS) else legend)
    label_rows([plate.axes for plate in both[::len(images)]], ["truth", "found"])
    if len(legend) <= len(COLOURS):
        put_legend(figure, legend)
    return figure


def class_names(names, things):
    """The names of all classes there are, or of those that occur."""
    highest = max((int(label) for one in things for label in to_array(one["labels"])), default=-1)
    return [class_name(names, k) for k in range(max(highest + 1, len(names or ())))]


def answered(target, found):
    """Of a target what the answers speak of."""
    return {key: target[key] for key in target
            if key in ("boxes", "labels") or key in found and key != "scores"}


def put_scores(plate, found, names):
    """The score of every thing, with its class where there are names."""
    for k, (box, label) in enumerate(zip(found["boxes"], found["labels"])):
        words = said(found, k, names) if names else "%.2f" % found["scores"][k] \
            if "scores" in found else ""
        if words:
            plate.label(box, words, class_colour(label), 7)


def confident(found, score):
    """The things whose score is at least that, as arrays, those without one all."""
    rows = {key: to_array(found[key]) for key in ("boxes", "labels", "scores", "masks", "keypoints")
            if key in found}
    if "scores" not in rows:
        return rows
    chosen = rows["scores"] >= score
    return {key: array[chosen] for key, array in rows.items()}


def said(found, k, names):
    """Class and score of thing k."""
    name = class_name(names, found["labels"][k])
    return f"{name} {found['scores'][k]:.2f}" if "scores" in found else name


def put_things(plate, found, skeleton=None):
    """Masks, boxes and keypoints on a plate, the worst first, so that the best lie on top."""
    for k in reversed(range(len(found["boxes"]))):
        colour = class_colour(found["labels"][k])
        if "masks" in found:
            plate.mask(found["masks"][k].astype(bool), colour)
        plate.box(found["boxes"][k], colour)
        if "keypoints" in found:
            put_pose(plate, found["keypoints"][k], colour, skeleton)


def put_pose(plate, points, colour, skeleton=None):
    """Keypoints (K, 3), joined by the lines of the skeleton; those that are not there are left out
    with their lines."""
    there = points[:, 2] > 0
    pairs = SKELETONS.get(len(points), ()) if skeleton is None else skeleton
    for pair in np.array(pairs, int).reshape(-1, 2):
        if there[pair].all():
            plate.line(points[pair, 0], points[pair, 1], colour)
    for x, y in points[there, :2]:
        plate.dot(x, y, colour)
