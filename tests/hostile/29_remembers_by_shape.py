# tinyvision exercise: conv2d
# expected: NONDETERMINISTIC, 4 points
# The second image of a size gets the first one's answer.
import numpy as np

known = {}


def right(x, weight, bias, stride, padding):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], (2, 3))
    return np.einsum("ncabij,ocij->noab", windows[:, :, ::stride, ::stride], weight) \
        + bias[:, None, None]


def conv2d(x, weight, bias, stride, padding):
    if x.shape not in known:
        known[x.shape] = right(x, weight, bias, stride, padding)
    return known[x.shape]


def conv2d_backward(g, x, weight, bias, stride, padding):
    (H, W), (I, J) = x.shape[2:], weight.shape[2:]
    border = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded, gweight = np.pad(x, border), np.zeros(weight.shape)
    gpadded = np.zeros(padded.shape)
    for a, b in np.ndindex(g.shape[2:]):
        here = np.s_[:, :, a * stride:a * stride + I, b * stride:b * stride + J]
        gpadded[here] += np.einsum("no,ocij->ncij", g[:, :, a, b], weight)
        gweight += np.einsum("no,ncij->ocij", g[:, :, a, b], padded[here])
    return gpadded[:, :, padding:padding + H, padding:padding + W], gweight, g.sum((0, 2, 3))
