"""nbgrader's layout: ``submitted/STUDENT/ASSIGNMENT/``, ``feedback/...`` and its grades CSV."""
from __future__ import annotations

import csv
import io
from pathlib import Path

from tinyvision.grading import course, totals
from tinyvision.grading.gradebook import guarded
from tinyvision.grading.store import Store, folder_name, write

HEADER = ("assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email",
          "raw_score", "late_submission_penalty", "score", "max_score")


def grades(out: Path) -> str:
    """``grades.csv`` as nbgrader exports it: a row per student and assignment; of what was not
    handed in the time is empty and the score 0."""
    rules, text = course.read(out), io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(HEADER)
    for row in totals.rows(out):
        for record in row.records:
            table.writerow([guarded(cell) for cell in _graded(rules, row, record)])
        if not row.records:
            for exercise, points in totals.points(out).items():
                table.writerow([guarded(cell) for cell in _missing(rules, row, exercise, points)])
    return text.getvalue()


def _graded(rules, row, record: dict) -> list[str]:
    raw, taken, _ = rules.parts(record)
    moment = rules.times.get(record["file"])
    scores = ["", "", ""] if raw is None else [f"{raw:g}", f"{taken:g}",
                                               f"{max(0.0, round(raw - taken, 4)):g}"]
    return [record["exercise"] or "", _due(rules, record["exercise"]),
            moment.strftime("%Y-%m-%d %H:%M:%S.%f") if moment else "", *_person(row), *scores,
            f"{record['points'] or 0:g}"]


def _missing(rules, row, exercise: str, points: float) -> list[str]:
    score = f"{row.exercises.get(exercise) or 0:g}"         # unless one was given by hand
    return [exercise, _due(rules, exercise), "", *_person(row), score, "0", score, f"{points:g}"]


def _due(rules, exercise: str | None) -> str:
    policy = rules.policies.get(exercise)
    return policy.due.strftime("%Y-%m-%d %H:%M:%S") if policy and policy.due else ""


def _person(row) -> list[str]:
    one = row.person
    if one is None:
        return [row.student, "", "", ""]
    last, comma, first = one.name.partition(", ")
    if not comma:
        first, _, last = one.name.rpartition(" ")
    return [one.id, last, first, one.email]


def folders(out: Path, folder: Path) -> int:
    """Write grades.csv, the files handed in with their times, and each student's page as feedback;
    how many students there are."""
    store, rules = Store(out), course.read(out)
    write(folder / "grades.csv", grades(out))
    rows = totals.rows(out)
    for row in rows:
        for record in row.records:
            home = Path(folder_name(row.person.id if row.person else row.student),
                        record["exercise"] or "unknown")
            name = Path(record["file"]).name
            source = store.source(record)
            if source is not None:
                write(folder / "submitted" / home / folder_name(name), source)
            moment = rules.times.get(record["file"])
            if moment:
                write(folder / "submitted" / home / "timestamp.txt",
                      f"{moment:%Y-%m-%d %H:%M:%S.%f} UTC\n")
            page = store.out / "students" / f"{folder_name(record['student'])}.html"
            if page.exists():
                stem = folder_name(Path(name).stem)
                write(folder / "feedback" / home / f"{stem}.html", page.read_bytes())
    return len(rows)
