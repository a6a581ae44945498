"""How a worker is started at each level: its command, its file system, its limits and guards.

========  ==========================================================================================
strong    Linux with bubblewrap: an own minimal file system, process table and network, an
          unprivileged user; resource limits set inside; Landlock and a filter of system calls as
          second and third layer. Neither tinyvision nor any answer is in it.
medium    A plain child of the same user: clean environment, empty folder, resource limits; on
          Linux also Landlock and the filter: it can then read Python and numpy but no other file,
          write to its own folder only, and open no socket. What is missing: disk space is limited
          per file only, and memory is shared with everybody.
none      No ``fork`` and no resource limits (Windows): a plain child with a time limit.
========  ==========================================================================================

Trap: bubblewrap started by root maps the sandbox to the host's root, and ``/root/.pyenv`` is closed
to everybody else. So root builds the file system first (a read-only view of the interpreter and of
numpy at new paths), then becomes nobody, then enters a user namespace that allows no further one.
"""
from __future__ import annotations

import functools
import os
import py_compile
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyvision.grading import scratch
from tinyvision.grading.inside import landlock, seccomp, worker

LEVELS = ("strong", "medium", "none")
NOBODY = "65534"
SETTINGS = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
# Memory that nobody has written is never 0 by chance (glibc fills it with the byte's complement).
# And a thread reserves no memory for arrays of its own: a few of them would have all there is.
SETTINGS |= {"MALLOC_PERTURB_": str(worker.STAIN ^ 0xff), "MALLOC_ARENA_MAX": "1"}
SETTINGS["PYTHONHASHSEED"] = "0"        # the order of a set of words is the same in every run
INSIDE = {"TMPDIR": "/tmp", "HOME": "/tmp"}
PARTS = Path(__file__).with_name("inside")              # the files of ours that stand inside

START = "import sys; sys.path[:0] = [{site!r}, {grader!r}]; " \
        "from inside.{part} import main; del sys.path[1]; main()"


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


# ---- what is brought along -----------------------------------------------------------------------

def interpreter() -> Path:
    """The real interpreter behind a virtual environment or a shim."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()


def numpy_folders() -> list[Path]:
    """numpy and, where wheels keep them beside it, its libraries."""
    package = Path(np.__file__).parent
    return [path for path in (package, package.with_name("numpy.libs")) if path.is_dir()]


@functools.cache
def _kit() -> scratch.Folder:
    """A folder with ``site``, links to numpy, and ``grader``, our own parts compiled: a start
    then neither searches installed packages nor compiles."""
    folder = scratch.folder()
    site, grader = Path(folder.name, "site"), Path(folder.name, "grader")
    site.mkdir(), (grader / PARTS.name).mkdir(parents=True)
    for path in PARTS.glob("*.py"):
        py_compile.compile(str(path), str(grader / PARTS.name / f"{path.stem}.pyc"), path.name,
                           doraise=True)
    try:
        for path in numpy_folders():
            (site / path.name).symlink_to(path, target_is_directory=True)
    except OSError:
        pass                            # Windows: links need a right that few have
    return folder


def numpy_site() -> str:
    """A folder that holds numpy and nothing else; numpy's own folder where links are refused."""
    site = Path(_kit().name, "site")
    return str(site if any(site.iterdir()) else numpy_folders()[0].parent)


def grader_folder() -> str:
    """The folder of our own parts, compiled."""
    return str(Path(_kit().name, "grader"))


def hidden_packages(library: Path) -> list[Path]:
    """The folders of installed packages below a ``lib`` folder: where tinyvision could lie."""
    return [path for name in ("site-packages", "dist-packages") for path in
            (*library.glob(f"python*/{name}"), *library.glob(f"python*/*/{name}")) if path.is_dir()]


# ---- the command for each level ------------------------------------------------------------------

def lesser_user(level: str) -> tuple[int, int] | None:
    """(uid, gid) that a worker of level medium takes when root grades: those of the user that
    TINYVISION_USER names, who must be able to read Python. None: it stays who it is."""
    name = os.environ.get("TINYVISION_USER")
    if level != "medium" or not name or os.name != "posix" or os.geteuid() != 0:
        return None
    import pwd
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise ValueError(f"TINYVISION_USER: there is no user {name!r} on this machine") from None
    os.chmod(_kit().name, 0o755)                    # holds our parts, no answers
    return found.pw_uid, found.pw_gid


def plain_command() -> list[str]:
    """A child of the same user."""
    return started(interpreter(), numpy_site(), grader_folder(), "worker")


def started(python, site: str, grader: str, part: str) -> list[str]:
    """The command that starts one of our parts; the student's imports do not look where it is.
    Isolated as by ``-I``, but for the environment, which is ours and has a setting for Python."""
    return [str(python), "-P", "-s", "-S", "-B", "-c",
            START.format(site=site, grader=grader, part=part)]


def strong_command(limits: Limits = Limits(), part: str = "worker") -> list[str]:
    """bubblewrap around the worker: see the module's docstring for the order of the steps.

    ``part``: ``zygote`` starts the fork server instead, whose children make namespaces of their
    own; nothing of a student's runs in itself.
    """
    return enclosed(_file_system(limits),
                    started("/python/bin/python", "/site", "/grader", part), part == "worker")


def enclosed(mounts: list[str], program: list[str], closed: bool = True) -> list[str]:
    """bubblewrap around a program that sees these mounts and nothing else; ``closed``: it can make
    no further namespaces."""
    root = os.geteuid() == 0
    bwrap = shutil.which("bwrap") or "bwrap"
    users = ["--unshare-user", *(["--disable-userns"] if closed else [])]
    command = [bwrap, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
               "--unshare-cgroup-try", "--die-with-parent", "--new-session", "--clearenv"]
    if root:
        command += ["--cap-drop", "ALL"]
        for capability in ("SETUID", "SETGID", "SETPCAP"):
            command += ["--cap-add", f"CAP_{capability}"]
    else:
        command += [*users, "--uid", NOBODY, "--gid", NOBODY]
    for name, value in {**SETTINGS, **INSIDE}.items():
        command += ["--setenv", name, value]
    if root:
        mounts = [*mounts, "--ro-bind", bwrap, "/bin/bwrap",
                  "--ro-bind", shutil.which("setpriv") or "setpriv", "/bin/setpriv"]
    command += [*mounts, "--"]
    if root:
        command += ["/bin/setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups",
                    "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--",
                    "/bin/bwrap", *users, "--die-with-parent", "--dev-bind", "/", "/", "--"]
    return command + program


def _file_system(limits: Limits) -> list[str]:
    """The mounts: system libraries, the interpreter, numpy, our parts, small temporary folders."""
    python = interpreter()
    prefix = Path(sys.base_prefix).resolve()
    mounts = system_libraries("/python", "/python/bin", "/site", "/grader")
    mounts += ["--ro-bind", str(prefix / "lib"), "/python/lib",
               "--ro-bind", str(python), "/python/bin/python",
               "--ro-bind", grader_folder(), "/grader"]
    for path in hidden_packages(prefix / "lib"):
        mounts += ["--tmpfs", "/python/lib" / path.relative_to(prefix / "lib")]
    for path in numpy_folders():
        mounts += ["--ro-bind", str(path), f"/site/{path.name}"]
    return [str(mount) for mount in mounts] + temporary_folders(limits)


def system_libraries(*folders: str) -> list[str]:
    """Mounts: shared libraries, without the packages of the system's Python; empty ``folders``."""
    mounts = []
    for folder in ("/usr", "/bin", "/etc", *folders):
        mounts += ["--dir", folder]     # bubblewrap makes the parents of a mount closed to others
    for path in map(Path, ("/usr/lib", "/usr/lib64", "/usr/lib32")):
        mounts += ["--ro-bind-try", str(path), str(path)]
    for path in map(Path, ("/lib", "/lib64", "/lib32")):
        link = path.is_symlink()
        mounts += (["--symlink", os.readlink(path), str(path)] if link
                   else ["--ro-bind-try", str(path), str(path)])
    for path in ("/etc/ld.so.cache", "/etc/alternatives"):
        mounts += ["--ro-bind-try", path, path]
    for path in hidden_packages(Path("/usr/lib")):
        mounts += ["--tmpfs", str(path)]
    return mounts


def temporary_folders(limits: Limits) -> list[str]:
    """Mounts: processes and devices of its own, a small /tmp."""
    return ["--proc", "/proc", "--dev", "/dev", "--size", "1048576", "--tmpfs", "/dev/shm",
            "--remount-ro", "/dev", "--perms", "1777", "--size", str(limits.disk),
            "--tmpfs", "/tmp", "--chdir", "/tmp"]


# ---- what the worker gives up --------------------------------------------------------------------

@functools.cache
def guards() -> tuple[str, ...]:
    """Which of ``landlock`` and ``seccomp`` work here: tried in a child of our own."""
    if sys.platform != "linux":
        return ()
    tries = {"landlock": lambda: landlock.restrict([]), "seccomp": _try_filters}
    return tuple(name for name, attempt in tries.items() if works(attempt))


def _try_filters() -> None:
    """Set both filters, and see that they filter."""
    machine = os.uname().machine
    for program in (seccomp.server(machine), seccomp.student(machine, os.getpid())):
        seccomp.install(program)
    try:
        os.fork()
    except PermissionError:
        return
    os._exit(1)


def works(attempt) -> bool:
    """Whether an attempt that cannot be taken back succeeds in a fork."""
    pid = os.fork()
    if pid == 0:
        try:
            seccomp.no_new_privileges()
            attempt()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def layers(level: str) -> list[str]:
    """The names of the layers around a worker at this level: what a record keeps."""
    if level == "none":
        return []
    outer = ["namespaces"] if level == "strong" else []
    return [*outer, *guards(), *(["rlimits"] if worker.CAN_FORK else [])]


def guard(level: str, folder: str) -> dict:
    """What `worker.guard` is to give up at this level; ``folder`` is the worker's own."""
    if level == "none":
        return {}
    paths = [("/", "read"), ("/tmp", "write"), ("/dev/null", "write")] if level == "strong" \
        else [*_readable(), (folder, "write"), ("/dev/null", "write"), ("/dev/urandom", "read")]
    return {"landlock": paths if "landlock" in guards() else None, "seccomp": "seccomp" in guards()}


@functools.cache
def _readable() -> list[tuple[str, str]]:
    """What Python and numpy read on the host: the standard library without the packages that are
    installed in it, and shared libraries."""
    stdlib, prefix = Path(sysconfig.get_path("stdlib")), Path(sys.base_prefix)
    paths = [path for folder in ("/usr/lib", "/lib", "/lib64", "/usr/lib64") if
             Path(folder).is_dir() for path in Path(folder).iterdir()
             if not path.name.startswith("python")]
    paths += [path for path in stdlib.iterdir() if not path.name.endswith("-packages")]
    paths += [*prefix.glob("lib/*.so*"), *numpy_folders(), Path(_kit().name),
              Path("/etc/ld.so.cache")]
    return [(str(stdlib), "list"), *((str(path), "read") for path in paths)]
