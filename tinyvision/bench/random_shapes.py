"""Convolutions that nobody tuned for: random sizes, each beside PyTorch.

`tinyvision bench conv2d --random 40 --seed N`. Odd sizes, 1 to 7 channels, kernels of 1x7 and 7x1,
batches of 1 to 64, maps of 1x1 to 512x512, strides, dilations, paddings, groups. A case slower than
`LIMIT` times PyTorch fails.
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyvision.bench import ladder
from tinyvision.bench.cases.convolution import PARTS, Conv2d

LIMIT = 1.5               # times PyTorch: slower than that fails
DOUBT = 1.25              # times PyTorch: slower than that is measured again, longer
OPERATIONS, NUMBERS = 1e9, 8e6        # the most of one case: some 50 ms in PyTorch
CHANNELS = 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 17, 24, 31, 32, 48, 64, 96, 128, 192, 256
KERNELS = (1, 1), (3, 3), (3, 3), (5, 5), (7, 7), (1, 7), (7, 1), (2, 2), (4, 4), (6, 3)
MAPS = 1, 2, 3, 5, 7, 8, 13, 14, 19, 28, 31, 32, 56, 57, 64, 97, 112, 128, 200, 256, 331, 512


def shapes(count: int, seed: int) -> list[Conv2d]:
    """So many random convolutions (their forward parts); the same for the same seed."""
    rng = np.random.default_rng(seed)
    return [one(rng) for _ in range(count)]


def one(rng) -> Conv2d:
    """A random convolution of a size that is worth the time."""
    while True:
        I, J = KERNELS[rng.integers(len(KERNELS))]
        dilation = tuple(int(d) for d in rng.choice([1, 2, 3], 2, p=[0.7, 0.2, 0.1]))
        stride = tuple(int(s) for s in rng.choice([1, 2, 3], 2, p=[0.6, 0.3, 0.1]))
        padding = tuple(int(rng.integers(0, d * (k - 1) // 2 + 1))
                        for k, d in zip((I, J), dilation))
        C, O, groups = _channels(rng)
        case = Conv2d(int(rng.choice([1, 1, 2, 3, 4, 8, 16, 32, 64])), C, int(rng.choice(MAPS)),
                      int(rng.choice(MAPS)), O, (I, J), stride, padding, dilation, groups)
        if min(case.shapes[2]) >= 1 and (case := _affordable(case)):
            return case


def _channels(rng) -> tuple[int, int, int]:
    """(C, O, groups): most dense, some in groups, some depthwise."""
    C, O = (int(c) for c in rng.choice(CHANNELS, 2))
    kind = rng.choice(["dense", "grouped", "depthwise"], p=[0.7, 0.15, 0.15])
    if kind == "depthwise":
        return C, C * int(rng.choice([1, 1, 2])), C
    groups = int(rng.choice([2, 3, 4, 8])) if kind == "grouped" else 1
    return C * groups, O * groups, groups


def _affordable(case) -> Conv2d | None:
    """With a smaller batch where it would take too long; None if that is not enough."""
    while case.operations > OPERATIONS or case.moved > 4 * NUMBERS:
        if case.N == 1:
            return None
        case = replace(case, N=case.N // 2)
    return case


def run(count: int, seed: int, machine, options, show=print) -> list:
    """Measure forward and both gradients of so many shapes; `show` each line. All results."""
    quick = replace(options, runs=1, seconds=0.01, small=1e4, all_rungs=False, beside=("torch",))
    results = []
    for shape in shapes(count, seed):
        for part in PARTS:
            result = ladder.climb(replace(shape, part=part, goal=LIMIT), machine, quick)
            if (ratio := result.ratio("torch")) and ratio.median > DOUBT:
                result = ladder.climb(result.case, machine, replace(quick, runs=3, seconds=0.05))
            show(line(result))
            results.append(result)
    return results


def line(result) -> str:
    """One result as one line."""
    ratio = result.ratio("torch")
    text = f"{ratio.median:5.2f}" if ratio else "    -"
    return "\n".join([f"{text}  {'' if result.met('torch') is not False else 'too slow  '}"
                      f"{result.case.part:15} {result.case.size}"
                      f"{' padding ' + str(result.case.padding)}",
                      *(f"✗ {failure}" for failure in result.failed)])


def verdict(results) -> tuple[str, bool]:
    """(the worst ones in words, whether nothing is too slow or wrong)."""
    timed = [r for r in results if r.ratio("torch")]
    worst = sorted(timed, key=lambda r: -r.ratio("torch").median)
    slow = [r for r in timed if not r.met("torch")]
    wrong = sum(len(r.failed) for r in results)
    if not timed:
        return "PyTorch is not installed: there is nothing to compare with.", not wrong
    lines = ["the worst:", *(f"  {line(r)}" for r in worst[:8])]
    middle = np.median([r.ratio("torch").median for r in timed])
    lines.append(f"{len(timed)} cases: median {middle:.2f}, worst "
                 f"{worst[0].ratio('torch').median:.2f} times PyTorch; {len(slow)} slower than "
                 f"{LIMIT} times, {wrong} wrong.")
    return "\n".join(lines), not slow and not wrong
