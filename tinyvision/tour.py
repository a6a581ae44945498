"""The tour: all three uses of tinyvision in three minutes, and one page with what came of them.

1. every operation's gradient is checked, 2. a small network learns to segment generated scenes,
3. a folder of sample submissions is graded.
"""
from __future__ import annotations

import base64
import html
import io
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tinyvision import device, optim
from tinyvision.engine import Tensor, grad, no_grad

SCORES = {"ada": 10, "ben": 10, "cleo": 1, "dmitri": 9, "elif": 1, "farid": 0, "greta": 0,
          "hugo": 0, "ines": 0, "jonas": 7.5, "kim": 0, "lena": 0}      # what the samples deserve
TRAINING, HELD_OUT, BATCH, EPOCHS, RATE, SHAPES = 1000, 200, 10, 4, 2e-3, 3


def add(subparsers) -> None:
    """Add the command `tour`."""
    command = subparsers.add_parser("tour", help="all three uses in three minutes, and a page")
    command.add_argument("-o", "--out", default="tinyvision-tour", help="folder for the page")
    command.set_defaults(run=lambda options: tour(Path(options.out)))


def tour(out: Path) -> int:
    """Run the tour and write `out`/index.html; 0 if everything came out as it should."""
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    print("1/3  Is every gradient right?")
    checks = _gradient_checks()
    print("\n2/3  A small encoder-decoder learns to segment shapes")
    learned = _learn()
    print("\n3/3  Grading the sample submissions")
    graded = _grade(out)
    seconds = time.perf_counter() - start
    page = _write(out / "index.html", _page(checks, learned, graded, seconds))
    print(f"\nThe tour took {seconds:.0f} s. What came of it, with pictures: {page.resolve()}")
    right = not checks["failed"] and learned["iou"] > 2 * learned["before"] and graded["expected"]
    return 0 if right else 1


# --- the three stops ------------------------------------------------------------------------------
def _gradient_checks() -> dict:
    from tinyvision import gradcheck
    rows = gradcheck.table(progress=True)
    text = gradcheck.format_table(rows)
    print(text)
    return {"rows": rows, "text": text, "failed": [row for row in rows if not row.ok],
            "figure": _backward_graph()}


def _backward_graph():
    """The gradient of a convolution, drawn: the forward pass and what autograd made of it."""
    from tinyvision import draw, ops
    x, w = (Tensor(np.ones(shape, np.float32), requires_grad=True)
            for shape in ((1, 1, 5, 5), (1, 1, 3, 3)))
    loss = (ops.conv2d(x, w, stride=2, padding=1) ** 2).sum()
    gx, = grad(loss, [x], create_graph=True)
    return draw.graph(gx, x=x, weight=w, loss=loss)


def _learn() -> dict:
    """Train `tiny_segnet` on generated scenes; figures, pictures and the curve of its loss."""
    from tinyvision import data, draw, models
    device.manual_seed(0)
    chosen = data.CLASSES[:SHAPES]
    train = data.shapes(TRAINING, seed=0, classes=chosen)
    held_out = data.shapes(HELD_OUT, seed=1, classes=chosen)
    model = models.tiny_segnet(len(train.names) + 1)
    before = evaluate(model, held_out)
    losses = train_segmenter(model, train)
    iou = evaluate(model, held_out)
    few = slice(0, 6)
    predicted = model.predict(Tensor(held_out.images[few]))
    print(f"     mean IoU on {HELD_OUT} held-out scenes: {before:.2f} before, {iou:.2f} after "
          f"{EPOCHS} epochs of {TRAINING}")
    figures = [draw.masks(held_out.images[few], held_out.masks[few], predicted, held_out.names),
               draw.curve(losses)]
    return {"before": before, "iou": iou, "losses": losses, "figures": figures}


def train_segmenter(model, scenes, epochs: int = EPOCHS, batch: int = BATCH, lr: float = RATE):
    """Minimise the model's loss on the scenes with Adam, a bar showing it; the loss of every step.

    The learning rate falls to zero along half a cosine.
    """
    optimizer, losses = optim.Adam(model.parameters(), lr), []
    steps = epochs * (len(scenes) // batch)
    bar = tqdm(total=steps, desc="     learning", unit="step")
    for _ in range(epochs):
        for chosen in device.generator().permutation(len(scenes)).reshape(-1, batch):
            optimizer.lr = lr * 0.5 * (1 + np.cos(np.pi * len(losses) / steps))
            optimizer.zero_grad()
            loss = sum(model.loss(Tensor(scenes.images[chosen]), scenes.masks[chosen]).values())
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
            bar.update()
    bar.close()
    return losses


def evaluate(model, scenes, batch: int = 50) -> float:
    """The mean IoU of the model's predictions on the scenes, in inference mode."""
    from tinyvision.metrics import mean_iou
    model.eval()
    with no_grad():
        predicted = np.concatenate([model.predict(Tensor(scenes.images[k:k + batch]))
                                    for k in range(0, len(scenes), batch)])
    model.train()
    return mean_iou(scenes.masks, predicted, len(scenes.names) + 1)


def _grade(out: Path) -> dict:
    from tinyvision import grading
    from tinyvision.grading import commands
    samples = Path(grading.__file__).parent / "samples"
    summary = grading.grade(samples, out / "grades")
    print(commands.summary_text(summary))
    scores = {r["student"]: r["score"] for r in summary.records}
    return {"summary": summary, "expected": scores == SCORES}


# --- the page -------------------------------------------------------------------------------------
STYLE = """
body{font:16px/1.55 system-ui,sans-serif;color:#1c2430;background:#fbfbf9;margin:0}
main{max-width:62rem;margin:auto;padding:2.5rem 1.5rem 5rem}
h1{font-size:2.1rem;margin:0}h2{margin:3rem 0 .5rem;font-size:1.35rem}
p{max-width:44rem}table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;padding:.35rem .7rem;border-bottom:1px solid #e3e3dd}
td.n{font-variant-numeric:tabular-nums;text-align:right}
img{max-width:100%;display:block;margin:1rem 0}
.big{font-size:2rem;font-weight:650;margin-right:.4rem}.grid{display:flex;gap:2.5rem;flex-wrap:wrap}
pre{background:#f1f1ec;padding:1rem;overflow:auto;font-size:.8rem;line-height:1.35;
border-radius:6px}
small,figcaption{color:#667}figure{margin:0}h3{margin:1.6rem 0 .2rem;font-size:1.05rem}
"""


def _page(checks, learned, graded, seconds) -> str:
    rows, records = checks["rows"], graded["summary"].records
    numbers = [(f"{sum(row.ok for row in rows)} / {len(rows)}", "operations with right gradients"),
               (f"{learned['iou']:.2f}", "mean IoU on scenes never seen"),
               (f"{len(records)}", "submissions graded"), (f"{seconds:.0f} s", "in all")]
    head = "".join(f"<div><span class=big>{n}</span><br>{html.escape(t)}</div>" for n, t in numbers)
    return f"""<!doctype html><html lang=en><meta charset=utf-8><title>tinyvision: the tour</title>
<meta name=viewport content="width=device-width"><style>{STYLE}</style><main>
<h1>The tour</h1><p>What <code>tinyvision tour</code> did on this machine.</p>
<div class=grid>{head}</div>
<h2>1. Is every gradient right?</h2>
<p>Every operation runs as plain loops, on the CPU and as CUDA text; the variants must agree. Its
gradient must be the adjoint of its derivative, and agree with finite differences at first and at
second order, along random directions and for a random cotangent.</p>
<pre>{html.escape(checks["text"])}</pre>
<p><small>One operation in detail: <code>tinyvision gradcheck conv2d</code></small></p>
<p>A backward pass is itself a graph of operations. Here is the one that autograd made for a
convolution: the gradient of a convolution is a transposed convolution.</p>
{_image(checks["figure"])}
<h2>2. A small encoder-decoder learns to segment</h2>
<p>SegNet: {TRAINING} generated scenes, {EPOCHS} epochs. Its decoder puts values back where the
encoder's max-pooling found them. Mean IoU on {HELD_OUT} scenes it never saw:
{learned["before"]:.2f} before, <b>{learned["iou"]:.2f}</b> after.</p>
{"".join(_image(f) for f in learned["figures"])}
<h2>3. Grading the sample submissions</h2>
<p>Strangers' programs, each run in a sandbox (isolation: {graded["summary"].isolation}) that holds
neither the answers nor tinyvision; the mark is decided outside. Pictures of what was expected and
what came are below, and all in the
<a href="grades/{html.escape(Path(graded["summary"].report).name)}">report</a>.
</p>{_records(records)}{_wrong_answers(records)}
<h2>Where to go on</h2>
<p>Read <code>notebooks/01_upsampling.ipynb</code>. Start an exercise with
<code>tinyvision exercises</code> and <code>tinyvision start conv2d</code>.</p></main></html>"""


def _records(records) -> str:
    rows = "".join(f"<tr><td>{html.escape(str(r['student']))}<td>{html.escape(str(r['exercise']))}"
                   f"<td class=n>{r['score']:g} / {r['points']:g}"
                   f"<td>{html.escape(r['verdict'])}" for r in records)
    return f"<table><tr><th>student<th>exercise<th>points<th>verdict</tr>{rows}</table>"


def _wrong_answers(records) -> str:
    """Pictures of the first wrong answers of a few submissions."""
    from tinyvision.grading import report
    wrong = [r for r in records if r["verdict"] == "WRONG_VALUE"][:3]
    return "".join(f"<h3>{html.escape(str(r['file']))}</h3>{report.figures(r, most=1)}"
                   for r in wrong)


def _image(figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="" src="data:image/png;base64,{data}">'


def _write(path: Path, text: str) -> Path:
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
    return path
