# tinyvision exercise: conv2d
# Wrong: the kernel is flipped. The gradients are not written yet.
import numpy as np


def conv2d(x, weight, bias, stride, padding):
    N, C, H, W = x.shape
    O, _, I, J = weight.shape
    A, B = (H + 2 * padding - I) // stride + 1, (W + 2 * padding - J) // stride + 1
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    y = np.zeros((N, O, A, B))
    for a in range(A):
        for b in range(B):
            window = padded[:, :, a * stride:a * stride + I, b * stride:b * stride + J]
            for o in range(O):
                y[:, o, a, b] = (window * weight[o, :, ::-1, ::-1]).sum((1, 2, 3)) + bias[o]
    return y
