# tinyvision exercise: box_iou
# expected: CRASHED, 0 points
# Overflows the interpreter's own stack.
import faulthandler


def box_iou(boxes1, boxes2):
    faulthandler._stack_overflow()
