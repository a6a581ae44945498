"""When work was handed in, as far as a folder of submissions says so. No clock is ever read."""
from __future__ import annotations

import json
import re
from pathlib import Path

from tinyvision.exercises.lateness import time
from tinyvision.grading.submissions import home_of

METADATA = "submission_metadata.json"
LATE = "late"
UNREAD = "unread: "                     # before the name of what should have told a time
NO_ZONE = " (no time zone; write one behind it, such as +01:00)"


def times(folder, found) -> dict[str, str]:
    """File -> when it was handed in, as far as a folder of submissions tells.

    Arguments:
        folder: of submissions.
        found: its `submissions.Submission` objects.

    Believed are, in this order, a pattern's ``timestamp``, Gradescope's ``submission_metadata.yml``
    beside the students' folders, and nbgrader's ``timestamp.txt`` or Gradescope's
    ``submission_metadata.json`` in the file's folder or one above it. The times of the files
    themselves are not used: copying changes them. What Canvas marks as late has the time `LATE`:
    how late it is not told.
    """
    folder, listed, stated = home_of(Path(folder)), {}, {}
    for path in sorted(folder.glob("submission_metadata.y*ml")):
        listed |= _of_export(path)
    for one in found:
        home = one.file.partition("/")[0]
        moment = _stamp(one.timestamp) or listed.get(home) or _beside(folder, one.file)
        if moment or one.late:
            stated[one.file] = moment or LATE
    return stated


def unread(folder, found, known) -> dict[str, str]:
    """File -> the name of what should tell when it was handed in and cannot be understood, and
    whether only the zone is missing; files whose time is ``known`` (of `times`) are left out. The
    other arguments as there."""
    folder, doubtful = home_of(Path(folder)), {}
    for one in found:
        beside = next((home / name for home in _homes(folder, one.file)
                       for name in ("timestamp.txt", METADATA) if (home / name).exists()), None)
        if one.file not in known and (one.timestamp or beside):
            name = repr(one.timestamp) if one.timestamp else beside.relative_to(folder).as_posix()
            text = one.timestamp or _said(beside) or ""
            doubtful[one.file] = name + NO_ZONE * bool(_stamp(f"{text} UTC"))
    return doubtful


def _homes(folder: Path, file: str) -> list[Path]:
    """The folders from the student's down to the file's own: what stands further up was put there
    by the system that collected, what stands below may have been handed in."""
    return [home for home in (folder / file).parents if folder in home.parents][::-1]


def _stamp(text: str | None) -> str | None:
    try:
        return time(text).isoformat() if text else None
    except ValueError:
        return None


def _beside(folder: Path, file: str) -> str | None:
    """What stands in the folders from the student's down to the file's own."""
    for home in _homes(folder, file):
        for name in ("timestamp.txt", METADATA):
            moment = _of_file(home / name)
            if moment:
                return moment
    return None


def _of_file(path: Path) -> str | None:
    return _stamp(_said(path))


def _said(path: Path) -> str | None:
    """What a file says of the time, as it is written there."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")[:1 << 20]
        return text.strip() if path.suffix == ".txt" else str(json.loads(text)["created_at"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None                     # a student can hand in such a file, too


def _of_export(path: Path) -> dict[str, str]:
    """Gradescope's list of an export: a line ``submission_ID:``, below it ``:created_at:``."""
    found, folder = {}, None
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        begins = re.match(r"^['\"]?([\w.-]+)['\"]?:\s*$", line)
        created = re.match(r"^\s+:?created_at:\s*['\"]?(.+?)['\"]?\s*$", line)
        if begins:
            folder = begins[1]
        elif created and folder and folder not in found:
            try:
                found[folder] = time(created[1]).isoformat()
            except ValueError:
                pass                                # said in no form that is known: not known
    return found
