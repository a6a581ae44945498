"""Files that array code has no use for, closed by the kernel: Landlock, Linux 5.13 and later.

Nothing but the standard library: this file also stands in the sandbox. A process gives up every
right to files and then allows folders one by one; its children inherit that, and nobody can take
it back. It needs no rights and no namespaces, so it works where bubblewrap does not. Kernels know
more rights with every version ("ABI"): 4 closes TCP ports, 6 also keeps signals inside.
See the kernel's ``Documentation/userspace-api/landlock.rst``.
"""
from __future__ import annotations

import ctypes
import os
import struct
import sys

CREATE, ADD, RESTRICT = 444, 445, 446   # system calls, the same on every architecture
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
RIGHTS = {1: 1 << 13, 2: 1 << 14, 3: 1 << 15, 5: 1 << 16}   # ABI: one more than its rights
ALL_TCP, ALL_SCOPES = 0b11, 0b11        # bind and connect; abstract sockets and signals
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | 1 << 14 | 1 << 15     # what a file can allow
READ, LIST, WRITE, RUN = "read", "list", "write", "run"
LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def abi() -> int:
    """The version that this kernel has; 0 where it has none or where it is switched off."""
    return max(0, LIBC.syscall(CREATE, None, ctypes.c_size_t(0), 1)) if LIBC else 0


def rights(version: int) -> int:
    """A mask of all rights to files that this version knows."""
    return max(top for least, top in RIGHTS.items() if least <= version) - 1


def restrict(allowed: list) -> None:
    """Close everything but ``allowed``, for this process and its children, for ever.

    Arguments:
        allowed: pairs (path, kind). ``read``: files and folders below; ``list``: the names in
            folders below; ``write``: also make, change and remove; ``run``: read, and start as
            a program. A path that is not there is passed over.
    Raises OSError where the kernel refuses.
    """
    version = abi()
    every = rights(version)
    kinds = {READ: READ_FILE | READ_DIR, LIST: READ_DIR, WRITE: every & ~EXECUTE,
             RUN: READ_FILE | READ_DIR | EXECUTE}
    rules = _ruleset(every, ALL_TCP if version >= 4 else 0, 0, version)
    try:
        for path, kind in allowed:
            _allow(rules, path, kinds[kind])
        _restrict(rules)
    finally:
        os.close(rules)


def scope() -> None:
    """No signal from here to a process outside (ABI 6; does nothing before)."""
    version = abi()
    if version >= 6:
        rules = _ruleset(0, 0, ALL_SCOPES, version)
        try:
            _restrict(rules)
        finally:
            os.close(rules)


def _ruleset(files: int, tcp: int, scopes: int, version: int) -> int:
    """A new set of rules: what it handles and no rule allows is refused."""
    size = 8 if version < 4 else 16 if version < 6 else 24
    handled = struct.pack("<QQQ", files, tcp, scopes)[:size]
    return _call(CREATE, handled, ctypes.c_size_t(size), 0)


def _allow(rules: int, path: str, access: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        access &= ~0 if os.path.isdir(path) else ON_FILES
        if access:
            _call(ADD, rules, 1, struct.pack("<Qi", access, handle), 0)
    finally:
        os.close(handle)


def _restrict(rules: int) -> None:
    """Take on the rules; the process has promised to get no new privileges."""
    _call(RESTRICT, rules, 0)


def _call(number: int, *arguments) -> int:
    result = LIBC.syscall(number, *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"landlock: {os.strerror(code)}")
    return result
