"""What is kept: one JSON per submission, written at once or not at all; and the gradebook.

``OUT/results/STUDENT/HASH.json`` is a record, HASH that of the submission, the assignment and the
grader. ``HASH.time.json`` beside it holds the times, so that records are byte for byte the same on
every run. ``OUT/submissions.json`` lists what was handed in; the gradebook is a pure function of
the folder.
"""
from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import secrets
import threading
from pathlib import Path

VERSION = "1"                           # change it when the same answer would get another mark
COLUMNS = ("student", "file", "exercise", "verdict", "score", "points", "mistakes", "remarks")
_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)?")
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069"
                     r"\ufeff\ud800-\udfff]")


def plain(text: object, most: int = 500) -> str:
    """Text from a student, fit for a terminal and a page: no escapes, no control characters."""
    return _UNSEEN.sub("\ufffd", _ESCAPES.sub("", str(text)))[:most]


def write(path: Path, text: str, mode: int = 0o666) -> None:
    """Write a file whole: into a temporary neighbour, then renamed; ``mode`` before the umask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name[:100]}.{os.getpid()}.{threading.get_ident()}.part")
    with open(part, "w", encoding="utf-8", newline="",
              opener=lambda name, flags: os.open(name, flags, mode)) as stream:
        stream.write(text)
    os.replace(part, path)


def folder_name(student: str) -> str:
    """A student's name as a folder: one path element on every system."""
    name = re.sub(r"[^\w @+.-]|^\.|[. ]$",
                  lambda m: "".join(f"%{b:02X}" for b in m[0].encode("utf-8", "surrogateescape")),
                  student)
    if len(name.encode()) <= 120:
        return name
    return name[:20] + "-" + hashlib.sha256(name.encode()).hexdigest()[:16]


class Store:
    """The folder OUT."""

    def __init__(self, out: Path):
        self.out = Path(out)
        self.results = self.out / "results"

    def secret(self, seed: str | None) -> bytes:
        """The secret behind the numbers: from ``seed``, else random and kept in OUT."""
        if seed is not None:
            return str(seed).encode()
        path = self.out / "secret"
        if not path.exists():
            write(path, secrets.token_hex(16), 0o600)
        return path.read_bytes()

    def key(self, submission, digest: str) -> str:
        """The hash that names a record."""
        parts = (VERSION, digest, submission.digest, submission.student, submission.file)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()

    def path(self, student: str, key: str) -> Path:
        """Where a record lies."""
        return self.results / folder_name(student) / f"{key}.json"

    def load(self, student: str, key: str) -> dict | None:
        """A finished record, or None: not there, cut short, or the grader's own fault."""
        try:
            record = json.loads(self.path(student, key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return None if record.get("verdict") == "GRADER_ERROR" else record

    def save(self, student: str, key: str, record: dict, times: dict) -> None:
        """Keep a record, and its times beside it."""
        path = self.path(student, key)
        write(path.with_suffix(".time.json"), json.dumps(times, indent=1) + "\n")
        write(path, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    def list_submissions(self, keys: list[tuple[str, str]]) -> None:
        """Note the (student, key) of everything handed in, in order."""
        write(self.out / "submissions.json", json.dumps(keys, indent=0) + "\n")

    def records(self) -> list[dict]:
        """The records of what was handed in, in order; what is not graded yet is left out."""
        keys = json.loads((self.out / "submissions.json").read_text(encoding="utf-8"))
        paths = [self.path(student, key) for student, key in keys]
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]

    def write_gradebook(self) -> Path:
        """Write ``gradebook.csv`` from the records."""
        path = self.out / "gradebook.csv"
        write(path, gradebook(self.records()))
        return path


def gradebook(records: list[dict]) -> str:
    """The records as CSV. A fault of the grader has an empty score: it is not a zero."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(COLUMNS)
    for record in records:
        mistakes = [f"{found['function']}: {found['name'] or 'unknown'}"
                    for found in record["diagnoses"]]
        score = "" if record["score"] is None else f"{record['score']:g}"
        points = "" if record["points"] is None else f"{record['points']:g}"
        table.writerow([guarded(cell) for cell in (
            record["student"], record["file"], record["exercise"] or "", record["verdict"], score,
            points, "; ".join(mistakes), str(len(record["remarks"]) or ""))])
    return text.getvalue()


def guarded(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return "'" + cell if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
