"""CUDA text on the host: what a GPU leaves undefined is caught; every barrier is needed; the rungs.

Where there is a device, the same kernels run on it, are checked, and are timed against the floor.
"""
import contextlib
import inspect
import json
import os
import re
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
    with cuda.backwards():
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
    """Without it the kernel fails, or gives something else, in one order or the other."""
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
