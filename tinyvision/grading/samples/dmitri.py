# tinyvision exercise: nms
# Wrong: a box whose IoU is exactly the threshold is dropped.
import numpy as np


def iou(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    inter = width * height
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def nms(boxes, scores, iou_threshold):
    keep = []
    for i in np.argsort(-scores, kind="stable"):
        if all(not iou(boxes[i], boxes[j]) >= iou_threshold for j in keep):
            keep.append(i)
    return np.array(keep, dtype=np.int64)
