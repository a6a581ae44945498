"""The transformer's encoder and decoder layers. Names, arguments, state keys are PyTorch's.

An encoder's layer: every token looks at all tokens, then passes two linear layers alone; both add
to what was there, and a layer norm stands behind each sum (norm_first: before each branch, which
trains without warm-up). A decoder's layer also looks at the encoder's result. Vaswani et al. 2017.
"""
from __future__ import annotations

import copy

from tinyvision import ops
from tinyvision.nn.attention import MultiheadAttention, probability
from tinyvision.nn.init import is_placeholder
from tinyvision.nn.containers import ModuleList
from tinyvision.nn.layers import LayerNorm, Linear
from tinyvision.nn.module import Module


class _Layer(Module):
    """What encoder's and decoder's layers share: the branches, and how they are added."""

    def _build(self, d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps,
               batch_first, norm_first, bias, norms):
        name = type(self).__name__
        if isinstance(activation, str):
            if activation not in ("relu", "gelu"):
                raise ValueError(f'{name}: activation is {activation!r}, expected "relu", "gelu" '
                                 "or a function")
            activation = getattr(ops, activation)
        self.activation, self.norm_first = activation, norm_first
        self.dropout = probability(name, dropout)
        self.linear1 = Linear(d_model, dim_feedforward, bias)
        self.linear2 = Linear(dim_feedforward, d_model, bias)
        for k in range(1, norms + 1):
            setattr(self, f"norm{k}", LayerNorm(d_model, layer_norm_eps, bias=bias))

    def _drop(self, x):
        return ops.dropout(x, self.dropout, self.training)

    def _add(self, x, norm, branch):
        """x plus a branch, normalised before or behind."""
        if self.norm_first:
            return x + self._drop(branch(norm(x)))
        return norm(x + self._drop(branch(x)))

    def _feed(self, x):
        return self.linear2(self._drop(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """Self-attention, then two linear layers. PyTorch's arguments."""

    def __init__(self, d_model, nhead, dim_feedforward=2048, dropout=0.1, activation=ops.relu,
                 layer_norm_eps=1e-5, batch_first=False, norm_first=False, bias=True):
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first)
        self._build(d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps,
                    batch_first, norm_first, bias, 2)

    def forward(self, src, src_mask=None, src_key_padding_mask=None, is_causal=False):
        """(S, N, E), or (N, S, E) if batch_first -> the same; masks as in MultiheadAttention."""
        def look(x):
            return self.self_attn(x, x, x, src_key_padding_mask, False, src_mask,
                                  is_causal=is_causal)[0]
        return self._add(self._add(src, self.norm1, look), self.norm2, self._feed)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to the encoder's result, two linear layers. PyTorch's arguments."""

    def __init__(self, d_model, nhead, dim_feedforward=2048, dropout=0.1, activation=ops.relu,
                 layer_norm_eps=1e-5, batch_first=False, norm_first=False, bias=True):
        self.self_attn, self.multihead_attn = (MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first) for _ in range(2))
        self._build(d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps,
                    batch_first, norm_first, bias, 3)

    def forward(self, tgt, memory, tgt_mask=None, memory_mask=None, tgt_key_padding_mask=None,
                memory_key_padding_mask=None, tgt_is_causal=False, memory_is_causal=False):
        """tgt (T, N, E) and the encoder's memory (S, N, E), batch_first alike -> tgt's shape."""
        def look(x):
            return self.self_attn(x, x, x, tgt_key_padding_mask, False, tgt_mask,
                                  is_causal=tgt_is_causal)[0]

        def recall(x):
            return self.multihead_attn(x, memory, memory, memory_key_padding_mask, False,
                                       memory_mask, is_causal=memory_is_causal)[0]
        x = self._add(self._add(tgt, self.norm1, look), self.norm2, recall)
        return self._add(x, self.norm3, self._feed)


class _Stack(Module):
    """Copies of a layer (with the same initial values, as PyTorch's), and a norm behind them."""

    def __init__(self, layer, num_layers, norm=None):
        empty = {id(p.data): p.data for p in layer.parameters() if is_placeholder(p)}
        self.layers = ModuleList(copy.deepcopy(layer, dict(empty)) for _ in range(num_layers))
        self.norm = norm

    def forward(self, x, *inputs, **masks):
        """x through all layers; the other arguments are those of the layer."""
        for layer in self.layers:
            x = layer(x, *inputs, **masks)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """num_layers TransformerEncoderLayers."""

    def forward(self, src, mask=None, src_key_padding_mask=None, is_causal=False):
        """(S, N, E), or (N, S, E) if the layers are batch_first -> the same."""
        return super().forward(src, mask, src_key_padding_mask, is_causal)


class TransformerDecoder(_Stack):
    """num_layers TransformerDecoderLayers; forward's arguments are the layer's."""
