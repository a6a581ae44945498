"""Time limits: of processor time where there is work, of the wall where there is none."""
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from programs import fork

from tinyvision.grading import clock, sandbox
from tinyvision.grading.inside import messages

linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are seen in Linux's /proc")
BUSY = b"""
import time
def f(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
    return 1.0
"""
SLEEPS = b"import time\ndef f(seconds):\n    time.sleep(seconds)\n    return 1.0\n"


def test_who_hardly_works_is_counted_by_the_wall():
    assert clock.used(2.0, 1.5) == 1.5 and clock.used(2.0, None) == 2.0
    assert clock.used(2.0, 0.1) == 2.0 and clock.used(2.0, 0.0) == 2.0


@pytest.mark.parametrize("worked, least, most", [
    (lambda wall: wall, 1, 2), (lambda wall: None, 1, 2), (lambda wall: 0.0, 1, 2),
    (lambda wall: wall / 3, 2.5, 6), (lambda wall: wall / 9, 7, 20)],
    ids=["works", "cannot be seen", "sleeps", "a third of a processor", "a ninth"])
def test_a_limit_waits_for_who_had_to_wait(worked, least, most):
    start, ended = time.monotonic(), []
    with clock.Clock(0.2, lambda: worked(time.monotonic() - start),
                     lambda: ended.append(time.monotonic() - start)) as limit:
        while not ended and time.monotonic() < start + 0.2 * 30:
            time.sleep(0.01)
    assert limit.expired and least * 0.2 <= ended[0] < most * 0.2 + 1


def test_who_is_in_time_is_not_ended():
    with clock.Clock(5.0, lambda: 0.0, lambda: pytest.fail("ended")) as limit:
        pass
    assert not limit.expired


@linux
def test_processor_time_is_that_of_the_youngest_descendant():
    child = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass\n" \
            "print(1, flush=True)\ntime.sleep(60)"
    shell = subprocess.Popen(["/bin/sh", "-c", f"{sys.executable} -S -c '{child}'; true"],
                             stdout=subprocess.PIPE, start_new_session=True)
    try:
        shell.stdout.readline()
        assert 0.3 <= clock.worked(shell.pid) < 2 and clock.worked(shell.pid, 999999) is None
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    assert clock.worked(shell.pid) is None


def asked(session, seconds, limit):
    blobs: list = []
    code = messages.encode((np.float64(seconds),), blobs)
    header, _ = session.ask({"do": "call", "function": "f", "args": code, "cap": 999}, blobs, limit,
                            1 << 16)
    return header


@fork
@linux
@pytest.mark.parametrize("level", ["medium", "strong", "server"])
def test_a_program_that_was_stopped_meanwhile_has_its_time(level):
    """As if others had the processor: on the wall it takes far more than its limit."""
    if level != "medium" and sandbox.probe()[0] != "strong":
        pytest.skip("no bubblewrap here: strong sandboxes were not tried")
    if level == "server":
        with sandbox.fork_server():
            return stopped("strong")
    stopped(level)


def stopped(level):
    session = sandbox.Session("busy.py", BUSY, level)
    try:
        server = getattr(session.process, "server", None)
        root = (server or session.process).process.pid
        family, timer = [], threading.Timer(0.3, lambda: pause(root, family))
        timer.start()
        start = time.monotonic()
        header = asked(session, 0.6, 0.9)
        timer.join()
        assert header["status"] == "ok" and time.monotonic() - start > 1.2
        assert 0.5 < header["seconds"] < 0.9
    finally:
        session.close()


def pause(root, family):
    """Stop everything below a process for 0.8 seconds."""
    family += below(root)
    for number in family:
        os.kill(number, signal.SIGSTOP)
    time.sleep(0.8)
    for number in reversed(family):
        os.kill(number, signal.SIGCONT)


def below(root):
    found = []
    for child in children(root):
        found += [child, *below(child)]
    return found


def children(root):
    rows = [stat.read_text().rpartition(")")[2].split()[1] + " " + stat.parent.name
            for stat in Path("/proc").glob("[0-9]*/stat")]
    return [int(row.split()[1]) for row in rows if row.split()[0] == str(root)]


@fork
def test_a_program_that_sleeps_is_ended_by_the_wall():
    session = sandbox.Session("sleeps.py", SLEEPS, "medium")
    try:
        start = time.monotonic()
        assert asked(session, 60, 0.5)["status"] == "timeout" and time.monotonic() - start < 3
    finally:
        session.close()
