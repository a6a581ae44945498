"""One call, as small as can be, that shows what is wrong: typed, answered, and answered rightly."""
from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from tinyvision.grading.assignment import attempt, sensible
from tinyvision.grading.diagnosis import same
from tinyvision.grading.shrink import call_text, shrink, text
from tinyvision.grading.store import plain
from tinyvision.grading.trials import smallest
from tinyvision.grading.verdict import Verdict, judge

SHRUNK = (Verdict.WRONG_VALUE, Verdict.WRONG_SHAPE, Verdict.NONFINITE, Verdict.EXCEPTION)
LONGEST = 400                           # characters of a call or an answer
SEARCH = 1                              # seconds in which a smaller call is looked for


def counterexamples(trials, deep: bool) -> list[dict]:
    """One for each function that is wrong, where one was found. What is shown as a student's answer
    is one: the smallest call of a known mistake is put to the student's function, too, and where
    that is right, the mistake is another, and loses its name.

    Arguments:
        trials: the `Trials` of a submission. A known mistake's call is worked out from the mistake
            itself, with public numbers, once for everybody.
        deep: look for the smallest call of what nobody knows, too: a hundred and sixty answers, or
            a second.
    """
    assignment, shown_ = trials.assignment, []
    for function in assignment.exercise.functions:
        named, verdict, example = versions_of(trials, function), None, None
        for mistake in named:
            known = of_mistake(assignment.public, mistake)
            verdict, example = of_call(trials, *known) if known else (None, None)
            if verdict in SHRUNK:
                break
        if verdict is Verdict.OK:
            trials.refute(function, named[0].name)
        if deep and (not named or verdict is Verdict.OK):
            example = of_student(trials, function)
        shown_.append(example)
    return [one for one in shown_ if one]


def versions_of(trials, function: str) -> list:
    """The known mistake that was named: as the bank has it first, which is the plainest, and in the
    version that answers most cases as the student."""
    names = {one.name for one in trials.diagnoses if one.function == function}

    def alike(entry):
        return sum(i in trials.answers and same(trials.answers[i], answer,
                                                trials.assignment.expected[i])
                   for i, answer in entry[1].items())
    mine = [entry for entry in trials.assignment.bank
            if entry[0].function == function and entry[0].name in names]
    return list(dict.fromkeys((mine[0][0], max(mine, key=alike)[0]))) if mine else []


@functools.cache
def of_mistake(assignment, mistake) -> tuple | None:
    """(the smallest call on which a known mistake is wrong, what is shown of it)."""
    exercise, bank = assignment.exercise, dict(assignment.bank)[mistake]
    failing = {i: answer for i, answer in bank.items()
               if answer is not None and judge(answer, assignment.expected[i]).verdict in SHRUNK}
    for i in plainest(failing, assignment)[:1]:
        kind = judge(failing[i], assignment.expected[i])

        def fails(case):
            right = sensible(exercise, case)
            answer = right and attempt(exercise, mistake.implementation, case)
            found = answer and judge(answer, right)
            return bool(found) and found.verdict is kind.verdict and (
                case.driver != "" or found.part <= kind.part)   # wrong where it was wrong first
        case = shrink(exercise, assignment.cases, assignment.cases[i], fails)
        words = shown(exercise, case, attempt(exercise, mistake.implementation, case))
        return words and (case, words)
    return None


def of_call(trials, case, words) -> tuple:
    """(the verdict on a student's answer to a call, what is shown of it). Of a function that did
    not end nothing more is asked: the mistake's own answer is shown."""
    exercise = trials.assignment.exercise
    if case.function in trials.left:
        return None, dict(words)
    verdict, answer = trials.put(case, sensible(exercise, case))
    return verdict, shown(exercise, case, answer) if verdict in SHRUNK else None


def of_student(trials, function: str) -> dict | None:
    """The smallest call on which a student's function is wrong, found by calling it."""
    assignment = trials.assignment
    exercise, verdicts = assignment.exercise, trials.verdicts
    mine = [i for i, case in enumerate(assignment.cases) if case.function == function]
    failing = [i for i in mine if verdicts[i] in SHRUNK and i not in trials.followed]
    if function in trials.left or all(verdicts[i] is Verdict.EXCEPTION for i in mine):
        return None                     # a function that never answers has no smaller example
    for i in plainest(failing, assignment)[:1]:
        last, end = {}, trials.runner.spent + SEARCH

        def fails(case):
            right = sensible(exercise, case) if trials.runner.spent < end else None
            verdict, answer = trials.put(case, right) if right else (None, None)
            if verdict is verdicts[i]:
                last[id(case)] = answer
            return verdict is verdicts[i]
        if fails(assignment.cases[i]):
            case = shrink(exercise, assignment.cases, assignment.cases[i], fails)
            return shown(exercise, case, last[id(case)])
    return None


def plainest(failing, assignment) -> list[int]:
    """Failing cases: those that keep to what the task promises first, the smallest first."""
    return sorted(smallest(failing, assignment), key=lambda i: not assignment.exercise.allows(
        assignment.cases[i].function, assignment.cases[i].args))


def shown(exercise, case, answer) -> dict | None:
    """Texts: the call, the student's answer, the right one; None where they fill a page."""
    right = sensible(exercise, case)
    if right is None or answer is None:
        return None                     # the plainest failing case may be an empty one
    call = plain(exercise.told(case) or call_text(case.function, exercise.parameters(case),
                                                  case.args), LONGEST + 1)
    if exercise.told(case):             # of one call there is one answer, not a row of one
        answer, right = alone(answer), alone(right)
    pairs = [(answer, _parts(right.parts, right.several))] if isinstance(answer, str) else [
        tuple(_parts(parts, several, digits) for parts, several in
              ((answer.parts, answer.several), (right.parts, right.several)))
        for digits in (4, 12)] + [_place(answer, right)]
    for yours, expected in pairs:
        if max(map(len, (call, yours, expected))) <= LONGEST and yours != expected:
            return {"function": case.function, "call": call, "yours": plain(yours, LONGEST),
                    "expected": plain(expected, LONGEST)}
    return None


def alone(answer):
    """An answer whose arrays are of one row, as that row."""
    parts = () if isinstance(answer, str) else answer.parts
    if not parts or any(part is None or np.shape(part)[:1] != (1,) for part in parts[:1]):
        return answer
    return replace(answer, parts=tuple(part[0] if np.shape(part)[:1] == (1,) else part
                                       for part in parts))


def _parts(parts, several, digits: int = 4) -> str:
    words = ["no array" if part is None else text(part, digits) for part in parts]
    return f"({', '.join(words)})" if several else words[0]


def _place(answer, right) -> tuple[str, str]:
    """The first wrong number of each, or the shapes."""
    found = judge(answer, right)
    got, want = answer.parts[found.part], right.parts[found.part]
    if found.index is None:
        return f"shape {np.shape(got)}", f"shape {want.shape}"
    where = f" at {list(found.index)}"
    return tuple(text(float(part[found.index]), 12) + where for part in (got, want))
