"""The course's roster: who is in it, and which submission is whose.

A CSV file with a header; comma, semicolon or tab. Read are the columns ``id`` and, where they are
there, ``name`` (or first and last name), ``email`` and ``extra_hours`` (an extension of one
student's due date).
"""
from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from tinyvision.grading.store import write

FILE = "course/roster.csv"
LONGEST = 100_000                       # hours of an extension: eleven years
COLUMNS = {"id": ("id", "student_id", "student id", "sid", "sis user id", "sis login id", "number"),
           "name": ("name", "full name", "student", "student name"),
           "first": ("first_name", "first name", "given name", "firstname"),
           "last": ("last_name", "last name", "surname", "family name", "lastname"),
           "email": ("email", "e-mail", "email address", "mail"),
           "extra": ("extra_hours", "extra hours", "extension")}
MOODLE = re.compile(r"^(?P<name>.+)_(?P<id>\d+)_assignsubmission_\w+$")


@dataclass(frozen=True)
class Student:
    """One line of the roster. ``extra_hours``: how much later this student may hand in."""
    id: str
    name: str = ""
    email: str = ""
    extra_hours: float = 0.0


class Roster:
    """Students, found by whatever a system calls them: id, email, its part before the @, name."""

    def __init__(self, students: list[Student]):
        self.students, self._keys = students, {}
        for kind in (_id, _email, _local, _name, _turned_name):
            found: dict[str, list] = {}
            for student in students:
                found.setdefault(key(kind(student)), []).append(student)
            for word, those in found.items():       # a name that two share is nobody's
                if word and len(those) == 1:
                    self._keys.setdefault(word, those[0])

    def find(self, *words: str) -> Student | None:
        """The student that the first of these words is known for, or None."""
        for word in words:
            moodle = MOODLE.match(word)
            for one in (word, moodle["name"] if moodle else ""):
                if one and key(one) in self._keys:
                    return self._keys[key(one)]
        return None

    def absent(self, submitted) -> list[Student]:
        """Those of whom nothing was handed in, of the names that submissions have."""
        there = {student.id for student in map(self.find, submitted) if student}
        return [student for student in self.students if student.id not in there]

    def unknown(self, submitted) -> list[str]:
        """The names of submissions that are nobody's here."""
        return [name for name in dict.fromkeys(submitted) if self.find(name) is None]


def key(word: str) -> str:
    """A word as it is compared: composed characters, no case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", str(word)).casefold().split())


def _id(student):
    return student.id


def _email(student):
    return student.email


def _local(student):
    return student.email.partition("@")[0]


def _name(student):
    return student.name


def _turned_name(student):
    """``Ada Lovelace`` as ``Lovelace, Ada``, and the other way round."""
    last, comma, first = student.name.partition(",")
    if comma:
        return f"{first.strip()} {last.strip()}"
    first, _, last = student.name.rpartition(" ")
    return f"{last}, {first}" if first else ""


# ---- reading -------------------------------------------------------------------------------------

def read(path) -> Roster:
    """The roster in a file. ValueError, one sentence, where it is none or names nobody."""
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"roster {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"roster {path} is not UTF-8 (byte {error.start}); save it as CSV in "
                         "UTF-8") from None
    return Roster(parse(text, str(path)))


def parse(text: str, name: str = "roster") -> list[Student]:
    """The students in a roster's text."""
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    rows = [(line, row) for line, row in _rows(text, delimiter, name) if any(row)]
    columns = _columns(rows[0][1] if rows else [], name)
    students, seen = [], {}
    for number, (line, row) in enumerate(rows[1:], 2):
        if any("\n" in row[place] or "\r" in row[place] for place in columns.values()
               if place < len(row)):
            raise ValueError(_open_quote(name, line))
        student = _student(row, columns, f"{name} row {number}")
        if key(student.id) in seen:
            raise ValueError(f"{name} row {number}: the id {student.id!r} stands in row "
                             f"{seen[key(student.id)]}, too; give every student an own one")
        seen[key(student.id)] = number
        students.append(student)
    if not students:
        raise ValueError(f"{name} names nobody: it has a header and no rows below it")
    return students


def _rows(text: str, delimiter: str, name: str):
    """(line on which it begins, cells) of each row of a table."""
    reader, line = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), 1
    try:
        for row in reader:
            yield line, row
            line = reader.line_num + 1
    except csv.Error:
        raise ValueError(_open_quote(name, line)) from None


def _open_quote(name: str, line: int) -> str:
    """What is said of a quote that takes the students below it into its own cell."""
    return (f"{name} line {line}: a cell begins with a quote (\") that is not closed where the "
            "cell ends; close it, or take it out")


def _columns(header: list[str], name: str) -> dict[str, int]:
    words = [key(cell) for cell in header]
    found = {what: next((words.index(word) for word in known if word in words), None)
             for what, known in COLUMNS.items()}
    if found["id"] is None and found["email"] is None:
        raise ValueError(f"{name} has neither a column 'id' nor 'email' (it has: "
                         f"{', '.join(header) or 'nothing'}); its first row must be a header such "
                         "as id,name,email")
    return {what: place for what, place in found.items() if place is not None}


def _student(row: list[str], columns: dict[str, int], where: str) -> Student:
    cells = {what: row[place].strip() if place < len(row) else ""
             for what, place in columns.items()}
    name = cells.get("name") or " ".join(filter(None, [cells.get("first"), cells.get("last")]))
    one = cells.get("id") or cells.get("email", "")
    if not one:
        raise ValueError(f"{where}: no id; every student needs one")
    try:
        extra = float(cells.get("extra") or 0)
    except ValueError:
        extra = math.nan
    if not 0 <= extra <= LONGEST:
        raise ValueError(f"{where}: extra_hours is {cells['extra']!r}; give a number from 0 to "
                         f"{LONGEST}")
    return Student(one, name, cells.get("email", ""), extra)


def keep(out: Path, path) -> Roster:
    """Copy a roster into OUT, if it is one; it counts from then on."""
    roster = read(path)
    write(Path(out) / FILE, Path(path).read_bytes())
    return roster


def of(out: Path) -> Roster | None:
    """The roster in OUT, or None."""
    path = Path(out) / FILE
    return read(path) if path.exists() else None
