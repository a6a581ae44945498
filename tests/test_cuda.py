"""CUDA text on the host: what a GPU leaves undefined is caught; every barrier is needed; the rungs.

Where there is a device, the same kernels run on it, are checked, and are timed against the floor.
"""
import contextlib
import ctypes
import inspect
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import gpu_cases
import numpy as np
import pytest

from tinyvision import cuda
from tinyvision.cuda import KernelError, launch
from tinyvision.kernel import KERNELS
from tinyvision.ops import (batch_norm_cuda, conv2d_cuda, layer_norm_cuda, nms_cuda, roi_align_cuda,
                            roi_pool_cuda)
from tinyvision.ops.roi_align import reach

pytestmark = pytest.mark.skipif(cuda.compiler() is None,
                                reason="no C++ compiler: CUDA text was not run on the host")

REVERSE = """extern "C" __global__ void kernel(const real *x, real *y, int N) {
  __shared__ real tile[64];
  int t = threadIdx.x;
  if (t < N) tile[t] = x[t];
  __syncthreads();
  if (t < N) y[t] = tile[N - 1 - t];
}"""


def run(text=REVERSE, N=40, threads=64, dtype="float32", **arguments):
    """The kernel on 0, 1, 2, ...; its y."""
    y = np.full(N, 77, dtype)
    launch(text, (1,), (threads,), x=np.arange(N, dtype=dtype), y=y, N=N, **arguments)
    return y


def changed(old, new, text=REVERSE):
    assert old in text
    return text.replace(old, new)


# --- what works, and what is caught ---------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_work_together(dtype):
    assert (run(dtype=dtype) == np.arange(40)[::-1]).all()


@pytest.mark.parametrize("old, new, what", [
    ("y[t] =", "y[t + 1] =", "outside of y"),
    ("y[t] =", "y[t - 1] =", "outside of y"),
    ("tile[64]", "tile[20]", "outside its array"),
    ("  __syncthreads();", "  if (t < N) __syncthreads();", "line 5.*waits at a barrier"),
    ("  __syncthreads();", "  if (t < N) { __syncthreads(); } else {\n __syncthreads(); }",
     "waits at a barrier"),
    ("x[t];", "x[t] + __shfl_sync(0xffffffff, t, 0);", "line 4.*waits for its warp"),
    ("x[t];", "x[t] / ((N + t) / t);", "thread .0, 0, 0.*divided by 0"),
    ("x[t];", "x[t] + (t * 2147483647 + N);", "overflows"),
    ("x[t];", "x[t] + ((const double *)(x + 1))[0];", "not aligned"),
])
def test_what_a_gpu_leaves_undefined_is_reported(old, new, what):
    with pytest.raises(KernelError, match=what):
        run(changed(old, new))


def test_a_missing_barrier_reads_nan_and_depends_on_the_order():
    text = changed("__syncthreads();", "")
    with cuda.backwards():
        other = run(text)
    assert np.isnan(run(text)).any() and not np.array_equal(run(text), other, equal_nan=True)


def test_reading_beyond_an_array_gives_nan():
    assert np.isnan(run(changed("tile[t] = x[t]", "tile[t] = x[t + 1]"))[0])


def test_blocks_start_with_fresh_shared_memory():
    text = changed("if (t < N) tile[t] = x[t];", "if (blockIdx.x == 0) tile[t] = x[t % N];")
    y = np.empty(40, "f4")
    launch(text, (2,), (64,), x=np.arange(40, dtype="f4"), y=y, N=40)
    assert np.isnan(y).all()


def test_dynamic_shared_memory_has_its_size():
    text = changed("__shared__ real tile[64]", "extern __shared__ real tile[]")
    assert (run(text, shared=160) == np.arange(40)[::-1]).all()
    with pytest.raises(KernelError, match="beyond shared memory"):
        run(text, shared=156)


@pytest.mark.parametrize("arguments, what", [
    ({"N": 3}, "has the parameters"), ({"x": np.zeros(3)}, "x is double .*float"),
    ({"x": np.zeros(3, "i4")}, "x is int .*float"), ({"N": np.zeros(3, "i4")}, "N is int .*int")])
def test_arguments_must_be_the_parameters(arguments, what):
    given = {"y": np.zeros(3, "f4"), "x": np.zeros(3, "f4"), "N": 3}
    given = arguments if "has" in what else {**given, **arguments}
    with pytest.raises(TypeError, match=what):
        launch(REVERSE, (1,), (32,), **given)


def test_parameters_may_be_volatile_or_restricted():
    text = changed("const real *x, real *y", "const real *__restrict__ x, volatile real *y")
    assert np.array_equal(run(text), np.arange(40)[::-1])


def test_text_that_does_not_compile_is_reported():
    with pytest.raises(KernelError, match="(?s)refused.*missing"):
        run(changed("x[t]", "missing[t]"))


def test_ballot_and_shuffles():
    text = """extern "C" __global__ void kernel(const real *x, real *y, int N) {
      int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
      unsigned odd = __ballot_sync(0xffffffff, int(x[threadIdx.x]) % 2);
      real below = __shfl_up_sync(0xffffffff, x[threadIdx.x], 1);
      real swapped = __shfl_xor_sync(0xffffffff, x[threadIdx.x], 3);
      y[threadIdx.x] = __popc(odd) + 100 * below + 10000 * swapped + warp * 0 + lane * 0;
    }"""
    k = np.arange(64)
    below = np.where(k % 32 == 0, k, k - 1)
    assert (run(text, 64) == 16 + 100 * below + 10000 * (k ^ 3)).all()


# --- CUDA's own functions -------------------------------------------------------------------------
def wrapped(number, dtype):
    """A whole number as one of this type, as hardware makes it."""
    bits = 8 * np.dtype(dtype).itemsize
    number = int(number) % 2**bits
    return number - 2**bits if np.dtype(dtype).kind == "i" and number >= 2**(bits - 1) else number


BITS = {"And": lambda old, v: old & v, "Or": lambda old, v: old | v, "Xor": lambda old, v: old ^ v,
        "Min": min, "Max": max}
SUMS = {"Add": lambda old, v: old + v, "Exch": lambda old, v: v}
AFTER = {                                  # (type, name): what is there afterwards
    **{(kind, name): after for kind in ("i4", "u4", "i8", "u8") for name, after in BITS.items()},
    **{(kind, name): after for kind in ("i4", "u4", "u8", "f4") for name, after in SUMS.items()},
    ("f8", "Add"): SUMS["Add"],
    **{(kind, "Sub"): lambda old, v: old - v for kind in ("i4", "u4")},
    ("u4", "Inc"): lambda old, v: 0 if old >= v else old + 1,
    ("u4", "Dec"): lambda old, v: v if old == 0 or old > v else old - 1}
ATOMIC = """extern "C" __global__ void kernel(KIND *cell, const KIND *v, KIND *old) {
  int t = threadIdx.x, half = t % 2;
  old[t] = NAME(cell + half, v[t]);
  old[48 + t] = NAME_block(cell + 2 + half, v[t]);
  old[96 + t] = NAME_system(cell + 4 + half, v[t]);
}"""


@pytest.mark.parametrize("kind, name", AFTER)
def test_atomics_return_what_was_there_and_leave_what_cuda_defines(kind, name):
    values = np.random.default_rng(0).integers(0, 2**63, 48, np.uint64)
    values = (values >> np.uint64(np.arange(48) % 60)).astype(kind)
    cell, old, seen = np.tile(values[:2], 3), np.zeros((3, 48), kind), []
    text = ATOMIC.replace("KIND", cuda.C_TYPES[cell.dtype.name]).replace("NAME", f"atomic{name}")
    launch(text, (1,), (48,), cell=cell, v=values, old=old)
    now, number = values[:2].tolist(), float if kind[0] == "f" else int
    for t, value in enumerate(values):
        seen.append(now[t % 2])
        after = AFTER[kind, name](now[t % 2], number(value))
        now[t % 2] = after if kind == "f8" else number(np.float32(after)) if kind == "f4" else (
            wrapped(after, kind))
    assert old.tolist() == [seen] * 3 and cell.tolist() == now * 3


@pytest.mark.parametrize("kind", ["i4", "u4", "u8"])
def test_compare_and_swap(kind):
    """The usual loop around it: an atomic product, which CUDA has not."""
    text = """extern "C" __global__ void kernel(KIND *cell, KIND *swapped) {
      KIND seen = *cell, old;
      do old = seen; while ((seen = atomicCAS(cell, old, old * 3)) != old);
      swapped[threadIdx.x] = old;
      atomicCAS(cell, (KIND)7, (KIND)0);
    }""".replace("KIND", cuda.C_TYPES[np.dtype(kind).name])
    cell, swapped = np.ones(1, kind), np.zeros(12, kind)
    launch(text, (1,), (12,), cell=cell, swapped=swapped)
    assert cell[0] == 3**12 and (swapped == 3**np.arange(12)).all()


def test_atomics_see_no_order_that_matters_and_their_order_shows():
    count = """extern "C" __global__ void kernel(int *cell, real *y) {
      __shared__ int next;
      if (threadIdx.x == 0) next = 0;
      __syncthreads();
      y[threadIdx.x] = atomicAdd(&next, 1);
      __syncthreads();
      if (threadIdx.x == 0) cell[0] = next;
    }"""
    cell, y, other = np.zeros(1, "i4"), np.zeros(64, "f4"), np.zeros(64, "f4")
    launch(count, (1,), (64,), cell=cell, y=y)
    with cuda.backwards():
        launch(count, (1,), (64,), cell=cell, y=other)
    assert cell[0] == 64 and sorted(y) == sorted(other) == list(range(64)) and (y != other).any()


def test_an_atomic_on_an_address_that_is_none_is_reported():
    with pytest.raises(KernelError, match="line 2, .*atomic is not aligned"):
        launch('extern "C" __global__ void kernel(int *x) {\n atomicOr((int *)((char *)x + 2), 1);'
               "\n}", (1,), (1,), x=np.zeros(4, "i4"))


def warps(line, threads=40, kind="i4", before=""):
    """What every thread of one block gets of an expression of t, its number, and lane."""
    y = np.zeros(threads, kind)
    launch('extern "C" __global__ void kernel(' + cuda.C_TYPES[y.dtype.name] + " *y) {\n int t = "
           f"threadIdx.x, lane = t % 32;\n {before} y[t] = {line};\n}}", (1,), (threads,), y=y)
    return y.tolist()


def test_votes_of_a_block():
    assert warps("__syncthreads_count(t % 3 == 0)") == [14] * 40
    assert warps("10 * __syncthreads_and(t < 40) + __syncthreads_and(t < 39)") == [10] * 40
    assert warps("10 * __syncthreads_or(t == 39) + __syncthreads_or(t > 39)") == [10] * 40


def test_votes_of_warps_of_which_the_second_is_not_full():
    """Lanes that are not there have no bit, and nobody waits for them."""
    assert warps("__ballot_sync(0xffffffff, t % 2)", kind="u4") == [0xaaaaaaaa] * 32 + [0xaa] * 8
    assert warps("__any_sync(0xffffffff, t == 35)") == [0] * 32 + [1] * 8
    assert warps("__all_sync(0xffffffff, t < 32 || t > 31 && t < 40)") == [1] * 40
    assert warps("__match_any_sync(0xffffffff, t / 16)", kind="u4") == (
        [0xffff] * 16 + [0xffff0000] * 16 + [0xff] * 8)
    assert warps("__activemask()", kind="u4") == [0xffffffff] * 32 + [0xff] * 8


def test_a_mask_names_who_is_waited_for():
    assert warps("0; if (t % 2) y[t] = __ballot_sync(0xaaaaaaaa, t < 8)", kind="u4") == (
        [0, 0xaa] * 16 + [0, 0] * 4)
    assert warps("-1; if (lane < 3) y[t] = __reduce_add_sync(7, t)") == (
        [3] * 3 + [-1] * 29 + [99] * 3 + [-1] * 5)
    assert warps("__ballot_sync(~0u, 1)", kind="u4", before="if (t % 4 == 1) return;") == [
        0 if t % 4 == 1 else 0xdddddddd if t < 32 else 0xdd for t in range(40)]
    for line, what in (("0; if (t < 5) __syncwarp(); __syncthreads()", "line 3, .*for its warp"),
                       ("__ballot_sync(1, 1)", "line 3.*does not name this thread")):
        with pytest.raises(KernelError, match=what):
            warps(line)


def test_sums_and_the_like_of_a_warp():
    lanes = range(32)
    for name, expected in (("add", 32 * 5 + sum(lanes)), ("min", 5), ("max", 36)):
        assert warps(f"__reduce_{name}_sync(~0u, lane + 5)", 32) == [expected] * 32
    for name, expected in (("and", 64), ("or", 95), ("xor", 0)):
        assert warps(f"__reduce_{name}_sync(~0u, unsigned(lane) | 64u)", 32) == [expected] * 32


def shuffled(name, n, width, lane):
    """From which lane: the definition of PTX's shfl."""
    segment = 32 - width & 31
    top = lane & segment if name == "up" else lane & segment | 31 & ~segment
    source = {"up": lane - n, "down": lane + n, "xor": lane ^ n,
              "idx": lane & segment | n & ~segment}[name]
    there = source >= top if name == "up" else source <= top
    return source if there else lane


@pytest.mark.parametrize("width", [32, 16, 4, 1])
@pytest.mark.parametrize("name", ["up", "down", "xor", "idx"])
def test_shuffles_of_every_width(name, width):
    call = "__shfl_sync" if name == "idx" else f"__shfl_{name}_sync"
    steps = (0, 1, 3, 17, 31)
    line = " + ".join(f"{32**k} * {call}(0xffffffff, t, {n}, {width})" for k, n in enumerate(steps))
    assert warps(line, 32) == [sum(32**k * shuffled(name, n, width, lane)
                                   for k, n in enumerate(steps)) for lane in range(32)]


def test_a_shuffle_from_a_lane_that_is_not_there_is_nothing():
    found = np.array(warps("__shfl_down_sync(0xffffffff, t + 0.5, 4)", kind="f8"))
    assert np.isnan(found[36:]).all() and (found[:36] == [
        t + 4.5 if t < 28 else t + 0.5 if t < 32 else t + 4.5 for t in range(36)]).all()


def test_least_and_largest_as_cuda_has_them():
    """Of a number and NaN the number; of an int and an unsigned the unsigned."""
    line = "min(nan(\"\"), 2.0) + max(3.0, nan(\"\")) + max(-1.5f, 0.25)"
    assert warps(line, 1, "f8") == [5.25]
    assert warps("min(-1, 5u)", 1, "i8") == [5] and warps("max(2ll, 3ull)", 1, "i8") == [3]


def test_counting_bits():
    assert warps("__popcll(1ull << 40 | 3) + 100 * __ffsll(1ll << 40) + 10000 * __clz(1 << 30)"
                 ", y[t] += 100000 * (__brev(3u) == 3u << 30)", 1) == [114103]


def test_a_variable_that_nobody_set_is_not_zero():
    text = """extern "C" __global__ void kernel(real *y) {
      real sum;
      for (int k = 0; k < 3; ++k) sum += k;
      y[threadIdx.x] = sum; BARRIER
    }"""
    for barrier in ("", "__syncthreads();"):
        library = cuda.host_text("typedef double real;\n" + text.replace("BARRIER", barrier))
        y = np.zeros(4)
        unoptimized(library)(y)
        assert np.isnan(y).all()


def unoptimized(text):
    """A launch of a kernel of one array, compiled as for a grader."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "kernel.so"
        flags = *cuda.FLAGS, "-O0", "-shared", "-x", "c++", "-", "-o"
        subprocess.run([cuda.compiler(), *flags, made], input=text, text=True, check=True)
        entry = ctypes.CDLL(str(made)).launch

    def run(y):
        address = ctypes.c_void_p(y.ctypes.data)
        pointers, message = (ctypes.c_void_p * 1)(ctypes.addressof(address)), \
            ctypes.create_string_buffer(300)
        entry((ctypes.c_uint * 7)(1, 1, 1, len(y), 1, 1, 0), pointers, False, message)
        assert not message.value, message.value
    return run


WORDS = """extern "C" __global__ void kernel(int *i, unsigned *u, long long *l,
    unsigned long long *w, float *f, double *d, unsigned short *h) {
""" + "\n".join(f"  atomic{name}{scope}({letter}, 1);" for (kind, name) in AFTER for letter in (
    {"i4": "i", "u4": "u", "i8": "l", "u8": "w", "f4": "f", "f8": "d"}[kind])
    for scope in ("", "_block", "_system")) + """
  atomicCAS(i, 1, 2); atomicCAS(u, 1, 2u); atomicCAS(w, 1, 2ull << 40); atomicCAS(h, 1, 2);
  i[0] = min(i[1], 3) + max(u[1], 3) + min(l[1], 3ll) + max(w[1], l[1]) + min(blockDim.x, i[2]);
  d[0] = min(f[0], d[1]) + max(d[0], 0.0f) + min(f[0], f[1]) + rsqrt(d[1]) + __ldg(d + 1);
  u[2] = __ballot_sync(~0u, i[3]) + __any_sync(~0u, 1) + __all_sync(~0u, 1) + __activemask();
  u[3] = __match_any_sync(~0u, w[1]) + __popcll(w[1]) + __ffsll(l[2]) + __clz(i[1]) + __brev(u[1]);
  w[2] = __shfl_sync(~0u, w[1], 3) + __shfl_up_sync(~0u, i[1], 1, 8) + __brevll(w[1]);
  d[2] = __shfl_down_sync(~0u, d[1], 4) + __shfl_xor_sync(~0u, f[1], 1, 16);
  i[4] = __syncthreads_count(i[1]) + __syncthreads_or(i[1] > 2) + __syncthreads_and(1) + warpSize;
  __syncwarp(); __syncwarp(0xff); __threadfence(); __threadfence_block();
}
__constant__ double table[2] = {1, 2};
__host__ __device__ __noinline__ double twice(double x) { return 2 * x; }
"""
REFUSED = ["atomicAdd(l, 1ll)", "atomicSub(w, 1ull)", "atomicExch(d, 1.0)", "atomicMax(f, 1.0f)",
           "max(d[0], 0)", "min(l[0], 1)"]
HEAD = WORDS.split("{")[0] + "{ "


def test_the_host_takes_every_overload_of_cudas_and_no_other():
    for text in REFUSED:
        with pytest.raises(KernelError, match="no matching|ambiguous|invalid conversion"):
            cuda.library(cuda.host_text(f"{HEAD}{text}; }}"))
    assert cuda.library(cuda.host_text(WORDS)).exists()


def test_nvcc_takes_and_refuses_the_same(nvcc, tmp_path):
    def accepted(text, arch="sm_80"):
        (tmp_path / "kernel.cu").write_text(text)
        return subprocess.run([nvcc, "-std=c++17", "-ptx", f"-arch={arch}", "-o", os.devnull,
                               tmp_path / "kernel.cu"], capture_output=True).returncode == 0
    assert accepted(WORDS)
    both = "\n".join(f"{HEAD.replace('kernel', f'kernel_{k}')}{text}; }}"
                     for k, text in enumerate(REFUSED))
    (tmp_path / "all.cu").write_text(both)
    said = subprocess.run([nvcc, "-std=c++17", "-ptx", "-arch=sm_80", "-o", os.devnull,
                           tmp_path / "all.cu"], capture_output=True, text=True).stderr
    assert all(f"all.cu({2 * k + 2}): error" in said for k in range(len(REFUSED))), said


# --- per_element ----------------------------------------------------------------------------------
def test_division_by_multiplication_is_exact():
    rng, top = np.random.default_rng(0), 2**31 - 1
    for d in (*range(1, 130), 2**16 - 1, 2**16 + 1, 2**30 - 1, 2**30, 2**30 + 1, top):
        multiples = d * np.arange(1, min(200, top // d + 1), dtype=np.int64)
        n = np.concatenate([rng.integers(0, 2**31, 500), multiples, multiples - 1, [0, top]])
        out, n = np.empty(len(n), np.int32), n.astype(np.int32)
        cuda.per_element(out, "out = n[i] / d * 1 + 0 * (n[i] % d);", n=n, d=d)
        assert (out == n // d).all()


def test_a_negative_number_is_not_divided():
    with pytest.raises(KernelError, match="n >= 0"):
        cuda.per_element(np.empty(3), "out = (i - 1) / d;", d=2)


def test_per_element_does_not_write_outside():
    with pytest.raises(KernelError, match="outside of out"):
        cuda.per_element(np.empty(3), "(&out)[1] = 5;")


# --- races ----------------------------------------------------------------------------------------
SUM = """extern "C" __global__ void kernel(const real *x, real *y, int N) {
  __shared__ int count;
  int t = threadIdx.x;
  if (t == 0) count = 0;
  __syncthreads();
  %s
  __syncthreads();
  if (t < N) y[t] = count;
}"""
FOLD = """extern "C" __global__ void kernel(const real *x, real *y, int N) {
  __shared__ real part[64];
  int t = threadIdx.x;
  part[t] = t < N ? x[t] : 0;
  __syncthreads();
  for (int step = 32; step > 0; step /= 2) {
    if (t < step) part[t] += part[t + step];
    if (step > 16) __syncthreads(); else if (t < 32) { %s }
  }
  if (t == 0) y[0] = part[0];
}"""


@pytest.mark.parametrize("text, what", [
    (SUM % "count += 1;", "in shared memory.*no barrier lies between them: a race"),
    (SUM % "count |= 1 << t % 4;", "a race"),
    (SUM % "if (count < 99) count = t;", "a race"),
    (SUM % "if (t < N) y[t / 2] = t;", "in global memory.*a race"),
    (changed("count = 0;\n  __syncthreads();", "count = 0;", SUM % "atomicAdd(&count, 1);"),
     "a race"),
    (FOLD % ";", "threads .* and .* in shared memory.*a race"),
    (changed("__shared__ int count;", "__shared__ bool count;", SUM % "count = !count;"), "a race"),
    (SUM % "__threadfence(); count |= 1 << t % 4; __threadfence_block();", "a race"),
    (SUM % "count += 1; __activemask();", "a race"),
    (changed("__syncthreads();", "if (t < 32) __syncwarp(t % 32 < 16 ? 0xffff : 0xffff0000);"),
     "a race"),
])
def test_a_race_is_found_whatever_the_order_makes_of_it(text, what):
    with cuda.races(), pytest.raises(KernelError, match=what):
        run(text)


@pytest.mark.parametrize("text", [
    SUM % "atomicAdd(&count, 1);", SUM % "if (t % 3 == 0) count = 1;", SUM % "if (t == 7) count++;",
    SUM % "int old = count; while (atomicCAS(&count, old, old + t) != old) old = count;",
    SUM % "count = 5; y[0] = count;", changed("__syncthreads();", "for (int k = 0; k < N; ++k) "
                                               "tile[k] = x[k];"),
    SUM % "unsigned odd = __ballot_sync(0xffffffff, t % 2); if (t == 32) count = odd;",
    FOLD % "__syncwarp();",
    "__device__ int last;\n" + changed(
        "if (t < N) y[t] = count;", "if (t < N) y[t] = t; __threadfence(); if (atomicAdd(&last, 1) "
        "% 64 == 63) for (int k = 0; k < N; ++k) y[k] += count;", SUM % ";")])
def test_what_is_ordered_is_no_race(text):
    """By atomics, by one thread alone, by what a warp or a block waits at, by a fence."""
    plain = run(text)
    with cuda.races():
        assert (run(text) == plain).all()


def test_blocks_race_where_they_write_to_one_place():
    text = REVERSE.replace("y[t] =", "y[t] = blockIdx.x +")
    y = np.zeros(40, "f4")
    with cuda.races(), pytest.raises(KernelError, match="blocks .* any order: a race"):
        launch(text, (2,), (64,), x=np.arange(40, dtype="f4"), y=y, N=40)


# --- the texts of the operations, at sizes of several tiles ---------------------------------------
def values(*shape, seed=0, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def conv_case(S, dtype="float32"):
    A = [(n + 2 - 3) // S + 1 for n in (9, 10)]
    x, w, y = values(2, 36, 9, 10), values(140, 18, 3, 3, seed=1), values(2, 140, *A, seed=2)
    x, w, y = (a.astype(dtype) for a in (x, w, y))
    return x, w, y, (S, S, 1, 1, 1, 1, 2)


def roi_case(K, C, W, dtype="float32"):
    arguments = gpu_cases.roi_arguments(K, C, 3, 11, W)
    return [a.astype(dtype) if a.dtype == "f4" else a for a in arguments]


def pool_case(K, C, W, dtype):
    batch, rows, cols = gpu_cases.roi_arguments(K, C, 3, 11, W)[1:4]
    rows, cols = reach(rows), reach(cols)
    index = rows[:, None, :, None, 0] * W + cols[:, None, None, :, 0] + np.zeros((1, C, 1, 1), "i4")
    return values(K, C, 3, 3).astype(dtype), index.astype("i4"), batch, rows, cols


CASES = {                                  # name: (kernel, variant, arguments before out, out)
    "conv2d": lambda d="f4": ("conv2d_kernel", "gpu_tiled", (
        *conv_case(1, d)[:2], values(140).astype(d), *conv_case(1)[3]), conv_case(1, d)[2]),
    "conv_transpose2d": lambda d="f4": ("conv_transpose2d_kernel", "gpu_tiled", (
        conv_case(2, d)[2], conv_case(2, d)[1], values(36).astype(d), *conv_case(2)[3]),
        conv_case(2, d)[0]),
    "conv2d_weight": lambda d="f4": ("conv2d_weight_kernel", "gpu_tiled", (
        conv_case(1, d)[0], conv_case(1, d)[2], *conv_case(1)[3]), conv_case(1, d)[1]),
    "nms": lambda d="f4": ("nms_kernel", "gpu", (
        gpu_cases.boxes(2000)[:200].astype(d) / [8, 8, 8, 8], np.arange(200) % 2,
        np.dtype(d).type(0.3)), np.empty(200, bool)),
    "roi_align": lambda d="f4": ("roi_align_kernel", "gpu_turned",
                                 roi_case(4, 37, 40, d)[:-1], roi_case(4, 37, 40, d)[-1]),
    "roi_align_adjoint": lambda d="f4": ("roi_align_adjoint_kernel", "gpu", (
        values(300, 9, 3, 3).astype(d), *roi_case(300, 9, 40, d)[1:-1]),
        np.empty((2, 9, 11, 40), d)),
    "roi_pool_adjoint": lambda d="f4": ("roi_put_kernel", "gpu", pool_case(300, 9, 40, d),
                                        np.empty((2, 9, 11, 40), d)),
    "channel_moments": lambda d="f4": ("channel_moments", "gpu", (
        values(3, 2, 3000).astype(d) + 5,), np.empty((2, 2), d)),
    "channel_sums": lambda d="f4": ("channel_sums", "gpu", (
        values(3, 2, 3000).astype(d), values(3, 2, 3000, seed=1).astype(d),
        abs(values(2, 2)).astype(d), 1e-5), np.empty((2, 2), d)),
    "layer_norm": lambda d="f4": ("layer_norm_kernel", "gpu", (
        values(3, 300), values(300), values(300), 1e-5), np.empty((3, 300), d)),
    "layer_norm_backward": lambda d="f4": ("layer_norm_backward", "gpu", (
        values(601, 300), values(601, 300, seed=1), values(300), 1e-5), np.empty((603, 300), d)),
}


def result(name, dtype="f4", variant=None):
    kernel, rung, arguments, out = CASES[name](dtype)
    arguments = [a.astype(dtype) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a
                 for a in arguments]
    out = np.full(out.shape, variant != "cpu", out.dtype)    # it may hold anything
    KERNELS[kernel].variants[variant or rung](*arguments, out)
    return out


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", CASES)
def test_several_tiles_agree_with_the_cpu_in_any_order(name, dtype):
    found, expected = result(name, dtype), result(name, dtype, "cpu")
    tolerance = 3e-5 if dtype == "f4" else 1e-12
    np.testing.assert_allclose(found, expected, tolerance, tolerance * abs(expected).max())
    watch = cuda.races if dtype == "f4" else contextlib.nullcontext     # it compiles once more
    with cuda.backwards(), watch():
        assert (result(name, dtype) == found).all()


@pytest.mark.parametrize("rung", ["gpu_naive", "gpu_gemm", "gpu"])
@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d", "conv2d_weight"])
def test_the_other_rungs_of_the_convolution(name, rung, monkeypatch):
    monkeypatch.setattr(conv2d_cuda, "SCRATCH", 1)           # one image at a time
    np.testing.assert_allclose(result(name, "f8", rung), result(name, "f8", "cpu"), 1e-11, 1e-11)


TEXTS = {                                  # case: (module, name of the text)
    "conv2d": [(conv2d_cuda, "FORWARD")], "conv_transpose2d": [(conv2d_cuda, "TRANSPOSED")],
    "conv2d_weight": [(conv2d_cuda, "WEIGHT")], "nms": [(nms_cuda, "MASK"), (nms_cuda, "SWEEP")],
    "roi_align": [(roi_align_cuda, "TURN"), (roi_align_cuda, "FORWARD")],
    "roi_align_adjoint": [(roi_align_cuda, "BACKWARD")],
    "roi_pool_adjoint": [(roi_pool_cuda, "BACKWARD")],
    "channel_moments": [(batch_norm_cuda, "MOMENTS")], "channel_sums": [(batch_norm_cuda, "SUMS")],
    "layer_norm": [(layer_norm_cuda, "FORWARD")],
    "layer_norm_backward": [(layer_norm_cuda, "BACKWARD"), (layer_norm_cuda, "COLUMNS")]}
BARRIERS = [(case, module, text, k) for case, texts in TEXTS.items() for module, text in texts
            for k in range(getattr(module, text).count("__syncthreads();"))]


@pytest.mark.parametrize("case, module, text, k", BARRIERS,
                         ids=[f"{c}-{t}-{k}" for c, _, t, k in BARRIERS])
def test_every_barrier_is_needed(case, module, text, k, monkeypatch):
    """Without it the kernel fails, or gives something else, in one order or the other; and two
    threads race."""
    right, pieces = result(case), getattr(module, text).split("__syncthreads();")
    without = "__syncthreads();".join(pieces[:k + 1]) + "__syncthreads();".join(pieces[k + 1:])
    monkeypatch.setattr(module, text, without)
    same = []
    for order in (contextlib.nullcontext, cuda.backwards):
        try:
            with order():
                same.append((result(case) == right).all())
        except KernelError:
            same.append(False)
    assert not all(same), "this barrier can go"
    with cuda.races(), pytest.raises(KernelError, match="no barrier lies between them: a race"):
        result(case)


@pytest.mark.parametrize("N", [1, 63, 64, 65, 129])
def test_nms_around_whole_words(N):
    boxes, scores = gpu_cases.boxes(N) / 6, np.round(values(N), 1)
    kernel, keep = KERNELS["nms_kernel"], np.empty((2, N), bool)
    order = np.argsort(-scores, kind="stable")
    for k, variant in enumerate(("reference", "gpu")):
        kernel.variants[variant](boxes[order], order % 3, np.float32(0.2), keep[k])
    assert (keep[0] == keep[1]).all() and keep.any()


def test_boxes_without_an_area_neither_suppress_nor_are_suppressed():
    boxes = np.array([[0, 0, 2, 2], [0, 0, np.inf, np.inf], [1, 1, 1, 1], [np.nan, 0, 2, 2],
                      [2, 2, 0, 0], [0, 0, 2, 2]], "f4")
    keep = np.empty(6, bool)
    KERNELS["nms_kernel"].variants["gpu"](boxes, np.zeros(6, np.int64), np.float32(0.1), keep)
    assert list(keep) == [True] * 5 + [False]


# --- which rung -----------------------------------------------------------------------------------
@pytest.mark.parametrize("x, w, S, P, G, rung", [
    ((8, 3, 64, 64), (2, 3, 1, 1), 1, 0, 1, "gpu_naive"),
    ((8, 512, 14, 14), (512, 512, 3, 3), 1, 1, 1, "gpu_gemm"),
    ((8, 256, 56, 56), (64, 256, 1, 1), 1, 0, 1, "gpu_gemm"),
    ((8, 64, 56, 56), (64, 1, 3, 3), 1, 1, 64, "gpu_naive")])
def test_the_rung_follows_from_counting(x, w, S, P, G, rung):
    x, w = (np.broadcast_to(np.float32(0), shape) for shape in (x, w))
    y = np.broadcast_to(np.float32(0), (len(x), len(w), *((n + 2 * P - w.shape[2]) // S + 1
                                                          for n in x.shape[2:])))
    assert conv2d_cuda.cheapest(x, w, y, S, S, P, P, G, "forward") == rung


def test_columns_beyond_32_bit_indices_are_never_written():
    shape = np.broadcast_to(np.float32(0), (1, 4096, 256, 256))
    w = np.broadcast_to(np.float32(0), (4096, 4096, 3, 3))
    assert conv2d_cuda.cheapest(shape, w, shape, 1, 1, 1, 1, 1, "forward") == "gpu_tiled"


def test_the_plain_rungs_stay():
    for name in ("conv2d_kernel", "conv_transpose2d_kernel", "conv2d_weight_kernel", "nms_kernel",
                 "roi_align_kernel", "roi_align_adjoint_kernel", "roi_put_kernel",
                 "channel_moments", "channel_sums", "layer_norm_kernel", "layer_norm_backward"):
        assert {"gpu", "gpu_naive"} <= set(KERNELS[name].variants)


# --- the floor, and a device ----------------------------------------------------------------------
def test_the_table_of_floors_in_the_docs_is_that_of_the_formulas():
    text = Path(__file__).parents[1].joinpath("docs", "gpu.md").read_text(encoding="utf-8")
    assert gpu_cases.table() in text, "run python tests/gpu_cases.py and paste its table"


def test_the_cases_are_what_the_kernels_take(monkeypatch):
    monkeypatch.setattr(gpu_cases, "normal", lambda *shape: np.broadcast_to(np.float32(0), shape))
    for case in gpu_cases.cases():
        wanted = inspect.signature(KERNELS[case.kernel].variants["reference"]).parameters
        assert len(case.arguments()) == len(wanted) and case.floor > 0, case


def timed(cp, call, rounds=20):
    """The median of `rounds` runs in microseconds, after a warm one."""
    start, end, times = cp.cuda.Event(), cp.cuda.Event(), []
    call()
    for _ in range(rounds):
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(1e3 * cp.cuda.get_elapsed_time(start, end))
    return float(np.median(times))


def peer_time(cp, case, arguments):
    """The same by PyTorch on the device, if it is there and has it; TF32 off."""
    try:
        import torch
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        moved = [torch.as_tensor(a, device="cuda") if isinstance(a, np.ndarray) else a
                 for a in arguments]
        torch.cuda.synchronize()
    except (ImportError, RuntimeError, AssertionError):
        return None
    if case.peer is None:
        return None
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    times = []
    for _ in range(22):
        start.record()
        case.peer(torch, *moved)
        end.record()
        end.synchronize()
        times.append(1e3 * start.elapsed_time(end))
    return float(np.median(times[2:]))


@pytest.mark.gpu
@pytest.mark.parametrize("case", gpu_cases.cases(), ids=lambda c: f"{c.kernel}-{c.size}")
def test_on_the_device(case):
    """Every rung is checked against the CPU and timed; a line each, and $TINYVISION_GPU_REPORT."""
    from tinyvision.device import cupy
    cp, arguments = cupy(), case.arguments()
    variants, expected = KERNELS[case.kernel].variants, arguments[-1].copy()
    variants["cpu"](*arguments[:-1], expected)
    moved = [cp.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
    theirs = peer_time(cp, case, arguments)
    for rung in sorted(v for v in variants if v.startswith("gpu")):
        if rung == "gpu_naive" and "100,000" in case.size:
            continue                                         # its sweep runs on the host
        moved[-1][...] = cp.asarray(expected) * 0
        micros = timed(cp, lambda: variants[rung](*moved), 3 if rung == "gpu_naive" else 20)
        np.testing.assert_allclose(moved[-1].get(), expected, case.rtol,
                                   case.rtol * abs(expected).max())
        row = {"kernel": case.kernel, "size": case.size, "rung": rung, "us": micros,
               "floor_us": case.floor, "torch_us": theirs}
        print(f"\n{case.kernel:25} {case.size:45} {rung:10} {micros:10.1f} µs, "
              f"{micros / case.floor:6.1f} floors, torch {theirs}")
        if report := os.environ.get("TINYVISION_GPU_REPORT"):
            with open(report, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def test_comments_of_the_texts_explain():
    """A student reads them: every text says in comments what it computes."""
    for module in (batch_norm_cuda, conv2d_cuda, layer_norm_cuda, nms_cuda, roi_align_cuda,
                   roi_pool_cuda):
        for name, text in vars(module).items():
            if name.isupper() and isinstance(text, str) and "__global__" in text:
                assert re.search("// ", text), name
