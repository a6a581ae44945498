# tinyvision exercise: box_iou
# expected: OK, 10 points
# The same with other names.
import numpy as np


def extent(rects):
    size = np.maximum(rects[..., 2:] - rects[..., :2], 0)
    return size[..., 0] * size[..., 1]


def box_iou(rects1, rects2):
    left, right = rects1[:, None], rects2[None]
    inner = extent(np.concatenate([np.maximum(left[..., :2], right[..., :2]),
                                np.minimum(left[..., 2:], right[..., 2:])], axis=-1))
    outer = extent(left) + extent(right) - inner
    return np.divide(inner, outer, out=np.zeros_like(outer), where=outer > 0)
