# tinyvision exercise: box_iou
# expected: WRONG_TYPE, 0 points
# Equal to everything, and no array.
import numpy as np


class Liar:
    def __init__(self, shape):
        self.shape, self.dtype = shape, np.dtype(float)

    def __eq__(self, other):
        return True

    def __sub__(self, other):
        return 0

    def __array__(self, dtype=None, copy=None):
        return np.zeros(self.shape)


def box_iou(boxes1, boxes2):
    return Liar((len(boxes1), len(boxes2)))
