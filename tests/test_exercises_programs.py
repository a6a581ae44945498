"""Drivers, and two exercises that need one: a class, and a function that judges gradients."""
import ast
import doctest
import inspect
import json
import platform
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from programs import cases_of, changed, failed, fork, graded, host

from tinyvision.exercises import drivers, load, names
from tinyvision.exercises import gradcheck as gradcheck_exercise
from tinyvision.exercises.autograd import Value
from tinyvision.exercises.drivers import autograd as programs
from tinyvision.exercises.drivers import text as texts
from tinyvision.exercises.start import notebook_text, solution_text, stub
from tinyvision.grading import inspecting
from tinyvision.grading.assignment import prepare, prepare_public
from tinyvision.grading.examine import examine
from tinyvision.grading.inside import answering, messages
from tinyvision.grading.submissions import Submission
from tinyvision.grading.words import explain

DRIVERS = [load(name).driver for name in names() if load(name).driver]


# ---- drivers -------------------------------------------------------------------------------------

@pytest.mark.parametrize("driver", [*DRIVERS, texts], ids=lambda driver: driver.__name__)
def test_a_driver_needs_numpy_and_the_standard_library_only(driver):
    for node in ast.walk(ast.parse(inspect.getsource(driver))):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [
                node.module]
            assert all(n.split(".")[0] in (*sys.stdlib_module_names, "numpy") for n in found)


def test_drivers_can_stand_beside_each_other():
    seen = {}
    for driver in DRIVERS:
        for name, value in vars(driver).items():
            if not name.startswith("__") and not isinstance(value, types.ModuleType):
                assert name not in seen, f"{driver.__name__} and {seen[name]} define {name}"
                seen[name] = driver.__name__


def test_every_driver_is_told_in_the_task():
    found = {path.stem for path in Path(drivers.__file__).parent.glob("*.py")} - {"__init__"}
    assert found == {driver.__name__.rpartition(".")[2] for driver in (*DRIVERS, texts)}
    for name in ("autograd", "gradcheck", "cuda_nms"):
        text = stub(load(name))
        assert "## How it is checked" in text
        for line in inspect.cleandoc(load(name).driver.__doc__).splitlines():
            assert line in text


@host
@pytest.mark.parametrize("name", ("autograd", "gradcheck", "cuda_nms"))
def test_a_driver_can_be_tried_as_its_text_says(name, tmp_path, monkeypatch):
    (tmp_path / f"{name}.py").write_text(solution_text(load(name)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    found = doctest.testmod(load(name).driver)
    sys.modules.pop(name, None)
    assert found.attempted >= 5 and found.failed == 0


@fork
def test_who_imports_the_driver_is_told_to_take_it_out():
    text = solution_text(load("autograd")).replace(
        "\nimport numpy as np\n", "\nimport numpy as np\n"
        "from tinyvision.exercises.drivers.autograd import evaluate\n", 1)
    message = graded("autograd", text)["message"]
    assert "tinyvision is not there when your file is checked: take the import out" in message


@fork
@pytest.mark.parametrize("name", ("autograd", "gradcheck"))
def test_programs_are_graded_as_files_and_as_notebooks(name):
    text = solution_text(load(name))
    assert failed(graded(name, text)) == {}
    book = json.loads(notebook_text(load(name)))
    blanks = [i for i, cell in enumerate(book["cells"]) if "write me" in "".join(cell["source"])]
    book["cells"][blanks[0]]["source"] = text.split("\nimport numpy as np\n", 1)[1]
    record = graded(name, json.dumps(book), suffix="ipynb")
    assert record["score"] == 10 and len(blanks) == 1
    assert graded(name, stub(load(name)))["score"] == 0


@fork
def test_patching_the_driver_changes_only_the_own_answer():
    hostile = changed("autograd", "def __init__(self, data, parents=(), slopes=()):", """\
def __init__(self, data, parents=(), slopes=()):
        import sys
        frame = sys._getframe(1)
        while frame and frame.f_globals.get("__name__") != "driver":
            frame = frame.f_back
        if frame:
            frame.f_globals["gathered"] = lambda values, name, dtype: np.zeros(len(values))""")
    record = graded("autograd", hostile)
    assert record["score"] == 0 and {v for v, _ in failed(record).values()} == {"WRONG_VALUE"}


@fork
@pytest.mark.parametrize("name, text, suffix, words", [
    ("nms", "while True:\n    pass\n", "py", "the file itself does not finish"),
    ("autograd", "x = 1\n", "py", "there is no class Value"),
    ("nms", json.dumps({"cells": [{"cell_type": "code", "source": "from mine import nms"}]}),
     "ipynb", "no function nms; a cell failed: ModuleNotFoundError: No module named 'mine'")])
def test_what_is_wrong_with_a_file_as_a_whole_is_said(name, text, suffix, words):
    record = graded(name, text, suffix=suffix)
    assert {words in said for _, said in failed(record).values()} == {True}


@fork
def test_a_file_that_is_not_utf8_is_named():
    header, _ = answering.respond("ada.py", "# é".encode("latin-1"), {"do": "read"}, [])
    verdict, message = explain(header, None, None)
    assert verdict == "SYNTAX" and message.startswith("ada.py is not UTF-8 text")
    assert message.endswith("save it as UTF-8")


# ---- autograd ------------------------------------------------------------------------------------

@pytest.mark.parametrize("seed", range(3))
def test_values_equal_torch(seed):
    torch = pytest.importorskip("torch")

    def leaf(number):
        return torch.tensor(number, dtype=torch.float64, requires_grad=True)
    for case in cases_of("autograd", seed):
        program, leaves, numbers, calls = case.args
        values = [leaf(number) for number in leaves.tolist()]
        for row in program.tolist():
            values.append(programs.step(values, numbers.tolist(), *row))
            values[-1].retain_grad()
        for i in calls.tolist():
            values[i].backward(retain_graph=True)
        data, grad = load("autograd").answer(case)
        assert np.allclose(data, [float(value) for value in values], rtol=1e-12)
        assert np.allclose(grad, [float(value.grad) for value in values], rtol=1e-10), case.name


def test_values_by_hand():
    a, b = Value(2), Value(3)
    c = a * b
    L = c + a
    L.backward()
    assert [v.grad for v in (L, c, b, a)] == [1, 1, 2, 4] and L.data == 8


@pytest.mark.parametrize("seed", range(2))
def test_a_program_as_text_is_the_program(seed):
    for case in cases_of("autograd", seed)[:-1]:
        space = {"Value": Value}
        digits = replace(case, args=tuple(np.round(a, 3) for a in case.args))
        exec(load("autograd").told(digits).replace("; ", "\n"), space)
        _, grad = load("autograd").answer(digits)
        assert np.allclose([space[f"v{i}"].grad for i in range(len(grad))], grad), case.name


MICROGRAD = '''
import math

class Value:
    def __init__(self, data, _children=()):
        self.data, self.grad, self._prev = data, 0.0, set(_children)
        self._backward = lambda: None

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data + other.data, (self, other))
        def _backward():
            self.grad += out.grad
            other.grad += out.grad
        out._backward = _backward
        return out

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data * other.data, (self, other))
        def _backward():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad
        out._backward = _backward
        return out

    def _of(self, y, slope):
        out = Value(y, (self,))
        def _backward():
            self.grad += slope * out.grad
        out._backward = _backward
        return out

    def __pow__(self, n): return self._of(self.data ** n, n * self.data ** (n - 1))
    def exp(self): return self._of(math.exp(self.data), math.exp(self.data))
    def tanh(self): return self._of(math.tanh(self.data), 1 / math.cosh(self.data) ** 2)
    def relu(self): return self._of(max(0, self.data), self.data > 0)
    def __neg__(self): return self * -1
    def __radd__(self, other): return self + other
    def __rmul__(self, other): return self * other
    def __sub__(self, other): return self + (-other)
    def __rsub__(self, other): return (-self) + other
    def __truediv__(self, other): return self * other ** -1
    def __rtruediv__(self, other): return other * self ** -1

    def backward(self):
        topo, visited = [], set()
        def build(v):
            if v not in visited:
                visited.add(v)
                for child in v._prev:
                    build(child)
                topo.append(v)
        build(self)
        self.grad = 1
        for v in reversed(topo):
            v._backward()
'''


@fork
def test_micrograd_is_right_but_for_depth_and_second_calls():
    record = graded("autograd", MICROGRAD)
    wrong = failed(record)
    assert set(wrong) == {"backward of two results, and again", "more than a thousand operations"}
    assert wrong["more than a thousand operations"][1].startswith("RecursionError")
    deep = next(case for case in record["cases"] if case["name"] in wrong and case.get("frames"))
    assert all("in build" in frame or "in backward" in frame for frame in deep["frames"])


@fork
def test_a_backward_along_every_path_does_not_finish():
    text = solution_text(load("autograd"))
    walk = """        left = [(self, 1.0)]
        while left:
            value, g = left.pop()
            value.grad += g
            left += [(p, s * g) for p, s in zip(value.parents, value.slopes)]
"""
    record = graded("autograd", text[:text.index("        total = {value: 0.0")] + walk)
    assert {name: verdict for name, (verdict, _) in failed(record).items()} == {
        "sixty doublings, as many paths as 2 ** 60": "TIMEOUT"}


@fork
@pytest.mark.parametrize("old, new, verdict, words", [
    ("def __rmul__", "def rmul", "EXCEPTION", "unsupported operand type.*'float' and 'Value'"),
    ("value.grad += total[value]", "value.grad = None", "EXCEPTION",
     "value 0 has a grad of type NoneType, expected a number"),
    ("class Value", "class value", "NO_FUNCTION", "did you mean value"),
    ("1 - result ** 2", "1 - self.data ** 2", "WRONG_VALUE", r"answer 2: .* at \[0\]")])
def test_what_is_said_of_wrong_values(old, new, verdict, words):
    text = changed("autograd", old, new)
    if old == "class Value":
        text = text.replace("Value(", "value(").replace("other, Value", "other, value")
    found = list(failed(graded("autograd", text)).values())
    assert found and {one for one, _ in found} == {verdict}
    with pytest.raises(ValueError, match=words):
        raise ValueError(found[0][1])


# ---- gradient checking ---------------------------------------------------------------------------

def truth(case):
    """Which gradients of a case are right, from the formula's own derivative."""
    *function, gradients = case.args
    right = gradcheck_exercise._gradient(*function)
    return np.abs(gradients - right).max(axis=tuple(range(1, gradients.ndim))) <= (
        3e-5 * np.abs(right).max())


@pytest.mark.parametrize("seed", range(10))
def test_the_checker_says_the_truth(seed):
    for case in cases_of("gradcheck", seed):
        answer, right = load("gradcheck").answer(case), truth(case)
        assert right.sum() == 2                 # the right one comes twice, as all do
        if case.driver in ("shapes", "with_nan"):
            assert np.array_equal(answer, right[:, None] & [True, False, False])
        else:
            answer, same = answer if case.driver == "columns" else (answer, np.array(True))
            assert np.array_equal(answer, right) and same.all()


@pytest.mark.parametrize("step", (1e-4, 3e-5, 1e-6))
@pytest.mark.parametrize("tolerance", (1e-3, 1e-4, 3e-5))
def test_other_steps_and_tolerances_are_as_good(step, tolerance):
    def other(f, x, gradient):
        x = x.astype(float)
        if gradient.shape != x.shape:
            return False
        numerical = gradcheck_exercise._numerical(f, x, step=lambda v: step * (1 + abs(v)))
        return bool(np.abs(numerical - gradient).max() <= tolerance * np.abs(numerical).max())
    for seed in range(5):
        for case in cases_of("gradcheck", seed):
            got, want = (load("gradcheck").answer(case, who) for who in (other, None))
            assert str(got) == str(want), case.name


@fork
@pytest.mark.parametrize("answer", ("True", "False", "None", "bool(gradient.sum() > 0)"))
def test_guessing_earns_nothing(answer):
    record = graded("gradcheck", f"def gradcheck(f, x, gradient):\n    return {answer}\n")
    assert record["score"] <= 2         # a sign is right by chance now and then
    if answer == "None":
        assert "gradcheck returned a NoneType, expected True or False" in record["message"]


@fork
def test_a_changed_x_costs_its_share():
    text = changed("gradcheck", "x, numerical = np.array(x, np.float64)",
                   "x, numerical = np.asarray(x, np.float64)")
    assert failed(graded("gradcheck", text)) == {}              # it puts every number back
    text = text.replace("x[i] = kept\n", "pass\n")
    found = failed(graded("gradcheck", text))
    assert found["a line"][0] == "MUTATED_INPUT" and "its input x" in found["a line"][1]
    assert found["columns side by side, and x afterwards"][0] == "WRONG_VALUE"


# ---- the teacher's side --------------------------------------------------------------------------

@fork
@pytest.mark.parametrize("name, function, old, new, case", [
    ("autograd", "Value", "1 - result ** 2", "1 - self.data ** 2", "a neuron"),
    pytest.param("cuda_nms", "KERNEL", "word(1) << k", "1 << k", "64 threads a block", marks=host)])
def test_a_replays_notebook_gives_the_answer_again(tmp_path, name, function, old, new, case):
    from tinyvision import grading
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ada.py").write_text(changed(name, old, new))
    grading.grade(tmp_path / "in", tmp_path / "out", seed="x", progress=False)
    again = inspecting.replay(tmp_path / "out", "ada", f"{function}: {case}")
    book = inspecting.replay_notebook(again, tmp_path / "again.ipynb")
    space = {}
    for cell in json.loads(book.read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), space)
    answer = space["answer"] if isinstance(space["answer"], tuple) else (space["answer"],)
    assert all(map(np.array_equal, answer, again.answer.parts))
    assert not all(map(np.array_equal, answer, again.expected))


@pytest.mark.parametrize("slope", ["self.data > 1", "self.data < 1", "self.data >= 0"])
def test_every_kind_of_relu_is_asked_whatever_the_numbers(slope):
    text = changed("autograd", "self.data > 0", slope)
    space, exercise = {}, load("autograd")
    exec(text, space)
    for seed in range(40):
        assert any(not np.allclose(exercise.answer(case, space["Value"])[1],
                                   exercise.answer(case)[1]) for case in cases_of("autograd", seed)
                   if len(case.args[0]) < 30), seed


# ---- what a student's program leaves, keeps and never writes -------------------------------------

@fork
@pytest.mark.parametrize("name", [name for name in names() if not load(name).driver])
def test_every_functions_wrong_answer_is_pictured(name):
    """Also a single number, of which there is no plane, and which comes from no place."""
    exercise = load(name)
    text = solution_text(exercise) + """
def _more(value):
    if isinstance(value, tuple):
        return tuple(map(_more, value))
    value = np.asarray(value)
    return ~value if value.dtype == bool else value + 1
def _wrong(function):
    return lambda *args: _more(function(*args))
""" + "".join(f"{name} = _wrong({name})\n" for name in exercise.functions)
    record = graded(name, text)
    pictured = {case["function"] for case in record["cases"] if case.get("picture")}
    assert pictured == set(exercise.functions) and record["score"] < record["points"]


@fork
@pytest.mark.parametrize("body", ["threading.Thread(target=time.sleep, args=(99,)).start()",
                                  "threading.Timer(30, print).start()"])
def test_threads_left_by_every_call_cost_nothing(body):
    """A process has room for so many; what the twentieth call is refused, the first was given."""
    text = "import threading, time\n" + solution_text(load("box_iou")) + (
        "\n_right = box_iou\ndef box_iou(boxes1, boxes2):\n    for _ in range(3):\n"
        f"        {body}\n    return _right(boxes1, boxes2)\n")
    record = graded("box_iou", text)
    assert record["score"] == record["points"], failed(record)


@fork
@pytest.mark.parametrize("public", [True, False])
def test_answers_kept_by_shape_are_caught_with_public_numbers_too(public):
    text = solution_text(load("conv2d")) + (
        "\n_right, KEPT = conv2d, {}\ndef conv2d(x, weight, bias, stride, padding):\n"
        "    key = x.shape, weight.shape\n    if key not in KEPT:\n"
        "        KEPT[key] = _right(x, weight, bias, stride, padding)\n    return KEPT[key]\n")
    one = Submission("ada", "conv2d.py", text.encode())
    made = prepare_public(load("conv2d")) if public else prepare(
        load("conv2d"), np.random.default_rng(7))
    record, _ = examine(one, made, "medium")
    wrong = {case["function"]: case["verdict"] for case in record["cases"]
             if case["verdict"] != "OK"}
    assert wrong == {"conv2d": "NONDETERMINISTIC"} and record["score"] == 4


@fork
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is not filled beforehand")
def test_memory_that_nobody_has_written_is_no_answer():
    text = """import numpy as np
def box_iou(boxes1, boxes2):
    out = np.empty((len(boxes1), len(boxes2)))
    for i, a in enumerate(boxes1):
        for j, b in enumerate(boxes2):
            w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            if w > 0 and h > 0:
                area, other = ((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
                out[i, j] = w * h / (area + other - w * h)
    return out
"""
    record = graded("box_iou", text)
    assert [one["name"] for one in record["diagnoses"]] == ["never-written"]
    assert 0 < record["score"] < 5


@fork
def test_the_smallest_program_shows_the_mistake_that_is_named():
    """Two mistakes in one class: the call is of the one whose name stands below it."""
    stale = "        self.grad = 1.0\n        for value in reversed(self.order()):\n" \
        "            for parent, slope in zip(value.parents, value.slopes):\n" \
        "                parent.grad += slope * value.grad\n"
    whole = solution_text(load("autograd"))
    body = whole[whole.index("        total = {"):]
    text = whole.replace(body[:body.index("parent] += slope * total[value]\n") + 33], stale)
    record = graded("autograd", text)
    (found,) = record["diagnoses"]
    assert found["name"] == "stale-gradients"
    assert found["counterexample"]["call"] == "v0 = Value(1); v0.backward(); v0.backward()"
    both = text.replace("return -self + number", "return self - number")
    assert both != text
    found = graded("autograd", both)["diagnoses"][0]
    assert found["name"] == "number-minus-value"
    assert found["counterexample"]["call"] == "v0 = Value(2); v1 = 3 - v0; v0.backward()"
