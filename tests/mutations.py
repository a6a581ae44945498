"""Single mutations of the exercises' solutions: does some case catch every one?

    python tests/mutations.py conv2d          # those that no case catches
    python tests/mutations.py                 # of all exercises

One mutation changes one place of the solution's text: an operator, a comparison, a sign, a number
by one, two neighbours of a list of names or indices exchanged, a term or a statement dropped, a
function replaced by its opposite. A mutant is judged as a submission is, by the exercise's cases.
What changes nothing (a tolerance that is never reached, an order that does not matter) is listed
with its reason in ``harmless_mutations.txt``.
"""
from __future__ import annotations

import ast
import copy
import functools
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tinyvision.exercises import load, names
from tinyvision.exercises.start import solution_text
from tinyvision.grading.assignment import prepare
from tinyvision.grading.inside import messages
from tinyvision.grading.verdict import Verdict, judge, received

HARMLESS = Path(__file__).with_name("harmless_mutations.txt")
SECONDS = 2.0                           # then a mutant hangs, which a grader sees as well
OPPOSITES = {"maximum": "minimum", "max": "min", "argmax": "argmin", "floor": "ceil",
             "sum": "mean", "any": "all", "exp": "expm1", "zeros": "ones", "sin": "cos",
             "zeros_like": "ones_like", "cumsum": "cumprod", "sqrt": "abs", "log": "log1p"}
OPPOSITES |= {b: a for a, b in OPPOSITES.items()}
BINARY = {ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Div, ast.Add),
          ast.Div: (ast.Mult,), ast.FloorDiv: (ast.Div,), ast.Mod: (ast.FloorDiv,),
          ast.Pow: (ast.Mult,), ast.BitAnd: (ast.BitOr,), ast.BitOr: (ast.BitAnd,)}
COMPARE = {ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt),
           ast.GtE: (ast.Gt, ast.LtE), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,),
           ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,)}


@dataclass(frozen=True)
class Mutant:
    """One changed solution: where, what the line was and is, the whole text."""
    exercise: str
    function: str
    before: str
    after: str
    text: str

    def __str__(self):
        return f"{self.exercise} {self.function}: {self.before}  ->  {self.after}"


# ---- making them ---------------------------------------------------------------------------------

def changes(node):
    """Functions that each change a node in one way (of a fresh copy of the tree)."""
    for kind, ways in ((ast.BinOp, binary), (ast.Compare, comparison), (ast.Constant, constant),
                       (ast.UnaryOp, unary), (ast.BoolOp, boolean), (ast.Tuple, exchange),
                       (ast.Attribute, opposite), (ast.Name, opposite_name), (ast.Slice, slices),
                       (ast.AugAssign, assignment)):
        if isinstance(node, kind):
            yield from ways(node)


def binary(node):
    """Another operator; one of the operands alone."""
    for kind in BINARY.get(type(node.op), ()):
        yield lambda node, kind=kind: setattr(node, "op", kind())
    if isinstance(node.op, (ast.Add, ast.Sub, ast.Mult, ast.Div)):
        for side in ("left", "right"):
            yield lambda node, side=side: getattr(node, side)


def comparison(node):
    """Another comparison."""
    for at, op in enumerate(node.ops):
        for kind in COMPARE[type(op)]:
            yield lambda node, at=at, kind=kind: node.ops.__setitem__(at, kind())


def constant(node):
    """A whole number by one more and one less, a fraction a third more, the other truth."""
    if isinstance(node.value, bool):
        yield lambda node: setattr(node, "value", not node.value)
    elif isinstance(node.value, int):
        yield lambda node: setattr(node, "value", node.value + 1)
        yield lambda node: ast.UnaryOp(ast.USub(), ast.Constant(1)) if node.value == 0 else (
            setattr(node, "value", node.value - 1))
    elif isinstance(node.value, float):
        yield lambda node: setattr(node, "value", node.value * 4 / 3 + (node.value == 0))


def unary(node):
    """Without its sign, its not, its complement."""
    yield lambda node: node.operand


def boolean(node):
    """And for or; without the first or the last condition."""
    yield lambda node: setattr(node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
    yield lambda node: setattr(node, "values", node.values[1:] * (2 if len(node.values) == 2 else 1))
    yield lambda node: setattr(node, "values",
                               node.values[:-1] * (2 if len(node.values) == 2 else 1))


def exchange(node):
    """Two neighbours exchanged: names that are unpacked, indices, axes."""
    for i in range(len(node.elts) - 1):
        def swap(node, i=i):
            node.elts[i], node.elts[i + 1] = node.elts[i + 1], node.elts[i]
        if ast.dump(node.elts[i]) != ast.dump(node.elts[i + 1]):
            yield swap


def opposite(node):
    """np.minimum for np.maximum, and the like."""
    if node.attr in OPPOSITES:
        yield lambda node: setattr(node, "attr", OPPOSITES[node.attr])


def opposite_name(node):
    """min for max."""
    if node.id in ("min", "max"):
        yield lambda node: setattr(node, "id", OPPOSITES[node.id])


def slices(node):
    """Without its beginning, its end, its step."""
    for side in ("lower", "upper", "step"):
        if getattr(node, side) is not None:
            yield lambda node, side=side: setattr(node, side, None)


def assignment(node):
    """+= as = and as -=; nothing at all."""
    yield lambda node: ast.Assign([node.target], node.value)
    yield lambda node: ast.Pass()
    for kind in BINARY.get(type(node.op), ())[:1]:
        yield lambda node, kind=kind: setattr(node, "op", kind())


class _Change(ast.NodeTransformer):
    """Change the node that is met as the `number`-th."""

    def __init__(self, number, way):
        self.number, self.way, self.met = number, way, 0

    def generic_visit(self, node):
        number, self.met = self.met, self.met + 1
        super().generic_visit(node)
        if number != self.number:
            return node
        new = list(changes(node))[self.way](node)
        return node if new is None else new


def numbered(tree):
    """The nodes in the order in which `_Change` counts them."""
    found = []

    class Walk(ast.NodeVisitor):
        def generic_visit(self, node):
            found.append(node)
            super().generic_visit(node)
    Walk().visit(tree)
    return found


@functools.cache
def mutants(name):
    """Every single mutation of the solution's functions, without doubles."""
    return tuple(made(name))


def made(name):
    """They, one by one."""
    tree = ast.parse(solution_text(load(name)))
    tree.body = [without_doc(node) for node in tree.body[1:]]
    plain, seen = ast.unparse(tree).splitlines(), set()
    for at, node in enumerate(numbered(tree)):
        for way in range(len(list(changes(node)))):
            text = ast.unparse(ast.fix_missing_locations(
                _Change(at, way).visit(copy.deepcopy(tree))))
            if text not in seen and text.splitlines() != plain:
                seen.add(text)
                yield described(name, plain, text)


def without_doc(node):
    """A definition without its docstring, also in what is inside it."""
    for inner in ast.walk(node):
        if isinstance(inner, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(inner):
            inner.body = inner.body[1:] or [ast.Pass()]
    return node


def described(name, plain, text):
    """A mutant with its changed line and the function (or class) that it stands in."""
    lines = text.splitlines()
    at = next((i for i, (a, b) in enumerate(zip(plain, lines)) if a != b), len(lines) - 1)
    heads = [line for line in plain[:at + 1] if line.startswith(("def ", "class "))]
    return Mutant(name, heads[-1].split()[1].split("(")[0].rstrip(":") if heads else "",
                  plain[at].strip(), lines[at].strip(), text)


# ---- judging them --------------------------------------------------------------------------------

class Hangs(Exception):
    """A mutant does not end."""


@contextmanager
def limited(seconds):
    """Raise Hangs after so many seconds."""
    def ring(*_):
        raise Hangs
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def caught(mutant, assignment):
    """The name of the first case that a mutant fails, or None."""
    try:
        with limited(SECONDS), np.errstate(all="ignore"):
            space = {}
            exec(compile(mutant.text, "mutant", "exec"), space)
            for case, right in zip(assignment.cases, assignment.expected):
                if verdict(assignment, space[case.function], case, right) is not Verdict.OK:
                    return case.name
    except (Exception, SystemExit):
        return "raises"
    return None


def verdict(assignment, function, case, right):
    """As the grader judges an answer; what changes its inputs is not right either."""
    args, blobs = copy.deepcopy(case.args), []
    returned = assignment.exercise.answer(replace(case, args=args), function)
    several = isinstance(returned, (tuple, list))
    answers = [messages.describe(value, blobs, 1 << 24)
               for value in (returned if several else (returned,))]
    header = {"answers": answers, "inputs": len(blobs),
              "several": type(returned).__name__ if several else ""}
    answer, _ = received(header, blobs)
    found = judge(answer, right).verdict
    changed = any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(args, case.args)
                  if isinstance(a, np.ndarray))
    return Verdict.MUTATED_INPUT if found is Verdict.OK and changed else found


def harmless():
    """What is known to change nothing: the mutant's line of text -> the reason."""
    lines = HARMLESS.read_text(encoding="utf-8").splitlines() if HARMLESS.exists() else []
    kept = [line for line in lines if line.strip() and not line.startswith("#")]
    return {mutant: reason.strip() for mutant, reason in zip(kept[::2], kept[1::2])}


def survivors(name, seed=0):
    """(how many mutants there are, those that no case catches and no reason excuses)."""
    assignment = prepare(load(name), np.random.default_rng(seed))
    excused = harmless()
    return len(mutants(name)), [one for one in mutants(name)
                                if str(one) not in excused and caught(one, assignment) is None]


if __name__ == "__main__":
    for exercise in sys.argv[1:] or names():
        count, left = survivors(exercise)
        print(f"{exercise}: {count} mutants, {len(left)} not caught", flush=True)
        for one in left:
            print("   ", one)
