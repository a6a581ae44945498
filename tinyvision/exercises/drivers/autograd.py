"""Your class is called as in any program: `Value(2.0)`, `a + b`, `3.0 * a`, `a ** 2.0`,
`a.tanh()`, `loss.backward()`. The checks keep these programs as rows of numbers. `evaluate` runs
one with your class and returns the `data` of all its values, then the `grad` of all; the values are
numbered from 0, first the leaves, then one result per row.

The driver is no part of your file, and your file must not import it: tinyvision is not there when
the file is checked. To try it, start another Python in the folder where your file lies. In
a notebook use a cell that you delete afterwards, and leave out the line with "your file": once its
cell has run, `Value` is there already.

    >>> import numpy as np
    >>> from autograd import Value          # your file, autograd.py
    >>> from tinyvision.exercises.drivers.autograd import evaluate
    >>> program = np.array([[2, 0, 0, 1]])  # operation 2 is *: value 0 times value 1
    >>> evaluate(Value, program, np.array([2.0, 3.0]), np.zeros(0), np.array([2]))
    (array([2., 3., 6.]), array([3., 2., 1.]))
"""
import operator

import numpy as np

OPERATORS = ("+", "-", "*", "/", "**")
BINARY = (operator.add, operator.sub, operator.mul, operator.truediv, operator.pow)
METHODS = ("exp", "tanh", "relu")
NEGATIVE = len(OPERATORS)               # then come the methods
VALUES, NUMBER_RIGHT, NUMBER_LEFT = range(3)


def evaluate(Value, program, leaves, numbers, calls):
    """Run a program.

    Arguments:
        Value: the class.
        program: (K, 4) rows (operation, kind, i, j): an operation on values i and j; on value i and
            number j (NUMBER_RIGHT); on number i and value j (NUMBER_LEFT). Of one operand: i.
        leaves: (L,) the data of the first values.
        numbers: plain numbers that the operations use.
        calls: the values of which backward() is called, one after the other.

    Returns:
        data (L + K,) and grad (L + K,) of all values.
    """
    values = [Value(number) for number in leaves.tolist()]
    for row in program.tolist():
        values.append(step(values, numbers.tolist(), *row))
    for i in calls.tolist():
        values[i].backward()
    return gathered(values, "data", leaves.dtype), gathered(values, "grad", leaves.dtype)


def step(values, numbers, operation, kind, i, j):
    """The result of one row."""
    if operation == NEGATIVE:
        return -values[i]
    if operation > NEGATIVE:
        return getattr(values[i], METHODS[operation - NEGATIVE - 1])()
    left = numbers[i] if kind == NUMBER_LEFT else values[i]
    right = numbers[j] if kind == NUMBER_RIGHT else values[j]
    return BINARY[operation](left, right)


def gathered(values, name, dtype):
    """An attribute of all values as one array; TypeError names the first that is no number."""
    found = [getattr(value, name) for value in values]
    for i, number in enumerate(found):
        if not isinstance(number, (int, float, np.floating, np.integer)):
            raise TypeError(f"value {i} has a {name} of type {type(number).__name__}, "
                            "expected a number")
    return np.array(found, dtype)


def evaluate_text(program, leaves, numbers, calls):
    """The program as a person would type it."""
    lines = [f"v{i} = Value({number:g})" for i, number in enumerate(leaves.tolist())]
    for k, (operation, kind, i, j) in enumerate(program.tolist(), len(lines)):
        if operation == NEGATIVE:
            lines.append(f"v{k} = -v{i}")
        elif operation > NEGATIVE:
            lines.append(f"v{k} = v{i}.{METHODS[operation - NEGATIVE - 1]}()")
        else:
            left = f"{numbers[i]:g}" if kind == NUMBER_LEFT else f"v{i}"
            right = f"{numbers[j]:g}" if kind == NUMBER_RIGHT else f"v{j}"
            lines.append(f"v{k} = {left} {OPERATORS[operation]} {right}")
    return "; ".join([*lines, *(f"v{i % len(lines)}.backward()" for i in calls.tolist())])
