"""A wrong answer as pictures: expected, yours, and the difference, wrong cells outlined; and what
the first wrong number is made of, framed like that number.

Drawn as SVG by hand: sharp at any size, a few kilobytes, dark where the page is dark, and a
thousand students' pages take seconds.
"""
from __future__ import annotations

import base64
import functools
import json
import math
from html import escape

NUMBERED = 10                           # planes up to this side have their numbers written in
WIDE, HIGH, SMALL = 47, 32, 15          # pixels of a cell with a number, and of one without
SHADES = 8
MINUS = "\N{MINUS SIGN}"
STYLE = """
.g{fill:#fff;stroke:#d5dce4}.a{fill:#d9480f}.b{fill:#2f6fde}.c{fill:#b3720a}.d{fill:#7c4dd6}
.x{fill:#c7ced6}.w{fill:none;stroke:#c81e3a;stroke-width:2.2}
.u{fill:none;stroke:#0b57d0;stroke-width:2.6}
text{font:12px Inter,system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:#16202b;
text-anchor:middle;dominant-baseline:central}
.l{stroke:#d5dce4;stroke-width:.6;fill:none}
@media (prefers-color-scheme:dark){.g{fill:#18202a;stroke:#3a4756}.a{fill:#b3400f}.b{fill:#2458b8}
.c{fill:#946312}.d{fill:#6a41b8}.x{fill:#4a5766}.w{stroke:#ff7a8c}.u{stroke:#8ab8ff}
text{fill:#eef2f6}
.l{stroke:#3a4756}}
"""


def place(picture: dict) -> str:
    """Which part of the answer a picture shows, as its title says it, without an index that leaves
    nothing out: "" for a plain matrix."""
    title = str(picture.get("title", ""))
    before, bracket, index = title.rpartition("[")
    return before.strip() if bracket and not set(index) - set(":, ]") else title


def figure(picture: dict, caption: str) -> str:
    """One picture of a record as an HTML figure; its panels stand side by side, or stacked."""
    panels = "".join(
        f'<div class="panel"><span>{escape(title)}</span>'
        f'<img alt="{escape(title)}: {rows} by {columns} numbers" width="{width}" '
        f'height="{height}" src="data:image/svg+xml;base64,{data}"></div>'
        for title, rows, columns, width, height, data in drawings(json.dumps(picture)))
    return (f'<figure><figcaption>{escape(caption)}</figcaption>'
            f'<div class="panels">{panels}</div></figure>')


@functools.lru_cache(maxsize=4096)
def drawings(picture: str) -> tuple:
    """(title, rows, columns, width, height, base64 SVG) of each panel of a picture's JSON, so that
    students with the same mistake share one drawing."""
    return tuple((title, len(plane), len(plane[0]) if plane else 0, *_drawn(plane, *look))
                 for title, plane, *look in panels(json.loads(picture)))


def panels(picture: dict) -> list[tuple]:
    """(title, rows of numbers, largest magnitude, two colour classes, outlines) of each panel; an
    outline is (its class, a mask)."""
    planes = {name: [[float(cell) for cell in row] for row in picture[name]]
              for name in ("expected", "received") if name in picture}
    wrong, limit = picture.get("wrong"), _largest(planes["expected"])
    first = [("u", picture["first"])] if "first" in picture else []
    found = [("expected", planes["expected"], limit, "ab", first)]
    if "received" not in planes:
        return found
    outlined = [("w", wrong)] if wrong else []
    found.append(("yours", planes["received"], limit, "ab", outlined))
    if wrong and _shape(wrong) == _shape(planes["received"]) == _shape(planes["expected"]):
        difference = [[b - a for a, b in zip(*rows)]
                      for rows in zip(planes["expected"], planes["received"])]
        found.append(("yours − expected", difference, _largest(difference), "cd", outlined))
    if first:
        plane = [[float(cell) for cell in row] for row in picture["input"]]
        found.append((f"the framed one comes from {picture['argument']}", plane, _largest(plane),
                      "ab", [("u", picture["used"])]))
    return found


def _shape(plane) -> tuple[int, int]:
    return len(plane), len(plane[0]) if plane else 0


def _largest(plane) -> float:
    return max((abs(v) for row in plane for v in row if math.isfinite(v)), default=0.0) or 1.0


def _drawn(plane, limit: float, colors: str, outlines) -> tuple[int, int, str]:
    """(width, height, base64 SVG) of one plane of numbers."""
    rows, columns = _shape(plane)
    numbered = max(rows, columns) <= NUMBERED
    wide, high = (WIDE, HIGH) if numbered else (SMALL, SMALL)
    width, height = max(1, columns) * wide + 3, max(1, rows) * high + 3
    text = "" if rows and columns else f'<text x="{width / 2}" y="{height / 2}">none</text>'
    parts = [_shaded(plane, limit, colors, wide, high), _lines(rows, columns, wide, high),
             *(_outlined(mask, wide, high, kind) for kind, mask in outlines),
             _written(plane) if numbered else "", text]
    svg = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-1.5 -1.5 {width} {height}">'
           f'<style>{STYLE}</style><path class="g" d="M0 0h{width - 3}v{height - 3}H0z"/>'
           f'{"".join(parts)}</svg>')
    return width, height, base64.b64encode(svg.encode()).decode()


def _cells(cells, wide: int, high: int) -> str:
    return "".join(f"M{column * wide} {row * high}h{wide}v{high}h-{wide}z" for row, column in cells)


def _shaded(plane, limit: float, colors: str, wide: int, high: int) -> str:
    """Cells of one shade are one path: the picture stays small."""
    shades: dict[tuple[str, int], list] = {}
    for row, values in enumerate(plane):
        for column, value in enumerate(values):
            key = ("x", SHADES) if not math.isfinite(value) else (
                colors[value < 0], round(SHADES * min(1.0, abs(value) / limit)))
            shades.setdefault(key, []).append((row, column))
    return "".join(f'<path class="{name}" fill-opacity="{0.78 * shade / SHADES:.2f}" '
                   f'd="{_cells(cells, wide, high)}"/>'
                   for (name, shade), cells in shades.items() if shade)


def _lines(rows: int, columns: int, wide: int, high: int) -> str:
    across = "".join(f"M0 {row * high}h{columns * wide}" for row in range(1, rows))
    down = "".join(f"M{column * wide} 0v{rows * high}" for column in range(1, columns))
    return f'<path class="l" d="{across}{down}"/>' if across or down else ""


def _outlined(mask, wide: int, high: int, kind: str = "w") -> str:
    """The cells of a mask; many that touch have one outline around them all."""
    cells = {(row, column) for row, values in enumerate(mask)
             for column, value in enumerate(values) if value}
    edges = []
    for row, column in sorted(cells):
        x, y = column * wide, row * high
        for neighbour, edge in (((row - 1, column), f"M{x} {y}h{wide}"),
                                ((row + 1, column), f"M{x} {y + high}h{wide}"),
                                ((row, column - 1), f"M{x} {y}v{high}"),
                                ((row, column + 1), f"M{x + wide} {y}v{high}")):
            if neighbour not in cells:
                edges.append(edge)
    return f'<path class="{kind}" stroke-linecap="square" d="{"".join(edges)}"/>' if edges else ""


def _written(plane) -> str:
    return "".join(f'<text x="{column * WIDE + WIDE / 2:g}" y="{row * HIGH + HIGH / 2:g}">'
                   f'{short(value).replace("-", MINUS)}</text>' for row, values in enumerate(plane)
                   for column, value in enumerate(values))


def short(value: float) -> str:
    """A number in at most six characters."""
    if not math.isfinite(value):
        return str(value)
    if value == round(value) and abs(value) < 1e5:
        return f"{value:.0f}"
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value)))):d}f}"[:6].rstrip(".")
    return f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
