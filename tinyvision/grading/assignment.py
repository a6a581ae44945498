"""An exercise made ready for grading: its cases, right answers, error bounds and mistakes' answers.

Made once, used for every submission. The numbers come from one generator, so the same seed gives
the same bytes on every machine.
"""
from __future__ import annotations

import copy
import functools
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, replace

import numpy as np

from tinyvision.exercises.quiet import quiet
from tinyvision.grading.inside import messages
from tinyvision.grading.verdict import Answer, Expected, received

LEAST_SECONDS, TIMES_REFERENCE = 2.0, 50.0
LEAST_IN_ALL, TIMES_ONE_CASE = 30.0, 3.0
PUBLIC_SEED = 0
CAP = 1 << 26                           # bytes of one answer of a mistake's


@dataclass(frozen=True, eq=False)
class Assignment:
    """One exercise with numbers in it; lists are parallel to ``cases``.

    Attributes:
        exercise: the `tinyvision.exercises.Exercise`.
        cases: its cases.
        expected: the right answers, `Expected`.
        seconds: how long each case may take.
        bank: for each mistake its answers to the cases of its function: ``{case number: Answer}``,
            None where it raises.
        digest: SHA-256 of everything that a mark depends on here.
        wanted: how many seconds one submission may take in all, where an instructor said so.
    """
    exercise: object
    cases: list
    expected: list
    seconds: list
    bank: list
    digest: str
    wanted: float | None = None

    @property
    def in_all(self) -> float:
        """Seconds for one submission: a second a case, or 30 where there are few."""
        return float(self.wanted or max(LEAST_IN_ALL, len(self.cases)))

    @property
    def allowed(self) -> float:
        """The same, and never less than three of its cases may take: measured, so on no record."""
        return max(self.in_all, TIMES_ONE_CASE * max(self.seconds, default=0))

    @functools.cached_property
    def public(self) -> Assignment:
        """The same exercise with the numbers that students know."""
        return prepare_public(self.exercise)

    @property
    def is_public(self) -> bool:
        """Whether these are those numbers."""
        return self.public.digest == self.digest

    @functools.cached_property
    def others(self) -> Assignment | None:
        """The same exercise with other numbers: the public ones, or in their place a further draw,
        of which nobody needs to know what mistakes answer. A student who waits is spared it for a
        function that asks for values: an answer that is kept by shape asks for none, and so is
        none."""
        if not self.is_public:
            return self.public
        if any(map(self.exercise.beside, self.cases)):
            return None
        return prepare(self.exercise, np.random.default_rng(PUBLIC_SEED + 1), mistakes=())


def generator(secret: bytes, exercise: str) -> np.random.Generator:
    """The exercise's numbers for one grading: HMAC-SHA256 of its name under the secret."""
    digest = hmac.new(secret, exercise.encode(), hashlib.sha256).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def prepare(exercise, rng: np.random.Generator, wanted: float | None = None,
            mistakes=None) -> Assignment:
    """Run the solution and every known mistake, or those given, on the cases that ``rng`` gives;
    ``wanted``: see `Assignment`."""
    cases = list(exercise.cases(rng))
    expected, seconds = [], []
    for case in cases:
        start = time.thread_time()
        answer = run(exercise, case)
        took = time.thread_time() - start
        seconds.append(max(LEAST_SECONDS, TIMES_REFERENCE * took))
        expected.append(expected_of(exercise, case, answer))
    bank = [(mistake, _answers(exercise, mistake, cases))
            for mistake in (exercise.mistakes if mistakes is None else mistakes)]
    return Assignment(exercise, cases, expected, seconds, bank,
                      _digest(exercise, cases, expected), wanted)


def prepare_public(exercise) -> Assignment:
    """With the numbers that students know."""
    made = prepare(exercise, np.random.default_rng(PUBLIC_SEED))
    vars(made)["public"] = made                         # what `Assignment.public` would make again
    return made


def run(exercise, case, function=None):
    """A function's answer to a case, by default the solution's; the case keeps its own arrays."""
    try:
        return exercise.answer(replace(case, args=copy.deepcopy(case.args)), function)
    except SystemExit:                  # else the grader would end here, without a word
        raise ValueError(f"{case.function}, called for the case {case.name!r}, ends Python "
                         "(sys.exit, exit or quit); take that out of the function") from None


def request(exercise, case, cap: int) -> tuple[dict, list[bytes]]:
    """(header, blobs) that ask a worker for a student's answer to a case.

    The driver's text goes along. It runs in the student's own process, and a student may patch it,
    read it, replace what it calls: it holds no answer, and what comes back is judged as an answer
    like any other, so all that this changes is the student's own result.
    """
    blobs: list = []
    header = {"do": "call", "function": case.function, "cap": cap}
    beside = exercise.beside(case)
    if beside:                          # the arguments follow one call at a time: see `talking`
        return header | {"talks": True, "driver": beside.__name__,
                         "driver_text": exercise.driver_text}, []
    header["args"] = messages.encode(tuple(case.args), blobs)
    if case.driver:
        header |= {"driver": case.driver, "driver_text": exercise.driver_text}
    return header, blobs


def parts_of(answer) -> tuple[tuple, bool]:
    """(the arrays of an answer, whether it is a tuple)."""
    kind, parts = messages.several(answer)
    return tuple(map(np.asarray, parts)), bool(kind)


def expect(exercise, case) -> Expected:
    """The right answer to a case, with its error bound."""
    return expected_of(exercise, case, run(exercise, case))


def sensible(exercise, case):
    """The right answer to a case; None where it makes no sense: refused, empty, not finite."""
    try:
        with quiet():
            right = expect(exercise, case)
    except Exception:
        return None
    bounds = [bound for bound in right.magnitudes if bound is not None]
    fine = all(part.size for part in right.parts) and all(
        np.isfinite(part).all() for part in (*right.parts, *bounds) if part.dtype.kind == "f")
    return right if fine else None


def expected_of(exercise, case, answer) -> Expected:
    """A right answer with its error bound."""
    parts, several = parts_of(answer)
    magnitude, terms = (_bound(table, case, len(parts)) for table in
                        (exercise.magnitude, exercise.terms))
    return Expected(parts, several,
                    tuple(None if m is None else np.abs(np.asarray(m, float)) for m in magnitude),
                    tuple(1.0 if t is None else float(np.max(t)) for t in terms))


def _bound(table: dict, case, count: int) -> tuple:
    """A bound for each part of the answer: None where the exercise names none."""
    if case.function not in table:
        return (None,) * count
    bound = table[case.function](*copy.deepcopy(case.args))
    return tuple(bound) if isinstance(bound, (tuple, list)) else (bound,) * count


def _answers(exercise, mistake, cases) -> dict:
    return {i: attempt(exercise, mistake.implementation, case)
            for i, case in enumerate(cases) if case.function == mistake.function}


def attempt(exercise, function, case) -> Answer | None:
    """A wrong function's answer; None where it raises."""
    try:
        with quiet():
            return as_received(run(exercise, case, function))
    except Exception:                   # a mistake may well raise: that is then its answer
        return None


def as_received(returned) -> Answer:
    """What a function returned, as it would have come back from a sandbox; a number as an array,
    as the bank of mistakes has it."""
    blobs: list = []
    kind, values = messages.several(returned)
    about = [messages.describe(np.asarray(value), blobs, CAP) for value in values]
    header = {"answers": about, "inputs": len(blobs), "several": kind}
    return received(header, blobs)[0]


def _digest(exercise, cases, expected) -> str:
    sha = hashlib.sha256(exercise.driver_text.encode())
    sha.update(json.dumps(sorted(exercise.credit.items())).encode())
    for case, right in zip(cases, expected):
        blobs: list = []
        code = messages.encode(tuple(case.args), blobs)
        about = [case.function, case.driver, case.name, case.points, code,
                 [[part.dtype.str, part.shape] for part in right.parts]]
        sha.update(json.dumps(about).encode())
        for data in (*blobs, *(part.tobytes() for part in right.parts)):
            sha.update(data)
    for mistake in exercise.mistakes:
        sha.update(json.dumps([mistake.function, mistake.name, mistake.hint]).encode())
    return sha.hexdigest()
