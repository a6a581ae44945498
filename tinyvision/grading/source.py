"""An assignment's source text: its cells, its markers, and what a student may see of it.

A source is an ordinary Python module in the percent format: ``# %%`` begins a cell of code,
``# %% [markdown]`` one of text in comments. Two kinds of markers are understood in it, nbgrader's
(``### BEGIN SOLUTION`` ... ``### END SOLUTION``, likewise ``HIDDEN TESTS`` and ``MARK SCHEME``) and
otter's (``# BEGIN SOLUTION``, lines that end in ``# SOLUTION``, ``# SEED``, prompts).
"""
from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

CELL = re.compile(r"^# ?%%(?P<title>[^\[]*)(?P<markdown>\[markdown\])?.*$")
MARKER = re.compile(r"(?:^\s*#+|###)\s*(?P<side>BEGIN|END) "
                    r"(?P<kind>SOLUTION|HIDDEN TESTS|MARK SCHEME)(?P<quiet> NO PROMPT)?\s*$")
PROMPT = re.compile(r'^\s*"""\s*#\s*(BEGIN|END) PROMPT\s*$')
LINE = re.compile(r"^(?P<indent>\s*)(?P<code>.*?)\s*#\s*(?P<word>SOLUTION NO PROMPT|SOLUTION|SEED)"
                  r"\s*$")
LEFT = re.compile(r"^[\w\s,.\[\]:'\"]+?(?<![=!<>])=(?!=)\s*")
ANSWER = ("# YOUR CODE HERE", "raise NotImplementedError()")


@dataclass(frozen=True)
class Cell:
    """One cell of a source.

    Attributes:
        kind: ``"code"`` or ``"markdown"``.
        text: its lines without the ``# %%``; of markdown without the comment signs.
        line: the number of its first line in the file, from 1.
        title: what stands behind the ``# %%``.
    """
    kind: str
    text: str
    line: int
    title: str = ""


# ---- reading -------------------------------------------------------------------------------------

def read(path) -> str:
    """The text of an assignment's file, checked; ValueError says in one sentence what is wrong."""
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}; give the assignment's "
                         ".py file") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start}); save it as "
                         "UTF-8") from None
    check(text, str(path))
    return text


def check(text: str, name: str) -> None:
    """ValueError with file and line for markers that do not pair up, for what Python cannot parse,
    and for a function that is defined twice."""
    _check_markers(text, name)
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ValueError(f"{name} line {error.lineno}: {error.msg}; Python cannot read the "
                         "file") from None
    seen: dict[str, int] = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            if node.name in seen:
                raise ValueError(f"{name} line {node.lineno}: {node.name} is defined here and on "
                                 f"line {seen[node.name]}; keep one of the two")
            seen[node.name] = node.lineno


def _check_markers(text: str, name: str) -> None:
    begun = None                                    # (kind, line) of the region that is open
    for number, line in enumerate(text.split("\n"), 1):
        if begun and CELL.match(line):
            raise ValueError(f"{name} line {begun[1]}: BEGIN {begun[0]} has no END {begun[0]} "
                             f"before the next cell, which begins on line {number}")
        marker = MARKER.search(line)
        if not marker:
            continue
        kind, begins = marker["kind"], marker["side"] == "BEGIN"
        if begins and begun:
            raise ValueError(f"{name} line {number}: BEGIN {kind}, but the BEGIN {begun[0]} of "
                             f"line {begun[1]} has no END yet; markers cannot be nested")
        if not begins and (begun is None or begun[0] != kind):
            raise ValueError(f"{name} line {number}: END {kind} without a BEGIN {kind} before it")
        begun = (kind, number) if begins else None
    if begun:
        raise ValueError(f"{name} line {begun[1]}: BEGIN {begun[0]} has no END {begun[0]}; add it "
                         "where the student's part ends")


def cells(text: str) -> list[Cell]:
    """The cells of a source, without those that hold nothing."""
    found, kind, title, lines, start = [], "code", "", [], 1
    for number, line in enumerate([*text.split("\n"), "# %%"], 1):
        begins = CELL.match(line)
        if begins:
            found.append(_cell(kind, lines, start, title))
            kind, title = "markdown" if begins["markdown"] else "code", begins["title"].strip()
            lines, start = [], number + 1
        else:
            lines.append(line)
    return [cell for cell in found if cell.text]


def _cell(kind: str, lines: list[str], line: int, title: str) -> Cell:
    text = "\n".join(lines).strip("\n")
    if kind == "markdown":
        quoted = re.fullmatch(r'\s*r?"""(.*)"""\s*', text, re.S)
        text = quoted[1].strip() if quoted else re.sub(r"^# ?", "", text, flags=re.M).strip()
    return Cell(kind, text.rstrip(), line, title)


# ---- what is seen of it --------------------------------------------------------------------------

def student(text: str) -> str:
    """A cell as a student gets it: stubs for solutions, no hidden tests, no mark schemes."""
    kept, inside = [], None
    for line in text.split("\n"):
        marker = MARKER.search(line)
        if marker:
            inside = marker["kind"] if marker["side"] == "BEGIN" else None
            if inside == "SOLUTION" and not marker["quiet"]:
                kept += _stub(line)
        elif inside is None and not PROMPT.match(line):
            kept += _without_solution(line)
    return _tidy(kept)


def _stub(line: str) -> list[str]:
    """nbgrader's words at the marker's indent. At the margin there is no exception: it would end
    the whole file before anything else of it is seen."""
    indent = line[:len(line) - len(line.lstrip())]
    if line.lstrip().startswith("//"):              # in a text of C++
        return [indent + ANSWER[0].replace("#", "//")]
    return [indent + word for word in (ANSWER if indent else ANSWER[:1])]


def _without_solution(line: str) -> list[str]:
    """Otter's line markers: the line without its answer, or no line."""
    found = LINE.match(line)
    if not found:
        return [line]
    if found["word"] != "SOLUTION":
        return []
    left = LEFT.match(found["code"])
    return [found["indent"] + (left[0] if left else "") + "..."]


def solution(text: str) -> str:
    """A cell with its solution and without the markers; hidden tests are no part of it."""
    kept, inside, prompt = [], None, False
    for line in text.split("\n"):
        marker = MARKER.search(line)
        if marker:
            inside = marker["kind"] if marker["side"] == "BEGIN" else None
        elif PROMPT.match(line):
            prompt = not prompt
        elif inside in (None, "SOLUTION") and not prompt:
            found = LINE.match(line)
            kept.append(found["indent"] + found["code"] if found else line)
    return _tidy(kept)


def _tidy(lines: list[str]) -> str:
    text = "\n".join(line.rstrip() for line in lines).strip("\n")
    return re.sub(r"\n{4,}", "\n\n\n", text)


def names(text: str) -> list[str]:
    """The functions and classes that a piece of code defines at its top."""
    return [node.name for node in ast.parse(text).body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef))]


def has(text: str, kind: str) -> bool:
    """Whether a cell has a region of that kind, ``"SOLUTION"`` or ``"HIDDEN TESTS"``."""
    found = [marker["kind"] for marker in map(MARKER.search, text.split("\n")) if marker]
    line_markers = kind == "SOLUTION" and any(map(LINE.match, text.split("\n")))
    return kind in found or line_markers


def is_test(text: str) -> bool:
    """Whether a cell is one of tests: it asserts something at its top."""
    return any(isinstance(node, ast.Assert) for top in ast.parse(text).body
               if not isinstance(top, (ast.FunctionDef, ast.ClassDef)) for node in ast.walk(top))
