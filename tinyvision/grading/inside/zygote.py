"""The fork server's inside: imports numpy once, then forks a worker for each submission.

It runs in the sandbox (`jail.started`). Its standard input is a socket to the grader; a message
``new`` comes with two pipes and is answered by the number of a process, a message that is such a
number ends it. No line of a student's runs in the server, it holds no answers, and no student can
reach it: every worker has a user, a process table, a mount table, a network and System V objects of
its own, and the server's memory is closed to other processes.

Each worker is two processes. The *keeper* makes the name spaces and waits; its child is number 1
of the new process table, mounts its own temporary folder, gives up every right and becomes a
`worker`. The server ends the keeper, the kernel then the child (``PR_SET_PDEATHSIG``) and with it,
as with every number 1, whatever else is in its process table.
"""
from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import sys

from . import worker

NEW_NAMESPACES = 0x7C020000             # CLONE_NEW USER, PID, NET, IPC, UTS, NS
PRIVATE, CLOSED = 0x4000 | 0x40000, 1 | 2 | 4 | 8       # MS_REC | MS_PRIVATE; RDONLY NOSUID NO...
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, CAPSET_VERSION = 1, 4, 0x20080522
# As bubblewrap mounts them for a new interpreter: it cannot limit how many files there are.
TEMPORARY, SHARED = "size={disk},mode=1777", b"size=1048576,mode=755"
LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def checked(result: int, what: str) -> None:
    """OSError where a call of the C library failed."""
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def separate() -> None:
    """Enter new name spaces, as the same user number, who is nobody outside."""
    user, group = os.getuid(), os.getgid()
    checked(LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl")   # else /proc/self belongs to root
    checked(LIBC.unshare(NEW_NAMESPACES), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"),
                       ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as stream:
            stream.write(text)


def furnish(disk: int) -> None:
    """Temporary folders of its own; a process table that shows only itself, else none."""
    mount(b"none", b"/", None, PRIVATE, None)
    mount(b"tmpfs", b"/tmp", b"tmpfs", 2 | 4, TEMPORARY.format(disk=disk).encode())
    mount(b"tmpfs", b"/dev/shm", b"tmpfs", 2 | 4, SHARED)
    try:
        mount(b"proc", b"/proc", b"proc", 2 | 4 | 8, None)
    except OSError:                     # parts of /proc are covered: then no new one is allowed
        mount(b"tmpfs", b"/proc", b"tmpfs", CLOSED, b"size=4k")
    os.chdir("/tmp")


def mount(source: bytes, target: bytes, kind: bytes | None, flags: int, data) -> None:
    """mount(2)."""
    checked(LIBC.mount(source, target, kind, ctypes.c_ulong(flags), data), f"mount {target!r}")


def give_up_rights() -> None:
    """Drop every capability that the new user name space gave."""
    header, nothing = struct.pack("<Ii", CAPSET_VERSION, 0), bytes(24)
    checked(LIBC.capset(header, nothing), "capset")


def keep(requests: int, replies: int, disk: int) -> None:
    """The keeper: one worker in new name spaces, until it ends. Returns in the worker only."""
    try:
        os.dup2(requests, 3), os.dup2(replies, 4)
        os.closerange(5, 4096)
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)      # the way to the grader is closed
        separate()
        child = os.fork()
        if child == 0:
            checked(LIBC.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "prctl")
            furnish(disk)
            give_up_rights()
            return
        os.closerange(3, 5)
        os.waitpid(child, 0)
        os._exit(0)
    except BaseException as error:
        failed(error)


def failed(error: BaseException) -> None:
    """End this process; the grader reads why on standard error."""
    try:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(1)


class Server:
    """Forks keepers and ends them."""

    def __init__(self, control: socket.socket, disk: int):
        self.control, self.disk, self.keepers = control, disk, set()

    def run(self) -> bool:
        """Do what the grader says until it closes its end: False. In each worker: True."""
        while True:
            message, pipes, _, _ = socket.recv_fds(self.control, 64, 2)
            self.reap()
            if not message:
                return False
            if message == b"new":
                if self.fork(*pipes):
                    return True
            elif int(message) in self.keepers:
                os.kill(int(message), signal.SIGKILL)

    def fork(self, requests: int, replies: int) -> bool:
        """A keeper and its worker; tell the grader the keeper's number. True in the worker."""
        pid = os.fork()
        if pid == 0:
            keep(requests, replies, self.disk)
            return True
        os.close(requests), os.close(replies)
        self.keepers.add(pid)
        self.control.send(str(pid).encode())
        return False

    def reap(self) -> None:
        """Forget the keepers that have ended."""
        while self.keepers:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self.keepers.discard(pid)


def main() -> None:
    """Warm up, hide, serve."""
    control = socket.socket(fileno=os.dup(0))
    worker.warm()
    from . import landlock, seccomp     # noqa: F401  both needed in every worker; Linux only
    seccomp.hide_memory()
    seccomp.server(os.uname().machine)  # made once
    disk = int(control.recv(64))
    control.send(b"ready")
    if Server(control, disk).run():
        try:                            # called from here it is as deep as in an interpreter of
            worker.serve(open(3, "rb"), open(4, "wb"))      # its own, as is endless recursion's end
            os._exit(0)
        except BaseException as error:
            failed(error)

