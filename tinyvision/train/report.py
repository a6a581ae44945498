"""The command ``tinyvision zoo``, and docs/zoo.md, made of the figures that trainings left."""
from __future__ import annotations

import json
import textwrap
from pathlib import Path

from tinyvision.train.recipes import ALL

COMMAND = "tinyvision zoo --page docs/zoo"
WIDTH = 100
HEAD = f"""# The zoo

Small models that are trained on generated data in a few minutes. `tv.zoo.get("tiny_unet")` trains
one on your machine the first time, and finds it in your cache from then on; `tinyvision train
tiny_unet` trains it in a folder and leaves its curves, answers, figures and weights there. Killed
at any moment, the same command goes on and ends with the same bits.

This page is made by `{COMMAND} > docs/zoo.md` of the `figures.json` that the commands
below left; `pytest -m slow` runs them again. Everything is measured on held out items. "Without a
network" is what a method without one reaches on the same items.

| model | task | parameters | must reach | reached | without a network | minutes | epochs |
|---|---|--:|---|--:|---|--:|--:|
"""


def add(subparsers) -> None:
    """Add the command to the subparsers of the ``tinyvision`` command."""
    command = subparsers.add_parser(
        "zoo", help="the small models that there are",
        description="List the small models, and which of them are trained on this machine.")
    command.add_argument("--page", metavar="FOLDER", type=Path,
                         help="print docs/zoo.md, made of FOLDER/*.json and FOLDER/*.png, instead")
    command.set_defaults(run=run)


def run(options) -> int:
    """Print the list, or the page."""
    print(page(options.page) if options.page else listed(), end="")
    return 0


def listed() -> str:
    """A line for every model."""
    return "".join(f"{one.name:<18} {one.task:<21} {goal(one.settings()):<32} {_place(one)}\n"
                   for one in ALL)


def _place(one) -> str:
    from tinyvision import zoo
    figures, file = zoo.figures(one.name), zoo.path(one)
    if not figures:
        return f"not trained here yet: at most {one.minutes:g} minutes"
    return f"{figures['score'][one.headline]:.3f}, {file}"


def goal(recipe: dict) -> str:
    """"mean IoU at least 0.8", of a recipe's settings."""
    bound = "at most" if recipe["lower"] else "at least"
    return f"{said(recipe['headline'])} {bound} {recipe['floor']:g}"


def said(name: str) -> str:
    """"mean IoU" of "mean_iou"."""
    return name.replace("top_", "top-").replace("iou", "IoU").replace("_", " ")


# --- the page -------------------------------------------------------------------------------------
def page(folder: Path) -> str:
    """docs/zoo.md of the figures in a folder; pictures NAME.png there are shown.

    Raises:
        ValueError: there are none, or one is none that `tinyvision train` wrote.
    """
    found = [_read(file) for file in sorted(Path(folder).glob("*.json"))]
    if not found:
        raise ValueError(f"{folder}: has no figures, that is, no files *.json")
    return HEAD + "".join(map(_row, found)) + "".join(_section(f, Path(folder)) for f in found)


def _read(file: Path) -> dict:
    try:
        figures = json.loads(file.read_text())
        _row(figures)
        return figures
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: no figures of a training that reached its end ({error}); copy "
                         "the figures.json of tinyvision train there") from None


def _row(figures) -> str:
    recipe = figures["recipe"]
    cells = (f"[{recipe['name']}](#{recipe['name']})", recipe["task"],
             f"{figures['parameters']:,}", goal(recipe), f"{figures['score']:.3f}",
             _others(figures), f"{figures['seconds'] / 60:.1f} of {recipe['minutes']:g}",
             str(recipe["epochs"]))
    return f"| {' | '.join(cells)} |\n"


def _others(figures) -> str:
    return ", ".join(f"{v:.3f}: {k}" for k, v in figures["without_network"].items())


def _section(figures, folder) -> str:
    recipe, name = figures["recipe"], figures["recipe"]["name"]
    held_out = ", ".join(f"{said(k)} {v:.3f}" for k, v in figures["held_out"].items())
    picture = f"\n![What {name} answers]({folder.name}/{name}.png)\n"
    text = (f"Held out: {held_out}. {_data(figures)} AdamW, one cycle of the learning rate up to "
            f"{recipe['lr']:g}, weight decay {recipe['weight_decay']:g}, batches of "
            f"{recipe['batch_size']}, seed {recipe['seed']}: {figures['steps']:,} steps in "
            f"{figures['seconds']:.0f} s, measuring included, on {figures['cores']} cores of "
            f"{figures['processor']}, Python {figures['python']}, tinyvision {figures['version']}.")
    shown = picture if (folder / f"{name}.png").exists() else ""
    return f"\n## {name}\n\n    {figures['command']}\n\n{textwrap.fill(text, WIDTH)}\n{shown}"


def _data(figures) -> str:
    data, items = dict(figures["data"]), figures["items"]
    size = f", {data['size']}x{data['size']} pixels" if "size" in data else ""
    level = f", {data['difficulty']}" if "difficulty" in data else ""
    return (f"Data: {data['name']}{size}{level}; {items['train']:,} to learn from, "
            f"{items['held_out']:,} held out; {len(figures['classes'])} classes "
            f"({', '.join(figures['classes'])}).")
