"""Kernels: one name, one signature, variants that must agree.

A kernel fills its last argument, `out`, which arrives zeroed, and returns nothing. Its variants:

- ``reference``: the slide's loops in plain Python; the specification.
- ``cpu``: Numba, compiled at the first call and cached on disk.
- ``gpu``: CUDA text, through `per_element`. Given NumPy arrays the same text is compiled by the
  host's C++ compiler and looped over the elements, so its index arithmetic is tested everywhere.

Other names (``cpu_loops``, ``cpu_gemm``) are rungs of a ladder. Tests walk `KERNELS` and compare
every variant with the reference.

Kernels receive C-contiguous, writable arrays (see `device.contiguous`).
"""
from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import types

import numpy as np

from tinyvision.device import cupy, device_of

KERNELS: dict[str, "Kernel"] = {}          # name -> Kernel; the tests walk this table
prange = range                             # numba.prange once a kernel is compiled
FAST = frozenset({"contract", "reassoc", "arcp", "nsz", "afn"})   # not nnan, ninf: they are values


class Kernel:
    """The decorator of a reference; its methods `cpu`, `gpu` and `variant` add the others.

        @Kernel
        def double(x, out): ...          # reference
        @double.cpu(parallel=True)
        def _(x, out): ...               # Numba
        @double.gpu
        def _(x, out): per_element(out, "out = 2 * x[i];", x=x)
    """

    def __init__(self, reference):
        self.name, self.variants = reference.__name__, {"reference": reference}
        self.__doc__ = reference.__doc__
        KERNELS[self.name] = self

    def variant(self, name, **options):
        """Add a Numba variant called `name`; see `Jit` for the options."""
        def add(function):
            self.variants[name] = Jit(function, **options)
            return self
        return add

    def python(self, name, function):
        """Add a variant in plain Python, which calls other kernels or NumPy."""
        self.variants[name] = function

    def cpu(self, **options):
        """Add the Numba variant that NumPy arrays use."""
        return self.variant("cpu", **options)

    def gpu(self, function):
        """Add the CUDA variant that CuPy arrays use."""
        self.variants["gpu"] = function
        return self

    def __call__(self, *args):
        chosen = _forced.variant or ("cpu" if device_of(args[-1]) == "cpu" else "gpu")
        self.variants[chosen if chosen in self.variants else "cpu"](*args)
        if _forced.seen is not None:
            _forced.seen.add(self.name)


class _Forced(threading.local):
    variant, seen = None, None


_forced = _Forced()


@contextlib.contextmanager
def use_variant(name: str | None):
    """Run that variant of every kernel that has it, inside the block and in this thread.

    "gpu" on NumPy arrays is the CUDA text on the host; None chooses as usual. Yields the set of
    the kernels' names run, as they are run.

    Raises:
        ValueError: no kernel has a variant of that name.
    """
    known = {variant for kernel in KERNELS.values() for variant in kernel.variants}
    if name is not None and name not in known:
        raise ValueError(f"use_variant: no kernel has a variant {name!r}; "
                         f"there are {', '.join(sorted(known))}")
    before, _forced.variant, _forced.seen = (_forced.variant, _forced.seen), name, set()
    try:
        yield _forced.seen
    finally:
        _forced.variant, _forced.seen = before


class Jit:
    """A function that Numba compiles when it is first called, so that importing stays fast.

    Also a decorator for helpers: kernels may call other `Jit` functions, on Python's side too.

    Args:
        parallel: `prange` loops run on all cores (worth it from 20 microseconds of work).
        fastmath: sums may be reordered and fused (infinities and NaN stay what they are).
        inline: compiled into its callers.
    """

    def __init__(self, function, parallel=False, fastmath=False, inline=False):
        self.python, self.parallel, self.fastmath = function, parallel, fastmath
        self.inline = inline
        functools.update_wrapper(self, function)

    @functools.cached_property
    def compiled(self):
        """Numba's dispatcher."""
        import numba
        f = self.python
        names = {name: value.compiled for name in f.__code__.co_names
                 if isinstance(value := f.__globals__.get(name), Jit)}
        scope = {**f.__globals__, **names, "prange": numba.prange}
        copy = types.FunctionType(f.__code__, scope, f.__name__, f.__defaults__, f.__closure__)
        copy.__qualname__, copy.__module__ = f.__qualname__, f.__module__
        with _numba_cache(numba.config):
            return numba.njit(copy, cache=True, error_model="numpy", parallel=self.parallel,
                              fastmath=set(FAST) if self.fastmath else False,
                              inline="always" if self.inline else "never")

    def __call__(self, *args):
        return self.compiled(*args)


def jit(function=None, **options):
    """Decorate a helper that kernels call; compiled when first needed."""
    return Jit(function, **options) if function else functools.partial(Jit, **options)


# --- compiled code on disk ------------------------------------------------------------------------
@contextlib.contextmanager
def _numba_cache(config):
    """Numba's cache in our folder while a kernel is declared; other people's code keeps theirs."""
    before, config.CACHE_DIR = config.CACHE_DIR, str(cache_folder() / "numba")
    try:
        yield
    finally:
        config.CACHE_DIR = before


@functools.cache
def cache_folder() -> pathlib.Path:
    """The folder of compiled kernels, one for every state of the kernels' sources.

    Numba's own cache does not notice that a helper in another file changed; a hash over all
    sources does. `TINYVISION_CACHE` chooses another place; without a writable one it is temporary.
    """
    sources = sorted(pathlib.Path(__file__).parent.glob("ops/*.py")) + [pathlib.Path(__file__)]
    texts = [f.read_bytes() for f in sources if f.name not in ("__init__.py", "examples.py")]
    digest = hashlib.sha256(b"".join(texts)).hexdigest()[:16]
    folder = user_cache() / f"kernels-{digest}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return pathlib.Path(tempfile.mkdtemp(prefix="tinyvision-"))


def user_cache() -> pathlib.Path:
    """The user's cache folder for tinyvision, as the platform has it."""
    if place := os.environ.get("TINYVISION_CACHE"):
        return pathlib.Path(place)
    home = pathlib.Path.home()
    if sys.platform == "win32":
        return pathlib.Path(os.environ.get("LOCALAPPDATA", home / "AppData/Local")) / "tinyvision"
    if sys.platform == "darwin":
        return home / "Library/Caches/tinyvision"
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "tinyvision"


# --- CUDA text, on the GPU and on the host --------------------------------------------------------
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
    """Run the CUDA `body` once per element `i` of `out`, which it reads and assigns as `out`.

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
