"""One HTML page for a graded folder: self-contained, no scripts, everything escaped."""
from __future__ import annotations

import base64
import collections
import functools
import io
import json
from html import escape
from pathlib import Path

import numpy as np

from tinyvision.grading.store import write

NUMBERED = 10                           # planes up to this side have their numbers written in
COLORS = {"OK": "good", "MUTATED_INPUT": "fair", "GRADER_ERROR": "ours"}
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
STYLE = """
:root { --ink: #1f2933; --soft: #66727f; --line: #e3e8ee; --good: #1a7f4b; --bad: #b4232a;
        --fair: #946200; --ours: #5b3fa8; --ground: #f6f8fa; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
       margin: 0 auto; max-width: 1080px; padding: 32px 24px 80px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 36px 0 10px; }
p { margin: 4px 0; } .soft { color: var(--soft); } code, pre { font: 13px/1.45 ui-monospace,
    Menlo, Consolas, monospace; } pre { white-space: pre-wrap; overflow-wrap: anywhere;
    background: var(--ground); border-radius: 6px; padding: 8px 12px; margin: 6px 0; }
.counts { display: flex; flex-wrap: wrap; gap: 8px; margin: 18px 0 0; padding: 0; }
.counts li { list-style: none; background: #fff; border: 1px solid var(--line);
    border-radius: 8px; padding: 8px 14px; }
.counts b { display: block; font-size: 20px; line-height: 1.2; }
ul.plain { margin: 0; padding-left: 20px; }
details { background: #fff; border: 1px solid var(--line); border-radius: 8px; margin: 6px 0; }
summary { display: grid; grid-template-columns: 1.3fr 1fr 1.2fr 90px; gap: 12px; padding: 9px 16px;
    cursor: pointer; align-items: center; } summary:hover { background: var(--ground); }
summary .score { text-align: right; font-variant-numeric: tabular-nums; }
summary > * { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.body { padding: 4px 16px 16px; border-top: 1px solid var(--line); }
.tag { font-size: 12px; font-weight: 600; letter-spacing: .02em; color: var(--bad); }
.tag.good { color: var(--good); } .tag.fair { color: var(--fair); }
.tag.ours { color: var(--ours); }
table { border-collapse: collapse; width: 100%; margin: 10px 0; }
td, th { text-align: left; padding: 5px 10px 5px 0; border-bottom: 1px solid var(--line);
    vertical-align: top; } td .tag { white-space: nowrap; }
th { color: var(--soft); font-weight: 500; font-size: 13px; }
.cases { table-layout: fixed; } .cases th:nth-child(1) { width: 30%; }
.cases th:nth-child(2) { width: 150px; } .cases th:nth-child(4) { width: 80px; }
td.score { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.hint { border-left: 3px solid var(--fair); padding: 4px 12px; margin: 10px 0;
    background: #fdf9ef; }
figure { margin: 14px 0 0; } figure img { max-width: 100%; display: block; }
figcaption { color: var(--soft); font-size: 13px; margin-bottom: 4px; }
"""


def write_report(out: Path, records: list[dict]) -> Path:
    """Write ``report.html`` into OUT; its path."""
    path = Path(out) / "report.html"
    write(path, page(records))
    return path


def page(records: list[dict]) -> str:
    """The whole page."""
    exercises = sorted({record["exercise"] for record in records if record["exercise"]})
    levels = ", ".join(sorted({record["isolation"] for record in records})) or "none"
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Grading report</title><style>{STYLE}</style></head><body>
<h1>Grading report</h1>
<p class="soft">{_number(len(records), "submission")} · {escape(", ".join(exercises))} ·
isolation {escape(levels)}</p>
{_counts(records)}
{_mistakes(records)}
{_by_hand(records)}
<h2>Submissions</h2>
<p class="soft">Open one to see its cases; in the pictures, wrong numbers are outlined.</p>
{"".join(map(_submission, records))}
</body></html>
"""


def _number(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _tag(verdict: str) -> str:
    words = escape(verdict.replace("_", " ").lower())
    return f'<span class="tag {COLORS.get(verdict, "bad")}">{words}</span>'


def _counts(records: list[dict]) -> str:
    counts = collections.Counter(record["verdict"] for record in records).most_common()
    items = "".join(f"<li><b>{n}</b>{_tag(verdict)}</li>" for verdict, n in counts)
    return f'<ul class="counts">{items}</ul>'


def _mistakes(records: list[dict]) -> str:
    counts, hints = collections.Counter(), {}
    for record in records:
        for found in record["diagnoses"]:
            key = (found["function"], found["name"])
            counts[key] += 1
            hints[key] = found["hint"]
    rows = "".join(
        f"<tr><td>{n}</td><td><code>{escape(function)}</code></td>"
        f"<td>{escape(name.replace('-', ' ')) or 'not recognised'}</td>"
        f"<td class=soft>{escape(hints[function, name])}</td></tr>"
        for (function, name), n in counts.most_common(20))
    return rows and f"<h2>Most common mistakes</h2><table>{rows}</table>"


def _by_hand(records: list[dict]) -> str:
    """What a person should look at: our own faults, what could not be read, and remarks."""
    rows = []
    for record in records:
        if record["verdict"] in ("GRADER_ERROR", "UNREADABLE", "MISSING"):
            rows.append((record, record["message"]))
        elif record["remarks"]:
            rows.append((record, "; ".join(record["remarks"][:4])))
    items = "".join(f"<tr><td>{escape(record['file'])}</td><td>{_tag(record['verdict'])}</td>"
                    f"<td class=soft>{escape(why)}</td></tr>" for record, why in rows)
    return items and ("<h2>Look at these</h2><p class=soft>Remarks come from reading the source; "
                      f"they change no mark.</p><table>{items}</table>")


def _submission(record: dict) -> str:
    points = "" if record["points"] is None else f" / {record['points']:g}"
    score = "not graded" if record["score"] is None else f"{record['score']:g}{points}"
    rows = "".join(map(_case, record["cases"]))
    table = rows and f"<table class=cases><tr><th>case<th><th>what happened<th></tr>{rows}</table>"
    hints = "".join(
        f'<div class="hint"><b>{escape(found["function"])}'
        f'{": " + escape(found["name"].replace("-", " ")) if found["name"] else ""}</b><br>'
        f'{escape(found["hint"])}</div>' for found in record["diagnoses"])
    message = f"<p>{escape(record['message'])}</p>" if not record["cases"] else ""
    return (f"<details><summary><b>{escape(record['file'])}</b>"
            f"<span class=soft>{escape(record['exercise'] or '')}</span>"
            f"{_tag(record['verdict'])}<span class=score>{score}</span></summary>"
            f"<div class=body>{message}{hints}{table}{figures(record)}</div></details>")


def _case(case: dict) -> str:
    frames = "".join(f"{escape(line)}\n" for line in case.get("frames", ()))
    printed = case.get("printed") if case["verdict"] != "OK" else ""
    return (f"<tr><td><code>{escape(case['function'])}</code> {escape(case['name'])}</td>"
            f"<td>{_tag(case['verdict'])}</td><td>{escape(case['message'])}"
            f"{f'<pre>{frames}</pre>' if frames else ''}"
            f"{f'<pre>{escape(printed[:600])}</pre>' if printed else ''}</td>"
            f"<td class=score>{case['earned']:g} / {case['points']:g}</td></tr>")


def figures(record: dict, most: int | None = None) -> str:
    """HTML figures of a record's first failing cases: expected, received, difference."""
    found = []
    for case in [c for c in record["cases"] if c.get("picture")][:most]:
        image = drawing(json.dumps(case["picture"]))
        caption = f"{case['function']}, {case['name']}: {case['picture']['title']}"
        if image:
            found.append(f"<figure><figcaption>{escape(caption)}</figcaption><img alt="
                         f'"expected, received, difference" src="data:image/png;base64,{image}">'
                         "</figure>")
    return "".join(found)


# ---- pictures ------------------------------------------------------------------------------------

@functools.lru_cache(maxsize=4096)
def drawing(picture: str) -> str:
    """A picture of expected, received and difference, as base64 PNG; "" without matplotlib.

    Takes the record's JSON, so that students with the same mistake share one drawing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return ""
    panels = _panels(json.loads(picture))
    heights, widths = ([max(1, panel[1].shape[side]) for panel in panels] for side in (0, 1))
    cell = min(0.5, 3.1 / max(widths))
    figure = Figure(figsize=(3.5 * len(panels), max(0.5, cell * max(heights)) + 0.5), dpi=100)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    figure.subplots_adjust(0.01, 0.03, 0.99, 1 - 0.32 / figure.get_figheight(), wspace=0.06)
    for axis, panel in zip(axes, panels):
        _draw_panel(axis, *panel)
    data = io.BytesIO()
    FigureCanvasAgg(figure).print_png(data, metadata={"Software": None})
    return base64.b64encode(data.getvalue()).decode()


def _panels(picture: dict) -> list[tuple]:
    """(title, numbers, colour limit, colour map, mask of wrong cells) of each panel."""
    planes = {name: np.array([[float(cell) for cell in row] for row in picture[name]], ndmin=2)
              for name in ("expected", "received") if name in picture}
    wrong = np.array(picture.get("wrong", []), bool)
    values = planes["expected"]
    limit = float(np.max(np.abs(values[np.isfinite(values)]), initial=0.0)) or 1.0
    panels = [(name, plane, limit, "RdBu_r", wrong if name == "received" else None)
              for name, plane in planes.items()]
    if wrong.size and wrong.shape == planes["received"].shape == values.shape:
        with np.errstate(invalid="ignore"):
            difference = planes["received"] - values
        finite = difference[np.isfinite(difference)]
        panels.append(("received - expected", difference,
                       float(np.max(np.abs(finite), initial=0.0)) or 1.0, "PuOr_r", wrong))
    return panels


def _draw_panel(axis, title: str, plane, limit: float, colors: str, wrong) -> None:
    from matplotlib.patches import Rectangle
    shown = np.ma.masked_invalid(plane)
    if not plane.size:
        axis.set_title(f"{title}: empty", fontsize=10, color="#1f2933", pad=4)
        axis.set_axis_off()
        return
    axis.imshow(shown, cmap=colors, vmin=-limit, vmax=limit, aspect="equal")
    axis.set_facecolor("#d9d9d9")
    axis.set_title(title, fontsize=10, color="#1f2933", pad=4)
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_color("#c4ccd4")
    if max(plane.shape) <= NUMBERED:
        for (row, column), value in np.ndenumerate(plane):
            dark = np.isfinite(value) and abs(value) > 0.6 * limit
            axis.text(column, row, _short(value), ha="center", va="center",
                      fontsize=min(9, 62 / max(6, plane.shape[1])),
                      color="white" if dark else "#1f2933")
    for row, column in np.argwhere(wrong) if wrong is not None else ():
        axis.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, lw=1.3,
                                 edgecolor="#1f2933", clip_on=False))


def _short(value: float) -> str:
    return f"{value:.0f}" if value == round(value, 0) else f"{value:.2g}"
