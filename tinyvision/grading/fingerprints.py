"""Fingerprints of source texts, by winnowing.

A text becomes a row of tokens: comments, layout and strings in triple quotes go, every name that a
copier can change is one and the same token; what cannot be renamed (keywords, builtins,
attributes such as ``.reshape`` or ``.einsum``, numbers) stays. Each run of `K` tokens has a hash;
of every `WINDOW` neighbouring hashes the smallest is a fingerprint, so any `K + WINDOW - 1` equal
tokens in a row are found (Schleimer, Wilkerson, Aiken: Winnowing: Local Algorithms for Document
Fingerprinting, SIGMOD 2003).

Nothing is parsed here: a regular expression runs over the text once, so a hostile text costs time
in proportion to its length.
"""
from __future__ import annotations

import builtins
import functools
import hashlib
import json
import keyword
import re
from dataclasses import dataclass

K, WINDOW = 8, 5                        # 12 equal tokens in a row are always found
LARGEST = 1 << 19                       # bytes of a source that are read
_TOKEN = re.compile(
    r"(?P<skip>\s+|#[^\n]*|\\\n|[rbuf]{0,2}(?:\"\"\"(?:.|\n)*?\"\"\"|'''(?:.|\n)*?'''))"
    r"|(?P<string>[rbuf]{0,2}(?:\"(?:\\.|[^\"\\\n])*\"?|'(?:\\.|[^'\\\n])*'?))"
    r"|(?P<number>\d[\w.]*|\.\d\w*)|(?P<attribute>\.[ \t]*[^\W\d]\w*)|(?P<name>[^\W\d]\w*)"
    r"|(?P<mark>\*\*=?|//=?|>>=?|<<=?|[-+*/%&|^@!<>=:]=|->|.)", re.I)
_MAGIC = re.compile(r"^[ \t]*[%!?].*$", re.M)
_FIXED = frozenset(keyword.kwlist) | frozenset(dir(builtins))


@dataclass(frozen=True, eq=False)
class Text:
    """A source text, prepared.

    Attributes:
        text: what a person reads; of a notebook the code cells.
        tokens: the normalised tokens.
        lines: for each token the line that it stands in, from 0.
        prints: fingerprint -> positions of its first tokens.
    """
    text: str
    tokens: list
    lines: list
    prints: dict


def prepare(source: bytes | str, file: str = "") -> Text:
    """Tokens and fingerprints of a file's bytes; ``.ipynb`` files are taken apart first."""
    text = readable(source, file)
    tokens, lines = tokenize(text)
    return Text(text, tokens, lines, fingerprints(tokens))


def readable(source: bytes | str, file: str = "") -> str:
    """The Python text of a file; of a notebook its code cells. "" where there is none."""
    if isinstance(source, bytes):
        utf16 = source[:2] in (b"\xff\xfe", b"\xfe\xff")
        source = source[:LARGEST].decode("utf-16" if utf16 else "utf-8-sig", "replace")
    if file.lower().endswith(".ipynb"):
        source = _cells(source)
    return source.replace("\r\n", "\n").replace("\r", "\n")


def _cells(text: str) -> str:
    try:
        cells = json.loads(text)["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return _MAGIC.sub("", "\n\n".join(code))


def tokenize(text: str) -> tuple[list[str], list[int]]:
    """(normalised tokens, for each its line)."""
    tokens, lines, line, end = [], [], 0, 0
    for found in _TOKEN.finditer(text):
        line += text.count("\n", end, found.start())
        end = found.start()
        if found.lastgroup != "skip":
            tokens.append(_normal(found.lastgroup, found[0]))
            lines.append(line)
    return tokens, lines


def _normal(kind: str, text: str) -> str:
    if kind == "name":
        return text if text in _FIXED else "v"
    if kind == "attribute":
        return "." + text[1:].strip()
    return "s" if kind == "string" else text


def fingerprints(tokens: list[str]) -> dict[int, list[int]]:
    """Winnowing: fingerprint -> where it begins."""
    grams = [_hash("\0".join(tokens[i:i + K])) for i in range(len(tokens) - K + 1)]
    chosen: dict[int, list[int]] = {}
    last = -1
    for start in range(max(0, len(grams) - WINDOW + 1)):
        window = grams[start:start + WINDOW]
        least = min(window)             # the rightmost of equal ones, as in the paper
        at = start + WINDOW - 1 - window[::-1].index(least)
        if at != last:
            chosen.setdefault(least, []).append(at)
            last = at
    return chosen


@functools.lru_cache(maxsize=1 << 16)
def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=6).digest())


def same_lines(one: Text, other: Text, counting) -> tuple[set[int], set[int]]:
    """The lines of both that stand in common fingerprints that count."""
    both = one.prints.keys() & other.prints.keys() & counting
    return tuple({text.lines[at + i] for value in both for at in text.prints[value]
                  for i in range(K)} for text in (one, other))
