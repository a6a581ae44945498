# tinyvision exercise: box_iou
# expected: NONFINITE, 0 points
# No comparison with NaN is true, so a careless one never fails.
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
    return right(boxes1, boxes2) * np.nan
