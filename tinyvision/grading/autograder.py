"""Gradescope's autograder: the archive to upload, and what runs inside Gradescope's container.

The archive holds the assignment and this package. In the container the student's code runs in the
best sandbox that works there (`sandbox.probe`); ``results.json`` is written anew after every case,
so that a run that Gradescope ends still has results.
"""
from __future__ import annotations

import json
import secrets
import sys
import time
import traceback
import zipfile
from pathlib import Path

from tinyvision.exercises import Exercise, lateness
from tinyvision.exercises.files import load_file
from tinyvision.grading import late, sandbox, submissions
from tinyvision.grading.assignment import generator, prepare
from tinyvision.grading.examine import examine, whole
from tinyvision.grading.exports import gradescope
from tinyvision.grading.store import write
from tinyvision.grading.verdict import Verdict

PACKAGE = Path(__file__).parents[1]
MOST_FILES = 4                          # of a submission, examined to find the best
SETUP = """\
#!/usr/bin/env bash
# Run once by Gradescope, as root, when the image is built.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
apt-get install -y --no-install-recommends adduser bubblewrap util-linux python3 python3-venv{more}
python=
for candidate in python3.14 python3.13 python3.12 python3.11 python3; do
    if command -v "$candidate" > /dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    apt-get install -y --no-install-recommends python3.11 python3.11-venv
    python=python3.11
fi
"$python" -m venv /opt/tinyvision
/opt/tinyvision/bin/pip install --no-cache-dir 'numpy>=2.0' tqdm threadpoolctl
# What students must not read or write: solutions, the numbers of the tests, results.
adduser student --no-create-home --disabled-password --gecos ""
mkdir -p /autograder/results
chmod -R o= /autograder/source
chmod o= /autograder/results
"""
RUN = """\
#!/usr/bin/env bash
# Run by Gradescope for every submission, as root.
cd "$(dirname "$0")"
if [ -f source/autograder.json ]; then cd source; fi
# Where bubblewrap does not work, students' code at least does not run as root.
if id student > /dev/null 2>&1; then export TINYVISION_USER=student; fi
exec "${TINYVISION_PYTHON:-/opt/tinyvision/bin/python}" -m tinyvision.grading.autograder \\
    "${TINYVISION_AUTOGRADER:-/autograder}"
"""


# ---- the archive ---------------------------------------------------------------------------------

def archive(path: Path, exercise: Exercise, folder: Path, visibility: str = "visible") -> Path:
    """Write ``autograder.zip`` into a folder; its path. The secret behind the numbers stays in
    the folder, so that building again gives students the same numbers, and the same bytes."""
    secret = folder / "secret"
    if not secret.exists():
        write(secret, secrets.token_hex(16), 0o600)
    about = {"assignment": path.name, "name": exercise.name, "visibility": visibility}
    setup = SETUP.replace("{more}", " g++" if exercise.texts else "")
    files = {"setup.sh": setup.encode(), "run_autograder": RUN.encode(),
             "autograder.json": json.dumps(about, indent=1).encode(),
             path.name: path.read_bytes(), "secret": secret.read_bytes()} | _package()
    target = folder / "autograder.zip"
    part = folder / ".autograder.zip.part"
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name, data in files.items():
                zipped.writestr(_entry(name), data)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))    # no clock: the same bytes every time
    mode = 0o755 if name in ("setup.sh", "run_autograder") else 0o600 if name == "secret" else 0o644
    entry.external_attr = (0o100000 | mode) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _package() -> dict[str, bytes]:
    """This package's files by their names in the archive."""
    found = [path for path in sorted(PACKAGE.rglob("*"))
             if path.is_file() and "__pycache__" not in path.parts and "samples" not in path.parts
             and path.suffix in (".py", ".c", ".cpp", ".cu", ".cuh", ".h", ".hpp")]
    return {path.relative_to(PACKAGE.parent).as_posix(): path.read_bytes() for path in found}


# ---- in the container ----------------------------------------------------------------------------

def run(root: Path, source: Path = Path(".")) -> dict:
    """Grade ``root/submission``, write ``root/results/results.json``; the results.

    Arguments:
        root: Gradescope's folder, ``/autograder``.
        source: where the archive was unpacked.
    """
    start = time.monotonic()
    about = json.loads((source / "autograder.json").read_text(encoding="utf-8"))
    exercise = load_file(source / about["assignment"])
    rng = generator((source / "secret").read_bytes(), exercise.name)
    assignment, level = prepare(exercise, rng), sandbox.probe()[0]
    made = {}

    def keep(record: dict) -> None:
        score, notes = _after_lateness(record, exercise, root / late.METADATA)
        made.update(gradescope.results(record, score, notes, about["visibility"],
                                       time.monotonic() - start, numbers=False))
        write(root / "results" / "results.json", gradescope.text(made))
    keep(_best(handed_in(root / "submission", exercise.name), assignment, level, keep))
    return made


def handed_in(folder: Path, name: str) -> list[submissions.Submission]:
    """The files of a submission that may hold the work, the likeliest first: those that name the
    assignment, those that are called like it, then the others."""
    found = [submissions.read(path, "student", path.relative_to(folder).as_posix())
             for path in sorted(folder.rglob("*")) if path.suffix in submissions.SUFFIXES
             and not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts)]
    def rank(one):
        return (one.exercise == name, Path(one.file).stem == name, not one.problem)
    best = max(map(rank, found), default=None)
    return [one for one in found if rank(one) == best][:MOST_FILES]


def _best(files, assignment, level: str, keep) -> dict:
    """The record of the best of the files."""
    if not files:
        missing = submissions.Submission("student", "", problem="there is no .py or .ipynb file "
                                         "in the submission", verdict=Verdict.MISSING)
        return whole(missing, assignment, level, Verdict.MISSING, missing.problem)
    best = None
    for one in files:
        if one.problem:
            record = whole(one, assignment, level, one.verdict, one.problem)
        else:
            record, _ = examine(one, assignment, level, watch=lambda trials, one=one: keep(
                _so_far(one, assignment, level, trials, best)))
        if best is None or record["score"] > best["score"]:
            best = record
    return best


def _so_far(one, assignment, level: str, trials, best: dict | None) -> dict:
    """A record in the middle of a run: cases that have not run have earned nothing yet."""
    record = whole(one, assignment, level, Verdict.TIMEOUT, "the autograder was ended before all "
                   "tests had run")
    record["cases"] = [trials.case_record(i) if i in trials.verdicts else {
        "function": case.function, "name": case.name, "points": case.points, "earned": 0.0,
        "verdict": "TIMEOUT", "message": "not run: the autograder was ended before"}
        for i, case in enumerate(assignment.cases)]
    record["score"] = round(sum(case["earned"] for case in record["cases"]), 4)
    return record if best is None or record["score"] >= best["score"] else best


def _after_lateness(record: dict, exercise: Exercise, metadata: Path) -> tuple[float, list[str]]:
    """(score, sentences) by the assignment's policy and the time that Gradescope states."""
    policy = lateness.Policy.of(getattr(exercise, "due", None), getattr(exercise, "late", None))
    try:
        stated = json.loads(metadata.read_text(encoding="utf-8"))["created_at"]
        moment = lateness.time(stated)
    except (OSError, ValueError, KeyError, TypeError):
        return record["score"], []
    found = policy.lateness(moment, record["points"] or 0, record["score"])
    if found is None:
        return record["score"], []
    return round(record["score"] - found.taken, 4), [found.why]


def main(arguments: list[str]) -> int:
    """What ``run_autograder`` starts. A fault of the grader's leaves no results: Gradescope then
    says that the autograder failed, which is no zero."""
    root = Path(arguments[0] if arguments else "/autograder")
    try:
        made = run(root)
    except Exception:
        (root / "results" / "results.json").unlink(missing_ok=True)
        traceback.print_exc()
        return 1
    print(f"isolation: {' '.join(sandbox.probe())}; score {made['score']:g}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
