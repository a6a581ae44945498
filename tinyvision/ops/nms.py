"""Non-maximum suppression: of boxes that overlap, keep the one with the highest score.

    while boxes are left: keep the best; drop the others whose IoU with it is > threshold

The order is by decreasing score, ties by lower index; a NaN score counts as minus infinity. IoU is
`box_iou`'s, bit for bit, compared in the dtype of the boxes: exactly at the threshold is kept, on
every device. (A product, inter > threshold * union, would not do: 1 > (1/49) * 49 in float64.)
Boxes without a positive finite area have IoU 0 with everything: they suppress nothing and are
never suppressed; remove them first where that is not meant.
Lectures: K11; Girshick et al. 2014; Soft-NMS: Bodla et al. 2017.
"""
from __future__ import annotations

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import device_of, module_of, to_device
from tinyvision.engine import as_array
from tinyvision.kernel import Kernel, jit
from tinyvision.ops import nms_fast
from tinyvision.ops.box_iou import IOU, as_boxes, box_iou, iou, pair_iou
from tinyvision.ops.check import same_device


def nms(boxes, scores, iou_threshold):
    """The boxes that greedy suppression keeps.

    Args:
        boxes: (N, 4).
        scores: (N,).
        iou_threshold: boxes with IoU strictly greater than this are dropped; from 0 to 1.

    Returns:
        int64 indices of the kept boxes, by decreasing score. Like `torchvision.ops.nms`.

    Raises:
        ValueError: another shape, another number of scores, a threshold outside [0, 1].
        DeviceError: arrays of two devices.
    """
    boxes, scores = _scored("nms", boxes, scores, iou_threshold=iou_threshold)
    return _greedy(boxes, scores, module_of(boxes).zeros(len(boxes), np.int64), iou_threshold)


def batched_nms(boxes, scores, idxs, iou_threshold):
    """nms within each class: boxes of different classes never suppress each other.

    Args:
        boxes, scores, iou_threshold: as in `nms`.
        idxs: (N,) integers, the class of each box (or its image, or its level).

    Returns:
        int64 indices of the kept boxes of all classes, by decreasing score. Classes are compared,
        boxes are not shifted apart (which costs torchvision the low bits of the coordinates).

    Raises:
        ValueError, DeviceError: as in `nms`.
        TypeError: idxs that are not integers.
    """
    boxes, scores = _scored("batched_nms", boxes, scores, iou_threshold=iou_threshold)
    if isinstance(idxs, list):                               # as_array would make it floating
        idxs = np.asarray(idxs, None if idxs else np.int64)
    idxs = as_array(idxs)
    same_device("batched_nms", boxes=boxes, idxs=idxs)
    if idxs.shape != scores.shape:
        raise ValueError(f"batched_nms: idxs has shape {idxs.shape}, expected {scores.shape}, "
                         "one for each box")
    if idxs.dtype.kind not in "iub":
        raise TypeError(f"batched_nms: idxs is {idxs.dtype}, expected integers")
    return _greedy(boxes, scores, idxs.astype(np.int64), iou_threshold)


def soft_nms(boxes, scores, sigma=0.5, score_threshold=0.001, method="gaussian",
             iou_threshold=0.3):
    """Soft-NMS: a box that overlaps a better one loses score, not its life.

    Args:
        boxes: (N, 4).
        scores: (N,).
        sigma: gaussian: every other score is multiplied by exp(-IoU^2 / sigma).
        score_threshold: it ends when no score is at least this.
        method: "gaussian", or "linear": scores with IoU >= iou_threshold are multiplied by
            1 - IoU.
        iou_threshold: for "linear"; from 0 to 1.

    Returns:
        (indices, new scores): int64 (L,) in the order in which they were taken, which is that of
        the new scores, decreasing; ties by lower index, NaN never. Bodla et al. 2017, Eq. 2 and 3.

    Raises:
        ValueError: as in `nms`; another method; a sigma that is not positive.
    """
    boxes, scores = _scored("soft_nms", boxes, scores, iou_threshold=iou_threshold)
    if method not in ("gaussian", "linear"):
        raise ValueError(f'soft_nms: method is {method!r}, expected "gaussian" or "linear"')
    if not sigma > 0:
        raise ValueError(f"soft_nms: sigma is {sigma}, expected more than 0")
    xp, scores, taken = module_of(boxes), scores.copy(), []
    left = xp.flatnonzero(~xp.isnan(scores))
    while len(left):
        best = int(left[scores[left].argmax()])
        if scores[best] < score_threshold:
            break
        taken.append(best)
        left = left[left != best]
        overlap = box_iou(boxes[best:best + 1], boxes[left])[0]
        scores[left] *= (xp.exp(-overlap**2 / sigma) if method == "gaussian" else
                         xp.where(overlap >= iou_threshold, 1 - overlap, 1))
    taken = xp.asarray(taken, np.int64)
    return taken, scores[taken]


def _scored(name, boxes, scores, iou_threshold):
    """The boxes and scores, checked, as floating arrays."""
    boxes, = as_boxes(name, boxes=boxes)
    scores = as_array(scores)
    same_device(name, boxes=boxes, scores=scores)
    if scores.shape != (len(boxes),):
        raise ValueError(f"{name}: scores has shape {scores.shape}, expected ({len(boxes)},), "
                         "one for each box")
    if scores.dtype.kind not in "fiu":
        raise TypeError(f"{name}: scores is {scores.dtype}, expected real numbers")
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f"{name}: iou_threshold is {iou_threshold}, expected 0 to 1")
    return boxes, scores if scores.dtype.kind == "f" else scores.astype(np.float64)


def _greedy(boxes, scores, classes, threshold):
    """Sort, suppress, and name the survivors by their place before the sort."""
    xp = module_of(boxes)
    order = xp.argsort(xp.where(xp.isnan(scores), np.inf, -scores), kind="stable")
    keep = xp.empty(len(boxes), bool)
    nms_kernel(boxes[order], classes[order], boxes.dtype.type(threshold), keep)
    return order[keep].astype(np.int64)


# --- the kernels ----------------------------------------------------------------------------------
@Kernel
def nms_kernel(boxes, classes, threshold, keep):
    """keep[n]: no kept box before n, of its class, overlaps it by more than the threshold.

    boxes (N, 4) are sorted by decreasing score.
    """
    for n in range(len(boxes)):
        keep[n] = not any(keep[m] and classes[m] == classes[n] and
                          iou(boxes[m], boxes[n]) > threshold for m in range(n))


@nms_kernel.variant("cpu_loops")
def _(boxes, classes, threshold, keep):
    keep[:] = True
    for n in range(len(boxes)):
        if keep[n]:
            for m in range(n + 1, len(boxes)):
                if keep[m] and classes[m] == classes[n] and \
                        pair_iou(boxes[n], boxes[m]) > threshold:
                    keep[m] = False


nms_kernel.python("cpu", nms_fast.nms)


@nms_kernel.gpu        # a thread owns 64 bits: which of 64 boxes does box n suppress? Then one scan
def _(boxes, classes, threshold, keep):
    N, words = len(boxes), -(-len(boxes) // 64)
    mask = module_of(boxes).zeros((N, words), np.uint64)
    per_element(mask, """
        int n = i / words, first = i % words * 64, last = min(first + 64, N);
        for (int m = max(first, n + 1); m < last; ++m)
            if (classes[m] == classes[n] && iou(boxes + 4 * n, boxes + 4 * m) > threshold)
                out |= T(1) << (m - first);""",
                IOU, boxes=boxes, classes=classes, threshold=threshold, N=N, words=words)
    kept = np.zeros(N, bool)
    scan(to_device(mask, "cpu"), kept)
    keep[:] = to_device(kept, device_of(keep))


@jit(allocates=True)
def scan(mask, keep):
    """Walk down the sorted boxes; each that is still there removes what its row of bits says."""
    N, words = mask.shape
    removed = np.zeros(words, np.uint64)
    for n in range(N):
        if not removed[n // 64] >> np.uint64(n % 64) & np.uint64(1):
            keep[n] = True
            for k in range(n // 64, words):
                removed[k] |= mask[n, k]
