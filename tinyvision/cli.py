"""The command `tinyvision`: one subcommand for every job. Each job's package adds its own."""
from __future__ import annotations

import argparse
import importlib
import shlex
import sys

COMMANDS = ("tinyvision.tour", "tinyvision.gradcheck", "tinyvision.bench.commands",
            "tinyvision.train.commands", "tinyvision.train.report", "tinyvision.detect",
            "tinyvision.exercises.commands", "tinyvision.grading.commands",
            "tinyvision.grading.report_commands",
            "tinyvision.grading.doctor",
            "tinyvision.grading.teacher_commands")


def parser() -> argparse.ArgumentParser:
    """The argument parser with every subcommand."""
    from tinyvision import __version__
    top = argparse.ArgumentParser(prog="tinyvision", description=__doc__.splitlines()[0])
    top.add_argument("--version", action="version", version=f"tinyvision {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(name).add(commands)
    return top


def main(arguments=None) -> int:
    """Run one command; returns its exit code: 0 right, 1 something failed, 2 wrong arguments."""
    for stream in (sys.stdout, sys.stderr):                  # ticks and bars on any terminal
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    options.line = shlex.join(["tinyvision", *arguments])    # what was typed
    try:
        return options.run(options) or 0
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except (ValueError, OSError, KeyError, RuntimeError) as error:
        print(f"tinyvision {options.command}: {error}", file=sys.stderr)
        return 2
