"""Sentences: what is right to the last word, and BLEU.

BLEU (Papineni, Roukos, Ward & Zhu 2002) counts how many n-grams of an answer a reference has, too.
An n-gram counts at most as often as in the reference that has it most often, or "the the the the"
would be perfect; and an answer that is shorter than its reference is punished, for n-grams left out
cost nothing otherwise:

    p_n   = clipped n-grams / n-grams of the answers           sums over the whole corpus, 2.1.1
    BP    = min(1, exp(1 - r / c))                             c, r: words of answers, of references
    BLEU  = BP exp( (log p_1 + ... + log p_N) / N )            2.3

Sentences are words between blanks. Lecture: I3.
"""
from __future__ import annotations

import math
from collections import Counter


def exact_match(answers, references) -> float:
    """The share of answers that are one of their references, word for word.

    Args:
        answers: N sentences.
        references: N sentences, or N lists of sentences.

    Raises:
        ValueError: none, or not as many references as answers.
    """
    answers, references = _words("exact_match", answers, references)
    return sum(answer in some for answer, some in zip(answers, references)) / len(answers)


def bleu(answers, references, n: int = 4) -> float:
    """BLEU-n of a corpus, from 0 to 1. Not smoothed: 0 where no n-gram is right, also where no
    answer has n words.

    Args, errors: as for `exact_match`; n at least 1.
    """
    if n < 1:
        raise ValueError(f"bleu: n is {n}, expected at least 1")
    answers, references = _words("bleu", answers, references)
    counts = [_clipped(answers, references, k) for k in range(1, n + 1)]
    if not all(right for right, _ in counts):
        return 0.0
    mean = sum(math.log(right / all_of) for right, all_of in counts) / n
    return _brevity(answers, references) * math.exp(mean)


def modified_precision(answers, references, n: int) -> tuple[int, int]:
    """(clipped n-grams, n-grams) of a corpus; their ratio is p_n. Args, errors: as for
    `exact_match`."""
    return _clipped(*_words("modified_precision", answers, references), n)


def brevity_penalty(answers, references) -> float:
    """BP of a corpus: r adds up, for each answer, the length of the reference whose length is
    closest (the shorter one of two). 0 where all answers are empty and the references are not.
    Args, errors: as for `exact_match`."""
    return _brevity(*_words("brevity_penalty", answers, references))


# --- the same, of words ---------------------------------------------------------------------------
def _words(who, answers, references):
    """Lists of words, and lists of lists of them."""
    if not len(answers) or len(answers) != len(references):
        raise ValueError(f"{who}: {len(answers)} answers and {len(references)} references, "
                         "expected as many of both, at least one")
    some = [[one] if isinstance(one, str) else one for one in references]
    if empty := [k for k, one in enumerate(some) if not len(one)]:
        raise ValueError(f"{who}: answer {empty[0]} has no reference, expected at least one")
    return [a.split() for a in answers], [[r.split() for r in one] for one in some]


def n_grams(words, n: int) -> Counter:
    """How often each n-tuple of neighbours occurs."""
    return Counter(zip(*(words[k:] for k in range(n))))


def _clipped(answers, references, n):
    right = total = 0
    for answer, some in zip(answers, references):
        most = Counter()
        for one in some:
            most |= n_grams(one, n)                          # the largest count of each
        found = n_grams(answer, n)
        right, total = right + (found & most).total(), total + found.total()
    return right, total


def _brevity(answers, references):
    c = sum(map(len, answers))
    r = sum(min(map(len, some), key=lambda length: (abs(length - len(answer)), length))
            for answer, some in zip(answers, references))
    if c >= r:
        return 1.0
    return math.exp(1 - r / c) if c else 0.0
