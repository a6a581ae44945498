"""What pages show, worked out of records: shares, mistakes, difficulty. No HTML here."""
from __future__ import annotations

import collections
from dataclasses import dataclass, field

FAULT = "GRADER_ERROR"
BY_HAND = ("GRADER_ERROR", "UNREADABLE", "MISSING")


@dataclass(frozen=True, eq=False)
class Item:
    """One submission on a page.

    Attributes:
        record: as kept.
        mark: what it counts, a `marks.Mark`.
        home: the name of the student's folder, and of the page's file.
        about: what is kept of its exercise (title, lecture), or {}.
    """
    record: dict
    mark: object
    home: str
    about: dict = field(default_factory=dict)

    @property
    def student(self) -> str:
        """The student's name."""
        return self.record["student"]

    @property
    def title(self) -> str:
        """The exercise's title, as far as it is known."""
        return self.about.get("title") or self.record["exercise"] or "no exercise"

    @property
    def share(self) -> float | None:
        """The part of the points that it has, a `marks.Mark`'s."""
        return self.mark.share


def by_student(items: list[Item]) -> dict[str, list[Item]]:
    """home -> items, in order."""
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(item.home, []).append(item)
    return found


def by_exercise(items: list[Item]) -> dict[str, list[Item]]:
    """exercise -> items, sorted by name; what belongs to no exercise is left out."""
    found = collections.defaultdict(list)
    for item in items:
        if item.record["exercise"]:
            found[item.record["exercise"]].append(item)
    return dict(sorted(found.items()))


def shares(items: list[Item]) -> list[float]:
    """The shares of those that have one, sorted."""
    return sorted(item.share for item in items if item.share is not None)


def mean(values: list[float]) -> float | None:
    """The mean; None of nothing."""
    return sum(values) / len(values) if values else None


def median(values: list[float]) -> float | None:
    """The median of sorted values; None of nothing."""
    middle = len(values) // 2
    if not values:
        return None
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


@dataclass(frozen=True, eq=False)
class Part:
    """An exercise, or one of those that an assignment is made of.

    Attributes:
        name, title, lecture: the exercise's.
        functions: what of the items is about it; None for everything.
        items: of those who handed it in.
    """
    name: str
    title: str
    lecture: str
    functions: frozenset[str] | None
    items: list

    def has(self, found: dict) -> bool:
        """Whether a case or a diagnosis is about this part."""
        return self.functions is None or found["function"] in self.functions

    @property
    def shares(self) -> list[float]:
        """The shares of those that have one, sorted."""
        found = map(self._share, self.items)
        return sorted(share for share in found if share is not None)

    def _share(self, item: Item) -> float | None:
        """Of an assignment's part what its functions earned, before lateness. A mark by hand for
        the whole says nothing of the parts of a program that did not run."""
        if self.functions is None or item.share is None:
            return item.share
        points, earned = 0.0, {}
        for case in filter(self.has, item.record["cases"]):
            points += case["points"]
            earned[case["function"]] = earned.get(case["function"], 0.0) + case["earned"]
        if not points:
            return None if item.share else 0.0
        given = item.mark.by_hand
        return sum(given.get(function, value) for function, value in earned.items()) / points


def parts(name: str, items: list[Item]) -> list[Part]:
    """What the items of one exercise are about: the exercise, or each part of an assignment."""
    about = items[0].about
    known = about.get("parts") or ()
    if len(known) < 2:
        return [Part(name, items[0].title, about.get("lecture", ""), None, items)]
    return [Part(part["name"], part["title"], part["lecture"], frozenset(part["functions"]), items)
            for part in known]


def histogram(values: list[float]) -> list[int]:
    """How many lie in each tenth; the eleventh bar holds those with everything right."""
    counts = [0] * 11
    for value in values:
        counts[min(10, max(0, int(10 * value + 1e-9)))] += 1
    return counts


@dataclass(frozen=True, eq=False)
class Common:
    """A mistake and who makes it: ``name`` is "" for what was not recognised, ``example`` the
    smallest call that shows it, or None."""
    function: str
    name: str
    hint: str
    example: dict | None
    items: list


def mistakes(part: Part) -> list[Common]:
    """The mistakes of one part, the most frequent first; a submission counts once."""
    found: dict[tuple[str, str], Common] = {}
    for item in part.items:
        for one in filter(part.has, item.record["diagnoses"]):
            key = (one["function"], one["name"])
            common = found.setdefault(key, Common(
                *key, one["hint"], one.get("counterexample"), []))
            if item not in common.items:
                common.items.append(item)
    return sorted(found.values(), key=lambda c: (not c.name, -len(c.items), c.function, c.name))


def difficulty(part: Part) -> list[tuple[str, str, float]]:
    """(function, case, share of the points that were earned) of one part's cases, in order.
    A submission that did not come to its cases has earned nothing in any."""
    earned, points = collections.Counter(), {}
    judged = [item for item in part.items if item.record["verdict"] != FAULT]
    for item in judged:
        for case in filter(part.has, item.record["cases"]):
            key = (case["function"], case["name"])
            points[key] = case["points"]
            earned[key] += case["earned"]
    return [(*key, earned[key] / (points[key] * len(judged)) if points[key] else 0.0)
            for key in points]


def to_look_at(items: list[Item]) -> list[tuple[Item, str]]:
    """(item, why): our own faults, what could not be read, and what was remarked in the source."""
    found = []
    for item in items:
        if item.record["verdict"] in BY_HAND:
            found.append((item, item.record["message"]))
        elif item.record["remarks"]:
            found.append((item, "; ".join(item.record["remarks"][:4])))
    return found
