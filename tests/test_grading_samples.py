"""The shipped samples, the shipped exercises, and their mistakes, all through the grader."""
from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinyvision import exercises, grading
from tinyvision.grading import sandbox
from tinyvision.grading.assignment import as_received, prepare
from tinyvision.grading.diagnosis import diagnose
from tinyvision.grading.verdict import Verdict, judge

SAMPLES = Path(grading.__file__).parent / "samples"
SCORES = {"ada": ("OK", 10), "ben": ("OK", 10), "cleo": ("WRONG_VALUE", 1),
          "dmitri": ("WRONG_SHAPE", 9), "elif": ("WRONG_VALUE", 0), "farid": ("TIMEOUT", 0),
          "greta": ("CRASHED", 0), "hugo": ("WRONG_VALUE", 0), "ines": ("SYNTAX", 0),
          "jonas": ("MUTATED_INPUT", 7.5), "kim": ("BAD_RESULT", 0), "lena": ("UNREADABLE", 0)}
MISTAKES = {"cleo": "conv2d: kernel-flipped", "dmitri": "nms: at-the-threshold",
            "elif": "box_iou: plus-one"}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    if not sandbox.worker.CAN_FORK:
        pytest.skip("no fork here: a sample that crashes would cost more than its case")
    return grading.grade(SAMPLES, tmp_path_factory.mktemp("out"), seed="tests", progress=False)


def test_samples_have_their_marks(graded):
    assert {r["student"]: (r["verdict"], r["score"]) for r in graded.records} == SCORES
    assert graded.isolation == sandbox.probe()[0]
    rows = csv.DictReader(io.StringIO(graded.gradebook.read_text()))
    named = {row["student"]: row["mistakes"] for row in rows}
    assert {student: named[student] for student in MISTAKES} == MISTAKES


def test_a_killed_run_goes_on_where_it_was(graded, tmp_path):
    code = "import sys; from tinyvision.grading import grade; grade(*sys.argv[1:], seed='tests')"
    first = subprocess.Popen([sys.executable, "-c", code, SAMPLES, tmp_path],
                             env=os.environ | {"PYTHONPATH": str(SAMPLES.parents[2])})
    while not list(tmp_path.glob("results/*/*.time.json")) and first.poll() is None:
        time.sleep(0.02)
    first.kill()
    first.wait()
    assert not (tmp_path / "gradebook.csv").exists()
    again = grading.grade(SAMPLES, tmp_path, seed="tests", progress=False)
    assert again.reused < len(SCORES)
    assert again.gradebook.read_bytes() == graded.gradebook.read_bytes()
    assert again.report.read_bytes() == graded.report.read_bytes()


def test_sample_report_has_pictures_and_no_scripts(graded):
    pages = "".join(path.read_text() for path in graded.report.parent.glob("students/*.html"))
    assert pages.count("data:image/svg+xml") >= 6
    assert "<script" not in pages and "&lt;b&gt;to be done" in pages


@pytest.mark.parametrize("name", ["cleo", "dmitri", "elif"])
def test_check_names_the_samples_mistakes_in_under_two_seconds(name):
    start = time.perf_counter()
    text = str(grading.check(SAMPLES / f"{name}.py"))
    assert time.perf_counter() - start < 2
    assert "It looks like: " + MISTAKES[name].split(": ")[1].replace("-", " ") in text


def outcome(assignment, answers):
    judgements = {i: judge(answer, assignment.expected[i]) for i, answer in answers.items()}
    verdicts = {i: judgements[i].verdict if i in judgements else Verdict.EXCEPTION
                for i in range(len(assignment.cases))}
    return verdicts, diagnose(assignment, answers, verdicts, judgements)


@pytest.mark.parametrize("name", exercises.names())
def test_every_known_mistake_is_caught_and_named(name):
    assignment = prepare(exercises.load(name), np.random.default_rng(11))
    for mistake, bank in assignment.bank:
        answers = {i: answer for i, answer in bank.items() if answer is not None}
        verdicts, found = outcome(assignment, answers)
        assert any(verdicts[i] is not Verdict.OK for i in bank), f"{mistake.name} passes"
        names = [d.name for d in found if d.function == mistake.function]
        assert names in ([mistake.name], []), f"{mistake.name} is taken for {names}"
        assert names or not answers or all(
            verdicts[i] in (Verdict.WRONG_TYPE, Verdict.WRONG_DTYPE, Verdict.EXCEPTION, Verdict.OK)
            for i in bank), f"{mistake.name} is not named"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", exercises.names())
def test_solutions_have_all_points_in_both_precisions(name, dtype):
    assignment = prepare(exercises.load(name), np.random.default_rng(12))
    for case, right in zip(assignment.cases, assignment.expected):
        args = [arg.astype(dtype) if isinstance(arg, np.ndarray) and arg.dtype.kind == "f" else arg
                for arg in case.args]
        answer = assignment.exercise.answer(replace(case, args=args))
        parts = answer if isinstance(answer, tuple) else (answer,)
        parts = tuple(np.asarray(p).astype(dtype) if np.asarray(p).dtype.kind == "f"
                      else np.asarray(p) for p in parts)
        result = judge(as_received(parts if right.several else parts[0]), right)
        assert result.verdict is Verdict.OK, (case.name, result.message)
