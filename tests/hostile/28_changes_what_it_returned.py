# tinyvision exercise: convolutionize
# expected: OK, 10 points
# Each call spoils what the one before returned: answer and input, and the caller has both.
import numpy as np

returned = []


def convolutionize(weight, input_shape):
    while returned:
        returned.pop()[...] = -7
    view = weight.reshape(len(weight), *input_shape)
    returned.append(view)
    return view


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
    return slide(maps, weight.reshape(-1, C, U, V), 1) + bias[:, None, None]
