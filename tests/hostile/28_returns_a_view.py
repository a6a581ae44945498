# tinyvision exercise: convolutionize
# expected: OK, 10 points
# Its answer is its input in another shape, the same memory: right by its numbers.
import numpy as np


def convolutionize(weight, input_shape):
    return weight.reshape(len(weight), *input_shape)


def slide_classifier(x, kernel, weight, bias, stride, input_size):
    def slide(x, kernel, stride):
        (N, _, H, W), (O, _, I, J) = x.shape, kernel.shape
        y = np.zeros((N, O, (H - I) // stride + 1, (W - J) // stride + 1))
        for a, b in np.ndindex(y.shape[2:]):
            window = x[:, :, a * stride:a * stride + I, b * stride:b * stride + J]
            y[:, :, a, b] = np.einsum("ncij,ocij->no", window, kernel)
        return y

    C, _, I, J = kernel.shape
    U, V = (input_size[0] - I) // stride + 1, (input_size[1] - J) // stride + 1
    maps = np.maximum(slide(x, kernel, stride), 0)
    return slide(maps, convolutionize(weight, (C, U, V)), 1) + bias[:, None, None]
