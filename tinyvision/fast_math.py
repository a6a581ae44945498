"""Arithmetic that is faster and less exact, for those who ask for it.

    tv.set_fast_math(winograd=True)            # from here on, in this process
    with tv.use_fast_math(winograd=True):      # in this block
        y = model(x)
    tv.get_fast_math().winograd                # which of them holds now
"""
from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class FastMath:
    """What is allowed.

    Attributes:
        winograd: 3 x 3 convolutions by Winograd's method (see `set_fast_math`).
    """
    winograd: bool = False


_now = FastMath()


def get_fast_math() -> FastMath:
    """What is allowed now; at first nothing is."""
    return _now


def set_fast_math(*, winograd: bool | None = None) -> None:
    """Allow or forbid arithmetic that is faster and less exact, in the whole process.

    Args:
        winograd: on the CPU in float32, convolutions and transposed convolutions with 3 x 3
            filters, stride 1, dilation 1 and groups 1 may be computed by Winograd's F(4 x 4, 3 x 3)
            where that pays: 4 times fewer multiplications, 0.4 to 0.85 of the time, half a dozen
            times the error. On random images and filters it is at most 1e-5 of the largest result
            (measured: 5e-6; the usual way 1e-6); where results are small because large products
            cancel, both ways lose more. An infinity or NaN spoils the whole 4 x 4 tiles of results
            that it touches, and results within a factor of 100 of float32's largest may overflow.
            See `tinyvision/ops/conv2d_winograd.py`.
            None leaves it as it is.

    Raises:
        TypeError: a value that is neither True, False nor None.
    """
    global _now
    if not (winograd is None or isinstance(winograd, bool)):
        raise TypeError(f"set_fast_math: winograd is {winograd!r}, expected True or False")
    if winograd is not None:
        _now = replace(_now, winograd=winograd)


@contextlib.contextmanager
def use_fast_math(*, winograd: bool | None = None):
    """`set_fast_math` inside the block (in the whole process, too); then as it was before."""
    global _now
    before = _now
    set_fast_math(winograd=winograd)
    try:
        yield
    finally:
        _now = before
