"""Peers in processes of their own.

A process holds one OpenMP library, which reads its settings once. Side by side in one process,
PyTorch would run on the library and the settings that Numba loaded (its attention then took 7 to
100 times as long), or Numba on PyTorch's (whose idle threads spin, which cost ours up to a fifth).
So every peer waits for its turn in another interpreter, as its users would start it, and ours runs
in this one, as ours would.
"""
from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os

from tinyvision.bench import memory

OURS = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"   # what tinyvision sets for its own process


class Apart:
    """A contender that lives in another process; see `timing.Contender`."""

    def __init__(self, process, name):
        self.process, self.name = process, name

    def arrays(self):
        """The result of one call, as NumPy arrays."""
        return self.process.ask("arrays", self.name)

    def block(self, seconds):
        """The median time of a call in one block of calls, by that process's clock."""
        return self.process.ask("block", self.name, seconds)

    def extra(self, device):
        """What `memory.extra` finds there."""
        return self.process.ask("extra", self.name, device)


class Process:
    """Another interpreter, in which contenders are made and wait for their turn."""

    def __init__(self, title: str):
        self.title = title
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        spawn.Process(target=serve, args=(theirs,), daemon=True).start()
        theirs.close()

    def ask(self, *message):
        """What `serve` answers; its error is raised here.

        Raises:
            RuntimeError: the process has died.
        """
        try:
            self.pipe.send(message)
            answer = self.pipe.recv()
        except (EOFError, BrokenPipeError) as error:
            raise RuntimeError(f"bench: the process of {self.title} has died") from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def contender(self, name: str, make, *arguments) -> Apart | None:
        """What the importable function `make` makes of the arguments, there; None if it gives
        None. An earlier one of the same name is forgotten."""
        return Apart(self, name) if self.ask("make", name, make, *arguments) else None


@functools.cache
def process(title: str) -> Process:
    """The process of that title, started when it is first asked for."""
    return Process(title)


def serve(pipe) -> None:
    """Answer until the other end closes: what `Process.ask` talks to."""
    contenders = {}
    with contextlib.suppress(EOFError):
        while True:
            what, name, *rest = pipe.recv()
            try:
                pipe.send(_answer(contenders, what, name, *rest))
            except Exception as error:                       # told to the one who asked
                pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))


def _answer(contenders, what, name, *rest):
    if what == "call":
        function, *arguments = rest
        return function(*arguments)
    if what == "make":
        make, *arguments = rest
        contenders.pop(name, None)
        contenders[name] = make(*arguments)
        return contenders[name] is not None
    if what == "extra":
        return memory.extra(contenders[name], *rest)
    return getattr(contenders[name], what)(*rest)


def usual_environment() -> dict:
    """The environment without what tinyvision sets for itself."""
    return {name: value for name, value in os.environ.items() if name not in OURS}


@contextlib.contextmanager
def with_default_openmp():
    """Without what tinyvision sets for itself, while a peer is imported."""
    ours = {name: os.environ.pop(name) for name in OURS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(ours)
