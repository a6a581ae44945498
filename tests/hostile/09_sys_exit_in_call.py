# tinyvision exercise: box_iou
# expected: EXITED, 0 points, flagged
# Leaves when it is called.
import sys


def box_iou(boxes1, boxes2):
    sys.exit(0)
