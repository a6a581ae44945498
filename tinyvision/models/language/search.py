"""Search for a sentence: word by word the best, or several beginnings side by side.

A decoder is a function `step(words, state) -> (log p, state)`: `words` (K,) are the last words of K
beginnings; log p (K, V) is what each next word is worth; the state is a tuple of arrays of K rows.
What is looked for is the sentence S with the largest sum of log p(S_t | S_0, ..., S_t-1).

Greedy search takes the best word at every step, and may miss a sentence whose first word is second
best. Looking at all sentences would take V^L. Beam search keeps the `width` best beginnings at each
step (Vinyals et al. 2015, 3.1.2; lecture: I3): 1 is greedy search, V^L is looking at all.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyvision.ops.check import at_least


def greedy(step, state, start: int, end: int, longest: int) -> np.ndarray:
    """The best word at every step, for N sentences side by side.

    Args:
        state: N rows.
        start, end: the words' numbers.
        longest: after so many words a sentence is cut.

    Returns:
        (N, L), L at most `longest`: all behind the first `end` is `end`.
    """
    words, found = np.full(len(state[0]), start), []
    over = np.zeros(len(words), bool)
    while len(found) < longest and not over.all():
        log_p, state = step(words, state)
        words = np.where(over, end, log_p.argmax(1))
        over |= words == end
        found.append(words)
    return np.stack(found, 1) if found else np.zeros((len(words), 0), np.int64)


@dataclass(frozen=True, eq=False)
class Beginning:
    """A sentence or the beginning of one: a word behind another beginning.

    Attributes:
        word: the last one.
        parent: what stands before it; None of the first, which is `start`.
        log_p: the sum of all log p up to here.
        row: in the state, of what the step gave for it.
        over: whether the word is `end`.
    """
    word: int
    parent: Beginning | None = None
    log_p: float = 0.0
    row: int = 0
    over: bool = False

    @property
    def words(self) -> list[int]:
        """All of them, `start` left out."""
        return [] if self.parent is None else [*self.parent.words, self.word]

    def score(self, power: float = 0.0) -> float:
        """log p / L^power, L the number of words, `end` among them (Wu et al. 2016, 7, simplified).
        Every word makes a sentence less probable, so that power 0 likes short ones."""
        return self.log_p / max(1, len(self.words)) ** power


def beam(step, state, start: int, end: int, longest: int, width: int = 3,
         power: float = 0.0) -> list[list[Beginning]]:
    """The `width` best beginnings after every step; finished ones stay among them while they are
    good enough.

    Args:
        state: one row.
        width: how many are kept.
        power: of the length, see `Beginning.score`.

    Returns:
        A list for every step, each best first; so the answer is `[-1][0].words`. The lists before
        are the tree that was looked at. Of equals, the earlier word comes first.

    Raises:
        TypeError, ValueError: width or longest is no whole number of at least 1.
    """
    at_least("beam", "width", width, 1)
    at_least("beam", "longest", longest, 1)
    kept, steps = [Beginning(start)], []
    while len(steps) < longest and not all(one.over for one in kept):
        alive = [one for one in kept if not one.over]
        rows = np.array([one.row for one in alive])
        log_p, state = step(np.array([one.word for one in alive]), tuple(s[rows] for s in state))
        longer = [child for row, one in enumerate(alive)
                  for child in _longer(one, log_p[row], row, end, width)]
        kept = sorted([*(one for one in kept if one.over), *longer],
                      key=lambda one: -one.score(power))[:width]
        steps.append(kept)
    return steps


def _longer(parent, log_p, row, end, width):
    """The beginnings one word longer than `parent`; more than `width` of them cannot stay."""
    best = np.argsort(-log_p, kind="stable")[:width].tolist()
    return [Beginning(word, parent, parent.log_p + float(log_p[word]), row, word == end)
            for word in best]
