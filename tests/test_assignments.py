"""Assignments: one source, put together, varied, built into files, proved, and Gradescope's."""
import ast
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pytest

import small_course
from test_exports import results_problems
from tinyvision import cli, exercises
from tinyvision.exercises.homework import TABLE_LINE, homework
from tinyvision.exercises.start import stub
from tinyvision.exercises.vary import variations, varied
from tinyvision.grading import autograder, notebooks, sandbox, source, submissions
from tinyvision.grading.assignment import as_received, prepare, run as answer_of
from tinyvision.grading.build import BuildError, build, checkable, script, worth
from tinyvision.grading.examine import examine
from tinyvision.grading.grader import grade
from tinyvision.grading.inside import submitted
from tinyvision.grading.new import assignment_text, new
from tinyvision.grading.notebooks import checksum
from tinyvision.grading.proofs import check_mistakes, secret_lines
from tinyvision.grading.verdict import Verdict, judge

LEVEL = "medium" if sandbox.worker.CAN_FORK else "none"
PARTS = ["conv2d", "roi_align", "nms"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """hw3 of three exercises, in other conventions, built."""
    folder = tmp_path_factory.mktemp("hw3")
    path = new("hw3", PARTS, folder, vary=3)
    text = path.read_text().replace('due=None, late={}',
                                    'due="2026-12-01 12:00 +01:00", late={"points_per_day": 3}')
    path.write_text(text.replace('"nms": 10', '"nms": 7'))
    return build(path)


def graded(exercise, text, file="hw.py"):
    assignment = prepare(exercise, np.random.default_rng(1))
    one = submissions.Submission("ada", file, text.encode())
    return examine(one, assignment, LEVEL, repeat=False)[0]


# ---- the source's markers ------------------------------------------------------------------------

GOOD = """\
# %%
def f(x):
    ### BEGIN SOLUTION
    return x
    ### END SOLUTION

# %% [markdown]
# Text
"""


@pytest.mark.parametrize("change, words", [
    (("    ### END SOLUTION\n", ""), "line 3: BEGIN SOLUTION has no END SOLUTION before the next "
     "cell, which begins on line 6"),
    (("    return x", "    ### BEGIN SOLUTION"), "line 4: BEGIN SOLUTION, but the BEGIN SOLUTION "
     "of line 3 has no END yet"),
    (("BEGIN SOLUTION", "END SOLUTION"), "line 3: END SOLUTION without a BEGIN"),
    (("### END SOLUTION", "### END HIDDEN TESTS"), "line 5: END HIDDEN TESTS without a BEGIN"),
    (("# %% [markdown]\n# Text", "# %%\ndef f(x):\n    return 2"), "line 8: f is defined here and "
     "on line 2"),
    (("return x", "return x +"), "line 4: invalid syntax"),
    (("# %% [markdown]\n# Text", "    ### BEGIN HIDDEN TESTS"), "line 7: BEGIN HIDDEN TESTS has "
     "no END HIDDEN TESTS; add it")])
def test_what_is_wrong_with_markers_is_said_with_its_line(tmp_path, capsys, change, words):
    assert GOOD.count(change[0]) >= 1
    path = tmp_path / "hw.py"
    path.write_text(GOOD.replace(*change, 1))
    with pytest.raises(ValueError, match="hw.py " + re.escape(words)):
        source.read(path)
    assert cli.main(["build", str(path)]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hw.py"]


@pytest.mark.parametrize("data, words", [(None, "cannot be read: No such file"),
                                         (b"# \xff\xfe", "not UTF-8 text .byte 2.")])
def test_a_source_that_cannot_be_read(tmp_path, data, words):
    if data is not None:
        (tmp_path / "hw.py").write_bytes(data)
    with pytest.raises(ValueError, match=words):
        exercises.load(str(tmp_path / "hw.py"))


@pytest.mark.parametrize("text, student, solution", [
    ("def f(x):\n    ### BEGIN SOLUTION\n    y = x\n    return y\n    ### END SOLUTION",
     "def f(x):\n    # YOUR CODE HERE\n    raise NotImplementedError()",
     "def f(x):\n    y = x\n    return y"),
    ("def f(x):\n    # BEGIN SOLUTION\n    return x\n    # END SOLUTION",
     "def f(x):\n    # YOUR CODE HERE\n    raise NotImplementedError()",
     "def f(x):\n    return x"),
    ("def f(x):\n    # BEGIN SOLUTION NO PROMPT\n    return x\n    # END SOLUTION\n"
     '    """ # BEGIN PROMPT\n    return ...\n    """ # END PROMPT',
     "def f(x):\n    return ...", "def f(x):\n    return x"),
    ("y = f(3) # SOLUTION\nnp.random.seed(4) # SEED\nz = 1 # SOLUTION NO PROMPT\nprint(y)",
     "y = ...\nprint(y)", "y = f(3)\nnp.random.seed(4)\nz = 1\nprint(y)"),
    ("plot(3)  # SOLUTION", "...", "plot(3)"),
    ("assert f(1) == 1\n### BEGIN HIDDEN TESTS\nassert f(2) == 2\n### END HIDDEN TESTS",
     "assert f(1) == 1", "assert f(1) == 1"),
    ("a = 1\n### BEGIN MARK SCHEME\nb = 2\n### END MARK SCHEME", "a = 1", "a = 1"),
    ("a = '# SOLUTION: none'", "a = '# SOLUTION: none'", "a = '# SOLUTION: none'")])
def test_nbgraders_and_otters_markers(text, student, solution):
    source.check(text, "x")
    assert source.student(text) == student
    assert source.solution(text) == solution


def test_cells_of_both_kinds_of_markdown():
    cells = source.cells('# %% [markdown]\n# # A\n#\n# b\n# %% [markdown]\nr"""\n# C\n"""\n'
                         "# %% an example\nx = 1\n\n# %%\n")
    assert [(c.kind, c.text, c.title) for c in cells] == [
        ("markdown", "# A\n\nb", ""), ("markdown", "# C", ""), ("code", "x = 1", "an example")]
    assert cells[2].line == 10


# ---- put together --------------------------------------------------------------------------------

def test_an_assignment_is_its_parts_put_together():
    made = homework("hw", PARTS, points={"conv2d": 12, "nms": 7})
    loaded = [exercises.load(name) for name in PARTS]
    assert list(made.functions) == [f for one in loaded for f in one.functions]
    assert len(made.mistakes) == sum(len(one.mistakes) for one in loaded)
    cases = made.cases(np.random.default_rng(0))
    assert [c.name for c in cases] == [c.name for one in loaded
                                       for c in one.cases(np.random.default_rng(0))]
    points = {name: round(sum(c.points for c in cases if c.function.startswith(name)), 4)
              for name in PARTS}
    assert points == {"conv2d": 12, "roi_align": loaded[1].points, "nms": 7}
    assert all(c.points > 0 and round(c.points, 2) == c.points for c in cases)
    assert check_mistakes(made) == []


def test_a_parts_numbers_do_not_depend_on_its_neighbours():
    def boxes(parts):
        cases = homework("hw", parts).cases(np.random.default_rng(5))
        return [c.args[0] for c in cases if c.function == "nms"]
    for first, second in zip(boxes(["nms"]), boxes(["conv2d", "nms"])):
        assert np.array_equal(first, second)


@pytest.mark.parametrize("arguments, words", [
    (dict(parts=[]), "no exercises"), (dict(parts=["nmx"]), "did you mean 'nms'"),
    (dict(parts=["nms", "nms"]), "homework hw: nms is named twice; name it once"),
    (dict(parts=["nms"], points={"conv2d": 3}), "points of 'conv2d', which is none of its parts"),
    (dict(parts=["nms"], points={"nms": 0}), "give a positive number"),
    (dict(parts=["nms"], late={"per_day": 1}, due="2026-12-01 12:00Z"), "no rule 'per_day'"),
    (dict(parts=["nms"], due="1. 12. 2026"), "is no time"),
    (dict(parts=["nms"], late=[]), "late policy: .. is no table of rules; write it like"),
    (dict(parts=["nms"], late="10%", due="2026-12-01 12:00Z"), "'10%' is no table of rules"),
    (dict(parts=["nms"], vary=-1), "vary=-1 is no seed; give a whole number from 0 to 999999999"),
    (dict(parts=["nms"], vary=10 ** 9), "vary=1000000000 is no seed"),
    (dict(parts=["nms"], vary=True), "vary=True is no seed")])
def test_a_homework_that_does_not_fit_together(arguments, words):
    with pytest.raises(ValueError, match=words):
        homework("hw", **arguments)


def test_every_exercise_can_be_in_an_assignment(tmp_path):
    """The whole catalogue in one file: helpers of one name do not meet, examples hold."""
    path = tmp_path / "all.py"
    path.write_text(assignment_text("all", list(exercises.names())))
    made = exercises.load(str(path))
    assert made.points == pytest.approx(sum(exercises.load(n).points for n in exercises.names()))
    for cell in source.cells(path.read_text()):
        if cell.kind == "code":
            ast.parse(source.student(cell.text))


def test_an_edited_solution_is_the_one_that_counts(tmp_path):
    path = new("hw", ["nms"], tmp_path)
    path.write_text(path.read_text().replace("<= iou_threshold", "< iou_threshold"))
    made = exercises.load(str(path))
    assert made.functions["nms"] is not exercises.load("nms").functions["nms"]
    with pytest.raises(BuildError, match="at-the-threshold of nms: every case passes it"):
        build(path)


@pytest.mark.parametrize("change, words", [
    (("EXERCISE = homework", "OTHER = homework"), "defines no EXERCISE"),
    (("import numpy as np", "import numpy as np\n1 / 0"), "line 13: ZeroDivisionError: division"),
    (("import numpy as np", "import numpy as np\nimport sys\nsys.exit(0)"),
     "line 14: the file ends Python here .sys.exit, exit or quit.*; take that out"),
    (("due=None", "due='soon'"), "'soon' is no time")])
def test_a_file_that_does_not_run_is_named(tmp_path, change, words):
    path = new("hw", ["nms"], tmp_path)
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change, 1))
    with pytest.raises(ValueError, match=words):
        exercises.load(str(path))
    assert not list(tmp_path.rglob("*.pyc"))


def test_new_does_not_write_over_a_file_or_under_a_bad_name(tmp_path):
    new("hw", ["nms"], tmp_path)
    with pytest.raises(FileExistsError, match="--force"):
        new("hw", ["nms"], tmp_path)
    for name, why in [("../hw", "use letters, digits and _"), ("", "use letters"), ("ü", "letters"),
                      ("class", "is a word of Python's own"), ("numpy", "'import numpy' beside"),
                      ("random", "is a module"), ("nms", "is an exercise of the catalogue")]:
        with pytest.raises(ValueError, match=f"cannot be an assignment's name.*{why}"):
            new(name, ["nms"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["hw.py"]


def test_build_tells_of_a_file_that_ends_python(tmp_path, capsys):
    """At its top, or in a function: either would end the command without a word."""
    text = new("hw", ["nms"], tmp_path).read_text()
    for old, new_text, words in [
            ("import numpy as np", "import numpy as np\nexit()", "line 13: the file ends Python"),
            ("    ### BEGIN SOLUTION", "    ### BEGIN SOLUTION\n    if len(scores) > 9: quit()",
             "nms, called for the case '.*', ends Python .sys.exit, exit or quit.; take")]:
        path = tmp_path / "ends.py"
        path.write_text(text.replace(old, new_text, 1))
        assert cli.main(["build", str(path)]) == 2
        said = capsys.readouterr()
        assert re.search(words, said.err) and said.err.count("\n") == 1 and not said.out
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize("option", ["--only=", "--only= , ", "--rerun="])
def test_an_option_that_names_nobody_is_not_all(tmp_path, capsys, option):
    with pytest.raises(SystemExit) as ended:
        cli.main(["grade", str(tmp_path), "-o", str(tmp_path / "out"), option])
    assert ended.value.code == 2 and "leave" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# ---- other conventions ---------------------------------------------------------------------------

@pytest.mark.parametrize("name", exercises.names())
def test_a_solution_in_other_conventions_is_right_and_a_copied_one_is_not(name):
    exercise = exercises.load(name)
    other = varied(exercise, 3)
    if exercise.driver is not None:
        assert other is exercise
        return
    table = variations(exercise, 3)
    assignment = prepare(other, np.random.default_rng(2))
    for function, variation in table.items():
        mine = [i for i, case in enumerate(assignment.cases) if case.function == variation.name]
        assert mine and function != variation.name
        for i in mine:
            case, expected = assignment.cases[i], assignment.expected[i]
            got = as_received(answer_of(other, case))
            assert judge(got, expected).verdict is Verdict.OK
        if len(variation.parameters) - ("g" in variation.parameters) > 1:
            assert variation.order != variation.parameters


def test_known_mistakes_are_named_in_other_conventions():
    assert check_mistakes(homework("hw", ["max_pool2d", "soft_nms", "box_iou"], vary=1)) == []


def test_variations_are_the_seeds():
    text = assignment_text("hw", ["nms"], 7)
    assert text == assignment_text("hw", ["nms"], 7)
    assert len({assignment_text("hw", ["nms"], seed) for seed in range(8)}) > 4
    assert "y first: (y0, x0, y1, x1)" in text and "they are given" not in text


def test_docstrings_call_functions_as_they_are_called_there(built):
    text = (built.folder / "student" / "hw3.py").read_text()
    tree = ast.parse(text)
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    docs = [ast.get_docstring(node) for node in tree.body if isinstance(node, ast.FunctionDef)]
    varied_name, = (name for name in defined if name.endswith("_conv2d"))
    assert any(f"arguments of `{varied_name}`" in doc for doc in docs)
    usual = [name for part in PARTS for name in exercises.load(part).functions]
    assert not [name for name in usual for doc in docs if f"`{name}`" in doc]


def test_a_copied_solution_fails_the_varied_assignment(built):
    exercise = exercises.load(str(built.folder.parents[1] / "hw3.py"))
    usual = exercises.start.solution_text(exercises.load("nms"))
    renamed = usual.replace("def nms(", f"def {list(exercise.functions)[-1]}(")
    record = graded(exercise, renamed)
    own = [case for case in record["cases"] if case["function"].endswith("nms")]
    assert own and sum(case["earned"] for case in own) <= 0.2 * sum(c["points"] for c in own)
    right = graded(exercise, (built.folder / "solution" / "hw3.py").read_text())
    assert right["score"] == right["points"] == 27


# ---- what is built -------------------------------------------------------------------------------

def test_build_writes_all_files_and_says_so(built):
    names = {path.relative_to(built.folder).as_posix() for path in built.files}
    assert names == {"student/hw3.py", "student/hw3.ipynb", "solution/hw3.py",
                     "solution/hw3.ipynb", "autograder.zip", "hw3.py", "secret"}
    assert names == {path.relative_to(built.folder).as_posix()
                     for path in built.folder.rglob("*") if path.is_file()}
    assert built.points == pytest.approx(27) and built.mistakes > 40


def solution_lines():
    """Lines that only a solution has: of some length, and in no docstring or signature."""
    text = "".join(exercises.start.solution_text(exercises.load(name)) for name in PARTS)
    stubs = "".join(exercises.start.stub(exercises.load(name)) for name in PARTS)
    return {line.strip() for line in text.splitlines() if len(line.strip()) > 25} - {
        line.strip() for line in stubs.splitlines()}


def test_students_files_hold_no_solution_and_no_hidden_test(built):
    lines = solution_lines()
    assert len(lines) > 20
    for name in ("hw3.py", "hw3.ipynb"):
        text = (built.folder / "student" / name).read_text()
        plain = text if name.endswith(".py") else "\n".join(
            cell.source for cell in nbformat.reads(text, 4).cells)
        assert not [line for line in lines if line in plain]
        assert "EXERCISE" not in plain and "HIDDEN" not in plain and "tinyvision.ex" not in plain
        assert "raise NotImplementedError()" in plain and "np.allclose" in plain
        found = submissions.named_exercise(text.encode(), Path(name).suffix)
        assert found == "hw3"


def test_notebooks_are_valid_and_nbgraders(built):
    for kind in ("student", "solution"):
        nbformat.validate(nbformat.read(built.folder / kind / "hw3.ipynb", 4))
    cells = nbformat.read(built.folder / "student" / "hw3.ipynb", 4).cells
    ids, points = [], 0
    for cell in cells:
        about = dict(cell.metadata["nbgrader"])
        points += about.get("points", 0)
        wanted = {"schema_version", "grade", "solution", "locked", "task", "grade_id", "checksum",
                  "cell_type"} | ({"points"} if about["grade"] else set())
        assert set(about) == wanted and about["schema_version"] == 3 and about["task"] is False
        assert all(type(about[key]) is bool for key in ("grade", "solution", "locked"))
        assert about["locked"] is not about["solution"] and about["cell_type"] == cell.cell_type
        assert not about["grade"] or cell.cell_type == "code" and about["points"] >= 0
        assert re.fullmatch(r"[a-zA-Z0-9_\-]+", about["grade_id"])
        words = (cell.source, cell.cell_type, about["grade"], about["solution"], about["locked"],
                 about["grade_id"])
        text = "".join(map(str, words)) + (str(float(about["points"])) if about["grade"] else "")
        assert about["checksum"] == hashlib.md5(text.encode()).hexdigest()
        ids.append(about["grade_id"])
    assert len(set(ids)) == len(ids) and points == pytest.approx(27)
    kinds = [(c.metadata["nbgrader"]["grade"], c.metadata["nbgrader"]["solution"]) for c in cells]
    assert kinds.count((False, True)) == kinds.count((True, False)) == 5


def test_nbgraders_own_example_of_a_checksum():
    assert checksum("assert np.allclose(square(3), 9)", "code", True, False, True, "t_sq",
                    5) == "0cef059ff84a59bd7165f34e86181d41"


def test_a_notebook_with_the_solutions_gets_every_point(built):
    exercise = exercises.load(str(built.folder.parents[1] / "hw3.py"))
    text = (built.folder / "solution" / "hw3.ipynb").read_text()
    assert graded(exercise, text, "hw3.ipynb")["verdict"] == "OK"
    as_given = graded(exercise, (built.folder / "student" / "hw3.ipynb").read_text(), "hw3.ipynb")
    assert as_given["score"] == 0


def test_cells_of_a_students_notebook_run_and_a_right_solution_gets_every_point(built):
    exercise = exercises.load(str(built.folder.parents[1] / "hw3.py"))
    book = nbformat.read(built.folder / "student" / "hw3.ipynb", 4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert code[0].source.split("\n")[-1] == "import numpy as np"
    scope = {}
    for cell in code:
        about = cell.metadata["nbgrader"]
        if not about["grade"] and about["grade_id"] != "check":
            exec(compile(cell.source, about["grade_id"], "exec"), scope)
    assert scope["np"] is np and set(exercise.functions) <= set(scope)
    answers = source.cells((built.folder / "solution" / "hw3.py").read_text())
    helpers = "\n\n".join(cell.text for cell in answers if cell.kind == "code"
                          and not set(source.names(cell.text)) & set(exercise.functions)
                          and not source.is_test(cell.text))
    for cell in code:
        if cell.metadata["nbgrader"]["solution"]:
            wanted = source.names(cell.source)[0]
            cell.source = helpers + "\n\n" + next(
                one.text for one in answers if one.kind == "code"
                and wanted in source.names(one.text))
    record = graded(exercise, nbformat.writes(book), "hw3.ipynb")
    assert record["score"] == record["points"] == 27
    assert record["remarks"] == []                  # the cell that checks is ours


def test_build_grades_the_students_notebook_with_the_solution_in_it(tmp_path, monkeypatch):
    path = new("hw", ["nms"], tmp_path)
    first = notebooks._student_cell
    monkeypatch.setattr(notebooks, "_student_cell", lambda one, text, *more: first(
        one, text.replace("\nimport numpy as np", "import numpy as np"), *more))
    with pytest.raises(BuildError, match="solution written into student/hw.ipynb: nms"):
        build(path)


def test_students_examples_run_when_the_file_is_started(built, tmp_path):
    done = subprocess.run([sys.executable, built.folder / "solution" / "hw3.py"])
    assert done.returncode == 0
    broken = (built.folder / "solution" / "hw3.py").read_text().replace(
        "return np.moveaxis(conv2d(", "return 1 + np.moveaxis(conv2d(")
    (tmp_path / "hw3.py").write_text(broken)
    done = subprocess.run([sys.executable, tmp_path / "hw3.py"], capture_output=True, text=True)
    assert "AssertionError" in done.stderr


def test_students_check_what_is_of_the_catalogue(built, tmp_path, capsys):
    text = (built.folder / "student" / "hw3.py").read_text()
    assert "\n# tinyvision parts: conv2d:10 roi_align:10 nms:7 vary:3\n" in text
    assert cli.main(["check", str(built.folder / "solution" / "hw3.py")]) == 0
    assert "hw3: 27 of 27 points, everything is right" in capsys.readouterr().out
    assert cli.main(["check", str(built.folder / "student" / "hw3.ipynb")]) == 1
    assert "hw3: 0 of 27 points" in capsys.readouterr().out
    path = new("hw", ["nms"], tmp_path)         # a solution of other conventions has no such line
    changed = path.read_text().replace("return np.array(keep, np.int64)",
                                       "return np.array(keep, np.int64)[::-1]")
    assert changed != path.read_text()
    path.write_text("\n".join(line for line in changed.split("\n") if "assert" not in line))
    exercise = exercises.load(str(path))
    assert checkable(exercise) == "" and checkable(exercises.load("nms")) == ""


def test_check_says_so_of_a_teachers_own_assignment(tmp_path, capsys):
    (tmp_path / "lab1.py").write_text(small_course.RIGHT)
    assert cli.main(["check", str(tmp_path / "lab1.py")]) == 2
    assert "only your instructor can check" in capsys.readouterr().err


def test_the_docs_own_exercise_is_built(tmp_path):
    text = (Path(__file__).parent.parent / "docs" / "teaching.md").read_text()
    (tmp_path / "hw1.py").write_text(re.search(r"```python\n(.*?)```", text, re.S)[1])
    made = build(tmp_path / "hw1.py")
    assert (made.points, made.mistakes) == (6, 2)


def test_building_again_gives_the_same_bytes(built, tmp_path):
    again = build(built.folder.parents[1] / "hw3.py", tmp_path, check=False)
    for first, second in zip(built.files[:4], again.files[:4]):
        assert first.read_bytes() == second.read_bytes()
    assert build(built.folder.parents[1] / "hw3.py", tmp_path,
                 check=False).files[4].read_bytes() == again.files[4].read_bytes()


def test_a_teachers_own_exercise_is_built_and_graded(tmp_path, capsys):
    source_file, handed_in = small_course.write_course(tmp_path)
    assert cli.main(["build", str(source_file)]) == 0
    said = capsys.readouterr().out
    assert "the solution gets 20 of 20 points; 3 known mistakes are caught and named" in said
    text = (tmp_path / "build/lab1/student/lab1.py").read_text()
    assert "[3]" not in text and "[2, 4]" in text
    assert cli.main(["grade", str(source_file), str(handed_in), "-o", str(tmp_path / "out")]) == 0
    assert "mix: swapped 1" in capsys.readouterr().out


@pytest.mark.parametrize("change, words", [
    (("return a * x1 + (1 - a) * x2\n    ### END", "return a * x1 + (2 - a) * x2\n    ### END"),
     "AssertionError"),
    (("lambda x, threshold: x >= threshold", "lambda x, threshold: x > threshold"),
     "mistake at-least of bright: every case passes it"),
    (("lambda x, y, a: a * x + y", "_swapped"),     # two mistakes alike: neither is named
     "mistake not-normalized of mix is taken for none; add a case that tells them apart"),
    (("lambda x, y, a: a * x + y", "lambda x, y: x"), "raises in every case"),
    (('Case("bright"', 'Case("brigth"'), "case 'ties' calls brigth, which is no function"),
    (('            Case("bright", "ties", (steps, float(steps[5])), 4)]', "            ]"),
     "bright has no cases"),
    (('"a quarter"', 'f"{rng.random()}"'), "must give the same names"),
    (("rng.uniform(1, 2, (2, 3, 4))", "np.random.default_rng().uniform(1, 2, (2, 3, 4))"),
     "case 'half and half' of mix has other arguments each time it is made from the same seed; "
     "draw all of its numbers from the rng"),
    (('"a quarter"', '"half and half"'), "2 cases of mix are called 'half and half'"),
    (("(steps, float(steps[5])), 4)", "(steps, float(steps[5])), -1)"), "every case needs points"),
    (("    ### BEGIN SOLUTION\n    return a", "    return a"), "END SOLUTION without"),
    (("\n### BEGIN HIDDEN TESTS\nfrom", "\nfrom"), "END HIDDEN TESTS without")])
def test_build_refuses_what_is_not_ready_and_writes_nothing(tmp_path, change, words):
    path = tmp_path / "lab1.py"
    assert change[0] in small_course.ASSIGNMENT
    path.write_text(small_course.ASSIGNMENT.replace(*change, 1))
    with pytest.raises(ValueError, match=re.escape(words)):
        build(path)
    assert not (tmp_path / "build").exists()


def test_build_says_which_floats_are_compared_exactly(tmp_path, capsys):
    """A sentence and no refusal: who only chooses is right to be compared so, and can say it."""
    path, text = tmp_path / "lab1.py", small_course.ASSIGNMENT
    bound = 'magnitude={"mix": lambda x, y, a: abs(x) + abs(y)}'
    assert bound in text
    for instead, told in ((bound, 0), ("credit={}", 1), ('magnitude={"mix": lambda *_: 0}', 0)):
        path.write_text(text.replace(bound, instead))
        assert cli.main(["build", str(path)]) == 0
        said = capsys.readouterr().err
        assert said.count("\n") == told and "bright" not in said
        assert ("build: mix returns floats and has no magnitude" in said) == bool(told)


@pytest.mark.parametrize("vary, copy", [(None, "--from box_iou'"), (7, "--from box_iou --vary 7'")])
def test_a_part_that_is_counted_and_not_in_the_file_is_one_line(tmp_path, vary, copy):
    path = new("hw5", ["nms"], tmp_path, vary)
    path.write_text(path.read_text().replace('["nms"], globals()', '["nms", "box_iou"], globals()'))
    with pytest.raises(BuildError) as caught:
        build(path)
    first, *lines = str(caught.value).split("\n")
    assert len(lines) == 1 and "hw5.py is not ready:" in first
    assert lines[0].startswith("- 'box_iou' is counted but hw5.py has no function ")
    assert f"copy its cells from 'tinyvision new other {copy}" in lines[0]


def test_build_finds_a_solution_outside_the_markers(tmp_path):
    path = tmp_path / "lab1.py"
    text = small_course.ASSIGNMENT
    for line in ("    ### BEGIN SOLUTION\n", "    ### END SOLUTION\n"):
        text = text.replace(line, "")
    path.write_text(text)
    with pytest.raises(BuildError, match="no solution is marked"):
        build(path)
    first = small_course.ASSIGNMENT.replace("    ### BEGIN SOLUTION\n", "", 1).replace(
        "    ### END SOLUTION\n", "", 1)
    path.write_text(first)
    with pytest.raises(BuildError, match="student/lab1.py: gets 12 points as it is handed out"):
        build(path)
    path.write_text(small_course.ASSIGNMENT.replace("\n### BEGIN HIDDEN TESTS\nfrom", "\nfrom").
                    rpartition("### END HIDDEN TESTS")[0])
    with pytest.raises(BuildError, match="holds EXERCISE"):
        build(path)


@pytest.mark.parametrize("vary", [None, 3])
def test_students_get_no_line_of_any_solution_of_the_catalogue(vary):
    """All of it: bodies and the helpers that they call; also in a file for `start`."""
    for name in exercises.names():
        text, exercise = assignment_text("hw", [name], vary), exercises.load(name)
        made, cells = homework("hw", [name], vary=vary), source.cells(text)
        secret = secret_lines(made, cells)
        assert len(secret) >= 4
        for shown in (script(cells, "hw", source.student), exercises.start.stub(exercise),
                      notebooks.student_notebook(cells, "hw", worth(made)),
                      exercises.start.notebook_text(exercise)):
            assert not [line for line in secret if line in shown]
            for helper, _ in exercises.start._pieces(exercise):
                assert helper in exercise.functions or f"def {helper}(" not in shown


def test_build_refuses_a_helper_that_students_would_see_unless_it_is_given(tmp_path):
    path = new("hw", ["lstm_cell"], tmp_path)
    hidden = path.read_text()
    begins = hidden.index("### BEGIN SOLUTION NO PROMPT\n")
    shown = (hidden[:begins] + hidden[begins:].replace("### BEGIN SOLUTION NO PROMPT\n", "", 1)
             .replace("### END SOLUTION\n", "", 1))
    path.write_text(shown)
    with pytest.raises(BuildError, match=r"student/hw.ipynb shows 'return sigmoid\(i\), .* a line "
                                         "of lstm_cell's solution"):
        build(path)
    path.write_text(shown.replace("# %%\ndef gates_of", "# %% given\ndef gates_of"))
    assert "def gates_of" in (build(path).folder / "student" / "hw.py").read_text()


OWN = """\
# %%
def double(x):
    ### BEGIN SOLUTION
    return 2 * np.asarray(x)
    ### END SOLUTION

# %%
### BEGIN HIDDEN TESTS
from tinyvision.exercises import Case, Exercise

OWN = Exercise("double", "Twice", "lecture 1", "none", {"double": double},
               lambda rng: [Case("double", "two numbers", (rng.standard_normal(2),), 4)], ())
### END HIDDEN TESTS

"""


def with_an_exercise_of_ones_own(tmp_path):
    """An assignment of nms and of an instructor's own exercise, as it would be edited."""
    path = new("hw", ["nms"], tmp_path)
    head, tail = path.read_text().split("# %%\n### BEGIN HIDDEN TESTS")
    assert '["nms"], globals()' in tail
    path.write_text(head + OWN + "# %%\n### BEGIN HIDDEN TESTS" + tail.replace(
        '["nms"], globals()', '["nms", OWN], globals()').replace('"nms": 10', '"nms": 7'))
    return path


def test_the_table_of_points_is_that_of_the_assignment(tmp_path):
    path = with_an_exercise_of_ones_own(tmp_path)
    made = build(path)
    table = ("| exercise | points |\n|---|---|\n"
             f"| {exercises.load('nms').title} | 7 |\n| Twice | 4 |")
    for folder in ("student", "solution"):
        cells = nbformat.read(made.folder / folder / "hw.ipynb", 4).cells
        assert [table in cell.source for cell in cells].count(True) == 1
        commented = "\n".join(f"# {line}" for line in table.split("\n"))
        assert commented in (made.folder / folder / "hw.py").read_text()
    path.write_text(path.read_text().replace(f"# {TABLE_LINE}", commented.replace("| 7", "| 10")))
    with pytest.raises(BuildError, match="says 10 [+] 4, but the points are 7 [+] 4"):
        build(path)


def test_text_right_below_the_table_of_points_is_no_row_of_it(tmp_path):
    path = with_an_exercise_of_ones_own(tmp_path)
    text = path.read_text()
    place = re.search(rf"(?:#\n)*# {re.escape(TABLE_LINE)}\n(?:#\n)*", text)[0]
    path.write_text(text.replace(place, f"# Above.\n# {TABLE_LINE}\n# Below.\n"))
    made = build(path, check=False)
    script = (made.folder / "student" / "hw.py").read_text()
    assert "# Above.\n#\n# | exercise | points |\n" in script
    assert "| 4 |\n#\n# Below.\n" in script
    assert any("Above.\n\n| exercise" in cell.source and "| 4 |\n\nBelow." in cell.source
               for cell in nbformat.read(made.folder / "student" / "hw.ipynb", 4).cells)


def test_the_line_of_parts_is_not_read_as_an_encoding(tmp_path):
    made = build(new("hw", ["box_coding"], tmp_path), check=False)
    for folder in ("student", "solution"):
        script = (made.folder / folder / "hw.py").read_bytes()
        assert b"\n# tinyvision parts: box_coding:10\n" in script
        compile(script, "hw.py", "exec")
        assert submitted.text_of(script).encode() == script


def test_check_says_what_only_the_instructor_can_check(tmp_path, capsys):
    made = build(with_an_exercise_of_ones_own(tmp_path))
    for suffix in ("py", "ipynb"):
        assert cli.main(["check", str(made.folder / "solution" / "hw.py")]) == 0
        said = capsys.readouterr().out
        assert re.search(r"^double +\? / 4   only your instructor can check this part$", said, re.M)
        assert said.endswith("hw: 7 of the 7 points that can be checked here (of 11 in all), "
                             "everything that can be checked here is right\n")
        assert cli.main(["check", str(made.folder / "student" / f"hw.{suffix}")]) == 1
        assert "hw: 0 of the 7 points that can be checked here (of 11 in all)\n" in (
            capsys.readouterr().out)


@pytest.mark.parametrize("suffix", [".py", ".ipynb"])
def test_two_exercises_in_one_file_are_told_and_the_first_is_checked(tmp_path, capsys, suffix):
    texts = [stub(exercises.load(name)) for name in ("box_iou", "nms", "box_iou")]
    path = tmp_path / f"ada{suffix}"
    path.write_text("\n".join(texts) if suffix == ".py" else json.dumps(
        {"cells": [{"cell_type": "code", "source": text} for text in texts]}))
    assert cli.main(["check", str(path)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "box_iou: 0 of 10 points The file names nms, too, of which nothing was checked" in said
    for wanted in (["--exercise", "nms"], ["--exercise", "box_iou"]):
        assert cli.main(["check", str(path), *wanted]) == 1
        assert ("The file names" in capsys.readouterr().out) == (wanted[1] == "box_iou")
    record, = grade(tmp_path, tmp_path.with_name("out"), seed="s", progress=False).records
    assert record["exercise"] == "box_iou"
    assert "names nms, too: graded as box_iou only" in record["remarks"]
    record, = grade(tmp_path, tmp_path.with_name("other"), "nms", seed="s", progress=False).records
    assert "names box_iou, and is graded as nms" in record["remarks"]


def test_examples_of_functions_that_are_not_written_are_not_run(tmp_path):
    made = build(new("hw", ["conv2d", "nms"], tmp_path), check=False)
    text = (made.folder / "student" / "hw.py").read_text()

    def ran(text):
        (tmp_path / "mine.py").write_text(text)
        return subprocess.run([sys.executable, tmp_path / "mine.py"], capture_output=True,
                              text=True)
    assert ran(text).returncode == 0 and ran(text).stdout.count("not written yet\n") == 3
    head, nms, tail = re.split(r"(def nms\(.*?raise NotImplementedError\(\))", text, flags=re.S)
    right = exercises.start.solution_text(exercises.load("nms")).partition("def nms(")
    done = ran(head + right[1] + right[2] + tail)
    assert done.returncode == 0 and re.findall("of (\\w+):.*not written", done.stdout) == [
        "conv2d", "conv2d_backward"]
    done = ran(head + "def nms(boxes, scores, iou_threshold):\n    return np.zeros(1)\n" + tail)
    assert done.returncode == 1 and "AssertionError" in done.stderr


# ---- Gradescope's autograder ---------------------------------------------------------------------

@pytest.fixture
def container(built, tmp_path):
    """The archive unpacked as Gradescope does, and the folders that a run finds."""
    with zipfile.ZipFile(built.folder / "autograder.zip") as zipped:
        for entry in zipped.infolist():
            zipped.extract(entry, tmp_path / "source")
            os.chmod(tmp_path / "source" / entry.filename, entry.external_attr >> 16)
    for name in ("submission", "results"):
        (tmp_path / name).mkdir()
    return tmp_path


def start(container, **more):
    return subprocess.Popen([container / "source" / "run_autograder"], cwd=container,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env={"PATH": os.environ["PATH"], "TINYVISION_PYTHON": sys.executable,
                                 "TINYVISION_AUTOGRADER": str(container), **more})


def results_of(container):
    made = json.loads((container / "results" / "results.json").read_text())
    assert results_problems(made) == []
    return made


def test_archive_has_its_files_at_the_root(built):
    with zipfile.ZipFile(built.folder / "autograder.zip") as zipped:
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in zipped.infolist()}
        setup = zipped.read("setup.sh").decode()
    assert modes["run_autograder"] == modes["setup.sh"] == 0o755 and modes["secret"] == 0o600
    assert {"hw3.py", "autograder.json", "tinyvision/grading/inside/worker.py"} <= set(modes)
    assert not [name for name in modes if "__pycache__" in name or name.startswith("/")]
    for line in ('adduser student --no-create-home --disabled-password --gecos ""',
                 "chmod -R o= /autograder/source", "chmod o= /autograder/results", "bubblewrap"):
        assert line in setup
    assert subprocess.run(["bash", "-n"], input=setup, text=True).returncode == 0


POSIX = pytest.mark.skipif(os.name != "posix", reason="Gradescope's containers are Linux")


@POSIX
def test_autograder_grades_the_solution_and_takes_off_for_lateness(container, built):
    (container / "submission" / "notes.py").write_text("import tinyvision")
    solution = (built.folder / "solution" / "hw3.py").read_text()
    (container / "submission" / "my work.py").write_text(solution)
    (container / "submission_metadata.json").write_text(json.dumps(
        {"id": 1, "created_at": "2026-12-02T18:00:00.0+01:00", "users": [{"name": "Ada"}]}))
    process = start(container)
    said, _ = process.communicate()
    assert process.returncode == 0 and "isolation" in said, said
    made = results_of(container)
    assert made["score"] == 21 and "30 hours late: 6 points taken off" in made["output"]
    assert {test["status"] for test in made["tests"]} == {"passed"}
    assert sum(test["max_score"] for test in made["tests"]) == pytest.approx(27)


@POSIX
def test_tests_can_be_shown_later(container):
    path = container / "source" / "autograder.json"
    path.write_text(path.read_text().replace('"visible"', '"after_published"'))
    (container / "submission" / "hw3.py").write_text("x = 1")
    start(container).communicate()
    made = results_of(container)
    assert {test["visibility"] for test in made["tests"]} == {"after_published"}
    assert made["visibility"] == "visible"


@POSIX
def test_autograder_without_a_file(container):
    process = start(container)
    process.communicate()
    made = results_of(container)
    assert made["score"] == 0 and "no .py or .ipynb" in made["output"]


@POSIX
def test_results_are_there_while_tests_run(container, built):
    """Gradescope's time limit is a kill: what was right so far is kept."""
    text = (built.folder / "solution" / "hw3.py").read_text()
    last = re.findall(r"def (\w+nms)\(", text)[0]
    text += f"\n\ndef {last}(*arguments):\n    import time\n    time.sleep(60)\n"
    (container / "submission" / "hw3.py").write_text(text)
    process = start(container)
    for _ in range(300):
        time.sleep(0.05)
        path = container / "results" / "results.json"
        if path.exists() and json.loads(path.read_text())["score"] == 20:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    made = results_of(container)
    assert made["score"] == 20
    waiting = [test for test in made["tests"] if "not run" in test.get("output", "")]
    assert waiting and all(test["status"] == "failed" for test in waiting)


@POSIX
def test_a_fault_of_ours_leaves_no_results(container):
    (container / "source" / "hw3.py").write_text("1 / 0")
    (container / "results" / "results.json").write_text("{}")
    process = start(container)
    said, _ = process.communicate()
    assert process.returncode == 1 and "ZeroDivisionError" in said
    assert not (container / "results" / "results.json").exists()


def test_the_file_that_names_the_assignment_is_taken(tmp_path):
    for name, text in (("a.py", "x = 1"), ("hw3.py", "y = 1"), (".hidden.py", "z = 1"),
                       ("sub/b.py", "# tinyvision exercise: hw3\n")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert [one.file for one in autograder.handed_in(tmp_path, "hw3")] == ["sub/b.py"]
    (tmp_path / "sub" / "b.py").unlink()
    assert [one.file for one in autograder.handed_in(tmp_path, "hw3")] == ["hw3.py"]
    (tmp_path / "hw3.py").unlink()
    assert [one.file for one in autograder.handed_in(tmp_path, "hw3")] == ["a.py"]


ROOT = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become "
                          "somebody else")


@ROOT
def test_without_bubblewrap_students_code_does_not_run_as_root(built, monkeypatch):
    from tinyvision.grading import jail
    from tinyvision.grading.inside import worker
    monkeypatch.delenv("TINYVISION_USER", raising=False)
    assert jail.lesser_user("medium") is None
    monkeypatch.setenv("TINYVISION_USER", "nobody")
    user = jail.lesser_user("medium")
    assert user and 0 not in user and jail.lesser_user("strong") is None
    pid = os.fork()
    if pid == 0:
        try:
            worker.become(user)
            os._exit(0 if os.getresuid() == (user[0],) * 3 and not os.getgroups() else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    monkeypatch.setenv("TINYVISION_USER", "no-such-user")
    with pytest.raises(ValueError, match="there is no user 'no-such-user'"):
        jail.lesser_user("medium")
    with zipfile.ZipFile(built.folder / "autograder.zip") as zipped:
        assert "TINYVISION_USER=student" in zipped.read("run_autograder").decode()
