r"""Finding submissions in a folder and reading them, trusting neither names nor contents.

Understood are ``ID.py``, ``ID.ipynb``, ``ID.zip`` and ``ID/…/anything.py``, and what learning
platforms write, whose names hold more than the student:

===========  ====================================================================================
nbgrader     the course's folder or its ``submitted``: ``ID/ASSIGNMENT/NOTEBOOK.ipynb``
Canvas       ``NAME_[LATE_]NUMBER_ATTACHMENT_FILE.py``
Moodle       ``Full Name_NUMBER_assignsubmission_file_/…``, also without folders; what was typed
             online, ``…_onlinetext_/``, is the same student's
Gradescope   ``submission_NUMBER/…``, the students in ``submission_metadata.yml`` beside them; a
             group's submission is each of its students'
others       a pattern: a regular expression for paths with ``(?P<student_id>…)``, and perhaps
             ``(?P<timestamp>…)``
===========  ====================================================================================

Hidden files are passed over. Nothing is followed, executed or parsed here: links, devices and huge
files are reported instead.
"""
from __future__ import annotations

import collections
import errno
import functools
import hashlib
import os
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from tinyvision.grading import archives
from tinyvision.grading.verdict import Verdict

SUFFIXES = (".py", ".ipynb")
MOST_BYTES = 10 << 20
DEEPEST = 4                             # folders below a student's
OURS = {errno.EACCES, errno.EPERM, errno.EIO, errno.ENOENT, errno.EMFILE, errno.ENFILE,
        errno.ENOMEM}                   # why a file cannot be read that is no student's fault
_IN_SOURCE = re.compile(rb"#[ \t]*tinyvision exercise:[ \t]*([A-Za-z_]\w{0,60})")
_IN_METADATA = re.compile(rb'"tinyvision"\s*:\s*\{\s*"exercise"\s*:\s*"([A-Za-z_]\w{0,60})"')
_MOODLE = re.compile(r"(?P<student_id>.+)_(?P<number>\d+)_assignsubmission_"
                     r"(?P<kind>file|onlinetext)(_.*)?", re.S)
_CANVAS = re.compile(r"(?P<student_id>[^_]+)_(?P<late>LATE_)?(?P<number>\d+)_\d+_.+", re.S)
_GRADESCOPE = re.compile(r"submission_(?P<number>\d+)")
_METADATA = "submission_metadata.yml"
_METADATA_KEY = re.compile(r"^(submission_\d+):", re.M)
_METADATA_LINE = re.compile(r"(?P<indent>\s*)(?P<begins>-?) *:(?P<name>\w+): *(?P<text>.*)")


@dataclass(frozen=True)
class Submission:
    """One student's file for one exercise.

    Attributes:
        student: the file's stem, or the name of the folder it lies in, or what the pattern found.
        file: its path below the folder of submissions, with ``/``; of a file in an archive the
            archive's path and its own.
        source: its bytes; empty where ``problem`` says why it cannot be read.
        exercise: the name in its header or of the file, or None.
        problem: a sentence, or "".
        verdict: `Verdict.UNREADABLE` or `Verdict.MISSING` where there is a problem; where the
            grader may not read the file, `Verdict.GRADER_ERROR`, which is no zero.
        number: the student's (Canvas, Moodle) or the submission's (Gradescope) on the platform.
        timestamp: what the pattern found.
        late: whether the platform marked it as late.
    """
    student: str
    file: str
    source: bytes = b""
    exercise: str | None = None
    problem: str = ""
    verdict: Verdict | None = None
    number: str = ""
    timestamp: str = ""
    late: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, or of the problem where there are none."""
        return hashlib.sha256(self.source or self.problem.encode()).hexdigest()


def find(folder: Path, pattern: str | None = None) -> list[Submission]:
    """All submissions of a folder, sorted by name.

    Arguments:
        folder: see the module's docstring.
        pattern: a regular expression for paths below the folder, with ``(?P<student_id>…)``.
    Raises ValueError if there is no such folder, or if the pattern names no student.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"grade: {folder} is no folder; give the folder of submissions")
    if pattern is not None:
        return _matching(folder, _compiled(pattern))
    folder, found = home_of(folder), []
    for entry in _seen(folder):
        found += _of_entry(folder, entry)
    return _told_apart(_without_online_text(found))


def not_understood(folder: Path, pattern: str | None = None) -> list[str]:
    """Files that are no submission by their names, sorted: those that lie where a student's file
    may lie. What else a student's folder holds is the student's own affair."""
    folder = Path(folder) if pattern is not None else home_of(Path(folder))
    return [entry.name for entry in _seen(folder)
            if not (entry.is_dir(follow_symlinks=False) or entry.is_symlink()
                    or _program(entry.name) or entry.name.startswith("submission_metadata."))]


def home_of(folder: Path) -> Path:
    """Where the students are: in a course of nbgrader's its ``submitted``."""
    return folder / "submitted" if (folder / "submitted").is_dir() else folder


def _seen(folder: Path) -> list[os.DirEntry]:
    return sorted((entry for entry in os.scandir(folder)
                   if not entry.name.startswith((".", "__"))), key=lambda entry: entry.name)


def _program(name: str) -> bool:
    return Path(name).suffix.lower() in (*SUFFIXES, ".zip")


def _of_entry(folder: Path, entry: os.DirEntry) -> list[Submission]:
    """The submissions in one file or folder of the folder."""
    path = Path(entry.path)
    if entry.is_dir(follow_symlinks=False):
        whose = _whose(entry.name, folder)
        return [replace(one, **who) for one in _of_student(folder, path) for who in whose]
    if _program(entry.name) or entry.is_symlink():
        whose = _whose(path.stem, folder)
        return [replace(one, **who) for one in read_all(path, path.stem, entry.name)
                for who in whose]
    return []


def _of_student(folder: Path, home: Path) -> list[Submission]:
    found = []
    for path in sorted(_below(home, DEEPEST)):
        found += read_all(path, home.name, path.relative_to(folder).as_posix())
    return found or [Submission(home.name, home.name, verdict=Verdict.MISSING,
                                problem="the folder holds no .py or .ipynb file")]


def _below(home: Path, depth: int):
    try:
        entries = _seen(home)
    except OSError:                     # read as a file, it says why it cannot be read
        yield home
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and depth:
            yield from _below(Path(entry.path), depth - 1)
        elif _program(entry.name):
            yield Path(entry.path)


# ---- whose it is ---------------------------------------------------------------------------------

def identity(name: str, folder: Path) -> dict:
    """What a platform's name for a file or folder says: fields of `Submission`, {} if nothing."""
    if found := _MOODLE.fullmatch(name) or _CANVAS.fullmatch(name):
        late = bool(found.groupdict().get("late"))
        return {"student": found["student_id"], "number": found["number"], "late": late}
    if found := _GRADESCOPE.fullmatch(name):
        return {"student": _gradescope(folder).get(name, [name])[0], "number": found["number"]}
    return {}


def _whose(name: str, folder: Path) -> list[dict]:
    """What `identity` says, once for each student of one of Gradescope's groups: all of them have
    its mark."""
    who = identity(name, folder)
    known = _gradescope(folder).get(name, ()) if _GRADESCOPE.fullmatch(name) else ()
    return [who | {"student": student} for student in known] or [who]


def _gradescope(folder: Path) -> dict[str, list[str]]:
    """submission_NUMBER -> its students' numbers, addresses or names; {} without the file."""
    try:
        text = _bytes(folder / _METADATA, MOST_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return {}
    return _students(text)


@functools.lru_cache(maxsize=1)         # asked for every folder of the export
def _students(text: str) -> dict[str, list[str]]:
    pieces = _METADATA_KEY.split(text)
    found = {key: _submitters(piece.splitlines()) for key, piece in zip(pieces[1::2], pieces[2::2])}
    return {key: students for key, students in found.items() if students}


def _submitters(lines: list[str]) -> list[str]:
    """The students below ``:submitters:``, and nobody of the sections that follow it: tests have
    names, too."""
    several, outer, inside = [], None, False
    for found in filter(None, map(_METADATA_LINE.match, lines)):
        outer = found["indent"] if outer is None else outer
        if found["indent"] == outer and not found["begins"]:
            inside = found["name"] == "submitters" and not several
        elif inside:
            several += [{}] if found["begins"] or not several else []
            several[-1].setdefault(found["name"], found["text"].strip(" '\""))
    words = [about.get("sid") or about.get("email") or about.get("name") for about in several]
    return list(dict.fromkeys(filter(None, words)))


def _without_online_text(found: list[Submission]) -> list[Submission]:
    """Without Moodle's folders of what was typed online, where the same student's files lie in
    another: nothing is missing then."""
    handed_in = {(one.student, one.number) for one in found if not _typed(one)}
    return [one for one in found
            if not _typed(one) or (one.student, one.number) not in handed_in]


def _typed(one: Submission) -> bool:
    """Whether this stands for a folder of online text that holds no program."""
    home = _MOODLE.fullmatch(one.file.partition("/")[0])
    return bool(home) and home["kind"] == "onlinetext" and one.verdict is Verdict.MISSING


def _told_apart(found: list[Submission]) -> list[Submission]:
    """Two students of one name keep their platform's numbers behind it."""
    numbers = collections.defaultdict(set)
    for one in found:
        numbers[one.student].add(one.number)
    return [replace(one, student=f"{one.student}_{one.number}")
            if len(numbers[one.student]) > 1 and one.number else one for one in found]


def _compiled(pattern: str) -> re.Pattern:
    try:
        made = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"grade: --pattern {pattern!r} is no regular expression: "
                         f"{error}") from None
    if "student_id" not in made.groupindex:
        raise ValueError(f"grade: --pattern {pattern!r} names no student; put (?P<student_id>...) "
                         "around what does")
    return made


def _matching(folder: Path, pattern: re.Pattern) -> list[Submission]:
    """Every file below the folder; the pattern says whose. What it does not match is reported."""
    found = []
    for path in sorted(_below(folder, 2 * DEEPEST)):
        file = path.relative_to(folder).as_posix()
        match = pattern.match(file)
        if match and match["student_id"]:
            stamp = match.groupdict().get("timestamp") or ""
            found += [replace(one, timestamp=stamp)
                      for one in read_all(path, match["student_id"], file)]
        else:
            found.append(Submission(path.stem, file, verdict=Verdict.MISSING,
                                    problem="whose is it? The pattern does not match its path"))
    return found


def overview(found: list[Submission]) -> str:
    """What was found, in a few words, to be read before anything is graded."""
    students = {one.student for one in found}
    late = sum(one.late for one in found)
    problems = collections.Counter(one.verdict for one in found if one.problem)
    words = [f"{len(found)} files of {len(students)} students"]
    words += [f"{late} marked late"] if late else []
    words += [f"{count} {verdict.value.lower()}" for verdict, count in problems.items()]
    names = sorted(students)
    return ", ".join(words) + ": " + ", ".join(map(repr, names[:5])) + (
        ", ..." if len(names) > 5 else "")


# ---- reading -------------------------------------------------------------------------------------

def read_all(path: Path, student: str, file: str) -> list[Submission]:
    """Read one file, or every program in an archive."""
    if path.suffix.lower() != ".zip":
        return [read(path, student, file)]
    try:
        programs = archives.read(_bytes(path, archives.MOST_BYTES), SUFFIXES, MOST_BYTES)
    except (OSError, ValueError) as error:
        return [_unreadable(student, file, error)]
    made = [Submission(student, f"{file}/{name}", source, named_exercise(source, Path(name).suffix))
            for name, source in programs]
    return made or [Submission(student, file, verdict=Verdict.MISSING,
                               problem="the archive holds no .py or .ipynb file")]


def read(path: Path, student: str, file: str) -> Submission:
    """Read one file, whatever it is; a problem becomes part of the submission."""
    try:
        source = _bytes(Path(path), MOST_BYTES)
    except (OSError, ValueError) as error:
        return _unreadable(student, file, error)
    return Submission(student, file, source, named_exercise(source, Path(path).suffix))


def _unreadable(student: str, file: str, error: Exception) -> Submission:
    words = error.strerror if isinstance(error, OSError) else error
    ours = isinstance(error, OSError) and error.errno in OURS
    return Submission(student, file, problem=f"cannot be read: {words}",
                      verdict=Verdict.GRADER_ERROR if ours else Verdict.UNREADABLE)


def _bytes(path: Path, most: int) -> bytes:
    if path.is_symlink():
        raise ValueError("it is a symbolic link")
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("it is no ordinary file")
        source = stream.read(most + 1)
    if len(source) > most:
        raise ValueError(f"it is larger than {most >> 20} MB")
    return source


def named_besides(source: bytes, exercise: str) -> list[str]:
    """The other exercises whose headers stand in a file that is taken for this one by its first:
    somebody put two files together. [] where another's header is the first."""
    named = list(dict.fromkeys(name.decode() for name in _IN_SOURCE.findall(source[:1 << 20])))
    return named[1:] if named[:1] == [exercise] else []


def named_exercise(source: bytes, suffix: str) -> str | None:
    """The exercise in ``# tinyvision exercise: NAME`` or in a notebook's metadata, or None."""
    suffix = suffix.lower()
    found = _IN_SOURCE.search(source[:1 << 20] if suffix == ".ipynb" else source[:4096])
    if found is None and source[:2] in (b"\xff\xfe", b"\xfe\xff"):
        head = source[:8192].decode("utf-16", "ignore").encode("utf-8", "ignore")
        found = _IN_SOURCE.search(head)
    if found is None and suffix == ".ipynb":
        found = _IN_METADATA.search(source)
    return found[1].decode() if found else None
