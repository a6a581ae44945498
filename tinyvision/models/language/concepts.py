"""Words as concepts: what a trunk learns of a sentence before a decoder can read it.

Fang et al. 2015, "From captions to visual concepts and back", section 3: which words an image's
captions have is known, where in the image their reason is, is not (multiple instance learning). So
every place gives each word a score, and the places together must be right about the whole sentence.
The paper puts places together by a noisy or; here the best place answers for all.
"""
from __future__ import annotations

import numpy as np

from tinyvision import ops
from tinyvision.models.language.words import SPECIAL
from tinyvision.ops.move import beside


def concept_loss(scores, words):
    """Which words sentences have: the mean binary cross-entropy over all words but SPECIAL.

    Args:
        scores: (N, V, h, w), logits of every word at every place.
        words: whole numbers (N, L), as `Vocabulary.batch` gives them.

    Returns:
        A scalar Tensor.
    """
    best = ops.amax(scores, (2, 3))                          # (N, V)
    there = np.zeros(best.shape, best.dtype)
    np.put_along_axis(there, words, 1, 1)
    best, there = best[:, len(SPECIAL):], there[:, len(SPECIAL):]
    return ops.binary_cross_entropy_with_logits(best, beside(best, there))
