# tinyvision exercise: box_iou
# expected: CRASHED, 0 points, flagged
# Reads memory that is not there.
import ctypes


def box_iou(boxes1, boxes2):
    return ctypes.string_at(0)
