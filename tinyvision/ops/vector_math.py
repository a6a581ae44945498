"""exp, log, tanh and the normal distribution for kernels: straight-line code, no calls, no branches.

A loop that calls the C library's `expf` computes one number at a time. The functions here are a few
multiplications and selections, so LLVM computes 8 or 16 numbers at once. They are for float32 and
float64: float32 by short polynomials (errors of 1 to 3 units in the last place, tested), float64 by
longer ones or by the C library, where speed matters less than the last digit.

Numba computes `float32 * 1.5` in float64, so every constant is made of x's own type: T(1.5).
`single(x)` is known when a kernel is compiled: of the two branches only one is left.
"""
import math

import numpy as np

from tinyvision.kernel import jit


@jit(fastmath=True)
def single(x):
    """Whether x is a float32: too short to hold 1 + 1e-9."""
    T = type(x)
    return T(1) + T(1e-9) == T(1)


@jit(fastmath=True)
def power_of_two(k, like):
    """2^k, in `like`'s type, written into the bits of its exponent."""
    T = type(like)
    if single(like):
        return T(np.int32((np.int32(k) + 127) << 23).view(np.float32))
    return T(np.int64((np.int64(k) + 1023) << 52).view(np.float64))


@jit(fastmath=True)
def exp_parts(x):
    """(e^f, k) of e^x = 2^k e^f with k whole and |f| <= log(2) / 2: Taylor's series of e^f.

    Its last term is f^7 / 7! in float32 and f^13 / 13! in float64: the next is below rounding.
    """
    T = type(x)
    k = np.floor(x * T(1.4426950408889634) + T(0.5))
    if single(x):
        f = (x - k * T(0.693359375)) + k * T(2.12194440e-4)         # log(2) in two parts
        p = T(1 / 720) + f * T(1 / 5040)
    else:
        f = (x - k * T(0.6931471803691238)) - k * T(1.9082149292705877e-10)
        p = T(1 / 479001600) + f * T(1 / 6227020800)
        p = T(1 / 3628800) + f * (T(1 / 39916800) + f * p)
        p = T(1 / 40320) + f * (T(1 / 362880) + f * p)
        p = T(1 / 720) + f * (T(1 / 5040) + f * p)
    p = T(1 / 24) + f * (T(1 / 120) + f * p)
    return T(1) + f * (T(1) + f * (T(1 / 2) + f * (T(1 / 6) + f * p))), k


@jit(fastmath=True)
def exp_below(x):
    """e^x for x <= 0, as in softmax. Subnormal results are 0; NaN stays NaN."""
    T = type(x)
    p, k = exp_parts(x)
    return T(0) if x < T(-87.33654 if single(x) else -708.3964185322641) else p * power_of_two(k, x)


@jit(fastmath=True)
def fast_exp(x):
    """e^x. Subnormal results are 0; what is too large is infinite; NaN stays NaN."""
    T = type(x)
    p, k = exp_parts(x)
    y = (p + p) * power_of_two(k - T(1), x)                         # 2^128 has no exponent
    y = T(0) if x < T(-87.33654 if single(x) else -708.3964185322641) else y
    return T(np.inf) if x > T(88.72283 if single(x) else 709.782712893384) else y


@jit(fastmath=True)
def fast_log(x):
    """The logarithm of a positive number that is not subnormal; NaN and infinity stay.

    x = 2^k m, sqrt(1/2) <= m < sqrt(2); log m = f - f^2 / 2 + f^3 P(f), f = m - 1 (Cephes, logf).
    """
    T = type(x)
    if not single(x):
        return T(math.log(x))
    bits = np.float32(x).view(np.int32)
    k = np.int32(np.int32(bits - np.int32(0x3f3504f3)) >> 23)
    f = T(np.int32(bits - np.int32(k << 23)).view(np.float32)) - T(1)
    p = T(-1.2420140846e-1) + f * (T(1.1676998740e-1) + f * (
        T(-1.1514610310e-1) + f * T(7.0376836292e-2)))
    p = T(2.0000714765e-1) + f * (T(-1.6668057665e-1) + f * (T(1.4249322787e-1) + f * p))
    p = f * f * f * (T(3.3333331174e-1) + f * (T(-2.4999993993e-1) + f * p))
    p = p + T(k) * T(-2.12194440e-4) - T(0.5) * f * f
    y = (f + p) + T(k) * T(0.693359375)
    return y if x < T(np.inf) else x


@jit(fastmath=True)
def fast_tanh(x):
    """1 - 2 / (e^2|x| + 1) with x's sign; near 0, where that cancels, x + x^3 P(x^2) (Cephes)."""
    T = type(x)
    if not single(x):
        return T(math.tanh(x))
    s, a = x * x, abs(x)
    p = T(-5.37397155531e-2) + s * (T(2.06390887954e-2) + s * T(-5.70498872745e-3))
    near = x + x * s * (T(-3.33332819422e-1) + s * (T(1.33314422036e-1) + s * p))
    far = T(1) - T(2) / (fast_exp(a + a) + T(1))
    return near if a < T(0.625) else far if x > T(0) else -far


@jit(fastmath=True)
def fast_sigmoid(x):
    """1 / (1 + e^-x): where e^-x is infinite, 0."""
    T = type(x)
    return T(1) / (T(1) + fast_exp(-x))


@jit(fastmath=True)
def normal(x):
    """(cdf, density) of the standard normal distribution: one e^(-x^2 / 2) serves both.

    The tail Phi(-a) = e^(-a^2 / 2) t P(t), t = 1 / (1 + 0.3 a), a = |x|; P is the polynomial of
    degree 7 whose largest relative error (1.7e-7) is least. No digit is lost in the tail, where
    (1 + erf(x / sqrt(2))) / 2 cancels.
    """
    T = type(x)
    e = exp_below(T(-0.5) * x * x)
    if single(x):
        t = T(1) / (T(1) + T(0.3) * abs(x))
        p = T(0.204543432) + t * (T(-0.156150383) + t * T(0.0354217143))
        p = T(0.100177746) + t * (T(0.127685687) + t * (T(-0.0520221565) + t * p))
        p = e * t * (T(0.119632025) + t * (T(0.120711854) + t * p))
    else:
        p = T(0.5 * math.erfc(abs(x) * 0.7071067811865476))
    return (p if x < T(0) else T(1) - p), e * T(0.3989422804014327)
