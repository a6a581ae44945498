"""The instructor's commands around ``grade``: new, build, and what is done with results."""
from __future__ import annotations

import sys


def add(subparsers) -> None:
    """Add the commands to the subparsers of the ``tinyvision`` command."""
    _add_new(subparsers)
    _add_build(subparsers)


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
    building.set_defaults(run=run_build)


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
        built = build(args.source, args.output)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"the solution gets {built.points:g} of {built.points:g} points; "
          f"{built.mistakes} known mistakes are caught and named")
    for path in built.files:
        print(path)
    return 0
