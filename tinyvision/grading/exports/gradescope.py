"""Gradescope's ``results.json``, from a record.

Format: https://gradescope-autograders.readthedocs.io/en/latest/specs/
"""
from __future__ import annotations

import itertools
import json

from tinyvision.grading.store import plain

VISIBILITIES = ("visible", "hidden", "after_due_date", "after_published")
TELLING = ("WRONG_VALUE", "NONFINITE", "EXCEPTION")     # whose messages hold hidden numbers
MOST_TEXT = 4000                        # characters of one test's output


def results(record: dict, score: float | None = None, notes=(), visibility: str = "visible",
            seconds: float | None = None, numbers: bool = True) -> dict:
    """What Gradescope shows for a record.

    Arguments:
        record: as `examine` makes it, with a score (a fault of the grader's has no results).
        score: after lateness and overrides; by default the record's own.
        notes: sentences that say why the two differ.
        visibility: of the tests.
        seconds: how long it took, if that is to be shown.
        numbers: whether tests say what came and what was expected, and what the student's code
            said and printed. Who may hand in again reads the hidden numbers out of that, one by
            one; without it a test says what kind of mistake it is, and where it raised.
    """
    if record["score"] is None:
        raise ValueError(f"{record['student']}: the grader failed on this submission, so there is "
                         "no result to hand on; grade it again first")
    made = {"score": record["score"] if score is None else score,
            "output": "\n".join([summary(record), *notes]), "output_format": "text",
            "stdout_visibility": "hidden", "visibility": "visible",
            "tests": tests(record, visibility, numbers),
            "extra_data": {"exercise": record["exercise"], "verdict": record["verdict"],
                           "submission_sha256": record["submission"],
                           "isolation": record["isolation"]}}
    return made | ({} if seconds is None else {"execution_time": round(seconds, 2)})


def summary(record: dict) -> str:
    """One line on the whole submission, and what it looks like where something is wrong."""
    if not record["cases"]:
        return f"{record['verdict']}: {record['message']}"
    right = sum(case["verdict"] == "OK" for case in record["cases"])
    lines = [f"{right} of {len(record['cases'])} tests passed."]
    for found in record["diagnoses"]:
        title = found["name"].replace("-", " ")
        lines.append(f"{found['function']}: {f'it looks like: {title}. ' if title else ''}"
                     f"{found['hint']}")
        example = found.get("counterexample")
        if example:
            lines.append(f"    smallest case: {example['call']}\n    yours "
                         f"{example['yours']}   expected {example['expected']}")
    return "\n".join(lines)


def tests(record: dict, visibility: str = "visible", numbers: bool = True) -> list[dict]:
    """One test for each case, numbered by function and case: 1.1, 1.2, 2.1."""
    made = []
    groups = itertools.groupby(record["cases"], lambda case: case["function"])
    for group, (function, cases) in enumerate(groups, 1):
        for number, case in enumerate(cases, 1):
            made.append(_test(f"{group}.{number}", case, visibility, numbers))
    return made


def _test(number: str, case: dict, visibility: str, numbers: bool) -> dict:
    passed = case["verdict"] == "OK"
    made = {"number": number, "name": f"{case['function']}: {case['name']}",
            "score": case["earned"], "max_score": case["points"],
            "status": "passed" if passed else "failed", "visibility": visibility,
            "tags": [case["function"]], "extra_data": {"verdict": case["verdict"]}}
    return made if passed else made | {"output": _output(case, numbers), "output_format": "text"}


def _output(case: dict, numbers: bool) -> str:
    telling = case["verdict"] in TELLING and not numbers
    said = case["message"].split(":")[0] if case["verdict"] == "EXCEPTION" else ""
    told = f"{case['verdict'].replace('_', ' ').lower()}: {said if telling else case['message']}"
    lines = [told.rstrip(": "), *case.get("frames", ()), *case.get("notes", ())]
    if case.get("printed") and numbers:
        lines += ["printed:", case["printed"]]
    return "\n".join(plain(line, MOST_TEXT) for line in lines)[:MOST_TEXT]


def text(made: dict) -> str:
    """Results as JSON."""
    return json.dumps(made, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
