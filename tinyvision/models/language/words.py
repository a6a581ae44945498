"""Words and their numbers: what a decoder of sentences reads and writes.

    vocabulary = Vocabulary.of(captions, least=5)
    vocabulary.batch(["a red star", "nothing"])      # [[1 4 9 8 2]
                                                     #  [1 7 2 0 0]]

A sentence is words between blanks, as the captions of generated scenes and prepared ones of COCO
are. A word that the vocabulary does not have is read as `<unknown>`.
"""
from __future__ import annotations

from collections import Counter

import numpy as np

SPECIAL = ("<padding>", "<start>", "<end>", "<unknown>")
PADDING, START, END, UNKNOWN = range(4)


class Vocabulary:
    """Words, numbered from 4 on; before them stand SPECIAL.

    Args:
        words: all different; none of them is one of SPECIAL or has a blank in it.

    Raises:
        ValueError: a word that stands twice, is empty, has a blank or is one of SPECIAL.
    """

    def __init__(self, words):
        self.words = (*SPECIAL, *words)
        self.numbers = {word: k for k, word in enumerate(self.words)}
        odd = [word for word in self.words[4:] if word in SPECIAL or word.split() != [word]]
        odd += [word for word, count in Counter(self.words).items() if count > 1]
        if odd:
            raise ValueError(f"Vocabulary: {odd[0]!r} is no new word; expected different words "
                             f"without blanks, none of {', '.join(SPECIAL)}")

    @classmethod
    def of(cls, sentences, least: int = 1) -> Vocabulary:
        """Of the words that occur at least so often (Vinyals et al. 2015, 4.3.1: 5), the most
        frequent first, equally frequent ones by the alphabet."""
        counts = Counter(word for sentence in sentences for word in sentence.split())
        kept = [word for word, count in counts.items() if count >= least and word not in SPECIAL]
        return cls(sorted(kept, key=lambda word: (-counts[word], word)))

    def __len__(self):
        return len(self.words)

    def __repr__(self):
        return f"Vocabulary({len(self)} words: {', '.join(self.words[:8])}, ...)"

    def encode(self, sentence: str) -> list[int]:
        """The numbers of its words, between START and END; UNKNOWN for a word that is not here.

        Raises:
            TypeError: no string.
        """
        if not isinstance(sentence, str):
            raise TypeError(f"Vocabulary: a sentence is a string, got {type(sentence).__name__}")
        return [START, *(self.numbers.get(word, UNKNOWN) for word in sentence.split()), END]

    def batch(self, sentences) -> np.ndarray:
        """(N, L) int64: each as in `encode`, PADDING behind all but the longest.

        Raises:
            TypeError: one string in place of a list of them.
        """
        if isinstance(sentences, str):
            raise TypeError(f"Vocabulary.batch: expected a list of sentences, got the string "
                            f"{sentences[:20]!r}")
        rows = [self.encode(sentence) for sentence in sentences]
        table = np.full((len(rows), max(map(len, rows), default=0)), PADDING, np.int64)
        for row, numbers in zip(table, rows):
            row[:len(numbers)] = numbers
        return table

    def decode(self, numbers) -> str:
        """The sentence up to the first END; START and PADDING are left out.

        Raises:
            ValueError: a number that no word has.
        """
        numbers = np.asarray(numbers, np.int64).tolist()
        if wrong := [k for k in numbers if not 0 <= k < len(self)]:
            raise ValueError(f"Vocabulary: {wrong[0]} is no word's number, they are 0 to "
                             f"{len(self) - 1}")
        numbers = numbers[:numbers.index(END)] if END in numbers else numbers
        return " ".join(self.words[k] for k in numbers if k not in (START, PADDING))


# What captions of generated scenes are made of (see `tinyvision.data.shapes_language`).
SHAPES = Vocabulary(("a", "an", "and", ",", "nothing", "red", "orange", "yellow", "green", "blue",
                     "purple", "white", "black", "circle", "square", "triangle", "star", "cross",
                     "ring", "crescent", "bar", "arrow", "hourglass", "figure"))
