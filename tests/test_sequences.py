"""Recurrent layers, embedding, attention, transformer blocks: PyTorch's numbers and names."""
import re

import numpy as np
import pytest

import tinyvision as tv
from tinyvision import nn, ops

KINDS = "RNN", "LSTM", "GRU"


def pytorch():
    return pytest.importorskip("torch")


def largest(a, b):
    """The largest difference, in parts of b's largest number."""
    return np.abs(a - b).max(initial=0) / max(np.abs(b).max(initial=0), 1e-30)


def twins(ours, theirs, dtype):
    """Give both layers the same random weights, by name; the names must be the same."""
    torch, rng = pytorch(), np.random.default_rng(1)
    state = {k: rng.uniform(-0.6, 0.6, v.shape) for k, v in theirs.state_dict().items()}
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in state.items()}
    assert list(ours.state_dict()) == list(state)
    theirs.to(getattr(torch, {"f4": "float32", "f8": "float64"}[dtype]))
    theirs.load_state_dict({k: torch.tensor(v.astype(dtype)) for k, v in state.items()})
    for name, p in ours.named_parameters():
        p.data = state[name].astype(dtype)
        p.requires_grad = False
        p.requires_grad = True                               # a leaf of the new dtype
    return ours, theirs


def flat(outputs):
    """The tensors of nested tuples; None is left out."""
    if isinstance(outputs, (tuple, list)):
        return [t for part in outputs for t in flat(part)]
    return [] if outputs is None else [outputs]


def compare(ours, theirs, inputs, dtype, call=lambda layer, *xs: layer(*xs)):
    """Results, gradients of inputs and of parameters: all as PyTorch has them."""
    torch, tolerance = pytorch(), 1e-5 if dtype == "f4" else 1e-9
    ours, theirs = twins(ours, theirs, dtype)
    xs = [tv.Tensor(a.astype(dtype), requires_grad=True) for a in inputs]
    ts = [torch.tensor(a.astype(dtype), requires_grad=True) for a in inputs]
    y, z = flat(call(ours, *xs)), flat(call(theirs, *ts))
    rng, total, other = np.random.default_rng(2), 0, 0
    assert len(y) == len(z)
    for a, b in zip(y, z):
        assert a.dtype == dtype and largest(a.numpy(), b.detach().numpy()) < tolerance
        g = rng.standard_normal(a.shape).astype(dtype)
        total, other = total + (a * g).sum(), other + (b * torch.tensor(g)).sum()
    total.backward()
    other.backward()
    for a, b in zip(xs, ts):
        assert largest(a.grad.numpy(), b.grad.numpy()) < tolerance
    found = dict(theirs.named_parameters())
    scale = max(float(abs(p.grad).max()) for p in found.values())
    for name, p in ours.named_parameters():
        apart = abs(p.grad.numpy() - found[name].grad.numpy()).max()
        assert apart < tolerance * scale, (name, apart)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# --- cells ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind, options", [("RNNCell", {}), ("RNNCell", {"nonlinearity": "relu"}),
                                           ("LSTMCell", {}), ("GRUCell", {})])
def test_cells_are_pytorchs(kind, options, bias, dtype):
    torch, states = pytorch(), 2 if kind == "LSTMCell" else 1

    def call(layer, x, *state):
        return layer(x, state if states == 2 else state[0])
    ours, theirs = (getattr(m, kind)(3, 5, bias, **options) for m in (nn, torch.nn))
    compare(ours, theirs, [normal(4, 3), *(normal(4, 5, seed=k) for k in range(states))], dtype,
            call)


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_begin_with_zeros_and_take_a_single_vector(kind):
    torch = pytorch()
    compare(getattr(nn, kind)(3, 5), getattr(torch.nn, kind)(3, 5), [normal(3)], "f8")


def test_an_lstm_cell_by_hand():
    """Gates open (sigmoid(20) = 1) or shut: c' = f c + i g with i = 1, f = 0, g = tanh(x)."""
    w_ih, w_hh = np.array([[0.], [0], [1], [0]]), np.zeros((4, 1))
    h, c = ops.lstm_cell(np.array([[0.5]]), (np.array([[9.]]), np.array([[7.]])), w_ih, w_hh,
                         np.array([20., -20, 0, 20]), np.zeros(4))
    assert np.allclose(c.numpy(), np.tanh(0.5), atol=1e-7)
    assert np.allclose(h.numpy(), np.tanh(np.tanh(0.5)), atol=1e-7)


# --- sequences ------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("options", [
    {}, {"num_layers": 2, "bidirectional": True}, {"batch_first": True, "bias": False},
    {"num_layers": 3, "batch_first": True, "bidirectional": True}])
@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_pytorchs(kind, options, dtype):
    torch = pytorch()
    ours, theirs = (getattr(m, kind)(3, 5, **options) for m in (nn, torch.nn))
    x = normal(2, 7, 3) if options.get("batch_first") else normal(7, 2, 3)
    compare(ours, theirs, [x], dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alone", [False, True])
def test_layers_go_on_from_a_state(kind, alone):
    torch, states = pytorch(), 2 if kind == "LSTM" else 1
    ours, theirs = (getattr(m, kind)(3, 5, 2, bidirectional=True) for m in (nn, torch.nn))
    shape = (4, 5) if alone else (4, 2, 5)

    def call(layer, x, *state):
        return layer(x, state if states == 2 else state[0])
    x = normal(6, 3) if alone else normal(6, 2, 3)
    compare(ours, theirs, [x, *(normal(*shape, seed=k) for k in range(states))], "f8", call)


def test_relu_networks_are_pytorchs():
    torch = pytorch()
    compare(*(m.RNN(3, 5, 2, "relu") for m in (nn, torch.nn)), [normal(6, 2, 3)], "f8")


def test_dropout_lies_between_layers_and_only_in_training():
    tv.manual_seed(0)
    layer, x = nn.GRU(3, 50, 2, dropout=0.9), tv.Tensor(normal(4, 2, 3).astype("f4"))
    first, second = layer(x)[0].numpy(), layer(x)[0].numpy()
    assert not np.array_equal(first, second)
    layer.eval()
    assert np.array_equal(layer(x)[0].numpy(), layer(x)[0].numpy())
    single = nn.GRU(3, 5, dropout=0.9)
    assert np.array_equal(single(x)[0].numpy(), single(x)[0].numpy())


def test_a_sequence_is_its_steps():
    """Reading four steps, then three with the state, is reading seven."""
    layer, x = nn.LSTM(3, 5, 2), normal(7, 2, 3).astype("f4")
    whole, end = layer(tv.Tensor(x))
    first, state = layer(tv.Tensor(x[:4]))
    second, last = layer(tv.Tensor(x[4:]), state)
    assert np.allclose(np.concatenate([first.numpy(), second.numpy()]), whole.numpy(), atol=1e-6)
    assert all(np.allclose(a.numpy(), b.numpy(), atol=1e-6) for a, b in zip(end, last))


def test_an_lstm_learns_to_remember_the_first_number():
    """The sign of the first of eight random numbers: only a state can know it."""
    tv.manual_seed(1)
    rng, lstm, head = np.random.default_rng(1), nn.LSTM(1, 16), nn.Linear(16, 2)
    optimizer = tv.optim.Adam([*lstm.parameters(), *head.parameters()], lr=0.02)
    for step in range(150):
        x = rng.standard_normal((8, 32, 1)).astype("f4")
        loss = ops.cross_entropy(head(lstm(tv.Tensor(x))[0][-1]), (x[0, :, 0] > 0).astype(int))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = rng.standard_normal((8, 500, 1)).astype("f4")
    right = head(lstm(tv.Tensor(x))[0][-1]).numpy().argmax(1) == (x[0, :, 0] > 0)
    assert right.mean() > 0.9           # 0.99, and what 150 steps of other roundings may cost


# --- embedding ------------------------------------------------------------------------------------
@pytest.mark.parametrize("padding", [None, 2, -1])
def test_embedding_is_pytorchs(padding):
    torch, ids = pytorch(), np.random.default_rng(0).integers(0, 7, (4, 5))
    ours, theirs = (m.Embedding(7, 3, padding) for m in (nn, torch.nn))
    compare(ours, theirs, [], "f8", lambda layer: layer(
        ids if layer is ours else torch.tensor(ids)))


def test_the_padding_row_begins_with_zeros():
    weight = nn.Embedding(5, 3, padding_idx=-2).weight.numpy()
    assert (weight[3] == 0).all() and (weight[[0, 1, 2, 4]] != 0).all()


def test_embedding_of_nothing_and_of_lists():
    assert ops.embedding(np.zeros((0, 2), int), np.ones((3, 4))).shape == (0, 2, 4)
    assert ops.embedding([2, 0], np.arange(6.).reshape(3, 2)).numpy().tolist() == [[4, 5], [0, 1]]


# --- attention ------------------------------------------------------------------------------------
def attention_masks(name, N, L, S, M):
    """Masks that leave every query something to look at."""
    rng = np.random.default_rng(5)
    hidden = rng.random((L, S)) < 0.4
    hidden[:, 0] = False
    padding = np.zeros((N, S), bool)
    padding[1, 2:] = True
    return {"none": {}, "attn": {"attn_mask": hidden}, "padding": {"key_padding_mask": padding},
            "both": {"attn_mask": hidden, "key_padding_mask": padding},
            "heads": {"attn_mask": rng.standard_normal((N * M, L, S))},
            "added": {"attn_mask": rng.standard_normal((L, S)),
                      "key_padding_mask": rng.standard_normal((N, S))}}[name]


def for_torch(masks, dtype):
    torch = pytorch()
    return {k: torch.tensor(v if v.dtype == bool else v.astype(dtype)) for k, v in masks.items()}


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("mask", ["none", "attn", "padding", "both", "heads", "added"])
def test_attention_is_pytorchs(mask, weights, dtype):
    torch, (N, L, S, E, M) = pytorch(), (2, 3, 5, 8, 4)
    masks = attention_masks(mask, N, L, S, M)
    ours, theirs = (m.MultiheadAttention(E, M, batch_first=True) for m in (nn, torch.nn))

    def call(layer, *qkv):
        given = masks if layer is ours else for_torch(masks, dtype)
        return layer(*qkv, need_weights=weights, average_attn_weights=mask != "attn", **given)
    compare(ours, theirs, [normal(N, L, E), normal(N, S, E, seed=1), normal(N, S, E, seed=2)],
            dtype, call)


@pytest.mark.parametrize("options", [
    {"bias": False}, {"add_bias_kv": True}, {"add_zero_attn": True}, {"kdim": 6, "vdim": 7},
    {"add_bias_kv": True, "add_zero_attn": True, "bias": False}])
def test_attentions_options_are_pytorchs(options):
    torch, (N, L, S, E, M) = pytorch(), (2, 3, 5, 8, 4)
    masks = attention_masks("both", N, L, S, M)
    ours, theirs = (m.MultiheadAttention(E, M, **options) for m in (nn, torch.nn))

    def call(layer, *qkv):
        return layer(*qkv, **(masks if layer is ours else for_torch(masks, "f8")))
    compare(ours, theirs, [normal(L, N, E), normal(S, N, options.get("kdim", E), seed=1),
                           normal(S, N, options.get("vdim", E), seed=2)], "f8", call)


def test_self_attention_without_a_batch():
    torch = pytorch()
    compare(nn.MultiheadAttention(8, 2), torch.nn.MultiheadAttention(8, 2), [normal(5, 8)], "f8",
            lambda layer, x: layer(x, x, x))


def test_causal_queries_do_not_see_what_comes():
    layer, x = nn.MultiheadAttention(8, 2, batch_first=True), normal(1, 5, 8).astype("f4")
    y, weights = layer(*[tv.Tensor(x)] * 3, is_causal=True)
    assert (np.triu(weights.numpy()[0], 1) == 0).all()
    x[:, 3:] = 7
    again = layer(*[tv.Tensor(x)] * 3, is_causal=True, need_weights=False)[0]
    assert np.allclose(y.numpy()[:, :3], again.numpy()[:, :3], atol=1e-6)


def test_attention_drops_only_in_training():
    tv.manual_seed(0)
    layer, x = nn.MultiheadAttention(8, 2, dropout=0.5), tv.Tensor(normal(9, 2, 8).astype("f4"))
    for weights in (True, False):
        layer.train()
        assert not np.array_equal(*(layer(x, x, x, need_weights=weights)[0].numpy()
                                    for _ in range(2)))
        layer.eval()
        assert np.array_equal(*(layer(x, x, x, need_weights=weights)[0].numpy() for _ in range(2)))


# --- transformer ----------------------------------------------------------------------------------
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("options", [{}, {"norm_first": True, "activation": "gelu"},
                                     {"batch_first": True, "bias": False}])
def test_encoders_are_pytorchs(options, dtype):
    torch = pytorch()

    def made(m):
        layer = m.TransformerEncoderLayer(8, 2, 12, 0.0, **options)
        return m.TransformerEncoder(layer, 2, m.LayerNorm(8))
    compare(made(nn), made(torch.nn), [normal(3, 5, 8)], dtype)


@pytest.mark.parametrize("options", [{}, {"norm_first": True, "batch_first": True}])
def test_decoders_are_pytorchs(options):
    torch, causal = pytorch(), np.arange(5) > np.arange(5)[:, None]

    def made(m):
        return m.TransformerDecoder(m.TransformerDecoderLayer(8, 2, 12, 0.0, **options), 2)
    ours, theirs = made(nn), made(torch.nn)
    shapes = ((3, 5, 8), (3, 4, 8)) if options else ((5, 3, 8), (4, 3, 8))
    compare(ours, theirs, [normal(*s, seed=k) for k, s in enumerate(shapes)], "f8",
            lambda layer, *xs: layer(*xs, tgt_mask=causal if layer is ours else
                                     torch.tensor(causal)))


def test_copies_of_a_layer_learn_apart():
    stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12), 2)
    a, b = (layer.linear1.weight for layer in stack.layers)
    assert np.array_equal(a.numpy(), b.numpy()) and a is not b
    a.data = a.data + 1
    assert not np.array_equal(a.numpy(), b.numpy())
    stack(tv.Tensor(normal(3, 2, 8).astype("f4"))).sum().backward()
    assert all(p.grad is not None for p in stack.parameters())


def test_stacks_can_be_built_without_memory():
    with nn.skip_init():
        stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(1280, 16, 5120), 32)
        nn.LSTM(4096, 4096, 4), nn.MultiheadAttention(4096, 8), nn.Embedding(10**6, 4096)
    assert sum(p.size for p in stack.parameters()) > 6e8
    assert all(nn.init.is_placeholder(p) for p in stack.parameters())


# --- deformable attention -------------------------------------------------------------------------
def test_deformable_attention_first_looks_around_the_reference_point():
    """Four heads look right, down, left, up; all weights alike; projections made the identity."""
    tv.manual_seed(0)
    layer = nn.MultiScaleDeformableAttention(8, 1, 4, 1)
    for linear in (layer.value_proj, layer.output_proj):
        linear.weight.data = np.eye(8, dtype="f4")
    image = np.arange(5 * 7, dtype="f4").reshape(1, 35, 1).repeat(8, 2)
    centre = np.array([3.5 / 7, 2.5 / 5], "f4").reshape(1, 1, 1, 2)          # pixel 17
    y = layer(np.zeros((1, 1, 8), "f4"), centre, image, [(5, 7)]).numpy()
    assert np.allclose(y[0, 0, ::2], [18, 24, 16, 10], atol=1e-4)


def test_deformable_attention_can_be_trained_and_takes_boxes_and_padding():
    layer, (N, Q, L) = nn.MultiScaleDeformableAttention(8, 2, 2, 3), (2, 5, 2)
    sizes, rng = [(4, 6), (2, 3)], np.random.default_rng(0)
    query, value = (tv.Tensor(rng.standard_normal(s).astype("f4"), requires_grad=True)
                    for s in ((N, Q, 8), (N, 30, 8)))
    for width in (2, 4):
        points = tv.Tensor(rng.uniform(0.2, 0.8, (N, Q, L, width)).astype("f4"), True)
        layer(query, points, value, sizes, np.arange(60).reshape(2, 30) % 7 == 0).sum().backward()
        assert points.grad.shape == points.shape and abs(points.grad.numpy()).max() > 0
    assert all(p.grad is not None for p in layer.parameters())
    assert (value.grad.numpy().reshape(60, 8)[::7] == 0).all()


# --- bad input ------------------------------------------------------------------------------------
X = np.ones((4, 2, 3), "f4")
BAD = [
    (lambda: nn.LSTM(3, 5)(np.ones((4, 2, 7), "f4")),
     "LSTM: input has shape (4, 2, 7), expected (L, N, 3), or (L, 3)"),
    (lambda: nn.LSTM(3, 5)(X, np.ones((1, 2, 5))), "LSTM: hx has shapes [(1, 2, 5)], expected a p"),
    (lambda: nn.GRU(3, 5)(X, np.ones((2, 2, 5))), "expected shape (1, 2, 5)"),
    (lambda: nn.GRU(3, 5)(X[:0]), "GRU: input has shape (0, 2, 3)"),
    (lambda: nn.GRU(3, 5, dropout=2), "GRU: dropout is 2, expected a probability"),
    (lambda: nn.GRU(3, 0), "GRU: hidden_size is 0, expected at least 1"),
    (lambda: nn.RNN(3, 5, nonlinearity="sin"), "RNN: nonlinearity is 'sin', expected"),
    (lambda: nn.LSTMCell(3, 5)(X[0], X[0]), "lstm_cell: hx is ndarray, expected a pair (h, c)"),
    (lambda: nn.GRUCell(3, 5)(X[0], X[0]), "gru_cell: w_ih has shape (15, 3) and w_hh (15, 5), ex"),
    (lambda: nn.RNNCell(3, 5)(X[0], np.ones((3, 5))), "rnn_tanh_cell: input has shape (2, 3) and"),
    (lambda: ops.embedding([0, 9], np.ones((3, 2))), "embedding: input names row 9, expected 0 to"),
    (lambda: ops.embedding([-1], np.ones((3, 2))), "embedding: input names row -1, expected 0 to"),
    (lambda: ops.embedding([0.5], np.ones((3, 2))), "embedding: input is float64, expected integ"),
    (lambda: nn.Embedding(3, 2, 3), "Embedding: padding_idx is 3, expected -3 to 2"),
    (lambda: nn.MultiheadAttention(8, 3), "num_heads=3 does not divide embed_dim=8"),
    (lambda: nn.MultiheadAttention(8, 2, dropout=1), "dropout is 1, expected a probability below"),
    (lambda: nn.MultiheadAttention(3, 1)(X, X, X[:, :1]), "expected (N, L, 3), (N, S, 3) and"),
    (lambda: nn.MultiheadAttention(3, 1)(X, X, X, attn_mask=np.ones((4, 3), bool)),
     "attn_mask has shape (4, 3), expected (4, 4) or (2, 4, 4)"),
    (lambda: nn.MultiheadAttention(3, 1)(X, X, X, np.ones((2, 4), int)),
     "key_padding_mask is int64, expected boolean or floating"),
    (lambda: nn.TransformerEncoderLayer(8, 2, activation="sin"), "activation is 'sin', expected"),
    (lambda: nn.MultiScaleDeformableAttention(8, 1, 2, 1)(
        np.ones((1, 3, 8)), np.ones((1, 3, 2, 2)), np.ones((1, 6, 8)), [(2, 3)]),
     "reference_points has shape (1, 3, 2, 2), expected (1, 3, 1, 2) or (1, 3, 1, 4)"),
]


@pytest.mark.parametrize("call, words", BAD, ids=[words[:40] for _, words in BAD])
def test_errors_say_what_came_and_what_was_expected(call, words):
    with pytest.raises((ValueError, TypeError), match=re.escape(words)):
        call()
