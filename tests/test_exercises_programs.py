"""Exercises whose answer is no array: a class, a checker of gradients, a CUDA kernel; drivers."""
import ast
import inspect
import json
import re
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinyvision import cuda
from tinyvision.exercises import drivers, load, names
from tinyvision.exercises import gradcheck as gradcheck_exercise
from tinyvision.exercises.autograd import Value
from tinyvision.exercises.drivers import autograd as programs
from tinyvision.exercises.drivers import cuda_nms as launches
from tinyvision.exercises.drivers import text as texts
from tinyvision.exercises.start import notebook_text, solution_text, stub
from tinyvision.grading import compile, sandbox
from tinyvision.grading.assignment import prepare
from tinyvision.grading.examine import examine
from tinyvision.grading.submissions import Submission

fork = pytest.mark.skipif(not sandbox.worker.CAN_FORK, reason="no fork here")
host = pytest.mark.skipif(cuda.compiler() is None, reason="no C++ compiler")
DRIVERS = [load(name).driver for name in names() if load(name).driver]
PREPARED = {}


def cases_of(name, seed=0):
    return load(name).cases(np.random.default_rng(seed))


def graded(name, text, level=None, suffix="py"):
    """The record of a program."""
    if name not in PREPARED:
        PREPARED[name] = prepare(load(name), np.random.default_rng(7))
    one = Submission("ada", f"{name}.{suffix}", text.encode())
    return examine(one, PREPARED[name], level or sandbox.probe()[0])[0]


def failed(record):
    """Case -> (verdict, message) of those that are not right."""
    return {case["name"]: (case["verdict"], case["message"]) for case in record["cases"]
            if case["verdict"] != "OK"}


def changed(name, old, new):
    text = solution_text(load(name))
    assert old in text
    return text.replace(old, new)


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


@fork
@pytest.mark.parametrize("name", ("autograd", "gradcheck"))
def test_programs_are_graded_as_files_and_as_notebooks(name):
    text = solution_text(load(name))
    assert failed(graded(name, text)) == {}
    book = json.loads(notebook_text(load(name)))
    blanks = [i for i, cell in enumerate(book["cells"]) if "write me" in "".join(cell["source"])]
    book["cells"][blanks[0]]["source"] = text.split("import numpy as np\n", 1)[1]
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
    """Which gradients of a case are exactly right, from the formula's own derivative."""
    *function, gradients = case.args
    right = gradcheck_exercise._gradient(*function)
    return np.array([np.array_equal(g, right) for g in gradients])


@pytest.mark.parametrize("seed", range(10))
def test_the_checker_says_the_truth(seed):
    for case in cases_of("gradcheck", seed):
        answer, right = load("gradcheck").answer(case), truth(case)
        assert right.sum() == 1
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
    assert record["score"] <= 1
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


# ---- a CUDA kernel -------------------------------------------------------------------------------

KERNEL = load("cuda_nms").texts["KERNEL"]
SOLUTION = "\n".join(line for line in KERNEL.solution.splitlines() if "###" not in line)
TWINS = {
    "at-the-threshold": ("> threshold", ">= threshold"),
    "plus-one": ("real both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]);",
                 "w += 1; h += 1; real both = (a[2] - a[0] + 1) * (a[3] - a[1] + 1)"
                 " + (b[2] - b[0] + 1) * (b[3] - b[1] + 1);", "w <= 0 || h <= 0",
                 "w <= -1 || h <= -1"),
    "smaller-area": ("/ (both - w * h)",
                     "/ min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))"),
    "not-clipped": (" || w <= 0 || h <= 0", ""),
    "read-as-sizes": ("    const real *b = tile[k];", "    const real *q = boxes + 4 * (first + k);"
                      " const real a[4] = {p[0], p[1], p[0] + p[2], p[1] + p[3]};"
                      " const real b[4] = {q[0], q[1], q[0] + q[2], q[1] + q[3]};",
                      "const real *a =", "const real *p ="),
    "both-ways": ("first + k <= n", "first + k == n", "if (blockIdx.x < blockIdx.y) return;", ""),
    "itself": ("first + k <= n", "first + k < n"),
    "shift-of-an-int": ("word(1) << k", "1 << k"),
    "first-tile-only": ("(blockIdx.x < blockIdx.y)", "(blockIdx.x || blockIdx.y)")}


def kernel(*changes):
    text = SOLUTION
    for old, new in zip(changes[::2], changes[1::2]):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def program(text):
    return f'KERNEL = r"""{text}"""\n'


@host
@pytest.mark.parametrize("mistake", load("cuda_nms").mistakes, ids=lambda mistake: mistake.name)
def test_mistakes_in_numpy_answer_as_their_kernels_do(mistake):
    text = kernel(*TWINS[mistake.name])
    for case in cases_of("cuda_nms", 3):
        want = load("cuda_nms").answer(case, mistake.implementation)
        assert np.array_equal(load("cuda_nms").answer(case, text), want), case.name


def by_definition(boxes, scores, threshold):
    """Non-maximum suppression on numbers, in plain Python."""
    def iou(p, q):
        w, h = min(p[2], q[2]) - max(p[0], q[0]), min(p[3], q[3]) - max(p[1], q[1])
        both = max(w, 0) * max(h, 0)
        return both / ((p[2] - p[0]) * (p[3] - p[1]) + (q[2] - q[0]) * (q[3] - q[1]) - both)
    keep = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(iou(boxes[i], boxes[j]) <= threshold for j in keep):
            keep.append(i)
    return keep


@host
def test_the_kernel_equals_the_definition_and_the_librarys_nms():
    from tinyvision.ops import nms
    library = KERNEL.library(KERNEL.solution)
    for case in cases_of("cuda_nms", 5):
        if case.driver == "survivors":
            boxes, scores, threshold, threads = case.args
            keep = launches.survivors(library, *case.args).tolist()
            assert keep == by_definition(boxes, scores, threshold)
            assert keep == np.asarray(nms(boxes, scores, threshold)).tolist()


WRONG = {
    "no barrier": (("__syncthreads();", ""), "a race"),
    "a barrier for some": (("__syncthreads();", "if (t < 2) __syncthreads();"), "line .*barrier"),
    "returns before the barrier": (("  __shared__", "  if (blockIdx.y * blockDim.x + threadIdx.x"
                                    " >= N) return;\n  __shared__"), "barrier"),
    "writes rows that are not there": (("if (n >= N) return;", ""), "thread .*outside of its arr"),
    "reads boxes that are not there": (("if (first + t < N)", ""), "thread .*outside of its array"),
    "writes before the mask": (("mask[n *", "mask[-1] = 1; mask[n *"), "before the beginning"),
    "a tile too small": (("tile[64]", "tile[2]"), "line 7.*outside its array"),
    "an open loop": (("++k)", "k += 0)"), "did not finish"),
    "no stack": (("word bits", "volatile char big[1 << 24]; big[0] = big[1 << 23] = 1; word bits"),
                 ""),
    "rows and columns exchanged": (("blockIdx.y * T + t, first = blockIdx.x * T",
                                    "blockIdx.x * T + t, first = blockIdx.y * T"), "a race"),
    "transposed mask": (("mask[n * gridDim.x + blockIdx.x]", "mask[blockIdx.x * N + n]"), ""),
    "words of 64 always": (("n * gridDim.x", "n * ((N + 63) / 64)"), ""),
    "on beyond the tile": (("k < T && ", ""), "line 14.*outside its array"),
    "height from x": (("min(a[3], b[3])", "min(a[2], b[2])"), "wrong"),
    "union without the second": ((" + (b[2] - b[0]) * (b[3] - b[1])", ""), "wrong"),
    "one box short": (("k < T &&", "k < T - 1 &&"), "wrong"),
    "first coordinate only": (("e < 4", "e < 3"), "wrong"),
    "warps of 32 assumed": (("blockIdx.x * T;", "blockIdx.x * 32;"), ""),
}


@fork
@host
@pytest.mark.parametrize("changes, words", WRONG.values(), ids=WRONG)
def test_wrong_kernels_are_caught(changes, words):
    record = graded("cuda_nms", program(kernel(*changes)))
    found = failed(record)
    assert found and record["score"] < 10
    assert not words or any(re.search(words, said) for _, said in found.values()), \
        found


@fork
@host
@pytest.mark.parametrize("text, words", [
    (kernel("bits = 0;", "bits = none;"), "KERNEL line 12: 'none' was not declared.* word bits"),
    (kernel("int N, ", ""), "KERNEL line 6: 'N' was not declared"),
    (kernel("int N,", "int N, int M,"), "after the last line: .*void kernel"),
    (kernel("mask[n *", "{ mask[n *"), "after the last line: .*brace"),
    ("", "'kernel' was not declared"),
    (kernel("word bits", "extern void g(); g(); word bits"), "g is used and not defined"),
    ('#include "/etc/passwd"\n' + SOLUTION, "KERNEL line 1: |after the last line"),
    ("#include </dev/zero>\n" + SOLUTION, "did not finish within|Permission denied"),
    ('asm(".incbin \\"/etc/passwd\\"");\n' + SOLUTION, "file not found"),
    ('#line 1 "/etc/passwd"\nint = 3;\n' + SOLUTION, "expected unqualified-id"),
    ("template <int n> struct F { F<n + 1> f; }; F<0> f;\n" + SOLUTION, "depth exceeds"),
    ("static char big[1 << 28] = {1};\n" + SOLUTION, "did not finish within")])
def test_what_does_not_compile_is_the_texts_fault(text, words):
    record = graded("cuda_nms", program(text))
    assert record["score"] == 0 and {v for v, _ in failed(record).values()} == {"SYNTAX"}
    assert re.search(words, record["message"]), record["message"]
    assert "root:" not in record["message"]


@fork
@host
@pytest.mark.parametrize("text, words", [
    ("KERNEL = 3", "TypeError: the text is of type int, expected a string"),
    ("kernel = 'x'", "no function KERNEL"),
    ("KERNEL = 'x' * (3 << 20)", "longer than"), ("KERNEL = input()", "EOFError"),
    ("KERNEL = ''", "'kernel' was not declared")])
def test_what_is_no_text(text, words):
    record = graded("cuda_nms", text)
    assert record["score"] == 0 and re.search(words, record["message"])


@fork
@host
def test_code_that_runs_when_it_is_loaded_runs_in_the_worker(tmp_path):
    trace = tmp_path / "trace"
    begins = (f'#include <fcntl.h>\n__attribute__((constructor)) static void begins() '
              f'{{ creat("{trace}", 0666); ENDS }}\n')
    honest = graded("cuda_nms", program(begins.replace("ENDS", "") + SOLUTION))
    assert honest["score"] == 10 and not trace.exists()
    ends = graded("cuda_nms", program(begins.replace("ENDS", "__builtin_trap();") + SOLUTION))
    assert ends["score"] == 0 and {v for v, _ in failed(ends).values()} == {"CRASHED"}
    assert not trace.exists()


@fork
@host
def test_a_text_is_compiled_once_and_in_a_notebook_too(monkeypatch):
    asked = []
    compiled = compile.compiled
    monkeypatch.setattr(compile, "compiled", lambda *a: asked.append(a) or compiled(*a))
    book = json.loads(notebook_text(load("cuda_nms")))
    for cell in book["cells"]:
        if "write me" in "".join(cell["source"]):
            cell["source"] = program(SOLUTION)
    record = graded("cuda_nms", json.dumps(book), suffix="ipynb")
    assert record["score"] == 10 and len(asked) == 1


@fork
@host
def test_levels_agree():
    for text in (SOLUTION, kernel(*TWINS["shift-of-an-int"]), kernel("__syncthreads();", "")):
        records = [graded("cuda_nms", program(text), level) for level in
                   sandbox.LEVELS[sandbox.LEVELS.index(sandbox.probe()[0]):-1]]
        assert len({json.dumps(failed(record)) for record in records}) == 1


def test_no_compiler_is_the_machines_fault(monkeypatch):
    monkeypatch.setattr(cuda, "compiler", lambda: None)
    with pytest.raises(compile.CompilerFault, match="needs|neither .* was found here; install one"):
        compile.library(KERNEL, KERNEL.solution, "medium")


@host
def test_a_compiler_that_does_not_work_is_the_machines_fault(monkeypatch, tmp_path):
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\necho cannot execute cc1plus >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(cuda, "compiler", lambda: str(broken))
    compile.works.cache_clear()
    with pytest.raises(compile.CompilerFault, match="does not work here: .*cc1plus|does not work"):
        compile.library(KERNEL, "wrong", "medium")
    compile.works.cache_clear()


@fork
def test_a_machine_without_a_compiler_gives_no_zero(monkeypatch, tmp_path):
    from tinyvision import grading
    monkeypatch.setattr(cuda, "compiler", lambda: None)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ada.py").write_text(
        "# tinyvision exercise: cuda_nms\n" + program(SOLUTION))
    summary = grading.grade(tmp_path / "in", tmp_path / "out", seed="x", progress=False)
    record, = summary.records
    assert record["verdict"] == "GRADER_ERROR" and record["score"] is None
    assert "install one" in record["message"]
