"""otter-grader's ``final_grades.csv``: a row per file, a column per question (here: function)."""
from __future__ import annotations

import csv
import io
from pathlib import Path

from tinyvision.grading import course, totals
from tinyvision.grading.gradebook import guarded


def final_grades(out: Path) -> str:
    """The text; its first row holds what each question is worth."""
    rules = course.read(out)
    records = sorted((r for row in totals.rows(out) for r in row.records), key=lambda r: r["file"])
    worth: dict[str, float] = {}
    for record in records:
        for function, (_, points) in _questions(record).items():
            worth[function] = points
    questions, total = sorted(worth), sum(worth.values())
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file", *questions, "total_points_earned", "percent_correct",
                    "grading_status"])
    table.writerow(["points-per-question", *(f"{worth[q]:g}" for q in questions), f"{total:g}",
                    "1", "--"])
    for record in records:
        table.writerow(_row(rules, record, questions, total))
    return text.getvalue()


def _questions(record: dict) -> dict[str, tuple[float, float]]:
    """Function -> (earned, points)."""
    found: dict[str, tuple[float, float]] = {}
    for case in record["cases"]:
        earned, points = found.get(case["function"], (0.0, 0.0))
        found[case["function"]] = (round(earned + case["earned"], 4),
                                   round(points + case["points"], 4))
    return found


def _row(rules, record: dict, questions: list[str], total: float) -> list[str]:
    score, _ = rules.score(record)
    own = _questions(record)
    if score is None:
        return [guarded(record["file"]), *("" for _ in questions), "", "",
                guarded(record["message"])]
    status = "Completed" if record["cases"] else f"{record['verdict']}: {record['message']}"
    return [guarded(record["file"]), *(f"{own.get(q, (0.0, 0))[0]:g}" for q in questions),
            f"{score:g}", f"{score / total if total else 0:.6g}", guarded(status)]
