"""No answer is known beforehand: a program that looks at nothing earns next to nothing.

What a case asks about is fixed, and its arguments' shapes are; the numbers come from a generator.
So a program could bring a table of answers, one for each case, found by the shapes alone; or answer
zeros, or give back what it got. None of it has to do with the task, and none of it may be worth
more than a tenth of the points.
"""
import collections
import functools

import numpy as np
import pytest

from tinyvision.exercises import load, names
from tinyvision.grading.assignment import as_received, expected_of, run
from tinyvision.grading.verdict import Verdict, judge

SEEDS = 12                              # a table is made at so many, and tried at as many others
MOST = 1.0                              # of ten points
LITTLE, OFTEN = 0.25, 0.5               # points that may be given away, the share of one answer

every = pytest.mark.parametrize("name", names())


@functools.cache
def made(name):
    """For each case of an exercise the [(case, right answer)] of twice so many seeds."""
    exercise, found = load(name), []
    for seed in range(2 * SEEDS):
        cases = exercise.cases(np.random.default_rng(seed))
        found.append([(case, expected_of(exercise, case, run(exercise, case))) for case in cases])
    return list(zip(*found))


def is_right(parts, right):
    """The grader's judgement of an answer made of these arrays."""
    answer = as_received(tuple(parts) if right.several else parts[0])
    return judge(answer, right).verdict is Verdict.OK


# ---- a table of answers --------------------------------------------------------------------------

def content(right):
    """What makes two answers the same one, as something that can be counted."""
    return tuple((part.shape, part.dtype.str, part.tobytes()) for part in right.parts)


def most_frequent(pairs):
    """(the arrays of the answer that is right most often, in what share of the seeds)."""
    counts = collections.Counter(content(right) for _, right in pairs)
    best, count = counts.most_common(1)[0]
    return next(right.parts for _, right in pairs if content(right) == best), count / len(pairs)


def table_points(columns, first, then):
    """What the most frequent answers at some seeds earn at others, on average."""
    return sum(column[0][0].points * np.mean([is_right(most_frequent(column[first])[0], right)
                                              for _, right in column[then]]) for column in columns)


@every
def test_a_table_of_the_most_frequent_answers_earns_next_to_nothing(name):
    columns, known, others = made(name), slice(SEEDS), slice(SEEDS, None)
    points = (table_points(columns, known, others) + table_points(columns, others, known)) / 2
    assert points <= MOST, f"{points:g} points for answers that were known beforehand"


@every
def test_no_case_has_one_answer_at_most_seeds(name):
    shares = {column[0][0].name: most_frequent(column)[1] for column in made(name)
              if column[0][0].points > LITTLE}
    assert {case: share for case, share in shares.items() if share > OFTEN} == {}


# ---- programs that look at nothing ---------------------------------------------------------------

def constant(number):
    return lambda part, args: np.full_like(part, number)


def counted(part, args):
    return np.arange(part.size).reshape(part.shape).astype(part.dtype)


def given(part, args):
    return np.resize(np.asarray(args[0]), part.shape).astype(part.dtype)


TRIVIAL = {"zeros, False": constant(0), "ones, True": constant(1), "-1": constant(-1),
           "arange": counted, "its first argument": given}


@every
@pytest.mark.parametrize("program", TRIVIAL)
def test_trivial_programs_earn_next_to_nothing(name, program):
    """Even one that knows the shapes and dtypes of the right answers."""
    points = sum(case.points * is_right([TRIVIAL[program](part, case.args) for part in right.parts],
                                        right)
                 for column in made(name) for case, right in column[:SEEDS]) / SEEDS
    assert points <= MOST, f"{points:g} points for {program}"


# ---- answers that lie in what other cases are asked ------------------------------------------------

@every
def test_no_answer_lies_among_the_arguments_of_other_cases(name):
    """All calls may run in one process, where the arguments of each can be found."""
    for column in zip(*made(name)):
        for case, right in column:
            lying = {content_of(arg) for other, _ in column if other is not case
                     for arg in other.args if isinstance(arg, np.ndarray)}
            telling = [part for part in right.parts if len(np.unique(part)) > 2]
            assert not telling or not all(content_of(part) in lying for part in telling), case.name


def content_of(array):
    """Its bytes in the dtype of most answers."""
    return array.shape, array.astype(np.float64).tobytes()
