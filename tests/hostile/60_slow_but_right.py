# tinyvision exercise: conv2d
# expected: OK, 10 points
# Seven loops.
import numpy as np


def conv2d(x, weight, bias, stride, padding):
    (N, C, H, W), (O, _, I, J) = x.shape, weight.shape
    A, B = (H + 2 * padding - I) // stride + 1, (W + 2 * padding - J) // stride + 1
    y = np.zeros((N, O, A, B)) + bias[:, None, None]
    for n, o, a, b, c, i, j in np.ndindex(N, O, A, B, C, I, J):
        h, w = a * stride + i - padding, b * stride + j - padding
        if 0 <= h < H and 0 <= w < W:
            y[n, o, a, b] += weight[o, c, i, j] * x[n, c, h, w]
    return y


def conv2d_backward(g, x, weight, bias, stride, padding):
    (N, C, H, W), (O, _, I, J), (A, B) = x.shape, weight.shape, g.shape[2:]
    gx, gweight, gbias = (np.zeros(array.shape) for array in (x, weight, bias))
    for n, o, a, b in np.ndindex(N, O, A, B):
        gbias[o] += g[n, o, a, b]
        for c, i, j in np.ndindex(C, I, J):
            h, w = a * stride + i - padding, b * stride + j - padding
            if 0 <= h < H and 0 <= w < W:
                gx[n, c, h, w] += g[n, o, a, b] * weight[o, c, i, j]
                gweight[o, c, i, j] += g[n, o, a, b] * x[n, c, h, w]
    return gx, gweight, gbias
