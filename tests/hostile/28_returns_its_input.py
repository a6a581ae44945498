# tinyvision exercise: conv2d
# expected: WRONG_VALUE, 0 points
# What it got is what it gives.
def conv2d(x, weight, bias, stride, padding):
    return x


def conv2d_backward(g, x, weight, bias, stride, padding):
    return x, weight, bias
