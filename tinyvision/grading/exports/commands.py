"""The command ``tinyvision export``."""
from __future__ import annotations

from pathlib import Path

from tinyvision.grading.store import write


def add(subparsers) -> None:
    """Add the command to the subparsers of the ``tinyvision`` command."""
    out = subparsers.add_parser("export", help="marks for another system")
    out.add_argument("out", metavar="OUT", help="what 'tinyvision grade -o' wrote")
    kind = out.add_mutually_exclusive_group(required=True)
    kind.add_argument("--csv", action="store_true", help="a row per student")
    kind.add_argument("--gradescope", action="store_true", help="a results.json per student")
    kind.add_argument("--canvas", metavar="EXPORTED.csv", help="fill in Canvas's own file")
    kind.add_argument("--moodle", metavar="WORKSHEET.csv", help="fill in Moodle's own worksheet")
    kind.add_argument("--nbgrader", action="store_true", help="its folders and its grades.csv")
    kind.add_argument("--otter", action="store_true", help="final_grades.csv")
    kind.add_argument("--prairielearn", action="store_true", help="a results.json per student")
    kind.add_argument("--check50", action="store_true", help="a JSON file per student")
    kind.add_argument("--sources", action="store_true",
                      help="the students' code in folders, for MOSS, JPlag or Dolos")
    out.add_argument("--column", metavar="NAME", help="of the exported file, as in its header")
    out.add_argument("--zeros", action="store_true",
                     help="a zero for those of the roster of whom nothing was handed in; default: "
                     "untouched")
    out.add_argument("-o", "--output", metavar="PATH", help="where to; default: beside OUT's files")
    out.set_defaults(run=run_export)


def run_export(args) -> int:
    """Write what was asked for; print where it is and whom it leaves out."""
    return _export(args, Path(args.out))


def _export(args, out: Path) -> int:
    from tinyvision.grading.exports import formats
    if args.canvas or args.moodle:
        return _fill(args, out)
    for name in ("csv", "otter"):
        if getattr(args, name):
            path = Path(args.output or out / "export" / formats.FILES[name])
            write(path, formats.TEXTS[name](out))
            print(path)
            return 0
    name = next(name for name in formats.FOLDERS if getattr(args, name))
    folder = Path(args.output or out / "export" / name)
    count = formats.FOLDERS[name](out, folder)
    print(f"{folder}: {count} students")
    return 0


def _fill(args, out: Path) -> int:
    from tinyvision.grading.exports import canvas, moodle
    exported = Path(args.canvas or args.moodle)
    target = Path(args.output or exported.with_name(f"{exported.stem}-filled{exported.suffix}"))
    if target.exists() and target.samefile(exported):
        raise ValueError(f"{target} is the exported file itself; give another name with -o")
    fill = canvas.fill if args.canvas else moodle.fill
    filled = fill(exported, out, args.column, args.zeros)
    write(target, filled.data)
    print("\n".join([f"{target}: {filled.count} marks in column {filled.column!r}", *filled.notes]))
    return 0
