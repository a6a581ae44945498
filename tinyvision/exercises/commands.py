"""The commands ``tinyvision exercises`` and ``tinyvision start``."""
from __future__ import annotations

from tinyvision.exercises import load, names
from tinyvision.exercises.start import start


def add(subparsers) -> None:
    """Add the commands to argparse's subparsers; each sets ``run``, args -> exit code."""
    listing = subparsers.add_parser("exercises", help="list the exercises")
    listing.set_defaults(run=list_exercises)
    begin = subparsers.add_parser("start", help="write the file that an exercise starts from")
    begin.add_argument("name", metavar="NAME", help="the exercise, such as conv2d")
    begin.add_argument("--notebook", action="store_true", help="NAME.ipynb instead of NAME.py")
    begin.add_argument("-o", "--output", metavar="FOLDER", default=".", help="where (here)")
    begin.add_argument("--force", action="store_true", help="write over a file that exists")
    begin.set_defaults(run=start_exercise)


def list_exercises(args) -> int:
    """Print the table of exercises."""
    print(table())
    return 0


def table() -> str:
    """Name, title, points and lecture of each exercise, in aligned columns."""
    rows = [("name", "title", "points", "lecture")]
    rows += [(e.name, e.title, f"{e.points:g}", e.lecture) for e in map(load, names())]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d}" for a, b, c, d in rows]
    return "\n".join(lines)


def start_exercise(args) -> int:
    """Write the file; an unknown name or a file that exists is the command line's to report."""
    path = start(args.name, args.output, args.notebook, args.force)
    print(f"{path} written. Fill it in, then: tinyvision check {path}")
    return 0
