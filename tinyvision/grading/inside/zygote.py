"""The fork server's inside: imports numpy once, then forks a worker for each submission.

It runs in the sandbox (`jail.started`). Its standard input is a socket to the grader; a message
``new`` comes with two pipes and is answered by the number of a process, a message that is such a
number ends it. No line of a student's runs in the server, it holds no answers, and no student can
reach it: every worker has a user, a process table, a mount table, a network and System V objects of
its own, and the server's memory is closed to other processes.

A worker is number 1 of its process table: it mounts its own temporary folder, gives up every right
and serves as a `worker`. The server ends it, and the kernel with it, as with every number 1,
whatever else is in that table.
"""
from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import sys

from . import landlock, seccomp, worker     # noqa: F401  every worker needs landlock

NEW_NAMESPACES = 0x7C020000             # CLONE_NEW USER, PID, NET, IPC, UTS, NS
CLONE = {"x86_64": 56, "aarch64": 220}  # the number of clone(2)
PRIVATE, CLOSED = 0x4000 | 0x40000, 1 | 2 | 4 | 8       # MS_REC | MS_PRIVATE; RDONLY NOSUID NO...
PR_SET_DUMPABLE, CAPSET_VERSION = 4, 0x20080522
# As bubblewrap mounts them for a new interpreter: it cannot limit how many files there are.
TEMPORARY, SHARED = "size={disk},mode=1777", b"size=1048576,mode=755"
LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
LOCKED = LIBC and ctypes.PyDLL(None, use_errno=True)    # keeps the interpreter's lock in its calls


def checked(result: int, what: str) -> None:
    """OSError where a call of the C library failed."""
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def separate_fork() -> int:
    """os.fork into new name spaces, which that function cannot: 0 in the child, who has the same
    user number and is nobody outside. A fork and `unshare` would take a third process: one's own
    process table cannot be changed."""
    user, group = os.getuid(), os.getgid()
    arguments = CLONE[os.uname().machine], NEW_NAMESPACES | signal.SIGCHLD, 0, 0, 0, 0
    LOCKED.PyOS_BeforeFork()
    pid = LOCKED.syscall(*map(ctypes.c_long, arguments))
    if pid != 0:
        LOCKED.PyOS_AfterFork_Parent()
        checked(min(pid, 0), "clone")
        return pid
    LOCKED.PyOS_AfterFork_Child()
    try:
        checked(LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl")   # else /proc/self is root's
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"),
                           ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as stream:
                stream.write(text)
    except BaseException as error:
        failed(error)
    return 0


def furnish(disk: int, processes: bool) -> None:
    """Temporary folders of its own; a process table that shows only itself, else none."""
    mount(b"none", b"/", None, PRIVATE, None)
    mount(b"tmpfs", b"/tmp", b"tmpfs", 2 | 4, TEMPORARY.format(disk=disk).encode())
    mount(b"tmpfs", b"/dev/shm", b"tmpfs", 2 | 4, SHARED)
    if processes:
        show_processes()
    else:
        mount(b"tmpfs", b"/proc", b"tmpfs", CLOSED, b"size=4k")
    os.chdir("/tmp")


def show_processes() -> None:
    """OSError where parts of /proc are covered: then the kernel allows no new one."""
    mount(b"proc", b"/proc", b"proc", 2 | 4 | 8, None)


def shows_processes() -> bool:
    """Whether a worker may mount /proc: tried once, as each refusal is written to the system's
    log."""
    pid = separate_fork()
    if pid == 0:
        try:
            show_processes()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def mount(source: bytes, target: bytes, kind: bytes | None, flags: int, data) -> None:
    """mount(2)."""
    checked(LIBC.mount(source, target, kind, ctypes.c_ulong(flags), data), f"mount {target!r}")


def give_up_rights() -> None:
    """Drop every capability that the new user name space gave."""
    header, nothing = struct.pack("<Ii", CAPSET_VERSION, 0), bytes(24)
    checked(LIBC.capset(header, nothing), "capset")


def begin(requests: int, replies: int, disk: int, processes: bool) -> None:
    """A worker's first steps: its pipes are 3 and 4, its folders its own, and it has no rights."""
    try:
        os.dup2(requests, 3), os.dup2(replies, 4)
        os.closerange(5, 4096)
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)      # the way to the grader is closed
        seccomp.die_with_parent()
        furnish(disk, processes)
        give_up_rights()
    except BaseException as error:
        failed(error)


def failed(error: BaseException) -> None:
    """End this process; the grader reads why on standard error."""
    try:
        told(error)
    finally:
        os._exit(1)


def told(error: BaseException) -> None:
    """Say on standard error what went wrong."""
    os.write(2, f"{type(error).__name__}: {error}\n".encode())


class Server:
    """Forks workers and ends them."""

    def __init__(self, control: socket.socket, disk: int):
        self.control, self.disk, self.workers = control, disk, set()
        self.processes = shows_processes()

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
            elif int(message) in self.workers:
                os.kill(int(message), signal.SIGKILL)

    def fork(self, requests: int, replies: int) -> bool:
        """A worker; tell the grader its number, 0 where there is none. True in the worker."""
        try:
            pid = separate_fork()
        except OSError as error:
            told(error)
            pid = None
        if pid == 0:
            begin(requests, replies, self.disk, self.processes)
            return True
        os.close(requests), os.close(replies)
        if pid:
            self.workers.add(pid)
        self.control.send(str(pid or 0).encode())
        return False

    def reap(self) -> None:
        """Forget the workers that have ended."""
        while self.workers:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self.workers.discard(pid)


def main() -> None:
    """Warm up, hide, serve."""
    control = socket.socket(fileno=os.dup(0))
    worker.warm()
    seccomp.hide_memory()
    seccomp.server(os.uname().machine)  # made once
    server = Server(control, int(control.recv(64)))
    control.send(b"ready")
    if server.run():
        try:                            # called from here it is as deep as in an interpreter of
            worker.serve(open(3, "rb"), open(4, "wb"))      # its own, as is endless recursion's end
            os._exit(0)
        except BaseException as error:
            failed(error)

