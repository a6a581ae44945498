"""`tinyvision bench grade`: a thousand submissions of six cases each, on two cores.

The submissions are made here, from the exercise conv2d's own solution: right ones, wrong ones,
hostile ones, and of every thousand ten that never end, five in all their cases, five in one; half
of them compute, half of them sleep. Measured is what an instructor
waits for: from the folder of files to records, gradebook and pages. Twice: with an interpreter of
its own for every submission, and with the fork server.
"""
from __future__ import annotations

import dataclasses
import inspect
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

SIZE, WORKERS = 1000, 4                 # two more than cores, as `grade -j auto` has them
GOALS = {"single use": 90.0, "fork server": 30.0}       # seconds on two cores
ASSIGNMENT = """\
from dataclasses import replace
from tinyvision.exercises.conv2d import EXERCISE as WHOLE

EXERCISE = replace(
    WHOLE, name="six", functions={"conv2d": WHOLE.functions["conv2d"]},
    cases=lambda rng: [case for case in WHOLE.cases(rng) if case.function == "conv2d"],
    mistakes=tuple(one for one in WHOLE.mistakes if one.function == "conv2d"))
"""
ONE = "if stride == 2:\n        "           # one of the six cases
ENDLESS = ("while True:\n        pass", ONE + "while True:\n            pass",
           "import time\n    time.sleep(1e6)", ONE + "__import__('time').sleep(1e6)")
HOSTILE = (
    "import os\n    os._exit(0)", "import os\n    os.kill(os.getppid(), 9)",
    "import ctypes\n    return ctypes.string_at(0)", "return np.ones(50 << 27)",
    "import socket\n    socket.create_connection(('192.0.2.1', 53))",
    "import os\n    return [os.write(fd, b'\\xff' * 64) for fd in range(3, 30)]",
    "import sys\n    sys.exit(0)", "from tinyvision.ops import conv2d as right\n    return right",
    "return conv2d(x, weight, bias, stride, padding)", "return np.full((9, 9), np.nan)")
WRONG = (("+ bias", ""), ("weight)", "weight[:, :, ::-1, ::-1])"), ("(N, O, A, B)", "(N, O, B, A)"),
         ("a * stride:a * stride + I", "a:a + I"), ("+ bias", "+ 2 * bias"),
         ("np.pad(x, ", "np.pad(x, mode='edge', pad_width="), ("return y", "return -y"),
         ("return y", "return y.astype(np.float16)"), ("return y", "return y[:, :, ::-1]"))


@dataclass(frozen=True)
class Result:
    """One run.

    Attributes:
        name: how sandboxes were started.
        seconds: from the folder to the last page.
        submissions: how many were graded.
        memory: the most bytes that all its processes together had resident.
        verdicts: how many submissions ended with each.
        goal: seconds, for a thousand on two cores; None for other sizes.
    """
    name: str
    seconds: float
    submissions: int
    memory: int
    verdicts: dict
    goal: float | None

    @property
    def missed(self) -> bool:
        """Whether it took longer than the goal allows."""
        return self.goal is not None and self.seconds > self.goal


# ---- the submissions -----------------------------------------------------------------------------

def write(folder: Path, count: int) -> None:
    """``count`` submissions, no two the same bytes: in every hundred one that never ends, ten
    hostile ones, forty wrong ones, the others right."""
    from tinyvision.exercises import conv2d
    right = inspect.getsource(conv2d.conv2d).replace("### BEGIN SOLUTION", "").replace(
        "### END SOLUTION", "")
    for i in range(count):
        (folder / f"student{i:04}.py").write_text(
            f"# submission {i}\nimport numpy as np\n\n\n{variant(right, i)}", encoding="utf-8")


def variant(right: str, i: int) -> str:
    """The i-th program."""
    kind, turn = i % 100, i // 100
    head = right[:right.index("(N, C, H, W), (O")]
    if kind == 37:
        body = ENDLESS[turn % len(ENDLESS)]
        return f"{head}{body}\n    {right[len(head):]}" if ONE in body else f"{head}{body}\n"
    if kind % 10 == 3:
        return f"{head}{HOSTILE[kind // 10]}\n"
    if kind % 5 in (1, 4):
        return right.replace(*WRONG[kind % len(WRONG)])
    return right


# ---- one run -------------------------------------------------------------------------------------

def measure(count: int, workers: int, name: str) -> Result:
    """Grade ``count`` submissions in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="tinyvision-bench-") as folder:
        place = Path(folder)
        (place / "in").mkdir()
        write(place / "in", count)
        (place / "six.py").write_text(ASSIGNMENT, encoding="utf-8")
        command = [sys.executable, "-m", "tinyvision", "grade", str(place / "six.py"),
                   str(place / "in"), "-o", str(place / "out"), "--seed", "bench", "-j",
                   str(workers), *(["--fork-server"] if name == "fork server" else [])]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        memory = Memory(process.pid)
        said = process.communicate()[0].decode("utf-8", "replace")
        seconds = time.perf_counter() - start
        return Result(name, seconds, count, memory.stop(), verdicts(place / "out", count, said),
                      GOALS[name] if (count, workers) == (SIZE, WORKERS) else None)


def verdicts(out: Path, count: int, said: str) -> dict:
    """How many records have each verdict; RuntimeError where one is missing or is our fault."""
    found: dict[str, int] = {}
    for path in out.glob("results/*/*.json"):
        if not path.name.endswith(".time.json"):
            verdict = json.loads(path.read_text(encoding="utf-8"))["verdict"]
            found[verdict] = found.get(verdict, 0) + 1
    if sum(found.values()) != count or "GRADER_ERROR" in found:
        raise RuntimeError(f"bench grade: {count} submissions, but the records are {found}; the "
                           f"grader said: {said[-500:]}")
    return dict(sorted(found.items(), key=lambda item: -item[1]))


class Memory(threading.Thread):
    """Watches how much memory a process and all below it have, by their proportional shares."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.pid, self.most, self.ended = pid, 0, threading.Event()
        self.start()

    def run(self) -> None:
        """Look once a second: each look costs a processor some 30 ms, and is in the time, too."""
        while not self.ended.wait(1):
            self.most = max(self.most, sum(map(share, family(self.pid))))

    def stop(self) -> int:
        """The most there was, in bytes."""
        self.ended.set()
        self.join()
        return self.most


def family(pid: int) -> list[int]:
    """A process and all that came from it and are still there."""
    found = [pid]
    for parent in found:
        try:
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        except OSError:
            continue
        found += map(int, children)
    return found


def share(pid: int) -> int:
    """A process's bytes, pages that several use shared out among them; 0 once it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(text.split("\nPss:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        return 0


# ---- the command ---------------------------------------------------------------------------------

def run(count: int = SIZE, workers: int = WORKERS, say=print) -> list[Result]:
    """Both runs, told one by one."""
    from tinyvision.grading import doctor, sandbox
    names = ["single use", *(["fork server"] if doctor.fork_server().works else [])]
    say(f"{count} submissions of six cases, {workers} workers on {os.cpu_count()} cores, isolation "
        f"{sandbox.probe()[0]}")
    results = []
    for name in names:
        results.append(measure(count, workers, name))
        say(line(results[-1]))
    return results


def line(result: Result) -> str:
    """One result in a line."""
    counts = ", ".join(f"{verdict} {n}" for verdict, n in result.verdicts.items())
    goal = "" if result.goal is None else (
        f"   goal {result.goal:g} s: {'missed' if result.missed else 'met'}")
    return (f"{result.name:12}{result.seconds:7.1f} s{result.submissions / result.seconds:8.1f} /s"
            f"{result.memory / 2**20:8.0f} MB{goal}\n            {counts}")


def as_dict(result: Result) -> dict:
    """For machines."""
    return dataclasses.asdict(result) | {"missed": result.missed}
