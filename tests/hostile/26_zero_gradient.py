# tinyvision exercise: conv2d
# expected: WRONG_VALUE, 6 points
# A gradient that an absolute tolerance may take for right.
import numpy as np


def conv2d(x, weight, bias, stride, padding):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], (2, 3))
    return np.einsum("ncabij,ocij->noab", windows[:, :, ::stride, ::stride], weight) \
        + bias[:, None, None]


def conv2d_backward(g, x, weight, bias, stride, padding):
    return np.zeros_like(x), np.zeros_like(weight), np.zeros_like(bias)
