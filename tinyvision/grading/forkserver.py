"""The fork server's outside: starts `zygote` in a sandbox and asks it for workers.

A new interpreter with numpy costs some 60 ms, a fork of one that waits some 3 ms. What is shared
by all the submissions of a server is what an interpreter fixes at its start, the addresses of its
memory, and no mark depends on them. It is used only where every worker can have name spaces of its
own and a filter of system calls; single-use interpreters are the default.
"""
from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import threading

from tinyvision.grading import clock, jail

START_SECONDS = 30


class ServerError(RuntimeError):
    """The fork server does not start or has ended."""


class ForkServer:
    """One server, for any number of threads.

    Raises `ServerError` where it does not start.
    """

    def __init__(self, limits=jail.Limits()):
        if "seccomp" not in jail.guards():
            raise ServerError("fork server: needs a filter of system calls (seccomp)")
        self.limits, self.lock = limits, threading.Lock()
        self.errors = tempfile.TemporaryFile()
        self._start()

    def _start(self) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                jail.strong_command(self.limits, "zygote"), stdin=theirs, start_new_session=True,
                stdout=subprocess.DEVNULL, stderr=self.errors, cwd="/", env=dict(jail.SETTINGS))
        self.control.settimeout(START_SECONDS)
        try:
            self.control.send(str(self.limits.disk).encode())
            ready = self.control.recv(64) == b"ready"
        except OSError:
            ready = False
        if not ready:
            self.close()
            raise ServerError(f"fork server: does not start here: {self.words()}")

    def worker(self) -> Forked:
        """A new worker; a server that has ended is started again, once."""
        with self.lock:
            try:
                if self.process.poll() is None:
                    return Forked(self)
            except OSError:
                pass                    # it ended a moment ago
            self.close()
            self._start()
            return Forked(self)

    def end(self, number: int) -> None:
        """End one worker and all that is in its process table."""
        with self.lock:
            try:
                self.control.send(str(number).encode())
            except OSError:
                pass                    # the server has ended, and with it every worker

    def close(self) -> None:
        """End the server and every worker."""
        self.control.close()
        self.process.kill()
        self.process.wait()

    def words(self) -> str:
        """The last line of what it said on standard error."""
        return last_line(self.errors)


class Forked:
    """One worker of a server: its pipes, and how to end it. OSError if the server has ended."""

    def __init__(self, server: ForkServer):
        self.server = server
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        self.stdin, self.stdout = open(ours_out, "wb"), open(ours_in, "rb")
        try:
            socket.send_fds(server.control, [b"new"], [theirs_in, theirs_out])
            number = server.control.recv(64)
            if not number:
                raise ConnectionError("the fork server has ended")
        except OSError:
            self.stdin.close(), self.stdout.close()
            raise
        finally:
            os.close(theirs_in), os.close(theirs_out)
        self.number = int(number)       # in the server's process table; 0: there is no worker

    def kill(self) -> None:
        """End it at once."""
        self.server.end(self.number)

    def seen(self) -> tuple | None:
        """See `clock.seen`."""
        return clock.seen(self.server.process.pid, self.number)

    def wait(self) -> None:
        """Until it has ended: nobody else holds its end of the pipe."""
        while self.stdout.read(1 << 16):
            pass

    def words(self) -> str:
        """Why it did not start."""
        return self.server.words()


def last_line(stream) -> str:
    """The last line of an open file's first 4096 bytes."""
    stream.seek(0)
    lines = stream.read(4096).decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""
