"""CUDA text: one text that the GPU runs, that nvcc and NVRTC compile, and that runs on the host.

`per_element` builds a kernel from the body for one element. Given NumPy arrays the same text is
compiled by the host's C++ compiler and looped over the elements, so index arithmetic, where nearly
all CUDA mistakes live, is tested on every machine.
"""
from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import numpy as np

from tinyvision.device import cupy, device_of
from tinyvision.kernel import cache_folder

C_TYPES = {"float32": "float", "float64": "double", "int32": "int", "int64": "long long",
           "uint64": "unsigned long long", "bool": "bool", "uint8": "unsigned char"}
HOST = """#include <cmath>
#include <algorithm>
using std::min; using std::max; using std::floor; using std::ceil; using std::abs; using std::round;
#define __device__
#define __global__
struct { int x; } const blockIdx = {0}, threadIdx = {0}, blockDim = {1}, gridDim = {1};
"""
THREADS = 256                              # a block's threads


class CompilerMissing(RuntimeError):
    """CUDA text was to be run on the host, and there is no C++ compiler."""


def per_element(out, body: str, preamble: str = "", **inputs) -> None:
    """Run the CUDA `body` once per element `i` of `out`, which is 0 before it.

    Args:
        out: C-contiguous array; with NumPy arrays the text runs on the host, one after the other.
        body: C++ in which `T` is the dtype of `out`, `real` that of the first floating array.
        preamble: device functions that the body calls; they may use `T` and `real`.
        inputs: what the body calls by name: arrays (any dtype, C-contiguous), ints, floats.

    One thread owns one element: no atomics, the same result every time.
    """
    arrays = [v for v in (out, *inputs.values()) if _is_array(v)]
    assert all(a.size < 2**31 for a in arrays), "kernel index arithmetic is 32 bit"
    real = next((a.dtype.name for a in arrays if a.dtype.kind == "f"), "float32")
    parameters = tuple((_c_type(value, real), name) for name, value in inputs.items())
    source = cuda_source(body, preamble, out.dtype.name, real, parameters)
    values = (out, np.int32(out.size), *(_c_value(value, real) for value in inputs.values()))
    if not out.size:
        return
    if device_of(out) == "gpu":
        _device_kernel(source)((-(-out.size // THREADS),), (THREADS,), values)
    else:
        kinds = (C_TYPES[out.dtype.name] + " *", "int", *(kind for kind, _ in parameters))
        values = [np.asarray(v) for v in values]              # kept alive while the kernel runs
        _host_kernel(source, kinds)(*[ctypes.c_void_p(v.ctypes.data) for v in values])


def cuda_source(body, preamble, out_type, real, inputs) -> str:
    """The kernel as CUDA C++: the one text that the device, nvcc, NVRTC and the host compile."""
    parameters = "".join(f", {c_type} {name}" for c_type, name in inputs)
    T = C_TYPES[out_type]
    return f"""typedef {T} T; typedef {C_TYPES[real]} real;
{preamble}
extern "C" __global__ void kernel({T} *_out, int _size{parameters}) {{
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < _size; i += blockDim.x * gridDim.x) {{
    T &out = _out[i];
    out = 0;
{body}
  }}
}}
"""


def _is_array(value):
    return hasattr(value, "strides") and not isinstance(value, np.generic)


def _c_type(value, real):
    if _is_array(value):
        return f"const {C_TYPES[value.dtype.name]} *"
    return C_TYPES[real] if isinstance(value, (float, np.floating)) else "int"


def _c_value(value, real):
    if _is_array(value):
        return value
    if isinstance(value, (float, np.floating)):
        return np.dtype(real).type(value)
    return np.int32(value)


@functools.cache
def _device_kernel(source):
    return cupy().RawKernel(source, "kernel", options=("-std=c++17",))


def compiler() -> str | None:
    """The host's C++ compiler ($CXX, c++, g++ or clang++), None where there is none."""
    names = (os.environ.get("CXX"), "c++", "g++", "clang++")
    return next((path for name in names if name and (path := shutil.which(name))), None)


@functools.cache
def _host_kernel(source, kinds):
    """The kernel as a C function of pointers to its arguments; one thread visits every element."""
    values = [f"({kind})a{k}" if kind.endswith("*") else f"*({kind} *)a{k}"
              for k, kind in enumerate(kinds)]
    pointers = ", ".join(f"void *a{k}" for k in range(len(kinds)))
    return _build(f'{HOST}{source}extern "C" void launch({pointers}) '
                  f'{{ kernel({", ".join(values)}); }}\n').launch


def _build(text):
    """The shared library made of `text`, from the cache or from the compiler."""
    if (cxx := compiler()) is None:
        raise CompilerMissing("per_element: running CUDA text on the host needs a C++ compiler, "
                              "and neither $CXX nor c++, g++ or clang++ was found; install one")
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    library = cache_folder() / f"cuda-{digest}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
            source, built = pathlib.Path(folder, "kernel.cpp"), pathlib.Path(folder, "kernel.so")
            source.write_text(text)
            subprocess.run([cxx, "-std=c++17", "-O2", "-shared", "-fPIC", "-ffp-contract=off",
                            "-o", built, source], check=True, capture_output=True, text=True)
            os.replace(built, library)
    return ctypes.CDLL(str(library))
