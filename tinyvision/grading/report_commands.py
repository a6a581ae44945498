"""The commands ``tinyvision report`` and ``tinyvision similar``, and the options of ``grade`` that
say what is graded where."""
from __future__ import annotations

import argparse
import sys

from tinyvision.grading import selection
from tinyvision.grading.store import one_line


def add(subparsers) -> None:
    """Add both commands to the subparsers of the ``tinyvision`` command."""
    reporting = subparsers.add_parser(
        "report", help="make gradebook and pages again, from the records alone")
    reporting.add_argument("out", help="the folder that 'tinyvision grade -o' wrote")
    reporting.add_argument("assignment", nargs="?", metavar="HW.py",
                           help="take its due date and late policy over before")
    reporting.add_argument("--numbers", action=argparse.BooleanOptionalAction,
                           help="show students the numbers of their cases, or only what each case "
                                "is about; kept for later runs (default at first: show)")
    reporting.set_defaults(run=run_report)
    comparing = subparsers.add_parser("similar", help="which submissions are alike")
    comparing.add_argument("out", help="the folder that 'tinyvision grade -o' wrote")
    comparing.set_defaults(run=run_similar)


def run_report(args) -> int:
    """Write gradebook and pages. 0, or 1 where a record is missing or damaged, or 2."""
    from tinyvision.grading import course
    from tinyvision.grading.report import write_report
    try:
        if args.assignment:
            course.keep_policy(args.out, args.assignment)
        report = write_report(args.out, args.numbers)
    except ValueError as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    for sentence in report.missing:
        print(sentence, file=sys.stderr)
    for sentence in report.notes:
        print(sentence)
    print(f"{report.records} records   {report.gradebook}   {report.page}   {report.students}")
    return 1 if report.missing else 0


def run_similar(args) -> int:
    """Print what is alike, and write the page that shows it side by side. 0 or 2."""
    from tinyvision.grading.report import write_similar
    try:
        groups, page = write_similar(args.out)
    except ValueError as error:
        print(f"similar: {error}", file=sys.stderr)
        return 2
    for group in groups:
        names = " + ".join(one_line(member.label) for member in group.members)
        print(f"{group.share:4.0%}  {group.exercise}: {names} ({group.why})")
    found = "1 group is" if len(groups) == 1 else f"{len(groups) or 'no'} groups are"
    print(f"{found} alike   {page}")
    return 0


# ---- options of grade ----------------------------------------------------------------------------

def add_grade_options(grading) -> None:
    """Add the options that say which submissions are graded, and where."""
    grading.add_argument("-j", "--jobs", type=_jobs, metavar="N",
                         help="submissions at a time; auto: two more than processors (default)")
    grading.add_argument("--shard", metavar="I/N", type=_checked(selection.shard),
                         help="grade only part I of N; copying the folders together merges them")
    grading.add_argument("--only", type=_only, metavar="ALICE,BOB",
                         help="grade only these students")
    grading.add_argument("--rerun", metavar="TIMEOUT,…", type=_checked(_verdicts),
                         help="grade again what ended with one of these verdicts")
    grading.add_argument("--seconds", type=_seconds, metavar="S",
                         help="how long one submission may take in all; default: a second a "
                              "case, at least 30")
    grading.add_argument("--dask", metavar="tcp://HOST:PORT",
                         help="let the workers of this Dask scheduler grade")


def grade_options(args) -> dict:
    """What `add_grade_options` added, as `grade` takes it."""
    return {"shard": args.shard, "only": args.only or (), "dask": args.dask,
            "seconds": args.seconds, "rerun": selection.verdicts(args.rerun or "")}


def _only(text: str) -> tuple[str, ...]:
    """The students named; an empty text, as of a shell's variable that is not set, is not all."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError(f"{text!r} names nobody; give students, such as "
                                         "alice,bob, or leave --only away to grade everybody")
    return names


def _verdicts(text: str) -> None:
    if not selection.verdicts(text):
        raise ValueError(f"{text!r} names no verdict; give some, such as TIMEOUT,GRADER_ERROR, or "
                         "leave --rerun away")


def _jobs(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of workers; give 1 or more, "
                                         "or auto")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is no time for one submission; give 1 to 86400 "
                                         "seconds, such as 60")
    return seconds


def _checked(check):
    """An argument's type that is the text itself, if it passes the check."""
    def checked(text: str) -> str:
        try:
            check(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return text
    return checked
