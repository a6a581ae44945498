# tinyvision exercise: box_iou
# expected: WRONG_SHAPE, 0 points
# Shapes that NumPy compares with any other.
import numpy as np


def box_iou(boxes1, boxes2):
    if len(boxes1) == 1:
        return np.array(1.0)
    return np.zeros((0, 4)) if len(boxes2) == 3 else np.zeros((1, len(boxes2)))
