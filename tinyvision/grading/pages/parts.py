"""What all pages share: the frame around them, their words, and small drawings."""
from __future__ import annotations

import base64
import hashlib
from html import escape

from tinyvision.grading.pages.style import STYLE

WORDS = {"OK": "all right", "WRONG_VALUE": "wrong numbers", "WRONG_SHAPE": "wrong shape",
         "WRONG_DTYPE": "wrong dtype", "WRONG_TYPE": "wrong type", "NONFINITE": "NaN or infinity",
         "EXCEPTION": "exception", "NO_FUNCTION": "function missing", "SYNTAX": "syntax error",
         "TIMEOUT": "did not finish", "MEMORY": "too much memory", "CRASHED": "crashed",
         "EXITED": "ended the program", "OUTPUT_LIMIT": "printed too much",
         "DISK_LIMIT": "wrote too much", "BAD_RESULT": "garbled answer",
         "MUTATED_INPUT": "right, but changed its input",
         "NONDETERMINISTIC": "other answers each time", "UNREADABLE": "cannot be read",
         "MISSING": "nothing to grade", "GRADER_ERROR": "not graded: our fault"}
TONES = {"OK": "good", "MUTATED_INPUT": "fair", "GRADER_ERROR": "ours"}


def page(title: str, body: str) -> str:
    """A whole document. Only its own style, known by its hash, and pictures in it are allowed."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = (f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
              "form-action 'none'")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body><main>
{body}
</main></body>
</html>
"""


def number(value: float | None) -> str:
    """Points as a person writes them; a dash for none."""
    return "–" if value is None else f"{round(value, 2):g}"


def percent(share: float | None) -> str:
    """A share in percent; a dash for none."""
    return "–" if share is None else f"{share:.0%}".replace("%", "\N{NARROW NO-BREAK SPACE}%")


def counted(n: int, noun: str) -> str:
    """"1 submission", "2 submissions"."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def words(verdict: str) -> str:
    """A verdict in plain words."""
    return escape(WORDS.get(verdict, verdict.replace("_", " ").lower()))


def named(slug: str) -> str:
    """A mistake's name in plain words."""
    return escape(slug.replace("-", " ")) or "not recognised"


def tag(verdict: str, tone: str | None = None) -> str:
    """A verdict as a label."""
    return f'<span class="tag {tone or TONES.get(verdict, "bad")}">{words(verdict)}</span>'


def example(call: dict | None) -> str:
    """The smallest call that shows a mistake; nothing where there is none."""
    if not isinstance(call, dict):
        return ""
    rows = "".join(f"<dt>{word}</dt><dd><code>{escape(str(call[key]))}</code></dd>"
                   for word, key in (("try", "call"), ("yours", "yours"), ("expected", "expected"))
                   if call.get(key) is not None)
    return f'<dl class="example">{rows}</dl>'


def section(title: str, body: str, note: str = "", name: str = "") -> str:
    """A headed part of a page; nothing where there is no body."""
    text = f'<p class="soft">{note}</p>' if note else ""
    anchor = f' id="{escape(name)}"' if name else ""
    return f"<section{anchor}><h2>{escape(title)}</h2>{text}{body}</section>" if body else ""


def tiles(pairs: list[tuple[str, str]]) -> str:
    """Large numbers with a word below each; both are escaped already."""
    return '<ul class="tiles">' + "".join(
        f"<li><b>{value}</b>{words}</li>" for value, words in pairs) + "</ul>"


def meter(share: float, tone: str = "") -> str:
    """A horizontal bar, filled from the left."""
    return (f'<svg class="meter" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" '
            f'aria-label="{share:.0%}"><rect class="track" width="100" height="8"/>'
            f'<rect class="fill {tone}" width="{100 * share:.1f}" height="8"/></svg>')


def bars(counts: list[int], labels: list[str], kind: str = "bars", tones=()) -> str:
    """Upright bars with their counts above and labels below; small ones have neither."""
    small, most, step = kind == "spark", max(*counts, 1), 60
    top, height, below = (0, 40, 0) if small else (28, 270, 28)
    parts = []
    for i, (count, label) in enumerate(zip(counts, labels)):
        tall = height * count / most
        tone = tones[i] if tones else ""
        parts.append(f'<rect class="track" x="{i * step + 4}" y="{top + height - 2}" '
                     f'width="{step - 8}" height="2"/>')
        parts.append(f'<rect class="fill {tone}" x="{i * step + 4}" rx="3" width="{step - 8}" '
                     f'y="{top + height - tall:.1f}" height="{tall:.1f}"/>')
        if not small:
            parts.append(f'<text x="{i * step + step / 2}" y="{top + height + 20}">'
                         f'{escape(label)}</text>')
        if count and not small:
            parts.append(f'<text class="count" x="{i * step + step / 2}" '
                         f'y="{top + height - tall - 7:.1f}">{count}</text>')
    size = f"0 0 {step * len(counts)} {top + height + below}"
    stretch = ' preserveAspectRatio="none"' if small else ""
    return f'<svg class="{kind}" viewBox="{size}"{stretch} role="img">{"".join(parts)}</svg>'
