"""Show and Tell: an image is the first word of its own description.

Vinyals, Toshev, Bengio & Erhan 2015, "Show and tell: a neural image caption generator", figure 3,
equations 10 to 13; lectures UW, "Image captioning: CNN + RNN", DLCV, "Encoder -> decoder network".

    x_-1    = CNN(I)                         the image, once, before the first word
    x_t     = W_e S_t,   t = 0 ... N - 1     word t of the sentence; S_0 is <start>, S_N is <end>
    p_(t+1) = softmax(W h_t),   h_t = LSTM(x_t)
    loss    = - sum over t of  log p_t(S_t)

**Teacher forcing.** While it learns, word t is read from the true sentence, whatever the network
would have said. So all words are read in one go, and the inputs' products of all steps are one.
Later it reads its own words: one at a time, chosen by greedy or beam search (`search`).

What differs from the paper: its CNN is GoogLeNet with batch norm, trained on ImageNet; a ResNet
stands in. The loss is the mean over words, not the sum over a sentence.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinyvision import ops
from tinyvision.engine import Tensor, as_array, no_grad
from tinyvision.models.classify.resnet import BLOCKS, BasicBlock, Bottleneck, ResNet
from tinyvision.models.language.attend import Attending
from tinyvision.models.language.concepts import concept_loss
from tinyvision.models.language.search import beam, greedy
from tinyvision.models.language.words import END, PADDING, SHAPES, START
from tinyvision.nn import (LSTM, BatchNorm2d, Conv2d, Dropout, Embedding, Linear, Module, ReLU,
                           Sequential)


class Reading(Module):
    """The paper's decoder: an LSTM that reads the image first, then word after word.

    Args:
        channels: of the trunk's map.
        embedding, hidden: features of a word's vector, and of the LSTM.
    """

    def __init__(self, channels, embedding, hidden):
        self.image = Linear(channels, embedding)
        self.lstm = LSTM(embedding, hidden)
        self.features = hidden

    def begin(self, maps):
        """Maps (N, C, h, w) to the state (h, c) after the image, each (N, hidden)."""
        x = ops.mean(maps, (2, 3))                           # (N, C)
        x = self.image(x)                                    # (N, embedding)
        _, state = self.lstm(x.reshape(1, *x.shape))
        return state[0][0], state[1][0]

    def teach(self, maps, words):
        """Maps and the vectors of all words (L, N, embedding) to h_t (L, N, hidden)."""
        state = self.begin(maps)
        return self.lstm(words, [s.reshape(1, *s.shape) for s in state])[0]

    def step(self, words, state):
        """Vectors of one word each (K, embedding) and (h, c) to (h_t, the next (h, c))."""
        state = [s.reshape(1, *s.shape) for s in state]
        _, state = self.lstm(words.reshape(1, *words.shape), state)
        return state[0][0], (state[0][0], state[1][0])


class Told(NamedTuple):
    """A sentence word by word: the words' numbers (L,), the probabilities (L, V) that each was
    chosen from, and where the decoder looked, (L, h, w), or None if it does not."""
    words: list
    probabilities: np.ndarray
    looks: np.ndarray | None


class ShowAndTell(Module):
    """Sentences about images.

    Args:
        trunk: has `features(images)`, a list of maps, of which the last is used.
        decoder: `Reading` or `Attending`, for the trunk's channels and these words' vectors.
        vocabulary: a `words.Vocabulary`.
        embedding: features of a word's vector.
        dropout: of what the words are read off, while training (4.3.1).
        longest: an answer is cut after so many words.
        concepts: whether the map also learns to say which words the sentence has, in any order
            (`concepts`): for a trunk that is not trained beforehand. Not in the paper.
    """

    def __init__(self, trunk, decoder, vocabulary=SHAPES, embedding=512, dropout=0.0, longest=30,
                 concepts=False):
        self.vocabulary, self.longest = vocabulary, longest
        self.trunk, self.decoder = trunk, decoder
        self.embed = Embedding(len(vocabulary), embedding)
        self.dropout = Dropout(dropout)
        self.output = Linear(decoder.features, len(vocabulary))
        self.concepts = Conv2d(trunk.channels[-1], len(vocabulary), 1) if concepts else None

    def extra_repr(self):
        """The words that it knows."""
        return f"{len(self.vocabulary)} words: {' '.join(self.vocabulary.words)}"

    def forward(self, images, words):
        """Scores of every next word, each read behind the true ones.

        Args:
            images: (N, 3, H, W).
            words: whole numbers (N, L), as `vocabulary.batch` gives them.

        Returns:
            (L - 1, N, V): place t is about word t + 1.
        """
        return self.teach(self.trunk.features(images)[-1], words)

    def teach(self, maps, words):
        """The same, of maps (N, C, h, w)."""
        x = self.embed(words.T[:-1])                         # (L - 1, N, embedding)
        x = self.decoder.teach(maps, x)                      # (L - 1, N, features)
        return self.output(self.dropout(x))                  # (L - 1, N, V)

    def loss(self, images, captions) -> dict:
        """Named losses: "words", the mean of - log p of the words of sentences (a list of N; an
        empty one is answered by <end>; words that are not in the vocabulary are <unknown>); and
        "concepts".

        Raises:
            ValueError: not as many sentences as images.
        """
        if len(captions) != len(images):
            raise ValueError(f"{type(self).__name__}.loss: {len(captions)} captions for "
                             f"{len(images)} images, expected one each")
        words, maps = self.vocabulary.batch(captions), self.trunk.features(images)[-1]
        scores = self.teach(maps, words)
        losses = {"words": ops.cross_entropy(scores.reshape(-1, scores.shape[-1]),
                                             words.T[1:].reshape(-1), ignore_index=PADDING)}
        if self.concepts is not None:
            losses["concepts"] = concept_loss(self.concepts(maps), words)
        return losses

    # --- telling ----------------------------------------------------------------------------------
    def predict(self, images, beam: int = 1, power: float = 0.0) -> list[str]:
        """A sentence for each image: the best word at every step, or by beam search.

        Args:
            images: (N, 3, H, W).
            beam: how many beginnings are kept; 1 is greedy search.
            power: of the length that scores are divided by, for beams (`search.Beginning.score`).
        """
        if not len(images):
            return []
        with _telling(self), no_grad():
            state = self.begin(images)
            if beam == 1:
                found = greedy(self.step, state, START, END, self.longest)
            else:
                found = [self.beam(tuple(s[k:k + 1] for s in state), beam, power)[-1][0].words
                         for k in range(len(images))]
            return [self.vocabulary.decode(words) for words in found]

    def beam(self, state, width: int = 3, power: float = 0.0):
        """`search.beam` from a state of one row."""
        return beam(self.step, state, START, END, self.longest, width, power)

    def word_by_word(self, image) -> Told:
        """How the sentence of greedy search for one image (3, H, W) came about."""
        with _telling(self), no_grad():
            maps = self.trunk.features(as_tensor(image).reshape(1, *image.shape))[-1]
            told, looks = [], []

            def watched(words, state):
                log_p, state = self.step(words, state)
                told.append(np.exp(log_p[0]))
                looks.extend(self.decoder.looks(state) if hasattr(self.decoder, "looks") else ())
                return log_p, state
            words, = greedy(watched, arrays(self.decoder.begin(maps)), START, END, self.longest)
            looks = np.reshape(looks, (-1, *maps.shape[2:])) if looks else None
            return Told(words.tolist(), np.array(told), looks)

    def begin(self, images):
        """The decoder's state before the first word: arrays with N rows."""
        return arrays(self.decoder.begin(self.trunk.features(as_tensor(images))[-1]))

    def step(self, words, state):
        """Words (K,) and a state of K rows to (log p of the next words (K, V), the next state)."""
        x, state = self.decoder.step(self.embed(words), tuple(map(Tensor, state)))
        return ops.log_softmax(self.output(x), 1).numpy(), arrays(state)


def arrays(state):
    """The arrays of Tensors."""
    return tuple(as_array(s) for s in state)


def as_tensor(x):
    """A Tensor, of one or of an array."""
    return x if isinstance(x, Tensor) else Tensor(x)


class _telling:
    """Inside the block a model is in inference mode; after it as it was."""

    def __init__(self, model):
        self.model, self.before = model, model.training

    def __enter__(self):
        self.model.eval()

    def __exit__(self, *error):
        self.model.train(self.before)


def show_and_tell(vocabulary=SHAPES) -> ShowAndTell:
    """The paper's: 512 features of a word, 512 of the LSTM (4.3.1), ResNet-50 in GoogLeNet's place.

    Parameters, V the size of the vocabulary:

        ResNet-50 without its last layer       25,557,032 - 2,049,000      23,508,032
        image to 512 features                  2048 * 512 + 512             1,049,088
        LSTM, two biases as in PyTorch         4 * 512 * (512 + 512 + 2)    2,101,248
        words' vectors, and their scores       512 V + 512 V + V              1,025 V
    """
    trunk = ResNet(Bottleneck, BLOCKS[50], None)
    return ShowAndTell(trunk, Reading(trunk.channels[-1], 512, 512), vocabulary, 512, dropout=0.5)


class SmallTrunk(Module):
    """ResNet's basic blocks behind one 3x3 convolution with stride 2: maps of 1/8 of the size."""

    def __init__(self, width=24):
        self.channels = [4 * width]
        self.layers = Sequential(
            Conv2d(3, width, 3, stride=2, padding=1, bias=False), BatchNorm2d(width), ReLU(),
            BasicBlock(width, width), BasicBlock(width, 2 * width, 2),
            BasicBlock(2 * width, 4 * width, 2), BasicBlock(4 * width, 4 * width))

    def features(self, x) -> list:
        """Images (N, 3, H, W) to [(N, 4 width, H / 8, W / 8)]."""
        return [self.layers(x)]


def tiny_show_and_tell(vocabulary=SHAPES, vectors=None) -> ShowAndTell:
    """For images of 64x64 and 2,000 examples: a ResNet of four blocks that keeps 8x8 places and
    learns words as concepts, too, for no ImageNet came before; and the decoder of "Show, attend and
    tell" that looks at the places, word by word (`attend`).

    With the paper's decoder, which sees the image once, as one vector, the same network learns the
    grammar and guesses the objects: after 36 epochs 0.07 of the held out captions are exact, with
    this one 0.82.

    vectors: (V, 64) of words, learned beforehand (`word_vectors`), as the embedding's first values.
    """
    trunk = SmallTrunk()
    model = ShowAndTell(trunk, Attending(trunk.channels[-1], 64, 192), vocabulary, 64, dropout=0.2,
                        concepts=True)
    if vectors is not None:
        model.embed.weight.data = np.array(vectors, np.float32)
    return model
