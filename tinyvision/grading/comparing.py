"""Two gradings side by side: which marks changed, and why."""
from __future__ import annotations

from pathlib import Path

from tinyvision.grading import totals


def diff(first: Path, second: Path) -> list[str]:
    """What marks changed between two gradings, and why: a line for each, below it the cases that
    changed, one a line; nothing for the rest."""
    before, after = ({row.student: row for row in totals.rows(out)} for out in (first, second))
    lines = []
    for student in dict.fromkeys([*before, *after]):
        old, new = before.get(student), after.get(student)
        if old is None or new is None:
            which = (f"only in {second}, {_score(new)}" if old is None
                     else f"only in {first}, {_score(old)}")
            lines.append(f"{student}: {which}")
        elif (old.score, old.notes) != (new.score, new.notes):
            why, cases = _why(old, new), _changed_cases(old, new)
            reason = "; ".join(why or ["" if cases else "another file of the same student counts"])
            lines.append(f"{student}: {_score(old)} -> {_score(new)}: {reason}".rstrip(": "))
            lines += [f"    {case}" for case in cases]
    return lines


def _score(row) -> str:
    return "not graded" if row.score is None else f"{row.score:g}"


def _pairs(old, new) -> list[tuple[dict | None, dict]]:
    """The records of each exercise of the second row, with those of the first."""
    theirs = {record["exercise"]: record for record in old.records}
    return [(theirs.get(record["exercise"]), record) for record in new.records]


def _why(old, new) -> list[str]:
    """Another file, other points, other rules: what differs between two rows of a student."""
    reasons = []
    for was, record in _pairs(old, new):
        if was is None:
            reasons.append(f"{record['exercise']} is new")
            continue
        if was["submission"] != record["submission"]:
            reasons.append(f"another file was handed in ({record['file']})")
        if _worth(was, record):
            reasons.append(f"points changed: {_worth(was, record)}")
        if not (was["cases"] and record["cases"]) and was["verdict"] != record["verdict"]:
            reasons.append(f"{was['verdict']} -> {record['verdict']}")
    reasons += [f"now: {note}" for note in new.notes if note not in old.notes]
    return reasons + [f"no longer: {note}" for note in old.notes if note not in new.notes]


def _by_name(record: dict) -> dict[tuple, dict]:
    return {(case["function"], case["name"]): case for case in record["cases"]}


def _worth(was: dict, now: dict) -> str:
    """Whether cases that both have are worth something else: of how many, and of how many points
    they were together."""
    before, after = _by_name(was), _by_name(now)
    both = [key for key in before if key in after]
    count = sum(before[key]["points"] != after[key]["points"] for key in both)
    old, new = (sum(cases[key]["points"] for key in both) for cases in (before, after))
    return f"{count} of {len(both)} cases, {old:g} -> {new:g} in all" if count else ""


def _changed_cases(old, new) -> list[str]:
    """The cases whose verdict changed, which came or went: a line for each."""
    return [line for was, record in _pairs(old, new) if was is not None
            for line in _cases(was, record)]


def _cases(was: dict, now: dict) -> list[str]:
    before, after = _by_name(was), _by_name(now)
    if not before or not after:
        return []
    lines = []
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        where = ", ".join(key)
        if old is None or new is None:
            lines.append(f"{where} is {'new' if old is None else 'gone'}")
        elif old["verdict"] != new["verdict"] or _part(old) != _part(new):
            lines.append(f"{where}: {old['verdict']} {old['earned']:g} -> {new['verdict']} "
                         f"{new['earned']:g}")
    return lines


def _part(case: dict) -> float:
    """What share of its points a case earned."""
    return round(case["earned"] / case["points"], 3) if case["points"] else 0.0
