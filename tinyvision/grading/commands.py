"""The commands ``tinyvision grade`` and ``tinyvision check``."""
from __future__ import annotations

import itertools
import sys
import textwrap
from pathlib import Path

from tinyvision.grading.grader import IsolationError, check, grade
from tinyvision.grading.sandbox import LEVELS
from tinyvision.grading.summary import WIDTH, summary_text

INTERRUPTED = 130


def add(subparsers) -> None:
    """Add both commands to the subparsers of the ``tinyvision`` command."""
    grading = subparsers.add_parser("grade", help="grade a folder of submissions")
    grading.add_argument("where", nargs="+", metavar="[EXERCISE] FOLDER",
                         help="the folder; before it, one exercise for all submissions")
    grading.add_argument("-o", "--out", required=True, help="folder for the results")
    grading.add_argument("--isolation", choices=LEVELS, help="default: the best there is")
    grading.add_argument("-j", "--jobs", type=int, help="submissions at a time")
    grading.add_argument("--seed", help="secret behind the numbers; default: random, in OUT")
    grading.set_defaults(run=run_grade)
    checking = subparsers.add_parser("check", help="check one file of your own")
    checking.add_argument("file", help="a .py or .ipynb file")
    checking.add_argument("--exercise", help="default: the one that the file names")
    checking.set_defaults(run=run_check)


def run_grade(args) -> int:
    """Grade, and print the summary. 0, 130 if interrupted, 1 with faults of the grader, else 2."""
    if len(args.where) > 2:
        print("grade: give one folder, and at most one exercise before it", file=sys.stderr)
        return 2
    try:
        summary = grade(args.where[-1], args.out, args.where[0] if len(args.where) == 2 else None,
                        args.isolation, args.jobs, args.seed)
    except (ValueError, OSError, IsolationError) as error:
        print(error, file=sys.stderr)
        return 2
    print(summary_text(summary))
    if summary.interrupted:
        return INTERRUPTED
    return 1 if "GRADER_ERROR" in summary.count() else 0


def run_check(args) -> int:
    """Check, and print what is right and what is not. 0 if everything is right, else 1 or 2."""
    try:
        record = check(args.file, args.exercise)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(check_text(record))
    return 0 if record["verdict"] == "OK" else 1


# ---- what is printed -----------------------------------------------------------------------------

def check_text(record: dict) -> str:
    """What a student reads: for each function its points, a mark per case, and the diagnosis."""
    lines = []
    for function, cases in itertools.groupby(record["cases"], lambda case: case["function"]):
        lines += _function_lines(function, list(cases), record["diagnoses"])
    if not record["cases"]:
        lines += textwrap.wrap(f"{record['verdict']}: {record['message']}", WIDTH)
    score = f"{record['score']:g}" if record["score"] is not None else "not graded"
    lines.append(f"{record['exercise']}: {score} of {record['points']:g} points"
                 + (", everything is right" if record["verdict"] == "OK" else ""))
    return "\n".join(lines)


def _function_lines(function: str, cases: list[dict], diagnoses: list[dict]) -> list[str]:
    earned, points = (sum(case[key] for case in cases) for key in ("earned", "points"))
    marks = "   ".join(_unbroken(f"{'✓' if case['verdict'] == 'OK' else '✗'} {case['name']}")
                       for case in cases)
    lines = [f"{function:30} {earned:g} / {points:g}", *_indented(marks)]
    for found in diagnoses:
        if found["function"] == function:
            title = found["name"].replace("-", " ")
            lines += _indented(f"It looks like: {title}. {found['hint']}" if title
                               else found["hint"])
    failing = [case for case in cases if case["verdict"] != "OK"]
    for verdict in dict.fromkeys(case["verdict"] for case in failing):
        same = [case for case in failing if case["verdict"] == verdict]
        more = f" (and {len(same) - 1} more)" if len(same) > 1 else ""
        example = min(same, key=lambda case: not case.get("picture"))
        lines += _indented(f"{verdict.replace('_', ' ').lower()}{more}: "
                           f"{example['name']}: {_message(example)}")
    return lines


def _unbroken(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _message(case: dict) -> str:
    frame = f" [{case['frames'][-1]}]" if case.get("frames") else ""
    return case["message"] + frame


def _indented(text: str) -> list[str]:
    lines = textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ")
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]
