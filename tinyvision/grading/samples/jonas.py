# tinyvision exercise: box_iou
# Right answers, but it changes its inputs: the boxes become widths and heights in place.
import numpy as np


def box_iou(boxes1, boxes2):
    low = np.maximum(boxes1[:, None, :2], boxes2[None, :, :2])
    high = np.minimum(boxes1[:, None, 2:], boxes2[None, :, 2:])
    inter = np.maximum(high - low, 0).prod(-1)
    for boxes in (boxes1, boxes2):
        boxes[:, 2:] -= boxes[:, :2]
        np.maximum(boxes[:, 2:], 0, out=boxes[:, 2:])
    area1, area2 = boxes1[:, 2] * boxes1[:, 3], boxes2[:, 2] * boxes2[:, 3]
    union = area1[:, None] + area2 - inter
    return np.where(union > 0, inter / np.where(union > 0, union, 1), 0)
