"""gradcheck catches what is wrong, says where, and lets pass what is right."""
import argparse
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

import tinyvision as tv
from tinyvision import ops
from tinyvision.engine import Op, Tensor
from tinyvision.gradcheck import (GradientError, Report, add, adjoint, check, detail,
                                  errors_by_order, format_table, gradcheck, hint, linear_adjoint,
                                  source_file, table)
from tinyvision.ops.conv2d import Conv2d
from tinyvision.ops.examples import Example, examples

EXAMPLES = examples()
rng = np.random.default_rng(7)
normal = rng.standard_normal


@dataclass(frozen=True, eq=False)
class Wrong(Op):
    """A right forward with a wrong backward: `wrong(g, a)`, in Tensor operations."""
    right: Callable
    wrong: Callable
    needs = "a",

    def forward(self, a):
        return self.right(Tensor(a)).data

    def backward(self, g, y, a):
        return self.wrong(g, a),


def flip(t, *axes):
    """The tensor reversed along axes."""
    return ops.take(t, tuple(slice(None, None, -1) if k in axes else slice(None)
                             for k in range(len(t.shape))))


def zero(g, a):
    return a * 0.0


def normalise(a):
    centred = a - ops.mean(a, 0, True)
    return centred / ops.sqrt(ops.mean(centred * centred, 0, True))


CONV = Conv2d((1, 1), (1, 1))
x, w, z = normal((3, 4, 6, 6)), normal((4, 4, 3, 3)), normal((4, 5))
X, W = Tensor(x), Tensor(w)
pooled, places = ops.max_pool2d(x, 2, return_indices=True)


def unpool(g):
    return ops.max_unpool2d(g, places, 2)


def of_x(a):
    return ops.conv2d(a, W, padding=1)


def of_w(a):
    return ops.conv2d(X, a, padding=1)


def gx(g, weight=W):
    return CONV.transpose((6, 6))(g, weight)


def gw(g):
    return CONV.weight(w.shape)(X, g)


MUTANTS = {                                # name: (forward, input, wrong backward)
    "conv2d gW: cotangent flipped": (of_w, w, lambda g, a: gw(flip(g, 2, 3))),
    "conv2d gW: batch reversed": (of_w, w, lambda g, a: gw(flip(g, 0))),
    "conv2d gx: cotangent transposed": (of_x, x, lambda g, a: gx(ops.transpose(g))),
    "conv2d gx: batch reversed": (of_x, x, lambda g, a: gx(flip(g, 0))),
    "max_pool2d gx: wrong channel": (
        lambda a: ops.max_pool2d(a, 2), x, lambda g, a: unpool(flip(g, 1))),
    "softmax gx: zero": (lambda a: ops.softmax(a, 1), z, zero),
    "transpose gx: reshaped": (ops.transpose, z, lambda g, a: ops.reshape(g, *z.shape)),
    "batch_norm gx: zero": (normalise, z, zero),
    "conv2d gx: kernel flipped": (of_x, x, lambda g, a: gx(g, flip(W, 2, 3)))}
MORE = {
    "mul by itself: one of two": (lambda a: a * a, z, lambda g, a: g * a),
    "exp: local slope forgotten": (ops.exp, z, lambda g, a: g + a * 0.0),
    "mean: not divided": (ops.mean, z, lambda g, a: a * 0.0 + g),
    "sum: divided": (ops.sum, z, lambda g, a: (a * 0.0 + g) / 20),
    "relu: mask of the cotangent": (ops.relu, z, lambda g, a: ops.relu(g)),
    "tanh: of the input, not the output": (ops.tanh, z, lambda g, a: g * (1.0 - a * a)),
    "sub: sign": (lambda a: 1.0 - a, z, lambda g, a: g + a * 0.0),
    "leaky_relu: slope 0": (lambda a: ops.leaky_relu(a, 0.1), z,
                            lambda g, a: g * Tensor((a.data > 0) * 1.0)),
    "take: repeated index counted once": (
        lambda a: ops.take(a, np.array([1, 1, 2])), z,
        lambda g, a: ops.cat([Tensor(np.zeros((1, 5))), g[1:], Tensor(np.zeros((1, 5)))], 0)),
    "softmax: only the diagonal": (lambda a: ops.softmax(a, 1), z,
                                   lambda g, a: g * ops.softmax(a, 1) * (1.0 - ops.softmax(a, 1))),
    "one element of many": (ops.exp, z, lambda g, a: g * ops.exp(a) * one_off((4, 5), 1.001)),
    "NaN": (ops.exp, z, lambda g, a: g * np.nan)}


def one_off(shape, value):
    a = np.ones(shape)
    a.flat[7] = value
    return Tensor(a)


def sum_check_passes(f, a, back):
    """What frameworks often do: every element's slope of sum(f(a)), against a cotangent of 1."""
    slopes = np.zeros_like(a)
    for i in np.ndindex(a.shape):
        for sign in (1, -1):
            moved = a.copy()
            moved[i] += sign * 1e-4
            slopes[i] += sign * float(f(Tensor(moved)).data.sum()) / 2e-4
    found = back(Tensor(np.ones(f(Tensor(a)).shape)), Tensor(a)).data
    return np.allclose(slopes, found, rtol=1e-4, atol=1e-5)


# --- mutants --------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [*MUTANTS, *MORE])
def test_wrong_backward_is_caught(name):
    f, a, back = {**MUTANTS, **MORE}[name]
    with pytest.raises(GradientError) as caught:
        gradcheck(Wrong(f, back), [a], order=1)
    assert (caught.value.order, caught.value.input) == (1, 0)
    assert not np.isclose(caught.value.got, caught.value.expected, rtol=1e-5)


@pytest.mark.parametrize("name", [*MUTANTS, *MORE])
def test_the_right_backward_passes(name):
    f, a, _ = {**MUTANTS, **MORE}[name]
    assert gradcheck(f, [a]) < 1e-6


def test_the_sum_of_outputs_would_miss_nearly_all():
    """Eight of nine, as on the slide: why the cotangent must be random."""
    missed = [name for name, mutant in MUTANTS.items() if sum_check_passes(*mutant)]
    assert len(missed) == 8, missed
    assert "conv2d gx: kernel flipped" not in missed


def test_a_backward_on_arrays_fails_at_order_2_only():
    f = Wrong(lambda a: a * a, lambda g, a: Tensor(g.data * 2.0 * a.data))
    assert gradcheck(f, [z], order=1) < 1e-6
    with pytest.raises(GradientError, match="order 2.*\n.*\n.*cannot be differentiated"):
        gradcheck(f, [z], order=2)


def test_a_wrong_second_gradient_is_found_and_not_blamed_on_the_first():
    slope = Wrong(lambda a: 3.0 * a * a, lambda g, a: g * a)     # right forward, wrong backward
    f = Wrong(lambda a: a * a * a, lambda g, a: g * slope(a))
    with pytest.raises(GradientError) as caught:
        gradcheck(f, [z])
    assert caught.value.order == 2


def test_order_3():
    assert len(errors_by_order(ops.exp, [z], order=3)) == 3
    assert max(errors_by_order(lambda a: a * a * a, [z], order=3)) < 1e-6


# --- what it says ---------------------------------------------------------------------------------
def test_the_error_names_op_input_index_got_and_expected():
    bump = Tensor(np.where(np.arange(6) == 4, 3.0, 1.0).reshape(2, 3))
    a, b = normal((2, 3)), normal((2, 3))

    def corrupted(a, b):
        return Wrong(lambda t: t * t, lambda g, t: g * 2.0 * t * bump)(b) + a
    with pytest.raises(GradientError) as caught:
        gradcheck(corrupted, [a, b], rng=np.random.default_rng(5))
    e, text = caught.value, str(caught.value)
    assert (e.op, e.input, e.index) == ("corrupted", 1, (1, 1))
    assert e.got == pytest.approx(3 * e.expected, rel=1e-4)
    for part in ("corrupted", "input 1", "(2, 3)", "(1, 1)", f"got {e.got:.6g}",
                 f"expected {e.expected:.6g}", "1 of 6 elements"):
        assert part in text


def test_errors_travel_between_processes():
    with pytest.raises(GradientError) as caught:
        gradcheck(Wrong(ops.exp, zero), [z], name="exp")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.index, again.op) == (str(caught.value), caught.value.index, "exp")


@pytest.mark.parametrize("change, word", [
    (lambda g: g * 0, "zero"), (lambda g: -g, "sign"), (lambda g: 5 * g, "sum where"),
    (lambda g: g / 4, "mean where"), (lambda g: 1.37 * g, "constant"),
    (lambda g: g * np.nan, "finite"), (lambda g: g[::-1], "reversed"),
    (lambda g: g[:, ::-1, ::-1], "reversed"), (lambda g: g.transpose(0, 2, 1), "transposed"),
    (lambda g: np.random.default_rng(1).permutation(g.ravel()).reshape(g.shape), "other places")])
def test_hints(change, word):
    right = normal((3, 4, 4))
    assert word in hint(change(right), right)


def test_a_hint_for_the_border_and_for_the_cotangent():
    right = normal((2, 5, 6))
    wrong = right.copy()
    wrong[:, 0] *= 2
    assert "border" in hint(wrong, right)
    u = normal(right.shape)
    assert "cotangent itself" in hint(u, right, u)
    assert hint(normal(right.shape), right) == ""


def test_float32_is_refused():
    with pytest.raises(TypeError, match="input 1 is float32, expected float64"):
        gradcheck(ops.add, [z, z.astype("float32")])
    with pytest.raises(TypeError, match="the output is float32, expected float64"):
        gradcheck(lambda a: ops.cast(a, "float32"), [z])
    with pytest.raises(TypeError, match="int"):
        gradcheck(ops.exp, [np.arange(3)])


def test_a_function_that_draws_anew_is_recognised():
    with pytest.raises(GradientError, match="another result at every call"):
        gradcheck(lambda a: a * Tensor(normal(z.shape)), [z])


def test_tensors_single_inputs_and_unused_inputs_are_taken():
    assert gradcheck(ops.tanh, Tensor(z)) < 1e-6
    assert gradcheck(lambda a, b: a * a, [z, normal(3)]) < 1e-6
    assert gradcheck(lambda a: Tensor(np.ones(3)), [z]) == 0


def test_inputs_are_left_alone():
    a, t = z.copy(), Tensor(z.copy(), requires_grad=True)
    gradcheck(ops.tanh, [a])
    gradcheck(ops.tanh, [t])
    assert (a == z).all() and (t.data == z).all() and t.grad is None


def test_large_inputs_are_diagnosed_at_some_elements():
    with pytest.raises(GradientError, match="of 2000 elements"):
        gradcheck(Wrong(ops.exp, lambda g, a: g), [normal((70, 80))])


# --- adjoints -------------------------------------------------------------------------------------
def test_adjoint_identity():
    y = normal(ops.conv2d(x, w, padding=1).shape)
    assert adjoint(of_x, gx, x, y) < 1e-14
    assert adjoint(of_w, gw, w, y) < 1e-14


def test_a_wrong_adjoint_is_caught():
    y = normal((3, 4, 6, 6))
    with pytest.raises(GradientError, match=r"of_x: <f.*\n.*got.*expected") as caught:
        adjoint(of_x, lambda g: gx(g, flip(W, 2, 3)), x, y)
    assert caught.value.order == 0
    with pytest.raises(GradientError, match=r"its adjoint gives shape \(4,\), expected \(4, 5\)"):
        adjoint(ops.transpose, lambda g: g.sum(0), Tensor(z), Tensor(normal((5, 4))))


def test_adjoint_in_float32():
    a, u = z.astype("f4"), normal((5, 4)).astype("f4")
    assert adjoint(ops.transpose, ops.transpose, a, u) < 1e-4
    with pytest.raises(GradientError):
        adjoint(ops.transpose, lambda g: ops.transpose(g) * 1.01, a, u)


def test_linear_adjoint_ignores_a_constant():
    assert linear_adjoint(lambda a: 2.0 * a + 5.0, [z], 0) < 1e-14
    with pytest.raises(GradientError):
        linear_adjoint(lambda a: a * a, [z], 0)


def test_cast_between_dtypes_is_its_own_adjoint():
    a = Tensor(normal(6).astype("f4"), requires_grad=True)
    y = ops.cast(a, "float64")
    g, = tv.grad(y, a, np.full(6, 0.1))
    assert (y.dtype, g.dtype) == ("float64", "float32")
    assert (g.data == np.float32(0.1)).all()


# --- every operation, at both orders --------------------------------------------------------------
@pytest.mark.parametrize("k", range(len(EXAMPLES)), ids=lambda k: str(EXAMPLES[k]))
def test_every_example_is_right(k):
    example = EXAMPLES[k]
    report = check(example)
    assert report.ok, "\n".join(report.errors)
    if example.wrt:
        assert max(report.order1, report.order2) < 1e-6
    if example.linear_in:
        assert report.adjoint < 1e-13


# --- the table and the command --------------------------------------------------------------------
def command(*words):
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers())
    args = parser.parse_args(["gradcheck", *words])
    return args.run(args)


def test_table_of_two_operations():
    reports = table(["sqrt", "conv1d"], progress=False)
    text = format_table(reports)
    assert [r.name for r in reports] == ["sqrt", "conv1d"]
    assert all(r.ok for r in reports) and text.count("✓") == 2
    assert "2 of 2 operations are right" in text and "no kernel" in text


def test_an_operation_in_detail(capsys):
    assert command("conv2d") == 0
    text = capsys.readouterr().out
    for part in ("tinyvision/ops/conv2d.py:", "everything", "Conv2d(stride=(3, 4)",
                 "ConvTranspose2d(", "conv2d_weight_kernel", "order 2", "reference, cpu"):
        assert part in text


def test_an_unknown_operation_is_an_error():
    with pytest.raises(ValueError, match="conv7d"):          # the command line makes it one sentence
        command("conv7d")


def test_a_wrong_operation_fails_the_command(monkeypatch, capsys):
    bad = Example("tanh", "", Wrong(ops.tanh, lambda g, a: g), (z,))
    crash = Example("exp", "", lambda a: a.missing, (z,))
    monkeypatch.setattr("tinyvision.ops.examples.examples", lambda: [bad, crash])
    assert command() == 1
    text = capsys.readouterr().out
    assert text.count("✗") >= 4 and "0 of 2" in text
    assert "cotangent itself" in text and "exp: AttributeError" in text
    assert detail("tanh")[1] is False


def test_a_missing_compiler_is_said(monkeypatch):
    monkeypatch.setattr("tinyvision.cuda.compiler", lambda: None)
    monkeypatch.setattr("tinyvision.cuda._host_kernel", missing_compiler)
    text = format_table(table(["conv1d"], progress=False))
    assert "gpu text: no C++ compiler" in text and "✓" in text


def missing_compiler(*args):
    raise tv.cuda.CompilerMissing("none here")


def test_reports_add_up():
    a, b = Report("f", apart=1e-9), Report("f", apart=2e-9, adjoint=0.0, errors=["wrong"])
    a.add(b)
    assert (a.apart, a.adjoint, a.order1, a.worst, a.ok) == (2e-9, 0.0, None, 2e-9, False)


def test_every_operation_says_where_it_lives():
    assert source_file("conv2d").startswith("tinyvision/ops/conv2d.py:")
    assert source_file("add") == "tinyvision/ops/arithmetic.py"


MIXED = [k for k, example in enumerate(EXAMPLES) if len(example.wrt) > 1 and example.wrt]


@pytest.mark.parametrize("k", MIXED, ids=lambda k: str(EXAMPLES[k]))
def test_a_gradient_asked_for_alone_has_the_gradients_of_one_asked_for_with_others(k):
    """What `grad` leaves out for one input is still part of the graph of what it gives."""
    example, random = EXAMPLES[k], np.random.default_rng(k)
    xs = [Tensor(example.tensors[i], requires_grad=True) for i in example.wrt]
    y = example.of_wrt(*xs)
    v = random.standard_normal(y.shape)
    together = tv.grad(y, xs, v, create_graph=True)
    for i, x in enumerate(xs):
        alone, = tv.grad(y, [x], v, create_graph=True)
        assert np.array_equal(alone.numpy(), together[i].numpy())
        u = random.standard_normal(x.shape)
        if together[i]._node is None:
            assert alone._node is None
            continue
        second = [tv.grad(g, xs, u, retain_graph=True, allow_unused=True)
                  for g in (alone, together[i])]
        for a, b in zip(*second):
            assert (a is None) == (b is None)
            assert a is None or np.allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-12)
