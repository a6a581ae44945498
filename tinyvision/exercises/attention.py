r"""# Scaled dot product attention

Write `attention_weights`, `scaled_dot_product_attention` and the gradient
`scaled_dot_product_attention_backward`.

A transformer lets every token look at all others: each query asks, each key answers how well it
fits, and the query takes the mean of the values, weighted by how well their keys fit. For queries
q (T of them, E numbers each), keys k and values v (S of them):

$$P = \text{softmax}\left(\frac{q\, k^T}{\sqrt E}\right), \qquad y = P\, v$$

where the softmax runs over the keys: the weights of one query sum to 1.

**By hand**: E = 4, the query (1, 1, 1, 1), the keys (0, 0, 0, 0) and (1, 1, 0, 0), the values 10
and 20. The scores are 0 / 2 = 0 and 2 / 2 = 1, the weights 1 / (1 + e) = 0.269 and
e / (1 + e) = 0.731:

    y = 0.269 * 10 + 0.731 * 20 = 17.31

**The mask** is None, or boolean with True where a query may look at a key. A key that is hidden has
the weight 0, whatever its score; a query that may look nowhere gets zeros, not NaN. Scores can be
as large as 1000: subtract the largest before the exponential.

**Backward.** Given g = dL/dy, return dL/dq, dL/dk and dL/dv. With dL/dP = g v^T, the softmax of
one row sends back

$$\frac{dL}{d\,\text{score}_s} = P_s \left(\frac{dL}{dP_s} - \sum_r P_r \frac{dL}{dP_r}\right)$$

**Shapes.** query (B, T, E), key (B, S, E), value (B, S, F), mask (T, S) or (B, T, S); weights
(B, T, S), y and g (B, T, F). B is the number of sequences and heads; each is by itself.
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake


def attention_weights(query, key, attn_mask):
    """How much of each key every query takes.

    Arguments:
        query: (B, T, E).
        key: (B, S, E).
        attn_mask: None, or boolean (T, S) or (B, T, S), True where a query may look.

    Returns:
        (B, T, S) weights. The weights of a query sum to 1, or are all 0 if it may look nowhere.
    """
    ### BEGIN SOLUTION
    scores = query @ key.swapaxes(1, 2) / query.shape[2] ** 0.5
    if attn_mask is not None:
        scores = np.where(attn_mask, scores, np.finfo(scores.dtype).min)
    e = np.exp(scores - scores.max(axis=2, keepdims=True))
    if attn_mask is not None:
        e = e * attn_mask               # who may look nowhere has the same score for all keys
    return e / np.maximum(e.sum(axis=2, keepdims=True), 1)  # e^0 is in every other sum
    ### END SOLUTION


def scaled_dot_product_attention(query, key, value, attn_mask):
    """The values, weighted for every query.

    Arguments:
        query: (B, T, E).
        key: (B, S, E).
        value: (B, S, F).
        attn_mask: None, or boolean (T, S) or (B, T, S), True where a query may look.

    Returns:
        (B, T, F).
    """
    ### BEGIN SOLUTION
    return attention_weights(query, key, attn_mask) @ value
    ### END SOLUTION


def scaled_dot_product_attention_backward(g, query, key, value, attn_mask):
    """Gradients of a loss with respect to the arguments of `scaled_dot_product_attention`.

    Arguments:
        g: (B, T, F) gradient with respect to the result.
        query, key, value, attn_mask: what `scaled_dot_product_attention` was called with.

    Returns:
        (gquery, gkey, gvalue), with the shapes of query, key and value.
    """
    ### BEGIN SOLUTION
    weights = attention_weights(query, key, attn_mask)
    gweights = g @ value.swapaxes(1, 2)
    mean = (weights * gweights).sum(axis=2, keepdims=True)
    gscores = weights * (gweights - mean) / query.shape[2] ** 0.5
    return gscores @ key, gscores.swapaxes(1, 2) @ query, weights.swapaxes(1, 2) @ g
    ### END SOLUTION


# ---- mistakes: weights ---------------------------------------------------------------------------

def _no_scale(query, key, attn_mask):
    return attention_weights(query * query.shape[2] ** 0.5, key, attn_mask)


def _scale_without_root(query, key, attn_mask):
    return attention_weights(query / query.shape[2] ** 0.5, key, attn_mask)


def _scale_by(length):
    """The weights whose scores are divided by the root of another length(query, key)."""
    def weights(query, key, attn_mask):
        return attention_weights(query * (query.shape[2] / length(query, key)) ** 0.5, key,
                                 attn_mask)
    return weights


def _times_root(query, key, attn_mask):
    return attention_weights(query * query.shape[2], key, attn_mask)


def _over_queries(query, key, attn_mask):
    scores = query @ key.swapaxes(1, 2) / query.shape[2] ** 0.5
    seen = np.ones(scores.shape, bool) & (True if attn_mask is None else attn_mask)
    scores = np.where(seen, scores, -1e9)
    e = np.exp(scores - scores.max(1, keepdims=True)) * seen
    return e / np.maximum(e.sum(1, keepdims=True), 1)


def _over_all(axes):
    """The softmax over the axes (query, key), or over all heads as well."""
    def weights(query, key, attn_mask):
        scores = query @ key.swapaxes(1, 2) / query.shape[2] ** 0.5
        seen = np.ones(scores.shape, bool) & (True if attn_mask is None else attn_mask)
        largest = np.where(seen, scores, -np.inf).max(axes, keepdims=True)
        e = np.where(seen, np.exp(scores - largest), 0)
        return e / e.sum(axes, keepdims=True)
    return weights


def _no_mask(query, key, attn_mask):
    return attention_weights(query, key, None)


def _mask_reversed(query, key, attn_mask):
    return attention_weights(query, key, None if attn_mask is None else ~attn_mask)


def _mask_after_softmax(query, key, attn_mask):
    return _no_mask(query, key, None) * (1 if attn_mask is None else attn_mask)


def _mask_scores_zero(query, key, attn_mask):
    seen = 1 if attn_mask is None else attn_mask
    scores = query @ key.swapaxes(1, 2) / query.shape[2] ** 0.5 * seen
    e = np.exp(scores - scores.max(2, keepdims=True))
    return e / e.sum(2, keepdims=True)


def _uniform_if_blind(query, key, attn_mask):
    blind = False if attn_mask is None else ~attn_mask.any(-1, keepdims=True)
    return attention_weights(query, key, attn_mask) + blind / key.shape[1]


def _nan_if_blind(query, key, attn_mask):
    blind = False if attn_mask is None else ~attn_mask.any(-1, keepdims=True)
    return attention_weights(query, key, attn_mask) + np.where(blind, np.nan, 0)


def _blind_added(least):
    """Hidden scores get a large negative number added: a blind query's scores remain, rounded."""
    def weights(query, key, attn_mask):
        scores = query @ key.swapaxes(1, 2) / query.shape[2] ** 0.5
        scores = scores + (0 if attn_mask is None else np.where(attn_mask, 0.0, least))
        e = np.exp(scores - scores.max(2, keepdims=True))
        return e / e.sum(2, keepdims=True)
    return weights


def _exponentials(subtracted, guarded, masked=False):
    """Weights by exponentials that become infinite, or all 0; 0 / 0 stands or becomes 0. Hidden
    scores are hidden at once (`masked`), or only their exponentials."""
    def weights(query, key, attn_mask):
        scores = query @ key.swapaxes(1, 2) / query.shape[2] ** 0.5
        if masked and attn_mask is not None:
            scores = np.where(attn_mask, scores, -1e30)
        with np.errstate(over="ignore", invalid="ignore"):
            e = np.exp(scores - subtracted(scores)) * (1 if attn_mask is None else attn_mask)
            total = e.sum(2, keepdims=True)
            return e / np.where((total == 0) & guarded, 1, total)
    return weights


def _sum_enlarged(least):
    """The weights whose sum has a small number added, against 0 / 0."""
    def weights(query, key, attn_mask):
        scores = query @ key.swapaxes(1, 2) / query.shape[2] ** 0.5
        seen = np.ones(scores.shape, bool) & (True if attn_mask is None else attn_mask)
        scores = np.where(seen, scores, -1e30)
        e = np.exp(scores - scores.max(2, keepdims=True)) * seen
        return e / (e.sum(2, keepdims=True) + least)
    return weights


def _not_normalised(subtracted):
    """The exponentials themselves."""
    def weights(query, key, attn_mask):
        scores = query @ key.swapaxes(1, 2) / query.shape[2] ** 0.5
        seen = np.ones(scores.shape, bool) & (True if attn_mask is None else attn_mask)
        with np.errstate(over="ignore"):
            largest = np.where(seen, scores, -1e30).max(2, keepdims=True) if subtracted else 0
            return np.where(seen, np.exp(scores - largest), 0)
    return weights


def _no_softmax(query, key, attn_mask):
    scores = query @ key.swapaxes(1, 2) / query.shape[2] ** 0.5
    return scores * (1 if attn_mask is None else attn_mask)


# ---- mistakes: forward and backward --------------------------------------------------------------

def _with(weights):
    """The attention that has other weights."""
    def attention(query, key, value, attn_mask):
        with np.errstate(over="ignore", invalid="ignore"):
            return weights(query, key, attn_mask) @ value
    return attention


def _changed(gscores_of):
    """The backward whose score gradients are made otherwise, of P, dL/dP and E."""
    def backward(g, query, key, value, attn_mask):
        weights = attention_weights(query, key, attn_mask)
        gscores = gscores_of(weights, g @ value.swapaxes(1, 2), query.shape[2])
        return gscores @ key, gscores.swapaxes(1, 2) @ query, weights.swapaxes(1, 2) @ g
    return backward


def _softmax_backward(p, gp):
    return p * (gp - (p * gp).sum(2, keepdims=True))


_elementwise = _changed(lambda p, gp, E: p * (1 - p) * gp / E ** 0.5)
_no_mean = _changed(lambda p, gp, E: p * gp / E ** 0.5)
_plain_mean = _changed(lambda p, gp, E: p * (gp - gp.mean(2, keepdims=True)) / E ** 0.5)
_no_weights = _changed(lambda p, gp, E: (gp - (p * gp).sum(2, keepdims=True)) / E ** 0.5)
_backward_no_scale = _changed(lambda p, gp, E: _softmax_backward(p, gp))
_backward_without_root = _changed(lambda p, gp, E: _softmax_backward(p, gp) / E)
_mean_over_queries = _changed(lambda p, gp, E: p * (gp - (p * gp).sum(1, keepdims=True)) / E ** 0.5)
_mean_added = _changed(lambda p, gp, E: p * (gp + (p * gp).sum(2, keepdims=True)) / E ** 0.5)
_softmax_forgotten = _changed(lambda p, gp, E: gp / E ** 0.5)


def _backward_with(weights_of):
    """The backward of other weights."""
    def backward(g, query, key, value, attn_mask):
        p = weights_of(query, key, attn_mask)
        gscores = _softmax_backward(p, g @ value.swapaxes(1, 2)) / query.shape[2] ** 0.5
        return gscores @ key, gscores.swapaxes(1, 2) @ query, p.swapaxes(1, 2) @ g
    return backward


def _gquery_scale_only(g, query, key, value, attn_mask):
    gquery, gkey, gvalue = scaled_dot_product_attention_backward(g, query, key, value, attn_mask)
    return gquery, gkey * query.shape[2] ** 0.5, gvalue


def _gkey_scale_only(g, query, key, value, attn_mask):
    gquery, gkey, gvalue = scaled_dot_product_attention_backward(g, query, key, value, attn_mask)
    return gquery * query.shape[2] ** 0.5, gkey, gvalue


def _gkey_gquery_exchanged(g, query, key, value, attn_mask):
    gquery, gkey, gvalue = scaled_dot_product_attention_backward(g, query, key, value, attn_mask)
    return gkey, gquery, gvalue


def _gvalue_of_scores(g, query, key, value, attn_mask):
    gquery, gkey, _ = scaled_dot_product_attention_backward(g, query, key, value, attn_mask)
    scores = query @ key.swapaxes(1, 2) / query.shape[2] ** 0.5
    return gquery, gkey, scores.swapaxes(1, 2) @ g


def _backward_no_mask(g, query, key, value, attn_mask):
    return scaled_dot_product_attention_backward(g, query, key, value, None)


WEIGHTS = (                             # wrong in the weights, and so in what is made of them
    ("not-scaled", "The scores are divided by the root of E, else long vectors make the softmax "
     "choose one key alone.", _no_scale),
    ("scaled-without-root", "The scores are divided by the root of E.", _scale_without_root),
    ("scaled-by-keys", "E is the length of a query, not the number of keys.",
     _scale_by(lambda query, key: key.shape[1])),
    ("scaled-by-queries", "E is the length of a query, not the number of queries.",
     _scale_by(lambda query, key: query.shape[1])),
    ("multiplied-by-the-root", "The scores are divided by the root of E; yours are multiplied.",
     _times_root),
    ("softmax-over-queries", "Your softmax runs over the queries. Whose weights should sum to 1?",
     _over_queries),
    *(("softmax-over-all", "Your softmax runs over all queries together. The weights of each query "
       "sum to 1.", _over_all(axes)) for axes in ((1, 2), (0, 1, 2))),
    ("mask-ignored", "The mask is not used.", _no_mask),
    ("mask-reversed", "True means that a query may look there.", _mask_reversed),
    ("mask-after-softmax", "You hide keys after the softmax, so the weights that remain do not sum "
     "to 1.", _mask_after_softmax),
    ("hidden-score-zero", "A hidden key's score is 0 in your code, and e^0 = 1 still counts. Which "
     "score has the weight 0?", _mask_scores_zero),
    ("blind-query-uniform", "A query that may look nowhere takes all keys alike in your code; it "
     "should take none.", _uniform_if_blind),
    *(("blind-query-sees", "A query that may look nowhere takes the keys as if there were no mask: "
       "adding the same number to all scores changes no weight.", _blind_added(least))
      for least in (-1e4, -1e6, -1e9, -1e10)),
    *(("sum-enlarged", "A small number added to the sum avoids 0 / 0, but then the weights do not "
       "sum to 1.", _sum_enlarged(10.0 ** -n)) for n in (5, 6, 7, 8, 9, 10, 12)),
    ("blind-query-nan", "A query that may look nowhere gets NaN: what is its sum of exponentials?",
     _nan_if_blind),
    ("overflow", "With large scores your exponentials are infinite. What can be subtracted from "
     "all scores without changing a weight?", _exponentials(lambda scores: 0, True)),
    ("overflow", "With large scores your exponentials are infinite. What can be subtracted from "
     "all scores without changing a weight?", _exponentials(lambda scores: 0, False)),
    *(("one-maximum", "You subtract the largest of all scores, so the exponentials of a query with "
       "small scores are all 0. Each query has its own largest.",
       _exponentials(np.max, guarded, masked))
      for guarded in (True, False) for masked in (True, False)),
    *(("hidden-maximum", "The largest score, which you subtract, can be that of a hidden key; the "
       "exponentials of all others may then be 0. Of which scores should it be the largest?",
       _exponentials(lambda scores: scores.max(2, keepdims=True), guarded))
      for guarded in (True, False)),
    *(("not-normalised", "These are the exponentials. Their sum is not 1 yet.",
       _not_normalised(subtracted)) for subtracted in (True, False)),
    ("no-softmax", "Your weights are scores, not their softmax: in a row they should be positive "
     "and sum to 1.", _no_softmax),
)

THROUGH = ("softmax-over-queries", "mask-reversed", "mask-after-softmax", "hidden-score-zero",
           "blind-query-uniform", "blind-query-nan", "blind-query-sees")

MISTAKES = (
    *(Mistake("attention_weights", *mistake) for mistake in WEIGHTS),
    *(Mistake("scaled_dot_product_attention", name, hint, _with(weights))
      for name, hint, weights in WEIGHTS),
    Mistake("scaled_dot_product_attention_backward", "softmax-elementwise", "p (1 - p) is the "
            "sigmoid's derivative: in a softmax every weight depends on every score.",
            _elementwise),
    Mistake("scaled_dot_product_attention_backward", "mean-forgotten", "The weights sum to 1, so "
            "one can only grow if the others shrink: a term is missing in the softmax's gradient.",
            _no_mean),
    Mistake("scaled_dot_product_attention_backward", "mean-not-weighted", "What is subtracted in "
            "the softmax's gradient is a mean weighted by P.", _plain_mean),
    Mistake("scaled_dot_product_attention_backward", "weights-forgotten", "The softmax's gradient "
            "is also multiplied by P.", _no_weights),
    Mistake("scaled_dot_product_attention_backward", "softmax-forgotten", "Your gradient goes from "
            "the weights to the scores as if there were no softmax.", _softmax_forgotten),
    Mistake("scaled_dot_product_attention_backward", "not-scaled", "The scores were divided by the "
            "root of E; so is their gradient.", _backward_no_scale),
    Mistake("scaled_dot_product_attention_backward", "scaled-without-root", "The scores were "
            "divided by the root of E, not by E.", _backward_without_root),
    Mistake("scaled_dot_product_attention_backward", "mean-over-queries", "What is subtracted in "
            "the softmax's gradient is a mean over the keys of one query.", _mean_over_queries),
    Mistake("scaled_dot_product_attention_backward", "mean-added", "The weighted mean is "
            "subtracted: what one key wins the others lose.", _mean_added),
    Mistake("scaled_dot_product_attention_backward", "gquery-not-scaled", "Your dL/dkey is scaled, "
            "your dL/dquery is not.", _gkey_scale_only),
    Mistake("scaled_dot_product_attention_backward", "gkey-not-scaled", "Your dL/dquery is scaled, "
            "your dL/dkey is not.", _gquery_scale_only),
    Mistake("scaled_dot_product_attention_backward", "query-and-key-exchanged", "dL/dquery and "
            "dL/dkey are exchanged.", _gkey_gquery_exchanged),
    Mistake("scaled_dot_product_attention_backward", "gvalue-of-scores", "The values were weighted "
            "by P, not by the scores.", _gvalue_of_scores),
    Mistake("scaled_dot_product_attention_backward", "mask-ignored", "The mask is not used.",
            _backward_no_mask),
    *(Mistake("scaled_dot_product_attention_backward", name, hint, _backward_with(weights))
      for name, hint, weights in WEIGHTS if name in THROUGH),
)


# ---- cases ---------------------------------------------------------------------------------------

def _mask(rng, *shape):
    """About a third is hidden; the first query sees one key, the last one none."""
    mask = rng.permuted(np.arange(shape[-1]) % 3 > 0 + np.zeros(shape, int), axis=-1)
    mask[..., 0, :] = np.arange(shape[-1]) == rng.integers(shape[-1])
    mask[..., -1, :] = False
    return mask


def _draw(rng, B, T, S, E, F):
    return (rng.standard_normal((B, T, E)), rng.standard_normal((B, S, E)) + 0.3,
            rng.standard_normal((B, S, F)) + 0.5)


def _large(rng):
    """Queries whose scores are in the thousands; those of the first are negative."""
    query, key, value = _draw(rng, 1, 3, 4, 9, 1)
    return 1000 * np.abs(query) * np.array([[-1.0], [1], [1]]), np.abs(key), value


def _by_hand(rng):
    """One query of ones, two keys of zeros and ones, two values."""
    keys = np.arange(4) < rng.permutation(5)[:2, None]
    values = np.array([[10.0], [20]]) + rng.integers(0, 9, (2, 1))
    return np.ones((1, 1, 4)), keys[None].astype(float), values[None]


def _outshone(rng, args, mask):
    """The same, but that a hidden key's score is far above all others of the second query. No
    exponential overflows, but those of the others vanish if that score is subtracted."""
    query, key, *value = args
    seen = np.broadcast_to(mask, (len(query), *mask.shape[-2:]))[:, 1]
    hidden = np.arange(key.shape[1]) == seen.argmin(axis=1)[:, None]
    key[..., 0] = np.where(hidden, 0.8, -0.7) + 0.002 * rng.standard_normal(hidden.shape)
    query[:, 1, 0] = 600 * query.shape[2] ** 0.5
    return query, key, *value


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    def weights(name, args, mask=None):
        return Case("attention_weights", f"weights, {name}", (*args[:2], mask))

    def forward(name, args, mask=None):
        return Case("scaled_dot_product_attention", name, (*args, mask))

    def backward(name, args, mask=None):
        g = rng.standard_normal((*args[0].shape[:2], args[2].shape[2])) + 0.5
        return Case("scaled_dot_product_attention_backward", f"backward, {name}",
                    (g, *args, mask))
    mask, masks = _mask(rng, 4, 6), _mask(rng, 2, 4, 5)
    first_blind = np.roll(_mask(rng, 2, 4, 4), 1, axis=1)   # not the last one, as elsewhere
    return [
        weights("two keys", _by_hand(rng)),
        weights("two heads", _draw(rng, 2, 3, 5, 4, 1)),
        weights("large scores", _large(rng)),
        weights("a mask", _outshone(rng, _draw(rng, 2, 4, 6, 3, 1), mask), mask),
        forward("large scores", _large(rng)),
        forward("a mask for each head", _outshone(rng, _draw(rng, 2, 4, 5, 3, 6), masks), masks),
        backward("two keys", _by_hand(rng)),
        backward("two heads", _draw(rng, 2, 3, 5, 4, 6)),
        backward("a mask for each head, as many queries as keys", _draw(rng, 2, 4, 4, 3, 5),
                 first_blind),
        backward("a mask", _draw(rng, 2, 4, 5, 3, 6), _mask(rng, 4, 5)),
    ]


# ---- error bounds --------------------------------------------------------------------------------

def _weights_magnitude(query, key, attn_mask):
    """dP = P (ds - sum P ds): sure weights move little, however large the scores."""
    p, E = attention_weights(query, key, attn_mask), query.shape[2]
    scores = query @ key.swapaxes(1, 2) / E ** 0.5
    size = np.abs(query) @ np.abs(key.swapaxes(1, 2)) / E ** 0.5
    seen = True if attn_mask is None else attn_mask
    below = np.where(p > 0, np.abs(scores - np.where(seen, scores, -1e9).max(2, keepdims=True)), 0)
    mean = (p * size).sum(2, keepdims=True) - p * size
    reach = size * (1 - p) + mean + below + (p * below).sum(2, keepdims=True) + 2
    return p * reach + 1e-30 * (p > 0)                      # what vanishes in float32 may be 0


def _magnitude(query, key, value, attn_mask):
    return _weights_magnitude(query, key, attn_mask) @ np.abs(value)


def _backward_magnitude(g, query, key, value, attn_mask):
    weights = _weights_magnitude(query, key, attn_mask)
    p, gp = attention_weights(query, key, attn_mask), np.abs(g) @ np.abs(value.swapaxes(1, 2))
    gscores = (weights * (gp + (p * gp).sum(2, keepdims=True))
               + p * (weights * gp).sum(2, keepdims=True)) / query.shape[2] ** 0.5
    return (gscores @ np.abs(key), gscores.swapaxes(1, 2) @ np.abs(query),
            weights.swapaxes(1, 2) @ np.abs(g))


def _terms(query, key, *others):
    return query.shape[2] + key.shape[1] + 6


def _backward_terms(g, query, key, *others):
    return query.shape[2] + sum(g.shape[1:]) + 2 * key.shape[1] + 8


def _masked(query, key, attn_mask):
    """Whether a mask has the shape that the task says."""
    shape = (len(query), query.shape[1], key.shape[1])
    return attn_mask is None or attn_mask.shape in (shape, shape[1:])


EXERCISE = Exercise(
    name="attention", title="Scaled dot product attention and its gradient",
    lecture="UW, Self-attention is expensive", source="tinyvision/ops/attention.py",
    functions={f.__name__: f for f in (attention_weights, scaled_dot_product_attention,
                                       scaled_dot_product_attention_backward)},
    cases=cases, mistakes=MISTAKES,
    domain={"attention_weights": _masked,
            "scaled_dot_product_attention": lambda query, key, value, attn_mask: _masked(
                query, key, attn_mask),
            "scaled_dot_product_attention_backward": lambda g, query, key, value, attn_mask:
                _masked(query, key, attn_mask)},
    magnitude={"attention_weights": _weights_magnitude,
               "scaled_dot_product_attention": _magnitude,
               "scaled_dot_product_attention_backward": _backward_magnitude},
    terms={"attention_weights": _terms, "scaled_dot_product_attention": _terms,
           "scaled_dot_product_attention_backward": _backward_terms})
