"""A CSV file in which single cells change and every other byte stays what it is.

The file is not written anew: cells are found in its text (quotes, embedded line ends and all), new
ones are put in their places, and the rest is copied. So quoting, line ends, a byte order mark, the
delimiter and the order of rows survive.
"""
from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

DELIMITERS = ",;\t"
BINARY = re.compile(r"[\0-\x08\x0e-\x1f]")
MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"),
         (codecs.BOM_UTF16_BE, "utf-16-be"))


@dataclass(frozen=True)
class Cell:
    """A cell: its value, and where its text (quotes and all) stands in the file's."""
    value: str
    start: int
    stop: int

    @property
    def quoted(self) -> bool:
        """Whether the text is longer than the value: it stands in quotes."""
        return self.stop - self.start > len(self.value)


class Table:
    """The cells of a CSV file.

    Arguments:
        data: its bytes: UTF-8 or UTF-16 by their marks, else UTF-8, else Windows' Latin.
        name: for messages.
    ValueError where a quote is never closed, or there are no rows.
    """

    def __init__(self, data: bytes, name: str):
        self.name, self.edits = name, {}
        self.mark, self.encoding = next(((mark, code) for mark, code in MARKS
                                         if data.startswith(mark)), (b"", ""))
        body = data[len(self.mark):]
        self.text, self.encoding = _decoded(body, self.encoding, name)
        self.delimiter = max(DELIMITERS, key=self._columns)
        self.rows = self._parse(self.delimiter)

    def _columns(self, delimiter: str) -> int:
        """How many columns the header would have."""
        try:
            return len(self._parse(delimiter, 1)[0])
        except ValueError:
            return 0

    def _parse(self, delimiter: str, most: int | None = None) -> list[list[Cell]]:
        """The rows; of an empty line one empty cell."""
        cell = re.compile(rf'"((?:[^"]|"")*)"(?=[{re.escape(delimiter)}\r\n]|$)|'
                          rf'([^{re.escape(delimiter)}\r\n]*)')
        rows, row, at = [], [], 0
        while at < len(self.text):
            found = cell.match(self.text, at)
            if found[1] is None and found[0].startswith('"') and found[0].count('"') % 2:
                line = self.text.count("\n", 0, at) + 1
                raise ValueError(f"{self.name} line {line}: a quote that is never closed; export "
                                 "the file again")
            value = found[2] if found[1] is None else found[1].replace('""', '"')
            row.append(Cell(value, *found.span()))
            at = found.end()
            if at < len(self.text) and self.text[at] == delimiter:
                at += 1
                if at == len(self.text):
                    row.append(Cell("", at, at))
                continue
            at += 2 if self.text[at:at + 2] == "\r\n" else 1
            rows.append(row)
            row = []
            if most is not None and len(rows) == most:
                return rows
        rows += [row] if row else []
        if not rows:
            raise ValueError(f"{self.name} is empty; give the file that was exported")
        return rows

    def set(self, row: int, column: int, value: str) -> None:
        """Put a value into a cell, in quotes where the old one was or where it needs them."""
        old = self.rows[row][column]
        needs = old.quoted or any(c in value for c in (self.delimiter, '"', "\n", "\r"))
        escaped = value.replace('"', '""')
        self.edits[old.start, old.stop] = f'"{escaped}"' if needs else value

    def data(self) -> bytes:
        """The bytes with the edits."""
        pieces, at = [], 0
        for (start, stop), value in sorted(self.edits.items()):
            pieces += [self.text[at:start], value]
            at = stop
        return self.mark + "".join([*pieces, self.text[at:]]).encode(self.encoding)

    def comma_decimals(self) -> bool:
        """Whether numbers are written 1,5: some cell is such a number and none is like 1.5; where
        there are no numbers with fractions, semicolons say it."""
        values = [cell.value.strip() for row in self.rows for cell in row]
        comma, point = (any(re.fullmatch(rf"-?\d+{mark}\d{{1,5}}", value) for value in values)
                        for mark in (",", r"\."))
        return comma and not point or not comma and not point and self.delimiter == ";"


def _decoded(body: bytes, encoding: str, name: str) -> tuple[str, str]:
    for code in (encoding,) if encoding else ("utf-8", "cp1252", "latin-1"):
        try:
            text = body.decode(code)
        except UnicodeDecodeError:
            continue
        if not encoding and BINARY.search(text):        # every byte is a letter of some Latin
            raise ValueError(f"{name} is no text; give the CSV file that was exported")
        if text.encode(code) == body:
            return text, code
    raise ValueError(f"{name} is no text in {encoding}; export the file again")


def number(value: float, comma: bool = False) -> str:
    """A mark with at most two decimals, ``7.5`` or ``7,5``."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return text.replace(".", ",") if comma else text


def parsed(text: str) -> float | None:
    """A number from a cell, with a point or a comma; None for anything else."""
    text = text.strip()
    if re.fullmatch(r"-?\d{1,3}(\.\d{3})+,\d+", text):
        text = text.replace(".", "")
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None
