"""One case climbed: every rung checked, then timed beside the peers.

The chain of trust: the smaller case is computed by the slide's loops in float64 (`reference`), and
every rung must agree with that. At full size the truth is the trusted rung in float64, a plainer
one than the fast; every rung's and every peer's error is its distance from that truth. Nothing is
timed before it is checked.
"""
from __future__ import annotations

import contextlib
import functools
import itertools
import statistics
from dataclasses import dataclass, field

import numpy as np

from tinyvision.bench import apart, memory, peers, timing
from tinyvision.bench.machine import Machine
from tinyvision.device import cupy, to_device
from tinyvision.engine import as_array, recording
from tinyvision.gradcheck import variants_of
from tinyvision.kernel import USUAL, use_variant

LONGEST = 0.1             # seconds: rungs that would take longer are timed on a smaller case
TOLERANCE = 1e-4          # of the largest element: beyond it a float32 result is wrong
ACCURACY = 4              # times PyTorch's own error: what we allow ourselves
EPSILON = float(np.finfo(np.float32).eps)
TRUSTED = "cpu_gemm", "cpu_loops", "cpu"


@dataclass(frozen=True)
class Options:
    """How a benchmark is run.

    Attributes:
        runs, rounds, seconds: medians over `runs` runs of `rounds` rounds of blocks of `seconds`.
        all_rungs: climb the whole ladder, or stand on the fast rung.
        device: "cpu" or "gpu".
        small: operations that the reference is asked for, in plain Python.
        beside: the names of the peers; None for all.
    """
    threads: int = 1
    runs: int = 3
    rounds: int = 3
    seconds: float = 0.05
    seed: int = 0
    all_rungs: bool = True
    device: str = "cpu"
    small: float = 1e5
    beside: tuple | None = None


@dataclass
class Measured:
    """One rung, or one peer, on one case.

    Attributes:
        times: a list for every run: seconds of a call, one median a round. Empty: not run.
        operations, moved: of the case that was timed (a smaller one where `size` says so).
        error: the largest difference from float64, over the largest element; exact is 0.
        extra: bytes of memory beyond what lay there before the call; None: not known here.
    """
    name: str
    label: str
    peer: bool = False
    times: list = field(default_factory=list)
    operations: float = 0.0
    moved: float = 0.0
    size: str = ""
    error: float | None = None
    extra: float | None = None

    @property
    def seconds(self) -> float | None:
        """The median over all runs and rounds."""
        every = [value for run in self.times for value in run]
        return statistics.median(every) if every else None


@dataclass
class Result:
    """One case and what came of it: `failed` says which checks failed, `absent` which peers
    are not here and why."""
    case: object
    machine: Machine
    device: str = "cpu"
    rungs: list = field(default_factory=list)
    failed: list = field(default_factory=list)
    absent: list = field(default_factory=list)

    def get(self, name) -> Measured | None:
        """The rung or peer of that name, if it was timed."""
        return next((m for m in self.rungs if m.name == name and m.times), None)

    @property
    def fast(self) -> Measured | None:
        """The rung that users get."""
        return self.get(self.device)

    def ratio(self, peer: str, rung=None) -> timing.Spread | None:
        """Ours / the peer's, by the fast rung unless another is given; None: one is missing."""
        ours, theirs = rung or self.fast, self.get(peer)
        if ours is None or theirs is None or ours.size != theirs.size:
            return None
        return timing.ratios(ours.times, theirs.times)

    def met(self, peer: str) -> bool | None:
        """Whether the goal against that peer is met; None: no goal, or not measured."""
        goal, ratio = self.case.goal_against(peer), self.ratio(peer)
        return None if goal is None or ratio is None else round(ratio.median, 2) <= goal

    @property
    def accurate(self) -> bool | None:
        """Whether our error is at most 4 times PyTorch's (or of float32's last digits)."""
        ours, theirs = self.fast, self.get("torch")
        if ours is None or theirs is None or ours.error is None:
            return None
        return ours.error <= ACCURACY * max(theirs.error, EPSILON)


# --- climbing -------------------------------------------------------------------------------------
def climb(case, machine: Machine, options: Options) -> Result:
    """Check and time one case: its rungs, and the peers that are installed."""
    here, absent = peers.of(case, options)
    result = Result(case, machine, options.device, absent=absent)
    first, *stages = stages_of(case, options)
    rungs = [name for name in first.rungs
             if first.passes(first.ours(name), result) and name not in first.usual]
    for stage in stages:
        stage.trusted = next(name for name in (*TRUSTED, *rungs) if name in rungs)
    stages = [first, *stages]
    highest = {name: reach(name, stages) for name in rungs[:-1] if options.all_rungs}
    highest[options.device] = stages[-1]
    for stage in stages[:-1]:
        stage.measure([stage.ours(n) for n, its in highest.items() if its is stage], result)
    full = stages[-1]
    beside = [peers.contender(peer.name, case, full.arrays, options.device) for peer in here]
    full.measure([full.ours(name) for name, its in highest.items() if its is full]
                 + [peer for peer in beside if peer], result)
    return result


def stages_of(case, options) -> list:
    """The case and smaller ones, smallest first: each has ten times the operations."""
    cases, most = [], options.small
    while most < case.operations:
        cases.append(case.smaller(most))
        most *= 10
    return [Stage(c, options) for c in dict.fromkeys([*cases, case])]


def reach(rung, stages):
    """The last of the stages that takes the rung no longer than `LONGEST`, as far as the stage
    before it can tell."""
    for stage, following in itertools.pairwise(stages):
        if stage.guess(rung, following.case.operations) > LONGEST:
            return stage
    return stages[-1]


class Stage:
    """A case with its inputs and the truth about its result: the rung `trusted` in float64."""

    def __init__(self, case, options: Options):
        self.case, self.options, self.errors, self.trusted = case, options, {}, "reference"
        self.usual = set()                                   # rungs that do not apply

    @functools.cached_property
    def arrays(self):
        """The inputs."""
        return self.case.inputs(np.random.default_rng(self.options.seed))

    @functools.cached_property
    def _truth(self):
        arrays = self.arrays if self.case.discrete else in_float64(self.arrays)
        variant = self.trusted if self.trusted != self.options.device else None
        with use_variant(variant):
            truth = timing.Contender("truth", self.case.ours(*arrays), convert=plain)
        with use_variant(variant) as seen:                   # what runs in the call, not before it
            return truth.arrays(), rungs_of(seen, self.options.device)

    @property
    def rungs(self):
        """The variants of the kernels that run, the one that users get last."""
        return self._truth[1]

    def ours(self, rung: str) -> timing.Contender:
        """One rung as a contender."""
        variant = None if rung == self.options.device else rung          # as users call it

        @contextlib.contextmanager
        def around():
            with use_variant(variant) as seen, recording(self.case.recorded):
                yield
            if USUAL in seen:
                self.usual.add(rung)
        arrays = [to_device(a, self.options.device) if isinstance(a, np.ndarray) else a
                  for a in self.arrays]
        with use_variant(variant):
            call = self.case.ours(*arrays)
        return timing.Contender(rung, call, around, waiting(self.options.device), plain)

    def passes(self, contender, result) -> bool:
        """Whether its result is right; its error is remembered, a failure noted in `result`."""
        if contender.name not in self.errors:
            self.errors[contender.name] = distance(contender.arrays(), self._truth[0])
        if (error := self.errors[contender.name]) <= TOLERANCE:
            return True
        result.failed.append(f"{self.case}: {label(contender.name)} is wrong: its largest "
                             f"difference from float64 is {error:.2g} of the largest element, "
                             f"expected at most {TOLERANCE:g}")
        return False

    def guess(self, rung: str, operations: float) -> float:
        """The seconds that the rung would take for so many operations."""
        contender = self.ours(rung)
        contender.once()
        return timing.block(contender, 0, gap=0) * operations / self.case.operations

    def measure(self, contenders, result) -> None:
        """Time those that pass the check beside each other and add them to `result`.

        On a smaller case it is one run: the figure is coarse, and no ratio is made of it.
        """
        o, passed = self.options, [c for c in contenders if self.passes(c, result)]
        size = "" if self.case == result.case else self.case.size
        runs = [timing.race(passed, o.rounds, o.seconds) for _ in range(1 if size else o.runs)]
        for c in passed:
            result.rungs.append(Measured(
                c.name, label(c.name), c.name in peers.PEERS, [run[c.name] for run in runs],
                self.case.operations, self.case.moved, size, self.errors[c.name],
                c.extra(o.device) if isinstance(c, apart.Apart) else memory.extra(c, o.device)))


def rungs_of(kernels, device: str) -> list[str]:
    """The variants of these kernels that run on `device`, the one that users get last."""
    names = [name for name in variants_of(kernels) if name.startswith("gpu") == (device == "gpu")]
    return sorted(names, key=device.__eq__) if device in names else [*names, device]


def waiting(device: str):
    """A function that returns when our work on `device` is done."""
    return cupy().cuda.Stream.null.synchronize if device == "gpu" else timing.nothing


def label(name: str) -> str:
    """A rung's or a peer's name in tables."""
    return peers.PEERS[name].label if name in peers.PEERS else name


# --- checking -------------------------------------------------------------------------------------
def in_float64(arrays) -> list:
    """float32 arrays as float64, everything else as it is."""
    return [a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype == np.float32 else a
            for a in arrays]


def plain(part) -> np.ndarray:
    """A Tensor or an array, from any device, as a NumPy array."""
    return to_device(as_array(part), "cpu")


def distance(got, expected) -> float:
    """The largest difference over the largest element; infinite where shapes, whole numbers, or
    places of NaN differ."""
    if len(got) != len(expected) or any(a.shape != b.shape for a, b in zip(got, expected)):
        return np.inf
    return max(map(_distance, got, expected))


def _distance(a, b) -> float:
    if b.dtype.kind != "f":
        return 0.0 if np.array_equal(a, b) else np.inf
    with np.errstate(invalid="ignore"):
        apart = np.atleast_1d(abs(np.subtract(a, b, dtype=np.float64)))
    apart[np.atleast_1d((a == b) | (np.isnan(a) & np.isnan(b)))] = 0
    largest = abs(b[np.isfinite(b)]).max(initial=0)
    worst = np.where(np.isnan(apart), np.inf, apart).max(initial=0)
    return float(worst / largest) if worst else 0.0
