"""An exercise in other conventions: names, the order of arguments, channels last, y first.

What is varied is chosen by a seed and said in the task (`Variation.text`). It is all done by
adapters around the exercise's own functions: an argument or an answer is turned into the usual
convention, the usual function is called, and what it gives is turned back. So the solution, every
known mistake and every bound stay what they are.
"""
from __future__ import annotations

import dataclasses
import inspect
import math
from dataclasses import dataclass
from typing import Callable

import numpy as np

from tinyvision.exercises.exercise import Exercise, Mistake
from tinyvision.exercises.forwards import Forward

PREFIXES = ("compute_", "apply_", "plain_", "numpy_", "direct_", "slow_")
# What arguments and answers mean, where that can be turned: images (N, C, H, W), boxes that end in
# x0, y0, x1, y1. For each function: arguments that are images, that are boxes, and a letter for
# each part of the answer.
IMAGES, BOXES = "images", "boxes"
LETTERS = {"i": IMAGES, "b": BOXES, "-": None}
MEANING = {
    "conv2d": ("x", "", "i"), "conv2d_backward": ("g x", "", "i--"),
    "dilated_conv2d": ("x", "", "i"), "dilated_conv2d_backward": ("g x", "", "i-"),
    "depthwise_conv2d": ("x", "", "i"), "depthwise_conv2d_backward": ("g x", "", "i--"),
    "conv_transpose2d": ("x", "", "i"), "conv_transpose2d_backward": ("g x", "", "i--"),
    "max_pool2d": ("x", "", "ii"), "max_pool2d_backward": ("g indices", "", "i"),
    "max_unpool2d": ("x indices", "", "i"), "max_unpool2d_backward": ("g indices", "", "i"),
    "bilinear_resize": ("x", "", "i"), "bilinear_resize_backward": ("g", "", "i"),
    "frru": ("y z", "", "ii"),
    "top_left_pool": ("top left", "", "i"), "bottom_right_pool": ("bottom right", "", "i"),
    "top_left_pool_backward": ("g top left", "", "ii"),
    "box_iou": ("", "boxes1 boxes2", "-"), "nms": ("", "boxes", "-"),
    "soft_nms": ("", "boxes", "--"), "soft_nms_linear": ("", "boxes", "--"),
    "roi_pool": ("x", "boxes", "i"), "roi_pool_backward": ("g x", "boxes", "i"),
    "roi_align": ("x", "boxes", "i"), "roi_align_backward": ("g", "boxes", "i"),
    "ps_roi_pool": ("x", "boxes", "i"), "ps_roi_pool_backward": ("g", "boxes", "i"),
}


@dataclass(frozen=True)
class Variation:
    """The conventions of one function.

    Attributes:
        function: its usual name; ``name`` the one used instead.
        parameters: the usual order of its arguments; ``order`` the one used instead.
        turned: argument -> `IMAGES` or `BOXES`, those that are given in the other layout.
        answers: for each part of the answer the same, or None.
    """
    function: str
    name: str
    parameters: tuple[str, ...]
    order: tuple[str, ...]
    turned: dict
    answers: tuple

    def outside(self, args) -> tuple:
        """Arguments in the usual order and layout, as the varied function takes them."""
        by_name = dict(zip(self.parameters, args))
        return tuple(_turn(by_name[p], self.turned.get(p)) for p in self.order)

    def inside(self, args) -> tuple:
        """Arguments of the varied function, as the usual one takes them."""
        by_name = dict(zip(self.order, args))
        return tuple(_turn(by_name[p], self.turned.get(p), back=True) for p in self.parameters)

    def adapted(self, function: Callable, answers: bool = True) -> Callable:
        """A function of the usual conventions as one of these."""
        def adapter(*args):
            answer = function(*self.inside(args))
            return self.answer(answer) if answers else answer
        adapter.__name__, adapter.__doc__ = self.name, inspect.getdoc(function)
        adapter.__signature__ = inspect.Signature(
            [inspect.Parameter(p, inspect.Parameter.POSITIONAL_OR_KEYWORD) for p in self.order])
        return adapter

    def answer(self, answer, back: bool = False):
        """An answer of the usual function in the other layout; ``back``: the other way."""
        if isinstance(answer, tuple):
            return tuple(_turn(part, kind, back) for part, kind in zip(answer, self.answers))
        return _turn(answer, self.answers[0], back)

    def text(self) -> str:
        """What the task has to say about it, as Markdown."""
        lines = [f"- `{self.function}` is called `{self.name}`; its arguments are "
                 f"({', '.join(self.order)})."]
        for kind, words in ((IMAGES, "channels last, (N, H, W, C)"),
                            (BOXES, "y first: (y0, x0, y1, x1), where the usual order is "
                             "(x0, y0, x1, y1)")):
            which = [f"`{p}`" for p in self.order if self.turned.get(p) == kind]
            which += [_result(i, len(self.answers)) for i, one in enumerate(self.answers)
                      if one == kind]
            if which:
                lines.append(f"  In it, {' and '.join(which)} {'is' if len(which) == 1 else 'are'}"
                             f" {words}.")
        if IMAGES in self.answers and "input_shape" in self.order:
            lines.append("  `input_shape` stays (N, C, H, W).")
        return "\n".join(lines)


def _result(number: int, count: int) -> str:
    return "the result" if count == 1 else f"the {('first', 'second', 'third')[number]} result"


def _turn(value, kind: str | None, back: bool = False):
    if kind == IMAGES and getattr(value, "ndim", 0) == 4:
        return np.ascontiguousarray(np.moveaxis(value, *((-1, 1) if back else (1, -1))))
    if kind == BOXES and getattr(value, "ndim", 0) >= 2 and value.shape[-1] in (4, 5):
        first = value.shape[-1] - 4                 # a region has its image's number before it
        return np.ascontiguousarray(value[..., [*range(first), *(first + i for i in (1, 0, 3, 2))]])
    return value


def variations(exercise: Exercise, seed: int) -> dict[str, Variation]:
    """Usual name -> variation of each function, chosen by the seed and the exercise's name."""
    rng = np.random.default_rng([seed, *exercise.name.encode()])
    prefix = PREFIXES[rng.integers(len(PREFIXES))]
    turn = {IMAGES: True, BOXES: bool(rng.integers(2)) or "nms" in exercise.functions}
    signatures = {f: tuple(inspect.signature(one).parameters)
                  for f, one in exercise.functions.items()}
    rank = _ranks(signatures, rng) | {"g": -math.inf}       # a backward's g stays the first
    made = {}
    for function, parameters in signatures.items():
        images, boxes, answers = MEANING.get(function, ("", "", "-" * 16))
        turned = {**dict.fromkeys(images.split() if turn[IMAGES] else (), IMAGES),
                  **dict.fromkeys(boxes.split() if turn[BOXES] else (), BOXES)}
        made[function] = Variation(
            function, prefix + function, parameters, tuple(sorted(parameters, key=rank.get)),
            turned, tuple(kind if turn.get(kind) else None
                          for kind in map(LETTERS.get, answers)))
    return made


def _ranks(signatures: dict, rng) -> dict[str, int]:
    """An order of all argument names in which no function of two or more keeps its own."""
    lists = [[p for p in parameters if p != "g"] for parameters in signatures.values()]
    names = list(dict.fromkeys(p for parameters in lists for p in parameters))
    for _ in range(100):
        rank = {names[i]: place for place, i in enumerate(rng.permutation(len(names)))}
        if all(len(p) < 2 or sorted(p, key=rank.get) != p for p in lists):
            return rank
    return {name: -place for place, name in enumerate(names)}


def varied(exercise: Exercise, seed: int) -> Exercise:
    """The exercise in the conventions of a seed. One whose functions are no plain functions of
    arrays (it has a driver) stays as it is."""
    if any(not inspect.isfunction(f) for f in exercise.functions.values()) or _driven(exercise):
        return exercise
    table = variations(exercise, seed)

    def cases(rng):
        return [dataclasses.replace(case, function=table[case.function].name,
                                    args=table[case.function].outside(case.args))
                for case in exercise.cases(rng)]
    return dataclasses.replace(
        exercise, cases=cases,
        functions={v.name: v.adapted(exercise.functions[f]) for f, v in table.items()},
        mistakes=tuple(_mistake(m, table[m.function]) for m in exercise.mistakes),
        channels_last=tuple((v.name, what) for v in table.values() for what, kind in
                            (*v.turned.items(), *enumerate(v.answers)) if kind == IMAGES),
        magnitude={table[f].name: _magnitude(table[f], exercise.functions[f], bound)
                   for f, bound in exercise.magnitude.items()},
        terms={table[f].name: table[f].adapted(bound, answers=False)
               for f, bound in exercise.terms.items()},
        forwards={v.name: _forward(v, table[forward.name], forward)
                  for v, forward in ((v, exercise.forward(f)) for f, v in table.items())
                  if forward})


def _driven(exercise: Exercise) -> bool:
    return getattr(exercise, "driver", None) is not None


def _mistake(mistake: Mistake, variation: Variation) -> Mistake:
    return dataclasses.replace(mistake, function=variation.name,
                               implementation=variation.adapted(mistake.implementation))


def _forward(backward: Variation, variation: Variation, forward: Forward) -> Forward:
    """How the varied forward is called with what the varied backward was given: in the usual way,
    turned. The gradients keep their order, whatever that of the arguments is."""
    def calls(*args):
        return [(variation.outside(given), [variation.order.index(variation.parameters[at])
                                            for at in positions])
                for given, positions in forward.calls(*backward.inside(args))]

    def loss(answer, *args):
        return forward.loss(variation.answer(answer, back=True), *backward.inside(args))
    return Forward(variation.name, calls, loss)


def _magnitude(variation: Variation, function: Callable, bound: Callable) -> Callable:
    """A bound that is broadcast to the answer before it is turned: its axes are the usual ones."""
    def magnitude(*args):
        inside = variation.inside(args)
        answer, scale = function(*inside), bound(*inside)
        if not isinstance(answer, tuple):
            return variation.answer(np.broadcast_to(np.asarray(scale, float), np.shape(answer)))
        scales = scale if isinstance(scale, tuple) else (scale,) * len(answer)
        return variation.answer(tuple(
            s if s is None else np.broadcast_to(np.asarray(s, float), np.shape(a))
            for s, a in zip(scales, answer)))
    return magnitude
