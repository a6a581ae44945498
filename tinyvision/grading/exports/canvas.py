"""Canvas: fill in the gradebook that Canvas itself exported.

Facts from canvas-lms, ``lib/gradebook_importer.rb`` and ``gradebook_exporter.rb``: an assignment is
known by the number in ``Title (12345)``; before the students may stand a row of posting policies
and one of ``Points Possible``; some columns are read-only, and some titles are ignored.
"""
from __future__ import annotations

import re
from pathlib import Path

from tinyvision.grading import totals
from tinyvision.grading.exports.filling import Filled, Index, fill as fill_column, said, table_of
from tinyvision.grading.exports.table import Table, parsed

ASSIGNMENT = re.compile(r"^(.*)\s\((\d+)\)$")
EXCUSED = "EX"                          # what Canvas writes for who need not hand it in
IGNORED = re.compile("(Current|Final) (Score|Points|Grade)|Override (Score|Grade|Status)")


def fill(exported: Path, out: Path, column: str | None, zeros: bool = False) -> Filled:
    """The exported gradebook with our marks in one column, every other byte as it was.

    Arguments:
        exported: the CSV that Canvas exported.
        out: results.
        column: its header, ``"HW3 (98765)"``, or the title or the number alone; may be left away
            where there is one assignment only.
        zeros: a zero where nothing was handed in.

    Who is excused there stays so. ValueError where there is no such column, or Canvas would not
    take it.
    """
    table = table_of(exported)
    place = _column(table, column)
    header = table.rows[0]
    first = 1
    while first < len(table.rows) and _before_students([c.value for c in table.rows[first]]):
        _check_points([c.value for c in table.rows[first]], place, header[place].value)
        first += 1
    identity = range(_students(table, place))
    rows = totals.rows(out)
    excused: list[str] = []

    def skipped(cells):
        if cells[place].strip().upper() != EXCUSED:
            return False
        excused.append(cells[0])
        return True
    filled = fill_column(table, first, place, identity, Index(rows), zeros=zeros, skipped=skipped)
    notes = [*_points_note(table, first, place, rows), *said("excused, left as they were", excused)]
    return Filled(filled.data, filled.count, header[place].value, (*notes, *filled.notes))


def _column(table: Table, wanted: str | None) -> int:
    header = [cell.value.strip() for cell in table.rows[0]]
    assignments = [name for name in header if ASSIGNMENT.match(name)]
    if not assignments:                 # into another system's file nothing is written
        raise ValueError(f"{table.name} is no gradebook that Canvas exported: no column is headed "
                         "like 'HW3 (98765)'; export it there, or give a worksheet of Moodle's "
                         "with --moodle")
    named = [name for name in assignments if wanted is not None and wanted.strip() in (
        name, *ASSIGNMENT.match(name).groups())]
    found = named if wanted is not None else assignments
    if len(found) != 1:
        asked = f"{len(found) or 'no'} columns are for {wanted!r}" if wanted is not None else (
            f"{len(found)} columns are for assignments")
        raise ValueError(f"{table.name}: {asked}, and one is to be filled; say --column with one "
                         f"of {', '.join(map(repr, assignments))}")
    if IGNORED.search(found[0]):
        raise ValueError(f"{table.name}: Canvas ignores columns like {found[0]!r}; give the "
                         "assignment another title there and export again")
    return header.index(found[0])


def _students(table: Table, place: int) -> int:
    """How many columns say who a student is: those up to the section, before any assignment."""
    header = [cell.value.strip() for cell in table.rows[0]]
    first = next((i for i, name in enumerate(header) if ASSIGNMENT.match(name)), place)
    return min(first, place, header.index("Section") if "Section" in header else first)


def _before_students(cells: list[str]) -> bool:
    """Whether a row stands before the students: Canvas writes four spaces before "Points
    Possible", in any language, and leaves the student's cells of the other one empty."""
    return cells[0].startswith("    ") or "Points Possible" in cells[0] or not any(
        cell.strip() for cell in cells[:2])


def _check_points(cells: list[str], place: int, title: str) -> None:
    if place < len(cells) and "(read only)" in cells[place]:
        raise ValueError(f"Canvas says that column {title!r} is read only; choose an assignment "
                         "with --column")


def _points_note(table: Table, first: int, place: int, rows) -> list[str]:
    for row in table.rows[1:first]:
        points = parsed(row[place].value) if place < len(row) else None
        if points is not None and rows and abs(points - rows[0].points) > 1e-6:
            return [f"Canvas has {points:g} points for it, the assignment {rows[0].points:g}: "
                    "marks are filled in as they are"]
    return []
