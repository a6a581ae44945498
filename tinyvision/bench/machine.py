"""What this machine is, and what it can do: peak FLOP/s and copy bandwidth, measured.

No operation can take less than the larger of operations / peak and bytes / bandwidth (the roofline
model, Williams, Waterman & Patterson 2009). Bytes are those that must move at least once: inputs
read, outputs written. What lies in a cache can be faster than that.
"""
from __future__ import annotations

import importlib.metadata
import os
import platform
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

import numpy as np

from tinyvision import simd
from tinyvision.bench import timing
from tinyvision.device import cupy
from tinyvision.kernel import jit, prange
from tinyvision.simd import multiply

COPIED = 2**28            # bytes: no cache holds them
TERMS = 192               # of the peak's sums: (10 + 32) 192 numbers fit the first cache
LIBRARIES = ("numpy", "numba", "torch", "torchvision", "jax", "dezero", "cupy")
PACKAGES = {"cupy": ("cupy-cuda13x", "cupy-cuda12x", "cupy")}
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Machine:
    """Where the figures come from.

    Attributes:
        peak: float32 operations a second, a multiplication and an addition counted as two.
        bandwidth: bytes a second of a copy too large for caches, read and written both counted.
    """
    processor: str
    threads: int
    peak: float
    bandwidth: float
    system: str = field(default_factory=platform.platform)
    python: str = field(default_factory=platform.python_version)
    libraries: dict = field(default_factory=dict)

    def floor(self, operations: float, moved: float) -> float:
        """The least seconds that so many operations and bytes take here."""
        return max(operations / self.peak, moved / self.bandwidth)

    def __str__(self):
        versions = ", ".join(f"{name} {version}" for name, version in self.libraries.items())
        return (f"{self.processor}, {self.threads} thread{'s' * (self.threads != 1)}: "
                f"peak {self.peak / 1e9:.0f} GFLOP/s, "
                f"copy {self.bandwidth / 1e9:.0f} GB/s\nPython {self.python}, {versions}")

    def as_dict(self) -> dict:
        """For JSON."""
        return asdict(self)


def measure(threads: int | None = None, device: str = "cpu", quick: bool = False) -> Machine:
    """This machine, or its GPU; the peaks are measured now."""
    threads = threads or cores()
    if device == "gpu":
        return Machine(gpu_name(), threads, *gpu_peaks(), libraries=libraries())
    return Machine(processor(), threads, peak(threads, quick), bandwidth(threads, quick),
                   libraries=libraries())


def has_threads(threads: int) -> bool:
    """Whether every library's pool has, or will have, that many threads in this process."""
    wanted = str(threads)
    if not hasattr(os, "sched_setaffinity"):
        return all(os.environ.get(name) == wanted for name in THREADS)
    return cores() == threads and all(os.environ.get(name, wanted) == wanted for name in THREADS)


def keep_to(threads: int):
    """For a new process: a function that leaves it so many of our cores; None where that cannot be
    said (then the environment variables alone must do)."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    chosen = sorted(os.sched_getaffinity(0))[:threads]
    return lambda: os.sched_setaffinity(0, chosen)


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """The processor's name."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def libraries() -> dict[str, str]:
    """{name: version} of what is installed."""
    found = {}
    for name in LIBRARIES:
        for package in PACKAGES.get(name, (name,)):
            try:
                found[name] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


# --- peaks ----------------------------------------------------------------------------------------
def peak(threads: int, quick: bool = False) -> float:
    """float32 operations a second: the faster of BLAS on a large product and our register tile."""
    return max(peak_of_blas(quick), peak_of_tile(threads, quick))


def peak_of_blas(quick: bool = False) -> float:
    """Operations a second of a large matrix product."""
    N = 1024 if quick else 2048
    a, b = np.random.default_rng(0).random((2, N, N), np.float32)
    out = np.empty_like(a)
    return 2 * N**3 / best(lambda: np.matmul(a, b, out=out), quick)


def peak_of_tile(threads: int, quick: bool = False, tiles=None, rows: int | None = None) -> float:
    """Operations a second of the largest of `simd`'s tiles (or of `tiles`, or the one of so many
    `rows`) on all threads, its numbers in the first cache; 0 where this processor has no tile."""
    tiles = tiles or simd.tiles()
    if tiles is None:
        return 0.0
    rows, columns, times = rows or tiles.rows[1], 2 * tiles.lanes, 1000 if quick else 10_000
    a, b = np.ones((rows, TERMS), np.float32), np.ones((TERMS, columns), np.float32)
    start, c = np.zeros(columns, np.float32), np.empty((threads, rows, columns), np.float32)
    taps, address = np.arange(TERMS), tiles.table[simd.ROWS, 1, rows]
    return 2 * c.size * TERMS * times / best(
        lambda: tile_again_and_again(address, taps, taps * columns, a, b, start, c, times), quick)


@jit(parallel=True)
def tile_again_and_again(address, a_taps, b_taps, a, b, start, c, times):
    """c[t] = start + a b, by every thread t, many times."""
    (rows, terms), columns = a.shape, b.shape[1]
    for t in prange(len(c)):
        to = c.ctypes.data + np.int64(t) * 4 * rows * columns
        for _ in range(times):
            multiply(address, (a.ctypes.data, terms, 0, a_taps.ctypes.data, b.ctypes.data, 0,
                               b_taps.ctypes.data, 1, terms, 1, start.ctypes.data, 0, to, columns,
                               columns))


def bandwidth(threads: int, quick: bool = False) -> float:
    """Bytes a second of a copy by all threads, read and written both counted: the best of three
    pairs of arrays, because where the system puts them changes it by a factor of two."""
    with ThreadPoolExecutor(threads) as pool:
        return max(_copied(pool, threads, quick) for _ in range(3))


def _copied(pool, threads, quick) -> float:
    source, target = np.ones(COPIED // 4, np.float32), np.ones(COPIED // 4, np.float32)
    parts = list(zip(np.array_split(source, threads), np.array_split(target, threads)))
    return 2 * COPIED / best(
        lambda: list(pool.map(lambda part: np.copyto(part[1], part[0]), parts)), quick)


def gpu_name() -> str:
    """The device's name."""
    return cupy().cuda.runtime.getDeviceProperties(0)["name"].decode()


def gpu_peaks() -> tuple[float, float]:
    """(operations a second of a large float32 product without TF32, bytes a second of a copy)."""
    xp, N = cupy(), 8192
    a, b, out = (xp.ones((N, N), xp.float32) for _ in range(3))
    wait = xp.cuda.Stream.null.synchronize
    return (2 * N**3 / best(lambda: xp.matmul(a, b, out=out), False, wait),
            2 * a.nbytes / best(lambda: xp.copyto(out, a), False, wait))


def best(call, quick: bool, wait=timing.nothing) -> float:
    """The shortest block's median: a peak is what was reached, not what is usual."""
    call()
    contender = timing.Contender("peak", call, wait=wait)
    return min(timing.race([contender], rounds=2 if quick else 5)["peak"])
