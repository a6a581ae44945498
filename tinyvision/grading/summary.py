"""The end of a run: what became of a folder, and how it is told."""
from __future__ import annotations

import collections
import itertools
import os
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from tinyvision.grading.verdict import Verdict

WIDTH = 96
MOST = 12                               # names in one section
MISTAKES = 3                            # of one function


@dataclass(frozen=True)
class Summary:
    """What became of a folder.

    Attributes:
        records: one for each submission of this run that is graded, in order.
        marks: for each record what it counts, a `marks.Mark`: of several versions one does.
        submitted: how many there are.
        reused: how many records were there already.
        interrupted: whether it was stopped; the next run goes on from here.
        isolation: the sandbox's level; on a cluster that of its workers.
        seconds: how long it took.
        jobs: how many workers ran at a time.
        gradebook, report: the files written; None where the disk was full.
        lost: (file, why) of each record that was made and could not be written.
        groups: `similarity.Group` of what is alike.
        passed_over: (title, items) of what is in the folder and was not graded.
    """
    records: list
    marks: list
    submitted: int
    reused: int
    interrupted: bool
    isolation: str
    seconds: float
    jobs: int
    gradebook: Path | None
    report: Path | None
    lost: list = field(default_factory=list)
    groups: list = field(default_factory=list)
    passed_over: dict = field(default_factory=dict)

    def count(self) -> dict[str, int]:
        """How many submissions have each verdict, the most frequent first."""
        return dict(collections.Counter(r["verdict"] for r in self.records).most_common())

    def verdicts(self) -> dict[str, int]:
        """The same of those that count, as the class page has it."""
        return dict(collections.Counter(record["verdict"] for record, mark in zip(
            self.records, self.marks) if mark.counts).most_common())

    def shares(self) -> list[float]:
        """The share of the points of those that count and have one, sorted."""
        return sorted(mark.share for mark in self.marks
                      if mark.counts and mark.share is not None)

    def mean(self) -> float | None:
        """The mean share of the points, of those that count and have one."""
        shares = self.shares()
        return sum(shares) / len(shares) if shares else None

    def median(self) -> float | None:
        """The median share of the points."""
        shares, middle = self.shares(), len(self.shares()) // 2
        return (shares[middle] + shares[~middle]) / 2 if shares else None

    def mistakes(self) -> dict[tuple[str, str], int]:
        """(function, mistake) -> how many submissions that count show it, the most frequent
        first."""
        return dict(collections.Counter(
            (found["function"], found["name"]) for record, mark in zip(self.records, self.marks)
            if mark.counts for found in record["diagnoses"] if found["name"]).most_common())


def summary_text(summary: Summary) -> str:
    """The end of a run: counts, mistakes, what to look at, where the files are."""
    took = f"{int(summary.seconds // 60)}:{summary.seconds % 60:04.1f}"
    already = f", {summary.reused} from before" if summary.reused else ""
    workers = f"{summary.jobs} worker{'s' * (summary.jobs != 1)}"
    mean = "" if summary.mean() is None else (f"   mean {summary.mean():.0%}   "
                                              f"median {summary.median():.0%}")
    lines = [f"{len(summary.records)} of {summary.submitted} graded in {took} ({workers}, "
             f"isolation {summary.isolation}{already}){mean}"]
    lines += _section("verdicts", _verdicts(summary))
    lines += _common(summary)
    lines += _section("look at these", _remarked(summary))
    lines += _section("similar", _alike(summary))
    lines += _ungraded(summary)
    for title, items in summary.passed_over.items():
        lines += _section(title, items)
    if summary.interrupted:
        lines.append("interrupted: the same command goes on from here")
    return "\n".join([*lines, *_files(summary)])


def _verdicts(summary: Summary) -> list[str]:
    passed = sum(not mark.counts for mark in summary.marks)
    return [*(f"{verdict} {n}" for verdict, n in summary.verdicts().items()),
            *[f"not counted {passed}"] * bool(passed)]


def _common(summary: Summary) -> list[str]:
    """The most frequent mistakes: a list for each function, beginning with the worst."""
    lists: dict[str, list[str]] = {}
    for (function, name), n in summary.mistakes().items():
        lists.setdefault(function, []).append(f"{name.replace('-', ' ')} {n}")
    titles = itertools.chain(["common mistakes"], itertools.repeat(""))
    shown = [[f"{function}: {names[0]}", *names[1:]] for function, names in lists.items()]
    lines = [line for title, names in zip(titles, shown[:MOST])
             for line in _section(title, names, MISTAKES)]
    more = len(shown) - MOST
    return lines + _section("", [f"and of {more} more function{'s' * (more > 1)}"] * (more > 0))


def _section(title: str, items: list[str], most: int = MOST) -> list[str]:
    if len(items) > most:
        items = [*items[:most], f"and {len(items) - most} more"]
    text = " · ".join(items)
    return textwrap.wrap(f"{title:17}{text}", WIDTH, subsequent_indent=" " * 17,
                         drop_whitespace=True) if items else []


def _remarked(summary: Summary) -> list[str]:
    return [f"{record['file']} ({'; '.join(record['remarks'][:2])})"
            for record in summary.records if record["remarks"]]


def _alike(summary: Summary) -> list[str]:
    return [f"{group.exercise}: {' + '.join(member.label for member in group.members)} "
            f"({group.why})" for group in summary.groups]


def _ungraded(summary: Summary) -> list[str]:
    lines = []
    for verdict, title in ((Verdict.GRADER_ERROR, "grader's fault"), (Verdict.MISSING, "missing"),
                           (Verdict.UNREADABLE, "not readable")):
        lines += _section(title, [f"{record['file']}: {record['message']}" for record in
                                  summary.records if record["verdict"] == verdict.value])
    lines += _section("not written", [f"{file}: {why}" for file, why in summary.lost])
    if summary.lost or summary.report is None:
        lines.append("not everything could be written: make room, and give the same command again")
    return lines


def _files(summary: Summary) -> list[str]:
    if summary.report is None:
        return []
    return [f"{summary.gradebook}   {summary.report}   "
            f"{Path(summary.report).parent / 'results'}{os.sep}"]
