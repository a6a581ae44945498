"""The commands ``tinyvision grade`` and ``tinyvision check``."""
from __future__ import annotations

import sys
from pathlib import Path

from tinyvision.grading.checking import EVERYTHING, check
from tinyvision.grading.grader import IsolationError, grade
from tinyvision.grading.report_commands import add_grade_options, grade_options
from tinyvision.grading.sandbox import LEVELS
from tinyvision.grading.submissions import find, overview
from tinyvision.grading.summary import summary_text

INTERRUPTED = 130


def add(subparsers) -> None:
    """Add both commands to the subparsers of the ``tinyvision`` command."""
    grading = subparsers.add_parser("grade", help="grade a folder of submissions")
    grading.add_argument("where", nargs="+", metavar="[EXERCISE] FOLDER",
                         help="the folder; before it, one exercise for all submissions")
    grading.add_argument("-o", "--out", required=True, help="folder for the results")
    grading.add_argument("--isolation", choices=LEVELS, help="default: the best there is")
    grading.add_argument("--seed", help="secret behind the numbers; default: random, in OUT")
    grading.add_argument("--pattern", metavar="REGEX", help="for paths of submissions, with "
                         "(?P<student_id>...); default: ID.py, ID/..., and platforms' names")
    grading.add_argument("--fork-server", action="store_true",
                         help="fork sandboxes from one interpreter: faster")
    add_grade_options(grading)
    grading.set_defaults(run=run_grade)
    checking = subparsers.add_parser("check", help="check one file of your own")
    checking.add_argument("file", help="a .py or .ipynb file")
    checking.add_argument("--exercise", help="default: the one that the file names")
    checking.add_argument("--hint", type=int, metavar="N",
                          choices=range(EVERYTHING + 1),
                          help="how much is said: 0 which cases fail, 1 the smallest call, 2 all")
    checking.set_defaults(run=run_check)


def run_grade(args) -> int:
    """Grade, and print the summary. 0, 130 if interrupted, 1 with faults of the grader, else 2."""
    if len(args.where) > 2:
        print("grade: give one folder, and at most one exercise before it", file=sys.stderr)
        return 2
    folder, exercise = args.where[-1], args.where[0] if len(args.where) == 2 else None
    if exercise and Path(exercise).is_dir() and not Path(folder).is_dir():
        print(f"grade: {exercise} is the folder, and it comes last: tinyvision grade {folder} "
              f"{exercise} ...", file=sys.stderr)
        return 2
    try:
        if args.pattern:
            print(overview(find(folder, args.pattern)), flush=True)
        summary = grade(folder, args.out, exercise, args.isolation, args.jobs, args.seed,
                        pattern=args.pattern, fork_server=args.fork_server, **grade_options(args))
    except (ValueError, IsolationError) as error:
        print(error, file=sys.stderr)
        return 2
    print(summary_text(summary))
    if summary.interrupted:
        return INTERRUPTED
    return 1 if "GRADER_ERROR" in summary.count() or summary.lost else 0


def run_check(args) -> int:
    """Check, and print what is right and what is not. 0 if everything is right, else 1 or 2."""
    try:
        record = check(args.file, args.exercise, args.hint)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(record)
    return 0 if record["verdict"] == "OK" else 1
