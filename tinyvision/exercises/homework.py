"""An assignment: several exercises and an instructor's own put together as one `Exercise`.

    EXERCISE = homework("hw3", ["conv2d", "nms"], globals(), points={"conv2d": 6, "nms": 4})

To the grader it is an exercise like any other. What it has besides (a due date, what lateness
costs) is data that is used when marks are put together, not when code runs.
"""
from __future__ import annotations

import dataclasses
import hashlib
import inspect
import re
import types
from dataclasses import dataclass, field
from typing import Mapping, Sequence

from tinyvision.exercises.exercise import Case, Exercise
from tinyvision.exercises.lateness import Policy

OWN = ("name", "title", "lecture", "source", "functions", "cases", "mistakes", "driver")
PARTS_LINE = re.compile(rb"# tinyvision parts: ((?:\w{1,40}:[\d.]{1,9} ?){1,60})")
ELSEWHERE_LINE = re.compile(
    rb"# tinyvision only the instructor checks: ((?:[\w-]{1,60}:[\d.]{1,9} ?){1,60})")
TABLE_LINE = "<!-- the table of points: build writes it here -->"
TABLE_HEAD = "| exercise | points |\n|---|---|\n"
MOST_VARIED = 999_999_999               # nine digits: what PARTS_LINE has room for
FUTURE = "from __future__ import annotations"


@dataclass(frozen=True, eq=False)
class Homework(Exercise):
    """An exercise made of others.

    Attributes:
        parts: their names, in order.
        due: when it is due, such as ``"2026-12-01 23:59 +01:00"``, or None.
        late: what lateness costs; see `lateness.Policy`.
        vary: the seed of the conventions, or None for the usual ones.
        drivers: of the parts that have one.
        catalogue: points of each part that is of the catalogue.
        rows: (title, points) of each part.
        elsewhere: points of parts that stand only in the instructor's file, in a homework that
            was made from a student's.
    """
    parts: tuple[str, ...] = ()
    due: str | None = None
    late: dict = field(default_factory=dict)
    vary: int | None = None
    drivers: tuple = ()
    catalogue: dict = field(default_factory=dict)
    rows: tuple = ()
    elsewhere: dict = field(default_factory=dict)

    @property
    def points(self) -> float:
        """The sum of all points, without what adding up fractions leaves behind."""
        return round(super().points, 4)

    @property
    def driver_text(self) -> str:
        """The sources of all parts' drivers, one after the other."""
        texts = [inspect.getsource(module).replace(FUTURE, "") for module in self.drivers]
        return "\n\n".join([FUTURE, *texts]) if texts else ""


def homework(name: str, parts: Sequence, functions: Mapping | None = None,
             points: Mapping | None = None, title: str = "", due: str | None = None,
             late: Mapping | None = None, vary: int | None = None) -> Homework:
    """Put exercises together.

    Arguments:
        name: what students' files are known by, such as ``"hw3"``.
        parts: names of exercises, or `Exercise` objects of your own.
        functions: where the solutions are looked up, ``globals()`` of the assignment's file; a
            function that is not there is the exercise's own.
        points: part -> its points in all; its cases are scaled to that. Others keep theirs.
        due, late: see `Homework`.
        vary: change the conventions of the catalogue's exercises (`vary.varied`) by this seed.

    ValueError names an unknown exercise, a function that two parts define, points of no part, a
    due date or a late policy that says nothing.
    """
    _check_seed(name, vary)
    made = [_part(part, vary) for part in parts]
    _check(name, made, points or {})
    Policy.of(due, late)
    made = [_scaled(part, (points or {}).get(part.name)) for part in made]
    drivers = tuple(part.driver for part in made if part.driver)
    return Homework(
        name=name, title=title or name, lecture="; ".join(_once(p.lecture for p in made)),
        source="; ".join(_once(p.source for p in made)),
        functions={f: (functions or {}).get(f, own) for p in made
                   for f, own in p.functions.items()},
        cases=_Cases(made), mistakes=tuple(m for p in made for m in p.mistakes),
        parts=tuple(part.name for part in made), drivers=drivers, driver=_driver(drivers),
        due=due, late=dict(late or {}), vary=vary,
        catalogue={part.name: round(part.points, 4) for part, given in zip(made, parts)
                   if isinstance(given, str)},
        rows=tuple((part.title, round(part.points, 4)) for part in made), **_merged(made))


def parts_of(exercise: Exercise) -> list[Exercise]:
    """The exercises that one is made of, as they are in it; of one that is no homework itself."""
    return list(exercise.cases.parts) if isinstance(exercise, Homework) else [exercise]


def points_table(exercise: Exercise) -> str:
    """What each exercise is worth, as a table in Markdown."""
    rows = getattr(exercise, "rows", ()) or ((exercise.title, exercise.points),)
    return TABLE_HEAD + "\n".join(f"| {title} | {points:g} |" for title, points in rows)


def parts_line(exercise: Homework) -> str:
    """What a student's file says so that `check` finds the parts of the catalogue and knows of the
    others; "" for none of the catalogue."""
    words = [f"{name}:{points:g}" for name, points in exercise.catalogue.items()]
    words += [f"vary:{exercise.vary}"] if exercise.vary is not None else []
    line = f"# tinyvision parts: {' '.join(words)}"
    own = [f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)[:60]}:{points:g}"
           for name, (_, points) in zip(exercise.parts, exercise.rows)
           if name not in exercise.catalogue]
    line += f"\n# tinyvision only the instructor checks: {' '.join(own)}" if own else ""
    return line if exercise.catalogue else ""


def from_parts_line(source: bytes, name: str) -> Homework | None:
    """The assignment that a student's file (or notebook) is of, as far as it is of the catalogue;
    None where the file does not say, or says what there is not."""
    found = PARTS_LINE.search(source[:1 << 20])
    if found is None:
        return None
    words = [word.split(":") for word in found[1].decode().split()]
    vary = next((int(value) for key, value in words if key == "vary"), None)
    points = {key: float(value) for key, value in words if key != "vary"}
    made = homework(name, list(points), points=points, vary=vary)
    others = ELSEWHERE_LINE.search(source[:1 << 20])
    words = [word.split(":") for word in others[1].decode().split()] if others else []
    return dataclasses.replace(made, elsewhere={key: float(value) for key, value in words})


def _part(part, vary: int | None) -> Exercise:
    if isinstance(part, Exercise):
        return part
    from tinyvision.exercises import load
    exercise = load(part)
    if vary is None:
        return exercise
    from tinyvision.exercises.vary import varied
    return varied(exercise, vary)


def _once(words) -> list[str]:
    return list(dict.fromkeys(words))


def _check_seed(name: str, vary) -> None:
    if vary is not None and (type(vary) is not int or not 0 <= vary <= MOST_VARIED):
        raise ValueError(f"homework {name}: vary={vary!r} is no seed; give a whole number from 0 "
                         f"to {MOST_VARIED}, or leave it out for the usual conventions")


def _check(name: str, parts: list[Exercise], points: Mapping) -> None:
    if not parts:
        raise ValueError(f"homework {name}: no exercises; name at least one, such as 'conv2d'")
    owner: dict[str, str] = {}
    for part in parts:
        for function in part.functions:
            if owner.get(function) == part.name:
                raise ValueError(f"homework {name}: {part.name} is named twice; name it once")
            if function in owner:
                raise ValueError(f"homework {name}: {owner[function]} and {part.name} both define "
                                 f"the function {function}; take one of them")
            owner[function] = part.name
    names = [part.name for part in parts]
    for key, value in points.items():
        if key not in names:
            raise ValueError(f"homework {name}: points of {key!r}, which is none of its parts "
                             f"({', '.join(names)})")
        if not isinstance(value, (int, float)) or not 0 < value < 1e6:
            raise ValueError(f"homework {name}: {value!r} points for {key}; give a positive number")


def _scaled(part: Exercise, points: float | None) -> Exercise:
    return part if points is None else dataclasses.replace(part, cases=_Scaled(part.cases, points))


class _Scaled:
    """Cases whose points sum up to a number, in hundredths; the last case takes what is left."""

    def __init__(self, cases, points: float):
        self.cases, self.points = cases, points

    def __call__(self, rng) -> list[Case]:
        cases = list(self.cases(rng))
        before = sum(case.points for case in cases)
        worth = [round(case.points * self.points / before, 2) for case in cases]
        worth[-1] = round(self.points - sum(worth[:-1]), 4)
        return [dataclasses.replace(case, points=new) for case, new in zip(cases, worth)]


class _Cases:
    """The cases of all parts, one part after the other. Each has numbers of its own, so a part's
    numbers do not change when another is put before it."""

    def __init__(self, parts: list[Exercise]):
        self.parts = parts

    def __call__(self, rng) -> list[Case]:
        import numpy as np
        seed = [int(n) for n in rng.integers(0, 2 ** 32, 4)]
        found = []
        for part in self.parts:
            name = hashlib.sha256(part.name.encode()).digest()[:8]
            own = np.random.default_rng([*seed, int.from_bytes(name, "little")])
            found += part.cases(own)
        return found


def _merged(parts: list[Exercise]) -> dict:
    """Every other field of an exercise: tables are joined, the rest must agree where it is set."""
    merged = {}
    for item in dataclasses.fields(Exercise):
        if item.name in OWN:
            continue
        values = [getattr(part, item.name) for part in parts]
        if all(isinstance(value, dict) for value in values):
            merged[item.name] = {key: one for value in values for key, one in value.items()}
        elif all(isinstance(value, bool) for value in values):
            merged[item.name] = any(values)
        elif all(isinstance(value, tuple) for value in values):
            merged[item.name] = tuple(_once(one for value in values for one in value))
        else:
            merged[item.name] = _agreed(item, parts, values)
    return merged


def _agreed(item, parts, values):
    default = item.default if item.default is not dataclasses.MISSING else None
    if any(value != values[0] for value in values):
        odd = next(part.name for part, value in zip(parts, values) if value != default)
        raise ValueError(f"homework: {odd} cannot stand beside other exercises in one assignment "
                         f"(its {item.name} differs); hand it out by itself")
    return values[0]


def _driver(drivers) -> types.ModuleType | None:
    """One module with what all of them define; ValueError where two define the same name."""
    if not drivers:
        return None
    merged = types.ModuleType("drivers")
    for module in drivers:
        for name, value in vars(module).items():
            ours = getattr(value, "__module__", None) == module.__name__
            if ours and hasattr(merged, name):
                raise ValueError(f"homework: two exercises' drivers define {name}; hand one of "
                                 "them out by itself")
            if ours:
                setattr(merged, name, value)
    return merged
