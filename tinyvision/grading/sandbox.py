"""Where a student's code runs: a child process with as much isolation as this machine has.

`jail` says what each level is made of, `probe` which one truly works here, `Session` runs a worker
in it, from a new interpreter; `zygote` forks workers from one that waits. `doctor` explains.
"""
from __future__ import annotations

import contextlib
import functools
import os
import shutil
import struct
import subprocess
import sys
import tempfile

from tinyvision.grading import clock, jail, scratch
from tinyvision.grading.forkserver import ForkServer, last_line
from tinyvision.grading.inside import messages, worker
from tinyvision.grading.jail import LEVELS, SETTINGS, Limits, interpreter, numpy_site  # noqa: F401

START_SECONDS = 30                      # for the interpreter and numpy on a busy machine


class SandboxError(RuntimeError):
    """The sandbox did not start: a fault of the grader or the machine, never of a student."""


@functools.cache
def probe() -> tuple[str, str]:
    """(the best level that truly works here, why not a better one)."""
    if not worker.CAN_FORK:
        return "none", f"{sys.platform} has no fork and no resource limits"
    if sys.platform != "linux":
        return "medium", f"{sys.platform} has no bubblewrap"
    if shutil.which("bwrap") is None:
        return "medium", "bubblewrap is not installed (apt install bubblewrap)"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "medium", "root needs setpriv to give up its rights (apt install util-linux)"
    try:
        Session("probe.py", b"", "strong").close()
    except SandboxError as error:
        return "medium", f"bubblewrap is installed but does not work here: {error}"
    return "strong", "bubblewrap works"


# ---- one running worker --------------------------------------------------------------------------

_RUNNING: set = set()                   # of sessions
_SERVER: list = []                      # the fork server, where one is in use


def kill_all() -> None:
    """End every worker that is running."""
    for session in list(_RUNNING):
        session.kill()


@contextlib.contextmanager
def fork_server(limits: Limits = Limits()):
    """While this is open, strong sessions are forks of one server instead of new interpreters.
    `forkserver.ServerError` where it does not work here."""
    server = ForkServer(limits)
    _SERVER.append(server)
    try:
        yield server
    finally:
        _SERVER.remove(server)
        server.close()


class Fresh:
    """A worker in an interpreter of its own: its pipes, and how to end it."""

    def __init__(self, level: str, limits: Limits, folder: str):
        strong = level == "strong"
        self.errors = tempfile.TemporaryFile()
        inherited = {} if os.name == "posix" else {
            name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment = {**inherited, **SETTINGS}
        self.process = subprocess.Popen(
            jail.strong_command(limits) if strong else jail.plain_command(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            cwd="/" if strong else folder, start_new_session=True,
            env=environment if strong or os.name != "posix"
            else {**environment, "TMPDIR": folder, "HOME": folder})
        self.stdin, self.stdout, self.wait = (self.process.stdin, self.process.stdout,
                                              self.process.wait)

    def kill(self) -> None:
        """End it, and whatever is left of its group."""
        try:
            if os.name == "posix":
                os.killpg(self.process.pid, 9)
            self.process.kill()
        except (ProcessLookupError, PermissionError):
            pass

    def seen(self) -> tuple | None:
        """See `clock.seen`."""
        return clock.seen(self.process.pid)

    def words(self) -> str:
        """Why it did not start."""
        return last_line(self.errors)


class Session:
    """One worker with one submission in it.

    Arguments:
        name: the submission's file name; ``.ipynb`` makes it a notebook.
        source: its bytes.
        level: one of `LEVELS`.
        functions: the names of those that are graded; by default all that it defines.
    Raises `SandboxError` if the worker does not start.
    """

    def __init__(self, name: str, source: bytes, level: str, limits: Limits = Limits(),
                 functions=()):
        strong = level == "strong"
        self.folder = None if strong else scratch.folder()
        folder = "/tmp" if strong else self.folder.name
        user = jail.lesser_user(level)
        if user:
            os.chown(folder, *user)
        self.process = _SERVER[-1].worker() if strong and _SERVER else Fresh(level, limits, folder)
        _RUNNING.add(self)
        setup = {"name": name, "functions": list(functions), "frame_cap": 256 << 20,
                 "limits": limits.rlimits(level), "guard": jail.guard(level, folder), "user": user,
                 "scratch": folder if level != "none" else None}
        hello = self._exchange(messages.pack(setup, [source]), START_SECONDS, 1 << 16)
        if hello[0].get("status") != "hello":
            self.close()
            raise SandboxError(self.process.words() or hello[0].get("message", "no answer"))
        self.forks = bool(hello[0].get("fork"))
        self.alive = True

    def ask(self, request: dict, blobs, seconds: float, cap: int,
            talk=None) -> tuple[dict, list[bytes]]:
        """The worker's answer to one request, as (header, blobs). ``talk``: a `talking.Talk` that
        answers the worker's questions on the way.

        The header's ``status`` is what the worker says, or ``timeout``, ``crashed`` (the worker
        itself ended) or ``garbled``; after these three the session is not `alive`, and neither is
        it where the worker cannot fork and so can answer only once. ``seconds`` in it are those
        that it used (`clock.used`).
        """
        header, answers = self._exchange(messages.pack(request, blobs), seconds, cap, talk, True)
        if not self.forks or header["status"] in ("timeout", "crashed-worker", "garbled"):
            self.close()
        return header, answers

    def _exchange(self, message: bytes, seconds: float, cap: int, talk=None,
                  timed: bool = False) -> tuple[dict, list[bytes]]:
        worked = None
        with clock.Clock(seconds, self.process.seen, self.kill, talk is not None) as limit:
            try:
                header, blobs = self._step(message, cap)
                if talk is not None:
                    header, blobs = talk(lambda message: self._step(message, cap), header, blobs)
                if timed:
                    worked, = struct.unpack("<d", self._frame(8))
            except (OSError, EOFError):     # a broken pipe, or the end: the worker has ended
                header, blobs = {"status": "crashed-worker",
                                 "message": "the whole process ended"}, []
            except (ValueError, struct.error) as error:
                header, blobs = {"status": "garbled", "message": str(error)}, []
        if limit.expired or worked is not None and worked > seconds:   # by threads, unseen so far
            return {"status": "timeout", "seconds": seconds}, []
        return header | {"seconds": clock.used(limit.waited(), worked, limit.talks)}, blobs

    def _step(self, message: bytes, cap: int) -> tuple[dict, list[bytes]]:
        """One message there and one back; EOFError where none comes."""
        messages.write_frame(self.process.stdin, message)
        header, blobs = messages.unpack(self._frame(cap))
        if not isinstance(header.get("status"), str):
            raise ValueError("an answer without a status")
        return header, blobs

    def _frame(self, cap: int) -> bytes:
        """What comes next; EOFError where nothing does."""
        frame = messages.read_frame(self.process.stdout, cap)
        if frame is None:
            raise EOFError
        return frame

    def kill(self) -> None:
        """End the worker and all its children at once."""
        self.process.kill()

    def close(self) -> None:
        """End the worker and remove its folder; nothing where that is done."""
        self.alive = False
        if self not in _RUNNING:
            return
        _RUNNING.discard(self)
        self.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            try:
                stream.close()
            except OSError:
                pass                    # what was not yet written has no reader any more
        if self.folder:
            self.folder.cleanup()
