"""Gradient checking: is every backward right, at every order?

Adjoint identities first: where f is linear, <f(x), y> = <x, f*(y)> holds with no epsilon. Then
finite differences, with a random cotangent u and along a random direction v:

    <u, f(x + e v) - f(x - e v)> / 2e  =  <gradient, v>

(the gradient of sum(f(x)) is blind to most mistakes: u = 1 is symmetric under what people get
wrong). Order 2 is the same check on <gradient, w> as a function of x and of u, so it says whether
the backward is itself written in differentiable operations. Errors say where, and what to look at.
"""
from __future__ import annotations

import functools
import inspect
import itertools
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinyvision.device import to_device
from tinyvision.engine import Tensor, as_array, grad
from tinyvision.cuda import CompilerMissing
from tinyvision.kernel import KERNELS, use_variant

EVERY_ELEMENT = 2000                       # larger inputs are diagnosed at this many elements


class GradientError(AssertionError):
    """A gradient that is wrong.

    Attributes:
        op, input, index: the function's name, which input, and the worst element of its gradient.
        got, expected: that element as backward has it, and as it should be.
        order: 1 for the gradient, 2 for the gradient of the gradient; 0 for an adjoint identity.
    """
    op, input, index, got, expected, order = "", 0, (), math.nan, math.nan, 1

    def __init__(self, message, **where):
        super().__init__(message)
        self.__dict__.update(where)


class VariantError(AssertionError):
    """Two variants of a kernel that do not agree."""


# --- adjoint identities ---------------------------------------------------------------------------
def adjoint(f, g, x, y, name=None) -> float:
    """Assert that <f(x), y> = <x, g(y)>, up to rounding: that g is the adjoint of the linear f.

    Args:
        f, g: functions of one Tensor or array; f(x) has the shape of y, g(y) that of x.
        x, y: what to try them on: random, so that no mistake cancels.
        name: what errors call f.

    Returns:
        The difference, relative to the sums of the products' magnitudes.

    Raises:
        GradientError: they differ by more than rounding.
    """
    fx, gy, name = as_array(f(x)), as_array(g(y)), name or _name(f)
    x, y = as_array(x), as_array(y)
    for what, a, b in ((f"{name} gives shape", fx, y), ("its adjoint gives shape", gy, x)):
        if a.shape != b.shape:
            raise GradientError(f"{name}: {what} {a.shape}, expected {b.shape}", op=name, order=0)
    left, right = fx * y, x * gy
    scale = float(abs(left).sum() + abs(right).sum())
    error = abs(float(left.sum()) - float(right.sum()))
    if not error <= 1000 * np.finfo(fx.dtype).eps * scale:
        _raise_adjoint(f, x, y, gy, name, left.sum(), right.sum())
    return error / scale if scale else 0.0


def _raise_adjoint(f, x, y, gy, name, left, right):
    """The identity failed: find the worst element by walking x's elements, and say so."""
    there = _elements(x.size)
    expected = _slopes(lambda a: as_array(f(a)), x, y, there, np.finfo(x.dtype).eps ** (1 / 3))
    raise _error(name, 0, 0, gy, expected, there, y,
                 f"{name}: <f(x), y> = {left:.6g} but <x, adjoint(y)> = {right:.6g}: the adjoint "
                 f"is wrong")


def linear_adjoint(f, arrays, k, rng=None, name=None) -> float:
    """The adjoint identity for `f`'s input `k`, its gradient (by `tinyvision.grad`) as adjoint.

    f may have a constant term: f(x) - f(0) is taken. It also holds where a choice follows the
    largest value (relu, max pooling): f(c x) = c f(x) for c > 0 is enough, at x itself.
    """
    def at(x):
        return f(*arrays[:k], x, *arrays[k + 1:])

    x = Tensor(arrays[k], requires_grad=True)
    y = at(x)
    constant = as_array(at(np.zeros_like(arrays[k])))
    cotangent = _normal(rng or np.random.default_rng(0), y.shape, y.dtype)
    found = _gradients(at, [x], cotangent)[0]
    found = np.zeros_like(arrays[k]) if found is None else found
    return adjoint(lambda a: as_array(at(a)) - constant, lambda u: found, arrays[k], cotangent,
                   name or _name(f))


# --- finite differences ---------------------------------------------------------------------------
def gradcheck(f, inputs, order=2, eps=1e-5, rtol=1e-6, atol=1e-8, rng=None, name=None) -> float:
    """Assert that the gradients of `f` are right, to the given order.

    Args:
        f: a function of as many Tensors as there are inputs, that gives one Tensor.
        inputs: float64 arrays or Tensors, away from kinks and ties by more than about 5 eps.
        order: 2 also checks the gradient of the gradient.
        eps: the step; the error of central differences is of order eps^2.
        rtol, atol: |got - expected| <= atol + rtol * scale must hold, for the slopes along a random
            direction.
        rng: the generator of cotangents and directions.
        name: what errors call f.

    Returns:
        The worst relative error.

    Raises:
        TypeError: an input or the output is not float64, where differences are only rounding.
        GradientError: a gradient is wrong; says the input, the worst element, and a likely cause.
    """
    return max(errors_by_order(f, inputs, order, eps, rtol, atol, rng, name))


def errors_by_order(f, inputs, order=2, eps=1e-5, rtol=1e-6, atol=1e-8, rng=None,
                    name=None) -> list[float]:
    """`gradcheck`, but gives the worst relative error of each order, from 1."""
    inputs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    arrays = [_float64(as_array(x), f"input {k}") for k, x in enumerate(inputs)]
    check = _Check(name or _name(f), len(arrays), eps, rtol, atol, rng or np.random.default_rng(0))
    errors = []
    for k in range(1, order + 1):
        u = _normal(check.rng, _float64(_value(f, arrays), "the output").shape)
        errors.append(check.first_order(f, arrays, u, k))
        f, arrays = _derivative(f, arrays, u, check.rng)
    return errors


def _float64(array, what):
    if array.dtype != np.float64:
        raise TypeError(f"gradcheck: {what} is {array.dtype}, expected float64: a difference of "
                        "nearly equal numbers of fewer digits is rounding; use .astype('float64')")
    return array


def _value(f, arrays):
    return as_array(f(*[Tensor(a, requires_grad=True) for a in arrays]))


def _gradients(f, xs, u, create_graph=False):
    """The gradients of <u, f(xs)>, None where f does not depend on an x."""
    y = f(*xs)
    if not y.requires_grad:
        return [None] * len(xs)
    return grad(y, xs, u, create_graph=create_graph, allow_unused=True)


def _derivative(f, arrays, u, rng):
    """<gradients of <u, f>, random weights>, a function of f's inputs and of u; and those."""
    weights = [_normal(rng, a.shape) for a in arrays]

    def gradient(*xs_and_u):
        *xs, cotangent = xs_and_u
        found = _gradients(f, xs, cotangent, create_graph=True)
        terms = [(g * Tensor(w)).sum() for g, w in zip(found, weights) if g is not None]
        return functools.reduce(lambda a, b: a + b, terms, Tensor(np.zeros(())))
    return gradient, [*arrays, u]


@dataclass
class _Check:
    """One gradcheck: its settings, and the comparison of one order."""
    name: str
    inputs: int
    eps: float
    rtol: float
    atol: float
    rng: np.random.Generator

    def first_order(self, f, arrays, u, order):
        """The worst relative error of f's gradients; raises where one is wrong."""
        leaves = [Tensor(a, requires_grad=True) for a in arrays]
        found = [np.zeros_like(a) if g is None else g._data
                 for g, a in zip(_gradients(f, leaves, u), arrays)]
        return max(self.one_input(f, arrays, k, u, g, order) for k, g in enumerate(found))

    def one_input(self, f, arrays, k, u, g, order):
        """The relative error of the slope along a random direction of input `k`."""
        def at(x):
            return _value(f, [*arrays[:k], x, *arrays[k + 1:]])

        v = _normal(self.rng, arrays[k].shape)
        step, terms = self.eps * v, g * v
        got = float(terms.sum())
        expected = float(((at(arrays[k] + step) - at(arrays[k] - step)) * u).sum()) / (2 * self.eps)
        scale = max(abs(got), abs(expected), float(np.linalg.norm(terms.ravel())))
        error = abs(got - expected)
        if not error <= self.atol + self.rtol * scale:           # `not <=`: NaN fails, too
            self.fail(at, arrays[k], k, u, g, order)
        return error / max(scale, self.atol / self.rtol)

    def fail(self, at, x, k, u, g, order):
        """Raise, after walking the elements to find the worst."""
        there = _elements(x.size)
        expected = _slopes(at, x, u, there, self.eps)
        what = f"input {k}" if k < self.inputs else "the cotangent"
        of = "the gradient" if order == 1 else f"the gradient of the gradient (order {order})"
        text = f"{self.name}: {of} with respect to {what}, shape {x.shape}, is wrong"
        if not np.array_equal(at(x), at(x), equal_nan=True):
            text += " (the function gives another result at every call: fix its random choices)"
        raise _error(self.name, k, order, g, expected, there, u, text)


def _slopes(at, x, u, there, eps):
    """The slope of <u, at(x)> in each of the elements `there` of x, by central differences."""
    slopes = []
    for i in there:
        up, down = x.copy(), x.copy()
        up.flat[i] += eps
        down.flat[i] -= eps
        slopes.append(((at(up) - at(down)) * u).sum() / (2 * eps))
    return np.array(slopes)


def _elements(size):
    """All flat indices of a small input, some of a large one."""
    if size <= EVERY_ELEMENT:
        return np.arange(size)
    return np.sort(np.random.default_rng(0).choice(size, EVERY_ELEMENT, replace=False))


def _error(name, k, order, got, expected, there, u, text):
    """The GradientError for input `k`: the worst element, and what it looks like."""
    values = np.asarray(got).ravel()[there]
    worst = int(np.argmax(np.nan_to_num(abs(values - expected), nan=np.inf)))
    index = tuple(int(i) for i in np.unravel_index(there[worst], got.shape))
    close = _like(values, expected)
    likely = hint(got, expected.reshape(got.shape), u, order) if len(there) == got.size else ""
    message = (f"{text}.\n  worst at index {index}: got {values[worst]:.6g}, "
               f"expected {expected[worst]:.6g}; {int((~close).sum())} of {len(there)} elements "
               f"are wrong" + f".\n  hint: {likely}" * bool(likely))
    return GradientError(message, op=name, input=k, index=index, order=order,
                         got=float(values[worst]), expected=float(expected[worst]))


def _name(f):
    name = getattr(f, "__name__", type(f).__name__)
    return "the function" if name == "<lambda>" else name


def _normal(rng, shape, dtype="float64"):
    return np.asarray(rng.standard_normal(shape)).astype(dtype)


# --- hints ----------------------------------------------------------------------------------------
def hint(got, expected, cotangent=None, order=1) -> str:
    """What a wrong gradient looks like, in words; "" where it looks like nothing known."""
    tries = (_not_a_number(got), _zero(got, expected, order), _passed_on(got, expected, cotangent),
             _factor(got, expected), _transposed(got, expected), _flipped(got, expected),
             _shuffled(got, expected), _border(got, expected))
    return next((text for text in tries if text), "")


def _like(a, b):
    size = float(np.nanmax(np.append(abs(b).ravel(), 1e-300)))
    return np.isclose(a, b, rtol=1e-4, atol=1e-5 * size)


def _not_a_number(got):
    return "" if np.isfinite(got).all() else "it is not finite: a division by 0, or log(0)"


def _zero(got, expected, order):
    if got.any() or not expected.any():
        return ""
    if order > 1:
        return ("it is zero: the backward works on arrays (x._data, x.numpy()), so it cannot be "
                "differentiated; write it in operations on Tensors")
    return "it is zero: backward returns nothing for this input, or a term that cancels"


def _passed_on(got, expected, cotangent):
    if cotangent is None or cotangent.shape != got.shape or not _like(got, cotangent).all():
        return ""
    return "it is the cotangent itself: the factor of the chain rule (the local slope) is missing"


def _factor(got, expected):
    size = float((expected * expected).sum())
    c = float((got * expected).sum()) / size if size else 0.0
    if not c or not _like(got, c * expected).all():
        return ""
    if abs(c + 1) < 1e-4:
        return "it has the wrong sign"
    which = ("a sum where the forward takes a mean?" if c > 1.5 and abs(c - round(c)) < 1e-4 else
             "a mean where the forward takes a sum?"
             if 0 < c < 0.7 and abs(1 / c - round(1 / c)) < 1e-3 else "a constant is missing")
    return f"it is {c:.6g} times what it should be: {which}"


def _transposed(got, expected):
    for axes in itertools.permutations(range(got.ndim)) if got.ndim < 6 else ():
        moved = got.transpose(axes)
        if list(axes) != sorted(axes) and moved.shape == expected.shape:
            if _like(moved, expected).all():
                return f"it is transposed: with its axes in the order {axes} it would be right"
    if got.ndim == 2 and _like(got.reshape(got.T.shape).T, expected).all():
        return "it was reshaped where it should have been transposed"
    return ""


def _flipped(got, expected):
    for count in range(1, got.ndim + 1):
        for axes in itertools.combinations(range(got.ndim), count):
            if _like(np.flip(got, axes), expected).all():
                return f"it is flipped: reversed along axes {axes} it would be right"
    return ""


def _shuffled(got, expected):
    if got.size > 1 and _like(np.sort(got, axis=None), np.sort(expected, axis=None)).all():
        return "the numbers are right but in other places: a wrong index or a wrong reshape"
    return ""


def _border(got, expected):
    """Right inside and wrong at the edge of the last two axes."""
    wrong = ~_like(got, expected)
    if got.ndim < 2 or min(got.shape[-2:]) < 3 or wrong[..., 1:-1, 1:-1].any():
        return ""
    return "it is wrong at the border only: look at the padding and at the last window"


# --- one example: results, variants, checks -------------------------------------------------------
def results(example, device="cpu") -> list[tuple[str, np.ndarray]]:
    """Everything an example computes: its result, gradients, and their gradients, by name.

    The same cotangents every time, so that variants and devices can be compared.
    """
    rng = np.random.default_rng(1)
    xs = [to_device(a, device) for a in example.tensors]
    for k in example.wrt:
        xs[k] = Tensor(xs[k], requires_grad=True)
    y = example.function(*xs)
    found = [(f"result {k}" if len(_several(y)) > 1 else "result", as_array(part))
             for k, part in enumerate(_several(y))]
    if example.wrt:
        found += _all_gradients(y, xs, example.wrt, rng, device)
    return [(name, to_device(a, "cpu")) for name, a in found]


def _several(y):
    return y if isinstance(y, (list, tuple)) else [y]


def _all_gradients(y, xs, wrt, rng, device):
    """Gradients of y, and of a weighted sum of these, with respect to the inputs `wrt`."""
    def like(t):
        return Tensor(to_device(_normal(rng, t.shape, t.dtype), device))

    leaves = [xs[k] for k in wrt]
    u = like(y)
    u.requires_grad = True
    first = grad(y, leaves, u, create_graph=True, allow_unused=True)
    total = functools.reduce(lambda a, b: a + b,
                             [(g * like(g)).sum() for g in first if g is not None])
    second = grad(total, [*leaves, u], allow_unused=True) if total.requires_grad else ()
    names = [*(f"input {k}" for k in wrt), "the cotangent"]
    return [(f"{order} of {name}", g._data)
            for order, found in (("gradient", first), ("second gradient", second))
            for name, g in zip(names, found) if g is not None]


def compare(example, found, expected, what) -> float:
    """The worst difference of two `results`, relative to the largest number of each array.

    Raises:
        VariantError: it is more than rounding for the example's dtype.
    """
    worst = 0.0
    for (name, a), (_, b) in zip(found, expected, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            raise VariantError(f"{example}: {name} of {what} is {a.dtype}{a.shape}, "
                               f"that of the reference {b.dtype}{b.shape}")
        worst = max(worst, _difference(example, a, b, f"{name} of {what}", _rounding(a)))
    return worst


def _rounding(a):
    """What rounding may do to an array of a's dtype, with sums of some hundred terms."""
    return 1000 * np.finfo(a.dtype).eps if a.dtype.kind == "f" else 0.0


def _difference(example, a, b, what, rtol):
    if not a.size:
        return 0.0
    with np.errstate(invalid="ignore"):
        same, apart = (a == b) | (np.isnan(a) & np.isnan(b)), abs(np.subtract(a, b, dtype="f8"))
    apart = np.where(same, 0.0, np.nan_to_num(apart, nan=np.inf))
    apart = apart / max(float(np.max(abs(b[np.isfinite(b)]), initial=0.0)), 1e-300)
    index = tuple(int(i) for i in np.unravel_index(np.argmax(apart), apart.shape))
    if not apart[index] <= rtol:
        raise VariantError(f"{example}: {what} differs from the reference at index {index}: "
                           f"got {a[index]:.9g}, expected {b[index]:.9g}")
    return float(apart[index])


def reference_results(example):
    """(`results` with every kernel's reference, the names of the kernels that ran)."""
    with use_variant("reference") as seen:
        return results(example), seen


def variants_of(kernels) -> list[str]:
    """The names of these kernels' variants, the reference first."""
    return list(dict.fromkeys(v for name in sorted(kernels) for v in KERNELS[name].variants))


def run_variant(example, variant):
    """`results` with that variant of every kernel."""
    with use_variant(variant):
        return results(example)


@dataclass
class Report:
    """What came of checking one example, or (added up) all of an operation's.

    Attributes:
        variants: the names of those that were compared; empty where no kernel ran.
        apart, adjoint, order1, order2: the worst relative errors; None where there is none.
        missing: what could not be tried here; errors: what is wrong.
    """
    name: str
    variants: list = field(default_factory=list)
    apart: float | None = None
    adjoint: float | None = None
    order1: float | None = None
    order2: float | None = None
    missing: list = field(default_factory=list)
    errors: list = field(default_factory=list)

    numbers = ("apart", "adjoint", "order1", "order2")

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.errors

    @property
    def worst(self) -> float:
        """The largest of the errors."""
        return max((v for v in map(self.__getattribute__, self.numbers) if v is not None),
                   default=0.0)

    def add(self, other) -> None:
        """Take in the report of another example."""
        for name in self.numbers:
            both = [v for v in (getattr(self, name), getattr(other, name)) if v is not None]
            setattr(self, name, max(both, default=None))
        for name in ("variants", "missing", "errors"):
            merged = dict.fromkeys(getattr(self, name) + getattr(other, name))
            setattr(self, name, list(merged))


def check(example) -> Report:
    """Every check of one example: variants agree, adjoint, order 1, order 2."""
    report = Report(example.name)
    for step in (_check_variants, _check_adjoint, _check_orders):
        try:
            step(example, report)
        except Exception as error:                           # also an op that crashes has failed
            known = isinstance(error, (GradientError, VariantError))
            crash = "" if known else f"{example}: {type(error).__name__}: "
            report.errors.append(crash + str(error))
    return report


def _check_variants(example, report):
    expected, seen = reference_results(example)
    names = variants_of(seen)
    report.variants = names[:1]
    for name in names[1:]:
        try:
            apart = compare(example, run_variant(example, name), expected, f"variant {name}")
        except CompilerMissing:
            report.missing.append("gpu text: no C++ compiler")
            continue
        report.variants.append(name)
        report.apart = max(report.apart or 0.0, apart)


def _check_adjoint(example, report):
    for k in example.linear_in:
        error = linear_adjoint(example.function, example.tensors, k, name=str(example))
        report.adjoint = max(report.adjoint or 0.0, error)


def _check_orders(example, report):
    if example.wrt:
        inputs = [example.tensors[k] for k in example.wrt]
        report.order1, report.order2 = errors_by_order(example.of_wrt, inputs, name=str(example))


# --- the table ------------------------------------------------------------------------------------
HEADER = ("operation", "variants agree", "adjoint", "order 1", "order 2", "worst", "")


def table(names=None, progress=True) -> list[Report]:
    """Check every operation, or those named: one report each.

    Args:
        names: names in `tinyvision.ops`.
        progress: show a bar while it runs, if the terminal is one.

    Raises:
        ValueError: an operation without examples.
    """
    from tqdm import tqdm
    chosen, reports = _chosen(names), {}
    bar = tqdm(chosen, disable=None if progress else True, unit="example", leave=False)
    for example in bar:
        bar.set_description(example.name)
        reports.setdefault(example.name, Report(example.name)).add(check(example))
    return list(reports.values())


def _chosen(names):
    from tinyvision.ops.examples import examples
    every = examples()
    known = {e.name for e in every}
    if unknown := [n for n in names or () if n not in known]:
        raise ValueError(f"gradcheck: no operation {unknown[0]!r}; there are "
                         f"{', '.join(sorted(known))}")
    return [e for e in every if not names or e.name in names]


def format_table(reports) -> str:
    """The reports as text, one line each, what went wrong below."""
    rows = [HEADER, *map(_cells, reports)]
    widths = [max(len(row[c]) for row in rows) for c in range(len(HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
             for row in rows]
    lines.insert(1, "-" * len(lines[0]))
    wrong = [f"\n✗ {message}" for r in reports for message in r.errors]
    summary = f"\n{sum(r.ok for r in reports)} of {len(reports)} operations are right."
    return "\n".join([*lines, *wrong, summary])


def _cells(r):
    variants = f"{len(r.variants)}, {_number(r.apart)}" if r.variants else "no kernel"
    variants += "".join(f" ({text})" for text in r.missing)
    return (r.name, variants, _number(r.adjoint), _number(r.order1), _number(r.order2),
            _number(r.worst), "✓" if r.ok else "✗")


def _number(value):
    return "-" if value is None else "exact" if value == 0 else f"{value:.0e}"


# --- one operation in detail ----------------------------------------------------------------------
def detail(name) -> tuple[str, bool]:
    """One operation as text: where it lives, its examples, graphs, every check; and whether right.

    Raises:
        ValueError: an operation without examples.
    """
    chosen = _chosen([name])
    parts = [_detail_of_example(e) for e in chosen]
    text = [f"{name}   {source_file(name)}", *(part for part, _ in parts)]
    return "\n\n".join(text), all(ok for _, ok in parts)


def source_file(name) -> str:
    """The file and line of a public operation."""
    from tinyvision import ops
    function = getattr(ops, name)
    if function.__module__ == "tinyvision.engine":           # `binary` made it: find it by its name
        from tinyvision.ops import arithmetic
        return _relative(inspect.getsourcefile(arithmetic))
    _, line = inspect.getsourcelines(function)
    return f"{_relative(inspect.getsourcefile(function))}:{line}"


def _relative(path):
    root = Path(__file__).resolve().parent.parent
    return str(Path(path).resolve().relative_to(root))


def _detail_of_example(example):
    report = check(example)
    lines = [str(example), *(f"  input {k}   {_shape(a)}{_role(example, k)}"
                             for k, a in enumerate(example.tensors))]
    lines += _detail_of_graph(example) if report.ok else []
    agree = ", ".join("gpu on host" if v == "gpu" else v for v in report.variants) or "no kernel"
    lines += [f"  variants  {agree}: {_number(report.apart)}",
              f"  adjoint   {_number(report.adjoint)}", f"  order 1   {_number(report.order1)}",
              f"  order 2   {_number(report.order2)}"]
    lines += [f"  not tried {text}" for text in report.missing]
    return "\n".join([*lines, *(f"  ✗ {e}" for e in report.errors)]), report.ok


def _shape(a):
    return f"{a.dtype} {a.shape}"


def _role(example, k):
    if k in example.linear_in:
        return ", linear"
    return "" if k in example.wrt else ", not differentiated"


def _detail_of_graph(example):
    """The ops of the forward graph and those that backward adds to it."""
    with use_variant(None) as seen:
        xs = list(example.tensors)
        for k in example.wrt:
            xs[k] = Tensor(xs[k], requires_grad=True)
        y = example.function(*xs)
        shapes = ", ".join(_shape(as_array(part)) for part in _several(y))
        lines = [f"  result    {shapes}"]
        if example.wrt:
            lines += _ops(y, [xs[k] for k in example.wrt])
    return lines + [f"  kernels   {', '.join(sorted(seen)) or 'none (NumPy)'}"]


def _ops(y, leaves):
    u = Tensor(np.ones(y.shape, y.dtype), requires_grad=True)
    first = grad(y, leaves, u, create_graph=True, allow_unused=True)
    forward = _nodes([y])
    found = _nodes([g for g in first if g is not None])
    backward = {node: op for node, op in found.items() if node not in forward}
    return [f"  forward   {' <- '.join(forward.values())}",
            f"  backward  {' <- '.join(backward.values()) or 'passes the cotangent on'}"]


def _nodes(tensors):
    """The computed nodes behind `tensors` with their ops' text, the last made first."""
    seen, stack = {}, [t._node for t in tensors if t._node is not None]
    while stack:
        node = stack.pop()
        if node.op is not None and node not in seen:
            seen[node] = repr(node.op)
            stack += [x._node for x in node.inputs if x._node is not None]
    return dict(sorted(seen.items(), key=lambda item: -item[0].number))


# --- the command line -----------------------------------------------------------------------------
def add(subparsers) -> None:
    """Add the command `gradcheck [OP]` to argparse's subparsers."""
    parser = subparsers.add_parser("gradcheck", help="check the gradients of every operation")
    parser.add_argument("op", nargs="?", help="one operation, in detail (default: a table of all)")
    parser.set_defaults(run=run)


def run(args) -> int:
    """The command: print the table, or one operation in detail; 1 if anything is wrong."""
    if args.op:
        text, ok = detail(args.op)
    else:
        reports = table()
        text, ok = format_table(reports), all(r.ok for r in reports)
    print(text)
    return 0 if ok else 1
