r"""# An LSTM cell

Write `lstm_cell` and its gradient `lstm_cell_backward`.

A network that writes a caption, word by word, must remember what it has seen. An LSTM cell keeps a
memory c and shows a part of it, h. At each step four gates are computed from the input x and the
last h:

$$(i, f, g, o)_{\text{before}} = W x + b + U h + d$$

each of H numbers, in this order in the rows of W, U, b and d (PyTorch's); then

$$i, f, o = \text{sigmoid}(\cdot), \quad g = \tanh(\cdot), \qquad
c' = f\, c + i\, g, \qquad h' = o\, \tanh(c')$$

f says what is kept, i what of the new g is added, o what is shown.

**By hand**: one number each, W = U = 0 and b + d = 0, so i = f = o = 1/2 and g = 0. With c = 4:

    c' = 1/2 * 4 + 1/2 * 0 = 2,      h' = 1/2 tanh 2 = 0.482

**Backward.** Two gradients come in: gh = dL/dh' and gc = dL/dc' (from the next step). c' reaches
the loss both ways: by itself, and through h'. Return the gradients of all seven arguments, in their
order.

**Shapes.** input (N, I); h and c (N, H); w_ih (4 H, I); w_hh (4 H, H); b_ih and b_hh (4 H,).
"""
from __future__ import annotations

import itertools

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake
from tinyvision.exercises.forwards import Forward, product


def gates_of(input, h, w_ih, w_hh, b_ih, b_hh):
    """The four gates (i, f, g, o), each (N, H)."""
    before = input @ w_ih.T + b_ih + h @ w_hh.T + b_hh
    i, f, g, o = np.split(before, 4, axis=1)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    return sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)


def lstm_cell(input, h, c, w_ih, w_hh, b_ih, b_hh):
    """One step of an LSTM.

    Arguments:
        input: (N, I).
        h, c: (N, H), the state before.
        w_ih: (4 H, I), w_hh: (4 H, H): rows for i, f, g, o.
        b_ih, b_hh: (4 H,).

    Returns:
        (h, c), the state after, both (N, H).
    """
    ### BEGIN SOLUTION
    i, f, g, o = gates_of(input, h, w_ih, w_hh, b_ih, b_hh)
    c = f * c + i * g
    return o * np.tanh(c), c
    ### END SOLUTION


def lstm_cell_backward(gh, gc, input, h, c, w_ih, w_hh, b_ih, b_hh):
    """Gradients of a loss with respect to the arguments of `lstm_cell`.

    Arguments:
        gh, gc: (N, H) gradients with respect to the two results.
        input, h, c, w_ih, w_hh, b_ih, b_hh: what `lstm_cell` was called with.

    Returns:
        (ginput, gh, gc, gw_ih, gw_hh, gb_ih, gb_hh), with the shapes of the arguments.
    """
    ### BEGIN SOLUTION
    i, f, g, o = gates_of(input, h, w_ih, w_hh, b_ih, b_hh)
    shown = np.tanh(f * c + i * g)
    gc = gc + gh * o * (1 - shown ** 2)                     # all that reaches the new c
    before = np.concatenate([gc * g * i * (1 - i), gc * c * f * (1 - f),
                             gc * i * (1 - g ** 2), gh * shown * o * (1 - o)], axis=1)
    gb = before.sum(axis=0)
    return before @ w_ih, before @ w_hh, gc * f, before.T @ input, before.T @ h, gb, gb
    ### END SOLUTION


# ---- mistakes: forward ---------------------------------------------------------------------------

def _reordered(order):
    """The cell whose rows are read in another order."""
    def cell(input, h, c, *weights):
        H = h.shape[1]
        rows = np.concatenate([np.arange(H) + H * order.index(gate) for gate in "ifgo"])
        return lstm_cell(input, h, c, *(w[rows] for w in weights))
    return cell


ORDERS = [order for order in itertools.permutations("ifgo") if order != tuple("ifgo")]


def _changed(combine):
    """The cell that puts i, f, g, o and c together otherwise."""
    def cell(input, h, c, *weights):
        return combine(*gates_of(input, h, *weights), c)
    return cell


def _sigmoid_for_g(input, h, c, *weights):
    i, f, g, o = gates_of(input, h, *weights)
    c = f * c + i / (1 + np.exp(-np.arctanh(g)))
    return o * np.tanh(c), c


def _interleaved(input, h, c, *weights):
    H = h.shape[1]
    rows = np.arange(4 * H).reshape(H, 4).T.reshape(-1)
    return lstm_cell(input, h, c, *(w[rows] for w in weights))


def _one_bias(input, h, c, w_ih, w_hh, b_ih, b_hh):
    return lstm_cell(input, h, c, w_ih, w_hh, b_ih, 0 * b_hh)


def _weighted(*factors):
    """The cell with other factors of w_ih, w_hh, b_ih and b_hh."""
    def cell(input, h, c, *weights):
        return lstm_cell(input, h, c, *(k * w for k, w in zip(factors, weights)))
    return cell


def _all_tanh(input, h, c, *weights):
    """Every gate by tanh, where sigmoid(x) = (1 + tanh(x / 2)) / 2."""
    i, f, g, o = gates_of(input, h, *weights)
    i, f, o = (np.tanh(2 * np.arctanh(2 * gate - 1)) for gate in (i, f, o))
    c = f * c + i * g
    return o * np.tanh(c), c


def _forget_bias(input, h, c, w_ih, w_hh, b_ih, b_hh):
    """TensorFlow's cell adds 1 to the bias of f."""
    is_f = np.arange(len(b_ih)) // h.shape[1] == 1
    return lstm_cell(input, h, c, w_ih, w_hh, b_ih + is_f, b_hh)


def _h_for_c(input, h, c, *weights):
    return lstm_cell(input, h, h, *weights)


def _new_and_kept(i, f, g, o, c):
    new = (1 - i) * c + i * g
    return o * np.tanh(new), new


def _kept_and_new(i, f, g, o, c):
    new = f * c + (1 - f) * g
    return o * np.tanh(new), new


def _memory_squashed(i, f, g, o, c):
    new = np.tanh(f * c + i * g)
    return o * new, new


def _added_shown(i, f, g, o, c):
    return o * np.tanh(i * g), f * c + i * g


def _squashed_first(i, f, g, o, c):
    new = f * c + i * g
    return np.tanh(o * new), new


def _old_memory_shown(i, f, g, o, c):
    return o * np.tanh(c), f * c + i * g


def _not_squashed(i, f, g, o, c):
    new = f * c + i * g
    return o * new, new


def _sigmoid_shown(i, f, g, o, c):
    new = f * c + i * g
    return o / (1 + np.exp(-new)), new


def _not_gated(i, f, g, o, c):
    new = f * c + i * g
    return np.tanh(new), new


def _gate_for_state(i, f, g, o, c):
    return o, f * c + i * g


def _all_kept(i, f, g, o, c):
    new = c + i * g
    return o * np.tanh(new), new


def _all_let_in(i, f, g, o, c):
    new = f * c + g
    return o * np.tanh(new), new


def _c_first(i, f, g, o, c):
    new = f * c + i * g
    return new, o * np.tanh(new)


# ---- mistakes: backward --------------------------------------------------------------------------

def _backward(keep=1.0, direct=1.0, slope=lambda t, new: 1 - t ** 2, s=lambda p: p * (1 - p),
              t=lambda g: 1 - g ** 2, memory=lambda c, f, i, g: c, shown_by=np.tanh,
              past=lambda h, new: h, own=False, order="ifgo"):
    """The backward with some of its parts changed."""
    def backward(gh, gc, input, h, c, w_ih, w_hh, b_ih, b_hh):
        i, f, g, o = gates_of(input, h, w_ih, w_hh, b_ih, b_hh)
        new = f * c + i * g
        gc = direct * gc + keep * gh * o * slope(np.tanh(new), new)
        others = (i, f, g) if own else (g, memory(c, f, i, g), i)
        parts = [gc * others[0] * s(i), gc * others[1] * s(f), gc * others[2] * t(g),
                 gh * shown_by(new) * s(o)]
        before = np.concatenate([parts["ifgo".index(gate)] for gate in order], axis=1)
        gb, h = before.sum(0), past(h, o * np.tanh(new))
        return before @ w_ih, before @ w_hh, gc * f, before.T @ input, before.T @ h, gb, gb
    return backward


_gc_ignored = _backward(direct=0.0)
_through_h_forgotten = _backward(keep=0.0)
_tanh_forgotten = _backward(slope=lambda t, new: 1.0)
_sigmoid_forgotten = _backward(s=lambda p: 1.0)
_g_as_sigmoid = _backward(t=lambda g: g * (1 - g))
_g_not_undone = _backward(t=lambda g: 1.0)
_new_memory = _backward(memory=lambda c, f, i, g: f * c + i * g)


def _gc_not_forgotten(*args):
    ginput, gh, gc, *rest = lstm_cell_backward(*args)
    f = gates_of(*args[2:4], *args[5:])[1]
    return ginput, gh, gc / f, *rest


def _batch_mean(*args):
    *states, gw_ih, gw_hh, gb_ih, gb_hh = lstm_cell_backward(*args)
    return *states, *(w / len(args[0]) for w in (gw_ih, gw_hh, gb_ih, gb_hh))


def _bias_halved(*args):
    *others, gb_ih, gb_hh = lstm_cell_backward(*args)
    return *others, gb_ih / 2, gb_hh / 2


MISTAKES = (
    *(Mistake("lstm_cell", f"order-{'-'.join(order)}", "Your answers are those of rows "
              f"in the order {', '.join(order)}; PyTorch's is i, f, g, o. Or do gates stand in one "
              "another's place in your formulas?", _reordered(order))
      for order in ORDERS),
    Mistake("lstm_cell", "rows-interleaved", "The rows of one gate lie together: first all H of i, "
            "then all of f.", _interleaved),
    Mistake("lstm_cell", "sigmoid-for-g", "g is what may be added to the memory, also negative: "
            "which function has values from -1 to 1?", _sigmoid_for_g),
    Mistake("lstm_cell", "tanh-for-gates", "A gate lets through from nothing to everything: which "
            "function has values from 0 to 1?", _all_tanh),
    *(Mistake("lstm_cell", "one-bias", "There are two biases, b_ih and b_hh.", _weighted(*factors))
      for factors in ((1, 1, 1, 0), (1, 1, 0, 1), (1, 1, 0, 0))),
    *(Mistake("lstm_cell", "past-forgotten", "The gates do not depend on h in your code.",
              _weighted(*factors)) for factors in ((1, 0, 1, 1), (1, 0, 1, 0))),
    *(Mistake("lstm_cell", "input-forgotten", "The gates do not depend on the input in your code.",
              _weighted(*factors)) for factors in ((0, 1, 1, 1), (0, 1, 0, 1))),
    Mistake("lstm_cell", "forget-bias", "You add 1 to the gate f, as TensorFlow does; here its "
            "biases say all.", _forget_bias),
    Mistake("lstm_cell", "h-for-c", "What f keeps is the memory c, not what was shown of it.",
            _h_for_c),
    *(Mistake("lstm_cell", "gates-coupled", "One of your gates is 1 minus the other (as in a GRU); "
              "in an LSTM i and f are by themselves.", _changed(combine))
      for combine in (_new_and_kept, _kept_and_new)),
    Mistake("lstm_cell", "memory-squashed", "tanh is part of what is shown; the memory itself may "
            "grow above 1.", _changed(_memory_squashed)),
    Mistake("lstm_cell", "only-the-new-shown", "h' shows the whole memory, also what was kept.",
            _changed(_added_shown)),
    Mistake("lstm_cell", "gate-within-tanh", "o multiplies tanh of the memory; it does not stand "
            "within.", _changed(_squashed_first)),
    Mistake("lstm_cell", "nothing-forgotten", "f is not used: the memory is kept whole.",
            _changed(_all_kept)),
    Mistake("lstm_cell", "all-let-in", "i is not used: all of g is added to the memory.",
            _changed(_all_let_in)),
    Mistake("lstm_cell", "old-memory-shown", "h' shows the new memory; yours shows the old one.",
            _changed(_old_memory_shown)),
    Mistake("lstm_cell", "not-squashed", "h' shows tanh of the memory.", _changed(_not_squashed)),
    Mistake("lstm_cell", "sigmoid-of-memory", "h' shows tanh of the memory, which may be negative.",
            _changed(_sigmoid_shown)),
    Mistake("lstm_cell", "all-shown", "Your h' is tanh of the whole memory. Which gate says how "
            "much of it is shown?",
            _changed(_not_gated)),
    Mistake("lstm_cell", "gate-for-state", "Your h' is the gate o itself. What does o multiply?",
            _changed(_gate_for_state)),
    Mistake("lstm_cell", "c-first", "The results are exchanged: h comes first.",
            _changed(_c_first)),
    Mistake("lstm_cell_backward", "gc-ignored", "The gradient gc from the next step is not used.",
            _gc_ignored),
    Mistake("lstm_cell_backward", "not-through-h", "c' also reaches the loss through h'; that part "
            "of its gradient is missing.", _through_h_forgotten),
    Mistake("lstm_cell_backward", "tanh-forgotten", "Between c' and h' there is a tanh: where is "
            "its derivative?", _tanh_forgotten),
    Mistake("lstm_cell_backward", "tanh-of-memory", "The slope of tanh is 1 - t * t: is t what "
            "goes in, or what comes out?", _backward(slope=lambda t, new: 1 - new ** 2)),
    Mistake("lstm_cell_backward", "o-by-memory", "o was multiplied by tanh of the memory, not by "
            "the memory.", _backward(shown_by=lambda new: new)),
    Mistake("lstm_cell_backward", "own-factor", "The slope of a product a b by a: is it a or b?",
            _backward(own=True)),
    *(Mistake("lstm_cell_backward", "order-of-gates", "The rows of the weights are those of i, f, "
              "g, o, in this order.", _backward(order="".join(order))) for order in ORDERS),
    Mistake("lstm_cell_backward", "new-h", "w_hh was multiplied by h as it was before the step.",
            _backward(past=lambda h, new: new)),
    Mistake("lstm_cell_backward", "sigmoid-forgotten", "Your gradients of the gates stop behind "
            "the sigmoid. What is its derivative?", _sigmoid_forgotten),
    Mistake("lstm_cell_backward", "sigmoid-for-g", "g is a tanh, and its derivative is "
            "another.", _g_as_sigmoid),
    Mistake("lstm_cell_backward", "tanh-of-g-forgotten", "Your gradient of g stops behind the "
            "tanh.", _g_not_undone),
    Mistake("lstm_cell_backward", "new-memory-for-f", "f was multiplied by the memory before the "
            "step; yours is that after it.", _new_memory),
    Mistake("lstm_cell_backward", "gc-not-forgotten", "What was kept of c is f of it: so is its "
            "gradient.", _gc_not_forgotten),
    Mistake("lstm_cell_backward", "batch-mean", "The weights' gradients are sums over the batch, "
            "not means.", _batch_mean),
    Mistake("lstm_cell_backward", "bias-halved", "Both biases are added with the factor 1; neither "
            "has half of the gradient.", _bias_halved),
)


# ---- cases ---------------------------------------------------------------------------------------

def _draw(rng, N, I, H):
    """(input, h, c, w_ih, w_hh, b_ih, b_hh) whose gates are neither open nor closed."""
    shapes = (N, I), (N, H), (N, H), (4 * H, I), (4 * H, H), (4 * H,), (4 * H,)
    scales = 1, 1, 1, I ** -0.5, H ** -0.5, 0.5, 0.5
    return tuple(scale * rng.standard_normal(shape) for scale, shape in zip(scales, shapes))


def _plain(rng, still):
    """One positive number each, so that no sum is near 0; with `still` gates only biases matter."""
    x, h, c = (rng.permutation([1.0, 2, 0.5])[:1, None] for _ in range(3))
    w, u, b, d = (rng.permutation([0, 0.25, 0.5, 1]) for _ in range(4))
    factor = 0 if still else 1
    return x, h, c, factor * w[:, None], factor * u[:, None], b, d


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    def backward(name, args, points=1.0, gh=1.0, gc=1.0):
        signs = [1] if args[0].size == 1 else [-1, 1]
        g = [rng.choice(signs, args[1].shape) * rng.uniform(0.5, 2, args[1].shape)
             for _ in range(2)]
        return Case("lstm_cell_backward", f"backward, {name}", (gh * g[0], gc * g[1], *args),
                    points)
    return [
        Case("lstm_cell", "biases only", _plain(rng, True)),
        Case("lstm_cell", "one number each", _plain(rng, False)),
        Case("lstm_cell", "one sequence", _draw(rng, 1, 2, 3)),
        Case("lstm_cell", "several sequences", _draw(rng, 4, 5, 3)),
        Case("lstm_cell", "a narrow input", _draw(rng, 3, 2, 5)),
        backward("one number each", _plain(rng, False)),
        backward("from h only", _draw(rng, 1, 2, 3), gc=0.0),
        backward("from c only", _draw(rng, 1, 2, 3), gh=0.0),
        backward("several sequences", _draw(rng, 4, 5, 3), 2.0),
    ]


# ---- error bounds --------------------------------------------------------------------------------

# A pair (|value|, error); errors in units of that of the longest sum, of which a rounding of its
# own is a small part.

OWN = 0.5


def _times(*pairs):
    """The product of such pairs."""
    value = np.prod([v for v, _ in pairs], axis=0)
    others = (np.prod([v for k, (v, _) in enumerate(pairs) if k != j], axis=0)
              for j in range(len(pairs)))
    return value, OWN * value + sum(e * rest for (_, e), rest in zip(pairs, others))


def _curve(value, slope, error):
    """A function's value, where its argument has an error."""
    return np.abs(value), np.abs(slope) * error + OWN * np.abs(value)


def _gate_pairs(input, h, w_ih, w_hh, b_ih, b_hh):
    """Of i, f, g, o the pairs of values and the pairs of slopes."""
    sums = np.abs(input) @ np.abs(w_ih.T) + np.abs(h) @ np.abs(w_hh.T) + np.abs(b_ih) + (
        np.abs(b_hh))
    gates, slopes = gates_of(input, h, w_ih, w_hh, b_ih, b_hh), []
    for k, (a, error) in enumerate(zip(gates, np.split(sums, 4, axis=1))):
        slope, bend = (1 - a ** 2, 2 * a) if k == 2 else (a * (1 - a), 1 - 2 * a)
        pair = _curve(a, slope, error)
        slopes.append((pair, _curve(slope, bend, pair[1])))
    return [pair for pair, _ in slopes], [slope for _, slope in slopes]


def _exact(a):
    return np.abs(a), OWN * np.abs(a)


def _memory(i, f, g, c):
    """The error of f c + i g."""
    kept, added = _times(f, _exact(c)), _times(i, g)
    return kept[1] + added[1] + OWN * (kept[0] + added[0])


def _magnitude(input, h, c, *weights):
    (i, f, g, o), _ = _gate_pairs(input, h, *weights)
    error, shown = _memory(i, f, g, c), np.tanh(lstm_cell(input, h, c, *weights)[1])
    return _times(o, _curve(shown, 1 - shown ** 2, error))[1], error


def _backward_magnitude(gh, gc, input, h, c, *weights):
    (i, f, g, o), (di, df, dg, do) = _gate_pairs(input, h, *weights)
    error, shown = _memory(i, f, g, c), np.tanh(lstm_cell(input, h, c, *weights)[1])
    tanh = _curve(shown, 1 - shown ** 2, error)
    through = _times(_exact(gh), o, _curve(1 - shown ** 2, 2 * shown, tanh[1]))
    gc = np.abs(gc) + through[0], OWN * (np.abs(gc) + through[0]) + through[1]
    parts = [_times(gc, g, di), _times(gc, _exact(c), df), _times(gc, i, dg),
             _times(_exact(gh), tanh, do)]
    before = np.concatenate([value + error for value, error in parts], axis=1)
    w_ih, w_hh, gb = *map(np.abs, weights[:2]), before.sum(0)
    return (before @ w_ih, before @ w_hh, _times(gc, f)[1], before.T @ np.abs(input),
            before.T @ np.abs(h), gb, gb)


def _terms(input, h, *others):
    return input.shape[1] + h.shape[1] + 8


def _backward_terms(gh, gc, input, h, *others):
    return 4 * h.shape[1] + len(input) + _terms(input, h)


# ---- the forward of the backward -----------------------------------------------------------------

def _calls(gh, gc, *args):
    return [(args, range(len(args)))]


def _loss(answer, gh, gc, *args):
    return product(answer[0], gh) + product(answer[1], gc)


EXERCISE = Exercise(
    name="lstm_cell", title="An LSTM cell and its gradient",
    lecture="UW, Image Captioning: CNN + RNN", source="tinyvision/ops/recurrent.py",
    functions={"lstm_cell": lstm_cell, "lstm_cell_backward": lstm_cell_backward},
    cases=cases, mistakes=MISTAKES,
    magnitude={"lstm_cell": _magnitude, "lstm_cell_backward": _backward_magnitude},
    terms={"lstm_cell": _terms, "lstm_cell_backward": _backward_terms},
    forwards={"lstm_cell_backward": Forward("lstm_cell", _calls, _loss)})
