"""What a course makes of results: lateness, marks given by hand, the roster, several versions.

All of it lies beside the results (``OUT/course/``, ``OUT/exercises/``) and is applied whenever
gradebook, pages or exports are made. Records are never changed. The sums are in `totals`.
"""
from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from tinyvision import exercises
from tinyvision.exercises.lateness import Policy, duration, time
from tinyvision.grading import late, overrides, roster
from tinyvision.grading.roster import Roster
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
        worth: exercise -> its points, of all that anybody handed in.
    """
    policies: dict
    times: dict[str, datetime | None]
    given: list
    roster: Roster | None
    passed: dict[tuple[str, str], str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    worth: dict[str, float] = field(default_factory=dict)

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

    def points(self, record: dict) -> float | None:
        """How many there are; for a file of no exercise those of the only one that there is."""
        if record["exercise"] or len(self.worth) != 1:
            return record["points"]
        return next(iter(self.worth.values()))

    def owner(self, record: dict) -> str:
        """Whose it is: two names of one person are one student."""
        person = self.roster.find(record["student"]) if self.roster else None
        return person.id if person else record["student"]

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
        at, points = self.times.get(record["file"]), record["points"] or 0.0
        extra = self._extra(record["student"])
        found = policy.lateness(at, points, score, extra)
        if found is None:
            return score, 0.0, notes + _within(policy, at, extra)
        after = f", after an extension of {_hours(extra)}" if extra else ""
        return score, found.taken, [*notes, found.why + after]

    def _extra(self, student: str) -> float:
        found = self.roster.find(student) if self.roster else None
        return found.extra_hours if found else 0.0


def _within(policy: Policy, at: datetime | None, extra: float) -> list[str]:
    """A sentence where it came after the due date and only an extension makes it in time."""
    if not extra or at is None or at <= policy.due:
        return []
    hours = (at - policy.due) / timedelta(hours=1)
    return [f"{_hours(hours)} late, within an extension of {_hours(extra)}"]


def _hours(hours: float) -> str:
    """Extensions are given in hours: so is what is compared with them, up to a week."""
    return f"{hours:.3g} hour{'' if hours == 1 else 's'}" if 1 <= hours <= 168 else duration(hours)


def read(out: Path, records: list[dict] | None = None) -> Rules:
    """The rules of OUT, whose records may be given where they are read already. ValueError where
    one of the files is damaged."""
    out = Path(out)
    records = Store(out).records() if records is None else records
    policies = {name: Policy.of(about.get("due"), about.get("late"))
                for name, about in Store(out).exercises().items() if about.get("due")}
    rules = Rules(policies, read_times(out), overrides.read(out), roster.of(out),
                  unread=_read_unread(out), worth=worth(records))
    return replace(rules, passed=_passed(rules, records))


def worth(records: list[dict]) -> dict[str, float]:
    """Exercise -> its points, of all that anybody handed in."""
    return {r["exercise"]: r["points"] for r in records if r["exercise"] and r["points"]}


def _passed(rules: Rules, records: list[dict]) -> dict[tuple[str, str], str]:
    """Of several files of one student for one exercise: those that do not count. The best counts,
    of two alike the one nearer to the top of the folder."""
    versions: dict[tuple, list[dict]] = {}
    for record in records:
        if record["exercise"]:
            versions.setdefault((rules.owner(record), record["exercise"]), []).append(record)
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
    names = listed([one_line(what) for what in dict.fromkeys(unread.values())])
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


def listed(words: list[str], most: int = 20) -> str:
    """Words in a sentence, and how many more there are."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
