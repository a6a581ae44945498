"""The instructor's commands around ``grade``: new, build, and what is done with results."""
from __future__ import annotations

import sys
from pathlib import Path

from tinyvision.grading.exports.gradescope import VISIBILITIES


def add(subparsers) -> None:
    """Add the commands to the subparsers of the ``tinyvision`` command."""
    for one in (_add_new, _add_build, _add_show, _add_replay, _add_diff, _add_roster,
                _add_override):
        one(subparsers)
    from tinyvision.grading.exports import commands
    commands.add(subparsers)


def _add_new(subparsers) -> None:
    new = subparsers.add_parser("new", help="write an assignment made of exercises")
    new.add_argument("name", metavar="NAME", help="such as hw3: writes hw3.py")
    new.add_argument("--from", dest="parts", required=True, metavar="EXERCISE,EXERCISE",
                     help="exercises of the catalogue, see 'tinyvision exercises'")
    new.add_argument("--vary", type=int, metavar="SEED",
                     help="change names, order of arguments and layouts by this number")
    new.add_argument("-o", "--output", metavar="FOLDER", default=".", help="where (here)")
    new.add_argument("--force", action="store_true", help="write over a file that exists")
    new.set_defaults(run=run_new)


def _add_build(subparsers) -> None:
    building = subparsers.add_parser("build", help="make an assignment's files and prove them")
    building.add_argument("source", metavar="NAME.py", help="what 'tinyvision new' wrote")
    building.add_argument("-o", "--output", metavar="FOLDER", help="default: build/NAME beside it")
    building.add_argument("--visibility", choices=VISIBILITIES, default="visible",
                          help="of the tests on Gradescope")
    building.set_defaults(run=run_build)


def _add_show(subparsers) -> None:
    showing = subparsers.add_parser("show", help="one student's results")
    showing.add_argument("out", metavar="OUT", help="what 'tinyvision grade -o' wrote")
    showing.add_argument("student", metavar="STUDENT")
    showing.set_defaults(run=run_show)


def _add_replay(subparsers) -> None:
    again = subparsers.add_parser("replay", help="run one case of one student's again")
    again.add_argument("out", metavar="OUT")
    again.add_argument("student", metavar="STUDENT")
    again.add_argument("case", metavar="CASE", help="such as 1.2, 'stride 2' or 'conv2d: stride 2'")
    again.add_argument("--notebook", metavar="FILE.ipynb", nargs="?", const="",
                       help="write a notebook with the code, the arguments and the right answer; "
                       "without a name: replay_STUDENT_CASE.ipynb")
    again.set_defaults(run=run_replay)


def _add_diff(subparsers) -> None:
    comparing = subparsers.add_parser("diff", help="what marks changed between two gradings")
    comparing.add_argument("first", metavar="OUT1")
    comparing.add_argument("second", metavar="OUT2")
    comparing.set_defaults(run=run_diff)


def _add_roster(subparsers) -> None:
    names = subparsers.add_parser("roster", help="say who is in the course")
    names.add_argument("out", metavar="OUT")
    names.add_argument("file", metavar="ROSTER.csv", nargs="?",
                       help="columns id,name,email and, if wanted, extra_hours")
    names.set_defaults(run=run_roster)


def _add_override(subparsers) -> None:
    by_hand = subparsers.add_parser("override", help="give a mark by hand, with the reason")
    by_hand.add_argument("out", metavar="OUT")
    by_hand.add_argument("student", metavar="STUDENT")
    by_hand.add_argument("where", metavar="FUNCTION or CASE", nargs="?", default="",
                         help="left away: the whole mark, which is then final")
    by_hand.add_argument("mark", metavar="MARK", help="points, or - to take it back")
    by_hand.add_argument("--why", required=True, help="the reason; the student reads it")
    by_hand.add_argument("--exceed", action="store_true",
                         help="allow more points than it is worth")
    by_hand.set_defaults(run=run_override)


# ---- running them --------------------------------------------------------------------------------

def run_new(args) -> int:
    """Write the source."""
    from tinyvision.grading.new import new
    parts = [part.strip() for part in args.parts.split(",") if part.strip()]
    path = new(args.name, parts, args.output, args.vary, args.force)
    print(f"{path} written. Edit it, then: tinyvision build {path}")
    return 0


def run_build(args) -> int:
    """Build; 1 where the assignment is not ready, with everything that is to be put right."""
    from tinyvision.grading.build import BuildError, build
    try:
        built = build(args.source, args.output, visibility=args.visibility)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"the solution gets {built.points:g} of {built.points:g} points; "
          f"{built.mistakes} known mistakes are caught and named")
    for path in built.files:
        print(path)
    for note in built.notes:
        print(f"build: {note}", file=sys.stderr)
    return 0


def run_show(args) -> int:
    """Print one student's results."""
    from tinyvision.grading.inspecting import show
    print(show(args.out, args.student))
    return 0


def run_replay(args) -> int:
    """Run the case; print it, or write a notebook on it."""
    from tinyvision.grading import inspecting
    from tinyvision.grading.store import folder_name
    again = inspecting.replay(args.out, args.student, args.case)
    print(again.text())
    if args.notebook is not None:
        name = args.notebook or f"replay_{folder_name(args.student)}_{again.number}.ipynb"
        print(inspecting.replay_notebook(again, Path(name)))
    return 0


def run_diff(args) -> int:
    """Print what changed; 0 where nothing did, else 1, as diff does."""
    from tinyvision.grading.comparing import diff
    lines = diff(args.first, args.second)
    print("\n".join(lines) or "no mark changed")
    return 1 if lines else 0


def run_roster(args) -> int:
    """Take the roster over; print who is missing and who is not on it; make the pages again."""
    from tinyvision.grading import roster, totals
    from tinyvision.grading.report import write_report
    from tinyvision.grading.store import Store
    Store(args.out).entries()                       # is it a folder of results at all?
    if args.file:
        roster.keep(args.out, args.file)
    elif roster.of(args.out) is None:
        raise ValueError(f"{args.out} has no roster yet; give one: tinyvision roster {args.out} "
                         "ROSTER.csv")
    print("\n".join(totals.census(args.out)))
    print(write_report(args.out).gradebook)
    return 0


def run_override(args) -> int:
    """Keep the mark; make gradebook and pages again."""
    from tinyvision.grading import overrides, totals
    from tinyvision.grading.report import write_report
    from tinyvision.grading.store import Store
    records = Store(args.out).records()
    records += totals.absent(args.out, records)     # a mark for an oral exam, say
    try:
        mark = None if args.mark == "-" else float(args.mark)
    except ValueError:
        raise ValueError(f"{args.mark!r} is no number of points; give one, or - to take a mark "
                         "by hand back") from None
    one = overrides.add(args.out, records, totals.student(args.out, records, args.student),
                        args.where, mark, args.why, exceed=args.exceed)
    print(f"{one.where()}: taken back" if mark is None else one.note())
    above = overrides.covering(args.out, one) if mark is not None else None
    if above:
        print(f"This has no effect while {above.where()} is set to {above.mark:g} by hand; take "
              "that back with - to let it count.")
    print(write_report(args.out).gradebook)
    return 0
