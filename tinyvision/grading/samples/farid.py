# tinyvision exercise: nms
# Never ends: a box that is kept is never removed from the list.
import numpy as np


def nms(boxes, scores, iou_threshold):
    left = list(np.argsort(-scores))
    keep = []
    while left:
        best = left[0]
        if best not in keep:
            keep.append(best)
        left = [i for i in left if i == best or i not in keep]
    return np.array(keep)
