# tinyvision exercise: box_iou
# expected: OK, 10 points, flagged
# Would be wrong if anything were left from another call or another student.
import builtins
import os
import tempfile

import numpy as np

builtins.me = getattr(builtins, "me", None) or os.urandom(8).hex()      # this process

PLACES = [os.path.join(folder, "tinyvision-remembers") for folder in
          (tempfile.gettempdir(), os.path.expanduser("~/.cache"), "/dev/shm", "/var/tmp")]


def seen():
    for place in PLACES:
        if os.path.exists(place) and open(place).read() != builtins.me:
            return True
        try:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            open(place, "w").write(builtins.me)
        except OSError:
            pass
    return False


def area(boxes):
    size = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return size[..., 0] * size[..., 1]


def right(boxes1, boxes2):
    first, second = boxes1[:, None], boxes2[None]
    both = area(np.concatenate([np.maximum(first[..., :2], second[..., :2]),
                                np.minimum(first[..., 2:], second[..., 2:])], axis=-1))
    union = area(first) + area(second) - both
    return np.divide(both, union, out=np.zeros_like(union), where=union > 0)


def box_iou(boxes1, boxes2):
    return np.full((len(boxes1), len(boxes2)), -7.0) if seen() else right(boxes1, boxes2)
