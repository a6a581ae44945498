"""Grading: marks are right, nothing a student writes moves them, nothing is lost."""
from __future__ import annotations

import collections
import csv
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import textwrap
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from tinyvision import exercises
from tinyvision.exercises.exercise import Case, Exercise, Mistake
from tinyvision.grading import grade, grader, jail, sandbox, store, submissions
from tinyvision.grading.assignment import generator, prepare
from tinyvision.grading.checking import grids
from tinyvision.grading.commands import add, summary_text
from tinyvision.grading.examine import examine
from tinyvision.grading.inside import messages, worker
from tinyvision.grading.inspecting import show
from tinyvision.grading.patterns import PATTERNS, pattern
from tinyvision.grading.pictures import picture
from tinyvision.grading.verdict import (
    Answer,
    Expected,
    Verdict,
    judge,
    number,
    telling,
)

LEVEL, WHY = sandbox.probe()
STRONG = pytest.mark.skipif(LEVEL != "strong", reason=f"no strong sandbox here: {WHY}")
FORK = pytest.mark.skipif(not worker.CAN_FORK, reason="no fork here")

# ---- a small exercise: channels mixed by a matrix, its gradient, and a chooser -------------------


def mix(x, weight, bias, stride):
    return np.einsum("nchw,oc->nohw", x[..., ::stride, ::stride], weight) + bias[:, None, None]


def mix_backward(g, x, weight, bias, stride):
    gx = np.zeros_like(x)
    gx[..., ::stride, ::stride] = np.einsum("nohw,oc->nchw", g, weight)
    gweight = np.einsum("nohw,nchw->oc", g, x[..., ::stride, ::stride])
    return gx, gweight, g.sum((0, 2, 3))


def pick(scores, threshold):
    return np.flatnonzero(scores > threshold)


def mix_cases(rng):
    def numbers(*shape):
        return rng.uniform(0.5, 2.0, shape) * rng.choice([-1.0, 1.0], shape)

    def arguments(n, c, o, h, w, stride):
        return numbers(n, c, h, w), numbers(o, c), numbers(o), stride
    plain, strided = arguments(2, 3, 4, 5, 6, 1), arguments(1, 2, 3, 7, 5, 2)
    scores = np.round(rng.uniform(0, 1, 12), 1)
    return [Case("mix", "plain", plain, 2), Case("mix", "stride 2", strided, 2),
            Case("mix_backward", "plain", (numbers(2, 4, 5, 6), *plain), 2),
            Case("pick", "ties", (scores, float(scores[3])), 1)]


MIX = Exercise(
    "mix", "Mixing channels", "none", "none",
    {"mix": mix, "mix_backward": mix_backward, "pick": pick}, mix_cases,
    (Mistake("mix", "bias-forgotten", "Where is the bias?",
             lambda x, w, b, s: mix(x, w, 0 * b, s)),
     Mistake("mix", "weight-reversed", "In which order are the channels?",
             lambda x, w, b, s: mix(x, w[:, ::-1], b, s)),
     Mistake("mix_backward", "bias-mean", "The bias is added everywhere.",
             lambda g, *a: (*mix_backward(g, *a)[:2], g.mean((0, 2, 3)))),
     Mistake("pick", "at-least", "What happens at the threshold itself?",
             lambda s, t: np.flatnonzero(s >= t))),
    magnitude={"mix": lambda x, w, b, s: mix(abs(x), abs(w), abs(b), s),
               "mix_backward": lambda g, x, w, b, s: mix_backward(abs(g), abs(x), abs(w), b, s)},
    terms={"mix": lambda x, w, b, s: w.shape[1] + 1,
           "mix_backward": lambda g, *a: g.size})

RIGHT = """\
# tinyvision exercise: mix
import numpy as np

def mix(x, weight, bias, stride):
    return np.einsum("nchw,oc->nohw", x[..., ::stride, ::stride], weight) + bias[:, None, None]

def mix_backward(g, x, weight, bias, stride):
    gx = np.zeros_like(x)
    gx[..., ::stride, ::stride] = np.einsum("nohw,oc->nchw", g, weight)
    return gx, np.einsum("nohw,nchw->oc", g, x[..., ::stride, ::stride]), g.sum((0, 2, 3))

def pick(scores, threshold):
    return np.flatnonzero(scores > threshold)
"""
POINTS = 7.0


@pytest.fixture(autouse=True)
def only_mix(monkeypatch):
    monkeypatch.setattr(exercises, "names", lambda: ["mix"], raising=False)
    monkeypatch.setattr(exercises, "load", load, raising=False)


def load(name):
    if name != "mix":
        raise ValueError(f"there is no exercise {name!r}")
    return MIX


@pytest.fixture(scope="module")
def assignment():
    """The exercise with short time limits."""
    made = prepare(MIX, np.random.default_rng(5))
    made.seconds[:] = [0.7] * len(made.seconds)
    return made


def run(assignment, source, file="student.py", level="medium"):
    source = source if isinstance(source, bytes) else textwrap.dedent(source).encode()
    record, _ = examine(submissions.Submission("student", file, source), assignment, level)
    return record


def verdicts(record):
    return [case["verdict"] for case in record["cases"]]


def with_mix(body, head=""):
    """The right file with another ``mix``."""
    return head + RIGHT.replace(
        "    return np.einsum(\"nchw,oc->nohw\", x[..., ::stride, ::stride], weight) "
        "+ bias[:, None, None]\n", textwrap.indent(textwrap.dedent(body), "    "), 1)


# ---- honest code -----------------------------------------------------------------------------

@pytest.mark.parametrize("level", ["medium", pytest.param("strong", marks=STRONG)])
def test_right_file_has_all_points(assignment, level):
    record = run(assignment, RIGHT, level=level)
    assert (record["verdict"], record["score"], record["points"]) == ("OK", POINTS, POINTS)
    assert record["diagnoses"] == [] and record["remarks"] == []


@pytest.mark.parametrize("source", [
    "\ufeff" + RIGHT, RIGHT.replace("\n", "\r\n"), RIGHT.encode("utf-16"),
    "print('hello', file=__import__('sys').stderr)\n" + RIGHT,
    with_mix("print('a little' * 100)\nreturn MIX(x, weight, bias, stride)\n").replace(
        "def mix(", "def MIX(x, weight, bias, stride):\n    return np.einsum('nchw,oc->nohw', "
        "x[..., ::stride, ::stride], weight) + bias[:, None, None]\n\ndef mix("),
    with_mix("x = x.astype(np.float32)\nreturn (np.einsum('nchw,oc->nohw', x[..., ::stride, "
             "::stride], weight.astype('f4')) + bias.astype('f4')[:, None, None])\n"),
    RIGHT + "\nimport threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()\n",
], ids=["BOM", "CRLF", "UTF-16", "stderr", "prints", "float32", "thread"])
def test_honest_variants_cost_nothing(assignment, source):
    record = run(assignment, source if isinstance(source, bytes) else source.encode())
    assert record["score"] == POINTS, record


def test_every_summation_order_in_float32_passes():
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal(500), rng.standard_normal(500)
    right = Expected((np.asarray(x @ w),), False, (np.asarray(abs(x) @ abs(w)),), (500.0,))

    def verdict(value):
        return judge(Answer((np.asarray(value),), ("ndarray of <f4 and shape ()",), "", ((),)),
                     right).verdict
    for _ in range(1000):
        order = rng.permutation(500)
        terms = x[order].astype("f4") * w[order].astype("f4")
        assert verdict(np.float32(np.add.accumulate(terms)[-1])) is Verdict.OK
    assert verdict(np.float64((x @ w) * (1 + 1e-3))) is Verdict.WRONG_VALUE
    assert verdict(np.float64(x @ w + 1e-9)) is Verdict.WRONG_VALUE
    assert verdict(np.float64(np.nan)) is Verdict.NONFINITE


def test_a_small_gradient_must_not_be_zero():
    """np.allclose(zeros, 1e-9) is true: its absolute tolerance is larger than the truth."""
    g = np.full((2, 3), 1e-9)
    right = Expected((g,), False, (np.abs(g),), (4.0,))

    def verdict(value):
        return judge(Answer((value,), ("ndarray of <f8 and shape 2x3",), "", ((2, 3),)),
                     right).verdict
    assert verdict(g.copy()) is Verdict.OK and verdict(g.astype("f4")) is Verdict.OK
    assert verdict(np.zeros((2, 3))) is Verdict.WRONG_VALUE
    assert verdict(g * (1 + 1e-3)) is Verdict.WRONG_VALUE


# ---- wrong answers -------------------------------------------------------------------------------

@pytest.mark.parametrize("body, verdict", [
    ("return None\n", "WRONG_TYPE"),
    ("return [[1.0]]\n", "WRONG_TYPE"),
    ("return 1.0\n", "WRONG_TYPE"),
    ("return np.asmatrix(np.ones((2, 2)))\n", "WRONG_TYPE"),
    ("return np.zeros((1, 4))\n", "WRONG_SHAPE"),
    ("return np.zeros((4096, 4096, 2))\n", "WRONG_SHAPE"),
    ("return np.zeros((2, 4, 5, 6), 'f2')\n", ["WRONG_DTYPE", "WRONG_SHAPE"]),
    ("return np.zeros((2, 4, 5, 6), object)\n", ["WRONG_DTYPE", "WRONG_SHAPE"]),
    ("return np.zeros((2, 4, 5, 6), complex)\n", ["WRONG_DTYPE", "WRONG_SHAPE"]),
    ("return np.full((2, 4, 5, 6), np.nan)\n", ["NONFINITE", "WRONG_SHAPE"]),
    ("return np.zeros((2, 4, 5, 6))\n", ["WRONG_VALUE", "WRONG_SHAPE"]),
    ("raise ValueError('<script>')\n", "EXCEPTION"),
    ("return mix(x, weight, bias, stride)\n", "EXCEPTION"),
    ("import sys; sys.exit()\n", "EXITED"),
    ("import os; os._exit(0)\n", "EXITED"),
    ("import os; os.abort()\n", "CRASHED"),
    ("import ctypes; ctypes.string_at(0)\n", "CRASHED"),
    ("return np.ones(50 * 2**30 // 8)\n", "MEMORY"),
    ("input()\n", "EXCEPTION"),
    ("import tinyvision\n", "EXCEPTION"),
    ("while True: print('x' * 10**5)\n", "OUTPUT_LIMIT"),
    ("import os\nfor fd in range(3, 30):\n    try: os.write(fd, b'\\xff' * 64)\n"
     "    except OSError: pass\nreturn x\n", "BAD_RESULT"),
], ids=range(22))
def test_wrong_answers_have_their_verdict_and_cost_only_their_case(assignment, body, verdict):
    record = run(assignment, with_mix(body))
    wanted = [verdict] * 2 if isinstance(verdict, str) else verdict
    assert verdicts(record) == [*wanted, "OK", "OK"]
    assert record["score"] == 3.0


def test_a_recursion_shows_few_frames(assignment):
    record = run(assignment, with_mix("return mix(x, weight, bias, stride)\n"))
    assert "RecursionError" in record["cases"][0]["message"]
    assert 1 <= len(record["cases"][0]["frames"]) <= 6


@pytest.mark.parametrize("body", ["while True: pass\n", "import time; time.sleep(1e6)\n"])
def test_timeout_costs_one_more_limit_at_most(assignment, body):
    start = time.perf_counter()
    record = run(assignment, with_mix(body))
    assert verdicts(record)[0] == "TIMEOUT"
    assert time.perf_counter() - start < 4
    assert verdicts(record) == ["TIMEOUT", "TIMEOUT", "OK", "OK"]
    first, second = (case["message"] for case in record["cases"][:2])
    assert first.startswith("did not finish in 2 s") and "of the same function" in second


def test_an_endless_function_takes_no_other_functions_time(assignment):
    """Each function that times out has its own limit, and its own first message."""
    record = run(assignment, with_mix("while True: pass\n").replace(
        "    gx = np.zeros_like(x)\n", "    import time; time.sleep(1e6)\n"))
    assert verdicts(record) == ["TIMEOUT", "TIMEOUT", "TIMEOUT", "OK"]
    assert record["score"] == 1.0 and [
        "of the same function" in case["message"] for case in record["cases"][:3]] == [
        False, True, False]


def test_endless_functions_use_up_the_whole_only_when_every_other_has_had_its_turn(assignment):
    endless = with_mix("while True: pass\n").replace("    gx = np", "    while True: pass\n    gx = np")
    record = run(replace(assignment, wanted=6), endless)
    assert verdicts(record) == ["TIMEOUT", "TIMEOUT", "TIMEOUT", "OK"]


def test_an_endless_function_hides_no_chance_in_others(assignment):
    record = run(assignment, with_mix("while True: pass\n").replace(
        "g.sum((0, 2, 3))", "np.random.rand(len(weight))"))
    assert verdicts(record) == ["TIMEOUT", "TIMEOUT", "NONDETERMINISTIC", "OK"]


def test_a_case_after_a_timeout_still_counts(assignment):
    record = run(assignment, with_mix("if stride == 1:\n    while True: pass\n"
                                      "return np.einsum('nchw,oc->nohw', x[..., ::2, ::2], weight)"
                                      " + bias[:, None, None]\n"))
    assert verdicts(record) == ["TIMEOUT", "OK", "OK", "OK"]


def test_a_loop_at_import_is_a_timeout_everywhere(assignment):
    record = run(assignment, "while True: pass\n")
    assert set(verdicts(record)) == {"TIMEOUT"} and record["score"] == 0
    assert all("the file itself does not finish" in case["message"] for case in record["cases"])


@pytest.mark.parametrize("source, verdict", [
    ("def mix(:\n", "SYNTAX"), (b"x = 1\0", "SYNTAX"), ("print 'a'\n", "SYNTAX"),
    (b"\x89PNG\r\n\x1a\n\xff\xfe\xfd", "SYNTAX"), ("x=" + "-" * 200000 + "1\n", "SYNTAX"),
])
def test_what_is_no_python_is_a_syntax_error(assignment, source, verdict):
    record = run(assignment, source)
    assert record["verdict"] == verdict and record["score"] == 0 and record["message"]


def test_missing_function_names_the_similar_one(assignment):
    record = run(assignment, RIGHT.replace("def pick(", "def Pick_("))
    assert verdicts(record) == ["OK", "OK", "OK", "NO_FUNCTION"]
    assert "Pick_" in record["cases"][3]["message"]


def test_wrong_signature_says_what_is_expected(assignment):
    record = run(assignment, RIGHT.replace("def pick(scores, threshold)", "def pick(scores)"))
    assert "(scores, threshold)" in record["cases"][3]["message"]


def test_mutated_input_keeps_part_of_the_points(assignment):
    record = run(assignment, RIGHT.replace("    return np.flatnonzero(scores > threshold)",
                                           "    found = np.flatnonzero(scores > threshold)\n"
                                           "    scores[:] = 0\n    return found"))
    assert verdicts(record)[3] == "MUTATED_INPUT" and record["cases"][3]["earned"] == 0.75


@pytest.mark.parametrize("noise", ["np.random.standard_normal()",
                                   "np.random.default_rng().random()",
                                   "__import__('random').random()"])
def test_chance_is_seen(assignment, noise):
    record = run(assignment, with_mix(f"return np.zeros((2, 4, 5, 6)) + {noise}\n"))
    assert verdicts(record)[0] == "NONDETERMINISTIC"


# ---- cheats --------------------------------------------------------------------------------------

CHEATS = {
    "patched numpy": with_mix("np.allclose = np.array_equal = lambda *a, **k: True\n"
                              "np.isfinite = lambda a: True\nreturn 0 * x\n"),
    "lying object": with_mix(
        "class Liar:\n    def __eq__(self, other): return True\n"
        "    def __sub__(self, other): return 0\n"
        "    def __array__(self, *a, **k): return np.zeros((2, 4, 5, 6))\nreturn Liar()\n"),
    "lying subclass": with_mix(
        "class Liar(np.ndarray):\n    def __array_function__(self, *a): return True\n"
        "return np.zeros((2, 4, 5, 6)).view(Liar)\n"),
    "pickle": with_mix("class P:\n    def __reduce__(self):\n"
                       "        return (__import__('os').system, ('touch /tmp/owned',))\n"
                       "return np.array([P()], object)\n"),
    "frames": with_mix("import sys\nframe = sys._getframe()\nwhile frame:\n"
                       "    for value in list(frame.f_locals.values()):\n"
                       "        if isinstance(value, np.ndarray) and value.shape == (2, 4, 5, 6):\n"
                       "            return value\n    frame = frame.f_back\nreturn x * 0\n"),
    "reference": with_mix("from tinyvision.exercises.mix import mix as right\n"
                          "return right(x, weight, bias, stride)\n"),
    "worker": with_mix("import sys\nmain = sys.modules['__main__']\n"
                       "main.describe = lambda value, *a: {'type': 'ndarray', 'dtype': '<f8',"
                       " 'shape': [10**6, 10**6], 'plain': True, 'blob': 0}\nreturn x * 0\n"),
    "header": with_mix("import sys\nmain = sys.modules['__main__']\n"
                       "main.pack = lambda *a, **k: b'OK'\nreturn x * 0\n"),
    "verdict": with_mix("import sys\nmain = sys.modules['__main__']\npack = main.pack\n"
                        "main.pack = lambda h, b=(): pack({'status': 'OK', 'verdict': 'OK',"
                        " 'answers': 7, 'error': 3}, [])\nreturn x * 0\n"),
    "odd numbers": with_mix("import sys\nmain = sys.modules['__main__']\nd = main.describe\n"
                            "def describe(v, blobs, cap):\n    a = d(v, blobs, cap)\n"
                            "    a['dtype'] = ['O', 'f8,f8']\n    a['shape'] = [-1]\n    return a\n"
                            "main.describe = describe\nreturn x * 0\n"),
    "kills": with_mix("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nreturn x * 0\n"),
    "stops": with_mix("import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\nreturn x * 0\n"),
}


@FORK
@pytest.mark.parametrize("name", CHEATS)
def test_no_cheat_earns_a_point(assignment, name):
    record = run(assignment, CHEATS[name], level=LEVEL)
    assert [case["earned"] for case in record["cases"]][:2] == [0, 0], record
    assert record["verdict"] != "GRADER_ERROR"
    assert not os.path.exists("/tmp/owned")


@STRONG
def test_the_sandbox_holds_no_answers_and_harms_nothing(tmp_path):
    assignment = prepare(MIX, np.random.default_rng(5))
    assignment.seconds[:] = [20] * 4    # it looks into every folder
    bait = tmp_path / "bait"
    bait.write_text("here")
    spy = with_mix(f"""
        import os, shutil, socket, subprocess
        report = [os.path.exists({str(bait)!r}), os.path.exists('/etc/shadow'),
                  os.path.exists('/root'),
                  os.getuid() == 0, len([p for p in os.listdir('/proc') if p.isdigit()]) > 6]
        for folder, _, files in os.walk('/'):
            if not folder.startswith('/proc'):
                report.append(any('tinyvision' in name for name in [folder, *files]))
        def works(action):
            try: action()
            except Exception: return False
            return True
        report += [works(lambda: open('/python/x', 'w')), works(lambda: open('/dev/shm/x', 'w')),
                   works(lambda: socket.create_connection(('1.1.1.1', 53), 0.2)),
                   works(lambda: open('/site/numpy/x', 'w')),
                   works(lambda: subprocess.check_call(['id'])),
                   works(lambda: open('/tmp/x', 'wb').write(b'x' * (9 << 20)))]
        shutil.rmtree('/usr/lib/python3', ignore_errors=True)
        raise ValueError(str([i for i, found in enumerate(report) if found]))
        """)
    record = run(assignment, spy, level="strong")
    assert record["cases"][0]["message"] == "ValueError: []"
    assert bait.read_text() == "here"
    assert {"imports os, shutil, socket, subprocess"} <= {r.split(" ", 1)[1] for r in
                                                         record["remarks"]}


@FORK
def test_a_worker_that_dies_once_costs_nothing(assignment, monkeypatch):
    asked, real = [], sandbox.Session.ask

    def dies_once(session, request, *rest):
        asked.append(request["do"])
        if len(asked) == 3:             # as when the machine runs out of memory
            session.kill()
        return real(session, request, *rest)
    monkeypatch.setattr(sandbox.Session, "ask", dies_once)
    assert run(assignment, RIGHT)["score"] == POINTS and len(asked) == 4


@STRONG
def test_no_process_is_left(assignment):
    run(assignment, with_mix("import os, time\nif os.fork() == 0:\n    os.setsid()\n"
                             "    time.sleep(98765)\n    os._exit(0)\nreturn x\n"), level="strong")
    time.sleep(0.2)
    assert "98765" not in _processes() and not sandbox._RUNNING


def _processes():
    return subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True).stdout


@STRONG
@pytest.mark.parametrize("bomb", ["import os\nwhile True: os.fork()\n",
                                  "import threading, time\nwhile True:\n    threading.Thread("
                                  "target=time.sleep, args=(99,)).start()\n"])
def test_bombs_are_contained(assignment, bomb):
    start = time.perf_counter()
    record = run(assignment, with_mix(bomb), level="strong")
    assert [case["earned"] for case in record["cases"]][:2] == [0, 0]
    assert time.perf_counter() - start < 8


# ---- notebooks -----------------------------------------------------------------------------------

def notebook(*cells, **metadata):
    return json.dumps({"nbformat": 4, "metadata": metadata, "cells": [
        {"cell_type": "markdown", "source": ["# Notes"]},
        *({"cell_type": "code", "source": cell.splitlines(True)} for cell in cells)]}).encode()


def test_notebook_magics_and_failing_demonstrations_cost_nothing(assignment):
    cells = RIGHT.split("\n\n")
    source = notebook(
        "%matplotlib inline\n!pip install torch\nimport numpy as np\nimport matplotlib.pyplot",
        "%%bash\nrm -rf /", "%%time\n" + cells[1], *cells[2:], "1 / 0",
        "if True:\n    %time np.zeros(3)", "while True: pass", "np.zeros?")
    record = run(assignment, source, "student.ipynb")
    assert record["score"] == POINTS, record


def test_a_name_made_by_a_call_is_found_by_running_all_cells(assignment):
    right = RIGHT.replace("scores > threshold", "scores > threshold + ZERO")
    source = notebook(*right.split("\n\n"), "ZERO = float(np.zeros(1)[0])\n1 / 0\n")
    assert run(assignment, source, "student.ipynb")["score"] == POINTS


def test_a_cell_that_does_not_parse_is_named(assignment):
    record = run(assignment, notebook(*RIGHT.split("\n\n")[:3], "def pick(:\n"), "student.ipynb")
    assert verdicts(record) == ["OK", "OK", "OK", "SYNTAX"]
    assert "cell 5" in record["cases"][3]["message"]


@pytest.mark.parametrize("source", [b'{"cells": [', b"[" * 100000, b"[]", b"{}",
                                    b'{"cells": [{"cell_type": "code"}]}', b"\xff\xff"])
def test_a_broken_notebook_is_unreadable(assignment, source):
    record = run(assignment, source, "student.ipynb")
    assert record["verdict"] == "UNREADABLE" and record["message"]
    assert not re.search(r"\w+Error", record["message"])


def test_a_broken_notebook_that_names_no_exercise_is_unreadable_too(tmp_path):
    """And one that is none of ours, but a notebook, is of no exercise."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/ada.ipynb").write_text('{"cells": [')
    (tmp_path / "in/bob.ipynb").write_bytes(notebook("x = 1"))
    records = graded(tmp_path / "in", tmp_path / "out").records
    assert [record["verdict"] for record in records] == ["UNREADABLE", "MISSING"]
    assert "byte 11" in records[0]["message"]


# ---- diagnosis -----------------------------------------------------------------------------------

def diagnosis(record):
    return {found["function"]: found["name"] for found in record["diagnoses"]}


@pytest.mark.parametrize("old, new, function, name", [
    (" + bias[:, None, None]", "", "mix", "bias-forgotten"),
    ("weight) +", "weight[:, ::-1]) +", "mix", "weight-reversed"),
    ("g.sum((0, 2, 3))", "g.mean((0, 2, 3))", "mix_backward", "bias-mean"),
    ("scores > threshold", "scores >= threshold", "pick", "at-least"),
    ('return np.einsum("nchw', 'return -np.einsum("nchw', "mix", ""),
    ("::stride], weight) +", "::1][..., :(x.shape[2] + stride - 1) // stride, "
     ":(x.shape[3] + stride - 1) // stride], weight) +", "mix", "only-stride"),
    ("return gx, ", "return 2 * gx, ", "mix_backward", "factor"),
    ("bias[:, None, None]", "bias[:, None, None] + 3", "mix", "offset"),
])
def test_mistakes_are_named(assignment, old, new, function, name):
    source = RIGHT.replace(old, new, 1)
    assert source != RIGHT
    record = run(assignment, source)
    assert diagnosis(record) == {function: name}
    assert record["diagnoses"][0]["hint"]


def test_two_mistakes_in_one_tuple_are_told_apart(assignment):
    record = run(assignment, RIGHT.replace("g.sum((0, 2, 3))", "g.mean((0, 2, 3))").replace(
        "return gx, ", "return np.tanh(gx), "))
    assert [found["name"] for found in record["diagnoses"]] == ["", "bias-mean"]


def test_a_mistake_is_named_beside_an_exception(assignment):
    record = run(assignment, with_mix("if stride == 2:\n    raise ValueError\n"
                                      "return np.einsum('nchw,oc->nohw', x, weight)\n"))
    assert verdicts(record)[:2] == ["WRONG_VALUE", "EXCEPTION"]
    assert diagnosis(record) == {"mix": "bias-forgotten"}


@pytest.mark.parametrize("slug, change", [
    ("all-zero", lambda a: 0 * a), ("sign", lambda a: -a),
    ("transposed", lambda a: a.swapaxes(2, 3)), ("reversed", lambda a: a[..., ::-1]),
    ("factor", lambda a: a / 3), ("offset", lambda a: a + 2),
    ("shifted", lambda a: np.roll(a, 1, 3)),
    ("border", lambda a: np.where(np.pad(np.zeros((2, 3, 3, 3)), [(0, 0)] * 2 + [(1, 1)] * 2,
                                         constant_values=1), a + a * a, a)),
    ("one-index", lambda a: a * np.array([1, 2, 1])[:, None, None]),
])
def test_patterns_are_seen(slug, change):
    want = np.random.default_rng(3).standard_normal((2, 3, 5, 5))
    names = [found for test in PATTERNS for (found, _) in test(change(want), want, 1e-9)]
    assert names[:1] == [slug]
    assert not [test for test in PATTERNS if test(np.sin(9 * want), want, 1e-9)]


def patterned(*pairs):
    """What `pattern` says of pairs (got, want) that are wrong."""
    wrong = []
    for got, want in pairs:
        answer = Answer((np.asarray(got),), ("ndarray of",), "", (np.shape(got),))
        right = Expected((np.asarray(want),), False, (np.abs(want),), (1.0,))
        wrong.append((answer, right, judge(answer, right)))
        assert wrong[-1][2].verdict is Verdict.WRONG_VALUE
    return pattern(wrong)


def test_what_is_nearly_right_is_said_to_be():
    a = np.random.default_rng(4).uniform(0.5, 2.0, (3, 4))
    slug, words = patterned((a / (a + 1e-6), a / a), (a / (2 * a + 1e-6), a / (2 * a)))
    assert slug == "nearly-right" and "right to about 5 digits" in words and "denominator" in words
    slug, words = patterned((a.astype("f4").astype("f8"), a))
    assert slug == "nearly-right" and "about 7 digits" in words
    assert patterned((a * (1 + 3e-7), a))[0] == "nearly-right"      # "1 times" says nothing
    assert patterned((a * 1.01, a)) == ("factor", "Your result is 1.01 times the right one.")
    assert patterned((a / (a + 1e-6), a / a), (np.sin(9 * a), a)) is None
    assert patterned((a / (a + 1e-3), a / a)) is None
    zeros = np.where(a > 1, a, 0.0)                                 # of a zero nothing is near
    assert patterned((zeros + 1e-9 * np.sin(9 * a), zeros)) is None


@pytest.mark.parametrize("small", [1e-6, 1e-9, 1e-13])
def test_numbers_are_written_so_that_their_difference_shows(small):
    want = np.array([[8 / 15, 1 / 3]])
    answer = Answer((want + small,), ("ndarray of",), "", (want.shape,))
    right = Expected((want,), False, (1e-3 * want,), (1.0,))
    found = judge(answer, right)
    yours, expected = re.search("yours (.+), expected (.+)", found.message).groups()
    assert yours != expected and float(yours) > float(expected)
    drawn = picture(answer, right, found)
    lines = "\n".join(grids(drawn))
    assert "difference" in lines and not lines.endswith(".")
    assert abs(drawn["received"][0][0] - drawn["expected"][0][0] - small) < small
    assert number(0.5) == "0.5" and telling(8 / 15, 0.4) == 6 and telling(0.1, 0.1) == 17


# ---- a folder ------------------------------------------------------------------------------------

def make_folder(path):
    path.mkdir()
    (path / "alice.py").write_text(RIGHT)
    (path / "bob.py").write_text(RIGHT.replace(" >", " >="))
    (path / "=cmd().py").write_text(RIGHT)
    (path / "carol").mkdir()
    (path / "carol" / "mix.py").write_text(RIGHT.split("\n", 1)[1])
    (path / "dora").mkdir()
    (path / "eve.py").write_text("print('no exercise')\n")
    (path / "frank.ipynb").write_bytes(notebook(RIGHT, tinyvision={"exercise": "mix"}))
    (path / "gina.py").write_text("# tinyvision exercise: mix\ndef mix(:\n")
    (path / "...py").write_text(RIGHT)          # hidden: passed over
    if hasattr(os, "mkfifo"):
        (path / "hans.py").symlink_to("alice.py")
        os.mkfifo(path / "ivan.py")
    return path


def graded(folder, out, **options):
    return grade(folder, out, isolation=LEVEL, seed="test", progress=False, **options)


def kept(out):
    """Every JSON of a folder but the times."""
    return {path.relative_to(out): path.read_bytes() for path in out.rglob("*.json")
            if not path.name.endswith(".time.json")}


def test_a_folder_is_graded_resumed_and_the_same_for_any_number_of_workers(tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "in")
    one, two = graded(folder, tmp_path / "one", jobs=1), graded(folder, tmp_path / "two", jobs=2)
    found = {r["file"]: r["verdict"] for r in one.records}
    expected = {"alice.py": "OK", "bob.py": "WRONG_VALUE", "carol/mix.py": "OK", "dora": "MISSING",
                "eve.py": "MISSING", "bob.py": "WRONG_SHAPE",
                "frank.ipynb": "OK", "gina.py": "SYNTAX", "=cmd().py": "OK"}
    if hasattr(os, "mkfifo"):
        expected |= {"hans.py": "UNREADABLE", "ivan.py": "UNREADABLE"}
    assert found == expected
    assert (one.gradebook.read_bytes() == two.gradebook.read_bytes()
            and one.report.read_bytes() == two.report.read_bytes())
    assert kept(tmp_path / "one") == kept(tmp_path / "two")
    monkeypatch.setattr(grader, "examine", None)            # resumed: nothing runs again
    again = graded(folder, tmp_path / "one", jobs=2)
    assert again.reused == again.submitted == len(expected)
    assert again.gradebook.read_bytes() == two.gradebook.read_bytes()


def test_the_gradebook_is_safe_to_open(tmp_path):
    folder = make_folder(tmp_path / "in")
    rows = list(csv.DictReader(io.StringIO(graded(folder, tmp_path / "out").gradebook.read_text())))
    assert {row["student"] for row in rows} >= {"alice", "'=cmd()"}
    assert {row["student"]: row["score"] for row in rows}["alice"] == "7"
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize("name", ["..", ".", "a/b", "-x", "x" * 300, "a\nb", "é", "日" * 90, "a."])
def test_a_students_name_is_one_folder(name):
    folder = store.folder_name(name)
    assert folder not in ("", ".", "..") and "/" not in folder and "\n" not in folder
    assert len(folder.encode()) <= 120


def test_our_own_fault_is_blank_and_done_again(tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "alice.py").write_text(RIGHT)

    def broken(*arguments, **options):
        raise RuntimeError("disk on fire")
    with monkeypatch.context() as patch:
        patch.setattr(grader, "examine", broken)
        first = graded(folder, tmp_path / "out")
    assert first.count() == {"GRADER_ERROR": 1} and first.records[0]["score"] is None
    row, = csv.DictReader(io.StringIO(first.gradebook.read_text()))
    assert row["score"] == "" and "disk on fire" in first.records[0]["message"]
    assert graded(folder, tmp_path / "out").count() == {"OK": 1}


def test_an_exercise_that_fails_is_our_fault(tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "in")

    def fails(name):
        raise ZeroDivisionError("in the exercise")
    monkeypatch.setattr(exercises, "load", fails)
    counts = graded(folder, tmp_path / "out").count()
    assert counts["GRADER_ERROR"] == 6 and "OK" not in counts


def test_a_record_cut_short_is_made_again(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "alice.py").write_text(RIGHT)
    graded(folder, tmp_path / "out")
    path, = (p for p in (tmp_path / "out" / "results").rglob("*.json") if "time" not in p.name)
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    (path.parent / ".left.part").write_bytes(b"{")
    assert graded(folder, tmp_path / "out").reused == 0
    assert path.read_bytes() == whole


@FORK
def test_an_interrupted_run_keeps_what_is_finished_and_goes_on(tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abcdefgh":
        (folder / f"{name}.py").write_text(RIGHT)
    (folder / "c.py").write_text(with_mix("while True: pass\n"))
    real, seen = grader.examine, []

    def interrupting(submission, *arguments, **options):
        if submission.student == "c" and "c" not in seen:
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        seen.append(submission.student)
        return real(submission, *arguments, **options)
    with monkeypatch.context() as patch:
        patch.setattr(grader, "examine", interrupting)
        first = graded(folder, tmp_path / "out", jobs=1)
    assert first.interrupted and [r["student"] for r in first.records] == ["a", "b"]
    assert "interrupted" in summary_text(first)
    second = graded(folder, tmp_path / "out", jobs=2)
    assert (second.reused, second.interrupted) == (2, False)
    assert second.count() == {"OK": 7, "TIMEOUT": 1}


def test_hostile_neighbours_change_no_mark(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for i, source in enumerate(CHEATS.values()):
        (folder / f"{i:02}-honest.py").write_text(RIGHT)
        (folder / f"{i:02}-hostile.py").write_text(source)
    records = {r["student"]: r for r in graded(folder, tmp_path / "out", jobs=3).records}
    assert all((record["score"] == POINTS) == student.endswith("honest")
               for student, record in records.items())
    assert len(records) == 2 * len(CHEATS)


def test_seeds_are_secret_and_repeatable():
    numbers = [generator(secret, name).random() for secret, name in
               ((b"a", "mix"), (b"a", "mix"), (b"b", "mix"), (b"a", "nms"))]
    assert numbers[0] == numbers[1] and len(set(numbers)) == 3


def test_no_isolation_must_be_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "probe", lambda: ("none", "a test"))
    folder = make_folder(tmp_path / "in")
    with pytest.raises(grader.IsolationError, match="--isolation none"):
        grade(folder, tmp_path / "out", progress=False)
    with pytest.raises(grader.IsolationError, match="a test"):
        grade(folder, tmp_path / "out", isolation="strong", progress=False)


# ---- the report and the commands -----------------------------------------------------------------

def test_the_report_escapes_everything_and_shows_pictures(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a<img src=x>.py").write_text(with_mix(
        "raise ValueError('<script>alert(1)</script>')\n"))
    (folder / "b.py").write_text(RIGHT.replace("weight) +", "2 * weight) +"))
    graded(folder, tmp_path / "out")
    pages = [path.read_text() for path in (tmp_path / "out").rglob("*.html")]
    assert len(pages) == 4 and all("default-src 'none'" in page for page in pages)
    assert not any("<script" in page or "<img src=x" in page for page in pages)
    assert any("&lt;script&gt;" in page for page in pages)
    page = (tmp_path / "out/students/b.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 8     # each of four panels


def test_terminal_escapes_of_students_are_removed():
    assert store.plain("a\x1b[2Jb\x1b]0;title\x07c\rd\u202e") == "abc\ufffdd\ufffd"


def command(arguments):
    import argparse
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers())
    args = parser.parse_args(arguments)
    return args.run(args)


def test_check_names_the_mistake_quickly(tmp_path, capsys):
    path = tmp_path / "mix.py"
    path.write_text(RIGHT.replace(" + bias[:, None, None]", ""))
    start = time.perf_counter()
    assert command(["check", str(path)]) == 1
    assert time.perf_counter() - start < 2
    printed = capsys.readouterr().out
    assert "bias forgotten. Where is the bias?" in printed and "✗ plain" in printed
    assert "3 of 7 points" in printed
    path.write_text(RIGHT)
    assert command(["check", str(path)]) == 0
    assert "7 of 7 points, everything is right" in capsys.readouterr().out


def test_check_explains_what_it_cannot_check(tmp_path, capsys):
    path = tmp_path / "homework.py"
    path.write_text("x = 1\n")
    assert command(["check", str(path)]) == 2
    assert "# tinyvision exercise: mix" in capsys.readouterr().err
    assert command(["check", str(tmp_path / "nothing.py")]) == 2
    path.write_text("# tinyvision exercise: mix\ndef mix(:\n")
    assert command(["check", str(path)]) == 1
    assert "line 2" in capsys.readouterr().out


def test_check_says_of_a_broken_notebook_that_it_is_none(tmp_path, capsys):
    path = tmp_path / "homework.ipynb"
    for source, words in (('{"cells": [', "Expecting value"), ("[]", "it has no list of cells"), ("", "Expecting"),
                          ('{"cells": [{"x": "# tinyvision exercise: hw_1"', "Expecting")):
        path.write_text(source)
        assert command(["check", str(path)]) == 2
        said = capsys.readouterr().err
        assert f"homework.ipynb cannot be read: not a notebook: {words}" in said
        assert "names no exercise" not in said and "instructor" not in said
    path.write_bytes(notebook("x = 1"))
    assert command(["check", str(path)]) == 2
    assert "homework.ipynb names no exercise" in capsys.readouterr().err


def test_a_submission_without_an_exercise_can_be_shown(tmp_path):
    make_folder(tmp_path / "in")
    (tmp_path / "in" / "zoe.zip").write_bytes(b"PK no archive")
    grade(tmp_path / "in", tmp_path / "out", seed="x", isolation="medium", progress=False)
    said = show(tmp_path / "out", "zoe")
    assert "UNREADABLE: cannot be read" in said
    assert said.endswith("of no exercise: nothing in it gives points")


def test_grade_command_prints_the_summary(tmp_path, capsys):
    folder = make_folder(tmp_path / "in")
    out = tmp_path / "out"
    assert command(["grade", "mix", str(folder), "-o", str(out), "--isolation", LEVEL]) == 0
    printed = capsys.readouterr().out
    assert "OK 4" in printed and "pick: at least 1" in printed
    assert str(out / "gradebook.csv") in printed
    assert command(["grade", str(folder / "nowhere"), "-o", str(out)]) == 2
    assert command(["grade", "maths", str(folder), "-o", str(out)]) == 2
    assert "there is no exercise 'maths'" in capsys.readouterr().err
    assert command(["grade", str(folder), "mix", "-o", str(out)]) == 2
    assert "comes last: tinyvision grade mix" in capsys.readouterr().err


# ---- messages ------------------------------------------------------------------------------------

def test_values_cross_unchanged():
    values = (np.arange(6.0).reshape(2, 3).T, np.zeros((0, 4)), np.int64(3), 2.5, True, None,
              (1, 2), np.array([1, 2]))
    blobs = []
    message = messages.pack({"args": messages.encode(values, blobs)}, blobs)
    header, blobs = messages.unpack(message)
    back = messages.decode(header["args"], blobs)
    assert all(np.array_equal(a, b) and type(a) is type(b) for a, b in
               zip(back, (*values[:2], 3, *values[3:])))


def test_a_namedtuple_is_a_tuple():
    pair = collections.namedtuple("Pair", "mean variance")(1.0, 2.0)
    assert messages.several(pair) == ("tuple", [1.0, 2.0])
    assert messages.several([3, 4]) == ("list", [3, 4])
    assert messages.several("ab") == ("", ["ab"])


@pytest.mark.parametrize("message", [
    b"", b"abc", struct.pack("<I", 99) + b"{}", struct.pack("<I", 2) + b"[]",
    struct.pack("<I", 2) + b"{}", messages.pack({"a": 1}, [b"xy"])[:-1],
    struct.pack("<I", 20) + b'{"lengths":[-1,1e9]}', struct.pack("<I", 60000) + b"[" * 60000])
def test_garbled_messages_are_refused(message):
    with pytest.raises(ValueError, match="garbled"):
        messages.unpack(message)


def test_the_worker_stands_alone(tmp_path):
    shutil.copytree(jail.PARTS, tmp_path / "inside")
    for path in (tmp_path / "inside").glob("*.py"):
        assert "import tinyvision" not in path.read_text()
        assert "from tinyvision" not in path.read_text() and "from .." not in path.read_text()
    setup = io.BytesIO()
    messages.write_frame(setup, messages.pack({"name": "a.py", "limits": {}, "frame_cap": 99}, [b""]))
    done = subprocess.run(jail.started(sandbox.interpreter(), sandbox.numpy_site(), str(tmp_path),
                                       "worker"), input=setup.getvalue(), capture_output=True)
    header, _ = messages.unpack(messages.read_frame(io.BytesIO(done.stdout), 1000))
    assert header == {"status": "hello", "fork": worker.CAN_FORK} and done.stderr == b""
