# tinyvision exercise: box_iou
# Wrong: + 1, as for boxes that count whole pixels.
import numpy as np


def area(boxes):
    return (np.maximum(boxes[:, 2] - boxes[:, 0] + 1, 0)
            * np.maximum(boxes[:, 3] - boxes[:, 1] + 1, 0))


def box_iou(boxes1, boxes2):
    result = np.zeros((len(boxes1), len(boxes2)))
    for n, a in enumerate(boxes1):
        for m, b in enumerate(boxes2):
            overlap = np.array([[max(a[0], b[0]), max(a[1], b[1]),
                                 min(a[2], b[2]), min(a[3], b[3])]])
            inter = area(overlap)[0]
            union = area(a[None])[0] + area(b[None])[0] - inter
            result[n, m] = inter / union if union else 0
    return result
