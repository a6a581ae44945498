# tinyvision exercise: box_iou
# expected: TIMEOUT, 0 points, flagged
# A daemon that does not want to end.
import os
import signal
import time


def box_iou(boxes1, boxes2):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        pass
    while True:
        time.sleep(1)
