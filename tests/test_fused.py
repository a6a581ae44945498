"""Fused operations: as exact as PyTorch's, in any layout, with NaN, infinities and no elements."""
import numpy as np
import pytest

import tinyvision as tv
from tinyvision import ops
from tinyvision.ops.elementwise import SERIAL, SMALL
from tinyvision.simd import use_lanes

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 89.0, -90.0, 5.0, -5.0, 1e-30])


def numbers(*shape, scale=1.0, dtype="f4", seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(dtype)


def pairs():
    """{name: (ours, PyTorch's)}: functions of one tensor."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    return {"relu": (ops.relu, F.relu), "leaky_relu": (ops.leaky_relu, F.leaky_relu),
            "exp": (ops.exp, torch.exp), "tanh": (ops.tanh, torch.tanh),
            "sigmoid": (ops.sigmoid, torch.sigmoid), "gelu": (ops.gelu, F.gelu),
            "gelu tanh": (lambda x: ops.gelu(x, "tanh"), lambda x: F.gelu(x, approximate="tanh")),
            "softmax": (lambda x: ops.softmax(x, -1), lambda x: torch.softmax(x, -1)),
            "log_softmax": (lambda x: ops.log_softmax(x, 0), lambda x: torch.log_softmax(x, 0)),
            "layer_norm": (lambda x: ops.layer_norm(x, x.shape[-1]),
                           lambda x: F.layer_norm(x, x.shape[-1:])),
            "batch_norm": (lambda x: ops.batch_norm(x, None, None, training=True),
                           lambda x: F.batch_norm(x, None, None, training=True)),
            "group_norm": (lambda x: ops.group_norm(x, 3), lambda x: F.group_norm(x, 3))}


NAMES = ("relu", "leaky_relu", "exp", "tanh", "sigmoid", "gelu", "gelu tanh", "softmax",
         "log_softmax", "layer_norm", "batch_norm", "group_norm")
ELEMENTWISE = NAMES[:7]


def with_gradient(ours, theirs, x, g):
    """(result, gradient) of both, as arrays."""
    import torch
    a, b = tv.Tensor(x, True), torch.tensor(np.array(x, order="C"), requires_grad=True)
    y, z = ours(a), theirs(b)
    y.backward(g)
    z.backward(torch.tensor(np.ascontiguousarray(g)))
    return (y.numpy(), a.grad.numpy()), (z.detach().numpy(), b.grad.numpy())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(7, 6, 31, 17), (3, 12, 50, 64), (40, 300)])
def test_errors_are_at_most_four_times_pytorchs(name, shape):
    ours, theirs = pairs()[name]
    x, g = numbers(*shape, scale=2), numbers(*shape, seed=1)
    found, others = with_gradient(ours, theirs, x, g)
    _, exact = with_gradient(ours, theirs, x.astype("f8"), g.astype("f8"))
    for a, b, right in zip(found, others, exact):
        floor = np.finfo("f4").eps * abs(right).max()
        assert a.dtype == np.float32
        assert abs(a - right).max() <= max(4 * abs(b - right).max(), floor)


@pytest.mark.parametrize("name", NAMES)
def test_float64_is_pytorchs_to_the_twelfth_digit(name):
    ours, theirs = pairs()[name]
    x, g = numbers(5, 6, 17, 19, dtype="f8"), numbers(5, 6, 17, 19, dtype="f8", seed=1)
    for a, b in zip(*with_gradient(ours, theirs, x, g)):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_transposed_and_read_only_inputs(name):
    ours, theirs = pairs()[name]
    x, g = numbers(40, 12, 6, 5).transpose(3, 2, 0, 1)[:, :, ::-1], numbers(5, 6, 40, 12)[..., ::-1]
    x.flags.writeable = False
    for a, b in zip(*with_gradient(ours, theirs, np.asarray(x), g)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "batch_norm"])
@pytest.mark.parametrize("shape", [(0, 6, 4), (2, 6, 0)])
def test_no_elements(name, shape):
    ours, _ = pairs()[name]
    x = tv.Tensor(np.zeros(shape, "f4"), True)
    if name == "layer_norm" and 0 in shape[1:]:
        return
    ours(x).sum().backward()
    assert x.grad.shape == shape


@pytest.mark.parametrize("size", [1, SMALL, SERIAL])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_nan_and_infinities_are_pytorchs(name, size):
    """In small arrays, which NumPy does, on one core and on all. gelu(inf) is inf (PyTorch: NaN)."""
    ours, theirs = pairs()[name]
    special = SPECIAL[~np.isinf(SPECIAL)] if "gelu" in name else SPECIAL
    for dtype in ("f4", "f8"):
        x = np.tile(special.astype(dtype), size)
        with np.errstate(all="ignore"):
            found, expected = with_gradient(ours, theirs, x, np.ones_like(x))
        for a, b in zip(found, expected):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_gelu_of_infinities():
    with np.errstate(invalid="ignore"):
        for approximate in ("none", "tanh"):
            y = ops.gelu(np.array([np.inf, -np.inf], "f4"), approximate).numpy()
            assert y[0] == np.inf and (np.isnan(y[1]) or y[1] == 0)


@pytest.mark.parametrize("row", [[np.nan, 1, 2], [np.inf, 1, 2], [-np.inf] * 3, [-np.inf, 1, 2],
                                 [-np.nan, 1, 2], [1e30, -1e30, 0]])
@pytest.mark.parametrize("dim", [0, 1])
def test_special_scores_are_pytorchs(row, dim):
    torch = pytest.importorskip("torch")
    x = np.tile(np.array(row, "f4"), (5, 1)) if dim else np.tile(np.array(row, "f4"), (5, 1)).T
    for name in ("softmax", "log_softmax"):
        with np.errstate(all="ignore"):
            a = getattr(ops, name)(np.ascontiguousarray(x), dim).numpy()
        b = getattr(torch, name)(torch.tensor(x), dim).numpy()
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-30)


def test_far_from_zero_the_variance_is_still_right():
    """A mean of 1000, a border of zeros: sums of squares would cancel, squares about means do not."""
    x = 1000 + numbers(4, 3, 50, 60)
    x[0, :, 0] = 0
    moments = ops.batch_norm.__globals__["statistics"](x)
    np.testing.assert_allclose(moments[1], x.astype("f8").var((0, 2, 3)), rtol=1e-4)


def test_inference_uses_the_running_statistics_and_has_their_gradient():
    torch = pytest.importorskip("torch")
    x, w, b = numbers(3, 4, 5, 6), numbers(4, seed=1), numbers(4, seed=2)
    m, v = numbers(4, seed=3), abs(numbers(4, seed=4)) + 0.5
    ours = [tv.Tensor(a, True) for a in (x, w, b)]
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    y = ops.batch_norm(ours[0], m, v, *ours[1:])
    z = torch.nn.functional.batch_norm(theirs[0], torch.tensor(m), torch.tensor(v), *theirs[1:])
    g = numbers(3, 4, 5, 6, seed=5)
    y.backward(g)
    z.backward(torch.tensor(g))
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-5, atol=1e-5)
    for a, t in zip(ours, theirs):
        np.testing.assert_allclose(a.grad.numpy(), t.grad.numpy(), rtol=1e-4, atol=1e-4)


# --- attention ------------------------------------------------------------------------------------
@pytest.mark.parametrize("options", [{}, {"scale": 0.3}, {"is_causal": True}, {"mask": "bool"},
                                     {"mask": "float"}])
def test_attention_is_pytorchs(options):
    torch = pytest.importorskip("torch")
    options = dict(options)
    q, k, v = numbers(2, 3, 7, 5), numbers(2, 3, 9, 5, seed=1), numbers(2, 3, 9, 4, seed=2)
    mask = options.pop("mask", None)
    if mask:
        mask = numbers(7, 9, seed=3) > 0 if mask == "bool" else numbers(7, 9, seed=3)
    ours = [tv.Tensor(a, True) for a in (q, k, v)]
    theirs = [torch.tensor(a, requires_grad=True) for a in (q, k, v)]
    y = ops.scaled_dot_product_attention(*ours, attn_mask=mask, **options)
    z = torch.nn.functional.scaled_dot_product_attention(
        *theirs, attn_mask=None if mask is None else torch.tensor(mask), **options)
    g = numbers(*y.shape, seed=4)
    y.backward(g)
    z.backward(torch.tensor(g))
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-4, atol=1e-5)
    for a, t in zip(ours, theirs):
        np.testing.assert_allclose(a.grad.numpy(), t.grad.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shut", [False, -np.inf])
def test_a_query_that_may_look_nowhere_gets_zeros(shut):
    q, mask = tv.Tensor(numbers(3, 5), True), np.full((3, 4), shut is False, type(shut))
    mask[1] = shut
    y = ops.scaled_dot_product_attention(q, numbers(4, 5), numbers(4, 2), mask)
    y.sum().backward()
    assert (y.numpy()[1] == 0).all() and np.isfinite(q.grad.numpy()).all()


def test_dropped_weights_keep_the_mean():
    tv.manual_seed(0)
    v = np.ones((200, 3), "f4")
    y = ops.scaled_dot_product_attention(numbers(100, 4), numbers(200, 4), v, dropout_p=0.25)
    assert abs(y.numpy().mean() - 1) < 0.05 and y.numpy().std() > 0.01


def heads(Z, T, S, E, F):
    """(q, k, v, g) of attention."""
    return (numbers(Z, T, E), numbers(Z, S, E, seed=1), numbers(Z, S, F, seed=2),
            numbers(Z, T, F, seed=3))


def attention_with_gradients(options, q, k, v, g):
    tensors = [tv.Tensor(a, True) for a in (q, k, v)]
    tv.manual_seed(0)
    y = ops.scaled_dot_product_attention(*tensors, **options)
    y.backward(g)
    return [y.numpy(), *(t.grad.numpy() for t in tensors)]


@pytest.mark.parametrize("sizes", [(8, 3, 4, 5, 6), (9, 197, 197, 64, 64), (8, 300, 600, 33, 70),
                                   (8, 600, 300, 300, 70), (8, 1, 1, 1, 1)])
@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"mask": "bool"}, {"mask": "float"},
                                     {"dropout_p": 0.3, "scale": 0.2}])
def test_fused_attention_is_the_composed_one(sizes, options):
    """Of float64: float32's errors are at most four times those of the composed float32 path."""
    arrays, options = heads(*sizes), dict(options)
    kind, shape = options.pop("mask", None), (1 if sizes[0] == 9 else sizes[0], *sizes[1:3])
    if kind:
        mask = numbers(*shape, seed=4)
        options["attn_mask"] = mask if kind == "float" else mask > -0.5
    found = attention_with_gradients(options, *arrays)
    with use_lanes(0):
        other = attention_with_gradients(options, *arrays)
        right = attention_with_gradients(options, *(a.astype("f8") for a in arrays))
    for a, b, exact in zip(found, other, right):
        assert a.dtype == np.float32
        floor = 4 * np.finfo("f4").eps * max(1, abs(exact).max())
        assert abs(a - exact).max() <= max(4 * abs(b - exact).max(), floor)


def test_fused_attention_takes_any_layout_and_is_the_same_from_run_to_run():
    q, k, v, g = heads(8, 50, 60, 16, 16)
    first = attention_with_gradients({}, q, k, v, g)
    turned = [a.reshape(2, 4, *a.shape[1:]).swapaxes(1, 2).copy().swapaxes(1, 2)
              for a in (q, k, v, g)]
    for a, b in zip(first, attention_with_gradients({}, *turned)):
        np.testing.assert_array_equal(a, b.reshape(a.shape))


def test_queries_that_may_look_nowhere_get_zeros_from_the_fused_kernel():
    mask = np.ones((8, 50, 60), bool)
    mask[3, 7:9] = False
    for given in (mask, np.where(mask, 0, -np.inf).astype("f4")):
        y, *gradients = attention_with_gradients({"attn_mask": given}, *heads(8, 50, 60, 16, 16))
        assert (y[3, 7:9] == 0).all() and (gradients[0][3, 7:9] == 0).all()
        assert all(np.isfinite(a).all() for a in gradients)


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"dropout_p": 0.3}])
def test_second_gradients_of_fused_attention(options):
    """In float32 on the register tile, in float64 by products of whole arrays."""
    found = []
    for dtype in ("f4", "f8"):
        *qkv, g = (tv.Tensor(a.astype(dtype), True) for a in heads(8, 5, 6, 4, 3))
        tv.manual_seed(0)
        y = ops.scaled_dot_product_attention(*qkv, **options)
        first = tv.grad(y, qkv, g, create_graph=True)
        found.append(tv.grad(sum((d * d).sum() for d in first), [*qkv, g]))
    for a, b in zip(*found):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-3)


# --- bad input ------------------------------------------------------------------------------------
@pytest.mark.parametrize("call, words", [
    (lambda x: ops.gelu(x, "erf"), "gelu: approximate is 'erf'"),
    (lambda x: ops.layer_norm(x, 5), r"layer_norm: x has shape \(2, 3, 4\)"),
    (lambda x: ops.layer_norm(x, 4, np.ones(3)), r"layer_norm: weight has shape \(3,\)"),
    (lambda x: ops.group_norm(x, 2), "group_norm: x has shape"),
    (lambda x: ops.group_norm(x, 3, np.ones(4)), r"group_norm: weight has shape \(4,\)"),
    (lambda x: ops.scaled_dot_product_attention(x, x[:, :, 1:], x), "expected .* and .*S, F"),
    (lambda x: ops.scaled_dot_product_attention(x, x, x, dropout_p=1.0), "dropout_p=1.0"),
    (lambda x: ops.scaled_dot_product_attention(x, x, x, np.ones((3, 3), bool), is_causal=True),
     "is_causal or a mask"),
    (lambda x: ops.cross_entropy(x, np.zeros((2, 4), int), label_smoothing=2.0),
     "label_smoothing is 2.0")])
def test_bad_input_is_refused_in_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call(numbers(2, 3, 4))
