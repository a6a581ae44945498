"""Which of the submissions are graded in this run: one assignment's of a course, a shard, named
students, verdicts again."""
from __future__ import annotations

import collections
import difflib
import re
from pathlib import Path

from tinyvision.grading.verdict import Verdict


NEARLY_ALL = 0.9                        # of the students: then a folder has nbgrader's layout


def of_assignment(found: list, name: str, folder: Path) -> tuple[list, list]:
    """(the submissions of one assignment, those left out as other assignments').

    A course of nbgrader's has ``STUDENT/ASSIGNMENT/FILE``. Whether a folder is one is seen in the
    whole class: one student's subfolder of the assignment's name does not make it one. Where it
    is none, nothing is left out; where it is, still nobody who has no such level at all.

    Arguments:
        found: `submissions.Submission` objects.
        name: the assignment's.
        folder: where they were found.
    """
    if not _of_nbgrader(found, name, Path(folder)):
        return found, []
    kept = [one for one in found if _level(one) in (name, "")]
    return kept, [one for one in found if _level(one) not in (name, "")]


def _level(one) -> str:
    """The folder between a student's and the file, "" without one; archives are no folders."""
    parts = one.file.split("/")
    return parts[1] if len(parts) > 2 and not parts[0].lower().endswith(".zip") and not parts[
        1].lower().endswith(".zip") else ""


def _of_nbgrader(found: list, name: str, folder: Path) -> bool:
    """Whether nearly every student has folders only, of names that others have, too."""
    levels = collections.defaultdict(set)
    for one in found:
        if "/" in one.file or not one.problem:          # an empty folder says nothing
            levels[one.student].add(_level(one))
    users = collections.Counter(level for some in levels.values() for level in some)
    course = "submitted" in (folder.name, *(path.name for path in folder.glob("submitted")))
    fits = sum("" not in some and (course or any(level == name or users[level] > 1
                                                 for level in some)) for some in levels.values())
    enough = users[name] > 0 and (course or 2 * users[name] >= len(levels))
    return enough and fits >= NEARLY_ALL * len(levels)


def left_out(chosen: list, others: list) -> list[str]:
    """What `of_assignment` left out, in a sentence; none where that is nothing."""
    if not others:
        return []
    there = {one.student for one in chosen}
    absent = list(dict.fromkeys(one.student for one in others if one.student not in there))
    names = sorted({_level(one) for one in others})
    more = f"; nothing else is there of {', '.join(absent)}" if absent else ""
    return [f"{len(others)} of other assignments ({', '.join(names)}){more}"]


def shard(text: str) -> tuple[int, int]:
    """``"3/16"`` as (3, 16): the third of sixteen. ValueError where it is none."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f"{text!r} is no shard; write 1/16, 2/16, … 16/16")
    return int(found[1]), int(found[2])


def verdicts(text: str) -> tuple[str, ...]:
    """``"TIMEOUT,GRADER_ERROR"`` as verdicts. ValueError names what there is."""
    known = [verdict.value for verdict in Verdict]
    chosen = tuple(word.strip().upper() for word in text.split(",") if word.strip())
    for word in chosen:
        if word not in known:
            raise ValueError(f"there is no verdict {word!r}; there are "
                             f"{', '.join(known)}")
    return chosen


def choose(tasks: list, part: str | None, only) -> list:
    """The tasks of a shard and of some students, in order.

    Arguments:
        tasks: with a ``submission`` each, sorted.
        part: ``"3/16"``: every sixteenth student from the third on; or None for all. All files
            of a student are in one shard.
        only: names of students; none for all. ValueError names those who handed in nothing.
    """
    students = sorted({task.submission.student for task in tasks})
    chosen = set(students)
    if part is not None:
        number, of = shard(part)
        chosen = set(students[number - 1::of])
    for name in only:
        if name not in students:
            near = difflib.get_close_matches(name, students, 1, 0.0)[0]
            raise ValueError(f"grade: --only: nobody called {name!r} handed something in; did you "
                             f"mean {near!r}?")
    chosen &= set(only) or chosen
    return [task for task in tasks if task.submission.student in chosen]


def again(record: dict, rerun) -> bool:
    """Whether a finished record has one of these verdicts, as a whole or in one case."""
    return record["verdict"] in rerun or any(case["verdict"] in rerun for case in record["cases"])
