"""Moodle: fill in the grading worksheet that Moodle itself exported.

Facts from moodle, ``mod/assign/feedback/offline/importgradeslib.php``: the header is in the
language of whoever exported it, a student is known by the number of the first column
(``Participant 123456``), and a grade above the maximum stops the whole import. So columns are found
by what is in them as well as by their names.
"""
from __future__ import annotations

import re
from pathlib import Path

from tinyvision.grading import totals
from tinyvision.grading.exports.canvas import ASSIGNMENT
from tinyvision.grading.exports.filling import (Filled, Index, fill as fill_column, said,
                                                table_of)
from tinyvision.grading.exports.table import Table, parsed
from tinyvision.grading.roster import key

GRADE = {key(word) for word in (
    "Grade", "Bewertung", "Note", "Calificación", "Valutazione", "Voto", "Cijfer", "Nota", "Ocena",
    "Betyg", "Karakter", "Karakterer", "Arvosana", "Hodnocení", "Známka", "Értékelés", "Not",
    "Оценка", "Оцінка", "評点", "评分", "成绩")}
NO = {key(word) for word in ("No", "Nein", "Non", "Não", "Nee", "Nej", "Nei", "Ne", "Nie", "Ei",
                             "Nem", "Hayır", "Нет", "Ні", "いいえ", "否")}


def fill(exported: Path, out: Path, column: str | None = None, zeros: bool = False) -> Filled:
    """The worksheet with our marks in its grade column, every other byte as it was.

    Marks are scaled to the worksheet's maximum. Rows that Moodle has locked stay as they are.
    Arguments as `canvas.fill`; ``column`` is needed only where the header's language is not known.
    """
    table, rows = table_of(exported), totals.rows(out)
    place = _column(table, column)
    most = _maximum(table, place)
    points = rows[0].points if rows else 0.0
    scale = most / points if most and points else 1.0
    locked: list[str] = []

    def skipped(cells: list[str]) -> bool:
        if not any(key(cell) in NO for cell in cells[place + 1:]):
            return False
        locked.append(_called(cells))
        return True
    filled = fill_column(table, 1, place, lambda cells: _who(cells, place),
                         Index(rows), scale, zeros, skipped, _called)
    _check(filled.rows, scale, most, table.name)        # who is locked there may have any mark
    notes = [f"marks of {points:g} points are scaled to Moodle's {most:g}"] if scale != 1 else []
    notes += [f"no maximum grade stands right of the grades: marks are filled in as they are, of "
              f"{points:g} points"] if most is None else []
    notes += said("that Moodle has locked, left as they were", locked)
    return Filled(filled.data, filled.count, table.rows[0][place].value, (*notes, *filled.notes))


def _called(cells: list[str]) -> str:
    """The student's name, of which Moodle leaves nothing where marking is anonymous."""
    return next(filter(None, [*cells[1:2], cells[0]]), "")


def _who(cells: list[str], place: int) -> list[str]:
    """The number of ``Participant 123456``, in whatever language, then name and address."""
    number = re.search(r"(\d+)\s*$", cells[0])
    return [number[1] if number else cells[0], *cells[1:place]]


def _column(table: Table, wanted: str | None) -> int:
    header = [cell.value for cell in table.rows[0]]
    if any(ASSIGNMENT.match(name.strip()) for name in header):
        raise ValueError(f"{table.name} is no worksheet of Moodle's: its columns are headed as in "
                         "a gradebook of Canvas's; give it with --canvas")
    words = {key(wanted)} if wanted is not None else GRADE
    found = [i for i, name in enumerate(header) if key(name) in words]
    if len(found) != 1:
        raise ValueError(f"{table.name}: which column holds the grade? Say --column with one of "
                         f"{', '.join(map(repr, header))}")
    return found[0]


def _maximum(table: Table, place: int) -> float | None:
    """The maximum grade: the column right of the grade, where all students have the same number."""
    values = {row[place + 1].value.strip() for row in table.rows[1:] if len(row) > place + 1}
    values.discard("")
    scale = next((value for value in values if "," in value and parsed(value) is None), None)
    if scale is not None:               # its items, with commas: "Not yet, Passed, Excellent"
        raise ValueError(f"{table.name}: Moodle grades this assignment with the scale {scale!r}, "
                         "into which points do not fit; set its grade to points there and export "
                         "the worksheet again")
    most = parsed(values.pop()) if len(values) == 1 else None
    return most if most and most > 0 else None


def _check(rows, scale: float, most: float | None, name: str) -> None:
    above = [row.student for row in rows if most and row.score is not None
             and row.score * scale > most + 1e-6]
    if above:
        raise ValueError(f"{name}: {'; '.join(above)} would get more than Moodle's maximum of "
                         f"{most:g}, which stops its import; change the marks or the maximum")
