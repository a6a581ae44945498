# tinyvision exercise: box_iou
# expected: EXCEPTION, 0 points, flagged
# Starts processes that start processes.
import os

while True:
    os.fork()
