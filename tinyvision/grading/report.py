"""Gradebook and pages, made of the records in OUT alone: nothing of a student's runs again.

    OUT/gradebook.csv          a row per submission
    OUT/report.html            the class page
    OUT/similar.html           what is alike, side by side
    OUT/students/NAME.html     a page for each student
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tinyvision.grading import course, marks, similarity, totals
from tinyvision.grading.gradebook import gradebook
from tinyvision.grading.pages import data, pictures
from tinyvision.grading.pages.overview import class_page
from tinyvision.grading.pages.sidebyside import similar_page
from tinyvision.grading.pages.student import TITLE, student_page
from tinyvision.grading.store import Store, folder_name, one_line, write


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        gradebook, page, students: the two files and the folder of the students' pages.
        records: how many there were.
        groups: `similarity.Group` of what is alike.
        missing: a sentence for each submission without a record: not graded yet, or damaged.
        notes: sentences on roster and submissions.
    """
    gradebook: Path
    page: Path
    students: Path
    records: int
    groups: list
    missing: list
    notes: list


def write_report(out: Path, numbers: bool | None = None) -> Report:
    """Write everything that can be made of the records in OUT.

    Arguments:
        out: the folder.
        numbers: whether students see the numbers of their cases; None: as the last time, at first
            they do.
    Raises ValueError where no records are to be found, OSError where it cannot be written.
    """
    store = Store(out)
    entries = store.entries()
    items = read_items(store, entries)
    missing = [f"{one_line(entry.student)}: {_why(entry, store)}" for entry in entries
               if entry.record is None]
    groups = similarity.groups(store, [(item.home, item.record) for item in items])
    others = _others(store, items)
    _write_gradebook(store, [*items, *others])
    notes = totals.census(store.out)
    numbers = _remembered(store, numbers)
    for home, own in data.by_student(items).items():
        write(store.out / "students" / f"{home}.html", student_page(own[0].student, own, numbers))
    absent = [item for item in others if item.record["verdict"] == "MISSING"]
    write(store.out / "report.html", class_page(items, groups, missing, notes, absent))
    write(store.out / "similar.html", similar_page(groups))
    _remove_pages(store.out / "students", {item.home for item in items})
    return Report(store.out / "gradebook.csv", store.out / "report.html", store.out / "students",
                  len(items), groups, missing, notes)


def _others(store: Store, items: list) -> list[data.Item]:
    """What has a mark and no record, and so no page: what is not graded yet, then those on the
    roster who handed in nothing."""
    records = [item.record for item in items]
    rules = course.read(store.out, records)
    return [data.Item(record, marks.mark(record, rules), "") for record in
            [*totals.ungraded(store.out), *totals.absent(store.out, records)]]


def _write_gradebook(store: Store, items: list) -> None:
    """A row for each."""
    write(store.out / "gradebook.csv", gradebook([item.record for item in items],
                                                 [item.mark for item in items]))


def _remove_pages(folder: Path, homes: set[str]) -> None:
    """Remove the pages of those who are no longer there, as of another class before; a file that
    is no page of ours stays."""
    for path in folder.glob("*.html"):
        if path.stem not in homes and TITLE.encode() in path.read_bytes()[:4096]:
            path.unlink()


def _remembered(store: Store, numbers: bool | None) -> bool:
    """Whether students see numbers: kept in OUT, so that the next grading keeps to it."""
    path = store.out / "pages.json"
    if numbers is None:
        return not path.exists() or _kept_choice(path)
    write(path, json.dumps({"numbers": numbers}) + "\n")
    return numbers


def _kept_choice(path: Path) -> bool:
    """What `_remembered` wrote. A damaged file is no leave to show what may be hidden."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))["numbers"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}): say again whether students see numbers, "
                         f"with 'tinyvision report {path.parent} --numbers' or --no-numbers"
                         ) from None
    return bool(kept)


def write_similar(out: Path) -> tuple[list, Path]:
    """(what is alike in OUT, the page that shows it). Raises as `write_report` does."""
    store = Store(out)
    items = read_items(store, store.entries())
    groups = similarity.groups(store, [(item.home, item.record) for item in items])
    write(store.out / "similar.html", similar_page(groups))
    return groups, store.out / "similar.html"


def read_items(store: Store, entries: list) -> list[data.Item]:
    """The records of OUT with their marks and exercises, as pages take them."""
    records = [entry.record for entry in entries if entry.record is not None]
    about, rules = store.exercises(), course.read(store.out, records)
    return [data.Item(entry.record, marks.mark(entry.record, rules), folder_name(entry.student),
                      about.get(entry.record["exercise"], {}))
            for entry in entries if entry.record is not None]


def _why(entry, store: Store) -> str:
    if entry.damaged:
        return (f"the record {entry.path.relative_to(store.out)} is damaged; "
                "'tinyvision grade' with the same folders makes it again")
    return "not graded yet"


def figures(record: dict, most: int | None = None) -> str:
    """HTML figures of a record's first failing cases: expected, yours, difference."""
    cases = [case for case in record["cases"] if case.get("picture")][:most]
    return "".join(pictures.figure(case["picture"], _caption(case)) for case in cases)


def _caption(case: dict) -> str:
    place = pictures.place(case["picture"])
    return f"{case['function']}, {case['name']}" + (f": {place}" if place else "")
