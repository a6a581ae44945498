"""The arguments that all operations on regions of interest share, checked."""
from __future__ import annotations

import numpy as np

from tinyvision.device import module_of
from tinyvision.engine import as_array
from tinyvision.ops.check import pair, rank, same_device


def region_arguments(name, input, boxes, output_size, spatial_scale):
    """(the input's array, the RoIs (K, 5) in its dtype, (P, Q)).

    Args:
        name: the operation, for the errors.
        input, boxes, output_size, spatial_scale: as `roi_pool` has them.

    Raises:
        ValueError, TypeError, DeviceError: as `roi_pool` says.
    """
    x = as_array(input)
    rank(name, input=(x, 4))
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name}: input is {x.dtype}, expected float32 or float64")
    if not 0 < spatial_scale < np.inf:
        raise ValueError(f"{name}: spatial_scale is {spatial_scale}, expected more than 0")
    size = pair(name, "output_size", output_size, 1)
    if isinstance(boxes, (list, tuple)):
        return x, _numbered(name, boxes, x), size
    rois = as_array(boxes)
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise ValueError(f"{name}: boxes has shape {rois.shape}, expected (K, 5) with the image's "
                         "index first, or a list of (L, 4), one for each image")
    rois = _real(name, "boxes", rois, x)
    n = rois[:, 0]
    if not (known := (n >= 0) & (n < len(x)) & (n % 1 == 0)).all():
        raise ValueError(f"{name}: boxes names image {float(n[~known][0]):g}, "
                         f"expected a whole number below {len(x)}, the number of images")
    return x, rois, size


def _numbered(name, boxes, x):
    """A list of (L, 4), one for each image, as one array (K, 5)."""
    if len(boxes) != len(x):
        raise ValueError(f"{name}: boxes is a list of {len(boxes)}, "
                         f"expected one array (L, 4) for each of {len(x)} images")
    xp, parts = module_of(x), [module_of(x).zeros((0, 5), x.dtype)]
    for n, b in enumerate(map(as_array, boxes)):
        if b.shape != (0,) and (b.ndim != 2 or b.shape[1] != 4):
            raise ValueError(f"{name}: boxes[{n}] has shape {b.shape}, expected (L, 4)")
        b = _real(name, f"boxes[{n}]", b, x).reshape(-1, 4)
        parts.append(xp.concatenate([xp.full((len(b), 1), n, x.dtype), b], 1))
    return xp.concatenate(parts)


def _real(name, argument, boxes, x):
    """`boxes` in x's dtype, if they are sane numbers and on its device."""
    same_device(name, input=x, **{argument: boxes})
    if boxes.dtype.kind not in "fiu":
        raise TypeError(f"{name}: {argument} is {boxes.dtype}, expected real numbers")
    if boxes.size and not abs(boxes).max() < 2**24:
        raise ValueError(f"{name}: {argument} has coordinates up to {float(abs(boxes).max()):g}, "
                         "expected finite numbers below 2^24")
    return boxes.astype(x.dtype)
