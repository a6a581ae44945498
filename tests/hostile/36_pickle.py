# tinyvision exercise: box_iou
# expected: BAD_RESULT, 0 points, flagged
# Sends bytes that would run a command if they were unpickled.
import os
import pickle
import sys

main = sys.modules["inside.answering"]


class Payload:
    def __reduce__(self):
        return os.system, ("touch /tmp/tinyvision-owned",)


def describe(value, blobs, cap):
    blobs.append(pickle.dumps(Payload()))
    return {"type": "ndarray", "dtype": "|O", "shape": [1], "plain": True, "blob": 0}


def box_iou(boxes1, boxes2):
    main.describe = describe
    return boxes1
