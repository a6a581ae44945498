r"""# Automatic differentiation, one number at a time

Write `Value`: a number that remembers how it was computed, so that one call of `backward` gives the
derivative of a result by everything that it was made of. It is what a deep-learning library does
with arrays.

If $L$ depends on $x$ through $y_1, y_2, \ldots$, the chain rule adds up all the ways:

$$\frac{\partial L}{\partial x} = \sum_k \frac{\partial L}{\partial y_k}\,
\frac{\partial y_k}{\partial x}$$

Each operation knows the *slopes* $\partial y / \partial x$ of its result by its operands when it is
computed. `backward` walks from the result to the leaves: a value passes its gradient on, times the
slopes, once **all** that it went into have passed theirs on to it.

**By hand.** a = 2, b = 3, c = a * b = 6, L = c + a = 8:

    dL/dL = 1,   dL/dc = 1,   dL/db = 1 * a = 2,   dL/da = 1 * b + 1 = 4

**Conventions.**

- `Value(x)` has `data` = x and `grad` = 0.0. Operations make new values and change no operand.
- `a + b`, `a - b`, `a * b`, `a / b` of two values, or of a value and a plain number on either side;
  `a ** n` with a plain number n; `-a`; `a.exp()`, `a.tanh()`, `a.relu()`.
- relu has the slope 0 at 0.
- `L.backward()` **adds** dL/dv to `v.grad` of every value v that L depends on, L itself included.
  So a second call, of the same or another result, adds its own derivatives to what is there.
- An expression may be more than a thousand operations deep, and Python allows 1000 calls inside one
  another: find the order with a loop and a list of your own.
- Each value passes its gradient on once. After y = y + y, sixty times over, there are 2 ** 60 ways
  from the result to the first y: nobody can walk them one by one.
"""
from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np

from tinyvision.exercises.drivers import autograd as driver
from tinyvision.exercises.exercise import Case, Exercise, Mistake


class Value:
    """A number, its gradient, and what it was computed from.

    Attributes:
        data: the number.
        grad: the sum of the derivatives by this value of all results on which backward was called.
        parents: the values that it was computed from.
        slopes: for each parent the derivative of this value by it.
    """

    def __init__(self, data, parents=(), slopes=()):
        ### BEGIN SOLUTION
        self.data, self.grad = data, 0.0
        self.parents, self.slopes = parents, slopes
        ### END SOLUTION

    def __add__(self, other):
        ### BEGIN SOLUTION
        if not isinstance(other, Value):
            return Value(self.data + other, (self,), (1.0,))
        return Value(self.data + other.data, (self, other), (1.0, 1.0))
        ### END SOLUTION

    def __mul__(self, other):
        ### BEGIN SOLUTION
        if not isinstance(other, Value):
            return Value(self.data * other, (self,), (other,))
        return Value(self.data * other.data, (self, other), (other.data, self.data))
        ### END SOLUTION

    def __pow__(self, n):
        ### BEGIN SOLUTION
        return Value(self.data ** n, (self,), (n * self.data ** (n - 1),))
        ### END SOLUTION

    def __neg__(self):
        ### BEGIN SOLUTION
        return self * -1
        ### END SOLUTION

    def __radd__(self, number):
        ### BEGIN SOLUTION
        return self + number
        ### END SOLUTION

    def __rmul__(self, number):
        ### BEGIN SOLUTION
        return self * number
        ### END SOLUTION

    def __sub__(self, other):
        ### BEGIN SOLUTION
        return self + -other
        ### END SOLUTION

    def __rsub__(self, number):
        ### BEGIN SOLUTION
        return -self + number
        ### END SOLUTION

    def __truediv__(self, other):
        ### BEGIN SOLUTION
        return self * other ** -1
        ### END SOLUTION

    def __rtruediv__(self, number):
        ### BEGIN SOLUTION
        return self ** -1 * number
        ### END SOLUTION

    def exp(self):
        """e to the power of this value."""
        ### BEGIN SOLUTION
        result = float(np.exp(self.data))
        return Value(result, (self,), (result,))
        ### END SOLUTION

    def tanh(self):
        """The hyperbolic tangent."""
        ### BEGIN SOLUTION
        result = float(np.tanh(self.data))
        return Value(result, (self,), (1 - result ** 2,))
        ### END SOLUTION

    def relu(self):
        """The value where it is positive, else 0."""
        ### BEGIN SOLUTION
        return Value(max(self.data, 0.0), (self,), (float(self.data > 0),))
        ### END SOLUTION

    def order(self):
        """All values that this one depends on, every value after its parents; itself last."""
        ### BEGIN SOLUTION
        found, seen, left = [], set(), [self]
        while left:
            missing = [parent for parent in left[-1].parents if parent not in seen]
            if missing:
                left += missing         # they come first; then this one is looked at again
                continue
            value = left.pop()
            if value not in seen:
                seen.add(value)
                found.append(value)
        return found
        ### END SOLUTION

    def backward(self):
        """Add the derivatives of this value to the ``grad`` of all that it depends on."""
        ### BEGIN SOLUTION
        total = {value: 0.0 for value in self.order()}
        total[self] = 1.0
        for value in reversed(total):
            value.grad += total[value]
            for parent, slope in zip(value.parents, value.slopes):
                total[parent] += slope * total[value]
        ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _body(name, text):
    """The change of a whole method's body."""
    old = inspect.getsource(getattr(Value, name)).split("### BEGIN SOLUTION\n")[1]
    old = old.split("        ### END")[0]
    start = inspect.getsource(Value).split(f"def {name}(")[1].split(old)[0]
    return f"def {name}({start}{old}", f"def {name}({start}        {text}\n"


def _slopes_of(name, text):
    """The change of an operation of two values; of a value and a number it stays right."""
    right = inspect.getsource(getattr(Value, name)).split("return ")[-1].split("\n")[0]
    return _body(name, f"""if not isinstance(other, Value):
            return {right}
        return {text}""")


def _with(*changes):
    """The class with pieces of its text replaced."""
    text = inspect.getsource(Value)
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    space = {"np": np}
    exec(text, space)
    space["Value"].changes = changes
    return space["Value"]


def _also_stale(mistakes):
    """Wrong operations, in a class whose backward passes on what stands in grad: a common one."""
    for mistake in mistakes:
        changes = mistake.implementation.changes
        if not any(old in _BACKWARD or old in (_BACKWARD, _WALK) for old, _ in changes):
            yield replace(mistake, implementation=_with(*changes, (_BACKWARD, _STALE)))


def _in_grad(seed="self.grad = 1.0", before="", step="parent.grad += slope * value.grad"):
    """The body of a backward that passes on what stands in grad."""
    return f"""        order = self.order()
{before}        {seed}
        for value in reversed(order):
            for parent, slope in zip(value.parents, value.slopes):
                {step}
"""


_STALE = _in_grad()
_INNER_RESET = _in_grad("self.grad += 1.0", """        for value in order:
            if value.parents:
                value.grad = 0.0
""")
_NOT_ORDERED = """        left = [self]
        self.grad += 1.0
        for _ in range(3000):           # on and on, where paths are many; a student's times out
            if not left:
                break
            value = left.pop({at})
            for parent, slope in zip(value.parents, value.slopes):
                parent.grad += slope * value.grad
                left.append(parent)
"""
_WALK = """            if missing:
                left += missing         # they come first; then this one is looked at again
                continue
            value = left.pop()
            if value not in seen:
                seen.add(value)
                found.append(value)
        return found
"""
_AS_MET = """            value = left.pop()
            if value not in seen:
                seen.add(value)
                found.append(value)
                left += missing
        return found[::-1]
"""
_AS_MET_FIRST = _AS_MET.replace("left.pop()", "left.pop(0)").replace("missing", "value.parents")
_BACKWARD = inspect.getsource(Value.backward).split("### BEGIN SOLUTION\n")[1].split(
    "        ### END")[0]

KNOWN = (
    Mistake("Value", "overwritten", "A value that is used twice gets a gradient from each use. "
            "What does the chain rule do with several ways?",
            _with(("total[parent] += ", "total[parent] = "))),
    Mistake("Value", "overwritten", "A value that is used twice gets a gradient from each use. "
            "What does the chain rule do with several ways?",
            _with((_BACKWARD, _in_grad(step="parent.grad = slope * value.grad")))),
    Mistake("Value", "order", "A value passes its gradient on before all that it went into have "
            "given theirs. In which order must the graph be walked?",
            _with((_WALK, _AS_MET))),
    *(Mistake("Value", "order", "A value passes its gradient on before all that it went into have "
              "given theirs. In which order must the graph be walked?", _with(*changes))
      for changes in ([(_WALK, _AS_MET_FIRST)], [(_WALK, _AS_MET), (_BACKWARD, _STALE)],
                      [(_WALK, _AS_MET_FIRST), (_BACKWARD, _STALE)])),
    *(Mistake("Value", "passed-on-twice", "A value that is met twice passes its gradient on twice, "
              "the second time with what it had passed on before.",
              _with((_BACKWARD, _NOT_ORDERED.format(at=at)))) for at in ("", "0")),
    Mistake("Value", "stale-gradients", "A second call of backward passes on what the first one "
            "left in grad: one call's derivatives and what they are added to are two things.",
            _with((_BACKWARD, _STALE))),
    Mistake("Value", "stale-gradients", "A second call of backward passes on what the first one "
            "left in grad: one call's derivatives and what they are added to are two things.",
            _with((_BACKWARD, _in_grad("self.grad += 1.0")))),
    *(Mistake("Value", "second-call-resets", "A second call of backward throws away what is in "
              "grad. It should add to it.", _with(change))
      for change in (("value.grad += ", "value.grad = "), (_BACKWARD, _INNER_RESET))),
    Mistake("Value", "leaves-only", "Every value that the result depends on has a gradient, also "
            "those in between.", _with(("value.grad += total[value]",
                                        "value.grad += 0.0 if value.parents else total[value]"))),
    Mistake("Value", "result-left-out", "The result depends on itself: its own derivative is 1.",
            _with(("value.grad += total[value]",
                   "value.grad += 0.0 if value is self else total[value]"))),
    Mistake("Value", "same-operand-once", "In a * a both operands are one value: both slopes "
            "count.", _with(("in zip(value.parents, value.slopes):",
                             "in dict(zip(value.parents, value.slopes)).items():"))),
    Mistake("Value", "product-own-factor", "The slope of a * b by a: is it a or b?",
            _with(("(other.data, self.data)", "(self.data, other.data)"))),
    *(Mistake("Value", "minus-lost", "Where b grows, -b falls, and so does a - b: the slope is -1.",
              _with(change)) for change in (
                  _slopes_of("__sub__", "Value(self.data - other.data, (self, other), (1.0, 1.0))"),
                  _body("__neg__", "return Value(-self.data, (self,), (1.0,))"),
                  _body("__rsub__", "return Value(number - self.data, (self,), (1.0,))"))),
    *(Mistake("Value", "quotient-slope", "a / b is a * b ** -1: what is its slope by b?",
              _with(_slopes_of("__truediv__", "Value(self.data / other.data, (self, other), "
                               f"(1 / other.data, {slope}))")))
      for slope in ("self.data / other.data ** 2", "-self.data / other.data",
                    "-1 / other.data ** 2", "self.data")),
    Mistake("Value", "quotient-of-a-number", "number / a is number * a ** -1: what is its slope?",
            _with(_body("__rtruediv__", "return Value(number / self.data, (self,), "
                        "(number / self.data ** 2,))"))),
    Mistake("Value", "power-exponent", "The slope of a ** n is n times a power of a: which one?",
            _with(("self.data ** (n - 1)", "self.data ** n"))),
    Mistake("Value", "power-factor", "The slope of a ** n: a factor is missing.",
            _with(("(n * self.data", "(self.data"))),
    Mistake("Value", "tanh-of-input", "The slope of tanh is 1 - t * t: is t what goes in, or what "
            "comes out?", _with(("1 - result ** 2", "1 - self.data ** 2"))),
    Mistake("Value", "tanh-not-squared", "The slope of tanh is 1 minus its square.",
            _with(("1 - result ** 2", "1 - result"))),
    Mistake("Value", "tanh-as-sigmoid", "t * (1 - t) is the slope of the sigmoid; tanh has "
            "another.",
            _with(("1 - result ** 2", "result * (1 - result)"))),
    Mistake("Value", "exp-of-input", "The derivative of exp is exp itself: what is it here, the "
            "number that goes in or the one that comes out?", _with(("(result,))\n        ### END",
                                                                    "(self.data,))\n        ### END"
                                                                    ))),
    Mistake("Value", "relu-passes-all", "Where relu gives 0, what does a small change of its input "
            "change?", _with(("(float(self.data > 0),)", "(1.0,)"))),
    Mistake("Value", "relu-slope-of-value", "relu is straight where it is positive: its slope "
            "there is 1.", _with(("(float(self.data > 0),)", "(max(self.data, 0.0),)"))),
    Mistake("Value", "relu-at-zero", "At exactly 0 relu has no derivative; by the convention the "
            "slope there is 0.", _with(("self.data > 0", "self.data >= 0"))),
    Mistake("Value", "number-minus-value", "With a number on the left, number - a is not "
            "a - number.", _with(("return -self + number", "return self + -number"))),
    Mistake("Value", "number-over-value", "With a number on the left, number / a is not "
            "a / number.", _with(("self ** -1 * number", "self * number ** -1"))),
)
MISTAKES = (*KNOWN, *_also_stale(KNOWN))


# ---- cases ---------------------------------------------------------------------------------------

def _program(count, *lines):
    """(program, numbers) of lines such as ``"0 * 1"``, ``"2.5 - 0"``, ``"exp 3"``: a number with a
    point is a plain number, another one a value; ``count`` leaves come before the results."""
    rows, numbers = [], []
    for line in lines:
        words = line.split()
        if len(words) == 2:
            names = ("neg", *driver.METHODS)
            rows.append((driver.NEGATIVE + names.index(words[0]), 0, int(words[1]), 0))
            continue
        kind = 2 if "." in words[0] else int("." in words[2])
        for at in (0, 2):
            if "." in words[at]:
                numbers.append(float(words[at]))
                words[at] = len(numbers) - 1
        rows.append((driver.OPERATORS.index(words[1]), kind, int(words[0]), int(words[2])))
    return np.array(rows, np.int64).reshape(-1, 4), np.array(numbers)


def _case(name, leaves, *lines, calls=(-1,), points=1.0):
    program, numbers = _program(len(leaves), *lines)
    return Case("Value", name, (program, np.array(leaves, float), numbers,
                                np.array(calls, np.int64)), points, driver="evaluate")


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    a, b, c = (rng.permutation([2, 3, 5]) + 3 * rng.integers(0, 3)).tolist()
    x, y = rng.uniform(0.7, 1.6, 2)
    chain = [line for k in range(2, 1102, 2) for line in (f"{k - 1} * 1.0005", f"{k} + 0")]
    doublings = [f"{k} + {k}" for k in range(60)]
    return [
        _case("a product and a sum", [a, b, c], "0 * 1", "3 + 2", points=0.5),
        _case("the same value twice", [a], "0 * 0", "1 + 1", "2 + 0", points=0.5),
        _case("a diamond", [a, b], "0 * 1", "2 + 0", "2 * 3", "4 + 2"),
        _case("differences and quotients", [a, b, c], "0 - 1", "3 / 2", "neg 4", "5 - 0", "1 / 6"),
        _case("numbers on either side", [a], "2.0 * 0", "1 * 3.0", "5.0 - 2", "3 - 1.5", "4.0 + 4",
              "5 + 0.5", "6.0 / 6", "7 / 4.0"),
        _case("powers", [x, -y], "0 ** 3.0", "0 ** -2.0", "1 ** 2.0", "0 ** 0.5", "2 * 3", "4 * 5",
              "6 - 7", "1 ** 3.0", "8 + 9"),
        _case("exp, tanh and relu", [x, -y, 0], "exp 1", "tanh 0", "relu 0", "relu 1", "relu 2",
              "3 * 4", "5 + 6", "9 + 7", "8 * 10", "11 - 2",
              "relu 4", "0 + 0", "relu 14", "12 + 13", "16 + 15",     # of less than 1, and of more
              "neg 4", "relu 18", "17 + 19"),                         # of a little less than 0
        _case("backward of two results, and again", [a, b], "0 * 1", "2 * 0", "3 + 1",
              calls=(4, 4, 2)),
        _case("a neuron", rng.uniform(0.3, 1.2, 5) * [1, -1, 1, 1, -1], "0 * 2", "1 * 3", "5 + 6",
              "7 + 4", "tanh 8", "9 - 0.5", "10 ** 2.0"),
        _case("more than a thousand operations", [x, y], *chain),
        _case("sixty doublings, as many paths as 2 ** 60", [x], *doublings)]


SMALL = tuple(_case("", leaves, *lines, calls=calls).args for leaves, lines, calls in (
    ([1], [], (0,)), ([1], [], (0, 0)),
    *(([2], [f"{name} 0"], (1,)) for name in ("neg", *driver.METHODS)), ([-1], ["relu 0"], (1,)),
    *(([2, 3], [f"0 {operator} 1"], (2,)) for operator in "+-*/"), ([3], ["0 ** 2.0"], (1,)),
    *(([2], [f"0 {operator} 3.0"], (1,)) for operator in "+-*/"),
    *(([2], [f"3.0 {operator} 0"], (1,)) for operator in "+-*/"),
    ([2], ["0 + 0"], (1,)), ([3], ["0 * 0"], (1,)), ([2], ["0 + 0"], (1, 1)),
    ([2], ["0 * 3.0"], (1, 0)), ([2], ["0 * 3.0", "1 * 0"], (2,)), ([2], ["0 + 0", "1 + 1"], (2,)),
    ([2], ["0 + 0", "1 * 1", "2 + 1"], (3,)), ([2], ["0 + 1.0", "1 * 2.0", "2 + 1"], (3, 3))))


def _simpler(case):
    """Small programs; then this one with fewer calls, calls of earlier values, and without what
    comes after them. A case without a name is on its way to be small."""
    if case.name:
        yield from (replace(case, name="", args=args) for args in SMALL)
    program, leaves, numbers, calls = case.args
    count = len(leaves)
    calls = calls % (count + len(program))
    if len(calls) > 1:
        for k in range(len(calls)):
            yield replace(case, name="", args=(program, leaves, numbers, np.delete(calls, k)))
    for k, call in enumerate(calls.tolist()):
        if call >= count:               # an operand of the result that is called
            _, kind, i, j = program[call - count].tolist()
            for earlier in {driver.VALUES: (i, j), driver.NUMBER_RIGHT: (i,)}.get(kind, (j,)):
                others = np.where(np.arange(len(calls)) == k, earlier, calls)
                yield replace(case, name="", args=(program, leaves, numbers, others))
    if calls.max() < count + len(program) - 1:
        kept = program[:max(0, calls.max() + 1 - count)]
        yield replace(case, name="", args=(kept, leaves, numbers, calls))


def _magnitude(program, leaves, numbers, calls):
    """The largest number on the way, and the gradients with all slopes taken as positive."""
    scale = _with(("slope * total", "abs(slope) * total"))
    data, grad = driver.evaluate(scale, program, leaves, numbers, calls)
    return np.abs(data).max(), np.abs(grad).max()


EXERCISE = Exercise(
    name="autograd", title="Automatic differentiation, one number at a time",
    lecture="Kempten L 10.X, Recap Backpropagation", source="tinyvision/engine.py",
    functions={"Value": Value}, cases=cases, mistakes=MISTAKES, driver=driver,
    magnitude={"Value": _magnitude}, simpler={"evaluate": _simpler},
    terms={"Value": lambda program, leaves, numbers, calls: max(40, len(program))})
