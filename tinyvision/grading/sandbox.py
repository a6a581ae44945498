"""Where a student's code runs: a child process with as much isolation as this machine has.

========  ==========================================================================================
strong    Linux with bubblewrap: an own minimal file system, process table and network, an
          unprivileged user, resource limits. Neither tinyvision nor any answer is in it.
medium    A plain child of the same user: clean environment, empty folder, resource limits. It can
          read what the user can read.
none      No ``fork`` and no resource limits (Windows): a plain child with a time limit.
========  ==========================================================================================

Trap: bubblewrap started by root maps the sandbox to the host's root, and ``/root/.pyenv`` is closed
to everybody else. So root builds the file system first (a read-only view of the interpreter and of
numpy at new paths), then becomes nobody, then enters a user namespace that allows no further one.
"""
from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyvision.grading import worker

LEVELS = ("strong", "medium", "none")
NOBODY = "65534"
START_SECONDS = 30                      # for the interpreter and numpy on a busy machine
THREADS = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}


@dataclass(frozen=True)
class Limits:
    """What one process of a student may use, in bytes, processes and files."""
    memory: int = 1 << 30
    disk: int = 64 << 20
    file: int = 8 << 20
    processes: int = 32
    cpu_seconds: int = 600

    def rlimits(self, level: str) -> dict[str, int]:
        """The limits by the names of the `resource` module. Processes are counted per user, so
        they can be limited only where the sandbox has its own users."""
        values = {"RLIMIT_AS": self.memory, "RLIMIT_FSIZE": self.file, "RLIMIT_CORE": 0,
                  "RLIMIT_NOFILE": 64, "RLIMIT_CPU": self.cpu_seconds}
        return values | ({"RLIMIT_NPROC": self.processes} if level == "strong" else {})


class SandboxError(RuntimeError):
    """The sandbox did not start: a fault of the grader or the machine, never of a student."""


# ---- the command for each level ------------------------------------------------------------------

def interpreter() -> Path:
    """The real interpreter behind a virtual environment or a shim."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()


def numpy_folders() -> list[Path]:
    """numpy and, where wheels keep them beside it, its libraries."""
    package = Path(np.__file__).parent
    return [path for path in (package, package.with_name("numpy.libs")) if path.is_dir()]


@functools.cache
def _links() -> tempfile.TemporaryDirectory:
    folder = tempfile.TemporaryDirectory(prefix="tinyvision-site-")
    for path in numpy_folders():
        Path(folder.name, path.name).symlink_to(path, target_is_directory=True)
    return folder


def numpy_site() -> str:
    """A folder that holds numpy and nothing else; numpy's own folder where links are refused."""
    try:
        return _links().name
    except OSError:
        return str(numpy_folders()[0].parent)


def plain_command() -> list[str]:
    """A child of the same user."""
    return [str(interpreter()), "-I", "-S", "-B", worker.__file__, numpy_site()]


def hidden_packages(library: Path) -> list[Path]:
    """The folders of installed packages below a ``lib`` folder: where tinyvision could lie."""
    return [path for name in ("site-packages", "dist-packages") for path in
            (*library.glob(f"python*/{name}"), *library.glob(f"python*/*/{name}")) if path.is_dir()]


def strong_command(limits: Limits = Limits()) -> list[str]:
    """bubblewrap around the worker: see the module's docstring for the order of the steps."""
    root = os.geteuid() == 0
    bwrap = shutil.which("bwrap") or "bwrap"
    command = [bwrap, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
               "--unshare-cgroup-try", "--die-with-parent", "--new-session", "--clearenv"]
    if root:
        command += ["--cap-drop", "ALL"]
        for capability in ("SETUID", "SETGID", "SETPCAP"):
            command += ["--cap-add", f"CAP_{capability}"]
    else:
        command += ["--unshare-user", "--disable-userns", "--uid", NOBODY, "--gid", NOBODY]
    for name, value in {**THREADS, "TMPDIR": "/tmp", "HOME": "/tmp"}.items():
        command += ["--setenv", name, value]
    command += [*_file_system(limits, bwrap if root else None), "--"]
    if root:
        command += ["/bin/setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups",
                    "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--",
                    "/bin/bwrap", "--unshare-user", "--disable-userns", "--die-with-parent",
                    "--dev-bind", "/", "/", "--"]
    return command + ["/python/bin/python", "-I", "-S", "-B", "/grader/worker.py", "/site"]


def _file_system(limits: Limits, bwrap: str | None) -> list[str]:
    """The mounts: system libraries, the interpreter, numpy, the worker, small temporary folders."""
    python = interpreter()
    prefix = Path(sys.base_prefix).resolve()
    mounts = []
    for folder in ("/usr", "/python", "/python/bin", "/bin", "/site", "/etc", "/grader"):
        mounts += ["--dir", folder]     # bubblewrap makes the parents of a mount closed to others
    for path in map(Path, ("/usr/lib", "/usr/lib64", "/usr/lib32")):
        mounts += ["--ro-bind-try", str(path), str(path)]
    for path in map(Path, ("/lib", "/lib64", "/lib32")):
        link = path.is_symlink()
        mounts += (["--symlink", os.readlink(path), str(path)] if link
                   else ["--ro-bind-try", str(path), str(path)])
    for path in ("/etc/ld.so.cache", "/etc/alternatives"):
        mounts += ["--ro-bind-try", path, path]
    mounts += ["--ro-bind", str(prefix / "lib"), "/python/lib",
               "--ro-bind", str(python), "/python/bin/python",
               "--ro-bind", worker.__file__, "/grader/worker.py"]
    for path in hidden_packages(Path("/usr/lib")):
        mounts += ["--tmpfs", str(path)]
    for path in hidden_packages(prefix / "lib"):
        mounts += ["--tmpfs", "/python/lib" / path.relative_to(prefix / "lib")]
    for path in numpy_folders():
        mounts += ["--ro-bind", str(path), f"/site/{path.name}"]
    if bwrap:
        mounts += ["--ro-bind", bwrap, "/bin/bwrap",
                   "--ro-bind", shutil.which("setpriv") or "setpriv", "/bin/setpriv"]
    mounts += ["--proc", "/proc", "--dev", "/dev", "--size", "1048576", "--tmpfs", "/dev/shm",
               "--remount-ro", "/dev", "--perms", "1777", "--size", str(limits.disk),
               "--tmpfs", "/tmp", "--chdir", "/tmp"]
    return [str(mount) for mount in mounts]


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


def kill_all() -> None:
    """End every worker that is running."""
    for session in list(_RUNNING):
        session.kill()


class Session:
    """One worker with one submission in it.

    Arguments:
        name: the submission's file name; ``.ipynb`` makes it a notebook.
        source: its bytes.
        level: one of `LEVELS`.
    Raises `SandboxError` if the worker does not start.
    """

    def __init__(self, name: str, source: bytes, level: str, limits: Limits = Limits()):
        self.folder = tempfile.TemporaryDirectory(prefix="tinyvision-", ignore_cleanup_errors=True)
        self.errors = tempfile.TemporaryFile()
        strong = level == "strong"
        environment = dict(THREADS) if os.name == "posix" else {**os.environ, **THREADS}
        command = strong_command(limits) if strong else plain_command()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            cwd="/" if strong else self.folder.name, start_new_session=True,
            env=environment if strong or os.name != "posix"
            else {**environment, "TMPDIR": self.folder.name, "HOME": self.folder.name})
        _RUNNING.add(self)
        setup = {"name": name, "frame_cap": 256 << 20, "limits": limits.rlimits(level)}
        hello = self._exchange(worker.pack(setup, [source]), START_SECONDS, 1 << 16)
        if hello[0].get("status") != "hello":
            self.close()
            raise SandboxError(self._first_error() or hello[0].get("message", "no answer"))
        self.forks = bool(hello[0].get("fork"))
        self.alive = True

    def ask(self, request: dict, blobs, seconds: float, cap: int) -> tuple[dict, list[bytes]]:
        """The worker's answer to one request, as (header, blobs).

        The header's ``status`` is what the worker says, or ``timeout``, ``crashed`` (the worker
        itself ended) or ``garbled``; after these three the session is not `alive`, and neither is
        it where the worker cannot fork and so can answer only once.
        """
        header, answers = self._exchange(worker.pack(request, blobs), seconds, cap)
        if not self.forks or header["status"] in ("timeout", "crashed-worker", "garbled"):
            self.close()
        return header, answers

    def _exchange(self, message: bytes, seconds: float, cap: int) -> tuple[dict, list[bytes]]:
        expired = threading.Event()

        def expire():
            expired.set()
            self.kill()
        clock = threading.Timer(seconds, expire)
        clock.start()
        try:
            worker.write_frame(self.process.stdin, message)
            reply = worker.read_frame(self.process.stdout, cap)
            header, blobs = worker.unpack(reply) if reply is not None else ({}, [])
            if not isinstance(header.get("status"), str):
                header = {"status": "garbled", "message": "an answer without a status"}
        except OSError:
            reply = None                # a broken pipe: the worker has ended
        except ValueError as error:
            reply, header, blobs = b"", {"status": "garbled", "message": str(error)}, []
        finally:
            clock.cancel()
            clock.join()                # it may be about to kill: then this was a timeout
        if expired.is_set():
            return {"status": "timeout"}, []
        if reply is None:
            return {"status": "crashed-worker", "message": "the whole process ended"}, []
        return header, blobs

    def kill(self) -> None:
        """End the worker and all its children at once."""
        try:
            if os.name == "posix":
                os.killpg(self.process.pid, 9)
            self.process.kill()
        except (ProcessLookupError, PermissionError):
            pass

    def close(self) -> None:
        """End the worker and remove its folder."""
        self.alive = False
        _RUNNING.discard(self)
        self.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            try:
                stream.close()
            except OSError:
                pass                    # what was not yet written has no reader any more
        self.folder.cleanup()

    def _first_error(self) -> str:
        self.errors.seek(0)
        lines = self.errors.read(4096).decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""
