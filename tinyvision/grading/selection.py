"""Which of the submissions are graded in this run: a shard, named students, verdicts again."""
from __future__ import annotations

import difflib
import re

from tinyvision.grading.verdict import Verdict


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
