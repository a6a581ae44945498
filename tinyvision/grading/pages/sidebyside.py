"""What is alike, side by side, with the lines marked that are the same after renaming."""
from __future__ import annotations

from html import escape

from tinyvision.grading import fingerprints
from tinyvision.grading.pages import parts

MOST = 60                               # pairs on the page
LINES = 400                             # of a file


def similar_page(groups: list) -> str:
    """The page on all groups: of each, its first member beside every other.

    Arguments:
        groups: `similarity.Group`, the most alike first.
    """
    pairs = [(group, other) for group in groups for other in group.members[1:]]
    cards = "".join(_pair(group, group.members[0], other) for group, other in pairs[:MOST])
    more = f'<p class="soft">And {len(pairs) - MOST} more pairs.</p>' if len(pairs) > MOST else ""
    none = "" if groups else "<p>No two submissions are alike.</p>"
    return parts.page("Similar submissions", (
        '<p class="eyebrow">for the teacher</p><h1>Similar submissions</h1><p class="soft">Marked '
        "are lines whose fingerprints both files have, and neither the file to start from nor much "
        "of the class. People who learn together write alike: read both before you ask.</p>"
        f"{cards}{more}{none}"))


def _pair(group, one, other) -> str:
    marked, note = fingerprints.same_lines(one.text, other.text, group.counting), ""
    if not any(marked):                 # one text, letter for letter, that others have, too
        marked = fingerprints.same_lines(one.text, other.text, group.own)
        note = ('<p class="soft">Much of the class has what is marked here; these two have nothing '
                "else.</p>")
    both = "".join(f'<div><p class="small"><b>{escape(member.label)}</b></p>'
                   f"{_source(member.text.text, lines)}</div>"
                   for member, lines in zip((one, other), marked))
    return (f'<article class="card"><div class="head"><h3>{escape(group.exercise)}: '
            f'{escape(group.why)}</h3><span class="num">{parts.percent(group.share)}</span></div>'
            f'{note}<div class="source">{both}</div></article>')


def _source(text: str, marked: set[int]) -> str:
    """Lines from a student, escaped; of a long file what is around the marked ones."""
    lines = text.split("\n")
    first = max(0, min(marked, default=0) - 3)
    shown = range(first, min(len(lines), first + LINES))
    rows = "".join(f'<span{_same(i in marked)}>{escape(lines[i][:300])}</span>' for i in shown)
    return f"<pre>{rows}</pre>"


def _same(marked: bool) -> str:
    return ' class="same"' if marked else ""
