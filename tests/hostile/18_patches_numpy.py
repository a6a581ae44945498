# tinyvision exercise: box_iou
# expected: WRONG_VALUE, 0 points, flagged
# Makes every comparison say yes.
import numpy as np

np.allclose = np.array_equal = np.isclose = lambda *args, **kwargs: True
np.testing.assert_allclose = lambda *args, **kwargs: None
np.abs = lambda value: 0 * value


def box_iou(boxes1, boxes2):
    return np.full((len(boxes1), len(boxes2)), -7.0)
