"""The formats that are written from results alone."""
from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from tinyvision.grading import totals
from tinyvision.grading.exports import check50, gradescope, nbgrader, otter, prairielearn
from tinyvision.grading.gradebook import guarded
from tinyvision.grading.store import Store, folder_name, write


def students(out: Path) -> str:
    """A row per student: who, what counts, each exercise, why."""
    rows = totals.rows(out)
    exercises = list(totals.points(out))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(["id", "name", "email", "score", "points", "verdict", *exercises, "notes"])
    for row in rows:
        one = row.person
        table.writerow([guarded(cell) for cell in (
            one.id if one else row.student, one.name if one else "", one.email if one else "",
            _number(row.score), _number(row.points), row.verdict,
            *(_number(row.exercises.get(name)) for name in exercises), "; ".join(row.notes))])
    return text.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _per_student(make):
    """A function (out, folder) that writes what ``make(row, record)`` gives, a JSON file for each
    student and exercise that is graded; how many students there are."""
    def export(out: Path, folder: Path) -> int:
        rows = totals.rows(out)
        several = len(totals.points(out)) > 1
        for row in rows:
            for record in row.records:
                if record["score"] is None and row.exercises.get(record["exercise"]) is None:
                    continue                        # our own fault: there is no result
                home = folder / folder_name(row.person.id if row.person else row.student)
                home = home / record["exercise"] if several and record["exercise"] else home
                text = json.dumps(make(row, record), indent=1, ensure_ascii=False, allow_nan=False)
                write(home / "results.json", text + "\n")
        return len(rows)
    return export


def _gradescope(row, record: dict) -> dict:
    return gradescope.results(record, row.exercises.get(record["exercise"] or ""), row.notes)


def sources(out: Path, folder: Path) -> int:
    """Each student's files below a folder of the student's own, as MOSS, JPlag and Dolos want them;
    of a notebook its code cells as one .py file. The shipped stub is there as ``_stub``, to be
    given to them as the base code."""
    from tinyvision.grading.inside import submitted
    store, rows = Store(out), totals.rows(out)
    for row in rows:
        for record in row.records:
            source = store.source(record)
            if source is None:
                continue
            try:
                text = "\n\n".join(code for _, code in submitted.cells_of(record["file"], source))
            except (submitted.Unreadable, SyntaxError):
                continue                            # no program: nothing to compare
            name = f"{folder_name(record['exercise'] or 'unknown')}.py"
            write(folder / folder_name(row.student) / name, text)
    for name, about in store.exercises().items():
        if about.get("stub"):
            write(folder / "_stub" / f"{folder_name(name)}.py", about["stub"])
    return len(rows)


FILES = {"csv": "grades.csv", "otter": "final_grades.csv"}
TEXTS = {"csv": students, "otter": otter.final_grades}
FOLDERS = {"gradescope": _per_student(_gradescope), "nbgrader": nbgrader.folders,
           "prairielearn": _per_student(prairielearn.results),
           "check50": _per_student(check50.results), "sources": sources}
