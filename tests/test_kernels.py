"""Every example in every variant and dtype; every CUDA text through real CUDA compilers.

An operation or a kernel without an example fails here, so none can be added untested.
"""
import ctypes
import functools
import importlib.util
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinyvision import cuda, gradcheck, ops
from tinyvision.cuda import CompilerMissing
from tinyvision.kernel import KERNELS, Kernel
from tinyvision.ops.examples import Example, examples

DTYPES = "float32", "float64"
ALL = {dtype: examples(dtype=dtype) for dtype in DTYPES}
PLACES = [(dtype, k) for dtype in DTYPES for k in range(len(ALL[dtype]))]
ARCHITECTURES = 75, 80, 90                                   # Turing, Ampere, Hopper


def label(place):
    dtype, k = place
    return f"{ALL[dtype][k]}-{dtype}".replace(" ", "_")


def public_operations():
    """The names of the functions that tinyvision.ops exports."""
    return {name for name, value in vars(ops).items() if callable(value)
            and not name.startswith("_") and not isinstance(value, type)}


@functools.cache
def reference(place):
    """(results, kernels that ran) of an example's reference."""
    dtype, k = place
    return gradcheck.reference_results(ALL[dtype][k])


def ours():
    """The library's kernels: other tests declare some of their own."""
    return {name: k for name, k in KERNELS.items()
            if k.variants["reference"].__module__.startswith("tinyvision.ops.")}


# --- nothing is left out --------------------------------------------------------------------------
def test_every_public_operation_has_an_example():
    without = public_operations() - {e.name for e in ALL["float64"]}
    assert not without, f"add examples of {sorted(without)} to tinyvision/ops/examples.py"


def test_every_example_is_of_a_public_operation():
    assert not {e.name for e in ALL["float64"]} - public_operations()


def test_every_kernel_is_run_by_some_example():
    seen = set().union(*(reference(place)[1] for place in PLACES if place[0] == "float64"))
    without = set(ours()) - seen
    assert not without, f"no example runs {sorted(without)}; see tinyvision/ops/examples.py"


def test_every_kernel_has_a_reference_a_cpu_and_a_gpu_variant():
    for name, k in ours().items():
        assert {"reference", "cpu", "gpu"} <= set(k.variants), name


def test_examples_repeat():
    for a, b in zip(ALL["float64"], examples()):
        assert all((x == y).all() for x, y in zip(a.tensors, b.tensors, strict=True)), str(a)


def test_examples_have_their_dtype():
    for dtype in DTYPES:
        for e in ALL[dtype]:
            assert {a.dtype.name for a in e.tensors if a.dtype.kind == "f"} <= {dtype}, str(e)


# --- every variant --------------------------------------------------------------------------------
@pytest.mark.parametrize("place", PLACES, ids=label)
def test_every_variant_agrees_with_the_reference(place):
    """Result, gradients and second gradients, in every variant of the kernels that it runs."""
    example = ALL[place[0]][place[1]]
    expected, seen = reference(place)
    for variant in gradcheck.variants_of(seen)[1:]:
        try:
            found = gradcheck.run_variant(example, variant)
        except CompilerMissing:
            pytest.skip("no C++ compiler: the gpu text was not run on the host")
        gradcheck.compare(example, found, expected, f"variant {variant}")


def junk(out):
    """NaN or -77 in every element of what a kernel is to write."""
    for array in out if isinstance(out, tuple) else (out,):
        array[...] = np.nan if array.dtype.kind == "f" else -77 if array.dtype.kind == "i" else 1


@pytest.mark.parametrize("place", [p for p in PLACES if p[0] == "float32"], ids=label)
def test_every_kernel_writes_all_of_its_output(place, monkeypatch):
    """Also where the loops of the reference add up: nothing is assumed about what `out` held."""
    example = ALL[place[0]][place[1]]
    expected, seen = reference(place)
    call = Kernel.__call__

    def on_junk(self, *args):
        junk(args[-1])
        call(self, *args)
    monkeypatch.setattr(Kernel, "__call__", on_junk)
    for variant in ("reference", "cpu_loops", "cpu"):
        found = gradcheck.run_variant(example, variant)
        gradcheck.compare(example, found, expected, f"variant {variant} on junk")


@pytest.mark.parametrize("k", range(len(ALL["float32"])), ids=lambda k: label(("float32", k)))
def test_float32_computes_what_float64_does(k):
    """In float32 to its last, and close to float64: nothing overflows, cancels or is promoted."""
    for (name, a), (_, b) in zip(reference(("float32", k))[0], reference(("float64", k))[0],
                                 strict=True):
        assert a.shape == b.shape and (a.dtype == "float32" or a.dtype == b.dtype), name
        size = abs(b).max(initial=1e-30)
        assert a.dtype.kind != "f" or abs(a - b).max(initial=0) <= 1e-4 * size, name


@pytest.mark.gpu
@pytest.mark.parametrize("place", PLACES, ids=label)
def test_device_agrees_with_reference(place):
    example = ALL[place[0]][place[1]]
    gradcheck.compare(example, gradcheck.results(example, "gpu"), reference(place)[0], "the device")


def test_a_variant_that_differs_is_reported(monkeypatch):
    e = next(e for e in ALL["float64"] if e.name == "conv2d")
    expected, _ = gradcheck.reference_results(e)

    def wrong(*args):
        KERNELS["conv2d_kernel"].variants["reference"](*args)
        args[-1].flat[5] += 0.125
    monkeypatch.setitem(KERNELS["conv2d_kernel"].variants, "cpu", wrong)
    with pytest.raises(gradcheck.VariantError, match=r"conv2d.*variant cpu.*\(0, 0, 0, 5\).*got"):
        gradcheck.compare(e, gradcheck.run_variant(e, "cpu"), expected, "variant cpu")


def test_a_difference_in_shape_dtype_or_nan_is_reported():
    e, right = Example("relu", "", None, ()), [("result", np.ones((2, 3)))]
    for a in (np.ones(6), np.ones((2, 3), "f4"), np.full((2, 3), np.nan), np.ones((2, 3)) + 1e-9):
        with pytest.raises(gradcheck.VariantError):
            gradcheck.compare(e, [("result", a)], right, "it")
    assert gradcheck.compare(e, right, right, "it") == 0


# --- every CUDA text, compiled for real architectures ---------------------------------------------
@functools.cache
def cuda_sources():
    """The distinct CUDA texts of all rungs that the examples generate, in both dtypes.

    No C++ compiler is needed: the text is noted and not run, the reference does its work.
    """
    found, patch = {}, pytest.MonkeyPatch()
    patch.setattr(cuda, "_run", lambda source, *rest: found.setdefault(source))
    rungs = {v for k in ours().values() for v in k.variants if v.startswith("gpu")}
    for k in ours().values():
        for rung in rungs & set(k.variants):
            both = text_then_reference(k.variants[rung], k.variants["reference"])
            patch.setitem(k.variants, rung, both)
    try:
        for (dtype, k), rung in itertools.product(PLACES, sorted(rungs)):
            if any(rung in KERNELS[name].variants for name in reference((dtype, k))[1]):
                gradcheck.run_variant(ALL[dtype][k], rung)
    finally:
        patch.undo()
    return list(found)


def text_then_reference(gpu, reference, inside=[]):
    """Note the text, and let the reference compute, unless another kernel's variant asked."""
    def both(*args):
        out = args[-1].copy()
        inside.append(gpu)
        with np.errstate(all="ignore"):                      # array code between two texts: unrun
            gpu(*args[:-1], out)
        inside.pop()
        if not inside:
            reference(*args)
    return both


def in_one_file(sources):
    """Every text in a namespace of its own, so that one run of the compiler does all."""
    plain = [source.replace('extern "C" ', "") for source in sources]
    return "\n".join(f"namespace text{k} {{\n{text}\n}}" for k, text in enumerate(plain))


def test_the_texts_are_those_of_all_kernels_and_dtypes():
    assert len(cuda_sources()) >= 2 * len(ours())
    assert all(re.search(r"typedef (float|double) real;", text) for text in cuda_sources())


def test_nvcc_compiles_every_kernel(nvcc, tmp_path):
    (tmp_path / "kernels.cu").write_text(in_one_file(cuda_sources()))
    targets = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
    done = subprocess.run([nvcc, "-std=c++17", "-fatbin", "--threads=2", *targets, "-o",
                           tmp_path / "kernels.fatbin", tmp_path / "kernels.cu"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "kernels.fatbin").stat().st_size > 10_000


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nvrtc_compiles_every_kernel(architecture):
    """The compiler that CuPy uses: without the host's headers, so it accepts less than nvcc."""
    if (library := nvrtc()) is None:
        pytest.skip("no NVRTC (pip install nvidia-cuda-nvrtc): CUDA text was not compiled by it")
    rc, log = compile_with(library, in_one_file(cuda_sources()), architecture)
    assert rc == 0, log[-3000:]


def test_a_wrong_text_is_refused_by_nvrtc():
    if (library := nvrtc()) is None:
        pytest.skip("no NVRTC (pip install nvidia-cuda-nvrtc): CUDA text was not compiled by it")
    wrong = cuda.cuda_source("out = x[i] + missing;", "", "float32", "float32",
                               (("const float *", "x"),))
    rc, log = compile_with(library, in_one_file([wrong]), 80)
    assert rc and "missing" in log


@functools.cache
def nvrtc():
    """The NVRTC library of the wheel nvidia-cuda-nvrtc or of the system, None without one."""
    spec = importlib.util.find_spec("nvidia")
    roots = [Path(p) for p in spec.submodule_search_locations] if spec else []
    roots += [Path("/usr/local/cuda/lib64")]
    for path in (p for root in roots for p in sorted(root.glob("**/libnvrtc.so.1*"))):
        try:
            return ctypes.CDLL(str(path))
        except OSError:
            continue
    return None


def compile_with(library, text, architecture):
    """(NVRTC's return code, its log)."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    options = [b"-std=c++17", f"-arch=sm_{architecture}".encode()]
    library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None)
    try:
        rc = library.nvrtcCompileProgram(program, len(options),
                                         (ctypes.c_char_p * len(options))(*options))
        library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        library.nvrtcGetProgramLog(program, log)
        return rc, log.value.decode()
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


# --- compiled code on disk ------------------------------------------------------------------------
STEP = """
import numpy as np
from numba.core import event
from tinyvision import kernel, ops
kernel.PATIENCE = 0.05
x, w = np.ones((1, 2, 9, 9), "f4"), np.ones((3, 2, 3, 3), "f4")
with event.install_recorder("numba:compile") as compiled:
    y = ops.relu(ops.conv2d(x, w))
assert (y.numpy() == 18).all()
print(len(compiled.buffer), kernel.cache_folder())
"""


def compile_in_a_new_process(cache):
    """(compilations, the folder of compiled kernels, what was said of it)."""
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, check=True,
                          env={**os.environ, "TINYVISION_CACHE": str(cache)})
    count, folder = done.stdout.split()
    return int(count), folder, done.stderr


def test_kernels_are_compiled_once_and_that_is_said(tmp_path):
    count, folder, said = compile_in_a_new_process(tmp_path)
    assert count > 0 and folder.startswith(str(tmp_path))
    assert said.count("compiling kernels for this machine") == 1 and folder in said
    assert compile_in_a_new_process(tmp_path) == (0, folder, "")


def test_where_nothing_can_be_kept_kernels_run_all_the_same(tmp_path):
    (tmp_path / "file").touch()
    count, folder, _ = compile_in_a_new_process(tmp_path / "file" / "below")
    assert count > 0 and not folder.startswith(str(tmp_path))
