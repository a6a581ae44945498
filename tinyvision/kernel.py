"""Kernels: one name, one signature, variants that must agree.

A kernel writes every element of its last argument, `out`, which arrives holding anything, and
returns nothing. Its variants:

- ``reference``: the slide's loops in plain Python; the specification.
- ``cpu``: Numba, compiled at the first call and cached on disk.
- ``gpu``: CUDA text (see `cuda`), which on NumPy arrays runs on the host.

Other names (``cpu_loops``, ``cpu_gemm``) are rungs of a ladder. Tests walk `KERNELS` and compare
every variant with the reference.

Kernels receive C-contiguous, writable arrays (see `device.contiguous`).
"""
from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import math
import os
import pathlib
import shutil
import sys
import tempfile
import threading
import time
import types

import numpy as np

from tinyvision.device import device_of
from tinyvision.process import prepare

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
        if _forced.rehearsal is not None and rehearsed(self.name, *args):
            return
        chosen = _forced.variant
        if chosen not in self.variants:
            chosen = device_of(args[-1])
        self.variants[chosen](*args)
        if _forced.seen is not None:
            _forced.seen.add(self.name)


class _Forced(threading.local):
    variant, seen, rehearsal = None, None, None


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


USUAL = "as usual"


def as_usual() -> None:
    """Note, for `use_variant`, that a variant does not apply and what is usual runs instead: the
    set has `USUAL` then."""
    if _forced.seen is not None:
        _forced.seen.add(USUAL)


@contextlib.contextmanager
def rehearse():
    """Inside the block and in this thread no kernel computes: results hold anything.

    For what depends on shapes alone. Yields a list to which (name, shapes of the arguments) of
    every kernel and matrix product is added that would have run.
    """
    before, _forced.rehearsal = _forced.rehearsal, []
    try:
        yield _forced.rehearsal
    finally:
        _forced.rehearsal = before


def rehearsing() -> bool:
    """Whether this is a rehearsal: what is in arrays must not be looked at."""
    return _forced.rehearsal is not None


def rehearsed(name, *args) -> bool:
    """Whether this is a rehearsal: then the call is noted, and must not be made."""
    if not rehearsing():
        return False
    _forced.rehearsal.append((name, tuple(getattr(a, "shape", ()) for a in args)))
    return True


class Jit:
    """A function that Numba compiles when it is first called, so that importing stays fast.

    Also a decorator for helpers: kernels may call other `Jit` functions, on Python's side too.

    Args:
        parallel: `prange` loops run on all cores (worth it from 20 microseconds of work).
        fastmath: sums may be reordered and fused (infinities and NaN stay what they are).
        inline: compiled into its callers.
        allocates: it makes or returns arrays, or assigns one slice of an array to another. (Without,
            Numba counts no references, and compiles in half the time.)
    """

    def __init__(self, function, parallel=False, fastmath=False, inline=False, allocates=False):
        self.python, self.fastmath = function, fastmath
        self.options = {"parallel": parallel, "inline": "always" if inline else "never",
                        "_nrt": allocates}
        functools.update_wrapper(self, function)

    @functools.cached_property
    def compiled(self):
        """Numba's dispatcher, for calls from Python."""
        return self._dispatcher(cache=True)

    @functools.cached_property
    def helper(self):
        """Numba's dispatcher, for calls from compiled code: a part of its callers, kept with them.

        Inlined always: else a caller's copy of a helper is a weak symbol, which the process that
        compiles both resolves to the helper's own, differently optimised code, and a process that
        reads the caller from the cache to the caller's; their last bits differed.
        """
        return self._dispatcher(no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)

    def _dispatcher(self, **options):
        prepare()
        import numba
        f = self.python
        names = {name: value.helper for name in f.__code__.co_names
                 if isinstance(value := f.__globals__.get(name), Jit)}
        scope = {**f.__globals__, **names, "prange": numba.prange}
        copy = types.FunctionType(f.__code__, scope, f.__name__, f.__defaults__, f.__closure__)
        copy.__qualname__, copy.__module__ = f.__qualname__, f.__module__
        _tell_of_compiling()
        with _numba_cache(numba.config):
            return numba.njit(copy, error_model="numpy", **self.options, **options,
                              fastmath=set(FAST) if self.fastmath else False)

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
    here = pathlib.Path(__file__).parent
    sources = [*sorted(here.glob("ops/*.py")), *sorted(here.glob("simd*.py")),
               *(here / name for name in ("kernel.py", "worker.py"))]
    texts = [f.read_bytes() for f in sources if f.name not in ("__init__.py", "examples.py")]
    digest = hashlib.sha256(b"".join(texts)).hexdigest()[:16]
    folder = user_cache() / f"kernels-{digest}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        folder = tempfile.mkdtemp(prefix="tinyvision-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return pathlib.Path(folder)


PATIENCE = 1.0                             # seconds of compiling before a line is printed


@functools.cache
def _tell_of_compiling():
    """Once kernels have been compiled for a second, say so on stderr, and that it is kept."""
    from numba.core import event

    class Compiling(event.Listener):
        depth, spent, began, ours, told = 0, 0.0, 0.0, False, False

        def on_start(self, what):
            if not self.depth:
                self.began, self.ours = time.perf_counter(), _ours(what.data["dispatcher"])
            self.depth += 1

        def on_end(self, what):
            self.depth -= 1                                  # what is left: those that called it
            spent = self.spent + self.ours * (time.perf_counter() - self.began)
            self.spent = self.spent if self.depth else spent
            if spent > PATIENCE and not self.told:
                self.told = True
                print("tinyvision: compiling kernels for this machine; they are kept in "
                      f"{cache_folder()}", file=sys.stderr, flush=True)
    event.register("numba:compile", Compiling())


def _ours(dispatcher):
    return dispatcher.py_func.__module__.startswith("tinyvision.")


def user_cache() -> pathlib.Path:
    """The user's cache folder for tinyvision, as the platform has it."""
    if place := os.environ.get("TINYVISION_CACHE"):
        return pathlib.Path(place)
    try:
        home = pathlib.Path.home()
    except RuntimeError:                                     # a user without a home
        home = pathlib.Path(os.devnull)
    if sys.platform == "win32":
        return pathlib.Path(os.environ.get("LOCALAPPDATA", home / "AppData/Local")) / "tinyvision"
    if sys.platform == "darwin":
        return home / "Library/Caches/tinyvision"
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "tinyvision"


# --- threads and scratch memory -------------------------------------------------------------------
class _Local(threading.local):
    threads = None                         # what Numba says: to ask takes half a microsecond

    def __init__(self):
        self.buffers = {}


_local = _Local()


def threads() -> int:
    """How many threads kernels share their work among."""
    if _local.threads is None:
        import numba
        _local.threads = numba.get_num_threads()
    return _local.threads


def set_num_threads(number: int) -> None:
    """Share the work of kernels, and of NumPy's matrix products, among `number` threads.

    For kernels it holds in this thread of Python, for the matrix products in the process. Results
    are the same from run to run for a given number.

    Raises:
        ValueError: fewer than 1, or more than the machine's cores (or NUMBA_NUM_THREADS).
    """
    import numba
    import threadpoolctl
    most = numba.config.NUMBA_NUM_THREADS
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)) \
            or not 1 <= number <= most:
        raise ValueError(f"set_num_threads: got {number!r}, expected a whole number from 1 to "
                         f"{most}, the threads that this process may have")
    numba.set_num_threads(int(number))
    _local.threads = int(number)
    threadpoolctl.threadpool_limits(int(number), user_api="blas")


def scratch(name: str, shape: tuple):
    """Float32 memory for a kernel's own use, 64-byte aligned, holding anything.

    It grows and is never given back, because fresh memory costs more than most arithmetic. It is
    this thread's; the next call with the same name gets the same memory.
    """
    size = math.prod(shape)
    return _memory(name, size)[0][:size].reshape(shape)


def scratch_address(name: str, size: int) -> int:
    """Where `scratch(name, (size,))` begins."""
    return _memory(name, size)[1]


def _memory(name, size):
    """(the array, its address)."""
    found = _local.buffers.get(name)
    if found is None or found[0].size < size:
        memory = np.empty(size + 16, np.float32)
        first = -memory.ctypes.data % 64 // 4
        array = memory[first:first + size]
        found = _local.buffers[name] = array, array.ctypes.data
    return found


def forget_scratch() -> None:
    """Give this thread's scratch memory back."""
    _local.buffers.clear()
