# tinyvision exercise: box_iou
# expected: EXCEPTION, 0 points, flagged
# Starts threads until there are no more.
import threading
import time


def box_iou(boxes1, boxes2):
    while True:
        threading.Thread(target=time.sleep, args=(99,)).start()
