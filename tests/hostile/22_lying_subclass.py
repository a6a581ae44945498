# tinyvision exercise: box_iou
# expected: WRONG_TYPE, 0 points
# An array that answers NumPy's questions itself.
import numpy as np


class Liar(np.ndarray):
    def __array_function__(self, function, types, args, kwargs):
        return True

    def __array_ufunc__(self, ufunc, method, *args, **kwargs):
        return np.zeros(self.shape)


def box_iou(boxes1, boxes2):
    return np.zeros((len(boxes1), len(boxes2))).view(Liar)
