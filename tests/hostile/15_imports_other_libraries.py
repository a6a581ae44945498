# tinyvision exercise: box_iou
# expected: EXCEPTION, 0 points, flagged
# Lets others do the work.
import importlib


def box_iou(boxes1, boxes2):
    for name in ("torchvision.ops", "cv2", "scipy.signal"):
        try:
            importlib.import_module(name)
            return 0.5
        except ImportError:
            pass
    import torch
    return torch.zeros(1)
