# tinyvision exercise: box_iou
# expected: MEMORY, 0 points
# Asks for more memory than there is, little by little.
import numpy as np


def box_iou(boxes1, boxes2):
    kept = []
    while True:
        kept.append(np.empty(1 << 17))
