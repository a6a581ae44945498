"""Who has how many points: a row for each student, also for those of whom nothing is graded."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinyvision.grading import course, overrides, roster, submissions
from tinyvision.grading.course import listed
from tinyvision.grading.roster import Student
from tinyvision.grading.store import Store, plain


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
    rules, worth = course.read(out, records), course.worth(records)
    by_student: dict[str, list[dict]] = {}
    for record in [*records, *ungraded(out)]:
        by_student.setdefault(rules.owner(record), []).append(record)
    found = [_row(rules, mine, worth) for mine in by_student.values()]
    return found + [_absent_row(rules, record) for record in absent(out, records)]


def _absent_row(rules: course.Rules, record: dict) -> Row:
    """Of one who handed in nothing: no score, unless one was given by hand."""
    score, notes, given = overrides.applied(record, rules.given)
    scores = {record["exercise"]: score} if given and record["exercise"] else {}
    return Row(record["student"], rules.roster.find(record["student"]), score if given else None,
               record["points"] or 0.0, "MISSING", tuple(notes), (), scores)


def points(out: Path) -> dict[str, float]:
    """Exercise -> its points, of all that anybody handed in."""
    return course.worth(Store(out).records())


def _row(rules: course.Rules, records: list[dict], worth: dict[str, float]) -> Row:
    best: dict = {}
    for record in filter(rules.counts, records):
        score, notes = rules.score(record)
        if record["exercise"] not in best or _rank(score) > _rank(best[record["exercise"]][0]):
            best[record["exercise"]] = score, notes, record
    if len(best) > 1 and None in best and best[None][0] == 0:
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
    worth = course.worth([entry.record for entry in entries if entry.record])
    exercise, most = next(iter(worth.items())) if len(worth) == 1 else (None, None)
    return [{"student": plain(entry.student), "file": "", "exercise": exercise, "submission": "",
             "isolation": "", "verdict": "NOT_GRADED", "score": None, "points": most,
             "message": "the record is damaged" if entry.damaged else "not graded yet",
             "cases": [], "diagnoses": [], "remarks": []}
            for entry in entries if entry.record is None]


def absent(out: Path, records: list[dict]) -> list[dict]:
    """A record, verdict MISSING, for each student of the roster who handed in nothing."""
    people, worth = roster.of(out), course.worth(records)
    return [{"student": one.id, "file": "", "exercise": " ".join(worth) or None,
             "verdict": "MISSING", "score": 0.0, "points": sum(worth.values()) or None,
             "message": "nothing was handed in", "cases": [], "diagnoses": [], "remarks": []}
            for one in (people.absent(_names(Store(out).entries())) if people else ())]


def _names(entries: list) -> list[str]:
    """Those of whom something was handed in, graded or not, each once."""
    return list(dict.fromkeys(plain(entry.student) for entry in entries))


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


def census(out: Path) -> list[str]:
    """What a teacher should know of roster and submissions, a sentence for each kind."""
    people = roster.of(out)
    if people is None:
        return []
    names = _names(Store(out).entries())
    absent, unknown = people.absent(names), people.unknown(names)
    lines = [f"{len(people.students)} on the roster, {len(absent)} without a submission"
             + (f": {listed([s.name or s.id for s in absent])}" if absent else "")]
    if unknown:
        plural = "" if len(unknown) == 1 else "s"
        lines.append(f"{len(unknown)} submission{plural} of nobody on the roster: "
                     f"{listed(unknown)}")
    return lines
