"""Mistakes as others make them: written from the tasks and hints alone, without the bank.

``strangers/NAME.txt`` holds programs; a line ``#### mistake: FUNCTION NAME`` says which mistake of
the bank its author meant, ``#### other: FUNCTION words`` that it is none of them.
"""
import copy
import functools
import re
from dataclasses import replace
from pathlib import Path

import mutations
import numpy as np
import pytest

from tinyvision.exercises import load, names
from tinyvision.exercises.start import solution_text
from tinyvision.grading.assignment import prepare, sensible
from tinyvision.grading.diagnosis import diagnose
from tinyvision.grading.inside import messages
from tinyvision.grading.verdict import Verdict, judge, received

STRANGERS = Path(__file__).with_name("strangers")
HEAD = re.compile(r"^#### (mistake|other): (\w+) (.+)$", re.M)
NAMED, MISNAMED = 0.90, 0.02


def programs(exercise):
    """(kind, function, what is wrong, source) of each program in an exercise's file."""
    found = HEAD.split((STRANGERS / f"{exercise}.txt").read_text(encoding="utf-8"))[1:]
    return list(zip(found[::4], found[1::4], found[2::4], found[3::4]))


@functools.cache
def prepared(exercise):
    return prepare(load(exercise), np.random.default_rng(20261121))


def answered(case, function, assignment):
    """What a program answers, as the grader sees it; None where it raises."""
    blobs, args = [], copy.deepcopy(case.args)
    try:
        with mutations.limited(mutations.SECONDS), np.errstate(all="ignore"):
            returned = assignment.exercise.answer(replace(case, args=args), function)
    except (Exception, SystemExit):
        return None
    kind, values = messages.several(returned)
    about = [messages.describe(one, blobs, 1 << 24) for one in values]
    return received({"answers": about, "inputs": len(blobs), "several": kind}, blobs)[0]


@functools.cache
def findings(exercise, function, source):
    """(whether it is wrong at all, the names that the grader gives it)."""
    assignment, space = prepared(exercise), {}
    exec(compile(solution_text(load(exercise)) + source, "stranger", "exec"), space)
    answers, verdicts, judgements = {}, {}, {}
    for i, case in enumerate(assignment.cases):
        answer = answered(case, space[case.function], assignment)
        verdicts[i] = Verdict.EXCEPTION
        if answer is not None:
            answers[i], judgements[i] = answer, judge(answer, assignment.expected[i])
            verdicts[i] = judgements[i].verdict
    def ask(case):
        right = sensible(assignment.exercise, case)
        answer = right and answered(case, space[case.function], assignment)
        return right and (judge(answer, right).verdict if answer else Verdict.EXCEPTION)
    wrong = any(verdict is not Verdict.OK for verdict in verdicts.values())
    return wrong, [found.name for found in diagnose(assignment, answers, verdicts, judgements, ask)
                   if found.function == function]


def bank(exercise, function):
    return {mistake.name for mistake in load(exercise).mistakes if mistake.function == function}


@pytest.mark.parametrize("exercise", names())
def test_there_are_programs_and_all_are_wrong(exercise):
    found = programs(exercise)
    meant = {(function, what) for kind, function, what, _ in found if kind == "mistake"}
    assert len(meant) >= 3 and any(kind == "other" for kind, *_ in found)
    assert all(what in bank(exercise, function) for function, what in meant)
    for _, function, what, source in found:
        assert findings(exercise, function, source)[0], f"no case catches {function}: {what}"


def test_nearly_all_are_named_and_next_to_none_wrongly():
    meant, named, wrong = 0, 0, []
    for exercise in names():
        for kind, function, what, source in programs(exercise):
            known = bank(exercise, function).intersection(findings(exercise, function, source)[1])
            if kind == "mistake":
                meant += 1
                named += what in known
            if known - {what if kind == "mistake" else None} and what not in known:
                wrong.append((exercise, function, what, known))
    total = sum(len(programs(exercise)) for exercise in names())
    print(f"{total} programs, {meant} meant as known mistakes, {named} named, {len(wrong)} wrongly")
    assert named >= NAMED * meant and len(wrong) <= MISNAMED * total, wrong
