"""Whole training steps: how long, how much memory, and how long the very first one takes.

    tinyvision bench train

Ours and PyTorch's (contiguous and channels-last) start from the same weights on the same batch, and
their first losses must agree. Memory and first steps are measured in fresh processes, which run

    python -m tinyvision.bench.train SIDE MODEL
"""
from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

import numpy as np

from tinyvision.bench import apart, memory, peers, timing
from tinyvision.bench.train_steps import TASKS, Task, step_of

SIDES = {"ours": "tinyvision", "torch": "PyTorch", "channels_last": "PyTorch, channels last"}
AGREE = 1e-4              # how far the losses of the first steps may be apart, relatively;
LATER = 2e-2              # a detector's after its first
STEPS = 5                 # of which the memory is the most
BUDGET = 300              # seconds for one fresh process
FIRST = {"cold": 8.0, "cached": 1.0}     # seconds that our first step may take


# --- measuring ------------------------------------------------------------------------------------
@dataclass
class Trained:
    """What came of one task, for every side: seconds of a step, bytes, seconds of first steps.

    Attributes:
        times: {side: a list for every run of one median a round}.
        memory: {side: the most that a step needs beyond what lay there before the first}.
        first: {side: {"cold": seconds, "cached": seconds}} of the first step in a fresh process;
            imports are not part of it. Cold: no compiled kernel is in the cache.
        alone: {side: seconds of a step in a process that holds nobody else}.
        failed: what did not agree.
    """
    task: Task
    times: dict = field(default_factory=dict)
    memory: dict = field(default_factory=dict)
    first: dict = field(default_factory=dict)
    alone: dict = field(default_factory=dict)
    failed: list = field(default_factory=list)

    def ratio(self, side: str) -> timing.Spread | None:
        """Ours / that side's."""
        return timing.ratios(self.times["ours"], self.times[side]) if side in self.times else None

    def met(self, side: str) -> bool | None:
        """Whether the goal against that side is met."""
        goal, ratio = self.task.goals.get(side), self.ratio(side)
        return None if goal is None or ratio is None else round(ratio.median, 2) <= goal


def measure(task: Task, options, fresh: bool = True) -> Trained:
    """Time the steps beside each other; with `fresh` also memory and first steps."""
    result = Trained(task)
    sides = [side for side in SIDES if side == "ours" or peers.ready(side, options.threads)]
    contenders = [contender(side, task) if side == "ours" else
                  apart.process(peers.PEERS[side].home).contender(side, contender, side, task)
                  for side in sides]
    _same_losses(contenders, result)
    runs = [timing.race(contenders, options.rounds, 4 * options.seconds)
            for _ in range(options.runs)]
    result.times = {side: [run[side] for run in runs] for side in sides}
    if fresh:
        for side in sides:
            with tempfile.TemporaryDirectory() as cache:
                cold, cached = (in_fresh_process(side, task, cache) for _ in range(2))
            result.first[side] = {"cold": cold["first"], "cached": cached["first"]}
            result.memory[side], result.alone[side] = cached["memory"], cached["alone"]
    return result


def contender(side: str, task: Task) -> timing.Contender:
    """One side's step, in this process."""
    return timing.Contender(side, step_of(side, task, *task.data()), convert=float)


def _same_losses(contenders, result) -> None:
    """The first three losses of all sides must agree: the same model, data and optimizer.

    A detector's first step must agree in every named loss, the two later ones in their sum and not
    as closely: by a last bit another region may be proposed, and other samples drawn.
    """
    losses = {c.name: [c.arrays() for _ in range(3)] for c in contenders}
    later = LATER if result.task.detects else AGREE
    for side, found in losses.items():
        sums = [[sum(step) for step in steps] for steps in (found, losses["ours"])]
        if not (np.allclose(found[0], losses["ours"][0], rtol=AGREE, atol=0)
                and np.allclose(*sums, rtol=later, atol=0)):
            result.failed.append(f"train {result.task.name}: the losses of {SIDES[side]} are "
                                 f"{found}, ours {losses['ours']}: not the same training")


def in_fresh_process(side: str, task: Task, cache: str) -> dict:
    """What `child` returns, from a new interpreter."""
    command = [sys.executable, "-m", "tinyvision.bench.train", side, task.name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUDGET,
                          env={**apart.usual_environment(), "TINYVISION_CACHE": cache})
    if done.returncode:
        raise RuntimeError(f"bench train: {' '.join(command[1:])} failed: {done.stderr[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def child(side: str, name: str) -> dict:
    """What a fresh process measures: the seconds of its first step and of a usual one, and the
    memory of some."""
    from tinyvision.bench import machine
    task = TASKS[name]
    if side != "ours":
        peers.begin(side, machine.cores())
    one = contender(side, task)
    start = time.perf_counter()
    one.once()
    first = time.perf_counter() - start
    several = timing.Contender(side, lambda: [one.call() for _ in range(STEPS)])
    alone = timing.race([one], rounds=5, seconds=0.3)[side]
    return {"first": first, "alone": timing.spread([alone]).median,
            "memory": memory.extra(several)}


# --- words ----------------------------------------------------------------------------------------
def table(result: Trained) -> str:
    """One task as a table; the marks at our own figures: first steps as fast as `FIRST`, and no
    more memory than the task allows."""
    from tinyvision.bench import report
    header = (result.task.title, "a step", "ours / it", "goal", "", "alone", "memory",
              "first step, cold", "cached")
    rows = [_row(result, side) for side in result.times]
    return "\n".join([report.table(rows, header), *(f"✗ {text}" for text in result.failed)])


def _row(result, side) -> tuple:
    from tinyvision.bench import report
    own, first, memory = side == "ours", result.first.get(side, {}), result.memory.get(side)
    marks = {how: " " + report.MARKS[value <= FIRST[how]] * own for how, value in first.items()}
    judged = own and None not in (memory, result.memory.get("torch"))
    most = result.task.frugal * result.memory["torch"] if judged else 0
    frugal = " " + report.MARKS[memory <= most if judged else None]
    return (SIDES[side], report.seconds(timing.spread(result.times[side]).median),
            "" if own else str(result.ratio(side)), report.number(result.task.goals.get(side)),
            report.MARKS[result.met(side)], report.seconds(result.alone.get(side)),
            report.count(memory, "B") + frugal,
            *(report.seconds(first.get(how)) + marks.get(how, "") for how in FIRST))


def as_dict(result: Trained) -> dict:
    """For JSON."""
    return {"task": result.task.name, "title": result.task.title, "goals": result.task.goals,
            "times": result.times, "memory": result.memory, "first": result.first,
            "alone": result.alone, "failed": result.failed,
            "ratios": {side: vars(result.ratio(side)) for side in result.times if side != "ours"}}


if __name__ == "__main__":
    print(json.dumps(child(*sys.argv[1:])))
