"""``gradebook.csv``: a row per submission."""
from __future__ import annotations

import csv
import io

COLUMNS = ("student", "file", "exercise", "verdict", "score", "points", "mistakes", "remarks",
           "notes")


def gradebook(records: list[dict], marks: list) -> str:
    """The records and their marks as CSV. A fault of the grader has an empty score: it is no zero.

    Arguments:
        records: as `store.Store.records` gives them.
        marks: for each its `marks.Mark`.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(COLUMNS)
    table.writerows([guarded(cell) for cell in _row(record, mark)]
                    for record, mark in zip(records, marks, strict=True))
    return text.getvalue()


def _row(record: dict, mark) -> tuple[str, ...]:
    mistakes = [f"{found['function']}: {found['name'] or 'unknown'}"
                for found in record["diagnoses"]]
    return (record["student"], record["file"], record["exercise"] or "", record["verdict"],
            _number(mark.score), _number(mark.points), "; ".join(mistakes),
            str(len(record["remarks"]) or ""), "; ".join(mark.notes))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def guarded(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return "'" + cell if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
