"""A function of ours that a student's function gets: nothing of it lies in the student's process."""
import re
import time

import numpy as np
import pytest
from programs import cases_of, changed, failed, fork, graded

from tinyvision.exercises import load
from tinyvision.exercises.drivers import gradcheck as driver
from tinyvision.exercises.start import solution_text
from tinyvision.grading import sandbox, submissions
from tinyvision.grading.assignment import prepare, prepare_public
from tinyvision.grading.counterexample import of_mistake
from tinyvision.grading.examine import examine
from tinyvision.grading.talking import Talk

pytestmark = fork
LEVELS = ["medium"] + ["strong"] * (sandbox.probe()[0] == "strong")

ANALYTIC = """
import gc, inspect, sys, types
import numpy as np

def numbers(f, x):
    \"\"\"The coefficients of f, wherever they can be read.\"\"\"
    wanted = ("linear", "square", "waves", "scale", "unit")
    seen, todo = set(), [gc.get_objects(), vars(sys.modules["__main__"]), sys._getframe(0), f]
    while todo and len(seen) < 30000:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, types.FrameType):
            todo += [one.f_back, one.f_locals]
            found = one.f_locals
        else:
            found = one if isinstance(one, dict) else {}
            todo += gc.get_referents(one)
        if isinstance(one, types.FunctionType) and one.__closure__:
            found = inspect.getclosurevars(one).nonlocals
        if all(name in found for name in wanted):
            return [found[name] for name in wanted]
    raise LookupError("the coefficients are nowhere")

def gradcheck(f, x, gradient):
    if gradient.shape != x.shape:
        return False
    linear, square, waves, scale, unit = numbers(f, x)
    u = x.astype(float).reshape(-1) / unit
    right = scale / unit * (linear + (square + square.T) @ u + waves * np.cos(u))
    error = np.abs(gradient - right.reshape(x.shape)).max()
    return bool(error <= 1e-4 * np.abs(right).max())
"""

CLOSURE = ANALYTIC.replace("seen, todo = set(), [", "cells = dict(zip(f.__code__.co_freevars, (c."
                           "cell_contents for c in f.__closure__)))\n"
                           "    return [cells[name] for name in wanted]\n"
                           "    seen, todo = set(), [", 1)
GRADIENTS = """
import sys
import numpy as np

def gradcheck(f, x, gradient):
    frame = sys._getframe(1)
    while frame and "gradients" not in frame.f_locals:
        frame = frame.f_back
    claims = frame.f_locals["gradients"]
    return bool(np.array_equal(gradient, np.median(claims, axis=0)))
"""


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("text", [ANALYTIC, CLOSURE, GRADIENTS],
                         ids=["anywhere", "closure", "gradients"])
def test_nothing_but_values_of_f_tells_what_is_right(text, level):
    shapes_and_nan = 1.5                # what is wrong whatever f is earns no whole case
    assert graded("gradcheck", text, level)["score"] <= shapes_and_nan


def test_every_known_mistake_is_shown_by_a_call_that_can_be_typed():
    """Small numbers; typed, it says what it is said to say."""
    made = prepare_public(load("gradcheck"))
    for mistake in load("gradcheck").mistakes:
        _, shown = of_mistake(made, mistake)
        assert len(shown["call"]) < 230 and not re.search(r"\d\.\d\d|\d{7}", shown["call"]), shown
        for function, said in ((mistake.implementation, shown["yours"]),
                               (load("gradcheck").functions["gradcheck"], shown["expected"])):
            assert typed(shown["call"], function) == said, shown
        assert shown["yours"] != shown["expected"]


def typed(call, gradcheck):
    """What a program of one line ends with, as a counter-example has it."""
    *before, last = call.split("; ")
    space = {"np": np, "gradcheck": gradcheck}
    exec("\n".join(before), space)
    answer = eval(last, space)
    return str(tuple(one.tolist() if isinstance(one, np.ndarray) else one for one in answer)
               if isinstance(answer, tuple) else answer)


@pytest.mark.parametrize("changes", [
    (), ("<= 1e-4 *", "<= 0.3 *"), ("bool(", "x.size < 30 and bool("),
    ("(2 * h)", "(2 * h) + 1e-3"),
    ("np.array(x, np.float64)", "np.array(x)")], ids=str)
def test_of_any_other_function_too(changes):
    record = check_text(changed("gradcheck", *changes) if changes else
                        "def gradcheck(f, x, gradient):\n    return True\n")
    found = [one["counterexample"] for one in [*record["diagnoses"], *record["cases"]]
             if "counterexample" in one]
    if "size" in str(changes):          # that takes thirty numbers
        assert not found and record["score"] == 9
        return
    assert len(found) == 1 and len(found[0]["call"]) < 230, found
    assert {found[0]["yours"], found[0]["expected"]} == {"True", "False"}


def check_text(text):
    return examine(submissions.Submission("ada", "ada.py", text.encode(), "gradcheck"),
                   prepare_public(load("gradcheck")), "medium", deep=True)[0]


def test_a_formula_in_words_is_the_formula():
    rng = np.random.default_rng(0)
    for shape, scale, unit in (((3,), 1.0, 1.0), ((2, 2), 1e-9, 1.0), ((3,), 2.5, 2.0 ** 20)):
        n = int(np.prod(shape))
        numbers = [rng.integers(-2, 3, size) * 1.0 for size in (n, (n, n), n)]
        f, x = driver.formula(*numbers, scale, unit, shape), rng.standard_normal(shape) * unit
        text = driver.formula_text(*numbers, scale, unit, shape)
        assert eval(text, {"np": np})(x) == pytest.approx(f(x), rel=1e-10)
    assert driver.formula_text(np.zeros(1), np.zeros((1, 1)), np.zeros(1), 1.0, 1.0, (1,)) == (
        "lambda x: 0.0")


@pytest.mark.parametrize("level", LEVELS)
def test_the_solution_is_right_and_calls_are_answered_in_order(level):
    record = graded("gradcheck", solution_text(load("gradcheck")), level)
    assert failed(record) == {} and record["score"] == 10


def test_right_answers_without_a_look_at_f_earn_nothing():
    """The solution's own answers, in the order in which they are asked for."""
    answers = {}
    made = prepare(load("gradcheck"), np.random.default_rng(7))
    for case, right in zip(made.cases, made.expected):
        x = case.args[5]
        answers[float(x.reshape(-1) @ np.arange(1.0, 1 + x.size))] = [
            bool(one) for one in np.ravel(right.parts[0])]
    cheat = (f"ANSWERS = {answers!r}\nimport numpy as np\ndef gradcheck(f, x, gradient):\n"
             "    x = x.astype(float)\n"
             "    left = ANSWERS[float(x.reshape(-1) @ np.arange(1.0, 1 + x.size))]\n"
             "    MORE\n"
             "    answer = left.pop(0)\n    left.append(answer)\n    return answer\n")
    wrong = failed(graded("gradcheck", cheat.replace("MORE", "f(x)")))
    assert {verdict for verdict, _ in wrong.values()} == {"BAD_RESULT"} and len(wrong) >= 13
    assert "f was not called where" in wrong["a line"][1]
    assert failed(graded("gradcheck", cheat.replace("MORE", "f(x * 2 + 1e-3)"))) == {}


def test_an_exception_names_the_students_line_and_what_f_refused():
    record = graded("gradcheck", "def gradcheck(f, x, gradient):\n    return f(x[:1]) == 1\n")
    case = record["cases"][0]
    assert case["verdict"] == "EXCEPTION"
    assert case["message"] == "ValueError: f takes an array of shape (3,), got (1,)"
    assert case["frames"] == ["gradcheck.py:2 in gradcheck: return f(x[:1]) == 1"]
    printing = changed("gradcheck", "x, numerical =", "print('hello')\n    x, numerical =")
    assert graded("gradcheck", printing)["cases"][0]["printed"].startswith("hello")


@pytest.mark.parametrize("body, verdict", [
    ("while True: f(x)", "TIMEOUT"), ("__import__('os')._exit(0)", "EXITED"),
    ("__import__('ctypes').string_at(0)", "CRASHED"), ("return 1.0", "EXCEPTION"),
    ("return f(np.array([{}]))", "EXCEPTION"), ("return f(x * 1j)", "EXCEPTION")])
def test_what_ends_a_conversation_is_told(body, verdict):
    text = f"import numpy as np\ndef gradcheck(f, x, gradient):\n    {body}\n"
    record = graded("gradcheck", text)
    assert {found for found, _ in failed(record).values()} == {verdict} and record["score"] == 0


FORGED = """
import sys
import numpy as np
main = sys.modules["__main__"]

def gradcheck(f, x, gradient):
    ask, = [cell.cell_contents for cell in f.__closure__ if callable(cell.cell_contents)]
    for message in (MESSAGES):
        ask(message)
    return True
"""


@pytest.mark.parametrize("message", [
    "main.pack({'status': 'ok', 'several': '', 'answers': [], 'inputs': 0})",
    "main.pack({'status': 'ok'})", "b'no message'", "main.pack({'status': 'asks'})",
    "main.pack({'status': 'asks', 'function': 7, 'several': '', 'inputs': 0, 'answers': "
    "[main.describe(x, [], 99)]})",
    "main.pack({'status': 'ok', 'several': '', 'answers': [main.describe(1.5, [], 99)],"
    " 'inputs': 1}, [np.float64(1.5).tobytes()])"])
def test_forged_messages_earn_nothing_and_are_no_fault_of_ours(message):
    record = graded("gradcheck", FORGED.replace("MESSAGES", f"{message},"))
    assert record["score"] == 0
    assert {verdict for verdict, _ in failed(record).values()} <= {
        "BAD_RESULT", "EXCEPTION", "EXITED", "CRASHED", "TIMEOUT"}


def test_a_conversation_is_what_a_local_call_is():
    """Bit for bit: the driver here with the function there, against both here."""
    exercise = load("gradcheck")
    for case in cases_of("gradcheck"):
        talk, answer = Talk.needed([(exercise, case)]), exercise.answer(case)
        source = solution_text(load("gradcheck")).encode()
        session = sandbox.Session("gradcheck.py", source, "medium")
        request = {"do": "call", "function": "gradcheck", "cap": 1 << 16, "talks": True,
                   "driver": "asked", "driver_text": load("gradcheck").driver_text}
        header, blobs = talk.told(0, *session.ask(request, [], 10, 1 << 20, talk))
        session.close()
        assert header["unearned"] == "" and header["status"] == "ok"
        for about, part in zip(header["answers"], answer if isinstance(answer, tuple) else [answer]):
            assert blobs[about["blob"]] == part.tobytes(), case.name


def test_a_question_costs_little():
    """A check must end in two seconds: half a millisecond each would be too slow."""
    calls = []

    def counting(f, x, gradient):
        def counted(place):
            calls.append(1)
            return f(place)
        return load("gradcheck").functions["gradcheck"](counted, x, gradient)
    for case in cases_of("gradcheck"):
        load("gradcheck").answer(case, counting)
    start = time.process_time()
    graded("gradcheck", solution_text(load("gradcheck")))
    assert len(calls) > 500 and (time.process_time() - start) / len(calls) < 2e-3


def test_what_one_call_prints_is_not_held_against_another():
    """Half a megabyte a call, of eight that may be printed: together it is more."""
    text = solution_text(load("conv2d")).replace(
        "def conv2d(x, weight, bias, stride, padding):",
        "def conv2d(x, weight, bias, stride, padding):\n    print('debug line\\n' * 100_000)", 1)
    assert "debug line" in text
    record = graded("conv2d", text)
    assert record["score"] == 10 and not record["remarks"]
