"""Arithmetic, shape, matmul and activations: against NumPy, PyTorch, and bad inputs."""
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinyvision as tv
from tinyvision import ops
from tinyvision.engine import Tensor

f4, f8 = np.float32, np.float64


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def positive(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 2, shape)


def compare(ours, theirs, *arrays, rtol=1e-10):
    """Values, gradients and gradients of gradients, with random cotangents."""
    torch = pytest.importorskip("torch")
    a, t = [Tensor(x, True) for x in arrays], [torch.tensor(x, requires_grad=True) for x in arrays]
    y, z = ours(*a), theirs(*t)
    assert y.shape == tuple(z.shape)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=rtol, atol=1e-12)
    g = numbers(*y.shape, seed=5)
    first = tv.grad(y, a, g, create_graph=True)
    first_t = torch.autograd.grad(z, t, torch.tensor(g), create_graph=True)
    for left, right in zip(first, first_t):
        np.testing.assert_allclose(left.data, right.detach().numpy(), rtol=rtol, atol=1e-12)
    if not any(x.requires_grad for x in first_t):
        return
    h, h_t = sum((x * x).sum() for x in first), sum((x * x).sum() for x in first_t)
    second = tv.grad(h, a, allow_unused=True) if h.requires_grad else [None] * len(a)
    second_t = torch.autograd.grad(h_t, t, allow_unused=True)
    for left, right in zip(second, second_t):
        left = 0 if left is None else left.data
        np.testing.assert_allclose(left, 0 if right is None else right.numpy(), rtol=1e-8, atol=1e-10)


# --- arithmetic -----------------------------------------------------------------------------------
BINARY = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b}
SHAPES = [((3, 4), (3, 4)), ((3, 4), (4,)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((2, 1, 4), (3, 1)), ((), (3,)),
          ((3,), ()), ((1,), ()), ((0, 3), (3,)), ((1, 1), (5,))]


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("sign", BINARY)
def test_arithmetic_equals_pytorchs_with_gradients_of_two_orders(sign, shapes):
    compare(BINARY[sign], BINARY[sign], positive(*shapes[0]), positive(*shapes[1], seed=1))


UNARY = {
    "exp": (ops.exp, "exp"), "log": (ops.log, "log"), "sqrt": (ops.sqrt, "sqrt"), "tanh": (ops.tanh, "tanh"),
    "sigmoid": (ops.sigmoid, "sigmoid"), "neg": (ops.neg, "neg"), "relu": (ops.relu, "relu"),
}


@pytest.mark.parametrize("name", UNARY)
def test_functions_equal_pytorchs_with_gradients_of_two_orders(name):
    torch = pytest.importorskip("torch")
    ours, theirs = UNARY[name]
    a = positive(3, 4)
    compare(ours, getattr(torch, theirs), a)
    if name not in ("log", "sqrt"):
        compare(ours, getattr(torch, theirs), -a)


@pytest.mark.parametrize("n", [0, 1, 2, 3, -1, -2, 0.5, 1.5])
def test_powers_equal_pytorchs_with_gradients_of_two_orders(n):
    compare(lambda a: a ** n, lambda a: a ** n, positive(5))


@pytest.mark.parametrize("f", [lambda a: 2.0 ** a, lambda a: 3 - a, lambda a: 3 / a, lambda a: a / 7,
                               lambda a: 1 + a - 2, lambda a: -a * 3])
def test_numbers_on_either_side_equal_pytorchs(f):
    compare(f, f, positive(2, 3))


def test_leaky_relu_equals_pytorchs():
    torch = pytest.importorskip("torch")
    compare(lambda a: ops.leaky_relu(a, 0.2), lambda a: torch.nn.functional.leaky_relu(a, 0.2), numbers(20))


def test_squares_of_negative_numbers_have_gradients():
    x = Tensor([-3.0, 0.0], True)
    (x ** 2).sum().backward()
    assert x.grad.data.tolist() == [-6, 0]


def test_the_same_tensor_on_both_sides():
    x = Tensor([3.0], True)
    assert tv.grad((x * x + x - x / x).sum(), x)[0].item() == 7


def test_far_out_sigmoid_and_tanh_saturate_without_warnings():
    with np.errstate(all="raise"):
        x = np.array([-1e4, -90, 0, 90, 1e4], f4)
        assert ops.sigmoid(x).data.tolist() == [0, 0, 0.5, 1, 1]
        assert ops.tanh(x).data.tolist() == [-1, -1, 0, 1, 1]


def test_sigmoid_keeps_small_probabilities():
    np.testing.assert_allclose(ops.sigmoid(np.array([-10.0, -30.0])).data, 1 / (1 + np.exp([10.0, 30.0])), rtol=1e-3)


def test_nan_stays_nan():
    for f in (ops.relu, ops.exp, ops.tanh, ops.sigmoid, ops.leaky_relu):
        assert np.isnan(f(np.array([np.nan])).item()), f


def test_casting_is_differentiable():
    x = Tensor(np.ones(3, f4), True)
    y = x.astype(f8)
    (y * 2.0).sum().backward()
    assert y.dtype == f8 and x.grad.dtype == f4 and (x.grad.data == 2).all()


@settings(max_examples=60, deadline=None)
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3, min_side=0), st.sampled_from(sorted(BINARY)))
def test_broadcasting_is_numpys_and_gradients_have_the_inputs_shapes(shapes, sign):
    a, b = positive(*shapes.input_shapes[0]), positive(*shapes.input_shapes[1], seed=1)
    p, q = Tensor(a, True), Tensor(b, True)
    y = BINARY[sign](p, q)
    np.testing.assert_array_equal(y.data, BINARY[sign](a, b))
    y.sum().backward()
    assert y.shape == shapes.result_shape and p.grad.shape == a.shape and q.grad.shape == b.shape
    if sign == "+":
        assert (p.grad.data == (y.size / p.size if p.size else 0)).all()


# --- shape ----------------------------------------------------------------------------------------
@settings(max_examples=80, deadline=None)
@given(st.data(), hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
def test_indexing_is_numpys_and_its_gradient_counts_how_often_an_element_was_taken(data, shape):
    index = data.draw(st.one_of(hnp.basic_indices(shape, allow_newaxis=True), hnp.integer_array_indices(shape)))
    a = numbers(*shape)
    x, counts = Tensor(a, True), np.zeros(shape)
    y = x[index]
    np.testing.assert_array_equal(y.data, a[index])
    y.sum().backward()
    np.add.at(counts, index, 1)
    np.testing.assert_array_equal(x.grad.data, counts)


@settings(max_examples=60, deadline=None)
@given(st.data(), hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
def test_sums_and_means_over_any_axes_are_numpys(data, shape):
    axes = data.draw(st.one_of(st.none(), st.integers(-len(shape), len(shape) - 1),
                               st.sets(st.integers(0, len(shape) - 1)).map(tuple)))
    keep, a = data.draw(st.booleans()), numbers(*shape)
    np.testing.assert_allclose(ops.sum(a, axes, keep).data, a.sum(axes, keepdims=keep), atol=1e-12)
    np.testing.assert_allclose(ops.mean(a, axes, keep).data, a.mean(axes, keepdims=keep), atol=1e-12)
    x = Tensor(a, True)
    ops.mean(x, axes, keep).sum().backward()
    np.testing.assert_allclose(x.grad.data, ops.mean(a, axes).size / a.size)


LINEAR = {                                   # A, and its adjoint is what its backward computes
    "reshape": lambda a: ops.reshape(a, 4, -1), "flatten": lambda a: ops.flatten(a, 1),
    "permute": lambda a: ops.permute(a, 2, 0, 1), "transpose": lambda a: ops.transpose(a, 0, 2),
    "sum": lambda a: ops.sum(a, (0, 2)), "mean": lambda a: ops.mean(a, 1, True),
    "broadcast": lambda a: ops.broadcast_to(a, (5, 2, 3, 4)), "slice": lambda a: a[:, 1:, ::-2],
    "gather": lambda a: a[np.array([0, 1, 1, 0]), :, np.array([3, 3, 3, 0])], "mask": lambda a: a[:, [True, False, True]],
    "cat": lambda a: ops.cat([a, a[:, :1], 2.0 * a], 1), "stack": lambda a: ops.stack([a, 3.0 * a], -1),
    "pad": lambda a: ops.pad(a, (1, 2, 0, 3)), "crop": lambda a: ops.pad(a, (-1, 0, -1, -1)),
    "pad and crop": lambda a: ops.pad(a, (-1, 2)), "new axis": lambda a: a[None, ..., None],
    "matmul by a constant": lambda a: a @ numbers(4, 5), "scale": lambda a: -2.5 * a, "over": lambda a: a / 3,
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_operations_and_their_backward_are_adjoint(name):
    x = Tensor(numbers(2, 3, 4), True)
    y = LINEAR[name](x)
    v, direction = Tensor(numbers(*y.shape, seed=1), True), Tensor(numbers(2, 3, 4, seed=2))
    back, = tv.grad(y, x, v, create_graph=True)
    np.testing.assert_allclose((LINEAR[name](direction).data * v.data).sum(), (direction.data * back.data).sum())
    again, = tv.grad(back, v, direction)             # the backward of the backward is A itself
    np.testing.assert_allclose(again.data, LINEAR[name](direction).data)


def test_shape_operations_equal_numpys():
    a = numbers(2, 3, 4)
    for ours, theirs in [
            (ops.reshape(a, (4, 6)), a.reshape(4, 6)), (ops.reshape(a, -1, 2), a.reshape(-1, 2)),
            (ops.flatten(a, 0, 1), a.reshape(6, 4)), (ops.permute(a, (1, 2, 0)), a.transpose(1, 2, 0)),
            (ops.permute(a, -1, 0, 1), a.transpose(2, 0, 1)), (ops.transpose(a), a.swapaxes(1, 2)),
            (ops.cat([a, a], -1), np.concatenate([a, a], -1)), (ops.stack([a, a], 1), np.stack([a, a], 1)),
            (ops.pad(a, (1, 0, 0, 2), value=7.0), np.pad(a, [(0, 0), (0, 2), (1, 0)], constant_values=7))]:
        np.testing.assert_array_equal(ours.data, theirs)


def test_pad_equals_pytorchs():
    torch = pytest.importorskip("torch")
    for margins, value in [((1, 2), 0.0), ((1, 2, 3, 0), -np.inf), ((-1, 1, 2, -1), 5.0), ((0, 0, 0, 0, 1, 1), 2.0)]:
        compare(lambda a: ops.pad(a, margins, value=value), lambda a: torch.nn.functional.pad(a, margins, value=value),
                numbers(2, 3, 4))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_with_other_places_equals_numpys(mode):
    a, names = numbers(3, 4, 5), {"replicate": "edge", "circular": "wrap"}
    for margins in ((2, 1), (0, 3, 2, 1), (1, 0, 0, 2, 2, 1)):
        pairs = [margins[k:k + 2] for k in range(len(margins) - 2, -1, -2)]
        wide = np.pad(a, [(0, 0)] * (3 - len(pairs)) + pairs, names.get(mode, mode))
        np.testing.assert_array_equal(ops.pad(a, margins, mode).numpy(), wide)
    np.testing.assert_array_equal(ops.pad(a, (-1, 2), mode).numpy(),
                                  ops.pad(a, (0, 2), mode).numpy()[..., 1:])


def test_cat_of_tensors_of_several_sizes_gives_each_its_gradient():
    torch = pytest.importorskip("torch")
    compare(lambda *t: ops.cat(t, 1) ** 2, lambda *t: torch.cat(t, 1) ** 2,
            numbers(2, 1, 3), numbers(2, 4, 3, seed=1), numbers(2, 0, 3, seed=2))


def test_stack_gives_each_tensor_its_gradient():
    torch = pytest.importorskip("torch")
    compare(lambda *t: ops.stack(t, 1) ** 2, lambda *t: torch.stack(t, 1) ** 2,
            numbers(2, 3), numbers(2, 3, seed=1))


def test_index_tensors_are_unwrapped():
    x, index = Tensor(numbers(4, 3), True), Tensor(np.array([3, 0, 3]))
    np.testing.assert_array_equal(x[index].data, x.data[[3, 0, 3]])
    np.testing.assert_array_equal(x[index, Tensor(np.array([0, 1, 2]))].data, x.data[[3, 0, 3], [0, 1, 2]])
    np.testing.assert_array_equal(x[x > 0].data, x.data[x.data > 0])


def test_the_sum_of_nothing_is_0():
    assert ops.sum(np.zeros((0, 3))).item() == 0 and ops.sum(np.zeros((0, 3)), 0).data.tolist() == [0, 0, 0]


def test_a_sum_of_many_float32_is_exact_enough():
    assert abs(ops.sum(np.full(10_000_000, 0.1, f4)).item() / 1e6 - 1) < 1e-6


# --- matmul ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("shapes", [
    ((3, 4), (4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (2, 4, 5)), ((2, 3, 4), (4, 5)),
    ((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (5, 4, 2)), ((2, 3, 4), (4,)), ((4,), (2, 4, 5)), ((0, 4), (4, 5)), ((3, 0), (0, 5))])
def test_matmul_equals_pytorchs_with_gradients_of_two_orders(shapes):
    compare(ops.matmul, lambda a, b: a @ b, numbers(*shapes[0]), numbers(*shapes[1], seed=1))


@pytest.mark.parametrize("x", [(3, 4), (4,), (2, 3, 4)])
def test_linear_equals_pytorchs(x):
    torch = pytest.importorskip("torch")
    compare(ops.linear, torch.nn.functional.linear, numbers(*x), numbers(5, 4, seed=1), numbers(5, seed=2))
    compare(ops.linear, torch.nn.functional.linear, numbers(*x), numbers(5, 4, seed=1))


# --- bad inputs -----------------------------------------------------------------------------------
A = np.zeros((2, 3), f4)
BAD = [
    (lambda: ops.reshape(A, 4, -1), "reshape: (2, 3) (6 elements) does not fit (4, -1)"),
    (lambda: ops.reshape(A, 5), "reshape: (2, 3) (6 elements) does not fit (5,)"),
    (lambda: ops.reshape(A, -1, -1), "does not fit (-1, -1)"),
    (lambda: ops.permute(A, 0), "permute: dims (0,) are no order of the 2 axes"),
    (lambda: ops.permute(A, 0, 2), "permute: dim 2 is out of range for a tensor with 2 axes"),
    (lambda: ops.permute(A, 0, 0), "permute: dims (0, 0) name one axis twice"),
    (lambda: ops.sum(A, 2), "sum: dim 2 is out of range for a tensor with 2 axes"),
    (lambda: ops.sum(A, (0, -2)), "sum: dims (0, -2) name one axis twice"),
    (lambda: ops.mean(A, -3), "mean: dim -3 is out of range for a tensor with 2 axes"),
    (lambda: ops.cat([]), "cat: got no tensors, expected at least one"),
    (lambda: ops.cat([A, A[:, :2]]), "cat: shapes [(2, 3), (2, 2)] differ elsewhere than along dim 0"),
    (lambda: ops.cat([A, A], 2), "cat: dim 2 is out of range for a tensor with 2 axes"),
    (lambda: ops.pad(A, (1,)), "pad: padding must be pairs for at most 2 axes, got (1,)"),
    (lambda: ops.pad(A, (1,) * 6), "pad: padding must be pairs for at most 2 axes"),
    (lambda: ops.pad(A, (3, 0), "reflect"), "pad: mode 'reflect' reaches 2 places beyond an axis of 3"),
    (lambda: ops.pad(A, (0, 4), "circular"), "pad: mode 'circular' reaches 3 places beyond an axis"),
    (lambda: ops.pad(A, (1, 1), "mirror"), "pad: mode is 'mirror', expected constant, reflect"),
    (lambda: ops.matmul(A, A), "matmul: inner sizes differ: (2, 3) @ (2, 3)"),
    (lambda: ops.matmul(A, np.float32(3)), "matmul: shapes (2, 3) and (), expected at least one axis each"),
    (lambda: ops.linear(A, np.zeros((4, 2))), "linear: weight has shape (4, 2) and x (2, 3)"),
    (lambda: Tensor(A) + np.zeros(4), "could not be broadcast together with shapes (2,3) (4,)"),
    (lambda: ops.broadcast_to(A, (2, 4)), "requested shape (2,4)"),
]


@pytest.mark.parametrize("call, message", BAD, ids=[message[:50] for _, message in BAD])
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_a_power_of_two_tensors_says_what_to_write():
    with pytest.raises(TypeError, match=re.escape("write exp(n * log(a)), which needs a > 0")):
        Tensor([1.0]) ** Tensor([2.0])


@pytest.mark.parametrize("f", [ops.exp, ops.relu, ops.sum, ops.mean, lambda a: ops.add(a, a), lambda a: ops.matmul(a, a)])
def test_words_are_no_numbers(f):
    with pytest.raises(TypeError, match="data must be numbers, got str"):
        f("words")


@pytest.mark.parametrize("index", [(0, 0, 0), 5, (0, 7)])
def test_an_index_out_of_range_raises_index_error(index):
    with pytest.raises(IndexError):
        Tensor(A)[index]


def test_plain_arrays_and_lists_are_welcome_and_results_are_tensors():
    for y in (ops.add(A, A), ops.mul([1, 2], [3, 4]), ops.exp(A), ops.sum([[1, 2]]), ops.cat([A, A]), ops.relu(A),
              ops.matmul(A, A.T), ops.linear(A, A), ops.leaky_relu([-1.0]), ops.pad(A, (1, 1)), ops.stack([A, A]), ops.flatten(A)):
        assert isinstance(y, Tensor) and y.dtype == f4 and not y.requires_grad


@pytest.mark.parametrize("index", [[2, 0, 1], [-1, 0], [1, 1, 0], [1, -2], []],
                         ids=["all", "some", "twice", "twice, from the end", "none"])
def test_the_gradient_of_chosen_rows_counts_every_choice(index):
    a, g = Tensor(np.ones((3, 2)), requires_grad=True), np.arange(1.0, 2 * len(index) + 1)
    g = g.reshape(-1, 2)
    a[np.array(index, int)].backward(g)
    expected = np.zeros((3, 2))
    for row, value in zip(index, g):
        expected[row] += value
    assert (a.grad.numpy() == expected).all()
