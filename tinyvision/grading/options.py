"""Which argument decides: right with stride 1, wrong with any other.

That a few cases fall apart by the value of one argument may be chance: of two images the one was
padded. So the student's function is asked again. The failing calls must come right when that
argument alone is changed, and the right ones go wrong; else nothing is said.
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyvision.exercises.forwards import resized
from tinyvision.grading.verdict import Verdict

VALUES = 2                              # of an argument that are tried in each case


def deciding(assignment, mine, verdicts, ask) -> tuple[str, str] | None:
    """(name, sentence) of the one argument whose value decides whether the answer is right: on one
    side there is only a value that turns something off, or on. (Any other value, such as 4 classes,
    is that of a few cases by chance.) A right answer without elements says nothing, a call that
    raised is not right.

    Arguments:
        mine: the numbers of a function's cases.
        ask: the `Verdict` on the student's answer to another case, or None where that makes no
            sense. Without it nothing is said.
    """
    if ask is None or any(assignment.cases[i].driver for i in mine):
        return None                     # a driver's numbers are no options of the student's
    fine = [i for i in mine if verdicts[i] in (Verdict.OK, Verdict.MUTATED_INPUT)]
    failing = [i for i in mine if i not in fine]
    passing = [i for i in fine if any(part.size for part in assignment.expected[i].parts)]
    names = assignment.exercise.parameters(assignment.cases[mine[0]])
    found = []
    for position, name in enumerate(names):
        right, wrong = ({_plain(assignment.cases[i].args, position) for i in group}
                        for group in (passing, failing))
        if right and wrong and not right & wrong and None not in right | wrong and (
                _switch(right) or _switch(wrong) and len(failing) > 1) and (
                _all(_asked(assignment, failing, position, right, ask), True)
                and _all(_asked(assignment, passing, position, wrong, ask), False)):
            found.append((name, f"It is right with {name} = {_listed(right)} and wrong with {name} "
                                f"= {_listed(wrong)}."))
    return found[0] if len(found) == 1 else None


def _asked(assignment, cases, position: int, values: set, ask):
    """The verdicts on some of the cases with another value at this position."""
    for i in cases:
        for value in sorted(values, key=str)[:VALUES]:
            case = changed(assignment.exercise, assignment.cases[i], position, value)
            verdict = case and ask(case)
            if verdict:
                yield verdict


def _all(verdicts, right: bool) -> bool:
    """Whether there are verdicts, and all are right, or none."""
    found = [verdict is Verdict.OK for verdict in verdicts]
    return bool(found) and all(one is right for one in found)


def changed(exercise, case, position: int, value):
    """A case with another argument; None where the task does not promise such a call. A gradient
    that comes from above has the shape that its forward now has."""
    args = (*case.args[:position], value, *case.args[position + 1:])
    args = resized(exercise, case.function, args, np.resize)
    return replace(case, args=args) if args and exercise.allows(case.function, args) else None


def _switch(values: set) -> bool:
    """Whether there is one value only, and it is a word or made of 0, 1 and -1, as bools are."""
    value = next(iter(values))
    return len(values) == 1 and (isinstance(value, str) or {
        *(value if isinstance(value, tuple) else (value,))} <= {0, 1, -1})


def _plain(args, position):
    """An argument that can be compared: a number, a word, a tuple of numbers; arrays cannot."""
    value = args[position] if position < len(args) else None
    return value if isinstance(value, (bool, int, float, str, tuple)) else None


def _listed(values) -> str:
    return " or ".join(sorted(map(str, values)))
