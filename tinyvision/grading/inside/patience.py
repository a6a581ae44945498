"""Time for statements that nobody asked for: nothing but the standard library, see `needed`."""
from __future__ import annotations

import contextlib
import signal
import time

TICK, IDLE = 0.02, 0.05                 # seconds between two looks; the share of work that is none


def counted(waited: float, worked: float, idle: float = IDLE) -> float:
    """Seconds of work; of waiting, where there was hardly any work."""
    return waited if worked < idle * waited else worked


class TooLong(BaseException):
    """A statement took more time than it has; no ``except Exception`` of its own may hide it."""


class Patience:
    """Processor time for statements that nobody asked for: each may take half of what is left.

    Processor time, as on a busy machine the same statement takes longer; one that sleeps takes none
    and is stopped by the clock on the wall. Where there are no such clocks (Windows) they may take
    what they like.
    """

    def __init__(self, seconds: float):
        self.left, self.running = seconds, False
        self.clock = getattr(signal, "setitimer", None)

    @contextlib.contextmanager
    def half(self):
        """A context that raises `TooLong` in itself when half of the time is over."""
        if self.clock is None:
            yield
            return
        signal.signal(signal.SIGALRM, self.stop)
        self.start, self.begun, self.running = time.process_time(), time.perf_counter(), True
        self.clock(signal.ITIMER_REAL, TICK, TICK)
        try:
            yield
        finally:
            self.running = False        # what rings now comes too late
            self.clock(signal.ITIMER_REAL, 0)
            self.left = max(self.left - self.used(), 0.02)

    def used(self) -> float:
        """The seconds that count so far."""
        return counted(time.perf_counter() - self.begun, time.process_time() - self.start)

    def stop(self, *_):
        """The clock rings."""
        if self.running and self.used() > self.left / 2:
            raise TooLong("a cell that took too long was stopped")
