"""Two gradings side by side: which marks changed, and why."""
from __future__ import annotations

from pathlib import Path

from tinyvision.grading import course


def diff(first: Path, second: Path) -> list[str]:
    """What marks changed between two gradings, and why: a line for each, nothing for the rest."""
    before, after = ({row.student: row for row in course.rows(out)} for out in (first, second))
    lines = []
    for student in dict.fromkeys([*before, *after]):
        old, new = before.get(student), after.get(student)
        if old is None or new is None:
            which = (f"only in {second}, {_score(new)}" if old is None
                     else f"only in {first}, {_score(old)}")
            lines.append(f"{student}: {which}")
        elif (old.score, old.notes) != (new.score, new.notes):
            lines.append(f"{student}: {_score(old)} -> {_score(new)}: {'; '.join(_why(old, new))}")
    return lines


def _score(row) -> str:
    return "not graded" if row.score is None else f"{row.score:g}"


def _why(old, new) -> list[str]:
    """Another file, other cases, other rules: what differs between two rows of a student."""
    reasons = []
    theirs = {record["exercise"]: record for record in old.records}
    for record in new.records:
        was = theirs.get(record["exercise"])
        if was is None:
            reasons.append(f"{record['exercise']} is new")
        elif was["submission"] != record["submission"]:
            reasons.append(f"another file was handed in ({record['file']})")
        if was is not None:
            reasons += _cases(was, record)
    reasons += [f"now: {note}" for note in new.notes if note not in old.notes]
    reasons += [f"no longer: {note}" for note in old.notes if note not in new.notes]
    return reasons or ["another file of the same student counts"]


def _cases(was: dict, now: dict) -> list[str]:
    before, after = ({(c["function"], c["name"]): c for c in r["cases"]} for r in (was, now))
    lines = []
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        where = ", ".join(key)
        if old is None or new is None:
            lines.append(f"{where} is {'new' if old is None else 'gone'}")
        elif (old["verdict"], old["earned"]) != (new["verdict"], new["earned"]):
            lines.append(f"{where}: {old['verdict']} {old['earned']:g} -> {new['verdict']} "
                         f"{new['earned']:g}")
        elif old["points"] != new["points"]:
            lines.append(f"{where} is worth {new['points']:g} instead of {old['points']:g}")
    if not before or not after:
        return [f"{was['verdict']} -> {now['verdict']}"] if was["verdict"] != now["verdict"] else []
    return lines
