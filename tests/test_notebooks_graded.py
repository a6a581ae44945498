"""What of a student's notebook runs, and for how long; plots that cost nothing."""
from __future__ import annotations

import ast
import json

import numpy as np
import pytest

from programs import fork, graded
from tinyvision.exercises import load
from tinyvision.exercises.start import solution_text
from tinyvision.grading.inside import messages, patience, plots
from tinyvision.grading.inside.needed import needed

IOU = """
def box_iou(boxes1, boxes2):
    low = np.maximum(boxes1[:, None, :2], boxes2[None, :, :2])
    high = np.minimum(boxes1[:, None, 2:], boxes2[None, :, 2:])
    both = np.prod(np.clip(high - low, 0, None), axis=-1)
    sides = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None) for boxes in (boxes1, boxes2)]
    union = np.prod(sides[0], -1)[:, None] + np.prod(sides[1], -1) - both
    return np.divide(both, union, out=np.zeros_like(union), where=union > EPS)
"""


def notebook(*cells):
    return json.dumps({"nbformat": 4, "metadata": {}, "cells": [
        {"cell_type": "code", "source": cell} for cell in cells]})


def chosen(source, *functions):
    """The lines of the statements that run."""
    statements = ast.parse(source).body
    return [node.lineno for node, wanted in zip(statements, needed(statements, functions)) if wanted]


# ---- the slice -----------------------------------------------------------------------------------

@pytest.mark.parametrize("made", [
    "for k in range(2): T.append(k)", "T += list(range(3))", "T[0:0] = list(range(3))",
    "T = list(range(3))", "fill(T)", "np.random.shuffle(T)", "if len(T) == 0: T.extend(range(3))",
    "with open('x') as s: T = s.read()", "T.x = len(T)", "set_up()", "add(3)", "del T[len(T) - 1]",
    "try: T = load()\nexcept OSError: T = []", "(T := list(range(3)))", "_ = np.copyto(T, 3)"])
def test_what_makes_or_changes_a_global_that_is_read_runs(made):
    source = ("import numpy as np\nT = []\ndef set_up():\n    global T\n    T = [1]\n"
              "def add(k): T.append(k)\ndef f(x): return g(x)\ndef g(x): return [x, T]\n")
    assert source.count("\n") + 1 in chosen(source + made, "f")
    assert source.count("\n") + 1 not in chosen(source.replace(", T]", "]") + made, "f")


@pytest.mark.parametrize("other", [
    "print(T)", "display(T)", "print(f(3))", "y = f(2)", "plt.plot(f(1))", "for k in range(3): f(k)",
    "np.random.seed(0)", "U = list(range(3))", "U.append(3)", "max = max(3, 4)", "x = T[0] + len(T)"])
def test_what_only_uses_it_does_not_run(other):
    source = ("import numpy as np\nT = []\nU = []\n"
              "def f(x):\n    U = max(x, 3)\n    return [np.sum(x + T), U]\n")
    assert source.count("\n") + 1 not in chosen(source + other, "f")


def test_what_a_needed_statement_reads_is_needed_too():
    source = ("raw = np.arange(3) * make()\n"           # 1
              "def make(): return float(SCALE)\n"       # 2
              "SCALE = float(3)\n"                      # 3
              "T = np.sqrt(raw)\n"                      # 4
              "other = np.sqrt(raw)\n"                  # 5
              "def f(): return T\n"                     # 6
              "def train(): return other\n")            # 7
    assert chosen(source, "f") == [1, 2, 3, 4, 6, 7]
    assert chosen(source, "train") == [1, 2, 3, 5, 6, 7]
    assert chosen(source) == [1, 2, 3, 4, 5, 6, 7]


def test_another_name_of_what_is_read_is_the_same():
    source = "T = [[0]]\nrow = T[0]\nU = other = row\n%s\ndef f(): return T\n"
    for change in "U[0] = int(3)", "other.append(3)", "row += list(T)", "fill(row)":
        assert 4 in chosen(source % change, "f"), change
    assert 4 not in chosen(source % "U = list(T)", "f")


def test_a_class_reads_globals_but_its_own_names_are_none():
    source = ("T = list('a')\nown = list('b')\nclass A:\n    own = T\n"
              "    def get(self): return self.own\n")
    assert chosen(source, "A") == [1, 3]


def test_nothing_that_cannot_be_compiled_disturbs():
    assert chosen("return 3\nT = int(3)\ndef f(): return T\n", "f") == [2, 3]


# ---- graded --------------------------------------------------------------------------------------

@fork
@pytest.mark.parametrize("cells", [
    ("import numpy as np\nEPS = 1e9", "EPS = float(np.zeros(1)[0])", IOU),
    ("import numpy as np\nSTEPS = []\nfor k in range(3):\n    STEPS.append(0.0)", IOU.replace(
        "> EPS", "> (sum(STEPS) if len(STEPS) == 3 else 1e9)")),
    ("import numpy as np\nEPS = np.zeros(1)", "EPS[:] = 7", "EPS.fill(0)", IOU),
    ("import numpy as np", IOU, "while True: pass", "EPS = float(0)"),
    ("import numpy as np\nEPS = 0.0\nEPS += 0", IOU, "while EPS == 0: EPS = float(0)"),
    ("import sys\nimport numpy as np", "sys.exit(0)", "exit()", IOU, "EPS = float(0)"),
    ("import numpy as np", IOU, "import time\ntime.sleep(100)", "print(EPS)\ntime.sleep(100)",
     "EPS = float(0)"),
    ("import numpy as np\nimport matplotlib.pyplot as plt\nEPS = 0.0", IOU,
     "fig, (left, right) = plt.subplots(1, 2)\nleft.plot(EPS)")])
def test_a_right_notebook_has_full_marks(cells):
    record = graded("box_iou", notebook(*cells), suffix="ipynb")
    assert record["score"] == record["points"], record["cases"]


GETTER = "def get(): return TABLE\nTABLE = [1e9]"
MADE = {                                # of which it cannot be told beforehand that they make EPS
    "a tuple": ("EPS, other = [1e9], 3\ntable, n = EPS, 3", "table[0] = float(0)"),
    "a loop": ("EPS = [1e9]\nother = [1.0]", "for one in (EPS, other):\n    one[0] = float(0)"),
    "with": ("from contextlib import nullcontext\nEPS = [1e9]",
             "with nullcontext(EPS) as table:\n    table[0] = float(0)"),
    "a default": ("EPS = [1e9]\ndef fill(table=EPS):\n    table[0] = 0.0", "fill()"),
    "a getter": (GETTER.replace("TABLE", "EPS"), "get()[0] = float(0)"),
    "a class": ("EPS = [1e9]\nclass Table:\n    rows = EPS", "Table.rows[0] = float(0)"),
    "partial": ("from functools import partial\nEPS = [1e9]\nput = partial(EPS.__setitem__, 0)",
                "put(0.0)"),
    "nditer": ("EPS = np.full(1, 1e9)", "for x in np.nditer(EPS, op_flags=['readwrite']):\n"
               "    x[...] = 0"),
    "globals": ("EPS = [1e9]", "globals()['E' + 'PS'][0] = float(0)"),
    "exec": ("EPS = [1e9]", "exec('EPS' + '[0] = 0.0')"),
}


@fork
@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("demonstration", ["print(EPS)", "1 / 0"])
def test_whatever_makes_a_table_has_full_marks(made, demonstration):
    first, then = MADE[made]
    cells = ("import numpy as np", first, demonstration, then, "print(sum(range(9)))",
             IOU.replace("> EPS", "> EPS[0]"))
    record = graded("box_iou", notebook(*cells), suffix="ipynb")
    assert record["score"] == record["points"], record["cases"]
    assert record["whole"]


@fork
def test_what_is_imported_from_the_future_holds_for_all_cells():
    first = "from __future__ import annotations\nimport numpy as np\nEPS = 0.0"
    typed = IOU.replace("boxes1, boxes2)", "boxes1: Boxes, boxes2: Boxes) -> Boxes", 1)
    record = graded("box_iou", notebook(first, typed), suffix="ipynb")
    assert record["score"] == record["points"], record["cases"]
    record = graded("box_iou", f"{first}\n{typed}\n1 / 0\n")
    assert record["score"] == record["points"], record["cases"]


@fork
def test_old_notebooks_and_empty_cells():
    old = json.dumps({"nbformat": 3, "metadata": {}, "worksheets": [{"cells": []}]})
    record = graded("box_iou", old, suffix="ipynb")
    assert record["verdict"] == "UNREADABLE" and "save it anew" in record["message"]
    empty = notebook("import numpy as np\nEPS = 0.0", None, IOU)
    assert graded("box_iou", empty, suffix="ipynb")["verdict"] == "OK"


@fork
def test_a_notebook_is_main_and_a_file_is_none():
    guarded = "import numpy as np\nif __name__ == '__main__':\n    EPS = float(0)\n"
    record = graded("box_iou", notebook(guarded, IOU), suffix="ipynb")
    assert record["score"] == record["points"], record["cases"]
    assert graded("box_iou", guarded + IOU)["score"] == 0


@fork
def test_a_name_that_is_missing_is_said_with_the_cell_that_failed_before():
    cells = "import numpy as np", "import helpers\nEPS = helpers.EPS", IOU
    record = graded("box_iou", notebook(*cells), suffix="ipynb")
    assert "NameError: name 'EPS' is not defined (before: ModuleNotFoundError: No module named " \
        "'helpers')" in record["message"]


@fork
def test_all_cells_count_where_that_is_better_only():
    """The sequence is better with them, the cases one by one are not: each trains anew."""
    slow = IOU.replace("    low =", "    end = __import__('time').process_time() + 0.9\n"
                       "    while len(boxes1) == 7 and __import__('time').process_time() < end:\n"
                       "        pass\n    low =", 1).replace("> EPS", "> EPS[len(boxes1) == 3]")
    cells = ["import numpy as np\nEPS = [0.0, 0.0]", slow, "while True: pass", "while True: pass"]
    alone = graded("box_iou", notebook("import numpy as np\nEPS = [0.0, 9.0]", *cells[1:]),
                   suffix="ipynb")
    cells[0] = cells[0].replace("0.0]", "9.0]")
    better = graded("box_iou", notebook(*cells, "exec('EPS[1] = 0.0')"), suffix="ipynb")
    assert 0 < alone["score"] < alone["points"] and better["score"] >= alone["score"]


@fork
def test_a_function_that_talks_may_need_all_cells_too():
    text = solution_text(load("gradcheck"))
    line = next(line for line in text.split("\n") if line.strip().startswith("return "))
    cells = ("import numpy as np", "exec('FACTOR = 1.0')", text.replace(line, line.replace(
        "return ", "assert FACTOR\n" + line[:len(line) - len(line.lstrip())] + "return "), 1))
    record = graded("gradcheck", notebook(*cells), suffix="ipynb")
    assert record["score"] == record["points"] and record["whole"], record["cases"]


@fork
def test_what_all_cells_spoil_is_graded_by_what_is_needed():
    """And what is wrong either way costs one more run, not the hour that a cell trains."""
    spoilt = "globals()['box' + '_iou'] = lambda a, b: exit()"
    record = graded("box_iou", notebook("import numpy as np\nEPS = 0.0", IOU, spoilt),
                    suffix="ipynb")
    assert record["score"] == record["points"] and "whole" not in record
    wrong = notebook("import numpy as np\nEPS = 0.0", IOU.replace("union > EPS", "union < EPS"),
                     "import time\ntime.sleep(100)", "while True: pass")
    record = graded("box_iou", wrong, suffix="ipynb")
    assert record["score"] < record["points"] and "whole" not in record
    assert {case["verdict"] for case in record["cases"]} <= {"OK", "WRONG_VALUE"}


@fork
def test_a_demonstration_that_fails_or_exits_costs_nothing_where_a_table_is_made():
    cells = ("import numpy as np\nEPS = []", "EPS.append(0.0)\n", "EPS.append(1 / 0)",
             "import sys\nsys.exit(EPS)", IOU.replace("> EPS", "> EPS[0]"))
    record = graded("box_iou", notebook(*cells), suffix="ipynb")
    assert record["score"] == record["points"], record["cases"]


# ---- plots ---------------------------------------------------------------------------------------

DRAWS = """
import numpy as np
import matplotlib as mpl, matplotlib.pyplot as plt
from matplotlib import cm
from matplotlib.patches import Rectangle
from mpl_toolkits.mplot3d import Axes3D
from IPython.display import Image, display
get_ipython().run_line_magic("matplotlib", "inline")
mpl.rcParams["figure.dpi"] = 100
fig, axes = plt.subplots(2, 3, figsize=(8, 4))
for ax, k in zip(axes.flat, range(6)):
    ax.imshow(np.zeros((3, 3)), cmap=cm.gray)
axes[1, 2].add_patch(Rectangle((0, 0), 1, 1))
fig, (left, right) = plt.subplots(1, 2)
fig, ax = plt.subplots()
line, = ax.plot([1, 2])
counts, edges, patches = plt.hist(np.arange(3))
with plt.style.context("ggplot"):
    plt.title("boxes")
plt.savefig("boxes.png")
plt.show()
display(Image(filename="boxes.png"))
EPS = 0.0
"""


@fork
@pytest.mark.parametrize("level", ["medium", "strong"])
def test_a_file_that_draws_loses_nothing(level):
    record = graded("box_iou", DRAWS + IOU, level)
    assert record["score"] == record["points"], record["cases"]
    assert not record["remarks"]


@fork
def test_a_plot_is_no_answer():
    source = "import matplotlib.pyplot as plt\ndef box_iou(a, b): return plt.imshow(a)\n"
    record = graded("box_iou", source)
    assert record["score"] == 0 and record["verdict"] == "WRONG_TYPE"


def test_axes_have_the_shapes_that_matplotlib_gives():
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    for rows, columns, options in ((1, 1, {}), (1, 3, {}), (2, 1, {}), (2, 3, {}),
                                   (1, 1, {"squeeze": False}), (1, 2, {"squeeze": False})):
        figure, wanted = plt.subplots(rows, columns, **options)
        plt.close(figure)
        _, axes = plots.NOTHING.subplots(rows, columns, **options)
        assert type(axes) is type(wanted) or not isinstance(wanted, np.ndarray)
        assert getattr(wanted, "shape", ()) == (axes.shape if type(axes) is np.ndarray else ())


def test_what_is_described_of_nothing_has_no_numbers():
    assert messages.describe(plots.NOTHING, [], 99) == {"type": "Nothing"}


# ---- patience ------------------------------------------------------------------------------------

@pytest.mark.skipif(not hasattr(patience.signal, "setitimer"), reason="no such clock here")
def test_patience_halves_and_is_over():
    clock = patience.Patience(0.2)
    for _ in range(2):
        with pytest.raises(patience.TooLong), clock.half():
            while True:
                pass
    assert clock.left < 0.1
    with clock.half():
        pass
    patience.time.sleep(0.05)          # it does not ring when it is over
