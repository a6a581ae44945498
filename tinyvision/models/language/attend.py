"""Attention while telling: before every word, a look at the image.

Xu et al. 2015, "Show, attend and tell: neural image caption generation with visual attention",
sections 3.1 and 4.2, soft attention. With places a_1 ... a_P of the map, v_p what is at place p:

    weights  = softmax over p of  k_p . q(h)
    context  z = sum over p of  weights_p v_p
    h, c     = LSTM(W_e S_t, [h, z], c)
    words are read off [h, z]

What differs from the paper: keys k are compared with queries q by a product (Vaswani et al. 2017),
not by a small network; the look comes after a word has been read, and is remembered (Luong, Pham &
Manning 2015, 3.3), not before; v_p knows its place, so that "from left to right" can be learned.
"""
from __future__ import annotations

import math

import numpy as np

from tinyvision import ops
from tinyvision.device import module_of
from tinyvision.engine import Tensor
from tinyvision.nn import Linear, Module
from tinyvision.ops.recurrent import lstm_step

WAVES = 8                  # cosines along each axis


class Attending(Module):
    """A decoder that looks.

    Its state: (what was read off last [h, z], c, the weights of the last look, keys, values).

    Args:
        channels: of the trunk's map.
        embedding, hidden: features of a word's vector; of the LSTM, of keys and of values.
    """

    def __init__(self, channels, embedding, hidden):
        self.hidden, self.features = hidden, 2 * hidden
        self.what = Linear(channels, hidden)
        self.where = Linear(2 * WAVES, hidden, bias=False)
        self.key, self.query = Linear(hidden, hidden), Linear(hidden, hidden)
        self.first = Linear(hidden, hidden)
        self.word = Linear(embedding, 4 * hidden)
        self.past = Linear(2 * hidden, 4 * hidden)

    def begin(self, maps):
        """Maps (N, C, h, w) to the state before the first word."""
        N, C, h, w = maps.shape
        x = maps.reshape(N, C, h * w).transpose(1, 2)        # (N, P, C)
        v = ops.relu(self.what(x) + self.where(waves(h, w, like=x)))     # (N, P, hidden)
        k = self.key(v)                                      # (N, P, hidden)
        first = ops.tanh(self.first(ops.mean(v, 1)))         # (N, hidden)
        nothing = Tensor(module_of(x.data).zeros((N, self.hidden + h * w), x.dtype))
        c, weights = nothing[:, :self.hidden], nothing[:, self.hidden:]
        return ops.cat([first, c], 1), c, weights, k, v

    def teach(self, maps, words):
        """Maps and the vectors of all words (L, N, embedding) to [h, z] (L, N, 2 hidden)."""
        state, read = self.begin(maps), []
        given = self.word(words)                             # (L, N, 4 hidden)
        for t in range(len(words)):
            state = self.read(given[t], state)
            read.append(state[0])
        return ops.stack(read)

    def step(self, words, state):
        """Vectors of one word each (K, embedding) to ([h, z] (K, 2 hidden), the next state)."""
        state = self.read(self.word(words), state)
        return state[0], state

    def read(self, given, state):
        """The state after a word, of which `given` (K, 4 hidden) is what the gates get."""
        last, c, _, k, v = state
        h, c = lstm_step(given, (last, c), self.past.weight, self.past.bias)     # (K, hidden)
        z, weights = self.look(h, k, v)
        return ops.cat([h, z], 1), c, weights, k, v

    def look(self, h, k, v):
        """h (K, hidden) to z (K, hidden) and the weights (K, P) of the places."""
        q = self.query(h) * (1 / math.sqrt(self.hidden))     # (K, hidden)
        scores = ops.matmul(k, q.reshape(*q.shape, 1))       # (K, P, 1)
        weights = ops.softmax(scores, 1)                     # (K, P, 1)
        z = ops.matmul(weights.transpose(1, 2), v)           # (K, 1, hidden)
        return z.reshape(*h.shape), weights.reshape(*weights.shape[:2])

    def looks(self, state):
        """The weights (P,) of every row's last look."""
        return list(state[2])


def waves(h: int, w: int, like) -> Tensor:
    """Where the h w places are, (P, 2 WAVES): cosines of 1 to WAVES half waves, down and across."""
    def along(n):
        return np.cos(np.pi * np.arange(1, WAVES + 1) * ((np.arange(n) + 0.5) / n)[:, None])
    down, across = np.repeat(along(h), w, 0), np.tile(along(w), (h, 1))
    xp = module_of(like.data)
    return Tensor(xp.asarray(np.concatenate([down, across], 1).astype(like.dtype)))
