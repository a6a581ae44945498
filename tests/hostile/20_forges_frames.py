# tinyvision exercise: box_iou
# expected: BAD_RESULT, 0 points, flagged
# Writes to every open file: a frame of four gigabytes.
import os


def box_iou(boxes1, boxes2):
    for fd in range(3, 64):
        try:
            os.write(fd, b"\xff" * 64)
        except OSError:
            pass
    return boxes1
