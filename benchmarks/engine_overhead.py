"""What the engine itself costs: tiny tensors, so that nothing but bookkeeping is measured.

    python benchmarks/engine_overhead.py

A chain of 50 steps `t = t * b + b` on 8 numbers, ours and PyTorch's, in blocks that take turns (so
that a busy machine slows both), 2 threads. Ratio = ours / PyTorch, below 1 is faster.
"""
import statistics
import sys
import time

import numpy as np

import tinyvision as tv

STEPS, BLOCK, ROUNDS = 50, 20, 150
GOALS = {"forward": 0.6, "forward and backward": 0.8}


def chain(t, b):
    """50 multiplications and 50 additions."""
    for _ in range(STEPS):
        t = t * b + b
    return t


def programs():
    """{what: (ours, PyTorch's)}: the same lines for both."""
    import torch
    torch.set_num_threads(2)
    start, step = np.ones(8, np.float32), np.full(8, 0.5, np.float32)
    ours = tv.Tensor(start, True), tv.Tensor(step, True)
    theirs = torch.tensor(start, requires_grad=True), torch.tensor(step, requires_grad=True)

    def forward(leaves):
        return lambda: chain(*leaves)

    def both(leaves, one):
        def run():
            for p in leaves:
                p.grad = None
            chain(*leaves).backward(one)
        return run
    return {"forward": (forward(ours), forward(theirs)),
            "forward and backward": (both(ours, tv.Tensor(np.ones(8, np.float32))),
                                     both(theirs, torch.ones(8)))}


def seconds(program):
    """The time of one run, over a block of them."""
    start = time.perf_counter()
    for _ in range(BLOCK):
        program()
    return (time.perf_counter() - start) / BLOCK


def measure(ours, theirs, rounds=ROUNDS):
    """(ours, theirs, ratio): medians over blocks that take turns; the ratio is of each pair."""
    seconds(ours), seconds(theirs)
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    return (*(statistics.median(side) for side in zip(*pairs)),
            statistics.median(a / b for a, b in pairs))


def main():
    """Print a table."""
    print(f"{2 * STEPS} operations on 8 numbers; {ROUNDS} turns of {BLOCK} runs, medians")
    print(f"{'':22}{'tinyvision':>12}{'PyTorch':>12}{'ratio':>8}{'goal':>6}")
    for name, (ours, theirs) in programs().items():
        a, b, ratio = measure(ours, theirs)
        print(f"{name:22}{a * 1e6:9.0f} us{b * 1e6:9.0f} us{ratio:8.2f}{GOALS[name]:6.1f}",
              flush=True)


if __name__ == "__main__":
    sys.exit(main())
