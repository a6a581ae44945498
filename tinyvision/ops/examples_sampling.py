"""Examples of sampling at chosen points, of regions with channels of their own, of recurrence."""
from __future__ import annotations

import numpy as np

from tinyvision import ops
from tinyvision.ops.example import Example


def points(r, *shape):
    """Numbers from -1.4 to 1.4; in images of 5 and 7 pixels they keep away from pixels' centres."""
    eighths = r.whole(28, *shape) / 10 - 1.37                # steps of 0.1, none a kink
    return (eighths + 0.02 * r.rng.uniform(-0.5, 0.5, shape)).astype(r.dtype)


def grids(r):
    """grid_sample and affine_grid."""
    x, grid = r.normal(2, 3, 5, 7), points(r, 2, 4, 6, 2)
    for padding in ("zeros", "border", "reflection"):
        for corners in (False, True):
            yield Example("grid_sample", f"{padding}, align_corners={corners}",
                          lambda x, g, p=padding, c=corners: ops.grid_sample(
                              x, g, "bilinear", p, c), (x, grid), linear_in=(0,))
    yield Example("grid_sample", "nearest", lambda x, g: ops.grid_sample(x, g, "nearest"),
                  (x, grid), linear_in=(0,), wrt=(0,))
    yield Example("grid_sample", "many channels", ops.grid_sample,
                  (r.normal(1, 37, 5, 7), points(r, 1, 2, 3, 2)), linear_in=(0,))
    yield Example("affine_grid", "", lambda t: ops.affine_grid(t, (2, 3, 4, 5)),
                  (r.normal(2, 2, 3),), linear_in=(0,))


def deformable(r):
    """multi_scale_deformable_attention on two levels."""
    N, M, D, Q, P, levels = 2, 3, 5, 4, 6, ((5, 7), (2, 3))
    value, where = r.normal(N, 41, M, D), (points(r, N, Q, M, 2, P, 2) + 1) / 2
    yield Example("multi_scale_deformable_attention", "",
                  lambda v, x, a: ops.multi_scale_deformable_attention(v, levels, x, a),
                  (value, where.astype(r.dtype), r.positive(N, Q, M, 2, P)), linear_in=(0, 2))


def corners(r):
    """corner_pool, in all directions."""
    x = r.distinct(2, 3, 5, 7)
    for direction in ("top", "bottom", "left", "right"):
        yield Example("corner_pool", direction, lambda x, d=direction: ops.corner_pool(x, d), (x,),
                      linear_in=(0,))
    yield Example("corner_pool", "ties", lambda x: ops.corner_pool(x, "left").data,
                  (np.round(x),), wrt=())


def sensitive_regions(r):
    """ps_roi_pool and ps_roi_align."""
    x, rois, linear = r.normal(2, 24, 11, 9), r.rois(5, 2, 11, 9), {"linear_in": (0,), "wrt": (0,)}
    yield Example("ps_roi_pool", "", lambda x, b: ops.ps_roi_pool(x, b, (4, 2)), (x, rois),
                  **linear)
    yield Example("ps_roi_pool", "scale", lambda x, b: ops.ps_roi_pool(x, b, (2, 3), 0.7),
                  (x, rois), **linear)
    for ratio in (-1, 3):
        yield Example("ps_roi_align", f"sampling_ratio={ratio}",
                      lambda x, b, n=ratio: ops.ps_roi_align(x, b, (4, 2), 0.8, n), (x, rois),
                      **linear)


def embeddings(r):
    """embedding, with words that occur twice and some that do not."""
    table, ids = r.normal(7, 5), np.array([[3, 0, 3], [6, 3, 1]])
    yield Example("embedding", "", lambda w: ops.embedding(ids, w), (table,), linear_in=(0,))
    yield Example("embedding", "padding", lambda w: ops.embedding(ids, w, -1), (table,), wrt=())


def recurrence(r):
    """The cells."""
    N, I, H = 2, 3, 5
    for name, gates in (("rnn_tanh_cell", 1), ("lstm_cell", 4), ("gru_cell", 3)):
        x, state, G = r.normal(N, I), (r.normal(N, H),) * (1 + (gates == 4)), gates * H
        arguments = r.normal(G, I), r.normal(G, H), r.normal(G), r.normal(G)
        yield Example(name, "", _cell(getattr(ops, name), len(state)), (x, *state, *arguments))
    yield Example("rnn_relu_cell", "no bias", ops.rnn_relu_cell,
                  (r.positive(N, I), r.positive(N, H), r.positive(H, I), r.positive(H, H)))


def _cell(cell, states):
    """The cell as a function of tensors that gives one tensor."""
    if states == 1:
        return cell
    return lambda x, h, c, *weights: ops.cat(cell(x, (h, c), *weights), -1)


GROUPS = (grids, deformable, corners, sensitive_regions, embeddings, recurrence)
