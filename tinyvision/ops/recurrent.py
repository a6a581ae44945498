"""Recurrent cells: one step of a network that reads a sequence and remembers.

    RNN    h' = tanh(W x + b + U h + d)

    LSTM   i, f, o = sigmoid(W x + b + U h + d),   g = tanh(W x + b + U h + d)   each with its rows
           c' = f c + i g                          what is kept, and what is added
           h' = o tanh(c')

    GRU    r, z = sigmoid(W x + b + U h + d)
           n = tanh(W x + b + r (U h + d))         r: what of the past is looked at
           h' = (1 - z) n + z h

W is `weight_ih`, U `weight_hh`; the gates' rows lie in PyTorch's order: i, f, g, o and r, z, n.
All of it is made of differentiable operations. What a cell needs of its input, W x + b, does not
depend on the past: `nn.LSTM` and its like compute it for all steps at once. Lectures: K16;
Hochreiter & Schmidhuber 1997; Cho et al. 2014.
"""
from __future__ import annotations

from tinyvision.engine import Tensor, as_array
from tinyvision.ops.activation import relu, sigmoid, tanh
from tinyvision.ops.check import same_device
from tinyvision.ops.matmul import linear


def rnn_tanh_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None) -> Tensor:
    """tanh(w_ih input + b_ih + w_hh hx + b_hh).

    Args:
        input: (N, I), or (I,).
        hx: (N, H), or (H,): the state before.
        w_ih, w_hh: (H, I) and (H, H).
        b_ih, b_hh: (H,).

    Returns:
        The state after, of hx's shape. Like `torch.rnn_tanh_cell`.

    Raises:
        ValueError: shapes that do not fit.
        DeviceError: tensors on two devices.
    """
    _check("rnn_tanh_cell", 1, input, hx, w_ih, w_hh, b_ih, b_hh)
    return rnn_step(linear(input, w_ih, b_ih), hx, w_hh, b_hh, tanh)


def rnn_relu_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None) -> Tensor:
    """`rnn_tanh_cell` with relu in tanh's place."""
    _check("rnn_relu_cell", 1, input, hx, w_ih, w_hh, b_ih, b_hh)
    return rnn_step(linear(input, w_ih, b_ih), hx, w_hh, b_hh, relu)


def lstm_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None) -> tuple[Tensor, Tensor]:
    """One step of an LSTM.

    Args:
        input: (N, I), or (I,).
        hx: (h, c), the state before: both (N, H), or (H,).
        w_ih, w_hh: (4 H, I) and (4 H, H).
        b_ih, b_hh: (4 H,).

    Returns:
        (h, c), the state after. Like `torch.lstm_cell`.

    Raises:
        ValueError: shapes that do not fit.
        DeviceError: tensors on two devices.
    """
    if not isinstance(hx, (tuple, list)) or len(hx) != 2:
        raise ValueError(f"lstm_cell: hx is {type(hx).__name__}, expected a pair (h, c)")
    if as_array(hx[0]).shape != as_array(hx[1]).shape:
        raise ValueError(f"lstm_cell: h has shape {as_array(hx[0]).shape} and c "
                         f"{as_array(hx[1]).shape}, expected one shape")
    _check("lstm_cell", 4, input, hx[0], w_ih, w_hh, b_ih, b_hh)
    return lstm_step(linear(input, w_ih, b_ih), hx, w_hh, b_hh)


def gru_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None) -> Tensor:
    """One step of a GRU.

    Args:
        input: (N, I), or (I,).
        hx: (N, H), or (H,): the state before.
        w_ih, w_hh: (3 H, I) and (3 H, H).
        b_ih, b_hh: (3 H,).

    Returns:
        The state after, of hx's shape. Like `torch.gru_cell`.

    Raises:
        ValueError: shapes that do not fit.
        DeviceError: tensors on two devices.
    """
    _check("gru_cell", 3, input, hx, w_ih, w_hh, b_ih, b_hh)
    return gru_step(linear(input, w_ih, b_ih), hx, w_hh, b_hh)


# --- one step, the input's part being known -------------------------------------------------------
def rnn_step(given, h, w_hh, b_hh, activation) -> Tensor:
    """h' from what the input gives, W x + b (..., H)."""
    return activation(given + linear(h, w_hh, b_hh))


def lstm_step(given, state, w_hh, b_hh) -> tuple[Tensor, Tensor]:
    """(h', c') from what the input gives, W x + b (..., 4 H)."""
    h, c = state
    i, f, g, o = parts(given + linear(h, w_hh, b_hh), 4)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def gru_step(given, h, w_hh, b_hh) -> Tensor:
    """h' from what the input gives, W x + b (..., 3 H)."""
    (r, z, n), (r_past, z_past, n_past) = parts(given, 3), parts(linear(h, w_hh, b_hh), 3)
    z = sigmoid(z + z_past)
    n = tanh(n + sigmoid(r + r_past) * n_past)
    return n + z * (h - n)


def parts(gates, count):
    """The last axis in `count` equal pieces, one for each gate."""
    size = gates.shape[-1] // count
    return [gates[..., k * size:(k + 1) * size] for k in range(count)]


def _check(name, gates, input, h, w_ih, w_hh, b_ih, b_hh):
    """That all sizes fit a cell with so many gates."""
    same_device(name, input=input, hx=h, w_ih=w_ih, w_hh=w_hh, b_ih=b_ih, b_hh=b_hh)
    X, S, W, U = (as_array(a).shape for a in (input, h, w_ih, w_hh))
    if not X or not S or len(X) > 2 or X[:-1] != S[:-1]:
        raise ValueError(f"{name}: input has shape {X} and the state {S}, expected (N, I) and "
                         "(N, H), or (I,) and (H,)")
    G = gates * S[-1]
    if W != (G, X[-1]) or U != (G, S[-1]):
        raise ValueError(f"{name}: w_ih has shape {W} and w_hh {U}, expected {(G, X[-1])} and "
                         f"{(G, S[-1])} for input {X} and state {S}")
    for argument, b in (("b_ih", b_ih), ("b_hh", b_hh)):
        if b is not None and as_array(b).shape != (G,):
            raise ValueError(f"{name}: {argument} has shape {as_array(b).shape}, expected ({G},)")
