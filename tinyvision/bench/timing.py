"""How long a call takes, measured so that the figure can be trusted.

Idle workers of thread pools spin for a while after each call and take the other library's cores, so
contenders never alternate call by call. They take turns in blocks: sleep until all pools are
asleep, one warm call, then timed calls; several rounds of that, and medians. A busy machine slows
the neighbours in a round alike, so ratios are taken round by round.
"""
from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

GAP = 0.03                # seconds until idle pools are asleep (OPENBLAS_THREAD_TIMEOUT is 2^4)
LAP = 2e-4                # seconds that one reading of the clock should span at least
FEWEST = 3                # timed laps a block,
PATIENCE = 0.25           # unless they take longer than this


def nothing():
    """Nothing to wait for: on the CPU a call is over when it returns."""


def unchanged(part):
    """Results that are arrays already."""
    return part


@dataclass(frozen=True)
class Contender:
    """What takes part.

    Attributes:
        name: unique among the contenders of a race.
        call: without arguments; returns its result, so that both sides allocate their own.
        around: makes a context manager; it is entered once a block, outside of the clock.
        wait: returns when all started work is done (GPU).
        convert: makes a NumPy array of a result.
    """
    name: str
    call: Callable
    around: Callable = contextlib.nullcontext
    wait: Callable = nothing
    convert: Callable = unchanged

    def once(self):
        """One call: its result."""
        with self.around():
            result = self.call()
            self.wait()
        return result

    def arrays(self) -> list:
        """The result of one call, one or several, as NumPy arrays."""
        result = self.once()
        parts = result if isinstance(result, (tuple, list)) else (result,)
        return [self.convert(part) for part in parts]

    def block(self, seconds: float) -> float:
        """The median time of a call in one block of calls."""
        return block(self, seconds)


@dataclass(frozen=True)
class Spread:
    """A median over rounds, and the least and the largest of the runs' medians."""
    median: float
    low: float
    high: float

    def __str__(self):
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


def race(contenders, rounds: int = 3, seconds: float = 0.05) -> dict[str, list[float]]:
    """Seconds of one call for every contender: one median a round.

    Args:
        contenders: of different names; each has been called before (compiled, checked).
        rounds: how often everybody's turn comes.
        seconds: how long a block is timed; calls that are slow, `FEWEST` times all the same.
    """
    times = {c.name: [] for c in contenders}
    for _ in range(rounds):
        for contender in contenders:
            times[contender.name].append(contender.block(seconds))
    return times


def block(contender, seconds: float, gap: float = GAP) -> float:
    """The median time of a call in one block of calls."""
    time.sleep(gap)
    with contender.around():
        warm = lap(contender, 1)
        calls = max(1, int(LAP / max(warm, 1e-9)))
        laps, start = [], time.perf_counter()
        while time.perf_counter() - start < (seconds if len(laps) >= FEWEST else PATIENCE):
            laps.append(lap(contender, calls))
    return statistics.median(laps)


def lap(contender, calls: int) -> float:
    """The mean time of so many calls in a row."""
    call, start = contender.call, time.perf_counter()
    for _ in range(calls):
        call()
    contender.wait()
    return (time.perf_counter() - start) / calls


def spread(runs) -> Spread:
    """Of runs, each a list of one number a round."""
    medians = [statistics.median(run) for run in runs]
    every = [value for run in runs for value in run]
    return Spread(statistics.median(every), min(medians), max(medians))


def ratios(ours, theirs) -> Spread:
    """Ours / theirs, round by round; both are runs, each a list of seconds."""
    return spread([[a / b for a, b in zip(*pair)] for pair in zip(ours, theirs)])
