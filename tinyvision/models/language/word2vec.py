"""word2vec: vectors of words, learned from nothing but which words stand near each other.

Mikolov, Sutskever, Chen, Corrado & Dean 2013, "Distributed representations of words and phrases and
their compositionality", section 2.2, skip-gram with negative sampling; lecture: I3.

    centre word c, a word o near it, k words n drawn from the noise distribution:
    loss = - log sigmoid(u_o v_c) - sum over n of log sigmoid(- u_n v_c)

Every word has two vectors, v where it is in the middle, u where it is near; v is what is used. To
tell real neighbours from drawn ones, words that stand in the same places need the same vectors: in
captions of shapes all colours come near each other, and all shapes.

As the first values of a captioner's embedding they make no difference that one seed could show:
after 36 epochs 0.846 of the held out captions are exact, with random first values 0.822; after 20
epochs 0.33 and 0.43 (`train.captioning.with_word2vec`, seed 0). But these are 28 words, and the
vectors come from the same 2,000 captions, not from a larger text.

The paper also throws away part of the most frequent words (2.3), for texts of a billion words.
"""
from __future__ import annotations

import numpy as np

from tinyvision import ops, optim
from tinyvision.device import generator
from tinyvision.models.language.words import END, START
from tinyvision.nn import Embedding, Module, init
from tinyvision.ops.move import beside


class SkipGram(Module):
    """Two tables of vectors, `centre` (what is wanted) and `near`."""

    def __init__(self, num_words: int, size: int):
        self.centre, self.near = Embedding(num_words, size), Embedding(num_words, size)
        init.uniform_(self.centre.weight, -0.5 / size, 0.5 / size)       # as word2vec's code has it
        init.zeros_(self.near.weight)

    def forward(self, centres, others):
        """Centres (B,) and K words for each, (B, K), to u v (B, K)."""
        v = self.centre(centres)                             # (B, size)
        u = self.near(others)                                # (B, K, size)
        return ops.sum(u * v.reshape(len(v), 1, -1), 2)      # (B, K)

    def loss(self, pairs, noise) -> dict:
        """Named losses: the mean over pairs (B, 2), centre and near word, against noise (B, k)."""
        scores = self(pairs[:, 0], np.concatenate([pairs[:, 1:], noise], 1))     # (B, 1 + k)
        real = np.zeros(scores.shape, scores.dtype)
        real[:, 0] = 1
        loss = ops.binary_cross_entropy_with_logits(scores, beside(scores, real), reduction="sum")
        return {"negative_sampling": loss / len(pairs)}


def neighbours(sentences, window: int) -> np.ndarray:
    """(P, 2): each word of each sentence (lists of numbers) with each at most `window` from it."""
    pairs = [(words[i], words[j]) for words in sentences for i in range(len(words))
             for j in range(max(0, i - window), min(len(words), i + window + 1)) if i != j]
    return np.array(pairs, np.int64).reshape(-1, 2)


def noise_distribution(sentences, num_words: int) -> np.ndarray:
    """(num_words,): how often each word occurs, to the power 3/4, normalised (2.2)."""
    counts = np.bincount(np.concatenate([np.zeros(0, np.int64), *sentences]).astype(np.int64),
                         minlength=num_words) ** 0.75
    return counts / max(counts.sum(), 1e-12)


def word_vectors(captions, vocabulary, size: int = 64, window: int = 2, negatives: int = 5,
             epochs: int = 10, batch: int = 512, lr: float = 1e-2) -> np.ndarray:
    """Vectors (len(vocabulary), size) float32, learned from sentences; random numbers are
    `tv.manual_seed`'s. A word that does not occur keeps the small random vector it began with.

    Args:
        captions: sentences; START and END are words, too.
        window: how many words to either side are near.
        negatives: words drawn for every real neighbour, k.
        lr: of Adam.

    Raises:
        ValueError: there is no sentence.
    """
    sentences = [vocabulary.encode(caption) for caption in captions]
    if not sentences:
        raise ValueError("word_vectors: captions are empty, expected at least one sentence")
    model, pairs = SkipGram(len(vocabulary), size), neighbours(sentences, window)
    odds, random = noise_distribution(sentences, len(vocabulary)), generator()
    optimizer = optim.Adam(model.parameters(), lr)
    for _ in range(epochs):
        for chosen in np.array_split(random.permutation(pairs), -(-len(pairs) // batch)):
            noise = random.choice(len(odds), (len(chosen), negatives), p=odds)
            optimizer.zero_grad()
            model.loss(chosen, noise)["negative_sampling"].backward()
            optimizer.step()
    return model.centre.weight.numpy().copy()


def nearest(word: str, vectors, vocabulary, count: int = 5) -> list[str]:
    """The words whose vectors point most nearly where that of `word` does, best first, by the
    cosine; START, END and the like are left out.

    Raises:
        ValueError: the vocabulary does not have the word.
    """
    if word not in vocabulary.numbers:
        raise ValueError(f"nearest: {word!r} is not in the vocabulary")
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    closeness = unit @ unit[vocabulary.numbers[word]]
    order = [k for k in np.argsort(-closeness, kind="stable").tolist() if k > max(START, END) + 1]
    return [vocabulary.words[k] for k in order if vocabulary.words[k] != word][:count]
