"""The command `tinyvision bench`."""
from __future__ import annotations


def add(subparsers) -> None:
    """Add the command `bench [OPERATION ...]`."""
    command = subparsers.add_parser("bench", help="how fast every operation is, and beside whom")
    command.add_argument("operations", nargs="*", metavar="OPERATION",
                         help="climb these operations' ladders (default: the fast rung of all)")
    command.add_argument("--threads", type=int, help="for both sides (default: all cores)")
    command.add_argument("--runs", type=int, default=3, help="medians over so many (default: 3)")
    command.add_argument("--seed", type=int, default=0, help="of the random inputs")
    command.add_argument("--quick", action="store_true", help="one short run: a rough answer")
    command.set_defaults(run=run)


def run(options) -> int:
    """The command: 0, or 1 if a check failed."""
    from tinyvision.bench import cases, ladder, machine, report
    chosen = cases.named(options.operations)
    here = machine.measure(options.threads, options.quick)
    settings = ladder.Options(threads=here.threads, runs=1 if options.quick else options.runs,
                              seconds=0.02 if options.quick else 0.05, seed=options.seed,
                              all_rungs=bool(options.operations))
    print(f"{here}\n", flush=True)
    wrong = 0
    for case in chosen:
        if absent := case.absent:
            print(f"{case}: tinyvision has no {absent} yet\n")
            continue
        result = ladder.climb(case, here, settings)
        wrong += len(result.failed)
        print(report.ladder(result), end="\n\n", flush=True)
    return 1 if wrong else 0
