"""Finding submissions in a folder and reading them, trusting neither names nor contents.

Understood are ``ID.py``, ``ID.ipynb`` and ``ID/…/anything.py``; hidden files are passed over.
Nothing is followed, executed or parsed here: links, devices and huge files are reported instead.
"""
from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from tinyvision.grading.verdict import Verdict

SUFFIXES = (".py", ".ipynb")
MOST_BYTES = 10 << 20
DEEPEST = 4                             # folders below a student's
_IN_SOURCE = re.compile(rb"#[ \t]*tinyvision exercise:[ \t]*([A-Za-z_]\w{0,60})")
_IN_METADATA = re.compile(rb'"tinyvision"\s*:\s*\{\s*"exercise"\s*:\s*"([A-Za-z_]\w{0,60})"')


@dataclass(frozen=True)
class Submission:
    """One student's file for one exercise.

    Attributes:
        student: the file's stem, or the name of the folder it lies in.
        file: its path below the folder of submissions, with ``/``.
        source: its bytes; empty where ``problem`` says why it cannot be read.
        exercise: the name in its header or of the file, or None.
        problem: a sentence, or "".
        verdict: `Verdict.UNREADABLE` or `Verdict.MISSING` where there is a problem.
    """
    student: str
    file: str
    source: bytes = b""
    exercise: str | None = None
    problem: str = ""
    verdict: Verdict | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, or of the problem where there are none."""
        return hashlib.sha256(self.source or self.problem.encode()).hexdigest()


def find(folder: Path) -> list[Submission]:
    """All submissions of a folder, sorted by name; ValueError if it is no folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"grade: {folder} is no folder; give the folder of submissions")
    found = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith((".", "__")):
            continue
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            found += _of_student(folder, path)
        elif path.suffix in SUFFIXES or path.suffix == ".zip" or entry.is_symlink():
            found.append(read(path, path.stem, entry.name))
    return found


def _of_student(folder: Path, home: Path) -> list[Submission]:
    files = sorted(_below(home, DEEPEST))
    if not files:
        return [Submission(home.name, home.name, problem="the folder holds no .py or .ipynb file",
                           verdict=Verdict.MISSING)]
    return [read(path, home.name, path.relative_to(folder).as_posix()) for path in files]


def _below(home: Path, depth: int):
    for entry in os.scandir(home):
        if entry.name.startswith((".", "__")):
            continue
        if entry.is_dir(follow_symlinks=False) and depth:
            yield from _below(Path(entry.path), depth - 1)
        elif Path(entry.name).suffix in SUFFIXES:
            yield Path(entry.path)


def read(path: Path, student: str, file: str) -> Submission:
    """Read one file, whatever it is; a problem becomes part of the submission."""
    try:
        source = _bytes(Path(path))
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else error
        return Submission(student, file, problem=f"cannot be read: {words}",
                          verdict=Verdict.UNREADABLE)
    return Submission(student, file, source, named_exercise(source, Path(path).suffix))


def _bytes(path: Path) -> bytes:
    if path.is_symlink():
        raise ValueError("it is a symbolic link")
    if path.suffix == ".zip":
        raise ValueError("it is an archive; unpack it first")
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("it is no ordinary file")
        source = stream.read(MOST_BYTES + 1)
    if len(source) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES >> 20} MB")
    return source


def named_exercise(source: bytes, suffix: str) -> str | None:
    """The exercise in ``# tinyvision exercise: NAME`` or in a notebook's metadata, or None."""
    found = _IN_SOURCE.search(source[:1 << 20] if suffix == ".ipynb" else source[:4096])
    if found is None and suffix == ".ipynb":
        found = _IN_METADATA.search(source)
    return found[1].decode() if found else None
