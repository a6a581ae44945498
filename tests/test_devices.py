"""Arrays of two devices are refused in one sentence that names function and arguments."""
import numpy as np
import pytest

import tinyvision as tv
from tinyvision import ops


class OnGpu:
    """Passes for a CuPy array, to see what mixed devices give without a GPU."""
    __cuda_array_interface__ = {}

    def __init__(self, *shape, dtype=np.float32):
        self.shape, self.dtype, self.ndim = shape, np.dtype(dtype), len(shape)
        self.size = int(np.prod(shape))


def here(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize("call, words", [
    (lambda: ops.conv2d(here(1, 2, 5, 5), OnGpu(3, 2, 2, 2)), "conv2d: x on cpu, weight on gpu"),
    (lambda: ops.conv2d(here(1, 2, 5, 5), here(3, 2, 2, 2), OnGpu(3)), "conv2d: .*bias on gpu"),
    (lambda: ops.conv_transpose2d(OnGpu(1, 2, 5, 5), here(2, 3, 2, 2)), "conv_transpose2d: x on gpu"),
    (lambda: ops.matmul(here(2, 3), OnGpu(3, 4)), "matmul: a on cpu, b on gpu"),
    (lambda: ops.linear(here(2, 3), here(4, 3), OnGpu(4)), "linear: .*bias on gpu"),
    (lambda: ops.batch_norm(here(2, 3), OnGpu(3), OnGpu(3)), "batch_norm: .*running_mean on gpu"),
    (lambda: ops.cross_entropy(OnGpu(2, 3), np.zeros(2, int)), "cross_entropy: input on gpu"),
    (lambda: ops.max_unpool2d(here(1, 1, 2, 2), OnGpu(1, 1, 2, 2, dtype=int), 2),
     "max_unpool2d: x on cpu, indices on gpu"),
    (lambda: (tv.Tensor(here(2), requires_grad=True) * 2.0).backward(OnGpu(2)),
     "backward: the cotangent is on gpu")])
def test_two_devices_are_refused(call, words):
    with pytest.raises(tv.DeviceError, match=words):
        call()


@pytest.mark.parametrize("name, more", [("relu", ()), ("softmax", (1,)), ("max_pool2d", (2,)),
                                        ("interpolate", (9,)), ("conv2d", (np.ones((2, 3, 3, 3)),))])
def test_numbers_of_the_other_byte_order_are_the_same_numbers(name, more):
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8), np.float32)
    swapped = x.astype(x.dtype.newbyteorder())
    more = tuple(m.astype("f4") if isinstance(m, np.ndarray) else m for m in more)
    got, expected = (getattr(tv.ops, name)(a, *more).numpy() for a in (swapped, x))
    np.testing.assert_array_equal(got, expected)
    assert got.dtype.isnative and tv.Tensor(swapped).dtype == np.float32
