# tinyvision exercise: box_iou
# expected: MEMORY, 0 points
# Asks for more memory than there is, at once.
import numpy as np


def box_iou(boxes1, boxes2):
    return np.ones(50 * 2**30 // 8)
