"""Time limits: what was worked and slept counts, what was waited for a processor does not."""
import contextlib
import os
import signal
import subprocess
import sys
import time

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


@pytest.mark.parametrize("seen, talks, least, most", [
    (lambda wall: (wall, None), False, 1, 2), (lambda wall: None, False, 1, 2),
    (lambda wall: (0.0, None), False, 1, 2), (lambda wall: (0.0, 0.0), False, 1, 2),
    (lambda wall: (wall / 3, None), False, 2.5, 6), (lambda wall: (wall / 9, None), False, 7, 20),
    (lambda wall: (wall / 3, 2 * wall / 3), False, 2.5, 6),
    (lambda wall: (wall / 9, 0.0), False, 1, 2), (lambda wall: (wall / 30, 0.0), True, 3.8, 10)],
    ids=["works", "cannot be seen", "sleeps", "sleeps, as is seen", "a third of a processor",
         "a ninth", "a third, as is seen", "works a little", "waits for our answers"])
def test_a_limit_waits_for_who_had_to_wait(seen, talks, least, most):
    start, ended = time.monotonic(), []
    with clock.Clock(0.2, lambda: seen(time.monotonic() - start),
                     lambda: ended.append(time.monotonic() - start), talks) as limit:
        while not ended and time.monotonic() < start + 0.2 * 30:
            time.sleep(0.01)
    assert limit.expired and least * 0.2 <= ended[0] < most * 0.2 + 1


def test_who_is_in_time_is_not_ended():
    with clock.Clock(5.0, lambda: (0.0, None), lambda: pytest.fail("ended")) as limit:
        pass
    assert not limit.expired


@linux
def test_processor_time_is_that_of_the_youngest_descendant():
    child = "import time\nend = time.process_time() + 0.4\n" \
            "while time.process_time() < end: pass\nprint(1, flush=True)\ntime.sleep(60)"
    shell = subprocess.Popen(["/bin/sh", "-c", f"{sys.executable} -S -c '{child}'; true"],
                             stdout=subprocess.PIPE, start_new_session=True)
    try:
        shell.stdout.readline()
        worked, delayed = clock.seen(shell.pid)
        assert 0.3 <= worked < 2 and (delayed is None or delayed < 60)
        assert clock.seen(shell.pid, 999999) is None
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    assert clock.seen(shell.pid) is None


def asked(session, seconds, limit):
    blobs: list = []
    code = messages.encode((np.float64(seconds),), blobs)
    header, _ = session.ask({"do": "call", "function": "f", "args": code, "cap": 999}, blobs, limit,
                            1 << 16)
    return header


@contextlib.contextmanager
def crowded(others):
    """Everything that is started here shares one processor with so many that never rest."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    burners = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
               for _ in range(others)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
        os.sched_setaffinity(0, before)


@fork
@linux
@pytest.mark.parametrize("level", ["medium", "strong", "server"])
def test_a_program_among_others_has_its_time(level):
    """On the wall it takes far more than its limit."""
    if level != "medium" and sandbox.probe()[0] != "strong":
        pytest.skip("no bubblewrap here: strong sandboxes were not tried")
    with contextlib.ExitStack() as stack:
        stack.enter_context(crowded(4))
        if level == "server":
            stack.enter_context(sandbox.fork_server())
        session = sandbox.Session("busy.py", BUSY, level if level == "medium" else "strong")
        stack.callback(session.close)
        start = time.monotonic()
        header = asked(session, 0.5, 0.7)
        assert header["status"] == "ok" and time.monotonic() - start > 0.7
        assert 0.45 < header["seconds"] < 0.7


POOL = b"""
import time
from concurrent.futures import ThreadPoolExecutor
def f(seconds):
    def work():
        end = time.thread_time() + seconds
        while time.thread_time() < end: pass
    with ThreadPoolExecutor(THREADS) as pool:
        return float(len(list(pool.map(lambda _: work(), range(THREADS)))))
"""


@fork
@linux
@pytest.mark.parametrize("threads, status", [(1, "ok"), (8, "timeout")])
def test_the_time_of_threads_counts_together_and_their_waiting_does_not(threads, status):
    with contextlib.ExitStack() as stack:
        stack.enter_context(crowded(4))
        session = sandbox.Session("busy.py", POOL.replace(b"THREADS", b"%d" % threads), "medium")
        stack.callback(session.close)
        assert asked(session, 0.5, 0.8)["status"] == status


@fork
def test_a_program_that_sleeps_is_ended_by_the_wall():
    session = sandbox.Session("sleeps.py", SLEEPS, "medium")
    try:
        start = time.monotonic()
        assert asked(session, 60, 0.5)["status"] == "timeout" and time.monotonic() - start < 3
    finally:
        session.close()
