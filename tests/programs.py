"""Programs of students, graded one at a time: for tests of exercises whose answer is no array."""
import numpy as np
import pytest

from tinyvision import cuda
from tinyvision.exercises import load
from tinyvision.exercises.start import solution_text
from tinyvision.grading import sandbox
from tinyvision.grading.assignment import prepare
from tinyvision.grading.examine import examine
from tinyvision.grading.submissions import Submission

fork = pytest.mark.skipif(not sandbox.worker.CAN_FORK, reason="no fork here")
host = pytest.mark.skipif(cuda.compiler() is None, reason="no C++ compiler")
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
