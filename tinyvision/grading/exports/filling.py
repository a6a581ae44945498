"""Filling one column of an exported file with marks: what Canvas and Moodle have in common."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinyvision.grading.exports.table import Table, number
from tinyvision.grading.roster import key
from tinyvision.grading.store import plain

MOST = 30                               # names in one sentence
ZEROS = {"UNREADABLE": "not readable, exported as 0",   # nothing was run: a person should look
         "MISSING": "without a file of the exercise, exported as 0"}


@dataclass(frozen=True)
class Filled:
    """The new bytes, how many marks were put in, into which column, what to know, and the rows of
    results that were put in."""
    data: bytes
    count: int
    column: str
    notes: tuple[str, ...]
    rows: tuple = ()


def table_of(path: Path) -> Table:
    """The exported file; ValueError in one sentence where it cannot be read."""
    try:
        return Table(Path(path).read_bytes(), str(path))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


class Index:
    """Rows of results, found by any of their names; a name that two have finds nobody."""

    def __init__(self, rows):
        self.rows, self.by_key = list(rows), {}
        for row in self.rows:
            for word in self._words(row):
                known = self.by_key.setdefault(word, row)
                if known is not row:
                    self.by_key[word] = None

    @staticmethod
    def _words(row) -> set[str]:
        words = [*row.names, *(name.partition("@")[0] for name in row.names)]
        for word in list(words):
            first, _, last = word.rpartition(" ")
            words += [f"{last}, {first}"] if first else []
        return {key(word) for word in words if word}

    def find(self, cells) -> object:
        """The row that these cells name. None where they name nobody; "two" where different
        people."""
        found = [self.by_key[key(cell)] for cell in cells if self.by_key.get(key(cell))]
        if len({id(row) for row in found}) > 1:
            return "two"
        return found[0] if found else None


def fill(table: Table, first: int, column: int, identity, index: Index, scale: float = 1.0,
         zeros: bool = False, skipped=lambda cells: False, called=None) -> Filled:
    """Put marks into a column.

    Arguments:
        first: the first row of students.
        column: which to fill.
        identity: columns that say who it is, or a function of a row's cells giving the words.
        scale: points of the file for one of ours.
        zeros: fill in 0 for those of whom nothing was handed in.
        skipped: says of a row's cells whether they may not be changed; who stands there is in
            the file all the same.
        called: what a row's student is called in notes; by default the first of its words.
    """
    comma, places, unknown, doubtful = table.comma_decimals(), {}, [], []
    untouched = set()
    for at in range(first, len(table.rows)):
        cells = [cell.value for cell in table.rows[at]]
        if len(cells) <= column or not any(cells):
            continue
        words = identity(cells) if callable(identity) else [cells[i] for i in identity]
        row = index.find(words)
        if skipped(cells):
            untouched.add(id(row))
            continue
        name = (called(cells) if called else "") or next(filter(None, words), f"row {at + 1}")
        if row == "two":
            doubtful.append(f"{name} ({' '.join(w for w in words if w and w != name)})")
        elif row is None:
            unknown.append(name)
        else:
            places.setdefault(id(row), (row, name, []))[2].append(at)
    filled, notes = _put(table, column, places, scale, comma, zeros, doubtful)
    there = untouched | {id(row) for row, _, _ in places.values()}
    absent = [row.student for row in index.rows if id(row) not in there and row.records]
    notes += said("in the file, without a submission here, left as they were", unknown)
    notes += said("submissions of nobody in the file", absent)
    notes += said("named like two different students, left as they were", doubtful)
    above = table.rows[first - 1] if first else []
    return Filled(table.data(), len(filled), above[column].value if column < len(above) else "",
                  tuple(notes), tuple(filled))


def _put(table, column, places, scale, comma, zeros, doubtful) -> tuple[list, list[str]]:
    """(the rows that were put in, sentences)."""
    filled, ungraded, missing, zeros_of = [], [], [], {verdict: [] for verdict in ZEROS}
    for row, name, at in places.values():
        if len(at) > 1:
            doubtful.append(f"{row.student} ({len(at)} rows)")
        elif row.score is None and row.records:
            ungraded.append(name)
        elif row.score is None and not zeros:
            missing.append(name)
        else:
            table.set(at[0], column, number((row.score or 0.0) * scale, comma))
            filled.append(row)
            if row.records and not row.score and row.verdict in ZEROS:
                zeros_of[row.verdict].append(name)
    return filled, [*(note for verdict, what in ZEROS.items()
                      for note in said(what, zeros_of[verdict])),
                    *said("not graded, left as they were", ungraded),
                    *said("nothing was handed in, left as they were", missing)]


def said(what: str, names: list[str]) -> list[str]:
    """A sentence on these people, or none; between them semicolons, since "Doe, Jo" is one."""
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    shown = "; ".join(plain(name, 60) for name in names[:MOST])
    return [f"{len(names)} {what}: {shown}{more}"] if names else []
