"""What came of benchmarks: tables for the terminal."""
from __future__ import annotations

HEADER = ("", "time", "GFLOP/s", "GB/s", "of peak", "memory", "error", "to PyTorch", "goal", "")


def table(rows, header) -> str:
    """Rows of words under a header, the first column to the left, the others to the right."""
    rows = [header, *rows]
    widths = [max(len(row[c]) for row in rows) for c in range(len(header))]
    lines = ["  ".join([row[0].ljust(widths[0]),
                        *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]).rstrip()
             for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def ladder(result) -> str:
    """One case's rungs and peers as a table."""
    case, floor = result.case, result.machine.floor(result.case.operations, result.case.moved)
    title = (f"{case}\n{count(case.operations, 'operations')}, {count(case.moved, 'B')} moved: "
             f"at least {seconds(floor)}")
    lines = [title, table([rung_row(result, m) for m in result.rungs], HEADER)]
    lines += [f"{m.label}: timed on the smaller {m.size}" for m in result.rungs if m.size]
    lines += [f"{name} is not installed" for name in result.absent]
    return "\n".join([*lines, *(f"✗ {text}" for text in result.failed)])


def rung_row(result, m) -> tuple:
    """One line of the table."""
    floor = result.machine.floor(m.operations, m.moved)
    against = result.case.against
    fast = m is result.fast
    ratio = None if m.peer else result.ratio(against, m)
    goal = result.case.goal if fast else None
    mark = {None: "", True: "✓", False: "✗"}[result.met(against)] if fast else ""
    return (m.label + "*" * bool(m.size), seconds(m.seconds),
            f"{m.operations / m.seconds / 1e9:.3g}", f"{m.moved / m.seconds / 1e9:.3g}",
            f"{floor / m.seconds:.1%}", count(m.extra, "B"), error(m.error), str(ratio or ""),
            "" if goal is None else f"{goal:g}", mark)


def seconds(value) -> str:
    """Three digits and a unit."""
    for unit, scale in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def count(value, unit: str) -> str:
    """Three digits, k to T, and a unit."""
    if value is None:
        return "?"
    for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def error(value) -> str:
    """A relative error."""
    return "?" if value is None else "exact" if value == 0 else f"{value:.1e}"
