"""Recurrent layers: cells, and stacks of them that read whole sequences, both ways if asked.

Names, arguments, shapes and state keys are PyTorch's: `weight_ih_l0` (gates, features) and
`weight_hh_l0` (gates, hidden) of layer 0, `..._reverse` of the one that reads backwards.
"""
from __future__ import annotations

from tinyvision import ops
from tinyvision.device import module_of
from tinyvision.engine import Tensor, as_array
from tinyvision.nn.layers import uniform
from tinyvision.nn.module import Module
from tinyvision.ops.check import at_least
from tinyvision.ops.recurrent import gru_step, lstm_step, rnn_step

ACTIVATIONS = {"tanh": ops.tanh, "relu": ops.relu}


def _zeros(like, *shape):
    return Tensor(module_of(as_array(like)).zeros(shape, as_array(like).dtype))


def _sizes(layer, **sizes):
    for argument, value in sizes.items():
        setattr(layer, argument, at_least(type(layer).__name__, argument, value, 1))


# --- cells ----------------------------------------------------------------------------------------
class _Cell(Module):
    """Two weights, two biases, uniform in +-1/sqrt(hidden_size)."""
    gates = 1

    def __init__(self, input_size, hidden_size, bias=True):
        _sizes(self, input_size=input_size, hidden_size=hidden_size)
        rows, H = self.gates * hidden_size, hidden_size
        self.weight_ih, self.weight_hh = uniform((rows, input_size), H), uniform((rows, H), H)
        self.bias_ih = uniform((rows,), H) if bias else None
        self.bias_hh = uniform((rows,), H) if bias else None

    def weights(self):
        """In the order of the cells' arguments."""
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def nothing(self, input):
        """The state before the first step: zeros (N, H), or (H,)."""
        return _zeros(input, *as_array(input).shape[:-1], self.hidden_size)

    def extra_repr(self):
        """Features in, features of the state."""
        return f"{self.input_size}, {self.hidden_size}"


class RNNCell(_Cell):
    """`ops.rnn_tanh_cell`, or with nonlinearity="relu" `ops.rnn_relu_cell`."""

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity="tanh"):
        self.nonlinearity = _known("RNNCell", nonlinearity)
        super().__init__(input_size, hidden_size, bias)

    def forward(self, input, hx=None):
        """(N, I) and the state (N, H), zeros unless given -> the next state."""
        cell = ops.rnn_tanh_cell if self.nonlinearity == "tanh" else ops.rnn_relu_cell
        return cell(input, self.nothing(input) if hx is None else hx, *self.weights())


class LSTMCell(_Cell):
    """`ops.lstm_cell`."""
    gates = 4

    def forward(self, input, hx=None):
        """(N, I) and the state (h, c), both (N, H), zeros unless given -> the next (h, c)."""
        hx = (self.nothing(input),) * 2 if hx is None else hx
        return ops.lstm_cell(input, hx, *self.weights())


class GRUCell(_Cell):
    """`ops.gru_cell`."""
    gates = 3

    def forward(self, input, hx=None):
        """(N, I) and the state (N, H), zeros unless given -> the next state."""
        return ops.gru_cell(input, self.nothing(input) if hx is None else hx, *self.weights())


def _known(name, nonlinearity):
    if nonlinearity not in ACTIVATIONS:
        raise ValueError(f'{name}: nonlinearity is {nonlinearity!r}, expected "tanh" or "relu"')
    return nonlinearity


# --- whole sequences ------------------------------------------------------------------------------
class _Recurrent(Module):
    """Layers of cells; every direction of a layer is a pass over the sequence."""
    gates, states = 1, 1

    def __init__(self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False,
                 dropout=0.0, bidirectional=False):
        name = type(self).__name__
        _sizes(self, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        if not 0 <= dropout <= 1:
            raise ValueError(f"{name}: dropout is {dropout}, expected a probability")
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.directions = ("", "_reverse") if bidirectional else ("",)
        for layer in range(num_layers):
            size = hidden_size * len(self.directions) if layer else input_size
            for direction in self.directions:
                self._make(f"_l{layer}{direction}", size)

    def _make(self, suffix, size):
        """The parameters of one direction of one layer."""
        H, rows = self.hidden_size, self.gates * self.hidden_size
        shapes = {"weight_ih": (rows, size), "weight_hh": (rows, H)}
        shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)} if self.bias else {}
        for name, shape in shapes.items():
            setattr(self, name + suffix, uniform(shape, H))

    def forward(self, input, hx=None):
        """Read a sequence.

        Args:
            input: (L, N, I), or (N, L, I) if batch_first; (L, I) for a single sequence.
            hx: the state before, (layers x directions, N, H), zeros unless given; an LSTM's is a
                pair of such. Without the axis N for a single sequence.

        Returns:
            (output, state): the last layer's h at every step, (L, N, directions x H), laid out as
            the input; and the state after the last step.

        Raises:
            ValueError: shapes that do not fit.
        """
        x = input if isinstance(input, Tensor) else Tensor(input)
        alone = x.ndim == 2
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size or 0 in x.shape:
            raise ValueError(f"{type(self).__name__}: input has shape {x.shape}, expected "
                             f"{'(N, L, ' if self.batch_first else '(L, N, '}{self.input_size}), "
                             f"or (L, {self.input_size}) for one sequence, none empty")
        x = x.reshape(-1, 1, self.input_size) if alone else x
        x = x.transpose(0, 1) if self.batch_first and not alone else x
        y, last = self._layers(x, self._states(hx, x.shape[1], alone, x))
        if alone:
            y, last = y[:, 0], [s[:, 0] for s in last]
        elif self.batch_first:
            y = y.transpose(0, 1)
        return y, last[0] if self.states == 1 else tuple(last)

    def _states(self, hx, N, alone, like):
        """The states before, each (layers x directions, N, H)."""
        shape = self.num_layers * len(self.directions), N, self.hidden_size
        if hx is None:
            return [_zeros(like, *shape)] * self.states
        given = hx if isinstance(hx, (tuple, list)) else (hx,)
        given = [s if isinstance(s, Tensor) else Tensor(s) for s in given]
        wanted = (shape[0], shape[2]) if alone else shape
        if len(given) != self.states or any(s.shape != wanted for s in given):
            pair = "a pair (h, c) of shape" if self.states == 2 else "shape"
            raise ValueError(f"{type(self).__name__}: hx has shapes {[s.shape for s in given]}, "
                             f"expected {pair} {wanted}")
        return [s.reshape(*shape) for s in given]

    def _layers(self, x, states):
        """x (L, N, I) through all layers: (the last one's outputs, all last states)."""
        ends, D = [], len(self.directions)
        for layer in range(self.num_layers):
            read = []
            for d, direction in enumerate(self.directions):
                begin = [s[layer * D + d] for s in states]
                y, end = self._direction(x, begin, f"_l{layer}{direction}", backwards=d == 1)
                read.append(y)
                ends.append(end)
            x = ops.cat(read, -1) if D == 2 else read[0]
            if self.training and self.dropout and layer < self.num_layers - 1:
                x = ops.dropout(x, self.dropout)
        return x, [ops.stack(s) for s in zip(*ends)]

    def _direction(self, x, state, suffix, backwards):
        """One pass: ((L, N, H), the last state). The inputs' part of all steps is one product."""
        w_ih, w_hh, b_ih, b_hh = (getattr(self, name + suffix, None) for name in (
            "weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        given, outputs = ops.linear(x, w_ih, b_ih), []
        for t in range(len(x))[::-1 if backwards else 1]:
            state = self.step(given[t], state, w_hh, b_hh)
            outputs.append(state[0])
        return ops.stack(outputs[::-1] if backwards else outputs), state

    def step(self, given, state, w_hh, b_hh):
        """The states after one step."""
        raise NotImplementedError(f"{type(self).__name__}.step")

    def extra_repr(self):
        """Sizes, layers, directions."""
        return (f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}, "
                f"bidirectional={len(self.directions) == 2}")


class RNN(_Recurrent):
    """h' = tanh(W x + U h), or relu. PyTorch's arguments."""

    def __init__(self, input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True,
                 batch_first=False, dropout=0.0, bidirectional=False):
        self.nonlinearity = _known("RNN", nonlinearity)
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout,
                         bidirectional)

    def step(self, given, state, w_hh, b_hh):
        """See `ops.rnn_tanh_cell`."""
        return rnn_step(given, *state, w_hh, b_hh, ACTIVATIONS[self.nonlinearity]),


class LSTM(_Recurrent):
    """Cells that keep what they learn (see `ops.lstm_cell`). PyTorch's arguments."""
    gates, states = 4, 2

    def step(self, given, state, w_hh, b_hh):
        """See `ops.lstm_cell`."""
        return lstm_step(given, state, w_hh, b_hh)


class GRU(_Recurrent):
    """Gated cells with one state (see `ops.gru_cell`). PyTorch's arguments."""
    gates = 3

    def step(self, given, state, w_hh, b_hh):
        """See `ops.gru_cell`."""
        return gru_step(given, *state, w_hh, b_hh),
