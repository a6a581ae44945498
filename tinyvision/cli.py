"""The command `tinyvision`: one subcommand for every job. Each job's package adds its own."""
from __future__ import annotations

import argparse
import errno
import importlib
import os
import re
import shlex
import sys
from pathlib import Path

COMMANDS = ("tinyvision.tour", "tinyvision.gradcheck", "tinyvision.bench.commands",
            "tinyvision.train.commands", "tinyvision.train.report", "tinyvision.detect",
            "tinyvision.exercises.commands", "tinyvision.grading.commands",
            "tinyvision.grading.report_commands",
            "tinyvision.grading.doctor",
            "tinyvision.grading.teacher_commands")


def parser() -> argparse.ArgumentParser:
    """The argument parser with every subcommand."""
    from tinyvision import __version__
    top = argparse.ArgumentParser(prog="tinyvision", description=__doc__.splitlines()[0])
    top.add_argument("--version", action="version", version=f"tinyvision {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(name).add(commands)
    return top


CLOSED = 141                                                 # as a program that SIGPIPE ended
_TEMPORARY = re.compile(r"^\.(.+)\.(\w{8}|[0-9a-f]{12}\.part)$")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def main(arguments=None) -> int:
    """Run one command; returns its exit code: 0 right, 1 something failed, 2 wrong arguments, 130
    interrupted, 141 where whoever read the output, such as ``head``, has closed it."""
    for stream in (sys.stdout, sys.stderr):                  # ticks and bars on any terminal
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        code = _run(sys.argv[1:] if arguments is None else list(arguments))
        sys.stdout.flush()                                   # a closed pipe is noticed here
        return code
    except BrokenPipeError:
        _discard_output()
        return CLOSED


def _run(arguments: list[str]) -> int:
    options = parser().parse_args(_joined(arguments))
    options.line = shlex.join(["tinyvision", *arguments])    # what was typed
    try:
        return options.run(options) or 0
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"tinyvision {options.command}: {refusal(error)}", file=sys.stderr)
    except (ValueError, KeyError, RuntimeError) as error:
        said = str(error).removeprefix(f"{options.command}: ")
        print(f"tinyvision {options.command}: {said}", file=sys.stderr)
    return 2


def _joined(arguments: list[str]) -> list[str]:
    """``replay --notebook OUT ...`` as ``replay --notebook= OUT ...``: argparse would take OUT for
    the option's file, which may be left away; the name of a notebook is joined to it."""
    if arguments[:1] != ["replay"] or "--notebook" not in arguments:
        return arguments
    at = arguments.index("--notebook")
    name = [word for word in arguments[at + 1:at + 2] if word.endswith(".ipynb")]
    return [*arguments[:at], "--notebook=" + "".join(name), *arguments[at + 1 + len(name):]]


def _discard_output() -> None:
    """Nobody reads any more: what is left to write goes nowhere, also when Python ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


# ---- what the system refuses ---------------------------------------------------------------------

def refusal(error: OSError) -> str:
    """What a system call's error means, in one sentence: which file, what was refused, what to do.
    The file is the one that was meant, not the temporary one beside it."""
    if error.errno is None or error.filename is None and error.errno not in _FULL:
        return error.strerror or str(error)
    path = _meant(error)
    if error.errno in _FULL:
        return (f"{path} could not be written, the disk is full or the quota used up "
                f"({error.strerror}); what the file held before is still there: make room, then "
                "give the same command again")
    if error.errno in _FORBIDDEN:
        return _forbidden(path, error)
    return _WORDS.get(error.errno, "{path}: {said}; give another path").format(
        path=path, said=error.strerror)


def _meant(error: OSError) -> Path | str:
    if error.filename is None:
        return "a file"
    path = Path(os.fsdecode(error.filename))
    temporary = _TEMPORARY.match(path.name)
    return path.with_name(temporary[1]) if temporary else path


def _forbidden(path: Path, error: OSError) -> str:
    """Reading is refused where the file is there and cannot be read, writing where its folder or
    the file itself cannot be written; else a folder on the way to it cannot be entered."""
    there = os.path.exists(path)
    if there and not os.access(path, os.R_OK):
        return (f"{path} may not be read ({error.strerror}); get the right to it, as with "
                "'chmod u+r', or give another path")
    if there or os.path.isdir(path.parent):
        return (f"{path} may not be written ({error.strerror}); give another place, or get the "
                f"right to write in {path.parent}, as with 'chmod u+w'")
    return (f"{path} may not be opened ({error.strerror}); get the right to the folders above it, "
            "as with 'chmod u+x', or give another path")


_WORDS = {
    errno.ENOENT: "there is no {path}; check the name and the folder",
    errno.ENOTDIR: "{path} cannot be: a part of that path is a file and no folder; give another "
                   "path",
    errno.EEXIST: "{path} is there already and is no folder; give another path or rename it",
    errno.EISDIR: "{path} is a folder, and a file was expected; give the path of a file",
    errno.ENAMETOOLONG: "the name {path} is too long for this disk; give a shorter one"}
