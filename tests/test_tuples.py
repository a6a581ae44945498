"""Functions of several arrays: a name is earned by the whole answer, and "yours" is the student's."""
from __future__ import annotations

import numpy as np
import pytest

from programs import fork, graded
from tinyvision.exercises import load
from tinyvision.exercises.start import solution_text
from tinyvision.grading.assignment import prepare_public
from tinyvision.grading.examine import examine
from tinyvision.grading.shrink import text
from tinyvision.grading.submissions import Submission

CHANGED = [                             # exercise, function: its arrays, what is returned instead
    ("lstm_cell", "lstm_cell", "h, c", "h, h"),
    ("lstm_cell", "lstm_cell", "h, c", "c, c"),
    ("average_precision", "recall_and_precision", "r, p", "r, r"),
    ("average_precision", "recall_and_precision", "r, p", "p, p"),
    ("average_precision", "recall_and_precision", "r, p", "r, p[::-1]"),
    ("batch_norm", "batch_norm_backward", "x, w, b", "x, b, b"),
    ("batch_norm", "batch_norm_backward", "x, w, b", "x, w, w"),
    ("batch_norm", "batch_norm_backward", "x, w, b", "x, w, b / 2")]


def program(exercise, function, arrays, returned):
    """The solution, with a function that returns something else of what the right one does."""
    right = solution_text(load(exercise)).replace(f"def {function}(", f"def right_{function}(")
    return f"{right}\n\ndef {function}(*args):\n    {arrays} = right_{function}(*args)\n" \
           f"    return {returned}\n"


def returns(source, function, call):
    """What a function of a program returns to a call as it is shown, as text."""
    space = {}
    exec(source, space)
    told = eval(call, {function: lambda **named: list(named.values())})
    args = [np.array(one, float) if isinstance(one, list) else one for one in told]
    return "(" + ", ".join(text(part, 4) for part in space[function](*args)) + ")"


@fork
@pytest.mark.parametrize("exercise, function, arrays, returned", CHANGED)
def test_no_exchange_is_seen_where_one_array_is_wrong(exercise, function, arrays, returned):
    record = graded(exercise, program(exercise, function, arrays, returned))
    found, = [one for one in record["diagnoses"] if one["function"] == function]
    banked = {mistake.name for mistake in load(exercise).mistakes}
    assert found["name"] not in banked, found


@fork
@pytest.mark.parametrize("exercise, function, arrays, returned", [
    *CHANGED, ("lstm_cell", "lstm_cell", "h, c", "c, h"),
    ("average_precision", "recall_and_precision", "r, p", "p, r")])
def test_yours_is_what_the_student_returns(exercise, function, arrays, returned):
    source = program(exercise, function, arrays, returned)
    one = Submission("ada", f"{exercise}.py", source.encode())
    record, _ = examine(one, prepare_public(load(exercise)), "medium", deep=True)
    example = next(part["counterexample"] for part in [*record["diagnoses"], *record["cases"]]
                   if "counterexample" in part)
    assert example["yours"] == returns(source, function, example["call"]) != example["expected"]
