"""CUDA texts of students: compiled in a sandbox of their own, loaded only in that of their code.

A compiler is a program that a stranger's text steers: ``#include "/etc/passwd"``, ``#include
</dev/zero>``, templates without end. So it runs with limits and, at level strong, in a jail that
holds the compiler, its headers and libraries, an empty /tmp, and nothing else; at medium, where
there is Landlock, it can open nothing else. What it makes may run code as soon as it is loaded:
that happens in the worker, beside the rest of the student's code.

`Compiling` stands between a submission's cases and its worker: it asks the worker for the text,
compiles it once, and sends the library along with every call.
"""
from __future__ import annotations

import functools
import inspect
import json
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

from tinyvision import cuda
from tinyvision.exercises.drivers import text as text_driver
from tinyvision.grading import jail, scratch
from tinyvision.grading.jail import Limits

TEXT_SECONDS, CPU_SECONDS, WALL_SECONDS = 5.0, 10, 60
LONGEST = 1 << 20                       # bytes of a text
LIMITS = Limits(memory=1 << 30, file=8 << 20)
# A caret would show a line of any file that a #line in the text names; an undefined function is an
# error here and now (-z defs).
FLAGS = (*cuda.UNOPTIMIZED, "-c", "-fno-diagnostics-show-caret", "-fdiagnostics-color=never",
         "-fmax-errors=3", "-ftemplate-depth=200", "-pipe", "-x", "c++", "-")
SCRIPT = ('export PATH="${PATH:-/usr/bin:/bin}"; ulimit -c 0; ulimit -t %d; ulimit -f %d; '
          'ulimit -v %d 2>/dev/null; "$@" -o kernel.o && '
          '"$1" -shared -Wl,-z,defs -o kernel.so kernel.o && cat kernel.so' % (
              CPU_SECONDS, LIMITS.file // 512, LIMITS.memory // 1024))
GUARD = """import json, os, sys
sys.path.insert(0, sys.argv[1])
from inside import landlock, seccomp
user, allowed = json.loads(sys.argv[2])
if user:
    os.setgroups([]), os.setresgid(*user[1:] * 3), os.setresuid(*user[:1] * 3)
if allowed is not None:
    seccomp.no_new_privileges()
    landlock.restrict(allowed)
os.execv(sys.argv[3], sys.argv[3:])"""
PLACE = re.compile(r"^([^\s:]+|{standard input}):(\d+):(?:\d+:)? (?:fatal )?[eE]rror: (.*)$", re.M)
# What may be right on a GPU: said instead of leaving a student to look for a slip of the pen.
CUDA_ONLY = re.compile(r"'(__\w+|atomic\w+|cooperative_groups|cuda\w*|(tex|surf)\dD\w*)"
                       r"(?:\([^']*)?'|^(?:cooperative_groups|cuda|cub|thrust|mma)[\w/.]*: No such")
NOT_HERE = (" (if CUDA has it: the host that runs the kernel has not; what it has is said in the "
            "driver's text, the rest can be written without it)")
UNDEFINED = re.compile(r"undefined reference to [`'](\w+)")
TOO_MUCH = (f"the compiler did not finish within {CPU_SECONDS} s, {LIMITS.memory >> 20} MB of "
            f"memory and {LIMITS.file >> 20} MB of library")


class CompilerFault(RuntimeError):
    """There is no compiler, or it does not work: a fault of the machine, never of a student."""


# ---- the compiler in its jail --------------------------------------------------------------------

def compiled(program: str, level: str) -> tuple[bytes, str]:
    """(the shared library, "") or (b"", what the compiler said).

    Arguments:
        program: C++, trusted in nothing.
        level: one of `jail.LEVELS`; below strong, and without Landlock, the compiler can read what
            the user can read.
    Raises CompilerFault where there is no compiler, or no shell to set its limits.
    """
    path = cuda.compiler()
    if path is None or os.name != "posix":
        raise CompilerFault("CUDA texts are compiled on the host by a C++ compiler, and neither "
                            "$CXX nor c++, g++ or clang++ was found here; install one "
                            "(apt install g++)")
    with (scratch.folder() as folder, tempfile.TemporaryFile() as out,
          tempfile.TemporaryFile() as errors):
        code = _run(_command(path, level, folder), program, folder, out, errors)
        out.seek(0), errors.seek(0)
        said = errors.read(LONGEST).decode("utf-8", "replace")
        if code == 0:
            return out.read(LIMITS.file), ""
        return b"", said or f"status {code}"


def _command(compiler: str, level: str, folder: str) -> list[str]:
    command = ["/bin/sh", "-c", SCRIPT, "sh", compiler, *FLAGS]
    if level == "strong":
        return jail.enclosed(_mounts(Path(compiler)), ["/usr/bin/sh", *command[1:]])
    user, allowed = jail.lesser_user(level), None
    if user:
        os.chown(folder, *user)
    if "landlock" in jail.guards():
        allowed = _allowed(Path(compiler), folder)
    if not user and allowed is None:
        return command
    return [str(jail.interpreter()), "-I", "-S", "-B", "-c", GUARD, jail.grader_folder(),
            json.dumps([user, allowed]), *command]


def _allowed(compiler: Path, folder: str) -> list[tuple[str, str]]:
    """What the compiler may open at medium, for `landlock.restrict`."""
    readable = [(str(path), "run") for path in ("/usr", "/bin", "/lib", "/lib64", "/lib32",
                                                compiler.parent.parent)]
    return [*readable, ("/etc/ld.so.cache", "read"), ("/etc/alternatives", "read"),
            (folder, "write"), ("/dev/null", "write")]


def _mounts(compiler: Path) -> list[str]:
    """The jail's file system: programs, headers, libraries, below /usr and beside the compiler."""
    mounts = jail.system_libraries()
    for prefix in dict.fromkeys((Path("/usr"), compiler.parent.parent)):
        for name in ("bin", "include", "libexec", *(() if prefix == Path("/usr") else ("lib",))):
            mounts += ["--ro-bind-try", str(prefix / name), str(prefix / name)]
    if compiler.parent.parent != Path("/usr"):
        for path in jail.hidden_packages(compiler.parent.parent / "lib"):
            mounts += ["--tmpfs", str(path)]
    return mounts + jail.temporary_folders(LIMITS)


def _run(command: list[str], program: str, folder: str, out, errors) -> int:
    """The command's exit status; a negative signal number where it had to be killed."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "TMPDIR": folder, "LC_ALL": "C"}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=errors,
                               cwd=folder, env=environment, start_new_session=True)
    try:
        process.communicate(program.encode("utf-8", "replace"), WALL_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return -signal.SIGKILL
    return process.returncode


@functools.cache
def works(text, level: str) -> str:
    """"" if the compiler compiles an exercise's own solution, else what it says."""
    return compiled(text.program(text.solution), level)[1]


# ---- a text and what is wrong with it ------------------------------------------------------------

def library(kind, text: str, level: str, name: str = "KERNEL"):
    """The library of a student's text, or the header of an answer that says why there is none.

    Arguments:
        kind: the exercise's `CudaText`.
    Raises CompilerFault where not even the exercise's solution compiles.
    """
    built, said = compiled(kind.program(text), level)
    plain = PLACE.search(said) or UNDEFINED.search(said)
    if not built and not plain:         # the machine itself may have been short of memory
        built, said = compiled(kind.program(text), level)
        works.cache_clear()
    if built:
        return built
    if fault := works(kind, level):
        raise CompilerFault(f"the C++ compiler does not work here: {_first(fault)}")
    return {"status": "syntax", "error": _error(kind, text, said, name)}


def _first(said: str) -> str:
    found = PLACE.search(said)
    return (found[3] if found else said.strip().partition("\n")[0])[:200]


def _error(kind, text: str, said: str, name: str) -> dict:
    """The first error: its words, and its place where that is in the student's text."""
    error = {"type": "CompileError", "where": name, "line": 0, "text": ""}
    found, undefined = PLACE.search(said), UNDEFINED.search(said)
    if found and found[1] == "KERNEL":
        lines, line = text.splitlines(), int(found[2])
        shown = lines[line - 1].strip() if 0 < line <= len(lines) else ""
        more = NOT_HERE if CUDA_ONLY.search(found[3]) else ""
        return error | {"line": line, "message": found[3][:200] + more, "text": shown[:200]}
    if found and found[1] == "end":
        return error | {"line": len(text.splitlines()), "message": (
            f"after the last line: {found[3][:200]} (is a brace or a comment left open, and is it "
            f"void kernel({kind.parameters})?)")}
    if found or undefined:
        return error | {"message": found[3][:200] if found else
                        f"{undefined[1]} is used and not defined"}
    return error | {"message": TOO_MUCH}


# ---- between cases and worker --------------------------------------------------------------------

class Compiling:
    """A runner (see `examine.Runner`) whose worker gets compiled libraries with the calls.

    Arguments:
        runner: the submission's own.
        exercise: one with texts.
        level: the sandbox's level.
    """

    def __init__(self, runner, exercise, level: str):
        self.runner, self.exercise, self.level = runner, exercise, level
        self.libraries: dict = {}

    @property
    def spent(self) -> float:
        """As the runner's."""
        return self.runner.spent

    @property
    def whole(self) -> bool:
        """As the runner's; the text may be another then."""
        return self.runner.whole

    @whole.setter
    def whole(self, value: bool) -> None:
        self.runner.whole = value
        self.libraries.clear()

    def ask(self, request: dict, blobs, seconds: float, cap: int, talk=None):
        """As the runner's; a text that cannot be had or compiled is answered for right here."""
        blobs, places = list(blobs), {}
        for call in request.get("calls", [request]):
            name = call.get("function")
            if name not in self.exercise.texts:
                continue
            found = self.library(name)
            if isinstance(found, dict):
                return found, []
            if name not in places:
                places[name] = len(blobs)
                blobs.append(found)
            call["library"] = places[name]
        return self.runner.ask(request, blobs, seconds, cap, talk)

    def library(self, name: str):
        """The library of a text, or the header that says why there is none; made once."""
        if name not in self.libraries:
            self.libraries[name] = self.build(name)
        return self.libraries[name]

    def build(self, name: str):
        """Ask for the text, compile it."""
        header, blobs = self.runner.ask(
            {"do": "call", "function": name, "args": {"tuple": []}, "cap": LONGEST,
             "driver": "utf8", "driver_text": inspect.getsource(text_driver)}, [], TEXT_SECONDS,
            2 * LONGEST)
        if header["status"] != "ok":
            return header
        if not blobs:
            return {"status": "syntax", "error": {"where": name, "line": 0, "text": "", "message":
                                                  f"longer than {LONGEST} characters"}}
        text = blobs[0].decode("utf-8", "replace")
        return library(self.exercise.texts[name], text, self.level, name)

    def close(self) -> None:
        """End the worker."""
        self.runner.close()
