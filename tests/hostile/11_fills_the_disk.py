# tinyvision exercise: box_iou
# expected: DISK_LIMIT, 0 points, flagged
# Fills /dev/shm and the temporary folder.
import os
import tempfile


def fill(folder):
    for i in range(10**6):
        with open(os.path.join(folder, f"full-{i}"), "wb") as stream:
            stream.write(bytes(1 << 20))


def box_iou(boxes1, boxes2):
    try:
        fill("/dev/shm")
    except OSError:
        fill(tempfile.gettempdir())
