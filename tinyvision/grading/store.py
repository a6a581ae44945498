"""What is kept of a grading: one JSON per submission, written at once or not at all.

==========================  ======================================================================
results/STUDENT/HASH.json   a record; HASH is that of the submission, the assignment, the grader
HASH.time.json beside it    its times, so that records are byte for byte the same on every run
sources/HASH.py, .ipynb     what was handed in, by the hash of its bytes
exercises/NAME.json         what pages and comparisons need to know of an exercise
submissions.json            everything that was handed in, in order
secret                      what the cases' numbers are made from
==========================  ======================================================================

Gradebook and pages are pure functions of this folder. No two shards write different bytes to one
of these files, so merging their folders is copying them.
"""
from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

VERSION = "2"                           # change it when the same answer would get another mark
REQUIRED = {"student": str, "file": str, "verdict": str, "message": str, "cases": list,
            "diagnoses": list, "remarks": list}
_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)?")
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069"
                     r"\ufeff\ud800-\udfff]")


def plain(text: object, most: int = 500) -> str:
    """Text from a student, fit for a terminal and a page: no escapes, no control characters."""
    return _UNSEEN.sub("\ufffd", _ESCAPES.sub("", str(text)))[:most]


def one_line(text: object) -> str:
    """`plain`, and without line breaks: a name that a student chose, in a line of ours."""
    return " ".join(plain(text).split())


def write(path: Path, data: str | bytes, mode: int = 0o666) -> None:
    """Write a file whole: into a temporary neighbour, then renamed; ``mode`` before the umask.
    Where that fails, as on a full disk, the old file stays and the neighbour goes: OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.part")
    try:
        with open(part, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as stream:
            stream.write(data.encode("utf-8") if isinstance(data, str) else data)
        os.replace(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno:      # told of the file, not of its neighbour
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def _dump(value, indent: int = 1) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def folder_name(student: str) -> str:
    """A student's name as a folder: one path element on every system."""
    name = re.sub(r"[^\w @+.-]|^\.|[. ]$",
                  lambda m: "".join(f"%{b:02X}" for b in m[0].encode("utf-8", "surrogateescape")),
                  student)
    if len(name.encode()) <= 120:
        return name
    return name[:20] + "-" + hashlib.sha256(name.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Entry:
    """One line of the list of what was handed in, with what became of it.

    Attributes:
        student: as the folder or file was called.
        key: the hash that names the record.
        path: where the record lies, or will lie.
        record: None where it is not graded yet, or where the file is damaged.
    """
    student: str
    key: str
    path: Path
    record: dict | None

    @property
    def damaged(self) -> bool:
        """Whether the file is there but holds no record: half written, or edited."""
        return self.record is None and self.path.exists()


class Store:
    """The folder OUT."""

    def __init__(self, out: Path):
        self.out = Path(out)
        self.results = self.out / "results"

    def secret(self, seed: str | None, make: bool = True) -> bytes:
        """The secret behind the numbers: kept in OUT, made from ``seed`` or at random.

        It stays after the grading: a late submission gets the same numbers by it, a case can be
        replayed, and records are found again (their names depend on the numbers). ValueError where
        OUT has another one than ``seed``, or has none and ``make`` is false.
        """
        path = self.out / "secret"
        kept = path.read_bytes() if path.exists() else None
        if kept is None and seed is None and not make:
            raise ValueError(f"grade: {self.out} has no secret yet, and every shard must use the "
                             "same: give --seed, or copy OUT/secret there first")
        if kept is None:
            write(path, str(seed) if seed is not None else secrets.token_hex(16), 0o600)
            return path.read_bytes()    # of two that start at once, both take what is there
        if seed is not None and str(seed).encode() != kept:
            raise ValueError(f"grade: {path} is another seed than the one given; leave --seed "
                             "away to go on, or give another OUT")
        return kept

    def key(self, submission, digest: str) -> str:
        """The hash that names a record."""
        parts = (VERSION, digest, submission.digest, submission.student, submission.file)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()

    # ---- records -----------------------------------------------------------------------------

    def path(self, student: str, key: str) -> Path:
        """Where a record lies."""
        return self.results / folder_name(student) / f"{key}.json"

    def load(self, student: str, key: str) -> dict | None:
        """A finished record, or None: not there, cut short, or the grader's own fault."""
        record = read_record(self.path(student, key))
        return None if record is None or record["verdict"] == "GRADER_ERROR" else record

    def save(self, student: str, key: str, record: dict, times: dict) -> None:
        """Keep a record, and its times beside it."""
        path = self.path(student, key)
        write(path.with_suffix(".time.json"), json.dumps(times, indent=1) + "\n")
        write(path, _dump(record))

    def list_submissions(self, keys: list[tuple[str, str]]) -> None:
        """Note the (student, key) of everything handed in, in order."""
        write(self.out / "submissions.json", json.dumps(keys, indent=0) + "\n")

    def entries(self) -> list[Entry]:
        """What was handed in, in order. ValueError where OUT is no folder of results."""
        path = self.out / "submissions.json"
        try:
            keys = json.loads(path.read_text(encoding="utf-8"))
            return [Entry(student, key, self.path(student, key),
                          read_record(self.path(student, key))) for student, key in keys]
        except FileNotFoundError:
            raise ValueError(f"{self.out} holds no results: there is no {path.name}; give the "
                             "folder that 'tinyvision grade -o' wrote") from None
        except NotADirectoryError:
            raise ValueError(f"{self.out} is a file; give the folder that 'tinyvision grade -o' "
                             "wrote") from None
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is damaged ({error}): 'tinyvision grade' with the same "
                             "folders writes it again and keeps the records") from None

    def records(self) -> list[dict]:
        """The records of what was handed in, in order; what is not graded yet is left out."""
        return [entry.record for entry in self.entries() if entry.record is not None]

    # ---- what belongs to them ----------------------------------------------------------------

    def keep_source(self, submission) -> None:
        """Keep the bytes that were handed in: once, however many handed in the same."""
        path = self._source_path(submission.digest, submission.file)
        if submission.source and not path.exists():
            write(path, submission.source)

    def source(self, record: dict) -> bytes | None:
        """The bytes that a record is about; None where they could not be read, or are gone."""
        try:
            return self._source_path(record["submission"], record["file"]).read_bytes()
        except OSError:
            return None

    def _source_path(self, digest: str, file: str) -> Path:
        suffix = ".ipynb" if file.lower().endswith(".ipynb") else ".py"
        return self.out / "sources" / (digest + suffix)

    def keep_exercise(self, about: dict) -> None:
        """Keep what pages need to know of an exercise, under its ``name``."""
        path = self.out / "exercises" / f"{folder_name(about['name'])}.json"
        text = _dump(about)
        if not path.exists() or path.read_bytes() != text.encode():
            write(path, text)

    def exercises(self) -> dict[str, dict]:
        """name -> what was kept of each exercise."""
        found = map(_about, sorted((self.out / "exercises").glob("*.json")))
        return {about["name"]: about for about in found}


def _about(path: Path) -> dict:
    """What was kept of an exercise; ValueError where the file does not hold that."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        about["name"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}): 'tinyvision grade' with the same folders "
                         "writes it again and keeps the records") from None
    return about


def read_record(path: Path) -> dict | None:
    """The record in a file; None where there is none, or it is cut short or no record."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    whole = isinstance(record, dict) and all(isinstance(record.get(name), kind)
                                             for name, kind in REQUIRED.items())
    return record if whole else None
