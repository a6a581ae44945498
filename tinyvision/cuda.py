"""CUDA text: one text that the GPU runs, that nvcc and NVRTC compile, and that runs on the host.

`per_element` builds a kernel from the body for one element; `launch` runs a whole kernel, in which
the threads of a block work together (shared memory, barriers, warp shuffles). Given NumPy arrays
the same text is compiled by the host's C++ compiler (see `cuda_host`), so index arithmetic, where
nearly all CUDA mistakes live, is tested on every machine; there every array lies between two guard
zones: what is read beyond it is NaN, and what is written beyond it is reported.
"""
from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import numpy as np

from tinyvision import cuda_host
from tinyvision.device import cupy, device_of
from tinyvision.kernel import user_cache

C_TYPES = {"float32": "float", "float64": "double", "int32": "int", "int64": "long long",
           "uint32": "unsigned", "uint64": "unsigned long long", "bool": "bool",
           "uint8": "unsigned char"}
THREADS = 256                              # a block's threads in `per_element`
GUARD = 1024                               # bytes on either side of an array, on the host
LIMIT = 2**31 - 1                          # indices are 32 bit


class CompilerMissing(RuntimeError):
    """CUDA text was to be run on the host, and there is no C++ compiler."""


class KernelError(RuntimeError):
    """CUDA text did on the host what is undefined on a GPU."""


# --- one thread an element ------------------------------------------------------------------------
def per_element(out, body: str, preamble: str = "", **inputs) -> None:
    """Run the CUDA `body` once per element `i` of `out`, which is 0 before it.

    Args:
        out: C-contiguous array; with NumPy arrays the text runs on the host, one after the other.
        body: C++ in which `T` is the dtype of `out`, `real` that of the first floating array.
        preamble: device functions that the body calls; they may use `T` and `real`.
        inputs: what the body calls by name: arrays (any dtype, C-contiguous), ints, floats. What
            it divides by an int must not be negative (see `DIVISOR`).

    One thread owns one element: no atomics, the same result every time.
    """
    arrays = [v for v in (out, *inputs.values()) if _is_array(v)]
    assert all(a.size <= LIMIT for a in arrays), "kernel index arithmetic is 32 bit"
    real = next((a.dtype.name for a in arrays if a.dtype.kind == "f"), "float32")
    divisors = {name for name in re.findall(r"[/%]\s*([A-Za-z]\w*)\b(?!\s*[\[(.])", body)
                if isinstance(inputs.get(name), (int, np.integer))}
    parameters = tuple((_c_type(value, real), name) for name, value in inputs.items()
                       if name not in divisors)
    source = cuda_source(body, preamble, out.dtype.name, real, parameters, tuple(sorted(divisors)))
    if not out.size:
        return
    values = [out, np.int32(out.size)]
    values += [_c_value(v, real) for name, v in inputs.items() if name not in divisors]
    values += [part for name in sorted(divisors) for part in divisor(inputs[name])]
    blocks, threads = (-(-out.size // THREADS), THREADS) if device_of(out) == "gpu" else (1, 1)
    _run(source, (blocks,), (threads,), 0, values, ("out",))


def cuda_source(body, preamble, out_type, real, inputs, divisors=()) -> str:
    """The kernel as CUDA C++: the one text that the device, nvcc, NVRTC and the host compile."""
    parameters = "".join(f", {c_type} {name}" for c_type, name in inputs)
    parameters += "".join(f", int {d}_, unsigned {d}_factor, int {d}_shift" for d in divisors)
    fast = "".join(f"  const divisor {d} = {{{d}_, {d}_factor, {d}_shift}};\n" for d in divisors)
    T = C_TYPES[out_type]
    return f"""typedef {T} T; typedef {C_TYPES[real]} real;
{DIVISOR if divisors else ""}{preamble}
extern "C" __global__ void kernel({T} *_out, int _size{parameters}) {{
{fast}  int _step = blockDim.x * gridDim.x;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < _size; i += _step) {{
    T &out = _out[i];
    out = 0;
{body}
  }}
}}
"""


# Dividing two ints takes a GPU some 20 instructions, and a kernel that finds its place by four
# divisions is bound by them, not by memory. n / d is (n * factor) >> shift for 0 <= n < 2^31 with
# the factor 2^shift / d rounded up: 3 instructions. Granlund & Montgomery 1994, theorem 4.2.
DIVISOR = """struct divisor {
  int value; unsigned factor; int shift;
  __device__ operator int() const { return value; }
};
__device__ int operator/(int n, divisor d) {
  __builtin_assume(n >= 0);
  return int((unsigned long long)(unsigned)n * d.factor >> d.shift);
}
__device__ int operator%(int n, divisor d) { return n - n / d * d.value; }
__device__ float operator/(float a, divisor d) { return a / float(d.value); }
__device__ double operator/(double a, divisor d) { return a / double(d.value); }
"""


def divisor(d):
    """(d, factor, shift) as `DIVISOR` has them."""
    shift = 31 + max(int(d) - 1, 0).bit_length()
    factor = -(-2**shift // int(d)) if d > 0 else 0
    return np.int32(d), np.uint32(factor), np.int32(shift)


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
    return value if isinstance(value, np.uint32) else np.int32(value)


# --- a block of threads that work together --------------------------------------------------------
def launch(text: str, grid: tuple, block: tuple, shared: int = 0, **arguments) -> None:
    """Run a whole CUDA kernel on a grid of blocks.

    Args:
        text: CUDA C++ with one function `extern "C" __global__ void kernel(...)`; `real` is the
            dtype of the first floating array. Pointers that are not const are what it writes.
        grid: blocks along x, y and z (or fewer).
        block: threads of a block along x, y and z (or fewer).
        shared: bytes of `extern __shared__`.
        arguments: one for each of the kernel's parameters, by name: arrays (C-contiguous), ints,
            floats.

    With NumPy arrays the text runs on the host, with real barriers.

    Raises:
        TypeError: arguments that are not the kernel's parameters, or not of their types.
        KernelError: on the host: what a GPU would leave undefined.
    """
    arrays = [v for v in arguments.values() if _is_array(v)]
    assert all(a.size <= LIMIT for a in arrays), "kernel index arithmetic is 32 bit"
    real = next((a.dtype.name for a in arrays if a.dtype.kind == "f"), "float32")
    parameters = _parameters(text)
    if set(parameters) != set(arguments):
        raise TypeError(f"launch: the kernel has the parameters {sorted(parameters)}, "
                        f"got {sorted(arguments)}")
    values = [_c_value(arguments[name], real) for name in parameters]
    for (name, kind), value in zip(parameters.items(), values):
        given = C_TYPES[value.dtype.name] + " *" * _is_array(value)
        if given != (wanted := kind.removeprefix("const ").replace("real", C_TYPES[real])):
            raise TypeError(f"launch: {name} is {given}, the kernel's parameter is {wanted}")
    if min(grid) > 0:
        written = {k for k, kind in enumerate(parameters.values())
                   if "*" in kind and "const" not in kind}
        names = tuple(name if k in written else None for k, name in enumerate(parameters))
        _run(f"typedef {C_TYPES[real]} real;\n#line 1\n{text}", grid, block, shared, values, names)


@functools.cache
def _parameters(text):
    """{name: C type} of the kernel's parameters."""
    listed = re.search(r"__global__ void (?:__launch_bounds__\(\w+\) )?kernel\(([^)]*)\)", text)
    plain = re.sub(r"\b(volatile|__restrict__)\b", "", listed[1])    # no part of a type's name
    found = re.findall(r"\s*(.*?)\s*(\*?)\s*(\w+)\s*(?:,|$)", plain, re.S)
    return {name: f"{kind} {star}".strip() for kind, star, name in found}


def fast(kernel):
    """Decorate the faster CUDA variant of `kernel`; the plain one stays, as "gpu_naive"."""
    def add(function):
        kernel.variants["gpu_naive"] = kernel.variants["gpu"]
        kernel.variants["gpu"] = function
        return kernel
    return add


# --- where it runs --------------------------------------------------------------------------------
def _run(source, grid, block, shared, values, written):
    """On the device of the arrays; `written` names each value that the kernel writes."""
    first = next(v for v in values if _is_array(v))
    if device_of(first) == "gpu":
        _device_kernel(source)(grid, block, tuple(values), shared_mem=shared)
    else:
        _run_on_host(source, grid, block, shared, values, written)


@functools.cache
def _device_kernel(source):
    return cupy().RawKernel(source, "kernel", options=("-std=c++17",))


_how = {"backwards": False, "races": False}


@contextlib.contextmanager
def backwards():
    """On the host, run blocks and threads in the opposite order: what depends on it is a race."""
    with _set("backwards"):
        yield


@contextlib.contextmanager
def races():
    """On the host, look for races: two threads use the same number, one of them changes it, and
    nothing orders them (`cuda_host.HOST` says what does). KernelError names both."""
    with _set("races"):
        yield


@contextlib.contextmanager
def _set(name):
    _how[name] = True
    try:
        yield
    finally:
        _how[name] = False


def _run_on_host(source, grid, block, shared, values, written):
    function = _host_kernel(source, (*FLAGS, *RACES) if _how["races"] else FLAGS)
    guarded = [_guarded(v) if _is_array(v) else v for v in values]
    held = [ctypes.c_void_p(g.ctypes.data) if _is_array(g) else np.asarray(g) for g in guarded]
    pointers = (ctypes.c_void_p * len(held))(*[
        h.ctypes.data if isinstance(h, np.ndarray) else ctypes.addressof(h) for h in held])
    sizes = (*grid, 1, 1)[:3] + (*block, 1, 1)[:3] + (shared,)
    message = ctypes.create_string_buffer(300)
    function((ctypes.c_uint * 7)(*sizes), pointers, _how["backwards"], message)
    if message.value:
        raise KernelError(f"kernel text, {message.value.decode()}")
    for value, inside, name in zip(values, guarded, written):
        if name:
            _copy_back(value, inside, name)


def _guarded(array):
    """A copy of `array` between two guard zones of ones: NaN, or -1. As well aligned as it is."""
    room = np.full(array.nbytes + 2 * GUARD + 64, 255, np.uint8)
    start = GUARD + (array.ctypes.data - room.ctypes.data - GUARD) % 64
    inside = room[start:start + array.nbytes].view(array.dtype).reshape(array.shape)
    inside[...] = array
    return inside


def _copy_back(array, inside, name):
    room = inside
    while room.base is not None:
        room = room.base
    start = inside.ctypes.data - room.ctypes.data
    if (room[:start] != 255).any() or (room[start + inside.nbytes:] != 255).any():
        raise KernelError(f"kernel text: it writes outside of {name}, {inside.shape}")
    array[...] = inside


# --- the host's compiler --------------------------------------------------------------------------
def compiler() -> str | None:
    """The host's C++ compiler ($CXX, c++, g++ or clang++), None where there is none."""
    names = (os.environ.get("CXX"), "c++", "g++", "clang++")
    return next((path for name in names if name and (path := shutil.which(name))), None)


# What nvcc needs not be told, and the host has not got.
CUDA_HEADERS = re.compile(r'^[ \t]*#[ \t]*include[ \t]*["<](cuda|cuda_runtime|cuda_runtime_api|'
                          r'device_launch_parameters|device_functions|sm_\w+)\.h[">]', re.M)


def host_text(source):
    """The C++ that runs the CUDA `source` on the host."""
    together = re.search(r"__shared__|__sync|_sync\b|__activemask", source)
    dynamic = r"extern __shared__ ([\w ]+?) (\w+)\[\];"      # C++ has no such declaration
    source = re.sub(dynamic, r"\1 *\2 = (\1 *)dynamic_memory.data();", source)
    source = CUDA_HEADERS.sub("", source)
    threads = cuda_host.TOGETHER if together else cuda_host.ALONE
    return cuda_host.HOST + threads + source + cuda_host.LAUNCH


@functools.cache
def _host_kernel(source, flags):
    """The kernel as a C function of grid, block, pointers to its arguments, and order."""
    return ctypes.CDLL(str(library(host_text(source), flags))).launch


FLAGS = ("-std=c++17", "-O2", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing", "-w",
         "-fsanitize=bounds,alignment,signed-integer-overflow,integer-divide-by-zero")
RACES = ("-fsanitize=thread",)          # for the compiler alone: linking would add its own runtime
# For texts of students, which are small: compiling is what takes time, and every variable lies
# where `cuda_host` has put NaN.
UNOPTIMIZED = (*(flag for flag in FLAGS if flag != "-O2"), "-O0", *RACES)


def library(text: str, flags=FLAGS) -> pathlib.Path:
    """The shared library made of C++, from the cache or from the compiler."""
    if (cxx := compiler()) is None:
        raise CompilerMissing("per_element: running CUDA text on the host needs a C++ compiler, "
                              "and neither $CXX nor c++, g++ or clang++ was found; install one")
    digest = hashlib.sha256(" ".join((text, *flags)).encode()).hexdigest()[:24]
    built = _cache() / f"{digest}.so"
    if not built.exists():
        with tempfile.TemporaryDirectory(dir=_cache()) as folder:
            at = pathlib.Path(folder)
            (at / "kernel.cpp").write_text(text)        # -pipe: no files left where it is killed
            _compile(cxx, *flags, "-pipe", "-c", "-o", at / "kernel.o", at / "kernel.cpp")
            _compile(cxx, "-shared", "-o", at / "kernel.so", at / "kernel.o")
            os.replace(at / "kernel.so", built)
    return built


def _compile(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise KernelError(f"the host's compiler refused the CUDA text: {done.stderr[:2000]}")


@functools.cache
def _cache():
    """The folder of compiled CUDA text; the files are named by what they are made of."""
    folder = user_cache() / "cuda"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return pathlib.Path(tempfile.mkdtemp(prefix="tinyvision-"))
