r"""# Patch embedding

Write `patchify`, `patch_embedding` and its gradient `patch_embedding_backward`.

A vision transformer reads an image as a sentence whose words are patches. Each patch of I x J
pixels becomes a vector, a linear layer makes a token of it, a learned class token [CLS] is put in
front (its output will be the prediction), and every place in the sentence adds its own learned
position:

$$z_{n,0} = \text{cls} + \text{pos}_0 \qquad
z_{n,t} = W\, p_{n,t-1} + \beta + \text{pos}_t \quad (t = 1, 2, \dots)$$

**Order.** Patches are counted row by row over the image. Inside a patch the vector holds channel
by channel, each row by row (so W is a convolution's weight, written flat, with its kernel size as
stride).

**By hand.** One channel, patches of 2 x 2, tokens of one number:

    1 2 5 6     patches (1, 2, 3, 4) and (5, 6, 7, 8)      W = (1, 0, 0, 10), bias 50:
    3 4 7 8     1 + 40 + 50 = 91,  5 + 80 + 50 = 135

    with [CLS] = 7 and positions (100, 200, 300): tokens  107  291  435

**Backward.** Given g = dL/dz, return the gradients of x, weight, bias, class_token and positions.
What serves all images (or all patches) gets the sum of what arrives from all of them. The pixels
get theirs back at the places where they were: each is in exactly one patch.

**Shapes.** x (N, C, H, W), patch_size (I, J) with H = A I and W = B J; patches (N, A B, C I J);
weight (D, C I J), bias (D,), class_token (D,), positions (1 + A B, D); z (N, 1 + A B, D).
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.bounds import absolute
from tinyvision.exercises.draws import random, small
from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions
from tinyvision.exercises.slips import part


def patchify(x, patch_size):
    """An image as a sequence of patches.

    Arguments:
        x: (N, C, H, W) images.
        patch_size: (I, J); H is a multiple of I, W one of J.

    Returns:
        (N, A B, C I J) with A = H / I and B = W / J.
    """
    ### BEGIN SOLUTION
    (N, C, H, W), (I, J) = x.shape, patch_size
    A, B = H // I, W // J
    patches = x.reshape(N, C, A, I, B, J).transpose(0, 2, 4, 1, 3, 5)
    return patches.reshape(N, A * B, C * I * J)
    ### END SOLUTION


def patch_embedding(x, weight, bias, class_token, positions, patch_size):
    """The sequence of tokens that a vision transformer reads.

    Arguments:
        x: (N, C, H, W) images.
        weight: (D, C I J) of the linear layer.
        bias: (D,) of the linear layer.
        class_token: (D,), put in front of the patches' tokens.
        positions: (1 + A B, D), added to all tokens; the first one belongs to the class token.
        patch_size: (I, J).

    Returns:
        (N, 1 + A B, D).
    """
    ### BEGIN SOLUTION
    tokens = patchify(x, patch_size) @ weight.T + bias
    front = np.broadcast_to(class_token, (len(x), 1, len(class_token)))
    return np.concatenate([front, tokens], axis=1) + positions
    ### END SOLUTION


def patch_embedding_backward(g, x, weight, bias, class_token, positions, patch_size):
    """Gradients of a loss with respect to the arguments of `patch_embedding`.

    Arguments:
        g: (N, 1 + A B, D) gradient with respect to the result.
        x, weight, bias, class_token, positions, patch_size: what it was called with.

    Returns:
        (gx, gweight, gbias, gclass_token, gpositions) with the shapes of the arguments.
    """
    ### BEGIN SOLUTION
    (N, C, H, W), (I, J) = x.shape, patch_size
    front, tokens = g[:, 0], g[:, 1:]
    gpatches = (tokens @ weight).reshape(N, H // I, W // J, C, I, J)
    gx = gpatches.transpose(0, 3, 1, 4, 2, 5).reshape(N, C, H, W)
    gweight = np.einsum("ntd,ntk->dk", tokens, patchify(x, patch_size))
    gbias = np.einsum("ntd->d", tokens)
    return gx, gweight, gbias, front.sum(axis=0), g.sum(axis=0)
    ### END SOLUTION


# ---- mistakes: the patches -----------------------------------------------------------------------

def _split(x, patch_size, order):
    """The axes (N, C, A, I, B, J) in another order, then (N, A B, C I J)."""
    (N, C, H, W), (I, J) = x.shape, patch_size
    parts = x.reshape(N, C, H // I, I, W // J, J).transpose(order)
    return parts.reshape(N, (H // I) * (W // J), C * I * J)


def _not_transposed(x, patch_size):
    return _split(x, patch_size, (0, 1, 2, 3, 4, 5))


def _channels_last(x, patch_size):
    return _split(x, patch_size, (0, 2, 4, 3, 5, 1))


def _patches_by_column(x, patch_size):
    return _split(x, patch_size, (0, 4, 2, 1, 3, 5))


def _pixels_by_column(x, patch_size):
    return _split(x, patch_size, (0, 2, 4, 1, 5, 3))


def _every_nth(x, patch_size):
    """Pixels A rows and B columns apart: the patch axes read the wrong way round."""
    (N, C, H, W), (I, J) = x.shape, patch_size
    parts = x.reshape(N, C, I, H // I, J, W // J).transpose(0, 3, 5, 1, 2, 4)
    return parts.reshape(N, (H // I) * (W // J), C * I * J)


def _size_exchanged(x, patch_size):
    """(J, I) where that divides the image, else as many whole patches as fit."""
    (I, J), (H, W) = patch_size, x.shape[2:]
    return patchify(x[:, :, :H // J * J, :W // I * I], (J, I))


def _both_by_column(x, patch_size):
    return _split(x, patch_size, (0, 4, 2, 1, 5, 3))


def _channels_last_by_column(x, patch_size):
    return _split(x, patch_size, (0, 2, 4, 5, 3, 1))


def _rows_of_channels(x, patch_size):
    return _split(x, patch_size, (0, 2, 4, 3, 1, 5))


def _read_channels_last(x, patch_size):
    """The memory read as if the channels were the image's last axis."""
    (N, C, H, W), (I, J) = x.shape, patch_size
    parts = x.reshape(N, H // I, I, W // J, J, C).transpose(0, 1, 3, 2, 4, 5)
    return parts.reshape(N, (H // I) * (W // J), C * I * J)


def _each_channel_alone(x, patch_size):
    N, C, H, W = x.shape
    return patchify(x.reshape(N * C, 1, H, W), patch_size).reshape(N, -1, np.prod(patch_size))


def _overlapping(x, patch_size):
    windows = np.lib.stride_tricks.sliding_window_view(x, patch_size, axis=(2, 3))
    N, C, A, B, I, J = windows.shape
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(N, A * B, C * I * J)


# ---- mistakes: the tokens ------------------------------------------------------------------------

def _embed(x, weight, bias, class_token, positions, patch_size, patches=patchify):
    """(class tokens (N, 1, D), patch tokens (N, T, D)), without positions."""
    tokens = patches(x, patch_size) @ weight.T + bias
    return np.broadcast_to(class_token, (len(x), 1, len(class_token))), tokens


def _class_at_the_end(x, weight, bias, class_token, positions, patch_size):
    front, tokens = _embed(x, weight, bias, class_token, positions, patch_size)
    return np.concatenate([tokens, front], axis=1) + positions


def _class_without_position(x, weight, bias, class_token, positions, patch_size):
    front, tokens = _embed(x, weight, bias, class_token, positions, patch_size)
    return np.concatenate([front, tokens + positions[1:]], axis=1)


def _positions_shifted(x, weight, bias, class_token, positions, patch_size):
    front, tokens = _embed(x, weight, bias, class_token, positions, patch_size)
    return np.concatenate([front + positions[-1], tokens + positions[:-1]], axis=1)


def _no_positions(x, weight, bias, class_token, positions, patch_size):
    return patch_embedding(x, weight, bias, class_token, 0 * positions, patch_size)


def _no_class_token(x, weight, bias, class_token, positions, patch_size):
    return patch_embedding(x, weight, bias, class_token, positions, patch_size)[:, 1:]


def _bias_for_the_class(x, weight, bias, class_token, positions, patch_size):
    return patch_embedding(x, weight, bias, class_token + bias, positions, patch_size)


def _no_bias(x, weight, bias, class_token, positions, patch_size):
    return patch_embedding(x, weight, 0 * bias, class_token, positions, patch_size)


def _tokens_of_channels_last(x, weight, bias, class_token, positions, patch_size):
    front, tokens = _embed(x, weight, bias, class_token, positions, patch_size, _channels_last)
    return np.concatenate([front, tokens], axis=1) + positions


# ---- mistakes: backward --------------------------------------------------------------------------

def _batch_mean(g, x, *rest):
    gx, *others = patch_embedding_backward(g, x, *rest)
    return gx, *(part / len(x) for part in others)


def _positions_per_image(g, *rest):
    return *patch_embedding_backward(g, *rest)[:4], g.copy()


def _class_per_image(g, *rest):
    gx, gweight, gbias, _, gpositions = patch_embedding_backward(g, *rest)
    return gx, gweight, gbias, g[:, 0].copy(), gpositions


def _bias_of_all_tokens(g, *rest):
    gx, gweight, _, gclass, gpositions = patch_embedding_backward(g, *rest)
    return gx, gweight, g.sum(axis=(0, 1)), gclass, gpositions


def _class_of_all_tokens(g, *rest):
    gx, gweight, gbias, _, gpositions = patch_embedding_backward(g, *rest)
    return gx, gweight, gbias, g.sum(axis=(0, 1)), gpositions


def _pixels_in_patch_order(g, x, weight, *rest):
    gx = (g[:, 1:] @ weight).reshape(x.shape)
    return gx, *patch_embedding_backward(g, x, weight, *rest)[1:]


def _tokens_shifted(g, x, weight, bias, class_token, positions, patch_size):
    """The last T tokens' g taken as the first T's."""
    moved = np.concatenate([g[:, :1], g[:, :-1]], axis=1)
    wrong = patch_embedding_backward(moved, x, weight, bias, class_token, positions, patch_size)
    return *wrong[:3], g[:, 0].sum(axis=0), g.sum(axis=0)


def _tokens_of(patches):
    """`patch_embedding` with other patches."""
    def embed(x, weight, bias, class_token, positions, patch_size):
        front, tokens = _embed(x, weight, bias, class_token, positions, patch_size, patches)
        return np.concatenate([front, tokens], axis=1) + positions
    return embed


def _class_added(x, weight, bias, class_token, positions, patch_size):
    front, tokens = _embed(x, weight, bias, class_token, positions, patch_size)
    return tokens + front + positions[1:]


def _first_positions(x, weight, bias, class_token, positions, patch_size):
    tokens = _embed(x, weight, bias, class_token, positions, patch_size)[1]
    return tokens + positions[:-1]


def _gradients_of(patches):
    """The backward of `_tokens_of(patches)`."""
    def back(g, x, weight, bias, class_token, positions, patch_size):
        gx, tokens = np.zeros(x.size), g[:, 1:]
        places = patches(np.arange(x.size).reshape(x.shape), patch_size)
        gx[places.ravel()] = (tokens @ weight).ravel()
        gweight = np.einsum("ntd,ntk->dk", tokens, patches(x, patch_size))
        return gx.reshape(x.shape), gweight, tokens.sum(axis=(0, 1)), g[:, 0].sum(axis=0), g.sum(
            axis=0)
    return back


def _patches_in_a_row(g, x, weight, bias, class_token, positions, patch_size):
    """The patch axes before the pixel axes, for (A, I) and (B, J)."""
    (N, C, H, W), (I, J) = x.shape, patch_size
    gpatches = (g[:, 1:] @ weight).reshape(N, H // I, W // J, C, I, J)
    gx = gpatches.transpose(0, 3, 1, 2, 4, 5).reshape(x.shape)
    return gx, *patch_embedding_backward(g, x, weight, bias, class_token, positions, patch_size)[1:]


def _class_from_the_end(g, *rest):
    return *_tokens_shifted(g, *rest)[:3], g[:, -1].sum(axis=0), g.sum(axis=0)


def _tokens_total(total):
    return part(patch_embedding_backward, 2, lambda _, g, *rest: total(g[:, 1:]))


def _weight_per_image(gweight, g, x, weight, bias, class_token, positions, patch_size):
    return np.einsum("ntd,ntk->ndk", g[:, 1:], patchify(x, patch_size))


PATCHES = (             # other patches of the same shape, for the tokens and their gradients
    ("not-transposed", "You reshape without moving an axis, so a patch holds pixels that follow "
     "each other in memory: a piece of a row, not a rectangle.", (_not_transposed,)),
    ("patches-column-by-column", "You count the patches column by column; they are counted row by "
     "row.", (_patches_by_column, _both_by_column)),
    ("pixels-column-by-column", "Inside a patch you count the pixels column by column; they are "
     "counted row by row.", (_pixels_by_column,)),
    ("channels-last-by-column", "A patch's vector has all channels of a pixel together in your "
     "code, and goes down the columns. It is channel by channel, and each of them row by row.",
     (_channels_last_by_column,)),
    ("every-nth-pixel", "The pixels of your patches lie apart. When H is split in two axes, which "
     "of them counts the patches?", (_every_nth,)),
    ("image-read-channels-last", "You read the image's memory as if its channels were the last "
     "axis. They are the second one.", (_read_channels_last,)),
)


MISTAKES = (
    Mistake("patchify", "not-transposed", "You reshape without moving an axis, so a patch holds "
            "pixels that follow each other in memory: a piece of a row, not a rectangle.",
            _not_transposed),
    Mistake("patchify", "channels-last", "The channels of a patch are mixed in your vector. It is "
            "channel by channel: first all pixels of the first one.", _channels_last),
    Mistake("patchify", "channels-last-by-column", "A patch's vector has all channels of a pixel "
            "together in your code, and goes down the columns. It is channel by channel, and each "
            "of them row by row.", _channels_last_by_column),
    Mistake("patchify", "patches-column-by-column", "You count the patches column by column; they "
            "are counted row by row.", _patches_by_column),
    Mistake("patchify", "pixels-column-by-column", "Inside a patch you count the pixels column by "
            "column; they are counted row by row.", _pixels_by_column),
    Mistake("patchify", "every-nth-pixel", "The pixels of your patches lie apart. When H is split "
            "in two axes, which of them counts the patches?", _every_nth),
    Mistake("patchify", "size-exchanged", "Your patches' height and width are exchanged: "
            "patch_size is (rows, columns).", _size_exchanged),
    Mistake("patch_embedding", "class-token-at-the-end", "The class token stands behind the "
            "patches in your sequence. It is the first token.", _class_at_the_end),
    Mistake("patch_embedding", "class-token-without-position", "The class token has a position "
            "too: the first one.", _class_without_position),
    Mistake("patch_embedding", "positions-shifted", "Your patches' positions begin with the first "
            "one, which belongs to the class token.", _positions_shifted),
    Mistake("patch_embedding", "positions-forgotten", "The positions are missing. Without them the "
            "order of the patches is lost.", _no_positions),
    Mistake("patch_embedding", "class-token-forgotten", "The class token is missing.",
            _no_class_token),
    Mistake("patch_embedding", "bias-for-the-class-token", "The linear layer's bias is added to "
            "the class token too, which does not pass through that layer.", _bias_for_the_class),
    Mistake("patch_embedding", "bias-forgotten", "The linear layer's bias is missing.", _no_bias),
    Mistake("patch_embedding", "channels-last", "The weights meet the wrong pixels: a patch's "
            "vector is channel by channel.", _tokens_of_channels_last),
    Mistake("patch_embedding_backward", "batch-mean", "The parameters' gradients are means over "
            "the batch; the images' shares are summed.", _batch_mean),
    Mistake("patch_embedding_backward", "positions-per-image", "The gradient of the positions "
            "still has a batch axis. One position serves all images.", _positions_per_image),
    Mistake("patch_embedding_backward", "class-token-per-image", "The gradient of the class token "
            "still has a batch axis. One token serves all images.", _class_per_image),
    Mistake("patch_embedding_backward", "bias-of-all-tokens", "The bias's gradient counts the "
            "class token, which did not pass through the linear layer.", _bias_of_all_tokens),
    Mistake("patch_embedding_backward", "class-token-of-all-tokens", "The class token's gradient "
            "sums over the whole sequence. At which place does it stand?", _class_of_all_tokens),
    Mistake("patch_embedding_backward", "pixels-in-patch-order", "dL/dx holds the right numbers "
            "at the wrong places: put the patches back to where they were.",
            _pixels_in_patch_order),
    Mistake("patch_embedding_backward", "tokens-shifted", "You take the class token's g for the "
            "first patch's. Where do the patches' tokens begin?", _tokens_shifted),
    Mistake("patchify", "image-read-channels-last", "You read the image's memory as if its "
            "channels were the last axis. They are the second one.", _read_channels_last),
    Mistake("patchify", "each-channel-alone", "Your patches hold one channel each. A patch has all "
            "channels of its pixels.", _each_channel_alone),
    Mistake("patchify", "overlapping", "Your patches begin at every pixel. Each pixel is in "
            "exactly one patch.", _overlapping),
    Mistake("patch_embedding", "class-token-added", "You add the class token to the patches' "
            "tokens. It is a token of its own.", _class_added),
    *(Mistake("patch_embedding", name, hint, _tokens_of(version))
      for name, hint, several in PATCHES for version in several),
    *(Mistake("patch_embedding_backward", name, hint, _gradients_of(version))
      for name, hint, several in PATCHES for version in several),
    *(Mistake("patch_embedding_backward", "channels-last", "The weights' gradients meet the wrong "
              "pixels: a patch's vector is channel by channel.", _gradients_of(version))
      for version in (_channels_last, _rows_of_channels)),
    Mistake("patch_embedding_backward", "bias-per-image", "The bias's gradient still has a batch "
            "axis. One bias serves all images.", _tokens_total(lambda g: g.sum(axis=1))),
    Mistake("patch_embedding_backward", "bias-per-token", "The bias's gradient still has an axis "
            "of the patches. One bias serves all of them.", _tokens_total(lambda g: g.sum(axis=0))),
    Mistake("patch_embedding_backward", "bias-mean", "The bias's gradient is a mean over the "
            "patches. What arrives at one place is summed.",
            _tokens_total(lambda g: g.mean(axis=(0, 1)))),
    Mistake("patch_embedding_backward", "weight-per-image", "The weight's gradient still has a "
            "batch axis. One weight serves all images.",
            part(patch_embedding_backward, 1, _weight_per_image)),
    Mistake("patch_embedding_backward", "positions-without-class", "The class token has a position "
            "too, and it gets a gradient.",
            part(patch_embedding_backward, 4, lambda gpositions, *args: gpositions[1:])),
)

MISTAKES += versions(MISTAKES, {
    ("patchify", "channels-last"): (_rows_of_channels,),
    ("patchify", "patches-column-by-column"): (_both_by_column,),
    ("patch_embedding", "class-token-forgotten"): (_first_positions,),
    ("patch_embedding", "channels-last"): (_tokens_of(_rows_of_channels),),
    ("patch_embedding_backward", "pixels-in-patch-order"): (_patches_in_a_row,),
    ("patch_embedding_backward", "positions-per-image"): (
        part(patch_embedding_backward, 4, lambda gpositions, g, *rest: g.sum(axis=1)),),
    ("patch_embedding_backward", "tokens-shifted"): (_class_from_the_end,),
})


# ---- cases ---------------------------------------------------------------------------------------

def _case(rng, name, sizes, patch_size, D=None, backward=False, draw=random):
    """A case of sizes N, C, A, B (patches down and across); tokens of D numbers, or patches."""
    (N, C, A, B), (I, J) = sizes, patch_size
    shape = (N, C, A * I, B * J)
    if D is None:
        return Case("patchify", name, (*draw(rng, shape), patch_size))
    args = draw(rng, shape, (D, C * I * J), (D,), (D,), (1 + A * B, D))
    if not backward:
        return Case("patch_embedding", name, (*args, patch_size))
    return Case("patch_embedding_backward", name,
                (*draw(rng, (N, 1 + A * B, D)), *args, patch_size))


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    return [
        _case(rng, "two patches of 2x2", (1, 1, 1, 2), (2, 2), draw=small),
        _case(rng, "two channels, 2x3 patches of 1x2", (1, 2, 2, 3), (1, 2), draw=small),
        _case(rng, "two images, several channels", (2, 3, 4, 3), (2, 5)),
        _case(rng, "tokens of one number", (1, 1, 1, 2), (2, 2), 1, draw=small),
        _case(rng, "tokens of two numbers, two channels", (1, 2, 1, 2), (1, 2), 2, draw=small),
        _case(rng, "tokens of two images", (2, 3, 2, 3), (4, 2), 5),
        _case(rng, "backward, tokens of one number", (1, 1, 1, 2), (2, 2), 1, True, small),
        _case(rng, "backward, tokens of two numbers", (1, 2, 2, 3), (1, 2), 2, True, small),
        _case(rng, "backward, two images", (2, 3, 2, 3), (4, 2), 5, True),
        _case(rng, "backward, three images", (3, 2, 3, 2), (2, 5), 4, True),
    ]


def _terms(x, weight, *rest):
    return weight.shape[1] + 2


def _backward_terms(g, x, weight, *rest):
    return len(weight), g[..., 0].size, g[..., 0].size, len(g), len(g)


EXERCISE = Exercise(
    name="patch_embedding", title="Patch embedding and its gradient",
    lecture="UW, ViT: Add Special [CLS] Token", source="tinyvision/nn/transformer.py",
    functions={f.__name__: f for f in (patchify, patch_embedding, patch_embedding_backward)},
    cases=cases, mistakes=MISTAKES,
    magnitude={f.__name__: absolute(f) for f in (patchify, patch_embedding,
                                                 patch_embedding_backward)},
    terms={"patchify": lambda *args: 1, "patch_embedding": _terms,
           "patch_embedding_backward": _backward_terms})
