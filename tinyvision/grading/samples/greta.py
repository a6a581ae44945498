# tinyvision exercise: conv2d
# Crashes the interpreter: reads memory that is not there.
import ctypes


def conv2d(x, weight, bias, stride, padding):
    return ctypes.string_at(0)


def conv2d_backward(g, x, weight, bias, stride, padding):
    raise NotImplementedError("<b>to be done</b>")
