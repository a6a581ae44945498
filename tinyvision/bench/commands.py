"""The command `tinyvision bench`."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def add(subparsers) -> None:
    """Add the command `bench [OPERATION ...]`."""
    command = subparsers.add_parser(
        "bench", help="how fast every operation is, and beside whom",
        description="Without names: the rung that users get, of every operation, beside PyTorch. "
                    "With names: every rung of these operations' ladders and every peer. `train`: "
                    "whole training steps; `memory`: what the graph keeps for backward; `grade`: a "
                    "thousand students' programs.")
    command.add_argument("operations", nargs="*", metavar="OPERATION",
                         help="operations, or train, memory or grade (default: all operations, "
                              "briefly)")
    command.add_argument("--random", type=int, metavar="COUNT",
                         help="conv2d: so many random sizes; 1.5 times PyTorch is the limit")
    command.add_argument("--seed", type=int, default=0, help="of the random inputs and sizes")
    command.add_argument("--threads", type=int, help="for all sides (default: all cores)")
    command.add_argument("--runs", type=int, default=3, help="medians over so many (default: 3)")
    command.add_argument("--device", choices=("cpu", "gpu"), default="cpu",
                         help="where (default: cpu)")
    command.add_argument("--quick", action="store_true", help="one short run: a rough answer")
    command.add_argument("--json", metavar="FILE", help="also write everything for machines")
    command.add_argument("--picture", metavar="FILE",
                         help="also draw the roofline (.png, .svg, .pdf)")
    command.set_defaults(run=run)


def run(options) -> int:
    """The command: 0, or 1 if a check failed (or a random size is too slow)."""
    _check(options)
    from tinyvision.bench import machine
    if options.threads and not machine.has_threads(options.threads):
        return again(options)
    what = options.operations
    if what == ["memory"]:
        from tinyvision.bench import graph_memory
        print(graph_memory.text())
        return 0
    if what == ["grade"]:
        return _grade(options)
    here = machine.measure(options.threads, options.device, options.quick)
    print(f"{here}\n", flush=True)
    if what == ["train"]:
        return _train(here, options)
    if options.random:
        return _random(here, options)
    return _operations(here, options)


def _check(options) -> None:
    """Refuse what makes no sense, before anything is measured."""
    what, alone = options.operations, {"train", "memory", "grade"}
    if alone & set(what) and len(what) > 1:
        raise ValueError(f"train, memory and grade run alone, got {' '.join(what)}")
    if not alone & set(what):
        from tinyvision.bench import cases
        cases.named(what)
    if options.random is not None and (options.random < 1 or what != ["conv2d"]):
        raise ValueError("--random is for conv2d and counts from 1, as in "
                         "`tinyvision bench conv2d --random 40`")
    for name in ("threads", "runs"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise ValueError(f"--{name} is {value}, expected at least 1")
    from tinyvision.bench import machine
    if options.threads and options.threads > machine.cores():
        raise ValueError(f"--threads is {options.threads}, and this process may use "
                         f"{machine.cores()} cores")
    for name in ("json", "picture"):
        file = getattr(options, name)
        if file and not Path(file).resolve().parent.is_dir():
            raise ValueError(f"--{name} {file}: there is no such folder")
    if options.picture and (options.random or what == ["train"]):
        raise ValueError("--picture draws operations, not --random or train")


def settings(here, options):
    """The ladder's options."""
    from tinyvision.bench import ladder
    return ladder.Options(threads=here.threads, runs=1 if options.quick else options.runs,
                          seconds=0.02 if options.quick else 0.05, seed=options.seed,
                          all_rungs=bool(options.operations), device=options.device)


def again(options) -> int:
    """The same command in a process that has the wanted number of cores and threads: thread pools
    take their size when they are loaded."""
    from tinyvision.bench import machine
    done = subprocess.run([sys.executable, "-m", "tinyvision", *words(options)],
                          env=os.environ | {name: str(options.threads) for name in machine.THREADS},
                          preexec_fn=machine.keep_to(options.threads))
    return done.returncode


def words(options) -> list[str]:
    """The command line that gives these options."""
    found = ["bench", *options.operations]
    for name, value in vars(options).items():
        if name not in ("command", "line", "operations", "run") and value not in (None, False):
            found += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return found


# --- what there is to run -------------------------------------------------------------------------
def _operations(here, options) -> int:
    from tinyvision.bench import cases, ladder, report
    everything, results = not options.operations, []
    if everything:
        print(report.summary_header(), flush=True)
    for case in cases.named(options.operations):
        result = ladder.climb(case, here, settings(here, options))
        results.append(result)
        print(report.summary(result) if everything else report.ladder(result) + "\n", flush=True)
    print(f"\n{report.LEGEND}\n" if everything else "", report.tally(results), sep="")
    _write(options, here, results=[report.as_dict(result) for result in results])
    if options.picture:
        from tinyvision.bench import roofline
        report.write_picture(options.picture, roofline.picture(results))
    return 1 if any(result.failed for result in results) else 0


def _random(here, options) -> int:
    from tinyvision.bench import random_shapes, report
    results = random_shapes.run(options.random, options.seed, here, settings(here, options),
                                lambda line: print(line, flush=True))
    text, fine = random_shapes.verdict(results)
    print(f"\n{text}")
    _write(options, here, results=[report.as_dict(result) for result in results])
    return 0 if fine else 1


def _train(here, options) -> int:
    from tinyvision.bench import train
    results = []
    for task in train.TASKS.values():
        results.append(train.measure(task, settings(here, options), fresh=not options.quick))
        print(train.table(results[-1]), end="\n\n", flush=True)
    _write(options, here, training=[train.as_dict(result) for result in results])
    return 1 if any(result.failed for result in results) else 0


def _grade(options) -> int:
    """1 if a goal is missed: they are for a thousand submissions on two cores, so not `--quick`."""
    from tinyvision.bench import grading, report
    results = grading.run(grading.SIZE // 10 if options.quick else grading.SIZE)
    if options.json:
        from tinyvision import __version__
        report.write_json(options.json, {"tinyvision": __version__, "command": words(options),
                                         "grading": [grading.as_dict(one) for one in results]})
    return 1 if any(result.missed for result in results) else 0


def _write(options, here, **content) -> None:
    """The JSON file, if one is wanted."""
    if options.json:
        from tinyvision import __version__
        from tinyvision.bench import report
        report.write_json(options.json, {"tinyvision": __version__, "command": words(options),
                                         "machine": here.as_dict(), **content})
