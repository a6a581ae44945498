"""Grading on a Dask cluster: two worker processes, one of them killed half-way, the same marks."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

distributed = pytest.importorskip("distributed", reason="Dask's distributed is not installed")
sys.path.insert(0, str(Path(__file__).parent))

from tinyvision.grading.classroom import write_class  # noqa: E402

from tinyvision import grading  # noqa: E402
from tinyvision.grading import cluster, grader, sandbox  # noqa: E402

pytestmark = pytest.mark.skipif(not sandbox.worker.CAN_FORK, reason="no fork here")
FOUR = ("Amira Haddad", "Chidi Okafor", "Hana Sato", "Kavya Rao")


def start(*arguments):
    """A process of Dask's command line, with this tinyvision."""
    root = Path(grading.__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]],
        env=os.environ | {"PYTHONPATH": str(root)}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True)


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    """(the scheduler's address, its two worker processes)."""
    home = tmp_path_factory.mktemp("dask")
    file = home / "scheduler.json"
    processes = [start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
                       "--scheduler-file", str(file))]
    processes += [start("worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny",
                        "--no-dashboard", "--local-directory", str(home)) for _ in range(2)]
    try:
        with distributed.Client(scheduler_file=str(file), timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
            address = client.scheduler.address
        yield address, processes[1:]
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """(a folder of submissions, OUT as this machine alone makes it)."""
    folder = write_class(tmp_path_factory.mktemp("in"), FOUR)
    (folder / "nobody.py").write_text("x = 1\n")
    out = tmp_path_factory.mktemp("out")
    grading.grade(folder, out, seed="cluster", jobs=2, progress=False)
    return folder, out


def kept(out):
    """Everything that is to be the same, by its place in OUT: all but times and the secret."""
    return {path.relative_to(out): path.read_bytes() for path in out.rglob("*")
            if path.is_file() and not path.name.endswith(".time.json")}


def test_a_worker_that_is_killed_half_way_costs_nothing(dask, here, tmp_path):
    address, workers = dask
    folder, out = here
    finished = threading.Event()

    def kill():
        while not finished.is_set() and len(list(tmp_path.glob("results/*/*.time.json"))) < 4:
            time.sleep(0.02)
        workers[0].kill()
    killer = threading.Thread(target=kill)
    killer.start()
    summary = grading.grade(folder, tmp_path, seed="cluster", progress=False, dask=address)
    half_way = killer.is_alive() is False
    finished.set()
    killer.join()
    assert half_way and workers[0].wait() < 0 and workers[1].poll() is None
    assert (summary.jobs, summary.reused, summary.interrupted) == (2, 0, False)
    assert "GRADER_ERROR" not in summary.count()
    assert kept(tmp_path) == kept(out)
    assert {record["isolation"] for record in summary.records} == {sandbox.probe()[0]}


def test_what_is_there_is_not_sent_again(dask, here):
    folder, out = here
    before = kept(out)
    summary = grading.grade(folder, out, progress=False, dask=dask[0])
    assert summary.reused == summary.submitted == len(summary.records)
    assert kept(out) == before


def test_an_assignments_file_travels_with_its_tasks(dask, tmp_path):
    from tinyvision.grading.new import new
    (tmp_path / "in").mkdir()
    path = new("hw7", ["box_iou"], tmp_path)
    (tmp_path / "in" / "ada.py").write_text("def box_iou(boxes1, boxes2):\n    return None\n")
    summary = grading.grade(tmp_path / "in", tmp_path / "out", str(path), seed="s", progress=False,
                            dask=dask[0])
    assert [record["verdict"] for record in summary.records] == ["WRONG_TYPE"]


def test_a_fault_on_a_worker_is_no_zero(dask, here, tmp_path, monkeypatch):
    folder, _ = here
    order = cluster.Order
    monkeypatch.setattr(cluster, "Order", lambda *args: order(*args[:4], "another", *args[5:]))
    summary = grading.grade(folder, tmp_path, seed="cluster", progress=False, dask=dask[0],
                            only=["Amira Haddad"])
    assert summary.count() == {"GRADER_ERROR": 3}
    assert all(record["score"] is None and "another version" in record["message"]
               for record in summary.records)


def test_isolation_that_a_worker_lacks_is_refused(dask, here, tmp_path, monkeypatch):
    best = sandbox.probe()[0]
    if best == "strong":
        assert cluster.probe("medium") == "medium" and cluster.probe(None) == "strong"
    else:
        assert cluster.probe("strong").startswith("! ")
    monkeypatch.setattr(cluster, "probe", lambda isolation: "! no sandbox")
    with pytest.raises(grader.IsolationError, match="worker tcp.*no sandbox"):
        grading.grade(here[0], tmp_path, seed="s", progress=False, dask=dask[0])


def test_no_scheduler_is_said_in_one_sentence(here, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER", 0.5)
    with pytest.raises(ValueError, match="no Dask scheduler .* answers at tcp://127.0.0.1:9"):
        grading.grade(here[0], tmp_path, seed="s", progress=False, dask="tcp://127.0.0.1:9")


def test_an_interrupted_run_keeps_what_came_and_goes_on(dask, here, tmp_path):
    folder, out = here
    command = [sys.executable, "-m", "tinyvision", "grade", str(folder), "-o", str(tmp_path),
               "--seed", "cluster", "--dask", dask[0]]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                           cwd=Path(grading.__file__).parents[2])
    while len(list(tmp_path.glob("results/*/*.time.json"))) < 3 and run.poll() is None:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    said = run.communicate(timeout=60)[0]
    assert run.returncode == 130 and "interrupted: the same command goes on from here" in said
    summary = grading.grade(folder, tmp_path, seed="cluster", progress=False, dask=dask[0])
    assert 3 <= summary.reused < summary.submitted
    assert kept(tmp_path) == kept(out)
