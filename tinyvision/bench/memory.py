"""How much memory a call takes."""
from __future__ import annotations

import ctypes
import re
import sys

from tinyvision import kernel


def extra(contender, device: str = "cpu") -> int | None:
    """The most bytes that one call needs beyond those in use before it, its result included.

    On Linux by the process's resident memory, so also what compiled code and other libraries
    allocate. Our scratch memory, which is kept from call to call, is given back first, so that it
    counts. None: this system (or a GPU) does not tell.
    """
    if device == "gpu":
        return None
    kernel.forget_scratch()
    try:
        before = _start_over()
    except OSError:
        return None
    result = contender.once()
    peak = _status("VmHWM")
    del result
    return max(0, peak - before)


def _start_over() -> int:
    """Give freed memory back to the system, start the high-water mark over; bytes resident."""
    if sys.platform != "linux":
        raise OSError("only Linux tells a process's high-water mark and lets it start over")
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    with open("/proc/self/status") as file:
        return int(re.search(rf"{name}:\s+(\d+) kB", file.read())[1]) * 1024
