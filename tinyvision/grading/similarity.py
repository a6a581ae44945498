"""What looks copied, in a class and from what ships with tinyvision. For a person to read, never a
mark.

Two submissions are alike where they share a large part of the shorter one's `fingerprints`. Those
of the file that everybody started from do not count, nor those that a large part of the class has:
some lines have only one good way to be written.
"""
from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyvision.grading.fingerprints import Text, prepare

FEWEST = 10                             # fingerprints in common, below which nothing is said
ALIKE = 0.6                             # of the shorter one's fingerprints
COMMON, COMMON_LEAST = 0.25, 5          # of a class, and students, above which all have it


@dataclass(frozen=True, eq=False)
class Member:
    """One of those that are alike.

    Attributes:
        home: the student's folder; "" for what ships with tinyvision.
        label: the student's name and file, or the shipped file's path.
        text: its `Text`.
        file: its path below the folder of submissions; "" for what ships.
    """
    home: str
    label: str
    text: Text
    file: str = ""


@dataclass(frozen=True, eq=False)
class Group:
    """Submissions that are alike; what ships with tinyvision stands last.

    Attributes:
        exercise: its name.
        members: two or more.
        share: the largest part of the shorter text's fingerprints that two of them share.
        why: in words.
        counting: the fingerprints that count: what is not in the stub and not common.
        own: all that is not in the stub.
    """
    exercise: str
    members: list
    share: float
    why: str
    counting: frozenset
    own: frozenset = frozenset()


def groups(store, records: list[tuple[str, dict]]) -> list[Group]:
    """All groups of a graded folder, the most alike first.

    Arguments:
        store: the `store.Store` that holds the sources.
        records: (the student's folder, record) of every submission.
    """
    about, classes = store.exercises(), {}
    for home, record in records:
        source = store.source(record)
        if source is not None and record["exercise"]:
            label = record["student"] if record["student"] in record["file"] else record["file"]
            classes.setdefault(record["exercise"], []).append(
                Member(home, label, prepare(source, record["file"]), record["file"]))
    found = [group for exercise, members in sorted(classes.items())
             for group in in_class(exercise, members, about.get(exercise, {}))]
    return sorted(found, key=lambda group: -group.share)


def in_class(exercise: str, members: list[Member], about: dict) -> list[Group]:
    """The groups of one exercise; ``about`` has its ``stub`` and ``solution`` as texts."""
    files: dict[str, Member] = {}
    for member in members:              # a file that a group handed in is one
        files.setdefault(member.file or member.label, member)
    members = list(files.values())
    stub = set(prepare(about.get("stub", "")).prints)
    own = [set(member.text.prints) - stub for member in members]
    twins = _identical(members, own)
    anything = frozenset().union(*own)
    counting = anything - _common(own, [member.home for member in members])
    own = [prints & counting for prints in own]
    links = [(i, j, share) for i, j, share in [*_links(own), *((i, j, 1.0) for i, j in twins)]
             if members[i].home != members[j].home]
    made = [_group(exercise, [members[i] for i in component],
                   max(share for i, _, share in links if i in component), counting, anything)
            for component in _components(links)]
    return made + _shipped(exercise, members, own, about.get("solution", ""), counting)


def _common(own: list[set], homes: list[str]) -> set:
    """Fingerprints that so many students have that they say nothing."""
    students: dict[int, set] = {}
    for prints, home in zip(own, homes):
        for value in prints:
            students.setdefault(value, set()).add(home)
    most = max(COMMON_LEAST, COMMON * len(set(homes)))
    return {value for value, who in students.items() if len(who) > most}


def overlap(own: list[set]) -> np.ndarray:
    """How many fingerprints each two have in common, (n, n): one product of matrices."""
    names = {value: column for column, value in enumerate(sorted(set().union(*own)))}
    table = np.zeros((len(own), len(names)), np.float32)
    for row, prints in enumerate(own):
        table[row, [names[value] for value in prints]] = 1
    return table @ table.T


def _links(own: list[set]) -> list[tuple[int, int, float]]:
    shared = overlap(own)
    sizes = np.array([len(prints) for prints in own])
    share = shared / np.maximum(1, np.minimum(sizes[:, None], sizes))
    rows, columns = np.nonzero((share >= ALIKE) & (shared >= FEWEST))
    return [(int(i), int(j), float(share[i, j])) for i, j in zip(rows, columns) if i < j]


def _identical(members: list[Member], own: list[set]) -> list[tuple[int, int]]:
    """Those whose tokens are the same from first to last, if there is something of their own."""
    first: dict[tuple, int] = {}
    found = []
    for i, member in enumerate(members):
        if len(own[i]) >= FEWEST:
            j = first.setdefault(tuple(member.text.tokens), i)
            if j != i:
                found.append((j, i))
    return found


def _components(links) -> list[list[int]]:
    """The groups that links make, each sorted."""
    leader: dict[int, int] = {}

    def find(i):
        while leader.setdefault(i, i) != i:
            i = leader[i]
        return i
    for i, j, _ in links:
        a, b = sorted((find(i), find(j)))
        leader[b] = a
    found: dict[int, list[int]] = {}
    for i in sorted(leader):
        found.setdefault(find(i), []).append(i)
    return list(found.values())


def _group(exercise: str, members: list[Member], share: float, counting, own) -> Group:
    same = len({tuple(member.text.tokens) for member in members}) == 1
    why = "the same after renaming" if same else "much in common"
    if len({member.text.text for member in members}) == 1:
        why = "the same, letter for letter"
    return Group(exercise, members, share, why, counting, own)


def _shipped(exercise, members, own, solution: str, counting) -> list[Group]:
    """Submissions that are like the shipped solution, or a file of ``tinyvision/ops``."""
    found = []
    texts = {"the shipped solution": prepare(solution), **library()}
    theirs = {label: set(text.prints) for label, text in texts.items()}
    for member, prints in zip(members, own):
        shared = {label: len(prints & others) for label, others in theirs.items()}
        label = max(shared, key=shared.get)
        share = shared[label] / max(1, len(prints))
        if shared[label] >= FEWEST and share >= ALIKE:
            found.append(Group(exercise, [member, Member("", label, texts[label])], share,
                               "like what is shipped", counting))
    return found


@functools.cache
def library() -> dict[str, Text]:
    """The files of ``tinyvision/ops``, prepared."""
    folder = Path(__file__).parents[1] / "ops"
    return {f"tinyvision/ops/{path.name}": prepare(path.read_bytes())
            for path in sorted(folder.glob("*.py"))}
