"""What a course makes of results: lateness, marks given by hand, the roster; and totals.

All of it lies beside the results (``OUT/course/``, ``OUT/exercises/``) and is applied whenever
gradebook, pages or exports are made. Records are never changed.
"""
from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from tinyvision import exercises
from tinyvision.exercises.lateness import Policy, time
from tinyvision.grading import late, overrides, roster, submissions
from tinyvision.grading.roster import Roster, Student
from tinyvision.grading.store import Store, one_line, plain, write

TIMES = "course/times.json"


@dataclass(frozen=True)
class Rules:
    """Everything beside the results that a mark depends on.

    Attributes:
        policies: exercise -> `Policy`.
        times: file -> when it was handed in; None where it is only known to be late.
        given: marks by hand, `overrides.Override`.
        roster: or None.
        unread: file -> what should tell its time and cannot be understood.
        passed: (student, file) of a version that does not count -> the file that does.
    """
    policies: dict
    times: dict[str, datetime | None]
    given: list
    roster: Roster | None
    passed: dict[tuple[str, str], str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)

    def counts(self, record: dict) -> bool:
        """Whether it is the version that counts: of several for one exercise the best does."""
        return (record["student"], record["file"]) not in self.passed

    def score(self, record: dict) -> tuple[float | None, list[str]]:
        """(what counts, why it is not the record's own score)."""
        score, taken, notes = self.parts(record)
        return None if score is None else round(score - taken, 4), notes

    def parts(self, record: dict) -> tuple[float | None, float, list[str]]:
        """(the score with marks by hand, what lateness takes off it, a sentence on each)."""
        if not self.counts(record):
            other = self.passed[record["student"], record["file"]]
            return None, 0.0, [f"not counted: {other} counts"]
        return self._late(record, *overrides.applied(record, self.given))

    def own(self, record: dict) -> float:
        """What a version is worth by itself, after lateness, to find the best; what is not graded
        may be the best."""
        score, taken, _ = self._late(record, record["score"], [], False)
        return math.inf if score is None else score - taken

    def _late(self, record: dict, score: float | None, notes: list[str], final: bool):
        policy = self.policies.get(record["exercise"])
        if policy is None or final or score is None:
            return score, 0.0, notes
        if record["file"] in self.unread:
            return score, 0.0, [*notes, f"{self.unread[record['file']]} tells no time that can be "
                                "read: taken as handed in on time"]
        if self.times.get(record["file"], 0) is None:
            return score, 0.0, [*notes, "marked as late by the platform, which does not say how "
                                "late: nothing is taken off"]
        found = policy.lateness(self.times.get(record["file"]), record["points"] or 0.0, score,
                                self._extra(record["student"]))
        return (score, 0.0, notes) if found is None else (score, found.taken, [*notes, found.why])

    def _extra(self, student: str) -> float:
        found = self.roster.find(student) if self.roster else None
        return found.extra_hours if found else 0.0


def read(out: Path, records: list[dict] | None = None) -> Rules:
    """The rules of OUT, whose records may be given where they are read already. ValueError where
    one of the files is damaged."""
    out = Path(out)
    policies = {name: Policy.of(about.get("due"), about.get("late"))
                for name, about in Store(out).exercises().items() if about.get("due")}
    rules = Rules(policies, read_times(out), overrides.read(out), roster.of(out),
                  unread=_read_unread(out))
    return replace(rules, passed=_passed(rules, Store(out).records() if records is None
                                         else records))


def _passed(rules: Rules, records: list[dict]) -> dict[tuple[str, str], str]:
    """Of several files of one student for one exercise: those that do not count. The best counts,
    of two alike the one nearer to the top of the folder."""
    versions: dict[tuple, list[dict]] = {}
    for record in records:
        if record["exercise"]:
            versions.setdefault((_owner(record, rules), record["exercise"]), []).append(record)
    found = {}
    for those in versions.values():
        best = max(those, key=lambda one: (rules.own(one), -one["file"].count("/")))
        found |= {(one["student"], one["file"]): best["file"] for one in those
                  if one["file"] != best["file"]}
    return found


def read_times(out: Path) -> dict[str, datetime | None]:
    """File -> when it was handed in, as `keep_times` wrote it."""
    path = Path(out) / TIMES
    try:
        return {file: None if text == late.LATE else time(text)
                for file, text in _stated(path) if not text.startswith(late.UNREAD)}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}); 'tinyvision grade' with the same folders "
                         "writes it again") from None


def _read_unread(out: Path) -> dict[str, str]:
    return {file: text[len(late.UNREAD):] for file, text in _stated(Path(out) / TIMES)
            if text.startswith(late.UNREAD)}


def _stated(path: Path) -> list[tuple[str, str]]:
    return list(json.loads(path.read_text(encoding="utf-8")).items()) if path.exists() else []


def keep_times(out: Path, folder: Path, submissions) -> list[str]:
    """Note in OUT when the submissions of a folder came, as far as it says so; a sentence where
    it says so in words that cannot be understood."""
    times = late.times(folder, submissions)
    unread = late.unread(folder, submissions, times)
    found = {plain(file): moment for file, moment in times.items()}
    found |= {plain(file): late.UNREAD + one_line(what) for file, what in unread.items()}
    if found or (Path(out) / TIMES).exists():
        text = json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        write(Path(out) / TIMES, text)
    names = _listed([one_line(what) for what in dict.fromkeys(unread.values())])
    return [f"no time that can be read, taken as handed in on time: {names}"] if unread else []


def keep_policy(out: Path, file: str) -> None:
    """Take due date and late policy of an assignment's file over into OUT. ValueError where the
    file has none, or nothing of that assignment was graded."""
    exercise, store = exercises.load(file), Store(out)
    known = store.exercises()
    if exercise.name not in known:
        raise ValueError(f"{out} holds nothing of {exercise.name!r}; there is "
                         f"{', '.join(known) or 'nothing'}")
    rules = {"due": getattr(exercise, "due", None), "late": getattr(exercise, "late", {})}
    Policy.of(rules["due"], rules["late"])
    store.keep_exercise(known[exercise.name] | rules)


def student(out: Path, records: list[dict], word: str) -> str:
    """How the submissions call a student: the word itself, or what the roster knows of it.
    ValueError for one who handed in, and whose only record is damaged or not made yet."""
    names = [record["student"] for record in records]
    people = roster.of(out) if word not in names else None
    person = people.find(word) if people else None
    name = next((name for name in names if person and people.find(name) == person), word)
    waiting = ungraded(out) if name not in names else ()
    why = next((record["message"] for record in waiting if record["student"] == name), None)
    if why:
        raise ValueError(f"{name} has no results yet: {why}; 'tinyvision grade' with the same "
                         "folders makes the record")
    return name


# ---- totals --------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Row:
    """One student's total.

    Attributes:
        student: as submissions are called; of one who handed in nothing, the roster's id.
        person: the roster's `Student`, or None where the roster has none such, or is none.
        score: the sum over the exercises; None where something is not graded, or nothing is there.
        points: of all exercises that anybody handed in.
        verdict: ``"OK"``, the first verdict that is not, or ``"MISSING"``.
        notes: on lateness and marks by hand.
        records: those that count, one for each exercise.
        exercises: exercise -> score.
    """
    student: str
    person: Student | None
    score: float | None
    points: float
    verdict: str
    notes: tuple[str, ...]
    records: tuple
    exercises: dict

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that this student may be called elsewhere; of what Canvas or Moodle wrote
        also the number in the name of the file or folder."""
        one = self.person
        homes = [record["file"].partition("/")[0] for record in self.records]
        found = [submissions.identity(home, Path()).get("number", "") for home in homes
                 if not home.startswith("submission_")]
        return (self.student, *found) + ((one.id, one.email, one.name) if one else ())


def rows(out: Path) -> list[Row]:
    """A row for each student with a submission, in order; then those of the roster without one."""
    records = Store(out).records()
    rules, worth = read(out, records), _points(records)
    by_student: dict[str, list[dict]] = {}
    for record in [*records, *ungraded(out)]:
        by_student.setdefault(_owner(record, rules), []).append(record)
    found = [_row(rules, mine, worth) for mine in by_student.values()]
    return found + [_absent_row(rules, record) for record in absent(out, records)]


def _absent_row(rules: Rules, record: dict) -> Row:
    """Of one who handed in nothing: no score, unless one was given by hand."""
    score, notes, given = overrides.applied(record, rules.given)
    scores = {record["exercise"]: score} if given and record["exercise"] else {}
    return Row(record["student"], rules.roster.find(record["student"]), score if given else None,
               record["points"] or 0.0, "MISSING", tuple(notes), (), scores)


def points(out: Path) -> dict[str, float]:
    """Exercise -> its points, of all that anybody handed in."""
    return _points(Store(out).records())


def _points(records: list[dict]) -> dict[str, float]:
    return {r["exercise"]: r["points"] for r in records if r["exercise"] and r["points"]}


def _owner(record: dict, rules: Rules) -> str:
    """Two names of one person are one student."""
    person = rules.roster.find(record["student"]) if rules.roster else None
    return person.id if person else record["student"]


def _row(rules: Rules, records: list[dict], worth: dict[str, float]) -> Row:
    best: dict = {}
    for record in filter(rules.counts, records):
        score, notes = rules.score(record)
        if record["exercise"] not in best or _rank(score) > _rank(best[record["exercise"]][0]):
            best[record["exercise"]] = score, notes, record
    if len(best) > 1 and None in best and best[None][0] is not None:
        best.pop(None)                  # a file of no exercise, beside one that is
    scores = {exercise or "": score for exercise, (score, _, _) in best.items()}
    kept = tuple(record for _, _, record in best.values())
    total = None if None in scores.values() else round(sum(scores.values()), 4)
    student = records[0]["student"]
    person = rules.roster.find(student) if rules.roster else None
    verdict = next((r["verdict"] for r in kept if r["verdict"] != "OK"), "OK")
    notes = tuple(note for _, some, _ in best.values() for note in some)
    return Row(student, person, total, sum(worth.values()), verdict, notes, kept, scores)


def _rank(score: float | None) -> float:
    return float("inf") if score is None else score     # what is not graded may be the best


def ungraded(out: Path) -> list[dict]:
    """A record, verdict NOT_GRADED and without a score, for each submission that has none: it is
    damaged, or not made yet. That is never a zero, nor is it nothing handed in."""
    entries = Store(out).entries()
    worth = _points([entry.record for entry in entries if entry.record])
    exercise, most = next(iter(worth.items())) if len(worth) == 1 else (None, None)
    return [{"student": plain(entry.student), "file": "", "exercise": exercise, "submission": "",
             "isolation": "", "verdict": "NOT_GRADED", "score": None, "points": most,
             "message": "the record is damaged" if entry.damaged else "not graded yet",
             "cases": [], "diagnoses": [], "remarks": []}
            for entry in entries if entry.record is None]


def absent(out: Path, records: list[dict]) -> list[dict]:
    """A record, verdict MISSING, for each student of the roster who handed in nothing."""
    people, worth = roster.of(out), _points(records)
    return [{"student": one.id, "file": "", "exercise": " ".join(worth) or None,
             "verdict": "MISSING", "score": 0.0, "points": sum(worth.values()) or None,
             "message": "nothing was handed in", "cases": [], "diagnoses": [], "remarks": []}
            for one in (people.absent(_names(Store(out).entries())) if people else ())]


def _names(entries: list) -> list[str]:
    """Those of whom something was handed in, graded or not, each once."""
    return list(dict.fromkeys(plain(entry.student) for entry in entries))


def census(out: Path) -> list[str]:
    """What a teacher should know of roster and submissions, a sentence for each kind."""
    people = roster.of(out)
    if people is None:
        return []
    names = _names(Store(out).entries())
    absent, unknown = people.absent(names), people.unknown(names)
    lines = [f"{len(people.students)} on the roster, {len(absent)} without a submission"
             + (f": {_listed([s.name or s.id for s in absent])}" if absent else "")]
    if unknown:
        plural = "" if len(unknown) == 1 else "s"
        lines.append(f"{len(unknown)} submission{plural} of nobody on the roster: "
                     f"{_listed(unknown)}")
    return lines


def _listed(words: list[str], most: int = 20) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
