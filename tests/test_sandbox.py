"""The sandbox's layers one by one, the fork server, the doctor, and folders of other platforms."""
from __future__ import annotations

import contextlib
import errno
import inspect
import os
import re
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from programs import fork, graded
from tinyvision.bench import grading as bench
from tinyvision.cli import main
from tinyvision.exercises import load
from tinyvision.exercises.start import solution_text
from tinyvision.grading import (archives, doctor, forkserver, grader, jail, sandbox,
                                scratch, submissions)
from tinyvision.grading.assignment import prepare
from tinyvision.grading.inside import answering, landlock, seccomp, worker
from tinyvision.grading.trials import Trials

LEVEL, WHY = sandbox.probe()
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
STRONG = pytest.mark.skipif(LEVEL != "strong", reason=f"no strong sandbox here: {WHY}")
SECCOMP = pytest.mark.skipif("seccomp" not in jail.guards(), reason="no seccomp here")
LANDLOCK = pytest.mark.skipif("landlock" not in jail.guards(), reason="no Landlock here")
PATIENT = 60                            # seconds for what is over in one: the machine may be busy
LEVELS = ["medium", pytest.param("strong", marks=STRONG)]


def answer(source: str, level: str = "medium", session=None) -> dict:
    """What a worker answers to a call of ``f()`` in a student's file."""
    own = session or sandbox.Session("student.py", source.encode(), level)
    try:
        return own.ask({"do": "call", "function": "f", "args": {"tuple": []}, "cap": 1 << 16}, [],
                       PATIENT, 1 << 20)[0]
    finally:
        if session is None:
            own.close()


def raised(body: str, level: str) -> str:
    """The exception that a function of this body raises, or what it returned."""
    found = answer(f"import os, numpy as np\ndef f():\n    {body}\n", level)
    return found["error"]["type"] if found["status"] == "exception" else found["status"]


# ---- the filter of system calls ------------------------------------------------------------------

def decide(program: bytes, machine: str, name: str | int, argument: int = 0) -> int:
    """Run a filter as the kernel does: what it returns for one call."""
    number = seccomp.number(name, machine) if isinstance(name, str) else name
    data = struct.pack("<IIQ6Q", number, seccomp.AUDIT[machine], 0, argument, *[0] * 5)
    steps, at, loaded = list(struct.iter_unpack("<HBBI", program)), 0, 0
    while True:
        code, yes, no, value = steps[at]
        at += 1
        if code == seccomp.RETURN:
            return value
        if code == seccomp.LOAD:
            loaded, = struct.unpack_from("<I", data, value)
            continue
        at += yes if {seccomp.EQUAL: loaded == value, seccomp.AT_LEAST: loaded >= value,
                      seccomp.ANY_BIT: bool(loaded & value)}[code] else no


@pytest.mark.parametrize("machine", seccomp.AUDIT)
def test_filters_refuse_what_they_should(machine):
    server, student = seccomp.server(machine), seccomp.student(machine, 77)
    for name in seccomp.REFUSED:
        if seccomp.number(name, machine) is not None:
            assert decide(server, machine, name) == seccomp.EPERM, name
    assert decide(server, machine, "clone3") == seccomp.ENOSYS
    thread, process = 0x3D0F00, 17
    assert [decide(server, machine, "clone", flags) for flags in (thread, process, 0x10000011)] \
        == [seccomp.ALLOW, seccomp.ALLOW, seccomp.EPERM]
    assert [decide(student, machine, "clone", flags) for flags in (thread, process)] \
        == [seccomp.ALLOW, seccomp.EPERM]
    for name in seccomp.SIGNALS:
        assert decide(server, machine, name, 1) == seccomp.ALLOW
        assert [decide(student, machine, name, pid) for pid in (77, 1, 0, 0xFFFFFFFF)] \
            == [seccomp.ALLOW] + [seccomp.ENDS] * 3
    read = {"x86_64": 0, "aarch64": 63}[machine]
    assert decide(server, machine, read) == decide(student, machine, read) == seccomp.ALLOW


def test_filters_end_what_calls_by_another_table():
    program = seccomp.student("x86_64", 77)
    assert decide(program, "x86_64", seccomp.X32 + 57) == seccomp.ENOSYS
    foreign = program.replace(struct.pack("<I", seccomp.AUDIT["x86_64"]), struct.pack("<I", 3))
    assert decide(foreign, "x86_64", 0) == seccomp.ENDS


@LINUX
@pytest.mark.parametrize("machine, header, pattern", [
    ("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", r"#define __NR_(\w+) (\d+)"),
    ("aarch64", "/usr/include/asm-generic/unistd.h", r"#define __NR(?:3264)?_(\w+) (\d+)")])
def test_numbers_are_those_of_the_kernels_headers(machine, header, pattern):
    if not os.path.exists(header):
        pytest.skip(f"{header} is not here (apt install linux-libc-dev)")
    known = {name: int(number) for name, number in
             re.findall(pattern, Path(header).read_text())}
    mine = {name: seccomp.number(name, machine) for name in seccomp.CALLS}
    compared = {name: number for name, number in mine.items() if name in known}
    assert len(compared) > 60 and compared == {name: known[name] for name in compared}


@SECCOMP
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("body", [
    "os.fork()", "os.posix_spawn('/bin/true', ['true'], {})", "os.execv('/bin/true', ['true'])",
    "__import__('socket').socket()", "__import__('socket').socketpair()",
    "__import__('subprocess').run(['true'])", "os.system('true') == 0 or os.unlink('/none')",
    "open(f'/proc/{os.getppid()}/mem', 'rb').read(1)", "open('/proc/1/environ').read()",
    "open('/etc/shadow').read()", "os.mkdir('/tinyvision-x')", "os.memfd_create('x')"])
def test_what_array_code_never_needs_is_refused(level, body):
    if body.startswith("os.memfd_create") and not hasattr(os, "memfd_create"):
        pytest.skip("no memfd_create here")
    assert raised(body, level) in ("PermissionError", "FileNotFoundError", "OSError")


CALL = """
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
def f():
    libc.syscall({number}, {arguments})
    raise ValueError(ctypes.get_errno())
"""


@SECCOMP
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name, code", [
    ("ptrace", errno.EPERM), ("unshare", errno.EPERM), ("mount", errno.EPERM),
    ("io_uring_setup", errno.EPERM), ("keyctl", errno.EPERM), ("bpf", errno.EPERM),
    ("perf_event_open", errno.EPERM), ("process_vm_readv", errno.EPERM), ("setns", errno.EPERM),
    ("pidfd_open", errno.EPERM), ("clone3", errno.ENOSYS), ("shmget", errno.EPERM)])
def test_system_calls_have_their_answer(level, name, code):
    number = seccomp.number(name, os.uname().machine)
    found = answer(CALL.format(number=number, arguments="0, 0, 0, 0, 0"), level)
    assert found["error"]["message"] == str(code)


@SECCOMP
@pytest.mark.parametrize("level", LEVELS)
def test_threads_and_signals_to_oneself_still_work(level):
    found = answer("import os, signal, threading\nseen = []\ndef f():\n"
                   "    thread = threading.Thread(target=seen.append, args=(1.0,))\n"
                   "    thread.start(), thread.join()\n"
                   "    signal.signal(signal.SIGUSR1, lambda *a: seen.append(2.0))\n"
                   "    os.kill(os.getpid(), signal.SIGUSR1)\n    return float(sum(seen))\n", level)
    assert found["status"] == "ok"
    assert answer("import os\ndef f(): os.abort()\n", level)["message"] == "SIGABRT"


@SECCOMP
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("target", ["os.getppid()", "-1", "0", "1"])
def test_a_signal_to_another_process_ends_the_case_only(level, target):
    session = sandbox.Session("student.py", f"import os\ndef f(): os.kill({target}, 9)\n".encode(),
                              level)
    assert [answer("", session=session)["status"] for _ in range(2)] == ["crashed"] * 2
    assert session.alive
    session.close()


# ---- Landlock ------------------------------------------------------------------------------------

@LANDLOCK
def test_medium_reads_python_and_numpy_and_nothing_else(tmp_path):
    bait = tmp_path / "answers.txt"
    bait.write_text("42")
    for path in (bait, worker.__file__, jail.__file__, "/etc/hostname", __file__):
        assert raised(f"open({str(path)!r})", "medium") == "PermissionError", path
    for name in (tmp_path, Path.home(), "/"):
        assert raised(f"os.listdir({str(name)!r})", "medium") == "PermissionError", name
    assert raised(f"open({str(tmp_path / 'new')!r}, 'w')", "medium") == "PermissionError"
    assert raised("import tinyvision", "medium") == "ModuleNotFoundError"
    assert raised("import sqlite3, decimal, csv, email.mime.text, numpy.fft; np.linalg.eig(np.eye("
                  "3)); np.random.default_rng().normal()", "medium") == "ok"
    assert raised("open('mine', 'w').write('x'); assert open('mine').read() == 'x'", "medium") \
        == "ok"
    assert not (tmp_path / "new").exists() and bait.read_text() == "42"


def test_rights_grow_with_the_version():
    assert [bin(landlock.rights(version)).count("1") for version in (1, 2, 3, 4, 5, 7)] \
        == [13, 14, 15, 15, 16, 16]


@LANDLOCK
@SECCOMP
def test_at_medium_the_worst_programs_earn_nothing_and_reach_nothing(tmp_path):
    worst = ("04", "08", "12", "14", "15", "16", "17", "19", "20", "35", "36", "38")
    folder = tmp_path / "in"
    folder.mkdir()
    for path in (Path(__file__).parent / "hostile").glob("*.py"):
        if path.stem[:2] in worst:
            (folder / path.name).write_bytes(path.read_bytes())
    records = grader.grade(folder, tmp_path / "out", isolation="medium", jobs=2, seed="threats",
                           progress=False).records
    assert len(records) == len(list(folder.iterdir())) > 12
    assert {record["score"] for record in records} == {0.0}
    assert not os.path.exists("/tmp/tinyvision-owned")
    assert not os.path.exists("/root/tinyvision-was-here")


# ---- what is left --------------------------------------------------------------------------------

@pytest.mark.skipif(not worker.CAN_FORK, reason="no fork here")
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("leave", [
    "open('left', 'w').write('x')", "os.makedirs('a/b/c'), os.symlink('/', 'a/all')",
    "os.mkdir('closed', 0), os.umask(0o777), open('x', 'w').write('x')"])
def test_nothing_is_left_from_one_case_to_the_next(level, leave):
    source = (f"import os\nfound = os.listdir('.')\n{leave}\n"
              "def f():\n    raise ValueError(found)\n")
    session = sandbox.Session("student.py", source.encode(), level)
    first = answer("", session=session)["error"]["message"]
    again = session.ask({"do": "call", "function": "f", "args": {"tuple": []}, "cap": 9}, [],
                        PATIENT, 1 << 20)[0]
    session.close()
    assert first == "[]"
    assert again["status"] == "crashed-worker" or again["error"]["message"] == "[]"


MAKERS = {
    "many": "i = 0\nwhile True:\n    os.close(os.open(str(i), os.O_CREAT))\n    i += 1\n",
    "deep": "for _ in range(3000):\n    os.mkdir('d')\n    os.chdir('d')\n",
    "shut": "os.makedirs('a/b/c')\nos.mkdir('a/b/d', 0)\nos.symlink('/', 'a/b/l')\n"
            "os.mkdir('e', 0)\n"}


@pytest.fixture
def bottomless(tmp_path):
    """A folder that is removed whatever is left in it: pytest itself does not get that deep."""
    yield tmp_path
    subprocess.run(["rm", "-rf", *tmp_path.iterdir()])


@pytest.mark.skipif(not worker.CAN_FORK, reason="no fork here")
@pytest.mark.parametrize("level", LEVELS)
def test_files_without_number_and_folders_without_end_harm_nobody(bottomless, monkeypatch, level):
    """Nothing limits how many files there are but the time; removing them is prompt, leaves
    nothing, is no fault of the grader's, and no other student notices."""
    tmp_path = bottomless
    (tmp_path / "temporary").mkdir(), (tmp_path / "in").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    exercise = load("box_iou")
    for name, text in MAKERS.items():
        (tmp_path / "in" / f"{name}.py").write_text(
            f"# tinyvision exercise: box_iou\nimport os\n{text}def box_iou(a, b):\n    return 1\n")
    for name in ("ada", "bo"):
        (tmp_path / "in" / f"{name}.py").write_text(solution_text(exercise))
    start = time.monotonic()
    records = grader.grade(tmp_path / "in", tmp_path / "out", isolation=level, jobs=3, seed="files",
                           progress=False).records
    assert time.monotonic() - start < PATIENT
    marks = {record["student"]: (record["score"], record["verdict"]) for record in records}
    assert marks["ada"] == marks["bo"] == (exercise.points, "OK")
    assert marks["many"][0] == 0 and marks["many"][1] in ("TIMEOUT", "DISK_LIMIT")
    assert marks["deep"] == marks["shut"] == (0, "WRONG_TYPE")
    assert not list((tmp_path / "temporary").iterdir())


@LINUX
def test_whatever_a_program_made_is_removed_and_nothing_beside_it(bottomless):
    """Deeper than a path can be spelled, closed to their owner, links that lead elsewhere: by
    nobody where this is root, whom no mode stops."""
    tmp_path = bottomless
    made, beside = tmp_path / "made", tmp_path / "beside"
    made.mkdir(), beside.mkdir(), (beside / "kept").touch()
    for path in (tmp_path, made, beside):
        path.chmod(0o777)

    def child():
        os.chdir(tmp_path)
        if os.geteuid() == 0:
            os.setgroups([]), os.setgid(65534), os.setuid(65534)
        os.chdir("made")
        here = os.open(".", os.O_RDONLY)
        for text in ("shut", "deep"):
            exec(MAKERS[text].replace("'/'", "'../../../beside'"), {"os": os})
            os.chdir(here)
        os.symlink("../beside", "link"), os.mkfifo("pipe")
        os.mkdir(str(os.stat("a/b").st_ino))        # the name under which it would be moved
        assert len(os.listdir(".")) == 6
        os.chdir("..")
        scratch.remove("made")
        assert not os.path.exists("made")
    assert jail.works(child)
    assert not made.exists() and [path.name for path in beside.iterdir()] == ["kept"]


@SECCOMP
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("change", [
    "os.chmod('/', 0)", "os.chmod('/tmp', 0)", "os.utime('/')", "os.chown('/tmp', 1, 1)",
    "os.setxattr('/tmp', 'user.x', b'x')", "os.setpriority(os.PRIO_PROCESS, 0, 19)",
    "os.sched_setaffinity(0, {0})", "__import__('resource').prlimit(1, 1, (0, 0))",
    "open('x', 'w'), os.chmod('x', 0)"])
def test_nobodys_rights_times_or_limits_are_changed(level, change):
    assert raised(change, level) in ("PermissionError", "OSError")


@STRONG
def test_a_timeout_ends_everything(tmp_path):
    session = sandbox.Session("student.py", b"def f():\n    while True: pass\n", "strong")
    request = {"do": "call", "function": "f", "args": {"tuple": []}, "cap": 9}
    assert session.ask(request, [], 0.3, 1 << 20)[0]["status"] == "timeout"
    assert not session.alive and not sandbox._RUNNING
    assert session.process.wait(0) == -9                # reaped, and by our signal
    session.close()                     # once more does no harm


# ---- the fork server -----------------------------------------------------------------------------

@pytest.fixture(scope="module")
def server():
    if not doctor.fork_server().works:
        pytest.skip(f"no fork server here: {doctor.fork_server().words}")
    with sandbox.fork_server() as made:
        yield made


SPY = """
import os, tempfile
report = {"processes": sorted(p for p in os.listdir("/proc") if p.isdigit()),
          "files": sorted(os.listdir("/tmp")), "parent": os.getppid(), "me": os.getuid(),
          "open": []}
for fd in range(64):
    try:
        report["open"].append((fd, os.fstat(fd).st_mode >> 12))
    except OSError:
        pass
open("/tmp/secret", "w").write("of one student")
def f():
    raise ValueError(repr(report))
"""


def test_forked_workers_see_neither_the_server_nor_each_other(server):
    sessions = [sandbox.Session("student.py", SPY.encode(), "strong") for _ in range(3)]
    assert all(isinstance(one.process, forkserver.Forked) for one in sessions)
    for session in sessions:
        report = eval(answer("", session=session)["error"]["message"])
        assert set(report["processes"]) <= {"1", str(report["parent"]), "2", "3"}
        assert report["files"] == [] and report["parent"] == 1 and report["me"] != 0
        kinds = [kind for _, kind in report["open"]]
        socket, pipe = 0o14, 0o1        # no way to the server; one pipe, for its own answer
        assert socket not in kinds and kinds.count(pipe) == 1
    for session in sessions:
        session.close()


@pytest.mark.parametrize("body", [
    "os.kill(1, 9)", "os.kill(-1, 9)", "open('/proc/1/mem', 'r+b').read(8)", "os.fork()",
    "[os.write(fd, b'1') for fd in range(3, 64)]", "open('/grader/x', 'w')", "os.chroot('/tmp')",
    "__import__('ctypes').CDLL(None).unshare(0x10000000) and os.unlink('/none')"])
def test_no_student_reaches_the_server_or_the_next_student(server, body):
    hostile = answer(f"import os\ndef f():\n    {body}\n", "strong")
    assert hostile["status"] != "ok"
    assert server.process.poll() is None
    assert answer("def f(): return 1.0\n", "strong")["status"] == "ok"


def test_what_one_student_patches_the_next_does_not_see(server):
    patch = ("import sys, numpy as np\nours = sys.modules['inside.answering']\n"
             "np.sum = ours.pack = ours.describe = None\nnp.random.seed(1)\n"
             "def f(): return 1.0\n")
    answer(patch, "strong")
    found = answer("import numpy as np\ndef f(): return float(np.sum(np.ones(3)))\n", "strong")
    assert found["status"] == "ok" and found["answers"][0]["type"] == "float"


def test_a_forked_worker_ends_with_all_that_it_started(server):
    session = sandbox.Session("student.py", b"import time\ndef f(): time.sleep(1e6)\n", "strong")
    number = session.process.number
    request = {"do": "call", "function": "f", "args": {"tuple": []}, "cap": 9}
    assert session.ask(request, [], 0.3, 1 << 20)[0]["status"] == "timeout"
    assert session.process.stdout.closed and number > 0     # read to its end: nobody holds it


def test_limits_hold_in_a_forked_worker(server):
    assert raised("np.ones(1 << 28)", "strong") == "memory"
    assert raised("open('/tmp/x', 'wb').write(bytes(9 << 20))", "strong") == "OSError"
    fill = "[open(f'/tmp/{i}', 'wb').write(bytes(4 << 20)) for i in range(99)]"
    assert raised(fill, "strong") == "OSError"


@pytest.mark.parametrize("body, status", [
    ("[os.close(os.open(f'/tmp/{i}', os.O_CREAT)) for i in range(30000)]", "ok"),
    ("[open(f'/tmp/{i}', 'wb').write(bytes(4 << 20)) for i in range(99)]", "OSError"),
    ("open('/dev/shm/x', 'w')", "PermissionError"), ("os.listdir('/dev/shm')", "ok"),
    ("os.statvfs('/tmp').f_blocks == 16384 or os.unlink('/none')", "ok"),
    ("os.statvfs('/dev/shm').f_blocks == 256 or os.unlink('/none')", "ok"),
    ("assert oct(os.stat('/tmp').st_mode) == '0o41777'", "ok")])
def test_a_new_interpreter_and_a_fork_may_do_the_same(server, monkeypatch, body, status):
    forked = raised(body, "strong")
    monkeypatch.setattr(sandbox, "_SERVER", [])
    assert (forked, raised(body, "strong")) == (status, status)


ENDLESS = """
depth = 0
def g():
    return h()
def h():
    return k()
def k():
    global depth
    depth += 1
    try:
        return g()
    except RecursionError:
        print(depth)
        raise
def f():
    return g()
"""


def test_endless_recursion_ends_equally_deep_in_a_new_interpreter_and_a_fork(server, monkeypatch):
    """Else the last lines of its traceback are others, and so is the record."""
    forked = answer(ENDLESS, "strong")
    monkeypatch.setattr(sandbox, "_SERVER", [])
    assert forked | {"seconds": 0} == answer(ENDLESS, "strong") | {"seconds": 0}
    assert forked["error"]["type"] == "RecursionError" and len(forked["error"]["frames"]) == 6
    assert int(forked["printed"].split()[-1]) > 300


def test_a_server_that_died_is_started_again(server):
    first = server.process.pid
    server.process.kill(), server.process.wait()
    assert answer("def f(): return 1.0\n", "strong")["status"] == "ok"
    assert server.process.pid != first


def test_the_fork_server_is_refused_where_isolation_would_be_weaker(tmp_path, monkeypatch):
    make(tmp_path / "in", "a.py")
    with pytest.raises(grader.IsolationError, match="--fork-server"):
        grader.grade(tmp_path / "in", tmp_path / "out", isolation="medium", fork_server=True,
                     progress=False)
    monkeypatch.setattr(jail, "guards", lambda: ("landlock",))
    with pytest.raises(forkserver.ServerError, match="seccomp"):
        forkserver.ForkServer()


def test_the_fork_server_says_where_it_can_make_no_namespaces(server, monkeypatch):
    enclosed = jail.enclosed
    monkeypatch.setattr(jail, "enclosed", lambda mounts, program, _: enclosed(mounts, program))
    with pytest.raises(forkserver.ServerError, match="clone: "):
        forkserver.ForkServer()


ONCE = """# tinyvision exercise: box_iou
import numpy as np
calls = []
def box_iou(boxes1, boxes2):
    calls.append(len(boxes1))
    WRONG
"""


@fork
@pytest.mark.parametrize("wrong", [
    "return RIGHT * (2 if len(calls) == 1 and len(boxes1) > 1 else 1)",
    "assert len(calls) > 1 or len(boxes1) == 1; return RIGHT"])
def test_what_is_wrong_at_its_first_call_only_shows(wrong):
    right = ("np.divide(both, union, out=np.zeros_like(union), where=union > 0)")
    body = ("low = np.maximum(boxes1[:, None, :2], boxes2[None, :, :2])\n"
            "    high = np.minimum(boxes1[:, None, 2:], boxes2[None, :, 2:])\n"
            "    both = np.prod(np.clip(high - low, 0, None), axis=-1)\n"
            "    a, b = (np.prod(np.clip(c[:, 2:] - c[:, :2], 0, None), -1) for c in (boxes1, boxes2))"
            "\n    union = a[:, None] + b - both\n    ")
    program = ONCE.replace("WRONG", body + wrong.replace("RIGHT", right))
    assert graded("box_iou", program.replace("len(calls)", "2"))["score"] == 10
    assert graded("box_iou", program)["score"] <= 1


# ---- the whole of one submission -----------------------------------------------------------------

SLOW = '''# tinyvision exercise: box_iou
import time
import numpy as np

def box_iou(boxes1, boxes2):
    time.sleep(1.7)
    return np.zeros((len(boxes1), len(boxes2)))
'''


@STRONG
def test_one_submission_has_a_limit_in_all(tmp_path):
    """Six seconds: a quarter for all cases at once, three of 1.7, too few for a fourth. The same
    bytes of a record through the command, meanwhile, and with the fork server."""
    make(tmp_path / "in", "slow.py")
    (tmp_path / "in" / "slow.py").write_text(SLOW)
    more = ["--fork-server"] * doctor.fork_server().works
    words = ["grade", tmp_path / "in", "-o", tmp_path / "b", "--seed", "x", "--seconds", "6", *more]
    with subprocess.Popen([sys.executable, "-m", "tinyvision", *words],
                          stdout=subprocess.DEVNULL) as command:
        begin = time.monotonic()
        record, = grader.grade(tmp_path / "in", tmp_path / "a", seed="x", progress=False,
                               seconds=6).records
        assert time.monotonic() - begin < 6 + PATIENT
        assert command.wait(PATIENT) == 0
    assert record["seconds"] == 6 and len(record["cases"]) > 5
    done, rest = record["cases"][:3], record["cases"][3:]
    assert all("together have 6 s" not in case["message"] for case in done)
    assert {(case["verdict"], case["message"]) for case in rest} == {(
        "TIMEOUT", "was not finished, or not begun: all cases of one submission together have 6 s, "
        "or three times what one case may take where that is longer")}
    one, other = (path.read_bytes() for path in tmp_path.glob("[ab]/results/*/*.json")
                  if "time" not in path.name)
    assert one == other


def test_without_a_number_it_is_a_second_a_case_or_thirty():
    made = prepare(load("box_iou"), np.random.default_rng(0))
    assert (made.in_all, made.allowed) == (30, 30)
    assert replace(made, cases=made.cases * 20).in_all == 20 * len(made.cases) > 30
    assert replace(made, seconds=[2.0, 50.0]).allowed == 150
    assert (replace(made, wanted=7).in_all, replace(made, wanted=7).allowed) == (7, 7)


@pytest.mark.parametrize("text", ["0", "-3", "nan", "inf", "soon", "1e9"])
def test_a_limit_that_is_none_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        main(["grade", "in", "-o", "out", f"--seconds={text}"])
    assert f"{text!r} is no time for one submission; give 1 to 86400" in capsys.readouterr().err


class Answering:
    """A runner whose every answer is right and takes its time."""

    def __init__(self, made, seconds):
        self.made, self.seconds, self.asked, self.spent = made, seconds, 0, 0.0

    def ask(self, request, blobs, seconds, cap, talk=None):
        if request["do"] == "sequence":
            return {"status": "exception"}, []
        k, blobs = self.asked % len(self.made.cases), []
        self.asked += 1
        self.spent += min(self.seconds, seconds)
        if self.seconds > seconds:
            return {"status": "timeout"}, []
        return answering.answered(self.made.expected[k].parts[0], self.made.cases[k].args, blobs,
                               1 << 20), blobs


def test_what_could_not_be_run_twice_keeps_its_mark_and_is_told():
    made = replace(prepare(load("box_iou"), np.random.default_rng(0)), wanted=3.0)
    made = replace(made, seconds=[0.5] * len(made.cases))
    trials = Trials(made, Answering(made, 2 / len(made.cases)))
    trials.run_all()
    trials.repeat_all()
    assert set(trials.verdicts.values()) == {"OK"}
    assert trials.remarks == ["not every case was run a second time: one submission has 3 s in all"]


# ---- the doctor ----------------------------------------------------------------------------------

def test_doctor_tells_what_was_reached():
    text = doctor.text()
    assert text.startswith(f"isolation: {LEVEL.upper()}")
    if sys.platform == "linux":
        for name in ("bubblewrap", "name spaces", "seccomp", "Landlock", "rlimits", "memory, tree",
                     "fork server"):
            assert name in text
    assert jail.layers("none") == []
    assert set(jail.layers("strong")) - set(jail.layers("medium")) == {"namespaces"}


@LINUX
def test_doctor_names_the_fix(monkeypatch):
    settings = {}
    monkeypatch.setattr(jail, "works", lambda attempt: False)
    monkeypatch.setattr(doctor, "_setting", lambda name: settings.get(name, ""))
    assert "security-opt" in doctor.namespaces().fix
    settings["kernel/apparmor_restrict_unprivileged_userns"] = "1"
    assert "/etc/apparmor.d/bwrap" in doctor.namespaces().fix
    settings["user/max_user_namespaces"] = "0"
    assert "user.max_user_namespaces" in doctor.namespaces().fix
    settings["kernel/unprivileged_userns_clone"] = "0"
    assert "kernel.unprivileged_userns_clone=1" in doctor.namespaces().fix
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert "apt install bubblewrap" in doctor.bubblewrap().fix
    monkeypatch.setattr(jail, "guards", lambda: ())
    assert "CONFIG_SECCOMP_FILTER" in doctor.filters().fix and "5.13" in doctor.files().fix
    assert "MemoryMax" in doctor.memory().fix


@LINUX
def test_without_bubblewrap_the_level_is_medium_with_what_the_kernel_has(monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    level, why = sandbox.probe.__wrapped__()
    assert level == "medium" and "apt install bubblewrap" in why
    assert jail.layers(level) == [*jail.guards(), "rlimits"]


# ---- folders of other platforms ------------------------------------------------------------------

def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("# tinyvision exercise: nms\n")
    return folder


def students(found) -> list[tuple]:
    return [(one.student, one.number) for one in found]


def test_canvas_names(tmp_path):
    make(tmp_path, "doejane_4711_90001_nms.py", "roejack_LATE_4712_90002_nms-1.ipynb",
         "doejane_4713_90003_nms.py")
    found = submissions.find(tmp_path)
    assert students(found) == [("doejane_4711", "4711"), ("doejane_4713", "4713"),
                               ("roejack", "4712")]
    assert [one.late for one in found] == [False, False, True]
    assert "1 marked late" in submissions.overview(found)


def test_moodle_folders(tmp_path):
    make(tmp_path, "Jane Doe_123_assignsubmission_file_/nms.py",
         "Jack O_Roe_124_assignsubmission_file_nms.py")
    assert students(submissions.find(tmp_path)) == [("Jack O_Roe", "124"), ("Jane Doe", "123")]


def test_gradescope_export(tmp_path):
    make(tmp_path, "submission_11/nms.py", "submission_12/nms.py", "submission_13/nms.py")
    (tmp_path / "submission_metadata.yml").write_text(
        "---\nsubmission_11:\n  :submitters:\n  - :name: Jane Doe\n    :sid: '77'\n"
        "submission_12:\n  :submitters:\n  - :name: Jack Roe\n    :email: jack@example.org\n")
    assert students(submissions.find(tmp_path)) == [
        ("77", "11"), ("jack@example.org", "12"), ("submission_13", "13")]


def test_nbgrader_course(tmp_path):
    make(tmp_path, "submitted/jane/hw3/nms.ipynb", "source/hw3/nms.ipynb", "release/hw3/nms.ipynb")
    for folder in (tmp_path, tmp_path / "submitted"):
        found, = submissions.find(folder)
        assert (found.student, found.file) == ("jane", "jane/hw3/nms.ipynb")


def test_a_pattern(tmp_path):
    make(tmp_path, "2026-01-02 jane/nms.py", "2026-01-03 jack/nms.py", "readme/notes.py")
    pattern = r"(?P<timestamp>\d{4}-\d\d-\d\d) (?P<student_id>\w+)/"
    found = submissions.find(tmp_path, pattern)
    assert [(one.student, one.timestamp, one.problem == "") for one in found] == [
        ("jane", "2026-01-02", True), ("jack", "2026-01-03", True), ("notes", "", False)]
    with pytest.raises(ValueError, match="student_id"):
        submissions.find(tmp_path, r"\w+")
    with pytest.raises(ValueError, match="no regular expression"):
        submissions.find(tmp_path, r"(?P<student_id>")


def test_an_encrypted_or_odd_archive_is_refused():
    with pytest.raises(ValueError, match="no zip file"):
        archives.read(b"PK\5\6", (".py",), 99)
    with pytest.raises(ValueError, match="65535 files"):
        archives.read(b"PK\5\6" + b"\xff" * 30, (".py",), 99)


# ---- the benchmark -------------------------------------------------------------------------------

def test_the_benchmarks_programs_are_all_different_and_ten_never_end(tmp_path):
    bench.write(tmp_path, 1000)
    texts = [path.read_text() for path in tmp_path.iterdir()]
    assert len(set(texts)) == 1000
    for text in texts:
        compile(text, "student.py", "exec")
    assert sum("while True" in text or "sleep" in text for text in texts) == 10
    from tinyvision.exercises import conv2d
    right = inspect.getsource(conv2d.conv2d)
    assert all(bench.variant(right, i) != right for i in (1, 4, 6, 9, 11, 14, 16, 19, 26))
    (tmp_path / "six.py").write_text(bench.ASSIGNMENT)
    assert len(load(str(tmp_path / "six.py")).cases(np.random.default_rng(0))) == 6


@STRONG
def test_a_small_benchmark_counts_every_submission():
    result = bench.measure(20, 2, "single use")
    assert sum(result.verdicts.values()) == 20 and result.goal is None and not result.missed
    assert result.verdicts["OK"] >= 5 and result.memory > 1 << 20
    assert "/s" in bench.line(result) and bench.as_dict(result)["submissions"] == 20


def test_a_family_of_processes_is_counted():
    if not os.path.exists("/proc/self/smaps_rollup"):
        pytest.skip("this system does not tell a process's memory")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert child.pid in bench.family(os.getpid())
        assert bench.share(os.getpid()) > 1 << 20
    finally:
        child.communicate(b"\n")
    assert bench.share(child.pid) == 0


# ---- what a killed grader leaves -----------------------------------------------------------------

HOLDS = """
from tinyvision.grading import jail, sandbox
session = sandbox.Session("student.py", b"", "medium")
print(session.folder.name, jail.grader_folder(), flush=True)
input()
"""


@LINUX
def test_folders_of_a_killed_grader_are_removed_by_the_next_and_no_others(tmp_path):
    def holder():
        return subprocess.Popen([sys.executable, "-c", HOLDS], text=True, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, env=os.environ | {"TMPDIR": str(tmp_path)})
    killed, alive = holder(), holder()
    folders = [[Path(word) for word in one.stdout.readline().split()] for one in (killed, alive)]
    theirs = {name: tmp_path / name for name in ("tinyvision-mine", "tinyvision-scratch-file")}
    theirs["tinyvision-mine"].mkdir(), theirs["tinyvision-scratch-file"].touch()
    (tmp_path / "tinyvision-scratch-link").symlink_to(theirs["tinyvision-mine"])
    killed.kill(), killed.wait()
    assert all(path.exists() for path in (*folders[0], *folders[1]))
    third = holder()                    # grades, and so sweeps first
    own = [Path(word) for word in third.stdout.readline().split()]
    assert not any(path.exists() for path in folders[0])
    assert all(path.exists() for path in (*folders[1], *own, *theirs.values()))
    for one in (alive, third):
        one.communicate("\n", PATIENT)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "tinyvision-mine", "tinyvision-scratch-file", "tinyvision-scratch-link"]


SLEEPS = """
from tinyvision.grading import sandbox
session = sandbox.Session("student.py", b"import os, time\\ndef f():\\n    os.write(1, b'')\\n"
                          b"    time.sleep(1000)\\n", %r)
print(flush=True)
session.ask({"do": "call", "function": "f", "args": {"tuple": []}, "cap": 99}, [], 1000, 1 << 20)
"""


@LINUX
@pytest.mark.parametrize("level", LEVELS)
def test_a_grader_that_is_killed_leaves_no_student_running(level):
    own = {}
    with subprocess.Popen([sys.executable, "-c", SLEEPS % level], stdout=subprocess.PIPE) as grader_:
        grader_.stdout.readline()
        deadline = time.monotonic() + PATIENT
        while len(own) < 2 and time.monotonic() < deadline:     # the worker, and the case's fork
            own = descendants(grader_.pid)
        assert len(own) >= 2
        grader_.kill()
    while any(alive(pid, start) for pid, start in own.items()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [pid for pid, start in own.items() if alive(pid, start)]


def descendants(pid: int) -> dict:
    """Process number -> when it started, of all that a process has started."""
    table = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            table[int(path.name)] = int(fields[1]), fields[19]
    found, before = {pid}, 0
    while before != len(found):
        before = len(found)
        found |= {one for one, (parent, _) in table.items() if parent in found}
    return {one: table[one][1] for one in found - {pid}}


def alive(pid: int, start: str) -> bool:
    """Whether that very process is there, and is no zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[19] == start and fields[0] != "Z"


@LINUX
def test_a_folder_that_was_swept_before_it_was_locked_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lock, removed = scratch._locked, []

    def slow(path, wait=False):
        if wait and not removed:
            removed.append(path)
            path.rmdir()
        return lock(path, wait)
    monkeypatch.setattr(scratch, "_locked", slow)
    made = scratch.folder()
    assert removed and os.path.isdir(made.name) and made.name != str(removed[0])
    assert lock(Path(made.name)) is None
    made.cleanup()
    assert not os.path.exists(made.name)


HASHES = b"def f(): return hash('cat') % 100003\n"


@pytest.mark.parametrize("level", LEVELS)
def test_sets_of_words_have_the_same_order_in_every_run(level):
    def once():
        session = sandbox.Session("student.py", HASHES, level)
        try:
            return session.ask({"do": "call", "function": "f", "args": {"tuple": []}, "cap": 99}, [],
                               10, 1 << 20)[1]
        finally:
            session.close()
    assert once() == once() != []
