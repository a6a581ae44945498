"""conv2d and its transpose: the lectures' numbers, the trilinear identity, PyTorch, bad inputs."""
import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tinyvision as tv
from tinyvision import ops
from tinyvision.engine import Tensor
from tinyvision.ops.conv2d import Conv2d

f4, f8 = np.float32, np.float64
SLIDE_VALUES = [(1, 10, 100), (2, 3, 5), (-1, 0, 4), (7, -2, 1)]


def signal(*values):
    """(1, 1, W)."""
    return np.array(values, f8).reshape(1, 1, -1)


def image(rows):
    """(1, 1, H, W)."""
    return np.array(rows, f8)[None, None]


def whole(rng, *shape):
    """Whole numbers as float64: their sums are exact."""
    return rng.integers(-4, 5, shape).astype(f8)


# --- the lectures' numbers ------------------------------------------------------------------------
@pytest.mark.parametrize("x, y, z", SLIDE_VALUES)
def test_uw_1d_convolution_kernel_xyz_stride_2_padding_1(x, y, z):
    a, b, c, d = 1, 2, 3, 4
    found = ops.conv1d(signal(a, b, c, d), signal(x, y, z), stride=2, padding=1)
    assert found.data.ravel().tolist() == [a*y + b*z, b*x + c*y + d*z]


def test_uw_the_matrix_of_that_convolution_in_letters():
    X = ops.conv_matrix(np.array(["x", "y", "z"], object), 4, stride=2, padding=1)
    assert X.tolist() == [["x", "y", "z", 0, 0, 0],
                          [0, 0, "x", "y", "z", 0]]


@pytest.mark.parametrize("kernel", SLIDE_VALUES)
def test_uw_the_convolution_is_that_matrix_times_the_padded_signal(kernel):
    a = np.array([3, -1, 4, 2])
    X = ops.conv_matrix(np.array(kernel), 4, stride=2, padding=1)
    assert X.shape == (2, 6)
    found = ops.conv1d(signal(*a), signal(*kernel), stride=2, padding=1)
    assert found.data.ravel().tolist() == (X @ np.pad(a, 1)).tolist()


@pytest.mark.parametrize("x, y, z", SLIDE_VALUES)
def test_uw_1d_transposed_convolution_is_the_transposed_matrix(x, y, z):
    a, b = 3, -5
    found = ops.conv_transpose1d(signal(a, b), signal(x, y, z), stride=2, output_padding=1)
    assert found.data.ravel().tolist() == [a*x, a*y, a*z + b*x, b*y, b*z, 0]
    X = ops.conv_matrix(np.array([x, y, z]), 4, stride=2, padding=1)
    assert found.data.ravel().tolist() == (X.T @ [a, b]).tolist()


def test_uw_without_output_padding_there_are_five_values():
    assert ops.conv_transpose1d(signal(3, -5), signal(1, 2, 3), stride=2).shape == (1, 1, 5)


GT_X = image([[120, 150, 120],
              [100, 50, 110],
              [25, 25, 10]])
GT_K = image([[1, -1],
              [2, -2]])


def test_gt_transposed_convolution_3x3_with_2x2():
    assert ops.conv_transpose2d(GT_X, GT_K).data[0, 0].tolist() == [
        [120, 30, -30, -120],
        [340, 10, 0, -350],
        [225, -100, 105, -230],
        [50, 0, -30, -20]]


def test_gt_the_first_two_stamps():
    first_two = GT_X * image([[1, 1, 0], [0, 0, 0], [0, 0, 0]])
    assert ops.conv_transpose2d(first_two, GT_K).data[0, 0].tolist() == [
        [120, -120 + 150, -150, 0],
        [240, -240 + 300, -300, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0]]


def test_gt_convolution_of_the_same_numbers():
    assert ops.conv2d(GT_X, GT_K).data[0, 0].tolist() == [
        [120 - 150 + 2*100 - 2*50, 150 - 120 + 2*50 - 2*110],
        [100 - 50 + 2*25 - 2*25, 50 - 110 + 2*25 - 2*10]]


def test_ke_uw_2x2_to_4x4_with_3x3_stride_2_padding_1_output_padding_1():
    y = ops.conv_transpose2d(image([[1, 2], [3, 4]]), np.ones((1, 1, 3, 3)), stride=2, padding=1,
                             output_padding=1)
    assert y.data[0, 0].tolist() == [[1, 1 + 2, 2, 2],
                                     [1 + 3, 1 + 2 + 3 + 4, 2 + 4, 2 + 4],
                                     [3, 3 + 4, 4, 4],
                                     [3, 3 + 4, 4, 4]]


def test_convolution_does_not_flip_the_kernel():
    one = np.zeros((1, 1, 3, 3))
    one[0, 0, 1, 1] = 1
    kernel = np.arange(9.0).reshape(1, 1, 3, 3)
    assert ops.conv2d(one, kernel, padding=1).data[0, 0].tolist() == [[8, 7, 6], [5, 4, 3], [2, 1, 0]]
    assert ops.conv_transpose2d(one, kernel, padding=1).data[0, 0].tolist() == kernel[0, 0].tolist()


@pytest.mark.parametrize("size, stride, padding, dilation", [
    ((5, 6), 1, 0, 1), ((5, 6), 2, 1, 1), ((7, 6), (2, 1), (1, 2), (2, 1))])
def test_an_image_convolution_is_a_matrix_too(size, stride, padding, dilation):
    rng = np.random.default_rng(0)
    x, w = whole(rng, *size), whole(rng, 3, 2)
    X = ops.conv_matrix(w, size, stride, padding, dilation)
    margins = np.broadcast_to(padding, 2)
    y = ops.conv2d(x[None, None], w[None, None], None, stride, padding, dilation)
    assert y.data.ravel().tolist() == (X @ np.pad(x, [(p, p) for p in margins]).ravel()).tolist()


def test_conv_matrix_takes_one_size_an_axis():
    with pytest.raises(ValueError, match="conv_matrix: weight has shape .* expected one size for every axis"):
        ops.conv_matrix(np.ones((3, 3)), 5)


# --- the trilinear form ---------------------------------------------------------------------------
@st.composite
def convolutions(draw):
    """(op, x, w, y): arrays that fit, of whole numbers; all hyper-parameters differ down and across."""
    def two(least, most):
        return draw(st.tuples(st.integers(least, most), st.integers(least, most)))
    G = draw(st.integers(1, 3))
    N, C, F = (draw(st.integers(least, 3)) for least in (0, 1, 1))
    op = Conv2d(two(1, 3), two(0, 3), two(1, 3), G)
    (H, W), (I, J) = two(1, 8), two(1, 4)
    A, B = op.size(H, W, I, J)
    assume(min(A, B) >= 1)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    return op, whole(rng, N, C * G, H, W), whole(rng, F * G, C, I, J), whole(rng, N, F * G, A, B)


@settings(max_examples=150, deadline=None)
@given(convolutions())
def test_one_trilinear_form_read_in_three_ways(case):
    op, x, w, y = case
    form = (op(x, w).data * y).sum()
    assert form == (x * op.transpose(x.shape[2:])(y, w).data).sum()
    assert form == (w * op.weight(w.shape)(x, y).data).sum()


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_the_gradients_are_the_two_others_also_of_the_others(case):
    op, x, w, y = (t if isinstance(t, Conv2d) else Tensor(t, True) for t in case)
    form = (op(x, w) * y).sum()
    gradients = tv.grad(form, (x, w, y))
    for other in ((op.transpose(x.shape[2:])(y, w) * x).sum(), (op.weight(w.shape)(x, y) * w).sum()):
        assert other.item() == form.item()
        for ours, theirs in zip(tv.grad(other, (x, w, y)), gradients):
            np.testing.assert_array_equal(ours.data, theirs.data)


# --- PyTorch --------------------------------------------------------------------------------------
SETTINGS = {                                        # x, weight, hyper-parameters
    "plain": ((2, 3, 7, 6), (4, 3, 3, 3), {}), "1x1": ((2, 5, 4, 3), (6, 5, 1, 1), {}),
    "stride 2": ((2, 3, 8, 7), (4, 3, 3, 3), dict(stride=2, padding=1)),
    "uneven": ((2, 3, 9, 7), (4, 3, 2, 5), dict(stride=(2, 1), padding=(0, 2), dilation=(3, 1))),
    "groups": ((2, 6, 5, 4), (9, 2, 3, 3), dict(padding=1, groups=3)),
    "depthwise": ((2, 5, 6, 7), (5, 1, 3, 3), dict(padding=1, groups=5)),
    "depthwise, twice the channels": ((2, 3, 6, 7), (6, 1, 3, 3), dict(stride=2, groups=3)),
    "1x1 stride 2": ((2, 3, 6, 5), (4, 3, 1, 1), dict(stride=2)),
    "whole image": ((2, 3, 4, 5), (6, 3, 4, 5), {}), "no images": ((0, 3, 6, 5), (4, 3, 3, 3), dict(padding=1)),
    "only padding": ((1, 2, 1, 1), (3, 2, 3, 3), dict(padding=2)),
    "7x7 of a stem": ((1, 3, 20, 18), (8, 3, 7, 7), dict(stride=2, padding=3)),
}


def numbers(*shape, dtype=f8, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def compare(ours, theirs, x, w, b, tolerance):
    """Forward, a random cotangent back, and all three gradients."""
    torch = pytest.importorskip("torch")
    a = [Tensor(t, True) for t in (x, w, b)]
    t = [torch.tensor(t, requires_grad=True) for t in (x, w, b)]
    y, z = ours(*a), theirs(*t)
    g = numbers(*z.shape, dtype=x.dtype, seed=9)
    assert y.shape == tuple(z.shape) and y.dtype == x.dtype
    y.backward(g)
    z.backward(torch.tensor(g))
    for left, right in [(y.data, z.detach()), *((p.grad.data, q.grad) for p, q in zip(a, t))]:
        np.testing.assert_allclose(left, right.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype, tolerance", [(f4, 2e-4), (f8, 1e-10)])
@pytest.mark.parametrize("name", SETTINGS)
def test_conv2d_equals_pytorchs_forward_and_backward(name, dtype, tolerance):
    torch = pytest.importorskip("torch")
    X, W, options = SETTINGS[name]
    compare(lambda x, w, b: ops.conv2d(x, w, b, **options),
            lambda x, w, b: torch.nn.functional.conv2d(x, w, b, **options),
            numbers(*X, dtype=dtype), numbers(*W, dtype=dtype, seed=1), numbers(W[0], dtype=dtype, seed=2),
            tolerance)


TRANSPOSED = {
    "plain": ((2, 3, 4, 5), (3, 4, 3, 3), {}), "FCN": ((1, 2, 3, 4), (2, 2, 4, 4), dict(stride=2, padding=1)),
    "output padding": ((2, 3, 4, 3), (3, 5, 3, 3), dict(stride=2, padding=1, output_padding=1)),
    "uneven": ((2, 3, 4, 5), (3, 4, 2, 3), dict(stride=(3, 1), padding=(0, 1), dilation=(1, 2), output_padding=(2, 1))),
    "groups": ((2, 6, 4, 3), (6, 2, 3, 3), dict(groups=3, stride=2)), "U-Net": ((1, 4, 5, 5), (4, 2, 2, 2), dict(stride=2)),
    "depthwise": ((2, 4, 4, 3), (4, 1, 4, 4), dict(groups=4, stride=2, padding=1)),
    "no images": ((0, 3, 4, 3), (3, 2, 3, 3), {}), "stride beyond the kernel": ((1, 2, 3, 3), (2, 2, 1, 1), dict(stride=3)),
}


@pytest.mark.parametrize("dtype, tolerance", [(f4, 2e-4), (f8, 1e-10)])
@pytest.mark.parametrize("name", TRANSPOSED)
def test_conv_transpose2d_equals_pytorchs_forward_and_backward(name, dtype, tolerance):
    torch = pytest.importorskip("torch")
    X, W, options = TRANSPOSED[name]
    channels = W[1] * options.get("groups", 1)
    compare(lambda x, w, b: ops.conv_transpose2d(x, w, b, **options),
            lambda x, w, b: torch.nn.functional.conv_transpose2d(x, w, b, **options),
            numbers(*X, dtype=dtype), numbers(*W, dtype=dtype, seed=1), numbers(channels, dtype=dtype, seed=2),
            tolerance)


def test_conv1d_and_its_transpose_equal_pytorchs():
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    compare(lambda x, w, b: ops.conv1d(x, w, b, 2, 1, 2), lambda x, w, b: F.conv1d(x, w, b, 2, 1, 2),
            numbers(2, 3, 9), numbers(4, 3, 3), numbers(4), 1e-10)
    compare(lambda x, w, b: ops.conv_transpose1d(x, w, b, 3, 1, 1, 3, 2),
            lambda x, w, b: F.conv_transpose1d(x, w, b, 3, 1, 1, 3, 2),
            numbers(2, 3, 5), numbers(3, 2, 3), numbers(6), 1e-10)


# --- inputs of every kind -------------------------------------------------------------------------
@pytest.mark.parametrize("op", [ops.conv2d, ops.conv_transpose2d])
def test_inputs_need_not_be_contiguous(op):
    x, w = numbers(6, 7, 2, 3), numbers(3, 6, 3, 6)[:, ::2, :, ::2]
    view = x.transpose(2, 3, 0, 1)[:, :, ::-1]
    np.testing.assert_allclose(op(view, w).data, op(view.copy(), w.copy()).data, rtol=1e-12)


def test_read_only_inputs_are_fine_and_stay_as_they_are():
    x, w = np.broadcast_to(f8(2), (1, 2, 4, 4)), np.broadcast_to(f8(1), (1, 2, 3, 3))
    assert (ops.conv2d(x, w).data == 36).all()


@pytest.mark.parametrize("op", [ops.conv2d, ops.conv_transpose2d])
def test_mixed_dtypes_are_promoted_and_each_gradient_has_its_inputs(op):
    x, w, b = (Tensor(a, True) for a in (numbers(1, 2, 4, 4, dtype=f4), numbers(2, 2, 3, 3), numbers(2, dtype=f4)))
    y = op(x, w, b)
    y.sum().backward()
    assert y.dtype == f8 and (x.grad.dtype, w.grad.dtype, b.grad.dtype) == (f4, f8, f4)


def test_a_float64_bias_beside_float32():
    x, w, b = numbers(1, 2, 4, 4, dtype=f4), numbers(2, 2, 3, 3, dtype=f4), Tensor([1.0, 2.0], True)
    b64 = Tensor(np.array([1.0, 2.0]), True)
    np.testing.assert_allclose(ops.conv2d(x, w, b64).data, ops.conv2d(x, w, b).data, rtol=1e-6)
    ops.conv2d(x, w, b64).sum().backward()
    assert b64.grad.dtype == f8 and b64.grad.data.tolist() == [4, 4]


def test_images_of_bytes_are_taken_as_numbers():
    x = np.full((1, 1, 3, 3), 200, np.uint8)
    y = ops.conv2d(x, np.ones((1, 1, 3, 3), f4))
    assert y.item() == 1800 and y.dtype == f4


def test_lists_are_taken_as_float32():
    assert ops.conv2d([[[[1, 2], [3, 4]]]], [[[[1, 1], [1, 1]]]]).data.tolist() == [[[[10]]]]


def test_an_empty_batch_has_gradients_of_zero():
    x, w, b = Tensor(np.zeros((0, 3, 6, 6)), True), Tensor(numbers(4, 3, 3, 3), True), Tensor(numbers(4), True)
    y = ops.conv2d(x, w, b)
    y.sum().backward()
    assert y.shape == (0, 4, 4, 4) and x.grad.shape == (0, 3, 6, 6)
    assert not w.grad.data.any() and not b.grad.data.any()


def test_infinities_and_nan_go_where_they_belong():
    x = np.zeros((1, 1, 3, 5), f4)
    x[0, 0, 1, 0] = np.inf
    y = ops.conv2d(x, np.ones((1, 1, 3, 3), f4)).data
    assert np.isinf(y[..., 0]).all() and (y[..., 1:] == 0).all()


# --- bad inputs -----------------------------------------------------------------------------------
X, W = np.zeros((2, 3, 8, 8), f4), np.zeros((5, 3, 3, 3), f4)
BAD = [
    (lambda: ops.conv2d(X, np.zeros((5, 4, 3, 3))),
     "conv2d: weight has 4 input channels per group, x has 3 (x is (2, 3, 8, 8), groups=1)"),
    (lambda: ops.conv2d(X, W, groups=2),
     "conv2d: weight has 3 input channels per group, x has 1.5 (x is (2, 3, 8, 8), groups=2)"),
    (lambda: ops.conv2d(X, np.zeros((5, 1, 3, 3)), groups=3), "conv2d: weight has 5 filters, which groups=3 does not divide"),
    (lambda: ops.conv2d(X[0], W), "conv2d: x has shape (3, 8, 8), expected 4 axes"),
    (lambda: ops.conv2d(X, W[0]), "conv2d: weight has shape (3, 3, 3), expected 4 axes"),
    (lambda: ops.conv2d(X, W, np.zeros(3)), "conv2d: bias has shape (3,), expected (5,)"),
    (lambda: ops.conv2d(X, W, np.zeros((5, 1))), "conv2d: bias has shape (5, 1), expected (5,)"),
    (lambda: ops.conv2d(X, W, stride=0), "conv2d: stride is 0, expected at least 1"),
    (lambda: ops.conv2d(X, W, stride=(1, -2)), "conv2d: stride is -2, expected at least 1"),
    (lambda: ops.conv2d(X, W, padding=-1), "conv2d: padding is -1, expected at least 0"),
    (lambda: ops.conv2d(X, W, dilation=0), "conv2d: dilation is 0, expected at least 1"),
    (lambda: ops.conv2d(X, W, groups=0), "conv2d: groups is 0, expected at least 1"),
    (lambda: ops.conv2d(X, W[:, :, :0]), "conv2d: weight's smallest size is 0, expected at least 1"),
    (lambda: ops.conv2d(X, np.zeros((5, 3, 9, 3))), "conv2d: the kernel (9, 3) with dilation (1, 1) is larger than the "
     "padded image (x is (2, 3, 8, 8), padding (0, 0))"),
    (lambda: ops.conv2d(X, W, dilation=4), "conv2d: the kernel (3, 3) with dilation (4, 4) is larger than"),
    (lambda: ops.conv2d(X[..., :0], W), "is larger than the padded image"),
    (lambda: ops.conv_transpose2d(X, W), "conv_transpose2d: weight has 5 input channels, x has 3 (x is (2, 3, 8, 8))"),
    (lambda: ops.conv_transpose2d(X, W[:3], groups=2), "conv_transpose2d: x has 3 channels, which groups=2 does not divide"),
    (lambda: ops.conv_transpose2d(X, W[:3], stride=2, output_padding=2),
     "conv_transpose2d: output_padding (2, 2) must be smaller than stride (2, 2) or dilation (1, 1)"),
    (lambda: ops.conv_transpose2d(X, W[:3], output_padding=1), "output_padding (1, 1) must be smaller than"),
    (lambda: ops.conv_transpose2d(X, W[:3], output_padding=-1), "conv_transpose2d: output_padding is -1, expected at least 0"),
    (lambda: ops.conv_transpose2d(X, W[:3], padding=5), "conv_transpose2d: padding (5, 5) leaves an image of size (0, 0)"),
    (lambda: ops.conv_transpose2d(X, W[:3], np.zeros(5)), "conv_transpose2d: bias has shape (5,), expected (3,)"),
    (lambda: ops.conv_transpose2d(X[0], W), "conv_transpose2d: x has shape (3, 8, 8), expected 4 axes"),
    (lambda: ops.conv_transpose2d(X, W[:3, :, :0]), "conv_transpose2d: weight's smallest size is 0, expected at least 1"),
    (lambda: ops.conv1d(X, W), "conv1d: x has shape (2, 3, 8, 8), expected 3 axes"),
    (lambda: ops.conv1d(X[:, :, 0], W[:, :, 0], stride=0), "stride is 0, expected at least 1"),
]


@pytest.mark.parametrize("call, message", BAD, ids=[message[:60] for _, message in BAD])
def test_shapes_that_do_not_fit_are_named(call, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [dict(stride=1.5), dict(padding="same"), dict(stride=(1, 2, 3)),
                                     dict(dilation=None), dict(padding=(0.5, 1)), dict(stride=True)])
def test_hyper_parameters_of_another_kind_are_named(options):
    name, = options
    with pytest.raises(TypeError, match=f"conv2d: {name} is .*, expected"):
        ops.conv2d(X, W, **options)


def test_a_cotangent_of_another_batch_size_is_named():
    y = ops.conv2d(Tensor(X, True), W)
    with pytest.raises(ValueError, match=r"cotangent has shape \(1, 5, 6, 6\), the output \(2, 5, 6, 6\)"):
        y.backward(np.zeros((1, 5, 6, 6), f4))


def test_the_graph_names_the_hyper_parameters():
    y = ops.conv2d(Tensor(X, True), W, stride=2, padding=1)
    assert repr(y.op) == "Conv2d(stride=(2, 2), padding=(1, 1), dilation=(1, 1), groups=1)"
