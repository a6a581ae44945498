"""System calls that array code has no use for, refused by the kernel: a seccomp filter.

Nothing but the standard library: this file also stands in the sandbox. A filter is a program in
classic BPF (McCanne & Jacobson, 1993) that the kernel runs before every system call: it loads the
call's number or an argument, compares, jumps, and returns what to do. Once set it can never be
taken off, and every child inherits it.

Two filters are set. The worker's (`SERVER`) takes away new programs, sockets, tracing, namespaces,
mounts, keys and modules, but leaves ``fork``: each case has a process of its own. The case's
(`student`) takes away ``fork`` and every signal to another process, too.

Trap: ``clone3`` hides its flags behind a pointer, which no filter can follow. It must be answered
with ENOSYS ("this kernel has none"), so that the C library falls back to ``clone``; with EPERM no
thread could start.
"""
from __future__ import annotations

import ctypes
import functools
import os
import signal
import struct
import sys

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}   # linux/audit.h; both little-endian
CALLS = {                               # name: (x86_64, aarch64); None: there is no such call
    "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117), "socket": (41, 198),
    "socketpair": (53, 199), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40),
    "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219), "bpf": (321, 280),
    "perf_event_open": (298, 241), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "process_madvise": (440, 440), "userfaultfd": (323, 282),
    "kcmp": (312, 272), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "sethostname": (170, 161),
    "setdomainname": (171, 162), "acct": (163, 89), "quotactl": (179, 60),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "lookup_dcookie": (212, 18), "personality": (135, 92), "syslog": (103, 116),
    "fanotify_init": (300, 262), "iopl": (172, None), "ioperm": (173, None),
    "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "fork": (57, None), "vfork": (58, None), "clone": (56, 220), "clone3": (435, 435),
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "fremovexattr": (199, 16), "setpriority": (141, 140),
    "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274), "ioprio_set": (251, 30),
    "prlimit64": (302, 261)}
FORKS = ("fork", "vfork")
SIGNALS = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal")
# Landlock guards what is in files, not whose they are; and these calls reach other processes.
ABOUT = tuple(list(CALLS)[list(CALLS).index("chmod"):-1])
REFUSED = tuple(name for name in CALLS if name not in (
    *FORKS, *SIGNALS, *ABOUT, "clone", "clone3", "prlimit64"))
CLONE_THREAD, NEW_NAMESPACES = 0x00010000, 0x7E020000
X32 = 0x40000000                        # a second table of numbers on x86_64, never needed

ALLOW, ENDS = 0x7FFF0000, 0x80000000    # SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS
EPERM, ENOSYS = 0x00050000 | 1, 0x00050000 | 38         # SECCOMP_RET_ERRNO | errno
LOAD, RETURN = 0x20, 0x06               # BPF_LD | BPF_W | BPF_ABS, BPF_RET | BPF_K
EQUAL, AT_LEAST, ANY_BIT = 0x15, 0x35, 0x45             # BPF_JMP | {JEQ, JGE, JSET} | BPF_K
NUMBER, ARCHITECTURE, ARGUMENT = 0, 4, 16               # offsets in struct seccomp_data
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, FILTER = 1, 4, 22, 38, 2


# ---- the program ---------------------------------------------------------------------------------

def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    """One instruction, struct sock_filter; ``yes`` and ``no`` say how many to jump over."""
    return struct.pack("<HBBI", code, yes, no, value & 0xFFFFFFFF)


def _when(number: int | None, *then: bytes) -> bytes:
    """Instructions for one call, passed over by every other; nothing where there is no such."""
    return b"" if number is None else _step(EQUAL, number, 0, len(then)) + b"".join(then)


def _if_argument(test: int, value: int, yes: int, no: int) -> list[bytes]:
    """Decide by the lower half of the call's first argument."""
    return [_step(LOAD, ARGUMENT), _step(test, value, 0, 1), _step(RETURN, yes), _step(RETURN, no)]


def number(name: str, machine: str) -> int | None:
    """A call's number on ``x86_64`` or ``aarch64``; None where there is no such call."""
    return CALLS[name][list(AUDIT).index(machine)]


@functools.cache
def server(machine: str) -> bytes:
    """The filter of the worker: it may fork, into no new namespaces, and end its children."""
    refused = b"".join(_when(number(name, machine), _step(RETURN, EPERM)) for name in REFUSED)
    clone = _if_argument(ANY_BIT, NEW_NAMESPACES, EPERM, ALLOW)
    return _head(machine) + refused + _when(number("clone", machine), *clone) \
        + _when(number("clone3", machine), _step(RETURN, ENOSYS)) + _step(RETURN, ALLOW)


def student(machine: str, pid: int) -> bytes:
    """The filter of a case's process ``pid``: threads, but no forks; signals to itself only, and
    one to anybody else ends it; limits of its own only; no file's owner, rights or times."""
    forks = b"".join(_when(number(name, machine), _step(RETURN, EPERM)) for name in (
        *FORKS, *ABOUT))
    limits = _when(number("prlimit64", machine), *_if_argument(EQUAL, 0, ALLOW, EPERM))
    own = _if_argument(EQUAL, pid, ALLOW, ENDS)
    signals = b"".join(_when(number(name, machine), *own) for name in SIGNALS)
    clone = _if_argument(ANY_BIT, CLONE_THREAD, ALLOW, EPERM)
    return _head(machine) + forks + limits + signals + _when(number("clone", machine), *clone) \
        + _step(RETURN, ALLOW)


def _head(machine: str) -> bytes:
    """End what calls by another architecture's numbers; load the call's number."""
    x32 = _step(AT_LEAST, X32, 0, 1) + _step(RETURN, ENOSYS) if machine == "x86_64" else b""
    return _step(LOAD, ARCHITECTURE) + _step(EQUAL, AUDIT[machine], 1, 0) + _step(RETURN, ENDS) \
        + _step(LOAD, NUMBER) + x32


# ---- the kernel ----------------------------------------------------------------------------------

class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]


def no_new_privileges() -> None:
    """No program that this process starts gets rights that it has not: what filters ask for."""
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def install(program: bytes) -> None:
    """Put a filter on this process, for ever; OSError where the kernel refuses."""
    steps = ctypes.create_string_buffer(program, len(program))
    filter_ = _Program(len(program) // 8, ctypes.cast(steps, ctypes.c_void_p))
    no_new_privileges()
    _prctl(PR_SET_SECCOMP, FILTER, ctypes.byref(filter_))


def hide_memory() -> None:
    """Other processes of this user can neither trace this one nor read its memory; nor can its
    own forks, which inherit that."""
    _prctl(PR_SET_DUMPABLE, 0)


def die_with_parent() -> None:
    """The kernel kills this process when the one that started it ends, however that ends."""
    _prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _prctl(what: int, *arguments) -> None:
    arguments = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    arguments += [ctypes.c_ulong(0)] * (4 - len(arguments))
    if LIBC.prctl(what, *arguments):
        code = ctypes.get_errno()
        raise OSError(code, f"prctl: {os.strerror(code)}")


LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
