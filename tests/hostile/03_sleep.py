# tinyvision exercise: box_iou
# expected: TIMEOUT, 0 points
# Uses no processor time, so only a clock on the wall ends it.
import time


def box_iou(boxes1, boxes2):
    time.sleep(1e9)
