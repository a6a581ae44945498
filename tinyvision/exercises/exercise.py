"""What an exercise is: functions to write, cases that test them, and the mistakes people make.

One exercise is one file of this package. It defines plain NumPy functions (its solution), between
the markers ``### BEGIN SOLUTION`` and ``### END SOLUTION`` the part that the student writes, and
one `Exercise` named ``EXERCISE`` that ties them together. Everything here is data and pure
functions: who runs a student's code, and where, is the business of `tinyvision.grading`.
"""
from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, field
from types import ModuleType
from typing import Callable, Sequence

import numpy as np

from tinyvision.exercises.forwards import Forward, same_arguments


@functools.cache
def parameters_of(function: Callable) -> tuple[str, ...]:
    """The names of a function's parameters."""
    return tuple(inspect.signature(function).parameters)


@dataclass(frozen=True, eq=False)
class Case:
    """One call of one function of the student's.

    Attributes:
        function: the name of the function called, such as ``"conv2d"``.
        name: what the case is about, a few words: ``"stride 2"``.
        args: positional arguments: float64 or int64 arrays, ints, floats, bools, tuples of ints.
        points: what a right answer is worth.
        driver: "" where the function itself is called. Else the name of a function of the
            exercise's driver: it is called as ``driver(function, *args)`` and its answer judged.
    """
    function: str
    name: str
    args: tuple
    points: float = 1.0
    driver: str = ""


@dataclass(frozen=True, eq=False)
class Mistake:
    """A known way to get a function wrong: named when a student's answers equal its answers.

    Attributes:
        function: the function (or class) that it replaces.
        name: a slug: ``"kernel-flipped"``. Several entries of one name are versions of one mistake
            that answer differently (a loop in the other order, a size that is wrong as well).
        hint: one or two sentences for the student, about the idea, without the solution.
        implementation: the wrong function; same signature as the solution's.
    """
    function: str
    name: str
    hint: str
    implementation: Callable


def versions(mistakes: tuple, others: dict[tuple[str, str], tuple]) -> tuple[Mistake, ...]:
    """More versions of known mistakes, with their hints: (function, name) -> implementations."""
    hints = {(one.function, one.name): one.hint for one in mistakes}
    return tuple(Mistake(*which, hints[which], implementation)
                 for which, several in others.items() for implementation in several)


@dataclass(frozen=True, eq=False)
class CudaText:
    """A CUDA kernel that a student writes as a string: compiled, then handed to the driver.

    Attributes:
        solution: the text. It defines one ``__global__`` function named ``kernel``.
        types: C++ on one line that stands before it.
        parameters: the types of the kernel's parameters.
    """
    solution: str
    types: str
    parameters: str

    def program(self, text: str) -> str:
        """The C++ that runs a student's text on the host; its lines are called ``KERNEL:1``, ..."""
        from tinyvision import cuda, cuda_host
        check = f"static void (*const typed)({self.parameters}) = kernel;"
        return cuda.host_text(f'{self.types}\n#line 1 "KERNEL"\n{text}\n#line 1 "end"\n{check}\n'
                              ) + cuda_host.FENCED

    def library(self, text: str) -> bytes:
        """The shared library made of a text of our own; `tinyvision.grading.compile` is for those
        of strangers. CompilerMissing or KernelError where there is none."""
        from tinyvision import cuda
        return cuda.library(self.program(text), cuda.UNOPTIMIZED).read_bytes()


@dataclass(frozen=True, eq=False)
class Exercise:
    """Everything that `start`, `check` and `grade` need to know.

    Attributes:
        name: the exercise's name and its module's name, such as ``"conv2d"``.
        title: one line for the listing.
        lecture: where it is taught (lecture and slide or notebook).
        source: the library's own file on the subject, to be read afterwards.
        functions: name -> solution, a function or a class, in the order in which the student
            should write them.
        cases: ``cases(rng) -> list[Case]``. The generator only changes the numbers: names, shapes,
            points and order are the same for every generator.
        mistakes: at least five.
        magnitude: name -> function of the same arguments that bounds the rounding error's scale:
            the same sum with every term replaced by its absolute value, broadcastable to the
            answer. Functions that choose (nms) have none: their answers are compared exactly.
        terms: name -> function of the same arguments: how many products each answer sums, the n
            of Higham's gamma_n = n u / (1 - n u).
        driver: for what is no function of arrays (a class, a function of functions): a module that
            holds no answers and needs only numpy and the standard library. Its text runs beside
            the student's code, turns a case's numbers into calls, and returns arrays. A function
            ``NAME_text`` says what ``NAME`` does with the numbers, as a program. A function with
            an attribute ``beside`` is not run beside the student's code: it may hold what that must
            not see, and hand over a function of its own. ``beside``, a function of the driver, is
            then called there in the place of each call that it makes.
        texts: for what is no Python at all: the names of ``functions`` that a student writes as a
            CUDA text. The driver then gets the compiled library's bytes, or the function of
            ``functions``, which does in NumPy what a launch of the kernel does.
        credit: verdict -> share of a case's points, beside the usual ones, such as
            ``{"WRONG_DTYPE": 0.5}``: half for right numbers of a wrong dtype.
        stepwise: whether a student has to ask for each hint.
        domain: name -> function of the same arguments: whether they keep what the task promises (a
            recall never falls). Smaller counter-examples are looked for only there; by default
            wherever the solution answers.
        simpler: driver's function -> function of a `Case` that gives simpler ones, the simplest
            first, to be tried as counter-examples: what may be changed in a driver's numbers only
            the exercise knows. By default its failing cases are shown as they are.
        channels_last: (function, an argument's name or an answer's number) of images that are
            (N, H, W, C), so that pictures show rows and columns; others are (N, C, H, W).
        forwards: backward's name -> its `forwards.Forward`, where it takes anything but g and then
            what the function without ``_backward`` takes.
    """
    name: str
    title: str
    lecture: str
    source: str
    functions: dict[str, Callable]
    cases: Callable[[np.random.Generator], Sequence[Case]]
    mistakes: tuple[Mistake, ...]
    magnitude: dict[str, Callable] = field(default_factory=dict)
    terms: dict[str, Callable] = field(default_factory=dict)
    driver: ModuleType | None = None
    texts: dict[str, CudaText] = field(default_factory=dict)
    credit: dict[str, float] = field(default_factory=dict)
    stepwise: bool = False
    domain: dict[str, Callable] = field(default_factory=dict)
    simpler: dict[str, Callable] = field(default_factory=dict)
    channels_last: tuple = ()
    forwards: dict[str, Forward] = field(default_factory=dict)

    @property
    def points(self) -> float:
        """The sum of all points."""
        return sum(case.points for case in self.cases(np.random.default_rng(0)))

    @property
    def driver_text(self) -> str:
        """The source of the driver; "" where there is none."""
        return inspect.getsource(self.driver) if self.driver else ""

    def allows(self, function: str, args: tuple) -> bool:
        """Whether the task promises to call the function only with arguments such as these."""
        return function not in self.domain or bool(self.domain[function](*args))

    def forward(self, function: str) -> Forward | None:
        """What a gradient belongs to; None for a function that is no known forward's backward."""
        if function in self.forwards:
            return self.forwards[function]
        name = function.removesuffix("_backward")
        if name == function or name not in self.functions:
            return None
        taken, takes = (parameters_of(self.functions[f]) for f in (function, name))
        return Forward(name, same_arguments) if taken == ("g", *takes) else None

    def answer(self, case: Case, function: Callable | str | None = None):
        """What a function (by default the solution) answers to a case, through its driver. A text
        is compiled and run right here: it should be our own."""
        function = function or self.functions[case.function]
        if isinstance(function, str):
            function = self.texts[case.function].library(function)
        if case.driver:
            return getattr(self.driver, case.driver)(function, *case.args)
        return function(*case.args)

    def beside(self, case: Case) -> Callable | None:
        """What is called beside the student's code where a case's driver is not."""
        return getattr(getattr(self.driver, case.driver), "beside", None) if case.driver else None

    def told(self, case: Case) -> str:
        """A driven case in the words of a program: what the driver's ``..._text`` says, or ""."""
        say = getattr(self.driver, f"{case.driver}_text", None) if case.driver else None
        return say(*case.args) if say else ""

    def parameters(self, case: Case) -> list[str]:
        """The names of a case's arguments."""
        if case.driver:
            return list(parameters_of(getattr(self.driver, case.driver)))[1:]
        return list(parameters_of(self.functions[case.function]))
