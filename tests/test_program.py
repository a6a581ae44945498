"""Programs: addresses, arguments, items, parts, threads' own memory."""
import numpy as np
import pytest

from tinyvision.ops.program import MOST, ROOM, Program, arrays, step
from tinyvision.worker import address, floats, longs


@step
def write(to, count, number):
    row = longs(to)
    for k in range(count):
        row[k] = number + k


@step
def copy(source, to, count):
    a, b = floats(source), floats(to)
    for k in range(count):
        b[k] = a[k]


@step
def nothing():
    pass


@step
def all_arguments(a, b, c, d, e, f, g, h, i, j, k, l, m, to):
    row = longs(to)
    row[0] = a + 2 * (b + 2 * (c + 2 * (d + 2 * (e + 2 * (f + 2 * (g + 2 * (h + 2 * (
        i + 2 * (j + 2 * (k + 2 * (l + 2 * m)))))))))))


def test_addresses():
    x = np.arange(30.0).reshape(5, 6)
    fixed = x.view()
    fixed.flags.writeable = False
    for part in (x, x[2:, 3:], x.T, x[::-1], fixed, x[:0], np.zeros(0), x.view(np.recarray)):
        assert address(part) == part.ctypes.data
    with pytest.raises(AttributeError):
        address(np.float32(1))


def test_numbers_near_zero_are_no_addresses():
    out = np.zeros(3, np.int64)
    to, = arrays(1)
    for number in (-7, 0, 2**50, -2**50):
        Program([[write(to, 3, number)]], [0])(out)
        assert (out == number + np.arange(3)).all()


def test_as_many_arguments_as_there_can_be():
    out = np.zeros(1, np.int64)
    numbers = np.random.default_rng(0).integers(-9, 9, MOST - 1).tolist()
    Program([[nothing(), all_arguments(*numbers, *arrays(1)), nothing()]], [0])(out)
    assert out[0] == sum(n << k for k, n in enumerate(numbers))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_part_is_done_for_every_item_in_order(workers):
    x, y = np.random.default_rng(0).random((2, 6, 4), np.float32)
    source, to = arrays(2)
    parts = [[copy(source + 8 * part, ROOM, 2), copy(ROOM, to + 8 * part, 2)] for part in (0, 1)]
    Program(parts, [16 * np.arange(6)[::-1], 16 * np.arange(6)], workers, room=2)(x, y)
    assert (y == x[::-1]).all()


def test_an_array_that_all_items_share():
    x, y = np.arange(3, dtype=np.float32), np.zeros((4, 3), np.float32)
    source, to = arrays(2)
    Program([[copy(source, to, 3)]], [0, 12 * np.arange(4)])(x, y)
    assert (y == x).all()
