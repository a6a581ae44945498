"""Which mistake it is: known ones by their answers, others by what relates them to the right one.

Nothing here changes a mark. What is not recognised is said to be so. A name needs evidence that
could have been otherwise: answers in which there is one number only, or none, are evidence for
nothing (`patterns.unchanging`); answers that two known mistakes give are evidence for neither; and
where the function raised or came to no numbers in most of its cases, the others do not say why.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision.grading.forms import form
from tinyvision.grading.options import deciding
from tinyvision.grading.patterns import SLACK, of_arrays, pattern, unchanging
from tinyvision.grading.verdict import (
    FLOATS,
    Answer,
    Expected,
    Verdict,
    differs,
    gamma,
    right_numbers,
)

WRONG = (Verdict.WRONG_VALUE, Verdict.WRONG_SHAPE, Verdict.NONFINITE)
UNKNOWN = "This is none of the known mistakes."
MISTYPED = (Verdict.WRONG_TYPE, Verdict.WRONG_DTYPE)


@dataclass(frozen=True)
class Diagnosis:
    """What a function's wrong answers look like.

    Attributes:
        function: whose answers.
        name: a slug; a known mistake's, a pattern's, or ``""`` where nothing was recognised.
        hint: one or two sentences for the student.
    """
    function: str
    name: str
    hint: str


def diagnose(assignment, answers: dict[int, Answer], verdicts: dict[int, Verdict],
             judgements: dict, ask=None) -> list[Diagnosis]:
    """One diagnosis for every function that has wrong answers. Answers of a wrong type have one
    where their numbers say what happened; else the verdict has said it all.

    Arguments:
        answers: case number -> what came back; a case that raised or timed out is not in it.
        verdicts, judgements: of every case and of every case that was compared.
        ask: the verdict on the student's answer to another case, see `options.deciding`.
    """
    found = []
    for function in assignment.exercise.functions:
        mine = [i for i, case in enumerate(assignment.cases) if case.function == function]
        failing = [i for i in mine if i in answers and (verdicts[i] in WRONG or verdicts[
            i] in MISTYPED and _telling(answers[i], assignment.expected[i]))]
        if failing:
            found += _of_function(assignment, function, mine, failing, answers, verdicts,
                                  judgements, ask)
    return found


def _telling(answer: Answer, expected: Expected) -> bool:
    """Whether the numbers of an answer of a wrong type are wrong, and precise enough to say how."""
    return not right_numbers(answer, expected) and all(
        part is not None and (part.dtype.kind != "f" or part.dtype in FLOATS)
        for part in answer.parts)


def _of_function(assignment, function, mine, failing, answers, verdicts, judgements, ask):
    """What is said about one function: one number everywhere, a known mistake, known mistakes of
    single arrays of a tuple, another form, a pattern, or that it was not recognised."""
    answered = [i for i in mine if i in answers]
    always = unchanging([(answers[i], assignment.expected[i]) for i in answered])
    if always:
        return [Diagnosis(function, *always)]
    finite = [i for i in answered if verdicts[i] is not Verdict.NONFINITE]
    for cases in (answered, finite):                    # an overflow hides what is else
        telling = [i for i in cases if i in failing and _has_numbers(answers[i])]
        mistake = named(assignment, cases, answers)
        if mistake and (len(cases) == len(mine) or _enough(telling, mine, cases)):
            return [Diagnosis(function, mistake.name, mistake.hint)]
    found = parts(assignment, function, answered, answers)
    if any(one.name for one in found) and _enough(failing, mine, answered):
        return found
    return _generic(assignment, function, mine, failing, answers, verdicts, judgements, ask)


def _enough(telling, mine, cases) -> bool:
    """Whether the ``telling`` ones among the ``cases`` that can be compared speak for all of a
    function's: they are two, or as many as those that raised or came to no numbers."""
    return len(telling) >= min(2, max(1, len(mine) - len(cases)))


def _has_numbers(answer: Answer) -> bool:
    return any(part is not None and np.isfinite(part).any() for part in answer.parts)


def _generic(assignment, function, mine, failing, answers, verdicts, judgements, ask):
    """What is said of wrong answers that are no known mistake's."""
    enough = _enough(failing, mine, [i for i in mine if i in answers])
    seen = [(answers[i], assignment.expected[i], judgements[i]) for i in failing]
    other = enough and of_arrays(form, [(*one, _arrays(assignment, i))
                                        for one, i in zip(seen, failing)])
    if other:
        return [Diagnosis(function, *other)]
    if all(verdicts[i] not in WRONG for i in failing):
        return []
    alike = enough and of_arrays(pattern, [one for one in seen if one[2].verdict in WRONG])
    where = deciding(assignment, mine, verdicts, ask)
    if alike or where:
        name, hint = alike or (f"only-{where[0]}", "")
        return [Diagnosis(function, name, " ".join(filter(None, [hint, where and where[1]])))]
    return [Diagnosis(function, "", UNKNOWN)]


def _arrays(assignment, i: int) -> dict:
    """A case's arguments that are arrays, by name."""
    case = assignment.cases[i]
    named = zip(assignment.exercise.parameters(case), case.args)
    return {} if case.driver else {name: arg for name, arg in named if isinstance(arg, np.ndarray)}


def known(assignment, answered, answers):
    """The first mistake of the bank whose answers to all these cases are the student's."""
    return next(_fitting(assignment, answered, answers), None)


def named(assignment, answered, answers):
    """The same, if it is the only one: where others raised, two mistakes may answer alike."""
    fitting = list(_fitting(assignment, answered, answers))
    return fitting[0] if len({mistake.name for mistake in fitting}) == 1 else None


def _fitting(assignment, answered, answers):
    return (mistake for mistake, bank in assignment.bank if answered and all(
        i in bank and same(answers[i], bank[i], assignment.expected[i]) for i in answered))


def parts(assignment, function, answered, answers) -> list[Diagnosis]:
    """For a function that returns several arrays: what each wrong one looks like by itself."""
    right = assignment.expected
    counts = {len(answers[i].parts) for i in answered} | {len(right[i].parts) for i in answered}
    found = []
    for part in range(min(counts)) if len(counts) == 1 and min(counts) > 1 else ():
        if all(_same_part(answers[i].parts[part], right[i].parts[part], right[i], part)
               for i in answered):
            continue
        fitting = [mistake for mistake, bank in assignment.bank if all(
            bank.get(i) is not None and _explains(bank[i], part, answers[i], right[i])
            for i in answered)]
        one = len({mistake.name for mistake in fitting}) == 1
        found.append(Diagnosis(function, fitting[0].name, fitting[0].hint) if one else Diagnosis(
            function, "", f"Answer {part + 1} is none of the known mistakes."))
    return list(dict.fromkeys(found))


def _explains(theirs: Answer, part: int, mine: Answer, right: Expected) -> bool:
    """Whether one array of an answer is that of a mistake, which gets every other array right, or
    as the student has it: two arrays exchanged are not one of them returned twice."""
    if len(theirs.parts) != len(mine.parts):
        return False
    others = (k for k in range(len(mine.parts)) if k != part)
    return _same_part(mine.parts[part], theirs.parts[part], right, part) and all(
        _same_part(theirs.parts[k], right.parts[k], right, k)
        or _same_part(mine.parts[k], theirs.parts[k], right, k) for k in others)


def same(mine: Answer, theirs: Answer | None, expected: Expected) -> bool:
    """Whether a student's answer is a mistake's; None where the mistake raises."""
    if theirs is None:
        return False
    if bool(mine.several) != bool(theirs.several) or len(mine.parts) != len(theirs.parts):
        return False
    return all(_same_part(a, b, expected, i) for i, (a, b) in
               enumerate(zip(mine.parts, theirs.parts)))


def _same_part(a, b, expected: Expected, part: int) -> bool:
    if a is None or a.shape != b.shape:
        return False
    magnitudes = expected.magnitudes
    if a.dtype.kind != "f" or part >= len(magnitudes) or magnitudes[part] is None:
        return not differs(a, b, 0.0).any() or np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    with np.errstate(invalid="ignore", over="ignore"):
        scale = np.max(magnitudes[part], initial=0.0) + np.abs(b)
        close = np.isfinite(b) & (
            np.abs(a - b) <= SLACK * gamma(expected.terms[part] + 4, a.dtype) * scale)
    return bool((close | (a == b) | (np.isnan(a) & np.isnan(b))).all())
