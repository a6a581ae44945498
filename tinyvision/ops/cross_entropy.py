"""cross_entropy: the cost of the probabilities that softmax gives to the right classes.

For scores x_c, label t, weights w and smoothing e, at one place:

    cost = (1 - e) w_t l_t + (e / C) sum_c w_c l_c,    l_c = m + log s - x_c = -log softmax_c

    d cost / d x_c = K softmax_c - (1 - e) w_t [c = t] - (e / C) w_c,
    K = (1 - e) w_t + (e / C) sum_c w_c

Nothing of x's size but x is kept, and nothing but its gradient is ever made: forward reads x once
for m and s, which are kept, backward reads it once for the gradient. Sizes: x (N, C, L); the
compiled kernels are in `cross_entropy_fast`.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinyvision.cuda import per_element
from tinyvision.device import contiguous, empty, module_of
from tinyvision.engine import Op, Tensor, as_array
from tinyvision.kernel import Kernel, jit, prange
from tinyvision.ops import cross_entropy_fast
from tinyvision.ops.check import labels_of, same_device
from tinyvision.ops.composed import composed_backward
from tinyvision.ops.shape import reshape, sum
from tinyvision.ops.softmax import softmax


@dataclass(frozen=True, eq=False, repr=False)
class CrossEntropy(Op):
    """The cost of every label: x (N, C, ...) -> (N, ...)."""
    peaks: object                       # (2, N, L): x's m and s, worked out before
    labels: object                      # (N, ...) int64
    weight: object                      # (C,)
    ignored: int
    smoothing: float
    needs = "x",

    def forward(self, x):
        out = empty(self.labels.shape, self.peaks)
        label_costs(*self._arguments(x), _lines(out))
        return out

    def backward(self, g, y, x):
        return CrossEntropyBackward(self)(g, x),

    def _arguments(self, x):
        x, peaks, weight = contiguous(x, self.peaks, self.weight)
        return _places(x), peaks, _lines(self.labels), weight, self.ignored, self.smoothing

    def __repr__(self):
        return f"CrossEntropy(labels{self.labels.shape}, label_smoothing={self.smoothing})"


@dataclass(frozen=True, eq=False)
class CrossEntropyBackward(Op):
    """The gradient of the scores x, given those of the costs."""
    costs: CrossEntropy
    needs = "g", "x"

    def forward(self, g, x):
        g, x = contiguous(g, x)
        out = empty(x.shape, x)
        label_costs_backward(_lines(g), *self.costs._arguments(x), _places(out))
        return out

    def backward(self, h, out, g, x):
        return composed_backward(self.composed, h, g, x)

    def composed(self, g, x):
        """The same in plain operations; what does not depend on g and x is an array."""
        op, xp, C = self.costs, module_of(x._data), x.shape[1]
        kept = (op.labels != op.ignored)[:, None]
        column = op.weight.astype(x.dtype).reshape((1, C) + (1,) * (x.ndim - 2))
        here = xp.arange(C).reshape(column.shape) == op.labels[:, None]
        target = ((1 - op.smoothing) * here + op.smoothing / C) * column * kept
        target = target.astype(x.dtype)
        factor = target.sum(1, keepdims=True)
        g = reshape(g, g.shape[0], 1, *g.shape[1:])
        return g * (Tensor(factor) * softmax(x, 1) - Tensor(target))


def cross_entropy(input, target, weight=None, ignore_index=-1, reduction="mean",
                  label_smoothing=0.0) -> Tensor:
    """-log of the probability that softmax gives to the right class.

    Args:
        input: scores (N, C) or (N, C, H, W): axis 1 counts the classes.
        target: labels (N,) or (N, H, W), whole numbers from 0 to C - 1.
        weight: (C,), a factor for every class.
        ignore_index: a label that costs nothing (-1, where PyTorch has -100).
        reduction: "mean" (weighted by the classes' weights), "sum" or "none".
        label_smoothing: the share of the target that is spread evenly over all classes.

    Returns:
        A scalar, or with "none" the cost of every label. The mean over no labels is NaN.
        Like `torch.nn.functional.cross_entropy`.

    Raises:
        ValueError: shapes that do not fit, a label out of range, an unknown reduction.
    """
    same_device("cross_entropy", input=input, target=target, weight=weight)
    labels, ignored = _labels(input, target, ignore_index)
    scores = as_array(input)
    C, xp = scores.shape[1], module_of(scores)
    classes = xp.ones(C, scores.dtype) if weight is None else as_array(weight)
    if classes.shape != (C,):
        raise ValueError(f"cross_entropy: weight has shape {classes.shape}, expected ({C},)")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'cross_entropy: reduction is {reduction!r}, '
                         'expected "mean", "sum" or "none"')
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing is {label_smoothing}, "
                         "expected a number from 0 to 1")
    cost = CrossEntropy(_peaks(scores), labels, classes, int(ignore_index),
                        float(label_smoothing))(input)
    if reduction == "none":
        return cost
    total = sum(cost)
    if reduction == "sum":
        return total
    count = labels.size - ignored if weight is None else _weight_of(labels, classes, ignore_index)
    return total / count if count else total * float("nan")


def _labels(input, target, ignore_index):
    """(`target` as int64, how many are ignored); checked against the shape and classes of `input`.

    Smallest and largest label are found faster than every label is compared.
    """
    shape, labels = labels_of("cross_entropy", input, target)
    xp = module_of(labels)
    if not (labels.dtype == np.int64 and xp is np and labels.flags.carray):
        labels = xp.array(labels, np.int64, order="C")       # kernels take one dtype and layout
    plain = not labels.size or 0 <= labels.min() and labels.max() < shape[1]
    if plain and not 0 <= ignore_index < shape[1]:
        return labels, 0
    kept = labels != ignore_index
    wrong = labels[((labels < 0) | (labels >= shape[1])) & kept]
    if wrong.size:
        raise ValueError(f"cross_entropy: target has the label {int(wrong[0])}, "
                         f"expected 0 to {shape[1] - 1} or ignore_index={ignore_index}")
    return labels, labels.size - int(kept.sum())


def _peaks(scores):
    """(2, N, L): at every place the largest score and the sum of e^(score - largest)."""
    scores = _places(contiguous(scores)[0])
    out = empty((2, scores.shape[0], scores.shape[2]), scores)
    peaks_kernel(scores, out)
    return out


def _weight_of(labels, classes, ignored):
    """The sum of the labels' weights."""
    kept = labels != ignored
    counts = module_of(labels).bincount(labels[kept], minlength=len(classes))
    return float(counts.astype(classes.dtype) @ classes)


def _places(x):
    """x (N, C, ...) as (N, C, L)."""
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))


def _lines(t):
    """t (N, ...) as (N, L)."""
    return t.reshape(len(t), math.prod(t.shape[1:]))


# --- the kernels ----------------------------------------------------------------------------------
def targets(x, labels, weight, smoothing, n, i):
    """(C,): how much of the cost at a place is -log softmax of each class."""
    share = (smoothing / x.shape[1]) * weight
    share[labels[n, i]] += (1 - smoothing) * weight[labels[n, i]]
    return share


@Kernel
def peaks_kernel(x, out):
    """out (2, N, L): the maximum m of the scores x (N, C, L), and the sum of e^(x - m)."""
    out[0] = x.max(1)
    out[1] = np.exp(x - out[0][:, None]).sum(1)


@peaks_kernel.variant("cpu_loops", parallel=True)            # a core owns one image
def _(x, out):
    N, C, L = x.shape
    for n in prange(N):
        for i in range(L):
            m, s = -np.inf, 0.0
            for c in range(C):
                m = max(m, x[n, c, i])
            for c in range(C):
                s += math.exp(x[n, c, i] - m)
            out[0, n, i], out[1, n, i] = m, s


peaks_kernel.python("cpu", cross_entropy_fast.peaks)


@peaks_kernel.gpu                                            # a thread owns one out[which, n, l]
def _(x, out):
    N, C, L = x.shape
    per_element(out, """
        const real *column = x + i / L % N * C * L + i % L;
        real m = column[0];
        for (int c = 1; c < C; ++c) m = column[c * L] > m ? column[c * L] : m;
        if (i < N * L) out = m;
        else for (int c = 0; c < C; ++c) out += exp(column[c * L] - m);
        """, x=x, N=N, C=C, L=L)


@Kernel
def label_costs(x, peaks, labels, weight, ignored, smoothing, out):
    """out (N, L): the cost of every label, from scores x (N, C, L); 0 of ignored ones."""
    for n, i in np.ndindex(labels.shape):
        (m, s), share = peaks[:, n, i], targets(x, labels, weight, smoothing, n, i)
        counts = share != 0                                  # 0 times an infinite cost is nothing
        out[n, i] = 0 if labels[n, i] == ignored else (
            share[counts] @ (np.log(s) - (x[n, counts, i] - m)))


@jit
def share_of(c, label, weight, smoothing):
    """One of `targets`."""
    return ((1 - smoothing) * (c == label) + smoothing / len(weight)) * weight[c]


@label_costs.variant("cpu_loops", parallel=True)
def _(x, peaks, labels, weight, ignored, smoothing, out):
    N, C, L = x.shape
    for n in prange(N):
        for i in range(L):
            m, s, cost = peaks[0, n, i], peaks[1, n, i], 0.0
            for c in range(C):
                share = share_of(c, labels[n, i], weight, smoothing)
                if share != 0 and labels[n, i] != ignored:
                    cost += share * (math.log(s) - (x[n, c, i] - m))
            out[n, i] = cost


label_costs.python("cpu", cross_entropy_fast.costs)


@label_costs.gpu                                             # a thread owns one label
def _(x, peaks, labels, weight, ignored, smoothing, out):
    N, C, L = x.shape
    per_element(out, """
        const real *column = x + i / L * C * L + i % L;
        int t = int(labels[i]);
        for (int c = 0; c < C && t != ignored; ++c) {
            real share = smoothing / C + (c == t ? 1 - smoothing : 0);
            if (share != 0)
                out += share * weight[c] * (log(peaks[N * L + i]) - (column[c * L] - peaks[i]));
        }
        """, x=x, peaks=peaks, labels=labels, weight=weight, ignored=ignored,
                smoothing=float(smoothing), N=N, C=C, L=L)


@Kernel
def label_costs_backward(g, x, peaks, labels, weight, ignored, smoothing, out):
    """out (N, C, L): the scores' gradients, g (N, L) being those of the costs."""
    for n, i in np.ndindex(labels.shape):
        m, s = peaks[:, n, i]
        share = targets(x, labels, weight, smoothing, n, i)
        out[n, :, i] = 0 if labels[n, i] == ignored else (
            g[n, i] * (share.sum() * (np.exp(x[n, :, i] - m) / s) - share))


@label_costs_backward.variant("cpu_loops", parallel=True)
def _(g, x, peaks, labels, weight, ignored, smoothing, out):
    N, C, L = x.shape
    for n in prange(N):
        for i in range(L):
            m, s, K = peaks[0, n, i], peaks[1, n, i], 0.0
            for c in range(C):
                K += share_of(c, labels[n, i], weight, smoothing)
            for c in range(C):
                share = share_of(c, labels[n, i], weight, smoothing)
                slope = K * math.exp(x[n, c, i] - m) / s - share
                out[n, c, i] = 0 if labels[n, i] == ignored else g[n, i] * slope


label_costs_backward.python("cpu", cross_entropy_fast.gradients)


@label_costs_backward.gpu                                    # a thread owns one out[n, c, l]
def _(g, x, peaks, labels, weight, ignored, smoothing, out):
    N, C, L = x.shape
    per_element(out, """
        int c = i / L % C, place = i / L / C * L + i % L, t = int(labels[place]);
        if (t != ignored) {
            real own = (1 - smoothing) * weight[t], even = smoothing / C;
            real softmax = exp(x[i] - peaks[place]) / peaks[N * L + place];
            out = g[place] * ((own + even * total) * softmax - even * weight[c]
                              - (c == t ? own : 0));
        }
        """, g=g, x=x, peaks=peaks, labels=labels, weight=weight, ignored=ignored,
                smoothing=float(smoothing), total=float(weight.sum()), N=N, C=C, L=L)
