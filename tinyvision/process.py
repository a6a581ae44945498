"""What the process is told once, before its first kernel runs; what the user has set stays.

Both are settings of the system's libraries, made for programs unlike ours:

- Between two loops over threads, GNU's OpenMP either lets the workers spin, for milliseconds, or,
  told to be passive (see `tinyvision/__init__.py`), puts them to sleep at once; to wake them costs
  5 to 15 microseconds a loop. They may spin for a moment, a few microseconds: a loop that follows
  at once finds them awake, and BLAS finds its cores free.
- glibc gives a large block that is freed back to the system, which fills it with zeros, page by
  page, when it is asked for again. Maps are freed and asked for again in every training step: told
  to keep a gigabyte, a step of a small CNN takes 7.7 milliseconds instead of 11, and its peak of
  memory is the same. Blocks of more than 32 MB, the most that glibc lets one set, go back.
"""
import ctypes
import functools
import os
import sys

SPINS = "600"
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3                  # their numbers in malloc.h
KEPT, LARGEST = 1 << 30, 1 << 25                             # bytes


@functools.cache
def prepare() -> None:
    """Make both settings, where these libraries are."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt and not _allocator_is_set():
        mallopt(M_MMAP_THRESHOLD, LARGEST)
        mallopt(M_TRIM_THRESHOLD, KEPT)


def _allocator_is_set():
    named = "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"
    return any(n in os.environ for n in named) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")
