"""PrairieLearn's ``/grade/results/results.json``.

What is no program at all is not gradable there, which costs the student no attempt.
"""
from __future__ import annotations

from tinyvision.grading.exports.gradescope import summary

UNGRADABLE = ("SYNTAX", "UNREADABLE", "MISSING")
MOST_OUTPUT = 2000                      # characters of a test; the whole file may have 1 MB


def results(row, record: dict) -> dict:
    """What PrairieLearn shows for one record; the score is a share from 0 to 1."""
    if record["verdict"] in UNGRADABLE:
        return {"gradable": False, "format_errors": [record["message"]]}
    score = row.exercises.get(record["exercise"] or "")
    tests = [{"name": f"{case['function']}: {case['name']}", "description": case["verdict"],
              "points": case["earned"], "max_points": case["points"],
              "message": case["message"][:MOST_OUTPUT],
              "output": case.get("printed", "")[:MOST_OUTPUT]} for case in record["cases"]]
    share = max(0.0, (score or 0.0) / (record["points"] or 1.0))
    return {"gradable": True, "score": round(min(1.0, share), 6),
            "message": "\n".join([summary(record), *row.notes]), "output": "", "tests": tests}
