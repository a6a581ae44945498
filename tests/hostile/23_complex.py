# tinyvision exercise: box_iou
# expected: WRONG_DTYPE, 0 points
# Right numbers of a wrong kind.
import numpy as np


def area(boxes):
    size = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return size[..., 0] * size[..., 1]


def right(boxes1, boxes2):
    first, second = boxes1[:, None], boxes2[None]
    both = area(np.concatenate([np.maximum(first[..., :2], second[..., :2]),
                                np.minimum(first[..., 2:], second[..., 2:])], axis=-1))
    union = area(first) + area(second) - both
    return np.divide(both, union, out=np.zeros_like(union), where=union > 0)


def box_iou(boxes1, boxes2):
    return right(boxes1, boxes2).astype(complex)
