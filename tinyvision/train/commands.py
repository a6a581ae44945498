"""The command ``tinyvision train``: a recipe from the shell; a folder gets all that came of it."""
from __future__ import annotations

import json
import os
import platform
from pathlib import Path

from tinyvision.bench import machine
from tinyvision.train import checkpoint
from tinyvision.train.recipe import key, train
from tinyvision.train.recipes import RECIPES, recipe

PLAN = "plan.json"


def add(subparsers) -> None:
    """Add the command to the subparsers of the ``tinyvision`` command."""
    command = subparsers.add_parser(
        "train", help="train a small model; killed, the same command goes on",
        description="Train a small model. FOLDER gets its weights, curves.png, answers.png and "
                    "figures.json. Killed at any moment, the same command goes on from there.")
    command.add_argument("name", metavar="NAME", help=f"one of {', '.join(RECIPES)}")
    command.add_argument("--data", metavar="DATA", help="default: shapes")
    command.add_argument("--epochs", type=int, metavar="N", help="default: the recipe's")
    command.add_argument("--seed", type=int, metavar="N", help="default: the recipe's")
    command.add_argument("-o", "--out", metavar="FOLDER", type=Path,
                         help="default: tinyvision-NAME, here")
    command.add_argument("--restart", action="store_true", help="begin anew, whatever FOLDER holds")
    command.add_argument("--quiet", action="store_true", help="without a bar")
    command.set_defaults(run=run)


def run(options) -> int:
    """Train, write, and say what came of it; 0, or 1 where the recipe's floor was not reached."""
    chosen = recipe(options.name, epochs=options.epochs, seed=options.seed)
    out = options.out or Path(f"tinyvision-{chosen.name}")
    begin(out, chosen, options.data, options.restart)
    splits = chosen.splits(options.data)
    trained = train(chosen, splits, out / "checkpoint", not options.quiet)
    figures = write(out, chosen, splits, trained, about(options))
    print(summary(out, chosen, figures))
    return 1 if options.epochs is None and not chosen.reached(figures["score"]) else 0


def about(options) -> dict:
    """What was typed, and which data that means."""
    chosen = recipe(options.name)
    return {"command": options.line, "data": {"name": chosen.source_name(options.data),
                                              **vars(chosen.source(options.data))}}


def begin(out: Path, chosen, data, restart: bool) -> None:
    """Make sure that what `out` holds, if anything, is of the same training.

    Raises:
        ValueError: it is of another one.
    """
    plan = {**chosen.settings(), "key": key(chosen, data)}
    before = _read(out / PLAN)
    if before != plan and not restart and (before is not None or (out / "checkpoint").exists()):
        other = [f"{k} {before[k]}, not {v}" for k, v in plan.items()
                 if before and before.get(k, v) != v and k != "key"]
        why = ", ".join(other) or "the code or the data changed"
        raise ValueError(f"{out}: holds another training ({why}); give another folder, or "
                         "--restart to begin anew")
    if restart:
        (out / "checkpoint").unlink(missing_ok=True)
    checkpoint.write(out / PLAN, json.dumps(plan, indent=1).encode())


def _read(path: Path):
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path}: no JSON ({error}); delete it") from None


def write(out: Path, chosen, splits, trained, about: dict) -> dict:
    """All files of a finished training but its checkpoint; the figures."""
    from tinyvision import draw, weights
    figures = {**about, **collect(chosen, splits, trained)}
    weights.save_weights(trained.model, out / "weights.safetensors")
    picture(out / "curves.png", draw.training(trained.history, title=chosen.name,
                                              floors={chosen.headline: chosen.floor}))
    picture(out / "answers.png", chosen.picture(trained.model, splits))
    checkpoint.write(out / "figures.json", lines(figures).encode())
    return figures


def lines(figures: dict) -> str:
    """JSON with one line for every key: long lists of numbers stay out of the way."""
    rows = (f" {json.dumps(k)}: {json.dumps(v)}" for k, v in figures.items())
    return "{\n" + ",\n".join(rows) + "\n}\n"


def collect(chosen, splits, trained) -> dict:
    """What the documentation is made of."""
    from tinyvision import __version__
    history = trained.history
    return {
        "recipe": chosen.settings(), "score": trained.score[chosen.headline],
        "held_out": trained.score, "without_network": chosen.compare(splits),
        "seconds": round(history.seconds, 1), "steps": history.steps,
        "parameters": sum(p.size for p in trained.model.parameters()),
        "items": {"train": len(splits.train), "held_out": len(splits.held_out)},
        "classes": list(splits.names), "losses": {k: short(v) for k, v in history.losses.items()},
        "metrics": history.metrics, "version": __version__, "python": platform.python_version(),
        "processor": machine.processor(), "cores": machine.cores()}


def short(values) -> list:
    """Numbers to six digits."""
    return [float(f"{value:.6g}") for value in values]


def picture(path: Path, figure) -> None:
    """A Figure as a PNG."""
    checkpoint.write(path, figure._repr_png_())


def summary(out: Path, chosen, figures) -> str:
    """Two lines for the terminal."""
    reached = "reached" if chosen.reached(figures["score"]) else "not reached"
    bound = "at most" if chosen.lower else "at least"
    numbers = ", ".join(f"{k} {v:.3f}" for k, v in figures["held_out"].items())
    return (f"{chosen.name}: {numbers} on {figures['items']['held_out']} held out items after "
            f"{chosen.epochs} epochs, {figures['seconds']:.0f} s\n"
            f"{chosen.headline} {bound} {chosen.floor:g}: {reached}. Curves, answers, figures and "
            f"weights: {out}{os.sep}")
