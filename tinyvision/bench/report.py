"""What came of benchmarks: tables for the terminal, JSON for machines, and a picture."""
from __future__ import annotations

import io
import json
import os
from dataclasses import asdict
from pathlib import Path

MARKS = {None: "", True: "✓", False: "✗"}
LADDER = ("", "time", "GFLOP/s", "GB/s", "of peak", "memory", "error", "ratio (of runs)", "goal",
          "")
SUMMARY = (("", 66), ("ours", 8), ("theirs", 8), ("ratio (of runs)", 18), ("goal", 5), ("", 2),
           ("of last", 8), ("goal", 5), ("", 2), ("GFLOP/s", 8), ("GB/s", 6), ("of peak", 8),
           ("memory", 8), ("theirs", 8), ("error", 8), ("theirs", 8))
LEGEND = """\
Medians; ratio = ours / theirs, below 1 is faster, with the least and the largest run. "theirs" is
PyTorch with contiguous tensors (torchvision for roi_align, roi_pool, nms), "last" is PyTorch with
channels-last tensors. Of peak: the least time that operations and bytes take by this machine's
measured peaks, over the time taken; what stays in a cache can exceed it. Memory: the most that one
call needed beyond what was there, its result included. Error: the largest difference from float64
over the largest element. ✓ ✗: the goal is met or not; ! more than 4 times PyTorch's own error."""


def table(rows, header) -> str:
    """Rows of words under a header, the first column to the left, the others to the right."""
    rows = [header, *rows]
    widths = [max(len(row[c]) for row in rows) for c in range(len(header))]
    lines = ["  ".join([row[0].ljust(widths[0]),
                        *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]).rstrip()
             for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


# --- one case -------------------------------------------------------------------------------------
def ladder(result) -> str:
    """One case's rungs and peers as a table."""
    case, floor = result.case, result.machine.floor(result.case.operations, result.case.moved)
    title = (f"{case}\n{count(case.operations, ' operations')}, {count(case.moved, 'B')} to move: "
             f"at least {seconds(floor)}")
    lines = [title, table([rung_row(result, m) for m in result.rungs], LADDER)]
    lines += [f"* {m.label}: on the smaller {m.size}" for m in result.rungs if m.size]
    lines += ["; ".join(result.absent)] * bool(result.absent)
    if result.accurate is False:
        lines.append("! the error is more than 4 times PyTorch's")
    return "\n".join([*lines, *(f"✗ {text}" for text in result.failed)])


def rung_row(result, m) -> tuple:
    """One line of the table. Its ratio: of a rung to PyTorch, of the fast rung to another peer."""
    floor, case = result.machine.floor(m.operations, m.moved), result.case
    judged = m.name if m.peer else case.against if m.name == result.device else None
    if m.name == case.against:
        ratio = goal = mark = None
    else:
        ratio = result.ratio(m.name) if m.peer else result.ratio(case.against, m)
        goal = judged and case.goal_against(judged)
        mark = judged and result.met(judged)
    shown = f"ours / it {ratio}" if m.peer and ratio else str(ratio or "")
    return (m.label + "*" * bool(m.size), seconds(m.seconds), rate(m.operations, m.seconds),
            rate(m.moved, m.seconds), f"{floor / m.seconds:.1%}", count(m.extra, "B"),
            error(m.error), shown, number(goal), MARKS[mark])


# --- many cases -----------------------------------------------------------------------------------
def summary_header() -> str:
    """The heads of the columns of `summary`."""
    return _columns([head for head, _ in SUMMARY])


def summary(result) -> str:
    """One case as one line; what failed below it."""
    ours, theirs = result.fast, result.get(result.case.against)
    if ours is None:
        return "\n".join([f"{str(result.case):66}", *(f"✗ {text}" for text in result.failed)])
    floor = result.machine.floor(ours.operations, ours.moved)
    last = result.ratio("channels_last")
    line = _columns([
        str(result.case), seconds(ours.seconds), seconds(theirs and theirs.seconds),
        str(result.ratio(result.case.against) or "not installed"), number(result.case.goal),
        MARKS[result.met(result.case.against)], f"{last.median:.2f}" if last else "",
        number(result.case.goal_against("channels_last")), MARKS[result.met("channels_last")],
        rate(ours.operations, ours.seconds), rate(ours.moved, ours.seconds),
        f"{floor / ours.seconds:.0%}", count(ours.extra, "B"), count(theirs and theirs.extra, "B"),
        error(ours.error) + "!" * (result.accurate is False), error(theirs and theirs.error)])
    return "\n".join([line, *(f"✗ {text}" for text in result.failed)])


def _columns(cells) -> str:
    """Of fixed widths, because lines appear one by one."""
    (_, first), *others = SUMMARY
    return " ".join([cells[0].ljust(first), *(cell.rjust(width) for cell, (_, width) in
                                              zip(cells[1:], others))]).rstrip()


def tally(results) -> str:
    """How many goals are met, and which are not."""
    marks = [(result, peer, result.met(peer)) for result in results
             for peer in dict.fromkeys((result.case.against, "channels_last"))]
    judged = [mark for mark in marks if mark[2] is not None]
    lines = [f"{sum(met for *_, met in judged)} of {len(judged)} goals are met."]
    lines += [f"  not met: {r.case}, {r.ratio(peer).median:.2f} for {r.case.goal_against(peer):g}"
              f"{' against channels last' * (peer == 'channels_last')}"
              for r, peer, met in judged if not met]
    return "\n".join(lines)


# --- words ----------------------------------------------------------------------------------------
def seconds(value) -> str:
    """Three digits and a unit."""
    if value is None:
        return ""
    for unit, scale in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def count(value, unit: str) -> str:
    """Three digits, k to T, and a unit; nothing where it is not known."""
    if value is None:
        return ""
    for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def rate(amount, time) -> str:
    """Thousand millions a second, three digits."""
    value = amount / time / 1e9
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}" if value < 0.01 else f"{value:.3g}"


def error(value) -> str:
    """A relative error."""
    return "" if value is None else "exact" if value == 0 else f"{value:.1e}"


def number(value) -> str:
    """A goal, if there is one."""
    return "" if value is None else f"{value:g}"


# --- JSON -----------------------------------------------------------------------------------------
def as_dict(result) -> dict:
    """A result for machines: plain numbers, seconds and bytes."""
    case = result.case
    ratios = {m.name: asdict(result.ratio(m.name)) for m in result.rungs
              if m.peer and result.ratio(m.name)}
    return {"operation": case.operation, "part": case.part, "size": case.size,
            "operations": case.operations, "bytes": case.moved, "against": case.against,
            "goal": case.goal, "goals": dict(case.goals), "met": result.met(case.against),
            "accurate": result.accurate, "failed": result.failed, "absent": result.absent,
            "ratios": ratios,
            "rungs": [{**asdict(m), "seconds": m.seconds} for m in result.rungs]}


def write_json(path, content: dict) -> None:
    """Write it whole or not at all."""
    write(path, json.dumps(content, indent=1).encode() + b"\n")


def write(path, content: bytes) -> None:
    """Write to a temporary name beside it, then rename."""
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


# --- the picture ----------------------------------------------------------------------------------
def write_picture(path, figure) -> None:
    """A figure in the format of the file's ending."""
    buffer = io.BytesIO()
    try:
        figure.savefig(buffer, format=Path(path).suffix[1:] or "png", bbox_inches="tight")
    except ValueError as error:
        raise ValueError(f"--picture {path}: {error}") from error
    write(path, buffer.getvalue())
