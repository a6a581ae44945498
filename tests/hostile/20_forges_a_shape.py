# tinyvision exercise: box_iou
# expected: BAD_RESULT, 0 points, flagged
# Claims an array of seven terabytes.
import sys

main = sys.modules["inside.answering"]


def claim(value, blobs, cap):
    blobs.append(b"")
    return {"type": "ndarray", "dtype": "<f8", "shape": [10**6, 10**6], "plain": True, "blob": 0}


def box_iou(boxes1, boxes2):
    main.describe = claim
    return boxes1
