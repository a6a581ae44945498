"""The threat list, row by row: every verdict, no mark undeserved, nobody else harmed."""
from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from tinyvision.grading import (assignment, doctor, grade, sandbox, store, submissions, verdict)
from tinyvision.grading.inside import answering

LEVEL, WHY = sandbox.probe()
if LEVEL != "strong":
    pytest.skip("the threat list is not run: it needs isolation strong, and this machine has "
                f"{LEVEL} ({WHY}); install bubblewrap and see `tinyvision doctor`",
                allow_module_level=True)

import hostile_corpus  # noqa: E402  (it makes links and pipes, which Windows has not)

ROWS = range(1, 62)
SEED = "threats"                        # no case has, by chance, the public numbers
LIMIT, BUSY = 4.0, 20.0                 # seconds a case may take; for starting on a busy machine
CANARIES = ("tinyvision-owned", "/tmp/tinyvision-owned", "/root/tinyvision-was-here",
            *(f"/{folder}/tinyvision-remembers" for folder in ("tmp", "var/tmp", "dev/shm")))


class Host:
    """What a submission could have changed on this machine."""

    def __init__(self, folder: Path):
        self.bait = folder / "bait"
        self.bait.write_text("untouched")
        self.files, self.processes = self.temporary(), self.sandboxes()

    @staticmethod
    def temporary() -> set[str]:
        """What lies in the grader's temporary folder."""
        return set(os.listdir(tempfile.gettempdir()))

    @staticmethod
    def sandboxes() -> set[str]:
        """Processes of this test's sandboxes: workers, and whatever a student started."""
        ours = sandbox.jail.grader_folder().encode()
        return {path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline")
                if ours in commands(path)}

    def unchanged(self) -> bool:
        """Nothing is left; processes that are ending get some seconds to do so."""
        deadline = time.monotonic() + BUSY
        while self.sandboxes() - self.processes and time.monotonic() < deadline:
            time.sleep(0.05)
        return (self.bait.read_text() == "untouched" and self.temporary() <= self.files
                and not self.sandboxes() - self.processes
                and not any(map(os.path.exists, CANARIES)))


def commands(path: Path) -> bytes:
    """A process's command line; nothing once it has ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


class Run:
    """The whole corpus, graded once with four workers."""

    def __init__(self, folder: Path):
        self.folder, self.out = folder / "all", folder / "out"
        self.expected = hostile_corpus.build(self.folder)
        host = Host(folder)
        start = time.perf_counter()
        self.summary = grade(self.folder, self.out, jobs=4, seed=SEED, progress=False)
        self.seconds, self.unchanged = time.perf_counter() - start, host.unchanged()
        self.records = {record["student"]: record for record in self.summary.records}


@pytest.fixture(scope="module", autouse=True)
def patience():
    """Twice the usual limit: how long a search of the disk takes depends on who else uses it. What
    never ends takes any."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assignment, "LEAST_SECONDS", LIMIT)
        yield


@pytest.fixture(scope="module")
def run(patience, tmp_path_factory):
    sandbox.jail.numpy_site()           # its folder stays for the whole process
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield Run(tmp_path_factory.mktemp("hostile"))


def row_of(student: str) -> int:
    """A student's row; the odd names that must not begin with a number are of row 52."""
    found = re.match(r"(\d\d)_", student)
    return int(found[1]) if found else 52


def test_every_row_of_the_list_is_there(run):
    assert {row_of(student) for student in run.expected} == set(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_each_row_has_the_lists_verdict_and_no_more_points_than_it_deserves(run, row):
    mine = {student: expected for student, expected in run.expected.items()
            if row_of(student) == row}
    got = {student: run.records[store.plain(student)] for student in mine}
    assert {student: (record["verdict"], record["score"]) for student, record in got.items()} \
        == {student: (expected.verdict, expected.points) for student, expected in mine.items()}
    assert {student: bool(record["remarks"]) for student, record in got.items()} \
        == {student: expected.flagged for student, expected in mine.items()}


def test_nothing_is_left_on_the_host(run):
    assert run.unchanged


def test_every_submission_has_exactly_one_record_and_no_fault_of_ours(run):
    assert len(run.summary.records) == len(run.records) == len(run.expected)
    assert "GRADER_ERROR" not in run.summary.count()
    assert all(record["isolation"] == "strong" for record in run.records.values())


def test_timeouts_end_soon_after_their_limit(run):
    """A second for all at once, a case's limit, one to load the file, one for all later cases."""
    for path in (run.out / "results").rglob("*.time.json"):
        assert store.json.loads(path.read_text())["total"] < 1 + 3 * LIMIT + BUSY, path


def test_times_are_measured_outside(run):
    """Row 60: what a program is slow at is nothing that it could say itself."""
    def longest(student):
        path, = (run.out / "results" / student).glob("*.time.json")
        return max(took for name, took in store.json.loads(path.read_text()).items()
                   if name != "total")
    assert longest("03_sleep") >= LIMIT > longest("60_slow_but_right") > 0


@pytest.mark.parametrize("change", ["answer[...] = 7", "weight[...] = 7", "del weight, answer"])
def test_an_answer_is_what_it_was_when_the_call_returned(change):
    """Row 28: a view of the input is returned, and whoever holds either changes it afterwards."""
    weight, blobs = np.arange(8.0).reshape(2, 4), []
    answer = weight.reshape(2, 2, 2)
    header = answering.answered(answer, (weight,), blobs, 1 << 20)
    exec(change)
    got, (after,) = verdict.received(header, blobs)
    assert got.parts[0].tobytes() == after == np.arange(8.0).tobytes()
    assert got.parts[0].shape == (2, 2, 2)


def marks(record: dict) -> tuple:
    """All but sentences: an exception may tell the number of a process."""
    cases = [(case["name"], case["verdict"], case["earned"]) for case in record["cases"]]
    return (record["file"], record["verdict"], record["score"], cases, record["diagnoses"],
            record["remarks"])


def honest(expected: dict) -> list[str]:
    return [student for student, one in expected.items() if one.points == 10]


def test_honest_submissions_get_the_same_marks_alone(run, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    for student in honest(run.expected):
        for path in run.folder.glob("*"):
            if path.stem == student:
                (alone / path.name).write_bytes(path.read_bytes())
    records = grade(alone, tmp_path / "out", jobs=2, seed=SEED, progress=False).records
    assert len(records) == len(honest(run.expected)) > 20
    assert all(record == run.records[record["student"]] for record in records)


def test_in_another_order_and_by_the_fork_server_marks_are_the_same(run, tmp_path, monkeypatch):
    if not doctor.fork_server().works:
        pytest.skip(f"no fork server here: {doctor.fork_server().words}")
    found = submissions.find

    def shuffled(*arguments):
        several = found(*arguments)
        random.Random(6).shuffle(several)
        return several
    monkeypatch.setattr(submissions, "find", shuffled)
    host = Host(tmp_path)
    summary = grade(run.folder, tmp_path / "out", jobs=4, seed=SEED, progress=False,
                    fork_server=True)
    assert host.unchanged()
    assert len(summary.records) == len(run.records)
    for record in summary.records:
        assert marks(record) == marks(run.records[record["student"]])


def test_a_power_cut_costs_only_what_was_in_flight(run, tmp_path):
    """Row 61: ended by SIGKILL half-way, started again: the same bytes."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for i in range(6):
        (folder / f"{i}.py").write_text(hostile_corpus.honest())
    code = (f"import sys; from tinyvision.grading import grade; grade({str(folder)!r}, "
            f"{str(out)!r}, seed={SEED!r}, jobs=1, progress=False)")
    first = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[1])
    while not list(out.glob("results/*/*.time.json")):
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = {path: path.stat().st_mtime_ns for path in out.glob("results/*/*.json")
              if "time" not in path.name}
    again = grade(folder, out, seed=SEED, jobs=2, progress=False)
    assert again.reused == len(before) < 6 and again.count() == {"OK": 6}
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())


def test_the_committed_folder_is_graded_as_it_lies_there(tmp_path, capsys):
    from tinyvision.cli import main
    names = [path for path in hostile_corpus.FOLDER.iterdir() if path.suffix in (".py", ".ipynb")]
    few = tmp_path / "few"
    few.mkdir()
    for path in names:                  # the others have been run above
        if path.stem[:2] in ("13", "39", "44", "46"):
            (few / path.name).write_bytes(path.read_bytes())
    assert main(["grade", str(few), "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "4 of 4 graded" in printed and "isolation strong" in printed
    assert len(names) == 67
