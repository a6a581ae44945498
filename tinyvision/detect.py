"""The command ``tinyvision detect``: what a detector sees in a picture of the user's own."""
from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

SIDE = 64                                # of the pictures that small models learn from
LARGEST = 1600                           # pixels along a side; larger pictures are made smaller
DEFAULT = "tiny_mask_rcnn"


def add(subparsers) -> None:
    """Add the command to the subparsers of the ``tinyvision`` command."""
    command = subparsers.add_parser(
        "detect", help="draw boxes, masks and keypoints on a picture of your own",
        description="Find things in a picture, and draw them. Small models are taken from the zoo "
                    "(trained once, in minutes; they know the zoo's shapes, nothing else); the "
                    "papers' models need a file of weights, e.g. torchvision's.")
    command.add_argument("image", metavar="IMAGE", type=Path)
    command.add_argument("--model", metavar="NAME", default=DEFAULT, help=f"default: {DEFAULT}")
    command.add_argument("--weights", metavar="FILE", type=Path,
                         help="safetensors or PyTorch's; default: the zoo's")
    command.add_argument("--classes", metavar="N", type=int,
                         help="of the model, with the background if it has one")
    command.add_argument("--names", metavar="FILE", type=Path,
                         help="names of the classes, one a line, for labels from 0 on (for the R-CNNs "
                              "without the background; torchvision's RetinaNet never answers 0)")
    command.add_argument("--size", metavar="N", type=int,
                         help="scale the longer side to N pixels; default: what the model learned "
                              f"from, {SIDE} for small ones")
    command.add_argument("--score", metavar="S", type=float, default=0.5,
                         help="show what has a higher score; default: 0.5")
    command.add_argument("-o", "--out", metavar="PNG", type=Path,
                         help="default: IMAGE's name with .detected.png, beside it")
    command.add_argument("--json", metavar="FILE", type=Path, help="write what was found there")
    command.add_argument("--explain", metavar="FOLDER", type=Path,
                         help="write pictures of how it was found: anchors, assignments, "
                              "proposals, levels, bins, targets")
    command.set_defaults(run=run)


def run(options) -> int:
    """Find, draw, tell; 0, also where nothing is found."""
    check(options)
    image, shrunk = read(options.image)
    model, names = loaded(options)
    model = answering(seeing(model, options.model, options.size), options.score)
    found = find(model, image)
    out = options.out or options.image.with_suffix(".detected.png")
    save(out, drawn(image, found, names))
    print(told(options, image, shrunk, model, found, names, out))
    if options.json:
        options.json.write_text(as_json(options, image, shrunk, found, names))
    if options.explain:
        from tinyvision import explain
        print(explain.write(options.explain, model, image, found, names))
    return 0


def check(options) -> None:
    """Refuse options that make no sense before anything is read.

    Raises:
        ValueError: says which.
    """
    if not 0 <= options.score <= 1:
        raise ValueError(f"--score is {options.score:g}, expected 0 to 1")
    for name, most in (("size", 4096), ("classes", 10_000)):
        value = getattr(options, name)
        if value is not None and not 1 <= value <= most:
            raise ValueError(f"--{name} is {value}, expected 1 to {most:,}")
    if options.classes and not options.weights:
        raise ValueError("--classes is of a model with weights of your own: give --weights, too")


# --- the picture ----------------------------------------------------------------------------------
def read(path) -> tuple:
    """(the picture (3, H, W) in [0, 1], by how much it was made smaller).

    Raises:
        DataError: see `data.read_image`.
    """
    from tinyvision.data import read_image
    image = read_image(path, upright=True)
    factor = -(-max(image.shape[1:]) // LARGEST)
    if factor == 1 or min(image.shape[1:]) < factor:
        return image, 1
    H, W = (n // factor for n in image.shape[1:])
    tiles = image[:, :H * factor, :W * factor].reshape(3, H, factor, W, factor)
    return tiles.mean((2, 4), dtype=np.float32), factor


def blurred(image, width: int) -> np.ndarray:
    """Every pixel the mean of `width` x `width` around it: then scaling down by that much uses all
    pixels, not one in `width`."""
    for axis in (1, 2) if width > 1 else ():
        ends = [(0, 0)] * 3
        ends[axis] = (width // 2 + 1, (width - 1) // 2)
        sums = np.pad(image, ends, "edge").cumsum(axis, np.float64)
        n = image.shape[axis]
        part = sums.take(range(width, n + width), axis) - sums.take(range(n), axis)
        image = (part / width).astype(np.float32)
    return image


# --- the model ------------------------------------------------------------------------------------
class Loaded(NamedTuple):
    """A detector in inference mode, and the names of its classes, or None."""
    model: object
    names: list | None


def loaded(options) -> Loaded:
    """The zoo's model of that name, or the architecture with weights of the user's own.

    Raises:
        ValueError: no detector, one that the zoo has not, weights or names that do not fit.
    """
    from tinyvision import models, weights, zoo
    known = [*models.list_models("detect"), *models.list_models("instance")]
    if options.model not in known:
        what = "does not detect" if options.model in models.list_models() else "is no model"
        raise ValueError(f"{options.model} {what}; detectors are {', '.join(known)}")
    own = None if options.names is None else read_names(options.names)
    if options.weights is None:
        if options.model not in zoo.names():
            raise ValueError(f"{options.model} is not in the zoo: give a file with --weights, or "
                             f"one of {', '.join(n for n in known if n in zoo.names())}")
        return Loaded(zoo.get(options.model), own or learned_names(options.model))
    chosen = {"num_classes": options.classes} if options.classes else {}
    model = models.get_model(options.model, **chosen)
    weights.load_weights(model, options.weights)
    return Loaded(model.eval(), own or (None if chosen else learned_names(options.model)))


def read_names(path) -> list:
    """One name a line; an empty line is a class without a name."""
    from tinyvision.data.files import read_bytes, read_lines
    read_lines(path)                                         # is it text, and not empty?
    return [line.strip() for line in read_bytes(path).decode().splitlines()]


def learned_names(name):
    """The classes of the zoo's model; None where it has none of that name."""
    from tinyvision.train.recipes import RECIPES
    return list(RECIPES[name].splits(limit=1).names) if name in RECIPES else None


def seeing(model, name, size=None):
    """The model, which scales pictures to what it learned from, or to a longer side of `size`."""
    from tinyvision.train.recipes import RECIPES
    if size is None and model.transform.min_size is None:
        size = getattr(RECIPES[name].source(), "size", SIDE) if name in RECIPES else SIDE
    if size:
        model.transform = replace(model.transform, min_size=size, max_size=size)
    return model


def answering(model, score):
    """The model, which answers with what has a higher score only."""
    if hasattr(model, "roi_heads"):
        model.roi_heads.options = replace(model.roi_heads.options, score_thresh=score)
    else:
        model.score_thresh = score
    return model


def find(model, image) -> dict:
    """What the model finds in one image."""
    from tinyvision.engine import no_grad
    with no_grad():
        return model.predict([prepared(model, image)])[0]


def prepared(model, image) -> np.ndarray:
    """The image, blurred as far as the model's transform will make it smaller."""
    longest = max(image.shape[1:])
    return blurred(image, round(longest / min(model.transform.max_size, longest)))


# --- what comes of it -----------------------------------------------------------------------------
def drawn(image, found, names):
    """The picture, as many pixels wide as the image, within reason."""
    from tinyvision import draw
    width = float(np.clip(image.shape[2] / 96, 4, 11))
    return draw.detections(image, found, names, score=0, width=width)


def save(path, figure) -> None:
    """A Figure as a PNG, in all its colours."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=figure.dpi, bbox_inches="tight", pad_inches=0.08)
    Path(path).write_bytes(content.getvalue())


def told(options, image, shrunk, model, found, names, out) -> str:
    """What was done, and a line for every thing: class, score, box."""
    H, W = (n * shrunk for n in image.shape[1:])
    h, w = model.transform([image]).sizes[0]
    scaled = "as it is" if (H, W) == (h, w) else f"scaled to {w} x {h}"
    count = len(found["boxes"])
    lines = [f"{options.image}: {W} x {H} pixels, {scaled} for {options.model}: "
             f"{count or 'nothing'} found with a score above {options.score:g}"]
    rows = table(found, shrunk, names)
    wide = max((len(row["name"]) for row in rows), default=0)
    lines += [f"{row['name']:<{wide}}  {row['score']:.3f}  "
              + " ".join(f"{v:8.1f}" for v in row["box"]) for row in rows]
    return "\n".join([*lines, f"picture: {out}"])


def table(found, shrunk, names) -> list[dict]:
    """One dictionary for every thing; boxes and keypoints in the pixels of the file's picture."""
    from tinyvision.draw.plates import class_name
    rows = []
    for k, box in enumerate(found["boxes"]):
        row = {"name": class_name(names, found["labels"][k]), "label": int(found["labels"][k]),
               "score": round(float(found["scores"][k]), 4), "box": rounded(box * shrunk)}
        if "keypoints" in found:
            row["keypoints"] = [rounded(point) for point in found["keypoints"][k, :, :2] * shrunk]
        rows.append(row)
    return rows


def rounded(numbers) -> list:
    """To a hundredth."""
    return [round(float(v), 2) for v in numbers]


def as_json(options, image, shrunk, found, names) -> str:
    """What was found; masks as COCO's RLE, of the size that stands in them."""
    from tinyvision.data import rle_encode
    rows = table(found, shrunk, names)
    for row, mask in zip(rows, found.get("masks", ())):
        row["mask"] = rle_encode(mask)
    size = [n * shrunk for n in image.shape[1:]]
    about = {"image": str(options.image), "size": size, "model": options.model,
             "score": options.score, "detections": rows}
    return json.dumps(about, indent=1) + "\n"
