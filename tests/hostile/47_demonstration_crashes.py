# tinyvision exercise: box_iou
# expected: OK, 10 points
# A demonstration between right functions fails: what is defined counts, as in a notebook.
import numpy as np


def area(boxes):
    size = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return size[..., 0] * size[..., 1]


print(box_iou(np.load("boxes.npy"), np.zeros((1, 4))))


def box_iou(boxes1, boxes2):
    first, second = boxes1[:, None], boxes2[None]
    both = area(np.concatenate([np.maximum(first[..., :2], second[..., :2]),
                                np.minimum(first[..., 2:], second[..., 2:])], axis=-1))
    union = area(first) + area(second) - both
    return np.divide(both, union, out=np.zeros_like(union), where=union > 0)
