"""Marks given by hand, with a reason and a date, in a file beside the results.

``OUT/course/overrides.json`` is a list that only grows: of two that concern the same thing the
later one counts, and one without a mark takes back what was said before. Regrading does not touch
it; what it says is applied whenever gradebook and pages are made.
"""
from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from tinyvision.grading.store import plain, write

FILE = "course/overrides.json"


@dataclass(frozen=True)
class Override:
    """One mark by hand.

    Attributes:
        student, exercise: whose, and in what.
        function, case: what it is for; "" and "" for the whole mark, which is then final.
        mark: points; None takes an earlier one back.
        why: the reason, shown to the student.
        date: when it was given, ``2026-12-01``.
    """
    student: str
    exercise: str
    function: str
    case: str
    mark: float | None
    why: str
    date: str

    @property
    def about(self) -> tuple:
        """What it is for: two with the same are the same mark, given twice."""
        return self.student, self.exercise, self.function, self.case

    def where(self) -> str:
        """What it is for, in words."""
        return ", ".join(filter(None, [self.function, self.case])) or "the mark"

    def note(self) -> str:
        """The sentence beside the mark."""
        return f"{self.where()} set to {self.mark:g} by hand on {self.date}: {self.why}"


def read(out: Path) -> list[Override]:
    """Those that count: the last one for each thing, without what was taken back."""
    last: dict[tuple, Override] = {}
    for one in history(out):
        last.pop(one.about, None)
        last[one.about] = one
    return [one for one in last.values() if one.mark is not None]


def history(out: Path) -> list[Override]:
    """Everything ever said. ValueError where the file is damaged: no mark is dropped silently."""
    path = Path(out) / FILE
    if not path.exists():
        return []
    try:
        return [Override(**one) for one in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({plain(error, 120)}); repair it by hand or put a "
                         "copy back: the marks given by hand are in it") from None


def add(out: Path, records: list[dict], student: str, where: str, mark: float | None, why: str,
        today: str | None = None, exceed: bool = False) -> Override:
    """Give a mark by hand.

    Arguments:
        records: of OUT.
        student: as in the gradebook.
        where: "" for the whole mark, a function, ``"FUNCTION: CASE"``, or a number such as 1.2.
        mark: points, or None to take an earlier override back.
        why: the reason.
        exceed: whether more points than it is worth are meant.

    ValueError for an unknown student, an unknown case, no reason, a mark out of its range, or
    nothing to take back.
    """
    why = " ".join(str(why or "").split())
    if not why:
        raise ValueError("override: give the reason with --why \"...\"; the student reads it")
    record = find(records, student)
    function, case = place(record, where)
    _check_range(mark, _most(out, records, record, function, case), exceed)
    one = Override(record["student"], record["exercise"] or "", function, case, mark, why,
                   today or date.today().isoformat())
    if mark is None and one.about not in {other.about for other in read(out)}:
        raise ValueError(f"override: {one.student} has no mark by hand for {one.where()} to take "
                         f"back{_listed(out, record)}")
    said = [*history(out), one]
    write(Path(out) / FILE, json.dumps([asdict(o) for o in said], indent=1, ensure_ascii=False)
          + "\n")
    return one


def _check_range(mark: float | None, most: float | None, exceed: bool) -> None:
    if mark is None or 0 <= mark <= (most if most and not exceed else 1e6):
        return
    least = "0 or more" if exceed or not most else f"from 0 to {most:g}"
    more = ", or say --exceed if you mean more than it is worth" if mark > (most or mark) else ""
    raise ValueError(f"override: {mark:g} points, of {most or 0:g}; give a number {least}{more}")


def _listed(out: Path, record: dict) -> str:
    mine = [one.where() for one in read(out)
            if (one.student, one.exercise) == (record["student"], record["exercise"] or "")]
    return f"; there is one for {' and one for '.join(mine)}" if mine else ""


def covering(out: Path, one: Override) -> Override | None:
    """The mark by hand that makes this one have no effect: of the function, or of the whole."""
    above = {(o.function, o.case): o for o in read(out)
             if (o.student, o.exercise) == (one.student, one.exercise)}
    places = [("", "")] * bool(one.function) + [(one.function, "")] * bool(one.case)
    return next((above[place] for place in places if place in above), None)


def find(records: list[dict], student: str, exercise: str | None = None) -> dict:
    """The record of a student: of several the one with the most points. ValueError with similar
    names where there is none."""
    import difflib
    found = [r for r in records if r["student"] == student
             and (exercise is None or r["exercise"] == exercise)]
    if found:
        return max(found, key=lambda r: -1 if r["score"] is None else r["score"])
    names = list(dict.fromkeys(r["student"] for r in records))
    near = difflib.get_close_matches(student, names, 3, 0.4)
    raise ValueError(f"there is no submission of {student!r} in the results; did you mean "
                     f"{' or '.join(near)}?" if near else
                     f"there is no submission of {student!r} among the {len(names)} in the results")


def numbered(record: dict) -> dict[str, dict]:
    """``"1.2"`` -> the second case of the first function, as results.json numbers them."""
    functions = list(dict.fromkeys(case["function"] for case in record["cases"]))
    found, count = {}, dict.fromkeys(functions, 0)
    for case in record["cases"]:
        count[case["function"]] += 1
        found[f"{functions.index(case['function']) + 1}.{count[case['function']]}"] = case
    return found


def place(record: dict, where: str) -> tuple[str, str]:
    """(function, case) of a word: both "" for all, case "" for a function."""
    where = (where or "").strip()
    cases = numbered(record)
    if not where:
        return "", ""
    if where in cases:
        return cases[where]["function"], cases[where]["name"]
    if where in {case["function"] for case in record["cases"]}:
        return where, ""
    wanted = [case for case in record["cases"]
              if where in (case["name"], f"{case['function']}: {case['name']}")]
    if len(wanted) == 1:
        return wanted[0]["function"], wanted[0]["name"]
    if not record["cases"]:
        raise ValueError(f"{record['student']} has no cases to choose from ({record['verdict']}); "
                         "leave FUNCTION or CASE away to set the whole mark")
    raise ValueError(f"{where!r} names {len(wanted) or 'no'} cases of {record['student']}'s; "
                     f"{_nearest(cases, wanted, where)} ('tinyvision show' lists all {len(cases)})")


def _nearest(cases: dict[str, dict], wanted: list, where: str) -> str:
    """The one or the few that may be meant, with their numbers."""
    import difflib
    words = {number: f"{case['function']}: {case['name']}" for number, case in cases.items()}
    if wanted:
        near = [number for number, case in cases.items() if case in wanted]
    elif where[:1].isdigit():
        near = difflib.get_close_matches(where, list(cases), 1, 0.0)
    else:
        near = sorted(cases, key=lambda number: -max(difflib.SequenceMatcher(
            None, where.lower(), text.lower()).ratio() for text in (
                words[number], cases[number]["name"])))[:1]
    return "did you mean " + " or ".join(f"{number} ({words[number]})" for number in near[:3]) + "?"


def _most(out: Path, records: list[dict], record: dict, function: str, case: str) -> float | None:
    """What it is worth: a file of no exercise as much as the only one that there is."""
    if not function:
        from tinyvision.grading import course       # which applies what is said here
        return course.read(out, records).points(record)
    return sum(c["points"] for c in record["cases"]
               if c["function"] == function and case in ("", c["name"]))


def applied(record: dict, given: list[Override]) -> tuple[float | None, list[str], bool]:
    """(score, sentences, whether it is final) of a record with the marks given by hand."""
    mine = {(o.function, o.case): o for o in given
            if (o.student, o.exercise) == (record["student"], record["exercise"] or "")}
    if not mine:
        return record["score"], [], False
    if ("", "") in mine:
        return mine["", ""].mark, [mine["", ""].note()], True
    notes = [one.note() for (function, case), one in mine.items()
             if not case or (function, "") not in mine]
    if record["score"] is None:
        return None, [*notes, "which waits for the submission to be graded"], False
    return round(sum(_function_score(record, mine).values()), 4), notes, False


def by_function(record: dict, given: list[Override]) -> dict[str, float]:
    """Function -> its points, for those with a mark by hand; {} where the whole mark is one."""
    mine = {(o.function, o.case): o for o in given
            if (o.student, o.exercise) == (record["student"], record["exercise"] or "")}
    if not mine or ("", "") in mine:
        return {}
    changed = {function for function, _ in mine}
    return {function: round(points, 4) for function, points in
            _function_score(record, mine).items() if function in changed}


def _function_score(record: dict, mine: dict) -> dict[str, float]:
    scores: dict[str, float] = {}
    for case in record["cases"]:
        one = mine.get((case["function"], case["name"]))
        scores[case["function"]] = scores.get(case["function"], 0.0) + (
            one.mark if one else case["earned"])
    return scores | {function: one.mark for (function, case), one in mine.items() if not case}
