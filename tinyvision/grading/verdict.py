"""What an answer is worth: decided here, on bytes, where no student's code runs.

An answer is examined in the order type, shape, dtype, finite, value; the first that is wrong is
reported. Values are compared within the error bound of a sum (Higham): an answer that sums n
products in a precision with unit roundoff u may differ from the exact one by

    gamma_n * sum |terms|,     gamma_n = n u / (1 - n u),

so that every order of summation passes and a wrong term does not.
"""
from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

SAFETY = 2.0                            # times the bound; both sides have rounded
DIGITS, MOST_DIGITS = 6, 17             # of a number in a sentence
EXTRA_TERMS = 4                         # roundings beside the sum: inputs, bias, the last store
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Verdict(str, enum.Enum):
    """How a case, or a whole submission, ended."""
    OK = "OK"
    WRONG_VALUE = "WRONG_VALUE"
    WRONG_SHAPE = "WRONG_SHAPE"
    WRONG_DTYPE = "WRONG_DTYPE"
    WRONG_TYPE = "WRONG_TYPE"
    NONFINITE = "NONFINITE"
    EXCEPTION = "EXCEPTION"
    NO_FUNCTION = "NO_FUNCTION"
    SYNTAX = "SYNTAX"
    TIMEOUT = "TIMEOUT"
    MEMORY = "MEMORY"
    CRASHED = "CRASHED"
    EXITED = "EXITED"
    OUTPUT_LIMIT = "OUTPUT_LIMIT"
    DISK_LIMIT = "DISK_LIMIT"
    BAD_RESULT = "BAD_RESULT"
    MUTATED_INPUT = "MUTATED_INPUT"
    NONDETERMINISTIC = "NONDETERMINISTIC"
    UNREADABLE = "UNREADABLE"
    MISSING = "MISSING"
    GRADER_ERROR = "GRADER_ERROR"

    __str__ = str.__str__


CREDIT = {Verdict.OK: 1.0, Verdict.MUTATED_INPUT: 0.75}     # of a case's points; else 0
HALF = np.dtype(np.float16)


@dataclass(frozen=True, eq=False)
class Expected:
    """A right answer.

    Attributes:
        parts: the arrays of the answer.
        several: whether the answer is a tuple (else ``parts`` has one element).
        magnitudes: for each part the rounding error's scale, or None: compared exactly.
        terms: for each part how many products each element sums.
    """
    parts: tuple
    several: bool
    magnitudes: tuple
    terms: tuple

    def tolerance(self, part: int, dtype: np.dtype) -> np.ndarray | float:
        """The largest error that rounding explains, for an answer of that dtype."""
        magnitude = self.magnitudes[part]
        if magnitude is None or dtype.kind != "f":
            return 0.0
        return SAFETY * gamma(self.terms[part] + EXTRA_TERMS, dtype) * magnitude


@dataclass(frozen=True, eq=False)
class Judgement:
    """A verdict and, where it is not OK, one sentence; where a value is wrong, its place.

    Attributes:
        part: which array of the answer is wrong.
        index: the first wrong element.
        wrong: mask of all wrong elements.
    """
    verdict: Verdict
    message: str = ""
    part: int = 0
    index: tuple | None = None
    wrong: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """What came back from a student.

    Attributes:
        parts: arrays; None where a part is no array of numbers or is far too large.
        types: for each part its type in words.
        several: ``"tuple"`` or ``"list"`` where there are several parts.
        shapes: for each part its shape; None where it has none.
    """
    parts: tuple
    types: tuple
    several: str
    shapes: tuple = ()


def gamma(n: float, dtype: np.dtype) -> float:
    """Higham's gamma_n for the unit roundoff of ``dtype``; infinite where n u reaches 1."""
    nu = n * np.finfo(dtype).eps / 2
    return nu / (1 - nu) if nu < 1 else np.inf


def received(header: dict, blobs: list[bytes]) -> tuple[Answer, list[bytes]]:
    """(the answer, the inputs' bytes after the call) from a worker; ValueError if forged."""
    try:
        described, inputs = header["answers"], blobs[int(header["inputs"]):]
        parts = tuple(_array(about, blobs) for about in described)
        types = tuple(_type_name(about) for about in described)
        shapes = tuple(tuple(map(int, about["shape"])) if "shape" in about else None
                       for about in described)
        return Answer(parts, types, str(header["several"])[:80], shapes), inputs
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"a garbled answer: {type(error).__name__}: {error}") from None


def _array(about: dict, blobs: list[bytes]) -> np.ndarray | None:
    if "blob" not in about:
        return None
    try:
        dtype, shape = np.dtype(str(about["dtype"])), tuple(int(n) for n in about["shape"])
    except SyntaxError as error:        # numpy evaluates a part of the text
        raise ValueError(f"an array of dtype {str(about['dtype'])[:80]!r}") from error
    if dtype.kind not in "biufc" or min(shape, default=0) < 0 or len(shape) > 32:
        raise ValueError(f"an array of dtype {dtype} and shape {shape}")
    data = np.frombuffer(blobs[int(about["blob"])], dtype)
    return data.reshape(shape)


def _type_name(about: dict) -> str:
    name = str(about["type"])
    if "dtype" not in about:
        return name
    plain = "" if about.get("plain") else "scalar "
    size = "x".join(str(n) for n in about["shape"])
    return f"{plain}{name} of {about['dtype']} and shape {size or '()'}"


def judge(answer: Answer, expected: Expected) -> Judgement:
    """The verdict on one answer."""
    found = _count(answer, expected)
    for part in range(len(expected.parts)):
        if found is None:
            found = _judge_part(answer, expected, part)
    return found or Judgement(Verdict.OK)


def credit(verdict: Verdict, shares: dict, answer: Answer | None, expected: Expected) -> float:
    """The share of a case's points that a verdict earns.

    ``shares``, an exercise's own by verdict, go before the usual ones. For a wrong dtype there is a
    share only where the numbers are right: as close as their own precision, or half a float's.
    """
    share = {**CREDIT, **{Verdict(name): part for name, part in shares.items()}}.get(verdict, 0.0)
    if verdict is Verdict.WRONG_DTYPE and share:
        return share if answer is not None and right_numbers(answer, expected) else 0.0
    return share


def right_numbers(answer: Answer, expected: Expected) -> bool:
    """Whether an answer has the right shapes and values, whatever its dtypes."""
    def right(got, want, part):
        if got is None or got.shape != want.shape or got.dtype.kind not in "biuf":
            return False
        scale = np.max(expected.magnitudes[part], initial=0.0) if (
            expected.magnitudes[part] is not None) else 0.0
        return bool((np.abs(got.astype(np.float64) - want) <= 4 * np.finfo(HALF).eps * scale).all())
    return len(answer.parts) == len(expected.parts) and all(
        right(got, want, k) for k, (got, want) in enumerate(zip(answer.parts, expected.parts)))


def _count(answer: Answer, expected: Expected) -> Judgement | None:
    count = len(answer.parts)
    if expected.several and not answer.several:
        what = answer.types[0] if answer.types else "nothing"
        return Judgement(Verdict.WRONG_TYPE, f"returned {_kind(what)}, expected a tuple of "
                                             f"{len(expected.parts)} arrays")
    if answer.several and not expected.several:
        return Judgement(Verdict.WRONG_TYPE, f"returned a {answer.several} of {count}, expected "
                                             f"one numpy.ndarray{_made_by(expected.parts[0])}")
    if count != len(expected.parts):
        return Judgement(Verdict.WRONG_TYPE, f"returned {count} arrays, expected "
                                             f"{len(expected.parts)}")
    return None


def _kind(name: str) -> str:
    if name == "NoneType":
        return "None (is a return missing?)"
    return f"an array ({name})" if name.startswith("ndarray of") else f"a {name}"


def _made_by(want: np.ndarray) -> str:
    """How a list becomes what is expected; of an empty one NumPy makes floats."""
    integers = ", dtype=np.int64" if want.dtype.kind in "iu" else ""
    return f": return np.array(...{integers})"


def _judge_part(answer: Answer, expected: Expected, part: int) -> Judgement | None:
    got, want, name = answer.parts[part], expected.parts[part], answer.types[part]
    where = f"answer {part + 1}: " if expected.several else ""
    for verdict, message in _form(got, want, name, answer.shapes[part]):
        return Judgement(verdict, where + message, part)
    wrong = ~np.isfinite(got) & np.isfinite(want)
    if wrong.any():
        return _placed(Verdict.NONFINITE, where, got, want, part, wrong)
    wrong = differs(got, want, expected.tolerance(part, got.dtype))
    if wrong.any():
        return _placed(Verdict.WRONG_VALUE, where, got, want, part, wrong)
    return None


def _form(got, want: np.ndarray, name: str, shape: tuple | None):
    """Yield what is wrong with an answer's type, shape and dtype, the first first."""
    array = name.startswith("ndarray of")
    scalar = name.startswith("scalar ") and want.ndim == 0
    if not array and not scalar:
        hint = _made_by(want) if name == "list" else ""
        yield Verdict.WRONG_TYPE, f"returned {_kind(name)}, expected a numpy.ndarray{hint}"
    if shape != want.shape:
        yield Verdict.WRONG_SHAPE, f"shape {shape}, expected {want.shape}"
    if got is None:
        yield Verdict.WRONG_DTYPE, f"{name}, expected {accepted(want.dtype)}"
    elif not right_dtype(got.dtype, want.dtype):
        floats = got.size == 0 and got.dtype.kind == "f"
        empty = f": of an empty list NumPy makes floats{_made_by(want)}" if floats else ""
        yield Verdict.WRONG_DTYPE, f"dtype {got.dtype}, expected {accepted(want.dtype)}{empty}"


def right_dtype(got: np.dtype, want: np.dtype) -> bool:
    """float32 and float64 where a float is expected, any integer where an index is."""
    if want.kind == "f":
        return got in FLOATS
    return got.kind in "iu" if want.kind in "iu" else got.kind == want.kind


def accepted(want: np.dtype) -> str:
    """What `right_dtype` takes, in words."""
    return {"f": "float64 or float32", "i": "an integer type", "u": "an integer type"}.get(
        want.kind, str(want))


def differs(got: np.ndarray, want: np.ndarray, tolerance) -> np.ndarray:
    """Mask of the elements that are wrong. With no tolerance, numbers must be equal once the
    right one is rounded to the student's precision; NaN equals nothing."""
    if got.dtype.kind != "f" or np.ndim(tolerance) == 0 and tolerance == 0.0:
        return got != (want.astype(got.dtype) if got.dtype.kind == "f" else want)
    with np.errstate(invalid="ignore"):
        error = np.abs(got.astype(np.float64) - want)
    tiny = np.finfo(got.dtype).smallest_subnormal
    return ~((error <= tolerance + tiny) | (got == want))


def _placed(verdict: Verdict, where: str, got, want, part: int, wrong: np.ndarray) -> Judgement:
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    count = int(wrong.sum())
    share = "the only element is wrong" if wrong.size == 1 else f"{count} of {wrong.size} wrong"
    place = f"at [{', '.join(map(str, index))}]" if index else "the number"
    digits = telling(got[index], want[index])
    yours, right = (number(values[index], digits) for values in (got, want))
    return Judgement(verdict, f"{where}{share}; {place} yours {yours}, expected {right}",
                     part, index, wrong)


def number(value, digits: int = DIGITS) -> str:
    """A number as a person writes it: six digits."""
    return f"{value:.{digits}g}" if np.asarray(value).dtype.kind in "fc" else str(value)


def telling(a, b) -> int:
    """With how many digits two numbers are written so that their difference shows: six where that
    is enough, seventeen at most, which tell any two floats apart."""
    return next((digits for digits in range(DIGITS, MOST_DIGITS)
                 if number(a, digits) != number(b, digits)), MOST_DIGITS)
